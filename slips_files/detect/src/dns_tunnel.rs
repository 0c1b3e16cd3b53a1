//! Data that travels in the names a client asks for (`DNS_TUNNEL`).

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Dns, Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Proto};
use slips_core::state::{PerSlot, Windowed};
use slips_core::time::{PacketTime, Span, WindowId};

use crate::Settings;
use crate::attempt;
use crate::ladder::{self, Ladder, Rung, rung};
use crate::names;
use crate::steps::member_of;
use crate::table::Table;
use crate::tally::{Distinct, Trail};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "dns_tunnel",
    kinds: &[EvidenceKind::DnsTunnel],
    events: &[EventKind::Dns, EventKind::Flow],
    roles: &[Role::Src, Role::Dst],
    thresholds: &[TUNNEL, LONG],
    header: Header {
        detects: "Data that travels in the names a client asks for (`DNS_TUNNEL`).",
        attack: "T1071.004 Application Layer Protocol: DNS, T1572 Protocol Tunneling, T1048.003 Exfiltration Over \
            Unencrypted Protocol.",
        rule: "Per client, zone (the registered part of the name) and window, the distinct names whose part below \
            the zone has at least 30 bytes with a label of at least 20; among them how long they are and how \
            many were asked for with a type that carries data (TXT, NULL, MX, CNAME, SRV, private ones).",
        numbers: "Iodine fills names up to 255 bytes with labels of 57 and more, dnscat2 and dns2tcp use labels of 60 \
            and TXT, MX or CNAME. An idle iodine sends a new name every few seconds, one that carries data \
            dozens a second. A tunnel is what has 80 bytes on average, or 45 and types that carry data in at \
            least half of the names; 300 of those are critical.",
        quiet: "Names of content networks are shorter; reputation services of virus scanners and mail filters put \
            hashes into names, they are known by their zones and stay info; what is long but no tunnel ends at \
            medium. A host that answers DNS questions itself asks for others: it stays info for an hour after \
            each answer. Only what our own hosts ask counts: resolvers outside ask a name server of ours \
            whatever a stranger has them ask.",
        evasion: "Short names, many zones, few names an hour, DNS over TLS or HTTPS; a question asked of the \
            tunnelling host itself; for the block, not for what is told: mail once a day, or types that carry no \
            data.",
        proof: "Proven by names that were asked for with a type that carries data, from the hardware address that \
            owns the client's address, if they make nine tenths of the step. Names of other types prove nothing, since a \
            web page can make any client ask for hundreds of them; nor do those of a host that was seen with \
            mail within a day, since a mail makes its filter ask for texts.",
    },
};

/// Steps in distinct names that look like a tunnel's.
pub const TUNNEL: Threshold = Threshold::steps(
    "tunnel_names",
    "names below one zone in a window that look like a tunnel",
    Unit::Count,
    &[
        rung(30, ThreatLevel::Medium, 0.8),
        rung(100, ThreatLevel::High, 0.9),
        rung(300, ThreatLevel::Critical, 0.9),
    ],
);
/// Steps in distinct names that are merely long.
pub const LONG: Threshold = Threshold::steps(
    "long_names",
    "names below one zone in a window that are merely long",
    Unit::Count,
    &[rung(100, ThreatLevel::Low, 0.5), rung(500, ThreatLevel::Medium, 0.6)],
);

