use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use slips_core::event::{About, Arp, ArpOp, Dhcp, Dns, DnsAnswer, DnsData, DnsFlags, Event, Http, Ssh};
use slips_core::flow::{ConnState, Endpoint, Flow, MacAddr, Proto, Service as App, Uid, Volume};
use slips_core::time::Span;

use super::*;
use crate::sqlite::{StoredProfile, Stories};

const HOST: [u8; 4] = [192, 168, 1, 7];
const SERVER: [u8; 4] = [203, 0, 113, 9];
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);
const GATEWAY: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xee]);

fn at(addr: [u8; 4], port: u16) -> Endpoint {
    Endpoint { addr: IpAddr::from(addr), port }
}

fn about(src: Endpoint, dst: Endpoint, secs: i64) -> About {
    About {
        at: slips_core::time::PacketTime::from_secs_micros(secs, 0),
        uid: Uid::from("C1"),
        src,
        dst,
        proto: Proto::Tcp,
        interface: 1,
        heard: true,
        tunnelled: false,
        src_mac: None,
    }
}

fn settings() -> ProfileSettings {
    ProfileSettings::new(LocalNets::private(), vec![OWN].into(), WindowWidth::HOUR)
}

fn told(path: &Path, events: Vec<Event>) -> Result<(), StoreError> {
    let mut sink = Box::new(Profiles::open(path, settings(), || 0)?);
    sink.accept(&[Record::Events(Arc::new(events))])?;
    sink.close()
}

fn stored(path: &Path, addr: [u8; 4]) -> Option<StoredProfile> {
    Stories::open(path).expect("database").profile(IpAddr::from(addr)).expect("read")
}

fn facts(path: &Path, addr: [u8; 4]) -> Facts {
    stored(path, addr).and_then(|profile| profile.facts).expect("a profile")
}

fn dns(src: Endpoint, dst: Endpoint, query: &str, qtype: u16, data: DnsData) -> Event {
    Event::Dns(Box::new(Dns {
        about: About { proto: Proto::Udp, ..about(src, dst, 1000) },
        trans_id: 1,
        rtt: None,
        query: query.into(),
        qclass: 1,
        qtype,
        rcode: Some(0),
        flags: DnsFlags::default(),
        answers: vec![DnsAnswer { data, ttl: Some(60) }],
        rejected: false,
    }))
}

fn http(secs: i64, agent: &str, heard: bool) -> Event {
    Event::Http(Box::new(Http {
        about: About { heard, ..about(at(HOST, 4000), at(SERVER, 80), secs) },
        trans_depth: 1,
        method: "GET".into(),
        host: "www.example.org".into(),
        uri: "/".into(),
        referrer: String::new(),
        version: "1.1".into(),
        user_agent: agent.into(),
        request_body_len: 0,
        response_body_len: 0,
        status_code: Some(200),
        status_msg: "OK".into(),
        resp_mime_types: Vec::new(),
        resp_fuids: Vec::new(),
        username: String::new(),
        orig_mime_types: Vec::new(),
        orig_fuids: Vec::new(),
        from_page: false,
    }))
}

fn flow(src: Endpoint, dst: Endpoint, secs: i64, mac: MacAddr) -> Flow {
    let volume = Volume { pkts: 5, bytes: 100, ip_bytes: 300 };
    Flow {
        state: ConnState::SF,
        orig: volume,
        resp: volume,
        service: App::new("http"),
        src_mac: Some(mac),
        dst_mac: Some(GATEWAY),
        ..Flow::new(slips_core::time::PacketTime::from_secs_micros(secs, 0), Proto::Tcp, src, dst)
    }
}

