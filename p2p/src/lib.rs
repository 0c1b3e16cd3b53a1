//! What routers whose owners trust each other tell one another, and how much of it is believed.
//!
//! Reports about attackers, requests to block and named blocklists travel in signed envelopes ([`envelope`]). What arrives is
//! bounded and authenticated ([`gate`]), weighed by a trust that only our own experience moves ([`trust`], [`opinion`]), and at
//! most helps our own evidence over the bar, unless the owner said otherwise ([`council`]). What leaves passes [`privacy`].
//!
//! All of these but [`node`] do no I/O and read no clock: bytes and a [`moment::Moment`] go in, verdicts and rulings come out. The crate
//! never touches profiles or the firewall; a ruling is an advice that the daemon carries out, or not.
//!
//! Start with [`message::Message`] (what is said) and [`council::Council`] (what is made of it).
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod bucket;
pub mod council;
pub mod envelope;
pub mod exchange;
pub mod gate;
pub mod identity;
pub mod indicator;
pub mod invite;
pub mod link;
pub mod lists;
pub mod live;
pub mod members;
pub mod message;
pub mod moment;
#[cfg(feature = "node")]
pub mod node;
pub mod opinion;
pub mod privacy;
pub mod replay;
pub mod roster;
pub mod share;
mod text;
pub mod trust;
pub mod wire;
