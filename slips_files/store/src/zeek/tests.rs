use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::wire::tests::{AT, clock};
use slips_core::event::{
    About, Arp, ArpOp, Dhcp, Dns, DnsAnswer, DnsData, DnsFlags, File, Ftp, Http, Login, Notice, Quic, Smtp,
    Software, Ssh, Tls, TlsFields, Tunnel, Weird, X509,
};
use slips_core::exchange::{App, Auth, AuthOutcome, Operation};
use slips_core::flow::{ConnState, Endpoint, Flow, MacAddr, Phase, Proto, Volume};
use slips_core::neighbour::{Discovery, Neighbour, Prefix, RouterAdvertisement};
use slips_core::time::Span;

fn ends() -> (Endpoint, Endpoint) {
    let local = Endpoint { addr: IpAddr::from([192, 168, 1, 5]), port: 40_000 };
    let remote = Endpoint { addr: "2001:db8::1".parse().expect("ip"), port: 22 };
    (local, remote)
}

fn about() -> About {
    let (src, dst) = ends();
    About {
        at: AT,
        uid: "CHhAvVGS1DHFjwGM9".into(),
        src,
        dst,
        proto: Proto::Udp,
        interface: 0,
        heard: true,
        tunnelled: false,
        src_mac: None,
    }
}

fn flow() -> Flow {
    let (src, dst) = ends();
    Flow {
        uid: "C1".into(),
        duration: Some(Span(1_500_000)),
        state: ConnState::SF,
        history: "ShADadFf".into(),
        service: "ssh".into(),
        orig: Volume { pkts: 1, bytes: 2, ip_bytes: 3 },
        resp: Volume { pkts: 4, bytes: 5, ip_bytes: 6 },
        src_mac: Some(MacAddr([0, 1, 2, 3, 4, 5])),
        ..Flow::new(AT, Proto::Tcp, src, dst)
    }
}

fn dns() -> Dns {
    Dns {
        about: about(),
        trans_id: 7,
        rtt: Some(Span(1_612)),
        query: "a,b\t.example".into(),
        qclass: 1,
        qtype: 1,
        rcode: Some(0),
        flags: DnsFlags { rd: true, ra: true, ..DnsFlags::default() },
        answers: vec![
            DnsAnswer { data: DnsData::Name("c.example".into()), ttl: Some(60) },
            DnsAnswer { data: DnsData::Addr(IpAddr::from([192, 0, 2, 9])), ttl: Some(8) },
            DnsAnswer { data: DnsData::Text("TXT 3 a,b".into()), ttl: Some(0) },
        ],
        rejected: false,
    }
}

fn quic() -> Quic {
    Quic {
        about: about(),
        version: "1".into(),
        client_initial_dcid: "8394c8f03e515708".into(),
        client_scid: Some("c1".into()),
        server_scid: None,
        server_name: "host.example".into(),
        client_protocol: "h3".into(),
        history: "ISishH".into(),
    }
}

fn x509() -> X509 {
    X509 {
        about: about(),
        fingerprint: "ab".into(),
        version: 3,
        serial: "01".into(),
        subject: "CN=a,O=b".into(),
        issuer: "CN=c".into(),
        not_valid_before: Some(AT),
        not_valid_after: None,
        key_alg: "rsaEncryption".into(),
        sig_alg: "sha256WithRSAEncryption".into(),
        key_type: "rsa".into(),
        key_length: Some(2048),
        exponent: "65537".into(),
        curve: String::new(),
        san_dns: vec!["a.example".into(), "b.example".into()],
        san_uri: Vec::new(),
        san_email: Vec::new(),
        san_ip: vec![ends().0.addr],
        is_ca: Some(false),
        path_length: None,
        is_host: true,
        is_client: false,
    }
}

fn ssh() -> Ssh {
    Ssh {
        about: about(),
        version: Some(2),
        auth_success: None,
        auth_attempts: 3,
        client: "SSH-2.0-\x1b[31mevil\\".into(),
        server: "-".into(),
        cipher_alg: "aes128-ctr".into(),
        mac_alg: String::new(),
        compression_alg: "none".into(),
        kex_alg: String::new(),
        host_key_alg: String::new(),
        host_key: "SHA256:x".into(),
        hassh: "b12d2871a1189eff20364cf5333619ee".into(),
        hassh_server: String::new(),
    }
}

