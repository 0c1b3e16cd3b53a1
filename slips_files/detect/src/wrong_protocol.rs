//! Something else than HTTP at port 80 (`NON_HTTP_PORT_80_CONNECTION`), something else than TLS at port 443
//! (`NON_SSL_PORT_443_CONNECTION`).

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Origin, Phase, Proto};
use slips_core::state::Windowed;
use slips_core::time::WindowId;

use crate::Settings;
use crate::attempt;
use crate::ladder::rung;
use crate::steps::{Limits, Steps};
use crate::table::Table;
use crate::web;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "wrong_protocol",
    kinds: &[EvidenceKind::NonHttpPort80, EvidenceKind::NonSslPort443],
    events: &[EventKind::Flow],
    roles: &[Role::Src],
    thresholds: &[PORT_80, PORT_443],
    header: Header {
        detects: "Something else than HTTP at port 80 (`NON_HTTP_PORT_80_CONNECTION`), something else than TLS at port \
            443 (`NON_SSL_PORT_443_CONNECTION`).",
        attack: "T1571 Non-Standard Port, T1095 Non-Application Layer Protocol.",
        rule: "A TCP connection seen from its handshake on, nothing of it missing, with bytes from both sides, in \
            which the protocol of the port was not recognised when the flow ended or was told again. Per server \
            and port; a server with which this client spoke the right protocol in the same window is left alone. \
            Port 80: a linked pair.",
        numbers: "The original tells each flow with low (client) and medium (server) 0.8, after waiting five minutes \
            of wall clock for a better flow. We do not wait, begin lower and rise with the number of flows.",
        quiet: "Partial captures and flows that were joined in the middle are not judged; VPNs, messengers and games \
            at these ports stay at medium, and of one source eight servers weigh.",
        evasion: "A wrapper that looks right.",
        proof: "Proven once the flow was two-way; of one of our hosts outwards not, since any page can have it made.",
    },
};

/// Steps in flows of one server at port 80: its client is low, the server as bad as this.
pub const PORT_80: Threshold = Threshold::steps(
    "port_80_connections",
    "connections to port 80 of one server in a window that are not HTTP",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.8), rung(10, ThreatLevel::Medium, 0.8)],
);
/// Steps in flows of one server at port 443.
pub const PORT_443: Threshold = Threshold::steps(
    "port_443_connections",
    "connections to port 443 of one server in a window that are not TLS",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.8), rung(10, ThreatLevel::Medium, 0.8)],
);

const LIMITS: Limits = Limits { keys: 256, weighing: 8 };
/// Servers remembered with which the right protocol was spoken.
const MAX_RIGHT: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct WrongProtocol {
    port_80: Steps<IpAddr>,
    port_443: Steps<IpAddr>,
    right: Windowed<Table<(IpAddr, u16), ()>>,
}

impl WrongProtocol {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            port_80: Steps::new(settings.ladder(&SPEC, &PORT_80), LIMITS),
            port_443: Steps::new(settings.ladder(&SPEC, &PORT_443), LIMITS),
            right: Windowed::default(),
        }
    }
}

/// The whole connection was seen, and both sides said something.
fn is_whole(flow: &Flow) -> bool {
    let history = flow.history.as_str();
    matches!(flow.phase, Phase::Update | Phase::Closed | Phase::End)
        && matches!(flow.origin, Origin::Sensor | Origin::Zeek)
        && flow.is_two_way()
        && flow.orig.bytes > 0
        && flow.resp.bytes > 0
        && flow.missed_bytes == 0
        && (history.starts_with("Sh") || history.starts_with("SAh"))
        && !flow.was_flipped()
}

