//! Versions of QUIC: what they are called, what their first packets are protected with, how they number packet types.

/// What a long header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Initial,
    ZeroRtt,
    Handshake,
    Retry,
}

/// A version that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version(u32);

const V2: u32 = 0x6b33_43cf;
const DRAFT_23: u32 = 0xff00_0017;
const DRAFT_34: u32 = 0xff00_0022;
/// Versions of Facebook's mvfst that follow the drafts 23 to 28.
const MVFST: [u32; 2] = [0xface_b002, 0xface_b00e];

impl Version {
    /// `None` for versions whose first packets cannot be read.
    pub(super) const fn known(number: u32) -> Option<Self> {
        match number {
            1 | V2 | DRAFT_23..=DRAFT_34 => Some(Self(number)),
            _ if number == MVFST[0] || number == MVFST[1] => Some(Self(number)),
            _ => None,
        }
    }

    /// The type of a long header. Version 2 numbers them otherwise (RFC 9369, section 3.2).
    pub(super) const fn kind(self, first: u8) -> Kind {
        let number = first >> 4 & 3;
        let number = if self.0 == V2 { number.wrapping_sub(1) & 3 } else { number };
        match number {
            0 => Kind::Initial,
            1 => Kind::ZeroRtt,
            2 => Kind::Handshake,
            _ => Kind::Retry,
        }
    }

    /// The salt of the secrets of Initials: RFC 9001, section 5.2, RFC 9369, section 3.3.1, and the drafts.
    pub(super) const fn salt(self) -> [u8; 20] {
        match self.0 {
            1 | 0xff00_0021 | DRAFT_34 => [
                0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c,
                0xad, 0xcc, 0xbb, 0x7f, 0x0a,
            ],
            V2 => [
                0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d,
                0xcb, 0xf9, 0xbd, 0x2e, 0xd9,
            ],
            0xff00_001d..=0xff00_0020 => [
                0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61, 0x11,
                0xe0, 0x43, 0x90, 0xa8, 0x99,
            ],
            _ => [
                0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4, 0x63,
                0x65, 0xbe, 0xf9, 0xf5, 0x02,
            ],
        }
    }

    /// The labels of the key, of the vector and of the header's key.
    pub(super) const fn labels(self) -> [&'static str; 3] {
        if self.0 == V2 {
            ["quicv2 key", "quicv2 iv", "quicv2 hp"]
        } else {
            ["quic key", "quic iv", "quic hp"]
        }
    }
}

/// A version's name as Zeek prints it.
pub(super) fn name(number: u32) -> String {
    match number {
        1 => "1".to_owned(),
        V2 => "quicv2".to_owned(),
        0xff00_0016..=DRAFT_34 => format!("draft-{}", number & 0xff),
        0xface_b001 | 0xface_b002 | 0xface_b00e | 0xface_b011..=0xface_b013 => format!("mvfst ({number:x})"),
        _ => format!("unknown-{number:x}"),
    }
}
