//! Machines among themselves: Modbus, MQTT, SNMP, RADIUS, syslog.

use super::Service;
use super::ber;
use super::hints::Hints;
use crate::wire::{be16, byte};

/// How a TCP payload opens.
pub(super) fn opening(payload: &[u8]) -> Hints {
    if is_modbus(payload) {
        Hints::MODBUS
    } else if is_mqtt(payload) {
        Hints::MQTT
    } else {
        Hints::NONE
    }
}

/// A frame: transaction, protocol 0, length, unit, a known function or its error.
fn is_modbus(payload: &[u8]) -> bool {
    let fits = be16(payload, 4)
        .is_some_and(|length| (2..=254).contains(&length) && usize::from(length) + 6 <= payload.len());
    let known = byte(payload, 7)
        .is_some_and(|function| matches!(function & 0x7f, 1..=8 | 11 | 12 | 15..=17 | 20..=24 | 43));
    be16(payload, 2) == Some(0) && fits && known
}

/// A client's wish to connect, with the protocol's name.
fn is_mqtt(payload: &[u8]) -> bool {
    let [0x10, rest @ ..] = payload else { return false };
    let more = rest.iter().take(3).take_while(|byte| **byte & 0x80 != 0).count();
    let name = rest.get(more + 1..).unwrap_or(&[]);
    name.starts_with(b"\0\x04MQTT") || name.starts_with(b"\0\x06MQIsdp")
}

/// Datagrams.
pub(super) fn of_datagram(payload: &[u8], ports: impl Fn(&[u16]) -> bool) -> Option<Service> {
    match payload.first()? {
        0x30 if is_snmp(payload) => Some(Service::Snmp),
        b'<' if is_syslog(payload) => Some(Service::Syslog),
        _ if ports(&[1812, 1813, 1645, 1646, 3799]) && is_radius(payload) => Some(Service::Radius),
        _ => None,
    }
}

/// A message that fills the datagram: version 1, 2 or 3, then a community or a header.
fn is_snmp(payload: &[u8]) -> bool {
    let fits = || {
        let message = ber::element(payload)?;
        let version = ber::element(message.body)?;
        let next = ber::element(version.rest)?;
        let whole = message.rest.is_empty() && message.body.len() == message.length && version.tag == 2;
        Some(match version.body {
            [0 | 1] => whole && next.tag == 4 && matches!(ber::element(next.rest)?.tag, 0xa0..=0xa8),
            [3] => whole && next.tag == 0x30,
            _ => false,
        })
    };
    fits().unwrap_or(false)
}

/// `<priority>` and text.
fn is_syslog(payload: &[u8]) -> bool {
    let Some(rest) = payload.strip_prefix(b"<") else { return false };
    let digits = rest.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    let value = rest.iter().take(digits).fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let text = rest.get(digits..).and_then(|rest| rest.strip_prefix(b">"));
    let is_text =
        |text: &[u8]| !text.is_empty() && text.iter().take(8).all(|byte| matches!(byte, 0x20..=0x7e));
    (1..=3).contains(&digits) && value <= 191 && text.is_some_and(is_text)
}

/// A known code and the stated length.
fn is_radius(payload: &[u8]) -> bool {
    let known = byte(payload, 0).is_some_and(|code| matches!(code, 1..=5 | 11..=13 | 40..=45));
    known
        && payload.len() >= 20
        && be16(payload, 2).is_some_and(|length| usize::from(length) == payload.len())
}
