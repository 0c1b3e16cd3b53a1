//! What clients ask of servers in protocols that have no record of their own, and whether servers let them in.
//!
//! One record for all protocols each, so that a detection of password guessing or of moving from host to host is written once.

use crate::event::About;

/// A protocol in which somebody logs in or asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each names its protocol")]
pub enum App {
    Telnet,
    Rlogin,
    Rsh,
    Ftp,
    Smtp,
    Imap,
    Pop3,
    Http,
    Smb,
    DceRpc,
    Rdp,
    Kerberos,
    Ldap,
    Radius,
    Mysql,
    Postgresql,
    Rfb,
    Redis,
    Mqtt,
    Socks,
    Irc,
    Sip,
    Snmp,
    Stratum,
    Modbus,
    Ntp,
    Xmpp,
}

impl App {
    /// Its name, as flows call the service.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Telnet => "telnet",
            Self::Rlogin => "rlogin",
            Self::Rsh => "rsh",
            Self::Ftp => "ftp",
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Http => "http",
            Self::Smb => "smb",
            Self::DceRpc => "dce_rpc",
            Self::Rdp => "rdp",
            Self::Kerberos => "krb",
            Self::Ldap => "ldap",
            Self::Radius => "radius",
            Self::Mysql => "mysql",
            Self::Postgresql => "postgresql",
            Self::Rfb => "rfb",
            Self::Redis => "redis",
            Self::Mqtt => "mqtt",
            Self::Socks => "socks",
            Self::Irc => "irc",
            Self::Sip => "sip",
            Self::Snmp => "snmp",
            Self::Stratum => "stratum",
            Self::Modbus => "modbus",
            Self::Ntp => "ntp",
            Self::Xmpp => "xmpp",
        }
    }
}

/// How an attempt to log in ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AuthOutcome {
    /// The server let the client in.
    Succeeded,
    /// The server refused.
    Failed,
    /// The answer was not seen or cannot be read.
    #[default]
    Unknown,
}

impl AuthOutcome {
    /// From whether somebody was let in, where that is known.
    pub const fn of(let_in: Option<bool>) -> Self {
        match let_in {
            Some(true) => Self::Succeeded,
            Some(false) => Self::Failed,
            None => Self::Unknown,
        }
    }

    /// In words, for logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// One attempt to authenticate, in any protocol where it can be read. Passwords and hashes are never kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// When the attempt was decided, and between whom.
    pub about: About,
    /// The protocol.
    pub app: App,
    /// The user, as far as seen; at most 128 bytes, as all texts here.
    pub user: String,
    /// Domain, realm or database of the user; empty where there is none.
    pub domain: String,
    /// The name that the client gives its own machine; empty where it gives none.
    pub host: String,
    /// How: `PLAIN`, `NTLM`, `basic`, `mysql_native_password` …
    pub method: String,
    /// The end of it.
    pub outcome: AuthOutcome,
    /// What the server said when it refused: its code or text.
    pub reason: String,
    /// The password crossed the network readably.
    pub clear_password: bool,
}

/// One request of a client, in a protocol that has no record of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// When it was asked, and between whom.
    pub about: About,
    /// The protocol.
    pub app: App,
    /// What was asked, a fixed word of the protocol's parser: `tree_connect`, `open`, `connect`, `mining.subscribe` …
    pub action: &'static str,
    /// What it is asked of: a share, file, service, target address or object; at most 512 bytes.
    pub object: String,
    /// On whose behalf: user, worker, community; empty where it is not told.
    pub subject: String,
    /// What else counts: dialect, security, software.
    pub detail: String,
    /// The server's answer in the protocol's words; empty where none was seen.
    pub status: String,
}
