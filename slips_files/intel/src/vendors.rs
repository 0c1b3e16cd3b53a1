//! Who made a network card, by the registry of the IEEE: the first 24, 28 or 36 bits of a hardware address.
//!
//! Reads the registry in the forms in which it comes: the IEEE's own `oui.csv` and `oui.txt`, Nmap's `nmap-mac-prefixes`, Wireshark's
//! `manuf`. A file is read through once per question, which takes some milliseconds and no memory: only people ask.

use std::io::{self, BufRead};

use slips_core::flow::MacAddr;

/// The maker of a card in a registry; the longest prefix decides. `None` when the registry does not have it, and for addresses that are
/// made up by their host (the bit for local administration), as phones do for each network.
///
/// # Errors
/// When the registry cannot be read.
pub fn maker(registry: impl BufRead, mac: MacAddr) -> io::Result<Option<String>> {
    if is_local(mac) {
        return Ok(None);
    }
    let wanted = digits(mac);
    let mut best: Option<(usize, String)> = None;
    for line in registry.split(b'\n').take(MOST_LINES) {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let Some((prefix, name)) = entry(line.trim_end()) else { continue };
        let longer = best.as_ref().is_none_or(|(length, _)| *length < prefix.len());
        if longer && wanted.starts_with(&prefix) && !name.is_empty() {
            best = Some((prefix.len(), name.chars().take(MOST_LETTERS).collect()));
        }
    }
    Ok(best.map(|(_, name)| name))
}

/// How many makers a registry has.
///
/// # Errors
/// When it cannot be read.
pub fn count(registry: impl BufRead) -> io::Result<u64> {
    let mut makers = 0;
    for line in registry.split(b'\n').take(MOST_LINES) {
        makers += u64::from(entry(String::from_utf8_lossy(&line?).trim_end()).is_some());
    }
    Ok(makers)
}

/// Whether a host made its hardware address up.
pub const fn is_local(mac: MacAddr) -> bool {
    mac.0[0] & 2 != 0
}

fn digits(mac: MacAddr) -> String {
    mac.to_string().replace(':', "").to_ascii_uppercase()
}

/// A line of any of the forms: the prefix in hexadecimal capitals, and the maker.
fn entry(line: &str) -> Option<(String, &str)> {
    // oui.csv: MA-L,002272,"American Micro-Fuel Device Corp.",2181 Buchanan Loop …
    if let Some(rest) = ["MA-L,", "MA-M,", "MA-S,"].iter().find_map(|kind| line.strip_prefix(kind)) {
        let (prefix, rest) = rest.split_once(',')?;
        let name = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => rest.split(',').next(),
        };
        return Some((hex(prefix, 0)?, name?.trim()));
    }
    // oui.txt: 00-22-72   (hex)		American Micro-Fuel Device Corp.
    if let Some((prefix, name)) = line.split_once("(hex)") {
        return Some((hex(prefix.trim(), 0)?, name.trim()));
    }
    // manuf: 00:1B:C5:00:00:00/36	Converging	Converging Systems Inc. — nmap-mac-prefixes: 001BC5000 Converging Systems
    let (prefix, name) = line.split_once(|c: char| c.is_ascii_whitespace())?;
    let (prefix, bits) = match prefix.split_once('/') {
        Some((prefix, bits)) => (prefix, bits.parse().ok()?),
        None => (prefix, 0),
    };
    let name = name.trim();
    Some((hex(prefix, bits)?, name.split_once('\t').map_or(name, |(_, long)| long.trim())))
}

/// The digits of a prefix of 24 to 36 bits, or of the first `bits`.
fn hex(text: &str, bits: usize) -> Option<String> {
    let mut prefix: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    if bits > 0 {
        prefix.truncate(bits / 4);
    }
    let fits = (6..=9).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_hexdigit());
    prefix.make_ascii_uppercase();
    fits.then_some(prefix)
}

/// The registry has some 50,000 entries, in `oui.txt` of six lines each.
const MOST_LINES: usize = 2_000_000;
const MOST_LETTERS: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(registry: &str, mac: &str) -> Option<String> {
        maker(registry.as_bytes(), MacAddr::parse(mac).expect("a MAC")).expect("read")
    }

    #[test]
    fn each_form_of_the_registry_is_read() {
        for registry in [
            "Registry,Assignment,Organization Name,Organization Address\nMA-L,00226B,\"Example, Inc.\",1 Way\nMA-L,002272,Other,2 Way\n",
            "OUI/MA-L  Organization\n\n00-22-6B   (hex)\t\tExample, Inc.\n00226B     (base 16)\t\tExample, Inc.\n\t\t1 Way\n",
            "# comment\n00226B Example, Inc.\n002272 Other\n",
            "00:22:6B\tExample\tExample, Inc.\n00:22:72\tOther\tOther Ltd\n",
        ] {
            assert_eq!(of(registry, "00:22:6b:01:02:03").as_deref(), Some("Example, Inc."), "{registry}");
            assert_eq!(of(registry, "00:22:6c:01:02:03"), None, "{registry}");
        }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let registry =
            "001BC5 Registry of small blocks\n001BC5000 Small One\n00:1B:C5:10:00:00/28\tMid\tMiddle Ltd\n";
        assert_eq!(of(registry, "00:1b:c5:00:01:02").as_deref(), Some("Small One"));
        assert_eq!(of(registry, "00:1b:c5:11:01:02").as_deref(), Some("Middle Ltd"));
        assert_eq!(of(registry, "00:1b:c5:77:01:02").as_deref(), Some("Registry of small blocks"));
    }

    #[test]
    fn made_up_addresses_have_no_maker_and_odd_lines_are_passed_over() {
        assert_eq!(of("02226B Somebody\n", "02:22:6b:01:02:03"), None);
        let odd = format!(
            "\nx\n00226\nzzzzzz No\n00226B\n/ \n00226B/x y\n{}\n\u{fffd} \u{fffd}\n",
            "A".repeat(100_000)
        );
        assert_eq!(of(&odd, "00:22:6b:01:02:03"), None);
    }
}
