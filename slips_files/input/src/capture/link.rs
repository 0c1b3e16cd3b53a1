//! One interface: its ring, its state, its counters.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use slips_core::time::PacketTime;

use super::block::{Frames, RawFrame};
use super::ring::{self, InterfaceFacts, LinkHeader, Ring, RingError, RingOptions, Step};
use super::settings::CaptureSettings;
use super::{CaptureError, Change, Checksum, Frame};
use crate::filter::{self, Program, RunsIn};

/// The state of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Frames come.
    Up,
    /// It exists and is switched off.
    Down,
    /// There is no interface of that name.
    Away,
    /// It is back, but the kernel does not let us capture on it; tried again every second.
    Refused,
}

/// What was counted at an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed over.
    pub frames: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Frames that were handed over cut.
    pub cut: u64,
    /// Frames not handed over: neither IPv4 nor IPv6 on an interface without link header, or unreadable in the ring.
    pub skipped: u64,
    /// Frames that the kernel dropped because the ring was full.
    pub drops: u64,
    /// How often the ring was full.
    pub freezes: u64,
    /// How often the interface was taken up again after it was away.
    pub returns: u64,
}

/// One interface of a capture.
#[derive(Debug)]
pub(super) struct Link {
    name: String,
    number: u16,
    /// `None` only while it could not be opened again.
    ring: Option<Ring>,
    index: u32,
    kind: LinkKind,
    state: LinkState,
    reported: LinkState,
    counters: Counters,
    /// The socket may have been let go by its interface.
    doubtful: bool,
}

impl Link {
    pub(super) fn open(
        name: &str,
        number: u16,
        settings: &CaptureSettings,
        probe: BorrowedFd<'_>,
    ) -> Result<Self, CaptureError> {
        let facts = ring::interface(probe, name).map_err(|_| CaptureError::missing(name))?;
        let kind = LinkKind::of(facts.hardware);
        let bytes = u64::from(settings.ring.blocks()) * u64::from(settings.ring.block_bytes());
        if kind.for_filters().is_none() && (settings.filter.is_some() || settings.share.is_some()) {
            return Err(CaptureError::Unfiltered { name: name.to_owned() });
        }
        let ring = open_ring(facts.index, kind, settings)
            .map_err(|error| CaptureError::opening(name, bytes, error))?;
        let link = Self {
            name: name.to_owned(),
            number,
            ring: Some(ring),
            index: facts.index,
            kind,
            state: state_of(facts),
            reported: LinkState::Up,
            counters: Counters::default(),
            doubtful: false,
        };
        link.clear_error();
        Ok(link)
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.ring.as_ref().map(Ring::as_fd)
    }

    pub(super) fn dlt(&self) -> u32 {
        self.kind.dlt()
    }

    /// The socket reports an error: its interface went down, or was deleted.
    pub(super) fn on_error(&mut self) {
        self.clear_error();
        self.doubtful = true;
    }

    /// Takes the error off the socket, or it would be reported for ever.
    fn clear_error(&self) {
        if let Some(ring) = &self.ring {
            let _ = nix::sys::socket::getsockopt(ring, nix::sys::socket::sockopt::SocketError);
        }
    }

    /// A change of state that nobody was told of. Changes back and forth in between are one, or none.
    pub(super) fn unreported(&mut self) -> Option<Change> {
        if self.state == self.reported {
            return None;
        }
        self.reported = self.state;
        Some(Change { interface: self.number, state: self.state })
    }

