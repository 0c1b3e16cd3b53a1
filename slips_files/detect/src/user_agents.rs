//! What HTTP clients say of themselves: several operating systems behind one address (`MULTIPLE_USER_AGENT`), one that
//! contradicts itself (`INCOMPATIBLE_USER_AGENT`), and that there is HTTP in the clear at all (`HTTP_TRAFFIC`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Http};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;
use slips_core::user_agent::System;

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Reached, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "user_agents",
    kinds: &[EvidenceKind::MultipleUserAgent, EvidenceKind::IncompatibleUserAgent, EvidenceKind::HttpTraffic],
    events: &[EventKind::Http],
    roles: &[Role::Src],
    thresholds: &[SYSTEMS, CONTRADICTIONS, REQUESTS],
    header: Header {
        detects: "What HTTP clients say of themselves: several operating systems behind one address \
            (`MULTIPLE_USER_AGENT`), one that contradicts itself (`INCOMPATIBLE_USER_AGENT`), and that there is \
            HTTP in the clear at all (`HTTP_TRAFFIC`).",
        attack: "T1071.001 Web Protocols, T1036 Masquerading, T1040 Network Sniffing for what is sent in the clear.",
        rule: "The operating system is read from the user agent's own words, without asking anybody. Distinct \
            systems of one host in a window. Contradicting: two systems in one user agent, or a browser on a \
            system for which it was never made. Requests are counted.",
        numbers: "The original asks a web service and compares with the hardware's maker, and never decides when it \
            gets no answer.",
        quiet: "Virtual machines, phones behind one address and programs that pretend are common: info. User agents \
            with a reason to name several systems (Windows Phone, `like Mac OS X`, Apple's services) are known; \
            four servers weigh.",
        evasion: "A consistent user agent; TLS.",
        proof: "Proven, a request over TCP.",
    },
};

/// Steps in operating systems of one host.
pub const SYSTEMS: Threshold = Threshold::steps(
    "systems",
    "operating systems of one host",
    Unit::Count,
    &[rung(2, ThreatLevel::Info, 0.5), rung(4, ThreatLevel::Info, 1.0)],
);
/// Steps in requests with a user agent that contradicts itself, per server.
pub const CONTRADICTIONS: Threshold = Threshold::steps(
    "contradictions",
    "requests with a user agent that contradicts itself, per server",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.6), rung(20, ThreatLevel::Medium, 0.6)],
);
/// Steps in requests in the clear to outside.
pub const REQUESTS: Threshold = Threshold::steps(
    "requests",
    "requests in the clear to outside",
    Unit::Count,
    &[
        rung(1, ThreatLevel::Info, 1.0),
        rung(100, ThreatLevel::Info, 1.0),
        rung(10_000, ThreatLevel::Info, 1.0),
    ],
);

/// See the module.
#[derive(Debug)]
pub struct UserAgents {
    systems: Steps<()>,
    contradictions: Steps<IpAddr>,
    requests: Steps<()>,
}

impl UserAgents {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        let one = Limits { keys: 1, weighing: 1 };
        Self {
            systems: Steps::new(settings.ladder(&SPEC, &SYSTEMS), one),
            contradictions: Steps::new(
                settings.ladder(&SPEC, &CONTRADICTIONS),
                Limits { keys: 64, weighing: 4 },
            ),
            requests: Steps::new(settings.ladder(&SPEC, &REQUESTS), one),
        }
    }
}

/// Why a user agent cannot be true.
fn contradiction(agent: &str) -> Option<&'static str> {
    let has = |word: &str| agent.contains(word);
    if has("Windows Phone") || has("iTunes") || has("iCloud") || has("server-bag") {
        return None;
    }
    let windows = has("Windows NT");
    if windows && has("Macintosh") {
        return Some("Windows and a Macintosh");
    }
    if windows && (has("iPhone;") || has("iPad;")) {
        return Some("Windows and an iPhone");
    }
    if windows && has("X11;") {
        return Some("Windows and X11");
    }
    if (has("Trident/") || has("MSIE ")) && (has("Linux") || has("iPhone") || has("Android")) {
        return Some("Internet Explorer on another system");
    }
    if has("Macintosh") && has("Android") {
        return Some("a Macintosh and Android");
    }
    None
}

