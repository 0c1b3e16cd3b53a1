//! What this router finds itself: it moves the trust in peers, it is told to them, and they are asked about it.

use std::net::IpAddr;
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::alert::{Alert, Cause};
use slips_core::event::Event;
use slips_core::evidence::{Evidence, EvidenceKind, Proof, ThreatLevel};
use slips_core::flow::{Flow, Outcome, Phase, Proto};
use slips_core::record::Record;
use slips_core::time::PacketTime;
use slips_p2p::exchange::Sight;
use slips_p2p::identity::NodeId;
use slips_p2p::indicator::Indicator;
use slips_p2p::link::ToNode;
use slips_p2p::message::{Direction, Percent, Reason, Service};
use slips_p2p::moment::Moment;
use slips_p2p::privacy::Sighting;
use slips_p2p::trust::Loss;

use super::{MAX_SEEN, Peers, overlaps};
use crate::config::Mode;
use crate::daemon::verdict::{self, Verdict};

/// From this share of an alert's weight on peers are asked: below it they could not help.
const SUSPICIOUS: f64 = 0.25;
/// Below an alert: what is found, but not enough.
const NOT_ENOUGH: f64 = 0.999;
/// Who talked with one of our hosts so long, both ways, and nothing was found, is no attacker as peers say.
const LONG_TALK: Duration = Duration::from_secs(600);

impl Peers {
    /// Takes what the engine tells.
    pub(super) fn take_record(&mut self, record: &Record) {
        match record {
            Record::Evidence(evidence) if !evidence.finding.kind.is_hearsay() => self.take_evidence(evidence),
            Record::Alert(alert) => self.take_alert(alert),
            Record::Events(batch) if !self.council.live().is_empty() || !self.logged.is_empty() => {
                for event in batch.iter() {
                    if let Event::Flow(flow) = event {
                        self.take_flow(flow);
                    }
                }
            }
            _ => {}
        }
    }

    fn take_evidence(&mut self, evidence: &Evidence) {
        let finding = &evidence.finding;
        // Forged packets would let a liar's report come true.
        let (Proof::Proven, Some(ip)) = (finding.proof, finding.attacker.ip()) else { return };
        let Ok(indicator) = Indicator::host(ip) else { return };
        let level = (evidence.proven / self.settings.alert_weight).clamp(0.0, NOT_ENOUGH);
        if finding.level == ThreatLevel::Info || level <= 0.0 {
            return;
        }
        let now = self.now();
        self.note_seen(&indicator, level, finding.confidence.get(), moment(evidence.last_seen));
        let rulings = self.council.own(&indicator, level, &self.members, now);
        self.obey(rulings);
        if level >= SUSPICIOUS {
            self.sharing.wonder(&indicator, now);
        }
        if finding.level >= ThreatLevel::High {
            let sighting =
                sighting_of(indicator, &[evidence], finding.level.weight(), finding.confidence.get());
            self.share(&sighting, None);
        }
    }

    fn take_alert(&mut self, alert: &Alert) {
        let Ok(indicator) = Indicator::host(alert.attacker) else { return };
        // With help of peers it is no finding of ours: to tell it would be an echo. What could be forged is told to nobody.
        if alert.cause == Cause::Assisted || alert.proof == Proof::Unproven || alert.attacker_is_local {
            return;
        }
        let now = self.now();
        let confidence = alert.confidence.get();
        self.note_seen(&indicator, 1.0, confidence, moment(alert.at));
        let own: Vec<&Evidence> = alert
            .evidence
            .iter()
            .map(|shared| &**shared)
            .filter(|one| !one.finding.kind.is_hearsay())
            .collect();
        let sighting = sighting_of(indicator.clone(), &own, 1.0, confidence);
        let term = match verdict::decide(alert, &self.settings.firewall) {
            Verdict::Block(sentence) if self.settings.firewall.mode == Mode::Enforce => Some(sentence.term),
            _ => None,
        };
        // Others wait for it; what it says about them can wait.
        self.share(&sighting, term);
        let rulings = self.council.own(&indicator, 1.0, &self.members, now);
        self.obey(rulings);
    }

    /// Tells peers, if there is something to tell and it may be told.
    fn share(&mut self, sighting: &Sighting, blocked: Option<Duration>) {
        let now = self.now();
        if !self.settings.p2p.share {
            return;
        }
        let Ok(Some((message, ttl))) = self.sharing.tell(sighting, blocked, now) else { return };
        if let Ok(message) = self.privacy.clear(message) {
            self.node.send(ToNode::Publish { message, ttl }, (self.clocks.steady)());
            self.council.reported(&sighting.indicator, now);
        }
    }

