//! The detections and their registry.
//!
//! Each detection is one file: what it detects, its numbers and where they come from, why innocent traffic stays out, how it can
//! be evaded, and whether its evidence proves who did it. All see events and packet time only; their state is bounded per
//! profile and window. Start with [`registry`]; add a detection by one file and one line there.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

use std::net::IpAddr;
use std::sync::Arc;

use slips_core::detector::{Detector, Spec};
use slips_core::intel::{Intelligence, NoIntelligence};
use slips_core::time::Span;

mod attempt;
mod holding;
mod ladder;
mod names;
mod ports;
mod steps;
mod table;
mod tally;
#[cfg(test)]
mod test_traces;
mod zeek_notice;

pub mod agent_over_http;
pub mod amplification;
pub mod arp_oddities;
pub mod arp_poisoning;
pub mod arp_scan;
pub mod beacon;
pub mod clear_text_login;
pub mod crypto_mining;
pub mod data_upload;
pub mod device_worm;
pub mod devices;
pub mod dga;
pub mod dga_names;
pub mod dhcp_scan;
pub mod distributed_scan;
pub mod dns_answers;
pub mod dns_arpa_scan;
pub mod dns_exploit;
pub mod dns_rebinding;
pub mod dns_tunnel;
pub mod dns_use;
pub mod empty_connections;
pub mod encrypted_dns;
pub mod executable_download;
pub mod flood;
pub mod flow_guessing;
pub mod form_guessing;
pub mod gre;
pub mod horizontal_scan;
pub mod icmp_sweep;
pub mod icmp_tunnel;
pub mod lateral_movement;
pub mod listed_address;
pub mod listed_fingerprint;
pub mod location_leak;
pub mod login_guessing;
pub mod long_connection;
pub mod name_poisoning;
pub mod ndp_spoofing;
pub mod odd_certificate;
pub mod other_localnet;
pub mod pastebin_download;
pub mod port_zero;
pub mod private_connection;
pub mod reconnection;
pub mod remote_procedure;
pub mod rogue_dhcp;
pub mod rogue_router;
pub mod self_signed_certificate;
pub mod smtp_login;
pub mod spread_scan;
pub mod ssh_guessing;
pub mod ssh_software;
pub mod stealer;
pub mod suspicious_user_agent;
pub mod tool_certificate;
pub mod unknown_port;
pub mod user_agents;
pub mod vertical_scan;
pub mod weird_http_method;
pub mod wrong_protocol;
pub mod young_domain;

/// The thresholds of the detections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Failed ports of one host that make a vertical scan (default 10, at least 2).
    pub vertical_scan_ports: u32,
    /// Failed hosts of one port that make a horizontal scan (default 10, at least 2).
    pub horizontal_scan_hosts: u32,
    /// Hosts pinged within a minute that make an ICMP sweep (default 5, at least 2).
    pub icmp_sweep_hosts: u32,
    /// Addresses asked for by ARP within [`Self::arp_scan_span`] that make an ARP scan (default 5, at least 2).
    pub arp_scan_targets: u32,
    /// See above (default 30 s).
    pub arp_scan_span: Span,
    /// `ssh_attempt_threshold`: login attempts from one source at one server that make password guessing (default 9).
    pub ssh_attempt_threshold: u32,
    /// Refused connections to one port of one host that are repeated too often (default 5).
    pub reconnection_attempts: u32,
    /// The same for telnet, where unanswered ones count too (default 4).
    pub telnet_attempts: u32,
    /// `long_connection_threshold`: how long a connection may last (default 1500 s).
    pub long_connection_threshold: Span,
    /// `data_exfiltration_threshold`: bytes to one destination in one window that make a data upload (default 500 MB).
    pub data_exfiltration_threshold: u64,
    /// Bytes of one flow that make a data upload (default 100 MB).
    pub flow_upload_threshold: u64,
    /// Default gateways: they ask by ARP for whomever others look for, and uploads to them are not judged (default none).
    pub gateways: Vec<IpAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            vertical_scan_ports: 10,
            horizontal_scan_hosts: 10,
            icmp_sweep_hosts: 5,
            arp_scan_targets: 5,
            arp_scan_span: Span::from_secs(30),
            ssh_attempt_threshold: 9,
            reconnection_attempts: 5,
            telnet_attempts: 4,
            long_connection_threshold: Span::from_secs(1500),
            data_exfiltration_threshold: 500_000_000,
            flow_upload_threshold: 100_000_000,
            gateways: Vec::new(),
        }
    }
}

