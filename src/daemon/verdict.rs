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

/// A block that another daemon held, whose place this one takes.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// It is one of our own hosts.
    pub is_local: bool,
    /// A person wanted it, and nobody can have forged that.
    pub by_hand: bool,
    /// Its sender, or the block itself, could be forged.
    pub unproven: bool,
    /// One of our hosts talks with somebody there.
    pub in_conversation: bool,
    /// The time that it still has.
    pub term: Duration,
}

/// For how long a block of another daemon stands here: never where this host would not have blocked, nor for longer than it would have.
///
/// # Errors
/// Says why it does not stand.
pub fn inherit(left: &Left, policy: &Firewall) -> Result<Duration, Reason> {
    let class = if left.is_local { policy.internal } else { policy.external };
    if class == Policy::AlertOnly && !left.by_hand {
        return Err(Reason::Policy);
    }
    if !left.unproven {
        return Ok(left.term);
    }
    may_be_forged(left.is_local, left.in_conversation, policy)?;
    Ok(left.term.min(unproven_term(policy)))
}

/// Whether somebody may be blocked on what could be forged.
fn may_be_forged(is_local: bool, in_conversation: bool, policy: &Firewall) -> Result<(), Reason> {
    match () {
        () if is_local => Err(Reason::OwnHost),
        () if in_conversation => Err(Reason::InConversation),
        () if policy.unproven_cap == 0 => Err(Reason::UnprovenCap),
        () => Ok(()),
    }
}

fn unproven_term(policy: &Firewall) -> Duration {
    policy.unproven_term.0.max(policy.shortest_term.0)
}

/// Decides.
pub fn decide(alert: &Alert, policy: &Firewall) -> Verdict {
    let class = if alert.attacker_is_local { policy.internal } else { policy.external };
    if class == Policy::AlertOnly {
        return Verdict::Leave(Reason::Policy);
    }
    if alert.proof == Proof::Unproven {
        if let Err(reason) = may_be_forged(alert.attacker_is_local, alert.in_conversation, policy) {
            return Verdict::Leave(reason);
        }
        return Verdict::Block(Sentence {
            term: unproven_term(policy),
            unproven: true,
            manner: Manner::Drop,
        });
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
    fn what_another_one_blocked_stands_only_where_and_as_long_as_this_host_would_block() {
        let week = Duration::from_secs(7 * 86_400);
        let left =
            Left { is_local: false, by_hand: false, unproven: false, in_conversation: true, term: week };
        let quiet = Firewall { external: Policy::AlertOnly, ..Firewall::default() };
        assert_eq!(inherit(&left, &Firewall::default()), Ok(week));
        assert_eq!(inherit(&left, &quiet), Err(Reason::Policy));
        assert_eq!(inherit(&Left { by_hand: true, ..left }, &quiet), Ok(week));
        assert_eq!(inherit(&Left { is_local: true, ..left }, &quiet), Ok(week));
        let unproven = Left { unproven: true, ..left };
        assert_eq!(inherit(&unproven, &Firewall::default()), Err(Reason::InConversation));
        let stranger = Left { in_conversation: false, ..unproven };
        assert_eq!(inherit(&stranger, &Firewall::default()), Ok(Duration::from_secs(300)));
        let short = Duration::from_secs(9);
        assert_eq!(inherit(&Left { term: short, ..stranger }, &Firewall::default()), Ok(short));
        assert_eq!(inherit(&Left { is_local: true, ..stranger }, &Firewall::default()), Err(Reason::OwnHost));
        let none = Firewall { unproven_cap: 0, ..Firewall::default() };
        assert_eq!(inherit(&stranger, &none), Err(Reason::UnprovenCap));
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
