//! The judge: keeps evidence and every attacker's sum, and says when it is enough. One owner, one order.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::alert::{Alert, AlertId, Cause};
use crate::detector::Emitted;
use crate::evidence::{Again, Confidence, Evidence, EvidenceId, Finding, MAX_UIDS, ThreatLevel};
use crate::hash::KeyedState;
use crate::record::{Record, Stats};
use crate::settings::Settings;
use crate::time::{PacketTime, WindowId};

use super::router::Summary;

/// One critical evidence with at least this confidence makes an alert at once.
const DIRECT_CONFIDENCE: f64 = 0.9;
/// The original's "insensitive" and "very sensitive" settings per minute of window width: the ends of an alert's confidence.
const SURE: f64 = 26.0 / 60.0;
const BARELY: f64 = 0.08;
/// Most evidence that one alert names.
const MAX_ALERT_EVIDENCE: usize = 1024;

/// An evidence and what the judge did with it.
struct Held {
    evidence: Evidence,
    /// It was the critical evidence of an alert already.
    fired: bool,
}

/// An attacker in a window.
#[derive(Default)]
struct Account {
    sum: f64,
    alerts: u32,
    /// Evidence in no alert yet.
    open: Vec<EvidenceId>,
}

/// What has to go when a window closes.
#[derive(Default)]
struct Book {
    evidence: Vec<EvidenceId>,
    attackers: Vec<IpAddr>,
}

pub(super) struct Judge {
    settings: Arc<Settings>,
    evidence: HashMap<EvidenceId, Held, KeyedState>,
    accounts: HashMap<(IpAddr, WindowId), Account, KeyedState>,
    books: BTreeMap<WindowId, Book>,
    stats: Stats,
}

