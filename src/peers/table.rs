//! `peers.yaml`: whom the owner named, by hand or by `slips peers`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use slips_p2p::identity::NodeId;
use slips_p2p::members::{MAX_PEERS, Org, Peer};
use slips_p2p::message::Name;
use slips_p2p::roster::Role;

use crate::config::{Problem, parse_yaml};

/// The owner's table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Table {
    /// Routers.
    #[serde(deserialize_with = "rows")]
    pub peers: Vec<PeerRow>,
    /// Organisations.
    #[serde(deserialize_with = "rows")]
    pub organisations: Vec<OrgRow>,
    /// Lines of comment, by the id of the entry that they stand above.
    #[serde(skip)]
    comments: BTreeMap<String, Vec<String>>,
}

/// A peer in the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerRow {
    /// What the owner calls it.
    #[serde(default, deserialize_with = "name")]
    pub name: Option<Name>,
    /// Who it is.
    #[serde(deserialize_with = "parsed")]
    pub id: NodeId,
    /// Where it is dialled.
    #[serde(default)]
    pub addresses: Vec<PeerAddress>,
    /// With whom it is one voice; alone without.
    #[serde(default, deserialize_with = "label")]
    pub group: Option<String>,
    /// What it may do. Without: what the roster of a trusted organisation says, or reporter.
    #[serde(default, deserialize_with = "role_if_said")]
    pub role: Option<Role>,
    /// What it is believed before we know better, 0 to 1.
    #[serde(default = "confirmed_weight", deserialize_with = "weight")]
    pub weight: f64,
    /// Whether somebody compared the six words, or named it by its full id.
    #[serde(default = "yes")]
    pub confirmed: bool,
    /// For people.
    #[serde(default, deserialize_with = "label")]
    pub note: Option<String>,
    /// Which of its blocklists are followed.
    #[serde(default)]
    pub follow: Vec<Follow>,
}

/// A blocklist of a peer that is followed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// Which.
    #[serde(deserialize_with = "list_name")]
    pub list: Name,
    /// What its entries mean here.
    pub policy: Policy,
}

/// What is done with the entries of a blocklist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Each is blocked while it is on the list.
    Block,
    /// Each counts as a report of its author.
    Score,
    /// Traffic with them is told in the journal.
    Log,
}

impl Policy {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Score => "score",
            Self::Log => "log",
        }
    }
}

/// An organisation in the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrgRow {
    /// What the owner calls it.
    #[serde(default, deserialize_with = "name")]
    pub name: Option<Name>,
    /// Its public key.
    #[serde(deserialize_with = "parsed")]
    pub id: NodeId,
    /// What its members are believed before we know better, 0 to 1.
    #[serde(default = "org_weight", deserialize_with = "weight")]
    pub weight: f64,
    /// Most that all its members together can weigh.
    #[serde(default, deserialize_with = "cap")]
    pub cap: Option<f64>,
    /// The most that its roster can make of a member.
    #[serde(default = "reporter", deserialize_with = "role")]
    pub max_role: Role,
    /// For people.
    #[serde(default, deserialize_with = "label")]
    pub note: Option<String>,
}

/// What members of an organisation are believed when the owner names no weight.
pub const ORG_WEIGHT: f64 = 0.5;
/// Most organisations that are trusted.
pub const MAX_ORGS: usize = 32;
/// Most addresses of one peer.
pub const MAX_ADDRESSES: usize = 4;
/// Most blocklists of one peer that are followed.
pub const MAX_FOLLOWED: usize = 16;
/// The port when an address names none.
pub const PORT: u16 = 7778;
const LONGEST_LABEL: usize = 200;

/// Where a peer is reached. Written as libp2p does, read as people do, too: `203.0.113.9`, `203.0.113.9:7778`, `[2001:db8::1]:7778`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress(pub SocketAddr);

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.0.is_ipv4() { "ip4" } else { "ip6" };
        write!(f, "/{family}/{}/tcp/{}", self.0.ip(), self.0.port())
    }
}

impl FromStr for PeerAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is no address of a router; write 203.0.113.9, 203.0.113.9:{PORT} or /ip4/203.0.113.9/tcp/{PORT}",
                text.escape_debug()
            )
        };
        let multi = || -> Option<SocketAddr> {
            let mut parts = text.strip_prefix('/')?.split('/');
            let ip: IpAddr = match parts.next()? {
                "ip4" => IpAddr::V4(parts.next()?.parse().ok()?),
                "ip6" => IpAddr::V6(parts.next()?.parse().ok()?),
                _ => return None,
            };
            let port = parts.next().filter(|word| *word == "tcp").and_then(|_| parts.next())?.parse().ok()?;
            parts.next().is_none().then(|| SocketAddr::new(ip, port))
        };
        let plain =
            || text.parse().ok().or_else(|| text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, PORT)));
        multi().or_else(plain).filter(|at| at.port() != 0).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for PeerAddress {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        parsed(from)
    }
}

