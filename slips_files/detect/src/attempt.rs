//! What a flow says about an attempt: whether it failed, and whether its target is one that can be scanned.

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::Facts;
use slips_core::evidence::Proof;
use slips_core::flow::{ConnState, Flow, MacAddr, Origin, Outcome, Phase, Proto};
use slips_core::time::Span;

use crate::web;

/// The attempt led to nothing: refused, unanswered, aborted before it was accepted, or half open on purpose.
///
/// `SHR` and `RSTRH` (the responder's side alone was seen) are no attempts: with asymmetric routing every client of every
/// server looks like that, and no scanner does.
///
/// A live flow has not failed before the sensor says so: a question whose application was recognised (`Update`) may still be
/// answered.
pub fn failed(flow: &Flow) -> bool {
    if !matches!(flow.phase, Phase::Rejected | Phase::Unanswered | Phase::End) {
        return false;
    }
    if matches!(flow.state, ConnState::Shr | ConnState::Rstrh) {
        return false;
    }
    flow.outcome() == Outcome::NotEstablished || is_half_open_probe(flow)
}

/// Packets of a probe without SYN, its repetition included.
const MOST_BLIND_PACKETS: u64 = 2;
/// Ports from here on are mostly clients': Linux hands out these, others higher ones.
const CLIENTS_PORTS_FROM: u16 = 32_768;

/// A FIN, null, Xmas, ACK, Maimon or SYN-FIN probe: a packet or two without SYN and without data, met by a reset or by silence.
///
/// What is left of a connection whose begin nobody saw looks like that too. Therefore ports of clients do not count, nor an
/// acknowledgement in return (a keep-alive), nor resets (they take leave and ask nothing). Who sent it is never proven.
pub fn is_blind_probe(flow: &Flow) -> bool {
    use ConnState as S;
    // Without a history nothing is known, unless our own sensor says so: a null packet leaves none.
    let told = flow.origin == Origin::Sensor || !flow.history.is_empty();
    flow.proto == Proto::Tcp
        && flow.phase == Phase::End
        && matches!(flow.state, S::Oth | S::Rstos0 | S::Sh | S::Rstrh | S::Rstr)
        && flow.orig.pkts <= MOST_BLIND_PACKETS
        && flow.orig.bytes == 0
        && flow.resp.bytes == 0
        && flow.dst.port < CLIENTS_PORTS_FROM
        && told
        && !flow.history.as_str().bytes().any(|letter| b"SsHhDdRaf^".contains(&letter))
}

/// Whether this event tells of an attempt that no earlier event of the same flow told of.
pub fn is_new_attempt(flow: &Flow) -> bool {
    flow.phase != Phase::End || flow.origin != Origin::Sensor || is_blind_probe(flow) || is_silent_visit(flow)
}

/// SYN, SYN-ACK, RST: what a SYN scan does at an open port. Nobody else takes back a connection before using it.
fn is_half_open_probe(flow: &Flow) -> bool {
    flow.proto == Proto::Tcp
        && flow.state == ConnState::Rsto
        && flow.orig.bytes == 0
        && flow.history.contains(b'h')
        && !flow.history.contains(b'A')
        && !flow.history.contains(b'D')
}

/// A connection that was let in and taken back at once, without a byte from either side: what a connect scan does at an open port.
pub fn is_silent_visit(flow: &Flow) -> bool {
    flow.proto == Proto::Tcp
        && flow.phase == Phase::End
        && matches!(flow.state, ConnState::Rsto | ConnState::SF | ConnState::S2)
        && (flow.orig.bytes, flow.resp.bytes, flow.missed_bytes) == (0, 0, 0)
        && ["ShAR", "ShAF"].iter().any(|begin| flow.history.as_str().starts_with(begin))
        && flow.duration.is_none_or(|lasted| lasted < TAKEN_BACK)
}

/// Within so long: a browser keeps what it opened in advance for longer.
const TAKEN_BACK: Span = Span::from_secs(5);

/// Both ends are single hosts: never broadcast, multicast, link-local, loopback or reserved.
pub fn between_hosts(flow: &Flow) -> bool {
    addr::is_interesting(flow.dst.addr)
        && addr::is_interesting(flow.src.addr)
        && flow.dst_mac != Some(MacAddr::BROADCAST)
        && !is_directed_broadcast(flow)
}

