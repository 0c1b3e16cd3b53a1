//! Suricata's event log (`eve.json`): one JSON object per line, its kind in `event_type`.
//!
//! Flows carry TCP flags and counters from which Zeek's state is told ([`crate::flowlog::state`]); DNS questions and answers
//! come apart and are put together ([`dns`]); signatures become notices ([`alert`]).

mod alert;
mod dhcp;
mod dns;
mod files;
mod flow;
mod growing;
mod http;
mod quic;
mod smtp;
mod ssh;
mod tls;

pub use growing::GrowingEve;

use std::path::Path;
use std::sync::Arc;

use memchr::memmem::Finder;
use slips_core::flow::Proto;

use crate::blocks::{Line, Lines};
use crate::error::InputError;
use crate::flowlog::order::Reorder;
use crate::flowlog::source::Records;
use crate::flowlog::transport;
use crate::report::{Reason, Reject, Report};
use crate::stream::{self, Stream};
use crate::zeek::json::{self, KeyTable};
use crate::zeek::row::{Dialect, Names, Raw, Row};

/// One kind of event.
struct Kind {
    /// Its `event_type`.
    name: &'static str,
    names: Names,
    /// The slot of `event_type`.
    slot: usize,
    /// Puts the event of a row into the queue.
    decode: fn(&Row<'_>, &mut Reorder) -> Result<(), Reject>,
}

/// What is read. Everything else (`stats`, `anomaly`, `smb` …) is passed over and counted.
static KINDS: [&Kind; 10] = [
    &flow::KIND,
    &dns::KIND,
    &http::KIND,
    &tls::KIND,
    &alert::KIND,
    &files::KIND,
    &ssh::KIND,
    &smtp::KIND,
    &quic::KIND,
    &dhcp::KIND,
];

/// Reads the lines of an event log.
pub(crate) struct Eve {
    path: Arc<Path>,
    file: usize,
    lines: Lines,
    decoder: Decoder,
}

struct Decoder {
    marker: Finder<'static>,
    keys: [KeyTable; KINDS.len()],
}

impl Eve {
    pub(crate) fn new(path: &Arc<Path>, file: usize, stream: Stream) -> Self {
        Self { path: Arc::clone(path), file, lines: Lines::new(stream.blocks), decoder: Decoder::new() }
    }
}

impl Records for Eve {
    fn read(&mut self, want: usize, queue: &mut Reorder, report: &mut Report) -> Result<bool, InputError> {
        for _ in 0..want {
            let decoded = match self.lines.next() {
                Some(Line::Whole(line)) => self.decoder.take(line, queue),
                Some(Line::Tail(line)) => {
                    self.decoder.take(line, queue).map_err(|_| Reject::new(Reason::TruncatedLastLine))
                }
                Some(Line::TooLong) => Err(Reject::new(Reason::LineTooLong)),
                None => {
                    if let Some(fault) = self.lines.take_fault() {
                        let reject = stream::judge_fault(&self.path, fault)?;
                        report.reject(self.file, self.lines.number(), reject);
                    }
                    return Ok(false);
                }
            };
            match decoded {
                Ok(Taken::Used) => report.count(self.file, 1),
                Ok(Taken::Empty) => {}
                Ok(Taken::Unused) => report.pass_over(self.file),
                Err(reject) => report.reject(self.file, self.lines.number(), reject),
            }
        }
        Ok(true)
    }
}

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Used,
    /// An event of a kind that is not used.
    Unused,
    Empty,
}

impl Decoder {
    fn new() -> Self {
        Self {
            marker: Finder::new(b"\"event_type\":\""),
            keys: std::array::from_fn(|at| KeyTable::new(KINDS.get(at).map_or(&[], |kind| kind.names))),
        }
    }

