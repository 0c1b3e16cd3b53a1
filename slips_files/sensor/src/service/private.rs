//! Ways around: SOCKS, OpenVPN, WireGuard, IPsec's key exchange.

use super::Service;
use super::hints::Hints;
use crate::wire::{be16, be32, byte};

/// How a TCP payload opens.
pub(super) fn opening(payload: &[u8]) -> Hints {
    match payload {
        // version 5: as many methods as it says; version 4: connect or bind, ended by the user's name
        [5, count, methods @ ..] if *count > 0 && usize::from(*count) == methods.len() => Hints::SOCKS_CLIENT,
        [4, 1 | 2, _, _, _, _, _, _, .., 0] => Hints::SOCKS_CLIENT,
        [5, 0..=2 | 0xff] | [0, 0x5a..=0x5d, _, _, _, _, _, _] => Hints::SOCKS_SERVER,
        [_, _, rest @ ..] if be16(payload, 0).is_some_and(|length| usize::from(length) == rest.len()) => {
            openvpn(rest)
        }
        _ => Hints::NONE,
    }
}

/// The first message of each side: a reset, with its number where no key protects it.
pub(super) fn openvpn(message: &[u8]) -> Hints {
    const LEAST: usize = 14;
    match message.first() {
        Some(0x38 | 0x50) if message.len() >= LEAST => Hints::OPENVPN_CLIENT,
        Some(0x40) if message.len() >= LEAST => Hints::OPENVPN_SERVER,
        _ => Hints::NONE,
    }
}

/// Datagrams.
pub(super) fn of_datagram(payload: &[u8], ports: impl Fn(&[u16]) -> bool) -> Option<Service> {
    match (payload, payload.len()) {
        ([1, 0, 0, 0, ..], 148) | ([2, 0, 0, 0, ..], 92) => return Some(Service::Wireguard),
        _ => {}
    }
    let message = match (ports(&[500]), ports(&[4500])) {
        (true, _) => payload,
        // four zero bytes tell it from what is encrypted
        (_, true) => payload.strip_prefix(&[0; 4])?,
        _ => return None,
    };
    let fits = be32(message, 24).is_some_and(|length| length as usize == message.len());
    (fits && matches!(byte(message, 17)?, 0x10 | 0x20)).then_some(Service::Ipsec)
}
