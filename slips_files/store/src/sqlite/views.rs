//! A view of `records` for each kind, with the fields of Zeek's log as columns, for people who ask with sqlite3.

use rusqlite::{Connection, OptionalExtension};

use crate::zeek::LogKind;

/// Makes the views as this version of the program knows the fields.
pub(super) fn keep(db: &Connection) -> rusqlite::Result<()> {
    for kind in LogKind::RECORDS {
        let (name, sql) = (kind.name(), definition(kind));
        let known: Option<String> = db
            .query_row("SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ?", [name], |row| {
                row.get(0)
            })
            .optional()?;
        if known.as_ref() != Some(&sql) {
            db.execute_batch(&format!("BEGIN IMMEDIATE; DROP VIEW IF EXISTS {name}; {sql}; COMMIT"))?;
        }
    }
    Ok(())
}

/// As SQLite keeps it.
fn definition(kind: LogKind) -> String {
    let name = kind.name();
    let mut sql = format!(
        "CREATE VIEW {name} AS SELECT id, uid, start, src, src_port, dst, dst_port, proto, interface"
    );
    for (field, _) in kind.fields().iter().filter(|(field, _)| !is_a_column(field)) {
        sql.push_str(&format!(", fields ->> '{field}' AS \"{field}\""));
    }
    sql.push_str(&format!(" FROM records WHERE kind = '{name}'"));
    sql
}

/// Whether a field of Zeek's is a column of `records`, and so not among its `fields`.
pub(super) fn is_a_column(field: &str) -> bool {
    const COLUMNS: [&str; 7] = ["ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto"];
    COLUMNS.contains(&field)
}
