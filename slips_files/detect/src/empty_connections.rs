//! Requests for the start page of a search engine that ask for nothing: how malware looks whether it is online.

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Http};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "empty_connections",
    kinds: &[EvidenceKind::EmptyConnections],
    events: &[EventKind::Http],
    roles: &[Role::Src],
    thresholds: &[REQUESTS],
    header: Header {
        detects: "Requests for the start page of a search engine that ask for nothing: how malware looks whether it is \
            online.",
        attack: "T1016.001 Internet Connection Discovery.",
        rule: "`GET /` without a body, in clear text, at one of six sites, per source, site and window.",
        numbers: "4 is the original's, which counts all hosts together and tells every four with medium 1.0; we count \
            each host by itself and update one evidence.",
        quiet: "Browsers go to these sites by TLS and ask once; systems have hosts of their own for this question. \
            Watchdogs do ask like this: medium 0.5, and no more than two sites weigh.",
        evasion: "Another site, TLS.",
        proof: "Proven, a request over TCP.",
    },
};

/// Steps in requests.
pub const REQUESTS: Threshold = Threshold::steps(
    "requests",
    "requests for one start page in a window",
    Unit::Count,
    &[rung(4, ThreatLevel::Medium, 0.5), rung(40, ThreatLevel::Medium, 0.8)],
);

const SITES: [&str; 6] = ["bing.com", "google.com", "yandex.com", "yahoo.com", "duckduckgo.com", "gmail.com"];

/// See the module.
#[derive(Debug)]
pub struct EmptyConnections {
    requests: Steps<u8>,
}

impl EmptyConnections {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            requests: Steps::new(
                settings.ladder(&SPEC, &REQUESTS),
                Limits { keys: SITES.len(), weighing: 2 },
            ),
        }
    }
}

impl EmptyConnections {
    fn on_http(&mut self, cx: &mut Cx<'_>, http: &Http) {
        if http.uri != "/" || http.request_body_len != 0 {
            return;
        }
        let host = http.host.strip_prefix("www.").unwrap_or(&http.host);
        let Some(site) = SITES.iter().position(|site| site.eq_ignore_ascii_case(host)) else { return };
        let about = &http.about;
        let Some(reached) = self.requests.add(cx, site as u8, about.uid) else { return };
        cx.emit(Finding {
            victim: Some(Entity::Domain(host.to_ascii_lowercase().into())),
            proto: Some(Proto::Tcp),
            text: format!("{} empty HTTP requests to {host}", reached.n),
            proof: Proof::Proven,
            ..reached.finding(cx, EvidenceKind::EmptyConnections, about.src.addr, about.at)
        });
    }
}

impl Detector for EmptyConnections {
    in_steps!(requests);

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

    fn told(n: i64, host: &str, uri: &str, body: u64) -> Vec<Finding> {
        let mut bench = bench(EmptyConnections::new(&Settings::default()));
        let request = |n| {
            let mut request = http("203.0.113.9", host, uri, n);
            request.request_body_len = body;
            Event::Http(Box::new(request))
        };
        (0..n).flat_map(|n| bench.feed(&request(n))).collect()
    }

    #[test]
    fn the_fourth_request_is_told_and_the_third_is_not() {
        assert!(told(3, "www.google.com", "/", 0).is_empty());
        assert_eq!(levels(&told(4, "www.google.com", "/", 0)), ["medium 0.5"]);
        assert_eq!(levels(&told(400, "Google.com", "/", 0)), ["medium 0.5", "medium 0.8"]);
    }

    #[test]
    fn questions_and_other_sites_are_silent() {
        assert!(told(50, "google.com", "/search?q=x", 0).is_empty());
        assert!(told(50, "google.com", "/", 10).is_empty());
        assert!(told(50, "example.org", "/", 0).is_empty());
        assert!(told(50, "", "/", 0).is_empty());
    }
}
