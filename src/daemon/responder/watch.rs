//! What the responder does from time to time: ends blocks, follows the host and the clocks, mends the table, tests the blocking.

use std::sync::atomic::Ordering;
use std::time::Duration;

use slips_core::addr::Net;
use slips_firewall::{Error, Firewall, Health, Protected, Why};

use super::{Responder, micros};
use crate::daemon::clocks::Clocks;
use crate::daemon::entries;

/// How often the blocking itself is tried, and how soon after it failed.
const TEST_EVERY: Duration = Duration::from_secs(600);
const TEST_AGAIN: Duration = Duration::from_secs(30);
/// How long a login protects, how often it is written down while it lasts (microseconds), and how many do at most.
const LOGIN_COUNTS: i64 = 14 * 86_400 * 1_000_000;
const NOTE_LOGIN_EVERY: u64 = 3600 * 1_000_000;
const MOST_LOGINS: u32 = 16;
/// Clocks that go apart by less are not worth a word.
const NOTICEABLE: Duration = Duration::from_secs(2);

/// What the clocks said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readings {
    steady: Duration,
    awake: Duration,
    wall: i64,
}

impl Readings {
    pub(super) fn of(clocks: &Clocks) -> Self {
        Self { steady: (clocks.steady)(), awake: (clocks.awake)(), wall: (clocks.wall)() }
    }
}

impl Responder {
    /// What is to be done from time to time; with `protect`, who is never blocked is found out anew.
    pub(super) fn look_after(&mut self, protect: bool) {
        self.follow_clocks();
        self.expire();
        if protect || std::mem::take(&mut self.host_changed) {
            self.protect_anew();
        }
        self.mend();
        if self.unrestored && protect {
            self.restore();
        }
        self.try_again();
        self.end_pause();
        self.test_blocking();
    }

    /// Notices at once what others do to our table, and keeps in mind what changes about this host.
    pub(super) fn watch(&mut self) {
        let watched = self.firewall.as_mut().map(Firewall::watch).unwrap_or_default();
        self.host_changed |= watched.host;
        if watched.disturbed {
            self.mend();
        }
    }

    /// Looks whether all that blocks is there, and sets anew what is not.
    fn mend(&mut self) {
        let health = self.firewall.as_mut().map(Firewall::verify);
        self.unmended = matches!(health, Some(Err(_)));
        match health {
            Some(Ok(Health::Rebuilt)) => {
                self.complain(
                    "the firewall",
                    "another program changed our table; it and all blocks are set anew",
                );
                self.restore();
            }
            Some(Err(error)) => self.degraded("the firewall", &error),
            Some(Ok(Health::Intact)) | None => {}
        }
    }

    /// The kernel's timeouts stand still while the machine sleeps, and the book's times are those of the wall: after a sleep the kernel is
    /// told again, after a step of the wall clock the book.
    fn follow_clocks(&mut self) {
        let now = Readings::of(&self.clocks);
        let before = std::mem::replace(&mut self.readings, now);
        let steady = now.steady.saturating_sub(before.steady);
        let slept = steady.saturating_sub(now.awake.saturating_sub(before.awake));
        if slept >= NOTICEABLE {
            self.restore();
        }
        let passed = now.wall.saturating_sub(before.wall);
        if passed.saturating_sub(micros(steady)).unsigned_abs() < NOTICEABLE.as_micros() as u64 {
            return;
        }
        let standing: Vec<_> = self.standing.values().filter_map(|block| Some((block.id?, *block))).collect();
        self.in_book(|book| {
            for (id, block) in standing {
                let left = micros(block.until.saturating_sub(now.steady));
                let stood = micros(now.steady.saturating_sub(block.since));
                book.date(id, now.wall.saturating_sub(stood), now.wall.saturating_add(left))?;
            }
            Ok(())
        });
    }

