//! VirusTotal. By version 2 of its interface one question tells all four ratios, of which a free key has 500 a day
//! (<https://docs.virustotal.com/v2.0/reference/overview>). By version 3 it tells what engines say of the thing itself; what is known of a host's
//! pages and files takes a question each, half of which a free key may not ask (<https://docs.virustotal.com/reference/overview>).

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
    version: u8,
}

impl VirusTotal {
    pub(super) fn new(settings: &Settings, key: String) -> Self {
        Self {
            url: settings.url.trim_end_matches('/').into(),
            key,
            pace: Pace { minute: settings.per_minute, day: settings.per_day },
            holds: settings.virustotal_update_period.0,
            version: settings.api_version,
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
        if self.version == 3 {
            return self.ask_by_3(subject, asks);
        }
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

impl VirusTotal {
    fn ask_by_3(&self, subject: &Subject, asks: &mut dyn Asks) -> Result<Opinion, Trouble> {
        let what = subject.to_string();
        let (place, name) = match subject {
            Subject::Address(_) => ("ip_addresses", "host"),
            Subject::Domain(_) => ("domains", "host"),
            Subject::Page(_) => ("urls", "URL"),
            Subject::File(_) => ("files", "file"),
            Subject::Server(_) => return Ok(Opinion::default()),
        };
        let id = if place == "urls" { base64url(what.as_bytes()) } else { escaped(&what) };
        let mut ask = Ask::get(&format!("{}/api/v3/{place}/{id}", self.url), MOST, WITHIN);
        ask.headers.push(("x-apikey".into(), self.key.clone()));
        let found = get(ask, Sent::Key, asks)?.unwrap_or(Value::Null);
        let known = found.pointer("/data/attributes").unwrap_or(&Value::Null);
        Ok(Opinion { verdict: None, facts: of_attributes(known, name) })
    }
}

/// What engines say of a thing, in percent, and whose network it is in.
fn of_attributes(known: &Value, name: &str) -> Map<String, Value> {
    let mut facts = Map::new();
    let count = |key: &str| {
        known.pointer(&format!("/last_analysis_stats/{key}")).and_then(Value::as_u64).unwrap_or(0)
    };
    let bad = count("malicious").saturating_add(count("suspicious"));
    // What timed out, failed or does not know such a thing said nothing.
    let all = ["harmless", "undetected"].into_iter().fold(bad, |all, key| all.saturating_add(count(key)));
    if all > 0 {
        facts.insert(name.into(), json!(percent(bad, all)));
        facts.insert("positives".into(), json!(bad));
        facts.insert("total".into(), json!(all));
    }
    network(known, &mut facts);
    facts
}

/// Whose network a host is in.
fn network(found: &Value, facts: &mut Map<String, Value>) {
    for name in ["asn", "as_owner", "country"] {
        if let Some(value) = found.get(name).filter(|value| value.is_string() || value.is_u64()) {
            facts.insert(name.into(), value.clone());
        }
    }
}

/// As version 3 names pages: base64 for URLs (RFC 4648), without what fills it up.
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().zip([16, 8, 0]).fold(0, |bits, (byte, shift)| bits | u32::from(*byte) << shift);
        let digits = [18, 12, 6, 0].map(|shift| char::from(DIGITS[(bits >> shift) as usize & 63]));
        text.extend(digits.into_iter().take(three.len() + 1));
    }
    text
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
    network(found, &mut facts);
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

#[cfg(test)]
mod tests {
    use super::base64url;

    #[test]
    fn pages_are_named_as_rfc_4648_says() {
        for (text, name) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("\u{ff}?>", "w78_Pg"),
        ] {
            assert_eq!(base64url(text.as_bytes()), name);
        }
    }
}
