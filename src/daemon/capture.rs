//! The capture thread: packets become events, events go to the engine. When the engine is full, events between two remote hosts
//! are shed first, those of local hosts last, and both are counted.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use slips_core::addr::LocalNets;
use slips_core::engine::pipeline::{Input, NotTaken};
use slips_core::event::Event;
use slips_input::capture::{LinkState, Live, LiveSource};

use super::clocks::Clocks;
use super::pulse::Pulse;
use crate::cli::{Exit, Failure};

/// How long the capture thread waits for a full engine before it sheds what is between remote hosts,
const PATIENCE: Duration = Duration::from_millis(50);
/// and how much longer before it sheds what concerns local ones: the kernel's ring holds about a second.
const LAST_PATIENCE: Duration = Duration::from_millis(200);
/// How often the counters of the kernel are asked for.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Captures until the source is stopped or fails.
pub fn run(
    mut source: LiveSource,
    interfaces: usize,
    input: &Input,
    local: &LocalNets,
    pulse: &Pulse,
) -> Result<(), Failure> {
    let clock = Clocks::default().steady;
    let mut counted = Duration::ZERO;
    let mut waiting: Vec<Event> = Vec::with_capacity(1024);
    let ended = loop {
        pulse.capture.fetch_add(1, Ordering::Relaxed);
        match source.next_batch(&mut waiting) {
            Ok(Live::Stopped) => break Ok(()),
            Ok(Live::Changed(change)) => {
                let name = source.name(change.interface).unwrap_or("?");
                eprintln!("slips: interface {name} is {}", state_name(change.state));
            }
            Ok(_) => {}
            Err(error) => break Err(failure(error)),
        }
        let now = clock();
        if now.saturating_sub(counted) >= COUNT_EVERY {
            counted = now;
            count(&mut source, interfaces, pulse);
        }
        if waiting.is_empty() {
            continue;
        }
        let batch = std::mem::replace(&mut waiting, Vec::with_capacity(1024));
        if !hand_over(&|batch, patience| offer(input, batch, patience, pulse), batch, local, pulse) {
            break Err(Failure::new(Exit::Software, "the detection threads ended early"));
        }
    };
    source.finish(&mut waiting);
    count(&mut source, interfaces, pulse);
    if !waiting.is_empty() {
        // The engine is gone already if this fails, and its join says why.
        let _ = input.send(waiting);
    }
    pulse.ended.store(true, Ordering::Relaxed);
    ended
}

fn count(source: &mut LiveSource, interfaces: usize, pulse: &Pulse) {
    let numbers = 1..=u16::try_from(interfaces).unwrap_or(u16::MAX);
    let drops = numbers.filter_map(|number| Some(source.counters(number)?.drops)).sum();
    pulse.drops.store(drops, Ordering::Relaxed);
    pulse.evicted.store(source.sensor_counters().flows_evicted, Ordering::Relaxed);
}

/// Hands a batch over by `offer`, or what of it matters most. False when nobody takes any more.
fn hand_over(
    offer: &dyn Fn(Vec<Event>, Duration) -> Result<(), NotTaken>,
    batch: Vec<Event>,
    local: &LocalNets,
    pulse: &Pulse,
) -> bool {
    let full = match offer(batch, PATIENCE) {
        Ok(()) => return true,
        Err(NotTaken::Stopped(_)) => return false,
        Err(NotTaken::Full(batch)) => batch,
    };
    let all = full.len();
    let kept: Vec<Event> = full.into_iter().filter(|event| concerns(event, local)).collect();
    pulse.shed_remote.fetch_add(lossless(all - kept.len()), Ordering::Relaxed);
    if kept.is_empty() {
        return true;
    }
    match offer(kept, LAST_PATIENCE) {
        Ok(()) => true,
        Err(NotTaken::Stopped(_)) => false,
        Err(NotTaken::Full(batch)) => {
            pulse.shed_local.fetch_add(lossless(batch.len()), Ordering::Relaxed);
            true
        }
    }
}

