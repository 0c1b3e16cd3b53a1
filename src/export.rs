//! What was kept, as tables and objects for other programs: tab-separated, comma-separated, JSON lines.
//!
//! Names and payloads are chosen by whoever is watched, so no control character, invisible or direction-changing one leaves as itself: in
//! JSON it is `\u001b`, in tables `\x1b`, `\n`, `\u{202e}` with `\\` for a backslash. Text that a spreadsheet would take for a formula
//! begins with an apostrophe in tables.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::Formatter;
use slips_store::read::{AlertRow, StoredEvidence, StoredFlow};
use slips_store::render::{escape_whole, is_deceptive};

/// The form of an export.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Tab-separated, with the names of the columns in the first line.
    Tsv,
    /// One JSON object a line.
    Json,
    /// Comma-separated as in RFC 4180, with the names of the columns in the first line.
    Csv,
}

impl Format {
    /// What names of such files end with.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Tsv => "tsv",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// What can be a line of an export. The columns have the names of the fields in JSON.
pub trait Exported: Serialize {
    /// The names of the columns.
    const COLUMNS: &'static [&'static str];

    /// Hands over a value for each column.
    fn values(&self, line: &mut dyn FnMut(Value<'_>) -> io::Result<()>) -> io::Result<()>;
}

/// A value of a table.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Nothing is known.
    None,
    /// Text.
    Text(&'a str),
    /// Several texts in one column.
    Texts(&'a [String]),
    /// A whole number.
    Number(i64),
    /// A number.
    Fraction(f64),
    /// Yes or no.
    Flag(bool),
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<u16> for Value<'_> {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Fraction(number)
    }
}

/// Writes lines of one kind.
pub struct Lines<W> {
    out: W,
    format: Format,
    rows: u64,
}

impl<W: Write> Lines<W> {
    /// Begins with the names of the columns, where the form has such a line.
    pub fn begin<T: Exported>(mut out: W, format: Format) -> io::Result<Self> {
        let between = match format {
            Format::Tsv => "\t",
            Format::Csv => ",",
            Format::Json => return Ok(Self { out, format, rows: 0 }),
        };
        out.write_all(T::COLUMNS.join(between).as_bytes())?;
        out.write_all(line_end(format))?;
        Ok(Self { out, format, rows: 0 })
    }

    /// Writes one line.
    pub fn write<T: Exported>(&mut self, row: &T) -> io::Result<()> {
        self.rows += 1;
        match self.format {
            Format::Json => {
                row.serialize(&mut serde_json::Serializer::with_formatter(&mut self.out, Harmless))?
            }
            Format::Tsv | Format::Csv => {
                let (out, format) = (&mut self.out, self.format);
                let mut first = true;
                row.values(&mut |value| {
                    if !std::mem::take(&mut first) {
                        out.write_all(if format == Format::Tsv { b"\t" } else { b"," })?;
                    }
                    put(out, format, value)
                })?;
            }
        }
        self.out.write_all(line_end(self.format))
    }

    /// Lines written, without that of the names.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes what is held back.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

const fn line_end(format: Format) -> &'static [u8] {
    match format {
        Format::Csv => b"\r\n",
        Format::Tsv | Format::Json => b"\n",
    }
}

fn put(out: &mut impl Write, format: Format, value: Value<'_>) -> io::Result<()> {
    match value {
        Value::None => Ok(()),
        Value::Number(number) => write!(out, "{number}"),
        Value::Fraction(number) => write!(out, "{number}"),
        Value::Flag(flag) => write!(out, "{flag}"),
        Value::Text(text) => put_text(out, format, text),
        Value::Texts(texts) => put_text(out, format, &texts.join(" ")),
    }
}

fn put_text(out: &mut impl Write, format: Format, text: &str) -> io::Result<()> {
    let text = escape_whole(text);
    // What spreadsheets take for a formula (OWASP, "CSV injection"), full-width signs, too.
    let formula = text.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    if format == Format::Tsv {
        out.write_all(if formula { b"'" } else { b"" })?;
        return out.write_all(text.as_bytes());
    }
    if !formula && !text.contains([',', '"']) {
        return out.write_all(text.as_bytes());
    }
    let apostrophe = if formula { "'" } else { "" };
    write!(out, "\"{apostrophe}{}\"", text.replace('"', "\"\""))
}

/// One line of JSON that is harmless on a terminal.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut text = Vec::with_capacity(512);
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Harmless))?;
    // The serializer writes UTF-8 only.
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes what is not what it looks like by its number; for whoever reads JSON it is the same text.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: Write + ?Sized>(&mut self, out: &mut W, text: &str) -> io::Result<()> {
        if text.is_ascii() && !text.contains('\x7f') {
            return out.write_all(text.as_bytes());
        }
        let mut from = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| *c == '\x7f' || is_deceptive(*c)) {
            out.write_all(text.get(from..at).unwrap_or_default().as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            from = at + c.len_utf8();
        }
        out.write_all(text.get(from..).unwrap_or_default().as_bytes())
    }
}

