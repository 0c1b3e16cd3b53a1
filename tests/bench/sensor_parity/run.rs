//! The sensor over the captures for which there are Zeek logs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::compare::{Score, Scripts, compare};
use super::rows::{Log, UNSET};
use super::scope::{LOGS, Scope};

/// What was compared and found.
#[derive(Debug, Default)]
pub struct Findings {
    pub captures: usize,
    /// By log, in the order of [`LOGS`].
    pub scores: Vec<(&'static str, u32, Score)>,
    /// `CASE LOG: difference`.
    pub differences: Vec<String>,
    /// Rows whose uid or fuid refers to nothing, or to something else: none is allowed.
    pub dangling: Vec<String>,
}

impl Findings {
    pub fn meets_bars(&self) -> bool {
        self.dangling.is_empty() && self.scores.iter().all(|(_, bar, score)| score.meets(*bar))
    }

    pub fn json(&self) -> Value {
        let logs: serde_json::Map<_, _> = self
            .scores
            .iter()
            .map(|(log, bar, score)| {
                let columns: HashMap<_, _> =
                    score.columns.iter().map(|(name, sum)| (name, json!([sum.0, sum.1]))).collect();
                let value = json!({"rows": score.rows, "equal": score.equal, "extra": score.extra, "bar": bar, "columns": columns});
                ((*log).to_owned(), value)
            })
            .collect();
        json!({
            "captures": self.captures, "logs": logs, "differences": self.differences, "dangling": self.dangling,
            "bars_met": self.meets_bars(),
        })
    }
}

/// Runs `slips sensor` over a capture.
pub struct Runner {
    pub slips: PathBuf,
    pub scratch: PathBuf,
}

impl Runner {
    /// The directory with the logs, which the next run overwrites.
    pub fn run(&self, capture: &Path, verify_checksums: bool) -> Result<PathBuf> {
        let out = self.scratch.join("logs");
        if out.exists() {
            std::fs::remove_dir_all(&out)?;
        }
        let mut command = Command::new(&self.slips);
        command.arg("sensor").arg(capture).arg("--tsv").arg("-o").arg(&out);
        if verify_checksums {
            command.arg("--verify-checksums");
        }
        let done = command.output().with_context(|| self.slips.display().to_string())?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "slips sensor {}: {said}", capture.display());
        Ok(out)
    }
}

/// Compares all cases of the corpora whose name contains `only`.
pub fn run(runner: &Runner, corpora: &Path, only: &str) -> Result<Findings> {
    let mut findings = Findings {
        scores: LOGS.iter().map(|scope| (scope.log, scope.bar, Score::default())).collect(),
        ..Findings::default()
    };
    for case in manifest(corpora)? {
        let id = text(&case, "id");
        let expected: Vec<&Value> = list(&case, "expected").filter(|e| in_scope(e).is_some()).collect();
        if !id.starts_with("zeek/") || !id.contains(only) || expected.is_empty() {
            continue;
        }
        findings.captures += 1;
        for verify in [false, true] {
            let wanted: Vec<_> = expected.iter().filter(|e| verifies(e) == verify).collect();
            if wanted.is_empty() {
                continue;
            }
            let dir = corpora.join(text(&case, "dir"));
            let logs = runner.run(&dir.join(text(&case, "capture")), verify)?;
            check_references(id, &logs, &mut findings.dangling)?;
            for expected in wanted {
                judge(id, &dir, expected, &logs, &mut findings)?;
            }
        }
    }
    Ok(findings)
}

fn judge(id: &str, dir: &Path, expected: &Value, logs: &Path, findings: &mut Findings) -> Result<()> {
    let Some(scope) = in_scope(expected) else { return Ok(()) };
    let theirs = Log::read(&dir.join(text(expected, "file")))?;
    let ours = Log::read(&logs.join(format!("{}.log", scope.log)))?;
    let scripts = if text(expected, "scripts") == "default" { Scripts::Default } else { Scripts::Bare };
    let mut told = Vec::new();
    let score = compare(scope, scripts, &theirs, &ours, &mut told);
    findings.differences.extend(told.into_iter().map(|line| format!("{id} {}: {line}", scope.log)));
    for (log, _, sum) in &mut findings.scores {
        if *log == scope.log {
            sum.add(&score);
        }
    }
    Ok(())
}

/// Every row's uid is that of a row of conn.log with the same endpoints, every fuid that of a row of files.log.
fn check_references(id: &str, logs: &Path, dangling: &mut Vec<String>) -> Result<()> {
    let cell = |row: &super::rows::Row, column: &str| row.get(column).cloned().unwrap_or(UNSET.to_owned());
    let ends = |row: &super::rows::Row| super::scope::ENDPOINTS.map(|column| cell(row, column));
    let mut conns = HashMap::new();
    for row in Log::read(&logs.join("conn.log"))?.rows {
        conns.insert(cell(&row, "uid"), ends(&row));
    }
    let files = Log::read(&logs.join("files.log"))?;
    let fuids: std::collections::HashSet<_> = files.rows.iter().map(|row| cell(row, "fuid")).collect();
    for entry in std::fs::read_dir(logs)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "log") {
            continue;
        }
        let log = Log::read(&path)?;
        for row in &log.rows {
            let uids = [cell(row, "uid"), cell(row, "uids")].join(",");
            for uid in uids.split(',').filter(|uid| *uid != UNSET) {
                let Some(ends_there) = conns.get(uid) else {
                    // A tunnel that has no ports is no connection, in Zeek neither.
                    if path.ends_with("tunnel.log") && cell(row, "id.orig_p") == "0" {
                        continue;
                    }
                    dangling.push(format!("{id} {}: no connection {uid}", path.display()));
                    continue;
                };
                if log.has("id.orig_h") && ends(row) != *ends_there {
                    dangling.push(format!("{id} {}: {uid} has other endpoints", path.display()));
                }
            }
            let names = [cell(row, "resp_fuids"), cell(row, "orig_fuids")].join(",");
            for fuid in names.split(',').filter(|fuid| *fuid != UNSET && !fuids.contains(*fuid)) {
                dangling.push(format!("{id} {}: no file {fuid}", path.display()));
            }
        }
    }
    Ok(())
}

/// The cases of the corpora.
pub fn manifest(corpora: &Path) -> Result<Vec<Value>> {
    let path = corpora.join("manifest.json");
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    match serde_json::from_slice(&bytes)? {
        Value::Array(cases) => Ok(cases),
        _ => bail!("{}: no list of cases", path.display()),
    }
}

fn in_scope(expected: &Value) -> Option<&'static Scope> {
    LOGS.iter().find(|scope| scope.log == text(expected, "path"))
}

fn verifies(expected: &Value) -> bool {
    expected.get("ignore_checksums").and_then(Value::as_bool) == Some(false)
}

pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}
