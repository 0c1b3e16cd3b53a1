//! Decompressing bodies, a bounded number at once, a bounded length each.

use flate2::{Decompress, FlushDecompress, Status};

/// Longest header of a gzip member that is read.
const MAX_HEADER: usize = 4096;
/// Output that is handed on at once.
pub(super) const CHUNK: usize = 16 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    /// With the header of zlib or, as some servers do it, without.
    Deflate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Data,
    /// It ended, was damaged or became too long.
    Over,
}

/// One body being decompressed.
#[derive(Debug)]
pub(crate) struct Inflate {
    coding: Coding,
    stage: Stage,
    header: Vec<u8>,
    engine: Decompress,
    /// Most bytes that a body is decompressed to; what follows is not looked at.
    max: u64,
    /// It became too long.
    pub(super) is_cut_short: bool,
}

/// Length of the header at the start of `bytes`; `None` when more is needed, and `Some(None)` when it is none.
fn header_length(coding: Coding, bytes: &[u8]) -> Option<Option<usize>> {
    match (coding, bytes) {
        (Coding::Deflate, [first, second, ..]) => {
            let is_zlib = first & 15 == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0;
            Some(Some(if is_zlib { 2 } else { 0 }))
        }
        (Coding::Gzip, [0x1f, 0x8b, 8, flags, _, _, _, _, _, _, ..]) => gzip_header(*flags, bytes),
        (Coding::Gzip, [first, ..]) if *first != 0x1f => Some(None),
        (Coding::Gzip, [_, second, ..]) if *second != 0x8b => Some(None),
        _ => None,
    }
}

fn gzip_header(flags: u8, bytes: &[u8]) -> Option<Option<usize>> {
    let mut at = 10;
    if flags & 4 != 0 {
        let [low, high, ..] = bytes.get(at..)? else { return None };
        at += 2 + usize::from(u16::from_le_bytes([*low, *high]));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += bytes.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    (at <= bytes.len()).then_some(Some(at))
}

impl Inflate {
    pub(super) fn new(max: u64) -> Self {
        Self {
            coding: Coding::Gzip,
            stage: Stage::Header,
            header: Vec::new(),
            engine: Decompress::new(false),
            max,
            is_cut_short: false,
        }
    }

    /// Begins another body.
    pub(super) fn begin(&mut self, coding: Coding) {
        self.coding = coding;
        self.stage = Stage::Header;
        self.header.clear();
        self.engine.reset(false);
        self.is_cut_short = false;
    }

    /// Takes compressed bytes and hands on what they give. `room` is memory to decompress to.
    pub(super) fn take(&mut self, bytes: &[u8], room: &mut [u8], sink: &mut impl FnMut(&[u8])) {
        match self.stage {
            Stage::Over => {}
            Stage::Data => self.inflate(bytes, room, sink),
            Stage::Header => {
                self.header.extend_from_slice(bytes);
                match header_length(self.coding, &self.header) {
                    None if self.header.len() > MAX_HEADER => self.stage = Stage::Over,
                    None => {}
                    Some(None) => {
                        // it is not what it is said to be: told as it came
                        self.stage = Stage::Over;
                        sink(&self.header);
                    }
                    Some(Some(length)) => {
                        self.stage = Stage::Data;
                        let header = std::mem::take(&mut self.header);
                        self.inflate(header.get(length..).unwrap_or(&[]), room, sink);
                        self.header = header;
                        self.header.clear();
                    }
                }
            }
        }
    }

    fn inflate(&mut self, mut bytes: &[u8], room: &mut [u8], sink: &mut impl FnMut(&[u8])) {
        while self.stage == Stage::Data {
            let (before_in, before_out) = (self.engine.total_in(), self.engine.total_out());
            let status = self.engine.decompress(bytes, room, FlushDecompress::None);
            let taken = (self.engine.total_in() - before_in) as usize;
            let given = (self.engine.total_out() - before_out) as usize;
            sink(room.get(..given).unwrap_or(&[]));
            bytes = bytes.get(taken..).unwrap_or(&[]);
            match status {
                Ok(Status::Ok) if self.engine.total_out() < self.max => {}
                Ok(Status::Ok) => {
                    self.stage = Stage::Over;
                    self.is_cut_short = true;
                }
                Ok(Status::BufError) => return,
                _ => self.stage = Stage::Over,
            }
            if given < room.len() && bytes.is_empty() || taken == 0 && given == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    fn all(coding: Coding, bytes: &[u8], size: usize) -> Vec<u8> {
        let (mut inflate, mut out, mut room) = (Inflate::new(1 << 20), Vec::new(), vec![0; 64]);
        inflate.begin(coding);
        for part in bytes.chunks(size) {
            inflate.take(part, &mut room, &mut |bytes| out.extend_from_slice(bytes));
        }
        out
    }

    #[test]
    fn all_forms_come_out_however_they_are_cut() {
        let text = b"to be or not to be ".repeat(40);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut plain = DeflateEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&text).expect("memory");
        zlib.write_all(&text).expect("memory");
        plain.write_all(&text).expect("memory");
        let (zlib, plain) = (zlib.finish().expect("memory"), plain.finish().expect("memory"));
        let gzip = gzip.finish().expect("memory");
        let mut named = gzip.clone();
        named[3] = 8 | 4;
        named.splice(10..10, *b"\x02\x00xyname\x00");
        for size in [1, 2, 7, 1000] {
            assert_eq!(all(Coding::Gzip, &gzip, size), text);
            assert_eq!(all(Coding::Gzip, &named, size), text);
            assert_eq!(all(Coding::Deflate, &zlib, size), text);
            assert_eq!(all(Coding::Deflate, &plain, size), text);
        }
        assert_eq!(all(Coding::Gzip, b"plain text", 100), b"plain text");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), gzip: bool) {
            all(if gzip { Coding::Gzip } else { Coding::Deflate }, &bytes, 17);
            all(Coding::Gzip, &[&[0x1f, 0x8b, 8][..], &bytes].concat(), 17);
        }
    }
}
