//! All routers on one Redis, as each tells of itself.

use std::time::Duration;

use redis::{FromRedisValue, Pipeline, RedisResult, Value, cmd};
use slips_store::redis::{Keys, Link, MEMORY, MOST_ROUTERS, MOST_VALUE, Member, Word};

use crate::control::api::types::{Fleet, FleetRouter, FleetState};

/// A word younger than this is no old one, and one older than this is the last.
const UP: Duration = Duration::from_secs(3);
const LATE: Duration = Duration::from_secs(15);

/// Both that may be there under one name.
const ROLES: [&str; 2] = ["active", "standby"];

/// Asks for all of them. How old a word is says its remaining life, by the one clock of Redis.
/// With the routers that act and how often what they share has changed.
pub fn read(link: &mut Link, keys: &Keys) -> RedisResult<(Fleet, Vec<(Word, u64)>)> {
    let names: Vec<Vec<u8>> =
        cmd("ZREVRANGE").arg(keys.routers()).arg(0).arg(MOST_ROUTERS - 1).query(link)?;
    let mut unread = 0;
    let mut routers: Vec<Word> = Vec::with_capacity(names.len());
    for name in &names {
        match std::str::from_utf8(name).ok().and_then(Word::new) {
            Some(word) => routers.push(word),
            None => unread += 1,
        }
    }
    routers.sort();
    let mut ask = Pipeline::with_capacity(routers.len() * 4);
    for router in &routers {
        let keys = keys.of(router.clone());
        for role in ROLES {
            ask.cmd("GETRANGE").arg(keys.member(role)).arg(0).arg(MOST_VALUE);
            ask.cmd("PTTL").arg(keys.member(role));
        }
    }
    let answers = if routers.is_empty() { Vec::new() } else { link.run(&ask)? };
    let mut fleet = Fleet { router: keys.router().to_string(), reached: true, ..Fleet::default() };
    let mut acting = Vec::new();
    let pairs = answers.chunks(2).zip(routers.iter().flat_map(|router| ROLES.map(|role| (router, role))));
    for (answer, (router, role)) in pairs {
        match one(router, role, answer) {
            Some(Ok((told, shared))) => {
                if told.role == "active" {
                    acting.push((router.clone(), shared));
                }
                fleet.routers.push(told);
            }
            Some(Err(wrong)) => {
                unread += 1;
                fleet.routers.push(FleetRouter {
                    router: router.to_string(),
                    role: role.into(),
                    wrong: Some(wrong.into()),
                    ..FleetRouter::default()
                });
            }
            None => {}
        }
    }
    fleet.unread = unread;
    Ok((fleet, acting))
}

/// None where there is nothing under this name.
fn one(router: &Word, role: &str, answer: &[Value]) -> Option<Result<(FleetRouter, u64), &'static str>> {
    let [text, left] = answer else { return None };
    let text = match text {
        Value::BulkString(text) if text.is_empty() => return None,
        Value::BulkString(text) => text,
        Value::Nil => return None,
        _ => return Some(Err("what it says of itself is no text")),
    };
    let left = i64::from_redis_value_ref(left).ok().and_then(|left| u64::try_from(left).ok());
    Some(Member::read(text, router).and_then(|told| {
        let left = left.ok_or("what it says of itself never ends")?;
        if told.role != role {
            return Err("what it says of itself makes no sense");
        }
        let shared = told.shared;
        let age = Duration::from_millis((MEMORY * 1000).saturating_sub(left));
        let told = FleetRouter {
            router: told.router,
            role: told.role,
            state: match age {
                age if age <= UP => FleetState::Up,
                age if age <= LATE => FleetState::Late,
                _ => FleetState::Gone,
            },
            seconds_ago: age.as_secs(),
            mode: told.mode,
            version: told.slips,
            since: told.since,
            flows_per_second: told.flows_per_second,
            alerts: told.alerts,
            blocks: told.blocks,
            wrong: None,
        };
        Ok((told, shared))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(
        left: i64,
        change: impl FnOnce(String) -> String,
    ) -> Option<Result<(FleetRouter, u64), &'static str>> {
        let member = Member {
            version: slips_store::redis::VERSION,
            router: "a".into(),
            role: "active".into(),
            mode: "enforce".into(),
            slips: "0.1.0".into(),
            since: "2026-01-02T10:00:00.000000Z".into(),
            at: "2026-01-02T10:00:01.000000Z".into(),
            flows_per_second: 7,
            alerts: 1,
            blocks: 2,
            shared: 0,
        };
        let text = Value::BulkString(change(member.text()).into_bytes());
        one(&Word::new("a").expect("a word"), "active", &[text, Value::Int(left)])
    }

    #[test]
    fn how_old_the_last_word_is_says_how_a_router_is() {
        for (age, state) in [(0, FleetState::Up), (4000, FleetState::Late), (20_000, FleetState::Gone)] {
            let told = router((MEMORY * 1000) as i64 - age, |text| text).expect("there").expect("read");
            assert_eq!(told.0.state, state);
        }
    }

    #[test]
    fn what_makes_no_sense_is_shown_as_such() {
        router(-1, |text| text).expect("there").expect_err("never ends");
        router(1, |text| text.replace("active", "standby")).expect("there").expect_err("another role");
        router(1, |text| text.replace("\"router\":\"a\"", "\"router\":\"b\""))
            .expect("there")
            .expect_err("another");
        assert!(router(1, |_| String::new()).is_none());
    }
}