impl Exported for StoredFlow {
    const COLUMNS: &'static [&'static str] = &[
        "uid",
        "start",
        "duration",
        "src",
        "src_port",
        "dst",
        "dst_port",
        "proto",
        "service",
        "state",
        "history",
        "orig_pkts",
        "orig_bytes",
        "orig_ip_bytes",
        "resp_pkts",
        "resp_bytes",
        "resp_ip_bytes",
        "missed_bytes",
        "src_mac",
        "dst_mac",
        "vlan",
        "interface",
        "origin",
        "label",
        "truth_label",
        "truth_detailed",
    ];

    fn values(&self, line: &mut dyn FnMut(Value<'_>) -> io::Result<()>) -> io::Result<()> {
        line((&self.uid).into())?;
        line((&self.start).into())?;
        line(self.duration.into())?;
        line((&self.src).into())?;
        line(self.src_port.into())?;
        line((&self.dst).into())?;
        line(self.dst_port.into())?;
        for text in [&self.proto, &self.service, &self.state, &self.history] {
            line(text.into())?;
        }
        let volumes = [
            self.orig_pkts,
            self.orig_bytes,
            self.orig_ip_bytes,
            self.resp_pkts,
            self.resp_bytes,
            self.resp_ip_bytes,
            self.missed_bytes,
        ];
        for number in volumes {
            line(Value::Number(number))?;
        }
        line(self.src_mac.as_ref().into())?;
        line(self.dst_mac.as_ref().into())?;
        line(self.vlan.into())?;
        line(self.interface.into())?;
        line((&self.origin).into())?;
        line((&self.label).into())?;
        line(self.truth_label.as_ref().into())?;
        line(self.truth_detailed.as_ref().into())
    }
}

impl Exported for StoredEvidence {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "kind",
        "attacker",
        "attacker_type",
        "victim",
        "victim_type",
        "level",
        "confidence",
        "count",
        "weight",
        "accumulated",
        "window",
        "at",
        "last_seen",
        "profile",
        "proto",
        "src_port",
        "dst_port",
        "description",
        "proven",
        "related",
        "uids",
    ];

    fn values(&self, line: &mut dyn FnMut(Value<'_>) -> io::Result<()>) -> io::Result<()> {
        for text in [&self.id, &self.kind, &self.attacker, &self.attacker_type] {
            line(text.into())?;
        }
        line(self.victim.as_ref().into())?;
        line(self.victim_type.as_ref().into())?;
        line((&self.level).into())?;
        line(self.confidence.into())?;
        line(Value::Number(self.count))?;
        line(self.weight.into())?;
        line(self.accumulated.into())?;
        line(Value::Number(self.window))?;
        for text in [&self.at, &self.last_seen, &self.profile] {
            line(text.into())?;
        }
        line(self.proto.as_ref().into())?;
        line(self.src_port.into())?;
        line(self.dst_port.into())?;
        line((&self.description).into())?;
        line(Value::Flag(self.proven))?;
        line(Value::Texts(&self.related))?;
        line(Value::Texts(&self.uids))
    }
}

impl Exported for AlertRow {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "attacker",
        "attacker_is_local",
        "window",
        "window_start",
        "window_end",
        "at",
        "created",
        "cause",
        "accumulated",
        "confidence",
        "level",
        "proven",
        "in_conversation",
        "kinds",
        "evidence",
    ];

    fn values(&self, line: &mut dyn FnMut(Value<'_>) -> io::Result<()>) -> io::Result<()> {
        let alert = &self.alert;
        line((&alert.id).into())?;
        line((&alert.attacker).into())?;
        line(Value::Flag(alert.attacker_is_local))?;
        line(Value::Number(alert.window))?;
        for text in [&alert.window_start, &alert.window_end, &alert.at, &alert.created, &alert.cause] {
            line(text.into())?;
        }
        line(alert.accumulated.into())?;
        line(alert.confidence.into())?;
        line((&alert.level).into())?;
        line(Value::Flag(alert.proven))?;
        line(Value::Flag(alert.in_conversation))?;
        let kinds: Vec<String> =
            self.kinds.iter().map(|kind| format!("{}:{}", kind.kind, kind.count)).collect();
        line(Value::Texts(&kinds))?;
        line(Value::Texts(&self.evidence))
    }
}

#[cfg(test)]
mod tests {
    use slips_store::read::{KindCount, StoredAlert};

    use super::*;

    fn flow(uid: &str) -> StoredFlow {
        serde_json::from_value(serde_json::json!({
            "uid": uid, "start": "2026-01-02T10:00:00.000000Z", "duration": 1.5, "src": "192.0.2.1", "src_port": 40000,
            "dst": "2001:db8::1", "dst_port": 443, "proto": "tcp", "service": "ssl,http", "state": "SF", "history": "ShADadFf",
            "orig_pkts": 1, "orig_bytes": 2, "orig_ip_bytes": 3, "resp_pkts": 4, "resp_bytes": 5, "resp_ip_bytes": 6, "missed_bytes": 0,
            "src_mac": null, "dst_mac": null, "vlan": null, "interface": 0, "origin": "zeek", "label": "benign",
            "truth_label": "-1+1", "truth_detailed": null,
        }))
        .expect("a flow")
    }

