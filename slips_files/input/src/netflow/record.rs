//! A record of a template becomes one direction of a conversation, or both.

use std::net::IpAddr;

use slips_core::flow::MacAddr;
use slips_core::time::{PacketTime, Span};

use super::bytes::{Bytes, address, number};
use super::template::{Space, Template};
use crate::flowlog::half::Half;
use crate::flowlog::state::Flags;

/// Exporters tell of a flow after half an hour at the latest.
const OLDEST: Span = Span::from_secs(86_400);

/// What the header of the datagram tells of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When it came.
    pub(super) now: PacketTime,
    /// How much the exporter's clock is behind ours.
    pub(super) behind: Span,
    /// For how long the exporter is up, in milliseconds; IPFIX tells when it started in its records, if at all.
    pub(super) uptime: Option<u32>,
}

impl Times {
    /// The moment at which the exporter had been up for so long. The counter starts anew every 49 days.
    pub(super) fn of_uptime(self, millis: u32) -> Option<PacketTime> {
        let ago = self.uptime?.wrapping_sub(millis).cast_signed();
        Some(self.now - Span::from_millis(i64::from(ago)))
    }

    /// What it tells of when a flow began and ended, as far as it can be: nothing ends after it was told, and what is told to be older
    /// than a day was not.
    pub(super) fn within(self, start: PacketTime, end: PacketTime) -> (PacketTime, PacketTime) {
        let oldest = self.now - OLDEST;
        let end = end.min(self.now).max(oldest);
        (start.min(end).max(oldest), end)
    }

    /// A moment by the exporter's clock.
    fn of_clock(self, micros: i64) -> PacketTime {
        PacketTime(micros) + self.behind
    }
}

/// The values that are used.
#[derive(Default)]
struct Values {
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    proto: u8,
    ports: [u16; 2],
    icmp: Option<u16>,
    flags: u8,
    reverse_flags: Option<u8>,
    pkts: u64,
    bytes: u64,
    reverse_pkts: u64,
    reverse_bytes: u64,
    start: Option<PacketTime>,
    end: Option<PacketTime>,
    lasted: Option<Span>,
    first_uptime: Option<u32>,
    last_uptime: Option<u32>,
    init: Option<i64>,
    macs: [Option<MacAddr>; 2],
    vlan: Option<u16>,
}

/// Reads one record off the front of a set. `None` where the set ends before; `Some(None)` where it is no flow between IP addresses.
pub(super) fn read(template: &Template, set: &mut Bytes<'_>, times: Times) -> Option<Option<Half>> {
    let mut values = Values::default();
    for field in &template.fields {
        let value = field.cut(set)?;
        match field.space {
            Space::Common => values.take(field.number, value, times),
            Space::Reverse => values.take_reverse(field.number, value),
            Space::Other => {}
        }
    }
    Some(if template.is_options { None } else { values.half(times) })
}

impl Values {
    /// Numbers of IANA's registry "IPFIX Information Elements"; those up to 127 are NetFlow v9's, too.
    fn take(&mut self, element: u16, value: &[u8], times: Times) {
        let count = || number(value).unwrap_or(0);
        let short = || number(value).and_then(|number| u16::try_from(number).ok()).unwrap_or(0);
        let moment = |micros_of: fn(u64) -> Option<i64>| {
            // Zero is what exporters write that do not know.
            let told = number(value).filter(|told| *told != 0);
            told.and_then(micros_of).map(|micros| times.of_clock(micros))
        };
        match element {
            1 | 85 => self.bytes = count(),
            2 | 86 => self.pkts = count(),
            // What left the exporter, told by some beside or instead of what came in.
            23 if self.bytes == 0 => self.bytes = count(),
            24 if self.pkts == 0 => self.pkts = count(),
            4 => self.proto = u8::try_from(count()).unwrap_or(255),
            // Sixteen bits in some templates, of which the low eight are the flags that we know.
            6 => self.flags = value.last().copied().unwrap_or(0),
            7 => self.ports[0] = short(),
            11 => self.ports[1] = short(),
            8 | 27 => self.src = address(value).or(self.src),
            12 | 28 => self.dst = address(value).or(self.dst),
            32 | 139 => self.icmp = Some(short()),
            176 | 178 => self.icmp = Some(self.icmp.unwrap_or(0) & 0xff | short() << 8),
            177 | 179 => self.icmp = Some(self.icmp.unwrap_or(0) & 0xff00 | short() & 0xff),
            56 => self.macs[0] = mac(value),
            57 | 80 => self.macs[1] = mac(value).or(self.macs[1]),
            58 | 243 => self.vlan = Some(short()).filter(|id| (1..4095).contains(id)).or(self.vlan),
            21 => self.last_uptime = u32::try_from(count()).ok(),
            22 => self.first_uptime = u32::try_from(count()).ok(),
            150 => self.start = moment(|secs| i64::try_from(secs).ok()?.checked_mul(1_000_000)),
            151 => self.end = moment(|secs| i64::try_from(secs).ok()?.checked_mul(1_000_000)),
            152 => self.start = moment(|millis| i64::try_from(millis).ok()?.checked_mul(1000)),
            153 => self.end = moment(|millis| i64::try_from(millis).ok()?.checked_mul(1000)),
            154 | 156 => self.start = moment(of_ntp),
            155 | 157 => self.end = moment(of_ntp),
            158 => self.start = Some(times.now - micros(count())),
            159 => self.end = Some(times.now - micros(count())),
            160 => self.init = i64::try_from(count()).ok().and_then(|millis| millis.checked_mul(1000)),
            161 => self.lasted = Some(micros(count().saturating_mul(1000))),
            162 => self.lasted = Some(micros(count())),
            231 => self.bytes = count(),
            298 => self.pkts = count(),
            232 => self.reverse_bytes = count(),
            299 => self.reverse_pkts = count(),
            _ => {}
        }
    }

