//! Flows as routers tell them over the network: NetFlow v5 and v9, and IPFIX.
//!
//! Anybody may write a sender's address on a datagram, so only named exporters are heard, what each may make us remember is bounded,
//! and nothing that they tell proves anything. [`Collector`] does no I/O: datagrams come in, flows go out.
//!
//! (The parsers that the registry has keep what they read in maps of values, and their templates in a crate that we do not take in; here a
//! record goes from its bytes into a flow, and nothing is allocated but templates.)

mod bytes;
mod listener;
mod record;
mod template;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;

use slips_core::addr::{LocalNets, Net};
use slips_core::event::Event;
use slips_core::hash::KeyedState;
use slips_core::time::{PacketTime, Span};

use self::bytes::Bytes;
pub use self::listener::Listener;
use self::record::Times;
use self::template::{Dialect, FIRST_DATA, Templates};
use crate::feed::FeedReport;
use crate::flowlog::half::Half;
use crate::flowlog::order::Reorder;
use crate::flowlog::pair;
use crate::flowlog::state::Flags;
use crate::report::{Reason, Reject};

/// Exporters that are told apart, each by its address and the number that it gives a part of itself.
const MAX_EXPORTERS: usize = 64;
/// Who was not heard for so long makes room for another.
const SILENT: Span = Span::from_secs(600);
/// One direction waits so long for the other, and up to twice as long.
const HOLD: Span = Span::from_secs(5);
/// A clock that is further away from ours is not believed: what it tells is moved to our time.
const CLOCK: Span = Span::from_secs(60);
/// Larger gaps of sequence numbers are a new start of the exporter.
const MAX_GAP: u32 = 1 << 20;
const V5_HEADER: usize = 24;
const V5_RECORD: usize = 48;

/// Makes flows of exporters' datagrams.
pub struct Collector {
    allowed: LocalNets,
    exporters: HashMap<(IpAddr, u32), Exporter, KeyedState>,
    /// What came since the last turn, and before it: a record finds its counterpart in either.
    young: Reorder,
    old: Reorder,
    turned: Option<PacketTime>,
    number: u64,
    report: FeedReport,
}

#[derive(Default)]
struct Exporter {
    templates: Templates,
    heard: PacketTime,
    /// The number that the next datagram must have.
    next: Option<u32>,
}

impl Collector {
    /// Hears exporters of these networks.
    pub fn new(allowed: impl IntoIterator<Item = Net>) -> Self {
        Self {
            allowed: LocalNets::new(allowed.into_iter().collect()),
            exporters: HashMap::default(),
            young: Reorder::default(),
            old: Reorder::default(),
            turned: None,
            number: 0,
            report: FeedReport::default(),
        }
    }

    /// What was read so far.
    pub fn report(&self) -> FeedReport {
        FeedReport { parts: self.exporters.len(), ..self.report.clone() }
    }

    /// Takes in a datagram that came from `exporter` at `now`.
    pub fn datagram(&mut self, exporter: IpAddr, now: PacketTime, datagram: &[u8], out: &mut Vec<Event>) {
        self.turn(now, out);
        if !self.allowed.contains(exporter) {
            return self.reject(exporter, Reject::new(Reason::NotAllowed));
        }
        let mut rest = Bytes(datagram);
        let read = match rest.u16() {
            Some(5) => self.v5(exporter, now, datagram, out),
            Some(9) => self.v9(exporter, now, rest, out),
            Some(10) => self.ipfix(exporter, now, datagram, out),
            _ => Some(Err(Reject::new(Reason::BadHeader))),
        };
        if let Err(reject) = read.unwrap_or(Err(Reject::new(Reason::TruncatedCapture))) {
            self.reject(exporter, reject);
        }
    }

    /// Time goes on: hands out what has waited long enough.
    pub fn turn(&mut self, now: PacketTime, out: &mut Vec<Event>) {
        let since = *self.turned.get_or_insert(now);
        if now >= since && now.since(since) < HOLD {
            return;
        }
        self.turned = Some(now);
        out.extend(std::iter::from_fn(|| self.old.pop()).map(unproven));
        std::mem::swap(&mut self.old, &mut self.young);
    }

