//! From a text to an expression.
//!
//! As with `tcpdump`, `and` and `or` bind alike and from the left, `not` binds closer, and a value without a word before it takes
//! the words of the test before: `port 80 or 443`.

use std::net::{IpAddr, Ipv4Addr};

use slips_core::addr::Net;
use slips_core::flow::MacAddr;

use super::NotAFilter;
use super::compile::{ARP, IPV4, IPV6, RARP};
use super::expression::{Carrier, Expression, Family, Side, Test, Transport};

/// Longest text, and deepest nesting of parentheses and `not`.
const MAX_TEXT: usize = 4096;
const MAX_DEPTH: usize = 64;

pub(super) fn parse(text: &str) -> Result<Expression, NotAFilter> {
    if text.len() > MAX_TEXT {
        return Err(NotAFilter { column: 1, what: format!("longer than {MAX_TEXT} characters") });
    }
    let mut parser = Parser { words: words(text), at: 0, end: text.chars().count() + 1, last: None };
    let expression = parser.expression(0)?;
    match parser.words.get(parser.at) {
        None => Ok(expression),
        Some(word) if word.text == ")" => parser.refuse("a `)` without a `(`"),
        Some(word) => {
            let what = format!("`{}` is not understood here; `and` or `or` was expected", word.text);
            parser.refuse(what)
        }
    }
}

/// A word and its column.
#[derive(Clone, Copy, Debug)]
struct Word<'t> {
    column: usize,
    text: &'t str,
}

/// Splits at white space; parentheses, `!`, `&&` and `||` stand for themselves.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut column) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            ' ' | '\t' | '\n' | '\r' => {
                rest = rest.split_at(1).1;
                column += 1;
                continue;
            }
            '(' | ')' | '!' => 1,
            '&' | '|' if rest.starts_with("&&") || rest.starts_with("||") => 2,
            _ => rest
                .char_indices()
                .skip(1)
                .find(|(_, c)| c.is_whitespace() || "()!&|".contains(*c))
                .map_or(rest.len(), |(at, _)| at),
        };
        let (word, behind) = rest.split_at(length);
        found.push(Word { column, text: word });
        column += word.chars().count();
        rest = behind;
    }
    found
}

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
}

/// The words before a value.
#[derive(Clone, Copy, Debug)]
struct Words<'t> {
    protocol: Option<Word<'t>>,
    side: Side,
    kind: Kind,
}

struct Parser<'t> {
    words: Vec<Word<'t>>,
    at: usize,
    /// The column behind the text.
    end: usize,
    /// Those of the test before.
    last: Option<Words<'t>>,
}

