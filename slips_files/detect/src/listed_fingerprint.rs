//! A TLS client (`MALICIOUS_JA3`, by JA3 or JA4), server (`MALICIOUS_JA3S`) or certificate (`MALICIOUS_SSL_CERT`) that a list names.

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{About, Event, EventKind, Tls};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::intel::{Current, Intelligence, Key, Listed, Reader};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Reached, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "listed_fingerprint",
    kinds: &[EvidenceKind::MaliciousJa3, EvidenceKind::MaliciousJa3s, EvidenceKind::MaliciousSslCert],
    events: &[EventKind::Tls],
    roles: &[Role::Src],
    thresholds: &[HANDSHAKES, CERTIFICATES],
    header: Header {
        detects: "A TLS client (`MALICIOUS_JA3`, by JA3 or JA4), server (`MALICIOUS_JA3S`) or certificate \
            (`MALICIOUS_SSL_CERT`) that a list names.",
        attack: "T1071.001 Web Protocols, T1573 Encrypted Channel, T1588.004 Digital Certificates.",
        rule: "JA3, JA4, JA3S and the SHA-1 of the server's certificate of each handshake, looked up. JA3 and JA4: the \
            client, with the list's level. JA3S and certificate: a linked pair, the server with the list's level and \
            the client with low.",
        numbers: "Each server once, then at 10 and 100 handshakes. A listed certificate that a server of the outside used in a \
            completed handshake is certain, so that the level critical blocks at once.",
        quiet: "A fingerprint names a library, not a program; others may share it. Hence high at most, unless the \
            owner writes critical, and confidence 0.8, which alone is no alert. A certificate is one server's: only \
            who has its key completes a handshake with it.",
        evasion: "Another library; what shuffles its extensions has no stable JA3. TLS 1.3 hides certificates.",
        proof: "Proven, a handshake over TCP.",
    },
};

/// Told at these counts; the level is the list's.
pub const HANDSHAKES: Threshold = Threshold::steps(
    "handshakes",
    "handshakes with one server in a window (the level is that of the list)",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 0.8), rung(10, ThreatLevel::High, 0.85), rung(100, ThreatLevel::High, 0.89)],
);

/// Told at these counts; the level is the list's.
pub const CERTIFICATES: Threshold = Threshold::steps(
    "certificates",
    "handshakes with one server that shows a listed certificate, in a window (the level is that of the list)",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 1.0), rung(10, ThreatLevel::High, 1.0), rung(100, ThreatLevel::High, 1.0)],
);

const LIMITS: Limits = Limits { keys: 256, weighing: 16 };

/// See the module.
pub struct ListedFingerprint {
    intel: Reader,
    clients: Steps<(IpAddr, u16)>,
    servers: Steps<(IpAddr, u16)>,
    certificates: Steps<(IpAddr, u16)>,
}

impl ListedFingerprint {
    /// With these settings and indicators.
    pub fn new(settings: &Settings, intel: &Current) -> Self {
        Self {
            intel: intel.reader(),
            clients: Steps::new(settings.ladder(&SPEC, &HANDSHAKES), LIMITS),
            servers: Steps::new(settings.ladder(&SPEC, &HANDSHAKES), LIMITS),
            certificates: Steps::new(settings.ladder(&SPEC, &CERTIFICATES), LIMITS),
        }
    }
}

/// Where servers deliver to servers, and whoever writes to one chooses where it connects: SMTP and XMPP with dialback.
const DELIVERY: [u16; 2] = [25, 5269];

fn of_client(intel: &dyn Intelligence, clients: &mut Steps<(IpAddr, u16)>, cx: &mut Cx<'_>, tls: &Tls) {
    let (about, fields) = (&tls.about, &tls.fields);
    let by_ja3 = intel.look_up(Key::Ja3(&fields.ja3)).map(|listed| ("JA3", &fields.ja3, listed));
    let by_ja4 = || intel.look_up(Key::Ja4(&fields.ja4)).map(|listed| ("JA4", &fields.ja4, listed));
    let Some((name, print, listed)) = by_ja3.or_else(by_ja4) else { return };
    let Some(reached) = clients.add(cx, (about.dst.addr, about.dst.port), about.uid) else { return };
    let level = level_of(&reached, &listed);
    let finding = reached.finding(cx, EvidenceKind::MaliciousJa3, about.src.addr, about.at);
    cx.emit(Finding {
        level,
        victim: Some(Entity::Ip(about.dst.addr)),
        proto: Some(about.proto),
        dst_port: Some(about.dst.port),
        text: format!("TLS client with the {name} {print} at {}, listed as {listed}", about.dst),
        proof: Proof::Proven,
        ..finding
    });
}

