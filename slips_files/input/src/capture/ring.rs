//! The kernel's packet ring, and the one place of this crate that may be `unsafe`.
//!
//! `AF_PACKET` with `TPACKET_V3` is the only way to get packets out of any Linux without a copy and without a driver of its
//! own; it is asked for by socket options and shared memory that no safe crate offers. What leaves this module is safe:
//! [`Ring::take`] lends a finished block as bytes and gives it back to the kernel when dropped. Reading the frames out of
//! those bytes is ordinary checked code (`block.rs`).

#![allow(unsafe_code, reason = "the fence: see the module's first lines")]

use std::io;
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::settings::RingSize;
use crate::filter::Program;

/// What a ring is opened with.
pub(super) struct RingOptions<'a> {
    /// Its memory.
    pub size: RingSize,
    /// Whether frames come with their link header, or from the network header on.
    pub header: LinkHeader,
    /// Whether the kernel leaves out what this host sends.
    pub ignore_outgoing: bool,
    /// Frames it refuses never enter the ring.
    pub filter: Option<&'a Program>,
}

/// Whether frames come with their link header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkHeader {
    /// As on the wire.
    Kept,
    /// Taken off by the kernel.
    Stripped,
}

/// The step of opening a ring that the kernel refused.
#[derive(Debug)]
pub(super) struct RingError {
    pub step: Step,
    pub source: io::Error,
}

/// A step of opening a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Socket,
    Version,
    Filter,
    Memory,
    Map,
    Bind,
    Promiscuous,
    Group,
}

impl Step {
    fn failed(self) -> RingError {
        RingError { step: self, source: io::Error::last_os_error() }
    }
}

/// What the kernel counted since it was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Statistics {
    pub drops: u32,
    pub freezes: u32,
}

/// A packet socket whose frames the kernel puts into a ring, whether or not somebody looks into it.
#[derive(Debug)]
pub(super) struct RingSocket {
    socket: OwnedFd,
    size: RingSize,
}

impl RingSocket {
    /// Receives nothing yet: [`RingSocket::bind`] says from where.
    pub(super) fn open(options: &RingOptions<'_>) -> Result<Self, RingError> {
        let kind = match options.header {
            LinkHeader::Kept => libc::SOCK_RAW,
            LinkHeader::Stripped => libc::SOCK_DGRAM,
        };
        // Protocol 0: until it is bound the socket sees no packet, so none slips in before the filter, or from elsewhere.
        // SAFETY: takes three numbers and returns a descriptor or -1.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) };
        if fd < 0 {
            return Err(Step::Socket.failed());
        }
        // SAFETY: `fd` was opened just above and is owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        set(&socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version).map_err(at(Step::Version))?;
        if options.ignore_outgoing {
            // Kernels before 4.20 do not know it; there the reader of the frames leaves them out.
            let _ = set(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1 as &libc::c_int);
        }
        if let Some(program) = options.filter {
            attach_filter(&socket, &super::code::of(program))?;
        }
        let (blocks, block_bytes) = (options.size.blocks(), options.size.block_bytes());
        let request = libc::tpacket_req3 {
            tp_block_size: block_bytes,
            tp_block_nr: blocks,
            tp_frame_size: FRAME_BYTES,
            tp_frame_nr: (block_bytes / FRAME_BYTES).saturating_mul(blocks),
            tp_retire_blk_tov: options.size.retire_ms(),
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request).map_err(at(Step::Memory))?;
        Ok(Self { socket, size: options.size })
    }

    /// A socket that an earlier process opened, with a ring of this size: when [`RingSocket::map`] finds it otherwise, that fails.
    /// `None` for any other sort of descriptor.
    pub(super) fn again(socket: OwnedFd, size: RingSize) -> Option<Self> {
        let family: libc::c_int = get(&socket, libc::SOL_SOCKET, libc::SO_DOMAIN).ok()?;
        let version: libc::c_int = get(&socket, libc::SOL_PACKET, libc::PACKET_VERSION).ok()?;
        let ours = family == libc::AF_PACKET && version == libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        ours.then_some(Self { socket, size })
    }

