//! Odd DNS answers: text that looks random (`HIGH_ENTROPY_DNS_ANSWER`), and inside addresses for outside names
//! (`INVALID_DNS_RESOLUTION`).

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Dns, DnsData, Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::time::WindowId;

use crate::Settings;
use crate::ladder::rung;
use crate::names;
use crate::steps::{Limits, Reached, Steps, member_of};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "dns_answers",
    kinds: &[EvidenceKind::HighEntropyDnsAnswer, EvidenceKind::InvalidDnsResolution],
    events: &[EventKind::Dns],
    roles: &[Role::Src],
    thresholds: &[TEXTS, PRIVATE, ENTROPY],
    header: Header {
        detects: "Odd DNS answers: text that looks random (`HIGH_ENTROPY_DNS_ANSWER`), and inside addresses for \
            outside names (`INVALID_DNS_RESOLUTION`).",
        attack: "T1071.004 DNS, T1132 Data Encoding.",
        rule: "Text: distinct TXT answers of 32 bytes or more with an entropy of at least 5 bits, per registered \
            domain. Addresses: an A or AAAA answer that is private, for a name that is not of a private zone. \
            Names that had a public address, too, are for `dns_rebinding`.",
        numbers: "5 bits is the original's (`entropy_threshold`); it measures Zeek's prefix too and blames the \
            resolver with medium. Info for private answers is the original's.",
        quiet: "Keys and proofs that live in TXT (DKIM, SPF, ACME, site verification) are known by their names and \
            first words; mDNS is left out. 0.0.0.0 and loopback are what ad blockers answer. Own networks are \
            served by split DNS, hence info. Two zones of text weigh.",
        evasion: "Base32, other record types, less than 32 bytes.",
        proof: "Proven when the client's hardware address owns its address.",
    },
};

/// Steps in distinct texts of one registered domain.
pub const TEXTS: Threshold = Threshold::steps(
    "texts",
    "random texts of one domain in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.6), rung(20, ThreatLevel::Medium, 0.7), rung(200, ThreatLevel::High, 0.8)],
);
/// Told at this count of private answers for one name.
pub const PRIVATE: Threshold = Threshold::steps(
    "private_answers",
    "answers for an outside name that are private addresses, in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Info, 0.8)],
);

/// Bits of entropy (`entropy_threshold` of the original).
pub const ENTROPY: Threshold =
    Threshold::number("entropy", "bits a byte from which on a text counts as random", Unit::Hundredths, 500)
        .within(100, 800);
const MIN_TEXT: usize = 32;

/// First words of texts that are keys or proofs by their purpose.
const PURPOSES: [&str; 8] = ["v=dkim1", "v=spf1", "v=dmarc1", "v=tlsrpt", "v=sts", "v=bimi1", "ms=", "k=rsa"];

/// See the module.
#[derive(Debug)]
pub struct DnsAnswers {
    texts: Steps<u64>,
    private: Steps<u64>,
    entropy: f64,
}

impl DnsAnswers {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            texts: Steps::new(settings.ladder(&SPEC, &TEXTS), Limits { keys: 64, weighing: 2 }),
            private: Steps::new(settings.ladder(&SPEC, &PRIVATE), Limits { keys: 64, weighing: 0 }),
            entropy: f64::from(settings.number(&SPEC, &ENTROPY)) / 100.0,
        }
    }
}

/// The text of a TXT answer as Zeek prints it: `TXT 5 hello`.
fn text_of(answer: &str) -> Option<&str> {
    let rest = answer.strip_prefix("TXT ")?;
    Some(rest.split_once(' ').filter(|(len, _)| len.parse::<u32>().is_ok()).map_or(rest, |(_, text)| text))
}

fn has_purpose(query: &str, text: &str) -> bool {
    let begins = |word: &&str| text.get(..word.len()).is_some_and(|t| t.eq_ignore_ascii_case(word));
    let verifies = text.get(..text.len().min(64)).is_some_and(|t| t.contains("verif"));
    query.split('.').any(|label| label.starts_with('_')) || PURPOSES.iter().any(begins) || verifies
}

impl DnsAnswers {
    fn on_text(&mut self, cx: &mut Cx<'_>, dns: &Dns, answer: &str) {
        let Some(text) = text_of(answer).filter(|text| text.len() >= MIN_TEXT) else { return };
        let Some(domain) = names::registered(&dns.query).filter(|_| !has_purpose(&dns.query, text)) else {
            return;
        };
        let entropy = names::entropy(text.as_bytes());
        if entropy < self.entropy {
            return;
        }
        let key = member_of(domain);
        let Some(reached) = self.texts.add_distinct(cx, key, member_of(text), dns.about.uid) else { return };
        let told =
            format!("{} random texts in DNS answers of {domain}, entropy {entropy:.1} bits", reached.n);
        tell(cx, dns, EvidenceKind::HighEntropyDnsAnswer, domain, told, reached);
    }

