//! A shard: the detectors of a share of the profiles. Shards share nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::detector::{Closing, Cx, Detector, Emitted, Facts, OrderKey, Role, Slot, Wake};
use crate::event::{Event, EventKind};
use crate::settings::Settings;
use crate::time::{PacketTime, WindowId};

use super::meter::Nanos;
use super::router::{Job, Op, Wants};

/// Stages within one event number: what a closing window says comes first, then timers, then the event from each side.
const STAGE_CLOSE: u8 = 0;
const STAGE_TIMER: u8 = 1;
const STAGE_SRC: u8 = 2;
const STAGE_DST: u8 = 3;
const STAGE_LINK: u8 = 4;

/// Timers that may stand open in one shard; beyond it new ones are not taken. Detectors ask for a handful per profile.
const MAX_WAKES: usize = 1 << 20;

/// The profile in a slot, and how many were there before it.
#[derive(Clone, Copy, Default)]
struct Owner {
    profile: Option<IpAddr>,
    generation: u32,
}

pub(super) struct Shard {
    settings: Arc<Settings>,
    /// Jobs so far, and the clock while one is measured.
    jobs: u64,
    clock: Option<Nanos>,
    detectors: Vec<Box<dyn Detector>>,
    /// Which detectors see an event of a kind from a side.
    audience: Vec<[Vec<u16>; Role::COUNT]>,
    /// Who has timers in each slot.
    owners: Vec<Owner>,
    wakes: BTreeSet<(Wake, u32)>,
    fresh: Vec<Wake>,
}

impl Shard {
    pub(super) fn new(settings: Arc<Settings>, detectors: Vec<Box<dyn Detector>>) -> Self {
        let mut audience: Vec<[Vec<u16>; Role::COUNT]> =
            (0..EventKind::COUNT).map(|_| Default::default()).collect();
        for (at, detector) in detectors.iter().enumerate() {
            let spec = detector.spec();
            for kind in spec.events {
                for role in spec.roles {
                    if let Some(listeners) =
                        audience.get_mut(*kind as usize).and_then(|roles| roles.get_mut(*role as usize))
                    {
                        listeners.push(at as u16);
                    }
                }
            }
        }
        settings.meter.of(detectors.iter().map(|detector| detector.spec().name));
        Self {
            settings,
            jobs: 0,
            clock: None,
            detectors,
            audience,
            owners: Vec::new(),
            wakes: BTreeSet::new(),
            fresh: Vec::new(),
        }
    }

    /// What any detector wants to see.
    pub(super) fn wants(&self) -> Wants {
        let mut wants = Wants::default();
        for detector in &self.detectors {
            let spec = detector.spec();
            for kind in spec.events {
                for role in spec.roles {
                    wants.add(*kind, *role);
                }
            }
        }
        wants
    }

    /// Does one job, in order.
    pub(super) fn run(&mut self, job: &Job, out: &mut Vec<Emitted>) {
        self.clock = self.settings.meter.clock_for(self.jobs);
        self.jobs = self.jobs.wrapping_add(1);
        let before = out.len();
        for op in &job.ops {
            match *op {
                Op::See { event, role, slot, profile, window, now, facts } => {
                    let Some(seen) = job.batch.get(event as usize) else { continue };
                    let seq = job.first + u64::from(event);
                    self.see(seen, seq, role, slot, profile, window, now, facts, out);
                }
                Op::Tick { event, now } => self.tick(job.first + u64::from(event), now, out),
                Op::Close { event, now, window } => {
                    self.close(job.first + u64::from(event), now, window, out);
                }
                Op::Forget { slot } => self.forget(slot),
            }
        }
        for emitted in out.iter().skip(before) {
            self.settings.meter.found(emitted.key.detector);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of Op::See, spread out once")]
    fn see(
        &mut self,
        event: &Event,
        seq: u64,
        role: Role,
        slot: Slot,
        profile: IpAddr,
        window: WindowId,
        now: PacketTime,
        facts: Facts,
        out: &mut Vec<Emitted>,
    ) {
        let Some(listeners) =
            self.audience.get(event.kind() as usize).and_then(|roles| roles.get(role as usize))
        else {
            return;
        };
        let (src, dst) = event.parties();
        let stage = match role {
            Role::Src => STAGE_SRC,
            Role::Dst => STAGE_DST,
            Role::Link => STAGE_LINK,
        };
        for &at in listeners {
            let Some(detector) = self.detectors.get_mut(usize::from(at)) else { continue };
            let mut cx = Cx {
                slot,
                profile,
                role,
                window,
                now,
                facts,
                src,
                dst,
                local_nets: &self.settings.local_nets,
                key: OrderKey { seq, stage, window: WindowId(0), profile, detector: at, n: 0 },
                out,
                wakes: &mut self.fresh,
            };
            let Some(clock) = self.clock else {
                detector.on_event(&mut cx, event);
                continue;
            };
            let began = clock();
            detector.on_event(&mut cx, event);
            self.settings.meter.took(at, clock().saturating_sub(began));
        }
        if !self.fresh.is_empty() {
            self.take_wakes(slot, profile);
        }
    }

    fn take_wakes(&mut self, slot: Slot, profile: IpAddr) {
        if slot.index() >= self.owners.len() {
            self.owners.resize(slot.index() + 1, Owner::default());
        }
        let Some(owner) = self.owners.get_mut(slot.index()) else { return };
        owner.profile = Some(profile);
        for wake in self.fresh.drain(..) {
            if self.wakes.len() < MAX_WAKES {
                self.wakes.insert((wake, owner.generation));
            }
        }
    }

    fn tick(&mut self, seq: u64, now: PacketTime, out: &mut Vec<Emitted>) {
        self.detectors.iter_mut().for_each(|detector| detector.renew());
        while self.wakes.first().is_some_and(|(wake, _)| wake.at <= now) {
            let Some((wake, generation)) = self.wakes.pop_first() else { return };
            let Some(owner) = self.owners.get(wake.slot.index()) else { continue };
            let Some(profile) = owner.profile.filter(|_| owner.generation == generation) else { continue };
            let Some(detector) = self.detectors.get_mut(usize::from(wake.detector)) else { continue };
            let mut cx = Cx {
                slot: wake.slot,
                profile,
                role: Role::Src,
                window: self.settings.width.window_of(now),
                now,
                facts: Facts::default(),
                src: Some(profile),
                dst: None,
                local_nets: &self.settings.local_nets,
                key: OrderKey {
                    seq,
                    stage: STAGE_TIMER,
                    window: WindowId(0),
                    profile,
                    detector: wake.detector,
                    n: 0,
                },
                out,
                wakes: &mut self.fresh,
            };
            detector.on_timer(&mut cx, wake.tag);
            self.take_wakes(wake.slot, profile);
        }
    }

    fn close(&mut self, seq: u64, now: PacketTime, window: WindowId, out: &mut Vec<Emitted>) {
        for (at, detector) in self.detectors.iter_mut().enumerate() {
            let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let key =
                OrderKey { seq, stage: STAGE_CLOSE, window, profile: nobody, detector: at as u16, n: 0 };
            let mut closing = Closing { now, local_nets: &self.settings.local_nets, key, out };
            detector.on_window_close(&mut closing, window);
        }
    }

    fn forget(&mut self, slot: Slot) {
        for detector in &mut self.detectors {
            detector.forget(slot);
        }
        // Its timers stay until they fall due, and find nobody: a sweep here would cost all timers per forgotten profile.
        if let Some(owner) = self.owners.get_mut(slot.index()) {
            owner.profile = None;
            owner.generation = owner.generation.wrapping_add(1);
        }
    }
}
