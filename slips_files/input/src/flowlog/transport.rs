//! Transport protocols by the names that flow exporters write, and by number.

use slips_core::flow::Proto;

/// Names of RFC 1700 and its successors, as `/etc/protocols` has them.
const NAMES: &[(&str, u8)] = &[
    ("igmp", 2),
    ("ipip", 4),
    ("ipencap", 4),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ipsec-esp", 50),
    ("ah", 51),
    ("ipsec-ah", 51),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("sctp", 132),
    ("udplite", 136),
];

/// The protocol of this number.
pub(crate) const fn by_number(number: u8) -> Proto {
    match number {
        6 => Proto::Tcp,
        17 => Proto::Udp,
        1 | 58 => Proto::Icmp,
        other => Proto::Other(other),
    }
}

/// The protocol of this name or decimal number.
pub(crate) fn by_name(name: &str) -> Proto {
    match Proto::from_name(name) {
        Proto::Other(_) => {}
        known => return known,
    }
    if name.eq_ignore_ascii_case("icmpv6") {
        return Proto::Icmp;
    }
    let listed =
        NAMES.iter().find(|(listed, _)| listed.eq_ignore_ascii_case(name)).map(|(_, number)| *number);
    listed.or_else(|| name.parse().ok()).map_or(Proto::Other(255), by_number)
}

/// The answer to an ICMP message of this type; for other messages Zeek shows their code in its place.
pub(crate) const fn icmp_counterpart(kind: u16, code: u16) -> u16 {
    match kind {
        8 => 0,
        0 => 8,
        13 => 14,
        14 => 13,
        17 => 18,
        18 => 17,
        128 => 129,
        129 => 128,
        133 => 134,
        134 => 133,
        135 => 136,
        136 => 135,
        _ => code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (name, proto) in [
            ("TCP", Proto::Tcp),
            ("ICMPv6", Proto::Icmp),
            ("ipv6-icmp", Proto::Icmp),
            ("ESP", Proto::Other(50)),
            ("089", Proto::Other(89)),
            ("17", Proto::Udp),
            ("arp", Proto::Arp),
            ("llc", Proto::Other(255)),
            ("", Proto::Other(255)),
            ("300", Proto::Other(255)),
        ] {
            assert_eq!(by_name(name), proto, "{name}");
        }
    }
}
