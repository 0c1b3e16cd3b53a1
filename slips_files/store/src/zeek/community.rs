//! Community ID 1.0: one name for a connection in the logs of all tools that know it.
//! <https://github.com/corelight/community-id-spec>

use std::net::IpAddr;

use sha1::{Digest, Sha1};
use slips_core::flow::{Endpoint, Flow, Proto};

/// SCTP: its ports belong to the name, and flows of it do not have them.
const SCTP: u8 = 132;

/// The Community ID of a flow, with seed 0; `None` where the flow does not hold what it is made of.
pub(super) fn of(flow: &Flow) -> Option<String> {
    let protocol = match flow.proto {
        Proto::Tcp => 6,
        Proto::Udp => 17,
        Proto::Icmp if flow.src.addr.is_ipv4() => 1,
        Proto::Icmp => 58,
        Proto::Other(number) if number != SCTP => number,
        Proto::Other(_) | Proto::Arp => return None,
    };
    Some(community_id(protocol, flow.src, flow.dst, 0))
}

/// The Community ID of a connection: for ICMP the ports are type and counterpart type, or type and code.
fn community_id(protocol: u8, src: Endpoint, dst: Endpoint, seed: u16) -> String {
    let is_one_way = matches!(protocol, 1 | 58) && !is_answered(protocol, src.port, dst.port);
    let is_ordered = is_one_way || (src.addr, src.port) < (dst.addr, dst.port);
    let (first, second) = if is_ordered { (src, dst) } else { (dst, src) };
    let mut hash = Sha1::new();
    hash.update(seed.to_be_bytes());
    for end in [first, second] {
        match end.addr {
            IpAddr::V4(addr) => hash.update(addr.octets()),
            IpAddr::V6(addr) => hash.update(addr.octets()),
        }
    }
    hash.update([protocol, 0]);
    if matches!(protocol, 1 | 6 | 17 | 58 | SCTP) {
        hash.update(first.port.to_be_bytes());
        hash.update(second.port.to_be_bytes());
    }
    let digest: [u8; 20] = hash.finalize().into();
    format!("1:{}", base64(&digest))
}

/// Whether a type of ICMP has a counterpart, and the second port is it.
fn is_answered(protocol: u8, kind: u16, other: u16) -> bool {
    let pairs: &[(u16, u16)] = match protocol {
        1 => &[(8, 0), (13, 14), (15, 16), (10, 9), (17, 18)],
        _ => &[(128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)],
    };
    pairs.iter().any(|pair| [*pair, (pair.1, pair.0)].contains(&(kind, other)))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let sextet = (bits >> (18 - 6 * at) & 63) as usize;
            let letter = LETTERS.get(sextet).filter(|_| at <= three.len());
            text.push(letter.map_or('=', |letter| char::from(*letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(protocol: u8, src: (&str, u16), dst: (&str, u16), seed: u16, expected: &str) {
        let end = |(addr, port): (&str, u16)| Endpoint { addr: addr.parse().expect("address"), port };
        assert_eq!(community_id(protocol, end(src), end(dst), seed), expected, "{src:?} {dst:?}");
    }

    /// The vectors of the specification's repository.
    #[test]
    fn connections_have_the_names_of_the_specification() {
        let (a6, b6) = ("fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea");
        check(58, (a6, 135), (b6, 136), 0, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=");
        check(58, (b6, 136), (a6, 135), 0, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=");
        check(58, (b6, 135), (a6, 136), 0, "1:zavyT/cezQr1fmImYCwYnMXbgck=");
        let (a6, b6) = ("3ffe:501:410:0:2c0:dfff:fe47:33e", "3ffe:507:0:1:200:86ff:fe05:80da");
        check(58, (a6, 1), (b6, 4), 0, "1:hLZd0XGWojozrvxqE0dWB1iM6R0=");
        check(1, ("192.168.0.89", 8), ("192.168.0.1", 0), 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
        check(1, ("192.168.0.1", 0), ("192.168.0.89", 8), 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
        check(1, ("10.0.0.1", 11), ("10.0.0.2", 0), 0, "1:YHxtAirCG//0OzkcVAukqKQN9xM=");
        check(132, ("192.168.170.8", 7), ("192.168.170.56", 7), 0, "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=");
        check(6, ("66.35.250.204", 80), ("128.232.110.120", 34855), 0, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        check(6, ("66.35.250.204", 80), ("128.232.110.120", 34855), 1, "1:3V71V58M3Ksw/yuFALMcW0LAHvc=");
        check(17, ("192.168.1.52", 54585), ("8.8.8.8", 53), 0, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
        check(46, ("10.1.12.1", 0), ("10.1.12.2", 0), 0, "1:KHlLkgoJW7ifUTyTSgyVfkFHzKw=");
    }
}
