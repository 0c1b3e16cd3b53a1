//! Builds the parts and keeps them running.

pub mod build;
mod entries;
mod interfaces;
mod outbox;
mod protect;
mod responder;
pub mod run;
pub mod signals;
pub mod sinks;
mod verdict;
