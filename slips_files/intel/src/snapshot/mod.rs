//! The snapshot of all indicators.

mod builder;
mod cache;
mod digests;
mod marks;
mod names;
mod ranges;

use std::net::IpAddr;

use slips_core::intel::{Intelligence, Key, Listed};

pub use builder::{Builder, MAX_ROWS, Saying};
pub use cache::CacheError;
use digests::Digests;
pub(crate) use digests::decode;
use marks::Marks;
pub(crate) use marks::Texts;
pub(crate) use names::{Form, Names};
pub(crate) use ranges::RangeTable;

use crate::ioc::host_of;

/// An immutable snapshot of indicators. Lookups allocate nothing and take no lock.
#[derive(Clone, Debug, Default)]
pub struct Indicators {
    marks: Marks,
    nets: RangeTable,
    domains: Names,
    urls: Names,
    ja4: Names,
    md5: Digests<16>,
    sha1: Digests<20>,
    sha256: Digests<32>,
    ja3: Digests<16>,
    ja3s: Digests<16>,
    jarm: Digests<31>,
    certificates: Digests<20>,
    /// Sorted by number.
    asns: Vec<(u32, u32)>,
    contents: Contents,
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Addresses and networks.
    pub nets: usize,
    /// Domains.
    pub domains: usize,
    /// URLs.
    pub urls: usize,
    /// Digests of files.
    pub files: usize,
    /// Fingerprints: JA3, JA3S, JA4, JARM, certificates.
    pub fingerprints: usize,
    /// Autonomous systems.
    pub asns: usize,
}

impl Contents {
    /// All together.
    pub const fn total(&self) -> usize {
        self.nets + self.domains + self.urls + self.files + self.fingerprints + self.asns
    }
}

/// Names and the host of a URL are turned into lower case in a place of this size; longer ones exist nowhere.
const MAX_NAME: usize = 255;

impl Indicators {
    /// What it holds.
    pub const fn contents(&self) -> Contents {
        self.contents
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        self.marks.memory()
            + self.nets.memory()
            + self.domains.memory()
            + self.urls.memory()
            + self.ja4.memory()
            + self.md5.memory()
            + self.sha1.memory()
            + self.sha256.memory()
            + self.ja3.memory()
            + self.ja3s.memory()
            + self.jarm.memory()
            + self.certificates.memory()
            + self.asns.capacity() * size_of::<(u32, u32)>()
    }

    /// Counts all but the networks, which were cut into ranges.
    fn count(&self) -> Contents {
        Contents {
            nets: 0,
            domains: self.domains.len(),
            urls: self.urls.len(),
            files: self.md5.len() + self.sha1.len() + self.sha256.len(),
            fingerprints: self.ja3.len()
                + self.ja3s.len()
                + self.ja4.len()
                + self.jarm.len()
                + self.certificates.len(),
            asns: self.asns.len(),
        }
    }

    fn domain(&self, name: &str) -> Option<(u32, bool)> {
        let name = name.strip_suffix('.').unwrap_or(name);
        in_lower_case(name, |name| self.domains.domain(name))
    }

    /// Itself, or else without the query.
    fn url(&self, host: &str, path: &str) -> Option<(u32, bool)> {
        let host = host.strip_suffix(":80").unwrap_or(host);
        let host = host.strip_suffix('.').unwrap_or(host);
        let whole = |path: &str| {
            // The host in lower case, the path as it is.
            let mut room = [0; MAX_NAME + MAX_PATH];
            let text = joined(&mut room, host, path)?;
            self.urls.whole(text)
        };
        if self.urls.len() == 0 {
            return None;
        }
        if let Some(mark) = whole(path) {
            return Some((mark, true));
        }
        let (bare, _) = path.split_once('?')?;
        Some((whole(bare)?, false))
    }

    fn asn(&self, number: u32) -> Option<u32> {
        let at = self.asns.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.asns.get(at).map(|(_, mark)| *mark)
    }
}

