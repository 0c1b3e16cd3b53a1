//! The door: what arrives is taken, ignored or rejected here, before anybody looks at what it says.
//!
//! Reject is for what the neighbour who handed it on could have seen to be broken; it costs that neighbour its place. All else
//! is only ignored: to be stale, unknown or too talkative is no proof of malice, and to be wrong about the world is trust's matter.

use std::time::Duration;

use crate::bucket::{Buckets, Quotas};
use crate::envelope::{NotOpened, Opened, Sealed};
use crate::identity::{NetId, NodeId};
use crate::members::{Members, Membership};
use crate::message::{Kind, Message};
use crate::moment::{Clock, Moment};
use crate::replay::{Replay, Seen};
use crate::roster::{Role, Roster};

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// By gossip: it must be minutes young.
    Gossip,
    /// In a snapshot of what holds still: as much at once as may hold.
    Snapshot,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// Broken, too large, of another network, or badly signed.
    Broken,
    /// Of a version or kind that we do not know.
    Unknown,
    /// The author is no peer of ours.
    Stranger,
    /// The author's role does not allow it.
    Role,
    /// We said it ourselves.
    Own,
    /// Issued in the future, or too old for its path, or over.
    Stale,
    /// Taken already, or so far back that it cannot be told.
    Replayed,
    /// The author says more than it may.
    Quota,
    /// Our own clock cannot be believed yet.
    Clock,
}

impl Why {
    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Broken,
        Self::Unknown,
        Self::Stranger,
        Self::Role,
        Self::Own,
        Self::Stale,
        Self::Replayed,
        Self::Quota,
        Self::Clock,
    ];

    /// Lower-case name for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::Stranger => "stranger",
            Self::Role => "role",
            Self::Own => "own",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::Quota => "quota",
            Self::Clock => "clock",
        }
    }
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is handed on, and to the daemon.
    Accept(Box<Accepted>),
    /// It is dropped.
    Ignore(Why),
    /// It is dropped, and who handed it on pays.
    Reject(Why),
}

/// A message that was taken, and who its author is to us.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The message.
    pub opened: Opened,
    /// Its author.
    pub author: Membership,
    /// The exact bytes, which prove it to others.
    pub envelope: Vec<u8>,
}

/// The limits of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Clocks may differ so much.
    pub ahead: Duration,
    /// By gossip nothing older is taken; gossipsub remembers duplicates for longer than this.
    pub gossip: Duration,
    /// Nothing holds longer, whatever its author says.
    pub longest: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            ahead: Duration::from_secs(120),
            gossip: Duration::from_secs(240),
            longest: Duration::from_secs(86_400),
        }
    }
}

/// The door of one node.
#[derive(Clone, Debug)]
pub struct Gate {
    net: NetId,
    own: NodeId,
    freshness: Freshness,
    buckets: Buckets,
    /// What was taken already; kept on disk.
    pub replay: Replay,
    accepted: [u64; Kind::ALL.len()],
    refused: [u64; Why::ALL.len()],
}

impl Gate {
    /// The door of node `own` in `net`.
    pub fn new(net: NetId, own: NodeId, quotas: Quotas) -> Self {
        Self {
            net,
            own,
            freshness: Freshness::default(),
            buckets: Buckets::new(quotas),
            replay: Replay::default(),
            accepted: [0; Kind::ALL.len()],
            refused: [0; Why::ALL.len()],
        }
    }

    /// Judges bytes that arrived.
    pub fn judge(&mut self, bytes: &[u8], path: Path, members: &Members, clock: Clock) -> Verdict {
        let verdict = match self.weigh(bytes, path, members, clock) {
            Ok(accepted) => Verdict::Accept(Box::new(accepted)),
            Err((why @ Why::Broken, _)) => Verdict::Reject(why),
            Err((why, _)) => Verdict::Ignore(why),
        };
        match &verdict {
            Verdict::Accept(accepted) => {
                count(&mut self.accepted, accepted.opened.message.kind() as usize - 1)
            }
            Verdict::Ignore(why) | Verdict::Reject(why) => count(&mut self.refused, *why as usize),
        }
        verdict
    }

