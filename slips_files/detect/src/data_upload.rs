//! Data upload: much data sent to one outside destination.

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Flow;
use slips_core::moving::Gateways;
use slips_core::state::Windowed;
use slips_core::time::WindowId;

use crate::ladder::{self, Ladder, Rung, rung};
use crate::table::Table;
use crate::{Settings, attempt};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "data_upload",
    kinds: &[EvidenceKind::DataUpload],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[MEGABYTES, FLOW],
    header: Header {
        detects: "Data upload: much data sent to one outside destination.",
        attack: "T1041 Exfiltration Over C2 Channel, T1048 Exfiltration Over Alternative Protocol, T1567 Exfiltration \
            Over Web Service.",
        rule: "One flow in which the originator sends 100 MB, or 500 MB from one source to one destination in one \
            window, whatever the flows. A linked pair: the sender (info) and the destination (high, 0.6).",
        numbers: "The original's, which however sums since its start instead of per window. Told again at each \
            tenfold.",
        quiet: "Destinations among our own networks (backups to a NAS) and the gateway are not judged; the \
            destination of a backup service gathers 0.48 per sender and window, an alert needs thirty senders.",
        evasion: "99 MB a flow and 499 MB an hour; many destinations; flows of which less than a kilobyte is new at a \
            time.",
        proof: "Proven when the flow was two-way.",
    },
};

/// Sent in one flow.
pub const FLOW: Threshold = Threshold::number("flow_upload", "sent in one flow", Unit::Megabytes, 100);

/// Steps in megabytes, for the destination.
pub const MEGABYTES: Threshold = Threshold::steps(
    "upload",
    "sent by one host to one destination in a window",
    Unit::Megabytes,
    &[
        rung(500, ThreatLevel::High, 0.6),
        rung(5_000, ThreatLevel::High, 0.7),
        rung(50_000, ThreatLevel::High, 0.8),
    ],
)
.within(1, 1_000_000_000);
const MEGABYTE: u64 = 1_000_000;

/// Destinations remembered per source and window; those with the least data make room.
const MAX_DESTINATIONS: usize = 128;
/// Chatter below this is not summed up.
const CHATTER: u64 = 1024;

#[derive(Debug, Default)]
struct Sent {
    bytes: u64,
    told: u8,
}

/// See the module.
#[derive(Debug)]
pub struct DataUpload {
    flow: u32,
    megabytes: Ladder,
    gateways: Gateways,
    state: Windowed<Table<IpAddr, Sent>>,
}

impl DataUpload {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            flow: settings.number(&SPEC, &FLOW),
            megabytes: settings.ladder(&SPEC, &MEGABYTES),
            gateways: settings.gateways.clone(),
            state: Windowed::default(),
        }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        if flow.orig_new.bytes < CHATTER || cx.facts().dst_local || !attempt::between_hosts(flow) {
            return;
        }
        if self.gateways.contains(&flow.dst.addr) {
            return;
        }
        let table = self.state.get_or_default(cx.slot(), cx.window());
        let Some(sent) = table.get_or_insert(flow.dst.addr, MAX_DESTINATIONS, |sent| sent.bytes) else {
            return;
        };
        sent.bytes = sent.bytes.saturating_add(flow.orig_new.bytes);
        let (all, this) = (megabytes(sent.bytes), megabytes(flow.orig.bytes));
        let mut step = self.megabytes.step(all);
        if this >= self.flow {
            step = step.max(1);
        }
        if !ladder::climb(&mut sent.told, step) {
            return;
        }
        let Some(rung) = self.megabytes.at_step(step) else { return };
        let megabytes = all.max(this);
        tell(cx, flow, rung, megabytes);
    }
}

