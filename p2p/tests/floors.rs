//! The lowest versions that may be linked: holes that were fixed there can be used from afar, and the advisory database has most
//! of them not, so that an audit of the lockfile would stay green on a vulnerable tree.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test has no other way to fail")]

/// Crate, lowest version, why. A crate that is not in the lockfile cannot hurt.
const FLOORS: &[(&str, [u64; 3], &str)] = &[
    (
        "libp2p-gossipsub",
        [0, 50, 1],
        "CVE-2026-33040, CVE-2026-34219, GHSA-g3g5-x568-qvqx, GHSA-vrx6-jcp8-vm7m: one message ends the node",
    ),
    (
        "yamux",
        [0, 14, 1],
        "CVE-2026-32314, GHSA-4w32-2493-32g7: one frame ends the node, before anybody is authenticated",
    ),
    ("libp2p-quic", [0, 13, 1], "GHSA-5hq8-qhww-jm7q: a bad certificate ends the node"),
    ("quinn-proto", [0, 11, 15], "RUSTSEC-2026-0037, RUSTSEC-2026-0185: memory and time without bound"),
    ("hickory-proto", [0, 26, 1], "RUSTSEC-2026-0118 to 0120: loops and time without bound"),
    ("curve25519-dalek", [4, 1, 3], "RUSTSEC-2024-0344: timing of secrets"),
    ("ring", [0, 17, 12], "RUSTSEC-2025-0009: overflow panic"),
];

fn locked() -> Vec<(String, [u64; 3])> {
    let lock =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).expect("a lockfile");
    let mut found = Vec::new();
    let mut name = String::new();
    for line in lock.lines() {
        let value = |key: &str| line.strip_prefix(key).map(|rest| rest.trim_matches('"').to_owned());
        if let Some(this) = value("name = ") {
            name = this;
        } else if let Some(version) = value("version = ") {
            let plain = version.split(['-', '+']).next().unwrap_or_default();
            let parts: Vec<u64> = plain.split('.').filter_map(|part| part.parse().ok()).collect();
            if let Ok(parts) = parts.try_into() {
                found.push((name.clone(), parts));
            }
        }
    }
    found
}

#[test]
fn no_crate_is_older_than_its_last_known_hole() {
    let locked = locked();
    assert!(locked.iter().any(|(name, _)| name == "libp2p-gossipsub"), "the lockfile was read");
    let old: Vec<String> = locked
        .iter()
        .filter_map(|(name, version)| {
            let (_, floor, why) = FLOORS.iter().find(|(known, floor, _)| known == name && version < floor)?;
            Some(format!("{name} {version:?} is below {floor:?}: {why}"))
        })
        .collect();
    assert!(old.is_empty(), "{}", old.join("\n"));
}
