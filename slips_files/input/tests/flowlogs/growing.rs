//! Suricata's log while it grows: every line once.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use slips_core::event::Event;
use slips_core::time::PacketTime;
use slips_input::{Beginning, Feed, GrowingEve, Now};

fn at(millis: u64) -> Now {
    Now { wall: PacketTime(1_793_000_000_000_000), steady: Duration::from_millis(millis) }
}

fn line(number: u32) -> String {
    format!(
        r#"{{"timestamp":"2026-10-26T05:33:20.000000+0000","flow_id":{number},"event_type":"flow","src_ip":"192.0.2.1","src_port":1,"dest_ip":"192.0.2.2","dest_port":2,"proto":"UDP","flow":{{"pkts_toserver":1,"pkts_toclient":0,"bytes_toserver":90,"bytes_toclient":0,"start":"2026-10-26T05:33:{:02}.000000+0000","end":"2026-10-26T05:33:59.000000+0000","state":"new"}}}}
"#,
        number % 50
    )
}

fn uids(events: &[Event]) -> Vec<u32> {
    let of = |event: &Event| match event {
        Event::Flow(flow) => flow.uid.as_str().parse().ok(),
        _ => None,
    };
    let mut uids: Vec<u32> = events.iter().filter_map(of).collect();
    uids.sort_unstable();
    uids
}

/// What happens to the log.
#[derive(Clone, Debug)]
enum Step {
    /// So many bytes more of what is to be written.
    Write(usize),
    /// It is renamed; the writer goes on with the old file for so many bytes, then takes a new one.
    Rename(usize),
    /// All of it is read, then it is cut.
    Cut,
    /// It is read once.
    Read,
    /// Whoever reads ends; so many bytes are written meanwhile, then as many into each of so many new files; then the reading goes on.
    Restart(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1usize..900).prop_map(Step::Write),
        1 => (0usize..500).prop_map(Step::Rename),
        1 => Just(Step::Cut),
        4 => Just(Step::Read),
        1 => (0usize..500, 0usize..4).prop_map(|(count, files)| Step::Restart(count, files)),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn each_line_comes_once_whatever_happens_to_the_file(steps in steps()) {
        let dir = tempfile::tempdir().expect("temp");
        let path = dir.path().join("eve.json");
        // What was there before is not read.
        fs::write(&path, line(9999)).expect("written");
        let mut eve = GrowingEve::open(&path, Beginning::End, at(0)).expect("there");
        let (millis, mut out, mut renamed, mut rejected) = (Cell::new(0), Vec::new(), 0, 0);
        let read = |eve: &mut GrowingEve, out: &mut Vec<Event>| loop {
            millis.set(millis.get() + 700);
            if !eve.read(at(millis.get()), out).expect("readable").is_zero() {
                break;
            }
        };
        let open = || OpenOptions::new().append(true).create(true).open(&path).expect("a log");
        let (mut file, mut number, mut left, mut tick) = (open(), 0, Vec::new(), Duration::from_secs(1_793_000_000));
        let mut write = |file: &mut File, count: usize, whole: bool| {
            for _ in 0..count {
                if left.is_empty() {
                    if whole { break }
                    left = line(number).into_bytes();
                    number += 1;
                }
                file.write_all(&left[..1]).expect("written");
                left.remove(0);
            }
            // All of this happens within one tick of the system's clock, by which files of before are told from later ones.
            tick += Duration::from_secs(1);
            file.set_modified(SystemTime::UNIX_EPOCH + tick).expect("a time");
        };
        for step in steps {
            match step {
                Step::Write(count) => write(&mut file, count, false),
                Step::Rename(more) => {
                    renamed += 1;
                    fs::rename(&path, dir.path().join(format!("eve.json.{renamed}"))).expect("renamed");
                    read(&mut eve, &mut out);
                    write(&mut file, more, false);
                    write(&mut file, 2000, true);
                    file = open();
                    // A file that is renamed again within a tenth of a second has no name that is looked at.
                    read(&mut eve, &mut out);
                }
                Step::Cut => {
                    write(&mut file, 2000, true);
                    read(&mut eve, &mut out);
                    file.set_len(0).expect("cut");
                    // Else it may be as long again before anybody looks.
                    read(&mut eve, &mut out);
                }
                Step::Read => read(&mut eve, &mut out),
                Step::Restart(count, files) => {
                    // The end of a file that nobody knows cannot be told from one that was read long ago.
                    write(&mut file, 2000, true);
                    read(&mut eve, &mut out);
                    read(&mut eve, &mut out);
                    eve.finish(&mut out);
                    rejected += eve.report().rejected_total();
                    let mark = eve.mark().expect("a place");
                    write(&mut file, count, false);
                    for _ in 0..files {
                        renamed += 1;
                        write(&mut file, 2000, true);
                        fs::rename(&path, dir.path().join(format!("eve.json.{renamed}"))).expect("renamed");
                        file = open();
                        write(&mut file, count, false);
                    }
                    eve = GrowingEve::open(&path, Beginning::Mark(mark), at(millis.get())).expect("there");
                }
            }
        }
        write(&mut file, 2000, true);
        read(&mut eve, &mut out);
        read(&mut eve, &mut out);
        eve.finish(&mut out);
        prop_assert_eq!(uids(&out), (0..number).collect::<Vec<_>>());
        prop_assert_eq!(rejected + eve.report().rejected_total(), 0);
    }
}

#[test]
fn a_log_that_is_not_there_yet_is_waited_for_and_its_directory_is_not() {
    let dir = tempfile::tempdir().expect("temp");
    let path = dir.path().join("eve.json");
    let mut eve = GrowingEve::open(&path, Beginning::End, at(0)).expect("the directory is there");
    let mut out = Vec::new();
    eve.read(at(0), &mut out).expect("nothing yet");
    assert!(!eve.report().trouble.is_empty());
    fs::write(&path, line(1)).expect("written");
    eve.read(at(100), &mut out).expect("readable");
    assert_eq!((eve.report().records, eve.report().trouble.as_str()), (1, ""));
    eve.finish(&mut out);
    assert_eq!(uids(&out), [1]);
    assert!(GrowingEve::open(&dir.path().join("none/eve.json"), Beginning::End, at(0)).is_err());
}
