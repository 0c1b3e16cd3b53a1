//! How much memory the daemon may have, how large its tables are for that, and what is made smaller when it becomes short.

pub mod cgroup;
pub mod size;
mod squeeze;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slips_core::settings::Dial;

use self::cgroup::{Limits, MemoryLimit};
use self::size::{Budget, Rings, Sizes};
use self::squeeze::Squeeze;
use super::pulse::Pulse;
use crate::config::Config;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often free memory is given back while tables are smaller than usual: those who free it go on doing so meanwhile.
const TRIM_EVERY: Duration = Duration::from_secs(3);
/// How often it is given back at most otherwise, and then only where one part in so many came in since: a flood frees in other places than it
/// took from, and a third of what the process held after some millions of flows was free.
const TRIM_SELDOM: Duration = Duration::from_secs(10);
const TRIM_PART: u64 = 32;
/// When the start is over, and the pages of code that only it needed are given back: more than half of what an idle daemon holds.
const STARTED: Duration = Duration::from_secs(20);
/// Where nobody sets a limit, one part in so many of the machine's memory.
const PART: u64 = 4;

/// What the daemon may have.
#[derive(Clone, Debug)]
pub struct Memory {
    budget: Budget,
    /// Why it is so much, for people.
    why: String,
    /// The control group's, where it is the reason.
    limit: Option<MemoryLimit>,
    processors: Option<f64>,
}

impl Memory {
    /// As the configuration, the control group or the machine says.
    pub fn of(config: &Config) -> Self {
        Self::decide(config, Limits::own(), machine())
    }

    fn decide(config: &Config, Limits { memory, processors }: Limits, machine: Option<u64>) -> Self {
        let given = config.limits.memory.set().map(|amount| amount.0);
        let least = memory.as_ref().filter(|limit| given.is_none_or(|given| limit.bytes < given));
        let (bytes, set, why) = match (least, given, machine) {
            (Some(limit), ..) => (limit.bytes, true, limit.file.clone()),
            (None, Some(given), _) => (given, true, "limits.memory".to_owned()),
            (None, None, Some(machine)) => (
                machine / PART,
                false,
                format!("a quarter of the machine's, which has {} MiB", machine >> 20),
            ),
            (None, None, None) => (UNKNOWN, false, "nobody says how much there is".to_owned()),
        };
        let limit = least.cloned();
        Self { budget: Budget { bytes, set }, why, limit, processors }
    }

    /// The configuration with sizes for what is `auto`.
    pub fn fit(&self, config: &Config, rings: Rings) -> Sizes {
        size::fit(config, self.budget, rings)
    }

    /// What was chosen and why, for the journal.
    pub fn tell(&self, sized: &Config, shards: usize) -> String {
        let limits = sized.limits.engine();
        let ring = sized.capture.ring.set().map_or(0, |ring| ring.0 >> 20);
        let processors = match self.processors {
            Some(processors) => format!(", of {processors:.1} processors (cpu.max)"),
            None => String::new(),
        };
        format!(
            "{} MiB of memory may be used ({}): room for {} remote and {} local profiles, {} open findings, {} connections, {ring} MiB in \
             each ring; {shards} threads of detections{processors}",
            self.budget.bytes >> 20,
            self.why,
            limits.remote_profiles,
            limits.local_profiles,
            limits.open_evidence,
            sized.limits.flows(),
        )
    }

    /// What is in use, in bytes and in percent, and for how much of the last ten seconds somebody waited for memory.
    fn used(&self) -> (u64, u8, f64) {
        let limit = self.limit.as_ref();
        let bytes = limit.and_then(MemoryLimit::in_use).or_else(resident).unwrap_or(0);
        let percent = bytes.saturating_mul(100) / self.budget.bytes.max(1);
        (bytes, u8::try_from(percent).unwrap_or(u8::MAX), limit.map_or(0.0, MemoryLimit::waited))
    }
}

/// Follows how much memory is in use, and says how much of their size tables may use.
pub struct Watch {
    memory: Memory,
    squeeze: Squeeze,
    dial: Dial,
    looked: Option<Duration>,
    used: (u64, u8),
    /// When free memory was given back last, and what was in use then.
    trimmed: Option<(Duration, u64)>,
    /// From when on the pages that only the start needed are given back, until they were.
    settles: Option<Duration>,
}

impl Watch {
    /// Tables may use all of their size so far; `dial` is the engine's.
    pub fn new(memory: Memory, dial: Dial) -> Self {
        Self {
            memory,
            squeeze: Squeeze::default(),
            dial,
            looked: None,
            used: (0, 0),
            trimmed: None,
            settles: None,
        }
    }

    /// What is in use, in percent, as of the last look.
    pub const fn used(&self) -> u8 {
        self.used.1
    }

    /// What is in use, and what may be, in bytes, as of the last look.
    pub const fn bytes(&self) -> (u64, u64) {
        (self.used.0, self.memory.budget.bytes)
    }

