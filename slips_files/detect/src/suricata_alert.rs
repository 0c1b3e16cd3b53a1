//! A signature of Suricata's matched (`SURICATA_ALERT`).

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Notice};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::Proto;

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of, member_of_ip};
use crate::zeek_notice::number_after;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "suricata_alert",
    kinds: &[EvidenceKind::SuricataAlert],
    events: &[EventKind::Notice],
    roles: &[Role::Src],
    thresholds: &[MATCHES],
    header: Header {
        detects: "A signature of Suricata's matched (`SURICATA_ALERT`), where its event log is read.",
        attack: "What the signature says; most often T1190 Exploit Public-Facing Application, T1046 Network Service Discovery.",
        rule: "Each signature of each pair of hosts, by Suricata's severity: 1 is high, 2 medium, 3 low, all further ones info. A rule \
            that names its target (`target:`) says who attacks; else it is who sent the packet that matched, and for answers to an \
            attack (`ATTACK_RESPONSE`) who received it.",
        numbers: "At 1, 10 and 100 matches in a window, with confidence 0.5, 0.6 and 0.7: signatures are written for those who look \
            twice. The original does not read alerts.",
        quiet: "One signature is never an alert, however often it matches: eight of a source and a severity weigh, each once more at 10 and 100. What \
            Suricata's rules call information or a decoder's complaint is severity 3.",
        evasion: "Whatever evades the rules.",
        proof: "Proven when the match is in an application's data over TCP, which Suricata follows after a handshake only.",
    },
};

/// Steps in matches of one signature between two hosts. The level is the severity's at most.
pub const MATCHES: Threshold = Threshold::steps(
    "matches",
    "matches of one signature between two hosts in a window (the level is the severity's at most)",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 0.5), rung(10, ThreatLevel::High, 0.6), rung(100, ThreatLevel::High, 0.7)],
);

const LIMITS: Limits = Limits { keys: 256, weighing: 8 };
/// What readers call such a notice.
const NOTE: &str = "Suricata::Alert";
/// Characters of a signature's text, and of its category's, that are told.
const TEXT: usize = 200;
const CATEGORY: usize = 64;

/// See the module.
pub struct SuricataAlert {
    matches: Steps<u64>,
}

impl SuricataAlert {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self { matches: Steps::new(settings.ladder(&SPEC, &MATCHES), LIMITS) }
    }
}

const fn level_of(severity: u32) -> ThreatLevel {
    match severity {
        0 | 1 => ThreatLevel::High,
        2 => ThreatLevel::Medium,
        3 => ThreatLevel::Low,
        _ => ThreatLevel::Info,
    }
}

/// The word behind `marker`.
fn word_after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    text.split_once(marker)?.1.split(' ').next().filter(|word| !word.is_empty())
}

fn is_proven(notice: &Notice) -> bool {
    notice.proto == Some(Proto::Tcp) && word_after(&notice.sub, " app=").is_some()
}

fn told(cx: &mut Cx<'_>, notice: &Notice, matches: &mut Steps<u64>) {
    let (Some(src), Some(dst)) = (notice.src, notice.dst) else { return };
    let signature = word_after(&notice.sub, "sid=").unwrap_or("?");
    let proof = if is_proven(notice) { Proof::Proven } else { Proof::Unproven };
    let key = member_of(signature) ^ member_of_ip(dst).rotate_left(7);
    let severity = number_after(&notice.sub, "severity=").unwrap_or(3);
    let Some(reached) = matches.add_capped(cx, key, notice.uid, proof, level_of(severity)) else { return };
    let is_answer = notice.msg.contains("ATTACK_RESPONSE") && word_after(&notice.sub, " target=").is_none();
    let (attacker, victim) = if is_answer { (dst, src) } else { (src, dst) };
    let says: String = notice.msg.chars().take(TEXT).collect();
    let category: String =
        notice.sub.split_once("category=").map_or("", |(_, rest)| rest).chars().take(CATEGORY).collect();
    let dropped = if notice.sub.contains(" action=blocked ") { ", which Suricata dropped" } else { "" };
    let finding = Finding {
        victim: Some(Entity::Ip(victim)),
        level: reached.rung.level,
        proto: notice.proto,
        dst_port: notice.port.filter(|_| !is_answer),
        proof: reached.proof,
        text: format!(
            "Suricata: {says} [{signature}], {category}, severity {severity}, {} times{dropped}",
            reached.n
        ),
        ..reached.finding(cx, EvidenceKind::SuricataAlert, attacker, notice.at)
    };
    cx.emit(finding);
}

