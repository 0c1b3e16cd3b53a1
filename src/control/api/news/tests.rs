use std::net::IpAddr;

use slips_core::flow::{Endpoint, Proto};
use slips_core::time::WindowId;

use super::ring::{EVENTS, Event};
use super::*;

fn closed(n: i64) -> Record {
    Record::WindowClosed { window: WindowId(n), at: PacketTime(n) }
}

fn flows(count: usize) -> Record {
    let end = |last| Endpoint { addr: IpAddr::from([192, 0, 2, last]), port: 1 };
    let flow = Flow { phase: Phase::End, ..Flow::new(PacketTime(1), Proto::Tcp, end(1), end(2)) };
    Record::Events(Arc::new(vec![Seen::Flow(flow); count]))
}

/// All that arrived becomes events.
fn drain(desk: &mut Desk) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        while let Ok(told) = desk.seldom.0.try_recv().or_else(|_| desk.often.0.try_recv()) {
            desk.take(told).await;
        }
    });
}

fn numbers(taken: &[Event]) -> Vec<i64> {
    let windows = taken.iter().filter(|event| event.topic == Topic::Window);
    windows.map(|event| serde_json::from_slice::<Closed>(&event.data).expect("closed").window).collect()
}

fn missed(missed: u64) -> Option<Gap> {
    Some(Gap { missed: Some(missed) })
}

#[test]
fn nothing_is_made_while_nobody_follows_and_then_what_is_followed() {
    let (reporter, mut desk) = line();
    reporter.records(&[closed(1)]);
    assert!(desk.seldom.0.try_recv().is_err());
    let mut follower = desk.ring().follow(&[Topic::Window], None);
    reporter.records(&[closed(2), Record::Stats(Box::default()), flows(3)]);
    reporter.unblocked("192.0.2.1", "over");
    drain(&mut desk);
    let (gap, taken) = follower.take(usize::MAX);
    assert_eq!((gap, numbers(&taken), taken.len()), (None, vec![2], 1));
    assert_eq!(follower.take(usize::MAX).1.len(), 0);
}

#[test]
fn a_slow_client_is_told_how_much_it_missed() {
    let (reporter, mut desk) = line();
    let mut follower = desk.ring().follow(&[Topic::Window], None);
    let many = EVENTS as i64 + 100;
    for n in 0..many {
        reporter.records(&[closed(n)]);
        drain(&mut desk);
    }
    let (gap, taken) = follower.take(1);
    assert_eq!((gap, numbers(&taken)), (missed(100), vec![100]));
    assert_eq!(follower.take(usize::MAX).1.len(), EVENTS - 1);
    // All that he has not had made room, and a part of what he had.
    for n in 0..many {
        reporter.records(&[closed(n)]);
        drain(&mut desk);
    }
    let (gap, taken) = follower.take(usize::MAX);
    assert_eq!((gap, taken.len()), (missed(100), EVENTS));
}

#[test]
fn a_gap_is_where_events_are_missing() {
    let (reporter, mut desk) = line();
    let mut follower = desk.ring().follow(&[Topic::Window, Topic::Unblock], None);
    let full = QUEUE as i64;
    // What was lost last, with nothing behind it, is told, too.
    for n in 0..full + 7 {
        reporter.records(&[closed(n)]);
    }
    drain(&mut desk);
    let (gap, taken) = follower.take(usize::MAX);
    assert_eq!((gap, numbers(&taken)), (None, (0..full).collect()));
    assert_eq!((follower.take(usize::MAX).0, follower.take(usize::MAX).0), (missed(7), None));
    // And what was lost in between is told in between, whatever is of which topic.
    for n in 0..full + 3 {
        reporter.records(&[closed(n)]);
    }
    let told = desk.seldom.0.try_recv().expect("news");
    reporter.unblocked("192.0.2.1", "over");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(desk.take(told));
    drain(&mut desk);
    let (gap, taken) = follower.take(usize::MAX);
    assert_eq!((gap, numbers(&taken)), (None, (0..full).collect()));
    let (gap, taken) = follower.take(usize::MAX);
    assert_eq!(
        (gap, taken.len(), taken.first().map(|event| event.topic)),
        (missed(3), 1, Some(Topic::Unblock))
    );
}

