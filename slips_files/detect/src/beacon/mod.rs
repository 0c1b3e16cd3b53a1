//! Beaconing: contacts that come back like a clock (`COMMAND_AND_CONTROL_CHANNEL`).

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Dns, Event, EventKind};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{ConnState, Flow, Phase, Proto};
use slips_core::state::PerSlot;
use slips_core::time::WindowId;

use crate::ladder::{self, Ladder, Rung, rung};
use crate::steps::{member_of, member_of_ip};
use crate::table::Table;
use crate::{Settings, attempt, names, ports};

mod series;
#[cfg(test)]
mod tests;

use series::{Beat, Comers, Series};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "beacon",
    kinds: &[EvidenceKind::CommandAndControlChannel],
    events: &[EventKind::Flow, EventKind::Dns],
    roles: &[Role::Src],
    thresholds: &[ORDINARY, STRANGE, STRANGE_DATAGRAMS, REFUSED],
    header: Header {
        detects: "Beaconing: contacts that come back like a clock (`COMMAND_AND_CONTROL_CHANNEL`).",
        attack: "T1071 Application Layer Protocol, T1573 Encrypted Channel, T1029 Scheduled Transfer, T1095 \
            Non-Application Layer Protocol.",
        rule: "Flows of one source to one host and port outside (TCP, UDP, QUIC; pings), and its questions below \
            one registered domain whose names differ or that ask for texts. Of the last twenty, the median \
            absolute deviation of the intervals and of the bytes sent, each divided by the median. Once more, \
            and more strictly, with each interval taken by its distance to the next multiple of the median, up \
            to four, so that missing beats do not matter. Over hours and days: the state is not bound to a \
            window, and of a host that talks with very many, whoever comes back has a place before who comes \
            once.",
        numbers: "A beat needs ten intervals of at least a second, dispersion of at most 0.3 in time and 0.1 in size. \
            Implants jitter by 10 to 50 % of their interval, whose deviation is a quarter of it or less. \
            Critical are 500 refused contacts within a window, at a port of no known service, of a server that \
            never let the source in and with which nobody of ours talked: Remcos tries twice a second for ever; \
            programs that wait longer from try to try never come so far. The original's network judges letters \
            of flows and never sees Zeek's.",
        quiet: "A clock alone is what clients of all kinds have: info, and low from a hundred beats on, where a \
            known protocol is spoken at a known port, and for pings. Worse is a clock with a protocol that \
            nobody recognises at a port of no known service, or one that is refused again and again; over UDP \
            (games, calls, tunnels keep their ways open) half as bad. Questions below a domain count only when \
            they differ. Local services are not judged; four peers of one source weigh.",
        evasion: "Jitter of more than the interval, several servers, one long connection.",
        proof: "Proven where the connections were two-way; refused ones by the hardware address below critical. What is \
            critical by refusals is not, since any page that is left open has a browser call a dead port: our host is \
            told and not blocked for this alone.",
    },
};

/// Steps in beats where a known protocol or port is used.
pub const ORDINARY: Threshold = Threshold::steps(
    "ordinary",
    "contacts like a clock where a known protocol is spoken at a known port, and pings",
    Unit::Count,
    &[rung(20, ThreatLevel::Info, 0.3), rung(100, ThreatLevel::Low, 0.6), rung(300, ThreatLevel::Low, 0.9)],
)
.within(LEAST, MOST);
/// Steps in beats where nobody knows the port nor the protocol, over TCP, or where they are refused.
pub const STRANGE: Threshold = Threshold::steps(
    "strange",
    "the same over TCP where nobody knows protocol nor port, or where they are refused",
    Unit::Count,
    &[
        rung(10, ThreatLevel::Medium, 0.6),
        rung(50, ThreatLevel::High, 0.6),
        rung(200, ThreatLevel::High, 0.8),
    ],
)
.within(LEAST, MOST);
/// The same over UDP, and for questions below a domain.
pub const STRANGE_DATAGRAMS: Threshold = Threshold::steps(
    "strange_datagrams",
    "the same over UDP, and questions below one domain",
    Unit::Count,
    &[
        rung(20, ThreatLevel::Low, 0.5),
        rung(100, ThreatLevel::Medium, 0.5),
        rung(400, ThreatLevel::Medium, 0.8),
    ],
)
.within(LEAST, MOST);
/// Refused contacts that come like a clock within a window, of a server that never let the source in.
pub const REFUSED: Threshold = Threshold::steps(
    "refused",
    "refused contacts like a clock in a window, of a server that never let the source in",
    Unit::Count,
    &[rung(500, ThreatLevel::Critical, 0.9)],
)
.within(LEAST, MOST);
/// A beat needs ten intervals.
const LEAST: u32 = 10;
const MOST: u32 = 1_000_000;
/// Seconds between them at most: what waits longer is a device or a program whose server is away.
const REFUSED_INTERVAL: f64 = 3.0;
/// The step after those of [`STRANGE`].
const REFUSED_STEP: u8 = 4;

