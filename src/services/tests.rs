use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use slips_core::addr::LocalNets;
use slips_core::event::{About, Dns, DnsFlags, Event, File, Http};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Endpoint, Flow, Proto, Uid};
use slips_core::time::PacketTime;
use slips_intel::jarm::NOTHING;
use slips_store::Answers;

use super::case::Met;
use super::*;
use crate::outside::{Jarm, TlsServer};

/// Servers whose answers a test chooses, in their order.
#[derive(Default)]
struct Fake {
    answers: VecDeque<Result<(u16, String), Missed>>,
    codes: Vec<IpAddr>,
    asked: Vec<String>,
}

impl Fake {
    fn then(mut self, status: u16, body: impl ToString) -> Self {
        self.answers.push_back(Ok((status, body.to_string())));
        self
    }
}

/// Servers that are not there, or too slow.
struct Silent(Missed);

impl Asks for Silent {
    fn ask(&mut self, _: &Ask, _: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Head, Missed> {
        Err(self.0.clone())
    }
    fn addresses(&mut self, _: &str, _: Duration) -> Result<Vec<IpAddr>, Missed> {
        Err(self.0.clone())
    }
    fn jarm(&mut self, server: &TlsServer) -> Result<Jarm, Missed> {
        assert!(server.within <= Duration::from_secs(8), "others wait meanwhile");
        match &self.0 {
            // It is there, and breaks off each time.
            Missed::Broken(_) => {
                Ok(Jarm { address: "8.8.8.8".parse().expect("ip"), fingerprint: NOTHING.into() })
            }
            missed => Err(missed.clone()),
        }
    }
}

#[test]
fn a_server_without_a_jarm_is_asked_again_in_ten_minutes() {
    let subject = Subject::Server("8.8.8.8:443".parse().expect("server"));
    for missed in [
        Missed::Slow(Duration::from_secs(5)),
        Missed::Unreachable("blocked".into()),
        Missed::Broken("off".into()),
    ] {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("services.sqlite");
        let jarm = jarm::Jarm::new(&Current::default());
        let mut desk = Desk::new(vec![Box::new(jarm)], Answers::open(&path).expect("open"));
        desk.ask_about(&subject, &mut Silent(missed), 1000).expect("kept");
        let kept =
            |now| Answers::open(&path).expect("open").get("jarm", &subject.to_string(), now).expect("read");
        assert!(kept(1599).is_some() && kept(1600).is_none());
    }
    let jarm = jarm::Jarm::new(&Current::default());
    assert_eq!(jarm.opinion_holds(&jarm::opinion(&"2".repeat(62))), jarm::HOLDS);
}

impl Asks for Fake {
    fn ask(&mut self, ask: &Ask, body: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Head, Missed> {
        self.asked.push(ask.url.clone());
        let (status, text) = self.answers.pop_front().unwrap_or(Err(Missed::Unreachable("nobody".into())))?;
        body(text.as_bytes()).expect("taken");
        Ok(Head { status, ..Head::default() })
    }

    fn addresses(&mut self, name: &str, _within: Duration) -> Result<Vec<IpAddr>, Missed> {
        self.asked.push(name.to_owned());
        Ok(self.codes.clone())
    }
}

fn address(text: &str) -> Subject {
    Subject::address(text.parse().expect("ip")).expect("public")
}

#[test]
fn spamhaus_codes_are_read_and_its_errors_are_no_listings() {
    let service = spamhaus::Spamhaus::new("zen.spamhaus.org");
    let ask = |addr: &str, codes: &[&str]| {
        let codes = codes.iter().map(|code| code.parse().expect("ip")).collect();
        let mut fake = Fake { codes, ..Fake::default() };
        let said = service.ask(&address(addr), &mut fake);
        (said, fake.asked.remove(0))
    };
    let (said, asked) = ask("8.8.4.1", &["127.0.0.2", "127.0.0.9", "127.0.0.10"]);
    let said = said.expect("an answer");
    assert_eq!(asked, "1.4.8.8.zen.spamhaus.org.");
    assert_eq!(said.facts["lists"], json!(["DROP", "PBL", "SBL"]));
    assert_eq!(said.verdict.map(|verdict| verdict.level).as_deref(), Some("medium"));
    let (home, asked) = ask("2001:4860::8888", &["127.0.0.11"]);
    assert_eq!(home.expect("an answer").verdict, None, "half the homes of the world are on it");
    assert!(asked.starts_with("8.8.8.8.0.0.0.0.") && asked.contains(".0.6.8.4.1.0.0.2.zen"), "{asked}");
    assert_eq!(ask("8.8.4.1", &[]).0, Ok(Opinion::default()));
    for error in ["127.255.255.252", "127.255.255.254", "127.255.255.255", "203.0.113.80"] {
        assert!(ask("8.8.4.1", &[error]).0.is_err(), "{error}");
    }
}

#[test]
fn what_servers_say_instead_of_answering_is_told_apart() {
    let service = hashlookup::HashLookup::new("https://a.example");
    let file = Subject::file("d41d8cd98f00b204e9800998ecf8427e").expect("a digest");
    let ask = |status, body: &str| service.ask(&file, &mut Fake::default().then(status, body));
    assert_eq!(ask(404, "{}"), Ok(Opinion::default()));
    assert_eq!(ask(429, ""), Err(Trouble::Enough(None)));
    assert_eq!(ask(204, ""), Err(Trouble::Enough(None)));
    for (status, body) in [(401, ""), (403, ""), (500, ""), (200, "<html>"), (200, "")] {
        assert!(matches!(ask(status, body), Err(Trouble::Missed(_))), "{status} {body}");
    }
    for odd in [
        "[]",
        "7",
        "null",
        "{\"KnownMalicious\":7}",
        "{\"hashlookup:trust\":\"x\"}",
        "{\"hashlookup:trust\":1e300}",
    ] {
        assert!(ask(200, odd).is_ok(), "{odd}");
    }
}

/// A service that says that all is bad, at a pace.
struct Harsh(Pace);

impl Service for Harsh {
    fn name(&self) -> &'static str {
        "harsh"
    }
    fn knows(&self, _: &Subject) -> bool {
        true
    }
    fn pace(&self) -> Pace {
        self.0
    }
    fn holds(&self) -> Duration {
        Duration::from_secs(1000)
    }
    fn ask(&self, subject: &Subject, asks: &mut dyn Asks) -> Result<Opinion, Trouble> {
        get(Ask::get(&format!("https://harsh.example/{subject}"), MOST, WITHIN), Sent::Key, asks)?;
        Ok(Opinion {
            verdict: Some(Verdict::new(ThreatLevel::Critical, 0.9, "it is bad")),
            ..Opinion::default()
        })
    }
}

struct Room {
    dir: tempfile::TempDir,
    desk: Desk,
    now: Moment,
    fake: Fake,
}

impl Room {
    fn new(minute: u32, day: u32) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let desk = Self::desk(&dir, minute, day);
        let now = Moment { steady: Duration::from_secs(10), wall: 86_400 * 20_000 };
        Self { dir, desk, now, fake: Fake::default() }
    }

