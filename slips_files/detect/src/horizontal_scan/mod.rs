//! Horizontal port scan: one source fails at the same port of many hosts.

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Facts, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Notice};
use slips_core::evidence::{EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Outcome, Phase, Proto};
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::ladder::{self, Ladder, Rung, Told, rung};
use crate::table::Table;
use crate::tally::{Distinct, Pace, Trail};
use crate::{Settings, attempt, web, zeek_notice};

#[cfg(test)]
mod tests;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "horizontal_port_scan",
    kinds: &[EvidenceKind::HorizontalPortScan],
    events: &[EventKind::Flow, EventKind::Notice],
    roles: &[Role::Src, Role::Dst],
    thresholds: &[TCP, UDP, UDP_OUTWARDS, FAST, FAST_WORM, MANY],
    header: Header {
        detects: "Horizontal port scan: one source fails at the same port of many hosts.",
        attack: "T1046 Network Service Discovery, T1018 Remote System Discovery; T1595.001 Active Scanning when the \
            source is remote.",
        rule: "Per source, window, destination port and transport, the distinct hosts at which an attempt failed \
            (for TCP also one without SYN). Flows whose direction was swapped after the fact (`^` in the \
            history) are not counted: old connections reappear half-open when a laptop roams. Hosts that let the source in, where \
            it says nothing and leaves, count up to the second step. Zeek's `Scan::Address_Scan` notices raise the same evidence.",
        numbers: "The first step at 10 hosts is what the original does in effect. Critical are 200 hosts within five \
            to ten minutes (the slowest of the usual worms and masscan's default need seconds to two minutes), \
            or 1,000 in a window; 40 at the ports of worms. Critical is told again every two minutes while \
            attempts go on.",
        quiet: "- a host with which a local client lately talked is no discovery: monitoring and browsers whose \
            uplink fails are silent; peer-to-peer programs fail at many hosts, but at many ports too: with 50 \
            failing ports or more, a port with less than a quarter of the failures stays at the first step; \
            crawlers succeed too: with half as many hosts that let it in as failed ones it stays below critical, \
            except at the ports of worms; a household whose IPv6 leads nowhere tries it first for every web \
            site: ports 80 and 443 outwards stay below critical up to 1,000 silent hosts; mail servers that \
            cannot deliver (port 25 outwards) stay below critical; unanswered datagrams to outside hosts are \
            weak (peer-to-peer, games): they end at medium, and DNS, NTP, QUIC and STUN are not counted at all.",
        evasion: "Fewer than ten hosts per port and window; many sources; a mix of very many ports (which the vertical \
            scan sees where hosts repeat); targets known to be open.",
        proof: "As for the vertical scan: the proven attempts alone must reach the step, at its pace. Outwards only those count \
            that no web page can have a browser make, as there, or that come after the same host spoke SMB, RDP, DCE/RPC, \
            PostgreSQL or Redis with five outside hosts at the same port.",
    },
};

/// Steps for TCP. The fourth needs [`FAST`] or [`MANY`]; at worms' ports [`FAST_WORM`] is enough for it.
pub const TCP: Threshold = Threshold::steps(
    "hosts",
    "hosts at which one source fails at one TCP port in a window",
    Unit::Count,
    &[
        rung(10, ThreatLevel::Medium, 0.6),
        rung(30, ThreatLevel::Medium, 0.8),
        rung(100, ThreatLevel::High, 0.9),
        rung(200, ThreatLevel::Critical, 1.0),
    ],
)
.within(2, 1_000_000);
/// Steps for UDP to our own hosts. The fourth needs [`FAST`] or [`MANY`].
pub const UDP: Threshold = Threshold::steps(
    "udp_hosts",
    "hosts at which one source fails at one UDP port in a window",
    Unit::Count,
    &[
        rung(10, ThreatLevel::Low, 0.5),
        rung(30, ThreatLevel::Medium, 0.6),
        rung(100, ThreatLevel::High, 0.7),
        rung(300, ThreatLevel::Critical, 0.9),
    ],
)
.within(2, 1_000_000);
/// Steps for UDP to outside hosts.
pub const UDP_OUTWARDS: Threshold = Threshold::steps(
    "udp_hosts_outside",
    "outside hosts at which one source fails at one UDP port in a window",
    Unit::Count,
    &[rung(50, ThreatLevel::Low, 0.4), rung(200, ThreatLevel::Medium, 0.5)],
);

