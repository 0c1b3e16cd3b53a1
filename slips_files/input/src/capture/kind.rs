//! How the frames of each kind of interface are read.

use slips_core::time::PacketTime;

use super::block::RawFrame;
use super::ring::LinkHeader;
use super::{Checksum, Frame};
use crate::filter;

/// How an interface's frames begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkKind {
    /// With an Ethernet header.
    Ethernet,
    /// The same with an empty header; each frame passes twice, once as sent and once as received.
    Loopback,
    /// With a Wi-Fi header of this link type (monitor mode).
    Wifi(u32),
    /// Anything else: tunnels, PPP, WireGuard, modems. Whether and how they show a header depends on the driver, so the kernel
    /// takes it off, and what is left is IP.
    Network,
}

impl LinkKind {
    pub(super) fn of(hardware: u16) -> Self {
        match hardware {
            libc::ARPHRD_ETHER => Self::Ethernet,
            libc::ARPHRD_LOOPBACK => Self::Loopback,
            libc::ARPHRD_IEEE80211 => Self::Wifi(105),
            libc::ARPHRD_IEEE80211_PRISM => Self::Wifi(119),
            libc::ARPHRD_IEEE80211_RADIOTAP => Self::Wifi(127),
            _ => Self::Network,
        }
    }

    pub(super) const fn header(self) -> LinkHeader {
        match self {
            Self::Ethernet | Self::Loopback | Self::Wifi(_) => LinkHeader::Kept,
            Self::Network => LinkHeader::Stripped,
        }
    }

    /// How filters read it; `None` where they cannot.
    pub(super) const fn for_filters(self) -> Option<filter::LinkKind> {
        match self {
            Self::Ethernet | Self::Loopback => Some(filter::LinkKind::Ethernet),
            Self::Network => Some(filter::LinkKind::Ip(0)),
            Self::Wifi(_) => None,
        }
    }

    /// Link type number as in the headers of pcap files.
    pub(super) const fn dlt(self) -> u32 {
        match self {
            Self::Ethernet | Self::Loopback => 1,
            Self::Wifi(dlt) => dlt,
            Self::Network => 101,
        }
    }

    /// Whether this is the first of the two passes of a frame on the loopback (kernels before 4.20 show it).
    pub(super) fn is_echo(self, raw: &RawFrame<'_>) -> bool {
        self == Self::Loopback && raw.packet_type == libc::PACKET_OUTGOING
    }

    pub(super) fn frame<'a>(self, interface: u16, raw: &RawFrame<'a>) -> Option<Frame<'a>> {
        let is_ip = i32::from(raw.protocol) == libc::ETH_P_IP || i32::from(raw.protocol) == libc::ETH_P_IPV6;
        if self.is_echo(raw) || (self == Self::Network && !is_ip) {
            return None;
        }
        let set = |bit| raw.status & bit != 0;
        let vlan = (raw.vlan_tci & 0xfff) as u16;
        Some(Frame {
            interface,
            dlt: self.dlt(),
            at: PacketTime::from_secs_micros(raw.seconds.into(), (raw.nanos / 1000).into()),
            captured: raw.data,
            wire_len: raw.wire_len,
            vlan: (set(libc::TP_STATUS_VLAN_VALID) && vlan != 0).then_some(vlan),
            outgoing: raw.packet_type == libc::PACKET_OUTGOING,
            checksum: if set(libc::TP_STATUS_CSUMNOTREADY) {
                Checksum::Pending
            } else if set(libc::TP_STATUS_CSUM_VALID) {
                Checksum::Right
            } else {
                Checksum::Unknown
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: RawFrame<'_> = RawFrame {
        seconds: 1_700_000_000,
        nanos: 123_456_789,
        wire_len: 9000,
        status: libc::TP_STATUS_USER,
        vlan_tci: 0,
        protocol: 0x0800,
        packet_type: 0,
        data: b"bytes",
    };

    #[test]
    fn each_kind_of_interface_has_its_link_type() {
        for (hardware, dlt, header) in [
            (libc::ARPHRD_ETHER, 1, LinkHeader::Kept),
            (libc::ARPHRD_LOOPBACK, 1, LinkHeader::Kept),
            (libc::ARPHRD_IEEE80211_RADIOTAP, 127, LinkHeader::Kept),
            (libc::ARPHRD_NONE, 101, LinkHeader::Stripped),
            (libc::ARPHRD_PPP, 101, LinkHeader::Stripped),
            (libc::ARPHRD_SIT, 101, LinkHeader::Stripped),
            (libc::ARPHRD_IPGRE, 101, LinkHeader::Stripped),
            (519, 101, LinkHeader::Stripped),
        ] {
            let kind = LinkKind::of(hardware);
            assert_eq!((kind.dlt(), kind.header()), (dlt, header), "{hardware}");
        }
    }

    #[test]
    fn what_the_kernel_tells_beside_the_bytes_is_kept() {
        let frame = LinkKind::Ethernet.frame(3, &RAW).expect("a frame");
        assert_eq!((frame.interface, frame.at.0), (3, 1_700_000_000_123_456));
        assert_eq!((frame.vlan, frame.checksum, frame.outgoing), (None, Checksum::Unknown, false));

        let vlan = libc::TP_STATUS_VLAN_VALID;
        for (status, vlan_tci, vlan, checksum) in [
            (0, 7, None, Checksum::Unknown),
            (vlan, 0xe007, Some(7), Checksum::Unknown),
            (vlan, 0xe000, None, Checksum::Unknown),
            (libc::TP_STATUS_CSUMNOTREADY, 0, None, Checksum::Pending),
            (libc::TP_STATUS_CSUM_VALID, 0, None, Checksum::Right),
        ] {
            let frame = LinkKind::Ethernet.frame(1, &RawFrame { status, vlan_tci, ..RAW }).expect("a frame");
            assert_eq!((frame.vlan, frame.checksum), (vlan, checksum), "{status} {vlan_tci}");
        }
    }

    #[test]
    fn echoes_of_the_loopback_and_strangers_in_a_tunnel_are_left_out() {
        let sent = RawFrame { packet_type: libc::PACKET_OUTGOING, ..RAW };
        assert!(LinkKind::Loopback.frame(1, &sent).is_none() && LinkKind::Loopback.frame(1, &RAW).is_some());
        assert!(LinkKind::Ethernet.frame(1, &sent).is_some_and(|frame| frame.outgoing));
        let stranger = RawFrame { protocol: 0x8847, ..RAW };
        assert!(
            LinkKind::Network.frame(1, &stranger).is_none() && LinkKind::Network.frame(1, &RAW).is_some()
        );
    }
}