    fn on_address(&mut self, cx: &mut Cx<'_>, dns: &Dns, answer: IpAddr) {
        if names::is_special(&dns.query) || !addr::is_interesting(answer) {
            return;
        }
        if !addr::is_private(answer) {
            return;
        }
        let Some(reached) = self.private.add(cx, member_of(&dns.query), dns.about.uid) else { return };
        let told = format!("{} resolves to the private address {answer}", dns.query);
        tell(cx, dns, EvidenceKind::InvalidDnsResolution, &dns.query, told, reached);
    }
}

fn tell(cx: &mut Cx<'_>, dns: &Dns, kind: EvidenceKind, about: &str, text: String, reached: Reached) {
    cx.emit(Finding {
        victim: Some(Entity::Domain(about.into())),
        proto: Some(dns.about.proto),
        text,
        proof: reached.proof,
        ..reached.finding(cx, kind, dns.about.src.addr, dns.about.at)
    });
}

impl Detector for DnsAnswers {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Dns(dns) = event else { return };
        if !names::is_unicast_dns(&dns.about) {
            return;
        }
        for answer in &dns.answers {
            match &answer.data {
                DnsData::Text(text) => self.on_text(cx, dns, text),
                DnsData::Addr(addr) => self.on_address(cx, dns, *addr),
                DnsData::Name(_) => {}
            }
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.texts.close(window);
        self.private.close(window);
    }

    fn forget(&mut self, slot: Slot) {
        self.texts.forget(slot);
        self.private.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, dns, levels};

    const RANDOM: &str = "x9Kq2Lm8Zr4Tb7Wn1Yc5Vd3Hg6Jf0PsAeUiOoBtXzQ";

    fn texts(n: u32, query: &str, text: impl Fn(u32) -> String) -> Vec<Finding> {
        let mut bench = bench(DnsAnswers::new(&Settings::default()));
        let record = |n| {
            let text = text(n);
            let data = DnsData::Text(format!("TXT {} {text}", text.len()));
            Event::Dns(Box::new(dns(query, &[data])))
        };
        (0..n).flat_map(|n| bench.feed(&record(n))).collect()
    }

    #[test]
    fn random_texts_are_counted_per_domain() {
        let told = texts(1, "a.tunnel.example.org", |_| RANDOM.into());
        assert_eq!(levels(&told), ["low 0.6"]);
        assert_eq!(told[0].victim, Some(Entity::Domain("example.org".into())));
        let many = texts(250, "a.example.org", |n| format!("{RANDOM}{n}"));
        assert_eq!(levels(&many), ["low 0.6", "medium 0.7", "high 0.8"]);
        assert_eq!(texts(250, "a.example.org", |_| RANDOM.into()).len(), 1, "the same again");
    }

    #[test]
    fn keys_proofs_short_and_plain_texts_are_silent() {
        assert!(texts(9, "s1._domainkey.example.org", |_| RANDOM.into()).is_empty());
        assert!(texts(9, "example.org", |_| format!("v=DKIM1; p={RANDOM}")).is_empty());
        assert!(texts(9, "example.org", |_| format!("google-site-verification={RANDOM}")).is_empty());
        assert!(texts(9, "example.org", |_| RANDOM[..31].into()).is_empty());
        assert!(texts(9, "example.org", |_| "the quick brown fox jumps over the lazy dog".into()).is_empty());
        assert!(texts(9, "printer.local", |_| RANDOM.into()).is_empty());
    }

    fn addresses(query: &str, answers: &[&str]) -> Vec<Finding> {
        let mut bench = bench(DnsAnswers::new(&Settings::default()));
        let record = |answer: &&str| Event::Dns(Box::new(dns(query, &[DnsData::Addr(at(answer))])));
        answers.iter().flat_map(|answer| bench.feed(&record(answer))).collect()
    }

    #[test]
    fn a_private_answer_is_info() {
        assert_eq!(levels(&addresses("a.example.org", &["192.168.1.9", "192.168.1.9"])), ["info 0.8"]);
    }

    #[test]
    fn sinkholes_private_zones_and_public_answers_are_silent() {
        assert!(addresses("ads.example.org", &["0.0.0.0", "127.0.0.1", "::"]).is_empty());
        assert!(addresses("nas.lan", &["192.168.1.9"]).is_empty());
        assert!(addresses("a.example.org", &["198.51.100.7", "198.51.100.8"]).is_empty());
    }
}
