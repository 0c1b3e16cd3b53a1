//! What comes into the engine: one closed enum.

mod records;

use std::net::IpAddr;

use crate::evidence::Finding;
use crate::exchange::{Auth, Operation};
use crate::flow::{Flow, MacAddr, Origin, Proto, Uid};
use crate::heritage::Heritage;
use crate::neighbour::Neighbour;
use crate::time::PacketTime;

pub use records::*;

/// Everything that the engine can be told. One element of a batch.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all events are flows, and a flow must not cost an allocation"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A flow, at one moment of its life.
    Flow(Flow),
    /// A DNS question with its answer.
    Dns(Box<Dns>),
    /// One HTTP request with its response.
    Http(Box<Http>),
    /// A TLS (or QUIC) handshake.
    Tls(Box<Tls>),
    /// A QUIC connection.
    Quic(Box<Quic>),
    /// A certificate that was shown in the clear.
    X509(Box<X509>),
    /// An SSH session's handshake and authentication.
    Ssh(Box<Ssh>),
    /// An ARP request or reply.
    Arp(Arp),
    /// A DHCP exchange.
    Dhcp(Box<Dhcp>),
    /// A mail transaction.
    Smtp(Box<Smtp>),
    /// An FTP command that opens a data channel.
    Ftp(Box<Ftp>),
    /// A file that was transferred.
    File(Box<File>),
    /// Software seen on a host.
    Software(Box<Software>),
    /// Protocol oddities.
    Weird(Box<Weird>),
    /// A tunnel was found or closed.
    Tunnel(Box<Tunnel>),
    /// A notice of Zeek.
    Notice(Box<Notice>),
    /// A clear-text login (telnet, rlogin, rsh).
    Login(Box<Login>),
    /// An attempt to authenticate, in any protocol that shows it.
    Auth(Box<Auth>),
    /// A request in a protocol that has no record of its own.
    Operation(Box<Operation>),
    /// A message of IPv6's neighbour discovery.
    Neighbour(Box<Neighbour>),
    /// What one of our hosts sends outside in the clear, the beginning of it.
    Payload(Box<Payload>),
    /// Silence: nothing happened up to this moment. Live sources send it so that windows close.
    Tick(PacketTime),
    /// What peers say of an address.
    Advice(Box<Advice>),
    /// What a service outside says of something that one of our hosts met.
    Told(Box<Report>),
    /// What another engine knew, whose place this one takes.
    Inherits(Box<Heritage>),
}

/// What peers say of an address, as far as they are believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// Whom they accuse.
    pub attacker: IpAddr,
    /// When it was weighed.
    pub at: PacketTime,
    /// How much it helps own evidence, as a share of the weight of an alert; with 0 it is only told. The judge grants no more than
    /// [`Advice::MOST`].
    pub help: f64,
    /// How sure they are together, 0 to 1.
    pub confidence: f64,
    /// Who says what, for people.
    pub text: String,
}

/// What a service outside says of something that one of our hosts met.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What is evident by that.
    pub finding: Finding,
    /// Who began the traffic in which it was met, where that is known.
    pub src: Option<IpAddr>,
    /// Who was called.
    pub dst: Option<IpAddr>,
}

impl Advice {
    /// Peers help own evidence at most so much,
    pub const MOST: f64 = 0.6;
    /// and only where own evidence is at least so much of what an alert needs.
    pub const OWN: f64 = 0.25;
}

impl Event {
    /// The moment this event belongs to: a flow's start, a record's time.
    pub fn time(&self) -> PacketTime {
        match self {
            Self::Flow(e) => e.start,
            Self::Dns(e) => e.about.at,
            Self::Http(e) => e.about.at,
            Self::Tls(e) => e.about.at,
            Self::Quic(e) => e.about.at,
            Self::X509(e) => e.about.at,
            Self::Ssh(e) => e.about.at,
            Self::Arp(e) => e.at,
            Self::Dhcp(e) => e.at,
            Self::Smtp(e) => e.about.at,
            Self::Ftp(e) => e.about.at,
            Self::File(e) => e.at,
            Self::Software(e) => e.at,
            Self::Weird(e) => e.about.at,
            Self::Tunnel(e) => e.about.at,
            Self::Notice(e) => e.at,
            Self::Login(e) => e.about.at,
            Self::Auth(e) => e.about.at,
            Self::Operation(e) => e.about.at,
            Self::Neighbour(e) => e.at,
            Self::Payload(e) => e.about.at,
            Self::Tick(at) => *at,
            Self::Advice(e) => e.at,
            Self::Told(e) => e.finding.at,
            Self::Inherits(e) => e.at,
        }
    }

    /// The moment that moves the engine's clock: for flows of our own sensor when they were seen, for all else their time.
    /// Log files are read in the order of flow starts, so the end of a long flow must not push the clock ahead of its neighbours.
    pub fn known_at(&self) -> PacketTime {
        match self {
            Self::Flow(flow) if flow.origin == Origin::Sensor => flow.seen,
            other => other.time(),
        }
    }

    /// What a protocol record says about when and between whom; none of the other events.
    pub const fn about(&self) -> Option<&About> {
        Some(match self {
            Self::Dns(e) => &e.about,
            Self::Http(e) => &e.about,
            Self::Tls(e) => &e.about,
            Self::Quic(e) => &e.about,
            Self::X509(e) => &e.about,
            Self::Ssh(e) => &e.about,
            Self::Smtp(e) => &e.about,
            Self::Ftp(e) => &e.about,
            Self::Weird(e) => &e.about,
            Self::Tunnel(e) => &e.about,
            Self::Login(e) => &e.about,
            Self::Auth(e) => &e.about,
            Self::Operation(e) => &e.about,
            Self::Payload(e) => &e.about,
            Self::Flow(_)
            | Self::Arp(_)
            | Self::Dhcp(_)
            | Self::File(_)
            | Self::Software(_)
            | Self::Notice(_)
            | Self::Neighbour(_)
            | Self::Tick(_)
            | Self::Advice(_)
            | Self::Told(_)
            | Self::Inherits(_) => return None,
        })
    }

