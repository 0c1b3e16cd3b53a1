//! A program was fetched in clear text (`EXECUTABLE_MIME_TYPE`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Http};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};
use crate::web;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "executable_download",
    kinds: &[EvidenceKind::ExecutableMimeType],
    events: &[EventKind::Http],
    roles: &[Role::Src],
    thresholds: &[NAMED, BARE],
    header: Header {
        detects: "A program was fetched in clear text (`EXECUTABLE_MIME_TYPE`).",
        attack: "T1105 Ingress Tool Transfer.",
        rule: "A response whose content is a program, per server; apart from that, those of servers that were \
            called by their bare address. A linked pair: the client with low, the server with low or medium.",
        numbers: "Low 1.0 for both is the original's, which also takes `octet-stream`, that is anything.",
        quiet: "Systems update themselves in clear text, with signatures; one evidence for each server, eight \
            servers weigh. A bare address has no business with programs: medium.",
        evasion: "TLS, archives, scripts.",
        proof: "Of the server proven, a request over TCP; of our own host not, since any page can have it made.",
    },
};

/// Steps in programs of one server that was called by a name.
pub const NAMED: Threshold = Threshold::steps(
    "downloads",
    "programs from one server that was called by name, in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.6)],
);
/// Steps in programs of one server that was called by its address.
pub const BARE: Threshold = Threshold::steps(
    "bare_downloads",
    "programs from one server that was called by its bare address, in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Medium, 0.7), rung(10, ThreatLevel::Medium, 0.9)],
);

/// Content types of programs.
const PROGRAMS: [&str; 10] = [
    "application/x-dosexec",
    "application/x-msdownload",
    "application/x-ms-dos-executable",
    "application/x-ms-exe",
    "application/x-exe",
    "application/x-winexe",
    "application/x-winhlp",
    "application/x-winhelp",
    "application/x-executable",
    "application/vnd.microsoft.portable-executable",
];

const LIMITS: Limits = Limits { keys: 256, weighing: 8 };

/// See the module.
#[derive(Debug)]
pub struct ExecutableDownload {
    named: Steps<IpAddr>,
    bare: Steps<IpAddr>,
}

impl ExecutableDownload {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            named: Steps::new(settings.ladder(&SPEC, &NAMED), LIMITS),
            bare: Steps::new(settings.ladder(&SPEC, &BARE), LIMITS),
        }
    }
}

/// Whether a Host header is an address, with or without a port.
fn is_bare(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.parse::<IpAddr>().is_ok() || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

impl ExecutableDownload {
    fn on_http(&mut self, cx: &mut Cx<'_>, http: &Http) {
        let Some(mime) = http.resp_mime_types.iter().find(|mime| PROGRAMS.contains(&mime.as_str())) else {
            return;
        };
        let about = &http.about;
        let bare = is_bare(&http.host);
        let steps = if bare { &mut self.bare } else { &mut self.named };
        let Some(reached) = steps.add(cx, about.dst.addr, about.uid) else { return };
        let host: String = http.host.chars().take(100).collect();
        let text =
            format!("{} programs ({mime}) fetched in clear text from {} `{host}`", reached.n, about.dst);
        let kind = EvidenceKind::ExecutableMimeType;
        let server = Finding {
            victim: Some(Entity::Ip(about.src.addr)),
            proto: Some(Proto::Tcp),
            dst_port: Some(about.dst.port),
            text,
            proof: Proof::Proven,
            ..reached.finding(cx, kind, about.dst.addr, about.at)
        };
        let client = Finding {
            attacker: Entity::Ip(about.src.addr),
            victim: Some(Entity::Ip(about.dst.addr)),
            level: server.level.min(ThreatLevel::Low),
            confidence: Confidence::new(0.5),
            proof: web::proof_of_client(cx.facts()),
            ..server.clone()
        };
        cx.emit_both(client, server);
    }
}

impl Detector for ExecutableDownload {
    in_steps!(named, bare);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Http(http) = event {
            self.on_http(cx, http);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, http, levels};

    fn told(n: i64, host: &str, mime: &str) -> Vec<Finding> {
        let mut bench = bench(ExecutableDownload::new(&Settings::default()));
        let request = |n| {
            let mut request = http("203.0.113.9", host, "/a", n);
            request.resp_mime_types = vec![mime.into()];
            Event::Http(Box::new(request))
        };
        (0..n).flat_map(|n| bench.feed(&request(n))).collect()
    }

    #[test]
    fn a_program_is_told_once_of_client_and_server() {
        let told = told(500, "download.example.org", "application/x-dosexec");
        assert_eq!(levels(&told), ["low 0.5", "low 0.6"]);
        assert_eq!(told[0].related, [told[1].id()]);
    }

    #[test]
    fn a_bare_address_is_worse_and_again_at_the_tenth() {
        for host in ["203.0.113.9", "203.0.113.9:8080", "[2001:db8::1]:80"] {
            assert_eq!(levels(&told(9, host, "application/x-dosexec")), ["low 0.5", "medium 0.7"], "{host}");
        }
        assert_eq!(told(10, "203.0.113.9", "application/x-dosexec").len(), 4);
    }

    #[test]
    fn other_contents_are_silent() {
        for mime in ["application/octet-stream", "text/html", ""] {
            assert!(told(5, "203.0.113.9", mime).is_empty());
        }
    }
}
