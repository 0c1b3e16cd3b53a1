use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::wire::tests::{AT, alert, clock, evidence};
use slips_core::event::Event;
use slips_core::evidence::ThreatLevel;
use slips_core::flow::{ConnState, Endpoint, Flow, Label, MacAddr, Origin, Phase, Proto, Uid, Volume};
use slips_core::time::{Span, WindowWidth};

fn flow(uid: &str) -> Flow {
    let end = |last, port| Endpoint { addr: IpAddr::from([192, 0, 2, last]), port };
    Flow { uid: Uid::from(uid), ..Flow::new(AT, Proto::Tcp, end(1, 40_000), end(2, 80)) }
}

fn events(flows: impl IntoIterator<Item = Flow>) -> Record {
    Record::Events(Arc::new(flows.into_iter().map(Event::Flow).collect()))
}

fn evidence_of(n: u8, uids: &[&str]) -> slips_core::evidence::Evidence {
    let mut evidence = evidence(n);
    evidence.finding.uids = uids.iter().map(|uid| Uid::from(*uid)).collect();
    evidence
}

struct Bench {
    dir: tempfile::TempDir,
    sink: Box<Sqlite>,
}

impl Bench {
    fn new(limits: SqliteLimits) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let sink = Box::new(Sqlite::open(dir.path().join("flows.sqlite"), limits, clock).expect("open"));
        Self { dir, sink }
    }

    fn accept(&mut self, records: &[Record]) {
        self.sink.accept(records).expect("accept");
    }

    fn reader(&self) -> Connection {
        Connection::open(self.dir.path().join("flows.sqlite")).expect("reader")
    }

    /// The uids with their labels after a flush.
    fn labels(&mut self) -> Vec<(String, String)> {
        self.sink.flush().expect("flush");
        rows(&self.reader(), "SELECT uid, label FROM flows ORDER BY id")
    }
}

fn rows(db: &Connection, sql: &str) -> Vec<(String, String)> {
    let mut select = db.prepare(sql).expect(sql);
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect(sql);
    rows.collect::<Result<_, _>>().expect(sql)
}

fn number(db: &Connection, sql: &str) -> i64 {
    db.query_row(sql, [], |row| row.get(0)).expect(sql)
}

fn labelled(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(uid, label)| ((*uid).into(), (*label).into())).collect()
}

#[test]
fn every_field_of_a_flow_comes_back() {
    let mut bench = Bench::new(SqliteLimits::default());
    let volume = |n| Volume { pkts: n, bytes: n + 1, ip_bytes: n + 2 };
    let full = Flow {
        seen: AT + Span(5),
        duration: Some(Span(1_500_000)),
        origin: Origin::Zeek,
        state: ConnState::SF,
        history: "ShADadFf".into(),
        service: "ssl,http".into(),
        orig: volume(10),
        resp: volume(20),
        missed_bytes: u64::MAX,
        src_mac: Some(MacAddr([0, 1, 2, 3, 4, 5])),
        dst_mac: Some(MacAddr::BROADCAST),
        vlan: Some(7),
        interface: 3,
        truth: Some(Arc::new(Label { label: "Malicious".into(), detailed: "C&C".into() })),
        ..flow("Cfull")
    };
    let mut bare = flow("");
    bare.proto = Proto::Other(47);
    bare.src.addr = "2001:db8::1".parse().expect("ip");
    bench.accept(&[events([full, bare])]);
    bench.sink.flush().expect("flush");
    let db = bench.reader();
    let mut select = db.prepare("SELECT * FROM flows ORDER BY id").expect("select");
    let columns = select.column_count();
    let shown = select
        .query_map([], |row| {
            let cells: Vec<String> = (0..columns)
                .map(|at| match row.get::<_, rusqlite::types::Value>(at) {
                    Ok(rusqlite::types::Value::Null) => "-".into(),
                    Ok(rusqlite::types::Value::Integer(n)) => n.to_string(),
                    Ok(rusqlite::types::Value::Text(text)) => text,
                    other => format!("{other:?}"),
                })
                .collect();
            Ok(cells.join(" "))
        })
        .expect("rows")
        .collect::<Result<Vec<_>, _>>()
        .expect("rows");
    assert_eq!(
        shown,
        [
            "1 Cfull 1700828217314165 1700828217314170 1500000 192.0.2.1 40000 192.0.2.2 80 tcp ssl,http SF ShADadFf \
             10 11 12 20 21 22 9223372036854775807 00:01:02:03:04:05 ff:ff:ff:ff:ff:ff 7 3 zeek benign Malicious C&C",
            "2 - 1700828217314165 1700828217314165 - 2001:db8::1 40000 192.0.2.2 80 47 - OTH - \
             0 0 0 0 0 0 0 - - - 0 sensor benign - -",
        ]
    );
}

