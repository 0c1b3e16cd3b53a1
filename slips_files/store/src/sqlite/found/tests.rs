use std::sync::Arc;

use proptest::prelude::*;
use slips_core::event::{About, Dns, DnsAnswer, DnsData, DnsFlags, Event, Http};
use slips_core::flow::{Endpoint, Flow, Proto};
use slips_core::record::Record;

use super::*;
use crate::sink::RecordSink;
use crate::sqlite::{Sqlite, SqliteLimits};
use crate::wire::tests::clock;

impl Ask<'_> {
    /// The newest `limit`.
    pub(in crate::sqlite) const fn newest(limit: usize) -> Self {
        Self {
            from: PacketTime::MIN,
            until: PacketTime(i64::MAX),
            only: None,
            order: Order::Newest,
            limit,
            after: None,
            up_to: i64::MAX,
        }
    }
}

fn addr(n: u8) -> IpAddr {
    if n < 3 { IpAddr::from([192, 0, 2, n]) } else { IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()]) }
}

fn flow(src: u8, dst: u8, start: i64) -> Event {
    let end = |n| Endpoint { addr: addr(n), port: 1 };
    Event::Flow(Flow::new(PacketTime(start), Proto::Udp, end(src), end(dst)))
}

fn about(src: u8, dst: u8, start: i64, uid: &str) -> About {
    let end = |n| Endpoint { addr: addr(n), port: 53 };
    About {
        at: PacketTime(start),
        uid: Uid::from(uid),
        src: end(src),
        dst: end(dst),
        proto: Proto::Udp,
        interface: 2,
        heard: true,
        tunnelled: false,
        src_mac: None,
    }
}

fn question(about: About, query: &str) -> Event {
    Event::Dns(Box::new(Dns {
        about,
        trans_id: 7,
        rtt: None,
        query: query.into(),
        qclass: 1,
        qtype: 1,
        rcode: Some(0),
        flags: DnsFlags::default(),
        answers: vec![DnsAnswer { data: DnsData::Addr(addr(1)), ttl: Some(60) }],
        rejected: false,
    }))
}

/// A question of an address at some time.
pub(in crate::sqlite) fn question_of(src: IpAddr, start: i64) -> Event {
    let about = about(1, 2, start, "C1");
    question(About { src: Endpoint { addr: src, port: 5 }, ..about }, "example.net")
}

fn request(about: About, uri: &str) -> Event {
    Event::Http(Box::new(Http {
        about,
        trans_depth: 1,
        method: "GET".into(),
        host: "example.net".into(),
        uri: uri.into(),
        referrer: String::new(),
        version: "1.1".into(),
        user_agent: "it's \"quoted\"\n".into(),
        request_body_len: 0,
        response_body_len: 5,
        status_code: Some(200),
        status_msg: "OK".into(),
        resp_mime_types: vec!["text/plain".into()],
        resp_fuids: Vec::new(),
        username: String::new(),
        orig_mime_types: Vec::new(),
        orig_fuids: Vec::new(),
        from_page: false,
    }))
}

/// A database with these, one transaction for each of the outer list.
fn database(dir: &tempfile::TempDir, batches: Vec<Vec<Event>>) -> Stories {
    let path = dir.path().join("flows.sqlite");
    let mut sink = Box::new(Sqlite::open(&path, SqliteLimits::default(), clock).expect("open"));
    for batch in batches {
        sink.accept(&[Record::Events(Arc::new(batch))]).expect("accept");
        sink.flush().expect("flush");
    }
    sink.close().expect("close");
    Stories::open(path).expect("open to read")
}

