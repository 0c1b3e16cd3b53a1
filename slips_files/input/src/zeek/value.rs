//! Values of log fields, straight from their bytes.

use std::net::{IpAddr, Ipv4Addr};

use slips_core::addr::canonical;
use slips_core::flow::MacAddr;
use slips_core::time::{PacketTime, Span};

/// Whole seconds beyond this are milliseconds (Zeek's `JSON::TS_MILLIS`); as seconds it would be the year 5138.
const MILLIS_FROM: i64 = 100_000_000_000;

/// An address; IPv4-mapped IPv6 becomes IPv4.
pub(crate) fn addr(text: &[u8]) -> Option<IpAddr> {
    if let Some(v4) = v4(text) {
        return Some(IpAddr::V4(v4));
    }
    let text = std::str::from_utf8(text).ok()?;
    let text = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    text.parse().ok().map(canonical)
}

fn v4(text: &[u8]) -> Option<Ipv4Addr> {
    if text.len() > 15 {
        return None;
    }
    let mut bits: u32 = 0;
    let mut octet: u32 = 0;
    let mut digits = 0;
    let mut dots = 0;
    for &byte in text {
        match byte {
            b'0'..=b'9' => {
                // A leading zero would be octal elsewhere; the standard library refuses it too.
                if digits > 0 && octet == 0 {
                    return None;
                }
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
                if octet > 255 {
                    return None;
                }
            }
            b'.' if digits > 0 && dots < 3 => {
                bits = bits << 8 | octet;
                octet = 0;
                digits = 0;
                dots += 1;
            }
            _ => return None,
        }
    }
    (dots == 3 && digits > 0).then(|| Ipv4Addr::from_bits(bits << 8 | octet))
}

/// A count. A fraction of zeros is forgiven: some exporters write every number as a float.
pub(crate) fn count(text: &[u8]) -> Option<u64> {
    let mut value: u64 = 0;
    let mut digits = text.iter();
    let mut any = false;
    for &byte in digits.by_ref() {
        match byte {
            b'0'..=b'9' => {
                value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                any = true;
            }
            b'.' if any => return digits.all(|&byte| byte == b'0').then_some(value),
            _ => return None,
        }
    }
    any.then_some(value)
}

/// Decimal seconds in microseconds. The usual form goes a short way, all others the careful one.
fn micros(text: &[u8]) -> Option<i64> {
    let mut value: i64 = 0;
    let mut at = 0;
    while let Some(byte @ b'0'..=b'9') = text.get(at) {
        if at >= 12 {
            return Span::parse_decimal(text).map(|span| span.0);
        }
        value = value * 10 + i64::from(byte - b'0');
        at += 1;
    }
    if at == 0 {
        return Span::parse_decimal(text).map(|span| span.0);
    }
    match text.get(at) {
        None => return Some(value * 1_000_000),
        Some(b'.') => at += 1,
        Some(_) => return Span::parse_decimal(text).map(|span| span.0),
    }
    let fraction = text.get(at..)?;
    let mut scale = 1_000_000;
    for (index, byte) in fraction.iter().enumerate() {
        match byte {
            b'0'..=b'9' if index < 6 => {
                value = value * 10 + i64::from(byte - b'0');
                scale /= 10;
            }
            b'0'..=b'9' => {}
            _ => return Span::parse_decimal(text).map(|span| span.0),
        }
    }
    Some(value * scale)
}

/// A length of time in decimal seconds; never negative.
pub(crate) fn span(text: &[u8]) -> Option<Span> {
    micros(text).filter(|micros| *micros >= 0).map(Span)
}

/// A moment: decimal Unix seconds, whole milliseconds, or ISO 8601 (UTC where it names no zone).
pub(crate) fn time(text: &[u8]) -> Option<PacketTime> {
    if let Some(micros) = micros(text) {
        if micros / 1_000_000 >= MILLIS_FROM {
            return Some(PacketTime(micros / 1000));
        }
        return Some(PacketTime(micros));
    }
    iso(text)
}

