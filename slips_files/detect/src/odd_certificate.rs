//! Odd certificates, where TLS 1.2 and older shows them: expired, not yet valid, of an absurd life or named like an address
//! (`ODD_CERTIFICATE`); made out to a large company that the server is not (`INCOMPATIBLE_CN`); made out to another name than
//! the one asked for (`CN_URL_MISMATCH`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Tls};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::time::Span;

use crate::Settings;
use crate::ladder::rung;
use crate::names;
use crate::steps::{Limits, Steps, in_steps, member_of};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "odd_certificate",
    kinds: &[EvidenceKind::OddCertificate, EvidenceKind::IncompatibleCn, EvidenceKind::CnUrlMismatch],
    events: &[EventKind::Tls],
    roles: &[Role::Src],
    thresholds: &[ODD, INCOMPATIBLE, MISMATCH],
    header: Header {
        detects: "Odd certificates, where TLS 1.2 and older shows them: expired, not yet valid, of an absurd life or \
            named like an address (`ODD_CERTIFICATE`); made out to a large company that the server is not \
            (`INCOMPATIBLE_CN`); made out to another name than the one asked for (`CN_URL_MISMATCH`).",
        attack: "T1587.003 Digital Certificates, T1588.004 Digital Certificates, T1036.005 Match Legitimate Name, \
            T1557 Adversary-in-the-Middle.",
        rule: "Of the server's own certificate in a handshake that was completed with an outside server. \
            Incompatible: the common name is in a domain of Google, Microsoft, Apple, Facebook or Twitter, the \
            name asked for is not, and no other name of the certificate is the one asked for. Mismatch: neither \
            the common name nor any alternative name covers the name asked for, nor shares its registered \
            domain.",
        numbers: "A life of more than ten years is no authority's (398 days since 2020, CA/Browser Forum). Levels are \
            the original's, for mismatch lower: it asks WHOIS who owns both names, which needs the network.",
        quiet: "Whole domains, no fragments (the original finds `apple` in Pineapple, and calls www.google.com \
            incompatible with itself); content networks show certificates with many names, all of which are \
            looked at; a handshake that the client broke off is left out. Local servers are left out. Four \
            servers of one source weigh, low each: never an alert.",
        evasion: "TLS 1.3 hides certificates; a free certificate.",
        proof: "Proven, a handshake over TCP.",
    },
};

/// The step for an odd certificate of one server.
pub const ODD: Threshold = Threshold::steps(
    "odd",
    "The step for an odd certificate of one server",
    Unit::Count,
    &[rung(1, ThreatLevel::Info, 0.8), rung(20, ThreatLevel::Low, 0.5)],
);
/// The step for a certificate of a large company.
pub const INCOMPATIBLE: Threshold = Threshold::steps(
    "incompatible",
    "The step for a certificate of a large company",
    Unit::Count,
    &[rung(1, ThreatLevel::Medium, 0.9)],
);
/// The step for a certificate of another name.
pub const MISMATCH: Threshold = Threshold::steps(
    "mismatch",
    "The step for a certificate of another name",
    Unit::Count,
    &[rung(1, ThreatLevel::Info, 0.8), rung(20, ThreatLevel::Low, 0.8)],
);

/// A longer life is no authority's.
const ABSURD_LIFE: Span = Span::from_secs(10 * 366 * 86_400);
/// Clocks differ.
const CLOCKS: Span = Span::from_secs(86_400);

/// Domains of the companies that the original knows, and their names.
const COMPANIES: [(&str, &[&str]); 5] = [
    (
        "Google",
        &[
            "google.com",
            "googleapis.com",
            "gstatic.com",
            "youtube.com",
            "ytimg.com",
            "googlevideo.com",
            "googleusercontent.com",
            "gmail.com",
            "google-analytics.com",
            "doubleclick.net",
            "ggpht.com",
            "android.com",
            "1e100.net",
            "gvt1.com",
            "gvt2.com",
            "gvt3.com",
            "googletagmanager.com",
            "googletagservices.com",
            "googlesyndication.com",
            "googleadservices.com",
            "2mdn.net",
            "doubleclick.com",
            "app-measurement.com",
            "crashlytics.com",
            "firebaseio.com",
            "goo.gl",
            "youtu.be",
            "youtube-nocookie.com",
            "chrome.com",
            "chromium.org",
            "withgoogle.com",
            "admob.com",
            "blogspot.com",
            "blogger.com",
            "recaptcha.net",
            "widevine.com",
            "urchin.com",
            "appspot.com",
            "googlecode.com",
            "googlezip.net",
        ],
    ),
    (
        "Microsoft",
        &[
            "microsoft.com",
            "windows.com",
            "windowsupdate.com",
            "live.com",
            "office.com",
            "office365.com",
            "outlook.com",
            "msn.com",
            "bing.com",
            "skype.com",
            "azure.com",
            "microsoftonline.com",
            "windows.net",
            "xboxlive.com",
            "azureedge.net",
        ],
    ),
    (
        "Apple",
        &["apple.com", "icloud.com", "mzstatic.com", "itunes.com", "aaplimg.com", "cdn-apple.com", "me.com"],
    ),
    (
        "Facebook",
        &[
            "facebook.com",
            "fbcdn.net",
            "instagram.com",
            "whatsapp.com",
            "whatsapp.net",
            "cdninstagram.com",
            "fb.com",
        ],
    ),
    ("Twitter", &["twitter.com", "twimg.com", "t.co", "x.com"]),
];

