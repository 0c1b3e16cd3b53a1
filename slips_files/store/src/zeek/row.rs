//! One row of a log in Zeek's two formats, from the same sequence of values.

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;

use slips_core::time::{PacketTime, Span};

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ZeekFormat {
    /// One JSON object a line; unset fields are left out.
    #[default]
    Json,
    /// Tab-separated with Zeek's header lines; unset fields are `-`.
    Tsv,
}

/// Name and Zeek type of a column.
pub(crate) type Field = (&'static str, &'static str);

/// A list of fields; with `about;` those that most logs begin with.
macro_rules! fields {
    (about; $($name:literal: $type:literal),* $(,)?) => {
        fields! {
            "ts": "time", "uid": "string", "id.orig_h": "addr", "id.orig_p": "port", "id.resp_h": "addr", "id.resp_p": "port",
            $($name: $type),*
        }
    };
    ($($name:literal: $type:literal),* $(,)?) => { &[$(($name, $type)),*] };
}
pub(super) use fields;

/// What an empty list means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfEmpty {
    Unset,
    Shown,
}

/// Appends one row. Values are given by name in the order of the fields; fields passed over are unset.
pub(super) struct Row<'a> {
    out: &'a mut Vec<u8>,
    format: ZeekFormat,
    fields: &'static [Field],
    at: usize,
    any: bool,
    /// Fields that are written elsewhere.
    without: fn(&str) -> bool,
}

