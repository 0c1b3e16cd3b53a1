//! Every `unsafe` of this crate: what `nftnl` lets an outsider add only through its unsafe traits.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, OwnedFd};

use nftnl::{MsgType, NlMsg};
use nix::errno::Errno;
use nix::libc;

use super::wire::{self, Message};

/// A message that [`wire`](super::wire) has encoded, about the tables of this family, as a member of an `nftnl` batch.
pub(super) struct Encoded<'a>(pub(super) &'a Message, pub(super) u8);

// SAFETY: the trait asks that exactly one whole netlink message is written to the buffer. `Message::sendable` is one message, a multiple
// of four and at most `wire::MAX_MESSAGE` bytes long, and `wire::address` writes that length into it.
unsafe impl NlMsg for Encoded<'_> {
    unsafe fn write(&self, buf: *mut c_void, seq: u32, _: MsgType) {
        let bytes = self.0.sendable();
        // SAFETY: the caller's contract (`NlMsg::write`) is a buffer of at least `nft_nlmsg_maxsize()` = 65,535 + a page bytes, and
        // `sendable` is never more than MAX_MESSAGE = 65,000. The buffer is libnftnl's own allocation, so it cannot overlap ours, and
        // nobody else has it while `write` runs: the slice over what was just written is ours alone.
        let written = unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), buf.cast::<u8>(), bytes.len());
            std::slice::from_raw_parts_mut(buf.cast::<u8>(), bytes.len())
        };
        wire::address(written, seq);
        wire::turn_to_family(written, self.1);
    }
}

/// Hears what the kernel tells this group; `nix` has no such option.
pub(super) fn join_group(socket: &OwnedFd, group: u32) -> nix::Result<()> {
    set(socket, libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, &group)
}

/// Hears this group no longer.
pub(super) fn leave_group(socket: &OwnedFd, group: u32) -> nix::Result<()> {
    set(socket, libc::SOL_NETLINK, libc::NETLINK_DROP_MEMBERSHIP, &group)
}

/// Asks the kernel to heed all of a question; `nix` has no such option.
pub(super) fn check_strictly(socket: &OwnedFd) -> nix::Result<()> {
    set(socket, libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, &1_i32)
}

/// Lets no message pass that tells of a change by this port, by a filter of classic BPF in the kernel. One datagram tells of one
/// transaction, so its first message says whose it is.
pub(super) fn ignore_port(socket: &OwnedFd, port: u32) -> nix::Result<()> {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    // The kernel loads numbers in network order, and writes them into the header in its own.
    let port = port.to_be();
    let mut steps = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, PORT_IN_HEADER),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, port),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    let filter = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

fn set<T>(socket: &OwnedFd, level: libc::c_int, option: libc::c_int, value: &T) -> nix::Result<()> {
    let size = size_of::<T>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as it is borrowed; `value` is a live object of `size` bytes, of the type that the option takes
    // (all callers are above); what a filter points to lives in the caller until this returns, and the kernel copies it.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), size)
    };
    Errno::result(done).map(drop)
}

/// `nlmsg_pid` in the header of a message.
const PORT_IN_HEADER: u32 = 12;
