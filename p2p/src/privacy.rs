//! What leaves this router. Everything that is said passes here: no inside address, victim, name of a host or payload does.
//!
//! Two walls. [`report`] builds a report from the few facts that may be told; there is no field for the rest. [`Cleared`] is what
//! the envelope is made from, and [`Privacy::clear`] looks at every message again, whoever built it.

use std::net::IpAddr;
use std::time::Duration;

use slips_core::addr::{self, Net};
use slips_core::evidence::{EvidenceKind, Proof};

use crate::envelope::{self, Head};
use crate::identity::NodeKey;
use crate::indicator::{Indicator, NotAccusable};
use crate::message::{
    Action, BlockRequest, Direction, MAX_NAMED, Message, Percent, Report, Service, Tlp, is_evidence_name,
};
use crate::moment::Moment;

/// What the daemon may tell about an attacker. There is no place for a victim, a flow, a name or a text.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Who or what.
    pub indicator: Indicator,
    /// How bad, 0 to 1.
    pub score: f64,
    /// How sure, 0 to 1.
    pub confidence: f64,
    /// The types of evidence, the weightiest first.
    pub evidence: Vec<EvidenceKind>,
    /// How many pieces of evidence.
    pub count: u64,
    /// The first.
    pub first: Moment,
    /// The latest.
    pub last: Moment,
    /// Attacked services.
    pub services: Vec<Service>,
    /// Which way.
    pub direction: Direction,
    /// Whether the attacker's address is proven.
    pub proof: Proof,
}

/// Why something is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// It is, or holds, an address or a name of ours.
    #[error("it is our own")]
    Ours,
    /// It means nothing outside.
    #[error("it cannot be accused: {0}")]
    Inside(#[from] NotAccusable),
    /// The sender's address could be forged: whoever forges it would make us accuse somebody.
    #[error("its address is not proven")]
    Unproven,
    /// A text that is none of those that may be told.
    #[error("it holds a text of unknown origin")]
    Text,
    /// It is never blocked here, so we do not ask others to.
    #[error("it is never blocked here")]
    Protected,
}

/// What is ours.
#[derive(Clone, Debug, Default)]
pub struct Privacy {
    /// Our networks and addresses, also public ones.
    pub own: Vec<Net>,
    /// Our domains: neither they nor names below them are told.
    pub own_domains: Vec<String>,
    /// What is never blocked here.
    pub protected: Vec<Net>,
}

/// A message that may leave. Made by [`Privacy::clear`] only.
#[derive(Clone, Debug, PartialEq)]
pub struct Cleared(Message);

impl Cleared {
    /// What the daemon cleared before it went to the process of the node.
    pub(crate) const fn by_the_daemon(message: Message) -> Self {
        Self(message)
    }

    /// The message.
    pub const fn message(&self) -> &Message {
        &self.0
    }

    /// Signs and wraps it.
    pub fn seal(&self, head: &Head, key: &NodeKey) -> Vec<u8> {
        envelope::seal(head, &self.0, key)
    }
}

/// The report about a sighting.
///
/// # Errors
/// When the address is not proven.
pub fn report(sighting: &Sighting) -> Result<Report, Withheld> {
    if sighting.proof == Proof::Unproven && sighting.indicator.as_net().is_some() {
        return Err(Withheld::Unproven);
    }
    let mut evidence: Vec<String> = Vec::new();
    for kind in &sighting.evidence {
        if evidence.len() < MAX_NAMED && !evidence.iter().any(|name| name == kind.name()) {
            evidence.push(kind.name().to_owned());
        }
    }
    Ok(Report {
        indicator: sighting.indicator.clone(),
        score: Percent::of(sighting.score),
        confidence: Percent::of(sighting.confidence),
        evidence,
        count: sighting.count,
        first: sighting.first.min(sighting.last),
        last: sighting.last,
        services: sighting.services.iter().copied().take(MAX_NAMED).collect(),
        direction: sighting.direction,
        tlp: Tlp::Green,
    })
}

/// The request to block what was seen.
///
/// # Errors
/// As [`report`].
pub fn block_request(sighting: &Sighting, duration: Duration) -> Result<BlockRequest, Withheld> {
    let duration = duration.clamp(Duration::from_secs(1), BlockRequest::LONGEST);
    Ok(BlockRequest { report: report(sighting)?, action: Action::Both, duration, own_block: true })
}