fn router() -> Neighbour {
    let net = std::net::Ipv6Addr::from_bits(0x2001_0db8 << 96);
    let prefix = Prefix { net, len: 64, valid: Span::from_secs(60), is_autonomous: true };
    let router = RouterAdvertisement {
        lifetime: Span::from_secs(1800),
        prefixes: vec![prefix],
        dns: vec![net],
        ..RouterAdvertisement::default()
    };
    Neighbour {
        at: AT,
        src: ends().0.addr,
        dst: ends().1.addr,
        frame_src: Some(MacAddr([2; 6])),
        message: Discovery::RouterAdvertisement(Box::new(router)),
        interface: 0,
    }
}

fn arp() -> Arp {
    Arp {
        at: AT,
        op: ArpOp::Request,
        frame_src: MacAddr([0, 1, 2, 3, 4, 5]),
        frame_dst: MacAddr::BROADCAST,
        sender: IpAddr::from([192, 168, 1, 1]),
        sender_mac: MacAddr([0, 1, 2, 3, 4, 5]),
        target: IpAddr::from([192, 168, 1, 2]),
        target_mac: MacAddr::ZERO,
        interface: 0,
    }
}

/// One event of every kind, with as much set as there is.
fn all_kinds() -> Vec<Event> {
    let text = || "x\ty".to_owned();
    let list = || vec!["a,b".to_owned(), "c".to_owned()];
    vec![
        Event::Flow(flow()),
        Event::Dns(Box::new(dns())),
        Event::Http(Box::new(Http {
            about: about(),
            trans_depth: 1,
            method: "GET".into(),
            host: text(),
            uri: text(),
            referrer: text(),
            version: "1.1".into(),
            user_agent: text(),
            request_body_len: 0,
            response_body_len: 9,
            status_code: Some(200),
            status_msg: "OK".into(),
            resp_mime_types: list(),
            resp_fuids: list(),
            username: text(),
            orig_mime_types: list(),
            orig_fuids: list(),
            from_page: false,
        })),
        Event::Tls(Box::new(Tls {
            about: about(),
            fields: TlsFields {
                version: "TLSv13".into(),
                cipher: text(),
                curve: text(),
                server_name: text(),
                next_protocol: text(),
                subject: text(),
                issuer: text(),
                validation_status: text(),
                cert_chain_fps: list(),
                ja3: text(),
                ja3s: text(),
                ja4: text(),
                resumed: true,
                established: false,
                ..TlsFields::default()
            },
        })),
        Event::Quic(Box::new(quic())),
        Event::X509(Box::new(x509())),
        Event::Ssh(Box::new(ssh())),
        Event::Arp(arp()),
        Event::Dhcp(Box::new(Dhcp {
            at: AT,
            uids: vec!["C1".into()],
            client: Some(ends().0.addr),
            server: None,
            mac: Some(MacAddr::ZERO),
            host_name: text(),
            requested_addr: Some(ends().0.addr),
            assigned_addr: None,
            lease_time: Some(Span::from_secs(900)),
            msg_types: list(),
            ..Dhcp::default()
        })),
        Event::Smtp(Box::new(Smtp {
            about: about(),
            helo: text(),
            last_reply: text(),
            tls: true,
            subject: text(),
            fuids: list(),
        })),
        Event::Ftp(Box::new(Ftp {
            about: about(),
            user: text(),
            command: "PORT".into(),
            arg: String::new(),
            reply_code: Some(200),
            data_port: Some(20),
        })),
        Event::File(Box::new(File {
            at: AT,
            fuid: "F1".into(),
            uid: "C1".into(),
            sender: Some(ends().0.addr),
            receiver: Some(ends().1.addr),
            source: "HTTP".into(),
            mime_type: text(),
            analyzers: Vec::new(),
            md5: text(),
            sha1: text(),
            sha256: text(),
            total_bytes: Some(1),
            seen_bytes: Some(1),
            missing_bytes: None,
            ends: Some(ends()),
            is_orig: Some(false),
        })),
        Event::Software(Box::new(Software {
            at: AT,
            host: ends().0.addr,
            port: Some(80),
            software_type: "HTTP::SERVER".into(),
            name: text(),
            major: Some(1),
            minor: None,
            unparsed_version: text(),
        })),
        Event::Weird(Box::new(Weird { about: about(), name: text(), addl: text() })),
        Event::Tunnel(Box::new(Tunnel {
            about: about(),
            tunnel_type: "Tunnel::GRE".into(),
            action: "Tunnel::CLOSE".into(),
        })),
        Event::Notice(Box::new(Notice {
            at: AT,
            uid: "C1".into(),
            note: "Scan::Port_Scan".into(),
            msg: text(),
            sub: text(),
            src: Some(ends().0.addr),
            dst: Some(ends().1.addr),
            port: Some(1),
            proto: Some(Proto::Tcp),
            count: Some(15),
        })),
        Event::Login(Box::new(Login {
            about: about(),
            service: "telnet".into(),
            success: false,
            confused: true,
            user: text(),
            client_user: text(),
            password_seen: true,
            failures: 2,
        })),
        Event::Auth(Box::new(Auth {
            about: about(),
            app: App::Smb,
            user: text(),
            domain: text(),
            host: text(),
            method: text(),
            outcome: AuthOutcome::Failed,
            reason: text(),
            clear_password: false,
        })),
        Event::Operation(Box::new(Operation {
            about: about(),
            app: App::Smb,
            action: "tree_connect",
            object: text(),
            subject: text(),
            detail: text(),
            status: text(),
        })),
        Event::Neighbour(Box::new(router())),
    ]
}

