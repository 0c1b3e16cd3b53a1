//! The corpora through the binary: the acceptance table, and the same alerts for any number of threads.

mod common;

use std::path::{Path, PathBuf};
use std::thread;

use common::{analyze, attackers, corpora, evidence, files_below, slips};
use serde_json::Value;

/// Evidence that must be raised, and who must be an alert. `~` before an address: must not be.
const ACCEPTANCE: &[(&str, &[&str], &[&str])] = &[
    ("slips-zeek-dirs/port-scans/horizontal", &["HORIZONTAL_PORT_SCAN"], &[]),
    ("slips-zeek-dirs/port-scans/horizontal/conn.log", &["HORIZONTAL_PORT_SCAN"], &[]),
    ("slips-zeek-dirs/port-scans/vertical", &["VERTICAL_PORT_SCAN"], &[]),
    (
        "slips-zeek-dirs/test9-mixed-zeek-dir",
        &["ICMP_ADDRESS_SCAN", "ICMP_TIMESTAMP_SCAN", "ICMP_ADDRESS_MASK_SCAN"],
        &[],
    ),
    (
        "slips-zeek-dirs/test9-mixed-zeek-dir",
        &["ARP_OUTSIDE_LOCALNET", "UNSOLICITED_ARP", "BAD_SMTP_LOGIN", "SMTP_LOGIN_BRUTEFORCE"],
        &[],
    ),
    (
        "slips-zeek-dirs/test9-mixed-zeek-dir",
        &["SUSPICIOUS_USER_AGENT", "EXECUTABLE_MIME_TYPE", "NON_HTTP_PORT_80_CONNECTION"],
        &[],
    ),
    ("synthetic/syn-flood-5000/capture.pcap", &["SYN_FLOOD"], &[]),
    ("zeek/http__methods/capture.pcap", &["EMPTY_CONNECTIONS"], &[]),
    ("arkime/ssl-selfsign/capture.pcap", &["SELF_SIGNED_CERTIFICATE"], &[]),
    ("ndpi/nano/capture.pcapng", &["UNKNOWN_PORT"], &[]),
    ("ndpi/malware/capture.pcap", &["CN_URL_MISMATCH"], &[]),
    ("slips/test-cc__test-cc-capture-1/capture.pcap", &["COMMAND_AND_CONTROL_CHANNEL"], &[]),
    (
        "slips-zeek-dirs/test18-malicious-ctu-sme-11-win/zeek-labeled",
        &["COMMAND_AND_CONTROL_CHANNEL", "MULTIPLE_RECONNECTION_ATTEMPTS"],
        &["192.168.1.107", "66.63.168.35"],
    ),
    ("ndpi/dns-tunnel-iodine/capture.pcap", &["DNS_TUNNEL"], &[]),
    ("ndpi/icmp-tunnel/capture.pcap", &["ICMP_TUNNEL"], &[]),
    ("ndpi/mining/capture.pcapng", &["CRYPTO_MINING"], &[]),
    ("zeek/ftp__bruteforce/capture.pcap", &["PASSWORD_GUESSING"], &[]),
    ("attack/LateralMovement-LM_smbexec_smb_dcerpc_svcctl_epm/capture.pcapng", &["REMOTE_EXECUTION"], &[]),
    ("attack/LateralMovement-LM_WMI_ProcessCallCreate/capture.pcapng", &["REMOTE_EXECUTION"], &[]),
    ("attack/LateralMovement-LM_dcom_mmc20.application_dcerpc/capture.pcapng", &["REMOTE_EXECUTION"], &[]),
    ("attack/CredAccess-CA_LM_SpoolSample_SMB_BiAuth/capture.pcapng", &["CREDENTIAL_ACCESS"], &[]),
    ("attack/Discovery-Discovery_dcerp_srvsvc_NetShareEnum/capture.pcapng", &["REMOTE_DISCOVERY"], &[]),
    (
        "attack/PrivEsc-CVE-2020-0796_SMBGhost_PrivEsc_Loopback_traffic/capture.pcapng",
        &["EXPLOIT_ATTEMPT"],
        &["127.0.0.1"],
    ),
    (
        "malware/agenttesla-db9f075c-7879-4957-923a/capture.pcap",
        &["STOLEN_CREDENTIALS"],
        &["192.168.100.122"],
    ),
    (
        "malware/agenttesla-f9421792-7d2c-47d3-90e0/capture.pcap",
        &["STOLEN_CREDENTIALS"],
        &["192.168.100.164"],
    ),
    ("malware/asyncrat-cd010953-5faf-4054-86be/capture.pcap", &["MALICIOUS_SSL_CERT"], &["192.168.100.124"]),
    ("malware/asyncrat-30a385ed-171e-4f15-ac3f/capture.pcap", &["MALICIOUS_SSL_CERT"], &["192.168.100.20"]),
    ("malware/caldera-ragdoll/capture.pcap", &["COMMAND_AND_CONTROL_CHANNEL"], &["172.18.0.3"]),
    ("ndpi/openvpn/capture.pcap", &["NON_SSL_PORT_443_CONNECTION"], &[]),
    ("ndpi/exe_download_as_png/capture.pcap", &["EXECUTABLE_MIME_TYPE"], &[]),
    ("slips-zeek-dirs/test13-malicious-dhcpscan-zeek-dir", &["DHCP_SCAN"], &[]),
    ("slips-zeek-dirs/test15-malicious-zeek-dir", &["MULTIPLE_SSH_VERSIONS", "INCOMPATIBLE_CN"], &[]),
    (
        "attack/LateralMovement-Exploit_DoS_cve-2020-1350_dns_sig_maxspl0it/capture.pcapng",
        &["EXPLOIT_ATTEMPT"],
        &[],
    ),
    (
        "attack/CredAccess-Remote_Pwd_Reset_RPC_Admin_Mimikatz_PostZeroLogo/capture.pcapng",
        &["CREDENTIAL_ACCESS"],
        &[],
    ),
    ("zeek/tls__tls-expired-cert/capture.pcap", &["ODD_CERTIFICATE"], &[]),
    ("ndpi/dns_doh/capture.pcap", &["DNS_OVER_HTTPS"], &[]),
    ("suricata/ipv6-evasion__ipv6-kill-router-gateway/capture.pcap", &["MITM_NDP_ATTACK"], &[]),
    ("slips-zeek-dirs/test16-malicious-zeek-dir", &["ARP_OUTSIDE_LOCALNET", "UNSOLICITED_ARP"], &[]),
    ("zeek/tunnels__gre-sample/capture.pcap", &["GRE_SCAN"], &[]),
    ("slips/test12-icmp-portscan/capture.pcap", &["ICMP_ADDRESS_SCAN"], &[]),
    ("synthetic/vertical-scan-rst/capture.pcap", &["VERTICAL_PORT_SCAN"], &["any"]),
    ("slips-flows/test2-malicious.binetflow", &["LONG_CONNECTION"], &[]),
    // The original's two long connections here are an ARP entry and a NetBIOS broadcast that nobody answered: neither is one.
    ("slips-flows/test5-mixed.binetflow", &[], &[]),
    // Ten ports an hour, for half a day.
    (
        "slips-flows/test6-malicious.suricata.json",
        &["VERTICAL_PORT_SCAN", "SLOW_PORT_SCAN"],
        &["193.46.255.92"],
    ),
    ("slips-flows/test11-portscan.binetflow", &["VERTICAL_PORT_SCAN", "ICMP_ADDRESS_SCAN"], &[]),
    ("slips-flows/test1-malicious.nfdump", &[], &[]),
    ("zeek/ssh__sshguess/capture.pcap", &["PASSWORD_GUESSING"], &[]),
];

