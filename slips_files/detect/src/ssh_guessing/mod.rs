//! SSH password guessing: one source tries logins at a server again and again.

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Notice, Ssh};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Endpoint, Flow, Outcome, Phase, Proto, Uid};
use slips_core::state::Windowed;
use slips_core::time::{PacketTime, Span, WindowId};

use crate::ladder::{self, Ladder, Rung, Told, rung};
use crate::table::Table;
use crate::tally::{Distinct, Pace, Trail, key_of, key_of_record};
use crate::{Settings, attempt, zeek_notice};

pub mod session;
#[cfg(test)]
mod tests;

use session::Session;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "ssh_password_guessing",
    kinds: &[EvidenceKind::PasswordGuessing],
    events: &[EventKind::Flow, EventKind::Ssh, EventKind::Notice],
    roles: &[Role::Src],
    thresholds: &[SPRAYED, ATTEMPTS, HIGH_SURE, HIGH_UNSURE, CRITICAL_SURE, CRITICAL_UNSURE],
    header: Header {
        detects: "SSH password guessing: one source tries logins at a server again and again.",
        attack: "T1110.001 Password Guessing, T1110.003 Password Spraying, T1021.004 SSH.",
        rule: "Login attempts per source, window, server and port. An attempt is known from the handshake record \
            (`ssh.log`, the sensor) where it tells of logins, or judged by the shape of the flow where it does \
            not. Record and flow of one connection are one session, whichever comes first. Zeek's \
            `SSH::Password_Guessing` notices raise evidence about the source. Failing at many servers (spraying) \
            is told apart.",
        numbers: "9 attempts, the doubling steps 9, 10, 12, 16, 24, 40, 72, 136 … and the confidence are the \
            original's, which stays at medium. Ours is high from 24 sure attempts (40 unsure ones), and critical \
            at 30 sure ones within one to two minutes: a run of hydra makes 30 in its first thirteen seconds. \
            Sure are failures that the record tells. Unsure ones, known by the flow's shape, are critical at 72 \
            in one to two minutes. A client that names itself as a guessing tool's library adds a little \
            confidence and no more: builds and backups use the same libraries. Critical is told again every two \
            minutes while attempts go on.",
        quiet: "A cron job with a wrong key fails once a minute; automation (git, ansible, rsync) succeeds, and a \
            session after a login sends more than a refused one; `ssh-keyscan` and service checks never get to a \
            login. Unsure attempts outwards need repeated tries within connections, which only passwords have. A \
            server where a quarter of the sessions succeed is not told critical on unsure ones.",
        evasion: "Eight attempts per window and server; many sources; compression, which hides failures from the \
            record, and fewer than 40 attempts a minute.",
        proof: "A login attempt follows a completed handshake: proven.",
    },
};

/// Login attempts of one source at one server in a window.
pub const ATTEMPTS: Threshold =
    Threshold::number("attempts", "login attempts of one source at one server in a window", Unit::Count, 9);

/// Attempts for full confidence, as in the original.
const SURELY: u32 = 30;
/// Sure and unsure attempts that are high.
pub const HIGH_SURE: Threshold = Threshold::number("high", "failed logins that are high", Unit::Count, 24);
/// See [`HIGH_SURE`].
pub const HIGH_UNSURE: Threshold =
    Threshold::number("high_unsure", "attempts known by their shape only that are high", Unit::Count, 40);
/// Sure and unsure attempts within one to two minutes that are critical.
pub const CRITICAL_SURE: Threshold = Threshold::number(
    "critical",
    "failed logins within one to two minutes that are critical",
    Unit::Count,
    30,
);
/// See [`CRITICAL_SURE`].
pub const CRITICAL_UNSURE: Threshold = Threshold::number(
    "critical_unsure",
    "attempts known by their shape only, within one to two minutes, that are critical",
    Unit::Count,
    72,
);
/// What unsure attempts are worth at most, and when they are critical.
const CONFIDENCE_UNSURE: f64 = 0.7;
const CONFIDENCE_UNSURE_CRITICAL: f64 = 0.95;
/// What a guessing tool's name adds.
const TOOL_BONUS: f64 = 0.07;
/// More steps than doublings of attempts.
const STEPS: u8 = 32;
/// The period of the pace: one to two of these are looked at.
const MINUTE: Span = Span::from_secs(60);

/// Steps in servers at which one source fails.
pub const SPRAYED: Threshold = Threshold::steps(
    "servers",
    "servers at which the logins of one source fail in a window",
    Unit::Count,
    &[rung(10, ThreatLevel::Medium, 0.7), rung(30, ThreatLevel::High, 0.8)],
);
/// Zeek's notice: 30 failed connections of one source in 30 minutes, which a cron job with a wrong key makes too.
const BY_ZEEK: Rung = rung(30, ThreatLevel::High, 0.9);

