//! Organisations: their key, their rosters, how far they are trusted.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use slips_p2p::identity::{NodeId, NodeKey, fingerprint};
use slips_p2p::message::{Name, SignedRoster};
use slips_p2p::moment::Moment;
use slips_p2p::roster::{Added, MAX_MEMBERS, Role, Roster};

use super::args::Org;
use super::invites::time;
use super::{Desk, Done, now, text_of, wrong};
use crate::cli::{Exit, Failure};
use crate::config::parse_yaml;
use crate::export;
use crate::peers::table::{MAX_ORGS, OrgRow, Table, parse_role};
use crate::peers::{State, files};

pub(super) const fn needs_state(command: &Org) -> bool {
    !matches!(command, Org::Init { .. } | Org::Show { .. } | Org::Sign { table: false, .. })
}

/// What can be done on a machine without Slips' state: where the organisation's key belongs.
pub(super) fn offline(command: Org, json: bool) -> Done {
    match command {
        Org::Init { name, key } => init(&name, key, json),
        Org::Show { roster } => show(&read_roster(&roster)?, json),
        Org::Sign { key, members, revoke, days, version, output, .. } => {
            let path = members.unwrap_or_default();
            let (members, mut revoked) = read_members(&path)?;
            revoked.extend(parse_ids(&revoke)?);
            sign(&read_key(&key)?, members, revoked, Term { days, version }, output.as_deref(), json)
        }
        _ => Err(Failure::new(Exit::Software, "this needs the state of the router")),
    }
}

pub(super) fn run(desk: &Desk, command: Org) -> Done {
    match command {
        Org::Sign { key, own_role, revoke, days, version, output, .. } => {
            let revoked = parse_ids(&revoke)?;
            let members = members_of(&desk.store.load()?, own_role)?;
            sign(&read_key(&key)?, members, revoked, Term { days, version }, output.as_deref(), desk.json)
        }
        Org::Trust { what, name, weight, cap, max_role } => trust(desk, &what, |row| {
            row.name = name.clone().or(row.name.take());
            row.weight = weight.unwrap_or(row.weight);
            row.cap = cap.or(row.cap);
            row.max_role = max_role.unwrap_or(row.max_role);
        }),
        Org::Import { roster } => import(desk, &read_roster(&roster)?),
        Org::Distrust { who } => distrust(desk, &who),
        other => offline(other, desk.json),
    }
}

fn print(json: bool, value: &Value, text: &str) -> Done {
    let line = if json { export::json(value).map_err(Failure::software)? } else { text.to_owned() };
    writeln!(std::io::stdout(), "{}", line.trim_end_matches('\n')).map_err(Failure::software)
}

fn init(name: &Name, key: Option<PathBuf>, json: bool) -> Done {
    let path = key.unwrap_or_else(|| format!("{name}.slips-org-key").into());
    let seed: [u8; 32] = files::random()?;
    let id = NodeKey::from_seed(&seed).id();
    let text = format!(
        "# The secret key of the organisation {name}: {id}\n# Whoever has it says who belongs to the organisation. Keep it and a copy off the routers.\n{}\n",
        files::to_hex(&seed)
    );
    files::write_secret_once(&path, &text).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::AlreadyExists => Exit::Data,
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Software,
        };
        Failure { exit, error: anyhow::Error::from(error).context(path.display().to_string()) }
    })?;
    let words = fingerprint(&[id]);
    let value = json!({"id": id.to_string(), "words": words, "key": path.display().to_string()});
    let text = format!(
        "id      {id}\nwords   {words}\nkey     {} (secret; keep it, and a copy, off the routers)",
        path.display()
    );
    print(json, &value, &text)
}

fn read_key(path: &Path) -> Result<NodeKey, Failure> {
    let about = std::fs::metadata(path);
    if about.is_ok_and(|about| std::os::unix::fs::MetadataExt::mode(&about) & 0o077 != 0) {
        let path = path.display();
        return Err(Failure::new(
            Exit::Permission,
            format!("{path}: others may read this secret; if nobody did: chmod 600 {path}"),
        ));
    }
    let text = text_of(path)?;
    let line = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let seed = line.and_then(|line| files::from_hex(line.trim()));
    let wrong = || wrong(format!("{}: this is no key of an organisation", path.display()));
    seed.map(|seed: [u8; 32]| NodeKey::from_seed(&seed)).ok_or_else(wrong)
}

type Members = BTreeMap<NodeId, Role>;

/// The file of members.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MemberFile {
    members: Vec<MemberLine>,
    revoked: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberLine {
    id: String,
    role: String,
    /// For people.
    #[serde(default, rename = "name")]
    _name: Option<String>,
}