/// Ordinary traffic: no alert.
const QUIET: &[&str] = &[
    "labelled/2023-02-20",
    "synthetic/clean-session/capture.pcap",
    "synthetic/cooked-sll/capture.pcap",
    "zeek/ssh__ssh/capture.pcap",
    "zeek/krb__kinit/capture.pcap",
    "zeek/http__get/capture.pcap",
    "slips-zeek-dirs/test13-malicious-dhcpscan-zeek-dir",
    "slips-zeek-dirs/test15-malicious-zeek-dir",
];

#[test]
fn what_must_be_raised_is_raised() {
    let Some(corpora) = corpora("what_must_be_raised_is_raised") else { return };
    for (path, kinds, alerts) in ACCEPTANCE {
        let found = analyze(&corpora.join(path), &[]);
        for kind in *kinds {
            assert!(evidence(&found, kind) > 0, "{path}: no {kind}: {found}");
        }
        assert_eq!(attackers(&found).is_empty(), alerts.is_empty(), "{path}: {found}");
    }
}

#[test]
fn the_scanner_in_suricatas_log_is_named_with_its_ports() {
    let Some(corpora) = corpora("the_scanner_in_suricatas_log_is_named_with_its_ports") else { return };
    let dir = tempfile::tempdir().expect("temp");
    let out = dir.path().join("out");
    let input = corpora.join("slips-flows/test6-malicious.suricata.json");
    analyze(&input, &["-o", out.to_str().expect("utf-8")]);
    let log = std::fs::read_to_string(out.join("alerts.log")).expect("alerts.log");
    let scans = |line: &str| {
        line.contains("Src IP 193.46.255.92 ")
            && line.contains("vertical port scan: 10 tcp ports of 192.168.1.129 failed")
    };
    assert!(log.lines().any(scans), "{log}");
}

