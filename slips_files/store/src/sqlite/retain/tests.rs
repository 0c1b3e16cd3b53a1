use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use slips_core::event::Event;
use slips_core::flow::{Endpoint, Flow, Proto, Uid};
use slips_core::record::Record;
use slips_core::time::PacketTime;

use super::*;
use crate::sink::RecordSink;
use crate::sqlite::found::{Ask, tests::question_of};
use crate::sqlite::schema;
use crate::sqlite::{Sqlite, Stories};
use crate::wire::tests::{alert, evidence};

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(0) };
}

fn now() -> i64 {
    NOW.get()
}

thread_local! {
    static STEADY: Cell<u64> = const { Cell::new(0) };
}

fn steady() -> std::time::Duration {
    std::time::Duration::from_micros(STEADY.get())
}

fn set_clocks(wall: i64, micros: u64) {
    NOW.set(wall);
    STEADY.set(micros);
}

/// Some time after 2020.
const SET: i64 = 1_700_000_000_000_000;
const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn flow(n: i64) -> Event {
    let end = |addr| Endpoint { addr, port: 1 };
    let uid = Uid::from(format!("C{n}").as_str());
    Event::Flow(Flow {
        uid,
        ..Flow::new(PacketTime(n), Proto::Tcp, end(ONE), end(IpAddr::from([192, 0, 2, 2])))
    })
}

fn events(events: impl IntoIterator<Item = Event>) -> Record {
    Record::Events(Arc::new(events.into_iter().collect()))
}

struct Bench {
    dir: tempfile::TempDir,
    sink: Box<Sqlite>,
}

impl Bench {
    fn new(keep: Keep) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let limits = SqliteLimits { keep, ..SqliteLimits::default() };
        let sink = Box::new(Sqlite::open(dir.path().join("flows.sqlite"), limits, now).expect("open"));
        Self { dir, sink }
    }

    fn write(&mut self, records: &[Record]) {
        self.sink.accept(records).expect("accept");
        self.sink.flush().expect("flush");
    }

    fn count(&self, table: &str) -> i64 {
        let db = Connection::open(self.dir.path().join("flows.sqlite")).expect("open");
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect(table)
    }

    fn counts(&self) -> [i64; 6] {
        ["flows", "flow_segments", "records", "evidence", "evidence_flows", "alerts"]
            .map(|table| self.count(table))
    }
}

#[test]
fn each_kind_goes_when_its_own_time_is_over_whatever_the_clock_on_the_wall_says() {
    let keep =
        Keep { flows: Some(Span(70)), records: Some(Span(30)), findings: Some(Span(900)), bytes: None };
    let mut bench = Bench::new(keep);
    *bench.sink = Sqlite::open(bench.sink.path(), SqliteLimits { keep, ..SqliteLimits::default() }, now)
        .expect("open")
        .ageing_by(steady);
    // It was not set yet.
    set_clocks(77, 990);
    bench.write(&[Record::Evidence(Arc::new(evidence(3)))]);
    set_clocks(SET, 1_000);
    // What the flows say of the time is of no importance.
    bench.write(&[
        events([flow(5), flow(i64::MAX), question_of(ONE, 7)]),
        Record::Evidence(Arc::new(evidence(1))),
        Record::Alert(Arc::new(alert(vec![evidence(2)]))),
    ]);
    STEADY.set(1_030);
    bench.write(&[events([flow(6)])]);
    assert_eq!(bench.counts(), [3, 2, 1, 3, 6, 1]);
    for (at, left) in [
        (1_031, [3, 2, 0, 3, 6, 1]),
        (1_070, [3, 2, 0, 3, 6, 1]),
        (1_071, [1, 1, 0, 3, 6, 1]),
        (1_101, [0, 0, 0, 3, 6, 1]),
        (1_890, [0, 0, 0, 3, 6, 1]),
        (1_891, [0, 0, 0, 2, 4, 1]),
        (1_900, [0, 0, 0, 2, 4, 1]),
        // The evidence that nobody needs, then the alert, and then what it rested on.
        (1_901, [0, 0, 0, 1, 2, 0]),
        (1_902, [0; 6]),
    ] {
        // Half a year ahead, and years back.
        // As it should be, half a year ahead, and years back.
        set_clocks([SET, SET + 15_000_000_000_000, 5][at as usize % 3], at);
        bench.sink.flush().expect("flush");
        assert_eq!(bench.counts(), left, "at {at}");
    }
    assert_eq!(
        ["flow_index", "flow_postings", "alert_evidence", "record_postings"].map(|table| bench.count(table)),
        [0; 4]
    );
    // Rows go on, and their ids too.
    *bench.sink = Sqlite::open(bench.sink.path(), SqliteLimits::default(), now).expect("open again");
    bench.write(&[events([flow(8), question_of(ONE, 9)])]);
    let stories = Stories::open(bench.sink.path()).expect("reader");
    assert_eq!(stories.flows_of(ONE, &Ask::newest(9)).expect("flows").rows.len(), 1);
    assert_eq!(stories.records_of(ONE, &Ask::newest(9)).expect("records").rows.len(), 1);
    let ids = (bench.count("flows WHERE id = 4"), bench.count("records WHERE id = 2"));
    assert_eq!(ids, (1, 1));
}

