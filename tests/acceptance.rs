//! What a correct implementation says of the original's data sets, through the binary: who does what to whom, what is not said, and
//! who becomes an alert. What cannot hold has its reason in `docs/detections.md`.

mod common;

use common::{analyze, attackers, corpora, events, write};

struct Row {
    path: &'static str,
    /// Kind of evidence, attacker, and words of the description.
    raised: &'static [(&'static str, &'static str, &'static str)],
    /// Kinds of which nothing may be said but what is in `raised`.
    silent: &'static [&'static str],
    /// Who is an alert, and nobody else.
    alerts: &'static [&'static str],
}

const TABLE: &[Row] = &[
    Row {
        path: "slips-zeek-dirs/port-scans/horizontal",
        raised: &[("HORIZONTAL_PORT_SCAN", "10.0.2.112", "port 80/tcp")],
        silent: &["HORIZONTAL_PORT_SCAN"],
        alerts: &[],
    },
    Row {
        path: "slips-zeek-dirs/port-scans/vertical",
        raised: &[("VERTICAL_PORT_SCAN", "192.168.1.9", "ports of 45.33.32.156")],
        silent: &["VERTICAL_PORT_SCAN", "UNKNOWN_PORT"],
        alerts: &[],
    },
    Row {
        path: "slips-flows/test2-malicious.binetflow",
        raised: &[("LONG_CONNECTION", "10.8.0.69", "47.74.193.6:5222")],
        silent: &[],
        alerts: &[],
    },
    Row { path: "slips-flows/test5-mixed.binetflow", raised: &[], silent: &["LONG_CONNECTION"], alerts: &[] },
    Row {
        path: "slips/test12-icmp-portscan/capture.pcap",
        raised: &[("ICMP_ADDRESS_SCAN", "192.168.1.109", "ICMP address scan")],
        silent: &["ICMP_ADDRESS_SCAN"],
        alerts: &[],
    },
    Row {
        path: "slips-zeek-dirs/test13-malicious-dhcpscan-zeek-dir",
        raised: &[("DHCP_SCAN", "192.168.1.30", "different addresses")],
        silent: &["DHCP_SCAN", "DIFFERENT_LOCALNET"],
        alerts: &[],
    },
    Row {
        path: "slips-zeek-dirs/test15-malicious-zeek-dir",
        raised: &[
            ("MALICIOUS_JA3", "10.0.2.15", "6734f37431670b3ab4292b8f60f29984"),
            ("MULTIPLE_SSH_VERSIONS", "192.168.1.247", "OpenSSH, lately 9.1"),
            ("INCOMPATIBLE_CN", "10.0.2.15", "52.0.131.132:443 claims to be Google's"),
        ],
        silent: &["INCOMPATIBLE_CN"],
        alerts: &[],
    },
    Row {
        path: "slips-zeek-dirs/test16-malicious-zeek-dir",
        raised: &[("ARP_OUTSIDE_LOCALNET", "192.168.1.15", ""), ("UNSOLICITED_ARP", "192.168.1.15", "")],
        silent: &["ARP_OUTSIDE_LOCALNET", "UNSOLICITED_ARP"],
        alerts: &[],
    },
    Row {
        path: "slips-zeek-dirs/test9-mixed-zeek-dir",
        raised: &[
            ("ARP_OUTSIDE_LOCALNET", "192.168.1.15", ""),
            ("UNSOLICITED_ARP", "192.168.1.15", ""),
            ("ICMP_ADDRESS_SCAN", "192.168.1.15", "230 hosts"),
            ("ICMP_TIMESTAMP_SCAN", "192.168.1.15", "250 hosts"),
            ("ICMP_ADDRESS_MASK_SCAN", "192.168.1.15", "240 hosts"),
            ("NON_HTTP_PORT_80_CONNECTION", "10.0.2.15", "194.132.197.198:80"),
            ("SUSPICIOUS_USER_AGENT", "10.0.2.15", "jndi"),
            ("EXECUTABLE_MIME_TYPE", "10.0.2.15", "195.113.214.206:80"),
            ("BAD_SMTP_LOGIN", "10.1.11.101", "80.75.42.226:25"),
            ("SMTP_LOGIN_BRUTEFORCE", "10.1.11.101", ""),
            ("MALICIOUS_JA3S", "123.33.22.11", "e7d705a3286e19ea42f587b344ee6865"),
            ("INCOMPATIBLE_CN", "10.0.2.15", "123.33.22.11:443"),
        ],
        silent: &["INCOMPATIBLE_CN"],
        alerts: &[],
    },
    Row {
        path: "slips-zeek-dirs/test18-malicious-ctu-sme-11-win/zeek-labeled",
        raised: &[
            ("COMMAND_AND_CONTROL_CHANNEL", "192.168.1.107", "66.63.168.35:5888"),
            ("COMMAND_AND_CONTROL_CHANNEL", "66.63.168.35", "66.63.168.35:5888"),
        ],
        silent: &[],
        alerts: &["192.168.1.107", "66.63.168.35"],
    },
    Row {
        path: "slips/test-cc__test-cc-capture-1/capture.pcap",
        raised: &[(
            "COMMAND_AND_CONTROL_CHANNEL",
            "147.32.80.37",
            "141.193.213.21:443 over tcp like a clock",
        )],
        silent: &[],
        alerts: &[],
    },
];

/// The fingerprints that the original's list names, of Trickbot's client and of its server.
const LIST: &str =
    "6734f37431670b3ab4292b8f60f29984, high, Trickbot\ne7d705a3286e19ea42f587b344ee6865, high, its server\n";

#[test]
fn the_data_sets_of_the_original_are_told_rightly() {
    let Some(corpora) = corpora("the_data_sets_of_the_original_are_told_rightly") else { return };
    let dir = tempfile::tempdir().expect("temp");
    write(dir.path(), "own_malicious_JA3.csv", LIST);
    let lists = format!("threatintelligence:\n  local_threat_intelligence_files: {}\n", dir.path().display());
    let config = write(dir.path(), "slips.yaml", lists);
    for row in TABLE {
        let input = corpora.join(row.path);
        if !input.exists() {
            println!("skipped: {}: not in the corpora", row.path);
            continue;
        }
        let temp = tempfile::tempdir().expect("temp");
        let out = temp.path().join("out");
        let text = |path: &std::path::Path| path.to_str().expect("utf-8").to_owned();
        let found = analyze(&input, &["-c", &text(&config), "-o", &text(&out)]);
        let events = events(&out);
        let told = |(kind, attacker, words): &(&str, &str, &str)| {
            events.iter().filter(|event| event.is(kind, attacker, words)).count()
        };
        for raised in row.raised {
            assert!(told(raised) > 0, "{}: nothing of {raised:?}: {events:#?}", row.path);
        }
        for kind in row.silent {
            let expected: usize = row.raised.iter().filter(|raised| raised.0 == *kind).map(told).sum();
            assert_eq!(told(&(kind, "", "")), expected, "{}: more {kind}: {events:#?}", row.path);
        }
        assert_eq!(attackers(&found), row.alerts, "{}: {found}", row.path);
    }
}
