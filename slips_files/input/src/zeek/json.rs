//! One JSON object per line, flat as Zeek writes it (nested objects are read as dotted names). Nothing is copied.

use memchr::{memchr2, memmem};

use super::row::{Names, Raw, Row};
use crate::report::{Reason, Reject};

/// Arrays and objects deeper than this are refused.
const MAX_DEPTH: usize = 16;
/// The longest name that a nested field can have.
const MAX_NAME: usize = 64;
const UNKNOWN: usize = usize::MAX;

/// Finds the slot of a field name. Lines of one log nearly always have the same fields in the same order, so the name that
/// followed last time is tried first.
#[derive(Debug)]
pub(crate) struct KeyTable {
    names: Names,
    /// The beginnings of names up to each dot.
    objects: Vec<&'static str>,
    /// For each name (and for the start of the line, last), the name that came after it.
    after: Vec<usize>,
}

impl KeyTable {
    pub(crate) fn new(names: Names) -> Self {
        let dots = |name: &'static str| name.match_indices('.').filter_map(|(at, _)| name.get(..=at));
        let mut objects: Vec<_> = names.iter().flat_map(|(name, _)| dots(name)).collect();
        objects.sort_unstable();
        objects.dedup();
        Self { names, objects, after: (1..=names.len()).chain([0]).collect() }
    }

    fn start(&self) -> usize {
        self.names.len()
    }

    /// The name expected after `previous`.
    fn expected(&self, previous: usize) -> Option<(usize, &'static str)> {
        let next = *self.after.get(previous)?;
        self.names.get(next).map(|(name, _)| (next, *name))
    }

    /// The name made of the names of the objects around (`prefix`, with its dot) and the key.
    fn search(&mut self, prefix: &str, key: &[u8], previous: usize) -> usize {
        // Lengths first: most of a line's unknown names are told by that alone.
        let length = prefix.len() + key.len();
        let is = |name: &str| {
            name.len() == length && name.as_bytes().ends_with(key) && within(name, prefix).is_some()
        };
        let found = self.names.iter().position(|(name, _)| is(name)).unwrap_or(UNKNOWN);
        if found != UNKNOWN
            && let Some(after) = self.after.get_mut(previous)
        {
            *after = found;
        }
        found
    }

    fn slot(&self, name: usize) -> Option<usize> {
        self.names.get(name).map(|(_, slot)| *slot)
    }

    /// Whether anything inside of this object (its name with the dot) is wanted.
    fn has_inside(&self, prefix: &str) -> bool {
        self.objects.contains(&prefix)
    }
}

/// What is left of a name inside of an object. At the top there is nothing to compare, and it must not be tried: an empty String
/// points nowhere, and comparing no bytes there costs hundreds of cycles on processors with AVX-512 (measured: all lines five
/// times slower).
fn within<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    if prefix.is_empty() { Some(name) } else { name.strip_prefix(prefix) }
}

/// Reads `line` into `row`.
pub(crate) fn read<'a>(line: &'a [u8], keys: &mut KeyTable, row: &mut Row<'a>) -> Result<(), Reject> {
    let mut scan = Scan { line, at: 0 };
    scan.space();
    let mut previous = keys.start();
    let read = object(&mut scan, keys, row, &mut Nesting::default(), &mut previous);
    scan.space();
    match read {
        Some(()) if scan.at == line.len() => Ok(()),
        _ => Err(Reject::new(Reason::NotJson)),
    }
}

/// Where in the line the scan is: the names of the objects around, each with its dot.
#[derive(Default)]
struct Nesting {
    prefix: String,
    depth: usize,
}

fn object<'a>(
    scan: &mut Scan<'a>,
    keys: &mut KeyTable,
    row: &mut Row<'a>,
    around: &mut Nesting,
    previous: &mut usize,
) -> Option<()> {
    scan.eat(b'{')?;
    scan.space();
    if scan.peek() == Some(b'}') {
        return scan.eat(b'}');
    }
    loop {
        scan.space();
        let name = key(scan, keys, &around.prefix, *previous)?;
        scan.space();
        scan.eat(b':')?;
        scan.space();
        if scan.peek() == Some(b'{') {
            nested(scan, keys, row, around, previous, name)?;
        } else {
            let raw = scan.value()?;
            if let Name::Known(name) = name {
                *previous = name;
                if let Some(slot) = keys.slot(name) {
                    row.set(slot, raw);
                }
            }
        }
        scan.space();
        match scan.peek()? {
            b',' => scan.at += 1,
            b'}' => return scan.eat(b'}'),
            _ => return None,
        }
    }
}

