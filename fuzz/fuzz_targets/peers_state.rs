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

/// A directory in memory, where there is one, with an identity.
static STORE: LazyLock<(Store, NodeId, Vec<u8>)> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let dir: PathBuf = base.join(format!("slips-fuzz-peers-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    let store = Store::new(dir.clone(), None);
    store.change(NOW, |_| Ok::<(), peers::Error>(())).expect("made");
    fs::create_dir(dir.join("lists")).expect("made");
    let id = store.load().expect("as we wrote it").id.expect("an identity");
    let key = fs::read(dir.join("node-key")).expect("there");
    (store, id, key)
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((which, text)) = input.split_first() else { return };
    let (store, id, key) = &*STORE;
    let name = FILES[usize::from(*which) % FILES.len()];
    let path = store.directory().join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
    if let Ok(state) = store.load() {
        // Without the noted identity any key is as good; with it there is one.
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
    // As it was.
    fs::remove_file(&path).expect("there");
    fs::write(store.directory().join("node-key"), key).expect("written");
    fs::set_permissions(store.directory().join("node-key"), fs::Permissions::from_mode(0o600)).expect("set");
});
