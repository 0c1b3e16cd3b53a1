//! Each type of evidence has an input that raises it through the binary: the table says which test, and the inputs that no other test
//! has are made here.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use std::net::Ipv4Addr;
use std::path::Path;

use common::mmdb::{self, Value as Mm};
use common::pcap::{Pcap, mac};
use common::{analyze, attackers, conn, evidence, write};
use serde_json::{Value, json};
use slips_core::evidence::EvidenceKind;

/// Kind, file and item in which an input raises it.
const RAISED: &[(&str, &str, &str)] = &[
    ("ARP_SCAN", "kinds", "fn an_arp_scan_and_a_forged_owner"),
    ("ICMP_ADDRESS_SCAN", "acceptance", "const TABLE"),
    ("ICMP_TIMESTAMP_SCAN", "acceptance", "const TABLE"),
    ("ICMP_ADDRESS_MASK_SCAN", "acceptance", "const TABLE"),
    ("HORIZONTAL_PORT_SCAN", "acceptance", "const TABLE"),
    ("VERTICAL_PORT_SCAN", "analyze", "fn a_scan_of_a_thousand_ports"),
    ("PASSWORD_GUESSING", "behaviour", "fn short_logins_all_alike"),
    ("MULTIPLE_RECONNECTION_ATTEMPTS", "kinds", "fn what_connections_show"),
    ("LONG_CONNECTION", "acceptance", "const TABLE"),
    ("DATA_UPLOAD", "kinds", "fn what_connections_show"),
    ("THREAT_INTELLIGENCE_TO_BLACKLISTED_IP", "analyze", "fn a_listed_address_is_evidence"),
    ("THREAT_INTELLIGENCE_FROM_BLACKLISTED_IP", "kinds", "fn a_listed_address_that_comes_to_us"),
    ("THREAT_INTELLIGENCE_BLACKLISTED_ASN", "kinds", "fn an_address_of_a_listed_network"),
    ("THREAT_INTELLIGENCE_BLACKLISTED_DOMAIN", "intelligence", "fn a_listed_name_is_told"),
    ("THREAT_INTELLIGENCE_BLACKLISTED_DNS_ANSWER", "intelligence", "fn answers_that_lead_to"),
    ("THREAT_INTELLIGENCE_ANSWER_OF_BLACKLISTED_QUERY", "intelligence", "fn answers_that_lead_to"),
    ("THREAT_INTELLIGENCE_MALICIOUS_URL", "intelligence", "fn a_listed_url_is_a_pair"),
    ("MALICIOUS_DOWNLOADED_FILE", "intelligence", "fn a_listed_file_is_a_pair"),
    ("UNSOLICITED_ARP", "acceptance", "const TABLE"),
    ("ARP_OUTSIDE_LOCALNET", "acceptance", "const TABLE"),
    ("MITM_ARP_ATTACK", "kinds", "fn an_arp_scan_and_a_forged_owner"),
    ("DHCP_SCAN", "acceptance", "const TABLE"),
    ("BAD_SMTP_LOGIN", "acceptance", "const TABLE"),
    ("SMTP_LOGIN_BRUTEFORCE", "acceptance", "const TABLE"),
    ("GRE_TUNNEL", "kinds", "fn what_records_of_protocols_show"),
    ("GRE_SCAN", "kinds", "fn what_records_of_protocols_show"),
    ("LOGIN", "kinds", "fn what_records_of_protocols_show"),
    ("MULTIPLE_SSH_VERSIONS", "acceptance", "const TABLE"),
    ("SSH_SUCCESSFUL", "kinds", "fn what_records_of_protocols_show"),
    ("SYN_FLOOD", "kinds", "fn floods_are_told"),
    ("UDP_FLOOD", "kinds", "fn floods_are_told"),
    ("ICMP_FLOOD", "kinds", "fn floods_are_told"),
    ("SUSPICIOUS_USER_AGENT", "acceptance", "const TABLE"),
    ("EXECUTABLE_MIME_TYPE", "acceptance", "const TABLE"),
    ("EMPTY_CONNECTIONS", "corpora", "const ACCEPTANCE"),
    ("WEIRD_HTTP_METHOD", "kinds", "fn what_records_of_protocols_show"),
    ("PASTEBIN_DOWNLOAD", "kinds", "fn what_records_of_protocols_show"),
    ("NON_HTTP_PORT_80_CONNECTION", "acceptance", "const TABLE"),
    ("NON_SSL_PORT_443_CONNECTION", "corpora", "const ACCEPTANCE"),
    ("DGA_NXDOMAINS", "kinds", "fn what_names_show"),
    ("DNS_ARPA_SCAN", "kinds", "fn what_names_show"),
    ("HIGH_ENTROPY_DNS_ANSWER", "kinds", "fn what_names_show"),
    ("INVALID_DNS_RESOLUTION", "kinds", "fn what_names_show"),
    ("SELF_SIGNED_CERTIFICATE", "corpora", "const ACCEPTANCE"),
    ("MALICIOUS_JA3", "acceptance", "const TABLE"),
    ("MALICIOUS_JA3S", "acceptance", "const TABLE"),
    ("PORT_0_CONNECTION", "kinds", "fn what_connections_show"),
    ("CONNECTION_TO_PRIVATE_IP", "kinds", "fn what_connections_show"),
    ("UNKNOWN_PORT", "kinds", "fn what_connections_show"),
    ("CONNECTION_TO_MULTIPLE_PORTS", "kinds", "fn what_connections_show"),
    ("COMMAND_AND_CONTROL_CHANNEL", "behaviour", "fn a_server_that_refuses_for_ever"),
    ("MALICIOUS_SSL_CERT", "corpora", "const ACCEPTANCE"),
    ("REMOTE_EXECUTION", "corpora", "const ACCEPTANCE"),
    ("CREDENTIAL_ACCESS", "corpora", "const ACCEPTANCE"),
    ("REMOTE_DISCOVERY", "corpora", "const ACCEPTANCE"),
    ("EXPLOIT_ATTEMPT", "behaviour", "fn a_question_that_only_exploits_ask"),
    ("STOLEN_CREDENTIALS", "corpora", "const ACCEPTANCE"),
    ("DNS_TUNNEL", "corpora", "const ACCEPTANCE"),
    ("ICMP_TUNNEL", "corpora", "const ACCEPTANCE"),
    ("CRYPTO_MINING", "corpora", "const ACCEPTANCE"),
    ("LATERAL_MOVEMENT", "kinds", "fn what_connections_show"),
    ("BLOCK_PORT_SCAN", "kinds", "fn what_connections_show"),
    ("SLOW_PORT_SCAN", "corpora", "const ACCEPTANCE"),
    ("AMPLIFICATION_ABUSE", "kinds", "fn what_connections_show"),
    ("ROGUE_DHCP_SERVER", "link", "fn a_rogue_dhcp_server_is_an_alert"),
    ("DHCP_STARVATION", "link", "fn starvation_is_evidence"),
    ("MITM_NDP_ATTACK", "link", "fn forged_neighbour_advertisements"),
    ("ROGUE_ROUTER", "link", "fn a_rogue_router_is_an_alert"),
    ("NAME_POISONING", "link", "fn whoever_answers_to_every_name"),
    ("NEW_DEVICE", "link", "fn a_new_device_is_information"),
    ("DEVICE_CHANGING_IP", "link", "fn a_new_device_is_information"),
    ("DNS_REBINDING", "behaviour", "fn a_name_that_leads_outside_and_inside"),
    ("DGA_NAMES", "behaviour", "fn names_made_by_an_algorithm"),
    ("DEVICE_WORM", "behaviour", "fn a_worm_of_devices"),
    ("ODD_CERTIFICATE", "behaviour", "fn odd_certificates_are_told"),
    ("INCOMPATIBLE_CN", "behaviour", "fn odd_certificates_are_told"),
    ("CN_URL_MISMATCH", "corpora", "const ACCEPTANCE"),
    ("CONNECTION_WITHOUT_DNS", "behaviour", "fn connections_without_names"),
    ("DNS_WITHOUT_CONNECTION", "behaviour", "fn connections_without_names"),
    ("MULTIPLE_USER_AGENT", "behaviour", "fn user_agents_and_places"),
    ("INCOMPATIBLE_USER_AGENT", "behaviour", "fn user_agents_and_places"),
    ("HTTP_TRAFFIC", "behaviour", "fn user_agents_and_places"),
    ("DNS_OVER_HTTPS", "behaviour", "fn odd_certificates_are_told"),
    ("DIFFERENT_LOCALNET", "behaviour", "fn a_private_network_that_is_not_ours"),
    ("DISTRIBUTED_SCAN", "behaviour", "fn sources_of_one_network"),
    ("NETWORK_GPS_LOCATION_LEAKED", "leaks", "fn what_leaves_in_the_clear_is_told"),
    ("SENSITIVE_DATA_LEAKED", "leaks", "fn what_leaves_in_the_clear_is_told"),
    ("SURICATA_ALERT", "kinds", "fn what_suricata_says"),
];

