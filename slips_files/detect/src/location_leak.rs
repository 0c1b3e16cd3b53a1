//! Where somebody is, told in the clear (`NETWORK_GPS_LOCATION_LEAKED`): coordinates in the addresses of requests over HTTP.

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Http};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "location_leak",
    kinds: &[EvidenceKind::NetworkGpsLocationLeaked],
    events: &[EventKind::Http],
    roles: &[Role::Src],
    thresholds: &[REQUESTS],
    header: Header {
        detects: "Where somebody is, told in the clear (`NETWORK_GPS_LOCATION_LEAKED`): coordinates in the addresses \
            of requests over HTTP.",
        attack: "T1430 Location Tracking, T1040 Network Sniffing.",
        rule: "A request's path or referrer names a latitude and a longitude as parameters (`lat`, `latitude`; \
            `lon`, `lng`, `long`, `longitude`), or both in one (`ll`, `q`, `latlon`, `location`, `locations`, \
            `path`), each with two decimals at least and in its range. Per server.",
        numbers: "The words are those of the rule that the original ships for YARA, which it runs over whole capture \
            files only.",
        quiet: "Low once, for the client alone; the server is information. Numbers out of range are no coordinates.",
        evasion: "The body of a request; TLS, which is the cure.",
        proof: "Proven, a request over TCP.",
    },
};

/// Steps in requests to one server.
pub const REQUESTS: Threshold = Threshold::steps(
    "requests",
    "requests to one server",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.9), rung(100, ThreatLevel::Low, 1.0)],
);

const LATITUDE: [&str; 2] = ["lat", "latitude"];
const LONGITUDE: [&str; 4] = ["lon", "lng", "long", "longitude"];
const BOTH: [&str; 6] = ["ll", "q", "latlon", "location", "locations", "path"];
/// Parameters of one request that are read.
const MAX_PARAMETERS: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct LocationLeak {
    servers: Steps<IpAddr>,
}

impl LocationLeak {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { servers: Steps::new(settings.ladder(&SPEC, &REQUESTS), Limits { keys: 32, weighing: 2 }) }
    }
}

/// A number of degrees with two decimals at least, of at most `most`.
fn is_degrees(text: &str, most: f64) -> bool {
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
    (2..=16).contains(&decimals) && plain && text.parse::<f64>().is_ok_and(|degrees| degrees.abs() <= most)
}

/// Both coordinates in one text.
fn is_pair(text: &str) -> bool {
    let comma = text.split_once(',').or_else(|| text.split_once("%2C")).or_else(|| text.split_once("%2c"));
    comma.is_some_and(|(one, other)| is_degrees(one.trim(), 90.0) && is_degrees(other.trim(), 180.0))
}

/// Whether an address tells where somebody is.
fn tells_place(address: &str) -> bool {
    let Some((_, parameters)) = address.split_once('?') else { return false };
    let (mut latitude, mut longitude) = (false, false);
    for parameter in parameters.split(['&', ';', '#']).take(MAX_PARAMETERS) {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        latitude |= is(&LATITUDE) && is_degrees(value, 90.0);
        longitude |= is(&LONGITUDE) && is_degrees(value, 180.0);
        if is(&BOTH) && is_pair(value) {
            return true;
        }
    }
    latitude && longitude
}

impl LocationLeak {
    fn on_http(&mut self, cx: &mut Cx<'_>, http: &Http) {
        let about = &http.about;
        let Some(reached) = self.servers.add(cx, about.dst.addr, about.uid) else { return };
        let host: String = http.host.chars().take(80).collect();
        // The place itself is not repeated.
        let text =
            format!("a place on earth is told in the clear to {} `{host}`, {} times", about.dst, reached.n);
        let mut client = Finding {
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(Proto::Tcp),
            dst_port: Some(about.dst.port),
            text,
            proof: Proof::Proven,
            ..reached.finding(cx, EvidenceKind::NetworkGpsLocationLeaked, about.src.addr, about.at)
        };
        let mut server = Finding {
            attacker: Entity::Ip(about.dst.addr),
            victim: Some(Entity::Ip(about.src.addr)),
            level: ThreatLevel::Info,
            ..client.clone()
        };
        client.related.push(server.id());
        server.related.push(client.id());
        cx.emit(client);
        cx.emit(server);
    }
}

impl Detector for LocationLeak {
    in_steps!(servers);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Http(http) = event
            && cx.facts().src_local
            && !cx.facts().dst_local
            && (tells_place(&http.uri) || tells_place(&http.referrer))
        {
            self.on_http(cx, http);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, http, levels};

    fn told(n: u32, uri: &str) -> Vec<String> {
        let mut bench = bench(LocationLeak::new(&Settings::default()));
        let request = Event::Http(Box::new(http("203.0.113.9", "weather.example.org", uri, 0)));
        levels(&(0..n).flat_map(|_| bench.feed(&request)).collect::<Vec<_>>())
    }

    #[test]
    fn coordinates_in_a_request_are_low_for_the_client() {
        for uri in [
            "/w?lat=50.0755&lon=14.4378",
            "/w?a=1&Latitude=-33.86&longitude=151.2093",
            "/maps?ll=50.0755,14.4378",
            "/maps?q=50.0755%2C14.4378&z=3",
        ] {
            assert_eq!(told(1, uri), ["low 0.9", "info 0.9"], "{uri}");
        }
        assert_eq!(told(99, "/w?lat=50.0755&lon=14.4378").len(), 2);
        assert_eq!(told(100, "/w?lat=50.0755&lon=14.4378").len(), 4);
    }

    #[test]
    fn other_numbers_are_silent() {
        for uri in [
            "/",
            "/w?lat=50.0755",
            "/w?lat=50&lon=14",
            "/w?lat=95.0755&lon=14.4378",
            "/w?q=1.5,2.5",
            "/w?q=hello,world",
            "/w?latency=50.0755&longest=14.4378",
            "/w?lat=NaN.00&lon=inf.00",
        ] {
            assert!(told(9, uri).is_empty(), "{uri}");
        }
    }
}
