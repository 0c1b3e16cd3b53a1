//! Packet time and time windows. Detection knows no other time.

use std::fmt;
use std::ops::{Add, Sub};

/// A moment in packet time: microseconds since the Unix epoch, from the packet or log record itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketTime(pub i64);

/// A length of packet time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

impl Span {
    /// A span of whole seconds; saturates.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// A span of whole milliseconds; saturates.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Seconds with fraction, for people and ratios; never for comparing times.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Parses a decimal number of seconds (`"12.5"`) without passing through a float.
    pub fn parse_decimal(text: &[u8]) -> Option<Self> {
        parse_micros(text).map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_micros(self.0, f)
    }
}

impl PacketTime {
    /// The earliest moment that can be told.
    pub const MIN: Self = Self(i64::MIN);

    /// From whole seconds and microseconds, as a capture record carries them; saturates.
    pub const fn from_secs_micros(secs: i64, micros: i64) -> Self {
        Self(secs.saturating_mul(1_000_000).saturating_add(micros))
    }

    /// Parses decimal Unix seconds (`"1700828217.314165"`) without passing through a float; digits past the sixth are dropped.
    pub fn parse_decimal(text: &[u8]) -> Option<Self> {
        parse_micros(text).map(Self)
    }

    /// The span since `earlier`, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0).max(0))
    }
}

impl fmt::Display for PacketTime {
    /// Decimal Unix seconds with six digits after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_micros(self.0, f)
    }
}

impl Add<Span> for PacketTime {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for PacketTime {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

fn write_micros(micros: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let sign = if micros < 0 { "-" } else { "" };
    let abs = micros.unsigned_abs();
    write!(f, "{sign}{}.{:06}", abs / 1_000_000, abs % 1_000_000)
}

/// Decimal seconds to microseconds. Accepts a sign, a fraction and an exponent (`1.5e-05`, which Zeek's JSON writes);
/// refuses anything else, and values that do not fit.
fn parse_micros(text: &[u8]) -> Option<i64> {
    let (negative, rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let exponent_at = rest.iter().position(|b| matches!(b, b'e' | b'E'));
    let (mantissa, exponent) = match exponent_at {
        None => (rest, 0i32),
        Some(at) => {
            let (mantissa, tail) = rest.split_at(at);
            (mantissa, std::str::from_utf8(tail.get(1..)?).ok()?.parse::<i32>().ok()?)
        }
    };
    if !(-30..=18).contains(&exponent) {
        return None;
    }
    let mut value: i128 = 0;
    let mut scale: i32 = exponent + 6;
    let mut seen_point = false;
    let mut digits = 0u32;
    for &byte in mantissa {
        match byte {
            b'0'..=b'9' => {
                digits += 1;
                if digits > 36 {
                    // More digits cannot change a microsecond; before the point they cannot fit.
                    if !seen_point {
                        return None;
                    }
                    continue;
                }
                value = value * 10 + i128::from(byte - b'0');
                if seen_point {
                    scale -= 1;
                }
            }
            b'.' if !seen_point => seen_point = true,
            _ => return None,
        }
    }
    if digits == 0 {
        return None;
    }
    while scale > 0 {
        value = value.checked_mul(10)?;
        scale -= 1;
    }
    while scale < 0 {
        value /= 10;
        scale += 1;
    }
    let value = if negative { -value } else { value };
    i64::try_from(value).ok()
}

/// The width of all time windows of a run. Windows are aligned to the Unix epoch, so that every router and every run
/// numbers them alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowWidth(Span);

impl WindowWidth {
    /// One hour, the default.
    pub const HOUR: Self = Self(Span::from_secs(3600));

    /// A width in whole seconds; `None` outside 1 second to 10 years.
    pub const fn from_secs(secs: i64) -> Option<Self> {
        if secs < 1 || secs > 315_360_000 { None } else { Some(Self(Span::from_secs(secs))) }
    }

    /// The width as a span.
    pub const fn span(self) -> Span {
        self.0
    }

    /// The window in which `at` lies. A moment on a border belongs to the later window.
    pub fn window_of(self, at: PacketTime) -> WindowId {
        WindowId(at.0.div_euclid(self.0.0))
    }

    /// The first moment of a window.
    pub fn start_of(self, window: WindowId) -> PacketTime {
        PacketTime(window.0.saturating_mul(self.0.0))
    }

    /// The first moment after a window.
    pub fn end_of(self, window: WindowId) -> PacketTime {
        PacketTime(window.0.saturating_add(1).saturating_mul(self.0.0))
    }
}

/// The number of a time window: how many widths it lies after the Unix epoch (negative before it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId(pub i64);

impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_seconds_become_microseconds() {
        for (text, micros) in [
            ("0", Some(0)),
            ("1700828217.314165", Some(1_700_828_217_314_165)),
            ("22.335172", Some(22_335_172)),
            ("0.09628199999999865", Some(96_281)),
            ("0.0007538795471191406", Some(753)),
            ("1.5e-05", Some(15)),
            ("1E3", Some(1_000_000_000)),
            ("-1.5", Some(-1_500_000)),
            (".5", Some(500_000)),
            ("5.", Some(5_000_000)),
            ("", None),
            (".", None),
            ("-", None),
            ("1.2.3", None),
            ("1e", None),
            ("1e999999999", None),
            ("nan", None),
            ("9223372036854775807", None),
            ("00000000000000000000000000000000000000000000001", None),
            ("1700000000", Some(1_700_000_000_000_000)),
        ] {
            assert_eq!(PacketTime::parse_decimal(text.as_bytes()).map(|t| t.0), micros, "{text}");
        }
    }

    #[test]
    fn printing_is_the_inverse_of_parsing() {
        for micros in [0, 1, -1, 1_500_000, -1_500_000, 1_700_828_217_314_165] {
            let text = PacketTime(micros).to_string();
            assert_eq!(PacketTime::parse_decimal(text.as_bytes()), Some(PacketTime(micros)), "{text}");
        }
    }

    #[test]
    fn windows_are_aligned_to_the_epoch_and_a_border_belongs_to_the_later_one() {
        let width = WindowWidth::HOUR;
        let border = PacketTime::from_secs_micros(7200, 0);
        assert_eq!(width.window_of(border), WindowId(2));
        assert_eq!(width.window_of(PacketTime(border.0 - 1)), WindowId(1));
        assert_eq!(width.window_of(PacketTime(-1)), WindowId(-1));
        assert_eq!(width.start_of(WindowId(2)), border);
        assert_eq!(width.end_of(WindowId(1)), border);
    }
}
