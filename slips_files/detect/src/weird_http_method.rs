//! A method that HTTP does not know.

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Weird};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of};
use crate::web;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "weird_http_method",
    kinds: &[EvidenceKind::WeirdHttpMethod],
    events: &[EventKind::Weird],
    roles: &[Role::Src],
    thresholds: &[METHODS],
    header: Header {
        detects: "A method that HTTP does not know.",
        attack: "T1071.001 Web Protocols (a protocol that only looks like HTTP), T1595.002 Vulnerability Scanning.",
        rule: "Oddity records of that name; distinct methods per server, so that one client that always does the \
            same is one.",
        numbers: "The original tells each with medium 0.9. We begin at low.",
        quiet: "Methods of WebDAV, UPnP, RTSP and Microsoft's tunnels are known here even if the reader does not \
            know them. Nothing here is more than medium.",
        evasion: "A known method.",
        proof: "Proven, a request over TCP; of one of our hosts outwards not, since any page can have it made.",
    },
};

/// Steps in distinct methods at one server.
pub const METHODS: Threshold = Threshold::steps(
    "methods",
    "unknown methods at one server in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.9), rung(3, ThreatLevel::Medium, 0.9)],
);

/// Methods outside the core of HTTP that honest software uses.
const KNOWN: [&str; 24] = [
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "SEARCH",
    "MERGE",
    "CHECKOUT",
    "NOTIFY",
    "M-SEARCH",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "DESCRIBE",
    "SETUP",
    "PLAY",
    "TEARDOWN",
    "PURGE",
    "RPC_IN_DATA",
    "RPC_OUT_DATA",
    "BITS_POST",
    "SSTP_DUPLEX_POST",
];

/// See the module.
#[derive(Debug)]
pub struct WeirdHttpMethod {
    methods: Steps<IpAddr>,
}

impl WeirdHttpMethod {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { methods: Steps::new(settings.ladder(&SPEC, &METHODS), Limits { keys: 256, weighing: 8 }) }
    }
}

impl WeirdHttpMethod {
    fn on_weird(&mut self, cx: &mut Cx<'_>, weird: &Weird) {
        if !weird.name.contains("unknown_HTTP_method") || KNOWN.contains(&weird.addl.as_str()) {
            return;
        }
        let about = &weird.about;
        let member = member_of(&weird.addl);
        let Some(reached) = self.methods.add_distinct(cx, about.dst.addr, member, about.uid) else { return };
        let shown: String = weird.addl.chars().take(40).collect();
        let text = format!("{} unknown HTTP methods at {}, lately `{shown}`", reached.n, about.dst);
        cx.emit(Finding {
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(about.proto),
            text,
            proof: web::proof_of_client(cx.facts()),
            ..reached.finding(cx, EvidenceKind::WeirdHttpMethod, about.src.addr, about.at)
        });
    }
}

impl Detector for WeirdHttpMethod {
    in_steps!(methods);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Weird(weird) = event {
            self.on_weird(cx, weird);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{about, bench, levels};

    fn told(name: &str, methods: &[&str]) -> Vec<Finding> {
        let mut bench = bench(WeirdHttpMethod::new(&Settings::default()));
        let record = |method: &str| {
            Event::Weird(Box::new(Weird {
                about: about("192.168.1.5", "203.0.113.9", 80, 0),
                name: name.into(),
                addl: method.into(),
            }))
        };
        methods.iter().flat_map(|method| bench.feed(&record(method))).collect()
    }

    #[test]
    fn an_unknown_method_is_low_and_the_third_medium() {
        assert_eq!(levels(&told("unknown_HTTP_method", &["FOO", "FOO", "FOO", "BAR"])), ["low 0.9"]);
        assert_eq!(levels(&told("unknown_HTTP_method", &["A", "B", "C"])), ["low 0.9", "medium 0.9"]);
    }

    #[test]
    fn known_methods_and_other_oddities_are_silent() {
        assert!(told("unknown_HTTP_method", &["PROPFIND", "M-SEARCH"]).is_empty());
        assert!(told("truncated_header", &["A", "B", "C"]).is_empty());
    }
}
