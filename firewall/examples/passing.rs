//! What blocks cost the packets that pass: forwards bursts of datagrams from 1,024 senders through a router in namespaces. As root, best
//! with a real-time priority, which makes a burst as quiet as on an idle machine:
//! `chrt -f 50 cargo run --release -p slips-firewall --example passing`
//!
//! Each round goes from a table without blocks to 100,000 and back, and once without a table, so that what drifts on the machine is on both
//! sides of each comparison; the percentages are medians of the rounds' own, with their quarters. A burst's time is from the sender's
//! call to the receiver's queue, since the kernel does all of it in that call; of a round's bursts the fastest counts.
//!
//! Prints `NAME VALUE` lines: nanoseconds for a packet, the median of the rounds, and per cent.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "measures, and is no part of the program"
)]

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use lab::{C4, Host};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Firewall, Options};

const SENDERS: u32 = 1024;
const BURST: u32 = 5_000;
const BURSTS: usize = 8;
const ROUNDS: usize = 24;

fn main() {
    let Some(lab) = lab::open("passing") else { return };
    lab.ip(Host::Router, "route add 10.64.0.0/16 via 10.91.1.2");
    let receiver = lab.udp(Host::C, C4);
    let port = receiver.local_addr().expect("address").port();
    // One socket that writes the sender itself: a thousand sockets would push out of the cache what is measured.
    let raw = lab.inside(Host::A, || {
        socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).expect("raw socket")
    });
    let datagrams: Vec<_> = (0..SENDERS).map(|n| datagram(0x0a40_0001 + n * 7, port)).collect();
    let target = SockaddrIn::new(10, 91, 2, 2, 0);
    let burst = || {
        let start = Instant::now();
        for n in 0..BURST {
            let datagram = &datagrams[(n % SENDERS) as usize];
            sendto(raw.as_raw_fd(), datagram, &target, MsgFlags::empty()).expect("send");
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(BURST)
    };
    let fastest = || (0..BURSTS).map(|_| burst()).fold(f64::MAX, f64::min);
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let no_table = fastest();
        let mut firewall = lab.inside(Host::Router, || Firewall::open(Options::default())).expect("firewall");
        let before = fastest();
        firewall.restore((0..100_000).map(request).collect()).expect("restore");
        // A worker of the kernel makes the table of so many larger, on this very processor, where a real-time priority keeps it out.
        std::thread::sleep(Duration::from_millis(500));
        let blocks = fastest();
        firewall.clear().expect("clear");
        let after = fastest();
        firewall.remove().expect("remove");
        rounds.push([no_table, before.midpoint(after), blocks]);
    }
    for (at, name) in ["no_table", "no_block", "100000_blocks"].into_iter().enumerate() {
        let [_, median, _] = quarters(rounds.iter().map(|round| round[at]).collect());
        println!("pass_{name}_ns {median:.0}");
    }
    for (name, base) in [("pass_percent_more", 1), ("pass_percent_more_than_without_table", 0)] {
        let more = rounds.iter().map(|round| (round[2] / round[base] - 1.0) * 100.0).collect();
        let [first, median, third] = quarters(more);
        println!("{name} {median:.1}\n{name}_first_quarter {first:.1}\n{name}_third_quarter {third:.1}");
    }
}

/// The values at a quarter, half and three quarters of the way.
fn quarters(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}

/// A datagram of 18 bytes from this address to the receiver; the kernel fills in the sum of the header.
fn datagram(from: u32, port: u16) -> Vec<u8> {
    let to: Ipv4Addr = C4.parse().expect("address");
    let mut bytes = vec![0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0];
    bytes.extend_from_slice(&from.to_be_bytes());
    bytes.extend_from_slice(&to.octets());
    bytes.extend_from_slice(&[0x9c, 0x40]);
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes.extend_from_slice(&[0, 26, 0, 0]);
    bytes.resize(46, 0);
    bytes
}

fn request(n: u32) -> BlockRequest {
    let net = Net::host(Ipv4Addr::from_bits(0x0b00_0000 + n).into());
    BlockRequest { exact: true, ..BlockRequest::new(net, Duration::from_secs(3600), "") }
}
