//! `fileinfo`: a file that was transferred. Its event names the sender of the file first.

use slips_core::event::{Event, File};
use slips_core::flow::Uid;

use super::Kind;
use crate::flowlog::order::Reorder;
use crate::report::Reject;
use crate::zeek::row::{Row, columns};

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
    APP_PROTO = "app_proto",
    CONTENT_TYPE = "http.http_content_type",
    FILENAME = "fileinfo.filename",
    MAGIC = "fileinfo.magic",
    GAPS = "fileinfo.gaps",
    STATE = "fileinfo.state",
    MD5 = "fileinfo.md5",
    SHA1 = "fileinfo.sha1",
    SHA256 = "fileinfo.sha256",
    STORED = "fileinfo.stored",
    FILE_ID = "fileinfo.file_id",
    SIZE = "fileinfo.size",
    TX_ID = "fileinfo.tx_id",
    HOST = "host",
}

pub(super) const KIND: Kind = Kind { name: "fileinfo", names: NAMES, slot: col::EVENT_TYPE, decode };

fn decode(row: &Row<'_>, queue: &mut Reorder) -> Result<(), Reject> {
    let hashes = [("MD5", col::MD5), ("SHA1", col::SHA1), ("SHA256", col::SHA256)];
    let whole = row.word(col::STATE, |state| (state == "CLOSED").then_some(())).is_some();
    let size = row.count(col::SIZE)?;
    queue.push(Event::File(Box::new(File {
        at: row.time(col::TS)?,
        fuid: Uid::EMPTY,
        uid: row.uid(col::UID),
        sender: row.addr(col::SRC_IP)?,
        receiver: row.addr(col::DEST_IP)?,
        source: row.string(col::APP_PROTO).to_ascii_uppercase(),
        mime_type: super::http::content_type(row, col::CONTENT_TYPE).pop().unwrap_or_default(),
        analyzers: hashes
            .iter()
            .filter(|(_, slot)| row.has(*slot))
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        md5: row.string(col::MD5),
        sha1: row.string(col::SHA1),
        sha256: row.string(col::SHA256),
        // Of a file that was cut short only a part was counted.
        total_bytes: size.filter(|_| whole),
        ..File::default()
    })));
    Ok(())
}
