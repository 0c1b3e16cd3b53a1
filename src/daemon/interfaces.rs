//! Which interfaces are watched, and which networks are ours because they are on them: at the start, and as they come and go.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use slips_core::addr::{Net, canonical};
use slips_core::flow::MacAddr;
use slips_core::moving::Moving;
use slips_input::capture::Newcomers;

/// Interfaces that are watched at once when none is named, and how many may come and go in all; each costs a ring in memory.
const MAX_FOUND: usize = 16;
const MAX_EVER: usize = 48;
/// So many are planned for when none is named, also where fewer are up so far: at boot the line out and wireless networks come late.
const USUALLY_FOUND: usize = 4;

/// What is watched.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// These interfaces.
    pub names: Vec<String>,
    /// Found too, but too many.
    pub left_out: Vec<String>,
}

impl Watched {
    /// How many interfaces memory is planned for, and how many more may come, if nobody has `named` them.
    pub fn to_come(&self, named: bool) -> (usize, usize) {
        let there = self.names.len();
        if named {
            return (there, 0);
        }
        let planned = there.max(USUALLY_FOUND);
        (planned, MAX_EVER.saturating_sub(planned))
    }
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
    /// Had a default route at any time, and are still there.
    ways_out: Vec<String>,
    /// Not watched, and told to be so.
    left_out: Vec<String>,
    own: Own,
    newcomers: Newcomers,
}

impl Follower {
    /// One that watches `names`, and finds more if nobody has `named` them.
    pub fn new(names: Vec<String>, named: bool, own: Own, newcomers: Newcomers) -> Self {
        let ways_out = Vec::new();
        let mut follower = Self { names, finds: !named, ways_out, left_out: Vec::new(), own, newcomers };
        follower.look();
        follower
    }

    /// Looks how it is now; what is not watched for want of room is given once. What cannot be read now stays as it was.
    pub fn look(&mut self) -> Vec<String> {
        let Ok(all) = getifaddrs() else { return Vec::new() };
        let all: Vec<Address> = all.map(Address::from).collect();
        self.follow(&all, with_default_route())
    }

    fn follow(&mut self, all: &[Address], ways_out: Vec<String>) -> Vec<String> {
        // A line whose route is gone for a moment still has strangers behind it.
        self.ways_out.retain(|name| all.iter().any(|address| address.name == *name));
        self.ways_out.extend(ways_out);
        self.ways_out.sort_unstable();
        self.ways_out.dedup();
        let mut untold = Vec::new();
        let mut ours = self.names.clone();
        if self.finds {
            let Watched { names, left_out } = found(&addressed(all), &self.ways_out);
            ours.extend(names.iter().chain(&left_out).cloned());
            untold = self.meet(names, all);
            untold.extend(left_out.into_iter().filter(|name| !self.names.contains(name)));
            untold.retain(|name| self.left_out.len() < MAX_EVER && !self.left_out.contains(name));
            self.left_out.extend(untold.iter().cloned());
        }
        self.own.moving.set_macs(&own_macs(all, &self.names));
        self.own.set(own_nets(all, &ours, &self.ways_out));
        untold
    }

    /// Takes up who came, if there is room; who does not find any.
    fn meet(&mut self, found: Vec<String>, all: &[Address]) -> Vec<String> {
        let mut left_out = Vec::new();
        for name in found.into_iter().filter(|name| !self.names.contains(name)).collect::<Vec<_>>() {
            let there = |known: &&String| all.iter().any(|address| address.name == **known);
            let room = self.names.iter().filter(there).count() < MAX_FOUND && self.names.len() < MAX_EVER;
            if room || (self.ways_out.contains(&name) && self.names.len() < MAX_EVER) {
                self.newcomers.add(&name);
                self.names.push(name);
            } else {
                left_out.push(name);
            }
        }
        left_out
    }
}

/// An address of an interface.
#[derive(Clone, Debug)]
struct Address {
    name: String,
    flags: InterfaceFlags,
    ip: Option<IpAddr>,
    prefix: Option<u8>,
    mac: Option<MacAddr>,
}

