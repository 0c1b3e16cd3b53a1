//! A network of three hosts in network namespaces: `a` – `router` – `c`. Made by each test for itself, gone when it ends.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

/// The three namespaces.
pub struct Lab {
    name: String,
}

/// A host of the lab.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Host {
    A,
    Router,
    C,
}

/// Addresses in the lab. The attacker's host has several, so that there is a neighbour on the same wire.
pub const A4: &str = "10.91.1.2";
pub const A4_NEIGHBOUR: &str = "10.91.1.3";
pub const A6: &str = "2001:db8:a::2";
pub const A6_SAME_64: &str = "2001:db8:a::3";
pub const A6_NEIGHBOUR: &str = "2001:db8:aa::2";
pub const A6_FENCE: &str = "2001:db8:ab::2";
pub const ROUTER4: &str = "10.91.1.1";
pub const ROUTER6: &str = "2001:db8:a::1";
pub const C4: &str = "10.91.2.2";
pub const C6: &str = "2001:db8:c::2";

/// The lab, or `None` with a word on why the test cannot run.
pub fn open(test: &str) -> Option<Lab> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: {test}: needs root");
        return None;
    }
    if Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: {test}: needs the program ip (iproute2)");
        return None;
    }
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("slipsfw{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let lab = Lab { name };
    lab.build();
    lab.warm_up();
    Some(lab)
}

impl Lab {
    /// The name of a host's namespace, for programs that enter it themselves.
    pub fn namespace(&self, host: Host) -> String {
        let suffix = match host {
            Host::A => "a",
            Host::Router => "r",
            Host::C => "c",
        };
        format!("{}{suffix}", self.name)
    }

    fn build(&self) {
        let [a, r, c] = [Host::A, Host::Router, Host::C].map(|host| self.namespace(host));
        for ns in [&a, &r, &c] {
            ip(&format!("netns add {ns}"));
            ip(&format!("-n {ns} link set lo up"));
        }
        for host in [Host::A, Host::Router, Host::C] {
            // Nobody else has these addresses: no second of waiting for an objection.
            self.inside(host, || {
                std::fs::write("/proc/sys/net/ipv6/conf/default/dad_transmits", "0").expect("dad_transmits");
            });
        }
        ip(&format!("-n {r} link add ra type veth peer name eth0 netns {a}"));
        ip(&format!("-n {r} link add rc type veth peer name eth0 netns {c}"));
        for (ns, device, addresses) in [
            (&r, "ra", &["10.91.1.1/24", "2001:db8:a::1/64", "2001:db8:aa::1/64", "2001:db8:ab::1/64"][..]),
            (&r, "rc", &["10.91.2.1/24", "2001:db8:c::1/64"]),
            (
                &a,
                "eth0",
                &[
                    "10.91.1.2/24",
                    "10.91.1.3/24",
                    "2001:db8:a::2/64",
                    "2001:db8:a::3/64",
                    "2001:db8:aa::2/64",
                    "2001:db8:ab::2/64",
                ],
            ),
            (&c, "eth0", &["10.91.2.2/24", "2001:db8:c::2/64"]),
        ] {
            for address in addresses {
                let more = if address.contains(':') { "nodad" } else { "brd +" };
                ip(&format!("-n {ns} addr add {address} dev {device} {more}"));
            }
            ip(&format!("-n {ns} link set {device} up"));
        }
        for (ns, v4, v6) in [(&a, "10.91.1.1", "2001:db8:a::1"), (&c, "10.91.2.1", "2001:db8:c::1")] {
            ip(&format!("-n {ns} route add default via {v4}"));
            ip(&format!("-n {ns} -6 route add default via {v6}"));
        }
        self.inside(Host::Router, || {
            for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/net/{file}"), "1").expect(file);
            }
        });
    }

    /// Waits until packets pass: a link needs a moment after it is up, and neighbours have to find each other.
    fn warm_up(&self) {
        for (from, router, c) in [(A4, ROUTER4, C4), (A6, ROUTER6, C6)] {
            for (host, addr) in [(Host::Router, router), (Host::C, c)] {
                let (near, far) = (self.udp(Host::A, from), self.udp(host, addr));
                let target = far.local_addr().expect("address");
                far.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
                eventually(|| {
                    let _ = near.send_to(b"up", target);
                    far.recv_from(&mut [0; 16]).is_ok()
                });
            }
        }
    }

    /// Runs in the namespace of a host, in a thread of its own. Sockets stay in the namespace where they were opened.
    pub fn inside<T: Send>(&self, host: Host, run: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.namespace(host));
        let enter = move || {
            setns(File::open(path).expect("namespace"), CloneFlags::CLONE_NEWNET).expect("setns");
            run()
        };
        std::thread::scope(|scope| scope.spawn(enter).join()).expect("thread in the namespace")
    }

    /// `ip` in the namespace of a host.
    pub fn ip(&self, host: Host, args: &str) {
        ip(&format!("-n {} {args}", self.namespace(host)));
    }

    /// A UDP socket of a host, with any free port.
    pub fn udp(&self, host: Host, addr: &str) -> UdpSocket {
        let addr: IpAddr = addr.parse().expect(addr);
        self.inside(host, || {
            let socket = UdpSocket::bind((addr, 0)).expect("udp socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
            socket
        })
    }

    /// A TCP connection from one host to another: its two ends.
    pub fn tcp(&self, from: Host, to: Host, to_addr: &str) -> (TcpStream, TcpStream) {
        let to_addr: IpAddr = to_addr.parse().expect(to_addr);
        let listener = self.inside(to, || TcpListener::bind((to_addr, 0)).expect("listener"));
        let port = listener.local_addr().expect("address").port();
        let near = self.inside(from, || TcpStream::connect((to_addr, port)).expect("connect"));
        let (far, _) = listener.accept().expect("accept");
        for end in [&near, &far] {
            end.set_read_timeout(Some(PATIENCE)).expect("timeout");
        }
        (near, far)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in [Host::A, Host::Router, Host::C] {
            let _ = Command::new("ip").args(["netns", "delete", &self.namespace(host)]).output();
        }
    }
}

