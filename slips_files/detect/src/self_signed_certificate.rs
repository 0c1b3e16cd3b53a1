//! A server shows a certificate that only itself vouches for.

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Tls};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "self_signed_certificate",
    kinds: &[EvidenceKind::SelfSignedCertificate],
    events: &[EventKind::Tls],
    roles: &[Role::Src],
    thresholds: &[HANDSHAKES],
    header: Header {
        detects: "A server shows a certificate that only itself vouches for.",
        attack: "T1587.003 Develop Capabilities: Digital Certificates, T1573.002 Asymmetric Cryptography.",
        rule: "The validation says self-signed, or subject and issuer are the same name, per server and port. A \
            linked pair.",
        numbers: "Low 0.5 for both sides is the original's.",
        quiet: "Own devices do this; local servers are info. Eight servers of one source weigh.",
        evasion: "TLS 1.3 hides certificates; a free certificate.",
        proof: "Proven, a handshake over TCP.",
    },
};

/// Steps in handshakes with one server.
pub const HANDSHAKES: Threshold = Threshold::steps(
    "handshakes",
    "handshakes with one server and port in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.5)],
);

/// See the module.
#[derive(Debug)]
pub struct SelfSignedCertificate {
    outside: Steps<(IpAddr, u16)>,
}

impl SelfSignedCertificate {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { outside: Steps::new(settings.ladder(&SPEC, &HANDSHAKES), Limits { keys: 256, weighing: 8 }) }
    }
}

fn is_self_signed(tls: &Tls) -> bool {
    let fields = &tls.fields;
    let status = fields.validation_status.as_str();
    status.contains("self signed")
        || status.contains("self-signed")
        || (!fields.subject.is_empty() && fields.subject == fields.issuer)
}

impl SelfSignedCertificate {
    fn on_tls(&mut self, cx: &mut Cx<'_>, tls: &Tls) {
        let about = &tls.about;
        let Some(mut reached) = self.outside.add(cx, (about.dst.addr, about.dst.port), about.uid) else {
            return;
        };
        let local = cx.facts().dst_local;
        if local {
            reached.rung.level = ThreatLevel::Info;
        }
        let cut = |text: &str| text.chars().take(100).collect::<String>();
        let text = format!(
            "self-signed certificate of {} `{}`: {}",
            about.dst,
            cut(&tls.fields.server_name),
            cut(&tls.fields.subject)
        );
        let client = Finding {
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(about.proto),
            dst_port: Some(about.dst.port),
            text,
            proof: Proof::Proven,
            ..reached.finding(cx, EvidenceKind::SelfSignedCertificate, about.src.addr, about.at)
        };
        if local {
            cx.emit(client);
            return;
        }
        let server = Finding {
            attacker: Entity::Ip(about.dst.addr),
            victim: Some(Entity::Ip(about.src.addr)),
            ..client.clone()
        };
        cx.emit_both(client, server);
    }
}

impl Detector for SelfSignedCertificate {
    in_steps!(outside);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Tls(tls) = event
            && is_self_signed(tls)
        {
            self.on_tls(cx, tls);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, levels, tls};

    fn told(n: u32, dst: &str, subject: &str, issuer: &str, status: &str) -> Vec<Finding> {
        let mut bench = bench(SelfSignedCertificate::new(&Settings::default()));
        let Event::Tls(mut handshake) = tls(dst, "x.example.org") else { return Vec::new() };
        handshake.fields.subject = subject.into();
        handshake.fields.issuer = issuer.into();
        handshake.fields.validation_status = status.into();
        let event = Event::Tls(handshake);
        (0..n).flat_map(|_| bench.feed(&event)).collect()
    }

    #[test]
    fn an_outside_server_is_a_pair_told_once() {
        assert_eq!(levels(&told(9, "203.0.113.9", "CN=x", "CN=x", "")), ["low 0.5", "low 0.5"]);
        let status = "self signed certificate in certificate chain";
        assert_eq!(told(1, "203.0.113.9", "", "", status).len(), 2);
    }

    #[test]
    fn own_devices_are_info() {
        assert_eq!(levels(&told(9, "192.168.1.1", "CN=x", "CN=x", "")), ["info 0.5"]);
    }

    #[test]
    fn certificates_that_others_vouch_for_and_hidden_ones_are_silent() {
        assert!(told(9, "203.0.113.9", "CN=x", "CN=y", "ok").is_empty());
        assert!(told(9, "203.0.113.9", "", "", "").is_empty());
    }
}