    /// Looks into the ring.
    pub(super) fn map(self) -> Result<Ring, (Self, RingError)> {
        match Memory::of(&self.socket, self.size) {
            Ok(memory) => Ok(Ring { socket: self, memory, next: None }),
            Err(error) => Err((self, error)),
        }
    }

    /// Receives from the interface `index` from now on, and from no other. May be called again.
    pub(super) fn bind(&self, index: u32) -> Result<(), RingError> {
        // SAFETY: an all-zero sockaddr_ll is a valid value of that plain struct.
        let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index.cast_signed();
        // SAFETY: the pointer and the length are those of `address`, which outlives the call.
        let result = unsafe {
            libc::bind(
                self.socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if result < 0 { Err(Step::Bind.failed()) } else { Ok(()) }
    }

    /// Asks the card for frames that are not addressed to this host, for as long as the ring lives.
    pub(super) fn promiscuous(&self, index: u32) -> Result<(), RingError> {
        let request = libc::packet_mreq {
            mr_ifindex: index.cast_signed(),
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set(&self.socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
            .map_err(at(Step::Promiscuous))
    }

    /// What was dropped since the last call.
    pub(super) fn statistics(&self) -> io::Result<Statistics> {
        let mut answer = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
        let mut length = size_of::<libc::tpacket_stats_v3>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into `answer`, a plain struct of three numbers.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut answer).cast(),
                &raw mut length,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Statistics { drops: answer.tp_drops, freezes: answer.tp_freeze_q_cnt })
    }

    /// A number that no other socket has as long as the machine runs.
    pub(super) fn cookie(&self) -> u64 {
        get(&self.socket, libc::SOL_SOCKET, libc::SO_COOKIE).unwrap_or(0)
    }

    /// Takes in no frame any more. What is in the ring stays.
    pub(super) fn silence(&self) -> Result<(), RingError> {
        attach_filter(&self.socket, &NOTHING)
    }

    /// Takes in what `filter` says again, or all.
    pub(super) fn listen(&self, filter: Option<&Program>) -> Result<(), RingError> {
        match filter {
            Some(program) => attach_filter(&self.socket, &super::code::of(program)),
            None => match set(&self.socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0 as &libc::c_int) {
                // It has none.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                done => done.map_err(at(Step::Filter)),
            },
        }
    }

    /// The group of sockets that this one belongs to.
    pub(super) fn group(&self) -> Option<Group> {
        let word: u32 = get(&self.socket, libc::SOL_PACKET, libc::PACKET_FANOUT).ok()?;
        (word != 0).then_some(Group(word))
    }

    /// Makes a group of this socket: each frame comes here, and only where there is no room goes to another member. It can not be bound
    /// again afterwards.
    pub(super) fn found_group(&self, ignore_outgoing: bool) -> Result<Group, RingError> {
        let flags = libc::PACKET_FANOUT_FLAG_ROLLOVER
            | if ignore_outgoing { libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING } else { 0 };
        let request = (libc::PACKET_FANOUT_CBPF | flags | libc::PACKET_FANOUT_FLAG_UNIQUEID) << 16;
        set(&self.socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &request).map_err(at(Step::Group))?;
        let group = self.group().ok_or(Step::Group.failed())?;
        // The program answers 0 for every frame: the first member.
        let program = fprog(&NOTHING).map_err(at(Step::Group))?;
        set(&self.socket, libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, &program).map_err(at(Step::Group))?;
        Ok(group)
    }

    /// Becomes one more member of a group.
    pub(super) fn join(&self, group: Group) -> Result<(), RingError> {
        set(&self.socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &group.0).map_err(at(Step::Group))
    }

    /// The memory.
    pub(super) const fn size(&self) -> RingSize {
        self.size
    }
}

impl AsFd for RingSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A group of packet sockets, in the kernel's word for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group(u32);

/// The ring of a socket, looked into.
#[derive(Debug)]
pub(super) struct Ring {
    socket: RingSocket,
    memory: Memory,
    /// The block that the kernel hands over next; `None`: the oldest of those that it has handed over.
    next: Option<usize>,
}

impl Ring {
    /// The next finished block, if the kernel has handed one over.
    pub(super) fn take(&mut self) -> Option<Block<'_>> {
        let number = self.ready()?;
        let is_deadly = !self.memory.begin_reading(number);
        Some(Block { ring: self, number, is_deadly })
    }

    /// The same, which stays ours.
    pub(super) fn look(&mut self) -> Option<&[u8]> {
        let next = self.ready()?;
        Some(self.memory.bytes(next))
    }

    /// How many blocks are ours.
    pub(super) fn waiting(&self) -> usize {
        self.memory.ours().count()
    }

    /// Whether no frame lies in it, nor in the block that the kernel fills.
    pub(super) fn is_untouched(&self) -> bool {
        let newest = (0..self.memory.blocks()).max_by_key(|block| self.memory.sequence(*block));
        self.waiting() == 0 && newest.is_some_and(|block| self.memory.frames(block) == 0)
    }

    /// Looks into it no more.
    pub(super) fn park(self) -> RingSocket {
        self.socket
    }

    pub(super) const fn socket(&self) -> &RingSocket {
        &self.socket
    }

    /// The next block, once it is ours.
    fn ready(&mut self) -> Option<usize> {
        match self.next {
            Some(next) => self.memory.is_ours(next).then_some(next),
            None => {
                self.next = self.memory.oldest();
                self.next
            }
        }
    }
}

/// The memory that a socket's ring shares with us.
#[derive(Debug)]
struct Memory {
    start: NonNull<u8>,
    size: RingSize,
}

// SAFETY: a mapping that this value alone owns; nothing about it is bound to the thread that made it.
unsafe impl Send for Memory {}

impl Memory {
    fn of(socket: &OwnedFd, size: RingSize) -> Result<Self, RingError> {
        // SAFETY: no address is asked for and the descriptor is open. The kernel refuses any other length than the ring's.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes_of(size),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Step::Map.failed());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| Step::Map.failed())?;
        Ok(Self { start, size })
    }