/// The period of the pace: one to two of these are looked at.
const MINUTES: Span = Span::from_secs(300);
/// Hosts within five to ten minutes that make it critical.
pub const FAST: Threshold =
    Threshold::number("fast_hosts", "hosts within five to ten minutes that are critical", Unit::Count, 200);
/// Ports that nobody but the worms of devices and of Windows looks for at many hosts: telnet, SMB, Android's debugger, and the
/// management ports of routers. The reference capture of such a bot fails at 131 hosts in 134 s, over four ports.
pub const WORM_PORTS: [u16; 7] = [23, 2323, 445, 5555, 7547, 37_215, 52_869];
/// Hosts within five to ten minutes that make it critical at such a port.
pub const FAST_WORM: Threshold = Threshold::number(
    "fast_worm_hosts",
    "hosts within five to ten minutes that are critical at the ports of worms",
    Unit::Count,
    40,
);
/// Hosts in a window that make it critical at any pace.
pub const MANY: Threshold =
    Threshold::number("many_hosts", "hosts in a window that are critical at any pace", Unit::Count, 1000);
/// The step before the critical one.
const BELOW_CRITICAL: u8 = 3;
/// The step at which visits end at which nothing is said: monitoring looks at hundreds of hosts at once when it begins.
const VISITS_STEP: u8 = 2;
/// The step that a peer-to-peer program does not pass, and what makes one.
const SCATTERED_STEP: u8 = 1;
const SCATTERED_PORTS: u32 = 50;
const SCATTERED_SHARE: u32 = 4;
/// Outward datagrams to these ports fail every day: DNS, NTP, QUIC, STUN.
const UDP_OUTWARDS_IGNORED: [u16; 4] = [53, 123, 443, 3478];
const SMTP: u16 = 25;
const WEB: [u16; 2] = [80, 443];

/// Ports remembered per source and window; those with the fewest hosts make room.
const MAX_PORTS: usize = 256;

/// One source in one window.
#[derive(Debug, Default)]
struct Sweeps {
    ports: Table<(u16, Proto), Sweep>,
    /// Distinct destination ports of failed TCP attempts, and distinct pairs of port and host.
    tcp_ports: Distinct<u16>,
    tcp_pairs: u32,
}

/// One destination port.
#[derive(Debug, Default)]
struct Sweep {
    failed: Hosts,
    /// Outside hosts to which datagrams went.
    outwards: Hosts,
    /// Hosts that refused.
    refused: u32,
    /// Hosts that let the source in, since the first failure.
    succeeded: Distinct<IpAddr>,
    /// Hosts that let it in and heard nothing.
    visited: Distinct<IpAddr>,
    /// Outside hosts with which a program that is no browser spoke.
    spoken: Distinct<IpAddr>,
    trail: Trail,
    told: Told,
    /// The step that the proven attempts reached alone.
    proven: u8,
}

/// Hosts, and those of them that a proven source tried.
#[derive(Debug, Default)]
struct Hosts {
    all: Distinct<IpAddr>,
    pace: Pace,
    /// A forwarded packet may be seen on its way out first: then a later event of its flow tells whose frame it was.
    proven: Distinct<IpAddr>,
    proven_pace: Pace,
}

/// What a failure brought to what is counted.
#[derive(Clone, Copy, Debug)]
struct Added {
    /// A host that was not known.
    new: bool,
    /// The first proof that its source tried this host.
    proven: bool,
}

