//! Each kind of indicator, from a list of the administrator and a record on the network to the pair of evidence, through the binary.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use std::net::Ipv4Addr;
use std::path::Path;

use common::mmdb::{self, Value as Mm};
use common::{analyze, attackers, write};
use serde_json::{Value, json};

const CLIENT: &str = "192.168.1.5";
const SERVER: &str = "203.0.113.66";
const MD5: &str = "6734f37431670b3ab4292b8f60f29984";
const SHA1: &str = "9f2feb0f1ef425b292f2f94bcbb4cb8a4c5b1b0e";
const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const JA4: &str = "t13d1516h2_8daaf6152771_b186095e22b6";

/// A row of a log of the client at a port of the server, with more fields.
fn row(port: u16, more: Value) -> Value {
    let mut row = json!({
        "ts": 1_700_000_000.0, "uid": "C1", "id.orig_h": CLIENT, "id.orig_p": 40_000, "id.resp_h": SERVER,
        "id.resp_p": port,
    });
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
    row
}

/// What a log raises with these lists (file, text), as `type attacker victim`, without what the types have in common; and who is an
/// alert.
fn told(lists: &[(&str, &str)], log: &str, row: &Value) -> (Vec<String>, Vec<String>) {
    told_knowing(None, lists, log, row)
}

/// The same, where a database tells whose network an address is in.
fn told_knowing(
    places: Option<Vec<u8>>,
    lists: &[(&str, &str)],
    log: &str,
    row: &Value,
) -> (Vec<String>, Vec<String>) {
    let dir = tempfile::tempdir().expect("temp");
    let (own, out) = (dir.path().join("lists"), dir.path().join("out"));
    std::fs::create_dir(&own).expect("dir");
    for (name, text) in lists {
        write(&own, name, text);
    }
    let mut text = format!("threatintelligence:\n  local_threat_intelligence_files: {}\n", own.display());
    if let Some(database) = places {
        let file = write(dir.path(), "asn.mmdb", database);
        text += &format!("profiles:\n  places: [{}]\n", file.display());
    }
    let config = write(dir.path(), "slips.yaml", text);
    let input = write(dir.path(), log, format!("{row}\n"));
    let path = |path: &Path| path.to_str().expect("utf-8").to_owned();
    let found = analyze(&input, &["-c", &path(&config), "-o", &path(&out)]);
    (pairs(&out), attackers(&found))
}

/// The evidence of intelligence in `alerts.json`.
fn pairs(out: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(out.join("alerts.json")).expect("alerts.json");
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let party = |parties: &Value| {
        let party = &parties[0];
        let named = ["IP", "Hostname", "URL"].into_iter().find_map(|key| party[key].as_str());
        named.unwrap_or("nobody").to_owned()
    };
    let mut told: Vec<String> = events
        .filter(|event| event["Status"] == "Event")
        .filter_map(|event| {
            let note: Value = serde_json::from_str(event["Note"].as_str().unwrap_or("{}")).expect("a note");
            let kind = note["evidence_type"].as_str().unwrap_or_default().to_owned();
            let ours = ["THREAT_INTELLIGENCE_", "MALICIOUS_"].iter().any(|prefix| kind.starts_with(prefix));
            let kind = kind.trim_start_matches("THREAT_INTELLIGENCE_");
            ours.then(|| format!("{kind} {} {}", party(&event["Source"]), party(&event["Target"])))
        })
        .collect();
    told.sort();
    told.dedup();
    told
}

fn dns(name: &str, answers: &[&str]) -> Value {
    let ttls: Vec<f64> = answers.iter().map(|_| 60.0).collect();
    let more = json!({
        "id.resp_h": "192.168.1.1", "proto": "udp", "trans_id": 7, "query": name, "qclass": 1, "qtype": 1, "rcode": 0,
        "AA": false, "TC": false, "RD": true, "RA": true, "Z": 0, "answers": answers, "TTLs": ttls, "rejected": false,
    });
    row(53, more)
}

fn http(host: &str, uri: &str) -> Value {
    let more = json!({
        "trans_depth": 1, "method": "GET", "host": host, "uri": uri, "version": "1.1", "user_agent": "curl/8.0",
        "request_body_len": 0, "response_body_len": 9, "status_code": 200, "status_msg": "OK",
    });
    row(80, more)
}

