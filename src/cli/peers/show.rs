//! Looking: who we are, who the peers are, what they said.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use slips_p2p::identity::{NetId, NodeId, fingerprint};
use slips_p2p::members::Members;
use slips_p2p::moment::Moment;
use slips_p2p::opinion::Group;
use slips_p2p::roster::Roster;

use super::invites::time;
use super::{Desk, Done, find_peer, said, short, wrong};
use crate::cli::Failure;
use crate::cli::table::{Cell, Column, Table};
use crate::control::{self, Ask, PeersAsk};
use crate::peers::State;

pub(super) fn id(desk: &Desk, new: bool) -> Done {
    if new {
        desk.store.renew_identity(desk.now)?;
        desk.reload();
    }
    let loaded = desk.store.load()?;
    // Making the key is the one thing that needs the right to write.
    let state = match loaded.id {
        Some(_) => loaded,
        None => {
            desk.change(|_| Ok(()))?;
            desk.store.load()?
        }
    };
    let id = state.id.ok_or_else(|| wrong("this router has no identity"))?;
    let words = fingerprint(&[id]);
    let network = state.network.map(|secret| NetId::of(&secret.0).to_string());
    let addresses: Vec<String> = desk.config.p2p.own_addresses().iter().map(ToString::to_string).collect();
    let directory = desk.store.directory().display().to_string();
    let json = json!({"id": id.to_string(), "words": words, "network": network, "addresses": addresses, "directory": directory});
    desk.say(&json, || {
        let network = network.unwrap_or_else(|| "none yet".into());
        let addresses = if addresses.is_empty() { "none".into() } else { addresses.join("\n            ") };
        format!("id          {id}\nwords       {words}\nnetwork     {network}\naddresses   {addresses}\ndirectory   {directory}")
    })
}

/// A line of the list.
struct Line {
    id: NodeId,
    name: Option<String>,
    addresses: Vec<String>,
    group: String,
    role: &'static str,
    weight: f64,
    confirmed: bool,
    by_roster: bool,
}

pub(super) fn list(desk: &Desk) -> Done {
    let state = desk.store.load()?;
    let live = live();
    let lines = lines(&state, desk.now);
    let peers: Vec<Value> = lines.iter().map(|line| peer_json(line, live.as_ref())).collect();
    let invites: Vec<Value> = state
        .book
        .invites
        .iter()
        .filter(|row| desk.now < row.until)
        .map(|row| json!({"until_ms": row.until.0, "name": row.name.as_ref().map(ToString::to_string)}))
        .collect();
    let join = state.book.joining(desk.now);
    let join = join.map(|invite| json!({"by": invite.inviter.to_string(), "until_ms": invite.until.0}));
    let json = json!({
        "peers": peers, "organisations": org_json(&state, desk.now), "invites": invites, "join": join,
        "node": live.as_ref().map(|live| live.status["node"].clone()),
    });
    desk.say(&json, || table(&json) + &node_lines(live.as_ref().map(|live| &live.status)))
}

/// One peer, with what the daemon knows of it.
pub(super) fn one(desk: &Desk, who: &str) -> Done {
    let state = desk.store.load()?;
    let id = find_peer(&state.table, who)?;
    let line = lines(&state, desk.now).into_iter().find(|line| line.id == id);
    let line = line.ok_or_else(|| wrong("the peer is gone"))?;
    let json = peer_json(&line, live().as_ref());
    desk.say(&json, || {
        let trust = match (json["quarantined"].as_bool(), json["trust"].as_f64()) {
            (Some(true), _) => "it is in quarantine: nothing that it says counts (--clear ends that)".into(),
            (_, Some(trust)) => format!("experience makes that {trust:.2} now"),
            _ => "no daemon that talks with peers runs here: nothing is known about experience".into(),
        };
        format!(
            "{} starts with a weight of {}; {trust}",
            line.name.unwrap_or_else(|| id.to_string()),
            line.weight
        )
    })
}

/// What the daemon knows of the peers.
struct Live {
    status: Value,
    peers: BTreeMap<String, Value>,
}

/// How the daemon says that things are; nothing without one.
pub(super) fn status() -> Option<Value> {
    let text = control::ask(&Ask::Peers(PeersAsk::Status)).ok()?.ok()?;
    serde_json::from_str(&text).ok()
}

fn live() -> Option<Live> {
    let status = status()?;
    let rows = status["peers"].as_array().into_iter().flatten();
    let peers = rows.filter_map(|row| Some((row["id"].as_str()?.to_owned(), row.clone()))).collect();
    Some(Live { peers, status })
}

