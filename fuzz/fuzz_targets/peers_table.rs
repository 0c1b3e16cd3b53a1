//! `peers.yaml`, which people write: read, or refused with what is wrong in it; what is written is read again as the same.
#![no_main]
#![allow(dead_code, reason = "the daemon's own files, of which this uses a part")]

use std::path::Path;

#[path = "../../src/config/yaml.rs"]
mod config;
#[path = "../../src/peers/mod.rs"]
mod peers;

use peers::table::Table;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let path = Path::new("peers.yaml");
    match Table::parse(path, text) {
        Ok(table) => {
            let written = table.render();
            assert_eq!(Table::parse(path, &written).as_ref(), Ok(&table), "{written}");
            for row in &table.peers {
                assert!((0.0..=1.0).contains(&row.to_peer().base));
            }
        }
        Err(problems) => assert!(!problems.is_empty(), "refused, and nobody says why"),
    }
});
