use std::sync::Arc;

use slips_core::event::{About, Dns, DnsAnswer, DnsData, DnsFlags, Event, Http};
use slips_core::evidence::Entity;
use slips_core::flow::{ConnState, Endpoint, Flow, Proto, Volume};
use slips_core::record::Record;

use super::*;
use crate::sink::RecordSink;
use crate::sqlite::{Sqlite, SqliteLimits};
use crate::wire::tests::{AT, alert, clock, evidence};

const HOST: [u8; 4] = [192, 0, 2, 1];

fn end(addr: [u8; 4], port: u16) -> Endpoint {
    Endpoint { addr: IpAddr::from(addr), port }
}

/// A connection of the host, `secs` after the beginning.
fn flow(secs: i64, uid: &str, dst: Endpoint, state: ConnState) -> Flow {
    let answered = u64::from(state == ConnState::SF);
    Flow {
        uid: uid.into(),
        state,
        duration: Some(Span(1_500_000)),
        orig: Volume { pkts: 1, bytes: 500 * answered, ip_bytes: 600 },
        resp: Volume { pkts: answered, bytes: 2_345 * answered, ip_bytes: 60 },
        ..Flow::new(AT + Span::from_secs(secs), Proto::Tcp, end(HOST, 40_000), dst)
    }
}

fn about(flow: &Flow) -> About {
    About {
        at: flow.start,
        uid: flow.uid,
        src: flow.src,
        dst: flow.dst,
        proto: flow.proto,
        interface: 0,
        heard: true,
        tunnelled: false,
        src_mac: None,
    }
}

fn question(flow: &Flow, query: &str, answer: Option<[u8; 4]>) -> Event {
    let answers = answer.map(|addr| DnsAnswer { data: DnsData::Addr(addr.into()), ttl: Some(60) });
    Event::Dns(Box::new(Dns {
        about: about(flow),
        trans_id: 7,
        rtt: None,
        query: query.into(),
        qclass: 1,
        qtype: 1,
        rcode: Some(if answers.is_some() { 0 } else { 3 }),
        flags: DnsFlags::default(),
        answers: answers.into_iter().collect(),
        rejected: false,
    }))
}

fn request(flow: &Flow, uri: &str, agent: &str) -> Event {
    Event::Http(Box::new(Http {
        about: about(flow),
        trans_depth: 1,
        method: "GET".into(),
        host: "www.example.net".into(),
        uri: uri.into(),
        referrer: String::new(),
        version: "1.1".into(),
        user_agent: agent.into(),
        request_body_len: 0,
        response_body_len: 5,
        status_code: Some(200),
        status_msg: "OK".into(),
        resp_mime_types: vec!["text/html".into()],
        resp_fuids: Vec::new(),
        username: String::new(),
        orig_mime_types: Vec::new(),
        orig_fuids: Vec::new(),
        from_page: false,
    }))
}

struct Bench {
    dir: tempfile::TempDir,
    sink: Box<Sqlite>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let sink = Sqlite::open(dir.path().join("x.sqlite"), SqliteLimits::default(), clock).expect("open");
        Self { dir, sink: Box::new(sink) }
    }

    fn put(&mut self, records: &[Record]) {
        self.sink.accept(records).expect("accept");
        self.sink.flush().expect("flush");
    }

    fn events(&mut self, events: Vec<Event>) {
        self.put(&[Record::Events(Arc::new(events))]);
    }

    /// The lines of all pages, without their times, and how many pages there were.
    fn told(&self, limit: u32) -> (Vec<String>, usize) {
        self.told_since(None, limit)
    }

    fn told_since(&self, since: Option<PacketTime>, limit: u32) -> (Vec<String>, usize) {
        let stories = Stories::open(self.dir.path().join("x.sqlite")).expect("reader");
        let query = TimelineQuery { profile: IpAddr::from(HOST), since, until: None };
        let (mut lines, mut after, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let page = stories.timeline(&query, Page { limit, after: after.as_deref() }).expect("page");
            lines.extend(page.rows.into_iter().map(|line| line.text));
            pages += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => return (lines, pages),
            }
        }
    }
}