impl WrongProtocol {
    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let is_80 = flow.dst.port == 80;
        let names: &[&str] = if is_80 { &["http", "http2", "websocket"] } else { &["ssl", "tls", "quic"] };
        let peer = (flow.dst.addr, flow.dst.port);
        if names.iter().any(|name| flow.has_service(name)) {
            self.right.get_or_default(cx.slot(), cx.window()).get_or_insert(peer, MAX_RIGHT, |()| 0);
            return;
        }
        if !is_whole(flow) || !attempt::between_hosts(flow) {
            return;
        }
        if self.right.get_mut(cx.slot(), cx.window()).is_some_and(|right| right.get_mut(&peer).is_some()) {
            return;
        }
        let steps = if is_80 { &mut self.port_80 } else { &mut self.port_443 };
        if !steps.first(cx, flow) {
            return;
        }
        let Some(reached) = steps.add(cx, flow.dst.addr, flow.uid) else { return };
        let (kind, what) = match is_80 {
            true => (EvidenceKind::NonHttpPort80, "HTTP"),
            false => (EvidenceKind::NonSslPort443, "TLS"),
        };
        let text = format!("{} connections to {} that are not {what}", reached.n, flow.dst);
        let client = Finding {
            victim: Some(Entity::Ip(flow.dst.addr)),
            proto: Some(Proto::Tcp),
            dst_port: Some(flow.dst.port),
            text,
            proof: web::proof_of_client(cx.facts()),
            ..reached.finding(cx, kind, flow.src.addr, flow.seen)
        };
        if is_80 {
            tell_pair(cx, flow, client);
        } else {
            cx.emit(client);
        }
    }
}

fn tell_pair(cx: &mut Cx<'_>, flow: &Flow, mut client: Finding) {
    let server = Finding {
        attacker: Entity::Ip(flow.dst.addr),
        victim: Some(Entity::Ip(flow.src.addr)),
        proof: Proof::Proven,
        ..client.clone()
    };
    client.level = client.level.min(ThreatLevel::Low);
    client.confidence = Confidence::new(0.6);
    cx.emit_both(client, server);
}

impl Detector for WrongProtocol {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Flow(flow) = event
            && flow.proto == Proto::Tcp
            && matches!(flow.dst.port, 80 | 443)
            && flow.phase != Phase::Start
        {
            self.on_flow(cx, flow);
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.port_80.close(window);
        self.port_443.close(window);
        self.right.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.port_80.forget(slot);
        self.port_443.forget(slot);
        self.right.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, bench, levels};
    use slips_core::flow::{ConnState, History, Service};

    fn told(n: u32, port: u16, vary: impl Fn(&mut Flow)) -> Vec<Finding> {
        let mut bench = bench(WrongProtocol::new(&Settings::default()));
        let flow = |n| {
            let mut flow = Talk::tcp("192.168.1.5", "203.0.113.9", port).carrying(5, 3).flow();
            flow.history = History::new("ShADadFf");
            flow.uid = format!("C{n}").as_str().into();
            vary(&mut flow);
            Event::Flow(flow)
        };
        (0..n).flat_map(|n| bench.feed(&flow(n))).collect()
    }

    #[test]
    fn port_80_is_a_pair_that_grows() {
        assert_eq!(levels(&told(9, 80, |_| {})), ["low 0.6", "low 0.8"]);
        let many = told(10, 80, |_| {});
        assert_eq!(levels(&many), ["low 0.6", "low 0.8", "low 0.6", "medium 0.8"]);
        assert_eq!(many[1].attacker, Entity::Ip("203.0.113.9".parse().expect("ip")));
    }

    #[test]
    fn port_443_is_the_client_alone() {
        let told = told(10, 443, |_| {});
        assert_eq!(levels(&told), ["low 0.8", "medium 0.8"]);
        assert!(told.iter().all(|finding| finding.kind == EvidenceKind::NonSslPort443));
    }

    #[test]
    fn the_right_protocol_and_what_was_not_seen_whole_are_silent() {
        assert!(told(20, 80, |flow| flow.service = Service::new("http")).is_empty());
        assert!(told(20, 443, |flow| flow.service = Service::new("ssl,http")).is_empty());
        assert!(told(20, 443, |flow| flow.history = History::new("DadA")).is_empty());
        assert!(told(20, 443, |flow| flow.missed_bytes = 1).is_empty());
        assert!(told(20, 80, |flow| flow.resp.bytes = 0).is_empty());
        assert!(told(20, 80, |flow| flow.state = ConnState::Oth).is_empty());
        assert!(told(20, 8080, |_| {}).is_empty());
    }

    #[test]
    fn a_server_that_spoke_it_rightly_is_left_alone() {
        let mut bench = bench(WrongProtocol::new(&Settings::default()));
        let mut flow = Talk::tcp("192.168.1.5", "203.0.113.9", 443).carrying(500, 300).flow();
        (flow.history, flow.service) = (History::new("ShADad"), Service::new("ssl"));
        assert!(bench.feed(&Event::Flow(flow.clone())).is_empty());
        (flow.service, flow.uid) = (Service::EMPTY, "C2".into());
        assert!(bench.feed(&Event::Flow(flow)).is_empty());
    }
}
