//! CPU time of the sensor on a classic little-endian pcap file, with nothing behind it:
//!
//!     cargo run --release -p slips-sensor --example throughput -- FILE.pcap
//!
//! Prints packets per CPU second (reading the file is part of it) and the counters.

use std::fs::File;
use std::io::{self, BufReader, Read};

use slips_core::time::PacketTime;
use slips_sensor::{LinkType, Sensor, Settings};

/// Nanoseconds that this thread was on a CPU.
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn main() -> io::Result<()> {
    let path = std::env::args().nth(1).ok_or_else(|| io::Error::other("which capture?"))?;
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut header = [0u8; 24];
    file.read_exact(&mut header)?;
    let link = LinkType::from_dlt(word(&header, 20)).ok_or_else(|| io::Error::other("unknown link type"))?;
    let mut sensor = Sensor::new(Settings { key: [3, 5], ..Settings::default() });
    let (mut events, mut told) = (Vec::new(), 0u64);
    let (mut record, mut bytes) = ([0u8; 16], vec![0u8; 1 << 18]);
    let before = cpu_nanos();
    while file.read_exact(&mut record).is_ok() {
        let Some(captured) = bytes.get_mut(..word(&record, 8) as usize) else { break };
        file.read_exact(captured)?;
        let at = PacketTime::from_secs_micros(word(&record, 0).into(), word(&record, 4).into());
        sensor.packet(link, 0, at, captured, word(&record, 12), &mut events);
        if events.len() >= 256 {
            told += events.len() as u64;
            events.clear();
        }
    }
    loop {
        let more = sensor.finish_some(256, &mut events);
        told += events.len() as u64;
        events.clear();
        if !more {
            break;
        }
    }
    let seconds = (cpu_nanos() - before) as f64 / 1e9;
    let counters = sensor.counters();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let rss = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("");
    println!(
        "{} packets, {told} events, {seconds:.3} CPU s, {:.0} packets per CPU s, {rss}",
        counters.packets,
        counters.packets as f64 / seconds
    );
    println!("{counters:?}");
    Ok(())
}
