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
        let active = Post::new("aa".into(), 1, Role::Active, 0);
        let mut standby = Post::new("bb".into(), 1, Role::Standby, 0);
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
    scene.active = Post::new("aa".into(), 2, Role::Active, 7_300);
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
    scene.active = Post::new("aa".into(), 2, Role::Active, 7_300);
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
    let mut standby = Post::new("bb".into(), 1, Role::Standby, 0);
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
    let mut standby = Post::new("bb".into(), 1, Role::Standby, 0);
    standby.connected(at(0));
    let lease = Lease { fence: 4, holder: "bb".into(), over: "aa".into(), beat: 9, ..Lease::default() };
    // It may be of one that lives and whose copy this is.
    assert_eq!(standby.look(at(250), Seen::Lease(&lease)), Step::Rest);
    assert_eq!(standby.look(at(3_000), Seen::Lease(&lease)), Step::Rest);
    let Step::Take(taken) = standby.look(at(3_250), Seen::Lease(&lease)) else { panic!("taken") };
    assert_eq!((taken.fence, taken.beat > 9), (5, true));
    // A farewell is waited for less.
    let mut standby = Post::new("bb".into(), 2, Role::Standby, 0);
    standby.connected(at(0));
    let lease = Lease { leaving: true, ..lease };
    assert_eq!(standby.look(at(0), Seen::Lease(&lease)), Step::Rest);
    assert!(matches!(standby.look(at(1_500), Seen::Lease(&lease)), Step::Take(_)));
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
    assert!(matches!(scene.standby(at(13_250)), Step::Take(lease) if lease.fence == 2 && lease.over == "aa"));
}

#[test]
fn two_of_one_name_that_never_took_each_others_place_both_act_and_say_so() {
    let mut scene = Scene::new();
    assert!(matches!(scene.active(at(0)), Step::Write(_)));
    let mut other = Post::new("cc".into(), 1, Role::Active, 0);
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
    assert!(matches!(scene.standby.look(at(9_000), Seen::Bad(b"?")), Step::Write(_)));
    let mut third = Post::new("dd".into(), 1, Role::Standby, 0);
    third.connected(at(0));
    assert_eq!(third.look(at(60_000), Seen::Bad(b"?")), Step::Rest, "its secret may be another");
    // Who was heard is not kept alive by nonsense in his place.
    let mut scene = Scene::new();
    scene.live(0, 5_000);
    assert_eq!(scene.standby.look(at(6_750), Seen::Bad(b"?")), Step::Rest);
    assert!(matches!(scene.standby.look(at(7_750), Seen::Bad(b"?")), Step::Take(_)));
}

/// The standby is a copy of the first one's disk.
fn copied(role: Role) -> Scene {
    let mut scene = Scene::new();
    scene.standby = Post::new("aa".into(), 2, role, 0);
    scene.standby.connected(at(0));
    scene
}

#[test]
fn a_copy_that_stands_by_takes_no_place_of_one_that_lives_and_has_another_identity_from_then_on() {
    let mut scene = copied(Role::Standby);
    assert!(matches!(scene.active(at(0)), Step::Write(_)));
    for now in (0..1000).step_by(250) {
        assert_eq!(scene.standby(at(now)), Step::Rest);
    }
    assert!(matches!(scene.active(at(1000)), Step::Write(_)));
    assert_eq!(scene.standby(at(1000)), Step::Twin);
    scene.standby.rename("bb".into());
    scene.live(2_000, 20_000);
    let Step::Take(lease) = scene.standby(at(22_000)) else { panic!("taken") };
    assert_eq!((lease.holder.as_str(), lease.over.as_str(), lease.fence), ("bb", "aa", 2));
    assert_eq!(scene.active(at(22_250)), Step::Yield);
}

#[test]
fn who_finds_its_place_taken_by_its_copy_yields() {
    let mut scene = copied(Role::Standby);
    assert!(matches!(scene.active(at(0)), Step::Write(_)));
    assert_eq!(scene.standby(at(0)), Step::Rest);
    // The first stood still for so long.
    assert!(matches!(scene.standby(at(3_000)), Step::Take(_)));
    assert_eq!(scene.active(at(3_250)), Step::Yield);
    assert!(matches!(scene.standby(at(4_000)), Step::Write(_)));
    assert_eq!(scene.active(at(4_000)), Step::Twin);
    scene.active.rename("cc".into());
    assert_eq!(scene.active(at(4_250)), Step::Rest);
    // It was dead meanwhile.
    let mut active = Post::new("aa".into(), 3, Role::Active, 0);
    assert_eq!(Scene::look(&mut scene.value, &mut active, at(4_500)), Step::Yield);
    assert!(matches!(scene.standby(at(5_000)), Step::Write(_)));
    assert_eq!(Scene::look(&mut scene.value, &mut active, at(5_000)), Step::Twin);
}

