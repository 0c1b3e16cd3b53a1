//! Ranges of addresses without overlap, for blocks of whole networks.
//!
//! An interval set of the kernel refuses a range inside another, and `nft`'s own merging loses the longer block of two. So the
//! ranges are made disjoint here, and each piece stays blocked as long as the longest block that covers it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use slips_core::addr::Net;

use crate::block::Tag;

/// The two kinds of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The family of a network.
    pub(crate) const fn of(net: Net) -> Self {
        if net.addr().is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The highest address as a number.
    pub(crate) const fn highest(self) -> u128 {
        match self {
            Self::V4 => u32::MAX as u128,
            Self::V6 => u128::MAX,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    fn addr(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX))),
            Self::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
        }
    }
}

/// The addresses from `first` to `last`, blocked for `left`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u128,
    pub(crate) last: u128,
    pub(crate) left: Duration,
    pub(crate) reason: String,
    pub(crate) tag: Tag,
}

impl Range {
    /// The range of a network.
    pub(crate) fn new(net: Net, left: Duration, reason: &str, tag: Tag) -> Self {
        let (first, last) = bounds(net);
        Self { first, last, left, reason: reason.to_owned(), tag }
    }
}

/// The first and the last address of a network as numbers.
pub(crate) fn bounds(net: Net) -> (u128, u128) {
    (number(net.addr()), number(net.last()))
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The same addresses in pieces that do not overlap, in order; each piece lasts as long as the longest range over it.
pub(crate) fn disjoint(ranges: &[Range]) -> Vec<Range> {
    // (where, opens, index): a sweep from left to right over the ends of the ranges. An end is put one behind the last address;
    // the ranges that end at the very last address stay open.
    let mut edges: Vec<(u128, bool, usize)> = Vec::with_capacity(ranges.len() * 2);
    for (index, range) in ranges.iter().enumerate() {
        edges.push((range.first, true, index));
        if let Some(behind) = range.last.checked_add(1) {
            edges.push((behind, false, index));
        }
    }
    edges.sort_unstable();
    let mut open: BTreeSet<(Duration, usize)> = BTreeSet::new();
    let mut pieces: Vec<(u128, u128, usize)> = Vec::new();
    let mut edges = edges.into_iter().peekable();
    while let Some((at, opens, index)) = edges.next() {
        let Some(range) = ranges.get(index) else { continue };
        if opens {
            open.insert((range.left, index));
        } else {
            open.remove(&(range.left, index));
        }
        let until = match edges.peek() {
            Some((next, ..)) if *next == at => continue,
            Some((next, ..)) => next - 1,
            None => u128::MAX,
        };
        let Some(&(_, longest)) = open.last() else { continue };
        match pieces.last_mut() {
            Some(piece) if piece.2 == longest && piece.1.checked_add(1) == Some(at) => piece.1 = until,
            _ => pieces.push((at, until, longest)),
        }
    }
    let piece = |(first, last, index): (u128, u128, usize)| {
        let range = ranges.get(index)?;
        Some(Range { first, last: last.min(range.last), ..range.clone() })
    };
    pieces.into_iter().filter_map(piece).collect()
}

/// `ranges` without these addresses, which are ordered and do not overlap: as [`union`] gives them.
pub(crate) fn without(ranges: Vec<Range>, cuts: &[(u128, u128)]) -> Vec<Range> {
    let mut kept = Vec::with_capacity(ranges.len() + cuts.len());
    for range in ranges {
        let from = cuts.partition_point(|(_, last)| *last < range.first);
        let last = range.last;
        let cuts = cuts.iter().skip(from).take_while(|(first, _)| *first <= last);
        let mut rest = Some(range);
        for (first, last) in cuts {
            let Some(range) = rest else { break };
            if range.first < *first {
                kept.push(Range { last: *first - 1, ..range.clone() });
            }
            rest = (*last < range.last).then(|| Range { first: *last + 1, ..range });
        }
        kept.extend(rest);
    }
    kept
}

/// How long all of `first` to `last` is covered by these disjoint, ordered ranges.
pub(crate) fn covered(ranges: &[Range], first: u128, last: u128) -> Option<Duration> {
    let mut next = first;
    let mut shortest: Option<Duration> = None;
    for range in ranges {
        if range.last < next {
            continue;
        }
        if range.first > next {
            return None;
        }
        shortest = Some(shortest.map_or(range.left, |s| s.min(range.left)));
        if range.last >= last {
            return shortest;
        }
        next = range.last + 1;
    }
    None
}

/// The fewest networks that make up `first` to `last`.
pub(crate) fn nets(family: Family, first: u128, last: u128) -> Vec<Net> {
    let mut nets = Vec::new();
    let mut next = first;
    while next <= last {
        // As large as the alignment of `next` and the rest of the range allow.
        let aligned = if next == 0 { u32::from(family.bits()) } else { next.trailing_zeros() };
        let room = (last - next).checked_add(1).map_or(128, u128::ilog2);
        let size = aligned.min(room).min(family.bits().into());
        let prefix = family.bits() - u8::try_from(size).unwrap_or(0);
        nets.extend(Net::new(family.addr(next), prefix));
        let step = 1u128.checked_shl(size).unwrap_or(0);
        match next.checked_add(step) {
            Some(behind) if step != 0 => next = behind,
            _ => break,
        }
    }
    nets
}

/// Networks as ordered ranges that neither overlap nor touch; what they had in time and reason is dropped.
pub(crate) fn union(family: Family, nets: &[Net]) -> Vec<(u128, u128)> {
    let mut ranges: Vec<_> = nets.iter().filter(|n| Family::of(**n) == family).map(|n| bounds(*n)).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str, seconds: u64) -> Range {
        Range::new(text.parse().expect(text), Duration::from_secs(seconds), text, Tag::default())
    }

    fn printed(ranges: &[Range]) -> Vec<String> {
        let print = |r: &Range| {
            let nets: Vec<_> = nets(Family::V4, r.first, r.last).iter().map(Net::to_string).collect();
            format!("{} {}s", nets.join("+"), r.left.as_secs())
        };
        ranges.iter().map(print).collect()
    }

    #[test]
    fn the_longest_block_wins_piece_by_piece() {
        for (ranges, expected) in [
            (
                vec![("10.0.0.0/8", 60), ("10.1.0.0/16", 3600)],
                vec![
                    "10.0.0.0/16 60s",
                    "10.1.0.0/16 3600s",
                    "10.2.0.0/15+10.4.0.0/14+10.8.0.0/13+10.16.0.0/12+10.32.0.0/11+10.64.0.0/10+10.128.0.0/9 60s",
                ],
            ),
            (vec![("10.0.0.0/8", 3600), ("10.1.0.0/16", 60)], vec!["10.0.0.0/8 3600s"]),
            (vec![("10.0.0.0/16", 5), ("10.1.0.0/16", 5)], vec!["10.0.0.0/16 5s", "10.1.0.0/16 5s"]),
            (vec![("10.0.0.0/16", 5), ("10.0.0.0/16", 9)], vec!["10.0.0.0/16 9s"]),
            (
                vec![("128.0.0.0/1", 5), ("255.255.255.0/24", 9)],
                vec![
                    "128.0.0.0/2+192.0.0.0/3+224.0.0.0/4+240.0.0.0/5+248.0.0.0/6+252.0.0.0/7+254.0.0.0/8+255.0.0.0/9+255.128.0.0/10\
                 +255.192.0.0/11+255.224.0.0/12+255.240.0.0/13+255.248.0.0/14+255.252.0.0/15+255.254.0.0/16+255.255.0.0/17\
                 +255.255.128.0/18+255.255.192.0/19+255.255.224.0/20+255.255.240.0/21+255.255.248.0/22+255.255.252.0/23\
                 +255.255.254.0/24 5s",
                    "255.255.255.0/24 9s",
                ],
            ),
        ] {
            let ranges: Vec<_> = ranges.into_iter().map(|(text, s)| range(text, s)).collect();
            assert_eq!(printed(&disjoint(&ranges)), expected);
        }
    }

    #[test]
    fn pieces_agree_with_an_array_of_addresses() {
        // A small linear generator: the same cases in every run.
        let mut state = 1u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        for _ in 0..300 {
            let mut ranges = Vec::new();
            let mut naive = [0u64; 64];
            for _ in 0..below(9) {
                let (first, length, left) = (below(60), below(20), 1 + below(5));
                let last = (first + length).min(63);
                ranges.push(Range {
                    first: first.into(),
                    last: last.into(),
                    left: Duration::from_secs(left),
                    reason: String::new(),
                    tag: Tag::default(),
                });
                for slot in &mut naive[first as usize..=last as usize] {
                    *slot = left.max(*slot);
                }
            }
            let mut pieces = disjoint(&ranges);
            let (cut_first, cut_last) = (below(64), below(64));
            let cut = |address: u64| cut_first <= address && address <= cut_last;
            for with_cut in [false, true] {
                if with_cut && cut_first <= cut_last {
                    pieces = without(pieces, &[(cut_first.into(), cut_last.into())]);
                }
                assert!(pieces.windows(2).all(|two| two[0].last < two[1].first), "{pieces:?}");
                for (address, left) in (0u64..).zip(naive) {
                    let expected = if with_cut && cut(address) { 0 } else { left };
                    let found = covered(&pieces, address.into(), address.into()).map_or(0, |d| d.as_secs());
                    assert_eq!(found, expected, "{address} in {ranges:?} → {pieces:?}");
                }
            }
        }
    }

    #[test]
    fn many_cuts_at_once_are_as_one_after_another() {
        let whole = disjoint(&[range("10.0.0.0/24", 60), range("10.0.2.0/23", 30), range("10.0.8.0/30", 5)]);
        let cuts = ["10.0.0.0/28", "10.0.0.64/26", "10.0.0.255", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.7"];
        let cuts = cuts.map(|cut| cut.parse::<Net>().expect(cut));
        let one_by_one = cuts.iter().fold(whole.clone(), |ranges, cut| without(ranges, &[bounds(*cut)]));
        let at_once = without(whole, &union(Family::V4, &cuts));
        assert_eq!(at_once, one_by_one);
        let left =
            ["10.0.0.16/28+10.0.0.32/27 60s", "10.0.0.128/26+10.0.0.192/27+10.0.0.224/28+10.0.0.240/29"];
        assert_eq!(printed(&at_once)[0], left[0]);
        assert!(printed(&at_once)[1].starts_with(left[1]));
    }

    #[test]
    fn coverage_is_that_of_the_weakest_piece() {
        let pieces = disjoint(&[range("10.0.0.0/24", 60), range("10.0.1.0/24", 30)]);
        for (text, seconds) in [
            ("10.0.0.0/23", Some(30)),
            ("10.0.0.0/24", Some(60)),
            ("10.0.0.0/22", None),
            ("9.0.0.0/24", None),
        ] {
            let (first, last) = bounds(text.parse().expect(text));
            assert_eq!(covered(&pieces, first, last).map(|d| d.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn all_addresses_are_one_network() {
        assert_eq!(nets(Family::V4, 0, u32::MAX.into()), ["0.0.0.0/0".parse().expect("net")]);
        assert_eq!(nets(Family::V6, 0, u128::MAX), ["::/0".parse().expect("net")]);
        assert_eq!(nets(Family::V4, 1, 2).len(), 2);
        let all =
            disjoint(&[Range::new("::/0".parse().expect("net"), Duration::from_secs(1), "", Tag::default())]);
        assert_eq!((all[0].first, all[0].last), (0, u128::MAX));
        let nets: Vec<Net> =
            ["10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8", "::/0"].map(|t| t.parse().expect(t)).into();
        assert_eq!(union(Family::V4, &nets), [(0x0a00_0000, 0x0bff_ffff)]);
    }
}
