//! Entries against a real datagram socket in journald's place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;

/// A stream that the test can read afterwards.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("lock").clone()).expect("text")
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Journald {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Journald {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let socket = UnixDatagram::bind(dir.path().join("socket")).expect("bind");
        socket.set_nonblocking(true).expect("nonblocking");
        Self { dir, socket }
    }

    fn journal(&self, lines: Lines) -> (Journal, Page) {
        let page = Page::default();
        (Journal::open(&self.dir.path().join("socket"), Box::new(page.clone()), lines), page)
    }

    fn next(&self) -> Option<BTreeMap<String, String>> {
        let mut buffer = vec![0; 1 << 20];
        let len = self.socket.recv(&mut buffer).ok()?;
        Some(parse(&buffer[..len]))
    }
}

/// Reads the native protocol by its documentation, naively; a name that comes twice is a mistake here.
fn parse(mut rest: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').expect("a line end");
        let line = std::str::from_utf8(&rest[..end]).expect("text");
        rest = &rest[end + 1..];
        let (name, value) = if let Some((name, value)) = line.split_once('=') {
            (name, value.to_owned())
        } else {
            let len = u64::from_le_bytes(rest[..8].try_into().expect("eight bytes")) as usize;
            let value = String::from_utf8(rest[8..8 + len].to_vec()).expect("text");
            assert_eq!(rest[8 + len], b'\n');
            rest = &rest[8 + len + 1..];
            (line, value)
        };
        assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "field name {name:?}");
        assert!(name.len() <= 64 && fields.insert(name.to_owned(), value).is_none(), "field {name}");
    }
    fields
}

fn alert() -> Entry {
    Entry::new(Kind::Alert, "alert: 192.0.2.66 is an attacker")
        .with(Field::SrcIp, "192.0.2.66")
        .with(Field::Confidence, 0.9)
        .with_lines(Field::Evidence, ["vertical port scan", "password guessing"])
}

#[test]
fn an_alert_arrives_with_all_its_fields() {
    let journald = Journald::start();
    let (mut journal, page) = journald.journal(Lines::WithoutJournald);
    assert_eq!(journal.send(&alert()), Delivery::Journal);
    let fields = journald.next().expect("an entry");
    let expected = [
        ("MESSAGE", "alert: 192.0.2.66 is an attacker"),
        ("MESSAGE_ID", "7d9fbb74c64e4baa91cd6dc0f7eea843"),
        ("PRIORITY", "4"),
        ("SLIPS_CONFIDENCE", "0.9"),
        ("SLIPS_EVENT", "alert"),
        ("SLIPS_EVIDENCE", "vertical port scan\npassword guessing"),
        ("SLIPS_SRC_IP", "192.0.2.66"),
        ("SYSLOG_IDENTIFIER", "slips"),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(page.text(), "");
    assert_eq!(journal.counters(), Counters { journal: 1, ..Counters::default() });
}

#[test]
fn without_journald_an_entry_is_one_line() {
    let dir = tempfile::tempdir().expect("dir");
    let page = Page::default();
    let mut journal =
        Journal::open(&dir.path().join("nobody"), Box::new(page.clone()), Lines::WithoutJournald);
    let entry = alert().with(Field::Time, "2026-01-01T00:00:00Z").with(Field::Reason, "say \"no\"");
    assert_eq!(journal.send(&entry), Delivery::Line);
    assert_eq!(
        page.text(),
        "time=2026-01-01T00:00:00Z level=warn event=alert msg=\"alert: 192.0.2.66 is an attacker\" src_ip=192.0.2.66 \
         confidence=0.9 evidence=\"vertical port scan\\npassword guessing\" reason=\"say \\\"no\\\"\"\n"
    );
}

#[test]
fn a_journald_that_comes_later_is_found_and_one_that_goes_is_no_loss() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("socket");
    let page = Page::default();
    let mut journal = Journal::open(&path, Box::new(page.clone()), Lines::WithoutJournald);
    assert_eq!(journal.send(&alert()), Delivery::Line);
    let socket = UnixDatagram::bind(&path).expect("bind");
    assert_eq!(journal.send(&alert()), Delivery::Journal);
    drop(socket);
    assert_eq!(journal.send(&alert()), Delivery::Line, "the socket file is there, nobody listens");
    assert_eq!(journal.counters(), Counters { journal: 1, lines: 2, ..Counters::default() });
    assert_eq!(page.text().lines().count(), 2);
}

