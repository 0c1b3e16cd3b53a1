//! Sets of digests: sorted, found by binary search.

/// Digests of `N` bytes with their marks.
#[derive(Clone, Debug)]
pub(crate) struct Digests<const N: usize> {
    pub(crate) rows: Vec<[u8; N]>,
    pub(crate) marks: Vec<u32>,
}

impl<const N: usize> Default for Digests<N> {
    fn default() -> Self {
        Self { rows: Vec::new(), marks: Vec::new() }
    }
}

impl<const N: usize> Digests<N> {
    /// The mark of a digest in hexadecimal digits.
    pub(crate) fn lookup(&self, hex: &str) -> Option<u32> {
        if self.rows.is_empty() {
            return None;
        }
        let at = self.rows.binary_search(&decode(hex)?).ok()?;
        self.marks.get(at).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn memory(&self) -> usize {
        self.rows.capacity() * N + self.marks.capacity() * 4
    }
}

/// The bytes behind 2 × `N` hexadecimal digits.
pub(crate) fn decode<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; N];
    for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
        *to = (digit(*high)? * 16 + digit(*low)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_of_both_cases_and_of_the_right_number() {
        assert_eq!(decode::<2>("0aFf"), Some([0x0a, 0xff]));
        for text in ["", "0", "0aF", "0aFf0", "0aFg", "0aF\u{e9}"] {
            assert_eq!(decode::<2>(text), None, "{text}");
        }
    }
}
