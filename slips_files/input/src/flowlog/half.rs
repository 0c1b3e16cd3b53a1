//! What one record of an exporter tells: one direction of a conversation.

use std::net::IpAddr;

use slips_core::flow::{Endpoint, MacAddr, Proto};
use slips_core::time::PacketTime;

use super::state::Flags;
use super::transport;

/// One direction, perhaps with the counters of the other (where nfdump or the exporter put the two together).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half {
    pub(crate) start: PacketTime,
    pub(crate) end: PacketTime,
    pub(crate) src: Endpoint,
    pub(crate) dst: Endpoint,
    pub(crate) proto: Proto,
    pub(crate) flags: Flags,
    pub(crate) pkts: u64,
    pub(crate) bytes: u64,
    pub(crate) out_pkts: u64,
    pub(crate) out_bytes: u64,
    /// The flags of the other direction, where they are known apart; else [`Half::flags`] are those of both.
    pub(crate) out_flags: Option<Flags>,
    pub(crate) src_mac: Option<MacAddr>,
    pub(crate) dst_mac: Option<MacAddr>,
    pub(crate) vlan: Option<u16>,
}

impl Half {
    /// Of the protocol's number and the two ports as written; the destination port of ICMP is type and code.
    pub(crate) fn new(src: IpAddr, dst: IpAddr, number: u8, ports: (u16, u16)) -> Self {
        let proto = transport::by_number(number);
        let (from, to) = match proto {
            Proto::Icmp => {
                let (kind, code) = (ports.1 >> 8, ports.1 & 0xff);
                (kind, transport::icmp_counterpart(kind, code))
            }
            _ => ports,
        };
        Self {
            start: PacketTime(0),
            end: PacketTime(0),
            src: Endpoint { addr: src, port: from },
            dst: Endpoint { addr: dst, port: to },
            proto,
            flags: Flags::default(),
            pkts: 0,
            bytes: 0,
            out_pkts: 0,
            out_bytes: 0,
            out_flags: None,
            src_mac: None,
            dst_mac: None,
            vlan: None,
        }
    }
}
