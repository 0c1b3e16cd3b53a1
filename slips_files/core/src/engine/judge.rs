//! The judge: keeps evidence and every attacker's sum, and says when it is enough. One owner, one order.

mod heirs;

use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;
use std::net::IpAddr;
use std::sync::Arc;

use crate::alert::{Alert, AlertId, Cause};
use crate::detector::{Emitted, OrderKey};
use crate::event::{Advice, Event, Report};
use crate::evidence::{
    Again, Confidence, Evidence, EvidenceId, EvidenceKind, Finding, MAX_UIDS, Proof, SharedEvidence,
    ThreatLevel, weight,
};
use crate::hash::KeyedState;
use crate::record::{Batch, Record, Stats};
use crate::settings::Settings;
use crate::time::{PacketTime, Span, WindowId};
use crate::whitelist::RuleId;

use super::gate::{Gate, Learnt};
use super::room::Room;
use super::router::Summary;

/// One critical evidence with at least this confidence makes an alert at once.
const DIRECT_CONFIDENCE: f64 = 0.9;
/// Critical evidence that is told this long after the attacker's last alert makes another: the block may have ended, the attack has
/// not. Until then it waits: a scan of a thousand hosts is one alert, not a thousand.
const FIRES_AGAIN_AFTER: Span = Span::from_secs(240);
/// The original's "insensitive" and "very sensitive" settings per minute of window width: the ends of an alert's confidence.
const SURE: f64 = 26.0 / 60.0;
const BARELY: f64 = 0.08;
/// Most evidence that one alert names; what is beyond it waits for the next.
const MAX_ALERT_EVIDENCE: usize = 1024;

/// An evidence and what the judge did with it.
struct Held {
    evidence: Evidence,
    /// The heaviest it was; only what is beyond adds to the sum.
    weighed: f64,
    /// Weight that no alert has used.
    unspent: f64,
    /// What of it is certain.
    sure: Sure,
    /// It waits in its attacker's account for an alert that names it.
    waits: bool,
    /// It was in an alert.
    told: bool,
    /// Its attacker is one of our hosts.
    local: bool,
}

/// What of an evidence proven findings alone make. Findings about one thing may be proven and forged by turns: what is forged must
/// neither rise nor count in the name of what was proven.
#[derive(Default)]
struct Sure {
    /// The worst that a proven finding said.
    strength: Option<(ThreatLevel, Confidence)>,
    /// How many of those that count were proven.
    count: u32,
    weighed: f64,
    /// Weight that no alert has used.
    unspent: f64,
}

impl Sure {
    fn take(&mut self, finding: &Finding) {
        if finding.proof == Proof::Unproven {
            return;
        }
        if finding.again == Again::Counts {
            self.count = self.count.saturating_add(1);
        }
        let told = (finding.level, finding.confidence);
        self.strength = Some(self.strength.map_or(told, |stands| worse(stands, told)));
    }

    /// Whether it bears out all that stands.
    fn proof(&self, stands: &Finding) -> Proof {
        match self.strength {
            Some(sure) if worse(sure, (stands.level, stands.confidence)) == sure => Proof::Proven,
            _ => Proof::Unproven,
        }
    }

    /// Weighs it anew, when so much of the evidence's weight is unspent.
    fn weigh(&mut self, unspent: f64) {
        let Some((level, confidence)) = self.strength else { return };
        let gained = (weight(level, confidence, self.count) - self.weighed).max(0.0);
        self.weighed += gained;
        self.unspent = (self.unspent + gained).min(unspent);
    }
}

/// The worse of two: by level, then by confidence. Never the level of one with the confidence of the other.
fn worse(a: (ThreatLevel, Confidence), b: (ThreatLevel, Confidence)) -> (ThreatLevel, Confidence) {
    let b_is_worse = b.0 > a.0 || (b.0 == a.0 && b.1.get() > a.1.get());
    if b_is_worse { b } else { a }
}

/// An attacker in a window.
#[derive(Default)]
struct Account {
    sum: f64,
    /// Of it, what is certain.
    proven: f64,
    alerts: u32,
    /// When the last alert was, and whether its source was proven then.
    last: Option<(PacketTime, Proof)>,
    /// Evidence that the next alert names.
    open: Vec<EvidenceId>,
    /// What was known of it with its latest evidence: see [`Alert`].
    in_conversation: bool,
    near_conversation: bool,
    is_local: bool,
}

