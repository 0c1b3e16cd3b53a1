//! The file of an administrator's own indicators: `ioc, level, description`, one a line.
//!
//! An indicator is an address, a network, a domain or an autonomous system (`AS64496`). `#` begins a comment line; blanks around
//! fields and quotes around them do not matter; a first line of column names is skipped, and nothing else is. A bad line is
//! reported with file and line, and the rest is kept.

use std::fmt;

use slips_core::addr::{self, Net};
use slips_core::evidence::ThreatLevel;

/// What one line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Net(Net),
    Domain(Box<str>),
    Asn(u32),
    Ja3(Box<str>),
}

/// One good line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) named: Named,
    pub(crate) level: ThreatLevel,
    pub(crate) description: Box<str>,
}

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: Box<str>,
    /// Its line, from 1.
    pub line: u32,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.reason)
    }
}

/// Why a line was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Neither address, network, domain nor `AS…`.
    NoIndicator(Box<str>),
    /// No MD5 of a JA3 or JA3S fingerprint.
    NoFingerprint(Box<str>),
    /// No level of ours, nor a number from 0 to 1.
    NoLevel(Box<str>),
    /// A network so wide that it can only be a slip of the pen.
    TooWide(Net),
    /// Multicast, loopback, link-local or reserved: nobody's address.
    Nobody(Net),
    /// Longer than 4,096 bytes.
    TooLong,
    /// Not UTF-8.
    NotText,
    /// More problems than are told one by one.
    Further(u32),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIndicator(text) => {
                write!(f, "`{text}` is no address, network, domain or autonomous system (AS64496)")
            }
            Self::NoFingerprint(text) => write!(f, "`{text}` is no MD5 of 32 hexadecimal digits"),
            Self::NoLevel(text) => {
                write!(f, "`{text}` is no level: info, low, medium, high, critical or a number from 0 to 1")
            }
            Self::TooWide(net) => write!(f, "{net} is too wide a network to be malicious as a whole"),
            Self::Nobody(net) => write!(f, "{net} is no host's address"),
            Self::TooLong => write!(f, "line of more than {MAX_LINE} bytes"),
            Self::NotText => write!(f, "line is not UTF-8"),
            Self::Further(n) => write!(f, "{n} more lines were not taken"),
        }
    }
}

/// Longest line.
pub(crate) const MAX_LINE: usize = 4096;
/// Characters of a description that are kept.
const MAX_DESCRIPTION: usize = 256;
/// Shortest prefixes that are taken.
const WIDEST_V4: u8 = 8;
const WIDEST_V6: u8 = 16;

/// What a file's first column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Addresses, networks, domains, autonomous systems.
    Indicators,
    /// JA3 and JA3S fingerprints.
    Ja3,
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
    let names = match column {
        Column::Indicators => ["ioc", "ioc"],
        Column::Ja3 => ["ja3", "md5"],
    };
    if names.iter().any(|name| ioc.eq_ignore_ascii_case(name)) {
        return None;
    }
    Some(parse_row(column, ioc, level, description))
}

fn parse_row(column: Column, ioc: &str, level: &str, description: &str) -> Result<Row, Reason> {
    let named = match column {
        Column::Indicators => parse_indicator(ioc)?,
        Column::Ja3 => parse_fingerprint(ioc)?,
    };
    let level = match level {
        // The original's defaults for rows without a level.
        "" if matches!(named, Named::Domain(_)) => ThreatLevel::High,
        "" => ThreatLevel::Medium,
        text => parse_level(text).ok_or_else(|| Reason::NoLevel(excerpt(text)))?,
    };
    let description = description.chars().take(MAX_DESCRIPTION).collect::<String>().into();
    Ok(Row { named, level, description })
}

/// A field without blanks and one pair of quotes around it.
fn bare(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).map_or(field, str::trim)
}

/// A name, or a score: the mildest level whose weight is not below it.
fn parse_fingerprint(text: &str) -> Result<Named, Reason> {
    if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(Named::Ja3(text.to_ascii_lowercase().into()))
    } else {
        Err(Reason::NoFingerprint(excerpt(text)))
    }
}

fn parse_level(text: &str) -> Option<ThreatLevel> {
    ThreatLevel::from_name(text).or_else(|| {
        let score: f64 = text.parse().ok()?;
        let in_range = (0.0..=1.0).contains(&score);
        ThreatLevel::ALL.into_iter().find(|level| in_range && level.weight() >= score)
    })
}

fn parse_indicator(ioc: &str) -> Result<Named, Reason> {
    if let Ok(net) = ioc.parse::<Net>() {
        let widest = if net.addr().is_ipv4() { WIDEST_V4 } else { WIDEST_V6 };
        return if net.prefix() < widest {
            Err(Reason::TooWide(net))
        } else if addr::is_interesting(net.addr()) {
            Ok(Named::Net(net))
        } else {
            Err(Reason::Nobody(net))
        };
    }
    let asn = ioc.get(..2).filter(|head| head.eq_ignore_ascii_case("as")).and(ioc.get(2..));
    if let Some(number) = asn.and_then(|digits| digits.trim().parse().ok()) {
        return Ok(Named::Asn(number));
    }
    domain(ioc).map(Named::Domain).ok_or_else(|| Reason::NoIndicator(excerpt(ioc)))
}

/// A domain name in its one form: lower case, no final dot, no leading `*.`.
pub(crate) fn domain(text: &str) -> Option<Box<str>> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let name = name.strip_suffix('.').unwrap_or(name);
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_a_name =
        name.rsplit('.').next().is_some_and(|label| label.bytes().any(|b| !b.is_ascii_digit()));
    let good =
        name.len() <= 253 && name.contains('.') && last_is_a_name && name.split('.').all(label_is_good);
    good.then(|| name.to_ascii_lowercase().into())
}

fn excerpt(text: &str) -> Box<str> {
    text.chars().take(64).collect::<String>().into()
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
        let named = match row.named {
            Named::Net(net) => net.to_string(),
            Named::Domain(name) => name.into(),
            Named::Asn(number) => format!("AS{number}"),
            Named::Ja3(md5) => md5.into(),
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
            ("http://bad.example/x,high,x", "is no address"),
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
