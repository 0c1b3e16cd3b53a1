//! At the limits: batches larger than any buffer, answers that are lost, signals, rights that are missing, sets that are full.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]
#![allow(
    unsafe_code,
    reason = "a thread gives up its own rights, and a buffer of the code under test is made small"
)]

mod lab;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use lab::{A4, A4_NEIGHBOUR, C4, Host, arrives};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{setsockopt, sockopt};
use slips_core::addr::Net;
use slips_firewall::{
    Backend, BlockRequest, Change, Error, Features, Firewall, NftOptions, Nftables, Options, Outcome,
};

fn request(net: Net, reason: &str) -> BlockRequest {
    BlockRequest { exact: true, ..BlockRequest::new(net, Duration::from_secs(600), reason) }
}

fn host(n: u32) -> Net {
    Net::host(Ipv4Addr::from_bits(0x0b00_0000 + n).into())
}

#[test]
fn batches_larger_than_any_page_or_buffer_are_one_transaction() {
    let name = "batches_larger_than_any_page_or_buffer_are_one_transaction";
    let Some(lab) = lab::open(name) else { return };
    let (a, other, at_c) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR), lab.udp(Host::C, C4));
    let attacker: Net = A4.parse().expect("net");
    for features in [Features::ALL, Features::NONE] {
        // An entry is 28 bytes, with its reason 160 or more: 200 KiB and 9 MiB.
        for (annotate, count) in [(false, 8_000), (true, 60_000)] {
            let options = NftOptions { annotate, features, ..NftOptions::default() };
            let mut backend = lab.inside(Host::Router, || Nftables::open(options)).expect("open");
            let reason = "r".repeat(127);
            let mut changes: Vec<_> = (0..count).map(|n| Change::Block(request(host(n), &reason))).collect();
            changes.push(Change::Block(request(attacker, "the last of all")));
            backend.apply(&changes).expect("block");
            assert!(!arrives(&a, &other, &at_c), "{features:?}: the last one is there");
            let ends = [host(0), host(count / 2), host(count - 1), host(count)];
            let left = backend.left(&ends).expect("left");
            assert_eq!(left.map_is_some(), [true, true, true, false]);
            // All of it again in exchange for all of it, and away with it.
            changes.insert(0, Change::Clear);
            backend.apply(&changes).expect("restore");
            assert!(!arrives(&a, &other, &at_c));
            let unblock: Vec<_> = (0..count).map(|n| Change::Unblock(host(n))).collect();
            backend.apply(&unblock).expect("unblock");
            assert_eq!(backend.list().expect("list").len(), 1);
            backend.remove().expect("remove");
        }
    }
}

trait Presence {
    fn map_is_some(&self) -> Vec<bool>;
}
impl Presence for Vec<Option<Duration>> {
    fn map_is_some(&self) -> Vec<bool> {
        self.iter().map(Option::is_some).collect()
    }
}

/// The answers to a transaction overflow the socket: what became of it is not known, is said so, and can be asked.
#[test]
fn lost_answers_are_told_and_the_next_call_works() {
    let Some(lab) = lab::open("lost_answers_are_told_and_the_next_call_works") else { return };
    let mut backend = lab.inside(Host::Router, || Nftables::open(NftOptions::default())).expect("open");
    // Of this namespace, so of this test alone.
    let inodes = lab.inside(Host::Router, || {
        let table = std::fs::read_to_string("/proc/thread-self/net/netlink").expect("netlink sockets");
        table.lines().filter_map(|line| line.split_whitespace().last().map(str::to_owned)).collect::<Vec<_>>()
    });
    let ours = sockets().into_iter().filter(|(_, inode)| inodes.contains(inode)).map(|(fd, _)| fd);
    let ours: Vec<_> = ours.collect();
    assert!(!ours.is_empty());
    let shrink = |bytes: usize| {
        for fd in &ours {
            // SAFETY: a socket of the namespace of this test belongs to `backend`, which lives to the end.
            let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
            setsockopt(&fd, sockopt::RcvBuf, &bytes).expect("buffer");
        }
    };
    let changes: Vec<_> = std::iter::once(Change::Clear)
        .chain((0..40_000).map(|n| Change::Block(request(host(n), ""))))
        .collect();
    shrink(1);
    let outcome = backend.apply(&changes);
    assert!(matches!(outcome, Err(Error::Unanswered(_))), "{outcome:?}");
    shrink(4 << 20);
    backend.apply(&[Change::Block(request(host(50_000), ""))]).expect("the next one");
    let left = backend.left(&[host(0), host(39_999), host(50_000)]).expect("left");
    assert_eq!(left.map_is_some(), [true; 3], "the transaction was carried out all the same");
}

/// The descriptors of this process that are sockets, with their inodes.
fn sockets() -> Vec<(i32, String)> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("descriptors").flatten();
    let socket = |entry: std::fs::DirEntry| {
        let target = std::fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        Some((entry.file_name().to_str()?.parse().ok()?, inode))
    };
    entries.filter_map(socket).collect()
}

