//! CIRCL's hash lookup: files that are known, most of them good. <https://hashlookup.circl.lu>

use std::time::Duration;

use serde_json::{Value, json};
use slips_core::evidence::ThreatLevel;

use super::{Ask, Asks, MOST, Opinion, Pace, Sent, Service, Subject, Trouble, Verdict, WITHIN, get};

/// See the module.
pub(super) struct HashLookup {
    url: String,
}

impl HashLookup {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').into() }
    }
}

impl Service for HashLookup {
    fn name(&self) -> &'static str {
        "circl"
    }

    fn knows(&self, subject: &Subject) -> bool {
        matches!(subject, Subject::File(_))
    }

    fn pace(&self) -> Pace {
        Pace { minute: 30, day: 5_000 }
    }

    fn holds(&self) -> Duration {
        Duration::from_secs(7 * 86_400)
    }

    fn ask(&self, subject: &Subject, asks: &mut dyn Asks) -> Result<Opinion, Trouble> {
        let digest = subject.to_string();
        let kind = match digest.len() {
            32 => "md5",
            40 => "sha1",
            _ => "sha256",
        };
        let url = format!("{}/lookup/{kind}/{digest}", self.url);
        Ok(get(Ask::get(&url, MOST, WITHIN), Sent::NoKey, asks)?
            .map(|found| opinion(&found))
            .unwrap_or_default())
    }
}

fn opinion(found: &Value) -> Opinion {
    let mut facts = serde_json::Map::new();
    facts.insert("known".into(), json!(true));
    let trust =
        found.get("hashlookup:trust").and_then(Value::as_f64).filter(|trust| (0.0..=100.0).contains(trust));
    if let Some(trust) = trust {
        facts.insert("trust".into(), json!(trust));
    }
    if let Some(name) = found.get("FileName").and_then(Value::as_str) {
        facts.insert("filename".into(), json!(name.chars().take(200).collect::<String>()));
    }
    // A text of names with blanks between them, or an array of them.
    let bad = found.get("KnownMalicious").filter(|bad| !bad.is_null());
    let verdict = bad.map(|bad| {
        let lists: Vec<&str> = match bad {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            bad => bad.as_str().unwrap_or_default().split_whitespace().collect(),
        };
        let confidence = match lists.len() {
            0 | 1 => 0.5,
            2 => 0.7,
            _ => 1.0,
        };
        Verdict::new(
            of_trust(trust.unwrap_or(50.0)),
            confidence,
            format!("CIRCL: known by {}", lists.join(", ")),
        )
    });
    Opinion { verdict, facts }
}

/// `(100 - trust) / 100` as the name of a level: the original's rule, without critical on the word of a service.
fn of_trust(trust: f64) -> ThreatLevel {
    match 100.0 - trust {
        bad if bad >= 80.0 => ThreatLevel::High,
        bad if bad >= 50.0 => ThreatLevel::Medium,
        bad if bad >= 20.0 => ThreatLevel::Low,
        _ => ThreatLevel::Info,
    }
}
