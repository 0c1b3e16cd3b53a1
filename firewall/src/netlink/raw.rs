//! Every `unsafe` of this crate: what `nftnl` lets an outsider add only through its unsafe traits.

use std::ffi::c_void;

use nftnl::{MsgType, NlMsg};

use super::wire::Message;

/// A message that [`wire`](super::wire) has encoded, as a member of an `nftnl` batch.
pub(super) struct Encoded<'a>(pub(super) &'a Message);

// SAFETY: the trait asks that exactly one whole netlink message is written to the buffer. `Message::finished` hands out one message
// whose length field is its true length, a multiple of four, and at most `wire::MAX_MESSAGE` bytes.
unsafe impl NlMsg for Encoded<'_> {
    unsafe fn write(&self, buf: *mut c_void, seq: u32, _: MsgType) {
        let bytes = self.0.finished(seq);
        // SAFETY: the caller's contract (`NlMsg::write`) is a buffer of at least `nft_nlmsg_maxsize()` = 65,535 + a page bytes, and
        // `finished` never returns more than MAX_MESSAGE = 65,000. The buffer is libnftnl's own allocation, so it cannot overlap ours.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buf.cast::<u8>(), bytes.len()) };
    }
}
