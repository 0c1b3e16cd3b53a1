//! Entries of the sets: into messages and back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use nix::errno::Errno;
use slips_core::addr::Net;

use super::layout::{Place, TABLE};
use crate::block::Tag;
use crate::netlink::wire::{self, ACK, CREATE, DUMP, EXCLUSIVE, Kind, Message};
use crate::netlink::{Socket, Transaction};
use crate::ranges::{self, Family, Range};
use crate::{Count, Error};

/// The key of an entry: an address as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    family: Family,
    number: u128,
}

impl Key {
    const fn new(family: Family, number: u128) -> Self {
        Self { family, number }
    }

    /// The key of a network in a hash set: its first address.
    pub(super) fn of(net: Net) -> Self {
        Self::new(Family::of(net), ranges::bounds(net).0)
    }

    /// The network that this key means in a hash set.
    pub(super) fn net(self, place: Place) -> Option<Net> {
        let addr = match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(self.number).ok()?)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(self.number)),
        };
        if place == Place::In6p { Net::new(addr, 64) } else { Some(Net::host(addr)) }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            4 => Some(Self::new(Family::V4, u32::from_be_bytes(bytes.try_into().ok()?).into())),
            16 => Some(Self::new(Family::V6, u128::from_be_bytes(bytes.try_into().ok()?))),
            _ => None,
        }
    }

    fn write(self, message: &mut Message) {
        let bytes = self.number.to_be_bytes();
        let length = if self.family == Family::V4 { 4 } else { 16 };
        message.bytes(VALUE, bytes.get(16 - length..).unwrap_or_default());
    }
}

/// An entry of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) key: Key,
    /// The first address behind a range, not an entry of its own.
    pub(super) end: bool,
    /// How long it lasts from now on; none is for ever.
    pub(super) timeout: Option<Duration>,
    pub(super) comment: String,
    /// What stands beside it; none in a set without tags and at the end of a range.
    pub(super) tag: Option<Tag>,
    /// What it dropped since somebody asked for a counter of its own.
    pub(super) count: Option<Count>,
}

impl Element {
    /// An entry with nothing but its key.
    pub(super) const fn key(key: Key) -> Self {
        Self { key, end: false, timeout: None, comment: String::new(), tag: None, count: None }
    }

    /// The one or two entries of a range in an interval set. A range up to the last address has no end.
    pub(super) fn range(family: Family, first: u128, last: u128) -> Vec<Self> {
        let mut ends = vec![Self::key(Key::new(family, first))];
        if last < family.highest() {
            ends.push(Self { end: true, ..Self::key(Key::new(family, last + 1)) });
        }
        ends
    }