/// See the module.
#[derive(Debug)]
pub struct OddCertificate {
    odd: Steps<(IpAddr, Oddity)>,
    incompatible: Steps<u64>,
    mismatch: Steps<u64>,
}

impl OddCertificate {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        let limits = Limits { keys: 64, weighing: 4 };
        Self {
            odd: Steps::new(settings.ladder(&SPEC, &ODD), limits),
            incompatible: Steps::new(settings.ladder(&SPEC, &INCOMPATIBLE), limits),
            mismatch: Steps::new(settings.ladder(&SPEC, &MISMATCH), limits),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Oddity {
    Expired,
    NotYetValid,
    AbsurdLife,
    AddressAsName,
}

impl Oddity {
    const fn text(self) -> &'static str {
        match self {
            Self::Expired => "has expired",
            Self::NotYetValid => "is not valid yet",
            Self::AbsurdLife => "is valid for more than ten years",
            Self::AddressAsName => "is made out to an address",
        }
    }
}

/// The common name in a subject as RFC 2253 prints it, in any order.
fn common_name(subject: &str) -> Option<&str> {
    let part = subject.split(',').find_map(|part| part.trim().strip_prefix("CN="))?;
    Some(part.trim()).filter(|name| !name.is_empty())
}

/// Whether a certificate's name, which may begin with `*.`, covers `name`.
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(zone) => name.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(zone)),
        None => pattern.eq_ignore_ascii_case(name),
    }
}

/// Whether both names are registered by the same owner, as far as names tell.
fn are_kin(one: &str, other: &str) -> bool {
    let owner = |name| names::registered(name).and_then(|domain: &str| domain.split('.').next());
    let (one, other) = (one.strip_prefix("*.").unwrap_or(one), other);
    owner(one).is_some_and(|one| owner(other).is_some_and(|other| one.eq_ignore_ascii_case(other)))
}

/// The company in whose domain a name is.
fn company_of(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let within = |domain: &&str| {
        name.len() >= domain.len()
            && name.get(name.len() - domain.len()..).is_some_and(|end| end.eq_ignore_ascii_case(domain))
            && (name.len() == domain.len()
                || name.as_bytes().get(name.len() - domain.len() - 1) == Some(&b'.'))
    };
    COMPANIES.iter().find(|(_, domains)| domains.iter().any(within)).map(|(company, _)| *company)
}

fn oddities(tls: &Tls) -> impl Iterator<Item = Oddity> {
    let fields = &tls.fields;
    let at = tls.about.at;
    let (from, until) = (fields.not_valid_before, fields.not_valid_after);
    let is_address = common_name(&fields.subject).is_some_and(|name| name.parse::<IpAddr>().is_ok());
    [
        until.is_some_and(|until| until + CLOCKS < at).then_some(Oddity::Expired),
        from.is_some_and(|from| at + CLOCKS < from).then_some(Oddity::NotYetValid),
        from.zip(until)
            .is_some_and(|(from, until)| until.since(from) > ABSURD_LIFE)
            .then_some(Oddity::AbsurdLife),
        is_address.then_some(Oddity::AddressAsName),
    ]
    .into_iter()
    .flatten()
}

impl OddCertificate {
    fn on_tls(&mut self, cx: &mut Cx<'_>, tls: &Tls) {
        let (about, fields) = (&tls.about, &tls.fields);
        for oddity in oddities(tls) {
            let Some(reached) = self.odd.add(cx, (about.dst.addr, oddity), about.uid) else { continue };
            let text =
                format!("the certificate of {} {}: {}", about.dst, oddity.text(), cut(&fields.subject));
            tell(cx, tls, EvidenceKind::OddCertificate, text, reached);
        }
        let asked = fields.server_name.as_str();
        let Some(name) = common_name(&fields.subject).filter(|_| !asked.is_empty()) else { return };
        let all = || fields.san_dns.iter().map(String::as_str).chain([name]);
        if asked.parse::<IpAddr>().is_ok() || all().any(|known| covers(known, asked) || are_kin(known, asked))
        {
            return;
        }
        let key = member_of(asked) ^ member_of(name).rotate_left(7);
        if let Some(company) = company_of(name).filter(|company| company_of(asked) != Some(*company)) {
            let Some(reached) = self.incompatible.add(cx, key, about.uid) else { return };
            let text = format!(
                "the certificate of {} claims to be {company}'s ({}), asked for was {}",
                about.dst,
                cut(name),
                cut(asked)
            );
            tell(cx, tls, EvidenceKind::IncompatibleCn, text, reached);
        } else if knows_names(tls)
            && let Some(reached) = self.mismatch.add(cx, key, about.uid)
        {
            let text = format!(
                "the certificate of {} is made out to {}, asked for was {}",
                about.dst,
                cut(name),
                cut(asked)
            );
            tell(cx, tls, EvidenceKind::CnUrlMismatch, text, reached);
        }
    }
}

