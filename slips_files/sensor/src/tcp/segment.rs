//! One segment: history letters, sequence numbers, state machine.

use std::cmp::Ordering;

use slips_core::time::PacketTime;

use super::gap::{self, Spare};
use super::header::Header;
use super::state::{End, TcpState as S, distance};
use crate::ports;
use crate::track::{Dir, Patience, Track};

/// Bytes of the one option that tools which make their packets themselves send, if any: the segment size. Linux, Windows, the BSDs and
/// what is made of them also send what they need for large windows and selective acknowledgement, 12 bytes and more.
const BARE_OPTIONS: u32 = 4;
/// A jump of sequence numbers on a segment without data that is not believed.
const MAX_JUMP: i32 = 1 << 20;

/// What a segment turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its direction, which a flip may have turned.
    pub(crate) dir: Dir,
    /// Where its payload stands in the stream of its sender.
    pub(crate) place: Place,
    /// Relative sequence number of its first payload byte; the stream begins with number 1.
    pub(crate) from: i64,
}

/// Where a payload stands among what its sender sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It follows, or there is none.
    Next,
    /// All or part of it was there before.
    Again,
    /// Something before it is missing.
    AfterHole,
}

/// Applies a segment that `dir` sent at `at`.
pub(crate) fn deliver(
    track: &mut Track,
    mut dir: Dir,
    at: PacketTime,
    segment: &Header<'_>,
    spare: &mut Spare,
) -> Placed {
    if segment.syn && !segment.ack_flag && track.packets() == 0 {
        track.side(dir).tcp.bare_syn = segment.options <= BARE_OPTIONS;
    }
    begin_end(track, dir, segment);
    let rel = track.end(dir).relative_sent(segment.seq);
    dir = write_letters(track, dir, segment, rel);
    if !(track.end(Dir::Orig).done && track.end(Dir::Resp).done) {
        track.last = track.last.max(at);
    }
    if segment.fin {
        let end = &mut track.side(dir).tcp;
        end.fins = end.fins.saturating_add(1);
        end.data_end = rel.saturating_add(i64::from(segment.length)).max(1) as u64;
    }
    if segment.rst {
        let end = &mut track.side(dir).tcp;
        end.resets = end.resets.saturating_add(1);
    }
    if segment.ack_flag {
        take_ack(track, dir, segment);
    }
    take_sequence(track, dir, segment);
    dir = step(track, dir, at, segment);
    // A capture that keeps headers only shows no data.
    let has_data = !segment.payload.is_empty() && !segment.rst;
    let place = if has_data { take_data(track, dir, segment, rel, spare) } else { Place::Next };
    Placed { dir, place, from: rel.saturating_add(i64::from(segment.syn)) }
}

/// The first packet of an end, or a new SYN, fixes where its numbers start.
fn begin_end(track: &mut Track, dir: Dir, segment: &Header<'_>) {
    let side = dir as usize;
    let payload = if segment.rst { 0 } else { segment.length };
    let top = segment
        .seq
        .wrapping_add(payload)
        .wrapping_add(u32::from(segment.syn))
        .wrapping_add(u32::from(segment.fin));
    let end = &mut track.sides[side].tcp;
    let restart = match end.state {
        S::Inactive if segment.syn => true,
        S::Inactive => {
            end.begin(segment.seq.wrapping_sub(1), segment.seq);
            return;
        }
        S::SynSent | S::SynAckSent => segment.syn && segment.seq != end.start,
        S::Established | S::Partial => segment.syn,
        S::Reset => segment.syn && end.prev == S::Inactive,
        S::Closed => false,
    };
    if restart {
        end.begin(segment.seq, top);
        if let Some(above) = &mut track.above {
            above.clear_side(side);
        }
    }
}