    fn desk(dir: &tempfile::TempDir, minute: u32, day: u32) -> Desk {
        let answers = Answers::open(dir.path().join("services.sqlite")).expect("open");
        Desk::new(vec![Box::new(Harsh(Pace { minute, day }))], answers)
    }

    fn take(&mut self, case: Case) -> Vec<Told> {
        let mut told = Vec::new();
        self.desk.take(case, self.now, &mut told).expect("kept");
        told
    }

    /// A turn so many seconds later; how many were asked, and what is told.
    fn turn(&mut self, later: u64, status: u16) -> (usize, Vec<Told>) {
        self.now.steady += Duration::from_secs(later);
        self.now.wall += i64::try_from(later).expect("a time");
        self.fake = Fake::default().then(status, "{}");
        let mut told = Vec::new();
        self.desk.turn(&mut self.fake, self.now, &mut told).expect("kept");
        (self.fake.asked.len(), told)
    }
}

fn called(n: u8) -> Case {
    let host = "192.168.1.5".parse().expect("ip");
    Case { subject: address(&format!("8.8.8.{n}")), met: Met::Called { host, proven: false } }
}

#[test]
fn questions_keep_the_pace_and_the_day_over_restarts() {
    let mut room = Room::new(4, 3);
    for n in 1..=5 {
        assert!(room.take(called(n)).is_empty());
    }
    assert_eq!(room.turn(0, 200).0, 1);
    assert_eq!(room.turn(14, 200).0, 0, "four in a minute");
    assert_eq!(room.desk.wait(room.now), Some(Duration::from_secs(1)));
    assert_eq!(room.turn(1, 200).0, 1);
    // What was answered is known after a restart, and so is how often was asked today.
    room.desk = Room::desk(&room.dir, 4, 3);
    assert_eq!(room.take(called(1)).len(), 1, "told at once");
    assert!(room.take(called(1)).is_empty(), "once");
    room.take(called(3));
    room.take(called(4));
    assert_eq!(room.turn(15, 200).0, 1);
    assert_eq!(room.turn(15, 200).0, 0, "the day is used up");
    assert_eq!(room.desk.wait(room.now), None, "nobody wakes up for it");
    assert_eq!(room.turn(86_400, 200).0, 1, "another day");
}