#[test]
fn only_flows_that_ended_become_rows() {
    let mut bench = Bench::new(SqliteLimits::default());
    let at = |phase| Flow { phase, ..flow("C1") };
    bench.accept(&[
        events([at(Phase::Start), at(Phase::Update)]),
        events([at(Phase::Established), at(Phase::End)]),
    ]);
    assert_eq!(bench.labels(), labelled(&[("C1", "benign")]));
}

#[test]
fn flows_of_an_alert_are_malicious_whether_they_came_before_or_come_after() {
    let mut bench = Bench::new(SqliteLimits::default());
    bench.accept(&[events([flow("before"), flow("other")])]);
    assert_eq!(bench.labels(), labelled(&[("before", "benign"), ("other", "benign")]));
    bench.accept(&[
        events([flow("same batch")]),
        Record::Evidence(Arc::new(evidence_of(9, &["other"]))),
        Record::Alert(Arc::new(alert(vec![evidence_of(1, &["before", "same batch", "after"])]))),
    ]);
    bench.accept(&[events([flow("after"), flow("later")])]);
    assert_eq!(
        bench.labels(),
        labelled(&[
            ("before", "malicious"),
            ("other", "benign"),
            ("same batch", "malicious"),
            ("after", "malicious"),
            ("later", "benign"),
        ])
    );
}

#[test]
fn flows_that_an_alerted_evidence_names_later_are_malicious_too() {
    let mut bench = Bench::new(SqliteLimits::default());
    bench.accept(&[
        Record::Alert(Arc::new(alert(vec![evidence_of(1, &["a"])]))),
        events([flow("a"), flow("b"), flow("c")]),
    ]);
    bench.sink.flush().expect("flush");
    let mut grown = evidence_of(1, &["a", "b"]);
    grown.revision = 1;
    bench.accept(&[Record::Evidence(Arc::new(grown))]);
    assert_eq!(bench.labels(), labelled(&[("a", "malicious"), ("b", "malicious"), ("c", "benign")]));
}

#[test]
fn stored_flows_are_found_among_many_transactions_and_after_a_restart() {
    let mut bench = Bench::new(SqliteLimits { batch: 10, ..SqliteLimits::default() });
    for n in 0..50 {
        bench.accept(&[events((0..10).map(|m| flow(&format!("C{n}x{m}"))))]);
    }
    bench.sink.flush().expect("flush");
    let path = bench.sink.path().to_owned();
    *bench.sink = Sqlite::open(path, SqliteLimits::default(), clock).expect("reopen");
    bench.accept(&[Record::Alert(Arc::new(alert(vec![evidence_of(
        1,
        &["C0x0", "C17x3", "C49x9", "C50x0"],
    )])))]);
    bench.accept(&[events([flow("C50x0")])]);
    bench.sink.flush().expect("flush");
    let db = bench.reader();
    let malicious = rows(
        &db,
        "SELECT uid, id FROM (SELECT uid, cast(id AS TEXT) AS id FROM flows WHERE label = 'malicious' ORDER BY flows.id)",
    );
    assert_eq!(malicious, labelled(&[("C0x0", "1"), ("C17x3", "174"), ("C49x9", "500"), ("C50x0", "501")]));
    assert_eq!(number(&db, "SELECT count(*) FROM flow_index"), 51);
}

