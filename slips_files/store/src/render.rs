//! Evidence and alerts as one line for a person: log file, terminal and journal show the same words.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use jiff::Timestamp;
use slips_core::alert::{Alert, Cause};
use slips_core::evidence::{Entity, Evidence};
use slips_core::time::PacketTime;

/// Most bytes of one attacker-chosen text in a line; longer ones end in `…`.
pub const MAX_TEXT: usize = 1024;

/// Width of the address column, as in the original's alerts.log.
const IP_WIDTH: usize = 26;

/// `2026-01-02T10:00:00.100000Z`. Moments that no calendar knows become its first or last day.
pub fn iso(at: PacketTime) -> String {
    let moment =
        Timestamp::from_microsecond(at.0).unwrap_or(if at.0 < 0 { Timestamp::MIN } else { Timestamp::MAX });
    format!("{moment:.6}")
}

/// The moment that [`iso`] wrote.
pub fn from_iso(text: &str) -> Option<PacketTime> {
    let fits = text.len() <= 40;
    fits.then(|| text.parse::<Timestamp>().ok()).flatten().map(|at| PacketTime(at.as_microsecond()))
}

/// `text` made harmless for a terminal and a line-based log: control characters, line breaks, invisible and
/// direction-changing characters become `\n`, `\x1b`, `\u{202e}`; a backslash becomes `\\`, so that nothing can pretend to be
/// an escape; at most [`MAX_TEXT`] bytes.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_up_to(text, MAX_TEXT)
}

/// The same without an end: for files that programs read.
pub fn escape_whole(text: &str) -> Cow<'_, str> {
    escape_up_to(text, usize::MAX)
}

fn escape_up_to(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most && text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'\\') {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len().min(most) + 16);
    for c in text.chars() {
        let before = safe.len();
        // Writing to a String cannot fail.
        let _ = escape_char(&mut safe, c);
        if safe.len() > most {
            safe.truncate(before);
            safe.push('…');
            break;
        }
    }
    Cow::Owned(safe)
}

/// One line about an evidence:
/// `TIME (TW 7): Src IP 192.0.2.1       . Detected TEXT. Threat level: high. …`
pub fn evidence_line(evidence: &Evidence) -> String {
    let finding = &evidence.finding;
    let mut line = String::with_capacity(200);
    let _ = write!(line, "{} (TW {}): Src ", iso(evidence.last_seen), finding.window);
    let _ = match &finding.attacker {
        Entity::Ip(ip) => write!(line, "IP {:<IP_WIDTH$}", ip),
        Entity::Domain(name) => write!(line, "domain {}", escape(name)),
        Entity::Url(url) => write!(line, "URL {}", escape(url)),
        Entity::Mac(mac) => write!(line, "MAC {mac}"),
        Entity::Many => write!(line, "{}", Entity::Many),
    };
    let _ = write!(
        line,
        ". Detected {}. Threat level: {}. Confidence: {:.2}.",
        escape(&finding.text),
        finding.level,
        finding.confidence.get(),
    );
    if evidence.count > 1 {
        let _ = write!(line, " Seen {} times.", evidence.count);
    }
    if finding.attacker.ip() != Some(finding.profile) {
        let _ = write!(line, " Seen at {}.", finding.profile);
    }
    line
}

/// One line about an alert:
/// `TIME: Src IP 192.0.2.1       . Generated an alert given enough evidence on timewindow 7. …`
pub fn alert_line(alert: &Alert) -> String {
    let mut line = String::with_capacity(160);
    let why = match alert.cause {
        Cause::Accumulated => "enough evidence",
        Cause::Critical => "critical evidence",
        Cause::Assisted => "evidence of its own and word of peers",
    };
    let _ = write!(
        line,
        "{}: Src IP {:<IP_WIDTH$}. Generated an alert given {why} on timewindow {}. Evidence: {}, weight: {:.2}, confidence: {:.2}.",
        iso(alert.at),
        alert.attacker,
        alert.window,
        alert.evidence.len(),
        alert.accumulated,
        alert.confidence.get(),
    );
    line
}

