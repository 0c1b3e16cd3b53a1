//! Program and version out of what software calls itself.

/// What was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) name: String,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
}

/// Takes a text apart; `None` when it names no program.
pub(super) fn parse(text: &str) -> Option<Version> {
    if text.starts_with("Mozilla/") || text.starts_with("Opera/") {
        return Some(browser(text));
    }
    let at = version_at(text);
    let (name, rest) = text.split_at(at.unwrap_or(text.len()));
    let name = name.trim_end_matches(['/', '-', '_', ' ', '(']);
    let name = name.strip_suffix(" v").or_else(|| name.strip_suffix("/v")).unwrap_or(name).trim();
    if name.is_empty() {
        return None;
    }
    let (major, minor) = numbers(rest);
    Some(Version { name: name.to_owned(), major, minor })
}

/// Where a version begins: a digit behind a separator, of which more than one letter belongs to it.
fn version_at(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_' | b',' | b' ');
    (1..bytes.len()).find(|at| {
        let rest = bytes.get(*at..).unwrap_or(&[]);
        let before = bytes.get(at - 1).copied().unwrap_or(0);
        let begins = matches!(before, b'/' | b' ' | b'_' | b'-' | b'(' | b'v');
        let single = rest.len() == 1;
        begins
            && rest.first().is_some_and(u8::is_ascii_digit)
            && (single || rest.get(1).is_some_and(|next| is_part(next) || !next.is_ascii_alphanumeric()))
    })
}

/// The first two numbers of `8.9p1`.
fn numbers(text: &str) -> (Option<u32>, Option<u32>) {
    let text = text.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let mut parts = text.split(['-', '.', '_', ',', '(', '{', '[', ' ']);
    let mut number = || {
        let part = parts.next()?;
        let digits = part.len() - part.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        part.get(..digits)?.parse().ok()
    };
    (number(), number())
}

/// Browsers pretend to be each other; what they are stands late.
fn browser(text: &str) -> Version {
    const MARKS: [(&str, &str); 14] = [
        ("Edge/", "Edge"),
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Opera Mini/", "Opera Mini"),
        ("Thunderbird/", "Thunderbird"),
        ("Firefox/", "Firefox"),
        ("Netscape/", "Netscape"),
        ("Chrome/", "Chrome"),
        ("Flash%20Player/", "Flash"),
        ("AdobeAIR/", "AdobeAIR"),
        ("MSIE ", "MSIE"),
        ("Trident/7.0; rv:", "MSIE"),
        ("Version/", "Safari"),
        ("AppleWebKit/", "Unspecified WebKit"),
    ];
    let found = MARKS.iter().find_map(|(mark, name)| {
        let rest = text.split_once(mark)?.1;
        rest.starts_with(|letter: char| letter.is_ascii_digit()).then_some((*name, rest))
    });
    let (name, rest) = match found {
        Some((_, rest)) if text.starts_with("Opera/") => ("Opera", rest),
        Some(found) => found,
        None => text.split_once('/').unwrap_or((text, "")),
    };
    let (major, minor) = numbers(rest);
    Version { name: name.to_owned(), major, minor }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn programs_and_versions() {
        for (text, name, major, minor) in [
            ("OpenSSH_8.1", "OpenSSH", Some(8), Some(1)),
            ("OpenSSH_8.9p1 Ubuntu-3", "OpenSSH", Some(8), Some(9)),
            ("Linux/2.6.36, UPnP/1.0, Portable SDK", "Linux", Some(2), Some(6)),
            ("Apache/2.4.41 (Ubuntu)", "Apache", Some(2), Some(4)),
            ("nginx", "nginx", None, None),
            ("dropbear_2020.81", "dropbear", Some(2020), Some(81)),
            ("libssh2_1.10.0", "libssh2", Some(1), Some(10)),
            ("curl/7.88.1", "curl", Some(7), Some(88)),
            ("ProFTPD 1.3.5 Server", "ProFTPD", Some(1), Some(3)),
            ("PHP/8.1", "PHP", Some(8), Some(1)),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:102.0) Gecko/20100101 Firefox/102.0",
                "Firefox",
                Some(102),
                Some(0),
            ),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", "MSIE", Some(6), Some(0)),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/86.0.4240.75 Safari/537.36",
                "Chrome",
                Some(86),
                Some(0),
            ),
            ("Mozilla/5.0", "Mozilla", Some(5), Some(0)),
        ] {
            let expected = Version { name: name.to_owned(), major, minor };
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        assert_eq!(parse("/1.0"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_no_harm(text in ".{0,80}", tail in "[ /_.v0-9-]{0,20}") {
            parse(&format!("{text}{tail}"));
            parse(&format!("Mozilla/{text}{tail}"));
        }
    }
}
