//! What can stand in the way of a capture, and the way out.

use std::io;

use super::ring::{RingError, Step};

/// Why nothing can be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// No interface was named, one twice, or too many.
    #[error("{given} interfaces given: name 1 to {most} of them, each once")]
    Interfaces {
        /// How many were given.
        given: usize,
        /// How many may be.
        most: usize,
    },
    /// There is no such interface.
    #[error("no interface `{name}` here; there are: {}", .existing.join(", "))]
    NoInterface {
        /// The name asked for.
        name: String,
        /// Those that exist.
        existing: Vec<String>,
    },
    /// The kernel does not let us.
    #[error(
        "no permission to capture on `{name}`: it takes the capability CAP_NET_RAW; run as root, under the systemd unit \
         (AmbientCapabilities=CAP_NET_RAW), or once `setcap cap_net_raw=ep` on the program"
    )]
    Permission {
        /// The interface.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The sensor cannot read the frames of this interface.
    #[error(
        "cannot read the frames of `{name}` (link type {dlt}): name an interface that carries IP or Ethernet"
    )]
    LinkType {
        /// The interface.
        name: String,
        /// Its link type number as in pcap files.
        dlt: u32,
    },
    /// The kernel refuses the filter program.
    #[error("the kernel refuses the packet filter on `{name}`")]
    Filter {
        /// The interface.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Frames of this kind cannot be filtered.
    #[error("no packet filter can be used on `{name}`, whose frames begin with a Wi-Fi header")]
    Unfiltered {
        /// The interface.
        name: String,
    },
    /// There is no memory for the ring.
    #[error("no memory for the capture ring of `{name}` ({bytes} bytes): make it smaller")]
    Memory {
        /// The interface.
        name: String,
        /// How much was asked for.
        bytes: u64,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The interface cannot be opened, for another reason.
    #[error("cannot capture on `{name}`: {step}")]
    Open {
        /// The interface.
        name: String,
        /// The step that the kernel refused.
        step: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The means to stop the capture, or to ask about interfaces, could not be made.
    #[error("cannot make the descriptors that a capture needs beside its interfaces")]
    Stopper {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Waiting for frames failed.
    #[error("cannot wait for frames")]
    Poll {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// The sort of a [`CaptureError`], by what the process ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command is wrong (64).
    Usage,
    /// What was asked for is not there (66).
    NoInput,
    /// Not allowed (77).
    Permission,
    /// Anything else of the system (71).
    System,
}

impl CaptureError {
    /// The sort of the error.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Interfaces { .. }
            | Self::LinkType { .. }
            | Self::Filter { .. }
            | Self::Unfiltered { .. } => ErrorKind::Usage,
            Self::NoInterface { .. } => ErrorKind::NoInput,
            Self::Permission { .. } => ErrorKind::Permission,
            Self::Memory { .. } | Self::Open { .. } | Self::Stopper { .. } | Self::Poll { .. } => {
                ErrorKind::System
            }
        }
    }

    pub(super) fn missing(name: &str) -> Self {
        let existing = match nix::net::if_::if_nameindex() {
            Ok(list) => list.iter().map(|it| it.name().to_string_lossy().into_owned()).collect(),
            Err(_) => Vec::new(),
        };
        Self::NoInterface { name: name.to_owned(), existing }
    }

    pub(super) fn opening(name: &str, ring_bytes: u64, error: RingError) -> Self {
        let RingError { step, source } = error;
        let name = name.to_owned();
        let step = match (step, source.raw_os_error()) {
            (_, Some(libc::EPERM | libc::EACCES)) => return Self::Permission { name, source },
            (Step::Bind | Step::Promiscuous, Some(libc::ENODEV | libc::ENXIO)) => {
                return Self::missing(&name);
            }
            (Step::Filter, _) => return Self::Filter { name, source },
            (Step::Memory | Step::Map, _) => return Self::Memory { name, bytes: ring_bytes, source },
            (Step::Socket, _) => "no packet socket",
            (Step::Version, _) => "the kernel knows no packet ring of version 3",
            (Step::Bind, _) => "the socket cannot be bound",
            (Step::Promiscuous, _) => "promiscuous mode is refused",
            (Step::Group, _) => "the sockets cannot be joined",
        };
        Self::Open { name, step, source }
    }
}

impl ErrorKind {
    /// The exit code after sysexits.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::NoInput => 66,
            Self::System => 71,
            Self::Permission => 77,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_kernel_has_its_sort_and_names_the_interface() {
        for (step, errno, kind) in [
            (Step::Socket, libc::EPERM, ErrorKind::Permission),
            (Step::Socket, libc::EACCES, ErrorKind::Permission),
            (Step::Socket, libc::EAFNOSUPPORT, ErrorKind::System),
            (Step::Bind, libc::ENODEV, ErrorKind::NoInput),
            (Step::Filter, libc::EINVAL, ErrorKind::Usage),
            (Step::Memory, libc::ENOMEM, ErrorKind::System),
            (Step::Map, libc::EAGAIN, ErrorKind::System),
            (Step::Bind, libc::EINVAL, ErrorKind::System),
        ] {
            let source = io::Error::from_raw_os_error(errno);
            let error = CaptureError::opening("wan0", 1 << 23, RingError { step, source });
            assert_eq!(error.kind(), kind, "{step:?} {errno}: {error}");
            assert!(error.to_string().contains("`wan0`"), "{error}");
        }
    }

    #[test]
    fn a_lack_of_permission_names_the_capability() {
        let source = io::Error::from_raw_os_error(libc::EPERM);
        let error = CaptureError::opening("wan0", 0, RingError { step: Step::Socket, source });
        assert!(error.to_string().contains("CAP_NET_RAW"), "{error}");
        assert_eq!(error.kind().exit_code(), 77);
    }
}
