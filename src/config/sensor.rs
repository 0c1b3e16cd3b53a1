//! The section `sensor`: how long the packet sensor waits, and how much it may hold.

use serde::Deserialize;
use slips_core::time::Span;
use slips_sensor::Settings;

use super::{Amount, Length};

/// `sensor`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sensor {
    pub verify_checksums: bool,
    pub tcp_attempt: Length,
    pub tcp_inactivity: Length,
    pub tcp_close: Length,
    pub udp_inactivity: Length,
    pub icmp_inactivity: Length,
    pub unanswered_after: Length,
    pub update_interval: Length,
    pub dns_timeout: Length,
    pub dhcp_timeout: Length,
    pub fragment_timeout: Length,
    pub certificate_again: Length,
    pub readers: u32,
    pub stream_bytes: Amount,
    pub stream_side_bytes: Amount,
    pub dns_pending: u32,
    pub fragmented: u32,
    pub fragment_bytes: Amount,
    pub files: u32,
    pub hashed_bytes: Amount,
    pub inflated_bytes: Amount,
    pub begun_bytes: Amount,
    pub dhcp_pending: u32,
    pub tunnels: u32,
    pub transfers: u32,
}

impl Default for Sensor {
    fn default() -> Self {
        let core = Settings::default();
        Self {
            verify_checksums: core.verify_checksums,
            tcp_attempt: length(core.tcp_attempt),
            tcp_inactivity: length(core.tcp_inactivity),
            tcp_close: length(core.tcp_close),
            udp_inactivity: length(core.udp_inactivity),
            icmp_inactivity: length(core.icmp_inactivity),
            unanswered_after: length(core.unanswered_after),
            update_interval: length(core.update_interval),
            dns_timeout: length(core.dns_timeout),
            dhcp_timeout: length(core.dhcp_timeout),
            fragment_timeout: length(core.fragment_timeout),
            certificate_again: length(core.certificate_again),
            readers: core.max_readers,
            stream_bytes: amount(core.max_stream_bytes),
            stream_side_bytes: amount(core.max_stream_side),
            dns_pending: core.max_dns_pending,
            fragmented: core.max_fragmented,
            fragment_bytes: amount(core.max_fragment_bytes),
            files: core.max_files,
            hashed_bytes: Amount(core.max_hashed_bytes),
            inflated_bytes: Amount(core.max_inflated_bytes),
            begun_bytes: amount(core.max_begun_bytes),
            dhcp_pending: core.max_dhcp_pending,
            tunnels: core.max_tunnels,
            transfers: core.max_transfers,
        }
    }
}

impl Sensor {
    /// Zeek's own time-outs, for logs like Zeek's. (Slips runs Zeek with longer ones.)
    pub fn zeek() -> Self {
        Self { tcp_attempt: Length::secs(5), tcp_inactivity: Length::secs(300), ..Self::default() }
    }

    /// What the sensor is told, with the flow table's size and the secret from elsewhere.
    pub fn settings(&self, max_flows: u32, key: [u64; 2]) -> Settings {
        Settings {
            key,
            max_flows,
            verify_checksums: self.verify_checksums,
            tcp_attempt: span(self.tcp_attempt),
            tcp_inactivity: span(self.tcp_inactivity),
            tcp_close: span(self.tcp_close),
            udp_inactivity: span(self.udp_inactivity),
            icmp_inactivity: span(self.icmp_inactivity),
            unanswered_after: span(self.unanswered_after),
            update_interval: span(self.update_interval),
            dns_timeout: span(self.dns_timeout),
            dhcp_timeout: span(self.dhcp_timeout),
            fragment_timeout: span(self.fragment_timeout),
            certificate_again: span(self.certificate_again),
            max_readers: self.readers,
            max_stream_bytes: bytes(self.stream_bytes),
            max_stream_side: bytes(self.stream_side_bytes),
            max_dns_pending: self.dns_pending,
            max_fragmented: self.fragmented,
            max_fragment_bytes: bytes(self.fragment_bytes),
            max_files: self.files,
            max_hashed_bytes: self.hashed_bytes.0,
            max_inflated_bytes: self.inflated_bytes.0,
            max_begun_bytes: bytes(self.begun_bytes),
            max_dhcp_pending: self.dhcp_pending,
            max_tunnels: self.tunnels,
            max_transfers: self.transfers,
            payloads: None,
        }
    }

    /// The keys of lengths that are zero: nothing would ever be waited for.
    pub(super) fn zero_lengths(&self) -> impl Iterator<Item = &'static str> {
        [
            ("tcp_attempt", self.tcp_attempt),
            ("tcp_inactivity", self.tcp_inactivity),
            ("tcp_close", self.tcp_close),
            ("udp_inactivity", self.udp_inactivity),
            ("icmp_inactivity", self.icmp_inactivity),
            ("unanswered_after", self.unanswered_after),
            ("update_interval", self.update_interval),
            ("dns_timeout", self.dns_timeout),
            ("dhcp_timeout", self.dhcp_timeout),
            ("fragment_timeout", self.fragment_timeout),
        ]
        .into_iter()
        .filter(|(_, length)| length.0.is_zero())
        .map(|(key, _)| key)
    }
}

fn length(span: Span) -> Length {
    Length(std::time::Duration::from_micros(span.0.unsigned_abs()))
}

/// A [`Length`] is at most ten years.
fn span(length: Length) -> Span {
    Span(i64::try_from(length.0.as_micros()).unwrap_or(i64::MAX))
}

fn amount(bytes: usize) -> Amount {
    Amount(bytes as u64)
}

fn bytes(amount: Amount) -> usize {
    usize::try_from(amount.0).unwrap_or(usize::MAX)
}
