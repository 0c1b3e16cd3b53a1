//! What systemd is told: that we are ready, alive and stopping, and the structured entries of its journal; and memory that is given back,
//! which the limits of a unit count.
//!
//! No systemd library is linked. Without systemd nothing is lost: [`notify`] is silent, and the [`journal`] writes each
//! entry as one line to a stream that it was given. This crate never blocks its caller on a slow or stopped journald,
//! starts no thread, reads no clock and decides nothing about traffic.
//!
//! `unsafe` is allowed in one fenced module only, `heap.rs`.
//!
//! Start with [`journal::Journal`] (what happened) and [`notify::Notifier`] (how we are).
#![deny(unsafe_code)]

pub mod heap;
pub mod journal;
pub mod notify;
