//! Zeek's tab-separated logs, and when two of their values are the same.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result};

/// A log: its columns with their Zeek types, and its rows by column.
#[derive(Debug, Default)]
pub struct Log {
    types: HashMap<String, String>,
    pub rows: Vec<Row>,
}

/// One row, by column.
pub type Row = HashMap<String, String>;

/// What stands in a column without a value.
pub const UNSET: &str = "-";
const EMPTY: &str = "(empty)";

impl Log {
    /// Reads a log; one that is not there has no rows.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        let text = String::from_utf8_lossy(&bytes);
        let mut log = Self::default();
        let mut names: Vec<&str> = Vec::new();
        for line in text.lines() {
            let mut parts = line.split('\t');
            if let Some(fields) = line.strip_prefix("#fields\t") {
                names = fields.split('\t').collect();
            } else if line.starts_with("#types\t") {
                let types = parts.skip(1).map(str::to_owned);
                log.types = names.iter().map(|name| (*name).to_owned()).zip(types).collect();
            } else if !line.starts_with('#') && !line.is_empty() {
                let cells = names.iter().map(|name| {
                    let cell = parts.next().unwrap_or(UNSET);
                    ((*name).to_owned(), cell.to_owned())
                });
                log.rows.push(cells.collect());
            }
        }
        Ok(log)
    }

    pub fn has(&self, column: &str) -> bool {
        self.types.contains_key(column)
    }

    /// Whether two cells of a column, whose type is the one of this log, say the same.
    pub fn same(&self, column: &str, a: &str, b: &str) -> bool {
        // An empty text and none at all are one thing in a tab-separated log of ours.
        let unset = |cell: &str| cell == UNSET || cell == EMPTY;
        if unset(a) || unset(b) {
            return unset(a) && unset(b);
        }
        let kind = self.types.get(column).map_or("string", String::as_str);
        let items = |cell: &str| cell.split(',').map(unescaped).collect::<Vec<_>>();
        match kind {
            "interval" | "double" | "time" => same_number(a, b),
            // conn's services are a set that Zeek joins to one text.
            _ if kind.starts_with("set[") || column == "service" => {
                let set = |cell| items(cell).into_iter().collect::<BTreeSet<_>>();
                set(a) == set(b)
            }
            "vector[interval]" | "vector[double]" => {
                a.split(',').count() == b.split(',').count()
                    && a.split(',').zip(b.split(',')).all(|(a, b)| same_number(a, b))
            }
            _ if kind.starts_with("vector[") => items(a) == items(b),
            _ => unescaped(a) == unescaped(b),
        }
    }
}

/// Within 1e-6, and what the six printed digits hide of it.
fn same_number(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() < 1.5e-6,
        _ => a == b,
    }
}

/// Takes back `\xNN` and `\\`.
fn unescaped(cell: &str) -> Vec<u8> {
    let bytes = cell.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = (byte == b'\\' && bytes.get(at + 1) == Some(&b'x'))
            .then(|| std::str::from_utf8(bytes.get(at + 2..at + 4)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let (byte, length) = match (code, byte, bytes.get(at + 1)) {
            (Some(code), ..) => (code, 4),
            (None, b'\\', Some(b'\\')) => (b'\\', 2),
            _ => (byte, 1),
        };
        plain.push(byte);
        at += length;
    }
    plain
}
