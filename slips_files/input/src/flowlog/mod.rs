//! What Suricata, Argus and nfdump have in common: their records are written when a flow ends, in no order, with counters
//! and TCP flags in place of Zeek's states.
//!
//! [`source`] gives the events in the order of time as far as a bounded queue ([`order`]) can, [`state`] makes Zeek's states
//! of flags, [`volume`] payload of packet sizes.

pub(crate) mod half;
pub(crate) mod order;
pub(crate) mod pair;
pub(crate) mod source;
pub(crate) mod state;
pub(crate) mod transport;
pub(crate) mod uid;
pub(crate) mod volume;
