//! What a web page can have a browser do. A page that somebody happens to visit may ask any server of his network and outside, as often
//! as it likes; that says nothing about him, and must not get him blocked.

use std::net::IpAddr;

use slips_core::event::Http;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::http;

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
}
