//! The directory of an administrator's own indicators.

mod file;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use file::{Column, MAX_LINE, Row, bare, parse_line};
pub use file::{Problem, Reason};

use slips_core::evidence::ThreatLevel;

use crate::feeds::{Feed, Holds};
use crate::ioc::Ioc;
use crate::snapshot::{Builder, Indicators, Saying, decode};

/// Why a directory of indicators could not be read. Bad lines are no reason; they are [`Problem`]s.
#[derive(Debug, thiserror::Error)]
#[error("cannot read indicators from {path}")]
pub struct LoadError {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Endings of lists of others.
const OTHERS: [&str; 10] =
    ["txt", "list", "intel", "json", "jsonl", "stix", "stix2", "netset", "ipset", "hosts"];
/// The file of digests that are never told: `description, md5, md5 …`.
const HARMLESS: &str = "known_fp_md5_hashes.csv";
/// Largest file that is read.
const MAX_FILE: u64 = 256 << 20;
/// Problems of one file that are told one by one.
const MAX_PROBLEMS: u32 = 100;

impl Builder {
    /// Reads every list of a directory, in the order of their names: `.csv` in the form of own lists, the endings of `OTHERS` in
    /// whatever form they have, as medium. Lines that cannot be used are reported and the rest is kept.
    ///
    /// # Errors
    /// When the directory or one of the files cannot be read, or a file is larger than 256 MiB.
    pub fn read_dir(&mut self, dir: &Path) -> Result<Vec<Problem>, LoadError> {
        let mut problems = Vec::new();
        for path in local_files(dir)? {
            let bytes = read_bounded(&path).map_err(|source| LoadError { path: path.clone(), source })?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.to_ascii_lowercase().ends_with(".csv") {
                problems.extend(self.read_local(&name, &bytes));
            } else {
                problems.extend(self.read_other(&name, &bytes));
            }
        }
        Ok(problems)
    }

    /// Reads the lines of one local file, which came from `name`.
    pub fn read_local(&mut self, name: &str, bytes: &[u8]) -> Vec<Problem> {
        let (mut bad, mut last) = (0u32, 0);
        let mut problems = Vec::new();
        if name.eq_ignore_ascii_case(HARMLESS) {
            self.read_harmless(bytes);
            return problems;
        }
        let column = Column::of(&name.to_ascii_lowercase());
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let number = index as u32 + 1;
            let taken = parse_line(line, column).map(|row| {
                row.and_then(|row| if self.add_local(name, &row) { Ok(()) } else { Err(Reason::NoRoom) })
            });
            if let Some(Err(reason)) = taken {
                (bad, last) = (bad + 1, number);
                if bad <= MAX_PROBLEMS {
                    problems.push(Problem { file: name.into(), line: number, reason });
                }
            }
        }
        if bad > MAX_PROBLEMS {
            let reason = Reason::Further(bad - MAX_PROBLEMS);
            problems.push(Problem { file: name.into(), line: last, reason });
        }
        problems
    }

    /// A list of somebody else that lies among the own ones.
    fn read_other(&mut self, name: &str, bytes: &[u8]) -> Option<Problem> {
        let feed = Feed { name, level: ThreatLevel::Medium, tags: "", holds: Holds::Indicators };
        let tally = self.read_feed(&feed, bytes);
        let rejected: u32 = tally.rejects().map(|(_, count)| count).sum();
        (rejected > 0).then(|| Problem { file: name.into(), line: 0, reason: Reason::Further(rejected) })
    }

    /// Whatever is no digest is the description.
    fn read_harmless(&mut self, bytes: &[u8]) {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| line.len() <= MAX_LINE);
        for line in lines.filter_map(|line| std::str::from_utf8(line).ok()) {
            for digest in line.split(',').filter_map(|field| decode(bare(field))) {
                self.add_harmless(digest);
            }
        }
    }

    fn add_local(&mut self, name: &str, row: &Row) -> bool {
        let saying = Saying {
            level: row.level,
            description: &row.description,
            source: name,
            tags: "",
            first_seen: 0,
            last_seen: 0,
        };
        // The original's file holds fingerprints of both sides.
        let other_side = match row.ioc {
            Ioc::Ja3(digest) => self.add(&Ioc::Ja3s(digest), &saying),
            _ => true,
        };
        self.add(&row.ioc, &saying) && other_side
    }
}

impl Indicators {
    /// A snapshot of the files of a directory: see [`Builder::read_dir`].
    ///
    /// # Errors
    /// When the directory or one of the files cannot be read, or a file is larger than 256 MiB.
    pub fn load_dir(dir: &Path) -> Result<(Self, Vec<Problem>), LoadError> {
        let mut builder = Builder::new();
        let problems = builder.read_dir(dir)?;
        Ok((builder.finish(), problems))
    }

