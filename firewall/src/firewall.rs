//! The face of the crate: requests in, outcomes out.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use slips_core::addr::Net;
use slips_core::flow::MacAddr;

use crate::nft::PROBE;
use crate::policy::subnet;
use crate::protected::machine_of;
use crate::{
    Backend, Block, BlockRequest, Change, Count, Counters, Crowd, Crowded, DryRun, Ended, Error, Health,
    NftOptions, Nftables, Origin, Pending, Policy, Protected, Refusal, SelfTest, Watched, is_single,
};

/// Blocks networks, except those that are never blocked.
#[derive(Debug)]
pub struct Firewall {
    backend: Box<dyn Backend>,
    policy: Policy,
    protected: Protected,
    /// The backend knows who is protected.
    armed: bool,
    /// What is blocked of IPv6 after alerts, by a clock that begins with this object.
    crowd: Crowd,
    began: Instant,
    /// The table was made anew, and nobody has been told yet that blocks were lost.
    rebuilt: bool,
}

/// Whether somebody is really kept out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The kernel drops the packets of the blocked.
    #[default]
    Enforce,
    /// All goes the same way, and nobody is blocked.
    Monitor,
}

/// How a firewall is opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether somebody is really kept out.
    pub mode: Mode,
    /// The limits of a block.
    pub policy: Policy,
    /// Who is never blocked, from the first moment on.
    pub protected: Protected,
    /// Write the reasons into the kernel too, where `nft list` shows them; doubles the memory of a block.
    pub annotate: bool,
    /// Write some of what is dropped into the kernel's log.
    pub log: bool,
    /// The TCP port of this host that an isolated host may still reach, where it is told what happened.
    pub notice_port: Option<u16>,
    /// Hosts talk with each other through a bridge of this host: what passes there is looked up too.
    pub bridge: bool,
    /// There a blocked host of our own is looked up by its hardware address too, where that is known.
    pub machines: bool,
    /// How many single IPv4 addresses can be blocked, and half as many of IPv6 and of its /64; `None` for 131,072.
    pub size: Option<u32>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not blocked and is now.
    Blocked {
        /// What is blocked: the network of the request, or the /64 of an IPv6 address.
        net: Net,
        /// For how long.
        for_: Duration,
    },
    /// It was blocked and is so for longer now.
    Extended {
        /// What is blocked.
        net: Net,
        /// For how long from now on.
        for_: Duration,
        /// How long it had left.
        had: Duration,
    },
    /// It is blocked for longer already.
    Kept {
        /// What is blocked.
        net: Net,
        /// How long it has left.
        left: Duration,
    },
    /// It is not to be blocked.
    Refused(Refusal),
}

impl Outcome {
    /// What becomes of a judged request where this network is blocked for so long already.
    fn of(net: Net, for_: Duration, had: Option<Duration>) -> Self {
        match had {
            Some(left) if left >= for_ => Self::Kept { net, left },
            Some(had) => Self::Extended { net, for_, had },
            None => Self::Blocked { net, for_ },
        }
    }

    /// What is blocked after it, unless it was refused.
    const fn net(&self) -> Option<Net> {
        match self {
            Self::Blocked { net, .. } | Self::Extended { net, .. } | Self::Kept { net, .. } => Some(*net),
            Self::Refused(_) => None,
        }
    }
}

