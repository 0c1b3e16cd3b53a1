//! Services outside that are asked about single addresses, names, pages and files, each only if the owner turned it on.
//!
//! Nothing is asked about our own hosts, private addresses or names of local networks. Each service has its pace and its day's quota, each
//! answer is kept and holds for a while, and what does not fit is left unasked: nothing waits for a service. Start with [`Service`]; the
//! daemon's thread is in `daemon/services.rs`.

mod case;
mod desk;
mod hashlookup;
pub mod jarm;
mod rdap;
mod spamhaus;
mod subject;
mod urlhaus;
mod virustotal;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use slips_core::evidence::ThreatLevel;
use slips_core::intel::Current;

pub use case::{Case, cases, suspect};
pub use desk::{Desk, KEPT, Moment, Told};
pub use rdap::registered_days;
pub use subject::Subject;

use crate::config::Config;
use crate::outside::{Ask, Asks, Head, Missed};

/// One service.
pub trait Service: Send {
    /// Its name, under which answers are kept.
    fn name(&self) -> &'static str;

    /// Whether it can be asked about this.
    fn knows(&self, subject: &Subject) -> bool;

    /// How often it may be asked.
    fn pace(&self) -> Pace;

    /// How long an answer holds.
    fn holds(&self) -> Duration;

    /// How long this answer holds, where some hold shorter.
    fn opinion_holds(&self, _opinion: &Opinion) -> Duration {
        self.holds()
    }

    /// Asks.
    ///
    /// # Errors
    /// When there is no answer.
    fn ask(&self, subject: &Subject, asks: &mut dyn Asks) -> Result<Opinion, Trouble>;

    /// Judges an answer, new or kept, by what is known now.
    fn weigh(&mut self, _opinion: &mut Opinion) {}
}

/// How often a service may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Questions in a minute.
    pub minute: u32,
    /// Questions in a day.
    pub day: u32,
}

/// What a service says of something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Opinion {
    /// How bad it is, where it says that it is.
    pub verdict: Option<Verdict>,
    /// What else it says.
    pub facts: Map<String, Value>,
}

impl fmt::Display for Opinion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Some(verdict) => write!(f, "{}: {}", verdict.level, verdict.text)?,
            None => f.write_str("nothing against it")?,
        }
        for (name, value) in &self.facts {
            write!(f, "; {name} {value}")?;
        }
        Ok(())
    }
}

/// That something is bad.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How bad: the name of a threat level.
    pub level: String,
    /// How sure, 0 to 1.
    pub confidence: f64,
    /// In its words, for people.
    pub text: String,
}

impl Verdict {
    /// That something is bad.
    pub fn new(level: ThreatLevel, confidence: f64, text: impl Into<String>) -> Self {
        Self { level: level.name().into(), confidence, text: text.into().chars().take(MOST_TEXT).collect() }
    }
}

/// Longest text of a service that is told on, in letters.
const MOST_TEXT: usize = 200;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It has answered enough for now.
    #[error("wants to be left alone")]
    Enough(Option<u64>),
    /// It does not take our key.
    #[error("does not take the key")]
    Key,
    /// It was not reached, or makes no sense.
    #[error("{0}")]
    Missed(String),
}

impl From<Missed> for Trouble {
    fn from(missed: Missed) -> Self {
        Self::Missed(missed.to_string())
    }
}

/// The file of the answers, in the output directory.
pub const ANSWERS: &str = "services.sqlite";
/// Largest answer, and longest wait for it.
const MOST: u64 = 8 << 20;
const WITHIN: Duration = Duration::from_secs(20);

/// Whether a key was sent with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Key,
    NoKey,
}

/// A GET of JSON; nothing where the service has never heard of it.
fn get(ask: Ask, sent: Sent, asks: &mut dyn Asks) -> Result<Option<Value>, Trouble> {
    let (head, body) = asks.ask_whole(&ask)?;
    read(&head, &body, sent)
}

/// A status, and JSON.
fn read(head: &Head, body: &[u8], sent: Sent) -> Result<Option<Value>, Trouble> {
    match head.status {
        200 => {
            let parsed = serde_json::from_slice(body);
            parsed.map(Some).map_err(|error| Trouble::Missed(format!("answers no JSON: {error}")))
        }
        // VirusTotal's 204 says that the quota is used up.
        204 | 429 => Err(Trouble::Enough(head.retry_after)),
        // Without a key it means this question, or this hour.
        401 | 403 if sent == Sent::Key => Err(Trouble::Key),
        404 => Ok(None),
        status => Err(Trouble::Missed(format!("answers with {status}"))),
    }
}

/// A text as a part of a query or a form.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

/// The services that are turned on, and what keeps others from it. Those that look things up in the lists need them.
pub fn services(config: &Config, lists: Option<&Current>) -> (Vec<Box<dyn Service>>, Vec<String>) {
    let (mut services, mut problems): (Vec<Box<dyn Service>>, _) = (Vec::new(), Vec::new());
    let settings = &config.services;
    match config.virustotal.key() {
        Ok(Some(key)) => services.push(Box::new(virustotal::VirusTotal::new(&config.virustotal, key))),
        Ok(None) => {}
        Err(problem) => problems.push(format!("virustotal: {problem}")),
    }
    if settings.urlhaus {
        match settings.urlhaus_key() {
            Ok(key) => services.push(Box::new(urlhaus::UrlHaus::new(&settings.urlhaus_url, key))),
            Err(problem) => problems.push(format!("urlhaus: {problem}")),
        }
    }
    if settings.circl_hashlookup {
        services.push(Box::new(hashlookup::HashLookup::new(&settings.circl_hashlookup_url)));
    }
    if settings.spamhaus {
        services.push(Box::new(spamhaus::Spamhaus::new(&settings.spamhaus_zone)));
    }
    if settings.rdap {
        services.push(Box::new(rdap::Rdap::new(&settings.rdap_url)));
    }
    if let Some(lists) = lists.filter(|_| settings.jarm) {
        services.push(Box::new(jarm::Jarm::new(lists)));
    }
    (services, problems)
}

#[cfg(test)]
pub(crate) mod tests;
