//! What belongs to an organisation: networks that it alone uses, domains, autonomous systems.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use slips_core::addr::Net;

use crate::geo::Geo;
use crate::ioc::{Ioc, domain};
use crate::snapshot::{RangeTable, in_lower_case};

/// One organisation.
#[derive(Debug, Default)]
pub(crate) struct Organisation {
    nets: RangeTable,
    domains: HashSet<Box<str>>,
    systems: Vec<u32>,
}

impl Organisation {
    /// Its own networks hold the address.
    pub(crate) fn has_net(&self, addr: IpAddr) -> bool {
        self.nets.lookup(addr).is_some()
    }

    /// Its networks hold the address, or one of its autonomous systems does.
    pub(crate) fn has_addr(&self, addr: IpAddr, geo: &Geo) -> bool {
        self.has_net(addr)
            || (!self.systems.is_empty()
                && !geo.is_empty()
                && geo.place(addr).asn.is_some_and(|asn| self.systems.contains(&asn)))
    }

    /// The name, in lower case, is one of its domains or below one.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        in_lower_case(name, |name| parents(name).any(|part| self.domains.contains(part)).then_some(()))
            .is_some()
    }
}

/// A name and its parents.
pub(crate) fn parents(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
}

/// Lines of any of the three kinds, until all files are read.
#[derive(Debug, Default)]
struct Lines {
    nets: Vec<Net>,
    domains: HashSet<Box<str>>,
    systems: Vec<u32>,
}

/// All organisations while they are read.
#[derive(Debug, Default)]
pub(crate) struct Organisations(BTreeMap<Box<str>, Lines>);

/// Those that come with Slips. See `slips_files/organizations_info/README.md` for where each was taken from.
const OURS: [(&str, &str); 7] = [
    ("google", include_str!("../../../organizations_info/google")),
    ("microsoft", include_str!("../../../organizations_info/microsoft")),
    ("apple", include_str!("../../../organizations_info/apple")),
    ("facebook", include_str!("../../../organizations_info/facebook")),
    ("twitter", include_str!("../../../organizations_info/twitter")),
    ("wikimedia", include_str!("../../../organizations_info/wikimedia")),
    (SHARED, include_str!("../../../organizations_info/shared")),
];
/// Networks that anybody rents a place in: no organisation.
pub(crate) const SHARED: &str = "shared";
/// Most lines of one organisation.
const MAX_LINES: usize = 100_000;

impl Organisations {
    /// Those that come with Slips.
    pub(crate) fn ours() -> Self {
        let mut all = Self::default();
        for (name, text) in OURS {
            all.read(name, text.as_bytes());
        }
        all
    }

    /// Adds a file: `NAME`, or the original's `NAME_ip_ranges`, `NAME_domains` and `NAME_asn`. How many lines were nothing.
    pub(crate) fn read(&mut self, file: &str, bytes: &[u8]) -> usize {
        let name =
            ["_ip_ranges", "_domains", "_asn"].iter().find_map(|end| file.strip_suffix(end)).unwrap_or(file);
        let lines = self.0.entry(name.to_ascii_lowercase().into()).or_default();
        let mut wrong = 0;
        for line in bytes.split(|byte| *byte == b'\n').take(MAX_LINES) {
            let text = std::str::from_utf8(line).unwrap_or("?");
            let text = text.split('#').next().unwrap_or_default().trim().trim_matches('"');
            if text.is_empty() || text.starts_with(';') {
                continue;
            }
            match Ioc::guess(text) {
                Ok(Ioc::Net(net)) => lines.nets.push(net),
                Ok(Ioc::Domain(name)) => _ = lines.domains.insert(name),
                Ok(Ioc::Asn(number)) => lines.systems.push(number),
                _ => wrong += 1,
            }
        }
        wrong
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        name != SHARED && self.0.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Organisation {
        let Some(lines) = self.0.get(name) else { return Organisation::default() };
        let mut nets = lines.nets.clone();
        nets.sort_unstable();
        nets.dedup();
        Organisation {
            nets: RangeTable::new(nets.into_iter().map(|net| (net, 0))),
            domains: lines.domains.clone(),
            systems: lines.systems.clone(),
        }
    }
}

/// A name of a list of known sites: `rank,name` or `name`.
pub(crate) fn site_of(line: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(line).ok()?.trim();
    let name = text.rsplit([',', '\t', ' ']).next()?;
    domain(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_of_our_own_files_are_something_and_none_is_shared() {
        let mut all = Organisations::default();
        for (name, text) in OURS {
            assert_eq!(all.read(name, text.as_bytes()), 0, "{name}");
        }
        let shared = all.get(SHARED);
        for (name, lines) in &all.0 {
            assert!(!lines.nets.is_empty(), "{name}");
            for net in lines.nets.iter().filter(|_| &**name != SHARED) {
                assert!(!shared.has_net(net.addr()) && !shared.has_net(net.last()), "{name}: {net}");
            }
        }
        assert!(all.knows("google") && !all.knows(SHARED) && !all.knows("nobody"));
    }

    #[test]
    fn the_originals_three_files_are_one_organisation() {
        let mut all = Organisations::default();
        assert_eq!(all.read("Acme_ip_ranges", b"192.0.2.0/24\n2001:db8::/32\n"), 0);
        assert_eq!(all.read("acme_domains", b"acme.example # head office\nnonsense\n"), 1);
        assert_eq!(all.read("acme_asn", b"AS64496\n"), 0);
        let acme = all.get("acme");
        assert!(
            acme.has_net("192.0.2.9".parse().expect("ip"))
                && !acme.has_net("198.51.100.1".parse().expect("ip"))
        );
        assert!(acme.has_name("WWW.acme.example") && !acme.has_name("notacme.example"));
        assert_eq!(acme.systems, [64496]);
    }
}
