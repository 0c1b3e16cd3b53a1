//! A network namespace of one test's own, with a veth pair `lan0`–`lan1` in it. It lives as long as the test's thread, so there is
//! nothing to clean up, and names cannot clash.

#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a laboratory of tests: what it cannot do fails the test"
)]

use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind, setsockopt, socket, sockopt};
use slips_input::capture::{Capture, CaptureSettings, Change, Polled, RingSize};

/// A frame as it was seen, with its bytes copied.
#[derive(Clone, Debug)]
pub struct Seen {
    pub interface: u16,
    pub dlt: u32,
    pub at: i64,
    pub bytes: Vec<u8>,
    pub wire_len: u32,
    pub vlan: Option<u16>,
    pub outgoing: bool,
}

impl Seen {
    /// The payload, when this is an IPv4 datagram of the test (to port 4007) behind `header` bytes of link header.
    pub fn payload(&self, header: usize) -> Option<&[u8]> {
        let ip = self.bytes.get(header..)?;
        let ours = ip.first() == Some(&0x45)
            && ip.get(9) == Some(&17)
            && ip.get(22..24) == Some(&PORT.to_be_bytes());
        if ours { ip.get(28..) } else { None }
    }
}

pub const PORT: u16 = 4007;

/// A namespace with a veth pair, `lan0` at 10.7.0.1/24 and `lan1` silent; `None`, said by name, where it cannot be made.
pub struct Lab;

impl Lab {
    pub fn new(test: &str) -> Option<Self> {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("skipped: {test}: needs root to make a network namespace ({error})");
            return None;
        }
        if !ip("link set lo up") {
            eprintln!("skipped: {test}: no `ip` command");
            return None;
        }
        Self::make_pair();
        Some(Self)
    }

    pub fn make_pair() {
        assert!(ip("link add lan0 type veth peer name lan1"));
        assert!(ip("addr add 10.7.0.1/24 dev lan0"));
        assert!(ip("link set lan1 up") && ip("link set lan0 up"));
        assert!(ip("neigh add 10.7.0.2 lladdr 02:00:00:00:00:02 dev lan0"));
    }
}

/// Runs `ip` in the namespace of this thread.
pub fn ip(args: &str) -> bool {
    let done = Command::new("ip").args(args.split(' ')).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

/// A socket that sends from `lan0` over the cable to `lan1`.
pub fn sender() -> UdpSocket {
    let socket = UdpSocket::bind("10.7.0.1:0").expect("a socket");
    socket.connect(("10.7.0.2", PORT)).expect("a route");
    setsockopt(&socket, sockopt::SndBuf, &(4 << 20)).expect("room");
    socket
}

/// A socket that puts whole frames on `lan0` as they are.
pub fn raw_sender() -> OwnedFd {
    let socket =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    let mut addresses = nix::ifaddrs::getifaddrs().expect("addresses");
    let lan0 =
        addresses.find_map(|it| it.address.filter(|_| it.interface_name == "lan0")?.as_link_addr().copied());
    bind(socket.as_raw_fd(), &lan0.expect("the link address of lan0")).expect("bound");
    socket
}

pub fn small(interfaces: &[&str]) -> CaptureSettings {
    CaptureSettings {
        ring: RingSize::new(16, 1 << 17, 2),
        ..CaptureSettings::new(interfaces.iter().copied())
    }
}

/// What happened, one after the other.
#[derive(Default)]
pub struct Story {
    pub frames: Vec<Seen>,
    pub changes: Vec<Change>,
}

impl Story {
    /// Goes on until `enough`; fails the test when that has not come within twenty seconds.
    pub fn until(&mut self, capture: &mut Capture, enough: impl Fn(&Self) -> bool) {
        let end = now() + Duration::from_secs(20);
        while !enough(self) {
            assert!(now() < end, "still waiting: {} frames, {:?}", self.frames.len(), self.changes);
            self.turn(capture);
        }
    }

    /// Goes on once.
    pub fn turn(&mut self, capture: &mut Capture) {
        let polled = capture.next(Duration::from_millis(100), &mut |frame| {
            self.frames.push(Seen {
                interface: frame.interface,
                dlt: frame.dlt,
                at: frame.at.0,
                bytes: frame.captured.to_vec(),
                wire_len: frame.wire_len,
                vlan: frame.vlan,
                outgoing: frame.outgoing,
            });
        });
        match polled.expect("a capture that goes on") {
            Polled::Changed(change) => self.changes.push(change),
            Polled::Frames(_) | Polled::Silent => {}
            Polled::Stopped => panic!("nobody stopped it"),
        }
    }

    /// How many datagrams of the test were seen on an interface.
    pub fn datagrams(&self, interface: u16) -> usize {
        self.frames.iter().filter(|f| f.interface == interface && f.payload(14).is_some()).count()
    }
}

#[expect(clippy::disallowed_methods, reason = "a deadline for a test that waits for the kernel")]
pub fn now() -> Instant {
    Instant::now()
}
