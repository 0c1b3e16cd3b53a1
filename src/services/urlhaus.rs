//! URLhaus of abuse.ch: pages and files that spread malware. It wants a key, which is free.
//! <https://urlhaus-api.abuse.ch>

use std::time::Duration;

use serde_json::{Value, json};
use slips_core::evidence::ThreatLevel;

use super::{Ask, Asks, MOST, Opinion, Pace, Sent, Service, Subject, Trouble, Verdict, WITHIN, escaped, get};

/// See the module.
pub(super) struct UrlHaus {
    url: String,
    key: Option<String>,
}

impl UrlHaus {
    pub(super) fn new(url: &str, key: Option<String>) -> Self {
        Self { url: url.trim_end_matches('/').into(), key }
    }
}

impl Service for UrlHaus {
    fn name(&self) -> &'static str {
        "urlhaus"
    }

    fn knows(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Page(_) => true,
            Subject::File(digest) => digest.len() != 40,
            Subject::Address(_) | Subject::Domain(_) | Subject::Server(_) => false,
        }
    }

    fn pace(&self) -> Pace {
        Pace { minute: 30, day: 5_000 }
    }

    fn holds(&self) -> Duration {
        Duration::from_secs(86_400)
    }

    fn ask(&self, subject: &Subject, asks: &mut dyn Asks) -> Result<Opinion, Trouble> {
        let (place, name) = match subject {
            Subject::File(digest) if digest.len() == 64 => ("payload", "sha256_hash"),
            Subject::File(_) => ("payload", "md5_hash"),
            _ => ("url", "url"),
        };
        let form = format!("{name}={}", escaped(&subject.to_string()));
        let mut ask =
            Ask { form: Some(form), ..Ask::get(&format!("{}/v1/{place}/", self.url), MOST, WITHIN) };
        ask.headers.extend(self.key.iter().map(|key| ("auth-key".to_owned(), key.clone())));
        let sent = if self.key.is_some() { Sent::Key } else { Sent::NoKey };
        let found = get(ask, sent, asks)?.unwrap_or(Value::Null);
        match found.get("query_status").and_then(Value::as_str) {
            Some("ok") => Ok(opinion(subject, &found)),
            Some("no_results" | "invalid_url" | "invalid_md5_hash" | "invalid_sha256_hash") => {
                Ok(Opinion::default())
            }
            Some("unknown_auth_key" | "user_blacklisted") => Err(Trouble::Key),
            other => Err(Trouble::Missed(format!("says {}", other.unwrap_or("nothing")))),
        }
    }
}

fn opinion(subject: &Subject, found: &Value) -> Opinion {
    let payload = match subject {
        Subject::File(_) => found,
        _ => found.get("payloads").and_then(|payloads| payloads.get(0)).unwrap_or(&Value::Null),
    };
    let word = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let share = payload.get("virustotal").and_then(|found| found.get("percent")).and_then(percent);
    let level = match (share, subject) {
        (Some(percent), _) => of_percent(percent),
        (None, Subject::File(_)) => ThreatLevel::High,
        (None, _) => ThreatLevel::Medium,
    };
    let mut facts = serde_json::Map::new();
    for (name, value) in [
        ("threat", word(found, "threat")),
        ("signature", word(payload, "signature")),
        ("file_type", word(payload, "file_type")),
        ("filename", word(payload, "filename")),
        ("reference", word(found, "urlhaus_reference")),
    ] {
        if !value.is_empty() {
            facts.insert(name.into(), json!(value.chars().take(200).collect::<String>()));
        }
    }
    if let Some(percent) = share {
        facts.insert("virustotal_percent".into(), json!(percent));
    }
    let words: Vec<&str> =
        ["signature", "threat", "file_type"].into_iter().filter_map(|key| facts.get(key)?.as_str()).collect();
    let verdict = Verdict::new(level, 0.7, format!("URLhaus lists it ({})", words.join(", ")));
    Opinion { verdict: Some(verdict), facts }
}

/// A number, or a text with one: both are sent.
fn percent(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).filter(|percent| (0.0..=100.0).contains(percent))
}

/// The level whose weight is closest below, as the original means it; never critical on the word of a service.
fn of_percent(percent: f64) -> ThreatLevel {
    match percent {
        percent if percent >= 80.0 => ThreatLevel::High,
        percent if percent >= 50.0 => ThreatLevel::Medium,
        _ => ThreatLevel::Low,
    }
}