#[test]
fn a_flood_of_flows_keeps_to_the_size_and_costs_flows_alone() {
    const MOST: u64 = 3_000_000;
    let mut bench = Bench::new(Keep { bytes: Some(MOST), ..Keep::default() });
    bench.write(&[
        events((0..500).map(|n| question_of(ONE, n))),
        Record::Alert(Arc::new(alert(vec![evidence(1)]))),
    ]);
    let mut largest = 0;
    for n in 0..120 {
        bench.write(&[events((n * 1000..(n + 1) * 1000).map(flow))]);
        let file = std::fs::metadata(bench.sink.path()).expect("file").len();
        largest = largest.max(file);
    }
    // A step more than the limit at most: what comes between two looks.
    assert!(largest < MOST + 1_500_000, "{largest} bytes");
    let [flows, _, records, evidence, _, alerts] = bench.counts();
    assert!((1_000..=25_000).contains(&flows), "{flows} flows");
    assert_eq!((records, evidence, alerts), (500, 1, 1));
    let stories = Stories::open(bench.sink.path()).expect("reader");
    let newest = stories.flows_of(ONE, &Ask::newest(1)).expect("flows").rows;
    assert_eq!(newest[0].uid, "C119999");
}

#[test]
fn evidence_makes_room_when_there_is_nothing_else() {
    let mut bench = Bench::new(Keep { bytes: Some(400_000), ..Keep::default() });
    let db = Connection::open(bench.sink.path()).expect("open");
    // Those that an alert rests on, and as many that none does.
    db.execute_batch(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2200)
         INSERT INTO evidence (id, description, stored) SELECT 'e' || n, hex(zeroblob(100)), 5 FROM n;
         INSERT INTO evidence_flows SELECT id, 'C1' FROM evidence;
         INSERT INTO alerts (id, created) SELECT 'a' || rowid, 5 FROM evidence;
         INSERT INTO alert_evidence SELECT 'a' || rowid, 0, id FROM evidence WHERE rowid % 2 = 0;
         INSERT INTO profiles SELECT id, rowid, '{}' FROM evidence;",
    )
    .expect("rows");
    let counts =
        |bench: &Bench| ["profiles", "evidence", "evidence_flows", "alerts"].map(|table| bench.count(table));
    let mut told = vec![counts(&bench)];
    for _ in 0..20 {
        bench.sink.flush().expect("flush");
        told.push(counts(&bench));
    }
    told.dedup();
    let expected = [
        [2200, 2200, 2200, 2200],
        [1200, 2200, 2200, 2200],
        [1000, 2200, 2200, 2200],
        [100, 2200, 2200, 2200],
    ];
    assert_eq!(told.get(..4), Some(&expected[..]), "{told:?}");
    // The oldest evidence that no alert needs is gone before the first alert is, and enough of both stays.
    let first = told.iter().find(|counts| counts[3] < 2200).expect("alerts make room");
    assert_eq!(first[1..], [1100, 1100, 1700]);
    assert_eq!(told.last(), Some(&[100, 600, 600, 1200]), "{told:?}");
}

