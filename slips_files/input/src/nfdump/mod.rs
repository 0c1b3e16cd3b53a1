//! nfdump's binary files, of both layouts (versions 1.6 and 1.7 write them), plain or compressed with LZO, LZ4, bzip2 or zstd.
//!
//! Each record is one direction of a conversation; [`crate::flowlog::pair`] puts the two together.

mod record;
mod unpack;
mod v1;
mod v2;

use std::path::Path;
use std::sync::Arc;

use bzip2::bufread::BzDecoder;

use crate::blocks::Blocks;
use crate::error::InputError;
use crate::flowlog::order::Reorder;
use crate::flowlog::pair;
use crate::flowlog::source::Records;
use crate::report::{Reason, Reject, Report};
use crate::stream;
use crate::zstd::Zstd;

/// nfdump writes blocks of 1 MiB and refuses to read those beyond 5.
const MAX_BLOCK: usize = 16 << 20;
const BLOCK_HEADER: usize = 12;

/// How a block is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packed {
    No,
    Lzo,
    Lz4,
    Bzip2,
    Zstd,
}

/// The layout of a file, with what its records refer to.
enum Layout {
    V1(v1::Maps),
    V2,
}

/// Reads the records of a file.
pub(crate) struct Nfdump {
    path: Arc<Path>,
    file: usize,
    blocks: Blocks,
    layout: Layout,
    packed: Packed,
    /// Data blocks that are left; unknown while the file is being written.
    left: Option<u32>,
    /// The block at hand, unpacked, and how far it was read.
    block: Vec<u8>,
    at: usize,
    number: u64,
}

/// Why a file cannot be read although we know what it is.
pub(crate) enum Refusal {
    /// It ends within its header.
    Short,
    /// It is of a kind that we do not read.
    Kind(&'static str),
}

impl Nfdump {
    /// Reads the header.
    pub(crate) fn begin(path: &Arc<Path>, file: usize, mut blocks: Blocks) -> Result<Self, Refusal> {
        let window = blocks.fill(v1::HEADER);
        let version = match window {
            [0x0c, 0xa5, low, high, ..] => u16::from_le_bytes([*low, *high]),
            _ => return Err(Refusal::Kind("an nfdump file of a big-endian machine")),
        };
        let (layout, header, length) = match version {
            1 => (Layout::V1(v1::Maps::default()), v1::header(window), v1::HEADER),
            2 => (Layout::V2, v2::header(window), v2::HEADER),
            _ => return Err(Refusal::Kind("an nfdump file of an unknown layout")),
        };
        let Header { compression, blocks: count } = header.ok_or(Refusal::Short)?;
        let packed = match compression {
            0 => Packed::No,
            1 => Packed::Lzo,
            2 => Packed::Bzip2,
            3 => Packed::Lz4,
            4 => Packed::Zstd,
            // `nfdump -r FILE -w NEW` writes it anew without compression.
            _ => {
                return Err(Refusal::Kind(
                    "an nfdump file that is encrypted or compressed in an unknown way, which",
                ));
            }
        };
        blocks.cut(length);
        let left = Some(count).filter(|count| *count > 0);
        let path = Arc::clone(path);
        Ok(Self { path, file, blocks, layout, packed, left, block: Vec::new(), at: 0, number: 0 })
    }

