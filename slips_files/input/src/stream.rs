//! A file (or any byte stream) opened, unpacked and looked at.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;

use crate::blocks::Blocks;
use crate::error::InputError;
use crate::report::{Reason, Reject};
use crate::sniff::{self, Content, LOOK};
use crate::zstd::Zstd;

/// An open stream, at its beginning.
pub(crate) struct Stream {
    pub(crate) blocks: Blocks,
    pub(crate) content: Content,
}

/// Opens a file. Bytes read from it are added to `done`; unpacked it gives at most `inflate_limit` bytes.
pub(crate) fn open(path: &Path, done: &Arc<AtomicU64>, inflate_limit: u64) -> Result<Stream, InputError> {
    let file = File::open(path).map_err(|error| InputError::from_io(path, error))?;
    from_reader(path, Box::new(file), done, inflate_limit)
}

/// Looks at a stream; `path` is its name in messages.
pub(crate) fn from_reader(
    path: &Path,
    reader: Box<dyn Read + Send>,
    done: &Arc<AtomicU64>,
    inflate_limit: u64,
) -> Result<Stream, InputError> {
    let mut blocks = Blocks::new(Box::new(Counted { inner: reader, done: Arc::clone(done) }));
    let content = sniff::look(blocks.fill(LOOK));
    if blocks.window().is_empty()
        && let Some(fault) = blocks.take_fault()
    {
        return Err(InputError::from_io(path, fault));
    }
    let inner: Box<dyn Read + Send> = match content {
        Content::Gzip => Box::new(MultiGzDecoder::new(blocks)),
        Content::Zstd => Box::new(Zstd::new(blocks)),
        Content::Bzip2 => Box::new(MultiBzDecoder::new(blocks)),
        _ => return Ok(Stream { blocks, content }),
    };
    let mut blocks = Blocks::new(Box::new(Limited { inner, left: inflate_limit }));
    let content = match sniff::look(blocks.fill(LOOK)) {
        Content::Gzip | Content::Zstd | Content::Bzip2 => {
            Content::Unknown(0, "a compressed stream inside of another")
        }
        Content::Empty if blocks.take_fault().is_some() => Content::Unknown(0, "a damaged compressed stream"),
        content => content,
    };
    Ok(Stream { blocks, content })
}

/// What a fault in the middle of a stream means: a damaged compressed stream ends the file, a failing disk ends the run.
pub(crate) fn judge_fault(path: &Path, fault: io::Error) -> Result<Reject, InputError> {
    if fault.raw_os_error().is_some() {
        return Err(InputError::from_io(path, fault));
    }
    Ok(Reject::new(match fault.kind() {
        io::ErrorKind::FileTooLarge => Reason::InflatedTooFar,
        _ => Reason::DamagedStream,
    }))
}

/// Counts what was read, for progress.
struct Counted {
    inner: Box<dyn Read + Send>,
    done: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(to)?;
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Ends with a fault where an unpacked stream grows too far: a small file may inflate without end.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(to)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::ErrorKind::FileTooLarge.into()),
        }
        Ok(count)
    }
}
