//! Messages on a stream: five bytes of ASCII with the length in decimal, filled up with blanks, then so many bytes.

/// Bytes of the length.
pub(super) const LENGTH: usize = 5;
/// The longest message that the length can tell.
pub const MAX_FRAME: usize = 99_999;

/// What came of a stream and was not taken yet. It never holds more than one message and one read.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
    start: usize,
}

/// The length is none: where the next message begins cannot be known any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLength;

impl Frames {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if it is there.
    ///
    /// # Errors
    /// When no length stands where one must.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, NoLength> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((length, rest)) = rest.split_at_checked(LENGTH) else {
            // What cannot become a length is told at once.
            return if rest.iter().all(|byte| byte.is_ascii_digit() || *byte == b' ') {
                Ok(None)
            } else {
                Err(NoLength)
            };
        };
        let length = read_length(length).ok_or(NoLength)?;
        if rest.len() < length {
            return Ok(None);
        }
        let from = self.start + LENGTH;
        self.start = from + length;
        Ok(self.buffer.get(from..self.start))
    }

    /// Whether a message has begun and is not whole.
    pub fn has_part(&self) -> bool {
        self.start < self.buffer.len()
    }
}

fn read_length(text: &[u8]) -> Option<usize> {
    // Blanks only: `trim` of a text knows more kinds of space.
    let digits = std::str::from_utf8(text).ok()?.trim_matches(' ');
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// A message as it is sent; `None` where it is too long.
pub(super) fn frame(message: &str) -> Option<Vec<u8>> {
    (message.len() <= MAX_FRAME).then(|| format!("{:<LENGTH$}{message}", message.len()).into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(frames: &mut Frames) -> Result<Vec<Vec<u8>>, NoLength> {
        let mut out = Vec::new();
        while let Some(frame) = frames.next_frame()? {
            out.push(frame.to_vec());
        }
        Ok(out)
    }

    #[test]
    fn lengths_may_be_filled_up_on_either_side_and_must_be_numbers() {
        for (bytes, expected) in [
            (&b"2    {}    2[]"[..], Ok(vec![b"{}".to_vec(), b"[]".to_vec()])),
            (b"00002{}0    ", Ok(vec![b"{}".to_vec(), Vec::new()])),
            (b"00003{}", Ok(vec![])),
            (b"     {}", Err(NoLength)),
            (b"-0002{}", Err(NoLength)),
            // However it is cut: a newline is no blank.
            (b"\n4704", Err(NoLength)),
            (b"\n47", Err(NoLength)),
            (b"{", Err(NoLength)),
            (b"12", Ok(vec![])),
        ] {
            let mut frames = Frames::default();
            frames.push(bytes);
            assert_eq!(all(&mut frames), expected, "{}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(frame("{}").as_deref(), Some(&b"2    {}"[..]));
        assert!(frame(&"x".repeat(MAX_FRAME + 1)).is_none());
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read_however_it_is_cut(messages in proptest::collection::vec("[ -~]{0,40}", 0..8), cut in 1usize..20) {
            let sent: Vec<u8> = messages.iter().filter_map(|message| frame(message)).flatten().collect();
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for part in sent.chunks(cut) {
                frames.push(part);
                got.extend(all(&mut frames).expect("lengths"));
            }
            let got: Vec<String> = got.into_iter().map(|frame| String::from_utf8(frame).expect("text")).collect();
            prop_assert_eq!(got, messages);
            prop_assert!(!frames.has_part());
        }
    }
}
