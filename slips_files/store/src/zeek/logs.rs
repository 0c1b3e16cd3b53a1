//! Which log an event goes to, and what it says there: field names and order as Zeek's.

use std::borrow::Cow;

use slips_core::addr::LocalNets;
use slips_core::event::{
    About, Arp, ArpOp, Dhcp, Dns, DnsData, Event, File, Http, Login, Notice, Software, Ssh,
};
use slips_core::flow::{Flow, Phase, Proto};
use slips_core::time::Span;

use super::handshakes::{self, QUIC, SSL, X509};
use super::row::{Field, IfEmpty, Row, fields};
use super::{community, dns_names, own_logs};

/// The logs there are; [`LogKind::NAMES`] has their names at the same places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum LogKind {
    Conn,
    Dns,
    Http,
    Ssl,
    Quic,
    X509,
    Ssh,
    Arp,
    Dhcp,
    Smtp,
    Ftp,
    Files,
    Software,
    Weird,
    Tunnel,
    Notice,
    Login,
    Auth,
    Operation,
    Neighbour,
}

impl LogKind {
    pub(crate) const NAMES: [&'static str; 20] = [
        "conn",
        "dns",
        "http",
        "ssl",
        "quic",
        "x509",
        "ssh",
        "arp",
        "dhcp",
        "smtp",
        "ftp",
        "files",
        "software",
        "weird",
        "tunnel",
        "notice",
        "login",
        "auth",
        "operation",
        "neighbour",
    ];

    /// All but that of flows.
    pub(crate) const RECORDS: [Self; 19] = [
        Self::Dns,
        Self::Http,
        Self::Ssl,
        Self::Quic,
        Self::X509,
        Self::Ssh,
        Self::Arp,
        Self::Dhcp,
        Self::Smtp,
        Self::Ftp,
        Self::Files,
        Self::Software,
        Self::Weird,
        Self::Tunnel,
        Self::Notice,
        Self::Login,
        Self::Auth,
        Self::Operation,
        Self::Neighbour,
    ];

    /// The log of an event; `None` for events that are no row (a flow that still lives, a tick).
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Flow(flow) => (flow.phase == Phase::End).then_some(Self::Conn),
            Event::Dns(_) => Some(Self::Dns),
            Event::Http(_) => Some(Self::Http),
            Event::Tls(_) => Some(Self::Ssl),
            Event::Quic(_) => Some(Self::Quic),
            Event::X509(_) => Some(Self::X509),
            Event::Ssh(_) => Some(Self::Ssh),
            Event::Arp(_) => Some(Self::Arp),
            Event::Dhcp(_) => Some(Self::Dhcp),
            Event::Smtp(_) => Some(Self::Smtp),
            Event::Ftp(_) => Some(Self::Ftp),
            Event::File(_) => Some(Self::Files),
            Event::Software(_) => Some(Self::Software),
            Event::Weird(_) => Some(Self::Weird),
            Event::Tunnel(_) => Some(Self::Tunnel),
            Event::Notice(_) => Some(Self::Notice),
            Event::Login(_) => Some(Self::Login),
            Event::Auth(_) => Some(Self::Auth),
            Event::Operation(_) => Some(Self::Operation),
            Event::Neighbour(_) => Some(Self::Neighbour),
            Event::Payload(_) | Event::Tick(_) | Event::Advice(_) | Event::Told(_) | Event::Inherits(_) => {
                None
            }
        }
    }

    pub(crate) fn name(self) -> &'static str {
        Self::NAMES.get(self as usize).copied().unwrap_or_default()
    }

    pub(crate) const fn fields(self) -> &'static [Field] {
        match self {
            Self::Conn => CONN,
            Self::Dns => DNS,
            Self::Http => HTTP,
            Self::Ssl => SSL,
            Self::Quic => QUIC,
            Self::X509 => X509,
            Self::Ssh => SSH,
            Self::Arp => ARP,
            Self::Dhcp => DHCP,
            Self::Smtp => SMTP,
            Self::Ftp => FTP,
            Self::Files => FILES,
            Self::Software => SOFTWARE,
            Self::Weird => WEIRD,
            Self::Tunnel => TUNNEL,
            Self::Notice => NOTICE,
            Self::Login => LOGIN,
            Self::Auth => own_logs::AUTH,
            Self::Operation => own_logs::OPERATION,
            Self::Neighbour => own_logs::NEIGHBOUR,
        }
    }
}

