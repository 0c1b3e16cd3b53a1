//! Named blocklists: what this router publishes, and what it does with those that it follows.

use std::collections::BTreeSet;

use slips_p2p::indicator::Indicator;
use slips_p2p::link::ToNode;
use slips_p2p::lists::{Change, HOLDS, Of};
use slips_p2p::message::{Message, Percent};
use slips_p2p::moment::Moment;
use slips_p2p::share::report_of;

use super::Peers;
use super::book::is_listing;
use super::rulings::shared;
use crate::daemon::entries;
use crate::daemon::responder::Advice;
use crate::peers::table::Policy;

/// How bad and how sure an entry of a list is that only scores: a list says no more than that it names somebody.
const SCORE: f64 = 0.8;
const CONFIDENCE: f64 = 0.8;

impl Peers {
    /// From now on the lists are those that the directory names.
    pub(super) fn read_lists(&mut self) {
        let now = self.now();
        match self.store.published(now) {
            Ok(mut wanted) => {
                for list in wanted.values_mut() {
                    // What is ours, or never blocked here, is told to nobody, whatever the file says.
                    list.entries.retain(|entry| self.privacy.may_answer(entry));
                    list.removed.retain(|entry| self.privacy.may_answer(entry));
                }
                self.published.set(wanted, now);
            }
            Err(error) => self.complain(&error.to_string()),
        }
        let policies = self.state.as_ref().map(crate::peers::State::followed).unwrap_or_default();
        // Of a list whose policy is another now, what the old one did ends first.
        let same = |(of, policy): &(&Of, &Policy)| self.policies.get(*of) == Some(*policy);
        let kept: BTreeSet<Of> = policies.iter().filter(same).map(|(of, _)| of.clone()).collect();
        let (changes, _) = self.followed.set(&kept);
        self.end_blocks(&kept);
        self.list_changed(changes);
        self.policies = policies;
        let (_, new) = self.followed.set(&self.policies.keys().cloned().collect());
        if !new.is_empty() {
            self.hear_lists_again(&new, now);
        }
    }

    /// Ends at once what lists that are not `kept` had blocked.
    fn end_blocks(&mut self, kept: &BTreeSet<Of>) {
        let blocking =
            self.policies.iter().filter(|(of, policy)| **policy == Policy::Block && !kept.contains(*of));
        let ended: Vec<Of> = blocking.map(|(of, _)| of.clone()).collect();
        for of in ended {
            self.policies.remove(&of);
            let source = source_of(&of);
            self.ask_responder(Advice::Forget { source });
        }
    }

    /// Parts of newly followed lists may be here already.
    fn hear_lists_again(&mut self, new: &[Of], now: Moment) {
        let Some(net) = self.psk().map(|psk| slips_p2p::identity::NetId::of(&psk)) else { return };
        // They may have come in this very turn.
        self.write();
        let mut behind = None;
        while let Some(page) = self.page(now, &mut behind) {
            for kept in page.into_iter().filter(is_listing) {
                self.hear_list_again(new, net, kept.envelope);
            }
        }
    }

    fn hear_list_again(&mut self, new: &[Of], net: slips_p2p::identity::NetId, envelope: Vec<u8>) {
        let Ok(opened) = slips_p2p::envelope::open(&envelope, net) else { return };
        if let Message::List(part) = &opened.message
            && new.iter().any(|(author, list)| *author == opened.head.author && *list == part.list)
        {
            let changes = self.followed.hear(opened.head.author, part, opened.head.until());
            self.list_changed(changes);
            // Now it is of use, and no spare part any more.
            self.keep(&opened.message, &opened.head, envelope);
        }
    }

    /// Says what of our lists is to be said now, and lets go what others do not say any more.
    pub(super) fn tend_lists(&mut self) {
        let (now, steady) = (self.now(), (self.clocks.steady)());
        // What is said to nobody now would not be said again for hours.
        while self.node.is_up()
            && self.clock().is_sane()
            && let Some(part) = self.published.due(now)
        {
            let list = part.list.clone();
            match self.privacy.clear(Message::List(part)) {
                Ok(message) => self.node.send(ToNode::Publish { message, ttl: HOLDS }, steady),
                Err(error) => self.complain(&format!("a part of the list {list} is not published: {error}")),
            }
        }
        let over = self.followed.expire(now);
        self.list_changed(over);
    }