#[test]
fn each_event_tells_of_the_hosts_in_it() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    let time = slips_core::time::PacketTime::from_secs_micros(900, 0);
    let arp = |sender: [u8; 4], mac| {
        let (sender, target) = (IpAddr::from(sender), IpAddr::from(HOST));
        Event::Arp(Arp {
            at: time,
            op: ArpOp::Reply,
            frame_src: mac,
            frame_dst: MAC,
            sender,
            sender_mac: mac,
            target,
            target_mac: MAC,
            interface: 1,
        })
    };
    let lease = Event::Dhcp(Box::new(Dhcp {
        at: time,
        client: None,
        server: Some(IpAddr::from([192, 168, 1, 1])),
        mac: Some(MAC),
        host_name: "laptop".into(),
        assigned_addr: Some(IpAddr::from(HOST)),
        lease_time: Some(Span::from_secs(3600)),
        msg_types: vec!["REQUEST".into(), "ACK".into()],
        domain: "lan".into(),
        ..Dhcp::default()
    }));
    let ssh = Event::Ssh(Box::new(Ssh {
        about: about(at(HOST, 5000), at(SERVER, 22), 1001),
        version: Some(2),
        auth_success: None,
        auth_attempts: 0,
        client: "SSH-2.0-OpenSSH_9.2".into(),
        server: "SSH-2.0-dropbear".into(),
        cipher_alg: String::new(),
        mac_alg: String::new(),
        compression_alg: String::new(),
        kex_alg: String::new(),
        host_key_alg: String::new(),
        host_key: String::new(),
        hassh: String::new(),
        hassh_server: String::new(),
    }));
    let ptr = DnsData::Name("host9.example.net".into());
    let resolver = at([192, 168, 1, 1], 53);
    told(
        &path,
        vec![
            lease,
            arp([192, 168, 1, 1], GATEWAY),
            arp([192, 168, 1, 8], OWN),
            dns(at(HOST, 4001), resolver, "www.example.org", 1, DnsData::Addr(IpAddr::from(SERVER))),
            dns(at(HOST, 4001), resolver, "9.113.0.203.in-addr.arpa", 12, ptr),
            dns(
                at(HOST, 5353),
                at([224, 0, 0, 251], 5353),
                "laptop.local",
                1,
                DnsData::Addr(IpAddr::from(HOST)),
            ),
            dns(
                at([192, 168, 1, 8], 5353),
                at([224, 0, 0, 251], 5353),
                "laptop.local",
                1,
                DnsData::Addr(IpAddr::from(SERVER)),
            ),
            http(1002, "Mozilla/5.0 (X11; Linux x86_64)", true),
            ssh,
            Event::Flow(flow(at(HOST, 4000), at(SERVER, 80), 1003, MAC)),
            Event::Flow(flow(at(HOST, 4002), at(SERVER, 80), 7200, MAC)),
        ],
    )
    .expect("stored");

    let host = facts(&path, HOST);
    assert_eq!(
        host.macs.items().iter().map(|i| i.what.mac.as_str()).collect::<Vec<_>>(),
        ["02:00:00:00:00:07"]
    );
    let names: Vec<_> =
        host.host_names.items().iter().map(|i| (i.what.name.as_str(), i.what.source.as_str())).collect();
    assert_eq!(names, [("laptop", "dhcp"), ("laptop.local", "mdns")]);
    assert_eq!(host.dhcp.as_ref().and_then(|lease| lease.seconds), Some(3600));
    assert_eq!(host.user_agents.items()[0].what.user_agent, "Mozilla/5.0 (X11; Linux x86_64)");
    assert_eq!(host.software.items()[0].what.version, "SSH-2.0-OpenSSH_9.2");
    assert_eq!((host.first_seen.0, host.last_seen.0, host.windows), (900_000_000, 7_200_000_000, 2));

    let server = facts(&path, SERVER);
    assert_eq!(server.passive_dns.items()[0].what.name, "www.example.org");
    assert_eq!(server.reverse_dns.items()[0].what.name, "host9.example.net");
    assert_eq!(server.called.items()[0].what, Called { name: "www.example.org".into(), by: "http".into() });
    assert_eq!(server.software.items()[0].what.port, Some(22));
    let service = &server.services.items()[0];
    assert_eq!((service.what.port, service.what.application.as_str(), service.times), (80, "http", 2));
    assert!(server.macs.is_empty(), "a remote host has no hardware address here");

    let gateway = stored(&path, [192, 168, 1, 1]).expect("profile");
    let roles = gateway.facts.expect("facts").roles;
    assert_eq!(
        roles.items().iter().map(|i| i.what.role.as_str()).collect::<Vec<_>>(),
        ["dhcp server", "dns server"]
    );
    assert_eq!(stored(&path, HOST).expect("profile").gateways, [IpAddr::from([192, 168, 1, 1])]);
    // This router's own hardware address owns nobody's address; what it answers for others is no name of theirs.
    assert!(stored(&path, [192, 168, 1, 8]).is_none());
}

