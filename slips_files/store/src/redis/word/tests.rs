use super::super::signature::sign;
use super::*;

const SECRET: &str = "0123456789abcdef0123";
const NOW: i64 = 1_800_000_000;
const EVIDENCE: &str = r#"{"evidence_type":"PASSWORD_GUESSING","attacker":"203.0.113.9","victim":"192.168.1.5","threat_level":"high","confidence":0.8,"description":"40 logins\nfail","proto":"tcp","dst_port":22}"#;

fn keeper() -> Doorkeeper {
    Doorkeeper::new(Rules {
        router: Word::new("gw1").expect("a word"),
        evidence: true,
        commands: true,
        secret: Some(SECRET.into()),
        by_channel: ["honeypot".to_owned()].into(),
        proven: ["honeypot".to_owned()].into(),
        since: NOW - 10,
    })
}

fn message(channel: &str, router: &str, time: i64, nonce: &str, body: &str, secret: &str) -> Vec<u8> {
    let key = module_key(secret, "sandbox");
    message_of("sandbox", channel, router, time, nonce, body, &key)
}

fn message_of(
    module: &str,
    channel: &str,
    router: &str,
    time: i64,
    nonce: &str,
    body: &str,
    key: &str,
) -> Vec<u8> {
    let signature = sign(key, &signed(channel, module, router, time, nonce, body));
    serde_json::json!({"module": module, "router": router, "time": time, "nonce": nonce, "body": body, "signature": signature})
        .to_string()
        .into_bytes()
}

fn hear(keeper: &mut Doorkeeper, channel: &str, text: &[u8]) -> Result<Option<Heard>, Refused> {
    keeper.hear(channel, text, NOW, Duration::from_secs(1))
}

#[test]
fn signed_evidence_is_heard_attributed_and_unproven() {
    let mut keeper = keeper();
    let text = message("evidence_added", "*", NOW, "nonce-0001", EVIDENCE, SECRET);
    let heard = hear(&mut keeper, "evidence_added", &text).expect("heard").expect("for us");
    let Said::Evidence(finding) = heard.said else { panic!("evidence") };
    assert_eq!((heard.module.as_str(), finding.proof), ("sandbox", Proof::Unproven));
    assert_eq!(finding.text, "module sandbox: 40 logins\\nfail");
    assert_eq!(finding.kind, EvidenceKind::PasswordGuessing);
    // Another one's evidence of the same is not its.
    let own = Finding { told_by: None, ..(*finding).clone() };
    assert_ne!(own.id(), finding.id());
    assert_eq!(hear(&mut keeper, "evidence_added", &text), Err(Refused::Repeated));
}

#[test]
fn a_module_with_a_channel_of_its_own_needs_no_signature() {
    let mut keeper = keeper();
    let heard =
        hear(&mut keeper, "evidence_added:honeypot", EVIDENCE.as_bytes()).expect("heard").expect("for us");
    let Said::Evidence(finding) = heard.said else { panic!("evidence") };
    assert_eq!(finding.proof, Proof::Proven, "as configured");
    assert_eq!(hear(&mut keeper, "evidence_added:other", EVIDENCE.as_bytes()), Err(Refused::Unsigned));
    let mut channels = keeper.channels();
    channels.sort_unstable();
    assert_eq!(
        channels,
        ["control_channel", "control_channel:honeypot", "evidence_added", "evidence_added:honeypot"]
    );
}

