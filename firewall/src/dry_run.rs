//! A backend that blocks nobody: the same answers as the kernel's, from memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use slips_core::addr::Net;

use crate::block::Tag;
use crate::ranges::{self, Family, Range};
use crate::{Backend, Block, BlockRequest, Change, Error, Health, SelfTest, is_single};

/// Remembers what would be blocked; for the mode that only watches, and for tests of what stands above a backend.
pub struct DryRun {
    hosts: BTreeMap<Net, (Duration, String, Tag)>,
    /// When each of them ends.
    ends: BTreeSet<(Duration, Net)>,
    wide: Vec<(Family, Range)>,
    clock: Box<dyn Fn() -> Duration + Send>,
}

impl DryRun {
    /// Nobody is blocked; blocks end by the machine's steady clock, as the kernel's do.
    #[expect(
        clippy::disallowed_methods,
        reason = "stands in for the kernel, which ends blocks by its own clock"
    )]
    pub fn new() -> Self {
        let start = Instant::now();
        Self::with_clock(move || start.elapsed())
    }

    /// Nobody is blocked; blocks end by this clock, which never goes back.
    pub fn with_clock(clock: impl Fn() -> Duration + Send + 'static) -> Self {
        Self { hosts: BTreeMap::new(), ends: BTreeSet::new(), wide: Vec::new(), clock: Box::new(clock) }
    }

    /// Forgets what is over. Times inside are moments of the clock, not durations from now.
    fn expire(&mut self) -> Duration {
        let now = (self.clock)();
        while let Some((end, net)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, net));
            self.hosts.remove(&net);
        }
        self.wide.retain(|(_, range)| range.left > now);
        now
    }

    fn block(&mut self, now: Duration, request: &BlockRequest) {
        let end = now.saturating_add(request.for_);
        if is_single(request.net) {
            self.let_in(request.net);
            self.hosts.insert(request.net, (end, request.reason.clone(), request.tag()));
            self.ends.insert((end, request.net));
            return;
        }
        let family = Family::of(request.net);
        let mut all = self.take_wide(family);
        all.push(Range::new(request.net, end, &request.reason, request.tag()));
        self.put_wide(family, all);
    }

    fn unblock(&mut self, net: Net) {
        self.let_in(net);
        let (first, last) = ranges::bounds(net);
        let rest = ranges::without(self.take_wide(Family::of(net)), &[(first, last)]);
        self.put_wide(Family::of(net), rest);
    }

    /// Ends the block of exactly this network, if there is one.
    fn let_in(&mut self, net: Net) {
        if let Some((end, ..)) = self.hosts.remove(&net) {
            self.ends.remove(&(end, net));
        }
    }

    /// The end of what covers all of a network.
    fn covered(&self, net: Net) -> Option<Duration> {
        let same = self.wide.iter().filter(|(family, _)| *family == Family::of(net));
        let same: Vec<_> = same.map(|(_, range)| range.clone()).collect();
        let (first, last) = ranges::bounds(net);
        ranges::covered(&same, first, last)
    }

    fn take_wide(&mut self, family: Family) -> Vec<Range> {
        self.wide.extract_if(.., |(f, _)| *f == family).map(|(_, range)| range).collect()
    }

    fn put_wide(&mut self, family: Family, ranges: Vec<Range>) {
        self.wide.extend(ranges::disjoint(&ranges).into_iter().map(|range| (family, range)));
    }
}

impl Default for DryRun {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DryRun").field("hosts", &self.hosts).field("wide", &self.wide).finish_non_exhaustive()
    }
}

impl Backend for DryRun {
    fn apply(&mut self, changes: &[Change]) -> Result<(), Error> {
        let now = self.expire();
        for change in changes {
            match change {
                Change::Block(request) => self.block(now, request),
                Change::Unblock(net) => self.unblock(*net),
                Change::Clear => {
                    self.hosts.clear();
                    self.ends.clear();
                    self.wide.clear();
                }
                // Nothing passes here, so nothing has to pass first.
                Change::Protect(_) => {}
            }
        }
        Ok(())
    }

    fn left(&mut self, nets: &[Net]) -> Result<Vec<Option<Duration>>, Error> {
        let now = self.expire();
        let end = |net: &Net| {
            if is_single(*net) {
                return self.hosts.get(net).map(|(end, ..)| *end);
            }
            self.covered(*net)
        };
        Ok(nets.iter().map(|net| end(net).map(|end| end.saturating_sub(now))).collect())
    }

    fn cover(&mut self, net: Net) -> Result<Option<Duration>, Error> {
        let own = self.left(&[net])?.pop().flatten();
        let now = self.expire();
        let wide = self.covered(net).map(|end| end.saturating_sub(now));
        Ok(own.max(wide))
    }

    fn list(&mut self) -> Result<Vec<Block>, Error> {
        let now = self.expire();
        let mut blocks = Vec::with_capacity(self.hosts.len());
        for (net, (end, reason, tag)) in &self.hosts {
            blocks.push(block(*net, *end - now, reason, *tag));
        }
        for (family, range) in &self.wide {
            for net in ranges::nets(*family, range.first, range.last) {
                blocks.push(block(net, range.left - now, &range.reason, range.tag));
            }
        }
        blocks.sort_unstable_by_key(|block| block.net);
        Ok(blocks)
    }

    fn verify(&mut self) -> Result<Health, Error> {
        Ok(Health::Intact)
    }

    fn self_test(&mut self) -> Result<SelfTest, Error> {
        Ok(SelfTest::Unknown)
    }

    fn remove(&mut self) -> Result<(), Error> {
        self.apply(&[Change::Clear])
    }
}

fn block(net: Net, left: Duration, reason: &str, tag: Tag) -> Block {
    Block { net, left, reason: reason.to_owned(), by: tag.by, manner: tag.manner }
}
