//! How many flow rows a second one core stores, what relabelling them costs, and how soon the flows of one address are found:
//! `cargo run --release -p slips-store --example flow_rows [FLOWS] [DIR] [RECORDS] [MEGABYTES]`, with a DNS record beside each RECORDS-th flow (0: none) and in so many megabytes at most.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and prints"
)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slips_core::alert::{Alert, AlertId, Cause};
use slips_core::event::{About, Dns, DnsAnswer, DnsData, DnsFlags, Event};
use slips_core::evidence::{Confidence, Evidence, EvidenceKind, Finding, Proof};
use slips_core::flow::{ConnState, Endpoint, Flow, Proto, Volume};
use slips_core::record::Record;
use slips_core::time::{PacketTime, Span, WindowId};
use slips_store::read::{FlowQuery, Order, Page};
use slips_store::{Keep, RecordSink, Sqlite, SqliteLimits, Stories};

const BATCH: u64 = 1024;

fn flow(n: u64) -> Flow {
    let at = |addr: u64, port| Endpoint { addr: IpAddr::from((addr as u32).to_be_bytes()), port };
    // Spread as in traffic: few local hosts, many remote ones, random uids.
    let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut flow = Flow::new(
        PacketTime(1_700_000_000_000_000 + n as i64 * 100),
        if n.is_multiple_of(3) { Proto::Udp } else { Proto::Tcp },
        at(0xc0a8_0100 | random & 0x3f, 32_768 | random as u16),
        at(random >> 32, if n.is_multiple_of(2) { 443 } else { 53 }),
    );
    flow.uid = format!("C{:017x}", random as u128 * 0xfff).get(..18).unwrap_or_default().into();
    flow.duration = Some(Span((random & 0xff_ffff) as i64));
    flow.state = if n.is_multiple_of(5) { ConnState::S0 } else { ConnState::SF };
    flow.history = "ShADadFf".into();
    flow.service = if n.is_multiple_of(2) { "ssl".into() } else { "dns".into() };
    flow.orig = Volume { pkts: random & 0xff, bytes: random & 0xffff, ip_bytes: random & 0xf_ffff };
    flow.resp = Volume { pkts: random & 0x3ff, bytes: random & 0xff_ffff, ip_bytes: random & 0xff_ffff };
    flow
}

