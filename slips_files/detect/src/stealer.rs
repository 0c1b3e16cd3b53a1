//! A program that steals passwords reports by mail or FTP (`STOLEN_CREDENTIALS`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{About, Event, EventKind, Ftp, Smtp};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "stealer",
    kinds: &[EvidenceKind::StolenCredentials],
    events: &[EventKind::Smtp, EventKind::Ftp],
    roles: &[Role::Src],
    thresholds: &[KNOWN, OWN_NAME],
    header: Header {
        detects: "A program that steals passwords reports by mail or FTP (`STOLEN_CREDENTIALS`).",
        attack: "T1048.003 Exfiltration Over Unencrypted Protocol, T1555 Credentials from Password Stores, T1056.001 \
            Keylogging.",
        rule: "A mail to an outside server whose subject has the form of the families that mail their loot: a tag \
            for what it holds (`PW_` passwords, `CO_` cookies, `KL_` keys, `SC_` screen …) before user and \
            machine, or the family's own name; an upload by FTP whose file has the tag, user and machine, and \
            the moment. A mail whose subject names the machine that sends it, by the name that Windows gave it, \
            is high.",
        numbers: "Tags and forms are those that public analyses of Agent Tesla, OriginLogger, Snake, HawkEye and \
            MassLogger give. One report is critical 0.95.",
        quiet: "The tag, the machine's own greeting or the moment have to be there together; names of families are \
            whole phrases that reports of other programs do not carry. A backup program that mails from a \
            desktop is high at most.",
        evasion: "Mail over TLS, HTTP, chat services; other forms.",
        proof: "Proven, a dialogue over TCP.",
    },
};

/// The step for a report in a form that is known.
pub const KNOWN: Threshold = Threshold::steps(
    "reports",
    "reports in the form of a known family, to one server in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Critical, 0.95)],
);
/// Steps in mails that name the machine that sends them.
pub const OWN_NAME: Threshold = Threshold::steps(
    "own_name_mails",
    "mails whose subject names the machine that sends them, to one server in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Medium, 0.7), rung(5, ThreatLevel::High, 0.7)],
);

/// Passwords, cookies, keys, screen, contacts, credit cards, clipboard.
const TAGS: [&str; 8] = ["PW", "CO", "KL", "SC", "CN", "CC", "CB", "CD"];
/// How families name themselves in what they send.
const FAMILIES: [&str; 7] = [
    "snake keylogger",
    "snake tracker",
    "hawkeye keylogger",
    "masslogger",
    "404 keylogger",
    "phoenix keylogger",
    "vip recovery",
];
/// How Windows names machines by itself.
const MACHINES: [&str; 3] = ["DESKTOP-", "LAPTOP-", "WIN-"];

/// See the module.
#[derive(Debug)]
pub struct Stealer {
    known: Steps<(IpAddr, u16)>,
    own_name: Steps<(IpAddr, u16)>,
}

impl Stealer {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        let limits = Limits { keys: 32, weighing: 8 };
        Self {
            known: Steps::new(settings.ladder(&SPEC, &KNOWN), limits),
            own_name: Steps::new(settings.ladder(&SPEC, &OWN_NAME), limits),
        }
    }
}

/// What follows a tag and its underscore.
fn after_tag(text: &str) -> Option<&str> {
    let (tag, rest) = text.split_once('_')?;
    TAGS.contains(&tag).then_some(rest)
}

/// `PW_user/MACHINE`, or a family's own name.
fn is_report(subject: &str) -> bool {
    let tagged = after_tag(subject)
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(user, machine)| !user.is_empty() && !machine.is_empty() && !machine.contains(' '));
    let lower = subject.to_ascii_lowercase();
    tagged || FAMILIES.iter().any(|family| lower.contains(family))
}

/// `PW_user-MACHINE_2024_01_31_23_59_59.html`
fn is_report_file(path: &str) -> bool {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let Some((stem, "html" | "htm" | "zip" | "txt" | "jpeg" | "jpg" | "png")) = name.rsplit_once('.') else {
        return false;
    };
    let Some(rest) = after_tag(stem) else { return false };
    let mut numbers = rest.rsplit('_');
    let moment = [2usize, 2, 2, 2, 2, 4].into_iter().all(|digits| {
        numbers.next().is_some_and(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))
    });
    moment && numbers.next().is_some_and(|machine| !machine.is_empty())
}

/// The mail tells of the machine that sends it.
fn names_itself(smtp: &Smtp) -> bool {
    let is_machine = MACHINES.iter().any(|prefix| smtp.helo.starts_with(prefix)) && smtp.helo.len() > 8;
    is_machine && smtp.subject.contains(smtp.helo.as_str())
}