/// All that is known about one window.
#[derive(Default)]
struct Book {
    evidence: HashMap<EvidenceId, Held, KeyedState>,
    accounts: HashMap<IpAddr, Account, KeyedState>,
}

pub(super) struct Judge {
    settings: Arc<Settings>,
    /// How often the dial had been turned when it was looked at last.
    turns: u64,
    books: BTreeMap<WindowId, Book>,
    room: Room,
    gate: Gate,
    stats: Stats,
}

/// What decided, for the alert.
struct Decision {
    id: EvidenceId,
    cause: Cause,
    /// Weight, of what an alert needs, that stands for peers' word.
    help: f64,
}

impl Judge {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let room = Room::new(settings.limits.open_evidence);
        let gate = Gate::new(&settings);
        Self { settings, turns: 0, books: BTreeMap::new(), room, gate, stats: Stats::default() }
    }

    pub(super) fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Takes what all shards found in one batch and appends the records that follow.
    pub(super) fn judge(&mut self, summary: Summary, mut findings: Vec<Emitted>, out: &mut Vec<Record>) {
        if let Some((threshold, disabled)) = self.settings.dial.turned(&mut self.turns) {
            let settings = Arc::make_mut(&mut self.settings);
            (settings.threshold, settings.disabled) = (threshold, disabled);
        }
        self.take_stats(summary.stats);
        out.extend(summary.new_profiles.iter().map(|&(addr, at)| Record::ProfileNew { addr, at }));
        let batch = summary.batch;
        if !batch.is_empty() {
            out.push(Record::Events(Arc::clone(&batch)));
        }
        findings.sort_by_key(|found| found.key);
        if self.gate.renew() {
            self.spare(summary.now, out);
        }
        let mut learnt = summary.learnt.into_iter().peekable();
        let mut closed = summary.closed.into_iter().peekable();
        let mut advice = summary.advice.into_iter().peekable();
        for found in findings {
            while let Some((seq, place, now)) = advice.next_if(|(seq, ..)| *seq < found.key.seq) {
                self.close_before((seq, 0), &mut closed, out);
                self.advise(batch.get(place), now, out);
            }
            while let Some((_, now, what)) = learnt.next_if(|(seq, ..)| *seq <= found.key.seq) {
                self.learn(what, &batch, now, out);
            }
            // What a closing window says itself (stage 0) still belongs to it.
            self.close_before((found.key.seq, found.key.stage), &mut closed, out);
            self.take(found, out);
        }
        for (seq, place, now) in advice {
            self.close_before((seq, 0), &mut closed, out);
            self.advise(batch.get(place), now, out);
        }
        for (_, now, what) in learnt {
            self.learn(what, &batch, now, out);
        }
        self.close_before((u64::MAX, 1), &mut closed, out);
    }

    /// Learns whose an address is. What is left alone by that must not stay blocked.
    fn learn(&mut self, what: Learnt, batch: &Batch, now: PacketTime, out: &mut Vec<Record>) {
        match what {
            Learnt::Owner(addr, mac) => {
                self.gate.learn_owner(addr, mac);
                if self.gate.uses().macs
                    && let Some(rule) = self.gate.spares(addr, now)
                {
                    self.tell_spared(addr, rule, out);
                }
            }
            Learnt::Names(place) => {
                let Some(event) = batch.get(place) else { return };
                for (addr, rule) in self.gate.learn_names(event, now) {
                    self.tell_spared(addr, rule, out);
                }
            }
        }
    }

    /// There is another whitelist: whom it leaves alone has no account, and is told where no rule names the address itself.
    fn spare(&mut self, now: PacketTime, out: &mut Vec<Record>) {
        for Book { evidence, accounts } in self.books.values_mut() {
            for (addr, account) in accounts.iter_mut() {
                if self.gate.spares(*addr, now).is_none() {
                    continue;
                }
                (account.sum, account.proven) = (0.0, 0.0);
                for id in account.open.drain(..) {
                    let Some(held) = evidence.get_mut(&id) else { continue };
                    (held.waits, held.told, held.unspent, held.sure.unspent) = (false, true, 0.0, 0.0);
                }
            }
        }
        for (addr, rule) in self.gate.tell_spared(now) {
            self.tell_spared(addr, rule, out);
        }
    }

    fn tell_spared(&self, addr: IpAddr, rule: RuleId, out: &mut Vec<Record>) {
        out.push(Record::Spared { addr, why: self.gate.describe(rule).into() });
    }

    /// Closes the windows that close before this place in the order.
    fn close_before(
        &mut self,
        place: (u64, u8),
        closed: &mut Peekable<impl Iterator<Item = (u64, WindowId, PacketTime)>>,
        out: &mut Vec<Record>,
    ) {
        while let Some((_, window, at)) = closed.next_if(|(seq, ..)| (*seq, 0) < place) {
            self.close(window, at, out);
        }
    }

    /// Takes what peers say: it is told as evidence that weighs nothing, and where own evidence is worth something and lacks no more than
    /// peers may say, there is an alert.
    fn advise(&mut self, event: Option<&Event>, now: PacketTime, out: &mut Vec<Record>) {
        let advice = match event {
            Some(Event::Advice(advice)) => advice,
            Some(Event::Told(report)) => return self.hear(report, now, out),
            Some(Event::Inherits(heritage)) => return self.inherit(heritage, now, out),
            _ => return,
        };
        let window = self.settings.width.window_of(now);
        let helps = advice.help > 0.0;
        let kind = if helps { EvidenceKind::MaliciousIpFromP2p } else { EvidenceKind::P2pReport };
        let finding = Finding {
            level: if helps { ThreatLevel::High } else { ThreatLevel::Info },
            confidence: Confidence::new(advice.confidence),
            text: advice.text.clone(),
            again: Again::Grows,
            ..Finding::new(kind, advice.attacker, window, now)
        };
        let id = finding.id();
        let key = OrderKey { seq: 0, stage: 0, window, profile: advice.attacker, detector: 0, n: 0 };
        let known = self.books.get(&window).and_then(|book| book.accounts.get(&advice.attacker));
        let (in_conversation, near_conversation, attacker_is_local) = known
            .map_or((false, true, false), |account| {
                (account.in_conversation, account.near_conversation, account.is_local)
            });
        let (src, dst, resolved) = (None, None, false);
        let told = Emitted {
            key,
            finding,
            in_conversation,
            near_conversation,
            attacker_is_local,
            src,
            dst,
            resolved,
        };
        self.take(told, out);
        let threshold = self.settings.alert_weight();
        let help = advice.help.min(Advice::MOST) * threshold;
        let Some(book) = self.books.get_mut(&window) else { return };
        let own = book.accounts.get(&advice.attacker).map_or(0.0, |account| account.sum);
        let waits = book.evidence.get(&id).is_some_and(|held| held.waits);
        if waits && helps && own >= Advice::OWN * threshold && own + help >= threshold {
            let decision = Decision { id, cause: Cause::Assisted, help };
            out.extend(alert(book, &self.settings, advice.attacker, window, &decision).map(Record::Alert));
            self.stats.alerts += 1;
        }
    }

    /// Takes what a service outside says: evidence of the moment in which it is known.
    fn hear(&mut self, report: &Report, now: PacketTime, out: &mut Vec<Record>) {
        let window = self.settings.width.window_of(now);
        let finding = Finding { window, at: now, ..report.finding.clone() };
        let profile = finding.profile;
        let key = OrderKey { seq: 0, stage: 0, window, profile, detector: 0, n: 0 };
        let known = self.books.get(&window).and_then(|book| book.accounts.get(&profile));
        let attacker_is_local = self.settings.local_nets.contains(profile);
        // With whom our hosts talk is known of those who were seen here: what a program outside cannot prove blocks nobody by itself.
        let hearsay = finding.told_by.is_some() && finding.proof == Proof::Unproven;
        let (in_conversation, near_conversation) =
            known.map_or((hearsay, true), |account| (account.in_conversation, account.near_conversation));
        let (src, dst, resolved) = (report.src, report.dst, false);
        let told = Emitted {
            key,
            finding,
            in_conversation,
            near_conversation,
            attacker_is_local,
            src,
            dst,
            resolved,
        };
        self.take(told, out);
    }

    /// Takes over the router's counters, keeping the judge's own.
    fn take_stats(&mut self, router: Stats) {
        self.stats = Stats {
            evidence: self.stats.evidence,
            evidence_repeats: self.stats.evidence_repeats,
            evidence_capped: self.stats.evidence_capped,
            evidence_whitelisted: self.stats.evidence_whitelisted,
            alerts: self.stats.alerts,
            ..router
        };
    }

    fn take(&mut self, found: Emitted, out: &mut Vec<Record>) {
        if self.settings.disabled.contains(&found.finding.kind) {
            return;
        }
        if self.gate.omits(&found).is_some() {
            self.stats.evidence_whitelisted += 1;
            return;
        }
        let id = found.finding.id();
        let window = found.finding.window;
        let (attacker, at) = (found.finding.attacker.ip(), found.finding.at);
        let known = self.books.get(&window).is_some_and(|book| book.evidence.contains_key(&id));
        if !known && !self.make_room(&found.finding, found.attacker_is_local) {
            self.stats.evidence_capped += 1;
            return;
        }
        let book = self.books.entry(window).or_default();
        let (held, mut tell) = match book.evidence.get_mut(&id) {
            Some(held) => {
                self.stats.evidence_repeats += 1;
                let tell = held.merge(found.finding);
                (held, tell)
            }
            None => {
                self.stats.evidence += 1;
                let held = Held::new(id, found.finding, found.attacker_is_local);
                (book.evidence.entry(id).or_insert(held), true)
            }
        };
        self.room.put(window, id, held.evidence.finding.level, held.evidence.finding.proof, held.local);
        let gained = (held.evidence.weight() - held.weighed).max(0.0);
        held.weighed += gained;
        held.unspent += gained;
        let certain = held.sure.unspent;
        if !held.evidence.finding.kind.is_hearsay() {
            held.sure.weigh(held.unspent);
        }
        let certain = held.sure.unspent - certain;
        let Some(attacker) = attacker else {
            publish(held, tell, out);
            return;
        };
        let account = book.accounts.entry(attacker).or_default();
        account.sum += gained;
        account.proven += certain;
        (account.in_conversation, account.is_local) = (found.in_conversation, found.attacker_is_local);
        account.near_conversation = found.near_conversation;
        if !held.waits && (gained > 0.0 || !held.told) {
            held.waits = true;
            account.open.push(id);
        }
        (held.evidence.accumulated, held.evidence.proven) = (account.sum, account.proven);
        let direct = account.fires(&held.evidence.finding, at);
        let enough = gained > 0.0 && account.sum >= self.settings.alert_weight();
        tell |= direct || enough;
        publish(held, tell, out);
        if direct || enough {
            let cause = if direct { Cause::Critical } else { Cause::Accumulated };
            let decision = Decision { id, cause, help: 0.0 };
            out.extend(alert(book, &self.settings, attacker, window, &decision).map(Record::Alert));
            self.stats.alerts += 1;
        }
    }

    /// Whether there is, or could be made, room for a new evidence. The weakest that could be forged makes room; what is high, proven
    /// or about our own hosts never does.
    fn make_room(&mut self, finding: &Finding, local: bool) -> bool {
        if self.room.has_place() {
            return true;
        }
        let Some((window, id)) = self.room.weaker_than(finding.level, finding.proof, local) else {
            return finding.level == ThreatLevel::Critical && self.room.has_reserve();
        };
        if let Some(book) = self.books.get_mut(&window)
            && let Some(gone) = book.evidence.remove(&id)
            && let Some(attacker) = gone.evidence.finding.attacker.ip()
            && let Some(account) = book.accounts.get_mut(&attacker)
        {
            account.open.retain(|open| *open != id);
            account.sum = (account.sum - gone.unspent).max(0.0);
            account.proven = (account.proven - gone.sure.unspent).max(0.0);
            if account.open.is_empty() && account.alerts == 0 {
                book.accounts.remove(&attacker);
            }
        }
        self.stats.evidence_capped += 1;
        true
    }

    fn close(&mut self, window: WindowId, at: PacketTime, out: &mut Vec<Record>) {
        self.books.remove(&window);
        self.room.close(window);
        out.push(Record::WindowClosed { window, at });
        out.push(Record::Stats(Box::new(self.stats.clone())));
    }
}

