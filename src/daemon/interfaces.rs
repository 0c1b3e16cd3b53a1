//! Which interfaces are watched, and which networks are ours because they are on them: at the start, and as they come and go.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use slips_core::addr::{Net, canonical};
use slips_core::flow::MacAddr;
use slips_core::moving::Moving;
use slips_input::capture::Newcomers;

/// Interfaces that are watched when none is named; each costs a ring in memory.
const MAX_FOUND: usize = 16;

/// What is watched.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// These interfaces.
    pub names: Vec<String>,
    /// Found too, but too many.
    pub left_out: Vec<String>,
}

/// The networks that are ours by their interfaces, at this moment: detections look at them for each event, others ask for the list.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// For [`slips_core::addr::LocalNets`].
    pub moving: Arc<Moving>,
    list: Arc<Mutex<Vec<Net>>>,
}

impl Own {
    /// All of them.
    pub fn list(&self) -> Vec<Net> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, nets: Vec<Net>) {
        if nets != self.list() {
            let left_out = self.moving.set(&nets);
            if left_out > 0 {
                eprintln!("slips: {left_out} networks of this host too many to tell them from others");
            }
            *self.list.lock().unwrap_or_else(PoisonError::into_inner) = nets;
        }
    }
}

/// Follows addresses and interfaces as they come and go. Providers give another address or prefix every night; the line to them may come
/// long after us.
#[derive(Debug)]
pub struct Follower {
    /// As of the start, then with those that came.
    names: Vec<String>,
    /// Nobody named any: those that come are watched, too.
    finds: bool,
    own: Own,
    newcomers: Newcomers,
}

impl Follower {
    /// One that watches `names`, and finds more if nobody has `named` them.
    pub fn new(names: Vec<String>, named: bool, own: Own, newcomers: Newcomers) -> Self {
        let mut follower = Self { names, finds: !named, own, newcomers };
        follower.look();
        follower
    }

    /// Looks how it is now.
    pub fn look(&mut self) {
        if self.finds {
            self.meet(found(&addressed(), &with_default_route()).names);
        }
        self.own.moving.set_macs(&own_macs());
        self.own.set(own_nets(&self.names));
    }

    fn meet(&mut self, found: Vec<String>) {
        for name in found {
            if self.names.len() < MAX_FOUND && !self.names.contains(&name) {
                self.newcomers.add(&name);
                self.names.push(name);
            }
        }
    }
}

/// The interfaces named on the command line, else those of the configuration, else those that carry an address by which others
/// may be reached: a router must see its inside too.
/// There may be none yet.
pub fn choose(asked: &[String], configured: &[String]) -> Watched {
    for named in [asked, configured] {
        if !named.is_empty() {
            return Watched { names: named.to_vec(), left_out: Vec::new() };
        }
    }
    found(&addressed(), &with_default_route())
}

/// Hardware addresses of this host. What cannot be read is none: then the router is a host like others to the detections of the link.
fn own_macs() -> Vec<MacAddr> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let of = |entry: nix::ifaddrs::InterfaceAddress| entry.address?.as_link_addr()?.addr().map(MacAddr);
    let mut macs: Vec<MacAddr> = all.filter_map(of).filter(|mac| *mac != MacAddr::ZERO).collect();
    macs.sort_unstable();
    macs.dedup();
    macs
}

/// Names and addresses of the interfaces that are up, without loopback.
fn addressed() -> Vec<(String, IpAddr)> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let of = |entry: nix::ifaddrs::InterfaceAddress| {
        let usable = entry.flags.contains(InterfaceFlags::IFF_UP)
            && !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let addr = entry.address.as_ref().and_then(ip_of).filter(|_| usable)?;
        Some((entry.interface_name, addr))
    };
    all.filter_map(of).collect()
}

/// Those with a global or private address, the ways out first.
fn found(addressed: &[(String, IpAddr)], outside: &[String]) -> Watched {
    let of_one_link = |addr: &IpAddr| match addr {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback() || v6.is_unspecified(),
    };
    let names = addressed.iter().filter(|(_, addr)| !of_one_link(addr)).map(|(name, _)| name);
    let mut names: Vec<String> = names.chain(outside).cloned().collect();
    names.sort_unstable_by_key(|name| (!outside.contains(name), name.clone()));
    names.dedup();
    let left_out = names.split_off(names.len().min(MAX_FOUND));
    Watched { names, left_out }
}

fn with_default_route() -> Vec<String> {
    let v4 = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let mut found = default_routes(&v4, &v6);
    found.sort_unstable();
    found.dedup();
    found
}

