//! `slips peers` as an administrator has it, in state directories of its own, without a daemon: identity, table, invites,
//! organisations, and what hostile or damaged files get for an answer.
#![allow(clippy::expect_used, reason = "a test has no other way to fail")]

mod invites;
mod organisations;
mod router;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Stdio;

use router::{Router, key, mode};
use slips_p2p::identity::fingerprint;

#[test]
fn the_id_stays_and_its_key_is_the_owners_alone() {
    let (router, id) = Router::with_id();
    for _ in 0..2 {
        let told = router.json(&["id"]);
        assert_eq!(told["id"], id.to_string());
        assert_eq!(told["words"], fingerprint(&[id]));
        assert_eq!(told["addresses"][0], "/ip4/198.51.100.1/tcp/7778");
    }
    assert_eq!(mode(&router.file("node-key")), 0o600);
    assert_eq!(mode(&router.file("state.json")), 0o600);
    router.ok(&["add", &key(1).id().to_string()]);
    assert_eq!(router.json(&["id"])["id"], id.to_string());
    assert_eq!(mode(&router.file("network-key")), 0o600);
    let new = router.json(&["id", "--new"]);
    assert_ne!(new["id"], id.to_string());
}

#[test]
fn damaged_files_are_named_and_never_replaced() {
    let (router, _) = Router::with_id();
    let key_path = router.file("node-key");
    let good = fs::read(&key_path).expect("key");
    for (bytes, code) in [(&b""[..], 65), (b"zz", 65), (&[0xff; 65], 65), (&good[..40], 65)] {
        fs::write(&key_path, bytes).expect("written");
        for command in [&["id"][..], &["list"], &["invite"]] {
            let (got, text) = router.fails(command);
            assert!(got == code && text.contains("node-key"), "{command:?}: {got} {text}");
        }
        assert_eq!(fs::read(&key_path).expect("as it was"), bytes);
    }
    fs::remove_file(&key_path).expect("removed");
    let (code, text) = router.fails(&["id"]);
    assert!(code == 65 && text.contains("is gone") && text.contains("--new"), "{text}");
    assert!(!key_path.exists());
    fs::write(&key_path, &good).expect("written");
    fs::set_permissions(&key_path, fs::Permissions::from_mode(0o644)).expect("mode");
    let (code, text) = router.fails(&["id"]);
    assert!(code == 77 && text.contains("chmod 600"), "{text}");
    fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).expect("mode");
    fs::write(router.file("state.json"), "{\"version\":1").expect("written");
    let (code, text) = router.fails(&["list"]);
    assert!(code == 65 && text.contains("state.json"), "{text}");
}

#[test]
fn mistakes_in_the_table_are_told_with_file_and_line_and_the_table_stays() {
    let (router, _) = Router::with_id();
    let table = format!("peers:\n  - id: {}\n    weigth: 1\n  - id: nobody\n", key(1).id());
    fs::write(router.file("peers.yaml"), &table).expect("written");
    let (code, text) = router.fails(&["check"]);
    assert_eq!(code, 78, "{text}");
    assert!(
        text.contains("peers.yaml:3:") && text.contains("weigth") && text.contains("peers.yaml:4:"),
        "{text}"
    );
    assert_eq!(router.fails(&["add", &key(2).id().to_string()]).0, 78);
    assert_eq!(fs::read_to_string(router.file("peers.yaml")).expect("there"), table);
    let good = format!(
        "# by hand\npeers:\n  # the attic, since May\n  - id: {}\n    addresses: [203.0.113.9]\n",
        key(1).id()
    );
    fs::write(router.file("peers.yaml"), good).expect("written");
    assert_eq!(router.json(&["check"])["peers"], 1);
    router.ok(&["add", &key(1).id().to_string(), "--name", "attic"]);
    let text = fs::read_to_string(router.file("peers.yaml")).expect("there");
    assert!(text.contains("# the attic, since May\n  - id:"), "{text}");
}