impl Held {
    fn new(id: EvidenceId, finding: Finding, local: bool) -> Self {
        let mut sure = Sure::default();
        sure.take(&finding);
        let evidence = Evidence {
            id,
            last_seen: finding.at,
            finding,
            count: 1,
            accumulated: 0.0,
            proven: 0.0,
            revision: 0,
        };
        Self { evidence, weighed: 0.0, unspent: 0.0, sure, waits: false, told: false, local }
    }

    /// Adds a finding that is told again; whether that is worth telling.
    fn merge(&mut self, again: Finding) -> bool {
        self.sure.take(&again);
        let tell = merge(&mut self.evidence, again);
        self.evidence.finding.proof = self.sure.proof(&self.evidence.finding);
        tell
    }
}

impl Account {
    /// Whether a critical evidence makes an alert by itself now: the first time, when the source has become proven since, or when the
    /// attack goes on after the first block.
    fn fires(&self, finding: &Finding, at: PacketTime) -> bool {
        finding.level == ThreatLevel::Critical
            && !finding.kind.is_hearsay()
            && finding.confidence.get() >= DIRECT_CONFIDENCE
            && self
                .last
                .is_none_or(|(before, proof)| finding.proof > proof || at.since(before) >= FIRES_AGAIN_AFTER)
    }
}