/// All pages of a question, in one.
fn all<T>(ask: Ask<'_>, page: impl Fn(&Ask<'_>) -> Found<T>) -> Vec<T> {
    let (mut rows, mut ask) = (Vec::new(), ask);
    loop {
        let found = page(&ask);
        assert!(found.rows.len() <= ask.limit);
        rows.extend(found.rows);
        match found.after {
            None => return rows,
            after => ask.after = after,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Against the plain question, whatever the sizes of transactions and however many of them became one segment.
    #[test]
    fn flows_and_records_of_an_address_are_what_a_scan_finds(
        batches in proptest::collection::vec(proptest::collection::vec((0u8..6, 0u8..6, 0i64..1000, any::<bool>()), 0..12), 1..80),
        asks in proptest::collection::vec((0u8..7, 0i64..1000, 0i64..1000, 1usize..9, any::<bool>()), 1..12),
    ) {
        let dir = tempfile::tempdir().expect("dir");
        let event = |(n, (src, dst, start, is_flow)): (usize, (u8, u8, i64, bool))| {
            // Time moves on from transaction to transaction, and starts are spread.
            let start = start + n as i64 * 10;
            if is_flow { flow(src, dst, start) } else { question(about(src, dst, start, "C1"), "a.example") }
        };
        let batches = batches.into_iter().enumerate();
        let batches = batches.map(|(n, batch)| batch.into_iter().map(|it| event((n, it))).collect()).collect();
        let stories = database(&dir, batches);
        for (who, from, length, limit, newest) in asks {
            let order = if newest { Order::Newest } else { Order::Oldest };
            let ask = Ask { from: PacketTime(from), until: PacketTime(from + length), order, limit, ..Ask::newest(1) };
            let naive = |table: &str| -> Vec<String> {
                let sql = format!(
                    "SELECT start FROM {table} WHERE (src = ?1 OR dst = ?1) AND start >= ?2 AND start < ?3 ORDER BY id {}",
                    if newest { "DESC" } else { "ASC" }
                );
                let mut select = stories.db.prepare(&sql).expect("prepare");
                let rows = select.query_map(params![addr(who).to_string(), from, from + length], |row| Ok(crate::render::iso(PacketTime(row.get(0)?))));
                rows.expect("rows").collect::<Result<_, _>>().expect("rows")
            };
            let flows = all(ask, |ask| stories.flows_of(addr(who), ask).expect("flows"));
            prop_assert_eq!(flows.into_iter().map(|row| row.start).collect::<Vec<_>>(), naive("flows"));
            let records = all(ask, |ask| stories.records_of(addr(who), ask).expect("records"));
            prop_assert_eq!(records.into_iter().map(|row| row.start).collect::<Vec<_>>(), naive("records"));
        }
    }
}

#[test]
fn several_requests_of_one_connection_are_several_rows_with_their_fields() {
    let dir = tempfile::tempdir().expect("dir");
    let of = |uid| about(1, 2, 1_000_000, uid);
    let stories = database(
        &dir,
        vec![
            vec![request(of("C1"), "/1"), request(of("C1"), "/2"), request(of("C2"), "/3")],
            vec![question(of("C3"), "example.net")],
        ],
    );
    let found =
        stories.records_of_flow("C1", &Ask { order: Order::Oldest, ..Ask::newest(9) }).expect("records");
    assert_eq!((found.rows.len(), found.after), (2, None));
    assert_eq!(found.rows[1].fields["uri"], "/2");
    assert_eq!(found.rows[0].fields["user_agent"], "it's \"quoted\"\n");
    let found = stories.records_of(addr(2), &Ask::newest(1)).expect("records");
    let fields = serde_json::json!({
        "trans_id": 7, "query": "example.net", "qclass": 1, "qclass_name": "C_INTERNET", "qtype": 1, "qtype_name": "A",
        "rcode": 0, "rcode_name": "NOERROR", "AA": false, "TC": false, "RD": false, "RA": false, "Z": 0,
        "answers": ["192.0.2.1"], "TTLs": [60.0], "rejected": false,
    });
    let expected = StoredRecord {
        kind: "dns".into(),
        uid: "C3".into(),
        start: "1970-01-01T00:00:01.000000Z".into(),
        src: Some("192.0.2.1".into()),
        src_port: Some(53),
        dst: Some("192.0.2.2".into()),
        dst_port: Some(53),
        proto: Some("udp".into()),
        fields,
    };
    assert_eq!(found, Found { rows: vec![expected], after: Some(4) });
    // The same, as a person asks for it.
    let sql = "SELECT uid || ' ' || uri || ' ' || status_code || ' ' || resp_mime_types FROM http WHERE host = 'example.net' ORDER BY id";
    let mut select = stories.db.prepare(sql).expect("view");
    let rows: Vec<String> =
        select.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("rows");
    assert_eq!(
        rows,
        ["C1 /1 200 [\"text/plain\"]", "C1 /2 200 [\"text/plain\"]", "C2 /3 200 [\"text/plain\"]"]
    );
}

#[test]
fn many_small_transactions_leave_few_segments() {
    let dir = tempfile::tempdir().expect("dir");
    let stories = database(&dir, (0..300).map(|n| vec![flow(1, 2, n)]).collect());
    let mut select = stories
        .db
        .prepare("SELECT level, last - first + 1 FROM flow_segments ORDER BY first")
        .expect("select");
    let sizes = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    let sizes: Vec<(i64, i64)> = sizes.collect::<Result<_, _>>().expect("rows");
    // 300 is 256 and two times 16 and 12.
    let expected = [(2, 256), (1, 16), (1, 16)].into_iter().chain([(0, 1); 12]);
    assert_eq!(sizes, expected.collect::<Vec<_>>());
    let parts: i64 = stories
        .db
        .query_row("SELECT max(length(parts)) FROM flow_segments", [], |row| row.get(0))
        .expect("parts");
    assert!(parts <= 64 * 28, "{parts}");
}

#[test]
fn a_page_that_looked_at_much_ends_and_the_next_goes_on() {
    let dir = tempfile::tempdir().expect("dir");
    let mut batch: Vec<Event> = (0..i64::from(MOST_LOOKS) + 10).map(|n| flow(1, 2, n)).collect();
    batch.push(flow(1, 2, -5));
    let stories = database(&dir, vec![batch]);
    // All are in the times of the one segment, and but one do not match.
    let ask = Ask { until: PacketTime(0), order: Order::Oldest, ..Ask::newest(5) };
    let first = stories.flows_of(addr(1), &ask).expect("first");
    assert_eq!((first.rows.len(), first.after), (0, Some(i64::from(MOST_LOOKS))));
    let second = stories.flows_of(addr(1), &Ask { after: first.after, ..ask }).expect("second");
    assert_eq!((second.rows.len(), second.after), (1, None));
}
