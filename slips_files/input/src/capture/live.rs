//! Live interfaces as a source of events: the capture drives the sensor, and the clock speaks up when traffic does not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slips_core::event::Event;
use slips_core::time::{PacketTime, Span};
use slips_sensor::{LinkType, Sensor};

use super::{
    Capture, CaptureError, CaptureSettings, Change, Checksum, Counters, Frame, Handover, Polled, Senders,
    Stopper,
};

/// What one call of [`LiveSource::next_batch`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// Packets were taken; what they told was appended, which may be nothing.
    Packets(usize),
    /// No packet came; a tick may have been appended.
    Silent,
    /// An interface is in another state than before.
    Changed(Change),
    /// Someone used the [`Stopper`]: nothing comes any more but what [`LiveSource::finish`] gives.
    Stopped,
}

/// Interfaces, captured together and turned into events.
#[derive(Debug)]
pub struct LiveSource {
    capture: Capture,
    reader: Reader,
    /// What waits for the frames of its senders, and what this turn told.
    senders: Senders,
    told: Vec<Event>,
    silence: Silence,
}

impl LiveSource {
    /// Opens all interfaces. They may be down, but must exist and be of a kind that the sensor reads.
    pub fn open(capture: CaptureSettings, sensor: slips_sensor::Settings) -> Result<Self, CaptureError> {
        Self::take_over(capture, sensor, Handover::default())
    }

    /// The same, with what an earlier process left: see [`Capture::take_over`].
    pub fn take_over(
        capture: CaptureSettings,
        sensor: slips_sensor::Settings,
        handover: Handover,
    ) -> Result<Self, CaptureError> {
        let capture = Capture::take_over(capture, handover)?;
        for (number, dlt) in (1u16..).zip(capture.link_types()) {
            if LinkType::from_dlt(dlt).is_none() {
                let name = capture.name(number).unwrap_or_default().to_owned();
                return Err(CaptureError::LinkType { name, dlt });
            }
        }
        let reader = Reader { sensor: Sensor::new(sensor), tagged: Vec::new(), last: None, drained: false };
        let (senders, told) = (Senders::default(), Vec::new());
        Ok(Self { capture, reader, senders, told, silence: Silence::default() })
    }

    /// Waits for the frames of these senders before it tells of what they do.
    pub fn awaiting(self, senders: Senders) -> Self {
        Self { senders, ..self }
    }

    /// Appends what the next packets tell to `out`, as soon as there are any; waits at most a second.
    ///
    /// When nothing was told for a second, time is moved on and an [`Event::Tick`] is appended, at most one a second.
    pub fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<Live, CaptureError> {
        let before = out.len();
        let now = wall();
        if self.reader.last.is_some_and(|last| last.since(now) > SET_BACK) {
            self.set_back(now, out);
        }
        let (capture, reader, told) = (&mut self.capture, &mut self.reader, &mut self.told);
        let wait = self.silence.wait(now).min(self.senders.due(now).unwrap_or(Duration::MAX));
        let live = match capture.next(wait, &mut |frame| reader.take(&frame, told))? {
            Polled::Frames(count) => Live::Packets(count),
            Polled::Silent => Live::Silent,
            Polled::Changed(change) => return Ok(Live::Changed(change)),
            Polled::Stopped => return Ok(Live::Stopped),
        };
        if self.capture.interfaces() > 1 {
            self.senders.pass(told, reader.sensor.corrected(), wall(), out);
        } else {
            reader.sensor.corrected().for_each(drop);
            out.append(told);
        }
        match self.reader.last {
            Some(at) if out.len() > before => self.silence.broken(at),
            // It is not yet as late as the clock says.
            _ if self.capture.is_behind() => {}
            _ => {
                if let Some(tick) = self.silence.tick(wall()) {
                    self.reader.sensor.advance(tick, out);
                    out.push(Event::Tick(tick));
                }
            }
        }
        Ok(live)
    }

    /// The clock was set back: whoever waited for its time to come would see nothing until then.
    fn set_back(&mut self, now: PacketTime, out: &mut Vec<Event>) {
        self.senders.release(out);
        self.reader.sensor.set_back(now, out);
        self.reader.last = Some(now);
        self.silence.broken(now);
        out.push(Event::Tick(now));
    }