impl From<InterfaceAddress> for Address {
    fn from(entry: InterfaceAddress) -> Self {
        let mac = entry.address.as_ref().and_then(|address| address.as_link_addr()?.addr());
        Self {
            ip: entry.address.as_ref().and_then(ip_of),
            prefix: entry.netmask.as_ref().and_then(ip_of).map(prefix_of),
            mac: mac.map(MacAddr).filter(|mac| *mac != MacAddr::ZERO),
            name: entry.interface_name,
            flags: entry.flags,
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
    let all = getifaddrs().map_or_else(|_| Vec::new(), |all| all.map(Address::from).collect());
    found(&addressed(&all), &with_default_route())
}

/// Hardware addresses of this host, those of the interfaces that are watched first.
fn own_macs(all: &[Address], watched: &[String]) -> Vec<MacAddr> {
    let mut macs: Vec<(bool, MacAddr)> =
        all.iter().filter_map(|address| Some((!watched.contains(&address.name), address.mac?))).collect();
    macs.sort_unstable();
    macs.dedup();
    macs.into_iter().map(|(_, mac)| mac).collect()
}

/// Names and addresses of the interfaces that are up, without loopback.
fn addressed(all: &[Address]) -> Vec<(String, IpAddr)> {
    let usable = |flags: InterfaceFlags| {
        flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK)
    };
    all.iter()
        .filter(|address| usable(address.flags))
        .filter_map(|address| Some((address.name.clone(), address.ip?)))
        .collect()
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
/// watched too: behind a router's outside interface are strangers. Own addresses are always ours. The widest come first, and what lies in
/// another is left out.
fn own_nets(all: &[Address], interfaces: &[String], outside: &[String]) -> Vec<Net> {
    let several = interfaces.iter().any(|name| !outside.contains(name));
    let mut nets = Vec::new();
    for address in all {
        let Some(ip) = address.ip else { continue };
        nets.push(Net::host(ip));
        if interfaces.contains(&address.name)
            && !(several && outside.contains(&address.name))
            && let Some(net) = address.prefix.and_then(|prefix| Net::new(ip, prefix))
        {
            nets.push(net);
        }
    }
    nets.sort_unstable_by_key(|net| (net.prefix(), *net));
    let mut apart: Vec<Net> = Vec::new();
    for net in nets {
        if !apart.iter().any(|wider| wider.contains(net.addr())) {
            apart.push(net);
        }
    }
    apart
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
        // Where nobody names them, more may come.
        assert_eq!((found(&[], &[]).to_come(false), found(&[], &[]).to_come(true)), ((4, 44), (0, 0)));
        assert_eq!((found_here.to_come(false), found_here.to_come(true)), ((16, 32), (16, 0)));
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
        let follower = Follower::new(vec!["wan0".into()], true, own.clone(), newcomers.clone());
        assert!(own.list().contains(&Net::host([127, 0, 0, 1].into())), "own addresses are ours");
        assert!(own.moving.contains([127, 0, 0, 1].into()));
        assert_eq!(newcomers.after(0), [""; 0], "whoever named interfaces gets these");
        own.set(Vec::new());
        assert!(!own.moving.contains([127, 0, 0, 1].into()), "what is gone is not ours");

        let at = |name: &str, ip: &str, prefix| Address {
            name: name.into(),
            flags: InterfaceFlags::IFF_UP,
            ip: Some(ip.parse().expect(ip)),
            prefix: Some(prefix),
            mac: None,
        };
        let mut follower = Follower { finds: true, names: vec!["wan0".into()], ..follower };
        let mut all = vec![at("wan0", "198.51.100.7", 24)];
        assert_eq!(follower.follow(&all, vec!["wan0".into()]), [""; 0]);
        all.push(at("ppp0", "203.0.113.7", 32));
        all.push(at("lan0", "192.0.2.1", 24));
        assert_eq!(follower.follow(&all, vec!["wan0".into()]), [""; 0]);
        assert_eq!(newcomers.after(0), ["lan0", "ppp0"]);
        assert_eq!(newcomers.after(1), ["ppp0"]);
        let strangers: IpAddr = [198, 51, 100, 99].into();
        assert!(own.moving.contains([192, 0, 2, 99].into()) && !own.moving.contains(strangers));
        follower.follow(&all, Vec::new());
        assert!(!own.moving.contains(strangers), "the line is renewed: its neighbours are none of ours");

        // A container host: some find no room, which is told once, and a way out always does.
        all.extend((0..40u8).map(|n| at(&format!("br{n:02}"), &format!("10.{n}.0.1"), 16)));
        let told = follower.follow(&all, vec!["wan0".into()]);
        assert_eq!((newcomers.after(0).len(), told.len()), (MAX_FOUND - 1, 43 - MAX_FOUND));
        assert_eq!(follower.follow(&all, vec!["wan0".into()]), [""; 0]);
        assert!(own.moving.contains([10, 39, 0, 9].into()), "its hosts are ours all the same");
        all.push(at("wwan0", "203.0.113.200", 30));
        assert_eq!(follower.follow(&all, vec!["wan0".into(), "wwan0".into()]), [""; 0]);
        assert_eq!(newcomers.after(MAX_FOUND - 1), ["wwan0"]);
        // Those that go make room for those that come, up to a bound.
        all.retain(|address| !address.name.starts_with("br"));
        all.push(at("wg0", "10.99.0.1", 24));
        assert_eq!(follower.follow(&all, vec!["wan0".into()]), [""; 0]);
        assert_eq!(newcomers.after(MAX_FOUND), ["wg0"]);
    }
}
