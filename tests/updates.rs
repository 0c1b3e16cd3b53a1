//! Lists of others over HTTP and HTTPS, through the binary: a server of every kind, and nothing good is lost.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use common::mmdb::{self, Value as Mm};
use common::server::{Asked, Manner, Reply, Server, authority};
use common::{slips, write};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

/// A machine with catalogues and a configuration.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// That fetches these lists, with more in the configuration of intelligence.
    fn new(feeds: &[String], more: &str) -> Self {
        Self::with(feeds, &[], &[], more)
    }

    fn with(feeds: &[String], ja3: &[String], certificates: &[String], more: &str) -> Self {
        let dir = tempfile::tempdir().expect("temp");
        let catalogue = |name: &str, urls: &[String]| {
            let lines: Vec<String> = urls.iter().map(|url| format!("{url}, high, ['test']\n")).collect();
            write(dir.path(), name, lines.concat());
        };
        catalogue("TI_feeds.csv", feeds);
        catalogue("JA3_feeds.csv", ja3);
        catalogue("SSL_feeds.csv", certificates);
        fs::create_dir(dir.path().join("own")).expect("dir");
        let at = |name: &str| dir.path().join(name).display().to_string();
        let text = format!(
            "threatintelligence:\n  local_threat_intelligence_files: {}\n  ti_files: {}\n  ja3_feeds: {}\n  ssl_feeds: {}\n  \
             download_path_for_remote_threat_intelligence: {}\n{more}outside:\n  certificates: {}\noutput:\n  directory: {}\n",
            at("own"),
            at("TI_feeds.csv"),
            at("JA3_feeds.csv"),
            at("SSL_feeds.csv"),
            at("feeds"),
            authority().display(),
            at("out"),
        );
        fs::create_dir(dir.path().join("out")).expect("dir");
        write(dir.path(), "slips.yaml", text);
        Self { dir }
    }

    fn config(&self) -> String {
        self.dir.path().join("slips.yaml").display().to_string()
    }

    /// `slips intel update --json`: each outcome, by the last part of its URL, with why it failed.
    fn update(&self, more: &[&str]) -> Vec<(String, String)> {
        let config = self.config();
        let out = slips([&["intel", "-c", &config, "update", "--json"], more].concat());
        let rows: Vec<Value> = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&out.stderr)));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let row = |row: &Value| {
            let name = text(&row["url"]).rsplit('/').next().unwrap_or_default().to_owned();
            let why = text(&row["why"]);
            (
                name,
                if why.is_empty() {
                    text(&row["outcome"])
                } else {
                    format!("{}: {why}", text(&row["outcome"]))
                },
            )
        };
        let rows: Vec<_> = rows.iter().map(row).collect();
        let failed = rows.iter().any(|(_, outcome)| outcome.starts_with("failed"));
        assert_eq!(out.status.code(), Some(if failed { 75 } else { 0 }), "{rows:?}");
        rows
    }

    /// The outcome of the only list.
    fn outcome(&self, more: &[&str]) -> String {
        let [(_, outcome)] = &self.update(more)[..] else { panic!("one list") };
        outcome.clone()
    }

    /// Whether something is listed.
    fn lists(&self, what: &str) -> bool {
        let out = slips(["intel", "-c", &self.config(), "lookup", what, "--json"]);
        let found: Vec<Value> = serde_json::from_slice(&out.stdout).expect("JSON");
        !found.is_empty()
    }

    /// The fetched files, without what is remembered of them.
    fn files(&self) -> Vec<PathBuf> {
        let all =
            fs::read_dir(self.dir.path().join("feeds")).expect("dir").flatten().map(|entry| entry.path());
        let mut lists: Vec<PathBuf> =
            all.filter(|path| !path.to_string_lossy().contains("updates.")).collect();
        lists.sort();
        lists
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).expect("packed");
    packer.finish().expect("packed")
}