fn write_letters(track: &mut Track, mut dir: Dir, segment: &Header<'_>, rel: i64) -> Dir {
    let flags = u8::from(segment.syn) + u8::from(segment.fin) + u8::from(segment.rst);
    let low = rel as u32;
    if flags > 1 {
        track.letters.once(dir, if segment.fin && segment.rst { b'I' } else { b'Q' });
    } else if segment.syn {
        let letter = if segment.ack_flag { b'H' } else { b'S' };
        again_if_new(track, dir, letter, low, |end| &mut end.last_syn);
    } else if segment.fin {
        again_if_new(track, dir, b'F', low.wrapping_add(segment.length), |end| &mut end.last_fin);
    } else if segment.rst {
        again_if_new(track, dir, b'R', low, |end| &mut end.last_rst);
    } else if segment.length > 0 || segment.ack_flag {
        if track.letters.is_lone_syn_ack() {
            // it was no stealth scan: the sender of the SYN-ACK is a server
            track.flip();
            track.letters.rewrite_lone_syn_ack();
            dir = dir.other();
        }
        track.letters.once(dir, if segment.length > 0 { b'D' } else { b'A' });
    }
    let peer_closed = track.end(dir.other()).state == S::Closed;
    let side = &mut track.sides[dir as usize];
    if segment.window == 0 && !segment.rst && !peer_closed && side.tcp.state != S::Reset {
        track.letters.scaled(dir, b'W', &mut side.tcp.zero_windows);
    }
    dir
}

fn again_if_new(track: &mut Track, dir: Dir, letter: u8, at: u32, last: impl Fn(&mut End) -> &mut u32) {
    let last = last(&mut track.sides[dir as usize].tcp);
    if !track.letters.once(dir, letter) && *last != at {
        track.letters.again(dir, letter);
    }
    *last = at;
}

/// What the sender acknowledges moves the peer's numbers, and shows what nobody here saw.
fn take_ack(track: &mut Track, dir: Dir, segment: &Header<'_>) {
    let [orig, resp] = &mut track.sides;
    let (own, peer, peer_side) = match dir {
        Dir::Orig => (&orig.tcp, &mut resp.tcp, 1),
        Dir::Resp => (&resp.tcp, &mut orig.tcp, 0),
    };
    if peer.state == S::Inactive {
        let start = segment.ack.wrapping_sub(1);
        peer.begin(start, start);
        return;
    }
    if segment.rst || peer.relative_acked(segment.ack) < 0 {
        return;
    }
    let ahead = distance(segment.ack, peer.ack);
    if ahead > 0 && !(segment.ack == 0 && ahead > MAX_JUMP) {
        if segment.ack < peer.ack {
            peer.ack_wraps = peer.ack_wraps.saturating_add(1);
        }
        peer.ack = segment.ack;
    }
    let mut upto = peer.relative_acked(peer.ack).max(0) as u64;
    if peer.fins > 0 {
        upto = upto.min(peer.data_end);
    }
    if upto <= peer.delivered {
        return;
    }
    // Where only SYN, FIN and RST were captured, the data is missing on purpose.
    let only_flags = peer.delivered == 1
        && own.delivered == 1
        && [&*peer, own].iter().any(|end| end.fins > 0 || end.resets > 0);
    let report =
        own.is_established_or_cleanly_closed() && peer.is_established_or_cleanly_closed() && !only_flags;
    let (mut missed, mut gaps) = (0u64, peer.gaps);
    let letters = &mut track.letters;
    gap::acked(peer, &mut track.above, peer_side, upto, |length| {
        if report {
            missed = missed.saturating_add(length);
            letters.scaled(dir.other(), b'G', &mut gaps);
        }
    });
    peer.gaps = gaps;
    track.missed = track.missed.saturating_add(missed);
}

/// The sender's own numbers.
fn take_sequence(track: &mut Track, dir: Dir, segment: &Header<'_>) {
    let end = &mut track.sides[dir as usize].tcp;
    let payload = if segment.rst { 0 } else { segment.length };
    let top = segment
        .seq
        .wrapping_add(payload)
        .wrapping_add(u32::from(segment.syn))
        .wrapping_add(u32::from(segment.fin));
    let ahead = distance(top, end.last);
    let first_fin = segment.fin && end.last == end.start.wrapping_add(1);
    if (segment.syn || segment.rst) && !(-MAX_JUMP..=MAX_JUMP).contains(&ahead) {
        return;
    }
    if first_fin || (end.state != S::Reset && ahead > 0) {
        if top < end.last {
            end.last_wraps = end.last_wraps.saturating_add(1);
        }
        end.last = top;
    } else if end.state != S::Reset && segment.length > 0 {
        track.letters.scaled(dir, b'T', &mut end.repeats);
    }
}