impl Hosts {
    /// Adds a host. `programs`: no page causes what is tried at this port.
    fn insert(&mut self, flow: &Flow, facts: Facts, programs: bool) -> Added {
        let new = self.all.insert(flow.dst.addr);
        if new {
            self.pace.add(flow.start, 1, MINUTES);
        }
        let own = attempt::is_own(flow, facts) || (programs && attempt::is_proven(flow, facts));
        let proven = own && self.proven.insert(flow.dst.addr);
        if proven {
            self.proven_pace.add(flow.start, 1, MINUTES);
        }
        Added { new, proven }
    }
}

/// The thresholds that hold.
#[derive(Clone, Copy, Debug)]
struct Rules {
    tcp: Ladder,
    udp: Ladder,
    udp_outwards: Ladder,
    fast: u32,
    fast_worm: u32,
    many: u32,
}

/// See the module.
#[derive(Debug)]
pub struct HorizontalScan {
    rules: Rules,
    state: Windowed<Sweeps>,
}

impl HorizontalScan {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        let rules = Rules {
            tcp: settings.ladder(&SPEC, &TCP),
            udp: settings.ladder(&SPEC, &UDP),
            udp_outwards: settings.ladder(&SPEC, &UDP_OUTWARDS),
            fast: settings.number(&SPEC, &FAST),
            fast_worm: settings.number(&SPEC, &FAST_WORM),
            many: settings.number(&SPEC, &MANY),
        };
        Self { rules, state: Windowed::default() }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow, facts: Facts) {
        if !matches!(flow.proto, Proto::Tcp | Proto::Udp) {
            return;
        }
        let key = (flow.dst.port, flow.proto);
        if web::is_of_a_program(flow, facts) {
            let sweeps = self.state.get_or_default(cx.slot(), cx.window());
            if let Some(sweep) = sweeps.ports.get_or_insert(key, MAX_PORTS, Sweep::hosts) {
                sweep.spoken.insert(flow.dst.addr);
            }
        }
        if attempt::is_silent_visit(flow) {
            return self.on_visit(cx, flow, facts);
        }
        if !attempt::failed(flow) && !attempt::is_blind_probe(flow) {
            if matches!(flow.phase, Phase::Established | Phase::End)
                && flow.outcome() == Outcome::Established
                && let Some(sweeps) = self.state.get_mut(cx.slot(), cx.window())
                && let Some(sweep) = sweeps.ports.get_mut(&key)
            {
                sweep.succeeded.insert(flow.dst.addr);
            }
            return;
        }
        if !counts(flow, facts) || !attempt::between_hosts(flow) {
            return;
        }
        let sweeps = self.state.get_or_default(cx.slot(), cx.window());
        let Some(sweep) = sweeps.ports.get_or_insert(key, MAX_PORTS, Sweep::hosts) else { return };
        let Added { new, proven } = sweep.add(flow, facts);
        if !new && !proven && !attempt::is_new_attempt(flow) {
            return;
        }
        let scattered = flow.proto == Proto::Tcp && {
            sweeps.tcp_ports.insert(flow.dst.port);
            sweeps.tcp_pairs = sweeps.tcp_pairs.saturating_add(u32::from(new));
            sweeps.tcp_ports.len() >= SCATTERED_PORTS
                && sweep.failed.all.len().saturating_mul(SCATTERED_SHARE) < sweeps.tcp_pairs
        };
        let Some((rung, proof)) = sweep.climb(flow, facts, &self.rules, scattered) else { return };
        let hosts = sweep.hosts();
        let bound = sweep.failed.all.is_bound() || sweep.outwards.all.is_bound();
        let least = if bound { "at least " } else { "" };
        let text = format!(
            "horizontal port scan: port {}/{} failed at {least}{hosts} hosts",
            flow.dst.port, flow.proto
        );
        cx.emit(Finding {
            dst_port: Some(flow.dst.port),
            proto: Some(flow.proto),
            uids: sweep.trail.take(),
            text,
            proof,
            ..ladder::finding(cx, EvidenceKind::HorizontalPortScan, flow.src.addr, rung, flow.seen)
        });
    }

    /// A host that let the source in, where it said nothing: who looks whether services live does that, too.
    fn on_visit(&mut self, cx: &mut Cx<'_>, flow: &Flow, facts: Facts) {
        if (facts.src_local && facts.dst_talked) || flow.was_flipped() || !attempt::between_hosts(flow) {
            return;
        }
        let sweeps = self.state.get_or_default(cx.slot(), cx.window());
        let Some(sweep) = sweeps.ports.get_or_insert((flow.dst.port, flow.proto), MAX_PORTS, Sweep::hosts)
        else {
            return;
        };
        if !sweep.visited.insert(flow.dst.addr) {
            return;
        }
        sweep.trail.push(flow.uid);
        let step = self.rules.tcp.step(sweep.visited.len()).min(VISITS_STEP);
        if step <= sweep.told.step() {
            return;
        }
        let proof = attempt::proof_if(flow.is_two_way() && !web::can_cause(flow, facts));
        let Some(rung) = sweep.told.climb(&self.rules.tcp, step, proof, 1, flow.seen) else { return };
        let text = format!(
            "horizontal port scan: port {}/tcp of {} hosts was opened, and nothing said",
            flow.dst.port,
            sweep.visited.len()
        );
        cx.emit(Finding {
            dst_port: Some(flow.dst.port),
            proto: Some(flow.proto),
            uids: sweep.trail.take(),
            text,
            proof,
            ..ladder::finding(cx, EvidenceKind::HorizontalPortScan, flow.src.addr, rung, flow.seen)
        });
    }

    fn on_notice(&mut self, cx: &mut Cx<'_>, notice: &Notice) {
        if !zeek_notice::is(notice, "Address_Scan") {
            return;
        }
        let (port, proto) = zeek_notice::port_of(notice);
        let (Some(port), proto) = (port, proto.unwrap_or(Proto::Tcp)) else { return };
        let sweeps = self.state.get_or_default(cx.slot(), cx.window());
        let Some(sweep) = sweeps.ports.get_or_insert((port, proto), MAX_PORTS, Sweep::hosts) else { return };
        // Zeek tells once, at its own threshold (25 hosts in 5 minutes), and is silent about the rest.
        let hosts = zeek_notice::number_after(&notice.msg, "at least ").unwrap_or(0);
        let step = self.rules.tcp.step(hosts).max(BELOW_CRITICAL);
        let Some(rung) = sweep.told.climb(&self.rules.tcp, step, Proof::Unproven, 0, notice.at) else {
            return;
        };
        cx.emit(Finding {
            dst_port: Some(port),
            proto: Some(proto),
            text: format!("horizontal port scan of port {port}/{proto}, by Zeek: {}", notice.msg),
            ..ladder::finding(cx, EvidenceKind::HorizontalPortScan, cx.profile(), rung, notice.at)
        });
    }
}