/// Lists in the shape of those that exist, each with what it lists. Words that the original stumbles over are in all of them.
const FEEDS: [(&str, &str, &[&str]); 13] = [
    (
        "plain.txt",
        "# type: ip and url list\n203.0.113.1\nfile.type.example.com\nhttp://url.example.net/file?type=score ; number of attacker\n",
        &["203.0.113.1", "file.type.example.com", "http://url.example.net/file?type=score"],
    ),
    (
        "hosts.txt",
        "# Title: domain file\n127.0.0.1 localhost\n0.0.0.0 email-type.example.com\n:: file-domain.example.com # score\n",
        &["email-type.example.com", "file-domain.example.com"],
    ),
    ("filter.txt", "[Adblock Plus]\n! type\n||url-file.example.com^\n", &["url-file.example.com"]),
    (
        "header.csv",
        "\"first_seen_utc\",\"dst_ip\",\"dst_port\",\"file_type\"\n\"2026-01-01 00:00:00\",\"203.0.113.2\",\"443\",\"url, score\"\n",
        &["203.0.113.2"],
    ),
    (
        "bare.csv",
        "203.0.113.3,7,type file url email score\n203.0.113.4,9,attacker\n",
        &["203.0.113.3", "203.0.113.4"],
    ),
    (
        "zeek.intel",
        "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\nfile-url.example.com\tIntel::DOMAIN\ttype\tfile\n203.0.113.5\tIntel::ADDR\tx\turl\n",
        &["file-url.example.com", "203.0.113.5"],
    ),
    (
        "lines.json",
        "{\"ip\":{\"v4\":\"203.0.113.6\"},\"src\":{\"name\":[\"file\"]},\"tags\":{\"str\":[\"type\"]}}\n{\"domain\":\"type-score.example.com\",\"url\":null}\n",
        &["203.0.113.6", "type-score.example.com"],
    ),
    (
        "array.json",
        "[{\"RegisterPositionId\":1,\"DomainAddress\":\"file-number.example.com\",\"InsertDate\":\"2026-11-01T00:00:00\"}]",
        &["file-number.example.com"],
    ),
    (
        "bundle.stix2",
        "{\"type\":\"bundle\",\"id\":\"bundle--1\",\"objects\":[{\"type\":\"indicator\",\"name\":\"file type url\",\"pattern_type\":\"stix\",\"pattern\":\"[ipv4-addr:value = '203.0.113.7'] OR [domain-name:value = 'url-type.example.com']\",\"valid_from\":\"2026-01-01T00:00:00Z\"}]}",
        &["203.0.113.7", "url-type.example.com"],
    ),
    (
        "misp.json",
        "{\"response\":[{\"Event\":{\"info\":\"file type url\",\"Attribute\":[{\"type\":\"md5\",\"to_ids\":true,\"value\":\"0123456789abcdef0123456789abcdef\",\"comment\":\"file\"},{\"type\":\"url\",\"to_ids\":true,\"value\":\"http://misp-file.example.com/type\"}]}}]}",
        &["0123456789abcdef0123456789abcdef", "http://misp-file.example.com/type"],
    ),
    ("drop.txt", "; Spamhaus DROP file type\n198.51.100.0/25 ; SBL1 url\n", &["198.51.100.9"]),
    (
        "drop.jsonl",
        "{\"cidr\":\"198.51.100.128/25\",\"sblid\":\"SBL2\",\"rir\":\"file\"}\n{\"type\":\"metadata\",\"records\":1}\n",
        &["198.51.100.200"],
    ),
    ("level1.netset", "#\n# file type url\n#\n198.18.7.0/24\n203.0.113.8\n", &["203.0.113.8"]),
];

const JA3: &str = "################\n# abuse.ch JA3 file type url\n# ja3_md5,Firstseen,Lastseen,Listingreason\nb386946a5a44d1ddcc843bc75336dfce,2017-07-14 18:08:15,2019-07-27 20:42:54,file type url\n";
const CERTIFICATES: &str = "################\n# Listingdate,SHA1,Listingreason\n2026-11-01 00:00:00,a4c2faf34ee2bd6a3a4a4a5c9bdf07b2b9d4a5c1,file url type C&C\n";

