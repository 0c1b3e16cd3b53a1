//! The contract between the engine and a detection.

use std::net::IpAddr;

use crate::addr::LocalNets;
use crate::event::Event;
use crate::evidence::{Finding, Proof};
use crate::flow::MacAddr;
pub use crate::spec::{Header, Role, Rung, Spec, Threshold, Unit, Usual};
use crate::time::{PacketTime, WindowId};

/// A profile's place in a shard's tables: dense, from 0, reused after [`Detector::forget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

impl Slot {
    /// As an index into a vector.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The profile that stands for the link: the group of all its hosts (RFC 1112).
pub const LINK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(224, 0, 0, 1));

/// A detection. One value of it lives in each shard and sees the events of that shard's profiles, in the order of the input.
///
/// State is kept per [`Slot`] (see [`crate::state`]); it must depend on nothing but the events of that profile, so that the
/// number of shards never changes a result.
pub trait Detector: Send {
    /// What it is.
    fn spec(&self) -> &'static Spec;

    /// An event of the profile `cx.profile()`.
    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event);

    /// A moment asked for with [`Cx::wake_at`] has come.
    fn on_timer(&mut self, _cx: &mut Cx<'_>, _tag: u64) {}

    /// Packet time has left `window` behind. Windowed state of it can be judged and dropped.
    fn on_window_close(&mut self, _out: &mut Closing<'_>, _window: WindowId) {}

    /// A second of packet time has passed: what was replaced meanwhile (see [`crate::intel::Reader`]) is let go of, though nobody looks
    /// anything up.
    fn renew(&mut self) {}

    /// The profile in this slot is forgotten; the slot will hold another one.
    fn forget(&mut self, slot: Slot);
}

/// What the router knows about the two sides of an event when it happens. The same for any number of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The source is one of our hosts.
    pub src_local: bool,
    /// The destination is one of our hosts.
    pub dst_local: bool,
    /// A local host lately had a proven conversation with the source, which the local host began.
    pub src_talked: bool,
    /// A local host lately had a proven conversation with the destination, which the local host began.
    pub dst_talked: bool,
    /// A local host lately had one with anybody in the source's /56 of IPv6.
    pub src_near_partner: bool,
    /// A local host lately had one with anybody in the destination's /56 of IPv6.
    pub dst_near_partner: bool,
    /// The source's frames come from the hardware address that owns its address.
    pub src_on_link: bool,
    /// A record of a TCP connection whose client acknowledged nothing that the server really sent, or anything that was seen
    /// within other packets: anybody may have made it up.
    pub unheard: bool,
    /// A DNS exchange of one of our hosts with a resolver of ours; known only where the whitelist asks for it.
    pub resolved: bool,
    /// ARP and neighbour discovery only: the local address that the sender's hardware address owns, where that is not the sender's
    /// address.
    pub src_mac_owner: Option<IpAddr>,
    /// ARP only: the hardware address that owns the sender's address, and when it last proved that.
    pub src_held_by: Option<(MacAddr, PacketTime)>,
}

/// A finding with what the engine needs to put it in order and to judge it.
#[derive(Clone, Debug)]
pub(crate) struct Emitted {
    pub(crate) key: OrderKey,
    pub(crate) finding: Finding,
    pub(crate) in_conversation: bool,
    pub(crate) near_conversation: bool,
    pub(crate) attacker_is_local: bool,
    /// The sides of the event at hand, as far as there is one.
    pub(crate) src: Option<IpAddr>,
    pub(crate) dst: Option<IpAddr>,
    /// See [`Facts`].
    pub(crate) resolved: bool,
}

/// The place of a finding in the one order that all shard counts share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrderKey {
    /// Number of the event.
    pub(crate) seq: u64,
    /// Before the event (window close 0, timer 1), or from its source (2) or destination side (3).
    pub(crate) stage: u8,
    /// Which window closes; 0 for everything else.
    pub(crate) window: WindowId,
    /// Whose behaviour: distinct for shards within one `seq` and `stage`.
    pub(crate) profile: IpAddr,
    /// Place of the detector in the registry.
    pub(crate) detector: u16,
    /// Count within one call.
    pub(crate) n: u32,
}

/// A wish for a later call of [`Detector::on_timer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wake {
    pub(crate) at: PacketTime,
    pub(crate) slot: Slot,
    pub(crate) detector: u16,
    pub(crate) tag: u64,
}

