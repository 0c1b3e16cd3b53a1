//! Who is blocked, on whose word and until when: the responder's memory of what the book and the kernel hold.
//!
//! One network may be held by several at once: an alert, a person, a peer. It is blocked until the last of them lets go. The kernel has
//! one entry for it, which bears the name of the strongest of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Manner, Origin, is_single};
use slips_store::BlockId;

/// Who holds a network blocked, the strongest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    Hand,
    Alert,
    Feed(Arc<str>),
    Peer(Arc<str>),
    /// Another router on the same Redis.
    Fleet(Arc<str>),
}

impl Holder {
    /// From the book's word for it.
    pub(super) fn of(source: &str) -> Self {
        match source.split_once(' ').unwrap_or((source, "")) {
            ("hand", _) => Self::Hand,
            ("peer", name) => Self::Peer(name.into()),
            ("fleet", name) => Self::Fleet(name.into()),
            ("feed", name) => Self::Feed(name.into()),
            _ => Self::Alert,
        }
    }

    /// The book's word for it.
    pub(super) fn source(&self) -> String {
        match self {
            Self::Hand => "hand".into(),
            Self::Alert => "alert".into(),
            Self::Feed(name) => format!("feed {name}"),
            Self::Peer(name) => format!("peer {name}"),
            Self::Fleet(name) => format!("fleet {name}"),
        }
    }

    pub(super) const fn origin(&self) -> Origin {
        match self {
            Self::Hand => Origin::Manual,
            Self::Alert => Origin::Local,
            Self::Feed(_) => Origin::Feed,
            // The kernel knows both as others.
            Self::Peer(_) | Self::Fleet(_) => Origin::Peer,
        }
    }

    /// Somebody elsewhere asked for it: what such ask for has a room of its own, and few lines in the journal.
    pub(super) const fn is_of_others(&self) -> bool {
        matches!(self, Self::Peer(_) | Self::Fleet(_))
    }

    /// Of this host: nobody else can take it back.
    const fn is_ours(&self) -> bool {
        matches!(self, Self::Hand | Self::Alert)
    }
}

/// One who holds a network blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) by: Holder,
    /// Steady time of its beginning, here, and of its end.
    pub(super) since: Duration,
    pub(super) until: Duration,
    pub(super) id: Option<BlockId>,
    pub(super) unproven: bool,
    pub(super) manner: Manner,
}

/// A network that is blocked, by all who hold it; never by nobody.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing(Vec<Hold>);

impl Standing {
    pub(super) fn holds(&self) -> &[Hold] {
        &self.0
    }

    pub(super) fn of(&self, by: &Holder) -> Option<&Hold> {
        self.0.iter().find(|hold| hold.by == *by)
    }

    /// When the last lets go.
    pub(super) fn until(&self) -> Duration {
        self.0.iter().map(|hold| hold.until).max().unwrap_or_default()
    }

    /// Nothing but packets whose sender could be forged is behind it.
    pub(super) fn unproven(&self) -> bool {
        self.0.iter().all(|hold| hold.unproven)
    }

    fn only_peers(&self) -> bool {
        self.0.iter().all(|hold| hold.by.is_of_others())
    }

    fn first_end(&self) -> Duration {
        self.0.iter().map(|hold| hold.until).min().unwrap_or_default()
    }

    fn strongest(&self) -> Option<&Hold> {
        self.0.iter().min_by(|a, b| (&a.by, a.unproven).cmp(&(&b.by, b.unproven)))
    }

    /// In whose name the kernel has it, and how.
    pub(super) fn mark(&self) -> Option<(Origin, Manner)> {
        self.strongest().map(|hold| (hold.by.origin(), hold.manner))
    }

    /// Puts a hold in place of the same holder's former one.
    pub(super) fn put(&mut self, hold: Hold) {
        self.0.retain(|held| held.by != hold.by);
        self.0.push(hold);
    }

    /// The request that makes the kernel's entry what it is to be.
    pub(super) fn request(&self, net: Net, now: Duration) -> BlockRequest {
        let (by, manner) = self.mark().unwrap_or_default();
        // It was widened, or not, when it was decided.
        BlockRequest {
            exact: true,
            by,
            manner,
            ..BlockRequest::new(net, self.until().saturating_sub(now), "")
        }
    }
}

/// What a set of the kernel's has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    Four,
    Six,
    Subnet,
    WideFour,
    WideSix,
}

impl Class {
    pub(super) fn of(net: Net) -> Self {
        match (is_single(net), net.addr().is_ipv4(), net.prefix()) {
            (false, true, _) => Self::WideFour,
            (false, false, _) => Self::WideSix,
            (true, true, _) => Self::Four,
            (true, false, 64) => Self::Subnet,
            (true, false, _) => Self::Six,
        }
    }

