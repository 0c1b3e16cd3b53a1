//! What is known about addresses, domains and networks before any packet is seen, as immutable snapshots.
//!
//! This crate reads lists when it is told to and answers lookups. It fetches nothing, holds no lock and changes nothing after it was
//! built: a new list is a new snapshot. Start with [`Indicators`]; [`Builder`] makes them.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

mod feeds;
mod geo;
mod ioc;
pub mod jarm;
mod local;
mod snapshot;
pub mod vendors;
mod whitelist;

pub use feeds::{CatalogueProblem, Entry, Feed, Holds, Reject, Tally, catalogue};
pub use geo::{Geo, Place};
pub use ioc::{Ioc, NotAnIoc, is_known_zone, registered};
pub use local::{LoadError, Problem, Reason};
pub use snapshot::{Builder, CacheError, Contents, Indicators, MAX_ROWS, Saying};
pub use whitelist::{
    Direction, Ignored, LineProblem, Match, Needs, Rule, Rules, RulesBuilder, What, Wrong, end_of_sites,
    lines_of,
};
