//! Who of two daemons under one name acts: a pure state machine over what both write into one value of Redis.
//!
//! The one that acts writes each second, with a number that rises with each that takes the place of another, and a beat that rises with each
//! of its words for as long as it lives and longer: it begins with the wall clock. Who stands by takes the place when no higher beat was heard
//! for some seconds, by its own clock, so that no two clocks have to agree. Nobody takes a place, and nobody leaves his, because Redis is not
//! there: two that block do no harm, one that comes and goes does.
//!
//! Whoever writes Redis and has no secret can show what was true before and take away what is true. An old word is no sign of life and no
//! farewell; that there is no word is silence, and no less is waited for than then.

use std::collections::BTreeMap;
use std::time::Duration;

use slips_store::redis::Lease;

/// How often who acts says so.
pub const BEAT: Duration = Duration::from_secs(1);
/// How often the other looks.
pub const LOOK: Duration = Duration::from_millis(250);
/// After so long without a word who acted is dead; also when the connection is new, since his is there again within half of it.
pub const DEAD: Duration = Duration::from_secs(3);
/// The same where he was never heard: he may be about to begin.
pub const GRACE: Duration = Duration::from_secs(10);
/// What is seen first may be an old word that somebody shows: who acts writes over it within this time.
pub const SHOWN: Duration = Duration::from_millis(1500);
/// Daemons whose words are remembered: there are two of a name.
const MOST_HEARD: usize = 16;

/// Whether this one acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Active,
    Standby,
}

impl Role {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
        }
    }
}

/// What is there.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    Nothing,
    /// Something that nobody of ours wrote.
    Bad,
    Lease(&'a Lease),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Rest,
    /// To write this, if nothing else was written meanwhile.
    Write(Lease),
    /// The same, and then to act.
    Take(Lease),
    /// Another one took our place: not to act any more.
    Yield,
    /// Another one acts under our name who never took our place.
    Clash,
}

/// What a word is, measured by what was heard before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// The first that was heard of this one: nobody knows how old it is.
    First,
    /// He lives.
    New,
    /// The last one.
    Same,
    /// Said before the last one.
    Old,
}

/// See the module.
#[derive(Debug)]
pub struct Post {
    id: String,
    role: Role,
    fence: u64,
    over: String,
    beat: u64,
    /// The highest beat of each other one.
    heard: BTreeMap<String, u64>,
    /// Who was heard last.
    last: String,
    /// When that was, or when there was a connection again.
    since: Duration,
    /// When a word was seen first of which nobody knows how old it is.
    shown: Duration,
    /// Somebody was heard to speak.
    speaks: bool,
}

impl Post {
    /// Of the daemon with this identity, which begins at this wall time, in milliseconds.
    pub fn new(id: String, role: Role, wall: u64) -> Self {
        let (since, shown) = (Duration::ZERO, Duration::ZERO);
        let (over, last) = (String::new(), String::new());
        Self {
            id,
            role,
            fence: 0,
            over,
            beat: wall,
            heard: BTreeMap::new(),
            last,
            since,
            shown,
            speaks: false,
        }
    }

    pub const fn role(&self) -> Role {
        self.role
    }

    /// There is a connection from now on.
    pub const fn connected(&mut self, now: Duration) {
        (self.since, self.shown) = (now, now);
    }

    /// When to look again, after a look at `now`.
    pub const fn pause(&self) -> Duration {
        match self.role {
            Role::Active => BEAT,
            Role::Standby => LOOK,
        }
    }

    /// Looks at what is there.
    pub fn look(&mut self, now: Duration, seen: Seen<'_>) -> Step {
        match (self.role, seen) {
            (Role::Active, Seen::Nothing | Seen::Bad) => self.speak(),
            (Role::Active, Seen::Lease(lease)) => self.look_as_active(now, lease),
            // What nobody of ours wrote is no word; or ours is another secret than that of who acts, who then was never heard.
            (Role::Standby, Seen::Bad) if !self.speaks => Step::Rest,
            (Role::Standby, Seen::Nothing | Seen::Bad) => self.look_at_nothing(now),
            (Role::Standby, Seen::Lease(lease)) => self.look_as_standby(now, lease),
        }
    }

