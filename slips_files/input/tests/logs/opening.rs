//! What cannot be opened says what it is and how it ends.

use std::fs;
use std::path::Path;

use slips_core::event::Event;
use slips_core::flow::{Origin, Phase};
use slips_input::{CaptureFile, ErrorKind, OpenOptions, Reason, open};
use tempfile::TempDir;

use super::{drain, rejects};

#[track_caller]
fn refused(content: &[u8]) -> (ErrorKind, String) {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("file");
    fs::write(&path, content).expect("a file");
    let Err(error) = open(&path, &OpenOptions::default()) else { panic!("opened") };
    (error.kind(), error.to_string().replace(&path.display().to_string(), "file"))
}

#[test]
fn errors_name_the_file_and_tell_their_kinds_apart() {
    let Err(error) = open(Path::new("/nowhere/at all"), &OpenOptions::default()) else { panic!("opened") };
    assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::NoInput, 66));
    assert_eq!(error.to_string(), "/nowhere/at all: no such file or directory");
    for (content, message) in [
        (b"".as_slice(), "file: the file is empty"),
        (b"hello\n", "file:1: neither a capture nor a log"),
        (b"#separator ab\n", "file:1: a Zeek header that cannot be understood"),
        (b"#separator \\x09\n#path\tx509\n#fields\tts\n", "file: a log, but none of those that are used"),
        (b"{\"ts\":1.0}\n", "file: a log, but none of those that are used"),
        (b"\x0c\xa5\x01\x00", "file: an nfdump file that ends within its header"),
        (b"\xd4\xc3\xb2\xa1\x02", "file: a capture that ends within its header"),
        (b"\x1f\x8b\x08junk", "file: a damaged compressed stream"),
    ] {
        assert_eq!(refused(content), (ErrorKind::BadData, message.to_owned()));
    }
    assert_eq!((ErrorKind::BadData.exit_code(), ErrorKind::Permission.exit_code()), (65, 77));
}

/// A capture with one TCP SYN from 10.0.0.1 to 10.0.0.2.
fn syn(dlt: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    file.extend(dlt.to_le_bytes());
    for number in [100, 7, frame.len() as u32, frame.len() as u32] {
        file.extend(number.to_le_bytes());
    }
    [file, frame].concat()
}

#[test]
fn a_capture_goes_through_the_sensor() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("file");
    fs::write(&path, syn(1)).expect("a file");
    for batch in [1, 1000] {
        let options = OpenOptions { batch, ..OpenOptions::default() };
        let mut source = open(&path, &options).expect("a capture");
        let mut events = Vec::new();
        while source.next_batch(&mut events).expect("read") {}
        let flows: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Flow(flow) => Some((flow.phase, flow.origin, flow.src.port, flow.start.0)),
                _ => None,
            })
            .collect();
        let of = |phase| (phase, Origin::Sensor, 12345, 100_000_007);
        assert_eq!(flows.first(), Some(&of(Phase::Start)));
        assert_eq!(flows.last(), Some(&of(Phase::End)));
        let report = source.report();
        assert_eq!((report.records, report.rejected_total(), report.files[0].kind), (1, 0, "pcap"));
        assert_eq!(report.sensor.map(|counters| counters.packets), Some(1));
        assert_eq!(source.progress(), Some((94, 94)));
    }
}

#[test]
fn packets_of_a_link_type_that_the_sensor_does_not_know_are_counted() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("file");
    fs::write(&path, syn(147)).expect("a file");
    let mut source = open(&path, &OpenOptions::default()).expect("a capture");
    let (events, report) = drain(&mut *source).expect("read");
    assert_eq!((events.len(), report.records), (0, 0));
    assert_eq!(rejects(&report), [(Reason::UnknownLinkType, 1)]);
}

#[test]
fn packets_can_be_read_without_the_sensor() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("file");
    fs::write(&path, syn(1)).expect("a file");
    let mut file = CaptureFile::open(&path, &OpenOptions::default()).expect("a capture");
    let packet = file.next_packet().expect("read").expect("one");
    assert_eq!((packet.dlt, packet.captured.len(), packet.wire_len), (1, 54, 54));
    assert_eq!(file.next_packet().expect("read"), None);
    fs::write(&path, "#separator \\x09\n#path\tconn\n").expect("a file");
    assert!(CaptureFile::open(&path, &OpenOptions::default()).is_err());
}
