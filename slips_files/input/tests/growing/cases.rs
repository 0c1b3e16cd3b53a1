//! One thing that happens to a log at a time.

use std::fs;
use std::time::Duration;

use slips_input::{Beginning, Feed, Reason};

use super::{Follow, conn, dns, header, row};

#[test]
fn half_a_line_waits_for_its_end() {
    let mut follow = Follow::new(Beginning::End);
    let line = conn(1);
    for piece in line.as_bytes().chunks(7) {
        assert!(follow.settle().is_empty());
        follow.append("conn.log", std::str::from_utf8(piece).expect("ASCII"));
    }
    assert_eq!(follow.settle(), ["C1"]);
    assert_eq!((follow.report().parts, follow.report().behind, follow.report().records), (1, 0, 1));
}

#[test]
fn a_fresh_run_begins_with_what_is_written_from_then_on_and_may_be_told_otherwise() {
    for (beginning, expected) in
        [(Beginning::End, &["C3", "T6"][..]), (Beginning::Start, &["C1", "C2", "C3", "T5", "T6"])]
    {
        let scratch = tempfile::tempdir().expect("a directory");
        let (first, half) = (conn(1) + &conn(2), conn(3));
        fs::write(scratch.path().join("conn.log"), first + &half[..20]).expect("written");
        // Its columns are known although its header is long past.
        fs::write(scratch.path().join("conn.b.log"), header(true) + &row(5, true)).expect("written");
        let mut follow = Follow::of(scratch, beginning);
        follow.settle();
        follow.append("conn.log", &half[20..]);
        follow.append("conn.b.log", &row(6, true));
        let mut seen = follow.settle().to_vec();
        seen.sort();
        assert_eq!(seen, expected);
    }
}

#[test]
fn what_comes_after_a_rename_is_read_and_the_new_file_too() {
    for rotated in [
        "conn.2026-11-22-01-00-00.log",
        "conn-26-11-22_01.00.00.log",
        "conn.log.1",
        "conn.00:00:00-01:00:00.log",
    ] {
        let mut follow = Follow::new(Beginning::End);
        follow.append("conn.log", &conn(1));
        follow.settle();
        follow.rename("conn.log", rotated);
        follow.append(rotated, &conn(2));
        follow.append("conn.log", &conn(3));
        follow.settle();
        follow.append(rotated, &conn(4));
        assert_eq!(follow.settle(), ["C1", "C2", "C3", "C4"], "{rotated}");
    }
}

#[test]
fn a_file_that_left_the_directory_is_read_to_its_end() {
    let mut follow = Follow::new(Beginning::End);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let gone = elsewhere.path().join("conn.log");
    follow.append("conn.log", &conn(1));
    follow.settle();
    fs::rename(follow.path("conn.log"), &gone).expect("renamed");
    super::append(&gone, &(conn(2) + "{\"ts\":1.0,\"uid\":\"half"));
    follow.later(Duration::from_secs(3));
    assert_eq!(follow.settle(), ["C1", "C2"]);
    follow.later(Duration::from_secs(30));
    follow.settle();
    assert_eq!(follow.report().rejected.get(&Reason::TruncatedLastLine), Some(&1));
    assert_eq!(follow.report().parts, 0);
    // What was packed away and comes back says nothing new.
    fs::copy(&gone, follow.path("conn.old.log")).expect("copied");
    follow.append("conn.old.log", "\"}\n");
    follow.append("conn.log", &conn(3));
    assert_eq!(follow.settle(), ["C1", "C2", "C3"]);
}

#[test]
fn a_restart_of_zeek_cuts_its_logs_and_names_other_columns() {
    let mut follow = Follow::new(Beginning::End);
    follow.write("conn.log", &(header(false) + &row(1, false) + &row(2, false)));
    follow.settle();
    // Longer than before, so its length does not tell.
    follow.write("conn.log", &(header(true) + &row(3, true) + &row(4, true) + &row(5, true) + &row(6, true)));
    follow.settle();
    // Another format altogether.
    follow.write("conn.log", &conn(7));
    follow.settle();
    // And appended, as no Zeek does.
    follow.append("conn.log", &conn(8));
    assert_eq!(follow.settle(), ["T1", "T2", "T3", "T4", "T5", "T6", "C7", "C8"]);
    assert_eq!(follow.report().rejected_total(), 0, "{}", follow.report().last_reject);
}

