//! The snapshot of all indicators.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use slips_core::addr::Net;
use slips_core::evidence::ThreatLevel;
use slips_core::hash::KeyedState;
use slips_core::intel::{Indicator, Intelligence};

use crate::local_file::{self, Column, Named, Problem, Reason, Row};
use crate::ranges::RangeTable;

/// An immutable snapshot of indicators. Lookups allocate nothing.
///
/// Addresses and networks are matched by the detections today. Domains and autonomous systems are kept and can be looked up
/// ([`Self::domain`], [`Self::asn`]), but no detection asks for them yet: [`Contents`] counts them apart, so that a start-up
/// message can say so.
#[derive(Clone, Debug, Default)]
pub struct Indicators {
    /// Each distinct indicator once.
    known: Vec<Indicator>,
    nets: RangeTable,
    domains: HashMap<Box<str>, u32, KeyedState>,
    asns: BTreeMap<u32, u32>,
    ja3: HashMap<Box<str>, u32, KeyedState>,
    contents: Contents,
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Addresses and networks, matched against flows.
    pub nets: usize,
    /// Domains, not matched yet.
    pub domains: usize,
    /// Autonomous systems, not matched yet.
    pub asns: usize,
    /// JA3 and JA3S fingerprints, matched against TLS handshakes.
    pub ja3: usize,
}

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

/// The file whose first column holds JA3 and JA3S fingerprints: `md5, level, description`.
const JA3_FILE: &str = "own_malicious_ja3.csv";
/// Files of other formats that live in the same directory; other loaders read them.
const OTHER_FORMATS: [&str; 2] = ["own_malicious_jarm.csv", "known_fp_md5_hashes.csv"];
/// Largest file that is read.
const MAX_FILE: u64 = 256 << 20;
/// Problems of one file that are told one by one.
const MAX_PROBLEMS: u32 = 100;

