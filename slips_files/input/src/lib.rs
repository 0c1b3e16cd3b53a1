//! Sources of events.
//!
//! `unsafe` is allowed in one fenced module only, `capture/ring.rs`.

#![deny(unsafe_code)]

pub mod capture;