    /// Brings the next block of records in; false at the end.
    fn next_block(&mut self) -> Result<bool, Reject> {
        self.block.clear();
        self.at = 0;
        if self.left == Some(0) {
            return Ok(false);
        }
        let header = self.blocks.fill(BLOCK_HEADER);
        if header.is_empty() {
            // Fewer blocks than the header promises: the file was cut between two.
            return if self.left.is_some() { Err(Reject::new(Reason::TruncatedCapture)) } else { Ok(false) };
        }
        let (Some(size), Some(kind), Some(flags)) =
            (record::u32_at(header, 4), record::u16_at(header, 8), record::u16_at(header, 10))
        else {
            return Err(Reject::new(Reason::TruncatedCapture));
        };
        let size = usize::try_from(size).ok().filter(|size| *size <= MAX_BLOCK);
        let Some(size) = size else { return Err(Reject::new(Reason::BadBlockLength)) };
        self.blocks.cut(BLOCK_HEADER);
        if self.blocks.fill(size).len() < size {
            return Err(Reject::new(Reason::TruncatedCapture));
        }
        let bytes = self.blocks.cut(size);
        let holds_records = match self.layout {
            Layout::V1(_) => kind == v1::DATA_BLOCK,
            Layout::V2 => kind == v2::DATA_BLOCK,
        };
        self.left = self.left.map(|left| left - 1);
        if !holds_records {
            return Ok(true);
        }
        // A block may be stored as it is in a compressed file.
        if self.packed == Packed::No || flags & 1 != 0 {
            self.block.extend_from_slice(bytes);
            return Ok(true);
        }
        let unpacked = match self.packed {
            Packed::Lzo => unpack::lzo::unpack(bytes, MAX_BLOCK, &mut self.block),
            Packed::Bzip2 => unpack::stream(BzDecoder::new(bytes), MAX_BLOCK, &mut self.block),
            Packed::Zstd => unpack::stream(Zstd::new(bytes), MAX_BLOCK, &mut self.block),
            Packed::No | Packed::Lz4 => unpack::lz4::unpack(bytes, MAX_BLOCK, &mut self.block),
        };
        match unpacked {
            Some(()) => Ok(true),
            None => {
                self.block.clear();
                Err(Reject::new(Reason::BadBlock))
            }
        }
    }

    /// Reads one record; false when the block has no more.
    fn next_record(&mut self, queue: &mut Reorder) -> Result<Option<Taken>, Reject> {
        let rest = self.block.get(self.at..).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(None);
        }
        let (kind, size) = (record::u16_at(rest, 0), record::u16_at(rest, 2));
        let record = size.filter(|size| *size >= 4).and_then(|size| rest.get(..usize::from(size)));
        let (Some(kind), Some(record)) = (kind, record) else {
            self.at = self.block.len();
            return Err(Reject::new(Reason::BadBlockLength));
        };
        self.at += record.len();
        let half = match &mut self.layout {
            Layout::V1(maps) => maps.read(kind, record)?,
            Layout::V2 => v2::read(kind, record)?,
        };
        let Some(half) = half else { return Ok(Some(Taken::Other)) };
        self.number += 1;
        pair::place(&half, self.number, queue);
        Ok(Some(Taken::Flow))
    }
}

/// What a file's header tells.
struct Header {
    /// nfdump's number: 0 none, 1 LZO, 2 bzip2, 3 LZ4, 4 zstd.
    compression: u8,
    blocks: u32,
}

/// What became of a record.
enum Taken {
    Flow,
    /// A record about exporters, samplers or the layout of others.
    Other,
}

impl Records for Nfdump {
    fn read(&mut self, want: usize, queue: &mut Reorder, report: &mut Report) -> Result<bool, InputError> {
        for _ in 0..want {
            match self.next_record(queue) {
                Ok(Some(Taken::Flow)) => report.count(self.file, 1),
                Ok(Some(Taken::Other)) => {}
                Err(reject) => report.reject(self.file, self.number + 1, reject),
                Ok(None) => {
                    let more = match self.next_block() {
                        Ok(more) => more,
                        Err(reject) => {
                            report.reject(self.file, self.number + 1, reject);
                            // What cannot be unpacked is skipped; what has no length ends the file.
                            reject.reason == Reason::BadBlock
                        }
                    };
                    if let Some(fault) = self.blocks.take_fault() {
                        let reject = stream::judge_fault(&self.path, fault)?;
                        report.reject(self.file, self.number + 1, reject);
                        return Ok(false);
                    }
                    if !more {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}
