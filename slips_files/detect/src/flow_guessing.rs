//! Passwords guessed where nobody can read along (`PASSWORD_GUESSING`): what logins look like from outside, by flow behaviour;
//! and guessing that is slow, or that many sources share, as the server sees it.

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{About, Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::exchange::AuthOutcome;
use slips_core::flow::{Flow, Phase, Proto, Uid};
use slips_core::state::{PerSlot, Windowed};
use slips_core::time::{PacketTime, Span, WindowId};

use crate::ladder::{self, Ladder, Told, rung};
use crate::steps::member_of_ip;
use crate::table::Table;
use crate::tally::{Distinct, Pace, Trail};
use crate::{Settings, attempt};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "flow_guessing",
    kinds: &[EvidenceKind::PasswordGuessing],
    events: &[EventKind::Flow, EventKind::Auth, EventKind::Ssh],
    roles: &[Role::Src, Role::Dst],
    thresholds: &[OUTSIDE, INSIDE, SLOW, TOGETHER],
    header: Header {
        detects: "Passwords guessed where nobody can read along (`PASSWORD_GUESSING`): what logins look like from \
            outside, by flow behaviour; and guessing that is slow, or that many sources share, as the server \
            sees it.",
        attack: "T1110.001 Password Guessing, T1110.003 Password Spraying, T1110.004 Credential Stuffing.",
        rule: "By behaviour: connections to a port of logins (FTP, telnet, SMB, POP3, IMAP, mail submission, RDP, \
            VNC, WinRM, databases) that both sides used and that ended within 30 s, nearly all of one size: at \
            least 70 % of the answers in one class of size. Per source, server and port in a window. Where \
            logins can be read, or SSH is spoken, the other detections judge and this one keeps silent. The \
            server's side: refused logins and SSH sessions that failed, and connections as above. Slow: of one \
            source over half a day to a day, in six different hours. Together: of twenty sources within a \
            window, two each at least.",
        numbers: "A wrong password takes hydra, ncrack or medusa a connection each, or one for three to six. From \
            outside 40 are medium, 80 high, 160 critical when 60 of them fell within one to two minutes. Slow: \
            30 medium, 100 high; a program with an old password tries every few minutes day and night too, so \
            never critical.",
        quiet: "Databases are high at most, and so are mail and FTP but for a storm of 240 within one to two minutes \
            of which eight in ten answers are of one size within 64 bytes: many mailboxes that are polled from \
            behind one address answer differently. Between our own hosts, and outwards, databases and mail are used by \
            connections that all look alike: low there. Sizes that vary are use. Nobody is blamed for what many sources did together.",
        evasion: "Answers of varying size; mail over TLS with less than 240 guesses within one to two minutes ends at \
            high; forms in web pages over TLS; less than 30 attempts a day and source.",
        proof: "Proven, a connection over TCP that carried data both ways.",
    },
};

/// Steps in connections alike from outside. The last one needs a pace: see `FAST`.
pub const OUTSIDE: Threshold = Threshold::steps(
    "from_outside",
    "short connections, all alike, of one source outside with one login of ours in a window",
    Unit::Count,
    &[
        rung(40, ThreatLevel::Medium, 0.6),
        rung(80, ThreatLevel::High, 0.7),
        rung(160, ThreatLevel::Critical, 0.9),
    ],
);
/// The same between our own hosts and outwards, with the pace of `FAST`.
pub const INSIDE: Threshold = Threshold::steps(
    "from_inside",
    "the same of one of our hosts, inside or outwards",
    Unit::Count,
    &[rung(80, ThreatLevel::Low, 0.5), rung(320, ThreatLevel::Low, 0.8)],
);
/// Steps in failures of one source within half a day to a day.
pub const SLOW: Threshold = Threshold::steps(
    "slow",
    "failures of one source at one server within half a day to a day",
    Unit::Count,
    &[rung(30, ThreatLevel::Medium, 0.7), rung(100, ThreatLevel::High, 0.7)],
);
/// Steps in sources that one server refused within a window.
pub const TOGETHER: Threshold = Threshold::steps(
    "sources",
    "sources that one server refuses in a window",
    Unit::Count,
    &[rung(20, ThreatLevel::Low, 0.6), rung(100, ThreatLevel::Medium, 0.7)],
);

