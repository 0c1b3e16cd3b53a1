//! The kinds of evidence.

use std::fmt;

macro_rules! evidence_kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// What was found. The names are the original's where the meaning is the same.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum EvidenceKind { $($(#[$doc])* $variant,)+ }

        impl EvidenceKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in configuration, logs and databases.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

evidence_kinds! {
    /// A host asks by ARP for many addresses.
    ArpScan = "ARP_SCAN",
    /// Many pings from one host to many.
    IcmpAddressScan = "ICMP_ADDRESS_SCAN",
    /// Many ICMP timestamp requests from one host to many.
    IcmpTimestampScan = "ICMP_TIMESTAMP_SCAN",
    /// Many ICMP address mask requests from one host to many.
    IcmpAddressMaskScan = "ICMP_ADDRESS_MASK_SCAN",
    /// Failed attempts at the same port of many hosts.
    HorizontalPortScan = "HORIZONTAL_PORT_SCAN",
    /// Failed attempts at many ports of one host.
    VerticalPortScan = "VERTICAL_PORT_SCAN",
    /// Repeated logins that fail.
    PasswordGuessing = "PASSWORD_GUESSING",
    /// The same refused connection again and again.
    MultipleReconnectionAttempts = "MULTIPLE_RECONNECTION_ATTEMPTS",
    /// A connection that lasts unusually long.
    LongConnection = "LONG_CONNECTION",
    /// Much data sent to one destination.
    DataUpload = "DATA_UPLOAD",
    /// Traffic to an address that is listed as malicious.
    ToBlacklistedIp = "THREAT_INTELLIGENCE_TO_BLACKLISTED_IP",
    /// Traffic from an address that is listed as malicious.
    FromBlacklistedIp = "THREAT_INTELLIGENCE_FROM_BLACKLISTED_IP",
    /// A name that is listed as malicious is asked for or contacted.
    BlacklistedDomain = "THREAT_INTELLIGENCE_BLACKLISTED_DOMAIN",
    /// A name leads to an address or another name that is listed as malicious.
    BlacklistedDnsAnswer = "THREAT_INTELLIGENCE_BLACKLISTED_DNS_ANSWER",
    /// An address to which a name leads that is listed as malicious.
    AnswerOfBlacklistedQuery = "THREAT_INTELLIGENCE_ANSWER_OF_BLACKLISTED_QUERY",
    /// Connection to or from an autonomous system that is listed as malicious.
    BlacklistedAsn = "THREAT_INTELLIGENCE_BLACKLISTED_ASN",
    /// A page is fetched that is listed as malicious.
    MaliciousUrl = "THREAT_INTELLIGENCE_MALICIOUS_URL",
    /// A file was transferred that is listed as malicious.
    MaliciousDownloadedFile = "MALICIOUS_DOWNLOADED_FILE",
    /// An ARP answer to everybody that nobody asked for.
    UnsolicitedArp = "UNSOLICITED_ARP",
    /// A host asks by ARP for an address that is not on its network.
    ArpOutsideLocalnet = "ARP_OUTSIDE_LOCALNET",
    /// A host claims by ARP the address of another one that is there.
    MitmArpAttack = "MITM_ARP_ATTACK",
    /// A host requests one address after the other by DHCP.
    DhcpScan = "DHCP_SCAN",
    /// A mail server refused a login.
    BadSmtpLogin = "BAD_SMTP_LOGIN",
    /// A mail server refused many logins in a short time.
    SmtpLoginBruteforce = "SMTP_LOGIN_BRUTEFORCE",
    /// A GRE tunnel carried packets.
    GreTunnel = "GRE_TUNNEL",
    /// A GRE tunnel was looked for or began.
    GreScan = "GRE_SCAN",
    /// A login in clear text (telnet, rlogin, rsh).
    Login = "LOGIN",
    /// A host uses several versions of SSH software.
    MultipleSshVersions = "MULTIPLE_SSH_VERSIONS",
    /// A login by SSH that succeeded.
    SshSuccessful = "SSH_SUCCESSFUL",
    /// A service drowns in connection attempts.
    SynFlood = "SYN_FLOOD",
    /// A host drowns in datagrams.
    UdpFlood = "UDP_FLOOD",
    /// A host drowns in pings.
    IcmpFlood = "ICMP_FLOOD",
    /// A client names itself as malware does.
    SuspiciousUserAgent = "SUSPICIOUS_USER_AGENT",
    /// A program for Windows was fetched in clear text.
    ExecutableMimeType = "EXECUTABLE_MIME_TYPE",
    /// Requests for the start page of a search engine that ask for nothing.
    EmptyConnections = "EMPTY_CONNECTIONS",
    /// A method that HTTP does not know.
    WeirdHttpMethod = "WEIRD_HTTP_METHOD",
    /// A text was fetched from a paste site.
    PastebinDownload = "PASTEBIN_DOWNLOAD",
    /// Something else than HTTP speaks at port 80.
    NonHttpPort80 = "NON_HTTP_PORT_80_CONNECTION",
    /// Something else than TLS speaks at port 443.
    NonSslPort443 = "NON_SSL_PORT_443_CONNECTION",
    /// Many names that do not exist.
    DgaNxdomains = "DGA_NXDOMAINS",
    /// Many reverse lookups in a short time.
    DnsArpaScan = "DNS_ARPA_SCAN",
    /// A DNS answer whose text looks random.
    HighEntropyDnsAnswer = "HIGH_ENTROPY_DNS_ANSWER",
    /// An outside name has an inside address.
    InvalidDnsResolution = "INVALID_DNS_RESOLUTION",
    /// A server shows a certificate that only itself vouches for.
    SelfSignedCertificate = "SELF_SIGNED_CERTIFICATE",
    /// A TLS client whose fingerprint is listed.
    MaliciousJa3 = "MALICIOUS_JA3",
    /// A TLS server whose fingerprint is listed.
    MaliciousJa3s = "MALICIOUS_JA3S",
    /// A flow from or to port 0.
    Port0Connection = "PORT_0_CONNECTION",
    /// A local host goes to another one.
    ConnectionToPrivateIp = "CONNECTION_TO_PRIVATE_IP",
    /// A connection to a port that belongs to no known service.
    UnknownPort = "UNKNOWN_PORT",
    /// Connections to several unknown ports of one host.
    ConnectionToMultiplePorts = "CONNECTION_TO_MULTIPLE_PORTS",
    /// Connections that come back like a clock.
    CommandAndControlChannel = "COMMAND_AND_CONTROL_CHANNEL",
    /// A server shows a certificate that is listed, or that a tool of attackers makes by default.
    MaliciousSslCert = "MALICIOUS_SSL_CERT",
    /// A program is run on another host by its management interfaces.
    RemoteExecution = "REMOTE_EXECUTION",
    /// A directory or host is asked for secrets, or made to log in where the attacker waits.
    CredentialAccess = "CREDENTIAL_ACCESS",
    /// A host is asked who uses it and what it shares.
    RemoteDiscovery = "REMOTE_DISCOVERY",
    /// A message that only the exploit of a known flaw sends.
    ExploitAttempt = "EXPLOIT_ATTEMPT",
    /// A program that steals passwords reports by mail or FTP.
    StolenCredentials = "STOLEN_CREDENTIALS",
    /// Data travels in the names that a client asks for.
    DnsTunnel = "DNS_TUNNEL",
    /// Data travels in pings: the echoes are not what was sent.
    IcmpTunnel = "ICMP_TUNNEL",
    /// A host mines for somebody.
    CryptoMining = "CRYPTO_MINING",
    /// One of our hosts goes from one neighbour's management port to the next.
    LateralMovement = "LATERAL_MOVEMENT",
    /// Failed attempts at several ports of several hosts.
    BlockPortScan = "BLOCK_PORT_SCAN",
    /// Failed attempts that are few an hour and many a day.
    SlowPortScan = "SLOW_PORT_SCAN",
    /// A service of ours answers somebody much more than it is asked, as if somebody asked in his name.
    AmplificationAbuse = "AMPLIFICATION_ABUSE",
    /// A peer reported an address.
    P2pReport = "P2P_REPORT",
    /// What peers say, together with own evidence, is enough.
    MaliciousIpFromP2p = "MALICIOUS_IP_FROM_P2P_NETWORK",
    /// A host gives addresses by DHCP that is not the network's server.
    RogueDhcpServer = "ROGUE_DHCP_SERVER",
    /// So many hardware addresses ask for addresses that the server runs out of them.
    DhcpStarvation = "DHCP_STARVATION",
    /// A host claims by neighbour discovery the address of another one that is there.
    MitmNdpAttack = "MITM_NDP_ATTACK",
    /// A host says by IPv6 that it is a router, and is not the network's.
    RogueRouter = "ROGUE_ROUTER",
    /// A host answers to names that are not its own.
    NamePoisoning = "NAME_POISONING",
    /// A hardware address that was not seen on the link before.
    NewDevice = "NEW_DEVICE",
    /// One hardware address uses one IP address after the other.
    DeviceChangingIp = "DEVICE_CHANGING_IP",
    /// A name leads outside and inside by turns.
    DnsRebinding = "DNS_REBINDING",
    /// Names as algorithms make them.
    DgaNames = "DGA_NAMES",
    /// A device looks for others of its kind to take over.
    DeviceWorm = "DEVICE_WORM",
    /// A certificate that is out of its time, of an absurd life, or made out to an address.
    OddCertificate = "ODD_CERTIFICATE",
    /// A certificate of a large company at a server that is not its.
    IncompatibleCn = "INCOMPATIBLE_CN",
    /// A certificate of another name than the one asked for.
    CnUrlMismatch = "CN_URL_MISMATCH",
    /// A connection to an address that no name led to.
    ConnectionWithoutDns = "CONNECTION_WITHOUT_DNS",
    /// A name that was asked for and not used.
    DnsWithoutConnection = "DNS_WITHOUT_CONNECTION",
    /// User agents of several operating systems from one host.
    MultipleUserAgent = "MULTIPLE_USER_AGENT",
    /// A user agent that contradicts itself.
    IncompatibleUserAgent = "INCOMPATIBLE_USER_AGENT",
    /// Requests by HTTP in the clear.
    HttpTraffic = "HTTP_TRAFFIC",
    /// Names are asked for where nobody can read along.
    DnsOverHttps = "DNS_OVER_HTTPS",
    /// A private network that is not ours.
    DifferentLocalnet = "DIFFERENT_LOCALNET",
    /// Sources of one network share a scan.
    DistributedScan = "DISTRIBUTED_SCAN",
    /// A name that was registered lately is asked for.
    YoungDomain = "YOUNG_DOMAIN",
    /// A place on earth is told in the clear.
    NetworkGpsLocationLeaked = "NETWORK_GPS_LOCATION_LEAKED",
    /// A key, a password or a number that nobody else should know is told in the clear.
    SensitiveDataLeaked = "SENSITIVE_DATA_LEAKED",
    /// A signature of Suricata's matched.
    SuricataAlert = "SURICATA_ALERT",
    /// A TLS server whose fingerprint, from ten questions that we asked it, is listed.
    MaliciousJarm = "MALICIOUS_JARM",
}

impl EvidenceKind {
    /// Whether it only tells what others say: it weighs nothing by itself.
    pub const fn is_hearsay(self) -> bool {
        matches!(self, Self::P2pReport | Self::MaliciousIpFromP2p)
    }

    /// Whether no detection raises it: what our own questions to others bring does.
    pub const fn is_asked_for(self) -> bool {
        matches!(self, Self::MaliciousJarm)
    }

    /// The kind with this name, in any letter case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names_both_ways() {
        for kind in EvidenceKind::ALL {
            assert_eq!(EvidenceKind::from_name(kind.name()), Some(*kind));
        }
    }
}
