//! What waits for the next transaction.

use slips_core::event::Event;
use slips_core::flow::{Flow, Phase};
use slips_core::record::Record;

use super::{Sqlite, records};

/// A record that waits, and what it brings.
pub(super) struct Held {
    pub(super) record: Record,
    pub(super) flows: usize,
    /// Records of protocols among the events.
    pub(super) records: usize,
    pub(super) events: usize,
}

impl Held {
    pub(super) const fn rows(&self) -> usize {
        self.flows + self.records
    }
}

impl Sqlite {
    /// Holds a record back, if there is something in it for the database.
    pub(super) fn hold(&mut self, record: &Record) {
        let (flows, records, events) = match record {
            Record::Events(batch) => {
                let records = batch.iter().filter(|event| records::is_one(event)).count();
                (ended(batch).count(), records, batch.len())
            }
            Record::Evidence(_) | Record::Alert(_) => (0, 0, 0),
            _ => return,
        };
        if events > 0 && flows + records == 0 {
            return;
        }
        self.pause = self.pause.saturating_sub(events.max(1));
        self.held_flows += flows;
        self.held_records += records;
        self.held_events += events;
        self.held_findings += usize::from(events == 0);
        self.held.push_back(Held { record: record.clone(), flows, records, events });
    }

    pub(super) const fn held_rows(&self) -> usize {
        self.held_flows + self.held_records
    }

    fn release(&mut self, held: &Held) {
        self.held_flows -= held.flows;
        self.held_records -= held.records;
        self.held_events -= held.events;
        self.held_findings -= usize::from(held.events == 0);
    }

    /// Drops the oldest held records; the number of rows that are gone with them.
    pub(super) fn drop_oldest(&mut self, count: usize) -> u64 {
        let mut rows = 0;
        for _ in 0..count {
            let Some(held) = self.held.pop_front() else { break };
            self.release(&held);
            rows += held.rows().max(usize::from(held.events == 0)) as u64;
        }
        rows
    }

    /// After a failure: batches without flows are dropped before flows, and both before evidence and alerts, always the oldest first.
    pub(super) fn make_room(&mut self) {
        for with_flows in [false, true] {
            let mut at = 0;
            while at < self.held.len() {
                let over_events = self.held_events > self.limits.waiting_events;
                let over_findings = self.held_findings > self.limits.waiting_findings;
                let Some(held) = self.held.get(at) else { break };
                let is_next = if held.events == 0 {
                    over_findings
                } else {
                    over_events && (held.flows == 0 || with_flows)
                };
                if is_next {
                    if let Some(held) = self.held.remove(at) {
                        self.lost += held.rows().max(usize::from(held.events == 0)) as u64;
                        self.release(&held);
                    }
                } else if over_events || over_findings {
                    at += 1;
                } else {
                    return;
                }
            }
        }
    }
}

/// The flows among events that ended.
pub(super) fn ended(batch: &[Event]) -> impl Iterator<Item = &Flow> {
    batch.iter().filter_map(|event| match event {
        Event::Flow(flow) if flow.phase == Phase::End => Some(flow),
        _ => None,
    })
}
