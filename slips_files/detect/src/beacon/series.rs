//! Contacts of one source with one peer, and whether they come like a clock.

use slips_core::flow::Uid;
use slips_core::time::{PacketTime, WindowId};

use crate::tally::Trail;

/// Contacts that are looked at.
const LAST: usize = 20;
/// Intervals that make a beat.
const MIN_INTERVALS: usize = 10;
/// Shorter intervals are one beat.
const MIN_INTERVAL_MILLIS: i64 = 1000;
const TIME_DISPERSION: f64 = 0.3;
/// The same where missing beats are allowed for: any interval is near some multiple, so it must be nearer.
const FOLDED_DISPERSION: f64 = 0.1;
const SIZE_DISPERSION: f64 = 0.1;
/// Names that are remembered of a series.
const NAMES: usize = 4;

/// One contact.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    pub(super) at: PacketTime,
    /// A name, which counts only when it is not one of the last ones.
    pub(super) name: Option<u64>,
    /// What the source sent.
    pub(super) bytes: u64,
    /// Nobody knows the port nor the protocol, or it was refused.
    pub(super) strange: bool,
    /// Refused at a port of no known service.
    pub(super) refused: bool,
    /// Both sides took part.
    pub(super) accepted: bool,
    pub(super) uid: Uid,
}

/// A contact in eight bytes.
#[derive(Clone, Copy, Debug)]
struct Kept {
    after_millis: u32,
    /// Twice what the source sent, and one more if the contact was strange.
    bytes_and_strange: u32,
}

impl Kept {
    fn new(millis: i64, beat: &Beat) -> Self {
        const MOST: u32 = u32::MAX >> 1;
        let bytes = u32::try_from(beat.bytes).unwrap_or(MOST).min(MOST);
        Self {
            after_millis: u32::try_from(millis).unwrap_or(u32::MAX),
            bytes_and_strange: bytes << 1 | u32::from(beat.strange),
        }
    }

    const fn is_strange(self) -> bool {
        self.bytes_and_strange & 1 == 1
    }

    fn bytes(self) -> f64 {
        f64::from(self.bytes_and_strange >> 1)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Series {
    /// The last contact; [`PacketTime::MIN`] before the first.
    last: PacketTime,
    beats: Vec<Kept>,
    regular: u32,
    accepted: bool,
    refused: u32,
    names: [u32; NAMES],
    trail: Trail,
    window: WindowId,
    /// It is one of those of its source that weigh anything in the window.
    pub(super) weighs: bool,
    /// The step told in the window.
    pub(super) told: u8,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            last: PacketTime::MIN,
            beats: Vec::new(),
            regular: 0,
            accepted: false,
            refused: 0,
            names: [0; NAMES],
            trail: Trail::default(),
            window: WindowId(i64::MIN),
            weighs: false,
            told: 0,
        }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Median and median absolute deviation.
fn spread(mut values: Vec<f64>, fold: bool) -> (f64, f64) {
    let middle = median(&mut values);
    for value in &mut values {
        let times = if fold && middle > 0.0 { (*value / middle).round().clamp(1.0, 4.0) } else { 1.0 };
        *value = (*value - times * middle).abs();
    }
    (middle, median(&mut values))
}

impl Series {
    /// How much it would be missed.
    pub(super) fn worth(&self) -> u64 {
        u64::from(self.regular) * 64 + self.beats.len() as u64
    }

    /// It was seen before it had a place.
    pub(super) const fn begin(&mut self, at: PacketTime) {
        if self.last.0 == PacketTime::MIN.0 {
            self.last = at;
        }
    }

    /// Begins a window.
    pub(super) fn enter(&mut self, window: WindowId) {
        if self.window != window {
            (self.window, self.told, self.weighs, self.refused) = (window, 0, false, 0);
        }
    }

    /// Beats in a row.
    pub(super) const fn regular(&self) -> u32 {
        self.regular
    }

    /// Contacts of the window that were refused, if none was ever accepted.
    pub(super) const fn refused_in_window(&self) -> u32 {
        if self.accepted { 0 } else { self.refused }
    }

    /// Most of the last contacts were strange.
    pub(super) fn is_strange(&self) -> bool {
        self.beats.iter().filter(|beat| beat.is_strange()).count() * 2 >= self.beats.len()
    }

    /// The flows behind it since it was last told.
    pub(super) fn take_trail(&mut self) -> Vec<Uid> {
        self.trail.take()
    }

    /// Adds a contact; true when the series is regular.
    pub(super) fn add(&mut self, beat: Beat) -> bool {
        self.accepted |= beat.accepted;
        if let Some(name) = beat.name {
            let name = (name ^ (name >> 32)) as u32;
            if self.names.contains(&name) {
                return false;
            }
            self.names.rotate_right(1);
            self.names[0] = name;
        }
        // Until the next irregular one, however close together.
        self.refused = if beat.refused { self.refused.saturating_add(1) } else { 0 };
        if self.last == PacketTime::MIN {
            self.last = beat.at;
            return false;
        }
        let millis = beat.at.0.saturating_sub(self.last.0) / 1000;
        if millis < MIN_INTERVAL_MILLIS {
            return false;
        }
        self.last = beat.at;
        if self.beats.len() >= LAST {
            self.beats.remove(0);
        }
        self.beats.push(Kept::new(millis, &beat));
        let regular = self.is_regular();
        if regular {
            self.regular = self.regular.saturating_add(1).max(self.beats.len() as u32);
            self.trail.push(beat.uid);
        } else {
            self.regular = 0;
            if self.beats.len() >= MIN_INTERVALS {
                self.refused = 0;
            }
        }
        regular
    }

    fn intervals(&self) -> Vec<f64> {
        self.beats.iter().map(|beat| f64::from(beat.after_millis)).collect()
    }

    fn is_regular(&self) -> bool {
        if self.beats.len() < MIN_INTERVALS {
            return false;
        }
        let (bytes, difference) = spread(self.beats.iter().map(|beat| beat.bytes()).collect(), false);
        if difference > SIZE_DISPERSION * bytes.max(1.0) {
            return false;
        }
        let (interval, jitter) = spread(self.intervals(), false);
        jitter <= TIME_DISPERSION * interval
            || spread(self.intervals(), true).1 <= FOLDED_DISPERSION * interval
    }

    /// The interval in seconds.
    pub(super) fn interval_secs(&self) -> f64 {
        spread(self.intervals(), false).0 / 1000.0
    }
}

/// Peers without a place, by which whoever comes back is told from who comes once: of each 16 bits of its hash and when it came, in
/// steps of [`COARSE`] seconds. What is older than three days is taken for younger.
#[derive(Debug, Default)]
pub(super) struct Comers(Vec<(u16, u16)>);

/// 2 kB, of sources only that have more peers than places.
const COMERS: usize = 512;
const COARSE: i64 = 4_000_000;

impl Comers {
    /// The peer came; when it came before, if that is known.
    pub(super) fn come(&mut self, peer: u64, at: PacketTime) -> Option<PacketTime> {
        self.0.resize(COMERS, (0, 0));
        let mixed = peer.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (place, mark) = ((mixed >> 55) as usize % COMERS, (mixed >> 16) as u16 | 1);
        let now = at.0.div_euclid(COARSE);
        let known = self.0.get_mut(place)?;
        let ago = i64::from((now as u16).wrapping_sub(known.1));
        let is_back = known.0 == mark && ago > 0;
        *known = (mark, now as u16);
        is_back.then(|| PacketTime(at.0.saturating_sub(ago * COARSE)))
    }
}
