//! Zeek's logs: both formats, old and new field names.
//!
//! A line becomes a [`row::Row`] of slices ([`tsv`], [`json`]), a row becomes an event ([`logs`]), a file gives events in
//! its own order ([`reader`]), a directory in the order of time ([`source`]).

pub(crate) mod json;
pub(crate) mod logs;
pub(crate) mod reader;
pub(crate) mod row;
pub(crate) mod source;
pub(crate) mod tsv;
pub(crate) mod value;
