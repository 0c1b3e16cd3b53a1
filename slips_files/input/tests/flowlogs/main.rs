//! Flow logs of other programs through the public face: Suricata's events, Argus' lists, nfdump's files.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod argus;
mod growing;
mod nfdump;
mod suricata;

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use slips_core::event::Event;
use slips_core::flow::Flow;
use slips_input::{Format, InputError, OpenOptions, Reason, Report, open, open_stream};

/// Reads a source to its end.
fn drain(mut source: Box<dyn slips_input::Source + Send>) -> Result<(Vec<Event>, Report), InputError> {
    let mut events = Vec::new();
    while source.next_batch(&mut events)? {}
    Ok((events, source.report()))
}

fn read_bytes(bytes: &[u8]) -> (Vec<Event>, Report) {
    let reader: Box<dyn Read + Send> = Box::new(Cursor::new(bytes.to_vec()));
    let options = OpenOptions { batch: 3, ..OpenOptions::default() };
    drain(open_stream(Path::new("test"), reader, &options).expect("an input")).expect("read")
}

/// Whether text is read when this format is asked for.
fn asked(format: Format, text: &str) -> Result<String, String> {
    let reader: Box<dyn Read + Send> = Box::new(Cursor::new(text.as_bytes().to_vec()));
    let options = OpenOptions { format: Some(format), ..OpenOptions::default() };
    let source = open_stream(Path::new("test"), reader, &options).map_err(|error| error.to_string())?;
    let (_, report) = drain(source).expect("read");
    Ok(report.files[0].kind.to_owned())
}

#[test]
fn what_was_asked_for_is_what_is_read() {
    let eve = r#"{"timestamp":"2021-06-06T16:00:00Z","event_type":"stats"}"#;
    let bare = r#"{"ts":1.0,"uid":"C1","proto":"tcp"}"#;
    assert_eq!(asked(Format::Suricata, eve).as_deref(), Ok("suricata"));
    assert_eq!(asked(Format::Zeek, bare).as_deref(), Ok("conn"));
    let refused = "test: an event log of Suricata, not the format that was asked for";
    for format in [Format::Zeek, Format::Argus, Format::Nfdump, Format::Pcap] {
        assert_eq!(asked(format, eve), Err(refused.to_owned()));
    }
}

fn read_file(path: &Path) -> (Vec<Event>, Report) {
    drain(open(path, &OpenOptions::default()).expect("an input")).expect("read")
}

fn flows(events: &[Event]) -> Vec<&Flow> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Flow(flow) => Some(flow),
            _ => None,
        })
        .collect()
}

/// A flow in short: time, ends, protocol, state, history, packets and bytes of both sides.
fn brief(flow: &Flow) -> String {
    format!(
        "{} {:?} {} {} {} {} {} {}/{}/{} {}/{}/{} {}",
        flow.start,
        flow.duration.map(|span| span.0),
        flow.src,
        flow.dst,
        flow.proto,
        flow.state,
        if flow.history.is_empty() { "-" } else { flow.history.as_str() },
        flow.orig.pkts,
        flow.orig.bytes,
        flow.orig.ip_bytes,
        flow.resp.pkts,
        flow.resp.bytes,
        flow.resp.ip_bytes,
        if flow.service.is_empty() { "-" } else { flow.service.as_str() },
    )
}

fn rejects(report: &Report) -> Vec<(Reason, u64)> {
    report.rejected.iter().map(|(reason, count)| (*reason, *count)).collect()
}

/// Where the corpora are; says so when there are none.
fn corpora(test: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the variable is for tests only")]
    let named = std::env::var("SLIPS_CORPORA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    let found = named.unwrap_or(beside);
    if found.is_dir() {
        return Some(found);
    }
    println!("skipped: {test}: no corpora");
    None
}
