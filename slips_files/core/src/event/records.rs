//! What the sensor and log files tell of protocols: one record each, with the fields of Zeek's log of that name.

use std::fmt;
use std::net::IpAddr;

use crate::flow::{Endpoint, MacAddr, Proto, Service, Uid};
use crate::time::{PacketTime, Span};

/// What all protocol records share: when, which flow, between whom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct About {
    /// Time of the record.
    pub at: PacketTime,
    /// The flow it belongs to.
    pub uid: Uid,
    /// Client.
    pub src: Endpoint,
    /// Server.
    pub dst: Endpoint,
    /// Transport.
    pub proto: Proto,
    /// Index of the interface; 0 for files.
    pub interface: u16,
    /// TCP: the client had acknowledged what the server really sent, so that nobody off the path made this up. True where it is not
    /// known, as in log files.
    pub heard: bool,
    /// The flow was seen within other packets; see [`Flow::tunnelled`](crate::flow::Flow::tunnelled).
    pub tunnelled: bool,
    /// Hardware address of the client's frames, where the input has it.
    pub src_mac: Option<MacAddr>,
}

/// A DNS question with its answer (dns.log).
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    /// When and between whom.
    pub about: About,
    /// Transaction id.
    pub trans_id: u16,
    /// Time from question to answer.
    pub rtt: Option<Span>,
    /// Name asked for, lower case, without the final dot; at most 255 bytes.
    pub query: String,
    /// Question class number.
    pub qclass: u16,
    /// Question type number (1 = A, 28 = AAAA, 16 = TXT …).
    pub qtype: u16,
    /// Response code; `None` when no answer was seen.
    pub rcode: Option<u16>,
    /// Header flags of the answer (of the question where there is no answer).
    pub flags: DnsFlags,
    /// Answers as Zeek prints them: addresses, names, `TXT 5 hello`.
    pub answers: Vec<DnsAnswer>,
    /// The answer was refused by Zeek's rules (rcode set, but nothing answered).
    pub rejected: bool,
}

/// DNS header bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by RFC 1035")]
pub struct DnsFlags {
    pub aa: bool,
    pub tc: bool,
    pub rd: bool,
    pub ra: bool,
    pub z: u8,
}

/// One answer of a DNS reply.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsAnswer {
    /// The value.
    pub data: DnsData,
    /// Time to live in seconds; `None` when the input does not tell.
    pub ttl: Option<u32>,
}

/// The value of a DNS answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsData {
    /// A or AAAA.
    Addr(IpAddr),
    /// CNAME, NS, PTR, MX …: a name.
    Name(String),
    /// Anything else as Zeek prints it (`TXT 5 hello`).
    Text(String),
}

/// One HTTP request with its response (http.log).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "Zeek's http.log field names")]
pub struct Http {
    pub about: About,
    pub trans_depth: u32,
    pub method: String,
    pub host: String,
    pub uri: String,
    pub referrer: String,
    pub version: String,
    pub user_agent: String,
    pub request_body_len: u64,
    pub response_body_len: u64,
    pub status_code: Option<u16>,
    pub status_msg: String,
    pub resp_mime_types: Vec<String>,
    pub resp_fuids: Vec<String>,
    /// User of basic authentication.
    pub username: String,
    pub orig_mime_types: Vec<String>,
    pub orig_fuids: Vec<String>,
    /// A browser asked on behalf of a page: `Origin` or `Sec-Fetch-…` are there, which no page can leave out or forge (Fetch
    /// standard, forbidden request-headers).
    pub from_page: bool,
}

/// A TLS handshake (ssl.log).
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "Zeek's ssl.log field names")]
pub struct TlsFields {
    pub version: String,
    pub cipher: String,
    pub curve: String,
    pub server_name: String,
    pub next_protocol: String,
    pub resumed: bool,
    pub established: bool,
    pub subject: String,
    pub issuer: String,
    pub validation_status: String,
    pub cert_chain_fps: Vec<String>,
    pub ja3: String,
    pub ja3s: String,
    pub ja4: String,
    pub last_alert: String,
    pub ssl_history: String,
    pub client_cert_chain_fps: Vec<String>,
    /// SHA-1 of the server's own certificate.
    pub cert_sha1: String,
    /// Validity of the server's own certificate.
    pub not_valid_before: Option<PacketTime>,
    pub not_valid_after: Option<PacketTime>,
    /// DNS names of the server's own certificate.
    pub san_dns: Vec<String>,
}