/// Writes the values of an event.
pub(super) fn fill(row: &mut Row<'_>, event: &Event, local: &LocalNets) {
    match event {
        Event::Flow(flow) => conn(row, flow, local),
        Event::Dns(dns) => dns_row(row, dns),
        Event::Http(http) => http_row(row, http),
        Event::Tls(tls) => handshakes::ssl(row, tls),
        Event::Quic(quic) => handshakes::quic(row, quic),
        Event::X509(x509) => handshakes::x509(row, x509),
        Event::Ssh(session) => ssh(row, session, local),
        Event::Arp(frame) => arp(row, frame),
        other => rest(row, other, local),
    }
}

pub(super) fn about(row: &mut Row<'_>, about: &About) {
    row.time("ts", about.at);
    row.text("uid", about.uid.as_str());
    row.addr("id.orig_h", Some(about.src.addr));
    row.number("id.orig_p", Some(about.src.port.into()));
    row.addr("id.resp_h", Some(about.dst.addr));
    row.number("id.resp_p", Some(about.dst.port.into()));
}

fn conn(row: &mut Row<'_>, flow: &Flow, local: &LocalNets) {
    row.time("ts", flow.start);
    row.text("uid", flow.uid.as_str());
    row.addr("id.orig_h", Some(flow.src.addr));
    row.number("id.orig_p", Some(flow.src.port.into()));
    row.addr("id.resp_h", Some(flow.dst.addr));
    row.number("id.resp_p", Some(flow.dst.port.into()));
    row.shown("proto", Some(flow.proto));
    row.text("service", flow.service.as_str());
    row.span("duration", flow.duration);
    // As in Zeek: a single packet has neither a duration nor byte counts.
    let timed = flow.duration.is_some();
    row.number("orig_bytes", timed.then_some(flow.orig.bytes));
    row.number("resp_bytes", timed.then_some(flow.resp.bytes));
    row.shown("conn_state", Some(flow.state));
    let known = !local.nets().is_empty();
    row.flag("local_orig", known.then(|| local.contains(flow.src.addr)));
    row.flag("local_resp", known.then(|| local.contains(flow.dst.addr)));
    row.number("missed_bytes", Some(flow.missed_bytes));
    row.text("history", flow.history.as_str());
    row.number("orig_pkts", Some(flow.orig.pkts));
    row.number("orig_ip_bytes", Some(flow.orig.ip_bytes));
    row.number("resp_pkts", Some(flow.resp.pkts));
    row.number("resp_ip_bytes", Some(flow.resp.ip_bytes));
    row.number("ip_proto", ip_proto(flow));
    row.shown("orig_l2_addr", flow.src_mac);
    row.shown("resp_l2_addr", flow.dst_mac);
    row.number("vlan", flow.vlan.map(u64::from));
    row.text("community_id", &community::of(flow).unwrap_or_default());
}

fn ip_proto(flow: &Flow) -> Option<u64> {
    match flow.proto {
        Proto::Tcp => Some(6),
        Proto::Udp => Some(17),
        Proto::Icmp if flow.src.addr.is_ipv4() => Some(1),
        Proto::Icmp => Some(58),
        Proto::Arp => None,
        Proto::Other(number) => Some(number.into()),
    }
}

fn dns_row(row: &mut Row<'_>, dns: &Dns) {
    about(row, &dns.about);
    row.shown("proto", Some(dns.about.proto));
    row.number("trans_id", Some(dns.trans_id.into()));
    row.span("rtt", dns.rtt);
    row.text("query", &dns.query);
    if dns.qclass != 0 || dns.qtype != 0 {
        row.number("qclass", Some(dns.qclass.into()));
        row.shown("qclass_name", Some(dns_names::class(dns.qclass)));
        row.number("qtype", Some(dns.qtype.into()));
        row.shown("qtype_name", Some(dns_names::qtype(dns.qtype)));
    }
    row.number("rcode", dns.rcode.map(u64::from));
    row.shown("rcode_name", dns.rcode.map(dns_names::rcode));
    row.flag("AA", Some(dns.flags.aa));
    row.flag("TC", Some(dns.flags.tc));
    row.flag("RD", Some(dns.flags.rd));
    row.flag("RA", Some(dns.flags.ra));
    row.number("Z", Some(dns.flags.z.into()));
    let answers = dns.answers.iter().map(|answer| match &answer.data {
        DnsData::Addr(addr) => Cow::from(addr.to_string()),
        DnsData::Name(text) | DnsData::Text(text) => Cow::from(text),
    });
    row.texts("answers", answers, IfEmpty::Unset);
    // A list with holes would belong to other answers.
    if dns.answers.iter().all(|answer| answer.ttl.is_some()) {
        let ttls = dns.answers.iter().filter_map(|answer| answer.ttl);
        row.spans("TTLs", ttls.map(|ttl| Span::from_secs(ttl.into())), IfEmpty::Unset);
    }
    row.flag("rejected", Some(dns.rejected));
}

