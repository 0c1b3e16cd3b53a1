//! Who is never blocked, whoever asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slips_core::addr::Net;
use slips_core::flow::MacAddr;

/// The networks that are never blocked, each with its reason, and the networks that we are part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    nets: BTreeMap<Net, Why>,
    /// The lengths of their prefixes, those of IPv6 after those of IPv4.
    lengths: BTreeSet<(bool, u8)>,
    local: Vec<Net>,
}

/// Why a network is never blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The address of nobody, `0.0.0.0/8` or `::`.
    Unspecified,
    /// This host talking to itself.
    Loopback,
    /// Addresses of one link: routers and neighbours are found by them.
    LinkLocal,
    /// Addresses of groups.
    Multicast,
    /// All hosts of a network.
    Broadcast,
    /// An address of this host.
    Own,
    /// A router that we send through.
    Gateway,
    /// A name server that this host is told to use.
    Resolver,
    /// Who gave this host its address, or a server that came with it.
    Dhcp,
    /// A server that tells this host the time.
    Time,
    /// The other end of a connection that may be a remote login.
    Connection,
    /// From where somebody logged in to this host lately.
    Login,
    /// The other end of a remote login to this host.
    Session,
    /// A peer, where the administrator says that it is reached.
    Peer,
    /// Named by the administrator.
    Listed,
    /// Left alone by the administrator's whitelist.
    Whitelisted,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified address",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Own => "an address of this host",
            Self::Gateway => "a gateway of this host",
            Self::Resolver => "a name server of this host",
            Self::Dhcp => "a server of this host's address lease",
            Self::Time => "a time server of this host",
            Self::Connection => "a connection that may be a remote login to this host",
            Self::Login => "a recent login to this host",
            Self::Session => "a remote login to this host",
            Self::Peer => "an address of a peer",
            Self::Listed => "on the allow list",
            Self::Whitelisted => "on the whitelist",
        })
    }
}

impl Protected {
    /// What is protected on every host: the address classes that never mean one outside host.
    pub fn classes() -> Self {
        let v4 = |a, b, prefix, why| (Net::new(IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), prefix), why);
        let v6 = |first, prefix, why| {
            (Net::new(IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0)), prefix), why)
        };
        let classes = [
            v4(0, 0, 8, Why::Unspecified),
            v4(127, 0, 8, Why::Loopback),
            v4(169, 254, 16, Why::LinkLocal),
            v4(224, 0, 4, Why::Multicast),
            (Some(Net::host(Ipv4Addr::BROADCAST.into())), Why::Broadcast),
            (Some(Net::host(Ipv6Addr::UNSPECIFIED.into())), Why::Unspecified),
            (Some(Net::host(Ipv6Addr::LOCALHOST.into())), Why::Loopback),
            v6(0xfe80, 10, Why::LinkLocal),
            v6(0xff00, 8, Why::Multicast),
        ];
        let mut this = Self { nets: BTreeMap::new(), lengths: BTreeSet::new(), local: Vec::new() };
        for (net, why) in classes {
            if let Some(net) = net {
                this.add(net, why);
            }
        }
        this
    }

    /// Protects one more network. Of two reasons for the same network the first stays.
    pub fn add(&mut self, net: Net, why: Why) {
        let net = net.plain();
        self.lengths.insert((net.addr().is_ipv6(), net.prefix()));
        self.nets.entry(net).or_insert(why);
    }

    /// Protects one more address.
    pub fn add_host(&mut self, addr: IpAddr, why: Why) {
        self.add(Net::host(addr), why);
    }

    /// Notes a network that an interface of ours is part of. Its hosts are not protected by that, but each is judged alone: its
    /// IPv6 neighbours share the 64 bits.
    pub fn add_local(&mut self, net: Net) {
        if !self.local.contains(&net) {
            self.local.push(net);
        }
    }

    /// The protected network that shares an address with `net`, the most telling first: an own address before a class.
    pub fn check(&self, net: Net) -> Option<(Net, Why)> {
        let net = net.plain();
        // Those in it lie behind one another in the order of addresses; of those around it there is one of each length at most. An allow
        // list may be long, and a million blocks are each compared with it.
        let inside = self.nets.range(net..).take_while(|(held, _)| net.contains(held.addr()));
        let shorter = self.lengths.range((net.addr().is_ipv6(), 0)..(net.addr().is_ipv6(), net.prefix()));
        let around = shorter.filter_map(|(_, prefix)| Net::new(net.addr(), *prefix));
        let around = around.filter_map(|net| self.nets.get_key_value(&net));
        let hits = inside.chain(around);
        hits.max_by_key(|(held, why)| (held.prefix(), **why)).map(|(held, why)| (*held, *why))
    }

    /// Whether `net` shares an address with a network that we are part of.
    pub fn is_local(&self, net: Net) -> bool {
        self.local.iter().any(|held| held.overlaps(net))
    }

    /// The networks that we are part of.
    pub fn local(&self) -> &[Net] {
        &self.local
    }

    /// Whether exactly this network is named.
    pub fn names(&self, net: Net) -> bool {
        self.nets.contains_key(&net.plain())
    }

    /// All protected networks with their reasons.
    pub fn iter(&self) -> impl Iterator<Item = (Net, Why)> {
        self.nets.iter().map(|(net, why)| (*net, *why))
    }
}

impl Default for Protected {
    fn default() -> Self {
        Self::classes()
    }
}

