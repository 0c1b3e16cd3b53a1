//! Argus' flow lists.

use std::collections::BTreeMap;
use std::fs;

use slips_core::flow::{Origin, Phase};
use slips_input::Reason;

use super::{brief, corpora, flows, read_bytes, read_file, rejects};

const HEADER: &str = "StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,sTos,dTos,TotPkts,TotBytes,SrcBytes,SrcPkts,Label";

/// The flow of one row under the usual header.
fn one(row: &str) -> String {
    let (events, report) = read_bytes(format!("{HEADER}\n{row}\n").as_bytes());
    assert_eq!(report.rejected_total(), 0, "{:?}", report.samples);
    let flow = flows(&events)[0];
    assert_eq!((flow.origin, flow.phase), (Origin::Argus, Phase::End));
    brief(flow)
}

#[test]
fn a_row_is_a_flow_with_the_state_that_its_flags_tell() {
    let head = "1554395080.500000 Some(1500000) 10.8.0.69:48000 8.8.4.4:443 tcp";
    for (state, expected) in [
        ("FSPA_FSPA", "SF ShAaDdFf"),
        ("FSRPA_FSPA", "SF ShAaDdFfR"),
        ("SPA_SRPA", "RSTR ShAaDdr"),
        ("S_RA", "REJ Sr"),
        ("SR_SA", "RSTO ShR"),
        ("PA_PA", "OTH AaDd"),
        ("RST", "RSTR -"),
        ("EST", "S1 -"),
        ("CLO", "SF -"),
        ("S0", "S0 -"),
        ("ZZZ", "OTH -"),
    ] {
        let seen = one(&format!(
            "2019/04/04 16:24:40.500000,1.5,tcp,10.8.0.69,48000,   ->,8.8.4.4,443,{state},0,0,12,1638,1155,8,"
        ));
        assert!(seen.starts_with(&format!("{head} {expected} 8/")), "{state}: {seen}");
    }
    let unanswered =
        one("2019/04/04 16:24:40.500000,15.0,tcp,10.8.0.69,48000,   ->,8.8.4.4,443,S_,0,,5,300,300,5,");
    assert!(unanswered.ends_with("tcp S0 S 5/0/230 0/0/0 -"), "{unanswered}");
}

#[test]
fn the_destinations_share_is_what_the_totals_leave() {
    assert_eq!(
        one("2019/04/04 16:23:00.325010,0.027947,udp,10.8.0.69,48427,  <->,8.8.8.8,53,CON,0,0,2,182,82,1,x"),
        "1554394980.325010 Some(27947) 10.8.0.69:48427 8.8.8.8:53 udp SF - 1/40/68 1/58/86 -"
    );
    assert_eq!(
        one(
            "2019/04/04 16:23:00.325010,0.0,udp,10.8.0.69,1900,   ->,239.255.255.250,1900,INT,0,,1,124,124,1,"
        ),
        "1554394980.325010 None 10.8.0.69:1900 239.255.255.250:1900 udp S0 - 1/82/110 0/0/0 -"
    );
}

#[test]
fn icmp_types_are_read_in_both_writings() {
    for (proto, sport, dport, expected) in [
        ("icmp", "0x0008", "0x7208", "192.0.2.1:8 192.0.2.2:0"),
        ("icmp", "0x0303", "0x97af", "192.0.2.1:3 192.0.2.2:3"),
        ("icmp", "0x0403", "0x0000", "192.0.2.1:3 192.0.2.2:4"),
        ("ipv6-icmp", "135", "0", "192.0.2.1:135 192.0.2.2:136"),
    ] {
        let row = format!(
            "2019/04/04 16:30:10.234728,1.262451,{proto},192.0.2.1,{sport},   ->,192.0.2.2,{dport},ECO,0,,2,144,144,2,"
        );
        let seen = one(&row);
        assert!(seen.contains(expected) && seen.contains("icmp OTH"), "{seen}");
    }
}

