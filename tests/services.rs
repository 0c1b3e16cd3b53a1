//! Services outside, each against a server that answers as the real one does, through the binary.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use common::server::{Asked, Reply, Server, authority};
use common::{slips, write};
use serde_json::{Value, json};

const MD5: &str = "44d88612fea8a8f36de82e1278abb02f";

struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// With this in the configuration, where `{}` is the server; keys are in `vt` and `abuse`.
    fn new(server: &Server, sections: &str) -> Self {
        let dir = tempfile::tempdir().expect("temp");
        for name in ["vt", "abuse"] {
            let path = write(dir.path(), name, format!("key-of-{name}-0123456789\n"));
            fs::set_permissions(path, Permissions::from_mode(0o600)).expect("set");
        }
        let sections =
            sections.replace("SERVER", &server.url("")).replace("DIR", &dir.path().display().to_string());
        let text = format!(
            "{sections}outside:\n  certificates: {}\noutput:\n  directory: {}/out\n",
            authority().display(),
            dir.path().display()
        );
        write(dir.path(), "slips.yaml", text);
        Self { dir }
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn run(&self, what: &str) -> Output {
        slips(["intel", "-c", &self.at("slips.yaml"), "ask", what, "--json"])
    }

    fn ask(&self, what: &str) -> Value {
        let out = self.run(what);
        serde_json::from_slice(&out.stdout).unwrap_or_else(|_| json!(String::from_utf8_lossy(&out.stderr)))
    }
}

/// A report on an address as version 2 of VirusTotal's interface has it, shortened.
fn virustotal(asked: &Asked) -> Reply {
    let (path, query) = asked.target.split_once('?').expect("a query");
    assert!(query.contains("apikey=key-of-vt-0123456789"), "{query}");
    let body = match path {
        "/vtapi/v2/ip-address/report" if query.contains("ip=8.8.4.1") => json!({
            "asn": 15169, "as_owner": "Example", "country": "CZ", "response_code": 1,
            "detected_urls": [{"url": "http://8.8.4.1/x", "positives": 5, "total": 70, "scan_date": "2026-11-01 00:00:00"}],
            "undetected_urls": [["http://8.8.4.1/", "aa", 0, 30, "2026-11-01 00:00:00"]],
            "detected_downloaded_samples": [{"positives": 30, "total": 60, "sha256": "aa"}],
            "detected_referrer_samples": [],
            "undetected_communicating_samples": [{"positives": 0, "total": 57, "sha256": "bb"}],
            "resolutions": [{"hostname": "bad.example.org", "last_resolved": "2026-11-01"}],
        }),
        "/vtapi/v2/domain/report" => {
            json!({"response_code": 1, "detected_urls": [{"positives": 7, "total": 70}]})
        }
        "/vtapi/v2/url/report" => json!({"response_code": 1, "positives": 7, "total": 70}),
        "/vtapi/v2/file/report" if query.contains(MD5) => {
            json!({"response_code": 1, "positives": 60, "total": 61})
        }
        _ => json!({"response_code": 0, "verbose_msg": "not there"}),
    };
    Reply::ok(body.to_string())
}

const VIRUSTOTAL: &str = "virustotal:\n  api_key_file: DIR/vt\n  url: SERVER\n";

#[test]
fn virustotal_tells_the_four_ratios_and_is_asked_once() {
    let server = Server::tls("right");
    server.answer(virustotal);
    let machine = Machine::new(&server, VIRUSTOTAL);
    let facts = |what: &str| machine.ask(what)["virustotal"]["facts"].clone();
    let address = facts("8.8.4.1");
    assert_eq!((&address["URL"], &address["down_file"]), (&json!(5.0), &json!(50.0)), "{address}");
    assert_eq!((&address["ref_file"], &address["com_file"]), (&json!(0.0), &json!(0.0)));
    assert_eq!(address["resolutions"], json!(["bad.example.org"]));
    assert_eq!(facts("www.wikipedia.org")["URL"], json!(10.0));
    assert_eq!(facts("http://wikipedia.org/x?secret=1")["URL"], json!(10.0));
    assert_eq!(facts(MD5)["file"], json!(98.36));
    let asked: Vec<String> = server.asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(asked.len(), 4);
    assert!(
        asked[1].ends_with("&domain=wikipedia.org"),
        "what somebody registered, not the name below it: {asked:?}"
    );
    assert!(asked[2].ends_with("&resource=http%3A%2F%2Fwikipedia.org%2Fx"), "without the query: {asked:?}");
    facts("8.8.4.1");
    assert!(server.asked().is_empty(), "the answer is kept");
}

