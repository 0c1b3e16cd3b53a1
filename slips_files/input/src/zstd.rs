//! Zstandard streams (RFC 8878): frames one behind the other, what is to be skipped among them.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// A frame may ask for so much memory to look back in; `zstd` itself takes no more unless it is told to.
const MAX_WINDOW: u64 = 128 << 20;
/// So much is unpacked at once, in whole blocks of up to 128 KiB.
const AT_ONCE: usize = 256 << 10;

/// Unpacks `inner`.
pub(crate) struct Zstd<R> {
    inner: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Zstd<R> {
    pub(crate) fn new(inner: R) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW);
        Self { inner, decoder, within: false }
    }

    /// Begins the next frame; false at the end of the stream.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.inner.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.inner) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = io::copy(&mut (&mut self.inner).take(length.into()), &mut io::sink())?;
                    if skipped < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.decoder.read(to).unwrap_or(0);
            if count > 0 || to.is_empty() {
                return Ok(count);
            }
            if self.within && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.inner, BlockDecodingStrategy::UptoBytes(AT_ONCE))
                    .map_err(|_| io::ErrorKind::InvalidData)?;
                continue;
            }
            self.within = self.begin()?;
            if !self.within {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `zstd --no-check` makes of `one` and a line end, and `zstd` of `two`.
    const ONE: &[u8] = b"\x28\xb5\x2f\xfd\x00\x58\x21\x00\x00one\n";
    const TWO: &[u8] = b"\x28\xb5\x2f\xfd\x04\x58\x21\x00\x00two\n\x0f\x2d\x04\xf9";
    const SKIPPED: &[u8] = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc";

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        Zstd::new(bytes).read_to_end(&mut text).map(|_| text)
    }

    #[test]
    fn frames_follow_each_other() {
        assert_eq!(unpack(&[ONE, SKIPPED, TWO].concat()).expect("frames"), b"one\ntwo\n");
        assert_eq!(unpack(b"").expect("nothing"), b"");
        for damaged in [&ONE[..10], &[ONE, &SKIPPED[..9]].concat(), &[ONE, b"junk"].concat()] {
            assert!(unpack(damaged).is_err());
        }
    }
}
