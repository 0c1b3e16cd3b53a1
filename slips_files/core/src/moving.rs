//! Networks and hardware addresses of ours that come and go while traffic passes: a provider gives another address or prefix, an interface
//! appears.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use crate::addr::Net;
use crate::flow::MacAddr;

/// Most networks at once, and most hardware addresses. A router's own addresses and the networks on its interfaces; each that there is
/// is compared with each outside address.
pub const MOST: usize = 256;

/// Networks and hardware addresses that another thread changes. Looking takes no lock. While one is exchanged, an event may see it already gone, not yet there,
/// or with bits of both; whoever keeps what he saw looks again after [`Moving::changes`].
pub struct Moving {
    changes: AtomicU64,
    used: AtomicUsize,
    slots: [Slot; MOST],
    /// Empty ones are 0.
    macs: [AtomicU64; MOST],
}

/// A network of IPv6, or of IPv4 in the form `::ffff:0:0/96` holds it. A `prefix` of [`EMPTY`] holds nothing.
struct Slot {
    prefix: AtomicU8,
    high: AtomicU64,
    low: AtomicU64,
}

const EMPTY: u8 = u8::MAX;

impl Moving {
    /// None yet.
    pub fn new() -> Self {
        let slot = |_| Slot { prefix: AtomicU8::new(EMPTY), high: AtomicU64::new(0), low: AtomicU64::new(0) };
        let macs = std::array::from_fn(|_| AtomicU64::new(0));
        Self { changes: AtomicU64::new(0), used: AtomicUsize::new(0), slots: std::array::from_fn(slot), macs }
    }

    /// From now on these hardware addresses, the first [`MOST`] of them.
    pub fn set_macs(&self, macs: &[MacAddr]) {
        let numbers = macs.iter().map(|mac| number(*mac)).chain(std::iter::repeat(0));
        for (slot, number) in self.macs.iter().zip(numbers) {
            slot.store(number, Ordering::Release);
        }
    }

    /// Whether `mac` is one of them.
    pub fn has_mac(&self, mac: MacAddr) -> bool {
        let wanted = number(mac);
        let mut numbers = self.macs.iter().map(|slot| slot.load(Ordering::Acquire)).take_while(|it| *it != 0);
        wanted != 0 && numbers.any(|number| number == wanted)
    }

    /// From now on these, the first [`MOST`] of them; gives how many found no room. For one thread: two at a time would mix theirs.
    pub fn set(&self, nets: &[Net]) -> usize {
        let mut used = 0;
        for (slot, net) in self.slots.iter().zip(nets) {
            let (prefix, bits) = wide(*net);
            let (high, low) = ((bits >> 64) as u64, bits as u64);
            let same = slot.prefix.load(Ordering::Relaxed) == prefix
                && slot.high.load(Ordering::Relaxed) == high
                && slot.low.load(Ordering::Relaxed) == low;
            if !same {
                slot.prefix.store(EMPTY, Ordering::Release);
                slot.high.store(high, Ordering::Release);
                slot.low.store(low, Ordering::Release);
                slot.prefix.store(prefix, Ordering::Release);
            }
            used += 1;
        }
        self.used.store(used, Ordering::Release);
        self.changes.fetch_add(1, Ordering::Release);
        nets.len() - used
    }

    /// How often the networks were set.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether `addr` lies in one of them.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let used = self.used.load(Ordering::Acquire);
        if used == 0 {
            return false;
        }
        let bits = wide(Net::host(addr)).1;
        self.slots.iter().take(used).any(|slot| {
            let prefix = slot.prefix.load(Ordering::Acquire);
            if prefix > 128 {
                return false;
            }
            let net = u128::from(slot.high.load(Ordering::Acquire)) << 64
                | u128::from(slot.low.load(Ordering::Acquire));
            (bits ^ net).checked_shr(128 - u32::from(prefix)).unwrap_or(0) == 0
        })
    }
}

impl Default for Moving {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Moving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Moving({})", self.used.load(Ordering::Relaxed))
    }
}

/// The hardware addresses of the router: those that stay, and those that come and go.
#[derive(Clone, Debug, Default)]
pub struct OwnMacs {
    stay: Vec<MacAddr>,
    moving: Option<Arc<Moving>>,
}

impl OwnMacs {
    /// Those that come and go alone: of a machine that is watched while it runs.
    pub const fn moving(moving: Arc<Moving>) -> Self {
        Self { stay: Vec::new(), moving: Some(moving) }
    }

    /// Whether it is the router's.
    pub fn contains(&self, mac: MacAddr) -> bool {
        self.stay.contains(&mac) || self.moving.as_ref().is_some_and(|moving| moving.has_mac(mac))
    }
}

impl PartialEq for OwnMacs {
    /// The same ones stay, and the same others are followed.
    fn eq(&self, other: &Self) -> bool {
        self.stay == other.stay
            && self.moving.as_ref().map(Arc::as_ptr) == other.moving.as_ref().map(Arc::as_ptr)
    }
}

impl Eq for OwnMacs {}

impl From<Vec<MacAddr>> for OwnMacs {
    fn from(stay: Vec<MacAddr>) -> Self {
        Self { stay, moving: None }
    }
}