    fn take(&mut self, line: &[u8], queue: &mut Reorder) -> Result<Taken, Reject> {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            return Ok(Taken::Empty);
        }
        if let Some(kind) = self.at_a_glance(line)
            && let Some(taken) = self.read(line, kind, queue)?
        {
            return Ok(taken);
        }
        // Written otherwise than Suricata does, or of a kind that is not used.
        let keys = json::keys(line).ok_or(Reject::new(Reason::NotJson))?;
        let named = keys.iter().find(|(key, _)| *key == b"event_type");
        let Some((_, Raw::Plain(name))) = named else { return Err(Reject::missing("event_type")) };
        match KINDS.iter().position(|kind| kind.name.as_bytes() == *name) {
            None => Ok(Taken::Unused),
            Some(kind) => Ok(self.read(line, kind, queue)?.unwrap_or(Taken::Unused)),
        }
    }

    /// The kind that the line seems to be of, without reading all of it.
    fn at_a_glance(&self, line: &[u8]) -> Option<usize> {
        let from = self.marker.find(line)? + self.marker.needle().len();
        let rest = line.get(from..)?;
        KINDS.iter().position(|kind| {
            rest.strip_prefix(kind.name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'"'))
        })
    }

    /// Reads a line as of this kind; `None` when it is of another.
    fn read(&mut self, line: &[u8], kind: usize, queue: &mut Reorder) -> Result<Option<Taken>, Reject> {
        let (Some(kind), Some(keys)) = (KINDS.get(kind), self.keys.get_mut(kind)) else { return Ok(None) };
        let mut row = Row::new(Dialect::Json, kind.names);
        json::read(line, keys, &mut row)?;
        if row.word(kind.slot, |name| (name == kind.name).then_some(())).is_none() {
            return Ok(None);
        }
        (kind.decode)(&row, queue)?;
        Ok(Some(Taken::Used))
    }
}

/// The transport in a slot.
fn proto(row: &Row<'_>, slot: usize) -> Proto {
    row.word(slot, |name| Some(transport::by_name(name))).unwrap_or(Proto::Other(255))
}

/// A TLS version in Zeek's words.
fn version(text: &str) -> String {
    let dotted = text.strip_prefix("TLS 1.").or(text.strip_prefix("TLSv1."));
    match (text, dotted) {
        ("TLSv1" | "TLS 1.0", _) => "TLSv10".to_owned(),
        (_, Some(minor)) => format!("TLSv1{}", minor.replace(' ', "-")),
        ("UNDETERMINED", _) => String::new(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_zeeks() {
        for (text, expected) in [
            ("TLSv1", "TLSv10"),
            ("TLS 1.1", "TLSv11"),
            ("TLS 1.3", "TLSv13"),
            ("TLS 1.3 draft-28", "TLSv13-draft-28"),
            ("SSLv3", "SSLv3"),
            ("UNDETERMINED", ""),
            ("", ""),
        ] {
            assert_eq!(version(text), expected);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Decoder::new().take(&bytes, &mut Reorder::default());
        }

        #[test]
        fn nearly_events_never_panic(
            kind in 0..KINDS.len(),
            values in proptest::collection::vec((0usize..30, r#""[A-Z0-9:.,"\\-]{0,12}"|[0-9]{1,20}|\[(\{"[a-z]{1,3}":1\},?){0,2}\]|true|\{\}"#), 0..12),
        ) {
            let kind = KINDS[kind];
            let mut line = format!(
                r#"{{"event_type":"{}","timestamp":"2021-06-06T15:59:46.457984+0200","src_ip":"192.0.2.1","dest_ip":"::1""#,
                kind.name
            );
            for (at, value) in &values {
                let name = kind.names[at % kind.names.len()].0;
                line += &match name.split_once('.') {
                    Some((outer, inner)) => format!(r#","{outer}":{{"{inner}":{value}}}"#),
                    None => format!(r#","{name}":{value}"#),
                };
            }
            line += "}";
            let _ = Decoder::new().take(line.as_bytes(), &mut Reorder::default());
        }
    }
}
