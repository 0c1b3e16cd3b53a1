//! Named blocklists: what this router publishes, and what it follows of others.
//!
//! A list is said in parts of [`MAX_ENTRIES`]; each part has a version, higher than any before. Of all parts that name an entry the one of the
//! highest version decides, so parts may come in any order, and an entry holds as long as that part. A list is said anew
//! before it would end: who was away has all of it within [`AGAIN`]. (Who begins to follow has what was kept for it, at once.)

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use slips_core::addr::Net;

use crate::bucket::{Bucket, Rate};
use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::message::{ListEntries, MAX_ENTRIES, Name};
use crate::moment::Moment;

/// How long a part holds.
pub const HOLDS: Duration = Duration::from_secs(86_400);
/// A list is said anew so often.
pub const AGAIN: Duration = Duration::from_secs(8 * 3600);
/// Most entries of one list, said or followed; followed ones count what was removed lately, too.
pub const MAX_LISTED: usize = 4096;
/// Most lists that one router publishes.
pub const MAX_LISTS: usize = 16;
/// Parts are said no faster than neighbours take control messages of one author.
const PACE: Rate = Rate::per_minute(32, 5);
/// Letters of all entries of one part: well below the largest message.
const PART_BYTES: usize = 8 * 1024;

/// A list of ours as its owner wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its entries.
    pub entries: BTreeSet<Indicator>,
    /// What was on it lately: followers are told that it is not any more.
    pub removed: BTreeSet<Indicator>,
}

/// The lists that this router publishes.
#[derive(Debug)]
pub struct Published {
    lists: BTreeMap<Name, (BTreeSet<Indicator>, Moment)>,
    unsaid: VecDeque<ListEntries>,
    version: u64,
    pace: Bucket,
}

impl Published {
    /// None so far.
    pub fn new(now: Moment) -> Self {
        Self { lists: BTreeMap::new(), unsaid: VecDeque::new(), version: 0, pace: Bucket::new(PACE, now) }
    }

    /// From now on these are the lists, at most [`MAX_LISTS`]. What changed will be [`Published::due`].
    pub fn set(&mut self, wanted: BTreeMap<Name, Wanted>, now: Moment) {
        let gone: Vec<Name> = self.lists.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some((entries, _)) = self.lists.remove(&name) {
                self.say(&name, BTreeSet::new(), entries);
            }
        }
        for (name, Wanted { entries, removed }) in wanted.into_iter().take(MAX_LISTS) {
            let entries: BTreeSet<Indicator> = entries.into_iter().take(MAX_LISTED).collect();
            let (before, next) = match self.lists.get(&name) {
                Some((before, next)) => (before.clone(), *next),
                None => (BTreeSet::new(), now.plus(AGAIN)),
            };
            let fresh = !self.lists.contains_key(&name);
            let mut away: BTreeSet<Indicator> = before.difference(&entries).cloned().collect();
            if fresh {
                away.extend(removed.into_iter().filter(|entry| !entries.contains(entry)).take(MAX_LISTED));
            }
            self.say(&name, entries.difference(&before).cloned().collect(), away);
            self.lists.insert(name, (entries, next));
        }
    }

    /// The next part that is to be said now, for [`HOLDS`].
    pub fn due(&mut self, now: Moment) -> Option<ListEntries> {
        let again: Vec<Name> =
            self.lists.iter().filter(|(_, (_, next))| *next <= now).map(|(name, _)| name.clone()).collect();
        for name in again {
            let Some((entries, next)) = self.lists.get_mut(&name) else { continue };
            *next = now.plus(AGAIN);
            let entries = entries.clone();
            // What waits of it is said with it; what waits to be removed stays.
            self.unsaid.retain(|part| part.list != name || !part.remove.is_empty());
            self.say(&name, entries, BTreeSet::new());
        }
        if self.unsaid.is_empty() || !self.pace.take(1, now) {
            return None;
        }
        let mut part = self.unsaid.pop_front()?;
        // Higher than that of any run before, as long as the clock does not go back.
        self.version = now.0.max(self.version + 1);
        part.version = self.version;
        Some(part)
    }

    fn say(&mut self, list: &Name, add: BTreeSet<Indicator>, remove: BTreeSet<Indicator>) {
        let empty = || ListEntries { list: list.clone(), version: 0, add: Vec::new(), remove: Vec::new() };
        let (mut part, mut bytes) = (empty(), 0);
        let all =
            add.into_iter().map(|entry| (entry, true)).chain(remove.into_iter().map(|entry| (entry, false)));
        for (entry, added) in all {
            let size = entry.to_string().len() + 16;
            let full = part.add.len() + part.remove.len() >= MAX_ENTRIES || bytes + size > PART_BYTES;
            if full {
                self.unsaid.push_back(std::mem::replace(&mut part, empty()));
                bytes = 0;
            }
            bytes += size;
            if added { part.add.push(entry) } else { part.remove.push(entry) }
        }
        if !part.add.is_empty() || !part.remove.is_empty() {
            self.unsaid.push_back(part);
        }
    }
}

