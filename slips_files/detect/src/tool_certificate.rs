//! A server shows a certificate that a tool of attackers makes by default (`MALICIOUS_SSL_CERT`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Tls, TlsFields};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::time::PacketTime;

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "tool_certificate",
    kinds: &[EvidenceKind::MaliciousSslCert],
    events: &[EventKind::Tls],
    roles: &[Role::Src],
    thresholds: &[NAMED, ENDLESS],
    header: Header {
        detects: "A server shows a certificate that a tool of attackers makes by default (`MALICIOUS_SSL_CERT`).",
        attack: "T1219 Remote Access Software, T1573.002 Asymmetric Cryptography, T1588.004 Obtain Capabilities: \
            Digital Certificates.",
        rule: "Subject or issuer of the certificate of an outside server, as its tool writes it by default; or one \
            that is self-signed, has a common name and nothing else, ends in the year 9999 and is shown to a \
            client that named no server.",
        numbers: "The names are those that the public sources of the tools (AsyncRAT, DcRat, VenomRAT, Quasar, Cobalt \
            Strike, PoshC2, Covenant, Havoc, Merlin, Mythic, Sliver) and reports on them give. 9999 is the \
            largest date of .NET, which these builders write. A name is certain (critical 0.95); without one it \
            is critical 0.9. A linked pair: the client is infected, the server controls it.",
        quiet: "Nobody else calls his certificate so; whole names are compared, not parts of words. A client that \
            refused the handshake is not accused: a web page can send any browser to such a server, and no \
            browser accepts it. Nor is a server that delivers to others and takes every certificate, of mail and \
            of XMPP: whoever writes to it chooses where it answers.",
        evasion: "A certificate of its own; TLS 1.3, which hides it.",
        proof: "Proven, a handshake over TCP.",
    },
};

/// The step for a name that is known.
pub const NAMED: Threshold = Threshold::steps(
    "named",
    "handshakes with a certificate that a tool writes by default",
    Unit::Count,
    &[rung(1, ThreatLevel::Critical, 0.95)],
);
/// The step for a certificate that never ends.
pub const ENDLESS: Threshold = Threshold::steps(
    "endless",
    "handshakes with a bare certificate that ends in the year 9999",
    Unit::Count,
    &[rung(1, ThreatLevel::Critical, 0.9)],
);

/// An attribute of a distinguished name and the tool that writes it.
const TOOLS: [(&str, &str); 18] = [
    ("CN=AsyncRAT Server", "AsyncRAT"),
    ("CN=DcRat", "DcRat"),
    ("CN=DcRat Server", "DcRat"),
    ("O=DcRat By qwqdanchun", "DcRat"),
    ("CN=VenomRAT", "VenomRAT"),
    ("CN=VenomRAT Server", "VenomRAT"),
    ("O=VenomRAT By qwqdanchun", "VenomRAT"),
    ("CN=Quasar Server CA", "Quasar"),
    ("CN=BoratRat", "Borat"),
    ("CN=Orcus Server", "Orcus"),
    ("CN=XenoRAT", "Xeno"),
    ("CN=Major Cobalt Strike", "Cobalt Strike"),
    ("O=cobaltstrike", "Cobalt Strike"),
    ("OU=AdvancedPenTesting", "Cobalt Strike"),
    ("CN=P18055077", "PoshC2"),
    ("O=Pajfds", "PoshC2"),
    ("CN=Covenant", "Covenant"),
    ("CN=ShadowRAT", "Shadow"),
];

/// 9999-12-31 in seconds since 1970, less two days for zones and builders that round.
const END_OF_TIME_SECS: i64 = 253_402_300_799 - 2 * 86_400;

/// Where servers deliver to servers: SMTP, whose TLS is opportunistic (RFC 7435), and XMPP with dialback.
const DELIVERY: [u16; 2] = [25, 5269];

/// See the module.
#[derive(Debug)]
pub struct ToolCertificate {
    named: Steps<(IpAddr, u16)>,
    endless: Steps<(IpAddr, u16)>,
}

impl ToolCertificate {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        let limits = Limits { keys: 64, weighing: 64 };
        Self {
            named: Steps::new(settings.ladder(&SPEC, &NAMED), limits),
            endless: Steps::new(settings.ladder(&SPEC, &ENDLESS), limits),
        }
    }
}

/// The tool whose name stands in a distinguished name.
fn tool_of(name: &str) -> Option<&'static str> {
    let mut attributes = name.split(',').map(str::trim);
    attributes.find_map(|attribute| {
        TOOLS.iter().find(|(known, _)| known.eq_ignore_ascii_case(attribute)).map(|(_, tool)| *tool)
    })
}

/// Self-signed by a bare common name, for ever, for a client that did not say whom it wants.
fn is_endless(fields: &TlsFields) -> bool {
    let ends = PacketTime::from_secs_micros(END_OF_TIME_SECS, 0);
    fields.server_name.is_empty()
        && fields.subject.starts_with("CN=")
        && !fields.subject.contains(',')
        && fields.subject == fields.issuer
        && fields.not_valid_after.is_some_and(|until| until >= ends)
}

