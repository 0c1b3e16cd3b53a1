//! Visits of a household's clients, as events: for the bench and the test of memory.

use std::net::IpAddr;
use std::{fs, io};

use slips_core::event::{About, Dns, DnsAnswer, DnsData, DnsFlags, Event, Http, Tls, TlsFields};
use slips_core::flow::{ConnState, Endpoint, Flow, MacAddr, Phase, Proto, Uid, Volume};
use slips_core::time::{PacketTime, Span};

/// Servers that are visited.
pub const SERVERS: u32 = 2_000;

/// A visit `n`, made `millis` after the beginning.
#[derive(Clone, Copy)]
pub struct Visit {
    pub n: u32,
    pub millis: i64,
    pub client: [u8; 4],
    pub server: u32,
}

impl Visit {
    fn server_ip(self) -> [u8; 4] {
        [203, 0, (self.server / 250) as u8, (self.server % 250) as u8]
    }

    pub fn about(self, dst: [u8; 4], port: u16, proto: Proto) -> About {
        About {
            at: PacketTime::from_secs_micros(1_700_000_000, self.millis * 1000),
            uid: Uid::new(&format!("C{}x{port}", self.n)),
            src: Endpoint { addr: IpAddr::from(self.client), port: 40_000 + (self.n % 20_000) as u16 },
            dst: Endpoint { addr: IpAddr::from(dst), port },
            proto,
            interface: 0,
            heard: true,
            tunnelled: false,
            src_mac: None,
        }
    }

    fn question(self) -> Event {
        let answer = DnsAnswer { data: DnsData::Addr(IpAddr::from(self.server_ip())), ttl: Some(300) };
        Event::Dns(Box::new(Dns {
            about: self.about([192, 168, 1, 1], 53, Proto::Udp),
            trans_id: self.n as u16,
            rtt: None,
            query: format!("www.place{}.example{}.org", self.server, self.server % 40),
            qclass: 1,
            qtype: 1,
            rcode: Some(0),
            flags: DnsFlags::default(),
            answers: vec![answer],
            rejected: false,
        }))
    }

    fn flow(self, port: u16, phase: Phase, state: ConnState) -> Event {
        let about = self.about(self.server_ip(), port, Proto::Tcp);
        let mut flow = Flow::new(about.at, Proto::Tcp, about.src, about.dst);
        (flow.uid, flow.phase, flow.state) = (about.uid, phase, state);
        if phase == Phase::End && state == ConnState::SF {
            flow.orig = Volume { pkts: 8, bytes: 1_000, ip_bytes: 1_400 };
            flow.resp = Volume { pkts: 8, bytes: 20_000, ip_bytes: 20_400 };
            (flow.orig_new, flow.resp_new) = (flow.orig, flow.resp);
            flow.duration = Some(Span::from_millis(80));
            flow.seen = flow.start + Span::from_millis(80);
        }
        Event::Flow(flow)
    }

    /// The request or the handshake.
    fn content(self, port: u16) -> Event {
        let about = self.about(self.server_ip(), port, Proto::Tcp);
        let name = format!("www.place{}.example{}.org", self.server, self.server % 40);
        if port == 443 {
            let fields = TlsFields { server_name: name, established: true, ..TlsFields::default() };
            return Event::Tls(Box::new(Tls { about, fields }));
        }
        Event::Http(Box::new(Http {
            about,
            trans_depth: 1,
            method: "GET".into(),
            host: name,
            uri: format!("/pages/{}.html", self.n),
            referrer: String::new(),
            version: "1.1".into(),
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0".into(),
            request_body_len: 0,
            response_body_len: 20_000,
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

    /// A question, a connection as it begins, what is said, its end.
    pub fn events(self) -> [Event; 4] {
        let port = if self.n.is_multiple_of(5) { 80 } else { 443 };
        [
            self.question(),
            self.flow(port, Phase::Start, ConnState::S0),
            self.content(port),
            self.flow(port, Phase::End, ConnState::SF),
        ]
    }
}

/// Clients of a network of ours, each of them with so many visits, within half an hour of the `hour`.
pub fn clients(network: u8, count: u32, visits: u32, hour: i64) -> impl Iterator<Item = Visit> {
    (0..count * visits).map(move |n| {
        let [_, _, high, low] = (n % count).to_be_bytes();
        let millis = hour * 3_600_000 + i64::from(n) * 1_800_000 / i64::from(count * visits);
        Visit { n, millis, client: [10, network, high, low], server: n.wrapping_mul(2_654_435_761) % SERVERS }
    })
}

/// Bytes of the resident set.
pub fn resident() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = text.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    pages.map(|pages| pages * 4096).ok_or_else(|| io::Error::other("statm has no number"))
}

/// A SYN that nobody answers, 20 µs after the one before.
pub fn syn(n: u32, src: IpAddr, dst: IpAddr, port: u16) -> Event {
    let at = PacketTime(1_700_000_000_000_000 + i64::from(n) * 20);
    let end = |addr, port| Endpoint { addr, port };
    let mut flow = Flow::new(at, Proto::Tcp, end(src, 1024 + (n % 50_000) as u16), end(dst, port));
    (flow.state, flow.phase) = (ConnState::S0, Phase::End);
    flow.orig = Volume { pkts: 1, bytes: 0, ip_bytes: 40 };
    flow.src_mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
    Event::Flow(flow)
}

/// The `n`th forged sender: each is another one.
pub fn sender(n: u32) -> IpAddr {
    IpAddr::from((0x5000_0000 + n.wrapping_mul(2_654_435_761) % 0x4000_0000).to_be_bytes())
}