fn read_members(path: &Path) -> Result<(Members, Vec<NodeId>), Failure> {
    let file: MemberFile = parse_yaml(path, &text_of(path)?).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Config, lines.join("\n"))
    })?;
    let mut members = Members::new();
    for line in &file.members {
        let at = |what: String| Failure::new(Exit::Config, format!("{}: {what}", path.display()));
        let id = parse_id(&line.id).map_err(|failure| at(failure.to_string()))?;
        let role = parse_role(&line.role).map_err(at)?;
        if members.insert(id, role).is_some() {
            return Err(at(format!("{id} is named twice")));
        }
    }
    Ok((members, parse_ids(&file.revoked)?))
}

fn parse_id(text: &str) -> Result<NodeId, Failure> {
    text.parse().map_err(|error| wrong(format!("`{}`: {error}", text.escape_debug())))
}

fn parse_ids(texts: &[String]) -> Result<Vec<NodeId>, Failure> {
    texts.iter().map(|text| parse_id(text)).collect()
}

/// This router and all peers whose words were compared.
fn members_of(state: &State, own_role: Role) -> Result<Members, Failure> {
    let own = state.id.ok_or_else(|| wrong("this router has no identity yet: slips peers id"))?;
    let known = state.members();
    let confirmed = state.table.peers.iter().filter(|row| row.confirmed);
    let mut members: Members =
        confirmed.filter_map(|row| Some((row.id, known.find(row.id, now())?.role))).collect();
    members.insert(own, own_role);
    Ok(members)
}

struct Term {
    days: u16,
    version: Option<u64>,
}

fn sign(
    key: &NodeKey,
    members: Members,
    revoked: Vec<NodeId>,
    term: Term,
    output: Option<&Path>,
    json: bool,
) -> Done {
    if members.len() > MAX_MEMBERS || revoked.len() > MAX_MEMBERS {
        return Err(wrong(format!("a roster names {MAX_MEMBERS} members, and revokes as many, at most")));
    }
    if let Some(id) = revoked.iter().find(|id| members.contains_key(*id)) {
        return Err(wrong(format!("{id} is a member and revoked")));
    }
    let now = now();
    // A clock that is a little ahead here must not make it invalid there.
    let not_before = now.minus(Duration::from_secs(3600));
    let roster = Roster {
        org: key.id(),
        version: term.version.unwrap_or(now.0 / 1000),
        not_before,
        not_after: not_before.plus(Duration::from_secs(86_400 * u64::from(term.days))),
        members,
        revoked,
    };
    let signed = roster.sign(key);
    let value = roster_json(&roster, &signed);
    let Some(path) = output else { return print(json, &value, &signed.to_string()) };
    let text = format!("{}{signed}\n", commented(&roster));
    let written = std::fs::write(path, text);
    written.map_err(|error| Failure {
        exit: Exit::Software,
        error: anyhow::Error::from(error).context(path.display().to_string()),
    })?;
    print(
        json,
        &value,
        &format!(
            "{}: version {}, {} members, until {}",
            path.display(),
            roster.version,
            roster.members.len(),
            time(roster.not_after)
        ),
    )
}

fn roster_json(roster: &Roster, signed: &SignedRoster) -> Value {
    let members: Vec<Value> =
        roster.members.iter().map(|(id, role)| json!({"id": id.to_string(), "role": role.name()})).collect();
    let revoked: Vec<String> = roster.revoked.iter().map(ToString::to_string).collect();
    json!({
        "organisation": roster.org.to_string(), "words": fingerprint(&[roster.org]), "version": roster.version,
        "not_before_ms": roster.not_before.0, "not_after_ms": roster.not_after.0, "members": members, "revoked": revoked,
        "roster": signed.to_string(),
    })
}

/// The roster for people, as comments: what counts is the line below.
fn commented(roster: &Roster) -> String {
    let mut text = format!(
        "# Roster {} of the organisation {}\n# valid from {} until {}\n",
        roster.version,
        roster.org,
        time(roster.not_before),
        time(roster.not_after)
    );
    for (id, role) in &roster.members {
        text += &format!("# {id} {}\n", role.name());
    }
    for id in &roster.revoked {
        text += &format!("# {id} revoked\n");
    }
    text
}

fn show(signed: &SignedRoster, json: bool) -> Done {
    let roster = Roster::open(signed).map_err(|error| wrong(error.to_string()))?;
    let ended = if now() >= roster.not_after { "\n# it has ended" } else { "" };
    let words = fingerprint(&[roster.org]);
    print(
        json,
        &roster_json(&roster, signed),
        &format!("{}# words of the organisation: {words}{ended}", commented(&roster)),
    )
}

/// A roster from a file, from standard input, or as it is.
fn read_roster(what: &str) -> Result<SignedRoster, Failure> {
    let text = if what.starts_with("slips-roster-") { what.to_owned() } else { text_of(Path::new(what))? };
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect();
    let [line] = lines[..] else {
        return Err(wrong("no roster: one line is needed, and comments with # at most"));
    };
    line.parse().map_err(|error: slips_p2p::roster::NotALine| wrong(error.to_string()))
}

