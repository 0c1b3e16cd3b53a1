//! Builds the parts and keeps them running.

pub mod bell;
pub mod build;
pub mod capture;
mod chatter;
pub mod clocks;
mod entries;
mod interfaces;
mod leases;
mod lists;
mod memory;
mod outbox;
mod overload;
pub mod peers;
mod policy;
mod protect;
mod pulse;
pub mod reload;
mod responder;
pub mod restore;
pub mod run;
mod services;
pub mod signals;
pub mod sinks;
mod tend;
mod updates;
mod verdict;
mod whitelist;