/// Kinds that no input of the binary can raise, and why. It only shrinks: a kind with a test must not be here.
const WITHOUT: &[(&str, &str)] = &[
    (
        "MALICIOUS_JARM",
        "the daemon asks a server for it, and `analyze` asks nobody: the daemon's tests and the lab",
    ),
    ("YOUNG_DOMAIN", "who is asked outside knows the age; the detection's own tests feed one"),
    ("P2P_REPORT", "peers speak to the daemon only, and never to `analyze`: the daemon's tests and the lab"),
    ("MALICIOUS_IP_FROM_P2P_NETWORK", "as P2P_REPORT"),
];

/// The text of an item of a file of tests, from its name to the end of it.
fn item(file: &str, name: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file).with_extension("rs");
    let text = std::fs::read_to_string(path).expect("a file of tests");
    let from = text.split_once(&format!("\n{name}"))?.1;
    let (body, _) = from
        .split_once("\n}\n")
        .into_iter()
        .chain(from.split_once("\n];\n"))
        .min_by_key(|(body, _)| body.len())?;
    Some(body.to_owned())
}

#[test]
fn every_kind_of_evidence_is_raised_by_an_input() {
    for kind in EvidenceKind::ALL {
        let quoted = format!("\"{kind}\"");
        let rows: Vec<_> = RAISED.iter().filter(|(name, ..)| *name == kind.name()).collect();
        let excused = WITHOUT.iter().any(|(name, _)| *name == kind.name());
        assert_eq!(rows.len(), usize::from(!excused), "{kind}: no input raises it, or several rows say so");
        for (_, file, name) in rows {
            let body = item(file, name).unwrap_or_default();
            assert!(body.contains(&quoted), "{kind}: tests/{file}.rs, `{name}` says nothing of it");
        }
    }
    assert_eq!(RAISED.len() + WITHOUT.len(), EvidenceKind::ALL.len(), "a row of a kind that is no more");
    assert!(WITHOUT.len() <= 4, "a kind of evidence needs a test");
}

