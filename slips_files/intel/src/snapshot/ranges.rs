//! A table from networks to values: longest prefix wins, a lookup is one binary search and allocates nothing.
//!
//! Networks are nested or apart, never crossing, so they can be cut into disjoint ranges when the table is built.

use std::net::IpAddr;

use slips_core::addr::{Net, canonical};

/// A range of addresses of one family, both ends included, and the value of the most specific network around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range<A> {
    first: A,
    last: A,
    value: u32,
}

/// Set in what an edge says: the address itself alone, so that one that is listed by itself takes one edge and not two.
const ALONE: u32 = 1 << 31;
/// An edge says: from here on no network.
const NOBODY: u32 = ALONE - 1;

/// What an edge says of an address at it or behind it.
fn said(what: u32, at_the_edge: bool) -> Option<u32> {
    let held = what & ALONE == 0 || at_the_edge;
    (held && what & !ALONE != NOBODY).then_some(what & !ALONE)
}

/// Where ranges of IPv4 begin and what is said from there on, sorted. A search ends in the cache line that holds the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges4 {
    /// An address and what is said of it.
    pub(crate) edges: Vec<[u32; 2]>,
    /// For each upper half of an address, how many edges come before it: a search then stays in a cache line or two. Empty for small
    /// tables.
    halves: Vec<u32>,
}

impl Ranges4 {
    pub(crate) fn new(edges: Vec<[u32; 2]>) -> Self {
        Self { halves: index_of(&edges), edges }
    }

    fn find(&self, addr: u32) -> Option<u32> {
        let half = (addr >> 16) as usize;
        let (from, to) = match self.halves.get(half..half + 2) {
            Some([from, to]) => (*from as usize, *to as usize),
            _ => (0, self.edges.len()),
        };
        // The range that holds the address may have begun in an earlier half.
        let here = self.edges.get(from..to)?;
        let begun = from + here.partition_point(|[first, _]| *first <= addr);
        let [first, what] = self.edges.get(begun.checked_sub(1)?)?;
        said(*what, *first == addr)
    }

    fn memory(&self) -> usize {
        self.edges.capacity() * 8 + self.halves.capacity() * 4
    }
}

/// The same of IPv6; column by column, so that a search touches nothing but addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges6 {
    pub(crate) first: Vec<u128>,
    pub(crate) what: Vec<u32>,
    /// Every [`STRIDE`]th of `first`: few enough to stay in the nearest cache.
    coarse: Vec<u128>,
}

/// Edges of IPv6 between two that are looked at first.
const STRIDE: usize = 32;

impl Ranges6 {
    pub(crate) fn new(first: Vec<u128>, what: Vec<u32>) -> Self {
        let coarse = first.iter().step_by(STRIDE).copied().collect();
        Self { first, what, coarse }
    }

    fn find(&self, addr: u128) -> Option<u32> {
        let block = self.coarse.partition_point(|first| *first <= addr).checked_sub(1)?;
        let from = block * STRIDE;
        let here = self.first.get(from..self.first.len().min(from + STRIDE))?;
        let at = (from + here.partition_point(|first| *first <= addr)).checked_sub(1)?;
        said(*self.what.get(at)?, *self.first.get(at)? == addr)
    }

    fn memory(&self) -> usize {
        (self.first.capacity() + self.coarse.capacity()) * 16 + self.what.capacity() * 4
    }
}

/// Networks of both families.
#[derive(Clone, Debug, Default)]
pub(crate) struct RangeTable {
    pub(crate) v4: Ranges4,
    pub(crate) v6: Ranges6,
}

/// Tables from this size on are worth an index of 256 kB.
const INDEXED_FROM: usize = 1024;

impl RangeTable {
    /// A table of these networks, each of which may be listed once, with values below 2^31 - 1.
    pub(crate) fn new(nets: impl IntoIterator<Item = (Net, u32)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (net, value) in nets {
            match (net.addr(), net.last()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => {
                    v4.push(Range { first: first.to_bits(), last: last.to_bits(), value });
                }
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    v6.push(Range { first: first.to_bits(), last: last.to_bits(), value });
                }
                _ => {}
            }
        }
        let v6 = edges(&disjoint(v6));
        Self {
            v4: Ranges4::new(edges(&disjoint(v4)).into_iter().map(|(at, what)| [at, what]).collect()),
            v6: Ranges6::new(
                v6.iter().map(|(at, _)| *at).collect(),
                v6.iter().map(|(_, what)| *what).collect(),
            ),
        }
    }

    /// The value of the most specific network that holds `addr`.
    pub(crate) fn lookup(&self, addr: IpAddr) -> Option<u32> {
        match canonical(addr) {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.find(v6.to_bits()),
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.v4.memory() + self.v6.memory()
    }
}

fn index_of(edges: &[[u32; 2]]) -> Vec<u32> {
    if edges.len() < INDEXED_FROM {
        return Vec::new();
    }
    let mut before = 0;
    (0..=1u64 << 16)
        .map(|half| {
            let here = edges.get(before..).unwrap_or_default();
            before += here.iter().take_while(|[first, _]| u64::from(*first) < half << 16).count();
            before as u32
        })
        .collect()
}

/// A step to the neighbouring address.
trait Step: Ord + Copy {
    fn up(self) -> Option<Self>;
    fn down(self) -> Option<Self>;
}