/// Connections within one to two minutes that no user makes.
const FAST: u32 = 60;
const MINUTE: Span = Span::from_secs(60);
/// The step of [`OUTSIDE`] that slower ones do not pass.
const PATIENT_STEP: u8 = 2;
/// A login that failed is over by then.
const SHORT: Span = Span::from_secs(30);
/// Bytes of a session that was used rather than refused.
const USED: u64 = 20_000;
/// Hours in which a slow guesser was there.
const SLOW_HOURS: u32 = 6;
const HOUR: i64 = 3600 * 1_000_000;
const HALF_DAY: i64 = 12 * HOUR;
/// Servers per source, slow sources per server; those with the fewest attempts make room.
const MAX_SERVERS: usize = 16;
const MAX_SOURCES: usize = 256;
/// Classes of size: powers of the square root of two.
const CLASSES: usize = 32;

const PORTS: [u16; 27] = [
    21, 23, 110, 139, 143, 445, 465, 513, 587, 990, 993, 995, 1433, 1521, 2323, 3306, 3389, 5432, 5900, 5901,
    5902, 5985, 5986, 6379, 8291, 8728, 27017,
];

/// Ports of mail and files whose clients come often, for many users behind one address, and are let in.
const POLLED: [u16; 8] = [21, 110, 143, 465, 587, 990, 993, 995];
/// Connections within one to two minutes that no office's programs make at those.
const STORM: u32 = 240;
/// Answers of one size, within so many bytes.
const BAND: u64 = 64;

const DATABASES: [u16; 6] = [1433, 1521, 3306, 5432, 6379, 27_017];

#[derive(Debug, Default)]
struct Server {
    attempts: u32,
    sizes: Box<[u16; CLASSES]>,
    /// The size that most answers have, and by how many more than others (Boyer and Moore, 1981).
    usual: u64,
    lead: u32,
    pace: Pace,
    /// Logins can be read here.
    readable: bool,
    trail: Trail,
    told: Told,
}

#[derive(Debug, Default)]
struct Source {
    servers: Table<(IpAddr, u16), Server>,
}

/// One source, as a server remembers it over a day.
#[derive(Clone, Copy, Debug, Default)]
struct Guest {
    half: i64,
    running: u32,
    previous: u32,
    /// Hours of the two halves, a bit each; the newer half is the low one.
    hours: u32,
    window: WindowMark,
    told: u8,
}

/// The window in which something was told; none at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct WindowMark(Option<WindowId>);

#[derive(Debug, Default)]
struct Crowd {
    sources: Distinct<u64>,
    failures: u32,
    told: u8,
}

/// See the module.
#[derive(Debug)]
pub struct FlowGuessing {
    outside: Ladder,
    inside: Ladder,
    slow: Ladder,
    together: Ladder,
    sources: Windowed<Source>,
    guests: PerSlot<Table<(IpAddr, u16), Guest>>,
    crowds: Windowed<Table<u16, Crowd>>,
}

/// A short connection to a port of logins that both sides used, as a refused login leaves it.
fn is_alike(flow: &Flow) -> bool {
    flow.proto == Proto::Tcp
        && flow.phase == Phase::End
        && PORTS.binary_search(&flow.dst.port).is_ok()
        && flow.is_two_way()
        && flow.duration.is_some_and(|lasted| lasted <= SHORT)
        && (1..USED).contains(&flow.orig.bytes)
        && (1..USED).contains(&flow.resp.bytes)
        && attempt::between_hosts(flow)
        && !flow.was_flipped()
}

impl Server {
    /// Adds a connection; whether nearly all are of one size.
    fn add(&mut self, flow: &Flow) -> bool {
        self.attempts = self.attempts.saturating_add(1);
        let class = (f64::log2(flow.resp.bytes.max(1) as f64) * 2.0) as usize;
        if let Some(count) = self.sizes.get_mut(class.min(CLASSES - 1)) {
            *count = count.saturating_add(1);
        }
        if self.lead == 0 {
            self.usual = flow.resp.bytes;
        }
        let is_usual = flow.resp.bytes.abs_diff(self.usual) <= BAND;
        self.lead = if is_usual { self.lead.saturating_add(1) } else { self.lead.saturating_sub(1) };
        self.pace.add(flow.start, 1, MINUTE);
        self.trail.push(flow.uid);
        // Neighbouring classes are one: sizes at a boundary fall into both.
        let most = self.sizes.windows(2).map(|pair| pair.iter().map(|n| u32::from(*n)).sum::<u32>()).max();
        most.unwrap_or(0) * 10 >= self.attempts * 7
    }
}

