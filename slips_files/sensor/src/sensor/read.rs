//! Readers of TCP flows: when they begin, what they get, when they end.

use slips_core::event::Event;
use slips_core::time::PacketTime;

use super::Sensor;
use crate::reader::Cx;
use crate::service::{self, Service};
use crate::stream::Segment;
use crate::tcp;
use crate::track::{Dir, Track};

/// The payload of a segment and its place in its stream, without what lies before the stream's first byte.
pub(super) fn placed_bytes(placed: tcp::Placed, payload: &[u8]) -> (u64, &[u8]) {
    let early = usize::try_from(1i64.saturating_sub(placed.from)).unwrap_or(0);
    (placed.from.max(1) as u64, payload.get(early..).unwrap_or(&[]))
}

/// A segment as whoever reads its flow sees it.
pub(super) fn segment_of<'a>(track: &Track, placed: tcp::Placed, payload: &'a [u8]) -> Segment<'a> {
    let settled = [track.end(Dir::Orig).delivered, track.end(Dir::Resp).delivered];
    let (from, bytes) = placed_bytes(placed, payload);
    Segment { dir: placed.dir, from, bytes, settled }
}

/// Where both sides begin for who begins to read with this segment: at its first byte, or where it is the first of its
/// side, at the beginning.
pub(super) fn begins(track: &Track, placed: tcp::Placed) -> [u64; 2] {
    let mut begins = [track.end(Dir::Orig).delivered.max(1), track.end(Dir::Resp).delivered.max(1)];
    begins[placed.dir as usize] =
        if track.recognition.is_first_look(placed.dir) { 1 } else { placed.from.max(1) as u64 };
    begins
}

impl Sensor {
    /// Hands a segment to the flow's reader; the application that is found by it.
    pub(super) fn feed(
        &mut self,
        index: u32,
        placed: tcp::Placed,
        at: PacketTime,
        payload: &[u8],
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let track = self.table.get(index)?;
        let mut reader = track.reader.take()?;
        let segment = segment_of(track, placed, payload);
        let mut cx = Cx { track, at, tools: &mut self.tools, out };
        let mut wants = reader.take(&segment, &mut cx);
        let mut found = reader.became();
        if let Some(begun) = reader.probed(placed.dir).filter(|_| wants && !payload.is_empty()) {
            found = track.recognition.look(placed.dir, begun);
            if let Some(service) = found {
                let mut cx = Cx { track, at, tools: &mut self.tools, out };
                wants = reader.reads(service, &mut cx);
                if let Some(next) = reader.became() {
                    track.found(service);
                    found = Some(next);
                }
            }
        }
        if wants {
            track.reader = Some(reader);
        } else {
            self.tools.close(reader);
        }
        self.count_read();
        found
    }

    fn count_read(&mut self) {
        let (counters, counts) = (&mut self.counters, &self.tools.counts);
        counters.certificates = counts.certificates;
        counters.certificates_malformed = counts.certificates_malformed;
        counters.quic_opened = counts.quic_opened;
        counters.quic_not_authentic = counts.quic_not_authentic;
        counters.quic_given_up = counts.quic_given_up;
        counters.quic_malformed = counts.quic_malformed;
        counters.files = self.tools.files.files;
        counters.files_passed_over = self.tools.files.passed_over;
        counters.files_cut_short = self.tools.files.cut_short;
        counters.readers_given_up = counts.readers_given_up;
        counters.holes_given_up = self.tools.memory.holes_given_up;
    }

    /// Hands a datagram to the flow's reader; the application that is found by it.
    pub(super) fn feed_datagram(
        &mut self,
        index: u32,
        dir: Dir,
        at: PacketTime,
        datagram: &[u8],
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let track = self.table.get(index)?;
        let mut reader = track.reader.take()?;
        let mut cx = Cx { track, at, tools: &mut self.tools, out };
        let wants = reader.take_datagram(dir, datagram, &mut cx);
        let [carrier, carried] = reader.services();
        if wants {
            track.reader = Some(reader);
        } else {
            self.tools.close(reader);
        }
        self.count_read();
        let track = self.table.get(index)?;
        // both are told with the one update that the last of them brings
        let carrier = carrier.filter(|service| !track.recognition.is(*service));
        let carried = carried.filter(|service| !track.recognition.is(*service));
        if let (Some(carrier), Some(_)) = (carrier, carried) {
            track.found(carrier);
        }
        carried.or(carrier)
    }

    /// What speaks was found by this segment, or is still to be found: begins to read it.
    pub(super) fn begin_to_read(
        &mut self,
        index: u32,
        found: Option<Service>,
        placed: tcp::Placed,
        at: PacketTime,
        payload: &[u8],
        out: &mut Vec<Event>,
    ) {
        let Some(track) = self.table.get(index) else { return };
        if let Some(mut reader) = track.reader.take() {
            let mut wants = found.is_none();
            if let Some(service) = found {
                let mut cx = Cx { track, at, tools: &mut self.tools, out };
                wants = reader.reads(service, &mut cx);
            }
            if wants {
                track.reader = Some(reader);
            } else {
                self.tools.close(reader);
            }
            return;
        }
        let is_first = track.recognition.is_first_look(placed.dir);
        if track.ssh.is_some() || (found.is_none() && !is_first) {
            return;
        }
        let (from, _) = placed_bytes(placed, payload);
        let mut begins = [track.end(Dir::Orig).delivered, track.end(Dir::Resp).delivered];
        begins[placed.dir as usize] = if is_first { 1 } else { from };
        track.reader = self.tools.open_segments(found, begins, track.in_unanswered);
        self.feed(index, placed, at, payload, out);
    }

    /// A client hello in the middle of another conversation begins TLS (STARTTLS and its kin, proxies).
    pub(super) fn may_turn_to_tls(
        &mut self,
        index: u32,
        placed: tcp::Placed,
        at: PacketTime,
        payload: &[u8],
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let track = self.table.get(index)?;
        let may = placed.place == tcp::Place::Next
            && (service::is_client_hello(payload)
                || (service::is_server_hello(payload) && track.recognition.is(Service::Socks)))
            && track.reader.as_ref().is_none_or(|reader| reader.may_turn_to_tls())
            && !track.recognition.is(Service::Ssl);
        if !may {
            return None;
        }
        if let Some(mut before) = track.reader.take() {
            before.finish(&mut Cx { track, at, tools: &mut self.tools, out });
            self.tools.close(before);
        }
        let (from, _) = placed_bytes(placed, payload);
        let mut begins = [track.end(Dir::Orig).delivered, track.end(Dir::Resp).delivered];
        begins[placed.dir as usize] = from;
        track.reader = self.tools.open_segments(Some(Service::Ssl), begins, track.in_unanswered);
        self.feed(index, placed, at, payload, out);
        Some(Service::Ssl)
    }

    /// The flow is over: its reader tells what it has.
    pub(super) fn close_reader(&mut self, index: u32, out: &mut Vec<Event>) {
        let Some(track) = self.table.get(index) else { return };
        let Some(mut reader) = track.reader.take() else { return };
        let at = track.last;
        reader.finish(&mut Cx { track, at, tools: &mut self.tools, out });
        self.tools.close(reader);
    }
}
