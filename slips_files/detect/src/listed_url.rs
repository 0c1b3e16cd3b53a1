//! A page that a list calls malicious is fetched in clear text (`THREAT_INTELLIGENCE_MALICIOUS_URL`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Http};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::intel::{Current, Key, Listed, Reader};
use slips_core::text::ShortText;

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "listed_url",
    kinds: &[EvidenceKind::MaliciousUrl],
    events: &[EventKind::Http],
    roles: &[Role::Src],
    thresholds: &[REQUESTS],
    header: Header {
        detects: "A page that a list calls malicious is fetched in clear text (`THREAT_INTELLIGENCE_MALICIOUS_URL`).",
        attack: "T1105 Ingress Tool Transfer, T1204.001 Malicious Link, T1071.001 Web Protocols.",
        rule: "Host, port and path of each request of one of our hosts to an outside server, looked up with its query \
            and then without. A linked pair: the server, with the list's level where it was called by its bare \
            address and medium at most where it was called by a name; the client with low.",
        numbers: "Each page once in a window, then at 10 and 100 requests. Confidence 1.0 for the page itself, 0.7 with another \
            query or by name; the original has 0.7.",
        quiet: "A page can make any browser fetch any other: the client gets low. The owner of a name chooses where \
            it leads, and could choose a bank, so that a server is not judged by a name alone.",
        evasion: "TLS; a path that changes.",
        proof: "Of the server proven, a request over TCP. Of our own host never: any page can have its visitor fetch it.",
    },
};

/// Steps in requests for one listed page. The level is that of the list.
pub const REQUESTS: Threshold = Threshold::steps(
    "requests",
    "requests for one listed page in a window (the level is that of the list)",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 1.0), rung(10, ThreatLevel::High, 1.0), rung(100, ThreatLevel::High, 1.0)],
);

const LIMITS: Limits = Limits { keys: 256, weighing: 16 };
/// Characters of a URL that are shown.
const SHOWN: usize = 200;

/// See the module.
pub struct ListedUrl {
    intel: Reader,
    requests: Steps<u64>,
}

impl ListedUrl {
    /// With these settings and indicators.
    pub fn new(settings: &Settings, intel: &Current) -> Self {
        Self { intel: intel.reader(), requests: Steps::new(settings.ladder(&SPEC, &REQUESTS), LIMITS) }
    }
}