impl Detector for SuricataAlert {
    in_steps!(matches);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Event::Notice(notice) = event
            && notice.note == NOTE
        {
            told(cx, notice, &mut self.matches);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, levels, notice};

    fn alert(n: usize, sub: &str, vary: impl Fn(&mut Notice)) -> Vec<Finding> {
        let mut bench = bench(SuricataAlert::new(&Settings::default()));
        let Event::Notice(mut alert) = notice(NOTE, "ET SCAN a scanner", "203.0.113.9") else {
            return Vec::new();
        };
        alert.dst = Some(at("192.168.1.5"));
        alert.port = Some(22);
        alert.sub = sub.into();
        vary(&mut alert);
        let event = Event::Notice(alert);
        (0..n).flat_map(|_| bench.feed(&event)).collect()
    }

    #[test]
    fn the_severity_is_the_level_and_repetition_the_confidence() {
        let of = |severity: u8| format!("severity={severity} sid=1:7 action=allowed category=Misc Attack");
        for (severity, expected) in [(1, "high 0.5"), (2, "medium 0.5"), (3, "low 0.5"), (4, "info 0.5")] {
            assert_eq!(levels(&alert(1, &of(severity), |_| {})), [expected]);
        }
        let grown = alert(99, &of(2), |_| {});
        assert_eq!(levels(&grown), ["medium 0.5", "medium 0.6"]);
        assert_eq!(grown[1].text, "Suricata: ET SCAN a scanner [1:7], Misc Attack, severity 2, 10 times");
        assert_eq!(grown[1].attacker.ip(), Some(at("203.0.113.9")));
    }

    #[test]
    fn small_matches_take_no_place_of_severe_ones() {
        let mut bench = bench(SuricataAlert::new(&Settings::default()));
        let mut told = |host: usize, severity: u8| {
            let Event::Notice(mut alert) = notice(NOTE, "ET a rule", "203.0.113.9") else {
                return Vec::new();
            };
            alert.dst = Some(at(&format!("192.168.1.{host}")));
            alert.sub = format!("severity={severity} sid=1:{severity} action=allowed category=x");
            levels(&bench.feed(&Event::Notice(alert)))
        };
        for small in [4, 3, 2] {
            for host in 1..=20 {
                told(host, small);
            }
        }
        let severe: Vec<_> = (1..=9).flat_map(|host| told(host, 1)).collect();
        assert_eq!(severe[..8], ["high 0.5"; 8]);
        assert_eq!(severe[8], "info 0.5");
    }

    #[test]
    fn who_answers_an_attack_is_not_the_attacker() {
        let answer = |notice: &mut Notice| notice.msg = "GPL ATTACK_RESPONSE id check returned root".into();
        let sub = "severity=2 sid=1:2100498 action=blocked category=Potentially Bad Traffic";
        let found = alert(1, sub, answer);
        assert_eq!(found[0].attacker.ip(), Some(at("192.168.1.5")));
        assert!(found[0].text.ends_with(", which Suricata dropped"), "{}", found[0].text);
        let named = alert(1, "severity=2 sid=1:2100498 action=allowed target=named category=x", answer);
        assert_eq!(named[0].attacker.ip(), Some(at("203.0.113.9")));
    }

    #[test]
    fn data_over_tcp_proves_and_texts_are_bounded() {
        let sub = "severity=1 sid=1:9 action=allowed app=http category=x";
        let tcp = alert(1, sub, |notice| notice.proto = Some(Proto::Tcp));
        assert_eq!(tcp[0].proof, Proof::Proven);
        let udp = alert(1, sub, |notice| notice.proto = Some(Proto::Udp));
        assert_eq!(udp[0].proof, Proof::Unproven);
        let long = alert(1, sub, |notice| notice.msg = "é".repeat(100_000));
        assert!(long[0].text.chars().count() < 400);
    }

    #[test]
    fn notices_of_zeek_are_none() {
        assert!(alert(9, "severity=1 sid=1:9", |notice| notice.note = "Scan::Port_Scan".into()).is_empty());
    }
}