impl Stealer {
    fn on_mail(&mut self, cx: &mut Cx<'_>, smtp: &Smtp) {
        let steps = if is_report(&smtp.subject) {
            &mut self.known
        } else if names_itself(smtp) {
            &mut self.own_name
        } else {
            return;
        };
        let about = &smtp.about;
        let Some(reached) = steps.add(cx, (about.dst.addr, about.dst.port), about.uid) else { return };
        let text = format!("a mail by {} reports like stolen passwords: {}", about.dst, smtp.subject);
        tell(cx, about, reached, text);
    }

    fn on_file(&mut self, cx: &mut Cx<'_>, ftp: &Ftp) {
        let about = &ftp.about;
        if !matches!(ftp.command.as_str(), "STOR" | "APPE" | "STOU") || !is_report_file(&ftp.arg) {
            return;
        }
        let Some(reached) = self.known.add(cx, (about.dst.addr, about.dst.port), about.uid) else { return };
        let text = format!("an upload to {} reports like stolen passwords: {}", about.dst, ftp.arg);
        tell(cx, about, reached, text);
    }
}

fn tell(cx: &mut Cx<'_>, about: &About, reached: crate::steps::Reached, text: String) {
    let finding = reached.finding(cx, EvidenceKind::StolenCredentials, about.src.addr, about.at);
    cx.emit(Finding {
        victim: Some(Entity::Ip(about.dst.addr)),
        proto: Some(about.proto),
        dst_port: Some(about.dst.port),
        text,
        proof: Proof::Proven,
        ..finding
    });
}

impl Detector for Stealer {
    in_steps!(known, own_name);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if !cx.facts().src_local || cx.facts().dst_local {
            return;
        }
        match event {
            Event::Smtp(smtp) => self.on_mail(cx, smtp),
            Event::Ftp(ftp) => self.on_file(cx, ftp),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{about, bench, levels};

    fn mail(src: &str, dst: &str, helo: &str, subject: &str) -> Event {
        Event::Smtp(Box::new(Smtp {
            about: about(src, dst, 587, 0),
            helo: helo.into(),
            last_reply: "250 ok".into(),
            tls: false,
            subject: subject.into(),
            fuids: Vec::new(),
        }))
    }

    fn mailed(helo: &str, subject: &str) -> Vec<String> {
        levels(&bench(Stealer::new(&Settings::default())).feed(&mail(
            "192.168.1.5",
            "203.0.113.25",
            helo,
            subject,
        )))
    }

    fn stored(command: &str, arg: &str) -> Vec<String> {
        let event = Event::Ftp(Box::new(Ftp {
            about: about("192.168.1.5", "203.0.113.25", 21, 0),
            user: "u".into(),
            command: command.into(),
            arg: arg.into(),
            reply_code: Some(226),
            data_port: None,
        }));
        levels(&bench(Stealer::new(&Settings::default())).feed(&event))
    }

    #[test]
    fn reports_by_mail_are_critical_at_once() {
        for subject in ["PW_admin/DESKTOP-AB12CD3", "CO_joe/PC7", "Pc Name: joe | / VIP Recovery \\"] {
            assert_eq!(mailed("x", subject), ["critical 0.95"], "{subject}");
        }
        assert_eq!(mailed("DESKTOP-AB12CD3", "joe/DESKTOP-AB12CD3 Recovered"), ["medium 0.7"]);
    }

    #[test]
    fn reports_by_ftp_are_critical_at_once() {
        let name = "PW_admin-USER-PC_2024_01_31_23_59_59.html";
        assert_eq!(stored("STOR", name), ["critical 0.95"]);
        assert_eq!(stored("STOR", &format!("/www/{name}")), ["critical 0.95"]);
        assert!(stored("RETR", name).is_empty());
    }

    #[test]
    fn ordinary_mails_and_files_are_silent() {
        for subject in ["", "Re: PW_", "PW_reset for joe / jane", "Invoice 2024_01_31", "CO_2 levels", "_/"] {
            assert!(mailed("nas01", subject).is_empty(), "{subject}");
        }
        assert!(mailed("DESKTOP-AB12CD3", "Holiday pictures").is_empty());
        for name in
            ["", "backup_2024_01_31_23_59_59.zip", "PW_2024_01_31_23_59_59.zip", "PW_a_b.html", "SC_x.png"]
        {
            assert!(stored("STOR", name).is_empty(), "{name}");
        }
    }

    #[test]
    fn what_others_send_to_our_server_is_not_judged() {
        let event = mail("203.0.113.25", "192.168.1.5", "x", "PW_admin/DESKTOP-AB12CD3");
        assert!(bench(Stealer::new(&Settings::default())).feed(&event).is_empty());
    }
}
