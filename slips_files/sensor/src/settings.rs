//! What the sensor is told at its start. Plain values; the shell reads them from the configuration.

use slips_core::time::Span;

use crate::payload::PayloadSettings;

/// Limits and time-outs of a [`crate::Sensor`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Secret of the flow table's hash and of the uids. The daemon draws it at random at its start; with a fixed key the
    /// same capture gives the same uids.
    pub key: [u64; 2],
    /// Most flows that are tracked at once; at the cap the oldest unanswered flow ends early.
    pub max_flows: u32,
    /// Drop packets with wrong checksums. Off by default: offloading network cards make captures full of them.
    pub verify_checksums: bool,
    /// A first TCP packet that stays unanswered this long ends the flow.
    pub tcp_attempt: Span,
    /// An established TCP flow that is silent this long ends.
    pub tcp_inactivity: Span,
    /// How long a closed TCP flow is kept for stragglers.
    pub tcp_close: Span,
    /// A UDP flow (and a TCP flow before its handshake) that is silent this long ends.
    pub udp_inactivity: Span,
    /// A flow of ICMP or another protocol that is silent this long ends.
    pub icmp_inactivity: Span,
    /// An attempt that is unanswered this long is told as unanswered.
    pub unanswered_after: Span,
    /// A long flow is told again after this span, if it had packets meanwhile.
    pub update_interval: Span,
    /// A DNS question without an answer is told after this span.
    pub dns_timeout: Span,
    /// A DHCP transaction is told when no more of its messages came for this span.
    pub dhcp_timeout: Span,
    /// A certificate that is shown again is told again after this span.
    pub certificate_again: Span,
    /// Most DNS questions that wait for their answers.
    pub max_dns_pending: u32,
    /// Most datagrams that wait for their missing fragments.
    pub max_fragmented: u32,
    /// Most bytes that fragments may hold.
    pub max_fragment_bytes: usize,
    /// How long a datagram waits for its missing fragments.
    pub fragment_timeout: Span,
    /// Most TCP flows whose application is read at once.
    pub max_readers: u32,
    /// Most bytes that TCP data above holes, and that begun messages, may hold, each.
    pub max_stream_bytes: usize,
    /// Most files that are hashed, and that are decompressed, at once.
    pub max_files: u32,
    /// Longest file that is hashed.
    pub max_hashed_bytes: u64,
    /// Most bytes above holes that one side of one flow may hold.
    pub max_stream_side: usize,
    /// Most bytes that begun DNS messages over TCP, and begun SSH packets, may hold, each.
    pub max_begun_bytes: usize,
    /// Longest file that comes out of decompression.
    pub max_inflated_bytes: u64,
    /// Most DHCP transactions that wait for their next message.
    pub max_dhcp_pending: u32,
    /// Most tunnels that are remembered beside the flows that carry them.
    pub max_tunnels: u32,
    /// Most data connections of FTP that are awaited.
    pub max_transfers: u32,
    /// Whose payloads are told, and how much of them; none by default.
    pub payloads: Option<PayloadSettings>,
}

impl Default for Settings {
    /// The time-outs with which the original runs Zeek: attempts 60 s, TCP inactivity 60 min, all others Zeek's own.
    fn default() -> Self {
        Self {
            key: [0, 0],
            max_flows: 1 << 17,
            verify_checksums: false,
            tcp_attempt: Span::from_secs(60),
            tcp_inactivity: Span::from_secs(3600),
            tcp_close: Span::from_secs(5),
            udp_inactivity: Span::from_secs(60),
            icmp_inactivity: Span::from_secs(60),
            unanswered_after: Span::from_secs(2),
            update_interval: Span::from_secs(60),
            dns_timeout: Span::from_secs(10),
            dhcp_timeout: Span::from_secs(30),
            certificate_again: Span::from_secs(86_400),
            max_dns_pending: 16_384,
            max_fragmented: 1024,
            max_fragment_bytes: 4 << 20,
            fragment_timeout: Span::from_secs(30),
            max_readers: 1 << 15,
            max_stream_bytes: 16 << 20,
            max_files: 512,
            max_hashed_bytes: 64 << 20,
            max_stream_side: 256 << 10,
            max_begun_bytes: 4 << 20,
            max_inflated_bytes: 64 << 20,
            max_dhcp_pending: 256,
            max_tunnels: 1024,
            max_transfers: 1024,
            payloads: None,
        }
    }
}
