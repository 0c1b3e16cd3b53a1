//! Many reverse lookups within two seconds: who lives in this network? (`DNS_ARPA_SCAN`)

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Dns, Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, ThreatLevel};
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::Settings;
use crate::attempt::Doubtful;
use crate::ladder::{self, Ladder, rung};
use crate::names;
use crate::steps::member_of;
use crate::tally::{Lately, Trail};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "dns_arpa_scan",
    kinds: &[EvidenceKind::DnsArpaScan],
    events: &[EventKind::Dns],
    roles: &[Role::Src],
    thresholds: &[NAMES, WITHIN],
    header: Header {
        detects: "Many reverse lookups within two seconds: who lives in this network? (`DNS_ARPA_SCAN`)",
        attack: "T1590.002 Gather Victim Network Information: DNS, T1018 Remote System Discovery.",
        rule: "Distinct names below `in-addr.arpa` and `ip6.arpa` that one client asked for within any two seconds.",
        numbers: "10 within 2 s is the original's, with medium 0.7; its clock never restarts, so that one early lookup \
            hides all.",
        quiet: "Whoever prints connections with names (netstat, a firewall's log page) asks for dozens at once: low \
            up to fifty.",
        evasion: "Slower.",
        proof: "Proven when the client's hardware address owns its address.",
    },
};

/// Steps in names within [`WITHIN`].
pub const NAMES: Threshold = Threshold::steps(
    "names",
    "reverse lookups of one client within that time",
    Unit::Count,
    &[rung(10, ThreatLevel::Low, 0.7), rung(50, ThreatLevel::Medium, 0.7), rung(200, ThreatLevel::High, 0.7)],
)
.within(1, 320);
/// See [`NAMES`].
pub const WITHIN: Threshold =
    Threshold::number("within", "for the distinct names", Unit::Seconds, 2).within(1, 3600);

/// Names remembered of one client: no step is above.
const MOST_LATELY: usize = 320;

#[derive(Debug, Default)]
struct Asked {
    lately: Lately<u64>,
    doubtful: Doubtful,
    trail: Trail,
    told: u8,
}

/// See the module.
#[derive(Debug)]
pub struct DnsArpaScan {
    names: Ladder,
    within: Span,
    state: Windowed<Asked>,
}

impl DnsArpaScan {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            names: settings.ladder(&SPEC, &NAMES),
            within: settings.span(&SPEC, &WITHIN),
            state: Windowed::default(),
        }
    }

    fn on_dns(&mut self, cx: &mut Cx<'_>, dns: &Dns) {
        let asked = self.state.get_or_default(cx.slot(), cx.window());
        let n = asked.lately.insert(member_of(&dns.query), dns.about.at, self.within, MOST_LATELY);
        asked.doubtful.count(cx.facts());
        asked.trail.push(dns.about.uid);
        let step = self.names.step(n);
        if ladder::climb(&mut asked.told, step)
            && let Some(rung) = self.names.at_step(step)
        {
            let proof = asked.doubtful.proof(n);
            let uids = asked.trail.take();
            let kind = EvidenceKind::DnsArpaScan;
            cx.emit(Finding {
                proto: Some(dns.about.proto),
                text: format!("reverse lookups of {n} addresses within {} s", self.within.0 / 1_000_000),
                uids,
                proof,
                ..ladder::finding(cx, kind, dns.about.src.addr, rung, dns.about.at)
            });
        }
    }
}

impl Detector for DnsArpaScan {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Dns(dns) = event
            && (dns.query.ends_with(".in-addr.arpa") || dns.query.ends_with(".ip6.arpa"))
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
    use crate::test_traces::{bench, dns, levels, secs};

    fn told(n: i64, per_second: i64, name: impl Fn(i64) -> String) -> Vec<Finding> {
        let mut bench = bench(DnsArpaScan::new(&Settings::default()));
        let record = |n| {
            let mut record = dns(&name(n), &[]);
            record.about.at = secs(n / per_second);
            Event::Dns(Box::new(record))
        };
        (0..n).flat_map(|n| bench.feed(&record(n))).collect()
    }

    #[test]
    fn the_tenth_name_is_told_and_a_sweep_is_high() {
        let reverse = |n: i64| format!("{n}.1.168.192.in-addr.arpa");
        assert!(told(9, 100, reverse).is_empty());
        assert_eq!(levels(&told(10, 100, reverse)), ["low 0.7"]);
        assert_eq!(levels(&told(250, 250, reverse)), ["low 0.7", "medium 0.7", "high 0.7"]);
        assert!(told(500, 2, reverse).is_empty(), "slow");
    }

    #[test]
    fn repeats_and_forward_lookups_are_silent() {
        assert!(told(100, 100, |_| "1.1.168.192.in-addr.arpa".into()).is_empty());
        assert!(told(100, 100, |n| format!("www{n}.example.org")).is_empty());
    }
}