fn http_row(row: &mut Row<'_>, http: &Http) {
    about(row, &http.about);
    row.number("trans_depth", Some(http.trans_depth.into()));
    row.text("method", &http.method);
    row.text("host", &http.host);
    row.text("uri", &http.uri);
    row.text("referrer", &http.referrer);
    row.text("version", &http.version);
    row.text("user_agent", &http.user_agent);
    row.number("request_body_len", Some(http.request_body_len));
    row.number("response_body_len", Some(http.response_body_len));
    row.number("status_code", http.status_code.map(u64::from));
    row.text("status_msg", &http.status_msg);
    row.texts("tags", [""; 0], IfEmpty::Shown);
    row.text("username", &http.username);
    row.texts("orig_fuids", &http.orig_fuids, IfEmpty::Unset);
    row.texts("orig_mime_types", &http.orig_mime_types, IfEmpty::Unset);
    row.texts("resp_fuids", &http.resp_fuids, IfEmpty::Unset);
    row.texts("resp_mime_types", &http.resp_mime_types, IfEmpty::Unset);
}

fn ssh(row: &mut Row<'_>, ssh: &Ssh, local: &LocalNets) {
    about(row, &ssh.about);
    row.number("version", ssh.version.map(u64::from));
    row.flag("auth_success", ssh.auth_success);
    row.number("auth_attempts", Some(ssh.auth_attempts.into()));
    let direction = match (local.contains(ssh.about.src.addr), local.contains(ssh.about.dst.addr)) {
        (true, false) => "OUTBOUND",
        (false, true) => "INBOUND",
        _ => "",
    };
    row.text("direction", direction);
    row.text("client", &ssh.client);
    row.text("server", &ssh.server);
    row.text("cipher_alg", &ssh.cipher_alg);
    row.text("mac_alg", &ssh.mac_alg);
    row.text("compression_alg", &ssh.compression_alg);
    row.text("kex_alg", &ssh.kex_alg);
    row.text("host_key_alg", &ssh.host_key_alg);
    row.text("host_key_fingerprint", &ssh.host_key);
    row.text("hassh", &ssh.hassh);
    row.text("hasshServer", &ssh.hassh_server);
}

fn arp(row: &mut Row<'_>, arp: &Arp) {
    row.time("ts", arp.at);
    row.shown(
        "operation",
        Some(match arp.op {
            ArpOp::Request => "request",
            ArpOp::Reply => "reply",
        }),
    );
    row.shown("src_mac", Some(arp.frame_src));
    row.shown("dst_mac", Some(arp.frame_dst));
    row.addr("orig_h", Some(arp.sender));
    row.addr("resp_h", Some(arp.target));
    row.shown("orig_hw", Some(arp.sender_mac));
    row.shown("resp_hw", Some(arp.target_mac));
}

fn dhcp(row: &mut Row<'_>, dhcp: &Dhcp) {
    row.time("ts", dhcp.at);
    row.texts("uids", dhcp.uids.iter().map(|uid| uid.as_str()), IfEmpty::Unset);
    row.addr("client_addr", dhcp.client);
    row.addr("server_addr", dhcp.server);
    row.shown("mac", dhcp.mac);
    row.text("host_name", &dhcp.host_name);
    row.text("client_fqdn", &dhcp.client_fqdn);
    row.text("domain", &dhcp.domain);
    row.addr("requested_addr", dhcp.requested_addr);
    row.addr("assigned_addr", dhcp.assigned_addr);
    row.span("lease_time", dhcp.lease_time);
    row.text("client_message", &dhcp.client_message);
    row.text("server_message", &dhcp.server_message);
    row.texts("msg_types", &dhcp.msg_types, IfEmpty::Unset);
    row.span("duration", Some(dhcp.duration));
}

