//! Who is protected as a gateway, on routers with few routes and with very many.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

mod lab;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use lab::{Host, Lab};
use slips_firewall::{Protected, Sources, Why};

fn gateways(lab: &Lab) -> BTreeSet<IpAddr> {
    let protected = lab.inside(Host::Router, || Protected::discover(&Sources::default())).expect("discover");
    protected.iter().filter(|(_, why)| *why == Why::Gateway).map(|(net, _)| net.addr()).collect()
}

/// Routes, many in one run of `ip`.
fn add(lab: &Lab, routes: &str) {
    let file = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(file.path(), routes).expect("write");
    let path = file.path().to_str().expect("path");
    lab.ip(Host::Router, &format!("-batch {path}"));
}

#[test]
fn default_gateways_are_found_among_any_number_of_routes() {
    let test = "default_gateways_are_found_among_any_number_of_routes";
    let Some(lab) = lab::open(test) else { return };
    add(
        &lab,
        "route add default via 10.91.1.2\n\
         route add default via 10.91.1.9 table 1000\n\
         rule add fwmark 7 table 1000\n\
         route add ::/0 via 2001:db8:a::2\n\
         route add 198.51.100.0/24 via 10.91.1.3\n",
    );
    let addrs = |texts: &[&str]| -> BTreeSet<IpAddr> { texts.iter().map(|t| t.parse().expect(t)).collect() };
    let defaults = addrs(&["10.91.1.2", "10.91.1.9", "2001:db8:a::2"]);
    let found = gateways(&lab);
    assert!(found.is_superset(&defaults) && found.is_superset(&addrs(&["10.91.1.3"])), "{found:?}");
    // As a router of the internet's core has, with more gateways than are protected.
    let mut routes = String::new();
    for n in 0..30_000u32 {
        let to = Ipv4Addr::from_bits(0x0b00_0000 + n * 256);
        let via = Ipv4Addr::from_bits(0x0a5c_0000 + n % 3000);
        writeln!(routes, "route add {to}/24 via {via} dev ra onlink").expect("write");
        writeln!(routes, "route add 2001:{:x}:{:x}::/48 via 2001:db8:a::3", 0x1000 + n / 256, n % 256)
            .expect("write");
    }
    add(&lab, &routes);
    let found = gateways(&lab);
    assert!(found.is_superset(&defaults), "{:?}", defaults.difference(&found));
    assert_eq!(found.len(), 1024);
}