#[test]
fn the_header_decides_and_a_turned_flow_is_turned() {
    let text = "dport\tDstAddr\tstate\tDir\tlabel\tSrcAddr\tsport\tproto\tLastTime\tSTIME\tspkts\tdpkts\tsbytes\tdbytes\tother\n\
                5555\t192.0.2.9\tFSPA_FSPA\t <-\tflow=From-Botnet-V42-TCP\t192.0.2.1\t80\ttcp\t2019-04-04T16:00:02Z\t2019-04-04T16:00:00Z\t4\t6\t800\t400\tx\n";
    let (events, report) = read_bytes(text.as_bytes());
    assert_eq!(report.rejected_total(), 0, "{:?}", report.samples);
    let flow = flows(&events)[0];
    assert_eq!(
        brief(flow),
        "1554393600.000000 Some(2000000) 192.0.2.9:5555 192.0.2.1:80 tcp SF ShAaDdFf 6/4/316 4/536/744 -"
    );
    let truth = flow.truth.as_ref().expect("a label");
    assert_eq!((truth.label.as_str(), truth.detailed.as_str()), ("Malicious", "From-Botnet-V42-TCP"));
}

#[test]
fn a_list_without_header_has_the_usual_columns() {
    let row = "2019/04/04 16:23:00.325010,0.027947,udp,10.8.0.69,48427,  <->,8.8.8.8,53,CON,0,0,2,142,63,1,";
    let (events, report) = read_bytes(row.as_bytes());
    assert_eq!((events.len(), report.rejected_total()), (1, 0));
}

#[test]
fn what_is_no_flow_is_passed_over_and_what_is_broken_is_counted() {
    let good = "2019/04/04 16:23:00,0.1,udp,10.8.0.69,48427,  <->,8.8.8.8,53,CON,0,0,2,142,63,1,";
    let text = format!(
        "{HEADER}\n\n{good}\n\
         2018/05/10 10:52:47,0.0,man,0,0,,0,0,STA,,,0,0,0,0,\n\
         1970/01/01 01:00:00,0.0,llc,00:00:00:00:00:00,0,   ->,00:00:00:00:00:00,0,INT,,,1,60,60,1,x\n\
         1970/01/01 01:00:08,9.0,arp,10.0.2.15,,  who,10.0.2.2,,CON,,,22,924,462,11,x\n\
         16:23,0.1,udp,10.8.0.69,1,->,8.8.8.8,53,CON,0,0,2,142,63,1,\n\
         2019/04/04 16:23:00,0.1,udp,host,1,->,8.8.8.8,53,CON,0,0,2,142,63,1,\n\
         2019/04/04 16:23:00,0.1,udp,10.8.0.69,http,->,8.8.8.8,53,CON,0,0,2,142,63,1,\n\
         {good},one,too,many\n{HEADER}\n{good}\n2019/04/04 16:2"
    );
    let (events, report) = read_bytes(text.as_bytes());
    assert_eq!((events.len(), report.records, report.files[0].kind), (2, 2, "argus"));
    assert_eq!(
        rejects(&report),
        [
            (Reason::TruncatedLastLine, 1),
            (Reason::ColumnCount, 1),
            (Reason::BadValue, 3),
            (Reason::UnusedKind, 3)
        ]
    );
    assert_ne!(flows(&events)[0].uid, flows(&events)[1].uid);
}

#[test]
fn every_row_of_the_published_lists_is_read() {
    let Some(corpora) = corpora("every_row_of_the_published_lists_is_read") else { return };
    for (name, passed) in [("test2-malicious", 0), ("test5-mixed", 4), ("test11-portscan", 0)] {
        let path = corpora.join("slips-flows").join(format!("{name}.binetflow"));
        let rows = fs::read_to_string(&path).expect("readable").lines().count() as u64 - 1;
        let (events, report) = read_file(&path);
        assert_eq!(
            (report.records, report.rejected_total()),
            (rows - passed, passed),
            "{:?}",
            report.samples
        );
        assert_eq!(events.len() as u64, report.records);
    }
}

#[test]
fn the_states_of_a_published_list() {
    let Some(corpora) = corpora("the_states_of_a_published_list") else { return };
    let (events, _) = read_file(&corpora.join("slips-flows/test5-mixed.binetflow"));
    let mut states = BTreeMap::new();
    let mut labels = BTreeMap::new();
    for flow in flows(&events) {
        *states.entry(format!("{} {}", flow.proto, flow.state)).or_insert(0) += 1;
        let label = flow.truth.as_ref().map_or("-", |truth| truth.label.as_str());
        *labels.entry(label.to_owned()).or_insert(0) += 1;
    }
    let expected =
        [("icmp OTH", 4), ("tcp RSTO", 4), ("tcp RSTR", 1), ("tcp SF", 76), ("udp S0", 10), ("udp SF", 201)];
    let expected: BTreeMap<_, _> = expected.map(|(state, count)| (state.to_owned(), count)).into();
    assert_eq!(states, expected);
    assert_eq!(labels.get("Malicious"), Some(&277), "{labels:?}");
}
