//! Several routers on one Redis, and two daemons of one name: a thread with a connection of its own, so that neither a replay of the mirror nor a
//! slow answer there makes this daemon look dead.

pub mod duty;
mod left;
mod orders;
mod post;
mod sharing;
mod view;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Pipeline, RedisResult, Value, cmd};
use slips_core::addr::LocalNets;
use slips_core::event::Event;
use slips_core::heritage::{Heritage, Opening};
use slips_core::time::PacketTime;
use slips_store::redis::{
    Keys, Lease, Link, MEMORY, MOST_SHARED, MOST_VALUE, Member, Patience, Server, VERSION, Word,
};
use slips_store::{Stories, render};
use slips_systemd::journal::Journal;

use self::duty::Duty;
use self::left::{Missed, Reader};
pub use self::orders::Orders;
use self::post::{Post, Role, Seen, Step};
use self::sharing::Sharing;
use super::clocks::{self, Clocks};
use super::entries;
use super::figures::Figures;
use super::peers::EngineLine;
use super::responder::{AdviceLine, Gauges, Order};
use crate::config::{Config, FleetBlocks, Policy, Share};
use crate::control::api::types::{ClientCount, Fleet, Mode};
use crate::peers::files::{random, to_hex};

/// A lost connection is tried again after so long.
const AGAIN: Duration = Duration::from_millis(250);
/// How often it is told how this daemon is, and looked how the others are.
const TELL: Duration = Duration::from_secs(1);
const VIEW: Duration = Duration::from_secs(2);
/// How often blocks are looked at when none has changed.
const SHARE: Duration = Duration::from_secs(60);
/// Blocks that are read to be told; of one network there may be several, and not all mean the same everywhere.
const MOST_READ: u32 = 2 * MOST_SHARED as u32;
/// How long is waited for a connection and for answers: less than it takes to look dead.
const PATIENCE: Patience = Patience { connect: Duration::from_secs(1), answer: Duration::from_secs(1) };
/// The same trouble is told once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(600);
/// And another one so long after that at the earliest.
const ANOTHER: Duration = Duration::from_secs(10);
/// How long is waited for the kernel to hold what was taken over.
const HELD: Duration = Duration::from_secs(2);

/// What others see of it.
pub type View = Arc<Mutex<Fleet>>;

/// What it tells to whom.
pub struct Ways {
    pub duty: Duty,
    pub engine: EngineLine,
    pub orders: Orders,
    pub figures: Arc<Figures>,
    pub view: View,
    /// Blocks of others go there, and how often who is blocked here has changed.
    pub advice: AdviceLine,
    pub gauges: Arc<Gauges>,
    pub local: LocalNets,
}

/// See the module.
pub struct Routers {
    server: Server,
    secret: Option<String>,
    keys: Keys,
    ttl: u64,
    opening: Opening,
    post: Post,
    /// Where it is written who this daemon is.
    identity: PathBuf,
    ways: Ways,
    journal: Journal,
    clocks: Clocks,
    link: Option<Link>,
    next: Due,
    /// What the judge had no room for yet.
    heritage: Option<Heritage>,
    /// Blocks for all, where they are wanted and there is a secret.
    sharing: Option<(Sharing, FleetBlocks, String)>,
    blocks: PathBuf,
    /// Whether somebody from outside is blocked at all, and which change of the blocks was told.
    blocks_outside: bool,
    changes: Option<u64>,
    /// What was told last, and when.
    complained: Option<(String, Duration)>,
    away: bool,
}

/// When each of the regular things is to be done next.
#[derive(Default)]
struct Due {
    connect: Duration,
    look: Duration,
    tell: Duration,
    view: Duration,
    share: Duration,
}

/// Whether this daemon begins as the one that acts.
pub fn duty(config: &Config) -> Duty {
    Duty::new(!(config.redis.is_on() && config.redis.role == crate::config::Role::Standby))
}

/// Room for orders: one at a time is given.
pub const ORDERS: usize = 4;