#[test]
fn on_a_terminal_both_have_it() {
    let journald = Journald::start();
    let (mut journal, page) = journald.journal(Lines::Always);
    assert_eq!(journal.send(&alert()), Delivery::Journal);
    assert!(journald.next().is_some());
    assert!(page.text().starts_with("level=warn event=alert "));
}

#[test]
fn a_journald_that_stands_still_costs_entries_not_time_and_the_loss_is_told() {
    let journald = Journald::start();
    let (mut journal, page) = journald.journal(Lines::WithoutJournald);
    let mut queued = 0;
    while journal.send(&alert()) == Delivery::Journal {
        queued += 1;
    }
    assert_eq!(journal.send(&alert()), Delivery::Dropped);
    assert_eq!(journal.counters().dropped, 2);
    for _ in 0..queued {
        assert!(journald.next().is_some());
    }
    assert_eq!(journal.send(&alert()), Delivery::Journal);
    assert_eq!(journald.next().expect("the alert")["SLIPS_EVENT"], "alert");
    let told = journald.next().expect("the loss");
    assert_eq!((told["SLIPS_EVENT"].as_str(), told["SLIPS_DROPPED"].as_str()), ("degraded", "2"));
    assert_eq!(journal.send(&alert()), Delivery::Journal);
    assert_eq!(journald.next().expect("the alert")["SLIPS_EVENT"], "alert");
    assert!(journald.next().is_none(), "a loss is told once");
    assert_eq!(page.text(), "", "a stream that leads to the same journald must not be written");
}

#[test]
fn a_broken_stream_is_counted() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut journal =
        Journal::open(Path::new("/nonexistent/socket"), Box::new(Closed), Lines::WithoutJournald);
    assert_eq!(journal.send(&alert()), Delivery::Dropped);
    assert_eq!(journal.counters().dropped, 1);
}

#[test]
fn a_path_that_is_too_long_for_a_socket_means_lines() {
    let page = Page::default();
    let path = format!("/{}", "x".repeat(300));
    let mut journal = Journal::open(Path::new(&path), Box::new(page.clone()), Lines::WithoutJournald);
    assert_eq!(journal.send(&alert()), Delivery::Line);
}

/// An entry of the largest size that the constructor lets through.
fn largest() -> Entry {
    let mut entry = Entry::new(Kind::Alert, "m".repeat(10_000)).with(Field::SrcIp, "192.0.2.66");
    for _ in 0..8 {
        entry = entry.with_lines(Field::Evidence, (0..10_000).map(|_| "e".repeat(10_000)));
    }
    entry.with(Field::Reason, "the last")
}

#[test]
fn an_entry_that_is_too_large_is_cut_in_the_order_of_its_fields() {
    let entry = Entry::new(Kind::Alert, "message")
        .with(Field::SrcIp, "192.0.2.66")
        .with_lines(Field::Evidence, (0..100).map(|n| format!("finding {n} {}", "é".repeat(300))))
        .with(Field::Reason, "the last");
    for budget in [1024, 1025, 1026, 1027, 3000, 16_000] {
        let mut bytes = Vec::new();
        assert_eq!(entry.encode(&mut bytes, budget), entry::Fit::Cut);
        assert!(bytes.len() <= budget, "{} of {budget}", bytes.len());
        let fields = parse(&bytes);
        assert_eq!((fields["SLIPS_SRC_IP"].as_str(), fields["SLIPS_CUT"].as_str()), ("192.0.2.66", "1"));
        assert!(fields["SLIPS_EVIDENCE"].starts_with("finding 0 "));
    }
    let mut bytes = Vec::new();
    assert_eq!(entry.encode(&mut bytes, 1 << 20), entry::Fit::Whole);
    assert!(parse(&bytes)["SLIPS_EVIDENCE"].ends_with("… and 36 more"));
}

#[test]
fn an_entry_above_the_sockets_limit_is_sent_smaller() {
    let journald = Journald::start();
    let (mut journal, _page) = journald.journal(Lines::WithoutJournald);
    journal.budget = 16 << 20;
    assert_eq!(journal.send(&largest()), Delivery::Journal);
    let mut buffer = vec![0; 1 << 20];
    let len = journald.socket.recv(&mut buffer).expect("an entry");
    assert!(len <= BUDGETS[0], "{len}");
    assert_eq!(journal.counters(), Counters { journal: 1, cut: 1, ..Counters::default() });
}

