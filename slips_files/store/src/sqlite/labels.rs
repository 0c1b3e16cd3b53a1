//! Which flows are malicious: those that an alert names, whether they were stored before it or come after it.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

use rusqlite::{Connection, OptionalExtension, params};
use slips_core::evidence::{Evidence, EvidenceId};
use slips_core::flow::Uid;
use slips_core::time::PacketTime;

/// Label of a stored flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowLabel {
    Benign,
    Malicious,
}

impl FlowLabel {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::Malicious => "malicious",
        }
    }
}

/// Uids named by alerts whose flows may still come.
const MAX_UIDS: usize = 65_536;
/// Evidence of alerts; what they name later is malicious too.
const MAX_EVIDENCE: usize = 16_384;

/// What alerts have named, and the fingerprints of the flows being stored.
pub(super) struct Labels {
    named: Remembered<Uid>,
    alerted: Remembered<EvidenceId>,
    /// Named, and not yet looked for among the stored flows.
    unsought: Vec<(Uid, PacketTime)>,
    seed: u64,
    first: i64,
    last_start: i64,
    fingerprints: Vec<u8>,
}

impl Labels {
    pub(super) fn new() -> Self {
        Self {
            named: Remembered::new(MAX_UIDS),
            alerted: Remembered::new(MAX_EVIDENCE),
            unsought: Vec::new(),
            seed: 0,
            first: 0,
            last_start: i64::MIN,
            fingerprints: Vec::new(),
        }
    }

    /// Takes the key of the fingerprints from the database, or gives it one.
    pub(super) fn load_seed(&mut self, db: &Connection) -> rusqlite::Result<()> {
        db.execute("INSERT OR IGNORE INTO meta VALUES ('flow_index_seed', random())", [])?;
        let seed: Option<i64> = db
            .query_row("SELECT value FROM meta WHERE key = 'flow_index_seed'", [], |row| row.get(0))
            .optional()?;
        self.seed = seed.unwrap_or_default() as u64;
        Ok(())
    }

    /// The key of the fingerprints.
    pub(super) const fn seed(&self) -> u64 {
        self.seed
    }

    /// How many uids still to be found may have been forgotten for lack of room.
    pub(super) const fn forgotten(&self) -> u64 {
        self.named.forgotten
    }

    /// The flows of this evidence are malicious, those that it names later included.
    pub(super) fn alert(&mut self, evidence: &Evidence, window_start: PacketTime) {
        self.alerted.insert(evidence.id);
        self.name_flows(evidence, window_start);
    }

    /// An evidence was told again; if an alert has named it, its flows are malicious.
    pub(super) fn evidence(&mut self, evidence: &Evidence) {
        if self.alerted.contains(&evidence.id) {
            // Its first flow may be as old as the window; the evidence knows only when it was first found.
            self.name_flows(evidence, PacketTime::MIN);
        }
    }

    fn name_flows(&mut self, evidence: &Evidence, since: PacketTime) {
        for uid in evidence.finding.uids.iter().filter(|uid| !uid.is_empty()) {
            if self.named.insert(*uid) {
                self.unsought.push((*uid, since));
            }
        }
    }

    /// The label of a flow that is stored now.
    pub(super) fn of(&self, uid: &Uid) -> FlowLabel {
        if self.named.contains(uid) { FlowLabel::Malicious } else { FlowLabel::Benign }
    }

    /// A transaction begins whose first flow will have the id `first`.
    pub(super) fn begin(&mut self, first: i64) {
        self.first = first;
        self.last_start = i64::MIN;
        self.fingerprints.clear();
    }

    /// A flow was stored under the next id.
    pub(super) fn stored(&mut self, uid: &Uid, start: PacketTime) {
        self.last_start = self.last_start.max(start.0);
        self.fingerprints.extend_from_slice(&fingerprint(self.seed, uid).to_le_bytes());
    }

    /// The transaction's flows are all stored: keeps their fingerprints, then relabels the stored flows that were named.
    /// What was named is still sought until [`committed`](Self::committed) says that the disk has it.
    pub(super) fn end(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if !self.fingerprints.is_empty() {
            db.prepare_cached("INSERT INTO flow_index VALUES (?, ?, ?)")?.execute(params![
                self.first,
                self.last_start,
                self.fingerprints
            ])?;
        }
        if self.unsought.is_empty() { Ok(()) } else { self.relabel(db) }
    }

    /// The transaction is on disk.
    pub(super) fn committed(&mut self) {
        self.unsought.clear();
    }