impl Judge {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            evidence: HashMap::default(),
            accounts: HashMap::default(),
            books: BTreeMap::new(),
            stats: Stats::default(),
        }
    }

    pub(super) fn stats(&self) -> Stats {
        self.stats.clone()
    }

    /// Takes what all shards found in one batch and appends the records that follow.
    pub(super) fn judge(&mut self, summary: Summary, mut findings: Vec<Emitted>, out: &mut Vec<Record>) {
        self.take_stats(summary.stats);
        out.extend(summary.new_profiles.iter().map(|&(addr, at)| Record::ProfileNew { addr, at }));
        if !summary.batch.is_empty() {
            out.push(Record::Events(summary.batch));
        }
        findings.sort_by_key(|found| found.key);
        let mut closed = summary.closed.into_iter().peekable();
        for found in findings {
            // What a closing window says itself (stage 0) still belongs to it.
            while let Some((_, window, at)) =
                closed.next_if(|(seq, ..)| (*seq, 0) < (found.key.seq, found.key.stage))
            {
                self.close(window, at, out);
            }
            self.take(found, out);
        }
        for (_, window, at) in closed {
            self.close(window, at, out);
        }
    }

    /// Takes over the router's counters, keeping the judge's own.
    fn take_stats(&mut self, router: Stats) {
        self.stats = Stats {
            evidence: self.stats.evidence,
            evidence_repeats: self.stats.evidence_repeats,
            evidence_capped: self.stats.evidence_capped,
            alerts: self.stats.alerts,
            ..router
        };
    }

    fn take(&mut self, found: Emitted, out: &mut Vec<Record>) {
        if self.settings.disabled.contains(&found.finding.kind) {
            return;
        }
        let id = found.finding.id();
        let attacker = found.finding.attacker.ip();
        let window = found.finding.window;
        let (gained, tell) = match self.evidence.get_mut(&id) {
            Some(held) => {
                self.stats.evidence_repeats += 1;
                merge(&mut held.evidence, found.finding)
            }
            None => {
                if self.evidence.len() >= self.settings.limits.open_evidence {
                    self.stats.evidence_capped += 1;
                    return;
                }
                self.stats.evidence += 1;
                let evidence = Evidence {
                    id,
                    last_seen: found.finding.at,
                    finding: found.finding,
                    count: 1,
                    accumulated: 0.0,
                    revision: 0,
                };
                let gained = evidence.weight();
                self.evidence.insert(id, Held { evidence, fired: false });
                let book = self.books.entry(window).or_default();
                book.evidence.push(id);
                if let Some(attacker) = attacker {
                    let account = self.accounts.entry((attacker, window)).or_default();
                    if account.open.is_empty() && account.alerts == 0 {
                        book.attackers.push(attacker);
                    }
                    account.open.push(id);
                }
                (gained, true)
            }
        };
        let Some(held) = self.evidence.get_mut(&id) else { return };
        let Some(attacker) = attacker else {
            publish(held, tell, out);
            return;
        };
        let account = self.accounts.entry((attacker, window)).or_default();
        account.sum += gained;
        held.evidence.accumulated = account.sum;
        let finding = &held.evidence.finding;
        let direct = finding.level == ThreatLevel::Critical
            && finding.confidence.get() >= DIRECT_CONFIDENCE
            && !held.fired;
        let enough = gained > 0.0 && account.sum >= self.settings.alert_weight();
        publish(held, tell || direct || enough, out);
        if direct || enough {
            let cause = if direct { Cause::Critical } else { Cause::Accumulated };
            let (talked, local) = (found.in_conversation, found.attacker_is_local);
            self.alert(attacker, window, id, cause, talked, local, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what decided, spelled out once at its only call")]
    fn alert(
        &mut self,
        attacker: IpAddr,
        window: WindowId,
        deciding: EvidenceId,
        cause: Cause,
        in_conversation: bool,
        attacker_is_local: bool,
        out: &mut Vec<Record>,
    ) {
        let Some(account) = self.accounts.get_mut(&(attacker, window)) else { return };
        let mut open = std::mem::take(&mut account.open);
        open.retain(|id| *id != deciding);
        open.truncate(MAX_ALERT_EVIDENCE - 1);
        open.push(deciding);
        let mut evidence = Vec::with_capacity(open.len());
        for id in open {
            if let Some(held) = self.evidence.get_mut(&id) {
                held.fired |= held.evidence.finding.level == ThreatLevel::Critical;
                evidence.push(Arc::new(held.evidence.clone()));
            }
        }
        let Some(last) = evidence.last() else { return };
        let minutes = self.settings.width.span().as_secs_f64() / 60.0;
        let normalised = (account.sum - BARELY * minutes) / ((SURE - BARELY) * minutes);
        let direct = if cause == Cause::Critical { last.finding.confidence.get() } else { 0.0 };
        let alert = Alert {
            id: AlertId::derive(attacker, window, account.alerts),
            attacker,
            window,
            window_start: self.settings.width.start_of(window),
            window_end: self.settings.width.end_of(window),
            at: last.last_seen,
            cause,
            accumulated: account.sum,
            confidence: Confidence::new(normalised.max(direct)),
            proof: evidence.iter().map(|e| e.finding.proof).max().unwrap_or(last.finding.proof),
            in_conversation,
            attacker_is_local,
            evidence,
        };
        account.alerts += 1;
        account.sum = 0.0;
        self.stats.alerts += 1;
        out.push(Record::Alert(Arc::new(alert)));
    }

    fn close(&mut self, window: WindowId, at: PacketTime, out: &mut Vec<Record>) {
        if let Some(book) = self.books.remove(&window) {
            for id in book.evidence {
                self.evidence.remove(&id);
            }
            for attacker in book.attackers {
                self.accounts.remove(&(attacker, window));
            }
        }
        out.push(Record::WindowClosed { window, at });
        out.push(Record::Stats(Box::new(self.stats.clone())));
    }
}

/// Adds a finding that is told again to its evidence. Returns the weight gained and whether it is worth telling.
fn merge(evidence: &mut Evidence, again: Finding) -> (f64, bool) {
    let before = evidence.weight();
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
            stands.level = stands.level.max(again.level);
            stands.confidence = Confidence::new(stands.confidence.get().max(again.confidence.get()));
        }
    }
    stands.text = again.text;
    stands.proof = stands.proof.max(again.proof);
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
    let tell = grew || evidence.count.is_power_of_two();
    ((evidence.weight() - before).max(0.0), tell)
}

fn publish(held: &mut Held, tell: bool, out: &mut Vec<Record>) {
    if tell {
        out.push(Record::Evidence(Arc::new(held.evidence.clone())));
        held.evidence.revision += 1;
    }
}