const BEGIN: f64 = 1_700_000_000.0;
const CLIENT: &str = "192.168.1.5";
const SERVER: &str = "203.0.113.9";

/// What the rows of one log raise.
fn found(log: &str, rows: impl IntoIterator<Item = Value>) -> Value {
    let text: String = rows.into_iter().map(|row| format!("{row}\n")).collect();
    let dir = tempfile::tempdir().expect("temp");
    analyze(&write(dir.path(), log, text), &[])
}

/// The kinds that were raised, in order.
fn kinds(found: &Value) -> Vec<&str> {
    found["evidence"].as_object().into_iter().flat_map(|kinds| kinds.keys().map(String::as_str)).collect()
}

/// A row of any log from one host to another, with more fields.
fn row(second: f64, src: &str, dst: &str, port: u16, more: Value) -> Value {
    let mut row = json!({
        "ts": BEGIN + second, "uid": format!("C{second}x{port}"), "id.orig_h": src, "id.orig_p": 40_000,
        "id.resp_h": dst, "id.resp_p": port,
    });
    if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
        row.extend(more);
    }
    row
}

/// A connection that went well, with so many bytes of both sides.
fn talk(second: f64, src: &str, dst: &str, port: u16, bytes: (u64, u64)) -> Value {
    let mut talk = row(second, src, dst, port, json!({"id.orig_p": 20_000 + second as u32 % 40_000}));
    let more = json!({
        "proto": "tcp", "duration": 0.5, "orig_bytes": bytes.0, "resp_bytes": bytes.1, "conn_state": "SF",
        "history": "ShADadFf", "orig_pkts": 9, "orig_ip_bytes": bytes.0 + 400, "resp_pkts": 9,
        "resp_ip_bytes": bytes.1 + 400,
    });
    if let (Some(talk), Value::Object(more)) = (talk.as_object_mut(), more) {
        talk.extend(more);
    }
    talk
}

