//! What is known about addresses, domains and networks before any packet is seen, as immutable snapshots.
//!
//! This crate reads indicator files when it is told to ([`Indicators::load_dir`]) and answers lookups. It fetches nothing, holds
//! no lock and changes nothing after it was built: a new list is a new snapshot. Start with [`Indicators`].
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

mod indicators;
mod local_file;
mod ranges;

pub use indicators::{Contents, Indicators, LoadError};
pub use local_file::{Problem, Reason};
