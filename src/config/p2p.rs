//! The section `p2p`: how far peers may move this router, where it is reached by them, and what it calls itself.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use nix::ifaddrs::getifaddrs;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use slips_core::addr;
use slips_p2p::indicator::Indicator;
use slips_p2p::message::Name;

use crate::peers::table::{PORT, PeerAddress, parse_name};

/// How far peers may move us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerMode {
    /// It is told what would have been done.
    Observe,
    /// They help our own evidence over the bar.
    Assist,
    /// Three groups of them can have somebody blocked before we see anything.
    Preempt,
}

/// Who runs the process that talks with peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerNode {
    /// The daemon starts it.
    Child,
    /// It is a unit of its own and comes to `p2p.socket`.
    Service,
}

/// More than a liar could avoid by chance need not be named.
const MAX_CANARIES: usize = 64;

/// One that answers is enough.
const MAX_PROBES: usize = 8;

/// `p2p`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct P2p {
    /// How far peers may move us.
    pub mode: PeerMode,
    /// Whether our own findings are told to them.
    pub share: bool,
    /// Who runs the node.
    pub node: PeerNode,
    /// Where a node that is a unit of its own finds the daemon.
    pub socket: PathBuf,
    /// Keys and the table of peers; empty: `p2p` below `output.directory`.
    pub directory: PathBuf,
    /// What we call ourselves towards those whom we invite; empty: the host's name.
    #[serde(deserialize_with = "name")]
    pub name: Option<Name>,
    /// Where peers reach us. Empty: we only call them.
    pub listen: Vec<PeerAddress>,
    /// What invites name instead of our own addresses.
    pub announce: Vec<PeerAddress>,
    /// Public addresses of ours that nobody uses: a peer that reports one lies.
    #[serde(deserialize_with = "canaries")]
    pub canaries: Vec<IpAddr>,
    /// What must be reached after blocks on the word of peers, besides the name servers.
    #[serde(deserialize_with = "probes")]
    pub probes: Vec<SocketAddr>,
}

impl Default for P2p {
    fn default() -> Self {
        let any = |ip: IpAddr| PeerAddress((ip, PORT).into());
        Self {
            mode: PeerMode::Assist,
            share: true,
            node: PeerNode::Child,
            socket: "/run/slips/p2p.sock".into(),
            directory: PathBuf::new(),
            name: None,
            listen: vec![any([0; 4].into()), any([0u16; 8].into())],
            announce: Vec::new(),
            canaries: Vec::new(),
            probes: Vec::new(),
        }
    }
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Name>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "" => Ok(None),
        text => parse_name(text).map(Some).map_err(D::Error::custom),
    }
}

fn canaries<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpAddr>, D::Error> {
    let canaries = Vec::<IpAddr>::deserialize(from)?;
    if canaries.len() > MAX_CANARIES {
        return Err(D::Error::custom(format!("{MAX_CANARIES} addresses at most")));
    }
    for ip in &canaries {
        Indicator::host(*ip).map_err(|error| D::Error::custom(format!("{ip}: {error}")))?;
    }
    Ok(canaries)
}

fn probes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SocketAddr>, D::Error> {
    let probes = Vec::<SocketAddr>::deserialize(from)?;
    if probes.len() > MAX_PROBES {
        return Err(D::Error::custom(format!("{MAX_PROBES} addresses at most")));
    }
    Ok(probes)
}

impl P2p {
    /// What we call ourselves.
    pub fn own_name(&self) -> Name {
        let host = || {
            let host = nix::unistd::gethostname().ok()?.into_string().ok()?;
            Name::new(host.split('.').next().unwrap_or_default().to_ascii_lowercase().as_str())
        };
        self.name.clone().or_else(host).unwrap_or_else(Name::nameless)
    }

    /// Where this router can be reached: what the configuration announces, or the addresses on which it listens, with those of all
    /// interfaces in the place of `0.0.0.0` and `::`. Outside addresses first: they are the ones that others can call.
    pub fn own_addresses(&self) -> Vec<PeerAddress> {
        if !self.announce.is_empty() {
            return self.announce.clone();
        }
        let mut found: Vec<PeerAddress> = Vec::new();
        for PeerAddress(at) in &self.listen {
            if !at.ip().is_unspecified() {
                found.push(PeerAddress(*at));
                continue;
            }
            let same_family = interface_addresses().into_iter().filter(|ip| ip.is_ipv4() == at.is_ipv4());
            found.extend(same_family.map(|ip| PeerAddress((ip, at.port()).into())));
        }
        found.sort_by_key(|PeerAddress(at)| (addr::is_private(at.ip()), at.is_ipv6()));
        found.dedup();
        found
    }

    /// Where the node listens, as libp2p writes it.
    pub fn listen_addresses(&self) -> Vec<String> {
        self.listen.iter().map(ToString::to_string).collect()
    }
}

fn interface_addresses() -> Vec<IpAddr> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    let ip = |address: nix::ifaddrs::InterfaceAddress| {
        let address = address.address?;
        let four = address.as_sockaddr_in().map(|at| IpAddr::V4(at.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|at| IpAddr::V6(at.ip())))
    };
    let useful = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified(),
    };
    all.filter_map(ip).filter(useful).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canaries_are_public_addresses() {
        let read = |text: &str| serde_saphyr::from_str::<P2p>(text).map(|p2p| p2p.canaries);
        assert_eq!(read("canaries: [45.83.64.11]").expect("read"), [IpAddr::from([45, 83, 64, 11])]);
        for wrong in ["canaries: [192.168.1.9]", "canaries: [attic]", "canaries: [224.0.0.1]"] {
            read(wrong).expect_err(wrong);
        }
    }
}