/// An attempt that nobody answers.
fn attempt(second: f64, src: &str, dst: &str, port: u16, proto: &str) -> Value {
    let state = if proto == "icmp" { "OTH" } else { "S0" };
    let more = json!({
        "id.orig_p": if proto == "icmp" { 8 } else { 40_000 }, "uid": format!("C{second}x{dst}x{port}"),
        "proto": proto, "conn_state": state, "history": if proto == "tcp" { "S" } else { "D" },
        "orig_pkts": 1, "orig_ip_bytes": 60, "resp_pkts": 0, "resp_ip_bytes": 0,
    });
    row(second, src, dst, port, more)
}

fn dns(second: f64, name: &str, qtype: u16, rcode: u16, answers: &[&str]) -> Value {
    let ttls: Vec<f64> = answers.iter().map(|_| 60.0).collect();
    let more = json!({
        "proto": "udp", "trans_id": 7, "query": name, "qclass": 1, "qtype": qtype, "rcode": rcode, "AA": false,
        "TC": false, "RD": true, "RA": true, "Z": 0, "answers": answers, "TTLs": ttls, "rejected": false,
    });
    row(second, CLIENT, "192.168.1.1", 53, more)
}

#[test]
fn what_names_show() {
    let hash = |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let dead = |count: u64| {
        found("dns.log", (0..count).map(|n| dns(n as f64, &format!("xkcdqz{:x}.com", hash(n)), 1, 3, &[])))
    };
    assert_eq!(evidence(&dead(12), "DGA_NXDOMAINS"), 1);
    assert_eq!(kinds(&dead(5)), [""; 0]);
    let backwards = |apart: f64| {
        let ask = |n: u32| {
            dns(f64::from(n) * apart, &format!("{n}.2.0.192.in-addr.arpa"), 12, 0, &["a.example.org"])
        };
        found("dns.log", (0..12).map(ask))
    };
    assert_eq!(evidence(&backwards(0.1), "DNS_ARPA_SCAN"), 1);
    assert_eq!(evidence(&backwards(1.0), "DNS_ARPA_SCAN"), 0);
    let text = |text: &str| {
        found("dns.log", [dns(0.0, "a.example.org", 16, 0, &[&format!("TXT {} {text}", text.len())])])
    };
    let random = "q7Zx2LbV9mKtR4yWc8NdF3gHjP6sAe5uXoYiB1vQwEzC0kTlMnDrGhJpS-+_=,;";
    assert_eq!(evidence(&text(random), "HIGH_ENTROPY_DNS_ANSWER"), 1);
    assert_eq!(evidence(&text(&"hello hello ".repeat(5)), "HIGH_ENTROPY_DNS_ANSWER"), 0);
    let leads = |answer: &str| {
        evidence(&found("dns.log", [dns(0.0, "a.example.org", 1, 0, &[answer])]), "INVALID_DNS_RESOLUTION")
    };
    assert_eq!((leads("192.168.1.77"), leads("198.51.100.7")), (1, 0));
}