    fn take_reverse(&mut self, element: u16, value: &[u8]) {
        match element {
            1 | 85 => self.reverse_bytes = number(value).unwrap_or(0),
            2 | 86 => self.reverse_pkts = number(value).unwrap_or(0),
            6 => self.reverse_flags = value.last().copied(),
            _ => {}
        }
    }

    fn half(self, times: Times) -> Option<Half> {
        let (src, dst) = self.src.zip(self.dst)?;
        let ports = match (self.proto, self.icmp) {
            (1 | 58, Some(kind)) => (0, kind),
            _ => (self.ports[0], self.ports[1]),
        };
        // Some exporters name the ends in an order of their own: whoever alone sent is the source, and so is whoever alone asks.
        let asks = |flags: u8| Flags(flags).only_asks();
        let backwards = self.reverse_pkts > 0
            && (self.pkts == 0 || self.reverse_flags.is_some_and(asks) && !asks(self.flags));
        let mut half = match backwards {
            true => {
                Half::new(dst, src, self.proto, if self.icmp.is_some() { ports } else { (ports.1, ports.0) })
            }
            false => Half::new(src, dst, self.proto, ports),
        };
        let of_uptime = |millis: Option<u32>| match (millis?, self.init) {
            (millis, Some(init)) => Some(times.of_clock(init.saturating_add(i64::from(millis) * 1000))),
            (millis, None) => times.of_uptime(millis),
        };
        let end = self.end.or(of_uptime(self.last_uptime));
        let start = self.start.or(of_uptime(self.first_uptime));
        let lasted = self.lasted.unwrap_or_default();
        // What is told of no time was just now.
        let end = end.or(start.map(|start| start + lasted)).unwrap_or(times.now).min(times.now);
        (half.start, half.end) = times.within(start.unwrap_or(end - lasted), end);
        (half.pkts, half.bytes) = (self.pkts, self.bytes);
        (half.out_pkts, half.out_bytes) = (self.reverse_pkts, self.reverse_bytes);
        half.flags = Flags(self.flags);
        half.out_flags = self.reverse_flags.map(Flags);
        [half.src_mac, half.dst_mac] = self.macs;
        if backwards {
            std::mem::swap(&mut half.pkts, &mut half.out_pkts);
            std::mem::swap(&mut half.bytes, &mut half.out_bytes);
            std::mem::swap(&mut half.src_mac, &mut half.dst_mac);
            (half.flags, half.out_flags) = (half.out_flags.unwrap_or_default(), Some(half.flags));
        }
        half.vlan = self.vlan;
        Some(half)
    }
}

fn mac(value: &[u8]) -> Option<MacAddr> {
    <[u8; 6]>::try_from(value).ok().map(MacAddr).filter(|mac| *mac != MacAddr::ZERO)
}

fn micros(count: u64) -> Span {
    Span(i64::try_from(count).unwrap_or(i64::MAX / 4).min(i64::MAX / 4))
}

/// NTP's time: seconds since 1900 and parts of 2³² of a second (RFC 7011, 6.1.9).
fn of_ntp(bits: u64) -> Option<i64> {
    const TO_UNIX: i64 = 2_208_988_800;
    let secs = i64::try_from(bits >> 32).ok()? - TO_UNIX;
    let micros = ((bits & 0xffff_ffff) * 1_000_000) >> 32;
    secs.checked_mul(1_000_000)?.checked_add(i64::try_from(micros).ok()?)
}
