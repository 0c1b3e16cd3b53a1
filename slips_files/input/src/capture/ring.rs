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
use std::sync::atomic::{AtomicU32, Ordering};

use crate::filter::Program;

/// What a ring is opened with.
pub(super) struct RingOptions<'a> {
    /// Blocks of memory; a power of two is not needed.
    pub blocks: u32,
    /// Bytes of each block: a power of two of at least a page.
    pub block_bytes: u32,
    /// After how many milliseconds a block that is not full is handed over.
    pub retire_ms: u32,
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

/// A packet socket with its shared memory.
#[derive(Debug)]
pub(super) struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    block_bytes: usize,
    blocks: usize,
    /// The block that the kernel hands over next.
    next: usize,
}

// SAFETY: `memory` is a mapping that this value alone owns; nothing about it is bound to the thread that made it.
unsafe impl Send for Ring {}

impl Ring {
    /// A ring that receives nothing yet: [`Ring::bind`] says from where.
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
        let (blocks, block_bytes) = (options.blocks, options.block_bytes);
        let request = libc::tpacket_req3 {
            tp_block_size: block_bytes,
            tp_block_nr: blocks,
            tp_frame_size: FRAME_BYTES,
            tp_frame_nr: (block_bytes / FRAME_BYTES).saturating_mul(blocks),
            tp_retire_blk_tov: options.retire_ms,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request).map_err(at(Step::Memory))?;
        let (blocks, block_bytes) = (blocks as usize, block_bytes as usize);
        // SAFETY: no address is asked for, the length is that of the ring just made, and the descriptor is open.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                blocks * block_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(Step::Map.failed());
        }
        let memory = NonNull::new(memory.cast()).ok_or_else(|| Step::Map.failed())?;
        Ok(Self { socket, memory, block_bytes, blocks, next: 0 })
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

    /// The next finished block, if the kernel has handed one over.
    pub(super) fn take(&mut self) -> Option<Block<'_>> {
        let status = self.status().load(Ordering::Acquire);
        (status & libc::TP_STATUS_USER != 0).then_some(Block { ring: self })
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

    /// The status word of the next block.
    fn status(&self) -> &AtomicU32 {
        // SAFETY: `next < blocks`, so the block lies in the mapping; its descriptor begins at a page border and the word is
        // aligned in it. The kernel writes it too, which is why it is only ever touched atomically.
        unsafe {
            let block = self.memory.add(self.next * self.block_bytes);
            AtomicU32::from_ptr(block.add(STATUS_AT).cast().as_ptr())
        }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: address and length are those that mmap gave; no block is lent, since a block borrows the ring.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.blocks * self.block_bytes) };
    }
}

/// A finished block, ours until it is dropped.
pub(super) struct Block<'ring> {
    ring: &'ring mut Ring,
}

impl Block<'_> {
    /// All bytes of the block, its descriptor included.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the block lies in the mapping (`next < blocks`). `take` saw TP_STATUS_USER with Acquire, so the kernel has
        // finished writing and leaves the block alone until `drop`, which cannot run while the slice is borrowed.
        unsafe {
            let start = self.ring.memory.add(self.ring.next * self.ring.block_bytes);
            std::slice::from_raw_parts(start.as_ptr(), self.ring.block_bytes)
        }
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        self.ring.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.ring.next = (self.ring.next + 1) % self.ring.blocks;
    }
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
    let Ok(len) = u16::try_from(filter.len()) else {
        return Err(RingError { step: Step::Filter, source: io::Error::from_raw_os_error(libc::EINVAL) });
    };
    // The kernel copies and checks the program; it does not write through the pointer.
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program).map_err(at(Step::Filter))
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

/// Nominal; frames of any size share a block in version 3, but the kernel checks the product.
const FRAME_BYTES: u32 = 2048;

/// Where the status word stands in a block.
pub(super) const STATUS_AT: usize =
    offset_of!(libc::tpacket_block_desc, hdr) + offset_of!(libc::tpacket_hdr_v1, block_status);
