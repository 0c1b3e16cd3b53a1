//! Connection to or from an address that the owner's own list of indicators names as malicious.

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Again, Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Phase, Proto};
use slips_core::intel::{Current, Intelligence, Key, Listed, Reader};
use slips_core::state::Windowed;
use slips_core::time::{PacketTime, WindowId};

use crate::attempt::proof_of_source;
use crate::ladder::AGAIN_AFTER;
use crate::table::Table;
use crate::tally::Once;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "listed_address",
    kinds: &[EvidenceKind::ToBlacklistedIp, EvidenceKind::FromBlacklistedIp, EvidenceKind::BlacklistedAsn],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[],
    header: Header {
        detects: "Connection to or from an address that the owner's own list of indicators names as malicious.",
        attack: "T1071 Application Layer Protocol (command and control), T1571 Non-Standard Port; T1190 and T1595 \
            when the listed side began.",
        rule: "A flow whose source or destination is listed, looked up for each pair of hosts, so that a second \
            victim is not missed. Towards: a linked pair, the listed address with the list's level and the local \
            host with low. From: the listed address with the list's level. An address that is not listed itself, but in a \
            listed autonomous system, is told likewise as `THREAT_INTELLIGENCE_BLACKLISTED_ASN`, high at most and with \
            confidence 0.8. The level critical therefore blocks \
            at the first packet, from and to a listed host. Below it a connection that one of ours tries is told when \
            it is known how it went, milliseconds later: then it is proven.",
        numbers: "Each flow counts up to 128, where the weight of a repeated fact ends; then every doubling is told. \
            Critical is told again every two minutes while contacts go on, so that a C&C server is blocked again \
            when its first block has ended.",
        quiet: "The owner wrote the list. ICMP from our own hosts is not judged: it is mostly the refusal of \
            somebody else's packet.",
        evasion: "An address that is not listed.",
        proof: "Of the listed address proven once the flow was two-way, and at once where the hardware address of our host's frames owns its \
            address. Of our own host never: any page can have its visitor \
            call an address.",
    },
};

/// Pairs remembered per source and window; those with the fewest flows make room.
const MAX_PEERS: usize = 1024;
/// Every flow is told up to here.
const EACH_UP_TO: u32 = 128;

#[derive(Debug, Default)]
struct Contacts {
    once: Once,
    peers: Table<IpAddr, Contact>,
}

#[derive(Debug, Default)]
struct Contact {
    flows: u32,
    proven: bool,
    told_at: PacketTime,
}

/// See the module.
pub struct ListedAddress {
    intel: Reader,
    seen: Seen,
}

impl ListedAddress {
    /// With these indicators.
    pub fn new(intel: &Current) -> Self {
        Self { intel: intel.reader(), seen: Seen::default() }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        if !addr::is_interesting(flow.dst.addr) || !addr::is_interesting(flow.src.addr) {
            return;
        }
        let Self { intel, seen } = self;
        let intel = intel.get();
        let facts = cx.facts();
        let outgoing_icmp = flow.proto == Proto::Icmp && facts.src_local;
        let tries = facts.src_local && is_first_syn(flow);
        let about_us = facts.dst_local || outgoing_icmp;
        if let Some(listed) = find(intel, flow.dst.addr).filter(|_| !about_us) {
            // What is critical is not waited for: the connection is not to come about.
            if tries && listed.what.level < ThreatLevel::Critical {
                return;
            }
            if let Some(told) = seen.count(cx, flow, listed.what.level) {
                towards(cx, flow, &listed, told);
            }
        } else if let Some(listed) = find(intel, flow.src.addr).filter(|_| !tries)
            && let Some(told) = seen.count(cx, flow, listed.what.level)
        {
            from(cx, flow, &listed, told);
        }
    }
}

/// How an address is listed.
struct Found<'a> {
    what: Listed<'a>,
    /// By this autonomous system, not by itself.
    asn: Option<u32>,
}

