//! Names of DNS classes, types and response codes as Zeek's dns.log writes them (IANA's registries; `*` for ANY).

use std::borrow::Cow;

pub(super) fn class(class: u16) -> Cow<'static, str> {
    match class {
        1 => "C_INTERNET".into(),
        3 => "C_CHAOS".into(),
        4 => "C_HESIOD".into(),
        254 => "C_NONE".into(),
        255 => "C_ANY".into(),
        other => format!("qclass-{other}").into(),
    }
}

pub(super) fn rcode(code: u16) -> Cow<'static, str> {
    const NAMES: [&str; 11] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
        "NOTAUTH", "NOTZONE",
    ];
    match (code, NAMES.get(usize::from(code))) {
        (_, Some(name)) => (*name).into(),
        (16, _) => "BADVERS".into(),
        (17, _) => "BADKEY".into(),
        (18, _) => "BADTIME".into(),
        (19, _) => "BADMODE".into(),
        (20, _) => "BADNAME".into(),
        (21, _) => "BADALG".into(),
        (other, _) => format!("rcode-{other}").into(),
    }
}

pub(super) fn qtype(qtype: u16) -> Cow<'static, str> {
    TYPES
        .binary_search_by_key(&qtype, |(number, _)| *number)
        .ok()
        .and_then(|at| TYPES.get(at))
        .map_or_else(|| format!("query-{qtype}").into(), |(_, name)| (*name).into())
}

/// Sorted by number.
const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (3, "MD"),
    (4, "MF"),
    (5, "CNAME"),
    (6, "SOA"),
    (7, "MB"),
    (8, "MG"),
    (9, "MR"),
    (10, "NULL"),
    (11, "WKS"),
    (12, "PTR"),
    (13, "HINFO"),
    (14, "MINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (19, "X25"),
    (20, "ISDN"),
    (21, "RT"),
    (22, "NSAP"),
    (23, "NSAP-PTR"),
    (24, "SIG"),
    (25, "KEY"),
    (26, "PX"),
    (27, "GPOS"),
    (28, "AAAA"),
    (29, "LOC"),
    (30, "NXT"),
    (31, "EID"),
    // 32 is NIMLOC by its number; on the wire it is NetBIOS.
    (32, "NB"),
    (33, "SRV"),
    (34, "ATMA"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (38, "A6"),
    (39, "DNAME"),
    (40, "SINK"),
    (41, "EDNS"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (104, "NID"),
    (105, "L32"),
    (106, "L64"),
    (107, "LP"),
    (108, "EUI48"),
    (109, "EUI64"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (253, "MAILB"),
    (254, "MAILA"),
    (255, "*"),
    (256, "URI"),
    (257, "CAA"),
    (32_768, "TA"),
    (32_769, "DLV"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_have_names_and_others_show_their_number() {
        assert!(TYPES.is_sorted_by_key(|(number, _)| *number));
        for (number, name) in
            [(1, "A"), (255, "*"), (249, "TKEY"), (65, "HTTPS"), (65_534, "query-65534"), (0, "query-0")]
        {
            assert_eq!(qtype(number), name);
        }
        assert_eq!(
            (rcode(3), rcode(16), rcode(12)),
            ("NXDOMAIN".into(), "BADVERS".into(), "rcode-12".into())
        );
        assert_eq!((class(1), class(9)), ("C_INTERNET".into(), "qclass-9".into()));
    }
}
