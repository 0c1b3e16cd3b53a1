//! Blocks that all routers on one Redis have: each tells its own ones, signed, and takes over what others tell, if its owner wants that. What
//! was taken over is not told again, so that nothing goes round, and who asked for it answers for it.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Pipeline, RedisResult, Value, cmd};
use slips_core::addr::{LocalNets, Net, is_interesting, is_private};
use slips_store::redis::{Keys, Link, MOST_SHARED, MOST_VALUE, Shared, Word};
use slips_store::{Block, NewBlock};

use super::WRONG_TYPE;
use crate::config::{FleetBlocks, Share};
use crate::daemon::responder::{Advice, FLEET};

/// Blocks that end sooner are not worth telling, and one is told anew only when its end moved by more.
const WORTH: i64 = 5;

/// What is told and what was taken over.
#[derive(Default)]
pub struct Sharing {
    /// What others were told, and how often that changed.
    told: BTreeMap<Net, i64>,
    changes: u64,
    /// Whether Redis has it, and when all of it was told.
    is_told: bool,
    told_at: i64,
    /// Of each router what was taken over, until when, and how often it had changed then.
    taken: BTreeMap<Word, Taken>,
    /// Words of others that were not believed.
    pub refused: u64,
}

/// Of one router.
#[derive(Default)]
struct Taken {
    changes: Option<u64>,
    blocks: BTreeMap<Net, i64>,
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
        for (net, (until, block)) in &wanted {
            if self.is_told && self.told.get(net) == Some(until) {
                continue;
            }
            let alert = block.asked.alert.map(|alert| alert.to_string());
            let shared = Shared::new(*net, *until, &block.asked.reason, alert);
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
        self.changes = self.changes.wrapping_add(1);
        self.is_told = true;
        Ok(())
    }

    /// Whether Redis has as many as were told.
    fn is_there(&self, link: &mut Link, key: &str) -> RedisResult<bool> {
        match cmd("HLEN").arg(key).query::<usize>(link) {
            Ok(length) => Ok(length == self.told.len()),
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
        for (router, changes) in others {
            if router == keys.router()
                || self.taken.get(router).is_some_and(|taken| taken.changes == Some(*changes))
            {
                continue;
            }
            let found = self.read(link, keys, router, secret, now)?;
            let taken = self.taken.entry(router.clone()).or_default();
            let source = format!("{FLEET}{router}");
            let gone: Vec<Net> =
                taken.blocks.keys().filter(|net| !found.contains_key(net)).copied().collect();
            for net in gone {
                taken.blocks.remove(&net);
                let why = "the router that asked for it lifted it, or its time is over";
                give(Advice::Retract { net, source: source.clone(), why });
            }
            let mut all = true;
            for (net, shared) in found {
                let until = shared.until.min(now.saturating_add(longest(policy)));
                if taken.blocks.get(&net).is_some_and(|before| *before >= until.saturating_sub(WORTH)) {
                    continue;
                }
                let for_ = Duration::from_secs(u64::try_from(until.saturating_sub(now)).unwrap_or(0));
                let why = match shared.alert.as_str() {
                    "" => shared.why,
                    alert => format!("{} (alert {alert} there)", shared.why),
                };
                match give(Advice::Block { net, for_, source: source.clone(), why }) {
                    true => drop(taken.blocks.insert(net, until)),
                    // There is no room: again at the next look.
                    false => all = false,
                }
            }
            taken.changes = all.then_some(*changes);
        }
        Ok(())
    }

    /// What a router tells and is believed.
    fn read(
        &mut self,
        link: &mut Link,
        keys: &Keys,
        router: &Word,
        secret: &str,
        now: i64,
    ) -> RedisResult<BTreeMap<Net, Shared>> {
        let key = keys.of(router.clone()).fleet_blocks();
        let mut found = BTreeMap::new();
        let length: usize = cmd("HLEN").arg(&key).query(link)?;
        if length > MOST_SHARED {
            self.refused += length as u64;
            return Ok(found);
        }
        let fields: Vec<String> = cmd("HKEYS").arg(&key).query(link)?;
        for some in fields.chunks(512) {
            let mut ask = Pipeline::with_capacity(1);
            let get = ask.cmd("HMGET").arg(&key);
            for field in some {
                get.arg(field);
            }
            let answers = match link.run(&ask)?.pop() {
                Some(Value::Array(answers)) => answers,
                _ => Vec::new(),
            };
            for (field, text) in some.iter().zip(answers) {
                let Value::BulkString(text) = text else { continue };
                let read = if text.len() > MOST_VALUE {
                    Err("")
                } else {
                    Shared::read(field, &text, router, secret)
                };
                match read {
                    Ok((net, shared)) if is_public(net) && shared.until > now => {
                        found.insert(net, shared);
                    }
                    Ok(_) => {}
                    Err(_) => self.refused += 1,
                }
            }
        }
        Ok(found)
    }
}

fn longest(policy: &FleetBlocks) -> i64 {
    i64::try_from(policy.longest.0.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_are_told_is_ours_proven_and_means_the_same_everywhere() {
        let local = LocalNets::new(vec!["192.0.2.0/24".parse().expect("a network")]);
        let asked = |net: &str, source: &str, unproven| NewBlock {
            net: net.parse().expect("a network"),
            reason: String::new(),
            alert: None,
            source: source.into(),
            from: 0,
            until: None,
            unproven,
            manner: "drop".into(),
        };
        for (net, source, unproven, hand, proven) in [
            ("198.51.100.1", "hand", false, true, true),
            ("198.51.100.1", "alert", false, false, true),
            ("198.51.100.1", "alert", true, false, false),
            ("2001:db8::/64", "alert", false, false, true),
            // What others told is theirs to tell, and nothing goes round.
            ("198.51.100.1", "fleet b", false, false, false),
            ("198.51.100.1", "peer group/author", false, false, false),
            ("198.51.100.1", "feed list", false, false, false),
            ("192.0.2.7", "hand", false, false, false),
            ("192.168.1.7", "hand", false, false, false),
            ("fd00::1", "hand", false, false, false),
            ("0.0.0.0/1", "hand", false, false, false),
            ("127.0.0.1", "hand", false, false, false),
        ] {
            let asked = asked(net, source, unproven);
            let told =
                [Share::None, Share::Hand, Share::Proven].map(|share| is_for_others(&asked, share, &local));
            assert_eq!(told, [false, hand, proven], "{net} {source}");
        }
    }
}