/// The hardware address by which a host of our own networks may be blocked: nobody who is protected has it too, and not so many others that
/// it is a router's or a repeater's rather than one machine's.
pub(crate) fn machine_of(
    net: Net,
    near: &BTreeSet<(IpAddr, MacAddr)>,
    protected: &Protected,
) -> Option<MacAddr> {
    if near.is_empty() || net != Net::host(net.addr()) || !protected.is_local(net) {
        return None;
    }
    let mut heard = near.iter().filter(|(addr, _)| *addr == net.addr()).map(|(_, mac)| *mac);
    // Heard of with two: somebody claims another's address.
    let mac = heard.next().filter(|_| heard.next().is_none())?;
    let others = || near.iter().filter(|(_, other)| *other == mac).map(|(addr, _)| *addr);
    let guarded =
        |addr: IpAddr| protected.check(Net::host(addr)).is_some_and(|(_, why)| why != Why::LinkLocal);
    let many = others().filter(IpAddr::is_ipv4).count() > ONE_MACHINE;
    (!many && !others().any(guarded)).then_some(mac)
}

/// More IPv4 addresses than one machine has.
const ONE_MACHINE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_where_it_is_one_and_nobody_elses() {
        let mut protected = Protected::classes();
        protected.add_local("10.0.0.0/24".parse().expect("net"));
        protected.add_local("2001:db8::/64".parse().expect("net"));
        protected.add_host("10.0.0.254".parse().expect("ip"), Why::Gateway);
        let near: BTreeSet<(IpAddr, MacAddr)> = [
            ("10.0.0.7", 7),
            ("2001:db8::7", 7),
            ("fe80::7", 7),
            ("10.0.0.254", 9),
            ("10.0.0.9", 9),
            ("10.0.0.11", 1),
            ("10.0.0.12", 1),
            ("10.0.0.13", 1),
            ("10.0.0.14", 1),
            ("10.0.0.20", 2),
            ("10.0.0.20", 3),
            ("198.51.100.7", 4),
        ]
        .map(|(addr, last)| (addr.parse().expect(addr), MacAddr([2, 0, 0, 0, 0, last])))
        .into();
        for (net, expected) in [
            ("10.0.0.7", Some(7)),
            ("2001:db8::7", Some(7)),
            ("10.0.0.9", None),
            ("10.0.0.11", None),
            ("10.0.0.20", None),
            ("10.0.0.30", None),
            ("10.0.0.0/24", None),
            ("198.51.100.7", None),
        ] {
            let found = machine_of(net.parse().expect(net), &near, &protected);
            assert_eq!(found.map(|mac| mac.0[5]), expected, "{net}");
        }
    }

    #[test]
    fn the_protected_are_found_as_by_looking_at_each() {
        let mut state = 1u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        let mut net = || {
            let prefix = 24 + below(9) as u8;
            let v4 = Ipv4Addr::from_bits(0x0a00_0000 + below(1024) as u32);
            let v6 = Ipv6Addr::from_bits((0x2001_0db8_0000_0000 + u128::from(below(1024))) << 64);
            match below(3) {
                0 => Net::new(v4.into(), prefix),
                1 => Net::new(v6.into(), 56 + prefix % 9),
                _ => Net::new(v6.into(), 128),
            }
            .expect("net")
        };
        for _ in 0..200 {
            let mut protected = Protected::classes();
            for why in [Why::Own, Why::Gateway, Why::Listed, Why::Session] {
                (0..3).for_each(|_| protected.add(net(), why));
            }
            for _ in 0..50 {
                let asked = net();
                let all = protected.nets.iter().filter(|(held, _)| held.overlaps(asked));
                let naive =
                    all.max_by_key(|(held, why)| (held.prefix(), **why)).map(|(held, why)| (*held, *why));
                assert_eq!(
                    protected.check(asked).map(|(held, why)| (held.prefix(), why)),
                    naive.map(|(held, why)| (held.prefix(), why))
                );
            }
        }
    }

    #[test]
    fn the_protected_are_found_by_any_overlap() {
        let mut protected = Protected::classes();
        protected.add_host("192.168.1.1".parse().expect("ip"), Why::Own);
        protected.add_host("192.168.1.254".parse().expect("ip"), Why::Gateway);
        protected.add_host("2001:db8::1".parse().expect("ip"), Why::Own);
        protected.add("198.51.100.0/24".parse().expect("net"), Why::Listed);
        for (net, why) in [
            ("192.168.1.1", Some(Why::Own)),
            ("192.168.1.254", Some(Why::Gateway)),
            ("192.168.1.2", None),
            ("192.168.1.0/24", Some(Why::Gateway)),
            ("192.168.2.0/24", None),
            ("::ffff:192.168.1.1", Some(Why::Own)),
            ("::ffff:192.168.1.0/120", Some(Why::Gateway)),
            ("2001:db8::/64", Some(Why::Own)),
            ("2001:db8:0:1::/64", None),
            ("198.51.100.77", Some(Why::Listed)),
            ("198.51.0.0/16", Some(Why::Listed)),
            ("127.0.0.53", Some(Why::Loopback)),
            ("0.0.0.0/0", Some(Why::Gateway)),
            ("::/0", Some(Why::Own)),
            ("::", Some(Why::Unspecified)),
            ("::1", Some(Why::Loopback)),
            ("fe80::1", Some(Why::LinkLocal)),
            ("ff02::1", Some(Why::Multicast)),
            ("169.254.169.254", Some(Why::LinkLocal)),
            ("239.255.255.250", Some(Why::Multicast)),
            ("255.255.255.255", Some(Why::Broadcast)),
            ("8.8.8.8", None),
        ] {
            let net: Net = net.parse().expect(net);
            assert_eq!(protected.check(net).map(|(_, why)| why), why, "{net}");
        }
    }
}