impl<'a> Row<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, format: ZeekFormat, fields: &'static [Field]) -> Self {
        if format == ZeekFormat::Json {
            out.push(b'{');
        }
        Self { out, format, fields, at: 0, any: false, without: |_| false }
    }

    /// A JSON object without those fields of which `without` says yes.
    pub(super) fn begin_without(
        out: &'a mut Vec<u8>,
        fields: &'static [Field],
        without: fn(&str) -> bool,
    ) -> Self {
        Self { without, ..Self::begin(out, ZeekFormat::Json, fields) }
    }

    pub(super) fn end(mut self) {
        match self.format {
            ZeekFormat::Json => self.out.push(b'}'),
            ZeekFormat::Tsv => self.skip_to(self.fields.len()),
        }
    }

    pub(super) fn time(&mut self, name: &str, at: PacketTime) {
        self.plain(name, Some(at));
    }

    pub(super) fn span(&mut self, name: &str, span: Option<Span>) {
        self.plain(name, span);
    }

    pub(super) fn number(&mut self, name: &str, number: Option<u64>) {
        self.plain(name, number);
    }

    pub(super) fn flag(&mut self, name: &str, flag: Option<bool>) {
        let Some(flag) = flag else { return };
        self.plain(
            name,
            Some(match (self.format, flag) {
                (ZeekFormat::Json, true) => "true",
                (ZeekFormat::Json, false) => "false",
                (ZeekFormat::Tsv, true) => "T",
                (ZeekFormat::Tsv, false) => "F",
            }),
        );
    }

    pub(super) fn addr(&mut self, name: &str, addr: Option<IpAddr>) {
        self.shown(name, addr);
    }

    /// Something whose text has no character that needs escaping.
    pub(super) fn shown(&mut self, name: &str, value: Option<impl Display>) {
        let Some(value) = value else { return };
        if !self.key(name) {
            return;
        }
        // Writing to a vector cannot fail, here and below.
        let _ = match self.format {
            ZeekFormat::Json => write!(self.out, "\"{value}\""),
            ZeekFormat::Tsv => write!(self.out, "{value}"),
        };
    }

    /// Any text; the empty one is unset.
    pub(super) fn text(&mut self, name: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.key(name) {
            return;
        }
        self.value(text, Inside::Field);
    }

    /// Any text, of which the empty one is known to be empty.
    pub(super) fn known_text(&mut self, name: &str, text: Option<&str>) {
        let Some(text) = text else { return };
        if !self.key(name) {
            return;
        }
        match (self.format, text) {
            (ZeekFormat::Tsv, "") => self.out.extend_from_slice(EMPTY.as_bytes()),
            _ => self.value(text, Inside::Field),
        }
    }

    pub(super) fn texts<T: AsRef<str>>(
        &mut self,
        name: &str,
        texts: impl IntoIterator<Item = T>,
        if_empty: IfEmpty,
    ) {
        self.list(name, texts, if_empty, |row, text| row.value(text.as_ref(), Inside::List));
    }

    pub(super) fn spans(&mut self, name: &str, spans: impl IntoIterator<Item = Span>, if_empty: IfEmpty) {
        self.list(name, spans, if_empty, |row, span| {
            let _ = write!(row.out, "{span}");
        });
    }

    fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        if_empty: IfEmpty,
        mut write: impl FnMut(&mut Self, T),
    ) {
        let mut items = items.into_iter().peekable();
        let empty = items.peek().is_none();
        if empty && if_empty == IfEmpty::Unset {
            return;
        }
        if !self.key(name) {
            return;
        }
        match self.format {
            ZeekFormat::Json => self.out.push(b'['),
            ZeekFormat::Tsv if empty => self.out.extend_from_slice(EMPTY.as_bytes()),
            ZeekFormat::Tsv => {}
        }
        for (n, item) in items.enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            write(self, item);
        }
        if self.format == ZeekFormat::Json {
            self.out.push(b']');
        }
    }

    fn plain(&mut self, name: &str, value: Option<impl Display>) {
        let Some(value) = value else { return };
        if !self.key(name) {
            return;
        }
        let _ = write!(self.out, "{value}");
    }

    fn value(&mut self, text: &str, inside: Inside) {
        match self.format {
            ZeekFormat::Json => {
                let _ = serde_json::to_writer(&mut *self.out, text);
            }
            ZeekFormat::Tsv => escape_tsv(self.out, text, inside),
        }
    }

    /// Passes over to the field `name` and begins its value. False when it is not to be written.
    fn key(&mut self, name: &str) -> bool {
        if (self.without)(name) {
            return false;
        }
        let rest = self.fields.get(self.at..).unwrap_or_default();
        let found = rest.iter().position(|(field, _)| *field == name);
        debug_assert!(found.is_some(), "{name} is not among the fields or comes too late");
        let Some(ahead) = found else { return false };
        self.skip_to(self.at + ahead);
        self.at += 1;
        if self.any {
            self.out.push(if self.format == ZeekFormat::Json { b',' } else { b'\t' });
        }
        self.any = true;
        if self.format == ZeekFormat::Json {
            let _ = write!(self.out, "\"{name}\":");
        }
        true
    }

    fn skip_to(&mut self, field: usize) {
        if self.format == ZeekFormat::Tsv {
            for _ in self.at..field {
                self.out.extend_from_slice(if self.any { b"\t-" } else { b"-" });
                self.any = true;
            }
        }
        self.at = field;
    }
}

/// The lines before the first row.
pub(super) fn header(out: &mut Vec<u8>, log: &str, fields: &[Field], opened: &str) {
    let list = |part: fn(&Field) -> &'static str| fields.iter().map(part).collect::<Vec<_>>().join("\t");
    let (names, types) = (list(|field| field.0), list(|field| field.1));
    let _ = write!(
        out,
        "#separator \\x09\n#set_separator\t,\n#empty_field\t{EMPTY}\n#unset_field\t-\n#path\t{log}\n\
         #open\t{opened}\n#fields\t{names}\n#types\t{types}"
    );
}

const EMPTY: &str = "(empty)";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Field,
    List,
}

