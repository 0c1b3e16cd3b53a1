//! Whether blocks on the word of peers cut this router off: for a minute after such a block it is tried whether the network can be reached.
//! If not, all of them are lifted and it is tried again. If that did not help, the network is down for another reason, and they are put back.
//! If it helped, that may be chance: they are put back, too, and only when the network is lost again they were to blame. Then they are lifted
//! for good, and peers have nobody blocked for an hour. Nothing is lifted where none stands, or where the network was never reached: a router
//! whose name servers do not answer would be without those blocks for half a minute.

use std::collections::BTreeSet;
use std::time::Duration;

use slips_p2p::council::Basis;
use slips_p2p::lists::Of;
use slips_p2p::moment::Moment;

use super::probe::Trying;
use super::{Peers, lists, rulings};
use crate::config::Mode;
use crate::daemon::entries;
use crate::daemon::responder::Advice;
use crate::peers::table::Policy;

/// So long after a block it is tried, and how often.
const WATCH_FOR: Duration = Duration::from_secs(60);
const TRY_EVERY: Duration = Duration::from_secs(10);
/// So many tries must fail in a row: one packet may be lost.
const FAILURES: u32 = 2;
/// How soon it is tried after the blocks were lifted, and how often before they are put back.
const TRY_LIFTED: Duration = Duration::from_secs(5);
const TRIES_LIFTED: u32 = 3;
/// How soon, and how often, it is tried after they were put back because lifting them helped.
const TRY_AGAIN: Duration = Duration::from_secs(5);
const TRIES_AGAIN: u32 = 2;
/// How often a network that is down is tried.
const TRY_DOWN: Duration = Duration::from_secs(30);

/// Where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Watch {
    /// Nothing was blocked lately.
    Off,
    /// Something was, until then it is watched.
    On { until: Duration, failed: u32 },
    /// The network was not reached, and blocks are lifted.
    Lifted { tried: u32 },
    /// Without them it was, and they are put back.
    Again { reached: u32, failed: u32 },
    /// It is down with and without them; or, at first, it is not known whether it can be reached.
    #[default]
    Down,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Lift all that peers had blocked.
    Lift,
    /// Put them back: without them the network is reached.
    TryAgain,
    /// They were to blame.
    Blame,
    /// They were not: it is reached with them, too.
    Acquit,
    /// They were not: it is down without them, too.
    PutBack,
}

/// See the module.
#[derive(Default)]
pub(super) struct Watchdog {
    watch: Watch,
    /// Steady time of the next try.
    due: Duration,
    trying: Option<Box<dyn Trying>>,
}

impl Watchdog {
    /// Somebody is blocked on the word of peers; false when nobody is to be now.
    fn blocked(&mut self, now: Duration) -> bool {
        match &mut self.watch {
            Watch::Lifted { .. } => return false,
            Watch::Down | Watch::Again { .. } => {}
            Watch::On { until, .. } => *until = now.saturating_add(WATCH_FOR),
            Watch::Off => {
                self.watch = Watch::On { until: now.saturating_add(WATCH_FOR), failed: 0 };
                // What was blocked is so in a moment.
                self.due = now.saturating_add(Duration::from_secs(1));
            }
        }
        true
    }

    fn is_due(&mut self, now: Duration) -> bool {
        if let Watch::On { until, failed: 0 } = self.watch
            && now >= until
        {
            self.watch = Watch::Off;
        }
        self.watch != Watch::Off && now >= self.due
    }

