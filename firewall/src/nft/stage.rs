//! Changes into a transaction.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use slips_core::addr::Net;

use super::elements::{self, Element, Key};
use super::layout::Place;
use super::{Nftables, SHORTEST};
use crate::block::Tag;
use crate::netlink::Transaction;
use crate::ranges::{self, Family, Range};
use crate::{BlockRequest, Change, is_single};

/// The tags of entries.
pub(super) type Tags = BTreeMap<Net, Tag>;

/// What is known of the single networks that are to be changed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held<'a> {
    /// They may be there, with the tags that are wanted.
    Perhaps,
    /// They may be there, these with these tags.
    Tagged(&'a Tags),
    /// None of them is to be there: if one is, the kernel shall refuse.
    Nothing,
    /// All that was there is gone in the same transaction.
    Cleared,
}

/// When the ranges of an interval set end, as they were written last, by their first and last address. Such a set is read and written anew with
/// each change: by what is read alone each range would last longer each time by as long as that took.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeMap<Place, BTreeMap<(u128, u128), Instant>>);

impl Ends {
    /// Gives what was read the ends that were written, but for those that somebody else has made shorter. The kernel counts in jiffies, and from
    /// when it took them: what has ended meanwhile is dropped, or each further change would let it last for the shortest time once more.
    /// Whether something was: the kernel still holds it, so the set is to be written without it.
    pub(super) fn correct(&self, place: Place, ranges: &mut Vec<Range>, now: Instant) -> bool {
        let Some(ends) = self.0.get(&place) else { return false };
        let read = ranges.len();
        for range in ranges.iter_mut() {
            let written = ends.get(&(range.first, range.last));
            let left = written.map(|end| end.saturating_duration_since(now));
            range.left = left.filter(|left| *left <= range.left.saturating_add(NEAR)).unwrap_or(range.left);
        }
        ranges.retain(|range| !range.left.is_zero());
        ranges.len() < read
    }

    /// Takes over what has been written since.
    pub(super) fn written(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    fn note(&mut self, place: Place, ranges: &[Range], now: Instant) {
        let ends =
            ranges.iter().filter_map(|range| Some(((range.first, range.last), now.checked_add(range.left)?)));
        self.0.insert(place, ends.collect());
    }
}

/// What an interval set holds. It is written anew as a whole, when something in it changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Wide {
    ranges: Vec<Range>,
    /// What is to be cut out of them, all at once: each for itself would be a walk over all.
    cuts: Vec<Net>,
    changed: bool,
}

impl Wide {
    /// These ranges; `changed` when the kernel holds others beside them.
    pub(super) fn new(ranges: Vec<Range>, changed: bool) -> Self {
        Self { ranges, changed, ..Self::default() }
    }

    fn add(&mut self, range: Range) {
        self.cut_now();
        self.ranges.push(range);
        self.changed = true;
    }

    fn cut(&mut self, net: Net) {
        if !self.ranges.is_empty() {
            self.cuts.push(net);
        }
    }

    fn cut_now(&mut self) {
        let cuts = std::mem::take(&mut self.cuts);
        let Some(family) = cuts.first().map(|net| Family::of(*net)) else { return };
        let cuts = ranges::union(family, &cuts);
        let touched = |range: &Range| {
            let from = cuts.partition_point(|(_, last)| *last < range.first);
            cuts.get(from).is_some_and(|(first, _)| *first <= range.last)
        };
        if self.ranges.iter().any(touched) {
            self.ranges = ranges::without(std::mem::take(&mut self.ranges), &cuts);
            self.changed = true;
        }
    }
}

/// The kernel's clock and ours are no farther apart than this.
const NEAR: Duration = Duration::from_secs(2);

/// Whether what this interval set holds must be known for a change.
pub(super) fn needs(change: &Change, place: Place) -> bool {
    match change {
        Change::Block(request) => !is_single(request.net) && Place::wide(request.net) == place,
        Change::Unblock(net) => Place::wide(*net) == place,
        Change::Clear | Change::Protect(_) => false,
    }
}

/// Puts changes in the order of their networks, and keeps the last of each.
fn last_of_each(changes: &mut Vec<(Net, Option<&BlockRequest>)>) {
    changes.sort_by_key(|(net, _)| *net);
    changes.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            *earlier = *later;
        }
        same
    });
}

impl Nftables {
    /// Writes changes into a transaction. `wide` holds what the interval sets held at this time, of the families that the changes touch.
    /// Returns the ends of the ranges that are written.
    pub(super) fn stage(
        &self,
        transaction: &mut Transaction,
        changes: &[Change],
        (mut wide, read): (BTreeMap<Place, Wide>, Instant),
        held: Held<'_>,
    ) -> Ends {
        let mut ends = Ends::default();
        let live = changes.iter().rposition(|change| *change == Change::Clear);
        let held = if live.is_some() { Held::Cleared } else { held };
        if live.is_some() {
            for place in Place::BLOCKING {
                elements::flush(transaction, place);
                ends.note(place, &[], read);
            }
        }
        let mut single: Vec<(Net, Option<&BlockRequest>)> = Vec::with_capacity(changes.len());
        let mut protected = None;
        for (index, change) in changes.iter().enumerate() {
            let void = live.is_some_and(|last| index < last);
            match change {
                Change::Protect(nets) => protected = Some(nets),
                Change::Clear => {}
                _ if void => {}
                Change::Block(request) if is_single(request.net) => {
                    single.push((request.net, Some(request)));
                }
                Change::Block(request) => {
                    let range = Range::new(request.net, request.for_, &request.reason, request.tag());
                    wide.entry(Place::wide(request.net)).or_default().add(range);
                }
                Change::Unblock(net) => {
                    if is_single(*net) {
                        single.push((*net, None));
                    }
                    wide.entry(Place::wide(*net)).or_default().cut(*net);
                }
            }
        }
        last_of_each(&mut single);
        self.stage_single(transaction, &single, held);
        wide.values_mut().for_each(Wide::cut_now);
        for (place, wide) in wide.into_iter().filter(|(_, wide)| wide.changed) {
            if live.is_none() {
                elements::flush(transaction, place);
            }
            let mut pieces = ranges::disjoint(&wide.ranges);
            ends.note(place, &pieces, read);
            let passed = read.elapsed();
            pieces.retain(|piece| piece.left > passed);
            pieces.iter_mut().for_each(|piece| piece.left -= passed);
            elements::add(transaction, place, pieces.iter().flat_map(|range| self.ends(place, range)));
        }
        if let Some(nets) = protected {
            for (place, family) in [(Place::Allow4, Family::V4), (Place::Allow6, Family::V6)] {
                elements::flush(transaction, place);
                let ranges = ranges::union(family, nets);
                elements::add(
                    transaction,
                    place,
                    ranges.into_iter().flat_map(|(first, last)| Element::range(family, first, last)),
                );
            }
        }
        ends
    }