/// The gateways of this host: those that stay, and those that come and go with its routes.
#[derive(Clone, Debug, Default)]
pub struct Gateways {
    stay: Vec<IpAddr>,
    moving: Option<Arc<Moving>>,
}

impl Gateways {
    /// Those that come and go alone: of a machine that is watched while it runs.
    pub const fn moving(moving: Arc<Moving>) -> Self {
        Self { stay: Vec::new(), moving: Some(moving) }
    }

    /// Whether it is one of them.
    pub fn contains(&self, addr: &IpAddr) -> bool {
        self.stay.contains(addr) || self.moving.as_ref().is_some_and(|moving| moving.contains(*addr))
    }
}

impl PartialEq for Gateways {
    /// The same ones stay, and the same others are followed.
    fn eq(&self, other: &Self) -> bool {
        self.stay == other.stay
            && self.moving.as_ref().map(Arc::as_ptr) == other.moving.as_ref().map(Arc::as_ptr)
    }
}

impl Eq for Gateways {}

impl From<Vec<IpAddr>> for Gateways {
    fn from(stay: Vec<IpAddr>) -> Self {
        Self { stay, moving: None }
    }
}

fn number(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// Prefix and bits as of IPv6.
fn wide(net: Net) -> (u8, u128) {
    match net.addr() {
        IpAddr::V4(v4) => (96 + net.prefix(), v4.to_ipv6_mapped().to_bits()),
        IpAddr::V6(v6) => (net.prefix(), v6.to_bits()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::LocalNets;

    fn nets(texts: &[&str]) -> Vec<Net> {
        texts.iter().map(|text| text.parse().expect("a network")).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn gateways_stay_or_follow_the_routes() {
        let moving = Arc::new(Moving::new());
        let fixed = Gateways::from(vec![ip("192.0.2.1")]);
        let ours = Gateways::moving(Arc::clone(&moving));
        moving.set(&nets(&["192.0.2.1", "fe80::1"]));
        assert!(ours.contains(&ip("192.0.2.1")) && ours.contains(&ip("fe80::1")));
        moving.set(&nets(&["192.0.2.254"]));
        assert!(ours.contains(&ip("192.0.2.254")) && !ours.contains(&ip("192.0.2.1")));
        assert!(fixed.contains(&ip("192.0.2.1")) && !fixed.contains(&ip("192.0.2.254")));
    }

    #[test]
    fn networks_come_and_go_and_families_never_mix() {
        let moving = Arc::new(Moving::new());
        let ours = LocalNets::new(nets(&["192.0.2.0/24"])).and(Arc::clone(&moving));
        assert!(ours.contains(ip("192.0.2.9")) && !ours.contains(ip("203.0.113.9")));
        assert_eq!(moving.set(&nets(&["203.0.113.9", "2001:db8:7::/48"])), 0);
        for (addr, is) in [
            ("192.0.2.9", true),
            ("203.0.113.9", true),
            ("203.0.113.10", false),
            ("2001:db8:7:ffff::1", true),
            ("2001:db8:8::1", false),
            ("::203.0.113.9", false),
        ] {
            assert_eq!(ours.contains(ip(addr)), is, "{addr}");
        }
        // The provider has given another address and another prefix.
        assert_eq!(moving.set(&nets(&["203.0.113.77", "2001:db8:9::/48"])), 0);
        assert!(ours.contains(ip("203.0.113.77")) && !ours.contains(ip("203.0.113.9")));
        assert!(ours.contains(ip("2001:db8:9::1")) && !ours.contains(ip("2001:db8:7::1")));
        assert_eq!(moving.set(&[]), 0);
        assert!(!ours.contains(ip("203.0.113.77")) && ours.contains(ip("192.0.2.9")));
    }

    #[test]
    fn hardware_addresses_come_and_go() {
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        let moving = Arc::new(Moving::new());
        let own = OwnMacs::moving(Arc::clone(&moving));
        assert!(!own.contains(mac(1)) && !own.contains(MacAddr::ZERO));
        moving.set_macs(&[mac(1), mac(2)]);
        assert!(own.contains(mac(1)) && own.contains(mac(2)) && !own.contains(mac(3)));
        moving.set_macs(&[mac(3)]);
        assert!(own.contains(mac(3)) && !own.contains(mac(1)) && !own.contains(mac(2)));
        let stays = OwnMacs::from(vec![mac(7)]);
        assert!(stays.contains(mac(7)) && !stays.contains(mac(3)));
    }

    #[test]
    fn everything_of_one_family_and_more_than_fit() {
        let moving = Moving::new();
        assert_eq!(moving.set(&nets(&["0.0.0.0/0"])), 0);
        assert!(moving.contains(ip("8.8.8.8")) && !moving.contains(ip("2001:db8::1")));
        assert_eq!(moving.set(&nets(&["::/0"])), 0);
        assert!(moving.contains(ip("2001:db8::1")));
        let many: Vec<Net> = (0..=261u16)
            .map(|n| Net::host(IpAddr::from([198, 51, if n < 256 { 100 } else { 101 }, n as u8])))
            .collect();
        assert_eq!(moving.set(&many), 6, "the last six are not there");
        assert!(moving.contains(ip("198.51.100.255")) && !moving.contains(ip("198.51.101.0")));
        assert_eq!(moving.changes(), 3);
    }
}