    /// A snapshot of one file's bytes, which came from `name`.
    pub fn parse(name: &str, bytes: &[u8]) -> (Self, Vec<Problem>) {
        let mut builder = Builder::new();
        let problems = builder.read_local(name, bytes);
        (builder.finish(), problems)
    }
}

/// The files of indicators in a directory, by name.
fn local_files(dir: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let fail = |source| LoadError { path: dir.into(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let is_list = name.rsplit_once('.').is_some_and(|(_, end)| end == "csv" || OTHERS.contains(&end));
        if is_list && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 256 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Contents;
    use slips_core::intel::{Intelligence, Key};

    fn find<'a>(indicators: &'a Indicators, addr: &str) -> Option<slips_core::intel::Listed<'a>> {
        indicators.look_up(Key::Address(addr.parse().expect(addr)))
    }

    fn level(indicators: &Indicators, addr: &str) -> Option<&'static str> {
        find(indicators, addr).map(|found| found.level.name())
    }

    #[test]
    fn the_first_line_counts_and_bad_ones_are_told_by_number() {
        let text = b"192.0.2.1,high,first\nnonsense\n# no\n198.51.100.0/24,low,net\n192.0.2.2,severe,x\n";
        let (indicators, problems) = Indicators::parse("own.csv", text);
        assert_eq!(level(&indicators, "192.0.2.1"), Some("high"));
        assert_eq!(level(&indicators, "198.51.100.9"), Some("low"));
        assert_eq!(level(&indicators, "192.0.2.2"), None);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("own.csv:2: ") && told[1].starts_with("own.csv:5: "), "{told:?}");
        assert_eq!(indicators.contents(), Contents { nets: 2, ..Contents::default() });
    }

    #[test]
    fn of_two_rows_about_one_thing_the_worse_stands() {
        let text = b"192.0.2.1,high,a\n192.0.2.1,low,b\n192.0.2.2,low,c\n192.0.2.2,critical,d\n";
        let (indicators, _) = Indicators::parse("own.csv", text);
        assert_eq!(level(&indicators, "192.0.2.1"), Some("high"));
        assert_eq!(level(&indicators, "192.0.2.2"), Some("critical"));
    }

    #[test]
    fn a_directory_is_read_in_order_and_other_formats_are_left_alone() {
        let dir = tempfile::tempdir().expect("dir");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("write");
        write("b.csv", "192.0.2.1,low,from b");
        write("a.csv", "192.0.2.1,low,from a\nbroken line");
        write(
            "own_malicious_JA3.csv",
            "e7d705a3286E19ea42f587b344ee6865, high,x\nmd5,level,x\n192.0.2.9,high,x",
        );
        write("own_malicious_JARM.csv", "whatever");
        write("notes.md", "192.0.2.9,high,x");
        write("other.hosts", "0.0.0.0 bad.example.com\n0.0.0.0 x.nowhere-at-all\n");
        let (indicators, problems) = Indicators::load_dir(dir.path()).expect("load");
        let found = find(&indicators, "192.0.2.1").expect("found");
        assert_eq!((found.description, found.sources), ("from a", "a.csv, b.csv"));
        assert_eq!(level(&indicators, "192.0.2.9"), None);
        let md5 = "e7d705a3286e19ea42f587b344ee6865";
        for key in [Key::Ja3(md5), Key::Ja3s(md5)] {
            assert_eq!(indicators.look_up(key).map(|found| found.level.name()), Some("high"));
        }
        let other = indicators.look_up(Key::Domain("bad.example.com")).map(|found| found.level.name());
        assert_eq!(other, Some("medium"));
        assert_eq!(
            problems.len(),
            4,
            "a broken line, an address among fingerprints, no JARM, no zone: {problems:?}"
        );
        let missing = dir.path().join("missing");
        assert!(Indicators::load_dir(&missing).expect_err("no directory").to_string().contains("missing"));
    }

    #[test]
    fn thousands_of_bad_lines_are_summed_up() {
        let (_, problems) = Indicators::parse("own.csv", "x\n".repeat(5000).as_bytes());
        assert_eq!(problems.len(), 101);
        assert_eq!(problems[100].reason, Reason::Further(4900));
    }

    #[test]
    fn the_shipped_file_has_no_problem_and_no_entry() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/local_ti_files");
        let (indicators, problems) = Indicators::load_dir(&dir).expect("load");
        assert_eq!((indicators.contents(), problems), (Contents::default(), Vec::new()));
    }
}
