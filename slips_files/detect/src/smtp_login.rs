//! Logins that a mail server refuses (`BAD_SMTP_LOGIN`), and many of them within seconds (`SMTP_LOGIN_BRUTEFORCE`).

use std::net::IpAddr;

use slips_core::detector::{Closing, Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Smtp};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;
use slips_core::state::Windowed;
use slips_core::time::{Span, WindowId};

use crate::Settings;
use crate::ladder::{self, Ladder, rung};
use crate::steps::{Limits, Steps};
use crate::tally::{Lately, Trail};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "smtp_login",
    kinds: &[EvidenceKind::BadSmtpLogin, EvidenceKind::SmtpLoginBruteforce],
    events: &[EventKind::Smtp],
    roles: &[Role::Src],
    thresholds: &[REFUSED, BRUTE, WITHIN],
    header: Header {
        detects: "Logins that a mail server refuses (`BAD_SMTP_LOGIN`), and many of them within seconds \
            (`SMTP_LOGIN_BRUTEFORCE`).",
        attack: "T1110 Brute Force; T1078 Valid Accounts (stolen ones that no longer work, as malware that mails its \
            loot uses them).",
        rule: "The server's last reply says that the login failed: code 535 or 534, enhanced status 5.7.8, or the \
            words of the original. Counted per server and window; apart from that, within any 10 s per client.",
        numbers: "3 within 10 s is the original's, which tells each with high 1.0. We begin mildly and are critical at \
            30 within 10 s, three a second, which no mail program does.",
        quiet: "A telephone with an old password tries every few minutes, for each account: high at most.",
        evasion: "TLS hides the replies; four seconds between guesses.",
        proof: "Proven, a dialogue over TCP.",
    },
};

/// Steps in refused logins at one server.
pub const REFUSED: Threshold = Threshold::steps(
    "refused",
    "logins that one server refuses one client in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Low, 0.8), rung(3, ThreatLevel::Medium, 0.8), rung(20, ThreatLevel::High, 0.9)],
);
/// Steps in refused logins within [`WITHIN`].
pub const BRUTE: Threshold = Threshold::steps(
    "burst",
    "refused logins of one client within that time",
    Unit::Count,
    &[
        rung(3, ThreatLevel::Medium, 0.9),
        rung(10, ThreatLevel::High, 0.9),
        rung(30, ThreatLevel::Critical, 1.0),
    ],
)
.within(1, 320);
/// See [`BRUTE`].
pub const WITHIN: Threshold =
    Threshold::number("within", "for the refused logins", Unit::Seconds, 10).within(1, 3600);

/// Refusals remembered of one client: no step is above.
const MOST_LATELY: usize = 320;
const SERVERS: Limits = Limits { keys: 256, weighing: 16 };

#[derive(Debug, Default)]
struct Burst {
    serial: u32,
    lately: Lately<u32>,
    trail: Trail,
    told: u8,
}

/// See the module.
#[derive(Debug)]
pub struct SmtpLogin {
    refused: Steps<(IpAddr, u16)>,
    burst: Ladder,
    within: Span,
    bursts: Windowed<Burst>,
}

impl SmtpLogin {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            refused: Steps::new(settings.ladder(&SPEC, &REFUSED), SERVERS),
            burst: settings.ladder(&SPEC, &BRUTE),
            within: settings.span(&SPEC, &WITHIN),
            bursts: Windowed::default(),
        }
    }
}

/// Whether a reply refuses a login.
fn refuses_login(reply: &str) -> bool {
    let has = |words: &str| {
        reply.as_bytes().windows(words.len()).any(|part| part.eq_ignore_ascii_case(words.as_bytes()))
    };
    reply.starts_with("535") || reply.starts_with("534") || has("5.7.8") || has("bad smtp-auth user")
}

