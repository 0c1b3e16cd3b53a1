use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use slips_core::addr::{LocalNets, Net};
use slips_core::event::Event;
use slips_core::evidence::{Entity, Evidence, EvidenceKind};
use slips_core::flow::{Endpoint, Flow, Proto, Uid};
use slips_core::moving::OwnMacs;
use slips_core::record::Record;
use slips_core::time::Span;

use super::*;
use crate::profiles::{ProfileSettings, Profiles};
use crate::sink::RecordSink;
use crate::sqlite::{Blocks, NewBlock, Sqlite, SqliteLimits};
use crate::wire::tests::{AT, alert, clock, evidence as one_evidence};
use slips_core::time::{PacketTime, WindowWidth};

const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Flow number `n`, a second after the one before: from 192.0.2.`n mod 5` to 198.51.100.1.
fn flow_at(n: i64) -> Flow {
    let end = |addr: [u8; 4], port| Endpoint { addr: IpAddr::from(addr), port };
    let src = end([192, 0, 2, (n % 5) as u8], 40_000);
    let at = AT + Span::from_secs(n);
    let name = format!("C{n}");
    Flow { uid: Uid::from(name.as_str()), ..Flow::new(at, Proto::Tcp, src, end([198, 51, 100, 1], 80)) }
}

struct Bench {
    dir: tempfile::TempDir,
    sink: Sqlite,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let sink = Sqlite::open(dir.path().join("x.sqlite"), SqliteLimits::default(), clock).expect("open");
        Self { dir, sink }
    }

    fn flows(&mut self, numbers: std::ops::Range<i64>) {
        let flows = numbers.map(|n| Event::Flow(flow_at(n))).collect();
        self.put(&[Record::Events(Arc::new(flows))]);
    }

    fn evidence(&mut self, numbers: std::ops::Range<u8>) {
        let all: Vec<_> = numbers.map(|n| Record::Evidence(Arc::new(one_evidence(n)))).collect();
        self.put(&all);
    }

    fn put(&mut self, records: &[Record]) {
        self.sink.accept(records).expect("accept");
        self.sink.flush().expect("flush");
    }

    fn reader(&self) -> Stories {
        Stories::open(self.dir.path().join("x.sqlite")).expect("reader")
    }
}