/// Bytes below the zone from which on a name is looked at, and its longest label.
const LONG_NAME: usize = 30;
const LONG_LABEL: usize = 20;
/// Mean bytes of a tunnel's names; with types that carry data.
const MEAN: u64 = 80;
const MEAN_WITH_DATA: u64 = 45;
/// Zones remembered per client and window; those with the fewest names make room.
const MAX_ZONES: usize = 32;
/// How long a host that answered a question passes for a resolver.
const SERVES_FOR: Span = Span::from_secs(3600);
/// How long a host that took or delivered mail passes for a mail server, and the port of mail.
const MAIL_FOR: Span = Span::from_secs(86_400);
const MAIL_PORT: u16 = 25;
/// A, PTR, AAAA, SVCB, HTTPS: what is asked every day.
const EVERYDAY_TYPES: [u16; 5] = [1, 12, 28, 64, 65];
/// Zones in which virus scanners and mail filters look up hashes and addresses.
const REPUTATION: [&str; 14] = [
    "sophosxl.net",
    "mcafee.com",
    "e5.sk",
    "spamhaus.org",
    "spamhaus.net",
    "surbl.org",
    "uribl.com",
    "senderbase.org",
    "trendmicro.com",
    "cymru.com",
    "barracudabrts.com",
    "pphosted.com",
    "vali.email",
    "mailspike.net",
];

/// One zone that one client asks for.
#[derive(Debug, Default)]
struct Zone {
    names: Distinct<u64>,
    bytes: u64,
    with_data: u32,
    /// Those with data that the owner of the address is known to have asked for.
    proven: u32,
    trail: Trail,
    told: u8,
}

/// See the module.
#[derive(Debug)]
pub struct DnsTunnel {
    tunnel: Ladder,
    long: Ladder,
    zones: Windowed<Table<u64, Zone>>,
    /// When a host last answered a question.
    served: PerSlot<PacketTime>,
    /// When it was last seen with mail.
    mailed: PerSlot<PacketTime>,
}

/// The length below `zone`, if `name` is long enough to carry something.
fn long_part(name: &str, zone: &str) -> Option<u64> {
    let below = name.len().checked_sub(zone.len() + 1)?;
    let part = name.get(..below)?;
    let longest = part.split('.').map(str::len).max()?;
    (below >= LONG_NAME && longest >= LONG_LABEL).then_some(below as u64)
}

impl Zone {
    /// Adds a name; false when it is known.
    fn add(&mut self, dns: &Dns, bytes: u64, is_proven: bool) -> bool {
        if !self.names.insert(member_of(&dns.query)) {
            return false;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let with_data = !EVERYDAY_TYPES.contains(&dns.qtype);
        self.with_data += u32::from(with_data);
        self.proven += u32::from(with_data && is_proven);
        self.trail.push(dns.about.uid);
        true
    }

    fn mean(&self) -> u64 {
        self.bytes / u64::from(self.names.len().max(1))
    }

    /// The step that was just reached. The three of [`TUNNEL`] stand above the two of [`LONG`].
    fn climb(&mut self, tunnels: &Ladder, long: &Ladder) -> Option<Rung> {
        let n = self.names.len();
        let data = self.with_data.saturating_mul(2) >= n;
        let tunnel = self.mean() >= if data { MEAN_WITH_DATA } else { MEAN };
        let above = long.steps();
        let step = match tunnels.step(n) {
            step if tunnel && step > 0 => above + step,
            _ => long.step(n),
        };
        if !ladder::climb(&mut self.told, step) {
            return None;
        }
        if step > above { tunnels.at_step(step - above) } else { long.at_step(step) }
    }
}

impl DnsTunnel {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            tunnel: settings.ladder(&SPEC, &TUNNEL),
            long: settings.ladder(&SPEC, &LONG),
            zones: Windowed::default(),
            served: PerSlot::default(),
            mailed: PerSlot::default(),
        }
    }

    fn note_mail(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let local = match cx.role() {
            Role::Src => cx.facts().src_local,
            Role::Dst => cx.facts().dst_local,
            Role::Link => false,
        };
        // Whoever merely knocks makes no mail server of anybody.
        if flow.dst.port == MAIL_PORT
            && flow.proto == Proto::Tcp
            && local
            && flow.is_two_way()
            && flow.resp.bytes > 0
        {
            let last = self.mailed.get_or_default(cx.slot());
            *last = (*last).max(flow.seen);
        }
    }

    fn on_question(&mut self, cx: &mut Cx<'_>, dns: &Dns) {
        let query = dns.query.strip_suffix('.').unwrap_or(&dns.query);
        let Some(domain) = names::registered(query) else { return };
        let Some(bytes) = long_part(query, domain) else { return };
        let zones = self.zones.get_or_default(cx.slot(), cx.window());
        let zone = zones.get_or_insert(member_of(domain), MAX_ZONES, |zone| u64::from(zone.names.len()));
        let Some(zone) = zone else { return };
        let at = dns.about.at;
        let mails = self.mailed.get_mut(cx.slot()).is_some_and(|last| at.since(*last) <= MAIL_FOR);
        if !zone.add(dns, bytes, !mails && attempt::proof_of_source(cx.facts()) == Proof::Proven) {
            return;
        }
        let Some(mut rung) = zone.climb(&self.tunnel, &self.long) else { return };
        let serves = self.served.get_mut(cx.slot()).is_some_and(|last| at.since(*last) <= SERVES_FOR);
        let known = REPUTATION.iter().any(|zone| zone.eq_ignore_ascii_case(domain));
        if serves || known {
            rung.level = ThreatLevel::Info;
        }
        let least = if zone.names.is_bound() { "at least " } else { "" };
        let text = format!(
            "{least}{} different names below {domain} asked for, {} bytes each on average, {} of them for data",
            zone.names.len(),
            zone.mean(),
            zone.with_data
        );
        let uids = zone.trail.take();
        // The first frames of a flow may be seen on the way out before they are seen on the way in.
        let proof = attempt::proof_if(zone.proven.saturating_mul(10) >= rung.at.saturating_mul(9));
        cx.emit(Finding {
            victim: Some(Entity::Domain(domain.into())),
            proto: Some(dns.about.proto),
            uids,
            text,
            proof,
            ..ladder::finding(cx, EvidenceKind::DnsTunnel, dns.about.src.addr, rung, at)
        });
    }
}

