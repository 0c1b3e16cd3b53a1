//! A flow: one conversation between two endpoints, as Zeek's conn.log defines it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::text::ShortText;
use crate::time::{PacketTime, Span};

/// One side of a flow. For ICMP the source port is the type, the destination port the counterpart type or the code, as in Zeek.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address, IPv4-mapped IPv6 already unmapped.
    pub addr: IpAddr,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            IpAddr::V4(v4) => write!(f, "{v4}:{}", self.port),
            IpAddr::V6(v6) => write!(f, "[{v6}]:{}", self.port),
        }
    }
}

/// Transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP of both families.
    Icmp,
    /// ARP, for evidence that has no IP packet behind it.
    Arp,
    /// Any other IP protocol, by its IANA number (255 when the input does not tell).
    Other(u8),
}

impl Proto {
    /// Zeek's name: tcp, udp, icmp, arp, unknown_transport.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Arp => "arp",
            Self::Other(_) => "unknown_transport",
        }
    }

    /// From a name as logs write it, in any letter case.
    pub fn from_name(name: &str) -> Self {
        match name.as_bytes() {
            n if n.eq_ignore_ascii_case(b"tcp") => Self::Tcp,
            n if n.eq_ignore_ascii_case(b"udp") => Self::Udp,
            n if n.eq_ignore_ascii_case(b"icmp")
                || n.eq_ignore_ascii_case(b"icmp6")
                || n.eq_ignore_ascii_case(b"ipv6-icmp") =>
            {
                Self::Icmp
            }
            n if n.eq_ignore_ascii_case(b"arp") => Self::Arp,
            _ => Self::Other(255),
        }
    }
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Zeek's summary of how a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnState {
    /// Attempt seen, no reply.
    S0,
    /// Established, not ended.
    S1,
    /// Normal establishment and end.
    SF,
    /// Attempt rejected.
    Rej,
    /// Established, originator wants to close, no reply from the responder.
    S2,
    /// Established, responder wants to close, no reply from the originator.
    S3,
    /// Established, originator aborted.
    Rsto,
    /// Responder aborted.
    Rstr,
    /// Originator sent a SYN and then a RST; the responder was never heard.
    Rstos0,
    /// Responder sent a SYN-ACK and then a RST; the originator was never heard.
    Rstrh,
    /// Originator sent a SYN and then a FIN; the responder was never heard.
    Sh,
    /// Responder sent a SYN-ACK and then a FIN; the originator was never heard.
    Shr,
    /// No SYN seen, or not a TCP or UDP flow.
    Oth,
}

impl ConnState {
    /// All states with Zeek's names.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::S0, "S0"),
        (Self::S1, "S1"),
        (Self::SF, "SF"),
        (Self::Rej, "REJ"),
        (Self::S2, "S2"),
        (Self::S3, "S3"),
        (Self::Rsto, "RSTO"),
        (Self::Rstr, "RSTR"),
        (Self::Rstos0, "RSTOS0"),
        (Self::Rstrh, "RSTRH"),
        (Self::Sh, "SH"),
        (Self::Shr, "SHR"),
        (Self::Oth, "OTH"),
    ];

    /// Zeek's name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("OTH", |(_, name)| name)
    }

    /// From Zeek's name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(state, _)| *state)
    }
}

impl fmt::Display for ConnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What one side of a flow sent so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Packets.
    pub pkts: u64,
    /// Payload bytes; for TCP by sequence numbers, so that lost packets count.
    pub bytes: u64,
    /// Bytes of IP packets.
    pub ip_bytes: u64,
}

/// Which moment of its life a flow event tells of. File inputs know only [`Phase::End`].
///
/// A live flow is told at `Start`, at each change that matters, every reporting interval (`Update`), and exactly once at `End`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// First packet.
    Start,
    /// Both directions seen: a completed TCP handshake, or an answer to a datagram.
    Established,
    /// The attempt was refused: a TCP reset or an ICMP unreachable answered it.
    Rejected,
    /// No answer for the sensor's attempt delay (default 2 s).
    Unanswered,
    /// The application was recognised, a long flow's reporting interval passed, or there are a thousand more packets of ICMP, or as
    /// many again (or a thousand more) datagrams that nobody answers.
    Update,
    /// A login session (SSH, FTP, telnet …) was closed or reset. [`Phase::End`] follows when stragglers had their time, seconds later;
    /// whoever guesses passwords is judged now.
    Closed,
    /// The flow is over; the figures are final.
    End,
}