/// The thread's work, where there is a Redis.
pub fn build(config: &Config, ways: Ways, mut journal: Journal) -> Option<Routers> {
    let redis = &config.redis;
    let server = redis.is_on().then(|| redis.server().ok()).flatten()?;
    let secret = redis.secret().unwrap_or_default();
    let path = config.output.directory.join("fleet-id");
    let (id, run) = match identity(&path).and_then(|id| Ok((id, u32::from_ne_bytes(random()?)))) {
        Ok(who) => who,
        Err(error) => {
            let text = format!("no part of a fleet: {error:#}");
            journal.send(&entries::degraded("redis", &text));
            return None;
        }
    };
    let fleet = &redis.fleet;
    if fleet.is_on() && secret.is_none() {
        let text =
            "no blocks for the fleet: redis.shared_secret_file names no secret by which they are signed";
        journal.send(&entries::degraded("redis", text));
    }
    if redis.role == crate::config::Role::Standby && secret.is_none() {
        let text = "a standby without redis.shared_secret_file cannot know who wrote what it takes over: nothing of it counts as proven";
        journal.send(&entries::degraded("redis", text));
    }
    let blocks = config.output.directory.join("blocks.sqlite");
    let standing = Stories::open(&blocks).and_then(|book| book.standing((Clocks::default().wall)()));
    let sharing = secret.clone().filter(|_| fleet.is_on());
    let sharing = sharing.map(|secret| (Sharing::of(&standing.unwrap_or_default()), fleet.clone(), secret));
    let role = if ways.duty.acts() { Role::Active } else { Role::Standby };
    let wall = u64::try_from((Clocks::default().wall)() / 1000).unwrap_or(0);
    let mut routers = Routers {
        server,
        secret,
        keys: Keys::new(redis.prefix(), redis.router()),
        ttl: redis.ttl.0.as_secs(),
        opening: Opening::of(&config.engine(&[])),
        post: Post::new(id, run, role, wall),
        identity: path,
        ways,
        journal,
        clocks: Clocks::default(),
        link: None,
        next: Due::default(),
        heritage: None,
        sharing,
        blocks,
        blocks_outside: config.firewall.external != Policy::AlertOnly,
        changes: None,
        complained: None,
        away: false,
    };
    if role == Role::Standby {
        routers.ways.orders.give(Order::StandBy);
    }
    Some(routers)
}

/// Who this daemon is among those of one name: made once, and kept beside its database.
fn identity(path: &Path) -> anyhow::Result<String> {
    use anyhow::Context as _;
    let is_id = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Ok(text) = std::fs::read_to_string(path)
        && is_id(text.trim())
    {
        return Ok(text.trim().to_owned());
    }
    let id = to_hex(&random::<16>()?);
    std::fs::write(path, &id).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(id)
}

