//! Comparing our records with the rows of Zeek's logs.

use slips_core::event::{About, Event};
use slips_sensor::Settings;

use super::Case;

/// The columns of a record as Zeek prints them.
pub type Columns = Vec<(&'static str, String)>;

/// How many rows Zeek has, how many of them are equal, and how many more we have.
#[derive(Debug, Default)]
pub struct Score {
    pub rows: usize,
    pub equal: usize,
    pub extra: usize,
}

pub fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

pub fn flag(value: bool) -> String {
    if value { "T" } else { "F" }.to_owned()
}

pub fn list(items: &[String]) -> String {
    if items.is_empty() { "-".to_owned() } else { items.join(",") }
}

/// Runs a case and matches records to rows by their endpoints, in order. Prints what differs.
pub fn compare(case: &Case, score: &mut Score, record: impl Fn(&Event) -> Option<(About, Columns)>) {
    let settings = Settings { verify_checksums: !case.ignore_checksums, ..Settings::default() };
    let (_, events) = super::run(&case.capture, settings);
    let mut ours: Vec<_> = events.iter().filter_map(record).collect();
    for row in super::read_log(&case.expected) {
        score.rows += 1;
        let field = |name: &str| row.get(name).cloned().unwrap_or_default();
        let id = [field("id.orig_h"), field("id.orig_p"), field("id.resp_h"), field("id.resp_p")];
        let found = ours.iter().position(|(about, _)| {
            let (src, dst) = (about.src, about.dst);
            [src.addr.to_string(), src.port.to_string(), dst.addr.to_string(), dst.port.to_string()] == id
        });
        let Some(found) = found else {
            println!("{}: no row for {id:?}", case.id);
            continue;
        };
        let same = |ours: &str, theirs: &str| ours == theirs || (ours == "-" && theirs == "(empty)");
        let differing: Vec<_> = ours
            .remove(found)
            .1
            .into_iter()
            .filter(|(column, value)| row.get(*column).is_some_and(|theirs| !same(value, theirs)))
            .map(|(column, value)| format!("{column}: ours {value}, Zeek's {}", field(column)))
            .collect();
        score.equal += usize::from(differing.is_empty());
        if !differing.is_empty() {
            println!("{}: {id:?} {differing:?}", case.id);
        }
    }
    for (about, columns) in &ours {
        println!("{}: not in Zeek's log: {} {columns:?}", case.id, about.src);
    }
    score.extra += ours.len();
}
