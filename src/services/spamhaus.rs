//! The blocklist of Spamhaus over DNS (ZEN), asked by the resolver of this host. <https://www.spamhaus.org/blocklists/zen-blocklist/>

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::json;
use slips_core::evidence::ThreatLevel;

use super::{Asks, Opinion, Pace, Service, Subject, Trouble, Verdict};

/// See the module.
pub(super) struct Spamhaus {
    zone: String,
}

impl Spamhaus {
    pub(super) fn new(zone: &str) -> Self {
        Self { zone: zone.trim_matches('.').into() }
    }
}

/// The longest wait for a resolver.
const WITHIN: Duration = Duration::from_secs(5);

impl Service for Spamhaus {
    fn name(&self) -> &'static str {
        "spamhaus"
    }

    fn knows(&self, subject: &Subject) -> bool {
        matches!(subject, Subject::Address(_))
    }

    fn pace(&self) -> Pace {
        Pace { minute: 60, day: 20_000 }
    }

    fn holds(&self) -> Duration {
        Duration::from_secs(86_400)
    }

    fn ask(&self, subject: &Subject, asks: &mut dyn Asks) -> Result<Opinion, Trouble> {
        let Subject::Address(addr) = subject else { return Ok(Opinion::default()) };
        let name = format!("{}.{}.", reversed(*addr), self.zone);
        let codes = asks.addresses(&name, WITHIN)?;
        let codes = codes.into_iter().filter_map(|code| match code {
            IpAddr::V4(code) => Some(code),
            IpAddr::V6(_) => None,
        });
        opinion(&codes.collect::<Vec<_>>())
    }
}

/// An address as names of such lists have it.
fn reversed(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(v6) => {
            let digits: Vec<char> = v6
                .octets()
                .iter()
                .flat_map(|byte| format!("{byte:02x}").chars().collect::<Vec<_>>())
                .collect();
            digits.iter().rev().map(char::to_string).collect::<Vec<_>>().join(".")
        }
    }
}

/// What the codes say. 127.255.255.x says that we are not answered (a public resolver, too many questions), and no other network is a code
/// at all: some resolvers answer whatever they are asked with an address of their own.
fn opinion(codes: &[Ipv4Addr]) -> Result<Opinion, Trouble> {
    let mut lists = Vec::new();
    for code in codes {
        match code.octets() {
            [127, 255, 255, 255] => return Err(Trouble::Enough(None)),
            [127, 255, 255, 254] => return Err(Trouble::Missed("does not answer public resolvers".into())),
            [127, 255, 255, _] => return Err(Trouble::Missed(format!("answers with the error {code}"))),
            [127, 0, 0, 2] => lists.push("SBL"),
            [127, 0, 0, 3] => lists.push("CSS"),
            [127, 0, 0, 4..=7] => lists.push("XBL"),
            [127, 0, 0, 9] => lists.push("DROP"),
            // The lists of those who should send no mail themselves hold half the homes of the world.
            [127, 0, 0, 10 | 11] => lists.push("PBL"),
            [127, 0, ..] => {}
            _ => return Err(Trouble::Missed(format!("somebody answers in its place: {code}"))),
        }
    }
    lists.sort_unstable();
    lists.dedup();
    let bad: Vec<&str> = lists.iter().copied().filter(|list| *list != "PBL").collect();
    let verdict = (!bad.is_empty())
        .then(|| Verdict::new(ThreatLevel::Medium, 1.0, format!("Spamhaus lists it ({})", bad.join(", "))));
    let mut facts = serde_json::Map::new();
    if !lists.is_empty() {
        facts.insert("lists".into(), json!(lists));
    }
    Ok(Opinion { verdict, facts })
}