#[test]
fn ordinary_traffic_is_no_alert() {
    let Some(corpora) = corpora("ordinary_traffic_is_no_alert") else { return };
    for path in QUIET {
        let found = analyze(&corpora.join(path), &[]);
        assert!(attackers(&found).is_empty(), "{path}: {found}");
    }
}

/// All captures, logs and directories of the corpora that we read.
fn inputs(corpora: &Path) -> Vec<PathBuf> {
    let mut paths = files_below(corpora, &|name| {
        name.starts_with("capture.") || (name.starts_with("conn.log") && !name.ends_with(".json"))
    });
    for name in ["slips-zeek-dirs", "labelled"] {
        for conn in files_below(&corpora.join(name), &|name| name.starts_with("conn.log")) {
            paths.extend(conn.parent().map(Path::to_owned));
        }
    }
    paths.extend(files_below(&corpora.join("slips-flows"), &|_| true));
    paths
}

/// What the user is told, without the time it took.
fn told(path: &Path, jobs: &str) -> (Option<i32>, Value) {
    let out = slips(["analyze".as_ref(), path.as_os_str(), "--json".as_ref(), "-j".as_ref(), jobs.as_ref()]);
    let mut found: Value = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    if let Some(fields) = found.as_object_mut() {
        fields.remove("seconds");
    }
    (out.status.code(), found)
}

#[test]
fn the_same_alerts_for_any_number_of_threads_on_all_corpora() {
    let Some(corpora) = corpora("the_same_alerts_for_any_number_of_threads_on_all_corpora") else { return };
    let inputs = inputs(&corpora);
    assert!(inputs.len() > 600, "{} inputs", inputs.len());
    thread::scope(|scope| {
        for half in 0..2 {
            let inputs = &inputs;
            scope.spawn(move || {
                for path in inputs.iter().skip(half).step_by(2) {
                    let (code, expected) = told(path, "0");
                    // 65 is for what cannot be read: an empty file, a header cut short, a link type of another world.
                    assert!(matches!(code, Some(0 | 65)), "{}: exit code {code:?}", path.display());
                    for jobs in ["1", "2", "5"] {
                        assert_eq!(
                            told(path, jobs),
                            (code, expected.clone()),
                            "{} -j {jobs}",
                            path.display()
                        );
                    }
                }
            });
        }
    });
}
