//! The words of Slips and its engine.
//!
//! Everything that two parts of Slips must agree on lives here: packet time, addresses, flows and events, profiles and
//! windows, evidence, alerts, and the engine that turns events into records. This crate does no I/O, reads no clock and
//! starts no thread outside [`engine::pipeline`]: bytes become events elsewhere, records become files elsewhere.
//!
//! Start with [`event::Event`] (what comes in), [`record::Record`] (what goes out) and [`detector::Detector`] (what decides).
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

pub mod addr;
pub mod alert;
pub mod clock;
pub mod detector;
pub mod engine;
pub mod event;
pub mod evidence;
pub mod exchange;
pub mod flow;
pub mod hash;
pub mod heritage;
pub mod index;
pub mod intel;
pub mod moving;
pub mod neighbour;
pub mod record;
pub mod settings;
pub mod spec;
pub mod state;
pub mod text;
pub mod time;
pub mod user_agent;
pub mod whitelist;