/// An object inside of the line's; skipped where nothing in it is wanted.
fn nested<'a>(
    scan: &mut Scan<'a>,
    keys: &mut KeyTable,
    row: &mut Row<'a>,
    around: &mut Nesting,
    previous: &mut usize,
    name: Name<'_>,
) -> Option<()> {
    if around.depth >= MAX_DEPTH {
        return None;
    }
    let length = around.prefix.len();
    let Name::Other(key) = name else { return scan.container().map(drop) };
    if length + key.len() >= MAX_NAME || !key.is_ascii() {
        return scan.container().map(drop);
    }
    around.prefix.push_str(std::str::from_utf8(key).ok()?);
    around.prefix.push('.');
    let read = if keys.has_inside(&around.prefix) {
        around.depth += 1;
        let read = object(scan, keys, row, around, previous);
        around.depth -= 1;
        read
    } else {
        scan.container().map(drop)
    };
    around.prefix.truncate(length);
    read
}

enum Name<'a> {
    Known(usize),
    Other(&'a [u8]),
}

fn key<'a>(scan: &mut Scan<'a>, keys: &mut KeyTable, prefix: &str, previous: usize) -> Option<Name<'a>> {
    scan.eat(b'"')?;
    if let Some((index, name)) = keys.expected(previous)
        && let Some(name) = within(name, prefix)
    {
        let end = scan.at + name.len();
        if scan.line.get(scan.at..end) == Some(name.as_bytes()) && scan.line.get(end) == Some(&b'"') {
            scan.at = end + 1;
            return Some(Name::Known(index));
        }
    }
    let (key, _) = scan.rest_of_string()?;
    Some(match keys.search(prefix, key, previous) {
        UNKNOWN => Name::Other(key),
        found => Name::Known(found),
    })
}

/// Calls `each` for the elements of an array's inside until it says false; nested ones are skipped.
pub(crate) fn each_item<'a>(inside: &'a [u8], mut each: impl FnMut(Raw<'a>) -> bool) {
    let mut scan = Scan { line: inside, at: 0 };
    loop {
        scan.space();
        if scan.peek().is_none() {
            return;
        }
        let Some(raw) = (if scan.peek() == Some(b'{') { scan.container() } else { scan.value() }) else {
            return;
        };
        if !each(raw) {
            return;
        }
        scan.space();
        if scan.eat(b',').is_none() {
            return;
        }
    }
}

/// Calls `each` for the objects among an array's elements until it says false.
pub(crate) fn each_object<'a>(inside: &'a [u8], mut each: impl FnMut(&'a [u8]) -> bool) {
    let mut scan = Scan { line: inside, at: 0 };
    loop {
        scan.space();
        let from = scan.at;
        let is_object = scan.peek() == Some(b'{');
        let read = if is_object { scan.container() } else { scan.value() };
        if read.is_none() {
            return;
        }
        if is_object && !inside.get(from..scan.at).is_some_and(&mut each) {
            return;
        }
        scan.space();
        if scan.eat(b',').is_none() {
            return;
        }
    }
}

/// All top-level keys of a line, for telling which log it is; `None` when it is no JSON object.
pub(crate) fn keys(line: &[u8]) -> Option<Vec<(&[u8], Raw<'_>)>> {
    let mut scan = Scan { line, at: 0 };
    let mut found = Vec::new();
    scan.space();
    scan.eat(b'{')?;
    scan.space();
    if scan.peek() == Some(b'}') {
        return Some(found);
    }
    loop {
        scan.space();
        scan.eat(b'"')?;
        let (key, _) = scan.rest_of_string()?;
        scan.space();
        scan.eat(b':')?;
        scan.space();
        let raw = if scan.peek() == Some(b'{') { scan.container()? } else { scan.value()? };
        if found.len() < 256 {
            found.push((key, raw));
        }
        scan.space();
        match scan.peek()? {
            b',' => scan.at += 1,
            b'}' => return Some(found),
            _ => return None,
        }
    }
}

