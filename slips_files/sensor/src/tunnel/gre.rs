//! GRE: the plain kind (RFC 2784, 2890), PPTP's (RFC 2637), and what switches put into it.

use super::Inner;
use crate::link::LinkType;
use crate::wire::be16;

/// What a GRE packet carries.
pub(crate) fn unwrap(bytes: &[u8]) -> Option<Inner<'_>> {
    let (flags, kind) = (be16(bytes, 0)?, be16(bytes, 2)?);
    let has = |flag: u16| usize::from(flags & flag != 0);
    let header = match flags & 7 {
        // checksum or routing, key, sequence number
        0 => 4 + 4 * has(0xc000) + 4 * has(0x2000) + 4 * has(0x1000),
        // key, which is always there, sequence number, acknowledgement
        1 if kind == 0x880b => 8 + 4 * has(0x1000) + 4 * has(0x0080),
        _ => return None,
    };
    let mut bytes = bytes.get(header..)?;
    if flags & 0x4000 != 0 {
        bytes = behind_routes(bytes)?;
    }
    let inner = |link| Some(Inner { link, bytes });
    match kind {
        0x0800 | 0x86dd => inner(LinkType::RawIp),
        0x6558 => inner(LinkType::Ethernet),
        0x880b => inner(LinkType::Ppp),
        // ERSPAN: type I has neither sequence number nor a header of its own
        0x88be if has(0x1000) == 0 => inner(LinkType::Ethernet),
        0x88be => Some(Inner { link: LinkType::Ethernet, bytes: bytes.get(8..)? }),
        0x22eb => {
            // type III, with eight more bytes where its last bit says so
            let more = 8 * usize::from(be16(bytes, 10)? & 1);
            Some(Inner { link: LinkType::Ethernet, bytes: bytes.get(12 + more..)? })
        }
        // an access point's frames on their way to its controller
        0x8200..=0x8210 | 0x8240 | 0x9000 => inner(LinkType::Ieee80211),
        _ => None,
    }
}

/// Skips source routes, the last of which is empty.
fn behind_routes(mut bytes: &[u8]) -> Option<&[u8]> {
    for _ in 0..16 {
        let [high, low, _, length, ..] = bytes else { return None };
        let is_last = (*high, *low, *length) == (0, 0, 0);
        bytes = bytes.get(4 + usize::from(*length)..)?;
        if is_last {
            return Some(bytes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &[u8], expected: Option<LinkType>) {
        let bytes = [header, b"inner"].concat();
        let inner = unwrap(&bytes);
        assert_eq!(inner.map(|inner| (inner.link, inner.bytes)), expected.map(|link| (link, &b"inner"[..])));
        for end in 0..header.len() {
            assert_eq!(unwrap(&bytes[..end]), None, "cut at {end}: {header:?}");
        }
    }

    #[test]
    fn headers_of_all_kinds_are_skipped() {
        check(&[0, 0, 8, 0], Some(LinkType::RawIp));
        check(&[0xb0, 0, 0x86, 0xdd, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3], Some(LinkType::RawIp));
        check(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 9], Some(LinkType::Ethernet));
        check(&[0x30, 0x81, 0x88, 0x0b, 0, 5, 0, 1, 0, 0, 0, 7, 0, 0, 0, 6], Some(LinkType::Ppp));
        check(&[0, 0, 0x88, 0xbe], Some(LinkType::Ethernet));
        check(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 7, 0x10, 1, 2, 3, 4, 5, 6, 7], Some(LinkType::Ethernet));
        check(
            &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 7, 0x20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0],
            Some(LinkType::Ethernet),
        );
        check(
            &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 7, 0x20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8],
            Some(LinkType::Ethernet),
        );
        check(&[0x40, 0, 8, 0, 1, 1, 1, 1, 0, 1, 0, 2, 9, 9, 0, 0, 0, 0], Some(LinkType::RawIp));
        check(&[0, 3, 8, 0], None);
        check(&[0, 0, 0, 0], None);
    }
}
