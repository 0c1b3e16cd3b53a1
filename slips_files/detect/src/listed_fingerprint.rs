//! A TLS client (`MALICIOUS_JA3`) or server (`MALICIOUS_JA3S`) whose fingerprint the owner's list names.

use std::net::IpAddr;
use std::sync::Arc;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Tls};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::intel::{Indicator, Intelligence};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "listed_fingerprint",
    kinds: &[EvidenceKind::MaliciousJa3, EvidenceKind::MaliciousJa3s],
    events: &[EventKind::Tls],
    roles: &[Role::Src],
    thresholds: &[HANDSHAKES],
    header: Header {
        detects: "A TLS client (`MALICIOUS_JA3`) or server (`MALICIOUS_JA3S`) whose fingerprint the owner's list \
            names.",
        attack: "T1071.001 Web Protocols, T1573 Encrypted Channel.",
        rule: "JA3 and JA3S of each handshake, looked up in one list, as in the original. JA3: the client, with the \
            list's level. JA3S: a linked pair, the server with the list's level and the client with low.",
        numbers: "Each server once, then at 10 and 100 handshakes.",
        quiet: "A fingerprint names a library, not a program; others may share it. Hence high at most, unless the \
            owner writes critical, and confidence 0.8, which alone is no alert.",
        evasion: "Another library; what shuffles its extensions has no stable JA3.",
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

const LIMITS: Limits = Limits { keys: 256, weighing: 16 };

/// See the module.
pub struct ListedFingerprint {
    intel: Arc<dyn Intelligence>,
    clients: Steps<(IpAddr, u16)>,
    servers: Steps<(IpAddr, u16)>,
}

impl ListedFingerprint {
    /// With these settings and indicators.
    pub fn new(settings: &Settings, intel: Arc<dyn Intelligence>) -> Self {
        Self {
            intel,
            clients: Steps::new(settings.ladder(&SPEC, &HANDSHAKES), LIMITS),
            servers: Steps::new(settings.ladder(&SPEC, &HANDSHAKES), LIMITS),
        }
    }

    fn on_client(&mut self, cx: &mut Cx<'_>, tls: &Tls, listed: &Indicator) {
        let (about, ja3) = (&tls.about, &tls.fields.ja3);
        let Some(reached) = self.clients.add(cx, (about.dst.addr, about.dst.port), about.uid) else { return };
        let level = if reached.rung.level == ThreatLevel::Info { ThreatLevel::Info } else { listed.level };
        let text =
            format!("TLS client with the JA3 {ja3} at {}, listed as {}", about.dst, listed.description);
        let finding = reached.finding(cx, EvidenceKind::MaliciousJa3, about.src.addr, about.at);
        cx.emit(Finding {
            level,
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(about.proto),
            dst_port: Some(about.dst.port),
            text,
            proof: Proof::Proven,
            ..finding
        });
    }

    fn on_server(&mut self, cx: &mut Cx<'_>, tls: &Tls, listed: &Indicator) {
        let (about, ja3s) = (&tls.about, &tls.fields.ja3s);
        let Some(reached) = self.servers.add(cx, (about.dst.addr, about.dst.port), about.uid) else { return };
        let level = if reached.rung.level == ThreatLevel::Info { ThreatLevel::Info } else { listed.level };
        let text = format!("TLS server {} with the JA3S {ja3s}, listed as {}", about.dst, listed.description);
        let mut server = Finding {
            level,
            victim: Some(Entity::Ip(about.src.addr)),
            proto: Some(about.proto),
            dst_port: Some(about.dst.port),
            text,
            proof: Proof::Proven,
            ..reached.finding(cx, EvidenceKind::MaliciousJa3s, about.dst.addr, about.at)
        };
        let mut client = Finding {
            attacker: Entity::Ip(about.src.addr),
            victim: Some(Entity::Ip(about.dst.addr)),
            level: level.min(ThreatLevel::Low),
            confidence: Confidence::new(0.8),
            ..server.clone()
        };
        server.related.push(client.id());
        client.related.push(server.id());
        cx.emit(server);
        cx.emit(client);
    }
}

impl Detector for ListedFingerprint {
    in_steps!(clients, servers);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Tls(tls) = event else { return };
        let intel = Arc::clone(&self.intel);
        if let Some(listed) =
            Some(&tls.fields.ja3).filter(|md5| !md5.is_empty()).and_then(|md5| intel.ja3(md5))
        {
            self.on_client(cx, tls, listed);
        }
        if let Some(listed) =
            Some(&tls.fields.ja3s).filter(|md5| !md5.is_empty()).and_then(|md5| intel.ja3(md5))
        {
            self.on_server(cx, tls, listed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, levels, tls};

    /// One fingerprint with a level.
    struct List(Indicator);

    impl Intelligence for List {
        fn address(&self, _addr: IpAddr) -> Option<&Indicator> {
            None
        }

        fn ja3(&self, md5: &str) -> Option<&Indicator> {
            (md5 == "6734f37431670b3ab4292b8f60f29984").then_some(&self.0)
        }
    }

    fn told(n: u32, vary: impl Fn(&mut Tls)) -> Vec<Finding> {
        let indicator =
            Indicator { level: ThreatLevel::Critical, description: "Trickbot".into(), source: "own".into() };
        let mut bench = bench(ListedFingerprint::new(&Settings::default(), Arc::new(List(indicator))));
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
    }

    #[test]
    fn a_listed_server_is_a_pair() {
        let told = told(1, |tls| tls.fields.ja3s = LISTED.into());
        assert_eq!(levels(&told), ["critical 0.8", "low 0.8"]);
        assert_eq!(told[0].attacker, Entity::Ip("203.0.113.9".parse().expect("ip")));
    }

    #[test]
    fn other_fingerprints_and_none_are_silent() {
        assert!(told(9, |_| {}).is_empty());
        assert!(told(9, |tls| tls.fields.ja3 = "0".repeat(32)).is_empty());
    }
}
