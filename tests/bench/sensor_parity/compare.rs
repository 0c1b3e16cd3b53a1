//! One log of ours against one of Zeek's.

use std::collections::{BTreeMap, HashMap};

use super::rows::{Log, Row, UNSET};
use super::scope::{ENDPOINTS, FTP_COMMANDS, NOTICES, REFERENCES, Scope};

/// How much of a log is equal.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// Zeek's rows.
    pub rows: usize,
    /// Of these, rows of ours that are equal in the columns that count.
    pub equal: usize,
    /// Rows of ours that Zeek does not have.
    pub extra: usize,
    /// Zeek's columns: how often they are equal, of how many rows.
    pub columns: BTreeMap<String, (usize, usize)>,
}

impl Score {
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.equal += other.equal;
        self.extra += other.extra;
        for (name, (equal, rows)) in &other.columns {
            let column = self.columns.entry(name.clone()).or_default();
            column.0 += equal;
            column.1 += rows;
        }
    }

    pub fn meets(&self, bar: u32) -> bool {
        self.equal * 100 >= self.rows * bar as usize
    }
}

/// What Zeek was told when it wrote its log, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scripts {
    /// All of its default scripts.
    Default,
    /// Those that a test asked for; others' services and records are missing.
    Bare,
}

/// Compares; each difference is told as a line.
pub fn compare(scope: &Scope, scripts: Scripts, theirs: &Log, ours: &Log, told: &mut Vec<String>) -> Score {
    let mut score = Score::default();
    let mut left: HashMap<Vec<&str>, Vec<&Row>> = HashMap::new();
    let key_columns = key_columns(scope, theirs, ours);
    for row in ours.rows.iter().rev().filter(|row| counts(scope, row)) {
        left.entry(key(&key_columns, row)).or_default().push(row);
    }
    let mut names = References::default();
    for row in theirs.rows.iter().filter(|row| counts(scope, row)) {
        score.rows += 1;
        let Some(found) = left.get_mut(&key(&key_columns, row)).and_then(Vec::pop) else {
            told.push(format!("{} is missing: {}", key(&key_columns, row).join(" "), brief(scope, row)));
            continue;
        };
        let mut differing = Vec::new();
        for (column, their) in row {
            if !is_comparable(scope, scripts, column, their, ours) {
                continue;
            }
            let our = found.get(column).map_or(UNSET, String::as_str);
            let same = if REFERENCES.contains(&column.as_str()) {
                names.same(their, our)
            } else {
                theirs.same(column, our, their)
            };
            let sum = score.columns.entry(column.clone()).or_default();
            sum.0 += usize::from(same);
            sum.1 += 1;
            if !same && scope.columns.contains(&column.as_str()) {
                differing.push(format!("{column}: ours {our}, Zeek's {their}"));
            }
        }
        score.equal += usize::from(differing.is_empty());
        if !differing.is_empty() {
            differing.sort();
            told.push(format!("{}: {}", key(&key_columns, row).join(" "), differing.join("; ")));
        }
    }
    score.extra = left.values().map(Vec::len).sum();
    let mut extra: Vec<_> = left.values().flatten().map(|row| brief(scope, row)).collect();
    extra.sort();
    // Without its default scripts Zeek leaves out whole protocols.
    if scripts == Scripts::Default || scope.log == "conn" {
        told.extend(extra.into_iter().map(|row| format!("only ours: {row}")));
    }
    score
}

fn key_columns<'a>(scope: &'a Scope, theirs: &Log, ours: &Log) -> Vec<&'a str> {
    let all = ["proto"].iter().chain(&ENDPOINTS).chain(scope.key);
    all.copied().filter(|column| theirs.has(column) && (ours.has(column) || ours.rows.is_empty())).collect()
}

fn key<'a>(columns: &[&str], row: &'a Row) -> Vec<&'a str> {
    columns.iter().map(|column| row.get(*column).map_or(UNSET, String::as_str)).collect()
}

/// Whether a row is one that Zeek writes without being told to by a test.
fn counts(scope: &Scope, row: &Row) -> bool {
    let cell = |column: &str| row.get(column).map_or(UNSET, String::as_str);
    match scope.log {
        // a test lowers the limit of guesses
        "notice" if cell("note") == "SSH::Password_Guessing" => {
            cell("msg").contains("(seen in 30 connections)")
        }
        "notice" => NOTICES.iter().any(|known| cell("note").contains(known)),
        // several tests have further commands logged
        "ftp" => FTP_COMMANDS.contains(&cell("command")),
        _ => true,
    }
}

fn brief(scope: &Scope, row: &Row) -> String {
    let columns = ENDPOINTS.iter().chain(scope.columns);
    let cells = columns.filter_map(|column| Some((column, row.get(*column)?)));
    cells
        .filter(|(_, cell)| *cell != UNSET)
        .map(|(column, cell)| format!("{column}={cell}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Times are blanked in Zeek's logs, and some columns depend on what else a test loaded.
fn is_comparable(scope: &Scope, scripts: Scripts, column: &str, their: &str, ours: &Log) -> bool {
    let test_dependent = match (scope.log, column) {
        ("conn", "service") => scripts == Scripts::Bare,
        // Zeek computes only the hashes that a script asks for, and names the columns after them.
        ("files", "md5" | "sha1" | "sha256") => their == UNSET,
        ("files", "analyzers") => true,
        // Current Zeek leaves these out unless asked; what the certificate says is compared with x509's rows.
        ("ssl", "subject" | "issuer" | "client_subject" | "client_issuer") => their == UNSET,
        _ => false,
    };
    let wanted = scope.columns.contains(&column) || ours.has(column);
    column != "ts" && wanted && !test_dependent
}

/// Identifiers of one run mapped to those of another, both ways.
#[derive(Default)]
struct References {
    ours: HashMap<String, String>,
    theirs: HashMap<String, String>,
}

impl References {
    fn same(&mut self, their: &str, our: &str) -> bool {
        let list = |cell: &str| cell.split(',').filter(|item| *item != UNSET).map(str::to_owned).collect();
        let (their, our): (Vec<String>, Vec<String>) = (list(their), list(our));
        // Sets are in no order; whom each member means shows in the rows that name it alone. A file that is fetched in pieces
        // over several connections has one name with Zeek and several with us.
        if their.len() > 1 || their.iter().chain(&our).any(|name| name.starts_with('F')) {
            return their.len() == our.len();
        }
        their.len() == our.len()
            && their.iter().zip(&our).all(|(their, our)| {
                self.ours.entry(their.clone()).or_insert_with(|| our.clone()) == our
                    && self.theirs.entry(our.clone()).or_insert_with(|| their.clone()) == their
            })
    }
}
