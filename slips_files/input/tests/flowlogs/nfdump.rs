//! nfdump's files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use slips_core::event::Event;
use slips_core::flow::Origin;
use slips_input::{ErrorKind, OpenOptions, Reason, open};
use tempfile::TempDir;

use super::{brief, corpora, flows, read_bytes, read_file, rejects};

/// One direction: start and end in milliseconds, ends, protocol, flags, packets, bytes.
struct Half {
    times: (u64, u64),
    ends: ([u8; 4], u16, [u8; 4], u16),
    proto: u8,
    flags: u8,
    counts: (u64, u64),
}

const A: [u8; 4] = [192, 0, 2, 1];
const B: [u8; 4] = [192, 0, 2, 2];

fn half(
    times: (u64, u64),
    ends: ([u8; 4], u16, [u8; 4], u16),
    proto: u8,
    flags: u8,
    counts: (u64, u64),
) -> Half {
    Half { times, ends, proto, flags, counts }
}

fn le16(to: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| to.extend(number.to_le_bytes()));
}

fn le32(to: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| to.extend(number.to_le_bytes()));
}

fn le64(to: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| to.extend(number.to_le_bytes()));
}

fn block(kind: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let body = records.concat();
    let mut block = Vec::new();
    le32(&mut block, &[records.len() as u32, body.len() as u32]);
    le16(&mut block, &[kind, 0]);
    [block, body].concat()
}

fn v1(halves: &[Half]) -> Vec<u8> {
    let mut file = Vec::new();
    le16(&mut file, &[0xa50c, 1]);
    le32(&mut file, &[0, 1]);
    file.resize(140 + 136, 0);
    // Interfaces, then output counters of eight bytes: the reader must find its way.
    let mut map = Vec::new();
    le16(&mut map, &[2, 16, 3, 24, 5, 15, 17, 0]);
    let mut records = vec![map];
    for half in halves {
        let (src, sport, dst, dport) = half.ends;
        let mut record = Vec::new();
        le16(&mut record, &[10, 80, 2, 3]);
        le16(&mut record, &[(half.times.0 % 1000) as u16, (half.times.1 % 1000) as u16]);
        le32(&mut record, &[(half.times.0 / 1000) as u32, (half.times.1 / 1000) as u32]);
        record.extend([0, half.flags, half.proto, 0]);
        le16(&mut record, &[sport, dport, 0, 0]);
        le32(&mut record, &[u32::from_be_bytes(src), u32::from_be_bytes(dst)]);
        le64(&mut record, &[half.counts.0]);
        le32(&mut record, &[half.counts.1 as u32, 7, 8]);
        le64(&mut record, &[0, 0]);
        record.resize(80, 0);
        records.push(record);
    }
    [file, block(2, &records)].concat()
}

fn v2(halves: &[Half]) -> Vec<u8> {
    let mut file = Vec::new();
    le16(&mut file, &[0xa50c, 2]);
    file.resize(36, 0);
    le32(&mut file, &[1]);
    let mut other = Vec::new();
    le16(&mut other, &[7, 8, 0, 0]);
    let mut records = vec![other];
    for half in halves {
        let (src, sport, dst, dport) = half.ends;
        let mut record = Vec::new();
        le16(&mut record, &[11, 84, 3, 0, 0, 0]);
        le16(&mut record, &[4, 8, 0, 0]);
        le16(&mut record, &[1, 52]);
        le64(&mut record, &[half.times.0, half.times.1, 0, half.counts.0, half.counts.1]);
        le16(&mut record, &[sport, dport]);
        record.extend([half.proto, half.flags, 0, 0]);
        le16(&mut record, &[2, 12]);
        le32(&mut record, &[u32::from_be_bytes(src), u32::from_be_bytes(dst)]);
        records.push(record);
    }
    // What stands behind the promised blocks is not read.
    [file, block(3, &records), block(4, &[vec![1, 2, 3]])].concat()
}

#[track_caller]
fn check(halves: &[Half], expected: &[&str]) {
    for file in [v1(halves), v2(halves)] {
        let (events, report) = read_bytes(&file);
        assert_eq!(
            (report.records, report.rejected_total()),
            (halves.len() as u64, 0),
            "{:?}",
            report.samples
        );
        let seen: Vec<_> = flows(&events).into_iter().map(brief).collect();
        assert_eq!(seen, expected);
        assert!(flows(&events).iter().all(|flow| flow.origin == Origin::Netflow && !flow.uid.is_empty()));
    }
}

