//! A tracked flow: everything the sensor remembers of one conversation.

use slips_core::flow::{MacAddr, Volume};
use slips_core::time::{PacketTime, Span};

use crate::dns;
use crate::history::Letters;
use crate::list::{Link, Linked, NIL};
use crate::reader::Reader;
use crate::service::{Recognition, Service};
use crate::settings::Settings;
use crate::ssh;
use crate::tcp::{self, End, TcpState};
use crate::tunnel::Wrapping;
use crate::uid::UidBits;

/// Which list of flows a [`Link`] belongs to: the timer wheel's.
pub(crate) const BY_TIMER: usize = 0;
/// Which list of flows a [`Link`] belongs to: the order of eviction.
pub(crate) const BY_AGE: usize = 1;

/// A side of a flow that was silent this long on its interface is heard on another one: its route has changed.
const SILENT_THERE: Span = Span::from_secs(60);

/// How a flow's packets are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    /// ICMP of a type that has an answer; `true` when the flow began with the question.
    IcmpTwoWay,
    IcmpOneWay,
    Other,
}

/// What identifies a flow, in the direction of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) src: u128,
    pub(crate) dst: u128,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) proto: u8,
    pub(crate) kind: Kind,
    /// Within another packet: a conversation apart, of which whoever wraps it says what he likes.
    pub(crate) tunnelled: bool,
}

/// Direction of a packet in its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dir {
    Orig,
    Resp,
}

impl Dir {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Orig => Self::Resp,
            Self::Resp => Self::Orig,
        }
    }
}

/// What one side of a flow did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    /// Packets and bytes; for TCP the payload bytes come from the sequence numbers of `tcp` instead.
    pub(crate) volume: Volume,
    /// The part of the volume that events have told.
    pub(crate) told: Volume,
    /// Hardware address of its frames, and when the frame that told it came: the low bits of its microseconds.
    pub(crate) mac: Option<MacAddr>,
    pub(crate) mac_at: u32,
    /// The interface on which it is heard; what a router forwards is seen on others again.
    pub(crate) heard_on: Option<u16>,
    /// When it was last heard there.
    pub(crate) heard_at: PacketTime,
    /// Its end of a TCP connection.
    pub(crate) tcp: End,
}

/// How much later, and how many packets later, a ring may be read in which the same packet came first.
const COPY_MICROS: u32 = 1_000_000;
const COPY_PACKETS: u64 = 64;

impl Side {
    /// What a router forwards is seen on several interfaces, and which ring is read first is chance: the frame that came first is the
    /// sender's own. True when it was told otherwise before.
    pub(crate) fn came_by(&mut self, mac: Option<MacAddr>, at: PacketTime) -> bool {
        let at = at.0 as u32;
        let before = self.mac_at.wrapping_sub(at);
        let is_earlier = self.volume.pkts < COPY_PACKETS && (1..COPY_MICROS).contains(&before);
        if mac.is_none() || (self.volume.pkts > 0 && !is_earlier) {
            return false;
        }
        let former = std::mem::replace(&mut self.mac, mac);
        self.mac_at = at;
        self.volume.pkts > 0 && former != mac
    }
}

/// Phases that were told, each at most once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) established: bool,
    pub(crate) rejected: bool,
    pub(crate) unanswered: bool,
    pub(crate) closed: bool,
}

/// How long a TCP flow may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Patience {
    /// Its handshake is not complete.
    Handshake,
    /// It is established.
    Established,
    /// It is a login session.
    Login,
}

/// A tracked flow. Lives in a slot of the flow table and is reused for the next one.
#[derive(Debug)]
pub(crate) struct Track {
    /// Hash of the key, as the index knows it.
    pub(crate) hash: u32,
    pub(crate) links: [Link; 2],
    /// When the wheel shall look at this flow, and in which of its slots the flow waits.
    pub(crate) due: PacketTime,
    pub(crate) wheel_slot: u16,
    pub(crate) live: bool,
    /// Whether the flow stands among the unanswered ones in the order of eviction.
    pub(crate) in_unanswered: bool,
    /// Packets arrived since the flow last stood at the head of the order of eviction.
    pub(crate) touched: bool,