    /// Hands over the frames of at most `blocks` finished blocks.
    pub(super) fn drain(&mut self, blocks: usize, each: &mut dyn FnMut(Frame<'_>)) -> usize {
        let Some(ring) = &mut self.ring else { return 0 };
        let mut handed = 0;
        for _ in 0..blocks {
            let Some(block) = ring.take() else { break };
            let mut frames = Frames::new(block.bytes());
            for raw in frames.by_ref() {
                let Some(frame) = self.kind.frame(self.number, &raw) else {
                    self.counters.skipped += u64::from(!self.kind.is_echo(&raw));
                    continue;
                };
                self.counters.frames += 1;
                self.counters.bytes += u64::from(frame.wire_len);
                self.counters.cut += u64::from(frame.captured.len() < frame.wire_len as usize);
                handed += 1;
                each(frame);
            }
            self.counters.skipped += u64::from(frames.missing());
        }
        handed
    }

    pub(super) fn counters(&mut self) -> Counters {
        self.collect();
        self.counters
    }

    /// Adds what the kernel counted since the last time; it starts again at zero when read.
    fn collect(&mut self) {
        let Some(Ok(fresh)) = self.ring.as_ref().map(Ring::statistics) else { return };
        self.counters.drops += u64::from(fresh.drops);
        self.counters.freezes += u64::from(fresh.freezes);
    }

    /// Compares with what the kernel says now; takes the interface up again when it was made anew.
    pub(super) fn check(&mut self, settings: &CaptureSettings, probe: BorrowedFd<'_>) {
        self.collect();
        let Ok(facts) = ring::interface(probe, &self.name) else {
            self.state = LinkState::Away;
            return;
        };
        // A socket lets go of an interface that is deleted, so when it was away even the same index is bound anew.
        if facts.index == self.index && matches!(self.state, LinkState::Up | LinkState::Down) {
            if std::mem::take(&mut self.doubtful)
                && let Some(ring) = &self.ring
            {
                let _ = ring.bind(self.index);
                self.clear_error();
            }
            self.state = state_of(facts);
            return;
        }
        match self.take_up(facts, settings) {
            Ok(()) => {
                self.counters.returns += 1;
                self.state = state_of(facts);
            }
            Err(error) if is_gone(&error.source) => self.state = LinkState::Away,
            Err(_) => self.state = LinkState::Refused,
        }
    }

    fn take_up(&mut self, facts: InterfaceFacts, settings: &CaptureSettings) -> Result<(), RingError> {
        let kind = LinkKind::of(facts.hardware);
        match &self.ring {
            Some(ring) if kind == self.kind => {
                // The same socket again: keeps what is still in the ring, and needs no capability.
                ring.bind(facts.index)?;
                if settings.promiscuous {
                    ring.promiscuous(facts.index)?;
                }
            }
            _ => {
                // Another sort of interface, whose frames come otherwise.
                self.ring = None;
                self.ring = Some(open_ring(facts.index, kind, settings)?);
                self.kind = kind;
            }
        }
        self.index = facts.index;
        self.doubtful = false;
        self.clear_error();
        Ok(())
    }
}

fn open_ring(index: u32, kind: LinkKind, settings: &CaptureSettings) -> Result<Ring, RingError> {
    let program = program(kind, settings)?;
    let ring = Ring::open(&RingOptions {
        blocks: settings.ring.blocks(),
        block_bytes: settings.ring.block_bytes(),
        retire_ms: settings.ring.retire_ms(),
        header: kind.header(),
        ignore_outgoing: kind == LinkKind::Loopback,
        filter: program.as_ref(),
    })?;
    ring.bind(index)?;
    if settings.promiscuous {
        ring.promiscuous(index)?;
    }
    Ok(ring)
}

/// What the kernel is to hand over of a kind of frames; `None`: all of it.
fn program(kind: LinkKind, settings: &CaptureSettings) -> Result<Option<Program>, RingError> {
    let program = match (kind.for_filters(), &settings.filter, settings.share) {
        (_, None, None) => return Ok(None),
        (Some(link), Some(filter), share) => filter.program(link, RunsIn::Kernel, share).ok(),
        (Some(link), None, Some(share)) => share.program(link, RunsIn::Kernel).ok(),
        (None, ..) => None,
    };
    match program {
        Some(program) => Ok(Some(program)),
        // An interface that came back as one whose frames cannot be filtered; without the filter it would show too much.
        None => Err(RingError { step: Step::Filter, source: io::Error::from_raw_os_error(libc::EINVAL) }),
    }
}

fn state_of(facts: InterfaceFacts) -> LinkState {
    if facts.up { LinkState::Up } else { LinkState::Down }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO | libc::ENETDOWN))
}

/// How an interface's frames begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkKind {
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
    fn of(hardware: u16) -> Self {
        match hardware {
            libc::ARPHRD_ETHER => Self::Ethernet,
            libc::ARPHRD_LOOPBACK => Self::Loopback,
            libc::ARPHRD_IEEE80211 => Self::Wifi(105),
            libc::ARPHRD_IEEE80211_PRISM => Self::Wifi(119),
            libc::ARPHRD_IEEE80211_RADIOTAP => Self::Wifi(127),
            _ => Self::Network,
        }
    }

    const fn header(self) -> LinkHeader {
        match self {
            Self::Ethernet | Self::Loopback | Self::Wifi(_) => LinkHeader::Kept,
            Self::Network => LinkHeader::Stripped,
        }
    }

    /// How filters read it; `None` where they cannot.
    const fn for_filters(self) -> Option<filter::LinkKind> {
        match self {
            Self::Ethernet | Self::Loopback => Some(filter::LinkKind::Ethernet),
            Self::Network => Some(filter::LinkKind::Ip(0)),
            Self::Wifi(_) => None,
        }
    }

    /// Link type number as in the headers of pcap files.
    const fn dlt(self) -> u32 {
        match self {
            Self::Ethernet | Self::Loopback => 1,
            Self::Wifi(dlt) => dlt,
            Self::Network => 101,
        }
    }

    /// Whether this is the first of the two passes of a frame on the loopback (kernels before 4.20 show it).
    fn is_echo(self, raw: &RawFrame<'_>) -> bool {
        self == Self::Loopback && raw.packet_type == libc::PACKET_OUTGOING
    }

    fn frame<'a>(self, interface: u16, raw: &RawFrame<'a>) -> Option<Frame<'a>> {
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
