//! What cannot be used is counted with file and line, and the rest goes on.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use slips_input::{MAX_SAMPLES, Reason};

use super::{read, read_bytes, rejects, tsv};

const FIELDS: &str = "ts id.orig_h id.orig_p id.resp_h id.resp_p conn_state";

fn line(second: u32) -> String {
    format!(
        r#"{{"ts":{second}.5,"uid":"C{second}","id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2","id.resp_p":2,"conn_state":"SF"}}"#
    )
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn broken_rows_are_counted_by_reason() {
    let good = "1.0 10.0.0.1 1 10.0.0.2 2 SF";
    let text = tsv(
        "conn",
        FIELDS,
        &[
            good,
            "1.0 10.0.0.1 1 10.0.0.2 2",
            "1.0 10.0.0.1 1 10.0.0.2 2 SF more",
            "- 10.0.0.1 1 10.0.0.2 2 SF",
            "1.0 10.0.0.300 1 10.0.0.2 2 SF",
            "1.0 10.0.0.1 65536 10.0.0.2 2 SF",
            good,
        ],
    );
    let (events, report) = read(&text);
    assert_eq!(events.len(), 2);
    assert_eq!(
        rejects(&report),
        [(Reason::ColumnCount, 2), (Reason::MissingField, 1), (Reason::BadValue, 2)]
    );
    let samples: Vec<_> = report.samples.iter().map(ToString::to_string).collect();
    assert_eq!(
        samples,
        [
            "test.log:8: wrong number of columns",
            "test.log:9: wrong number of columns",
            "test.log:10: missing field: ts",
            "test.log:11: bad value: id.orig_h",
            "test.log:12: bad value: id.orig_p",
        ]
    );
}

#[test]
fn broken_json_lines_are_counted() {
    let text = [&line(1), "", "{", "not json", r#"{"ts":1.0}"#, "# a remark", &line(2), ""].join("\n");
    let (events, report) = read(&text);
    assert_eq!(events.len(), 2);
    assert_eq!(rejects(&report), [(Reason::NotJson, 2), (Reason::MissingField, 1)]);
    assert_eq!(report.samples[0].line, 3);
}

#[test]
fn only_the_first_faults_are_kept_with_their_lines() {
    let text = format!("{}\n{}", line(1), "{\n".repeat(100));
    let (_, report) = read(&text);
    assert_eq!(rejects(&report), [(Reason::NotJson, 100)]);
    assert_eq!(report.samples.len(), MAX_SAMPLES);
}

#[test]
fn a_last_line_without_an_end_is_taken_if_it_is_whole() {
    let (events, report) = read(&format!("{}\n{}", line(1), line(2)));
    assert_eq!((events.len(), report.rejected_total()), (2, 0));
    let whole = format!("{}\n{}", line(1), line(2));
    for cut in 1..line(2).len() {
        let (events, report) = read(&whole[..whole.len() - cut]);
        assert_eq!(events.len(), 1);
        assert_eq!(rejects(&report), [(Reason::TruncatedLastLine, 1)], "{cut}");
    }
}

#[test]
fn a_line_beyond_the_limit_is_skipped() {
    let long = format!(r#"{{"ts":1.0,"uid":"{}"}}"#, "x".repeat(1 << 20));
    let (events, report) = read(&format!("{}\n{long}\n{}\n", line(1), line(2)));
    assert_eq!((events.len(), rejects(&report)), (2, vec![(Reason::LineTooLong, 1)]));
}

#[test]
fn rows_before_a_header_and_headers_amid_the_rows() {
    let first = tsv("conn", FIELDS, &["1.0 10.0.0.1 1 10.0.0.2 2 SF"]);
    let unused = tsv("x509", "ts fingerprint", &["1.0 aa", "2.0 bb"]);
    let second = tsv("conn", "conn_state ts id.orig_h id.resp_h", &["REJ 2.0 10.0.0.3 10.0.0.4"]);
    let (events, report) = read(&format!("{first}{unused}{second}"));
    assert_eq!((events.len(), report.rejected_total()), (2, 0));
    let (events, report) = read(&format!("{first}#separator \\x09\n1.0\t2\n{second}"));
    assert_eq!((events.len(), rejects(&report)), (2, vec![(Reason::BeforeHeader, 1)]));
    let (events, report) = read(&format!("{first}#separator ab\n"));
    assert_eq!((events.len(), rejects(&report)), (1, vec![(Reason::BadHeader, 1)]));
}

#[test]
fn gzip_is_unpacked_and_its_damage_ends_the_file() {
    let text: String = (0..5000).map(|second| line(second) + "\n").collect();
    let packed = gzip(&text);
    let (events, report) = read_bytes(packed.clone()).expect("a log");
    assert_eq!((events.len(), report.rejected_total()), (5000, 0));

    let two = [packed.clone(), gzip(&text)].concat();
    assert_eq!(read_bytes(two).expect("a log").0.len(), 10_000);

    let (events, report) = read_bytes(packed[..packed.len() - 500].to_vec()).expect("a log");
    assert!(events.len() > 1000 && events.len() < 5000);
    assert_eq!(report.rejected.get(&Reason::DamagedStream), Some(&1));

    let mut damaged = packed;
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    let (events, report) = read_bytes(damaged).expect("a log");
    assert!(events.len() < 5000);
    assert_eq!(report.rejected.get(&Reason::DamagedStream), Some(&1));
}

#[test]
fn a_zstandard_stream_is_unpacked_and_its_damage_ends_the_file() {
    // One raw block of a frame without a checksum, as RFC 8878 writes it.
    let text: String = (0..100).map(|second| line(second) + "\n").collect();
    let size = u32::try_from(text.len()).expect("short");
    let block = (size << 3 | 1).to_le_bytes();
    let frame = [b"\x28\xb5\x2f\xfd\xa0", &size.to_le_bytes()[..], &block[..3], text.as_bytes()].concat();
    let (events, report) = read_bytes([frame.clone(), frame.clone()].concat()).expect("a log");
    assert_eq!((events.len(), report.rejected_total()), (200, 0));
    let (_, report) = read_bytes([frame.clone(), frame[..40].to_vec()].concat()).expect("a log");
    assert_eq!(report.rejected.get(&Reason::DamagedStream), Some(&1));
}

#[test]
fn a_stream_that_inflates_without_end_is_cut_off() {
    let packed = gzip(&format!("{}\n{}", line(1), "#\n".repeat(1 << 20)));
    let reader = Box::new(std::io::Cursor::new(packed));
    let options = slips_input::OpenOptions { inflate_limit: 1 << 20, ..Default::default() };
    let mut source = slips_input::open_stream("bomb".as_ref(), reader, &options).expect("a log");
    let (events, report) = super::drain(&mut *source).expect("read");
    assert_eq!(events.len(), 1);
    assert_eq!(report.rejected.get(&Reason::InflatedTooFar), Some(&1));
}

proptest::proptest! {
    #[test]
    fn arbitrary_content_never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let _ = read_bytes(bytes.clone());
        let _ = read_bytes([b"\x1f\x8b\x08\0\0\0\0\0\0\x03".as_slice(), &bytes].concat());
    }

    #[test]
    fn a_damaged_log_never_panics(
        which in 0usize..2,
        damage in proptest::collection::vec((0usize..400, proptest::prelude::any::<u8>()), 0..8),
    ) {
        let text = match which {
            0 => tsv("conn", FIELDS, &["1.0 10.0.0.1 1 10.0.0.2 2 SF"; 3]),
            _ => [line(1), line(2), line(3)].join("\n"),
        };
        let mut bytes = text.into_bytes();
        for (at, value) in damage {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        let _ = read_bytes(bytes);
    }
}
