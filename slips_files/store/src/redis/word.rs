//! What outside programs say over Redis: evidence and commands. Whoever reaches Redis can say anything, so nothing is believed without a
//! signature, or a channel that Redis' access list keeps for its module; everything is bounded, and who says too much is not heard.
//!
//! Pure: bytes and a time come in, what was said comes out.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use slips_core::addr::Net;
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Proto, Uid};
use slips_core::time::{PacketTime, WindowId};
use thiserror::Error;

use super::Word;
use super::keys::Channel;
use super::signature::{module_key, signed, unhex, verifies};
use crate::render::escape;

/// Longest message, in bytes.
pub const MOST_BYTES: usize = 16 << 10;
/// Longest description, in letters, and most flows of an evidence.
const MOST_TEXT: usize = 500;
const MOST_UIDS: usize = 16;
/// How far a clock may be off, in seconds.
pub const SKEW: i64 = 60;
/// Words of one module at once, and in a second.
const BURST: f64 = 100.0;
const PER_SECOND: f64 = 10.0;
/// Messages that are looked at in a second, of all together.
const LOOKED_AT: u32 = 2_000;
/// Modules that are heard, and words that are remembered lest they are said twice: all that these may say within the time that a word is good for.
const MOST_MODULES: usize = 64;
const MOST_REMEMBERED: usize = MOST_MODULES * (BURST as usize + PER_SECOND as usize * 4 * SKEW as usize);
/// A command blocks for so long at most, in seconds.
const LONGEST_BLOCK: u64 = 7 * 86_400;
/// The widest network that a command may name, of IPv4 and of IPv6: half of the Internet is a person's to block.
const WIDEST: (u8, u8) = (16, 32);

/// Why something that was said is not heard.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// It is longer than [`MOST_BYTES`].
    #[error("longer than {MOST_BYTES} bytes")]
    TooLong,
    /// More than may be said.
    #[error("says too much")]
    TooMany,
    /// It is not what such a message looks like.
    #[error("{0}")]
    Wrong(String),
    /// It is not signed as it must be, or there is no secret.
    #[error("not signed, or not by our secret")]
    Unsigned,
    /// Its time is not now.
    #[error("its time is more than {SKEW} s off, or before the start of the daemon")]
    Stale,
    /// It was said before.
    #[error("said before")]
    Repeated,
}

/// What was said, and by which module.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Who.
    pub module: String,
    /// By which an answer is found again; empty on a channel that needs none.
    pub nonce: String,
    /// What.
    pub said: Said,
}

/// What a module may say.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// It found something. Window and time are the judge's.
    Evidence(Box<Finding>),
    /// Somebody is to be blocked.
    Block {
        /// Whom.
        net: Net,
        /// How long.
        seconds: u64,
        /// Why.
        why: String,
    },
    /// Somebody is not to be blocked any more.
    Unblock(Net),
    /// Configuration, lists and peers are to be read again.
    Reload,
}

/// Who may say what.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Our own name.
    pub router: Word,
    /// Whether evidence is heard.
    pub evidence: bool,
    /// Whether commands are.
    pub commands: bool,
    /// Of which the keys are made by which modules sign.
    pub secret: Option<String>,
    /// Modules with a channel of their own.
    pub by_channel: BTreeSet<String>,
    /// Modules whose evidence counts as proven.
    pub proven: BTreeSet<String>,
    /// Wall time of our start, in seconds: what was said before is not heard again.
    pub since: i64,
}

/// Looks at all that is said.
pub struct Doorkeeper {
    rules: Rules,
    /// What each module may still say, and when that was counted.
    modules: HashMap<String, (f64, Duration)>,
    /// The signatures of what was said and must not be again, half of each: those of this time, and of the time before.
    said: [BTreeSet<u128>; 2],
    turned: i64,
    /// How many messages on channels that are open to all were looked at in which second.
    looked: (u64, u32),
}

/// A signed message.
#[derive(Deserialize)]
struct Envelope {
    module: String,
    router: String,
    time: i64,
    nonce: String,
    body: String,
    signature: String,
}

/// What our own messages, and those of other routers, have; all else is passed over.
#[derive(Deserialize)]
struct Told {
    version: Option<u32>,
    router: Option<String>,
    module: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutsideEvidence {
    evidence_type: String,
    attacker: IpAddr,
    victim: Option<IpAddr>,
    threat_level: String,
    confidence: f64,
    #[serde(default)]
    description: String,
    proto: Option<String>,
    src_port: Option<u16>,
    dst_port: Option<u16>,
    #[serde(default)]
    uid: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    command: String,
    net: Option<String>,
    seconds: Option<u64>,
    #[serde(default)]
    why: String,
}

impl Doorkeeper {
    /// One that knows these rules.
    pub fn new(rules: Rules) -> Self {
        Self { rules, modules: HashMap::new(), said: Default::default(), turned: 0, looked: (0, 0) }
    }