#[test]
fn a_header_in_the_middle_of_a_file_holds_for_a_later_run_too() {
    let mut follow = Follow::new(Beginning::End);
    follow.append("conn.log", &(header(false) + &row(1, false) + &header(true) + &row(2, true)));
    follow.settle();
    follow.again();
    follow.append("conn.log", &row(3, true));
    assert_eq!(follow.settle(), ["T1", "T2", "T3"]);
}

#[test]
fn a_copy_is_read_from_where_its_original_was_left_when_that_was_cut() {
    for copied_late in [false, true] {
        let mut follow = Follow::new(Beginning::End);
        follow.append("conn.log", &(header(false) + &row(1, false)));
        follow.settle();
        follow.append("conn.log", &row(2, false));
        fs::copy(follow.path("conn.log"), follow.path("conn.log.1")).expect("copied");
        if !copied_late {
            assert_eq!(follow.settle(), ["T1", "T2"], "the copy says nothing new");
            follow.append("conn.log", &row(3, false));
            fs::copy(follow.path("conn.log"), follow.path("conn.log.1")).expect("copied");
        }
        follow.write("conn.log", &(header(false) + &row(4, false)));
        follow.later(Duration::from_secs(11));
        let mut seen = follow.settle().to_vec();
        seen.sort();
        assert_eq!(seen, if copied_late { &["T1", "T2", "T4"][..] } else { &["T1", "T2", "T3", "T4"] });
    }
}

#[test]
fn a_file_that_is_replaced_by_a_longer_copy_of_itself_goes_on() {
    let mut follow = Follow::new(Beginning::End);
    follow.append("conn.log", &(conn(1) + &conn(2)));
    follow.settle();
    follow.write(".conn.log.part", &(conn(1) + &conn(2) + &conn(3)));
    follow.rename(".conn.log.part", "conn.log");
    follow.later(Duration::from_secs(11));
    follow.settle();
    follow.later(Duration::from_secs(11));
    assert_eq!(follow.settle(), ["C1", "C2", "C3"]);
}

#[test]
fn a_later_run_goes_on_where_the_first_stood() {
    let mut follow = Follow::new(Beginning::End);
    follow.append("conn.log", &(conn(1) + &conn(2)[..30]));
    follow.append("dns.log", &dns(1));
    follow.settle();
    let mark = follow.reader.mark().expect("a place");
    follow.append("conn.log", &conn(2)[30..]);
    follow.rename("conn.log", "conn.2026.log");
    follow.append("conn.log", &conn(3));
    fs::copy(follow.path("dns.log"), follow.path("dns.log.1")).expect("copied");
    follow.append("dns.log.1", &dns(2));
    follow.write("dns.log", &dns(3));
    let seen = follow.seen;
    let mut follow = Follow::of(follow.scratch, Beginning::Mark(mark));
    let mut all = [seen, follow.settle().to_vec()].concat();
    all.sort();
    assert_eq!(all, ["C1", "C2", "C3", "D1", "D2", "D3"]);
    // A place that nobody wrote is none: old lines are not repeated.
    let mut follow = Follow::of(follow.scratch, Beginning::Mark("nonsense".to_owned()));
    assert!(follow.settle().is_empty());
}

#[test]
fn what_is_no_log_is_left_alone_and_bad_lines_are_counted() {
    let mut follow = Follow::new(Beginning::Start);
    follow.write("reporter.log", "something happened\n");
    follow.write("x509.log", "{\"ts\":1.0,\"_path\":\"stats\"}\n");
    follow.write("conn_long.log", &conn(9));
    follow.write("conn.2025.log.gz", "no gzip");
    follow.write(".shadow.conn.log", &conn(8));
    follow.write("notes.txt", &conn(7));
    follow.write("conn.log", &(conn(1) + "{broken\n" + "{\"ts\":2.0}\n" + &conn(2)));
    assert_eq!(follow.settle(), ["C1", "C2"]);
    let report = follow.report();
    assert_eq!(report.rejected.get(&Reason::NotJson), Some(&1));
    assert_eq!(report.rejected.get(&Reason::MissingField), Some(&1));
    assert!(report.last_reject.contains("conn.log, at byte") && report.last_reject.contains("missing field"));
    assert_eq!((report.parts, report.records), (1, 2));
}