#[test]
fn what_connections_show() {
    let of = |rows: Vec<Value>, kind: &str| evidence(&found("conn.log", rows), kind);
    let upload = |bytes| of(vec![talk(0.0, CLIENT, SERVER, 443, (bytes, 9000))], "DATA_UPLOAD");
    assert_eq!((upload(600_000_000), upload(60_000_000)), (2, 0), "both sides");
    let zero = |port| of(vec![attempt(0.0, SERVER, CLIENT, port, "tcp")], "PORT_0_CONNECTION");
    assert_eq!((zero(0), zero(80)), (1, 0));
    let inside = |dst| of(vec![talk(0.0, CLIENT, dst, 8080, (900, 900))], "CONNECTION_TO_PRIVATE_IP");
    assert_eq!((inside("192.168.1.9"), inside(SERVER)), (1, 0));
    let odd = found(
        "conn.log",
        [17_771, 17_773, 17_779].map(|port| talk(f64::from(port), CLIENT, SERVER, port, (900, 900))),
    );
    assert_eq!(
        (evidence(&odd, "UNKNOWN_PORT"), evidence(&odd, "CONNECTION_TO_MULTIPLE_PORTS")),
        (3, 1),
        "{odd}"
    );
    let spread = |hosts: u16| {
        let all = (0..hosts)
            .map(|n| talk(f64::from(n), CLIENT, &format!("192.168.1.{}", n + 50), 3389, (900, 900)));
        of(all.collect(), "LATERAL_MOVEMENT")
    };
    assert_eq!((spread(12), spread(5)), (1, 0));
    let block = |hosts: u16, ports: u16| {
        let pair = |n: u16| {
            attempt(
                f64::from(n),
                SERVER,
                &format!("192.168.1.{}", n % hosts + 50),
                1000 + n / hosts % ports,
                "tcp",
            )
        };
        of((0..hosts * ports).map(pair).collect(), "BLOCK_PORT_SCAN")
    };
    assert_eq!((block(8, 8), block(2, 32)), (1, 0));
    let refused = |count: u32| {
        let all = (0..count)
            .map(|n| format!("{}\n", conn(BEGIN + f64::from(n) * 7.0, CLIENT, 20_000, SERVER, 443, "REJ")));
        let dir = tempfile::tempdir().expect("temp");
        evidence(
            &analyze(&write(dir.path(), "conn.log", all.collect::<String>()), &[]),
            "MULTIPLE_RECONNECTION_ATTEMPTS",
        )
    };
    assert_eq!((refused(8), refused(3)), (1, 0));
    let amplified = |bytes: u64| {
        let mut answers = talk(0.0, SERVER, CLIENT, 11_211, (1000, bytes));
        answers["proto"] = "udp".into();
        answers["history"] = "Dd".into();
        found("conn.log", [answers])
    };
    let told = amplified(2_000_000);
    assert_eq!((evidence(&told, "AMPLIFICATION_ABUSE"), attackers(&told).len()), (1, 0), "{told}");
    assert_eq!(evidence(&amplified(5000), "AMPLIFICATION_ABUSE"), 0);
}

#[test]
fn floods_are_told() {
    let flood = |proto: &str, seconds: f64| {
        let all = (0..4000u32).map(|n| {
            attempt(
                f64::from(n) * seconds / 4000.0,
                &format!("198.51.{}.{}", n / 250, n % 250 + 1),
                CLIENT,
                if proto == "icmp" { 0 } else { 80 },
                proto,
            )
        });
        found("conn.log", all)
    };
    for (proto, kind) in [("tcp", "SYN_FLOOD"), ("udp", "UDP_FLOOD"), ("icmp", "ICMP_FLOOD")] {
        let told = flood(proto, 8.0);
        assert_eq!((evidence(&told, kind), attackers(&told).len()), (1, 0), "{told}");
        assert_eq!(evidence(&flood(proto, 800.0), kind), 0);
    }
}