/// What the logs hold after these events.
fn written(format: ZeekFormat, events: Vec<Event>) -> BTreeMap<String, String> {
    let temp = tempfile::tempdir().expect("dir");
    let dir = OutputDir::create_fresh(temp.path()).expect("dir");
    let mut sink = Box::new(ZeekLogs::create(&dir, format, LocalNets::private(), clock).expect("create"));
    sink.accept(&[Record::Events(Arc::new(events))]).expect("accept");
    sink.flush().expect("flush");
    assert_eq!(sink.lost(), 0);
    sink.close().expect("close");
    let entries = fs::read_dir(temp.path()).expect("list").map(|entry| entry.expect("entry").path());
    let logs = entries.filter(|path| path.extension().is_some_and(|e| e == "log"));
    logs.map(|path| {
        let name = path.file_stem().expect("name").to_string_lossy().into_owned();
        (name, fs::read_to_string(&path).expect("read"))
    })
    .collect()
}

fn check(event: Event, log: &str, json: &str, tsv: &str) {
    assert_eq!(written(ZeekFormat::Json, vec![event.clone()])[log].trim_end(), json);
    let written = &written(ZeekFormat::Tsv, vec![event])[log];
    assert_eq!(written.lines().find(|line| !line.starts_with('#')), Some(tsv));
}

