//! Packets on a real interface become events.

mod lab;

use std::os::fd::AsRawFd;
use std::time::Duration;

use lab::{Lab, PORT, now, raw_sender, sender, small};
use nix::sys::socket::{MsgFlags, send};
use slips_core::event::Event;
use slips_core::flow::{Flow, Phase};
use slips_input::capture::{Live, LiveSource};

fn flows(events: &[Event]) -> Vec<&Flow> {
    let ours = events.iter().filter_map(|event| match event {
        Event::Flow(flow) if flow.dst.port == PORT => Some(flow),
        _ => None,
    });
    ours.collect()
}

/// Reads on until `enough`; fails the test when that has not come within twenty seconds.
#[expect(clippy::expect_used, reason = "what cannot be read fails the test")]
fn until(source: &mut LiveSource, events: &mut Vec<Event>, enough: impl Fn(&[Event]) -> bool) {
    let end = now() + Duration::from_secs(20);
    while !enough(events) {
        assert!(now() < end, "still waiting: {events:?}");
        assert_ne!(source.next_batch(events).expect("a source"), Live::Stopped);
    }
}

#[test]
fn a_datagram_is_a_flow_at_once_and_ends_when_the_source_is_stopped() {
    let Some(_lab) = Lab::new("a_datagram_is_a_flow_at_once_and_ends_when_the_source_is_stopped") else {
        return;
    };
    let mut source =
        LiveSource::open(small(&["lan1"]), slips_sensor::Settings::default()).expect("an interface");
    let mut events = Vec::new();
    sender().send(b"hello").expect("sent");
    until(&mut source, &mut events, |seen| !flows(seen).is_empty());
    let first = flows(&events).first().map(|flow| (flow.src.addr.to_string(), flow.interface, flow.phase));
    assert_eq!(first, Some(("10.7.0.1".to_owned(), 1, Phase::Start)));

    source.stopper().stop();
    events.clear();
    assert_eq!(source.next_batch(&mut events).expect("a source"), Live::Stopped);
    while source.finish(&mut events) {}
    let ends: Vec<_> = flows(&events).iter().map(|flow| (flow.phase, flow.orig.bytes)).collect();
    assert_eq!(ends, [(Phase::End, 5)]);
}

#[test]
fn silence_ticks_with_growing_time() {
    let Some(_lab) = Lab::new("silence_ticks_with_growing_time") else { return };
    assert!(lab::ip("link set lan0 down"));
    let mut source =
        LiveSource::open(small(&["lan1"]), slips_sensor::Settings::default()).expect("an interface");
    let mut events = Vec::new();
    let ticks = |seen: &[Event]| -> Vec<i64> {
        seen.iter().filter_map(|it| if let Event::Tick(at) = it { Some(at.0) } else { None }).collect()
    };
    until(&mut source, &mut events, |seen| ticks(seen).len() >= 2);
    assert!(ticks(&events).is_sorted_by(|a, b| b - a >= 1_000_000));
}

#[test]
fn the_vlan_of_a_flow_is_known_though_the_tag_was_taken_off() {
    let Some(_lab) = Lab::new("the_vlan_of_a_flow_is_known_though_the_tag_was_taken_off") else { return };
    let mut source =
        LiveSource::open(small(&["lan1"]), slips_sensor::Settings::default()).expect("an interface");
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x60, 7, 8, 0];
    let mut ip =
        [0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0, 0, 10, 7, 0, 1, 10, 7, 0, 2, 4, 0, 0, 0, 0, 10, 0, 0, 1, 2];
    ip[10..12].copy_from_slice(&0x66c3u16.to_be_bytes());
    ip[22..24].copy_from_slice(&PORT.to_be_bytes());
    let frame = [&ethernet[..], &ip].concat();
    send(raw_sender().as_raw_fd(), &frame, MsgFlags::empty()).expect("sent");
    let mut events = Vec::new();
    until(&mut source, &mut events, |seen| !flows(seen).is_empty());
    assert_eq!(flows(&events).first().and_then(|flow| flow.vlan), Some(7));
}
