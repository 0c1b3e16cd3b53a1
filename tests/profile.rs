//! `slips profile` as a user has it.

mod common;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use common::mmdb::{self, Value as Mm};
use common::{corpora, files_below, slips, write};
use serde_json::{Value, json};

fn profile(out: &Path, args: &[&str]) -> std::process::Output {
    let mut all = vec!["profile", "-o", out.to_str().unwrap_or_default()];
    all.extend(args);
    slips(all)
}

#[expect(clippy::expect_used, reason = "a helper of tests")]
fn told(out: &Path, args: &[&str]) -> Value {
    let done = profile(out, &[args, &["--json"]].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

const HOST: &str = "192.168.1.7";
const SERVER: &str = "203.0.113.9";

/// A morning of one laptop, as Zeek logs it.
fn logs(dir: &Path) -> PathBuf {
    let zeek = dir.join("zeek");
    std::fs::create_dir(&zeek).unwrap_or_default();
    let at = |secs: f64| 1_700_000_000.0 + secs;
    let ends = |secs: f64, uid: &str, src: &str, sport: u16, dst: &str, dport: u16| json!({ "ts": at(secs), "uid": uid, "id.orig_h": src, "id.orig_p": sport, "id.resp_h": dst, "id.resp_p": dport });
    let with = |mut line: Value, more: Value| {
        for (key, value) in more.as_object().into_iter().flatten() {
            line[key] = value.clone();
        }
        format!("{line}\n")
    };
    let lease = json!({
        "ts": at(0.0), "uids": ["Cd"], "client_addr": HOST, "server_addr": "192.168.1.1", "mac": "00:22:6b:00:00:07",
        "host_name": "laptop", "domain": "lan", "assigned_addr": HOST, "lease_time": 7200.0,
        "msg_types": ["REQUEST", "ACK"], "duration": 0.1
    });
    write(&zeek, "dhcp.log", format!("{lease}\n"));
    let conn = json!({
        "proto": "tcp", "service": "ssl", "duration": 2.0, "orig_bytes": 500, "resp_bytes": 900, "conn_state": "SF",
        "history": "ShADadFf", "orig_pkts": 8, "orig_ip_bytes": 900, "resp_pkts": 9, "resp_ip_bytes": 1400,
        "orig_l2_addr": "00:22:6b:00:00:07", "resp_l2_addr": "02:00:00:00:00:01"
    });
    let sibling = ends(6.0, "C9", "fe80::222:6bff:fe00:7", 5353, "fe80::1", 53);
    write(
        &zeek,
        "conn.log",
        with(ends(2.0, "C2", HOST, 40_002, SERVER, 443), conn.clone()) + &with(sibling, conn),
    );
    let dns = json!({
        "proto": "udp", "trans_id": 7, "query": "www.example.org", "qclass": 1, "qtype": 1, "rcode": 0, "rcode_name": "NOERROR",
        "AA": false, "TC": false, "RD": true, "RA": true, "Z": 0, "answers": [SERVER], "TTLs": [60.0], "rejected": false
    });
    let reverse = json!({
        "query": "9.113.0.203.in-addr.arpa", "qtype": 12, "answers": ["edge9.example.net"]
    });
    write(
        &zeek,
        "dns.log",
        with(ends(1.0, "C1", HOST, 40_001, "192.168.1.1", 53), dns.clone())
            + &with(
                with(ends(1.5, "C1", HOST, 40_001, "192.168.1.1", 53), dns).parse().unwrap_or_default(),
                reverse,
            ),
    );
    let http = json!({
        "trans_depth": 1, "method": "GET", "host": "www.example.org", "uri": "/", "version": "1.1",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "request_body_len": 0, "response_body_len": 10, "status_code": 200
    });
    write(&zeek, "http.log", with(ends(3.0, "C3", HOST, 40_003, SERVER, 80), http));
    let ssl = json!({
        "version": "TLSv12", "cipher": "TLS_ECDHE", "server_name": "www.example.org", "resumed": false, "established": true,
        "ja3": "00112233445566778899aabbccddeeff", "subject": "CN=www.example.org", "issuer": "CN=Example CA"
    });
    write(&zeek, "ssl.log", with(ends(2.1, "C2", HOST, 40_002, SERVER, 443), ssl));
    let ssh = json!({ "version": 2, "auth_attempts": 0, "client": "SSH-2.0-OpenSSH_9.2", "server": "SSH-2.0-dropbear" });
    write(&zeek, "ssh.log", with(ends(4.0, "C4", HOST, 40_004, SERVER, 22), ssh));
    zeek
}

#[test]
fn each_item_of_a_profile_is_filled_where_the_traffic_carries_it() {
    let dir = tempfile::tempdir().expect("temp");
    let (zeek, out) = (logs(dir.path()), dir.path().join("out"));
    let done = slips(["analyze", zeek.to_str().expect("utf-8"), "-o", out.to_str().expect("utf-8")]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let system = Mm::Map(vec![
        ("autonomous_system_number", Mm::Number(64_496)),
        ("autonomous_system_organization", Mm::Text("Example Networks")),
    ]);
    let asn = mmdb::database("ASN", &[(Ipv4Addr::new(203, 0, 113, 0), 24, system)]);
    let country = Mm::Map(vec![("country", Mm::Map(vec![("iso_code", Mm::Text("CZ"))]))]);
    let country = mmdb::database("Country", &[(Ipv4Addr::new(203, 0, 0, 0), 16, country)]);
    let vendors = write(dir.path(), "oui.csv", "MA-L,00226B,\"Example, Inc.\",1 Way\n");
    let (asn, country) = (write(dir.path(), "asn.mmdb", asn), write(dir.path(), "country.mmdb", country));
    let config = format!(
        "profiles:\n  vendors: [{}]\n  places: [{}, {}]\n",
        vendors.display(),
        asn.display(),
        country.display()
    );
    let config = write(dir.path(), "slips.yaml", config);
    let config = config.to_str().expect("utf-8");

    let host = told(&out, &[HOST, "-c", config]);
    for (key, value) in [
        ("/mac/mac", json!("00:22:6b:00:00:07")),
        ("/mac/vendor", json!("Example, Inc.")),
        ("/siblings/0/ip", json!("fe80::222:6bff:fe00:7")),
        ("/host_names/0/name", json!("laptop")),
        ("/host_names/0/source", json!("dhcp")),
        ("/dhcp/server", json!("192.168.1.1")),
        ("/dhcp/seconds", json!(7200)),
        ("/gateways/0/mac", json!("02:00:00:00:00:01")),
        ("/user_agent/os_type", json!("Linux")),
        ("/user_agent/browser", json!("Firefox 128")),
        ("/software/0/version", json!("SSH-2.0-OpenSSH_9.2")),
        ("/tls_fingerprints/0/fingerprint", json!("00112233445566778899aabbccddeeff")),
        ("/windows", json!(1)),
        ("/first_seen", json!("2023-11-14T22:13:20.000000Z")),
        ("/threat_level", json!("info")),
        ("/country", Value::Null),
    ] {
        assert_eq!(host.pointer(key), Some(&value), "{key} of {host:#}");
    }
    let server = told(&out, &[SERVER, "-c", config]);
    for (key, value) in [
        ("/passive_dns/0/name", json!("www.example.org")),
        ("/passive_dns/0/resolver", json!("192.168.1.1")),
        ("/reverse_dns/0/name", json!("edge9.example.net")),
        ("/sni/0/name", json!("www.example.org")),
        ("/certificates/0/subject", json!("CN=www.example.org")),
        ("/certificates/0/issuer", json!("CN=Example CA")),
        ("/software/0/version", json!("SSH-2.0-dropbear")),
        ("/services/0/application", json!("ssl")),
        ("/asn", json!(64_496)),
        ("/organisation", json!("Example Networks")),
        ("/country", json!("CZ")),
    ] {
        assert_eq!(server.pointer(key), Some(&value), "{key} of {server:#}");
    }
    let roles = told(&out, &["192.168.1.1", "-c", config]);
    assert_eq!(roles["roles"][0]["role"], "dhcp server", "{roles:#}");

    let text = profile(&out, &[HOST, "-c", config]);
    let text = String::from_utf8_lossy(&text.stdout);
    for part in [
        "00:22:6b:00:00:07 (Example, Inc.)",
        "laptop (dhcp)",
        "Firefox 128 on Linux",
        "fe80::222:6bff:fe00:7",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

/// What is listed, how each window was judged, and what it did by kind.
#[test]
fn lists_levels_and_labels_are_in_the_profile_of_each_side() {
    let dir = tempfile::tempdir().expect("temp");
    let out = dir.path().join("out");
    std::fs::create_dir(dir.path().join("own")).expect("dir");
    write(&dir.path().join("own"), "own_malicious_iocs.csv", format!("{SERVER}, high, its server\n"));
    let config = format!(
        "threatintelligence:\n  local_threat_intelligence_files: {}\n",
        dir.path().join("own").display()
    );
    let config = write(dir.path(), "slips.yaml", config);
    let config = config.to_str().expect("utf-8");
    // Two windows.
    let log: String = [1_700_000_000.0, 1_700_004_000.0]
        .map(|at| common::conn(at, HOST, 40_000, SERVER, 443, "SF") + "\n")
        .concat();
    let log = write(dir.path(), "conn.log", log);
    common::analyze(&log, &["-c", config, "-o", out.to_str().expect("utf-8")]);
    for (addr, level, weight) in [(SERVER, "high", 0.8), (HOST, "low", 0.2)] {
        let known = told(&out, &[addr, "-c", config]);
        for (key, value) in [
            ("/threat_level", json!(level)),
            ("/confidence", json!(1.0)),
            ("/threat_levels/0/threat_level", json!(level)),
            ("/threat_levels/1/weight", json!(weight)),
            ("/evidence/as_attacker/0/kind", json!("THREAT_INTELLIGENCE_TO_BLACKLISTED_IP")),
            ("/evidence/as_attacker/0/count", json!(2)),
            ("/evidence/as_victim/0/kind", json!("THREAT_INTELLIGENCE_TO_BLACKLISTED_IP")),
            ("/alerts", json!([])),
        ] {
            assert_eq!(known.pointer(key), Some(&value), "{key} of {known:#}");
        }
        let listed = &known["threat_intelligence"];
        if addr == SERVER {
            assert_eq!(
                (&listed["level"], &listed["description"], &listed["source"]),
                (&json!("high"), &json!("its server"), &json!("own_malicious_iocs.csv"))
            );
        } else {
            assert!(listed.is_null() && known["windows"] == 2, "{known:#}");
        }
    }
}

#[test]
fn what_is_unknown_or_cannot_be_read_is_told_with_its_own_exit_code() {
    let dir = tempfile::tempdir().expect("temp");
    let (zeek, out) = (logs(dir.path()), dir.path().join("out"));
    assert_eq!(profile(&out, &[HOST]).status.code(), Some(66));
    slips(["analyze", zeek.to_str().expect("utf-8"), "-o", out.to_str().expect("utf-8")]);
    let unknown = profile(&out, &["198.51.100.200"]);
    assert_eq!(unknown.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("knows nothing of 198.51.100.200"));
    assert_eq!(profile(&out, &["nobody"]).status.code(), Some(64));
    let broken = write(dir.path(), "broken.mmdb", "no database");
    let config = write(dir.path(), "slips.yaml", format!("profiles:\n  places: [{}]\n", broken.display()));
    let done = profile(&out, &[HOST, "-c", config.to_str().expect("utf-8")]);
    assert_eq!(done.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&done.stderr).contains("broken.mmdb"));
}

/// Every capture and log of the corpora through the profiles: what each item needs is somewhere in them.
#[test]
fn the_corpora_fill_each_item() {
    let Some(corpora) = corpora("the_corpora_fill_each_item") else { return };
    let dir = tempfile::tempdir().expect("temp");
    let mut missing: Vec<&str> = vec![
        "mac",
        "siblings",
        "host_names",
        "dhcp",
        "gateways",
        "roles",
        "user_agents",
        "software",
        "sni",
        "reverse_dns",
        "passive_dns",
        "certificates",
        "tls_fingerprints",
        "services",
        "gateway",
        "user_agent",
        "threat_levels",
    ];
    // Reverse lookups first: few captures have one.
    let dirs = ["arkime/dns-wiresharkrepo", "zeek", "suricata"];
    let inputs = dirs.iter().flat_map(|dir| files_below(&corpora.join(dir), &|name| name.ends_with(".pcap")));
    for (number, input) in inputs.enumerate() {
        if missing.is_empty() {
            break;
        }
        let out = dir.path().join(number.to_string());
        let done = slips(["analyze", input.to_str().expect("utf-8"), "-o", out.to_str().expect("utf-8")]);
        if !done.status.success() {
            continue;
        }
        for addr in addresses(&out) {
            let known = told(&out, &[&addr]);
            missing.retain(|item| match &known[item] {
                Value::Null => true,
                Value::Array(items) => items.is_empty(),
                _ => false,
            });
        }
    }
    assert!(missing.is_empty(), "nothing in the corpora filled {missing:?}");
}

/// Some that have a profile.
#[expect(clippy::expect_used, reason = "a helper of tests")]
fn addresses(out: &Path) -> Vec<String> {
    let done = slips(["profiles", "-n", "20", "--json", "-o", out.to_str().unwrap_or_default()]);
    let rows: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let rows = rows.as_array().expect("an array").iter();
    rows.map(|row| row["ip"].as_str().expect("an address").to_owned()).collect()
}
