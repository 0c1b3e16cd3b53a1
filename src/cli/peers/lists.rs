//! Blocklists: which of whom are followed, and which this router publishes.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use slips_p2p::indicator::Indicator;
use slips_p2p::lists::{MAX_LISTED, MAX_LISTS};
use slips_p2p::message::Name;

use super::{Desk, Done, find_peer, show, text_of, wrong};
use crate::cli::{Exit, Failure};
use crate::peers::table::{Follow, MAX_FOLLOWED, Policy};

pub(super) fn list(desk: &Desk) -> Done {
    let state = desk.store.load()?;
    let status = show::status();
    // How many entries the daemon has of each.
    let held = |id: &str, list: &str| -> Option<u64> {
        let lists = status.as_ref()?["lists"].as_array()?;
        lists.iter().find(|row| row["by"] == id && row["list"] == list)?["entries"].as_u64()
    };
    let followed: Vec<_> = state
        .table
        .peers
        .iter()
        .flat_map(|row| row.follow.iter().map(move |follow| (row, follow)))
        .map(|(row, follow)| {
            let (id, list) = (row.id.to_string(), follow.list.as_str());
            json!({
                "peer": row.called(), "id": id, "list": list, "policy": follow.policy.name(), "entries": held(&id, list),
            })
        })
        .collect();
    let published: Vec<_> = desk
        .store
        .published(desk.now)?
        .iter()
        .filter(|(_, list)| !list.entries.is_empty())
        .map(|(name, list)| json!({"list": name.to_string(), "entries": list.entries.len()}))
        .collect();
    let json = json!({"followed": followed, "published": published});
    desk.say(&json, || {
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut text = String::new();
        for row in &followed {
            let entries = row["entries"].as_u64().map(|n| format!(", {n} entries now")).unwrap_or_default();
            text += &format!(
                "{} of {}: {}{entries}\n",
                word(&row["list"]),
                word(&row["peer"]),
                word(&row["policy"])
            );
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

pub(super) fn publish(desk: &Desk, list: &Name, file: &Path) -> Done {
    let entries = entries(&text_of(file)?)?;
    let published = desk.store.published(desk.now)?;
    let others = published.iter().filter(|(name, wanted)| *name != list && !wanted.entries.is_empty());
    if others.count() >= MAX_LISTS {
        return Err(wrong(format!("no more than {MAX_LISTS} lists")));
    }
    let count = entries.len();
    desk.store.publish(desk.now, list, entries)?;
    desk.reload();
    let json = json!({"list": list.to_string(), "entries": count});
    desk.say(&json, || format!("{list} is published with {count} entries"))
}

pub(super) fn withdraw(desk: &Desk, list: &Name) -> Done {
    if desk.store.published(desk.now)?.get(list).is_none_or(|wanted| wanted.entries.is_empty()) {
        return Err(wrong(format!("no list `{list}` is published")));
    }
    desk.store.publish(desk.now, list, BTreeSet::new())?;
    desk.reload();
    desk.say(&json!({"list": list.to_string(), "entries": 0}), || format!("{list} is published no more"))
}

/// The entries of a file, each once; what cannot be one is told with its line, all of it.
fn entries(text: &str) -> Result<BTreeSet<Indicator>, Failure> {
    let (mut good, mut bad) = (BTreeSet::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        match entry.parse::<Indicator>() {
            Ok(indicator) => {
                good.insert(indicator);
            }
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
        n if n > MAX_LISTED => Err(wrong(format!("{n} entries; a list has {MAX_LISTED} at most"))),
        _ => Ok(good),
    }
}

/// Mistakes that are told of one file.
const TOLD: usize = 20;
