//! `slips firewall restore`: the blocks of the book are put into the kernel, by a process that ends then. At a boot it runs before the
//! network is up, so that not one packet of a blocked attacker comes through before the daemon is there; the table outlives the process.

use std::sync::atomic::Ordering;

use slips_systemd::notify::Environment;

use super::bell::Bell;
use super::interfaces::Own;
use super::policy::Policy;
use super::whitelist::Spared;
use super::{leases::Leases, peers, protect, responder};
use crate::cli::{Exit, Failure};
use crate::config::{Config, Mode};
use crate::whitelist::Files;

/// What was done, for a person.
pub fn restore(config: &Config, environment: &Environment) -> Result<String, Failure> {
    let book = config.output.directory.join("blocks.sqlite");
    if config.firewall.mode == Mode::Monitor {
        return Ok("slips only watches (firewall.mode: monitor), so nothing is blocked".into());
    }
    if !book.exists() {
        return Ok(format!("there is no {} yet, so nothing was blocked before", book.display()));
    }
    let known = peers::addresses(config, environment).sparing(Spared::of(&Files::of(config)));
    let policy = Policy::from(config.firewall.clone());
    let bell = Bell::new().map_err(Failure::software)?;
    // Nobody asks for the protected set again: it is what it is at this moment, and the daemon goes on from there.
    let (protect, _) = protect::finder(policy.clone(), known.clone(), Leases::default(), bell.rope(), || {});
    let (mut responder, _) = responder::open(config, policy, protect, &known, &Own::default())?;
    responder.open_book(&book);
    if !responder.is_restored() {
        return Err(Failure::new(Exit::Software, "the kernel did not take the blocks; the journal says why"));
    }
    match responder.gauges().blocks.load(Ordering::Relaxed) {
        0 => Ok("no block of the book stands any more".into()),
        1 => Ok("1 block stands".into()),
        blocks => Ok(format!("{blocks} blocks stand")),
    }
}
