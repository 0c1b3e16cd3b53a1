//! Sources of events: finite files, and live interfaces.
//!
//! Bytes come in by large blocks and leave as [`slips_core::event::Event`]s. Nothing is decided here: what cannot be read is
//! counted by reason in a [`Report`], and the rest goes on. Input is hostile, so every line, block and list has a longest
//! length. This crate reads no clock but the kernel's packet stamps.
//!
//! `unsafe` is allowed in one fenced module only, `capture/ring.rs`.
//!
//! Start with [`Source`] and [`open`] for files, and with [`capture`] for interfaces.

#![deny(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod capture;
pub mod filter;

mod argus;
mod blocks;
mod capfile;
mod error;
mod feed;
mod flowlog;
mod modules;
mod netflow;
mod nfdump;
mod report;
mod sniff;
mod source;
mod stream;
mod suricata;
mod tail;
mod zeek;
mod zstd;

pub use capfile::{CaptureFile, MAX_PACKET, Packet};
pub use error::{ErrorKind, InputError};
pub use feed::{Feed, FeedReport, Now};
pub use modules::{Alerts, Frames, MAX_FRAME, Modules, NoLength};
pub use netflow::{Collector, Listener};
pub use report::{FileReport, MAX_SAMPLES, Reason, Reject, Report, Sample};
pub use source::{Format, OpenOptions, Source, open, open_stream};
pub use suricata::GrowingEve;
pub use tail::directory::{Beginning, GrowingDirectory};
