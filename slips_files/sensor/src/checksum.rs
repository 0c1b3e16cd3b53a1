//! The Internet checksum (RFC 1071).

/// Sum of the 16-bit words of `bytes`, not yet folded.
fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(2);
    let mut total: u64 = 0;
    for word in &mut words {
        if let [high, low] = word {
            total += u64::from(u16::from_be_bytes([*high, *low]));
        }
    }
    if let [last] = words.remainder() {
        total += u64::from(*last) << 8;
    }
    total
}

fn folds_to_ones(mut total: u64) -> bool {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total == 0xffff
}

/// Whether a header (or message without pseudo-header) with its checksum field in place is intact.
pub(crate) fn is_right(bytes: &[u8]) -> bool {
    folds_to_ones(sum(bytes))
}

/// Whether a transport segment is intact under its pseudo-header.
pub(crate) fn is_right_under(src: u128, dst: u128, v6: bool, proto: u8, segment: &[u8]) -> bool {
    let addresses = if v6 {
        sum(&src.to_be_bytes()) + sum(&dst.to_be_bytes())
    } else {
        sum(&(src as u32).to_be_bytes()) + sum(&(dst as u32).to_be_bytes())
    };
    let length = segment.len() as u64;
    folds_to_ones(addresses + u64::from(proto) + (length >> 16) + (length & 0xffff) + sum(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_header_is_right_until_a_bit_changes() {
        let mut header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01,
            0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert!(is_right(&header));
        header[3] ^= 1;
        assert!(!is_right(&header));
    }
}
