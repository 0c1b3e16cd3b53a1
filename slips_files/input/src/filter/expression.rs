//! What a filter says, free of any link.

use std::net::{Ipv4Addr, Ipv6Addr};

use slips_core::flow::MacAddr;

/// A filter expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Test(Test),
}

impl Expression {
    pub(super) fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self::Or(Box::new(self), Box::new(other))
    }
}

/// One thing that is asked of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// The Ethernet protocol behind all VLAN tags.
    EtherType(u16),
    /// The protocol in the IP header.
    IpProto(Family, u8),
    /// An address in a network, in IPv4 headers and ARP packets.
    Net4(Carrier, Side, Ipv4Addr, u8),
    /// An address in a network, in IPv6 headers.
    Net6(Side, Ipv6Addr, u8),
    /// A port within bounds; at the first fragment only.
    Ports(Family, Transport, Side, u16, u16),
    /// A hardware address; on links without any, nothing has it.
    Mac(Side, MacAddr),
    /// The outermost VLAN tag, of any or of one number.
    Vlan(Option<u16>),
    /// The length on the wire is at least so much.
    AtLeast(u32),
}

/// Which IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
    Any,
}

/// Where an IPv4 address is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Ip,
    Arp,
    Any,
}

/// Protocols that have ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
    Sctp,
    Any,
}

impl Transport {
    pub(super) const fn numbers(self) -> &'static [u8] {
        match self {
            Self::Tcp => &[6],
            Self::Udp => &[17],
            Self::Sctp => &[132],
            Self::Any => &[6, 17, 132],
        }
    }
}

/// Which of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Src,
    Dst,
    Either,
    Both,
}
