//! What offices speak: SMB, DCE/RPC, LDAP, Kerberos, RDP, RFB.

use super::Service;
use super::ber;
use super::hints::Hints;
use crate::wire::be32;

/// How a TCP payload opens.
pub(super) fn opening(payload: &[u8]) -> Hints {
    match payload {
        [0, _, _, _, 0xfd..=0xff, b'S', b'M', b'B', ..] => return Hints::SMB,
        // versions 5.0 and 5.1, a known packet, whole
        [5, 0 | 1, 0..=0x13, 3, ..] => return Hints::DCE_RPC,
        [3, 0, _, _, _, 0xe0, ..] => return Hints::RDP_REQUEST,
        [3, 0, _, _, _, 0xd0, ..] => return Hints::RDP_CONFIRM,
        [b'R', b'F', b'B', b' ', b'0', _, _, b'.', b'0', _, _, b'\n', ..] => return Hints::RFB,
        [0x30, ..] => return ldap(payload),
        _ => {}
    }
    let framed = be32(payload, 0).is_some_and(|length| length as usize + 4 >= payload.len());
    if framed && payload.get(4..).is_some_and(is_kerberos) { Hints::KERBEROS } else { Hints::NONE }
}

/// A message: its number, then an operation.
fn ldap(payload: &[u8]) -> Hints {
    let operation = || {
        let message = ber::element(payload).filter(|message| message.tag == 0x30)?;
        let number = ber::element(message.body).filter(|number| number.tag == 2)?;
        (1..=4).contains(&number.length).then(|| ber::element(number.rest)).flatten()
    };
    match operation().map(|operation| operation.tag) {
        // bind, unbind, search, modify, add, delete, rename, compare, abandon, extended
        Some(0x60 | 0x42 | 0x63 | 0x66 | 0x68 | 0x4a | 0x6c | 0x6e | 0x50 | 0x77) => Hints::LDAP_REQUEST,
        Some(0x61 | 0x64 | 0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | 0x73 | 0x78) => Hints::LDAP_REPLY,
        _ => Hints::NONE,
    }
}

/// A request or answer of either service, or an error, with its sequence inside filling it.
fn is_kerberos(message: &[u8]) -> bool {
    let fits = || {
        let outer = ber::element(message)?;
        let inner = ber::element(outer.body)?;
        let header = outer.body.len() - inner.body.len() - inner.rest.len();
        Some(
            matches!(outer.tag, 0x6a..=0x6f | 0x7e)
                && inner.tag == 0x30
                && inner.length + header == outer.length,
        )
    };
    fits().unwrap_or(false)
}

/// Datagrams.
pub(super) fn of_datagram(payload: &[u8], ports: impl Fn(&[u16]) -> bool) -> Option<Service> {
    let is_ldap = || ldap(payload).has(Hints::LDAP_REQUEST.and(Hints::LDAP_REPLY));
    if ports(&[389, 3268]) && is_ldap() {
        return Some(Service::LdapUdp);
    }
    (ports(&[88, 464]) && is_kerberos(payload)).then_some(Service::Kerberos)
}
