//! What is told of a certificate: names, validity, key, the hosts it is for. A reader of just that much DER; nothing is
//! verified.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slips_core::time::PacketTime;

use super::algorithms::{algorithm, curve};
use super::der::{BITS, Der, INTEGER, OBJECT, SEQUENCE};
use super::distinguished::name;

/// Names of a kind that are kept of a certificate.
const MAX_NAMES: usize = 128;
/// Longest name, and longest serial number in bytes.
const MAX_NAME: usize = 255;
const MAX_SERIAL: usize = 64;

/// A certificate's fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Certificate {
    pub(super) version: u8,
    pub(super) serial: String,
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) not_before: Option<PacketTime>,
    pub(super) not_after: Option<PacketTime>,
    pub(super) sig_alg: String,
    pub(super) key: Key,
    pub(super) names: Names,
    /// Whether it may sign others, and how many more may stand below it.
    pub(super) is_ca: Option<bool>,
    pub(super) path_length: Option<u32>,
}

/// Its public key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Key {
    pub(super) algorithm: String,
    /// `rsa`, `dsa` or `ecdsa`.
    pub(super) kind: &'static str,
    pub(super) length: Option<u32>,
    pub(super) exponent: String,
    pub(super) curve: String,
}

/// Whom it is for, besides its subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names {
    pub(super) dns: Vec<String>,
    pub(super) uri: Vec<String>,
    pub(super) email: Vec<String>,
    pub(super) ip: Vec<IpAddr>,
}

impl Certificate {
    /// Reads a certificate; `None` when it is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut body = Der(Der(Der(bytes).expect(SEQUENCE)?).expect(SEQUENCE)?);
        let mut probe = body;
        let mut version = 1;
        if let Some((0xa0, content)) = probe.next() {
            body = probe;
            let number = Der(content).expect(INTEGER).and_then(number).unwrap_or(0);
            version = u8::try_from(number).unwrap_or(u8::MAX).saturating_add(1);
        }
        let (_, serial) = body.next()?;
        let sig_alg = Der(body.expect(SEQUENCE)?).expect(OBJECT).map(algorithm).unwrap_or_default();
        let issuer = body.expect(SEQUENCE)?;
        let mut validity = Der(body.expect(SEQUENCE)?);
        let subject = body.expect(SEQUENCE)?;
        let mut certificate = Self {
            version,
            serial: digits(serial),
            subject: name(subject),
            issuer: name(issuer),
            not_before: validity.next().and_then(time),
            not_after: validity.next().and_then(time),
            sig_alg,
            key: Key::parse(body.expect(SEQUENCE)?),
            ..Self::default()
        };
        while let Some((tag, content)) = body.next() {
            if tag == 0xa3 {
                certificate.read_extensions(content);
            }
        }
        Some(certificate)
    }

    fn read_extensions(&mut self, bytes: &[u8]) -> Option<()> {
        let mut list = Der(Der(bytes).expect(SEQUENCE)?);
        while let Some(extension) = list.expect(SEQUENCE) {
            let mut extension = Der(extension);
            let object = extension.expect(OBJECT)?;
            let (mut tag, mut content) = extension.next()?;
            if tag == 1 {
                (tag, content) = extension.next()?; // it was whether the extension is critical
            }
            let [0x55, 0x1d, which @ (0x11 | 0x13)] = object else { continue };
            let content = Der(content).expect(SEQUENCE).filter(|_| tag == 4)?;
            match which {
                0x11 => self.names.read(content),
                _ => self.read_constraints(content),
            }
        }
        Some(())
    }

    /// The basic constraints.
    fn read_constraints(&mut self, content: &[u8]) {
        let mut rest = Der(content);
        self.is_ca = Some(false);
        while let Some((tag, value)) = rest.next() {
            match tag {
                1 => self.is_ca = Some(value.iter().any(|byte| *byte != 0)),
                INTEGER => self.path_length = number(value),
                _ => {}
            }
        }
    }
}

impl Names {
    fn read(&mut self, content: &[u8]) {
        let mut names = Der(content);
        while let Some((tag, name)) = names.next() {
            let list = match tag {
                0x81 => &mut self.email,
                0x82 => &mut self.dns,
                0x86 => &mut self.uri,
                0x87 if self.ip.len() < MAX_NAMES => {
                    self.ip.extend(address(name));
                    continue;
                }
                _ => continue,
            };
            if list.len() < MAX_NAMES {
                list.push(String::from_utf8_lossy(name.get(..MAX_NAME).unwrap_or(name)).into_owned());
            }
        }
    }
}