    pub(crate) kind: Kind,
    pub(crate) tunnelled: bool,
    pub(crate) proto: u8,
    pub(crate) orig: u128,
    pub(crate) resp: u128,
    pub(crate) orig_port: u16,
    pub(crate) resp_port: u16,
    pub(crate) interface: u16,
    pub(crate) vlan: Option<u16>,
    pub(crate) uid: UidBits,
    pub(crate) first: PacketTime,
    pub(crate) last: PacketTime,
    pub(crate) sides: [Side; 2],
    pub(crate) letters: Letters,
    pub(crate) missed: u64,

    pub(crate) told: Told,
    /// When an event of this flow was last emitted.
    pub(crate) told_at: PacketTime,
    /// Packets of both sides when it was.
    pub(crate) told_packets: u64,

    /// TCP: when the originator's attempt began; when the connection was found closed.
    pub(crate) attempt: Option<PacketTime>,
    pub(crate) closed: Option<PacketTime>,
    pub(crate) patience: Patience,
    /// TCP: data above holes, allocated only where packets come out of order.
    pub(crate) above: Option<Box<tcp::Above>>,

    pub(crate) recognition: Recognition,
    /// It is a tunnel, of which was told.
    pub(crate) tunnel: Option<Wrapping>,
    /// First of the DNS questions that wait for their answers.
    pub(crate) dns_pending: u32,
    pub(crate) dns_stream: Option<Box<dns::Stream>>,
    /// Reads the application, while a parser wants bytes.
    pub(crate) reader: Option<Box<Reader>>,
    pub(crate) ssh: Option<Box<ssh::Session>>,
}

impl Linked<BY_TIMER> for Track {
    fn link(&mut self) -> &mut Link {
        &mut self.links[BY_TIMER]
    }
}

impl Linked<BY_AGE> for Track {
    fn link(&mut self) -> &mut Link {
        &mut self.links[BY_AGE]
    }
}

impl Track {
    /// A flow whose first packet is `key`'s, sent at `at`.
    pub(crate) fn new(key: &Key, hash: u32, at: PacketTime) -> Self {
        Self {
            hash,
            links: [Link::NONE; 2],
            due: at,
            wheel_slot: 0,
            live: true,
            in_unanswered: true,
            touched: false,
            kind: key.kind,
            tunnelled: key.tunnelled,
            proto: key.proto,
            orig: key.src,
            resp: key.dst,
            orig_port: key.src_port,
            resp_port: key.dst_port,
            interface: 0,
            vlan: None,
            uid: UidBits::default(),
            first: at,
            last: at,
            sides: [Side::default(), Side::default()],
            letters: Letters::default(),
            missed: 0,
            told: Told::default(),
            told_at: at,
            told_packets: 0,
            attempt: None,
            closed: None,
            patience: Patience::Handshake,
            above: None,
            recognition: Recognition::default(),
            tunnel: None,
            dns_pending: NIL,
            dns_stream: None,
            reader: None,
            ssh: None,
        }
    }

    /// The direction of a packet with `key` in this flow; `None` when it belongs to another one.
    pub(crate) fn direction(&self, key: &Key) -> Option<Dir> {
        if self.proto != key.proto || self.kind != key.kind || self.tunnelled != key.tunnelled {
            return None;
        }
        let forward = self.orig == key.src
            && self.resp == key.dst
            && self.orig_port == key.src_port
            && self.resp_port == key.dst_port;
        if forward {
            return Some(Dir::Orig);
        }
        let backward = self.orig == key.dst
            && self.resp == key.src
            && self.orig_port == key.dst_port
            && self.resp_port == key.src_port
            && self.kind != Kind::IcmpOneWay;
        backward.then_some(Dir::Resp)
    }

