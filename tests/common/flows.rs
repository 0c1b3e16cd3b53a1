//! The flows that a run wrote to its database.

use std::path::Path;

/// A flow as `flows.sqlite` has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    pub src: String,
    pub src_port: u16,
    pub dst: String,
    pub dst_port: u16,
    pub proto: String,
    pub state: String,
    pub service: String,
    pub start: i64,
    pub duration: Option<i64>,
    /// Of the originator and of the responder.
    pub pkts: [i64; 2],
    pub ip_bytes: [i64; 2],
    pub bytes: [i64; 2],
    pub truth: String,
    pub detailed: String,
}

/// All flows of an output directory, in the order of their rows.
pub fn stored(out: &Path) -> Vec<Stored> {
    let db = rusqlite::Connection::open(out.join("flows.sqlite")).expect("a database");
    let mut rows = db
        .prepare(
            "SELECT src, src_port, dst, dst_port, proto, state, service, start, duration, orig_pkts, resp_pkts, \
             orig_ip_bytes, resp_ip_bytes, orig_bytes, resp_bytes, truth_label, truth_detailed FROM flows ORDER BY id",
        )
        .expect("its table");
    let text = |row: &rusqlite::Row<'_>, at| row.get(at).map(Option::<String>::unwrap_or_default);
    let number = |row: &rusqlite::Row<'_>, at| row.get(at).map(Option::<i64>::unwrap_or_default);
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Stored {
            src: text(row, 0)?,
            src_port: row.get(1)?,
            dst: text(row, 2)?,
            dst_port: row.get(3)?,
            proto: text(row, 4)?,
            state: text(row, 5)?,
            service: text(row, 6)?,
            start: number(row, 7)?,
            duration: row.get(8)?,
            pkts: [number(row, 9)?, number(row, 10)?],
            ip_bytes: [number(row, 11)?, number(row, 12)?],
            bytes: [number(row, 13)?, number(row, 14)?],
            truth: text(row, 15)?,
            detailed: text(row, 16)?,
        })
    };
    rows.query_map([], read).expect("rows").map(|flow| flow.expect("a flow")).collect()
}
