//! The backend that really blocks: one table of nftables, changed by whole transactions.

mod bridge;
mod elements;
mod expr;
mod layout;
mod machines;
mod probe;
mod stage;
mod table;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use slips_core::addr::Net;
use slips_core::flow::MacAddr;

use self::elements::Element;
use self::layout::{Choice, Place, TABLE};
use self::machines::{Machines, Plan};
pub(crate) use self::probe::PROBE;
use self::stage::{Ends, Held, Tags, Wide};
use self::table::Found;
use crate::block::Tag;
use crate::netlink::wire::{FAMILY_BRIDGE, FAMILY_INET};
use crate::netlink::{self, Connections, Events, News, Socket, Transaction};
use crate::ranges::{self, Range};
use crate::{
    Backend, Block, BlockRequest, Change, Count, Counters, Ended, Error, Health, Origin, SelfTest, Watched,
    is_single,
};

/// Blocks in the kernel, in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Nftables {
    socket: Socket,
    connections: Option<Connections>,
    events: Option<Events>,
    /// Somebody else changed our table; it has not been looked at since.
    disturbed: bool,
    /// Nothing is looked up for now.
    paused: bool,
    features: Features,
    options: NftOptions,
    near: Option<netlink::Machines>,
    machines: Machines,
    /// When the ranges end that we wrote.
    ends: Ends,
}

/// What this kernel can do; what it cannot is done in another way with the same result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// A table can belong to us and outlive us (Linux 6.9): nobody else can change or flush it.
    pub owner: bool,
    /// Adding a present entry sets its time anew (Linux 6.12).
    pub refresh: bool,
    /// An absent entry can be destroyed without an error (Linux 6.3).
    pub destroy: bool,
}

impl Features {
    /// All that is used where it exists.
    pub const ALL: Self = Self { owner: true, refresh: true, destroy: true };
    /// Only what every kernel has, as a test of the other way.
    pub const NONE: Self = Self { owner: false, refresh: false, destroy: false };
}

/// How the backend is opened.
#[derive(Debug, Clone, Copy)]
pub struct NftOptions {
    /// Write the reason of a block beside it into the kernel, where `nft list` shows it; doubles the memory of an entry.
    pub annotate: bool,
    /// What may be used of the kernel, if it is there.
    pub features: Features,
    /// Write some of what is dropped, a few packets a second, into the kernel's log.
    pub log: bool,
    /// The TCP port of this host that an isolated host may reach, where it is told what happened.
    pub notice_port: Option<u16>,
    /// Hosts talk with each other through a bridge of this host: what passes there is looked up too.
    pub bridge: bool,
    /// What passes a bridge is looked up by the hardware addresses of blocked hosts too.
    pub machines: bool,
    /// How many single IPv4 addresses can be blocked, and half as many of IPv6 and of its /64: some 100 bytes of kernel memory each.
    pub size: u32,
}

/// What is blocked at most where nobody says otherwise: 12 MB of kernel memory.
const SIZE: u32 = 131_072;

impl Default for NftOptions {
    fn default() -> Self {
        let features = Features::ALL;
        Self {
            annotate: false,
            features,
            log: false,
            notice_port: None,
            bridge: false,
            machines: false,
            size: SIZE,
        }
    }
}

impl Nftables {
    /// Makes our table, or takes over the one that a former process left, with everything that is blocked in it.
    pub fn open(options: NftOptions) -> Result<Self, Error> {
        let socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
        let mut this = Self {
            events: Some(Events::open(&socket)?),
            disturbed: false,
            paused: false,
            socket,
            connections: Some(Connections::open()?),
            features: options.features,
            near: (options.bridge && options.machines).then(netlink::Machines::open).transpose()?,
            machines: Machines::new(),
            ends: Ends::default(),
            options,
        };
        match table::find(&mut this.socket)? {
            Found::None => this.create(&[])?,
            Found::Foreign => return Err(Error::Foreign),
            Found::Ours { owner: Some(port), .. } if port != this.socket.port() => return Err(Error::Owned),
            Found::Ours { persistent, .. } => this.adopt(persistent)?,
        }
        if options.bridge {
            this.claim_bridge();
        } else {
            table::remove_bridge(&mut this.socket)?;
        }
        this.probe()?;
        // Nobody else can change a table that belongs to us.
        if let Some(events) = this.events.as_mut().filter(|_| this.features.owner) {
            events.leave_tables()?;
        }
        // What was heard so far was before us.
        this.news();
        this.disturbed = false;
        Ok(this)
    }

    /// What of the kernel is used.
    pub const fn features(&self) -> Features {
        self.features
    }

