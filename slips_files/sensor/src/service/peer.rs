//! Peers and miners: BitTorrent, STUN, Stratum.

use super::Service;
use super::hints::Hints;
use crate::wire::{be16, be32, byte};

/// How a TCP payload opens.
pub(super) fn opening(payload: &[u8]) -> Hints {
    if payload.starts_with(b"\x13BitTorrent protocol") {
        Hints::BITTORRENT
    } else if is_stratum(payload) {
        Hints::STRATUM
    } else if payload.starts_with(&LEVIN) {
        Hints::MONERO
    } else if is_stun(payload) || is_framed_stun(payload) {
        Hints::STUN
    } else {
        Hints::NONE
    }
}

/// The signature of Monero's nodes among themselves.
const LEVIN: [u8; 8] = [1, 0x21, 1, 1, 1, 1, 1, 1];

/// STUN behind its length, as ICE sends it over TCP (RFC 4571).
fn is_framed_stun(payload: &[u8]) -> bool {
    let length = be16(payload, 0).map_or(0, usize::from);
    payload.get(2..).is_some_and(|message| message.len() >= length && is_stun(message))
}

/// A JSON request of a miner: `mining.…`, or a login with the worker's name, or for Ethereum's work.
fn is_stratum(payload: &[u8]) -> bool {
    if !payload.starts_with(b"{") {
        return false;
    }
    let head = payload.get(..512).unwrap_or(payload);
    let has = |word: &[u8]| head.windows(word.len()).any(|part| part == word);
    has(b"\"mining.")
        || has(b"\"eth_submitLogin\"")
        || has(b"\"eth_getWork\"")
        || (has(b"\"method\"") && has(b"\"login\"") && has(b"\"pass\""))
}

/// RFC 8489: two zero bits, the length, the magic number.
fn is_stun(payload: &[u8]) -> bool {
    let fits =
        be16(payload, 2).is_some_and(|length| length % 4 == 0 && usize::from(length) + 20 <= payload.len());
    byte(payload, 0).is_some_and(|first| first < 64) && be32(payload, 4) == Some(0x2112_a442) && fits
}

/// Datagrams.
pub(super) fn of_datagram(payload: &[u8]) -> Option<Service> {
    const TRACKER: [u8; 8] = [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80];
    let asks =
        [&b"d1:ad2:id20:"[..], b"d1:rd2:id20:", b"d2:ip6:"].iter().any(|start| payload.starts_with(start));
    if asks || (payload.len() == 16 && payload.starts_with(&TRACKER)) {
        return Some(Service::Bittorrent);
    }
    is_stun(payload).then_some(Service::Stun)
}
