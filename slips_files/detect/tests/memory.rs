//! What the detections hold in memory, in a process of its own: what a profile and its window take, and that floods are bounded.

use std::net::IpAddr;

use slips_core::engine::Engine;
use slips_core::event::Event;
use slips_core::intel::Current;
use slips_core::record::Record;
use slips_core::settings::{Limits, Settings};

#[path = "../benches/mix/mod.rs"]
mod mix;

use mix::{clients, resident, sender, syn};

const BATCH: usize = 1_000;

fn engine(settings: &Settings) -> Engine {
    Engine::new(settings, &|| slips_detect::registry(&slips_detect::Settings::default(), &Current::default()))
}

/// Feeds events and returns the alerts.
fn feed(engine: &mut Engine, events: impl Iterator<Item = Event>) -> Vec<IpAddr> {
    let (mut batch, mut out, mut alerts) = (Vec::with_capacity(BATCH), Vec::new(), Vec::new());
    let mut take = |batch: &mut Vec<Event>| {
        engine.feed(std::mem::take(batch), &mut out);
        alerts.extend(out.drain(..).filter_map(|record| match record {
            Record::Alert(alert) => Some(alert.attacker),
            _ => None,
        }));
    };
    for event in events {
        batch.push(event);
        if batch.len() >= BATCH {
            take(&mut batch);
        }
    }
    take(&mut batch);
    alerts
}

/// DESIGN.md: at most 16 kB for a profile and its window, of clients with 200 visits and of the servers that they visit.
#[test]
fn a_profile_in_the_middle_of_its_window_holds_at_most_sixteen_kilobytes() {
    const CLIENTS: u32 = 250;
    let mut engine = engine(&Settings::default());
    let visits = |network, count, visits| {
        let visit = |visit: mix::Visit| mix::Visit { server: visit.server % CLIENTS, ..visit }.events();
        clients(network, count, visits, 0).flat_map(visit)
    };
    feed(&mut engine, visits(0, 50, 20));
    let before = resident().expect("statm");
    feed(&mut engine, visits(1, CLIENTS, 200));
    let each = resident().expect("statm").saturating_sub(before) / u64::from(2 * CLIENTS);
    assert!(each <= 16_000, "{each} bytes");
}

const VICTIM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 2));

#[test]
fn a_flood_of_forged_senders_stays_within_its_room_and_blocks_none_of_them() {
    const SENDERS: u32 = 200_000;
    const ROOM: usize = 5_000;
    let limits = Limits { remote_profiles: ROOM, open_evidence: 2_000, ..Limits::default() };
    let mut engine = engine(&Settings { limits, ..Settings::default() });
    let alerts = feed(&mut engine, (0..SENDERS).map(|n| syn(n, sender(n), VICTIM, 80)));
    assert_eq!(alerts, [] as [IpAddr; 0]);
    let stats = engine.stats();
    // A few are addresses that no stranger has.
    assert!(stats.evicted_remote >= u64::from(SENDERS) * 9 / 10, "{}", stats.evicted_remote);
    assert!(stats.evidence < 100, "the flood itself, not each sender: {}", stats.evidence);
}

#[test]
fn one_host_that_tries_all_ports_of_very_many_is_few_alerts_about_it_alone() {
    const TRIES: u32 = 200_000;
    const ROOM: usize = 5_000;
    let limits = Limits { remote_profiles: 1_000, local_profiles: ROOM, open_evidence: 2_000 };
    let mut engine = engine(&Settings { limits, ..Settings::default() });
    let scanner = IpAddr::from([203, 0, 113, 66]);
    // Ports first, then hosts: of a /16 all.
    let target = |n: u32| (IpAddr::from((0x0a01_0000 + n / 40).to_be_bytes()), (1 + n % 40 * 1600) as u16);
    let tries = (0..TRIES).map(|n| {
        let (dst, port) = target(n);
        syn(n, scanner, dst, port)
    });
    let alerts = feed(&mut engine, tries);
    assert!(!alerts.is_empty() && alerts.len() < 200, "{}", alerts.len());
    assert!(alerts.iter().all(|attacker| *attacker == scanner));
    let stats = engine.stats();
    assert!(stats.evidence + stats.evidence_capped < 2 * u64::from(TRIES / 40), "{}", stats.evidence);
    assert!(stats.evicted_local <= u64::from(TRIES / 40), "{}", stats.evicted_local);
}