#[test]
fn a_flow_is_a_row_of_conn_log_when_it_ends() {
    check(
        Event::Flow(flow()),
        "conn",
        r#"{"ts":1700828217.314165,"uid":"C1","id.orig_h":"192.168.1.5","id.orig_p":40000,"id.resp_h":"2001:db8::1","id.resp_p":22,"proto":"tcp","service":"ssh","duration":1.500000,"orig_bytes":2,"resp_bytes":5,"conn_state":"SF","local_orig":true,"local_resp":false,"missed_bytes":0,"history":"ShADadFf","orig_pkts":1,"orig_ip_bytes":3,"resp_pkts":4,"resp_ip_bytes":6,"ip_proto":6,"orig_l2_addr":"00:01:02:03:04:05","community_id":"1:YF1XFO+9nWwQgPRG8aEjp0ZCka8="}"#,
        "1700828217.314165\tC1\t192.168.1.5\t40000\t2001:db8::1\t22\ttcp\tssh\t1.500000\t2\t5\tSF\tT\tF\t0\tShADadFf\t1\t3\t4\t6\t-\t6\t00:01:02:03:04:05\t-\t-\t1:YF1XFO+9nWwQgPRG8aEjp0ZCka8=",
    );
    let mut single = flow();
    (single.duration, single.proto) = (None, Proto::Other(47));
    let json = &written(ZeekFormat::Json, vec![Event::Flow(single)])["conn"];
    assert!(!json.contains("orig_bytes") && json.contains(r#""proto":"unknown_transport""#), "{json}");
    let phases = [Phase::Start, Phase::Established, Phase::Update].map(|phase| Flow { phase, ..flow() });
    assert_eq!(written(ZeekFormat::Json, phases.map(Event::Flow).into()), BTreeMap::new());
}

#[test]
fn dns_arp_and_ssh_look_as_zeek_writes_them() {
    check(
        Event::Dns(Box::new(dns())),
        "dns",
        r#"{"ts":1700828217.314165,"uid":"CHhAvVGS1DHFjwGM9","id.orig_h":"192.168.1.5","id.orig_p":40000,"id.resp_h":"2001:db8::1","id.resp_p":22,"proto":"udp","trans_id":7,"rtt":0.001612,"query":"a,b\t.example","qclass":1,"qclass_name":"C_INTERNET","qtype":1,"qtype_name":"A","rcode":0,"rcode_name":"NOERROR","AA":false,"TC":false,"RD":true,"RA":true,"Z":0,"answers":["c.example","192.0.2.9","TXT 3 a,b"],"TTLs":[60.000000,8.000000,0.000000],"rejected":false}"#,
        "1700828217.314165\tCHhAvVGS1DHFjwGM9\t192.168.1.5\t40000\t2001:db8::1\t22\tudp\t7\t0.001612\ta,b\\x09.example\t1\tC_INTERNET\t1\tA\t0\tNOERROR\tF\tF\tT\tT\t0\tc.example,192.0.2.9,TXT 3 a\\x2cb\t60.000000,8.000000,0.000000\tF\t-\t-",
    );
    check(
        Event::Ssh(Box::new(ssh())),
        "ssh",
        r#"{"ts":1700828217.314165,"uid":"CHhAvVGS1DHFjwGM9","id.orig_h":"192.168.1.5","id.orig_p":40000,"id.resp_h":"2001:db8::1","id.resp_p":22,"version":2,"auth_attempts":3,"direction":"OUTBOUND","client":"SSH-2.0-\u001b[31mevil\\","server":"-","cipher_alg":"aes128-ctr","compression_alg":"none","host_key_fingerprint":"SHA256:x","hassh":"b12d2871a1189eff20364cf5333619ee"}"#,
        "1700828217.314165\tCHhAvVGS1DHFjwGM9\t192.168.1.5\t40000\t2001:db8::1\t22\t2\t-\t3\tOUTBOUND\tSSH-2.0-\\x1b[31mevil\\x5c\t\\x2d\taes128-ctr\t-\tnone\t-\t-\tSHA256:x\tb12d2871a1189eff20364cf5333619ee\t-",
    );
    check(
        Event::Arp(arp()),
        "arp",
        r#"{"ts":1700828217.314165,"operation":"request","src_mac":"00:01:02:03:04:05","dst_mac":"ff:ff:ff:ff:ff:ff","orig_h":"192.168.1.1","resp_h":"192.168.1.2","orig_hw":"00:01:02:03:04:05","resp_hw":"00:00:00:00:00:00"}"#,
        "1700828217.314165\trequest\t00:01:02:03:04:05\tff:ff:ff:ff:ff:ff\t192.168.1.1\t192.168.1.2\t00:01:02:03:04:05\t00:00:00:00:00:00",
    );
}

#[test]
fn quic_and_certificates_look_as_zeek_writes_them() {
    check(
        Event::Quic(Box::new(Quic { client_scid: Some(String::new()), ..quic() })),
        "quic",
        r#"{"ts":1700828217.314165,"uid":"CHhAvVGS1DHFjwGM9","id.orig_h":"192.168.1.5","id.orig_p":40000,"id.resp_h":"2001:db8::1","id.resp_p":22,"version":"1","client_initial_dcid":"8394c8f03e515708","client_scid":"","server_name":"host.example","client_protocol":"h3","history":"ISishH"}"#,
        "1700828217.314165\tCHhAvVGS1DHFjwGM9\t192.168.1.5\t40000\t2001:db8::1\t22\t1\t8394c8f03e515708\t(empty)\t-\thost.example\th3\tISishH",
    );
    check(
        Event::X509(Box::new(x509())),
        "x509",
        r#"{"ts":1700828217.314165,"fingerprint":"ab","certificate.version":3,"certificate.serial":"01","certificate.subject":"CN=a,O=b","certificate.issuer":"CN=c","certificate.not_valid_before":1700828217.314165,"certificate.key_alg":"rsaEncryption","certificate.sig_alg":"sha256WithRSAEncryption","certificate.key_type":"rsa","certificate.key_length":2048,"certificate.exponent":"65537","san.dns":["a.example","b.example"],"san.ip":["192.168.1.5"],"basic_constraints.ca":false,"host_cert":true,"client_cert":false}"#,
        "1700828217.314165\tab\t3\t01\tCN=a,O=b\tCN=c\t1700828217.314165\t-\trsaEncryption\tsha256WithRSAEncryption\trsa\t2048\t65537\t-\ta.example,b.example\t-\t-\t192.168.1.5\tF\t-\tT\tF",
    );
}

#[test]
fn both_formats_say_the_same_for_every_kind_of_event() {
    let json = written(ZeekFormat::Json, all_kinds());
    let tsv = written(ZeekFormat::Tsv, all_kinds());
    let mut names = LogKind::NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(json.keys().collect::<Vec<_>>(), names);
    for (name, text) in &tsv {
        let header = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split('\t').skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(header("#path"), [name.as_str()]);
        let row = text.lines().find(|line| !line.starts_with('#')).expect("row");
        let values: Vec<_> = row.split('\t').collect();
        let (fields, types) = (header("#fields"), header("#types"));
        assert_eq!((values.len(), types.len()), (fields.len(), fields.len()), "{name}");
        let object: BTreeMap<String, serde_json::Value> =
            serde_json::from_str(&json[name]).expect("one JSON object");
        let set = fields.iter().zip(&values).filter(|(_, value)| **value != "-");
        let mut seen = 0;
        for (field, value) in set {
            let as_tsv = match &object[field] {
                serde_json::Value::Bool(flag) => (if *flag { "T" } else { "F" }).into(),
                serde_json::Value::Array(items) if items.is_empty() => "(empty)".into(),
                serde_json::Value::Array(items) => items.iter().map(tsv_of).collect::<Vec<_>>().join(","),
                serde_json::Value::String(text) => escaped(text, false),
                other => tsv_of(other),
            };
            // Numbers lose trailing zeros on their way through a float.
            let same = as_tsv == *value || as_tsv.parse::<f64>().ok().is_some_and(|n| value.parse() == Ok(n));
            assert!(same, "{name} {field}: {as_tsv} {value}");
            seen += 1;
        }
        assert_eq!(seen, object.len(), "{name}: {row}");
    }
}

fn tsv_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => escaped(text, true),
        other => other.as_f64().map(|n| format!("{n:.6}")).unwrap_or_default(),
    }
}

