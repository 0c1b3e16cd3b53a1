//! Organisations: keys kept apart, rosters that they sign, and what hostile ones get for an answer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use slips_p2p::identity::NodeKey;
use slips_p2p::roster::{LONGEST, Role, Roster};

use crate::router::{Router, key, mode, now, told};

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