    fn weigh(
        &mut self,
        bytes: &[u8],
        path: Path,
        members: &Members,
        clock: Clock,
    ) -> Result<Accepted, (Why, Option<NotOpened>)> {
        let not_opened = |error: NotOpened| {
            let why = match error {
                NotOpened::Version(_) | NotOpened::UnknownKind(_) => Why::Unknown,
                _ => Why::Broken,
            };
            (why, Some(error))
        };
        // From cheap to dear, and nothing is remembered before the signature was checked: who learns a number cannot use it up.
        let sealed = Sealed::read(bytes, self.net).map_err(not_opened)?;
        let (author, epoch, seq, kind) =
            (sealed.head.author, sealed.head.epoch, sealed.head.seq, sealed.kind);
        let refuse = |why| Err((why, None));
        if author == self.own {
            return refuse(Why::Own);
        }
        if !clock.is_sane() {
            return refuse(Why::Clock);
        }
        let Some(member) = members.find(author, clock.now) else { return refuse(Why::Stranger) };
        if !may_say(member.role, kind) {
            return refuse(Why::Role);
        }
        if !self.is_fresh(sealed.head.issued, sealed.head.until(), path, clock.now) {
            return refuse(Why::Stale);
        }
        if self.replay.look(author, epoch, seq) != Seen::Fresh {
            return refuse(Why::Replayed);
        }
        let opened = sealed.open().map_err(not_opened)?;
        if let Message::Roster(signed) = &opened.message
            && Roster::open(signed).is_err()
        {
            return refuse(Why::Broken);
        }
        let within = match path {
            Path::Gossip if kind == Kind::Block && member.role == Role::Authority => {
                self.buckets.take_order(author, clock.now)
            }
            Path::Gossip => self.buckets.take(author, kind, clock.now),
            Path::Snapshot => self.buckets.take_late(author, clock.now),
        };
        if !within {
            return refuse(Why::Quota);
        }
        self.replay.take(author, epoch, seq);
        Ok(Accepted { opened, author: member, envelope: bytes.to_vec() })
    }

    fn is_fresh(&self, issued: Moment, until: Moment, path: Path, now: Moment) -> bool {
        let rules = &self.freshness;
        let ends = until.min(issued.plus(rules.longest));
        let young = path == Path::Snapshot || now.since(issued) <= rules.gossip;
        issued <= now.plus(rules.ahead) && now < ends && young
    }

    /// How many messages of each kind were taken.
    pub fn accepted(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.into_iter().zip(self.accepted)
    }

    /// How many messages were refused for each reason.
    pub fn refused(&self) -> impl Iterator<Item = (Why, u64)> {
        Why::ALL.into_iter().zip(self.refused)
    }

    /// Forgets what need not be remembered; called every minute or so.
    pub fn sweep(&mut self, now: Moment) {
        self.buckets.sweep(now);
    }
}

fn count(counters: &mut [u64], at: usize) {
    if let Some(counter) = counters.get_mut(at) {
        *counter += 1;
    }
}