    /// Makes the table of the bridges, or takes over the one that is there. Where the kernel has none, the bridges are left as they are.
    fn make_bridge(&mut self) {
        let mut attempt = |make: fn(&mut Transaction, bool, Choice)| {
            let mut transaction = Transaction::new();
            make(&mut transaction, self.features.owner, self.choice());
            self.socket.commit(transaction)
        };
        if let Err(error) = attempt(bridge::renew).or_else(|_| attempt(bridge::create)) {
            tracing::warn!(%error, "what passes a bridge cannot be blocked");
            self.options.bridge = false;
            return;
        }
        // Whose machines a former process blocked; where that cannot be read, their time ends it.
        self.machines = machines::read(&mut self.socket).unwrap_or_default();
    }

    const fn choice(&self) -> Choice {
        let NftOptions { log, notice_port, size, machines, .. } = self.options;
        Choice { log, notice_port, size, machines, paused: self.paused }
    }

    /// Takes over a table. One of another layout or without an owner is replaced by a new one with the same blocks, in one transaction.
    fn adopt(&mut self, persistent: bool) -> Result<(), Error> {
        if persistent == self.features.owner {
            let mut transaction = Transaction::new();
            layout::renew(&mut transaction, self.features.owner, self.choice());
            match self.socket.commit(transaction) {
                Err(Error::Refused { step, source }) => {
                    tracing::info!(step, error = %source, "the table of a former version is replaced");
                }
                done => return done,
            }
        }
        let blocks = self.list()?;
        self.create(&blocks)
    }

    /// Makes the table, in place of one that is there, with these blocks in it. A kernel that knows no owner gets one without.
    fn create(&mut self, blocks: &[Block]) -> Result<(), Error> {
        let changes: Vec<_> = std::iter::once(Change::Clear).chain(blocks.iter().map(again)).collect();
        loop {
            let mut transaction = Transaction::for_changes(changes.len());
            layout::create(&mut transaction, self.features.owner, self.choice());
            let ends = self.stage(&mut transaction, &changes, (BTreeMap::new(), now()), Held::Perhaps);
            match self.socket.commit(transaction) {
                Ok(()) => {
                    self.ends.written(ends);
                    return Ok(());
                }
                Err(error)
                    if self.features.owner
                        && matches!(error.errno(), Some(Errno::EOPNOTSUPP | Errno::EINVAL)) =>
                {
                    self.features.owner = false;
                }
                done => return done,
            }
        }
    }

    fn commit(
        &mut self,
        changes: &[Change],
        wide: (BTreeMap<Place, Wide>, Instant),
        held: Held<'_>,
    ) -> Result<(), Error> {
        let mut transaction = Transaction::for_changes(changes.len());
        if self.options.bridge {
            self.stage(&mut transaction, changes, wide.clone(), held);
            transaction.turn_to(FAMILY_BRIDGE);
        }
        let ends = self.stage(&mut transaction, changes, wide, held);
        let machines = self.options.bridge.then(|| Plan::of(changes, &self.machines));
        if let Some(plan) = &machines {
            plan.stage(&mut transaction, self.features.destroy);
        }
        // Of a few entries the kernel writes as fast as we would leave and come back.
        if changes.len() < LOUD && !changes.contains(&Change::Clear) {
            self.socket.commit(transaction)?;
        } else {
            self.unheard(|socket| socket.commit(transaction))?;
        }
        self.ends.written(ends);
        if let Some(plan) = machines {
            self.machines = plan.after;
        }
        Ok(())
    }

    /// Does something large while nobody of us hears what changes: the kernel writes a message about each entry for whoever listens, four
    /// kilobytes each, all at once. Whether others changed something meanwhile is told by its count of changes.
    fn unheard(&mut self, work: impl FnOnce(&mut Socket) -> Result<(), Error>) -> Result<(), Error> {
        let before = match &mut self.events {
            Some(events) if events.hear_tables() => {
                let before = table::generation(&mut self.socket)?;
                events.leave_tables()?;
                Some(before)
            }
            _ => None,
        };
        let done = work(&mut self.socket);
        if let (Some(before), Some(events)) = (before, &mut self.events) {
            events.join_tables()?;
            let after = table::generation(&mut self.socket)?;
            self.disturbed |= after != before.wrapping_add(u32::from(done.is_ok()));
        }
        done
    }

    /// Makes the table of the bridges, unless somebody else has one of that name: it is left as it is.
    fn claim_bridge(&mut self) {
        match table::find_in(&mut self.socket, FAMILY_BRIDGE) {
            Ok(Found::Foreign) => {
                tracing::warn!(
                    "another table is called `bridge {TABLE}`: what passes a bridge is not blocked"
                );
                self.options.bridge = false;
            }
            // A kernel without such tables says so when one is made.
            _ => self.make_bridge(),
        }
    }

