//! Lists as they come, of each form.

use proptest::prelude::*;
use slips_core::evidence::ThreatLevel;

use super::*;
use crate::Indicators;

const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn read(holds: Holds, bytes: &[u8]) -> (Indicators, Tally) {
    let mut builder = Builder::new();
    let feed = Feed { name: "feed", level: ThreatLevel::Medium, tags: "spam", holds };
    let tally = builder.read_feed(&feed, bytes);
    (builder.finish(), tally)
}

/// Everything in `listed` must be found, as `kind text: description [tags]`, and as many items be rejected as told.
fn check(list: &str, listed: &[&str], rejected: &[(Reject, u32)]) {
    let (indicators, tally) = read(Holds::Indicators, list.as_bytes());
    for expected in listed {
        let (asked, rest) = expected.split_once(' ').expect("text and listing");
        let found = indicators.find(asked).into_iter().find(|(_, listed)| listed.exact);
        let said = found.map(|(kind, listed)| format!("{kind} {listed}"));
        let end = rest.find([' ', ':']).expect("a kind");
        let rest = format!("{} medium (feed){}", &rest[..end], &rest[end..]);
        assert_eq!(said.as_deref(), Some(rest.as_str()), "{asked} in\n{list}");
    }
    assert_eq!(tally.rejects().collect::<Vec<_>>(), rejected, "{list}");
    assert_eq!(tally.taken as usize, listed.len(), "{list}");
}

#[test]
fn plain_lists() {
    check(
        "# title\n\n192.0.2.1\n198.51.100.0/24 # a remark\nbad.example.com\r\nhttp://bad.example.com/a;b,c\n\
         192.168.1.1\n0.0.0.0/0\nsetup.exe\nsomebody@bad.example.com\n203.0.113.7:4444\n! filter\n||ads.example.net^\n",
        &[
            "192.0.2.1 address [spam]",
            "198.51.100.7 address: a remark [spam]",
            "bad.example.com domain [spam]",
            "http://bad.example.com/a;b,c url [spam]",
            "203.0.113.7 address [spam]",
            "ads.example.net domain [spam]",
        ],
        &[(Reject::Private, 1), (Reject::TooWide, 1), (Reject::NoZone, 1), (Reject::Unsupported, 1)],
    );
}

#[test]
fn words_that_the_original_stumbles_over_survive() {
    check(
        "filetype.com\nmy-url-score.net\nprofile.org\nemail-number.info\nattacker-domain.com\n",
        &[
            "filetype.com domain [spam]",
            "my-url-score.net domain [spam]",
            "profile.org domain [spam]",
            "email-number.info domain [spam]",
            "attacker-domain.com domain [spam]",
        ],
        &[],
    );
}

#[test]
fn hosts_files() {
    check(
        "127.0.0.1 localhost\n::1 localhost\n0.0.0.0 0.0.0.0\n0.0.0.0 ads.example.net # shown\n127.0.0.1\ttrack.example.net other.example.net\n",
        &[
            "ads.example.net domain [spam]",
            "track.example.net domain [spam]",
            "other.example.net domain [spam]",
        ],
        &[],
    );
}

#[test]
fn networks_of_spamhaus() {
    check(
        "; Spamhaus DROP List\n; Last-Modified\n198.51.100.0/24 ; SBL1\n2001:db8::/32 ; SBL2\n",
        &["198.51.100.7 address: SBL1 [spam]", "2001:db8::1 address: SBL2 [spam]"],
        &[],
    );
    check(
        "{\"cidr\":\"198.51.100.0/24\",\"sblid\":\"SBL1\",\"rir\":\"ripencc\"}\n{\"cidr\":\"203.0.113.0/24\",\"sblid\":\"SBL2\"}\n{\"type\":\"metadata\",\"records\":2}\n",
        &["198.51.100.7 address: SBL1 [spam]", "203.0.113.9 address: SBL2 [spam]"],
        &[],
    );
}