impl Routers {
    /// Goes on until `until` is dropped: then whoever stands by is told to take the place.
    pub fn run(mut self, until: &Receiver<()>) {
        loop {
            self.turn();
            match until.recv_timeout(post::LOOK) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => break,
            }
        }
        if let (Some(lease), true) = (self.post.goodbye(), self.link.is_some()) {
            // Should it not be heard, the other one sees it by itself.
            let _ = self.write(&lease);
        }
    }

    fn turn(&mut self) {
        let now = (self.clocks.steady)();
        self.ways.orders.give_again();
        self.hand_over();
        if self.link.is_none() && now >= self.next.connect {
            match Link::open(&self.server, PATIENCE, clocks::steady) {
                Ok(link) => {
                    self.link = Some(link);
                    self.next = Due::default();
                    self.post.connected(now);
                    self.changes = None;
                    if let Some((sharing, ..)) = &mut self.sharing {
                        sharing.connected();
                    }
                }
                Err(error) => self.lost(&error),
            }
        }
        if self.link.is_some()
            && let Err(error) = self.work(now)
        {
            match self.link.as_ref().is_some_and(Link::is_usable) {
                true => self.complain(&format!("an answer is not what it should be: {error}")),
                false => self.lost(&error),
            }
        }
    }

    /// Whoever acts goes on, whoever stands by goes on to do so.
    fn lost(&mut self, error: &redis::RedisError) {
        self.link = None;
        self.next.connect = (self.clocks.steady)().saturating_add(AGAIN);
        self.view(|view| view.reached = false);
        // That Redis is not there the mirror's thread tells, where there is something to mirror.
        if !std::mem::replace(&mut self.away, true) && self.post.role() == Role::Standby {
            let text = format!(
                "{} is not reached: {error}; this daemon goes on to stand by, and takes no place until it sees that nobody acts",
                self.server
            );
            self.journal.send(&entries::degraded("redis", &text));
        }
    }

    fn view(&self, change: impl FnOnce(&mut Fleet)) {
        change(&mut self.ways.view.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn complain(&mut self, what: &str) {
        let now = (self.clocks.steady)();
        // Another trouble, too, is told after a while only: whoever writes Redis may find many.
        let told = |(text, at): &(String, Duration)| {
            let every = if text.as_str() == what { COMPLAIN_EVERY } else { ANOTHER };
            now.saturating_sub(*at) < every
        };
        if !self.complained.as_ref().is_some_and(told) {
            self.complained = Some((what.to_owned(), now));
            self.journal.send(&entries::degraded("redis", what));
        }
    }

    fn work(&mut self, now: Duration) -> RedisResult<()> {
        if now >= self.next.look {
            self.next.look = now.saturating_add(self.post.pause());
            self.look(now)?;
            if std::mem::take(&mut self.away) && self.post.role() == Role::Standby {
                let text = format!("{} is there again; this daemon goes on to stand by", self.server);
                self.journal.send(&entries::degraded("redis", &text));
            }
        }
        if now >= self.next.tell {
            self.next.tell = now.saturating_add(TELL);
            self.tell()?;
        }
        if now >= self.next.view {
            self.next.view = now.saturating_add(VIEW);
            let Some(link) = &mut self.link else { return Ok(()) };
            let (mut fleet, others) = view::read(link, &self.keys)?;
            self.share(&others)?;
            fleet.refused = self.sharing.as_ref().map_or(0, |(sharing, ..)| sharing.refused);
            self.view(|view| *view = fleet);
        }
        Ok(())
    }

    fn ask<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> RedisResult<T> {
        match &mut self.link {
            Some(link) => command.query(link),
            None => Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into()),
        }
    }

    /// Who acts?
    fn look(&mut self, now: Duration) -> RedisResult<()> {
        let key = self.keys.lease();
        self.ask::<()>(cmd("WATCH").arg(&key))?;
        let text: Vec<u8> = match self.ask(cmd("GETRANGE").arg(&key).arg(0).arg(MOST_VALUE)) {
            // Somebody put something else there; it is written over.
            Err(error) if error.code() == Some(WRONG_TYPE) => b"another type".to_vec(),
            other => other?,
        };
        let read = Lease::read(&text, self.keys.router(), self.secret.as_deref());
        let seen = match &read {
            _ if text.is_empty() => Seen::Nothing,
            Ok(lease) => Seen::Lease(lease),
            Err(_) => Seen::Bad(&text),
        };
        let step = self.post.look(now, seen);
        if let (Seen::Bad(_), Err(why)) = (seen, &read) {
            let text = format!("{key} is not believed: {why}");
            self.complain(&text);
        }
        match step {
            Step::Rest => self.ask(&cmd("UNWATCH")),
            Step::Write(lease) => self.write(&lease).map(drop),
            Step::Take(lease) => match self.write(&lease)? {
                true => {
                    self.post.took(&lease);
                    self.take_place(lease.fence);
                    Ok(())
                }
                // Somebody was faster, or the other one lives.
                false => Ok(()),
            },
            Step::Yield => {
                self.ways.duty.stand_by();
                self.heritage = None;
                if let Some((sharing, ..)) = &mut self.sharing {
                    *sharing = Sharing::default();
                }
                self.ways.orders.give(Order::StandBy);
                self.ask(&cmd("UNWATCH"))
            }
            Step::Twin => {
                self.be_another();
                self.ask(&cmd("UNWATCH"))
            }
            Step::Clash => {
                let text = format!(
                    "another router is called {} here, too, and never took the place of this one: both go on to act; give each a redis.name of its own",
                    self.keys.router()
                );
                self.complain(&text);
                self.ask(&cmd("UNWATCH"))
            }
        }
    }

    /// Writes who acts, if nobody else did since it was looked; whether it is written.
    fn write(&mut self, lease: &Lease) -> RedisResult<bool> {
        let text = lease.text(self.keys.router(), self.secret.as_deref());
        let mut all = Pipeline::with_capacity(3);
        all.cmd("MULTI");
        all.cmd("SET").arg(self.keys.lease()).arg(text).arg("EX").arg(self.ttl.max(MEMORY));
        all.cmd("EXEC");
        let Some(link) = &mut self.link else { return Ok(false) };
        for answer in link.run(&all)? {
            match answer.extract_error()? {
                Value::Nil => return Ok(false),
                Value::Array(answers) => {
                    for answer in answers {
                        answer.extract_error()?;
                    }
                }
                _ => {}
            }
        }
        Ok(true)
    }

    /// Another daemon that lives has the identity of this one.
    fn be_another(&mut self) {
        let bytes: [u8; 16] = match random() {
            Ok(bytes) => bytes,
            Err(error) => return self.complain(&format!("no identity of its own: {error}")),
        };
        let (id, path) = (to_hex(&bytes), self.identity.display());
        let kept = match std::fs::write(&self.identity, &id) {
            Ok(()) => String::new(),
            Err(error) => format!(", until it ends: {path} cannot be written: {error}"),
        };
        self.post.rename(id);
        let text = format!(
            "another daemon that is called {} and lives has the identity of this one, as if its disk were copied ({path}); this one has another from now on{kept}",
            self.keys.router(),
        );
        self.journal.send(&entries::degraded("redis", &text));
    }

    /// This daemon is the one that acts now. Blocks come first: to act with less than all of the evidence is better than later.
    fn take_place(&mut self, fence: u64) {
        let began = (self.clocks.steady)();
        let mut missed = Missed::default();
        let (mut trouble, mut became) = (String::new(), (0, 0));
        let (of, clock) = ((&self.keys, self.secret.as_deref()), &*self.clocks.steady);
        let blocks = self.link.as_mut().map(|link| Reader::new(link, of, clock).blocks());
        let blocks = match blocks {
            Some(Ok((blocks, wrong))) => {
                missed += wrong;
                blocks
            }
            Some(Err(error)) => {
                trouble = format!("; blocks could not be read: {error}");
                Vec::new()
            }
            None => Vec::new(),
        };
        let (done, waits) = sync_channel(1);
        match self.ways.orders.give(Order::TakePlace { blocks, done }) {
            true => became = waits.recv_timeout(HELD).unwrap_or_default(),
            false => trouble.push_str("; the responder is busy, and blocks as soon as it is not"),
        }
        let held = (self.clocks.steady)().saturating_sub(began);
        let at = PacketTime((self.clocks.wall)());
        let kept = self.ways.duty.kept();
        let (of, clock) = ((&self.keys, self.secret.as_deref()), &*self.clocks.steady);
        let read = |link| Reader::new(link, of, clock).heritage(&kept, (at, self.opening));
        let heritage = self.link.as_mut().map(read);
        let heritage = match heritage {
            Some(Ok((heritage, wrong))) => {
                missed += wrong;
                heritage
            }
            other => {
                if let Some(Err(error)) = other {
                    trouble = format!("{trouble}; evidence could not be read: {error}");
                }
                Heritage { at, untold: kept, ..Heritage::default() }
            }
        };
        let (accounts, untold) = (heritage.accounts.len(), heritage.untold.len());
        self.ways.duty.awaits(fence);
        self.heritage = Some(Heritage { fence, ..heritage });
        self.hand_over();
        let took = (self.clocks.steady)().saturating_sub(began);
        let text = format!(
            "{} blocks taken over in {} ms ({} refused), what stood against {accounts} attackers in {} ms, {untold} alerts that were not told{}{trouble}",
            became.0,
            held.as_millis(),
            became.1,
            took.as_millis(),
            missed.text(),
        );
        self.journal.send(&entries::takes_place(fence, &text));
    }

    /// Gives the judge what it takes over, as soon as it has room. With it this daemon acts.
    fn hand_over(&mut self) {
        let Some(heritage) = self.heritage.take() else { return };
        if !self.ways.engine.tell(Event::Inherits(Box::new(heritage.clone()))) {
            self.heritage = Some(heritage);
        }
    }

    /// Tells others whom they are to block, too, and takes over whom they want blocked. Who stands by does neither.
    fn share(&mut self, others: &[(Word, u64)]) -> RedisResult<()> {
        let (Some((sharing, policy, secret)), Some(link), true) =
            (&mut self.sharing, &mut self.link, self.ways.duty.acts())
        else {
            return Ok(());
        };
        let wall = (self.clocks.wall)();
        let changes = self.ways.gauges.changes.load(Ordering::Relaxed);
        let now = (self.clocks.steady)();
        if policy.share != Share::None
            && (self.changes != Some(changes) || now >= self.next.share)
            && let Ok(standing) = Stories::open(&self.blocks).and_then(|book| book.shareable(wall, MOST_READ))
        {
            let what = (policy.share, secret.as_str(), &self.ways.local);
            sharing.tell(link, &self.keys, &standing, what, wall / 1_000_000, self.ttl)?;
            self.changes = Some(changes);
            self.next.share = now.saturating_add(SHARE);
        }
        if policy.take && self.blocks_outside {
            let advice = &self.ways.advice;
            let what = (&*policy, secret.as_str());
            sharing.take(link, &self.keys, others, what, wall / 1_000_000, |word| advice.give(word))?;
        }
        Ok(())
    }

    /// Tells how this daemon is.
    fn tell(&mut self) -> RedisResult<()> {
        let status = self.ways.figures.status(ClientCount::default());
        let at = (self.clocks.wall)();
        let role = self.post.role().name();
        let member = Member {
            version: VERSION,
            router: self.keys.router().to_string(),
            role: role.into(),
            mode: match status.mode {
                Mode::Enforce => "enforce".into(),
                Mode::Monitor => "monitor".into(),
            },
            slips: status.version,
            since: status.started,
            at: render::iso(PacketTime(at)),
            flows_per_second: status.flows_per_second,
            alerts: status.alerts,
            blocks: status.blocks,
            shared: self.sharing.as_ref().map_or(0, |(sharing, ..)| sharing.changes()),
        };
        let routers = self.keys.routers();
        let mut all = Pipeline::with_capacity(3);
        all.cmd("SET").arg(self.keys.member(role)).arg(member.text()).arg("EX").arg(MEMORY);
        all.cmd("ZADD").arg(&routers).arg(at as f64 / 1e6).arg(self.keys.router().as_str());
        all.cmd("EXPIRE").arg(&routers).arg(self.ttl.max(MEMORY));
        let Some(link) = &mut self.link else { return Ok(()) };
        let told = link.run(&all)?.into_iter().try_for_each(|answer| answer.extract_error().map(drop));
        match told {
            // It is there again with the next word.
            Err(error) if error.code() == Some(WRONG_TYPE) => {
                self.complain(&format!("{routers} was no sorted set; it is taken away and written anew"));
                self.ask(cmd("DEL").arg(&routers))
            }
            told => told,
        }
    }
}

/// How Redis says that a key is of another type.
pub const WRONG_TYPE: &str = "WRONGTYPE";