impl Found<'_> {
    /// `kind` is that of an address that is listed itself.
    fn kind(&self, kind: EvidenceKind) -> EvidenceKind {
        if self.asn.is_some() { EvidenceKind::BlacklistedAsn } else { kind }
    }

    /// The original's numbers.
    fn confidence(&self) -> Confidence {
        if self.asn.is_some() { Confidence::new(0.8) } else { Confidence::FULL }
    }
}

fn find(intel: &dyn Intelligence, addr: IpAddr) -> Option<Found<'_>> {
    if let Some(what) = intel.look_up(Key::Address(addr)) {
        return Some(Found { what, asn: None });
    }
    let asn = intel.asn_of(addr)?;
    let what = intel.look_up(Key::Asn(asn))?;
    // Thousands may be in one, and not all of them are bad.
    Some(Found { what: Listed { level: what.level.min(ThreatLevel::High), ..what }, asn: Some(asn) })
}

/// Who met whom.
#[derive(Debug, Default)]
struct Seen(Windowed<Contacts>);

impl Seen {
    /// Counts the flow; says how to tell it, if at all.
    fn count(&mut self, cx: &Cx<'_>, flow: &Flow, level: ThreatLevel) -> Option<Told> {
        let contacts = self.0.get_or_default(cx.slot(), cx.window());
        let first = contacts.once.first(flow);
        let grown = |contact: &Contact| u64::from(contact.flows);
        let contact = contacts.peers.get_or_insert(flow.dst.addr, MAX_PEERS, grown)?;
        // Who was called is no claim of who was called: it is as sure as the caller is.
        let sure = flow.is_two_way() || proof_of_source(cx.facts()) == Proof::Proven;
        let newly_proven = sure && !contact.proven;
        contact.proven |= newly_proven;
        let proof = if contact.proven { Proof::Proven } else { Proof::Unproven };
        if first {
            contact.flows = contact.flows.saturating_add(1);
        }
        let news = first && (contact.flows <= EACH_UP_TO || contact.flows.is_power_of_two());
        let again = if first { Again::Counts } else { Again::Grows };
        let goes_on = level == ThreatLevel::Critical && flow.seen.since(contact.told_at) >= AGAIN_AFTER;
        if !news && !newly_proven && !goes_on {
            return None;
        }
        contact.told_at = contact.told_at.max(flow.seen);
        Some(Told { flows: contact.flows, proof, again })
    }
}

/// An attempt to connect of which nothing else is known yet. Answer, refusal or silence is told soon.
fn is_first_syn(flow: &Flow) -> bool {
    flow.proto == Proto::Tcp && flow.phase == Phase::Start && flow.history.contains(b'S')
}

/// How a contact is told.
struct Told {
    flows: u32,
    proof: Proof,
    again: Again,
}

/// Our host went to a listed address: a linked pair.
fn towards(cx: &mut Cx<'_>, flow: &Flow, listed: &Found<'_>, told: Told) {
    let what = describe(listed, told.flows);
    let kind = listed.kind(EvidenceKind::ToBlacklistedIp);
    let confidence = listed.confidence();
    let remote = Finding {
        level: listed.what.level,
        confidence,
        victim: Some(Entity::Ip(flow.src.addr)),
        text: format!("{} was contacted, which is listed as {what}", flow.dst.addr),
        ..told.finding(cx, kind, flow.dst.addr, flow)
    };
    let local = Finding {
        level: listed.what.level.min(ThreatLevel::Low),
        confidence,
        victim: Some(Entity::Ip(flow.dst.addr)),
        text: format!("connection to {}, which is listed as {what}", flow.dst.addr),
        // Any page can have its visitor do it, so it must not cut the visitor off.
        proof: Proof::Unproven,
        ..told.finding(cx, kind, flow.src.addr, flow)
    };
    cx.emit_both(remote, local);
}

