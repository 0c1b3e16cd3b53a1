//! One record of a log as slices of its line, before it means anything.

use std::borrow::Cow;
use std::net::IpAddr;

use slips_core::event::About;
use slips_core::flow::{Endpoint, MacAddr, Proto, Uid};
use slips_core::text::ShortText;
use slips_core::time::{PacketTime, Span};

use super::{json, tsv, value};
use crate::report::{Reason, Reject};

/// No log has more columns that we use.
pub(crate) const MAX_COLUMNS: usize = 40;
/// Of a list no more elements are taken; a line of 1 MiB could hold half a million.
const MAX_ITEMS: usize = 1024;

/// What users are called and servers say is cut to so many bytes, as [`slips_core::exchange`] asks.
const MAX_TEXT: usize = 512;

/// A field as it stands in the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Raw<'a> {
    /// The field is not there or has no value.
    #[default]
    Absent,
    /// Bytes that mean themselves.
    Plain(&'a [u8]),
    /// Bytes with escapes of the log's format in them.
    Escaped(&'a [u8]),
    /// The inside of a JSON array.
    Array(&'a [u8]),
}

/// How the line writes escapes and lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `\xNN`, and lists split by this byte.
    Tsv(u8),
    /// RFC 8259.
    Json,
}

/// The columns of a log: their names in the order of their slots. Made by [`columns!`].
pub(crate) type Names = &'static [(&'static str, usize)];

/// Writes the table of a log's columns down once: a constant per slot (`col::QUERY`), and `NAMES` with all names of each.
/// A plain table would need every slot's number twice.
macro_rules! columns {
    ($($slot:ident = $($name:literal)|+),+ $(,)?) => {
        mod col {
            #[allow(clippy::upper_case_acronyms, non_camel_case_types, reason = "counts the slots; never named elsewhere")]
            enum Slots { $($slot),+ }
            $(#[allow(dead_code, reason = "some columns are only known so that they are not searched for")]
            pub(super) const $slot: usize = Slots::$slot as usize;)+
        }
        const NAMES: crate::zeek::row::Names = &[$($(($name, col::$slot)),+),+];
    };
}
pub(crate) use columns;

/// One record. Slots are those of the log's table.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) values: [Raw<'a>; MAX_COLUMNS],
    pub(crate) dialect: Dialect,
    pub(crate) names: Names,
}

impl<'a> Row<'a> {
    pub(crate) fn new(dialect: Dialect, names: Names) -> Self {
        Self { values: [Raw::Absent; MAX_COLUMNS], dialect, names }
    }

    pub(crate) fn set(&mut self, slot: usize, raw: Raw<'a>) {
        if let Some(value) = self.values.get_mut(slot) {
            *value = raw;
        }
    }