/// A datagram to x.x.x.255 of a private network is a subnet broadcast for all that can be told without the netmask.
fn is_directed_broadcast(flow: &Flow) -> bool {
    match flow.dst.addr {
        IpAddr::V4(v4) => {
            flow.proto == Proto::Udp && v4.octets()[3] == 255 && addr::is_private(flow.dst.addr)
        }
        IpAddr::V6(_) => false,
    }
}

/// A datagram from a service port to a high port, of a host with which ours talk, is an answer whose question was not seen or
/// that came late, not a probe. Of a stranger it is a scan that pretends to be an answer.
pub const fn looks_like_answer(flow: &Flow, facts: Facts) -> bool {
    matches!(flow.proto, Proto::Udp) && facts.src_talked && flow.src.port < 1024 && flow.dst.port >= 1024
}

/// Datagrams of one probe, its repetitions included.
const MOST_PROBE_DATAGRAMS: u64 = 3;

/// Datagrams from a service port that nobody asked for are told as the answers to a flow that was never seen. Of few datagrams
/// and no known application they are a probe from such a port (`nmap -g 53`): the flow as its sender began it, and the facts.
pub fn turned(flow: &Flow, facts: Facts) -> Option<(Flow, Facts)> {
    let unasked = flow.proto == Proto::Udp
        && flow.phase == Phase::End
        && flow.state == ConnState::Shr
        && flow.was_flipped()
        && (1..=MOST_PROBE_DATAGRAMS).contains(&flow.resp.pkts)
        && flow.service.is_empty();
    if !unasked {
        return None;
    }
    let turned = Flow {
        src: flow.dst,
        dst: flow.src,
        src_mac: flow.dst_mac,
        dst_mac: flow.src_mac,
        orig: flow.resp,
        resp: flow.orig,
        orig_new: flow.resp_new,
        resp_new: flow.orig_new,
        state: ConnState::S0,
        history: "D".into(),
        ..flow.clone()
    };
    let facts = Facts {
        src_local: facts.dst_local,
        dst_local: facts.src_local,
        src_talked: facts.dst_talked,
        dst_talked: facts.src_talked,
        src_near_partner: facts.dst_near_partner,
        dst_near_partner: facts.src_near_partner,
        src_on_link: false,
        unheard: facts.unheard,
        resolved: facts.resolved,
        src_mac_owner: None,
        src_held_by: None,
    };
    Some((turned, facts))
}

/// The source of attempts that failed is proven only by its hardware address: a refusal proves nothing about who asked.
pub const fn proof_of_source(facts: Facts) -> Proof {
    if facts.src_on_link { Proof::Proven } else { Proof::Unproven }
}

/// Proven, if what a proven source did reaches the step alone.
pub const fn proof_if(alone: bool) -> Proof {
    if alone { Proof::Proven } else { Proof::Unproven }
}

/// Whether the source of this very attempt is proven.
pub fn is_proven(flow: &Flow, facts: Facts) -> bool {
    let whole = is_silent_visit(flow) && flow.is_two_way();
    whole || (proof_of_source(facts) == Proof::Proven && !is_blind_probe(flow))
}

/// Whether the source of this very attempt is proven, and no web page can have caused it.
pub fn is_own(flow: &Flow, facts: Facts) -> bool {
    is_proven(flow, facts) && !web::can_cause(flow, facts)
}

/// How many of what was counted could be forged: the one that reaches a step proves nothing about those before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doubtful(u32);

impl Doubtful {
    /// Counts one that is, or is not, from the hardware address which owns its source's address.
    pub const fn count(&mut self, facts: Facts) {
        self.count_if(matches!(proof_of_source(facts), Proof::Unproven));
    }

    /// Counts one that could be forged, or not.
    pub const fn count_if(&mut self, doubtful: bool) {
        self.0 = self.0.saturating_add(doubtful as u32);
    }

