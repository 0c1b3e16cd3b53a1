//! A login in clear text: telnet, rlogin, rsh (`LOGIN`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Login};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "clear_text_login",
    kinds: &[EvidenceKind::Login],
    events: &[EventKind::Login],
    roles: &[Role::Src],
    thresholds: &[LOGINS],
    header: Header {
        detects: "A login in clear text: telnet, rlogin, rsh (`LOGIN`).",
        attack: "T1078 Valid Accounts, T1040 Network Sniffing (what others can read).",
        rule: "every login record, per server and outcome.",
        numbers: "None; info, as the original's.",
        quiet: "It weighs nothing. Guessing by telnet is seen by its connections.",
        evasion: "Encryption, which is what one should use.",
        proof: "Proven, a dialogue over TCP.",
    },
};

/// Told at these counts.
pub const LOGINS: Threshold = Threshold::steps(
    "logins",
    "logins at one server with one outcome in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Info, 1.0), rung(10, ThreatLevel::Info, 1.0), rung(100, ThreatLevel::Info, 1.0)],
);

/// See the module.
#[derive(Debug)]
pub struct ClearTextLogin {
    logins: Steps<(IpAddr, u16)>,
}

impl ClearTextLogin {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { logins: Steps::new(settings.ladder(&SPEC, &LOGINS), Limits { keys: 256, weighing: 0 }) }
    }
}

impl ClearTextLogin {
    fn on_login(&mut self, cx: &mut Cx<'_>, login: &Login) {
        let about = &login.about;
        let Some(reached) = self.logins.add(cx, (about.dst.addr, about.dst.port), about.uid) else { return };
        let how = match (login.success, login.confused) {
            (true, _) => "successful",
            (false, true) => "confused",
            (false, false) => "failed",
        };
        let user: String = login.user.chars().take(64).collect();
        let text =
            format!("{how} {} login of user `{user}` at {}, {} logins", login.service, about.dst, reached.n);
        cx.emit(Finding {
            victim: Some(Entity::Ip(about.dst.addr)),
            proto: Some(Proto::Tcp),
            dst_port: Some(about.dst.port),
            text,
            proof: Proof::Proven,
            ..reached.finding(cx, EvidenceKind::Login, about.src.addr, about.at)
        });
    }
}

impl Detector for ClearTextLogin {
    in_steps!(logins);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Login(login) = event {
            self.on_login(cx, login);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{Talk, about, bench, levels};

    #[test]
    fn logins_are_info_at_the_first_the_tenth_and_the_hundredth() {
        let mut bench = bench(ClearTextLogin::new(&Settings::default()));
        let record = |n| {
            Event::Login(Box::new(Login {
                about: about("192.168.1.5", "192.168.1.9", 23, n),
                service: "telnet".into(),
                success: false,
                confused: false,
                user: "root".into(),
                client_user: String::new(),
                password_seen: true,
                failures: 0,
            }))
        };
        let told: Vec<_> = (0..99).flat_map(|n| bench.feed(&record(n))).collect();
        assert_eq!(levels(&told), ["info 1", "info 1"]);
        assert_eq!(told[0].text, "failed telnet login of user `root` at 192.168.1.9:23, 1 logins");
        assert_eq!(bench.feed(&record(99)).len(), 1);
        assert!(bench.feed(&Talk::tcp("192.168.1.5", "192.168.1.9", 23).event()).is_empty());
    }
}
