//! A text was fetched from a paste site.

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{About, Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "pastebin_download",
    kinds: &[EvidenceKind::PastebinDownload],
    events: &[EventKind::Http, EventKind::Tls],
    roles: &[Role::Src],
    thresholds: &[DOWNLOADS, MIN_BYTES],
    header: Header {
        detects: "A text was fetched from a paste site.",
        attack: "T1102 Web Service, T1105 Ingress Tool Transfer.",
        rule: "`GET` in clear text with more than 700 bytes in the response, or a TLS handshake, with a paste site.",
        numbers: "700 bytes and info are the original's. Its TLS variant never works; ours does without the size, \
            which a handshake hides.",
        quiet: "It weighs nothing; people read there too.",
        evasion: "Any other site.",
        proof: "Proven, a request over TCP.",
    },
};

/// Told at these counts.
pub const DOWNLOADS: Threshold = Threshold::steps(
    "downloads",
    "texts from one site in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Info, 1.0), rung(20, ThreatLevel::Info, 1.0)],
);
/// Bytes of a response that are worth telling (`pastebin_download_threshold` of the original).
pub const MIN_BYTES: Threshold =
    Threshold::number("min_bytes", "that a text has at least", Unit::Bytes, 700).within(1, 1_000_000_000);

const SITES: [&str; 6] =
    ["pastebin.com", "paste.ee", "rentry.co", "hastebin.com", "ghostbin.com", "0bin.net"];

/// See the module.
#[derive(Debug)]
pub struct PastebinDownload {
    downloads: Steps<u8>,
    min_bytes: u64,
}

impl PastebinDownload {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            downloads: Steps::new(
                settings.ladder(&SPEC, &DOWNLOADS),
                Limits { keys: SITES.len(), weighing: 0 },
            ),
            min_bytes: settings.number(&SPEC, &MIN_BYTES).into(),
        }
    }
}

/// The site that `host` is, or is below.
fn site_of(host: &str) -> Option<usize> {
    SITES.iter().position(|site| {
        host.len().checked_sub(site.len()).is_some_and(|at| {
            host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(site))
                && (at == 0 || host.as_bytes().get(at - 1) == Some(&b'.'))
        })
    })
}

impl PastebinDownload {
    fn tell(&mut self, cx: &mut Cx<'_>, about: &About, site: usize) {
        let Some(reached) = self.downloads.add(cx, site as u8, about.uid) else { return };
        let Some(name) = SITES.get(site) else { return };
        cx.emit(Finding {
            victim: Some(Entity::Domain((*name).into())),
            proto: Some(about.proto),
            text: format!("{} downloads from {name}", reached.n),
            proof: Proof::Proven,
            ..reached.finding(cx, EvidenceKind::PastebinDownload, about.src.addr, about.at)
        });
    }
}

impl Detector for PastebinDownload {
    in_steps!(downloads);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        match event {
            Event::Http(http) if http.method == "GET" && http.response_body_len > self.min_bytes => {
                if let Some(site) = site_of(&http.host) {
                    self.tell(cx, &http.about, site);
                }
            }
            Event::Tls(tls) => {
                if let Some(site) = site_of(&tls.fields.server_name) {
                    self.tell(cx, &tls.about, site);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, http, levels, tls};

    fn told(host: &str, bytes: u64) -> Vec<Finding> {
        let mut bench = bench(PastebinDownload::new(&Settings::default()));
        let mut request = http("203.0.113.9", host, "/raw/x", 0);
        request.response_body_len = bytes;
        bench.feed(&Event::Http(Box::new(request)))
    }

    #[test]
    fn a_text_is_told_and_a_short_one_is_not() {
        assert_eq!(levels(&told("pastebin.com", 701)), ["info 1"]);
        assert!(told("pastebin.com", 700).is_empty());
        assert_eq!(levels(&told("www.Pastebin.com", 9000)), ["info 1"]);
    }

    #[test]
    fn tls_counts_too_and_other_sites_are_silent() {
        let mut bench = bench(PastebinDownload::new(&Settings::default()));
        assert_eq!(bench.feed(&tls("203.0.113.9", "pastebin.com")).len(), 1);
        assert!(bench.feed(&tls("203.0.113.9", "pastebin.com")).is_empty());
        for host in ["notpastebin.com", "pastebin.com.example.org", "com", ""] {
            assert!(told(host, 9000).is_empty(), "{host}");
            assert!(bench.feed(&tls("203.0.113.9", host)).is_empty());
        }
    }
}