    const fn about_mut(&mut self) -> Option<&mut About> {
        Some(match self {
            Self::Dns(e) => &mut e.about,
            Self::Http(e) => &mut e.about,
            Self::Tls(e) => &mut e.about,
            Self::Quic(e) => &mut e.about,
            Self::X509(e) => &mut e.about,
            Self::Ssh(e) => &mut e.about,
            Self::Smtp(e) => &mut e.about,
            Self::Ftp(e) => &mut e.about,
            Self::Weird(e) => &mut e.about,
            Self::Tunnel(e) => &mut e.about,
            Self::Login(e) => &mut e.about,
            Self::Auth(e) => &mut e.about,
            Self::Operation(e) => &mut e.about,
            Self::Payload(e) => &mut e.about,
            Self::Flow(_)
            | Self::Arp(_)
            | Self::Dhcp(_)
            | Self::File(_)
            | Self::Software(_)
            | Self::Notice(_)
            | Self::Neighbour(_)
            | Self::Tick(_)
            | Self::Advice(_)
            | Self::Told(_)
            | Self::Inherits(_) => return None,
        })
    }

    /// The flow that this event tells of, who began it, and from which hardware address the frames of that side came; `None` for events
    /// that tell of no flow, or do not know that address.
    pub fn sender(&self) -> Option<(Uid, IpAddr, MacAddr)> {
        match self {
            Self::Flow(flow) => Some((flow.uid, flow.src.addr, flow.src_mac?)),
            record => record.about().and_then(|about| Some((about.uid, about.src.addr, about.src_mac?))),
        }
    }

    /// Corrects from where the frames of one side of the flow came.
    pub fn came_from(&mut self, addr: IpAddr, mac: MacAddr) {
        if let Self::Flow(flow) = self {
            if flow.src.addr == addr {
                flow.src_mac = Some(mac);
            }
            if flow.dst.addr == addr {
                flow.dst_mac = Some(mac);
            }
        } else if let Some(about) = self.about_mut()
            && about.src.addr == addr
        {
            about.src_mac = Some(mac);
        }
    }

    /// A record of a TCP connection whose client acknowledged nothing that the server really sent, or anything that was seen
    /// within other packets: anybody may have made it up.
    pub fn is_unheard(&self) -> bool {
        match self {
            Self::Flow(flow) => flow.tunnelled,
            _ => self
                .about()
                .is_some_and(|about| about.tunnelled || (about.proto == Proto::Tcp && !about.heard)),
        }
    }

    /// The address whose behaviour this event tells of, and the other side; `None` where the event names none.
    pub fn parties(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        if let Some(about) = self.about() {
            return (Some(about.src.addr), Some(about.dst.addr));
        }
        match self {
            Self::Flow(e) => (Some(e.src.addr), Some(e.dst.addr)),
            Self::Arp(e) => (Some(e.sender), Some(e.target)),
            Self::Dhcp(e) => (e.client, e.server),
            Self::File(e) => (e.sender, e.receiver),
            Self::Software(e) => (Some(e.host), None),
            Self::Notice(e) => (e.src, e.dst),
            Self::Neighbour(e) => (Some(e.src), e.message.target().map(IpAddr::V6)),
            _ => (None, None),
        }
    }

    /// Whether it is about the link that it was sent on, so that the link as a whole is told of it.
    pub const fn is_of_link(&self) -> bool {
        matches!(self, Self::Arp(_) | Self::Dhcp(_) | Self::Neighbour(_))
    }

    /// The kind, for choosing who wants to see it.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Flow(_) => EventKind::Flow,
            Self::Dns(_) => EventKind::Dns,
            Self::Http(_) => EventKind::Http,
            Self::Tls(_) => EventKind::Tls,
            Self::Quic(_) => EventKind::Quic,
            Self::X509(_) => EventKind::X509,
            Self::Ssh(_) => EventKind::Ssh,
            Self::Arp(_) => EventKind::Arp,
            Self::Dhcp(_) => EventKind::Dhcp,
            Self::Smtp(_) => EventKind::Smtp,
            Self::Ftp(_) => EventKind::Ftp,
            Self::File(_) => EventKind::File,
            Self::Software(_) => EventKind::Software,
            Self::Weird(_) => EventKind::Weird,
            Self::Tunnel(_) => EventKind::Tunnel,
            Self::Notice(_) => EventKind::Notice,
            Self::Login(_) => EventKind::Login,
            Self::Auth(_) => EventKind::Auth,
            Self::Operation(_) => EventKind::Operation,
            Self::Neighbour(_) => EventKind::Neighbour,
            Self::Payload(_) => EventKind::Payload,
            Self::Tick(_) => EventKind::Tick,
            Self::Advice(_) => EventKind::Advice,
            Self::Told(_) => EventKind::Told,
            Self::Inherits(_) => EventKind::Inherits,
        }
    }
}

/// The kind of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each names the variant of Event")]
pub enum EventKind {
    Flow,
    Dns,
    Http,
    Tls,
    Quic,
    X509,
    Ssh,
    Arp,
    Dhcp,
    Smtp,
    Ftp,
    File,
    Software,
    Weird,
    Tunnel,
    Notice,
    Login,
    Auth,
    Operation,
    Neighbour,
    Payload,
    Tick,
    Advice,
    Told,
    Inherits,
}

impl EventKind {
    /// How many kinds there are.
    pub const COUNT: usize = Self::Inherits as usize + 1;
}