/// The state machine of the two ends.
fn step(track: &mut Track, mut dir: Dir, at: PacketTime, segment: &Header<'_>) -> Dir {
    let mut close = false;
    match track.end(dir).state {
        S::Inactive => (dir, close) = step_first(track, dir, at, segment),
        S::SynSent | S::SynAckSent => {
            let end = &mut track.side(dir).tcp;
            if segment.fin {
                end.set(S::Closed);
                close = true;
            }
            if segment.rst {
                end.set(S::Reset);
                close = true;
            }
        }
        S::Established | S::Partial => close = step_open(track, dir, segment),
        S::Closed => {
            if segment.rst && track.end(dir.other()).state != S::Closed {
                let end = &mut track.side(dir).tcp;
                end.set(S::Reset);
                close = !end.done;
            }
        }
        S::Reset => {}
    }
    let waiting = |end: &End| matches!(end.state, S::Inactive | S::SynSent | S::SynAckSent);
    if !waiting(track.end(Dir::Orig)) || !waiting(track.end(Dir::Resp)) {
        let login = ports::is_login(track.resp_port) && track.end(Dir::Orig).state == S::Established;
        let patience = if login { Patience::Login } else { Patience::Established };
        track.patience = track.patience.max(patience);
    }
    if close && !track.end(dir).done {
        track.side(dir).tcp.done = true;
        let peer = track.end(dir.other());
        if track.end(dir).state == S::Reset || peer.done || peer.state == S::Inactive {
            track.closed = Some(track.last);
        }
    }
    dir
}

/// First packet of an end.
fn step_first(track: &mut Track, mut dir: Dir, at: PacketTime, segment: &Header<'_>) -> (Dir, bool) {
    let mut close = false;
    if segment.syn && dir == Dir::Orig {
        track.side(dir).tcp.set(if segment.ack_flag { S::SynAckSent } else { S::SynSent });
        track.attempt = Some(at);
    } else if segment.syn {
        let peer = track.end(Dir::Orig);
        let late_syn =
            !segment.ack_flag && peer.state == S::SynAckSent && segment.seq == track.end(dir).start;
        if late_syn {
            // The SYN that the presumed originator's SYN-ACK had answered.
            track.side(dir).tcp.set(S::Established);
            track.side(Dir::Orig).tcp.set(S::Established);
            track.flip();
            dir = dir.other();
        } else {
            if peer.state == S::SynSent {
                track.side(Dir::Orig).tcp.set(S::Established);
            }
            track.side(dir).tcp.set(S::Established);
        }
    }
    if segment.fin {
        track.side(dir).tcp.set(S::Closed);
        close = true;
    }
    if segment.rst {
        track.side(dir).tcp.set(S::Reset);
        close = true;
    }
    if track.end(dir).state == S::Inactive {
        let peer = track.end(dir.other()).state;
        let bare_ack = dir == Dir::Resp && segment.length == 0 && peer == S::SynSent;
        if !bare_ack {
            let missed_syn = segment.ack_flag && peer == S::Established;
            track.side(dir).tcp.set(if missed_syn { S::Established } else { S::Partial });
        }
    }
    (dir, close)
}

/// A packet of an end that is open.
fn step_open(track: &mut Track, dir: Dir, segment: &Header<'_>) -> bool {
    let peer = track.end(dir.other());
    let (peer_inactive, peer_reset_after_fin) =
        (peer.state == S::Inactive, peer.state == S::Reset && peer.prev == S::Closed);
    let end = &mut track.side(dir).tcp;
    let mut close = false;
    if segment.syn && !segment.ack_flag && end.state == S::Partial && peer_inactive {
        end.set(S::SynSent);
    }
    if segment.fin && !segment.rst {
        end.set(S::Closed);
        close = true;
    }
    if segment.rst {
        end.set(S::Reset);
        close = true;
    }
    if segment.fin && !segment.rst && peer_reset_after_fin {
        // FIN, then RST, then the peer's FIN is a normal end
        track.side(dir.other()).tcp.set(S::Closed);
    }
    close
}

/// Notes which bytes arrived.
fn take_data(track: &mut Track, dir: Dir, segment: &Header<'_>, rel: i64, spare: &mut Spare) -> Place {
    let from = rel.saturating_add(i64::from(segment.syn));
    let to = from.saturating_add(i64::from(segment.length));
    if to <= 0 {
        return Place::Again;
    }
    let side = dir as usize;
    let (from, to) = (from.max(1) as u64, to as u64);
    let end = &mut track.sides[side].tcp;
    let place = match from.cmp(&end.delivered) {
        Ordering::Equal => Place::Next,
        Ordering::Less => Place::Again,
        Ordering::Greater => Place::AfterHole,
    };
    gap::sent(end, &mut track.above, spare, side, from, to);
    place
}