fn escaped(text: &str, list: bool) -> String {
    let mut safe = text.replace('\\', "\\x5c").replace('\t', "\\x09").replace('\x1b', "\\x1b");
    if list {
        safe = safe.replace(',', "\\x2c");
    }
    if safe == "-" { "\\x2d".into() } else { safe }
}

#[test]
fn headers_and_footers_are_dated() {
    let tsv = &written(ZeekFormat::Tsv, vec![Event::Arp(arp()), Event::Tick(AT), Event::Arp(arp())])["arp"];
    assert!(tsv.starts_with("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tarp\n#open\t2023-11-24-12-18-20\n#fields\tts\toperation\t"), "{tsv}");
    assert!(tsv.ends_with("\n#close\t2023-11-24-12-18-20\n"), "{tsv}");
    assert_eq!(tsv.lines().filter(|line| line.starts_with('#')).count(), 9);
}

#[test]
fn own_logs_make_way_and_logs_of_somebody_else_are_refused() {
    let temp = tempfile::tempdir().expect("dir");
    let dir = OutputDir::create_fresh(temp.path()).expect("dir");
    let create = || ZeekLogs::create(&dir, ZeekFormat::Json, LocalNets::private(), clock);
    let conn = temp.path().join("conn.log");
    fs::write(&conn, "Zeek's own").expect("write");
    let error = create().expect_err("foreign");
    assert!(error.to_string().contains("conn.log was not written by slips"), "{error}");
    fs::remove_file(&conn).expect("remove");
    create().expect("create");
    fs::write(&conn, "ours").expect("write");
    create().expect("again");
    assert!(!conn.exists());
    assert_eq!(fs::read_to_string(temp.path().join("conn.log.1")).expect("kept"), "ours");
}

#[test]
fn a_directory_that_vanished_costs_rows_not_the_sink() {
    let temp = tempfile::tempdir().expect("dir");
    let dir = OutputDir::create_fresh(temp.path().join("logs")).expect("dir");
    let mut sink = ZeekLogs::create(&dir, ZeekFormat::Json, LocalNets::private(), clock).expect("create");
    fs::remove_dir_all(dir.path()).expect("remove");
    let one = [Record::Events(Arc::new(vec![Event::Arp(arp())]))];
    let error = sink.accept(&one).expect_err("nowhere to write");
    assert!(error.to_string().contains("arp.log"), "{error}");
    assert_eq!(sink.lost(), 1);
    fs::create_dir(dir.path()).expect("again");
    sink.accept(&one).expect("accept");
    sink.flush().expect("flush");
    assert_eq!(fs::read_to_string(dir.path().join("arp.log")).expect("read").lines().count(), 1);
}