impl Detector for DnsTunnel {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let dns = match event {
            Event::Dns(dns) => dns,
            Event::Flow(flow) => return self.note_mail(cx, flow),
            _ => return,
        };
        if !names::is_unicast_dns(&dns.about) {
            return;
        }
        match cx.role() {
            Role::Src if cx.facts().src_local => self.on_question(cx, dns),
            Role::Dst if dns.rcode.is_some() && cx.facts().dst_local => {
                let last = self.served.get_or_default(cx.slot());
                *last = (*last).max(dns.about.at);
            }
            _ => {}
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.zones.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.zones.forget(slot);
        self.served.forget(slot);
        self.mailed.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, at, bench, dns, levels};
    use slips_core::detector::Facts;

    fn asked(n: u32, qtype: u16, name: impl Fn(u32) -> String) -> Vec<Finding> {
        let mut bench = bench(DnsTunnel::new(&Settings::default()));
        let question = |n| Dns { qtype, ..dns(&name(n), &[]) };
        (0..n).flat_map(|n| bench.feed(&Event::Dns(Box::new(question(n))))).collect()
    }

    /// As iodine and dnscat2 name things.
    fn encoded(n: u32, labels: usize) -> String {
        let label = format!("{n:08x}{}", "q7w2k9x4".repeat(5));
        format!("{}.t.tunnel-zone.com", vec![label; labels].join("."))
    }

    #[test]
    fn a_tunnel_climbs_to_critical() {
        assert!(asked(29, 10, |n| encoded(n, 2)).is_empty());
        assert_eq!(levels(&asked(30, 10, |n| encoded(n, 2))), ["medium 0.8"]);
        assert_eq!(levels(&asked(299, 1, |n| encoded(n, 2))), ["medium 0.8", "high 0.9"]);
        assert_eq!(levels(&asked(2000, 1, |n| encoded(n, 2))), ["medium 0.8", "high 0.9", "critical 0.9"]);
        assert_eq!(levels(&asked(300, 16, |n| encoded(n, 1))), ["medium 0.8", "high 0.9", "critical 0.9"]);
    }

