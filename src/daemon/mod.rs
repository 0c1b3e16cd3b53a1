//! Builds the parts and keeps them running.

pub mod build;
pub mod sinks;
