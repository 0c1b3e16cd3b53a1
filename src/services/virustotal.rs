//! VirusTotal, by version 2 of its interface: one question tells all four ratios, of which a free key has 500 a day.
//! <https://docs.virustotal.com/v2.0/reference/overview>

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Ask, Asks, MOST, Opinion, Pace, Sent, Service, Subject, Trouble, WITHIN, escaped, get};
use crate::config::VirusTotal as Settings;

/// See the module.
pub(super) struct VirusTotal {
    url: String,
    key: String,
    pace: Pace,
    holds: Duration,
}

impl VirusTotal {
    pub(super) fn new(settings: &Settings, key: String) -> Self {
        Self {
            url: settings.url.trim_end_matches('/').into(),
            key,
            pace: Pace { minute: settings.per_minute, day: settings.per_day },
            holds: settings.virustotal_update_period.0,
        }
    }
}

impl Service for VirusTotal {
    fn name(&self) -> &'static str {
        "virustotal"
    }

    fn knows(&self, subject: &Subject) -> bool {
        !matches!(subject, Subject::Server(_))
    }

    fn pace(&self) -> Pace {
        self.pace
    }

    fn holds(&self) -> Duration {
        self.holds
    }

    fn ask(&self, subject: &Subject, asks: &mut dyn Asks) -> Result<Opinion, Trouble> {
        let (report, name) = match subject {
            Subject::Address(_) => ("ip-address", "ip"),
            Subject::Domain(_) => ("domain", "domain"),
            Subject::Page(_) => ("url", "resource"),
            Subject::File(_) => ("file", "resource"),
            Subject::Server(_) => return Ok(Opinion::default()),
        };
        let (key, what) = (escaped(&self.key), escaped(&subject.to_string()));
        let url = format!("{}/vtapi/v2/{report}/report?apikey={key}&{name}={what}", self.url);
        let found = get(Ask::get(&url, MOST, WITHIN), Sent::Key, asks)?.unwrap_or(Value::Null);
        let facts = match subject {
            Subject::Address(_) | Subject::Domain(_) => of_host(&found),
            Subject::Page(_) => of_one(&found, "URL"),
            Subject::File(_) | Subject::Server(_) => of_one(&found, "file"),
        };
        Ok(Opinion { verdict: None, facts })
    }
}

/// The four ratios in percent: of all verdicts of all engines about what is known of a host, those that call it bad. What is known
/// without a verdict counts, too, as the original has it.
fn of_host(found: &Value) -> Map<String, Value> {
    let mut facts = Map::new();
    for (name, key) in [
        ("URL", "urls"),
        ("down_file", "downloaded_samples"),
        ("ref_file", "referrer_samples"),
        ("com_file", "communicating_samples"),
    ] {
        let lists = ["detected", "undetected"]
            .map(|kind| found.get(format!("{kind}_{key}")).and_then(Value::as_array));
        let verdicts = lists.into_iter().flatten().flatten().map(verdicts);
        let (bad, all) =
            verdicts.fold((0, 0), |(bad, all), (b, a)| (b.saturating_add(bad), a.saturating_add(all)));
        facts.insert(name.into(), json!(percent(bad, all)));
    }
    for (name, key) in [("asn", "asn"), ("as_owner", "as_owner"), ("country", "country")] {
        if let Some(value) = found.get(key).filter(|value| value.is_string() || value.is_u64()) {
            facts.insert(name.into(), value.clone());
        }
    }
    let names = found.get("resolutions").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = names
        .filter_map(|row| row.get("hostname").or_else(|| row.get("ip_address"))?.as_str())
        .filter(|name| name.len() <= 253)
        .take(RESOLUTIONS)
        .collect();
    if !names.is_empty() {
        facts.insert("resolutions".into(), json!(names));
    }
    facts
}

/// Resolutions that are kept, as in the original.
const RESOLUTIONS: usize = 10;

/// How many engines call something bad, of how many: an object, or for what is not detected sometimes a row (url, sha256, positives,
/// total, date).
fn verdicts(one: &Value) -> (u64, u64) {
    let number =
        |key: &str, at: usize| one.get(key).or_else(|| one.get(at)).and_then(Value::as_u64).unwrap_or(0);
    (number("positives", 2), number("total", 3))
}

fn of_one(found: &Value, name: &str) -> Map<String, Value> {
    let (bad, all) = verdicts(found);
    let mut facts = Map::new();
    if all > 0 {
        facts.insert(name.into(), json!(percent(bad, all)));
        facts.insert("positives".into(), json!(bad));
        facts.insert("total".into(), json!(all));
    }
    facts
}

/// With two digits.
fn percent(bad: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { (bad.min(all) as f64 * 10_000.0 / all as f64).round() / 100.0 }
}
