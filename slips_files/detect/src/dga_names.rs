//! Names as algorithms make them, by their letters alone (`DGA_NAMES`): whoever was found among the names counts too.

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Dns, Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, ThreatLevel};
use slips_core::state::Windowed;
use slips_core::time::WindowId;

use crate::ladder::{self, Ladder, rung};
use crate::steps::member_of;
use crate::tally::{Distinct, Trail};
use crate::{Settings, names};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "dga_names",
    kinds: &[EvidenceKind::DgaNames],
    events: &[EventKind::Dns],
    roles: &[Role::Src],
    thresholds: &[MADE],
    header: Header {
        detects: "Names as algorithms make them, by their letters alone (`DGA_NAMES`): whoever was found among the \
            names counts too.",
        attack: "T1568.002 Dynamic Resolution: Domain Generation Algorithms.",
        rule: "Distinct registered domains that a host of ours asks for in a window, whatever the answer: those \
            whose letters follow each other as in no language, while they are at least a third of all. `dga` \
            counts names that do not exist, of any look.",
        numbers: "A label of eight letters and more looks made when 40 % of its neighbouring letters are pairs that \
            make less than 3 in 10,000 of English text (counted in 660,000 pairs of licence texts and \
            documentation: 401 of the 676 pairs are so rare), when a third and at least four of its signs are \
            digits among letters, or when it is all hexadecimal digits. Of random labels of twelve letters 84 % \
            are found, of English words of eight letters and more 0.6 %.",
        quiet: "The made-up names of networks for content stand below a registered domain and do not count; a third \
            of all is far beyond what browsing asks for; nothing here is critical. Mail servers, which look up \
            any sender's domain, ask for words.",
        evasion: "Algorithms that put words together; short names; fewer than ten an hour; hiding among hundreds of \
            names.",
        proof: "Unproven: any page has a browser ask for any names.",
    },
};

/// Steps in domains that look made.
pub const MADE: Threshold = Threshold::steps(
    "made_domains",
    "domains that look made, asked for by one client in a window",
    Unit::Count,
    &[
        rung(10, ThreatLevel::Low, 0.5),
        rung(25, ThreatLevel::Medium, 0.7),
        rung(60, ThreatLevel::High, 0.7),
        rung(200, ThreatLevel::High, 0.9),
    ],
);

#[derive(Debug, Default)]
struct Asked {
    any: Distinct<u64>,
    made: Distinct<u64>,
    trail: Trail,
    told: u8,
}

/// See the module.
#[derive(Debug)]
pub struct DgaNames {
    made: Ladder,
    clients: Windowed<Asked>,
}

impl DgaNames {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { made: settings.ladder(&SPEC, &MADE), clients: Windowed::default() }
    }

    fn on_dns(&mut self, cx: &mut Cx<'_>, dns: &Dns) {
        let Some(domain) = names::registered(&dns.query) else { return };
        let asked = self.clients.get_or_default(cx.slot(), cx.window());
        let member = member_of(domain);
        if !asked.any.insert(member) || !names::looks_made(domain) || !asked.made.insert(member) {
            return;
        }
        asked.trail.push(dns.about.uid);
        let (any, made) = (asked.any.len(), asked.made.len());
        let step = self.made.step(made);
        if made.saturating_mul(3) < any || !ladder::climb(&mut asked.told, step) {
            return;
        }
        let Some(rung) = self.made.at_step(step) else { return };
        let uids = asked.trail.take();
        let text = format!("{made} of {any} domains asked for look made by an algorithm, lately {domain}");
        cx.emit(Finding {
            proto: Some(dns.about.proto),
            text,
            uids,
            ..ladder::finding(cx, EvidenceKind::DgaNames, dns.about.src.addr, rung, dns.about.at)
        });
    }
}

impl Detector for DgaNames {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Dns(dns) = event
            && cx.facts().src_local
            && names::is_unicast_dns(&dns.about)
        {
            self.on_dns(cx, dns);
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.clients.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.clients.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{bench, dns, levels};

    fn told(n: u32, name: impl Fn(u32) -> String) -> Vec<Finding> {
        let mut bench = bench(DgaNames::new(&Settings::default()));
        (0..n).flat_map(|n| bench.feed(&Event::Dns(Box::new(dns(&name(n), &[]))))).collect()
    }

    /// A name of twelve letters as a congruential generator makes it.
    fn made(n: u32) -> String {
        let mut state = n.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        let mut letter = || {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            char::from(b'a' + (state >> 16) as u8 % 26)
        };
        format!("{}.com", (0..12).map(|_| letter()).collect::<String>())
    }

    fn word(n: u32) -> String {
        let words = ["house", "river", "garden", "letter", "winter", "kitchen", "market"];
        let pick = |by: u32| words[(n / by % 7) as usize];
        format!("{}{}{}.net", pick(1), pick(7), pick(49))
    }

    #[test]
    fn made_names_are_told_whatever_the_answer() {
        assert!(told(10, made).is_empty(), "a few of them look like words");
        assert_eq!(levels(&told(300, made)), ["low 0.5", "medium 0.7", "high 0.7", "high 0.9"]);
        let hex =
            |n: u32| format!("{:08x}{:08x}.info", n.wrapping_mul(2_654_435_761), n.wrapping_mul(40_503));
        assert_eq!(levels(&told(10, hex)), ["low 0.5"]);
        assert!(told(9, hex).is_empty());
    }

    #[test]
    fn words_networks_for_content_and_a_few_among_many_are_silent() {
        assert!(told(340, word).is_empty());
        assert!(told(300, |n| format!("{}.cdn.example.org", made(n))).is_empty());
        assert!(told(300, |n| if n % 5 == 0 { made(n) } else { word(n) }).is_empty());
        assert!(told(300, |n| format!("{}.local", made(n))).is_empty());
    }
}