/// Whether all names of the certificate are known: Zeek's ssl.log has the common one alone.
const fn knows_names(tls: &Tls) -> bool {
    !tls.fields.san_dns.is_empty() || !tls.fields.cert_sha1.is_empty()
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

fn tell(cx: &mut Cx<'_>, tls: &Tls, kind: EvidenceKind, text: String, reached: crate::steps::Reached) {
    let about = &tls.about;
    cx.emit(Finding {
        victim: Some(Entity::Ip(about.dst.addr)),
        proto: Some(about.proto),
        dst_port: Some(about.dst.port),
        text,
        proof: Proof::Proven,
        ..reached.finding(cx, kind, about.src.addr, about.at)
    });
}

impl Detector for OddCertificate {
    in_steps!(odd, incompatible, mismatch);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Tls(tls) = event
            && tls.fields.established
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
    use crate::test_traces::{bench, levels, secs, tls};

    /// Handshakes at which a certificate of `subject` with these further names was shown, valid so many days from a day ago.
    fn shown(n: u32, asked: &str, subject: &str, sans: &[&str], days: i64) -> Vec<Finding> {
        let mut bench = bench(OddCertificate::new(&Settings::default()));
        let Event::Tls(mut record) = tls("203.0.113.9", asked) else { return Vec::new() };
        (record.fields.subject, record.fields.cert_sha1) = (subject.into(), "0".into());
        record.fields.san_dns = sans.iter().map(|name| (*name).into()).collect();
        record.fields.not_valid_before = Some(secs(-90 * 86_400));
        record.fields.not_valid_after = Some(secs(days * 86_400));
        (0..n).flat_map(|_| bench.feed(&Event::Tls(record.clone()))).collect()
    }

    fn kinds(findings: &[Finding]) -> Vec<EvidenceKind> {
        findings.iter().map(|finding| finding.kind).collect()
    }

    #[test]
    fn expired_absurd_and_address_certificates_are_told() {
        let odd = [EvidenceKind::OddCertificate];
        let own = "CN=www.example.org";
        assert_eq!(kinds(&shown(1, "www.example.org", own, &[], -2)), odd);
        assert_eq!(kinds(&shown(1, "www.example.org", own, &[], 4000)), odd);
        assert_eq!(kinds(&shown(1, "", "CN=203.0.113.9", &[], 90)), odd);
        assert_eq!(levels(&shown(40, "www.example.org", own, &[], -2)), ["info 0.8", "low 0.5"]);
        assert!(shown(1, "www.example.org", own, &[], 3560).is_empty(), "just below ten years");
        assert!(shown(1, "www.example.org", own, &[], 0).is_empty(), "within the difference of clocks");
    }

    #[test]
    fn a_certificate_of_a_large_company_is_incompatible_with_others() {
        let told =
            shown(3, "netflix.com", "CN=*.google.com,O=Google LLC", &["*.google.com", "*.youtube.com"], 90);
        assert_eq!(
            (kinds(&told), levels(&told)),
            (vec![EvidenceKind::IncompatibleCn], vec!["medium 0.9".into()])
        );
        assert_eq!(
            kinds(&shown(1, "a.test.org", "O=x, CN=b.other.net", &[], 90)),
            [EvidenceKind::CnUrlMismatch]
        );
    }

    #[test]
    fn genuine_certificates_are_silent() {
        for (asked, subject, sans) in [
            ("www.google.com", "CN=www.google.com", &["www.google.com"][..]),
            ("i.ytimg.com", "CN=*.google.com", &["*.google.com", "*.ytimg.com"]),
            ("www.google.de", "CN=*.google.com", &[]),
            ("pineapple.com", "CN=pineapple.com", &[]),
            ("shop.example.org", "CN=sni.cdn.net", &["*.example.org"]),
            ("", "CN=www.google.com", &[]),
            ("203.0.113.9", "CN=www.google.com", &[]),
        ] {
            assert!(shown(9, asked, subject, sans, 90).is_empty(), "{asked}");
        }
    }
}