    /// Carries out what became of entries of followed lists.
    pub(super) fn list_changed(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Listed { of, indicator, until } => self.listed(&of, &indicator, until),
                Change::Unlisted { of, indicator } => self.unlisted(&of, &indicator),
            }
        }
    }

    fn listed(&mut self, of: &Of, indicator: &Indicator, until: Moment) {
        let now = self.now();
        match self.policies.get(of) {
            Some(Policy::Block) if self.council.is_refuted(indicator, now) => {}
            Some(Policy::Block) => {
                let Some(net) = indicator.as_net() else { return };
                let (for_, source, why) = (until.since(now), source_of(of), self.on_the_list(of));
                self.ask_responder(Advice::Block { net, for_, source, why });
            }
            Some(Policy::Score) => {
                let report = report_of(indicator, Percent::of(SCORE), Percent::of(CONFIDENCE), now);
                let rulings = self.council.hear_report(of.0, &report, None, now, until, &self.members, now);
                self.obey(rulings);
            }
            Some(Policy::Log) => {
                self.logged.insert(indicator.clone(), (of.clone(), Moment(0)));
            }
            None => {}
        }
    }

    pub(super) fn on_the_list(&self, (author, list): &Of) -> String {
        format!("on the list {list} of peer {}", self.name_of(*author))
    }

    fn unlisted(&mut self, of: &Of, indicator: &Indicator) {
        self.logged.remove(indicator);
        // A score ends with its time; the blocks of a list that is followed no more ended all at once.
        if let Some(net) = indicator.as_net()
            && self.policies.get(of) == Some(&Policy::Block)
        {
            let source = source_of(of);
            self.ask_responder(Advice::Retract { net, source: source.clone(), why: UNLISTED });
            if let Some(with) = shared(indicator) {
                let why = self.on_the_list(of);
                let others = self.followed.listed_in(of, with);
                let others = others.map(|(held, until)| (held.clone(), until, why.clone())).collect();
                let now = self.now();
                self.hold_on(others, &source, now);
            }
        }
    }

    /// Somebody on a list that is only told of had traffic with us.
    pub(super) fn met(&mut self, indicator: &Indicator) {
        let now = self.now();
        let Some((of, told)) = self.logged.get_mut(indicator) else { return };
        if now.since(*told) < TELL_AGAIN {
            return;
        }
        *told = now;
        let ((author, list), about) = (of.clone(), indicator.to_string());
        self.say_of(author, |peer| {
            entries::peer_report(peer, &about, &format!("it is on the list {list}, and had traffic with us"))
        });
    }
}

/// Who answers for the blocks of a list.
pub(super) fn source_of((author, list): &Of) -> String {
    // The id, since a name may change while its blocks stand; short enough for the book.
    let id: String = author.to_string().chars().rev().take(LETTERS).collect();
    format!("list/{list}/{id}")
}

