//! Every capture of the corpora goes through the sensor, whole and damaged; what is true by construction is found.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod support;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use slips_core::event::Event;
use slips_core::flow::{Flow, Phase, Uid, Volume};
use slips_sensor::{LinkType, Sensor, Settings};

fn captures(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            captures(&path, found);
        } else if path.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap") {
            found.push(path);
        }
    }
    found.sort();
}

/// What must hold of the events of any input.
fn check_lives(sensor: &Sensor, events: &[Event], name: &Path) {
    let mut live: HashMap<Uid, (Volume, Volume)> = HashMap::new();
    let mut seen = None;
    let mut ended = 0u64;
    for event in events {
        let Event::Flow(flow) = event else { continue };
        assert!(Some(flow.seen) >= seen, "{name:?}: told in the order of time");
        seen = Some(flow.seen);
        if flow.phase == Phase::Start {
            assert!(live.insert(flow.uid, Default::default()).is_none(), "{name:?}: {} twice", flow.uid);
        }
        let sums = live.get_mut(&flow.uid).expect("a flow begins before it is told on");
        let new = flow.orig_new.pkts + flow.resp_new.pkts;
        sums.0.pkts += new;
        sums.0.ip_bytes += flow.orig_new.ip_bytes + flow.resp_new.ip_bytes;
        assert_eq!(sums.0.pkts, flow.orig.pkts + flow.resp.pkts, "{name:?}: packets add up");
        assert_eq!(sums.0.ip_bytes, flow.orig.ip_bytes + flow.resp.ip_bytes, "{name:?}: bytes add up");
        if flow.phase == Phase::End {
            live.remove(&flow.uid);
            ended += 1;
        }
    }
    let counters = sensor.counters();
    assert!(live.is_empty(), "{name:?}: every flow ends");
    assert_eq!((counters.flows_opened, counters.flows_ended), (ended, ended), "{name:?}");
    assert_eq!(counters.packets, counters.decoded + counters.rejected_total(), "{name:?}");
    assert_eq!(counters.flows_active, 0, "{name:?}");
}

#[test]
fn every_capture_passes() {
    let Some(corpora) = support::corpora("every_capture_passes") else { return };
    let mut paths = Vec::new();
    captures(&corpora, &mut paths);
    let (mut packets, mut decoded) = (0, 0);
    for path in &paths {
        for settings in [
            Settings::default(),
            Settings { max_flows: 3, max_dns_pending: 2, verify_checksums: true, ..Settings::default() },
        ] {
            let (sensor, events) = support::run(path, settings);
            check_lives(&sensor, &events, path);
            packets += sensor.counters().packets;
            decoded += sensor.counters().decoded;
        }
    }
    println!("{} captures, {packets} packets, {decoded} decoded", paths.len());
    assert!(paths.len() > 500);
}

#[test]
fn damaged_packets_are_rejected_and_never_harm() {
    let Some(corpora) = support::corpora("damaged_packets_are_rejected_and_never_harm") else { return };
    let mut paths = Vec::new();
    captures(&corpora.join("zeek"), &mut paths);
    captures(&corpora.join("tcpdump"), &mut paths);
    let mut noise = 0x9e37_79b9_7f4a_7c15u64;
    for path in paths {
        let mut sensor = Sensor::new(Settings { max_flows: 64, ..Settings::default() });
        let mut events = Vec::new();
        for mut packet in support::read_capture(&path).into_iter().take(200) {
            let Some(link) = LinkType::from_dlt(packet.link) else { continue };
            noise = noise.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let at = (noise >> 33) as usize % packet.bytes.len().max(1);
            if let Some(byte) = packet.bytes.get_mut(at) {
                *byte ^= (noise >> 24) as u8;
            }
            if noise & 4096 != 0 {
                packet.bytes.truncate(at);
            }
            sensor.packet(link, 0, packet.at, &packet.bytes, packet.wire_len, &mut events);
        }
        sensor.finish(&mut events);
        check_lives(&sensor, &events, &path);
    }
}

fn ended(events: &[Event]) -> Vec<&Flow> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Flow(flow) if flow.phase == Phase::End => Some(flow),
            _ => None,
        })
        .collect()
}

#[test]
fn synthetic_captures_give_what_they_were_made_of() {
    let Some(corpora) = support::corpora("synthetic_captures_give_what_they_were_made_of") else { return };
    for entry in std::fs::read_dir(corpora.join("synthetic")).expect("folder").flatten() {
        let dir = entry.path();
        let expect = std::fs::read(dir.join("expect.json")).expect("expect.json");
        let expect: serde_json::Value = serde_json::from_slice(&expect).expect("json");
        let (sensor, events) = support::run(&dir.join("capture.pcap"), Settings::default());
        assert_eq!(Some(sensor.counters().packets), expect["packets"].as_u64(), "{dir:?}");
        let flows = ended(&events);
        if let Some(distinct) = expect["distinct_flows"].as_u64() {
            assert_eq!(flows.len() as u64, distinct, "{dir:?}");
            let kind = if dir.ends_with("syn-flood-5000") { ("S0", "S") } else { ("REJ", "Sr") };
            for flow in &flows {
                assert_eq!((flow.state.name(), flow.history.as_str()), kind, "{dir:?}");
            }
        }
        for (n, row) in expect["flows"].as_array().into_iter().flatten().enumerate() {
            let flow = flows.get(n).expect("a flow");
            let found = serde_json::json!({
                "proto": flow.proto.name(),
                "orig_h": flow.src.addr.to_string(), "orig_p": flow.src.port,
                "resp_h": flow.dst.addr.to_string(), "resp_p": flow.dst.port,
                "conn_state": flow.state.name(), "history": flow.history.as_str(),
                "orig_pkts": flow.orig.pkts, "resp_pkts": flow.resp.pkts,
            });
            assert_eq!(&found, row, "{dir:?}");
        }
    }
}
