//! Who owns many networks of IPv6: a customer's line has a /56 or a /48 and attacks from another /64 each time, a provider has a /32.
//!
//! Without a bound one of them fills the set of /64, and who comes later is not blocked. So where many /64 of one network are blocked at the
//! same time, the network is blocked in their place; and of a /32 no more than a share of the set is blocked by parts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slips_core::addr::Net;

use crate::{Policy, Protected};

/// The /64 and wider networks of IPv6 that are blocked, each until some time.
///
/// Only those belong here whose senders are proven: with forged ones anybody could have a stranger's network blocked.
#[derive(Debug, Clone)]
pub struct Crowd {
    ends: BTreeMap<Net, Duration>,
    by_end: BTreeSet<(Duration, Net)>,
    /// Of each /32, what is blocked of it, by its end.
    parts: BTreeMap<Net, BTreeSet<(Duration, Net)>>,
    share: usize,
}

/// What is blocked in place of a /64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Widened {
    /// The wider network.
    pub net: Net,
    /// What is blocked of it already, and no longer needs its own entry.
    pub instead_of: Vec<Net>,
    /// The last end of those: the wider block must not be shorter.
    pub until: Duration,
}

impl Crowd {
    /// Nobody is blocked, and the set takes so many /64.
    pub fn new(room: usize) -> Self {
        Self {
            ends: BTreeMap::new(),
            by_end: BTreeSet::new(),
            parts: BTreeMap::new(),
            share: (room / SHARE).max(1),
        }
    }

    /// Nobody is blocked any more.
    pub fn clear(&mut self) {
        *self = Self { share: self.share, ..Self::new(0) };
    }

    /// This is blocked until then. What is neither a /64 nor a wider network of IPv6 is of no interest here.
    pub fn put(&mut self, net: Net, until: Duration) {
        let Some(owner) = owner(net) else { return };
        self.remove(net);
        self.ends.insert(net, until);
        self.by_end.insert((until, net));
        self.parts.entry(owner).or_default().insert((until, net));
    }

    /// This is not blocked any more.
    pub fn remove(&mut self, net: Net) {
        let (Some(end), Some(owner)) = (self.ends.remove(&net), owner(net)) else { return };
        self.by_end.remove(&(end, net));
        if let Some(parts) = self.parts.get_mut(&owner) {
            parts.remove(&(end, net));
            if parts.is_empty() {
                self.parts.remove(&owner);
            }
        }
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now: Duration) {
        while let Some((_, net)) = self.by_end.first().copied().filter(|(end, _)| *end <= now) {
            self.remove(net);
        }
    }

    /// This is let in. What was blocked as a whole and holds it is forgotten with all in it: its other /64 do not make it crowded again.
    pub fn let_in(&mut self, net: Net) {
        let wider = (PROVIDER..net.prefix()).filter_map(|prefix| Net::new(net.addr(), prefix));
        let whole =
            wider.filter(|_| net.addr().is_ipv6()).find(|wide| self.ends.contains_key(wide)).unwrap_or(net);
        let inside = self.ends.range(whole..).take_while(|(held, _)| whole.contains(held.addr()));
        let gone: Vec<Net> = inside.map(|(held, _)| *held).collect();
        gone.into_iter().for_each(|net| self.remove(net));
    }

    /// The wider network that is blocked as a whole and holds this /64, if there is one.
    pub fn around(&self, net: Net) -> Option<Net> {
        let wider = CROWDED.into_iter().filter_map(|(prefix, _)| Net::new(net.addr(), prefix));
        wider.filter(|_| net.prefix() == SUBNET).find(|wide| self.ends.contains_key(wide))
    }

