//! Holds events back until it is known whose frames they tell of.
//!
//! What a router forwards lies in two rings, and the kernel hands over the block of each when that one's timer says so. When the copy
//! on its way out is read first, its flow seems to come from the router's own hardware address, and nothing that it does is proven: the
//! frame that came in is read some milliseconds later. Events wait for it, in their order.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use slips_core::addr::LocalNets;
use slips_core::event::Event;
use slips_core::moving::OwnMacs;
use slips_core::time::{PacketTime, Span};
use slips_sensor::Corrected;

/// Events wait so long at most: a block that is not full is handed over earlier, on a kernel of 250 Hz or more.
const PATIENCE: Span = Span::from_millis(10);
/// Most events that wait.
const MOST: usize = 16_384;
/// Whose frames never came is not waited for again for so long: this router itself, or a host behind an interface that is not watched.
const IN_VAIN: Span = Span::from_secs(60);
/// Most addresses of which that is remembered, and how often the old ones make room where it is full.
const MOST_IN_VAIN: usize = 1024;
const SWEEP: Span = Span::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Senders {
    own: OwnMacs,
    local: Option<LocalNets>,
    held: VecDeque<(PacketTime, Event)>,
    in_vain: BTreeMap<IpAddr, PacketTime>,
    /// When the old ones were last looked for.
    swept: Option<PacketTime>,
}

impl Senders {
    /// Hosts in `local` are waited for when their frames seem to come from one of the router's `own` hardware addresses.
    pub fn new(own: OwnMacs, local: LocalNets) -> Self {
        Self { own, local: Some(local), ..Self::default() }
    }

    /// Takes the events that were told now, and what of events was corrected; hands on those that need not wait (any longer).
    pub fn pass(
        &mut self,
        told: &mut Vec<Event>,
        corrected: impl Iterator<Item = Corrected>,
        now: PacketTime,
        out: &mut Vec<Event>,
    ) {
        if self.held.is_empty() && !told.iter().any(|event| self.awaited(event, now).is_some()) {
            corrected.for_each(|Corrected { addr, .. }| self.forgive(addr));
            out.append(told);
            return;
        }
        self.held.extend(told.drain(..).map(|event| (now, event)));
        let mut corrections = BTreeMap::new();
        for Corrected { uid, addr, mac } in corrected {
            self.forgive(addr);
            corrections.insert((uid, addr), mac);
        }
        for (_, event) in &mut self.held {
            let Some((uid, addr, _)) = event.sender() else { continue };
            if let Some(mac) = corrections.get(&(uid, addr)) {
                event.came_from(addr, *mac);
            }
        }
        while let Some((since, event)) = self.held.front() {
            let awaited = self.awaited(event, now);
            let patient = now >= *since && now.since(*since) < PATIENCE && self.held.len() <= MOST;
            if awaited.is_some() && patient {
                break;
            }
            if let Some(addr) = awaited {
                self.give_up(addr, now);
            }
            out.extend(self.held.pop_front().map(|(_, event)| event));
        }
    }

    /// Hands on all that waits.
    pub fn release(&mut self, out: &mut Vec<Event>) {
        out.extend(self.held.drain(..).map(|(_, event)| event));
    }

    /// In how long something has waited enough.
    pub fn due(&self, now: PacketTime) -> Option<Duration> {
        let (since, _) = self.held.front()?;
        let left = PATIENCE.0.saturating_sub(now.since(*since).0).clamp(0, PATIENCE.0);
        Some(Duration::from_micros(left.unsigned_abs()))
    }

    /// Whose frame is still to come.
    fn awaited(&self, event: &Event, now: PacketTime) -> Option<IpAddr> {
        let (_, addr, mac) = event.sender()?;
        let forwarded =
            self.own.contains(mac) && self.local.as_ref().is_some_and(|local| local.contains(addr));
        let in_vain = || self.in_vain.get(&addr).is_some_and(|since| now.since(*since) < IN_VAIN);
        (forwarded && !in_vain()).then_some(addr)
    }

    fn give_up(&mut self, addr: IpAddr, now: PacketTime) {
        let rested = self.swept.is_none_or(|swept| !(0..SWEEP.0).contains(&now.since(swept).0));
        if self.in_vain.len() >= MOST_IN_VAIN && rested {
            self.swept = Some(now);
            self.in_vain.retain(|_, since| now.since(*since) < IN_VAIN);
        }
        if self.in_vain.len() < MOST_IN_VAIN {
            self.in_vain.insert(addr, now);
        }
    }

