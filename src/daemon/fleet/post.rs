//! Who of two daemons under one name acts: a pure state machine over what both write into one value of Redis.
//!
//! The one that acts writes each second, with a number that rises with each that takes the place of another. Who stands by takes the place
//! when nothing was written for some seconds, by its own clock, so that no two clocks have to agree. Nobody takes a place, and nobody leaves
//! his, because Redis is not there: two that block do no harm, one that comes and goes does.

use std::time::Duration;

use slips_store::redis::Lease;

/// How often who acts says so.
pub const BEAT: Duration = Duration::from_secs(1);
/// How often the other looks.
pub const LOOK: Duration = Duration::from_millis(250);
/// After so long without a word who acted is dead,
pub const DEAD: Duration = Duration::from_secs(3);
/// or, where he was not heard since there is a connection: his may be made later than ours.
pub const GRACE: Duration = Duration::from_secs(10);

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

/// See the module.
#[derive(Debug)]
pub struct Post {
    id: String,
    role: Role,
    fence: u64,
    over: String,
    beat: u64,
    /// What another one wrote last, and when that was seen first.
    heard: Option<(Lease, Duration)>,
    /// He was heard to speak since there is a connection; since when there is one.
    speaks: bool,
    since: Duration,
}

impl Post {
    /// Of the daemon with this identity.
    pub fn new(id: String, role: Role) -> Self {
        let since = Duration::ZERO;
        Self { id, role, fence: 0, over: String::new(), beat: 0, heard: None, speaks: false, since }
    }

    pub const fn role(&self) -> Role {
        self.role
    }

    /// There is a connection from now on.
    pub fn connected(&mut self, now: Duration) {
        (self.heard, self.speaks, self.since) = (None, false, now);
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
            (Role::Standby, Seen::Bad) => Step::Rest,
            (Role::Standby, Seen::Nothing) if now.saturating_sub(self.since) < GRACE => Step::Rest,
            (Role::Standby, Seen::Nothing) => self.take(&Lease { fence: self.fence, ..Lease::default() }),
            (Role::Standby, Seen::Lease(lease)) => self.look_as_standby(now, lease),
        }
    }

    fn look_as_active(&mut self, now: Duration, lease: &Lease) -> Step {
        if lease.holder == self.id {
            self.fence = self.fence.max(lease.fence);
            self.over.clone_from(&lease.over);
            return self.speak();
        }
        if lease.fence < self.fence {
            return self.speak();
        }
        if lease.over == self.id {
            self.fence = lease.fence;
            self.role = Role::Standby;
            self.heard = None;
            return Step::Yield;
        }
        if self.is_gone(now, lease) {
            (self.fence, self.over) = (lease.fence.saturating_add(1), lease.holder.clone());
            return self.speak();
        }
        if self.speaks { Step::Clash } else { Step::Rest }
    }

    fn look_as_standby(&mut self, now: Duration, lease: &Lease) -> Step {
        if lease.fence < self.fence {
            // What was written before the last change, or by nobody of ours; unless somebody goes on to speak so, because all was forgotten.
            let is_gone = self.is_gone(now, lease);
            if self.speaks && !is_gone {
                self.fence = lease.fence;
            }
            return Step::Rest;
        }
        self.fence = lease.fence;
        if lease.holder == self.id || self.is_gone(now, lease) {
            return self.take(lease);
        }
        Step::Rest
    }

    /// Whether who wrote this is not there any more.
    fn is_gone(&mut self, now: Duration, lease: &Lease) -> bool {
        let since = match &self.heard {
            Some((heard, since)) if heard == lease => *since,
            before => {
                self.speaks |= before.is_some();
                self.heard = Some((lease.clone(), now));
                now
            }
        };
        let silent = now.saturating_sub(since);
        lease.leaving || silent >= if self.speaks { DEAD } else { GRACE }
    }

    fn speak(&mut self) -> Step {
        self.fence = self.fence.max(1);
        self.beat = self.beat.wrapping_add(1);
        Step::Write(self.lease(false))
    }

    fn take(&self, from: &Lease) -> Step {
        let fence = from.fence.saturating_add(1);
        Step::Take(Lease { fence, over: from.holder.clone(), ..self.lease(false) })
    }

    fn lease(&self, leaving: bool) -> Lease {
        let (holder, over) = (self.id.clone(), self.over.clone());
        Lease { fence: self.fence, holder, over, beat: self.beat, leaving, ..Lease::default() }
    }

    /// What was to be taken is ours.
    pub fn took(&mut self, lease: &Lease) {
        (self.fence, self.over, self.role) = (lease.fence, lease.over.clone(), Role::Active);
        self.heard = None;
    }

    /// The last word of one that acts.
    pub fn goodbye(&self) -> Option<Lease> {
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
            let active = Post::new("aa".into(), Role::Active);
            let mut standby = Post::new("bb".into(), Role::Standby);
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
    fn who_was_dead_and_is_started_anew_learns_it_at_once() {
        let mut scene = Scene::new();
        scene.live(0, 5_000);
        assert!(matches!(scene.standby(at(7_250)), Step::Take(_)));
        scene.active = Post::new("aa".into(), Role::Active);
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
        scene.active = Post::new("aa".into(), Role::Active);
        let Step::Write(lease) = scene.active(at(0)) else { panic!("goes on") };
        assert_eq!((lease.fence, lease.leaving), (1, false));
    }

    #[test]
    fn a_redis_that_was_away_makes_nobody_take_a_place() {
        let mut scene = Scene::new();
        scene.live(0, 5_000);
        // It is away for a minute, the standby is back first; it has lost all or nothing.
        for value in [None, scene.value.clone()] {
            scene.value = value;
            scene.standby.connected(at(65_000));
            for now in (65_000..74_000).step_by(250) {
                assert_eq!(scene.standby(at(now)), Step::Rest);
            }
            assert!(matches!(scene.active(at(74_000)), Step::Write(_)));
            assert_eq!(scene.standby(at(74_250)), Step::Rest);
        }
    }

    #[test]
    fn two_of_one_name_that_never_took_each_others_place_both_act_and_say_so() {
        let mut scene = Scene::new();
        assert!(matches!(scene.active(at(0)), Step::Write(_)));
        let mut other = Post::new("cc".into(), Role::Active);
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
        let mut third = Post::new("dd".into(), Role::Standby);
        third.connected(at(0));
        assert_eq!(third.look(at(60_000), Seen::Bad), Step::Rest);
    }
}
