//! Who is blocked, for those who leave out what the blocked do: a snapshot that the responder makes only while somebody wants it.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slips_core::addr::Net;
use slips_core::hash::KeyedState;
use slips_core::intel::{Current, Reader};

/// The blocked networks at one moment.
#[derive(Debug, Default)]
pub struct Nets {
    nets: HashSet<Net, KeyedState>,
    /// Lengths of prefixes that are there: of IPv4 and of IPv6.
    lengths: [Vec<u8>; 2],
}

impl Nets {
    /// Of these networks.
    pub fn new(nets: impl Iterator<Item = Net>) -> Self {
        let nets: HashSet<Net, KeyedState> = nets.collect();
        let mut lengths = [Vec::new(), Vec::new()];
        for net in &nets {
            let [four, six] = &mut lengths;
            let known = if net.addr().is_ipv4() { four } else { six };
            if !known.contains(&net.prefix()) {
                known.push(net.prefix());
            }
        }
        Self { nets, lengths }
    }

    /// Whether the address is in one of them.
    pub fn contain(&self, addr: IpAddr) -> bool {
        let [four, six] = &self.lengths;
        let lengths = if addr.is_ipv4() { four } else { six };
        lengths.iter().any(|prefix| Net::new(addr, *prefix).is_some_and(|net| self.nets.contains(&net)))
    }
}

/// Where the snapshot is put and taken from. Clones are one place.
#[derive(Clone)]
pub struct Blocked {
    current: Current<Nets>,
    wanted: Arc<AtomicBool>,
}

impl Default for Blocked {
    fn default() -> Self {
        Self { current: Current::new(Arc::default()), wanted: Arc::default() }
    }
}

impl Blocked {
    /// Says whether anybody will look.
    pub fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Whether anybody looks.
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// These are blocked now.
    pub fn put(&self, nets: Nets) {
        self.current.replace(Arc::new(nets));
    }

    /// For one who looks.
    pub fn reader(&self) -> Reader<Nets> {
        self.current.reader()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_networks_of_any_length() {
        let nets: Vec<Net> = ["192.0.2.7/32", "198.51.100.0/24", "2001:db8:1:2::/64", "2001:db8::9/128"]
            .iter()
            .map(|text| text.parse().expect(text))
            .collect();
        let nets = Nets::new(nets.into_iter());
        for (addr, is) in [
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("198.51.100.200", true),
            ("198.51.101.1", false),
            ("2001:db8:1:2:3::4", true),
            ("2001:db8:1:3::4", false),
            ("2001:db8::9", true),
            ("2001:db8::8", false),
        ] {
            assert_eq!(nets.contain(addr.parse().expect(addr)), is, "{addr}");
        }
        assert!(!Nets::default().contain(IpAddr::from([192, 0, 2, 7])));
    }
}