fn find_org(table: &Table, who: &str) -> Option<NodeId> {
    let id = who.parse().ok();
    let is = |row: &&OrgRow| Some(row.id) == id || row.name.as_ref().is_some_and(|name| name.as_str() == who);
    table.organisations.iter().find(is).map(|row| row.id)
}

fn trust(desk: &Desk, what: &str, set: impl FnOnce(&mut OrgRow)) -> Done {
    let known = find_org(&desk.store.load()?.table, what);
    let (id, signed) = match known.or(what.parse().ok()) {
        Some(id) => (id, None),
        None => {
            let signed = read_roster(what)?;
            (Roster::open(&signed).map_err(|error| wrong(error.to_string()))?.org, Some(signed))
        }
    };
    let (row, members) = desk.change(|state| {
        if state.id == Some(id) || state.table.peer(id).is_some() {
            return Err(wrong("this is the id of a router, not of an organisation"));
        }
        let at = match state.table.organisations.iter().position(|row| row.id == id) {
            Some(at) => at,
            None if state.table.organisations.len() >= MAX_ORGS => {
                return Err(wrong(format!("no more than {MAX_ORGS} organisations")));
            }
            None => {
                state.table.organisations.push(OrgRow::new(id));
                state.table.organisations.len() - 1
            }
        };
        let mut row = state.table.organisations.get(at).cloned().unwrap_or_else(|| OrgRow::new(id));
        let before = row.name.clone();
        set(&mut row);
        if row.name != before
            && row.name.as_ref().is_some_and(|name| state.table.free_name(name).as_ref() != Some(name))
        {
            return Err(wrong("another entry has this name already"));
        }
        if let Some(place) = state.table.organisations.get_mut(at) {
            *place = row.clone();
        }
        if let Some(signed) = &signed {
            take(state, signed, desk.now)?;
        }
        Ok((row, member_count(state, id)))
    })?;
    let json = json!({
        "id": id.to_string(), "name": row.name.as_ref().map(ToString::to_string), "weight": row.weight, "cap": row.cap,
        "max_role": row.max_role.name(), "members": members, "words": fingerprint(&[id]),
    });
    desk.say(&json, || {
        let name = row.name.as_ref().map_or_else(|| id.to_string(), ToString::to_string);
        let members = members.map_or_else(|| "no roster yet".into(), |n| format!("{n} members"));
        format!(
            "{name} is trusted: weight {}, {} at most; {members}\nits words, to compare with who keeps its key: {}",
            row.weight,
            row.max_role.name(),
            fingerprint(&[id])
        )
    })
}

fn member_count(state: &State, id: NodeId) -> Option<usize> {
    let rosters = state.rosters.iter().filter_map(|signed| Roster::open(signed).ok());
    rosters.filter(|roster| roster.org == id).map(|roster| roster.members.len()).next()
}

/// Takes a roster, or says why not.
fn take(state: &mut State, signed: &SignedRoster, now: Moment) -> Result<Roster, Failure> {
    let roster = Roster::open(signed).map_err(|error| wrong(error.to_string()))?;
    match state.add_roster(signed, now).map_err(|error| wrong(error.to_string()))? {
        Added::Newer => Ok(roster),
        // The very same again is what was wished for.
        Added::Known if state.rosters.contains(signed) => Ok(roster),
        Added::Known => {
            Err(wrong(format!("roster {} is not newer than the one that is held", roster.version)))
        }
        Added::Stranger => Err(wrong(format!(
            "the organisation {} is not trusted; if it should be: slips peers org trust",
            roster.org
        ))),
        Added::NotNow => Err(wrong(format!(
            "roster {} is valid from {} until {}, not now",
            roster.version,
            time(roster.not_before),
            time(roster.not_after)
        ))),
    }
}

fn import(desk: &Desk, signed: &SignedRoster) -> Done {
    let roster = desk.change(|state| take(state, signed, desk.now))?;
    let json = roster_json(&roster, signed);
    desk.say(&json, || {
        format!(
            "roster {} with {} members holds until {}",
            roster.version,
            roster.members.len(),
            time(roster.not_after)
        )
    })
}

fn distrust(desk: &Desk, who: &str) -> Done {
    let id = desk.change(|state| {
        let id = find_org(&state.table, who).ok_or_else(|| {
            wrong(format!(
                "no organisation is called `{}`; `slips peers list` shows them",
                who.escape_debug()
            ))
        })?;
        state.forget_org(id);
        Ok(id)
    })?;
    desk.say(&json!({"id": id.to_string(), "trusted": false}), || {
        format!("{id} is trusted no more: its members are strangers")
    })
}