    /// The end: hands out all that waits.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        for queue in [&mut self.old, &mut self.young] {
            out.extend(std::iter::from_fn(|| queue.pop()).map(unproven));
        }
    }

    fn reject(&mut self, exporter: IpAddr, reject: Reject) {
        *self.report.rejected.entry(reject.reason).or_default() += 1;
        self.report.last_reject = format!("{exporter}: {}", reject.reason);
    }

    fn place(&mut self, half: Half, out: &mut Vec<Event>) {
        self.number += 1;
        self.report.records += 1;
        self.report.newest = self.report.newest.max(Some(half.end));
        if let Some(flow) = pair::whole(&half, self.number, &mut self.old) {
            self.young.push(Event::Flow(flow));
        } else {
            pair::place(&half, self.number, &mut self.young);
        }
        if self.young.is_full() {
            out.extend(self.young.pop().map(unproven));
        }
    }

    /// Makes sure that a part of an exporter is known.
    fn hear(&mut self, key: (IpAddr, u32), now: PacketTime) -> Result<(), Reject> {
        if self.exporters.len() >= MAX_EXPORTERS && !self.exporters.contains_key(&key) {
            self.exporters.retain(|_, exporter| now.since(exporter.heard) < SILENT);
            if self.exporters.len() >= MAX_EXPORTERS {
                return Err(Reject::new(Reason::TooMany));
            }
        }
        self.exporters.entry(key).or_default().heard = now;
        Ok(())
    }

    /// Counts what did not arrive before the datagram with this number; `told` is what this one adds.
    fn sequence(&mut self, key: (IpAddr, u32), number: u32, told: Option<u32>) {
        let Some(exporter) = self.exporters.get_mut(&key) else { return };
        let gap = exporter.next.map_or(0, |next| number.wrapping_sub(next));
        exporter.next = told.map(|told| number.wrapping_add(told));
        if (1..=MAX_GAP).contains(&gap) {
            *self.report.rejected.entry(Reason::Missed).or_default() += u64::from(gap);
        }
    }

    fn v5(&mut self, from: IpAddr, now: PacketTime, datagram: &[u8], out: &mut Vec<Event>) -> Read {
        let mut header = Bytes(datagram.get(2..V5_HEADER)?);
        let count = header.u16()?;
        let (uptime, secs, nanos) = (header.u32()?, header.u32()?, header.u32()?);
        let number = header.u32()?;
        let engine = u32::from(header.u16()?);
        let times = times(secs, i64::from(nanos / 1000).min(999_999), Some(uptime), now);
        let key = (from, 5 << 16 | engine);
        if let Err(reject) = self.hear(key, now) {
            return Some(Err(reject));
        }
        self.sequence(key, number, Some(u32::from(count)));
        let records = datagram.get(V5_HEADER..)?;
        for record in records.chunks_exact(V5_RECORD).take(usize::from(count)) {
            if let Some(half) = v5_record(record, times) {
                self.place(half, out);
            }
        }
        let is_short = records.len() / V5_RECORD < usize::from(count);
        Some(if is_short { Err(Reject::new(Reason::TruncatedCapture)) } else { Ok(()) })
    }

    fn v9(&mut self, from: IpAddr, now: PacketTime, mut rest: Bytes<'_>, out: &mut Vec<Event>) -> Read {
        let _count = rest.u16()?;
        let (uptime, secs, number, source) = (rest.u32()?, rest.u32()?, rest.u32()?, rest.u32()?);
        let times = times(secs, 0, Some(uptime), now);
        if let Err(reject) = self.hear((from, source), now) {
            return Some(Err(reject));
        }
        // Version 9 counts datagrams.
        self.sequence((from, source), number, Some(1));
        self.sets((from, source), rest, Dialect::V9, times, out).map(|read| read.map(|_| ()))
    }

    fn ipfix(&mut self, from: IpAddr, now: PacketTime, datagram: &[u8], out: &mut Vec<Event>) -> Read {
        let mut header = Bytes(datagram.get(2..)?);
        let length = usize::from(header.u16()?);
        let mut rest = Bytes(datagram.get(4..length)?);
        let (secs, number, domain) = (rest.u32()?, rest.u32()?, rest.u32()?);
        let times = times(secs, 0, None, now);
        if let Err(reject) = self.hear((from, domain), now) {
            return Some(Err(reject));
        }
        self.sequence((from, domain), number, None);
        // IPFIX counts records, which only templates can tell apart.
        let read = self.sets((from, domain), rest, Dialect::Ipfix, times, out)?;
        if let (Ok(Some(records)), Some(exporter)) = (&read, self.exporters.get_mut(&(from, domain))) {
            exporter.next = Some(number.wrapping_add(*records));
        }
        Some(read.map(|_| ()))
    }

    /// Reads the sets of a datagram; tells how many records there were, where that is known. `None` where it ends before.
    fn sets(
        &mut self,
        key: (IpAddr, u32),
        mut rest: Bytes<'_>,
        dialect: Dialect,
        times: Times,
        out: &mut Vec<Event>,
    ) -> Option<Result<Option<u32>, Reject>> {
        let (templates, options) = match dialect {
            Dialect::V9 => (0, 1),
            Dialect::Ipfix => (2, 3),
        };
        let mut records = Some(0u32);
        // Out of the table while its templates are read by; back in any case.
        let mut exporter = self.exporters.remove(&key)?;
        let mut wrong = Ok(());
        while rest.0.len() >= 4 {
            let set = rest.u16().zip(rest.u16());
            let set =
                set.and_then(|(id, length)| Some((id, rest.take(usize::from(length).checked_sub(4)?)?)));
            let Some((id, set)) = set else {
                wrong = Err(Reject::new(Reason::BadBlockLength));
                break;
            };
            if id == templates || id == options {
                wrong = wrong.and(exporter.templates.learn(set, dialect, id == options));
            } else if id >= FIRST_DATA {
                match exporter.templates.get(id) {
                    Some(template) => {
                        let read = self.data(key.0, template, set, times, out);
                        records = records.map(|records| records.wrapping_add(read));
                    }
                    None => {
                        records = None;
                        self.reject(key.0, Reject::new(Reason::UnknownTemplate));
                    }
                }
            }
        }
        self.exporters.insert(key, exporter);
        Some(wrong.map(|()| records))
    }

    /// Reads the records of a set; tells how many there were.
    fn data(
        &mut self,
        from: IpAddr,
        template: &template::Template,
        set: &[u8],
        times: Times,
        out: &mut Vec<Event>,
    ) -> u32 {
        let (mut set, mut records) = (Bytes(set), 0);
        // What is shorter than a record fills the set up.
        while set.0.len() >= template.least {
            let Some(read) = record::read(template, &mut set, times) else {
                self.reject(from, Reject::new(Reason::BadBlockLength));
                break;
            };
            records += 1;
            match read {
                Some(half) => self.place(half, out),
                None => *self.report.rejected.entry(Reason::UnusedKind).or_default() += 1,
            }
        }
        records
    }
}