/// The detectors of one shard, always in this order.
pub fn registry(settings: &Settings, intel: Arc<dyn Intelligence>) -> Vec<Box<dyn Detector>> {
    vec![
        Box::new(vertical_scan::VerticalScan::new(settings)),
        Box::new(horizontal_scan::HorizontalScan::new(settings)),
        Box::new(icmp_sweep::IcmpSweep::new(settings)),
        Box::new(arp_scan::ArpScan::new(settings)),
        Box::new(ssh_guessing::SshGuessing::new(settings)),
        Box::new(reconnection::Reconnection::new(settings)),
        Box::new(long_connection::LongConnection::new(settings)),
        Box::new(data_upload::DataUpload::new(settings)),
        Box::new(listed_address::ListedAddress::new(Arc::clone(&intel))),
        Box::new(listed_fingerprint::ListedFingerprint::new(Arc::clone(&intel))),
        Box::<arp_oddities::ArpOddities>::default(),
        Box::new(arp_poisoning::ArpPoisoning::new(settings)),
        Box::<dhcp_scan::DhcpScan>::default(),
        Box::<smtp_login::SmtpLogin>::default(),
        Box::<gre::Gre>::default(),
        Box::<clear_text_login::ClearTextLogin>::default(),
        Box::<ssh_software::SshSoftware>::default(),
        Box::<port_zero::PortZero>::default(),
        Box::<flood::Flood>::default(),
        Box::<suspicious_user_agent::SuspiciousUserAgent>::default(),
        Box::<executable_download::ExecutableDownload>::default(),
        Box::<empty_connections::EmptyConnections>::default(),
        Box::<weird_http_method::WeirdHttpMethod>::default(),
        Box::<pastebin_download::PastebinDownload>::default(),
        Box::<wrong_protocol::WrongProtocol>::default(),
        Box::<dga::Dga>::default(),
        Box::<dns_arpa_scan::DnsArpaScan>::default(),
        Box::<dns_answers::DnsAnswers>::default(),
        Box::<self_signed_certificate::SelfSignedCertificate>::default(),
        Box::new(private_connection::PrivateConnection::new(settings)),
        Box::<unknown_port::UnknownPort>::default(),
        Box::<beacon::Beacon>::default(),
        Box::<dns_tunnel::DnsTunnel>::default(),
        Box::<icmp_tunnel::IcmpTunnel>::default(),
        Box::<crypto_mining::CryptoMining>::default(),
        Box::<lateral_movement::LateralMovement>::default(),
        Box::<spread_scan::SpreadScan>::default(),
        Box::<amplification::Amplification>::default(),
        Box::<tool_certificate::ToolCertificate>::default(),
        Box::<agent_over_http::AgentOverHttp>::default(),
        Box::<remote_procedure::RemoteProcedure>::default(),
        Box::<login_guessing::LoginGuessing>::default(),
        Box::<stealer::Stealer>::default(),
        Box::new(rogue_dhcp::RogueDhcp::new(settings)),
        Box::new(ndp_spoofing::NdpSpoofing::new(settings)),
        Box::new(rogue_router::RogueRouter::new(settings)),
        Box::new(devices::Devices::new(settings)),
        Box::<name_poisoning::NamePoisoning>::default(),
        Box::new(dns_rebinding::DnsRebinding::new(settings)),
        Box::<dga_names::DgaNames>::default(),
        Box::<flow_guessing::FlowGuessing>::default(),
        Box::<device_worm::DeviceWorm>::default(),
        Box::<odd_certificate::OddCertificate>::default(),
        Box::<dns_use::DnsUse>::default(),
        Box::<user_agents::UserAgents>::default(),
        Box::<encrypted_dns::EncryptedDns>::default(),
        Box::<other_localnet::OtherLocalnet>::default(),
        Box::<dns_exploit::DnsExploit>::default(),
        Box::<location_leak::LocationLeak>::default(),
        Box::<form_guessing::FormGuessing>::default(),
        Box::<distributed_scan::DistributedScan>::default(),
        Box::new(young_domain::YoungDomain::new(intel)),
    ]
}

/// What the registry holds, in its order, for the configuration and the documentation.
pub fn specs() -> Vec<&'static Spec> {
    registry(&Settings::default(), Arc::new(NoIntelligence)).iter().map(|detector| detector.spec()).collect()
}