/// What a detector can know and do while it looks at an event or a timer.
pub struct Cx<'a> {
    pub(crate) slot: Slot,
    pub(crate) profile: IpAddr,
    pub(crate) role: Role,
    pub(crate) window: WindowId,
    pub(crate) now: PacketTime,
    pub(crate) facts: Facts,
    pub(crate) src: Option<IpAddr>,
    pub(crate) dst: Option<IpAddr>,
    pub(crate) local_nets: &'a LocalNets,
    pub(crate) key: OrderKey,
    pub(crate) out: &'a mut Vec<Emitted>,
    pub(crate) wakes: &'a mut Vec<Wake>,
}

impl Cx<'_> {
    /// The slot of the profile at hand.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// The address of the profile at hand.
    pub const fn profile(&self) -> IpAddr {
        self.profile
    }

    /// Which side of the event the profile is.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The window to which the event belongs.
    pub const fn window(&self) -> WindowId {
        self.window
    }

    /// The engine's clock: the latest moment that the input has reached.
    pub const fn now(&self) -> PacketTime {
        self.now
    }

    /// What is known about the two sides.
    pub const fn facts(&self) -> Facts {
        self.facts
    }

    /// Whether `addr` is one of our hosts.
    pub fn is_local(&self, addr: IpAddr) -> bool {
        self.local_nets.contains(addr)
    }

    /// Says a finding. Nothing else leaves a detector. What a record says that anybody may have made up is unproven.
    pub fn emit(&mut self, mut finding: Finding) {
        if self.facts.unheard {
            finding.proof = Proof::Unproven;
        }
        let attacker = finding.attacker.ip();
        let in_conversation = (attacker == self.src && self.facts.src_talked)
            || (attacker == self.dst && self.facts.dst_talked);
        let near = (attacker == self.src && self.facts.src_near_partner)
            || (attacker == self.dst && self.facts.dst_near_partner);
        // Of who is neither side nothing is known.
        let near_conversation = near || !(attacker == self.src || attacker == self.dst);
        let attacker_is_local = attacker.is_some_and(|ip| self.local_nets.contains(ip));
        self.out.push(Emitted {
            key: self.key,
            finding,
            in_conversation,
            near_conversation,
            attacker_is_local,
            src: self.src,
            dst: self.dst,
            resolved: self.facts.resolved,
        });
        self.key.n += 1;
    }

    /// Says two findings that tell one story from both sides, in this order: each names the other.
    pub fn emit_both(&mut self, mut first: Finding, mut second: Finding) {
        first.related.push(second.id());
        second.related.push(first.id());
        self.emit(first);
        self.emit(second);
    }

    /// Asks for [`Detector::on_timer`] with `tag` at the first tick (one per second of packet time) not before `at`.
    pub fn wake_at(&mut self, at: PacketTime, tag: u64) {
        self.wakes.push(Wake { at, slot: self.slot, detector: self.key.detector, tag });
    }
}

/// What a detector can do while a window closes: say findings about profiles it remembers.
pub struct Closing<'a> {
    pub(crate) now: PacketTime,
    pub(crate) local_nets: &'a LocalNets,
    pub(crate) key: OrderKey,
    pub(crate) out: &'a mut Vec<Emitted>,
}

impl Closing<'_> {
    /// The engine's clock.
    pub const fn now(&self) -> PacketTime {
        self.now
    }

    /// Says a finding. They are ordered by profile and then by the order of the calls.
    pub fn emit(&mut self, finding: Finding) {
        let attacker_is_local = finding.attacker.ip().is_some_and(|ip| self.local_nets.contains(ip));
        self.key.profile = finding.profile;
        let src = Some(finding.profile);
        // With whom else a local host talked is known of an event only.
        let (in_conversation, near_conversation) = (false, true);
        self.out.push(Emitted {
            key: self.key,
            finding,
            in_conversation,
            near_conversation,
            attacker_is_local,
            src,
            dst: None,
            resolved: false,
        });
        self.key.n += 1;
    }
}

/// A bench for detectors: feeds events to one detector as a shard would, and returns what it said.
///
/// It has no clock rules, no eviction and no accumulation; for those, run the whole [`crate::engine::Engine`].
pub struct Bench {
    detector: Box<dyn Detector>,
    width: crate::time::WindowWidth,
    local_nets: LocalNets,
    profiles: Vec<IpAddr>,
    facts: Facts,
    now: PacketTime,
    wakes: Vec<Wake>,
    seq: u64,
}

