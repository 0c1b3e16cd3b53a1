//! Blocks that all routers on one Redis have: each tells its own ones, signed, and takes over what others tell, if its owner wants that. What
//! was taken over is not told again, so that nothing goes round, and who asked for it answers for it.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Pipeline, RedisResult, cmd};
use slips_core::addr::{LocalNets, Net, is_interesting, is_private};
use slips_store::redis::{Keys, Link, MOST_SHARED, Shared, SharedList, Word};
use slips_store::{Block, NewBlock};

use super::WRONG_TYPE;
use crate::config::{FleetBlocks, Share};
use crate::daemon::responder::{Advice, FLEET};

/// Blocks that end sooner are not worth telling, and one is told anew only when its end moved by more.
const WORTH: i64 = 5;

/// What is told and what was taken over.
#[derive(Default)]
pub struct Sharing {
    /// What others were told, and the number of that, which rises with each change: also over restarts, since it begins with the wall clock.
    told: BTreeMap<Net, i64>,
    changes: u64,
    /// Whether Redis has it, and when all of it was told.
    is_told: bool,
    told_at: i64,
    /// Of each router what was taken over, and until when.
    taken: BTreeMap<Word, Taken>,
    /// Words of others that were not believed.
    pub refused: u64,
}

/// Of one router.
#[derive(Default)]
struct Taken {
    /// What it said its number was when all that it shares was taken over.
    changes: Option<u64>,
    /// The number of the last list that it signed and that was taken over whole: an older one says nothing any more.
    list: Option<u64>,
    blocks: BTreeMap<Net, i64>,
}

/// What a router shares, as far as it is believed.
#[derive(Default)]
struct Found {
    blocks: BTreeMap<Net, Shared>,
    /// The number of its list, if that names just these.
    list: Option<u64>,
    /// There is nothing at all.
    is_empty: bool,
}

impl Taken {
    /// Makes what was taken over what was found. `give` hears what is to be done and says whether it was taken; so does this of all of it.
    fn follow(
        &mut self,
        found: Found,
        (source, longest): (&str, i64),
        now: i64,
        give: &mut impl FnMut(Advice) -> bool,
    ) -> bool {
        // What is over has ended by itself.
        self.blocks.retain(|_, until| *until > now);
        // A block that is not there any more may have been taken away by anybody: only a list of its owner's lifts it, and no old one.
        let is_new = found.list.is_some_and(|list| self.list.is_none_or(|before| list >= before));
        if is_new {
            self.list = found.list;
            let gone: Vec<Net> =
                self.blocks.keys().filter(|net| !found.blocks.contains_key(net)).copied().collect();
            for net in gone {
                self.blocks.remove(&net);
                let why = "the router that asked for it lifted it, or its time is over";
                give(Advice::Retract { net, source: source.to_owned(), why });
            }
        }
        let mut all = is_new || found.is_empty;
        for (net, shared) in found.blocks {
            let until = shared.until.min(now.saturating_add(longest));
            let is_known = |before: &i64| *before >= until.saturating_sub(WORTH);
            if !is_public(net) || until <= now || self.blocks.get(&net).is_some_and(is_known) {
                continue;
            }
            let for_ = Duration::from_secs(u64::try_from(until.saturating_sub(now)).unwrap_or(0));
            let why = match shared.alert.as_str() {
                "" => shared.why,
                alert => format!("{} (alert {alert} there)", shared.why),
            };
            match give(Advice::Block { net, for_, source: source.to_owned(), why }) {
                true => drop(self.blocks.insert(net, until)),
                // There is no room: again at the next look.
                false => all = false,
            }
        }
        all
    }
}

/// Whether a block is to be told: its owner's word, or an alert that nobody forged. What is only so in our own networks is nobody else's.
fn is_for_others(asked: &NewBlock, share: Share, local: &LocalNets) -> bool {
    let by = match asked.source.as_str() {
        "hand" => share != Share::None,
        "alert" => share == Share::Proven && !asked.unproven,
        _ => false,
    };
    by && is_public(asked.net) && !local.contains(asked.net.addr())
}

/// Whether it means the same hosts everywhere, and not half of the internet.
fn is_public(net: Net) -> bool {
    let narrowest = if net.addr().is_ipv4() { 8 } else { 16 };
    is_interesting(net.addr()) && !is_private(net.addr()) && net.prefix() >= narrowest
}

impl Sharing {
    /// Of a daemon whose book has these blocks: what it took over from others before, it has still.
    pub fn of(standing: &[Block]) -> Self {
        let mut sharing = Self::default();
        for block in standing {
            let Some(router) = block.asked.source.strip_prefix(FLEET).and_then(Word::new) else {
                continue;
            };
            let until = block.asked.until.unwrap_or(i64::MAX) / 1_000_000;
            sharing.taken.entry(router).or_default().blocks.insert(block.asked.net, until);
        }
        sharing
    }

    /// How often what is told has changed.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// There is another connection: what Redis has is not known.
    pub fn connected(&mut self) {
        self.is_told = false;
        self.taken.values_mut().for_each(|taken| taken.changes = None);
    }

