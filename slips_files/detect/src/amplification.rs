//! A service of ours answers somebody much more than it is asked (`AMPLIFICATION_ABUSE`): somebody asks in his name, and our
//! answers flood him.

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::{Flow, Phase, Proto};
use slips_core::state::Windowed;
use slips_core::time::WindowId;

use crate::Settings;
use crate::ladder::{self, Ladder, rung};
use crate::table::Table;
use crate::tally::Trail;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "amplification",
    kinds: &[EvidenceKind::AmplificationAbuse],
    events: &[EventKind::Flow],
    roles: &[Role::Dst],
    thresholds: &[KILOBYTES],
    header: Header {
        detects: "A service of ours answers somebody much more than it is asked (`AMPLIFICATION_ABUSE`): somebody asks \
            in his name, and our answers flood him.",
        attack: "T1498.002 Network Denial of Service: Reflection Amplification.",
        rule: "Datagrams of an outside host to a service of a local one that is known to amplify (DNS, NTP, SSDP, \
            memcached, SNMP, CLDAP, chargen, QOTD, portmapper, NetBIOS, mDNS, WS-Discovery, Steam, Ubiquiti): \
            ten times as many bytes out as in, summed up per service and asker in a window. The host that is \
            asked notices it; the one who asks is not known.",
        numbers: "Amplification factors of 5 (SNMP, DNS) to 50,000 (memcached) are those of US-CERT alert TA14-017A. \
            Steps at 1, 10 and 100 MB to one asker in a window.",
        quiet: "A name server with DNSSEC answers five to fifty times what it is asked, but nobody a megabyte an \
            hour, except resolvers of providers: that is low. Nobody is blamed and so nobody blocked: the one \
            who is seen to ask is the victim.",
        evasion: "Many victims with little each.",
        proof: "Unproven, whoever asks.",
    },
};

/// Steps in kilobytes to one asker.
pub const KILOBYTES: Threshold = Threshold::steps(
    "answers",
    "of answers to one asker in a window, ten times what he asked with",
    Unit::Kilobytes,
    &[
        rung(1_000, ThreatLevel::Low, 0.6),
        rung(10_000, ThreatLevel::Medium, 0.6),
        rung(100_000, ThreatLevel::High, 0.7),
    ],
);
/// Bytes out for each byte in.
const FACTOR: u64 = 10;
/// Askers remembered per service host and window; those who got least make room.
const MAX_ASKERS: usize = 64;
/// QOTD, chargen, DNS, portmapper, NTP, NetBIOS, SNMP, CLDAP, SSDP, WS-Discovery, mDNS, Ubiquiti, memcached, Steam.
const PORTS: [u16; 14] = [17, 19, 53, 111, 123, 137, 161, 389, 1900, 3702, 5353, 10_001, 11_211, 27_015];

#[derive(Debug, Default)]
struct Asker {
    asked: u64,
    answered: u64,
    trail: Trail,
    told: u8,
}

/// See the module.
#[derive(Debug)]
pub struct Amplification {
    kilobytes: Ladder,
    askers: Windowed<Table<(IpAddr, u16), Asker>>,
}

impl Amplification {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { kilobytes: settings.ladder(&SPEC, &KILOBYTES), askers: Windowed::default() }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let askers = self.askers.get_or_default(cx.slot(), cx.window());
        let key = (flow.src.addr, flow.dst.port);
        let Some(asker) = askers.get_or_insert(key, MAX_ASKERS, |asker| asker.answered) else { return };
        asker.asked = asker.asked.saturating_add(flow.orig_new.bytes);
        asker.answered = asker.answered.saturating_add(flow.resp_new.bytes);
        asker.trail.push(flow.uid);
        if asker.answered < asker.asked.saturating_mul(FACTOR) {
            return;
        }
        let kilobytes = u32::try_from(asker.answered / 1000).unwrap_or(u32::MAX);
        let step = self.kilobytes.step(kilobytes);
        if !ladder::climb(&mut asker.told, step) {
            return;
        }
        let Some(rung) = self.kilobytes.at_step(step) else { return };
        let text = format!(
            "{} answers {} with {kilobytes} kB to {} kB asked: somebody may ask in its name",
            flow.dst,
            flow.src.addr,
            asker.asked / 1000
        );
        let uids = asker.trail.take();
        cx.emit(Finding {
            attacker: Entity::Many,
            victim: Some(Entity::Ip(flow.src.addr)),
            proto: Some(Proto::Udp),
            dst_port: Some(flow.dst.port),
            uids,
            text,
            ..ladder::finding(cx, EvidenceKind::AmplificationAbuse, flow.dst.addr, rung, flow.seen)
        });
    }
}

impl Detector for Amplification {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let facts = cx.facts();
        if let Event::Flow(flow) = event
            && flow.proto == Proto::Udp
            && PORTS.contains(&flow.dst.port)
            && facts.dst_local
            && !facts.src_local
            && matches!(flow.phase, Phase::Update | Phase::End)
            && flow.resp_new.bytes > flow.orig_new.bytes
        {
            self.on_flow(cx, flow);
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.askers.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.askers.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, bench, levels};

    fn told(n: u32, asked: u64, answered: u64, port: u16) -> Vec<Finding> {
        let mut bench = bench(Amplification::new(&Settings::default()));
        let mut flow = Talk::tcp("203.0.113.9", "192.168.1.2", port).carrying(asked, answered).flow();
        flow.proto = Proto::Udp;
        (0..n).flat_map(|_| bench.feed(&Event::Flow(flow.clone()))).collect()
    }

    #[test]
    fn a_megabyte_to_one_asker_is_told_and_nobody_is_blamed() {
        assert!(told(99, 60, 10_000, 123).is_empty());
        let told = told(11_000, 60, 10_000, 123);
        assert_eq!(levels(&told), ["low 0.6", "medium 0.6", "high 0.7"]);
        assert!(told.iter().all(|told| told.attacker == Entity::Many));
    }

    #[test]
    fn ordinary_answers_and_other_services_are_silent() {
        assert!(told(20_000, 60, 500, 53).is_empty());
        assert!(told(11_000, 60, 10_000, 443).is_empty());
    }
}