impl Server {
    /// So many and so much alike that they are no mailboxes that are polled: eight of ten answers are of one size.
    fn is_storm(&self) -> bool {
        self.pace.sum() >= STORM && self.lead.saturating_mul(10) >= self.attempts.saturating_mul(6)
    }
}

impl FlowGuessing {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            outside: settings.ladder(&SPEC, &OUTSIDE),
            inside: settings.ladder(&SPEC, &INSIDE),
            slow: settings.ladder(&SPEC, &SLOW),
            together: settings.ladder(&SPEC, &TOGETHER),
            sources: Windowed::default(),
            guests: PerSlot::default(),
            crowds: Windowed::default(),
        }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let source = self.sources.get_or_default(cx.slot(), cx.window());
        let key = (flow.dst.addr, flow.dst.port);
        let grown = |server: &Server| u64::from(server.attempts);
        let Some(server) = source.servers.get_or_insert(key, MAX_SERVERS, grown) else { return };
        if server.readable || !server.add(flow) {
            return;
        }
        let from_outside = !cx.facts().src_local && cx.facts().dst_local;
        let ladder = if from_outside { &self.outside } else { &self.inside };
        let fast = server.pace.sum() >= FAST;
        let step = ladder.step(server.attempts);
        let most = match (from_outside, fast) {
            // A program elsewhere may use a database by many connections alike.
            (_, true) if DATABASES.contains(&flow.dst.port) => PATIENT_STEP,
            (true, true) if POLLED.contains(&flow.dst.port) && !server.is_storm() => PATIENT_STEP,
            (_, true) => u8::MAX,
            (true, false) => PATIENT_STEP,
            (false, false) => 0,
        };
        let step = step.min(most).max(server.told.step());
        let Some(rung) = server.told.climb(ladder, step, Proof::Proven, 1, flow.start) else { return };
        let text =
            format!("password guessing at {}: {} short connections, all alike", flow.dst, server.attempts);
        let uids = server.trail.take();
        cx.emit(Finding {
            victim: Some(Entity::Ip(flow.dst.addr)),
            proto: Some(Proto::Tcp),
            dst_port: Some(flow.dst.port),
            text,
            uids,
            proof: Proof::Proven,
            ..ladder::finding(cx, EvidenceKind::PasswordGuessing, flow.src.addr, rung, flow.seen)
        });
    }

    /// Logins can be read at this server: others judge.
    fn on_readable(&mut self, cx: &mut Cx<'_>, about: &About) {
        let source = self.sources.get_or_default(cx.slot(), cx.window());
        let key = (about.dst.addr, about.dst.port);
        if let Some(server) =
            source.servers.get_or_insert(key, MAX_SERVERS, |server| u64::from(server.attempts))
        {
            server.readable = true;
        }
    }

    /// A login that failed, or looks as if, from the server's side.
    fn on_failure(&mut self, cx: &mut Cx<'_>, failure: &Failure) {
        self.on_slow(cx, failure);
        let crowds = self.crowds.get_or_default(cx.slot(), cx.window());
        let grown = |crowd: &Crowd| u64::from(crowd.failures);
        let Some(crowd) = crowds.get_or_insert(failure.port, MAX_SERVERS, grown) else { return };
        crowd.failures = crowd.failures.saturating_add(1);
        crowd.sources.insert(member_of_ip(failure.src));
        let sources = crowd.sources.len();
        let step = self.together.step(sources);
        // Sources that fail once are users.
        if failure.is_read
            || crowd.failures < sources.saturating_mul(2)
            || !ladder::climb(&mut crowd.told, step)
        {
            return;
        }
        let Some(rung) = self.together.at_step(step) else { return };
        let text = format!(
            "{sources} sources guess passwords at port {} of {}: {} attempts",
            failure.port,
            cx.profile(),
            crowd.failures
        );
        cx.emit(Finding {
            attacker: Entity::Many,
            victim: Some(Entity::Ip(cx.profile())),
            proto: Some(Proto::Tcp),
            dst_port: Some(failure.port),
            text,
            uids: vec![failure.uid],
            ..ladder::finding(cx, EvidenceKind::PasswordGuessing, cx.profile(), rung, failure.at)
        });
    }

    fn on_slow(&mut self, cx: &mut Cx<'_>, failure: &Failure) {
        let guests = self.guests.get_or_default(cx.slot());
        let key = (failure.src, failure.port);
        let grown = |guest: &Guest| u64::from(guest.running + guest.previous);
        let Some(guest) = guests.get_or_insert(key, MAX_SOURCES, grown) else { return };
        guest.add(failure.at);
        if guest.window != WindowMark(Some(cx.window())) {
            (guest.window, guest.told) = (WindowMark(Some(cx.window())), 0);
        }
        let attempts = guest.running.saturating_add(guest.previous);
        let step = self.slow.step(attempts);
        if guest.hours.count_ones() < SLOW_HOURS || !ladder::climb(&mut guest.told, step) {
            return;
        }
        let Some(rung) = self.slow.at_step(step) else { return };
        let text = format!(
            "slow password guessing at port {} of {}: {attempts} attempts in {} different hours",
            failure.port,
            cx.profile(),
            guest.hours.count_ones()
        );
        cx.emit(Finding {
            victim: Some(Entity::Ip(cx.profile())),
            proto: Some(Proto::Tcp),
            // A port of its own would be the evidence of the window's guesses.
            text,
            uids: vec![failure.uid],
            proof: Proof::Proven,
            ..ladder::finding(cx, EvidenceKind::PasswordGuessing, failure.src, rung, failure.at)
        });
    }
}

