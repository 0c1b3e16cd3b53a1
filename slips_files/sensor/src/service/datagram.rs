//! Datagrams, each of which is whole.

use super::hints::Hints;
use super::{Service, desktop, machine, peer, private, text};
use crate::wire::{be16, be32, byte};

/// What a datagram is by itself.
pub(super) fn of_datagram(payload: &[u8], src_port: u16, dst_port: u16) -> Option<Service> {
    let ports = |known: &[u16]| known.contains(&src_port) || known.contains(&dst_port);
    if ports(&[67, 68]) && be32(payload, 236) == Some(0x6382_5363) {
        return Some(Service::Dhcp);
    }
    if ports(&[123]) && payload.len() >= 48 && byte(payload, 0).is_some_and(is_ntp_flags) {
        return Some(Service::Ntp);
    }
    if text::is_sip(payload) {
        return Some(Service::Sip);
    }
    desktop::of_datagram(payload, ports)
        .or_else(|| machine::of_datagram(payload, ports))
        .or_else(|| private::of_datagram(payload, ports))
        .or_else(|| peer::of_datagram(payload))
}

/// How a datagram opens, where it takes both sides to tell.
pub(super) fn opening(payload: &[u8]) -> Hints {
    private::openvpn(payload)
}

const fn is_ntp_flags(flags: u8) -> bool {
    matches!((flags >> 3) & 7, 1..=4) && matches!(flags & 7, 1..=7)
}

/// Whether TCP to this port is DNS, where it reads as DNS.
pub(crate) const fn is_dns_port(port: u16) -> bool {
    port == 53
}

/// Whether a datagram or a framed TCP message on these ports may be DNS.
pub(crate) fn may_be_dns(payload: &[u8], src_port: u16, dst_port: u16) -> bool {
    if [53, 137, 5353, 5355].iter().any(|port| *port == src_port || *port == dst_port) {
        return true;
    }
    // elsewhere only a plain question counts: one question, no answers, opcode and reserved bits zero
    let Some(flags) = be16(payload, 2) else { return false };
    flags & 0xfecf == 0
        && be16(payload, 4) == Some(1)
        && be16(payload, 6) == Some(0)
        && be16(payload, 8) == Some(0)
        && payload.len() >= 17
}
