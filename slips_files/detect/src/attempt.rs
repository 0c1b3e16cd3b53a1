//! What a flow says about an attempt: whether it failed, and whether its target is one that can be scanned.

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::Facts;
use slips_core::evidence::Proof;
use slips_core::flow::{ConnState, Flow, MacAddr, Outcome, Phase, Proto};

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

/// SYN, SYN-ACK, RST: what a SYN scan does at an open port. Nobody else takes back a connection before using it.
fn is_half_open_probe(flow: &Flow) -> bool {
    flow.proto == Proto::Tcp
        && flow.state == ConnState::Rsto
        && flow.orig.bytes == 0
        && flow.history.contains(b'h')
        && !flow.history.contains(b'A')
        && !flow.history.contains(b'D')
}

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

/// A datagram from a service port to a high port is an answer whose question was not seen (asymmetric routing, a late
/// answer), not a probe.
pub const fn looks_like_answer(flow: &Flow) -> bool {
    matches!(flow.proto, Proto::Udp) && flow.src.port < 1024 && flow.dst.port >= 1024
}

/// The source of attempts that failed is proven only by its hardware address: a refusal proves nothing about who asked.
pub const fn proof_of_source(facts: Facts) -> Proof {
    if facts.src_on_link { Proof::Proven } else { Proof::Unproven }
}

#[cfg(test)]
mod tests {
    use super::*;
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