    /// The end: takes what the kernel has handed over already, then ends flows. True while there are more, for another call.
    pub fn finish(&mut self, out: &mut Vec<Event>) -> bool {
        self.senders.release(out);
        let reader = &mut self.reader;
        if !std::mem::replace(&mut reader.drained, true) {
            self.capture.drain_rest(&mut |frame| reader.take(&frame, out));
        }
        reader.sensor.finish_some(ENDED_AT_ONCE, out)
    }

    /// A handle that ends the source from another thread or from a signal handler.
    pub fn stopper(&self) -> Stopper {
        self.capture.stopper()
    }

    /// How old the last packet was when it had been read. A clock that is set shows here once; one that is set back never.
    pub fn behind(&self) -> Duration {
        // What came in before we were there is no sign that too much comes in.
        let last = self.reader.last.filter(|_| !self.capture.is_behind());
        let late = last.map_or(0, |last| wall().since(last).0);
        Duration::from_micros(u64::try_from(late).unwrap_or(0))
    }

    /// From now on the sensor tracks so many flows at most; what it gives up for that is told in some calls.
    pub fn track_at_most(&mut self, flows: u32, out: &mut Vec<Event>) {
        self.reader.sensor.track_at_most(flows, out);
    }

    /// What was counted at one interface since the start.
    pub fn counters(&mut self, interface: u16) -> Option<Counters> {
        self.capture.counters(interface)
    }

    /// How many interfaces there are.
    pub fn interfaces(&self) -> usize {
        self.capture.interfaces()
    }

    /// The name of an interface, counted from 1.
    pub fn name(&self, interface: u16) -> Option<&str> {
        self.capture.name(interface)
    }

    /// What the sensor counted since the start.
    pub fn sensor_counters(&self) -> &slips_sensor::Counters {
        self.reader.sensor.counters()
    }
}

/// Hands frames to the sensor.
#[derive(Debug)]
struct Reader {
    sensor: Sensor,
    /// A frame with its tag put back; kept for its memory.
    tagged: Vec<u8>,
    /// The moment of the last packet.
    last: Option<PacketTime>,
    /// The rings were emptied for the last time.
    drained: bool,
}

impl Reader {
    fn take(&mut self, frame: &Frame<'_>, out: &mut Vec<Event>) {
        let Some(link) = LinkType::from_dlt(frame.dlt) else { return };
        self.last = Some(frame.at);
        let (captured, wire_len) = match with_tag(frame, &mut self.tagged) {
            true => (self.tagged.as_slice(), frame.wire_len.saturating_add(TAG_BYTES)),
            false => (frame.captured, frame.wire_len),
        };
        let sensor = &mut self.sensor;
        match frame.checksum {
            Checksum::Pending => {
                sensor.packet_unsummed(link, frame.interface, frame.at, captured, wire_len, out);
            }
            Checksum::Unknown | Checksum::Right => {
                sensor.packet(link, frame.interface, frame.at, captured, wire_len, out);
            }
        }
    }
}

/// Writes the frame as it was on the wire to `tagged`, when its VLAN tag was taken off; false when it was not.
fn with_tag(frame: &Frame<'_>, tagged: &mut Vec<u8>) -> bool {
    let (Some(vlan), Some((addresses, rest))) = (frame.vlan, frame.captured.split_at_checked(12)) else {
        return false;
    };
    tagged.clear();
    tagged.extend_from_slice(addresses);
    tagged.extend_from_slice(&[0x81, 0x00]);
    tagged.extend_from_slice(&vlan.to_be_bytes());
    tagged.extend_from_slice(rest);
    true
}

/// Decides when silence is to be told.
#[derive(Debug, Default)]
struct Silence {
    /// The last moment that the engine was told of.
    since: Option<PacketTime>,
}

impl Silence {
    fn broken(&mut self, at: PacketTime) {
        self.since = Some(at);
    }