    fn stage_single(
        &self,
        transaction: &mut Transaction,
        changes: &[(Net, Option<&BlockRequest>)],
        held: Held<'_>,
    ) {
        let known = if let Held::Tagged(tags) = held { Some(tags) } else { None };
        let new = matches!(held, Held::Nothing);
        // A refresh sets the time and leaves the comment, which would then tell the reason of the former block; and the kernel
        // refuses it where the tag is another one.
        let fresh = new || matches!(held, Held::Cleared);
        let anew = !fresh && (known.is_some() || !self.features.refresh || self.options.annotate);
        for place in Place::HASHED {
            let here = || changes.iter().filter(|(net, _)| Place::of(*net) == place);
            let former = |net: &Net| Element {
                tag: Some(known.and_then(|known| known.get(net).copied()).unwrap_or_default()),
                ..Element::key(Key::of(*net))
            };
            let wanted = |net: &Net, request: &BlockRequest| {
                self.element(Key::of(*net), request.for_, &request.reason, request.tag())
            };
            self.stage_gone(transaction, place, || {
                here().filter(|(_, request)| request.is_none()).map(|(net, _)| former(net))
            });
            if anew {
                self.stage_gone(transaction, place, || {
                    here().filter_map(|(net, request)| {
                        let tag = known.and_then(|known| known.get(net).copied());
                        Some(Element {
                            tag: Some(tag.unwrap_or((*request)?.tag())),
                            ..Element::key(Key::of(*net))
                        })
                    })
                });
            }
            let add = if new { elements::add_new } else { elements::add };
            add(transaction, place, here().filter_map(|(net, request)| Some(wanted(net, (*request)?))));
        }
    }

    /// Removes entries that may be there. A kernel that cannot do that takes a missing one for an error in the whole transaction, and one
    /// may end at any moment: so it is added first, with the tag that it has.
    pub(super) fn stage_gone<I: Iterator<Item = Element>>(
        &self,
        transaction: &mut Transaction,
        place: Place,
        gone: impl Fn() -> I,
    ) {
        let keys = || gone().map(|element| Element::key(element.key));
        if self.features.destroy {
            elements::destroy(transaction, place, keys());
        } else {
            elements::add(transaction, place, gone());
            elements::delete(transaction, place, keys());
        }
    }

    fn element(&self, key: Key, left: Duration, reason: &str, tag: Tag) -> Element {
        let mut element = Element { tag: Some(tag), ..Element::key(key) };
        element.timeout = Some(left.max(SHORTEST));
        if self.options.annotate {
            element.comment = elements::comment(reason);
        }
        element
    }

    fn ends(&self, place: Place, range: &Range) -> Vec<Element> {
        let family = place.family();
        let mut ends = Element::range(family, range.first, range.last);
        if let Some(first) = ends.first_mut() {
            *first = self.element(first.key, range.left, &range.reason, range.tag);
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a moment to begin with")]
    fn ranges_that_are_written_again_keep_their_ends() {
        let (began, secs) = (Instant::now(), Duration::from_secs);
        let range = |net: &str, left| Range::new(net.parse().expect(net), left, "", Tag::default());
        let mut ends = Ends::default();
        ends.note(Place::Net4, &[range("10.0.0.0/24", secs(100)), range("10.0.2.0/24", secs(50))], began);
        let later = began + secs(10);
        // Read late, with a clock that is behind, by somebody else, and what nobody of us wrote.
        for (net, left, expected) in [
            ("10.0.0.0/24", secs(95), 90),
            ("10.0.0.0/24", Duration::from_millis(89_990), 90),
            ("10.0.0.0/24", secs(30), 30),
            ("10.0.0.0/25", secs(95), 95),
            ("10.0.2.0/24", secs(50), 40),
        ] {
            let mut read = vec![range(net, left)];
            ends.correct(Place::Net4, &mut read, later);
            assert_eq!(read[0].left, secs(expected), "{net} {left:?}");
            ends.correct(Place::Net6, &mut read, later + secs(99));
            assert_eq!(read[0].left, secs(expected));
        }
        let mut ended = vec![range("10.0.0.0/24", Duration::from_millis(80))];
        assert!(ends.correct(Place::Net4, &mut ended, began + secs(100)));
        assert!(ended.is_empty(), "the kernel took it later than it was counted from");
        let mut cleared = Ends::default();
        cleared.note(Place::Net4, &[], later);
        ends.written(cleared);
        let mut read = vec![range("10.0.0.0/24", secs(95))];
        ends.correct(Place::Net4, &mut read, later);
        assert_eq!(read[0].left, secs(95), "gone meanwhile");
    }
}
