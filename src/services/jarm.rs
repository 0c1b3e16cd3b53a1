//! JARM: what a TLS server says to ten odd greetings tells which program it is. Servers that other evidence puts in doubt are asked
//! themselves, and their fingerprints looked up in the lists. <https://github.com/salesforce/jarm>

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, json};
use slips_core::evidence::ThreatLevel;
use slips_core::intel::{Current, Key, Reader};
use slips_intel::jarm::NOTHING;

use super::{Asks, Opinion, Pace, Service, Subject, Trouble, Verdict};
use crate::outside::{Missed, Reach, TlsServer};

/// Under which answers are kept, and the fact in them.
pub const NAME: &str = "jarm";
/// How long an answer holds.
pub const HOLDS: Duration = Duration::from_secs(86_400);
/// How long it holds that there was none, or nothing but silence: the server may have been blocked by us, or be up again soon.
const SILENCE_HOLDS: Duration = Duration::from_secs(600);
/// Longest time for ten questions: of the daemon, whose other questions wait meanwhile, and of a person.
const WITHIN: Duration = Duration::from_secs(8);
const BY_HAND: Duration = Duration::from_secs(30);
/// How sure: other programs may answer alike. The original's number.
const CONFIDENCE: f64 = 0.7;

/// See the module.
pub(super) struct Jarm {
    intel: Reader,
}

impl Jarm {
    pub(super) fn new(intel: &Current) -> Self {
        Self { intel: intel.reader() }
    }
}

/// How a server is asked.
pub fn question(host: String, port: u16, reach: Reach) -> TlsServer {
    let within = if reach == Reach::Anywhere { BY_HAND } else { WITHIN };
    TlsServer { host, port, within, reach }
}

/// What is kept of an answer.
pub fn opinion(fingerprint: &str) -> Opinion {
    let facts = Map::from_iter([(NAME.to_owned(), json!(fingerprint))]);
    Opinion { verdict: None, facts }
}

/// As what a server's answers are kept.
pub fn subject(server: SocketAddr) -> String {
    Subject::Server(server).to_string()
}

impl Service for Jarm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn knows(&self, subject: &Subject) -> bool {
        matches!(subject, Subject::Server(_))
    }

    fn pace(&self) -> Pace {
        // A server that drips its answers holds the others up for a third of the time at most.
        Pace { minute: 2, day: 500 }
    }

    fn holds(&self) -> Duration {
        HOLDS
    }

    fn opinion_holds(&self, opinion: &Opinion) -> Duration {
        let known = opinion.facts.get(NAME).and_then(|known| known.as_str());
        if known.is_some_and(|known| known != NOTHING) { HOLDS } else { SILENCE_HOLDS }
    }

    fn ask(&self, subject: &Subject, asks: &mut dyn Asks) -> Result<Opinion, Trouble> {
        let Subject::Server(at) = subject else { return Ok(Opinion::default()) };
        match asks.jarm(&question(at.ip().to_string(), at.port(), Reach::Public)) {
            Ok(jarm) => Ok(opinion(&jarm.fingerprint)),
            // That this one is gone says nothing about the next.
            Err(Missed::Unreachable(_) | Missed::Slow(_) | Missed::Broken(_)) => Ok(Opinion::default()),
            Err(missed) => Err(missed.into()),
        }
    }

    /// What the lists of today say, however old the fingerprint is.
    fn weigh(&mut self, opinion: &mut Opinion) {
        let Some(fingerprint) = opinion.facts.get(NAME).and_then(|known| known.as_str()) else { return };
        let listed = self.intel.get().look_up(Key::Jarm(fingerprint));
        opinion.verdict = listed.filter(|listed| listed.level > ThreatLevel::Info).map(|listed| {
            Verdict::new(listed.level, CONFIDENCE, format!("its JARM {fingerprint} is listed as {listed}"))
        });
    }
}
