//! How long a shard waits at most while snapshots of a million indicators take each other's place: shards look things up without a pause, another
//! thread reads one snapshot after the other and puts it in the place of the last. Then the same without swaps, since a machine has other things
//! to do, too.
//!
//! `cargo run --release -p slips-intel --example swaps -- [SECONDS [SHARDS]]`
#![expect(clippy::expect_used, clippy::disallowed_methods, reason = "a measurement")]

#[path = "../benches/made/mod.rs"]
mod made;

use std::env::args;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use made::{Numbers, build, rows};
use nix::sys::resource::{UsageWho, getrusage};
use slips_core::intel::{Current, Intelligence, Key, Reader};
use slips_intel::Indicators;

/// Between two snapshots; a daemon takes one in five seconds at most.
const PAUSE: Duration = Duration::from_millis(20);
/// Gaps from here on are looked at more closely.
const LOOK: Duration = Duration::from_micros(20);
const PROBES: usize = 65_536;

/// What a shard saw.
#[derive(Clone, Copy, Default)]
struct Shard {
    lookups: u64,
    /// Snapshots that it went over to.
    taken: u64,
    /// The longest time from one look-up to the next in which no other program had its processor, and the longest of all.
    own: Duration,
    any: Duration,
    /// Gaps above a millisecond: own, and all.
    late: [u64; 2],
}

fn main() {
    let mut numbers = args().skip(1).map(|arg| arg.parse::<u64>().expect("a number"));
    let (seconds, shards) = (numbers.next().unwrap_or(20), numbers.next().unwrap_or(2));
    let mut file = Vec::new();
    build(&rows()).write_cache(&mut file, 1).expect("memory");
    let read = || Indicators::read_cache(&file[..], file.len() as u64, 1).expect("it was written");
    println!("{} indicators, {shards} shards, {seconds} s each", read().contents().total());
    for swaps in [false, true, false, true] {
        let current: Current = Current::new(Arc::new(read()));
        let stop = AtomicBool::new(false);
        let (seen, swapped) = thread::scope(|scope| {
            let look = |n: u64| {
                let reader = current.reader();
                let stop = &stop;
                scope.spawn(move || shard(n, reader, stop))
            };
            let all: Vec<_> = (0..shards).map(look).collect();
            let until = Instant::now() + Duration::from_secs(seconds);
            let mut swapped = 0;
            while Instant::now() < until {
                if swaps {
                    current.replace(Arc::new(read()));
                    current.sweep();
                    swapped += 1;
                }
                thread::sleep(PAUSE);
            }
            stop.store(true, Ordering::Relaxed);
            (all.into_iter().map(|one| one.join().expect("it ends")).collect::<Vec<_>>(), swapped)
        });
        println!("\n{swapped} swaps");
        for (n, shard) in seen.iter().enumerate() {
            let Shard { lookups, taken, own, any, late } = shard;
            println!(
                "shard {n}: {:.1} M look-ups/s, {taken} snapshots taken; longest gap {own:?} by itself, {any:?} with what else ran; above 1 ms: {} and {}",
                *lookups as f64 / seconds as f64 / 1e6,
                late[0],
                late[1]
            );
        }
    }
}

/// How often another program had this thread's processor. What it waits for by itself, a lock, is not in it.
fn pushed_aside() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).expect("Linux").involuntary_context_switches()
}

fn shard(seed: u64, mut reader: Reader<dyn Intelligence>, stop: &AtomicBool) -> Shard {
    let mut numbers = Numbers(seed + 7);
    let probes: Vec<IpAddr> = (0..PROBES).map(|_| numbers.v4()).collect();
    let (mut seen, mut found) = (Shard::default(), 0u64);
    let (mut before, mut last) = (pushed_aside(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        for addr in &probes {
            seen.taken += u64::from(reader.refresh());
            found += u64::from(reader.held().look_up(Key::Address(*addr)).is_some());
            let now = Instant::now();
            let gap = now - last;
            if gap < LOOK {
                last = now;
                continue;
            }
            let aside = pushed_aside();
            let late = u64::from(gap > Duration::from_millis(1));
            seen.any = seen.any.max(gap);
            seen.late[1] += late;
            if aside == before {
                seen.own = seen.own.max(gap);
                seen.late[0] += late;
            }
            before = aside;
            // The time of looking closely is nobody's.
            last = Instant::now();
        }
        seen.lookups += probes.len() as u64;
    }
    assert!(found > 0, "some are listed");
    seen
}