/// To an outside host; also between two of them, where a capture does not tell which side is ours.
const fn is_outwards(facts: Facts) -> bool {
    !facts.dst_local
}

/// Whether a failure says anything about looking for hosts.
fn counts(flow: &Flow, facts: Facts) -> bool {
    let outage = facts.src_local && facts.dst_talked;
    let everyday = flow.proto == Proto::Udp
        && (attempt::looks_like_answer(flow, facts)
            || (is_outwards(facts) && UDP_OUTWARDS_IGNORED.contains(&flow.dst.port)));
    !flow.was_flipped() && !outage && !everyday
}

impl Sweep {
    fn hosts(&self) -> u64 {
        u64::from(self.failed.all.len()) + u64::from(self.outwards.all.len())
    }

    /// Counts the host; false when it is known already.
    fn add(&mut self, flow: &Flow, facts: Facts) -> Added {
        self.trail.push(flow.uid);
        let programs = web::is_programs_port(self.spoken.len());
        if flow.proto == Proto::Udp && is_outwards(facts) {
            return self.outwards.insert(flow, facts, programs);
        }
        let added = self.failed.insert(flow, facts, programs);
        let refused = flow.phase == Phase::Rejected || flow.resp.pkts > 0;
        self.refused += u32::from(added.new && refused);
        added
    }

