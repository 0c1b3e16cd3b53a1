//! Lines of HTTP messages.

use crate::apps::{Attempt, sasl};

/// Longest texts that are kept.
const MAX_TEXT: usize = 8 << 10;

/// Bytes as text: what is not UTF-8 and not printable as `\xNN`.
pub(super) fn text(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MAX_TEXT).unwrap_or(bytes);
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// A URI with its `%XX` decoded.
pub(super) fn uri(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MAX_TEXT).unwrap_or(bytes);
    if !bytes.contains(&b'%') {
        return text(bytes);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let pair = match behind {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match pair {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = behind.get(2..).unwrap_or(&[]);
            }
            None => {
                decoded.push(*first);
                rest = behind;
            }
        }
    }
    text(&decoded)
}

/// The first line of a request.
#[derive(Debug, PartialEq)]
pub(super) struct Request<'a> {
    pub(super) method: &'a [u8],
    pub(super) uri: &'a [u8],
    /// `None` where the line names none: HTTP 0.9.
    pub(super) version: Option<&'a [u8]>,
}

const fn is_token(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        || byte.is_ascii_alphanumeric()
}

/// `HTTP/` and the version behind it, at the start of `bytes`.
fn version(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = bytes.split_at_checked(5)?;
    if !name.eq_ignore_ascii_case(b"HTTP/") {
        return None;
    }
    let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(rest.len());
    let (version, rest) = rest.split_at(end);
    matches!(version, [b'0'..=b'9', ..]).then_some((version, rest))
}

impl<'a> Request<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let end = line.iter().position(|byte| !is_token(*byte))?;
        let (method, rest) = line.split_at(end);
        if method.is_empty() || !matches!(rest.first(), Some(b' ' | b'\t')) {
            return None;
        }
        let rest = rest.trim_ascii();
        let at = if version(rest).is_some() {
            Some(0)
        } else {
            let is_version = |at: &usize| rest.get(at + 1..).and_then(version).is_some();
            (0..rest.len()).rev().filter(|at| rest.get(*at) == Some(&b' ')).take(4).find(is_version)
        };
        Some(match at {
            Some(at) => {
                let (uri, behind) = rest.split_at(at);
                let version = version(behind.trim_ascii_start()).map(|(version, _)| version);
                Self { method, uri: uri.trim_ascii(), version }
            }
            None => Self { method, uri: rest, version: None },
        })
    }
}

/// The first line of a reply.
#[derive(Debug, PartialEq)]
pub(super) struct Status<'a> {
    pub(super) version: &'a [u8],
    pub(super) code: u16,
    pub(super) reason: &'a [u8],
}

impl<'a> Status<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (version, rest) = version(line)?;
        let rest = rest.trim_ascii_start();
        let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len()).min(5);
        let (digits, reason) = rest.split_at(end);
        let code = digits.iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        let code = u16::try_from(code).ok().filter(|_| !digits.is_empty())?;
        Some(Self { version, code, reason: reason.trim_ascii() })
    }
}

/// Name and value of a header.
pub(super) fn header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
}

/// A decimal number; `None` when it is none or too large.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(bytes.get(..digits)?).ok()?.parse().ok()
}

/// The length of a chunk.
pub(super) fn chunk_length(line: &[u8]) -> Option<u64> {
    let line = line.trim_ascii();
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    u64::from_str_radix(std::str::from_utf8(line.get(..digits)?).ok()?, 16).ok()
}

/// The length of the whole file in a `Content-Range`.
pub(super) fn range_total(value: &[u8]) -> Option<u64> {
    let slash = value.iter().position(|byte| *byte == b'/')?;
    number(value.get(slash + 1..)?)
}

/// Whether Zeek's script knows a method: those of HTTP itself, of WebDAV and of Exchange.
pub(super) fn is_known_method(method: &[u8]) -> bool {
    const KNOWN: [&[u8]; 20] = [
        b"GET",
        b"POST",
        b"HEAD",
        b"OPTIONS",
        b"PUT",
        b"DELETE",
        b"TRACE",
        b"CONNECT",
        b"PROPFIND",
        b"PROPPATCH",
        b"MKCOL",
        b"COPY",
        b"MOVE",
        b"LOCK",
        b"UNLOCK",
        b"POLL",
        b"REPORT",
        b"SUBSCRIBE",
        b"BMOVE",
        b"SEARCH",
    ];
    KNOWN.contains(&method)
}

