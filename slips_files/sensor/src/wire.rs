//! Reading numbers from bytes that an attacker chose: every read may fail, none may panic.

/// Big-endian 16 bits at `at`.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_be_bytes(*chunk))
}

/// Big-endian 32 bits at `at`.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

/// Big-endian 128 bits at `at`.
pub(crate) fn be128(bytes: &[u8], at: usize) -> Option<u128> {
    bytes.get(at..)?.first_chunk().map(|chunk| u128::from_be_bytes(*chunk))
}

/// One byte at `at`.
pub(crate) fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Six bytes at `at`.
pub(crate) fn mac(bytes: &[u8], at: usize) -> Option<slips_core::flow::MacAddr> {
    bytes.get(at..)?.first_chunk().map(|chunk| slips_core::flow::MacAddr(*chunk))
}
