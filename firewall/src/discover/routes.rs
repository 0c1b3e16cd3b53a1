//! Gateways from the route tables that procfs shows: the main table, and of a route with several ways the first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The gateways in `/proc/net/route`.
pub(super) fn gateways_v4(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let gateway = u32::from_str_radix(words.nth(2)?, 16).ok()?;
        let flags = u32::from_str_radix(words.next()?, 16).ok()?;
        // The four bytes of the address, printed as a number of this machine.
        let gateway = Ipv4Addr::from(gateway.to_ne_bytes());
        (flags & GATEWAY != 0 && !gateway.is_unspecified()).then_some(IpAddr::V4(gateway))
    })
}

/// The gateways in `/proc/net/ipv6_route`.
pub(super) fn gateways_v6(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let gateway = u128::from_str_radix(words.nth(4)?, 16).ok()?;
        let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
        (flags & GATEWAY != 0 && gateway != 0).then_some(IpAddr::V6(Ipv6Addr::from_bits(gateway)))
    })
}

/// `RTF_GATEWAY` of linux/route.h.
const GATEWAY: u32 = 0x2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_read() {
        let first = u32::from_ne_bytes([192, 0, 2, 1]);
        let second = u32::from_ne_bytes([198, 51, 100, 1]);
        let text = format!(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
             eth0\t00000000\t{first:08X}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
             eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
             eth1\t0000000A\t{second:08X}\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n\
             eth1\tzz\nxx yy\n"
        );
        let found: Vec<_> = gateways_v4(&text).map(|addr| addr.to_string()).collect();
        assert_eq!(found, ["192.0.2.1", "198.51.100.1"]);
        let zero = "0".repeat(32);
        let text = format!(
            "{zero} 00 {zero} 00 20010db8000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
             20010db8000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\nshort line\n"
        );
        let found: Vec<_> = gateways_v6(&text).map(|addr| addr.to_string()).collect();
        assert_eq!(found, ["2001:db8::1"]);
    }
}