#[test]
fn a_number_that_a_removed_file_had_is_no_file() {
    let mut follow = Follow::new(Beginning::End);
    let used = |follow: &Follow, name: &str| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(follow.path(name)).expect("there").ino()
    };
    // The file system gives numbers again, at the latest after a few files.
    for number in 0..50 {
        let unused = format!("x509.{number}.log");
        follow.write(&unused, "{\"ts\":1.0,\"_path\":\"stats\"}\n");
        follow.settle();
        let before = used(&follow, &unused);
        fs::remove_file(follow.path(&unused)).expect("removed");
        follow.write(&format!("conn.{number}.log"), &conn(number));
        let is_reused = used(&follow, &format!("conn.{number}.log")) == before;
        let count = follow.settle().len();
        assert_eq!(count, number + 1, "the number was given again: {is_reused}");
    }
}

#[test]
fn a_line_without_an_end_is_skipped_and_the_next_is_read() {
    let mut follow = Follow::new(Beginning::End);
    follow.append("conn.log", &conn(1));
    follow.append("conn.log", &format!("{{\"a\":\"{}", "x".repeat(3 << 20)));
    follow.settle();
    follow.append("conn.log", &format!("\"}}\n{}", conn(2)));
    assert_eq!(follow.settle(), ["C1", "C2"]);
    assert_eq!(follow.report().rejected.get(&Reason::LineTooLong), Some(&1));
}

#[test]
fn logs_are_merged_by_time_and_one_that_stands_still_holds_nobody_up() {
    let mut follow = Follow::new(Beginning::Start);
    follow.append("conn.log", &(conn(2) + &conn(5)));
    follow.append("dns.log", &(dns(1) + &dns(3) + &dns(4)));
    assert_eq!(follow.settle(), ["D1", "C2", "D3", "D4", "C5"]);
    // What happens now waits a second for what the other log may say of the time before.
    let at = |number: usize, line: String| {
        line.replace(&format!("{}.{number:03}", 1_600_000_000), &format!("1700000100.{number:03}"))
    };
    follow.now.wall = slips_core::time::PacketTime::from_secs_micros(1_700_000_100, 500_000);
    follow.append("conn.log", &at(400, conn(400)));
    follow.turn();
    assert_eq!(follow.seen.len(), 5);
    follow.append("dns.log", &at(300, dns(300)));
    follow.turn();
    assert_eq!(follow.seen[5..], ["D300"]);
    follow.later(Duration::from_millis(1000));
    follow.turn();
    assert_eq!(follow.seen[5..], ["D300", "C400"]);
}

#[test]
fn time_goes_on_from_the_newest_record_and_not_from_the_clock_on_the_wall() {
    let mut follow = Follow::new(Beginning::End);
    assert_eq!(follow.reader.clock(follow.now), None);
    follow.append("conn.log", &(conn(3000) + &conn(2000)));
    follow.turn();
    let silent =
        |follow: &Follow| follow.reader.clock(follow.now).expect("a record came").0 - 1_600_000_003_000_000;
    assert_eq!(silent(&follow), 0);
    follow.later(Duration::from_secs(5));
    follow.turn();
    assert_eq!(silent(&follow), 5_000_000);
}

#[test]
fn more_files_than_may_be_open_are_read_all_the_same() {
    let mut follow = Follow::new(Beginning::Start);
    for number in 0..600 {
        follow.write(&format!("conn.{number:03}.log"), &conn(number));
    }
    for _ in 0..5 {
        follow.settle();
        follow.later(Duration::from_secs(11));
    }
    assert_eq!(follow.seen.len(), 600);
    // One that was closed grows.
    follow.append("conn.000.log", &conn(1000));
    follow.later(Duration::from_secs(11));
    follow.settle();
    assert_eq!(follow.seen[600..], ["C1000"]);
}