fn tls(more: Value) -> Value {
    let mut row = row(443, json!({"version": "TLSv12", "established": true, "resumed": false}));
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
    row
}

fn file(more: Value) -> Value {
    let mut row = row(
        80,
        json!({"fuid": "F1", "source": "HTTP", "depth": 0, "is_orig": false, "seen_bytes": 9, "mime_type": "application/x-dosexec"}),
    );
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
    row
}

const OWN: &str = "own_malicious_iocs.csv";

/// A pair of one kind: the remote side, and the client.
fn pair(kind: &str, remote: &str) -> Vec<String> {
    vec![format!("{kind} {CLIENT} {remote}"), format!("{kind} {remote} {CLIENT}")]
}

/// The kind of a type of evidence as [`pairs`] prints it.
fn short(kind: &str) -> &str {
    kind.trim_start_matches("THREAT_INTELLIGENCE_")
}

/// A connection, as a record.
fn flow(src: &str, dst: &str) -> Value {
    serde_json::from_str(&common::conn(1_700_000_000.0, src, 40_000, dst, 443, "SF")).expect("JSON")
}

#[test]
fn a_listed_address_and_a_listed_network_are_pairs_in_both_versions() {
    for (list, client, server) in [
        ("203.0.113.66, high, its server\n", CLIENT, SERVER),
        ("203.0.113.64/27, high, its network\n", CLIENT, SERVER),
        ("2606:4700:bad::66, high, its server\n", "fd00::5", "2606:4700:bad::66"),
        ("2606:4700:bad::/48, high, its network\n", "fd00::5", "2606:4700:bad::66"),
    ] {
        let list = [(OWN, list)];
        let kind = short("THREAT_INTELLIGENCE_TO_BLACKLISTED_IP");
        let both = [format!("{kind} {server} {client}"), format!("{kind} {client} {server}")];
        let (mut found, alerts) = told(&list, "conn.log", &flow(client, server));
        found.sort_by_key(|line| line.split(' ').nth(1) == Some(client));
        assert_eq!((&found[..], alerts), (&both[..], Vec::new()), "{list:?}");
        // Who is called has done nothing.
        let (from, _) = told(&list, "conn.log", &flow(server, client));
        assert_eq!(from, [format!("FROM_BLACKLISTED_IP {server} {client}")], "{list:?}");
    }
    let beside = [(OWN, "203.0.113.64/31, high, its network\n")];
    assert!(told(&beside, "conn.log", &flow(CLIENT, SERVER)).0.is_empty());
}

#[test]
fn an_address_in_a_listed_autonomous_system_is_a_pair() {
    let system = || Mm::Map(vec![("autonomous_system_number", Mm::Number(64_496))]);
    let places = || Some(mmdb::database("ASN", &[(Ipv4Addr::new(203, 0, 113, 0), 25, system())]));
    let list = [(OWN, "AS64496, high, bulletproof\n")];
    let kind = short("THREAT_INTELLIGENCE_BLACKLISTED_ASN");
    assert_eq!(told_knowing(places(), &list, "conn.log", &flow(CLIENT, SERVER)).0, pair(kind, SERVER));
    assert!(told_knowing(places(), &list, "conn.log", &flow(CLIENT, "203.0.113.200")).0.is_empty());
}

#[test]
fn a_listed_name_is_told_where_it_is_asked_for_and_visited() {
    let list = [(OWN, "bad.example, critical, a botnet\n")];
    let kind = short("THREAT_INTELLIGENCE_BLACKLISTED_DOMAIN");
    for (log, row, name) in [
        ("dns.log", dns("bad.example", &[]), "bad.example"),
        ("dns.log", dns("www.bad.example", &[]), "www.bad.example"),
        ("http.log", http("bad.example", "/"), "bad.example"),
        ("ssl.log", tls(json!({"server_name": "bad.example"})), "bad.example"),
    ] {
        let (told, alerts) = told(&list, log, &row);
        assert_eq!(told, pair(kind, name), "{log}");
        assert_eq!(alerts, Vec::<String>::new(), "a page can make any browser ask for any name");
    }
    assert!(told(&list, "dns.log", &dns("notbad.example", &[])).0.is_empty());
    let suffix = [(OWN, "github.io, critical, a slip of the pen\n")];
    assert!(told(&suffix, "dns.log", &dns("slips.github.io", &[])).0.is_empty());
}