type Parsed<T> = Result<T, NotAFilter>;

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t str> {
        self.words.get(self.at).map(|word| word.text)
    }

    fn take(&mut self) -> Option<Word<'t>> {
        let word = self.words.get(self.at).copied()?;
        self.at += 1;
        Some(word)
    }

    fn take_if(&mut self, wanted: &[&str]) -> Option<Word<'t>> {
        if wanted.contains(&self.peek()?) { self.take() } else { None }
    }

    /// The text cannot be understood at the next word.
    fn refuse<T>(&self, what: impl Into<String>) -> Parsed<T> {
        let column = self.words.get(self.at).map_or(self.end, |word| word.column);
        Err(NotAFilter { column, what: what.into() })
    }

    fn expression(&mut self, depth: usize) -> Parsed<Expression> {
        let mut left = self.one(depth)?;
        loop {
            left = if self.take_if(&["and", "&&"]).is_some() {
                left.and(self.one(depth)?)
            } else if self.take_if(&["or", "||"]).is_some() {
                left.or(self.one(depth)?)
            } else {
                return Ok(left);
            };
        }
    }

    fn one(&mut self, depth: usize) -> Parsed<Expression> {
        if depth > MAX_DEPTH {
            return self.refuse(format!("nested more than {MAX_DEPTH} deep"));
        }
        if self.take_if(&["not", "!"]).is_some() {
            return Ok(Expression::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take_if(&["("]).is_some() {
            let inner = self.expression(depth + 1)?;
            if self.take_if(&[")"]).is_none() {
                return self.refuse("a `)` is missing");
            }
            return Ok(inner);
        }
        self.test()
    }

    fn test(&mut self) -> Parsed<Expression> {
        let Some(first) = self.peek() else {
            return self.refuse("a test was expected, such as `host 192.0.2.1`");
        };
        match first {
            "vlan" => return self.vlan(),
            "less" | "greater" => return self.length(),
            "proto" => {
                self.at += 1;
                let number = self.ip_protocol()?;
                return Ok(Expression::Test(Test::IpProto(Family::Any, number)));
            }
            _ => {}
        }
        let protocol = self.take_if(&PROTOCOLS);
        if let Some(family) = protocol
            && self.take_if(&["proto"]).is_some()
        {
            return self.protocol_number(family);
        }
        let side = self.side()?;
        let kind = self.take_if(&["host", "net", "port", "portrange"]).map(|word| match word.text {
            "host" => Kind::Host,
            "net" => Kind::Net,
            "port" => Kind::Port,
            _ => Kind::PortRange,
        });
        let words = match (protocol, side, kind) {
            (Some(alone), None, None) => return Ok(self.protocol(alone)),
            (None, None, None) => {
                let inherited = self.last.filter(|last| self.fits(last.kind));
                inherited.unwrap_or(Words { protocol: None, side: Side::Either, kind: self.guess() })
            }
            (protocol, side, kind) => {
                let kind = kind.unwrap_or_else(|| self.guess());
                Words { protocol, side: side.unwrap_or(Side::Either), kind }
            }
        };
        let test = self.value(words)?;
        self.last = Some(words);
        Ok(test)
    }

    /// Whether the next word could be a value for these words; numbers and addresses cannot be mixed up.
    fn fits(&self, kind: Kind) -> bool {
        let Some(next) = self.peek() else { return false };
        match kind {
            Kind::Port => next.parse::<u16>().is_ok(),
            Kind::PortRange => next.contains('-'),
            Kind::Host => !next.contains('/'),
            Kind::Net => true,
        }
    }

    /// An address by itself is a host, one with a length a network.
    fn guess(&self) -> Kind {
        if self.peek().is_some_and(|next| next.contains('/')) { Kind::Net } else { Kind::Host }
    }

    fn side(&mut self) -> Parsed<Option<Side>> {
        let Some(one) = self.take_if(&["src", "dst"]) else { return Ok(None) };
        let join = match self.words.get(self.at..) {
            Some([join, other, ..]) if ["src", "dst"].contains(&other.text) && other.text != one.text => {
                *join
            }
            _ => return Ok(Some(if one.text == "src" { Side::Src } else { Side::Dst })),
        };
        let side = match join.text {
            "or" | "||" => Side::Either,
            "and" | "&&" => Side::Both,
            _ => return self.refuse("`or` or `and` was expected between `src` and `dst`"),
        };
        self.at += 2;
        Ok(Some(side))
    }

    fn vlan(&mut self) -> Parsed<Expression> {
        self.at += 1;
        let Some(next) = self.peek().filter(|next| next.starts_with(|c: char| c.is_ascii_digit())) else {
            return Ok(Expression::Test(Test::Vlan(None)));
        };
        match next.parse::<u16>() {
            Ok(number) if number < 4096 => {
                self.at += 1;
                Ok(Expression::Test(Test::Vlan(Some(number))))
            }
            _ => self.refuse(format!("`{next}` is no VLAN number: 0 to 4095")),
        }
    }

    fn length(&mut self) -> Parsed<Expression> {
        let greater = self.take().is_some_and(|word| word.text == "greater");
        let Some(Ok(bytes)) = self.peek().map(str::parse::<u32>) else {
            return self.refuse("a number of bytes was expected");
        };
        self.at += 1;
        let at_least = |bytes| Expression::Test(Test::AtLeast(bytes));
        // Both include the number itself, as with tcpdump.
        Ok(match (greater, bytes.checked_add(1)) {
            (true, _) => at_least(bytes),
            (false, Some(more)) => Expression::Not(Box::new(at_least(more))),
            (false, None) => at_least(0),
        })
    }

    /// A protocol by itself.
    fn protocol(&mut self, word: Word<'t>) -> Expression {
        let ip = |number| Test::IpProto(Family::Any, number);
        Expression::Test(match word.text {
            "ip" => Test::EtherType(IPV4),
            "ip6" => Test::EtherType(IPV6),
            "arp" => Test::EtherType(ARP),
            "rarp" => Test::EtherType(RARP),
            "icmp" => Test::IpProto(Family::V4, 1),
            "igmp" => Test::IpProto(Family::V4, 2),
            "icmp6" => Test::IpProto(Family::V6, 58),
            "tcp" => ip(6),
            "udp" => ip(17),
            "gre" => ip(47),
            "esp" => ip(50),
            "ah" => ip(51),
            "sctp" => ip(132),
            // Every frame of a link with hardware addresses is one; on others the word says nothing either.
            _ => Test::AtLeast(0),
        })
    }

    fn protocol_number(&mut self, family: Word<'t>) -> Parsed<Expression> {
        let test = match family.text {
            "ip" => Test::IpProto(Family::V4, self.ip_protocol()?),
            "ip6" => Test::IpProto(Family::V6, self.ip_protocol()?),
            "ether" => Test::EtherType(self.ether_type()?),
            other => return self.refuse(format!("`proto` does not go with `{other}`")),
        };
        Ok(Expression::Test(test))
    }

    fn ip_protocol(&mut self) -> Parsed<u8> {
        let Some(next) = self.peek() else { return self.refuse("the number of a protocol was expected") };
        let name = next.trim_start_matches('\\');
        let number = IP_PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        let Some(number) = number.or_else(|| next.parse().ok()) else {
            return self.refuse(format!("`{next}` is no IP protocol: 0 to 255, or a name such as tcp"));
        };
        self.at += 1;
        Ok(number)
    }

    fn ether_type(&mut self) -> Parsed<u16> {
        let Some(next) = self.peek() else { return self.refuse("an Ethernet protocol was expected") };
        let number = match next.trim_start_matches('\\') {
            "ip" => Some(IPV4),
            "ip6" => Some(IPV6),
            "arp" => Some(ARP),
            "rarp" => Some(RARP),
            text => match text.strip_prefix("0x") {
                Some(hex) => u16::from_str_radix(hex, 16).ok(),
                None => text.parse().ok(),
            },
        };
        let Some(number) = number else {
            return self.refuse(format!("`{next}` is no Ethernet protocol, such as 0x86dd"));
        };
        self.at += 1;
        Ok(number)
    }

    /// What the words before it ask about.
    fn value(&mut self, words: Words<'t>) -> Parsed<Expression> {
        let Some(value) = self.peek() else { return self.refuse("a value was expected") };
        let protocol = words.protocol.map(|word| word.text);
        let test = match words.kind {
            Kind::Port | Kind::PortRange => self.ports(value, words.kind, protocol, words.side)?,
            Kind::Host if protocol == Some("ether") => match MacAddr::parse(value) {
                Some(mac) => Test::Mac(words.side, mac),
                None => return self.refuse(format!("`{value}` is no hardware address")),
            },
            Kind::Host | Kind::Net => {
                let net = match words.kind {
                    Kind::Host => value.parse::<IpAddr>().ok().map(Net::host),
                    _ => network(value),
                };
                let Some(net) = net else {
                    return self.refuse(no_address(value, words.kind));
                };
                self.net(net, protocol, words.side)?
            }
        };
        self.at += 1;
        Ok(Expression::Test(test))
    }

    fn net(&self, net: Net, protocol: Option<&str>, side: Side) -> Parsed<Test> {
        let prefix = net.prefix();
        match (net.addr(), protocol) {
            (IpAddr::V4(addr), None) => Ok(Test::Net4(Carrier::Any, side, addr, prefix)),
            (IpAddr::V4(addr), Some("ip")) => Ok(Test::Net4(Carrier::Ip, side, addr, prefix)),
            (IpAddr::V4(addr), Some("arp" | "rarp")) => Ok(Test::Net4(Carrier::Arp, side, addr, prefix)),
            (IpAddr::V6(addr), None | Some("ip6")) => Ok(Test::Net6(side, addr, prefix)),
            (_, Some(other)) => self.refuse(format!("`{other}` does not go with this address")),
        }
    }

    fn ports(&self, value: &str, kind: Kind, protocol: Option<&str>, side: Side) -> Parsed<Test> {
        let bounds = match kind {
            Kind::PortRange => {
                value.split_once('-').and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)))
            }
            _ => value.parse().ok().map(|port| (port, port)),
        };
        let (low, high): (u16, u16) = match bounds {
            Some((low, high)) if low <= high => (low, high),
            _ if kind == Kind::PortRange => {
                return self.refuse(format!("`{value}` is no range of ports, such as 1000-2000"));
            }
            _ => return self.refuse(format!("`{value}` is no port: a number from 0 to 65535")),
        };
        let (family, transport) = match protocol {
            None => (Family::Any, Transport::Any),
            Some("ip") => (Family::V4, Transport::Any),
            Some("ip6") => (Family::V6, Transport::Any),
            Some("tcp") => (Family::Any, Transport::Tcp),
            Some("udp") => (Family::Any, Transport::Udp),
            Some("sctp") => (Family::Any, Transport::Sctp),
            Some(other) => return self.refuse(format!("`{other}` has no ports")),
        };
        Ok(Test::Ports(family, transport, side, low, high))
    }
}

/// A network, whose last numbers may be missing: `10`, `192.168`, `192.168.0.0/16`, `2001:db8::/32`.
fn network(text: &str) -> Option<Net> {
    if text.contains(':') || text.contains('/') {
        return text.parse().ok();
    }
    let mut octets = [0u8; 4];
    let mut given = 0u8;
    for part in text.split('.') {
        *octets.get_mut(usize::from(given))? = part.parse().ok()?;
        given += 1;
    }
    Net::new(Ipv4Addr::from(octets).into(), given * 8)
}

fn no_address(value: &str, kind: Kind) -> String {
    let kind = if kind == Kind::Net { "network, such as 192.0.2.0/24" } else { "address" };
    let name = value.starts_with(|c: char| c.is_ascii_alphabetic()) && !value.contains(':');
    let hint = if name { "; names are not looked up" } else { "" };
    format!("`{value}` is no {kind}{hint}")
}

/// Words that may begin a test.
const PROTOCOLS: [&str; 14] =
    ["ether", "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "gre", "esp", "ah"];

/// Names of IP protocols.
const IP_PROTOCOLS: [(&str, u8); 10] = [
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmp6", 58),
    ("ospf", 89),
    ("sctp", 132),
];
