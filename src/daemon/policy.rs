//! The firewall's section of the configuration, which changes while the daemon runs: who is told that it did looks here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Firewall;

/// One policy for all who follow it.
#[derive(Clone, Debug, Default)]
pub struct Policy(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    now: Mutex<Firewall>,
    /// How often it was changed.
    changes: AtomicU64,
}

impl From<Firewall> for Policy {
    fn from(now: Firewall) -> Self {
        Self(Arc::new(Shared { now: Mutex::new(now), changes: AtomicU64::new(0) }))
    }
}

impl Policy {
    /// As it is now.
    pub fn now(&self) -> Firewall {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As it is now, if that is another than when it was asked with the same `seen`, which is 0 at first.
    pub fn changed(&self, seen: &mut u64) -> Option<Firewall> {
        let changes = self.0.changes.load(Ordering::Acquire);
        if changes == *seen {
            return None;
        }
        *seen = changes;
        Some(self.now())
    }

    /// From now on this one, but for what only a start can change. Names that, where it differs.
    pub fn change(&self, to: &Firewall) -> Vec<&'static str> {
        let mut now = self.0.now.lock().unwrap_or_else(PoisonError::into_inner);
        let mut needs_start = Vec::new();
        let mut keep = |name, differs: bool| {
            if differs {
                needs_start.push(name);
            }
        };
        keep("firewall.mode", to.mode != now.mode);
        keep("firewall.size", to.size != now.size);
        keep("firewall.bridge", to.bridge != now.bridge);
        keep("firewall.bridge_machines", to.bridge_machines != now.bridge_machines);
        keep("firewall.notice_port", to.notice_port != now.notice_port);
        keep("firewall.log_dropped", to.log_dropped != now.log_dropped);
        keep("firewall.peer_cap", to.peer_cap != now.peer_cap);
        *now = Firewall {
            mode: now.mode,
            size: now.size,
            bridge: now.bridge,
            bridge_machines: now.bridge_machines,
            notice_port: now.notice_port,
            log_dropped: now.log_dropped,
            peer_cap: now.peer_cap,
            ..to.clone()
        };
        self.0.changes.fetch_add(1, Ordering::Release);
        needs_start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    #[test]
    fn what_is_read_at_the_start_only_stays_and_is_named() {
        let policy = Policy::from(Firewall::default());
        let mut seen = 0;
        assert!(policy.changed(&mut seen).is_none());
        let to = Firewall { mode: Mode::Monitor, internal_share: 50, ..Firewall::default() };
        assert_eq!(policy.change(&to), ["firewall.mode"]);
        let now = policy.changed(&mut seen).expect("changed");
        assert_eq!((now.mode, now.internal_share), (Mode::Enforce, 50));
        assert!(policy.changed(&mut seen).is_none());
    }
}