#[test]
fn a_peer_is_added_changed_trusted_and_removed() {
    let (router, own) = Router::with_id();
    let id = key(1).id().to_string();
    let add = [
        "add",
        &id,
        "--name",
        "attic",
        "--address",
        "203.0.113.9",
        "--address",
        "[2001:db8::9]:99",
        "--group",
        "home",
    ];
    router.ok(&[&add[..], &["--role", "blamer", "--weight", "0.7"]].concat());
    let peer = &router.peers()[0];
    assert_eq!(
        (&peer["name"], &peer["role"], &peer["group"]),
        (&"attic".into(), &"blamer".into(), &"home".into())
    );
    assert_eq!(
        peer["addresses"],
        serde_json::json!(["/ip4/203.0.113.9/tcp/7778", "/ip6/2001:db8::9/tcp/99"])
    );
    // What is not named stays.
    router.ok(&["add", "attic", "--role", "reporter"]);
    let peer = &router.peers()[0];
    assert_eq!((&peer["role"], &peer["weight"]), (&"reporter".into(), &0.7.into()));
    router.ok(&["trust", "attic", "--weight", "0.25", "--clear"]);
    assert_eq!(router.peers()[0]["weight"], 0.25);
    assert_eq!(router.json(&["trust", "attic"])["weight"], 0.25);
    for (args, code) in [
        (&["add", "attik"][..], 65),
        (&["add", &own.to_string()], 65),
        (&["add", "12D3KooWshort"], 65),
        (&["add", &key(2).id().to_string(), "--name", "attic"], 65),
        (&["add", &id, "--name", "Attic"], 64),
        (&["add", &id, "--name", "\u{1b}[31m"], 64),
        (&["add", &id, "--name", "x123456789012345678901234567890123"], 64),
        (&["add", &id, "--group", "a\nb"], 64),
        (&["add", &id, "--weight", "1.1"], 64),
        (&["add", &id, "--weight", "NaN"], 64),
        (&["add", &id, "--role", "king"], 64),
        (&["add", &id, "--address", "attic.example:7778"], 64),
        (&["remove", "cellar"], 65),
        (&["reports"], 66),
    ] {
        let out = router.run(args);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    // The end of an id is enough.
    router.ok(&["remove", &id[id.len() - 8..]]);
    assert!(router.peers().is_empty());
}

#[test]
fn what_root_writes_belongs_to_the_daemon() {
    const DAEMON: u32 = 65_534;
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: what_root_writes_belongs_to_the_daemon: needs root");
        return;
    }
    let router = Router::new();
    std::os::unix::fs::chown(router.temp.path(), Some(DAEMON), Some(DAEMON)).expect("given away");
    router.ok(&["invite"]);
    router.ok(&["add", &key(1).id().to_string(), "--name", "attic"]);
    let list = router.temp.path().join("list.txt");
    fs::write(&list, "45.83.64.1\n").expect("written");
    router.ok(&["publish", "scanners", list.to_str().expect("utf-8")]);
    router.ok(&["id", "--new"]);
    let mut open = vec![router.file("")];
    while let Some(path) = open.pop() {
        let about = fs::symlink_metadata(&path).expect("there");
        assert_eq!((about.uid(), about.gid()), (DAEMON, DAEMON), "{}", path.display());
        if about.is_dir() {
            open.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("an entry").path()));
        }
    }
}

#[test]
fn who_writes_waits_for_who_writes() {
    let (router, _) = Router::with_id();
    let lock = fs::File::open(router.file("lock")).expect("the lock");
    lock.lock().expect("held");
    let (code, text) = router.fails(&["add", &key(1).id().to_string()]);
    assert!(code == 70 && text.contains("lock"), "{code} {text}");
    // Looking needs no lock.
    router.ok(&["list"]);
    let mut waiting =
        router.command(&["add", &key(1).id().to_string()]).stdout(Stdio::null()).spawn().expect("runs");
    drop(lock);
    assert!(waiting.wait().expect("ends").success());
    assert_eq!(router.peers().len(), 1);
}

#[test]
fn blocklists_are_published_checked_and_followed() {
    let (router, _) = Router::with_id();
    let file = router.temp.path().join("list.txt");
    let path = file.to_str().expect("utf-8");
    fs::write(&file, "198.51.100.7\n10.0.0.1\n8.8.0.0/16\nprinter.lan\n\u{1b}[31m\n").expect("written");
    let (code, text) = router.fails(&["publish", "scanners", path]);
    assert_eq!(code, 65, "{text}");
    for line in ["line 2", "line 3", "line 4", "line 5"] {
        assert!(text.contains(line), "{text}");
    }
    fs::write(&file, "# seen in May\n45.83.64.1 # twice\n45.83.64.1\nBad.Example.org\n45.83.65.0/24\n")
        .expect("written");
    assert_eq!(router.json(&["publish", "scanners", path])["entries"], 3);
    assert_eq!(router.json(&["lists"])["published"][0]["list"], "scanners");
    assert_eq!(router.fails(&["publish", "../x", path]).0, 64);
    router.ok(&["publish", "scanners", "--remove"]);
    assert_eq!(router.json(&["lists"])["published"], serde_json::json!([]));
    router.ok(&["add", &key(1).id().to_string(), "--name", "attic"]);
    router.ok(&["follow", "attic", "scanners", "--policy", "block"]);
    router.ok(&["follow", "attic", "scanners", "--policy", "log"]);
    assert_eq!(router.json(&["lists"])["followed"][0]["policy"], "log");
    assert_eq!(router.fails(&["follow", "attic", "scanners", "--policy", "kill"]).0, 64);
    router.ok(&["unfollow", "attic", "scanners"]);
    assert_eq!(router.fails(&["unfollow", "attic", "scanners"]).0, 65);
}

#[test]
fn every_command_has_help_with_an_example() {
    let router = Router::new();
    let commands = [
        "id",
        "list",
        "add",
        "remove",
        "invite",
        "join",
        "confirm",
        "trust",
        "reports",
        "network show",
        "network set",
        "network new",
        "leave",
        "lists",
        "follow",
        "unfollow",
        "publish",
        "check",
        "org init",
        "org sign",
        "org show",
        "org trust",
        "org import",
        "org distrust",
    ];
    for command in commands {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = router.ok(&words);
        assert!(help.contains("Example") && help.contains("slips peers"), "{command}: {help}");
    }
}