    fn look_as_active(&mut self, now: Duration, lease: &Lease) -> Step {
        if lease.holder == self.id {
            self.beat = self.beat.max(lease.beat);
            if lease.fence >= self.fence {
                self.fence = lease.fence;
                self.over.clone_from(&lease.over);
            }
            return self.speak();
        }
        if lease.fence < self.fence {
            return self.speak();
        }
        let word = self.hear(now, lease);
        if lease.over == self.id && word != Word::Old {
            (self.fence, self.role, self.since) = (lease.fence, Role::Standby, now);
            return Step::Yield;
        }
        if self.is_gone(now, word, lease) {
            (self.fence, self.over) = (lease.fence.saturating_add(1), lease.holder.clone());
            return self.speak();
        }
        if self.speaks { Step::Clash } else { Step::Rest }
    }

    fn look_as_standby(&mut self, now: Duration, lease: &Lease) -> Step {
        if lease.holder == self.id {
            // Our own word of before: whoever took the place meanwhile writes over it.
            self.beat = self.beat.max(lease.beat);
            let is_last =
                lease.fence >= self.fence && now.saturating_sub(self.shown.max(self.since)) >= SHOWN;
            return if is_last { self.take(lease) } else { self.look_at_nothing(now) };
        }
        let word = self.hear(now, lease);
        // A lower number is one of before the last change; unless somebody goes on to speak so, because all was forgotten.
        if word == Word::New || lease.fence > self.fence {
            self.fence = lease.fence;
        }
        if word == Word::Old || lease.fence < self.fence {
            return self.look_at_nothing(now);
        }
        if self.is_gone(now, word, lease) { self.take(lease) } else { Step::Rest }
    }

    /// Nothing is said by anybody.
    fn look_at_nothing(&self, now: Duration) -> Step {
        if now.saturating_sub(self.since) < self.patience() {
            return Step::Rest;
        }
        self.take(&Lease { fence: self.fence, holder: self.last.clone(), ..Lease::default() })
    }

    /// How long silence lasts until it is death.
    const fn patience(&self) -> Duration {
        if self.speaks { DEAD } else { GRACE }
    }

    /// Remembers what another one says, and tells how new it is.
    fn hear(&mut self, now: Duration, lease: &Lease) -> Word {
        let word = match self.heard.get(&lease.holder) {
            None => Word::First,
            Some(before) if lease.beat > *before => Word::New,
            Some(before) if lease.beat == *before => Word::Same,
            Some(_) => return Word::Old,
        };
        match word {
            Word::First => {
                if self.heard.len() >= MOST_HEARD {
                    self.heard.clear();
                }
                self.shown = now;
            }
            Word::New => (self.since, self.speaks) = (now, true),
            Word::Same | Word::Old => {}
        }
        self.heard.insert(lease.holder.clone(), lease.beat);
        self.last.clone_from(&lease.holder);
        word
    }

    /// Whether who wrote this is not there any more.
    fn is_gone(&self, now: Duration, word: Word, lease: &Lease) -> bool {
        if word == Word::New {
            return lease.leaving;
        }
        // A farewell that was heard as it was said is one; another may be of before.
        let said = lease.leaving && (self.speaks || now.saturating_sub(self.shown) >= SHOWN);
        said || now.saturating_sub(self.since.max(self.shown)) >= self.patience()
    }

    fn speak(&mut self) -> Step {
        self.fence = self.fence.max(1);
        self.beat = self.beat.saturating_add(1);
        Step::Write(self.lease(false))
    }

