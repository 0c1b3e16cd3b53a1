//! Bounded tallies: distinct members, members lately seen, pace, flows already counted, flows to name.

use std::collections::HashSet;
use std::net::IpAddr;

use slips_core::event::About;
use slips_core::evidence::MAX_UIDS;
use slips_core::flow::{Endpoint, Flow, Phase, Proto, Uid};
use slips_core::hash::KeyedState;
use slips_core::time::{PacketTime, Span};

/// What can be told apart by [`Distinct`].
pub trait Member: Ord + Copy {
    /// A bucket below [`SKETCH_BITS`]; fixed, because the same input must give the same result in every run.
    fn bucket(self) -> u32;
}

impl Member for u16 {
    fn bucket(self) -> u32 {
        u32::from(self) % SKETCH_BITS
    }
}

impl Member for u64 {
    fn bucket(self) -> u32 {
        // Fibonacci hashing, as for addresses below.
        (self.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as u32 % SKETCH_BITS
    }
}

impl Member for IpAddr {
    fn bucket(self) -> u32 {
        let folded = match self {
            Self::V4(v4) => u64::from(v4.to_bits()),
            Self::V6(v6) => (v6.to_bits() >> 64) as u64 ^ (v6.to_bits() as u64).rotate_left(31),
        };
        // Fibonacci hashing: consecutive addresses spread evenly.
        (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as u32 % SKETCH_BITS
    }
}

/// Up to so many members are told apart exactly. Above every step that decides something.
pub const EXACT: usize = 320;
/// Beyond, a member counts when it sets a bit of a sketch of this size: the count is then a lower bound.
const SKETCH_BITS: u32 = 4096;

/// How many distinct members were seen: exact up to [`EXACT`], beyond that at least so many. At most a few kilobytes.
#[derive(Debug)]
pub struct Distinct<T> {
    exact: Vec<T>,
    sketch: Option<Box<[u64; SKETCH_BITS as usize / 64]>>,
    count: u32,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self { exact: Vec::new(), sketch: None, count: 0 }
    }
}

impl<T: Member> Distinct<T> {
    /// Adds a member; true when it is new.
    pub fn insert(&mut self, member: T) -> bool {
        if self.sketch.is_none() {
            let Err(at) = self.exact.binary_search(&member) else { return false };
            if self.exact.len() < EXACT {
                if self.exact.is_empty() {
                    // Most tallies never hold more than one: no room for four.
                    self.exact.reserve_exact(1);
                }
                self.exact.insert(at, member);
                self.count += 1;
                return true;
            }
            let mut sketch = Box::new([0; SKETCH_BITS as usize / 64]);
            for known in self.exact.drain(..) {
                set(&mut sketch, known.bucket());
            }
            self.exact = Vec::new();
            self.sketch = Some(sketch);
        }
        let new = self.sketch.as_mut().is_some_and(|sketch| set(sketch, member.bucket()));
        self.count += u32::from(new);
        new
    }

    /// Whether a member was seen; beyond [`EXACT`], whether it or one like it was.
    pub fn contains(&self, member: T) -> bool {
        match &self.sketch {
            None => self.exact.binary_search(&member).is_ok(),
            Some(sketch) => {
                let bucket = member.bucket();
                sketch.get(bucket as usize / 64).is_some_and(|word| word & (1 << (bucket % 64)) != 0)
            }
        }
    }

    /// How many.
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether [`Self::len`] is a lower bound.
    pub const fn is_bound(&self) -> bool {
        self.sketch.is_some()
    }
}

/// Sets a bit; true when it was clear.
fn set(sketch: &mut [u64; SKETCH_BITS as usize / 64], bucket: u32) -> bool {
    let Some(word) = sketch.get_mut(bucket as usize / 64) else { return false };
    let bit = 1 << (bucket % 64);
    let clear = *word & bit == 0;
    *word |= bit;
    clear
}

/// Distinct members of the last `span` of packet time, at most `cap` of them: what is old is aged out, so that one early
/// member never hides a sweep.
#[derive(Debug)]
pub struct Lately<T> {
    /// In the order of time.
    seen: Vec<(PacketTime, T)>,
}

impl<T> Default for Lately<T> {
    fn default() -> Self {
        Self { seen: Vec::new() }
    }
}

impl<T: PartialEq + Copy> Lately<T> {
    /// Adds a member seen at `at` and returns how many distinct ones were seen in the `span` that ends with the latest of them.
    /// What comes too late for that span is left out. At `cap` the one seen longest ago makes room, so the answer never
    /// exceeds it.
    pub fn insert(&mut self, member: T, at: PacketTime, span: Span, cap: usize) -> u32 {
        let newest = self.seen.last().map_or(at, |(time, _)| at.max(*time));
        self.seen.retain(|(time, _)| newest.since(*time) <= span);
        let known = self.seen.iter().position(|(_, known)| *known == member);
        let newer = known.and_then(|place| self.seen.get(place)).is_none_or(|(time, _)| *time < at);
        if newest.since(at) > span || !newer {
            return self.len();
        }
        if let Some(place) = known {
            self.seen.remove(place);
        } else if self.seen.len() >= cap && !self.seen.is_empty() {
            self.seen.remove(0);
        }
        let place = self.seen.partition_point(|(time, _)| *time <= at);
        self.seen.insert(place, (at, member));
        self.len()
    }

