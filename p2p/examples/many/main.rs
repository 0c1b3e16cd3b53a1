//! What many nodes cost and how fast they are: the figures of docs/performance.md.
//!
//!     cargo run -p slips-p2p --example many --release
//!
//! Runs one part after the other, each in a process of its own, and prints one line for each. What is measured of time depends on
//! what else the machine does: its load stands beside.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program for the developer's desk"
)]

mod crowd;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use crowd::Crowd;
use slips_p2p::envelope::{Head, seal};
use slips_p2p::gate::{Gate, Path, Verdict};
use slips_p2p::identity::NetId;
use slips_p2p::members::Members;
use slips_p2p::message::Message;
use slips_p2p::moment::Clock;
use slips_p2p::node::Limits;
use support::{memory, open_limits};
use tokio::time::Instant;

const PARTS: [&str; 8] =
    ["spread-10", "spread-50", "spread-50-mute", "spread-100", "spread-100-mute", "speed", "burst", "idle"];

fn main() {
    let part = std::env::args().nth(1);
    let Some(part) = part else {
        let program = std::env::current_exe().expect("a program");
        for part in PARTS {
            let status = std::process::Command::new(&program).arg(part).status();
            assert!(status.expect("a process").success(), "{part}");
        }
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let line = match part.as_str() {
        "speed" => runtime.block_on(speed()),
        "burst" => runtime.block_on(burst()),
        // A node has one thread in the daemon, too.
        "idle" => {
            let one = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            one.block_on(idle())
        }
        "neighbour" => return runtime.block_on(neighbour()),
        spread => {
            let mut words = spread.split('-').skip(1);
            let count = words.next().and_then(|count| count.parse().ok()).expect("spread-COUNT[-mute]");
            runtime.block_on(spread_over(count, words.next().is_some()))
        }
    };
    println!("{part} (load {load}): {line}");
}

async fn spread_over(count: u16, mute: bool) -> String {
    let mut crowd = Crowd::gather(count, mute, limits(), &support::clock()).await;
    // So long until everybody stands in the mesh of somebody.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let spread = crowd.spread(100).await;
    let share = 100.0 * spread.heard as f64 / spread.wanted as f64;
    format!(
        "{} of {} deliveries ({share:.2} %), p50 {:.1?}, p99 {:.1?}, longest {:.1?}; {:.1} MiB for all",
        spread.heard,
        spread.wanted,
        spread.p50,
        spread.p99,
        spread.longest,
        memory().0 as f64 / (1 << 20) as f64
    )
}

fn limits() -> Limits {
    // What is missing is asked for as seldom as by default, so that the figures are gossip's.
    Limits { resync: Duration::from_secs(20), ..open_limits() }
}

/// Ten bursts of 2000 from one node to the other, and what the door of a node alone judges.
async fn speed() -> String {
    const ROUNDS: usize = 10;
    let mut crowd = Crowd::gather(2, false, limits(), &support::clock()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (mut heard, mut took) = (0, Duration::ZERO);
    for round in 0..ROUNDS {
        let (counts, time) = crowd.burst(round * 2000, 2000).await;
        heard += counts[0];
        took += time;
    }
    let rate = heard as f64 / took.as_secs_f64();
    format!(
        "{heard} of {} reports signed, sent and validated in {took:.2?}: {rate:.0}/s from node to node; {}",
        ROUNDS * 2000,
        judge()
    )
}

/// The door alone: decoding, membership, window, signature, quota.
fn judge() -> String {
    const COUNT: u64 = 10_000;
    let clock = Clock { now: support::START, synced: true };
    let seal_one = |seq| {
        let net = NetId::of(&support::PSK);
        let head =
            Head { net, author: support::id(1), epoch: 1, seq, issued: support::START, ttl: support::DAY };
        seal(&head, &Message::Report(support::report(support::accused(seq as usize))), &support::key(1))
    };
    let envelopes: Vec<Vec<u8>> = (1..=COUNT).map(seal_one).collect();
    let mut members = Members::default();
    members.add(support::id(1), support::peer(None)).expect("room");
    let mut gate = Gate::new(NetId::of(&support::PSK), support::id(0), open_limits().quotas);
    let before = ticks();
    let taken = envelopes
        .iter()
        .filter(|bytes| matches!(gate.judge(bytes, Path::Gossip, &members, clock), Verdict::Accept(_)));
    let taken = taken.count();
    let seconds = (ticks() - before).max(1) as f64 / 100.0;
    format!("the door alone: {taken} in {seconds:.2} s of processor, {:.0}/s", taken as f64 / seconds)
}

async fn burst() -> String {
    let mut crowd = Crowd::gather(10, false, limits(), &support::clock()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (heard, took) = crowd.burst(0, 2000).await;
    format!("2000 at once, heard by nine others: {heard:?} in {took:.2?}")
}

/// The other side of the idle node, in a process of its own: five neighbours with the limits of every day.
async fn neighbour() {
    let clock = support::clock();
    let line = std::io::stdin().lines().next().expect("an address").expect("an address");
    let mut nodes = Vec::new();
    for n in 1..=5 {
        let mut members = Members::default();
        for other in (0..=5).filter(|other| *other != n) {
            let address = (other == 0).then_some(line.as_str());
            members.add(support::id(other), support::peer(address)).expect("room");
        }
        nodes.push(crowd::One::start(n, false, members, every_day(), &clock).await);
    }
    // Until the parent ends.
    let mut rest = String::new();
    let _ = std::io::Read::read_to_string(&mut std::io::stdin(), &mut rest);
}

fn every_day() -> Limits {
    Limits { many_per_address: true, memory: usize::MAX, ..Limits::default() }
}

/// Processor time of this process so far, in clock ticks of a hundredth of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

/// One node with five neighbours, among whom nothing is said: memory, processor, and bytes on the wire.
async fn idle() -> String {
    const SECONDS: u64 = 120;
    let mut members = Members::default();
    (1..=5).for_each(|n| members.add(support::id(n), support::peer(None)).expect("room"));
    let one = crowd::One::start(0, false, members, every_day(), &support::clock()).await;
    let program = std::env::current_exe().expect("a program");
    let mut child = std::process::Command::new(program)
        .arg("neighbour")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("a process");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, format!("{}\n", one.address()).as_bytes()).expect("a pipe");
    while one.status().await.connected.len() < 5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (began, before, sent) = (Instant::now(), ticks(), traffic(one.address()));
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let (took, used) = (began.elapsed().as_secs_f64(), ticks() - before);
    let bytes = traffic(one.address()) - sent;
    drop(stdin);
    let _ = child.wait();
    format!(
        "with 5 neighbours over {took:.0} s: {:.1} MiB resident, {:.2} % of a core, {:.0} bytes/s of TCP payload both ways together",
        memory().0 as f64 / (1 << 20) as f64,
        used as f64 / took,
        bytes as f64 / took,
    )
}

/// Payload bytes received and acknowledged on the connections of the node's port, as `ss` tells.
fn traffic(address: &str) -> u64 {
    let port = address.rsplit('/').next().expect("a port");
    let out = std::process::Command::new("ss").args(["-tinH", "sport", "=", &format!(":{port}")]).output();
    let out = out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    let value = |word: &str| {
        word.strip_prefix("bytes_received:")
            .or(word.strip_prefix("bytes_acked:"))
            .and_then(|n| n.parse::<u64>().ok())
    };
    out.split_whitespace().filter_map(value).sum()
}