#[test]
fn evidence_is_one_row_that_follows_its_newest_state() {
    let mut bench = Bench::new(SqliteLimits::default());
    let first = evidence(1);
    let mut grown = evidence_of(1, &["C1a", "C1c"]);
    (grown.revision, grown.count, grown.finding.level) = (2, 5, ThreatLevel::Critical);
    grown.finding.text = "it's \0 hostile".into();
    for evidence in [&first, &grown, &first] {
        bench.accept(&[Record::Evidence(Arc::new(evidence.clone()))]);
    }
    bench.accept(&[Record::Alert(Arc::new(alert(vec![first, evidence(2)])))]);
    bench.sink.flush().expect("flush");
    let db = bench.reader();
    assert_eq!(
        rows(&db, "SELECT level, description FROM evidence WHERE count = 5"),
        labelled(&[("critical", "it's \0 hostile")])
    );
    assert_eq!(number(&db, "SELECT count(*) FROM evidence"), 2);
    assert_eq!(number(&db, "SELECT count(*) FROM evidence_flows"), 5);
    assert_eq!(
        number(
            &db,
            "SELECT count(*) FROM alerts JOIN alert_evidence ON alert_id = alerts.id JOIN evidence ON evidence.id = evidence_id"
        ),
        2
    );
    assert_eq!(number(&db, "SELECT created FROM alerts"), clock());
}

#[test]
fn what_was_committed_is_there_after_a_kill() {
    let mut bench = Bench::new(SqliteLimits { batch: 2, ..SqliteLimits::default() });
    bench.accept(&[events([flow("a"), flow("b")]), events([flow("held")])]);
    // As a kill leaves them: database and log copied while the writer has them open and has closed nothing.
    let copy = tempfile::tempdir().expect("dir");
    for entry in std::fs::read_dir(bench.dir.path()).expect("list") {
        let entry = entry.expect("entry");
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copy");
    }
    assert!(copy.path().join("flows.sqlite-wal").exists());
    let db = Connection::open(copy.path().join("flows.sqlite")).expect("open");
    assert_eq!(number(&db, "SELECT count(*) FROM flows"), 2);
    drop(db);
    let mut sink =
        Sqlite::open(copy.path().join("flows.sqlite"), SqliteLimits::default(), clock).expect("open");
    sink.accept(&[events([flow("c")])]).expect("accept");
    Box::new(sink).close().expect("close");
    assert!(!copy.path().join("flows.sqlite-wal").exists());
    let db = Connection::open(copy.path().join("flows.sqlite")).expect("open");
    assert_eq!(number(&db, "SELECT count(*) FROM flows"), 3);
}

#[test]
fn a_database_that_cannot_be_written_costs_flows_then_is_written_again() {
    let limits = SqliteLimits { batch: 2, waiting_events: 5, ..SqliteLimits::default() };
    let mut bench = Bench::new(limits);
    let path = bench.sink.path().to_owned();
    let away = path.with_extension("away");
    // The file is gone and its place is taken: nothing can be opened there.
    bench.sink.db = None;
    std::fs::rename(&path, &away).expect("rename");
    std::fs::create_dir(&path).expect("dir");
    let mut errors = 0;
    bench.sink.accept(&[Record::Alert(Arc::new(alert(vec![evidence_of(1, &["f9"])])))]).expect("held");
    for n in 0..10 {
        errors += u32::from(bench.sink.accept(&[events([flow(&format!("f{n}"))])]).is_err());
    }
    let error = bench.sink.flush().expect_err("still no database");
    assert!(error.to_string().contains("flows.sqlite"), "{error}");
    assert_eq!(errors, 2);
    assert_eq!(bench.sink.lost(), 5);

    std::fs::remove_dir(&path).expect("dir");
    std::fs::rename(&away, &path).expect("rename");
    bench.sink.flush().expect("the database is back");
    bench.accept(&[events([flow("back")])]);
    assert_eq!(
        bench.labels(),
        labelled(&[
            ("f5", "benign"),
            ("f6", "benign"),
            ("f7", "benign"),
            ("f8", "benign"),
            ("f9", "malicious"),
            ("back", "benign")
        ])
    );
    assert_eq!(number(&bench.reader(), "SELECT count(*) FROM alerts"), 1);
}