impl Guest {
    fn add(&mut self, at: PacketTime) {
        let half = at.0.div_euclid(HALF_DAY);
        match half - self.half {
            0 => {}
            1 => {
                (self.previous, self.running, self.hours) = (self.running, 0, self.hours << 12 & 0x00ff_ffff)
            }
            2.. => (self.previous, self.running, self.hours) = (0, 0, 0),
            // What comes late counts in the newer half.
            _ => {}
        }
        self.half = self.half.max(half);
        self.running = self.running.saturating_add(1);
        self.hours |= 1 << (at.0.rem_euclid(HALF_DAY) / HOUR);
    }
}

/// A login that failed.
struct Failure {
    src: IpAddr,
    port: u16,
    at: PacketTime,
    uid: Uid,
    /// The record says so, and `login_guessing` sees it too.
    is_read: bool,
}

fn failure_of(event: &Event) -> Option<Failure> {
    let of = |about: &About, is_read| Failure {
        src: about.src.addr,
        port: about.dst.port,
        at: about.at,
        uid: about.uid,
        is_read,
    };
    match event {
        Event::Auth(auth) if auth.outcome == AuthOutcome::Failed && auth.about.proto == Proto::Tcp => {
            Some(of(&auth.about, true))
        }
        Event::Ssh(ssh) if ssh.auth_success == Some(false) && ssh.auth_attempts > 0 => {
            Some(of(&ssh.about, false))
        }
        Event::Flow(flow) if is_alike(flow) => {
            let (src, port, at, uid) = (flow.src.addr, flow.dst.port, flow.start, flow.uid);
            Some(Failure { src, port, at, uid, is_read: false })
        }
        _ => None,
    }
}

impl Detector for FlowGuessing {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if cx.role() == Role::Dst {
            let strange = cx.facts().dst_local && !cx.facts().src_local;
            if let Some(failure) = failure_of(event).filter(|_| strange) {
                self.on_failure(cx, &failure);
            }
            return;
        }
        match event {
            Event::Flow(flow) if is_alike(flow) => self.on_flow(cx, flow),
            Event::Auth(auth) => self.on_readable(cx, &auth.about),
            Event::Ssh(ssh) => self.on_readable(cx, &ssh.about),
            _ => {}
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.sources.close(window, |_, _| {});
        self.crowds.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.sources.forget(slot);
        self.guests.forget(slot);
        self.crowds.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, bench, levels};
    use slips_core::detector::Bench;

    const OUT: &str = "203.0.113.9";
    const SERVER: &str = "192.168.1.2";