impl Privacy {
    /// Lets a message leave, or says why not.
    ///
    /// # Errors
    /// [`Withheld`].
    pub fn clear(&self, message: Message) -> Result<Cleared, Withheld> {
        match &message {
            Message::Report(report) => self.check_report(report)?,
            Message::Block(block) => self.check_report(&block.report)?,
            // To take something back is always allowed once it was said; it was checked then.
            Message::Retract(retract) => retract.indicator.iter().try_for_each(|x| self.check_own(x))?,
            Message::Roster(_) => {}
            Message::Announce(announce) => announce.addresses.iter().try_for_each(|x| check_address(x))?,
            Message::List(list) => {
                list.add.iter().try_for_each(|x| self.check(x))?;
                list.remove.iter().try_for_each(|x| self.check_own(x))?;
            }
        }
        Ok(Cleared(message))
    }

    fn check_report(&self, report: &Report) -> Result<(), Withheld> {
        // Names of evidence come from the closed list of this program, never from traffic.
        let known = |name: &String| is_evidence_name(name) && EvidenceKind::from_name(name).is_some();
        if !report.evidence.iter().all(known) {
            return Err(Withheld::Text);
        }
        self.check(&report.indicator)
    }

    fn check(&self, indicator: &Indicator) -> Result<(), Withheld> {
        self.check_own(indicator)?;
        match indicator.as_net() {
            Some(net) if self.protected.iter().any(|held| held.overlaps(net)) => Err(Withheld::Protected),
            _ => Ok(()),
        }
    }

    /// An answer to somebody's question, or an accusation, may not hold what is ours.
    fn check_own(&self, indicator: &Indicator) -> Result<(), Withheld> {
        // Whoever made it: what is not public does not leave.
        Indicator::from_wire(&indicator.to_wire())?;
        match indicator {
            Indicator::Net(net) if self.own.iter().any(|own| own.overlaps(*net)) => Err(Withheld::Ours),
            Indicator::Domain(name) if self.own_domains.iter().any(|own| is_below(name, own)) => {
                Err(Withheld::Ours)
            }
            _ => Ok(()),
        }
    }

    /// Whether a question about `indicator` may be answered.
    pub fn may_answer(&self, indicator: &Indicator) -> bool {
        self.check(indicator).is_ok()
    }
}

fn is_below(name: &str, own: &str) -> bool {
    let own = own.trim_matches('.').to_ascii_lowercase();
    name.strip_suffix(own.as_str())
        .is_some_and(|rest| !own.is_empty() && (rest.is_empty() || rest.ends_with('.')))
}

/// An announced address reaches us from outside: `/ip4/…` or `/ip6/…` with a public address and a TCP port, nothing else.
fn check_address(address: &str) -> Result<(), Withheld> {
    let mut parts = address.split('/').skip(1);
    let ip: IpAddr = match (parts.next(), parts.next()) {
        (Some("ip4" | "ip6"), Some(ip)) => ip.parse().map_err(|_| Withheld::Text)?,
        _ => return Err(Withheld::Text),
    };
    if addr::is_private(ip) || !addr::is_interesting(ip) {
        return Err(Withheld::Inside(NotAccusable::NotPublic));
    }
    match (parts.next(), parts.next(), parts.next()) {
        (Some("tcp"), Some(port), None) if port.parse::<u16>().is_ok() => Ok(()),
        _ => Err(Withheld::Text),
    }
}

