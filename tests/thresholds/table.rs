//! The table: for each type of evidence its keys, the largest number at which its input is still told, and the input: small, made here,
//! or a part of the corpora where only a real program makes it.

use std::net::Ipv4Addr;

use serde_json::json;

use super::common::pcap::{Pcap, mac};
use super::inputs::*;
use super::{Input, Row};

const fn of(kind: &'static str, keys: &'static str, n: u64, input: fn(bool) -> Input) -> Row {
    Row { kind, keys, n, input }
}

pub const TABLE: &[Row] = &[
    of("ARP_SCAN", "arp_scan.targets", 12, |guilty| {
        let target = move |n: u32| format!("192.168.1.{}", if guilty { 100 + n } else { 100 });
        logs("arp", (0..12).map(move |n| arp(f64::from(n), "request", 5, NOBODY, &target(n))))
    }),
    of("ICMP_ADDRESS_SCAN", "icmp_sweep.hosts", 20, |guilty| pings(guilty, 8)),
    of("ICMP_TIMESTAMP_SCAN", "icmp_sweep.hosts", 20, |guilty| pings(guilty, 13)),
    of("ICMP_ADDRESS_MASK_SCAN", "icmp_sweep.hosts", 20, |guilty| pings(guilty, 17)),
    of("HORIZONTAL_PORT_SCAN", "horizontal_port_scan.hosts", 20, |guilty| {
        logs(
            "conn",
            (0..20u8).map(move |n| conn(f64::from(n), SERVER, &format!("192.168.1.{n}"), 80, failed(guilty))),
        )
    }),
    of("VERTICAL_PORT_SCAN", "vertical_port_scan.ports", 20, |guilty| {
        logs("conn", (0..20u16).map(move |n| conn(n.into(), SERVER, CLIENT, 1000 + n, failed(guilty))))
    }),
    of("PASSWORD_GUESSING", "form_guessing.requests", 60, |guilty| {
        let uri = if guilty { "/login.php" } else { "/api/data" };
        let form = json!({"method": "POST", "request_body_len": 40, "id.orig_h": SERVER, "uri": uri});
        logs("http", times(60).map(move |second| http(second, "192.168.1.2", form.clone())))
    }),
    of("MULTIPLE_RECONNECTION_ATTEMPTS", "multiple_reconnection_attempts.attempts", 8, |guilty| {
        let state = if guilty { ("REJ", 0, 0) } else { ("SF", 900, 900) };
        logs("conn", times(8).map(move |second| conn(second * 9.0, CLIENT, SERVER, 443, state)))
    }),
    of("LONG_CONNECTION", "long_connection.duration", 3599, |guilty| {
        let seconds = if guilty { 3600.0 } else { 600.0 };
        logs("conn", [with(conn(0.0, CLIENT, SERVER, 443, ("SF", 900, 900)), json!({"duration": seconds}))])
    }),
    of("DATA_UPLOAD", "data_upload.upload+flow_upload", 600, |guilty| {
        let bytes = if guilty { 600_000_000 } else { 60_000_000 };
        logs("conn", [conn(0.0, CLIENT, SERVER, 443, ("SF", bytes, 900))])
    }),
    of("UNSOLICITED_ARP", "arp_oddities.unsolicited", 6, |guilty| {
        let (to, target) = if guilty { (ALL, "192.168.1.77") } else { ("02:00:00:00:00:01", "192.168.1.1") };
        logs("arp", times(6).map(move |second| arp(second, "reply", 5, to, target)))
    }),
    of("ARP_OUTSIDE_LOCALNET", "arp_oddities.outside_targets", 6, |guilty| {
        let net = if guilty { "203.0.113" } else { "192.168.1" };
        let ask = move |n: u32| arp(f64::from(n) * 60.0, "request", 5, NOBODY, &format!("{net}.{}", n + 1));
        logs("arp", (0..6).map(ask))
    }),
    of("MITM_ARP_ATTACK", "arp_poisoning.claims+gateway_claims", 40, |guilty| {
        let mut pcap = Pcap::new();
        for last in [1, 66] {
            pcap.arp(last.into(), (host(last), mac(last)), host(5));
        }
        for n in 0..40 {
            let claimed = host(if guilty { 1 } else { 66 });
            pcap.arp(2000 + n * 1000, (claimed, mac(66)), host(5));
            pcap.arp(2500 + n * 1000, (host(1), mac(1)), host(5));
        }
        Input::Capture(pcap)
    }),
    of("DHCP_SCAN", "dhcp_scan.addresses", 9, |guilty| {
        let ask = move |n: u32| {
            json!({
                "ts": BEGIN + f64::from(n), "uids": [format!("C{n}")], "client_addr": CLIENT, "server_addr": "192.168.1.1",
                "mac": "02:00:00:00:00:05", "msg_types": ["REQUEST"], "duration": 0.1,
                "requested_addr": format!("192.168.1.{}", if guilty { n + 30 } else { 30 }),
            })
        };
        logs("dhcp", (0..9).map(ask))
    }),
    of("BAD_SMTP_LOGIN", "smtp_login.refused", 6, smtp),
    of("SMTP_LOGIN_BRUTEFORCE", "smtp_login.burst", 6, smtp),
    of("GRE_TUNNEL", "gre.used_ends", 3, |guilty| {
        let kind = if guilty { "Tunnel::GRE" } else { "Tunnel::TEREDO" };
        let more = json!({"tunnel_type": kind, "action": "Tunnel::CLOSE"});
        logs("tunnel", times(3).map(move |second| row(second, CLIENT, SERVER, 0, more.clone())))
    }),
    of("GRE_SCAN", "gre.far_ends", 3, |guilty| {
        let kind = if guilty { "Tunnel::GRE" } else { "Tunnel::TEREDO" };
        let more = json!({"tunnel_type": kind, "action": "Tunnel::DISCOVER"});
        let ends = (1..4).map(move |n| row(n.into(), CLIENT, &format!("203.0.113.{n}"), 0, more.clone()));
        logs("tunnel", ends)
    }),
    of("LOGIN", "clear_text_login.logins", 3, |guilty| {
        let more = json!({
            "proto": "tcp", "service": "telnet", "success": true, "confused": false, "user": "root", "client_user": "",
            "password": "x",
        });
        match guilty {
            true => logs(
                "login",
                times(3).map(move |second| row(second, CLIENT, "192.168.1.9", 23, more.clone())),
            ),
            false => requests(3, json!({})),
        }
    }),
    of("MULTIPLE_SSH_VERSIONS", "ssh_software.versions", 4, |guilty| {
        let shown = move |n: u32| {
            let minor = if guilty { n } else { 2 };
            json!({
                "ts": BEGIN + f64::from(n), "host": CLIENT, "software_type": "SSH::CLIENT", "name": "OpenSSH",
                "version.major": 9, "version.minor": minor, "unparsed_version": format!("OpenSSH_9.{minor}"),
            })
        };
        logs("software", (0..4).map(shown))
    }),
    of("SSH_SUCCESSFUL", "ssh_software.logins", 3, |guilty| {
        let more = json!({
            "version": 2, "auth_success": guilty, "auth_attempts": 1, "client": "SSH-2.0-OpenSSH_9.2",
            "server": "SSH-2.0-OpenSSH_9.2", "cipher_alg": "aes128-ctr", "kex_alg": "curve25519-sha256",
        });
        logs("ssh", times(3).map(move |second| row(second, CLIENT, SERVER, 22, more.clone())))
    }),
    of("SYN_FLOOD", "flood.attempts", 4000, |guilty| flood(guilty, "tcp")),
    of("UDP_FLOOD", "flood.attempts", 1000, |guilty| flood(guilty, "udp")),
    of("ICMP_FLOOD", "flood.attempts", 1000, |guilty| flood(guilty, "icmp")),
    of("SUSPICIOUS_USER_AGENT", "suspicious_user_agent.malware_requests+scanner_requests", 3, |guilty| {
        requests(3, json!({"user_agent": if guilty { "${jndi:ldap://x/a}" } else { "curl/8.5.0" }}))
    }),
    of("EXECUTABLE_MIME_TYPE", "executable_download.downloads+bare_downloads", 3, |guilty| {
        let kind = if guilty { "application/x-dosexec" } else { "text/html" };
        requests(3, json!({"resp_mime_types": [kind], "resp_fuids": ["F1"]}))
    }),
    of("EMPTY_CONNECTIONS", "empty_connections.requests", 9, |guilty| {
        requests(
            9,
            json!({"host": if guilty { "www.google.com" } else { "www.example.org" }, "response_body_len": 0}),
        )
    }),
    of("WEIRD_HTTP_METHOD", "weird_http_method.methods", 3, |guilty| {
        let methods = if guilty { ["GRAB", "TAKE", "STEAL"] } else { ["PROPFIND", "MKCOL", "LOCK"] };
        let told = move |n: usize| {
            let more =
                json!({"name": "unknown_HTTP_method", "addl": methods[n], "notice": false, "peer": "zeek"});
            row(n as f64, CLIENT, SERVER, 80, more)
        };
        logs("weird", (0..3).map(told))
    }),
    of("PASTEBIN_DOWNLOAD", "pastebin_download.downloads", 3, |guilty| {
        requests(
            3,
            json!({"host": "pastebin.com", "uri": "/raw/x", "response_body_len": if guilty { 900 } else { 600 }}),
        )
    }),
    of("NON_HTTP_PORT_80_CONNECTION", "wrong_protocol.port_80_connections", 3, |guilty| {
        let service = if guilty { "-" } else { "http" };
        let talk =
            |second| with(conn(second, CLIENT, SERVER, 80, ("SF", 900, 900)), json!({"service": service}));
        Input::Logs(vec![("conn", times(3).map(talk).collect())])
    }),
    of("NON_SSL_PORT_443_CONNECTION", "wrong_protocol.port_443_connections", 3, |guilty| {
        let service = if guilty { "-" } else { "ssl" };
        let talk =
            |second| with(conn(second, CLIENT, SERVER, 443, ("SF", 900, 900)), json!({"service": service}));
        Input::Logs(vec![("conn", times(3).map(talk).collect())])
    }),
    of("DGA_NXDOMAINS", "dga.random_domains+domains", 30, |guilty| {
        let rcode = if guilty { 3 } else { 0 };
        let ask = move |n: u32| dns(n.into(), &format!("xkcdqz{:x}.com", hash(n)), 1, rcode, &[]);
        logs("dns", (0..30).map(ask))
    }),
    of("DNS_ARPA_SCAN", "dns_arpa_scan.names", 12, |guilty| {
        let apart = if guilty { 0.1 } else { 1.0 };
        let ask = move |n: u32| {
            dns(f64::from(n) * apart, &format!("{n}.2.0.192.in-addr.arpa"), 12, 0, &["a.example.org"])
        };
        logs("dns", (0..12).map(ask))
    }),
    of("HIGH_ENTROPY_DNS_ANSWER", "dns_answers.texts", 3, |guilty| {
        let random = "q7Zx2LbV9mKtR4yWc8NdF3gHjP6sAe5uXoYiB1vQwEzC0kTlMnDrGhJpS-+_=,;";
        let text =
            if guilty { random } else { "v=spf1 include:_spf.example.org include:mail.example.net -all" };
        let ask =
            |n: u32| dns(n.into(), "a.example.org", 16, 0, &[&format!("TXT {} {n}{text}", text.len() + 1)]);
        Input::Logs(vec![("dns", (0..3).map(ask).collect())])
    }),
    of("INVALID_DNS_RESOLUTION", "dns_answers.private_answers", 3, |guilty| {
        let answer = move |n: u32| if guilty { format!("192.168.1.{n}") } else { format!("198.51.100.{n}") };
        logs("dns", (1..4).map(move |n| dns(n.into(), "a.example.org", 1, 0, &[&answer(n)])))
    }),
    of("SELF_SIGNED_CERTIFICATE", "self_signed_certificate.handshakes", 3, |guilty| {
        tls(if guilty { json!({"subject": "CN=a.example", "issuer": "CN=a.example"}) } else { json!({}) })
    }),
    of("PORT_0_CONNECTION", "port_zero.flows", 3, |guilty| {
        let port = if guilty { 0 } else { 80 };
        logs("conn", times(3).map(move |second| conn(second, SERVER, CLIENT, port, ("S0", 0, 0))))
    }),
    of("UNKNOWN_PORT", "unknown_port.connections", 3, |guilty| {
        let port = if guilty { 17_771 } else { 993 };
        logs("conn", times(3).map(move |second| conn(second, CLIENT, SERVER, port, ("SF", 900, 900))))
    }),
    of("CONNECTION_TO_MULTIPLE_PORTS", "unknown_port.ports", 4, |guilty| {
        let port = move |n: u16| if guilty { 17_771 + n * 3 } else { 17_771 };
        logs("conn", (0..4).map(move |n| conn(n.into(), CLIENT, SERVER, port(n), ("SF", 900, 900))))
    }),
    of("MALICIOUS_SSL_CERT", "tool_certificate.named+endless", 3, |guilty| {
        let name = if guilty { "CN=AsyncRAT Server" } else { "CN=a.example" };
        tls(json!({"subject": name, "issuer": name, "server_name": ""}))
    }),
    of("REMOTE_EXECUTION", "remote_procedure.executions", 1, |guilty| {
        corpus(
            guilty,
            "attack/LateralMovement-LM_WMI_ProcessCallCreate/capture.pcapng",
            "attack/Discovery-Discovery_dcerp_srvsvc_NetShareEnum/capture.pcapng",
        )
    }),
    of("CREDENTIAL_ACCESS", "remote_procedure.secrets+accounts", 1, |guilty| {
        corpus(
            guilty,
            "attack/CredAccess-CA_LM_SpoolSample_SMB_BiAuth/capture.pcapng",
            "attack/Discovery-Discovery_dcerp_srvsvc_NetShareEnum/capture.pcapng",
        )
    }),
    of("REMOTE_DISCOVERY", "remote_procedure.discoveries", 1, |guilty| {
        corpus(
            guilty,
            "attack/Discovery-Discovery_dcerp_srvsvc_NetShareEnum/capture.pcapng",
            "attack/CredAccess-CA_LM_SpoolSample_SMB_BiAuth/capture.pcapng",
        )
    }),
    of("EXPLOIT_ATTEMPT", "dns_exploit.names", 3, |guilty| {
        let more =
            json!({"proto": "tcp", "qtype": if guilty { 24 } else { 1 }, "answers": ["<unknown type=24>"]});
        let ask = move |n: u32| with(dns(n.into(), &format!("{n}.example.org"), 24, 0, &["x"]), more.clone());
        logs("dns", (0..3).map(ask))
    }),
    of("STOLEN_CREDENTIALS", "stealer.reports", 3, |guilty| {
        let subject = if guilty { "PW_me/DESKTOP-1" } else { "Invoice for October" };
        let more =
            json!({"helo": "DESKTOP-1", "subject": subject, "last_reply": "250 2.0.0 Ok", "tls": false});
        logs("smtp", times(3).map(move |second| row(second, CLIENT, SERVER, 587, more.clone())))
    }),
    of("DNS_TUNNEL", "dns_tunnel.tunnel_names+long_names", 120, |guilty| {
        let name = move |n: u32| match guilty {
            true => {
                format!("{0:016x}{1:016x}{2:016x}.t.example.org", hash(n), hash(n + 1000), hash(n + 2000))
            }
            false => format!("www{n}.example.org"),
        };
        logs("dns", (0..120).map(move |n| dns(f64::from(n) * 2.0, &name(n), 16, 0, &[])))
    }),
    of("ICMP_TUNNEL", "icmp_tunnel.larger_echoes", 48, |guilty| {
        corpus(guilty, "ndpi/icmp-tunnel/capture.pcap", "slips/test12-icmp-portscan/capture.pcap")
    }),
    of("CRYPTO_MINING", "crypto_mining.connections", 3, |guilty| {
        let service = if guilty { "stratum" } else { "ssl" };
        let talk =
            |second| with(conn(second, CLIENT, SERVER, 3333, ("SF", 900, 900)), json!({"service": service}));
        Input::Logs(vec![("conn", times(3).map(talk).collect())])
    }),
    of("LATERAL_MOVEMENT", "lateral_movement.hosts", 12, |guilty| {
        let port = if guilty { 3389 } else { 80 };
        let talk =
            move |n: u8| conn(n.into(), CLIENT, &format!("192.168.1.{}", n + 50), port, ("SF", 900, 900));
        logs("conn", (0..12).map(talk))
    }),
    // The very first failure of a source is only remembered.
    of("BLOCK_PORT_SCAN", "spread_scan.block_pairs", 63, |guilty| {
        let pair = move |n: u16| {
            conn(n.into(), SERVER, &format!("192.168.1.{}", n % 8 + 50), 1000 + n / 8, failed(guilty))
        };
        logs("conn", (0..64).map(pair))
    }),
    of("SLOW_PORT_SCAN", "spread_scan.slow_pairs", 23, |guilty| {
        let pair = move |n: u16| conn(f64::from(n) * 900.0, SERVER, CLIENT, 1000 + n * 7, failed(guilty));
        logs("conn", (0..24).map(pair))
    }),
    of("AMPLIFICATION_ABUSE", "amplification.answers", 3, |guilty| {
        let bytes = if guilty { 3_000_000 } else { 5000 };
        let udp = json!({"proto": "udp", "history": "Dd"});
        logs("conn", [with(conn(0.0, SERVER, CLIENT, 11_211, ("SF", 1000, bytes)), udp)])
    }),
    of("ROGUE_DHCP_SERVER", "rogue_dhcp.clients", 6, |guilty| {
        let lease = |at: f64, client: u32, server: &str| {
            json!({
                "ts": BEGIN + at, "uids": [format!("C{client}{server}")], "server_addr": server,
                "mac": format!("02:00:00:00:01:{client:02x}"), "assigned_addr": format!("192.168.1.{}", 100 + client),
                "msg_types": ["DISCOVER", "OFFER"], "duration": 0.1,
            })
        };
        let late = if guilty { "192.168.1.66" } else { "192.168.1.1" };
        let first = [lease(0.0, 0, "192.168.1.1")];
        let all = (1..7).map(|n| lease(700.0 + f64::from(n) * 60.0, n, late));
        Input::Logs(vec![("dhcp", first.into_iter().chain(all).collect())])
    }),
    of("DHCP_STARVATION", "rogue_dhcp.asking", 120, |guilty| {
        let pace = if guilty { 0.1 } else { 20.0 };
        let ask = move |n: u32| {
            json!({
                "ts": BEGIN + f64::from(n) * pace, "uids": [format!("C{n}")], "mac": format!("02:00:00:00:02:{n:02x}"),
                "msg_types": ["DISCOVER"], "duration": 0.0, "requested_addr": "192.168.1.9",
            })
        };
        logs("dhcp", (0..120).map(ask))
    }),
    of("MITM_NDP_ATTACK", "ndp_spoofing.claims+gateway_claims", 2, |guilty| {
        corpus(
            guilty,
            "suricata/ipv6-evasion__ipv6-kill-router-gateway/capture.pcap",
            "zeek/icmp__icmp6-nd-short-options/capture.pcap",
        )
    }),
    of("ROGUE_ROUTER", "rogue_router.advertised", 30, |guilty| {
        let mut pcap = Pcap::new();
        let all = "ff02::1".parse().expect("an address");
        let says =
            |mac: [u8; 6]| [&[134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1][..], &mac].concat();
        let router = |last: u8| (format!("fe80::{last:x}").parse().expect("an address"), mac(last));
        for n in 0..10 {
            pcap.icmp6(n * 300_000, router(1), all, &says(mac(1)));
        }
        for n in 0..30 {
            let late = if guilty { 0x66 } else { 1 };
            pcap.icmp6(2_800_000 + n * 3000, router(late), all, &says(mac(late)));
        }
        Input::Capture(pcap)
    }),
    of("NAME_POISONING", "name_poisoning.multicast_answered+answered", 30, |guilty| {
        let mut pcap = Pcap::new();
        for n in 0..30u8 {
            let name = format!("host{n}").into_bytes();
            let mut ask = vec![0, n, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
            ask.extend(&name);
            ask.extend([0, 0, 1, 0, 1]);
            let asker = (host(5), 50_000 + u16::from(n), mac(5));
            let group = (Ipv4Addr::new(224, 0, 0, 252), 5355, [1, 0, 0x5e, 0, 0, 0xfc]);
            pcap.udp(u64::from(n) * 1000, asker, group, &ask);
            // each host answers to its own name, or one to all
            let by = if guilty { 66 } else { 100 + n };
            let mut answer = ask.clone();
            (answer[2], answer[7]) = (0x80, 1);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4]);
            answer.extend(host(by).octets());
            pcap.udp(u64::from(n) * 1000 + 5, (host(by), 5355, mac(by)), asker, &answer);
        }
        Input::Capture(pcap)
    }),
    of("DEVICE_CHANGING_IP", "devices.addresses", 4, |guilty| {
        let mut pcap = Pcap::new();
        for n in 0..4 {
            let last = if guilty { 20 + n } else { 20 };
            pcap.arp(u64::from(n) * 1000, (host(last), mac(5)), host(1));
        }
        Input::Capture(pcap)
    }),
    of("DNS_REBINDING", "dns_rebinding.changes", 5, |guilty| {
        let inside = if guilty { "192.168.1.1" } else { "198.51.100.8" };
        let answer = move |n: u32| if n.is_multiple_of(2) { "198.51.100.7" } else { inside };
        logs("dns", (0..6).map(move |n| dns(n.into(), "a.example.org", 1, 0, &[answer(n)])))
    }),
    of("DGA_NAMES", "dga_names.made_domains", 60, |guilty| {
        let name = move |n: u32| {
            if guilty { format!("{:016x}.com", hash(n)) } else { format!("winter-garden-house-{n}.com") }
        };
        logs("dns", (0..60).map(move |n| dns(n.into(), &name(n), 1, 0, &["198.51.100.7"])))
    }),
    of("DEVICE_WORM", "device_worm.searched", 40, |guilty| {
        let ports = if guilty { [23, 2323] } else { [443, 80] };
        let search = move |n: u16| {
            conn(n.into(), CLIENT, &format!("203.0.113.{}", n + 1), ports[usize::from(n % 2)], ("S0", 0, 0))
        };
        logs("conn", (0..40).map(search))
    }),
    of("ODD_CERTIFICATE", "odd_certificate.odd", 3, |guilty| {
        let name = if guilty { "CN=203.0.113.9" } else { "CN=www.example.org" };
        tls(json!({"subject": name, "server_name": if guilty { "" } else { "www.example.org" }}))
    }),
    of("INCOMPATIBLE_CN", "odd_certificate.incompatible", 3, |guilty| {
        tls(
            json!({"subject": "CN=*.google.com", "server_name": if guilty { "netflix.com" } else { "www.google.com" }}),
        )
    }),
    of("CN_URL_MISMATCH", "odd_certificate.mismatch", 1, |guilty| {
        corpus(guilty, "ndpi/malware/capture.pcap", "zeek/http__get/capture.pcap")
    }),
    of("CONNECTION_WITHOUT_DNS", "dns_use.counts", 4, without_name),
    of("DNS_WITHOUT_CONNECTION", "dns_use.counts", 4, without_use),
    of("MULTIPLE_USER_AGENT", "user_agents.systems", 3, |guilty| {
        let systems =
            ["Windows NT 10.0; Win64; x64", "X11; Linux x86_64", "Macintosh; Intel Mac OS X 10_15_7"];
        let agent = |n: usize| format!("Mozilla/5.0 ({}) Firefox/130.0", systems[if guilty { n } else { 1 }]);
        let ask = |n: usize| http(n as f64, SERVER, json!({"user_agent": agent(n)}));
        Input::Logs(vec![("http", (0..3).map(ask).collect())])
    }),
    of("INCOMPATIBLE_USER_AGENT", "user_agents.contradictions", 3, |guilty| {
        let system = if guilty { "Windows NT 10.0; Macintosh" } else { "Macintosh; Intel Mac OS X 10_15_7" };
        requests(3, json!({"user_agent": format!("Mozilla/5.0 ({system}) Safari/605.1")}))
    }),
    of("HTTP_TRAFFIC", "user_agents.requests", 3, |guilty| match guilty {
        true => requests(3, json!({})),
        false => tls(json!({})),
    }),
    of("DNS_OVER_HTTPS", "encrypted_dns.handshakes", 3, |guilty| {
        let name = if guilty { "dns.google" } else { "www.google.com" };
        tls(json!({"server_name": name, "subject": format!("CN={name}")}))
    }),
    of("DIFFERENT_LOCALNET", "other_localnet.hosts", 3, |guilty| {
        let net = if guilty { "172.31.0" } else { "192.168.7" };
        logs(
            "conn",
            (1..4).map(move |n| conn(n.into(), CLIENT, &format!("{net}.{n}"), 443, ("SF", 900, 900))),
        )
    }),
    of("DISTRIBUTED_SCAN", "distributed_scan.ports", 64, |guilty| {
        let sources = if guilty { 8 } else { 1 };
        let knock = move |n: u16| {
            let src = format!("203.0.113.{}", n % sources + 1);
            conn(f64::from(n) * 20.0, &src, CLIENT, 2000 + n, ("REJ", 0, 0))
        };
        logs("conn", (0..64).map(knock))
    }),
    of("NETWORK_GPS_LOCATION_LEAKED", "leak_detector.matches", 3, |guilty| {
        leak(guilty, "&lat=50.0755&lon=14.4378&")
    }),
    of("SENSITIVE_DATA_LEAKED", "leak_detector.matches", 3, |guilty| leak(guilty, "&password=hunter2&")),
];
