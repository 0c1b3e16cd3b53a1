//! Who owns many networks of IPv6: a customer's line has a /56 or a /48 and attacks from another /64 each time, a provider has a /32.
//!
//! Without a bound one of them fills the set of /64, and who comes later is not blocked. So of a /32 no more than a share of the set is
//! blocked. And where that is wanted, a /56 of which many /64 are blocked at the same time is blocked as a whole; it is not by default, since
//! some providers give each customer one /64, and then strangers are kept out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slips_core::addr::Net;

use crate::{Policy, Protected};

/// The /64 and /56 of IPv6 that are blocked after alerts, each until some time.
///
/// Only those belong here whose senders are proven: with forged ones anybody could have a stranger's network blocked.
#[derive(Debug, Clone)]
pub struct Crowd {
    subnets: BTreeMap<Net, Duration>,
    /// The /56 that are blocked as a whole, or were until some of them was let in.
    lines: BTreeMap<Net, Line>,
    by_end: BTreeSet<(Duration, Net)>,
    /// Of each /32, its /64 by their end.
    parts: BTreeMap<Net, BTreeSet<(Duration, Net)>>,
    share: usize,
}

/// A blocked /56.
#[derive(Debug, Clone, Copy)]
struct Line {
    end: Duration,
    /// A part of it was let in, by somebody who knows that not all of it is one owner's.
    cut: bool,
}

/// What is to happen to the /64 of one /32 together with one more.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pending {
    /// So many others are to be blocked.
    pub coming: usize,
    /// So many are to be let in, those that end first.
    pub leaving: usize,
}

impl Crowd {
    /// Nobody is blocked, and the set takes so many /64.
    pub fn new(room: usize) -> Self {
        Self {
            subnets: BTreeMap::new(),
            lines: BTreeMap::new(),
            by_end: BTreeSet::new(),
            parts: BTreeMap::new(),
            share: (room / SHARE).max(1),
        }
    }

    /// Nobody is blocked any more.
    pub fn clear(&mut self) {
        *self = Self { share: self.share, ..Self::new(0) };
    }

    /// This is blocked until then. What is no /64, no /56 and no piece of one is of no interest here.
    pub fn put(&mut self, net: Net, until: Duration) {
        match (provider(net), line(net)) {
            (Some(provider), _) if net.prefix() == SUBNET => {
                self.remove_subnet(net);
                self.subnets.insert(net, until);
                self.by_end.insert((until, net));
                self.parts.entry(provider).or_default().insert((until, net));
            }
            (Some(_), Some(whole)) => {
                // A piece is what letting in has left.
                let cut = net != whole;
                let end = self.remove_line(whole).filter(|_| cut).map_or(until, |held| held.end.max(until));
                self.lines.insert(whole, Line { end, cut });
                self.by_end.insert((end, whole));
            }
            _ => {}
        }
    }

    /// This is let in, and so it is out of a wider one, as in the kernel.
    pub fn let_in(&mut self, net: Net) {
        self.remove_subnet(net);
        let Some(whole) = line(net) else {
            let inside = self.lines.range(net..).take_while(|(held, _)| net.contains(held.addr()));
            let gone: Vec<Net> = inside.map(|(held, _)| *held).collect();
            for whole in gone {
                self.remove_line(whole);
            }
            return;
        };
        if net == whole {
            self.remove_line(whole);
        } else if let Some(held) = self.lines.get_mut(&whole) {
            held.cut = true;
        }
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now: Duration) {
        while let Some((_, net)) = self.by_end.first().copied().filter(|(end, _)| *end <= now) {
            self.remove_subnet(net);
            self.remove_line(net);
        }
    }

    /// The /56 that is to be blocked together with this /64, if it is already, or if 16 of its /64 are with this one and those that come
    /// together with it. Never one that is ours, holds somebody protected, is wider than the policy allows, or of which a part was let in.
    pub fn widened(
        &self,
        policy: &Policy,
        protected: &Protected,
        net: Net,
        coming: &BTreeSet<Net>,
    ) -> Option<Net> {
        let whole = line(net).filter(|_| net.prefix() == SUBNET && policy.widest_v6 <= LINE)?;
        if protected.is_local(whole) || protected.check(whole).is_some() {
            return None;
        }
        match self.lines.get(&whole) {
            Some(held) => return (!held.cut).then_some(whole),
            None if self.lines_of(whole) >= LINES => return None,
            None => {}
        }
        let inside = |held: &Net| whole.contains(held.addr());
        let blocked = self.subnets.range(whole..).map(|(held, _)| *held).take_while(inside);
        let coming = coming.range(whole..).copied().take_while(inside);
        let coming = coming.filter(|held| held.prefix() == SUBNET && !self.subnets.contains_key(held));
        let others = blocked.chain(coming).filter(|held| *held != net).take(CROWDED).count();
        (others + 1 >= CROWDED).then_some(whole)
    }

