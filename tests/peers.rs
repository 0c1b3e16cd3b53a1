//! `slips peers` as an administrator has it, in state directories of its own, without a daemon: identity, table, invites,
//! organisations, and what hostile or damaged files get for an answer.
#![allow(clippy::expect_used, reason = "a test has no other way to fail")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use slips_p2p::identity::{NodeId, NodeKey, fingerprint};
use slips_p2p::invite::Invite;
use slips_p2p::moment::Moment;
use slips_p2p::roster::{LONGEST, Role, Roster};

/// A router's directory, and `slips peers` with it.
struct Router {
    temp: tempfile::TempDir,
}

impl Router {
    fn new() -> Self {
        Self { temp: tempfile::tempdir().expect("temp") }
    }

    /// One that has an identity.
    fn with_id() -> (Self, NodeId) {
        let router = Self::new();
        let id = router.json(&["id"])["id"].as_str().expect("id").parse().expect("an id");
        (router, id)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.temp.path().join("p2p").join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slips"));
        command.arg("peers").args(args).arg("--directory").arg(self.temp.path().join("p2p"));
        command.arg("--config").arg(self.config());
        command
    }

    /// The built-in defaults: what the machine has under /etc must not matter.
    fn config(&self) -> PathBuf {
        let path = self.temp.path().join("slips.yaml");
        fs::write(&path, "p2p:\n  announce: [198.51.100.1]\n").expect("written");
        path
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("the binary runs")
    }

    /// Standard output of a command that must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("utf-8")
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).expect("one JSON value")
    }

    /// Exit code and message of a command that must fail; the message is one that a terminal can bear.
    fn fails(&self, args: &[&str]) -> (i32, String) {
        told(&self.run(args))
    }

    fn fails_with_input(&self, args: &[&str], input: &str) -> (i32, String) {
        told(&self.with_input(args, input))
    }

    fn with_input(&self, args: &[&str], input: &str) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        // A command that refuses at once may not read it.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        child.wait_with_output().expect("it ends")
    }

    fn peers(&self) -> Vec<Value> {
        self.json(&["list"])["peers"].as_array().expect("peers").clone()
    }
}

fn told(out: &Output) -> (i32, String) {
    let text = String::from_utf8(out.stderr.clone()).expect("utf-8");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    (out.status.code().expect("a code"), text)
}

fn key(n: u8) -> NodeKey {
    NodeKey::from_seed(&[n; 32])
}