/// Interface names of the default routes in the kernel's two tables.
fn default_routes(v4: &str, v6: &str) -> Vec<String> {
    let four = v4.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let (name, destination) = (columns.next()?, columns.next()?);
        let mask = columns.nth(5)?;
        (destination == "00000000" && mask == "00000000").then(|| name.to_owned())
    });
    let six = v6.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let (destination, prefix, name) = (columns.first()?, columns.get(1)?, columns.get(9)?);
        let is_default = destination.bytes().all(|b| b == b'0') && *prefix == "00" && *name != "lo";
        is_default.then(|| (*name).to_owned())
    });
    four.chain(six).collect()
}

/// The networks of the addresses on `interfaces`, without those that a default gateway is reached through when others are
/// watched too: behind a router's outside interface are strangers. Own addresses are always ours.
fn own_nets(interfaces: &[String]) -> Vec<Net> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let outside = with_default_route();
    let several = interfaces.iter().any(|name| !outside.contains(name));
    let mut nets = Vec::new();
    for entry in all {
        let Some(addr) = entry.address.as_ref().and_then(ip_of) else { continue };
        nets.push(Net::host(addr));
        if interfaces.contains(&entry.interface_name)
            && !(several && outside.contains(&entry.interface_name))
            && let Some(prefix) = entry.netmask.as_ref().and_then(ip_of).map(prefix_of)
            && let Some(net) = Net::new(addr, prefix)
        {
            nets.push(net);
        }
    }
    nets.sort_unstable();
    nets.dedup();
    nets
}

fn ip_of(addr: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    addr.as_sockaddr_in()
        .map(|v4| IpAddr::V4(v4.ip()))
        .or_else(|| addr.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        .map(canonical)
}

fn prefix_of(mask: IpAddr) -> u8 {
    let ones = match mask {
        IpAddr::V4(v4) => v4.to_bits().leading_ones(),
        IpAddr::V6(v6) => v6.to_bits().leading_ones(),
    };
    u8::try_from(ones).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_of_both_families_are_found() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  wan0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  lan0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let zero = "00000000000000000000000000000000";
        let v6 = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 ppp0\n\
                          {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n\
                          fd000000000000000000000000000000 08 {zero} 00 {zero} 00000100 00000001 00000000 00000001 lan0\n"
        );
        assert_eq!(default_routes(v4, &v6), ["wan0", "ppp0"]);
        assert_eq!(default_routes("", "x y z\n"), [""; 0]);
    }

    #[test]
    fn a_router_sees_its_inside_too_and_no_more_than_sixteen_interfaces() {
        let on = |name: &str, addr: &str| (name.to_owned(), addr.parse().expect(addr));
        let router = [
            on("lan0", "192.168.1.1"),
            on("lan0", "fe80::1"),
            on("wan0", "203.0.113.2"),
            on("wg0", "10.9.0.1"),
            on("veth7", "fe80::7"),
            on("dead0", "169.254.3.4"),
        ];
        let found_here = found(&router, &["wan0".to_owned(), "ppp0".to_owned()]);
        assert_eq!(found_here.names, ["ppp0", "wan0", "lan0", "wg0"]);
        let many: Vec<_> = (10..30).map(|n| on(&format!("br{n}"), "10.0.0.1")).collect();
        let found_here = found(&many, &["br29".to_owned()]);
        assert_eq!((found_here.names.len(), found_here.left_out.len()), (16, 4));
        assert_eq!(found_here.names[0], "br29");
        assert_eq!(found(&[], &[]).names, [""; 0]);
    }

    #[test]
    fn names_on_the_command_line_win() {
        let asked = ["a".to_owned()];
        let configured = ["b".to_owned()];
        let watched = |names: &[String]| Watched { names: names.to_vec(), left_out: Vec::new() };
        assert_eq!(choose(&asked, &configured), watched(&asked));
        assert_eq!(choose(&[], &configured), watched(&configured));
    }

    #[test]
    fn who_comes_later_is_watched_once_and_no_more_than_there_is_room_for() {
        let (own, newcomers) = (Own::default(), Newcomers::default());
        let mut follower = Follower::new(vec!["wan0".into()], true, own.clone(), newcomers.clone());
        assert!(own.list().contains(&Net::host([127, 0, 0, 1].into())), "own addresses are ours");
        assert!(own.moving.contains([127, 0, 0, 1].into()));
        assert_eq!(newcomers.after(0), [""; 0], "whoever named interfaces gets these");
        follower.meet(vec!["wan0".into(), "ppp0".into()]);
        follower.meet(vec!["ppp0".into(), "wg0".into(), "wan0".into()]);
        assert_eq!(newcomers.after(0), ["ppp0", "wg0"]);
        assert_eq!(newcomers.after(1), ["wg0"]);
        follower.meet((0..40).map(|n| format!("ppp{n}")).collect());
        assert_eq!(newcomers.after(0).len(), MAX_FOUND - 1);
        own.set(Vec::new());
        assert!(!own.moving.contains([127, 0, 0, 1].into()), "what is gone is not ours");
    }
}