struct Scan<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    #[inline]
    fn eat(&mut self, wanted: u8) -> Option<()> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Some(());
        }
        None
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// After the opening quote: the inside of the string, and whether it holds escapes.
    #[inline]
    fn rest_of_string(&mut self) -> Option<(&'a [u8], bool)> {
        let from = self.at;
        let mut escaped = false;
        loop {
            let rest = self.line.get(self.at..)?;
            let found = memchr2(b'"', b'\\', rest)?;
            let at = self.at + found;
            if self.line.get(at) == Some(&b'"') {
                self.at = at + 1;
                return Some((self.line.get(from..at)?, escaped));
            }
            escaped = true;
            self.at = at + 2;
        }
    }

    /// Any value but an object. Always in place: a value handed over in memory is written in parts of other sizes than it is read again,
    /// which the processor waits for (measured: 15 % of a line).
    #[inline(always)]
    fn value(&mut self) -> Option<Raw<'a>> {
        match self.peek()? {
            b'"' => {
                self.at += 1;
                let (text, escaped) = self.rest_of_string()?;
                Some(if escaped { Raw::Escaped(text) } else { Raw::Plain(text) })
            }
            b'[' => self.container(),
            _ => self.word(),
        }
    }

    /// A number, `true`, `false` or `null`.
    #[inline(always)]
    fn word(&mut self) -> Option<Raw<'a>> {
        let from = self.at;
        while let Some(b'0'..=b'9' | b'.' | b'-' | b'+' | b'a'..=b'z' | b'E') = self.peek() {
            self.at += 1;
        }
        match self.line.get(from..self.at)? {
            b"" => None,
            b"null" => Some(Raw::Absent),
            word @ (b"true" | b"false") => Some(Raw::Plain(word)),
            number @ [b'0'..=b'9' | b'-', ..] => Some(Raw::Plain(number)),
            _ => None,
        }
    }

    /// An array or an object, skipped; the inside of an array is given.
    fn container(&mut self) -> Option<Raw<'a>> {
        let from = self.at + 1;
        let is_array = self.peek() == Some(b'[');
        let mut open = [0u8; MAX_DEPTH];
        let mut depth = 0;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    self.rest_of_string()?;
                    continue;
                }
                byte @ (b'[' | b'{') => {
                    *open.get_mut(depth)? = byte;
                    depth += 1;
                }
                byte @ (b']' | b'}') => {
                    depth = depth.checked_sub(1)?;
                    // In ASCII each closing bracket stands two behind its opening one.
                    if *open.get(depth)? + 2 != byte {
                        return None;
                    }
                }
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                let inside = self.line.get(from..self.at - 1)?;
                return Some(if is_array { Raw::Array(inside) } else { Raw::Absent });
            }
        }
    }
}

/// Resolves the escapes of a JSON string. A broken escape stands for itself.
pub(crate) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (before, from) = rest.split_at(at);
        plain.extend_from_slice(before);
        let (byte, length) = match from.get(1) {
            Some(b'n') => (b'\n', 2),
            Some(b't') => (b'\t', 2),
            Some(b'r') => (b'\r', 2),
            Some(b'b') => (8, 2),
            Some(b'f') => (12, 2),
            Some(byte @ (b'"' | b'\\' | b'/')) => (*byte, 2),
            Some(b'u') => {
                let (letter, length) = unicode(from);
                plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                rest = from.get(length..).unwrap_or(&[]);
                continue;
            }
            _ => (b'\\', 1),
        };
        plain.push(byte);
        rest = from.get(length..).unwrap_or(&[]);
    }
    plain.extend_from_slice(rest);
    plain
}

