//! Captures written byte by byte, for what log files cannot tell: what is said on the link itself.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A capture in the making; frames are Ethernet.
pub struct Pcap(Vec<u8>);

/// A hardware address that ends in `last`.
pub const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

impl Default for Pcap {
    fn default() -> Self {
        Self::new()
    }
}

impl Pcap {
    /// An empty capture.
    pub fn new() -> Self {
        let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
        bytes.extend([0; 8]);
        bytes.extend(65_535u32.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        Self(bytes)
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// A frame, so many milliseconds after the beginning.
    pub fn frame(&mut self, millis: u64, src: [u8; 6], dst: [u8; 6], kind: u16, payload: &[u8]) {
        let (secs, micros) = (1_700_000_000 + millis / 1000, millis % 1000 * 1000);
        let length = 14 + payload.len() as u32;
        self.0.extend((secs as u32).to_le_bytes());
        self.0.extend((micros as u32).to_le_bytes());
        self.0.extend(length.to_le_bytes());
        self.0.extend(length.to_le_bytes());
        self.0.extend(dst);
        self.0.extend(src);
        self.0.extend(kind.to_be_bytes());
        self.0.extend(payload);
    }

    /// An IPv4 packet.
    pub fn v4(
        &mut self,
        millis: u64,
        macs: ([u8; 6], [u8; 6]),
        src: Ipv4Addr,
        dst: Ipv4Addr,
        proto: u8,
        body: &[u8],
    ) {
        let mut head = vec![0x45, 0];
        head.extend((20 + body.len() as u16).to_be_bytes());
        head.extend([0, 1, 0, 0, 64, proto, 0, 0]);
        head.extend(src.octets());
        head.extend(dst.octets());
        let check = sum(&[&head]);
        head[10..12].copy_from_slice(&check.to_be_bytes());
        head.extend(body);
        self.frame(millis, macs.0, macs.1, 0x0800, &head);
    }

    /// A datagram over IPv4, whose checksum is left out.
    pub fn udp(
        &mut self,
        millis: u64,
        from: (Ipv4Addr, u16, [u8; 6]),
        to: (Ipv4Addr, u16, [u8; 6]),
        body: &[u8],
    ) {
        let mut datagram = from.1.to_be_bytes().to_vec();
        datagram.extend(to.1.to_be_bytes());
        datagram.extend((8 + body.len() as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(body);
        self.v4(millis, (from.2, to.2), from.0, to.0, 17, &datagram);
    }

    /// A whole TCP connection over IPv4 in which the client says each of `asks` in a segment of its own, and is answered `answer` to
    /// each.
    pub fn talk(
        &mut self,
        millis: u64,
        client: (Ipv4Addr, u16, [u8; 6]),
        server: (Ipv4Addr, u16, [u8; 6]),
        asks: &[&[u8]],
        answer: &[u8],
    ) {
        const FIN: u8 = 1;
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        let (mut at, mut seq) = (millis, [1000u32, 9000]);
        let mut say = |pcap: &mut Self, side: usize, flags: u8, body: &[u8]| {
            let (from, to) = if side == 0 { (client, server) } else { (server, client) };
            let ack = if flags & ACK == 0 { 0 } else { seq[1 - side] };
            pcap.segment(at, from, to, (flags, seq[side], ack), body);
            let counted = u32::from(flags & (SYN | FIN) != 0);
            seq[side] = seq[side].wrapping_add(body.len() as u32 + counted);
            at += 5;
        };
        say(self, 0, SYN, b"");
        say(self, 1, SYN | ACK, b"");
        say(self, 0, ACK, b"");
        for ask in asks {
            say(self, 0, ACK, ask);
            say(self, 1, ACK, answer);
        }
        say(self, 0, FIN | ACK, b"");
        say(self, 1, FIN | ACK, b"");
        say(self, 0, ACK, b"");
    }

    /// A segment of TCP over IPv4: its flags, sequence number and acknowledgement.
    fn segment(
        &mut self,
        millis: u64,
        from: (Ipv4Addr, u16, [u8; 6]),
        to: (Ipv4Addr, u16, [u8; 6]),
        (flags, seq, ack): (u8, u32, u32),
        body: &[u8],
    ) {
        let mut segment = from.1.to_be_bytes().to_vec();
        segment.extend(to.1.to_be_bytes());
        segment.extend(seq.to_be_bytes());
        segment.extend(ack.to_be_bytes());
        segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(body);
        let length = (segment.len() as u16).to_be_bytes();
        let check = sum(&[&from.0.octets(), &to.0.octets(), &[0, 6], &length, &segment]);
        segment[16..18].copy_from_slice(&check.to_be_bytes());
        self.v4(millis, (from.2, to.2), from.0, to.0, 6, &segment);
    }

    /// A message of ICMPv6 that was sent on the link.
    pub fn icmp6(&mut self, millis: u64, from: (Ipv6Addr, [u8; 6]), to: Ipv6Addr, message: &[u8]) {
        let mut body = message.to_vec();
        let length = (body.len() as u32).to_be_bytes();
        let check = sum(&[&from.0.octets(), &to.octets(), &length, &[0, 0, 0, 58], &body]);
        body[2..4].copy_from_slice(&check.to_be_bytes());
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend((body.len() as u16).to_be_bytes());
        packet.extend([58, 255]);
        packet.extend(from.0.octets());
        packet.extend(to.octets());
        packet.extend(body);
        self.frame(millis, from.1, [0x33, 0x33, 0, 0, 0, 1], 0x86dd, &packet);
    }

    /// An ARP question to all.
    pub fn arp(&mut self, millis: u64, from: (Ipv4Addr, [u8; 6]), target: Ipv4Addr) {
        let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
        body.extend(from.1);
        body.extend(from.0.octets());
        body.extend([0; 6]);
        body.extend(target.octets());
        self.frame(millis, from.1, [0xff; 6], 0x0806, &body);
    }
}
