//! Name poisoning: a host answers to names that are not its own (`NAME_POISONING`), as Responder and Inveigh do.

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Dns, DnsData, Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, Proof, ThreatLevel};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "name_poisoning",
    kinds: &[EvidenceKind::NamePoisoning],
    events: &[EventKind::Dns],
    roles: &[Role::Src, Role::Dst],
    thresholds: &[ANSWERED, MULTICAST, BAIT],
    header: Header {
        detects: "Name poisoning: a host answers to names that are not its own (`NAME_POISONING`), as Responder and \
            Inveigh do.",
        attack: "T1557.001 Adversary-in-the-Middle: LLMNR/NBT-NS Poisoning and SMB Relay.",
        rule: "Distinct names that one host of ours answers to by LLMNR and NetBIOS, or gives its own address for \
            by multicast DNS, per window. `wpad` and `isatap`, which Windows looks for by itself, count at once.",
        numbers: "A host has one name in LLMNR, and by NetBIOS its own, its workgroup's and the browser's. A poisoner \
            answers every mistyped name: four are medium, twenty critical. Multicast DNS lets servers announce \
            aliases: twice as many, high at most.",
        quiet: "Printers, reflectors and sleep proxies tell the addresses of others, which does not count; services \
            (`_ipp._tcp`) are no hosts. Who was asked alone, as a name server of NetBIOS is, may answer for \
            others.",
        evasion: "Answering rarely, or one victim only (Responder's `-A` answers nobody); several addresses.",
        proof: "Proven when the flow began with the answer and the answering hardware address owns the address; else \
            unproven, an answer is a datagram.",
    },
};

/// Steps in names answered to by LLMNR and NetBIOS.
pub const ANSWERED: Threshold = Threshold::steps(
    "answered",
    "names in a window for which one host answers",
    Unit::Count,
    &[
        rung(4, ThreatLevel::Medium, 0.6),
        rung(8, ThreatLevel::High, 0.8),
        rung(20, ThreatLevel::Critical, 0.9),
        rung(60, ThreatLevel::Critical, 1.0),
    ],
);
/// Steps in names of its own address by multicast DNS.
pub const MULTICAST: Threshold = Threshold::steps(
    "multicast_answered",
    "names in a window for which one host answers by mDNS",
    Unit::Count,
    &[rung(8, ThreatLevel::Low, 0.5), rung(20, ThreatLevel::Medium, 0.7), rung(60, ThreatLevel::High, 0.8)],
);
/// The step for names that Windows looks for by itself.
pub const BAIT: Threshold = Threshold::steps(
    "bait",
    "answers for a name that nobody has",
    Unit::Count,
    &[rung(1, ThreatLevel::Medium, 0.7)],
);

const NETBIOS: u16 = 137;
const MDNS: u16 = 5353;
const LLMNR: u16 = 5355;

/// See the module.
#[derive(Debug)]
pub struct NamePoisoning {
    answered: Steps<()>,
    multicast: Steps<()>,
    bait: Steps<()>,
}

impl NamePoisoning {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        let limits = Limits { keys: 1, weighing: 1 };
        Self {
            answered: Steps::new(settings.ladder(&SPEC, &ANSWERED), limits),
            multicast: Steps::new(settings.ladder(&SPEC, &MULTICAST), limits),
            bait: Steps::new(settings.ladder(&SPEC, &BAIT), limits),
        }
    }
}

/// Who answers in a record of these protocols, and by which of them.
fn answerer(dns: &Dns) -> Option<(IpAddr, u16)> {
    let (src, dst) = (dns.about.src, dns.about.dst);
    let port = [src.port, dst.port].into_iter().find(|port| matches!(*port, NETBIOS | MDNS | LLMNR))?;
    // To a group speaks the source; else whoever sits at the protocol's port answered.
    let by = if dst.addr.is_multicast() || dst.port != port { src.addr } else { dst.addr };
    Some((by, port)).filter(|_| !dns.answers.is_empty() && dns.rcode == Some(0))
}