/// Peers remembered per source; those with the fewest beats make room.
const MAX_PEERS: usize = 32;
/// Peers of one source and window that weigh anything.
const MAX_WEIGHING: u32 = 4;

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Peer {
    /// A host, its port and the transport; pings are at port 0.
    Host(IpAddr, u16, Transport),
    /// A registered domain.
    Domain(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Transport {
    Tcp,
    Udp,
    Icmp,
}

impl Peer {
    /// Fixed, because the same input must give the same result in every run.
    fn member(self) -> u64 {
        match self {
            Self::Host(addr, port, transport) => {
                member_of_ip(addr).rotate_left(17) ^ (u64::from(port) << 2 | transport as u64)
            }
            Self::Domain(domain) => domain,
        }
    }
}

#[derive(Debug, Default)]
struct Source {
    /// By [`Peer::member`].
    peers: Table<u64, Series>,
    comers: Comers,
    window: Option<WindowId>,
    weighing: u32,
}

/// The steps that hold.
#[derive(Debug)]
struct Rules {
    ordinary: Ladder,
    strange: Ladder,
    strange_datagrams: Ladder,
    refused: Rung,
}

/// See the module.
#[derive(Debug)]
pub struct Beacon {
    rules: Rules,
    sources: PerSlot<Source>,
}

/// A step that was reached.
struct Reached<'a> {
    rung: Rung,
    refused: bool,
    series: &'a mut Series,
}

impl Source {
    /// Counts a contact; the rung, if a step is reached.
    fn beats(&mut self, rules: &Rules, cx: &Cx<'_>, peer: Peer, beat: Beat) -> Option<Reached<'_>> {
        let grown = |series: &Series| series.worth();
        let member = peer.member();
        let is_known = self.peers.get_mut(&member).is_some();
        let before = match is_known || self.peers.len() < MAX_PEERS {
            true => None,
            // A full house: whoever comes once waits outside.
            false => Some(self.comers.come(member, beat.at)?),
        };
        let series = self.peers.get_or_insert(member, MAX_PEERS, grown)?;
        if let Some(before) = before {
            series.begin(before);
        }
        if self.window != Some(cx.window()) {
            (self.window, self.weighing) = (Some(cx.window()), 0);
        }
        series.enter(cx.window());
        if !series.add(beat) {
            return None;
        }
        let ladder = match (series.is_strange(), peer) {
            (true, Peer::Host(_, _, Transport::Tcp)) => &rules.strange,
            (true, Peer::Host(_, _, Transport::Udp) | Peer::Domain(_)) => &rules.strange_datagrams,
            _ => &rules.ordinary,
        };
        let refused = series.refused_in_window() >= rules.refused.at
            && !cx.facts().dst_talked
            && series.interval_secs() <= REFUSED_INTERVAL;
        let step = match refused {
            true => REFUSED_STEP,
            false => ladder.step(series.regular()),
        };
        if !ladder::climb(&mut series.told, step) {
            return None;
        }
        if !series.weighs && self.weighing < MAX_WEIGHING {
            self.weighing += 1;
            series.weighs = true;
        }
        let mut rung = if refused { rules.refused } else { ladder.at_step(step)? };
        if !series.weighs {
            rung.level = ThreatLevel::Info;
        }
        Some(Reached { rung, refused, series })
    }
}

impl Beacon {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        const NEVER: Rung = rung(u32::MAX, ThreatLevel::Info, 0.0);
        let rules = Rules {
            ordinary: settings.ladder(&SPEC, &ORDINARY),
            strange: settings.ladder(&SPEC, &STRANGE),
            strange_datagrams: settings.ladder(&SPEC, &STRANGE_DATAGRAMS),
            refused: settings.ladder(&SPEC, &REFUSED).at_step(1).unwrap_or(NEVER),
        };
        Self { rules, sources: PerSlot::default() }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let (transport, port) = match flow.proto {
            Proto::Tcp => (Transport::Tcp, flow.dst.port),
            Proto::Udp => (Transport::Udp, flow.dst.port),
            _ => (Transport::Icmp, 0),
        };
        let unknown = flow.service.is_empty() && !ports::is_known(flow.dst.port);
        let refused = transport == Transport::Tcp && attempt::failed(flow);
        let beat = Beat {
            at: flow.start,
            name: None,
            bytes: flow.orig.bytes,
            strange: unknown || refused,
            // A port of a known service is refused by servers that are down.
            refused: refused && !ports::is_known(flow.dst.port),
            accepted: flow.is_two_way(),
            uid: flow.uid,
        };
        let source = self.sources.get_or_default(cx.slot());
        let peer = Peer::Host(flow.dst.addr, port, transport);
        if let Some(reached) = source.beats(&self.rules, cx, peer, beat) {
            tell(cx, flow, reached);
        }
    }

    fn on_dns(&mut self, cx: &mut Cx<'_>, dns: &Dns) {
        const TXT: u16 = 16;
        const NULL: u16 = 10;
        let Some(domain) = names::registered(&dns.query).filter(|domain| domain.len() < dns.query.len())
        else {
            return;
        };
        if !matches!(dns.qtype, TXT | NULL) && !carries(&dns.query) {
            return;
        }
        let beat = Beat {
            at: dns.about.at,
            // The same name again carries nothing.
            name: Some(member_of(&dns.query)).filter(|_| !matches!(dns.qtype, TXT | NULL)),
            bytes: dns.query.len() as u64,
            strange: true,
            refused: false,
            accepted: true,
            uid: dns.about.uid,
        };
        let source = self.sources.get_or_default(cx.slot());
        let peer = Peer::Domain(member_of(domain));
        let Some(Reached { rung, series, .. }) = source.beats(&self.rules, cx, peer, beat) else { return };
        let text = format!(
            "{} questions below {domain} like a clock, every {:.1} s",
            series.regular(),
            series.interval_secs()
        );
        let uids = series.take_trail();
        cx.emit(Finding {
            victim: Some(Entity::Domain(domain.into())),
            proto: Some(dns.about.proto),
            text,
            uids,
            proof: attempt::proof_of_source(cx.facts()),
            ..ladder::finding(
                cx,
                EvidenceKind::CommandAndControlChannel,
                dns.about.src.addr,
                rung,
                dns.about.at,
            )
        });
    }
}

/// Labels from this length on may carry something.
const MIN_CARRYING_LABEL: usize = 12;

/// Whether the first label of a name looks as if it carried something: digits or letters as no word has them.
fn carries(query: &str) -> bool {
    let label = query.split('.').next().unwrap_or_default();
    let digits = label.bytes().filter(u8::is_ascii_digit).count();
    label.len() >= MIN_CARRYING_LABEL && (digits >= 3 || names::looks_made(label))
}

/// A linked pair: who beats, and whom it calls.
fn tell(cx: &mut Cx<'_>, flow: &Flow, reached: Reached<'_>) {
    let Reached { rung, refused, series } = reached;
    let what = if refused { "refused connections" } else { "contacts" };
    let text = format!(
        "{} {what} to {} over {} like a clock, every {:.1} s",
        series.regular(),
        flow.dst,
        flow.proto,
        series.interval_secs()
    );
    let proof = match flow.is_two_way() {
        true => Proof::Proven,
        // Any page has a browser call a dead port for ever.
        false if refused => Proof::Unproven,
        false => attempt::proof_of_source(cx.facts()),
    };
    let client = Finding {
        victim: Some(Entity::Ip(flow.dst.addr)),
        proto: Some(flow.proto),
        dst_port: Some(flow.dst.port),
        uids: series.take_trail(),
        text,
        proof,
        ..ladder::finding(cx, EvidenceKind::CommandAndControlChannel, flow.src.addr, rung, flow.seen)
    };
    // Who is critical calls his server: that one is as bad.
    let share = if rung.level == ThreatLevel::Critical { 1.0 } else { 0.8 };
    let server = Finding {
        attacker: Entity::Ip(flow.dst.addr),
        victim: Some(Entity::Ip(flow.src.addr)),
        confidence: Confidence::new(rung.confidence.get() * share),
        proof: if flow.is_two_way() { Proof::Proven } else { Proof::Unproven },
        ..client.clone()
    };
    cx.emit_both(client, server);
}

impl Detector for Beacon {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        match event {
            Event::Flow(flow) if is_judged(cx, flow) => self.on_flow(cx, flow),
            Event::Dns(dns)
                if cx.facts().src_local && dns.rcode.is_some() && names::is_unicast_dns(&dns.about) =>
            {
                self.on_dns(cx, dns);
            }
            _ => {}
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.sources.forget(slot);
    }
}

/// A flow to a host outside that has ended.
fn is_judged(cx: &Cx<'_>, flow: &Flow) -> bool {
    const ECHO: [u16; 2] = [8, 128];
    const DNS: u16 = 53;
    let contact = match flow.proto {
        // Joined in the middle: a long connection whose parts look like a series.
        Proto::Tcp => flow.state != ConnState::Oth,
        Proto::Udp => flow.state == ConnState::SF,
        Proto::Icmp => ECHO.contains(&flow.src.port),
        _ => false,
    };
    contact
        && flow.phase == Phase::End
        // Questions are judged by what they ask for.
        && flow.dst.port != DNS
        && !addr::is_private(flow.dst.addr)
        && !cx.facts().dst_local
        && attempt::between_hosts(flow)
        && !flow.was_flipped()
}