impl UserAgents {
    fn on_http(&mut self, cx: &mut Cx<'_>, http: &Http) {
        let (agent, uid, dst) = (http.user_agent.as_str(), http.about.uid, http.about.dst);
        if !cx.facts().dst_local
            && let Some(reached) = self.requests.add(cx, (), uid)
        {
            let text = format!("{} requests by HTTP in the clear, lately to {dst}", reached.n);
            tell(cx, http, EvidenceKind::HttpTraffic, None, text, reached);
        }
        let shown = || agent.chars().take(120).collect::<String>();
        if let Some(why) = contradiction(agent) {
            if let Some(reached) = self.contradictions.add(cx, dst.addr, uid) {
                let text = format!("a user agent that names {why}: `{}`", shown());
                let victim = Some(Entity::Ip(dst.addr));
                tell(cx, http, EvidenceKind::IncompatibleUserAgent, victim, text, reached);
            }
        } else if let Some(system) = System::of(agent)
            && let Some(reached) = self.systems.add_distinct(cx, (), system as u64, uid)
        {
            let text =
                format!("user agents of {} operating systems, lately {system:?}: `{}`", reached.n, shown());
            tell(cx, http, EvidenceKind::MultipleUserAgent, None, text, reached);
        }
    }
}

fn tell(
    cx: &mut Cx<'_>,
    http: &Http,
    kind: EvidenceKind,
    victim: Option<Entity>,
    text: String,
    reached: Reached,
) {
    cx.emit(Finding {
        victim,
        proto: Some(Proto::Tcp),
        text,
        proof: Proof::Proven,
        ..reached.finding(cx, kind, http.about.src.addr, http.about.at)
    });
}

impl Detector for UserAgents {
    in_steps!(systems, contradictions, requests);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Http(http) = event
            && cx.facts().src_local
        {
            self.on_http(cx, http);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, http, levels};

    const WINDOWS: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0";
    const LINUX: &str =
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0 Safari/537.36";
    const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Safari/604.1";
    const ANDROID: &str =
        "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/128.0 Mobile Safari/537.36";

    fn told(kind: EvidenceKind, agents: &[&str]) -> Vec<String> {
        let mut bench = bench(UserAgents::new(&Settings::default()));
        let requests = agents.iter().map(|agent| {
            let mut request = http("203.0.113.9", "example.org", "/", 0);
            request.user_agent = (*agent).into();
            Event::Http(Box::new(request))
        });
        let all: Vec<Finding> = requests.flat_map(|request| bench.feed(&request)).collect();
        levels(&all.into_iter().filter(|told| told.kind == kind).collect::<Vec<_>>())
    }

    #[test]
    fn several_systems_behind_one_address_are_information() {
        let kind = EvidenceKind::MultipleUserAgent;
        assert!(told(kind, &[WINDOWS; 9]).is_empty());
        assert!(told(kind, &[WINDOWS, "curl/8.0", "Microsoft-CryptoAPI/10.0"]).is_empty());
        assert_eq!(told(kind, &[WINDOWS, LINUX]), ["info 0.5"]);
        assert_eq!(told(kind, &[WINDOWS, LINUX, IPHONE, ANDROID]), ["info 0.5", "info 1"]);
    }

    #[test]
    fn a_user_agent_that_contradicts_itself_is_low() {
        let kind = EvidenceKind::IncompatibleUserAgent;
        let forged = "Mozilla/5.0 (Windows NT 10.0; Macintosh; Intel Mac OS X 10_15) Safari/605.1";
        assert_eq!(told(kind, &[forged]), ["low 0.6"]);
        assert_eq!(told(kind, &[forged; 20]), ["low 0.6", "medium 0.6"]);
        assert_eq!(told(kind, &["Mozilla/4.0 (compatible; MSIE 6.0; Linux 2.6)"]), ["low 0.6"]);
        let phone = "Mozilla/5.0 (Mobile; Windows Phone 8.1; Android 4.0; like iPhone OS 7_0_3 like Mac OS X) Trident/7.0";
        assert!(told(kind, &[WINDOWS, LINUX, IPHONE, ANDROID, phone, "", "curl/8.0"]).is_empty());
    }

    #[test]
    fn requests_in_the_clear_are_counted_not_repeated() {
        assert_eq!(told(EvidenceKind::HttpTraffic, &[""; 99]), ["info 1"]);
        assert_eq!(told(EvidenceKind::HttpTraffic, &[""; 100]), ["info 1", "info 1"]);
    }
}
