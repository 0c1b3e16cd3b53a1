//! Tags and lengths of ASN.1's basic encoding, as far as recognising needs them.

/// An element: its tag, what is in it as far as captured, its stated length, and what follows it.
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
    pub(crate) length: usize,
    pub(crate) rest: &'a [u8],
}

/// The element at the beginning of `bytes`, with a length of at most three bytes.
pub(crate) fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let (tag, length, body) = match bytes {
        [tag, length @ 0..=127, body @ ..] => (*tag, usize::from(*length), body),
        [tag, 0x81, length, body @ ..] => (*tag, usize::from(*length), body),
        [tag, 0x82, high, low, body @ ..] => (*tag, usize::from(u16::from_be_bytes([*high, *low])), body),
        [tag, 0x83, a, b, c, body @ ..] | [tag, 0x84, 0, a, b, c, body @ ..] => {
            (*tag, u32::from_be_bytes([0, *a, *b, *c]) as usize, body)
        }
        _ => return None,
    };
    let end = length.min(body.len());
    Some(Element { tag, body: body.get(..end)?, length, rest: body.get(end..)? })
}
