//! The oracle: the same sets kept by the program `nft` and its JSON, so that what we say over netlink is judged by those who
//! made nftables. Slow, and for tests only.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use slips_core::addr::Net;
use slips_firewall::{
    Backend, Block, BlockRequest, Change, Error, Health, Manner, Origin, SelfTest, is_single,
};

/// A table of `nft` in a namespace.
#[derive(Debug)]
pub struct NftJson {
    namespace: String,
    table: &'static str,
}

/// Addresses from the first to the last, as numbers, that are blocked for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    first: u128,
    last: u128,
    left: u64,
    reason: String,
    by: Origin,
    manner: Manner,
}

impl NftJson {
    /// A table of its own, empty; `None` when there is no `nft`.
    pub fn create(namespace: String) -> Option<Self> {
        let this = Self { namespace, table: "oracle" };
        Command::new("nft").arg("--version").output().ok()?;
        let mut commands = vec![json!({"add": {"table": {"family": "inet", "name": this.table}}})];
        for (name, kind, flags) in [
            ("in4", "ipv4_addr", &["timeout"][..]),
            ("in6", "ipv6_addr", &["timeout"]),
            ("in6p", "ipv6_addr", &["timeout"]),
            ("net4", "ipv4_addr", &["interval", "timeout"]),
            ("net6", "ipv6_addr", &["interval", "timeout"]),
            ("allow4", "ipv4_addr", &["interval"]),
            ("allow6", "ipv6_addr", &["interval"]),
        ] {
            commands.push(json!({"add": {"set": {
                "family": "inet", "table": this.table, "name": name, "type": kind, "flags": flags,
            }}}));
        }
        this.run(&commands);
        Some(this)
    }

    /// The table of the program under test, to be read only.
    pub fn of_slips(namespace: String) -> Self {
        Self { namespace, table: "slips" }
    }

    /// All entries of a set as pieces; a single address is a piece of one.
    fn read(&self, set: &str) -> Vec<Piece> {
        let output = Command::new("ip")
            .args([
                "netns",
                "exec",
                &self.namespace,
                "nft",
                "-j",
                "list",
                self.kind(set),
                "inet",
                self.table,
                set,
            ])
            .output()
            .expect("nft");
        assert!(output.status.success(), "nft list set {set}: {}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).expect("json");
        let sets = answer["nftables"].as_array().expect("answer");
        let found = sets.iter().find_map(|object| object.get(self.kind(set))).expect("set");
        found["elem"].as_array().map(|all| all.iter().map(piece).collect()).unwrap_or_default()
    }

    /// The sets of the program under test say beside each entry who asked and how; ours say it in the comment.
    fn kind(&self, set: &str) -> &'static str {
        if self.table == "slips" && BLOCKING.contains(&set) { "map" } else { "set" }
    }

