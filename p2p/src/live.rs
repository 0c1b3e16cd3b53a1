//! What peers say that holds still: the latest word of each author about each accused, bounded for each author and in all.

use std::collections::{BTreeMap, BTreeSet};

use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::message::Percent;
use crate::moment::Moment;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Accused of one author; beyond it the author's oldest word goes.
    pub per_author: usize,
    /// Accused in all; beyond it the lightest word goes, of these the oldest.
    pub in_all: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { per_author: 4096, in_all: 65_536 }
    }
}

/// How far the trust of a word's author was settled by what we found ourselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Credit {
    /// Not at all.
    #[default]
    None,
    /// By evidence that was not enough for an alert.
    Half,
    /// By an alert.
    Full,
}

/// The latest word of an author about an accused.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// Who.
    pub author: NodeId,
    /// About whom.
    pub indicator: Indicator,
    /// How bad.
    pub score: Percent,
    /// How sure.
    pub confidence: Percent,
    /// Whether the author blocks it itself.
    pub own_block: bool,
    /// When it was said.
    pub at: Moment,
    /// When it holds no longer.
    pub until: Moment,
    /// When the author's first live word about it reached us.
    pub heard: Moment,
    /// How far the author's trust gained by it already.
    pub credited: Credit,
    /// Whether the author's trust lost by it already.
    pub refuted: bool,
}

impl Word {
    /// Score × confidence, 0 to 1.
    pub fn mass(&self) -> f64 {
        self.score.share() * self.confidence.share()
    }

    fn rank(&self) -> u16 {
        (self.mass() * 10_000.0) as u16
    }
}

/// All live words. Every operation costs a few look-ups in ordered maps, whatever is said.
#[derive(Clone, Debug, Default)]
pub struct Live {
    caps: Caps,
    next: u64,
    words: BTreeMap<u64, Word>,
    by_pair: BTreeMap<(Indicator, NodeId), u64>,
    by_author: BTreeMap<NodeId, BTreeSet<(Moment, u64)>>,
    by_end: BTreeSet<(Moment, u64)>,
    by_rank: BTreeSet<(u16, Moment, u64)>,
    /// Words dropped because there were too many.
    pub dropped: u64,
}

impl Live {
    /// With these bounds.
    pub fn new(caps: Caps) -> Self {
        Self { caps, ..Self::default() }
    }

    /// How many words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether nobody says anything.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How many words of `author`.
    pub fn of(&self, author: NodeId) -> usize {
        self.by_author.get(&author).map_or(0, BTreeSet::len)
    }

    /// Takes a word. An older one about the same is replaced and what is known of it kept; a newer one stays. Returns false when
    /// nothing changed.
    pub fn put(&mut self, mut word: Word) -> bool {
        let pair = (word.indicator.clone(), word.author);
        if let Some(id) = self.by_pair.get(&pair).copied()
            && let Some(held) = self.words.get(&id)
        {
            if held.at >= word.at {
                return false;
            }
            (word.heard, word.credited, word.refuted) = (held.heard, held.credited, held.refuted);
            self.drop_word(id);
        }
        let id = self.next;
        self.next += 1;
        self.by_pair.insert(pair, id);
        self.by_author.entry(word.author).or_default().insert((word.at, id));
        self.by_end.insert((word.until, id));
        self.by_rank.insert((word.rank(), word.at, id));
        let author = word.author;
        self.words.insert(id, word);
        self.make_room(author);
        self.words.contains_key(&id)
    }

    fn make_room(&mut self, author: NodeId) {
        let oldest = self.by_author.get(&author).filter(|words| words.len() > self.caps.per_author);
        if let Some((_, id)) = oldest.and_then(BTreeSet::first).copied() {
            self.drop_word(id);
            self.dropped += 1;
        }
        if self.words.len() > self.caps.in_all
            && let Some((_, _, id)) = self.by_rank.first().copied()
        {
            self.drop_word(id);
            self.dropped += 1;
        }
    }

    fn drop_word(&mut self, id: u64) -> Option<Word> {
        let word = self.words.remove(&id)?;
        self.by_pair.remove(&(word.indicator.clone(), word.author));
        self.by_end.remove(&(word.until, id));
        self.by_rank.remove(&(word.rank(), word.at, id));
        if let Some(words) = self.by_author.get_mut(&word.author) {
            words.remove(&(word.at, id));
            if words.is_empty() {
                self.by_author.remove(&word.author);
            }
        }
        Some(word)
    }