    /// The tags that single networks have which are to be changed.
    fn tags(&mut self, changes: &[Change]) -> Result<Tags, Error> {
        let touched = |change: &Change| match change {
            Change::Block(request) => Some(request.net),
            Change::Unblock(net) => Some(*net),
            Change::Clear | Change::Protect(_) => None,
        };
        let nets: Vec<Net> = changes.iter().filter_map(touched).filter(|net| is_single(*net)).collect();
        let found = elements::query(&mut self.socket, &nets)?;
        Ok(nets.into_iter().zip(found).filter_map(|(net, element)| Some((net, element?.tag?))).collect())
    }

    /// All rules of our tables are there.
    fn rules_are_there(&mut self) -> Result<bool, Error> {
        let wanted = layout::count_of_rules(self.choice());
        if table::rules(&mut self.socket, FAMILY_INET)? != wanted {
            return Ok(false);
        }
        let wanted = bridge::count_of_rules(self.choice());
        Ok(!self.options.bridge || table::rules(&mut self.socket, FAMILY_BRIDGE)? == wanted)
    }

    fn news(&mut self) -> News {
        let news = self.events.as_mut().map(|events| events.news(TABLE)).unwrap_or_default();
        self.disturbed |= news.table;
        news
    }

    /// What an interval set holds.
    fn held(&mut self, place: Place) -> Result<Vec<Range>, Error> {
        Ok(elements::pair(place.family(), elements::dump(&mut self.socket, place)?))
    }
}

impl Backend for Nftables {
    fn apply(&mut self, changes: &[Change]) -> Result<(), Error> {
        let mut held = BTreeMap::new();
        if !changes.contains(&Change::Clear) {
            for place in [Place::Net4, Place::Net6] {
                if changes.iter().any(|change| stage::needs(change, place)) {
                    held.insert(place, self.held(place)?);
                }
            }
        }
        let read = now();
        let correct = |(place, mut ranges): (Place, Vec<Range>)| {
            let changed = self.ends.correct(place, &mut ranges, read);
            (place, Wide::new(ranges, changed))
        };
        let wide: BTreeMap<Place, Wide> = held.into_iter().map(correct).collect();
        match self.commit(changes, (wide.clone(), read), Held::Perhaps) {
            // An entry is there with another tag: the kernel changes times only. It is seldom, so it is asked only now.
            Err(error) if matches!(error.errno(), Some(Errno::EBUSY | Errno::EEXIST)) => {
                let known = self.tags(changes)?;
                self.commit(changes, (wide, read), Held::Tagged(&known))
            }
            done => done,
        }
    }

    /// The kernel finds out itself whether one is there: so nearly every block is one call instead of two.
    fn block_new(&mut self, changes: &[Change]) -> Result<bool, Error> {
        if !changes.iter().all(|change| matches!(change, Change::Block(request) if is_single(request.net))) {
            return Ok(false);
        }
        match self.commit(changes, (BTreeMap::new(), now()), Held::Nothing) {
            Err(error) if matches!(error.errno(), Some(Errno::EBUSY | Errno::EEXIST)) => Ok(false),
            done => done.map(|()| true),
        }
    }

    fn machines(&mut self) -> Result<BTreeSet<(IpAddr, MacAddr)>, Error> {
        self.near.as_mut().map_or_else(|| Ok(BTreeSet::new()), netlink::Machines::all)
    }