/// `\uXXXX`, or two of them that make one character; and how many bytes that took.
fn unicode(text: &[u8]) -> (char, usize) {
    let four = |at: usize| {
        let digits = std::str::from_utf8(text.get(at..at + 4)?).ok()?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok()
    };
    match four(2) {
        None => (char::REPLACEMENT_CHARACTER, 2),
        Some(high @ 0xd800..0xdc00) if text.get(6..8) == Some(b"\\u") => match four(8) {
            Some(low @ 0xdc00..0xe000) => {
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
            }
            _ => (char::REPLACEMENT_CHARACTER, 6),
        },
        Some(code) => (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
    }
}

/// Whether the line names this key somewhere; a quick test, not a proof.
pub(crate) fn mentions(line: &[u8], quoted_key: &[u8]) -> bool {
    memmem::find(line, quoted_key).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::zeek::row::Dialect;

    const NAMES: Names = &[("a", 0), ("b", 1), ("id.x", 2), ("c", 3)];

    fn check(line: &str) -> Option<[String; 4]> {
        let mut row = Row::new(Dialect::Json, NAMES);
        read(line.as_bytes(), &mut KeyTable::new(NAMES), &mut row).ok()?;
        Some([0, 1, 2, 3].map(|slot| row.string(slot)))
    }

    #[test]
    fn objects_are_read_in_any_order_and_shape() {
        for (line, expected) in [
            (r#"{"a":"1","b":2,"id.x":true,"c":null}"#, ["1", "2", "true", ""]),
            (r#" { "c" : -1.5e-05 , "zz" : {"a":[1,{}]} , "a" : "x" } "#, ["x", "", "", "-1.5e-05"]),
            (r#"{"id":{"x":"nested","y":1},"a":1}"#, ["1", "", "nested", ""]),
            (r#"{"a":["p","q\"",3],"b":[]}"#, ["p,q\",3", "", "", ""]),
            (
                r#"{"a":"tab\tq\"\u00e9\ud83d\ude00\ud800","b":"\\x41"}"#,
                ["tab\tq\"é😀\u{fffd}", "\\x41", "", ""],
            ),
            ("{}", ["", "", "", ""]),
            (r#"{"a":1,"a":2}"#, ["2", "", "", ""]),
            (r#"{"b":1,"id":{"y":{"x":1},"x":2},"c":3,"id":{}}"#, ["", "1", "2", "3"]),
            (r#"{"c":{"x":1},"id":{"x":1},"x":2}"#, ["", "", "1", ""]),
        ] {
            assert_eq!(
                check(line).as_ref().map(|v| v.each_ref().map(String::as_str)),
                Some(expected),
                "{line}"
            );
        }
    }

    #[test]
    fn objects_in_an_array_are_found() {
        let mut found = Vec::new();
        let inside = br#" {"a":[{}]}, 7 ,"{", {"b":"}"} "#;
        each_object(inside, |object| {
            found.push(String::from_utf8_lossy(object).into_owned());
            true
        });
        assert_eq!(found, [r#"{"a":[{}]}"#, r#"{"b":"}"}"#]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for line in [
            "",
            "{",
            "[]",
            "x",
            r#"{"a":1"#,
            r#"{"a":}"#,
            r#"{"a":1}}"#,
            r#"{"a":1} x"#,
            r#"{"a" 1}"#,
            r#"{"a":"1}"#,
            r#"{"a":[1}"#,
            r#"{"a":1,}"#,
            r#"{"a":nope}"#,
            r#"{a:1}"#,
            r#"{"a":"\"#,
        ] {
            assert_eq!(check(line), None, "{line}");
        }
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
        assert_eq!(check(&deep), None);
        let deep = format!("{}1{}", r#"{"z":"#.repeat(100), "}".repeat(100));
        assert_eq!(check(&deep), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut row = Row::new(Dialect::Json, NAMES);
            let _ = read(&bytes, &mut KeyTable::new(NAMES), &mut row);
            let _ = (unescape(&bytes), keys(&bytes));
            each_item(&bytes, |_| true);
            each_object(&bytes, |_| true);
        }

        #[test]
        fn nearly_json_never_panics(line in r#"\{("[ab]":("[a\\"u]{0,8}"|[0-9e.]{1,4}|\[|\]|\{|\})?,?){0,6}\}?"#) {
            let mut row = Row::new(Dialect::Json, NAMES);
            if read(line.as_bytes(), &mut KeyTable::new(NAMES), &mut row).is_ok() {
                let _ = (row.strings(0), row.string(1));
            }
        }

        #[test]
        fn unescaping_is_the_inverse_of_escaping(text: String) {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            prop_assert_eq!(unescape(escaped.as_bytes()), text.as_bytes());
        }
    }
}
