//! The detections and their registry.
//!
//! Each detection is one file: what it detects, its numbers and where they come from, why innocent traffic stays out, how it can
//! be evaded, and whether its evidence proves who did it. All see events and packet time only; their state is bounded per
//! profile and window. Start with [`registry`]; add a detection by one file and one line there.
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

use slips_core::detector::{Detector, Spec};
use slips_core::intel::Current;

mod attempt;
mod holding;
mod ladder;
mod names;
mod ports;
mod settings;
mod steps;
mod table;
mod tally;
#[cfg(test)]
mod test_traces;
mod web;
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
pub mod describe;
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
pub mod leak_detector;
pub mod listed_address;
pub mod listed_file;
pub mod listed_fingerprint;
pub mod listed_name;
pub mod listed_url;
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
pub mod suricata_alert;
pub mod suspicious_user_agent;
pub mod tool_certificate;
pub mod unknown_port;
pub mod user_agents;
pub mod vertical_scan;
pub mod weird_http_method;
pub mod wrong_protocol;
pub mod young_domain;

pub use settings::{Settings, spec_of, threshold_of};

/// The detectors of one shard that `settings` leave on, always in this order.
pub fn registry(settings: &Settings, intel: &Current) -> Vec<Box<dyn Detector>> {
    let mut detectors = all(settings, intel);
    detectors.retain(|detector| settings.is_enabled(detector.spec()));
    detectors
}

fn all(settings: &Settings, intel: &Current) -> Vec<Box<dyn Detector>> {
    vec![
        Box::new(vertical_scan::VerticalScan::new(settings)),
        Box::new(horizontal_scan::HorizontalScan::new(settings)),
        Box::new(icmp_sweep::IcmpSweep::new(settings)),
        Box::new(arp_scan::ArpScan::new(settings)),
        Box::new(ssh_guessing::SshGuessing::new(settings)),
        Box::new(reconnection::Reconnection::new(settings)),
        Box::new(long_connection::LongConnection::new(settings)),
        Box::new(data_upload::DataUpload::new(settings)),
        Box::new(listed_address::ListedAddress::new(intel)),
        Box::new(listed_fingerprint::ListedFingerprint::new(settings, intel)),
        Box::new(listed_name::ListedName::new(settings, intel)),
        Box::new(listed_url::ListedUrl::new(settings, intel)),
        Box::new(listed_file::ListedFile::new(settings, intel)),
        Box::new(arp_oddities::ArpOddities::new(settings)),
        Box::new(arp_poisoning::ArpPoisoning::new(settings)),
        Box::new(dhcp_scan::DhcpScan::new(settings)),
        Box::new(smtp_login::SmtpLogin::new(settings)),
        Box::new(gre::Gre::new(settings)),
        Box::new(clear_text_login::ClearTextLogin::new(settings)),
        Box::new(ssh_software::SshSoftware::new(settings)),
        Box::new(port_zero::PortZero::new(settings)),
        Box::new(flood::Flood::new(settings)),
        Box::new(suspicious_user_agent::SuspiciousUserAgent::new(settings)),
        Box::new(executable_download::ExecutableDownload::new(settings)),
        Box::new(empty_connections::EmptyConnections::new(settings)),
        Box::new(weird_http_method::WeirdHttpMethod::new(settings)),
        Box::new(pastebin_download::PastebinDownload::new(settings)),
        Box::new(wrong_protocol::WrongProtocol::new(settings)),
        Box::new(dga::Dga::new(settings)),
        Box::new(dns_arpa_scan::DnsArpaScan::new(settings)),
        Box::new(dns_answers::DnsAnswers::new(settings)),
        Box::new(self_signed_certificate::SelfSignedCertificate::new(settings)),
        Box::new(private_connection::PrivateConnection::new(settings)),
        Box::new(unknown_port::UnknownPort::new(settings)),
        Box::new(beacon::Beacon::new(settings)),
        Box::new(dns_tunnel::DnsTunnel::new(settings)),
        Box::new(icmp_tunnel::IcmpTunnel::new(settings)),
        Box::new(crypto_mining::CryptoMining::new(settings)),
        Box::new(lateral_movement::LateralMovement::new(settings)),
        Box::new(spread_scan::SpreadScan::new(settings)),
        Box::new(amplification::Amplification::new(settings)),
        Box::new(tool_certificate::ToolCertificate::new(settings)),
        Box::new(agent_over_http::AgentOverHttp::new(settings)),
        Box::new(remote_procedure::RemoteProcedure::new(settings)),
        Box::new(login_guessing::LoginGuessing::new(settings)),
        Box::new(stealer::Stealer::new(settings)),
        Box::new(rogue_dhcp::RogueDhcp::new(settings)),
        Box::new(ndp_spoofing::NdpSpoofing::new(settings)),
        Box::new(rogue_router::RogueRouter::new(settings)),
        Box::new(devices::Devices::new(settings)),
        Box::new(name_poisoning::NamePoisoning::new(settings)),
        Box::new(dns_rebinding::DnsRebinding::new(settings)),
        Box::new(dga_names::DgaNames::new(settings)),
        Box::new(flow_guessing::FlowGuessing::new(settings)),
        Box::new(device_worm::DeviceWorm::new(settings)),
        Box::new(odd_certificate::OddCertificate::new(settings)),
        Box::new(dns_use::DnsUse::new(settings)),
        Box::new(user_agents::UserAgents::new(settings)),
        Box::new(encrypted_dns::EncryptedDns::new(settings)),
        Box::new(other_localnet::OtherLocalnet::new(settings)),
        Box::new(dns_exploit::DnsExploit::new(settings)),
        Box::new(leak_detector::LeakDetector::new(settings)),
        Box::new(suricata_alert::SuricataAlert::new(settings)),
        Box::new(form_guessing::FormGuessing::new(settings)),
        Box::new(distributed_scan::DistributedScan::new(settings)),
        Box::new(young_domain::YoungDomain::new(settings, intel)),
    ]
}

/// What the registry holds, in its order, for the configuration and the documentation.
pub fn specs() -> Vec<&'static Spec> {
    all(&Settings::default(), &Current::default()).iter().map(|detector| detector.spec()).collect()
}