/// Longest path of a URL that is looked up.
const MAX_PATH: usize = 2048;

/// `host` in lower case and `path` in `room`.
fn joined<'a>(room: &'a mut [u8], host: &str, path: &str) -> Option<&'a str> {
    let both = room.get_mut(..host.len() + path.len())?;
    let (first, second) = both.split_at_mut_checked(host.len())?;
    first.copy_from_slice(host.as_bytes());
    first.make_ascii_lowercase();
    second.copy_from_slice(path.as_bytes());
    std::str::from_utf8(both).ok()
}

/// Hands on the text in lower case, without an allocation.
pub(crate) fn in_lower_case<T>(text: &str, then: impl Fn(&str) -> Option<T>) -> Option<T> {
    // To the end of it, which takes less time than looking where to stop.
    if !text.bytes().fold(false, |upper, byte| upper | byte.is_ascii_uppercase()) {
        return then(text);
    }
    let mut room = [0; MAX_NAME];
    then(joined(&mut room, text, "")?)
}

impl Intelligence for Indicators {
    fn look_up(&self, key: Key<'_>) -> Option<Listed<'_>> {
        let exact = |mark| (mark, true);
        let (mark, exact) = match key {
            Key::Address(addr) => self.nets.lookup(addr).map(exact),
            Key::Domain(name) => self.domain(name),
            Key::Url { host, path } => self.url(host, path),
            Key::Md5(hex) => self.md5.lookup(hex).map(exact),
            Key::Sha1(hex) => self.sha1.lookup(hex).map(exact),
            Key::Sha256(hex) => self.sha256.lookup(hex).map(exact),
            Key::Ja3(hex) => self.ja3.lookup(hex).map(exact),
            Key::Ja3s(hex) => self.ja3s.lookup(hex).map(exact),
            Key::Ja4(text) => in_lower_case(text, |text| self.ja4.whole(text)).map(exact),
            Key::Jarm(hex) => self.jarm.lookup(hex).map(exact),
            Key::Certificate(hex) => self.certificates.lookup(hex).map(exact),
            Key::Asn(number) => self.asn(number).map(exact),
        }?;
        self.marks.listed(mark, exact)
    }
}

/// What a person asks about: the indicators that a text may stand for, with what is listed of each.
impl Indicators {
    /// Looks a text up in every way that it can be read.
    pub fn find<'a>(&'a self, text: &str) -> Vec<(&'static str, Listed<'a>)> {
        let mut found = Vec::new();
        let mut ask = |what, key| found.extend(self.look_up(key).map(|listed| (what, listed)));
        if let Ok(addr) = text.parse::<IpAddr>() {
            ask("address", Key::Address(addr));
        }
        ask("domain", Key::Domain(text));
        let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        if let Some((host, path)) =
            rest.split_at_checked(end).filter(|_| rest.len() != text.len() || end < rest.len())
        {
            let path = if path.is_empty() { "/" } else { path };
            ask("url", Key::Url { host, path });
            ask("domain", Key::Domain(host_of(host)));
            if let Ok(addr) = host_of(host).parse::<IpAddr>() {
                ask("address", Key::Address(addr));
            }
        }
        ask("md5", Key::Md5(text));
        ask("sha1", Key::Sha1(text));
        ask("sha256", Key::Sha256(text));
        ask("ja3", Key::Ja3(text));
        ask("ja3s", Key::Ja3s(text));
        ask("ja4", Key::Ja4(text));
        ask("jarm", Key::Jarm(text));
        ask("certificate", Key::Certificate(text));
        let number = text.get(..2).filter(|head| head.eq_ignore_ascii_case("as")).and(text.get(2..));
        if let Some(number) = number.and_then(|digits| digits.parse().ok()) {
            ask("asn", Key::Asn(number));
        }
        found
    }
}

#[cfg(test)]
mod tests;
