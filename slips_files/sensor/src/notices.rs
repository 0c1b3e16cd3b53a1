//! The notices that Zeek with the original's scripts would write, made of the sensor's own events, for `slips sensor`.
//!
//! The engine does without: its detections read the events themselves, and know more than a notice tells.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use slips_core::event::{Event, Notice, Ssh};
use slips_core::flow::{Flow, Phase, Proto, Uid};
use slips_core::time::{PacketTime, Span};

/// Failed SSH connections of a source that are a notice, and the time within which they must come (Zeek's defaults).
const GUESSES: usize = 30;
const GUESSING_TIME: Span = Span::from_secs(30 * 60);
/// A notice about the same source is not repeated for this long (Zeek's default).
const SUPPRESSED: Span = Span::from_secs(3600);
/// Servers that the notice names.
const SAMPLES: usize = 5;
/// Each so many further hosts that a source pings are a notice; at so many it is forgotten whom it pinged (the original's script).
const HOSTS_STEP: usize = 5;
const HOSTS_MAX: usize = 255;
/// Sources that are remembered, each for guesses and for pings. Beyond that the first in order is forgotten.
const MAX_SOURCES: usize = 4096;

/// Failed logins of a source.
#[derive(Debug, Default)]
struct Guesses {
    failed: VecDeque<(PacketTime, IpAddr)>,
    told: Option<PacketTime>,
}

/// What is remembered to see them. Bounded: 4096 sources.
#[derive(Debug, Default)]
pub struct Notices {
    guesses: BTreeMap<IpAddr, Guesses>,
    /// By source and ICMP type.
    pinged: BTreeMap<(IpAddr, u16), BTreeSet<IpAddr>>,
    gateway: Option<IpAddr>,
}

impl Notices {
    /// Looks at an event; the notice that it gives rise to.
    pub fn look(&mut self, event: &Event) -> Option<Notice> {
        match event {
            Event::Ssh(session) if session.auth_success == Some(false) => self.failed_login(session),
            Event::Flow(flow) if flow.phase == Phase::Start && flow.proto == Proto::Icmp => self.ping(flow),
            Event::Dhcp(dhcp) if dhcp.relay.is_some() && dhcp.relay != self.gateway => {
                self.gateway = dhcp.relay;
                let gateway = dhcp.relay?;
                let uid = dhcp.uids.first().copied().unwrap_or(Uid::EMPTY);
                let msg = format!("Gateway address identified: {gateway}");
                Some(Notice { uid, ..notice(dhcp.at, "Gateway_addr_identified", msg) })
            }
            _ => None,
        }
    }

    fn failed_login(&mut self, session: &Ssh) -> Option<Notice> {
        let (at, src) = (session.about.at, session.about.src.addr);
        make_room(&mut self.guesses, &src);
        let guesses = self.guesses.entry(src).or_default();
        guesses.failed.push_back((at, session.about.dst.addr));
        while guesses.failed.len() > GUESSES
            || guesses.failed.front().is_some_and(|(since, _)| at.since(*since) > GUESSING_TIME)
        {
            guesses.failed.pop_front();
        }
        if guesses.failed.len() < GUESSES || guesses.told.is_some_and(|told| at.since(told) < SUPPRESSED) {
            return None;
        }
        guesses.told = Some(at);
        let servers: Vec<_> =
            guesses.failed.iter().take(SAMPLES).map(|(_, server)| server.to_string()).collect();
        let msg = format!("{src} appears to be guessing SSH passwords (seen in {GUESSES} connections).");
        let sub = format!("Sampled servers:  {}", servers.join(", "));
        Some(Notice { sub, src: Some(src), ..notice(at, "SSH::Password_Guessing", msg) })
    }

