//! What an active daemon left in its mirror, read back by who takes its place. All of it is bounded; what cannot be read is left out, since
//! to act with less is better than not to act.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use redis::{FromRedisValue, Pipeline, RedisResult, Value, cmd};
use slips_core::addr::Net;
use slips_core::alert::Alert;
use slips_core::evidence::EvidenceId;
use slips_core::heritage::{Heritage, HeritageOf, MOST_EVIDENCE};
use slips_core::time::{PacketTime, Span, WindowId};
use slips_store::redis::heirloom::{self, AlertLeft, BlockLeft};
use slips_store::redis::{Keys, Link};

/// Attackers in windows that are taken over, those with most evidence first.
const MOST_ATTACKERS: usize = 20_000;
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

/// The blocks that stand, those that end last first, and how many could not be read.
pub fn blocks(
    link: &mut Link,
    keys: &Keys,
    secret: Option<&str>,
) -> RedisResult<(Vec<(Net, BlockLeft)>, usize)> {
    let (mut left, mut unread) = (Vec::new(), 0);
    for first in (0..MOST_BLOCKS).step_by(BLOCKS) {
        let last = first + BLOCKS - 1;
        let names: Vec<String> = cmd("ZREVRANGE").arg(keys.blocked()).arg(first).arg(last).query(link)?;
        let nets: Vec<(Net, &String)> =
            names.iter().filter_map(|name| Some((name.parse().ok()?, name))).collect();
        unread += names.len() - nets.len();
        let mut get = Pipeline::with_capacity(nets.len());
        for (net, _) in &nets {
            get.cmd("GET").arg(keys.block(*net));
        }
        for ((net, name), text) in nets.iter().zip(link.run(&get)?) {
            match text {
                Value::BulkString(text) => match heirloom::block(&text, name, secret) {
                    Some(block) => left.push((*net, block)),
                    None => unread += 1,
                },
                // It is over by now.
                Value::Nil => {}
                _ => unread += 1,
            }
        }
        if names.len() < BLOCKS {
            break;
        }
    }
    Ok((left, unread))
}

/// What stood against attackers in open windows, and how much could not be read. `kept` are alerts of ours that were not told.
pub fn heritage(
    link: &mut Link,
    (keys, secret): (&Keys, Option<&str>),
    kept: &[Arc<Alert>],
    at: PacketTime,
) -> RedisResult<(Heritage, usize)> {
    let all: Vec<(String, f64)> = cmd("ZREVRANGE")
        .arg(keys.accumulated())
        .arg(0)
        .arg(MOST_ATTACKERS - 1)
        .arg("WITHSCORES")
        .query(link)?;
    let mut unread = 0;
    let mut accounts = Vec::new();
    for some in all.chunks(ATTACKERS) {
        let whom: Vec<(IpAddr, WindowId, f64)> = some
            .iter()
            .filter_map(|(key, sum)| {
                let (addr, window) = heirloom::of_profile_window(key)?;
                Some((addr, window, *sum))
            })
            .collect();
        unread += some.len() - whom.len();
        let alerts = alerts(link, (keys, secret), &whom, &mut unread)?;
        let evidence = evidence(link, (keys, secret), &whom, &mut unread)?;
        for (((attacker, window, sum), alerts), evidence) in whom.into_iter().zip(alerts).zip(evidence) {
            let used: HashSet<EvidenceId> =
                alerts.iter().flat_map(|alert| alert.evidence.iter().copied()).collect();
            let last = alerts.iter().map(|alert| (alert.at, alert.proof)).max();
            accounts.push(HeritageOf {
                attacker,
                window,
                sum: if sum.is_finite() { sum.max(0.0) } else { 0.0 },
                alerts: u32::try_from(alerts.len()).unwrap_or(u32::MAX),
                last,
                evidence: evidence
                    .into_iter()
                    .map(|of| {
                        let told = used.contains(&of.id);
                        (of, told)
                    })
                    .collect(),
            });
        }
    }
    let untold = untold(link, (keys, secret), kept, at, &mut unread)?;
    Ok((Heritage { at, accounts, untold, ..Heritage::default() }, unread))
}

