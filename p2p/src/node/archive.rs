//! The envelopes that hold still, for those who were not there: the latest of each author about each thing, bounded in bytes.
//! When there are too many, he who said most makes room: nobody pushes out what others say.

use std::collections::{BTreeMap, BTreeSet};

use crate::envelope::Head;
use crate::exchange::{MAX_ENVELOPES, Place};
use crate::identity::NodeId;
use crate::indicator::Indicator;
use crate::message::{Message, Name, SignedRoster};
use crate::moment::Moment;
use crate::roster::Roster;

/// About what an envelope is: a newer one of the same author takes its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    Indicator(Indicator),
    Everything,
    Roster(NodeId),
    Announce,
    List(Name, u64),
}

impl About {
    fn of(message: &Message) -> Self {
        match message {
            Message::Report(report) => Self::Indicator(report.indicator.clone()),
            Message::Block(block) => Self::Indicator(block.report.indicator.clone()),
            // A retraction takes the place of what it takes back.
            Message::Retract(retract) => retract.indicator.clone().map_or(Self::Everything, Self::Indicator),
            Message::Roster(signed) => Self::Roster(organisation(signed)),
            Message::Announce(_) => Self::Announce,
            Message::List(entries) => Self::List(entries.list.clone(), entries.version),
        }
    }
}

/// Whose roster it is; nobody's, if that cannot be read.
fn organisation(signed: &SignedRoster) -> NodeId {
    Roster::open(signed).map_or(NodeId([0; 32]), |roster| roster.org)
}

/// The envelopes. Ordered by author, epoch and number, so that a page begins where the last one ended.
#[derive(Debug, Default)]
pub struct Archive {
    bound: usize,
    bytes: usize,
    by_place: BTreeMap<Place, (Vec<u8>, Moment, About)>,
    by_about: BTreeMap<(NodeId, About), Place>,
    by_end: BTreeSet<(Moment, Place)>,
    /// Bytes of each author, in order of size and by name; and each author's entries by their end.
    by_size: BTreeSet<(usize, NodeId)>,
    by_author: BTreeMap<NodeId, (usize, BTreeSet<(Moment, Place)>)>,
}

/// What an entry costs beside its bytes.
const OVERHEAD: usize = 300;