#[test]
fn answers_that_lead_to_and_from_what_is_listed_are_pairs() {
    let list = [(OWN, "bad.example, high, a botnet\n203.0.113.66, high, its server\n")];
    let said = |name, answers: &[&str]| told(&list, "dns.log", &dns(name, answers)).0;
    let to_listed = short("THREAT_INTELLIGENCE_BLACKLISTED_DNS_ANSWER");
    assert_eq!(said("good.example", &[SERVER]), pair(to_listed, SERVER));
    assert_eq!(
        said("good.example", &["x.bad.example", "198.51.100.7"]),
        [format!("{to_listed} {CLIENT} good.example"), format!("{to_listed} x.bad.example {CLIENT}")]
    );
    let of_listed = short("THREAT_INTELLIGENCE_ANSWER_OF_BLACKLISTED_QUERY");
    let both = said("bad.example", &["198.51.100.7"]);
    assert_eq!(both[..2], pair(of_listed, "198.51.100.7")[..]);
    assert_eq!(both.len(), 4, "and the name: {both:?}");
}

#[test]
fn a_listed_url_is_a_pair() {
    let list = [(
        OWN,
        "http://203.0.113.66/bin.sh, critical, a dropper\nhttp://bad.example/profiles/url.type?file=1,high,x\n",
    )];
    let kind = short("THREAT_INTELLIGENCE_MALICIOUS_URL");
    let (of_address, alerts) = told(&list, "http.log", &http(SERVER, "/bin.sh"));
    assert_eq!(of_address, pair(kind, SERVER));
    assert_eq!(alerts, [SERVER], "the address itself is named");
    let (of_name, alerts) = told(&list, "http.log", &http("bad.example", "/profiles/url.type?file=1"));
    assert_eq!((of_name, alerts), (pair(kind, SERVER), Vec::new()));
    assert!(told(&list, "http.log", &http(SERVER, "/")).0.is_empty());
}

#[test]
fn a_listed_file_is_a_pair() {
    let list = format!("{MD5},high,a\n{SHA1},high,b\n{SHA256},high,c\n");
    let kind = "MALICIOUS_DOWNLOADED_FILE";
    for (name, digest) in [("md5", MD5), ("sha1", SHA1), ("sha256", SHA256)] {
        let row = file(json!({name: digest, "tx_hosts": [SERVER], "rx_hosts": [CLIENT]}));
        let (told, alerts) = told(&[(OWN, &list)], "files.log", &row);
        assert_eq!((told, alerts), (pair(kind, SERVER), Vec::new()), "{name}");
    }
    let row = file(json!({"md5": MD5}));
    let good = [
        (OWN, list.as_str()),
        ("known_fp_md5_hashes.csv", "an empty installer,6734f37431670b3ab4292b8f60f29984\n"),
    ];
    assert!(told(&good, "files.log", &row).0.is_empty(), "known to be harmless");
}

#[test]
fn listed_fingerprints_and_certificates_are_told() {
    let rows =
        [(format!("{MD5}, high, a bot\n"), "own_malicious_JA3.csv"), (format!("{JA4}, high, a bot\n"), OWN)];
    let client = format!("MALICIOUS_JA3 {CLIENT} {SERVER}");
    for ((list, file), row) in rows.iter().zip([tls(json!({"ja3": MD5})), tls(json!({"ja4": JA4}))]) {
        assert_eq!(told(&[(file, list)], "ssl.log", &row).0, std::slice::from_ref(&client), "{row}");
    }
    let (list, name) = (format!("{MD5}, high, a bot\n"), "own_malicious_JA3.csv");
    assert_eq!(
        told(&[(name, &list)], "ssl.log", &tls(json!({"ja3s": MD5}))).0,
        pair("MALICIOUS_JA3S", SERVER)
    );
    let list = format!("{SHA1}, high, a server of bots\n");
    let row = file(json!({"source": "SSL", "sha1": SHA1, "mime_type": "application/x-x509-user-cert"}));
    let (certificate, _) = told(&[("own_malicious_certificates.csv", &list)], "files.log", &row);
    assert_eq!(certificate, pair("MALICIOUS_SSL_CERT", SERVER));
}

