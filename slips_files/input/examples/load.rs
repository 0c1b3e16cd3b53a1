//! Puts small packets on an interface at a steady rate, for `tests/bench/live.sh`; see there for how its namespaces are made.
//!
//!     load INTERFACE udp|syn|life|scan PACKETS_PER_SECOND PACKETS [FIRST]
//!
//! `udp`: datagrams of 60 bytes between 256 hosts of 10.7.1.0/24 and one server, on 4096 flows. `syn`: each packet is a SYN from
//! another forged source. `life`: a question and its answer by turns, each pair a flow of its own between one of 250 hosts of 10.7.1.0/24 and
//! one of 4,000 servers. `scan`: SYNs of one attacker after the other to a thousand ports each of one host. FIRST is the number of the first
//! packet, so that another run sends others. No frame is addressed to the machine that sees it, so its kernel answers none of them.

use std::error::Error;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use nix::sys::socket::{AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Frames given to the kernel at once.
const BATCH: usize = 64;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (interface, kind, rate, packets, first) = match args.as_slice() {
        [interface, kind, rate, packets] => (interface, kind, rate, packets, 0),
        [interface, kind, rate, packets, first] => (interface, kind, rate, packets, first.parse()?),
        _ => return Err("usage: load INTERFACE udp|syn|life|scan PACKETS_PER_SECOND PACKETS [FIRST]".into()),
    };
    let write: fn(&mut [u8; 60], u64) = match kind.as_str() {
        "udp" => udp,
        "syn" => syn,
        "life" => life,
        "scan" => scan,
        other => return Err(format!("`{other}` is none of udp, syn, life and scan").into()),
    };
    let (rate, packets): (f64, u64) = (rate.parse()?, packets.parse()?);
    let socket = raw_socket(interface)?;
    let mut frames = [[0u8; 60]; BATCH];
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let from = now();
    let (mut sent, mut refused) = (0u64, 0u64);
    while sent < packets {
        if sent as f64 > rate * from.elapsed().as_secs_f64() {
            // Yields: the receiver may need this core, too.
            std::thread::yield_now();
            continue;
        }
        for (frame, number) in frames.iter_mut().zip(first + sent..) {
            write(frame, number);
        }
        let slices: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
        match sendmmsg(socket.as_raw_fd(), &mut headers, &slices, [None; BATCH], [], MsgFlags::empty()) {
            Ok(results) => sent += results.count() as u64,
            Err(nix::errno::Errno::ENOBUFS | nix::errno::Errno::EAGAIN) => refused += 1,
            Err(errno) => return Err(errno.into()),
        }
    }
    let seconds = from.elapsed().as_secs_f64();
    println!("sent {sent} in {seconds:.2} s: {:.0} a second, {refused} waits", sent as f64 / seconds);
    Ok(())
}

/// The number decides about the flow; neighbours are of different ones.
fn udp(frame: &mut [u8; 60], number: u64) {
    let flow = (number % 4096) as u16;
    ip(frame, [10, 7, 1, (flow >> 4) as u8], [10, 7, 2, 1], 17);
    let header = [(2000 + (flow & 15)).to_be_bytes(), 5001u16.to_be_bytes(), 26u16.to_be_bytes(), [0, 0]];
    put(frame, 34, header.as_flattened());
}

fn syn(frame: &mut [u8; 60], number: u64) {
    // Multiplication by an odd number visits every source before one comes again.
    let source = (number as u32).wrapping_mul(0x9e37_79b1).to_be_bytes();
    ip(frame, [source[0] % 200 + 20, source[1], source[2], source[3]], [10, 7, 2, 1], 6);
    put(frame, 34, &(1024 + (number % 60_000) as u16).to_be_bytes());
    put(frame, 36, &[0, 80]);
    put(frame, 38, &(number as u32).to_be_bytes());
    put(frame, 42, &[0, 0, 0, 0, 0x50, 2, 0xff, 0xff]);
}

/// Two packets are a flow: 250 hosts, each with a port for every 250th flow.
fn life(frame: &mut [u8; 60], number: u64) {
    let flow = number / 2;
    let host = [10, 7, 1, 1 + (flow % 250) as u8];
    let server = 2 + (flow / 250 % 4000) as u16;
    let server = [203, 0, (server >> 8) as u8, server as u8];
    let port = 1024 + (flow / 250 % 60_000) as u16;
    let (src, dst, from, to) =
        if number.is_multiple_of(2) { (host, server, port, 5001) } else { (server, host, 5001, port) };
    ip(frame, src, dst, 17);
    put(frame, 34, [from.to_be_bytes(), to.to_be_bytes(), 26u16.to_be_bytes(), [0, 0]].as_flattened());
}

/// A thousand packets are an attacker's.
fn scan(frame: &mut [u8; 60], number: u64) {
    let attacker = (number / 1000) as u32;
    ip(frame, (0xc612_0000 + attacker % 65_536).to_be_bytes(), [10, 7, 1, 9], 6);
    put(frame, 34, &40_000u16.to_be_bytes());
    put(frame, 36, &(1 + (number % 1000) as u16).to_be_bytes());
    put(frame, 38, &(number as u32).to_be_bytes());
    put(frame, 42, &[0, 0, 0, 0, 0x50, 2, 0xff, 0xff]);
}

fn ip(frame: &mut [u8; 60], src: [u8; 4], dst: [u8; 4], proto: u8) {
    put(frame, 0, &[2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 0x77, 8, 0]);
    put(frame, 14, &[0x45, 0, 0, 46, 0, 0, 0, 0, 64, proto, 0, 0]);
    put(frame, 26, &src);
    put(frame, 30, &dst);
}

fn put(frame: &mut [u8; 60], at: usize, bytes: &[u8]) {
    for (to, from) in frame.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

fn raw_socket(interface: &str) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let address = nix::ifaddrs::getifaddrs()?
        .filter(|it| it.interface_name == *interface)
        .find_map(|it| it.address?.as_link_addr().copied());
    bind(socket.as_raw_fd(), &address.ok_or("no such interface")?)?;
    Ok(socket)
}

#[expect(clippy::disallowed_methods, reason = "a load generator keeps to the wall clock")]
fn now() -> Instant {
    Instant::now()
}
