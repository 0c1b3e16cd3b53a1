//! Counts per key in a window that climb a ladder: the same fact, however often it is seen, is one evidence that grows.
//!
//! A detection that judges single records says what its key is and what its steps are; this keeps the counts, their bounds, and
//! the rule that of one source and window only so many keys weigh anything, so that many small things never add up to an alert.

use std::hash::Hash;
use std::net::IpAddr;

use slips_core::detector::{Cx, Slot};
use slips_core::evidence::{EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Uid};
use slips_core::state::Windowed;
use slips_core::time::{PacketTime, WindowId};

use crate::attempt;
use crate::ladder::{self, Ladder, Rung};
use crate::table::Table;
use crate::tally::{Distinct, Once, Trail};

/// How much is remembered of one source in one window.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Keys; those with the lowest counts make room.
    pub keys: usize,
    /// Keys of each level that weigh anything (see [`Steps::add_capped`]); what further ones say is info.
    pub weighing: u32,
}

const LEVELS: usize = ThreatLevel::Critical as usize + 1;

#[derive(Debug)]
struct Counts<K> {
    once: Once,
    keys: Table<K, Count>,
    /// By the level that they may reach at most: those that may reach little take no place of those that may reach more.
    weighing: [u32; LEVELS],
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { once: Once::default(), keys: Table::default(), weighing: [0; LEVELS] }
    }
}

#[derive(Debug, Default)]
struct Count {
    n: u32,
    /// How many of them were proven.
    proven: u32,
    members: Option<Box<Distinct<u64>>>,
    trail: Trail,
    told: u8,
    /// The highest step that was told as proven.
    told_proven: u8,
    weighs: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Steps<K> {
    ladder: Ladder,
    limits: Limits,
    state: Windowed<Counts<K>>,
}

/// A step that was just reached.
#[derive(Debug)]
pub struct Reached {
    /// The count.
    pub n: u32,
    /// The step.
    pub rung: Rung,
    /// Whether those that were proven reach it alone: one genuine packet never proves forged ones.
    pub proof: Proof,
    /// Flows since the step before.
    pub uids: Vec<Uid>,
}

impl Reached {
    /// The finding that `attacker` reached this step.
    pub fn finding(self, cx: &Cx<'_>, kind: EvidenceKind, attacker: IpAddr, at: PacketTime) -> Finding {
        Finding { uids: self.uids, ..ladder::finding(cx, kind, attacker, self.rung, at) }
    }
}

impl<K: Copy + Eq + Hash> Steps<K> {
    /// Counts that climb `ladder`.
    pub fn new(ladder: Ladder, limits: Limits) -> Self {
        Self { ladder, limits, state: Windowed::default() }
    }

    /// Counts one more of `key` for the profile and window at hand, proven by its source's hardware address.
    pub fn add(&mut self, cx: &Cx<'_>, key: K, uid: Uid) -> Option<Reached> {
        self.add_with(cx, key, uid, attempt::proof_of_source(cx.facts()))
    }

    /// Counts one more of `key`, with such a proof.
    pub fn add_with(&mut self, cx: &Cx<'_>, key: K, uid: Uid, proof: Proof) -> Option<Reached> {
        self.add_capped(cx, key, uid, proof, ThreatLevel::Critical)
    }

    /// Counts one more of `key`, with such a proof, which is of this level at most. Keys of different levels take no place of each
    /// other's, and those of none take no place at all.
    pub fn add_capped(
        &mut self,
        cx: &Cx<'_>,
        key: K,
        uid: Uid,
        proof: Proof,
        most: ThreatLevel,
    ) -> Option<Reached> {
        self.climb(cx, key, uid, (proof, most), |count| {
            count.n = count.n.saturating_add(1);
            true
        })
    }

    /// Counts `member` of `key`, unless it was counted before, proven by its source's hardware address.
    pub fn add_distinct(&mut self, cx: &Cx<'_>, key: K, member: u64, uid: Uid) -> Option<Reached> {
        self.add_proven(cx, key, member, uid, attempt::proof_of_source(cx.facts()))
    }

    /// Counts `member` of `key`, unless it was counted before, with such a proof.
    pub fn add_proven(
        &mut self,
        cx: &Cx<'_>,
        key: K,
        member: u64,
        uid: Uid,
        proof: Proof,
    ) -> Option<Reached> {
        self.climb(cx, key, uid, (proof, ThreatLevel::Critical), |count| {
            let members = count.members.get_or_insert_default();
            let new = members.insert(member);
            count.n = members.len();
            new
        })
    }

    fn climb(
        &mut self,
        cx: &Cx<'_>,
        key: K,
        uid: Uid,
        (proof, most): (Proof, ThreatLevel),
        count_up: impl FnOnce(&mut Count) -> bool,
    ) -> Option<Reached> {
        let counts = self.state.get_or_default(cx.slot(), cx.window());
        let count = counts.keys.get_or_insert(key, self.limits.keys, |count| u64::from(count.n))?;
        if !count_up(count) {
            return None;
        }
        count.proven = count.proven.saturating_add(u32::from(proof == Proof::Proven));
        count.trail.push(uid);
        let step = self.ladder.step(count.n);
        let (rises, proven) = (ladder::climb(&mut count.told, step), self.ladder.step(count.proven));
        let mut rung = self.ladder.at_step(step)?;
        rung.level = rung.level.min(most);
        // What was told as unproven is told again when those that are proven have come as far.
        let proves = proven >= step && step > count.told_proven && rung.level > ThreatLevel::Info;
        if !rises && !proves {
            return None;
        }
        if !count.weighs
            && rung.level > ThreatLevel::Info
            && let Some(weighing) = counts.weighing.get_mut(most as usize)
            && *weighing < self.limits.weighing
        {
            *weighing += 1;
            count.weighs = true;
        }
        if !count.weighs {
            rung.level = ThreatLevel::Info;
        }
        let proof = attempt::proof_if(proven >= step);
        if proof == Proof::Proven {
            count.told_proven = step;
        }
        Some(Reached { n: count.n, rung, proof, uids: count.trail.take() })
    }

    /// Whether to count this flow now, which may have been counted at an earlier moment of its life.
    pub fn first(&mut self, cx: &Cx<'_>, flow: &Flow) -> bool {
        let counts = self.state.get_or_default(cx.slot(), cx.window());
        counts.once.first(flow)
    }

    /// Drops a window that has passed.
    pub fn close(&mut self, window: WindowId) {
        self.state.close(window, |_, _| {});
    }

    /// Drops a profile.
    pub fn forget(&mut self, slot: Slot) {
        self.state.forget(slot);
    }
}

/// Writes the part of a detector that is the same for all whose state is `Steps`.
macro_rules! in_steps {
    ($($($field:ident).+),+) => {
        fn spec(&self) -> &'static slips_core::detector::Spec {
            &SPEC
        }

        fn on_window_close(
            &mut self,
            _out: &mut slips_core::detector::Closing<'_>,
            window: slips_core::time::WindowId,
        ) {
            $(self.$($field).+.close(window);)+
        }

        fn forget(&mut self, slot: slips_core::detector::Slot) {
            $(self.$($field).+.forget(slot);)+
        }
    };
}
pub(crate) use in_steps;

/// A text as a member of [`Steps::add_distinct`]; fixed, because the same input must give the same result in every run.
pub fn member_of(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// An address as a member of [`Steps::add_distinct`].
pub fn member_of_ip(addr: IpAddr) -> u64 {
    match addr {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64 ^ (v6.to_bits() as u64).rotate_left(31),
    }
}
