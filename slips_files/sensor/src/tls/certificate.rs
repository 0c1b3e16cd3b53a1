//! What is told of a certificate: names, validity, the hosts it is for. A reader of just that much DER, nothing is verified.

use slips_core::time::PacketTime;

/// DNS names that are kept of a certificate, and the longest name that is printed.
const MAX_NAMES: usize = 32;
const MAX_PRINTED: usize = 1024;

/// A certificate's fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Certificate {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) not_before: Option<PacketTime>,
    pub(super) not_after: Option<PacketTime>,
    pub(super) dns: Vec<String>,
}

const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;

/// The rest of some DER.
#[derive(Clone, Copy)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, length, rest @ ..] = self.0 else { return None };
        let (length, rest) = match usize::from(*length) {
            short @ 0..=0x7f => (short, rest),
            long @ 0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(long & 15)?;
                (digits.iter().fold(0usize, |sum, digit| sum << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

impl Certificate {
    /// Reads a certificate; `None` when it is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut body = Der(Der(Der(bytes).expect(SEQUENCE)?).expect(SEQUENCE)?);
        let mut probe = body;
        if matches!(probe.next(), Some((0xa0, _))) {
            body = probe;
        }
        body.next()?; // serial number
        body.expect(SEQUENCE)?; // algorithm of the signature
        let issuer = body.expect(SEQUENCE)?;
        let mut validity = Der(body.expect(SEQUENCE)?);
        let subject = body.expect(SEQUENCE)?;
        let mut certificate = Self {
            subject: name(subject),
            issuer: name(issuer),
            not_before: validity.next().and_then(time),
            not_after: validity.next().and_then(time),
            dns: Vec::new(),
        };
        body.expect(SEQUENCE)?; // the key
        while let Some((tag, content)) = body.next() {
            if tag == 0xa3 {
                certificate.read_extensions(content);
            }
        }
        Some(certificate)
    }

    fn read_extensions(&mut self, bytes: &[u8]) -> Option<()> {
        const ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
        let mut list = Der(Der(bytes).expect(SEQUENCE)?);
        while let Some(extension) = list.expect(SEQUENCE) {
            let mut extension = Der(extension);
            if extension.expect(OBJECT)? != ALTERNATIVE_NAME {
                continue;
            }
            let (mut tag, mut content) = extension.next()?;
            if tag == 1 {
                (tag, content) = extension.next()?;
            }
            if tag != 4 {
                return None;
            }
            let mut names = Der(Der(content).expect(SEQUENCE)?);
            while let Some((tag, name)) = names.next() {
                if tag == 0x82 && self.dns.len() < MAX_NAMES {
                    let name = name.get(..255).unwrap_or(name);
                    self.dns.push(String::from_utf8_lossy(name).into_owned());
                }
            }
        }
        Some(())
    }
}

/// A UTCTime or GeneralizedTime.
fn time((tag, text): (u8, &[u8])) -> Option<PacketTime> {
    let digits = |at: usize, count: usize| -> Option<i64> {
        let part = text.get(at..at + count)?;
        part.iter()
            .try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(*digit - b'0')))
    };
    let (year, at) = match tag {
        0x17 => {
            let year = digits(0, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, 2)
        }
        0x18 => (digits(0, 4)?, 4),
        _ => return None,
    };
    let (month, day) = (digits(at, 2)?, digits(at + 2, 2)?);
    let (hour, minute) = (digits(at + 4, 2)?, digits(at + 6, 2)?);
    let second = digits(at + 8, 2).unwrap_or(0);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // days since 1970 in the Gregorian calendar, with years that begin in March
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(PacketTime((days * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000))
}

/// A name as RFC 2253 prints it: last part first.
fn name(bytes: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut list = Der(bytes);
    while let Some(part) = list.expect(0x31) {
        let mut text = String::new();
        let mut values = Der(part);
        while let Some(value) = values.expect(SEQUENCE) {
            let mut value = Der(value);
            let (Some(kind), Some((tag, content))) = (value.expect(OBJECT), value.next()) else { break };
            if !text.is_empty() {
                text.push('+');
            }
            text.push_str(&kind_name(kind));
            text.push('=');
            print(&mut text, tag, content);
        }
        parts.push(text);
    }
    let mut whole = String::new();
    for part in parts.iter().rev() {
        if whole.len() + part.len() > MAX_PRINTED {
            break;
        }
        if !whole.is_empty() {
            whole.push(',');
        }
        whole.push_str(part);
    }
    whole
}

/// Short name of an attribute, or its number with dots.
fn kind_name(object: &[u8]) -> String {
    let name = match object {
        [0x55, 4, last] => match last {
            3 => "CN",
            4 => "SN",
            5 => "serialNumber",
            6 => "C",
            7 => "L",
            8 => "ST",
            9 => "street",
            10 => "O",
            11 => "OU",
            12 => "title",
            13 => "description",
            15 => "businessCategory",
            17 => "postalCode",
            18 => "postOfficeBox",
            20 => "telephoneNumber",
            41 => "name",
            42 => "GN",
            43 => "initials",
            44 => "generationQualifier",
            46 => "dnQualifier",
            65 => "pseudonym",
            97 => "organizationIdentifier",
            _ => "",
        },
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, last] => match last {
            1 => "emailAddress",
            2 => "unstructuredName",
            8 => "unstructuredAddress",
            _ => "",
        },
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, last] => match last {
            1 => "UID",
            25 => "DC",
            _ => "",
        },
        [0x2b, 6, 1, 4, 1, 0x82, 0x37, 60, 2, 1, last] => match last {
            1 => "jurisdictionL",
            2 => "jurisdictionST",
            3 => "jurisdictionC",
            _ => "",
        },
        _ => "",
    };
    if name.is_empty() { dotted(object) } else { name.to_owned() }
}

