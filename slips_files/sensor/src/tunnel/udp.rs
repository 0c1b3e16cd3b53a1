//! Tunnels in UDP: VXLAN, GENEVE, GTP-U, AYIYA, Teredo.

use super::{Inner, Wrapping, gre};
use crate::link::LinkType;
use crate::wire::{be16, be32, byte};

/// What a datagram of this kind carries; `None` when it reads otherwise.
pub(crate) fn unwrap(kind: Wrapping, bytes: &[u8]) -> Option<Inner<'_>> {
    match kind {
        Wrapping::Gre => gre::unwrap(bytes),
        Wrapping::Vxlan => vxlan(bytes),
        Wrapping::Geneve => geneve(bytes),
        Wrapping::Gtp => gtp(bytes),
        Wrapping::Ayiya => ayiya(bytes),
        Wrapping::Teredo => teredo(bytes),
        Wrapping::Ip => None,
    }
}

/// RFC 7348: the flag of a valid network number, then Ethernet.
fn vxlan(bytes: &[u8]) -> Option<Inner<'_>> {
    (byte(bytes, 0)? & 8 != 0).then_some(())?;
    Some(Inner { link: LinkType::Ethernet, bytes: bytes.get(8..)? })
}

/// RFC 8926: version 0, options, then what the protocol number says.
fn geneve(bytes: &[u8]) -> Option<Inner<'_>> {
    let first = byte(bytes, 0)?;
    (first >> 6 == 0).then_some(())?;
    let link = match be16(bytes, 2)? {
        0x6558 => LinkType::Ethernet,
        0x0800 | 0x86dd => LinkType::RawIp,
        _ => return None,
    };
    Some(Inner { link, bytes: bytes.get(8 + 4 * usize::from(first & 63)..)? })
}

/// 3GPP TS 29.281: version 1, a user's packet, optional fields and extension headers, then IP.
fn gtp(bytes: &[u8]) -> Option<Inner<'_>> {
    const USER_PACKET: u8 = 255;
    const MAX_EXTENSIONS: usize = 16;
    let flags = byte(bytes, 0)?;
    (flags & 0xf0 == 0x30 && byte(bytes, 1)? == USER_PACKET).then_some(())?;
    let mut at = 8;
    if flags & 7 != 0 {
        at += 4;
        let mut next = if flags & 4 != 0 { byte(bytes, at - 1)? } else { 0 };
        for _ in 0..MAX_EXTENSIONS {
            if next == 0 {
                break;
            }
            let length = 4 * usize::from(byte(bytes, at)?);
            (length > 0).then_some(())?;
            at += length;
            next = byte(bytes, at - 1)?;
        }
    }
    Some(Inner { link: LinkType::RawIp, bytes: bytes.get(at..)? })
}

/// draft-massar-v6ops-ayiya: an identity and a signature of stated lengths, then IP if it is to be forwarded.
fn ayiya(bytes: &[u8]) -> Option<Inner<'_>> {
    const FORWARD: u8 = 1;
    let identity = 1usize << (byte(bytes, 0)? >> 4);
    let signature = 4 * usize::from(byte(bytes, 1)? >> 4);
    let is_ip = matches!(byte(bytes, 3)?, 4 | 41);
    (is_ip && byte(bytes, 2)? & 15 == FORWARD).then_some(())?;
    Some(Inner { link: LinkType::RawIp, bytes: bytes.get(8 + identity + signature..)? })
}

/// RFC 4380: perhaps authentication, perhaps the sender's outside address, then IPv6.
fn teredo(mut bytes: &[u8]) -> Option<Inner<'_>> {
    if be16(bytes, 0)? == 1 {
        let length = usize::from(byte(bytes, 2)?) + usize::from(byte(bytes, 3)?);
        bytes = bytes.get(4 + length + 9..)?;
    }
    if be16(bytes, 0)? == 0 {
        bytes = bytes.get(8..)?;
    }
    let fits = byte(bytes, 0)? >> 4 == 6 && usize::from(be16(bytes, 4)?) + 40 == bytes.len();
    fits.then_some(Inner { link: LinkType::RawIp, bytes })
}

/// Whether a datagram on any port is Teredo: one of its headers, or an address of its network.
pub(crate) fn is_teredo(bytes: &[u8]) -> bool {
    const NETWORK: Option<u32> = Some(0x2001_0000);
    let opens = match be16(bytes, 0) {
        Some(0 | 1) => true,
        _ => be32(bytes, 8) == NETWORK || be32(bytes, 24) == NETWORK,
    };
    opens && teredo(bytes).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Wrapping, header: &[u8], expected: Option<LinkType>) {
        let mut packet = vec![0x60, 0, 0, 0, 0, 2, 59, 64];
        packet.extend([0x20, 1, 0, 0]);
        packet.extend([3; 28]);
        packet.extend(b"xy");
        let bytes = [header, &packet].concat();
        let inner = unwrap(kind, &bytes);
        assert_eq!(inner.map(|inner| (inner.link, inner.bytes)), expected.map(|link| (link, &packet[..])));
        for end in 0..header.len() {
            assert_eq!(unwrap(kind, &bytes[..end]), None, "cut at {end}: {header:?}");
        }
    }

    #[test]
    fn headers_of_all_kinds_are_skipped() {
        check(Wrapping::Vxlan, &[8, 0, 0, 0, 0, 0, 9, 0], Some(LinkType::Ethernet));
        check(Wrapping::Vxlan, &[0, 0, 0, 0, 0, 0, 9, 0], None);
        check(Wrapping::Geneve, &[0, 0, 0x65, 0x58, 0, 0, 9, 0], Some(LinkType::Ethernet));
        check(Wrapping::Geneve, &[1, 0, 0x86, 0xdd, 0, 0, 9, 0, 1, 2, 3, 4], Some(LinkType::RawIp));
        check(Wrapping::Geneve, &[0x40, 0, 0x65, 0x58, 0, 0, 9, 0], None);
        check(Wrapping::Gtp, &[0x30, 255, 0, 42, 0, 0, 0, 1], Some(LinkType::RawIp));
        check(Wrapping::Gtp, &[0x32, 255, 0, 46, 0, 0, 0, 1, 0, 7, 0, 0], Some(LinkType::RawIp));
        check(
            Wrapping::Gtp,
            &[0x34, 255, 0, 50, 0, 0, 0, 1, 0, 7, 0, 0x85, 1, 0, 0, 0],
            Some(LinkType::RawIp),
        );
        check(Wrapping::Gtp, &[0x30, 1, 0, 42, 0, 0, 0, 1], None);
        check(Wrapping::Ayiya, &[0x01, 0x10, 0x01, 41, 0, 0, 0, 0, 7, 1, 2, 3, 4], Some(LinkType::RawIp));
        check(Wrapping::Teredo, &[], Some(LinkType::RawIp));
        check(Wrapping::Teredo, &[0, 0, 1, 2, 3, 4, 5, 6], Some(LinkType::RawIp));
        check(
            Wrapping::Teredo,
            &[0, 1, 1, 2, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6],
            Some(LinkType::RawIp),
        );
        check(Wrapping::Teredo, b"hello", None);
    }

    #[test]
    fn teredo_is_known_by_its_addresses() {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, 59, 64];
        packet.extend([0x20, 1, 0, 0]);
        packet.extend([3; 28]);
        assert!(is_teredo(&packet));
        packet[8] = 0x30;
        assert!(!is_teredo(&packet));
        assert!(is_teredo(&[&[0, 0, 1, 2, 3, 4, 5, 6][..], &packet].concat()));
    }
}
