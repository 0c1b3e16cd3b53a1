//! An input as a file.

use std::io::Cursor;
use std::path::Path;

use slips_input::{Format, OpenOptions, open_stream};

/// Reads an input as a file of this format to its end, in batches of a few events.
pub fn read(format: Format, input: &[u8]) {
    let options = OpenOptions {
        format: Some(format),
        batch: 7,
        inflate_limit: 1 << 20,
        sensor: crate::net::settings(),
        ..OpenOptions::default()
    };
    let reader = Box::new(Cursor::new(input.to_vec()));
    let Ok(mut source) = open_stream(Path::new("input"), reader, &options) else { return };
    let mut events = Vec::new();
    while source.next_batch(&mut events).expect("memory does not fail") {
        events.clear();
    }
    let report = source.report();
    assert_eq!(report.records, report.files.iter().map(|file| file.rows).sum::<u64>());
    assert_eq!(report.rejected_total(), report.files.iter().map(|file| file.rejected).sum::<u64>());
}