/// Which list: its author and its name.
pub type Of = (NodeId, Name);

/// What became of an entry of a followed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is listed, until then unless it is said again.
    Listed {
        /// On which list.
        of: Of,
        /// What.
        indicator: Indicator,
        /// Until when.
        until: Moment,
    },
    /// It is listed no more.
    Unlisted {
        /// On which list.
        of: Of,
        /// What.
        indicator: Indicator,
    },
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    version: u64,
    until: Moment,
    listed: bool,
}

/// The lists that this router follows.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    held: BTreeMap<Of, BTreeMap<Indicator, Entry>>,
    ends: BTreeSet<(Moment, Of, Indicator)>,
    refused: u64,
}

impl Followed {
    /// From now on these lists are followed, and no others. Those that are new here are returned: what is held of their parts
    /// elsewhere can be heard again.
    pub fn set(&mut self, wanted: &BTreeSet<Of>) -> (Vec<Change>, Vec<Of>) {
        let gone: Vec<Of> = self.held.keys().filter(|of| !wanted.contains(*of)).cloned().collect();
        let changes = gone.into_iter().flat_map(|of| self.drop_list(&of)).collect();
        let new: Vec<Of> = wanted.iter().filter(|of| !self.held.contains_key(*of)).cloned().collect();
        for of in &new {
            self.held.insert(of.clone(), BTreeMap::new());
        }
        (changes, new)
    }

    fn drop_list(&mut self, of: &Of) -> Vec<Change> {
        let entries = self.held.remove(of).unwrap_or_default();
        let gone = |(indicator, entry): (Indicator, Entry)| {
            self.ends.remove(&(entry.until, of.clone(), indicator.clone()));
            entry.listed.then(|| Change::Unlisted { of: of.clone(), indicator })
        };
        entries.into_iter().filter_map(gone).collect()
    }

    /// Takes a part of a list that `author` said and that holds until then.
    pub fn hear(&mut self, author: NodeId, part: &ListEntries, until: Moment) -> Vec<Change> {
        let of = (author, part.list.clone());
        if !self.held.contains_key(&of) {
            return Vec::new();
        }
        let added = part.add.iter().filter_map(|entry| self.put(&of, entry, part.version, until, true));
        let mut changes: Vec<Change> = added.collect();
        changes
            .extend(part.remove.iter().filter_map(|entry| self.put(&of, entry, part.version, until, false)));
        changes
    }

    fn put(
        &mut self,
        of: &Of,
        indicator: &Indicator,
        version: u64,
        until: Moment,
        listed: bool,
    ) -> Option<Change> {
        let held = self.held.get_mut(of)?;
        let before = held.get(indicator).copied();
        // Of two words of one version the one that takes back decides.
        if before.is_some_and(|before| before.version > version || (before.version == version && listed)) {
            return None;
        }
        if before.is_none() && held.len() >= MAX_LISTED {
            self.refused += 1;
            return None;
        }
        held.insert(indicator.clone(), Entry { version, until, listed });
        if let Some(before) = before {
            self.ends.remove(&(before.until, of.clone(), indicator.clone()));
        }
        self.ends.insert((until, of.clone(), indicator.clone()));
        match listed {
            true => Some(Change::Listed { of: of.clone(), indicator: indicator.clone(), until }),
            false => before
                .filter(|before| before.listed)
                .map(|_| Change::Unlisted { of: of.clone(), indicator: indicator.clone() }),
        }
    }

