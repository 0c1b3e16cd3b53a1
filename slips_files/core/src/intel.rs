//! What the engine asks of threat intelligence. The data and its formats live in `slips-intel`.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::evidence::ThreatLevel;
use crate::time::PacketTime;

/// Something that can be looked up. Texts may be in any letter case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// An address: the most specific network around it.
    Address(IpAddr),
    /// A domain name: itself, or else the closest parent that is listed.
    Domain(&'a str),
    /// What is asked of a web server: the host with its port, where that is not 80, and the path with its query. Itself, or else
    /// without the query.
    Url {
        /// `host` or `host:port`.
        host: &'a str,
        /// From the first `/` on.
        path: &'a str,
    },
    /// Digest of a file, in hexadecimal digits, as are all that follow.
    Md5(&'a str),
    /// Digest of a file.
    Sha1(&'a str),
    /// Digest of a file.
    Sha256(&'a str),
    /// Fingerprint of a TLS client.
    Ja3(&'a str),
    /// Fingerprint of a TLS server.
    Ja3s(&'a str),
    /// Fingerprint of a TLS client.
    Ja4(&'a str),
    /// Fingerprint of a TLS server that was asked ten times.
    Jarm(&'a str),
    /// SHA-1 of a certificate.
    Certificate(&'a str),
    /// An autonomous system.
    Asn(u32),
}

/// What the lists say of something that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// How bad: the worst that any list says.
    pub level: ThreatLevel,
    /// For a person.
    pub description: &'a str,
    /// The files and feeds that list it, `, ` between them.
    pub sources: &'a str,
    /// Words of the lists about it, `, ` between them.
    pub tags: &'a str,
    /// When a list says that it was first seen.
    pub first_seen: Option<PacketTime>,
    /// When a list says that it was last seen.
    pub last_seen: Option<PacketTime>,
    /// It is listed itself: not a parent domain of it, not the same path with another query. A network that holds an address counts
    /// as the address.
    pub exact: bool,
}

impl Listed<'_> {
    /// How sure a match is: a list that names a domain does not say as much of all below it. The original's numbers.
    pub const fn confidence(&self) -> f64 {
        if self.exact { 1.0 } else { 0.7 }
    }
}

impl fmt::Display for Listed<'_> {
    /// `high (own.csv, feed): description [tag]`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.level, self.sources)?;
        if !self.description.is_empty() {
            write!(f, ": {}", self.description)?;
        }
        if self.tags.is_empty() { Ok(()) } else { write!(f, " [{}]", self.tags) }
    }
}

/// A snapshot of indicators that detections look things up in. Lookups allocate nothing.
pub trait Intelligence: Send + Sync {
    /// What the lists say of it.
    fn look_up(&self, key: Key<'_>) -> Option<Listed<'_>>;

    /// The autonomous system that an address is in, where that is known and any is listed.
    fn asn_of(&self, _addr: IpAddr) -> Option<u32> {
        None
    }

    /// How many days ago a registered domain (lower case) was registered, where that is known.
    fn domain_age_days(&self, _domain: &str) -> Option<u32> {
        None
    }
}

/// No indicators at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIntelligence;

impl Intelligence for NoIntelligence {
    fn look_up(&self, _key: Key<'_>) -> Option<Listed<'_>> {
        None
    }
}

/// The snapshot of the day: shared by all, replaced as a whole while detections go on.
pub struct Current<T: ?Sized = dyn Intelligence>(Arc<Shared<T>>);

struct Shared<T: ?Sized> {
    /// Counts replacements, so that a reader knows without a lock that nothing is new.
    generation: AtomicU64,
    place: Mutex<Place<T>>,
}

struct Place<T: ?Sized> {
    snapshot: Arc<T>,
    /// Snapshots that some reader may still hold. Freeing sixty megabytes takes milliseconds, which no shard has, so that the last
    /// hold is always this one.
    retired: Vec<Arc<T>>,
}

impl<T: ?Sized> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Current<T> {
    /// Begins with this snapshot.
    pub fn new(snapshot: Arc<T>) -> Self {
        let place = Mutex::new(Place { snapshot, retired: Vec::new() });
        Self(Arc::new(Shared { generation: AtomicU64::new(0), place }))
    }

    /// Puts another snapshot in its place. Each reader takes it with its next lookup.
    pub fn replace(&self, snapshot: Arc<T>) {
        let mut place = self.place();
        let old = std::mem::replace(&mut place.snapshot, snapshot);
        place.retired.push(old);
        self.0.generation.fetch_add(1, Ordering::Release);
        drop(place);
        self.sweep();
    }

    /// Frees the snapshots that every reader has left, and says how many are still held. Whoever replaces calls it from time to time.
    pub fn sweep(&self) -> usize {
        let mut place = self.place();
        let (held, free) =
            std::mem::take(&mut place.retired).into_iter().partition(|old| Arc::strong_count(old) > 1);
        place.retired = held;
        let left = place.retired.len();
        // Outside the lock, which a reader may want.
        drop(place);
        drop::<Vec<_>>(free);
        left
    }

    /// A reader of its own for one thread.
    pub fn reader(&self) -> Reader<T> {
        let place = self.place();
        let generation = self.0.generation.load(Ordering::Acquire);
        Reader { snapshot: Arc::clone(&place.snapshot), generation, current: self.clone() }
    }

    fn place(&self) -> MutexGuard<'_, Place<T>> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Current {
    fn default() -> Self {
        Self::new(Arc::new(NoIntelligence))
    }
}

impl<T: ?Sized> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Current(generation {})", self.0.generation.load(Ordering::Relaxed))
    }
}

/// One thread's hold on the snapshot of the day. A lookup costs one load of a counter that hardly ever changes; the lock is taken
/// only when it has.
pub struct Reader<T: ?Sized = dyn Intelligence> {
    current: Current<T>,
    generation: u64,
    snapshot: Arc<T>,
}

impl<T: ?Sized> Reader<T> {
    /// The snapshot of this moment.
    pub fn get(&mut self) -> &T {
        self.refresh();
        &self.snapshot
    }

    /// Takes the snapshot of this moment; whether it is another one.
    pub fn refresh(&mut self) -> bool {
        let is_new = self.current.0.generation.load(Ordering::Acquire) != self.generation;
        if is_new {
            *self = self.current.reader();
        }
        is_new
    }

    /// The snapshot that was taken last.
    pub fn held(&self) -> &T {
        &self.snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct All(ThreatLevel);

    impl Intelligence for All {
        fn look_up(&self, _key: Key<'_>) -> Option<Listed<'_>> {
            let (description, sources, tags) = ("bot", "own", "");
            let (first_seen, last_seen) = (None, None);
            Some(Listed { level: self.0, description, sources, tags, first_seen, last_seen, exact: true })
        }
    }

    #[test]
    fn a_reader_sees_a_new_snapshot_with_its_next_lookup() {
        let current = Current::default();
        let (mut one, mut other) = (current.reader(), current.reader());
        let level = |reader: &mut Reader| reader.get().look_up(Key::Asn(1)).map(|listed| listed.level);
        assert_eq!((level(&mut one), level(&mut other)), (None, None));
        current.replace(Arc::new(All(ThreatLevel::High)));
        assert_eq!((level(&mut one), level(&mut other)), (Some(ThreatLevel::High), Some(ThreatLevel::High)));
        current.replace(Arc::new(NoIntelligence));
        assert_eq!(level(&mut one), None);
    }

    #[test]
    fn an_old_snapshot_is_freed_by_the_sweeper_when_all_have_left_it() {
        let first: Arc<dyn Intelligence> = Arc::new(NoIntelligence);
        let held = Arc::downgrade(&first);
        let current = Current::new(first);
        let mut reader = current.reader();
        current.replace(Arc::new(NoIntelligence));
        assert_eq!(current.sweep(), 1, "the reader has not looked yet");
        reader.get();
        assert!(held.upgrade().is_some(), "a reader never frees");
        assert_eq!((current.sweep(), held.upgrade().is_some()), (0, false));
    }

    #[test]
    fn a_listing_reads_as_one_line() {
        let all = All(ThreatLevel::High);
        let listed = all.look_up(Key::Asn(1)).expect("listed");
        assert_eq!(listed.to_string(), "high (own): bot");
        assert_eq!(Listed { tags: "spam", ..listed }.to_string(), "high (own): bot [spam]");
    }
}
