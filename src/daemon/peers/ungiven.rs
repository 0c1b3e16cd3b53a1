//! Blocks that the responder had no room for yet: the latest word of each source about each network, in their order, until it has. What is
//! taken back is not kept here: the responder always hears that, and what waits of it is void.

use std::collections::{BTreeMap, BTreeSet};

use slips_core::addr::Net;

use super::Advice;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ungiven {
    said: BTreeMap<u64, Advice>,
    places: BTreeMap<(String, Net), u64>,
    next: u64,
}

impl Ungiven {
    pub(super) fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// Keeps a block in the place of an earlier one of the same source about the same; false when `most` others wait already.
    pub(super) fn put(&mut self, advice: Advice, most: usize) -> bool {
        let Advice::Block { net, source, .. } = &advice else { return false };
        let place = (source.clone(), *net);
        self.take_out(&place);
        if self.said.len() >= most {
            return false;
        }
        self.places.insert(place, self.next);
        self.said.insert(self.next, advice);
        self.next += 1;
        true
    }

    fn take_out(&mut self, place: &(String, Net)) {
        if let Some(at) = self.places.remove(place) {
            self.said.remove(&at);
        }
    }

    /// What was said now makes some of what waits void.
    pub(super) fn void(&mut self, said: &Advice) {
        match said {
            Advice::Block { .. } => {}
            Advice::Retract { net, source, .. } => self.take_out(&(source.clone(), *net)),
            Advice::Forget { source } => self.keep(|of| of != source),
            Advice::Keep { sources, .. } => self.keep(|of| sources.contains(of)),
        }
    }

    fn keep(&mut self, kept: impl Fn(&str) -> bool) {
        let gone: BTreeSet<u64> =
            self.places.iter().filter(|((of, _), _)| !kept(of)).map(|(_, at)| *at).collect();
        self.places.retain(|_, at| !gone.contains(at));
        self.said.retain(|at, _| !gone.contains(at));
    }

    /// Gives what waits, in its order, as long as it is taken.
    pub(super) fn give(&mut self, mut to: impl FnMut(Advice) -> bool) {
        while let Some((_, advice)) = self.said.first_key_value() {
            if !to(advice.clone()) {
                return;
            }
            if let Some((_, Advice::Block { net, source, .. })) = self.said.pop_first() {
                self.places.remove(&(source, net));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn net(n: u8) -> Net {
        Net::host([45, 83, 64, n].into())
    }

    fn block(source: &str, n: u8, secs: u64) -> Advice {
        let for_ = Duration::from_secs(secs);
        Advice::Block { net: net(n), for_, source: source.into(), why: String::new() }
    }

    fn given(ungiven: &mut Ungiven, most: usize) -> Vec<Advice> {
        let mut given = Vec::new();
        ungiven.give(|advice| {
            let taken = given.len() < most;
            if taken {
                given.push(advice);
            }
            taken
        });
        given
    }

    #[test]
    fn the_latest_word_about_each_waits_in_its_order_and_what_ended_meanwhile_does_not() {
        let mut ungiven = Ungiven::default();
        for (source, n, secs) in [("a", 1, 1), ("b", 1, 2), ("a", 2, 3), ("a", 1, 4), ("c", 9, 5)] {
            assert!(ungiven.put(block(source, n, secs), 4));
        }
        assert!(!ungiven.put(block("c", 8, 1), 4), "no room");
        assert_eq!(given(&mut ungiven, 1), [block("b", 1, 2)]);
        ungiven.void(&Advice::Retract { net: net(2), source: "a".into(), why: "" });
        ungiven.void(&Advice::Retract { net: net(1), source: "b".into(), why: "" });
        assert_eq!(given(&mut ungiven, 9), [block("a", 1, 4), block("c", 9, 5)]);
        for (source, n) in [("a", 1), ("b", 1), ("c", 1), ("a", 3)] {
            assert!(ungiven.put(block(source, n, 1), 4));
        }
        ungiven.void(&Advice::Forget { source: "a".into() });
        ungiven.void(&Advice::Keep { sources: ["c".to_owned()].into(), why: "" });
        assert_eq!(given(&mut ungiven, 9), [block("c", 1, 1)]);
        assert!(ungiven.is_empty() && ungiven.places.is_empty());
    }
}