fn escape_char(out: &mut String, c: char) -> fmt::Result {
    match c {
        '\\' => out.write_str("\\\\"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\0'..='\x1f' | '\x7f' => write!(out, "\\x{:02x}", c as u32),
        _ if is_deceptive(c) => write!(out, "\\u{{{:x}}}", c as u32),
        _ => out.write_char(c),
    }
}

/// Characters that are not what they look like: C1 controls, line and paragraph separators, zero-width and
/// direction-changing ones (Unicode categories Cc, Zl, Zp and the format characters of UAX #9 and #31), tags, non-characters.
pub const fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{alert, evidence};

    #[test]
    fn hostile_text_cannot_leave_its_line_or_move_the_cursor() {
        for (text, safe) in [
            ("plain", "plain"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\x1b[2J\x07", "\\x1b[2J\\x07"),
            ("\\n", "\\\\n"),
            ("a\u{202e}b\u{2028}\u{85}\u{feff}", "a\\u{202e}b\\u{2028}\\u{85}\\u{feff}"),
            ("grün 日本", "grün 日本"),
            ("\0\x7f", "\\x00\\x7f"),
        ] {
            assert_eq!(escape(text), safe);
        }
    }

    #[test]
    fn long_text_is_cut_between_characters_and_escapes() {
        for text in ["x".repeat(5000), "é".repeat(5000), "\n".repeat(5000), "\u{10ffff}".repeat(999)] {
            let safe = escape(&text);
            assert!(safe.len() <= MAX_TEXT + '…'.len_utf8(), "{}", safe.len());
            assert!(safe.ends_with('…'));
        }
        assert_eq!(escape(&"x".repeat(MAX_TEXT)).len(), MAX_TEXT);
    }

    proptest::proptest! {
        #[test]
        fn no_text_at_all_gets_a_control_character_through(text in "\\PC*|[\\x00-\\u{10ffff}]*|[\\x00-\\x7f\\u{80}-\\u{9f}]{0,2000}") {
            let safe = escape(&text);
            assert!(safe.len() <= MAX_TEXT + '…'.len_utf8());
            assert!(!safe.chars().any(|c| c.is_control() || is_deceptive(c)), "{safe:?}");
        }
    }

    #[test]
    fn times_are_iso_8601_in_utc_and_any_number_is_a_time() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_700_828_217_314_165, "2023-11-24T12:16:57.314165Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(iso(PacketTime(micros)), text);
        }
        assert!(iso(PacketTime(i64::MAX)).starts_with("9999"));
        assert!(iso(PacketTime(i64::MIN)).starts_with("-00"));
    }

    #[test]
    fn lines_have_the_form_of_alerts_log() {
        let mut seen = evidence(1);
        assert_eq!(
            evidence_line(&seen),
            "2023-11-24T12:16:57.314165Z (TW 472452): Src IP 192.0.2.1                 . \
             Detected vertical port scan of 30 ports. Threat level: high. Confidence: 0.90."
        );
        seen.count = 3;
        seen.finding.attacker = Entity::Domain("evil\n.example".into());
        assert_eq!(
            evidence_line(&seen),
            "2023-11-24T12:16:57.314165Z (TW 472452): Src domain evil\\n.example. \
             Detected vertical port scan of 30 ports. Threat level: high. Confidence: 0.90. Seen 3 times. Seen at 192.0.2.1."
        );
        assert_eq!(
            alert_line(&alert(vec![evidence(1), evidence(2)])),
            "2023-11-24T12:16:57.314165Z: Src IP 192.0.2.1                 . \
             Generated an alert given enough evidence on timewindow 472452. Evidence: 2, weight: 15.20, confidence: 0.58."
        );
    }
}
