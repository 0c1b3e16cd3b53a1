//! The way of advice to the responder. Nobody waits at it, and what is taken back is never lost: of what waits, a later word about the same
//! takes the place of the earlier one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slips_core::addr::Net;

use super::Advice;
use super::advice::{FLEET, NO_PEER};
use crate::daemon::bell::Rope;

/// Asks for blocks that may wait for the responder; at more they are to be said again.
const ADVICE_QUEUE: usize = 1024;

/// The end of the line at which advice is given.
pub struct AdviceLine {
    waiting: Arc<Mutex<Waiting>>,
    // The last, so that it is dropped after what waits: see `Rope`.
    rope: Rope,
}

/// The responder's end.
pub struct AdviceEnd(Arc<Mutex<Waiting>>);

impl AdviceLine {
    /// A line, and its end at the responder, for a book that holds so many blocks of peers: no more can be taken back.
    pub fn new(rope: Rope, held_at_most: usize) -> (Self, AdviceEnd) {
        let waiting = Waiting { room: held_at_most.saturating_add(ADVICE_QUEUE), ..Waiting::default() };
        let waiting = Arc::new(Mutex::new(waiting));
        (Self { waiting: Arc::clone(&waiting), rope }, AdviceEnd(waiting))
    }

    /// Another one to the same end.
    pub fn another(&self, rope: Rope) -> Self {
        Self { waiting: Arc::clone(&self.waiting), rope }
    }

    /// Hands advice over without waiting. False when too many blocks are asked for already, and this one should be said again; what is
    /// taken back is always heard.
    pub fn give(&self, advice: Advice) -> bool {
        let given = lock(&self.waiting).take_in(advice);
        self.rope.ring();
        given
    }
}

