//! Running a parser in a test without packets.

use slips_core::event::Event;
use slips_core::time::PacketTime;

use super::{Counts, Cx, Tools};
use crate::service::Service;
use crate::settings::Settings;
use crate::stream::Segment;
use crate::track::{Dir, Key, Kind, Track};

/// What a parser tells of these datagrams; then the flow ends. Checks that all memory comes back. Also what was counted, and
/// what the flow was known to carry.
pub(crate) fn read_datagrams(
    service: Service,
    datagrams: &[(Dir, Vec<u8>)],
) -> (Vec<Event>, Counts, [Option<Service>; 2]) {
    let key =
        Key { src: 1, dst: 2, src_port: 40_000, dst_port: 443, proto: 17, kind: Kind::Udp, tunnelled: false };
    let track = Track::new(&key, 0, PacketTime(0));
    let mut tools = Tools::new(&Settings::default());
    let mut out = Vec::new();
    let mut reader = tools.open_datagrams(service).expect("a parser");
    let mut wants = true;
    for (at, (dir, datagram)) in datagrams.iter().enumerate() {
        let mut cx = Cx { track: &track, at: PacketTime(at as i64), tools: &mut tools, out: &mut out };
        wants = wants && reader.take_datagram(*dir, datagram, &mut cx);
    }
    let services = reader.services();
    if wants {
        reader.finish(&mut Cx { track: &track, at: PacketTime(0), tools: &mut tools, out: &mut out });
    }
    tools.close(reader);
    assert_eq!((tools.held, tools.open, tools.open_datagrams), (0, 0, 0));
    (out, tools.counts, services)
}

/// What a parser tells of these pieces, cut to at most `size` bytes each; then the flow ends. Checks that all memory comes back.
pub(crate) fn read(service: Service, pieces: &[(Dir, &[u8])], size: usize) -> Vec<Event> {
    let key =
        Key { src: 1, dst: 2, src_port: 40_000, dst_port: 80, proto: 6, kind: Kind::Tcp, tunnelled: false };
    let track = Track::new(&key, 0, PacketTime(0));
    let mut tools = Tools::new(&Settings::default());
    let mut out = Vec::new();
    let mut reader = tools.open(Some(service), 1, 1).expect("a parser");
    let (mut at, mut next, mut wants) = (0, [1u64, 1], true);
    for (dir, bytes) in pieces {
        for part in bytes.chunks(size.max(1)) {
            at += 1;
            let from = next[*dir as usize];
            next[*dir as usize] += part.len() as u64;
            let segment = Segment { dir: *dir, from, bytes: part, settled: next };
            let mut cx = Cx { track: &track, at: PacketTime(at), tools: &mut tools, out: &mut out };
            wants = wants && reader.take(&segment, &mut cx);
        }
    }
    if wants {
        reader.finish(&mut Cx { track: &track, at: PacketTime(at), tools: &mut tools, out: &mut out });
    }
    tools.close(reader);
    assert_eq!((tools.held, tools.open, tools.memory.held), (0, 0, 0));
    out
}