/// Interpreted state: did the two sides really talk?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both sides took part.
    Established,
    /// The attempt failed: refused, unanswered, or aborted before it was accepted.
    NotEstablished,
    /// The flow has just begun, or no attempt was seen.
    Unknown,
}

/// Who wrote the flow down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Our own sensor.
    Sensor,
    /// A Zeek log.
    Zeek,
    /// A Suricata event log.
    Suricata,
    /// An Argus flow list.
    Argus,
    /// An nfdump file or a flow exporter.
    Netflow,
}

/// Ground truth that came with a labelled input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// `label` of the input.
    pub label: String,
    /// `detailedlabel` of the input.
    pub detailed: String,
}

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// 00:00:00:00:00:00.
    pub const ZERO: Self = Self([0; 6]);

    /// Parses `aa:bb:cc:dd:ee:ff` (or with dashes).
    pub fn parse(text: &str) -> Option<Self> {
        let mut mac = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut mac {
            let part = parts.next()?;
            if part.is_empty() || part.len() > 2 {
                return None;
            }
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Self(mac))
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The identity of a flow, as its input writes it (`CHhAvVGS1DHFjwGM9`). Longer ones are cut by [`ShortText`].
pub type Uid = ShortText<27>;
/// Zeek's history letters.
pub type History = ShortText<31>;
/// Recognised application protocols, comma separated, lower case (`ssl,http`).
pub type Service = ShortText<31>;

/// One flow at one moment of its life.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Time of the first packet.
    pub start: PacketTime,
    /// When this event was known: the packet (or timer) that caused it; for file inputs the end of the flow.
    pub seen: PacketTime,
    /// Last packet minus first; `None` when there was but one packet (then Zeek shows no byte counts either).
    pub duration: Option<Span>,
    /// Identity.
    pub uid: Uid,
    /// Originator.
    pub src: Endpoint,
    /// Responder.
    pub dst: Endpoint,
    /// Transport.
    pub proto: Proto,
    /// Which moment this event tells of.
    pub phase: Phase,
    /// Who wrote it down.
    pub origin: Origin,
    /// Zeek's connection state, as far as known now.
    pub state: ConnState,
    /// Zeek's history.
    pub history: History,
    /// Recognised applications; empty when none was.
    pub service: Service,
    /// What the originator sent since the start.
    pub orig: Volume,
    /// What the responder sent since the start.
    pub resp: Volume,
    /// What the originator sent since the previous event of this flow (all of it, for file inputs).
    pub orig_new: Volume,
    /// What the responder sent since the previous event of this flow.
    pub resp_new: Volume,
    /// Bytes that were acknowledged but never seen, both directions.
    pub missed_bytes: u64,
    /// The originator acknowledged what the responder sent, so it hears the answers: whoever forges its address from elsewhere cannot.
    /// True for logs, which do not tell, and for what is not TCP.
    pub heard: bool,
    /// It was seen within other packets, or told by datagrams of a flow exporter. Whoever wrote those may have made it up, both sides of it:
    /// it proves nothing.
    pub tunnelled: bool,
    /// The first SYN had no option but a segment size: a program made the packet itself, since every usual system's own asks for more.
    /// False for logs, which do not tell.
    pub bare_syn: bool,
    /// Hardware address of the originator's frames.
    pub src_mac: Option<MacAddr>,
    /// Hardware address of the responder's frames (or of the first frame's destination).
    pub dst_mac: Option<MacAddr>,
    /// Outermost VLAN id.
    pub vlan: Option<u16>,
    /// Index of the interface in the run's list of interfaces; 0 for files.
    pub interface: u16,
    /// Ground truth of a labelled input.
    pub truth: Option<Arc<Label>>,
}

