//! Who is never blocked, asked anew as addresses, routes, resolvers and logins change.

use std::net::IpAddr;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slips_core::addr::{LocalNets, Net};
use slips_core::moving::{Gateways, Moving};
use slips_firewall::{DiscoverError, Protected, Sources, Why};

use super::bell::Rope;
use super::clocks::Clocks;
use super::leases::Leases;
use super::policy::Policy;
use super::responder::Protect;
use super::sinks::wall_clock;
use super::whitelist::Spared;
use crate::config::Firewall;

/// Logins of longer ago protect nobody: the address has another owner by now. In seconds.
pub const LOGIN_COUNTS: u64 = 14 * 86_400;
/// The finding rests so many times as long as it took: a router with a million routes spends a twentieth of one processor on it.
const REST: u32 = 19;
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Most addresses of peers that are protected: there are not so many routers that know each other.
const MAX_PEERS: usize = 1024;

/// Where peers are reached, as the administrator says; what peers say of themselves would let them protect anybody. The thread that reads
/// the directory of peers tells those that find out who is protected. With them goes whom the whitelist leaves alone, and who of those that
/// were found are gateways.
#[derive(Clone, Debug, Default)]
pub struct PeerAddresses(Arc<Mutex<Vec<IpAddr>>>, Spared, Arc<Moving>);

impl PeerAddresses {
    /// Together with whom the whitelist leaves alone.
    pub fn sparing(self, spared: Spared) -> Self {
        Self(self.0, spared, self.2)
    }

    /// The gateways that were found last, followed from then on.
    pub fn gateways(&self) -> Gateways {
        Gateways::moving(Arc::clone(&self.2))
    }

    /// From now on these, as many as may be.
    pub fn set(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses = addresses.into_iter().take(MAX_PEERS).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    fn protect(&self, protected: &mut Protected) {
        for addr in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            protected.add_host(*addr, Why::Peer);
        }
        self.1.protect(protected);
    }
}

/// Whom our hosts talked with before this start, as the kernel's connection table knows: a restart must not make strangers of them, who
/// may then be blocked on evidence that could be forged. A kernel that tracks nothing knows nobody.
pub fn partners(local: &LocalNets) -> Vec<IpAddr> {
    let ours = |asker, asked| local.contains(asker) && !local.contains(asked);
    slips_firewall::answered(ours).unwrap_or_default().into_iter().collect()
}

/// The protected set of this host, with what the administrator listed, and peers.
pub fn discover(policy: &Firewall, peers: &PeerAddresses) -> Result<Protected, DiscoverError> {
    let mut protected = Protected::discover(&Sources {
        listed: policy.never_block.iter().map(|net| net.0).collect(),
        login_ports: policy.login_ports.clone(),
        logins_since: u64::try_from(wall_clock() / 1_000_000).unwrap_or(0).saturating_sub(LOGIN_COUNTS),
        ..Sources::default()
    })?;
    peers.1.found(resolvers(&protected));
    peers.2.set(&gateways(&protected));
    peers.protect(&mut protected);
    Ok(protected)
}

