//! What an active daemon left in its mirror, read back by who takes its place. All of it is bounded, also in time, whoever wrote it; what cannot
//! be read is left out, since to act with less is better than not to act.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, Pipeline, RedisResult, Value, cmd};
use slips_core::addr::Net;
use slips_core::alert::Alert;
use slips_core::evidence::{Evidence, EvidenceId};
use slips_core::heritage::{Heritage, HeritageOf, MOST_EVIDENCE, Opening};
use slips_core::time::{PacketTime, Span, WindowId};
use slips_store::redis::Link;
use slips_store::redis::heirloom::{self, AlertLeft, BlockLeft, Of};

/// Attackers in windows that are taken over, those with most evidence first.
const MOST_ATTACKERS: usize = 20_000;
/// Evidence of all of them: more a judge does not keep.
const MOST_IN_ALL: usize = 50_000;
/// How long each of both, blocks and evidence, may be read: meanwhile nobody hears of this daemon, and who died may be back.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Blocks that are.
const MOST_BLOCKS: usize = 100_000;
/// Alerts of an attacker in a window that are looked at.
const MOST_ALERTS: usize = 32;
/// Asked at once: blocks, attackers, and evidence of them together.
const BLOCKS: usize = 1000;
const ATTACKERS: usize = 128;
const EVIDENCE: usize = 1024;
/// An alert of ours that was not told is the same as one of theirs of the same attacker and window that was told so long before it at most:
/// within that time there is no other one.
const SAME: Span = Span::from_secs(240);
/// Alerts of ours that are told when the place is taken are this old at most.
const LATE: Span = Span::from_secs(300);

/// What of it is not taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Values that make no sense.
    pub unread: usize,
    /// Blocks and attackers that were not looked at: there was no time, or no room.
    pub unlooked: usize,
}

impl Missed {
    /// As the journal tells it, after something else.
    pub fn text(&self) -> String {
        let some = |count: usize, what: &str| match count {
            0 => String::new(),
            count => format!(", {count} {what}"),
        };
        some(self.unread, "values that make no sense")
            + &some(self.unlooked, "blocks or attackers that there was no time or room for")
    }
}

impl std::ops::AddAssign for Missed {
    fn add_assign(&mut self, other: Self) {
        self.unread += other.unread;
        self.unlooked += other.unlooked;
    }
}

/// Reads the mirror for so long as may be.
pub struct Reader<'a> {
    link: &'a mut Link,
    of: Of<'a>,
    clock: &'a dyn Fn() -> Duration,
    until: Duration,
    missed: Missed,
}

/// An attacker in a window.
type Whom = (IpAddr, WindowId);

impl<'a> Reader<'a> {
    /// One that begins now, by a steady clock.
    pub fn new(link: &'a mut Link, of: Of<'a>, clock: &'a dyn Fn() -> Duration) -> Self {
        Self { link, of, clock, until: clock().saturating_add(PATIENCE), missed: Missed::default() }
    }

    fn is_late(&self) -> bool {
        (self.clock)() >= self.until
    }

    /// Asks, unless the time is over.
    fn run(&mut self, ask: &Pipeline) -> RedisResult<Vec<Value>> {
        match self.is_late() {
            true => Err((ErrorKind::Io, "there is no more time").into()),
            false => self.link.run(ask),
        }
    }