    fn run(&self, commands: &[Value]) {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "nft", "-j", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nft");
        let text = json!({ "nftables": commands }).to_string();
        child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("commands");
        let output = child.wait_with_output().expect("nft");
        assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn element(&self, verb: &str, set: &str, elements: &[Value]) -> Value {
        json!({verb: {"element": {
            "family": "inet", "table": self.table, "name": set, "elem": elements,
        }}})
    }

    fn flush(&self, set: &str) -> Value {
        json!({"flush": {"set": {"family": "inet", "table": self.table, "name": set}}})
    }
}

impl Backend for NftJson {
    fn apply(&mut self, changes: &[Change]) -> Result<(), Error> {
        let cleared = changes.iter().rposition(|change| *change == Change::Clear);
        let mut single: BTreeMap<Net, Option<&BlockRequest>> = BTreeMap::new();
        let mut wide: BTreeMap<&str, Vec<Piece>> = BTreeMap::new();
        let mut commands = Vec::new();
        for set in ["net4", "net6"] {
            let held = if cleared.is_some() { Vec::new() } else { self.read(set) };
            wide.insert(set, held);
        }
        let before = wide.clone();
        if cleared.is_some() {
            commands.extend(BLOCKING.map(|set| self.flush(set)));
        }
        for (index, change) in changes.iter().enumerate() {
            let void = cleared.is_some_and(|last| index < last);
            match change {
                Change::Clear => {}
                Change::Protect(nets) => self.protect(nets, &mut commands),
                _ if void => {}
                Change::Block(request) if is_single(request.net) => {
                    single.insert(request.net, Some(request));
                }
                Change::Block(request) => {
                    let (first, last) = bounds(request.net);
                    let left = request.for_.as_secs();
                    let BlockRequest { by, manner, .. } = *request;
                    let piece = Piece { first, last, left, reason: request.reason.clone(), by, manner };
                    wide.entry(wide_set(request.net)).or_default().push(piece);
                }
                Change::Unblock(net) => {
                    if is_single(*net) {
                        single.insert(*net, None);
                    }
                    let (first, last) = bounds(*net);
                    let held = wide.entry(wide_set(*net)).or_default();
                    *held = held.drain(..).flat_map(|piece| without(piece, first, last)).collect();
                }
            }
        }
        for set in ["in4", "in6", "in6p"] {
            let here = || single.iter().filter(|(net, _)| set_of(**net) == set);
            let keys: Vec<_> = here().map(|(net, _)| json!(net.addr().to_string())).collect();
            if keys.is_empty() {
                continue;
            }
            // Present or not, old or new: it is there, it is gone, it is as wanted.
            commands.push(self.element("add", set, &keys));
            commands.push(self.element("delete", set, &keys));
            let wanted: Vec<_> = here()
                .filter_map(|(net, request)| {
                    let request = (*request)?;
                    let comment = comment(&request.reason, request.by, request.manner);
                    Some(timed(json!(net.addr().to_string()), request.for_.as_secs(), &comment))
                })
                .collect();
            if !wanted.is_empty() {
                commands.push(self.element("add", set, &wanted));
            }
        }
        for (set, held) in wide {
            let pieces = disjoint(&held);
            if before.get(set) == Some(&pieces) {
                continue;
            }
            commands.push(self.flush(set));
            let elements: Vec<_> = pieces
                .iter()
                .map(|piece| {
                    let comment = comment(&piece.reason, piece.by, piece.manner);
                    timed(range(set, piece.first, piece.last), piece.left, &comment)
                })
                .collect();
            if !elements.is_empty() {
                commands.push(self.element("add", set, &elements));
            }
        }
        if !commands.is_empty() {
            self.run(&commands);
        }
        Ok(())
    }

    fn left(&mut self, nets: &[Net]) -> Result<Vec<Option<Duration>>, Error> {
        let mut sets: BTreeMap<&str, Vec<Piece>> = BTreeMap::new();
        for net in nets {
            let set = set_of(*net);
            sets.entry(set).or_insert_with(|| sorted(self.read(set)));
        }
        let covered = |net: &Net| {
            let (first, last) = bounds(*net);
            let held = &sets[set_of(*net)];
            if is_single(*net) {
                let at = held.binary_search_by_key(&first, |piece| piece.first).ok()?;
                return Some(Duration::from_secs(held[at].left));
            }
            cover_of(held, first, last)
        };
        Ok(nets.iter().map(covered).collect())
    }

    fn cover(&mut self, net: Net) -> Result<Option<Duration>, Error> {
        let own = self.left(&[net])?.pop().flatten();
        let (first, last) = bounds(net);
        Ok(own.max(cover_of(&sorted(self.read(wide_set(net))), first, last)))
    }

