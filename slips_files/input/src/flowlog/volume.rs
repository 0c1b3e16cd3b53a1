//! Packets and bytes as flow exporters count them, and the payload that there was at least.

use slips_core::flow::{Endpoint, Proto, Volume};

use super::state::Flags;

/// What is counted of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// From the Ethernet header on (Suricata, Argus).
    Frame,
    /// From the IP header on (nfdump).
    Ip,
}

const ETHERNET: u64 = 14;

/// One side's volume. Headers differ per packet, so the payload is a lower bound: nothing where TCP never pushed, else what
/// remains when every packet had the usual options. Frames too small for an Ethernet header were counted without it.
pub(crate) fn volume(
    counted: Counted,
    proto: Proto,
    from: Endpoint,
    pkts: u64,
    bytes: u64,
    flags: Option<Flags>,
) -> Volume {
    let header: u64 = if from.addr.is_ipv4() { 20 } else { 40 };
    let transport: u64 = match proto {
        Proto::Tcp => 20,
        Proto::Udp | Proto::Icmp => 8,
        Proto::Arp | Proto::Other(_) => 0,
    };
    let least = pkts.saturating_mul(header + transport);
    let framing = pkts.saturating_mul(ETHERNET);
    let framed = counted == Counted::Frame && bytes >= least.saturating_add(framing);
    let ip_bytes = if framed { bytes - framing } else { bytes };
    let silent = proto == Proto::Tcp && flags.is_some_and(|flags| !flags.pushed());
    // Time stamps take twelve bytes of each TCP segment.
    let options = if proto == Proto::Tcp { pkts.saturating_mul(12) } else { 0 };
    let payload = if silent { 0 } else { ip_bytes.saturating_sub(least).saturating_sub(options) };
    Volume { pkts, bytes: payload, ip_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_never_more_than_there_was() {
        let end = Endpoint { addr: std::net::IpAddr::from([192, 0, 2, 1]), port: 1 };
        let pushed = Some(Flags::from_letters(b"SPA"));
        for (counted, proto, pkts, bytes, flags, expected) in [
            (Counted::Frame, Proto::Tcp, 1, 74, Some(Flags::from_letters(b"S")), (60, 0)),
            (Counted::Frame, Proto::Tcp, 4, 461, pushed, (405, 197)),
            (Counted::Frame, Proto::Udp, 1, 76, None, (62, 34)),
            (Counted::Frame, Proto::Udp, 2, 60, None, (60, 4)),
            (Counted::Ip, Proto::Udp, 1, 76, None, (76, 48)),
            (Counted::Ip, Proto::Tcp, 1, u64::MAX, None, (u64::MAX, u64::MAX - 52)),
            (Counted::Frame, Proto::Icmp, u64::MAX, 9, None, (9, 0)),
        ] {
            let volume = volume(counted, proto, end, pkts, bytes, flags);
            assert_eq!((volume.ip_bytes, volume.bytes), expected, "{counted:?} {proto:?} {pkts} {bytes}");
        }
    }
}