impl PeerRow {
    /// A peer that the owner names himself.
    pub fn by_hand(id: NodeId) -> Self {
        Self {
            name: None,
            id,
            addresses: Vec::new(),
            group: None,
            role: None,
            weight: Peer::CONFIRMED,
            confirmed: true,
            note: None,
            follow: Vec::new(),
        }
    }

    /// A peer that came by an invite, until the six words are compared.
    pub fn invited(id: NodeId) -> Self {
        Self { weight: Peer::INVITED, confirmed: false, ..Self::by_hand(id) }
    }

    /// In the words of the p2p crate.
    pub fn to_peer(&self) -> Peer {
        Peer {
            name: self.name.clone(),
            addresses: self.addresses.iter().map(ToString::to_string).collect(),
            base: self.weight,
            group: self.group.as_deref().map(Into::into),
            role: self.role,
            confirmed: self.confirmed,
        }
    }

    /// What to call it.
    pub fn called(&self) -> String {
        self.name.as_ref().map_or_else(|| self.id.to_string(), ToString::to_string)
    }
}

impl OrgRow {
    /// One with the default limits.
    pub fn new(id: NodeId) -> Self {
        Self { name: None, id, weight: ORG_WEIGHT, cap: None, max_role: Role::Reporter, note: None }
    }

    /// In the words of the p2p crate.
    pub fn to_org(&self) -> Org {
        Org { name: self.name.clone(), base: self.weight, cap: self.cap, max_role: self.max_role }
    }
}

impl Table {
    /// Reads the text of the file called `path`; tells every problem in it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let mut table: Self = parse_yaml(path, text)?;
        let wrong = table.contradictions(path, text);
        if !wrong.is_empty() {
            return Err(wrong);
        }
        table.comments = comments(text);
        Ok(table)
    }

    fn contradictions(&self, path: &Path, text: &str) -> Vec<Problem> {
        let mut wrong = Vec::new();
        let mut problem = |what: String, near: &str| {
            // The last line with it: the first one is not to blame.
            let line = text.lines().enumerate().filter(|(_, line)| line.contains(near)).last();
            let line = line.map_or(0, |(at, _)| at as u64 + 1);
            wrong.push(Problem { file: path.to_owned(), line, what });
        };
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        let peers = self.peers.iter().map(|row| (row.id, &row.name));
        for (id, name) in peers.chain(self.organisations.iter().map(|row| (row.id, &row.name))) {
            if !ids.insert(id) {
                problem(format!("id: {id} stands in the table twice"), &id.to_string());
            }
            if let Some(name) = name.as_ref().filter(|name| !names.insert(name.as_str())) {
                problem(format!("name: `{name}` is the name of two entries"), name.as_str());
            }
        }
        for row in &self.peers {
            if row.addresses.len() > MAX_ADDRESSES {
                problem(format!("addresses: no more than {MAX_ADDRESSES} for one peer"), &row.id.to_string());
            }
            if row.follow.len() > MAX_FOLLOWED {
                problem(
                    format!("follow: no more than {MAX_FOLLOWED} lists of one peer"),
                    &row.id.to_string(),
                );
            }
        }
        if self.peers.len() > MAX_PEERS {
            problem(format!("peers: no more than {MAX_PEERS}"), "peers:");
        }
        if self.organisations.len() > MAX_ORGS {
            problem(format!("organisations: no more than {MAX_ORGS}"), "organisations:");
        }
        wrong
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let mut text = String::from(HEAD);
        text.push_str(if self.peers.is_empty() { "peers: []\n" } else { "peers:\n" });
        for row in &self.peers {
            self.comment(&mut text, row.id);
            render_peer(&mut text, row);
        }
        text.push_str(if self.organisations.is_empty() { "organisations: []\n" } else { "organisations:\n" });
        for row in &self.organisations {
            self.comment(&mut text, row.id);
            render_org(&mut text, row);
        }
        text
    }

    fn comment(&self, text: &mut String, id: NodeId) {
        for line in self.comments.get(&id.to_string()).into_iter().flatten() {
            let _ = writeln!(text, "  {line}");
        }
    }

    /// The peer with this id.
    pub fn peer_mut(&mut self, id: NodeId) -> Option<&mut PeerRow> {
        self.peers.iter_mut().find(|row| row.id == id)
    }

    /// The peer with this id.
    pub fn peer(&self, id: NodeId) -> Option<&PeerRow> {
        self.peers.iter().find(|row| row.id == id)
    }

    /// Where all peers in the table are reached.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.peers.iter().flat_map(|row| &row.addresses).map(|address| address.0.ip())
    }

    /// A name that no entry has: the wanted one, or that with a number.
    pub fn free_name(&self, wanted: &Name) -> Option<Name> {
        let peers = self.peers.iter().filter_map(|row| row.name.as_ref());
        let taken: BTreeSet<&str> = peers
            .chain(self.organisations.iter().filter_map(|row| row.name.as_ref()))
            .map(Name::as_str)
            .collect();
        let short: String = wanted.as_str().chars().take(28).collect();
        let numbered = (2..=MAX_PEERS + MAX_ORGS + 2).map(|n| format!("{short}-{n}"));
        std::iter::once(wanted.to_string())
            .chain(numbered)
            .find(|name| !taken.contains(name.as_str()))
            .and_then(|name| Name::new(&name))
    }
}

