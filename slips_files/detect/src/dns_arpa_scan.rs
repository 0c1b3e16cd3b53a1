//! Many reverse lookups within two seconds: who lives in this network? (`DNS_ARPA_SCAN`)
//!
//! * ATT&CK: T1590.002 Gather Victim Network Information: DNS, T1018 Remote System Discovery.
//! * Rule: distinct names below `in-addr.arpa` and `ip6.arpa` that one client asked for within any two seconds.
//! * Numbers: 10 within 2 s is the original's, with medium 0.7; its clock never restarts, so that one early lookup hides all.
//! * Why false positives stay out: whoever prints connections with names (netstat, a firewall's log page) asks for dozens at once:
//!   low up to fifty.
//! * Evasion: slower.
//! * Proof: proven when the client's hardware address owns its address.

use slips_core::detector::{Closing, Cx, Detector, Role, Slot, Spec};
use slips_core::event::{Dns, Event, EventKind};
use slips_core::evidence::{EvidenceKind, Finding, ThreatLevel};
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::ladder::{self, Rung, rung};
use crate::steps::member_of;
use crate::tally::{Lately, Trail};
use crate::{attempt, names};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "dns_arpa_scan",
    kinds: &[EvidenceKind::DnsArpaScan],
    events: &[EventKind::Dns],
    roles: &[Role::Src],
};

/// Steps in names within [`WITHIN`].
pub const NAMES: [Rung; 3] =
    [rung(10, ThreatLevel::Low, 0.7), rung(50, ThreatLevel::Medium, 0.7), rung(200, ThreatLevel::High, 0.7)];
/// See [`NAMES`].
pub const WITHIN: Span = Span::from_secs(2);

#[derive(Debug, Default)]
struct Asked {
    lately: Lately<u64>,
    trail: Trail,
    told: u8,
}

/// See the module.
#[derive(Debug, Default)]
pub struct DnsArpaScan {
    state: Windowed<Asked>,
}

impl DnsArpaScan {
    fn on_dns(&mut self, cx: &mut Cx<'_>, dns: &Dns) {
        let asked = self.state.get_or_default(cx.slot(), cx.window());
        let n = asked.lately.insert(member_of(&dns.query), dns.about.at, WITHIN, NAMES[2].at as usize);
        asked.trail.push(dns.about.uid);
        let step = ladder::step(&NAMES, NAMES[0].at, n);
        if ladder::climb(&mut asked.told, step)
            && let Some(rung) = ladder::at_step(&NAMES, step)
        {
            let uids = asked.trail.take();
            let kind = EvidenceKind::DnsArpaScan;
            cx.emit(Finding {
                proto: Some(dns.about.proto),
                text: format!("reverse lookups of {n} addresses within {} s", WITHIN.0 / 1_000_000),
                uids,
                proof: attempt::proof_of_source(cx.facts()),
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
        let mut bench = bench(DnsArpaScan::default());
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