/// A TLS handshake between two endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// When and between whom.
    pub about: About,
    /// What was negotiated.
    pub fields: TlsFields,
}

/// A QUIC connection as far as its first packets show it (quic.log); its handshake is a [`Tls`] of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Quic {
    /// When and between whom.
    pub about: About,
    /// `1`, `quicv2`, `draft-29`, `unknown-…`.
    pub version: String,
    /// Destination connection id of the client's first packet, in hexadecimal digits.
    pub client_initial_dcid: String,
    /// What each side calls the connection in its packets: `None` when it sent none, empty when it chose the empty one.
    pub client_scid: Option<String>,
    /// See `client_scid`.
    pub server_scid: Option<String>,
    /// Name that the client asked for.
    pub server_name: String,
    /// First protocol that the client offered (`h3`, `doq` …).
    pub client_protocol: String,
    /// Zeek's letters, capitals from the client: I Initial, H Handshake, Z 0-RTT, R Retry, C close, S hello, U unknown
    /// version, X discarded, O the 1st, 2nd, 4th, 8th … packet with a short header.
    pub history: String,
}

/// A certificate (x509.log).
#[derive(Clone, Debug, PartialEq)]
pub struct X509 {
    /// When and between whom it was shown.
    pub about: About,
    /// SHA-256 of its bytes.
    pub fingerprint: String,
    /// 1 to 3.
    pub version: u8,
    /// Serial number in hexadecimal digits.
    pub serial: String,
    /// Whose it is, as RFC 2253 prints names.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Validity.
    pub not_valid_before: Option<PacketTime>,
    /// Validity.
    pub not_valid_after: Option<PacketTime>,
    /// Algorithm of its key, by OpenSSL's name.
    pub key_alg: String,
    /// Algorithm of its signature, by OpenSSL's name.
    pub sig_alg: String,
    /// `rsa`, `dsa`, `ecdsa`; empty for others.
    pub key_type: String,
    /// Bits of its key.
    pub key_length: Option<u32>,
    /// Public exponent of an RSA key.
    pub exponent: String,
    /// Curve of an elliptic key.
    pub curve: String,
    /// Hosts that it is for.
    pub san_dns: Vec<String>,
    /// Addresses on the web that it is for.
    pub san_uri: Vec<String>,
    /// Mail addresses that it is for.
    pub san_email: Vec<String>,
    /// IP addresses that it is for.
    pub san_ip: Vec<IpAddr>,
    /// Whether it may sign others; `None` when it does not say.
    pub is_ca: Option<bool>,
    /// How many more may stand below it.
    pub path_length: Option<u32>,
    /// It is the first of its chain: the host's own.
    pub is_host: bool,
    /// The client showed it.
    pub is_client: bool,
}

/// An SSH handshake (ssh.log).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "Zeek's ssh.log field names")]
pub struct Ssh {
    pub about: About,
    pub version: Option<u8>,
    pub auth_success: Option<bool>,
    pub auth_attempts: u32,
    pub client: String,
    pub server: String,
    pub cipher_alg: String,
    pub mac_alg: String,
    pub compression_alg: String,
    pub kex_alg: String,
    pub host_key_alg: String,
    pub host_key: String,
    /// MD5 of the client's offer of algorithms.
    pub hassh: String,
    /// MD5 of the server's.
    pub hassh_server: String,
}

/// ARP operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOp {
    /// Who has …?
    Request,
    /// … is at.
    Reply,
}

/// An ARP request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Time of the frame.
    pub at: PacketTime,
    /// Request or reply.
    pub op: ArpOp,
    /// Source of the frame.
    pub frame_src: MacAddr,
    /// Destination of the frame.
    pub frame_dst: MacAddr,
    /// Sender's protocol address.
    pub sender: IpAddr,
    /// Sender's hardware address.
    pub sender_mac: MacAddr,
    /// Target's protocol address.
    pub target: IpAddr,
    /// Target's hardware address.
    pub target_mac: MacAddr,
    /// Index of the interface; 0 for files.
    pub interface: u16,
}

