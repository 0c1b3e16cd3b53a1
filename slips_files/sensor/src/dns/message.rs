//! One DNS message.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slips_core::event::{DnsAnswer, DnsData, DnsFlags};

use super::name;
use crate::wire::{be16, be32, be128, byte};

/// Questions and answers of one message that are read.
const MAX_QUESTIONS: u16 = 8;
const MAX_ANSWERS: u16 = 256;

/// What a message asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
}

/// A message, as far as it is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message<'a> {
    pub(crate) id: u16,
    pub(crate) is_reply: bool,
    /// A dynamic update: the answers are what it asks for.
    pub(crate) is_update: bool,
    pub(crate) rcode: u16,
    pub(crate) flags: DnsFlags,
    /// The first question; of a reply without its name, which the question itself told.
    pub(crate) question: Option<Question>,
    pub(crate) answers: Vec<DnsAnswer>,
    bytes: &'a [u8],
    /// Where the owner of the first answer stands.
    owner_at: Option<usize>,
    dialect: Dialect,
}

/// What the numbers in a message mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// DNS, multicast DNS, LLMNR.
    Dns,
    /// NetBIOS name service: operation 5 registers a name, and names are encoded once more.
    NetBios,
}

/// Dynamic update (RFC 2136): its sections mean something else.
const UPDATE: u8 = 5;

impl<'a> Message<'a> {
    /// Reads a message; `None` when header or question are malformed. Of answers that are malformed, or that the capture
    /// cut (`whole` is false), the ones before are kept.
    pub(crate) fn parse(bytes: &'a [u8], whole: bool, dialect: Dialect) -> Option<Self> {
        let bits = be16(bytes, 2)?;
        let opcode = (bits >> 11 & 15) as u8;
        let (questions, answers) = (be16(bytes, 4)?, be16(bytes, 6)?);
        let records = [questions, answers, be16(bytes, 8)?, be16(bytes, 10)?];
        // Each question takes five bytes at least, each record eleven.
        let least =
            12 + records.iter().zip([5, 11, 11, 11]).map(|(n, size)| usize::from(*n) * size).sum::<usize>();
        let truncated = bits & 0x0200 != 0;
        if opcode > 6 || (whole && !truncated && least > bytes.len()) {
            return None;
        }
        let mut message = Self {
            id: be16(bytes, 0)?,
            is_reply: bits & 0x8000 != 0,
            is_update: opcode == UPDATE && dialect == Dialect::Dns,
            rcode: bits & 15,
            flags: DnsFlags {
                aa: bits & 0x0400 != 0,
                tc: truncated,
                rd: bits & 0x0100 != 0,
                ra: bits & 0x0080 != 0,
                z: (bits >> 4 & 7) as u8,
            },
            question: None,
            answers: Vec::new(),
            bytes,
            owner_at: None,
            dialect,
        };
        let mut at = 12;
        for _ in 0..questions.min(MAX_QUESTIONS) {
            let is_told = !message.is_reply && message.question.is_none();
            let (name, behind) =
                if is_told { name::read(bytes, at)? } else { (String::new(), name::check(bytes, at)?) };
            let question = Question { name, qtype: be16(bytes, behind)?, qclass: be16(bytes, behind + 2)? };
            at = behind + 4;
            message.question.get_or_insert(question);
        }
        if questions > MAX_QUESTIONS {
            return Some(message);
        }
        if message.is_update {
            // The zone stands where the question does; the records tell what is asked for.
            message.question = None;
            message.read_update(bytes, at, answers.min(MAX_ANSWERS), be16(bytes, 8)?.min(MAX_ANSWERS));
        } else {
            message.read_answers(bytes, at, answers.min(MAX_ANSWERS));
        }
        if let Some(question) = message.question.as_mut().filter(|_| dialect == Dialect::NetBios)
            && let Some(decoded) = name::netbios(&question.name)
        {
            question.name = decoded;
        }
        Some(message)
    }

    /// Owner of the first answer; empty when there is none. Read when it is asked for, since most answers have a question.
    pub(crate) fn owner(&self) -> String {
        let read = |at| name::read(self.bytes, at);
        let owner = self.owner_at.and_then(read).map_or_else(String::new, |(owner, _)| owner);
        let decoded = (self.dialect == Dialect::NetBios).then(|| name::netbios(&owner)).flatten();
        decoded.unwrap_or(owner)
    }

