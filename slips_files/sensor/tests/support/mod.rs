//! What the integration tests share: finding the corpora, reading captures, reading Zeek's logs.

#![allow(dead_code, clippy::expect_used, reason = "shared by test binaries of which each uses a part")]

pub mod parity;
pub mod quic;
pub mod wire;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use slips_core::event::Event;
use slips_core::time::PacketTime;
use slips_sensor::{LinkType, Sensor, Settings};

/// The folder of the corpora, or none with a note that `test` was skipped.
pub fn corpora(test: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "a test has no main to hand the environment down")]
    let named = std::env::var("SLIPS_CORPORA").ok().map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    let found = named.unwrap_or(beside);
    if found.join("manifest.json").exists() {
        return Some(found);
    }
    println!("skipped: {test}: no corpora");
    None
}

/// One captured packet.
pub struct Captured {
    pub link: u32,
    pub at: PacketTime,
    pub bytes: Vec<u8>,
    pub wire_len: u32,
}

/// Reads a pcap or pcapng file as far as it is whole.
pub fn read_capture(path: &Path) -> Vec<Captured> {
    let file = std::fs::read(path).expect("capture");
    let mut packets = Vec::new();
    if file.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
        read_pcapng(&file, &mut packets);
    } else {
        read_pcap(&file, &mut packets);
    }
    packets
}

fn u32_at(bytes: &[u8], at: usize, little: bool) -> Option<u32> {
    let word: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(if little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) })
}

fn u16_at(bytes: &[u8], at: usize, little: bool) -> Option<u16> {
    let word: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(if little { u16::from_le_bytes(word) } else { u16::from_be_bytes(word) })
}

fn read_pcap(file: &[u8], packets: &mut Vec<Captured>) -> Option<()> {
    let (little, nanos) = match file.get(..4)? {
        [0xd4, 0xc3, 0xb2, 0xa1] => (true, false),
        [0xa1, 0xb2, 0xc3, 0xd4] => (false, false),
        [0x4d, 0x3c, 0xb2, 0xa1] => (true, true),
        [0xa1, 0xb2, 0x3c, 0x4d] => (false, true),
        _ => return None,
    };
    let link = u32_at(file, 20, little)? & 0xffff;
    let mut at = 24;
    loop {
        let word = |n: usize| u32_at(file, at + 4 * n, little);
        let (secs, fraction, length, wire_len) = (word(0)?, word(1)?, word(2)?, word(3)?);
        let micros = if nanos { fraction / 1000 } else { fraction };
        let bytes = file.get(at + 16..at + 16 + length as usize)?.to_vec();
        let time = PacketTime::from_secs_micros(secs.into(), micros.into());
        packets.push(Captured { link, at: time, bytes, wire_len });
        at += 16 + length as usize;
    }
}

fn read_pcapng(file: &[u8], packets: &mut Vec<Captured>) -> Option<()> {
    let mut at = 0;
    let mut little = true;
    let mut interfaces: Vec<(u32, u64)> = Vec::new();
    loop {
        if file.get(at..at + 4)? == [0x0a, 0x0d, 0x0d, 0x0a] {
            little = file.get(at + 8..at + 12)? == [0x4d, 0x3c, 0x2b, 0x1a];
            interfaces.clear();
        }
        let (kind, length) = (u32_at(file, at, little)?, u32_at(file, at + 4, little)? as usize);
        let block = file.get(at + 8..at + length.checked_sub(4)?)?;
        match kind {
            1 => interfaces.push((u16_at(block, 0, little)?.into(), resolution(block, little))),
            6 => {
                let (link, per_second) = *interfaces.get(u32_at(block, 0, little)? as usize)?;
                let high = u64::from(u32_at(block, 4, little)?);
                let stamp = high << 32 | u64::from(u32_at(block, 8, little)?);
                let micros = u128::from(stamp) * 1_000_000 / u128::from(per_second);
                let length = u32_at(block, 12, little)? as usize;
                packets.push(Captured {
                    link,
                    at: PacketTime(micros as i64),
                    bytes: block.get(20..20 + length)?.to_vec(),
                    wire_len: u32_at(block, 16, little)?,
                });
            }
            _ => {}
        }
        at += length;
    }
}

/// Units of an interface's time stamps per second.
fn resolution(block: &[u8], little: bool) -> u64 {
    let mut at = 8;
    while let (Some(code), Some(length)) = (u16_at(block, at, little), u16_at(block, at + 2, little)) {
        match (code, block.get(at + 4)) {
            (9, Some(value)) if value & 0x80 != 0 => return 1 << (value & 63),
            (9, Some(value)) => return 10u64.saturating_pow((*value).into()),
            _ => at += 4 + usize::from(length).next_multiple_of(4),
        }
    }
    1_000_000
}

/// Runs a capture through a sensor to its end.
pub fn run(path: &Path, settings: Settings) -> (Sensor, Vec<Event>) {
    let mut sensor = Sensor::new(settings);
    let mut events = Vec::new();
    for packet in read_capture(path) {
        if let Some(link) = LinkType::from_dlt(packet.link) {
            sensor.packet(link, 0, packet.at, &packet.bytes, packet.wire_len, &mut events);
        }
    }
    sensor.finish(&mut events);
    (sensor, events)
}

/// The rows of a Zeek log in tab-separated form.
pub fn read_log(path: &Path) -> Vec<HashMap<String, String>> {
    let text = String::from_utf8_lossy(&std::fs::read(path).expect("log")).into_owned();
    let mut fields: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for line in text.lines() {
        if let Some(names) = line.strip_prefix("#fields\t") {
            fields = names.split('\t').collect();
        } else if !line.starts_with('#') && !line.is_empty() {
            rows.push(
                fields.iter().zip(line.split('\t')).map(|(k, v)| ((*k).to_owned(), v.to_owned())).collect(),
            );
        }
    }
    rows
}

/// A case of the manifest with one of its expected files.
pub struct Case {
    pub id: String,
    pub capture: PathBuf,
    pub expected: PathBuf,
    pub ignore_checksums: bool,
}

fn text<'a>(value: &'a serde_json::Value, key: &str) -> &'a str {
    value.get(key).and_then(serde_json::Value::as_str).unwrap_or("")
}

/// The manifest's cases that have an expected log of Zeek's named `log`.
pub fn cases(corpora: &Path, log: &str) -> Vec<Case> {
    let manifest = std::fs::read(corpora.join("manifest.json")).expect("manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("manifest");
    let mut cases = Vec::new();
    for case in manifest.as_array().expect("list") {
        for expected in case.get("expected").and_then(serde_json::Value::as_array).into_iter().flatten() {
            if text(expected, "path") == log {
                let dir = corpora.join(text(case, "dir"));
                cases.push(Case {
                    id: text(case, "id").to_owned(),
                    capture: dir.join(text(case, "capture")),
                    expected: dir.join(text(expected, "file")),
                    ignore_checksums: expected.get("ignore_checksums").and_then(serde_json::Value::as_bool)
                        != Some(false),
                });
            }
        }
    }
    cases
}
