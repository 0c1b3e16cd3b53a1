//! What is said on the link itself, through the binary: forged address service, forged routers and neighbours, poisoned names, new
//! devices. Each capture is made here.
#![expect(clippy::expect_used, reason = "helpers of tests")]

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};

use common::pcap::{Pcap, mac};
use common::{analyze, attackers, evidence, write};
use serde_json::Value;

fn found(pcap: &Pcap) -> Value {
    let dir = tempfile::tempdir().expect("temp");
    analyze(&write(dir.path(), "made.pcap", pcap.bytes()), &[])
}

const ALL: [u8; 6] = [0xff; 6];

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

/// A message of DHCP about client `client`: 1 discover, 2 offer.
fn dhcp(kind: u8, client: u8, server: Option<u8>) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[kind, 1, 6]);
    bytes[4..8].copy_from_slice(&[9, 9, 9, client]);
    if server.is_some() {
        bytes[16..20].copy_from_slice(&host(100 + client).octets());
    }
    bytes[28..34].copy_from_slice(&mac(100 + client));
    bytes[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    bytes.extend([53, 1, kind]);
    if let Some(server) = server {
        bytes.extend([54, 4]);
        bytes.extend(host(server).octets());
    }
    bytes.push(255);
    bytes
}

/// Clients ask one after the other; these servers answer, the second one from the eleventh minute on.
fn leases(clients: u8, rogue: Option<u8>) -> Pcap {
    let mut pcap = Pcap::new();
    for client in 0..clients {
        let at = if client == 0 { 0 } else { 660_000 + u64::from(client) * 60_000 };
        let asks = (Ipv4Addr::UNSPECIFIED, 68, mac(100 + client));
        pcap.udp(at, asks, (Ipv4Addr::BROADCAST, 67, ALL), &dhcp(1, client, None));
        let servers = [Some(1), rogue.filter(|_| client > 0)];
        for server in servers.into_iter().flatten() {
            let to = (Ipv4Addr::BROADCAST, 68, ALL);
            let from = (host(server), 67, mac(server));
            pcap.udp(at + u64::from(server), from, to, &dhcp(2, client, Some(server)));
        }
    }
    pcap
}

#[test]
fn a_rogue_dhcp_server_is_an_alert_and_the_networks_own_is_not() {
    let found_rogue = found(&leases(8, Some(66)));
    assert_eq!(evidence(&found_rogue, "ROGUE_DHCP_SERVER"), 1, "{found_rogue}");
    assert_eq!(attackers(&found_rogue), ["192.168.1.66"]);
    let quiet = found(&leases(8, None));
    assert_eq!((evidence(&quiet, "ROGUE_DHCP_SERVER"), attackers(&quiet).len()), (0, 0), "{quiet}");
}

#[test]
fn starvation_is_evidence_and_nobody_is_blocked() {
    let mut pcap = Pcap::new();
    for client in 0..120u8 {
        let asks = (Ipv4Addr::UNSPECIFIED, 68, mac(100u8.wrapping_add(client)));
        let mut bytes = dhcp(1, client, None);
        bytes[33] = client;
        pcap.udp(u64::from(client) * 100, asks, (Ipv4Addr::BROADCAST, 67, ALL), &bytes);
    }
    let told = found(&pcap);
    assert_eq!(evidence(&told, "DHCP_STARVATION"), 1, "{told}");
    assert!(attackers(&told).is_empty(), "{told}");
}