#[test]
fn what_records_of_protocols_show() {
    let tunnel = |action: &str| {
        let more = json!({"tunnel_type": "Tunnel::GRE", "action": action});
        found("tunnel.log", [row(0.0, CLIENT, SERVER, 0, more)])
    };
    assert_eq!(kinds(&tunnel("Tunnel::DISCOVER")), ["GRE_SCAN"]);
    assert_eq!(kinds(&tunnel("Tunnel::CLOSE")), ["GRE_TUNNEL"]);
    let more = json!({"proto": "tcp", "service": "telnet", "success": true, "confused": false, "user": "root", "client_user": "", "password": "x"});
    assert_eq!(kinds(&found("login.log", [row(0.0, CLIENT, "192.168.1.9", 23, more)])), ["LOGIN"]);
    let ssh = |success: bool| {
        let more = json!({
            "version": 2, "auth_success": success, "auth_attempts": 1, "client": "SSH-2.0-OpenSSH_9.2",
            "server": "SSH-2.0-OpenSSH_9.2", "cipher_alg": "aes128-ctr", "kex_alg": "curve25519-sha256",
        });
        found("ssh.log", [row(0.0, CLIENT, SERVER, 22, more)])
    };
    assert_eq!(kinds(&ssh(true)), ["SSH_SUCCESSFUL"]);
    assert_eq!(kinds(&ssh(false)), [""; 0]);
    let method = |method: &str| {
        let more = json!({"name": "unknown_HTTP_method", "addl": method, "notice": false, "peer": "zeek", "source": "HTTP"});
        found("weird.log", [row(0.0, CLIENT, SERVER, 80, more)])
    };
    assert_eq!(kinds(&method("GRAB")), ["WEIRD_HTTP_METHOD"]);
    assert_eq!(kinds(&method("PROPFIND")), [""; 0]);
    let paste = |bytes: u32| {
        let more = json!({
            "trans_depth": 1, "method": "GET", "host": "pastebin.com", "uri": "/raw/x", "version": "1.1",
            "user_agent": "curl/8.0", "request_body_len": 0, "response_body_len": bytes, "status_code": 200, "status_msg": "OK",
        });
        evidence(&found("http.log", [row(0.0, CLIENT, SERVER, 80, more)]), "PASTEBIN_DOWNLOAD")
    };
    assert_eq!((paste(900), paste(600)), (1, 0));
}

#[test]
fn a_listed_address_that_comes_to_us_is_evidence() {
    let dir = tempfile::tempdir().expect("temp");
    let lists = dir.path().join("lists");
    std::fs::create_dir(&lists).expect("dir");
    write(&lists, "own_malicious_iocs.csv", "203.0.113.66, high, a test server\n");
    let text = format!("threatintelligence:\n  local_threat_intelligence_files: {}\n", lists.display());
    let config = write(dir.path(), "slips.yaml", text);
    let comes = |src: &str| {
        let flow = talk(0.0, src, CLIENT, 443, (900, 900)).to_string();
        let found =
            analyze(&write(dir.path(), "conn.log", flow + "\n"), &["-c", config.to_str().expect("utf-8")]);
        evidence(&found, "THREAT_INTELLIGENCE_FROM_BLACKLISTED_IP")
    };
    assert!(comes("203.0.113.66") > 0);
    assert_eq!(comes("203.0.113.67"), 0);
}