impl Archive {
    pub fn new(bound: usize) -> Self {
        Self { bound, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.by_place.len()
    }

    /// Keeps an envelope, unless its author said something newer about the same; whether it is kept. Beyond the bound the first to end
    /// goes of who has most.
    pub fn put(&mut self, head: &Head, message: &Message, bytes: Vec<u8>) -> bool {
        let place = (head.author, head.epoch, head.seq);
        let about = About::of(message);
        let held = |about: About| self.by_about.get(&(head.author, about)).copied();
        let accuses = matches!(about, About::Indicator(_));
        if accuses && held(About::Everything).is_some_and(|held| held > place) {
            return false;
        }
        if let Some(held) = held(about.clone()) {
            if held >= place {
                return false;
            }
            self.remove(held);
        }
        let size = bytes.len() + OVERHEAD;
        self.bytes += size;
        self.by_about.insert((head.author, about.clone()), place);
        self.by_end.insert((head.until(), place));
        self.by_place.insert(place, (bytes, head.until(), about));
        self.resize(head.author, |held, ends| {
            ends.insert((head.until(), place));
            held + size
        });
        while self.bytes > self.bound {
            let most = self.by_size.last().and_then(|(_, author)| self.by_author.get(author));
            let Some((_, first)) = most.and_then(|(_, ends)| ends.first()).copied() else { break };
            self.remove(first);
        }
        true
    }

    fn resize(
        &mut self,
        author: NodeId,
        change: impl FnOnce(usize, &mut BTreeSet<(Moment, Place)>) -> usize,
    ) {
        let (held, ends) = self.by_author.entry(author).or_default();
        self.by_size.remove(&(*held, author));
        *held = change(*held, ends);
        if ends.is_empty() {
            self.by_author.remove(&author);
        } else {
            self.by_size.insert((*held, author));
        }
    }

    fn remove(&mut self, place: Place) {
        if let Some((bytes, until, about)) = self.by_place.remove(&place) {
            let size = bytes.len() + OVERHEAD;
            self.bytes -= size;
            self.by_about.remove(&(place.0, about));
            self.by_end.remove(&(until, place));
            self.resize(place.0, |held, ends| {
                ends.remove(&(until, place));
                held - size
            });
        }
    }

    /// The envelope at `place`, while it holds and nothing newer took its place.
    pub fn get(&self, place: Place) -> Option<&Vec<u8>> {
        self.by_place.get(&place).map(|(bytes, ..)| bytes)
    }

    /// Drops what holds no longer.
    pub fn expire(&mut self, now: Moment) {
        while let Some((until, place)) = self.by_end.first().copied() {
            if until > now {
                break;
            }
            self.remove(place);
        }
    }

    /// Drops what `author` said.
    pub fn forget(&mut self, author: NodeId) {
        let range = (author, 0, 0)..=(author, u64::MAX, u64::MAX);
        let places: Vec<Place> = self.by_place.range(range).map(|(place, _)| *place).collect();
        places.into_iter().for_each(|place| self.remove(place));
    }

    /// Envelopes after `cursor` that whoever has `have` lacks, up to `most` bytes; and the cursor for the next page.
    pub fn page(
        &self,
        have: &BTreeMap<NodeId, (u64, u64)>,
        cursor: Option<Place>,
        most: usize,
    ) -> (Vec<Vec<u8>>, Option<Place>) {
        let start = match cursor {
            Some(cursor) => std::ops::Bound::Excluded(cursor),
            None => std::ops::Bound::Unbounded,
        };
        let (mut page, mut size) = (Vec::new(), 0);
        let mut last = None;
        for (place, (bytes, ..)) in self.by_place.range((start, std::ops::Bound::Unbounded)) {
            let (author, epoch, seq) = *place;
            if have.get(&author).is_some_and(|known| (epoch, seq) <= *known) {
                continue;
            }
            if size + bytes.len() > most || page.len() >= MAX_ENVELOPES {
                return (page, last);
            }
            size += bytes.len();
            page.push(bytes.clone());
            last = Some(*place);
        }
        (page, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NetId;
    use crate::message::tests::report;
    use crate::message::{Reason, Retract};
    use std::time::Duration;

    fn put(archive: &mut Archive, author: u8, seq: u64, message: &Message) -> bool {
        let head = Head {
            net: NetId([0; 8]),
            author: NodeId([author; 32]),
            epoch: 1,
            seq,
            issued: Moment(seq * 1000),
            ttl: Duration::from_secs(60),
        };
        archive.put(&head, message, vec![author; 200])
    }

    fn accuse(n: u64) -> Message {
        Message::Report(report(&format!("198.51.100.{n}")))
    }

    #[test]
    fn the_latest_word_takes_the_place_of_the_one_before() {
        let mut archive = Archive::new(1 << 20);
        put(&mut archive, 1, 1, &accuse(7));
        put(&mut archive, 1, 3, &accuse(7));
        assert!(!put(&mut archive, 1, 2, &accuse(7)), "overtaken");
        put(&mut archive, 2, 1, &accuse(7));
        assert_eq!(archive.len(), 2);
        let indicator = report("198.51.100.7").indicator;
        let back = |indicator| Message::Retract(Retract { indicator, reason: Reason::Over });
        put(&mut archive, 1, 5, &back(Some(indicator)));
        assert_eq!(archive.len(), 2);
        assert!(!put(&mut archive, 1, 4, &accuse(7)), "it was taken back before it came");
        assert!(put(&mut archive, 1, 6, &accuse(7)));
        put(&mut archive, 1, 9, &back(None));
        assert!(!put(&mut archive, 1, 8, &accuse(8)));
        assert!(put(&mut archive, 1, 10, &accuse(8)));
        archive.forget(NodeId([1; 32]));
        assert_eq!(archive.len(), 1);
        archive.expire(Moment(61_000));
        assert_eq!((archive.len(), archive.bytes), (0, 0));
        assert!(archive.by_about.is_empty() && archive.by_end.is_empty());
        assert!(archive.by_size.is_empty() && archive.by_author.is_empty());
    }

    #[test]
    fn pages_bring_everything_once_and_nothing_known() {
        let mut archive = Archive::new(1 << 20);
        for n in 1..=50 {
            put(&mut archive, 1 + (n % 3) as u8, n, &accuse(n));
        }
        let (mut all, mut cursor, mut pages) = (0, None, 0);
        loop {
            let (page, next) = archive.page(&BTreeMap::new(), cursor, 1000);
            assert!(page.len() <= 5);
            (all, pages) = (all + page.len(), pages + 1);
            if next.is_none() {
                break;
            }
            cursor = next;
        }
        assert_eq!((all, pages), (50, 10));
        let have = (1..=3).map(|author| (NodeId([author; 32]), (1, 45))).collect();
        assert_eq!(archive.page(&have, None, 1 << 20).0.len(), 5);
    }

    #[test]
    fn the_bound_holds() {
        let mut archive = Archive::new(5 * (200 + OVERHEAD));
        for n in 1..=50 {
            put(&mut archive, 1, n, &accuse(n));
        }
        assert_eq!(archive.len(), 5);
    }

    #[test]
    fn who_says_most_makes_room() {
        let mut archive = Archive::new(10 * (200 + OVERHEAD));
        for n in 1..=3 {
            put(&mut archive, 7, n, &accuse(n));
        }
        for n in 1..=200 {
            put(&mut archive, 1, 1000 + n, &accuse(n));
        }
        let of = |author| archive.by_place.keys().filter(|place| place.0 == NodeId([author; 32])).count();
        assert_eq!((of(7), of(1)), (3, 7));
        assert_eq!(archive.by_author.values().map(|(held, _)| held).sum::<usize>(), archive.bytes);
    }
}