#[test]
fn a_visit_of_a_page_is_told_with_name_question_and_request() {
    let mut bench = Bench::new();
    let dns = Flow {
        proto: Proto::Udp,
        service: "dns".into(),
        ..flow(0, "C1", end([192, 0, 2, 53], 53), ConnState::SF)
    };
    let nobody = Flow { uid: "C0".into(), start: AT + Span::from_secs(1), ..dns.clone() };
    let http = Flow { service: "http".into(), ..flow(2, "C2", end([198, 51, 100, 7], 80), ConnState::SF) };
    let called = Flow {
        src: end([198, 51, 100, 9], 1234),
        dst: end(HOST, 22),
        service: "ssh".into(),
        ..flow(3, "C3", end(HOST, 22), ConnState::SF)
    };
    let ping = Flow {
        proto: Proto::Icmp,
        src: end(HOST, 8),
        dst: end([198, 51, 100, 9], 0),
        ..flow(4, "C4", end(HOST, 0), ConnState::Oth)
    };
    bench.events(vec![
        question(&dns, "www.example.net", Some([198, 51, 100, 7])),
        question(&nobody, "no\x1b[2J.example", None),
        request(&http, "/a\u{202e}b", "it\nself"),
        Event::Flow(dns),
        Event::Flow(nobody),
        Event::Flow(http),
        Event::Flow(called),
        Event::Flow(ping),
    ]);
    let (lines, pages) = bench.told(100);
    assert_eq!(
        (lines.iter().map(String::as_str).collect::<Vec<_>>(), pages),
        (
            vec![
                "DNS to 192.0.2.53:53, answered, 500 B sent, 2.3 kB received, 1.5 s: www.example.net (A) is 198.51.100.7",
                "DNS to 192.0.2.53:53, answered, 500 B sent, 2.3 kB received, 1.5 s: no\\x1b[2J.example (A) does not exist",
                "HTTP to www.example.net (198.51.100.7:80), answered, 500 B sent, 2.3 kB received, 1.5 s: \
                 GET http://www.example.net/a\\u{202e}b → 200 text/html, by it\\nself",
                "SSH from 198.51.100.9 to port 22, answered, 2.3 kB sent, 500 B received, 1.5 s",
                "ping to 198.51.100.9, 1.5 s",
            ],
            1
        )
    );
}

#[test]
fn similar_neighbours_are_one_line_with_what_came_of_them() {
    let mut bench = Bench::new();
    let victim = [198, 51, 100, 1];
    let mut flows: Vec<Event> = (1..=120u16)
        .map(|n| Event::Flow(flow(n.into(), &format!("C{n}"), end(victim, n), ConnState::Rej)))
        .collect();
    flows.push(Event::Flow(flow(130, "D1", end([198, 51, 100, 2], 443), ConnState::SF)));
    flows.extend((3..=5).map(|n| {
        Event::Flow(flow(130 + i64::from(n), &format!("E{n}"), end([198, 51, 100, n], 445), ConnState::S0))
    }));
    bench.events(flows);
    let mut scan = evidence(1);
    scan.finding.at = AT + Span::from_secs(100);
    scan.last_seen = scan.finding.at;
    scan.finding.uids = vec!["C1".into(), "C2".into()];
    let mut of_another = evidence(9);
    of_another.finding.attacker = Entity::Ip(IpAddr::from([203, 0, 113, 9]));
    of_another.finding.victim = Some(Entity::Ip(HOST.into()));
    of_another.finding.at = AT + Span::from_secs(200);
    of_another.finding.text = "odd\x07 things".into();
    of_another.id = of_another.finding.id();
    let mut judged = alert(vec![scan]);
    judged.at = AT + Span::from_secs(110);
    bench.put(&[Record::Alert(Arc::new(judged.clone())), Record::Evidence(Arc::new(of_another))]);
    let (lines, _) = bench.told(1_000);
    assert_eq!(
        lines,
        [
            "1/tcp to 198.51.100.1, refused, up to 1.5 s; 119 further connections, ports 2, 3, 4, 5, 6, 7, 8 … \
             → VERTICAL_PORT_SCAN (high)"
                .to_owned(),
            "evidence, high: vertical port scan of 30 ports, against 198.51.100.1".into(),
            format!("alert: its evidence together made it an attacker, confidence 0.58; id {}", judged.id),
            "443/tcp to 198.51.100.2, answered, 500 B sent, 2.3 kB received, 1.5 s".into(),
            "445/tcp to 198.51.100.3, no answer, up to 1.5 s; 2 further connections, hosts 198.51.100.4, 198.51.100.5".into(),
            "evidence, high: odd\\x07 things, by 203.0.113.9".into(),
        ]
    );
    // However small the pages, everything is told once.
    let (small, pages) = bench.told(7);
    assert_eq!(pages, 18);
    for word in ["evidence, high: vertical", "alert: ", "evidence, high: odd"] {
        assert_eq!(small.iter().filter(|line| line.starts_with(word)).count(), 1, "{word} in {small:#?}");
    }
}

