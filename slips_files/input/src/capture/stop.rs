//! Ending a capture from outside.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::CaptureError;

/// Ends a [`super::Capture`], at once and for good, even while it waits. Clones end the same one.
#[derive(Clone, Debug)]
pub struct Stopper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stopped: AtomicBool,
    wake: EventFd,
}

impl Stopper {
    pub(super) fn new() -> Result<Self, CaptureError> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake =
            EventFd::from_flags(flags).map_err(|errno| CaptureError::Stopper { source: errno.into() })?;
        Ok(Self { shared: Arc::new(Shared { stopped: AtomicBool::new(false), wake }) })
    }

    /// Ends the capture. A store and one write(2): safe in a signal handler, and as often as one likes.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Fails only when the counter is full, and then the waiting side is awake already.
        let _ = self.shared.wake.write(1);
    }

    /// Whether it was ended.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }
}