    /// Prerequisites and updates of a dynamic update (RFC 2136, sections 2.4 and 2.5).
    fn read_update(&mut self, bytes: &[u8], mut at: usize, prerequisites: u16, updates: u16) -> Option<()> {
        const NONE: u16 = 254;
        const ANY: u16 = 255;
        for nth in 0..prerequisites.saturating_add(updates) {
            let (owner, behind) = name::read(bytes, at)?;
            let (kind, class, ttl) =
                (be16(bytes, behind)?, be16(bytes, behind + 2)?, be32(bytes, behind + 4)?);
            let data_end = behind + 10 + usize::from(be16(bytes, behind + 8)?);
            let data = Data { message: bytes.get(..data_end)?, at: behind + 10, owner_at: at };
            let kind = type_name(kind);
            let text = match (nth < prerequisites, class) {
                (true, NONE) => format!("pre: NoRRSet {kind} {owner}"),
                (true, ANY) => format!("pre: RRSet {kind} {owner}"),
                (true, _) => format!("pre: {kind} {owner}"),
                (false, ANY) => format!("del: RRSet {kind}"),
                (false, NONE) => format!("del: {kind} {owner}"),
                (false, _) => match data.read(be16(bytes, behind)?) {
                    Some(DnsData::Addr(addr)) => format!("add: {kind} {owner} {addr}"),
                    Some(DnsData::Name(text) | DnsData::Text(text)) => format!("add: {kind} {owner} {text}"),
                    None => format!("add: {kind} {owner}"),
                },
            };
            if !owner.is_empty() {
                self.owner_at.get_or_insert(at);
            }
            self.answers.push(DnsAnswer { data: DnsData::Text(text), ttl: Some(ttl) });
            at = data_end;
        }
        Some(())
    }

    fn read_answers(&mut self, bytes: &[u8], mut at: usize, count: u16) -> Option<()> {
        for nth in 0..count {
            if nth == 0 {
                name::check(bytes, at)?;
                self.owner_at = Some(at);
            }
            let (owner_at, behind) = (at, name::skip(bytes, at)?);
            let kind = be16(bytes, behind)?;
            let ttl = be32(bytes, behind + 4)?;
            let data_at = behind + 10;
            let data_end = data_at + usize::from(be16(bytes, behind + 8)?);
            // names in the data may point anywhere before; nothing may reach beyond the data
            let data = Data { message: bytes.get(..data_end)?, at: data_at, owner_at };
            if let Some(data) = data.read(kind) {
                self.answers.push(DnsAnswer { data, ttl: Some(ttl) });
            }
            at = data_end;
        }
        Some(())
    }

    /// Whether the answer refuses rather than answers, by Zeek's rules.
    pub(crate) fn is_rejection(&self) -> bool {
        const REFUSED: u16 = 5;
        self.is_reply
            && !self.is_update
            && (self.rcode == REFUSED || (self.rcode != 0 && self.question.is_none()))
    }
}

/// The name of a record type that dynamic updates carry.
fn type_name(kind: u16) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        255 => "*",
        other => return Cow::Owned(format!("type-{other}")),
    })
}

/// The data of one record, at the end of `message`.
struct Data<'a> {
    message: &'a [u8],
    at: usize,
    owner_at: usize,
}