impl AdviceEnd {
    /// What has waited longest.
    pub(super) fn next(&self) -> Option<Advice> {
        lock(&self.0).next()
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was said and not heard yet.
#[derive(Default)]
struct Waiting {
    /// In the order in which it was said.
    said: BTreeMap<u64, Advice>,
    /// Where it stands there, by its source and the network that it is about.
    places: BTreeMap<(String, Option<Net>), u64>,
    /// All who are still heard, and where that stands in the order.
    keep: Option<(u64, BTreeSet<String>, &'static str)>,
    next: u64,
    blocks: usize,
    /// How much may be taken back.
    room: usize,
}

impl Waiting {
    fn take_in(&mut self, advice: Advice) -> bool {
        match &advice {
            Advice::Keep { sources, why } => self.keep(sources, why),
            Advice::Forget { source } => self.forget(source),
            Advice::Block { .. } if self.blocks >= ADVICE_QUEUE && !self.is_said_again(&advice) => {
                return false;
            }
            Advice::Block { .. } | Advice::Retract { .. } => self.put(advice),
        }
        self.bound();
        true
    }

    fn is_said_again(&self, advice: &Advice) -> bool {
        let before = place(advice).and_then(|place| self.places.get(&place));
        before.is_some_and(|before| matches!(self.said.get(before), Some(Advice::Block { .. })))
    }

    fn put(&mut self, advice: Advice) {
        let Some(place) = place(&advice) else { return };
        self.take_out(&place);
        self.blocks += usize::from(matches!(advice, Advice::Block { .. }));
        self.places.insert(place, self.next);
        self.said.insert(self.next, advice);
        self.next += 1;
    }

    fn take_out(&mut self, place: &(String, Option<Net>)) {
        let said = self.places.remove(place).and_then(|at| self.said.remove(&at));
        self.blocks -= usize::from(matches!(said, Some(Advice::Block { .. })));
    }

    fn forget(&mut self, source: &str) {
        let words = self.places.range((source.to_owned(), None)..);
        let words: Vec<_> =
            words.take_while(|((of, _), _)| of == source).map(|(place, _)| place.clone()).collect();
        words.iter().for_each(|place| self.take_out(place));
        self.put(Advice::Forget { source: source.to_owned() });
    }

    /// What was said by others before is void. Two such words are as one, at the place of the first, that keeps whom both keep.
    fn keep(&mut self, sources: &BTreeSet<String>, why: &'static str) {
        let others =
            self.places.keys().filter(|(source, _)| !sources.contains(source) && !source.starts_with(FLEET));
        let others: Vec<_> = others.cloned().collect();
        others.iter().for_each(|place| self.take_out(place));
        let at = self.next;
        self.next += 1;
        self.keep = Some(match self.keep.take() {
            Some((at, before, _)) => (at, before.intersection(sources).cloned().collect(), why),
            None => (at, sources.clone(), why),
        });
    }

    /// More than all that stands cannot be taken back: whoever says most has said what is not so, and is not heard any more.
    fn bound(&mut self) {
        if self.said.len() - self.blocks <= self.room {
            return;
        }
        let mut words: BTreeMap<&str, usize> = BTreeMap::new();
        self.places.keys().for_each(|(source, _)| *words.entry(source).or_default() += 1);
        let most = words.into_iter().max_by_key(|(_, words)| *words).filter(|(_, words)| *words > 1);
        match most.map(|(source, _)| source.to_owned()) {
            Some(source) => self.forget(&source),
            // More sources than there are blocks.
            None => self.keep(&BTreeSet::new(), NO_PEER),
        }
    }

    fn next(&mut self) -> Option<Advice> {
        let first = self.said.keys().next().copied();
        if let Some((_, sources, why)) = self.keep.take_if(|(at, ..)| first.is_none_or(|first| *at < first)) {
            return Some(Advice::Keep { sources, why });
        }
        let (_, advice) = self.said.pop_first()?;
        self.blocks -= usize::from(matches!(advice, Advice::Block { .. }));
        place(&advice).and_then(|place| self.places.remove(&place));
        Some(advice)
    }
}

/// Of two words with the same place only the later one counts.
fn place(advice: &Advice) -> Option<(String, Option<Net>)> {
    match advice {
        Advice::Block { net, source, .. } | Advice::Retract { net, source, .. } => {
            Some((source.clone(), Some(*net)))
        }
        Advice::Forget { source } => Some((source.clone(), None)),
        Advice::Keep { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::bell::Bell;

    fn line(room: usize) -> (AdviceLine, AdviceEnd) {
        AdviceLine::new(Bell::new().expect("bell").rope(), room)
    }

    fn net(n: u32) -> Net {
        Net::host(std::net::Ipv4Addr::from_bits(0xcb00_7100 + n).into())
    }

    fn block(source: &str, n: u32) -> Advice {
        Advice::Block {
            net: net(n),
            for_: Duration::from_secs(60),
            source: source.into(),
            why: String::new(),
        }
    }

    fn retract(source: &str, n: u32) -> Advice {
        Advice::Retract { net: net(n), source: source.into(), why: "over" }
    }

    fn keep(sources: &[&str]) -> Advice {
        Advice::Keep { sources: sources.iter().map(|source| (*source).to_owned()).collect(), why: NO_PEER }
    }

    /// What somebody who hears each word at once makes of them.
    fn obey(held: &mut BTreeSet<(String, Net)>, advice: Advice) {
        match advice {
            Advice::Block { net, source, .. } => drop(held.insert((source, net))),
            Advice::Retract { net, source, .. } => drop(held.remove(&(source, net))),
            Advice::Forget { source } => held.retain(|(of, _)| *of != source),
            Advice::Keep { sources, .. } => held.retain(|(of, _)| sources.contains(of)),
        }
    }

    #[test]
    fn what_is_heard_late_ends_as_what_is_heard_at_once() {
        // A small linear generator: the same cases in every run.
        let mut state = 1u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        let sources = ["anna", "bert", "carl"];
        for _ in 0..300 {
            let (line, end) = line(100);
            let (mut at_once, mut late) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..100 {
                let source = sources[below(3) as usize];
                let advice = match below(20) {
                    0..10 => block(source, below(5) as u32),
                    10..17 => retract(source, below(5) as u32),
                    17 => Advice::Forget { source: source.into() },
                    18 => keep(&sources[below(3) as usize..]),
                    _ => {
                        if let Some(advice) = end.next() {
                            obey(&mut late, advice);
                        }
                        continue;
                    }
                };
                assert!(line.give(advice.clone()));
                obey(&mut at_once, advice);
            }
            while let Some(advice) = end.next() {
                obey(&mut late, advice);
            }
            assert_eq!(at_once, late);
            let waiting = lock(&end.0);
            assert!(waiting.places.is_empty() && waiting.keep.is_none() && waiting.blocks == 0);
        }
    }

    #[test]
    fn blocks_are_to_be_said_again_and_what_is_taken_back_is_not() {
        let (line, end) = line(5000);
        let given = (0..2000).filter(|n| line.give(block("anna", *n))).count();
        assert_eq!(given, ADVICE_QUEUE);
        assert!(line.give(block("anna", 7)), "who is renewed takes no room");
        assert!((0..5000).all(|n| line.give(retract("bert", n))));
        assert!((0..5000).all(|_| line.give(Advice::Forget { source: "carl".into() })));
        assert_eq!(lock(&end.0).said.len(), ADVICE_QUEUE + 5000 + 1);
        assert!(line.give(retract("anna", 0)));
        assert!(line.give(block("anna", 1999)), "what is taken back leaves room");
        assert!(!line.give(block("anna", 1998)));
    }

    #[test]
    fn who_takes_back_more_than_stands_is_forgotten_and_others_are_heard() {
        let (line, end) = line(100);
        assert!(line.give(retract("anna", 1)));
        assert!((0..20_000).all(|n| line.give(retract("bert", n))));
        assert!(lock(&end.0).said.len() <= 100 + ADVICE_QUEUE);
        let heard: Vec<Advice> = std::iter::from_fn(|| end.next()).collect();
        assert_eq!(heard.first(), Some(&retract("anna", 1)));
        assert_eq!(heard.get(1), Some(&Advice::Forget { source: "bert".into() }));
        // So many sources there are not: nobody's blocks are worth keeping.
        for n in 0..3000 {
            assert!(line.give(Advice::Forget { source: n.to_string() }));
        }
        assert_eq!(end.next(), Some(keep(&[])));
        assert!(lock(&end.0).said.len() <= 100 + ADVICE_QUEUE);
    }
}