    const fn blocks(&self) -> usize {
        self.size.blocks() as usize
    }

    /// The word at `at` in a block's descriptor.
    fn word(&self, block: usize, at: usize) -> &AtomicU32 {
        debug_assert!(block < self.blocks() && at.is_multiple_of(4));
        // SAFETY: blocks are counted below `blocks`, so this one lies in the mapping; its descriptor begins at a page border and the
        // offsets are those of aligned words in it. The kernel writes it too, which is why it is only ever touched atomically.
        unsafe {
            let block = self.start.add(block * self.size.block_bytes() as usize);
            AtomicU32::from_ptr(block.add(at).cast().as_ptr())
        }
    }

    /// The number that the kernel gave a block when it began to fill it; 0: never.
    fn sequence(&self, block: usize) -> u64 {
        debug_assert!(block < self.blocks());
        // SAFETY: as for `word`; the kernel declares the number with an alignment of eight bytes.
        unsafe {
            let block = self.start.add(block * self.size.block_bytes() as usize);
            AtomicU64::from_ptr(block.add(SEQUENCE_AT).cast().as_ptr()).load(Ordering::Relaxed)
        }
    }

    fn frames(&self, block: usize) -> u32 {
        self.word(block, FRAMES_AT).load(Ordering::Relaxed)
    }