    /// Tells what stands, whole, if it is not what was told. Wall time in seconds.
    pub fn tell(
        &mut self,
        link: &mut Link,
        keys: &Keys,
        standing: &[Block],
        (share, secret, local): (Share, &str, &LocalNets),
        now: i64,
        ttl: u64,
    ) -> RedisResult<()> {
        let mut wanted: BTreeMap<Net, (i64, &Block)> = BTreeMap::new();
        for block in standing.iter().filter(|block| is_for_others(&block.asked, share, local)) {
            let until = block.asked.until.map_or(now.saturating_add(7 * 86_400), |until| until / 1_000_000);
            let before = wanted.get(&block.asked.net).map_or(0, |(before, _)| *before);
            if until > now.saturating_add(WORTH)
                && until > before
                && (before > 0 || wanted.len() < MOST_SHARED)
            {
                wanted.insert(block.asked.net, (until, block));
            }
        }
        let is_same = wanted.len() == self.told.len()
            && wanted.iter().all(|(net, (until, _))| {
                self.told.get(net).is_some_and(|told| told.abs_diff(*until) <= WORTH.unsigned_abs())
            });
        // What only stands still lives on.
        self.is_told &= now.saturating_sub(self.told_at) < i64::try_from(ttl / 2).unwrap_or(i64::MAX);
        let key = keys.fleet_blocks();
        // Whoever writes Redis may have taken some of it away.
        self.is_told = self.is_told && self.is_there(link, &key)?;
        if is_same && self.is_told {
            return Ok(());
        }
        if !self.is_told {
            self.told_at = now;
        }
        let mut all = Pipeline::with_capacity(8);
        all.cmd("MULTI");
        if self.is_told {
            for net in self.told.keys().filter(|net| !wanted.contains_key(net)) {
                all.cmd("HDEL").arg(&key).arg(net.to_string());
            }
        } else {
            all.cmd("DEL").arg(&key);
        }
        let number = self.next_number(link, keys, secret, now)?;
        let list = SharedList::text(number, wanted.keys(), keys.router(), secret);
        all.cmd("HSET").arg(&key).arg(SharedList::FIELD).arg(list);
        for (net, (until, block)) in &wanted {
            if self.is_told && self.told.get(net) == Some(until) {
                continue;
            }
            let shared = Shared::new(*net, *until, &block.asked.reason, block.asked.alert);
            all.cmd("HSET").arg(&key).arg(net.to_string()).arg(shared.text(keys.router(), secret));
        }
        all.cmd("EXPIRE").arg(&key).arg(ttl);
        all.cmd("EXEC");
        // Should it fail, all of it is told anew.
        self.is_told = false;
        for answer in link.run(&all)? {
            answer.extract_error()?;
        }
        self.told = wanted.into_iter().map(|(net, (until, _))| (net, until)).collect();
        self.changes = number;
        self.is_told = true;
        Ok(())
    }

    /// One that nobody has heard of yet, also where the clock was set back since a daemon of this name told something.
    fn next_number(&self, link: &mut Link, keys: &Keys, secret: &str, now: i64) -> RedisResult<u64> {
        let next = self.changes.saturating_add(1).max(u64::try_from(now).unwrap_or(0));
        if self.is_told {
            return Ok(next);
        }
        let mut before = Self::default();
        let known = match before.read(link, keys, keys.router(), secret) {
            Ok(found) => found.list.unwrap_or(0),
            Err(error) if !link.is_usable() => return Err(error),
            // Something else is there; it is written over.
            Err(_) => 0,
        };
        Ok(next.max(known.saturating_add(1)))
    }

    /// Whether Redis has as many as were told.
    fn is_there(&self, link: &mut Link, key: &str) -> RedisResult<bool> {
        match cmd("HLEN").arg(key).query::<usize>(link) {
            // And the list of them.
            Ok(length) => Ok(length == self.told.len() + 1),
            Err(error) if error.code() == Some(WRONG_TYPE) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes over what others tell: `others` are the routers that are seen, each with how often what it tells has changed. `give` hears what
    /// is to be done and says whether it was taken.
    pub fn take(
        &mut self,
        link: &mut Link,
        keys: &Keys,
        others: &[(Word, u64)],
        (policy, secret): (&FleetBlocks, &str),
        now: i64,
        mut give: impl FnMut(Advice) -> bool,
    ) -> RedisResult<()> {
        let longest = i64::try_from(policy.longest.0.as_secs()).unwrap_or(i64::MAX);
        for (router, changes) in others {
            if router == keys.router()
                || self.taken.get(router).is_some_and(|taken| taken.changes == Some(*changes))
            {
                continue;
            }
            let found = match self.read(link, keys, router, secret) {
                Ok(found) => found,
                // What one router has there keeps nobody from what others tell.
                Err(_) if link.is_usable() => {
                    self.refused += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let taken = self.taken.entry(router.clone()).or_default();
            let all = taken.follow(found, (&format!("{FLEET}{router}"), longest), now, &mut give);
            taken.changes = all.then_some(*changes);
        }
        Ok(())
    }

    /// What a router tells and is believed; of more than it may tell nothing.
    fn read(&mut self, link: &mut Link, keys: &Keys, router: &Word, secret: &str) -> RedisResult<Found> {
        let key = keys.of(router.clone()).fleet_blocks();
        let mut found = Found::default();
        let length: usize = cmd("HLEN").arg(&key).query(link)?;
        found.is_empty = length == 0;
        if found.is_empty || length > MOST_SHARED + 1 {
            self.refused += length as u64;
            return Ok(found);
        }
        let fields: Vec<String> = cmd("HKEYS").arg(&key).query(link)?;
        let mut list = None;
        for some in fields.chunks(512) {
            let answers: Vec<Option<Vec<u8>>> = cmd("HMGET").arg(&key).arg(some).query(link)?;
            for (field, text) in some.iter().zip(answers) {
                let Some(text) = text else { continue };
                if field == SharedList::FIELD {
                    list = Some(text);
                    continue;
                }
                match Shared::read(field, &text, router, secret) {
                    Ok((net, shared)) => drop(found.blocks.insert(net, shared)),
                    Err(_) => self.refused += 1,
                }
            }
        }
        found.list = list.and_then(|list| SharedList::read(&list, found.blocks.keys(), router, secret).ok());
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
