//! The router: numbers events, keeps the clock, gives addresses their slots, and deals the work to the shards.
//!
//! Everything that is not per profile is decided here, in the order of the input, so that no result depends on the shards.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::detector::{Facts, LINK, Role, Slot};
use crate::event::{Arp, ArpOp, Event, EventKind};
use crate::flow::{ConnState, Flow, MacAddr, Outcome, Phase, Proto};
use crate::hash::KeyedState;
use crate::record::{Batch, Stats};
use crate::settings::{Direction, MAX_PARTNERS, Settings};
use crate::time::{PacketTime, Span, WindowId};

use super::gate::{Gate, Learnt};
use super::profiles::{LINK_SLOT, Profile, Profiles};

/// How long a conversation that a local host began protects the other side from blocks on unproven evidence.
const TALKED_FOR: Span = Span::from_secs(3600);
/// How long the hardware address of a silent host keeps its IP address: longer than neighbour caches, shorter than leases.
const MAC_KEPT_FOR: Span = Span::from_secs(1800);

/// One thing that a shard has to do, in order.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Show event `event` of the batch to the detectors.
    See {
        event: u32,
        role: Role,
        slot: Slot,
        profile: IpAddr,
        window: WindowId,
        now: PacketTime,
        facts: Facts,
    },
    /// The clock passed a second before event `event`.
    Tick { event: u32, now: PacketTime },
    /// The window closes before event `event`.
    Close { event: u32, now: PacketTime, window: WindowId },
    /// The profile in this slot is gone.
    Forget { slot: Slot },
}

/// The work of one shard for one batch.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) batch: Batch,
    /// Number of the batch's first event.
    pub(super) first: u64,
    pub(super) ops: Vec<Op>,
}

/// What the judge has to know about one batch besides the findings.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) batch: Batch,
    pub(super) new_profiles: Vec<(IpAddr, PacketTime)>,
    /// Windows that close, each before the event with this number.
    pub(super) closed: Vec<(u64, WindowId, PacketTime)>,
    /// Events that are advice of peers: number, place in the batch, and the clock.
    pub(super) advice: Vec<(u64, usize, PacketTime)>,
    /// What the judge has to learn for the whitelist, with the number of the event and the clock.
    pub(super) learnt: Vec<(u64, PacketTime, Learnt)>,
    /// The clock behind the batch.
    pub(super) now: PacketTime,
    pub(super) stats: Stats,
}

/// A batch, dealt.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) jobs: Vec<Job>,
    pub(super) summary: Summary,
}

/// Which events any detector wants, by kind and side.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wants([[bool; Role::COUNT]; EventKind::COUNT]);

impl Wants {
    pub(super) fn add(&mut self, kind: EventKind, role: Role) {
        if let Some(wanted) = self.0.get_mut(kind as usize).and_then(|roles| roles.get_mut(role as usize)) {
            *wanted = true;
        }
    }

    pub(super) fn has(&self, kind: EventKind, role: Role) -> bool {
        self.0.get(kind as usize).and_then(|roles| roles.get(role as usize)).copied().unwrap_or(false)
    }
}

pub(super) struct Router {
    settings: Arc<Settings>,
    wants: Wants,
    shards: usize,
    clock: Clock,
    profiles: Profiles,
    gate: Gate,
    /// The local address that each hardware address owns; the latest, where it owns several. At the limit of local profiles
    /// newcomers are not taken.
    owned: HashMap<MacAddr, IpAddr, KeyedState>,
    /// When a local host last talked with an outside IPv6 /64.
    partners6: HashMap<u64, PacketTime, KeyedState>,
    /// Whom local hosts talked with before the engine began; see [`before_of`].
    before: HashSet<u128, KeyedState>,
    /// As of which change of our networks addresses are filed.
    nets_changes: u64,
    /// When the engine's first event was.
    began: Option<PacketTime>,
    /// The same of a /56.
    lines6: HashMap<u64, PacketTime, KeyedState>,
    /// The latest ARP questions: who asked, for whom, when.
    arp_asked: VecDeque<(IpAddr, IpAddr, PacketTime)>,
    /// Whose hardware address was learnt with this event.
    new_owners: Vec<(IpAddr, MacAddr)>,
    open: BTreeSet<WindowId>,
    /// The newest window that was closed.
    closed_upto: WindowId,
    next: u64,
    stats: Stats,
    ops_hint: usize,
}

