use std::io;

use nix::errno::Errno;

/// Why the kernel did not do what was asked. That a net must not be blocked is no error but a
/// [`Refusal`](crate::Refusal).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The socket to the kernel does not work.
    #[error("cannot talk to the kernel over netlink")]
    Socket(#[source] io::Error),
    /// We lack the right to change the firewall.
    #[error("not allowed to change the firewall: the capability CAP_NET_ADMIN is needed")]
    Denied,
    /// Another process owns our table, most likely a second daemon.
    #[error("the table `inet slips` belongs to another running process")]
    Owned,
    /// There is a table with our name that we did not make.
    #[error("there is a table `inet slips` that is not ours; rename or remove it")]
    Foreign,
    /// A set holds as many entries as it may.
    #[error("no room for more blocks: {step}")]
    Full {
        /// What was being done.
        step: &'static str,
    },
    /// The kernel refused one step and with it the whole transaction.
    #[error("the kernel refused to {step}")]
    Refused {
        /// What was being done.
        step: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The kernel did not say how it went, so it is not known; reading the blocks back tells.
    #[error("no answer from the kernel: {0}")]
    Unanswered(&'static str),
    /// Blocking was tried and does not block.
    #[error("a packet to a blocked address was sent all the same")]
    NotBlocking,
}

impl Error {
    /// The error for `errno` at this step of a transaction.
    pub(crate) fn refused(step: &'static str, errno: i32) -> Self {
        match Errno::from_raw(errno) {
            Errno::EPERM if step == BEGIN => Self::Denied,
            Errno::EPERM => Self::Owned,
            Errno::ENFILE => Self::Full { step },
            _ => Self::Refused { step, source: io::Error::from_raw_os_error(errno) },
        }
    }

    /// The error for `errno` at this step of reading: nobody's ownership keeps others from that.
    pub(crate) fn unread(step: &'static str, errno: i32) -> Self {
        match Errno::from_raw(errno) {
            Errno::EPERM => Self::Denied,
            _ => Self::refused(step, errno),
        }
    }

    /// The errno, where the kernel named one.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { source, .. } | Self::Socket(source) => source.raw_os_error().map(Errno::from_raw),
            _ => None,
        }
    }
}

/// The step that stands for the frame of a transaction: refused there, all is refused.
pub(crate) const BEGIN: &str = "begin transaction";