    /// Whose frames come, late as they may be, is waited for.
    fn forgive(&mut self, addr: IpAddr) {
        if !self.in_vain.is_empty() {
            self.in_vain.remove(&addr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slips_core::flow::{Flow, MacAddr, Proto, Uid};

    const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
    const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn flow(src: &str, uid: &str, mac: MacAddr) -> Event {
        let end =
            |text: &str| slips_core::flow::Endpoint { addr: text.parse().expect("an address"), port: 1 };
        let mut flow = Flow::new(PacketTime(0), Proto::Tcp, end(src), end("203.0.113.9"));
        (flow.uid, flow.src_mac) = (Uid::new(uid), Some(mac));
        Event::Flow(flow)
    }

    fn corrected(src: &str, uid: &str) -> Corrected {
        let (uid, addr) = (Uid::new(uid), src.parse().expect("an address"));
        Corrected { uid, addr, mac: HOST }
    }

    /// What each event on its way tells of whose frames.
    fn pass(senders: &mut Senders, told: &[Event], corrected: &[Corrected], millis: i64) -> Vec<String> {
        let mut out = Vec::new();
        let now = PacketTime(millis * 1000);
        senders.pass(&mut told.to_vec(), corrected.iter().copied(), now, &mut out);
        let line = |event: &Event| {
            let (uid, _, mac) = event.sender().expect("a flow");
            format!("{uid} {}", mac.0[5])
        };
        out.iter().map(line).collect()
    }

    fn senders() -> Senders {
        Senders::new(vec![ROUTER].into(), LocalNets::private())
    }

    #[test]
    fn events_wait_in_their_order_for_the_frames_of_their_senders() {
        let mut senders = senders();
        let told = [
            flow("192.168.1.5", "a", HOST),
            flow("192.168.1.6", "b", ROUTER),
            flow("198.51.100.1", "c", ROUTER),
            flow("192.168.1.7", "d", ROUTER),
        ];
        assert_eq!(pass(&mut senders, &told, &[], 0), ["a 1"]);
        assert_eq!(senders.due(PacketTime(4000)), Some(Duration::from_millis(6)));
        let more = [flow("192.168.1.6", "b", ROUTER)];
        assert_eq!(pass(&mut senders, &more, &[corrected("192.168.1.6", "b")], 4), ["b 1", "c 7"]);
        // Read in one turn: nothing waits.
        let both = [flow("192.168.1.8", "e", ROUTER)];
        let comes = [corrected("192.168.1.8", "e"), corrected("192.168.1.7", "d")];
        assert_eq!(pass(&mut senders, &both, &comes, 5), ["d 1", "b 1", "e 1"]);
        assert_eq!(senders.due(PacketTime(5000)), None);
    }

    #[test]
    fn whose_frames_do_not_come_is_waited_for_once_until_they_do() {
        let mut senders = senders();
        let told = [flow("192.168.1.1", "a", ROUTER)];
        assert!(pass(&mut senders, &told, &[], 0).is_empty());
        assert!(pass(&mut senders, &[], &[], 9).is_empty());
        assert_eq!(pass(&mut senders, &[], &[], 10), ["a 7"]);
        assert_eq!(pass(&mut senders, &told, &[], 11), ["a 7"]);
        assert_eq!(
            pass(&mut senders, &told, &[corrected("192.168.1.1", "b")], 12),
            ["a 7"],
            "too late for it"
        );
        assert!(pass(&mut senders, &told, &[], 13).is_empty());
        // A clock that is set back holds nothing up.
        assert_eq!(pass(&mut senders, &[], &[], -5), ["a 7"]);
        assert!(pass(&mut senders, &told, &[], 70_000).is_empty());
        let mut out = Vec::new();
        senders.release(&mut out);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn those_in_vain_are_few_and_the_old_ones_make_room() {
        let mut senders = senders();
        let told = |n: u32| flow(&std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string(), "a", ROUTER);
        let mut gives_up = |n: u32, millis: i64| {
            pass(&mut senders, &[told(n)], &[], millis);
            pass(&mut senders, &[], &[], millis + 10);
            pass(&mut senders, &[told(n)], &[], millis + 11).len()
        };
        for n in 0..MOST_IN_VAIN as u32 {
            assert_eq!(gives_up(n, 0), 1);
        }
        assert_eq!(gives_up(5000, 20), 0, "no room: it is waited for again");
        assert_eq!(gives_up(5001, 70_000), 1, "the others are forgotten");
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let mut senders = senders();
        let told: Vec<Event> = (0..MOST + 5).map(|n| flow("192.168.1.6", &format!("{n}"), ROUTER)).collect();
        assert_eq!(
            pass(&mut senders, &told, &[], 0).len(),
            MOST + 5,
            "and after the first it is known to be in vain"
        );
        assert!(pass(&mut Senders::default(), &told[..1], &[], 0).len() == 1, "nobody's frames are awaited");
    }
}