impl SmtpLogin {
    fn on_smtp(&mut self, cx: &mut Cx<'_>, smtp: &Smtp) {
        if !refuses_login(&smtp.last_reply) {
            return;
        }
        let about = &smtp.about;
        let towards = |finding: Finding| Finding {
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(Proto::Tcp),
            dst_port: Some(about.dst.port),
            proof: Proof::Proven,
            ..finding
        };
        if let Some(reached) = self.refused.add(cx, (about.dst.addr, about.dst.port), about.uid) {
            let text = format!("{} logins refused by mail server {}", reached.n, about.dst);
            let finding = reached.finding(cx, EvidenceKind::BadSmtpLogin, about.src.addr, about.at);
            cx.emit(towards(Finding { text, ..finding }));
        }
        let burst = self.bursts.get_or_default(cx.slot(), cx.window());
        burst.serial = burst.serial.wrapping_add(1);
        burst.trail.push(about.uid);
        let n = burst.lately.insert(burst.serial, about.at, self.within, MOST_LATELY);
        let step = self.burst.step(n);
        if ladder::climb(&mut burst.told, step)
            && let Some(rung) = self.burst.at_step(step)
        {
            let kind = EvidenceKind::SmtpLoginBruteforce;
            let text = format!("{n} logins refused by mail servers within {} s", self.within.0 / 1_000_000);
            let uids = burst.trail.take();
            let finding = ladder::finding(cx, kind, about.src.addr, rung, about.at);
            cx.emit(Finding { proto: Some(Proto::Tcp), proof: Proof::Proven, text, uids, ..finding });
        }
    }
}

impl Detector for SmtpLogin {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Smtp(smtp) = event {
            self.on_smtp(cx, smtp);
        }
    }

    fn on_window_close(&mut self, _out: &mut Closing<'_>, window: WindowId) {
        self.refused.close(window);
        self.bursts.close(window, |_, _| {});
    }

    fn forget(&mut self, slot: Slot) {
        self.refused.forget(slot);
        self.bursts.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{about, bench, levels};

    fn told(n: i64, apart: i64, reply: &str, kind: EvidenceKind) -> Vec<Finding> {
        let mut bench = bench(SmtpLogin::new(&Settings::default()));
        let record = |second| {
            Event::Smtp(Box::new(Smtp {
                about: about("192.168.1.5", "203.0.113.25", 587, second),
                helo: String::new(),
                last_reply: reply.into(),
                tls: false,
                subject: String::new(),
                fuids: Vec::new(),
            }))
        };
        let all = (0..n).flat_map(|n| bench.feed(&record(n * apart / 10)));
        all.filter(|finding| finding.kind == kind).collect()
    }

    #[test]
    fn refused_logins_are_one_evidence_that_grows() {
        let refused = |n| told(n, 600, "535 5.7.8 no", EvidenceKind::BadSmtpLogin);
        assert_eq!(levels(&refused(2)), ["low 0.8"]);
        assert_eq!(levels(&refused(3)), ["low 0.8", "medium 0.8"]);
        assert_eq!(levels(&refused(50)), ["low 0.8", "medium 0.8", "high 0.9"]);
    }

    #[test]
    fn three_within_ten_seconds_are_guessing_and_slower_ones_are_not() {
        let brute =
            |n, apart| told(n, apart, "554 5.7.1 Bad SMTP-auth user", EvidenceKind::SmtpLoginBruteforce);
        assert!(brute(2, 10).is_empty());
        assert_eq!(levels(&brute(3, 10)), ["medium 0.9"]);
        assert_eq!(levels(&brute(100, 2)), ["medium 0.9", "high 0.9", "critical 1"]);
        assert!(brute(100, 60).is_empty());
    }

    #[test]
    fn other_replies_are_silent() {
        for reply in ["250 OK", "554 5.7.1 spam", "", "235 2.7.0 accepted"] {
            assert!(told(30, 1, reply, EvidenceKind::BadSmtpLogin).is_empty(), "{reply}");
        }
    }
}