fn now() -> Moment {
    #[expect(clippy::disallowed_methods, reason = "the binary reads the same clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Moment(u64::try_from(now.as_millis()).expect("in range"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

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
fn an_invite_ends_names_its_addresses_and_few_are_open() {
    let (router, id) = Router::with_id();
    let before = now();
    let line = router.ok(&["invite", "--for", "2h", "--name", "attic"]);
    let invite: Invite = line.parse().expect("an invite");
    assert_eq!((invite.inviter, &invite.addresses[..]), (id, &["/ip4/198.51.100.1/tcp/7778".to_owned()][..]));
    let until = before.plus(Duration::from_secs(7200));
    assert!(invite.until >= until && invite.until <= now().plus(Duration::from_secs(7200)));
    for life in ["25h", "0s", "2d"] {
        assert_eq!(router.fails(&["invite", "--for", life]).0, 64, "{life}");
    }
    assert_eq!(router.fails(&["invite", "--name", "a_b"]).0, 64);
    for _ in 0..3 {
        router.ok(&["invite", "--address", "203.0.113.9:99"]);
    }
    let (code, text) = router.fails(&["invite"]);
    assert!(code == 65 && text.contains("are open already"), "{text}");
    // Neither the token nor the line is on disk.
    let state = fs::read_to_string(router.file("state.json")).expect("there");
    assert!(
        !state.contains("slips-invite")
            && router.json(&["list"])["invites"].as_array().is_some_and(|all| all.len() == 4)
    );
}

#[test]
fn a_join_waits_on_disk_and_bad_invites_are_refused() {
    let (inviter, id) = Router::with_id();
    let (joiner, own) = Router::with_id();
    let line = inviter.ok(&["invite"]);
    let out = joiner.with_input(&["join", "--json"], &line);
    let told: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!((&told["state"], &told["by"]), (&"waiting".into(), &id.to_string().into()));
    assert_eq!(told["words"], fingerprint(&[id, own]));
    assert_eq!(joiner.json(&["list"])["join"]["by"], id.to_string());
    let good: Invite = line.parse().expect("an invite");
    let ended = Invite { until: now().minus(Duration::from_secs(1)), ..good.clone() }.to_string();
    for (text, why) in [
        ("", "starts with"),
        ("hello", "starts with"),
        ("slips-invite-1-", "damaged"),
        (&line.trim()[..60], "damaged"),
        (&format!("slips-invite-1-{}", "a".repeat(4000)), "starts with"),
        (&"\u{1b}]0;x\u{7}".repeat(2000), "starts with"),
        (&ended, "ended at"),
    ] {
        let (code, said) = joiner.fails_with_input(&["join"], text);
        assert!(code == 65 && said.contains(why), "{text:?}: {code} {said}");
    }
    let (code, said) = inviter.fails_with_input(&["join"], &line);
    assert!(code == 65 && said.contains("this router itself"), "{said}");
    // A member of another network leaves it first.
    joiner.ok(&["add", &key(9).id().to_string()]);
    let (code, said) = joiner.fails_with_input(&["join"], &line);
    assert!(code == 65 && said.contains("slips peers leave"), "{said}");
    assert_eq!(joiner.fails(&["leave"]).0, 64);
    joiner.ok(&["leave", "--yes"]);
    assert!(joiner.with_input(&["join"], &line).status.success());
}

#[test]
fn only_the_right_six_words_confirm() {
    let (router, own) = Router::with_id();
    let id = key(1).id();
    let table = format!("peers:\n  - {{id: {id}, name: attic, weight: 0.3, confirmed: false}}\n");
    fs::write(router.file("peers.yaml"), table).expect("written");
    let words = fingerprint(&[own, id]);
    let (code, text) = router.fails(&["confirm", "attic", "--words", &fingerprint(&[id])]);
    assert!(code == 65 && text.contains("Do not confirm"), "{text}");
    // Without a terminal nobody can have compared them.
    assert_eq!(router.fails(&["confirm", "attic"]).0, 64);
    assert_eq!(router.peers()[0]["weight"], 0.3);
    router.ok(&["confirm", "attic", "--words", &words.to_uppercase().replace(' ', "  ")]);
    let peer = &router.peers()[0];
    assert_eq!((&peer["weight"], &peer["confirmed"]), (&0.6.into(), &true.into()));
}

#[test]
fn the_networks_key_goes_from_router_to_router() {
    let (a, _) = Router::with_id();
    let (b, _) = Router::with_id();
    assert_eq!(a.fails(&["network", "show"]).0, 65);
    a.ok(&["network", "new"]);
    let line = a.ok(&["network", "show"]);
    assert!(b.with_input(&["network", "set"], &line).status.success());
    assert_eq!(a.json(&["id"])["network"], b.json(&["id"])["network"]);
    assert_eq!(b.ok(&["network", "show"]), line);
    for bad in ["", "slips-network-1-", "slips-network-1-zz", &line.trim()[..70]] {
        assert_eq!(b.fails_with_input(&["network", "set"], bad).0, 65, "{bad}");
    }
}

/// An organisation with its key on disk, and rosters of any kind.
struct Org {
    key: NodeKey,
    path: PathBuf,
}

impl Org {
    fn new(router: &Router) -> Self {
        let path = router.temp.path().join("family.key");
        let told = router.json(&["org", "init", "family", "--key", path.to_str().expect("utf-8")]);
        assert_eq!(mode(&path), 0o600);
        let text = fs::read_to_string(&path).expect("the key");
        let hex = text.lines().last().expect("a line");
        let seed: Vec<u8> =
            (0..32).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).expect("hex")).collect();
        let key = NodeKey::from_seed(&seed.try_into().expect("32 bytes"));
        assert_eq!(told["id"], key.id().to_string());
        Self { key, path }
    }

    fn roster(&self, version: u64, members: &[(u8, Role)]) -> Roster {
        Roster {
            org: self.key.id(),
            version,
            not_before: now().minus(Duration::from_secs(60)),
            not_after: now().plus(Duration::from_secs(3600)),
            members: members.iter().map(|(n, role)| (key(*n).id(), *role)).collect(),
            revoked: Vec::new(),
        }
    }

    fn line(&self, roster: &Roster) -> String {
        roster.sign(&self.key).to_string()
    }
}

#[test]
fn a_roster_makes_members_within_the_limits_of_who_trusts() {
    let (router, _) = Router::with_id();
    let org = Org::new(&router);
    let file = router.temp.path().join("members.yaml");
    let members = format!(
        "members:\n  - {{id: {}, role: authority}}\n  - {{id: {}, role: reporter, name: x}}\n",
        key(1).id(),
        key(2).id()
    );
    fs::write(&file, members).expect("written");
    let roster = router.temp.path().join("family.roster");
    let (file, roster) = (file.to_str().expect("utf-8"), roster.to_str().expect("utf-8"));
    router.ok(&["org", "sign", "--key", org.path.to_str().expect("utf-8"), "--members", file, "-o", roster]);
    let shown = router.json(&["org", "show", roster]);
    assert_eq!(shown["members"].as_array().map(Vec::len), Some(2));
    let (code, text) = router.fails(&["org", "import", roster]);
    assert!(code == 65 && text.contains("not trusted"), "{text}");
    router.ok(&[
        "org",
        "trust",
        roster,
        "--name",
        "family",
        "--weight",
        "0.4",
        "--max-role",
        "blamer",
        "--cap",
        "0.5",
    ]);
    let peers = router.peers();
    let roles: Vec<&str> = peers.iter().filter_map(|peer| peer["role"].as_str()).collect();
    assert_eq!(peers.len(), 2);
    assert!(roles.contains(&"blamer") && roles.contains(&"reporter"), "{roles:?}");
    assert!(peers.iter().all(|peer| peer["weight"] == 0.4 && peer["group"] == "family"));
    // Who is a member by a roster alone is not removed by hand.
    let (code, text) = router.fails(&["remove", &key(1).id().to_string()]);
    assert!(code == 65 && text.contains("roster"), "{text}");
    router.ok(&["org", "distrust", "family"]);
    assert!(router.peers().is_empty());
}