/// How many /64 the kernel's set takes, where it takes so many IPv4 addresses.
fn room_for_subnets(size: Option<u32>) -> usize {
    let size = size.unwrap_or(NftOptions::default().size).div_ceil(2);
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// Turns what would become of requests where nothing is blocked into what becomes of them where these are, and keeps the changes that are
/// still needed.
fn against(mut held: HashMap<Net, Duration>, outcomes: &mut [Outcome], changes: &mut Vec<Change>) {
    let mut planned = std::mem::take(changes).into_iter();
    for outcome in outcomes {
        match *outcome {
            Outcome::Blocked { net, for_ } | Outcome::Extended { net, for_, .. } => {
                let change = planned.next();
                *outcome = Outcome::of(net, for_, held.get(&net).copied());
                if !matches!(outcome, Outcome::Kept { .. }) {
                    held.insert(net, for_);
                    changes.extend(change);
                }
            }
            // Kept by an earlier request of these, or by the longer block that is there.
            Outcome::Kept { net, left } => {
                *outcome = Outcome::Kept { net, left: held.get(&net).copied().unwrap_or(left) };
            }
            Outcome::Refused(_) => {}
        }
    }
}

impl Firewall {
    /// Opens the firewall. What a former process had blocked and is not over stays blocked, without a gap.
    pub fn open(options: Options) -> Result<Self, Error> {
        let backend: Box<dyn Backend> = match options.mode {
            Mode::Enforce => {
                let Options { annotate, log, notice_port, bridge, machines, .. } = options;
                let room = NftOptions::default().size;
                Box::new(Nftables::open(NftOptions {
                    annotate,
                    log,
                    notice_port,
                    bridge,
                    machines,
                    size: options.size.unwrap_or(room),
                    ..NftOptions::default()
                })?)
            }
            Mode::Monitor => Box::new(DryRun::new()),
        };
        let mut this = Self::with_backend(backend, options.policy, options.protected)?;
        this.crowd = Crowd::new(room_for_subnets(options.size));
        Ok(this)
    }

    /// The same over another backend.
    #[expect(
        clippy::disallowed_methods,
        reason = "ends are counted from here by the machine's steady clock, as the kernel's are"
    )]
    pub fn with_backend(
        backend: Box<dyn Backend>,
        policy: Policy,
        protected: Protected,
    ) -> Result<Self, Error> {
        let mut this = Self {
            backend,
            policy,
            protected: Protected::classes(),
            armed: false,
            crowd: Crowd::new(room_for_subnets(None)),
            began: Instant::now(),
            rebuilt: false,
        };
        this.set_protected(protected)?;
        Ok(this)
    }

    /// Blocks a network.
    pub fn block(&mut self, request: BlockRequest) -> Result<Outcome, Error> {
        let outcome = self.block_many(vec![request])?.pop();
        outcome.ok_or(Error::Unanswered("block"))
    }

    /// What a request would block and for how long; nothing is changed.
    pub fn judge(&self, request: &BlockRequest) -> Result<(Net, Duration), Refusal> {
        self.policy.judge(&self.protected, request)
    }

    /// The /56 that is to be blocked with this /64, and with those that come together with it, because its owner has many; see
    /// [`Crowd::widened`].
    pub fn widened(&self, net: Net, coming: &BTreeSet<Net>) -> Option<Net> {
        self.crowd.widened(&self.policy, &self.protected, net, coming)
    }

    /// What should be let in before one more /64 is blocked after an alert: nothing, or where the /32 of its provider has its share of the
    /// set, an eighth, what of that ends first. Else an attacker with a whole /32 would keep all others out of the set.
    pub fn makes_room(&self, net: Net, pending: Pending) -> Result<Option<Net>, Crowded> {
        self.crowd.makes_room(net, pending)
    }

    /// Notes what changes make of the crowd.
    fn note(&mut self, changes: &[Change]) {
        let now = self.began.elapsed();
        self.crowd.expire(now);
        for change in changes {
            match change {
                Change::Block(request) if request.by == Origin::Local => {
                    self.crowd.put(request.net, now.saturating_add(request.for_));
                }
                Change::Unblock(net) => self.crowd.let_in(*net),
                Change::Clear => self.crowd.clear(),
                Change::Block(_) | Change::Protect(_) => {}
            }
        }
    }

    /// Blocks many networks in one transaction: all that are not refused, or none when there is an error. About 2,000 at once keep
    /// the transaction under 2 ms.
    pub fn block_many(&mut self, requests: Vec<BlockRequest>) -> Result<Vec<Outcome>, Error> {
        let mut changes = Vec::with_capacity(requests.len());
        let mut outcomes = self.plan(requests, &mut changes);
        if self.ask(|backend| backend.block_new(&changes))? {
            self.note(&changes);
            return Ok(outcomes);
        }
        let nets: Vec<Net> = outcomes.iter().filter_map(Outcome::net).collect();
        let held = self.ask(|backend| backend.left(&nets))?;
        let held = nets.into_iter().zip(held).filter_map(|(net, left)| Some((net, left?))).collect();
        against(held, &mut outcomes, &mut changes);
        self.apply(&changes)?;
        Ok(outcomes)
    }

    /// What becomes of requests where nothing is blocked; and the changes for it, one for each that is blocked or extended.
    fn plan(&mut self, requests: Vec<BlockRequest>, changes: &mut Vec<Change>) -> Vec<Outcome> {
        let near = self.near(&requests);
        let mut planned: HashMap<Net, Duration> = HashMap::with_capacity(requests.len());
        let mut outcomes = Vec::with_capacity(requests.len());
        for request in requests {
            let (net, for_) = match self.judge(&request) {
                Ok(judged) => judged,
                Err(refusal) => {
                    outcomes.push(Outcome::Refused(refusal));
                    continue;
                }
            };
            let outcome = Outcome::of(net, for_, planned.get(&net).copied());
            if !matches!(outcome, Outcome::Kept { .. }) {
                planned.insert(net, for_);
                let machine = request.machine.or_else(|| machine_of(net, &near, &self.protected));
                changes.push(Change::Block(BlockRequest { net, for_, machine, ..request }));
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Who is near, where somebody of our own networks is to be blocked; best effort.
    fn near(&mut self, requests: &[BlockRequest]) -> BTreeSet<(IpAddr, MacAddr)> {
        if !requests.iter().any(|request| self.protected.is_local(request.net)) {
            return BTreeSet::new();
        }
        self.backend.machines().unwrap_or_else(|error| {
            tracing::debug!(%error, "who is near is not known");
            BTreeSet::new()
        })
    }

    /// Lets these very networks in and then blocks those for exactly the time that is asked, longer or shorter than it was, all in one
    /// transaction: for who keeps a book of what is blocked and need not be told what is. To let in a wide network lets all of it in; what
    /// else of it is to stay blocked must be asked for again. Returns an outcome for each request, blocked or refused.
    pub fn exchange(&mut self, let_in: &[Net], requests: Vec<BlockRequest>) -> Result<Vec<Outcome>, Error> {
        let mut changes: Vec<Change> = let_in.iter().map(|net| Change::Unblock(net.plain())).collect();
        let outcomes = self.plan(requests, &mut changes);
        if !changes.is_empty() {
            self.apply(&changes)?;
        }
        Ok(outcomes)
    }

    /// Lets a network in again; whether some of it was blocked. A single address is let in also when it is blocked as part of a network,
    /// with IPv6 its /64 too, since it was blocked with it; a network with all blocks in it.
    pub fn unblock(&mut self, net: Net) -> Result<bool, Error> {
        let net = net.plain();
        let mut nets: Vec<Net> = std::iter::once(net).chain(subnet(net)).collect();
        let mut was_blocked = false;
        for net in &nets {
            was_blocked |= self.ask(|backend| backend.cover(*net))?.is_some();
        }
        if !is_single(net) {
            let inside = self.blocks()?.into_iter().map(|block| block.net).filter(|held| net.overlaps(*held));
            let before = nets.len();
            nets.extend(inside.filter(|held| net.prefix() <= held.prefix()));
            was_blocked |= nets.len() > before;
        }
        self.apply(&nets.into_iter().map(Change::Unblock).collect::<Vec<_>>())?;
        Ok(was_blocked)
    }

    /// Blocks exactly these from now on, instead of all that is blocked, in one transaction: how a daemon that starts brings the
    /// kernel in line with its database. Returns an outcome for each.
    pub fn restore(&mut self, requests: Vec<BlockRequest>) -> Result<Vec<Outcome>, Error> {
        let mut changes = vec![Change::Clear];
        changes.reserve(requests.len());
        let mut outcomes = self.plan(requests, &mut changes);
        for outcome in &mut outcomes {
            // Whatever was there has gone.
            if let Outcome::Extended { net, for_, .. } = *outcome {
                *outcome = Outcome::Blocked { net, for_ };
            }
        }
        self.apply(&changes)?;
        self.rebuilt = false;
        Ok(outcomes)
    }

    /// Everybody that is blocked, with the time left. Not for a routine: it reads all of it from the kernel.
    pub fn blocks(&mut self) -> Result<Vec<Block>, Error> {
        self.ask(|backend| backend.list())
    }

    /// How long all of a network stays blocked: by its own block, by a wider one, and a single IPv6 address with its /64.
    pub fn left(&mut self, net: Net) -> Result<Option<Duration>, Error> {
        let net = net.plain();
        let subnet = subnet(net).map(|net| self.ask(|backend| backend.left(&[net]))).transpose()?;
        let own = self.ask(|backend| backend.cover(net))?;
        Ok(own.max(subnet.and_then(|left| left.into_iter().flatten().max())))
    }

    /// Replaces who is never blocked. Who of them is blocked at that moment is let in; returns those.
    pub fn set_protected(&mut self, protected: Protected) -> Result<Vec<Net>, Error> {
        if protected.iter().eq(self.protected.iter()) && self.armed {
            self.protected = protected;
            return Ok(Vec::new());
        }
        let nets: Vec<Net> = protected.iter().map(|(net, _)| net).collect();
        let is_new = |net: &Net| !self.armed || !self.protected.names(*net);
        let new: Vec<Net> = nets.iter().copied().filter(is_new).collect();
        let subnets = new.iter().copied().filter_map(subnet);
        let suspects: Vec<Net> = new.iter().copied().chain(subnets).collect();
        let left = self.ask(|backend| backend.left(&suspects))?;
        let mut freed: Vec<Net> =
            suspects.into_iter().zip(left).filter(|(_, left)| left.is_some()).map(|(net, _)| net).collect();
        let wide: Vec<Net> = new.iter().copied().filter(|net| self.armed && !is_single(*net)).collect();
        if !wide.is_empty() {
            let within =
                |held: &Net| wide.iter().any(|net| net.prefix() < held.prefix() && net.overlaps(*held));
            freed.extend(self.blocks()?.into_iter().map(|block| block.net).filter(within));
        }
        // All that are new, since one may lie in a wider block: then it is let in alone, and the rest stays blocked.
        let let_in: BTreeSet<Net> = new.into_iter().chain(freed.iter().copied()).collect();
        let unblock = let_in.into_iter().map(Change::Unblock);
        let changes: Vec<Change> = std::iter::once(Change::Protect(nets)).chain(unblock).collect();
        self.apply(&changes)?;
        self.protected = protected;
        self.armed = true;
        Ok(freed)
    }

    /// Who is never blocked.
    pub const fn protected(&self) -> &Protected {
        &self.protected
    }

    /// Lets everybody in; the table stays for further blocks.
    pub fn clear(&mut self) -> Result<(), Error> {
        self.apply(&[Change::Clear])
    }

    /// Looks whether all that blocks is still there. On kernels before 6.9 another program can remove it, `nft flush ruleset` for one.
    /// It is made anew then, and [`restore`](Self::restore) must bring the blocks back: this says `Rebuilt` until it has.
    pub fn verify(&mut self) -> Result<Health, Error> {
        if self.backend.verify()? == Health::Rebuilt {
            tracing::warn!(
                "another program had removed or changed the table of blocks; it has been made anew"
            );
            self.rebuilt = true;
            self.backend.apply(&[self.protection()])?;
        }
        Ok(if self.rebuilt { Health::Rebuilt } else { Health::Intact })
    }

    /// What was dropped of a single network since this was asked first: from then on it has a counter of its own. `None` when it has no
    /// block of its own.
    pub fn count(&mut self, net: Net) -> Result<Option<Count>, Error> {
        let net = net.plain();
        let mut counted = None;
        for net in std::iter::once(net).chain(subnet(net)).filter(|net| is_single(*net)) {
            counted = counted.or(self.ask(|backend| backend.count(net))?);
        }
        Ok(counted)
    }

    /// Lets all packets pass for now, or drops them again; blocks stay, end and are changed as ever.
    pub fn set_paused(&mut self, paused: bool) -> Result<(), Error> {
        self.backend.set_paused(paused)
    }

    /// What changed around the firewall since this was asked last; asks cost next to nothing.
    pub fn watch(&mut self) -> Watched {
        self.backend.watch()
    }

    /// What can be read when [`watch`](Self::watch) has something to tell, for who waits until then.
    pub fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        self.backend.wakes()
    }

    /// Applies changes; to a new table when ours has gone.
    fn apply(&mut self, changes: &[Change]) -> Result<(), Error> {
        self.ask(|backend| backend.apply(changes))?;
        self.note(changes);
        Ok(())
    }

    /// Asks the backend; when its table has gone, it is made anew first, and the next [`verify`](Self::verify) tells.
    fn ask<T>(&mut self, ask: impl Fn(&mut dyn Backend) -> Result<T, Error>) -> Result<T, Error> {
        match ask(&mut *self.backend) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => {
                self.verify()?;
                ask(&mut *self.backend)
            }
            done => done,
        }
    }

    fn protection(&self) -> Change {
        Change::Protect(self.protected.iter().map(|(net, _)| net).collect())
    }

    /// What was dropped.
    pub fn counters(&mut self) -> Result<Counters, Error> {
        self.backend.counters()
    }

    /// Ends the connections that are open with these networks, best effort: what is dropped is dropped without it. Reads the whole
    /// table of connections, so ask once for many.
    pub fn end_connections(&mut self, nets: &[Net]) -> Result<Ended, Error> {
        self.backend.end_connections(nets)
    }

    /// What was dropped for each who asks, in the order of [`Origin::ALL`].
    pub fn counters_by(&mut self) -> Result<[Counters; Origin::ALL.len()], Error> {
        self.backend.counters_by()
    }

    /// Whether blocking blocks. It cannot be told where the address that is tried always passes.
    pub fn self_test(&mut self) -> Result<SelfTest, Error> {
        if self.protected.check(Net::host(PROBE.into())).is_some() {
            return Ok(SelfTest::Unknown);
        }
        self.backend.self_test()
    }

    /// Ends and takes everything of ours away. Merely dropping the firewall leaves the blocks in place until their time is over.
    pub fn remove(mut self) -> Result<(), Error> {
        self.backend.remove()
    }
}

#[cfg(test)]
mod tests;