/// Who logs in by a header of authorisation, and how.
pub(super) fn attempt(value: &[u8]) -> Option<Attempt> {
    let end = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at(end);
    if scheme.eq_ignore_ascii_case(b"basic") {
        let decoded = sasl::decode(rest.trim_ascii());
        // what has no colon is no user's name, but may be a secret
        let (user, password) = decoded.split_at(decoded.iter().position(|byte| *byte == b':')?);
        let (user, clear_password) = (text(user), password.len() > 1);
        return Some(Attempt { clear_password, ..Attempt::of(user, BASIC) });
    }
    if !scheme.eq_ignore_ascii_case(b"digest") {
        return None;
    }
    let at = rest.windows(10).position(|part| part == b"username=\"")?;
    let user = rest.get(at + 10..)?.split(|byte| *byte == b'"').next()?;
    Some(Attempt::of(text(user), "digest"))
}

/// The method whose user stands in the log of requests.
pub(super) const BASIC: &str = "basic";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(line: &str, expected: Option<(&str, &str, Option<&str>)>) {
        let text = |bytes| std::str::from_utf8(bytes).expect("text");
        let request = Request::parse(line.as_bytes());
        let found = request.as_ref().map(|r| (text(r.method), text(r.uri), r.version.map(text)));
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn request_lines_of_all_kinds() {
        check("GET / HTTP/1.1", Some(("GET", "/", Some("1.1"))));
        check("GET /a b HTTP/1.0", Some(("GET", "/a b", Some("1.0"))));
        check("OPTIONS HTTP/1.0", Some(("OPTIONS", "", Some("1.0"))));
        check("GET /HTTP/1.1", Some(("GET", "/HTTP/1.1", None)));
        check("GET /index.html http/1.1", Some(("GET", "/index.html", Some("1.1"))));
        check("GET/ HTTP/1.1", None);
        check(" GET / HTTP/1.1", None);
        check("Host: a", None);
        check("", None);
    }

    #[test]
    fn headers_and_numbers() {
        assert_eq!(header(b"Host:  a.b:80 "), Some((&b"Host"[..], &b"a.b:80"[..])));
        assert_eq!(number(b"12abc"), Some(12));
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b"99999999999999999999999"), None);
        assert_eq!(chunk_length(b"1A; name=value"), Some(26));
        assert_eq!(chunk_length(b"fffffffffffffffff"), None);
        assert_eq!(range_total(b"bytes 0-9/100"), Some(100));
        let found = attempt(b"Basic dGVzdDoxMjM0").expect("attempt");
        assert_eq!((found.user.as_str(), found.clear_password), ("test", true));
        assert_eq!(attempt(b"Basic c2VjcmV0"), None);
        let found = attempt(b"Digest realm=\"a\", username=\"joe\", uri=\"/\"").expect("attempt");
        assert_eq!((found.user.as_str(), found.method.as_str()), ("joe", "digest"));
        assert_eq!(attempt(b"Bearer abc"), None);
        assert_eq!(uri(b"/a%20b%zz%C3%A9%ff"), "/a b%zz\u{e9}\\xff");
        let status = Status::parse(b"HTTP/1.1 404 Not Found").expect("status");
        assert_eq!((status.version, status.code, status.reason), (&b"1.1"[..], 404, &b"Not Found"[..]));
    }

    proptest! {
        #[test]
        fn arbitrary_lines_are_no_harm(line in prop::collection::vec(any::<u8>(), 0..100)) {
            Request::parse(&line);
            Status::parse(&line);
            header(&line);
            attempt(&[b"Basic ", line.as_slice()].concat());
            attempt(&[b"Digest ", line.as_slice()].concat());
            uri(&line);
        }
    }
}