#[test]
fn an_address_of_a_listed_network_is_evidence_where_a_database_knows_whose_it_is() {
    let dir = tempfile::tempdir().expect("temp");
    let lists = dir.path().join("lists");
    std::fs::create_dir(&lists).expect("dir");
    write(&lists, "own_malicious_iocs.csv", "AS64496, critical, bulletproof\n");
    let system = Mm::Map(vec![("autonomous_system_number", Mm::Number(64_496))]);
    let places = mmdb::database("ASN", &[(Ipv4Addr::new(203, 0, 113, 0), 25, system)]);
    let places = write(dir.path(), "asn.mmdb", places);
    let text = format!(
        "threatintelligence:\n  local_threat_intelligence_files: {}\nprofiles:\n  places: [{}]\n",
        lists.display(),
        places.display()
    );
    let config = write(dir.path(), "slips.yaml", text);
    let met = |src: &str, dst: &str| {
        let flow = talk(0.0, src, dst, 443, (900, 900)).to_string();
        let found =
            analyze(&write(dir.path(), "conn.log", flow + "\n"), &["-c", config.to_str().expect("utf-8")]);
        assert!(attackers(&found).is_empty(), "thousands may be in one network: {found}");
        evidence(&found, "THREAT_INTELLIGENCE_BLACKLISTED_ASN")
    };
    assert_eq!((met(CLIENT, "203.0.113.9"), met("203.0.113.9", CLIENT)), (2, 1));
    assert_eq!((met(CLIENT, "203.0.113.200"), met("203.0.113.200", CLIENT)), (0, 0));
}

#[test]
fn an_arp_scan_and_a_forged_owner_are_told() {
    let host = |last: u8| Ipv4Addr::new(192, 168, 1, last);
    let of = |pcap: &Pcap| {
        let dir = tempfile::tempdir().expect("temp");
        analyze(&write(dir.path(), "made.pcap", pcap.bytes()), &[])
    };
    let asks = |targets: u8| {
        let mut pcap = Pcap::new();
        for n in 0..targets {
            pcap.arp(u64::from(n) * 500, (host(5), mac(5)), host(100 + n));
        }
        evidence(&of(&pcap), "ARP_SCAN")
    };
    assert_eq!((asks(12), asks(4)), (1, 0));
    let forged = |claims: u64| {
        let mut pcap = Pcap::new();
        for last in [1, 66] {
            pcap.arp(u64::from(last), (host(last), mac(last)), host(5));
        }
        for n in 0..claims {
            pcap.arp(2000 + n * 1000, (host(1), mac(66)), host(5));
            pcap.arp(2500 + n * 1000, (host(1), mac(1)), host(5));
        }
        of(&pcap)
    };
    let told = forged(40);
    assert_eq!(evidence(&told, "MITM_ARP_ATTACK"), 1, "{told}");
    assert_eq!(attackers(&told), ["192.168.1.66"]);
    assert_eq!(evidence(&forged(0), "MITM_ARP_ATTACK"), 0);
}

/// Suricata's signatures are evidence about who attacks, of the level that its severity says.
#[test]
fn what_suricata_says_is_evidence() {
    let alert = |second: u32, severity: u32, text: &str, more: &str| {
        format!(
            r#"{{"timestamp":"2023-11-14T22:13:{second:02}.000000+0000","flow_id":{second},"event_type":"alert","src_ip":"{SERVER}","src_port":4000,"dest_ip":"{CLIENT}","dest_port":445,"proto":"TCP","app_proto":"smb","alert":{{"action":"allowed","gid":1,"signature_id":{second},"rev":1,"signature":"{text}","category":"A Network Trojan was detected","severity":{severity}{more}}}}}
"#
        )
    };
    let target =
        format!(r#","source":{{"ip":"{CLIENT}","port":445}},"target":{{"ip":"{SERVER}","port":4000}}"#);
    let text = [
        alert(1, 1, "ET EXPLOIT one", ""),
        alert(2, 2, "ET MALWARE two", &target),
        alert(3, 3, "GPL ATTACK_RESPONSE three", ""),
    ];
    let dir = tempfile::tempdir().expect("temp");
    let out = dir.path().join("out");
    let log = write(dir.path(), "eve.json", text.concat());
    let found = analyze(&log, &["-o", out.to_str().expect("utf-8")]);
    assert_eq!(evidence(&found, "SURICATA_ALERT"), 3, "{found}");
    let told = common::events(&out);
    for (attacker, words) in
        [(SERVER, "ET EXPLOIT one [1:1]"), (CLIENT, "ET MALWARE two"), (CLIENT, "GPL ATTACK_RESPONSE three")]
    {
        assert!(told.iter().any(|told| told.is("SURICATA_ALERT", attacker, words)), "{words}: {told:?}");
    }
}
