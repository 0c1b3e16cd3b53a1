//! The file of the whitelist, one rule a line: `type, value, direction, what is ignored`, then, if wanted, the last day, and a remark
//! behind `#`. The first four columns are the original's.

use std::fmt;

use slips_core::addr::Net;
use slips_core::flow::MacAddr;

use crate::feeds::date::{last_second, second_before};
use crate::ioc::{WIDEST_V4, WIDEST_V6, domain, excerpt};

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// An address or a network.
    Net(Net),
    /// A domain, and all below it.
    Domain(Box<str>),
    /// A domain, and nothing below it.
    Name(Box<str>),
    /// An organisation, by its name in lower case.
    Organisation(Box<str>),
    /// A hardware address.
    Mac(MacAddr),
}

impl What {
    /// What somebody means who only names it: an address, a network, a hardware address, a domain or an organisation.
    ///
    /// # Errors
    /// When it is none, or a network wider than any rule may have.
    pub fn named(text: &str) -> Result<Self, Wrong> {
        let text = text.trim();
        let numbers = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'/'));
        let kind = if MacAddr::parse(text).is_some() {
            "mac"
        } else if numbers || text.contains([':', '/']) {
            "ip"
        } else if text.contains('.') || text.starts_with('=') {
            "domain"
        } else {
            "organization"
        };
        what_of(kind, text)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) => write!(f, "ip {net}"),
            Self::Domain(name) => write!(f, "domain {name}"),
            Self::Name(name) => write!(f, "domain ={name}"),
            Self::Organisation(name) => write!(f, "organization {name}"),
            Self::Mac(mac) => write!(f, "mac {mac}"),
        }
    }
}

/// On which side of the traffic it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Where it begins.
    Src,
    /// Where it is called.
    Dst,
    /// On both.
    Both,
}

impl Direction {
    /// As in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Src => "src",
            Self::Dst => "dst",
            Self::Both => "both",
        }
    }
}

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Detections see nothing of its flows.
    Flows,
    /// They do, but evidence is dropped.
    Alerts,
    /// The same as flows, and evidence that came about otherwise is dropped too.
    Both,
}

impl Ignored {
    /// As in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flows => "flows",
            Self::Alerts => "alerts",
            Self::Both => "both",
        }
    }
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The line of the file, from 1; 0 where a command made the rule.
    pub line: u32,
    /// About what.
    pub what: What,
    /// On which side.
    pub direction: Direction,
    /// What is left out.
    pub ignored: Ignored,
    /// The last second in which it holds, since 1970.
    pub until: Option<u32>,
    /// What the owner noted.
    pub remark: Box<str>,
}

impl Rule {
    /// Whether nothing of this network may be blocked: it holds on both sides, whatever is done there.
    pub fn spares(&self) -> Option<Net> {
        let all = self.direction == Direction::Both && self.ignored != Ignored::Flows;
        if let What::Net(net) = self.what { Some(net).filter(|_| all) } else { None }
    }
}

/// The rules of a file, each with its line; `None` for lines that are none, or none that can be used. Whether an organisation is known is
/// not looked at.
pub fn lines_of(text: &str) -> impl Iterator<Item = (&str, Option<Rule>)> {
    text.lines()
        .zip(1..)
        .map(|(line, number)| (line, parse_line(line.as_bytes(), number).and_then(Result::ok)))
}

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineProblem {
    /// The file, as it was named.
    pub file: Box<str>,
    /// Its line, from 1.
    pub line: u32,
    /// The column, by the name in the file's head.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub reason: Wrong,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}; this line is left out", self.file, self.line, self.key, self.reason)
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Not text, or longer than it may be.
    #[error("no line of text of at most {MAX_LINE} bytes")]
    NotText,
    /// Columns are missing.
    #[error("a rule is `type,value,direction,what is ignored`, for example `ip,192.0.2.1,both,alerts`")]
    Columns,
    /// No type of rule.
    #[error("`{0}` is none of ip, domain, organization, mac")]
    Type(Box<str>),
    /// No address or network.
    #[error("`{0}` is no address or network; write `192.0.2.1` or `192.0.2.0/24`")]
    Address(Box<str>),
    /// So wide that hardly anything would be left.
    #[error("{0} is too wide; the widest are /8 and, of IPv6, /16")]
    TooWide(Net),
    /// No domain.
    #[error("`{0}` is no domain; write `example.org`, or `=example.org` without what is below it")]
    Domain(Box<str>),
    /// Nobody knows the organisation.
    #[error(
        "nothing is known of `{0}`; a file of that name with its networks, domains and AS numbers would tell"
    )]
    Organisation(Box<str>),
    /// No hardware address.
    #[error("`{0}` is no hardware address; write `02:00:00:00:00:01`")]
    Mac(Box<str>),
    /// No direction.
    #[error("`{0}` is none of src, dst, both")]
    Direction(Box<str>),
    /// Nothing that can be ignored.
    #[error("`{0}` is none of flows, alerts, both")]
    Ignored(Box<str>),
    /// No date.
    #[error(
        "`{0}` is no last day; write it as `2027-01-31`, or the moment when it ends as `2027-01-31T18:00:00Z`"
    )]
    Until(Box<str>),
    /// The file is longer than it may be.
    #[error("the file has more than {MAX_RULES} rules")]
    NoRoom,
}