#[test]
fn evidence_that_no_alert_needs_has_a_quarter_and_costs_no_flows() {
    let mut bench = Bench::new(Keep { bytes: Some(4_000_000), ..Keep::default() });
    bench.write(&[events((0..100).map(flow))]);
    let db = Connection::open(bench.sink.path()).expect("open");
    db.execute_batch(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 9000)
         INSERT INTO evidence (id, stored) SELECT 'e' || n, 5 FROM n;
         INSERT INTO alerts (id, created) SELECT 'a' || rowid, 5 FROM evidence;
         INSERT INTO alert_evidence SELECT 'a' || rowid, 0, id FROM evidence WHERE rowid <= 6000;",
    )
    .expect("rows");
    // A million bytes hold some 2,200 of the 3,000 that nobody needs; they are not the oldest ones.
    NOW.set(60_000_000);
    bench.sink.flush().expect("flush");
    assert_eq!(bench.count("evidence"), 8_500);
    for _ in 0..4 {
        bench.sink.flush().expect("flush");
    }
    let counts = ["flows", "alerts", "alert_evidence", "evidence WHERE rowid <= 6000", "evidence"];
    assert_eq!(counts.map(|table| bench.count(table)), [100, 9_000, 6_000, 6_000, 8_000]);
}

#[test]
fn evidence_that_no_alert_needs_keeps_to_its_quarter_however_many_before_it_alerts_need() {
    const HELD: i64 = 55_000;
    let mut bench = Bench::new(Keep { bytes: Some(16_000_000), ..Keep::default() });
    let db = Connection::open(bench.sink.path()).expect("open");
    db.execute_batch(&format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {HELD} + 12000)
         INSERT INTO evidence (id, stored) SELECT n, 5 FROM n;
         INSERT INTO alerts (id, created) VALUES ('a', 5);
         INSERT INTO alert_evidence SELECT 'a', rowid, id FROM evidence WHERE rowid <= {HELD};"
    ))
    .expect("rows");
    let idle = format!("evidence WHERE rowid > {HELD}");
    // Four million bytes hold 8,888 of them. Looks at those that alerts need find nothing.
    let mut left = Vec::new();
    for _ in 0..12 {
        bench.sink.flush().expect("flush");
        left.push(bench.count(&idle));
    }
    left.dedup();
    assert_eq!(left, [12_000, 11_500, 11_000, 10_500, 10_000, 9_500, 9_000, 8_500]);
    // They are counted once a minute, and then at once.
    db.execute_batch(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 600)
         INSERT INTO evidence (id, stored) SELECT 'later' || n, 5 FROM n",
    )
    .expect("rows");
    for (at, left) in [(59_000_000, 9_100), (60_000_000, 8_600), (60_000_001, 8_600)] {
        NOW.set(at);
        bench.sink.flush().expect("flush");
        assert_eq!(bench.count(&idle), left, "at {at}");
    }
    assert_eq!(["evidence", "alert_evidence"].map(|table| bench.count(table)), [HELD + 8_600, HELD]);
}