    /// Notes in the ring, which outlives us, that a block is being read. False: two processes began to, and both died before its end.
    fn begin_reading(&self, block: usize) -> bool {
        let attempt = self.word(block, ATTEMPT_AT);
        let next = match attempt.load(Ordering::Relaxed) {
            FIRST_ATTEMPT => SECOND_ATTEMPT,
            SECOND_ATTEMPT => return false,
            _ => FIRST_ATTEMPT,
        };
        attempt.store(next, Ordering::Release);
        true
    }

    fn is_ours(&self, block: usize) -> bool {
        self.word(block, STATUS_AT).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    fn ours(&self) -> impl Iterator<Item = usize> {
        (0..self.blocks()).filter(|block| self.is_ours(*block))
    }

    /// The oldest block that is ours. The kernel goes on meanwhile, so it is asked until it says the same twice.
    fn oldest(&self) -> Option<usize> {
        let look = || self.ours().min_by_key(|block| self.sequence(*block));
        let mut seen = look();
        loop {
            let again = look();
            if again == seen {
                return seen;
            }
            seen = again;
        }
    }

    /// All bytes of a block, its descriptor included; to be asked for while it is ours.
    fn bytes(&self, block: usize) -> &[u8] {
        let length = self.size.block_bytes() as usize;
        // SAFETY: the block lies in the mapping. Whoever asks saw TP_STATUS_USER with Acquire, so the kernel has finished writing and
        // leaves the block alone until it is given back, for which the ring must be borrowed mutably, which this slice prevents.
        unsafe { std::slice::from_raw_parts(self.start.add(block * length).as_ptr(), length) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: address and length are those that mmap gave; no block is lent, since a block borrows the ring.
        unsafe { libc::munmap(self.start.as_ptr().cast(), bytes_of(self.size)) };
    }
}

const fn bytes_of(size: RingSize) -> usize {
    size.blocks() as usize * size.block_bytes() as usize
}

/// A finished block, ours until it is dropped.
pub(super) struct Block<'ring> {
    ring: &'ring mut Ring,
    number: usize,
    is_deadly: bool,
}

impl Block<'_> {
    /// All bytes of the block, its descriptor included.
    pub(super) fn bytes(&self) -> &[u8] {
        self.ring.memory.bytes(self.number)
    }

    /// Whether two processes died while they read it. One may have been killed in the middle of it; two died of what is in it.
    pub(super) const fn is_deadly(&self) -> bool {
        self.is_deadly
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        let memory = &self.ring.memory;
        memory.word(self.number, ATTEMPT_AT).store(0, Ordering::Relaxed);
        memory.word(self.number, STATUS_AT).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.ring.next = Some((self.number + 1) % memory.blocks());
    }
}

/// Takes over the descriptors from 3 on that a service manager passed to this process under these names. They are closed on exec from now
/// on. Only the first call gets any.
pub fn inherited(names: Vec<String>) -> Vec<(String, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let passed = (3..).zip(names).filter_map(|(fd, name)| {
        // SAFETY: takes numbers; fails for one that is no open descriptor.
        let open = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
        // SAFETY: it is open; whoever was started with these descriptors is told so by LISTEN_FDS and nobody else in this process has
        // taken them, since they are given away once.
        open.then(|| (name, unsafe { OwnedFd::from_raw_fd(fd) }))
    });
    passed.collect()
}

/// The index of the interface that a packet socket receives from; `None` when it was let go.
pub(super) fn bound_to(socket: BorrowedFd<'_>) -> Option<u32> {
    // SAFETY: an all-zero sockaddr_ll is a valid value of that plain struct.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `address`.
    let result = unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
    u32::try_from(address.sll_ifindex).ok().filter(|index| result == 0 && *index > 0)
}

/// The network namespace that a socket belongs to, as a number; 0 on kernels before 5.14.
pub(super) fn network(socket: BorrowedFd<'_>) -> u64 {
    get(&socket, libc::SOL_SOCKET, libc::SO_NETNS_COOKIE).unwrap_or(0)
}

/// What the kernel tells of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterfaceFacts {
    /// Its number; another one when it was deleted and made again.
    pub index: u32,
    /// Its kind (`ARPHRD_…`).
    pub hardware: u16,
    /// Whether it is switched on.
    pub up: bool,
}