#[test]
fn a_server_in_trouble_is_left_alone_longer_each_time() {
    let mut room = Room::new(60, 1000);
    room.take(called(1));
    assert_eq!(room.turn(0, 429).0, 1);
    assert_eq!(room.turn(59, 200).0, 0);
    assert_eq!(room.turn(1, 429).0, 1, "the same question");
    assert_eq!(room.turn(119, 200).0, 0);
    assert_eq!(room.turn(1, 200).0, 1);
    room.take(called(2));
    room.turn(3600, 500);
    assert_eq!(room.turn(60, 500).0, 1, "a second try");
    assert_eq!(room.turn(3600, 500).0, 0, "and no third");
    room.take(called(3));
    room.take(called(4));
    let (_, told) = room.turn(3600, 401);
    assert!(matches!(&told[..], [Told::Problem(problem)] if problem.contains("key")), "{told:?}");
    assert_eq!(room.turn(100_000, 200).0, 0, "never again");
    assert_eq!(room.desk.wait(room.now), None);
}

#[test]
fn what_waits_is_bounded_and_so_is_what_is_remembered() {
    let mut room = Room::new(1, 10);
    for n in 0..20_000u32 {
        let [_, b, c, d] = n.to_be_bytes();
        let subject = Subject::address(IpAddr::from([9, b, c, d])).expect("public");
        room.take(Case { subject, met: Met::Seen });
    }
    assert_eq!(room.desk.unasked, 20_000 - 256);
    room.turn(0, 200);
    assert_eq!(room.fake.asked, ["https://harsh.example/9.0.0.0"], "who came first");
}

fn findings(met: Met, subject: Subject) -> Vec<Finding> {
    let verdict = Verdict::new(ThreatLevel::Critical, 1.0, "it is bad");
    Case { subject, met }.findings(&verdict, PacketTime(0))
}

#[test]
fn a_service_accuses_the_remote_side_and_never_blocks_by_itself() {
    let [host, server]: [IpAddr; 2] = ["192.168.1.5", "8.8.8.8"].map(|addr| addr.parse().expect("ip"));
    let remote = address("8.8.8.8");
    assert!(findings(Met::Seen, remote.clone()).is_empty());
    let from = findings(Met::Called { host, proven: true }, remote.clone());
    assert_eq!(from.len(), 1);
    assert_eq!(
        (from[0].kind, from[0].level, from[0].proof),
        (EvidenceKind::FromBlacklistedIp, ThreatLevel::Medium, Proof::Proven)
    );
    let called = Case { subject: remote, met: Met::Called { host, proven: true } };
    assert_eq!(called.sides(), (Some(server), Some(host)));
    assert_eq!((&from[0].attacker, &from[0].victim), (&Entity::Ip(server), &Some(Entity::Ip(host))));
    let page = || Subject::page("bad.wikipedia.org", "/x").expect("public");
    let fetched = |bare| findings(Met::Fetched { client: host, server, port: 80, bare }, page());
    let levels = |found: &[Finding]| found.iter().map(|finding| finding.level).collect::<Vec<_>>();
    assert_eq!(levels(&fetched(false)), [ThreatLevel::Medium, ThreatLevel::Low], "many pages share a server");
    assert_eq!(levels(&fetched(true)), [ThreatLevel::High, ThreatLevel::Low]);
    let file = Subject::file("d41d8cd98f00b204e9800998ecf8427e").expect("a digest");
    let sent = findings(Met::Sent { sender: server, receiver: host }, file);
    assert_eq!(levels(&sent), [ThreatLevel::High, ThreatLevel::Low]);
    assert_eq!(
        (sent[1].profile, sent[1].proof),
        (host, Proof::Unproven),
        "a page can make anybody fetch anything"
    );
    assert_eq!((&sent[0].related[..], &sent[1].related[..]), (&[sent[1].id()][..], &[sent[0].id()][..]));
}