/// A DHCP exchange (dhcp.log).
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "Zeek's dhcp.log field names")]
pub struct Dhcp {
    pub at: PacketTime,
    pub uids: Vec<Uid>,
    pub client: Option<IpAddr>,
    pub server: Option<IpAddr>,
    /// Other servers that offered an address in the same transaction, or that the client chose, at most four.
    pub other_servers: Vec<IpAddr>,
    pub mac: Option<MacAddr>,
    pub host_name: String,
    pub requested_addr: Option<IpAddr>,
    pub assigned_addr: Option<IpAddr>,
    pub lease_time: Option<Span>,
    pub msg_types: Vec<String>,
    pub client_fqdn: String,
    pub domain: String,
    pub client_message: String,
    pub server_message: String,
    /// From the first message to the last.
    pub duration: Span,
    /// The relay that a message came through: a router of the client's network (`giaddr`).
    pub relay: Option<IpAddr>,
    pub interface: u16,
}

/// A mail transaction (smtp.log).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "Zeek's smtp.log field names")]
pub struct Smtp {
    pub about: About,
    pub helo: String,
    pub last_reply: String,
    pub tls: bool,
    /// What the mail is about, at most 128 bytes.
    pub subject: String,
    /// Names of the mail's parts in files.log.
    pub fuids: Vec<String>,
}

/// An FTP command with a data channel (ftp.log).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "Zeek's ftp.log field names")]
pub struct Ftp {
    pub about: About,
    pub user: String,
    pub command: String,
    /// What the command is about, mostly a file's name; at most 128 bytes.
    pub arg: String,
    pub reply_code: Option<u16>,
    pub data_port: Option<u16>,
}

/// A file that was transferred (files.log).
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "Zeek's files.log field names")]
pub struct File {
    pub at: PacketTime,
    pub fuid: Uid,
    pub uid: Uid,
    pub sender: Option<IpAddr>,
    pub receiver: Option<IpAddr>,
    pub source: String,
    pub mime_type: String,
    pub analyzers: Vec<String>,
    pub md5: String,
    pub sha1: String,
    pub sha256: String,
    /// Length that was announced.
    pub total_bytes: Option<u64>,
    /// Bytes that were seen, decoded.
    pub seen_bytes: Option<u64>,
    /// Bytes that were lost on the way.
    pub missing_bytes: Option<u64>,
    /// Client and server of the connection that carried it.
    pub ends: Option<(Endpoint, Endpoint)>,
    /// The client sent it.
    pub is_orig: Option<bool>,
}

/// Software seen on a host (software.log).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "Zeek's software.log field names")]
pub struct Software {
    pub at: PacketTime,
    pub host: IpAddr,
    pub port: Option<u16>,
    pub software_type: String,
    pub name: String,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub unparsed_version: String,
}

/// A protocol oddity (weird.log).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "Zeek's weird.log field names")]
pub struct Weird {
    pub about: About,
    pub name: String,
    pub addl: String,
}

/// A tunnel was found or closed (tunnel.log).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "Zeek's tunnel.log field names")]
pub struct Tunnel {
    pub about: About,
    pub tunnel_type: String,
    pub action: String,
}

/// A notice of Zeek (notice.log).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "Zeek's notice.log field names")]
pub struct Notice {
    pub at: PacketTime,
    pub uid: Uid,
    pub note: String,
    pub msg: String,
    pub sub: String,
    pub src: Option<IpAddr>,
    pub dst: Option<IpAddr>,
    pub port: Option<u16>,
    pub proto: Option<Proto>,
    /// How often, where Zeek tells (`n`).
    pub count: Option<u64>,
}

/// A clear-text login (login.log).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the original's login.log field names")]
pub struct Login {
    pub about: About,
    pub service: String,
    pub success: bool,
    pub confused: bool,
    pub user: String,
    /// The user's name on the client's side, where the protocol tells it.
    pub client_user: String,
    /// A password crossed the network readably. It is kept nowhere.
    pub password_seen: bool,
    /// Refused attempts in the same connection before this one.
    pub failures: u32,
}

/// A piece of what one side of a flow sends in the clear, for who looks for what should not leave. Written to no log.
#[derive(Clone, PartialEq)]
pub struct Payload {
    /// When its last byte was sent, and between whom.
    pub about: About,
    /// The client sent it.
    pub is_orig: bool,
    /// What the flow speaks, as far as it is known.
    pub service: Service,
    /// Some of what was sent, in order; where something was passed over, a line ends.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Payload {
    /// Without the bytes: they may be what nobody should read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { about, is_orig, service, bytes } = self;
        write!(f, "Payload {{ {about:?}, is_orig: {is_orig}, {service:?}, {} bytes }}", bytes.len())
    }
}