    fn session(src: &str, dst: &str, port: u16, millis: i64, answer: u64) -> Event {
        let talk = Talk::tcp(src, dst, port).carrying(600, answer).lasting(900);
        let mut flow = talk.uid(&format!("C{src}{millis}")).flow();
        flow.start = flow.start + Span::from_millis(millis);
        flow.seen = flow.start + Span::from_millis(900);
        Event::Flow(flow)
    }

    fn told(src: &str, dst: &str, n: i64, gap: i64, answer: impl Fn(i64) -> u64) -> Vec<Finding> {
        let mut bench = bench(FlowGuessing::new(&Settings::default()));
        (0..n).flat_map(|n| bench.feed(&session(src, dst, 3389, n * gap, answer(n)))).collect()
    }

    #[test]
    fn many_short_sessions_alike_from_outside_are_guesses() {
        assert!(told(OUT, SERVER, 39, 500, |_| 1500).is_empty());
        assert_eq!(levels(&told(OUT, SERVER, 40, 500, |_| 1500)), ["medium 0.6"]);
        let all = told(OUT, SERVER, 200, 500, |n| 1400 + n as u64 % 90);
        assert_eq!(levels(&all), ["medium 0.6", "high 0.7", "critical 0.9"]);
        assert!(all.iter().all(|told| told.proof == Proof::Proven && told.dst_port == Some(3389)));
        assert_eq!(levels(&told(OUT, SERVER, 300, 10_000, |_| 1500)), ["medium 0.6", "high 0.7"], "patient");
    }

    #[test]
    fn mailboxes_polled_from_behind_one_address_are_no_guesses_and_a_storm_is() {
        let polled = |port, gap: i64, spread: u64| {
            let mut bench = bench(FlowGuessing::new(&Settings::default()));
            let all = (0..600)
                .flat_map(|n| bench.feed(&session(OUT, SERVER, port, n * gap, 4000 + n as u64 % 7 * spread)));
            levels(&all.collect::<Vec<_>>()).pop()
        };
        for port in [21, 990, 993, 465] {
            assert_eq!(polled(port, 700, 3).as_deref(), Some("high 0.7"), "ninety a minute at {port}");
            assert_eq!(polled(port, 100, 150).as_deref(), Some("high 0.7"), "an office at {port}");
            assert_eq!(polled(port, 100, 3).as_deref(), Some("critical 0.9"), "a storm at {port}");
        }
        assert_eq!(polled(3389, 500, 3).as_deref(), Some("critical 0.9"));
    }

    #[test]
    fn use_and_what_others_judge_is_silent_and_inside_it_is_low() {
        assert!(told(OUT, SERVER, 300, 500, |n| 100 << (n % 7)).is_empty());
        assert_eq!(levels(&told("192.168.1.5", SERVER, 400, 200, |_| 900)), ["low 0.5", "low 0.8"]);
        assert!(told("192.168.1.5", SERVER, 300, 10_000, |_| 900).is_empty());
        let mut bench = bench(FlowGuessing::new(&Settings::default()));
        let web = |n: i64| session(OUT, SERVER, 443, n * 100, 900);
        assert!((0..500).all(|n| bench.feed(&web(n)).is_empty()));
    }

    fn at_door(bench: &mut Bench, src: &str, minute: i64) -> Vec<Finding> {
        bench.feed(&session(src, SERVER, 3389, minute * 60_000, 1500))
    }

    #[test]
    fn slow_guessing_is_seen_over_the_day() {
        let slow = |n: i64, every: i64| {
            let mut bench = bench(FlowGuessing::new(&Settings::default()));
            levels(&(0..n).flat_map(|n| at_door(&mut bench, OUT, n * every)).collect::<Vec<_>>())
        };
        assert_eq!(slow(45, 15).first().map(String::as_str), Some("medium 0.7"));
        assert!(slow(29, 15).is_empty());
        assert!(slow(60, 1).iter().all(|level| level != "medium 0.7"), "within an hour");
    }

    #[test]
    fn many_sources_together_are_told_and_nobody_is_blamed() {
        let mut bench = bench(FlowGuessing::new(&Settings::default()));
        let told: Vec<Finding> =
            (0..90).flat_map(|n| at_door(&mut bench, &format!("203.0.113.{}", n % 30 + 1), n / 3)).collect();
        assert_eq!(levels(&told), ["low 0.6"]);
        assert_eq!(told[0].attacker, Entity::Many);
    }
}
