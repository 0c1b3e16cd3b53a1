//! Who is never blocked, asked anew as addresses, routes, resolvers and logins change.

use std::net::IpAddr;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use slips_firewall::{DiscoverError, Protected, Sources, Why};

use super::bell::Rope;
use super::clocks::Clocks;
use super::responder::Protect;
use super::sinks::wall_clock;
use crate::config::Firewall;

/// Logins of longer ago protect nobody: the address has another owner by now. In seconds.
pub const LOGIN_COUNTS: u64 = 14 * 86_400;
/// The finding rests so many times as long as it took: a router with a million routes spends a twentieth of one processor on it.
const REST: u32 = 19;
const LONGEST_REST: Duration = Duration::from_secs(60);

/// The protected set of this host, with what the administrator listed.
pub fn discover(policy: &Firewall) -> Result<Protected, DiscoverError> {
    Protected::discover(&Sources {
        listed: policy.never_block.iter().map(|net| net.0).collect(),
        login_ports: policy.login_ports.clone(),
        logins_since: u64::try_from(wall_clock() / 1_000_000).unwrap_or(0).saturating_sub(LOGIN_COUNTS),
        ..Sources::default()
    })
}

/// Who is protected, found out by a thread of its own: routes, files and processes are read there while the responder goes on to block.
/// What is asked while it reads is answered by one more reading. Returns the thread's work; it ends when the responder is gone.
pub fn finder(policy: Firewall, rope: Rope) -> (Protect, impl FnOnce() + Send) {
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
            let found = discover(&policy);
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

/// The gateways among the protected, for detections that judge them otherwise. To the hosts behind this router it is one itself.
pub fn gateways(protected: &Protected) -> Vec<IpAddr> {
    let is_gateway = |why| matches!(why, Why::Gateway | Why::Own);
    protected.iter().filter(|(_, why)| is_gateway(*why)).map(|(net, _)| net.addr()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::bell::Bell;

    #[test]
    fn who_is_protected_is_found_by_another_thread_as_often_as_it_is_asked() {
        let bell = Bell::new().expect("bell");
        let (protect, work) = finder(Firewall::default(), bell.rope());
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
    }

    #[test]
    fn gateways_are_told_from_others_that_are_protected() {
        let mut protected = Protected::classes();
        protected.add_host([192, 168, 1, 1].into(), Why::Own);
        protected.add_host([192, 168, 1, 254].into(), Why::Gateway);
        protected.add_host([192, 168, 1, 53].into(), Why::Resolver);
        let mut found = gateways(&protected);
        found.sort_unstable();
        assert_eq!(found, [IpAddr::from([192, 168, 1, 1]), IpAddr::from([192, 168, 1, 254])]);
    }
}
