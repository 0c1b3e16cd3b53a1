//! What a profile holds, as it is stored and told.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::time::PacketTime;

use super::seen::Seen;

/// A hardware address that frames of the host came with, on a link of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mac {
    /// `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
}

/// A name that the host goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostName {
    /// The name.
    pub name: String,
    /// Who says so: `dhcp`, `mdns`, `llmnr`, `nbns`; all but the first are the host's own word.
    pub source: String,
}

/// The latest address that the host was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// When.
    #[serde(with = "super::iso")]
    #[schemars(with = "String")]
    pub at: PacketTime,
    /// Who gave it.
    pub server: Option<IpAddr>,
    /// For how many seconds.
    pub seconds: Option<i64>,
    /// The domain that it was told.
    pub domain: String,
    /// The full name that it asked for.
    pub fqdn: String,
    /// The address that it asked for.
    pub requested: Option<IpAddr>,
    /// Through which router of its network.
    pub relay: Option<IpAddr>,
}

/// What an HTTP client calls itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// In its own words.
    pub user_agent: String,
}

/// A program on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Program {
    /// `SSH::SERVER`, `HTTP::BROWSER` …, as Zeek names them.
    pub kind: String,
    /// Name and version in its own words.
    pub version: String,
    /// Where it listens.
    pub port: Option<u16>,
}

/// A name by which clients called the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Called {
    /// The name.
    pub name: String,
    /// In `tls`, `quic` or `http`. A client may say anything here.
    pub by: String,
}

/// A name that a DNS answer gave the address to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resolved {
    /// The name that was asked for.
    pub name: String,
    /// Who answered.
    pub resolver: IpAddr,
}

/// A name that a reverse lookup gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reverse {
    /// The name.
    pub name: String,
}

/// A certificate that the host showed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// SHA-1 or SHA-256 of its bytes, as the record had it; empty when it had none.
    pub fingerprint: String,
    /// The end of its validity, in ISO 8601.
    pub not_after: Option<String>,
    /// Names that it is for.
    pub names: Vec<String>,
}

/// ssl.log and x509.log tell of the same certificate with different digests.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.subject == other.subject && self.issuer == other.issuer && self.not_after == other.not_after
    }
}

/// How the host's TLS looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Handshake {
    /// JA4 of its client, or JA3 where there is no JA4.
    pub fingerprint: String,
}

/// A service that others really talked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Port.
    pub port: u16,
    /// `tcp` or `udp`.
    pub proto: String,
    /// The protocols that were recognised there; empty when none was.
    pub application: String,
}

/// A part that the host plays on its network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Role {
    /// `router`, `dhcp server`, `dns server`.
    pub role: String,
}

/// All that traffic told of one address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Facts {
    /// When it was seen first.
    #[serde(with = "super::iso")]
    #[schemars(with = "String")]
    pub first_seen: PacketTime,
    /// When it was seen last.
    #[serde(with = "super::iso")]
    #[schemars(with = "String")]
    pub last_seen: PacketTime,
    /// Time windows in which it was seen.
    pub windows: u64,
    /// The number of the latest of them.
    pub last_window: i64,
    /// Hardware addresses.
    pub macs: Seen<Mac>,
    /// Names that it goes by.
    pub host_names: Seen<HostName>,
    /// How it got its address.
    pub dhcp: Option<Lease>,
    /// Hardware addresses to which it sends what is for elsewhere.
    pub gateways: Seen<Mac>,
    /// The parts that it plays.
    pub roles: Seen<Role>,
    /// What its HTTP clients call themselves; the first ever seen in front.
    pub user_agents: Seen<Agent>,
    /// Programs.
    pub software: Seen<Program>,
    /// Names by which it was called.
    pub called: Seen<Called>,
    /// Names that DNS gave to it.
    pub passive_dns: Seen<Resolved>,
    /// Names that reverse lookups gave.
    pub reverse_dns: Seen<Reverse>,
    /// Certificates that it showed.
    pub certificates: Seen<Certificate>,
    /// Fingerprints of its TLS clients.
    pub handshakes: Seen<Handshake>,
    /// Services that others talked to.
    pub services: Seen<Service>,
}

impl Default for Facts {
    /// Of an address that was never seen.
    fn default() -> Self {
        Self {
            first_seen: PacketTime(i64::MAX),
            last_seen: PacketTime::MIN,
            windows: 0,
            last_window: i64::MIN,
            macs: Seen::default(),
            host_names: Seen::default(),
            dhcp: None,
            gateways: Seen::default(),
            roles: Seen::default(),
            user_agents: Seen::default(),
            software: Seen::default(),
            called: Seen::default(),
            passive_dns: Seen::default(),
            reverse_dns: Seen::default(),
            certificates: Seen::default(),
            handshakes: Seen::default(),
            services: Seen::default(),
        }
    }
}

impl Facts {
    /// Takes over what an earlier run knew.
    pub(crate) fn merge(&mut self, earlier: Self) {
        let same = u64::from(earlier.last_window == self.last_window && self.windows > 0);
        self.windows = self.windows.saturating_add(earlier.windows).saturating_sub(same);
        self.last_window = self.last_window.max(earlier.last_window);
        self.first_seen = self.first_seen.min(earlier.first_seen);
        self.last_seen = self.last_seen.max(earlier.last_seen);
        self.dhcp = self.dhcp.take().or(earlier.dhcp);
        self.macs.merge(earlier.macs, FEW);
        self.host_names.merge(earlier.host_names, FEW);
        self.gateways.merge(earlier.gateways, FEW);
        self.roles.merge(earlier.roles, FEW);
        self.user_agents.merge(earlier.user_agents, MANY);
        self.software.merge(earlier.software, MANY);
        self.called.merge(earlier.called, FEW);
        self.passive_dns.merge(earlier.passive_dns, FEW);
        self.reverse_dns.merge(earlier.reverse_dns, FEW);
        self.certificates.merge(earlier.certificates, FEW);
        self.handshakes.merge(earlier.handshakes, FEW);
        self.services.merge(earlier.services, MANY);
    }
}

/// Most of what a host has a few of,
pub(super) const FEW: usize = 8;
/// and of what it may have many of.
pub(super) const MANY: usize = 32;
/// Most bytes of a text that a host chose.
pub(super) const TEXT: usize = 255;
