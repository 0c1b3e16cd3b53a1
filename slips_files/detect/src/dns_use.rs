//! Addresses that nobody asked for (`CONNECTION_WITHOUT_DNS`), and names that nobody used (`DNS_WITHOUT_CONNECTION`).

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Dns, DnsData, Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Outcome, Phase, Proto};
use slips_core::state::PerSlot;
use slips_core::time::{PacketTime, Span, WindowId};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, member_of, member_of_ip};
use crate::{attempt, names};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "dns_use",
    kinds: &[EvidenceKind::ConnectionWithoutDns, EvidenceKind::DnsWithoutConnection],
    events: &[EventKind::Flow, EventKind::Dns],
    roles: &[Role::Src],
    thresholds: &[COUNTS],
    header: Header {
        detects: "Addresses that nobody asked for (`CONNECTION_WITHOUT_DNS`), and names that nobody used \
            (`DNS_WITHOUT_CONNECTION`).",
        attack: "T1095 Non-Application Layer Protocol, T1071.004 DNS, T1568 Dynamic Resolution.",
        rule: "Of a host of ours that is seen to ask. Without DNS: a connection to an outside address that was in \
            no answer to it within a day; counted are distinct addresses. Without connection: a name with \
            outside addresses none of which it contacts within half an hour; counted are distinct names.",
        numbers: "A day and half an hour are the original's, which counts windows instead of hours and never comes to \
            a decision. A host is seen to ask when it asked for ten names, the first one half an hour ago: who \
            asks elsewhere (DNS over HTTPS, a resolver of its own) is not judged.",
        quiet: "Info, and nothing else: time servers, calls (STUN), peer-to-peer, names that a browser asks for in \
            advance do all of this. One evidence each, told at 1, 10, 100 and 1,000.",
        evasion: "Asking for any name of the address; DNS over HTTPS.",
        proof: "Proven where the connection was two-way, or by the hardware address.",
    },
};

/// Steps in addresses without a name, and in names without a connection.
pub const COUNTS: Threshold = Threshold::steps(
    "counts",
    "addresses without a name, and in names without a connection",
    Unit::Count,
    &[
        rung(1, ThreatLevel::Info, 0.1),
        rung(10, ThreatLevel::Info, 0.3),
        rung(100, ThreatLevel::Info, 0.5),
        rung(1000, ThreatLevel::Info, 0.8),
    ],
);

const DAY: Span = Span::from_secs(86_400);
const HALF_AN_HOUR: Span = Span::from_secs(1800);
/// Names that a host must have asked for.
const ASKS: u32 = 10;
/// Addresses per host: of answers, and contacted; those seen longest ago make room.
const MAX_ADDRESSES: usize = 512;
/// Names per host that wait for a connection, and addresses of one.
const MAX_WAITING: usize = 32;
const MAX_ANSWERS: usize = 4;
/// Ports whose clients know addresses by heart: DNS, time, STUN, DNS over TLS.
const BY_HEART: [u16; 5] = [53, 123, 853, 3478, 3479];

/// An address in twelve bytes: what tells it from a client's others, and the seconds in which it was last in an answer and last
/// contacted; zero for never. A household has thousands.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    tag: u32,
    answered: u32,
    contacted: u32,
}

/// Addresses of a client, by their tag.
#[derive(Debug, Default)]
struct Addresses {
    known: Vec<Known>,
    hand: u32,
}

#[derive(Debug)]
struct Waiting {
    name: u64,
    answers: [u32; MAX_ANSWERS],
    at: PacketTime,
    dns: Box<str>,
}

#[derive(Debug, Default)]
struct Client {
    first: Option<PacketTime>,
    asked: u32,
    addresses: Addresses,
    waiting: Vec<Waiting>,
}