fn lines(state: &State, now: Moment) -> Vec<Line> {
    let members = state.members();
    let orgs: BTreeMap<NodeId, String> = state
        .table
        .organisations
        .iter()
        .map(|row| (row.id, row.name.as_ref().map_or_else(|| short(row.id), ToString::to_string)))
        .collect();
    let group = |group: Group| match group {
        Group::Org(id) => orgs.get(&id).cloned().unwrap_or_else(|| short(id)),
        Group::Label(label) => label.into(),
        Group::Alone(_) => "-".into(),
    };
    let admitted = members.admitted(now).into_iter().filter(|id| Some(*id) != state.id);
    let mut lines: Vec<Line> = admitted.filter_map(|id| line(state, &members, id, now, &group)).collect();
    lines.sort_by(|a, b| (a.by_roster, &a.name, a.id).cmp(&(b.by_roster, &b.name, b.id)));
    lines
}

fn line(
    state: &State,
    members: &Members,
    id: NodeId,
    now: Moment,
    group: &dyn Fn(Group) -> String,
) -> Option<Line> {
    let found = members.find(id, now)?;
    let row = state.table.peer(id);
    Some(Line {
        id,
        name: row.and_then(|row| row.name.as_ref()).map(ToString::to_string),
        addresses: row.map(|row| row.addresses.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        group: group(found.group),
        role: found.role.name(),
        weight: found.base,
        confirmed: row.is_none_or(|row| row.confirmed),
        by_roster: row.is_none(),
    })
}

fn peer_json(line: &Line, live: Option<&Live>) -> Value {
    let id = line.id.to_string();
    let known = live.and_then(|live| live.peers.get(&id));
    let of = |key: &str| known.map_or(Value::Null, |row| row[key].clone());
    json!({
        "name": line.name, "id": id, "addresses": line.addresses, "group": line.group, "role": line.role,
        "weight": line.weight, "confirmed": line.confirmed, "source": if line.by_roster { "roster" } else { "table" },
        "connected": of("connected"), "last_seen_ms": of("last_seen_ms"), "trust": of("trust"), "quarantined": of("quarantined"),
    })
}

fn org_json(state: &State, now: Moment) -> Vec<Value> {
    let rosters: Vec<Roster> = state.rosters.iter().filter_map(|signed| Roster::open(signed).ok()).collect();
    let row = |row: &crate::peers::table::OrgRow| {
        let roster = rosters.iter().find(|roster| roster.org == row.id);
        json!({
            "name": row.name.as_ref().map(ToString::to_string), "id": row.id.to_string(), "weight": row.weight, "cap": row.cap,
            "max_role": row.max_role.name(),
            "roster": roster.map(|roster| json!({
                "version": roster.version, "members": roster.members.len(), "revoked": roster.revoked.len(),
                "not_after_ms": roster.not_after.0, "ended": now >= roster.not_after,
            })),
        })
    };
    state.table.organisations.iter().map(row).collect()
}

fn table(told: &Value) -> String {
    let columns = [
        Column::text("name"),
        Column::whole("id"),
        Column::text("group"),
        Column::whole("role"),
        Column::number("weight"),
        Column::whole("confirmed"),
        Column::whole("connected"),
        Column::whole("last seen"),
        Column::number("trust"),
    ];
    let rows: Vec<_> = told["peers"].as_array().into_iter().flatten().map(cells).collect();
    let mut text = if rows.is_empty() { "no peers\n".to_owned() } else { align(columns, rows) };
    for org in told["organisations"].as_array().into_iter().flatten() {
        text += &org_line(org);
    }
    for invite in told["invites"].as_array().into_iter().flatten() {
        let name = invite["name"].as_str().map(|name| format!(" for {name}")).unwrap_or_default();
        text += &format!(
            "an invite{name} is open until {}\n",
            time(Moment(invite["until_ms"].as_u64().unwrap_or(0)))
        );
    }
    if let Some(by) = told["join"]["by"].as_str() {
        let until = Moment(told["join"]["until_ms"].as_u64().unwrap_or(0));
        text += &format!("waits to be let in by {by} until {}\n", time(until));
    }
    text
}

/// What is wrong with talking to peers, if anything.
fn node_lines(status: Option<&Value>) -> String {
    let Some(status) = status else {
        return "no daemon that talks with peers runs here: nothing is known about connections and trust\n"
            .into();
    };
    let mut text = String::new();
    if status["node"] == "down" {
        text += "the process that talks with peers is down and will be started again: journalctl -u slips\n";
    }
    if status["clock"] == false {
        text += "the clock of this router is not synchronised: nothing is told to peers, and nothing of theirs is taken\n";
    }
    if let Some(until) = status["breaker_until_ms"].as_u64() {
        text +=
            &format!("after wrong blocks, none is made without own evidence until {}\n", time(Moment(until)));
    }
    text
}

fn cells(peer: &Value) -> [String; 9] {
    let id = peer["id"].as_str().unwrap_or_default();
    let end = id.get(id.len().saturating_sub(super::SHORT)..).unwrap_or_default();
    let yes = |value: &Value| match value.as_bool() {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    };
    let trust = match (peer["quarantined"].as_bool(), peer["trust"].as_f64()) {
        (Some(true), _) => "quarantined".into(),
        (_, Some(trust)) => format!("{trust:.2}"),
        _ => "?".into(),
    };
    let weight = peer["weight"].as_f64().unwrap_or(0.0);
    [
        peer["name"].as_str().unwrap_or("-").to_owned(),
        end.to_owned(),
        peer["group"].as_str().unwrap_or("-").to_owned(),
        peer["role"].as_str().unwrap_or_default().to_owned(),
        format!("{weight:.2}"),
        if peer["source"] == "roster" { "roster".into() } else { yes(&peer["confirmed"]).to_owned() },
        yes(&peer["connected"]).to_owned(),
        peer["last_seen_ms"].as_u64().map_or_else(|| "?".into(), |ms| time(Moment(ms))),
        trust,
    ]
}

/// A table of texts.
fn align<const N: usize>(columns: [Column; N], rows: Vec<[String; N]>) -> String {
    let mut table = Table::new(columns);
    for row in rows {
        table.row(row.map(Cell::new));
    }
    table.show()
}

fn org_line(org: &Value) -> String {
    let id = org["id"].as_str().unwrap_or_default();
    let name = org["name"].as_str().unwrap_or(id);
    let cap = org["cap"].as_f64().map(|cap| format!(", {cap} together")).unwrap_or_default();
    let role = org["max_role"].as_str().unwrap_or_default();
    let roster = match org["roster"]["version"].as_u64() {
        None => "no roster yet".into(),
        Some(version) => {
            let until = time(Moment(org["roster"]["not_after_ms"].as_u64().unwrap_or(0)));
            let verb = if org["roster"]["ended"] == true { "ended" } else { "ends" };
            format!("roster {version} with {} members {verb} {until}", org["roster"]["members"])
        }
    };
    format!("organisation {name}: weight {}{cap}, {role} at most; {roster}\n", org["weight"])
}

pub(super) fn reports(desk: &Desk, about: Option<String>) -> Done {
    let text = said(control::ask(&Ask::Peers(PeersAsk::Reports(about))))?;
    let told: Value = serde_json::from_str(&text).map_err(Failure::software)?;
    let state = desk.store.load()?;
    desk.say(&told, || report_lines(&told, &state))
}

fn report_lines(told: &Value, state: &State) -> String {
    let called = |id: &str| {
        let row = id.parse().ok().and_then(|id| state.table.peer(id));
        row.map_or_else(|| id.to_owned(), crate::peers::table::PeerRow::called)
    };
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let columns = [
        Column::whole("about"),
        Column::text("by"),
        Column::whole("kind"),
        Column::number("score"),
        Column::number("sure"),
        Column::whole("since"),
        Column::whole("until"),
        Column::text("evidence"),
    ];
    let mut rows = Vec::new();
    for report in told["reports"].as_array().into_iter().flatten() {
        let evidence = report["evidence"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let when = |key: &str| report[key].as_u64().map_or_else(|| "-".into(), |ms| time(Moment(ms)));
        let percent = |key: &str| {
            report[key].as_f64().map_or_else(|| "-".into(), |share| format!("{:.0} %", share * 100.0))
        };
        rows.push([
            word(&report["about"]),
            called(report["by"].as_str().unwrap_or_default()),
            word(&report["kind"]),
            percent("score"),
            percent("confidence"),
            when("issued_ms"),
            when("until_ms"),
            evidence.collect::<Vec<_>>().join(" "),
        ]);
    }
    let mut text = if rows.is_empty() { "no peer says anything\n".to_owned() } else { align(columns, rows) };
    if told["more"] == true {
        text += "there are more: ask about one address\n";
    }
    if let Some(weight) = told["weight"].as_f64() {
        text += &format!("together they weigh {weight:.2}, from {} independent groups\n", told["groups"]);
    }
    text
}

pub(super) fn check(desk: &Desk) -> Done {
    let state = desk.store.load()?;
    let members = state.members();
    let ended: Vec<String> = org_json(&state, desk.now)
        .iter()
        .filter(|org| org["roster"]["ended"] == true)
        .map(|org| org["name"].as_str().or(org["id"].as_str()).unwrap_or_default().to_owned())
        .collect();
    let peers = members.peers().count();
    let json = json!({"ok": true, "peers": peers, "ended_rosters": ended});
    // What was changed by hand takes effect now.
    desk.reload();
    desk.say(&json, || {
        let mut text = format!("{}: ok, {peers} peers", desk.store.directory().display());
        for org in &ended {
            text += &format!("\nthe roster of {org} has ended: its members are not heard");
        }
        text
    })
}