#[test]
fn a_database_of_layout_5_moves_up_with_its_rows_and_they_are_found() {
    const KEPT: i64 = 1_000_000;
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    let old = schema::open_layout(&path, 5).expect("layout 5");
    old.execute_batch(&format!(
        "INSERT INTO meta VALUES ('flow_index_seed', 42);
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
         INSERT INTO flows SELECT n, 'C' || n, n * 10, {SET} + n * 10 + 5, 5, '192.0.2.1', 1, '198.51.100.' || (n % 200), 443, 'tcp', 'ssl',
             'SF', 'ShAD', 1, 2, 3, 4, 5, 6, 0, NULL, NULL, NULL, 0, 'sensor', 'benign', NULL, NULL FROM n;
         INSERT INTO evidence (id, kind, attacker, level, window, at, last_seen, profile) VALUES ('e', 'K', '192.0.2.1', 'high', 7, 1, 2, '192.0.2.1');
         INSERT INTO blocks (net, reason, state) VALUES ('192.0.2.9', 'r', 'live');"
    ))
    .expect("rows");
    drop(old);
    let asked = || {
        let stories = Stories::open(&path).expect("reader");
        let addr: IpAddr = "198.51.100.7".parse().expect("address");
        let page =
            stories.flows_of(addr, &Ask { from: PacketTime(100_000), ..Ask::newest(200) }).expect("flows");
        page.rows.iter().map(|flow| flow.uid.clone()).collect::<Vec<_>>()
    };
    let expected: Vec<String> =
        (10_000..=20_000).rev().filter(|n| n % 200 == 7).map(|n| format!("C{n}")).collect();
    assert_eq!(asked(), expected, "by an older database");
    let limits =
        SqliteLimits { keep: Keep { flows: Some(Span(KEPT)), ..Keep::default() }, ..SqliteLimits::default() };
    NOW.set(SET + 200_010);
    let mut sink = Box::new(Sqlite::open(&path, limits, now).expect("moved up"));
    assert_eq!(asked(), expected, "before they are in the index");
    // New rows come while the old ones get into the index, step by step.
    let mut segments = Vec::new();
    for n in 0..4 {
        sink.accept(&[events([flow(n)])]).expect("accept");
        sink.flush().expect("flush");
        assert_eq!(asked(), expected, "meanwhile");
        let db = Connection::open(&path).expect("open");
        segments.push(
            db.query_row("SELECT count(*) FROM flow_segments", [], |row| row.get::<_, i64>(0))
                .expect("count"),
        );
    }
    assert_eq!(segments, [2, 4, 6, 7]);
    // They are as old as they were seen last.
    NOW.set(SET + 199_955 + KEPT);
    sink.flush().expect("flush");
    let db = Connection::open(&path).expect("open");
    let lowest: i64 = db.query_row("SELECT min(id) FROM flows", [], |row| row.get(0)).expect("min");
    assert!((3_617..=11_809).contains(&lowest), "{lowest}");
    let level: String = db.query_row("SELECT level FROM evidence", [], |row| row.get(0)).expect("evidence");
    let net: String = db.query_row("SELECT net FROM blocks", [], |row| row.get(0)).expect("block");
    assert_eq!((level.as_str(), net.as_str()), ("high", "192.0.2.9"));
}

#[test]
fn ids_go_on_where_the_indexes_end_when_somebody_deleted_the_rows() {
    let mut bench = Bench::new(Keep::default());
    bench.write(&[events((1..=5).map(flow))]);
    let db = Connection::open(bench.sink.path()).expect("open");
    for deleted in ["flows", "flow_segments"] {
        db.execute_batch(&format!("DELETE FROM flows; DELETE FROM {deleted}")).expect("by hand");
        *bench.sink = Sqlite::open(bench.sink.path(), SqliteLimits::default(), now).expect("open again");
        bench.write(&[events((1..=5).map(flow)), Record::Alert(Arc::new(alert(vec![evidence(1)])))]);
        assert_eq!((bench.sink.lost(), bench.count("flows")), (0, 5), "without {deleted}");
    }
    assert_eq!(bench.count("flows WHERE id BETWEEN 11 AND 15"), 5);
}

