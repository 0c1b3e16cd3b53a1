//! Rules in the language of YARA: those that are built in, and the owner's.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use boreal::compiler::CompilerParams;
use boreal::scanner::{EvaluatedRule, ScanParams};
use boreal::{Compiler, MetadataValue, Scanner};
use slips_core::event::Payload;
use slips_core::evidence::{EvidenceKind, ThreatLevel};

/// Matches of one string that are looked at.
const MAX_MATCHES: u32 = 64;
/// Bytes of a match that are looked at.
const MAX_MATCH: usize = 128;
/// A scan of the few kilobytes that are given to it takes microseconds; this is for a rule of the owner that never ends.
const TIMEOUT: Duration = Duration::from_millis(200);
/// Strings of one rule.
const MAX_STRINGS: usize = 256;

/// The rules that are built in.
const BUILT_IN: &str = include_str!("../../../yara_rules/leaks.yar");

/// Compiled rules, which all detectors share.
#[derive(Clone)]
pub struct Rules {
    scanner: Arc<Scanner>,
    /// Of the owner's files: their names and texts.
    files: Vec<(String, String)>,
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.files == other.files
    }
}

impl Eq for Rules {}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.files.iter().map(|(name, _)| name)).finish()
    }
}

/// What a rule says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its name.
    pub rule: String,
    /// What leaves.
    pub what: String,
    pub kind: EvidenceKind,
    pub level: ThreatLevel,
    /// Where the first match begins, and how long it is. Not what it is: a log of leaks must not be one.
    pub place: Option<(usize, usize)>,
}

impl Rules {
    /// The rules that are built in, compiled when they are first needed.
    pub fn built_in() -> Self {
        static RULES: OnceLock<Rules> = OnceLock::new();
        RULES.get_or_init(|| Self::with(Vec::new()).0).clone()
    }

    /// Those and the owner's, each a file's name and text. A file that is wrong is left out; why is told with its line.
    pub fn with(files: Vec<(String, String)>) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut compiler = compiler();
        for (name, text) in std::iter::once(("leaks.yar", BUILT_IN))
            .chain(files.iter().map(|(name, text)| (name.as_str(), text.as_str())))
        {
            // A file that is wrong in its middle would leave its beginning behind: it is tried by itself.
            let tried = self::compiler().add_rules_str_in_namespace(text, name);
            match tried.and_then(|_| compiler.add_rules_str_in_namespace(text, name)) {
                Ok(_) => {}
                Err(error) => {
                    let what = error.to_string();
                    problems.push(format!("{name}{}", what.strip_prefix("mem").unwrap_or(&what)));
                }
            }
        }
        let mut scanner = compiler.finalize();
        let params = ScanParams::default()
            .compute_full_matches(true)
            .match_max_length(MAX_MATCH)
            .string_max_nb_matches(MAX_MATCHES)
            .timeout_duration(Some(TIMEOUT));
        scanner.set_scan_params(params);
        (Self { scanner: Arc::new(scanner), files }, problems)
    }

    /// How many rules there are.
    pub fn count(&self) -> usize {
        self.scanner.rules().count()
    }

    /// A scanner for one detector.
    pub(super) fn scanner(&self) -> Scanner {
        Scanner::clone(&self.scanner)
    }
}

/// A compiler that knows what is known of a flow, and reads no files.
fn compiler() -> Compiler {
    let mut compiler = Compiler::new();
    compiler.set_params(CompilerParams::default().disable_includes(true).max_strings_per_rule(MAX_STRINGS));
    compiler.define_symbol("service", "");
    compiler.define_symbol("port", 0);
    compiler.define_symbol("from_client", true);
    compiler
}

/// What the rules find in a payload.
pub(super) fn search(scanner: &mut Scanner, payload: &Payload) -> Vec<Found> {
    // The three are defined above, with these types.
    let _ = scanner.define_symbol("service", payload.service.as_str());
    let _ = scanner.define_symbol("port", i64::from(payload.about.dst.port));
    let _ = scanner.define_symbol("from_client", payload.is_orig);
    let (Ok(result) | Err((_, result))) = scanner.scan_mem(&payload.bytes);
    result.rules.iter().filter_map(|rule| found(scanner, rule, payload)).collect()
}

fn found(scanner: &Scanner, rule: &EvaluatedRule<'_>, payload: &Payload) -> Option<Found> {
    let text = |key: &str| {
        rule.metadatas.iter().find(|meta| scanner.get_string_symbol(meta.name) == key).and_then(|meta| {
            match meta.value {
                MetadataValue::Bytes(bytes) => std::str::from_utf8(scanner.get_bytes_symbol(bytes)).ok(),
                _ => None,
            }
        })
    };
    let number = |key: &str| {
        rule.metadatas.iter().find(|meta| scanner.get_string_symbol(meta.name) == key).and_then(|meta| {
            match meta.value {
                MetadataValue::Integer(n) => usize::try_from(n).ok(),
                _ => None,
            }
        })
    };
    let check = text("check");
    let matches = rule
        .matches
        .iter()
        .filter(|strings| check.is_none() || strings.name.starts_with("checked"))
        .flat_map(|strings| strings.matches.iter());
    let mut place = None;
    let mut values = BTreeSet::new();
    for found in matches {
        if check.is_none_or(|check| passes(check, &found.data, payload)) {
            place = place.or(Some((found.offset, found.length)));
            values.insert(&found.data);
        }
    }
    if check.is_some() && values.len() < number("least").unwrap_or(1) {
        return None;
    }
    Some(Found {
        rule: rule.name.to_owned(),
        what: text("what").unwrap_or("what a rule of the owner names").to_owned(),
        kind: match text("kind") {
            Some("location") => EvidenceKind::NetworkGpsLocationLeaked,
            _ => EvidenceKind::SensitiveDataLeaked,
        },
        // no rule alone blocks anybody
        level: text("level")
            .and_then(ThreatLevel::from_name)
            .unwrap_or(ThreatLevel::Low)
            .min(ThreatLevel::High),
        place,
    })
}

/// Whether a match is what it looks like.
fn passes(check: &str, found: &[u8], payload: &Payload) -> bool {
    match check {
        "luhn" => has_check_digit(found),
        "own_mac" => payload.about.src_mac.is_some_and(|mac| ends_with_address(found, mac.0)),
        _ => true,
    }
}

/// Whether the digits behind the last letter end with the check digit of ISO/IEC 7812 (Luhn), and are not all the same.
fn has_check_digit(found: &[u8]) -> bool {
    let from = found
        .iter()
        .rposition(|byte| matches!(byte, b'=' | b':' | b'"' | b'\'') || byte.is_ascii_alphabetic());
    let number = found.get(from.map_or(0, |at| at + 1)..).unwrap_or_default();
    let digits = number.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let doubled = |(place, digit): (usize, u32)| match place % 2 {
        0 => digit,
        _ => digit * 2 / 10 + digit * 2 % 10,
    };
    let sum: u32 = digits.clone().rev().enumerate().map(doubled).sum();
    let is_varied = digits.clone().zip(digits.skip(1)).any(|(one, next)| one != next);
    is_varied && sum.is_multiple_of(10)
}

/// Whether the last twelve hexadecimal digits are this hardware address.
fn ends_with_address(found: &[u8], mac: [u8; 6]) -> bool {
    let text = String::from_utf8_lossy(found).replace("%3A", ":").replace("%3a", ":");
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let wanted = mac.map(|byte| format!("{byte:02x}")).concat();
    digits.to_ascii_lowercase().ends_with(wanted.as_bytes())
}
