//! From an alert to what is done about it: a pure decision, so that every rule can be tested as a table.

use std::fmt;
use std::time::Duration;

use slips_core::alert::Alert;
use slips_core::evidence::{EvidenceKind, Proof};
use slips_firewall::Manner;

use crate::config::{Firewall, Policy};

/// How an attacker is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// How long, the first time.
    pub term: Duration,
    /// It rests on evidence that could be forged: it counts against the cap of such blocks, and the address is blocked
    /// alone, without the IPv6 /64 around it.
    pub unproven: bool,
    /// What becomes of the packets.
    pub manner: Manner,
}

/// What is done about an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Block the attacker.
    Block(Sentence),
    /// Tell it, block nothing.
    Leave(Reason),
}

/// Why an attacker is not blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The policy for its class of addresses says so.
    Policy,
    /// The evidence could be forged, and the address is one of our own hosts.
    OwnHost,
    /// The evidence could be forged, and one of our hosts lately talked with this address.
    InConversation,
    /// The evidence could be forged, and no such block is allowed.
    UnprovenCap,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "the policy for this class of addresses is alert-only",
            Self::OwnHost => "the sender could be forged and this is one of our own hosts",
            Self::InConversation => {
                "the sender could be forged and a local host lately talked with this address"
            }
            Self::UnprovenCap => "the sender could be forged and firewall.unproven_cap allows no such block",
        })
    }
}

/// Decides.
pub fn decide(alert: &Alert, policy: &Firewall) -> Verdict {
    let class = if alert.attacker_is_local { policy.internal } else { policy.external };
    if class == Policy::AlertOnly {
        return Verdict::Leave(Reason::Policy);
    }
    if alert.proof == Proof::Unproven {
        if alert.attacker_is_local {
            return Verdict::Leave(Reason::OwnHost);
        }
        if alert.in_conversation {
            return Verdict::Leave(Reason::InConversation);
        }
        if policy.unproven_cap == 0 {
            return Verdict::Leave(Reason::UnprovenCap);
        }
        let term = policy.unproven_term.0.max(policy.shortest_term.0);
        return Verdict::Block(Sentence { term, unproven: true, manner: Manner::Drop });
    }
    // The original's probation: the rest of this window and the next one.
    let width = alert.window_end.since(alert.window_start);
    let rest = alert.window_end.since(alert.at).0.min(width.0);
    let micros = u64::try_from(rest.saturating_add(width.0)).unwrap_or(0);
    let term = Duration::from_micros(micros).max(policy.shortest_term.0);
    Verdict::Block(Sentence { term, unproven: false, manner: manner(alert, class, policy) })
}

fn manner(alert: &Alert, class: Policy, policy: &Firewall) -> Manner {
    if class == Policy::Isolate {
        return Manner::Isolate;
    }
    let called = alert.evidence.iter().any(|evidence| CALLED.contains(&evidence.finding.kind));
    if called && !alert.attacker_is_local { policy.called_by_us.manner() } else { Manner::Drop }
}

/// Evidence that our own hosts call the attacker, not the other way round.
const CALLED: [EvidenceKind; 5] = [
    EvidenceKind::ToBlacklistedIp,
    EvidenceKind::CommandAndControlChannel,
    EvidenceKind::MaliciousJa3s,
    EvidenceKind::CryptoMining,
    EvidenceKind::DnsTunnel,
];

#[cfg(test)]
mod tests {
    use super::*;
    use slips_core::alert::{AlertId, Cause};
    use slips_core::evidence::Confidence;
    use slips_core::time::{PacketTime, WindowWidth};

    fn alert(attacker: &str) -> Alert {
        let attacker = attacker.parse().expect("address");
        let at = PacketTime::from_secs_micros(7200 + 600, 0);
        let window = WindowWidth::HOUR.window_of(at);
        Alert {
            id: AlertId::derive(attacker, window, 0),
            attacker,
            window,
            window_start: WindowWidth::HOUR.start_of(window),
            window_end: WindowWidth::HOUR.end_of(window),
            at,
            cause: Cause::Critical,
            accumulated: 1.0,
            confidence: Confidence::FULL,
            proof: Proof::Proven,
            in_conversation: false,
            near_conversation: false,
            attacker_is_local: false,
            evidence: Vec::new(),
        }
    }

    fn block(secs: u64, unproven: bool) -> Verdict {
        let term = Duration::from_secs(secs);
        Verdict::Block(Sentence { term, unproven, manner: Manner::Drop })
    }

    #[test]
    fn proven_evidence_blocks_for_the_rest_of_the_window_and_the_next() {
        assert_eq!(decide(&alert("203.0.113.9"), &Firewall::default()), block(6600, false));
    }

    #[test]
    fn an_own_host_is_blocked_only_when_nobody_can_have_forged_it() {
        let mut alert = alert("192.168.1.7");
        alert.attacker_is_local = true;
        assert_eq!(decide(&alert, &Firewall::default()), block(6600, false));
        let isolate = Firewall { internal: Policy::Isolate, ..Firewall::default() };
        let term = Duration::from_secs(6600);
        let sentence = Sentence { term, unproven: false, manner: Manner::Isolate };
        assert_eq!(decide(&alert, &isolate), Verdict::Block(sentence));
        alert.proof = Proof::Unproven;
        for policy in [isolate, Firewall::default()] {
            assert_eq!(decide(&alert, &policy), Verdict::Leave(Reason::OwnHost));
        }
    }

    #[test]
    fn unproven_evidence_blocks_shortly_and_never_a_partner_of_a_local_host() {
        let mut alert = alert("203.0.113.9");
        alert.proof = Proof::Unproven;
        let policy = Firewall::default();
        assert_eq!(decide(&alert, &policy), block(300, true));
        assert_eq!(
            decide(&alert, &Firewall { unproven_cap: 0, ..policy.clone() }),
            Verdict::Leave(Reason::UnprovenCap)
        );
        alert.in_conversation = true;
        assert_eq!(decide(&alert, &policy), Verdict::Leave(Reason::InConversation));
        // Proven evidence against a partner blocks it all the same: an infected server is an attacker.
        alert.proof = Proof::Proven;
        assert_eq!(decide(&alert, &policy), block(6600, false));
    }

    #[test]
    fn the_policy_of_the_class_decides_first() {
        let policy = Firewall { internal: Policy::AlertOnly, ..Firewall::default() };
        let mut alert = alert("192.168.1.7");
        alert.attacker_is_local = true;
        assert_eq!(decide(&alert, &policy), Verdict::Leave(Reason::Policy));
    }

    #[test]
    fn a_late_or_hostile_time_stamp_makes_no_endless_block() {
        let mut alert = alert("203.0.113.9");
        alert.at = PacketTime::MIN;
        assert_eq!(decide(&alert, &Firewall::default()), block(7200, false));
        alert.at = PacketTime(i64::MAX);
        assert_eq!(decide(&alert, &Firewall::default()), block(3600, false));
    }
}