/// The same by version 3 of its interface.
fn virustotal_3(asked: &Asked) -> Reply {
    let stats = |malicious: u32, harmless: u32| json!({"harmless": harmless, "malicious": malicious, "suspicious": 0, "undetected": 30, "timeout": 2, "failure": 1});
    if asked.headers.get("x-apikey").map(String::as_str) != Some("key-of-vt-0123456789") {
        let body = json!({"error": {"code": "WrongCredentialsError", "message": "Wrong API key"}});
        return Reply { body: body.to_string().into(), ..Reply::status(401) };
    }
    let (kind, attributes) = match asked.target.as_str() {
        "/api/v3/ip_addresses/8.8.4.1" => (
            "ip_address",
            json!({"asn": 15169, "as_owner": "Example", "country": "CZ", "last_analysis_stats": stats(6, 24)}),
        ),
        "/api/v3/domains/wikipedia.org" => ("domain", json!({"last_analysis_stats": stats(0, 30)})),
        // http://wikipedia.org/x
        "/api/v3/urls/aHR0cDovL3dpa2lwZWRpYS5vcmcveA" => {
            ("url", json!({"last_analysis_stats": stats(15, 15)}))
        }
        target if target == format!("/api/v3/files/{MD5}") => {
            ("file", json!({"last_analysis_stats": stats(60, 0)}))
        }
        _ => {
            let body = json!({"error": {"code": "NotFoundError", "message": "not there"}});
            return Reply { body: body.to_string().into(), ..Reply::status(404) };
        }
    };
    Reply::ok(json!({"data": {"id": "x", "type": kind, "attributes": attributes}}).to_string())
}

#[test]
fn virustotal_is_asked_by_its_version_3_where_that_is_wanted() {
    let server = Server::tls("right");
    server.answer(virustotal_3);
    let machine = Machine::new(&server, &format!("{VIRUSTOTAL}  api_version: 3\n"));
    let facts = |what: &str| machine.ask(what)["virustotal"]["facts"].clone();
    let address = facts("8.8.4.1");
    assert_eq!((&address["host"], &address["positives"]), (&json!(10.0), &json!(6)), "{address}");
    assert_eq!((&address["asn"], &address["country"]), (&json!(15169), &json!("CZ")));
    assert_eq!(facts("www.wikipedia.org")["host"], json!(0.0));
    assert_eq!(facts("http://wikipedia.org/x?secret=1")["URL"], json!(25.0));
    assert_eq!(facts(MD5)["file"], json!(66.67));
    assert_eq!(facts("8.8.4.2"), json!({}), "it has never heard of it");
    assert!(server.asked().iter().all(|asked| !asked.target.contains("key-of-vt")), "the key is in no URL");
    let wrong = Machine::new(&server, &format!("{VIRUSTOTAL}  api_version: 3\n"));
    write(wrong.dir.path(), "vt", "another-key-0123456789\n");
    assert!(wrong.ask("8.8.4.1")["virustotal"]["trouble"].as_str().unwrap_or_default().contains("key"));
    let none = Machine::new(&server, &format!("{VIRUSTOTAL}  api_version: 4\n"));
    assert_eq!(none.run("8.8.4.1").status.code(), Some(78));
}

