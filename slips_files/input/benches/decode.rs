//! How fast finite inputs are read: rows of conn.log in both formats, Suricata's events, and packets of a capture without the sensor.
//!
//!     cargo bench -p slips-input --bench decode

use std::fmt::Write;
use std::hint::black_box;
use std::io::{Cursor, Read};
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slips_core::event::Event;
use slips_input::{CaptureFile, OpenOptions, open_stream};

const ROWS: usize = 50_000;

fn tsv() -> Vec<u8> {
    let mut text = String::from(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n",
    );
    text += "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\t\
             resp_bytes\tconn_state\tlocal_orig\tlocal_resp\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\t\
             resp_pkts\tresp_ip_bytes\n";
    for n in 0..ROWS {
        let _ = writeln!(
            text,
            "{}.{:06}\tCHSgS3a9yRL8{n:06}\t192.168.{}.{}\t{}\t45.150.{}.156\t443\ttcp\tssl\t12.004717\t{n}\t54\tSF\tT\tF\t0\tShADadFf\t10\t780\t12\t{}",
            1_699_999_202 + n / 100,
            n % 1_000_000,
            n % 4,
            n % 250,
            1024 + n % 60_000,
            n % 200,
            n * 3
        );
    }
    text.into_bytes()
}

fn json() -> Vec<u8> {
    let mut text = String::new();
    for n in 0..ROWS {
        let _ = writeln!(
            text,
            r#"{{"ts":{}.{:06},"uid":"CHSgS3a9yRL8{n:06}","id.orig_h":"192.168.{}.{}","id.orig_p":{},"id.resp_h":"45.150.{}.156","id.resp_p":443,"proto":"tcp","service":"ssl","duration":12.004717,"orig_bytes":{n},"resp_bytes":54,"conn_state":"SF","local_orig":true,"local_resp":false,"missed_bytes":0,"history":"ShADadFf","orig_pkts":10,"orig_ip_bytes":780,"resp_pkts":12,"resp_ip_bytes":{}}}"#,
            1_699_999_202 + n / 100,
            n % 1_000_000,
            n % 4,
            n % 250,
            1024 + n % 60_000,
            n % 200,
            n * 3
        );
    }
    text.into_bytes()
}

/// Suricata's events in the mix of an ordinary network: six flows to two questions with their answers and two others.
fn eve() -> Vec<u8> {
    let mut text = String::new();
    for n in 0..ROWS {
        let at = format!("2021-06-{:02}T15:{:02}:{:02}.457984+0200", 1 + n / 20_000, n / 60 % 60, n % 60);
        let ends = format!(
            r#""src_ip":"192.168.{}.{}","src_port":{},"dest_ip":"45.150.{}.156","dest_port":443"#,
            n % 4,
            n % 250,
            1024 + n % 60_000,
            n % 200
        );
        let head =
            format!(r#"{{"timestamp":"{at}","flow_id":13741955368{n:05},"in_iface":"eth0","event_type""#);
        let _ = match n % 10 {
            0..6 => writeln!(
                text,
                r#"{head}:"flow",{ends},"proto":"TCP","app_proto":"tls","flow":{{"pkts_toserver":10,"pkts_toclient":12,"bytes_toserver":{},"bytes_toclient":5321,"start":"{at}","end":"{at}","age":12,"state":"closed","reason":"timeout","alerted":false}},"community_id":"1:HWtYxeS9v/BrFH08/XL4wX0u8JY=","tcp":{{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed","ts_max_regions":1,"tc_max_regions":1}}}}"#,
                1000 + n
            ),
            6 => writeln!(
                text,
                r#"{head}:"dns",{ends},"proto":"UDP","dns":{{"type":"query","id":{},"rrname":"host{n}.example.com","rrtype":"A","tx_id":0,"opcode":0}}}}"#,
                n % 65_536
            ),
            7 => writeln!(
                text,
                r#"{head}:"dns",{ends},"proto":"UDP","dns":{{"version":2,"type":"answer","id":{},"flags":"8180","qr":true,"rd":true,"ra":true,"opcode":0,"rrname":"host{n}.example.com","rrtype":"A","rcode":"NOERROR","answers":[{{"rrname":"host{n}.example.com","rrtype":"CNAME","ttl":60,"rdata":"edge.example.net"}},{{"rrname":"edge.example.net","rrtype":"A","ttl":60,"rdata":"45.150.1.2"}}],"grouped":{{"CNAME":["edge.example.net"],"A":["45.150.1.2"]}}}}}}"#,
                n % 65_536
            ),
            8 => writeln!(
                text,
                r#"{head}:"http",{ends},"proto":"TCP","tx_id":0,"http":{{"hostname":"www.example.com","http_port":80,"url":"/index.html","http_user_agent":"Mozilla/5.0 (Windows NT 6.1; WOW64)","http_content_type":"text/html","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":4711}}}}"#
            ),
            _ => writeln!(
                text,
                r#"{head}:"tls",{ends},"proto":"TCP","tls":{{"subject":"CN=www.example.com","issuerdn":"C=BE, O=An authority, CN=Its name","serial":"17:8E:1E:D7","fingerprint":"2d:d1:9f:80:99:86:fc:ac:5f:2a:2a:fd:a3:f3:7e:96:7c:dd:24:37","sni":"www.example.com","version":"TLS 1.2","notbefore":"2020-03-19T09:44:08","notafter":"2022-03-20T09:44:08","ja3":{{"hash":"b7202231ff2db28363c109cedc6d1642","string":"770,51-57-69-136-22-53-132-47-65-10-5-4,0,,"}},"ja3s":{{"hash":"ad90cab724fafab2660fbf61673c91a9","string":"770,51,0"}}}}}}"#
            ),
        };
    }
    text.into_bytes()
}

fn pcap() -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for n in 0..ROWS as u32 {
        let length = 60 + n % 1400;
        for number in [1_700_000_000 + n / 1000, n % 1_000_000, length, length] {
            file.extend(number.to_le_bytes());
        }
        file.resize(file.len() + length as usize, 0x55);
    }
    file
}

fn read_log(bytes: &'static [u8], events: &mut Vec<Event>) -> u64 {
    let reader: Box<dyn Read + Send> = Box::new(Cursor::new(bytes));
    let Ok(mut source) = open_stream(Path::new("bench"), reader, &OpenOptions::default()) else { return 0 };
    loop {
        events.clear();
        match source.next_batch(events) {
            Ok(true) => {
                black_box(&events);
            }
            _ => return source.report().records,
        }
    }
}

fn read_capture(path: &Path) -> u64 {
    let Ok(mut file) = CaptureFile::open(path, &OpenOptions::default()) else { return 0 };
    while let Ok(Some(packet)) = file.next_packet() {
        black_box(packet);
    }
    file.report().records
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
    let mut events = Vec::new();
    for (name, bytes) in [("conn.log TSV", tsv()), ("conn.log JSON", json()), ("eve.json", eve())] {
        let bytes: &'static [u8] = bytes.leak();
        assert_eq!(read_log(bytes, &mut events), ROWS as u64);
        group.bench_function(name, |bencher| bencher.iter(|| read_log(bytes, &mut events)));
    }
    let Ok(directory) = tempfile::tempdir() else { return };
    let path = directory.path().join("capture");
    if std::fs::write(&path, pcap()).is_err() {
        return;
    }
    assert_eq!(read_capture(&path), ROWS as u64);
    group.bench_function("pcap", |bencher| bencher.iter(|| read_capture(&path)));
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
