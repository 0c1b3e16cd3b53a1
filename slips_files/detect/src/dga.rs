//! Names that do not exist, one after the other: a bot looks for its server by an algorithm (`DGA_NXDOMAINS`).

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Dns, Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, ThreatLevel};
use slips_core::state::Windowed;
use slips_core::time::WindowId;

use crate::Settings;
use crate::ladder::{self, Ladder, Rung, rung};
use crate::names;
use crate::steps::member_of;
use crate::tally::{Distinct, Trail};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "dga",
    kinds: &[EvidenceKind::DgaNxdomains],
    events: &[EventKind::Dns],
    roles: &[Role::Src],
    thresholds: &[RANDOM, ANY],
    header: Header {
        detects: "Names that do not exist, one after the other: a bot looks for its server by an algorithm \
            (`DGA_NXDOMAINS`).",
        attack: "T1568.002 Domain Generation Algorithms.",
        rule: "Distinct registered domains (the last two labels, three below short ones such as `co.uk`) that a \
            client asked for and that do not exist, per window; among them those that look random: from eight \
            letters on, five consonants in a row, or few vowels, or digits and letters that alternate.",
        numbers: "The original tells high at every tenth NXDOMAIN, repeats included, with confidence 0.1. Ours are \
            chosen so that a household with an ad blocker stays at low.",
        quiet: "Search domains, block lists and ad blockers ask below few registered domains, and only those are \
            counted; single labels, reverse lookups and private zones are not. A mail server meets many dead \
            domains, but few of them look random: the high steps need that half of them do.",
        evasion: "Names of dictionary words; few names; DNS over TLS or HTTPS.",
        proof: "Unproven, even where the client's hardware address owns its address: any page has a browser ask for \
            hundreds of names that do not exist. So a host of ours is told, and not blocked for this alone.",
    },
};

/// Steps in domains that look random, while at least half of all do.
pub const RANDOM: Threshold = Threshold::steps(
    "random_domains",
    "domains that look random and do not exist, asked for by one client in a window",
    Unit::Count,
    &[
        rung(10, ThreatLevel::Medium, 0.8),
        rung(30, ThreatLevel::High, 0.8),
        rung(100, ThreatLevel::High, 1.0),
        rung(300, ThreatLevel::Critical, 0.9),
    ],
);
/// Steps in domains of any look.
pub const ANY: Threshold = Threshold::steps(
    "domains",
    "domains that do not exist, asked for by one client in a window",
    Unit::Count,
    &[rung(20, ThreatLevel::Low, 0.4), rung(60, ThreatLevel::Low, 0.8), rung(200, ThreatLevel::Medium, 0.6)],
);

/// NXDOMAIN (RFC 1035, section 4.1.1).
const NXDOMAIN: u16 = 3;

#[derive(Debug, Default)]
struct Asked {
    any: Distinct<u64>,
    random: Distinct<u64>,
    trail: Trail,
    told: f64,
}

/// See the module.
#[derive(Debug)]
pub struct Dga {
    random: Ladder,
    any: Ladder,
    state: Windowed<Asked>,
}

impl Dga {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            random: settings.ladder(&SPEC, &RANDOM),
            any: settings.ladder(&SPEC, &ANY),
            state: Windowed::default(),
        }
    }

    fn on_dns(&mut self, cx: &mut Cx<'_>, dns: &Dns) {
        let Some(domain) = names::registered(&dns.query) else { return };
        let asked = self.state.get_or_default(cx.slot(), cx.window());
        if !asked.any.insert(member_of(domain)) {
            return;
        }
        if names::looks_random(domain) {
            asked.random.insert(member_of(domain));
        }
        asked.trail.push(dns.about.uid);
        let (any, random) = (asked.any.len(), asked.random.len());
        let by_look = (random.saturating_mul(2) >= any).then(|| self.random.step(random));
        let by_number = self.any.step(any);
        let rungs = [self.random.at_step(by_look.unwrap_or(0)), self.any.at_step(by_number)];
        let weight = |rung: &Rung| rung.level.weight() * rung.confidence.get();
        let Some(rung) = rungs.into_iter().flatten().max_by(|a, b| weight(a).total_cmp(&weight(b))) else {
            return;
        };
        if weight(&rung) <= asked.told {
            return;
        }
        asked.told = weight(&rung);
        let uids = asked.trail.take();
        let text =
            format!("{any} domains asked for that do not exist, {random} look random, lately {domain}");
        let kind = EvidenceKind::DgaNxdomains;
        cx.emit(Finding {
            proto: Some(dns.about.proto),
            text,
            uids,
            ..ladder::finding(cx, kind, dns.about.src.addr, rung, dns.about.at)
        });
    }
}