#[test]
fn both_directions_become_one_flow_whichever_comes_first() {
    let asks = || half((10_500, 11_000), (A, 40_000, B, 22), 6, 0x1b, (5, 600));
    let answers = || half((10_501, 11_200), (B, 22, A, 40_000), 6, 0x1b, (4, 900));
    let expected =
        ["10.500000 Some(700000) 192.0.2.1:40000 192.0.2.2:22 tcp SF ShAaDdFf 5/340/600 4/692/900 -"];
    check(&[asks(), answers()], &expected);
    check(&[answers(), asks()], &expected);
}

#[test]
fn a_refusal_in_the_same_millisecond_is_a_refusal() {
    let asks = || half((10_500, 10_500), (A, 902, B, 902), 6, 0x02, (1, 60));
    let refuses = || half((10_500, 10_500), (B, 902, A, 902), 6, 0x14, (1, 40));
    let expected = ["10.500000 Some(0) 192.0.2.1:902 192.0.2.2:902 tcp REJ Sr 1/0/60 1/0/40 -"];
    check(&[asks(), refuses()], &expected);
    check(&[refuses(), asks()], &expected);
}

#[test]
fn one_direction_alone_is_no_failure_unless_it_shows() {
    for (flags, expected) in
        [(0x02, "S0 S"), (0x06, "RSTOS0 SR"), (0x1b, "OTH SADF"), (0x12, "OTH SA"), (0x14, "OTH AR")]
    {
        let tail = if flags & 8 == 0 { "2/0/120 0/0/0 -" } else { "2/16/120 0/0/0 -" };
        let line = format!("1.000000 Some(1000000) 192.0.2.1:5 192.0.2.2:80 tcp {expected} {tail}");
        check(&[half((1000, 2000), (A, 5, B, 80), 6, flags, (2, 120))], &[&line]);
    }
}

#[test]
fn datagrams_icmp_and_others() {
    check(
        &[
            half((1000, 1000), (A, 5353, B, 53), 17, 0, (1, 60)),
            half((1001, 1001), (B, 53, A, 5353), 17, 0, (1, 90)),
            half((2000, 2000), (A, 0, B, 8 << 8), 1, 0, (1, 84)),
            half((2001, 2001), (B, 0, A, 0), 1, 0, (1, 84)),
            half((3000, 3000), (A, 0, B, 0), 47, 0, (1, 84)),
            // An hour later it is another conversation.
            half((3_600_000, 3_600_000), (B, 53, A, 5353), 17, 0, (1, 90)),
        ],
        &[
            "1.000000 Some(1000) 192.0.2.1:5353 192.0.2.2:53 udp SF - 1/32/60 1/62/90 -",
            "2.000000 Some(1000) 192.0.2.1:8 192.0.2.2:0 icmp OTH - 1/56/84 1/56/84 -",
            "3.000000 None 192.0.2.1:0 192.0.2.2:0 unknown_transport OTH - 1/64/84 0/0/0 -",
            "3600.000000 None 192.0.2.2:53 192.0.2.1:5353 udp S0 - 1/62/90 0/0/0 -",
        ],
    );
}

#[test]
fn damage_is_counted_and_costs_nothing_before_it() {
    let halves = || {
        [half((1000, 2000), (A, 5, B, 80), 6, 2, (2, 120)), half((1000, 2000), (A, 6, B, 80), 6, 2, (2, 120))]
    };
    let whole = v2(&halves());
    let (events, report) = read_bytes(&whole[..whole.len() - 30]);
    assert_eq!((events.len(), rejects(&report)), (0, vec![(Reason::TruncatedCapture, 1)]));
    for (at, reason) in [(40 + 12 + 8 + 2, Reason::BadBlockLength), (40 + 12 + 8 + 22, Reason::BadBlock)] {
        let mut broken = whole.clone();
        broken[at] = 0xff;
        broken[at + 1] = 0xff;
        let (_, report) = read_bytes(&broken);
        assert_eq!(rejects(&report).first().map(|(reason, _)| *reason), Some(reason), "{at}");
    }
    let mut huge = whole.clone();
    huge[44..48].fill(0xff);
    assert_eq!(rejects(&read_bytes(&huge).1), [(Reason::BadBlockLength, 1)]);
}

