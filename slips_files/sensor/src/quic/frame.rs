//! Frames that Initials may have (RFC 9000, section 12.4).

use super::header::Wire;

/// A frame that says something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Crypto {
        offset: u64,
        bytes: &'a [u8],
    },
    Close,
    /// It cannot be read, nor what is behind it.
    Malformed,
}

/// The frames of a packet, without padding and acknowledgements.
pub(super) struct Frames<'a>(pub(super) &'a [u8]);

impl<'a> Frames<'a> {
    fn read(&mut self) -> Option<Frame<'a>> {
        let mut wire = Wire(self.0);
        let frame = loop {
            match wire.byte()? {
                0 | 1 => {}
                kind @ (2 | 3) => acknowledgement(&mut wire, kind == 3)?,
                6 => {
                    let offset = wire.number()?;
                    let length = wire.number()?;
                    break Frame::Crypto { offset, bytes: wire.take(length)? };
                }
                0x1c => {
                    let _ = (wire.number()?, wire.number()?);
                    let length = wire.number()?;
                    wire.take(length)?;
                    break Frame::Close;
                }
                _ => return None,
            }
            if wire.0.is_empty() {
                self.0 = &[];
                return None;
            }
        };
        self.0 = wire.0;
        Some(frame)
    }
}

fn acknowledgement(wire: &mut Wire<'_>, has_counts: bool) -> Option<()> {
    let _ = (wire.number()?, wire.number()?);
    let ranges = wire.number()?;
    wire.number()?;
    // ends with the packet at the latest
    for _ in 0..ranges {
        let _ = (wire.number()?, wire.number()?);
    }
    if has_counts {
        let _ = (wire.number()?, wire.number()?, wire.number()?);
    }
    Some(())
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let frame = self.read();
        if frame.is_none() && !self.0.is_empty() {
            self.0 = &[];
            return Some(Frame::Malformed);
        }
        frame
    }
}
