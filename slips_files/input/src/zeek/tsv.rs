//! Zeek's own format: tab-separated columns under a header that names them.

use memchr::{memchr, memchr_iter};

use super::row::{Dialect, Names, Raw, Row};
use crate::report::{Reason, Reject};

const IGNORED: usize = usize::MAX;
/// More columns than this has no log.
const MAX_FIELDS: usize = 512;
/// Between the last columns of some published labelled logs stand three spaces instead of a tab.
const SPACES: &[u8] = b"   ";

/// What the header says about the rows under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    separator: u8,
    set_separator: u8,
    empty: Vec<u8>,
    unset: Vec<u8>,
    /// `#path`: which log this is.
    pub(crate) path: String,
    /// `#fields`: the columns.
    pub(crate) fields: Vec<String>,
    spaced: bool,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            separator: b'\t',
            set_separator: b',',
            empty: b"(empty)".to_vec(),
            unset: b"-".to_vec(),
            path: String::new(),
            fields: Vec::new(),
            spaced: false,
        }
    }
}

/// What a header line changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that matters to the rows.
    Nothing,
    /// A new header begins.
    Begins,
    /// The columns are known now.
    Fields,
}

impl Header {
    /// Takes a line that begins with `#`.
    pub(crate) fn take(&mut self, line: &[u8]) -> Result<Change, Reject> {
        let bad = Reject::new(Reason::BadHeader);
        if let Some(rest) = line.strip_prefix(b"#separator") {
            *self = Self::default();
            self.separator = single(rest.trim_ascii_start()).ok_or(bad)?;
            return Ok(Change::Begins);
        }
        let mut parts = line.splitn(2, |byte| *byte == self.separator);
        let (key, value) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
        match key {
            b"#set_separator" => self.set_separator = single(value).ok_or(bad)?,
            b"#empty_field" => self.empty = unescape(value),
            b"#unset_field" => self.unset = unescape(value),
            b"#path" => self.path = String::from_utf8_lossy(value).into_owned(),
            b"#fields" => {
                self.name_columns(value)?;
                return Ok(Change::Fields);
            }
            _ => {}
        }
        Ok(Change::Nothing)
    }

    fn name_columns(&mut self, value: &[u8]) -> Result<(), Reject> {
        let separator = self.separator;
        let mut fields: Vec<&[u8]> = value.split(|byte| *byte == separator).take(MAX_FIELDS + 1).collect();
        let last = fields.pop().unwrap_or(b"");
        let before = fields.len();
        fields.extend(spaced(last));
        self.spaced = fields.len() > before + 1;
        if fields.len() > MAX_FIELDS {
            return Err(Reject::new(Reason::BadHeader));
        }
        self.fields = fields.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        Ok(())
    }

    /// Which slot each column goes to.
    pub(crate) fn map(&self, names: Names) -> Vec<usize> {
        let slot =
            |field: &String| names.iter().find(|(name, _)| name == field).map_or(IGNORED, |(_, slot)| *slot);
        self.fields.iter().map(slot).collect()
    }

    /// How the rows write lists and escapes.
    pub(crate) fn dialect(&self) -> Dialect {
        Dialect::Tsv(self.set_separator)
    }

    /// Reads `line` into `row`; `map` is that of [`Header::map`].
    pub(crate) fn read<'a>(&self, line: &'a [u8], map: &[usize], row: &mut Row<'a>) -> Result<(), Reject> {
        let mut column = 0;
        let mut from = 0;
        // Few lines have escapes.
        let escapes = memchr(b'\\', line).is_some();
        for end in memchr_iter(self.separator, line) {
            self.put(line.get(from..end).unwrap_or(b""), escapes, map.get(column), row);
            column += 1;
            from = end + 1;
        }
        let last = line.get(from..).unwrap_or(b"");
        if self.spaced {
            for field in spaced(last) {
                self.put(field, escapes, map.get(column), row);
                column += 1;
            }
        } else {
            self.put(last, escapes, map.get(column), row);
            column += 1;
        }
        if column == map.len() { Ok(()) } else { Err(Reject::new(Reason::ColumnCount)) }
    }

    #[inline(always)]
    fn put<'a>(&self, field: &'a [u8], escapes: bool, slot: Option<&usize>, row: &mut Row<'a>) {
        let Some(&slot) = slot else { return };
        if slot == IGNORED || field == self.unset {
            return;
        }
        let raw = if field.first() == self.empty.first() && field == self.empty {
            Raw::Plain(b"")
        } else if escapes && field.contains(&b'\\') {
            Raw::Escaped(field)
        } else {
            Raw::Plain(field)
        };
        row.set(slot, raw);
    }
}