    fn list(&mut self) -> Result<Vec<Block>, Error> {
        let mut blocks = Vec::new();
        for set in BLOCKING {
            let v4 = set.ends_with('4');
            for piece in self.read(set) {
                let Piece { by, manner, .. } = piece;
                let left = Duration::from_secs(piece.left);
                let block = |net| Block { net, left, reason: piece.reason.clone(), by, manner };
                match set {
                    "in6p" => blocks.extend(Net::new(addr(v4, piece.first), 64).map(block)),
                    "in4" | "in6" => blocks.push(block(Net::host(addr(v4, piece.first)))),
                    _ => blocks.extend(nets(v4, piece.first, piece.last).into_iter().map(block)),
                }
            }
        }
        blocks.sort_unstable_by_key(|block| block.net);
        Ok(blocks)
    }

    fn verify(&mut self) -> Result<Health, Error> {
        Ok(Health::Intact)
    }

    fn self_test(&mut self) -> Result<SelfTest, Error> {
        Ok(SelfTest::Unknown)
    }

    fn remove(&mut self) -> Result<(), Error> {
        self.run(&[json!({"delete": {"table": {"family": "inet", "name": self.table}}})]);
        Ok(())
    }
}

impl NftJson {
    fn protect(&self, nets: &[Net], commands: &mut Vec<Value>) {
        for (set, v4) in [("allow4", true), ("allow6", false)] {
            commands.push(self.flush(set));
            let here = nets.iter().filter(|net| net.addr().is_ipv4() == v4).map(|net| {
                let (first, last) = bounds(*net);
                let (by, manner) = Default::default();
                Piece { first, last, left: 0, reason: String::new(), by, manner }
            });
            let pieces = disjoint(&here.collect::<Vec<_>>());
            let elements: Vec<_> = pieces.iter().map(|piece| range(set, piece.first, piece.last)).collect();
            if !elements.is_empty() {
                commands.push(self.element("add", set, &elements));
            }
        }
    }
}

const BLOCKING: [&str; 5] = ["in4", "in6", "in6p", "net4", "net6"];

fn set_of(net: Net) -> &'static str {
    match (net.addr().is_ipv4(), net.prefix()) {
        (true, 32) => "in4",
        (false, 128) => "in6",
        (false, 64) => "in6p",
        _ => wide_set(net),
    }
}

fn wide_set(net: Net) -> &'static str {
    if net.addr().is_ipv4() { "net4" } else { "net6" }
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn addr(v4: bool, number: u128) -> IpAddr {
    if v4 {
        IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).expect("address")))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(number))
    }
}

/// The first and the last address of a network; of an IPv4 mapped to the number of IPv4.
fn bounds(net: Net) -> (u128, u128) {
    let bits = if net.addr().is_ipv4() { 32 } else { 128 };
    let size = 1u128.checked_shl(u32::from(bits - net.prefix())).unwrap_or(0).wrapping_sub(1);
    let first = number(net.addr()) & !size;
    (first, first | size)
}

/// One entry of a listing.
fn piece(element: &Value) -> Piece {
    let (element, mark) = match element.as_array() {
        Some(pair) => (&pair[0], pair[1].as_u64().expect("mark") as usize),
        None => (element, 0),
    };
    let (value, left, reason) = match element.get("elem") {
        Some(inner) => (
            &inner["val"],
            inner["expires"].as_u64().or_else(|| inner["timeout"].as_u64()).unwrap_or(0),
            inner["comment"].as_str().unwrap_or_default().to_owned(),
        ),
        None => (element, 0, String::new()),
    };
    let parse = |text: &Value| number(text.as_str().expect("address").parse().expect("address"));
    let (first, last) = if let Some(prefix) = value.get("prefix") {
        let net = format!("{}/{}", prefix["addr"].as_str().expect("address"), prefix["len"]);
        bounds(net.parse().expect("net"))
    } else if let Some(range) = value.get("range") {
        (parse(&range[0]), parse(&range[1]))
    } else {
        (parse(value), parse(value))
    };
    let (reason, by, manner) = match reason.rsplitn(3, '|').collect::<Vec<_>>()[..] {
        [manner, by, reason] => (
            reason.to_owned(),
            Origin::ALL.into_iter().find(|known| known.name() == by).expect("origin"),
            Manner::ALL.into_iter().find(|known| known.name() == manner).expect("manner"),
        ),
        _ => (reason, Origin::ALL[mark & 0xff], Manner::ALL[mark >> 8]),
    };
    Piece { first, last, left, reason, by, manner }
}

