//! Link layers: from a captured frame to an IP or ARP packet.

use slips_core::flow::MacAddr;

use crate::counters::Reject;
use crate::wire::{be16, be32, byte, mac};

/// How the frames of a source begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Ethernet.
    Ethernet,
    /// BSD loopback: the address family in either byte order.
    Null,
    /// PPP, with or without HDLC framing.
    Ppp,
    /// FDDI.
    Fddi,
    /// Bare IP packets of either version.
    RawIp,
    /// PPP over Ethernet, from the PPPoE header on.
    Pppoe,
    /// Cisco HDLC.
    CiscoHdlc,
    /// Linux cooked capture.
    LinuxCooked,
    /// Linux cooked capture, version 2.
    LinuxCooked2,
    /// Linux netfilter log.
    Nflog,
    /// Wireless frames.
    Ieee80211,
    /// Wireless frames behind a radiotap header.
    Radiotap,
}

impl LinkType {
    /// From the number in a pcap file's header; `None` for what the sensor cannot read.
    pub const fn from_dlt(dlt: u32) -> Option<Self> {
        Some(match dlt {
            0 | 108 => Self::Null,
            1 => Self::Ethernet,
            9 | 50 => Self::Ppp,
            10 => Self::Fddi,
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            51 => Self::Pppoe,
            104 => Self::CiscoHdlc,
            105 => Self::Ieee80211,
            127 => Self::Radiotap,
            113 => Self::LinuxCooked,
            239 => Self::Nflog,
            276 => Self::LinuxCooked2,
            _ => return None,
        })
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    /// An IPv4 or IPv6 packet, perhaps with padding behind it.
    Ip(&'a [u8]),
    /// An ARP packet.
    Arp(&'a [u8]),
}

/// A frame, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) src: Option<MacAddr>,
    pub(crate) dst: Option<MacAddr>,
    pub(crate) vlan: Option<u16>,
    pub(crate) payload: Payload<'a>,
}

/// Tags, labels and inner headers that one frame may stack.
const MAX_LAYERS: usize = 8;

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// Takes a frame apart.
pub(crate) fn decode(link: LinkType, bytes: &[u8]) -> Result<Frame<'_>, Reject> {
    let bare = |payload| Frame { src: None, dst: None, vlan: None, payload };
    let cut = Reject::LinkTruncated;
    match link {
        LinkType::Ethernet => {
            let (dst, src) = (mac(bytes, 0).ok_or(cut)?, mac(bytes, 6).ok_or(cut)?);
            let ethertype = be16(bytes, 12).ok_or(cut)?;
            let frame = ethertype_payload(ethertype, bytes.get(14..).ok_or(cut)?)?;
            Ok(Frame { src: Some(src), dst: Some(dst), ..frame })
        }
        LinkType::Fddi => {
            let (dst, src) = (mac(bytes, 1).ok_or(cut)?, mac(bytes, 7).ok_or(cut)?);
            let frame = ethertype_payload(0, bytes.get(13..).ok_or(cut)?)?;
            Ok(Frame { src: Some(src), dst: Some(dst), ..frame })
        }
        LinkType::LinuxCooked => {
            let src = (be16(bytes, 4) == Some(6)).then(|| mac(bytes, 6)).flatten();
            let ethertype = be16(bytes, 14).ok_or(cut)?;
            Ok(Frame { src, ..ethertype_payload(ethertype, bytes.get(16..).ok_or(cut)?)? })
        }
        LinkType::LinuxCooked2 => {
            let src = (byte(bytes, 11) == Some(6)).then(|| mac(bytes, 12)).flatten();
            let ethertype = be16(bytes, 0).ok_or(cut)?;
            Ok(Frame { src, ..ethertype_payload(ethertype, bytes.get(20..).ok_or(cut)?)? })
        }
        LinkType::CiscoHdlc => ethertype_payload(be16(bytes, 2).ok_or(cut)?, bytes.get(4..).ok_or(cut)?),
        LinkType::Null => Ok(bare(ip(bytes.get(4..).ok_or(cut)?)?)),
        LinkType::RawIp => Ok(bare(ip(bytes)?)),
        LinkType::Ppp => Ok(bare(ppp(bytes)?)),
        LinkType::Pppoe => Ok(bare(ppp(bytes.get(6..).ok_or(cut)?)?)),
        LinkType::Nflog => nflog(bytes).map(bare),
        LinkType::Ieee80211 => wireless(bytes),
        LinkType::Radiotap => {
            let length = bytes.get(2..4).and_then(|length| length.first_chunk()).ok_or(cut)?;
            wireless(bytes.get(usize::from(u16::from_le_bytes(*length))..).ok_or(cut)?)
        }
    }
}

/// Peels tags and labels off until IP or ARP appears.
fn ethertype_payload(mut ethertype: u16, mut rest: &[u8]) -> Result<Frame<'_>, Reject> {
    let cut = Reject::LinkTruncated;
    let mut vlan = None;
    for _ in 0..MAX_LAYERS {
        let frame = |payload| Ok(Frame { src: None, dst: None, vlan, payload });
        match ethertype {
            IPV4 | IPV6 => return frame(ip(rest)?),
            ARP => return frame(Payload::Arp(rest)),
            // 802.1Q, 802.1ad and the older numbers for stacked tags
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
                vlan = vlan.or(Some(be16(rest, 0).ok_or(cut)? & 0x0fff));
                ethertype = be16(rest, 2).ok_or(cut)?;
                rest = rest.get(4..).ok_or(cut)?;
            }
            0x8847 | 0x8848 => return frame(mpls(rest)?),
            0x8864 => return frame(ppp(rest.get(6..).ok_or(cut)?)?),
            // Provider backbone bridging: service tag, then a whole Ethernet header
            0x88e7 => {
                ethertype = be16(rest, 16).ok_or(cut)?;
                rest = rest.get(18..).ok_or(cut)?;
            }
            // FabricPath: tag, then a whole Ethernet header
            0x8903 => {
                ethertype = be16(rest, 14).ok_or(cut)?;
                rest = rest.get(16..).ok_or(cut)?;
            }
            // A length: LLC, where IP has its own access point or follows a SNAP header
            0..=1535 => match rest {
                [0x06, 0x06, 0x03, packet @ ..] => return frame(ip(packet)?),
                [0xaa, 0xaa, 0x03, _, _, _, high, low, packet @ ..] => {
                    ethertype = u16::from_be_bytes([*high, *low]);
                    rest = packet;
                    if ethertype <= 1535 {
                        return Err(Reject::NotIp);
                    }
                }
                _ => return Err(Reject::NotIp),
            },
            _ => return Err(Reject::NotIp),
        }
    }
    Err(Reject::NotIp)
}

