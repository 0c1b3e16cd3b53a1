//! What the tests of the detections build their traces from.

use std::net::IpAddr;
use std::sync::Arc;

use slips_core::detector::{Bench, Detector};
use slips_core::event::{
    About, Arp, ArpOp, Dns, DnsAnswer, DnsData, DnsFlags, Event, Http, Notice, Tls, TlsFields,
};
use slips_core::evidence::{Finding, ThreatLevel};
use slips_core::flow::{ConnState, Endpoint, Flow, MacAddr, Phase, Proto, Uid, Volume};
use slips_core::intel::{Current, Intelligence, Key, Listed};
use slips_core::neighbour::{Discovery, Neighbour, Prefix, RouterAdvertisement};
use slips_core::time::{PacketTime, Span};

/// The beginning of an hour.
const BASE: i64 = 1_700_000_000 / 3600 * 3600;

/// An address.
pub fn at(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// So many seconds after the beginning of the trace.
pub fn secs(secs: i64) -> PacketTime {
    PacketTime::from_secs_micros(BASE + secs, 0)
}

/// A bench around a detector.
pub fn bench(detector: impl Detector + 'static) -> Bench {
    Bench::new(Box::new(detector))
}

/// `level confidence` of each finding.
pub fn levels(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| format!("{} {}", f.level, f.confidence.get())).collect()
}

/// A flow in the making.
pub struct Talk(Flow);

impl Talk {
    fn new(proto: Proto, src: &str, src_port: u16, dst: &str, dst_port: u16) -> Self {
        let end = |addr, port| Endpoint { addr: at(addr), port };
        let mut flow = Flow::new(secs(0), proto, end(src, src_port), end(dst, dst_port));
        flow.state = ConnState::S0;
        flow.uid = Uid::new(&format!("C{proto}{src}{dst}{dst_port}"));
        Self(flow)
    }

    /// An unanswered SYN.
    pub fn tcp(src: &str, dst: &str, port: u16) -> Self {
        Self::new(Proto::Tcp, src, 40_000, dst, port)
    }

    /// An unanswered ICMP message.
    pub fn icmp(src: &str, dst: &str, kind: u16) -> Self {
        let mut talk = Self::new(Proto::Icmp, src, kind, dst, 0);
        talk.0.state = ConnState::Oth;
        talk
    }

    /// In this state.
    pub fn state(mut self, state: ConnState) -> Self {
        self.0.state = state;
        self
    }

    /// At this moment of its life.
    pub fn phase(mut self, phase: Phase) -> Self {
        self.0.phase = phase;
        self
    }

    /// Beginning so many seconds into the trace.
    pub fn at(mut self, start: i64) -> Self {
        self.0.start = secs(start);
        self.0.seen = secs(start);
        self
    }

    /// Of this identity.
    pub fn uid(mut self, uid: &str) -> Self {
        self.0.uid = Uid::new(uid);
        self
    }

    /// Lasting so many milliseconds.
    pub fn lasting(mut self, millis: i64) -> Self {
        self.0.duration = Some(Span::from_millis(millis));
        self.0.seen = self.0.start + Span::from_millis(millis);
        self
    }

    /// Completed, with so many payload bytes from each side.
    pub fn carrying(mut self, orig: u64, resp: u64) -> Self {
        let volume = |bytes: u64| Volume { pkts: 10 + bytes / 1000, bytes, ip_bytes: bytes + 400 };
        self.0.state = ConnState::SF;
        (self.0.orig, self.0.orig_new) = (volume(orig), volume(orig));
        (self.0.resp, self.0.resp_new) = (volume(resp), volume(resp));
        self
    }

    /// The flow.
    pub fn flow(self) -> Flow {
        self.0
    }

    /// The flow as an event.
    pub fn event(self) -> Event {
        Event::Flow(self.0)
    }
}

/// A notice of Zeek about `src`.
pub fn notice(note: &str, msg: &str, src: &str) -> Event {
    Event::Notice(Box::new(Notice {
        at: secs(0),
        uid: Uid::EMPTY,
        note: note.into(),
        msg: msg.into(),
        sub: String::new(),
        src: Some(at(src)),
        dst: None,
        port: None,
        proto: None,
        count: None,
    }))
}