    /// How many entries of this kind the kernel takes, where it takes so many IPv4 addresses; as the firewall makes its sets.
    pub(super) const fn room(self, size: usize) -> usize {
        match self {
            Self::Four => size,
            Self::Six | Self::Subnet => size.div_ceil(2),
            // Two entries for each.
            Self::WideFour | Self::WideSix => 8192,
        }
    }
}

/// All that is blocked, with what must be found without a look at each.
#[derive(Debug, Default)]
pub(super) struct Standings {
    nets: BTreeMap<Net, Standing>,
    /// By the first end of one of its holds.
    ends: BTreeSet<(Duration, Net)>,
    /// On packets alone whose sender could be forged, by their beginning.
    unproven: BTreeSet<(Duration, Net)>,
    /// By peers alone, by their end.
    lent: BTreeSet<(Class, Duration, Net)>,
    of_peer: BTreeMap<Holder, usize>,
    by_peers: usize,
    wide: BTreeSet<Net>,
    /// Our own networks, and how many of theirs are blocked.
    inside: Vec<Net>,
    blocked_inside: usize,
}

impl Standings {
    pub(super) fn len(&self) -> usize {
        self.nets.len()
    }

    pub(super) fn get(&self, net: Net) -> Option<&Standing> {
        self.nets.get(&net)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Net, &Standing)> {
        self.nets.iter().map(|(net, standing)| (*net, standing))
    }

    pub(super) fn nets(&self) -> impl Iterator<Item = Net> {
        self.nets.keys().copied()
    }

    /// Networks wider than one customer.
    pub(super) fn wide(&self) -> Vec<Net> {
        self.wide.iter().copied().collect()
    }

    /// Those networks wider than one customer that share addresses with this one, without itself.
    pub(super) fn wide_around(&self, net: Net) -> impl Iterator<Item = Net> {
        let around = (0..net.prefix()).filter_map(move |prefix| Net::new(net.addr(), prefix));
        let inside = self.wide.range(net..).take_while(move |held| net.contains(held.addr()));
        let inside = inside.copied().filter(move |held| *held != net);
        around.filter(|held| self.wide.contains(held)).chain(inside)
    }

    pub(super) fn put(&mut self, net: Net, hold: Hold) {
        self.change(net, |standing| standing.put(hold));
    }

    pub(super) fn take(&mut self, net: Net, by: &Holder) -> Option<Hold> {
        let mut taken = None;
        self.change(net, |standing| {
            let at = standing.0.iter().position(|hold| hold.by == *by);
            taken = at.map(|at| standing.0.remove(at));
        });
        taken
    }

    pub(super) fn remove(&mut self, net: Net) -> Option<Standing> {
        let standing = self.nets.remove(&net)?;
        self.count(net, &standing, -1);
        Some(standing)
    }

    pub(super) fn prove(&mut self, net: Net) -> Option<BlockId> {
        let mut id = None;
        self.change(net, |standing| {
            for hold in standing.0.iter_mut().filter(|hold| hold.by == Holder::Alert && hold.unproven) {
                hold.unproven = false;
                id = hold.id;
            }
        });
        id
    }

    /// Until when this host itself holds all of this network: by its own block or a wider one.
    pub(super) fn ours_until(&self, net: Net) -> Duration {
        let wider = (0..net.prefix()).filter(|_| !self.wide.is_empty() || net.prefix() == 128);
        let wider = wider.filter_map(|prefix| Net::new(net.addr(), prefix));
        let held = std::iter::once(net).chain(wider).filter_map(|net| self.nets.get(&net));
        let ours = held.flat_map(|standing| &standing.0).filter(|hold| hold.by.is_ours());
        ours.map(|hold| hold.until).max().unwrap_or_default()
    }

    /// Steady time of the next end of a hold.
    pub(super) fn next_end(&self) -> Duration {
        self.ends.first().map_or(Duration::MAX, |(end, _)| *end)
    }

    /// Takes what is over out of some networks: those that nobody holds any more, and those whose mark is another now.
    pub(super) fn expire(&mut self, now: Duration, at_most: usize) -> (Vec<(Net, Holder)>, Vec<Net>) {
        let (mut ended, mut marked) = (Vec::new(), Vec::new());
        let due: Vec<Net> =
            self.ends.iter().take_while(|(end, _)| *end <= now).take(at_most).map(|(_, net)| *net).collect();
        for net in due {
            let mark = |this: &Self| this.nets.get(&net).and_then(Standing::mark);
            let before = mark(self);
            let by = self.nets.get(&net).and_then(Standing::strongest).map(|hold| hold.by.clone());
            self.change(net, |standing| standing.0.retain(|hold| hold.until > now));
            match mark(self) {
                None => ended.extend(by.map(|by| (net, by))),
                after if after != before => marked.push(net),
                Some(_) => {}
            }
        }
        (ended, marked)
    }

    pub(super) fn unproven(&self) -> usize {
        self.unproven.len()
    }