/// Whether a peer of this role may say this.
pub const fn may_say(role: Role, kind: Kind) -> bool {
    match kind {
        // Whoever is listened to at all may hand on a roster: the organisation's signature is what counts.
        Kind::Announce | Kind::Roster => true,
        // What a reporter asks to have blocked is taken for a report: it cannot know what it is to whom.
        Kind::Report | Kind::Block | Kind::Retract | Kind::List => role as u8 >= Role::Reporter as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Head, seal};
    use crate::identity::NodeKey;
    use crate::members::Peer;
    use crate::message::tests::one_of_each;

    const NET: NetId = NetId([7; 8]);
    const NOW: Moment = Moment(1_793_600_000_000);
    const CLOCK: Clock = Clock { now: NOW, synced: true };

    fn key() -> NodeKey {
        NodeKey::from_seed(&[1; 32])
    }

    fn gate() -> Gate {
        Gate::new(NET, NodeKey::from_seed(&[9; 32]).id(), Quotas::default())
    }

    fn members(role: Role) -> Members {
        let mut members = Members::default();
        members.add(key().id(), Peer { role: Some(role), ..Peer::invited(None) }).expect("room");
        members
    }

    fn sealed(kind: Kind, seq: u64, issued: Moment) -> Vec<u8> {
        let head =
            Head { net: NET, author: key().id(), epoch: 1, seq, issued, ttl: Duration::from_secs(3600) };
        let message = one_of_each().into_iter().find(|message| message.kind() == kind).expect("one");
        seal(&head, &message, &key())
    }

    fn judge(gate: &mut Gate, bytes: &[u8]) -> Verdict {
        gate.judge(bytes, Path::Gossip, &members(Role::Blamer), CLOCK)
    }

    fn is_accepted(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Accept(_))
    }

    #[test]
    fn a_message_is_taken_once_by_whatever_path() {
        let mut gate = gate();
        let bytes = sealed(Kind::Report, 1, NOW);
        assert!(is_accepted(&judge(&mut gate, &bytes)));
        assert_eq!(judge(&mut gate, &bytes), Verdict::Ignore(Why::Replayed));
        let by_snapshot = gate.judge(&bytes, Path::Snapshot, &members(Role::Blamer), CLOCK);
        assert_eq!(by_snapshot, Verdict::Ignore(Why::Replayed));
        assert_eq!(gate.accepted().map(|(_, n)| n).sum::<u64>(), 1);
        assert_eq!(gate.refused().map(|(_, n)| n).sum::<u64>(), 2);
    }

    #[test]
    fn a_replay_after_a_restart_is_noticed_too() {
        let mut gate = gate();
        let bytes = sealed(Kind::Report, 1, NOW);
        assert!(is_accepted(&judge(&mut gate, &bytes)));
        let mut restarted = self::gate();
        for (author, kept) in gate.replay.persist() {
            restarted.replay.restore(author, &kept).expect("own bytes");
        }
        assert_eq!(judge(&mut restarted, &bytes), Verdict::Ignore(Why::Replayed));
    }

    #[test]
    fn times_are_judged_by_path() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        for (issued, gossip, snapshot) in [
            (NOW, true, true),
            (NOW.plus(minutes(2)), true, true),
            (NOW.plus(minutes(3)), false, false),
            (NOW.minus(minutes(4)), true, true),
            (NOW.minus(minutes(5)), false, true),
            (NOW.minus(minutes(60)), false, false),
            (Moment(0), false, false),
            (Moment(u64::MAX), false, false),
        ] {
            let bytes = sealed(Kind::Report, 1, issued);
            let taken = |path| is_accepted(&gate().judge(&bytes, path, &members(Role::Blamer), CLOCK));
            assert_eq!((taken(Path::Gossip), taken(Path::Snapshot)), (gossip, snapshot), "{issued}");
        }
    }

    #[test]
    fn nothing_is_judged_by_a_clock_that_is_not_set() {
        let bytes = sealed(Kind::Report, 1, NOW);
        for clock in [Clock { now: NOW, synced: false }, Clock { now: Moment(5), synced: true }] {
            let verdict = gate().judge(&bytes, Path::Gossip, &members(Role::Blamer), clock);
            assert_eq!(verdict, Verdict::Ignore(Why::Clock));
        }
    }

    #[test]
    fn strangers_and_roles() {
        let bytes = sealed(Kind::Report, 1, NOW);
        let stranger = gate().judge(&bytes, Path::Gossip, &Members::default(), CLOCK);
        assert_eq!(stranger, Verdict::Ignore(Why::Stranger));
        for (role, said) in [
            (Role::Observer, vec![Kind::Announce]),
            (Role::Reporter, vec![Kind::Report, Kind::Block, Kind::Retract, Kind::Announce, Kind::List]),
            (Role::Blamer, vec![Kind::Report, Kind::Block, Kind::Retract, Kind::Announce, Kind::List]),
        ] {
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Roster) {
                let verdict = gate().judge(&sealed(kind, 1, NOW), Path::Gossip, &members(role), CLOCK);
                assert_eq!(is_accepted(&verdict), said.contains(&kind), "{} says {kind}", role.name());
            }
        }
    }

    #[test]
    fn only_what_is_provably_broken_is_rejected() {
        let good = sealed(Kind::Report, 1, NOW);
        let mut forged = good.clone();
        if let Some(last) = forged.last_mut() {
            *last ^= 1;
        }
        assert_eq!(judge(&mut gate(), &forged), Verdict::Reject(Why::Broken));
        assert_eq!(judge(&mut gate(), b"garbage"), Verdict::Reject(Why::Broken));
        assert_eq!(judge(&mut gate(), &vec![0; 1 << 17]), Verdict::Reject(Why::Broken));
        // The roster of `one_of_each` is signed by nobody.
        assert_eq!(judge(&mut gate(), &sealed(Kind::Roster, 1, NOW)), Verdict::Reject(Why::Broken));
        // A forged message uses up nothing of the author whose name it bears.
        let mut gate = gate();
        for _ in 0..100 {
            judge(&mut gate, &forged);
        }
        assert!(is_accepted(&judge(&mut gate, &good)));
    }

    #[test]
    fn who_talks_too_much_is_ignored_and_comes_by_snapshot() {
        let mut gate = gate();
        let verdicts: Vec<Verdict> =
            (1..=40).map(|seq| judge(&mut gate, &sealed(Kind::Report, seq, NOW))).collect();
        assert_eq!(verdicts.iter().filter(|verdict| is_accepted(verdict)).count(), 30);
        assert_eq!(verdicts.last(), Some(&Verdict::Ignore(Why::Quota)));
        let late = sealed(Kind::Report, 40, NOW);
        assert!(is_accepted(&gate.judge(&late, Path::Snapshot, &members(Role::Blamer), CLOCK)));
    }

    #[test]
    fn snapshots_bring_no_more_of_an_author_than_may_hold() {
        let quotas = Quotas { late: crate::bucket::Rate::per_minute(20, 6), ..Quotas::default() };
        let mut gate = Gate::new(NET, NodeKey::from_seed(&[9; 32]).id(), quotas);
        let taken = (1..=40).filter(|seq| {
            let bytes = sealed(Kind::Report, *seq, NOW);
            is_accepted(&gate.judge(&bytes, Path::Snapshot, &members(Role::Blamer), CLOCK))
        });
        assert_eq!(taken.count(), 20);
    }

    #[test]
    fn an_echo_of_our_own_is_ignored() {
        let mut own = Gate::new(NET, key().id(), Quotas::default());
        assert_eq!(judge(&mut own, &sealed(Kind::Report, 1, NOW)), Verdict::Ignore(Why::Own));
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_are_never_taken(bytes: Vec<u8>) {
            proptest::prop_assert!(!is_accepted(&judge(&mut gate(), &bytes)));
        }
    }
}