/// A broadcast question of `sender`, whose hardware address ends in `mac`, for `target`.
pub fn arp(sender: &str, target: &str, mac: u8) -> Arp {
    let mac = MacAddr([2, 0, 0, 0, 0, mac]);
    Arp {
        at: secs(0),
        op: ArpOp::Request,
        frame_src: mac,
        frame_dst: MacAddr::BROADCAST,
        sender: at(sender),
        sender_mac: mac,
        target: at(target),
        target_mac: MacAddr::ZERO,
        interface: 0,
    }
}

fn neighbour(src: &str, mac: u8, second: i64, message: Discovery) -> Event {
    Event::Neighbour(Box::new(Neighbour {
        at: secs(second),
        src: at(src),
        dst: at("ff02::1"),
        frame_src: Some(MacAddr([2, 0, 0, 0, 0, mac])),
        message,
        interface: 0,
    }))
}

fn six(text: &str) -> std::net::Ipv6Addr {
    text.parse().expect("an address")
}

/// `src` says that `target` is at its hardware address, which ends in `mac`.
pub fn advertises(src: &str, target: &str, mac: u8, second: i64) -> Event {
    let link = Some(MacAddr([2, 0, 0, 0, 0, mac]));
    let said = Discovery::Advertisement {
        target: six(target),
        link,
        is_router: false,
        is_solicited: false,
        overrides: true,
    };
    neighbour(src, mac, second, said)
}

/// `src` says that it is a router for half an hour.
pub fn router_advertises(src: &str, mac: u8, second: i64) -> Event {
    let router = RouterAdvertisement {
        lifetime: Span::from_secs(1800),
        link: Some(MacAddr([2, 0, 0, 0, 0, mac])),
        prefixes: vec![Prefix {
            net: six("2001:db8::"),
            len: 64,
            valid: Span::from_secs(86_400),
            is_autonomous: true,
        }],
        ..RouterAdvertisement::default()
    };
    neighbour(src, mac, second, Discovery::RouterAdvertisement(Box::new(router)))
}

/// What a record of `src` at `dst`'s TCP port tells about itself, so many seconds into the trace.
pub fn about(src: &str, dst: &str, port: u16, second: i64) -> About {
    About {
        at: secs(second),
        uid: Uid::new(&format!("C{second}")),
        src: Endpoint { addr: at(src), port: 40_000 },
        dst: Endpoint { addr: at(dst), port },
        proto: Proto::Tcp,
        interface: 0,
        heard: true,
        tunnelled: false,
        src_mac: None,
    }
}

/// A request of 192.168.1.5 that was answered with 200.
pub fn http(dst: &str, host: &str, uri: &str, second: i64) -> Http {
    Http {
        about: about("192.168.1.5", dst, 80, second),
        trans_depth: 1,
        method: "GET".into(),
        host: host.into(),
        uri: uri.into(),
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
    }
}

/// A handshake of 192.168.1.5 with the server of that name.
pub fn tls(dst: &str, server_name: &str) -> Event {
    let fields = TlsFields { server_name: server_name.into(), established: true, ..TlsFields::default() };
    Event::Tls(Box::new(Tls { about: about("192.168.1.5", dst, 443, 0), fields }))
}

/// A question of 192.168.1.5 that its resolver answered with these.
pub fn dns(query: &str, answers: &[DnsData]) -> Dns {
    let mut about = about("192.168.1.5", "192.168.1.1", 53, 0);
    about.proto = Proto::Udp;
    Dns {
        about,
        trans_id: 1,
        rtt: None,
        query: query.into(),
        qclass: 1,
        qtype: 1,
        rcode: Some(0),
        flags: DnsFlags::default(),
        answers: answers.iter().map(|data| DnsAnswer { data: data.clone(), ttl: Some(60) }).collect(),
        rejected: false,
    }
}

/// A list that names one key.
struct List {
    level: ThreatLevel,
    /// Whether the key is listed, and then whether itself.
    names: fn(Key<'_>) -> Option<bool>,
}

impl Intelligence for List {
    fn look_up(&self, key: Key<'_>) -> Option<Listed<'_>> {
        (self.names)(key).map(|exact| Listed {
            level: self.level,
            description: "bot",
            sources: "own.csv",
            tags: "",
            first_seen: None,
            last_seen: None,
            exact,
        })
    }
}

/// A list of the administrator that names, as a bot, what `names` says is listed: itself or by a parent.
pub fn listing(level: ThreatLevel, names: fn(Key<'_>) -> Option<bool>) -> Current {
    Current::new(Arc::new(List { level, names }))
}