#[test]
fn every_form_is_fetched_over_tls_and_no_line_is_lost_for_the_words_in_it() {
    let server = Server::tls("right");
    server.answer(|asked| match asked.target.trim_start_matches('/') {
        "ja3.csv" => Reply::ok(JA3),
        "certificates.csv" => Reply::ok(CERTIFICATES),
        name => {
            let feed = FEEDS.iter().find(|(feed, ..)| name.ends_with(feed));
            feed.map_or(Reply::status(404), |(_, text, _)| match name {
                // Packed by the way it is sent, and by itself.
                name if name.starts_with("sent-") => {
                    Reply::ok(gzip(text.as_bytes())).with("Content-Encoding", "gzip")
                }
                name if name.starts_with("gz-") => Reply::ok(gzip(text.as_bytes())),
                _ => Reply::ok(*text),
            })
        }
    });
    for way in ["", "sent-", "gz-"] {
        let urls: Vec<String> = FEEDS.iter().map(|(name, ..)| server.url(&format!("/{way}{name}"))).collect();
        let machine = Machine::with(&urls, &[server.url("/ja3.csv")], &[server.url("/certificates.csv")], "");
        let outcomes = machine.update(&[]);
        assert!(outcomes.iter().all(|(_, outcome)| outcome == "new"), "{outcomes:?}");
        assert_eq!(outcomes.len(), FEEDS.len() + 2);
        // Each form, where it is fetched as it is; the others by one of them.
        let looked = if way.is_empty() { &FEEDS[..] } else { &FEEDS[..1] };
        for (name, _, listed) in looked {
            for what in *listed {
                assert!(machine.lists(what), "{what} of {way}{name}");
            }
        }
        assert!(machine.lists("b386946a5a44d1ddcc843bc75336dfce"), "JA3");
        assert!(machine.lists("a4c2faf34ee2bd6a3a4a4a5c9bdf07b2b9d4a5c1"), "a certificate");
        assert!(!machine.lists("localhost.example.com"));
    }
}

/// A list with so many entries.
fn list(entries: usize) -> String {
    (0..entries).map(|entry| format!("file-type-{entry}.example.com\n")).collect()
}

#[test]
fn what_has_not_changed_is_not_sent_again_and_what_left_the_list_is_not_listed() {
    let server = Server::tls("right");
    let machine = Machine::new(&[server.url("/list.txt")], "");
    let first = |asked: &Asked| match asked.headers.get("if-none-match").map(String::as_str) {
        Some("\"one\"") => Reply::status(304).with("ETag", "\"one\""),
        _ => Reply::ok("203.0.113.1\nfile.example.com\n")
            .with("ETag", "\"one\"")
            .with("Last-Modified", "Sun, 01 Nov 2026 00:00:00 GMT"),
    };
    server.answer(first);
    assert_eq!(machine.outcome(&[]), "new");
    let about = |path: &PathBuf| fs::metadata(path).and_then(|about| about.modified()).expect("a time");
    let [path] = &machine.files()[..] else { panic!("one file") };
    let written = about(path);
    assert_eq!(machine.outcome(&[]), "unchanged");
    assert_eq!(about(path), written, "nobody reads it anew");
    let asked = server.asked();
    assert_eq!(asked[0].headers.get("if-none-match"), None);
    assert_eq!(asked[1].headers["if-none-match"], "\"one\"");
    assert_eq!(asked[1].headers["if-modified-since"], "Sun, 01 Nov 2026 00:00:00 GMT");
    // A second 304 after a 304 still knows the words.
    assert_eq!(machine.outcome(&[]), "unchanged");
    // What somebody took away is fetched whole.
    fs::remove_file(path).expect("removed");
    assert_eq!(machine.outcome(&[]), "new");
    server.asked();
    // A server that knows no conditions sends the same once more.
    server.answer(|_| Reply::ok("203.0.113.1\nfile.example.com\n"));
    let written = about(path);
    assert_eq!((machine.outcome(&[]).as_str(), about(path)), ("unchanged", written));
    server.answer(|_| Reply::ok("203.0.113.1\nurl.example.com\n").with("ETag", "\"two\""));
    assert_eq!(machine.outcome(&[]), "new");
    assert!(machine.lists("url.example.com") && machine.lists("203.0.113.1"));
    assert!(!machine.lists("file.example.com"), "it left the list");
}

