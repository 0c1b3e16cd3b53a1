//! Of the snapshot as a whole.

use slips_core::evidence::ThreatLevel;

use super::*;
use crate::ioc::Ioc;

const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
const JA4: &str = "t13d1516h2_8daaf6152771_b186095e22b6";

fn saying<'a>(level: ThreatLevel, description: &'a str, source: &'a str) -> Saying<'a> {
    Saying { level, description, source, tags: "", first_seen: 0, last_seen: 0 }
}

fn built(rows: &[(Ioc, Saying<'_>)]) -> Indicators {
    let mut builder = Builder::new();
    rows.iter().for_each(|(ioc, saying)| assert!(builder.add(ioc, saying)));
    builder.finish()
}

fn ioc(text: &str) -> Ioc {
    Ioc::guess(text).expect(text)
}

/// An indicator of each kind.
pub(super) fn one_of_each() -> Indicators {
    let digest = |n: usize| "ab".repeat(n);
    let decoded = decode(MD5).expect("digest");
    let all = [
        ioc("192.0.2.1"),
        ioc("2001:db8::/32"),
        ioc("bad.example"),
        ioc("http://bad.example:8080/x?y"),
        ioc(MD5),
        ioc(&digest(20)),
        ioc(&digest(32)),
        ioc(JA4),
        ioc(&digest(31)),
        ioc("AS64496"),
        Ioc::Ja3(decoded),
        Ioc::Ja3s(decoded),
        Ioc::Certificate(decode(&digest(20)).expect("digest")),
    ];
    let saying = Saying {
        level: ThreatLevel::High,
        description: "bot",
        source: "own.csv",
        tags: "c2",
        first_seen: 1,
        last_seen: 2,
    };
    built(&all.map(|ioc| (ioc, saying)))
}

pub(super) fn assert_all_found(indicators: &Indicators) {
    let (sha1, sha256, jarm) = ("AB".repeat(20), "ab".repeat(32), "ab".repeat(31));
    for key in [
        Key::Address("192.0.2.1".parse().expect("ip")),
        Key::Address("2001:db8:1::1".parse().expect("ip")),
        Key::Domain("Bad.Example"),
        Key::Url { host: "BAD.example:8080", path: "/x?y" },
        Key::Md5(MD5),
        Key::Sha1(&sha1),
        Key::Sha256(&sha256),
        Key::Ja3(MD5),
        Key::Ja3s(MD5),
        Key::Ja4(JA4),
        Key::Jarm(&jarm),
        Key::Certificate(&sha1),
        Key::Asn(64496),
    ] {
        let listed = indicators.look_up(key).unwrap_or_else(|| panic!("{key:?}"));
        assert_eq!(listed.to_string(), "high (own.csv): bot [c2]", "{key:?}");
        assert!(listed.exact && listed.first_seen < listed.last_seen, "{key:?}");
    }
    for key in [
        Key::Address("192.0.2.2".parse().expect("ip")),
        Key::Domain("example"),
        Key::Domain(""),
        Key::Url { host: "bad.example", path: "/x?y" },
        Key::Url { host: "", path: "" },
        Key::Md5(""),
        Key::Sha1(MD5),
        Key::Ja4(""),
        Key::Asn(1),
    ] {
        assert_eq!(indicators.look_up(key), None, "{key:?}");
    }
}

#[test]
fn each_kind_is_found_and_nothing_else() {
    let indicators = one_of_each();
    assert_all_found(&indicators);
    let counts = Contents { nets: 2, domains: 1, urls: 1, files: 3, fingerprints: 5, asns: 1 };
    assert_eq!((indicators.contents(), counts.total()), (counts, 13));
}

#[test]
fn lists_about_one_thing_are_put_together() {
    let about = |level, description, source, tags, first_seen, last_seen| {
        (ioc("192.0.2.1"), Saying { level, description, source, tags, first_seen, last_seen })
    };
    let indicators = built(&[
        about(ThreatLevel::Low, "a", "one", "spam", 50, 60),
        about(ThreatLevel::High, "b", "two", "c2,spam", 40, 0),
        about(ThreatLevel::High, "c", "one", "", 0, 90),
    ]);
    let listed = indicators.look_up(Key::Address("192.0.2.1".parse().expect("ip"))).expect("listed");
    assert_eq!(listed.to_string(), "high (one, two): b [c2, spam]");
    let secs = |time: Option<slips_core::time::PacketTime>| time.map(|time| time.0 / 1_000_000);
    assert_eq!((secs(listed.first_seen), secs(listed.last_seen)), (Some(40), Some(90)));
    assert_eq!(indicators.contents().nets, 1);
}

#[test]
fn a_name_under_which_anybody_may_register_says_nothing_of_what_is_below() {
    let note = saying(ThreatLevel::High, "x", "y");
    let indicators =
        built(&[(ioc("github.io"), note), (ioc("evil.github.io"), note), (ioc("bad.example"), note)]);
    let exact = |name| indicators.look_up(Key::Domain(name)).map(|listed| listed.exact);
    assert_eq!(exact("github.io"), Some(true));
    assert_eq!(exact("good.github.io"), None);
    assert_eq!(exact("www.evil.github.io"), Some(false));
    assert_eq!(exact("www.bad.example."), Some(false));
    assert_eq!((exact("notbad.example"), exact("example"), exact("")), (None, None, None));
}

#[test]
fn a_url_is_found_with_another_query_too() {
    let note = saying(ThreatLevel::High, "x", "y");
    let indicators =
        built(&[(ioc("http://bad.example/Gate.php"), note), (ioc("http://bad.example/?a=1"), note)]);
    let exact = |host, path| indicators.look_up(Key::Url { host, path }).map(|listed| listed.exact);
    assert_eq!(exact("bad.example", "/Gate.php"), Some(true));
    assert_eq!(exact("bad.example:80", "/Gate.php?id=7"), Some(false));
    assert_eq!((exact("bad.example", "/gate.php"), exact("bad.example", "/?a=2")), (None, None));
    assert_eq!(exact("bad.example", &format!("/{}", "x".repeat(5000))), None);
}

#[test]
fn there_is_room_for_so_many_and_what_is_beyond_is_counted() {
    let mut builder = Builder::with_limit(2);
    let note = saying(ThreatLevel::High, "x", "y");
    let taken: Vec<bool> =
        ["192.0.2.1", "bad.example", "AS1"].map(|text| builder.add(&ioc(text), &note)).into();
    assert_eq!((taken, builder.refused()), (vec![true, true, false], 1));
}

#[test]
fn a_file_that_is_known_to_be_harmless_is_not_listed() {
    let mut builder = Builder::new();
    builder.add(&ioc(MD5), &saying(ThreatLevel::High, "x", "y"));
    builder.add_harmless(decode(MD5).expect("digest"));
    let indicators = builder.finish();
    assert_eq!((indicators.look_up(Key::Md5(MD5)), indicators.contents().files), (None, 0));
}

#[test]
fn a_person_asks_in_any_form() {
    let indicators = one_of_each();
    let found =
        |text: &str| -> Vec<&str> { indicators.find(text).into_iter().map(|(what, _)| what).collect() };
    assert_eq!(found("192.0.2.1"), ["address"]);
    assert_eq!(found("www.bad.example"), ["domain"]);
    assert_eq!(found("http://bad.example:8080/x?y"), ["url", "domain"]);
    assert_eq!(found(MD5), ["md5", "ja3", "ja3s"]);
    assert_eq!(found("as64496"), ["asn"]);
    assert!(found("good.example").is_empty());
}

#[test]
fn lookups_allocate_nothing() {
    let indicators = one_of_each();
    let lookups = allocation_counter::measure(|| {
        assert_all_hit(&indicators);
    });
    assert_eq!(lookups.count_total, 0);
}

fn assert_all_hit(indicators: &Indicators) {
    for key in [
        Key::Address(IpAddr::from([192, 0, 2, 1])),
        Key::Domain("WWW.bad.example"),
        Key::Url { host: "BAD.example:8080", path: "/x?y" },
        Key::Md5(MD5),
        Key::Ja4(JA4),
        Key::Asn(64496),
    ] {
        assert!(indicators.look_up(key).is_some());
    }
}

#[test]
fn a_mild_word_about_an_address_does_not_hide_a_hard_one_about_the_network_around_it() {
    let indicators = built(&[
        (ioc("203.0.113.0/24"), saying(ThreatLevel::Critical, "botnet", "one")),
        (ioc("203.0.113.64/26"), saying(ThreatLevel::Low, "odd", "two")),
        (ioc("203.0.113.66"), saying(ThreatLevel::Info, "seen", "three")),
        (ioc("203.0.114.1"), saying(ThreatLevel::Low, "odd", "two")),
        (ioc("2001:db8::/32"), saying(ThreatLevel::High, "net", "one")),
        (ioc("2001:db8::1"), saying(ThreatLevel::Info, "seen", "three")),
    ]);
    for (addr, said) in [
        ("203.0.113.1", "critical botnet: one"),
        ("203.0.113.65", "critical botnet: one two"),
        ("203.0.113.66", "critical botnet: one three two"),
        ("203.0.113.255", "critical botnet: one"),
        ("203.0.114.1", "low odd: two"),
        ("2001:db8::1", "high net: one three"),
        ("2001:db8::2", "high net: one"),
    ] {
        let listed = indicators.look_up(Key::Address(addr.parse().expect(addr))).expect(addr);
        let mut sources: Vec<&str> = listed.sources.split(", ").collect();
        sources.sort_unstable();
        assert_eq!(format!("{} {}: {}", listed.level, listed.description, sources.join(" ")), said, "{addr}");
    }
    assert_eq!(indicators.contents().nets, 6);
}

#[test]
fn a_host_is_the_same_with_and_without_its_final_dot() {
    let list = [ioc("http://bad.example./x"), ioc("http://worse.example/x")];
    let indicators = built(&list.map(|ioc| (ioc, saying(ThreatLevel::High, "", "one"))));
    for host in ["bad.example", "bad.example.", "worse.example.", "worse.example:80"] {
        assert!(indicators.look_up(Key::Url { host, path: "/x" }).is_some(), "{host}");
    }
}