impl Data<'_> {
    fn name(&self, offset: usize) -> Option<String> {
        name::read(self.message, self.at + offset).map(|(name, _)| name)
    }

    fn byte(&self, offset: usize) -> Option<u8> {
        byte(self.message, self.at + offset)
    }

    /// The value of a record as Zeek prints it; `None` where Zeek prints nothing.
    fn read(&self, kind: u16) -> Option<DnsData> {
        let text = match kind {
            1 => {
                let bits = be32(self.message, self.at)?;
                return Some(DnsData::Addr(IpAddr::V4(Ipv4Addr::from_bits(bits))));
            }
            28 => {
                let bits = be128(self.message, self.at)?;
                return Some(DnsData::Addr(IpAddr::V6(Ipv6Addr::from_bits(bits))));
            }
            2 | 5 | 6 | 12 => return self.name(0).map(DnsData::Name),
            15 => return self.name(2).map(DnsData::Name),
            33 => return self.name(6).map(DnsData::Name),
            16 => self.strings("TXT"),
            99 => self.strings("SPF"),
            29 => {
                format!("LOC:  {} {} {}", self.byte(1)?, self.byte(2)?, self.byte(3)?)
            }
            43 => format!("DS {} {}", self.byte(2)?, self.byte(3)?),
            44 => format!("SSHFP: {}", self.hex(2)?),
            46 => format!("RRSIG {} {}", be16(self.message, self.at)?, self.name(18)?),
            47 => format!("NSEC {} {}", name::read(self.message, self.owner_at)?.0, self.name(0)?),
            48 => format!("DNSKEY {}", self.byte(3)?),
            50 => "NSEC3".to_owned(),
            51 => "NSEC3PARAM".to_owned(),
            65534 => "BIND9 signing signal".to_owned(),
            // EDNS options and transaction keys answer nothing
            41 | 249 | 250 => return None,
            other => format!("<unknown type={other}>"),
        };
        Some(DnsData::Text(text))
    }

    fn hex(&self, offset: usize) -> Option<String> {
        let bytes = self.message.get(self.at + offset..)?;
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Some(text)
    }

    /// Character strings, each with its length.
    fn strings(&self, name: &str) -> String {
        let mut text = String::new();
        let mut rest = self.message.get(self.at..).unwrap_or(&[]);
        while let [length, tail @ ..] = rest {
            let (string, behind) = tail.split_at(tail.len().min(usize::from(*length)));
            let space = if text.is_empty() { "" } else { " " };
            let _ = write!(text, "{space}{name} {length} {}", string.escape_ascii_quiet());
            rest = behind;
        }
        text
    }
}

/// Printing bytes that are mostly text.
trait EscapeQuiet {
    fn escape_ascii_quiet(&self) -> String;
}

impl EscapeQuiet for [u8] {
    /// Printable ASCII as it is, the rest as `\xNN`.
    fn escape_ascii_quiet(&self) -> String {
        let mut text = String::with_capacity(self.len());
        for &byte in self {
            if byte.is_ascii_graphic() || byte == b' ' {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(head: [u16; 6], body: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_reply_is_read() {
        let body = b"\x01a\x00\x00\x01\x00\x01\
            \xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01b\xc0\x0c\
            \xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3d\x00\x04\xc0\x00\x02\x01\
            \xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x3e\x00\x06\x02hi\x02\xff!\
            \xc0\x0c\x00\x63\x00\x01\x00\x00\x00\x3e\x00\x04\x03abc";
        let bytes = message([7, 0x8580, 1, 4, 0, 0], body);
        let parsed = Message::parse(&bytes, true, Dialect::Dns).expect("message");
        let data: Vec<_> = parsed.answers.iter().map(|answer| answer.data.clone()).collect();
        assert_eq!(parsed.owner(), "a");
        assert_eq!(
            data,
            [
                DnsData::Name("b.a".into()),
                DnsData::Addr([192, 0, 2, 1].into()),
                DnsData::Text("TXT 2 hi TXT 2 \\xff!".into()),
                DnsData::Text("SPF 3 abc".into()),
            ]
        );
        assert_eq!(parsed.answers[1].ttl, Some(61));
        for end in 0..bytes.len() {
            let _ = Message::parse(&bytes[..end], false, Dialect::Dns);
        }
        assert_eq!(Message::parse(&bytes[..60], false, Dialect::Dns).map(|m| m.answers.len()), Some(2));
    }

    #[test]
    fn nonsense_is_no_message() {
        assert_eq!(Message::parse(&[], true, Dialect::Dns), None);
        assert_eq!(
            Message::parse(
                &message([1, 0x0100, 9, 0, 0, 0], b"\x01a\x00\x00\x01\x00\x01"),
                true,
                Dialect::Dns
            ),
            None
        );
        assert_eq!(Message::parse(&message([1, 0x7800, 0, 0, 0, 0], b""), true, Dialect::Dns), None);
    }
}
