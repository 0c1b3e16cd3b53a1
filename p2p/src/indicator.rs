//! What may be accused: an address or small network, a domain, a TLS fingerprint.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use slips_core::addr::{self, Net};

use crate::wire;

/// What is accused. Made only by the functions here, so it never is an inside address, a wide network or an odd text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Indicator {
    /// A public address, or a public network no wider than /24 (IPv4) or /48 (IPv6).
    Net(Net),
    /// A domain name in lower case.
    Domain(Box<str>),
    /// MD5 of a TLS client's greeting.
    Ja3([u8; 16]),
    /// MD5 of a TLS server's greeting.
    Ja3s([u8; 16]),
    /// The JA4 text of a TLS client's greeting.
    Ja4(Box<str>),
}

/// Why something cannot be accused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccusable {
    /// The bytes are not of this type.
    #[error("malformed indicator")]
    Malformed,
    /// Private, link-local, loopback, multicast or otherwise nobody's address outside.
    #[error("not a public address")]
    NotPublic,
    /// A network too wide.
    #[error("network wider than /24 or /48")]
    TooWide,
    /// A name that only means something inside.
    #[error("not a public name")]
    InsideName,
}

/// The widest network that anyone may accuse, in bits of IPv4 and IPv6.
pub const WIDEST: (u8, u8) = (24, 48);

/// Endings of names that mean something inside only (RFC 6762, 8375, 9476, 2606 and what routers hand out).
const INSIDE: [&str; 12] = [
    "local",
    "localhost",
    "lan",
    "internal",
    "intranet",
    "private",
    "home",
    "corp",
    "home.arpa",
    "arpa",
    "test",
    "alt",
];

impl Indicator {
    /// A single public address.
    ///
    /// # Errors
    /// When it is not public.
    pub fn host(ip: IpAddr) -> Result<Self, NotAccusable> {
        Self::net(Net::host(addr::canonical(ip)))
    }

    /// A public network.
    ///
    /// # Errors
    /// When any of its addresses is not public, or it is too wide.
    pub fn net(net: Net) -> Result<Self, NotAccusable> {
        let public = |ip| addr::is_interesting(ip) && !addr::is_private(ip);
        // The classes are wider than what may be accused, so the ends tell for all between them.
        if !public(net.addr()) || !public(net.last()) || is_mapped(net.addr()) {
            return Err(NotAccusable::NotPublic);
        }
        let widest = if net.addr().is_ipv4() { WIDEST.0 } else { WIDEST.1 };
        if net.prefix() < widest {
            return Err(NotAccusable::TooWide);
        }
        Ok(Self::Net(net))
    }

