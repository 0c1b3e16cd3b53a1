//! Rows of the table `records`.

use std::net::IpAddr;

use rusqlite::{CachedStatement, Connection, params};
use slips_core::addr::LocalNets;
use slips_core::event::Event;
use slips_core::flow::{Endpoint, Proto, Uid};

use super::flows::ProtoText;
use super::segments::Segments;
use super::views;
use crate::zeek::{self, LogKind};

/// Whether an event becomes a row of `records`: what is said in a protocol does, flows have a table of their own.
pub fn is_one(event: &Event) -> bool {
    LogKind::of(event).is_some_and(|kind| kind != LogKind::Conn)
}

/// Inserts records within one transaction.
pub(super) struct RecordWriter<'c> {
    insert: CachedStatement<'c>,
    fields: Vec<u8>,
}

impl<'c> RecordWriter<'c> {
    pub(super) fn new(db: &'c Connection) -> rusqlite::Result<Self> {
        let insert = db.prepare_cached("INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?)")?;
        Ok(Self { insert, fields: Vec::new() })
    }

    /// One row with the given id, if the event is a record; whether it is.
    pub(super) fn insert(&mut self, id: i64, event: &Event, index: &mut Segments) -> rusqlite::Result<bool> {
        let Some(kind) = LogKind::of(event).filter(|kind| *kind != LogKind::Conn) else { return Ok(false) };
        let Ends { uid, src, dst, proto, interface } = Ends::of(event);
        self.fields.clear();
        zeek::fields(&mut self.fields, event, kind, views::is_a_column, &LocalNets::new(Vec::new()));
        let start = event.time();
        self.insert.execute(params![
            id,
            kind.name(),
            uid.map(|uid| uid.as_str()),
            start.0,
            src.0.map(|addr| addr.to_string()),
            src.1,
            dst.0.map(|addr| addr.to_string()),
            dst.1,
            proto.map(|proto| ProtoText(proto).to_string()),
            interface,
            std::str::from_utf8(&self.fields).unwrap_or("{}"),
        ])?;
        index.stored(start, src.0.into_iter().chain(dst.0), uid);
        Ok(true)
    }
}

/// Between whom it was said, as far as a record tells: address and port each.
struct Ends<'a> {
    uid: Option<&'a Uid>,
    src: (Option<IpAddr>, Option<u16>),
    dst: (Option<IpAddr>, Option<u16>),
    proto: Option<Proto>,
    interface: Option<u16>,
}

impl<'a> Ends<'a> {
    fn of(event: &'a Event) -> Self {
        let whole = |end: Endpoint| (Some(end.addr), Some(end.port));
        if let Some(about) = event.about() {
            return Self {
                uid: Some(&about.uid).filter(|uid| !uid.is_empty()),
                src: whole(about.src),
                dst: whole(about.dst),
                proto: Some(about.proto),
                interface: Some(about.interface),
            };
        }
        let (src, dst) = event.parties();
        let mut ends = Self { uid: None, src: (src, None), dst: (dst, None), proto: None, interface: None };
        match event {
            Event::Arp(arp) => ends.interface = Some(arp.interface),
            Event::Neighbour(said) => ends.interface = Some(said.interface),
            Event::Dhcp(dhcp) => {
                // A client that has no address yet is known by the one that it is given.
                ends.src.0 = dhcp.client.or(dhcp.assigned_addr);
                ends.uid = dhcp.uids.first();
                ends.interface = Some(dhcp.interface);
            }
            Event::File(file) => {
                ends.uid = Some(&file.uid);
                if let Some((client, server)) = file.ends {
                    (ends.src, ends.dst) = (whole(client), whole(server));
                }
            }
            Event::Software(software) => ends.src.1 = software.port,
            Event::Notice(notice) => {
                ends.uid = Some(&notice.uid);
                ends.dst.1 = notice.port;
                ends.proto = notice.proto;
            }
            _ => {}
        }
        ends.uid = ends.uid.filter(|uid| !uid.is_empty());
        ends
    }
}
