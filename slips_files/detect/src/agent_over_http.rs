//! An agent that is controlled over HTTP (`COMMAND_AND_CONTROL_CHANNEL`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Http};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::state::PerSlot;
use slips_core::time::WindowId;

use crate::ladder::{self, Ladder, Rung, rung};
use crate::table::Table;
use crate::tally::Trail;
use crate::{Settings, web};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "agent_over_http",
    kinds: &[EvidenceKind::CommandAndControlChannel],
    events: &[EventKind::Http],
    roles: &[Role::Src],
    thresholds: &[POSTS, AGENT],
    header: Header {
        detects: "An agent that is controlled over HTTP (`COMMAND_AND_CONTROL_CHANNEL`).",
        attack: "T1071.001 Application Layer Protocol: Web Protocols, T1105 Ingress Tool Transfer.",
        rule: "A program (curl, Python, PowerShell, Go …; not a browser) posts again and again to one path of a \
            server that it calls by address and port, not by name. The paths that frameworks use by default make \
            it certain: Caldera's `/file/download` with `POST`, fetched by a program, and after it the agent's \
            posts to the same server.",
        numbers: "Five posts after the download are critical 0.9 (an agent asks every 30 to 60 s: five minutes). \
            Without a known path 20 posts are medium, 100 high; never critical, because own scripts do that.",
        quiet: "Scripts, exporters and home automation mostly use names, `GET`, or JSON that grows: they stay at \
            medium; a download by `POST` to that path is nobody's but Caldera's. \
            What a browser asks on behalf of a page does not count, whatever it calls itself. Only what our own hosts ask \
            counts, and a download only when it was given: whoever asks a server of ours for that path must not \
            have it blocked.",
        evasion: "A name, another path, a browser's user agent, TLS.",
        proof: "Proven, requests that were answered.",
    },
};

/// Steps in posts to one server.
pub const POSTS: Threshold = Threshold::steps(
    "posts",
    "posts of a program to one path of a bare address in a window",
    Unit::Count,
    &[rung(20, ThreatLevel::Medium, 0.5), rung(100, ThreatLevel::High, 0.6)],
);
/// Steps in posts to one server from which an agent was fetched.
pub const AGENT: Threshold = Threshold::steps(
    "agent_posts",
    "posts to a server after it gave Caldera's download",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 0.8), rung(5, ThreatLevel::Critical, 0.9)],
);

/// Where Caldera's server gives out its agents.
const DOWNLOAD: &str = "/file/download";
/// How programs that are no browsers call themselves.
const PROGRAMS: [&str; 9] = [
    "curl/",
    "Wget/",
    "python-requests/",
    "Python-urllib/",
    "Go-http-client/",
    "PowerShell",
    "okhttp/",
    "Java/",
    "WinHttp",
];
/// Servers remembered per client and window; those with the fewest posts make room.
const MAX_SERVERS: usize = 32;

#[derive(Debug, Default)]
struct Server {
    fetched: bool,
    /// In this window; of an agent, since it was fetched.
    posts: u32,
    window: Option<WindowId>,
    trail: Trail,
    told: u8,
    told_agent: u8,
}

/// See the module.
#[derive(Debug)]
pub struct AgentOverHttp {
    posts: Ladder,
    agent: Ladder,
    /// Not bound to windows: an agent is fetched once and posts for days.
    servers: PerSlot<Table<(IpAddr, u16), Server>>,
}

fn is_program(user_agent: &str) -> bool {
    PROGRAMS.iter().any(|program| user_agent.contains(program))
}

impl AgentOverHttp {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            posts: settings.ladder(&SPEC, &POSTS),
            agent: settings.ladder(&SPEC, &AGENT),
            servers: PerSlot::default(),
        }
    }

    fn on_http(&mut self, cx: &mut Cx<'_>, http: &Http) {
        let about = &http.about;
        let servers = self.servers.get_or_default(cx.slot());
        let server = servers
            .get_or_insert((about.dst.addr, about.dst.port), MAX_SERVERS, |server| u64::from(server.posts));
        let Some(server) = server else { return };
        if server.window.is_none_or(|window| window < cx.window()) {
            server.window = Some(cx.window());
            (server.told, server.told_agent) = (0, 0);
            server.posts = if server.fetched { server.posts } else { 0 };
        }
        server.trail.push(about.uid);
        if http.uri == DOWNLOAD {
            let given = http.status_code.is_some_and(|status| (200..300).contains(&status));
            server.fetched |= given && http.response_body_len > 0;
            return;
        }
        server.posts = server.posts.saturating_add(1);
        let agent = if server.fetched { self.agent.step(server.posts) } else { 0 };
        let posts = self.posts.step(server.posts);
        let rung = if ladder::climb(&mut server.told_agent, agent) {
            self.agent.at_step(agent)
        } else if agent == 0 && ladder::climb(&mut server.told, posts) {
            self.posts.at_step(posts)
        } else {
            None
        };
        let Some(rung) = rung else { return };
        let text = if server.fetched {
            format!("an agent fetched from {} posts to it: {} posts", about.dst, server.posts)
        } else {
            format!("a program posts to {}, which it calls by address: {} posts", about.dst, server.posts)
        };
        let uids = server.trail.take();
        tell(cx, http, rung, text, uids);
    }
}