#[test]
fn a_gap_in_the_rows_of_an_earlier_version_costs_no_other_rows_their_index() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    let old = schema::open_layout(&path, 5).expect("layout 5");
    old.execute_batch(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100)
         INSERT INTO flows (id, uid, start, seen, src, dst) SELECT n, 'C' || n, n, n, '192.0.2.1', '192.0.2.2' FROM n
             UNION ALL SELECT n + 30000, 'D' || n, n, n, '192.0.2.1', '192.0.2.2' FROM n;",
    )
    .expect("rows");
    drop(old);
    let mut sink = Sqlite::open(&path, SqliteLimits::default(), now).expect("moved up");
    for _ in 0..6 {
        sink.flush().expect("flush");
    }
    let db = Connection::open(&path).expect("open");
    let sql = "SELECT count(*), count(DISTINCT number), (SELECT count(DISTINCT id >> 32) FROM flow_postings) FROM flow_segments";
    let counts: [i64; 3] =
        db.query_row(sql, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?])).expect("counts");
    assert_eq!(counts, [4; 3]);
}

#[test]
fn what_says_that_it_was_stored_later_than_now_or_never_holds_up_nothing() {
    let keep = Keep { flows: Some(Span(50)), findings: Some(Span(900)), ..Keep::default() };
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    let old = schema::open_layout(&path, 5).expect("layout 5");
    // Logs that somebody wrote, of the year 2100.
    old.execute_batch(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 100)
         INSERT INTO flows (id, uid, start, seen, src, dst) SELECT n, 'C' || n, n, 4102444800000000, '192.0.2.1', '192.0.2.2' FROM n;
         INSERT INTO evidence (id, last_seen) VALUES ('a', 4102444800000000), ('b', 5);
         INSERT INTO alerts (id, created) VALUES ('a', 5), ('b', 4102444800000000), ('c', NULL);",
    )
    .expect("rows");
    drop(old);
    NOW.set(SET);
    let limits = SqliteLimits { keep, ..SqliteLimits::default() };
    let sink = Box::new(Sqlite::open(&path, limits, now).expect("moved up").ageing_by(steady));
    let mut bench = Bench { dir, sink };
    let counts = |bench: &Bench| ["flows", "evidence", "alerts"].map(|table| bench.count(table));
    STEADY.set(10);
    bench.write(&[events([flow(1)]), Record::Evidence(Arc::new(evidence(1)))]);
    // Nothing tells when the alerts were stored: they are as if they had come at the first look.
    for (at, left) in
        [(50, [101, 3, 3]), (60, [101, 3, 3]), (61, [0, 3, 3]), (910, [0, 3, 3]), (911, [0, 0, 0])]
    {
        STEADY.set(at);
        for _ in 0..3 {
            bench.sink.flush().expect("flush");
        }
        assert_eq!(counts(&bench), left, "at {at}");
    }
}

#[test]
fn in_a_tiny_database_flows_go_before_profiles_profiles_before_evidence_and_alerts_last_and_never_all() {
    let mut bench = Bench::new(Keep { bytes: Some(900_000), ..Keep::default() });
    bench.write(&[events((0..6_000).map(flow)), events((0..1_500).map(|n| question_of(ONE, n)))]);
    let db = Connection::open(bench.sink.path()).expect("open");
    db.execute_batch(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
         INSERT INTO evidence (id, description, stored) SELECT 'e' || n, hex(zeroblob(200)), 5 FROM n;
         INSERT INTO alerts (id, created) SELECT 'a' || rowid, 5 FROM evidence;
         INSERT INTO alert_evidence SELECT 'a' || rowid, 0, id FROM evidence WHERE rowid > 1200;
         INSERT INTO profiles SELECT id, rowid, hex(zeroblob(20)) FROM evidence;",
    )
    .expect("rows");
    let count = |bench: &Bench| {
        ["flows", "records", "profiles", "evidence WHERE rowid <= 1200", "alerts"]
            .map(|table| bench.count(table))
    };
    let mut last = [0; 5];
    for _ in 0..60 {
        bench.sink.flush().expect("flush");
        last = count(&bench);
        let [flows, records, profiles, idle, alerts] = last;
        assert!(idle == 1_200 || (flows <= 1_000 && records <= 1_000 && profiles <= 100), "{last:?}");
        assert!(alerts == 3_000 || idle == 0, "{last:?}");
    }
    assert_eq!(last[..4], [1_000, 1_000, 100, 0]);
    assert!((1_000..=1_500).contains(&last[4]), "{last:?}");
}
