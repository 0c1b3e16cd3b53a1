//! The native packet sensor: packets in, flow and protocol events out.
//!
//! Sans-IO: the caller hands in captured bytes with their packet time, and collects events. This crate opens nothing, reads
//! no clock and draws no random number (the key of the hashes is a setting), so the same packets always give the same
//! events. All its memory is bounded by [`Settings`]; bad input is counted by reason and never an error.
//!
//! The rules of flows (who is the originator, states, history letters, byte counts, time-outs) are Zeek's, as far as they
//! can be observed in its logs; where and when a flow is *told* is ours: at its first packet, at each change that matters,
//! periodically while it lives, and once at its end.
//!
//! Start with [`Sensor`]; a packet's way is `link` → `ip` (→ `frag`) → `tcp` | `udp` | `icmp` → `table`.
#![forbid(unsafe_code)]
// No number from the wire indexes anything; where modules index by the two directions they say so.
#![warn(clippy::indexing_slicing)]

mod account;
mod apps;
mod arp;
mod checksum;
mod counters;
mod dhcp;
mod dns;
mod emit;
mod files;
mod frag;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod ftp;
mod hash;
mod history;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod http;
mod icmp;
mod ip;
mod link;
mod list;
mod neighbour;
mod notices;
mod openvpn;
mod payload;
mod pieces;
mod ports;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod quic;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod reader;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod sensor;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod service;
mod settings;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod smtp;
mod software;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod ssh;
mod stream;
mod table;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod tcp;
mod timer;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod tls;
#[allow(clippy::indexing_slicing, reason = "by direction, constant or mask")]
mod track;
mod transfer;
mod tunnel;
mod udp;
mod uid;
mod weird;
mod wire;

pub use counters::{Counters, Reject};
pub use link::LinkType;
pub use notices::Notices;
pub use payload::PayloadSettings;
pub use sensor::{Corrected, Sensor};
pub use settings::Settings;
