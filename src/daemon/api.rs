//! The control API as a part of the daemon: without it all else goes on.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use slips_systemd::journal::Entry;

use super::entries;
use super::figures::Figures;
use super::fleet::View;
use super::whitelist::Hurry;
use crate::config::{Config, Control};
use crate::control::Ends;
use crate::control::api::news::Desk;
use crate::control::api::{Api, Place, Pool, Sources};
use crate::shelf::Shelf;

/// What it reads.
pub fn sources(
    config: &Config,
    figures: Arc<Figures>,
    fleet: Option<View>,
    shelf: Arc<Shelf>,
    allowed: Hurry,
) -> Sources {
    let directory = &config.output.directory;
    Sources {
        figures,
        fleet,
        shelf,
        whitelist: allowed.spared.clone(),
        allowed,
        flows: Pool::new(directory.join("flows.sqlite")),
        book: Pool::new(directory.join("blocks.sqlite")),
    }
}

/// Opens it; where that fails, `say` hears why.
pub fn open(
    config: &Control,
    handed_over: Option<OwnedFd>,
    ends: Arc<Ends>,
    sources: Sources,
    desk: Desk,
    mut say: impl FnMut(&Entry),
) -> Option<Api> {
    let place = Place::open(handed_over, &config.socket).map_err(anyhow::Error::from);
    let opened = place.and_then(|place| Ok(Api::start(place, config.metrics, ends, sources, desk)?));
    match opened {
        Ok((api, trouble)) => {
            if let (Some(error), Some(address)) = (trouble, config.metrics) {
                let text = format!("they cannot be had at {address} yet, which is tried again: {error}");
                say(&entries::degraded("the figures", &text));
            }
            Some(api)
        }
        Err(error) => {
            say(&entries::degraded("the control API", &format!("it cannot be asked: {error:#}")));
            None
        }
    }
}

/// Ends it.
pub fn close(api: Option<Api>) -> Result<(), crate::cli::Failure> {
    use crate::cli::{Exit, Failure};
    match api.map(Api::stop) {
        Some(Err(_)) => Err(Failure::new(Exit::Software, "the api thread panicked")),
        _ => Ok(()),
    }
}