/// Who is protected, found out by a thread of its own: routes, files and processes are read there while the responder goes on to block.
/// What is asked while it reads is answered by one more reading, and each time it has a `look` at what else depends on addresses. Returns the
/// thread's work; it ends when the responder is gone.
pub fn finder(
    policy: Policy,
    peers: PeerAddresses,
    leases: Leases,
    rope: Rope,
    mut look: impl FnMut() + Send,
) -> (Protect, impl FnOnce() + Send) {
    let (ask, asked) = sync_channel::<()>(1);
    let (tell, told) = sync_channel(1);
    let protect = Protect {
        ask: Box::new(move || {
            // One that waits already asks for this one too.
            let _ = ask.try_send(());
        }),
        found: Box::new(move || told.try_recv().ok()),
    };
    let work = move || {
        let clock = Clocks::default().steady;
        let mut again = false;
        while again || asked.recv().is_ok() {
            let began = clock();
            look();
            let mut found = discover(&policy.now(), &peers);
            if let Ok(protected) = &mut found {
                leases.protect(protected, clock());
            }
            if tell.send(found).is_err() {
                return;
            }
            rope.ring();
            let ended = clock();
            let rest = ended.saturating_sub(began).saturating_mul(REST).min(LONGEST_REST);
            again = false;
            while let Some(left) =
                rest.checked_sub(clock().saturating_sub(ended)).filter(|left| !left.is_zero())
            {
                match asked.recv_timeout(left) {
                    Ok(()) => again = true,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    };
    (protect, work)
}

/// The name servers whose answers count: those that this host is told to use, this host and its gateways.
pub fn resolvers(protected: &Protected) -> Vec<IpAddr> {
    let answers = |why| matches!(why, Why::Resolver | Why::Gateway | Why::Own);
    protected.iter().filter(|(_, why)| answers(*why)).map(|(net, _)| net.addr()).collect()
}

/// The gateways among the protected, for detections that judge them otherwise. To the hosts behind this router it is one itself.
fn gateways(protected: &Protected) -> Vec<Net> {
    let of = |kind| {
        let of_kind = protected.iter().filter(move |(_, why)| *why == kind);
        of_kind.map(|(net, _)| Net::host(net.addr()))
    };
    // There may be more than can be followed: then of our own addresses.
    of(Why::Gateway).chain(of(Why::Own)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::bell::Bell;

    #[test]
    fn who_is_protected_is_found_by_another_thread_as_often_as_it_is_asked() {
        let bell = Bell::new().expect("bell");
        let peers = PeerAddresses::default();
        let looks = Arc::new(Mutex::new(0));
        let looked = Arc::clone(&looks);
        let look = move || *looked.lock().expect("looks") += 1;
        let (protect, work) = finder(Policy::default(), peers, Leases::default(), bell.rope(), look);
        let finder = std::thread::spawn(work);
        for _ in 0..3 {
            (protect.ask)();
            (protect.ask)();
            let found = loop {
                match (protect.found)() {
                    Some(found) => break found.expect("found"),
                    None => bell.wait(&[], Duration::from_secs(60)),
                }
            };
            assert!(found.iter().any(|(_, why)| why == Why::Loopback || why == Why::Own));
        }
        drop(protect);
        finder.join().expect("it ends with the responder");
        assert!(*looks.lock().expect("looks") >= 3);
    }

    #[test]
    fn peers_are_protected_where_the_administrator_says_that_they_are() {
        let (policy, peers) = (Firewall::default(), PeerAddresses::default());
        let peer: IpAddr = [203, 0, 113, 9].into();
        let why = |peers: &PeerAddresses| {
            let found = discover(&policy, peers).expect("found");
            found.check(Net::host(peer)).map(|(_, why)| why)
        };
        assert_eq!(why(&peers), None);
        peers.set([peer]);
        assert_eq!(why(&peers), Some(Why::Peer));
        peers.set([]);
        assert_eq!(why(&peers), None, "one that is removed is protected no more");
        peers.set((0..10_000u32).map(|n| IpAddr::V4((0x0b00_0000 + n).into())));
        let found = discover(&policy, &peers).expect("found");
        assert_eq!(found.iter().filter(|(_, why)| *why == Why::Peer).count(), MAX_PEERS);
    }

    #[test]
    fn gateways_are_told_from_others_that_are_protected() {
        let mut protected = Protected::classes();
        protected.add_host([192, 168, 1, 1].into(), Why::Own);
        protected.add_host([192, 168, 1, 254].into(), Why::Gateway);
        protected.add_host([192, 168, 1, 53].into(), Why::Resolver);
        let mut found = gateways(&protected);
        found.sort_unstable();
        assert_eq!(found, [[192, 168, 1, 1], [192, 168, 1, 254]].map(|addr| Net::host(addr.into())));
    }
}
