//! DNS rows of the corpora's captures against the dns logs that Zeek's own test suite expects.

mod support;

use slips_core::event::{Dns, DnsData, Event};
use slips_sensor::Settings;

fn flag(value: bool) -> String {
    if value { "T" } else { "F" }.to_owned()
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The columns of a row as Zeek prints them. Numbers that Zeek leaves out for want of a question are compared as zero.
fn columns(dns: &Dns) -> Vec<(&'static str, String)> {
    let answers: Vec<String> = dns
        .answers
        .iter()
        .map(|answer| match &answer.data {
            DnsData::Addr(addr) => addr.to_string(),
            DnsData::Name(text) | DnsData::Text(text) => text.clone(),
        })
        .collect();
    let ttls: Vec<String> =
        dns.answers.iter().filter_map(|answer| answer.ttl).map(|ttl| format!("{ttl}.000000")).collect();
    let number = |value: u16| if value == 0 { "-".to_owned() } else { value.to_string() };
    vec![
        ("trans_id", dns.trans_id.to_string()),
        ("rtt", dns.rtt.map_or("-".to_owned(), |rtt| rtt.to_string())),
        ("query", or_dash(dns.query.clone())),
        ("qclass", number(dns.qclass)),
        ("qtype", number(dns.qtype)),
        ("rcode", dns.rcode.map_or("-".to_owned(), |rcode| rcode.to_string())),
        ("AA", flag(dns.flags.aa)),
        ("TC", flag(dns.flags.tc)),
        ("RD", flag(dns.flags.rd)),
        ("RA", flag(dns.flags.ra)),
        ("Z", dns.flags.z.to_string()),
        ("answers", or_dash(answers.join(","))),
        ("TTLs", or_dash(ttls.join(","))),
        ("rejected", flag(dns.rejected)),
    ]
}

#[test]
fn dns_rows_equal_zeeks() {
    let Some(corpora) = support::corpora("dns_rows_equal_zeeks") else { return };
    let (mut rows, mut equal) = (0, 0);
    for case in support::cases(&corpora, "dns") {
        let settings = Settings { verify_checksums: !case.ignore_checksums, ..Settings::default() };
        let (_, events) = support::run(&case.capture, settings);
        let mut ours: Vec<Dns> = events
            .into_iter()
            .filter_map(|event| if let Event::Dns(dns) = event { Some(*dns) } else { None })
            .collect();
        for row in support::read_log(&case.expected) {
            rows += 1;
            let field = |name: &str| row.get(name).cloned().unwrap_or_default();
            let found = ours.iter().position(|dns| {
                dns.trans_id.to_string() == field("trans_id")
                    && dns.about.src.addr.to_string() == field("id.orig_h")
                    && dns.about.src.port.to_string() == field("id.orig_p")
            });
            let Some(found) = found else {
                println!("{}: no row for {}", case.id, field("query"));
                continue;
            };
            let differing: Vec<_> = columns(&ours.remove(found))
                .into_iter()
                .filter(|(column, value)| row.get(*column).is_some_and(|theirs| theirs != value))
                .collect();
            for (column, value) in &differing {
                println!("{}: {column}: ours {value}, Zeek's {}", case.id, field(column));
            }
            equal += usize::from(differing.is_empty());
        }
        for dns in ours {
            println!("{}: one row too many: {dns:?}", case.id);
        }
    }
    println!("{rows} rows, {equal} equal");
    assert!(rows >= 17 && equal == rows, "{equal} of {rows} rows");
}
