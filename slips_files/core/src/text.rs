//! Short texts that live inside their owner, so that a flow costs no allocation.

use std::fmt;

/// A text of at most `N` bytes (`N` ≤ 255) stored in place. What does not fit is cut at a character border.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortText<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> ShortText<N> {
    /// The empty text.
    pub const EMPTY: Self = Self { bytes: [0; N], len: 0 };

    /// Stores `text`, cut at the last character border that fits.
    pub fn new(text: &str) -> Self {
        let mut end = text.len().min(N).min(255);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut short = Self::EMPTY;
        for (to, from) in short.bytes.iter_mut().zip(text.as_bytes().iter().take(end)) {
            *to = *from;
        }
        short.len = end as u8;
        short
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.bytes
            .get(..usize::from(self.len))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or("")
    }

    /// Whether the text is empty.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Appends one ASCII character; false, and nothing is changed, when it is not ASCII or does not fit.
    pub fn push_ascii(&mut self, byte: u8) -> bool {
        if !byte.is_ascii() {
            return false;
        }
        match self.bytes.get_mut(usize::from(self.len)) {
            Some(slot) if self.len < 255 => {
                *slot = byte;
                self.len += 1;
                true
            }
            _ => false,
        }
    }

    /// Whether the text contains `byte`.
    pub fn contains(&self, byte: u8) -> bool {
        self.as_str().as_bytes().contains(&byte)
    }
}

impl<const N: usize> Default for ShortText<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<const N: usize> From<&str> for ShortText<N> {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl<const N: usize> fmt::Debug for ShortText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for ShortText<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_between_characters() {
        assert_eq!(ShortText::<5>::new("hello world").as_str(), "hello");
        assert_eq!(ShortText::<4>::new("abcé").as_str(), "abc");
        assert_eq!(ShortText::<5>::new("abcé").as_str(), "abcé");
        assert_eq!(ShortText::<0>::new("x").as_str(), "");
    }

    #[test]
    fn characters_are_appended_until_it_is_full() {
        let mut text = ShortText::<3>::new("Sh");
        assert!(text.push_ascii(b'A'));
        assert!(!text.push_ascii(b'D'));
        assert!(!ShortText::<3>::default().push_ascii(200));
        assert_eq!(text.as_str(), "ShA");
    }
}
