//! What can be told from a domain name.

use slips_core::addr;
use slips_core::event::About;

/// Zones that are private, or for other questions than who a host is.
const SPECIAL: [&str; 14] = [
    "arpa",
    "local",
    "localhost",
    "lan",
    "home",
    "internal",
    "intranet",
    "private",
    "corp",
    "localdomain",
    "test",
    "invalid",
    "onion",
    "example",
];

/// Asked of a server, by DNS: not mDNS, not LLMNR, not a group.
pub fn is_unicast_dns(about: &About) -> bool {
    !matches!(about.dst.port, 5353 | 5355) && addr::is_interesting(about.dst.addr)
}

/// The name is of a private zone, a reverse lookup, or no domain at all.
pub fn is_special(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.rsplit_once('.') {
        None => true,
        Some((_, zone)) => {
            zone.is_empty() || SPECIAL.iter().any(|special| special.eq_ignore_ascii_case(zone))
        }
    }
}

/// The part of a name that somebody registered: the last two labels, three where the second-last is as short as in `co.uk`.
/// A guess that is good enough to count by; `None` for special names.
pub fn registered(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if is_special(name) {
        return None;
    }
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let last = dots.next()?;
    let Some(second) = dots.next() else { return Some(name) };
    if last - second - 1 > 3 {
        return name.get(second + 1..);
    }
    match dots.next() {
        Some(third) => name.get(third + 1..),
        None => Some(name),
    }
}

/// Whether the first label of a registered domain looks as if nobody could pronounce it.
pub fn looks_random(domain: &str) -> bool {
    let label = domain.split('.').next().unwrap_or_default().as_bytes();
    if label.len() < 8 || label.starts_with(b"xn--") {
        return false;
    }
    let (mut vowels, mut letters, mut run, mut longest, mut switches) = (0u32, 0u32, 0u32, 0u32, 0u32);
    let mut digit_before = None;
    for byte in label {
        if *byte == b'-' {
            (run, digit_before) = (0, None);
            continue;
        }
        let digit = byte.is_ascii_digit();
        switches += u32::from(digit_before.is_some_and(|before| before != digit));
        digit_before = Some(digit);
        let vowel = matches!(byte.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
        letters += u32::from(!digit);
        vowels += u32::from(vowel);
        run = if digit || vowel { 0 } else { run + 1 };
        longest = longest.max(run);
    }
    longest >= 5 || switches >= 4 || (letters >= 8 && vowels * 5 < letters)
}

/// For each letter the letters that follow it in at least 3 of 10,000 pairs of English text, the lowest bit for `a`: counted in 660,000
/// pairs of licence texts and documentation.
const FOLLOWS: [u32; 26] = [
    0x13e_bd6e, 0x016_4b11, 0x01e_4d95, 0x016_4919, 0x1ef_fb7d, 0x11a_4131, 0x016_6991, 0x01a_4111,
    0x22e_f87f, 0x004_0011, 0x004_0111, 0x11c_491b, 0x014_d913, 0x13c_797d, 0x07e_ff7f, 0x11e_c911,
    0x010_0000, 0x13e_7d5d, 0x11c_cd95, 0x15e_c9b5, 0x00e_b97f, 0x000_4111, 0x006_6191, 0x008_8115,
    0x00e_e101, 0x000_0010,
];

/// Whether one letter may follow another in a language; other signs may follow anything.
fn may_follow(one: u8, other: u8) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase().then(|| usize::from(byte - b'a'));
    match (letter(one), letter(other)) {
        (Some(one), Some(other)) => FOLLOWS.get(one).is_none_or(|follows| follows >> other & 1 == 1),
        _ => true,
    }
}

/// Whether the first label of a registered domain looks as if an algorithm had made it: see `dga_names` for the numbers.
pub fn looks_made(domain: &str) -> bool {
    let label = domain.split('.').next().unwrap_or_default().as_bytes();
    if label.len() < 8 || label.starts_with(b"xn--") {
        return false;
    }
    let digits = label.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = label.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    if label.len() >= 16 && digits > 0 && label.iter().all(u8::is_ascii_hexdigit) {
        return true;
    }
    if digits >= 4 && letters >= 4 && digits * 3 >= label.len() {
        return true;
    }
    let pairs = label.windows(2).filter(|pair| pair.iter().all(u8::is_ascii_alphabetic)).count();
    let odd =
        label.windows(2).filter(|pair| matches!(pair, [one, other] if !may_follow(*one, *other))).count();
    pairs >= 6 && odd * 5 >= pairs * 2
}

/// Shannon entropy of bytes in bits.
pub fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = bytes.len().max(1) as f64;
    let share = |count: &u32| f64::from(*count) / total;
    counts.iter().filter(|count| **count > 0).map(|count| -share(count) * share(count).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registered_part_of_a_name() {
        for (name, expected) in [
            ("www.example.org", Some("example.org")),
            ("example.org.", Some("example.org")),
            ("a.b.example.co.uk", Some("example.co.uk")),
            ("bbc.com", Some("bbc.com")),
            ("printer.local", None),
            ("1.0.168.192.in-addr.arpa", None),
            ("wpad", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(registered(name), expected, "{name}");
        }
    }

    #[test]
    fn names_that_nobody_can_pronounce() {
        for name in ["qxkzjwvbnm.com", "a1b2c3d4e5.net", "hjfzmtkrle.biz", "wlkrtnbvca.org"] {
            assert!(looks_random(name), "{name}");
        }
        for name in
            ["wikipedia.org", "stackoverflow.com", "office365.com", "xn--bcher-kva8d.example", "cdn77.org"]
        {
            assert!(!looks_random(name), "{name}");
        }
    }

    #[test]
    fn entropy_is_in_bits() {
        assert!(entropy(b"").abs() < 1e-9 && entropy(b"aaaa").abs() < 1e-9);
        assert!((entropy(b"abcd") - 2.0).abs() < 1e-9);
    }
}
