//! The system calls that the processes may make that talk with strangers, the node's and the one that fetches: those that they make. Everything else fails with `EPERM`, so that whoever takes the
//! process over through a hole in what it reads can start no program, touch no other process, and open no unix socket: not the daemon's,
//! which it would be believed at where both have one user, nor anybody's. Its socket to the daemon it has already.
//!
//! Landlock keeps it from files and, since Linux 6.12, from abstract sockets; this holds on every kernel with seccomp.

use anyhow::Result;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub use known::confine;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Talks with peers.
    Peers,
    /// Fetches and asks, by names: the C library's resolver sends datagrams, and loads parts of itself when it is first asked. It is told that
    /// there are no unix sockets, so that it asks no other program of this host, and goes on to DNS.
    Fetching,
}

/// Gives up nothing: there is no filter for this processor.
///
/// # Errors
/// None.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub fn confine(_work: Work) -> Result<&'static str> {
    Ok("all system calls (no filter for this processor)")
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod known {
    use std::collections::BTreeMap;
    use std::io::ErrorKind;

    use anyhow::Context;
    use libc::c_int;
    use seccompiler::SeccompCmpArgLen::{Dword, Qword};
    use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch, apply_filter_all_threads,
    };

    use super::{Result, Work};

    /// Gives up all calls but those below, in all threads, for ever.
    ///
    /// # Errors
    /// When the filter cannot be made, or the kernel refuses it for another reason than having none.
    pub fn confine(work: Work) -> Result<&'static str> {
        for filter in [without_clone3(), allowed(work)] {
            let program = program(filter.context("cannot make the filter of system calls")?)?;
            match apply_filter_all_threads(&program) {
                Ok(()) => {}
                Err(seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error))
                    if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) =>
                {
                    return Ok("all system calls (this kernel has no seccomp)");
                }
                Err(error) => return Err(error).context("cannot give up system calls"),
            }
        }
        Ok("few system calls")
    }

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;
    type Made<T> = std::result::Result<T, seccompiler::BackendError>;

    fn program(filter: SeccompFilter) -> Result<BpfProgram> {
        filter.try_into().context("cannot make the filter of system calls")
    }

    fn arch() -> Made<TargetArch> {
        std::env::consts::ARCH.try_into()
    }

    /// What clone3 is asked for lies in memory, where a filter cannot look: the C library is told that there is none, and takes clone.
    fn without_clone3() -> Made<SeccompFilter> {
        let missing = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        SeccompFilter::new([(libc::SYS_clone3, Vec::new())].into(), SeccompAction::Allow, missing, arch()?)
    }

    /// Calls of another processor's kind (32 bits) end the process; those of x32 are other numbers, and in no rule.
    fn allowed(work: Work) -> Made<SeccompFilter> {
        let fetching = work == Work::Fetching;
        let more = if fetching { RESOLVER } else { &[] };
        let mut rules: Rules = PLAIN.iter().chain(OLD).chain(more).map(|call| (*call, Vec::new())).collect();
        let mut allow = |call, conditions: &[&[SeccompCondition]]| -> Made<()> {
            let any = conditions.iter().map(|all| SeccompRule::new(all.to_vec())).collect::<Made<_>>()?;
            rules.insert(call, any);
            Ok(())
        };
        // TCP, which is what a stream is without a word more: neither MPTCP nor SCTP, whose code in the kernel is another.
        let stream = arg(1, Dword, MaskedEq(KIND_OF_SOCKET), libc::SOCK_STREAM)?;
        let mut sockets = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            for protocol in [0, libc::IPPROTO_TCP] {
                let protocol = arg(2, Dword, Eq, protocol)?;
                sockets.push([arg(0, Dword, Eq, family)?, stream.clone(), protocol].to_vec());
            }
        }
        if cfg!(feature = "mdns") || fetching {
            let datagram = arg(1, Dword, MaskedEq(KIND_OF_SOCKET), libc::SOCK_DGRAM)?;
            for family in [libc::AF_INET, libc::AF_INET6] {
                for protocol in [0, libc::IPPROTO_UDP] {
                    let protocol = arg(2, Dword, Eq, protocol)?;
                    sockets.push([arg(0, Dword, Eq, family)?, datagram.clone(), protocol].to_vec());
                }
            }
        }
        // By which addresses of this host are watched; to change one takes a capability.
        let route = arg(2, Dword, Eq, libc::NETLINK_ROUTE)?;
        sockets.push([arg(0, Dword, Eq, libc::AF_NETLINK)?, route].to_vec());
        allow(libc::SYS_socket, &sockets.iter().map(|one| &one[..]).collect::<Vec<_>>())?;
        // Another thread, not another process.
        let thread = libc::CLONE_THREAD;
        allow(libc::SYS_clone, &[&[arg(0, Qword, MaskedEq(wide(thread)), thread)?]])?;
        let no_code = [arg(2, Dword, MaskedEq(wide(libc::PROT_EXEC)), 0)?];
        allow(libc::SYS_mprotect, &[&no_code])?;
        // Code of a file, which cannot be written.
        let code = [arg(2, Dword, MaskedEq(wide(libc::PROT_WRITE)), 0)?];
        allow(libc::SYS_mmap, &[&no_code, if fetching { &code } else { &no_code }])?;
        // How much memory it needs it reads from a file. What changes or makes one it never opens.
        let writes = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | libc::O_PATH;
        allow(libc::SYS_openat, &[&[arg(2, Dword, MaskedEq(wide(writes)), libc::O_RDONLY)?]])?;
        // Who a descriptor belongs to decides who is signalled: that cannot be set.
        let commands = [libc::F_GETFL, libc::F_SETFL, libc::F_GETFD, libc::F_SETFD, libc::F_DUPFD_CLOEXEC];
        let commands = commands.map(|command| Ok([arg(1, Dword, Eq, command)?]));
        let commands = commands.into_iter().collect::<Made<Vec<_>>>()?;
        allow(libc::SYS_fcntl, &commands.iter().map(|one| &one[..]).collect::<Vec<_>>())?;
        let (set_waiting, how_much) =
            ([number(1, Dword, Eq, libc::FIONBIO)?], [number(1, Dword, Eq, libc::FIONREAD)?]);
        allow(libc::SYS_ioctl, &[&set_waiting, if fetching { &how_much } else { &set_waiting }])?;
        let names = [libc::PR_SET_NAME, libc::PR_SET_VMA];
        allow(libc::SYS_prctl, &[&[arg(0, Dword, Eq, names[0])?], &[arg(0, Dword, Eq, names[1])?]])?;
        // Its own limits, to look at.
        allow(libc::SYS_prlimit64, &[&[arg(0, Dword, Eq, 0)?, arg(2, Qword, Eq, 0)?]])?;
        // To end itself.
        let own = u64::from(std::process::id());
        allow(libc::SYS_tgkill, &[&[number(0, Dword, Eq, own)?]])?;
        let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
        SeccompFilter::new(rules, refused, SeccompAction::Allow, arch()?)
    }

    fn arg(at: u8, len: SeccompCmpArgLen, how: SeccompCmpOp, with: c_int) -> Made<SeccompCondition> {
        number(at, len, how, wide(with))
    }

    fn number(at: u8, len: SeccompCmpArgLen, how: SeccompCmpOp, with: u64) -> Made<SeccompCondition> {
        SeccompCondition::new(at, len, how, with)
    }

    /// All that is compared is a small positive number.
    const fn wide(flags: c_int) -> u64 {
        flags.cast_unsigned() as u64
    }

    /// The type of a socket without its flags.
    const KIND_OF_SOCKET: u64 = 0xf;

    /// Calls that may be made in any way: on what the process has already, on itself, and on sockets as above.
    const PLAIN: &[i64] = &[
        // Sockets and what waits for them.
        libc::SYS_accept4,
        libc::SYS_bind,
        libc::SYS_close,
        libc::SYS_connect,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_eventfd2,
        libc::SYS_getpeername,
        libc::SYS_getsockname,
        libc::SYS_getsockopt,
        libc::SYS_listen,
        libc::SYS_ppoll,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_setsockopt,
        libc::SYS_shutdown,
        // Bytes of what is open.
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_newfstatat,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_statx,
        libc::SYS_write,
        libc::SYS_writev,
        // Memory, threads, signals to itself.
        libc::SYS_brk,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_sigaltstack,
        // Time and chance. The filter above answers for clone3.
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_clone3,
        libc::SYS_getrandom,
        libc::SYS_gettimeofday,
        libc::SYS_nanosleep,
    ];

    /// What a resolver calls besides: several questions at once, and what this host is called.
    const RESOLVER: &[i64] = &[libc::SYS_sendmmsg, libc::SYS_recvmmsg, libc::SYS_uname];

    /// The same by calls that newer processors do not have.
    #[cfg(target_arch = "x86_64")]
    const OLD: &[i64] = &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_time];
    #[cfg(not(target_arch = "x86_64"))]
    const OLD: &[i64] = &[];
}

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::{IoSlice, IoSliceMut, Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    use std::process::Command;

    use nix::errno::Errno;
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::ptrace;
    use nix::sys::signal::{Signal, kill};
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket, socketpair};
    use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
    use nix::unistd::{Pid, getppid};

    use crate::daemon::peers::sandbox;

    /// Says in the process of the test below which abstract socket there is.
    const TRIES: &str = "SLIPS_TEST_TRIES";

    /// The confined process is this program once more, with the test of this name alone.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "so this program knows itself as the confined process")]
    fn a_confined_process_reaches_no_other_process_no_unix_socket_and_no_program() {
        let name = format!("slips-test-of-calls-{}", std::process::id());
        if let Ok(name) = std::env::var(TRIES) {
            return tries(&name);
        }
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let daemon = UnixListener::bind_addr(&address).expect("the daemon's socket");
        daemon.set_nonblocking(true).expect("set");
        crate::child::try_confined(TRIES, &name);
        assert!(daemon.accept().is_err(), "nobody came");
    }

    fn refused<T>(what: &str, done: Result<T, Errno>) {
        assert_eq!(done.err(), Some(Errno::EPERM), "{what}");
    }

    fn kept_out<T>(what: &str, done: std::io::Result<T>) {
        let code = done.err().and_then(|error| error.raw_os_error());
        assert!(matches!(code, Some(1 | 13)), "{what}: {code:?}");
    }

    #[expect(clippy::expect_used, reason = "a part of the test above")]
    fn tries(name: &str) {
        let parent = getppid();
        let listener = TcpListener::bind("127.0.0.1:0").expect("before, as after");
        let confined = sandbox::enter(false).expect("confined");
        assert!(confined.ends_with("few system calls"), "{confined}");
        for kind in [SockType::Stream, SockType::Datagram, SockType::SeqPacket] {
            refused("a unix socket", socket(AddressFamily::Unix, kind, SockFlag::empty(), None));
            refused("a pair", socketpair(AddressFamily::Unix, kind, None, SockFlag::empty()));
        }
        refused("packets", socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None));
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let made = socket(family, SockType::Stream, SockFlag::empty(), SockProtocol::Sctp);
            refused("a stream of another kind", made);
        }
        socket(AddressFamily::Inet6, SockType::Stream, SockFlag::empty(), SockProtocol::Tcp).expect("TCP");
        let address = SocketAddr::from_abstract_name(name).expect("a name");
        kept_out("the daemon's socket", UnixStream::connect_addr(&address));
        kept_out("a socket with a path", UnixStream::connect("/run/systemd/private"));
        if cfg!(not(feature = "mdns")) {
            kept_out("datagrams", UdpSocket::bind("127.0.0.1:0"));
        }
        kept_out("a program", Command::new("/proc/self/exe").spawn());
        if !confined.contains("no Landlock") {
            kept_out("a file", File::open("/etc/passwd"));
        }
        kept_out("to write", OpenOptions::new().write(true).open("/proc/self/oom_score_adj"));
        kept_out("to make a file", File::create("/tmp/kept-out"));
        for whom in [parent, Pid::from_raw(0), Pid::from_raw(-1)] {
            refused("a signal", kill(whom, Signal::SIGCONT));
            refused("whether it lives", kill(whom, None));
        }
        refused("to trace", ptrace::attach(parent));
        refused("to be traced", ptrace::traceme());
        let mut bytes = [0; 8];
        let remote = [RemoteIoVec { base: 0x1000, len: 8 }];
        refused("to read", process_vm_readv(parent, &mut [IoSliceMut::new(&mut bytes)], &remote));
        refused("to write", process_vm_writev(parent, &[IoSlice::new(&bytes)], &remote));
        refused("to mount", mount(None::<&str>, "/tmp", None::<&str>, MsFlags::MS_BIND, None::<&str>));
        refused("namespaces", unshare(CloneFlags::CLONE_NEWUSER));
        // What it is there for goes on: threads, connections, the memory it needs, the socket that it has.
        let at = listener.local_addr().expect("an address");
        let there = std::thread::spawn(move || TcpStream::connect(at).expect("connected"));
        let (mut here, _) = listener.accept().expect("accepted");
        there.join().expect("a thread").write_all(b"word").expect("said");
        let mut word = String::new();
        here.read_to_string(&mut word).expect("heard");
        assert_eq!(word, "word");
        std::fs::read_to_string("/proc/self/statm").expect("how much memory");
        let input = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().expect("inherited");
        UnixStream::from(input).write_all(b"tried").expect("the daemon hears");
    }
}
