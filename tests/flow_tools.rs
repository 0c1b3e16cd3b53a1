//! Other programs' flows against our own: Suricata, nfdump, Argus and softflowd from Debian read the captures of the corpora here, and what
//! we read of theirs is what our sensor tells, up to the differences that are listed. A program that is not installed is told by name.

#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::daemon::Daemon;
use common::flows::{Stored, stored};
use common::{analyze, corpora, write};

/// Captures over Ethernet without VLAN tags: other exporters count bytes of the link, too.
const CAPTURES: &[&str] = &[
    "zeek/http__get",
    "zeek/ssh__ssh",
    "zeek/ftp__bruteforce",
    "zeek/krb__kinit",
    "zeek/http__methods",
    "malware/caldera-ragdoll",
    "synthetic/clean-session",
    "synthetic/vertical-scan-rst",
    "slips/test7-malicious",
];

/// Where the state of a flow differs, and why.
const STATES: &[(&str, &str, &str, &str)] = &[
    // (capture, our state, theirs, why)
    ("zeek/ssh__ssh", "SF", "OTH", "begins within a connection, of which Suricata notes no flags"),
    (
        "slips/test7-malicious",
        "S0",
        "SF",
        "an error of ICMP is counted as the answer to a datagram, and nothing in the event tells",
    ),
];

fn corpora_and(test: &str, programs: &[&str]) -> Option<PathBuf> {
    let found = corpora(test)?;
    for program in programs {
        let there = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"];
        if !there.iter().any(|dir| Path::new(dir).join(program).exists()) {
            println!("skipped: {test}: {program} is not installed");
            return None;
        }
    }
    Some(found)
}

