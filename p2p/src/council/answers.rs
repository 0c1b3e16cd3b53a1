//! Answers to our questions about one accused. Nobody signed them: they are as true as the node's process that hands them on, so they help
//! own evidence a little where a signed word does so already, and do nothing else. They block nobody alone, count as no group, move no
//! trust, and prove no lie.

use std::collections::BTreeMap;

use super::{Council, voice};
use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::members::Members;
use crate::message::Percent;
use crate::moment::Moment;
use crate::opinion::{Opinion, Voice};

/// Most answers that are kept; the one that ends first makes room.
const MOST: usize = 4096;

/// One answer.
#[derive(Clone, Copy, Debug)]
struct Answer {
    mass: f64,
    at: Moment,
    until: Moment,
}

/// The latest answer of each about each accused.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    held: BTreeMap<(Indicator, NodeId), Answer>,
}

impl Answers {
    fn put(&mut self, indicator: &Indicator, author: NodeId, answer: Answer) {
        self.held.insert((indicator.clone(), author), answer);
        if self.held.len() > MOST {
            let first = self.held.iter().min_by_key(|(_, answer)| answer.until).map(|(key, _)| key.clone());
            first.and_then(|key| self.held.remove(&key));
        }
    }

    /// What `author` answered is void: about one accused, or all.
    pub(super) fn forget(&mut self, author: NodeId, indicator: Option<&Indicator>) {
        self.held
            .retain(|(held, by), _| *by != author || indicator.is_some_and(|indicator| indicator != held));
    }

    /// Drops what holds no longer.
    pub(super) fn expire(&mut self, now: Moment) {
        self.held.retain(|_, answer| now < answer.until);
    }

    fn about(&self, indicator: &Indicator) -> impl Iterator<Item = (NodeId, Answer)> {
        let all = (indicator.clone(), NodeId([0; 32]))..=(indicator.clone(), NodeId([255; 32]));
        self.held.range(all).map(|((_, author), answer)| (*author, *answer))
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// How bad.
    pub score: Percent,
    /// How sure.
    pub confidence: Percent,
    /// When it was seen last.
    pub at: Moment,
    /// When it holds no longer.
    pub until: Moment,
}

impl Council {
    /// Takes an answer to a question of ours; the caller knows that it was asked.
    pub fn hear_answer(
        &mut self,
        author: NodeId,
        indicator: &Indicator,
        said: Said,
        members: &Members,
        now: Moment,
    ) -> Vec<super::Ruling> {
        if self.is_canary(indicator) || self.is_protected(indicator) || !indicator.is_single() {
            return Vec::new();
        }
        let mass = said.score.share() * said.confidence.share();
        self.answers.put(indicator, author, Answer { mass, at: said.at.min(now), until: said.until });
        self.consider(indicator, members, now)
    }

    /// How much the answers about `indicator` weigh together.
    pub(super) fn answered(&self, indicator: &Indicator, members: &Members, now: Moment) -> f64 {
        let live = self.answers.about(indicator).filter(|(_, answer)| now < answer.until);
        let voices = live.filter_map(|(author, answer)| {
            let weighed = voice(self, author, members, now)?;
            Some(Voice { mass: answer.mass, own_block: false, at: answer.at, ..weighed })
        });
        Opinion::of(voices, &self.rules.opinion, now).weight.min(self.rules.answers_most)
    }
}