    /// A domain name; letter case and a dot at the end do not matter.
    ///
    /// # Errors
    /// When it is no domain name, or one of the inside (`printer.lan`, names without a dot).
    pub fn domain(name: &str) -> Result<Self, NotAccusable> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        };
        if name.len() > 253 || !name.split('.').all(label) || name.parse::<IpAddr>().is_ok() {
            return Err(NotAccusable::Malformed);
        }
        let inside =
            |end: &&str| name.strip_suffix(*end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if !name.contains('.') || INSIDE.iter().any(inside) {
            return Err(NotAccusable::InsideName);
        }
        Ok(Self::Domain(name.into()))
    }

    /// A JA4 text such as `t13d1516h2_8daaf6152771_b186095e22b6`.
    ///
    /// # Errors
    /// When it has another form.
    pub fn ja4(text: &str) -> Result<Self, NotAccusable> {
        let mut parts = text.split('_');
        let good = |part: Option<&str>, len, hex: bool| {
            part.is_some_and(|part| {
                let letter = |b: u8| b.is_ascii_digit() || (b.is_ascii_lowercase() && (!hex || b <= b'f'));
                part.len() == len && part.bytes().all(letter)
            })
        };
        let formed = good(parts.next(), 10, false)
            && good(parts.next(), 12, true)
            && good(parts.next(), 12, true)
            && parts.next().is_none();
        if formed { Ok(Self::Ja4(text.into())) } else { Err(NotAccusable::Malformed) }
    }

    /// The address or network, where it is one.
    pub const fn as_net(&self) -> Option<Net> {
        match self {
            Self::Net(net) => Some(*net),
            _ => None,
        }
    }

    /// The network that is blocked where this is: the firewall takes an address of IPv6 with its 64 bits, which are one host's to choose from.
    pub fn blocked_as(&self) -> Option<Net> {
        let net = self.as_net()?;
        let alone = net.addr().is_ipv6() && self.is_single();
        Some(if alone { Net::new(net.addr(), 64).unwrap_or(net) } else { net })
    }

    /// Whether this is one address. Only an authority may accuse more.
    pub fn is_single(&self) -> bool {
        match self {
            Self::Net(net) => *net == Net::host(net.addr()),
            _ => true,
        }
    }

    /// Whether it is what the functions here make: its variants can be written by hand as well.
    pub fn is_sound(&self) -> bool {
        Self::from_wire(&self.to_wire()).as_ref() == Ok(self)
    }

    /// From the wire.
    ///
    /// # Errors
    /// When it is malformed or cannot be accused.
    pub fn from_wire(wire: &wire::Indicator) -> Result<Self, NotAccusable> {
        let text = || std::str::from_utf8(&wire.value).map_err(|_| NotAccusable::Malformed);
        let digest = || <[u8; 16]>::try_from(wire.value.as_slice()).map_err(|_| NotAccusable::Malformed);
        if wire.r#type != 1 && wire.prefix != 0 {
            return Err(NotAccusable::Malformed);
        }
        match wire.r#type {
            1 => Self::net(net_from(&wire.value, wire.prefix).ok_or(NotAccusable::Malformed)?),
            2 => {
                let made = Self::domain(text()?)?;
                // One name has one form, so that the same name is not accused twice.
                if matches!(&made, Self::Domain(name) if name.as_bytes() == wire.value) {
                    Ok(made)
                } else {
                    Err(NotAccusable::Malformed)
                }
            }
            3 => Ok(Self::Ja3(digest()?)),
            4 => Ok(Self::Ja3s(digest()?)),
            5 => Self::ja4(text()?),
            _ => Err(NotAccusable::Malformed),
        }
    }

    /// For the wire.
    pub fn to_wire(&self) -> wire::Indicator {
        let (r#type, value, prefix) = match self {
            Self::Net(net) => {
                let bytes = match net.addr() {
                    IpAddr::V4(ip) => ip.octets().to_vec(),
                    IpAddr::V6(ip) => ip.octets().to_vec(),
                };
                (1, bytes, u32::from(net.prefix()))
            }
            Self::Domain(name) => (2, name.as_bytes().to_vec(), 0),
            Self::Ja3(digest) => (3, digest.to_vec(), 0),
            Self::Ja3s(digest) => (4, digest.to_vec(), 0),
            Self::Ja4(text) => (5, text.as_bytes().to_vec(), 0),
        };
        wire::Indicator { r#type, value, prefix }
    }
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// A network whose bits behind the prefix are zero.
fn net_from(bytes: &[u8], prefix: u32) -> Option<Net> {
    let ip = if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(v4)
    } else {
        IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)
    };
    Net::new(ip, u8::try_from(prefix).ok()?).filter(|net| net.addr() == ip)
}

impl FromStr for Indicator {
    type Err = NotAccusable;
    /// Reads what [`Indicator`] is shown as.
    fn from_str(text: &str) -> Result<Self, NotAccusable> {
        let digest = |hex: &str| -> Option<[u8; 16]> {
            if hex.len() != 32 || !hex.bytes().all(|letter| letter.is_ascii_hexdigit()) {
                return None;
            }
            u128::from_str_radix(hex, 16).ok().map(u128::to_be_bytes)
        };
        if let Some((kind, rest)) = text.split_once(':') {
            match kind {
                "ja3" => return digest(rest).map(Self::Ja3).ok_or(NotAccusable::Malformed),
                "ja3s" => return digest(rest).map(Self::Ja3s).ok_or(NotAccusable::Malformed),
                "ja4" => return Self::ja4(rest),
                _ => {}
            }
        }
        match text.parse::<Net>() {
            Ok(net) => Self::net(net),
            Err(_) => Self::domain(text),
        }
    }
}