/// What was asked for: host with its port, where that is not 80, and path. The host of a request without one is the server's address.
fn asked(http: &Http) -> (ShortText<255>, &str) {
    let uri = http.uri.as_str();
    // As proxies are asked.
    if let Some((_, rest)) = uri.split_once("://").filter(|(scheme, _)| scheme.len() <= 5) {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        return (ShortText::new(host), path);
    }
    let mut host = ShortText::new(&http.host);
    if host.is_empty() {
        host = ShortText::new(&match http.about.dst.addr {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        });
    }
    let has_port = host.as_str().rsplit(':').next().is_some_and(|port| {
        port.len() < host.len() && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !has_port && http.about.dst.port != 80 {
        host.push_ascii(b':');
        let mut digits = [0; 5];
        let mut port = http.about.dst.port;
        let mut count = 0;
        for digit in &mut digits {
            *digit = b'0' + (port % 10) as u8;
            (port, count) = (port / 10, count + 1);
            if port == 0 {
                break;
            }
        }
        digits.iter().take(count).rev().for_each(|digit| {
            host.push_ascii(*digit);
        });
    }
    (host, uri)
}

/// Whether the server was called by its own address.
fn is_bare(host: &str, addr: IpAddr) -> bool {
    let name = match host.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.parse() == Ok(addr)
}

fn told(cx: &mut Cx<'_>, http: &Http, url: (&str, &str), listed: &Listed<'_>, requests: &mut Steps<u64>) {
    let (host, path) = url;
    let about = &http.about;
    let key = member_of(host) ^ member_of(path).rotate_left(1);
    let Some(reached) = requests.add(cx, key, about.uid) else { return };
    let weighs = reached.rung.level > ThreatLevel::Info;
    let bare = is_bare(host, about.dst.addr);
    let sure = if bare { listed.confidence() } else { listed.confidence().min(0.7) };
    let most = if bare { ThreatLevel::Critical } else { ThreatLevel::Medium };
    let shown: String = host.chars().chain(path.chars()).take(SHOWN).collect();
    let server = Finding {
        victim: Some(Entity::Ip(about.src.addr)),
        level: if weighs { listed.level.min(most) } else { ThreatLevel::Info },
        confidence: Confidence::new(sure),
        proto: Some(about.proto),
        dst_port: Some(about.dst.port),
        text: format!("{} fetches http://{shown}, which is listed as {listed}", about.src.addr),
        proof: Proof::Proven,
        ..reached.finding(cx, EvidenceKind::MaliciousUrl, about.dst.addr, about.at)
    };
    let client = Finding {
        attacker: Entity::Ip(about.src.addr),
        victim: Some(Entity::Ip(about.dst.addr)),
        level: server.level.min(ThreatLevel::Low),
        // Any page can have its visitor do it, so it must not cut the visitor off.
        proof: Proof::Unproven,
        ..server.clone()
    };
    cx.emit_both(server, client);
}

impl Detector for ListedUrl {
    in_steps!(requests);

    fn renew(&mut self) {
        self.intel.refresh();
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Http(http) = event else { return };
        let facts = cx.facts();
        if !facts.src_local || facts.dst_local {
            return;
        }
        let (host, path) = asked(http);
        let Self { intel, requests } = self;
        if let Some(listed) = intel.get().look_up(Key::Url { host: host.as_str(), path }) {
            told(cx, http, (host.as_str(), path), &listed, requests);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, http, levels, listing};

    fn fetched(dst: &str, port: u16, host: &str, uri: &str, n: i64) -> Vec<Finding> {
        let names = |key: Key<'_>| match key {
            Key::Url { host: "bad.example", path: "/x" | "/" } => Some(true),
            Key::Url { host: "203.0.113.9" | "203.0.113.9:8080" | "[2001:db8::9]:8080", path: "/x" } => {
                Some(true)
            }
            Key::Url { host: "bad.example", path } => path.starts_with("/x?").then_some(false),
            _ => None,
        };
        let mut bench = bench(ListedUrl::new(&Settings::default(), &listing(ThreatLevel::Critical, names)));
        let request = |n| {
            let mut request = http(dst, host, uri, n);
            request.about.dst.port = port;
            Event::Http(Box::new(request))
        };
        (0..n).flat_map(|n| bench.feed(&request(n))).collect()
    }

    #[test]
    fn a_listed_page_of_a_bare_address_is_a_pair_with_the_lists_level() {
        for (dst, port, host) in [
            ("203.0.113.9", 80, "203.0.113.9"),
            ("203.0.113.9", 80, ""),
            ("203.0.113.9", 8080, "203.0.113.9:8080"),
            ("203.0.113.9", 8080, ""),
            ("2001:db8::9", 8080, ""),
        ] {
            let told = fetched(dst, port, host, "/x", 9);
            assert_eq!(levels(&told), ["critical 1", "low 1"], "{dst} {host}");
            assert_eq!(told[0].attacker, Entity::Ip(at(dst)));
            assert_eq!((&told[0].related, &told[1].related), (&vec![told[1].id()], &vec![told[0].id()]));
        }
    }

    #[test]
    fn a_server_is_hardly_judged_by_a_name() {
        assert_eq!(levels(&fetched("203.0.113.9", 80, "bad.example", "/x", 1)), ["medium 0.7", "low 0.7"]);
        assert_eq!(
            levels(&fetched("203.0.113.9", 80, "bad.example", "/x?id=7", 1)),
            ["medium 0.7", "low 0.7"]
        );
        assert_eq!(fetched("203.0.113.9", 80, "bad.example", "/x", 10).len(), 4);
        // Called by an address that is not the server's.
        assert_eq!(levels(&fetched("203.0.113.8", 80, "203.0.113.9", "/x", 1)), ["medium 0.7", "low 0.7"]);
    }

    #[test]
    fn proxies_are_asked_for_whole_urls() {
        assert_eq!(fetched("203.0.113.9", 3128, "proxy", "http://bad.example/x", 1).len(), 2);
    }

    #[test]
    fn other_pages_and_servers_of_ours_are_silent() {
        assert!(fetched("203.0.113.9", 80, "bad.example", "/y", 1).is_empty());
        assert!(fetched("203.0.113.9", 8080, "bad.example", "/x", 1).is_empty(), "another port");
        assert!(fetched("192.168.1.9", 80, "bad.example", "/x", 1).is_empty());
    }
}