impl ToolCertificate {
    fn on_tls(&mut self, cx: &mut Cx<'_>, tls: &Tls) {
        let (about, fields) = (&tls.about, &tls.fields);
        let tool = tool_of(&fields.subject).or_else(|| tool_of(&fields.issuer));
        let steps = match tool {
            Some(_) => &mut self.named,
            None if is_endless(fields) => &mut self.endless,
            None => return,
        };
        let Some(reached) = steps.add(cx, (about.dst.addr, about.dst.port), about.uid) else { return };
        let text = match tool {
            Some(tool) => format!("{} shows the certificate of {tool}, a tool for remote control", about.dst),
            None => format!("{} shows a certificate of its own making that ends in the year 9999", about.dst),
        };
        let client = Finding {
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(about.proto),
            dst_port: Some(about.dst.port),
            text,
            proof: Proof::Proven,
            ..reached.finding(cx, EvidenceKind::MaliciousSslCert, about.src.addr, about.at)
        };
        let server = Finding {
            attacker: Entity::Ip(about.dst.addr),
            victim: Some(Entity::Ip(about.src.addr)),
            ..client.clone()
        };
        if tls.fields.established && !DELIVERY.contains(&about.dst.port) {
            cx.emit_both(client, server);
        } else {
            cx.emit(server);
        }
    }
}

impl Detector for ToolCertificate {
    in_steps!(named, endless);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Tls(tls) = event
            && !tls.fields.subject.is_empty()
            && !cx.facts().dst_local
        {
            self.on_tls(cx, tls);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, levels, tls};

    fn told(dst: &str, server_name: &str, subject: &str, issuer: &str, until: i64) -> Vec<Finding> {
        let mut bench = bench(ToolCertificate::new(&Settings::default()));
        let Event::Tls(mut handshake) = tls(dst, server_name) else { return Vec::new() };
        handshake.fields.subject = subject.into();
        handshake.fields.issuer = issuer.into();
        handshake.fields.not_valid_after = Some(PacketTime::from_secs_micros(until, 0));
        let event = Event::Tls(handshake);
        (0..5).flat_map(|_| bench.feed(&event)).collect()
    }

    #[test]
    fn the_names_of_tools_are_a_pair_told_once() {
        let subject = "CN=AsyncRAT Server";
        assert_eq!(levels(&told("203.0.113.9", "", subject, subject, 0)), ["critical 0.95", "critical 0.95"]);
        let issuer = "C=CN,L=SH,O=DcRat By qwqdanchun,OU=qwqdanchun,CN=DcRat Server";
        assert_eq!(told("203.0.113.9", "x.example.org", "CN=x", issuer, 0).len(), 2);
        assert!(told("192.168.1.9", "", subject, subject, 0).is_empty(), "inside");
    }

    #[test]
    fn a_client_that_refused_is_not_accused() {
        let Event::Tls(mut handshake) = tls("203.0.113.9", "") else { return };
        handshake.fields.subject = "CN=AsyncRAT Server".into();
        handshake.fields.established = false;
        let told = bench(ToolCertificate::new(&Settings::default())).feed(&Event::Tls(handshake));
        let attackers: Vec<String> = told.iter().map(|told| told.attacker.to_string()).collect();
        assert_eq!(attackers, ["203.0.113.9"]);
    }

    #[test]
    fn a_handshake_that_anybody_may_have_made_up_proves_nothing() {
        for (heard, proof) in [(true, Proof::Proven), (false, Proof::Unproven)] {
            let Event::Tls(mut handshake) = tls("203.0.113.9", "") else { return };
            handshake.fields.subject = "CN=AsyncRAT Server".into();
            handshake.about.heard = heard;
            let told = bench(ToolCertificate::new(&Settings::default())).feed(&Event::Tls(handshake));
            assert!(!told.is_empty() && told.iter().all(|told| told.proof == proof), "{heard}");
        }
    }

    #[test]
    fn a_mail_server_that_delivers_is_not_accused() {
        let Event::Tls(mut handshake) = tls("203.0.113.9", "") else { return };
        handshake.fields.subject = "CN=AsyncRAT Server".into();
        handshake.fields.established = true;
        handshake.about.dst.port = 25;
        let told = bench(ToolCertificate::new(&Settings::default())).feed(&Event::Tls(handshake));
        let attackers: Vec<String> = told.iter().map(|told| told.attacker.to_string()).collect();
        assert_eq!(attackers, ["203.0.113.9"]);
    }

    #[test]
    fn a_bare_certificate_for_ever_is_told() {
        let end = 253_402_300_799;
        let told = |name, subject, issuer, until| levels(&told("203.0.113.9", name, subject, issuer, until));
        assert_eq!(told("", "CN=Wnd", "CN=Wnd", end), ["critical 0.9", "critical 0.9"]);
        assert!(told("x.example.org", "CN=Wnd", "CN=Wnd", end).is_empty(), "the client named it");
        assert!(told("", "CN=Wnd,O=Camera", "CN=Wnd,O=Camera", end).is_empty());
        assert!(told("", "CN=Wnd", "CN=Ca", end).is_empty());
        assert!(told("", "CN=Wnd", "CN=Wnd", 4_000_000_000).is_empty(), "a hundred years");
    }

    #[test]
    fn names_that_only_begin_alike_are_silent() {
        for subject in
            ["CN=DcRatings Ltd", "CN=www.asyncrat.example", "O=Covenant Health,CN=covenant.example"]
        {
            assert!(told("203.0.113.9", "", subject, "CN=Some CA", 0).is_empty(), "{subject}");
        }
    }
}