    fn ping(&mut self, flow: &Flow) -> Option<Notice> {
        // The source port of an ICMP flow is its type.
        let (note, what) = match flow.src.port {
            8 if flow.src.addr.is_ipv4() => ("ICMP::ICMPAddressScan", "ICMP address"),
            13 => ("ICMP::TimestampScan", "ICMP timestamp"),
            17 => ("ICMP::AddressMaskScan", "ICMP address mask"),
            _ => return None,
        };
        let (src, key) = (flow.src.addr, (flow.src.addr, flow.src.port));
        make_room(&mut self.pinged, &key);
        let pinged = self.pinged.entry(key).or_default();
        if !pinged.insert(flow.dst.addr) || !pinged.len().is_multiple_of(HOSTS_STEP) {
            return None;
        }
        let hosts = pinged.len();
        if hosts >= HOSTS_MAX {
            pinged.clear();
        }
        let msg = format!("{src} performed {what} scan on {hosts} hosts");
        Some(Notice { src: Some(src), uid: flow.uid, ..notice(flow.start, note, msg) })
    }
}

fn make_room<K: Ord, V>(map: &mut BTreeMap<K, V>, key: &K) {
    if map.len() >= MAX_SOURCES && !map.contains_key(key) {
        map.pop_first();
    }
}

fn notice(at: PacketTime, note: &str, msg: String) -> Notice {
    Notice {
        at,
        uid: Uid::EMPTY,
        note: note.to_owned(),
        msg,
        sub: String::new(),
        src: None,
        dst: None,
        port: None,
        proto: None,
        count: None,
    }
}

#[cfg(test)]
mod tests {
    use slips_core::event::{About, Dhcp};
    use slips_core::flow::Endpoint;

    use super::*;

    fn failed(src: &str, second: i64) -> Event {
        let end = |addr: &str, port| Endpoint { addr: addr.parse().expect("address"), port };
        let about = About {
            at: PacketTime::from_secs_micros(second, 0),
            uid: Uid::EMPTY,
            src: end(src, 4000),
            dst: end("192.0.2.22", 22),
            proto: Proto::Tcp,
            interface: 0,
            heard: true,
            tunnelled: false,
            src_mac: None,
        };
        let text = String::new;
        Event::Ssh(Box::new(Ssh {
            about,
            version: Some(2),
            auth_success: Some(false),
            auth_attempts: 1,
            client: text(),
            server: text(),
            cipher_alg: text(),
            mac_alg: text(),
            compression_alg: text(),
            kex_alg: text(),
            host_key_alg: text(),
            host_key: text(),
            hassh: text(),
            hassh_server: text(),
        }))
    }

    #[test]
    fn thirty_failed_logins_in_half_an_hour_are_one_notice_an_hour() {
        let mut notices = Notices::default();
        let seen: Vec<_> = (0..110).filter_map(|n| notices.look(&failed("10.0.0.1", n * 50))).collect();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].note, "SSH::Password_Guessing");
        assert!(seen[0].msg.contains("(seen in 30 connections)") && seen[0].sub.contains("192.0.2.22, "));
        let mut slow = Notices::default();
        assert!((0..100).all(|n| slow.look(&failed("10.0.0.1", n * 70)).is_none()));
    }

    #[test]
    fn the_gateway_is_told_when_it_is_another() {
        let mut notices = Notices::default();
        let mut told = |last: u8| {
            let dhcp = Dhcp { relay: Some([10, 0, 0, last].into()), ..Dhcp::default() };
            notices.look(&Event::Dhcp(Box::new(dhcp))).map(|notice| notice.msg)
        };
        assert_eq!(told(1).as_deref(), Some("Gateway address identified: 10.0.0.1"));
        assert_eq!(told(1), None);
        assert!(told(2).is_some());
    }

    #[test]
    fn sources_are_forgotten_beyond_the_bound() {
        let mut notices = Notices::default();
        for n in 0..MAX_SOURCES + 10 {
            notices.look(&failed(&format!("10.0.{}.{}", n / 250, n % 250), 1));
        }
        assert_eq!(notices.guesses.len(), MAX_SOURCES);
    }
}