fn file(row: &mut Row<'_>, file: &File, local: &LocalNets) {
    row.time("ts", file.at);
    row.text("fuid", file.fuid.as_str());
    row.text("uid", file.uid.as_str());
    let (client, server) = (file.ends.map(|ends| ends.0), file.ends.map(|ends| ends.1));
    row.addr("id.orig_h", client.map(|end| end.addr));
    row.number("id.orig_p", client.map(|end| end.port.into()));
    row.addr("id.resp_h", server.map(|end| end.addr));
    row.number("id.resp_p", server.map(|end| end.port.into()));
    row.texts("tx_hosts", file.sender.map(|addr| addr.to_string()), IfEmpty::Unset);
    row.texts("rx_hosts", file.receiver.map(|addr| addr.to_string()), IfEmpty::Unset);
    row.text("source", &file.source);
    row.texts("analyzers", &file.analyzers, IfEmpty::Shown);
    row.text("mime_type", &file.mime_type);
    let known = !local.nets().is_empty();
    row.flag("local_orig", file.sender.filter(|_| known).map(|sender| local.contains(sender)));
    row.flag("is_orig", file.is_orig);
    row.number("seen_bytes", file.seen_bytes);
    row.number("total_bytes", file.total_bytes);
    row.number("missing_bytes", file.missing_bytes);
    row.text("md5", &file.md5);
    row.text("sha1", &file.sha1);
    row.text("sha256", &file.sha256);
}

fn software(row: &mut Row<'_>, software: &Software) {
    row.time("ts", software.at);
    row.addr("host", Some(software.host));
    row.number("host_p", software.port.map(u64::from));
    row.text("software_type", &software.software_type);
    row.text("name", &software.name);
    row.number("version.major", software.major.map(u64::from));
    row.number("version.minor", software.minor.map(u64::from));
    row.text("unparsed_version", &software.unparsed_version);
}

fn notice(row: &mut Row<'_>, notice: &Notice) {
    row.time("ts", notice.at);
    row.text("uid", notice.uid.as_str());
    row.shown("proto", notice.proto);
    row.text("note", &notice.note);
    row.text("msg", &notice.msg);
    row.text("sub", &notice.sub);
    row.addr("src", notice.src);
    row.addr("dst", notice.dst);
    row.number("p", notice.port.map(u64::from));
    row.number("n", notice.count);
}

fn login(row: &mut Row<'_>, login: &Login) {
    about(row, &login.about);
    row.shown("proto", Some(login.about.proto));
    row.text("service", &login.service);
    row.flag("success", Some(login.success));
    row.flag("confused", Some(login.confused));
    row.text("user", &login.user);
    row.text("client_user", &login.client_user);
    row.flag("password_seen", Some(login.password_seen));
    row.number("failures", Some(login.failures.into()));
}

/// The logs with few fields.
fn rest(row: &mut Row<'_>, event: &Event, local: &LocalNets) {
    match event {
        Event::Dhcp(record) => dhcp(row, record),
        Event::Smtp(smtp) => {
            about(row, &smtp.about);
            row.text("helo", &smtp.helo);
            row.text("subject", &smtp.subject);
            row.text("last_reply", &smtp.last_reply);
            row.flag("tls", Some(smtp.tls));
            row.texts("fuids", &smtp.fuids, IfEmpty::Shown);
        }
        Event::Ftp(ftp) => {
            about(row, &ftp.about);
            row.text("user", &ftp.user);
            row.text("command", &ftp.command);
            row.number("reply_code", ftp.reply_code.map(u64::from));
            row.number("data_channel.resp_p", ftp.data_port.map(u64::from));
        }
        Event::File(record) => file(row, record, local),
        Event::Software(record) => software(row, record),
        Event::Weird(weird) => {
            about(row, &weird.about);
            row.text("name", &weird.name);
            row.text("addl", &weird.addl);
        }
        Event::Tunnel(tunnel) => {
            about(row, &tunnel.about);
            row.text("tunnel_type", &tunnel.tunnel_type);
            row.text("action", &tunnel.action);
        }
        Event::Notice(record) => notice(row, record),
        Event::Login(record) => login(row, record),
        other => own_logs::fill(row, other),
    }
}

