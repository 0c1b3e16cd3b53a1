//! What other programs say over Redis, in a thread of its own: evidence goes to the judge as the word of services does, commands go where the
//! command line's go. Nobody is believed whom the doorkeeper does not let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::{RedisResult, cmd};
use slips_core::event::{Event, Report};
use slips_core::evidence::{Entity, Finding};
use slips_core::time::PacketTime;
use slips_store::redis::{Channel, Doorkeeper, Heard, Link, Patience, Refused, Rules, Said, Server, VERSION};
use slips_systemd::journal::Journal;

use crate::config::Config;
use crate::control::{Answer, Ask, Ends, hand_over};
use crate::daemon::clocks::{self, Clocks};
use crate::daemon::entries;
use crate::daemon::peers::EngineLine;

/// How long it listens before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);
/// A lost connection is tried again after so long, twice as long each time.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// It is told so often, at most, that somebody is not heard.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// How much was said.
#[derive(Debug, Default)]
pub struct Voices {
    /// What was heard, what was refused, and what somebody repeated that a module had said.
    pub heard: AtomicU64,
    pub refused: AtomicU64,
    pub repeated: AtomicU64,
}

/// See the module.
pub struct Bus {
    server: Server,
    keeper: Doorkeeper,
    engine: EngineLine,
    ends: Arc<Ends>,
    voices: Arc<Voices>,
    journal: Journal,
    clocks: Clocks,
    /// When it was told last that somebody is not heard, and how many were since.
    complained: Option<Duration>,
    unheard: u64,
}

/// The thread's work, where others may say something.
pub fn build(
    config: &Config,
    engine: EngineLine,
    ends: Arc<Ends>,
    voices: Arc<Voices>,
    mut journal: Journal,
) -> Option<Bus> {
    let redis = &config.redis;
    if !redis.is_on() || !(redis.outside_evidence || redis.commands) {
        return None;
    }
    let clocks = Clocks::default();
    let secret = redis.secret().unwrap_or_else(|problem| {
        journal.send(&entries::degraded("redis", &problem));
        None
    });
    let rules = Rules {
        router: redis.router(),
        evidence: redis.outside_evidence,
        commands: redis.commands,
        secret,
        by_channel: redis.acl_modules.iter().cloned().collect(),
        proven: redis.proven_modules.iter().cloned().collect(),
        since: (clocks.wall)() / 1_000_000,
    };
    let keeper = Doorkeeper::new(rules);
    if keeper.channels().is_empty() {
        let nobody = "nobody can say anything: there is neither a shared secret nor a module with a channel of its own";
        journal.send(&entries::degraded("redis", nobody));
        return None;
    }
    let server = redis.server().ok()?;
    let (complained, unheard) = (None, 0);
    Some(Bus { server, keeper, engine, ends, voices, journal, clocks, complained, unheard })
}

impl Bus {
    /// Goes on until `stop`. That Redis is not there the mirror's thread tells.
    pub fn run(mut self, stop: &AtomicBool) {
        let mut pause = FIRST;
        while !stop.load(Ordering::Relaxed) {
            if let Ok(mut link) = self.listen() {
                pause = FIRST;
                while !stop.load(Ordering::Relaxed) {
                    match link.next(LOOK) {
                        Ok(Some((channel, text))) => self.take(&channel, &text),
                        Ok(None) => {}
                        Err(_) => break,
                    }
                    self.complain();
                }
            }
            let until = clocks::steady().saturating_add(pause);
            pause = (pause * 2).min(LONGEST);
            while clocks::steady() < until && !stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(until.saturating_sub(clocks::steady()).min(LOOK));
            }
        }
    }

    fn listen(&self) -> RedisResult<Link> {
        let channels = self.keeper.channels();
        let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
        let mut link = Link::open(&self.server, Patience::default(), clocks::steady)?;
        link.subscribe(&channels)?;
        Ok(link)
    }

    fn take(&mut self, channel: &str, text: &[u8]) {
        let (wall, steady) = ((self.clocks.wall)(), (self.clocks.steady)());
        match self.keeper.hear(channel, text, wall / 1_000_000, steady) {
            Ok(None) => {}
            Ok(Some(heard)) => {
                self.voices.heard.fetch_add(1, Ordering::Relaxed);
                self.act(heard, wall);
            }
            Err(refused) => self.refuse(channel, &refused),
        }
    }

    fn act(&mut self, heard: Heard, wall: i64) {
        let Heard { module, nonce, said } = heard;
        let ask = match said {
            Said::Evidence(finding) => return self.tell(*finding, wall),
            Said::Block { net, seconds, why } => {
                Ask::Block { net, secs: seconds, why: format!("{why} (module {module}, by Redis)") }
            }
            Said::Unblock(net) => Ask::Unblock(net),
            Said::Reload => Ask::Reload,
        };
        let answer = hand_over(ask, &self.ends).map_err(|undone| undone.to_string());
        // Whoever asked sees what came of it; that he does not see it changes nothing.
        let _ = self.answer(&module, &nonce, &answer);
    }

    fn tell(&mut self, finding: Finding, wall: i64) {
        let finding = Finding { at: PacketTime(wall), ..finding };
        let (src, dst) = (finding.attacker.ip(), finding.victim.as_ref().and_then(Entity::ip));
        if !self.engine.tell(Event::Told(Box::new(Report { finding, src, dst }))) {
            // The engine has other things to judge.
            self.voices.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn answer(&self, module: &str, nonce: &str, answer: &Answer) -> RedisResult<()> {
        let (done, text) = match answer {
            Ok(text) => (true, text),
            Err(text) => (false, text),
        };
        let told = serde_json::json!({
            "version": VERSION, "router": self.keeper.router().as_str(), "module": module, "nonce": nonce, "done": done, "text": text,
        });
        let mut link = Link::open(&self.server, Patience::default(), clocks::steady)?;
        cmd("PUBLISH").arg(Channel::ControlAnswer.name()).arg(told.to_string()).exec(&mut link)
    }

    fn refuse(&mut self, channel: &str, why: &Refused) {
        let count = if *why == Refused::Repeated { &self.voices.repeated } else { &self.voices.refused };
        count.fetch_add(1, Ordering::Relaxed);
        self.unheard += 1;
        if self.complained.is_none() {
            self.tell_unheard(&format!("{why} ({})", channel.escape_debug()));
        }
    }

    fn complain(&mut self) {
        let now = (self.clocks.steady)();
        if self.complained.is_some_and(|at| now.saturating_sub(at) >= COMPLAIN_EVERY) {
            self.complained = None;
            if self.unheard > 0 {
                self.tell_unheard("docs/redis.md says what is heard");
            }
        }
    }

    fn tell_unheard(&mut self, why: &str) {
        let text =
            format!("{} words of other programs were not heard: {why}", std::mem::take(&mut self.unheard));
        self.complained = Some((self.clocks.steady)());
        self.journal.send(&entries::degraded("redis", &text));
    }
}