    /// The step to tell, if any, and whether the proven attempts alone reach it.
    fn climb(&mut self, flow: &Flow, facts: Facts, rules: &Rules, scattered: bool) -> Option<(Rung, Proof)> {
        let highest = self.highest(flow, facts, rules, scattered);
        let (hosts, outwards) = (&self.failed, &self.outwards);
        let step = rules.step(flow, hosts.all.len(), &hosts.pace).min(highest);
        // The pace of what goes on may fall: hosts that are known count once. What was told stands.
        let stands = step.max(self.told.step().min(highest));
        self.proven = self.proven.max(rules.step(flow, hosts.proven.len(), &hosts.proven_pace));
        // The two ladders of UDP share one evidence; the outward one never reaches beyond the inner one's second step.
        let outside = |hosts| rules.udp_outwards.step(hosts);
        let step_outside = outside(outwards.all.len());
        let (ladder, step, proven) = if step_outside > stands {
            let inner = rules.udp.step(hosts.all.len()) > 0;
            let ladder = if inner { rules.ladder(flow) } else { &rules.udp_outwards };
            (ladder, step_outside, outside(outwards.proven.len()) >= step_outside)
        } else {
            (rules.ladder(flow), stands, self.proven >= stands)
        };
        let proof = attempt::proof_if(proven);
        let rung = self.told.climb(ladder, step, proof, 1, flow.seen)?;
        Some((rung, proof))
    }

    /// The highest step that innocent explanations leave.
    fn highest(&self, flow: &Flow, facts: Facts, rules: &Rules, scattered: bool) -> u8 {
        let hosts = self.failed.all.len();
        let crawls = !is_worms(flow) && self.succeeded.len().saturating_mul(2) >= hosts;
        let mail = flow.dst.port == SMTP && is_outwards(facts);
        let few = self.refused < rules.fast && hosts <= rules.many;
        let web = WEB.contains(&flow.dst.port) && is_outwards(facts) && few;
        if scattered {
            SCATTERED_STEP
        } else if crawls || mail || web {
            BELOW_CRITICAL
        } else {
            BELOW_CRITICAL + 1
        }
    }
}

fn is_worms(flow: &Flow) -> bool {
    flow.proto == Proto::Tcp && WORM_PORTS.contains(&flow.dst.port)
}

impl Rules {
    fn ladder(&self, flow: &Flow) -> &Ladder {
        if flow.proto == Proto::Tcp { &self.tcp } else { &self.udp }
    }

    /// The step that so many hosts at this pace reach.
    fn step(&self, flow: &Flow, hosts: u32, pace: &Pace) -> u8 {
        let worms = is_worms(flow);
        let fast = pace.sum() >= if worms { self.fast_worm } else { self.fast };
        let step = self.ladder(flow).step(hosts);
        match (worms, fast) {
            (true, true) => BELOW_CRITICAL + 1,
            _ if fast || hosts >= self.many => step,
            _ => step.min(BELOW_CRITICAL),
        }
    }
}

impl Detector for HorizontalScan {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        match event {
            Event::Flow(flow) if cx.role() == Role::Src => self.on_flow(cx, flow, cx.facts()),
            Event::Flow(flow) => {
                if let Some((flow, facts)) = attempt::turned(flow, cx.facts()) {
                    self.on_flow(cx, &flow, facts);
                }
            }
            Event::Notice(notice) if cx.role() == Role::Src => self.on_notice(cx, notice),
            _ => {}
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.state.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.state.forget(slot);
    }
}