    /// How many were seen in the span, as of the latest one.
    pub fn len(&self) -> u32 {
        self.seen.len() as u32
    }
}

/// How many in the running and the previous period: a sliding count over one to two periods in twelve bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    period: i32,
    running: u32,
    previous: u32,
}

impl Pace {
    /// Adds `n` at `at`, in periods of `width`. What is older than both periods is not counted.
    pub fn add(&mut self, at: PacketTime, n: u32, width: Span) {
        let period = at.0.div_euclid(width.0.max(1)).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        match i64::from(period) - i64::from(self.period) {
            0 => self.running = self.running.saturating_add(n),
            -1 => self.previous = self.previous.saturating_add(n),
            1 => (self.previous, self.running, self.period) = (self.running, n, period),
            2.. => (self.previous, self.running, self.period) = (0, n, period),
            _ => {}
        }
    }

    /// The sum of both periods.
    pub const fn sum(&self) -> u32 {
        self.running.saturating_add(self.previous)
    }
}

/// Flows that were counted before their end, so that their end is not counted again. Exact: when there is no room, a flow
/// is left to be counted at its end.
#[derive(Debug, Default)]
pub struct Once {
    open: HashSet<u64, KeyedState>,
}

/// Live flows remembered by one [`Once`].
const MAX_OPEN: usize = 4096;

impl Once {
    /// Whether to count this flow now.
    pub fn first(&mut self, flow: &Flow) -> bool {
        let key = key_of(flow);
        let ended = flow.phase == Phase::End;
        if ended { !self.open.remove(&key) } else { self.open.len() < MAX_OPEN && self.open.insert(key) }
    }
}

/// A flow's identity in 64 bits: its uid, or where the input gives none its two ends and its beginning.
pub fn key_of(flow: &Flow) -> u64 {
    key(&flow.uid, flow.proto, [flow.src, flow.dst], flow.start)
}

/// The same for the flow of a record. Where the input gives no uid it fits only a record of the flow's first moment.
pub fn key_of_record(about: &About) -> u64 {
    key(&about.uid, about.proto, [about.src, about.dst], about.at)
}

/// FNV-1a with a final mix; fixed for the sake of equal results in every run.
fn key(uid: &Uid, proto: Proto, ends: [Endpoint; 2], start: PacketTime) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut hash = uid.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    if uid.is_empty() {
        for end in ends {
            hash = match end.addr {
                IpAddr::V4(v4) => v4.octets().into_iter().fold(hash, mix),
                IpAddr::V6(v6) => v6.octets().into_iter().fold(hash, mix),
            };
            hash = end.port.to_be_bytes().into_iter().fold(hash, mix);
        }
        hash = proto.name().bytes().chain(start.0.to_be_bytes()).fold(hash, mix);
    }
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The flows behind a finding since it was last told, at most [`MAX_UIDS`]; the engine adds them to those it has.
#[derive(Debug, Default)]
pub struct Trail {
    uids: Vec<Uid>,
}

impl Trail {
    /// Adds a flow.
    pub fn push(&mut self, uid: Uid) {
        if uid.is_empty() || self.uids.len() >= MAX_UIDS {
            return;
        }
        if self.uids.is_empty() {
            // Most trails never hold more than one: no room for four.
            self.uids.reserve_exact(1);
        }
        self.uids.push(uid);
    }

