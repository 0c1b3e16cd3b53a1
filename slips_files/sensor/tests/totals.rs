//! Packets and bytes of the corpora's sessions as Arkime and ipfixprobe count them.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use slips_core::event::Event;
use slips_core::flow::{Phase, Proto};
use slips_sensor::Settings;

/// Protocol and both ends, the smaller first.
type Key = (u8, (String, u16), (String, u16));

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    packets: u64,
    /// Of IP packets, headers included.
    ip_bytes: u64,
    payload: u64,
}

fn key(protocol: u8, mut a: (String, u16), mut b: (String, u16)) -> Key {
    if !matches!(protocol, 6 | 17) {
        (a.1, b.1) = (0, 0);
    }
    if a <= b { (protocol, a, b) } else { (protocol, b, a) }
}

fn ours(capture: &Path) -> BTreeMap<Key, Sum> {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for event in support::run(capture, Settings::default()).1 {
        let Event::Flow(flow) = event else { continue };
        if flow.phase != Phase::End {
            continue;
        }
        let protocol = match flow.proto {
            Proto::Tcp => 6,
            Proto::Udp => 17,
            Proto::Icmp if flow.src.addr.is_ipv4() => 1,
            Proto::Icmp => 58,
            Proto::Other(number) => number,
            Proto::Arp => continue,
        };
        let end = |end: slips_core::flow::Endpoint| (end.addr.to_string(), end.port);
        let sum = sums.entry(key(protocol, end(flow.src), end(flow.dst))).or_default();
        sum.packets += flow.orig.pkts + flow.resp.pkts;
        sum.ip_bytes += flow.orig.ip_bytes + flow.resp.ip_bytes;
        sum.payload += flow.orig.bytes + flow.resp.bytes;
        if protocol == 1 || protocol == 58 {
            // Arkime counts ICMP's header
            sum.payload += 8 * (flow.orig.pkts + flow.resp.pkts);
        }
    }
    sums
}

fn capture_in(dir: &Path) -> Option<PathBuf> {
    ["capture.pcap", "capture.pcapng", "capture.cap"]
        .map(|name| dir.join(name))
        .into_iter()
        .find(|path| path.exists())
}

/// Folders of a family that have this file, with their captures and the file's text.
fn cases(corpora: &Path, family: &str, file: &str) -> Vec<(PathBuf, String)> {
    let folders = std::fs::read_dir(corpora.join(family)).into_iter().flatten().flatten();
    let mut found: Vec<_> = folders
        .filter_map(|entry| {
            let text = std::fs::read_to_string(entry.path().join(file)).ok()?;
            Some((capture_in(&entry.path())?, text))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn totals_equal_arkimes() {
    let Some(corpora) = support::corpora("totals_equal_arkimes") else { return };
    let (mut sessions, mut equal) = (0, 0);
    for (capture, text) in cases(&corpora, "arkime", "expect.json") {
        let expected: serde_json::Value = serde_json::from_str(&text).expect("json");
        let mut theirs: BTreeMap<Key, Sum> = BTreeMap::new();
        for session in expected["sessions"].as_array().expect("sessions") {
            let protocol =
                session["ipProtocol"].as_u64().and_then(|number| u8::try_from(number).ok()).unwrap_or(0);
            if protocol == 0 {
                // ARP, IS-IS: no flow
                continue;
            }
            let end = |side: &str| {
                let port =
                    session[side]["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
                (session[side]["ip"].as_str().unwrap_or_default().to_owned(), port)
            };
            let sum = theirs.entry(key(protocol, end("source"), end("destination"))).or_default();
            sum.packets += session["network"]["packets"].as_u64().unwrap_or(0);
            sum.payload += session["totDataBytes"].as_u64().unwrap_or(0);
        }
        let ours = ours(&capture);
        for (key, their) in theirs {
            sessions += 1;
            let our = ours.get(&key).copied().unwrap_or_default();
            let is_counted = matches!(key.0, 1 | 6 | 17 | 58);
            if our.packets == their.packets && (our.payload == their.payload || !is_counted) {
                equal += 1;
            } else {
                println!("{}: {key:?}: ours {our:?}, Arkime's {their:?}", capture.display());
            }
        }
    }
    println!("{equal} of {sessions} sessions equal");
    assert!(sessions > 250);
    assert!(equal * 100 >= sessions * 95);
}

#[test]
fn totals_equal_ipfixprobes() {
    let Some(corpora) = support::corpora("totals_equal_ipfixprobes") else { return };
    let (mut flows, mut equal) = (0, 0);
    for (capture, text) in cases(&corpora, "ipfixprobe", "expect.flows.csv") {
        // the file is sorted, its header with it
        let names = text.lines().find(|line| line.starts_with("ipaddr ")).expect("a header");
        let names: Vec<_> = names.split(',').filter_map(|name| name.split(' ').nth(1)).collect();
        let mut theirs: BTreeMap<Key, Sum> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for line in text.lines().filter(|line| !line.starts_with("ipaddr ")) {
            let cells: Vec<_> = line.split(',').collect();
            let cell = |name: &str| {
                let at = names.iter().position(|other| *other == name);
                at.and_then(|at| cells.get(at)).copied().unwrap_or_default()
            };
            let number = |name: &str| cell(name).parse::<u64>().unwrap_or(0);
            let end = |ip: &str, port: &str| (cell(ip).to_owned(), cell(port).parse().unwrap_or(0));
            let protocol = cell("PROTOCOL").parse().unwrap_or(0);
            let key = key(protocol, end("SRC_IP", "SRC_PORT"), end("DST_IP", "DST_PORT"));
            // a flow is repeated for each name in it
            if seen.insert((
                cell("SRC_IP"),
                cell("SRC_PORT"),
                cell("DST_IP"),
                cell("DST_PORT"),
                cell("TIME_FIRST"),
            )) {
                let sum = theirs.entry(key).or_default();
                sum.packets += number("PACKETS") + number("PACKETS_REV");
                sum.ip_bytes += number("BYTES") + number("BYTES_REV");
            }
        }
        let ours = ours(&capture);
        for (key, their) in theirs {
            flows += 1;
            let our = ours.get(&key).copied().unwrap_or_default();
            if (our.packets, our.ip_bytes) == (their.packets, their.ip_bytes) {
                equal += 1;
            } else {
                println!("{}: {key:?}: ours {our:?}, ipfixprobe's {their:?}", capture.display());
            }
        }
    }
    println!("{equal} of {flows} flows equal");
    assert!(flows > 60);
    assert!(equal * 100 >= flows * 95);
}
