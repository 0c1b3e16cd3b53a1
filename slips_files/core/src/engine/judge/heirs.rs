//! The judge takes over what another held: of evidence that both know the heavier stands, and what the other's alerts used is used.

use std::sync::Arc;

use super::{Account, Held, Judge, Sure, publish, worse};
use crate::evidence::{Again, Evidence, MAX_UIDS, Proof};
use crate::heritage::{Heritage, HeritageOf, MOST_ALERTS, MOST_EVIDENCE, MOST_UNTOLD};
use crate::record::Record;
use crate::time::PacketTime;

impl Judge {
    pub(super) fn inherit(&mut self, heritage: &Heritage, now: PacketTime, out: &mut Vec<Record>) {
        let settings = Arc::clone(&self.settings);
        for of in heritage.open(&settings, now) {
            if self.gate.spares(of.attacker, now).is_none() {
                self.inherit_of(of, out);
            }
        }
        out.push(Record::TookOver { fence: heritage.fence });
        out.extend(heritage.untold.iter().take(MOST_UNTOLD).cloned().map(Record::Alert));
    }

    fn inherit_of(&mut self, of: &HeritageOf, out: &mut Vec<Record>) {
        let local = self.settings.local_nets.contains(of.attacker);
        let mut most = 0.0;
        for (theirs, told) in of.evidence.iter().take(MOST_EVIDENCE) {
            let finding = &theirs.finding;
            let is_his = finding.attacker.ip() == Some(of.attacker) && finding.window == of.window;
            if !is_his || self.settings.disabled.contains(&finding.kind) {
                continue;
            }
            let known = self.books.get(&of.window).is_some_and(|book| book.evidence.contains_key(&theirs.id));
            if !known && !self.make_room(finding, local) {
                self.stats.evidence_capped += 1;
                continue;
            }
            self.stats.evidence += u64::from(!known);
            most += theirs.weight();
            let book = self.books.entry(of.window).or_default();
            let held = book.evidence.entry(theirs.id).or_insert_with(|| Held::inherited(theirs, local));
            let (gained, certain) = held.inherit(theirs, *told);
            let stands = &held.evidence.finding;
            self.room.put(of.window, theirs.id, stands.level, stands.proof, local);
            let account = book.accounts.entry(of.attacker).or_insert_with(|| Account {
                // Nothing is known of his conversations, until something of him is seen here.
                in_conversation: true,
                near_conversation: true,
                is_local: local,
                ..Account::default()
            });
            account.sum = (account.sum + gained).max(0.0);
            account.proven = (account.proven + certain).max(0.0);
            let waits = held.unspent > 0.0 || !held.told;
            if waits && !held.waits {
                account.open.push(theirs.id);
            } else if held.waits && !waits {
                account.open.retain(|open| *open != theirs.id);
            }
            held.waits = waits;
            (held.evidence.accumulated, held.evidence.proven) = (account.sum, account.proven);
            publish(held, true, out);
        }
        let account = self.books.get_mut(&of.window).and_then(|book| book.accounts.get_mut(&of.attacker));
        if let Some(account) = account {
            // Evidence that went on after an alert weighs more than is told of it one by one, but never more than all of it.
            account.sum = account.sum.max(of.sum().min(most));
            account.alerts = account.alerts.max(of.alerts.min(MOST_ALERTS));
            account.last = account.last.max(of.last);
        }
    }
}

impl Held {
    /// As the other had it; what it weighs is added by [`inherit`](Self::inherit).
    fn inherited(theirs: &Evidence, local: bool) -> Self {
        Self {
            evidence: Evidence { accumulated: 0.0, proven: 0.0, ..theirs.clone() },
            weighed: 0.0,
            unspent: 0.0,
            sure: Sure::default(),
            waits: false,
            told: false,
            local,
        }
    }

    /// Takes what the other knew of the same evidence, and whether its alerts named it. What that adds to the attacker's sum, and to what
    /// of it is certain; it may be less than nothing.
    fn inherit(&mut self, theirs: &Evidence, told: bool) -> (f64, f64) {
        let weight = theirs.weight();
        let stands = &mut self.evidence;
        if weight > stands.weight() {
            (stands.finding.level, stands.finding.confidence) =
                (theirs.finding.level, theirs.finding.confidence);
            stands.finding.text.clone_from(&theirs.finding.text);
            stands.count = theirs.count;
        }
        stands.last_seen = stands.last_seen.max(theirs.last_seen);
        stands.finding.at = stands.finding.at.min(theirs.finding.at);
        let room = MAX_UIDS.saturating_sub(stands.finding.uids.len());
        let known = &stands.finding.uids;
        let new: Vec<_> =
            theirs.finding.uids.iter().filter(|uid| !known.contains(uid)).take(room).copied().collect();
        stands.finding.uids.extend(new);
        if theirs.finding.proof == Proof::Proven {
            let sure = (theirs.finding.level, theirs.finding.confidence);
            self.sure.strength = Some(self.sure.strength.map_or(sure, |stands| worse(stands, sure)));
            if theirs.finding.again == Again::Counts {
                self.sure.count = self.sure.count.max(theirs.count);
            }
        }
        stands.finding.proof = self.sure.proof(&stands.finding);
        let before = (self.unspent, self.sure.unspent);
        if told {
            self.told = true;
            self.unspent = (self.weighed - weight).clamp(0.0, self.unspent);
            self.sure.unspent = self.sure.unspent.min(self.unspent);
        } else {
            self.unspent += (weight - self.weighed).max(0.0);
        }
        self.weighed = self.weighed.max(weight);
        if !self.evidence.finding.kind.is_hearsay() {
            self.sure.weigh(self.unspent);
        }
        (self.unspent - before.0, self.sure.unspent - before.1)
    }
}