    /// The owner lifted a block: whoever asked for it was wrong, and so were we if we told it.
    pub(super) fn refuted_by_owner(&mut self, net: Net) {
        let (now, steady) = (self.now(), (self.clocks.steady)());
        for (message, ttl) in self.sharing.take_back(|told| overlaps(told, net), Reason::FalsePositive, now) {
            if let Ok(message) = self.privacy.clear(message) {
                self.node.send(ToNode::Publish { message, ttl }, steady);
            }
        }
        let said = self.council.live().iter().map(|word| &word.indicator);
        let blocked = self.council.blocks().map(|(indicator, _)| indicator);
        let ordered = self.council.orders().map(|(indicator, ..)| indicator);
        // Of a network around it nothing is known to be wrong but this.
        let within =
            |x: &&Indicator| x.as_net().is_some_and(|held| held.prefix() >= net.prefix()) && overlaps(x, net);
        let mut wrong: Vec<Indicator> = said.chain(blocked).chain(ordered).filter(within).cloned().collect();
        // Also who is accused later only.
        wrong.extend(Indicator::net(net).ok());
        wrong.sort_unstable();
        wrong.dedup();
        for indicator in wrong {
            let rulings = self.council.refute(&indicator, Loss::Owner, &self.members, now);
            let until =
                self.council.refuted().find(|(refuted, _)| **refuted == indicator).map(|(_, until)| until.0);
            self.unwritten
                .refuted
                .extend(until.map(|until| (super::book::indicator_bytes(&indicator), until)));
            self.obey(rulings);
        }
        // What would only block it along with others was no lie.
        let rulings = self.council.let_in(net);
        self.obey(rulings);
    }

    /// A long talk with one whom peers accuse, and in which we found nothing, speaks for him.
    fn take_flow(&mut self, flow: &Flow) {
        if !self.logged.is_empty() {
            for ip in [flow.src.addr, flow.dst.addr] {
                if let Ok(indicator) = Indicator::host(ip) {
                    self.met(&indicator);
                }
            }
        }
        let long = flow.duration.is_some_and(|span| span.0 >= LONG_TALK.as_micros() as i64);
        let both_ways = flow.orig.bytes > 0 && flow.resp.bytes > 0 && flow.heard && flow.proto == Proto::Tcp;
        if !long || !both_ways || flow.phase != Phase::End || flow.outcome() != Outcome::Established {
            return;
        }
        let ours = |ip: IpAddr| self.own.iter().any(|net| net.contains(ip));
        if !ours(flow.src.addr) {
            return;
        }
        let Ok(indicator) = Indicator::host(flow.dst.addr) else { return };
        let known = self.seen.contains_key(&indicator);
        if known || self.council.live().about(&indicator).next().is_none() {
            return;
        }
        let rulings = self.council.refute(&indicator, Loss::Benign, &self.members, self.now());
        self.obey(rulings);
    }

    fn note_seen(&mut self, indicator: &Indicator, level: f64, confidence: f64, last: Moment) {
        let sight = Sight {
            indicator: indicator.clone(),
            score: Percent::of(level),
            confidence: Percent::of(confidence),
            last,
        };
        if self.seen.insert(indicator.clone(), sight).is_none() {
            self.seen_order.push_back(indicator.clone());
            if self.seen_order.len() > MAX_SEEN
                && let Some(oldest) = self.seen_order.pop_front()
            {
                self.seen.remove(&oldest);
            }
        }
    }

    /// What we saw ourselves of these, for a peer that may know.
    pub(super) fn sights(&self, from: NodeId, indicators: &[Indicator]) -> Vec<Sight> {
        if !self.settings.p2p.share || self.members.find(from, self.now()).is_none() {
            return Vec::new();
        }
        let may = |indicator: &&Indicator| self.privacy.may_answer(indicator);
        indicators.iter().filter(may).filter_map(|indicator| self.seen.get(indicator)).cloned().collect()
    }
}

fn moment(at: PacketTime) -> Moment {
    Moment(u64::try_from(at.0 / 1000).unwrap_or(0))
}

/// What may be told of findings about one attacker.
fn sighting_of(indicator: Indicator, evidence: &[&Evidence], score: f64, confidence: f64) -> Sighting {
    let mut sorted: Vec<&&Evidence> = evidence.iter().collect();
    sorted.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
    let kinds: Vec<EvidenceKind> = sorted.iter().map(|one| one.finding.kind).collect();
    let mut services: Vec<Service> = Vec::new();
    for one in &sorted {
        if let (Some(proto), Some(port)) = (one.finding.proto, one.finding.dst_port) {
            let service = Service { proto: proto_number(proto), port };
            if !services.contains(&service) {
                services.push(service);
            }
        }
    }
    Sighting {
        indicator,
        score,
        confidence,
        evidence: kinds,
        count: evidence.iter().map(|one| u64::from(one.count)).sum(),
        first: moment(evidence.iter().map(|one| one.finding.at).min().unwrap_or(PacketTime::MIN)),
        last: moment(evidence.iter().map(|one| one.last_seen).max().unwrap_or(PacketTime::MIN)),
        services,
        direction: Direction::Unknown,
        proof: Proof::Proven,
    }
}

const fn proto_number(proto: Proto) -> u8 {
    match proto {
        Proto::Tcp => 6,
        Proto::Udp => 17,
        Proto::Icmp => 1,
        _ => 0,
    }
}