#[test]
fn signals_disturb_nothing() {
    static RUNG: AtomicU32 = AtomicU32::new(0);
    extern "C" fn ring(_: i32) {
        RUNG.fetch_add(1, Ordering::Relaxed);
    }
    let Some(lab) = lab::open("signals_disturb_nothing") else { return };
    let mut backend = lab.inside(Host::Router, || Nftables::open(NftOptions::default())).expect("open");
    // Without SA_RESTART: every call that can be interrupted is.
    let action = SigAction::new(SigHandler::Handler(ring), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only adds to an atomic number.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.expect("handler");
    let done = AtomicBool::new(false);
    // SAFETY: takes nothing and returns the id of this thread.
    let (process, worker) = unsafe { (libc::getpid(), libc::syscall(libc::SYS_gettid)) };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // SAFETY: the thread waits for this one to end, so its id is its own.
                unsafe { libc::syscall(libc::SYS_tgkill, process, worker, libc::SIGUSR1) };
                std::thread::yield_now();
            }
        });
        let mut run = || -> Result<(), Error> {
            for round in 0..200 {
                let some: Vec<_> =
                    (0..50).map(|n| Change::Block(request(host(round * 50 + n), ""))).collect();
                backend.apply(&some)?;
                backend.left(&[host(round * 50)])?;
                backend.verify()?;
            }
            backend.list().map(drop)
        };
        let ran = run();
        done.store(true, Ordering::Relaxed);
        ran.expect("in spite of signals");
    });
    assert!(RUNG.load(Ordering::Relaxed) > 0, "signals came");
    assert_eq!(backend.list().expect("list").len(), 10_000);
}

#[test]
fn without_the_right_nothing_changes_and_with_that_right_alone_all_works() {
    let name = "without_the_right_nothing_changes_and_with_that_right_alone_all_works";
    let Some(lab) = lab::open(name) else { return };
    let (a, other, at_c) = (lab.udp(Host::A, A4), lab.udp(Host::A, A4_NEIGHBOUR), lab.udp(Host::C, C4));
    let attacker: Net = A4.parse().expect("net");
    let denied = lab.inside(Host::Router, || {
        keep_rights(0);
        Nftables::open(NftOptions::default())
    });
    assert!(matches!(denied, Err(Error::Denied)), "{denied:?}");
    let mut firewall = lab
        .inside(Host::Router, || {
            keep_rights(1 << CAP_NET_ADMIN);
            Firewall::open(Options::default())
        })
        .expect("CAP_NET_ADMIN is enough");
    lab.inside(Host::Router, || {
        keep_rights(1 << CAP_NET_ADMIN);
        let blocked = firewall.block(request(attacker, "")).expect("block");
        assert!(matches!(blocked, Outcome::Blocked { .. }));
        let many = (0..20_000).map(|n| request(host(n), "")).collect();
        firewall.block_many(many).expect("and 20,000 with forced buffers");
    });
    assert!(!arrives(&a, &other, &at_c));
    // The right is lost while the daemon runs: refused, said so, and what stands stands.
    let refused = lab.inside(Host::Router, || {
        keep_rights(0);
        firewall.unblock(attacker)
    });
    assert!(matches!(refused, Err(Error::Denied)), "{refused:?}");
    assert!(!arrives(&a, &other, &at_c));
    assert!(firewall.unblock(attacker).expect("unblock with the right"));
    assert!(arrives(&a, &other, &at_c));
}

/// The calling thread, and it alone, becomes nobody with these capabilities.
fn keep_rights(capabilities: u32) {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let data = [capabilities, capabilities, 0, 0, 0, 0];
    // SAFETY: three calls with numbers only, and one with pointers to structs of the sizes that version 3 has; all of them
    // change nothing but the rights of the calling thread.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
        assert_eq!(libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY), 0);
        assert_eq!(libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY), 0);
        assert_eq!(libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()), 0);
    }
}

#[test]
fn a_full_set_takes_nothing_more_and_loses_nothing() {
    let Some(lab) = lab::open("a_full_set_takes_nothing_more_and_loses_nothing") else { return };
    for features in [Features::ALL, Features::NONE] {
        let options = NftOptions { features, ..NftOptions::default() };
        let mut backend = lab.inside(Host::Router, || Nftables::open(options)).expect("open");
        let address = |n: u32| Net::host(Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(n)).into());
        let subnet = |n: u32| {
            Net::new(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (u128::from(n) << 64)).into(), 64)
                .expect("net")
        };
        let range = |n: u32| Net::new(Ipv4Addr::from_bits(0x0b00_0000 + n * 512).into(), 24).expect("net");
        let sets: [(u32, &dyn Fn(u32) -> Net); 2] = [(65_536, &address), (65_536, &subnet)];
        // Kernels count a range as one entry or as its two ends.
        let ranges = |count| (0..count).map(|n| Change::Block(request(range(n), ""))).collect::<Vec<_>>();
        backend.apply(&ranges(8_191)).expect("ranges");
        let more = backend.apply(&ranges(16_385));
        assert!(matches!(more, Err(Error::Full { .. })), "{features:?}: {more:?}");
        let left = backend.left(&[range(0), range(8_190), range(8_192)]).expect("left");
        assert_eq!(left.map_is_some(), [true, true, false], "{features:?}");
        for (room, net) in sets {
            let all: Vec<_> = (0..room).map(|n| Change::Block(request(net(n), ""))).collect();
            backend.apply(&all).expect("as many as there is room for");
            for _ in 0..2 {
                let more = backend
                    .apply(&[Change::Block(request(host(1), "")), Change::Block(request(net(room), ""))]);
                assert!(matches!(more, Err(Error::Full { .. })), "{features:?} {}: {more:?}", net(room));
            }
            let left = backend.left(&[net(0), net(room - 1), net(room), host(1)]).expect("left");
            assert_eq!(left.map_is_some(), [true, true, false, false], "{features:?} {}", net(room));
            backend
                .apply(&[Change::Unblock(net(7)), Change::Block(request(net(room), ""))])
                .expect("in its place");
        }
        backend.remove().expect("remove");
    }
}

/// Who has no rights but those that are given.
const NOBODY: libc::c_long = 65_534;
/// linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
