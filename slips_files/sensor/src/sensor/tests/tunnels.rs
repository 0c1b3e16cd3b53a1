//! Packets within packets.

use super::*;

fn tunnels(events: &[Event]) -> Vec<(String, u16, String)> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Tunnel(tunnel) => {
                let kind = tunnel.tunnel_type.strip_prefix("Tunnel::")?.to_owned();
                Some((kind, tunnel.about.dst.port, tunnel.action.strip_prefix("Tunnel::")?.to_owned()))
            }
            _ => None,
        })
        .collect()
}

fn ends(events: &[Event]) -> Vec<(String, u16, u64)> {
    let ends = flows(events).into_iter().filter(|flow| flow.phase == Phase::End);
    ends.map(|flow| (flow.service.as_str().to_owned(), flow.dst.port, flow.orig.ip_bytes)).collect()
}

fn gre(from: Sender, inner: &[u8]) -> Vec<u8> {
    ipv4(from, 47, &[&[0, 0, 8, 0], inner].concat())
}

fn told(kind: &str, port: u16, action: &str) -> (String, u16, String) {
    (kind.to_owned(), port, action.to_owned())
}

#[test]
fn what_gre_carries_is_a_flow_and_gre_is_not() {
    let events = run(
        Settings::default(),
        &[
            (0, gre(Client, &udp(Client, 9, b"x"))),
            (1, gre(Server, &udp(Server, 9, b"y"))),
            (4_000_000, udp(Client, 7, b"z")),
        ],
    );
    assert_eq!(tunnels(&events), [told("GRE", 0, "DISCOVER"), told("GRE", 0, "EXPIRE")]);
    assert_eq!(ends(&events), [(String::new(), 9, 29), (String::new(), 7, 29)]);
}

#[test]
fn what_cannot_be_read_in_gre_stays_a_flow() {
    let events = run(Settings::default(), &[(0, ipv4(Client, 47, b"\0\0\xff\xffhello"))]);
    assert_eq!((tunnels(&events).len(), ends(&events).len()), (0, 1));
}

#[test]
fn a_tunnel_that_is_a_flow_closes_with_it() {
    let frame = [&[2; 12], &[8, 0][..], &udp(Server, 9, b"x")].concat();
    let vxlan = [&[8, 0, 0, 0, 0, 0, 1, 0], &frame[..]].concat();
    let events = run(Settings::default(), &[(0, udp(Client, 4789, &vxlan)), (1, udp(Client, 4789, &vxlan))]);
    let uid = |event: &Event| match event {
        Event::Tunnel(tunnel) => Some(tunnel.about.uid),
        _ => None,
    };
    let outer = flows(&events)[0];
    assert!(events.iter().filter_map(uid).all(|uid| uid == outer.uid));
    assert_eq!(tunnels(&events), [told("VXLAN", 4789, "DISCOVER"), told("VXLAN", 4789, "CLOSE")]);
    assert_eq!(ends(&events), [("vxlan".to_owned(), 4789, 158), (String::new(), 4000, 58)]);
}

#[test]
fn only_so_many_tunnels_are_opened() {
    let mut packet = udp(Client, 9, b"x");
    for _ in 0..6 {
        packet = ipv4(Client, 4, &packet);
    }
    let mut sensor = Sensor::new(Settings::default());
    let mut events = Vec::new();
    sensor.packet(LinkType::RawIp, 0, PacketTime(0), &packet, packet.len() as u32, &mut events);
    assert_eq!((sensor.counters().tunnelled, sensor.counters().tunnels_too_deep), (4, 1));
    assert_eq!(flows(&events).len(), 1, "what is wrapped deeper is a flow of IP in IP");
}

#[test]
fn what_is_inside_may_take_the_place_of_what_is_around_it() {
    let settings = Settings { max_flows: 1, ..Settings::default() };
    let gtp = [&[0x30, 255, 0, 29, 0, 0, 0, 1], &udp(Server, 9, b"x")[..]].concat();
    let events = run(settings, &[(0, udp(Client, 2152, &gtp)), (1, udp(Client, 2152, &gtp))]);
    let starts = flows(&events).iter().filter(|flow| flow.phase == Phase::Start).count();
    assert_eq!((starts, ends(&events).len()), (4, 4));
    assert_eq!(tunnels(&events).len(), 4);
}

#[test]
fn what_is_wrapped_is_a_conversation_apart_and_proves_nothing() {
    let events = run(
        Settings::default(),
        &[
            (0, udp(Client, 9, b"x")),
            (1, gre(Client, &udp(Client, 9, b"x"))),
            (2, gre(Server, &udp(Server, 9, b"y"))),
            (3, udp(Server, 9, b"y")),
        ],
    );
    let ends: Vec<(bool, u64, u64)> = flows(&events)
        .into_iter()
        .filter(|flow| flow.phase == Phase::End)
        .map(|flow| (flow.tunnelled, flow.orig.pkts, flow.resp.pkts))
        .collect();
    assert_eq!(ends.len(), 2);
    assert!(ends.contains(&(false, 1, 1)) && ends.contains(&(true, 1, 1)), "{ends:?}");
    for event in events.iter().filter(|event| matches!(event, Event::Flow(flow) if flow.tunnelled)) {
        assert!(event.is_unheard());
    }
}
