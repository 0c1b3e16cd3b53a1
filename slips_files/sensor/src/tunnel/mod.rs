//! Tunnels: which kind of wrapping a packet is, and what is inside.

mod gre;
mod known;
mod udp;

pub(crate) use gre::unwrap as unwrap_gre;
pub(crate) use known::{Known, News};
pub(crate) use udp::{is_teredo, unwrap as unwrap_datagram};

use crate::link::LinkType;
use crate::service::Service;

/// Tunnels within tunnels that are opened; what is wrapped deeper stays wrapped.
pub(crate) const MAX_DEPTH: u8 = 4;

/// Kinds of tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrapping {
    /// IP directly in IP, of any versions.
    Ip,
    /// GRE, also within UDP; with ERSPAN, PPTP and bridged Ethernet.
    Gre,
    Vxlan,
    Geneve,
    Gtp,
    Ayiya,
    Teredo,
}

/// What was inside a wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inner<'a> {
    /// How it begins.
    pub(crate) link: LinkType,
    /// As captured.
    pub(crate) bytes: &'a [u8],
}

impl Wrapping {
    /// Zeek's name of the kind.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ip => "Tunnel::IP",
            Self::Gre => "Tunnel::GRE",
            Self::Vxlan => "Tunnel::VXLAN",
            Self::Geneve => "Tunnel::GENEVE",
            Self::Gtp => "Tunnel::GTPv1",
            Self::Ayiya => "Tunnel::AYIYA",
            Self::Teredo => "Tunnel::TEREDO",
        }
    }

    /// The kind that datagrams to this port are, if they read so.
    pub(crate) const fn on_port(port: u16) -> Option<Self> {
        Some(match port {
            2152 => Self::Gtp,
            3544 => Self::Teredo,
            4754 => Self::Gre,
            4789 => Self::Vxlan,
            5072 => Self::Ayiya,
            6081 => Self::Geneve,
            _ => return None,
        })
    }

    /// The application that the outer flow is.
    pub(crate) const fn service(self) -> Option<Service> {
        Some(match self {
            Self::Vxlan => Service::Vxlan,
            Self::Geneve => Service::Geneve,
            Self::Gtp => Service::Gtp,
            Self::Ayiya => Service::Ayiya,
            Self::Teredo => Service::Teredo,
            Self::Ip | Self::Gre => return None,
        })
    }
}