/// The one byte that a separator must be, perhaps written `\x09`.
fn single(text: &[u8]) -> Option<u8> {
    match unescape(text).as_slice() {
        [byte] => Some(*byte),
        _ => None,
    }
}

fn spaced(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let here = rest?;
        match memchr::memmem::find(here, SPACES) {
            Some(at) => {
                rest = here.get(at + SPACES.len()..);
                here.get(..at)
            }
            None => rest.take(),
        }
    })
}

/// Resolves `\xNN` and `\\`. A broken escape stands for itself.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [b'x', high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (byte, rest.get(1..).unwrap_or(&[])),
            },
            _ => (byte, after),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: Names = &[("a", 0), ("b", 1), ("c", 2), ("old_c", 2)];

    fn header(lines: &[&str]) -> Header {
        let mut header = Header::default();
        for line in lines {
            header.take(line.as_bytes()).expect(line);
        }
        header
    }

    fn check(lines: &[&str], line: &str) -> Option<[Vec<String>; 3]> {
        let header = header(lines);
        let mut row = Row::new(header.dialect(), NAMES);
        header.read(line.as_bytes(), &header.map(NAMES), &mut row).ok()?;
        Some([0, 1, 2].map(|slot| row.strings(slot)))
    }

    fn lists(expected: [&[&str]; 3]) -> Option<[Vec<String>; 3]> {
        Some(expected.map(|list| list.iter().map(|text| (*text).to_owned()).collect()))
    }

    #[test]
    fn columns_stand_in_any_order() {
        let fields = ["#separator \\x09", "#fields\tz\told_c\ta\tb"];
        assert_eq!(check(&fields, "1\t2,3\t-\t(empty)"), lists([&[], &[], &["2", "3"]]));
        assert_eq!(check(&fields, "1\t2\t\\x41\\x2c\\\\x\ty"), lists([&["A,\\x"], &["y"], &["2"]]));
        assert_eq!(check(&fields, "1\t2\t3"), None);
        assert_eq!(check(&fields, "1\t2\t3\t4\t5"), None);
        assert_eq!(check(&fields, ""), None);
    }

    #[test]
    fn the_header_chooses_the_marks() {
        let lines = [
            "#separator |",
            "#set_separator|;",
            "#empty_field|none",
            "#unset_field|?",
            "#path|x",
            "#fields|a|b|c",
        ];
        assert_eq!(check(&lines, "1;2|none|?"), lists([&["1", "2"], &[], &[]]));
        assert_eq!(header(&lines).path, "x");
        assert!(Header::default().take(b"#separator ab").is_err());
        assert!(Header::default().take(b"#separator").is_err());
    }

    #[test]
    fn three_spaces_part_the_last_columns_of_some_published_logs() {
        let fields = ["#fields\ta\tb   c"];
        assert_eq!(check(&fields, "1\t-   Malicious"), lists([&["1"], &[], &["Malicious"]]));
        assert_eq!(check(&fields, "1\t-"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            head in proptest::collection::vec(any::<u8>(), 0..60),
            line in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut header = Header::default();
            let _ = header.take(&head);
            let _ = header.take(&[b"#fields\t", head.as_slice()].concat());
            let mut row = Row::new(header.dialect(), NAMES);
            let _ = header.read(&line, &header.map(NAMES), &mut row);
            let _ = (row.strings(0), row.string(1), unescape(&line));
        }

        #[test]
        fn unescaping_is_the_inverse_of_escaping(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let escaped: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            prop_assert_eq!(unescape(escaped.as_bytes()), bytes);
        }
    }
}
