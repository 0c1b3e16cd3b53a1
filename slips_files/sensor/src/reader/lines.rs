//! Lines of text protocols, however they are cut.

/// Longest line that is kept; the rest of a longer one is dropped.
pub(crate) const MAX_LINE: usize = 4096;
/// Memory that a side keeps between lines.
const MAX_EMPTY: usize = 256;

/// The begun line of a side.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes bytes up to the end of the next line, which `line` gets without its end; what is left.
    pub(crate) fn take<'a>(&mut self, bytes: &'a [u8], line: impl FnOnce(&[u8])) -> &'a [u8] {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.add(bytes);
            return &[];
        };
        let (now, rest) = bytes.split_at(end);
        if self.begun.is_empty() {
            let now = now.get(..MAX_LINE).unwrap_or(now);
            line(now.strip_suffix(b"\r").unwrap_or(now));
        } else {
            self.add(now);
            line(self.begun.strip_suffix(b"\r").unwrap_or(&self.begun));
            self.clear();
        }
        rest.get(1..).unwrap_or(&[])
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = MAX_LINE.saturating_sub(self.begun.len());
        self.begun.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// Hands over the begun line, whose end will not come.
    pub(crate) fn rest(&mut self, line: impl FnOnce(&[u8])) {
        if !self.begun.is_empty() {
            line(&self.begun);
            self.clear();
        }
    }

    /// Forgets everything but a little memory: a connection that says no more would keep it uncounted.
    pub(crate) fn clear(&mut self) {
        self.begun.clear();
        self.begun.shrink_to(MAX_EMPTY);
    }

    pub(crate) fn held(&self) -> usize {
        self.begun.len()
    }
}

/// A reply of SMTP or FTP: its number, whether it is the last line, and its text.
pub(crate) fn reply(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else { return None };
    let code = [a, b, c].iter().fold(0, |sum, digit| sum * 10 + u16::from(**digit - b'0'));
    match rest {
        [] => Some((code, true, rest)),
        [b'-', text @ ..] => Some((code, false, text)),
        [b' ', text @ ..] => Some((code, true, text)),
        _ => None,
    }
}

/// The first word of a command in upper case, as far as it has eight letters, and what follows.
pub(crate) fn command(line: &[u8]) -> ([u8; 8], &[u8]) {
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let mut upper = [b' '; 8];
    for (to, from) in upper.iter_mut().zip(word) {
        *to = from.to_ascii_uppercase();
    }
    (upper, rest.trim_ascii())
}

/// At most 512 bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..512).unwrap_or(bytes)).into_owned()
}