impl Bench {
    /// A bench around `detector`, with one-hour windows and private networks as local.
    pub fn new(detector: Box<dyn Detector>) -> Self {
        Self {
            detector,
            width: crate::time::WindowWidth::HOUR,
            local_nets: LocalNets::private(),
            profiles: Vec::new(),
            facts: Facts::default(),
            now: PacketTime::MIN,
            wakes: Vec::new(),
            seq: 0,
        }
    }

    /// Sets the facts that are not derived from addresses (`…_talked`, `src_on_link`) for the events that follow.
    pub fn facts(&mut self, facts: Facts) {
        self.facts = facts;
    }

    /// Sets which networks are ours.
    pub fn local_nets(&mut self, nets: LocalNets) {
        self.local_nets = nets;
    }

    fn slot_of(&mut self, addr: IpAddr) -> Slot {
        let at = self.profiles.iter().position(|known| *known == addr).unwrap_or_else(|| {
            self.profiles.push(addr);
            self.profiles.len() - 1
        });
        Slot(at as u32)
    }

    /// Shows one event from every side that the detector wants, and returns the findings.
    pub fn feed(&mut self, event: &Event) -> Vec<Finding> {
        self.now = self.now.max(event.known_at());
        let spec = self.detector.spec();
        let (src, dst) = event.parties();
        let mut out = Vec::new();
        if spec.events.contains(&event.kind()) {
            let link = event.is_of_link().then_some(LINK);
            for (role, party) in [(Role::Src, src), (Role::Dst, dst), (Role::Link, link)] {
                let Some(profile) = party.filter(|_| spec.roles.contains(&role)) else { continue };
                let slot = self.slot_of(profile);
                let facts = Facts {
                    src_local: src.is_some_and(|ip| self.local_nets.contains(ip)),
                    dst_local: dst.is_some_and(|ip| self.local_nets.contains(ip)),
                    unheard: event.is_unheard(),
                    ..self.facts
                };
                let mut cx = Cx {
                    slot,
                    profile,
                    role,
                    window: self.width.window_of(event.time()),
                    now: self.now,
                    facts,
                    src,
                    dst,
                    local_nets: &self.local_nets,
                    key: OrderKey {
                        seq: self.seq,
                        stage: 2,
                        window: WindowId(0),
                        profile,
                        detector: 0,
                        n: 0,
                    },
                    out: &mut out,
                    wakes: &mut self.wakes,
                };
                self.detector.on_event(&mut cx, event);
            }
        }
        self.seq += 1;
        out.into_iter().map(|emitted| emitted.finding).collect()
    }

    /// Moves the clock to `now`, calling the timers that fall due, and returns the findings.
    pub fn advance(&mut self, now: PacketTime) -> Vec<Finding> {
        self.now = self.now.max(now);
        let mut out = Vec::new();
        let (mut due, later): (Vec<_>, Vec<_>) = self.wakes.drain(..).partition(|wake| wake.at <= now);
        self.wakes = later;
        due.sort_unstable();
        for wake in due {
            let Some(profile) = self.profiles.get(wake.slot.index()).copied() else { continue };
            let mut cx = Cx {
                slot: wake.slot,
                profile,
                role: Role::Src,
                window: self.width.window_of(wake.at),
                now: self.now,
                facts: Facts::default(),
                src: Some(profile),
                dst: None,
                local_nets: &self.local_nets,
                key: OrderKey { seq: self.seq, stage: 1, window: WindowId(0), profile, detector: 0, n: 0 },
                out: &mut out,
                wakes: &mut self.wakes,
            };
            self.detector.on_timer(&mut cx, wake.tag);
        }
        out.into_iter().map(|emitted| emitted.finding).collect()
    }

    /// Closes a window and returns the findings.
    pub fn close(&mut self, window: WindowId) -> Vec<Finding> {
        let mut out = Vec::new();
        let nobody = IpAddr::from([0, 0, 0, 0]);
        let mut closing = Closing {
            now: self.now,
            local_nets: &self.local_nets,
            key: OrderKey {
                seq: self.seq,
                stage: 0,
                window: WindowId(0),
                profile: nobody,
                detector: 0,
                n: 0,
            },
            out: &mut out,
        };
        self.detector.on_window_close(&mut closing, window);
        out.into_iter().map(|emitted| emitted.finding).collect()
    }

    /// Forgets a profile.
    pub fn forget(&mut self, addr: IpAddr) {
        let slot = self.slot_of(addr);
        self.detector.forget(slot);
    }
}
