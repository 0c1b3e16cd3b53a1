//! Writes what the detections say of themselves into `docs/detections.md` and `config/slips.yaml`.
//! `cargo run -p slips-detect --example document`

use std::path::Path;
use std::{fs, io};

use slips_detect::describe;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (file, begin, end, middle) in [
        ("docs/detections.md", "## Evidence types\n", "\n## What peers say\n", describe::markdown()),
        ("config/slips.yaml", "detections:\n", "\nDisabledAlerts:\n", describe::yaml()),
    ] {
        let path = root.join(file);
        let old = fs::read_to_string(&path)?;
        let new = describe::replaced(&old, begin, end, &middle)
            .ok_or_else(|| io::Error::other(format!("{file} has no part from {begin:?} to {end:?}")))?;
        fs::write(&path, new)?;
    }
    Ok(())
}