#[test]
fn more_findings_than_a_page_takes_are_all_told_once() {
    let mut bench = Bench::new();
    let many: Vec<Record> = (0..2_500u32)
        .map(|n| {
            let mut found = evidence(1);
            found.finding.victim = Some(Entity::Ip(IpAddr::from(n.to_be_bytes())));
            // Three at a time.
            found.finding.at = AT + Span(i64::from(n / 3));
            found.id = found.finding.id();
            Record::Evidence(Arc::new(found))
        })
        .collect();
    bench.put(&many);
    let (lines, pages) = bench.told(100);
    let different: std::collections::HashSet<_> = lines.iter().collect();
    assert_eq!((lines.len(), different.len()), (2_500, 2_500));
    assert_eq!(pages, 3);
}

#[test]
fn what_a_page_cannot_tell_is_told_to_be_missing() {
    let mut bench = Bench::new();
    let talk = flow(10, "C1", end([192, 0, 2, 53], 53), ConnState::S1);
    let mut events: Vec<Event> =
        (0..4_100).map(|n| question(&talk, &format!("n{n}.example.org"), None)).collect();
    events.push(Event::Flow(talk));
    bench.events(events);
    let (lines, _) = bench.told(100);
    assert_eq!(lines[0], "what else was said in connections from here on is not shown");
    assert!(lines[1].contains(", end not seen,"), "{lines:?}");

    let mut bench = Bench::new();
    let since = AT;
    let many: Vec<Record> = (0..1_100u32)
        .map(|n| {
            let mut found = evidence(1);
            found.finding.victim = Some(Entity::Ip(IpAddr::from(n.to_be_bytes())));
            found.finding.at = if n < 1_050 { since } else { since + Span(1) };
            found.id = found.finding.id();
            Record::Evidence(Arc::new(found))
        })
        .collect();
    bench.put(&many);
    let (lines, pages) = bench.told_since(Some(since), 100);
    let gaps = lines.iter().filter(|line| *line == "further findings of this moment are not shown").count();
    // Those of the next moment are told.
    assert_eq!((lines.len(), gaps, pages), (1_000 + 1 + 50, 1, 2));
}

#[test]
fn what_was_never_given_out_is_no_place_in_a_story() {
    let bench = Bench::new();
    let stories = Stories::open(bench.dir.path().join("x.sqlite")).expect("reader");
    let query = TimelineQuery { profile: IpAddr::from(HOST), since: None, until: None };
    for after in ["", "t-", "t-1", "t-x_1", "fn-1", "t-1_"] {
        let page = Page { limit: 1, after: Some(after) };
        assert!(matches!(stories.timeline(&query, page), Err(ReadError::Cursor(_))), "{after}");
    }
}