/// Servers remembered per source and window, and sessions per server; those with the fewest attempts make room.
const MAX_SERVERS: usize = 64;
const MAX_SESSIONS: usize = 1024;

#[derive(Debug, Default)]
struct Guesses {
    servers: Table<(IpAddr, u16), Server>,
    sprayed: Distinct<IpAddr>,
    sprayed_told: u8,
    zeek_told: bool,
}

/// One server at one port.
#[derive(Debug, Default)]
struct Server {
    sessions: Table<u64, Session>,
    attempts: u32,
    sure: u32,
    /// Sessions with attempts, and sessions that got in.
    failing: u32,
    succeeded: u32,
    pace: Pace,
    pace_sure: Pace,
    tool: bool,
    trail: Trail,
    told: Told,
    critical: bool,
}

/// The numbers that hold.
#[derive(Clone, Copy, Debug)]
struct Rules {
    attempts: u32,
    high_sure: u32,
    high_unsure: u32,
    critical_sure: u32,
    critical_unsure: u32,
}

/// See the module.
#[derive(Debug)]
pub struct SshGuessing {
    rules: Rules,
    sprayed: Ladder,
    state: Windowed<Guesses>,
}

/// Where and when something is learned about a session.
struct Seen {
    server: Endpoint,
    uid: Uid,
    key: u64,
    at: PacketTime,
    known: PacketTime,
}

impl SshGuessing {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            rules: Rules {
                attempts: settings.number(&SPEC, &ATTEMPTS),
                high_sure: settings.number(&SPEC, &HIGH_SURE),
                high_unsure: settings.number(&SPEC, &HIGH_UNSURE),
                critical_sure: settings.number(&SPEC, &CRITICAL_SURE),
                critical_unsure: settings.number(&SPEC, &CRITICAL_UNSURE),
            },
            sprayed: settings.ladder(&SPEC, &SPRAYED),
            state: Windowed::default(),
        }
    }

    fn on_flow(&mut self, cx: &mut Cx<'_>, flow: &Flow) {
        let ssh = flow.proto == Proto::Tcp && (flow.dst.port == 22 || flow.has_service("ssh"));
        let over = matches!(flow.phase, Phase::Closed | Phase::End);
        if !ssh || !over || flow.outcome() != Outcome::Established {
            return;
        }
        if !flow.is_two_way() || !attempt::between_hosts(flow) {
            return;
        }
        let seen =
            Seen { server: flow.dst, uid: flow.uid, key: key_of(flow), at: flow.start, known: flow.seen };
        self.learn(cx, &seen, |session| session.ended(flow));
    }

    fn on_record(&mut self, cx: &mut Cx<'_>, ssh: &Ssh) {
        let about = &ssh.about;
        let (at, key) = (about.at, key_of_record(about));
        let seen = Seen { server: about.dst, uid: about.uid, key, at, known: at };
        self.learn(cx, &seen, |session| session.told(ssh));
    }

    /// Takes over what `change` learns about a session and tells what follows.
    fn learn(&mut self, cx: &mut Cx<'_>, seen: &Seen, change: impl FnOnce(&mut Session)) {
        let rules = self.rules;
        let guesses = self.state.get_or_default(cx.slot(), cx.window());
        let key = (seen.server.addr, seen.server.port);
        let Some(server) = guesses.servers.get_or_insert(key, MAX_SERVERS, |s| u64::from(s.attempts)) else {
            return;
        };
        let (sure, grown) = server.learn(seen, change);
        let facts = cx.facts();
        let outwards = facts.src_local && !facts.dst_local;
        if let Some(rung) = server.climb(&rules, outwards, grown, seen.known) {
            cx.emit(server.finding(cx, seen, rung));
        }
        if sure && guesses.sprayed.insert(seen.server.addr) {
            let servers = guesses.sprayed.len();
            let step = self.sprayed.step(servers);
            if ladder::climb(&mut guesses.sprayed_told, step)
                && let Some(rung) = self.sprayed.at_step(step)
            {
                let uids = if seen.uid.is_empty() { Vec::new() } else { vec![seen.uid] };
                cx.emit(Finding {
                    proto: Some(Proto::Tcp),
                    dst_port: Some(seen.server.port),
                    uids,
                    text: format!("SSH password spraying: logins failed at {servers} servers"),
                    proof: Proof::Proven,
                    ..ladder::finding(cx, EvidenceKind::PasswordGuessing, cx.profile(), rung, seen.known)
                });
            }
        }
    }

    fn on_notice(&mut self, cx: &mut Cx<'_>, notice: &Notice) {
        // In some exported logs the message stands in the column of the note.
        if !zeek_notice::is(notice, "Password_Guessing") && !notice.note.contains("guessing SSH passwords") {
            return;
        }
        let guesses = self.state.get_or_default(cx.slot(), cx.window());
        if std::mem::replace(&mut guesses.zeek_told, true) {
            return;
        }
        let text = if notice.msg.contains("guessing") { &notice.msg } else { &notice.note };
        cx.emit(Finding {
            proto: Some(Proto::Tcp),
            text: format!("SSH password guessing, by Zeek: {text}"),
            proof: Proof::Proven,
            ..ladder::finding(cx, EvidenceKind::PasswordGuessing, cx.profile(), BY_ZEEK, notice.at)
        });
    }
}

