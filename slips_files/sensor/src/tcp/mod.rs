//! TCP: what a segment does to its flow.

mod gap;
mod header;
mod segment;
mod state;

pub(crate) use gap::{Above, Spare};
pub(crate) use header::Header;
pub(crate) use segment::{Place, Placed, deliver};
pub(crate) use state::{End, TcpState, conn_state};

use crate::track::{Dir, Track};

/// Whether a packet to an existing flow begins another connection of the same endpoints.
pub(crate) fn is_reuse(track: &Track, segment: &Header<'_>) -> bool {
    if !segment.syn {
        return false;
    }
    let orig = track.end(Dir::Orig);
    let resp = track.end(Dir::Resp);
    let ours = match (segment.ack_flag, orig.state) {
        (false, _) => orig,
        // a SYN-ACK tells something new only where the originator was never seen
        (true, TcpState::Inactive) => resp,
        (true, _) => return false,
    };
    if orig.done || resp.done {
        return true;
    }
    let same_start = segment.seq == ours.start;
    let late_syn = !segment.ack_flag
        && ours.state == TcpState::SynAckSent
        && resp.state == TcpState::Inactive
        && segment.seq == resp.start;
    !(same_start || late_syn)
}

/// Whether a flow that begins with `segment` was begun by its receiver, judged by the ports.
pub(crate) fn is_backwards(segment: &Header<'_>) -> bool {
    if segment.syn && !segment.ack_flag {
        return false;
    }
    let (src, dst) = (segment.src_port, segment.dst_port);
    if !crate::ports::is_tcp_server(src) {
        return false;
    }
    if crate::ports::is_tcp_server(dst) { !segment.syn && src < dst } else { true }
}
