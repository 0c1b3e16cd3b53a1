//! How far the logs of `slips sensor` are those of Zeek: the sensor, as a user has it, over captures whose Zeek logs are known.
#![allow(missing_docs, dead_code, reason = "shared by a program and a test, of which each uses a part")]

pub mod compare;
pub mod model;
pub mod rows;
pub mod run;
pub mod scope;