/// Zeek's escaping: what would be read as a separator, a control character or a backslash becomes `\xNN`, and so does the
/// first character of a text that looks like an unset or empty field.
fn escape_tsv(out: &mut Vec<u8>, text: &str, inside: Inside) {
    let special_first = text == "-" || text == EMPTY;
    for (n, byte) in text.bytes().enumerate() {
        let special = byte < b' '
            || byte == 0x7f
            || byte == b'\\'
            || (byte == b',' && inside == Inside::List)
            || (n == 0 && special_first);
        if special {
            let _ = write!(out, "\\x{byte:02x}");
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        ("ts", "time"),
        ("a", "string"),
        ("b", "bool"),
        ("c", "count"),
        ("set", "set[string]"),
        ("ttls", "vector[interval]"),
        ("last", "addr"),
    ];

    fn row(format: ZeekFormat, fill: impl FnOnce(&mut Row<'_>)) -> String {
        let mut out = Vec::new();
        let mut row = Row::begin(&mut out, format, FIELDS);
        fill(&mut row);
        row.end();
        String::from_utf8(out).expect("UTF-8")
    }

    fn both(fill: impl Fn(&mut Row<'_>)) -> (String, String) {
        (row(ZeekFormat::Json, &fill), row(ZeekFormat::Tsv, &fill))
    }

    #[test]
    fn unset_fields_are_left_out_or_a_dash() {
        let (json, tsv) = both(|row| {
            row.number("c", Some(7));
        });
        assert_eq!((json.as_str(), tsv.as_str()), (r#"{"c":7}"#, "-\t-\t-\t7\t-\t-\t-"));
        let (json, tsv) = both(|_| {});
        assert_eq!((json.as_str(), tsv.as_str()), ("{}", "-\t-\t-\t-\t-\t-\t-"));
        let (json, tsv) = both(|row| {
            row.time("ts", PacketTime(1_500_000));
            row.text("a", "");
            row.flag("b", Some(true));
            row.texts("set", [""; 0], IfEmpty::Shown);
            row.spans("ttls", [Span(60_000_000), Span(1)], IfEmpty::Unset);
            row.addr("last", Some(IpAddr::from([192, 0, 2, 1])));
        });
        assert_eq!(
            json,
            r#"{"ts":1.500000,"b":true,"set":[],"ttls":[60.000000,0.000001],"last":"192.0.2.1"}"#
        );
        assert_eq!(tsv, "1.500000\t-\tT\t-\t(empty)\t60.000000,0.000001\t192.0.2.1");
    }

    fn unescaped(tsv: &str) -> String {
        let mut parts = tsv.split("\\x");
        let mut text = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            let (hex, rest) = part.split_at(2);
            text.push(u8::from_str_radix(hex, 16).expect("hex"));
            text.extend_from_slice(rest.as_bytes());
        }
        String::from_utf8(text).expect("UTF-8")
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_back_from_both_formats(text in "[\\x00-\\u{10ffff}]+|[-,(empty)\\\\x09]+") {
            let (json, tsv) = both(|row| row.text("a", &text));
            let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            assert_eq!(read["a"], text.as_str());
            let fields: Vec<_> = tsv.split('\t').collect();
            assert_eq!((fields.len(), unescaped(fields[1])), (FIELDS.len(), text.clone()));
            assert!(!tsv.contains('\n') && !json.contains('\n') && fields[1] != "-");
            let (_, tsv) = both(|row| row.texts("set", [&text, &text], IfEmpty::Unset));
            let list: Vec<_> = tsv.split('\t').nth(4).expect("set").split(',').map(unescaped).collect();
            assert_eq!(list, [text.as_str(), text.as_str()]);
        }
    }

    #[test]
    fn hostile_text_neither_ends_a_field_nor_pretends_to_be_unset() {
        for (text, json, tsv) in [
            ("a\tb\nc", r#""a\tb\nc""#, "a\\x09b\\x0ac"),
            ("-", r#""-""#, "\\x2d"),
            ("--", r#""--""#, "--"),
            ("(empty)", r#""(empty)""#, "\\x28empty)"),
            ("\\x09", r#""\\x09""#, "\\x5cx09"),
            ("é,\x7f\"", "\"é,\x7f\\\"\"", "é,\\x7f\""),
        ] {
            let (as_json, as_tsv) = both(|row| row.text("a", text));
            assert_eq!(as_json, format!(r#"{{"a":{json}}}"#));
            assert_eq!(as_tsv, format!("-\t{tsv}\t-\t-\t-\t-\t-"));
        }
        let (_, tsv) = both(|row| row.texts("set", ["a,b", "-", "c"], IfEmpty::Unset));
        assert_eq!(tsv, "-\t-\t-\t-\ta\\x2cb,\\x2d,c\t-\t-");
    }
}