    /// What comes of a try; `stands` is whether anybody is blocked on the word of peers.
    fn tried(&mut self, reached: bool, stands: bool, now: Duration) -> Option<Act> {
        let (watch, pause, act) = match (self.watch, reached) {
            (Watch::Off, _) => (Watch::Off, TRY_EVERY, None),
            // Somebody may have been blocked meanwhile.
            (Watch::Down, true) => {
                (Watch::On { until: now.saturating_add(WATCH_FOR), failed: 0 }, TRY_EVERY, None)
            }
            (Watch::On { until, .. }, true) => (Watch::On { until, failed: 0 }, TRY_EVERY, None),
            (Watch::On { failed, .. }, false) if failed + 1 >= FAILURES => match stands {
                true => (Watch::Lifted { tried: 0 }, TRY_LIFTED, Some(Act::Lift)),
                false => (Watch::Down, TRY_DOWN, None),
            },
            (Watch::On { until, failed }, false) => {
                (Watch::On { until, failed: failed + 1 }, Duration::ZERO, None)
            }
            (Watch::Lifted { .. }, true) => {
                (Watch::Again { reached: 0, failed: 0 }, TRY_AGAIN, Some(Act::TryAgain))
            }
            (Watch::Again { reached, .. }, true) if reached + 1 >= TRIES_AGAIN => {
                (Watch::Off, TRY_EVERY, Some(Act::Acquit))
            }
            (Watch::Again { reached, .. }, true) => {
                (Watch::Again { reached: reached + 1, failed: 0 }, TRY_AGAIN, None)
            }
            (Watch::Again { failed, .. }, false) if failed + 1 >= FAILURES => {
                (Watch::Off, TRY_EVERY, Some(Act::Blame))
            }
            (Watch::Again { reached, failed }, false) => {
                (Watch::Again { reached, failed: failed + 1 }, Duration::ZERO, None)
            }
            (Watch::Lifted { tried }, false) if tried + 1 >= TRIES_LIFTED => {
                (Watch::Down, TRY_DOWN, Some(Act::PutBack))
            }
            (Watch::Lifted { tried }, false) => (Watch::Lifted { tried: tried + 1 }, TRY_LIFTED, None),
            (Watch::Down, false) => (Watch::Down, TRY_DOWN, None),
        };
        self.watch = watch;
        self.due = now.saturating_add(pause);
        act
    }
}

impl Peers {
    /// Whether this advice is to be given now: while it is tried without blocks of peers, none begins. It is put back, or rests.
    pub(super) fn may_advise(&mut self, advice: &Advice) -> bool {
        let blocks = matches!(advice, Advice::Block { .. }) && self.settings.firewall.mode == Mode::Enforce;
        !blocks || self.watchdog.blocked((self.clocks.steady)())
    }

    /// Tries, and does what comes of it.
    pub(super) fn watch_network(&mut self, steady: Duration) {
        if self.watchdog.trying.is_none() && self.watchdog.is_due(steady) {
            self.watchdog.trying = (self.ways.reach)(steady);
            if self.watchdog.trying.is_none() {
                // Nobody is there to be tried: nothing is known, and what was lifted is not to blame.
                if matches!(self.watchdog.watch, Watch::Lifted { .. }) {
                    self.put_back();
                    self.say_watch("nobody is there any more to be tried: the blocks of peers are put back");
                }
                self.watchdog.watch = Watch::Down;
                self.watchdog.due = steady.saturating_add(TRY_DOWN);
            }
        }
        let Some(reached) = self.watchdog.trying.as_mut().and_then(|trying| trying.look(steady)) else {
            return;
        };
        self.watchdog.trying = None;
        let stands = self.has_somebody_blocked();
        match self.watchdog.tried(reached, stands, steady) {
            Some(Act::Lift) => {
                self.ask_responder(Advice::Keep { sources: BTreeSet::new(), why: TRIED });
                self.say_watch("the network is not reached since peers had somebody blocked: their blocks are lifted to see whether that helps");
            }
            Some(Act::TryAgain) => {
                self.put_back();
                self.say_watch("without the blocks of peers the network is reached: they are put back to see whether it is lost again");
            }
            Some(Act::Acquit) => {
                self.say_watch("the network is reached with the blocks of peers: they were not to blame");
            }
            Some(Act::Blame) => {
                let now = self.now();
                self.ask_responder(Advice::Keep { sources: BTreeSet::new(), why: BLAMED });
                let rulings = self.council.watchdog(now);
                self.obey(rulings);
                self.unwritten.rests = self.council.rests(now).map(|until| until.0);
                self.say_watch("with the blocks of peers the network is lost, twice now, and without them it is reached: they stay lifted, peers have nobody blocked for an hour, and for a day nobody without own evidence");
            }
            Some(Act::PutBack) => {
                self.put_back();
                self.say_watch("the network is down without the blocks of peers, too: they are put back");
            }
            None => {}
        }
    }

    fn say_watch(&mut self, text: &str) {
        self.journal.send(&entries::degraded("peers", text));
    }

    /// Whether anything stands on the word of peers alone.
    fn has_somebody_blocked(&self) -> bool {
        let listed = |(of, policy): (&Of, &Policy)| {
            *policy == Policy::Block
                && self.followed.listed(of).any(|(indicator, _)| indicator.as_net().is_some())
        };
        self.council.orders().next().is_some()
            || self.council.blocks().any(|(_, held)| held.basis == Basis::Preempt)
            || self.policies.iter().any(listed)
    }