    /// What makes room for one more of the same /32: nothing, or where that has its share of the set, an eighth, what of it ends first.
    /// `Err` when all that could is among what comes.
    pub fn makes_room(&self, net: Net, pending: Pending) -> Result<Option<Net>, Crowded> {
        let Some(provider) = provider(net).filter(|_| net.prefix() == SUBNET) else { return Ok(None) };
        let parts = self.parts.get(&provider);
        let stand = parts.map_or(0, BTreeSet::len);
        if self.subnets.contains_key(&net) || stand + pending.coming < self.share + pending.leaving {
            return Ok(None);
        }
        let first = parts.and_then(|parts| parts.iter().nth(pending.leaving));
        first.map(|(_, net)| Some(*net)).ok_or(Crowded)
    }

    /// How many /64 are blocked.
    pub fn len(&self) -> usize {
        self.subnets.len()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.subnets.is_empty()
    }

    fn remove_subnet(&mut self, net: Net) {
        let (Some(end), Some(provider)) = (self.subnets.remove(&net), provider(net)) else { return };
        self.by_end.remove(&(end, net));
        if let Some(parts) = self.parts.get_mut(&provider) {
            parts.remove(&(end, net));
            if parts.is_empty() {
                self.parts.remove(&provider);
            }
        }
    }

    fn remove_line(&mut self, whole: Net) -> Option<Line> {
        let held = self.lines.remove(&whole)?;
        self.by_end.remove(&(held.end, whole));
        Some(held)
    }

    /// How many /56 are blocked of the /32 of this one.
    fn lines_of(&self, net: Net) -> usize {
        let Some(provider) = provider(net) else { return 0 };
        let lines = self.lines.range(provider..).take_while(|(held, _)| provider.contains(held.addr()));
        lines.take(LINES).count()
    }
}

/// There is no room, and who is blocked already cannot make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

/// The /32 that a provider has, of a network of IPv6.
pub fn provider(net: Net) -> Option<Net> {
    Net::new(net.addr(), PROVIDER)
        .filter(|_| net.addr().is_ipv6() && (PROVIDER..=SUBNET).contains(&net.prefix()))
}

/// The /56 that a customer may have, of a part of it.
fn line(net: Net) -> Option<Net> {
    Net::new(net.addr(), LINE).filter(|_| net.addr().is_ipv6() && net.prefix() >= LINE)
}

