//! What a web page can have a browser do. A page that somebody happens to visit may ask any server of his network and outside, as often
//! as it likes; that says nothing about him, and must not get him blocked. So what our own hosts try outside, and a page can cause, is told
//! and counts towards no block. Inside, browsers ask their user first ("local network access", since 2025).

use std::net::IpAddr;

use slips_core::detector::Facts;
use slips_core::event::Http;
use slips_core::evidence::Proof;
use slips_core::flow::{Flow, Origin, Proto};

/// Engines of browsers, as they name themselves; tools that begin with `Mozilla` name none.
const ENGINES: [&str; 5] = ["Gecko/", "AppleWebKit/", "Trident/", "Presto/", "MSIE "];
/// Ends of names that nobody outside can own (RFC 6762, RFC 8375, and what routers use).
const OWN_ZONES: [&str; 8] =
    [".local", ".lan", ".home.arpa", ".internal", ".home", ".localdomain", ".fritz.box", ".localhost"];

/// Whether a page may have had a browser make this request. A page cannot hide that it asks (`Origin`). Where inputs do not show
/// that, the browser is known by its name; pages may change the name in some browsers, but only towards a server that is their own by
/// name, as in DNS rebinding.
pub fn is_steerable(http: &Http) -> bool {
    http.from_page
        || ENGINES.iter().any(|engine| http.user_agent.contains(engine))
        || !is_called_by_its_own_name(http)
}

/// The server is called by its address, or by a name that nobody outside can own.
fn is_called_by_its_own_name(http: &Http) -> bool {
    if address_of(&http.host).is_some() || http.host.is_empty() {
        return true;
    }
    let name = http.host.rsplit_once(':').map_or(http.host.as_str(), |(name, _)| name).to_ascii_lowercase();
    !name.contains('.') || name == "fritz.box" || OWN_ZONES.iter().any(|zone| name.ends_with(zone))
}

/// The address by which a server is called, if it is called by one.
pub fn address_of(host: &str) -> Option<IpAddr> {
    let host = host.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(host);
    let without_port =
        host.rsplit_once(':').filter(|(left, _)| !left.contains(':')).map_or(host, |(left, _)| left);
    without_port.parse().ok()
}

/// TCP ports that no page can have a browser call: the bad ports of the Fetch standard below 1024, but for 53. (WebRTC may call any port
/// from 1024 on, and 53, 80 and 443.)
const REFUSED: [u16; 62] = [
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526,
    530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995,
];
/// Over UDP a page only has its browser speak these.
const OVER_UDP: [&str; 3] = ["stun", "quic", "dtls"];
/// What our sensor only recognises when the client opens so, in bytes with which no request of a page begins.
const BY_NO_BROWSER: [&str; 5] = ["smb", "rdp", "dce_rpc", "postgresql", "redis"];
/// So many attempts that no page can cause, at different ports or hosts, show that a program of the host's own is at it. One alone may
/// be a mail program whose server is down.
const LEAST: u32 = 5;

/// Whether a page could have caused this attempt.
pub fn can_cause(flow: &Flow, facts: Facts) -> bool {
    if facts.dst_local {
        return false;
    }
    match flow.proto {
        // A browser asks its system for connections, and no system sends such a SYN.
        Proto::Tcp => !flow.bare_syn && REFUSED.binary_search(&flow.dst.port).is_err(),
        Proto::Udp => OVER_UDP.iter().any(|name| flow.has_service(name)),
        _ => false,
    }
}

/// Whether a program that is no browser speaks with an outside host here: what it then tries at the same port no page causes.
pub fn is_of_a_program(flow: &Flow, facts: Facts) -> bool {
    !facts.dst_local
        && facts.src_on_link
        && (flow.proto, flow.origin) == (Proto::Tcp, Origin::Sensor)
        && !flow.was_flipped()
        && flow.is_two_way()
        && BY_NO_BROWSER.iter().any(|name| flow.has_service(name))
}

/// Whether so many outside hosts with which a program speaks at one port show that it looks for them.
pub const fn is_programs_port(hosts: u32) -> bool {
    hosts >= LEAST
}

/// Whether so many attempts, of which no page can have caused so many, are a program's of the host.
pub fn is_a_program(attempts: u32, by_no_page: u32) -> bool {
    by_no_page >= LEAST.min(attempts)
}

/// What is proven about the source of a record of TCP that a page can cause: nothing, if it is one of our hosts outwards.
pub const fn proof_of_client(facts: Facts) -> Proof {
    if facts.src_local && !facts.dst_local { Proof::Unproven } else { Proof::Proven }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, http};

    #[test]
    fn a_browser_is_steered_by_pages_and_a_tool_is_not() {
        const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";
        for (agent, host, from_page, expected) in [
            (FIREFOX, "192.168.1.1", false, true),
            ("Mozilla/5.0 (Hydra)", "192.168.1.1", false, false),
            ("Mozilla/5.0 (Hydra)", "192.168.1.1:8080", false, false),
            ("python-requests/2.31", "[fd00::1]:8080", false, false),
            ("python-requests/2.31", "fritz.box", false, false),
            ("python-requests/2.31", "printer", false, false),
            ("", "nas.lan:81", false, false),
            ("curl/8", "rebound.example.org", false, true),
            ("curl/8", "192.168.1.1", true, true),
        ] {
            let mut request = http("192.168.1.1", host, "/login", 0);
            (request.user_agent, request.from_page) = (agent.into(), from_page);
            assert_eq!(is_steerable(&request), expected, "{agent} {host} {from_page}");
        }
    }

    #[test]
    fn pages_call_outside_hosts_at_ports_that_browsers_do_not_refuse() {
        let outside = Facts { src_local: true, ..Facts::default() };
        let flow = |port| Talk::tcp("192.168.1.5", "203.0.113.9", port).flow();
        for (port, expected) in [
            (80, true),
            (8080, true),
            (445, true),
            (53, true),
            (6667, true),
            (22, false),
            (25, false),
            (995, false),
        ] {
            assert_eq!(can_cause(&flow(port), outside), expected, "{port}");
            let inside = Facts { dst_local: true, ..outside };
            assert!(!can_cause(&flow(port), inside), "{port}");
            let bare = Flow { bare_syn: true, ..flow(port) };
            assert!(!can_cause(&bare, outside), "{port}");
        }
        let udp = |service: &str| Flow { proto: Proto::Udp, service: service.into(), ..flow(1000) };
        assert!(can_cause(&udp("stun"), outside) && can_cause(&udp("quic"), outside));
        assert!(!can_cause(&udp(""), outside) && !can_cause(&udp("dns"), outside));
    }

    #[test]
    fn refused_ports_are_in_order_to_be_searched() {
        assert!(REFUSED.is_sorted());
    }
}
