//! An FTP data connection: all that a side sends is one file.

use crate::files::{Body, Engines};
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// Both sides of a data connection; one of them is silent.
#[derive(Debug, Default)]
pub(crate) struct Transfer {
    bodies: [Body; 2],
}

impl Transfer {
    /// Forgets everything but the memory.
    pub(crate) fn reset(&mut self, engines: &mut Engines) {
        self.bodies.iter_mut().for_each(|body| body.abandon(engines));
    }

    pub(crate) fn held(&self) -> usize {
        self.bodies.iter().map(Body::held).sum()
    }

    /// Takes the next bytes of a side.
    pub(crate) fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        self.bodies[dir as usize].take(bytes, &mut cx.tools.files);
        Next::More
    }

    /// Bytes are missing.
    pub(crate) fn lose(&mut self, dir: Dir, lost: u64) -> Next {
        self.bodies[dir as usize].lose(lost);
        Next::More
    }

    /// The connection is over; a file is whole if its sender said so.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>) {
        for (dir, body) in [Dir::Orig, Dir::Resp].into_iter().zip(&mut self.bodies) {
            let is_whole = cx.track.end(dir).fins > 0;
            body.end("FTP_DATA", dir, is_whole, cx);
        }
    }
}
