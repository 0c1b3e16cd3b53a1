//! The router: numbers events, keeps the clock, gives addresses their slots, and deals the work to the shards.
//!
//! Everything that is not per profile is decided here, in the order of the input, so that no result depends on the shards.

mod facts;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::detector::{Facts, LINK, Role, Slot};
use crate::event::{Event, EventKind};
use crate::flow::MacAddr;
use crate::hash::KeyedState;
use crate::record::{Batch, Stats};
use crate::settings::{Direction, MAX_PARTNERS, Settings};
use crate::time::{PacketTime, WindowId};

use super::gate::{Gate, Learnt};
use super::profiles::{LINK_SLOT, Profiles};
use facts::{TALKED_FOR, before_of};

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

/// Profiles that are retired before one batch: a second's batches retire all, and none of them is held up.
const RETIRED_AT_ONCE: usize = 2_048;
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