/// Longest line, and most rules.
pub(crate) const MAX_LINE: usize = 4096;
pub(crate) const MAX_RULES: usize = 100_000;
/// Characters of a remark that are kept.
const MAX_REMARK: usize = 256;

/// The names of the columns.
pub(crate) const KEYS: [&str; 5] = ["IoCType", "IoCValue", "Direction", "IgnoreType", "Until"];

/// Reads a line; nothing for empty ones, comments and the head.
pub(crate) fn parse_line(line: &[u8], number: u32) -> Option<Result<Rule, (&'static str, Wrong)>> {
    let [kind_key, value_key, direction_key, ignored_key, until_key] = KEYS;
    let text = std::str::from_utf8(line).ok().filter(|text| text.len() <= MAX_LINE);
    let Some(text) = text else { return Some(Err((kind_key, Wrong::NotText))) };
    let text = text.trim().trim_start_matches('\u{feff}');
    if text.is_empty() || text.starts_with([';', '#']) {
        return None;
    }
    let (columns, remark) = text.split_once('#').unwrap_or((text, ""));
    let mut columns = columns.split(',').map(|column| column.trim().trim_matches('"').trim());
    let mut next = || columns.next().filter(|column| !column.is_empty());
    let kind = next()?;
    if kind.eq_ignore_ascii_case(kind_key) {
        return None;
    }
    let (Some(value), Some(direction), Some(ignored)) = (next(), next(), next()) else {
        return Some(Err((kind_key, Wrong::Columns)));
    };
    let until = next();
    let rule = || {
        let what = what_of(kind, value)
            .map_err(|wrong| (if matches!(wrong, Wrong::Type(_)) { kind_key } else { value_key }, wrong))?;
        Ok(Rule {
            line: number,
            what,
            direction: direction_of(direction)
                .ok_or((direction_key, Wrong::Direction(excerpt(direction))))?,
            ignored: ignored_of(ignored).ok_or((ignored_key, Wrong::Ignored(excerpt(ignored))))?,
            until: match until {
                None => None,
                Some(text) => {
                    let until = last_second(text).or_else(|| second_before(text));
                    Some(until.ok_or((until_key, Wrong::Until(excerpt(text))))?)
                }
            },
            remark: remark.trim().chars().take(MAX_REMARK).collect::<String>().into(),
        })
    };
    Some(rule())
}

fn what_of(kind: &str, value: &str) -> Result<What, Wrong> {
    match kind.to_ascii_lowercase().as_str() {
        "ip" => {
            let net: Net = value.parse().map_err(|_| Wrong::Address(excerpt(value)))?;
            let widest = if net.addr().is_ipv4() { WIDEST_V4 } else { WIDEST_V6 };
            if net.prefix() < widest { Err(Wrong::TooWide(net)) } else { Ok(What::Net(net)) }
        }
        "domain" => {
            let alone = value.strip_prefix('=');
            let name = alone.unwrap_or(value);
            let name = domain(name.strip_prefix('.').unwrap_or(name))
                .ok_or_else(|| Wrong::Domain(excerpt(value)))?;
            Ok(if alone.is_some() { What::Name(name) } else { What::Domain(name) })
        }
        "organization" | "organisation" => Ok(What::Organisation(value.to_ascii_lowercase().into())),
        "mac" => MacAddr::parse(value).map(What::Mac).ok_or_else(|| Wrong::Mac(excerpt(value))),
        _ => Err(Wrong::Type(excerpt(kind))),
    }
}

fn direction_of(text: &str) -> Option<Direction> {
    let all = [Direction::Src, Direction::Dst, Direction::Both];
    all.into_iter().find(|direction| direction.name().eq_ignore_ascii_case(text))
}