/// An alert that names 64 flows spread over all that there are.
fn alert(flows: u64) -> Alert {
    let attacker = IpAddr::from([192, 0, 2, 1]);
    let (window, at) = (WindowId(0), PacketTime(0));
    let mut finding = Finding::new(EvidenceKind::VerticalPortScan, attacker, window, at);
    finding.uids = (0..64).map(|n| flow(n * flows / 64).uid).collect();
    let evidence = Evidence {
        id: finding.id(),
        finding,
        last_seen: at,
        count: 1,
        accumulated: 0.0,
        proven: 0.0,
        revision: 0,
    };
    Alert {
        id: AlertId::derive(attacker, window, 0),
        attacker,
        window,
        window_start: at,
        window_end: at,
        at,
        cause: Cause::Accumulated,
        accumulated: 15.0,
        confidence: Confidence::FULL,
        proof: Proof::Proven,
        in_conversation: false,
        near_conversation: false,
        attacker_is_local: false,
        evidence: vec![Arc::new(evidence)],
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let flows: u64 = args.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let temp = tempfile::tempdir()?;
    let dir: PathBuf = args.next().map_or(temp.path().to_owned(), Into::into);
    let records: u64 = args.next().map_or(Ok(0), |text| text.parse())?;
    let bytes =
        args.next().map(|text| text.parse::<u64>()).transpose()?.map(|megabytes| megabytes * 1_000_000);
    let limits = SqliteLimits { keep: Keep { bytes, ..Keep::default() }, ..SqliteLimits::default() };
    let mut sink = Box::new(Sqlite::open(dir.join("flows.sqlite"), limits, || 0)?);
    let (mut busy, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for first in (0..flows).step_by(BATCH as usize) {
        let events = |n: u64| {
            let flow = flow(n);
            let dns = (records > 0 && n.is_multiple_of(records)).then(|| dns(&flow));
            [dns, Some(Event::Flow(flow))].into_iter().flatten()
        };
        let batch = (first..(first + BATCH).min(flows)).flat_map(events).collect();
        let batch = [Record::Events(Arc::new(batch))];
        let start = Instant::now();
        sink.accept(&batch)?;
        let took = start.elapsed();
        (busy, slowest) = (busy + took, slowest.max(took));
    }
    println!("the slowest batch of {BATCH} took {:.0} ms", slowest.as_secs_f64() * 1e3);
    // The worst case: an alert whose window holds every flow stored.
    sink.flush()?;
    sink.accept(&[Record::Alert(Arc::new(alert(flows)))])?;
    let start = Instant::now();
    sink.flush()?;
    println!("relabelling 64 of {flows} flows: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let start = Instant::now();
    sink.close()?;
    busy += start.elapsed();
    let size = std::fs::metadata(dir.join("flows.sqlite"))?.len();
    println!(
        "{flows} flows in {:.2} s: {:.0} rows/s, {} bytes a row",
        busy.as_secs_f64(),
        flows as f64 / busy.as_secs_f64(),
        size / flows.max(1)
    );
    ask(&dir, flows)
}

fn dns(flow: &Flow) -> Event {
    let about = About {
        at: flow.start,
        uid: flow.uid,
        src: flow.src,
        dst: flow.dst,
        proto: flow.proto,
        interface: 0,
        heard: true,
        tunnelled: false,
        src_mac: None,
    };
    Event::Dns(Box::new(Dns {
        about,
        trans_id: flow.src.port,
        rtt: Some(Span(20_000)),
        query: format!("host-{}.example.net", flow.src.port),
        qclass: 1,
        qtype: 1,
        rcode: Some(0),
        flags: DnsFlags { aa: false, tc: false, rd: true, ra: true, z: 0 },
        answers: vec![DnsAnswer { data: DnsData::Addr(flow.dst.addr), ttl: Some(300) }],
        rejected: false,
    }))
}

/// Pages of 100 flows, each asked for a few times: of an address that is seen once and of one in 64, the newest and one hour back.
fn ask(dir: &Path, flows: u64) -> Result<(), Box<dyn std::error::Error>> {
    let stories = Stories::open(dir.join("flows.sqlite"))?;
    let middle = flow(flows / 2);
    let all = FlowQuery::default();
    let until = Some(middle.start + Span(3_600_000_000));
    let window = FlowQuery { since: Some(middle.start), until, ..all };
    let oldest = FlowQuery { order: Order::Oldest, ..window };
    for (what, ask) in [
        ("an address that is seen once", middle.dst.addr, all),
        ("one that is not there", IpAddr::from([255, 0, 0, 1]), all),
        ("a busy one, the newest", middle.src.addr, all),
        ("a busy one, the newest of an hour", middle.src.addr, window),
        ("a busy one, the oldest of an hour", middle.src.addr, oldest),
    ]
    .map(|(what, addr, ask)| (what, FlowQuery { profile: Some(addr), ..ask }))
    .into_iter()
    .chain([("whoever, the newest of an hour", window), ("whoever, the oldest of an hour", oldest)])
    {
        let (mut slowest, mut quickest, mut rows) = (Duration::ZERO, Duration::MAX, 0);
        for _ in 0..20 {
            let start = Instant::now();
            rows = stories.flows(&ask, Page::default())?.rows.len();
            let took = start.elapsed();
            (slowest, quickest) = (slowest.max(took), quickest.min(took));
        }
        let millis = |took: Duration| took.as_secs_f64() * 1e3;
        println!("{what}: {rows} flows in {:.2} ms, at most {:.2} ms", millis(quickest), millis(slowest));
    }
    Ok(())
}
