//! A mail taken apart (RFC 2045, 2046): headers, boundaries, transfer codings. Each part that is no list of parts is a file.

use crate::files::Body;
use crate::reader::Cx;
use crate::reader::lines::MAX_LINE;
use crate::track::Dir;

/// Lists of parts within each other; what lies deeper is one file.
const MAX_DEPTH: usize = 8;
/// RFC 2046 allows boundaries of 70 bytes.
const MAX_BOUNDARY: usize = 70;
/// Bytes of a header with its continuations that are looked at.
const MAX_HEADER: usize = 2048;
/// Names of files that are kept for the mail's record.
pub(super) const MAX_FILES: usize = 32;

/// How a part's content is coded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Coding {
    #[default]
    Plain,
    Base64,
    Quoted,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Headers,
    /// The content of a file.
    Content,
    /// Before, between or after the parts of a list.
    Between,
}

/// Six bits at a time.
#[derive(Debug, Default)]
struct Sextets {
    bits: u32,
    count: u8,
}

/// One mail, line by line.
#[derive(Debug, Default)]
pub(super) struct Mail {
    state: State,
    /// Boundaries of the lists that are open, outermost first.
    boundaries: Vec<Vec<u8>>,
    subject: String,
    /// The header at hand, unfolded.
    header: Vec<u8>,
    /// What the headers of the part at hand say.
    coding: Coding,
    boundary: Vec<u8>,
    holds_mail: bool,
    body: Body,
    sextets: Sextets,
    /// Room for a decoded line.
    plain: Vec<u8>,
    /// A line end that belongs to the content only if content follows: the last one is the boundary's.
    owes_line_end: bool,
    fuids: Vec<String>,
}

impl Mail {
    /// Forgets everything but the memory.
    pub(super) fn reset(&mut self, engines: &mut crate::files::Engines) {
        self.body.abandon(engines);
        let (mut header, body) = (std::mem::take(&mut self.header), std::mem::take(&mut self.body));
        let plain = std::mem::take(&mut self.plain);
        header.clear();
        *self = Self { header, body, plain, ..Self::default() };
    }

    /// The subject of the last mail; it is handed over.
    pub(super) fn subject(&mut self) -> String {
        std::mem::take(&mut self.subject)
    }

    pub(super) fn held(&self) -> usize {
        self.header.len() + self.body.held() + self.boundaries.iter().map(Vec::len).sum::<usize>()
    }

    /// The files so far; they are handed over.
    pub(super) fn files(&mut self) -> Vec<String> {
        std::mem::take(&mut self.fuids)
    }

    /// Takes a line without its end.
    pub(super) fn line(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        if let Some(rest) = line.strip_prefix(b"--")
            && self.at_boundary(rest, cx)
        {
            return;
        }
        match self.state {
            State::Between => {}
            State::Content => self.content(line, cx),
            State::Headers if line.is_empty() => self.headers_over(cx),
            State::Headers if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) => {
                self.add_header(line)
            }
            State::Headers => {
                self.header_over();
                self.add_header(line);
            }
        }
    }

    /// Lines are missing.
    pub(super) fn lose(&mut self) {
        self.body.lose(0);
        self.header.clear();
    }

    /// The mail is over; `is_whole` if its end was seen.
    pub(super) fn finish(&mut self, is_whole: bool, cx: &mut Cx<'_>) {
        self.end_part(is_whole && self.boundaries.is_empty(), cx);
        self.state = State::Headers;
        self.boundaries.clear();
        self.begin_part();
    }

    fn add_header(&mut self, line: &[u8]) {
        let room = MAX_HEADER.saturating_sub(self.header.len());
        self.header.extend_from_slice(line.get(..room).unwrap_or(line));
    }

    fn begin_part(&mut self) {
        self.header.clear();
        self.boundary.clear();
        self.coding = Coding::Plain;
        self.holds_mail = false;
    }

    /// Whether `rest`, behind two dashes, is the boundary of an open list. If so, that list goes on, or is over.
    fn at_boundary(&mut self, rest: &[u8], cx: &mut Cx<'_>) -> bool {
        let opens = |boundary: &Vec<u8>| {
            let rest = rest.strip_prefix(boundary.as_slice())?;
            let (is_last, rest) = rest.strip_prefix(b"--").map_or((false, rest), |rest| (true, rest));
            rest.trim_ascii().is_empty().then_some(is_last)
        };
        let found =
            self.boundaries.iter().enumerate().rev().find_map(|(at, boundary)| Some((at, opens(boundary)?)));
        let Some((at, is_last)) = found else { return false };
        self.end_part(true, cx);
        self.begin_part();
        self.boundaries.truncate(if is_last { at } else { at + 1 });
        self.state = if is_last { State::Between } else { State::Headers };
        true
    }

    /// The header at hand is whole.
    fn header_over(&mut self) {
        let header = std::mem::take(&mut self.header);
        if let Some(colon) = header.iter().position(|byte| *byte == b':') {
            let (name, value) = header.split_at(colon);
            let value = value.get(1..).unwrap_or(&[]).trim_ascii();
            // that of the mail itself, not of one that it holds
            if name.eq_ignore_ascii_case(b"subject") && self.boundaries.is_empty() && self.subject.is_empty()
            {
                self.subject = crate::apps::short(value);
            }
            if name.eq_ignore_ascii_case(b"content-type") {
                let lower = value.to_ascii_lowercase();
                self.holds_mail = lower.starts_with(b"message/rfc822");
                self.boundary.clear();
                if lower.starts_with(b"multipart/") {
                    self.boundary.extend_from_slice(boundary(value, &lower).unwrap_or(&[]));
                }
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                self.coding = match value.to_ascii_lowercase().as_slice() {
                    b"base64" => Coding::Base64,
                    b"quoted-printable" => Coding::Quoted,
                    _ => Coding::Plain,
                };
            }
        }
        self.header = header;
        self.header.clear();
    }

    fn headers_over(&mut self, cx: &mut Cx<'_>) {
        self.header_over();
        if !self.boundary.is_empty() && self.boundaries.len() < MAX_DEPTH {
            self.boundaries.push(std::mem::take(&mut self.boundary));
            self.state = State::Between;
        } else if self.holds_mail {
            self.begin_part();
        } else {
            self.state = State::Content;
            self.sextets = Sextets::default();
            self.owes_line_end = false;
            self.body.begin(None, None, &mut cx.tools.files);
        }
    }

    fn content(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        if line.len() >= MAX_LINE {
            // the rest of so long a line was dropped
            self.body.lose(0);
        }
        let engines = &mut cx.tools.files;
        self.plain.clear();
        match self.coding {
            Coding::Plain => {
                if self.owes_line_end {
                    self.body.take(b"\r\n", engines);
                }
                self.body.take(line, engines);
                self.owes_line_end = !self.boundaries.is_empty();
                if !self.owes_line_end {
                    self.body.take(b"\r\n", engines);
                }
            }
            Coding::Quoted => {
                unquote(line, &mut self.plain);
                self.body.take(&self.plain, engines);
            }
            Coding::Base64 => {
                self.sextets.decode(line, &mut self.plain);
                self.body.take(&self.plain, engines);
            }
        }
    }

    fn end_part(&mut self, is_whole: bool, cx: &mut Cx<'_>) {
        if self.state != State::Content {
            return;
        }
        if let Some(told) = self.body.end("SMTP", Dir::Orig, is_whole, cx)
            && self.fuids.len() < MAX_FILES
        {
            self.fuids.push(told.fuid.as_str().to_owned());
        }
    }
}

