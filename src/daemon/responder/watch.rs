//! What the responder does from time to time: ends blocks, follows the host and the clocks, mends the table, tests the blocking.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slips_core::addr::Net;
use slips_firewall::{Error, Firewall, Health, Protected, SelfTest, Why};
use slips_store::Blocks;

use super::batch::MAX_CHANGES;
use super::told::SHADOWED;
use super::{Responder, micros};
use crate::daemon::clocks::Clocks;
use crate::daemon::entries;
use crate::daemon::protect::LOGIN_COUNTS;

/// How often the blocking itself is tried, and how soon after it failed.
const TEST_EVERY: Duration = Duration::from_secs(600);
const TEST_AGAIN: Duration = Duration::from_secs(30);
/// How often a login is written down while it lasts (microseconds), and how many protect at most.
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
        if protect {
            (self.ways.protect.ask)();
        }
        self.guard();
        self.mend();
        if self.unrestored && protect {
            self.restore();
        }
        self.catch_up();
        self.try_again();
        self.end_pause();
        self.test_blocking();
    }

    /// Notices at once what others do to our table, and asks who is protected when something changes about this host.
    pub(super) fn watch(&mut self) {
        let watched = self.firewall.as_mut().map(Firewall::watch).unwrap_or_default();
        if watched.host {
            (self.ways.protect.ask)();
        }
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
    pub(super) fn follow_clocks(&mut self) {
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
        self.date_all();
    }

    /// Tries at the start and every ten minutes whether blocking blocks, sooner when it did not.
    fn test_blocking(&mut self) {
        let now = (self.clocks.steady)();
        if now < self.next_test || self.paused.is_some() {
            return;
        }
        let tested = self.firewall().and_then(Firewall::self_test);
        let before = self.gauges.unhealthy.load(Ordering::Relaxed);
        // What cannot be told changes nothing about what was told last.
        let failed = match tested {
            Ok(SelfTest::Blocks) => false,
            Err(Error::NotBlocking) => true,
            _ => before,
        };
        self.next_test = now + if failed { TEST_AGAIN } else { TEST_EVERY };
        if failed != before {
            self.gauges.unhealthy.store(failed, Ordering::Relaxed);
            self.count();
        }
        let shadowed = matches!(tested, Ok(SelfTest::Shadowed));
        if shadowed && !self.shadowed {
            self.say(&entries::degraded(
                "the self-test",
                &format!("it cannot be told whether blocking blocks: {SHADOWED}"),
            ));
        }
        self.shadowed = shadowed;
        match tested {
            Err(Error::NotBlocking) if !before => self.say(&entries::not_blocking()),
            Err(Error::NotBlocking) => {}
            Err(error) => self.degraded("the self-test", &error),
            Ok(_) if before && !failed => {
                self.say(&entries::degraded("the self-test", "a blocked address is out of reach again"));
            }
            Ok(_) => {}
        }
    }

    /// Does what can wait for a moment in which nothing else does: takes out of the book alerts that the database has, and moves what is in
    /// the book's journal into the book when some has come together.
    pub(super) fn tidy(&mut self) {
        /// Fewer changes wait for more.
        const WORTH: usize = 512;
        self.forget_filed(MAX_CHANGES);
        if self.unsaved >= WORTH {
            self.unsaved = 0;
            self.in_book(Blocks::tidy);
        }
    }

    /// Lets everybody pass for a while; what is blocked stays known, and goes on to end.
    pub(super) fn pause(&mut self, for_: Duration) -> Result<(), Error> {
        self.firewall()?.set_paused(true)?;
        self.paused = Some((self.clocks.steady)().saturating_add(for_));
        self.count();
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
        self.count();
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

    /// Ends what is over, many at once.
    fn expire(&mut self) {
        let now = (self.clocks.steady)();
        loop {
            let (ended, marked) = self.standing.expire(now, MAX_CHANGES);
            if ended.is_empty() && marked.is_empty() {
                break;
            }
            // The kernel ends them by its own clock. Should it not have, they are let in; and who is held by somebody else is so in his name.
            let let_in: Vec<Net> = ended.iter().map(|(net, _)| net).chain(&marked).copied().collect();
            if let Err(error) = self.exchange(&let_in, &[]) {
                self.unrestored = true;
                self.degraded("the firewall", &error);
            }
            for (net, by) in ended {
                self.report_unblock(net, "its time is over");
                self.say_of(&by, &entries::unblock(net, "its time is over"));
            }
        }
        self.count();
    }

    /// Takes over who is protected, if that was found out anew.
    pub(super) fn guard(&mut self) {
        match (self.ways.protect.found)() {
            Some(Ok(protected)) => {
                self.standing.set_inside((self.ways.inside)());
                self.protect(protected);
            }
            // Whoever is protected stays so.
            Some(Err(error)) => self.degraded("the protected set", &error),
            None => {}
        }
    }

    pub(super) fn protect(&mut self, protected: Protected) {
        let protected = self.with_logins(protected);
        self.protected = protected.clone();
        let Some(firewall) = &mut self.firewall else { return };
        match firewall.set_protected(protected) {
            Ok(freed) => {
                self.cut_protected();
                for net in freed {
                    let why = self.protected.check(net).map(|(_, why)| format!("it is protected now: {why}"));
                    self.end_all(&[net], "protected", why.as_deref().unwrap_or("it is protected now"));
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
        let mut written = false;
        if noted {
            let came = now.iter().map(|addr| (*addr, wall));
            self.know_logins(came, wall);
            // With those that could not be written when they were there.
            let known = self.logins.clone();
            self.in_book(|book| {
                book.all(|book| known.iter().try_for_each(|(addr, at)| book.logged_in(*addr, *at)))?;
                written = true;
                Ok(())
            });
        }
        let mut lately = Vec::new();
        self.in_book(|book| {
            lately = book.logins(since(wall), MOST_LOGINS)?;
            Ok(())
        });
        self.know_logins(lately, wall);
        if noted {
            // What was not written is, the next time.
            (self.logged_in, self.login_noted) = (now, if written { wall } else { 0 });
        }
        for (addr, _) in &self.logins {
            protected.add_host(*addr, Why::Login);
        }
        protected
    }

    /// Remembers logins, as many and as long as they count: the book may be damaged, or its disk full.
    fn know_logins(&mut self, more: impl IntoIterator<Item = (IpAddr, i64)>, wall: i64) {
        for (addr, at) in more {
            match self.logins.iter_mut().find(|(known, _)| *known == addr) {
                Some((_, last)) => *last = at.max(*last),
                None => self.logins.push((addr, at)),
            }
        }
        self.logins.retain(|(_, last)| *last > since(wall));
        self.logins.sort_by_key(|(_, last)| std::cmp::Reverse(*last));
        self.logins.truncate(MOST_LOGINS as usize);
    }
}

/// Since when logins count.
const fn since(wall: i64) -> i64 {
    wall.saturating_sub(LOGIN_COUNTS as i64 * 1_000_000)
}
