//! Whether this daemon acts, or another under the same name does: then it watches, and keeps what it would say to itself.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slips_core::alert::Alert;
use slips_core::heritage::MOST_UNTOLD;
use slips_core::record::Record;

/// See the module. Asked once for each batch of records: one relaxed load.
#[derive(Clone, Debug)]
pub struct Duty(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    acts: AtomicBool,
    rest: Mutex<Rest>,
}

/// What changes seldom; who acts changes only while it is held.
#[derive(Debug, Default)]
struct Rest {
    /// Alerts that were not told, the oldest first.
    kept: VecDeque<Arc<Alert>>,
    /// The place that was taken and is not acted in yet: its number. Another one is of before.
    awaits: Option<u64>,
}

/// Who acts.
impl Default for Duty {
    fn default() -> Self {
        Self::new(true)
    }
}

impl Duty {
    /// Of one that acts, or does not yet.
    pub fn new(acts: bool) -> Self {
        Self(Arc::new(Inner { acts: AtomicBool::new(acts), rest: Mutex::default() }))
    }

    /// Whether it acts.
    pub fn acts(&self) -> bool {
        self.0.acts.load(Ordering::Relaxed)
    }

    /// Somebody else does from now on.
    pub fn stand_by(&self) {
        let mut rest = self.lock();
        rest.awaits = None;
        self.0.acts.store(false, Ordering::Relaxed);
    }

    /// The place with this number was taken: it acts from the record on that says that the engine knows of it.
    pub fn awaits(&self, fence: u64) {
        self.lock().awaits = Some(fence);
    }

    fn lock(&self) -> MutexGuard<'_, Rest> {
        self.0.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Alerts that were not told, of which the newest are kept.
    pub fn kept(&self) -> Vec<Arc<Alert>> {
        self.lock().kept.iter().cloned().collect()
    }

    /// What of these records may be told to anybody. From the one on that says so it acts.
    pub fn told<'a>(&self, records: &'a [Record]) -> Cow<'a, [Record]> {
        let mut acts = self.acts();
        let is_plain =
            |record: &Record| !matches!(record, Record::TookOver { .. }) && (acts || !is_said(record));
        if records.iter().all(is_plain) {
            return Cow::Borrowed(records);
        }
        let mut told = Vec::with_capacity(records.len());
        for record in records {
            match record {
                Record::TookOver { fence } => {
                    let mut rest = self.lock();
                    // It may have been taken back before the engine knew of it.
                    if rest.awaits == Some(*fence) {
                        acts = true;
                        self.0.acts.store(true, Ordering::Relaxed);
                        *rest = Rest::default();
                    }
                }
                Record::Alert(alert) if !acts => {
                    let kept = &mut self.lock().kept;
                    if kept.iter().any(|known| known.id == alert.id) {
                        continue;
                    }
                    if kept.len() >= MOST_UNTOLD {
                        kept.pop_front();
                    }
                    kept.push_back(Arc::clone(alert));
                }
                record => told.push(record.clone()),
            }
        }
        Cow::Owned(told)
    }
}

const fn is_said(record: &Record) -> bool {
    matches!(record, Record::Alert(_))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use slips_core::alert::{AlertId, Cause};
    use slips_core::evidence::{Confidence, Proof};
    use slips_core::time::{PacketTime, WindowId};

    use super::*;

    fn alert(n: u32) -> Record {
        Record::Alert(Arc::new(Alert {
            id: AlertId(n.into()),
            attacker: IpAddr::from(n.to_be_bytes()),
            window: WindowId(0),
            window_start: PacketTime(0),
            window_end: PacketTime(0),
            at: PacketTime(n.into()),
            cause: Cause::Critical,
            accumulated: 1.0,
            confidence: Confidence::FULL,
            proof: Proof::Proven,
            in_conversation: false,
            near_conversation: false,
            attacker_is_local: false,
            evidence: Vec::new(),
        }))
    }

    fn closed() -> Record {
        Record::WindowClosed { window: WindowId(0), at: PacketTime(0) }
    }

    #[test]
    fn who_acts_tells_all_as_it_is() {
        let duty = Duty::default();
        let records = [alert(1), closed()];
        assert!(matches!(duty.told(&records), Cow::Borrowed([_, _])));
        assert!(duty.kept().is_empty());
    }

    #[test]
    fn who_stands_by_keeps_alerts_until_it_takes_the_place_and_tells_from_there_on() {
        let duty = Duty::new(false);
        assert_eq!(duty.told(&[alert(1), closed()]).len(), 1);
        assert_eq!(duty.kept().len(), 1);
        duty.awaits(2);
        let records = [alert(2), Record::TookOver { fence: 2 }, alert(3), closed()];
        let told = duty.told(&records);
        assert!(matches!(&*told, [Record::Alert(_), Record::WindowClosed { .. }]));
        assert!(duty.acts() && duty.kept().is_empty());
        duty.stand_by();
        assert_eq!(duty.told(&[alert(4)]).len(), 0);
    }

    #[test]
    fn a_place_that_was_taken_back_before_the_engine_knew_of_it_is_not_acted_in() {
        let duty = Duty::new(false);
        assert!(duty.told(&[alert(1)]).is_empty());
        duty.awaits(2);
        duty.stand_by();
        // With what was to be told late, which is kept once.
        assert!(duty.told(&[Record::TookOver { fence: 2 }, alert(1), alert(3)]).is_empty());
        assert!(!duty.acts());
        assert_eq!(duty.kept().len(), 2);
        duty.awaits(4);
        assert!(duty.told(&[Record::TookOver { fence: 2 }]).is_empty());
        assert!(!duty.acts());
        assert!(matches!(&*duty.told(&[Record::TookOver { fence: 4 }, alert(5)]), [Record::Alert(_)]));
        assert!(duty.acts());
    }

    #[test]
    fn the_newest_are_kept() {
        let duty = Duty::new(false);
        let many: Vec<Record> = (0..MOST_UNTOLD as u32 + 10).map(alert).collect();
        assert!(duty.told(&many).is_empty());
        let kept = duty.kept();
        assert_eq!((kept.len(), kept.first().map(|alert| alert.id)), (MOST_UNTOLD, Some(AlertId(10))));
    }
}