/// A reason with who asked and how, where that is not what it mostly is.
fn comment(reason: &str, by: Origin, manner: Manner) -> String {
    match (by, manner) {
        (Origin::Local, Manner::Drop) => reason.to_owned(),
        _ => format!("{reason}|{}|{}", by.name(), manner.name()),
    }
}

fn timed(value: Value, seconds: u64, reason: &str) -> Value {
    let mut element = json!({"val": value, "timeout": seconds});
    if !reason.is_empty() {
        element["comment"] = json!(reason);
    }
    json!({ "elem": element })
}

fn range(set: &str, first: u128, last: u128) -> Value {
    let v4 = set.ends_with('4');
    if first == last {
        return json!(addr(v4, first).to_string());
    }
    json!({"range": [addr(v4, first).to_string(), addr(v4, last).to_string()]})
}

fn without(piece: Piece, first: u128, last: u128) -> Vec<Piece> {
    if piece.last < first || last < piece.first {
        return vec![piece];
    }
    let mut rest = Vec::new();
    if piece.first < first {
        rest.push(Piece { last: first - 1, ..piece.clone() });
    }
    if last < piece.last {
        rest.push(Piece { first: last + 1, ..piece });
    }
    rest
}

/// Cut at every border, the longest wins in each cut, equal neighbours of the same origin are joined: slow, and easy to believe.
fn disjoint(pieces: &[Piece]) -> Vec<Piece> {
    let mut borders = BTreeSet::new();
    for piece in pieces {
        borders.insert(piece.first);
        borders.extend(piece.last.checked_add(1));
    }
    let borders: Vec<u128> = borders.into_iter().collect();
    let mut cuts: Vec<(Piece, usize)> = Vec::new();
    for (index, first) in borders.iter().enumerate() {
        let last = borders.get(index + 1).map_or(u128::MAX, |next| next - 1);
        let covering = pieces.iter().enumerate().filter(|(_, p)| p.first <= *first && *first <= p.last);
        // Of two equally long the later one says why.
        let Some((origin, longest)) = covering.max_by_key(|(at, p)| (p.left, *at)) else { continue };
        let last = last.min(longest.last);
        match cuts.last_mut() {
            Some((before, same)) if *same == origin && before.last + 1 == *first => before.last = last,
            _ => cuts.push((Piece { first: *first, last, ..longest.clone() }, origin)),
        }
    }
    cuts.into_iter().map(|(piece, _)| piece).collect()
}

fn sorted(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.sort_unstable_by_key(|piece| piece.first);
    pieces
}

/// The shortest time of those that cover all addresses from the first to the last, if they do.
fn cover_of(pieces: &[Piece], first: u128, last: u128) -> Option<Duration> {
    let mut next = first;
    let mut shortest = u64::MAX;
    for piece in pieces.iter().filter(|piece| piece.last >= first) {
        if piece.first > next {
            return None;
        }
        shortest = shortest.min(piece.left);
        if piece.last >= last {
            return Some(Duration::from_secs(shortest));
        }
        next = piece.last + 1;
    }
    None
}

/// The fewest networks from the first to the last address.
fn nets(v4: bool, first: u128, last: u128) -> Vec<Net> {
    let bits: u8 = if v4 { 32 } else { 128 };
    let mut nets = Vec::new();
    let mut next = first;
    loop {
        let fitting = (0..=bits).find_map(|prefix| {
            let net = Net::new(addr(v4, next), prefix)?;
            let (begin, end) = bounds(net);
            (begin == next && end <= last).then_some((net, end))
        });
        let Some((net, end)) = fitting else { return nets };
        nets.push(net);
        match end.checked_add(1) {
            Some(behind) if behind <= last => next = behind,
            _ => return nets,
        }
    }
}