fn dotted(object: &[u8]) -> String {
    let mut text = String::new();
    let mut arc = 0u64;
    for byte in object.iter().take(64) {
        arc = arc << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if text.is_empty() {
            let first = (arc / 40).min(2);
            text = format!("{first}.{}", arc - first * 40);
        } else {
            text.push_str(&format!(".{arc}"));
        }
        arc = 0;
    }
    text
}

/// A value with what RFC 2253 wants escaped; bytes beyond ASCII as `\XX`.
fn print(text: &mut String, tag: u8, content: &[u8]) {
    let content = content.get(..MAX_PRINTED).unwrap_or(content);
    let wide: String;
    let bytes = match tag {
        0x1e => {
            let units = content.chunks_exact(2).map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]));
            wide = char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')).collect();
            wide.as_bytes()
        }
        0x14 => {
            wide = content.iter().map(|byte| char::from(*byte)).collect();
            wide.as_bytes()
        }
        _ => content,
    };
    let last = bytes.len().saturating_sub(1);
    for (at, byte) in bytes.iter().enumerate() {
        let edge = (*byte == b' ' && (at == 0 || at == last)) || (*byte == b'#' && at == 0);
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => text.extend(['\\', char::from(*byte)]),
            _ if edge => text.extend(['\\', char::from(*byte)]),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        if content.len() < 0x80 {
            bytes.push(content.len() as u8);
        } else {
            bytes.extend([0x82, (content.len() >> 8) as u8, content.len() as u8]);
        }
        bytes.extend(content);
        bytes
    }

    fn attribute(last: u8, value: &[u8]) -> Vec<u8> {
        let pair = [element(OBJECT, &[0x55, 4, last]), element(0x0c, value)].concat();
        element(0x31, &element(SEQUENCE, &pair))
    }

    #[test]
    fn names_and_validity_are_read() {
        let subject =
            element(SEQUENCE, &[attribute(6, b"CZ"), attribute(3, "a,b \u{e9}".as_bytes())].concat());
        let issuer = element(SEQUENCE, &attribute(10, b"#x"));
        let validity =
            element(SEQUENCE, &[element(0x17, b"700101000001Z"), element(0x18, b"20240229120000Z")].concat());
        let names = element(SEQUENCE, &[element(0x82, b"a.example"), element(0x87, &[1, 2, 3, 4])].concat());
        let extension =
            element(SEQUENCE, &[element(OBJECT, &[0x55, 0x1d, 0x11]), element(4, &names)].concat());
        let body = [
            element(0xa0, &element(2, &[2])),
            element(2, &[1]),
            element(SEQUENCE, &[]),
            issuer,
            validity,
            subject,
            element(SEQUENCE, &[]),
            element(0xa3, &element(SEQUENCE, &extension)),
        ]
        .concat();
        let bytes = element(SEQUENCE, &element(SEQUENCE, &body));
        let certificate = Certificate::parse(&bytes).expect("certificate");
        assert_eq!(certificate.subject, "CN=a\\,b \\C3\\A9,C=CZ");
        assert_eq!(certificate.issuer, "O=\\#x");
        assert_eq!(certificate.not_before, Some(PacketTime(1_000_000)));
        assert_eq!(certificate.not_after, Some(PacketTime(1_709_208_000_000_000)));
        assert_eq!(certificate.dns, ["a.example"]);
        for end in 0..bytes.len() {
            assert_eq!(Certificate::parse(&bytes[..end]), None);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            Certificate::parse(&bytes);
            name(&bytes);
            time((0x17, &bytes));
            time((0x18, &bytes));
        }
    }
}