#[test]
fn commands_are_heard_by_the_router_that_they_are_for() {
    let mut keeper = keeper();
    let mut say = |router: &str, nonce: &str, body: &str| {
        let text = message("control_channel", router, NOW, nonce, body, SECRET);
        hear(&mut keeper, "control_channel", &text).map(|heard| heard.map(|heard| heard.said))
    };
    let net = "203.0.113.9".parse().expect("a network");
    let block = r#"{"command":"block","net":"203.0.113.9","seconds":60,"why":"a test"}"#;
    assert_eq!(
        say("gw1", "nonce-0001", block),
        Ok(Some(Said::Block { net, seconds: 60, why: "a test".into() }))
    );
    assert_eq!(say("gw2", "nonce-0002", block), Ok(None));
    assert_eq!(
        say("*", "nonce-0003", r#"{"command":"unblock","net":"203.0.113.9"}"#),
        Ok(Some(Said::Unblock(net)))
    );
    assert_eq!(say("gw1", "nonce-0004", r#"{"command":"reload"}"#), Ok(Some(Said::Reload)));
    for wrong in [
        r#"{"command":"stop_slips"}"#,
        r#"{"command":"block","net":"203.0.113.9"}"#,
        r#"{"command":"block","net":"203.0.113.9","seconds":99999999}"#,
        r#"{"command":"block","net":"all","seconds":60}"#,
        r#"{"command":"block","net":"0.0.0.0/1","seconds":60}"#,
        r#"{"command":"unblock"}"#,
        r#"{"command":"reload","more":1}"#,
        "stop_slips",
    ] {
        let nonce = format!("nonce-{}-{}", wrong.len(), wrong.as_bytes()[wrong.len() - 3]);
        assert!(matches!(say("gw1", &nonce, wrong), Err(Refused::Wrong(_))), "{wrong}");
    }
}

#[test]
fn what_is_not_signed_as_it_must_be_is_not_heard() {
    let mut keeper = keeper();
    let wrong_secret = message("evidence_added", "*", NOW, "nonce-0001", EVIDENCE, "another secret, as long");
    let other_channel = message("control_channel", "*", NOW, "nonce-0001", EVIDENCE, SECRET);
    for text in [wrong_secret, other_channel] {
        assert_eq!(hear(&mut keeper, "evidence_added", &text), Err(Refused::Unsigned));
    }
    for time in [NOW - SKEW - 1, NOW + SKEW + 1, NOW - 11] {
        let text = message("evidence_added", "*", time, "nonce-0001", EVIDENCE, SECRET);
        assert_eq!(hear(&mut keeper, "evidence_added", &text), Err(Refused::Stale));
    }
    // What routers tell is none of it, and is no error either.
    assert_eq!(hear(&mut keeper, "evidence_added", br#"{"version":1,"router":"gw2","id":"x"}"#), Ok(None));
    assert!(matches!(hear(&mut keeper, "evidence_added", EVIDENCE.as_bytes()), Err(Refused::Wrong(_))));
    assert_eq!(hear(&mut keeper, "evidence_added", &vec![b' '; MOST_BYTES + 1]), Err(Refused::TooLong));
    keeper.rules.secret = None;
    let text = message("evidence_added", "*", NOW, "nonce-0009", EVIDENCE, SECRET);
    assert_eq!(hear(&mut keeper, "evidence_added", &text), Err(Refused::Unsigned));
}

#[test]
fn no_module_speaks_in_the_name_of_another() {
    let mut keeper = keeper();
    let key = module_key(SECRET, "sandbox");
    let mut say = |module: &str, nonce: &str, key: &str| {
        let text = message_of(module, "evidence_added", "*", NOW, nonce, EVIDENCE, key);
        hear(&mut keeper, "evidence_added", &text).map(|heard| heard.map(|heard| heard.module))
    };
    assert_eq!(say("sandbox", "nonce-0001", &key), Ok(Some("sandbox".into())));
    assert_eq!(say("honeypot", "nonce-0002", &key), Err(Refused::Unsigned));
    // The secret itself is the routers' alone and signs no module's words.
    assert_eq!(say("sandbox", "nonce-0003", SECRET), Err(Refused::Unsigned));
}

#[test]
fn whoever_repeats_what_a_module_said_takes_nothing_from_it() {
    let mut keeper = keeper();
    let text = message("evidence_added", "*", NOW, "nonce-0000", EVIDENCE, SECRET);
    assert!(hear(&mut keeper, "evidence_added", &text).is_ok());
    for _ in 0..1000 {
        assert_eq!(hear(&mut keeper, "evidence_added", &text), Err(Refused::Repeated));
    }
    for said in 1..BURST as u32 {
        let text = message("evidence_added", "*", NOW, &format!("nonce-{said:04}"), EVIDENCE, SECRET);
        assert!(hear(&mut keeper, "evidence_added", &text).is_ok(), "word {said}");
    }
    let text = message("evidence_added", "*", NOW, "nonce-last", EVIDENCE, SECRET);
    assert_eq!(hear(&mut keeper, "evidence_added", &text), Err(Refused::TooMany));
}

#[test]
fn evidence_that_makes_no_sense_is_not_heard() {
    let mut keeper = keeper();
    for (from, to) in [
        ("PASSWORD_GUESSING", "NO_SUCH"),
        ("PASSWORD_GUESSING", "P2P_REPORT"),
        ("203.0.113.9", "224.0.0.1"),
        ("203.0.113.9", "127.0.0.1"),
        ("203.0.113.9", "0.0.0.0"),
        ("203.0.113.9", "attic"),
        ("0.8", "1.5"),
        ("0.8", "-1"),
        ("\"high\"", "\"worse\""),
        ("\"tcp\"", "\"sctp\""),
        ("22", "70000"),
        ("\"proto\"", "\"protocol\""),
        ("40 logins", &"x".repeat(MOST_TEXT + 1)),
    ] {
        let text = EVIDENCE.replace(from, to);
        let said = hear(&mut keeper, "evidence_added:honeypot", text.as_bytes());
        assert!(matches!(said, Err(Refused::Wrong(_))), "{to}: {said:?}");
    }
}

#[test]
fn a_module_that_says_too_much_is_not_heard_and_others_are() {
    let mut keeper = keeper();
    let mut heard = 0;
    for _ in 0..500 {
        heard += usize::from(hear(&mut keeper, "evidence_added:honeypot", EVIDENCE.as_bytes()).is_ok());
    }
    assert_eq!(heard, BURST as usize);
    let text = message("evidence_added", "*", NOW, "nonce-0001", EVIDENCE, SECRET);
    assert!(hear(&mut keeper, "evidence_added", &text).is_ok());
    let later = keeper.hear("evidence_added:honeypot", EVIDENCE.as_bytes(), NOW, Duration::from_secs(2));
    assert!(later.is_ok(), "a second later ten more");
    for _ in 0..LOOKED_AT {
        let _ = keeper.hear("evidence_added", b"{}", NOW, Duration::from_secs(2));
    }
    let text = message("evidence_added", "*", NOW, "nonce-0002", EVIDENCE, SECRET);
    assert_eq!(keeper.hear("evidence_added", &text, NOW, Duration::from_secs(2)), Err(Refused::TooMany));
}

proptest::proptest! {
    #[test]
    fn no_text_at_all_does_harm(text in "\\PC*|[{}\":,a-z0-9]{0,200}") {
        let mut keeper = keeper();
        let _ = hear(&mut keeper, "evidence_added", text.as_bytes());
        let _ = hear(&mut keeper, "evidence_added:honeypot", text.as_bytes());
        let _ = hear(&mut keeper, "control_channel:honeypot", text.as_bytes());
    }
}