fn tell(cx: &mut Cx<'_>, http: &Http, rung: Rung, text: String, uids: Vec<slips_core::flow::Uid>) {
    let about = &http.about;
    let kind = EvidenceKind::CommandAndControlChannel;
    let client = Finding {
        victim: Some(Entity::Ip(about.dst.addr)),
        proto: Some(about.proto),
        dst_port: Some(about.dst.port),
        text,
        uids,
        proof: Proof::Proven,
        ..ladder::finding(cx, kind, about.src.addr, rung, about.at)
    };
    let server = Finding {
        attacker: Entity::Ip(about.dst.addr),
        victim: Some(Entity::Ip(about.src.addr)),
        ..client.clone()
    };
    cx.emit_both(client, server);
}

impl Detector for AgentOverHttp {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Http(http) = event
            && http.method == "POST"
            && http.status_code.is_some()
            && web::address_of(&http.host).is_some()
            && is_program(&http.user_agent)
            // A page may give itself another name.
            && !http.from_page
            && cx.facts().src_local
        {
            self.on_http(cx, http);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.servers.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, http, levels};

    fn told(fetch: bool, posts: i64, host: &str, user_agent: &str, method: &str) -> Vec<Finding> {
        let mut bench = bench(AgentOverHttp::new(&Settings::default()));
        let request = |uri: &str, n: i64, body| {
            let mut request = http("203.0.113.9", host, uri, n * 10);
            request.method = method.into();
            request.user_agent = user_agent.into();
            request.response_body_len = body;
            Event::Http(Box::new(request))
        };
        let mut told = Vec::new();
        if fetch {
            told.extend(bench.feed(&request(DOWNLOAD, 0, 3763)));
        }
        told.extend((0..posts).flat_map(|n| bench.feed(&request("/weather", n, 100))));
        told
    }

    #[test]
    fn an_agent_that_was_fetched_is_critical_at_its_fifth_post() {
        let told = |posts| levels(&told(true, posts, "203.0.113.9:8888", "python-requests/2.32", "POST"));
        assert!(told(0).is_empty());
        assert_eq!(told(4), ["high 0.8", "high 0.8"]);
        assert_eq!(told(80), ["high 0.8", "high 0.8", "critical 0.9", "critical 0.9"]);
    }

    #[test]
    fn an_agent_is_known_beyond_the_window_in_which_it_was_fetched() {
        let mut bench = bench(AgentOverHttp::new(&Settings::default()));
        let mut post = |uri: &str, second| {
            let mut request = http("203.0.113.9", "203.0.113.9", uri, second);
            (request.method, request.user_agent) = ("POST".into(), "curl/8".into());
            request.response_body_len = 9;
            levels(&bench.feed(&Event::Http(Box::new(request))))
        };
        assert!(post(DOWNLOAD, 3500).is_empty());
        assert_eq!(post("/weather", 3599), ["high 0.8", "high 0.8"]);
        let told: Vec<String> = (0..4).flat_map(|n| post("/weather", 3601 + n)).collect();
        assert_eq!(told, ["high 0.8", "high 0.8", "critical 0.9", "critical 0.9"]);
    }

    #[test]
    fn a_program_that_posts_ends_at_high() {
        let told = |posts| levels(&told(false, posts, "203.0.113.9", "curl/8.0", "POST"));
        assert!(told(19).is_empty());
        assert_eq!(told(300), ["medium 0.5", "medium 0.5", "high 0.6", "high 0.6"]);
    }

    #[test]
    fn nobody_outside_gets_a_server_of_ours_blocked() {
        let posts = |status, src: &str| {
            let mut bench = bench(AgentOverHttp::new(&Settings::default()));
            let mut told = Vec::new();
            for n in 0..80 {
                let uri = if n == 0 { DOWNLOAD } else { "/weather" };
                let mut request = http("192.168.1.9", "192.168.1.9", uri, n * 10);
                (request.method, request.user_agent) = ("POST".into(), "curl/8".into());
                (request.response_body_len, request.status_code) = (100, Some(status));
                request.about.src.addr = crate::test_traces::at(src);
                told.extend(levels(&bench.feed(&Event::Http(Box::new(request)))));
            }
            told
        };
        assert!(posts(200, "198.51.100.7").is_empty(), "he asks, and nobody of ours");
        assert_eq!(posts(404, "192.168.1.5"), ["medium 0.5", "medium 0.5"], "it was not given");
        assert_eq!(posts(200, "192.168.1.5").last().map(String::as_str), Some("critical 0.9"));
    }

    #[test]
    fn names_browsers_and_other_methods_are_silent() {
        assert!(told(true, 500, "api.example.org", "curl/8.0", "POST").is_empty());
        assert!(told(true, 500, "203.0.113.9", "Mozilla/5.0 (X11; Linux)", "POST").is_empty());
        assert!(told(true, 500, "203.0.113.9", "curl/8.0", "GET").is_empty());
    }

    #[test]
    fn addresses_are_known_in_all_their_forms() {
        for host in ["1.2.3.4", "1.2.3.4:80", "[2001:db8::1]", "[2001:db8::1]:80", "2001:db8::1"] {
            assert!(web::address_of(host).is_some(), "{host}");
        }
        for host in ["", "example.org", "example.org:80", "1.2.3", "[", "::x"] {
            assert!(web::address_of(host).is_none(), "{host}");
        }
    }
}