const CONN: &[Field] = fields! { about;
    "proto": "enum", "service": "string", "duration": "interval", "orig_bytes": "count", "resp_bytes": "count",
    "conn_state": "string", "local_orig": "bool", "local_resp": "bool", "missed_bytes": "count", "history": "string",
    "orig_pkts": "count", "orig_ip_bytes": "count", "resp_pkts": "count", "resp_ip_bytes": "count",
    "tunnel_parents": "set[string]", "ip_proto": "count", "orig_l2_addr": "string", "resp_l2_addr": "string", "vlan": "int",
    "community_id": "string",
};
const DNS: &[Field] = fields! { about;
    "proto": "enum", "trans_id": "count", "rtt": "interval", "query": "string", "qclass": "count", "qclass_name": "string",
    "qtype": "count", "qtype_name": "string", "rcode": "count", "rcode_name": "string", "AA": "bool", "TC": "bool", "RD": "bool",
    "RA": "bool", "Z": "count", "answers": "vector[string]", "TTLs": "vector[interval]", "rejected": "bool",
    "opcode": "count", "opcode_name": "string",
};
const HTTP: &[Field] = fields! { about;
    "trans_depth": "count", "method": "string", "host": "string", "uri": "string", "referrer": "string", "version": "string",
    "user_agent": "string", "origin": "string", "request_body_len": "count", "response_body_len": "count",
    "status_code": "count", "status_msg": "string", "info_code": "count", "info_msg": "string", "tags": "set[enum]",
    "username": "string", "password": "string", "proxied": "set[string]", "orig_fuids": "vector[string]",
    "orig_filenames": "vector[string]", "orig_mime_types": "vector[string]", "resp_fuids": "vector[string]",
    "resp_filenames": "vector[string]", "resp_mime_types": "vector[string]",
};
const SSH: &[Field] = fields! { about;
    "version": "count", "auth_success": "bool", "auth_attempts": "count", "direction": "enum", "client": "string",
    "server": "string", "cipher_alg": "string", "mac_alg": "string", "compression_alg": "string", "kex_alg": "string",
    "host_key_alg": "string", "host_key_fingerprint": "string", "hassh": "string", "hasshServer": "string",
};
const ARP: &[Field] = fields! {
    "ts": "time", "operation": "string", "src_mac": "string", "dst_mac": "string", "orig_h": "addr", "resp_h": "addr",
    "orig_hw": "string", "resp_hw": "string",
};
const DHCP: &[Field] = fields! {
    "ts": "time", "uids": "set[string]", "client_addr": "addr", "server_addr": "addr", "mac": "string", "host_name": "string",
    "client_fqdn": "string", "domain": "string", "requested_addr": "addr", "assigned_addr": "addr", "lease_time": "interval",
    "client_message": "string", "server_message": "string", "msg_types": "vector[string]", "duration": "interval",
};
const SMTP: &[Field] = fields! { about;
    "helo": "string", "subject": "string", "last_reply": "string", "tls": "bool", "fuids": "vector[string]",
};
const FTP: &[Field] = fields! { about;
    "user": "string", "command": "string", "reply_code": "count", "data_channel.resp_p": "port",
};
/// The connection as in today's Zeek, and `tx_hosts` and `rx_hosts` as up to its version 5, which tools still read.
const FILES: &[Field] = fields! {
    "ts": "time", "fuid": "string", "uid": "string", "id.orig_h": "addr", "id.orig_p": "port", "id.resp_h": "addr",
    "id.resp_p": "port", "tx_hosts": "set[addr]", "rx_hosts": "set[addr]", "source": "string",
    "analyzers": "set[string]", "mime_type": "string", "local_orig": "bool", "is_orig": "bool", "seen_bytes": "count", "total_bytes": "count", "missing_bytes": "count", "md5": "string", "sha1": "string",
    "sha256": "string",
};
const SOFTWARE: &[Field] = fields! {
    "ts": "time", "host": "addr", "host_p": "port", "software_type": "enum", "name": "string", "version.major": "count",
    "version.minor": "count", "unparsed_version": "string",
};
const WEIRD: &[Field] = fields! { about; "name": "string", "addl": "string" };
const TUNNEL: &[Field] = fields! { about; "tunnel_type": "enum", "action": "enum" };
const NOTICE: &[Field] = fields! {
    "ts": "time", "uid": "string", "proto": "enum", "note": "enum", "msg": "string", "sub": "string", "src": "addr",
    "dst": "addr", "p": "port", "n": "count",
};
const LOGIN: &[Field] = fields! { about;
    "proto": "enum", "service": "string", "success": "bool", "confused": "bool", "user": "string",
    "client_user": "string", "password_seen": "bool", "failures": "count",
};