impl fmt::Display for Indicator {
    /// `192.0.2.7`, `example.org`, `ja3:…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, kind: &str, digest: &[u8]| {
            f.write_str(kind)?;
            digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        match self {
            Self::Net(net) => net.fmt(f),
            Self::Domain(name) => f.pad(name),
            Self::Ja3(digest) => hex(f, "ja3:", digest),
            Self::Ja3s(digest) => hex(f, "ja3s:", digest),
            Self::Ja4(text) => write!(f, "ja4:{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_public_and_small_can_be_accused() {
        use NotAccusable::{Malformed, NotPublic, TooWide};
        for (net, want) in [
            ("198.51.100.7", None),
            ("198.51.100.0/24", None),
            ("198.51.0.0/23", Some(TooWide)),
            ("0.0.0.0/0", Some(NotPublic)),
            ("192.168.1.1", Some(NotPublic)),
            ("10.0.0.0/24", Some(NotPublic)),
            ("100.64.0.1", Some(NotPublic)),
            ("169.254.169.254", Some(NotPublic)),
            ("127.0.0.1", Some(NotPublic)),
            ("224.0.0.1", Some(NotPublic)),
            ("255.255.255.255", Some(NotPublic)),
            ("2001:db8::1", None),
            ("2001:db8::/48", None),
            ("2001:db8::/32", Some(TooWide)),
            ("fe80::1", Some(NotPublic)),
            ("fd00::/64", Some(NotPublic)),
            ("::", Some(NotPublic)),
            ("::1", Some(NotPublic)),
            ("ff02::1", Some(NotPublic)),
        ] {
            let made = Indicator::net(net.parse().expect(net));
            assert_eq!(made.as_ref().err(), want.as_ref(), "{net}");
            if let Ok(made) = made {
                assert_eq!(Indicator::from_wire(&made.to_wire()), Ok(made));
            }
        }
        // An IPv4 address written as IPv6 would be a second name for the same host.
        let mapped: std::net::Ipv6Addr = "::ffff:8.8.8.8".parse().expect("ip");
        let wire = wire::Indicator { r#type: 1, value: mapped.octets().to_vec(), prefix: 128 };
        assert_eq!(Indicator::from_wire(&wire), Err(NotPublic));
        for (bytes, prefix) in
            [(&[1u8, 2, 3, 4][..], 33), (&[1, 2, 3, 4], 24), (&[1, 2, 3], 24), (&[1, 2, 3, 4], 288)]
        {
            let wire = wire::Indicator { r#type: 1, value: bytes.to_vec(), prefix };
            assert_eq!(Indicator::from_wire(&wire), Err(Malformed), "{bytes:?}/{prefix}");
        }
    }

    #[test]
    fn names_are_public_and_have_one_form() {
        use NotAccusable::{InsideName, Malformed};
        for (name, want) in [
            ("evil.example", Ok("evil.example")),
            ("EVIL.Example.", Ok("evil.example")),
            ("_dmarc.evil.example", Ok("_dmarc.evil.example")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("printer", Err(InsideName)),
            ("nas.lan", Err(InsideName)),
            ("nas.home.arpa", Err(InsideName)),
            ("1.0.168.192.in-addr.arpa", Err(InsideName)),
            ("mylan.example", Ok("mylan.example")),
            ("", Err(Malformed)),
            ("a..b", Err(Malformed)),
            ("a b.c", Err(Malformed)),
            ("b\u{fc}cher.example", Err(Malformed)),
            ("192.0.2.1", Err(Malformed)),
        ] {
            let made = Indicator::domain(name).map(|made| made.to_string());
            assert_eq!(made.as_deref(), want.as_ref().map(|name| *name), "{name}");
        }
        let shout = wire::Indicator { r#type: 2, value: b"Evil.example".to_vec(), prefix: 0 };
        assert_eq!(Indicator::from_wire(&shout), Err(Malformed));
        assert!(Indicator::domain(&"a.".repeat(127)).is_ok());
        assert!(Indicator::domain(&"a.".repeat(128)).is_err());
    }

    #[test]
    fn what_is_shown_is_read_again() {
        let ja4 = "ja4:t13d1516h2_8daaf6152771_b186095e22b6";
        for text in [
            "45.83.64.1",
            "45.83.64.0/24",
            "2a01:4f8::1",
            "bad.example.org",
            &format!("ja3:{}", "0a".repeat(16)),
            &format!("ja3s:{}", "ff".repeat(16)),
            ja4,
        ] {
            assert_eq!(text.parse::<Indicator>().map(|read| read.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "10.0.0.1",
            "1.2.0.0/16",
            "printer.lan",
            "ja3:12",
            "ja3:+a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            "ja4:x",
            "a b",
        ] {
            assert!(text.parse::<Indicator>().is_err(), "{text}");
        }
    }

    #[test]
    fn fingerprints_have_their_form() {
        assert!(Indicator::ja4("t13d1516h2_8daaf6152771_b186095e22b6").is_ok());
        for wrong in [
            "",
            "t13d1516h2",
            "t13d1516h2_8daaf6152771_b186095e22bg",
            "t13d1516h2_8daaf6152771_b186095e22b6_",
        ] {
            assert!(Indicator::ja4(wrong).is_err(), "{wrong}");
        }
        for made in [Indicator::Ja3([7; 16]), Indicator::Ja3s([8; 16])] {
            assert_eq!(Indicator::from_wire(&made.to_wire()), Ok(made));
        }
        let odd = wire::Indicator { r#type: 3, value: vec![0; 15], prefix: 0 };
        assert!(Indicator::from_wire(&odd).is_err());
    }
}
