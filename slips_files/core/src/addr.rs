//! Address classes and networks.
//!
//! Addresses that arrive as IPv4-mapped IPv6 are unmapped at the door ([`canonical`]), so that one host is one profile.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use crate::moving::Moving;

/// `addr` with IPv4-mapped IPv6 (`::ffff:1.2.3.4`) turned into plain IPv4.
pub fn canonical(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

/// Neither multicast, broadcast, loopback, link-local, unspecified nor reserved: an address that can be scanned, judged, looked up.
pub fn is_interesting(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => {
            let first = v4.octets()[0];
            !(v4.is_multicast() || v4.is_loopback() || v4.is_link_local() || first == 0 || first >= 240)
        }
        IpAddr::V6(v6) => {
            !(v6.is_multicast() || v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local())
        }
    }
}

/// RFC 1918, RFC 6598 (carrier-grade NAT), IPv6 unique local, link-local or loopback: never an outside address.
pub fn is_private(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// An IP network: an address and a prefix length. The bits behind the prefix are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net {
    addr: IpAddr,
    prefix: u8,
}

impl Net {
    /// The network of `prefix` bits that holds `addr`; `None` when the prefix is longer than the address.
    pub fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        let addr = match addr {
            IpAddr::V4(v4) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Self { addr, prefix })
    }

    /// The network of one address.
    pub fn host(addr: IpAddr) -> Self {
        Self { addr, prefix: if addr.is_ipv4() { 32 } else { 128 } }
    }

    /// The first address.
    pub const fn addr(self) -> IpAddr {
        self.addr
    }

    /// The length of the prefix in bits.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// The last address.
    pub fn last(self) -> IpAddr {
        match self.addr {
            IpAddr::V4(v4) => {
                let rest = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() | rest))
            }
            IpAddr::V6(v6) => {
                let rest = u128::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() | rest))
            }
        }
    }

    /// A network of IPv4 addresses that is written as IPv6 (`::ffff:192.0.2.0/120`) as the network of IPv4 that it is: whoever judges by
    /// family or width sees how wide it is.
    #[must_use]
    pub fn plain(self) -> Self {
        match (self.addr, self.prefix) {
            (IpAddr::V6(v6), prefix @ 96..) => {
                v6.to_ipv4_mapped().and_then(|v4| Self::new(IpAddr::V4(v4), prefix - 96)).unwrap_or(self)
            }
            _ => self,
        }
    }

    /// Whether `addr` lies in this network (families never mix).
    pub fn contains(self, addr: IpAddr) -> bool {
        Self::new(addr, self.prefix).is_some_and(|net| net == self)
    }

    /// Whether the two networks share an address.
    pub fn overlaps(self, other: Self) -> bool {
        if self.prefix <= other.prefix { self.contains(other.addr) } else { other.contains(self.addr) }
    }
}

impl fmt::Display for Net {
    /// `192.0.2.0/24`; a single address without its prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.addr, self.prefix) {
            (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => self.addr.fmt(f),
            _ => write!(f, "{}/{}", self.addr, self.prefix),
        }
    }
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotANet(String);

impl fmt::Display for NotANet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is neither an address nor a network like 192.0.2.0/24", self.0)
    }
}

impl std::error::Error for NotANet {}

impl FromStr for Net {
    type Err = NotANet;
    fn from_str(text: &str) -> Result<Self, NotANet> {
        let parsed = match text.split_once('/') {
            None => text.parse().ok().map(|addr: IpAddr| Self::host(canonical(addr))),
            Some((addr, prefix)) => match (addr.parse(), prefix.parse()) {
                (Ok(addr), Ok(prefix)) => Self::new(addr, prefix).map(Self::plain),
                _ => None,
            },
        };
        parsed.ok_or_else(|| NotANet(text.chars().take(64).collect()))
    }
}

/// The networks whose hosts are ours: what happens there is local behaviour, all else is remote.
#[derive(Clone, Debug)]
pub struct LocalNets {
    nets: Vec<Net>,
    moving: Option<Arc<Moving>>,
}

impl LocalNets {
    /// Exactly these networks.
    pub const fn new(nets: Vec<Net>) -> Self {
        Self { nets, moving: None }
    }

    /// These, and those that come and go: of a machine that is watched while it runs.
    #[must_use]
    pub fn and(self, moving: Arc<Moving>) -> Self {
        Self { moving: Some(moving), ..self }
    }

    /// What a capture of unknown origin is read with: RFC 1918, RFC 6598, IPv6 unique local and link-local.
    pub fn private() -> Self {
        let net = |a, b, c, d, prefix| Net::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix);
        let net6 = |first, prefix| Net::new(IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)), prefix);
        let nets = [
            net(10, 0, 0, 0, 8),
            net(172, 16, 0, 0, 12),
            net(192, 168, 0, 0, 16),
            net(100, 64, 0, 0, 10),
            net(169, 254, 0, 0, 16),
            net6(0xfc00, 7),
            net6(0xfe80, 10),
        ];
        Self::new(nets.into_iter().flatten().collect())
    }

    /// Whether `addr` is one of ours.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.nets.iter().any(|net| net.contains(addr))
            || self.moving.as_ref().is_some_and(|moving| moving.contains(addr))
    }

    /// How often those that come and go have changed.
    pub fn changes(&self) -> u64 {
        self.moving.as_ref().map_or(0, |moving| moving.changes())
    }

    /// The networks that stay.
    pub fn nets(&self) -> &[Net] {
        &self.nets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_parse_print_and_contain() {
        for (text, printed) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7/128", "192.0.2.7"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            let net: Net = text.parse().expect(text);
            assert_eq!(net.to_string(), printed);
            assert_eq!(printed.parse::<Net>().as_ref(), Ok(&net));
        }
        for text in ["", "x", "1.2.3.4/33", "::/129", "1.2.3.4/-1", "1.2.3/8"] {
            assert!(text.parse::<Net>().is_err(), "{text}");
        }
        let net: Net = "10.1.0.0/16".parse().expect("net");
        assert!(net.contains("10.1.255.255".parse().expect("ip")));
        assert!(!net.contains("10.2.0.0".parse().expect("ip")));
        assert!(!net.contains("::1".parse().expect("ip")));
        assert_eq!(net.last().to_string(), "10.1.255.255");
        assert!(net.overlaps("10.0.0.0/8".parse().expect("net")));
        assert!(!net.overlaps("11.0.0.0/8".parse().expect("net")));
    }

    #[test]
    fn classes() {
        for (text, interesting, private) in [
            ("8.8.8.8", true, false),
            ("192.168.1.1", true, true),
            ("100.64.0.1", true, true),
            ("127.0.0.1", false, true),
            ("169.254.1.1", false, true),
            ("224.0.0.251", false, false),
            ("255.255.255.255", false, false),
            ("0.0.0.0", false, false),
            ("fe80::1", false, true),
            ("ff02::1", false, false),
            ("fd00::1", true, true),
            ("2001:db8::1", true, false),
        ] {
            let addr = text.parse().expect("ip");
            assert_eq!((is_interesting(addr), is_private(addr)), (interesting, private), "{text}");
        }
    }
}
