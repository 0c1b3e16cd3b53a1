//! `ssh`: what both sides call themselves.

use slips_core::event::{Event, Ssh};

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
    TX_ID = "tx_id",
    CLIENT_PROTO = "ssh.client.proto_version",
    CLIENT = "ssh.client.software_version",
    SERVER_PROTO = "ssh.server.proto_version",
    SERVER = "ssh.server.software_version",
    HOST = "host",
}

pub(super) const KIND: Kind = Kind { name: "ssh", names: NAMES, slot: col::EVENT_TYPE, decode };

fn decode(row: &Row<'_>, queue: &mut Reorder) -> Result<(), Reject> {
    let major = |slot| row.word(slot, |version| version.split('.').next()?.parse::<u8>().ok());
    // 1.99 stands for a server that speaks both.
    let version = match (major(col::CLIENT_PROTO), major(col::SERVER_PROTO)) {
        (Some(2), _) | (None, Some(2)) => Some(2),
        (client, server) => client.or(server),
    };
    queue.push(Event::Ssh(Box::new(Ssh {
        about: row.about(super::proto(row, col::PROTO))?,
        version,
        auth_success: None,
        auth_attempts: 0,
        client: banner(row, col::CLIENT_PROTO, col::CLIENT),
        server: banner(row, col::SERVER_PROTO, col::SERVER),
        cipher_alg: String::new(),
        mac_alg: String::new(),
        compression_alg: String::new(),
        kex_alg: String::new(),
        host_key_alg: String::new(),
        host_key: String::new(),
        hassh: String::new(),
        hassh_server: String::new(),
    })));
    Ok(())
}

/// The line that was sent, which Suricata takes apart and Zeek does not.
fn banner(row: &Row<'_>, proto: usize, software: usize) -> String {
    let (proto, software) = (row.string(proto), row.string(software));
    if software.is_empty() { software } else { format!("SSH-{proto}-{software}") }
}
