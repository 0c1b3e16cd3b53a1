//! What the sensor counts, so that nothing is lost silently.

/// Why a packet gave no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reject {
    /// The link layer header is cut short.
    LinkTruncated,
    /// The frame carries neither IP nor ARP.
    NotIp,
    /// The IP header is cut short, has a wrong version or an impossible length.
    IpHeader,
    /// The packet on the wire is shorter than its IP header says.
    IpTruncated,
    /// Wrong checksum (only when checksums are verified).
    Checksum,
    /// A fragment that is malformed, contradicts others or found no room.
    Fragment,
    /// The transport header is cut short or has an impossible length.
    Transport,
    /// A malformed ARP packet, or one that is not about Ethernet and IPv4.
    Arp,
}

impl Reject {
    /// All reasons with their names in metrics.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::LinkTruncated, "link_truncated"),
        (Self::NotIp, "not_ip"),
        (Self::IpHeader, "ip_header"),
        (Self::IpTruncated, "ip_truncated"),
        (Self::Checksum, "checksum"),
        (Self::Fragment, "fragment"),
        (Self::Transport, "transport"),
        (Self::Arp, "arp"),
    ];
}

/// Running totals of a [`crate::Sensor`].
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Packets handed in.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Packets that reached a flow, were an ARP event, or were kept as fragments.
    pub decoded: u64,
    /// Flows begun.
    pub flows_opened: u64,
    /// Flows ended, for whatever reason.
    pub flows_ended: u64,
    /// Flows ended early because the table was full.
    pub flows_evicted: u64,
    /// Flows tracked now.
    pub flows_active: u64,
    /// ARP requests and replies.
    pub arp: u64,
    /// IP fragments.
    pub fragments: u64,
    /// Datagrams rebuilt from fragments.
    pub reassembled: u64,
    /// Datagrams given up because fragments were missing or the room was full.
    pub fragmented_dropped: u64,
    /// Packets and ARP frames seen a second time, on another interface than the one on which they count.
    pub other_interface: u64,
    /// Tunnels found that are no flows themselves.
    pub tunnels: u64,
    /// Packets found within others.
    pub tunnelled: u64,
    /// Packets found within others that gave no flow.
    pub tunnelled_rejected: u64,
    /// Packets left wrapped because too many tunnels were around them.
    pub tunnels_too_deep: u64,
    /// Tunnels told as expired because too many are remembered.
    pub tunnels_evicted: u64,
    /// Announced data connections that were forgotten because too many are awaited.
    pub transfers_forgotten: u64,
    /// Begun DNS messages over TCP, and SSH sessions, that were given up because too much was held.
    pub begun_given_up: u64,
    /// Packets whose time lies before an earlier packet's.
    pub time_went_back: u64,
    /// DNS messages read.
    pub dns_messages: u64,
    /// DNS messages that could not be read.
    pub dns_malformed: u64,
    /// DNS questions told early because too many waited.
    pub dns_pending_dropped: u64,
    /// DHCP transactions told early because too many waited.
    pub dhcp_pending_dropped: u64,
    /// Certificates of TLS servers and clients.
    pub certificates: u64,
    /// Certificates of TLS servers that could not be read.
    pub certificates_malformed: u64,
    /// First packets of QUIC connections that were opened.
    pub quic_opened: u64,
    /// First packets of QUIC connections that their keys do not open.
    pub quic_not_authentic: u64,
    /// First packets of QUIC connections that no more was spent on, and hellos that fit no bound.
    pub quic_given_up: u64,
    /// QUIC packets, and frames in them, that cannot be read.
    pub quic_malformed: u64,
    /// Files that HTTP, mails and FTP carried.
    pub files: u64,
    /// Files that were not hashed or not decompressed because too many were under way.
    pub files_passed_over: u64,
    /// Files that were not hashed or decompressed to their end because they are too long.
    pub files_cut_short: u64,
    /// Flows that were not read, or not to the end, because too much was held.
    pub readers_given_up: u64,
    /// Bytes that our hosts sent outside and that were not looked at, because too many came in one second or waited.
    pub payload_passed_over: u64,
    /// Holes in TCP data that were given up because too much waited above them.
    pub holes_given_up: u64,
    /// Holes in TCP data that were forgotten because a side had too many: their bytes do not count as missed.
    pub holes_forgotten: u64,
    rejected: [u64; Reject::ALL.len()],
}

impl Counters {
    /// What was not read in full because a limit was reached: the counters' names and their values.
    pub fn shortfalls(&self) -> [(&'static str, u64); 15] {
        [
            ("flows_evicted", self.flows_evicted),
            ("fragmented_dropped", self.fragmented_dropped),
            ("tunnels_too_deep", self.tunnels_too_deep),
            ("tunnels_evicted", self.tunnels_evicted),
            ("transfers_forgotten", self.transfers_forgotten),
            ("begun_given_up", self.begun_given_up),
            ("dns_pending_dropped", self.dns_pending_dropped),
            ("dhcp_pending_dropped", self.dhcp_pending_dropped),
            ("quic_given_up", self.quic_given_up),
            ("files_passed_over", self.files_passed_over),
            ("files_cut_short", self.files_cut_short),
            ("readers_given_up", self.readers_given_up),
            ("payload_passed_over", self.payload_passed_over),
            ("holes_given_up", self.holes_given_up),
            ("holes_forgotten", self.holes_forgotten),
        ]
    }

    /// Packets rejected for `reason`.
    pub fn rejected(&self, reason: Reject) -> u64 {
        self.rejected.get(reason as usize).copied().unwrap_or(0)
    }

    /// Packets rejected for any reason.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().sum()
    }

    pub(crate) fn reject(&mut self, reason: Reject) {
        if let Some(count) = self.rejected.get_mut(reason as usize) {
            *count += 1;
        }
    }
}
