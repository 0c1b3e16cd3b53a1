//! A view of `records` for each kind, with the fields of Zeek's log as columns, for people who ask with sqlite3.

use rusqlite::{Connection, OptionalExtension};

use crate::zeek::LogKind;

/// Makes the views as this version of the program knows the fields.
pub(super) fn keep(db: &Connection) -> rusqlite::Result<()> {
    let mut known = db.prepare("SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ?")?;
    let mut changes = String::new();
    for kind in LogKind::RECORDS {
        let (name, sql) = (kind.name(), definition(kind));
        let known: Option<String> = known.query_row([name], |row| row.get(0)).optional()?;
        if known.as_ref() != Some(&sql) {
            changes.push_str(&format!("DROP VIEW IF EXISTS {name}; {sql}; "));
        }
    }
    if changes.is_empty() { Ok(()) } else { db.execute_batch(&format!("BEGIN IMMEDIATE; {changes}COMMIT")) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::schema::{self, Durability};

    #[test]
    fn each_kind_has_a_view_with_its_fields_which_is_made_again_only_when_they_change() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("flows.sqlite");
        let db = schema::open(&path, Durability::Whole).expect("open");
        for kind in LogKind::RECORDS {
            let select = db.prepare(&format!("SELECT * FROM {}", kind.name())).expect("a view");
            let columns: Vec<&str> = select.column_names().collect();
            for (field, _) in kind.fields() {
                assert!(is_a_column(field) || columns.contains(field), "{}: {field}", kind.name());
            }
        }
        let version = |db: &Connection| -> i64 {
            db.query_row("PRAGMA schema_version", [], |row| row.get(0)).expect("version")
        };
        let before = version(&db);
        keep(&db).expect("kept");
        assert_eq!(version(&db), before);
        db.execute_batch("DROP VIEW ssh; DROP VIEW dns; CREATE VIEW dns AS SELECT 1").expect("changed");
        keep(&db).expect("kept");
        db.prepare("SELECT query, answers FROM dns").expect("as it was");
        db.prepare("SELECT hassh FROM ssh").expect("as it was");
    }
}