/// What one network of a customer's line is: RFC 4291, 2.5.4.
const SUBNET: u8 = 64;
/// What a customer gets at least where he gets more than one network: RFC 6177, RIPE-690.
const LINE: u8 = 56;
/// What a provider gets at least: RIPE-738, 5.1.
const PROVIDER: u8 = 32;
/// How many /64 make a /56 crowded: 16 of 256 that attack at the same time are no accident on a line.
const CROWDED: usize = 16;
/// Of a set, one /32 gets this part: so eight providers may attack from everywhere, and there is room for others.
const SHARE: usize = 8;
/// So many /56 of one /32 are blocked as a whole, an eighth of the set of networks.
const LINES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Why;

    /// What is blocked after an attacker has been once in each of these, with `/56` as one, and how many went to make room.
    fn blocked(crowd: &mut Crowd, protected: &Protected, nets: impl Iterator<Item = Net>) -> usize {
        let mut evicted = 0;
        for (second, net) in (1000..).zip(nets) {
            let until = Duration::from_secs(second);
            let wide = crowd.widened(&Policy::default(), protected, net, &BTreeSet::new());
            if let Some(oldest) = crowd.makes_room(net, Pending::default()).expect("room") {
                crowd.let_in(oldest);
                evicted += 1;
            }
            crowd.put(net, until);
            if let Some(wide) = wide {
                crowd.put(wide, until);
            }
        }
        evicted
    }

    fn subnets(first: &str, step: u32, count: u128) -> impl Iterator<Item = Net> {
        let std::net::IpAddr::V6(first) = first.parse().expect(first) else { panic!("{first}") };
        (0..count).map(move |n| {
            Net::new(std::net::Ipv6Addr::from_bits(first.to_bits() + (n << step)).into(), 64).expect("net")
        })
    }

    fn net(text: &str) -> Net {
        text.parse().expect(text)
    }

    fn lines(crowd: &Crowd) -> Vec<String> {
        crowd.lines.iter().filter(|(_, line)| !line.cut).map(|(net, _)| net.to_string()).collect()
    }

    fn wider(crowd: &Crowd, protected: &Protected, net: &str) -> Option<String> {
        let net = net.parse().expect(net);
        let wide = crowd.widened(&Policy::default(), protected, net, &BTreeSet::new());
        wide.map(|net| net.to_string())
    }

    #[test]
    fn a_line_with_many_subnets_is_blocked_as_a_whole_and_nothing_wider() {
        let protected = Protected::classes();
        let mut crowd = Crowd::new(65_536);
        blocked(&mut crowd, &protected, subnets("2001:db8:7::", 64, 15));
        assert!(lines(&crowd).is_empty());
        blocked(&mut crowd, &protected, subnets("2001:db8:7:f::", 64, 1));
        assert_eq!((lines(&crowd), crowd.len()), (vec!["2001:db8:7::/56".to_owned()], 16));
        assert_eq!(wider(&crowd, &protected, "2001:db8:7:77::/64").as_deref(), Some("2001:db8:7::/56"));
        assert_eq!(wider(&crowd, &protected, "2001:db8:7:100::/64"), None, "the next line");
        blocked(&mut crowd, &protected, subnets("2001:db8:7::", 64, 4096));
        assert!(lines(&crowd).iter().all(|line| line.ends_with("/56")), "never a /48");
        let narrow = Policy { widest_v6: 64, ..Policy::default() };
        let known = net("2001:db8:7:3::/64");
        assert_eq!(crowd.widened(&narrow, &protected, known, &BTreeSet::new()), None);
    }

    #[test]
    fn those_that_come_together_count_once_each() {
        let protected = Protected::classes();
        let mut crowd = Crowd::new(65_536);
        blocked(&mut crowd, &protected, subnets("2001:db8:7::", 64, 10));
        let mut coming: BTreeSet<Net> = subnets("2001:db8:7:5::", 64, 10).collect();
        let one = net("2001:db8:7:4::/64");
        assert_eq!(crowd.widened(&Policy::default(), &protected, one, &coming), None, "fifteen");
        coming.insert(net("2001:db8:7:20::7"));
        coming.insert(net("2001:db8:8::/64"));
        assert_eq!(crowd.widened(&Policy::default(), &protected, one, &coming), None, "not of it");
        let other = net("2001:db8:7:20::/64");
        assert_eq!(crowd.widened(&Policy::default(), &protected, other, &coming), line(other));
    }

    #[test]
    fn nobody_protected_and_nothing_of_ours_is_blocked_with_its_neighbours() {
        let mut guarded = Protected::classes();
        guarded.add_host("2001:db8:7:f0::53".parse().expect("ip"), Why::Resolver);
        let mut local = Protected::classes();
        local.add_local(net("2001:db8:7:1::/64"));
        for protected in [guarded, local] {
            let mut crowd = Crowd::new(65_536);
            blocked(&mut crowd, &protected, subnets("2001:db8:7:2::", 64, 200));
            assert!(lines(&crowd).is_empty());
            assert_eq!(wider(&crowd, &protected, "2001:db8:7:fe::/64"), None);
        }
    }

    #[test]
    fn of_what_somebody_let_in_a_part_nothing_is_blocked_as_a_whole_until_it_is_over() {
        let protected = Protected::classes();
        let mut crowd = Crowd::new(65_536);
        blocked(&mut crowd, &protected, subnets("2001:db8:7::", 64, 16));
        crowd.let_in(net("2001:db8:7:3::66"));
        crowd.let_in(net("2001:db8:7:3::/64"));
        assert_eq!((crowd.len(), wider(&crowd, &protected, "2001:db8:7:4::/64")), (15, None));
        // What is left of it, as it is told to the kernel again.
        crowd.clear();
        subnets("2001:db8:7:10::", 64, 20).for_each(|net| crowd.put(net, Duration::from_secs(2000)));
        crowd.put(net("2001:db8:7:80::/57"), Duration::from_secs(1000));
        assert_eq!(wider(&crowd, &protected, "2001:db8:7:4::/64"), None);
        crowd.expire(Duration::from_secs(1000));
        assert_eq!(wider(&crowd, &protected, "2001:db8:7:4::/64").as_deref(), Some("2001:db8:7::/56"));
    }

    #[test]
    fn the_end_of_one_of_many_changes_nothing_about_the_others() {
        let protected = Protected::classes();
        let mut crowd = Crowd::new(65_536);
        blocked(&mut crowd, &protected, subnets("2001:db8:7::", 64, 16));
        // In one transaction, as the responder ends a block in a wider one that stays.
        crowd.let_in(net("2001:db8:7:3::/64"));
        crowd.put(net("2001:db8:7::/56"), Duration::from_secs(5000));
        assert_eq!((crowd.len(), lines(&crowd).len()), (15, 1));
        crowd.let_in(net("2001:db8:7::/56"));
        assert_eq!((crowd.len(), lines(&crowd).len()), (15, 0), "they have ends of their own");
        blocked(&mut crowd, &protected, subnets("2001:db8:7:3::", 64, 1));
        assert_eq!(lines(&crowd).len(), 1);
        crowd.let_in(net("2001:db8::/40"));
        assert_eq!((crowd.len(), crowd.lines.len()), (16, 0));
        crowd.expire(Duration::from_secs(5000));
        assert!(crowd.is_empty() && crowd.by_end.is_empty() && crowd.parts.is_empty());
    }

    #[test]
    fn of_a_provider_no_more_than_its_share_is_blocked() {
        let protected = Protected::classes();
        let mut crowd = Crowd::new(800);
        blocked(&mut crowd, &protected, subnets("2001:db9::", 80, 10));
        // A /64 of each /48, more than the share: the first to end goes.
        let evicted = blocked(&mut crowd, &protected, subnets("2001:db8::", 80, 1_000));
        assert_eq!((crowd.len(), evicted), (110, 900));
        let last = net("2001:db8:3e7::/64");
        assert!(crowd.subnets.contains_key(&last));
        assert_eq!(crowd.parts.len(), 2);
        assert_eq!(crowd.makes_room(last, Pending::default()), Ok(None), "who is blocked needs no room");
        // Of those that come together each needs another's.
        let next = net("2001:db8:ffff::/64");
        let going = |coming, leaving| crowd.makes_room(next, Pending { coming, leaving });
        let nth = |n: u128| Ok(subnets("2001:db8::", 80, 1_000).nth(900 + n as usize));
        assert_eq!((going(0, 0), going(1, 1), going(99, 99)), (nth(0), nth(1), nth(99)));
        assert_eq!((going(100, 100), going(0, 1)), (Err(Crowded), Ok(None)));
        let lines = (0..2000).map(|n: u32| format!("2001:dba:{:x}:{:x}00::/56", n / 256, n % 256));
        lines.for_each(|line| crowd.put(net(&line), Duration::from_secs(9)));
        subnets("2001:dba:ffff::", 64, 15).for_each(|net| crowd.put(net, Duration::from_secs(9)));
        assert_eq!(wider(&crowd, &protected, "2001:dba:ffff:f::/64"), None, "its share of networks");
    }

    #[test]
    fn other_networks_are_of_no_interest() {
        let mut crowd = Crowd::new(100);
        for net in ["192.0.2.7", "192.0.2.0/24", "2001:db8::7", "2001:d00::/24", "2001:db8::/65"] {
            let net = net.parse().expect(net);
            crowd.put(net, Duration::from_secs(1));
            let wide = crowd.widened(&Policy::default(), &Protected::classes(), net, &BTreeSet::new());
            assert_eq!(wide, None);
            assert_eq!(crowd.makes_room(net, Pending::default()), Ok(None));
        }
        assert!(crowd.is_empty() && crowd.lines.is_empty());
    }
}