#[test]
fn old_ended_future_and_forged_rosters_are_refused_and_revocation_holds() {
    let (router, _) = Router::with_id();
    let org = Org::new(&router);
    router.ok(&["org", "trust", &org.key.id().to_string(), "--name", "family"]);
    let import = |roster: &Roster| router.run(&["org", "import", &org.line(roster)]);
    assert!(import(&org.roster(5, &[(1, Role::Reporter)])).status.success());
    let refused = |roster: &Roster, why: &str| {
        let (code, text) = told(&import(roster));
        assert!(code == 65 && text.contains(why), "{code} {text}");
    };
    refused(&org.roster(5, &[(2, Role::Reporter)]), "not newer");
    refused(&org.roster(4, &[(1, Role::Reporter)]), "not newer");
    let mut ended = org.roster(6, &[]);
    ended.not_after = now().minus(Duration::from_secs(1));
    refused(&ended, "not now");
    let mut early = org.roster(6, &[]);
    early.not_before = now().plus(Duration::from_secs(60));
    refused(&early, "not now");
    let mut long = org.roster(6, &[]);
    long.not_after = long.not_before.plus(LONGEST).plus(Duration::from_secs(1));
    refused(&long, "90 days");
    let forged = org.roster(7, &[(3, Role::Authority)]).sign(&key(7)).to_string();
    assert_eq!(router.fails(&["org", "import", &forged]).0, 65);
    assert_eq!(router.peers().len(), 1);
    let mut revoking = org.roster(8, &[(2, Role::Reporter)]);
    revoking.revoked = vec![key(1).id()];
    assert!(import(&revoking).status.success());
    let ids: Vec<String> =
        router.peers().iter().filter_map(|peer| peer["id"].as_str().map(str::to_owned)).collect();
    assert_eq!(ids, [key(2).id().to_string()]);
    refused(&org.roster(7, &[(1, Role::Reporter)]), "not newer");
}

#[test]
fn hostile_rosters_and_member_files_are_refused() {
    let (router, _) = Router::with_id();
    let org = Org::new(&router);
    let mut many = org.roster(1, &[]);
    many.members = (0..257u16)
        .map(|n| {
            (
                NodeKey::from_seed(&[[n as u8, (n >> 8) as u8]; 16].concat().try_into().expect("32")).id(),
                Role::Reporter,
            )
        })
        .collect();
    let huge = format!("slips-roster-1-{}", "a".repeat(3 << 20));
    for line in [&org.line(&many), "slips-roster-1-", "slips-roster-2-aa", "\u{1b}[2J", &huge, "a\nb"] {
        let path = router.temp.path().join("bad.roster");
        fs::write(&path, line).expect("written");
        for command in ["import", "show", "trust"] {
            let (code, text) = router.fails(&["org", command, path.to_str().expect("utf-8")]);
            assert!(code == 65 && text.len() < 400, "{command}: {code} {text}");
        }
    }
    assert_eq!(router.fails(&["org", "show", "/nowhere"]).0, 66);
    let file = router.temp.path().join("members.yaml");
    for text in [
        "members: [{id: x, role: reporter}]".to_owned(),
        format!("members: [{{id: {}, role: king}}]", key(1).id()),
        format!("members: [{{id: {0}, role: reporter}}, {{id: {0}, role: reporter}}]", key(1).id()),
        "members: 5".into(),
        "colour: red".into(),
        "&a [*a]".into(),
    ] {
        fs::write(&file, &text).expect("written");
        let args = [
            "org",
            "sign",
            "--key",
            org.path.to_str().expect("utf-8"),
            "--members",
            file.to_str().expect("utf-8"),
        ];
        let (code, said) = router.fails(&args);
        assert!(code == 78 && said.contains("members.yaml"), "{text}: {code} {said}");
    }
    // A key that others can read is no secret.
    fs::write(&file, "members: []").expect("written");
    fs::set_permissions(&org.path, fs::Permissions::from_mode(0o640)).expect("mode");
    let args = [
        "org",
        "sign",
        "--key",
        org.path.to_str().expect("utf-8"),
        "--members",
        file.to_str().expect("utf-8"),
    ];
    assert_eq!(router.fails(&args).0, 77);
    assert_eq!(router.fails(&["org", "init", "family", "--key", org.path.to_str().expect("utf-8")]).0, 65);
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
