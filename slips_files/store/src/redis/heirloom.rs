//! The mirror of one router read back: what its standby takes over. What is not as we write it is left out and counted.
//!
//! With a secret that is all that is not sealed by it for the very key and field under which it lies. Without one whoever writes Redis may have written it, so nothing of it is proven.

use std::net::IpAddr;

use slips_core::addr::Net;
use slips_core::alert::AlertId;
use slips_core::evidence::{
    Again, Confidence, Entity, Evidence, EvidenceId, EvidenceKind, Finding, MAX_UIDS, Proof, ThreatLevel,
};
use slips_core::flow::{MacAddr, Proto, Uid};
use slips_core::time::{PacketTime, WindowId};

use super::VERSION;
use super::keys::{Keys, profile_window};
use super::message::{AlertTold, BlockTold, EvidenceTold, Party};
use super::mirror::{ALERT, BLOCK, EVIDENCE, place};
use super::signature::is_sealed;
use crate::render::from_iso;

/// Longest text that is taken over, in bytes.
const MOST_TEXT: usize = 2048;

/// Of `profile_192.0.2.1_timewindow7` the address and the window.
pub fn of_profile_window(key: &str) -> Option<(IpAddr, WindowId)> {
    let (addr, window) = key.strip_prefix("profile_")?.split_once("_timewindow")?;
    let (addr, window) = (addr.parse().ok()?, WindowId(window.parse().ok()?));
    // Each has one name: under others the same could be told many times.
    (profile_window(addr, window) == key).then_some((addr, window))
}

/// Whose mirror is read, and by which secret it is sealed.
pub type Of<'a> = (&'a Keys, Option<&'a str>);

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

/// Whether somebody of ours wrote it there, as far as that can be known.
fn is_ours(secret: Option<&str>, what: &str, text: &[u8]) -> bool {
    secret.is_none_or(|secret| std::str::from_utf8(text).is_ok_and(|text| is_sealed(secret, what, text)))
}

/// Whether this is an identity as we write it.
fn is_id(id: &str) -> bool {
    from_uuid(id).is_some_and(|number| AlertId(number).to_string() == id)
}

/// Reads the alert of this identity, if it is about this attacker in this window.
pub fn alert(
    text: &[u8],
    (keys, secret): Of<'_>,
    id: &str,
    (attacker, window): (IpAddr, WindowId),
) -> Option<AlertLeft> {
    let is_there = is_id(id) && is_ours(secret, &place(ALERT, &keys.alert_named(id), ""), text);
    is_there.then_some(())?;
    let told: AlertTold = serde_json::from_slice(text).ok()?;
    let is_it = told.version == VERSION
        && told.router == keys.router().as_str()
        && told.id == id
        && told.profile.ip == attacker.to_string()
        && told.timewindow.number == window.0;
    is_it.then_some(())?;
    Some(AlertLeft {
        at: from_iso(&told.last_flow_datetime)?,
        proof: proof(told.proven && secret.is_some()),
        evidence: told.correl_id.iter().filter_map(|id| from_uuid(id).map(EvidenceId)).collect(),
        id: told.id,
    })
}