    /// Whether of `all` that were counted nine tenths are certain.
    pub const fn proof(self, all: u32) -> Proof {
        proof_if(self.0.saturating_mul(10) <= all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_genuine_packet_does_not_prove_forged_ones() {
        for (forged, genuine, expected) in
            [(0, 1, Proof::Proven), (9, 1, Proof::Unproven), (1, 9, Proof::Proven)]
        {
            let mut doubtful = Doubtful::default();
            for n in 0..forged + genuine {
                doubtful.count(Facts { src_on_link: n >= forged, ..Facts::default() });
            }
            assert_eq!(doubtful.proof(forged + genuine), expected, "{forged} {genuine}");
        }
    }
    use crate::test_traces::{Talk, at};

    #[test]
    fn a_live_flow_has_not_failed_before_it_is_said() {
        for (phase, expected) in [
            (Phase::Start, false),
            (Phase::Established, false),
            (Phase::Update, false),
            (Phase::Rejected, true),
            (Phase::Unanswered, true),
            (Phase::End, true),
        ] {
            let flow = Talk::tcp("192.168.1.5", "203.0.113.9", 443).phase(phase).flow();
            assert_eq!(failed(&flow), expected, "{phase:?}");
        }
    }

    #[test]
    fn probes_without_syn_are_known_from_what_connections_leave_behind() {
        let with = |history: &str, vary: fn(&mut Flow)| {
            let mut flow = Talk::tcp("203.0.113.9", "192.168.1.2", 80).state(ConnState::Oth).flow();
            (flow.history, flow.orig.pkts) = (history.into(), 1);
            vary(&mut flow);
            is_blind_probe(&flow)
        };
        for history in ["F", "Fr", "r", "", "A", "Ar", "FA", "Qr"] {
            assert!(with(history, |_| {}), "{history:?}");
            assert!(with(history, |f| f.state = ConnState::Rstr), "{history:?}, as the sensor calls a reset");
        }
        assert!(with("FF", |f| f.orig.pkts = 2));
        assert!(!with("", |f| f.origin = Origin::Argus), "another source tells nothing");
        for history in ["Sr", "Aa", "FAfa", "R", "DFr", "^r", "h"] {
            assert!(!with(history, |_| {}), "{history:?}");
        }
        assert!(!with("Fr", |f| f.dst.port = 50_000));
        assert!(!with("FFF", |f| f.orig.pkts = 3));
        assert!(!with("F", |f| f.resp.bytes = 9));
        assert!(!with("F", |f| f.phase = Phase::Start));
        assert!(!with("F", |f| f.proto = Proto::Udp));
    }

    #[test]
    fn what_is_let_in_and_says_nothing_is_a_visit_for_the_open_port_alone() {
        let with = |history: &str, vary: fn(&mut Flow)| {
            let mut flow = Talk::tcp("203.0.113.9", "192.168.1.2", 80).state(ConnState::SF).flow();
            (flow.history, flow.orig.pkts, flow.resp.pkts) = (history.into(), 3, 2);
            vary(&mut flow);
            is_silent_visit(&flow)
        };
        for history in ["ShAR", "ShAFf", "ShAFar", "ShAFaf"] {
            assert!(with(history, |_| {}), "{history}");
        }
        assert!(with("ShAR", |f| f.state = ConnState::Rsto));
        for history in ["ShADFf", "ShAfF", "ShAdFf", "SAF", "ShR", "^hAF"] {
            assert!(!with(history, |_| {}), "{history}");
        }
        assert!(!with("ShAFf", |f| f.resp.bytes = 40), "a banner");
        assert!(!with("ShAFf", |f| f.orig.bytes = 1));
        assert!(!with("ShAFf", |f| f.duration = Some(Span::from_secs(9))), "kept open for later");
        assert!(!with("ShAR", |f| f.phase = Phase::Established));
    }

    #[test]
    fn broadcasts_are_no_hosts() {
        let mut flow = Talk::tcp("192.168.1.5", "203.0.113.9", 443).flow();
        assert!(between_hosts(&flow));
        flow.dst_mac = Some(MacAddr::BROADCAST);
        assert!(!between_hosts(&flow));
        (flow.dst_mac, flow.proto, flow.dst.addr) = (None, Proto::Udp, at("192.168.1.255"));
        assert!(!between_hosts(&flow));
        flow.dst.addr = at("203.0.113.255");
        assert!(between_hosts(&flow));
    }
}
