//! dns.log: a question with its answer.

use slips_core::event::{Dns, DnsAnswer, DnsData, DnsFlags, Event};
use slips_core::flow::Proto;

use super::super::row::{Row, columns};
use super::super::value;
use super::{Labels, Log};
use crate::report::Reject;

columns! {
    TS = "ts",
    UID = "uid",
    ORIG_H = "id.orig_h" | "id_orig_h",
    ORIG_P = "id.orig_p" | "id_orig_p",
    RESP_H = "id.resp_h" | "id_resp_h",
    RESP_P = "id.resp_p" | "id_resp_p",
    PROTO = "proto",
    TRANS_ID = "trans_id",
    RTT = "rtt",
    QUERY = "query",
    QCLASS = "qclass",
    QCLASS_NAME = "qclass_name",
    QTYPE = "qtype",
    QTYPE_NAME = "qtype_name",
    RCODE = "rcode",
    RCODE_NAME = "rcode_name",
    AA = "AA",
    TC = "TC",
    RD = "RD",
    RA = "RA",
    Z = "Z",
    ANSWERS = "answers",
    TTLS = "TTLs",
    REJECTED = "rejected",
}

pub(super) const LOG: Log = Log {
    name: "dns",
    names: NAMES,
    marks: &[
        &["trans_id", "proto"],
        &["query", "qtype"],
        &["query", "qtype_name"],
        &["AA", "TC", "RD", "RA"],
    ],
    never: &[],
    decode,
};

/// The longest name that DNS allows.
const MAX_NAME: usize = 255;

/// Numbers of RFC 1035 and its successors, for rows that have only the names.
const TYPES: &[(&str, u16)] = &[
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("NULL", 10),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DS", 43),
    ("DNSKEY", 48),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("*", 255),
];
/// The number of a type's name.
pub(crate) fn types(name: &str) -> Option<u16> {
    TYPES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// The number of a response code's name.
pub(crate) fn codes(name: &str) -> Option<u16> {
    CODES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

const CODES: &[(&str, u16)] =
    &[("NOERROR", 0), ("FORMERR", 1), ("SERVFAIL", 2), ("NXDOMAIN", 3), ("NOTIMP", 4), ("REFUSED", 5)];

fn decode(row: &Row<'_>, _: &mut Labels) -> Result<Event, Reject> {
    let number = |slot, name: usize, find: fn(&str) -> Option<u16>| match row.short_count(slot)? {
        Some(number) => Ok(Some(number)),
        None => Ok(row.word(name, find)),
    };
    Ok(Event::Dns(Box::new(Dns {
        about: row.about(row.proto(col::PROTO, Proto::Udp))?,
        trans_id: row.short_count(col::TRANS_ID)?.unwrap_or(0),
        rtt: row.span(col::RTT)?,
        query: domain(row.string(col::QUERY)),
        qclass: row.short_count(col::QCLASS)?.unwrap_or(1),
        qtype: number(col::QTYPE, col::QTYPE_NAME, types)?.unwrap_or(0),
        rcode: number(col::RCODE, col::RCODE_NAME, codes)?,
        flags: DnsFlags {
            aa: row.flag(col::AA)?,
            tc: row.flag(col::TC)?,
            rd: row.flag(col::RD)?,
            ra: row.flag(col::RA)?,
            z: row.count(col::Z)?.and_then(|z| u8::try_from(z).ok()).unwrap_or(0),
        },
        answers: answers(row),
        rejected: row.flag(col::REJECTED)?,
    })))
}

/// Lower case, without the final dot, never longer than DNS allows.
pub(crate) fn domain(mut name: String) -> String {
    if name.len() > 1 && name.ends_with('.') {
        name.pop();
    }
    if name.len() > MAX_NAME {
        let end = (0..=MAX_NAME).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
        name.truncate(end);
    }
    name.make_ascii_lowercase();
    name
}

fn answers(row: &Row<'_>) -> Vec<DnsAnswer> {
    let mut ttls = row.strings(col::TTLS).into_iter();
    let mut ttl = || {
        let secs = value::span(ttls.next()?.as_bytes())?.0 / 1_000_000;
        Some(u32::try_from(secs).unwrap_or(u32::MAX))
    };
    row.strings(col::ANSWERS)
        .into_iter()
        .map(|text| {
            let data = match value::addr(text.as_bytes()) {
                Some(addr) => DnsData::Addr(addr),
                None if text.contains([' ', '<']) => DnsData::Text(text),
                None => DnsData::Name(domain(text)),
            };
            DnsAnswer { data, ttl: ttl() }
        })
        .collect()
}