    fn take(&self, from: &Lease) -> Step {
        let (fence, beat) = (from.fence.saturating_add(1), self.beat.saturating_add(1));
        Step::Take(Lease { fence, beat, over: from.holder.clone(), ..self.lease(false) })
    }

    fn lease(&self, leaving: bool) -> Lease {
        let (holder, over) = (self.id.clone(), self.over.clone());
        Lease { fence: self.fence, holder, over, beat: self.beat, leaving, ..Lease::default() }
    }

    /// What was to be taken is ours.
    pub fn took(&mut self, lease: &Lease) {
        (self.fence, self.over, self.role) = (lease.fence, lease.over.clone(), Role::Active);
        self.beat = lease.beat;
    }

    /// The last word of one that acts.
    pub fn goodbye(&mut self) -> Option<Lease> {
        self.beat = self.beat.saturating_add(1);
        (self.role == Role::Active && self.fence > 0).then(|| self.lease(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Two daemons and the value that they share.
    struct Scene {
        value: Option<Lease>,
        active: Post,
        standby: Post,
    }

    impl Scene {
        fn new() -> Self {
            let active = Post::new("aa".into(), Role::Active, 0);
            let mut standby = Post::new("bb".into(), Role::Standby, 0);
            standby.connected(at(0));
            Self { value: None, active, standby }
        }

        fn look(value: &mut Option<Lease>, post: &mut Post, now: Duration) -> Step {
            let step = post.look(now, value.as_ref().map_or(Seen::Nothing, Seen::Lease));
            match &step {
                Step::Write(lease) => *value = Some(lease.clone()),
                Step::Take(lease) => {
                    *value = Some(lease.clone());
                    post.took(lease);
                }
                _ => {}
            }
            step
        }

        fn active(&mut self, now: Duration) -> Step {
            Self::look(&mut self.value, &mut self.active, now)
        }

        fn standby(&mut self, now: Duration) -> Step {
            Self::look(&mut self.value, &mut self.standby, now)
        }

        /// Both live so long.
        fn live(&mut self, from: u64, to: u64) {
            for now in (from..to).step_by(250) {
                if now % 1000 == 0 {
                    assert!(matches!(self.active(at(now)), Step::Write(_)));
                }
                assert_eq!(self.standby(at(now)), Step::Rest, "at {now}");
            }
        }
    }

    #[test]
    fn the_place_of_the_dead_is_taken_after_three_seconds_and_not_before() {
        let mut scene = Scene::new();
        scene.live(0, 20_000);
        // The last word was at 19 s.
        for now in (20_000..22_000).step_by(250) {
            assert_eq!(scene.standby(at(now)), Step::Rest);
        }
        let Step::Take(lease) = scene.standby(at(22_000)) else { panic!("taken") };
        assert_eq!((lease.fence, lease.holder.as_str(), lease.over.as_str()), (2, "bb", "aa"));
        assert_eq!(scene.standby.role(), Role::Active);
    }

    #[test]
    fn who_comes_back_stands_by_and_takes_the_place_back_when_the_other_dies() {
        let mut scene = Scene::new();
        scene.live(0, 5_000);
        assert!(matches!(scene.standby(at(7_250)), Step::Take(_)));
        assert_eq!(scene.active(at(7_500)), Step::Yield);
        assert_eq!(scene.active.role(), Role::Standby);
        // Neither comes and goes while both live.
        for now in (8_000..20_000).step_by(250) {
            assert!(matches!(scene.standby(at(now)), Step::Write(_)));
            assert_eq!(scene.active(at(now)), Step::Rest);
        }
        let Step::Take(lease) = scene.active(at(23_000)) else { panic!("taken") };
        assert_eq!((lease.fence, lease.over.as_str()), (3, "bb"));
    }

    #[test]
    fn who_has_left_its_place_does_not_take_it_back_because_somebody_deletes_what_is_there() {
        let mut scene = Scene::new();
        scene.live(0, 30_000);
        assert!(matches!(scene.standby(at(32_000)), Step::Take(_)));
        assert_eq!(scene.active(at(33_000)), Step::Yield);
        for now in [33_250, 35_750] {
            assert_eq!(scene.active.look(at(now), Seen::Nothing), Step::Rest, "at {now}");
        }
    }

    #[test]
    fn who_was_dead_and_is_started_anew_learns_it_at_once() {
        let mut scene = Scene::new();
        scene.live(0, 5_000);
        assert!(matches!(scene.standby(at(7_250)), Step::Take(_)));
        scene.active = Post::new("aa".into(), Role::Active, 7_300);
        assert_eq!(scene.active(at(7_300)), Step::Yield);
    }

    #[test]
    fn who_says_goodbye_is_followed_at_once() {
        let mut scene = Scene::new();
        scene.live(0, 5_000);
        scene.value = scene.active.goodbye();
        assert!(matches!(scene.standby(at(5_000)), Step::Take(_)));
    }

    #[test]
    fn who_restarts_where_nobody_stands_by_goes_on() {
        let mut scene = Scene::new();
        assert!(matches!(scene.active(at(0)), Step::Write(_)));
        scene.value = scene.active.goodbye();
        scene.active = Post::new("aa".into(), Role::Active, 7_300);
        let Step::Write(lease) = scene.active(at(0)) else { panic!("goes on") };
        assert_eq!((lease.fence, lease.leaving), (1, false));
    }

    #[test]
    fn a_redis_that_was_away_makes_nobody_take_a_place() {
        let mut scene = Scene::new();
        scene.live(0, 5_000);
        // It is away for a minute, the standby is back first; it has lost all or nothing.
        for (began, value) in [(65_000, None), (165_000, scene.value.clone())] {
            scene.value = value;
            scene.standby.connected(at(began));
            for now in (began..began + 2_000).step_by(250) {
                assert_eq!(scene.standby(at(now)), Step::Rest);
            }
            assert!(matches!(scene.active(at(began + 2_000)), Step::Write(_)));
            assert_eq!(scene.standby(at(began + 2_250)), Step::Rest);
            scene.live(began + 3_000, began + 10_000);
        }
    }

    #[test]
    fn who_dies_while_redis_is_away_is_followed_within_the_time_of_any_other() {
        let mut scene = Scene::new();
        scene.live(0, 5_000);
        let last = scene.value.clone();
        for value in [None, last] {
            let mut scene = Scene::new();
            scene.live(0, 5_000);
            scene.value = value;
            scene.standby.connected(at(65_000));
            assert_eq!(scene.standby(at(67_750)), Step::Rest);
            let Step::Take(lease) = scene.standby(at(68_000)) else { panic!("taken") };
            // So that the other one knows, should it live after all.
            assert_eq!((lease.fence, lease.over.as_str()), (2, "aa"));
        }
    }

    #[test]
    fn who_was_never_heard_has_longer() {
        let mut standby = Post::new("bb".into(), Role::Standby, 0);
        standby.connected(at(1_000));
        let lease = Lease { fence: 1, holder: "aa".into(), ..Lease::default() };
        for seen in [Seen::Nothing, Seen::Lease(&lease)] {
            assert_eq!(standby.look(at(1_000), seen), Step::Rest);
            assert_eq!(standby.look(at(10_750), seen), Step::Rest);
        }
        assert!(matches!(standby.look(at(11_000), Seen::Lease(&lease)), Step::Take(_)));
    }

    #[test]
    fn who_is_shown_its_own_last_word_after_a_restart_goes_on() {
        let mut standby = Post::new("bb".into(), Role::Standby, 0);
        standby.connected(at(0));
        let lease = Lease { fence: 4, holder: "bb".into(), over: "aa".into(), beat: 9, ..Lease::default() };
        assert_eq!(standby.look(at(1_250), Seen::Lease(&lease)), Step::Rest);
        let Step::Take(taken) = standby.look(at(1_500), Seen::Lease(&lease)) else { panic!("taken") };
        assert_eq!((taken.fence, taken.beat > 9), (5, true));
    }

    #[test]
    fn what_was_taken_away_is_no_death() {
        let mut scene = Scene::new();
        scene.live(0, 20_000);
        for now in (20_000..60_000).step_by(250) {
            if now % 1_000 == 0 {
                assert!(matches!(scene.active(at(now)), Step::Write(_)));
            }
            assert_eq!(scene.standby(at(now)), Step::Rest);
            // Somebody deletes it each time that it was looked at, but once in two seconds.
            scene.value = scene.value.take().filter(|_| now % 2_000 == 750);
        }
    }

    #[test]
    fn an_old_word_is_neither_a_sign_of_life_nor_a_farewell() {
        let mut scene = Scene::new();
        scene.live(0, 3_000);
        let farewell = Post::goodbye(&mut scene.active).expect("it acts");
        let old = [scene.value.clone().expect("a word"), farewell];
        scene.live(3_000, 10_000);
        // While it lives: it is not thought to leave.
        scene.value = Some(old[1].clone());
        assert_eq!(scene.standby(at(10_000)), Step::Rest);
        assert!(matches!(scene.active(at(10_000)), Step::Write(_)));
        assert_eq!(scene.standby(at(10_250)), Step::Rest);
        // When it is dead: whatever is shown by turns does not keep it alive.
        for now in (10_500..13_250).step_by(250) {
            scene.value = Some(old[usize::from(now % 500 == 0)].clone());
            assert_eq!(scene.standby(at(now)), Step::Rest, "at {now}");
        }
        assert!(
            matches!(scene.standby(at(13_250)), Step::Take(lease) if lease.fence == 2 && lease.over == "aa")
        );
    }

    #[test]
    fn two_of_one_name_that_never_took_each_others_place_both_act_and_say_so() {
        let mut scene = Scene::new();
        assert!(matches!(scene.active(at(0)), Step::Write(_)));
        let mut other = Post::new("cc".into(), Role::Active, 0);
        // What is there may be of one that is gone.
        assert_eq!(Scene::look(&mut scene.value, &mut other, at(0)), Step::Rest);
        assert!(matches!(scene.active(at(0)), Step::Write(_)));
        for now in (0..5_000).step_by(1000) {
            assert_eq!(Scene::look(&mut scene.value, &mut other, at(now)), Step::Clash);
            assert!(matches!(scene.active(at(now)), Step::Write(_)));
        }
        // The machine of the first was replaced.
        assert_eq!(Scene::look(&mut scene.value, &mut other, at(20_000)), Step::Clash);
        assert!(matches!(Scene::look(&mut scene.value, &mut other, at(23_000)), Step::Write(_)));
        assert_eq!(other.fence, 2);
    }

    #[test]
    fn what_is_old_or_forged_moves_nobody() {
        let mut scene = Scene::new();
        scene.live(0, 5_000);
        assert!(matches!(scene.standby(at(7_250)), Step::Take(_)));
        // Somebody writes what was true before.
        scene.value = Some(Lease { fence: 1, holder: "aa".into(), ..Lease::default() });
        assert!(matches!(scene.standby(at(8_000)), Step::Write(lease) if lease.fence == 2));
        assert!(matches!(scene.standby.look(at(9_000), Seen::Bad), Step::Write(_)));
        let mut third = Post::new("dd".into(), Role::Standby, 0);
        third.connected(at(0));
        assert_eq!(third.look(at(60_000), Seen::Bad), Step::Rest, "its secret may be another");
        // Who was heard is not kept alive by nonsense in his place.
        let mut scene = Scene::new();
        scene.live(0, 5_000);
        assert_eq!(scene.standby.look(at(6_750), Seen::Bad), Step::Rest);
        assert!(matches!(scene.standby.look(at(7_750), Seen::Bad), Step::Take(_)));
    }
}