/// What came of a datagram; `None` where it ends too early.
type Read = Option<Result<(), Reject>>;

/// What came over the network by the word of one machine: nothing follows from it about who sent the packets, as from what was seen within
/// other packets.
fn unproven(mut event: Event) -> Event {
    if let Event::Flow(flow) = &mut event {
        flow.tunnelled = true;
    }
    event
}

fn times(secs: u32, micros: i64, uptime: Option<u32>, now: PacketTime) -> Times {
    let told = PacketTime::from_secs_micros(i64::from(secs), micros);
    let is_near = told.since(now) <= CLOCK && now.since(told) <= CLOCK;
    let behind = if is_near { Span(0) } else { Span(now.0.saturating_sub(told.0)) };
    Times { now, behind, uptime }
}

/// A record of version 5.
fn v5_record(record: &[u8], times: Times) -> Option<Half> {
    let mut rest = Bytes(record);
    let (src, dst) = (rest.v4()?, rest.v4()?);
    rest.take(8)?;
    let (pkts, bytes) = (rest.u32()?, rest.u32()?);
    let (first, last) = (rest.u32()?, rest.u32()?);
    let ports = (rest.u16()?, rest.u16()?);
    rest.take(1)?;
    let (flags, proto) = (rest.u8()?, rest.u8()?);
    let mut half = Half::new(src, dst, proto, ports);
    (half.start, half.end) = times.within(times.of_uptime(first)?, times.of_uptime(last)?);
    (half.pkts, half.bytes) = (u64::from(pkts), u64::from(bytes));
    half.flags = Flags(flags);
    Some(half)
}