/// Looks an interface up by name. Any socket of the right network namespace will do to ask through.
pub(super) fn interface(socket: BorrowedFd<'_>, name: &str) -> io::Result<InterfaceFacts> {
    // SAFETY: an all-zero ifreq is a valid value of that plain struct.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let mut ask = |what| {
        // SAFETY: these three requests read the name from, and write their answer into, the ifreq they are given.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(request.ifr_ifru) }
    };
    // SAFETY (the three reads): each field is the one that the request just made has filled, and all are plain numbers.
    let index = ask(libc::SIOCGIFINDEX).map(|answer| unsafe { answer.ifru_ifindex })?;
    // SAFETY: as above.
    let hardware = ask(libc::SIOCGIFHWADDR).map(|answer| unsafe { answer.ifru_hwaddr.sa_family })?;
    // SAFETY: as above.
    let flags = ask(libc::SIOCGIFFLAGS).map(|answer| unsafe { answer.ifru_flags })?;
    let up = libc::c_int::from(flags) & libc::IFF_UP != 0;
    Ok(InterfaceFacts { index: index.cast_unsigned(), hardware, up })
}

/// Waits until one of `fds` has something to tell, at most `timeout_ms`.
pub(super) fn poll(fds: &mut [libc::pollfd], timeout_ms: i32) -> io::Result<usize> {
    // SAFETY: pointer and count are those of the slice, which the kernel writes `revents` of.
    let result = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout_ms) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result.cast_unsigned() as usize) }
}

fn attach_filter(socket: &OwnedFd, filter: &[libc::sock_filter]) -> Result<(), RingError> {
    let program = fprog(filter).map_err(at(Step::Filter))?;
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program).map_err(at(Step::Filter))
}

/// The kernel copies and checks the program; it does not write through the pointer.
fn fprog(filter: &[libc::sock_filter]) -> io::Result<libc::sock_fprog> {
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    Ok(libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() })
}

fn at(step: Step) -> impl Fn(io::Error) -> RingError {
    move |source| RingError { step, source }
}

fn set<T>(socket: &OwnedFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads exactly the bytes of `value`, which outlives the call; where it holds a pointer (the filter),
    // that points to as many instructions as it says.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads a number that the kernel writes whole, or fails.
fn get<T: Default>(socket: &impl AsFd, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `value`, which is a plain number for all who call.
    let result = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Refuses every frame.
const NOTHING: [libc::sock_filter; 1] =
    [libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 }];

/// Nominal; frames of any size share a block in version 3, but the kernel checks the product.
const FRAME_BYTES: u32 = 2048;

/// Where the status word stands in a block.
pub(super) const STATUS_AT: usize =
    offset_of!(libc::tpacket_block_desc, hdr) + offset_of!(libc::tpacket_hdr_v1, block_status);

/// Where the number of frames in a block, and the number of the block, stand in it.
const FRAMES_AT: usize =
    offset_of!(libc::tpacket_block_desc, hdr) + offset_of!(libc::tpacket_hdr_v1, num_pkts);
const SEQUENCE_AT: usize =
    offset_of!(libc::tpacket_block_desc, hdr) + offset_of!(libc::tpacket_hdr_v1, seq_num);

/// Where we note that a block is being read: the kernel says there where an area begins that no ring of ours has, writes it anew when it
/// begins to fill the block, and never reads it.
const ATTEMPT_AT: usize = offset_of!(libc::tpacket_block_desc, offset_to_priv);
/// Nothing that the kernel writes there.
const FIRST_ATTEMPT: u32 = u32::MAX - 1;
const SECOND_ATTEMPT: u32 = u32::MAX;