#[test]
fn virustotal_is_off_without_a_key_and_tells_a_used_up_quota() {
    let server = Server::tls("right");
    let without = Machine::new(&server, "virustotal:\n  api_key_file: \"\"\n  url: SERVER\n");
    assert_eq!(without.run("8.8.4.1").status.code(), Some(78));
    let loose = Machine::new(&server, VIRUSTOTAL);
    fs::set_permissions(loose.at("vt"), Permissions::from_mode(0o644)).expect("set");
    let out = loose.run("8.8.4.1");
    assert!(String::from_utf8_lossy(&out.stderr).contains("can be read by everybody"));
    assert!(server.asked().is_empty());
    for status in [204, 429] {
        server.answer(move |_| Reply::status(status));
        let machine = Machine::new(&server, VIRUSTOTAL);
        assert_eq!(machine.run("8.8.4.1").status.code(), Some(75));
        assert!(
            machine.ask("8.8.4.1")["virustotal"]["trouble"]
                .as_str()
                .unwrap_or_default()
                .contains("left alone")
        );
    }
    server.answer(|_| Reply::status(403));
    let machine = Machine::new(&server, VIRUSTOTAL);
    assert!(machine.ask("8.8.4.1")["virustotal"]["trouble"].as_str().unwrap_or_default().contains("key"));
    // The quota of a day is kept over processes.
    server.answer(virustotal);
    server.asked();
    let little = Machine::new(&server, &format!("{VIRUSTOTAL}  per_day: 2\n"));
    for what in ["8.8.4.1", "8.8.4.2", "8.8.4.3", "8.8.4.4"] {
        little.run(what);
    }
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn urlhaus_tells_pages_and_files_that_spread_malware() {
    let server = Server::tls("right");
    server.answer(|asked| {
        assert_eq!((asked.method.as_str(), asked.headers["auth-key"].as_str()), ("POST", "key-of-abuse-0123456789"));
        let body = match (asked.target.as_str(), asked.body.as_str()) {
            ("/v1/url/", "url=http%3A%2F%2Fbad.wikipedia.org%2Fbin.sh") => json!({
                "query_status": "ok", "threat": "malware_download", "url_status": "online",
                "urlhaus_reference": "https://urlhaus.abuse.ch/url/1/",
                "payloads": [{"filename": "bin.sh", "file_type": "elf", "signature": "Mirai", "virustotal": {"percent": "61.29"}}],
            }),
            ("/v1/payload/", body) if body == format!("md5_hash={MD5}") => json!({
                "query_status": "ok", "file_type": "exe", "signature": null, "virustotal": null,
            }),
            _ => json!({"query_status": "no_results"}),
        };
        Reply::ok(body.to_string())
    });
    let machine = Machine::new(
        &server,
        "services:\n  urlhaus: true\n  urlhaus_key_file: DIR/abuse\n  urlhaus_url: SERVER\n",
    );
    let page = machine.ask("http://bad.wikipedia.org/bin.sh");
    assert_eq!(page["urlhaus"]["verdict"]["level"], "medium", "{page}");
    assert_eq!(page["urlhaus"]["facts"]["signature"], "Mirai");
    assert_eq!(machine.ask(MD5)["urlhaus"]["verdict"]["level"], "high");
    assert_eq!(machine.ask("http://wikipedia.org/")["urlhaus"]["verdict"], Value::Null);
    assert_eq!(machine.run("8.8.4.1").status.code(), Some(64), "it knows no addresses");
}

#[test]
fn circl_tells_what_files_are_known_as() {
    let server = Server::tls("right");
    server.answer(|asked| match asked.target.strip_prefix("/lookup/md5/") {
        Some(MD5) => Reply::ok(
            json!({"FileName": "x.exe", "KnownMalicious": "bazaar.abuse.ch malshare.com", "hashlookup:trust": 10}).to_string(),
        ),
        Some("d41d8cd98f00b204e9800998ecf8427e") => Reply::ok(json!({"FileName": "empty", "hashlookup:trust": 85}).to_string()),
        _ => Reply { body: json!({"message": "Non existing MD5"}).to_string().into(), ..Reply::status(404) },
    });
    let machine =
        Machine::new(&server, "services:\n  circl_hashlookup: true\n  circl_hashlookup_url: SERVER\n");
    let bad = machine.ask(MD5);
    assert_eq!(bad["circl"]["verdict"]["level"], "high", "{bad}");
    assert_eq!(bad["circl"]["verdict"]["confidence"], 0.7);
    let good = machine.ask("D41D8CD98F00B204E9800998ECF8427E");
    assert_eq!((&good["circl"]["verdict"], &good["circl"]["facts"]["trust"]), (&Value::Null, &json!(85.0)));
    assert_eq!(machine.ask(&"0".repeat(32))["circl"]["facts"], json!({}));
}

#[test]
fn rdap_tells_when_a_domain_was_registered() {
    let server = Server::tls("right");
    let url = server.url("");
    server.answer(move |asked| match asked.target.as_str() {
        // As rdap.org leads on to the registry.
        "/domain/wikipedia.org" => Reply::status(302).with("Location", format!("{url}/registry/domain/wikipedia.org")),
        "/registry/domain/wikipedia.org" => Reply::ok(
            json!({
                "objectClassName": "domain", "ldhName": "WIKIPEDIA.ORG",
                "events": [
                    {"eventAction": "expiration", "eventDate": "2027-01-13T00:12:14Z"},
                    {"eventAction": "registration", "eventDate": "2001-01-13T00:12:14.000Z"},
                ],
                "entities": [{"roles": ["registrar"], "vcardArray": ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "A registrar"]]]}],
            })
            .to_string(),
        ),
        _ => Reply::status(404),
    });
    let machine = Machine::new(&server, "services:\n  rdap: true\n  rdap_url: SERVER\n");
    let facts = machine.ask("en.m.wikipedia.org")["rdap"]["facts"].clone();
    assert_eq!(
        (&facts["registered"], &facts["registrar"]),
        (&json!(979_344_734), &json!("A registrar")),
        "{facts}"
    );
    assert_eq!(machine.ask("example.net")["rdap"]["facts"], json!({}), "nobody has heard of it");
}

