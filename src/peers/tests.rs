use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use slips_p2p::invite::{self, Invite};
use slips_p2p::members::Peer;

use super::table::OrgRow;
use super::*;

const NOW: Moment = Moment(1_793_600_000_000);

fn store(dir: &Path) -> Store {
    Store::new(dir.join("p2p"), None)
}

fn node(n: u8) -> NodeId {
    NodeKey::from_seed(&[n; 32]).id()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

fn nothing(_: &mut State) -> Result<(), Error> {
    Ok(())
}

#[test]
fn the_identity_is_made_once_and_only_the_owner_can_read_it() {
    let dir = tempfile::tempdir().expect("temp");
    let store = store(dir.path());
    assert_eq!(store.load().expect("empty").id, None);
    store.change(NOW, nothing).expect("made");
    let first = store.load().expect("there");
    assert_eq!(first.book.epoch, NOW.0);
    store.change(NOW.plus(Duration::from_secs(9)), nothing).expect("again");
    let again = store.load().expect("there");
    assert_eq!((again.id, again.book.epoch), (first.id, NOW.0));
    assert_eq!(mode_of(&store.directory().join("node-key")), 0o600);
    assert_eq!(mode_of(&store.directory().join("state.json")), 0o600);
    assert_eq!(mode_of(&store.table_path()), 0o640);
    assert_eq!(mode_of(store.directory()), 0o750);
}

#[test]
fn a_lost_damaged_exchanged_or_open_key_is_an_error_and_never_a_new_identity() {
    let dir = tempfile::tempdir().expect("temp");
    let store = store(dir.path());
    store.change(NOW, nothing).expect("made");
    let (path, id) = (store.directory().join("node-key"), store.load().expect("there").id);
    let key = fs::read_to_string(&path).expect("key");
    let refused = |what: &str| {
        let error = store.load().expect_err(what).to_string();
        assert_eq!(store.change(NOW, nothing).expect_err(what).to_string(), error);
        error
    };
    fs::remove_file(&path).expect("removed");
    assert!(refused("lost").contains("is gone"));
    files::write(&path, "0123\n", files::Mode::Secret).expect("written");
    assert!(refused("damaged").contains("is no key"));
    files::write(&path, &files::to_hex(&[7; 32]), files::Mode::Secret).expect("written");
    assert!(refused("exchanged").contains("slips peers id --new"));
    files::write(&path, &key, files::Mode::Shared).expect("written");
    assert!(refused("open").contains("chmod 600"));
    files::write(&path, &key, files::Mode::Secret).expect("written");
    assert_eq!(store.load().expect("restored").id, id);
    // The owner's word makes a new one, and the old key stays.
    let new = store.renew_identity(NOW).expect("renewed");
    assert_ne!(Some(new), id);
    assert_eq!(store.load().expect("new").id, Some(new));
    assert_eq!(fs::read_to_string(path.with_extension((NOW.0 / 1000).to_string())).expect("kept"), key);
    assert!(store.load().expect("new").book.epoch > NOW.0);
}

#[test]
fn files_that_only_the_program_writes_are_refused_when_damaged() {
    let dir = tempfile::tempdir().expect("temp");
    let store = store(dir.path());
    store.change(NOW, nothing).expect("made");
    for name in ["state.json", "network-key", "rosters"] {
        let path = store.directory().join(name);
        let before = fs::read_to_string(&path).ok();
        for text in ["{", "null", "{\"version\": 9}", "slips-roster-1-aaaa", "\0"] {
            files::write(&path, text, files::Mode::Secret).expect("written");
            let error = store.load().expect_err(text).to_string();
            assert!(error.contains(name) && error.contains("backup"), "{error}");
        }
        match before {
            Some(text) => files::write(&path, &text, files::Mode::Secret).expect("restored"),
            None => fs::remove_file(&path).expect("removed"),
        }
    }
    store.load().expect("whole again");
    // A link leads out of the directory: whoever may write here must not make root read elsewhere.
    fs::remove_file(store.directory().join("state.json")).expect("removed");
    std::os::unix::fs::symlink("/etc/passwd", store.directory().join("state.json")).expect("linked");
    store.load().expect_err("a link");
}

#[test]
fn the_credential_of_the_unit_is_the_key_and_the_command_line_knows_who_we_are() {
    let dir = tempfile::tempdir().expect("temp");
    let credentials = dir.path().join("credentials");
    fs::create_dir(&credentials).expect("made");
    fs::write(credentials.join("slips-node-key"), files::to_hex(&[3; 32])).expect("written");
    let daemon = Store::new(dir.path().join("p2p"), Some(&credentials));
    daemon.change(NOW, nothing).expect("made");
    assert_eq!(daemon.load().expect("there").id, Some(node(3)));
    let hand = store(dir.path());
    hand.change(NOW, nothing).expect("no key is made");
    let seen = hand.load().expect("there");
    assert_eq!(seen.id, Some(node(3)));
    assert!(seen.key.is_none() && !hand.directory().join("node-key").exists());
}

#[test]
fn what_is_written_is_read_again_with_the_comments_of_the_owner() {
    let text = format!(
        "# gone\n\npeers:\n  # my attic\n  # since 2026\n  - id: {}\n    name: attic\n    addresses: [203.0.113.9, \"[2001:db8::1]:99\"]\n  \
         - {{id: {}, group: \"a: \\\"b\\\"\", role: blamer, weight: 1, confirmed: false, follow: [{{list: scans, policy: score}}]}}\n\
         organisations:\n  - id: {}\n    cap: 0.6\n",
        node(1),
        node(2),
        node(3)
    );
    let table = Table::parse(Path::new("peers.yaml"), &text).expect("right");
    let first = &table.peers[0];
    assert_eq!((first.role, first.weight, first.confirmed), (None, Peer::CONFIRMED, true));
    assert_eq!(first.addresses[0].to_string(), "/ip4/203.0.113.9/tcp/7778");
    assert_eq!(table.peers[1].follow[0].policy, Policy::Score);
    assert_eq!(table.organisations, [OrgRow { cap: Some(0.6), ..OrgRow::new(node(3)) }]);
    let written = table.render();
    assert!(written.contains("  # my attic\n  # since 2026\n  - id:"), "{written}");
    assert_eq!(Table::parse(Path::new("peers.yaml"), &written).expect("as written"), table);
    assert_eq!(Table::parse(Path::new("x"), &Table::default().render()), Ok(Table::default()));
}

#[test]
fn every_mistake_in_the_table_is_told_with_its_line() {
    let long = "x".repeat(201);
    let text = format!(
        "peers:\n  - id: 12D3\n  - id: {0}\n    name: Attic\n    weight: 2\n    role: king\n    addresses: [nowhere]\n    note: {long}\n    colour: red\n",
        node(1)
    );
    let wrong = Table::parse(Path::new("peers.yaml"), &text).expect_err("wrong");
    let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert!(told.iter().all(|line| line.starts_with("peers.yaml:")), "{told:#?}");
    assert!(told[0].starts_with("peers.yaml:2:"), "{told:#?}");
    let twice = format!(
        "peers:\n  - {{id: {0}, name: a}}\n  - {{id: {0}, name: b}}\n  - {{id: {1}, name: a}}\n",
        node(1),
        node(2)
    );
    let wrong = Table::parse(Path::new("peers.yaml"), &twice).expect_err("twice");
    assert_eq!(wrong.len(), 2, "{wrong:#?}");
    assert_eq!((wrong[0].line, wrong[1].line), (3, 4));
}

#[test]
fn an_invite_is_used_once_and_gives_its_name_and_group() {
    let dir = tempfile::tempdir().expect("temp");
    let store = store(dir.path());
    let token = [5; 16];
    let until = store
        .change(NOW, |state| {
            state.network = Some(Secret([1; 32]));
            let name = Name::new("attic");
            state.book.invite(&token, invite::LONGEST, name, Some("home".into()), NOW).map_err(|_| full())
        })
        .expect("open");
    let state = store.load().expect("there");
    assert!(state.enabled(NOW) && !state.enabled(until));
    assert!(state.book.open(NOW).redeem(&token, NOW));
    let text = fs::read_to_string(store.directory().join("state.json")).expect("text");
    assert!(!text.contains(&files::to_hex(&token)), "the token itself is not kept");
    store
        .change(NOW, |state| {
            assert!(state.joined(node(1), Name::new("boss"), &invite::hash(&token)));
            assert!(!state.joined(node(2), Name::new("attic"), &invite::hash(&token)), "it was for one");
            Ok::<_, Error>(())
        })
        .expect("joined");
    let state = store.load().expect("there");
    assert!(state.book.invites.is_empty());
    let row = state.table.peer(node(1)).expect("in");
    assert_eq!((row.called().as_str(), row.group.as_deref()), ("attic", Some("home")));
    assert_eq!((row.weight, row.confirmed), (Peer::INVITED, false));
    assert!(state.table.peer(node(2)).is_none());
    assert_eq!(state.members().find(node(1), NOW).map(|found| found.base), Some(Peer::INVITED));
}

fn full() -> Error {
    Error::Corrupt { path: PathBuf::new(), what: "full".into() }
}

#[test]
fn a_join_that_is_refused_leaves_the_old_network_and_one_that_succeeds_changes_it() {
    let dir = tempfile::tempdir().expect("temp");
    let store = store(dir.path());
    let invite = Invite {
        psk: [8; 32],
        inviter: node(4),
        token: [9; 16],
        until: NOW.plus(Duration::from_secs(60)),
        addresses: vec!["/ip4/203.0.113.9/tcp/7778".into()],
    };
    let run = |work: fn(&mut State), join: bool| {
        let invite = invite.clone();
        store
            .change(NOW, move |state| {
                if join {
                    state.book.join = Some(invite);
                }
                work(state);
                Ok::<_, Error>(())
            })
            .expect("changed");
        store.load().expect("there")
    };
    let state = run(|state| state.network = Some(Secret([1; 32])), true);
    assert_eq!(state.psk(NOW), Some([8; 32]));
    assert_eq!(state.psk(invite.until), Some([1; 32]));
    let state = run(|state| state.refused(node(4)), false);
    assert_eq!((state.psk(NOW), state.table.peers.len()), (Some([1; 32]), 0));
    let state = run(|state| assert!(state.admitted(node(4), Name::new("core"))), true);
    assert_eq!(
        (state.psk(invite.until), state.book.joined.as_ref().map(|row| row.admitted)),
        (Some([8; 32]), Some(true))
    );
    assert_eq!(state.table.peer(node(4)).map(|row| row.addresses.len()), Some(1));
}

#[test]
fn two_writers_wait_for_each_other() {
    let dir = tempfile::tempdir().expect("temp");
    let store = store(dir.path());
    store.change(NOW, nothing).expect("made");
    std::thread::scope(|scope| {
        for part in 0..4u8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..8 {
                    let row = PeerRow::by_hand(NodeId([part * 8 + n + 1; 32]));
                    let add = |state: &mut State| {
                        state.table.peers.push(row);
                        Ok::<_, Error>(())
                    };
                    store.change(NOW, add).expect("added");
                }
            });
        }
    });
    assert_eq!(store.load().expect("there").table.peers.len(), 32);
}