    fn ids(&self, indicator: &Indicator) -> impl Iterator<Item = u64> + use<'_> {
        let (first, last) = (NodeId([0; 32]), NodeId([255; 32]));
        self.by_pair.range((indicator.clone(), first)..=(indicator.clone(), last)).map(|(_, id)| *id)
    }

    /// What is said about `indicator`, in the order of the authors' names.
    pub fn about(&self, indicator: &Indicator) -> impl Iterator<Item = &Word> {
        self.ids(indicator).filter_map(|id| self.words.get(&id))
    }

    /// Changes every word about `indicator`.
    pub fn mark(&mut self, indicator: &Indicator, mut change: impl FnMut(&mut Word)) {
        let ids: Vec<u64> = self.ids(indicator).collect();
        for id in ids {
            if let Some(word) = self.words.get_mut(&id) {
                // Author, accused, times and mass are keys of the indices; only the marks may change.
                let mut marked = word.clone();
                change(&mut marked);
                (word.credited, word.refuted) = (marked.credited, marked.refuted);
            }
        }
    }

    /// Takes the word of `author` about `indicator` out.
    pub fn take_back(&mut self, author: NodeId, indicator: &Indicator) -> Option<Word> {
        let id = self.by_pair.get(&(indicator.clone(), author)).copied()?;
        self.drop_word(id)
    }

    /// Takes out all that `author` says.
    pub fn forget(&mut self, author: NodeId) -> Vec<Word> {
        let ids: Vec<u64> = self.by_author.get(&author).into_iter().flatten().map(|(_, id)| *id).collect();
        ids.into_iter().filter_map(|id| self.drop_word(id)).collect()
    }

    /// Takes out what holds no longer.
    pub fn expire(&mut self, now: Moment) -> Vec<Word> {
        let mut over = Vec::new();
        while let Some((until, id)) = self.by_end.first().copied() {
            if until > now {
                break;
            }
            over.extend(self.drop_word(id));
        }
        over
    }

    /// All words, the oldest entry first.
    pub fn iter(&self) -> impl Iterator<Item = &Word> {
        self.words.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn word(author: u8, accused: u8, at: u64, percent: f64) -> Word {
        let ip = IpAddr::V4(Ipv4Addr::new(198, 51, 100, accused));
        Word {
            author: NodeId([author; 32]),
            indicator: Indicator::host(ip).expect("public"),
            score: Percent::FULL,
            confidence: Percent::of(percent),
            own_block: false,
            at: Moment(at),
            until: Moment(at + 100),
            heard: Moment(at),
            credited: Credit::None,
            refuted: false,
        }
    }

    #[test]
    fn the_latest_word_stands_and_keeps_its_marks() {
        let mut live = Live::default();
        assert!(live.put(word(1, 1, 10, 0.5)));
        let accused = word(1, 1, 0, 0.0).indicator;
        live.mark(&accused, |word| word.credited = Credit::Half);
        assert!(!live.put(word(1, 1, 9, 1.0)));
        assert!(live.put(word(1, 1, 11, 1.0)));
        let held: Vec<&Word> = live.about(&accused).collect();
        assert_eq!(held.len(), 1);
        assert!(held[0].credited == Credit::Half && held[0].heard == Moment(10) && held[0].mass() > 0.9);
        assert!(live.take_back(NodeId([1; 32]), &accused).is_some());
        assert!(
            live.is_empty() && live.by_end.is_empty() && live.by_rank.is_empty() && live.by_author.is_empty()
        );
    }

    #[test]
    fn an_author_pushes_out_only_itself_and_light_words_go_first() {
        let mut live = Live::new(Caps { per_author: 3, in_all: 5 });
        for n in 0..10 {
            live.put(word(1, n, u64::from(n), 1.0));
        }
        assert_eq!(live.of(NodeId([1; 32])), 3);
        for n in 0..3 {
            live.put(word(2, n, 50, 0.2 + f64::from(n) / 10.0));
        }
        assert_eq!((live.len(), live.of(NodeId([1; 32])), live.of(NodeId([2; 32]))), (5, 3, 2));
        assert_eq!(live.dropped, 8);
    }

    proptest! {
        #[test]
        fn the_indices_agree_and_the_bounds_hold(
            steps in proptest::collection::vec((0u8..4, 0u8..12, 0u64..400, 0u8..6), 1..200)
        ) {
            let mut live = Live::new(Caps { per_author: 6, in_all: 15 });
            for (author, accused, at, what) in steps {
                let step = word(author, accused, at, f64::from(accused) / 11.0);
                match what {
                    0 => drop(live.take_back(step.author, &step.indicator)),
                    1 => drop(live.expire(Moment(at))),
                    2 if at > 350 => drop(live.forget(step.author)),
                    _ => drop(live.put(step)),
                }
                prop_assert!(live.len() <= 15);
                prop_assert!(live.by_author.values().all(|words| words.len() <= 6));
                let sizes = [
                    live.by_pair.len(), live.by_end.len(), live.by_rank.len(),
                    live.by_author.values().map(BTreeSet::len).sum::<usize>(),
                ];
                prop_assert_eq!(sizes, [live.len(); 4]);
            }
        }
    }
}