fn about(src: IpAddr, dst: IpAddr, port: u16) -> About {
    About {
        at: PacketTime(0),
        uid: Uid::new("C1"),
        src: Endpoint { addr: src, port: 40_000 },
        dst: Endpoint { addr: dst, port },
        proto: Proto::Tcp,
        interface: 0,
        heard: true,
        tunnelled: false,
        src_mac: None,
    }
}

fn dns(src: IpAddr, query: &str) -> Event {
    Event::Dns(Box::new(Dns {
        about: about(src, src, 53),
        trans_id: 1,
        rtt: None,
        query: query.into(),
        qclass: 1,
        qtype: 1,
        rcode: Some(0),
        flags: DnsFlags::default(),
        answers: Vec::new(),
        rejected: false,
    }))
}

fn file(sender: IpAddr, receiver: IpAddr) -> Event {
    Event::File(Box::new(File {
        sender: Some(sender),
        receiver: Some(receiver),
        md5: "44d88612fea8a8f36de82e1278abb02f".into(),
        ..File::default()
    }))
}

/// A file that a host of ours got from a server, and a name that it asked for.
pub(crate) fn met(host: IpAddr, server: IpAddr) -> Vec<Event> {
    vec![file(server, host), dns(host, "en.wikipedia.org")]
}

fn found(event: &Event) -> Vec<String> {
    let mut found = Vec::new();
    cases(event, &LocalNets::private(), &mut |case| found.push(case.subject.to_string()));
    found
}

#[test]
fn only_what_is_outside_and_not_private_is_taken_from_traffic() {
    let [host, other, server]: [IpAddr; 3] =
        ["192.168.1.5", "192.168.1.9", "8.8.8.8"].map(|addr| addr.parse().expect("ip"));
    assert_eq!(found(&dns(host, "token-of-mine.en.wikipedia.org")), ["wikipedia.org"]);
    assert!(found(&dns(host, "printer.local")).is_empty());
    assert!(found(&dns(server, "wikipedia.org")).is_empty(), "somebody else's question");
    assert_eq!(found(&file(server, host)), ["44d88612fea8a8f36de82e1278abb02f"]);
    assert_eq!(found(&file(host, server)), ["44d88612fea8a8f36de82e1278abb02f"]);
    assert!(found(&file(other, host)).is_empty(), "between our own");
    let flow = |src, dst| {
        let ends = [src, dst].map(|addr| Endpoint { addr, port: 1000 });
        Event::Flow(Flow::new(PacketTime(0), Proto::Tcp, ends[0], ends[1]))
    };
    assert_eq!(
        (found(&flow(host, server)), found(&flow(server, host))),
        (vec!["8.8.8.8".into()], vec!["8.8.8.8".into()])
    );
    assert!(found(&flow(host, other)).is_empty() && found(&flow(server, server)).is_empty());
}

fn page(about: About, host: &str) -> Event {
    Event::Http(Box::new(Http {
        about,
        trans_depth: 1,
        method: "GET".into(),
        host: host.into(),
        uri: "/x".into(),
        referrer: String::new(),
        version: "1.1".into(),
        user_agent: String::new(),
        request_body_len: 0,
        response_body_len: 0,
        status_code: Some(200),
        status_msg: String::new(),
        resp_mime_types: Vec::new(),
        resp_fuids: Vec::new(),
        username: String::new(),
        orig_mime_types: Vec::new(),
        orig_fuids: Vec::new(),
        from_page: false,
    }))
}

#[test]
fn pages_of_our_own_servers_are_nobodys_business() {
    let [host, ours, server]: [IpAddr; 3] =
        ["192.168.1.5", "8.8.4.4", "8.8.8.8"].map(|addr| addr.parse().expect("ip"));
    let mut nets = LocalNets::private().nets().to_vec();
    nets.push("8.8.4.0/24".parse().expect("a net"));
    let nets = LocalNets::new(nets);
    let found = |server, host_header: &str| {
        let mut found = Vec::new();
        cases(&page(about(host, server, 80), host_header), &nets, &mut |case| {
            found.push(case.subject.to_string())
        });
        found
    };
    assert_eq!(found(server, "en.wikipedia.org"), ["http://en.wikipedia.org/x"]);
    assert_eq!(found(server, ""), ["http://8.8.8.8/x"]);
    assert!(found(ours, "en.wikipedia.org").is_empty());
    assert!(found(server, "8.8.4.4").is_empty() && found(server, "8.8.4.4:8080").is_empty());
}