/// The boundary that a content type names; `lower` is the same in lower case.
fn boundary<'a>(value: &'a [u8], lower: &[u8]) -> Option<&'a [u8]> {
    const NAME: &[u8] = b"boundary=";
    let at = lower.windows(NAME.len()).position(|part| part == NAME)? + NAME.len();
    let rest = value.get(at..)?;
    let named = match rest.strip_prefix(b"\"") {
        Some(quoted) => quoted.split(|byte| *byte == b'"').next()?,
        None => rest.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next()?,
    };
    (!named.is_empty() && named.len() <= MAX_BOUNDARY).then_some(named)
}

impl Sextets {
    /// Decodes a line. What is no letter of base 64 is passed over.
    fn decode(&mut self, line: &[u8], plain: &mut Vec<u8>) {
        for byte in line {
            let sextet = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => continue,
            };
            self.bits = self.bits << 6 | u32::from(sextet);
            self.count += 1;
            // After two letters the first byte is known, after three the second, after four the third.
            let shift = match self.count {
                2 => 4,
                3 => 2,
                4 => 0,
                _ => continue,
            };
            plain.push((self.bits >> shift & 0xff) as u8);
            self.count %= 4;
        }
    }
}

/// Decodes a line of quoted-printable. An equals sign at its end joins it with the next line.
fn unquote(line: &[u8], plain: &mut Vec<u8>) {
    let hex = |byte: &u8| char::from(*byte).to_digit(16);
    let mut rest = line.trim_ascii_end();
    let mut is_joined = false;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match (byte, behind) {
            (b'=', []) => is_joined = true,
            (b'=', [high, low, after @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                let digits = hex(high).zip(hex(low)).map_or(0, |(high, low)| high * 16 + low);
                plain.push(digits as u8);
                rest = after;
            }
            _ => plain.push(*byte),
        }
    }
    if !is_joined {
        plain.extend(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_undone_however_the_letters_are_cut() {
        let mut sextets = Sextets::default();
        let mut all = Vec::new();
        for line in [&b"aGVs"[..], b"bG", b"8sIHdv\r", b"cmxkIQ=="] {
            sextets.decode(line, &mut all);
        }
        assert_eq!(all, b"hello, world!");
        for (line, expected) in [
            (&b"a=3Db  "[..], &b"a=b\r\n"[..]),
            (b"joined=", b"joined"),
            (b"caf=C3=A9=", b"caf\xc3\xa9"),
            (b"odd =ZZ", b"odd =ZZ\r\n"),
        ] {
            let mut plain = Vec::new();
            unquote(line, &mut plain);
            assert_eq!(plain, expected);
        }
    }

    #[test]
    fn boundaries_are_found_in_content_types() {
        for (value, expected) in [
            (&b"multipart/mixed; boundary=\"a b\"; charset=x"[..], Some(&b"a b"[..])),
            (b"multipart/mixed; Boundary=xyz; charset=x", Some(b"xyz")),
            (b"multipart/mixed; boundary=\"\"", None),
            (b"multipart/mixed", None),
        ] {
            assert_eq!(boundary(value, &value.to_ascii_lowercase()), expected);
        }
    }
}