fn ignored_of(text: &str) -> Option<Ignored> {
    let all = [Ignored::Flows, Ignored::Alerts, Ignored::Both];
    all.into_iter().find(|ignored| ignored.name().eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(line: &str) -> Option<Result<Rule, String>> {
        let told = |(key, wrong): (&'static str, Wrong)| format!("{key}: {wrong}");
        parse_line(line.as_bytes(), 7).map(|rule| rule.map_err(told))
    }

    fn good(line: &str) -> Rule {
        parsed(line).expect("a rule").expect("a good one")
    }

    #[test]
    fn the_originals_lines_and_ours() {
        for line in [
            "",
            "  ",
            "; x",
            "#ip,192.0.2.1,both,alerts",
            "\"IoCType\",\"IoCValue\",\"Direction\",\"IgnoreType\"",
        ] {
            assert_eq!(parsed(line), None, "{line}");
        }
        let plain = good("ip,192.0.2.1,both,alerts");
        assert_eq!((plain.line, plain.until, &*plain.remark), (7, None, ""));
        for line in [
            " IP , 192.0.2.1 , BOTH , Alerts ",
            "\"ip\",\"192.0.2.1\",\"both\",\"alerts\",",
            "ip,192.0.2.1/32,both,alerts",
        ] {
            assert_eq!(good(line), plain, "{line}");
        }
        let full = good("domain, .Example.org. , dst, flows, 1970-01-02 # the camera's maker");
        assert_eq!(full.what.to_string(), "domain example.org");
        assert_eq!(
            (full.direction, full.ignored, full.until),
            (Direction::Dst, Ignored::Flows, Some(2 * 86_400 - 1))
        );
        assert_eq!(&*full.remark, "the camera's maker");
        assert_eq!(good("ip,192.0.2.1,both,alerts,1970-01-02T00:00:00Z").until, Some(86_399));
        for (line, what) in [
            ("domain,=www.example.org,src,both", "domain =www.example.org"),
            ("organization,Google,both,alerts", "organization google"),
            ("mac,02-00-00-00-00-01,both,alerts", "mac 02:00:00:00:00:01"),
            ("ip,2001:db8::/32,both,alerts", "ip 2001:db8::/32"),
        ] {
            assert_eq!(good(line).what.to_string(), what);
        }
    }

    #[test]
    fn what_somebody_names_is_told_from_its_form() {
        for (text, what) in [
            ("192.0.2.7", "ip 192.0.2.7"),
            ("2001:db8::/32", "ip 2001:db8::/32"),
            ("02-00-00-00-00-01", "mac 02:00:00:00:00:01"),
            ("www.Example.org", "domain www.example.org"),
            ("=example.org", "domain =example.org"),
            ("Google", "organization google"),
        ] {
            assert_eq!(What::named(text).expect(text).to_string(), what);
        }
        for (text, told) in [
            ("192.0.2.999", "`192.0.2.999` is no address"),
            ("0.0.0.0/0", "0.0.0.0/0 is too wide"),
            ("::ffff:0:0/96", "0.0.0.0/0 is too wide"),
            ("::/0", "::/0 is too wide"),
            ("a..b", "`a..b` is no domain"),
        ] {
            let said = What::named(text).expect_err(text).to_string();
            assert!(said.starts_with(told), "{said}");
        }
    }

    #[test]
    fn what_is_wrong_names_the_column_and_what_would_be_right() {
        for (line, told) in [
            ("ip,192.0.2.1", "IoCType: a rule is"),
            ("asn,1,both,alerts", "IoCType: `asn` is none of ip,"),
            ("ip,192.0.2.999,both,alerts", "IoCValue: `192.0.2.999` is no address"),
            ("ip,0.0.0.0/0,both,alerts", "IoCValue: 0.0.0.0/0 is too wide"),
            ("ip,2000::/3,both,alerts", "IoCValue: 2000::/3 is too wide"),
            ("domain,com,both,alerts", "IoCValue: `com` is no domain"),
            ("mac,x,both,alerts", "IoCValue: `x` is no hardware"),
            ("ip,192.0.2.1,sideways,alerts", "Direction: `sideways` is none of src, dst, both"),
            ("ip,192.0.2.1,both,nothing", "IgnoreType: `nothing` is none of flows, alerts, both"),
            ("ip,192.0.2.1,both,alerts,soon", "Until: `soon` is no last day"),
            ("ip,192.0.2.1,both,alerts,2027-02-31", "Until: `2027-02-31`"),
        ] {
            let said = parsed(line).expect("a rule").expect_err(line);
            assert!(said.starts_with(told), "{said}");
        }
        assert!(matches!(parse_line(b"\xff", 1), Some(Err((_, Wrong::NotText)))));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic_and_a_good_one_is_read_again_as_it_is_told(
            line in "(ip|domain|organization|mac)?,?[ -~]{0,40},?(src|dst|both)?,?(flows|alerts|both)?,?[0-9-]{0,10}(#.*)?",
        ) {
            prop_assume!(!line.contains('"'));
            if let Some(Ok(rule)) = parse_line(line.as_bytes(), 1) {
                let (what, direction, ignored) = (rule.what.to_string(), rule.direction.name(), rule.ignored.name());
                let again = format!("{},{direction},{ignored}", what.replacen(' ', ",", 1));
                let again = parse_line(again.as_bytes(), 1).expect("a rule").expect("a good one");
                prop_assert_eq!((again.what, again.direction, again.ignored), (rule.what, rule.direction, rule.ignored));
            }
        }
    }
}
