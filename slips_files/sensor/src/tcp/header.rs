//! TCP header.

use crate::counters::Reject;
use crate::ip::Packet;

/// A TCP segment, taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) fin: bool,
    pub(crate) syn: bool,
    pub(crate) rst: bool,
    pub(crate) ack_flag: bool,
    pub(crate) window: u16,
    /// Bytes of options.
    pub(crate) options: u32,
    /// Payload length as the headers say.
    pub(crate) length: u32,
    /// Payload as captured, perhaps less.
    pub(crate) payload: &'a [u8],
}

impl<'a> Header<'a> {
    pub(crate) fn decode(packet: &Packet<'a>) -> Result<Self, Reject> {
        let head: &[u8; 20] = packet.payload.first_chunk().ok_or(Reject::Transport)?;
        let header_length = u32::from(head[12] >> 4) * 4;
        if header_length < 20 {
            return Err(Reject::Transport);
        }
        let length = packet.payload_length.checked_sub(header_length).ok_or(Reject::Transport)?;
        Ok(Self {
            src_port: u16::from_be_bytes([head[0], head[1]]),
            dst_port: u16::from_be_bytes([head[2], head[3]]),
            seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ack: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            fin: head[13] & 1 != 0,
            syn: head[13] & 2 != 0,
            rst: head[13] & 4 != 0,
            ack_flag: head[13] & 16 != 0,
            window: u16::from_be_bytes([head[14], head[15]]),
            options: header_length - 20,
            length,
            payload: packet.payload.get(header_length as usize..).unwrap_or(&[]),
        })
    }
}