impl NamePoisoning {
    fn on_answer(&mut self, cx: &mut Cx<'_>, dns: &Dns, by: IpAddr, port: u16) {
        let host = dns.query.split('.').next().unwrap_or_default();
        if host.is_empty() || host.starts_with('_') || host == "*" {
            return;
        }
        let own = dns.answers.iter().any(|answer| answer.data == DnsData::Addr(by));
        if port == MDNS && !own {
            return;
        }
        // Asked alone: a name server of NetBIOS (WINS) answers for others by its task.
        if port == NETBIOS && dns.rtt.is_some() {
            return;
        }
        let steps = if port == MDNS { &mut self.multicast } else { &mut self.answered };
        let reached = steps.add_distinct(cx, (), member_of(host), dns.about.uid);
        let (protocol, is_bait) = match port {
            MDNS => ("multicast DNS", false),
            LLMNR => ("LLMNR", matches!(host, "wpad" | "isatap")),
            _ => ("NetBIOS", matches!(host, "wpad" | "isatap")),
        };
        let reached = match reached {
            None if is_bait => self.bait.add(cx, (), dns.about.uid),
            reached => reached,
        };
        let Some(reached) = reached else { return };
        let proof = if by == dns.about.src.addr { reached.proof } else { Proof::Unproven };
        let text = format!("{by} answers to {} names by {protocol}, lately to {host}", reached.n);
        cx.emit(Finding {
            proto: Some(dns.about.proto),
            text,
            proof,
            ..reached.finding(cx, EvidenceKind::NamePoisoning, by, dns.about.at)
        });
    }
}

impl Detector for NamePoisoning {
    in_steps!(answered, multicast, bait);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Dns(dns) = event else { return };
        let Some((by, port)) = answerer(dns) else { return };
        if by == cx.profile() && cx.is_local(by) {
            self.on_answer(cx, dns, by, port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, dns, levels};

    const ATTACKER: &str = "192.168.1.66";

    fn answers(n: u32, port: u16, own: bool, name: impl Fn(u32) -> String) -> Vec<Finding> {
        let mut bench = bench(NamePoisoning::new(&Settings::default()));
        let answer = at(if own { ATTACKER } else { "192.168.1.9" });
        (0..n)
            .flat_map(|n| {
                let mut record = dns(&name(n), &[DnsData::Addr(answer)]);
                (record.about.dst.addr, record.about.dst.port) = (at(ATTACKER), port);
                if port == MDNS {
                    record.about.src.addr = at(ATTACKER);
                    record.about.dst.addr = at("224.0.0.251");
                }
                bench.feed(&Event::Dns(Box::new(record)))
            })
            .collect()
    }

    #[test]
    fn answering_to_everything_is_critical() {
        let name = |n| format!("srv{n}");
        assert!(answers(3, LLMNR, true, name).is_empty());
        assert_eq!(levels(&answers(4, LLMNR, true, name)), ["medium 0.6"]);
        let told = answers(30, NETBIOS, true, name);
        assert_eq!(levels(&told), ["medium 0.6", "high 0.8", "critical 0.9"]);
        assert!(told.iter().all(|told| told.attacker.ip() == Some(at(ATTACKER))));
        assert_eq!(
            levels(&answers(99, MDNS, true, |n| format!("srv{n}.local"))),
            ["low 0.5", "medium 0.7", "high 0.8"]
        );
    }

    #[test]
    fn a_name_server_of_netbios_is_asked_alone() {
        let mut bench = bench(NamePoisoning::new(&Settings::default()));
        for n in 0..99 {
            let mut record = dns(&format!("pc{n}"), &[DnsData::Addr(at("192.168.1.9"))]);
            (record.about.dst.port, record.rtt) = (NETBIOS, Some(slips_core::time::Span::from_millis(1)));
            assert!(bench.feed(&Event::Dns(Box::new(record))).is_empty());
        }
    }

    #[test]
    fn bait_is_told_at_once() {
        assert_eq!(levels(&answers(2, LLMNR, true, |_| "wpad".into())), ["medium 0.7"]);
    }

    #[test]
    fn own_names_services_and_reflectors_are_silent() {
        assert!(
            answers(99, LLMNR, true, |n| ["pc5", "workgroup", "pc5-2"][n as usize % 3].into()).is_empty()
        );
        assert!(answers(99, MDNS, true, |n| format!("_s{n}._tcp.local")).is_empty());
        assert!(answers(99, MDNS, false, |n| format!("pc{n}.local")).is_empty());
    }
}
