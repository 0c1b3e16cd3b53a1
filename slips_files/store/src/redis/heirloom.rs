//! The mirror of one router read back: what its standby takes over. What is not as we write it is left out and counted.
//!
//! With a secret that is all that is not sealed by it. Without one whoever writes Redis may have written it, so nothing of it is proven.

use std::net::IpAddr;

use slips_core::alert::AlertId;
use slips_core::evidence::{
    Again, Confidence, Entity, Evidence, EvidenceId, EvidenceKind, Finding, MAX_UIDS, Proof, ThreatLevel,
};
use slips_core::flow::{MacAddr, Proto, Uid};
use slips_core::time::{PacketTime, WindowId};

use super::VERSION;
use super::message::{AlertTold, BlockTold, EvidenceTold, Party};
use super::mirror::{ALERT, BLOCK, EVIDENCE};
use super::signature::is_sealed;
use crate::render::from_iso;

/// Longest text that is taken over, in bytes.
const MOST_TEXT: usize = 2048;

/// Of `profile_192.0.2.1_timewindow7` the address and the window.
pub fn of_profile_window(key: &str) -> Option<(IpAddr, WindowId)> {
    let (addr, window) = key.strip_prefix("profile_")?.split_once("_timewindow")?;
    Some((addr.parse().ok()?, WindowId(window.parse().ok()?)))
}

/// What matters of an alert that another one told.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertLeft {
    /// Identity, as text.
    pub id: String,
    /// When.
    pub at: PacketTime,
    /// Whether its source was proven.
    pub proof: Proof,
    /// The evidence that it used.
    pub evidence: Vec<EvidenceId>,
}

/// Whether somebody of ours wrote it, as far as that can be known.
fn is_ours(secret: Option<&str>, what: &str, text: &[u8]) -> bool {
    secret.is_none_or(|secret| std::str::from_utf8(text).is_ok_and(|text| is_sealed(secret, what, text)))
}

/// Reads an alert.
pub fn alert(text: &[u8], secret: Option<&str>) -> Option<AlertLeft> {
    is_ours(secret, ALERT, text).then_some(())?;
    let told: AlertTold = serde_json::from_slice(text).ok()?;
    (told.version == VERSION).then_some(())?;
    Some(AlertLeft {
        at: from_iso(&told.last_flow_datetime)?,
        proof: proof(told.proven && secret.is_some()),
        evidence: told.correl_id.iter().filter_map(|id| from_uuid(id).map(EvidenceId)).collect(),
        id: told.id,
    })
}

/// Reads an evidence against this attacker in this window.
pub fn evidence(text: &[u8], attacker: IpAddr, window: WindowId, secret: Option<&str>) -> Option<Evidence> {
    is_ours(secret, EVIDENCE, text).then_some(())?;
    let told: EvidenceTold = serde_json::from_slice(text).ok()?;
    let is_his = told.version == VERSION
        && told.timewindow.number == window.0
        && entity(&told.attacker)? == Entity::Ip(attacker);
    if !is_his || told.description.len() > MOST_TEXT {
        return None;
    }
    let victim = match &told.victim {
        Some(victim) => Some(entity(victim)?),
        None => None,
    };
    let uids = told.uid.iter().take(MAX_UIDS).map(|uid| Uid::new(uid)).collect();
    let finding = Finding {
        victim,
        level: ThreatLevel::from_name(&told.threat_level)?,
        confidence: Confidence::new(told.confidence),
        profile: told.profile.ip.parse().ok()?,
        proto: told.proto.as_deref().map(proto),
        src_port: told.src_port,
        dst_port: told.dst_port,
        text: told.description,
        uids,
        related: told.rel_id.iter().take(MAX_UIDS).filter_map(|id| from_uuid(id).map(EvidenceId)).collect(),
        proof: proof(told.proven && secret.is_some()),
        again: Again::Counts,
        ..Finding::new(
            EvidenceKind::from_name(&told.evidence_type)?,
            attacker,
            window,
            from_iso(&told.timestamp)?,
        )
    };
    Some(Evidence {
        id: EvidenceId(from_uuid(&told.id)?),
        finding,
        last_seen: from_iso(&told.last_seen)?,
        count: u32::try_from(told.count.max(1)).ok()?,
        accumulated: 0.0,
        proven: 0.0,
        revision: 0,
    })
}