impl Flow {
    /// A flow of which only the ends and the time are known; for readers to fill and tests to vary.
    pub fn new(start: PacketTime, proto: Proto, src: Endpoint, dst: Endpoint) -> Self {
        Self {
            start,
            seen: start,
            duration: None,
            uid: Uid::EMPTY,
            src,
            dst,
            proto,
            phase: Phase::End,
            origin: Origin::Sensor,
            state: ConnState::Oth,
            history: History::EMPTY,
            service: Service::EMPTY,
            orig: Volume::default(),
            resp: Volume::default(),
            orig_new: Volume::default(),
            resp_new: Volume::default(),
            missed_bytes: 0,
            heard: true,
            tunnelled: false,
            bare_syn: false,
            src_mac: None,
            dst_mac: None,
            vlan: None,
            interface: 0,
            truth: None,
        }
    }

    /// Did the two sides talk? Zeek's states as the original groups them, with RSTR (missing there) as established when the
    /// originator got past its SYN, and a live flow unknown until something decides.
    pub fn outcome(&self) -> Outcome {
        match self.phase {
            Phase::Start => return Outcome::Unknown,
            Phase::Rejected | Phase::Unanswered => return Outcome::NotEstablished,
            Phase::Established => return Outcome::Established,
            Phase::Update | Phase::Closed | Phase::End => {}
        }
        use ConnState as S;
        match self.state {
            S::S0 | S::Rej | S::Rstos0 | S::Rstrh | S::Sh | S::Shr => Outcome::NotEstablished,
            S::S1 | S::SF | S::S2 | S::S3 | S::Rsto | S::Rstr => Outcome::Established,
            S::Oth => Outcome::Unknown,
        }
    }

    /// Whether the sender of this flow is proven: a TCP handshake was completed, or datagrams went both ways.
    /// A single SYN or datagram proves nothing about who sent it.
    pub fn is_two_way(&self) -> bool {
        match self.proto {
            Proto::Tcp => {
                matches!(
                    self.state,
                    ConnState::S1
                        | ConnState::SF
                        | ConnState::S2
                        | ConnState::S3
                        | ConnState::Rsto
                        | ConnState::Rstr
                ) && self.orig.pkts >= 2
                    && self.resp.pkts >= 1
                    && self.heard
            }
            _ => self.orig.pkts >= 2 && self.resp.pkts >= 2,
        }
    }

    /// Whether Zeek (or the sensor) swapped originator and responder after the fact.
    pub fn was_flipped(&self) -> bool {
        self.history.contains(b'^')
    }

    /// Whether `name` is among the recognised applications.
    pub fn has_service(&self, name: &str) -> bool {
        self.service.as_str().split(',').any(|service| service == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_names_both_ways() {
        for (state, name) in ConnState::ALL {
            assert_eq!(state.name(), name);
            assert_eq!(ConnState::from_name(name), Some(state));
        }
        assert_eq!(ConnState::from_name("RSTP"), None);
    }

    #[test]
    fn hardware_addresses_parse_and_print() {
        assert_eq!(
            MacAddr::parse("50:5b:c2:db:c3:17").map(|m| m.to_string()).as_deref(),
            Some("50:5b:c2:db:c3:17")
        );
        assert_eq!(MacAddr::parse("0:1:2:3:4:5").map(|m| m.0), Some([0, 1, 2, 3, 4, 5]));
        for bad in ["", "50:5b", "50:5b:c2:db:c3:17:00", "gg:5b:c2:db:c3:17", "505b:c2:db:c3:17:1"] {
            assert_eq!(MacAddr::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_live_flow_is_unknown_until_something_decides() {
        let at = |port| Endpoint { addr: IpAddr::from([192, 0, 2, 1]), port };
        let mut flow = Flow::new(PacketTime(0), Proto::Tcp, at(1), at(2));
        flow.state = ConnState::S0;
        for (phase, outcome) in [
            (Phase::Start, Outcome::Unknown),
            (Phase::Unanswered, Outcome::NotEstablished),
            (Phase::Rejected, Outcome::NotEstablished),
            (Phase::Established, Outcome::Established),
            (Phase::End, Outcome::NotEstablished),
        ] {
            flow.phase = phase;
            assert_eq!(flow.outcome(), outcome, "{phase:?}");
        }
        flow.state = ConnState::Rstr;
        assert_eq!(flow.outcome(), Outcome::Established);
    }
}