    /// Looks, if it is time to; what changes, for the journal.
    pub fn look(&mut self, now: Duration, pulse: &Arc<Pulse>) -> Option<String> {
        if self.looked.is_some_and(|looked| now.saturating_sub(looked) < LOOK_EVERY) {
            return None;
        }
        if self.looked.is_none() {
            self.settles = Some(now.saturating_add(STARTED));
        }
        self.looked = Some(now);
        if self.settles.is_some_and(|settles| now >= settles) {
            self.settles = None;
            // Where the code cannot be found it stays: that costs memory, and nothing else.
            slips_systemd::heap::forget_code();
        }
        let (bytes, used, waited) = self.memory.used();
        self.used = (bytes, used);
        if is_to_trim(self.squeeze.is_tight(), self.trimmed, now, bytes) {
            slips_systemd::heap::trim();
            self.trimmed = Some((now, self.memory.used().0));
        }
        let before = self.squeeze.share();
        let share = self.squeeze.look(now, used, waited)?;
        self.dial.set_share(share);
        pulse.spared.store(100 - share, Ordering::Relaxed);
        if share < before {
            pulse.shrinks.fetch_add(1, Ordering::Relaxed);
        }
        let what = if share < before {
            "what can be had again is dropped, and the profiles idle longest are forgotten"
        } else {
            "there is room again"
        };
        let mib = self.memory.budget.bytes >> 20;
        Some(format!("{used} % of {mib} MiB are in use: tables may use {share} % of their size; {what}"))
    }
}

/// Whether free memory is to be given back, of which `bytes` are in use.
fn is_to_trim(is_tight: bool, trimmed: Option<(Duration, u64)>, now: Duration, bytes: u64) -> bool {
    let Some((at, left)) = trimmed else { return true };
    let rested = now.saturating_sub(at);
    let has_grown = bytes > left.saturating_add(left / TRIM_PART);
    if is_tight { rested >= TRIM_EVERY } else { rested >= TRIM_SELDOM && has_grown }
}

/// What the machine has.
fn machine() -> Option<u64> {
    nix::sys::sysinfo::sysinfo().ok().map(|machine| machine.ram_total())
}

/// What this process holds in memory, rings and files that it maps included.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten()?;
    Some(pages.saturating_mul(u64::try_from(size).ok()?))
}

/// What the unit would give us.
const UNKNOWN: u64 = 384 << 20;

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn decided(yaml: &str, group: Option<u64>, machine: Option<u64>) -> (u64, bool, String) {
        let config = Config::parse(Path::new("slips.yaml"), yaml).expect(yaml);
        let limit =
            |mib: u64| MemoryLimit { bytes: mib << 20, file: "/x/memory.high".into(), dir: PathBuf::new() };
        let limits = Limits { memory: group.map(limit), processors: None };
        let memory = Memory::decide(&config, limits, machine.map(|mib| mib << 20));
        (memory.budget.bytes >> 20, memory.budget.set, memory.why)
    }

    #[test]
    fn the_smaller_of_what_is_given_counts_and_else_a_quarter_of_the_machine() {
        let given = "limits:\n  memory: 200MiB\n";
        let of_group = |mib: u64| (mib, true, "/x/memory.high".to_owned());
        assert_eq!(decided("", Some(384), Some(1024)), of_group(384));
        assert_eq!(decided(given, Some(100), Some(1024)), of_group(100));
        assert_eq!(decided(given, Some(384), Some(1024)), (200, true, "limits.memory".into()));
        assert_eq!(decided(given, None, None), (200, true, "limits.memory".into()));
        let (mib, set, why) = decided("", None, Some(1024));
        assert_eq!((mib, set), (256, false));
        assert!(why.contains("1024 MiB"), "{why}");
        assert_eq!(decided("", None, None).0, 384);
    }

    #[test]
    fn what_was_chosen_is_told_with_its_reason() {
        let config = Config::parse(Path::new("slips.yaml"), "limits:\n  memory: 384MiB\n").expect("config");
        let limits = Limits { memory: None, processors: Some(1.5) };
        let memory = Memory::decide(&config, limits, None);
        let rings = Rings { planned: 2, later: 0, threads: 1, doubled: true };
        let told = memory.tell(&memory.fit(&config, rings).config, 1);
        assert_eq!(
            told,
            "384 MiB of memory may be used (limits.memory): room for 100000 remote and 65536 local profiles, 50000 open findings, 131072 \
             connections, 8 MiB in each ring; 1 threads of detections, of 1.5 processors (cpu.max)"
        );
    }

    #[test]
    fn free_memory_is_given_back_often_while_it_is_tight_and_else_when_it_grew() {
        let at = Duration::from_secs;
        let trimmed = Some((at(100), 3200));
        for (tight, now, bytes, expected) in [
            (true, 102, 9000, false),
            (true, 103, 0, true),
            (false, 109, 9000, false),
            (false, 110, 3300, false),
            (false, 110, 3301, true),
        ] {
            assert_eq!(is_to_trim(tight, trimmed, at(now), bytes), expected, "{tight} {now} {bytes}");
        }
        assert!(is_to_trim(false, None, at(0), 0), "after the start");
    }

    #[test]
    fn a_process_that_is_too_large_makes_tables_smaller_and_says_so() {
        let config = Config::parse(Path::new("slips.yaml"), "limits:\n  memory: 64MiB\n").expect("config");
        let mut memory = Memory::decide(&config, Limits::default(), None);
        // Whatever this test has, it is too much.
        memory.budget.bytes = 1;
        let (pulse, dial) = (Arc::new(Pulse::default()), Dial::default());
        let mut watch = Watch::new(memory, dial.clone());
        let told = watch.look(Duration::ZERO, &pulse).expect("a change");
        assert!(told.contains("25 % of their size"), "{told}");
        assert_eq!((dial.share(), pulse.share()), (25, 25));
        assert_eq!(watch.look(Duration::from_millis(500), &pulse), None);
        assert!(watch.used() > 100);
    }
}