#[test]
fn a_list_that_lost_most_of_its_entries_waits_for_a_second_one_or_a_person() {
    let server = Server::tls("right");
    let machine = Machine::new(&[server.url("/list.txt")], "");
    server.answer(|_| Reply::ok(list(100)));
    assert_eq!(machine.outcome(&[]), "new");
    server.answer(|_| Reply::ok(list(40)));
    assert_eq!(machine.outcome(&[]), "held");
    assert_eq!(machine.outcome(&[]), "held", "an hour must be between");
    assert!(machine.lists("file-type-99.example.com"));
    server.answer(|_| Reply::ok("# nothing today\n"));
    assert_eq!(machine.outcome(&[]), "held");
    assert!(machine.lists("file-type-99.example.com"));
    server.answer(|_| Reply::ok(list(40)));
    assert_eq!(machine.outcome(&["--accept-shrunk"]), "new");
    assert!(machine.lists("file-type-39.example.com") && !machine.lists("file-type-40.example.com"));
}

#[test]
fn no_bad_answer_replaces_a_good_list() {
    let server = Server::tls("right");
    let machine = Machine::new(&[server.url("/list.txt")], "  update_size: 1MiB\n  update_time: 3s\n");
    server.answer(|_| Reply::ok(list(100)).with("ETag", "\"good\""));
    assert_eq!(machine.outcome(&[]), "new");
    let good = machine.files();
    let bomb = gzip(&vec![b'a'; 64 << 20]);
    assert!(bomb.len() < 1 << 17, "{} bytes", bomb.len());
    let layered = gzip(&bomb);
    let page = "<!DOCTYPE html><html><body>bad.example.com is for sale</body></html>";
    let replies = [
        ("an error", Reply::status(500), "500"),
        ("no such list", Reply::status(404), "404"),
        ("unchanged, which nobody asked", Reply::status(206), "206"),
        ("a page", Reply::ok(page), "page for browsers"),
        ("another text", Reply::ok("Too many requests, try later"), "nothing in it"),
        ("not text", Reply::ok(vec![0xff, 0xfe, 0, 1, 2, 3]), "nothing in it"),
        ("cut short", Reply::ok(list(100)).sent(Manner::Half), "broken"),
        ("cut while packed", Reply::ok(gzip(list(3000).as_bytes())).sent(Manner::Half), "broken"),
        ("huge", Reply::ok(list(60_000)), "larger than 1048576"),
        ("without an end", Reply::ok(list(100)).sent(Manner::Endless), "larger than 1048576"),
        ("a bomb", Reply::ok(bomb.clone()), "larger than 1048576"),
        (
            "a bomb by the way it is sent",
            Reply::ok(bomb).with("Content-Encoding", "gzip"),
            "larger than 1048576",
        ),
        ("a bomb in a bomb", Reply::ok(layered), "larger than 1048576"),
        ("packed by something odd", Reply::ok("x").with("Content-Encoding", "br"), "nobody asked for"),
        ("a flood of headers", Reply::ok(list(100)).with("X-Fill", "x".repeat(100_000)), "headers"),
        ("slow", Reply::ok(list(100)).sent(Manner::Trickle), "took more than 3s"),
        ("silent", Reply::ok(list(100)).sent(Manner::Silent), "took more than 3s"),
        ("to itself", Reply::status(302).with("Location", "/list.txt"), "more than 5 times"),
        ("out of TLS", Reply::status(302).with("Location", "http://localhost/"), "from https"),
        ("to a file", Reply::status(302).with("Location", "file:///etc/passwd"), "is no URL"),
        ("to a neighbour", Reply::status(302).with("Location", "https://127.0.0.1:1/"), "private network"),
        ("to nowhere", Reply::status(302), "without a place"),
    ];
    for (name, reply, expected) in replies {
        server.answer(move |_| reply.clone());
        let outcome = machine.outcome(&[]);
        assert!(outcome.starts_with("failed: ") && outcome.contains(expected), "{name}: {outcome}");
        assert_eq!(machine.files(), good, "{name}: nothing is left behind");
    }
    assert!(machine.lists("file-type-0.example.com") && machine.lists("file-type-99.example.com"));
    server.asked();
    server.answer(|asked| Reply::status(if asked.headers.contains_key("if-none-match") { 304 } else { 500 }));
    assert_eq!(machine.outcome(&[]), "unchanged", "the words of the good one are still known");
}

