//! Who of two daemons under one name acts: a pure state machine over what both write into one value of Redis.
//!
//! The one that acts writes each second, with a number that rises with each that takes the place of another, and a beat that rises with each
//! of its words for as long as it lives and longer: it begins with the wall clock, and is never lower than what was heard of others. A word is
//! newer than another of the same daemon if its number is higher, or its beat with the same number. Who stands by takes the place when nothing
//! newer was heard for some seconds, by its own clock, so that no two clocks have to agree. Nobody takes a place, and nobody leaves his, because Redis is not
//! there: two that block do no harm, one that comes and goes does.
//!
//! Whoever writes Redis and has no secret can show what was true before and take away what is true. An old word is no sign of life and no
//! farewell; that there is no word is silence, and no less is waited for than then.
//!
//! A machine may be the copy of another, identity and all: each run of a daemon has a number of its own by which it knows its own words.

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
/// Where he was never heard, and what is there cannot be read and does not change: no one writes it, with another secret than ours, each second.
pub const UNREAD: Duration = Duration::from_secs(30);
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
    Bad(&'a [u8]),
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
    /// Another one that lives has our identity, too: it is his, and we need [another](Post::rename).
    Twin,
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

/// What was heard of a daemon.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// Its highest number, and the highest beat with that.
    fence: u64,
    beat: u64,
    /// The highest beat with any.
    most: u64,
}

impl Heard {
    /// What a word with this number and beat is after that.
    const fn hears(&self, fence: u64, beat: u64) -> Word {
        // A lower number is of before, unless all was forgotten and he goes on from there: then the beat is the highest of all.
        let (is_higher, last) =
            if fence < self.fence { (false, self.most) } else { (fence > self.fence, self.beat) };
        if is_higher || beat > last {
            Word::New
        } else if beat == last {
            Word::Same
        } else {
            Word::Old
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Post {
    id: String,
    /// Which run of the daemon with this identity.
    run: u32,
    role: Role,
    fence: u64,
    over: String,
    beat: u64,
    /// What was heard of each other one.
    heard: BTreeMap<String, Heard>,
    /// Who was heard last.
    last: String,
    /// When that was, or when there was a connection again.
    since: Duration,
    /// When a word was seen first of which nobody knows how old it is.
    shown: Duration,
    /// Somebody was heard to speak.
    speaks: bool,
    /// What is there and cannot be read, and since when it is the same.
    unread: Option<(Vec<u8>, Duration)>,
}

impl Post {
    /// Of the daemon with this identity, in a run with a random number, which begins at this wall time, in milliseconds.
    pub fn new(id: String, run: u32, role: Role, wall: u64) -> Self {
        let (since, shown) = (Duration::ZERO, Duration::ZERO);
        let (over, last) = (String::new(), String::new());
        Self {
            id,
            run,
            role,
            fence: 0,
            over,
            beat: wall,
            heard: BTreeMap::new(),
            last,
            since,
            shown,
            speaks: false,
            unread: None,
        }
    }

    pub const fn role(&self) -> Role {
        self.role
    }

    /// There is a connection from now on.
    pub fn connected(&mut self, now: Duration) {
        (self.since, self.shown, self.unread) = (now, now, None);
    }

    /// From now on this daemon has another identity; the one before is another's.
    pub fn rename(&mut self, id: String) {
        self.id = id;
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
        if !matches!(seen, Seen::Bad(_)) {
            self.unread = None;
        }
        match (self.role, seen) {
            (Role::Active, Seen::Nothing | Seen::Bad(_)) => self.speak(),
            (Role::Active, Seen::Lease(lease)) => self.look_as_active(now, lease),
            (Role::Standby, Seen::Bad(text)) if !self.speaks => self.look_at_unread(now, text),
            (Role::Standby, Seen::Nothing | Seen::Bad(_)) => self.look_at_nothing(now),
            (Role::Standby, Seen::Lease(lease)) => self.look_as_standby(now, lease),
        }
    }

    fn look_as_active(&mut self, now: Duration, lease: &Lease) -> Step {
        if lease.holder == self.id {
            return self.look_at_ours_as_active(now, lease);
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
            return self.look_at_ours_as_standby(now, lease);
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

    /// Our own word, of this run or one before; or that of a copy of us, which lives if it speaks later than we did.
    fn look_at_ours_as_active(&mut self, now: Duration, lease: &Lease) -> Step {
        if lease.run != self.run {
            let is_later = self.fence > 0 && lease.beat > self.beat;
            let word = self.hear(now, lease);
            // Its place is taken: it stood still, or it was dead and is started anew.
            let was_dead = self.fence == 0 && lease.over == self.id;
            if (is_later || was_dead) && lease.fence > self.fence {
                (self.fence, self.role, self.since) = (lease.fence, Role::Standby, now);
                return Step::Yield;
            }
            // Of two that act the one finds it that began later: it heard the other before it spoke itself.
            if is_later && word == Word::New {
                return Step::Twin;
            }
        }
        self.beat = self.beat.max(lease.beat);
        if lease.fence >= self.fence {
            self.fence = lease.fence;
            self.over.clone_from(&lease.over);
        }
        self.speak()
    }

    /// The same for who stands by.
    fn look_at_ours_as_standby(&mut self, now: Duration, lease: &Lease) -> Step {
        let mut patience = SHOWN;
        if lease.run == self.run {
            self.beat = self.beat.max(lease.beat);
        } else {
            match self.hear(now, lease) {
                Word::New => return Step::Twin,
                Word::Old => return self.look_at_nothing(now),
                Word::First | Word::Same => {}
            }
            // Should a copy live, it is heard within the time of any other.
            patience = if lease.leaving { SHOWN } else { DEAD };
        }
        // Whoever took the place meanwhile writes over it.
        if lease.fence < self.fence {
            return self.look_at_nothing(now);
        }
        if now.saturating_sub(self.shown.max(self.since)) >= patience { self.take(lease) } else { Step::Rest }
    }

    /// What nobody of ours wrote is no word. While it changes, ours may be another secret than that of who acts, who then was never heard.
    fn look_at_unread(&mut self, now: Duration, text: &[u8]) -> Step {
        match &self.unread {
            Some((same, since)) if same == text => match now.saturating_sub(*since) >= UNREAD {
                true => self.look_at_nothing(now),
                false => Step::Rest,
            },
            _ => {
                self.unread = Some((text.to_vec(), now));
                Step::Rest
            }
        }
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
        self.beat = self.beat.max(lease.beat);
        let (fence, beat) = (lease.fence, lease.beat);
        let (word, before) = match self.heard.get(&lease.holder) {
            None => (Word::First, Heard { fence, beat, most: beat }),
            Some(before) => (before.hears(fence, beat), *before),
        };
        match word {
            Word::First => {
                if self.heard.len() >= MOST_HEARD {
                    self.heard.clear();
                }
                self.shown = now;
            }
            Word::New => (self.since, self.speaks) = (now, true),
            Word::Same => {}
            Word::Old => return Word::Old,
        }
        let of_number = if fence >= before.fence { (fence, beat) } else { (before.fence, before.beat) };
        let heard = Heard { fence: of_number.0, beat: of_number.1, most: before.most.max(beat) };
        self.heard.insert(lease.holder.clone(), heard);
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
        let (fence, run, beat) = (self.fence, self.run, self.beat);
        Lease { fence, holder, run, over, beat, leaving, ..Lease::default() }
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
mod tests;
