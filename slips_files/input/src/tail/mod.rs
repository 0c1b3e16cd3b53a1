//! Logs that grow while they are read: a directory into which Zeek writes.
//!
//! Every line comes once: files are known by device and number and by how they begin, never by name, so one that is renamed is read on, to the
//! lines that come after the rename; one that is cut and written anew is read anew; a copy of what was read is read from where the original
//! was left ([`growing`], [`followed`]). Half lines wait for their end. Logs are merged by time, and one that stands still holds the others
//! up for a second at most ([`directory`]). Where the reading stands can be written down ([`marks`]).

pub(crate) mod directory;
pub(crate) mod followed;
pub(crate) mod growing;
pub(crate) mod marks;