    /// Asks again for all that stands on the word of peers, but not for whom the owner let in.
    fn put_back(&mut self) {
        let now = self.now();
        let mut again = Vec::new();
        for (indicator, author, until) in self.council.orders() {
            let why = format!("order of {}", self.name_of(author));
            again.extend(block(indicator, until, now, rulings::source_of(author), why));
        }
        for (indicator, held) in self.council.blocks().filter(|(_, held)| held.basis == Basis::Preempt) {
            let why = self.account(&held.opinion);
            again.extend(block(indicator, held.until, now, rulings::SEVERAL.to_owned(), why));
        }
        for (of, _) in self.policies.iter().filter(|(_, policy)| **policy == Policy::Block) {
            let why = self.on_the_list(of);
            let listed = self.followed.listed(of);
            for (indicator, until) in listed.filter(|(held, _)| !self.council.is_refuted(held, now)) {
                again.extend(block(indicator, until, now, lists::source_of(of), why.clone()));
            }
        }
        again.into_iter().for_each(|advice| self.ask_responder(advice));
    }
}

/// Why blocks end.
const TRIED: &str = "the network is not reached, and it is tried without the blocks of peers";
const BLAMED: &str = "the network is lost with the blocks of peers";

fn block(
    indicator: &slips_p2p::indicator::Indicator,
    until: Moment,
    now: Moment,
    source: String,
    why: String,
) -> Option<Advice> {
    let net = indicator.as_net().filter(|_| until > now)?;
    Some(Advice::Block { net, for_: until.since(now), source, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// The network was reached, a while ago.
    fn reached() -> Watchdog {
        Watchdog { watch: Watch::Off, ..Watchdog::default() }
    }

    #[test]
    fn it_is_tried_for_a_minute_after_a_block_and_no_longer() {
        let mut dog = reached();
        assert!(!dog.is_due(at(100)), "nobody was blocked");
        assert!(dog.blocked(at(100)));
        let mut tries = 0;
        for second in 100..400 {
            if dog.is_due(at(second)) {
                tries += 1;
                assert_eq!(dog.tried(true, true, at(second)), None);
            }
        }
        assert_eq!((tries, dog.watch), (6, Watch::Off));
    }

    #[test]
    fn blocks_are_blamed_only_where_lifting_them_helped() {
        let cut_off = || {
            let mut dog = reached();
            dog.blocked(at(0));
            assert_eq!(dog.tried(false, true, at(1)), None, "one may be lost");
            assert_eq!(dog.tried(false, true, at(4)), Some(Act::Lift));
            assert!(!dog.blocked(at(5)), "not while it is tried without");
            dog
        };
        let put_back = || {
            let mut dog = cut_off();
            assert_eq!(dog.tried(true, true, at(9)), Some(Act::TryAgain));
            assert!(!dog.is_due(at(10)) && dog.is_due(at(14)) && dog.blocked(at(14)));
            dog
        };
        let mut dog = put_back();
        assert_eq!(dog.tried(false, true, at(17)), None);
        assert_eq!((dog.tried(false, true, at(20)), dog.watch), (Some(Act::Blame), Watch::Off));
        let mut dog = put_back();
        // It was chance: the network is reached with them.
        assert_eq!(dog.tried(true, true, at(14)), None);
        assert_eq!((dog.tried(true, true, at(19)), dog.watch), (Some(Act::Acquit), Watch::Off));
        let mut dog = put_back();
        let flaky = [false, true, false, true].map(|reached| dog.tried(reached, true, at(20)));
        assert_eq!(flaky, [None, None, None, Some(Act::Acquit)]);
        let mut dog = cut_off();
        let lifted = [9, 17, 25].map(|second| dog.tried(false, true, at(second)));
        assert_eq!(lifted, [None, None, Some(Act::PutBack)]);
        // What is put back while the network is down is not blamed again, before it was reached.
        assert!(dog.blocked(at(26)) && dog.tried(false, true, at(60)).is_none());
        assert_eq!(dog.tried(true, true, at(90)), None);
        assert_eq!(dog.watch, Watch::On { until: at(150), failed: 0 });
    }

    #[test]
    fn nothing_is_lifted_where_the_network_was_never_reached() {
        let mut dog = Watchdog::default();
        assert!(dog.is_due(at(0)), "it is tried before anybody is blocked");
        for second in 0..100 {
            assert!(dog.blocked(at(second)));
            assert_eq!(dog.tried(false, true, at(second)), None);
        }
    }

    #[test]
    fn nothing_is_lifted_where_nobody_is_blocked() {
        let mut dog = reached();
        dog.blocked(at(0));
        assert_eq!([dog.tried(false, false, at(1)), dog.tried(false, false, at(4))], [None; 2]);
        assert_eq!(dog.watch, Watch::Down);
    }
}