    /// Drops what was not said again.
    pub fn expire(&mut self, now: Moment) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some((until, of, indicator)) = self.ends.first().cloned() {
            if until > now {
                break;
            }
            self.ends.pop_first();
            let entry = self.held.get_mut(&of).and_then(|held| held.remove(&indicator));
            if entry.is_some_and(|entry| entry.listed) {
                changes.push(Change::Unlisted { of, indicator });
            }
        }
        changes
    }

    /// What is on a followed list now, and until when.
    pub fn listed(&self, of: &Of) -> impl Iterator<Item = (&Indicator, Moment)> {
        let held = self.held.get(of).into_iter().flatten();
        held.filter(|(_, entry)| entry.listed).map(|(indicator, entry)| (indicator, entry.until))
    }

    /// What is on a followed list in `net` now, and until when.
    pub fn listed_in(&self, of: &Of, net: Net) -> impl Iterator<Item = (&Indicator, Moment)> {
        let (first, last) = (Indicator::Net(net), Indicator::Net(Net::host(net.last())));
        let held =
            self.held.get(of).into_iter().flat_map(move |held| held.range(first.clone()..=last.clone()));
        held.filter(|(_, entry)| entry.listed).map(|(indicator, entry)| (indicator, entry.until))
    }

    /// How many entries each followed list has now.
    pub fn counts(&self) -> impl Iterator<Item = (&Of, usize)> {
        self.held.iter().map(|(of, held)| (of, held.values().filter(|entry| entry.listed).count()))
    }

    /// Entries that were not taken because their list was full.
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Moment = Moment(1_793_600_000_000);

    fn net(n: u32) -> Indicator {
        Indicator::host(std::net::Ipv4Addr::from(0x2d53_0000 + n).into()).expect("public")
    }

    fn name() -> Name {
        Name::new("scanners").expect("name")
    }

    fn wanted(entries: impl IntoIterator<Item = u32>, removed: &[u32]) -> BTreeMap<Name, Wanted> {
        let removed = removed.iter().map(|n| net(*n)).collect();
        BTreeMap::from([(name(), Wanted { entries: entries.into_iter().map(net).collect(), removed })])
    }

    fn all_due(published: &mut Published, from: Moment) -> Vec<ListEntries> {
        (0..120).filter_map(|step| published.due(from.plus(Duration::from_secs(step * 12)))).collect()
    }

    fn follower() -> (Followed, NodeId) {
        let author = NodeId([7; 32]);
        let mut followed = Followed::default();
        let (changes, new) = followed.set(&BTreeSet::from([(author, name())]));
        assert!(changes.is_empty() && new.len() == 1);
        (followed, author)
    }

    fn listed(followed: &Followed) -> BTreeSet<Indicator> {
        let entries = followed.held.values().flatten().filter(|(_, entry)| entry.listed);
        entries.map(|(indicator, _)| indicator.clone()).collect()
    }

    #[test]
    fn a_list_reaches_followers_in_parts_and_changes_as_it_does() {
        let mut published = Published::new(NOW);
        let (mut followed, author) = follower();
        published.set(wanted(0..200, &[]), NOW);
        let parts = all_due(&mut published, NOW);
        assert_eq!(parts.len(), 4);
        assert!(parts.windows(2).all(|two| two[0].version < two[1].version));
        // In any order.
        for part in parts.iter().rev() {
            followed.hear(author, part, NOW.plus(HOLDS));
        }
        assert_eq!(listed(&followed).len(), 200);
        published.set(wanted(1..201, &[]), NOW);
        let parts = all_due(&mut published, NOW.plus(Duration::from_secs(3600)));
        assert_eq!((parts.len(), parts[0].add.len(), parts[0].remove.len()), (1, 1, 1));
        let changes = followed.hear(author, &parts[0], NOW.plus(HOLDS));
        assert!(
            changes.contains(&Change::Unlisted { of: (author, name()), indicator: net(0) }),
            "{changes:?}"
        );
        assert_eq!(listed(&followed), (1..201).map(net).collect());
        published.set(BTreeMap::new(), NOW);
        for part in all_due(&mut published, NOW.plus(Duration::from_secs(7200))) {
            followed.hear(author, &part, NOW.plus(HOLDS));
        }
        assert!(listed(&followed).is_empty());
    }

    #[test]
    fn a_list_is_said_anew_before_it_ends_and_ends_when_it_is_not() {
        let mut published = Published::new(NOW);
        let (mut followed, author) = follower();
        published.set(wanted(0..3, &[9]), NOW);
        let first = published.due(NOW).expect("due");
        // What was removed before a restart is told, too.
        assert_eq!((first.add.len(), &first.remove[..]), (3, &[net(9)][..]));
        assert_eq!(published.due(NOW.plus(Duration::from_secs(60))), None);
        let later = NOW.plus(AGAIN);
        let again = published.due(later).expect("due again");
        assert!(again.add.len() == 3 && again.version > first.version);
        followed.hear(author, &again, later.plus(HOLDS));
        // An old part brings nothing back and shortens nothing.
        assert!(followed.hear(author, &first, NOW.plus(HOLDS)).is_empty());
        assert!(followed.expire(NOW.plus(HOLDS)).is_empty());
        assert_eq!(followed.expire(later.plus(HOLDS)).len(), 3);
        assert!(followed.ends.is_empty() && followed.held.values().all(BTreeMap::is_empty));
    }

    #[test]
    fn lists_are_paced_and_bounded() {
        let mut published = Published::new(NOW);
        published.set(wanted(0..9_000, &[]), NOW);
        let burst = std::iter::from_fn(|| published.due(NOW)).count();
        assert_eq!(burst, 32);
        let (mut followed, author) = follower();
        for n in 0..100u32 {
            let add = (0..64).map(|k| net(n * 64 + k)).collect();
            let part = ListEntries { list: name(), version: u64::from(n), add, remove: Vec::new() };
            followed.hear(author, &part, NOW.plus(HOLDS));
        }
        assert_eq!((listed(&followed).len(), followed.refused()), (MAX_LISTED, 100 * 64 - MAX_LISTED as u64));
        // Nobody else's list, and no other list of the same author, is heard.
        let other = ListEntries {
            list: Name::new("x").expect("name"),
            version: 1,
            add: vec![net(1)],
            remove: Vec::new(),
        };
        assert!(followed.hear(author, &other, NOW.plus(HOLDS)).is_empty());
        assert!(
            followed
                .hear(NodeId([8; 32]), &ListEntries { list: name(), ..other }, NOW.plus(HOLDS))
                .is_empty()
        );
        let (changes, _) = followed.set(&BTreeSet::new());
        assert_eq!((changes.len(), followed.ends.len(), followed.counts().count()), (MAX_LISTED, 0, 0));
    }

    #[test]
    fn long_names_fit_into_messages() {
        let mut published = Published::new(NOW);
        let label = "a".repeat(60);
        let entries = (0..200).map(|n| {
            Indicator::domain(&format!("{label}.{label}.{label}.n{n}.example.org")).expect("domain")
        });
        let list = Wanted { entries: entries.collect(), removed: BTreeSet::new() };
        published.set(BTreeMap::from([(name(), list)]), NOW);
        for part in all_due(&mut published, NOW) {
            let bytes = crate::message::Message::List(part).encode();
            assert!(bytes.len() < 14 * 1024, "{}", bytes.len());
        }
    }

    proptest! {
        /// Whatever order parts come in, and however often, the outcome is that of their versions.
        #[test]
        fn the_order_of_parts_does_not_matter(
            parts in proptest::collection::vec((1u64..20, proptest::collection::vec((0u32..8, any::<bool>()), 1..5)), 1..12),
            seed: u64,
        ) {
            let part = |(version, words): &(u64, Vec<(u32, bool)>)| ListEntries {
                list: name(),
                version: *version,
                add: words.iter().filter(|word| word.1).map(|word| net(word.0)).collect(),
                remove: words.iter().filter(|word| !word.1).map(|word| net(word.0)).collect(),
            };
            let parts: Vec<ListEntries> = parts.iter().map(part).collect();
            let mut shuffled: Vec<&ListEntries> = parts.iter().chain(&parts).collect();
            let mut state = seed | 1;
            for at in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(at, (state >> 33) as usize % (at + 1));
            }
            let (mut one, author) = follower();
            let (mut two, _) = follower();
            parts.iter().for_each(|part| drop(one.hear(author, part, NOW.plus(HOLDS))));
            shuffled.into_iter().for_each(|part| drop(two.hear(author, part, NOW.plus(HOLDS))));
            prop_assert_eq!(listed(&one), listed(&two));
        }
    }
}