const HEAD: &str = "\
# Peers of this router: written by `slips peers`, and by hand. Comments above an entry (`- id:`) stay with it, others do not.
# After a change by hand: slips peers check
";

fn render_peer(text: &mut String, row: &PeerRow) {
    let _ = writeln!(text, "  - id: {}", row.id);
    if let Some(name) = &row.name {
        let _ = writeln!(text, "    name: {}", quoted(name.as_str()));
    }
    if !row.addresses.is_empty() {
        let list: Vec<String> = row.addresses.iter().map(|at| quoted(&at.to_string())).collect();
        let _ = writeln!(text, "    addresses: [{}]", list.join(", "));
    }
    if let Some(group) = &row.group {
        let _ = writeln!(text, "    group: {}", quoted(group));
    }
    if let Some(role) = row.role {
        let _ = writeln!(text, "    role: {}", role.name());
    }
    let _ = writeln!(text, "    weight: {}\n    confirmed: {}", row.weight, row.confirmed);
    if let Some(note) = &row.note {
        let _ = writeln!(text, "    note: {}", quoted(note));
    }
    if !row.follow.is_empty() {
        text.push_str("    follow:\n");
    }
    for Follow { list, policy } in &row.follow {
        let _ = writeln!(text, "      - {{list: {}, policy: {}}}", quoted(list.as_str()), policy.name());
    }
}

fn render_org(text: &mut String, row: &OrgRow) {
    let _ = writeln!(text, "  - id: {}", row.id);
    if let Some(name) = &row.name {
        let _ = writeln!(text, "    name: {}", quoted(name.as_str()));
    }
    let _ = writeln!(text, "    weight: {}", row.weight);
    if let Some(cap) = row.cap {
        let _ = writeln!(text, "    cap: {cap}");
    }
    let _ = writeln!(text, "    max_role: {}", row.max_role.name());
    if let Some(note) = &row.note {
        let _ = writeln!(text, "    note: {}", quoted(note));
    }
}

/// A text in YAML's double quotes, whose escapes are JSON's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The comment lines right above each entry.
fn comments(text: &str) -> BTreeMap<String, Vec<String>> {
    let (mut found, mut above) = (BTreeMap::new(), Vec::new());
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') {
            above.push(line.to_owned());
            continue;
        }
        let above = std::mem::take(&mut above);
        if let Some(id) = line.strip_prefix('-').and_then(|rest| rest.trim().strip_prefix("id:"))
            && !above.is_empty()
        {
            found.insert(id.trim().trim_matches(['"', '\'']).to_owned(), above);
        }
    }
    found
}

fn rows<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// Parses a name.
pub fn parse_name(text: &str) -> Result<Name, String> {
    let wrong = || format!("`{}` is no name: 1 to 32 letters of a-z, 0-9 and `-`", text.escape_debug());
    Name::new(text).ok_or_else(wrong)
}

/// Parses a role.
pub fn parse_role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| {
        format!("`{}` is no role: observer, reporter, blamer or authority", text.escape_debug())
    })
}

/// Parses a weight.
pub fn parse_weight(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("`{}` is no number", text.escape_debug())).and_then(in_range)
}

/// Checks a label or a note.
pub fn parse_label(text: &str) -> Result<String, String> {
    let fine = (1..=LONGEST_LABEL).contains(&text.len()) && !text.chars().any(char::is_control);
    if fine {
        Ok(text.to_owned())
    } else {
        Err(format!("a text of one line, {LONGEST_LABEL} letters at most, is needed"))
    }
}

fn in_range(weight: f64) -> Result<f64, String> {
    if (0.0..=1.0).contains(&weight) { Ok(weight) } else { Err("a weight is a number from 0 to 1".into()) }
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Name>, D::Error> {
    Option::<String>::deserialize(from)?.map(|text| parse_name(&text)).transpose().map_err(D::Error::custom)
}

fn list_name<'de, D: Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
    parse_name(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn label<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(from)?.map(|text| parse_label(&text)).transpose().map_err(D::Error::custom)
}

fn role<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
    parse_role(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn role_if_said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Role>, D::Error> {
    Option::<String>::deserialize(from)?.map(|text| parse_role(&text)).transpose().map_err(D::Error::custom)
}

fn weight<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    in_range(f64::deserialize(from)?).map_err(D::Error::custom)
}

fn cap<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    Option::<f64>::deserialize(from)?.map(in_range).transpose().map_err(D::Error::custom)
}

const fn yes() -> bool {
    true
}

const fn reporter() -> Role {
    Role::Reporter
}

const fn confirmed_weight() -> f64 {
    Peer::CONFIRMED
}

const fn org_weight() -> f64 {
    ORG_WEIGHT
}
