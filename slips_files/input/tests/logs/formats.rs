//! Each log in both formats gives the same event.

use std::net::IpAddr;

use slips_core::event::{ArpOp, DnsData, Event};
use slips_core::flow::{ConnState, Endpoint, MacAddr, Origin, Outcome, Phase, Proto, Volume};
use slips_core::time::{PacketTime, Span};

use super::{read, tsv};

/// The one event that both formats give.
#[track_caller]
pub fn same(path: &str, fields: &str, row: &str, json: &str) -> Event {
    let (from_tsv, report) = read(&tsv(path, fields, &[row]));
    assert!(report.rejected.is_empty(), "{:?}", report.samples);
    assert_eq!(report.files[0].kind, path);
    let (from_json, report) = read(&format!("{json}\n"));
    assert!(report.rejected.is_empty(), "{:?}", report.samples);
    assert_eq!(report.files[0].kind, path);
    assert_eq!(from_tsv, from_json);
    assert_eq!(from_tsv.len(), 1);
    from_tsv.into_iter().next().expect("one")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn end(addr: &str, port: u16) -> Endpoint {
    Endpoint { addr: ip(addr), port }
}

fn mac(text: &str) -> MacAddr {
    MacAddr::parse(text).expect(text)
}

#[test]
fn conn_with_everything() {
    let Event::Flow(flow) = same(
        "conn",
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes resp_bytes conn_state \
         local_orig missed_bytes history orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes tunnel_parents \
         orig_l2_addr resp_l2_addr vlan label detailedlabel",
        "1676851429.981575 Cwgb6g4uF7qxeTJit6 ::ffff:192.168.1.109 34606 185.125.190.17 80 tcp ssl,http 0.038607 87 \
         147 RSTR T 5 ^ShADTdtfFa 10 710 8 726 (empty) 08:00:27:a3:8b:2e ff:ff:ff:ff:ff:ff 12 Benign From_x",
        r#"{"ts":1676851429.981575,"uid":"Cwgb6g4uF7qxeTJit6","id.orig_h":"::ffff:192.168.1.109","id.orig_p":34606,
            "id.resp_h":"185.125.190.17","id.resp_p":80,"proto":"tcp","service":"ssl,http","duration":0.038607,
            "orig_bytes":87,"resp_bytes":147,"conn_state":"RSTR","local_orig":true,"missed_bytes":5,
            "history":"^ShADTdtfFa","orig_pkts":10,"orig_ip_bytes":710,"resp_pkts":8,"resp_ip_bytes":726,
            "tunnel_parents":[],"orig_l2_addr":"08:00:27:a3:8b:2e","resp_l2_addr":"ff:ff:ff:ff:ff:ff","vlan":12,
            "label":"Benign","detailedlabel":"From_x"}"#
            .replace('\n', "")
            .as_str(),
    ) else {
        panic!("no flow")
    };
    assert_eq!(flow.start, PacketTime(1_676_851_429_981_575));
    assert_eq!(flow.duration, Some(Span(38_607)));
    assert_eq!(flow.seen, flow.start + Span(38_607));
    assert_eq!((flow.src, flow.dst), (end("192.168.1.109", 34606), end("185.125.190.17", 80)));
    assert_eq!((flow.proto, flow.phase, flow.origin), (Proto::Tcp, Phase::End, Origin::Zeek));
    assert_eq!((flow.state, flow.outcome()), (ConnState::Rstr, Outcome::Established));
    assert_eq!(flow.uid.as_str(), "Cwgb6g4uF7qxeTJit6");
    assert_eq!(flow.history.as_str(), "^ShADTdtfFa");
    assert!(flow.was_flipped() && flow.has_service("http") && flow.has_service("ssl"));
    assert_eq!(flow.orig, Volume { pkts: 10, bytes: 87, ip_bytes: 710 });
    assert_eq!(flow.resp, Volume { pkts: 8, bytes: 147, ip_bytes: 726 });
    assert_eq!((flow.orig_new, flow.resp_new, flow.missed_bytes), (flow.orig, flow.resp, 5));
    assert_eq!((flow.src_mac, flow.dst_mac), (Some(mac("08:00:27:a3:8b:2e")), Some(MacAddr::BROADCAST)));
    assert_eq!((flow.vlan, flow.interface), (Some(12), 0));
    let truth = flow.truth.expect("labelled");
    assert_eq!((truth.label.as_str(), truth.detailed.as_str()), ("Benign", "From_x"));
}

