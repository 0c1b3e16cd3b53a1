//! The worlds in which it is tried: a dry run and the kernel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use slips_core::addr::Net;
use slips_firewall::{DryRun, Features, Firewall, NftOptions, Nftables, Policy, Protected};

use crate::lab::{Host, Lab};

/// Where blocks are kept, how time passes there, and what else can be done to it.
pub trait World {
    /// A firewall as a daemon opens it at its start.
    fn open(&mut self, protected: Protected) -> Firewall;
    /// Somebody else does harm to the table; false when there is nobody who could.
    fn harm(&mut self, choice: u64) -> bool;
    /// The time that has passed.
    fn now(&self) -> Duration;
    /// Lets so much time pass, where it does not pass by itself.
    fn pass(&mut self, time: Duration);
    /// Everything that is blocked, seen by another way than the firewall's own.
    fn look(&mut self, firewall: &mut Firewall) -> Vec<Net>;
}

/// The dry run: its time is ours to move, its memory survives a restart as the kernel's does.
pub struct Memory {
    pub clock: Arc<AtomicU64>,
}

impl World for Memory {
    fn open(&mut self, protected: Protected) -> Firewall {
        let hands = Arc::clone(&self.clock);
        let backend = DryRun::with_clock(move || Duration::from_millis(hands.load(Ordering::Relaxed)));
        Firewall::with_backend(Box::new(backend), Policy::default(), protected).expect("open")
    }
    fn harm(&mut self, _: u64) -> bool {
        false
    }
    fn now(&self) -> Duration {
        Duration::from_millis(self.clock.load(Ordering::Relaxed))
    }
    fn pass(&mut self, time: Duration) {
        self.clock.fetch_add(u64::try_from(time.as_millis()).expect("time"), Ordering::Relaxed);
    }
    fn look(&mut self, firewall: &mut Firewall) -> Vec<Net> {
        firewall.blocks().expect("list").into_iter().map(|block| block.net).collect()
    }
}

/// The kernel, in a namespace, with everything it can or with what an old one could. Its time passes by itself.
pub struct Kernel<'a> {
    pub lab: &'a Lab,
    pub features: Features,
    pub began: Instant,
}

impl World for Kernel<'_> {
    fn open(&mut self, protected: Protected) -> Firewall {
        let options = NftOptions { features: self.features, ..NftOptions::default() };
        let backend = self.lab.inside(Host::Router, || Nftables::open(options)).expect("open");
        Firewall::with_backend(Box::new(backend), Policy::default(), protected).expect("open")
    }
    fn harm(&mut self, choice: u64) -> bool {
        let deeds = [
            "flush ruleset",
            "delete table inet slips",
            "flush chain inet slips prerouting",
            "add table inet other",
        ];
        let deed = deeds[usize::try_from(choice).expect("choice") % deeds.len()];
        let args = ["netns", "exec", &self.lab.namespace(Host::Router), "nft"];
        let done = std::process::Command::new("ip").args(args).args(deed.split(' ')).output();
        // The kernel refuses it where the table has an owner.
        done.is_ok()
    }
    fn now(&self) -> Duration {
        self.began.elapsed()
    }
    fn pass(&mut self, _: Duration) {}
    fn look(&mut self, _: &mut Firewall) -> Vec<Net> {
        let listed = self.lab.inside(Host::Router, slips_firewall::list_all).expect("list");
        listed.into_iter().map(|block| block.net).collect()
    }
}