impl Server {
    /// Lets a session change and takes over the difference. Says whether the session has sure failures, and how many attempts
    /// came on top.
    fn learn(&mut self, seen: &Seen, change: impl FnOnce(&mut Session)) -> (bool, u32) {
        let grown = |session: &Session| u64::from(session.attempts);
        let Some(session) = self.sessions.get_or_insert(seen.key, MAX_SESSIONS, grown) else {
            return (false, 0);
        };
        let before = *session;
        change(session);
        let after = *session;
        let moved = |sum: u32, before: u32, after: u32| sum.saturating_sub(before).saturating_add(after);
        self.attempts = moved(self.attempts, before.attempts, after.attempts);
        self.sure = moved(self.sure, before.sure_attempts(), after.sure_attempts());
        self.failing = moved(self.failing, u32::from(before.attempts > 0), u32::from(after.attempts > 0));
        self.succeeded = moved(self.succeeded, u32::from(before.succeeded), u32::from(after.succeeded));
        // Only what is settled counts for the pace: it cannot be taken back.
        self.pace.add(seen.at, after.settled_attempts().saturating_sub(before.settled_attempts()), MINUTE);
        let sure = after.settled_sure().saturating_sub(before.settled_sure());
        self.pace_sure.add(seen.at, sure, MINUTE);
        self.tool |= after.tool;
        if before.attempts == 0 && after.attempts > 0 {
            self.trail.push(seen.uid);
        }
        (after.settled_sure() > 0, after.attempts.saturating_sub(before.attempts))
    }

    /// The step to tell, if any.
    fn climb(&mut self, rules: &Rules, outwards: bool, grown: u32, at: PacketTime) -> Option<Rung> {
        let over = self.attempts.checked_sub(rules.attempts)?;
        let bucket = (over + 1).ilog2() as u8;
        let mostly_sure = self.sure.saturating_mul(2) >= self.attempts;
        let repeated = self.attempts >= self.failing.saturating_mul(2);
        let unsure_critical = self.pace.sum() >= rules.critical_unsure
            && self.succeeded.saturating_mul(4) <= self.failing
            && (repeated || !outwards);
        self.critical |= self.pace_sure.sum() >= rules.critical_sure || unsure_critical;
        let level = if self.critical {
            ThreatLevel::Critical
        } else if self.sure >= rules.high_sure || self.attempts >= rules.high_unsure {
            ThreatLevel::High
        } else {
            ThreatLevel::Medium
        };
        // Whatever the count, to become critical is a step.
        let step = bucket + 1 + if self.critical { STEPS } else { 0 };
        if !self.told.is_news(step, level, Proof::Proven, grown, at) {
            return None;
        }
        let confidence = confidence(self.attempts, rules.attempts, self.tool);
        let confidence = match (mostly_sure, self.critical) {
            (true, true) => 1.0,
            (true, false) => confidence,
            (false, true) => CONFIDENCE_UNSURE_CRITICAL,
            (false, false) => confidence.min(CONFIDENCE_UNSURE),
        };
        Some(rung(self.attempts, level, confidence))
    }

    fn finding(&mut self, cx: &Cx<'_>, seen: &Seen, rung: Rung) -> Finding {
        let tool = if self.tool { ", by a client that guessing tools use" } else { "" };
        let text = format!(
            "SSH password guessing at {}: {} attempts in {} connections{tool}",
            seen.server, self.attempts, self.failing
        );
        Finding {
            victim: Some(Entity::Ip(seen.server.addr)),
            proto: Some(Proto::Tcp),
            dst_port: Some(seen.server.port),
            uids: self.trail.take(),
            text,
            proof: Proof::Proven,
            ..ladder::finding(cx, EvidenceKind::PasswordGuessing, cx.profile(), rung, seen.known)
        }
    }
}

/// The original's: full from 30 attempts, before that from 0.5 at the threshold upwards, a little more for a tool's name.
fn confidence(attempts: u32, threshold: u32, tool: bool) -> f64 {
    let full = threshold.max(SURELY);
    if attempts >= full {
        return 1.0;
    }
    let way = f64::from(attempts - threshold.min(attempts)) / f64::from(full - threshold);
    let bonus = if tool { TOOL_BONUS } else { 0.0 };
    Confidence::new((0.5 + 0.4 * way + bonus).min(0.99)).get()
}

impl Detector for SshGuessing {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        match event {
            Event::Flow(flow) => self.on_flow(cx, flow),
            Event::Ssh(ssh) => self.on_record(cx, ssh),
            Event::Notice(notice) => self.on_notice(cx, notice),
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
