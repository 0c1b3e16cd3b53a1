//! `dns`, in all three forms: version 1 has one event per answer, version 2 one per reply with its answers in a list, version 3
//! also puts the questions in a list. A question waits for its reply, so that both are one event as in Zeek's dns.log.

use slips_core::event::{Dns, DnsAnswer, DnsData, DnsFlags, Event};
use slips_core::time::PacketTime;

use super::Kind;
use crate::flowlog::order::Reorder;
use crate::report::Reject;
use crate::zeek::json::{self, KeyTable};
use crate::zeek::logs::dns::{codes, domain, types};
use crate::zeek::row::{Dialect, Raw, Row, columns};
use crate::zeek::value;

columns! {
    TS = "timestamp",
    UID = "flow_id",
    SRC_IP = "src_ip",
    SRC_PORT = "src_port",
    DEST_IP = "dest_ip",
    DEST_PORT = "dest_port",
    PROTO = "proto",
    EVENT_TYPE = "event_type",
    PCAP_CNT = "pcap_cnt",
    IN_IFACE = "in_iface",
    PKT_SRC = "pkt_src",
    COMMUNITY_ID = "community_id",
    VERSION = "dns.version",
    TYPE = "dns.type",
    ID = "dns.id",
    FLAGS = "dns.flags",
    QR = "dns.qr",
    RRNAME = "dns.rrname",
    RRTYPE = "dns.rrtype",
    RCODE = "dns.rcode",
    AA = "dns.aa",
    TC = "dns.tc",
    RD = "dns.rd",
    RA = "dns.ra",
    Z = "dns.z",
    OPCODE = "dns.opcode",
    TX_ID = "dns.tx_id",
    TTL = "dns.ttl",
    RDATA = "dns.rdata",
    QUERIES = "dns.queries",
    ANSWERS = "dns.answers",
    HOST = "host",
}

/// The columns of one record in a list.
mod record {
    use super::columns;
    columns! {
        NAME = "rrname",
        TYPE = "rrtype",
        TTL = "ttl",
        DATA = "rdata",
    }
    pub(super) const NAME: usize = col::NAME;
    pub(super) const TYPE: usize = col::TYPE;
    pub(super) const TTL: usize = col::TTL;
    pub(super) const DATA: usize = col::DATA;
    pub(super) const TABLE: crate::zeek::row::Names = NAMES;
}

pub(super) const KIND: Kind = Kind { name: "dns", names: NAMES, slot: col::EVENT_TYPE, decode };

/// Of a reply no more answers are taken.
const MAX_ANSWERS: usize = 1024;

fn decode(row: &Row<'_>, queue: &mut Reorder) -> Result<(), Reject> {
    let mut about = row.about(super::proto(row, col::PROTO))?;
    let is_reply = row.word(col::TYPE, |kind| Some(matches!(kind, "answer" | "response"))).unwrap_or(false);
    // Old versions name the sender of the packet first.
    if is_reply && about.src.port == 53 && about.dst.port != 53 {
        (about.src, about.dst) = (about.dst, about.src);
    }
    let id = row.short_count(col::ID)?.unwrap_or(0);
    let key = (about.src, about.dst, u32::from(id));
    let reply = if is_reply { Some(Reply::of(row)?) } else { None };
    if let (Some(reply), Some(Event::Dns(question))) = (&reply, queue.get_mut(&key)) {
        // Version 1 tells each answer by itself; a reply that was captured twice says nothing new.
        if question.rcode.is_none() || reply.is_part {
            reply.complete(question, about.at);
        }
        return Ok(());
    }
    let mut event = Dns {
        about,
        trans_id: id,
        rtt: None,
        query: String::new(),
        qclass: 1,
        qtype: 0,
        rcode: None,
        flags: flags(row)?,
        answers: Vec::new(),
        rejected: false,
    };
    (event.query, event.qtype) = question(row);
    if let Some(reply) = reply {
        reply.complete(&mut event, about.at);
        event.rtt = None;
    }
    queue.push_under(key, Event::Dns(Box::new(event)));
    Ok(())
}

fn flags(row: &Row<'_>) -> Result<DnsFlags, Reject> {
    Ok(DnsFlags {
        aa: row.flag(col::AA)?,
        tc: row.flag(col::TC)?,
        rd: row.flag(col::RD)?,
        ra: row.flag(col::RA)?,
        z: u8::from(row.flag(col::Z)?),
    })
}

/// Name and type that were asked for.
fn question(row: &Row<'_>) -> (String, u16) {
    let mut found = (domain(row.string(col::RRNAME)), kind_of(row, col::RRTYPE));
    if let Raw::Array(inside) = row.raw(col::QUERIES) {
        each_record(inside, 1, |record| {
            found = (domain(record.string(record::NAME)), kind_of(record, record::TYPE));
        });
    }
    found
}

fn kind_of(row: &Row<'_>, slot: usize) -> u16 {
    row.word(slot, |word| types(word).or_else(|| word.strip_prefix("TYPE")?.parse().ok())).unwrap_or(0)
}

/// What a reply tells beyond its question.
struct Reply {
    rcode: Option<u16>,
    flags: DnsFlags,
    answers: Vec<DnsAnswer>,
    /// One answer of several events (version 1).
    is_part: bool,
}

impl Reply {
    fn of(row: &Row<'_>) -> Result<Self, Reject> {
        let mut answers = Vec::new();
        let list = row.raw(col::ANSWERS);
        if let Raw::Array(inside) = list {
            each_record(inside, MAX_ANSWERS, |record| {
                answers.extend(answer(record, record::DATA, record::TTL))
            });
        } else {
            answers.extend(answer(row, col::RDATA, col::TTL));
        }
        let rcode = row.word(col::RCODE, codes);
        let is_part = !answers.is_empty() && !matches!(list, Raw::Array(_));
        Ok(Self { rcode, flags: flags(row)?, answers, is_part })
    }

    fn complete(&self, question: &mut Dns, at: PacketTime) {
        if question.rcode.is_none() {
            // A reply without a code that can be named is a reply all the same.
            question.rcode = Some(self.rcode.unwrap_or(0));
            question.flags = self.flags;
            question.rtt = Some(at.since(question.about.at));
        }
        let room = MAX_ANSWERS.saturating_sub(question.answers.len());
        question.answers.extend(self.answers.iter().take(room).cloned());
    }
}

fn answer(row: &Row<'_>, data: usize, ttl: usize) -> Option<DnsAnswer> {
    if !row.has(data) {
        return None;
    }
    let text = row.string(data);
    let data = match value::addr(text.as_bytes()) {
        Some(addr) => DnsData::Addr(addr),
        None if text.contains([' ', '=']) || !text.contains('.') => DnsData::Text(text),
        None => DnsData::Name(domain(text)),
    };
    let ttl = row.small_count(ttl).ok().flatten();
    Some(DnsAnswer { data, ttl })
}

/// Calls `each` for up to `most` records of a list.
fn each_record(inside: &[u8], most: usize, mut each: impl FnMut(&Row<'_>)) {
    let mut keys = KeyTable::new(record::TABLE);
    let mut left = most;
    json::each_object(inside, |object| {
        let mut row = Row::new(Dialect::Json, record::TABLE);
        if json::read(object, &mut keys, &mut row).is_ok() {
            each(&row);
        }
        left = left.saturating_sub(1);
        left > 0
    });
}
