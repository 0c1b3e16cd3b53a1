//! `dhcp`: one message of an exchange.

use slips_core::event::{Dhcp, Event};
use slips_core::flow::Uid;
use slips_core::time::Span;

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
    DIRECTION = "dhcp.type",
    ID = "dhcp.id",
    CLIENT_MAC = "dhcp.client_mac",
    ASSIGNED_IP = "dhcp.assigned_ip",
    CLIENT_IP = "dhcp.client_ip",
    REQUESTED_IP = "dhcp.requested_ip",
    TYPE = "dhcp.dhcp_type",
    LEASE_TIME = "dhcp.lease_time",
    HOSTNAME = "dhcp.hostname",
    HOST = "host",
}

pub(super) const KIND: Kind = Kind { name: "dhcp", names: NAMES, slot: col::EVENT_TYPE, decode };

fn decode(row: &Row<'_>, queue: &mut Reorder) -> Result<(), Reject> {
    let some = |slot| Ok(row.addr(slot)?.filter(|addr| !addr.is_unspecified()));
    let is_reply = row.word(col::DIRECTION, |kind| (kind == "reply").then_some(())).is_some();
    let (src, dst) = (some(col::SRC_IP)?, some(col::DEST_IP)?);
    let host = |addr: Option<std::net::IpAddr>| {
        addr.filter(|addr| *addr != std::net::IpAddr::V4(std::net::Ipv4Addr::BROADCAST))
    };
    let (client, server) = if is_reply { (host(dst), src) } else { (src, host(dst)) };
    let kind = row.string(col::TYPE).to_ascii_uppercase();
    let uid = row.uid(col::UID);
    queue.push(Event::Dhcp(Box::new(Dhcp {
        at: row.time(col::TS)?,
        uids: if uid == Uid::EMPTY { Vec::new() } else { vec![uid] },
        client: client.or(some(col::CLIENT_IP)?),
        server,
        mac: row.mac(col::CLIENT_MAC)?,
        host_name: row.string(col::HOSTNAME).trim_end_matches('\0').to_owned(),
        requested_addr: some(col::REQUESTED_IP)?,
        assigned_addr: some(col::ASSIGNED_IP)?,
        lease_time: row
            .count(col::LEASE_TIME)?
            .map(|secs| Span::from_secs(i64::try_from(secs).unwrap_or(i64::MAX / 1_000_000))),
        msg_types: if kind.is_empty() { Vec::new() } else { vec![kind] },
        ..Dhcp::default()
    })));
    Ok(())
}