    /// Of the blocks that rest on packets alone whose sender could be forged, the one after so many older ones.
    pub(super) fn oldest_unproven(&self, after: usize) -> Option<Net> {
        self.unproven.iter().nth(after).map(|(_, net)| *net)
    }

    /// How many networks peers hold, all of them and this one.
    pub(super) fn by_peers(&self, by: &Holder) -> (usize, usize) {
        (self.by_peers, self.of_peer.get(by).copied().unwrap_or_default())
    }

    /// The peers that hold something.
    pub(super) fn peers(&self) -> impl Iterator<Item = Holder> {
        self.of_peer.keys().filter(|by| matches!(by, Holder::Peer(_))).cloned()
    }

    /// What this one holds.
    pub(super) fn held_by(&self, by: &Holder) -> Vec<Net> {
        self.nets.iter().filter(|(_, standing)| standing.of(by).is_some()).map(|(net, _)| *net).collect()
    }

    /// Of what peers alone hold and lies in the same set as this network, the first to end.
    pub(super) fn lent(&self, like: Net, at_most: usize) -> Vec<Net> {
        let class = Class::of(like);
        let from = (class, Duration::ZERO, Net::host([0, 0, 0, 0].into()));
        self.lent
            .range(from..)
            .take_while(|(of, ..)| *of == class)
            .take(at_most)
            .map(|(.., net)| *net)
            .collect()
    }

    /// What has no room where a set takes only so many: what peers hold first, then what could be forged, then what ends first.
    pub(super) fn over(&self, room: impl Fn(Class) -> usize) -> Vec<Net> {
        let mut of: BTreeMap<Class, Vec<_>> = BTreeMap::new();
        for (net, standing) in &self.nets {
            let worth = (!standing.only_peers(), !standing.unproven(), standing.until(), *net);
            of.entry(Class::of(*net)).or_default().push(worth);
        }
        let over = of.into_iter().flat_map(|(class, mut nets)| {
            let over = nets.len().saturating_sub(room(class));
            if over > 0 {
                nets.sort_unstable();
            }
            nets.truncate(over);
            nets
        });
        over.map(|(.., net)| net).collect()
    }

    pub(super) const fn blocked_inside(&self) -> usize {
        self.blocked_inside
    }

    pub(super) fn is_inside(&self, net: Net) -> bool {
        self.inside.iter().any(|inside| inside.overlaps(net))
    }

    /// What our own networks are.
    pub(super) fn set_inside(&mut self, inside: Vec<Net>) {
        if inside != self.inside {
            self.inside = inside;
            let blocked = self.nets.keys().filter(|net| self.is_inside(**net));
            self.blocked_inside = blocked.map(|net| hosts_in(*net)).sum();
        }
    }

    fn change(&mut self, net: Net, change: impl FnOnce(&mut Standing)) {
        let mut standing = self.nets.remove(&net).unwrap_or_default();
        self.count(net, &standing, -1);
        change(&mut standing);
        self.count(net, &standing, 1);
        if !standing.0.is_empty() {
            self.nets.insert(net, standing);
        }
    }

    /// Takes a network into what is found without a look at each, or out of it.
    fn count(&mut self, net: Net, standing: &Standing, by: isize) {
        if standing.0.is_empty() {
            return;
        }
        let note = |set: &mut BTreeSet<(Duration, Net)>, at| {
            if by > 0 {
                set.insert((at, net))
            } else {
                set.remove(&(at, net))
            };
        };
        note(&mut self.ends, standing.first_end());
        if standing.unproven() {
            note(&mut self.unproven, standing.0.iter().map(|hold| hold.since).min().unwrap_or_default());
        }
        if standing.only_peers() {
            let lent = (Class::of(net), standing.until(), net);
            if by > 0 {
                self.lent.insert(lent)
            } else {
                self.lent.remove(&lent)
            };
        }
        if !is_single(net) {
            if by > 0 {
                self.wide.insert(net)
            } else {
                self.wide.remove(&net)
            };
        }
        for hold in &standing.0 {
            if !hold.by.is_of_others() {
                continue;
            }
            self.by_peers = self.by_peers.saturating_add_signed(by);
            let held = self.of_peer.entry(hold.by.clone()).or_default();
            *held = held.saturating_add_signed(by);
            if *held == 0 {
                self.of_peer.remove(&hold.by);
            }
        }
        if self.is_inside(net) {
            let hosts = isize::try_from(hosts_in(net)).unwrap_or(isize::MAX);
            self.blocked_inside = self.blocked_inside.saturating_add_signed(by.saturating_mul(hosts));
        }
    }
}

/// How many hosts a network of ours may have; a /64 of IPv6 has room for all there are.
pub(super) fn hosts_in(net: Net) -> usize {
    const ALL: usize = 1 << 16;
    let bits = if net.addr().is_ipv4() { 32 } else { 128 } - u32::from(net.prefix());
    1usize.checked_shl(bits).map_or(ALL, |hosts| hosts.min(ALL))
}
