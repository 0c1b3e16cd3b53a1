//! Neighbour discovery of IPv6 (RFC 4861): who says that an address is at which hardware address, and who says that he is a router.

use std::net::{IpAddr, Ipv6Addr};

use crate::flow::MacAddr;
use crate::time::{PacketTime, Span};

/// One message, sent on the link itself: what came over a router (hop limit below 255) is no neighbour's and is not told.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// Time of the packet.
    pub at: PacketTime,
    /// Sender of the packet; `::` while it checks an address that it wants.
    pub src: IpAddr,
    /// Receiver of the packet, often a group.
    pub dst: IpAddr,
    /// Source of the frame; `None` where the capture has none.
    pub frame_src: Option<MacAddr>,
    /// What it says.
    pub message: Discovery,
    /// Index of the interface; 0 for files.
    pub interface: u16,
}

/// What a message of neighbour discovery says. `link` is the hardware address that the sender names in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Discovery {
    /// "Who has `target`?"
    Solicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// The asker's own hardware address.
        link: Option<MacAddr>,
    },
    /// "`target` is at `link`."
    Advertisement {
        /// The address that is told of.
        target: Ipv6Addr,
        /// Where it is.
        link: Option<MacAddr>,
        /// The sender routes.
        is_router: bool,
        /// It answers a solicitation.
        is_solicited: bool,
        /// Receivers shall forget what they knew.
        overrides: bool,
    },
    /// "Which routers are there?"
    RouterSolicitation {
        /// The asker's own hardware address.
        link: Option<MacAddr>,
    },
    /// "I am a router."
    RouterAdvertisement(Box<RouterAdvertisement>),
    /// "Send what goes to `destination` to `target`."
    Redirect {
        /// The better first hop.
        target: Ipv6Addr,
        /// What is redirected.
        destination: Ipv6Addr,
        /// The hardware address of the target.
        link: Option<MacAddr>,
    },
}

impl Discovery {
    /// In words, for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Solicitation { .. } => "neighbour_solicitation",
            Self::Advertisement { .. } => "neighbour_advertisement",
            Self::RouterSolicitation { .. } => "router_solicitation",
            Self::RouterAdvertisement(_) => "router_advertisement",
            Self::Redirect { .. } => "redirect",
        }
    }

    /// The hardware address that the message names.
    pub fn link(&self) -> Option<MacAddr> {
        match self {
            Self::Solicitation { link, .. }
            | Self::Advertisement { link, .. }
            | Self::RouterSolicitation { link }
            | Self::Redirect { link, .. } => *link,
            Self::RouterAdvertisement(router) => router.link,
        }
    }

    /// The address that the message is about.
    pub const fn target(&self) -> Option<Ipv6Addr> {
        match self {
            Self::Solicitation { target, .. }
            | Self::Advertisement { target, .. }
            | Self::Redirect { target, .. } => Some(*target),
            Self::RouterSolicitation { .. } | Self::RouterAdvertisement(_) => None,
        }
    }
}

/// What a router says of itself and its link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouterAdvertisement {
    /// How long it may be used as default router; zero takes it back.
    pub lifetime: Span,
    /// The router's own hardware address.
    pub link: Option<MacAddr>,
    /// Networks on the link, at most 16.
    pub prefixes: Vec<Prefix>,
    /// Name servers, at most 16.
    pub dns: Vec<Ipv6Addr>,
    /// Hosts shall ask DHCPv6 for addresses.
    pub is_managed: bool,
    /// Hosts shall ask DHCPv6 for other settings.
    pub has_other: bool,
    /// Default router preference: 1 high, 0 medium, -1 low (RFC 4191).
    pub preference: i8,
    /// Largest packet of the link.
    pub mtu: Option<u32>,
}

/// A network that a router advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its address.
    pub net: Ipv6Addr,
    /// Its length in bits.
    pub len: u8,
    /// How long it is valid.
    pub valid: Span,
    /// Hosts may make their own addresses in it.
    pub is_autonomous: bool,
}