/// Whether an event is about a local host, or about nobody: time goes on for all.
fn concerns(event: &Event, local: &LocalNets) -> bool {
    match event.parties() {
        (None, None) => true,
        (one, other) => [one, other].into_iter().flatten().any(|addr| local.contains(addr)),
    }
}

fn lossless(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Tries to hand a batch over for at most `patience`; at the end of the run as long as it takes.
fn offer(input: &Input, mut batch: Vec<Event>, patience: Duration, pulse: &Pulse) -> Result<(), NotTaken> {
    let step = Duration::from_micros(500);
    let mut waited = Duration::ZERO;
    loop {
        match input.try_send(batch) {
            Err(NotTaken::Full(back)) if waited < patience || pulse.stopping.load(Ordering::Relaxed) => {
                batch = back;
                thread::park_timeout(step);
                waited += step;
            }
            other => return other,
        }
    }
}

const fn state_name(state: LinkState) -> &'static str {
    match state {
        LinkState::Up => "up",
        LinkState::Down => "down",
        LinkState::Away => "gone; it is taken up again when it is back",
        LinkState::Refused => {
            "back, but the kernel refuses to let us capture on it; trying again every second"
        }
    }
}

/// A capture that cannot be, with its exit code.
pub fn failure(error: slips_input::capture::CaptureError) -> Failure {
    use slips_input::capture::ErrorKind;
    let exit = match error.kind() {
        ErrorKind::Usage => Exit::Usage,
        ErrorKind::NoInput => Exit::NoInput,
        ErrorKind::Permission => Exit::Permission,
        ErrorKind::System => Exit::Software,
    };
    Failure { exit, error: error.into() }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::IpAddr;

    use slips_core::event::{Arp, ArpOp};
    use slips_core::flow::MacAddr;
    use slips_core::time::PacketTime;

    use super::*;

    fn between(one: [u8; 4], other: [u8; 4]) -> Event {
        Event::Arp(Arp {
            at: PacketTime(1),
            op: ArpOp::Request,
            frame_src: MacAddr([2; 6]),
            frame_dst: MacAddr([255; 6]),
            sender: IpAddr::from(one),
            sender_mac: MacAddr([2; 6]),
            target: IpAddr::from(other),
            target_mac: MacAddr([0; 6]),
            interface: 1,
        })
    }

    #[test]
    fn what_is_between_remote_hosts_is_shed_first_and_local_hosts_last() {
        let local = LocalNets::private();
        let batch = vec![
            between([192, 168, 1, 7], [203, 0, 113, 9]),
            between([198, 51, 100, 1], [203, 0, 113, 9]),
            between([203, 0, 113, 9], [10, 0, 0, 1]),
            Event::Tick(PacketTime(5)),
        ];
        let pulse = Pulse::default();
        let told = || (pulse.shed_remote.load(Ordering::Relaxed), pulse.shed_local.load(Ordering::Relaxed));
        let taken = RefCell::new(Vec::new());
        let roomy = |batch: Vec<Event>, _: Duration| {
            taken.borrow_mut().push(batch.len());
            Ok(())
        };
        assert!(hand_over(&roomy, batch.clone(), &local, &pulse));
        assert_eq!((taken.take(), told()), (vec![4], (0, 0)));
        let tight = |batch: Vec<Event>, patience: Duration| {
            if patience == PATIENCE { Err(NotTaken::Full(batch)) } else { roomy(batch, patience) }
        };
        assert!(hand_over(&tight, batch.clone(), &local, &pulse));
        assert_eq!((taken.take(), told()), (vec![3], (1, 0)));
        let full = |batch: Vec<Event>, _: Duration| Err(NotTaken::Full(batch));
        assert!(hand_over(&full, batch.clone(), &local, &pulse));
        assert_eq!(told(), (2, 3));
        assert!(!hand_over(&|batch, _| Err(NotTaken::Stopped(batch)), batch, &local, &pulse));
    }
}