    /// The widest network that is to be blocked in place of this /64, if so much of one is blocked already: its /48 with 64 of its /64, else
    /// its /56 with 16. A /56 counts as 16. Never one that is ours, holds somebody protected, or is wider than the policy allows.
    pub fn widened(&self, policy: &Policy, protected: &Protected, net: Net) -> Option<Widened> {
        if net.prefix() != SUBNET || self.ends.contains_key(&net) {
            return None;
        }
        CROWDED.into_iter().find_map(|(prefix, enough)| {
            let wide = Net::new(net.addr(), prefix).filter(|wide| wide.addr().is_ipv6())?;
            let allowed =
                policy.widest_v6 <= prefix && !protected.is_local(wide) && protected.check(wide).is_none();
            let inside = self.inside(wide);
            let blocked: usize = inside.iter().map(|(net, _)| weight(*net)).sum();
            // The one that is to be blocked counts too.
            (allowed && blocked + 1 >= enough).then(|| Widened {
                net: wide,
                until: inside.iter().map(|(_, end)| *end).max().unwrap_or_default(),
                instead_of: inside.into_iter().map(|(net, _)| net).collect(),
            })
        })
    }

    /// What makes room for one more of the same /32: nothing, or where that has its share of the set, an eighth, what of it ends first.
    pub fn makes_room(&self, net: Net) -> Option<Net> {
        if self.ends.contains_key(&net) {
            return None;
        }
        let parts = self.parts.get(&owner(net)?).filter(|parts| parts.len() >= self.share)?;
        parts.first().map(|(_, net)| *net)
    }

    /// How many are blocked.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What is blocked of a network: no more than makes it crowded, since then it is blocked as a whole, unless it must not be.
    fn inside(&self, wide: Net) -> Vec<(Net, Duration)> {
        let inside = self.ends.range(wide..).take_while(|(net, _)| wide.contains(net.addr()));
        let inside = inside.filter(|(net, _)| net.prefix() > wide.prefix());
        inside.take(LOOKED_AT).map(|(net, end)| (*net, *end)).collect()
    }
}

/// The /32 that a provider has, of a /64 or a wider network.
fn owner(net: Net) -> Option<Net> {
    Net::new(net.addr(), PROVIDER)
        .filter(|_| net.addr().is_ipv6() && (PROVIDER..=SUBNET).contains(&net.prefix()))
}

/// How many /64 a blocked network counts for.
const fn weight(net: Net) -> usize {
    if net.prefix() <= 56 { 16 } else { 1 }
}