    /// Our own name.
    pub const fn router(&self) -> &Word {
        &self.rules.router
    }

    /// The channels on which somebody may say something.
    pub fn channels(&self) -> Vec<String> {
        let mut channels = Vec::new();
        for (is_heard, channel) in
            [(self.rules.evidence, Channel::Evidence), (self.rules.commands, Channel::Control)]
        {
            if !is_heard {
                continue;
            }
            if self.rules.secret.is_some() {
                channels.push(channel.name().to_owned());
            }
            channels
                .extend(self.rules.by_channel.iter().map(|module| format!("{}:{module}", channel.name())));
        }
        channels
    }

    /// Looks at a message; none is what a router tells of itself. `wall` is in seconds since 1970, `steady` since some moment.
    ///
    /// # Errors
    /// Says why it is not heard.
    pub fn hear(
        &mut self,
        channel: &str,
        text: &[u8],
        wall: i64,
        steady: Duration,
    ) -> Result<Option<Heard>, Refused> {
        let (name, module) = channel.split_once(':').map_or((channel, None), |(name, of)| (name, Some(of)));
        let is_evidence = name == Channel::Evidence.name();
        if text.len() > MOST_BYTES {
            return Err(Refused::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| Refused::Wrong("no UTF-8".into()))?;
        let (module, nonce, body) = match module {
            Some(module) if self.rules.by_channel.contains(module) => {
                self.may_say(module, steady)?;
                (module.to_owned(), String::new(), text.to_owned())
            }
            Some(_) => return Err(Refused::Unsigned),
            None => {
                self.may_be_looked_at(steady)?;
                let Some(envelope) = self.open(channel, text, wall, steady)? else { return Ok(None) };
                (envelope.module, envelope.nonce, envelope.body)
            }
        };
        let said = match is_evidence {
            true => Said::Evidence(Box::new(self.evidence(&module, &body)?)),
            false => command(&body)?,
        };
        Ok(Some(Heard { module, nonce, said }))
    }

    /// On channels where anybody may say something only so much of it is looked at; who has one of his own is not drowned by them.
    fn may_be_looked_at(&mut self, steady: Duration) -> Result<(), Refused> {
        let (second, count) = self.looked;
        self.looked = if second == steady.as_secs() {
            (second, count.saturating_add(1))
        } else {
            (steady.as_secs(), 1)
        };
        if self.looked.1 > LOOKED_AT { Err(Refused::TooMany) } else { Ok(()) }
    }

    /// Opens a signed message; none where it is for another router, or told by one.
    fn open(
        &mut self,
        channel: &str,
        text: &str,
        wall: i64,
        steady: Duration,
    ) -> Result<Option<Envelope>, Refused> {
        let wrong = |error: serde_json::Error| Refused::Wrong(format!("no message: {error}"));
        let told: Told = serde_json::from_str(text).map_err(wrong)?;
        if told.module.is_none() && told.version.is_some() && told.router.is_some() {
            return Ok(None);
        }
        let envelope: Envelope = serde_json::from_str(text).map_err(wrong)?;
        let is_nonce = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if Word::new(&envelope.module).is_none()
            || !(8..=64).contains(&envelope.nonce.len())
            || !envelope.nonce.bytes().all(is_nonce)
        {
            return Err(Refused::Wrong("module or nonce is not made of what it may be made of".into()));
        }
        let Some(secret) = &self.rules.secret else { return Err(Refused::Unsigned) };
        let signed = signed(
            channel,
            &envelope.module,
            &envelope.router,
            envelope.time,
            &envelope.nonce,
            &envelope.body,
        );
        let signature = unhex(&envelope.signature).ok_or(Refused::Unsigned)?;
        if !verifies(&module_key(secret, &envelope.module), &signed, &signature) {
            return Err(Refused::Unsigned);
        }
        if envelope.router != "*" && envelope.router != self.rules.router.as_str() {
            return Ok(None);
        }
        if wall.abs_diff(envelope.time) > SKEW.unsigned_abs() || envelope.time < self.rules.since {
            return Err(Refused::Stale);
        }
        // Whoever repeats the words of a module takes nothing from what that may say.
        let mark = mark(&signature);
        self.is_new(mark, wall)?;
        self.may_say(&envelope.module, steady)?;
        self.remember(mark)?;
        Ok(Some(envelope))
    }

    /// What a module may say fills up again with time.
    fn may_say(&mut self, module: &str, steady: Duration) -> Result<(), Refused> {
        if !self.modules.contains_key(module) {
            if self.modules.len() >= MOST_MODULES {
                return Err(Refused::TooMany);
            }
            self.modules.insert(module.to_owned(), (BURST, steady));
        }
        let Some((left, at)) = self.modules.get_mut(module) else { return Ok(()) };
        *left = (*left + steady.saturating_sub(*at).as_secs_f64() * PER_SECOND).min(BURST);
        *at = steady;
        if *left < 1.0 {
            return Err(Refused::TooMany);
        }
        *left -= 1.0;
        Ok(())
    }

    /// Whether this was not said before, within the time for which its signature is good.
    fn is_new(&mut self, mark: u128, wall: i64) -> Result<(), Refused> {
        if wall.abs_diff(self.turned) > (2 * SKEW).unsigned_abs() {
            self.turned = wall;
            self.said.rotate_right(1);
            let [now, _] = &mut self.said;
            now.clear();
        }
        if self.said.iter().any(|said| said.contains(&mark)) { Err(Refused::Repeated) } else { Ok(()) }
    }

    fn remember(&mut self, mark: u128) -> Result<(), Refused> {
        let [now, _] = &mut self.said;
        if now.len() >= MOST_REMEMBERED {
            return Err(Refused::TooMany);
        }
        now.insert(mark);
        Ok(())
    }

    fn evidence(&self, module: &str, body: &str) -> Result<Finding, Refused> {
        let wrong = |what: &str| Refused::Wrong(what.into());
        let said: OutsideEvidence =
            serde_json::from_str(body).map_err(|error| Refused::Wrong(format!("no evidence: {error}")))?;
        let kind = EvidenceKind::from_name(&said.evidence_type)
            .filter(|kind| !kind.is_hearsay())
            .ok_or_else(|| wrong("its evidence_type is not known"))?;
        let level = ThreatLevel::from_name(&said.threat_level)
            .ok_or_else(|| wrong("its threat_level is not known"))?;
        if !(0.0..=1.0).contains(&said.confidence) {
            return Err(wrong("its confidence is not from 0 to 1"));
        }
        if !is_host(said.attacker) || !said.victim.is_none_or(is_host) {
            return Err(wrong("its attacker or victim is no address of a host"));
        }
        if said.description.chars().count() > MOST_TEXT || said.uid.len() > MOST_UIDS {
            return Err(wrong("its description or its list of flows is too long"));
        }
        let is_uid = |uid: &String| {
            (1..=30).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if !said.uid.iter().all(is_uid) {
            return Err(wrong("a uid is none"));
        }
        let proto = match said.proto.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("tcp") => Some(Proto::Tcp),
            Some("udp") => Some(Proto::Udp),
            Some("icmp") => Some(Proto::Icmp),
            Some(_) => return Err(wrong("its proto is not tcp, udp or icmp")),
        };
        let text = if said.description.is_empty() { kind.name() } else { &said.description };
        Ok(Finding {
            victim: said.victim.map(Entity::Ip),
            level,
            confidence: Confidence::new(said.confidence),
            proto,
            src_port: said.src_port,
            dst_port: said.dst_port,
            text: format!("module {module}: {}", escape(text)),
            uids: said.uid.iter().map(|uid| Uid::from(uid.as_str())).collect(),
            proof: if self.rules.proven.contains(module) { Proof::Proven } else { Proof::Unproven },
            told_by: Some(module.into()),
            ..Finding::new(kind, said.attacker, WindowId(0), PacketTime(0))
        })
    }
}

/// Half of a signature: nobody finds two that are equal.
fn mark(signature: &[u8]) -> u128 {
    signature.first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
}

fn command(body: &str) -> Result<Said, Refused> {
    let wrong = |what: &str| Refused::Wrong(what.into());
    let said: Command =
        serde_json::from_str(body).map_err(|error| Refused::Wrong(format!("no command: {error}")))?;
    let net = || -> Result<Net, Refused> {
        let net = said.net.as_deref().ok_or_else(|| wrong("whom? net is missing"))?;
        let net: Net = net.parse().map_err(|_| wrong("its net is no address or network"))?;
        let widest = if net.addr().is_ipv4() { WIDEST.0 } else { WIDEST.1 };
        if net.prefix() < widest {
            return Err(wrong("its net is wider than a /16, or a /32 of IPv6"));
        }
        Ok(net)
    };
    match said.command.as_str() {
        "block" => {
            let seconds = said.seconds.filter(|seconds| (1..=LONGEST_BLOCK).contains(seconds));
            let seconds = seconds.ok_or_else(|| wrong("for how many seconds? 1 to 604800"))?;
            let why = escape(&said.why).chars().take(100).collect();
            Ok(Said::Block { net: net()?, seconds, why })
        }
        "unblock" => Ok(Said::Unblock(net()?)),
        "reload" => Ok(Said::Reload),
        _ => Err(wrong("its command is not block, unblock or reload")),
    }
}

/// Whether an address can be that of one host.
fn is_host(addr: IpAddr) -> bool {
    let broadcast = matches!(addr, IpAddr::V4(addr) if addr.is_broadcast());
    !addr.is_unspecified() && !addr.is_multicast() && !addr.is_loopback() && !broadcast
}

#[cfg(test)]
mod tests;
