//! The kinds of entries, with the identity and the urgency of each.

/// How urgent an entry is, in syslog's numbers. Journald syncs the disk for each entry below 3, which an attacker must
/// not be able to cause: nothing that traffic triggers is more urgent than [`Priority::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Priority {
    /// Protection is off.
    Critical = 2,
    /// A person must act.
    Error = 3,
    /// An attack, or degraded but safe.
    Warning = 4,
    /// Normal, and worth reading.
    Notice = 5,
    /// Normal.
    Info = 6,
}

impl Priority {
    /// The word in plain lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "crit",
            Self::Error => "error",
            Self::Warning => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
        }
    }
}

/// What an entry tells of. Each kind has an identity of its own (random, fixed for ever), by which
/// `journalctl MESSAGE_ID=…` finds it and `journalctl -x` explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An attacker's evidence is enough.
    Alert,
    /// A network is dropped by the kernel from now on.
    Block,
    /// A block ended.
    Unblock,
    /// A block was asked for and refused.
    Refusal,
    /// Slips watches.
    Start,
    /// Slips has stopped watching.
    Stop,
    /// Slips ended otherwise than it should.
    Failure,
    /// The configuration was read again.
    Reload,
    /// A part does not work as it should, or works again.
    Degraded,
    /// Other things than before are left out because too much comes in.
    Overload,
    /// This daemon acts from now on, or another one does in its place.
    Duty,
    /// A peer is connected.
    PeerConnected,
    /// A peer is connected no more.
    PeerGone,
    /// A router joined by an invite, ours or another's.
    PeerJoined,
    /// A router did not let us in.
    PeerRefused,
    /// A peer is not believed any more.
    PeerQuarantined,
    /// A peer said something.
    PeerReport,
    /// Peers would have had something blocked.
    PeerAdvice,
}

impl Kind {
    /// All kinds.
    pub const ALL: &'static [Self] = &[
        Self::Alert,
        Self::Block,
        Self::Unblock,
        Self::Refusal,
        Self::Start,
        Self::Stop,
        Self::Failure,
        Self::Reload,
        Self::Degraded,
        Self::Overload,
        Self::Duty,
        Self::PeerConnected,
        Self::PeerGone,
        Self::PeerJoined,
        Self::PeerRefused,
        Self::PeerQuarantined,
        Self::PeerReport,
        Self::PeerAdvice,
    ];

    /// The `MESSAGE_ID`; the catalog has the same.
    pub const fn message_id(self) -> u128 {
        match self {
            Self::Alert => 0x7d9f_bb74_c64e_4baa_91cd_6dc0_f7ee_a843,
            Self::Block => 0xc21f_eec9_a4d9_43f4_8f1f_4336_f6e7_5846,
            Self::Unblock => 0x2e62_3bb0_1910_4887_bd70_beb0_1683_e424,
            Self::Refusal => 0x5b34_e14f_7cf0_4b81_8acf_63ba_4959_3d7c,
            Self::Start => 0x83e4_a877_59f3_4cf8_b03d_bf85_8071_e15e,
            Self::Stop => 0x1799_ad13_477c_40fd_a7b5_25bc_a619_3693,
            Self::Failure => 0xf0ba_f664_e315_422c_bd30_e83e_b2f1_5763,
            Self::Reload => 0x82c2_b8d5_3b7b_e221_2b29_37cf_d345_0adc,
            Self::Degraded => 0xe853_9130_b3de_4b80_8dfd_a003_38fb_1cad,
            Self::Overload => 0xfcae_861f_6ff5_4b3b_a7e8_cc73_ad25_b715,
            Self::Duty => 0x1d4c_0f5e_86a2_4f0b_b7f3_52c9_a60e_8d17,
            Self::PeerConnected => 0xf580_a932_05ce_9e91_168d_976a_1fac_e215,
            Self::PeerGone => 0xe823_c5f9_fd0b_8e02_a4a8_c759_298e_d3e5,
            Self::PeerJoined => 0xbd9d_22c0_244b_a8d7_e47b_9f23_7869_6074,
            Self::PeerRefused => 0x520b_42d2_b725_fb85_e7dc_0a5c_cea9_e8e4,
            Self::PeerQuarantined => 0xc8a5_7759_51a5_751c_1fb8_f868_200c_a1d8,
            Self::PeerReport => 0x3097_3ec7_438b_30c2_45ae_dc9c_43a5_a114,
            Self::PeerAdvice => 0x40fa_c8c6_1747_051f_5d24_924c_b100_4869,
        }
    }

    /// How urgent such an entry is unless it says otherwise.
    pub const fn priority(self) -> Priority {
        match self {
            Self::Failure => Priority::Error,
            Self::Alert | Self::Refusal | Self::Degraded | Self::Overload => Priority::Warning,
            Self::PeerRefused | Self::PeerQuarantined => Priority::Warning,
            Self::Block | Self::Start | Self::Stop | Self::Reload | Self::Duty => Priority::Notice,
            Self::PeerJoined | Self::PeerAdvice => Priority::Notice,
            Self::Unblock => Priority::Info,
            Self::PeerConnected | Self::PeerGone | Self::PeerReport => Priority::Info,
        }
    }

    /// The word in plain lines and in the field `SLIPS_EVENT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Block => "block",
            Self::Unblock => "unblock",
            Self::Refusal => "refusal",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Failure => "failure",
            Self::Reload => "reload",
            Self::Degraded => "degraded",
            Self::Overload => "overload",
            Self::Duty => "duty",
            Self::PeerConnected => "peer-connected",
            Self::PeerGone => "peer-gone",
            Self::PeerJoined => "peer-joined",
            Self::PeerRefused => "peer-refused",
            Self::PeerQuarantined => "peer-quarantined",
            Self::PeerReport => "peer-report",
            Self::PeerAdvice => "peer-advice",
        }
    }
}
