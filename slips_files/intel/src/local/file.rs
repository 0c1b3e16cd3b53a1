//! The file of an administrator's own indicators: `ioc, level, description`, one a line.
//!
//! `#` begins a comment line; blanks around fields and quotes around them do not matter; a first line of column names is skipped, and
//! nothing else is. A bad line is reported with file and line, and the rest is kept.

use std::fmt;

use slips_core::evidence::ThreatLevel;

use crate::ioc::{Ioc, NotAnIoc, excerpt};
use crate::snapshot::decode;

/// One good line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) ioc: Ioc,
    pub(crate) level: ThreatLevel,
    pub(crate) description: Box<str>,
}

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: Box<str>,
    /// Its line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.reason),
            line => write!(f, "{}:{line}: {}", self.file, self.reason),
        }
    }
}

/// Why a line was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No indicator, or one that cannot be meant.
    #[error(transparent)]
    NoIndicator(#[from] NotAnIoc),
    /// No fingerprint of the kind that this file holds.
    #[error("`{0}` is no fingerprint of {1} hexadecimal digits")]
    NoFingerprint(Box<str>, u8),
    /// No level of ours, nor a number from 0 to 1.
    #[error("`{0}` is no level: info, low, medium, high, critical or a number from 0 to 1")]
    NoLevel(Box<str>),
    /// Longer than 4,096 bytes.
    #[error("line of more than {MAX_LINE} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("line is not UTF-8")]
    NotText,
    /// There are more indicators than are kept.
    #[error("no room for more indicators")]
    NoRoom,
    /// More problems than are told one by one.
    #[error("{0} more lines were not taken")]
    Further(u32),
}

/// Longest line.
pub(crate) const MAX_LINE: usize = 4096;
/// Characters of a description that are kept.
const MAX_DESCRIPTION: usize = 256;

/// What a file's first column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Whatever it looks like.
    Indicators,
    /// JA3 and JA3S fingerprints: one list for both.
    Ja3,
    /// JARM fingerprints.
    Jarm,
    /// SHA-1 of certificates.
    Certificates,
}

impl Column {
    /// Of the file with this name, in lower case.
    pub(crate) fn of(file: &str) -> Self {
        match file {
            "own_malicious_ja3.csv" => Self::Ja3,
            "own_malicious_jarm.csv" => Self::Jarm,
            "own_malicious_certificates.csv" => Self::Certificates,
            _ => Self::Indicators,
        }
    }

    /// Names of the column, which a first line may hold.
    const fn titles(self) -> [&'static str; 2] {
        match self {
            Self::Indicators => ["ioc", "ioc"],
            Self::Ja3 => ["ja3", "md5"],
            Self::Jarm => ["jarm", "jarm"],
            Self::Certificates => ["sha1", "certificate"],
        }
    }

    fn parse(self, text: &str) -> Result<Ioc, Reason> {
        let (ioc, digits) = match self {
            Self::Indicators => return Ioc::guess(text).map_err(Reason::NoIndicator),
            Self::Ja3 => (decode(text).map(Ioc::Ja3), 32),
            Self::Jarm => (decode(text).map(Ioc::Jarm), 62),
            Self::Certificates => (decode(text).map(Ioc::Certificate), 40),
        };
        ioc.ok_or_else(|| Reason::NoFingerprint(excerpt(text), digits))
    }
}

/// Reads one line; `None` for comments, empty lines and column names.
pub(crate) fn parse_line(line: &[u8], column: Column) -> Option<Result<Row, Reason>> {
    if line.len() > MAX_LINE {
        return Some(Err(Reason::TooLong));
    }
    let Ok(line) = std::str::from_utf8(line) else { return Some(Err(Reason::NotText)) };
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut fields = line.splitn(3, ',').map(bare);
    let ioc = fields.next().unwrap_or_default();
    let level = fields.next().unwrap_or_default();
    let description = fields.next().unwrap_or_default();
    if column.titles().iter().any(|name| ioc.eq_ignore_ascii_case(name)) {
        return None;
    }
    Some(parse_row(column, ioc, level, description))
}

fn parse_row(column: Column, ioc: &str, level: &str, description: &str) -> Result<Row, Reason> {
    let ioc = column.parse(ioc)?;
    let level = match level {
        // The original's defaults for rows without a level.
        "" if matches!(ioc, Ioc::Domain(_)) => ThreatLevel::High,
        "" => ThreatLevel::Medium,
        text => parse_level(text).ok_or_else(|| Reason::NoLevel(excerpt(text)))?,
    };
    let description = description.chars().take(MAX_DESCRIPTION).collect::<String>().into();
    Ok(Row { ioc, level, description })
}

/// A field without blanks and one pair of quotes around it.
pub(crate) fn bare(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).map_or(field, str::trim)
}

