//! The control API as a part of the daemon: without it all else goes on.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use slips_systemd::journal::Entry;

use super::entries;
use crate::config::Control;
use crate::control::Ends;
use crate::control::api::{Api, Place, Sources};

/// Opens it; where that fails, `say` hears why.
pub fn open(
    config: &Control,
    handed_over: Option<OwnedFd>,
    ends: Arc<Ends>,
    sources: Sources,
    say: impl FnOnce(&Entry),
) -> Option<Api> {
    let place = Place::open(handed_over, &config.socket).map_err(anyhow::Error::from);
    let opened = place.and_then(|place| Ok(Api::start(place, config.metrics, ends, sources)?));
    opened
        .map_err(|error| {
            say(&entries::degraded("the control API", &format!("it cannot be asked: {error:#}")))
        })
        .ok()
}

/// Ends it.
pub fn close(api: Option<Api>) -> Result<(), crate::cli::Failure> {
    use crate::cli::{Exit, Failure};
    match api.map(Api::stop) {
        Some(Err(_)) => Err(Failure::new(Exit::Software, "the api thread panicked")),
        _ => Ok(()),
    }
}
