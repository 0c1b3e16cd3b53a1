//! A name that was registered lately is asked for (`YOUNG_DOMAIN`).

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::intel::{Current, Reader};

use crate::Settings;
use crate::ladder::rung;
use crate::names;
use crate::steps::{Limits, Steps, in_steps, member_of};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "young_domain",
    kinds: &[EvidenceKind::YoungDomain],
    events: &[EventKind::Dns],
    roles: &[Role::Src],
    thresholds: &[QUESTIONS],
    header: Header {
        detects: "A name that was registered lately is asked for (`YOUNG_DOMAIN`).",
        attack: "T1583.001 Acquire Infrastructure: Domains, T1568 Dynamic Resolution.",
        rule: "The registered domain of a question that was answered is younger than sixty days, by what threat \
            intelligence knows of it ([`Intelligence::domain_age_days`]); where it knows nothing, nothing is \
            told. Distinct domains per client.",
        numbers: "Sixty days are the original's, which asks WHOIS and misses the first question because the answer \
            comes later.",
        quiet: "Info for the client; the domain is low, and weighs on nobody's address.",
        evasion: "Buying an old domain.",
        proof: "Proven when the client's hardware address owns its address.",
    },
};

/// Steps in questions for one young domain.
pub const QUESTIONS: Threshold = Threshold::steps(
    "questions",
    "questions for one young domain",
    Unit::Count,
    &[rung(1, ThreatLevel::Info, 1.0), rung(100, ThreatLevel::Info, 1.0)],
);
/// Domains of this age and older are not young.
pub const YOUNG_DAYS: u32 = 60;

/// See the module.
pub struct YoungDomain {
    intel: Reader,
    questions: Steps<u64>,
}

impl YoungDomain {
    /// With what is known about domains.
    pub fn new(settings: &Settings, intel: &Current) -> Self {
        Self {
            intel: intel.reader(),
            questions: Steps::new(settings.ladder(&SPEC, &QUESTIONS), Limits { keys: 64, weighing: 0 }),
        }
    }
}

impl Detector for YoungDomain {
    in_steps!(questions);

    fn renew(&mut self) {
        self.intel.refresh();
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::Dns(dns) = event else { return };
        let about = &dns.about;
        if dns.rcode != Some(0) || !cx.facts().src_local || !names::is_unicast_dns(about) {
            return;
        }
        let Some(domain) = names::registered(&dns.query) else { return };
        let Some(days) = self.intel.get().domain_age_days(domain).filter(|days| *days < YOUNG_DAYS) else {
            return;
        };
        let Some(reached) = self.questions.add(cx, member_of(domain), about.uid) else { return };
        let text = format!("{domain} was registered {days} days ago and is asked for, {} times", reached.n);
        let client = Finding {
            victim: Some(Entity::Domain(domain.into())),
            proto: Some(about.proto),
            text,
            proof: reached.proof,
            ..reached.finding(cx, EvidenceKind::YoungDomain, about.src.addr, about.at)
        };
        let of_domain = Finding {
            attacker: Entity::Domain(domain.into()),
            victim: None,
            level: ThreatLevel::Low,
            ..client.clone()
        };
        cx.emit(client);
        cx.emit(of_domain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, dns, levels};
    use slips_core::intel::{Intelligence, Key, Listed, NoIntelligence};
    use std::sync::Arc;

    struct Registry(u32);

    impl Intelligence for Registry {
        fn look_up(&self, _: Key<'_>) -> Option<Listed<'_>> {
            None
        }

        fn domain_age_days(&self, domain: &str) -> Option<u32> {
            (domain == "young.org").then_some(self.0)
        }
    }

    fn told(intel: impl Intelligence + 'static, query: &str) -> Vec<String> {
        let mut bench = bench(YoungDomain::new(&Settings::default(), &Current::new(Arc::new(intel))));
        levels(&(0..9).flat_map(|_| bench.feed(&Event::Dns(Box::new(dns(query, &[]))))).collect::<Vec<_>>())
    }

    #[test]
    fn a_domain_of_less_than_sixty_days_is_information() {
        assert_eq!(told(Registry(59), "www.young.org"), ["info 1", "low 1"]);
        assert!(told(Registry(60), "www.young.org").is_empty());
    }

    #[test]
    fn what_nobody_knows_is_silent() {
        assert!(told(Registry(1), "www.example.org").is_empty());
        assert!(told(NoIntelligence, "www.young.org").is_empty());
    }
}
