//! The two ends of a TCP connection and what their states mean together.

use slips_core::flow::ConnState;

use crate::history::Letters;

/// What one end did last that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TcpState {
    /// Never seen.
    #[default]
    Inactive,
    /// Sent a SYN.
    SynSent,
    /// Sent a SYN-ACK as its first packet, without a SYN of the peer.
    SynAckSent,
    /// Seen only in the middle of things.
    Partial,
    /// Took part in a handshake.
    Established,
    /// Sent a FIN.
    Closed,
    /// Sent a RST.
    Reset,
}

/// One end of a TCP connection. Sequence numbers are as on the wire, with their wraps counted beside.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) state: TcpState,
    pub(crate) prev: TcpState,
    /// First sequence number; of the SYN, or one before the first byte where no SYN was seen.
    pub(crate) start: u32,
    /// One past the highest sequence number sent.
    pub(crate) last: u32,
    pub(crate) last_wraps: u32,
    /// Highest sequence number that the peer acknowledged.
    pub(crate) ack: u32,
    pub(crate) ack_wraps: u32,
    pub(crate) fins: u32,
    pub(crate) resets: u32,
    /// Sent a FIN or RST that counted as its close.
    pub(crate) done: bool,
    /// Its SYN, if it began the connection, had no option but a segment size.
    pub(crate) bare_syn: bool,
    /// Relative sequence numbers of the last SYN, FIN and RST, to tell repetitions from new ones.
    pub(crate) last_syn: u32,
    pub(crate) last_fin: u32,
    pub(crate) last_rst: u32,
    /// Occurrences behind the scaled history letters.
    pub(crate) repeats: u32,
    pub(crate) zero_windows: u32,
    pub(crate) gaps: u32,
    pub(crate) bad_checksums: u32,
    /// Everything below this relative sequence number was seen or given up.
    pub(crate) delivered: u64,
    /// Relative sequence number behind the last data byte before the FIN; meaningful when `fins` > 0.
    pub(crate) data_end: u64,
}

impl Default for End {
    fn default() -> Self {
        Self {
            state: TcpState::Inactive,
            prev: TcpState::Inactive,
            start: 0,
            last: 0,
            last_wraps: 0,
            ack: 0,
            ack_wraps: 0,
            fins: 0,
            resets: 0,
            done: false,
            bare_syn: false,
            last_syn: 0,
            last_fin: 0,
            last_rst: 0,
            repeats: 0,
            zero_windows: 0,
            gaps: 0,
            bad_checksums: 0,
            delivered: 1,
            data_end: 0,
        }
    }
}

/// Signed distance of two sequence numbers.
pub(crate) const fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// `seq` relative to `start`, counting wraps from the nearby number `near` that has wrapped `wraps` times.
pub(crate) fn relative(seq: u32, start: u32, near: u32, mut wraps: u32) -> i64 {
    let ahead = distance(seq, near);
    if ahead < 0 && wraps > 0 && seq > near {
        wraps -= 1;
    } else if ahead > 0 && seq < near {
        wraps = wraps.saturating_add(1);
    }
    if wraps == 0 {
        i64::from(distance(seq, start))
    } else {
        (i64::from(wraps) << 32) + i64::from(seq) - i64::from(start)
    }
}

impl End {
    pub(crate) fn set(&mut self, state: TcpState) {
        if state != self.state {
            self.prev = self.state;
            self.state = state;
        }
    }

    /// Begins counting at `start`.
    pub(crate) fn begin(&mut self, start: u32, last: u32) {
        self.start = start;
        self.ack = start;
        self.last = last;
        self.delivered = 1;
    }

    /// `seq` relative to the start, judged by what was sent.
    pub(crate) fn relative_sent(&self, seq: u32) -> i64 {
        relative(seq, self.start, self.last, self.last_wraps)
    }

    /// `seq` relative to the start, judged by what was acknowledged.
    pub(crate) fn relative_acked(&self, seq: u32) -> i64 {
        relative(seq, self.start, self.ack, self.ack_wraps)
    }

    fn full_last(&self) -> u64 {
        (u64::from(self.last_wraps) << 32) + u64::from(self.last)
    }

    fn full_ack(&self) -> u64 {
        (u64::from(self.ack_wraps) << 32) + u64::from(self.ack)
    }

    /// Payload bytes sent, by sequence numbers.
    pub(crate) fn size(&self, peer: &Self) -> u64 {
        let start = u64::from(self.start);
        let acked = self.full_ack();
        let reset_own_attempt = self.prev == TcpState::SynSent
            && self.state == TcpState::Reset
            && peer.state == TcpState::Inactive
            && acked != start
            && acked != start + 1;
        if reset_own_attempt {
            return 0;
        }
        let mut size = self.full_last().max(acked).saturating_sub(start);
        size = size.saturating_sub(1); // the SYN
        if self.fins > 0 {
            size = size.saturating_sub(1);
        }
        size
    }

    /// Established, or closed from there: only then is missing data a gap.
    pub(crate) fn is_established_or_cleanly_closed(&self) -> bool {
        self.state == TcpState::Established
            || (self.state == TcpState::Closed && self.prev == TcpState::Established)
    }
}

/// Zeek's summary of a TCP connection.
pub(crate) fn conn_state(orig: &End, resp: &End, letters: &Letters) -> ConnState {
    use TcpState as S;
    let inactive = |end: &End| matches!(end.state, S::Inactive | S::Partial);
    match (orig.state, resp.state) {
        (S::SynSent | S::SynAckSent, S::Reset) => ConnState::Rej,
        (S::Reset, S::Reset) if orig.size(resp) == 0 && resp.size(orig) == 0 => ConnState::Rej,
        (_, S::Reset) if inactive(orig) => ConnState::Rstrh,
        (_, S::Reset) => ConnState::Rstr,
        (S::Reset, _) if inactive(resp) => {
            if letters.is_syn_then_reset() {
                ConnState::Rstos0
            } else {
                ConnState::Oth
            }
        }
        (S::Reset, _) => ConnState::Rsto,
        (S::Closed, S::Closed) => ConnState::SF,
        (S::Closed, _) => {
            if inactive(resp) {
                ConnState::Sh
            } else {
                ConnState::S2
            }
        }
        (_, S::Closed) => {
            if inactive(orig) {
                ConnState::Shr
            } else {
                ConnState::S3
            }
        }
        (S::SynSent, S::Inactive) => ConnState::S0,
        (S::Established, S::Established) => ConnState::S1,
        _ => ConnState::Oth,
    }
}