    /// One pass over the fingerprints of all flows that can be meant: 4 bytes per flow, in order.
    fn relabel(&self, db: &Connection) -> rusqlite::Result<()> {
        let since = self.unsought.iter().map(|(_, since)| *since).min().unwrap_or(PacketTime::MIN);
        let mut sought: Vec<(u32, &Uid)> =
            self.unsought.iter().map(|(uid, _)| (fingerprint(self.seed, uid), uid)).collect();
        sought.sort_unstable();
        let sieve = Sieve::new(sought.iter().map(|(print, _)| *print));
        let mut blocks =
            db.prepare_cached("SELECT first, fingerprints FROM flow_index WHERE last_start >= ?")?;
        let mut update = db.prepare_cached("UPDATE flows SET label = ? WHERE id = ? AND uid = ?")?;
        let mut rows = blocks.query([since.0])?;
        while let Some(row) = rows.next()? {
            let first: i64 = row.get(0)?;
            let prints = row.get_ref(1)?.as_blob().unwrap_or_default();
            for (id, bytes) in (first..).zip(prints.as_chunks::<4>().0) {
                let print = u32::from_le_bytes(*bytes);
                if !sieve.may_hold(print) {
                    continue;
                }
                let from = sought.partition_point(|(sought, _)| *sought < print);
                let same = sought.iter().skip(from).take_while(|(sought, _)| *sought == print);
                for (_, uid) in same {
                    update.execute(params![FlowLabel::Malicious.name(), id, uid.as_str()])?;
                }
            }
        }
        Ok(())
    }
}

/// The last so many values, the oldest forgotten first.
struct Remembered<T> {
    set: HashSet<T>,
    order: VecDeque<T>,
    room: usize,
    forgotten: u64,
}

impl<T: Copy + Eq + Hash> Remembered<T> {
    fn new(room: usize) -> Self {
        Self { set: HashSet::new(), order: VecDeque::new(), room, forgotten: 0 }
    }

    fn contains(&self, value: &T) -> bool {
        !self.set.is_empty() && self.set.contains(value)
    }

    /// False when it was there already.
    fn insert(&mut self, value: T) -> bool {
        if !self.set.insert(value) {
            return false;
        }
        if self.order.len() >= self.room
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
            self.forgotten += 1;
        }
        self.order.push_back(value);
        true
    }
}

/// A small bit table that says at once of nearly all fingerprints that they are not sought.
struct Sieve(Box<[u64]>);

impl Sieve {
    /// 2^20 bits: 128 KiB, of which 65,536 fingerprints set a sixteenth.
    const BITS: u32 = 20;

    fn new(prints: impl Iterator<Item = u32>) -> Self {
        let mut words = vec![0u64; 1 << (Self::BITS - 6)].into_boxed_slice();
        for print in prints {
            let bit = print >> (32 - Self::BITS);
            if let Some(word) = words.get_mut((bit >> 6) as usize) {
                *word |= 1 << (bit & 63);
            }
        }
        Self(words)
    }

    fn may_hold(&self, print: u32) -> bool {
        let bit = print >> (32 - Self::BITS);
        self.0.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1)
    }
}

/// 32 bits of a keyed mix (multiply and fold, 8 bytes at a time). It must stay the same for the life of a database, which
/// std's hashers do not promise; two flows with one fingerprint cost a look at the row, nothing more.
pub(super) fn fingerprint(seed: u64, uid: &Uid) -> u32 {
    fingerprint_of(seed, uid.as_str().as_bytes())
}

/// The same of any bytes.
pub(super) fn fingerprint_of(seed: u64, bytes: &[u8]) -> u32 {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut mix = |word: u64| {
        let product = u128::from(state ^ word) * 0x2d35_8dcc_aa6c_78a5_u128;
        state = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(32);
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        mix(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    mix(u64::from_le_bytes(last));
    mix(bytes.len() as u64);
    (state >> 32) as u32 ^ state as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_counted() {
        let mut last = Remembered::new(2);
        assert!(last.insert(1) && last.insert(2) && !last.insert(1) && last.insert(3));
        assert_eq!((last.contains(&1), last.contains(&2), last.contains(&3)), (false, true, true));
        assert_eq!(last.forgotten, 1);
    }

    #[test]
    fn fingerprints_are_spread_keyed_and_never_change() {
        let uid = |n: u32| Uid::from(format!("C{n}").as_str());
        let prints: HashSet<u32> = (0..10_000).map(|n| fingerprint(7, &uid(n))).collect();
        assert!(prints.len() > 9_990, "{}", prints.len());
        let sieve = Sieve::new([fingerprint(7, &uid(1))].into_iter());
        let kept = (0..10_000).filter(|n| sieve.may_hold(fingerprint(7, &uid(*n)))).count();
        assert!((1..20).contains(&kept), "{kept}");
        assert_ne!(fingerprint(7, &uid(1)), fingerprint(8, &uid(1)));
        assert_eq!(fingerprint(0, &Uid::from("CHhAvVGS1DHFjwGM9")), 3_732_274_792);
    }
}