    /// The name of a slot, for messages.
    pub(crate) fn name(&self, slot: usize) -> &'static str {
        self.names.iter().find(|(_, of)| *of == slot).map_or("", |(name, _)| name)
    }

    pub(crate) fn raw(&self, slot: usize) -> Raw<'a> {
        self.values.get(slot).copied().unwrap_or_default()
    }

    pub(crate) fn has(&self, slot: usize) -> bool {
        !matches!(self.raw(slot), Raw::Absent | Raw::Plain(b""))
    }

    /// Whether the field is there, be it empty.
    pub(crate) fn is_there(&self, slot: usize) -> bool {
        !matches!(self.raw(slot), Raw::Absent)
    }

    /// The bytes of a slot with its escapes resolved; a list is joined by commas.
    pub(crate) fn bytes(&self, slot: usize) -> Cow<'a, [u8]> {
        match (self.raw(slot), self.dialect) {
            (Raw::Absent, _) => Cow::Borrowed(b"".as_slice()),
            (Raw::Plain(bytes), _) => Cow::Borrowed(bytes),
            (Raw::Escaped(bytes), Dialect::Tsv(_)) => Cow::Owned(tsv::unescape(bytes)),
            (Raw::Escaped(bytes), Dialect::Json) => Cow::Owned(json::unescape(bytes)),
            (Raw::Array(_), _) => Cow::Owned(self.strings(slot).join(",").into_bytes()),
        }
    }

    /// The text of a slot; empty when it is absent. Bytes that are no UTF-8 become replacement characters.
    pub(crate) fn string(&self, slot: usize) -> String {
        match self.bytes(slot) {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Cow::Owned(bytes) => String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        }
    }

    /// The text of a slot, at most 512 bytes of it.
    pub(crate) fn text(&self, slot: usize) -> String {
        let mut text = self.string(slot);
        if text.len() > MAX_TEXT {
            let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
        text
    }

    /// The text of a slot, kept in place.
    pub(crate) fn short<const N: usize>(&self, slot: usize) -> ShortText<N> {
        match self.raw(slot) {
            Raw::Absent => ShortText::EMPTY,
            Raw::Plain(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => ShortText::new(text),
                Err(_) => ShortText::new(&String::from_utf8_lossy(bytes)),
            },
            _ => ShortText::new(&self.string(slot)),
        }
    }

    /// The elements of a list; a single text is a list of one.
    pub(crate) fn strings(&self, slot: usize) -> Vec<String> {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match (self.raw(slot), self.dialect) {
            (Raw::Absent | Raw::Plain(b""), _) => Vec::new(),
            (Raw::Plain(bytes), Dialect::Tsv(separator)) => {
                bytes.split(|byte| *byte == separator).take(MAX_ITEMS).map(lossy).collect()
            }
            (Raw::Escaped(bytes), Dialect::Tsv(separator)) => bytes
                .split(|byte| *byte == separator)
                .take(MAX_ITEMS)
                .map(|item| lossy(&tsv::unescape(item)))
                .collect(),
            (Raw::Array(bytes), _) => {
                let mut items = Vec::new();
                json::each_item(bytes, |raw| {
                    match raw {
                        Raw::Plain(item) => items.push(lossy(item)),
                        Raw::Escaped(item) => items.push(lossy(&json::unescape(item))),
                        Raw::Absent | Raw::Array(_) => {}
                    }
                    items.len() < MAX_ITEMS
                });
                items
            }
            (Raw::Plain(_) | Raw::Escaped(_), Dialect::Json) => vec![self.string(slot)],
        }
    }

    /// The value of a slot; `Ok(None)` when it is absent or empty.
    pub(crate) fn parse<T>(&self, slot: usize, parse: fn(&[u8]) -> Option<T>) -> Result<Option<T>, Reject> {
        let parsed = match self.raw(slot) {
            Raw::Absent | Raw::Plain(b"") => return Ok(None),
            Raw::Plain(bytes) => parse(bytes),
            _ => parse(&self.bytes(slot)),
        };
        match parsed {
            Some(value) => Ok(Some(value)),
            None => Err(Reject { reason: Reason::BadValue, field: self.name(slot) }),
        }
    }

    fn need<T>(&self, slot: usize, parse: fn(&[u8]) -> Option<T>) -> Result<T, Reject> {
        match self.parse(slot, parse)? {
            Some(value) => Ok(value),
            None => Err(Reject::missing(self.name(slot))),
        }
    }

    pub(crate) fn time(&self, slot: usize) -> Result<PacketTime, Reject> {
        self.need(slot, value::time)
    }

    pub(crate) fn span(&self, slot: usize) -> Result<Option<Span>, Reject> {
        self.parse(slot, value::span)
    }

    pub(crate) fn need_addr(&self, slot: usize) -> Result<IpAddr, Reject> {
        self.need(slot, value::addr)
    }

    pub(crate) fn addr(&self, slot: usize) -> Result<Option<IpAddr>, Reject> {
        self.parse(slot, value::addr)
    }

    pub(crate) fn count(&self, slot: usize) -> Result<Option<u64>, Reject> {
        self.parse(slot, value::count)
    }

    pub(crate) fn short_count(&self, slot: usize) -> Result<Option<u16>, Reject> {
        self.parse(slot, |text| value::count(text).and_then(|n| u16::try_from(n).ok()))
    }

    pub(crate) fn small_count(&self, slot: usize) -> Result<Option<u32>, Reject> {
        self.parse(slot, |text| value::count(text).and_then(|n| u32::try_from(n).ok()))
    }

    /// What `find` makes of the word in a slot.
    pub(crate) fn word<T>(&self, slot: usize, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        match self.raw(slot) {
            Raw::Absent => None,
            Raw::Plain(bytes) => find(std::str::from_utf8(bytes).ok()?),
            _ => find(&self.string(slot)),
        }
    }

    pub(crate) fn boolean(&self, slot: usize) -> Result<Option<bool>, Reject> {
        self.parse(slot, value::boolean)
    }

    pub(crate) fn flag(&self, slot: usize) -> Result<bool, Reject> {
        Ok(self.boolean(slot)?.unwrap_or(false))
    }

    pub(crate) fn mac(&self, slot: usize) -> Result<Option<MacAddr>, Reject> {
        self.parse(slot, value::mac)
    }

    /// An endpoint; without a port it is port 0.
    pub(crate) fn endpoint(&self, addr: usize, port: usize) -> Result<Endpoint, Reject> {
        Ok(Endpoint { addr: self.need_addr(addr)?, port: self.short_count(port)?.unwrap_or(0) })
    }

    /// When and between whom, for logs whose table begins with the six columns that Zeek begins them with.
    pub(crate) fn about(&self, proto: Proto) -> Result<About, Reject> {
        Ok(About {
            at: self.time(TS)?,
            uid: self.uid(UID),
            src: self.endpoint(ORIG_H, ORIG_P)?,
            dst: self.endpoint(RESP_H, RESP_P)?,
            proto,
            interface: 0,
            heard: true,
            tunnelled: false,
            src_mac: None,
        })
    }

    pub(crate) fn uid(&self, slot: usize) -> Uid {
        self.short(slot)
    }

    /// The transport of a slot; `default` when it is absent.
    pub(crate) fn proto(&self, slot: usize, default: Proto) -> Proto {
        match self.raw(slot) {
            Raw::Absent => default,
            Raw::Plain(b"tcp") => Proto::Tcp,
            Raw::Plain(b"udp") => Proto::Udp,
            _ => Proto::from_name(&self.string(slot)),
        }
    }
}

/// The slots with which every table begins that uses [`Row::about`].
pub(crate) const TS: usize = 0;
const UID: usize = 1;
pub(crate) const ORIG_H: usize = 2;
const ORIG_P: usize = 3;
pub(crate) const RESP_H: usize = 4;
const RESP_P: usize = 5;