/// IP by its version nibble.
fn ip(packet: &[u8]) -> Result<Payload<'_>, Reject> {
    match packet.first() {
        None => Err(Reject::LinkTruncated),
        Some(first) if matches!(first >> 4, 4 | 6) => Ok(Payload::Ip(packet)),
        Some(_) => Err(Reject::NotIp),
    }
}

/// Skips labels to the bottom of the stack.
fn mpls(mut rest: &[u8]) -> Result<Payload<'_>, Reject> {
    for _ in 0..MAX_LAYERS {
        let label = be32(rest, 0).ok_or(Reject::LinkTruncated)?;
        rest = rest.get(4..).ok_or(Reject::LinkTruncated)?;
        if label & 0x100 != 0 {
            return ip(rest);
        }
    }
    Err(Reject::NotIp)
}

/// PPP: optional address and control bytes, then the protocol number in one or two bytes.
fn ppp(bytes: &[u8]) -> Result<Payload<'_>, Reject> {
    let rest = match bytes {
        [0xff | 0x0f, 0x03 | 0x00, rest @ ..] => rest,
        rest => rest,
    };
    match rest {
        [0x00, 0x21 | 0x57, packet @ ..] | [0x21 | 0x57, packet @ ..] => ip(packet),
        [] | [_] => Err(Reject::LinkTruncated),
        _ => Err(Reject::NotIp),
    }
}

/// Netfilter log: attributes of type, length and value; the packet is attribute 9.
fn nflog(bytes: &[u8]) -> Result<Payload<'_>, Reject> {
    let mut rest = bytes.get(4..).ok_or(Reject::LinkTruncated)?;
    for _ in 0..64 {
        let [l0, l1, t0, t1, ..] = rest else { return Err(Reject::LinkTruncated) };
        let length = usize::from(u16::from_le_bytes([*l0, *l1]));
        if length < 4 {
            return Err(Reject::LinkTruncated);
        }
        if u16::from_le_bytes([*t0, *t1]) == 9 {
            return ip(rest.get(4..length.min(rest.len())).ok_or(Reject::LinkTruncated)?);
        }
        rest = rest.get(length.next_multiple_of(4)..).ok_or(Reject::LinkTruncated)?;
    }
    Err(Reject::NotIp)
}

/// A data frame of a wireless network.
struct Wireless<'a> {
    src: Option<MacAddr>,
    dst: Option<MacAddr>,
    /// Whether the body is several frames, each with its addresses and length.
    is_aggregate: bool,
    body: &'a [u8],
}