/// Reads the evidence of this identity against this attacker in this window.
pub fn evidence(
    text: &[u8],
    (keys, secret): Of<'_>,
    id: &str,
    (attacker, window): (IpAddr, WindowId),
) -> Option<Evidence> {
    let is_there = is_id(id) && is_ours(secret, &place(EVIDENCE, &keys.evidence(attacker, window), id), text);
    is_there.then_some(())?;
    let told: EvidenceTold = serde_json::from_slice(text).ok()?;
    let is_his = told.version == VERSION
        && told.router == keys.router().as_str()
        && told.id == id
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
        accumulated: Some(told.accumulated_threat_level).filter(|sum| sum.is_finite() && *sum >= 0.0)?,
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

/// Reads the block of this network.
pub fn block(text: &[u8], (keys, secret): Of<'_>, net: Net) -> Option<BlockLeft> {
    is_ours(secret, &place(BLOCK, &keys.block(net), ""), text).then_some(())?;
    let told: BlockTold = serde_json::from_slice(text).ok()?;
    let is_it = told.version == VERSION
        && told.router == keys.router().as_str()
        && told.ip == net.to_string()
        && told.block;
    is_it.then_some(())?;
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
            accumulated: 2.5,
            proven: 0.0,
            revision: 0,
        }
    }

    const SECRET: Option<&str> = Some("0123456789abcdef");
    const ATTACKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 8));

    fn keys(router: &str) -> Keys {
        Keys::new(Word::default(), Word::new(router).expect("a word"))
    }

    fn sealed(what: &str, key: &str, field: &str, json: &str) -> String {
        seal(SECRET.expect("one"), &place(what, key, field), json)
    }

    /// An evidence as it lies in the mirror of `a`, without and with its seal.
    fn told(found: &Evidence) -> (String, String) {
        let router = Word::new("a").expect("a word");
        let text = json(&EvidenceTold::new(found, &router, WindowWidth::HOUR));
        let key = keys("a").evidence(ATTACKER, found.finding.window);
        let sealed = sealed(EVIDENCE, &key, &found.id.to_string(), &text);
        (text, sealed)
    }

    #[test]
    fn an_evidence_comes_back_as_it_was() {
        let found = found();
        let (id, window, keys) = (found.id.to_string(), found.finding.window, keys("a"));
        let (text, sealed) = told(&found);
        let read = |text: &str, attacker, window, secret| {
            evidence(text.as_bytes(), (&keys, secret), &id, (attacker, window))
        };
        assert_eq!(read(&sealed, ATTACKER, window, SECRET), Some(found.clone()));
        for secret in [SECRET, None] {
            assert_eq!(read(&sealed, OTHER, window, secret), None);
            assert_eq!(read(&sealed, ATTACKER, WindowId(0), secret), None);
        }
        for (from, to) in [
            ("PASSWORD_GUESSING", "NONE"),
            ("\"high\"", "\"worst\""),
            ("\"version\":1", "\"version\":9"),
            ("\"count\":4", "\"count\":99999999999"),
            ("1970-01-01T02:00:00.000005Z", "now"),
            ("\"accumulated_threat_level\":2.5", "\"accumulated_threat_level\":-1.0"),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text, "{from}");
            assert_eq!(read(&wrong, ATTACKER, window, None), None, "{to}");
        }
    }

    #[test]
    fn what_another_one_wrote_is_not_believed_and_without_a_secret_nothing_is_proven() {
        let found = found();
        let (id, whom, keys) = (found.id.to_string(), (ATTACKER, found.finding.window), keys("a"));
        let (text, sealed_text) = told(&found);
        let read = |text: &str, secret| evidence(text.as_bytes(), (&keys, secret), &id, whom);
        assert_eq!(read(&text, SECRET), None, "unsigned");
        let as_alert = sealed(ALERT, &keys.evidence(whom.0, whom.1), &id, &text);
        assert_eq!(read(&as_alert, SECRET), None, "signed as something else");
        assert_eq!(read(&sealed_text.replace("0.75", "0.95"), SECRET), None, "changed");
        assert_eq!(read(&text, None).map(|found| found.finding.proof), Some(Proof::Unproven));
    }

    #[test]
    fn what_lies_elsewhere_than_where_it_was_sealed_is_not_believed() {
        let found = found();
        let (id, whom) = (found.id.to_string(), (ATTACKER, found.finding.window));
        let (_, text) = told(&found);
        let (ours, theirs) = (keys("a"), keys("b"));
        assert!(evidence(text.as_bytes(), (&ours, SECRET), &id, whom).is_some());
        let capitals = id.to_uppercase();
        for (keys, id) in
            [(&ours, "00000000-0000-0000-0000-000000000000"), (&ours, &capitals), (&theirs, &id)]
        {
            for secret in [SECRET, None] {
                assert_eq!(evidence(text.as_bytes(), (keys, secret), id, whom), None, "{id}");
            }
        }
        // An alert of one attacker is none of another, whoever's field names it.
        let at = PacketTime::from_secs_micros(7200, 5);
        let made = |id: &str| AlertTold {
            version: VERSION,
            router: "a".into(),
            id: id.into(),
            profile: super::super::OfProfile { ip: ATTACKER.to_string() },
            timewindow: super::super::TimeWindow {
                number: whom.1.0,
                start_time: String::new(),
                end_time: String::new(),
            },
            accumulated_threat_level: 1.0,
            correl_id: vec![id.into()],
            last_flow_datetime: crate::render::iso(at),
            threat_level: "critical".into(),
            confidence: 1.0,
            cause: "critical".into(),
            proven: true,
            in_conversation: false,
            attacker_is_local: false,
            last_evidence: None,
        };
        let text = sealed(ALERT, &ours.alert_named(&id), "", &json(&made(&id)));
        let read = |keys, secret, id: &str, whom| alert(text.as_bytes(), (keys, secret), id, whom);
        assert_eq!(read(&ours, SECRET, &id, whom).map(|left| left.at), Some(at));
        for secret in [SECRET, None] {
            assert_eq!(read(&ours, secret, &id, (OTHER, whom.1)), None, "another attacker");
            assert_eq!(read(&ours, secret, &id, (whom.0, WindowId(0))), None, "another window");
            assert_eq!(read(&ours, secret, &capitals, whom), None, "another name");
            assert_eq!(read(&theirs, secret, &id, whom), None, "another router");
        }
    }

    #[test]
    fn names_of_profile_and_window_are_taken_apart_and_each_has_one() {
        let addr: IpAddr = "2001:db8::1".parse().expect("an address");
        assert_eq!(of_profile_window("profile_2001:db8::1_timewindow-7"), Some((addr, WindowId(-7))));
        for text in [
            "",
            "profile_",
            "profile_x_timewindow1",
            "profile_192.0.2.1_timewindow",
            "192.0.2.1",
            "profile_192.0.2.1_timewindow+7",
            "profile_192.0.2.1_timewindow007",
            "profile_2001:db8:0::1_timewindow7",
        ] {
            assert_eq!(of_profile_window(text), None, "{text}");
        }
    }

    #[test]
    fn a_block_comes_back_and_one_of_another_network_or_router_does_not() {
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
        let net = Net::host(ATTACKER);
        let (ours, theirs) = (keys("a"), keys("b"));
        let text = sealed(BLOCK, &ours.block(net), "", &json(&told));
        let left = block(text.as_bytes(), (&ours, SECRET), net).expect("read");
        assert_eq!((left.alert, left.source.as_str()), (Some(AlertId(9)), "alert"));
        assert_eq!(left.until.map(|until| crate::render::iso(PacketTime(until))), told.until);
        for secret in [SECRET, None] {
            assert_eq!(block(text.as_bytes(), (&ours, secret), Net::host(OTHER)), None);
            assert_eq!(block(text.as_bytes(), (&theirs, secret), net), None);
        }
        // As the other router's, and brought here.
        let brought = sealed(BLOCK, &theirs.block(net), "", &json(&told));
        assert_eq!(block(brought.as_bytes(), (&ours, SECRET), net), None);
        assert_eq!(block(json(&told).as_bytes(), (&ours, SECRET), net), None);
        let unproven = block(json(&told).as_bytes(), (&ours, None), net).map(|left| left.unproven);
        assert_eq!(unproven, Some(true));
        assert!(!left.unproven);
        assert_eq!(block(b"{}", (&ours, None), net), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_at_all_does_harm(text in "\\PC*|[{}\":,a-z0-9]{0,200}") {
            let (addr, keys) = (IpAddr::from([0, 0, 0, 0]), keys("a"));
            for secret in [SECRET, None] {
                let (of, whom) = ((&keys, secret), (addr, WindowId(0)));
                let _ = (evidence(text.as_bytes(), of, &text, whom), alert(text.as_bytes(), of, &text, whom));
                let _ = block(text.as_bytes(), of, Net::host(addr));
            }
            let _ = (of_profile_window(&text), from_uuid(&text));
        }
    }
}