#[test]
fn spamhaus_is_asked_by_the_resolver_of_this_host() {
    // The dot at the end keeps the search domains of this host away.
    let hosts = "127.0.0.2 1.4.8.8.zen.test.example.com.\n127.0.0.11 2.4.8.8.zen.test.example.com.\n127.255.255.254 3.4.8.8.zen.test.example.com.\n";
    let server = Server::tls("right");
    let machine =
        Machine::new(&server, "services:\n  spamhaus: true\n  spamhaus_zone: zen.test.example.com\n");
    let hosts = write(machine.dir.path(), "hosts", hosts);
    let ask = |what: &str| -> Option<Value> {
        let script = "mount --bind \"$1\" /etc/hosts && exec \"$2\" intel -c \"$3\" ask \"$4\" --json";
        let out = std::process::Command::new("unshare")
            .args(["-m", "sh", "-c", script, "sh"])
            .args([hosts.as_path(), Path::new(env!("CARGO_BIN_EXE_slips"))])
            .args([&machine.at("slips.yaml"), what])
            .output()
            .ok()?;
        serde_json::from_slice(&out.stdout).ok()
    };
    let Some(listed) = ask("8.8.4.1") else {
        println!("skipped: spamhaus_is_asked_by_the_resolver_of_this_host: not root");
        return;
    };
    assert_eq!(listed["spamhaus"]["facts"]["lists"], json!(["SBL"]), "{listed}");
    assert_eq!(listed["spamhaus"]["verdict"]["level"], "medium");
    let home = ask("8.8.4.2").expect("an answer");
    assert_eq!(
        (&home["spamhaus"]["verdict"], &home["spamhaus"]["facts"]["lists"]),
        (&Value::Null, &json!(["PBL"]))
    );
    let refused = ask("8.8.4.3").expect("an answer");
    assert!(
        refused["spamhaus"]["trouble"].as_str().unwrap_or_default().contains("public resolvers"),
        "{refused}"
    );
}

#[test]
fn nothing_private_is_asked_and_an_answer_shows_in_the_profile() {
    let server = Server::tls("right");
    server.answer(virustotal);
    let machine = Machine::new(&server, VIRUSTOTAL);
    for what in [
        "192.168.1.7",
        "10.0.0.1",
        "fd00::1",
        "printer.local",
        "nas.lan",
        "http://192.168.1.1/x",
        "localhost",
    ] {
        assert_eq!(machine.run(what).status.code(), Some(64), "{what}");
    }
    assert!(server.asked().is_empty());
    machine.ask("8.8.4.1");
    let row = json!({
        "ts": 1_700_000_000.0, "uid": "C1", "id.orig_h": "192.168.1.5", "id.orig_p": 40_000, "id.resp_h": "8.8.4.1", "id.resp_p": 443,
        "version": "TLSv12", "server_name": "www.wikipedia.org", "established": true, "resumed": false,
    });
    let log = write(machine.dir.path(), "ssl.log", format!("{row}\n"));
    let out = machine.at("analysed");
    common::analyze(&log, &["-o", &out]);
    let told = slips([
        "profile",
        "8.8.4.1",
        "-c",
        &machine.at("slips.yaml"),
        "--db",
        &format!("{out}/flows.sqlite"),
        "--json",
    ]);
    let told: Value =
        serde_json::from_slice(&told.stdout).unwrap_or_else(|_| json!(String::from_utf8_lossy(&told.stderr)));
    assert_eq!(
        (&told["virustotal"]["URL"], &told["virustotal"]["down_file"]),
        (&json!(5.0), &json!(50.0)),
        "{told}"
    );
}