#[test]
fn of_two_copies_that_act_the_later_has_another_identity_and_both_say_no_more_than_two_of_one_name() {
    let mut scene = copied(Role::Active);
    assert!(matches!(scene.active(at(0)), Step::Write(_)));
    assert!(matches!(scene.standby(at(500)), Step::Write(_)));
    assert!(matches!(scene.active(at(1000)), Step::Write(_)));
    assert_eq!(scene.standby(at(1500)), Step::Twin);
    scene.standby.rename("bb".into());
    for now in (2000..6000).step_by(1000) {
        assert!(matches!(scene.active(at(now)), Step::Write(_)));
        assert_eq!(scene.standby(at(now + 500)), Step::Clash);
    }
}

#[test]
fn who_took_a_place_lawfully_with_its_clock_back_keeps_it() {
    let mut scene = Scene::new();
    scene.active = Post::new("aa".into(), 1, Role::Active, 1_000_000);
    scene.live(0, 5_000);
    assert!(matches!(scene.standby(at(7_250)), Step::Take(_)));
    // The first is started anew, at another time, and the second is suspended.
    scene.active = Post::new("aa".into(), 2, Role::Active, 0);
    assert_eq!(scene.active(at(7_300)), Step::Yield);
    assert!(matches!(scene.active(at(20_000)), Step::Take(_)));
    assert_eq!(scene.standby(at(30_000)), Step::Yield);
    // The same where nothing of the others was there to be read: the number alone says it.
    let heard = Heard { fence: 1, beat: 1_000_000, most: 1_000_000 };
    let words = [(3, 5), (2, 0), (1, 1_000_001), (1, 1_000_000), (1, 999_999), (0, 5)];
    let expected = [Word::New, Word::New, Word::New, Word::Same, Word::Old, Word::Old];
    assert_eq!(words.map(|(fence, beat)| heard.hears(fence, beat)), expected);
}

#[test]
fn a_beat_is_never_lower_than_what_was_heard() {
    let mut standby = Post::new("bb".into(), 1, Role::Standby, 0);
    let lease = Lease { fence: 1, holder: "aa".into(), beat: 7_000, ..Lease::default() };
    assert_eq!(standby.look(at(1_000), Seen::Lease(&lease)), Step::Rest);
    assert!(matches!(standby.look(at(11_000), Seen::Lease(&lease)), Step::Take(lease) if lease.beat > 7_000));
}

#[test]
fn old_words_by_turns_are_never_new_again() {
    let mut post = Post::new("bb".into(), 1, Role::Standby, 0);
    let lease = |fence, beat| Lease { fence, beat, holder: "aa".into(), ..Lease::default() };
    // All was forgotten once, so both a high number with a low beat and the other way round are true words.
    let all = [lease(5, 100), lease(5, 120), lease(1, 200), lease(1, 210), lease(2, 300)];
    let words = all.each_ref().map(|lease| post.hear(at(0), lease));
    assert_eq!(words, [Word::First, Word::New, Word::New, Word::New, Word::New]);
    for _ in 0..3 {
        assert!(all.iter().all(|lease| matches!(post.hear(at(0), lease), Word::Old | Word::Same)));
    }
}

#[test]
fn what_cannot_be_read_and_never_changes_is_silence_in_the_end() {
    let mut standby = Post::new("bb".into(), 1, Role::Standby, 0);
    standby.connected(at(0));
    for now in (0..30_000).step_by(250) {
        assert_eq!(standby.look(at(now), Seen::Bad(b"junk")), Step::Rest, "at {now}");
    }
    assert!(matches!(standby.look(at(30_000), Seen::Bad(b"junk")), Step::Take(_)));
    // One that speaks with another secret than ours.
    let mut standby = Post::new("bb".into(), 1, Role::Standby, 0);
    standby.connected(at(0));
    for now in (0..300_000_u64).step_by(250) {
        let text = (now / 1000).to_be_bytes();
        assert_eq!(standby.look(at(now), Seen::Bad(&text)), Step::Rest, "at {now}");
    }
}