#[test]
fn a_server_that_is_not_who_it_should_be_is_not_believed() {
    for (name, expected) in [("other", "certificate"), ("expired", "certificate"), ("unknown", "certificate")]
    {
        let server = Server::tls(name);
        server.answer(|_| Reply::ok("203.0.113.1\n"));
        let machine = Machine::new(&[server.url("/list.txt")], "");
        let outcome = machine.outcome(&[]);
        assert!(outcome.starts_with("failed: ") && outcome.contains(expected), "{name}: {outcome}");
        assert!(server.asked().is_empty(), "nothing was asked");
        assert!(!machine.lists("203.0.113.1"));
    }
    // Nobody there, and a server that speaks no TLS.
    let gone =
        Machine::new(&["https://localhost:1/list.txt".into(), "https://no-such-host.invalid/x".into()], "");
    for (_, outcome) in gone.update(&[]) {
        assert!(outcome.contains("cannot be reached"), "{outcome}");
    }
    let plain = Server::plain();
    let url = plain.url("/list.txt").replace("http:", "https:");
    assert!(Machine::new(&[url], "").outcome(&[]).starts_with("failed: "));
}

#[test]
fn one_list_is_fetched_by_its_name_and_a_redirect_within_the_server_is_followed() {
    let server = Server::plain();
    server.answer(|asked| match asked.target.as_str() {
        "/old/one.txt" => Reply::status(301).with("Location", "../new/one.txt?x#y"),
        "/old/../new/one.txt?x" => Reply::ok("203.0.113.1\n"),
        _ => Reply::ok("203.0.113.2\n"),
    });
    let machine = Machine::new(&[server.url("/old/one.txt"), server.url("/two.txt")], "");
    assert_eq!(machine.update(&["--feed", "one.txt"]), [("one.txt".to_owned(), "new".to_owned())]);
    assert!(machine.lists("203.0.113.1") && !machine.lists("203.0.113.2"));
    let config = machine.config();
    let none = slips(["intel", "-c", &config, "update", "--feed", "three.txt"]);
    assert_eq!(none.status.code(), Some(64), "{}", String::from_utf8_lossy(&none.stderr));
}

fn networks() -> Vec<u8> {
    let system = Mm::Map(vec![
        ("autonomous_system_number", Mm::Number(64_496)),
        ("autonomous_system_organization", Mm::Text("File Type Url")),
    ]);
    mmdb::database("ASN", &[(Ipv4Addr::new(203, 0, 113, 0), 24, system)])
}

#[test]
fn databases_of_places_and_the_registry_of_makers_are_fetched_and_looked_into() {
    let server = Server::tls("right");
    let asn = networks();
    let registry = "Registry,Assignment,Organization Name,Organization Address\nMA-L,002272,\"File Type Url Corp.\",Somewhere\n";
    server.answer(move |asked| match asked.target.as_str() {
        target if target.starts_with("/asn-20") && target.ends_with(".mmdb.gz") => Reply::ok(gzip(&asn)),
        "/oui.csv?license_key=secret" => Reply::ok(registry),
        _ => Reply::ok("no database"),
    });
    let more = format!(
        "  mac_db: {}\n  asn_db: {}\n  country_db: {}\n",
        server.url("/oui.csv?license_key=secret"),
        server.url("/asn-{YYYY}-{MM}.mmdb.gz"),
        server.url("/country.mmdb"),
    );
    let machine = Machine::new(&[], &more);
    let outcomes: Vec<String> = machine.update(&[]).into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes[..2], ["new", "new"]);
    assert!(outcomes[2].starts_with("failed: is broken: no database of places"), "{outcomes:?}");
    let month = &server.asked()[1].target;
    assert!(!month.contains('{') && month.len() == "/asn-2026-11.mmdb.gz".len(), "{month}");
    let places = machine.dir.path().join("out/places");
    assert_eq!(fs::read(places.join("asn.mmdb")).expect("there"), networks());
    assert!(places.join("makers.csv").is_file() && !places.join("country.mmdb").exists());
    // What a URL holds behind its path may be a key, and terminals are shown to others.
    let config = machine.config();
    for more in [&["update"][..], &["update", "--json"], &["status"], &["status", "--json"]] {
        let out = slips([&["intel", "-c", &config], more].concat());
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert!(said.contains("/oui.csv") == more.contains(&"update") && !said.contains("secret"), "{said}");
    }
}
