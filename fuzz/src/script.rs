//! An input as a conversation: who sends what, in order or not.
//!
//! A turn is a control byte (bit 0: who speaks; bits 1 to 3: what happens to the bytes on their way), a length of one byte
//! (bit 4 of the control byte: of two) and the bytes. Seeds are written with [`turns`].

use crate::bytes::Bytes;
use crate::net::{Net, settings};
use crate::wire::{ACK, FIN, RST, SYN, ipv4, tcp, udp};

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [192, 0, 2, 9];

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum From {
    Client,
    Server,
}

/// A conversation in which nothing is lost, as an input.
pub fn turns(turns: &[(From, &[u8])]) -> Vec<u8> {
    let mut input = Vec::new();
    for (from, bytes) in turns {
        for bytes in bytes.chunks(1400) {
            input.push(16 | u8::from(*from == From::Server));
            input.extend((bytes.len() as u16).to_le_bytes());
            input.extend(bytes);
        }
    }
    input
}

/// A TCP connection.
struct Connection {
    net: Net,
    port: u16,
    /// Next sequence number of each side.
    next: [u32; 2],
    /// A packet that comes after the next one.
    late: Option<Vec<u8>>,
}

impl Connection {
    fn segment(&self, from: usize, flags: u8, seq: u32, bytes: &[u8]) -> Vec<u8> {
        let ack = self.next[1 - from];
        match from {
            0 => ipv4(CLIENT, SERVER, 6, &tcp((40_000, self.port), flags, seq, ack, bytes)),
            _ => ipv4(SERVER, CLIENT, 6, &tcp((self.port, 40_000), flags, seq, ack, bytes)),
        }
    }

    fn send(&mut self, from: usize, flags: u8, seq: u32, bytes: &[u8]) {
        let packet = self.segment(from, flags, seq, bytes);
        self.net.ip(&packet);
        if let Some(late) = self.late.take() {
            self.net.ip(&late);
        }
    }

    fn turn(&mut self, kind: u8, from: usize, bytes: &[u8]) {
        let seq = self.next[from];
        self.next[from] = seq.wrapping_add(bytes.len() as u32);
        match kind {
            // lost on its way to us, and acknowledged by what the other side says next
            4 => {}
            5 => {
                self.send(from, ACK, seq, bytes);
                self.send(from, ACK, seq, bytes);
            }
            6 => {
                let packet = self.segment(from, ACK, seq, bytes);
                if let Some(earlier) = self.late.replace(packet) {
                    self.net.ip(&earlier);
                }
            }
            7 => {
                let back = u32::from(bytes.first().copied().unwrap_or(0));
                self.next[from] = self.next[from].wrapping_sub(back);
                self.send(from, ACK, seq.wrapping_sub(back), bytes);
            }
            _ => self.send(from, ACK, seq, bytes),
        }
    }
}

/// Plays an input over TCP with a server on `port`. The first byte says how it ends.
pub fn stream(port: u16, input: &[u8]) {
    let mut input = Bytes(input);
    let end = input.byte();
    let next = [u32::MAX - 600, 0x1000];
    let mut connection = Connection { net: Net::new(settings()), port, next, late: None };
    connection.send(0, SYN, next[0], b"");
    connection.next[0] = next[0].wrapping_add(1);
    connection.send(1, SYN | ACK, next[1], b"");
    connection.next[1] += 1;
    connection.send(0, ACK, connection.next[0], b"");
    while !input.is_over() {
        let control = input.byte();
        let length = if control & 16 == 0 { u16::from(input.byte()) } else { input.word() };
        connection.turn(control >> 1 & 7, (control & 1).into(), input.take(length.into()));
    }
    match end & 3 {
        0 => {
            for from in [0, 1] {
                connection.send(from, FIN | ACK, connection.next[from], b"");
                connection.next[from] = connection.next[from].wrapping_add(1);
            }
            connection.send(0, ACK, connection.next[0], b"");
        }
        1 => connection.send(1, RST | ACK, connection.next[1], b""),
        _ => {}
    }
    connection.net.finish();
}

/// Plays an input over UDP between these ports of client and server.
pub fn datagrams(ports: (u16, u16), input: &[u8]) {
    let mut input = Bytes(input);
    let mut net = Net::new(settings());
    while !input.is_over() {
        let control = input.byte();
        let length = if control & 16 == 0 { u16::from(input.byte()) } else { input.word() };
        let bytes = input.take(length.into());
        let packet = match control & 1 {
            0 => ipv4(CLIENT, SERVER, 17, &udp(ports, bytes)),
            _ => ipv4(SERVER, CLIENT, 17, &udp((ports.1, ports.0), bytes)),
        };
        net.ip(&packet);
        // the rest of the control byte is seconds that pass
        net.at += i64::from(control >> 5) * 1_000_000;
    }
    net.finish();
}