fn tell(cx: &mut Cx<'_>, flow: &Flow, rung: Rung, megabytes: u32) {
    let proof = if flow.is_two_way() { Proof::Proven } else { Proof::Unproven };
    let uids = if flow.uid.is_empty() { Vec::new() } else { vec![flow.uid] };
    let remote = Finding {
        victim: Some(Entity::Ip(flow.src.addr)),
        text: format!("{megabytes} MB were uploaded to {} by {}", flow.dst.addr, flow.src.addr),
        uids: uids.clone(),
        proof,
        ..ladder::finding(cx, EvidenceKind::DataUpload, flow.dst.addr, rung, flow.seen)
    };
    let quiet = Rung { level: ThreatLevel::Info, ..rung };
    let local = Finding {
        victim: Some(Entity::Ip(flow.dst.addr)),
        text: format!("upload of {megabytes} MB to {}", flow.dst.addr),
        uids,
        proof: proof.max(attempt::proof_of_source(cx.facts())),
        ..ladder::finding(cx, EvidenceKind::DataUpload, flow.src.addr, quiet, flow.seen)
    };
    cx.emit_both(local, remote);
}

fn megabytes(bytes: u64) -> u32 {
    u32::try_from(bytes / MEGABYTE).unwrap_or(u32::MAX)
}

impl Detector for DataUpload {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event {
            self.on_flow(cx, flow);
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.state.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.state.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, at, bench, levels};
    use slips_core::flow::Phase;

    fn upload(bytes: u64) -> Talk {
        Talk::tcp("192.168.1.5", "203.0.113.9", 443).carrying(bytes, 5000)
    }

    #[test]
    fn one_flow_of_a_hundred_megabytes_is_a_linked_pair() {
        let mut bench = bench(DataUpload::new(&Settings::default()));
        assert!(bench.feed(&upload(99_999_999).event()).is_empty());
        let told = bench.feed(&upload(100_000_000).event());
        assert_eq!(levels(&told), ["info 0.6", "high 0.6"]);
        assert_eq!(told[0].attacker, Entity::Ip(at("192.168.1.5")));
        assert_eq!(told[1].attacker, Entity::Ip(at("203.0.113.9")));
        assert_eq!((&told[0].related, &told[1].related), (&vec![told[1].id()], &vec![told[0].id()]));
        assert!(told.iter().all(|f| f.proof == Proof::Proven));
    }

    #[test]
    fn small_flows_add_up_within_a_window_and_not_over_two() {
        let mut bench = bench(DataUpload::new(&Settings::default()));
        let part = |hour: i64| upload(50_000_000).at(hour * 3600).event();
        assert_eq!((0..9).map(|_| bench.feed(&part(0)).len()).sum::<usize>(), 0);
        assert_eq!((0..9).map(|_| bench.feed(&part(1)).len()).sum::<usize>(), 0);
        assert_eq!(bench.feed(&part(1)).len(), 2);
        assert_eq!((0..80).map(|_| bench.feed(&part(1)).len()).sum::<usize>(), 0);
        assert_eq!(bench.feed(&part(0)).len(), 2);
    }

    #[test]
    fn a_live_flow_is_summed_by_what_is_new() {
        let mut settings = Settings::default();
        settings.set(&SPEC, &SPEC.thresholds[1], &[1_000_000]).expect("as much in one flow");
        let mut bench = bench(DataUpload::new(&settings));
        let mut told = Vec::new();
        for n in 1..=10u64 {
            let mut flow = upload(n * 50_000_000).phase(Phase::Update).flow();
            flow.orig_new.bytes = 50_000_000;
            told.push(bench.feed(&Event::Flow(flow)).len());
        }
        assert_eq!(told, [0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn backups_at_home_downloads_and_the_gateway_are_silent() {
        let settings = Settings::with_gateways(vec![at("203.0.113.1")]);
        let mut bench = bench(DataUpload::new(&settings));
        for (dst, orig, resp) in [
            ("192.168.1.9", 5_000_000_000, 0),
            ("203.0.113.9", 5000, 5_000_000_000),
            ("203.0.113.1", 5_000_000_000, 0),
            ("239.1.2.3", 5_000_000_000, 0),
        ] {
            assert!(bench.feed(&Talk::tcp("192.168.1.5", dst, 443).carrying(orig, resp).event()).is_empty());
        }
    }
}