/// Fixed, because the same input must give the same result in every run; never zero.
fn tag_of(addr: IpAddr) -> u32 {
    (member_of_ip(addr).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 | 1
}

fn second_of(at: PacketTime) -> u32 {
    u32::try_from(at.0.div_euclid(1_000_000)).unwrap_or(0)
}

/// Whether that was at most `span` before.
fn lately(second: u32, at: PacketTime, span: Span) -> bool {
    second > 0 && i64::from(second_of(at).saturating_sub(second)) * 1_000_000 <= span.0
}

impl Addresses {
    fn get(&self, tag: u32) -> Known {
        let at = self.known.binary_search_by_key(&tag, |known| known.tag);
        at.ok().and_then(|at| self.known.get(at)).copied().unwrap_or_default()
    }

    /// The address, made if there is none: of a few in turn the one that was seen longest ago makes room.
    fn get_or_insert(&mut self, tag: u32) -> Option<&mut Known> {
        const CANDIDATES: usize = 8;
        let search = |known: &[Known]| known.binary_search_by_key(&tag, |known| known.tag);
        if search(&self.known).is_err() {
            let len = self.known.len();
            if len >= MAX_ADDRESSES {
                let start = self.hand as usize;
                let seen =
                    |at: &usize| self.known.get(*at).map_or(0, |known| known.answered.max(known.contacted));
                let oldest = (start..start + CANDIDATES).map(|at| at % len).min_by_key(seen)?;
                self.hand = ((start + CANDIDATES) % len) as u32;
                self.known.remove(oldest);
            }
            let at = search(&self.known).unwrap_or_else(|at| at);
            self.known.insert(at, Known { tag, ..Known::default() });
        }
        search(&self.known).ok().and_then(|at| self.known.get_mut(at))
    }
}

/// See the module.
#[derive(Debug)]
pub struct DnsUse {
    clients: PerSlot<Client>,
    nameless: Steps<()>,
    unused: Steps<()>,
}

impl DnsUse {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        let limits = Limits { keys: 1, weighing: 0 };
        Self {
            clients: PerSlot::default(),
            nameless: Steps::new(settings.ladder(&SPEC, &COUNTS), limits),
            unused: Steps::new(settings.ladder(&SPEC, &COUNTS), limits),
        }
    }
}

impl DnsUse {
    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        // Who is never seen to ask costs nothing.
        let Some(client) = self.clients.get_mut(cx.slot()) else { return };
        let member = member_of_ip(flow.dst.addr);
        let Some(known) = client.addresses.get_or_insert(tag_of(flow.dst.addr)) else { return };
        known.contacted = known.contacted.max(second_of(flow.seen));
        let named = lately(known.answered, flow.start, DAY);
        let asks =
            client.asked >= ASKS && client.first.is_some_and(|first| flow.start.since(first) >= HALF_AN_HOUR);
        if !asks || named || BY_HEART.contains(&flow.dst.port) {
            return;
        }
        let proof = if flow.is_two_way() { Proof::Proven } else { attempt::proof_of_source(cx.facts()) };
        let Some(reached) = self.nameless.add_proven(cx, (), member, flow.uid, proof) else { return };
        let text = format!("connections to {} addresses that no name led to, lately {}", reached.n, flow.dst);
        let proof = reached.proof;
        let finding = reached.finding(cx, EvidenceKind::ConnectionWithoutDns, flow.src.addr, flow.start);
        cx.emit(Finding { proto: Some(flow.proto), text, proof, ..finding });
    }

    fn on_dns(&mut self, cx: &mut Cx<'_>, dns: &Dns) {
        let client = self.clients.get_or_default(cx.slot());
        client.first.get_or_insert(dns.about.at);
        client.asked = client.asked.saturating_add(1);
        let mut answers = [0; MAX_ANSWERS];
        let mut outside = 0;
        for answer in &dns.answers {
            let DnsData::Addr(addr) = answer.data else { continue };
            let tag = tag_of(addr);
            if let Some(known) = client.addresses.get_or_insert(tag) {
                known.answered = known.answered.max(second_of(dns.about.at));
            }
            if let Some(place) = answers.get_mut(outside).filter(|_| is_outside(cx, addr)) {
                *place = tag;
                outside += 1;
            }
        }
        let name = member_of(&dns.query);
        let waits = client.waiting.iter().any(|waiting| waiting.name == name);
        if outside == 0 || waits || names::is_special(&dns.query) || client.waiting.len() >= MAX_WAITING {
            return;
        }
        let shown = dns.query.as_str().into();
        client.waiting.push(Waiting { name, answers, at: dns.about.at, dns: shown });
        cx.wake_at(dns.about.at + HALF_AN_HOUR, name);
    }
}

fn is_outside(cx: &Cx<'_>, addr: IpAddr) -> bool {
    addr::is_interesting(addr) && !addr::is_private(addr) && !cx.is_local(addr)
}