fn run(program: &str, args: &[&str], dir: &Path) -> String {
    let path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    let out = Command::new(program).args(args).current_dir(dir).env("PATH", path).output().expect(program);
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn capture_of(corpora: &Path, case: &str) -> PathBuf {
    let names = ["capture.pcap", "capture.pcapng"];
    names.iter().map(|name| corpora.join(case).join(name)).find(|path| path.exists()).expect("a capture")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("utf-8")
}

/// The flows that we make of an input.
fn flows_of(input: &Path, out: &Path) -> Vec<Stored> {
    analyze(input, &["-o", text(out)]);
    stored(out)
}

/// What goes on between two ends, whoever began: flows, packets and bytes of either side, and the states.
#[derive(Debug, Default, PartialEq)]
struct Between {
    flows: usize,
    pkts: [i64; 2],
    ip_bytes: [i64; 2],
    states: Vec<String>,
    forward: Vec<bool>,
}

type Ends = (String, [(String, u16); 2]);

fn between(flows: &[Stored]) -> BTreeMap<Ends, Between> {
    let mut all: BTreeMap<Ends, Between> = BTreeMap::new();
    for flow in flows.iter().filter(|flow| matches!(flow.proto.as_str(), "tcp" | "udp")) {
        let (src, dst) = ((flow.src.clone(), flow.src_port), (flow.dst.clone(), flow.dst_port));
        let forward = src <= dst;
        let ends = if forward { [src, dst] } else { [dst, src] };
        let between = all.entry((flow.proto.clone(), ends)).or_default();
        for side in 0..2 {
            let of = if forward { side } else { 1 - side };
            between.pkts[side] += flow.pkts[of];
            between.ip_bytes[side] += flow.ip_bytes[of];
        }
        between.flows += 1;
        between.forward.push(forward);
        between.states.push(flow.state.clone());
    }
    all
}

/// The smallest frame of Ethernet is 60 bytes: what is shorter is filled up, which others count.
fn is_padding(ours: i64, theirs: i64, pkts: i64) -> bool {
    (0..=18 * pkts).contains(&(theirs - ours))
}

#[test]
fn suricata_and_our_sensor_see_the_same_flows() {
    let test = "suricata_and_our_sensor_see_the_same_flows";
    let Some(corpora) = corpora_and(test, &["suricata"]) else { return };
    let dir = tempfile::tempdir().expect("temp");
    let (mut compared, mut alike, mut with_errors) = (0, 0, 0);
    for case in CAPTURES {
        let capture = capture_of(&corpora, case);
        let place = dir.path().join(case.replace('/', "-"));
        std::fs::create_dir(&place).expect("dir");
        // No rules, and checksums as they are: cards compute them after the capture.
        run(
            "suricata",
            &["-r", text(&capture), "-l", text(&place), "-S", "/dev/null", "-k", "none"],
            dir.path(),
        );
        let ours = between(&flows_of(&capture, &place.join("ours")));
        let theirs = between(&flows_of(&place.join("eve.json"), &place.join("theirs")));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{case}");
        for (ends, our) in &ours {
            let their = &theirs[ends];
            for side in 0..2 {
                // Suricata counts ICMP's errors about a flow to the side that they seem to come from.
                let errors = their.pkts[side] - our.pkts[side];
                assert!(
                    errors == 0 || our.pkts[side] == 0 && (1..9).contains(&errors),
                    "{case}: {ends:?}: {our:?} {their:?}"
                );
                if errors > 0 {
                    with_errors += 1;
                    continue;
                }
                let (ours, theirs) = (our.ip_bytes[side], their.ip_bytes[side]);
                assert!(is_padding(ours, theirs, our.pkts[side]), "{case}: {ends:?}: {our:?} {their:?}");
            }
            // Suricata waits longer for datagrams (300 s against 60 s), and takes whoever is heard first for the client where we look at
            // the ports: what is one flow there may be several here, and the other way round.
            if our.flows != their.flows || our.forward != their.forward {
                assert_eq!(ends.0, "udp", "{case}: {ends:?}: {our:?} {their:?}");
                continue;
            }
            compared += 1;
            if our.states == their.states {
                alike += 1;
                continue;
            }
            let listed = STATES.iter().any(|(where_, ours, theirs, _)| {
                where_ == case && our.states == [*ours] && their.states == [*theirs]
            });
            assert!(listed, "{case}: {ends:?}: {our:?} {their:?}");
        }
    }
    println!(
        "compared {compared} conversations, the states of {alike} are the same; {with_errors} with errors of ICMP"
    );
    assert!(with_errors < 40, "{with_errors}");
    assert!(compared > 1400 && compared - alike < 40, "{compared} {alike}");
}

#[test]
fn nfdump_writes_what_we_read() {
    let test = "nfdump_writes_what_we_read";
    let Some(corpora) = corpora_and(test, &["nfpcapd", "nfdump"]) else { return };
    let dir = tempfile::tempdir().expect("temp");
    for (case, packing) in CAPTURES.iter().zip(["", "-z", "-y", "-j"].iter().cycle()) {
        let place = dir.path().join(case.replace('/', "-"));
        std::fs::create_dir(&place).expect("dir");
        let capture = capture_of(&corpora, case);
        run("nfpcapd", &["-r", text(&capture), "-l", text(&place)], dir.path());
        let mut files: Vec<_> =
            std::fs::read_dir(&place).expect("dir").flatten().map(|at| at.path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{case}");
        for (number, file) in files.iter().enumerate() {
            let told = run("nfdump", &["-r", text(file), "-I"], dir.path());
            let count = |name: &str| -> i64 {
                let line = told.lines().find_map(|line| line.strip_prefix(name)).expect(name);
                line.trim().parse().expect("a number")
            };
            let out = place.join(format!("out{number}"));
            // As it is, or written anew with a compression.
            let again = place.join(format!("again{number}"));
            if !packing.is_empty() {
                run("nfdump", &["-r", text(file), "-w", text(&again), packing], dir.path());
            }
            let file = if packing.is_empty() { file } else { &again };
            let found = analyze(file, &["-o", text(&out)]);
            let flows = stored(&out);
            let pkts: i64 = flows.iter().flat_map(|flow| flow.pkts).sum();
            let bytes: i64 = flows.iter().flat_map(|flow| flow.ip_bytes).sum();
            assert_eq!(found["records"].as_i64(), Some(count("Flows:")), "{}", file.display());
            assert_eq!((pkts, bytes), (count("Packets:"), count("Bytes:")), "{}", file.display());
            assert_eq!(found["rejected"], serde_json::json!({}), "{}", file.display());
        }
    }
}

#[test]
fn argus_writes_what_we_read() {
    let test = "argus_writes_what_we_read";
    let Some(corpora) = corpora_and(test, &["argus", "ra"]) else { return };
    let dir = tempfile::tempdir().expect("temp");
    let columns = ["stime", "dur", "proto", "saddr", "sport", "dir", "daddr", "dport", "state"];
    let counters = ["pkts", "bytes", "spkts", "sbytes"];
    for case in CAPTURES {
        let capture = capture_of(&corpora, case);
        let binary = dir.path().join(case.replace('/', "-"));
        run("argus", &["-X", "-r", text(&capture), "-w", text(&binary)], dir.path());
        let ours = flows_of(&capture, &dir.path().join(format!("{}-ours", case.replace('/', "-"))));
        // Commas and tabs, the columns in one order and in another.
        let turned: Vec<&str> = counters.into_iter().chain(columns.into_iter().rev()).collect();
        let usual: Vec<&str> = columns.into_iter().chain(counters).collect();
        for (separator, order) in [(",", &usual), ("\t", &turned)] {
            let mut args = vec!["-u", "-n", "-c", separator, "-r", text(&binary), "-s"];
            args.extend(order);
            let list = run("ra", &args, dir.path());
            let file = write(dir.path(), "list", &list);
            let out = dir.path().join(format!("{}{}", case.replace('/', "-"), u8::from(separator == ",")));
            let found = analyze(&file, &["-o", text(&out)]);
            let flows = stored(&out);
            let rows = list.lines().count() as u64 - 1;
            let unused = found["rejected"]["record of a kind that is not used"].as_u64().unwrap_or(0);
            assert_eq!(found["records"].as_u64(), Some(rows - unused), "{case}: {found}");
            let sum = |flows: &[Stored]| -> (i64, i64) {
                let of = |flow: &Stored| (flow.pkts[0] + flow.pkts[1], flow.ip_bytes[0] + flow.ip_bytes[1]);
                flows.iter().map(of).fold((0, 0), |sum, flow| (sum.0 + flow.0, sum.1 + flow.1))
            };
            let (ours, theirs) = (sum(&ours), sum(&flows));
            assert_eq!(ours.0, theirs.0, "{case}: packets");
            assert!(is_padding(ours.1, theirs.1, ours.0), "{case}: {ours:?} {theirs:?}");
        }
    }
}

#[test]
fn a_router_that_exports_flows_is_an_input() {
    let test = "a_router_that_exports_flows_is_an_input";
    let Some(corpora) = corpora_and(test, &["softflowd"]) else { return };
    let capture = capture_of(&corpora, "slips/test7-malicious");
    let scratch = tempfile::tempdir().expect("temp");
    let packets: i64 =
        flows_of(&capture, &scratch.path().join("ours")).iter().flat_map(|flow| flow.pkts).sum();
    for version in [&["5"][..], &["9"], &["10"], &["10", "-b"]] {
        let dir = tempfile::tempdir().expect("temp");
        // A port that was free a moment ago.
        let port =
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let to = format!("127.0.0.1:{port}");
        let daemon = Daemon::start(dir.path(), &["--netflow", &to]);
        let mut args = vec!["-r", text(&capture), "-n", &to, "-d", "-p", "pid", "-c", "none", "-v"];
        args.extend(version);
        run("softflowd", &args, dir.path());
        let out = daemon.out.clone();
        assert_eq!(
            daemon.stop(),
            Some(0),
            "{}",
            std::fs::read_to_string(dir.path().join("stderr")).expect("read")
        );
        let flows = stored(&out);
        let told: i64 = flows.iter().flat_map(|flow| flow.pkts).sum();
        // Version 5 knows no IPv6.
        let expected = if version == ["5"] { 1908 } else { packets };
        assert_eq!(told, expected, "version {version:?}");
        let scan = flows.iter().filter(|flow| flow.dst_port == 23 && flow.state == "S0").count();
        assert!(scan >= 40, "version {version:?}: {scan} attempts at telnet");
        let alerts = std::fs::read_to_string(out.join("alerts.log")).expect("alerts.log");
        assert!(
            alerts.contains("192.168.2.16") && alerts.contains("port 23/tcp failed"),
            "{version:?}: {alerts}"
        );
    }
}