/// A server and its client.
fn of_server(
    cx: &mut Cx<'_>,
    about: &About,
    reached: Reached,
    kind: EvidenceKind,
    listed: &Listed<'_>,
    text: String,
) {
    let server = Finding {
        level: level_of(&reached, listed),
        victim: Some(Entity::Ip(about.src.addr)),
        proto: Some(about.proto),
        dst_port: Some(about.dst.port),
        text,
        proof: Proof::Proven,
        ..reached.finding(cx, kind, about.dst.addr, about.at)
    };
    let client = Finding {
        attacker: Entity::Ip(about.src.addr),
        victim: Some(Entity::Ip(about.dst.addr)),
        level: server.level.min(ThreatLevel::Low),
        confidence: Confidence::new(0.8),
        ..server.clone()
    };
    cx.emit_both(server, client);
}

/// The list's, unless so many were told in this window that further ones weigh nothing.
fn level_of(reached: &Reached, listed: &Listed<'_>) -> ThreatLevel {
    if reached.rung.level == ThreatLevel::Info { ThreatLevel::Info } else { listed.level }
}

impl Detector for ListedFingerprint {
    in_steps!(clients, servers, certificates);

    fn renew(&mut self) {
        self.intel.refresh();
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Tls(tls) = event else { return };
        let (about, fields) = (&tls.about, &tls.fields);
        let Self { intel, clients, servers, certificates } = self;
        let intel = intel.get();
        of_client(intel, clients, cx, tls);
        let key = (about.dst.addr, about.dst.port);
        if let Some(listed) = intel.look_up(Key::Ja3s(&fields.ja3s))
            && let Some(reached) = servers.add(cx, key, about.uid)
        {
            let text = format!("TLS server {} with the JA3S {}, listed as {listed}", about.dst, fields.ja3s);
            of_server(cx, about, reached, EvidenceKind::MaliciousJa3s, &listed, text);
        }
        // Whoever shows a certificate and cannot complete the handshake may only have copied it.
        if let Some(listed) = intel.look_up(Key::Certificate(&fields.cert_sha1))
            && fields.established
            && !DELIVERY.contains(&about.dst.port)
            && let Some(reached) = certificates.add(cx, key, about.uid)
        {
            let text = format!(
                "TLS server {} with the certificate {}, listed as {listed}",
                about.dst, fields.cert_sha1
            );
            of_server(cx, about, reached, EvidenceKind::MaliciousSslCert, &listed, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, levels, listing, tls};

    fn told(n: u32, vary: impl Fn(&mut Tls)) -> Vec<Finding> {
        let list = listing(ThreatLevel::Critical, |key| match key {
            Key::Ja3(text) | Key::Ja3s(text) | Key::Ja4(text) | Key::Certificate(text) => {
                (text == LISTED).then_some(true)
            }
            _ => None,
        });
        let mut bench = bench(ListedFingerprint::new(&Settings::default(), &list));
        let Event::Tls(mut handshake) = tls("203.0.113.9", "x.example.org") else { return Vec::new() };
        vary(&mut handshake);
        let event = Event::Tls(handshake);
        (0..n).flat_map(|_| bench.feed(&event)).collect()
    }

    const LISTED: &str = "6734f37431670b3ab4292b8f60f29984";

    #[test]
    fn a_listed_client_is_told_with_the_lists_level() {
        let client = |n| told(n, |tls| tls.fields.ja3 = LISTED.into());
        assert_eq!(levels(&client(9)), ["critical 0.8"]);
        assert_eq!(levels(&client(10)), ["critical 0.8", "critical 0.85"]);
        let by_ja4 = told(1, |tls| tls.fields.ja4 = LISTED.into());
        assert!(by_ja4[0].text.contains("the JA4 6734f"), "{}", by_ja4[0].text);
    }

    #[test]
    fn a_listed_server_is_a_pair() {
        let told = told(1, |tls| tls.fields.ja3s = LISTED.into());
        assert_eq!(levels(&told), ["critical 0.8", "low 0.8"]);
        assert_eq!(told[0].attacker, Entity::Ip("203.0.113.9".parse().expect("ip")));
        assert_eq!((&told[0].related, &told[1].related), (&vec![told[1].id()], &vec![told[0].id()]));
    }

    #[test]
    fn a_listed_certificate_is_a_pair_once_its_owner_has_proven_to_be_there() {
        let shown = |established, port| {
            told(1, |tls| {
                tls.fields.cert_sha1 = LISTED.into();
                tls.fields.established = established;
                tls.about.dst.port = port;
            })
        };
        assert_eq!(levels(&shown(true, 443)), ["critical 1", "low 0.8"]);
        assert!(shown(true, 443).iter().all(|told| told.kind == EvidenceKind::MaliciousSslCert));
        assert!(shown(false, 443).is_empty(), "copied");
        assert!(shown(true, 25).is_empty(), "delivered");
    }

    #[test]
    fn other_fingerprints_and_none_are_silent() {
        assert!(told(9, |_| {}).is_empty());
        assert!(told(9, |tls| tls.fields.ja3 = "0".repeat(32)).is_empty());
    }
}