#[test]
fn nothing_is_learnt_of_what_anybody_could_have_made_up() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    let mut scanned = flow(at([198, 51, 100, 1], 1), at([192, 168, 1, 99], 80), 5, GATEWAY);
    scanned.state = ConnState::S0;
    scanned.resp = Volume::default();
    told(&path, vec![http(1, "forged", false), Event::Flow(scanned)]).expect("stored");
    for addr in [HOST, SERVER, [192, 168, 1, 99], [198, 51, 100, 1]] {
        assert!(stored(&path, addr).is_none(), "{addr:?}");
    }
}

#[test]
fn a_restart_adds_to_what_was_known() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    told(&path, vec![http(10, "first", true), http(20, "second", true)]).expect("stored");
    told(&path, vec![http(4000, "second", true), http(4010, "third", true)]).expect("stored");
    let host = facts(&path, HOST);
    let agents: Vec<_> =
        host.user_agents.items().iter().map(|i| (i.what.user_agent.as_str(), i.times)).collect();
    assert_eq!(agents, [("first", 1), ("second", 2), ("third", 1)]);
    assert_eq!((host.first_seen.0, host.last_seen.0, host.windows), (10_000_000, 4_010_000_000, 2));
}

#[test]
fn siblings_share_a_hardware_address_and_a_router_has_none() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    let mut events = vec![
        Event::Flow(flow(at(HOST, 1), at(SERVER, 80), 5, MAC)),
        Event::Flow(flow(at([192, 168, 1, 8], 1), at(SERVER, 80), 6, MAC)),
    ];
    let through = |n: u8| Event::Flow(flow(at([192, 168, 2, n], 1), at(SERVER, 80), 6, GATEWAY));
    events.extend((1..=40).map(through));
    told(&path, events).expect("stored");
    let siblings = stored(&path, HOST).expect("profile").siblings;
    assert_eq!(siblings, [(IpAddr::from([192, 168, 1, 8]), MAC.to_string())]);
    assert_eq!(stored(&path, [192, 168, 2, 1]).expect("profile").siblings, []);
}

#[test]
fn texts_and_lists_are_bounded_whatever_a_host_says() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    let events = (0..500).map(|n| http(n, &format!("{n}{}", "ü".repeat(4000)), true)).collect();
    told(&path, events).expect("stored");
    let agents = facts(&path, HOST).user_agents;
    assert_eq!(agents.items().len(), 32);
    assert!(agents.items().iter().all(|item| item.what.user_agent.len() <= 255));
    assert!(agents.items()[0].what.user_agent.starts_with("0ü"), "the first one stays");
}

#[test]
fn changes_are_written_every_few_seconds_and_nothing_is_lost_by_a_disk_that_refuses() {
    static NOW: AtomicI64 = AtomicI64::new(1_000_000_000);
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("flows.sqlite");
    let mut sink = Profiles::open(&path, settings(), || NOW.load(Ordering::Relaxed)).expect("open");
    let say = |sink: &mut Profiles, secs, agent| {
        sink.accept(&[Record::Events(Arc::new(vec![http(secs, agent, true)]))]).expect("taken");
    };
    say(&mut sink, 1, "one");
    sink.flush().expect("written");
    assert_eq!(facts(&path, HOST).user_agents.items().len(), 1);
    say(&mut sink, 2, "two");
    sink.flush().expect("not yet due");
    assert_eq!(facts(&path, HOST).user_agents.items().len(), 1);

    let other = rusqlite::Connection::open(&path).expect("open");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    NOW.fetch_add(6_000_000, Ordering::Relaxed);
    sink.flush().expect_err("locked");
    other.execute_batch("ROLLBACK").expect("unlocked");
    NOW.fetch_add(6_000_000, Ordering::Relaxed);
    sink.flush().expect("written");
    assert_eq!(facts(&path, HOST).user_agents.items().len(), 2);
    assert_eq!(sink.lost(), 0);
}