/// A block that another one held.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockLeft {
    /// On whose word, as the book has it.
    pub source: String,
    /// Why.
    pub reason: String,
    /// The alert behind it.
    pub alert: Option<AlertId>,
    /// How.
    pub manner: String,
    /// Whether its sender could be forged.
    pub unproven: bool,
    /// Until when, wall time in microseconds; none: without an end.
    pub until: Option<i64>,
}

/// Reads a block of this network.
pub fn block(text: &[u8], net: &str, secret: Option<&str>) -> Option<BlockLeft> {
    is_ours(secret, BLOCK, text).then_some(())?;
    let told: BlockTold = serde_json::from_slice(text).ok()?;
    if told.version != VERSION || told.ip != net || !told.block {
        return None;
    }
    let short = |text: String, most| -> String {
        text.chars().filter(|letter| !letter.is_control()).take(most).collect()
    };
    let until = match told.until {
        Some(until) => Some(from_iso(&until)?.0),
        None => None,
    };
    Some(BlockLeft {
        source: short(told.source, 96),
        reason: short(told.reason, 400),
        alert: told.alert.as_deref().and_then(from_uuid).map(AlertId),
        manner: short(told.manner, 16),
        unproven: told.unproven || secret.is_none(),
        until,
    })
}

const fn proof(proven: bool) -> Proof {
    if proven { Proof::Proven } else { Proof::Unproven }
}

fn entity(party: &Party) -> Option<Entity> {
    if party.value.len() > MOST_TEXT {
        return None;
    }
    Some(match party.ioc_type.as_str() {
        "ip" => Entity::Ip(party.value.parse().ok()?),
        "domain" => Entity::Domain(party.value.as_str().into()),
        "url" => Entity::Url(party.value.as_str().into()),
        "mac" => Entity::Mac(MacAddr::parse(&party.value)?),
        "many" => Entity::Many,
        _ => return None,
    })
}

/// A name, or a number where there is none.
fn proto(text: &str) -> Proto {
    text.parse().map_or_else(|_| Proto::from_name(text), Proto::Other)
}

