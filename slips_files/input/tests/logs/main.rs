//! Zeek's logs through the public face: every log in both formats, what breaks, directories.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod broken;
mod directory;
mod formats;
mod logins;
mod opening;

use std::io::{Cursor, Read};
use std::path::Path;

use slips_core::event::Event;
use slips_input::{InputError, OpenOptions, Reason, Report, Source, open_stream};

/// Reads a source to its end in batches of `batch`.
fn drain(source: &mut (dyn Source + Send)) -> Result<(Vec<Event>, Report), InputError> {
    let mut events = Vec::new();
    while source.next_batch(&mut events)? {}
    let report = source.report();
    assert_eq!(report.records, events.len() as u64);
    assert_eq!(report.records, report.files.iter().map(|file| file.rows).sum::<u64>());
    assert_eq!(report.rejected_total(), report.files.iter().map(|file| file.rejected).sum::<u64>());
    Ok((events, report))
}

/// Reads the content of one file.
fn read_bytes(bytes: Vec<u8>) -> Result<(Vec<Event>, Report), InputError> {
    let reader: Box<dyn Read + Send> = Box::new(Cursor::new(bytes));
    let options = OpenOptions { batch: 3, ..OpenOptions::default() };
    drain(&mut *open_stream(Path::new("test.log"), reader, &options)?)
}

fn read(text: &str) -> (Vec<Event>, Report) {
    read_bytes(text.as_bytes().to_vec()).expect("a log")
}

/// A TSV log; columns and values are parted by spaces, which none of them holds (`~` stands for one).
fn tsv(path: &str, fields: &str, rows: &[&str]) -> String {
    let tabs = |line: &str| line.split_whitespace().collect::<Vec<_>>().join("\t").replace('~', " ");
    let mut text = format!(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t{path}\n"
    );
    text += &format!("#fields\t{}\n", tabs(fields));
    rows.iter().for_each(|row| text += &format!("{}\n", tabs(row)));
    text + "#close\t2023-02-20-00-00-00\n"
}

/// What was rejected, with the line numbers of the samples.
fn rejects(report: &Report) -> Vec<(Reason, u64)> {
    report.rejected.iter().map(|(reason, count)| (*reason, *count)).collect()
}
