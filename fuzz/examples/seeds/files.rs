//! Seeds of the file readers.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use slips_fuzz::wire::{ipv4, udp};

use crate::{Seeds, talk};

fn words16(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn words32(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn packet() -> Vec<u8> {
    ipv4([10, 0, 0, 1], [192, 0, 2, 9], 17, &udp((4000, 53), &talk::question(b"\x01a\x00", 1)))
}

fn classic(magic: u32, order: fn(&[u32]) -> Vec<u8>) -> Vec<u8> {
    let packet = packet();
    let length = packet.len() as u32;
    let mut file = order(&[magic, 0x0004_0002, 0, 0, 65_535, 101]);
    for n in 0..3 {
        file.extend(order(&[1_700_000_000 + n, 5, length, length]));
        file.extend(&packet);
    }
    file
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = body.len() as u32 + 12;
    [words32(&[kind, length]), body, words32(&[length])].concat()
}

pub fn captures() -> Seeds {
    let big = |values: &[u32]| values.iter().flat_map(|value| value.to_be_bytes()).collect();
    let packet = packet();
    let length = packet.len() as u32;
    let ng = [
        block(0x0a0d_0d0a, &[words32(&[0x1a2b_3c4d, 1]), vec![0xff; 8]].concat()),
        block(
            1,
            &[&words16(&[101, 0])[..], &words32(&[0]), &words16(&[9, 1]), &[9, 0, 0, 0], &words16(&[0, 0])]
                .concat(),
        ),
        block(6, &[words32(&[0, 0x17_979c, 0xfe36_2a00, length, length]), packet.clone()].concat()),
        block(5, &words32(&[0, 0, 0])),
        block(3, &[words32(&[length]), packet.clone()].concat()),
        block(2, &[words32(&[0, 0x17_979c, 0xfe36_2a00, length, length]), packet].concat()),
    ]
    .concat();
    let small = classic(0xa1b2_c3d4, words32);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&small).expect("memory takes what is written");
    vec![
        classic(0xa1b2_3c4d, words32),
        classic(0xa1b2_c3d4, big),
        gzip.finish().expect("memory takes what is written"),
        small,
        ng,
    ]
}

pub fn zeek() -> Seeds {
    let log = |path: &str, fields: &str, types: &str, row: &str| {
        let head = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n";
        let tabs = |text: &str| text.replace(' ', "\t");
        format!(
            "{head}#path\t{path}\n#fields\t{}\n#types\t{}\n{}\n#close\t2024\n",
            tabs(fields),
            tabs(types),
            tabs(row)
        )
        .into_bytes()
    };
    let ends = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p";
    let end_types = "time string addr port addr port";
    let end = "1700000000.5 C1 10.0.0.1 4000 192.0.2.9 53";
    let one = |path: &str, fields: &str, types: &str, row: &str| {
        log(path, &format!("{ends} {fields}"), &format!("{end_types} {types}"), &format!("{end} {row}"))
    };
    let json = |text: &str| {
        format!("{{\"ts\":1700000000.5,\"uid\":\"C1\",\"id.orig_h\":\"10.0.0.1\",\"id.orig_p\":4000,\"id.resp_h\":\"192.0.2.9\",\"id.resp_p\":53,{text}}}\n").into_bytes()
    };
    vec![
        one("conn", "proto service duration orig_bytes resp_bytes conn_state history orig_pkts resp_pkts", "enum string interval count count string string count count", "tcp http 0.1 5 6 SF ShADadFf 5 4"),
        one("dns", "proto trans_id query qtype qtype_name rcode answers TTLs rejected", "enum count string count string count vector[string] vector[interval] bool", "udp 7 a.example 1 A 0 192.0.2.1,b 60.0,1.0 F"),
        one("http", "method host uri user_agent status_code resp_fuids resp_mime_types", "string string string string count vector[string] vector[string]", "GET a /b\\x20c x 200 F1 text/html"),
        one("ssl", "version cipher server_name resumed established cert_chain_fps", "string string string bool bool vector[string]", "TLSv12 X a.example F T a,b"),
        one("ssh", "version auth_success auth_attempts client server", "count bool count string string", "2 T 1 a b"),
        one("ftp", "user command reply_code", "string string count", "a RETR 226"),
        one("smtp", "helo last_reply", "string string", "a 250"),
        log("arp", "ts operation src_mac dst_mac orig_h resp_h orig_hw resp_hw", "time string string string addr addr string string", "1.0 request 02:00:00:00:00:01 ff:ff:ff:ff:ff:ff 10.0.0.1 10.0.0.2 02:00:00:00:00:01 00:00:00:00:00:00"),
        json("\"proto\":\"tcp\",\"conn_state\":\"S0\",\"history\":\"S\",\"orig_pkts\":1,\"resp_pkts\":0,\"duration\":1e-3"),
        json("\"_path\":\"dns\",\"proto\":\"udp\",\"query\":\"a\\u00e9\\ud83d\\ude00\",\"answers\":[\"b\",\"c\"],\"TTLs\":[1.0,2.0],\"rejected\":false"),
        json("\"note\":\"SSH::Password_Guessing\",\"msg\":\"x\",\"actions\":[]"),
        b"{\"ts\":1.5,\"uids\":[\"C1\"],\"client_addr\":\"10.0.0.5\",\"mac\":\"02:00:00:00:00:01\",\"msg_types\":[\"ACK\"]}\n".to_vec(),
    ]
}

pub fn suricata() -> Seeds {
    let event = |kind: &str, rest: &str| {
        format!(
            "{{\"timestamp\":\"2024-01-02T03:04:05.678901+0100\",\"flow_id\":7,\"event_type\":\"{kind}\",\
             \"src_ip\":\"10.0.0.1\",\"src_port\":4000,\"dest_ip\":\"192.0.2.9\",\"dest_port\":80,\"proto\":\"TCP\",{rest}}}\n"
        )
        .into_bytes()
    };
    let events = [
        event(
            "flow",
            "\"app_proto\":\"http\",\"flow\":{\"pkts_toserver\":5,\"pkts_toclient\":4,\"bytes_toserver\":500,\"bytes_toclient\":400,\"start\":\"2024-01-02T03:04:04.000000+0100\",\"end\":\"2024-01-02T03:04:05.000000+0100\",\"state\":\"closed\"},\"tcp\":{\"tcp_flags_ts\":\"1b\",\"tcp_flags_tc\":\"1b\",\"syn\":true,\"fin\":true,\"ack\":true}",
        ),
        event(
            "dns",
            "\"dns\":{\"version\":2,\"type\":\"answer\",\"id\":7,\"rrname\":\"a\",\"rrtype\":\"A\",\"rcode\":\"NOERROR\",\"answers\":[{\"rrname\":\"a\",\"rrtype\":\"A\",\"ttl\":60,\"rdata\":\"192.0.2.1\"}]}",
        ),
        event(
            "http",
            "\"tx_id\":0,\"http\":{\"hostname\":\"a\",\"url\":\"/\",\"http_user_agent\":\"x\",\"http_method\":\"GET\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"length\":5}",
        ),
        event(
            "tls",
            "\"tls\":{\"subject\":\"CN=a\",\"issuerdn\":\"CN=b\",\"sni\":\"a\",\"version\":\"TLS 1.2\",\"ja3\":{\"hash\":\"00\"}}",
        ),
        event(
            "alert",
            "\"alert\":{\"action\":\"allowed\",\"gid\":1,\"signature_id\":2,\"rev\":1,\"signature\":\"x\",\"category\":\"y\",\"severity\":1}",
        ),
        event(
            "ssh",
            "\"ssh\":{\"client\":{\"proto_version\":\"2.0\",\"software_version\":\"a\"},\"server\":{\"proto_version\":\"2.0\",\"software_version\":\"b\"}}",
        ),
        event("smtp", "\"smtp\":{\"helo\":\"a\",\"mail_from\":\"b\"}"),
        event(
            "fileinfo",
            "\"fileinfo\":{\"filename\":\"/a\",\"md5\":\"00\",\"size\":5,\"state\":\"CLOSED\"}",
        ),
        event(
            "dhcp",
            "\"dhcp\":{\"type\":\"reply\",\"client_mac\":\"02:00:00:00:00:01\",\"assigned_ip\":\"10.0.0.5\",\"dhcp_type\":\"ack\",\"hostname\":\"a\"}",
        ),
        event("quic", "\"quic\":{\"version\":\"1\",\"sni\":\"a\",\"ja3\":{\"hash\":\"00\",\"string\":\"\"}}"),
        event("stats", "\"stats\":{\"uptime\":1}"),
    ];
    let all = events.concat();
    events.into_iter().chain([all]).collect()
}

pub fn argus() -> Seeds {
    vec![
        b"StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,Label\n\
          2011/08/10 09:46:59.607825,1.026539,tcp,10.0.0.1,1577,   ->,192.0.2.9,80,S_RA,0,0,4,276,156,flow=x\n\
          2011/08/10 09:46:59.7,0.1,udp,10.0.0.1,1577,  <->,192.0.2.9,53,CON,0,0,2,200,80,flow=y\n"
            .to_vec(),
        b"StartTime\tLastTime\tProto\tSrcAddr\tSport\tDir\tDstAddr\tDport\tState\tSrcPkts\tDstPkts\tSrcBytes\tDstBytes\n\
          1312962419.6\t1312962420.1\ticmp\t10.0.0.1\t0x0008\t<->\t192.0.2.9\t0x0000\tECO\t1\t1\t98\t98\n\
          09:46:59.6\t09:46:59.7\tarp\t10.0.0.1\t\twho\t10.0.0.2\t\tCON\t1\t1\t42\t42\n"
            .to_vec(),
    ]
}

/// A block of records: count, size, kind, flags, then records with their kind (or type) and length in front.
fn records(kind: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let body = records.concat();
    [words32(&[records.len() as u32, body.len() as u32]), words16(&[kind, 0]), body].concat()
}

pub fn nfdump() -> Seeds {
    let first = |reverse: bool| {
        let (ports, from, to) = if reverse { ([80, 4000], 9, 1) } else { ([4000, 80], 1, 9) };
        let mut record = words16(&[10, 80, 2, 3, 5, 6]);
        record.extend(words32(&[1_700_000_000, 1_700_000_001]));
        record.extend([0, 0x1b, 6, 0]);
        record.extend(words16(&[ports[0], ports[1], 0, 0]));
        record.extend(words32(&[from, to]));
        record.extend(5u64.to_le_bytes());
        record.extend(words32(&[500, 7, 8, 0, 0, 0, 0]));
        record.resize(80, 0);
        record
    };
    let mut v1 = words16(&[0xa50c, 1]);
    v1.extend(words32(&[0, 1]));
    v1.resize(276, 0);
    v1.extend(records(2, &[words16(&[2, 16, 3, 24, 5, 15, 17, 0]), first(false), first(true)]));
    let second = |reverse: bool| {
        let (ports, from, to) = if reverse { ([80, 4000], 9, 1) } else { ([4000, 80], 1, 9) };
        let mut record = words16(&[11, 84, 3, 0, 0, 0, 4, 8, 0, 0, 1, 52]);
        for value in [1_700_000_000_000u64, 1_700_000_001_000, 0, 5, 500] {
            record.extend(value.to_le_bytes());
        }
        record.extend(words16(&[ports[0], ports[1]]));
        record.extend([6, 0x1b, 0, 0]);
        record.extend(words16(&[2, 12]));
        record.extend(words32(&[from, to]));
        record.resize(84, 0);
        record
    };
    let mut v2 = words16(&[0xa50c, 2]);
    v2.resize(36, 0);
    v2.extend(words32(&[1]));
    v2.extend(records(3, &[words16(&[7, 8, 0, 0]), second(false), second(true)]));
    vec![v1, v2]
}

pub fn filters() -> Seeds {
    let texts = [
        "host 10.0.0.1",
        "src net 10.0.0.0/8 and not dst port 443",
        "ip6 and udp port 53 or arp",
        "vlan 7 and (tcp portrange 1-1023 || icmp6)",
        "src and dst net 2001:db8::/32",
        "ether host 02:00:00:00:00:01 and less 100",
        "!(udp || icmp) && port 443",
        "ip proto 6 or proto tcp or greater 40",
        "src or dst host 192.0.2.9",
        "net 172.16",
        "port http",
    ];
    let frame = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], &packet()].concat();
    texts.iter().map(|text| [text.as_bytes(), b"\n", &frame].concat()).collect()
}