impl Detector for DnsUse {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        match event {
            Event::Flow(flow)
                if matches!(flow.proto, Proto::Tcp | Proto::Udp)
                    && matches!(flow.phase, Phase::Established | Phase::End)
                    && flow.outcome() == Outcome::Established
                    && cx.facts().src_local
                    && is_outside(cx, flow.dst.addr)
                    && !flow.was_flipped() =>
            {
                self.on_flow(cx, flow);
            }
            Event::Dns(dns)
                if cx.facts().src_local
                    && matches!(dns.qtype, 1 | 28)
                    && dns.rcode == Some(0)
                    && names::is_unicast_dns(&dns.about) =>
            {
                self.on_dns(cx, dns);
            }
            _ => {}
        }
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, tag: u64) {
        let Some(client) = self.clients.get_mut(cx.slot()) else { return };
        let Some(at) = client.waiting.iter().position(|waiting| waiting.name == tag) else { return };
        let waited = client.waiting.swap_remove(at);
        // A connection that was there before is use, too.
        let used = waited
            .answers
            .iter()
            .any(|answer| lately(client.addresses.get(*answer).contacted, waited.at, HALF_AN_HOUR));
        if used || client.asked < ASKS {
            return;
        }
        let Some(reached) = self.unused.add_distinct(cx, (), tag, Default::default()) else { return };
        let text = format!("{} names asked for and not used, lately {}", reached.n, waited.dns);
        let finding = reached.finding(cx, EvidenceKind::DnsWithoutConnection, cx.profile(), cx.now());
        cx.emit(Finding { text, ..finding });
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.nameless.close(window);
        self.unused.close(window);
    }

    fn forget(&mut self, slot: Slot) {
        self.clients.forget(slot);
        self.nameless.forget(slot);
        self.unused.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, at, bench, dns, levels, secs};
    use slips_core::detector::Bench;

    fn asks(bench: &mut Bench, name: &str, answer: &str, second: i64) {
        let mut record = dns(name, &[DnsData::Addr(at(answer))]);
        record.about.at = secs(second);
        assert!(bench.feed(&Event::Dns(Box::new(record))).is_empty());
    }

    fn calls(bench: &mut Bench, dst: &str, port: u16, second: i64) -> Vec<Finding> {
        bench.feed(&Talk::tcp("192.168.1.5", dst, port).carrying(100, 100).at(second).event())
    }

    #[test]
    fn of_very_many_addresses_the_latest_are_known() {
        let mut addresses = Addresses::default();
        for n in 1..=5000u32 {
            let tag = tag_of(IpAddr::from(n.to_be_bytes()));
            addresses.get_or_insert(tag).expect("room").answered = n;
            assert_eq!(addresses.get(tag).answered, n);
        }
        assert_eq!(addresses.known.len(), MAX_ADDRESSES);
        assert!(addresses.known.is_sorted_by_key(|known| known.tag));
        let kept =
            (4900..=5000u32).filter(|n| addresses.get(tag_of(IpAddr::from(n.to_be_bytes()))).answered > 0);
        assert!(kept.count() > 90);
    }

    /// A client that asks for so many names, each of which it uses at once.
    fn asking(names: i64) -> Bench {
        let mut bench = bench(DnsUse::new(&Settings::default()));
        for n in 0..names {
            asks(&mut bench, &format!("n{n}.example.org"), "198.51.100.1", n);
            calls(&mut bench, "198.51.100.1", 443, n);
        }
        bench
    }

    #[test]
    fn an_address_without_a_name_is_information() {
        let mut bench = asking(10);
        assert_eq!(levels(&calls(&mut bench, "203.0.113.9", 443, 1800)), ["info 0.1"]);
        assert!(calls(&mut bench, "203.0.113.9", 443, 1900).is_empty(), "once");
        assert!(calls(&mut bench, "198.51.100.1", 443, 1900).is_empty(), "it has a name");
        assert!(calls(&mut bench, "203.0.113.10", 123, 1900).is_empty(), "time");
    }

    #[test]
    fn who_is_not_seen_to_ask_and_the_first_half_hour_are_silent() {
        assert!(calls(&mut asking(9), "203.0.113.9", 443, 1800).is_empty());
        assert!(calls(&mut asking(10), "203.0.113.9", 443, 1799).is_empty());
        assert!(calls(&mut asking(10), "192.168.7.9", 443, 1800).is_empty());
    }

    #[test]
    fn a_name_without_a_connection_is_information_after_half_an_hour() {
        let mut bench = asking(10);
        asks(&mut bench, "unused.example.org", "203.0.113.9", 100);
        asks(&mut bench, "used.example.org", "203.0.113.10", 100);
        asks(&mut bench, "inside.example.org", "192.168.1.9", 100);
        asks(&mut bench, "printer.lan", "203.0.113.11", 100);
        calls(&mut bench, "203.0.113.10", 443, 200);
        assert!(bench.advance(secs(1899)).is_empty());
        let told = bench.advance(secs(1901));
        assert_eq!(levels(&told), ["info 0.1"]);
        assert!(told[0].text.contains("unused.example.org"), "{}", told[0].text);
    }
}