    fn evidence() -> StoredEvidence {
        serde_json::from_value(serde_json::json!({
            "id": "e1", "kind": "K", "attacker": "192.0.2.1", "attacker_type": "ip", "victim": "evil,\"\n.example", "victim_type": "domain",
            "level": "high", "confidence": 0.9, "count": 1, "weight": 0.72, "accumulated": 0.72, "window": -1,
            "at": "a", "last_seen": "b", "profile": "192.0.2.1", "proto": null, "src_port": null, "dst_port": 22,
            "description": "=1+2", "proven": true, "related": ["e2", "e3"], "uids": ["C1"],
        }))
        .expect("evidence")
    }

    fn alert() -> AlertRow {
        let alert: StoredAlert = serde_json::from_value(serde_json::json!({
            "id": "a1", "attacker": "192.0.2.1", "attacker_is_local": false, "window": 1, "window_start": "a", "window_end": "b",
            "at": "c", "created": "d", "cause": "critical", "accumulated": 1.0, "confidence": 1.0, "level": "critical",
            "proven": true, "in_conversation": false,
        }))
        .expect("an alert");
        AlertRow {
            alert,
            kinds: vec![KindCount { kind: "K".into(), count: 2 }],
            evidence: vec!["e1".into(), "e2".into()],
        }
    }

    fn lines<T: Exported>(format: Format, row: &T) -> String {
        let mut out = Vec::new();
        let mut lines = Lines::begin::<T>(&mut out, format).expect("header");
        lines.write(row).expect("row");
        lines.finish().expect("flush");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn tables_have_the_fields_of_the_objects() {
        fn check<T: Exported>(row: &T) {
            let object = serde_json::to_value(row).expect("object");
            let mut keys: Vec<&str> =
                object.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
            let mut columns = T::COLUMNS.to_vec();
            columns.sort_unstable();
            keys.sort_unstable();
            assert_eq!(columns, keys);
            let mut values = 0;
            row.values(&mut |_| {
                values += 1;
                Ok(())
            })
            .expect("values");
            assert_eq!(values, T::COLUMNS.len());
        }
        check(&flow("C1"));
        check(&evidence());
        check(&alert());
    }

    #[test]
    fn every_value_is_in_the_column_of_its_name() {
        fn check<T: Exported>(row: &T) {
            let object = serde_json::to_value(row).expect("object");
            let mut names = T::COLUMNS.iter();
            row.values(&mut |value| {
                let name = names.next().expect("a column");
                let told = &object[*name];
                let same = match value {
                    Value::None => told.is_null(),
                    Value::Text(text) => told == text,
                    Value::Texts(texts) => {
                        told.as_array().is_some_and(|told| told.len() == texts.len()) || *name == "kinds"
                    }
                    Value::Number(number) => told.as_i64() == Some(number),
                    Value::Fraction(number) => told.as_f64() == Some(number),
                    Value::Flag(flag) => told.as_bool() == Some(flag),
                };
                assert!(same, "{name}: {value:?} and {told}");
                Ok(())
            })
            .expect("values");
        }
        check(&flow("C1"));
        check(&evidence());
        check(&alert());
    }

    #[test]
    fn hostile_text_stays_in_its_field() {
        let csv = lines(Format::Csv, &evidence());
        assert_eq!(csv.matches('\n').count(), 2, "{csv}");
        assert!(csv.contains(r#","evil,""\n.example",domain,high,"#), "{csv}");
        assert!(csv.contains(r#","'=1+2",true,e2 e3,C1"#), "{csv}");
        let tsv = lines(Format::Tsv, &flow("C\t1\x1b[2J\u{202e}"));
        assert!(tsv.contains("\nC\\t1\\x1b[2J\\u{202e}\t2026-"), "{tsv}");
        assert!(tsv.ends_with("\tbenign\t'-1+1\t\n"), "{tsv}");
        for sign in ["=", "+", "-", "@", "\u{ff1d}", "\u{ff0b}", "\u{ff0d}", "\u{ff20}"] {
            let uid = format!("{sign}1");
            assert!(lines(Format::Csv, &flow(&uid)).contains(&format!("\n\"'{uid}\",")), "{uid}");
            assert!(lines(Format::Tsv, &flow(&uid)).contains(&format!("\n'{uid}\t")), "{uid}");
        }
        let json = lines(Format::Json, &flow("C\u{9b}2J\u{e0041}\x7f\n\u{e9}"));
        assert!(json.starts_with(r#"{"uid":"C\u009b2J\udb40\udc41\u007f\né","#), "{json}");
        let back: StoredFlow = serde_json::from_str(&json).expect("JSON");
        assert_eq!(back.uid, "C\u{9b}2J\u{e0041}\x7f\n\u{e9}");
    }
}
