//! Which logs and columns are compared, and how much must be equal.

/// A log and what of it counts.
pub struct Scope {
    pub log: &'static str,
    /// Columns that Slips reads; a row is equal if all of these are.
    pub columns: &'static [&'static str],
    /// Least share of equal rows, in percent.
    pub bar: u32,
    /// Further columns that tell rows apart, in logs that do not name both endpoints.
    pub key: &'static [&'static str],
}

const fn scope(log: &'static str, bar: u32, columns: &'static [&'static str]) -> Scope {
    Scope { log, columns, bar, key: &[] }
}

/// The endpoints, by which rows are matched.
pub const ENDPOINTS: [&str; 4] = ["id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"];

pub const LOGS: &[Scope] = &[
    scope(
        "conn",
        98,
        &[
            "service",
            "duration",
            "orig_bytes",
            "resp_bytes",
            "conn_state",
            "missed_bytes",
            "history",
            "orig_pkts",
            "orig_ip_bytes",
            "resp_pkts",
            "resp_ip_bytes",
        ],
    ),
    scope("dns", 95, &["query", "qclass_name", "qtype_name", "rcode_name", "answers", "TTLs"]),
    scope(
        "http",
        95,
        &[
            "method",
            "host",
            "uri",
            "version",
            "user_agent",
            "request_body_len",
            "response_body_len",
            "status_code",
            "status_msg",
            "resp_mime_types",
            "resp_fuids",
        ],
    ),
    scope(
        "ssl",
        95,
        &[
            "version",
            "cipher",
            "curve",
            "server_name",
            "resumed",
            "established",
            "cert_chain_fps",
            "client_cert_chain_fps",
            "subject",
            "issuer",
            "validation_status",
            "ja3",
            "ja3s",
        ],
    ),
    Scope {
        log: "x509",
        columns: &[
            "fingerprint",
            "certificate.version",
            "certificate.serial",
            "certificate.subject",
            "certificate.issuer",
            "certificate.not_valid_before",
            "certificate.not_valid_after",
            "certificate.key_alg",
            "certificate.sig_alg",
            "certificate.key_type",
            "certificate.key_length",
            "certificate.exponent",
            "certificate.curve",
            "san.dns",
            "basic_constraints.ca",
            "basic_constraints.path_len",
        ],
        bar: 95,
        key: &["fingerprint"],
    },
    scope(
        "ssh",
        95,
        &[
            "version",
            "auth_success",
            "auth_attempts",
            "client",
            "server",
            "cipher_alg",
            "mac_alg",
            "compression_alg",
            "kex_alg",
            "host_key_alg",
            "host_key_fingerprint",
        ],
    ),
    Scope {
        log: "dhcp",
        columns: &["client_addr", "server_addr", "mac", "host_name", "requested_addr"],
        bar: 95,
        key: &["mac"],
    },
    Scope { log: "ftp", columns: &["command", "data_channel.resp_p"], bar: 95, key: &["command"] },
    scope("smtp", 95, &["last_reply"]),
    scope("files", 95, &["source", "mime_type", "total_bytes", "md5", "sha1", "sha256"]),
    scope("tunnel", 95, &["tunnel_type", "action"]),
    scope(
        "quic",
        95,
        &[
            "version",
            "client_initial_dcid",
            "client_scid",
            "server_scid",
            "server_name",
            "client_protocol",
            "history",
        ],
    ),
    Scope { log: "notice", columns: &["note", "msg", "src", "dst", "p"], bar: 95, key: &["note"] },
    Scope { log: "weird", columns: &["name", "addl"], bar: 0, key: &["name"] },
];

/// The notices that Slips can use; others come of Zeek's optional scripts.
pub const NOTICES: [&str; 5] = [
    "SSH::Password_Guessing",
    "ICMPAddressScan",
    "TimestampScan",
    "AddressMaskScan",
    "Gateway_addr_identified",
];

/// The commands that Zeek logs by default.
pub const FTP_COMMANDS: [&str; 10] =
    ["APPE", "DELE", "RETR", "STOR", "STOU", "ACCT", "PORT", "PASV", "EPRT", "EPSV"];

/// Columns that hold identifiers: another run has others, but they must refer to the same things.
pub const REFERENCES: [&str; 6] = ["uid", "uids", "fuid", "resp_fuids", "orig_fuids", "fuids"];