/// A listed address came to us.
fn from(cx: &mut Cx<'_>, flow: &Flow, listed: &Found<'_>, told: Told) {
    cx.emit(Finding {
        level: listed.what.level,
        confidence: listed.confidence(),
        victim: Some(Entity::Ip(flow.dst.addr)),
        text: format!(
            "connection from {}, which is listed as {}",
            flow.src.addr,
            describe(listed, told.flows)
        ),
        ..told.finding(cx, listed.kind(EvidenceKind::FromBlacklistedIp), flow.src.addr, flow)
    });
}

fn describe(listed: &Found<'_>, flows: u32) -> String {
    match listed.asn {
        Some(asn) => format!("part of AS{asn}: {}; {flows} flows", listed.what),
        None => format!("{}; {flows} flows", listed.what),
    }
}

impl Told {
    fn finding(&self, cx: &Cx<'_>, kind: EvidenceKind, attacker: IpAddr, flow: &Flow) -> Finding {
        Finding {
            confidence: Confidence::FULL,
            profile: cx.profile(),
            uids: if flow.uid.is_empty() { Vec::new() } else { vec![flow.uid] },
            proof: self.proof,
            again: self.again,
            ..Finding::new(kind, attacker, cx.window(), flow.seen)
        }
    }
}

impl Detector for ListedAddress {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event {
            self.on_flow(cx, flow);
        }
    }

    fn renew(&mut self) {
        self.intel.refresh();
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.seen.0.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.seen.0.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, at, bench, levels, listing};
    use slips_core::detector::{Bench, Facts};

    fn bad(level: ThreatLevel) -> Bench {
        let names = |key: Key<'_>| (key == Key::Address(at("203.0.113.9"))).then_some(true);
        bench(ListedAddress::new(&listing(level, names)))
    }

    #[test]
    fn a_connection_to_a_listed_address_is_a_linked_pair() {
        let mut bench = bad(ThreatLevel::High);
        let told = bench.feed(&Talk::tcp("192.168.1.5", "203.0.113.9", 443).carrying(100, 100).event());
        assert_eq!(levels(&told), ["high 1", "low 1"]);
        assert_eq!(told[0].attacker, Entity::Ip(at("203.0.113.9")));
        assert_eq!(told[1].attacker, Entity::Ip(at("192.168.1.5")));
        assert_eq!((&told[0].related, &told[1].related), (&vec![told[1].id()], &vec![told[0].id()]));
        assert!(told.iter().all(|f| f.kind == EvidenceKind::ToBlacklistedIp));
        assert_eq!((told[0].proof, told[1].proof), (Proof::Proven, Proof::Unproven));
    }

    #[test]
    fn a_connection_from_a_listed_address_names_it_alone() {
        let mut bench = bad(ThreatLevel::Critical);
        let told = bench.feed(&Talk::tcp("203.0.113.9", "192.168.1.5", 22).phase(Phase::Start).event());
        assert_eq!(levels(&told), ["critical 1"]);
        assert_eq!((told[0].kind, told[0].proof), (EvidenceKind::FromBlacklistedIp, Proof::Unproven));
    }

    #[test]
    fn others_are_silent_and_so_is_icmp_that_we_send() {
        let mut bench = bad(ThreatLevel::High);
        assert!(bench.feed(&Talk::tcp("192.168.1.5", "203.0.113.8", 443).event()).is_empty());
        assert!(bench.feed(&Talk::icmp("192.168.1.5", "203.0.113.9", 3).event()).is_empty());
        assert_eq!(bench.feed(&Talk::icmp("203.0.113.9", "192.168.1.5", 8).event()).len(), 1);
    }

    #[test]
    fn the_phases_of_a_flow_count_once_and_the_answer_proves_it() {
        let mut bench = bad(ThreatLevel::High);
        let talk = |phase| Talk::tcp("192.168.1.5", "203.0.113.9", 443).carrying(9, 9).phase(phase);
        let start = bench.feed(&Talk::tcp("192.168.1.5", "203.0.113.9", 443).phase(Phase::Start).event());
        assert_eq!((start[0].again, start[0].proof), (Again::Counts, Proof::Unproven));
        let established = bench.feed(&talk(Phase::Established).event());
        assert_eq!((established[0].again, established[0].proof), (Again::Grows, Proof::Proven));
        assert!(bench.feed(&talk(Phase::Update).event()).is_empty());
        assert!(bench.feed(&talk(Phase::End).event()).is_empty());
        assert_eq!(bench.feed(&talk(Phase::End).uid("C2").event())[0].again, Again::Counts);
    }

    #[test]
    fn what_we_try_below_critical_is_told_with_its_answer_and_all_else_at_once() {
        let mut bench = bad(ThreatLevel::High);
        let mut syn = Talk::tcp("192.168.1.5", "203.0.113.9", 443).phase(Phase::Start).flow();
        syn.history = "S".into();
        assert!(bench.feed(&Event::Flow(syn.clone())).is_empty());
        let answered = Talk::tcp("192.168.1.5", "203.0.113.9", 443).carrying(9, 9).phase(Phase::Established);
        let told = bench.feed(&answered.event());
        assert_eq!(levels(&told), ["high 1", "low 1"]);
        assert_eq!((told[0].proof, told[0].again), (Proof::Proven, Again::Counts));
        (syn.uid, syn.phase) = ("C2".into(), Phase::Unanswered);
        assert_eq!(bench.feed(&Event::Flow(syn)).len(), 2);
        let mut inwards = Talk::tcp("203.0.113.9", "192.168.1.5", 22).phase(Phase::Start).flow();
        inwards.history = "S".into();
        assert_eq!(bench.feed(&Event::Flow(inwards)).len(), 1);
    }

    #[test]
    fn the_first_packet_to_a_critical_one_is_told_and_proven_by_the_hardware_of_its_sender() {
        for (src_on_link, proof) in [(false, Proof::Unproven), (true, Proof::Proven)] {
            let mut bench = bad(ThreatLevel::Critical);
            bench.facts(Facts { src_on_link, ..Facts::default() });
            let mut syn = Talk::tcp("192.168.1.5", "203.0.113.9", 443).phase(Phase::Start).flow();
            syn.history = "S".into();
            let told = bench.feed(&Event::Flow(syn));
            assert_eq!(levels(&told), ["critical 1", "low 1"]);
            assert_eq!((told[0].proof, told[1].proof), (proof, Proof::Unproven));
        }
    }

    #[test]
    fn a_long_contact_to_a_critical_one_is_told_every_two_minutes() {
        for (level, times) in [(ThreatLevel::Critical, 1 + 5), (ThreatLevel::High, 1)] {
            let mut bench = bad(level);
            let mut told = 0;
            for minute in 0..=10 {
                let phase = if minute == 0 { Phase::Established } else { Phase::Update };
                let talk = Talk::tcp("192.168.1.5", "203.0.113.9", 443).carrying(9, 9).phase(phase);
                told += bench.feed(&talk.lasting(minute * 60_000).event()).len();
            }
            assert_eq!(told, 2 * times);
        }
    }

    #[test]
    fn every_victim_is_told_and_a_busy_pair_only_at_doublings() {
        let mut bench = bad(ThreatLevel::High);
        assert_eq!(bench.feed(&Talk::tcp("192.168.1.5", "203.0.113.9", 443).event()).len(), 2);
        assert_eq!(bench.feed(&Talk::tcp("192.168.1.6", "203.0.113.9", 443).event()).len(), 2);
        let flow = |n: i32| Talk::tcp("192.168.1.5", "203.0.113.9", 443).uid(&format!("D{n}")).event();
        let told: usize = (0..2000).map(|n| bench.feed(&flow(n)).len()).sum();
        assert_eq!(told, 2 * (127 + 3));
    }
}
