//! Columns as they are told.

use rusqlite::Row;
use slips_core::time::PacketTime;

use crate::render::iso;

pub(super) fn time(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(iso(PacketTime(row.get(at)?)))
}

/// Text that may be missing.
pub(super) fn text(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    row.get::<_, Option<String>>(at).map(Option::unwrap_or_default)
}