/// Why a block ends of whom a list names no more.
const UNLISTED: &str = "it is not on the list any more";
/// Letters of an id that tell peers apart.
const LETTERS: usize = 12;
/// Traffic with somebody on a list is told so often.
const TELL_AGAIN: std::time::Duration = std::time::Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use slips_p2p::envelope::{Head, seal};
    use slips_p2p::identity::NetId;
    use slips_p2p::link::FromNode;
    use slips_p2p::message::{ListEntries, Name};

    use super::super::stage::{PSK, Stage, id, key, reloaded};
    use super::*;
    use crate::peers::table::Follow;

    /// A part of a list that attic says now.
    fn part(list: &str, entry: &str, seq: u64, now: Moment) -> Vec<u8> {
        let head = Head { net: NetId::of(&PSK), author: id(1), epoch: 1, seq, issued: now, ttl: HOLDS };
        let add = vec![entry.parse().expect("an entry")];
        let list = Name::new(list).expect("a name");
        seal(&head, &Message::List(ListEntries { list, version: seq, add, remove: Vec::new() }), &key(1))
    }

    fn follow(stage: &Stage, list: &str) {
        let list = Name::new(list).expect("a name");
        stage.change(|state| {
            let row = state.table.peer_mut(id(1)).expect("attic");
            row.follow.push(Follow { list, policy: Policy::Block });
        });
    }

    fn blocked(advice: &[Advice]) -> Vec<String> {
        let net = |one: &Advice| match one {
            Advice::Block { net, .. } => Some(net.to_string()),
            _ => None,
        };
        advice.iter().filter_map(net).collect()
    }

    /// The whole of the longest list that there can be.
    fn longest(list: &str, third: u8, now: Moment) -> impl Iterator<Item = Vec<u8>> {
        (0..64u8).map(move |nth| {
            let seq = u64::from(third) * 64 + u64::from(nth) + 1;
            let head = Head { net: NetId::of(&PSK), author: id(1), epoch: 1, seq, issued: now, ttl: HOLDS };
            let entry = |n| Indicator::host([45, 80 + third, nth, n].into()).expect("public");
            let add = (0..64).map(entry).collect();
            let list = Name::new(list).expect("a name");
            seal(&head, &Message::List(ListEntries { list, version: seq, add, remove: Vec::new() }), &key(1))
        })
    }

    #[test]
    fn nothing_of_long_lists_is_lost_at_a_responder_that_takes_little_at_once() {
        let stage = Stage::new();
        let names = ["scanners", "spammers", "guessers"];
        names.iter().for_each(|name| follow(&stage, name));
        let (mut peers, given) = stage.peers();
        peers.reload().expect("read");
        let (now, mut all) = (peers.now(), BTreeSet::new());
        for (third, name) in (0u8..).zip(names) {
            longest(name, third, now).for_each(|part| peers.hear(FromNode::Heard(part)));
        }
        let mut turns = 0;
        loop {
            let some: Vec<Advice> = given.try_iter().collect();
            if some.is_empty() {
                break;
            }
            all.extend(blocked(&some));
            peers.hand_over();
            turns += 1;
        }
        assert_eq!((all.len(), turns), (3 * 4096, 4), "more than the responder takes at once");
        assert!(peers.ungiven.is_empty());
        assert!(!stage.lines().iter().any(|line| line.contains("dropped")));
    }

    #[test]
    fn a_list_that_was_said_before_it_is_followed_holds_at_once() {
        let stage = Stage::new();
        let (mut peers, given) = stage.peers();
        assert_eq!(blocked(&reloaded(&mut peers, &given)), Vec::<String>::new());
        let now = peers.now();
        for (n, list) in ["scanners", "spammers", "scanners"].iter().enumerate() {
            let n = n as u64;
            peers.hear(FromNode::Heard(part(list, &format!("45.83.64.{n}"), n + 1, now)));
        }
        assert_eq!(blocked(&given.try_iter().collect::<Vec<_>>()), Vec::<String>::new());
        follow(&stage, "scanners");
        assert_eq!(blocked(&reloaded(&mut peers, &given)), ["45.83.64.0", "45.83.64.2"]);
        // What comes later is heard by itself.
        peers.hear(FromNode::Heard(part("scanners", "45.83.64.9", 7, now)));
        assert_eq!(blocked(&given.try_iter().collect::<Vec<_>>()), ["45.83.64.9"]);
        peers.write();
        drop(peers);
        // A restart in between changes nothing.
        follow(&stage, "spammers");
        let (mut peers, given) = stage.peers();
        let mut all = blocked(&reloaded(&mut peers, &given));
        all.sort_unstable();
        assert_eq!(all, ["45.83.64.0", "45.83.64.1", "45.83.64.2", "45.83.64.9"]);
    }
}