/// All pages of a list, read while `between` does something after each.
fn all<T>(
    limit: u32,
    mut read: impl FnMut(Page<'_>) -> Result<Rows<T>, ReadError>,
    mut between: impl FnMut(),
) -> Vec<T> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = read(Page { limit, after: after.as_deref() }).expect("page");
        assert!(page.rows.len() <= limit as usize);
        found.extend(page.rows);
        between();
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

fn uids(flows: &[StoredFlow]) -> Vec<&str> {
    flows.iter().map(|flow| flow.uid.as_str()).collect()
}

#[test]
fn pages_have_each_flow_once_while_others_are_written() {
    let mut bench = Bench::new();
    bench.flows(0..100);
    let reader = bench.reader();
    let mut next = 100;
    let mut write = || {
        bench.flows(next..next + 3);
        next += 3;
    };
    let newest = all(7, |page| reader.flows(&FlowQuery::default(), page), &mut write);
    let expected: Vec<String> = (0..100).rev().map(|n| format!("C{n}")).collect();
    assert_eq!(uids(&newest), expected);

    let up_to = Some(reader.last_flow().expect("last"));
    let query = FlowQuery { order: Order::Oldest, up_to, ..FlowQuery::default() };
    let oldest = all(7, |page| reader.flows(&query, page), &mut write);
    let expected: Vec<String> = (0..145).map(|n| format!("C{n}")).collect();
    assert_eq!(uids(&oldest), expected);
    // The end of what grows is reached by a reader that is quicker than the writer.
    let query = FlowQuery { order: Order::Oldest, ..FlowQuery::default() };
    let followed = all(7, |page| reader.flows(&query, page), write);
    assert_eq!(uids(&followed).iter().collect::<HashSet<_>>().len(), followed.len());
    assert!(followed.len() > 145 + 60, "{}", followed.len());
}

#[test]
fn flows_are_found_by_address_time_and_label() {
    let mut bench = Bench::new();
    bench.flows(0..20);
    let mut blamed = one_evidence(1);
    blamed.finding.uids = vec!["C6".into(), "C7".into()];
    bench.put(&[Record::Alert(Arc::new(alert(vec![blamed])))]);
    let reader = bench.reader();
    let found = |query: FlowQuery| {
        let rows = reader.flows(&FlowQuery { order: Order::Oldest, ..query }, Page::default());
        rows.expect("page").rows.iter().map(|flow| flow.uid.clone()).collect::<Vec<_>>()
    };
    let second = |n| Some(AT + Span::from_secs(n));
    assert_eq!(found(FlowQuery { profile: Some(HOST), ..FlowQuery::default() }), ["C1", "C6", "C11", "C16"]);
    assert_eq!(found(FlowQuery { since: second(17), ..FlowQuery::default() }), ["C17", "C18", "C19"]);
    assert_eq!(found(FlowQuery { since: second(20), ..FlowQuery::default() }), [""; 0]);
    assert_eq!(found(FlowQuery { since: second(1), until: second(3), ..FlowQuery::default() }), ["C1", "C2"]);
    let label = Some(FlowLabel::Malicious);
    assert_eq!(found(FlowQuery { label, ..FlowQuery::default() }), ["C6", "C7"]);
    assert_eq!(found(FlowQuery { label, profile: Some(HOST), ..FlowQuery::default() }), ["C6"]);
    let server = Some(IpAddr::from([198, 51, 100, 1]));
    assert_eq!(found(FlowQuery { profile: server, ..FlowQuery::default() }).len(), 20);
}

#[test]
fn a_page_looks_at_so_many_rows_and_the_next_goes_on() {
    let mut bench = Bench::new();
    bench.flows(0..i64::from(MOST_LOOKS));
    bench.flows(i64::from(MOST_LOOKS)..i64::from(MOST_LOOKS) + 500);
    let mut blamed = one_evidence(1);
    blamed.finding.uids = vec!["C7".into(), format!("C{MOST_LOOKS}").as_str().into()];
    bench.put(&[Record::Alert(Arc::new(alert(vec![blamed])))]);
    let reader = bench.reader();
    let until = Some(AT + Span::from_secs(i64::from(MOST_LOOKS) + 100));
    for (order, expected) in [(Order::Oldest, [7, MOST_LOOKS]), (Order::Newest, [MOST_LOOKS, 7])] {
        let query = FlowQuery { label: Some(FlowLabel::Malicious), until, order, ..FlowQuery::default() };
        let first = reader.flows(&query, Page::default()).expect("page");
        assert_eq!((first.rows.len(), first.next.is_some()), (1, true), "{order:?}");
        let found = all(3, |page| reader.flows(&query, page), || {});
        assert_eq!(uids(&found), expected.map(|n| format!("C{n}")), "{order:?}");
    }
    // The index tells where to look.
    let since = Some(AT + Span::from_secs(i64::from(MOST_LOOKS) + 498));
    let query = FlowQuery { since, order: Order::Oldest, ..FlowQuery::default() };
    let late = reader.flows(&query, Page::default()).expect("page");
    assert_eq!((late.rows.len(), late.next), (2, None));
}

#[test]
fn evidence_and_alerts_are_found_and_keep_their_places() {
    let mut bench = Bench::new();
    bench.evidence(0..10);
    let mut grown = one_evidence(3);
    grown.count = 4;
    grown.revision = 1;
    grown.last_seen = AT + Span::from_secs(60);
    let mut other = Evidence { id: grown.id, ..one_evidence(20) };
    other.finding.kind = EvidenceKind::HorizontalPortScan;
    other.id = other.finding.id();
    bench.put(&[
        Record::Alert(Arc::new(alert(vec![grown, other.clone()]))),
        Record::Evidence(Arc::new(other)),
    ]);
    let reader = bench.reader();
    let mut next = 100;
    let paged = all(
        3,
        |page| reader.evidence(&EvidenceQuery::default(), page),
        || {
            // One that is new, and one that grows: neither moves the others.
            bench.evidence(next..next + 1);
            bench.evidence(5..6);
            next += 1;
        },
    );
    let victims: Vec<_> = paged.iter().filter_map(|row| row.victim.as_deref()).collect();
    let expected: Vec<String> =
        std::iter::once(20).chain((0..10).rev()).map(|n| format!("198.51.100.{n}")).collect();
    assert_eq!(victims, expected);
    assert_eq!(paged.last().map(|row| row.uids.clone()), Some(vec!["C0a".into(), "C0b".into()]));

    let found = |query: EvidenceQuery| {
        let rows = reader.evidence(&query, Page::default()).expect("page").rows;
        rows.into_iter().map(|row| row.victim.unwrap_or_default()).collect::<Vec<_>>()
    };
    let of = |n: u8| format!("198.51.100.{n}");
    let kind = Some("HORIZONTAL_PORT_SCAN".to_owned());
    assert_eq!(found(EvidenceQuery { kind, ..EvidenceQuery::default() }), [of(20)]);
    let since = Some(AT + Span(1));
    assert_eq!(found(EvidenceQuery { since, ..EvidenceQuery::default() }), [of(3)]);
    let profile = Some(IpAddr::from([198, 51, 100, 4]));
    assert_eq!(found(EvidenceQuery { profile, ..EvidenceQuery::default() }), [of(4)]);
    let window = Some(WindowWidth::HOUR.window_of(AT).0);
    assert_eq!(found(EvidenceQuery { window, ..EvidenceQuery::default() }).len(), 15);
    assert_eq!(found(EvidenceQuery { window: Some(1), ..EvidenceQuery::default() }), [""; 0]);

    let alerts = reader.alerts(&AlertQuery { profile: Some(HOST), ..AlertQuery::default() }, Page::default());
    let alerts = alerts.expect("page").rows;
    assert_eq!(alerts.len(), 1);
    let kinds: Vec<_> = alerts[0].kinds.iter().map(|kind| (kind.kind.as_str(), kind.count)).collect();
    assert_eq!(kinds, [("HORIZONTAL_PORT_SCAN", 1), ("VERTICAL_PORT_SCAN", 1)]);
    assert_eq!(alerts[0].evidence.len(), 2);
    let alert = Some(alerts[0].alert.id.clone());
    assert_eq!(found(EvidenceQuery { alert, ..EvidenceQuery::default() }), [of(20), of(3)]);
    let late = AlertQuery { since, ..AlertQuery::default() };
    assert!(reader.alerts(&late, Page::default()).expect("page").rows.is_empty());
}

#[test]
fn windows_have_their_times_and_profiles_their_order() {
    let mut bench = Bench::new();
    for n in 0..5 {
        let mut evidence = one_evidence(n);
        evidence.finding.at = AT + Span::from_secs(3600 * i64::from(n));
        evidence.finding.window = WindowWidth::HOUR.window_of(evidence.finding.at);
        evidence.id = evidence.finding.id();
        bench.put(&[Record::Evidence(Arc::new(evidence))]);
    }
    bench.put(&[Record::Alert(Arc::new(alert(vec![one_evidence(0)])))]);
    let local = LocalNets::new(["192.0.2.0/24".parse::<Net>().expect("net")].into_iter().collect::<Vec<_>>());
    let settings = ProfileSettings::new(local, OwnMacs::default(), WindowWidth::HOUR);
    let mut profiles =
        Box::new(Profiles::open(bench.dir.path().join("x.sqlite"), settings, clock).expect("profiles"));
    let flows = (0..10).map(|n| Event::Flow(flow_at(n))).collect();
    profiles.accept(&[Record::Events(Arc::new(flows))]).expect("accept");
    profiles.close().expect("close");

    let reader = bench.reader();
    assert_eq!(reader.window_width().expect("width"), Some(WindowWidth::HOUR));
    let windows = all(2, |page| reader.windows(HOST, page), || {});
    let numbers: Vec<i64> = windows.iter().map(|window| window.window).collect();
    let first = WindowWidth::HOUR.window_of(AT).0;
    assert_eq!(numbers, (first..first + 5).rev().collect::<Vec<_>>());
    let last = windows.last().expect("five");
    assert_eq!(
        (last.start.as_deref(), last.end.as_deref(), last.evidence, last.alerts),
        (Some("2023-11-24T12:00:00.000000Z"), Some("2023-11-24T13:00:00.000000Z"), 1, 1)
    );

    let listed = all(2, |page| reader.profiles(page), || {});
    let addrs: Vec<&str> = listed.iter().map(|row| row.ip.as_str()).collect();
    assert_eq!(addrs, ["192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]);
    assert_eq!((listed[1].threat_level.as_str(), listed[1].alerts), ("high", 0));
    assert_eq!(reader.latest_profiles(1).expect("read")[0].ip, "192.0.2.4");

    let counts = reader.counts(PacketTime(clock())).expect("counts");
    assert_eq!((counts.flows, counts.evidence, counts.alerts, counts.profiles), (0, 5, 1, 5));
    assert_eq!(reader.kinds(None).expect("kinds")[0].count, 5);

    // What cannot be read ends no list.
    let db = rusqlite::Connection::open(bench.dir.path().join("x.sqlite")).expect("open");
    db.execute("UPDATE profiles SET facts = '' WHERE addr IN ('192.0.2.1', '192.0.2.2')", [])
        .expect("damage");
    let listed = all(1, |page| reader.profiles(page), || {});
    let addrs: Vec<&str> = listed.iter().map(|row| row.ip.as_str()).collect();
    assert_eq!(addrs, ["192.0.2.0", "192.0.2.3", "192.0.2.4"]);
}

#[test]
fn blocks_are_listed_with_what_still_stands() {
    let bench = Bench::new();
    let path = bench.dir.path().join("x.sqlite");
    let mut book = Blocks::open(&path).expect("book");
    let block = |net: &str, until| NewBlock {
        net: net.parse().expect("net"),
        reason: "a scan".into(),
        alert: None,
        source: "alert".into(),
        from: 1_000_000,
        until,
        unproven: true,
        manner: "drop".into(),
    };
    for (net, until) in
        [("192.0.2.1", Some(10_000_000)), ("192.0.2.2", None), ("192.0.2.3", Some(99_000_000))]
    {
        book.insert(&block(net, until)).expect("insert");
    }
    let lifted = book.insert(&block("192.0.2.4", Some(99_000_000))).expect("insert");
    assert!(book.lift_for(lifted, 20_000_000, "hand", "my own phone").expect("lift"));
    let reader = bench.reader();
    let newest = reader.blocks(&BlockQuery::default(), Page { limit: 1, after: None }).expect("page").rows;
    let unblock = StoredUnblock {
        at: "1970-01-01T00:00:20.000000Z".into(),
        source: "hand".into(),
        reason: "my own phone".into(),
    };
    assert_eq!((newest[0].state.as_str(), newest[0].unblock.as_ref()), ("lifted", Some(&unblock)));
    let nets = |query: BlockQuery| {
        let found = all(2, |page| reader.blocks(&query, page), || {});
        found.into_iter().map(|block| block.net).collect::<Vec<_>>()
    };
    assert_eq!(nets(BlockQuery::default()), ["192.0.2.4", "192.0.2.3", "192.0.2.2", "192.0.2.1"]);
    let live_at = Some(PacketTime(50_000_000));
    assert_eq!(nets(BlockQuery { live_at, ..BlockQuery::default() }), ["192.0.2.3", "192.0.2.2"]);
    let net = "192.0.2.2".parse().ok();
    assert_eq!(nets(BlockQuery { net, ..BlockQuery::default() }), ["192.0.2.2"]);
    let counts = reader.counts(PacketTime(50_000_000)).expect("counts");
    assert_eq!((counts.blocks, counts.flows, counts.first_flow), (2, 0, None));
}

#[test]
fn the_book_of_a_daemon_lies_beside_its_flows() {
    let mut bench = Bench::new();
    let told = alert(vec![one_evidence(1)]);
    bench.put(&[Record::Alert(Arc::new(told.clone()))]);
    let reader = bench.reader();
    assert!(
        reader.tell(&told.id.to_string(), Page::default()).expect("read").expect("story").blocks.is_empty()
    );
    let mut book = Blocks::open(bench.dir.path().join("blocks.sqlite")).expect("book");
    let block = NewBlock {
        net: "192.0.2.1".parse().expect("net"),
        reason: "a scan".into(),
        alert: Some(told.id),
        source: "alert".into(),
        from: 1_000_000,
        until: None,
        unproven: false,
        manner: "drop".into(),
    };
    book.insert(&block).expect("insert");
    let story = reader.tell(&told.id.to_string(), Page::default()).expect("read").expect("story");
    assert_eq!(story.blocks.iter().map(|block| block.net.as_str()).collect::<Vec<_>>(), ["192.0.2.1"]);
    assert_eq!(story.blocks[0].alert, Some(told.id.to_string()));
    assert_eq!(reader.blocks(&BlockQuery::default(), Page::default()).expect("page").rows, story.blocks);
    assert_eq!(reader.counts(PacketTime(clock())).expect("counts").blocks, 1);
}

#[test]
fn evidence_of_an_address_is_read_in_its_order_and_not_sorted() {
    let mut bench = Bench::new();
    let other = IpAddr::from([203, 0, 113, 1]);
    // By it, against it, both, and neither.
    let ends = [(HOST, other), (other, HOST), (HOST, HOST), (other, other)];
    let found: Vec<_> = (0..40u32)
        .map(|n| {
            let (attacker, victim) = ends[n as usize % 4];
            let mut found = one_evidence(1);
            found.finding.attacker = Entity::Ip(attacker);
            found.finding.victim = Some(Entity::Ip(victim));
            found.finding.at = AT + Span::from_secs(i64::from(n));
            found.finding.window = WindowWidth::HOUR.window_of(AT + Span::from_secs(3600 * i64::from(n)));
            found.id = found.finding.id();
            found
        })
        .collect();
    bench.put(&found.iter().map(|it| Record::Evidence(Arc::new(it.clone()))).collect::<Vec<_>>());
    let reader = bench.reader();
    let about = found.iter().enumerate().filter(|(n, _)| n % 4 < 3).map(|(_, it)| it.id.to_string());
    let mut expected: Vec<String> = about.collect();
    for order in [Order::Oldest, Order::Newest] {
        let query = EvidenceQuery { profile: Some(HOST), order, ..EvidenceQuery::default() };
        for limit in [1, 7, 30, 100] {
            let told = all(limit, |page| reader.evidence(&query, page), || {});
            let ids: Vec<String> = told.into_iter().map(|row| row.id).collect();
            assert_eq!(ids, expected, "{order:?}, {limit} a page");
        }
        expected.reverse();
    }
    for side in ["attacker", "victim"] {
        let plan = format!(
            "EXPLAIN QUERY PLAN SELECT rowid, * FROM evidence WHERE 1 AND {side} = 'x' AND rowid < 9 ORDER BY rowid DESC LIMIT 3"
        );
        let mut steps = reader.db.prepare(&plan).expect("a plan");
        let steps = steps.query_map([], |row| row.get(3)).expect("a plan");
        let steps: Vec<String> = steps.map(|step| step.expect("a step")).collect();
        assert!(steps.iter().all(|step| step.contains("USING INDEX evidence_")), "{steps:?}");
    }
}

#[test]
fn what_was_never_given_out_is_no_cursor() {
    let mut bench = Bench::new();
    bench.flows(0..3);
    let reader = bench.reader();
    let first = reader.flows(&FlowQuery::default(), Page { limit: 1, after: None }).expect("page");
    let cursor = first.next.expect("more");
    for after in [
        "",
        "fn-",
        "fn-x",
        "fn-1 OR 1",
        "fn-+1",
        "fn-01",
        "fo-2",
        "2",
        "\u{1b}[2J",
        "fn-99999999999999999999",
        "en-1",
    ] {
        let page = Page { limit: 1, after: Some(after) };
        let error = reader.flows(&FlowQuery::default(), page).expect_err(after);
        assert!(matches!(error, ReadError::Cursor(_)) && !error.to_string().contains('\u{1b}'), "{error}");
    }
    for after in ["p-nobody", "p-192.0.2.1'", "fn-1"] {
        assert!(matches!(reader.profiles(Page { limit: 1, after: Some(after) }), Err(ReadError::Cursor(_))));
    }
    // Of another list, of another order.
    let page = Page { limit: 1, after: Some(&cursor) };
    assert!(reader.evidence(&EvidenceQuery::default(), page).is_err());
    assert!(reader.flows(&FlowQuery { order: Order::Oldest, ..FlowQuery::default() }, page).is_err());
    // No page has no rows or all rows.
    for (limit, rows) in [(0, 1), (2, 2), (u32::MAX, 3)] {
        let page = Page { limit, after: None };
        assert_eq!(reader.flows(&FlowQuery::default(), page).expect("page").rows.len(), rows);
    }
}

#[test]
fn rows_come_back_from_json_as_they_were() {
    let mut bench = Bench::new();
    bench.flows(0..1);
    bench.put(&[Record::Alert(Arc::new(alert(vec![one_evidence(1)])))]);
    let reader = bench.reader();
    let flows = reader.flows(&FlowQuery::default(), Page::default()).expect("page");
    let text = serde_json::to_string(&flows).expect("JSON");
    assert_eq!(serde_json::from_str::<Rows<StoredFlow>>(&text).expect("flows"), flows);
    let alerts = reader.alerts(&AlertQuery::default(), Page::default()).expect("page");
    let text = serde_json::to_string(&alerts).expect("JSON");
    assert_eq!(serde_json::from_str::<Rows<AlertRow>>(&text).expect("alerts"), alerts);
    let story = reader.tell(&alerts.rows[0].alert.id, Page::default()).expect("read").expect("story");
    let text = serde_json::to_string(&story).expect("JSON");
    assert_eq!(serde_json::from_str::<crate::Story>(&text).expect("story"), story);
}

#[test]
fn a_page_of_a_story_ends_before_it_names_too_many_flows() {
    let many = |n: u8| {
        let mut found = one_evidence(n);
        found.finding.uids = (0..60).map(|flow| Uid::from(format!("C{n}x{flow}").as_str())).collect();
        found
    };
    let mut bench = Bench::new();
    let told = alert((1..=100).map(many).collect());
    bench.put(&[Record::Alert(Arc::new(told.clone()))]);
    let (reader, mut told_by_page) = (bench.reader(), Vec::new());
    let pages = |page: Page<'_>| {
        let story = reader.tell(&told.id.to_string(), page)?.expect("a story");
        told_by_page.push(story.evidence.len());
        Ok(Rows { rows: story.evidence, next: story.next })
    };
    assert_eq!(all(Page::MOST, pages, || {}).len(), 100);
    // 33 with 60 flows each are 1,980.
    assert_eq!(told_by_page, [33, 33, 33, 1]);
}

#[test]
fn a_story_is_told_page_by_page_and_an_alert_is_found_by_its_beginning() {
    let mut bench = Bench::new();
    let told = alert((1..=5).map(one_evidence).collect());
    bench.put(&[Record::Alert(Arc::new(told.clone()))]);
    let (reader, id) = (bench.reader(), told.id.to_string());
    let names: Vec<String> = told.evidence.iter().map(|it| it.id.to_string()).collect();
    for limit in [1, 2, 5] {
        let pages = |page: Page<'_>| {
            let story = reader.tell(&id, page)?.expect("a story");
            assert_eq!(story.evidence_named, 5);
            Ok(Rows { rows: story.evidence, next: story.next })
        };
        let all: Vec<String> = all(limit, pages, || {}).into_iter().map(|it| it.evidence.id).collect();
        assert_eq!(all, names, "{limit} a page");
    }
    assert!(matches!(reader.tell(&id, Page { limit: 1, after: Some("w-1") }), Err(ReadError::Cursor(_))));
    for beginning in [&id[..4], &id.to_uppercase()[..9], &id] {
        assert_eq!(reader.find(beginning, 2).expect("read"), [id.as_str()], "{beginning}");
    }
    let other = if id.starts_with('a') { "b" } else { "a" };
    for nobody in [other, "g", "%", "", &format!("{id}0")] {
        assert_eq!(reader.find(nobody, 2).expect("read").len(), usize::from(nobody.is_empty()), "{nobody}");
    }
}

#[test]
fn profiles_are_counted_as_they_come_change_and_go() {
    let bench = Bench::new();
    let path = bench.dir.path().join("x.sqlite");
    let db = rusqlite::Connection::open(&path).expect("open");
    let counted = || bench.reader().counts_beside(0).expect("counts").profiles;
    db.execute_batch("INSERT INTO profiles VALUES ('192.0.2.1', 1, ''), ('192.0.2.2', 2, '');")
        .expect("rows");
    assert_eq!(counted(), 2);
    let mut table =
        crate::sqlite::ProfileTable::open(path, 10, WindowWidth::HOUR, crate::sqlite::Damaged::Refused)
            .expect("table");
    let mut write = |n: u8| {
        let mut facts = crate::profiles::Facts { last_seen: AT, ..Default::default() };
        let mut unread = true;
        let addr = IpAddr::from([192, 0, 2, n]);
        table.write(0, std::iter::once((addr, &mut facts, &mut unread))).expect("written");
    };
    (0..3).for_each(&mut write);
    assert_eq!(counted(), 3, "one was new");
    db.execute("DELETE FROM profiles WHERE last = ?", [AT.0]).expect("gone");
    assert_eq!(counted(), 0);
    // A database of an earlier version has no count.
    db.execute_batch("INSERT INTO profiles VALUES ('192.0.2.9', 1, ''); DELETE FROM meta;").expect("rows");
    assert_eq!(counted(), 1);
}