impl Detector for Dga {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Dns(dns) = event
            && dns.rcode == Some(NXDOMAIN)
            && names::is_unicast_dns(&dns.about)
        {
            self.on_dns(cx, dns);
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.state.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.state.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slips_core::evidence::Proof;

    #[test]
    fn a_page_that_has_a_browser_ask_proves_nothing_about_its_visitor() {
        let mut bench = bench(Dga::new(&Settings::default()));
        bench.facts(slips_core::detector::Facts { src_on_link: true, ..Default::default() });
        let mut told = Vec::new();
        for n in 0..400u32 {
            let mut record = dns(&format!("xkqzvbnw{n}tr.com"), &[]);
            record.rcode = Some(3);
            told.extend(bench.feed(&Event::Dns(Box::new(record))));
        }
        assert_eq!(told.last().map(|told| told.level), Some(ThreatLevel::Critical));
        assert!(told.iter().all(|told| told.proof == Proof::Unproven));
    }
    use crate::test_traces::{bench, dns, levels};

    fn told(n: u32, name: impl Fn(u32) -> String) -> Vec<Finding> {
        let mut bench = bench(Dga::new(&Settings::default()));
        let record = |n| {
            let mut record = dns(&name(n), &[]);
            record.rcode = Some(NXDOMAIN);
            Event::Dns(Box::new(record))
        };
        (0..n).flat_map(|n| bench.feed(&record(n))).collect()
    }

    /// A name as an algorithm makes it.
    fn random(n: u32) -> String {
        let letters = b"bcdfghjklmnpqrstvwxz";
        let pick = |i: u32| char::from(letters[((n + 1) * (i * 7 + 3) % 20) as usize]);
        format!("{}{n}q.com", (0..9).map(pick).collect::<String>())
    }

    #[test]
    fn random_names_are_told_from_the_tenth() {
        assert!(told(9, random).is_empty());
        assert_eq!(levels(&told(10, random)), ["medium 0.8"]);
        assert_eq!(levels(&told(400, random)), ["medium 0.8", "high 0.8", "high 1", "critical 0.9"]);
    }

    #[test]
    fn names_of_words_are_low_until_they_are_many() {
        let words = |n: u32| {
            let word = ["house", "river", "garden", "letter", "winter"];
            format!(
                "{}{}{}.net",
                word[(n % 5) as usize],
                word[(n / 5 % 5) as usize],
                word[(n / 25 % 5) as usize]
            )
        };
        assert!(told(19, words).is_empty());
        assert_eq!(levels(&told(125, words)), ["low 0.4", "low 0.8"]);
    }

    #[test]
    fn repeats_search_domains_lists_and_private_zones_are_silent() {
        assert!(told(500, |_| "qxkzjwvbnm.com".into()).is_empty());
        assert!(told(500, |n| format!("host{n}.corp.example.org")).is_empty());
        assert!(told(500, |n| format!("{n}.1.2.3.zen.spamhaus.org")).is_empty());
        for zone in ["local", "lan", "home.arpa", "in-addr.arpa", "internal"] {
            assert!(told(500, |n| format!("qxkzj{n}.{zone}")).is_empty(), "{zone}");
        }
        assert!(told(500, |n| format!("qxkzjwvb{n}")).is_empty());
    }
}