#[test]
fn what_steers_a_terminal_is_escaped() {
    let entry =
        Entry::new(Kind::Degraded, "a\nPRIORITY=0\u{1b}[2Jb\u{202e}c").with(Field::Reason, "x\ry\0z\u{7f}");
    let mut bytes = Vec::new();
    entry.encode(&mut bytes, 4096);
    let fields = parse(&bytes);
    assert_eq!(fields["MESSAGE"], "a\\nPRIORITY=0\\u{1b}[2Jb\\u{202e}c");
    assert_eq!(fields["PRIORITY"], "4");
    assert_eq!(fields["SLIPS_REASON"], "x\\ry\\u{0}z\\u{7f}");
}

#[test]
fn an_entry_may_be_more_urgent_than_its_kind() {
    let mut bytes = Vec::new();
    Entry::new(Kind::Degraded, "blocking does not work").urgent(Priority::Critical).encode(&mut bytes, 4096);
    assert_eq!(parse(&bytes)["PRIORITY"], "2");
}

#[test]
fn the_catalog_explains_every_kind_and_no_subject_quotes_a_field() {
    let catalog = include_str!("../../slips.catalog");
    let sections: Vec<&str> = catalog.split("\n-- ").skip(1).collect();
    let ids: Vec<&str> = sections.iter().map(|section| section.lines().next().expect("an id")).collect();
    let ours: Vec<String> = Kind::ALL.iter().map(|kind| format!("{:032x}", kind.message_id())).collect();
    assert_eq!(ids, ours);
    for section in sections {
        let subject = section.lines().find(|line| line.starts_with("Subject: ")).expect("a subject");
        assert!(!subject.contains('@'), "{subject}");
        for name in section.split('@').skip(1).step_by(2) {
            assert!(Field::ALL.iter().any(|field| field.name() == name), "unknown field {name}");
        }
    }
}

#[test]
fn the_page_for_users_names_every_field_and_kind() {
    let page = include_str!("../../../docs/journal.md");
    for field in Field::ALL {
        assert!(page.contains(&format!("`{}`", field.name())), "docs/journal.md lacks {}", field.name());
    }
    for kind in Kind::ALL {
        assert!(
            page.contains(&format!("{:032x}", kind.message_id())),
            "docs/journal.md lacks {}",
            kind.name()
        );
    }
}

proptest! {
    /// No text whatever adds a field, changes another, or breaks the plain line.
    #[test]
    fn text_stays_in_its_field(message in any::<String>(), value in any::<String>(), lines in prop::collection::vec(any::<String>(), 0..70)) {
        let entry = Entry::new(Kind::Block, &message).with(Field::Reason, &value).with_lines(Field::Evidence, &lines);
        let mut bytes = Vec::new();
        entry.encode(&mut bytes, BUDGETS[0]);
        let fields = parse(&bytes);
        let names: Vec<&str> = fields.keys().map(String::as_str).filter(|name| *name != "SLIPS_CUT").collect();
        prop_assert_eq!(names, ["MESSAGE", "MESSAGE_ID", "PRIORITY", "SLIPS_EVENT", "SLIPS_EVIDENCE", "SLIPS_REASON", "SYSLOG_IDENTIFIER"]);
        prop_assert_eq!(&fields["PRIORITY"], "5");
        prop_assert!(!fields["MESSAGE"].chars().any(char::is_control));
        prop_assert!(!fields["SLIPS_REASON"].chars().any(char::is_control));
        prop_assert!(fields["SLIPS_EVIDENCE"].lines().count() <= 65);
        prop_assert!(!entry.to_string().chars().any(char::is_control));
    }

    #[test]
    fn a_datagram_keeps_to_its_budget(budget in 1024_usize..70_000, values in prop::collection::vec(any::<String>(), 0..24)) {
        let mut entry = Entry::new(Kind::Alert, values.concat());
        for (field, value) in Field::ALL.iter().zip(&values) {
            entry = entry.with(*field, value.repeat(40));
        }
        let mut bytes = Vec::new();
        entry.encode(&mut bytes, budget);
        prop_assert!(bytes.len() <= budget, "{} of {}", bytes.len(), budget);
        parse(&bytes);
    }
}
