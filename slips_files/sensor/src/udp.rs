//! UDP datagrams.

use crate::counters::Reject;
use crate::ip::Packet;
use crate::ports;

/// A datagram, taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    /// Payload length as the header says.
    pub(crate) length: u32,
    /// Payload as captured, perhaps less.
    pub(crate) payload: &'a [u8],
    /// The checksum field is zero: the sender computed none.
    pub(crate) unchecked: bool,
}

impl<'a> Header<'a> {
    pub(crate) fn decode(packet: &Packet<'a>) -> Result<Self, Reject> {
        let head: &[u8; 8] = packet.payload.first_chunk().ok_or(Reject::Transport)?;
        let length = match u16::from_be_bytes([head[4], head[5]]) {
            // a jumbogram, or offloading
            0 => packet.payload_length,
            length => u32::from(length),
        };
        let length = length.checked_sub(8).ok_or(Reject::Transport)?;
        let payload = packet.payload.get(8..).unwrap_or(&[]);
        Ok(Self {
            src_port: u16::from_be_bytes([head[0], head[1]]),
            dst_port: u16::from_be_bytes([head[2], head[3]]),
            length,
            payload: payload.get(..length as usize).unwrap_or(payload),
            unchecked: head[6] == 0 && head[7] == 0,
        })
    }

    /// Whether the flow that begins with this datagram was begun by its receiver, judged by the ports.
    pub(crate) fn is_backwards(&self, src: u128, dst: u128) -> bool {
        // 255.255.255.255 cannot be one end of a conversation (DHCP)
        const BROADCAST: u128 = 0xffff_ffff_ffff;
        ports::is_udp_server(self.src_port)
            && !ports::is_udp_server(self.dst_port)
            && src != BROADCAST
            && dst != BROADCAST
    }
}