/// Whether a text that a peer announced is a public address in the one form that is announced.
pub fn is_public_address(address: &str) -> bool {
    check_address(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::one_of_each;
    use crate::message::{Announce, Kind, ListEntries, Name, Reason, Retract};

    fn net(text: &str) -> Net {
        text.parse().expect("net")
    }

    fn privacy() -> Privacy {
        Privacy {
            own: vec![net("203.0.113.0/24"), net("2001:db8:1::/48"), net("192.168.0.0/16")],
            own_domains: vec!["Ours.example.".into()],
            protected: vec![net("9.9.9.9")],
        }
    }

    fn sighting(indicator: Indicator) -> Sighting {
        Sighting {
            indicator,
            score: 1.0,
            confidence: 0.9,
            evidence: EvidenceKind::ALL.to_vec(),
            count: 7,
            first: Moment(2),
            last: Moment(3),
            services: vec![Service { proto: 6, port: 22 }; 20],
            direction: Direction::Attacked,
            proof: Proof::Proven,
        }
    }

    /// The message of each kind that accuses `indicator`.
    fn about(indicator: &Indicator) -> Vec<Message> {
        let list = |add: Vec<_>, remove: Vec<_>| {
            Message::List(ListEntries { list: Name::new("l").expect("name"), version: 1, add, remove })
        };
        vec![
            Message::Report(report(&sighting(indicator.clone())).expect("proven")),
            Message::Block(
                block_request(&sighting(indicator.clone()), Duration::from_secs(9)).expect("proven"),
            ),
            Message::Retract(Retract { indicator: Some(indicator.clone()), reason: Reason::Over }),
            list(vec![indicator.clone()], Vec::new()),
            list(Vec::new(), vec![indicator.clone()]),
        ]
    }

    #[test]
    fn what_is_public_and_foreign_leaves() {
        for message in one_of_each() {
            assert!(privacy().clear(message.clone()).is_ok(), "{message:?}");
        }
    }

    #[test]
    fn nothing_of_ours_leaves_in_any_kind() {
        // Made without the constructors, as a fault elsewhere in the program might.
        let inside =
            ["192.168.1.20", "10.0.0.7", "100.64.1.1", "fd00::7", "fe80::7", "169.254.3.4", "127.0.0.1"];
        let ours = ["203.0.113.77", "2001:db8:1:2::3"];
        let mut secrets: Vec<Indicator> =
            inside.iter().chain(&ours).map(|text| Indicator::Net(net(text))).collect();
        secrets.push(Indicator::Net(net("203.0.113.0/24")));
        secrets.push(Indicator::Net(net("0.0.0.0/0")));
        for name in ["ours.example", "mail.ours.example", "printer.lan", "alices-laptop", "x.home.arpa"] {
            secrets.push(Indicator::Domain(name.into()));
        }
        secrets.push(Indicator::Domain("GET /secret?password=hunter2".into()));
        secrets.push(Indicator::Ja4("payload goes here".into()));
        for secret in &secrets {
            for message in about(secret) {
                assert!(privacy().clear(message.clone()).is_err(), "{message:?}");
            }
            assert!(!privacy().may_answer(secret), "{secret}");
        }
    }

    #[test]
    fn only_public_addresses_are_announced() {
        for (address, leaves) in [
            ("/ip4/198.51.100.9/tcp/7778", true),
            ("/ip6/2001:db8::9/tcp/7778", true),
            ("/ip4/192.168.1.1/tcp/7778", false),
            ("/ip6/fd00::1/tcp/7778", false),
            ("/dns4/router.ours.example/tcp/7778", false),
            ("/ip4/198.51.100.9/tcp/7778/p2p/alices-laptop", false),
            ("/ip4/198.51.100.9/tcp/99999", false),
            ("/ip4/198.51.100.9", false),
        ] {
            let announce = Message::Announce(Announce {
                addresses: vec![address.into()],
                versions: vec![1],
                reports: 0,
            });
            assert_eq!(privacy().clear(announce).is_ok(), leaves, "{address}");
            // Nor is it dialled, whoever announces it.
            assert_eq!(is_public_address(address), leaves, "{address}");
        }
    }

    #[test]
    fn texts_come_from_the_closed_list_only() {
        let mut told = report(&sighting(Indicator::Net(net("198.51.100.7")))).expect("proven");
        assert_eq!((told.evidence.len(), told.services.len()), (MAX_NAMED, MAX_NAMED));
        assert!(privacy().clear(Message::Report(told.clone())).is_ok());
        told.evidence = vec!["ALICES_LAPTOP".into()];
        assert_eq!(privacy().clear(Message::Report(told)), Err(Withheld::Text));
    }

    #[test]
    fn forgeable_and_protected_addresses_are_not_accused() {
        let mut seen = sighting(Indicator::Net(net("198.51.100.7")));
        seen.proof = Proof::Unproven;
        assert_eq!(report(&seen), Err(Withheld::Unproven));
        let resolver = report(&sighting(Indicator::Net(net("9.9.9.9")))).expect("proven");
        assert_eq!(privacy().clear(Message::Report(resolver)), Err(Withheld::Protected));
    }

    /// A planted secret in every place where traffic could bring one is in no byte of what leaves.
    #[test]
    fn the_bytes_hold_nothing_but_the_accused() {
        let accused = Indicator::Net(net("198.51.100.7"));
        let key = NodeKey::from_seed(&[1; 32]);
        let head = Head {
            net: crate::identity::NetId([0; 8]),
            author: key.id(),
            epoch: 1,
            seq: 1,
            issued: Moment(1),
            ttl: Duration::from_secs(60),
        };
        let victims: [&[u8]; 5] =
            [&[192, 168, 1, 20], b"192.168.1.20", b"alices-laptop", b"hunter2", &[203, 0, 113, 9]];
        let mut kinds = Vec::new();
        for message in about(&accused).into_iter().chain(one_of_each()) {
            kinds.push(message.kind());
            let bytes = privacy().clear(message).expect("clear").seal(&head, &key);
            for victim in victims {
                assert!(!bytes.windows(victim.len()).any(|at| at == victim), "{victim:?}");
            }
        }
        assert!(Kind::ALL.iter().all(|kind| kinds.contains(kind)));
    }
}