#[test]
fn a_line_that_is_no_indicator_is_told_and_the_rest_is_kept() {
    let list = [(OWN, "nonsense, high, x\n203.0.113.66, high, its server\n0.0.0.0/0, high, x\n")];
    assert_eq!(told(&list, "conn.log", &flow(CLIENT, SERVER)).0, pair("TO_BLACKLISTED_IP", SERVER));
}

/// A configuration with a catalogue that names one list by its URL, and where that list is kept.
fn with_catalogue(dir: &Path, level: &str) -> (std::path::PathBuf, String) {
    let url = "https://lists.example.com/drop.txt";
    let catalogue = write(dir, "TI_feeds.csv", format!("# lists\n{url}, {level}, ['spam']\n"));
    let at = |name: &str| dir.join(name).display().to_string();
    std::fs::create_dir_all(dir.join("own")).expect("dir");
    let text = format!(
        "threatintelligence:\n  local_threat_intelligence_files: {}\n  ti_files: {}\n  download_path_for_remote_threat_intelligence: {}\noutput:\n  directory: {}\n",
        at("own"),
        catalogue.display(),
        at("feeds"),
        at("state"),
    );
    (write(dir, "slips.yaml", text), url.to_owned())
}

/// What `slips intel` prints, and whether it succeeded.
fn intel(config: &Path, args: &[&str]) -> (String, bool) {
    let out = common::slips([&["intel", "-c", config.to_str().expect("utf-8")], args].concat());
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    (text, out.status.success())
}

#[test]
fn a_list_of_others_is_imported_looked_up_and_matched() {
    let dir = tempfile::tempdir().expect("temp");
    let (config, url) = with_catalogue(dir.path(), "high");
    assert!(intel(&config, &["status"]).0.contains("not there"));
    assert_eq!(intel(&config, &["lookup", SERVER]), (format!("{SERVER}: not listed\n"), true));
    let list = write(dir.path(), "drop.txt", "; a list\n203.0.113.0/24 ; SBL1\n10.0.0.0/8 ; SBL2\n");
    let import = |file: &Path, more: &[&str]| {
        intel(&config, &[&["import", file.to_str().expect("utf-8")], more].concat())
    };
    let (said, good) = import(&list, &["--as", &url]);
    assert!(good && said.contains("1 taken; not taken: 1 private"), "{said}");
    let (found, _) = intel(&config, &["lookup", SERVER]);
    assert_eq!(found, format!("{SERVER}: address: high (drop.txt): SBL1 [spam]\n"));
    let status: Value = serde_json::from_str(&intel(&config, &["status", "--json"]).0).expect("JSON");
    assert_eq!(
        (&status["indicators"]["addresses and networks"], &status["feeds"][0]["taken"]),
        (&json!(1), &json!(1))
    );
    let flow = common::conn(1_700_000_000.0, CLIENT, 40_000, SERVER, 443, "SF");
    let found = analyze(&write(dir.path(), "conn.log", flow), &["-c", config.to_str().expect("utf-8")]);
    assert_eq!(common::evidence(&found, "THREAT_INTELLIGENCE_TO_BLACKLISTED_IP"), 2, "{found}");

    let broken = write(dir.path(), "broken.txt", "<html>moved</html>\n");
    let (said, good) = import(&broken, &["--as", &url]);
    assert!(!good && said.contains("0 taken"), "{said}");
    assert!(intel(&config, &["lookup", SERVER]).0.contains("SBL1"), "what is good stays");
    assert!(!import(&list, &["--as", "https://other.example.com/"]).1, "no catalogue names it");
    let own = write(dir.path(), "more.txt", "bad.example.com\n");
    assert!(import(&own, &[]).1);
    let (found, _) = intel(&config, &["lookup", "www.bad.example.com"]);
    assert_eq!(found, "www.bad.example.com: domain (a parent, or another query): medium (more.list)\n");
}
