//! Blocklists: which of whom are followed, and which this router publishes.

use std::path::Path;

use serde_json::json;
use slips_core::addr::Net;
use slips_p2p::indicator::Indicator;
use slips_p2p::message::Name;

use super::{Desk, Done, find_peer, text_of, wrong};
use crate::cli::{Exit, Failure};
use crate::peers::table::{Follow, MAX_FOLLOWED, Policy};

pub(super) fn list(desk: &Desk) -> Done {
    let state = desk.store.load()?;
    let followed: Vec<_> = state
        .table
        .peers
        .iter()
        .flat_map(|row| row.follow.iter().map(move |follow| (row, follow)))
        .map(|(row, follow)| {
            json!({"peer": row.called(), "id": row.id.to_string(), "list": follow.list.to_string(), "policy": follow.policy.name()})
        })
        .collect();
    let published: Vec<_> = desk
        .store
        .published()?
        .iter()
        .map(|(name, text)| json!({"list": name.to_string(), "entries": text.lines().count()}))
        .collect();
    let json = json!({"followed": followed, "published": published});
    desk.say(&json, || {
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut text = String::new();
        for row in &followed {
            text += &format!("{} of {}: {}\n", word(&row["list"]), word(&row["peer"]), word(&row["policy"]));
        }
        for row in &published {
            text += &format!("{} is published with {} entries\n", word(&row["list"]), row["entries"]);
        }
        if text.is_empty() { "no blocklist is followed, and none is published".into() } else { text }
    })
}

pub(super) fn follow(desk: &Desk, who: &str, list: Name, policy: Policy) -> Done {
    let name = desk.change(|state| {
        let id = find_peer(&state.table, who)?;
        let row = state.table.peer_mut(id).ok_or_else(|| wrong("the peer is gone"))?;
        row.follow.retain(|follow| follow.list != list);
        if row.follow.len() >= MAX_FOLLOWED {
            return Err(wrong(format!("no more than {MAX_FOLLOWED} lists of one peer")));
        }
        row.follow.push(Follow { list: list.clone(), policy });
        Ok(row.called())
    })?;
    let json = json!({"peer": name, "list": list.to_string(), "policy": policy.name()});
    desk.say(&json, || format!("{list} of {name} is followed: {}", policy.name()))
}

pub(super) fn unfollow(desk: &Desk, who: &str, list: &Name) -> Done {
    let name = desk.change(|state| {
        let id = find_peer(&state.table, who)?;
        let row = state.table.peer_mut(id).ok_or_else(|| wrong("the peer is gone"))?;
        let before = row.follow.len();
        row.follow.retain(|follow| follow.list != *list);
        if row.follow.len() == before {
            return Err(wrong(format!("no list `{list}` of {} is followed", row.called())));
        }
        Ok(row.called())
    })?;
    desk.say(&json!({"peer": name, "list": list.to_string()}), || {
        format!("{list} of {name} is followed no more")
    })
}

/// Most entries of one list: what followers keep of it.
const MAX_ENTRIES: usize = 4096;
/// Most lists.
const MAX_LISTS: usize = 16;

pub(super) fn publish(desk: &Desk, list: &Name, file: &Path) -> Done {
    let entries = entries(&text_of(file)?)?;
    let others = desk.store.published()?.iter().filter(|(name, _)| name != list).count();
    if others >= MAX_LISTS {
        return Err(wrong(format!("no more than {MAX_LISTS} lists")));
    }
    let text: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
    desk.store.write_list(desk.now, list, Some(&text))?;
    desk.reload();
    let json = json!({"list": list.to_string(), "entries": entries.len()});
    desk.say(&json, || format!("{list} is published with {} entries", entries.len()))
}

pub(super) fn withdraw(desk: &Desk, list: &Name) -> Done {
    if !desk.store.published()?.iter().any(|(name, _)| name == list) {
        return Err(wrong(format!("no list `{list}` is published")));
    }
    desk.store.write_list(desk.now, list, None)?;
    desk.reload();
    desk.say(&json!({"list": list.to_string(), "entries": 0}), || format!("{list} is published no more"))
}

/// The entries of a file, each once; what cannot be one is told with its line, all of it.
fn entries(text: &str) -> Result<Vec<String>, Failure> {
    let (mut good, mut bad) = (std::collections::BTreeSet::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        match indicator(entry) {
            Ok(indicator) => drop(good.insert(indicator)),
            Err(why) => bad.push(format!("line {}: `{}`: {why}", at + 1, entry.escape_debug())),
        }
    }
    if !bad.is_empty() {
        let more = bad.len().saturating_sub(TOLD);
        bad.truncate(TOLD);
        let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
        return Err(Failure::new(Exit::Data, format!("{}{more}", bad.join("\n"))));
    }
    match good.len() {
        0 => Err(wrong("the list is empty; to publish it no more: --remove")),
        n if n > MAX_ENTRIES => Err(wrong(format!("{n} entries; a list has {MAX_ENTRIES} at most"))),
        _ => Ok(good.iter().map(ToString::to_string).collect()),
    }
}

/// Mistakes that are told of one file.
const TOLD: usize = 20;

fn indicator(entry: &str) -> Result<Indicator, String> {
    match entry.parse::<Net>() {
        Ok(net) => Indicator::net(net),
        Err(_) => Indicator::domain(entry),
    }
    .map_err(|error| error.to_string())
}