impl Indicators {
    /// Reads every `.csv` file of a directory, in the order of their names, but those of other formats.
    /// Lines that cannot be used are reported and the rest is kept.
    ///
    /// # Errors
    /// When the directory or one of the files cannot be read, or a file is larger than 256 MiB.
    pub fn load_dir(dir: &Path) -> Result<(Self, Vec<Problem>), LoadError> {
        let fail = |path: &Path, source| LoadError { path: path.into(), source };
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(|error| fail(dir, error))? {
            let path = entry.map_err(|error| fail(dir, error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            if name.ends_with(".csv") && !OTHER_FORMATS.contains(&name.as_str()) && path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        let mut builder = Builder::default();
        let mut problems = Vec::new();
        for path in files {
            let bytes = read_bounded(&path).map_err(|error| fail(&path, error))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            builder.read(&name, &bytes, &mut problems);
        }
        Ok((builder.finish(), problems))
    }

    /// Reads one file's bytes, which came from `name`.
    pub fn parse(name: &str, bytes: &[u8]) -> (Self, Vec<Problem>) {
        let (mut builder, mut problems) = (Builder::default(), Vec::new());
        builder.read(name, bytes, &mut problems);
        (builder.finish(), problems)
    }

    /// What it holds.
    pub const fn contents(&self) -> Contents {
        self.contents
    }

    /// The indicator for a domain (in lower case, as events carry it), or for the closest parent that is listed, and whether it is listed itself.
    /// A listed name of one label never exists, so that a top-level domain never matches all below it.
    pub fn domain(&self, name: &str) -> Option<(&Indicator, bool)> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut rest = name;
        loop {
            if let Some(at) = self.domains.get(rest) {
                return Some((self.known.get(*at as usize)?, rest.len() == name.len()));
            }
            rest = rest.split_once('.')?.1;
        }
    }

    /// The indicator for an autonomous system.
    pub fn asn(&self, number: u32) -> Option<&Indicator> {
        self.known.get(*self.asns.get(&number)? as usize)
    }
}

impl Intelligence for Indicators {
    fn address(&self, addr: IpAddr) -> Option<&Indicator> {
        self.known.get(self.nets.lookup(addr)? as usize)
    }

    fn ja3(&self, md5: &str) -> Option<&Indicator> {
        self.known.get(*self.ja3.get(md5)? as usize)
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 256 MiB"));
    }
    Ok(bytes)
}

/// A snapshot in the making.
#[derive(Default)]
struct Builder {
    known: Vec<Indicator>,
    /// Place of each distinct indicator of the file at hand, so that a feed of a million addresses keeps one description.
    places: HashMap<(ThreatLevel, Box<str>), u32, KeyedState>,
    nets: Vec<(Net, u32)>,
    domains: HashMap<Box<str>, u32, KeyedState>,
    asns: BTreeMap<u32, u32>,
    ja3: HashMap<Box<str>, u32, KeyedState>,
}

impl Builder {
    fn read(&mut self, file: &str, bytes: &[u8], problems: &mut Vec<Problem>) {
        let mut bad = 0u32;
        let mut last = 0;
        self.places.clear();
        let column = if file.eq_ignore_ascii_case(JA3_FILE) { Column::Ja3 } else { Column::Indicators };
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let number = index as u32 + 1;
            match local_file::parse_line(line, column) {
                None => {}
                Some(Ok(row)) => self.add(file, row),
                Some(Err(reason)) => {
                    bad += 1;
                    last = number;
                    if bad <= MAX_PROBLEMS {
                        problems.push(Problem { file: file.into(), line: number, reason });
                    }
                }
            }
        }
        if bad > MAX_PROBLEMS {
            let reason = Reason::Further(bad - MAX_PROBLEMS);
            problems.push(Problem { file: file.into(), line: last, reason });
        }
    }

    /// Adds a row. Of two rows about the same thing the worse one stands, the earlier one if they are equal.
    fn add(&mut self, file: &str, row: Row) {
        let place = self.place(row.level, row.description, file);
        let known = match row.named {
            Named::Net(net) => {
                self.nets.push((net, place));
                return;
            }
            Named::Domain(name) => self.domains.entry(name).or_insert(place),
            Named::Asn(number) => self.asns.entry(number).or_insert(place),
            Named::Ja3(md5) => self.ja3.entry(md5).or_insert(place),
        };
        if is_worse(&self.known, place, *known) {
            *known = place;
        }
    }

    fn place(&mut self, level: ThreatLevel, description: Box<str>, source: &str) -> u32 {
        let next = self.known.len() as u32;
        let key = (level, description);
        if let Some(place) = self.places.get(&key) {
            return *place;
        }
        self.known.push(Indicator { level, description: key.1.clone(), source: source.into() });
        self.places.insert(key, next);
        next
    }

    fn finish(mut self) -> Indicators {
        // Stable: rows about the same network stay in their order.
        self.nets.sort_by_key(|(net, _)| *net);
        let known = std::mem::take(&mut self.known);
        self.nets.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same && is_worse(&known, later.1, earlier.1) {
                earlier.1 = later.1;
            }
            same
        });
        let contents = Contents {
            nets: self.nets.len(),
            domains: self.domains.len(),
            asns: self.asns.len(),
            ja3: self.ja3.len(),
        };
        Indicators {
            known,
            nets: RangeTable::new(self.nets),
            domains: self.domains,
            asns: self.asns,
            ja3: self.ja3,
            contents,
        }
    }
}

/// Whether the indicator at `place` is worse than the one at `than`.
fn is_worse(known: &[Indicator], place: u32, than: u32) -> bool {
    let level_at = |at: u32| known.get(at as usize).map(|indicator| indicator.level);
    level_at(place) > level_at(than)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(indicators: &Indicators, addr: &str) -> Option<&'static str> {
        indicators.address(addr.parse().expect(addr)).map(|found| found.level.name())
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
    fn domains_match_with_all_below_them_and_systems_by_number() {
        let (indicators, problems) =
            Indicators::parse("own.csv", b"bad.example,high,x\nAS64496,low,y\ncom,high,z");
        let found = |name| indicators.domain(name).map(|(_, exact)| exact);
        assert_eq!(found("bad.example"), Some(true));
        assert_eq!(found("www.bad.example."), Some(false));
        assert_eq!((found("notbad.example"), found("example"), found("")), (None, None, None));
        assert_eq!(indicators.asn(64496).map(|found| &*found.description), Some("y"));
        assert_eq!(problems.len(), 1, "one label alone is refused");
        assert_eq!(indicators.contents(), Contents { domains: 1, asns: 1, ..Contents::default() });
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
        write("notes.txt", "192.0.2.9,high,x");
        let (indicators, problems) = Indicators::load_dir(dir.path()).expect("load");
        let found = indicators.address("192.0.2.1".parse().expect("ip")).expect("found");
        assert_eq!((&*found.description, &*found.source), ("from a", "a.csv"));
        assert_eq!(level(&indicators, "192.0.2.9"), None);
        let listed = indicators.ja3("e7d705a3286e19ea42f587b344ee6865").map(|found| found.level.name());
        assert_eq!((listed, indicators.ja3("")), (Some("high"), None));
        assert_eq!(problems.len(), 2, "a broken line, and an address among fingerprints");
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