/// A name, or a score: the mildest level whose weight is not below it.
pub(crate) fn parse_level(text: &str) -> Option<ThreatLevel> {
    ThreatLevel::from_name(text).or_else(|| {
        let score: f64 = text.parse().ok()?;
        let in_range = (0.0..=1.0).contains(&score);
        ThreatLevel::ALL.into_iter().find(|level| in_range && level.weight() >= score)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(line: &str) -> Option<Result<Row, Reason>> {
        parse_line(line.as_bytes(), Column::Indicators)
    }

    fn row(line: &str) -> (String, &'static str, String) {
        let row = parsed(line).expect("a row").expect("a good row");
        let named = match row.ioc {
            Ioc::Net(net) => net.to_string(),
            Ioc::Domain(name) | Ioc::Url(name) => name.into(),
            Ioc::Asn(number) => format!("AS{number}"),
            other => format!("{other:?}"),
        };
        (named, row.level.name(), row.description.into())
    }

    #[test]
    fn good_lines_of_every_kind() {
        for (line, ioc, level, description) in [
            ("192.0.2.1,high,seen", "192.0.2.1", "high", "seen"),
            ("  192.0.2.1 ,  HIGH ,  a, b and c  ", "192.0.2.1", "high", "a, b and c"),
            ("\"192.0.2.1\",\"low\",\"quoted, with comma\"", "192.0.2.1", "low", "quoted, with comma"),
            ("198.51.100.77/24,critical,net\r", "198.51.100.0/24", "critical", "net"),
            ("2001:db8::/32,medium,", "2001:db8::/32", "medium", ""),
            ("::ffff:192.0.2.1,info,mapped", "192.0.2.1", "info", "mapped"),
            ("192.0.2.1", "192.0.2.1", "medium", ""),
            ("Bad.Example.,,no level", "bad.example", "high", "no level"),
            ("*.bad.example,low,x", "bad.example", "low", "x"),
            ("as64496,0.7,a score", "AS64496", "high", "a score"),
            ("AS64496, 1.0, x", "AS64496", "critical", "x"),
            ("http://bad.example/x,low,x", "bad.example/x", "low", "x"),
            ("profiles.url-type.example,low,x", "profiles.url-type.example", "low", "x"),
        ] {
            assert_eq!(row(line), (ioc.into(), level, description.into()), "{line}");
        }
    }

    #[test]
    fn lines_that_say_nothing() {
        for line in ["", "   ", "# 192.0.2.1,high,x", "ioc, level, description", "\u{feff}# a mark of order"]
        {
            assert_eq!(parsed(line), None, "{line}");
        }
    }

    #[test]
    fn bad_lines_are_told() {
        for (line, words) in [
            ("nonsense,high,x", "`nonsense` is no address"),
            ("192.0.2.999,high,x", "is no address"),
            ("192.0.2.1/33,high,x", "is no address"),
            ("192.0.2.1,severe,x", "`severe` is no level"),
            ("192.0.2.1,1.1,x", "is no level"),
            ("192.0.2.1,nan,x", "is no level"),
            ("0.0.0.0/0,high,x", "too wide"),
            ("::/0,high,x", "too wide"),
            ("127.0.0.1,high,x", "no host's address"),
            ("ff02::1,high,x", "no host's address"),
        ] {
            let told = parsed(line).expect("something").expect_err("a bad line").to_string();
            assert!(told.contains(words), "{line}: {told}");
        }
        assert_eq!(parse_line(&[b'x'; MAX_LINE + 1], Column::Indicators), Some(Err(Reason::TooLong)));
        assert_eq!(parse_line(&[0xff, 0xfe], Column::Indicators), Some(Err(Reason::NotText)));
    }

    #[test]
    fn fingerprints_stand_in_files_of_their_own() {
        let parsed = |column, text: String| parse_line(format!("{text},low,x").as_bytes(), column);
        for (column, bytes) in [(Column::Ja3, 16), (Column::Jarm, 31), (Column::Certificates, 20)] {
            let good = parsed(column, "Ab".repeat(bytes)).expect("a row");
            assert!(good.is_ok(), "{column:?}");
            let bad = parsed(column, "192.0.2.1".into()).expect("a row").expect_err("no fingerprint");
            assert!(bad.to_string().contains("hexadecimal"), "{bad}");
            assert_eq!(parsed(column, column.titles()[0].into()), None);
        }
        assert_eq!(Column::of("own_malicious_jarm.csv"), Column::Jarm);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_line(&line, Column::Indicators);
        }
        #[test]
        fn no_text_makes_it_panic(line in "\\PC{0,80}(,\\PC{0,400}){0,3}") {
            let _ = parse_line(line.as_bytes(), Column::Indicators);
        }
    }
}
