//! Exporters tell each direction of a conversation by itself; here the two become one flow.

use slips_core::event::Event;
use slips_core::flow::{ConnState, Flow, Origin, Phase, Proto, Volume};
use slips_core::time::Span;

use super::half::Half;
use super::order::{Key, Reorder};
use super::state::{self, Flags};
use super::uid;
use super::volume::{Counted, volume};

/// Two directions belong together when they overlap, or lie no further apart than this.
const APART: Span = Span::from_secs(60);

/// Puts a record into the queue, together with its counterpart if that waits there.
pub(crate) fn place(half: &Half, number: u64, queue: &mut Reorder) {
    if let Some(flow) = whole(half, number, queue) {
        queue.push(Event::Flow(flow));
    } else {
        queue.push_under(key(half.proto, half.src, half.dst), Event::Flow(alone(half, number)));
    }
}

/// The flow that the record makes together with its counterpart, if that waits in `queue`, or by itself where it has both directions.
pub(crate) fn whole(half: &Half, number: u64, queue: &mut Reorder) -> Option<Flow> {
    if half.out_pkts > 0 {
        return Some(both(half, number));
    }
    match queue.take(&key(half.proto, half.dst, half.src), |event| fits(event, half)) {
        Some(Event::Flow(first)) => Some(join(first, half)),
        _ => None,
    }
}

fn key(proto: Proto, src: slips_core::flow::Endpoint, dst: slips_core::flow::Endpoint) -> Key {
    let number = match proto {
        Proto::Tcp => 6,
        Proto::Udp => 17,
        Proto::Icmp => 1,
        Proto::Arp => 0x100,
        Proto::Other(number) => u32::from(number),
    };
    (src, dst, number)
}

fn fits(waiting: &Event, half: &Half) -> bool {
    let Event::Flow(flow) = waiting else { return false };
    half.start <= flow.seen + APART && flow.start <= half.end + APART
}

fn base(half: &Half, number: u64) -> Flow {
    let mut flow = Flow::new(half.start, half.proto, half.src, half.dst);
    flow.uid = uid::of(b'N', half.start, number);
    flow.phase = Phase::End;
    flow.origin = Origin::Netflow;
    flow.seen = half.end.max(half.start);
    flow.orig = sent(half);
    flow.src_mac = half.src_mac;
    flow.dst_mac = half.dst_mac;
    flow.vlan = half.vlan;
    flow
}

fn sent(half: &Half) -> Volume {
    volume(Counted::Ip, half.proto, half.src, half.pkts, half.bytes, Some(half.flags))
}

/// Sets what follows from the counters.
fn finish(mut flow: Flow) -> Flow {
    (flow.orig_new, flow.resp_new) = (flow.orig, flow.resp);
    let several = flow.orig.pkts.saturating_add(flow.resp.pkts) > 1;
    flow.duration = several.then(|| flow.seen.since(flow.start));
    flow
}

/// One direction only. Who sent a SYN and never an ACK was not answered; who sent ACKs was, on a way that the exporter does
/// not see, and then nothing is known of how it went.
fn alone(half: &Half, number: u64) -> Flow {
    let mut flow = base(half, number);
    state::settle(&mut flow, Some((half.flags, Flags::default())));
    if half.proto == Proto::Tcp && half.flags.acknowledged() {
        flow.state = ConnState::Oth;
    }
    finish(flow)
}

/// A record with both directions. Exporters tell the flags of each; where nfdump put the two together, the flags are those of both.
fn both(half: &Half, number: u64) -> Flow {
    let mut flow = base(half, number);
    flow.resp = volume(Counted::Ip, half.proto, half.dst, half.out_pkts, half.out_bytes, half.out_flags);
    match half.out_flags {
        Some(resp) => state::settle(&mut flow, Some((half.flags, resp))),
        None if half.proto == Proto::Tcp => {
            flow.state = state::tcp_together(half.flags, flow.orig.pkts, flow.resp.pkts);
        }
        None => state::settle(&mut flow, None),
    }
    finish(flow)
}

/// Both directions of two records.
fn join(first: Flow, half: &Half) -> Flow {
    let waiting = Flags::of_history(first.history);
    let mut flow = base(half, 0);
    flow.uid = first.uid;
    let begins = match (waiting.only_asks(), half.flags.only_asks()) {
        (true, false) => Begins::Waiting,
        (false, true) => Begins::Other,
        _ if first.start != half.start => {
            if first.start < half.start {
                Begins::Waiting
            } else {
                Begins::Other
            }
        }
        // At the same millisecond: servers have the lower port.
        _ if first.src.port >= first.dst.port => Begins::Waiting,
        _ => Begins::Other,
    };
    let (orig, resp) = match begins {
        Begins::Waiting => {
            (flow.src, flow.dst) = (first.src, first.dst);
            (flow.orig, flow.resp) = (first.orig, flow.orig);
            (flow.src_mac, flow.dst_mac) = (first.src_mac.or(half.dst_mac), first.dst_mac.or(half.src_mac));
            (waiting, half.flags)
        }
        Begins::Other => {
            flow.resp = first.orig;
            (half.flags, waiting)
        }
    };
    flow.seen = flow.seen.max(first.seen);
    flow.start = flow.start.min(first.start);
    state::settle(&mut flow, Some((orig, resp)));
    finish(flow)
}

/// Which of two records is the originator's.
enum Begins {
    Waiting,
    Other,
}
