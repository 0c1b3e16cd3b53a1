//! What is left out when more comes in than can be looked at: four steps, up and down, each told and counted. Evidence, alerts and
//! blocks are never left out. docs/troubleshooting.md tells users of it.
//!
//! [`controller`] decides, [`watch`] measures and tells, [`Thinner`] and [`Rows`] leave out.

pub mod blocked;
pub mod controller;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use slips_core::addr::LocalNets;
use slips_core::event::Event;
use slips_core::flow::Phase;
use slips_core::intel::Reader;
use slips_core::record::Record;
use slips_store::{RecordSink, StoreError};

use self::blocked::Nets;
use super::pulse::Pulse;

/// How much is left out. Each step leaves out what those before it do, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Step {
    /// Nothing.
    #[default]
    None,
    /// What blocked addresses do: the kernel drops their packets.
    SkipBlocked,
    /// What is between two remote hosts, but for the ends of flows.
    CoarseRemote,
    /// Rows of what was seen of protocols in the database.
    ShedRecords,
    /// Rows of flows, too.
    ShedRows,
}

/// All steps, from the softest on.
const STEPS: [Step; 5] =
    [Step::None, Step::SkipBlocked, Step::CoarseRemote, Step::ShedRecords, Step::ShedRows];

impl Step {
    /// From its number; what is none is the last.
    pub fn of(number: u8) -> Self {
        STEPS.get(usize::from(number)).copied().unwrap_or(Self::ShedRows)
    }

    /// The next one, if there is one.
    pub fn harder(self) -> Option<Self> {
        STEPS.get(self as usize + 1).copied()
    }

    /// The one before, if there is one.
    pub fn softer(self) -> Option<Self> {
        (self as usize).checked_sub(1).and_then(|before| STEPS.get(before)).copied()
    }

    /// What is left out from this step on, for people.
    pub const fn what(self) -> &'static str {
        match self {
            Self::None => "nothing is left out",
            Self::SkipBlocked => "what blocked addresses do is not looked at",
            Self::CoarseRemote => "of what is between remote hosts only the ends of flows are looked at",
            Self::ShedRecords => "records of protocols are not kept",
            Self::ShedRows => "neither rows of flows nor records of protocols are kept",
        }
    }
}

/// Leaves events out before they go to the engine.
pub struct Thinner {
    blocked: Reader<Nets>,
    local: LocalNets,
    /// The step of the last turn.
    was: Step,
}

impl Thinner {
    /// For one capture thread.
    pub fn new(blocked: Reader<Nets>, local: LocalNets) -> Self {
        Self { blocked, local, was: Step::None }
    }

    /// Which hosts are ours.
    pub const fn local(&self) -> &LocalNets {
        &self.local
    }

    /// Takes out of `events` what is left out at this step, and counts it.
    pub fn thin(&mut self, events: &mut Vec<Event>, pulse: &Pulse) {
        let step = pulse.step();
        let was = std::mem::replace(&mut self.was, step);
        if step == Step::None {
            if was != Step::None {
                // The old snapshot is nobody's any more.
                self.blocked.refresh();
            }
            return;
        }
        let blocked = self.blocked.get();
        let (mut of_blocked, mut of_remote) = (0, 0);
        events.retain(|event| {
            // What hosts say on the link is little, and tells who is who.
            let (src, dst) = if event.is_of_link() { (None, None) } else { event.parties() };
            let mut parties = [src, dst].into_iter().flatten();
            if parties.clone().any(|addr| blocked.contain(addr)) {
                of_blocked += 1;
                return false;
            }
            let is_end = matches!(event, Event::Flow(flow) if flow.phase == Phase::End);
            let remote = src.is_some() && !parties.any(|addr| self.local.contains(addr));
            if step >= Step::CoarseRemote && remote && !is_end {
                of_remote += 1;
                return false;
            }
            true
        });
        pulse.skipped_blocked.fetch_add(of_blocked, Ordering::Relaxed);
        pulse.coarse_remote.fetch_add(of_remote, Ordering::Relaxed);
    }
}

/// A sink that gets no records of protocols from the last step but one on, and no flows from the last; whatever else there is it gets.
pub struct Rows {
    sink: Box<dyn RecordSink>,
    pulse: Arc<Pulse>,
}

impl Rows {
    /// Before this sink.
    pub fn before(sink: Box<dyn RecordSink>, pulse: Arc<Pulse>) -> Self {
        Self { sink, pulse }
    }
}

impl RecordSink for Rows {
    fn accept(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let step = self.pulse.step();
        if step < Step::ShedRecords {
            return self.sink.accept(records);
        }
        let shed: u64 = records.iter().map(records_of).sum();
        self.pulse.records_shed.fetch_add(shed, Ordering::Relaxed);
        if step == Step::ShedRecords {
            return self.sink.accept(&records.iter().map(only_flows).collect::<Vec<_>>());
        }
        self.pulse.rows_shed.fetch_add(super::outbox::ended_flows(records), Ordering::Relaxed);
        let kept = records.iter().filter(|record| !matches!(record, Record::Events(_)));
        self.sink.accept(&kept.cloned().collect::<Vec<_>>())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.sink.flush()
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        self.sink.close()
    }

    fn shrink(&mut self) {
        self.sink.shrink();
    }

    fn lost(&self) -> u64 {
        self.sink.lost()
    }
}

/// How many records of protocols are in a batch of events.
fn records_of(record: &Record) -> u64 {
    let Record::Events(batch) = record else { return 0 };
    batch.iter().filter(|event| slips_store::is_protocol_record(event)).count() as u64
}