#[test]
fn who_follows_flows_costs_nobody_anything_else() {
    let (reporter, mut desk) = line();
    let ring = desk.ring();
    let mut all = ring.follow(&[Topic::Window, Topic::Flow], None);
    let mut few = ring.follow(&[Topic::Window], None);
    // More flows than have room on the way, and more than lie in the ring.
    reporter.records(&[closed(0)]);
    for n in 1..=QUEUE as i64 {
        reporter.records(&[flows(EVENTS / 4), closed(n % 2)]);
        reporter.records(&[flows(1)]);
        if n % 12 == 0 {
            drain(&mut desk);
        }
    }
    drain(&mut desk);
    let (gap, taken) = few.take(usize::MAX);
    assert_eq!((gap, taken.len()), (None, QUEUE + 1), "nobody loses windows for flows");
    let (mut told, mut windows, mut flows) = (0, 0, 0);
    loop {
        let (gap, taken) = all.take(10_000);
        if gap.is_none() && taken.is_empty() {
            break;
        }
        // The windows that are there still come before what is missing of flows.
        assert!(gap.is_none() || windows > 0);
        told += gap.map_or(0, |gap| gap.missed.expect("counted"));
        windows += numbers(&taken).len();
        flows += taken.len() - numbers(&taken).len();
    }
    assert_eq!((windows, told + flows as u64), (QUEUE + 1, (QUEUE * (EVENTS / 4 + 1)) as u64));
}

#[test]
fn who_comes_back_goes_on_where_he_was_and_is_told_where_nobody_knows() {
    let (reporter, mut desk) = line();
    let ring = desk.ring();
    let mut follower = ring.follow(&[Topic::Window], None);
    for n in 0..4 {
        reporter.records(&[closed(n)]);
    }
    drain(&mut desk);
    let (_, taken) = follower.take(1);
    let last = taken.last().expect("one").id.clone();
    drop(follower);
    reporter.records(&[closed(4)]);
    drain(&mut desk);
    let mut again = ring.follow(&[Topic::Window], Some(&last));
    let (gap, taken) = again.take(usize::MAX);
    assert_eq!((gap, numbers(&taken)), (None, vec![1, 2, 3, 4]));
    for last in ["another-3", "nonsense", &format!("{}-999", ring.run)] {
        let (gap, taken) = ring.follow(&[Topic::Window], Some(last)).take(usize::MAX);
        assert_eq!((gap, taken.len()), (Some(Gap { missed: None }), 0), "{last}");
    }
    // Another topic was not in the ring then.
    let (gap, _) = ring.follow(&[Topic::Alert], Some(&last)).take(usize::MAX);
    assert_eq!(gap, Some(Gap { missed: None }));
    // What he names made room.
    for n in 0..=EVENTS as i64 {
        reporter.records(&[closed(n)]);
        drain(&mut desk);
    }
    let (gap, taken) = ring.follow(&[Topic::Window], Some(&last)).take(usize::MAX);
    assert_eq!((gap, taken.len()), (Some(Gap { missed: None }), EVENTS));
}

#[test]
fn who_comes_back_after_nobody_followed_for_long_is_told_that_something_may_be_missing() {
    let (reporter, mut desk) = line();
    let ring = desk.ring();
    let mut follower = ring.follow(&[Topic::Window], None);
    reporter.records(&[closed(0)]);
    drain(&mut desk);
    let (_, taken) = follower.take(1);
    let last = taken.last().expect("one").id.clone();
    drop(follower);
    // The last event of all: nothing came behind it while he was away for a short time,
    ring.tend();
    let (gap, _) = ring.follow(&[Topic::Window], Some(&last)).take(usize::MAX);
    assert_eq!(gap, None);
    // and after a long one nobody knows.
    ring.forget(std::time::Duration::ZERO);
    reporter.records(&[closed(1)]);
    drain(&mut desk);
    let (gap, taken) = ring.follow(&[Topic::Window], Some(&last)).take(usize::MAX);
    assert_eq!((gap, taken.len()), (Some(Gap { missed: None }), 0));
}