/// The number behind a text in the form of a UUID.
fn from_uuid(text: &str) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    let hex: String = text.split('-').collect();
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&hex, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::super::Word;
    use super::super::message::json;
    use super::super::signature::seal;
    use super::*;
    use slips_core::time::WindowWidth;

    fn found() -> Evidence {
        let at = PacketTime::from_secs_micros(7200, 5);
        let window = WindowWidth::HOUR.window_of(at);
        let finding = Finding {
            victim: Some(Entity::Ip(IpAddr::from([192, 168, 1, 5]))),
            level: ThreatLevel::High,
            confidence: Confidence::new(0.75),
            proto: Some(Proto::Other(47)),
            src_port: Some(1),
            dst_port: Some(22),
            text: "40 logins".into(),
            uids: vec![Uid::new("CabcdeFGH")],
            related: vec![EvidenceId(7)],
            proof: Proof::Proven,
            ..Finding::new(EvidenceKind::PasswordGuessing, IpAddr::from([203, 0, 113, 9]), window, at)
        };
        let last_seen = PacketTime::from_secs_micros(7300, 0);
        Evidence {
            id: finding.id(),
            finding,
            last_seen,
            count: 4,
            accumulated: 0.0,
            proven: 0.0,
            revision: 0,
        }
    }

    const SECRET: Option<&str> = Some("0123456789abcdef");

    fn sealed(what: &str, json: &str) -> String {
        seal(SECRET.expect("one"), what, json)
    }

    #[test]
    fn an_evidence_comes_back_as_it_was() {
        let (found, router) = (found(), Word::default());
        let (attacker, window) = (IpAddr::from([203, 0, 113, 9]), found.finding.window);
        let text = json(&EvidenceTold::new(&found, &router, WindowWidth::HOUR));
        let read = |text: &str, attacker, window, secret| evidence(text.as_bytes(), attacker, window, secret);
        assert_eq!(read(&sealed(EVIDENCE, &text), attacker, window, SECRET), Some(found.clone()));
        assert_eq!(read(&sealed(EVIDENCE, &text), IpAddr::from([203, 0, 113, 8]), window, SECRET), None);
        assert_eq!(read(&sealed(EVIDENCE, &text), attacker, WindowId(0), SECRET), None);
        for (from, to) in [
            ("PASSWORD_GUESSING", "NONE"),
            ("\"high\"", "\"worst\""),
            ("\"version\":1", "\"version\":9"),
            ("\"count\":4", "\"count\":99999999999"),
            ("1970-01-01T02:00:00.000005Z", "now"),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text, "{from}");
            assert_eq!(read(&wrong, attacker, window, None), None, "{to}");
        }
    }

    #[test]
    fn what_another_one_wrote_is_not_believed_and_without_a_secret_nothing_is_proven() {
        let (found, router) = (found(), Word::default());
        let (attacker, window) = (IpAddr::from([203, 0, 113, 9]), found.finding.window);
        let text = json(&EvidenceTold::new(&found, &router, WindowWidth::HOUR));
        let read = |text: &str, secret| evidence(text.as_bytes(), attacker, window, secret);
        assert_eq!(read(&text, SECRET), None, "unsigned");
        assert_eq!(read(&sealed(ALERT, &text), SECRET), None, "signed as something else");
        assert_eq!(read(&sealed(EVIDENCE, &text).replace("0.75", "0.95"), SECRET), None, "changed");
        assert_eq!(read(&text, None).map(|found| found.finding.proof), Some(Proof::Unproven));
    }

    #[test]
    fn names_of_profile_and_window_are_taken_apart() {
        let addr: IpAddr = "2001:db8::1".parse().expect("an address");
        assert_eq!(of_profile_window("profile_2001:db8::1_timewindow-7"), Some((addr, WindowId(-7))));
        for text in ["", "profile_", "profile_x_timewindow1", "profile_192.0.2.1_timewindow", "192.0.2.1"] {
            assert_eq!(of_profile_window(text), None, "{text}");
        }
    }

    #[test]
    fn a_block_comes_back_and_one_of_another_network_does_not() {
        let told = BlockTold {
            version: VERSION,
            router: "a".into(),
            ip: "203.0.113.9".into(),
            block: true,
            source: "alert".into(),
            reason: "PASSWORD_GUESSING".into(),
            alert: Some(AlertId(9).to_string()),
            manner: "drop".into(),
            unproven: false,
            from: "2026-01-02T10:00:00.000000Z".into(),
            until: Some("2026-01-02T11:00:00.000000Z".into()),
        };
        let text = sealed(BLOCK, &json(&told));
        let left = block(text.as_bytes(), "203.0.113.9", SECRET).expect("read");
        assert_eq!((left.alert, left.source.as_str()), (Some(AlertId(9)), "alert"));
        assert_eq!(left.until.map(|until| crate::render::iso(PacketTime(until))), told.until);
        assert_eq!(block(text.as_bytes(), "203.0.113.8", SECRET), None);
        assert_eq!(block(json(&told).as_bytes(), "203.0.113.9", SECRET), None);
        assert_eq!(block(json(&told).as_bytes(), "203.0.113.9", None).map(|left| left.unproven), Some(true));
        assert!(!left.unproven);
        assert_eq!(block(b"{}", "203.0.113.9", None), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_at_all_does_harm(text in "\\PC*|[{}\":,a-z0-9]{0,200}") {
            let addr = IpAddr::from([0, 0, 0, 0]);
            for secret in [SECRET, None] {
                let _ = evidence(text.as_bytes(), addr, WindowId(0), secret);
                let _ = (alert(text.as_bytes(), secret), block(text.as_bytes(), "::", secret));
            }
            let _ = (of_profile_window(&text), from_uuid(&text));
        }
    }
}
