//! Finds out who must never be blocked on this host. Only reads; the daemon asks again from time to time.

mod services;
mod sessions;
mod wtmp;

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;
use slips_core::addr::{Net, canonical};

use crate::{Error, Protected, Why, netlink};

/// Where to look, and what the administrator named.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The root of the file system.
    pub root: PathBuf,
    /// The ports where remote logins of the administrator arrive. Empty: those that sshd is configured for.
    pub login_ports: Vec<u16>,
    /// Networks that are never blocked because somebody said so.
    pub listed: Vec<Net>,
    /// Of the logins that the system has recorded, only those since then count, in seconds since the Unix epoch.
    pub logins_since: u64,
}

impl Default for Sources {
    fn default() -> Self {
        Self { root: PathBuf::from("/"), login_ports: Vec::new(), listed: Vec::new(), logins_since: 0 }
    }
}

/// Something about this host could not be read. Whoever is protected already should stay so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// The addresses of the interfaces.
    #[error("cannot read the addresses of the interfaces")]
    Interfaces(#[source] io::Error),
    /// The routes.
    #[error("cannot read the routes")]
    Routes(#[source] Error),
    /// A file that is there.
    #[error("cannot read {path}")]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Protected {
    /// Everybody who must not be blocked on this host, in the network namespace of the calling thread: its addresses and their
    /// networks' broadcasts, the routers that it sends through, its servers of names, time and addresses, the other ends of remote logins,
    /// now and lately, the listed.
    pub fn discover(sources: &Sources) -> Result<Self, DiscoverError> {
        let mut protected = Self::classes();
        let interfaces = getifaddrs().map_err(|errno| DiscoverError::Interfaces(errno.into()))?;
        for interface in interfaces {
            note_interface(&mut protected, &interface);
        }
        let net = sources.root.join("proc/thread-self/net");
        add_all(&mut protected, netlink::gateways().map_err(DiscoverError::Routes)?, Why::Gateway);
        add_all(&mut protected, name_servers(&sources.root)?, Why::Resolver);
        add_all(&mut protected, services::leased(&sources.root), Why::Dhcp);
        add_all(&mut protected, services::time(&sources.root, &net), Why::Time);
        add_all(&mut protected, sessions::known(sources), Why::Session);
        add_all(&mut protected, sessions::peers(sources, &net)?, Why::Connection);
        add_all(&mut protected, wtmp::last_logins(&sources.root, sources.logins_since), Why::Login);
        for listed in &sources.listed {
            protected.add(*listed, Why::Listed);
        }
        Ok(protected)
    }
}

fn add_all(protected: &mut Protected, addrs: impl IntoIterator<Item = IpAddr>, why: Why) {
    for addr in addrs {
        protected.add_host(canonical(addr), why);
    }
}

fn note_interface(protected: &mut Protected, interface: &InterfaceAddress) {
    let Some(own) = interface.address.as_ref().and_then(ip) else { return };
    protected.add_host(own, Why::Own);
    let prefix = interface.netmask.as_ref().and_then(ip).map(|mask| match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    });
    if let Some(net) = prefix.and_then(|bits| Net::new(own, u8::try_from(bits).ok()?)) {
        protected.add_local(net);
    }
    if let Some(broadcast) = interface.broadcast.as_ref().and_then(ip) {
        protected.add_host(broadcast, Why::Broadcast);
    }
    // The other end of a point-to-point link: the way out of many routers, named in no route.
    if let Some(far) = interface.destination.as_ref().and_then(ip) {
        protected.add_host(far, Why::Gateway);
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
}

/// The name servers of a resolv.conf.
/// The name servers of a host whose files are below `root`.
///
/// # Errors
/// When a file that names them is there and cannot be read.
pub fn name_servers(root: &Path) -> Result<Vec<IpAddr>, DiscoverError> {
    let mut found = Vec::new();
    for file in RESOLVERS {
        found.extend(resolvers(&read(&root.join(file))?));
    }
    Ok(found)
}

fn resolvers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let keyword = words.next()?;
        let addr = words.next()?.split('%').next()?;
        addr.parse().ok().filter(|_| keyword == "nameserver")
    };
    text.lines().filter_map(server).collect()
}

/// A file's text; empty when there is none: no IPv6, no resolver.
fn read(path: &Path) -> Result<String, DiscoverError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(DiscoverError::File { path: path.to_owned(), source }),
    }
}

/// Where name servers are named; behind a local forwarder stand the true ones.
const RESOLVERS: [&str; 4] = [
    "etc/resolv.conf",
    "run/systemd/resolve/resolv.conf",
    "run/NetworkManager/no-stub-resolv.conf",
    "tmp/resolv.conf.d/resolv.conf.auto",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_with_and_without_scope() {
        let text = "# generated\nsearch lan\nnameserver 192.0.2.53\nnameserver\tfe80::1%eth0\n nameserver 2001:db8::53 # x\n\
                    options edns0\nnameserver none\n#nameserver 192.0.2.99\nnameserver";
        let expected: [IpAddr; 3] = ["192.0.2.53", "fe80::1", "2001:db8::53"].map(|t| t.parse().expect(t));
        assert_eq!(resolvers(text), expected);
    }

    #[test]
    fn this_host_is_protected_from_itself() {
        let root = tempfile::tempdir().expect("folder");
        std::fs::create_dir_all(root.path().join("etc")).expect("etc");
        std::fs::write(root.path().join("etc/resolv.conf"), "nameserver 198.51.100.53\n")
            .expect("resolv.conf");
        let sources = Sources {
            root: root.path().to_owned(),
            listed: vec!["203.0.113.0/24".parse().expect("net")],
            ..Sources::default()
        };
        let protected = Protected::discover(&sources).expect("discover");
        for (net, why) in [
            ("127.0.0.1", Some(Why::Own)),
            ("198.51.100.53", Some(Why::Resolver)),
            ("203.0.113.9", Some(Why::Listed)),
            ("198.51.100.54", None),
        ] {
            assert_eq!(protected.check(net.parse().expect(net)).map(|(_, why)| why), why, "{net}");
        }
    }

    #[test]
    fn an_unreadable_file_is_an_error_and_not_less_protection() {
        let root = tempfile::tempdir().expect("folder");
        std::fs::create_dir_all(root.path().join("etc/resolv.conf")).expect("a folder in place of the file");
        let sources = Sources { root: root.path().to_owned(), ..Sources::default() };
        assert!(matches!(Protected::discover(&sources), Err(DiscoverError::File { .. })));
    }
}