macro_rules! step {
    ($number:ty) => {
        impl Step for $number {
            fn up(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn down(self) -> Option<Self> {
                self.checked_sub(1)
            }
        }
    };
}
step!(u32);
step!(u128);

/// Where ranges begin, and where one ends behind which none begins, with what is said from there on.
fn edges<A: Step>(ranges: &[Range<A>]) -> Vec<(A, u32)> {
    let mut edges = Vec::with_capacity(ranges.len());
    for (n, range) in ranges.iter().enumerate() {
        let alone = range.first == range.last;
        edges.push((range.first, if alone { range.value | ALONE } else { range.value }));
        let next = ranges.get(n + 1).map(|next| next.first);
        if let Some(behind) = range.last.up().filter(|behind| !alone && Some(*behind) != next) {
            edges.push((behind, NOBODY));
        }
    }
    edges.shrink_to_fit();
    edges
}

/// Cuts nested ranges so that each address lies in the innermost one only.
fn disjoint<A: Step>(mut nested: Vec<Range<A>>) -> Vec<Range<A>> {
    // Outer before inner, so that the stack of the ranges around the sweep is sorted from wide to narrow.
    nested.sort_unstable_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
    let mut cut = Cut { out: Vec::with_capacity(nested.len()), from: None };
    let mut around: Vec<Range<A>> = Vec::new();
    for range in nested {
        while let Some(outer) = around.pop_if(|outer| outer.last < range.first) {
            cut.up_to(outer.last, outer.value);
        }
        if let (Some(outer), Some(last)) = (around.last(), range.first.down()) {
            cut.up_to(last, outer.value);
        }
        cut.from = Some(range.first);
        around.push(range);
    }
    while let Some(outer) = around.pop() {
        cut.up_to(outer.last, outer.value);
    }
    cut.out.shrink_to_fit();
    cut.out
}

struct Cut<A> {
    out: Vec<Range<A>>,
    /// The first address that is not covered yet; none at the end of the address space.
    from: Option<A>,
}

impl<A: Step> Cut<A> {
    /// Covers what is left up to `last`.
    fn up_to(&mut self, last: A, value: u32) {
        if let Some(first) = self.from.filter(|first| *first <= last) {
            self.out.push(Range { first, last, value });
            self.from = last.up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn naive(nets: &BTreeMap<Net, u32>, addr: IpAddr) -> Option<u32> {
        let around = nets.iter().filter(|(net, _)| net.contains(addr));
        around.max_by_key(|(net, _)| net.prefix()).map(|(_, value)| *value)
    }

    /// Few distinct high bits, so that networks nest and touch often; also the ends of the address space.
    fn addr() -> impl Strategy<Value = IpAddr> {
        let v4 = (0..4u32, 0..8u32, prop::bool::ANY).prop_map(|(high, low, top)| {
            let bits = (high << 30) | low;
            IpAddr::from((if top { !bits } else { bits }).to_be_bytes())
        });
        let v6 = (0..4u128, 0..8u128, prop::bool::ANY).prop_map(|(high, low, top)| {
            let bits = (high << 126) | low;
            IpAddr::from((if top { !bits } else { bits }).to_be_bytes())
        });
        prop_oneof![v4, v6]
    }

    fn net() -> impl Strategy<Value = Net> {
        (addr(), 0..=8u8, prop::bool::ANY).prop_map(|(addr, n, short)| {
            let bits = if addr.is_ipv4() { 32 } else { 128 };
            Net::new(addr, if short { n } else { bits - n }).expect("a short enough prefix")
        })
    }

    proptest! {
        #[test]
        fn a_lookup_equals_a_naive_one(
            nets in prop::collection::btree_map(net(), 0..NOBODY, 0..40),
            probes in prop::collection::vec(addr(), 1..40),
        ) {
            let table = RangeTable::new(nets.iter().map(|(net, value)| (*net, *value)));
            let ends = nets.keys().flat_map(|net| [net.addr(), net.last()]);
            for probe in probes.into_iter().chain(ends) {
                prop_assert_eq!(table.lookup(probe), naive(&nets, canonical(probe)), "{}", probe);
            }
        }
    }

    #[test]
    fn a_large_table_with_its_index_equals_a_naive_one() {
        let mut nets = BTreeMap::new();
        let mut seed = 1u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed
        };
        for value in 0..3000 {
            let (bits, prefix) = (random(), 12 + (random() >> 24) as u8 % 21);
            nets.insert(Net::new(IpAddr::from(bits.to_be_bytes()), prefix).expect("prefix"), value);
        }
        let table = RangeTable::new(nets.iter().map(|(net, value)| (*net, *value)));
        assert!(!table.v4.halves.is_empty());
        let ends = nets.keys().flat_map(|net| [net.addr(), net.last()]);
        let probes: Vec<_> =
            (0..300).map(|_| IpAddr::from(random().to_be_bytes())).chain(ends.step_by(7)).collect();
        for probe in probes {
            assert_eq!(table.lookup(probe), naive(&nets, probe), "{probe}");
        }
    }

    #[test]
    fn the_longest_prefix_wins_and_mapped_addresses_are_found() {
        let net = |text: &str| text.parse::<Net>().expect(text);
        let table =
            RangeTable::new([(net("192.0.2.0/24"), 1), (net("192.0.2.7"), 2), (net("192.0.2.0/28"), 3)]);
        let lookup = |text: &str| table.lookup(text.parse().expect(text));
        for (addr, value) in [
            ("192.0.1.255", None),
            ("192.0.2.0", Some(3)),
            ("192.0.2.7", Some(2)),
            ("192.0.2.8", Some(3)),
            ("192.0.2.16", Some(1)),
            ("192.0.2.255", Some(1)),
            ("192.0.3.0", None),
            ("::ffff:192.0.2.7", Some(2)),
            ("2001:db8::1", None),
        ] {
            assert_eq!(lookup(addr), value, "{addr}");
        }
    }
}