/// The /64 of an outside IPv6 address.
fn prefix_of(profile: &Profile) -> Option<u64> {
    match profile.addr {
        IpAddr::V6(v6) if !profile.local => Some((v6.to_bits() >> 64) as u64),
        _ => None,
    }
}

/// Notes that a local host talked with an outside network now.
fn remember(partners: &mut HashMap<u64, PacketTime, KeyedState>, net: u64, now: PacketTime) {
    if partners.len() >= MAX_PARTNERS6 && !partners.contains_key(&net) {
        partners.retain(|_, talked| now.since(*talked) <= TALKED_FOR);
        if partners.len() >= MAX_PARTNERS6 {
            return;
        }
    }
    partners.insert(net, now);
}

/// A partner from before the start: an address of IPv4, or a /64 of IPv6.
fn before_of(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

/// Outside IPv6 networks that local hosts talk with.
const MAX_PARTNERS6: usize = 65_536;
/// Profiles that are retired before one batch: a second's batches retire all, and none of them is held up.
const RETIRED_AT_ONCE: usize = 2_048;
/// ARP questions that are remembered, and how long their answers count.
const MAX_ARP_ASKED: usize = 256;
const ARP_ANSWER: Span = Span::from_secs(3);
/// Windows that may be open at once; hostile stamps beyond it close the oldest.
const MAX_OPEN_WINDOWS: usize = 64;

impl Router {
    pub(super) fn new(settings: Arc<Settings>, wants: Wants, shards: usize) -> Self {
        let limits = settings.limits;
        let before = settings.partners.iter().take(MAX_PARTNERS).map(|addr| before_of(*addr)).collect();
        Self {
            gate: Gate::new(&settings),
            settings,
            wants,
            shards: shards.max(1),
            clock: Clock::default(),
            profiles: Profiles::new(limits.local_profiles, limits.remote_profiles),
            owned: HashMap::default(),
            partners6: HashMap::default(),
            before,
            nets_changes: 0,
            began: None,
            lines6: HashMap::default(),
            arp_asked: VecDeque::new(),
            new_owners: Vec::new(),
            open: BTreeSet::new(),
            closed_upto: WindowId(i64::MIN),
            next: 0,
            stats: Stats::default(),
            ops_hint: 0,
        }
    }

    /// Deals one batch.
    pub(super) fn route(&mut self, events: Vec<Event>) -> Routed {
        self.gate.renew();
        let batch: Batch = Arc::new(events);
        let mut dealt = Dealt::new(self.shards, self.ops_hint);
        self.follow_nets(&mut dealt);
        self.follow_share(&mut dealt);
        for (index, event) in batch.iter().enumerate() {
            self.route_event(index as u32, event, &mut dealt);
        }
        let first = self.next;
        self.next += batch.len() as u64;
        self.ops_hint = dealt.ops.first().map_or(0, Vec::len);
        self.finish_batch(batch, first, dealt)
    }

    /// Files addresses anew when our networks have changed: a prefix that came makes hosts of ours, one that went makes strangers.
    fn follow_nets(&mut self, dealt: &mut Dealt) {
        let nets = &self.settings.local_nets;
        let changes = nets.changes();
        if changes == self.nets_changes {
            return;
        }
        self.nets_changes = changes;
        for (slot, mac) in self.profiles.refile(|addr| nets.contains(addr)) {
            if let Some(mac) = mac {
                self.owned.remove(&mac);
            }
            let (shard, slot) = self.place(slot);
            dealt.push(shard, Op::Forget { slot });
        }
    }

    /// Keeps remote profiles to their share of the room, some at a time.
    fn follow_share(&mut self, dealt: &mut Dealt) {
        self.profiles.set_share(self.settings.dial.share());
        for _ in 0..RETIRED_AT_ONCE {
            let Some((slot, mac)) = self.profiles.retire() else { break };
            if let Some(mac) = mac {
                self.owned.remove(&mac);
            }
            let (shard, slot) = self.place(slot);
            dealt.push(shard, Op::Forget { slot });
        }
    }

    /// Closes what is open: the input has ended.
    pub(super) fn finish(&mut self) -> Routed {
        let mut dealt = Dealt::new(self.shards, 0);
        let now = self.clock.now();
        while let Some(window) = self.open.pop_first() {
            self.close(0, window, now, &mut dealt);
        }
        let first = self.next;
        self.finish_batch(Arc::new(Vec::new()), first, dealt)
    }

    fn finish_batch(&mut self, batch: Batch, first: u64, dealt: Dealt) -> Routed {
        self.stats.time_jumps = self.clock.jumps();
        (self.stats.evicted_local, self.stats.evicted_remote) = self.profiles.evicted();
        Routed {
            jobs: dealt.ops.into_iter().map(|ops| Job { batch: Arc::clone(&batch), first, ops }).collect(),
            summary: Summary {
                batch,
                new_profiles: dealt.new_profiles,
                closed: dealt
                    .closed
                    .into_iter()
                    .map(|(event, window, now)| (first + u64::from(event), window, now))
                    .collect(),
                advice: dealt
                    .advice
                    .into_iter()
                    .map(|(event, now)| (first + u64::from(event), event as usize, now))
                    .collect(),
                learnt: dealt
                    .learnt
                    .into_iter()
                    .map(|(event, now, learnt)| (first + u64::from(event), now, learnt))
                    .collect(),
                now: self.clock.now(),
                stats: self.stats.clone(),
            },
        }
    }

    fn route_event(&mut self, index: u32, event: &Event, dealt: &mut Dealt) {
        self.stats.events += 1;
        if matches!(event, Event::Advice(_) | Event::Told(_)) {
            // It is about nobody's packets: the clock and the profiles stay as they are.
            dealt.advice.push((index, self.clock.now()));
            return;
        }
        if let Event::Inherits(heritage) = event {
            let now = self.clock.now();
            let windows: BTreeSet<WindowId> = heritage
                .open(&self.settings, now)
                .map(|of| of.window)
                .filter(|of| *of > self.closed_upto)
                .collect();
            windows.into_iter().for_each(|window| self.open_window(index, window, dealt));
            dealt.advice.push((index, now));
            return;
        }
        let moved = match event {
            // A live source tells it; files have none.
            Event::Tick(at) => self.clock.told(*at),
            _ => self.clock.observe(event.known_at()),
        };
        if moved {
            self.tick(index, dealt);
        }
        if !self.before.is_empty() {
            let (now, began) = (self.clock.now(), self.began.unwrap_or(self.clock.now()));
            self.began = Some(began);
            if now.since(began) > TALKED_FOR {
                self.before = HashSet::default();
            }
        }
        let (src, dst) = event.parties();
        let of_link = event.is_of_link();
        if src.is_none() && dst.is_none() && !of_link {
            return;
        }
        let window = self.window_of(event);
        self.open_window(index, window, dealt);
        let src_slot = src.map(|addr| self.profile(addr, window, event.time(), dealt));
        let dst_slot = dst.map(|addr| self.profile(addr, window, event.time(), dealt));
        let facts = self.facts(index, event, src_slot, dst_slot, dealt);
        if self.gate.omits_event(event, facts.resolved, facts.src_on_link, self.clock.now()) {
            self.stats.events_whitelisted += 1;
            return;
        }
        let link = of_link.then_some(LINK);
        for (role, addr, slot) in
            [(Role::Src, src, src_slot), (Role::Dst, dst, dst_slot), (Role::Link, link, Some(LINK_SLOT))]
        {
            let (Some(profile), Some(slot)) = (addr, slot) else { continue };
            let judged = role != Role::Dst || self.settings.direction == Direction::All;
            if judged && self.wants.has(event.kind(), role) {
                let (shard, slot) = self.place(slot);
                let now = self.clock.now();
                dealt.push(shard, Op::See { event: index, role, slot, profile, window, now, facts });
            }
        }
    }

    /// The window that an event is filed under. A closed window is never opened again: what comes too late for it, and what a long
    /// live flow tells after it, goes to the window of the moment it was known, or to the oldest that can still be open.
    fn window_of(&mut self, event: &Event) -> WindowId {
        if self.clock.has_stepped_back() {
            self.closed_upto = WindowId(i64::MIN);
        }
        let width = self.settings.width;
        let own = width.window_of(event.time());
        if own > self.closed_upto {
            return own;
        }
        let known = width.window_of(event.known_at());
        if known <= self.closed_upto {
            self.stats.late_events += 1;
        }
        known.max(WindowId(self.closed_upto.0.saturating_add(1)))
    }

    fn place(&self, slot: Slot) -> (usize, Slot) {
        (slot.index() % self.shards, Slot((slot.index() / self.shards) as u32))
    }

    fn profile(&mut self, addr: IpAddr, window: WindowId, at: PacketTime, dealt: &mut Dealt) -> Slot {
        let nets = &self.settings.local_nets;
        let found = self.profiles.touch(addr, |addr| nets.contains(addr));
        if found.new {
            self.stats.profiles += 1;
            dealt.new_profiles.push((addr, at));
        }
        if let Some(mac) = found.evicted_mac {
            self.owned.remove(&mac);
        }
        if found.evicted {
            let (shard, slot) = self.place(found.slot);
            dealt.push(shard, Op::Forget { slot });
        }
        if let Some(profile) = self.profiles.get_mut(found.slot)
            && window > profile.window
        {
            profile.window = window;
            self.stats.profile_windows += 1;
        }
        found.slot
    }

    /// What is known about both sides before this event; learns from it what later events need. Never the other way round:
    /// a packet proves nothing about itself.
    fn facts(
        &mut self,
        index: u32,
        event: &Event,
        src: Option<Slot>,
        dst: Option<Slot>,
        dealt: &mut Dealt,
    ) -> Facts {
        let now = self.clock.now();
        let facts = self.known_facts(event, src, dst, now);
        if self.gate.is_telling(event) {
            self.gate.learn_names(event, now);
            dealt.learnt.push((index, now, Learnt::Names(index as usize)));
        }
        match event {
            Event::Flow(flow) => {
                if flow.phase == Phase::End {
                    self.stats.flows += 1;
                }
                self.learn(flow, src, dst, now);
            }
            Event::Arp(arp) => self.learn_arp(arp, src, now),
            _ => {}
        }
        for (addr, mac) in self.new_owners.drain(..) {
            self.gate.learn_owner(addr, mac);
            dealt.learnt.push((index, now, Learnt::Owner(addr, mac)));
        }
        facts
    }

    fn known_facts(&self, event: &Event, src: Option<Slot>, dst: Option<Slot>, now: PacketTime) -> Facts {
        let lately = |talked: PacketTime| talked > PacketTime::MIN && now.since(talked) <= TALKED_FOR;
        let talked = |profile: &Profile| {
            let siblings = prefix_of(profile).and_then(|prefix| self.partners6.get(&prefix));
            lately(profile.talked)
                || siblings.is_some_and(|talked| lately(*talked))
                || (!self.before.is_empty() && self.before.contains(&before_of(profile.addr)))
        };
        // Where not all are known anybody may be near.
        let near_partner = |profile: &Profile| {
            let line = prefix_of(profile).map(|prefix| prefix >> 8);
            line.is_some_and(|line| {
                self.lines6.len() >= MAX_PARTNERS6
                    || self.lines6.get(&line).is_some_and(|talked| lately(*talked))
            })
        };
        let resolved = self.gate.is_resolved(event);
        let mut facts = Facts { unheard: event.is_unheard(), resolved, ..Facts::default() };
        if let Some(profile) = src.and_then(|slot| self.profiles.get(slot)) {
            facts.src_local = profile.local;
            facts.src_talked = talked(profile);
            facts.src_near_partner = near_partner(profile);
            facts.src_on_link = profile.local
                && match event {
                    Event::Flow(flow) => {
                        !flow.tunnelled && flow.src_mac.is_some() && flow.src_mac == profile.mac
                    }
                    Event::Arp(arp) => Some(arp.sender_mac) == profile.mac && arp.sender_mac == arp.frame_src,
                    Event::Neighbour(said) => said.frame_src.is_some() && said.frame_src == profile.mac,
                    record => record.about().is_some_and(|about| {
                        !about.tunnelled && about.src_mac.is_some() && about.src_mac == profile.mac
                    }),
                };
            if let (Event::Arp(_), Some(mac), true) = (event, profile.mac, profile.local) {
                facts.src_held_by = Some((mac, profile.mac_seen));
            }
            let claimant = match event {
                Event::Arp(arp) => Some(arp.sender_mac),
                Event::Neighbour(said) => said.frame_src,
                _ => None,
            };
            facts.src_mac_owner =
                claimant.and_then(|mac| self.owned.get(&mac).copied()).filter(|owned| *owned != profile.addr);
        }
        if let Some(profile) = dst.and_then(|slot| self.profiles.get(slot)) {
            facts.dst_local = profile.local;
            facts.dst_talked = talked(profile);
            facts.dst_near_partner = near_partner(profile);
        }
        facts
    }

    fn learn(&mut self, flow: &Flow, src: Option<Slot>, dst: Option<Slot>, now: PacketTime) {
        let (Some(src), Some(dst)) = (src, dst) else { return };
        if flow.tunnelled {
            return;
        }
        let src_local = self.profiles.get(src).is_some_and(|profile| profile.local);
        let dst_local = self.profiles.get(dst).is_some_and(|profile| profile.local);
        // A connection that both sides opened, used and closed: nobody off the path can forge it. It proves hardware addresses.
        let whole = matches!(flow.phase, Phase::Closed | Phase::End)
            && flow.proto == Proto::Tcp
            && flow.state == ConnState::SF
            && flow.heard
            && flow.orig.bytes > 0
            && flow.resp.bytes > 0;
        for (slot, local, mac) in [(src, src_local, flow.src_mac), (dst, dst_local, flow.dst_mac)] {
            if whole && local {
                self.profiles.settle(slot);
                if let Some(mac) = mac {
                    self.learn_mac(mac, slot, now);
                }
            }
        }
        // Only a local host's own question that was answered makes a partner: what a stranger began, or what was turned round
        // by guessing from ports, does not.
        let answered = flow.resp.pkts > 0
            && !flow.was_flipped()
            && match flow.proto {
                Proto::Tcp => flow.outcome() == Outcome::Established && flow.orig.pkts >= 2,
                _ => flow.orig.pkts > 0,
            };
        if !src_local || !answered {
            return;
        }
        self.profiles.settle(dst);
        if let Some(partner) = self.profiles.get_mut(dst) {
            partner.talked = partner.talked.max(now);
            if let Some(prefix) = prefix_of(partner) {
                // Outside, one IPv6 owner has 64 bits, and one /64 many servers: what is a partner is the /64.
                remember(&mut self.partners6, prefix, now);
                remember(&mut self.lines6, prefix >> 8, now);
            }
        }
    }

    /// An ARP reply to a question that was asked lately proves who owns an address on the link; one that nobody asked for does not.
    fn learn_arp(&mut self, arp: &Arp, src: Option<Slot>, now: PacketTime) {
        self.note_claim(arp, src);
        match arp.op {
            ArpOp::Request => {
                if self.arp_asked.len() >= MAX_ARP_ASKED {
                    self.arp_asked.pop_front();
                }
                self.arp_asked.push_back((arp.sender, arp.target, now));
            }
            ArpOp::Reply => {
                let asked = self.arp_asked.iter().any(|(who, whom, when)| {
                    *who == arp.target && *whom == arp.sender && now.since(*when) <= ARP_ANSWER
                });
                if let Some(src) = src.filter(|_| asked && arp.sender_mac == arp.frame_src) {
                    self.learn_mac(arp.sender_mac, src, now);
                }
            }
        }
    }

    /// The first address that a hardware address claims is the one it is known by, when it claims another one's.
    fn note_claim(&mut self, arp: &Arp, src: Option<Slot>) {
        let Some(profile) = src.and_then(|slot| self.profiles.get(slot)) else { return };
        let claims = profile.local && !profile.addr.is_unspecified() && arp.sender_mac == arp.frame_src;
        // Whoever answers for an address that somebody else owns does not come by a name that way.
        let contested = profile.mac.is_some_and(|owner| owner != arp.sender_mac);
        if claims && !contested && self.owned.len() < self.settings.limits.local_profiles {
            self.owned.entry(arp.sender_mac).or_insert(profile.addr);
        }
    }

    /// `mac` has proven that it uses a local address: it owns it from then on, until it is silent for [`MAC_KEPT_FOR`] and another
    /// one proves the same. So that nobody takes over an address whose owner is there.
    fn learn_mac(&mut self, mac: MacAddr, slot: Slot, now: PacketTime) {
        let Some(profile) = self.profiles.get_mut(slot) else { return };
        if !profile.local || profile.addr.is_unspecified() || self.settings.own_macs.contains(mac) {
            return;
        }
        match profile.mac {
            Some(owner) if owner == mac => profile.mac_seen = now,
            Some(_) if now.since(profile.mac_seen) <= MAC_KEPT_FOR => {}
            former => {
                (profile.mac, profile.mac_seen) = (Some(mac), now);
                let addr = profile.addr;
                self.new_owners.push((addr, mac));
                if let Some(former) = former {
                    self.owned.remove(&former);
                }
                if self.owned.len() < self.settings.limits.local_profiles || self.owned.contains_key(&mac) {
                    self.owned.insert(mac, addr);
                }
            }
        }
    }

    fn open_window(&mut self, index: u32, window: WindowId, dealt: &mut Dealt) {
        if self.open.contains(&window) {
            return;
        }
        self.open.insert(window);
        if self.open.len() > MAX_OPEN_WINDOWS
            && let Some(oldest) = self.open.pop_first()
        {
            self.close(index, oldest, self.clock.now(), dealt);
        }
    }

    fn tick(&mut self, index: u32, dealt: &mut Dealt) {
        let now = self.clock.now();
        while let Some(&window) = self.open.first() {
            if self.settings.width.end_of(window) + self.settings.lateness > now {
                break;
            }
            self.open.pop_first();
            self.close(index, window, now, dealt);
        }
        dealt.push_all(&Op::Tick { event: index, now });
    }

    fn close(&mut self, index: u32, window: WindowId, now: PacketTime, dealt: &mut Dealt) {
        self.closed_upto = self.closed_upto.max(window);
        dealt.closed.push((index, window, now));
        dealt.push_all(&Op::Close { event: index, now, window });
    }
}

/// What one batch becomes, while it is dealt.
struct Dealt {
    ops: Vec<Vec<Op>>,
    new_profiles: Vec<(IpAddr, PacketTime)>,
    closed: Vec<(u32, WindowId, PacketTime)>,
    advice: Vec<(u32, PacketTime)>,
    learnt: Vec<(u32, PacketTime, Learnt)>,
}

impl Dealt {
    fn new(shards: usize, ops_hint: usize) -> Self {
        Self {
            ops: (0..shards).map(|_| Vec::with_capacity(ops_hint)).collect(),
            new_profiles: Vec::new(),
            closed: Vec::new(),
            advice: Vec::new(),
            learnt: Vec::new(),
        }
    }

    fn push(&mut self, shard: usize, op: Op) {
        if let Some(ops) = self.ops.get_mut(shard) {
            ops.push(op);
        }
    }

    fn push_all(&mut self, op: &Op) {
        for ops in &mut self.ops {
            ops.push(op.clone());
        }
    }
}