#[test]
fn tables_with_names_of_columns() {
    check(
        "# Feodo tracker\n\"first_seen_utc\",\"dst_ip\",\"dst_port\",\"c2_status\",\"last_online\",\"malware\"\n\
         \"2024-05-06 07:08:09\",\"203.0.113.7\",\"443\",\"online\",\"2024-06-01\",\"QakBot\"\n",
        &["203.0.113.7 address: QakBot [spam]"],
        &[],
    );
    check(
        &format!(
            "# first_seen,sha256_hash,md5_hash,sha1_hash,file_name\n2024-05-06,\"{SHA256}\", \"{MD5}\", \"{SHA1}\",\"setup.exe\"\n"
        ),
        &[&format!("{SHA256} sha256 [spam]"), &format!("{MD5} md5 [spam]"), &format!("{SHA1} sha1 [spam]")],
        &[],
    );
    check(
        "# id,dateadded,url,url_status,threat,tags,urlhaus_link\n\
         \"7\",\"2024-05-06\",\"http://203.0.113.7/a,b.sh\",\"online\",\"malware_download\",\"elf,mozi\",\"https://list.example.com/url/7/\"\n",
        &["http://203.0.113.7/a,b.sh url: malware_download [spam]"],
        &[],
    );
}

#[test]
fn tables_without_names_of_columns() {
    check(
        "7,2024-05-06,bad.example.com,c2 server\n8,2024-05-06,203.0.113.7,another\n9,2024-05-06,nothing,x\n",
        &["bad.example.com domain: c2 server [spam]", "203.0.113.7 address: another [spam]"],
        &[(Reject::NoIndicator, 1)],
    );
    check(
        "203.0.113.7\t10\nbad.example.com\t3\n",
        &["203.0.113.7 address: 10 [spam]", "bad.example.com domain: 3 [spam]"],
        &[],
    );
    check("203.0.113.7#4#2#Malicious Host#CN\n", &["203.0.113.7 address: 4#2#Malicious Host#CN [spam]"], &[]);
}

#[test]
fn intelligence_of_zeek() {
    check(
        "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\n\
         203.0.113.7\tIntel::ADDR\tx\ta botnet\nbad.example.com\tIntel::DOMAIN\tx\t-\nbad.example.com/a?b\tIntel::URL\tx\turl\n\
         198.51.100.0/24\tIntel::SUBNET\tx\ty\nx@bad.example.com\tIntel::EMAIL\tx\ty\n10.0.0.1\tIntel::ADDR\tx\ty\n",
        &[
            "203.0.113.7 address: a botnet [spam]",
            "bad.example.com domain [spam]",
            "bad.example.com/a?b url: url [spam]",
            "198.51.100.9 address: y [spam]",
        ],
        &[(Reject::Private, 1), (Reject::Unsupported, 1)],
    );
}

#[test]
fn bundles_of_stix() {
    let object = |pattern: &str, more: &str| {
        format!(
            r#"{{"type":"indicator","name":"a name","pattern":"{pattern}","pattern_type":"stix","valid_from":"2024-05-06T07:08:09Z"{more}}}"#
        )
    };
    let objects = [
        object("[domain-name:value = 'bad.example.com']", r#","labels":["c2"]"#),
        object("[ipv4-addr:value='203.0.113.7' OR ipv6-addr:value = '2001:db8::7']", ""),
        object(&format!("[file:hashes.'SHA-256' = '{SHA256}' OR file:hashes.MD5 = '{MD5}']"), ""),
        object("[url:value = 'http://bad.example.com/it\\\\'s']", ""),
        object("[file:name = 'a.exe' AND file:size = 7]", ""),
        object("[domain-name:value != 'good.example.com']", ""),
        object("[email-addr:value = 'x@bad.example.com']", ""),
        object("[domain-name:value = 'old.example.com']", r#","revoked":true"#),
        r#"{"type":"malware","name":"not an indicator"}"#.to_owned(),
    ];
    let bundle = format!(r#"{{"type":"bundle","id":"bundle--1","objects":[{}]}}"#, objects.join(","));
    check(
        &bundle,
        &[
            "bad.example.com domain: a name [c2, spam]",
            "203.0.113.7 address: a name [spam]",
            "2001:db8::7 address: a name [spam]",
            &format!("{SHA256} sha256: a name [spam]"),
            &format!("{MD5} md5: a name [spam]"),
            "http://bad.example.com/it's url: a name [spam]",
        ]
        .map(|text| text.replace("[c2, spam]", "[spam, c2]"))
        .each_ref()
        .map(String::as_str),
        &[(Reject::Unsupported, 1), (Reject::Withdrawn, 1), (Reject::Compound, 2)],
    );
}

#[test]
fn events_of_misp() {
    let event = format!(
        r#"{{"Event":{{"info":"a campaign","Tag":[{{"name":"tlp:clear"}}],"Attribute":[
        {{"type":"ip-dst|port","value":"203.0.113.7|443","to_ids":true,"comment":"c2"}},
        {{"type":"domain|ip","value":"bad.example.com|203.0.113.8","to_ids":true}},
        {{"type":"text","value":"words","to_ids":true}},
        {{"type":"url","value":"http://good.example.com/","to_ids":false}}],
        "Object":[{{"Attribute":[{{"type":"filename|md5","value":"a.exe|{MD5}","to_ids":true}}]}}]}}}}"#
    );
    check(
        &event,
        &[
            "203.0.113.7 address: c2 [spam, tlp:clear]",
            "bad.example.com domain: a campaign [spam, tlp:clear]",
            "203.0.113.8 address: a campaign [spam, tlp:clear]",
            &format!("{MD5} md5: a campaign [spam, tlp:clear]"),
        ],
        &[(Reject::Unsupported, 1), (Reject::Withdrawn, 1)],
    );
}