#[test]
fn a_lock_of_another_process_loses_nothing_at_first() {
    let mut bench = Bench::new(SqliteLimits { batch: 1, ..SqliteLimits::default() });
    let other = bench.reader();
    other.execute_batch("BEGIN IMMEDIATE").expect("lock");
    bench.sink.accept(&[events([flow("a")])]).expect_err("locked");
    bench.sink.accept(&[events([flow("b")])]).expect("not tried again at once");
    other.execute_batch("ROLLBACK").expect("unlock");
    assert_eq!(bench.labels(), labelled(&[("a", "benign"), ("b", "benign")]));
    assert_eq!(bench.sink.lost(), 0);
}

#[test]
fn a_full_disk_loses_nothing_at_first() {
    let mut bench = Bench::new(SqliteLimits::default());
    bench.accept(&[events([flow("a")])]);
    // SQLite's own limit on the number of pages gives the very error of a full disk.
    let db = bench.sink.db.as_ref().expect("open");
    let pages = number(db, "PRAGMA page_count");
    db.execute_batch(&format!("PRAGMA max_page_count = {pages}")).expect("limit");
    let many = (0..2_000).map(|n| flow(&format!("C{n}")));
    bench.accept(&[events(many)]);
    let error = bench.sink.flush().expect_err("full");
    assert!(error.is_unwritable(), "{error:?}");
    assert_eq!(bench.sink.lost(), 0);
    // A new connection has no such limit: there is room again.
    assert_eq!(bench.labels().len(), 2_001);
}

#[test]
fn the_oldest_rows_make_room() {
    let mut bench = Bench::new(SqliteLimits { batch: 10, rows: 25, ..SqliteLimits::default() });
    for n in 0..10 {
        bench.accept(&[
            events((0..10).map(|m| flow(&format!("C{n}x{m}")))),
            Record::Evidence(Arc::new(evidence(n))),
        ]);
    }
    bench.sink.flush().expect("flush");
    let db = bench.reader();
    assert_eq!(number(&db, "SELECT count(*) FROM flows"), 25);
    assert_eq!(number(&db, "SELECT min(id) FROM flows"), 76);
    assert_eq!(number(&db, "SELECT min(first) FROM flow_index"), 71);
    // These have no number that they keep to.
    assert_eq!(number(&db, "SELECT count(*) FROM evidence"), 10);
    bench.accept(&[Record::Alert(Arc::new(alert(vec![evidence_of(1, &["C7x0", "C7x5"])])))]);
    let malicious: Vec<_> = bench.labels().into_iter().filter(|(_, label)| label == "malicious").collect();
    assert_eq!(malicious, labelled(&[("C7x5", "malicious")]));
}

#[test]
fn the_book_of_blocks_and_the_flows_share_the_file() {
    let mut bench = Bench::new(SqliteLimits::default());
    let mut book = Blocks::open(bench.sink.path()).expect("book");
    bench.accept(&[events([flow("held")])]);
    let block = NewBlock {
        net: "192.0.2.1".parse().expect("net"),
        reason: "test".into(),
        alert: None,
        source: "hand".into(),
        from: 0,
        until: None,
        unproven: false,
        manner: "drop".into(),
    };
    book.insert(&block).expect("no lock is held between transactions");
    assert_eq!(bench.labels().len(), 1);
    assert_eq!(book.live(1).expect("live").len(), 1);
}