/// Makes the alert and starts the attacker's sum again.
fn alert(
    book: &mut Book,
    settings: &Settings,
    attacker: IpAddr,
    window: WindowId,
    decision: &Decision,
) -> Option<Arc<Alert>> {
    let account = book.accounts.get_mut(&attacker)?;
    let mut open = std::mem::take(&mut account.open);
    open.retain(|id| *id != decision.id);
    account.open = open.split_off(open.len().min(MAX_ALERT_EVIDENCE - 1));
    open.push(decision.id);
    let mut evidence: Vec<SharedEvidence> = Vec::with_capacity(open.len());
    let mut proven_weight = 0.0;
    for id in open {
        let Some(held) = book.evidence.get_mut(&id) else { continue };
        proven_weight += held.sure.unspent;
        (held.waits, held.told, held.unspent, held.sure.unspent) = (false, true, 0.0, 0.0);
        evidence.push(Arc::new(held.evidence.clone()));
    }
    let last = evidence.last()?;
    let minutes = settings.width.span().as_secs_f64() / 60.0;
    let normalised = (account.sum - BARELY * minutes) / ((SURE - BARELY) * minutes);
    let direct = decision.cause == Cause::Critical;
    // One proven trifle must not vouch for what could be forged: the deciding evidence does, or enough of the weight.
    let proof = match direct {
        true => last.finding.proof,
        false if proven_weight >= settings.alert_weight() - decision.help => Proof::Proven,
        false => Proof::Unproven,
    };
    let moment = (last.last_seen.0 as u64) ^ (u64::from(account.alerts) << 52);
    let alert = Alert {
        id: AlertId::derive(attacker, window, moment),
        attacker,
        window,
        window_start: settings.width.start_of(window),
        window_end: settings.width.end_of(window),
        at: last.last_seen,
        cause: decision.cause,
        accumulated: account.sum,
        confidence: Confidence::new(if direct {
            normalised.max(last.finding.confidence.get())
        } else {
            normalised
        }),
        proof,
        in_conversation: account.in_conversation,
        near_conversation: account.near_conversation,
        attacker_is_local: account.is_local,
        evidence,
    };
    account.alerts += 1;
    account.last = Some((alert.at, alert.proof));
    (account.sum, account.proven) = (0.0, 0.0);
    Some(Arc::new(alert))
}