    /// Tries at the start and every ten minutes whether blocking blocks, sooner when it did not.
    fn test_blocking(&mut self) {
        let now = (self.clocks.steady)();
        if now < self.next_test || self.paused.is_some() {
            return;
        }
        let tested = self.firewall().and_then(Firewall::self_test);
        let failed = matches!(tested, Err(Error::NotBlocking));
        self.next_test = now + if failed { TEST_AGAIN } else { TEST_EVERY };
        let before = self.gauges.unhealthy.swap(failed, Ordering::Relaxed);
        match tested {
            Err(Error::NotBlocking) => {
                if !before {
                    self.say(&entries::not_blocking());
                }
            }
            Err(error) => self.degraded("the self-test", &error),
            Ok(_) if before => {
                self.say(&entries::degraded("the self-test", "a blocked address is out of reach again"));
            }
            Ok(_) => {}
        }
    }

    /// Lets everybody pass for a while; what is blocked stays known, and goes on to end.
    pub(super) fn pause(&mut self, for_: Duration) -> Result<(), Error> {
        self.firewall()?.set_paused(true)?;
        self.paused = Some((self.clocks.steady)().saturating_add(for_));
        let text = format!("paused by hand for {} s: nobody is kept out", for_.as_secs());
        self.say(&entries::degraded("blocking", &text));
        Ok(())
    }

    /// Blocks again; whether it had been paused.
    pub(super) fn resume(&mut self) -> Result<bool, Error> {
        if self.paused.is_none() {
            return Ok(false);
        }
        self.firewall()?.set_paused(false)?;
        self.paused = None;
        self.say(&entries::degraded("blocking", "goes on after a pause"));
        Ok(true)
    }

    fn end_pause(&mut self) {
        let now = (self.clocks.steady)();
        if self.paused.is_some_and(|until| until <= now)
            && let Err(error) = self.resume()
        {
            self.degraded("the firewall", &error);
        }
    }

    fn expire(&mut self) {
        let now = (self.clocks.steady)();
        let ended: Vec<Net> =
            self.standing.iter().filter(|(_, block)| block.until <= now).map(|(net, _)| *net).collect();
        for net in ended {
            self.standing.remove(&net);
            // The kernel ends it by its own clock. Should it not have, it is let in, unless another block covers it.
            let left = self.firewall.as_mut().map_or(Ok(None), |firewall| firewall.left(net));
            let let_in = match left {
                Ok(Some(_)) if !self.standing.keys().any(|other| other.overlaps(net)) => {
                    self.firewall().and_then(|firewall| firewall.unblock(net)).map(drop)
                }
                other => other.map(drop),
            };
            if let Err(error) = let_in {
                self.degraded("the firewall", &error);
            }
            self.journal.send(&entries::unblock(net, "its time is over"));
        }
        self.next_end = self.standing.values().map(|block| block.until).min().unwrap_or(Duration::MAX);
        self.count();
    }

    pub(super) fn protect_anew(&mut self) {
        let protected = match (self.ways.protect)() {
            Ok(protected) => protected,
            // Whoever is protected stays so.
            Err(error) => {
                self.degraded("the protected set", &error);
                return;
            }
        };
        let protected = self.with_logins(protected);
        self.protected = protected.clone();
        let Some(firewall) = &mut self.firewall else { return };
        match firewall.set_protected(protected) {
            Ok(freed) => {
                for net in freed {
                    self.end(net, "it is protected now");
                }
            }
            Err(error) => self.degraded("the firewall", &error),
        }
    }

    /// Remembers who is logged in, and adds those who lately were: an administrator who comes back from the same place must not find
    /// himself locked out. A connection that may be a login is not remembered: it may be a guesser's.
    pub(super) fn with_logins(&mut self, mut protected: Protected) -> Protected {
        let wall = (self.clocks.wall)();
        let now: Vec<_> =
            protected.iter().filter(|(_, why)| *why == Why::Session).map(|(net, _)| net.addr()).collect();
        let noted =
            now != self.logged_in || wall.saturating_sub(self.login_noted).unsigned_abs() > NOTE_LOGIN_EVERY;
        let mut lately = Vec::new();
        self.in_book(|book| {
            if noted {
                for addr in &now {
                    book.logged_in(*addr, wall)?;
                }
            }
            lately = book.logins(wall.saturating_sub(LOGIN_COUNTS), MOST_LOGINS)?;
            Ok(())
        });
        if noted {
            (self.logged_in, self.login_noted) = (now, wall);
        }
        for addr in lately {
            protected.add_host(addr, Why::Login);
        }
        protected
    }
}