/// What a torn page is to SQLite, while the database is open: the header stays, all behind it is gone.
#[test]
fn the_disk_has_an_alert_before_the_book_is_told_so_and_nothing_else_waits_for_it() {
    let mut bench = Bench::new(SqliteLimits::default());
    let filed = Filed::default();
    *bench.sink = (*bench.sink).telling(filed.clone());
    let db = bench.sink.db.as_ref().expect("open");
    db.execute_batch(
        "CREATE TEMP TABLE waits (what, synchronous);
         CREATE TEMP TRIGGER flow AFTER INSERT ON main.flows BEGIN
             INSERT INTO waits SELECT new.uid, synchronous FROM pragma_synchronous; END;
         CREATE TEMP TRIGGER alert AFTER INSERT ON main.alerts BEGIN
             INSERT INTO waits SELECT 'alert', synchronous FROM pragma_synchronous; END;",
    )
    .expect("triggers");
    let alert = alert(vec![evidence_of(1, &["C1"])]);
    for records in [
        vec![events([flow("before")])],
        vec![Record::Alert(Arc::new(alert.clone()))],
        vec![events([flow("after")])],
    ] {
        bench.accept(&records);
        bench.sink.flush().expect("flush");
    }
    assert_eq!(filed.take(9), [alert.id]);
    let waits =
        rows(bench.sink.db.as_ref().expect("open"), "SELECT what, CAST(synchronous AS TEXT) FROM waits");
    assert_eq!(waits, labelled(&[("before", "1"), ("alert", "2"), ("after", "1")]));
}

fn tear(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("open");
    let length = file.metadata().expect("length").len();
    file.write_all_at(&vec![0xff; length as usize - 100], 100).expect("tear");
}

#[test]
fn a_database_torn_while_it_is_written_is_put_aside_and_findings_go_to_the_next() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    let mut sink: Box<dyn RecordSink> =
        Box::new(Sqlite::open_with(&path, SqliteLimits::default(), || 7, Damaged::PutAside).expect("opened"));
    let mut profiles = ProfileTable::open(path.clone(), 100, WindowWidth::HOUR, Damaged::PutAside)
        .expect("the other one of the daemon");
    sink.accept(&[events([flow("C1")])]).expect("accept");
    sink.flush().expect("flush");
    // What SQLite holds of the journal must be in the file, or it would not look at it.
    drop(Connection::open(&path).expect("open").execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"));
    tear(&path);
    let evidence = Record::Evidence(Arc::new(evidence_of(1, &["C2"])));
    sink.accept(&[events([flow("C2")]), evidence]).expect("accept");
    let told = sink.flush().expect_err("it is torn");
    assert!(matches!(told, StoreError::Damaged { .. }), "{told}");
    sink.flush().expect("the next one is whole");
    assert_eq!(sink.lost(), 0);
    let reader = Connection::open(&path).expect("open");
    assert_eq!(number(&reader, "SELECT count(*) FROM flows"), 1);
    assert_eq!(number(&reader, "SELECT count(*) FROM evidence"), 1);
    let kept = dir.path().join("flows.sqlite.damaged");
    assert!(kept.exists());
    // The other connection finds the new one, and puts nothing aside.
    let mut facts = crate::profiles::Facts::default();
    let mut unread = true;
    let addr = IpAddr::from([192, 0, 2, 7]);
    profiles.write(7, std::iter::once((addr, &mut facts, &mut unread))).expect("written");
    assert_eq!(number(&reader, "SELECT count(*) FROM profiles"), 1);
    assert_eq!(number(&reader, "SELECT count(*) FROM flows"), 1);
    sink.close().expect("closed");
    drop(profiles);
    assert_eq!(number(&reader, "SELECT count(*) FROM evidence"), 1);
}

#[test]
fn a_database_that_somebody_deletes_is_made_anew_with_the_next_flush() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    let mut sink =
        Sqlite::open_with(&path, SqliteLimits::default(), || 7, Damaged::PutAside).expect("opened");
    sink.accept(&[events([flow("C1")])]).expect("accept");
    sink.flush().expect("flush");
    for end in ["", "-wal", "-shm"] {
        std::fs::remove_file(dir.path().join(format!("flows.sqlite{end}"))).expect("deleted");
    }
    sink.accept(&[events([flow("C2")])]).expect("accept");
    sink.flush().expect("flush");
    assert_eq!(number(&Connection::open(&path).expect("open"), "SELECT count(*) FROM flows"), 1);
}
