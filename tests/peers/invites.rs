//! How two routers come together: invites, joining, the six words, the network's key.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use slips_p2p::identity::fingerprint;
use slips_p2p::invite::Invite;

use crate::router::{Router, key, now};

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