    /// Takes the flows out, newest last.
    pub fn take(&mut self) -> Vec<Uid> {
        std::mem::take(&mut self.uids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, about};

    #[test]
    fn distinct_members_are_exact_and_then_a_lower_bound() {
        let mut ports = Distinct::default();
        for port in (1..=EXACT as u16).chain(1..=EXACT as u16) {
            ports.insert(port);
        }
        assert_eq!((ports.len(), ports.is_bound()), (EXACT as u32, false));
        for port in 1..=u16::MAX {
            ports.insert(port);
        }
        assert!(ports.is_bound() && ports.len() >= 3000 && ports.len() <= 65_535, "{}", ports.len());
        let mut hosts = Distinct::default();
        for n in 0..1000u32 {
            hosts.insert(IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        }
        assert!((850..=1000).contains(&hosts.len()), "{}", hosts.len());
    }

    #[test]
    fn a_thousand_consecutive_ports_are_counted_exactly() {
        let mut ports = Distinct::default();
        assert_eq!((1..=1000u16).filter(|port| ports.insert(*port)).count(), 1000);
    }

    #[test]
    fn what_is_old_is_aged_out() {
        let mut lately = Lately::default();
        let at = |secs| PacketTime::from_secs_micros(secs, 0);
        let span = Span::from_secs(30);
        assert_eq!(lately.insert(1, at(0), span, 4), 1);
        assert_eq!(lately.insert(2, at(31), span, 4), 1);
        assert_eq!(lately.insert(2, at(40), span, 4), 1);
        assert_eq!(lately.insert(3, at(39), span, 4), 2);
        for n in 4..9 {
            lately.insert(n, at(41), span, 4);
        }
        assert_eq!(lately.insert(9, at(41), span, 4), 4);
    }

    #[test]
    fn what_comes_late_keeps_its_own_time() {
        let mut lately = Lately::default();
        let at = |secs| PacketTime::from_secs_micros(secs, 0);
        let span = Span::from_secs(30);
        lately.insert(1, at(100), span, 4);
        assert_eq!(lately.insert(2, at(60), span, 4), 1, "too late");
        assert_eq!(lately.insert(2, at(75), span, 4), 2);
        assert_eq!(lately.insert(1, at(80), span, 4), 2, "known and newer");
        assert_eq!(lately.insert(3, at(106), span, 4), 2, "the second is older than the span now");
    }

    #[test]
    fn pace_forgets_after_two_periods() {
        let at = |secs| PacketTime::from_secs_micros(secs, 0);
        let mut pace = Pace::default();
        for (secs, n, sum) in [
            (3000, 5, 5),
            (3299, 5, 10),
            (3300, 1, 11),
            (3299, 1, 12),
            (10, 100, 12),
            (3600, 1, 2),
            (9000, 1, 1),
        ] {
            pace.add(at(secs), n, Span::from_secs(300));
            assert_eq!(pace.sum(), sum, "at {secs}");
        }
    }

    #[test]
    fn a_flow_counts_once_whatever_its_life() {
        let mut once = Once::default();
        let mut first = |uid: &str, phase| {
            once.first(&Talk::tcp("192.168.1.5", "203.0.113.9", 443).uid(uid).phase(phase).flow())
        };
        assert!(first("C1", Phase::Start));
        assert!(!first("C1", Phase::Update));
        assert!(!first("C1", Phase::End));
        assert!(first("C2", Phase::End));
        for n in 0..MAX_OPEN {
            first(&format!("D{n}"), Phase::Start);
        }
        assert!(!first("E", Phase::Start), "no room: left to its end");
        assert!(first("E", Phase::End));
    }

    #[test]
    fn without_a_uid_a_flow_is_known_by_its_ends_and_its_beginning() {
        let flow = |uid: &str, port, second| {
            key_of(&Talk::tcp("192.168.1.5", "203.0.113.9", port).uid(uid).at(second).flow())
        };
        assert_eq!(flow("", 22, 1), flow("", 22, 1));
        assert_ne!(flow("", 22, 1), flow("", 22, 2));
        assert_ne!(flow("", 22, 1), flow("", 23, 1));
        assert_eq!(flow("C1", 22, 1), flow("C1", 23, 2));
        let mut about = about("192.168.1.5", "203.0.113.9", 22, 1);
        about.uid = Uid::EMPTY;
        assert_eq!(key_of_record(&about), flow("", 22, 1));
    }

    #[test]
    fn the_trail_is_bounded_and_taken_once() {
        let mut trail = Trail::default();
        for n in 0..100 {
            trail.push(Uid::new(&format!("C{n}")));
        }
        trail.push(Uid::EMPTY);
        assert_eq!(trail.take().len(), MAX_UIDS);
        assert!(trail.take().is_empty());
    }
}