    fn write(&self, message: &mut Message) {
        message.nest(ELEMENT, |m| {
            m.nest(KEY, |m| self.key.write(m));
            if let Some(tag) = self.tag {
                m.nest(DATA, |m| {
                    m.bytes(VALUE, &tag.number().to_ne_bytes());
                });
            }
            if self.end {
                m.be32(FLAGS, INTERVAL_END);
            }
            if let Some(timeout) = self.timeout {
                m.be64(TIMEOUT, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
            }
            if let Some(count) = self.count {
                m.nest(EXPRESSION, |m| {
                    m.text(1, COUNTER).nest(2, |m| {
                        m.be64(1, count.bytes).be64(2, count.packets);
                    });
                });
            }
            if !self.comment.is_empty() {
                let length = u8::try_from(self.comment.len() + 1).unwrap_or(u8::MAX);
                let mut data = vec![COMMENT, length];
                data.extend_from_slice(self.comment.as_bytes());
                data.push(0);
                m.bytes(USERDATA, &data);
            }
        });
    }

    /// Reads an entry; one without a key or past its end is none.
    fn read(bytes: &[u8]) -> Option<Self> {
        let key = Key::read(wire::attribute(wire::attribute(bytes, KEY)?, VALUE)?)?;
        let end = wire::be32(bytes, FLAGS).unwrap_or(0) & INTERVAL_END != 0;
        let timeout =
            wire::be64(bytes, EXPIRATION).or_else(|| wire::be64(bytes, TIMEOUT)).map(Duration::from_millis);
        if timeout.is_some_and(|left| left.is_zero()) {
            return None;
        }
        let comment = wire::attribute(bytes, USERDATA).map(read_comment).unwrap_or_default();
        let tag = wire::attribute(bytes, DATA).and_then(|data| wire::attribute(data, VALUE));
        let tag = tag.and_then(|tag| Some(Tag::of(u32::from_ne_bytes(tag.try_into().ok()?))));
        let counter = wire::attribute(bytes, EXPRESSION).filter(|expression| {
            wire::attribute(expression, 1).and_then(|name| name.strip_suffix(&[0]))
                == Some(COUNTER.as_bytes())
        });
        let count = counter.and_then(|counter| wire::attribute(counter, 2)).map(|read| Count {
            bytes: wire::be64(read, 1).unwrap_or(0),
            packets: wire::be64(read, 2).unwrap_or(0),
        });
        Some(Self { key, end, timeout, comment, tag, count })
    }
}

/// A reason as a comment: one line of printable text, as long as the kernel's tools allow.
pub(super) fn comment(reason: &str) -> String {
    let mut comment = String::with_capacity(reason.len().min(COMMENT_LENGTH));
    for char in reason.chars() {
        let char = if char.is_control() || char == '"' { ' ' } else { char };
        if comment.len() + char.len_utf8() > COMMENT_LENGTH {
            break;
        }
        comment.push(char);
    }
    comment
}

/// The comment in what is noted beside an entry.
pub(super) fn read_comment(mut data: &[u8]) -> String {
    while let [kind, length, rest @ ..] = data {
        let (value, next) = rest.split_at_checked((*length).into()).unwrap_or((rest, &[]));
        if *kind == COMMENT {
            return String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned();
        }
        data = next;
    }
    String::new()
}

/// Adds entries. Not exclusively: one that is there is no error, which would undo the whole transaction.
pub(super) fn add(transaction: &mut Transaction, place: Place, elements: impl Iterator<Item = Element>) {
    send(transaction, "add to a set", Kind::NewSetElem, CREATE, place, elements);
}

/// Adds entries of which none is there: one that is refuses the whole transaction.
pub(super) fn add_new(transaction: &mut Transaction, place: Place, elements: impl Iterator<Item = Element>) {
    send(transaction, "add to a set", Kind::NewSetElem, CREATE | EXCLUSIVE, place, elements);
}

/// Deletes entries that are there.
pub(super) fn delete(transaction: &mut Transaction, place: Place, elements: impl Iterator<Item = Element>) {
    send(transaction, "delete from a set", Kind::DelSetElem, 0, place, elements);
}

/// Deletes entries that may be there (Linux 6.3).
pub(super) fn destroy(transaction: &mut Transaction, place: Place, elements: impl Iterator<Item = Element>) {
    send(transaction, "delete from a set", Kind::DestroySetElem, 0, place, elements);
}

/// Empties a set.
pub(super) fn flush(transaction: &mut Transaction, place: Place) {
    let message = about(Kind::DelSetElem, ACK, place);
    transaction.message("empty a set", &message);
}

fn send(
    transaction: &mut Transaction,
    step: &'static str,
    kind: Kind,
    flags: u16,
    place: Place,
    elements: impl Iterator<Item = Element>,
) {
    let mut elements = elements.peekable();
    let mut message = about(kind, ACK | flags, place);
    let start = message.len();
    while elements.peek().is_some() {
        message.truncate(start);
        message.nest(ELEMENTS, |m| {
            while m.len() < MESSAGE_ROOM
                && let Some(element) = elements.next()
            {
                element.write(m);
            }
        });
        transaction.message(step, &message);
    }
}

fn about(kind: Kind, flags: u16, place: Place) -> Message {
    let mut message = Message::new(kind, flags);
    message.text(1, TABLE).text(2, place.name());
    message
}

/// The entries of these single networks, where they are blocked.
pub(super) fn query(socket: &mut Socket, nets: &[Net]) -> Result<Vec<Option<Element>>, Error> {
    let question = |net: &Net| {
        let mut message = about(Kind::GetSetElem, 0, Place::of(*net));
        message.nest(ELEMENTS, |m| Element::key(Key::of(*net)).write(m));
        message
    };
    let questions: Vec<_> = nets.iter().map(question).collect();
    let mut found = vec![None; nets.len()];
    let verdicts = socket.ask(&questions, |index, object| {
        if let (Some(place), Some(element)) = (found.get_mut(index), elements(object).next()) {
            *place = Some(element);
        }
    })?;
    match verdicts.into_iter().find(|errno| *errno != 0 && *errno != Errno::ENOENT as i32) {
        Some(errno) => Err(Error::unread("ask for an entry", errno)),
        None => Ok(found),
    }
}

/// All entries of a set.
pub(super) fn dump(socket: &mut Socket, place: Place) -> Result<Vec<Element>, Error> {
    let question = about(Kind::GetSetElem, DUMP, place);
    socket.dump("read a set", &question, |all: &mut Vec<Element>, object| all.extend(elements(object)))
}

/// All entries of a set whose entries are found by hash, each once.
///
/// The kernel tells them in parts, and finds its place again by their number. While it makes the set's table larger or smaller their order
/// changes in between: as many are told twice as are left out. What it sweeps out in between, because it has ended, makes as many be
/// left out, and nothing shows it. So they are read until none is told twice and none is new, and what was told at any time counts:
/// what has ended since is no harm. Few come in one part, which leaves out none.
#[expect(clippy::disallowed_methods, reason = "the kernel does not tell when it has rearranged a set")]
pub(super) fn all(socket: &mut Socket, place: Place) -> Result<Vec<Element>, Error> {
    let mut all = BTreeMap::new();
    for reading in 0..READINGS {
        let found = dump(socket, place)?;
        let (told, before, mut keys) = (found.len(), all.len(), BTreeSet::new());
        for element in found {
            keys.insert(element.key);
            all.insert(element.key, element);
        }
        let (is_torn, is_new) = (keys.len() < told, all.len() > before);
        if !is_torn && (told <= ONE_PART || (reading > 0 && !is_new)) {
            break;
        }
        if is_torn {
            // Its worker needs a processor, perhaps this one.
            std::thread::sleep(SETTLING);
        }
    }
    Ok(all.into_values().collect())
}

fn elements(object: &[u8]) -> impl Iterator<Item = Element> {
    let list = wire::attribute(object, ELEMENTS).unwrap_or_default();
    wire::attributes(list).filter_map(|(_, element)| Element::read(element))
}

/// The ranges of an interval set from its entries.
pub(super) fn pair(family: Family, mut elements: Vec<Element>) -> Vec<Range> {
    // Where a range ends and the next begins at once, the end comes first.
    elements.sort_unstable_by_key(|element| (element.key, !element.end));
    let mut ranges = Vec::with_capacity(elements.len() / 2 + 1);
    let mut open: Option<Element> = None;
    for element in elements {
        let at = element.key.number;
        if let Some(first) = open.take() {
            ranges.extend(range(&first, at.saturating_sub(1)));
        }
        if !element.end {
            open = Some(element);
        }
    }
    if let Some(first) = open {
        ranges.extend(range(&first, family.highest()));
    }
    ranges
}

fn range(first: &Element, last: u128) -> Option<Range> {
    let tag = first.tag.unwrap_or_default();
    Some(Range { first: first.key.number, last, left: first.timeout?, reason: first.comment.clone(), tag })
}

/// A message is filled up to here and one element more, which takes 300 bytes at most with a comment and a counter.
const MESSAGE_ROOM: usize = wire::MAX_MESSAGE - 1000;
/// How often a set is read that is being rearranged, and what is waited in between.
const READINGS: usize = 8;
/// So many entries surely fit into one part, which is a page at least, with comment and counter.
const ONE_PART: usize = 12;
const SETTLING: Duration = Duration::from_millis(20);
/// A reason is cut to what `nft` takes for a comment, 128 bytes with the closing zero.
const COMMENT_LENGTH: usize = 127;

// Attributes of linux/netfilter/nf_tables.h: NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_LIST_ELEM, NFTA_SET_ELEM_…, NFTA_DATA_VALUE.
pub(super) const ELEMENTS: u16 = 3;
pub(super) const ELEMENT: u16 = 1;
pub(super) const KEY: u16 = 1;
pub(super) const VALUE: u16 = 1;
const DATA: u16 = 2;
const FLAGS: u16 = 3;
pub(super) const TIMEOUT: u16 = 4;
const EXPIRATION: u16 = 5;
pub(super) const USERDATA: u16 = 6;
const EXPRESSION: u16 = 7;
/// The name of that expression, whose attributes are its bytes and packets.
const COUNTER: &str = "counter";
/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;
/// `NFTNL_UDATA_SET_ELEM_COMMENT`.
pub(super) const COMMENT: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Manner, Origin};

    #[test]
    fn an_element_is_read_as_it_was_written() {
        for (net, comment) in [("192.0.2.7", "why"), ("2001:db8::/64", ""), ("::ffff:0:0:1", "ö")] {
            let net: Net = net.parse().expect(net);
            let element = Element {
                tag: Some(Tag { by: Origin::Manual, manner: Manner::Isolate }),
                count: Some(Count { packets: 3, bytes: 1 << 40 }),
                timeout: Some(Duration::from_secs(9)),
                comment: comment.to_owned(),
                ..Element::key(Key::of(net))
            };
            let mut message = about(Kind::NewSetElem, 0, Place::of(net));
            message.nest(ELEMENTS, |m| element.write(m));
            let bytes = message.finished(1);
            let read: Vec<_> = elements(&bytes[20..]).collect();
            assert_eq!(read, std::slice::from_ref(&element));
            assert_eq!(read[0].key.net(Place::of(net)), Some(net));
        }
    }

    #[test]
    fn elements_of_any_bytes_are_survived() {
        let mut message = about(Kind::NewSetElem, 0, Place::In6);
        let ends = Element::range(Family::V6, 1, 2);
        message.nest(ELEMENTS, |m| ends.iter().for_each(|end| end.write(m)));
        let bytes = message.finished(1);
        for at in 20..bytes.len() {
            for value in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = value;
                pair(Family::V6, elements(&changed[20..]).collect());
            }
        }
    }

    #[test]
    fn a_comment_is_one_short_line() {
        assert_eq!(comment("a\nb\"c"), "a b c");
        assert_eq!(comment(&"ö".repeat(100)).len(), 126);
    }

    #[test]
    fn ranges_survive_the_way_through_their_ends() {
        let range = |first, last, left| Range {
            first,
            last,
            left: Duration::from_secs(left),
            reason: String::new(),
            tag: Tag::default(),
        };
        let ranges = [range(0, 4, 1), range(5, 9, 2), range(20, u32::MAX.into(), 3)];
        let mut elements = Vec::new();
        for range in &ranges {
            let mut ends = Element::range(Family::V4, range.first, range.last);
            ends[0].timeout = Some(range.left);
            elements.splice(0..0, ends);
        }
        assert_eq!(pair(Family::V4, elements), ranges);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_at_all_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
            pair(Family::V4, elements(&bytes).collect());
            read_comment(&bytes);
            Element::read(&bytes);
            Key::read(&bytes);
        }

        /// Attributes that are well formed, of any kind and size, in any nesting.
        #[test]
        fn any_attributes_are_read_without_harm(
            parts in proptest::collection::vec((0u16..12, proptest::collection::vec(proptest::num::u8::ANY, 0..20), 0u8..4), 0..12),
        ) {
            let mut message = Message::attributes();
            message.nest(ELEMENTS, |m| {
                m.nest(ELEMENT, |m| {
                    for (kind, payload, depth) in &parts {
                        match depth {
                            0 => drop_it(m.bytes(*kind, payload)),
                            _ => drop_it(m.nest(*kind, |m| drop_it(m.bytes(VALUE, payload)))),
                        }
                    }
                });
            });
            let bytes = message.finished_attributes();
            for family in [Family::V4, Family::V6] {
                pair(family, elements(&bytes).collect());
            }
            for element in elements(&bytes) {
                element.key.net(Place::In6p);
            }
        }
    }

    fn drop_it(_: &mut Message) {}
}
