//! Capture files: pcap of either byte order and any resolution, and pcapng.
//!
//! A file is read as a stream and nothing in it is believed: lengths have caps, what ends early gives what is there, and the
//! first thing that cannot be ends the file, for what follows it cannot be found any more.

mod classic;
mod ng;
mod source;

use std::path::Path;
use std::sync::Arc;

use slips_core::time::PacketTime;

use crate::blocks::Blocks;
use crate::error::InputError;
use crate::report::{Reason, Reject, Report};
use crate::sniff::Content;
use crate::source::{self as input, OpenOptions, Progress};
use crate::stream::{self, Stream};

pub(crate) use source::CaptureSource;

/// No captured packet is longer (tcpdump's own limit).
pub const MAX_PACKET: usize = 256 << 10;

/// One packet of a capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Link type number (DLT) of its interface.
    pub dlt: u32,
    /// Index of its interface in the file.
    pub interface: u16,
    /// When it was captured.
    pub at: PacketTime,
    /// What was captured of it.
    pub captured: &'a [u8],
    /// How long it was on the wire.
    pub wire_len: u32,
}

/// An open capture file.
pub struct CaptureFile {
    path: Arc<Path>,
    blocks: Blocks,
    format: Format,
    /// Ordinal of the packet that was given last.
    number: u64,
    ended: bool,
    report: Report,
    progress: Progress,
}

enum Format {
    Classic(classic::Classic),
    Ng(ng::Ng),
}

/// What stands at the front of the stream.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A packet: in the next `length` bytes, `captured` of them from `from` on.
    Packet {
        dlt: u32,
        interface: u16,
        at: PacketTime,
        from: usize,
        captured: usize,
        length: usize,
        wire_len: u32,
    },
    /// Something that is no packet; already skipped.
    Other,
    /// A packet that cannot be used; already skipped.
    Reject(Reason),
    /// Something after which nothing can be found.
    Broken(Reason),
    /// The end.
    End,
}

impl CaptureFile {
    /// Opens a capture, also a compressed one.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self, InputError> {
        let (stream, progress) = input::open_file(path, options)?;
        match stream.content {
            Content::Pcap | Content::PcapNg => Self::from_stream(path, stream, progress),
            _ => Err(InputError::unknown(path, 0, "not a capture")),
        }
    }

    pub(crate) fn from_stream(path: &Path, stream: Stream, progress: Progress) -> Result<Self, InputError> {
        let Stream { mut blocks, content } = stream;
        let (format, kind) = match content {
            Content::PcapNg => (Format::Ng(ng::Ng::default()), "pcapng"),
            _ => match classic::Classic::begin(&mut blocks) {
                Some(classic) => (Format::Classic(classic), "pcap"),
                None => return Err(InputError::unknown(path, 0, "a capture that ends within its header")),
            },
        };
        let path: Arc<Path> = path.into();
        let mut report = Report::default();
        report.add_file(&path, kind);
        Ok(Self { path, blocks, format, number: 0, ended: false, report, progress })
    }

    /// The next packet; `None` at the end.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, InputError> {
        while !self.ended {
            let step = match &mut self.format {
                Format::Classic(classic) => classic.step(&mut self.blocks),
                Format::Ng(ng) => ng.step(&mut self.blocks),
            };
            match step {
                Step::Packet { dlt, interface, at, from, captured, length, wire_len } => {
                    self.number += 1;
                    self.report.count(0, 1);
                    let record = self.blocks.cut(length);
                    let captured = record.get(from..from + captured).unwrap_or(&[]);
                    return Ok(Some(Packet { dlt, interface, at, captured, wire_len }));
                }
                Step::Other => {}
                Step::Reject(reason) => {
                    self.number += 1;
                    self.reject(reason);
                }
                Step::Broken(reason) => {
                    self.ended = true;
                    self.end(Some(reason))?;
                }
                Step::End => {
                    self.ended = true;
                    self.end(None)?;
                }
            }
        }
        Ok(None)
    }

    /// A fault of the stream explains its early end better than what was found there.
    fn end(&mut self, found: Option<Reason>) -> Result<(), InputError> {
        let reason = match self.blocks.take_fault() {
            Some(fault) => Some(stream::judge_fault(&self.path, fault)?.reason),
            None => found,
        };
        if let Some(reason) = reason {
            self.number += 1;
            self.reject(reason);
        }
        Ok(())
    }

    /// The packet that was given last could not be used after all.
    fn refuse(&mut self, reason: Reason) {
        self.report.uncount(0);
        self.reject(reason);
    }

    fn reject(&mut self, reason: Reason) {
        self.report.reject(0, self.number, Reject { reason, field: "" });
    }

    /// What was read so far. Samples name packets by their ordinal.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Bytes read and bytes there are, where that can be told.
    pub fn progress(&self) -> Option<(u64, u64)> {
        self.progress.now()
    }
}

/// The byte order of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }
}

#[cfg(test)]
mod tests;
