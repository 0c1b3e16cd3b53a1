//! Suricata's events.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use slips_core::event::{DnsData, Event};
use slips_core::flow::{Origin, Phase};
use slips_input::Reason;

use super::{brief, corpora, flows, read_bytes, read_file, rejects};

const ENDS: &str =
    r#""src_ip":"192.0.2.1","src_port":4000,"dest_ip":"198.51.100.2","dest_port":443,"proto":"TCP""#;
const AT: &str = r#""timestamp":"2021-06-06T16:00:00.000000+0200","flow_id":77"#;

/// One event of this kind between our two ends.
fn one(kind: &str, rest: &str) -> Event {
    let (mut events, report) =
        read_bytes(format!(r#"{{{AT},"event_type":"{kind}",{ENDS},{rest}}}"#).as_bytes());
    assert_eq!((events.len(), report.rejected_total()), (1, 0), "{:?}", report.samples);
    events.remove(0)
}

fn tcp_flow(pkts: (u32, u32), bytes: (u32, u32), state: &str, tcp: &str) -> Event {
    let (to_server, to_client) = pkts;
    let (bytes_up, bytes_down) = bytes;
    one(
        "flow",
        &format!(
            r#""app_proto":"tls","flow":{{"pkts_toserver":{to_server},"pkts_toclient":{to_client},"bytes_toserver":{bytes_up},"bytes_toclient":{bytes_down},"start":"2021-06-06T15:59:00.000000+0200","end":"2021-06-06T15:59:01.500000+0200","age":1,"state":"{state}","reason":"timeout","alerted":false}}{tcp}"#
        ),
    )
}

#[track_caller]
fn check_flow(event: &Event, expected: &str) {
    let Event::Flow(flow) = event else { panic!("{event:?}") };
    assert_eq!((flow.origin, flow.phase, flow.uid.as_str()), (Origin::Suricata, Phase::End, "77"));
    assert_eq!(flow.seen, flow.start + flow.duration.unwrap_or_default());
    let head = "1622987940.000000 Some(1500000) 192.0.2.1:4000 198.51.100.2:443 tcp ";
    assert_eq!(brief(flow).strip_prefix(head), Some(expected));
}

fn flags(ts: &str, tc: &str) -> String {
    format!(r#","tcp":{{"tcp_flags":"1b","tcp_flags_ts":"{ts}","tcp_flags_tc":"{tc}","state":"closed"}}"#)
}

#[test]
fn the_states_of_tcp_are_told_by_flags_and_never_by_suricatas_word() {
    check_flow(&tcp_flow((2, 0), (120, 0), "new", &flags("02", "00")), "S0 S 2/0/92 0/0/0 ssl");
    check_flow(&tcp_flow((2, 2), (148, 108), "closed", &flags("02", "14")), "REJ Sr 2/0/120 2/0/80 ssl");
    check_flow(&tcp_flow((2, 1), (108, 58), "closed", &flags("06", "12")), "RSTO ShR 2/0/80 1/0/44 ssl");
    check_flow(
        &tcp_flow((10, 8), (2000, 9000), "closed", &flags("1b", "1b")),
        "SF ShAaDdFf 10/1340/1860 8/8472/8888 ssl",
    );
    check_flow(
        &tcp_flow((10, 8), (2000, 9000), "established", &flags("1a", "1a")),
        "S1 ShAaDd 10/1340/1860 8/8472/8888 ssl",
    );
}

#[test]
fn without_flags_suricatas_own_state_is_all_there_is() {
    for (pkts, state, expected) in [
        ((1, 0), "new", "S0"),
        ((1, 1), "new", "OTH"),
        ((9, 9), "established", "S1"),
        ((1, 1), "closed", "REJ"),
        ((9, 9), "closed", "SF"),
        ((9, 9), "local", "OTH"),
    ] {
        let Event::Flow(flow) = tcp_flow(pkts, (900, 900), state, "") else { panic!("a flow") };
        assert_eq!(flow.state.name(), expected, "{pkts:?} {state}");
    }
}

#[test]
fn datagrams_and_icmp() {
    let flow = |proto: &str, ends: &str, down: u32| {
        let line = format!(
            r#"{{{AT},"event_type":"flow","vlan":[1535,40],"src_ip":"192.0.2.1","dest_ip":"192.0.2.2",{ends}"proto":"{proto}","flow":{{"pkts_toserver":1,"pkts_toclient":{down},"bytes_toserver":98,"bytes_toclient":{},"start":"1970-01-01T00:00:01Z","end":"1970-01-01T00:00:02Z"}}}}"#,
            98 * down
        );
        let (events, report) = read_bytes(line.as_bytes());
        assert_eq!(report.rejected_total(), 0, "{:?}", report.samples);
        let flow = flows(&events)[0];
        assert_eq!(flow.vlan, Some(1535));
        brief(flow)
    };
    let echo = r#""icmp_type":8,"icmp_code":0,"#;
    let answer = r#""response_icmp_type":0,"response_icmp_code":0,"#;
    let ends = r#""src_port":5,"dest_port":53,"#;
    for (seen, expected) in [
        (flow("ICMP", echo, 0), "1.000000 None 192.0.2.1:8 192.0.2.2:0 icmp OTH - 1/56/84 0/0/0 -"),
        (
            flow("ICMP", &format!("{echo}{answer}"), 1),
            "1.000000 Some(1000000) 192.0.2.1:8 192.0.2.2:0 icmp OTH - 1/56/84 1/56/84 -",
        ),
        (
            flow("ICMP", r#""icmp_type":3,"icmp_code":1,"#, 0),
            "1.000000 None 192.0.2.1:3 192.0.2.2:1 icmp OTH - 1/56/84 0/0/0 -",
        ),
        (flow("UDP", ends, 0), "1.000000 None 192.0.2.1:5 192.0.2.2:53 udp S0 - 1/56/84 0/0/0 -"),
        (flow("UDP", ends, 1), "1.000000 Some(1000000) 192.0.2.1:5 192.0.2.2:53 udp SF - 1/56/84 1/56/84 -"),
        (flow("ESP", "", 0), "1.000000 None 192.0.2.1:0 192.0.2.2:0 unknown_transport OTH - 1/64/84 0/0/0 -"),
    ] {
        assert_eq!(seen, expected);
    }
}

/// DNS events between the same ends; the replies may name the server first.
fn dns(lines: &[(&str, &str)]) -> Vec<String> {
    let line = |(at, dns): &(&str, &str)| {
        let swapped = dns.contains("swapped");
        let (src, dst) = if swapped { ("198.51.100.2", "192.0.2.1") } else { ("192.0.2.1", "198.51.100.2") };
        let (sport, dport) = if swapped { (53, 4000) } else { (4000, 53) };
        format!(
            "{{\"timestamp\":\"2021-06-06T16:00:{at}+0000\",\"flow_id\":77,\"event_type\":\"dns\",\"src_ip\":\"{src}\",\"src_port\":{sport},\"dest_ip\":\"{dst}\",\"dest_port\":{dport},\"proto\":\"UDP\",\"dns\":{{{dns}}}}}\n"
        )
    };
    let text: String = lines.iter().map(line).collect();
    let (events, report) = read_bytes(text.as_bytes());
    assert_eq!((report.records, report.rejected_total()), (lines.len() as u64, 0), "{:?}", report.samples);
    events
        .iter()
        .map(|event| {
            let Event::Dns(dns) = event else { panic!("{event:?}") };
            assert_eq!((dns.about.src.port, dns.about.dst.port), (4000, 53));
            let answers: Vec<_> = dns
                .answers
                .iter()
                .map(|answer| {
                    let text = match &answer.data {
                        DnsData::Addr(addr) => addr.to_string(),
                        DnsData::Name(name) => format!("name {name}"),
                        DnsData::Text(text) => format!("text {text}"),
                    };
                    format!("{text} {:?}", answer.ttl.unwrap_or(0))
                })
                .collect();
            format!(
                "{} {} {} {:?} {:?} {:?}",
                dns.query,
                dns.qtype,
                dns.trans_id,
                dns.rcode,
                dns.rtt.map(|rtt| rtt.0),
                answers
            )
        })
        .collect()
}

#[test]
fn dns_questions_and_answers_of_version_1_are_one_event() {
    let seen = dns(&[
        ("00.1", r#""type":"query","id":9,"rrname":"WWW.Example.com","rrtype":"A","tx_id":0"#),
        (
            "00.3",
            r#""type":"answer","x":"swapped","id":9,"flags":"8180","qr":true,"rd":true,"ra":true,"rcode":"NOERROR","rrname":"www.example.com","rrtype":"CNAME","ttl":60,"rdata":"edge.example.net""#,
        ),
        (
            "00.3",
            r#""type":"answer","x":"swapped","id":9,"rcode":"NOERROR","rrname":"edge.example.net","rrtype":"A","ttl":30,"rdata":"203.0.113.9""#,
        ),
    ]);
    assert_eq!(
        seen,
        [r#"www.example.com 1 9 Some(0) Some(200000) ["name edge.example.net 60", "203.0.113.9 30"]"#]
    );
}

#[test]
fn dns_of_version_2_with_lists_and_repeated_replies() {
    let reply = r#""version":2,"type":"answer","id":9,"qr":true,"rrname":"v6.example.com","rrtype":"AAAA","rcode":"NOERROR","answers":[{"rrname":"v6.example.com","rrtype":"AAAA","ttl":188,"rdata":"2606:4700:0000:0000:0000:0000:6810:7d22"},{"rrname":"v6.example.com","rrtype":"TXT","ttl":1,"rdata":"v=spf1 -all"}],"grouped":{"AAAA":["2606:4700::6810:7d22"]}"#;
    let expected = r#"["2606:4700::6810:7d22 188", "text v=spf1 -all 1"]"#;
    let question = r#""version":2,"type":"query","id":9,"rrname":"v6.example.com","rrtype":"AAAA""#;
    let seen = dns(&[("00.1", question), ("00.2", reply), ("00.3", reply)]);
    assert_eq!(seen, [format!("v6.example.com 28 9 Some(0) Some(100000) {expected}")]);
    assert_eq!(dns(&[("00.2", reply)]), [format!("v6.example.com 28 9 Some(0) None {expected}")]);
    let unanswered = [("00.1", r#""type":"query","id":3,"rrname":"nobody.example","rrtype":"TYPE65399""#)];
    assert_eq!(dns(&unanswered), ["nobody.example 65399 3 None None []"]);
}

#[test]
fn dns_of_version_3_asks_in_a_list() {
    let queries = r#""queries":[{"rrname":"a.example","rrtype":"MX"}]"#;
    let request = format!(r#""version":3,"type":"request","tx_id":0,"id":4,"rd":true,"opcode":0,{queries}"#);
    let response = format!(
        r#""version":3,"type":"response","id":4,"qr":true,"rcode":"NXDOMAIN",{queries},"authorities":[{{"rrname":"x"}}]"#
    );
    assert_eq!(dns(&[("00.1", &request), ("00.2", &response)]), ["a.example 15 4 Some(3) Some(100000) []"]);
}

#[test]
fn a_signature_becomes_a_notice_with_its_severity() {
    let Event::Notice(notice) = one(
        "alert",
        r#""alert":{"action":"allowed","gid":1,"signature_id":2403388,"rev":66418,"signature":"ET CINS \"Poor\" IP","category":"Misc Attack","severity":2,"metadata":{"tag":["CINS"]}},"flow":{"pkts_toserver":1}"#,
    ) else {
        panic!("a notice")
    };
    assert_eq!((notice.note.as_str(), notice.msg.as_str()), ("Suricata::Alert", "ET CINS \"Poor\" IP"));
    assert_eq!(notice.sub, "severity=2 sid=1:2403388 action=allowed category=Misc Attack");
    assert_eq!(notice.src.map(|addr| addr.to_string()).as_deref(), Some("192.0.2.1"));
    assert_eq!((notice.port, notice.uid.as_str(), notice.at.0), (Some(443), "77", 1_622_988_000_000_000));
    let Event::Notice(notice) = one(
        "alert",
        r#""tx_id":0,"app_proto":"http","alert":{"action":"blocked","signature_id":7,"signature":"x","severity":1,"source":{"ip":"192.0.2.9","port":80},"target":{"ip":"192.0.2.8","port":81}}"#,
    ) else {
        panic!("a notice")
    };
    assert_eq!(notice.sub, "severity=1 sid=1:7 action=blocked app=http target=named category=");
    let ends = [notice.src, notice.dst].map(|addr| addr.map(|addr| addr.to_string()).unwrap_or_default());
    assert_eq!((ends, notice.port), (["192.0.2.9".to_owned(), "192.0.2.8".to_owned()], Some(81)));
    // The protocol alone is the flow's; and what the stream complains of is not data.
    for (tx, signature) in [("", "x"), (r#""tx_id":0,"#, "SURICATA STREAM Packet with invalid ack")] {
        let fields = format!(
            r#"{tx}"app_proto":"http","alert":{{"signature_id":7,"signature":"{signature}","severity":1}}"#
        );
        let Event::Notice(notice) = one("alert", &fields) else { panic!("a notice") };
        assert_eq!(notice.sub, "severity=1 sid=1:7 action=allowed category=");
    }
}

#[test]
fn http_tls_ssh_smtp_quic_dhcp_and_files() {
    let Event::Http(http) = one(
        "http",
        r#""tx_id":2,"http":{"hostname":"example.com","http_port":80,"url":"/a\/b","http_user_agent":"curl/8","http_content_type":"Text/HTML; charset=utf-8","http_method":"GET","protocol":"HTTP/1.1","status":404,"length":47,"http_refer":"http://r/"}"#,
    ) else {
        panic!("a request")
    };
    assert_eq!((http.trans_depth, http.method.as_str(), http.host.as_str()), (3, "GET", "example.com"));
    assert_eq!(
        (http.uri.as_str(), http.user_agent.as_str(), http.version.as_str()),
        ("/a/b", "curl/8", "1.1")
    );
    assert_eq!(
        (http.status_code, http.response_body_len, http.referrer.as_str()),
        (Some(404), 47, "http://r/")
    );
    assert_eq!(http.resp_mime_types, ["text/html"]);

    let Event::Tls(tls) = one(
        "tls",
        r#""tls":{"subject":"CN=a","issuerdn":"CN=b","fingerprint":"2D:d1:9f","sni":"a.example","version":"TLS 1.2","notbefore":"2020-03-19T09:44:08","notafter":"not a date","subjectaltname":["a.example","b.example"],"ja3":{"hash":"b72","string":"770,51"},"ja3s":{"hash":"ad9"},"ja4":"t13d"}"#,
    ) else {
        panic!("a handshake")
    };
    let fields = &tls.fields;
    assert_eq!((fields.version.as_str(), fields.established, fields.resumed), ("TLSv12", true, false));
    assert_eq!((fields.ja3.as_str(), fields.ja3s.as_str(), fields.ja4.as_str()), ("b72", "ad9", "t13d"));
    assert_eq!((fields.cert_sha1.as_str(), fields.server_name.as_str()), ("2dd19f", "a.example"));
    assert_eq!(fields.not_valid_before.map(|at| at.0), Some(1_584_611_048_000_000));
    assert_eq!((fields.not_valid_after, fields.san_dns.len()), (None, 2));

    let Event::Ssh(ssh) = one(
        "ssh",
        r#""ssh":{"client":{"proto_version":"2.0","software_version":"OpenSSH_6.2","hassh":{"hash":"x"}},"server":{"proto_version":"1.99"}}"#,
    ) else {
        panic!("a session")
    };
    assert_eq!((ssh.version, ssh.client.as_str(), ssh.server.as_str()), (Some(2), "SSH-2.0-OpenSSH_6.2", ""));

    let Event::Smtp(smtp) =
        one("smtp", r#""smtp":{"helo":"mx.example","rcpt_to":["<a@b>"]},"email":{"to":["x"]}"#)
    else {
        panic!("a mail")
    };
    assert_eq!(smtp.helo, "mx.example");

    let Event::Tls(quic) = one(
        "quic",
        r#""quic":{"version":"1","sni":"q.example","ja3":{"hash":"8a7"},"extensions":[{"name":"x","type":43}]}"#,
    ) else {
        panic!("a handshake")
    };
    assert_eq!((quic.fields.version.as_str(), quic.fields.server_name.as_str()), ("TLSv13", "q.example"));

    let Event::Dhcp(dhcp) = one(
        "dhcp",
        r#""dhcp":{"type":"reply","id":1,"client_mac":"00:11:32:17:49:f0","assigned_ip":"198.51.100.2","dhcp_type":"ack","lease_time":3600,"hostname":"nas1\u0000"}"#,
    ) else {
        panic!("a lease")
    };
    assert_eq!((dhcp.host_name.as_str(), dhcp.msg_types.join(",").as_str()), ("nas1", "ACK"));
    assert_eq!(dhcp.client, dhcp.assigned_addr);

    let Event::File(file) = one(
        "fileinfo",
        r#""http":{"hostname":"h","http_content_type":"application/x-dosexec"},"app_proto":"http","fileinfo":{"filename":"/x.exe","state":"CLOSED","md5":"ab","stored":false,"size":47,"tx_id":0}"#,
    ) else {
        panic!("a file")
    };
    assert_eq!((file.source.as_str(), file.md5.as_str(), file.total_bytes), ("HTTP", "ab", Some(47)));
    assert_eq!(
        (file.mime_type.as_str(), file.analyzers.join(",").as_str()),
        ("application/x-dosexec", "MD5")
    );
}

#[test]
fn other_kinds_are_counted_and_broken_lines_cost_nothing_else() {
    let good = r#"{"event_type" : "smtp" , "timestamp":"2021-06-06T16:00:00Z","src_ip":"::1","dest_ip":"::2","proto":"TCP"}"#;
    let text = format!(
        "{good}\n\n{{\"event_type\":\"stats\",\"timestamp\":\"x\",\"stats\":{{\"a\":{{\"b\":[1]}}}}}}\n{{broken\n[]\n{{\"timestamp\":\"x\"}}\n{}\n{good}\n{{\"event_type\":\"fl",
        r#"{"event_type":"flow","timestamp":"2021-06-06T16:00:00Z","src_ip":"nowhere","dest_ip":"::2","proto":"TCP","flow":{"start":"2021-06-06T16:00:00Z"}}"#
    );
    let (events, report) = read_bytes(text.as_bytes());
    assert_eq!((events.len(), report.records, report.files[0].kind), (2, 2, "suricata"));
    assert_eq!(
        rejects(&report),
        [
            (Reason::TruncatedLastLine, 1),
            (Reason::NotJson, 2),
            (Reason::MissingField, 1),
            (Reason::BadValue, 1),
            (Reason::UnusedKind, 1)
        ]
    );
    let lines: Vec<_> = report.samples.iter().map(|sample| sample.line).collect();
    assert_eq!(lines, [4, 5, 6, 7, 9]);
}

#[test]
fn a_kind_is_told_at_the_top_only() {
    let line = format!(
        r#"{{{AT},"inner":{{"event_type":"flow"}},"event_type":"smtp",{ENDS},"smtp":{{"helo":"x"}}}}"#
    );
    let (events, _) = read_bytes(line.as_bytes());
    assert!(matches!(events[..], [Event::Smtp(_)]), "{events:?}");
}

#[test]
fn flows_come_in_the_order_of_their_start_and_gzip_makes_no_difference() {
    let flow = |second: u32| {
        format!(
            "{{{AT},\"event_type\":\"flow\",{ENDS},\"flow\":{{\"pkts_toserver\":1,\"start\":\"2021-06-06T16:00:{second:02}Z\"}}}}\n"
        )
    };
    let text: String = [7, 3, 9, 1].map(flow).concat();
    let (events, report) = read_bytes(text.as_bytes());
    let times: Vec<_> = events.iter().map(|event| event.time().0 / 1_000_000 % 60).collect();
    assert_eq!(times, [1, 3, 7, 9]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).expect("memory");
    let (unpacked, same) = read_bytes(&packed.finish().expect("memory"));
    assert_eq!((unpacked, same.records), (events, report.records));
}

/// Lines of an event log by kind.
fn kinds(path: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in fs::read_to_string(path).expect("readable").lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        *found.entry(event["event_type"].as_str().unwrap_or("").to_owned()).or_default() += 1;
    }
    found
}

fn event_logs(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            event_logs(&path, found);
        } else if path.file_name().is_some_and(|name| name == "peer.suricata.json") {
            found.push(path);
        }
    }
}

#[test]
fn every_event_that_suricata_wrote_for_the_captures_is_read() {
    let Some(corpora) = corpora("every_event_that_suricata_wrote_for_the_captures_is_read") else { return };
    let mut paths = Vec::new();
    event_logs(&corpora, &mut paths);
    paths.push(corpora.join("slips-flows/test6-malicious.suricata.json"));
    assert!(paths.len() > 400, "{}", paths.len());
    const USED: [&str; 10] =
        ["flow", "dns", "http", "tls", "alert", "fileinfo", "ssh", "smtp", "quic", "dhcp"];
    for path in paths {
        let kinds = kinds(&path);
        if kinds.is_empty() {
            continue;
        }
        let of = |kind: &str| kinds.get(kind).copied().unwrap_or(0);
        let (events, report) = read_file(&path);
        let used: u64 = USED.iter().map(|kind| of(kind)).sum();
        assert_eq!(report.records, used, "{}: {:?}", path.display(), report.samples);
        let passed = kinds.values().sum::<u64>() - used;
        let unused = report.rejected.get(&Reason::UnusedKind).copied().unwrap_or(0);
        assert_eq!((unused, report.rejected_total()), (passed, passed), "{}", path.display());
        let count = |is: fn(&Event) -> bool| events.iter().filter(|event| is(event)).count() as u64;
        assert_eq!(count(|event| matches!(event, Event::Flow(_))), of("flow"), "{}", path.display());
        assert_eq!(count(|event| matches!(event, Event::Http(_))), of("http"), "{}", path.display());
        assert_eq!(count(|event| matches!(event, Event::Notice(_))), of("alert"), "{}", path.display());
        assert!(count(|event| matches!(event, Event::Dns(_))) <= of("dns"));
        assert!(events.is_sorted_by_key(Event::time), "{}", path.display());
    }
}

#[test]
fn the_honeypots_log_tells_scans_from_conversations() {
    let Some(corpora) = corpora("the_honeypots_log_tells_scans_from_conversations") else { return };
    let (events, _) = read_file(&corpora.join("slips-flows/test6-malicious.suricata.json"));
    let mut states = BTreeMap::new();
    for flow in flows(&events) {
        *states.entry(format!("{} {}", flow.proto, flow.state)).or_insert(0) += 1;
    }
    let expected = [
        ("tcp OTH", 15),
        ("tcp REJ", 1939),
        ("tcp RSTO", 33),
        ("tcp S1", 3),
        ("tcp S2", 330),
        ("tcp SF", 16),
        ("udp S0", 977),
        ("udp SF", 199),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(state, count)| (state.to_owned(), count)).into();
    assert_eq!(states, expected);
}