    pub(crate) fn side(&mut self, dir: Dir) -> &mut Side {
        &mut self.sides[dir as usize]
    }

    pub(crate) fn end(&self, dir: Dir) -> &End {
        &self.sides[dir as usize].tcp
    }

    /// Whether `dir` is heard on `interface`. A side that moves there, because it was silent where it was heard before, is.
    pub(crate) fn hears(&mut self, dir: Dir, interface: u16, at: PacketTime) -> bool {
        let side = self.side(dir);
        let here = match side.heard_on {
            Some(on) => on == interface || at.since(side.heard_at) > SILENT_THERE,
            None => true,
        };
        if here {
            side.heard_on = Some(interface);
            side.heard_at = at;
        }
        here
    }

    pub(crate) fn packets(&self) -> u64 {
        let [orig, resp] = &self.sides;
        orig.volume.pkts + resp.volume.pkts
    }

    /// Swaps originator and responder, and says so in the history.
    pub(crate) fn flip(&mut self) {
        std::mem::swap(&mut self.orig, &mut self.resp);
        std::mem::swap(&mut self.orig_port, &mut self.resp_port);
        self.sides.reverse();
        if let Some(above) = &mut self.above {
            above.flip();
        }
        self.recognition.flip();
        if let Some(ssh) = &mut self.ssh {
            ssh.flip();
        }
        if let Some(stream) = &mut self.dns_stream {
            stream.flip();
        }
        if let Some(reader) = &mut self.reader {
            reader.flip();
        }
        self.letters.flipped();
    }

    /// What `dir` sent so far.
    pub(crate) fn volume(&self, dir: Dir) -> Volume {
        let volume = self.sides[dir as usize].volume;
        match self.kind {
            Kind::Tcp => Volume { bytes: self.end(dir).size(self.end(dir.other())), ..volume },
            _ => volume,
        }
    }

    /// When this flow ends if no further packet comes.
    pub(crate) fn expires(&self, settings: &Settings) -> PacketTime {
        match self.kind {
            Kind::Udp => self.last + settings.udp_inactivity,
            Kind::Tcp => self.tcp_expires(settings),
            _ => self.last + settings.icmp_inactivity,
        }
    }

    fn tcp_expires(&self, settings: &Settings) -> PacketTime {
        let patience = match self.patience {
            Patience::Handshake => settings.udp_inactivity,
            Patience::Established => settings.tcp_inactivity,
            Patience::Login => settings.tcp_inactivity.max(Span::from_secs(3600)),
        };
        let mut expires = self.last + patience;
        if let Some(closed) = self.closed {
            expires = expires.min(closed + settings.tcp_close);
        }
        if let Some(attempt) = self.attempt.filter(|_| self.is_half_open()) {
            expires = expires.min(attempt + settings.tcp_attempt);
        }
        expires
    }

    /// TCP: the beginning of the connection was not seen.
    pub(crate) fn is_partial(&self) -> bool {
        self.sides.iter().any(|side| [side.tcp.state, side.tcp.prev].contains(&TcpState::Partial))
    }

    /// TCP: the originator's attempt waits for the responder.
    pub(crate) fn is_half_open(&self) -> bool {
        matches!(self.end(Dir::Orig).state, TcpState::SynSent | TcpState::SynAckSent)
            && self.end(Dir::Resp).state == TcpState::Inactive
    }

    /// Notes that `service` was found; false when it was known.
    pub(crate) fn found(&mut self, service: Service) -> bool {
        if matches!(service, Service::Ssh | Service::Ftp) && self.patience == Patience::Established {
            self.patience = Patience::Login;
        }
        self.recognition.confirm(service)
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tracked_flow_stays_small() {
        // the table's share of the memory that is promised for a flood: 131072 flows in 72 MiB
        assert!(size_of::<Track>() <= 576, "{} bytes", size_of::<Track>());
    }
}