/// Adds a finding that is told again to its evidence, but for its proof; whether that is worth telling.
fn merge(evidence: &mut Evidence, again: Finding) -> bool {
    let stands = &mut evidence.finding;
    let grew = again.again == Again::Grows
        || again.level > stands.level
        || again.confidence.get() > stands.confidence.get();
    match again.again {
        Again::Grows => {
            stands.level = again.level;
            stands.confidence = again.confidence;
        }
        Again::Counts => {
            evidence.count = evidence.count.saturating_add(1);
            (stands.level, stands.confidence) =
                worse((stands.level, stands.confidence), (again.level, again.confidence));
        }
    }
    stands.text = again.text;
    evidence.last_seen = evidence.last_seen.max(again.at);
    let room = MAX_UIDS.saturating_sub(stands.uids.len());
    let new: Vec<_> =
        again.uids.iter().filter(|uid| !stands.uids.contains(uid)).take(room).copied().collect();
    stands.uids.extend(new);
    for id in again.related {
        if !stands.related.contains(&id) && stands.related.len() < MAX_UIDS {
            stands.related.push(id);
        }
    }
    grew || evidence.count.is_power_of_two()
}

fn publish(held: &mut Held, tell: bool, out: &mut Vec<Record>) {
    if tell {
        out.push(Record::Evidence(Arc::new(held.evidence.clone())));
        held.evidence.revision += 1;
    }
}
