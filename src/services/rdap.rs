//! When a domain was registered, by RDAP, the registries' successor of whois (RFC 9082, 9083).

use std::time::Duration;

use serde_json::{Value, json};

use super::{Ask, Asks, MOST, Opinion, Pace, Sent, Service, Subject, Trouble, WITHIN, get};

/// See the module.
pub(super) struct Rdap {
    url: String,
}

impl Rdap {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').into() }
    }
}

/// The name under which answers are kept.
pub(super) const NAME: &str = "rdap";

impl Service for Rdap {
    fn name(&self) -> &'static str {
        NAME
    }

    fn knows(&self, subject: &Subject) -> bool {
        // Only what somebody registered, not each name below it.
        matches!(subject, Subject::Domain(name) if slips_intel::registered(name) == Some(&**name))
    }

    fn pace(&self) -> Pace {
        Pace { minute: 20, day: 3_000 }
    }

    fn holds(&self) -> Duration {
        Duration::from_secs(30 * 86_400)
    }

    fn ask(&self, subject: &Subject, asks: &mut dyn Asks) -> Result<Opinion, Trouble> {
        let mut ask = Ask::get(&format!("{}/domain/{subject}", self.url), MOST, WITHIN);
        ask.headers.push(("accept".into(), "application/rdap+json".into()));
        let mut opinion = Opinion::default();
        if let Some(found) = get(ask, Sent::NoKey, asks)? {
            let events = found.get("events").and_then(Value::as_array).into_iter().flatten();
            let date = |action: &str| {
                let mut of = events
                    .clone()
                    .filter(|event| event.get("eventAction").and_then(Value::as_str) == Some(action));
                of.find_map(|event| event.get("eventDate")?.as_str()?.parse::<jiff::Timestamp>().ok())
            };
            for (name, action) in
                [("registered", "registration"), ("changed", "last changed"), ("expires", "expiration")]
            {
                if let Some(at) = date(action) {
                    opinion.facts.insert(name.into(), json!(at.as_second()));
                }
            }
            if let Some(name) = registrar(&found) {
                opinion.facts.insert("registrar".into(), json!(name.chars().take(100).collect::<String>()));
            }
        }
        Ok(opinion)
    }
}

/// Who registered it for somebody: the `fn` of a card (RFC 7095).
fn registrar(found: &Value) -> Option<&str> {
    let has = |entity: &&Value| {
        entity
            .get("roles")
            .and_then(Value::as_array)
            .is_some_and(|roles| roles.iter().any(|role| role == "registrar"))
    };
    let entity = found.get("entities")?.as_array()?.iter().find(has)?;
    let card = entity.get("vcardArray")?.get(1)?.as_array()?;
    card.iter().find(|line| line.get(0).is_some_and(|name| name == "fn"))?.get(3)?.as_str()
}

/// How many days ago a domain was registered, by an answer that was kept (JSON), at `now` in seconds.
pub fn registered_days(answer: &str, now: i64) -> Option<u32> {
    let opinion: Opinion = serde_json::from_str(answer).ok()?;
    let registered = opinion.facts.get("registered")?.as_i64()?;
    // A registry whose clock is ahead of ours.
    u32::try_from(now.saturating_sub(registered).max(0) / 86_400).ok()
}