/// What one network of a customer's line is: RFC 4291, 2.5.4.
const SUBNET: u8 = 64;
/// What a provider gets at least: RIPE-738, 5.1.
const PROVIDER: u8 = 32;
/// How many /64 make a network crowded. Customers get a /48 or a /56 (RFC 6177): 16 of 256 /64 are no accident on a line, and 64 of a /48 would
/// be four such lines that attack at once.
const CROWDED: [(u8, usize); 2] = [(48, 64), (56, 16)];
/// More than make a network crowded are there only where it must not be blocked as a whole.
const LOOKED_AT: usize = 256;
/// Of a set, one /32 gets this part: so eight providers may attack from everywhere, and there is room for others.
const SHARE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Why;

    /// What a set of so many holds after an attacker has been blocked once from each of these, and how many went to make room.
    fn blocked(crowd: &mut Crowd, protected: &Protected, nets: impl Iterator<Item = Net>) -> usize {
        let mut evicted = 0;
        for (second, net) in (1000..).zip(nets) {
            let until = Duration::from_secs(second);
            let covered =
                (48..64).any(|prefix| crowd.ends.contains_key(&Net::new(net.addr(), prefix).expect("net")));
            if covered {
                continue;
            }
            let (net, until) = match crowd.widened(&Policy::default(), protected, net) {
                Some(widened) => {
                    widened.instead_of.iter().for_each(|net| crowd.remove(*net));
                    (widened.net, until.max(widened.until))
                }
                None => (net, until),
            };
            if let Some(oldest) = crowd.makes_room(net) {
                crowd.remove(oldest);
                evicted += 1;
            }
            crowd.put(net, until);
        }
        evicted
    }

    fn subnets(first: &str, step: u32, count: u128) -> impl Iterator<Item = Net> {
        let std::net::IpAddr::V6(first) = first.parse().expect(first) else { panic!("{first}") };
        (0..count).map(move |n| {
            Net::new(std::net::Ipv6Addr::from_bits(first.to_bits() + (n << step)).into(), 64).expect("net")
        })
    }

    fn listed(crowd: &Crowd) -> Vec<String> {
        crowd.ends.keys().map(Net::to_string).collect()
    }

    #[test]
    fn a_line_with_many_subnets_is_blocked_as_a_whole() {
        let protected = Protected::classes();
        let mut crowd = Crowd::new(65_536);
        blocked(&mut crowd, &protected, subnets("2001:db8:7::", 64, 15));
        assert_eq!(crowd.len(), 15);
        blocked(&mut crowd, &protected, subnets("2001:db8:7:f::", 64, 1));
        assert_eq!(listed(&crowd), ["2001:db8:7::/56"], "the sixteenth");
        blocked(&mut crowd, &protected, subnets("2001:db8:7::", 64, 65_536));
        assert_eq!(listed(&crowd), ["2001:db8:7::/48"], "all of the /48, one after another");
        let mut crowd = Crowd::new(65_536);
        blocked(&mut crowd, &protected, subnets("2001:db8:7::", 72, 63));
        assert_eq!(crowd.len(), 63, "one in each /56");
        blocked(&mut crowd, &protected, subnets("2001:db8:7:ff00::", 72, 1));
        assert_eq!(listed(&crowd), ["2001:db8:7::/48"]);
    }

    #[test]
    fn a_wider_block_is_no_shorter_than_what_it_replaces() {
        let mut crowd = Crowd::new(65_536);
        for (end, net) in (0..).zip(subnets("2001:db8:7::", 64, 15)) {
            crowd.put(net, Duration::from_secs(100 - end));
        }
        let last = subnets("2001:db8:7:f::", 64, 1).next().expect("net");
        let widened = crowd.widened(&Policy::default(), &Protected::classes(), last).expect("widened");
        assert_eq!((widened.until, widened.instead_of.len()), (Duration::from_secs(100), 15));
        let narrow = Policy { widest_v6: 64, ..Policy::default() };
        assert_eq!(crowd.widened(&narrow, &Protected::classes(), last), None, "the administrator's limit");
    }

    #[test]
    fn nobody_protected_and_nothing_of_ours_is_blocked_with_its_neighbours() {
        let mut guarded = Protected::classes();
        guarded.add_host("2001:db8:7:ff00::53".parse().expect("ip"), Why::Resolver);
        let mut local = Protected::classes();
        local.add_local("2001:db8:7:1::/64".parse().expect("net"));
        for (protected, expected) in [(guarded, "2001:db8:7::/56"), (local, "2001:db8:7::/64")] {
            let mut crowd = Crowd::new(65_536);
            blocked(&mut crowd, &protected, subnets("2001:db8:7::", 64, 3_000));
            assert_eq!(listed(&crowd).first().map(String::as_str), Some(expected));
            assert!(crowd.ends.keys().all(|net| net.prefix() >= 56), "not the /48");
        }
    }

    #[test]
    fn of_a_provider_no_more_than_its_share_is_blocked_by_parts() {
        let protected = Protected::classes();
        let mut crowd = Crowd::new(800);
        blocked(&mut crowd, &protected, subnets("2001:db9::", 80, 10));
        // A /64 of each /48, more than the share: the first to end goes.
        let evicted = blocked(&mut crowd, &protected, subnets("2001:db8::", 80, 1_000));
        assert_eq!((crowd.len(), evicted), (110, 900));
        assert!(crowd.ends.contains_key(&subnets("2001:db8:3e7::", 64, 1).next().expect("net")), "the last");
        assert_eq!(crowd.parts.len(), 2);
        let again = subnets("2001:db8:3e7::", 64, 1).next().expect("net");
        assert_eq!(crowd.makes_room(again), None, "who is blocked needs no room");
        for net in crowd.ends.keys().copied().collect::<Vec<_>>() {
            crowd.remove(net);
        }
        assert!(crowd.is_empty() && crowd.parts.is_empty());
    }

    #[test]
    fn other_networks_are_of_no_interest() {
        let mut crowd = Crowd::new(100);
        for net in ["192.0.2.7", "192.0.2.0/24", "2001:db8::7", "2001:d00::/24", "2001:db8::/65"] {
            let net = net.parse().expect(net);
            crowd.put(net, Duration::from_secs(1));
            assert_eq!(crowd.widened(&Policy::default(), &Protected::classes(), net), None);
            assert_eq!(crowd.makes_room(net), None);
        }
        assert!(crowd.is_empty());
    }
}