    #[test]
    fn what_is_merely_long_ends_at_medium() {
        assert_eq!(levels(&asked(2000, 1, |n| encoded(n, 1))), ["low 0.5", "medium 0.6"]);
    }

    #[test]
    fn everyday_names_are_silent() {
        let silent = |name: fn(u32) -> String| assert!(asked(3000, 1, name).is_empty(), "{}", name(1));
        silent(|n| format!("d{n:013x}.cloudfront.net"));
        silent(|n| format!("r{n}---sn-4g5e6nz7.googlevideo.com"));
        silent(|n| format!("{n}.1.168.192.in-addr.arpa"));
        silent(|_| encoded(1, 2));
        silent(|n| format!("{}.{n}.a-very-long-name-of-a-printer-in-the-hall.local", "x".repeat(40)));
    }

    #[test]
    fn reputation_services_are_info() {
        let hashed = |n: u32| format!("{}{n:08x}.4.p.f.x.sophosxl.net", "7".repeat(48));
        assert!(asked(1000, 16, hashed).iter().all(|told| told.level == ThreatLevel::Info));
    }

    #[test]
    fn a_resolver_asks_for_others() {
        let mut bench = bench(DnsTunnel::new(&Settings::default()));
        let mut served = dns("www.example.org", &[]);
        (served.about.src.addr, served.about.dst.addr) = (at("192.168.1.9"), at("192.168.1.5"));
        bench.feed(&Event::Dns(Box::new(served)));
        let told: Vec<Finding> =
            (0..400).flat_map(|n| bench.feed(&Event::Dns(Box::new(dns(&encoded(n, 2), &[]))))).collect();
        assert_eq!(told.len(), 3);
        assert!(told.iter().all(|told| told.level == ThreatLevel::Info));
    }

    #[test]
    fn a_resolver_outside_is_silent_and_nothing_is_proven() {
        let told = |src: &str| {
            let mut bench = bench(DnsTunnel::new(&Settings::default()));
            let ask = |n| {
                let mut question = dns(&encoded(n, 2), &[]);
                question.about.src.addr = at(src);
                Event::Dns(Box::new(question))
            };
            (0..400).flat_map(|n| bench.feed(&ask(n))).collect::<Vec<Finding>>()
        };
        assert!(told("8.8.8.8").is_empty());
        assert!(told("192.168.1.5").iter().all(|told| told.proof == Proof::Unproven));
    }

    #[test]
    fn data_that_the_owner_of_the_address_asks_for_is_proven() {
        let proofs = |on_link: u32, qtype: u16, mail: bool| {
            let mut bench = bench(DnsTunnel::new(&Settings::default()));
            if mail {
                let talk = Talk::tcp("192.168.1.5", "203.0.113.25", 25).carrying(4000, 900);
                bench.feed(&talk.event());
            }
            let mut told = Vec::new();
            for n in 0..400 {
                bench.facts(Facts { src_local: true, src_on_link: n < on_link, ..Facts::default() });
                told.extend(bench.feed(&Event::Dns(Box::new(Dns { qtype, ..dns(&encoded(n, 2), &[]) }))));
            }
            told.iter().map(|told| told.proof).collect::<Vec<_>>()
        };
        use Proof::{Proven, Unproven};
        assert_eq!(proofs(400, 10, false), [Proven; 3]);
        assert_eq!(proofs(270, 10, false), [Proven, Proven, Proven]);
        assert_eq!(proofs(269, 10, false), [Proven, Proven, Unproven]);
        assert_eq!(proofs(400, 1, false), [Unproven; 3]);
        assert_eq!(proofs(400, 16, true), [Unproven; 3]);
    }

    #[test]
    fn many_zones_are_bounded_and_hide_none() {
        let name = |n: u32| {
            if n.is_multiple_of(3) { encoded(n, 2) } else { format!("{}.zone{n}.com", "y".repeat(50)) }
        };
        assert_eq!(levels(&asked(3000, 10, name)).last().map(String::as_str), Some("critical 0.9"));
    }
}
