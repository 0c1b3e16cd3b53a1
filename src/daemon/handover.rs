//! The sockets of the capture outlive the daemon: the service manager keeps duplicates from the moment on that they are opened, and passes
//! them to the next process. What comes in while none runs lies in their rings.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use slips_input::capture::{Handover, Keeper, inherited};
use slips_systemd::notify::{Environment, Keeping};

use crate::control::api;

/// What was left to this process; what it opens itself is kept in turn. Without a service manager nothing is, and nothing is kept. And
/// the socket of the control API, which is the service manager's own.
pub fn take(environment: &Environment) -> (Handover, Option<OwnedFd>) {
    let (control, left): (Vec<_>, Vec<_>) = inherited(environment.passed(std::process::id()))
        .into_iter()
        .partition(|(name, _)| name == api::NAME);
    let captures = match Keeping::new(environment) {
        Ok(keeping) if keeping.is_heard() => Handover::new(Arc::new(Manager(keeping)), left),
        Ok(_) => Handover::default(),
        Err(error) => {
            eprintln!("slips: a restart will miss packets: cannot reach the service manager: {error}");
            Handover::default()
        }
    };
    (captures, control.into_iter().next().map(|(_, socket)| socket))
}

/// The service manager as a keeper.
struct Manager(Keeping);

impl Keeper for Manager {
    fn keep(&self, name: &str, socket: BorrowedFd<'_>) {
        if let Err(error) = self.0.keep(name, socket) {
            eprintln!(
                "slips: a restart will miss packets: the service manager does not keep {name}: {error}"
            );
        }
    }

    fn forget(&self, name: &str) {
        if let Err(error) = self.0.forget(name) {
            eprintln!("slips: the service manager keeps {name}, which is over: {error}");
        }
    }
}
