//! How fast finite inputs are read: rows of conn.log in both formats, and packets of a capture without the sensor.
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

fn read_log(bytes: &[u8], events: &mut Vec<Event>) -> u64 {
    let reader: Box<dyn Read + Send> = Box::new(Cursor::new(bytes.to_vec()));
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
    for (name, bytes) in [("conn.log TSV", tsv()), ("conn.log JSON", json())] {
        assert_eq!(read_log(&bytes, &mut events), ROWS as u64);
        group.bench_function(name, |bencher| bencher.iter(|| read_log(&bytes, &mut events)));
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