impl<'a> Wireless<'a> {
    fn decode(bytes: &'a [u8]) -> Result<Self, Reject> {
        let cut = Reject::LinkTruncated;
        let (control, flags) = (byte(bytes, 0).ok_or(cut)?, byte(bytes, 1).ok_or(cut)?);
        // only data frames that are not empty and not encrypted
        if control & 0x4f != 0x08 || flags & 0x40 != 0 {
            return Err(Reject::NotIp);
        }
        let (src, dst, mut length) = match flags & 3 {
            0 => (10, 4, 24),
            1 => (10, 16, 24),
            2 => (16, 4, 24),
            _ => (24, 16, 30),
        };
        let mut is_aggregate = false;
        if control & 0x80 != 0 {
            is_aggregate = byte(bytes, length).ok_or(cut)? & 0x80 != 0;
            // quality of service, perhaps high throughput
            length += if flags & 0x80 != 0 { 6 } else { 2 };
        }
        let body = bytes.get(length..).ok_or(cut)?;
        Ok(Self { src: mac(bytes, src), dst: mac(bytes, dst), is_aggregate, body })
    }
}

fn wireless(bytes: &[u8]) -> Result<Frame<'_>, Reject> {
    let frame = Wireless::decode(bytes)?;
    if frame.is_aggregate {
        return decode(LinkType::Ethernet, frame.body);
    }
    Ok(Frame { src: frame.src, dst: frame.dst, ..ethertype_payload(0, frame.body)? })
}

/// The frames of a wireless frame that holds several, but for the first, which [`decode`] takes.
pub(crate) fn rest_of_aggregate(link: LinkType, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    const MAX_FRAMES: usize = 16;
    let outer = (link == LinkType::Ieee80211).then(|| Wireless::decode(bytes).ok()).flatten();
    let mut rest = outer.filter(|outer| outer.is_aggregate).map_or(&[][..], |outer| outer.body);
    std::iter::from_fn(move || {
        let length = 14 + usize::from(be16(rest, 12)?);
        let frame = rest.get(..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(frame)
    })
    .take(MAX_FRAMES)
    .skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: &[u8] = &[0x45, 1, 2, 3];

    fn check(link: LinkType, header: &[u8], expected: Result<Option<u16>, Reject>) {
        let bytes = [header, PACKET].concat();
        let found = decode(link, &bytes);
        match (found, expected) {
            (Ok(frame), Ok(vlan)) => {
                assert_eq!((frame.payload, frame.vlan), (Payload::Ip(PACKET), vlan), "{link:?} {header:?}");
            }
            (found, expected) => assert_eq!(found.err(), expected.err(), "{link:?} {header:?}"),
        }
        for end in 0..bytes.len() {
            let _ = decode(link, &bytes[..end]);
        }
    }

    #[test]
    fn headers_are_peeled_off() {
        let eth = |tail: &[u8]| [&[1u8; 12], tail].concat();
        check(LinkType::Ethernet, &eth(&[0x08, 0x00]), Ok(None));
        check(LinkType::Ethernet, &eth(&[0x81, 0, 0x20, 7, 0x08, 0]), Ok(Some(7)));
        check(LinkType::Ethernet, &eth(&[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7, 0x08, 0]), Ok(Some(9)));
        check(LinkType::Ethernet, &eth(&[0x88, 0x47, 0, 1, 0, 64, 0, 1, 1, 64]), Ok(None));
        check(LinkType::Ethernet, &eth(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 6, 0, 0x21]), Ok(None));
        check(LinkType::Ethernet, &eth(&[0, 12, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]), Ok(None));
        check(LinkType::Ethernet, &eth(&[0, 12, 0xaa, 0xaa, 3, 0, 0, 0, 0, 0]), Err(Reject::NotIp));
        check(LinkType::Ethernet, &eth(&[0x88, 0xcc]), Err(Reject::NotIp));
        check(LinkType::LinuxCooked, &[0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0, 8, 0], Ok(None));
        check(LinkType::Null, &[2, 0, 0, 0], Ok(None));
        check(LinkType::Ppp, &[0xff, 0x03, 0, 0x21], Ok(None));
        check(LinkType::Ppp, &[0x21], Ok(None));
        check(LinkType::RawIp, &[], Ok(None));
        let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
        let wireless = |control: &[u8], more: usize| [control, &vec![0; 22 + more], &snap].concat();
        check(LinkType::Ieee80211, &wireless(&[0x08, 1], 0), Ok(None));
        check(LinkType::Ieee80211, &wireless(&[0x88, 3], 8), Ok(None));
        check(LinkType::Ieee80211, &wireless(&[0x88, 0x82], 6), Ok(None));
        check(LinkType::Ieee80211, &wireless(&[0x08, 0x41], 0), Err(Reject::NotIp));
        check(LinkType::Radiotap, &[&[0, 0, 4, 0], &wireless(&[0x08, 2], 0)[..]].concat(), Ok(None));
        check(LinkType::Nflog, &[2, 0, 0, 0, 6, 0, 1, 0, 8, 0, 0, 0, 8, 0, 9, 0], Ok(None));
    }
}
