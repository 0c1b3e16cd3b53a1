//! Every `unsafe` of this crate: what `nftnl` lets an outsider add only through its unsafe traits.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use nftnl::expr::Expression;
use nftnl::{MsgType, NlMsg, Rule};
use nftnl_sys as sys;

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

/// Counts in a named counter of the table; `nftnl` knows anonymous counters only.
pub(crate) struct Objref<'a>(pub(crate) &'a CStr);

impl Expression for Objref<'_> {
    fn to_expr(&self, _: &Rule) -> NonNull<sys::nftnl_expr> {
        // SAFETY: the name is a valid C string; the call has no other precondition.
        let expr = unsafe { sys::nftnl_expr_alloc(c"objref".as_ptr()) };
        let Some(expr) = NonNull::new(expr) else {
            // Out of memory for some fifty bytes: what the standard library does, and `nftnl` in all its expressions.
            std::process::abort();
        };
        // SAFETY: `expr` is the live object allocated above, of type objref, to which both attributes belong; the name is a valid C
        // string, which libnftnl copies. The ownership goes to the rule, by the contract of `Expression`.
        unsafe {
            sys::nftnl_expr_set_u32(expr.as_ptr(), sys::NFTNL_EXPR_OBJREF_IMM_TYPE as u16, OBJECT_COUNTER);
            sys::nftnl_expr_set_str(expr.as_ptr(), sys::NFTNL_EXPR_OBJREF_IMM_NAME as u16, self.0.as_ptr());
        }
        expr
    }
}

/// `NFT_OBJECT_COUNTER` of linux/netfilter/nf_tables.h.
const OBJECT_COUNTER: u32 = 1;