/// `2023-02-20T00:02:09.767505Z`, also with a space for the T, with `+01:00`, and without a zone.
fn iso(text: &[u8]) -> Option<PacketTime> {
    let number = |from: usize, to: usize| count(text.get(from..to)?).and_then(|n| i64::try_from(n).ok());
    let is = |at: usize, wanted: &[u8]| text.get(at).is_some_and(|byte| wanted.contains(byte));
    if !(is(4, b"-/") && is(7, b"-/") && is(10, b"T -") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let digits = match rest {
        [b'.' | b',', rest @ ..] => rest.iter().take_while(|byte| byte.is_ascii_digit()).count() + 1,
        _ => 0,
    };
    let micros = rest.get(..digits)?.iter().skip(1).chain(b"000000").take(6);
    let micros = micros.fold(0, |value, byte| value * 10 + i64::from(byte - b'0'));
    let east = zone(rest.get(digits..)?)?;
    let secs = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - east;
    Some(PacketTime::from_secs_micros(secs, micros))
}

/// Seconds east of Greenwich.
fn zone(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        b"" | b"Z" | b"z" => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits.get(..2)?, b"0".as_slice()),
        4 => (digits.get(..2)?, digits.get(2..)?),
        5 if digits.get(2) == Some(&b':') => (digits.get(..2)?, digits.get(3..)?),
        _ => return None,
    };
    let (hours, minutes) = (count(hours)?, count(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours as i64 * 3600 + minutes as i64 * 60))
}

/// Days since 1970-01-01 in the Gregorian calendar, counting years from March so that the leap day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let since_march = (month + 9) % 12;
    let day_of_year = (153 * since_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// A truth value as Zeek writes it, in either format.
pub(crate) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"T" | b"true" => Some(true),
        b"F" | b"false" => Some(false),
        _ => None,
    }
}

/// A hardware address.
pub(crate) fn mac(text: &[u8]) -> Option<MacAddr> {
    MacAddr::parse(std::str::from_utf8(text).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses() {
        for (text, printed) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("0.0.0.0", Some("0.0.0.0")),
            ("255.255.255.255", Some("255.255.255.255")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("fe80::1", Some("fe80::1")),
            ("[fe80::1]", Some("fe80::1")),
            ("1.2.3", None),
            ("1.2.3.4.5", None),
            ("1.2.3.256", None),
            ("1.2.3.04", None),
            ("1..3.4", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(addr(text.as_bytes()).map(|a| a.to_string()).as_deref(), printed, "{text}");
        }
    }

    #[test]
    fn counts() {
        for (text, value) in [
            ("0", Some(0)),
            ("443", Some(443)),
            ("12.0", Some(12)),
            ("12.5", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            (".", None),
            ("-1", None),
        ] {
            assert_eq!(count(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn moments_in_every_form_that_zeek_writes() {
        for (text, micros) in [
            ("1676851329.767505", Some(1_676_851_329_767_505)),
            ("1676851329", Some(1_676_851_329_000_000)),
            ("1676851329767", Some(1_676_851_329_767_000)),
            ("1676851329767.0", Some(1_676_851_329_767_000)),
            ("22.335172", Some(22_335_172)),
            ("2023-02-20T00:02:09.767505Z", Some(1_676_851_329_767_505)),
            ("2023-02-20T01:02:09.767505+01:00", Some(1_676_851_329_767_505)),
            ("2023-02-19T19:32:09.767505-0430", Some(1_676_851_329_767_505)),
            ("2023-02-20 00:02:09", Some(1_676_851_329_000_000)),
            ("2023/02/20-00:02:09.5", Some(1_676_851_329_500_000)),
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T00:00:00Z", Some(951_782_400_000_000)),
            ("2023-13-20T00:02:09Z", None),
            ("2023-02-20T00:02:09X", None),
            ("XXXXXXXXXX.XXXXXX", None),
            ("", None),
        ] {
            assert_eq!(time(text.as_bytes()).map(|t| t.0), micros, "{text}");
        }
        assert_eq!(span(b"-0.5"), None);
    }

    proptest! {
        #[test]
        fn the_short_way_gives_what_the_careful_one_gives(text in "[0-9]{0,13}(\\.[0-9]{0,20})?(e-?[0-9])?") {
            prop_assert_eq!(micros(text.as_bytes()), Span::parse_decimal(text.as_bytes()).map(|s| s.0));
        }

        #[test]
        fn our_ipv4_is_the_standard_librarys(bits: u32, noise in "[0-9.]{0,16}") {
            let addr = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(v4(addr.to_string().as_bytes()), Some(addr));
            prop_assert_eq!(v4(noise.as_bytes()), noise.parse().ok());
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (addr(&bytes), count(&bytes), time(&bytes), span(&bytes), boolean(&bytes), mac(&bytes));
        }
    }
}
