//! What blocks cost the packets that pass: forwards bursts of datagrams from 1,024 senders through a router in namespaces, in turn
//! with no block and with 100,000. As root, best with a real-time priority, which makes a burst as quiet as on an idle machine:
//! `chrt -f 50 cargo run --release -p slips-firewall --example passing`
//!
//! Prints `NAME VALUE` lines: nanoseconds for a packet from the sender's call to the receiver's queue, the best of many bursts.

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
const ROUNDS: usize = 40;

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
    let least = |best: f64| (0..BURSTS).map(|_| burst()).fold(best, f64::min);
    let mut best = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        best[0] = least(best[0]);
        let mut firewall = lab.inside(Host::Router, || Firewall::open(Options::default())).expect("firewall");
        best[1] = least(best[1]);
        firewall.restore((0..100_000).map(request).collect()).expect("restore");
        best[2] = least(best[2]);
        firewall.remove().expect("remove");
    }
    println!("pass_no_table_ns {:.0}", best[0]);
    println!("pass_no_block_ns {:.0}", best[1]);
    println!("pass_100000_blocks_ns {:.0}", best[2]);
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