    /// What was asked; nothing when the time was over before.
    fn in_time<T>(&self, asked: RedisResult<T>) -> RedisResult<Option<T>> {
        match asked {
            Ok(found) => Ok(Some(found)),
            Err(_) if self.link.is_usable() && self.is_late() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The blocks that stand, those that end last first.
    pub fn blocks(mut self) -> RedisResult<(Vec<(Net, BlockLeft)>, Missed)> {
        let mut names = Vec::new();
        for first in (0..MOST_BLOCKS).step_by(BLOCKS) {
            let mut ask = Pipeline::with_capacity(1);
            ask.cmd("ZREVRANGE").arg(self.of.0.blocked()).arg(first).arg(first + BLOCKS - 1);
            let page = self.run(&ask).and_then(|mut page| {
                Vec::<String>::from_redis_value(page.pop().unwrap_or(Value::Nil).extract_error()?)
                    .map_err(Into::into)
            });
            let Some(page) = self.in_time(page)? else { break };
            let is_last = page.len() < BLOCKS;
            names.extend(page);
            if is_last {
                break;
            }
        }
        // Each has one name: under others the same could be told many times. One that moved meanwhile comes twice.
        let mut once = HashSet::new();
        let of_name = |name: &String| name.parse().ok().filter(|net: &Net| net.to_string() == *name);
        let nets: Vec<Net> = names.iter().filter_map(of_name).collect();
        self.missed.unread += names.len() - nets.len();
        let nets: Vec<Net> = nets.into_iter().filter(|net| once.insert(*net)).collect();
        let (mut left, mut looked) = (Vec::new(), 0);
        for some in nets.chunks(BLOCKS) {
            let page = self.page(some);
            let Some(page) = self.in_time(page)? else { break };
            left.extend(page);
            looked += some.len();
        }
        self.missed.unlooked += nets.len() - looked;
        Ok((left, self.missed))
    }

    /// The blocks of these that can be read.
    fn page(&mut self, nets: &[Net]) -> RedisResult<Vec<(Net, BlockLeft)>> {
        let mut get = Pipeline::with_capacity(nets.len());
        for net in nets {
            get.cmd("GET").arg(self.of.0.block(*net));
        }
        let mut page = Vec::with_capacity(nets.len());
        for (net, text) in nets.iter().zip(self.run(&get)?) {
            let block = match &text {
                // It is over by now.
                Value::Nil => continue,
                Value::BulkString(text) => heirloom::block(text, self.of, *net),
                _ => None,
            };
            match block {
                Some(block) => page.push((*net, block)),
                None => self.missed.unread += 1,
            }
        }
        Ok(page)
    }

    /// What stood against attackers in open windows. `kept` are alerts of ours that were not told.
    pub fn heritage(
        mut self,
        kept: &[Arc<Alert>],
        (at, opening): (PacketTime, Opening),
    ) -> RedisResult<(Heritage, Missed)> {
        let untold = self.untold(kept, at)?;
        let all: Vec<String> =
            cmd("ZREVRANGE").arg(self.of.0.accumulated()).arg(0).arg(MOST_ATTACKERS - 1).query(self.link)?;
        let mut once = HashSet::new();
        let whom: Vec<Whom> = all.iter().filter_map(|key| heirloom::of_profile_window(key)).collect();
        self.missed.unread += all.len() - whom.len();
        let whom: Vec<Whom> =
            whom.into_iter().filter(|whom| opening.is_open(whom.1, at) && once.insert(*whom)).collect();
        let (mut accounts, mut looked, mut room) = (Vec::new(), 0, MOST_IN_ALL);
        for some in whom.chunks(ATTACKERS) {
            let found = self.accounts(some, &mut room);
            let Some(found) = self.in_time(found)? else { break };
            accounts.extend(found);
            looked += some.len();
            if room == 0 {
                break;
            }
        }
        self.missed.unlooked += whom.len() - looked;
        Ok((Heritage { at, accounts, untold, ..Heritage::default() }, self.missed))
    }

    fn accounts(&mut self, whom: &[Whom], room: &mut usize) -> RedisResult<Vec<HeritageOf>> {
        let alerts = self.alerts(whom)?;
        let evidence = self.evidence(whom)?;
        let both = whom.iter().zip(alerts).zip(evidence);
        Ok(both
            .map(|(((attacker, window), alerts), evidence)| {
                let used: HashSet<EvidenceId> =
                    alerts.iter().flat_map(|alert| alert.evidence.iter().copied()).collect();
                let found = evidence.into_iter().take(*room).map(|of| {
                    let told = used.contains(&of.id);
                    (of, told)
                });
                let evidence: Vec<(Evidence, bool)> = found.collect();
                *room -= evidence.len();
                HeritageOf {
                    attacker: *attacker,
                    window: *window,
                    alerts: u32::try_from(alerts.len()).unwrap_or(u32::MAX),
                    last: alerts.iter().map(|alert| (alert.at, alert.proof)).max(),
                    evidence,
                }
            })
            .collect())
    }

    /// Of our own alerts of late those that the other one did not tell. What is older it would have told, had it thought so; of what there was
    /// no time to ask for it did not.
    fn untold(&mut self, kept: &[Arc<Alert>], now: PacketTime) -> RedisResult<Vec<Arc<Alert>>> {
        let late: Vec<&Arc<Alert>> = kept.iter().filter(|alert| now.since(alert.at) <= LATE).collect();
        let mut untold = Vec::new();
        for some in late.chunks(ATTACKERS) {
            let whom: Vec<Whom> = some.iter().map(|alert| (alert.attacker, alert.window)).collect();
            let theirs = self.alerts(&whom);
            let theirs = self.in_time(theirs)?.unwrap_or_else(|| vec![Vec::new(); some.len()]);
            let told = some
                .iter()
                .zip(theirs)
                .filter(|(alert, theirs)| !theirs.iter().any(|theirs| alert.at.since(theirs.at) < SAME));
            untold.extend(told.map(|(alert, _)| Arc::clone(alert)));
        }
        Ok(untold)
    }

    /// The alerts of each.
    fn alerts(&mut self, whom: &[Whom]) -> RedisResult<Vec<Vec<AlertLeft>>> {
        let keys = self.of.0;
        let mut ask = Pipeline::with_capacity(whom.len());
        for (attacker, window) in whom {
            ask.cmd("HKEYS").arg(keys.window(*attacker, *window));
        }
        let mut found = vec![Vec::new(); whom.len()];
        let mut of: Vec<(usize, Whom, String)> = Vec::new();
        for ((place, fields), whom) in self.run(&ask)?.into_iter().enumerate().zip(whom) {
            let fields = Vec::<String>::from_redis_value(fields).unwrap_or_default();
            let ids = fields.iter().filter_map(|field| field.strip_prefix("alert_"));
            of.extend(ids.take(MOST_ALERTS).map(|id| (place, *whom, id.to_owned())));
        }
        for some in of.chunks(MOST_ALERTS) {
            let mut get = Pipeline::with_capacity(some.len());
            for (_, _, id) in some {
                get.cmd("GET").arg(keys.alert_named(id));
            }
            for ((place, whom, id), text) in some.iter().zip(self.run(&get)?) {
                let Value::BulkString(text) = text else { continue };
                match (heirloom::alert(&text, self.of, id, *whom), found.get_mut(*place)) {
                    (Some(alert), Some(of)) => of.push(alert),
                    _ => self.missed.unread += 1,
                }
            }
        }
        Ok(found)
    }

    /// The evidence against each.
    fn evidence(&mut self, whom: &[Whom]) -> RedisResult<Vec<Vec<Evidence>>> {
        let keys = self.of.0;
        let mut ask = Pipeline::with_capacity(whom.len());
        for (attacker, window) in whom {
            ask.cmd("HLEN").arg(keys.evidence(*attacker, *window));
        }
        let lengths = self.run(&ask)?.into_iter();
        let lengths: Vec<usize> =
            lengths.map(|length| usize::from_redis_value(length).unwrap_or_default()).collect();
        let mut found = vec![Vec::new(); whom.len()];
        for group in together(&lengths) {
            let mut ask = Pipeline::with_capacity(group.len());
            for (attacker, window) in group.iter().filter_map(|place| whom.get(*place)) {
                // Of more than an alert names, some.
                ask.cmd("HSCAN")
                    .arg(keys.evidence(*attacker, *window))
                    .arg(0)
                    .arg("COUNT")
                    .arg(MOST_EVIDENCE);
            }
            for (place, answer) in group.iter().zip(self.run(&ask)?) {
                let (Some(whom), Some(of)) = (whom.get(*place), found.get_mut(*place)) else { continue };
                let Ok((_, pairs)) = <(String, BTreeMap<String, Vec<u8>>)>::from_redis_value(answer) else {
                    self.missed.unread += 1;
                    continue;
                };
                for (id, text) in pairs {
                    match heirloom::evidence(&text, self.of, &id, *whom) {
                        Some(evidence) => of.push(evidence),
                        None => self.missed.unread += 1,
                    }
                }
            }
        }
        Ok(found)
    }
}

/// Which of these are asked for together, none of nothing: some evidence a time.
fn together(lengths: &[usize]) -> Vec<Vec<usize>> {
    let (mut group, mut room): (Vec<usize>, usize) = (Vec::new(), EVIDENCE);
    let mut groups = Vec::new();
    for (place, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
        if *length > room {
            groups.push(std::mem::take(&mut group));
            room = EVIDENCE;
        }
        room = room.saturating_sub(*length);
        group.push(place);
    }
    groups.push(group);
    groups.retain(|group| !group.is_empty());
    groups
}

#[cfg(test)]
mod tests;
