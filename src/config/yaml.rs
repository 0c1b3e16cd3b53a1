//! YAML that people write: read whole, and every mistake in it told with its line.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// One thing that is wrong with a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: u64,
    /// What is wrong, naming the key.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.what),
        }
    }
}

/// Most problems that are told of one file.
const MAX_PROBLEMS: usize = 50;

/// Reads YAML, and tells every problem in it, not only the first.
pub fn parse_yaml<T: DeserializeOwned + Default>(path: &Path, text: &str) -> Result<T, Vec<Problem>> {
    let mut lines: Vec<&str> = text.lines().collect();
    let mut problems: Vec<Problem> = Vec::new();
    loop {
        match serde_saphyr::from_str::<Option<T>>(&lines.join("\n")) {
            Ok(value) if problems.is_empty() => return Ok(value.unwrap_or_default()),
            Ok(_) => return Err(problems),
            Err(error) => {
                let line = error.location().map_or(0, |at| at.line());
                let what = describe(&error.without_snippet().to_string(), line, &lines);
                problems.push(Problem { file: path.to_owned(), line, what });
                // The parser stops at the first problem. Take that key out, with all that is nested in it, and ask again.
                if problems.len() >= MAX_PROBLEMS || !blank_out(&mut lines, line) {
                    return Err(problems);
                }
            }
        }
    }
}

/// The parser's message without its own position, with the key of the line in front.
fn describe(message: &str, line: u64, lines: &[&str]) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    let key = usize::try_from(line)
        .ok()
        .and_then(|line| lines.get(line.checked_sub(1)?))
        .and_then(|text| text.split_once(':'))
        .map(|(key, _)| key.trim().trim_start_matches("- "));
    match key {
        Some(key) if !key.is_empty() && !message.contains(key) => format!("{key}: {message}"),
        _ => message.to_owned(),
    }
}

/// Empties line `line` (from 1) and the lines nested in it; false when there is nothing to empty.
fn blank_out(lines: &mut [&str], line: u64) -> bool {
    let Some(at) = usize::try_from(line).ok().and_then(|line| line.checked_sub(1)) else { return false };
    let indent = |text: &str| text.len() - text.trim_start().len();
    let Some(first) = lines.get_mut(at).filter(|text| !text.trim().is_empty()) else { return false };
    let depth = indent(first);
    *first = "";
    for text in lines.iter_mut().skip(at + 1) {
        let is_item = text.trim_start().starts_with('-') && indent(text) >= depth;
        if !text.trim().is_empty() && indent(text) <= depth && !is_item {
            break;
        }
        *text = "";
    }
    true
}
