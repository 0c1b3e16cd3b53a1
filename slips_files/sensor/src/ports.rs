//! Ports on which servers are likely, for telling who is the originator when the start of a flow was not seen.
//! The lists are the ports that Zeek's analyzers register (union of its default set and the ones that the original adds).

const TCP: &[u16] = &[
    21, 22, 23, 25, 53, 79, 80, 81, 88, 135, 139, 143, 389, 443, 445, 465, 502, 513, 514, 563, 585, 587, 614,
    631, 636, 989, 990, 992, 993, 995, 1080, 1434, 1883, 2811, 3128, 3268, 3306, 3389, 5222, 5223, 5269,
    5432, 6379, 6666, 6667, 6668, 6669, 8000, 8080, 8888, 20000,
];

const UDP: &[u16] = &[
    53, 67, 88, 123, 137, 161, 162, 389, 443, 514, 1812, 2123, 2152, 3389, 3544, 4011, 4754, 4789, 5060,
    5072, 5353, 5355, 6081, 20000,
];

/// Whether a TCP server is likely on `port`.
pub(crate) fn is_tcp_server(port: u16) -> bool {
    TCP.binary_search(&port).is_ok()
}

/// Whether a UDP server is likely on `port`.
pub(crate) fn is_udp_server(port: u16) -> bool {
    UDP.binary_search(&port).is_ok()
}

/// TCP ports of login sessions, whose silence Zeek tolerates for an hour.
pub(crate) const fn is_login(port: u16) -> bool {
    matches!(port, 21 | 22 | 23 | 513)
}

/// The port of SSH, where one side's identification is enough.
pub(crate) const fn is_ssh(port: u16) -> bool {
    port == 22
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists_are_sorted() {
        assert!(super::TCP.is_sorted() && super::UDP.is_sorted());
    }
}