fn ip(args: &str) {
    let output = Command::new("ip").args(args.split_whitespace()).output().expect("ip");
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What a program prints; `None` when it is not installed.
pub fn program(name: &str, args: &str) -> Option<String> {
    let output = Command::new(name).args(args.split_whitespace()).output().ok()?;
    assert!(output.status.success(), "{name} {args}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a datagram sent now arrives. `fence` takes the same way right behind it and must arrive: then what has not come by then
/// was dropped, and nobody has to wait for something that does not happen.
pub fn arrives(from: &UdpSocket, fence: &UdpSocket, to: &UdpSocket) -> bool {
    arrives_by(to.local_addr().expect("address"), from, fence, to)
}

/// The same where packets are sent to another address than the one they come to.
pub fn arrives_by(target: SocketAddr, from: &UdpSocket, fence: &UdpSocket, to: &UdpSocket) -> bool {
    static PROBES: AtomicU32 = AtomicU32::new(0);
    let probe = PROBES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let end = *b"the fence";
    from.send_to(&probe, target).expect("probe is sent");
    fence.send_to(&end, target).expect("fence is sent");
    let (mut seen, mut buffer) = (false, [0; 16]);
    loop {
        let (length, _) = to.recv_from(&mut buffer).expect("fence arrives");
        if buffer[..length] == end {
            return seen;
        }
        seen |= buffer[..length] == probe;
    }
}

/// Whether a datagram sent from `from` to an address is let out by this host.
pub fn leaves(from: &UdpSocket, to: SocketAddr) -> bool {
    match from.send_to(b"probe", to) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => false,
        Err(error) => panic!("{error}"),
    }
}

/// Asks until the answer is yes, at most [`PATIENCE`] long; how long it took.
#[expect(clippy::disallowed_methods, reason = "what is awaited is the kernel's own clock ending a block")]
pub fn eventually(mut question: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !question() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        std::thread::yield_now();
    }
    start.elapsed()
}

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
