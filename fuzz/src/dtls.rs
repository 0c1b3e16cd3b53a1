//! An input as a DTLS handshake. Records and fragments are framed here, so that the fuzzer reaches the messages and their order.

use crate::bytes::Bytes;
use crate::net::{Net, settings};
use crate::wire::{ipv4, udp};

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [192, 0, 2, 9];

/// What a turn's bytes are; bits 1 and 2 of its control byte.
#[derive(Clone, Copy)]
pub enum Kind {
    /// The type of a handshake message, then its body.
    Message = 0,
    /// A fragment: type, number, length of the whole (two bytes), offset (two bytes), then its bytes.
    Fragment = 2,
    /// The type of a record, then its content.
    Record = 4,
    /// A datagram as it is.
    Raw = 6,
}

/// Set in a control byte: the server speaks; the length has two bytes; the record waits to be sent with the next one.
pub const SERVER_SPEAKS: u8 = 1;
pub const LONG: u8 = 16;
pub const WITH_NEXT: u8 = 32;

/// A turn, as an input.
pub fn turn(kind: Kind, control: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind as u8 | control | LONG][..], &(bytes.len() as u16).to_le_bytes(), bytes].concat()
}

fn record(kind: u8, number: u16, content: &[u8]) -> Vec<u8> {
    let head = [kind, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0];
    [&head[..], &number.to_be_bytes(), &(content.len() as u16).to_be_bytes(), content].concat()
}

fn fragment(kind: u8, number: u16, whole: u16, at: u16, bytes: &[u8]) -> Vec<u8> {
    let wide = |value: u16| [&[0][..], &value.to_be_bytes()].concat();
    [&[kind][..], &wide(whole), &number.to_be_bytes(), &wide(at), &wide(bytes.len() as u16), bytes].concat()
}

/// Plays an input.
pub fn play(input: &[u8]) {
    let mut input = Bytes(input);
    let mut net = Net::new(settings());
    let (mut records, mut messages) = (0u16, [0u16; 2]);
    let mut datagram = Vec::new();
    while !input.is_over() {
        let control = input.byte();
        let length = if control & LONG == 0 { u16::from(input.byte()) } else { input.word() };
        let mut bytes = Bytes(input.take(length.into()));
        let side = usize::from(control & SERVER_SPEAKS);
        match control & 6 {
            0 => {
                let kind = bytes.byte();
                let message = fragment(kind, messages[side], bytes.0.len() as u16, 0, bytes.0);
                messages[side] = messages[side].wrapping_add(1);
                datagram.extend(record(22, records, &message));
            }
            2 => {
                let (kind, number) = (bytes.byte(), bytes.byte().into());
                let (whole, at) = (bytes.word(), bytes.word());
                datagram.extend(record(22, records, &fragment(kind, number, whole, at, bytes.0)));
            }
            4 => {
                let kind = bytes.byte();
                datagram.extend(record(kind, records, bytes.0));
            }
            _ => datagram.extend(bytes.0),
        }
        records = records.wrapping_add(1);
        if control & WITH_NEXT == 0 {
            let packet = match side {
                0 => ipv4(CLIENT, SERVER, 17, &udp((40_000, 4433), &datagram)),
                _ => ipv4(SERVER, CLIENT, 17, &udp((4433, 40_000), &datagram)),
            };
            net.ip(&packet);
            datagram.clear();
        }
    }
    net.finish();
}
