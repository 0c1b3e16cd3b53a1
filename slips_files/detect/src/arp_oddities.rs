//! ARP that no orderly host sends: answers to everybody that nobody asked for, and questions for addresses elsewhere.

use slips_core::addr;
use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Arp, ArpOp, Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::{MacAddr, Proto, Uid};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of_ip};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "arp_oddities",
    kinds: &[EvidenceKind::UnsolicitedArp, EvidenceKind::ArpOutsideLocalnet],
    events: &[EventKind::Arp],
    roles: &[Role::Src],
    thresholds: &[UNSOLICITED, ANNOUNCED, OUTSIDE],
    header: Header {
        detects: "ARP that no orderly host sends: answers to everybody that nobody asked for, and questions for \
            addresses elsewhere.",
        attack: "T1557.002 ARP Cache Poisoning; T1016 System Network Configuration Discovery.",
        rule: "`UNSOLICITED_ARP`: replies whose frame and whose target go to the broadcast address, counted per \
            sender and window. `ARP_OUTSIDE_LOCALNET`: distinct targets, neither local nor private, that a local \
            host asks for.",
        numbers: "The original tells each packet with low 0.8 and low 0.6. We tell one at low and rise to medium.",
        quiet: "A host that announces its own address (target = sender: after booting, at fail-over) is told from \
            the twentieth announcement. Linux with two networks on one wire asks for its second gateway from its \
            first address; that is one target and stays low. Nothing here is more than medium: who steals an \
            address is another detection.",
        evasion: "Unicast answers; see `arp_poisoning`.",
        proof: "Proven when the sender's hardware address is the one that owns the address.",
    },
};

/// Steps in unsolicited answers about another address than the sender's.
pub const UNSOLICITED: Threshold = Threshold::steps(
    "unsolicited",
    "answers to everybody that nobody asked for, in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.8), rung(100, ThreatLevel::Medium, 0.6)],
);
/// Steps in announcements of the own address.
pub const ANNOUNCED: Threshold = Threshold::steps(
    "announcements",
    "announcements of its own address by one host in a window",
    Unit::Count,
    &[rung(20, ThreatLevel::Low, 0.4), rung(200, ThreatLevel::Low, 0.8)],
);
/// Steps in distinct outside targets.
pub const OUTSIDE: Threshold = Threshold::steps(
    "outside_targets",
    "addresses elsewhere that one host asks for in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.6), rung(16, ThreatLevel::Medium, 0.6)],
);

const ONE: Limits = Limits { keys: 1, weighing: 1 };

/// See the module.
#[derive(Debug)]
pub struct ArpOddities {
    unsolicited: Steps<()>,
    announced: Steps<()>,
    outside: Steps<()>,
}

impl ArpOddities {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            unsolicited: Steps::new(settings.ladder(&SPEC, &UNSOLICITED), ONE),
            announced: Steps::new(settings.ladder(&SPEC, &ANNOUNCED), ONE),
            outside: Steps::new(settings.ladder(&SPEC, &OUTSIDE), ONE),
        }
    }
}

impl ArpOddities {
    fn on_reply(&mut self, cx: &mut Cx<'_>, arp: &Arp) {
        let to_all = arp.frame_dst == MacAddr::BROADCAST && arp.target_mac == MacAddr::BROADCAST;
        if !to_all || arp.frame_src == MacAddr::ZERO || arp.sender_mac == MacAddr::ZERO {
            return;
        }
        let steps = if arp.sender == arp.target { &mut self.announced } else { &mut self.unsolicited };
        if let Some(reached) = steps.add(cx, (), Uid::EMPTY) {
            let text = format!("{} ARP answers to everybody that nobody asked for", reached.n);
            cx.emit(Finding {
                proto: Some(Proto::Arp),
                text,
                proof: reached.proof,
                ..reached.finding(cx, EvidenceKind::UnsolicitedArp, arp.sender, arp.at)
            });
        }
    }

    fn on_request(&mut self, cx: &mut Cx<'_>, arp: &Arp) {
        let facts = cx.facts();
        let elsewhere = facts.src_local
            && !facts.dst_local
            && arp.sender != arp.target
            && addr::is_interesting(arp.target)
            && !addr::is_private(arp.target);
        if !elsewhere {
            return;
        }
        if let Some(reached) = self.outside.add_distinct(cx, (), member_of_ip(arp.target), Uid::EMPTY) {
            let text =
                format!("ARP for {} outside the local network, {} such addresses", arp.target, reached.n);
            cx.emit(Finding {
                proto: Some(Proto::Arp),
                text,
                proof: reached.proof,
                ..reached.finding(cx, EvidenceKind::ArpOutsideLocalnet, arp.sender, arp.at)
            });
        }
    }
}

impl Detector for ArpOddities {
    in_steps!(unsolicited, announced, outside);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Arp(arp) = event else { return };
        if !addr::is_interesting(arp.sender) {
            return;
        }
        match arp.op {
            ArpOp::Reply => self.on_reply(cx, arp),
            ArpOp::Request => self.on_request(cx, arp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{arp, at, bench, levels};

    fn told(n: u8, vary: impl Fn(u8, &mut Arp)) -> Vec<Finding> {
        let mut bench = bench(ArpOddities::new(&Settings::default()));
        let record = |n| {
            let mut record = arp("192.168.1.15", "192.168.1.20", 2);
            vary(n, &mut record);
            Event::Arp(record)
        };
        (0..n).flat_map(|n| bench.feed(&record(n))).collect()
    }

    fn to_all(record: &mut Arp) {
        record.op = ArpOp::Reply;
        (record.frame_dst, record.target_mac) = (MacAddr::BROADCAST, MacAddr::BROADCAST);
    }

    #[test]
    fn an_answer_to_everybody_is_told_once_and_then_at_a_hundred() {
        assert_eq!(levels(&told(99, |_, record| to_all(record))), ["low 0.8"]);
        assert_eq!(levels(&told(100, |_, record| to_all(record))), ["low 0.8", "medium 0.6"]);
    }

    #[test]
    fn announcements_are_told_from_the_twentieth() {
        let announce = |_, record: &mut Arp| {
            to_all(record);
            record.target = record.sender;
        };
        assert!(told(19, announce).is_empty());
        assert_eq!(levels(&told(20, announce)), ["low 0.4"]);
    }

    #[test]
    fn answers_to_one_host_are_silent() {
        assert!(told(50, |_, record| record.op = ArpOp::Reply).is_empty());
    }

    #[test]
    fn outside_targets_are_counted_once_each() {
        let outside = |n: u8, record: &mut Arp| record.target = [69, 220, 152, n].into();
        assert_eq!(levels(&told(15, outside)), ["low 0.6"]);
        assert_eq!(levels(&told(16, outside)), ["low 0.6", "medium 0.6"]);
        assert_eq!(levels(&told(50, |_, record| outside(1, record))), ["low 0.6"]);
    }

    #[test]
    fn inside_special_and_stranger_are_silent() {
        for target in ["10.9.9.9", "169.254.1.1", "224.0.0.1", "0.0.0.0", "192.168.1.15"] {
            assert!(told(3, |_, record| record.target = at(target)).is_empty(), "{target}");
        }
        let stranger = |_, record: &mut Arp| {
            (record.sender, record.target) = (at("198.51.100.1"), at("203.0.113.1"));
        };
        assert!(told(3, stranger).is_empty());
    }
}
