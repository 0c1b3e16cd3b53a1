//! Names asked for where nobody can read along (`DNS_OVER_HTTPS`): DNS over HTTPS, TLS or QUIC at public resolvers.

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Tls};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;

use crate::Settings;
use crate::attempt;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "encrypted_dns",
    kinds: &[EvidenceKind::DnsOverHttps],
    events: &[EventKind::Tls],
    roles: &[Role::Src],
    thresholds: &[HANDSHAKES],
    header: Header {
        detects: "Names asked for where nobody can read along (`DNS_OVER_HTTPS`): DNS over HTTPS, TLS or QUIC at \
            public resolvers.",
        attack: "T1071.004 DNS, T1572 Protocol Tunneling.",
        rule: "A TLS or QUIC handshake that names a public resolver, DNS's own protocol in a handshake (`dot`, \
            `doq`), or port 853.",
        numbers: "The resolvers that browsers and systems of 2025 offer. The original had a script for it whose answer \
            is never read.",
        quiet: "Info: browsers do it by themselves. It says why a host's names are not seen.",
        evasion: "A resolver that is not listed; encrypted ClientHello.",
        proof: "Proven, a handshake over TCP; over UDP by the hardware address.",
    },
};

/// Steps in handshakes with one resolver.
pub const HANDSHAKES: Threshold = Threshold::steps(
    "handshakes",
    "handshakes with one resolver",
    Unit::Count,
    &[rung(1, ThreatLevel::Info, 0.9), rung(100, ThreatLevel::Info, 0.9)],
);

/// DNS over TLS and over QUIC (RFC 7858, RFC 9250).
const OWN_PORT: u16 = 853;
/// Public resolvers; names below them count too.
const RESOLVERS: [&str; 21] = [
    "dns.google",
    "dns.google.com",
    "cloudflare-dns.com",
    "one.one.one.one",
    "dns.quad9.net",
    "doh.opendns.com",
    "dns.opendns.com",
    "dns.umbrella.com",
    "dns.nextdns.io",
    "doh.cleanbrowsing.org",
    "adguard-dns.com",
    "dns.adguard.com",
    "dns.mullvad.net",
    "doh.libredns.gr",
    "dns0.eu",
    "doh.dns.sb",
    "dns.alidns.com",
    "doh.pub",
    "freedns.controld.com",
    "doh.dns.apple.com",
    "doh.xfinity.com",
];

/// See the module.
#[derive(Debug)]
pub struct EncryptedDns {
    handshakes: Steps<IpAddr>,
}

impl EncryptedDns {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { handshakes: Steps::new(settings.ladder(&SPEC, &HANDSHAKES), Limits { keys: 16, weighing: 0 }) }
    }
}

fn is_resolver(tls: &Tls) -> bool {
    let name = tls.fields.server_name.as_str();
    let listed = |resolver: &&str| {
        name.strip_suffix(*resolver).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    tls.about.dst.port == OWN_PORT
        || matches!(tls.fields.next_protocol.as_str(), "dot" | "doq")
        || RESOLVERS.iter().any(listed)
}

impl Detector for EncryptedDns {
    in_steps!(handshakes);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Tls(tls) = event else { return };
        if !cx.facts().src_local || cx.facts().dst_local || !is_resolver(tls) {
            return;
        }
        let about = &tls.about;
        let Some(reached) = self.handshakes.add(cx, about.dst.addr, about.uid) else { return };
        let text =
            format!("names are asked for by encrypted DNS at {} `{}`", about.dst, tls.fields.server_name);
        let proof =
            if about.proto == Proto::Tcp { Proof::Proven } else { attempt::proof_of_source(cx.facts()) };
        cx.emit(Finding {
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(about.proto),
            dst_port: Some(about.dst.port),
            text,
            proof,
            ..reached.finding(cx, EvidenceKind::DnsOverHttps, about.src.addr, about.at)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, levels, tls};

    fn told(name: &str, port: u16, n: u32) -> Vec<String> {
        let mut bench = bench(EncryptedDns::new(&Settings::default()));
        let Event::Tls(mut record) = tls("203.0.113.9", name) else { return Vec::new() };
        record.about.dst.port = port;
        levels(&(0..n).flat_map(|_| bench.feed(&Event::Tls(record.clone()))).collect::<Vec<_>>())
    }

    #[test]
    fn public_resolvers_and_the_port_of_dns_over_tls_are_information() {
        assert_eq!(told("dns.google", 443, 99), ["info 0.9"]);
        assert_eq!(told("dns.google", 443, 100), ["info 0.9", "info 0.9"]);
        assert_eq!(told("mozilla.cloudflare-dns.com", 443, 1), ["info 0.9"]);
        assert_eq!(told("", 853, 1), ["info 0.9"]);
    }

    #[test]
    fn other_names_are_silent() {
        for name in ["www.google.com", "notdns.google", "dns.google.example.org", ""] {
            assert!(told(name, 443, 9).is_empty(), "{name}");
        }
    }
}
