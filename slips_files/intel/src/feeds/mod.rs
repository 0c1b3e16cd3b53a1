//! Lists of others, in the forms that they come in: plain lists, hosts files, CSV, Zeek's intelligence, JSON, STIX 2.1 and MISP.
//!
//! The form is found by looking at the bytes, so that a feed that changes its form goes on being read. No line is left out for the words
//! in it; each is taken, or rejected for a reason that is counted.

mod catalogue;
pub(crate) mod date;
mod json;
mod lines;
mod misp;
mod stix;
mod zeek;

use slips_core::addr;
use slips_core::evidence::ThreatLevel;

pub use catalogue::{CatalogueProblem, Entry, catalogue};

use crate::ioc::{Ioc, NotAnIoc, is_known_zone};
use crate::snapshot::{Builder, Saying, decode};

/// A list that is to be read.
#[derive(Clone, Copy, Debug)]
pub struct Feed<'a> {
    /// What evidence calls it.
    pub name: &'a str,
    /// How bad what it lists is.
    pub level: ThreatLevel,
    /// Words about all of it, `, ` between them.
    pub tags: &'a str,
    /// What it holds.
    pub holds: Holds,
}

/// What the digests in a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Whatever it looks like; digests are those of files.
    Indicators,
    /// Fingerprints of TLS clients and servers.
    Ja3,
    /// SHA-1 of certificates.
    Certificates,
}

/// Why an item of a list was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reject {
    /// Not UTF-8, or a line of more than 64 KiB.
    NotText,
    /// Nothing that is known.
    NoIndicator,
    /// An address of a private network, or nobody's.
    Private,
    /// A network wider than /8 (IPv6 /16).
    TooWide,
    /// A name in a zone that does not exist: mostly a file's name.
    NoZone,
    /// A kind that is not looked up: mail addresses, mutexes.
    Unsupported,
    /// The list itself says that it does not hold, or not for detection.
    Withdrawn,
    /// It is one only together with others.
    Compound,
    /// There are more than are kept.
    NoRoom,
    /// No document of the form that it seems to be.
    Broken,
}

impl Reject {
    /// All reasons.
    pub const ALL: [Self; 10] = [
        Self::NotText,
        Self::NoIndicator,
        Self::Private,
        Self::TooWide,
        Self::NoZone,
        Self::Unsupported,
        Self::Withdrawn,
        Self::Compound,
        Self::NoRoom,
        Self::Broken,
    ];

    /// For a person.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotText => "not text",
            Self::NoIndicator => "no indicator",
            Self::Private => "private or nobody's",
            Self::TooWide => "too wide",
            Self::NoZone => "no such zone",
            Self::Unsupported => "of a kind that is not looked up",
            Self::Withdrawn => "withdrawn",
            Self::Compound => "only together with others",
            Self::NoRoom => "no room",
            Self::Broken => "broken",
        }
    }
}

/// What was read of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Indicators that were taken; the same one in two places counts twice.
    pub taken: u32,
    rejected: [u32; Reject::ALL.len()],
}

impl Tally {
    /// Items that were rejected for this reason.
    pub fn rejected(&self, reason: Reject) -> u32 {
        self.rejected.get(reason as usize).copied().unwrap_or_default()
    }

    /// Items that were rejected, by reason, where there are any.
    pub fn rejects(&self) -> impl Iterator<Item = (Reject, u32)> + '_ {
        Reject::ALL.into_iter().map(|reason| (reason, self.rejected(reason))).filter(|(_, count)| *count > 0)
    }

    fn reject(&mut self, reason: Reject) {
        if let Some(count) = self.rejected.get_mut(reason as usize) {
            *count = count.saturating_add(1);
        }
    }
}

/// Most bytes of a list of lines, and of a list that is one JSON document, which is held as a whole.
const MAX_LINES: usize = 256 << 20;
const MAX_DOCUMENT: usize = 8 << 20;

/// What an item says besides the indicator.
#[derive(Clone, Copy, Debug, Default)]
struct Note<'a> {
    description: &'a str,
    tags: &'a str,
    first_seen: u32,
    last_seen: u32,
}

/// Where the readers put what they find.
struct Sink<'a> {
    builder: &'a mut Builder,
    feed: &'a Feed<'a>,
    tally: Tally,
    /// The tags of the feed and of the item at hand.
    tags: String,
}

impl Sink<'_> {
    /// Takes a text for whatever it looks like, within what the list holds.
    fn text(&mut self, text: &str, note: Note<'_>) {
        let ioc = match self.feed.holds {
            Holds::Indicators => Ioc::guess(text).map_err(|error| match error {
                NotAnIoc::Unknown(_) if text.contains('@') => Reject::Unsupported,
                NotAnIoc::Unknown(_) => Reject::NoIndicator,
                NotAnIoc::TooWide(_) => Reject::TooWide,
                NotAnIoc::Nobody(_) => Reject::Private,
            }),
            Holds::Ja3 => decode(text).map(Ioc::Ja3).ok_or(Reject::NoIndicator),
            Holds::Certificates => decode(text).map(Ioc::Certificate).ok_or(Reject::NoIndicator),
        };
        match ioc {
            Ok(ioc) => self.take(&ioc, note),
            Err(reason) => self.tally.reject(reason),
        }
    }

    fn take(&mut self, ioc: &Ioc, note: Note<'_>) {
        let reason = match ioc {
            Ioc::Net(net) if addr::is_private(net.addr()) => Some(Reject::Private),
            Ioc::Domain(name) if !is_known_zone(name) => Some(Reject::NoZone),
            _ => None,
        };
        if let Some(reason) = reason {
            return self.tally.reject(reason);
        }
        self.tags.clear();
        self.tags.push_str(self.feed.tags);
        if !note.tags.is_empty() {
            let between = if self.tags.is_empty() { "" } else { ", " };
            self.tags.extend([between, note.tags]);
        }
        let saying = Saying {
            level: self.feed.level,
            description: note.description,
            source: self.feed.name,
            tags: &self.tags,
            first_seen: note.first_seen,
            last_seen: note.last_seen,
        };
        // One list for both sides, as in the original.
        let other_side = match ioc {
            Ioc::Ja3(digest) => self.builder.add(&Ioc::Ja3s(*digest), &saying),
            _ => true,
        };
        if self.builder.add(ioc, &saying) && other_side {
            self.tally.taken = self.tally.taken.saturating_add(1);
        } else {
            self.tally.reject(Reject::NoRoom);
        }
    }

    fn reject(&mut self, reason: Reject) {
        self.tally.reject(reason);
    }
}

impl Builder {
    /// Reads a list. What cannot be used is counted, and the rest is kept.
    pub fn read_feed(&mut self, feed: &Feed<'_>, bytes: &[u8]) -> Tally {
        let mut sink = Sink { builder: self, feed, tally: Tally::default(), tags: String::new() };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
        if bytes.len() > MAX_LINES {
            sink.reject(Reject::Broken);
        } else if is_json(bytes) {
            json::read(&mut sink, bytes);
        } else if zeek::is_one(bytes) {
            zeek::read(&mut sink, bytes);
        } else {
            lines::read(&mut sink, bytes);
        }
        sink.tally
    }
}

/// Filters of browsers begin with a title in brackets, which is no array.
fn is_json(bytes: &[u8]) -> bool {
    let next = || bytes.get(1..).unwrap_or_default().trim_ascii_start().first();
    match bytes.first() {
        Some(b'{') => true,
        Some(b'[') => next().is_none_or(|byte| matches!(byte, b'{' | b'[' | b'"' | b']')),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