impl Key {
    fn parse(content: &[u8]) -> Self {
        let mut content = Der(content);
        let mut key = Self::default();
        let Some(mut kind) = content.expect(SEQUENCE).map(Der) else { return key };
        let Some(object) = kind.expect(OBJECT) else { return key };
        key.algorithm = algorithm(object);
        match key.algorithm.as_str() {
            "rsaEncryption" | "rsassaPss" => {
                key.kind = "rsa";
                // behind the number of unused bits
                let numbers = content.expect(BITS).and_then(|bits| Der(bits.get(1..)?).expect(SEQUENCE));
                let mut numbers = Der(numbers.unwrap_or(&[]));
                key.length = numbers.expect(INTEGER).map(length);
                key.exponent =
                    numbers.expect(INTEGER).and_then(number).map(|n| n.to_string()).unwrap_or_default();
            }
            "id-ecPublicKey" => {
                key.kind = "ecdsa";
                (key.curve, key.length) = kind.expect(OBJECT).map(curve).unwrap_or_default();
            }
            "dsaEncryption" => {
                key.kind = "dsa";
                let prime = kind.expect(SEQUENCE).and_then(|numbers| Der(numbers).expect(INTEGER));
                key.length = prime.map(length);
            }
            "ED25519" | "X25519" => key.length = Some(253),
            "ED448" | "X448" => key.length = Some(448),
            _ => {}
        }
        key
    }
}

fn unpadded(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or(&[])
}

/// A number of at most 32 bits.
fn number(bytes: &[u8]) -> Option<u32> {
    let bytes = unpadded(bytes);
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

/// Bits of a number.
fn length(bytes: &[u8]) -> u32 {
    let bytes = unpadded(bytes);
    let first = bytes.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(first)
}

/// A serial number as OpenSSL prints it.
fn digits(bytes: &[u8]) -> String {
    let is_negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let mut bytes: Vec<u8> = bytes.iter().take(MAX_SERIAL).copied().collect();
    if is_negative {
        // the two's complement of what is printed behind the sign
        let mut carry = true;
        for byte in bytes.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let plain = unpadded(&bytes);
    let sign = if is_negative { "-" } else { "" };
    if plain.is_empty() {
        "00".to_owned()
    } else {
        format!("{sign}{}", super::hex(plain).to_ascii_uppercase())
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| IpAddr::from(Ipv6Addr::from(bytes)))).ok()
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
        let constraints = [element(1, &[0xff]), element(INTEGER, &[2])].concat();
        let constraints = element(4, &element(SEQUENCE, &constraints));
        let constraints = element(SEQUENCE, &[element(OBJECT, &[0x55, 0x1d, 0x13]), constraints].concat());
        let rsa = element(OBJECT, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]);
        let modulus = [element(INTEGER, &[0, 0x80, 1]), element(INTEGER, &[1, 0, 1])].concat();
        let modulus = [&[0][..], &element(SEQUENCE, &modulus)].concat();
        let body = [
            element(0xa0, &element(2, &[2])),
            element(2, &[0, 0xf9, 1]),
            element(SEQUENCE, &element(OBJECT, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])),
            issuer,
            validity,
            subject,
            element(SEQUENCE, &[element(SEQUENCE, &rsa), element(BITS, &modulus)].concat()),
            element(0xa3, &element(SEQUENCE, &[extension, constraints].concat())),
        ]
        .concat();
        let bytes = element(SEQUENCE, &element(SEQUENCE, &body));
        let certificate = Certificate::parse(&bytes).expect("certificate");
        assert_eq!(certificate.subject, "CN=a\\,b \\C3\\A9,C=CZ");
        assert_eq!(certificate.issuer, "O=\\#x");
        assert_eq!(certificate.not_before, Some(PacketTime(1_000_000)));
        assert_eq!(certificate.not_after, Some(PacketTime(1_709_208_000_000_000)));
        assert_eq!(certificate.names.dns, ["a.example"]);
        assert_eq!(certificate.names.ip, [IpAddr::from([1, 2, 3, 4])]);
        assert_eq!((certificate.version, certificate.serial.as_str()), (3, "F901"));
        assert_eq!(certificate.sig_alg, "ecdsa-with-SHA256");
        let key = Key { algorithm: "rsaEncryption".into(), kind: "rsa", length: Some(16), ..Key::default() };
        assert_eq!(certificate.key, Key { exponent: "65537".into(), ..key });
        assert_eq!((certificate.is_ca, certificate.path_length), (Some(true), Some(2)));
        for end in 0..bytes.len() {
            assert_eq!(Certificate::parse(&bytes[..end]), None);
        }
    }

    #[test]
    fn serial_numbers_look_as_openssl_prints_them() {
        let all: [(&[u8], &str); 5] =
            [(&[0], "00"), (&[], "00"), (&[1], "01"), (&[0, 0x80], "80"), (&[0xff, 0x7f], "-81")];
        for (bytes, text) in all {
            assert_eq!(digits(bytes), text);
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