#[test]
fn conn_with_as_little_as_can_be() {
    let Event::Flow(flow) = same(
        "conn",
        "resp_ip_bytes orig_ip_bytes id.resp_h id.orig_h ts proto ip_proto conn_state duration label detailedlabel",
        "- - 2001:db8::1 fe80::1 928.943457 unknown_transport 132 - - (empty) (empty)",
        r#"{"ts":928.943457,"id.resp_h":"2001:db8::1","id.orig_h":"fe80::1","proto":"unknown_transport","ip_proto":132,"conn_state":""}"#,
    ) else {
        panic!("no flow")
    };
    assert_eq!(flow.start, PacketTime(928_943_457));
    assert_eq!((flow.seen, flow.duration), (flow.start, None));
    assert_eq!((flow.src, flow.dst), (end("fe80::1", 0), end("2001:db8::1", 0)));
    assert_eq!((flow.proto, flow.state), (Proto::Other(132), ConnState::Oth));
    assert_eq!((flow.orig, flow.truth), (Volume::default(), None));
}

#[test]
fn labels_are_shared_and_their_old_names_known() {
    let fields = "ts id.orig_h id.resp_h conn_state label detailed-label";
    let row = "1.0 10.0.0.1 10.0.0.2 SF Malicious C&C";
    let (events, _) = read(&tsv("conn", fields, &[row, row]));
    let truths: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Flow(flow) => flow.truth.clone().expect("labelled"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(truths[0].detailed, "C&C");
    assert!(std::sync::Arc::ptr_eq(&truths[0], &truths[1]));
}

#[test]
fn dns() {
    let Event::Dns(dns) = same(
        "dns",
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto trans_id rtt query qclass qclass_name qtype qtype_name \
         rcode rcode_name AA TC RD RA Z answers TTLs rejected",
        "29.864806 CxL 10.0.2.15 57423 147.32.80.9 53 tcp 62862 0.000874 WPAD.felk.cvut.cz. 1 C_INTERNET 1 A 0 NOERROR \
         T F T T 1 Relay.felk.cvut.cz,147.32.80.7,TXT~5~hello 6400.000000,0.5 F",
        r#"{"ts":29.864806,"uid":"CxL","id.orig_h":"10.0.2.15","id.orig_p":57423,"id.resp_h":"147.32.80.9","id.resp_p":53,"proto":"tcp","trans_id":62862,"rtt":0.000874,"query":"WPAD.felk.cvut.cz.","qclass":1,"qclass_name":"C_INTERNET","qtype":1,"qtype_name":"A","rcode":0,"rcode_name":"NOERROR","AA":true,"TC":false,"RD":true,"RA":true,"Z":1,"answers":["Relay.felk.cvut.cz","147.32.80.7","TXT 5 hello"],"TTLs":[6400.0,0.5],"rejected":false}"#,
    ) else {
        panic!("no dns")
    };
    assert_eq!((dns.about.at, dns.about.proto), (PacketTime(29_864_806), Proto::Tcp));
    assert_eq!((dns.trans_id, dns.rtt, dns.query.as_str()), (62862, Some(Span(874)), "wpad.felk.cvut.cz"));
    assert_eq!((dns.qclass, dns.qtype, dns.rcode), (1, 1, Some(0)));
    let flags = dns.flags;
    assert_eq!((flags.aa, flags.tc, flags.rd, flags.ra, flags.z), (true, false, true, true, 1));
    let answers: Vec<_> = dns.answers.into_iter().map(|answer| (answer.data, answer.ttl)).collect();
    assert_eq!(
        answers,
        [
            (DnsData::Name("relay.felk.cvut.cz".into()), Some(6400)),
            (DnsData::Addr(ip("147.32.80.7")), Some(0)),
            (DnsData::Text("TXT 5 hello".into()), None),
        ]
    );
}

#[test]
fn dns_with_names_only_and_no_answer() {
    let Event::Dns(dns) = same(
        "dns",
        "ts id.orig_h id.resp_h query qtype_name rcode_name answers",
        "1.0 10.0.0.1 10.0.0.2 a\\xc3\\xa9.example AAAA NXDOMAIN -",
        r#"{"ts":1.0,"id.orig_h":"10.0.0.1","id.resp_h":"10.0.0.2","query":"aé.example","qtype_name":"AAAA","rcode_name":"NXDOMAIN"}"#,
    ) else {
        panic!("no dns")
    };
    assert_eq!((dns.query.as_str(), dns.qtype, dns.rcode, dns.answers.len()), ("aé.example", 28, Some(3), 0));
}

#[test]
fn http() {
    let Event::Http(http) = same(
        "http",
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p trans_depth method host uri referrer version user_agent \
         request_body_len response_body_len status_code status_msg resp_fuids resp_mime_types",
        "1.5 C1 10.0.0.1 1 10.0.0.2 80 2 POST h.example /a\\x09b http://r 1.1 Mozilla/4.0~(x) 12 34 200 OK F1,F2 text/html",
        r#"{"ts":1.5,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2","id.resp_p":80,"trans_depth":2,"method":"POST","host":"h.example","uri":"/a\tb","referrer":"http://r","version":"1.1","user_agent":"Mozilla/4.0 (x)","request_body_len":12,"response_body_len":34,"status_code":200,"status_msg":"OK","resp_fuids":["F1","F2"],"resp_mime_types":["text/html"]}"#,
    ) else {
        panic!("no http")
    };
    assert_eq!((http.trans_depth, http.method.as_str(), http.host.as_str()), (2, "POST", "h.example"));
    assert_eq!((http.uri.as_str(), http.user_agent.as_str()), ("/a\tb", "Mozilla/4.0 (x)"));
    assert_eq!((http.request_body_len, http.response_body_len, http.status_code), (12, 34, Some(200)));
    assert_eq!(
        (http.resp_fuids.len(), http.resp_mime_types.as_slice()),
        (2, ["text/html".to_owned()].as_slice())
    );
    assert_eq!(
        (http.referrer.as_str(), http.version.as_str(), http.status_msg.as_str()),
        ("http://r", "1.1", "OK")
    );
}

#[test]
fn ssl() {
    let Event::Tls(tls) = same(
        "ssl",
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p version cipher curve server_name resumed next_protocol \
         established cert_chain_fps subject issuer validation_status ja3 ja3s ja4",
        "1.5 C1 10.0.0.1 1 10.0.0.2 443 DTLSv12 CIPHER x25519 h.example F h2 T aa,bb CN=x CN=y ok j3 j3s j4",
        r#"{"ts":1.5,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2","id.resp_p":443,"version":"DTLSv12","cipher":"CIPHER","curve":"x25519","server_name":"h.example","resumed":false,"next_protocol":"h2","established":true,"cert_chain_fps":["aa","bb"],"subject":"CN=x","issuer":"CN=y","validation_status":"ok","ja3":"j3","ja3s":"j3s","ja4":"j4"}"#,
    ) else {
        panic!("no tls")
    };
    assert_eq!(tls.about.proto, Proto::Udp);
    let fields = tls.fields;
    assert_eq!((fields.version.as_str(), fields.cipher.as_str()), ("DTLSv12", "CIPHER"));
    assert_eq!((fields.server_name.as_str(), fields.resumed, fields.established), ("h.example", false, true));
    assert_eq!((fields.subject.as_str(), fields.issuer.as_str()), ("CN=x", "CN=y"));
    assert_eq!((fields.ja3.as_str(), fields.ja3s.as_str(), fields.ja4.as_str()), ("j3", "j3s", "j4"));
    assert_eq!((fields.cert_chain_fps.len(), fields.validation_status.as_str()), (2, "ok"));
    assert_eq!((fields.curve.as_str(), fields.next_protocol.as_str()), ("x25519", "h2"));
}

#[test]
fn ssh() {
    let Event::Ssh(ssh) = same(
        "ssh",
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p version auth_success auth_attempts client server cipher_alg \
         mac_alg compression_alg kex_alg host_key_alg host_key_fingerprint",
        "1.5 C1 10.0.0.1 1 10.0.0.2 22 2 F 3 SSH-2.0-x SSH-2.0-y aes hmac none kex rsa SHA256:z",
        r#"{"ts":1.5,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2","id.resp_p":22,"version":2,"auth_success":false,"auth_attempts":3,"client":"SSH-2.0-x","server":"SSH-2.0-y","cipher_alg":"aes","mac_alg":"hmac","compression_alg":"none","kex_alg":"kex","host_key_alg":"rsa","host_key":"SHA256:z"}"#,
    ) else {
        panic!("no ssh")
    };
    assert_eq!((ssh.version, ssh.auth_success, ssh.auth_attempts), (Some(2), Some(false), 3));
    assert_eq!((ssh.client.as_str(), ssh.server.as_str()), ("SSH-2.0-x", "SSH-2.0-y"));
    assert_eq!((ssh.cipher_alg.as_str(), ssh.mac_alg.as_str(), ssh.kex_alg.as_str()), ("aes", "hmac", "kex"));
    assert_eq!((ssh.host_key_alg.as_str(), ssh.host_key.as_str()), ("rsa", "SHA256:z"));
    assert_eq!(ssh.compression_alg, "none");
}

#[test]
fn dhcp() {
    let Event::Dhcp(dhcp) = same(
        "dhcp",
        "ts uids client_addr server_addr mac host_name requested_addr assigned_addr lease_time msg_types",
        "1.5 C1,C2 10.0.0.1 - 08:00:27:7f:09:e1 pc 10.0.0.9 10.0.0.8 86400.0 REQUEST,ACK",
        r#"{"ts":1.5,"uids":["C1","C2"],"client_addr":"10.0.0.1","mac":"08:00:27:7f:09:e1","host_name":"pc","requested_addr":"10.0.0.9","assigned_addr":"10.0.0.8","lease_time":86400.0,"msg_types":["REQUEST","ACK"]}"#,
    ) else {
        panic!("no dhcp")
    };
    assert_eq!((dhcp.client, dhcp.server), (Some(ip("10.0.0.1")), None));
    assert_eq!(dhcp.uids.iter().map(|uid| uid.as_str()).collect::<Vec<_>>(), ["C1", "C2"]);
    assert_eq!((dhcp.mac, dhcp.host_name.as_str()), (Some(mac("08:00:27:7f:09:e1")), "pc"));
    assert_eq!((dhcp.requested_addr, dhcp.assigned_addr), (Some(ip("10.0.0.9")), Some(ip("10.0.0.8"))));
    assert_eq!((dhcp.lease_time, dhcp.msg_types.len()), (Some(Span::from_secs(86400)), 2));
}

#[test]
fn dhcp_as_zeek_wrote_it_before_2_6() {
    let Event::Dhcp(dhcp) = same(
        "dhcp",
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p mac assigned_ip lease_time trans_id",
        "1.5 C1 10.0.0.1 68 10.0.0.2 67 08:00:27:7f:09:e1 10.0.0.1 60.0 77",
        r#"{"ts":1.5,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":68,"id.resp_h":"10.0.0.2","id.resp_p":67,"mac":"08:00:27:7f:09:e1","assigned_ip":"10.0.0.1","lease_time":60.0,"trans_id":77}"#,
    ) else {
        panic!("no dhcp")
    };
    assert_eq!((dhcp.client, dhcp.server), (Some(ip("10.0.0.1")), Some(ip("10.0.0.2"))));
    assert_eq!((dhcp.uids.len(), dhcp.assigned_addr), (1, Some(ip("10.0.0.1"))));
}

#[test]
fn ftp_smtp_tunnel_and_login() {
    let ids = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p";
    let row = "1.5 C1 10.0.0.1 1 10.0.0.2 2";
    let json =
        r#"{"ts":1.5,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2","id.resp_p":2,"#;
    let same = |path, fields: &str, values: &str, rest: &str| {
        same(path, &format!("{ids} {fields}"), &format!("{row} {values}"), &format!("{json}{rest}}}"))
    };
    let Event::Ftp(ftp) = same(
        "ftp",
        "user command arg reply_code data_channel.resp_p",
        "anonymous EPSV - 229 57086",
        r#""user":"anonymous","command":"EPSV","reply_code":229,"data_channel.resp_p":57086"#,
    ) else {
        panic!("no ftp")
    };
    assert_eq!((ftp.user.as_str(), ftp.command.as_str()), ("anonymous", "EPSV"));
    assert_eq!((ftp.reply_code, ftp.data_port), (Some(229), Some(57086)));

    let Event::Smtp(smtp) = same(
        "smtp",
        "trans_depth helo last_reply tls",
        "1 there 554~5.7.1~bad T",
        r#""trans_depth":1,"helo":"there","last_reply":"554 5.7.1 bad","tls":true"#,
    ) else {
        panic!("no smtp")
    };
    assert_eq!((smtp.helo.as_str(), smtp.last_reply.as_str(), smtp.tls), ("there", "554 5.7.1 bad", true));

    let Event::Tunnel(tunnel) = same(
        "tunnel",
        "tunnel_type action",
        "Tunnel::GRE Tunnel::DISCOVER",
        r#""tunnel_type":"Tunnel::GRE","action":"Tunnel::DISCOVER""#,
    ) else {
        panic!("no tunnel")
    };
    assert_eq!((tunnel.tunnel_type.as_str(), tunnel.action.as_str()), ("Tunnel::GRE", "Tunnel::DISCOVER"));

    let Event::Login(login) = same(
        "login",
        "proto success confused user client_user password",
        "telnet T F root - secret",
        r#""proto":"telnet","success":true,"confused":false,"user":"root","password":"secret""#,
    ) else {
        panic!("no login")
    };
    assert_eq!((login.service.as_str(), login.success, login.confused), ("telnet", true, false));
    assert_eq!(login.user, "root");
    assert!(!format!("{login:?}").contains("secret"));
}

#[test]
fn notice() {
    let Event::Notice(notice) = same(
        "notice",
        "ts uid proto note msg sub src dst p n",
        "1.5 - tcp Scan::Port_Scan x~scanned~20~ports remote 10.0.0.1 10.0.0.2 22 20",
        r#"{"ts":1.5,"proto":"tcp","note":"Scan::Port_Scan","msg":"x scanned 20 ports","sub":"remote","src":"10.0.0.1","dst":"10.0.0.2","p":22,"n":20}"#,
    ) else {
        panic!("no notice")
    };
    assert_eq!((notice.note.as_str(), notice.msg.as_str()), ("Scan::Port_Scan", "x scanned 20 ports"));
    assert_eq!((notice.src, notice.dst, notice.port), (Some(ip("10.0.0.1")), Some(ip("10.0.0.2")), Some(22)));
    assert_eq!((notice.proto, notice.count, notice.sub.as_str()), (Some(Proto::Tcp), Some(20), "remote"));
}

#[test]
fn files_with_the_hosts_and_with_the_connection() {
    let Event::File(old) = same(
        "files",
        "ts fuid tx_hosts rx_hosts conn_uids source analyzers mime_type is_orig seen_bytes total_bytes md5 sha1 sha256",
        "1.5 F1 10.0.0.2 10.0.0.1 C1 HTTP SHA1,MD5 text/plain F 5 593 aa bb cc",
        r#"{"ts":1.5,"fuid":"F1","tx_hosts":["10.0.0.2"],"rx_hosts":["10.0.0.1"],"conn_uids":["C1"],"source":"HTTP","analyzers":["SHA1","MD5"],"mime_type":"text/plain","is_orig":false,"seen_bytes":5,"total_bytes":593,"md5":"aa","sha1":"bb","sha256":"cc"}"#,
    ) else {
        panic!("no file")
    };
    let Event::File(new) = same(
        "files",
        "ts fuid uid id.orig_h id.orig_p id.resp_h id.resp_p source analyzers mime_type is_orig seen_bytes total_bytes \
         md5 sha1 sha256",
        "1.5 F1 C1 10.0.0.1 1 10.0.0.2 80 HTTP SHA1,MD5 text/plain F 5 593 aa bb cc",
        r#"{"ts":1.5,"fuid":"F1","uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2","id.resp_p":80,"source":"HTTP","analyzers":["SHA1","MD5"],"mime_type":"text/plain","is_orig":false,"seen_bytes":5,"total_bytes":593,"md5":"aa","sha1":"bb","sha256":"cc"}"#,
    ) else {
        panic!("no file")
    };
    assert_eq!(old, new);
    assert_eq!((old.sender, old.receiver), (Some(ip("10.0.0.2")), Some(ip("10.0.0.1"))));
    assert_eq!((old.fuid.as_str(), old.uid.as_str(), old.total_bytes), ("F1", "C1", Some(593)));
    assert_eq!((old.analyzers.len(), old.source.as_str(), old.mime_type.as_str()), (2, "HTTP", "text/plain"));
    assert_eq!((old.md5.as_str(), old.sha1.as_str(), old.sha256.as_str()), ("aa", "bb", "cc"));
}

#[test]
fn arp() {
    let Event::Arp(arp) = same(
        "arp",
        "ts operation src_mac dst_mac orig_h resp_h orig_hw resp_hw",
        "1.5 reply 50:5b:c2:db:c3:17 ff:ff:ff:ff:ff:ff 192.168.1.15 69.220.152.0 50:50:50:50:50:50 -",
        r#"{"ts":1.5,"operation":"reply","src_mac":"50:5b:c2:db:c3:17","dst_mac":"ff:ff:ff:ff:ff:ff","orig_h":"192.168.1.15","resp_h":"69.220.152.0","orig_hw":"50:50:50:50:50:50"}"#,
    ) else {
        panic!("no arp")
    };
    assert_eq!((arp.op, arp.frame_src), (ArpOp::Reply, mac("50:5b:c2:db:c3:17")));
    assert_eq!((arp.sender, arp.target), (ip("192.168.1.15"), ip("69.220.152.0")));
    assert_eq!((arp.sender_mac, arp.target_mac), (mac("50:50:50:50:50:50"), MacAddr::ZERO));
}

#[test]
fn software_and_weird() {
    let Event::Software(software) = same(
        "software",
        "ts host host_p software_type name version.major version.minor unparsed_version",
        "1.5 192.168.1.1 1900 HTTP::SERVER Linux 2 6 Linux/2.6.36,~UPnP",
        r#"{"ts":1.5,"host":"192.168.1.1","host_p":1900,"software_type":"HTTP::SERVER","name":"Linux","version.major":2,"version.minor":6,"unparsed_version":"Linux/2.6.36, UPnP"}"#,
    ) else {
        panic!("no software")
    };
    assert_eq!((software.host, software.port), (ip("192.168.1.1"), Some(1900)));
    assert_eq!((software.major, software.minor), (Some(2), Some(6)));
    assert_eq!((software.software_type.as_str(), software.name.as_str()), ("HTTP::SERVER", "Linux"));
    assert_eq!(software.unparsed_version, "Linux/2.6.36, UPnP");

    let Event::Weird(weird) = same(
        "weird",
        "ts uid id.orig_h id.orig_p id.resp_h id.resp_p name addl notice peer source",
        "1.5 - - - - - fragment_overlap 12 F zeek -",
        r#"{"ts":1.5,"name":"fragment_overlap","addl":"12","notice":false,"peer":"zeek"}"#,
    ) else {
        panic!("no weird")
    };
    assert_eq!((weird.name.as_str(), weird.addl.as_str()), ("fragment_overlap", "12"));
    assert_eq!(weird.about.src, end("0.0.0.0", 0));
}

#[test]
fn nested_and_underscored_ids() {
    for line in [
        r#"{"ts":1.0,"id":{"orig_h":"10.0.0.1","orig_p":5,"resp_h":"10.0.0.2","resp_p":6},"conn_state":"SF"}"#,
        r#"{"conn_state":"SF","id_resp_p":"6","id_resp_h":"10.0.0.2","id_orig_p":5.0,"id_orig_h":"10.0.0.1","ts":1}"#,
        r#"{"_path":"conn","ts":"1970-01-01T00:00:01Z","id.orig_h":"10.0.0.1","id.orig_p":5,"id.resp_h":"10.0.0.2","id.resp_p":6}"#,
    ] {
        let (events, report) = read(line);
        let [Event::Flow(flow)] = events.as_slice() else { panic!("{line}: {report:?}") };
        assert_eq!((flow.src, flow.dst), (end("10.0.0.1", 5), end("10.0.0.2", 6)), "{line}");
        assert_eq!(flow.start, PacketTime(1_000_000), "{line}");
    }
}