/// Of our own alerts of late those that the other one did not tell. What is older it would have told, had it thought so.
fn untold(
    link: &mut Link,
    from: (&Keys, Option<&str>),
    kept: &[Arc<Alert>],
    now: PacketTime,
    unread: &mut usize,
) -> RedisResult<Vec<Arc<Alert>>> {
    let late: Vec<&Arc<Alert>> = kept.iter().filter(|alert| now.since(alert.at) <= LATE).collect();
    let mut untold = Vec::new();
    for some in late.chunks(ATTACKERS) {
        let whom: Vec<_> = some.iter().map(|alert| (alert.attacker, alert.window, 0.0)).collect();
        let theirs = alerts(link, from, &whom, unread)?;
        let told = some
            .iter()
            .zip(theirs)
            .filter(|(alert, theirs)| !theirs.iter().any(|theirs| alert.at.since(theirs.at) < SAME));
        untold.extend(told.map(|(alert, _)| Arc::clone(alert)));
    }
    Ok(untold)
}

/// The alerts of each.
fn alerts(
    link: &mut Link,
    (keys, secret): (&Keys, Option<&str>),
    whom: &[(IpAddr, WindowId, f64)],
    unread: &mut usize,
) -> RedisResult<Vec<Vec<AlertLeft>>> {
    let mut ask = Pipeline::with_capacity(whom.len());
    for (attacker, window, _) in whom {
        ask.cmd("HKEYS").arg(keys.window(*attacker, *window));
    }
    let mut found = vec![Vec::new(); whom.len()];
    let mut of: Vec<(usize, String)> = Vec::new();
    for (place, fields) in link.run(&ask)?.into_iter().enumerate() {
        let fields = Vec::<String>::from_redis_value(fields).unwrap_or_default();
        let ids = fields.iter().filter_map(|field| field.strip_prefix("alert_"));
        of.extend(ids.take(MOST_ALERTS).map(|id| (place, id.to_owned())));
    }
    for some in of.chunks(MOST_ALERTS) {
        let mut get = Pipeline::with_capacity(some.len());
        for (_, id) in some {
            get.cmd("GET").arg(keys.alert_named(id));
        }
        for ((place, _), text) in some.iter().zip(link.run(&get)?) {
            let Value::BulkString(text) = text else { continue };
            match (heirloom::alert(&text, secret), found.get_mut(*place)) {
                (Some(alert), Some(of)) => of.push(alert),
                _ => *unread += 1,
            }
        }
    }
    Ok(found)
}

/// The evidence against each.
fn evidence(
    link: &mut Link,
    (keys, secret): (&Keys, Option<&str>),
    whom: &[(IpAddr, WindowId, f64)],
    unread: &mut usize,
) -> RedisResult<Vec<Vec<slips_core::evidence::Evidence>>> {
    let mut ask = Pipeline::with_capacity(whom.len());
    for (attacker, window, _) in whom {
        ask.cmd("HLEN").arg(keys.evidence(*attacker, *window));
    }
    let lengths: Vec<usize> = link
        .run(&ask)?
        .into_iter()
        .map(|length| usize::from_redis_value(length).unwrap_or_default())
        .collect();
    let mut found = vec![Vec::new(); whom.len()];
    let (mut together, mut room): (Vec<usize>, usize) = (Vec::new(), EVIDENCE);
    let mut groups = Vec::new();
    for (place, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
        if *length > room {
            groups.push(std::mem::take(&mut together));
            room = EVIDENCE;
        }
        room = room.saturating_sub(*length);
        together.push(place);
    }
    groups.push(together);
    for group in groups.iter().filter(|group| !group.is_empty()) {
        let mut ask = Pipeline::with_capacity(group.len());
        for (attacker, window, _) in group.iter().filter_map(|place| whom.get(*place)) {
            // Of more than an alert names, some.
            ask.cmd("HSCAN").arg(keys.evidence(*attacker, *window)).arg(0).arg("COUNT").arg(MOST_EVIDENCE);
        }
        for (place, answer) in group.iter().zip(link.run(&ask)?) {
            let (Some((attacker, window, _)), Some(of)) = (whom.get(*place), found.get_mut(*place)) else {
                continue;
            };
            let (_, pairs): (String, BTreeMap<String, Vec<u8>>) =
                match FromRedisValue::from_redis_value(answer) {
                    Ok(answer) => answer,
                    Err(_) => {
                        *unread += 1;
                        continue;
                    }
                };
            for text in pairs.values() {
                match heirloom::evidence(text, *attacker, *window, secret) {
                    Some(evidence) => of.push(evidence),
                    None => *unread += 1,
                }
            }
        }
    }
    Ok(found)
}