#[test]
fn what_we_cannot_unpack_is_said() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("file");
    for (at, value, message) in [
        (
            16,
            5,
            "file: an nfdump file that is encrypted or compressed in an unknown way, which is not read yet",
        ),
        (
            17,
            1,
            "file: an nfdump file that is encrypted or compressed in an unknown way, which is not read yet",
        ),
    ] {
        let mut file = v2(&[]);
        file[at] = value;
        std::fs::write(&path, file).expect("a file");
        let Err(error) = open(&path, &OpenOptions::default()) else { panic!("opened") };
        assert_eq!(error.kind(), ErrorKind::BadData);
        assert_eq!(error.to_string().replace(&path.display().to_string(), "file"), message);
    }
}

proptest::proptest! {
    #[test]
    fn damaged_files_never_panic(first: bool, flips in proptest::collection::vec((0usize..700, proptest::prelude::any::<u8>()), 0..20), cut in 0usize..700) {
        let halves = [half((1000, 2000), (A, 5, B, 80), 6, 2, (2, 120)), half((1000, 2000), (A, 6, B, 80), 6, 2, (2, 120))];
        let mut file = if first { v1(&halves) } else { v2(&halves) };
        for (at, value) in flips {
            // The first bytes say that it is nfdump's at all.
            if at >= 4 && at < file.len() {
                file[at] = value;
            }
        }
        file.truncate(cut.max(300));
        let reader: Box<dyn std::io::Read + Send> = Box::new(std::io::Cursor::new(file));
        if let Ok(mut source) = slips_input::open_stream(Path::new("x"), reader, &OpenOptions::default()) {
            let mut events = Vec::new();
            while source.next_batch(&mut events).expect("memory") {}
        }
    }
}

fn states(events: &[Event]) -> BTreeMap<String, u64> {
    let mut states = BTreeMap::new();
    for flow in flows(events) {
        *states.entry(format!("{} {}", flow.proto, flow.state)).or_insert(0) += 1;
    }
    states
}

fn packets(events: &[Event]) -> (u64, u64) {
    let sum = |of: fn(&slips_core::flow::Volume) -> u64| {
        flows(events).iter().map(|flow| of(&flow.orig) + of(&flow.resp)).sum()
    };
    (sum(|volume| volume.pkts), sum(|volume| volume.ip_bytes))
}

#[test]
fn every_record_of_the_published_file_is_read() {
    let Some(corpora) = corpora("every_record_of_the_published_file_is_read") else { return };
    let (events, report) = read_file(&corpora.join("slips-flows/test1-malicious.nfdump"));
    // What the file says of itself in its statistics.
    assert_eq!((report.records, report.rejected_total()), (4593, 0), "{:?}", report.samples);
    assert_eq!(packets(&events), (4652, 241_025));
    assert!(states(&events).get("tcp REJ").is_some_and(|refused| *refused > 1000), "{:?}", states(&events));
}

/// Runs nfdump; `None` where it is not installed.
fn nfdump(arguments: &[&str]) -> Option<String> {
    let out = Command::new("nfdump").args(arguments).output().ok()?;
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn what_nfdump_writes_itself_is_read_the_same() {
    let name = "what_nfdump_writes_itself_is_read_the_same";
    let Some(corpora) = corpora(name) else { return };
    let published = corpora.join("slips-flows/test1-malicious.nfdump");
    let directory = TempDir::new().expect("a directory");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let written = |file: &str, how: &[&str]| -> Option<PathBuf> {
        let path = directory.path().join(file);
        let (from, to) = (text(&published), text(&path));
        nfdump(&[&["-r", from.as_str(), "-w", to.as_str()][..], how].concat()).map(|_| path)
    };
    let Some(plain) = written("plain", &[]) else { return println!("skipped: {name}: no nfdump") };
    let (expected, _) = read_file(&published);
    for path in [Some(plain), written("lz4", &["-y"]), written("lzo", &["-z"])].into_iter().flatten() {
        let (events, report) = read_file(&path);
        assert_eq!((report.records, report.rejected_total()), (4593, 0), "{}", path.display());
        assert_eq!(states(&events), states(&expected));
        assert_eq!(packets(&events), packets(&expected));
    }
    // Directions that nfdump itself has put together.
    let joined = written("joined", &["-b"]).expect("nfdump is there");
    let (events, report) = read_file(&joined);
    assert_eq!((events.len() as u64, report.rejected_total()), (report.records, 0));
    assert_eq!(packets(&events), packets(&expected));
    let ours = flows(&expected).len();
    let theirs = events.len();
    assert!(ours.abs_diff(theirs) * 100 <= ours, "{ours} flows by us, {theirs} by nfdump");
}