    /// How long to wait for packets before a tick may be due.
    fn wait(&self, wall: PacketTime) -> Duration {
        let left = match self.since {
            Some(since) => (since + TICK_EVERY + IN_FLIGHT).since(wall).0.min(TICK_EVERY.0),
            None => TICK_EVERY.0,
        };
        Duration::from_micros(left.unsigned_abs())
    }

    /// The moment up to which nothing happened, when it is time to tell so.
    fn tick(&mut self, wall: PacketTime) -> Option<PacketTime> {
        let now = wall - IN_FLIGHT;
        match self.since {
            // The clock was set back: count from there, and let packets say what time it is.
            Some(since) if now + TICK_EVERY < since => {
                self.since = Some(now);
                None
            }
            Some(since) if now < since + TICK_EVERY => None,
            Some(_) => {
                self.since = Some(now);
                Some(now)
            }
            None => {
                self.since = Some(now);
                None
            }
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the shell: only where traffic is silent does the clock tell the time"
)]
fn wall() -> PacketTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    PacketTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// How often silence is told.
const TICK_EVERY: Span = Span::from_secs(1);

/// Packets may still lie in a block of the ring that the kernel has not handed over; a tick must not be later than they.
/// Twice the timeout of a block on a kernel of 100 Hz, with room.
const IN_FLIGHT: Span = Span::from_millis(50);

/// A clock that is so far behind the last packet was set. (What the engine and the sensor take for late is less.)
const SET_BACK: Span = Span::from_secs(60);

/// Flows that are ended in one call.
const ENDED_AT_ONCE: usize = 1000;

/// Bytes of a VLAN tag.
const TAG_BYTES: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn silence_is_told_once_a_second_and_never_ahead_of_packets_in_flight() {
        let mut silence = Silence::default();
        let start = 1_700_000_000 * SECOND;
        silence.broken(PacketTime(start));
        let mut ticks = Vec::new();
        for millis in (0..3500).step_by(10) {
            ticks.extend(silence.tick(PacketTime(start + millis * 1000)));
        }
        let at: Vec<i64> = ticks.iter().map(|tick| tick.0 - start).collect();
        assert_eq!(at, [SECOND, 2 * SECOND, 3 * SECOND]);
    }

    #[test]
    fn the_wait_ends_when_the_next_tick_is_due() {
        let mut silence = Silence::default();
        assert_eq!(silence.wait(PacketTime(0)), Duration::from_secs(1));
        silence.broken(PacketTime(10 * SECOND));
        for (wall, millis) in [(10_000, 1000), (10_500, 550), (11_050, 0), (20_000, 0), (5_000, 1000)] {
            assert_eq!(silence.wait(PacketTime(wall * 1000)), Duration::from_millis(millis), "{wall}");
        }
        assert_eq!(silence.tick(PacketTime(11 * SECOND + 50_000)), Some(PacketTime(11 * SECOND)));
    }

    #[test]
    fn a_clock_that_is_set_back_gives_no_tick_from_the_past_for_a_second() {
        let mut silence = Silence::default();
        silence.broken(PacketTime(1000 * SECOND));
        assert_eq!(silence.tick(PacketTime(500 * SECOND)), None);
        assert_eq!(silence.tick(PacketTime(500 * SECOND + 900_000)), None);
        let tick = silence.tick(PacketTime(501 * SECOND)).expect("a second later");
        assert_eq!(tick, PacketTime(501 * SECOND) - IN_FLIGHT);
    }

    #[test]
    fn a_tag_that_was_taken_off_is_put_back_for_the_sensor() {
        let mut frame = Frame {
            interface: 1,
            dlt: 1,
            at: PacketTime(0),
            captured: b"ddddddsssssstype",
            wire_len: 16,
            vlan: Some(0x123),
            outgoing: false,
            checksum: Checksum::Unknown,
        };
        let mut tagged = Vec::new();
        assert!(with_tag(&frame, &mut tagged));
        assert_eq!(tagged, b"ddddddssssss\x81\x00\x01\x23type");
        frame.vlan = None;
        assert!(!with_tag(&frame, &mut tagged));
        (frame.vlan, frame.captured) = (Some(1), b"short");
        assert!(!with_tag(&frame, &mut tagged));
    }
}