    fn left(&mut self, nets: &[Net]) -> Result<Vec<Option<Duration>>, Error> {
        let single: Vec<Net> = nets.iter().copied().filter(|net| is_single(*net)).collect();
        let mut found = elements::query(&mut self.socket, &single)?.into_iter();
        let mut wide: BTreeMap<Place, Vec<Range>> = BTreeMap::new();
        let mut answers = Vec::with_capacity(nets.len());
        for net in nets {
            if is_single(*net) {
                answers.push(found.next().flatten().and_then(|element| element.timeout));
                continue;
            }
            let place = Place::of(*net);
            let held = match wide.entry(place) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(self.held(place)?),
            };
            let (first, last) = ranges::bounds(*net);
            answers.push(ranges::covered(held, first, last));
        }
        Ok(answers)
    }

    fn cover(&mut self, net: Net) -> Result<Option<Duration>, Error> {
        let own = self.left(&[net])?.pop().flatten();
        let held = self.held(Place::wide(net))?;
        let (first, last) = ranges::bounds(net);
        Ok(own.max(ranges::covered(&held, first, last)))
    }

    fn list(&mut self) -> Result<Vec<Block>, Error> {
        let mut blocks = Vec::new();
        for place in Place::HASHED {
            for element in elements::all(&mut self.socket, place)? {
                let (Some(net), Some(left)) = (element.key.net(place), element.timeout) else { continue };
                let Tag { by, manner } = element.tag.unwrap_or_default();
                blocks.push(Block { net, left, reason: element.comment, by, manner });
            }
        }
        for place in [Place::Net4, Place::Net6] {
            for range in self.held(place)? {
                for net in ranges::nets(place.family(), range.first, range.last) {
                    let Tag { by, manner } = range.tag;
                    blocks.push(Block { net, left: range.left, reason: range.reason.clone(), by, manner });
                }
            }
        }
        blocks.sort_unstable_by_key(|block| block.net);
        Ok(blocks)
    }

    fn count(&mut self, net: Net) -> Result<Option<Count>, Error> {
        let Some(held) = elements::query(&mut self.socket, &[net])?.pop().flatten() else { return Ok(None) };
        if held.count.is_some() {
            return Ok(held.count);
        }
        let place = Place::of(net);
        let mut transaction = Transaction::new();
        let former = Element { tag: held.tag, ..Element::key(held.key) };
        self.stage_gone(&mut transaction, place, || std::iter::once(former.clone()));
        let counted = Element { count: Some(Count::default()), ..held };
        elements::add(&mut transaction, place, std::iter::once(counted));
        self.socket.commit(transaction)?;
        Ok(Some(Count::default()))
    }

    fn set_paused(&mut self, paused: bool) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.paused, paused);
        let mut transaction = Transaction::new();
        layout::renew(&mut transaction, self.features.owner, self.choice());
        if self.options.bridge {
            bridge::renew(&mut transaction, self.features.owner, self.choice());
        }
        let done = self.socket.commit(transaction);
        if done.is_err() {
            self.paused = before;
        }
        done
    }

    fn watch(&mut self) -> Watched {
        let News { host, .. } = self.news();
        Watched { disturbed: self.disturbed, host }
    }

    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        self.events.iter().flat_map(Events::fds).collect()
    }

    /// Nobody else changed the table, and it carries our mark and has all its rules. A set cannot be deleted while there are rules
    /// that look into it.
    fn verify(&mut self) -> Result<Health, Error> {
        self.news();
        let disturbed = self.disturbed;
        let persistent = match table::find(&mut self.socket)? {
            Found::None => None,
            Found::Foreign => return Err(Error::Foreign),
            Found::Ours { owner: Some(port), .. } if port != self.socket.port() => return Err(Error::Owned),
            Found::Ours { .. } if self.rules_are_there()? => {
                self.disturbed = false;
                // The rules are there; of the entries some may not be.
                return Ok(if disturbed { Health::Rebuilt } else { Health::Intact });
            }
            Found::Ours { persistent, .. } => Some(persistent),
        };
        match persistent {
            Some(persistent) => self.adopt(persistent)?,
            None => self.create(&[])?,
        }
        if self.options.bridge {
            self.claim_bridge();
        }
        self.disturbed = false;
        Ok(Health::Rebuilt)
    }

    fn counters_by(&mut self) -> Result<[Counters; Origin::ALL.len()], Error> {
        table::counters(&mut self.socket)
    }

    fn self_test(&mut self) -> Result<SelfTest, Error> {
        self.try_blocking()
    }

    fn end_connections(&mut self, nets: &[Net]) -> Result<Ended, Error> {
        self.connections.as_mut().map_or(Ok(Ended::default()), |connections| connections.end(nets))
    }

    fn remove(&mut self) -> Result<(), Error> {
        table::remove(&mut self.socket).map(drop)
    }
}

/// Removes our table with all blocks, whoever made it, without a daemon. Nothing else is touched. Returns whether there was one.
pub fn flush_all() -> Result<bool, Error> {
    table::remove(&mut Socket::open(SockProtocol::NetlinkNetFilter)?)
}

/// The blocks in the kernel, without a daemon and without changing anything; empty when there is no table of ours.
pub fn list_all() -> Result<Vec<Block>, Error> {
    let mut socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
    match table::find(&mut socket)? {
        Found::None => Ok(Vec::new()),
        Found::Foreign => Err(Error::Foreign),
        Found::Ours { .. } => Nftables {
            socket,
            connections: None,
            events: None,
            disturbed: false,
            paused: false,
            features: Features::NONE,
            options: NftOptions::default(),
            near: None,
            machines: Machines::new(),
            ends: Ends::default(),
        }
        .list(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the kernel's timeouts run by the machine's steady clock, and so do the ends that we wrote"
)]
fn now() -> Instant {
    Instant::now()
}

fn again(block: &Block) -> Change {
    let Block { net, left, by, manner, .. } = *block;
    let request = BlockRequest::new(net, left, block.reason.clone());
    Change::Block(BlockRequest { exact: true, by, manner, ..request })
}

/// From so many changes on nobody of us listens: below, going away and coming back costs more than it saves.
const LOUD: usize = 64;
/// The kernel counts in jiffies and takes a time of none for "for ever"; a jiffy is 10 ms at most.
const SHORTEST: Duration = Duration::from_millis(100);