#[test]
fn lists_of_json() {
    check(
        "{\"ip\":{\"v4\":\"203.0.113.7\"},\"src\":{\"name\":[\"x\"]},\"fseen\":1714979289}\n{\"ip\":{\"v4\":\"203.0.113.8\"}}\nbroken\n",
        &["203.0.113.7 address [spam]", "203.0.113.8 address [spam]"],
        &[(Reject::Broken, 1)],
    );
    check(
        r#"[{"DomainAddress":"bad.example.com","InsertDate":"2024-05-06"},"203.0.113.7",{"x":1},7]"#,
        &["bad.example.com domain [spam]", "203.0.113.7 address [spam]"],
        &[(Reject::NoIndicator, 2)],
    );
    check(
        r#"{"data":[{"ioc_value":"bad.example.com","threat":"c2"}]}"#,
        &["bad.example.com domain: c2 [spam]"],
        &[],
    );
    check("{\"type\":\"bundle\",\"objects\":[", &[], &[(Reject::Broken, 1)]);
}

#[test]
fn fingerprints_and_certificates() {
    let ja3 = format!(
        "# ja3_md5,Firstseen,Lastseen,Listingreason\n{MD5},2017-07-14 18:08:15,2019-07-27,Adware\nnone,x,y,z\n"
    );
    let (indicators, tally) = read(Holds::Ja3, ja3.as_bytes());
    let found: Vec<_> =
        indicators.find(MD5).iter().map(|(kind, listed)| format!("{kind} {listed}")).collect();
    assert_eq!(found, ["ja3 medium (feed): Adware [spam]", "ja3s medium (feed): Adware [spam]"]);
    assert_eq!((tally.taken, tally.rejected(Reject::NoIndicator)), (1, 1));
    let certificates = format!("# Listingdate,SHA1,Listingreason\n2024-05-06 07:08:09,{SHA1},AsyncRAT C&C\n");
    let (indicators, tally) = read(Holds::Certificates, certificates.as_bytes());
    let found: Vec<_> =
        indicators.find(SHA1).iter().map(|(kind, listed)| format!("{kind} {listed}")).collect();
    assert_eq!((found, tally.taken), (vec!["certificate medium (feed): AsyncRAT C&C [spam]".to_owned()], 1));
}

#[test]
fn what_is_no_text_and_what_finds_no_room_is_counted() {
    let (_, tally) = read(Holds::Indicators, b"203.0.113.7\n\xff\xfe\n");
    assert_eq!((tally.taken, tally.rejected(Reject::NotText)), (1, 1));
    let mut builder = Builder::with_limit(1);
    let feed = Feed { name: "feed", level: ThreatLevel::Low, tags: "", holds: Holds::Indicators };
    let tally = builder.read_feed(&feed, b"203.0.113.7\n203.0.113.8\n203.0.113.9\n");
    assert_eq!((tally.taken, tally.rejected(Reject::NoRoom)), (1, 2));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for holds in [Holds::Indicators, Holds::Ja3, Holds::Certificates] {
            read(holds, &bytes);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(\\{|\\[|#fields\t|# ioc,|0.0.0.0 |\\|\\|)?[\\PC\n\t,;\"']{0,200}") {
        read(Holds::Indicators, text.as_bytes());
    }

    #[test]
    fn no_pattern_makes_it_panic(pattern in "[\\[\\]()'=a-z:\\. \\\\]{0,80}") {
        let bundle = serde_json::json!({"type": "bundle", "objects": [{"type": "indicator", "pattern": pattern}]});
        read(Holds::Indicators, bundle.to_string().as_bytes());
    }
}