/// The same without events that are not about flows.
fn only_flows(record: &Record) -> Record {
    match record {
        Record::Events(batch) => {
            let flows = batch.iter().filter(|event| matches!(event, Event::Flow(_)));
            Record::Events(Arc::new(flows.cloned().collect()))
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use slips_core::event::{Arp, ArpOp};
    use slips_core::flow::{Endpoint, Flow, MacAddr, Proto};
    use slips_core::time::{PacketTime, WindowId};

    use super::blocked::Blocked;
    use super::*;

    fn flow(src: &str, dst: &str, phase: Phase) -> Event {
        let end = |text: &str| Endpoint { addr: text.parse().expect(text), port: 1 };
        let mut flow = Flow::new(PacketTime(1), Proto::Tcp, end(src), end(dst));
        flow.phase = phase;
        Event::Flow(flow)
    }

    const ATTACKER: &str = "203.0.113.9";
    const REMOTE: &str = "198.51.100.1";
    const OTHER: &str = "198.51.100.2";
    const HOST: &str = "192.168.1.7";

    /// One of each kind that is treated differently.
    fn events() -> Vec<Event> {
        vec![
            flow(ATTACKER, HOST, Phase::Start),
            flow(HOST, ATTACKER, Phase::End),
            flow(REMOTE, OTHER, Phase::Start),
            flow(REMOTE, OTHER, Phase::End),
            flow(REMOTE, HOST, Phase::Start),
            Event::Tick(PacketTime(5)),
            Event::Arp(Arp {
                at: PacketTime(1),
                op: ArpOp::Request,
                frame_src: MacAddr([2; 6]),
                frame_dst: MacAddr([255; 6]),
                sender: ATTACKER.parse().expect("address"),
                sender_mac: MacAddr([2; 6]),
                target: REMOTE.parse().expect("address"),
                target_mac: MacAddr([0; 6]),
                interface: 1,
            }),
        ]
    }

    #[test]
    fn each_step_leaves_out_what_it_says_and_counts_it() {
        let blocked = Blocked::default();
        let net = slips_core::addr::Net::host(ATTACKER.parse().expect("address"));
        blocked.put(Nets::new([net].into_iter()));
        for (step, left, skipped, coarse) in [
            (Step::None, 7, 0, 0),
            (Step::SkipBlocked, 5, 2, 0),
            (Step::CoarseRemote, 4, 2, 1),
            (Step::ShedRecords, 4, 2, 1),
            (Step::ShedRows, 4, 2, 1),
        ] {
            let pulse = Pulse::default();
            pulse.step.store(step as u8, Ordering::Relaxed);
            let mut thinner = Thinner::new(blocked.reader(), LocalNets::private());
            let mut events = events();
            thinner.thin(&mut events, &pulse);
            let counted =
                [&pulse.skipped_blocked, &pulse.coarse_remote].map(|counter| counter.load(Ordering::Relaxed));
            assert_eq!((events.len(), counted), (left, [skipped, coarse]), "{step:?}");
            assert!(events.iter().any(|event| matches!(event, Event::Tick(_))));
            assert!(events.iter().any(Event::is_of_link));
        }
    }

    #[test]
    fn whoever_is_let_in_again_is_looked_at_again() {
        let blocked = Blocked::default();
        let pulse = Pulse::default();
        pulse.step.store(1, Ordering::Relaxed);
        let mut thinner = Thinner::new(blocked.reader(), LocalNets::private());
        let mut left = || {
            let mut events = events();
            thinner.thin(&mut events, &pulse);
            events.len()
        };
        assert_eq!(left(), 7);
        blocked.put(Nets::new(["203.0.113.0/24".parse().expect("net")].into_iter()));
        assert_eq!(left(), 5);
        blocked.put(Nets::default());
        assert_eq!(left(), 7);
    }

    struct Taken(Arc<Mutex<Vec<Record>>>);

    impl RecordSink for Taken {
        fn accept(&mut self, records: &[Record]) -> Result<(), StoreError> {
            self.0.lock().expect("lock").extend_from_slice(records);
            Ok(())
        }
        fn flush(&mut self) -> Result<(), StoreError> {
            Ok(())
        }
        fn close(self: Box<Self>) -> Result<(), StoreError> {
            Ok(())
        }
        fn lost(&self) -> u64 {
            0
        }
    }

    #[test]
    fn records_of_protocols_are_left_out_before_flows_and_nothing_else_is() {
        let (pulse, taken) = (Arc::new(Pulse::default()), Arc::default());
        let mut rows = Rows::before(Box::new(Taken(Arc::clone(&taken))), Arc::clone(&pulse));
        let records = [
            Record::Events(Arc::new(events())),
            Record::WindowClosed { window: WindowId(1), at: PacketTime(1) },
        ];
        // How many records, and how many events among them; the counts go on.
        for (step, got, shed) in [
            (Step::CoarseRemote, (2, 7), (0, 0)),
            (Step::ShedRecords, (2, 5), (1, 0)),
            (Step::ShedRows, (1, 0), (2, 2)),
            (Step::None, (2, 7), (2, 2)),
        ] {
            pulse.step.store(step as u8, Ordering::Relaxed);
            taken.lock().expect("lock").clear();
            rows.accept(&records).expect("taken");
            let taken = taken.lock().expect("lock");
            let events = taken.iter().map(|record| match record {
                Record::Events(batch) => batch.len(),
                _ => 0,
            });
            assert_eq!((taken.len(), events.sum::<usize>()), got, "{step:?}");
            let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
            assert_eq!((load(&pulse.records_shed), load(&pulse.rows_shed)), shed, "{step:?}");
        }
    }
}