fn six(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

const ALL_NODES: &str = "ff02::1";

/// "I am a router", with its hardware address.
fn router_says(mac: [u8; 6]) -> Vec<u8> {
    let mut bytes = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    bytes.extend(mac);
    bytes
}

/// "`target` is at `mac`", to everybody.
fn neighbour_says(target: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let mut bytes = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    bytes.extend(target.octets());
    bytes.extend([2, 1]);
    bytes.extend(mac);
    bytes
}

#[test]
fn a_rogue_router_is_an_alert_and_the_networks_own_is_not() {
    let own = |rogue: u64| {
        let mut pcap = Pcap::new();
        let all = six(ALL_NODES);
        for n in 0..10 {
            pcap.icmp6(n * 300_000, (six("fe80::1"), mac(1)), all, &router_says(mac(1)));
        }
        for n in 0..rogue {
            pcap.icmp6(2_800_000 + n * 3000, (six("fe80::66"), mac(66)), all, &router_says(mac(66)));
        }
        found(&pcap)
    };
    let told = own(30);
    assert_eq!(evidence(&told, "ROGUE_ROUTER"), 1, "{told}");
    assert_eq!(attackers(&told), ["fe80::66"]);
    assert_eq!(own(0)["evidence"], serde_json::json!({}));
}

/// A forger claims a neighbour's address for a minute, and the neighbour contradicts.
fn forged(pcap: &mut Pcap) -> Value {
    let (all, victim) = (six(ALL_NODES), six("fe80::7"));
    for n in 0..40 {
        if n % 4 == 0 {
            pcap.icmp6(n * 2000, (victim, mac(7)), all, &neighbour_says(victim, mac(7)));
        }
        pcap.icmp6(n * 2000 + 1000, (victim, mac(66)), all, &neighbour_says(victim, mac(66)));
    }
    found(pcap)
}

#[test]
fn forged_neighbour_advertisements_are_an_alert_about_the_forger() {
    let mut pcap = Pcap::new();
    pcap.arp(0, (host(66), mac(66)), host(1));
    let told = forged(&mut pcap);
    assert_eq!(
        (evidence(&told, "MITM_NDP_ATTACK"), attackers(&told)),
        (1, vec!["192.168.1.66".to_owned()]),
        "{told}"
    );
}

#[test]
fn a_forger_whose_address_nobody_knows_gets_nobody_blocked() {
    // Least of all the victim.
    let told = forged(&mut Pcap::new());
    assert_eq!((evidence(&told, "MITM_NDP_ATTACK"), attackers(&told).len()), (1, 0), "{told}");
}

/// An answer by LLMNR that `name` is at `at`.
fn llmnr(id: u16, name: &str, at: Option<Ipv4Addr>) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    let answers = u8::from(at.is_some());
    bytes.extend([if at.is_some() { 0x80 } else { 0 }, 0, 0, 1, 0, answers, 0, 0, 0, 0]);
    let mut owner = vec![name.len() as u8];
    owner.extend(name.as_bytes());
    owner.extend([0, 0, 1, 0, 1]);
    bytes.extend(&owner);
    if let Some(at) = at {
        bytes.extend(&owner);
        bytes.extend([0, 0, 0, 30, 0, 4]);
        bytes.extend(at.octets());
    }
    bytes
}

#[test]
fn whoever_answers_to_every_name_is_an_alert() {
    let answered = |names: u16| {
        let mut pcap = Pcap::new();
        for n in 0..names {
            let (at, port) = (u64::from(n) * 10_000, 50_000 + n);
            let asker = (host(5), port, mac(5));
            let group = (Ipv4Addr::new(224, 0, 0, 252), 5355, [1, 0, 0x5e, 0, 0, 252]);
            let name = format!("server{n}");
            pcap.udp(at, asker, group, &llmnr(n, &name, None));
            pcap.udp(at + 5, (host(66), 5355, mac(66)), asker, &llmnr(n, &name, Some(host(66))));
        }
        found(&pcap)
    };
    let told = answered(30);
    assert_eq!(evidence(&told, "NAME_POISONING"), 1, "{told}");
    assert_eq!(attackers(&told), ["192.168.1.66"]);
    assert_eq!(evidence(&answered(3), "NAME_POISONING"), 0);
}

#[test]
fn a_new_device_is_information() {
    let mut pcap = Pcap::new();
    for n in 0..5 {
        pcap.arp(n * 1_000_000, (host(5), mac(5)), host(1));
    }
    pcap.arp(4_100_000, (host(9), mac(9)), host(1));
    for last in 20..22 {
        pcap.arp(4_200_000, (host(last), mac(5)), host(1));
    }
    let told = found(&pcap);
    assert_eq!(evidence(&told, "NEW_DEVICE"), 1, "{told}");
    assert_eq!(evidence(&told, "DEVICE_CHANGING_IP"), 1, "{told}");
    assert!(attackers(&told).is_empty(), "{told}");
}
