//! The directory of keys, notes, rosters and lists: a damaged file is an error, never a panic or a new identity, and what is written is
//! read again as the same.
//!
//! The first byte says which file the rest is; the others are as the program writes them.
#![no_main]
#![allow(dead_code, reason = "the daemon's own files, of which this uses a part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

#[path = "../../src/config/yaml.rs"]
mod config;
#[path = "../../src/peers/mod.rs"]
mod peers;

use peers::Store;
use slips_p2p::identity::NodeId;
use slips_p2p::moment::Moment;

const NOW: Moment = Moment(1_793_600_000_000);
const FILES: [&str; 5] = ["state.json", "node-key", "network-key", "rosters", "lists/scanners"];

/// A file as it is to be again after each input.
type Kept = (PathBuf, Vec<u8>);

/// A directory in memory, where there is one, with an identity.
static STORE: LazyLock<(Store, NodeId, [Kept; 2])> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let dir: PathBuf = base.join(format!("slips-fuzz-peers-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    let store = Store::new(dir.clone(), None);
    store.change(NOW, |_| Ok::<(), peers::Error>(())).expect("made");
    fs::create_dir(dir.join("lists")).expect("made");
    let id = store.load().expect("as we wrote it").id.expect("an identity");
    let kept = ["node-key", "state.json"].map(|name| {
        let path = dir.join(name);
        let bytes = fs::read(&path).expect("there");
        (path, bytes)
    });
    (store, id, kept)
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((which, text)) = input.split_first() else { return };
    let (store, id, kept) = &*STORE;
    let name = FILES[usize::from(*which) % FILES.len()];
    let path = store.directory().join(name);
    write(&path, text);
    if let Ok(state) = store.load() {
        // The notes say whose it must be.
        if name == "node-key" {
            assert_eq!(state.id, Some(*id));
        }
        let _ = (state.members().admitted(NOW).len(), state.enabled(NOW), state.psk(NOW));
        if store.change(NOW, |state| Ok::<_, peers::Error>(state.clone())).is_ok() {
            let again = store.load().expect("as we wrote it");
            let open = |state: &peers::State| state.book.open(NOW).persist().collect::<Vec<_>>();
            assert_eq!((again.network, &again.table), (state.network, &state.table));
            assert_eq!((again.rosters.len(), open(&again)), (state.rosters.len(), open(&state)));
        }
    }
    if let Ok(lists) = store.published(NOW) {
        for (list, wanted) in &lists {
            assert!(list.as_str() == "scanners" && wanted.entries.is_disjoint(&wanted.removed));
        }
    }
    fs::remove_file(&path).expect("there");
    kept.iter().for_each(|(path, bytes)| write(path, bytes));
});

/// As a secret, which the owner alone may read.
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
}
