//! Adding, changing, confirming and removing peers.

use serde_json::json;
use slips_p2p::identity::{NodeId, fingerprint};
use slips_p2p::members::{MAX_PEERS, Peer};

use super::args::Fields;
use super::{Desk, Done, agreed, find_peer, show, wrong};
use crate::cli::{Exit, Failure};
use crate::peers::table::{MAX_ADDRESSES, PeerRow, Table};
use crate::peers::{Secret, State, files};

pub(super) fn add(desk: &Desk, who: &str, fields: Fields) -> Done {
    if fields.addresses.len() > MAX_ADDRESSES {
        return Err(Failure::new(
            Exit::Usage,
            format!("no more than {MAX_ADDRESSES} addresses for one peer"),
        ));
    }
    let (row, fresh, first) = desk.change(|state| {
        let id = who.parse::<NodeId>().or_else(|error| match find_peer(&state.table, who) {
            Ok(id) => Ok(id),
            // Who typed most of an id meant one.
            Err(_) if who.starts_with("12D3") => Err(wrong(format!("`{}`: {error}", who.escape_debug()))),
            Err(failure) => Err(failure),
        })?;
        if state.id == Some(id) {
            return Err(wrong("this is the id of this router itself"));
        }
        let fresh = state.table.peer(id).is_none();
        if fresh {
            if state.table.peers.len() >= MAX_PEERS {
                return Err(wrong(format!("no more than {MAX_PEERS} peers")));
            }
            state.table.peers.push(PeerRow::by_hand(id));
        }
        check_name(&state.table, id, &fields)?;
        let first = state.network.is_none();
        if first {
            state.network = Some(Secret(files::random()?));
        }
        let row = state.table.peer_mut(id).ok_or_else(|| wrong("the peer is gone"))?;
        apply(row, fields);
        Ok((row.clone(), fresh, first))
    })?;
    desk.say(&json!({"id": row.id.to_string(), "name": row.name.as_ref().map(ToString::to_string), "added": fresh}), || {
        let mut text = format!("{} {}", row.called(), if fresh { "is a peer now" } else { "is changed" });
        if fresh {
            text += "; it must name this router, too";
        }
        if first {
            text += "\nand needs the key of the network, which was made just now: slips peers network show";
        }
        text
    })
}

fn check_name(table: &Table, id: NodeId, fields: &Fields) -> Done {
    let Some(name) = &fields.name else { return Ok(()) };
    let peers = table.peers.iter().map(|row| (row.id, &row.name));
    let mut all = peers.chain(table.organisations.iter().map(|row| (row.id, &row.name)));
    match all.find(|(other, taken)| *other != id && taken.as_ref() == Some(name)) {
        Some((other, _)) => Err(wrong(format!("{other} is called `{name}` already"))),
        None => Ok(()),
    }
}

fn apply(row: &mut PeerRow, fields: Fields) {
    let Fields { name, addresses, group, role, weight, note } = fields;
    row.name = name.or(row.name.take());
    row.group = group.or(row.group.take());
    row.note = note.or(row.note.take());
    row.role = role.or(row.role);
    row.weight = weight.unwrap_or(row.weight);
    if !addresses.is_empty() {
        row.addresses = addresses;
    }
}

pub(super) fn remove(desk: &Desk, who: &str) -> Done {
    let row = desk.change(|state| {
        let id = find_peer(&state.table, who).map_err(|failure| in_roster(state, who, failure))?;
        let at = state.table.peers.iter().position(|row| row.id == id);
        let row = at.map(|at| state.table.peers.remove(at)).ok_or_else(|| wrong("the peer is gone"))?;
        let still = state.members().find(id, crate::cli::peers::now()).is_some();
        Ok((row, still))
    })?;
    let (row, still) = row;
    desk.say(&json!({"id": row.id.to_string(), "removed": true, "still_in_a_roster": still}), || {
        let mut text = format!("{} is no peer any more", row.called());
        if still {
            text += "\nbut it is in the roster of an organisation that you trust: it stays a member by that";
        }
        text
    })
}

/// Who is known by a roster alone cannot be removed here.
fn in_roster(state: &State, who: &str, failure: Failure) -> Failure {
    let Ok(id) = who.parse::<NodeId>() else { return failure };
    if state.members().find(id, super::now()).is_none() {
        return failure;
    }
    wrong(format!(
        "{id} is a peer by the roster of an organisation: the organisation must revoke it, or you distrust the organisation \
         (slips peers org distrust)"
    ))
}

pub(super) fn confirm(desk: &Desk, who: &str, words: Option<&str>, yes: bool) -> Done {
    let state = desk.store.load()?;
    let id = find_peer(&state.table, who)?;
    let own = state.id.ok_or_else(|| wrong("this router has no identity yet: slips peers id"))?;
    let ours = fingerprint(&[own, id]);
    match words {
        Some(theirs) => compare(&ours, theirs)?,
        None if yes => {}
        None => {
            eprintln!(
                "Call the other administrator, by a way that nobody can fake. Both routers must show the same words;"
            );
            eprintln!("there: slips peers confirm with the name of this router.\n\n    {ours}\n");
            if !agreed("Are they the same?")? {
                return Err(wrong("not confirmed: if the words differ, remove the peer and invite again"));
            }
        }
    }
    let row = desk.change(|state| {
        let row = state.table.peer_mut(id).ok_or_else(|| wrong("the peer is gone"))?;
        if !row.confirmed {
            row.confirmed = true;
            row.weight = row.weight.max(Peer::CONFIRMED);
        }
        Ok(row.clone())
    })?;
    desk.say(&json!({"id": id.to_string(), "confirmed": true, "weight": row.weight, "words": ours}), || {
        format!("{} is confirmed and weighs {}", row.called(), row.weight)
    })
}

fn compare(ours: &str, theirs: &str) -> Done {
    let theirs: Vec<String> = theirs.split_whitespace().map(str::to_lowercase).collect();
    if ours.split(' ').eq(theirs.iter().map(String::as_str)) {
        return Ok(());
    }
    Err(wrong(format!(
        "these are not the words of this pair ({ours}): somebody sits in between, or it is another router. Do not confirm it"
    )))
}

pub(super) fn trust(desk: &Desk, who: &str, weight: Option<f64>, clear: bool) -> Done {
    if weight.is_none() && !clear {
        return show::one(desk, who);
    }
    let row = desk.change(|state| {
        let id = find_peer(&state.table, who)?;
        if clear {
            state.book.pardon(id);
        }
        let row = state.table.peer_mut(id).ok_or_else(|| wrong("the peer is gone"))?;
        row.weight = weight.unwrap_or(row.weight);
        Ok(row.clone())
    })?;
    let json = json!({"id": row.id.to_string(), "weight": row.weight, "cleared": clear});
    desk.say(&json, || {
        let cleared = if clear { "; nothing is held against it any more" } else { "" };
        format!("{} weighs {}{cleared}", row.called(), row.weight)
    })
}
