use proptest::prelude::*;

use super::*;

fn message(op: u8, id: u32, given: u8, options: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[op, 1, 6]);
    bytes[4..8].copy_from_slice(&id.to_be_bytes());
    if given > 0 {
        bytes[16..20].copy_from_slice(&[10, 0, 0, given]);
    }
    bytes[28..34].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    bytes[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    bytes.extend(options.concat());
    bytes.push(255);
    bytes
}

fn way(at: i64, src: [u8; 4], dst: [u8; 4]) -> Way {
    let uid = Uid::new("C1");
    Way { at: PacketTime(at), uid, src: src.into(), dst: dst.into(), interface: 3 }
}

#[test]
fn messages_of_a_transaction_are_one_record() {
    let (mut pending, mut told) = (Pending::new(256), Vec::new());
    let talk = [
        (
            message(1, 7, 0, &[b"\x35\x01\x01", b"\x0c\x04host", b"\x32\x04\x0a\x00\x00\x05"]),
            [0; 4],
            [255; 4],
        ),
        (
            message(2, 7, 5, &[b"\x35\x01\x02", b"\x36\x04\x0a\x00\x00\x01", b"\x33\x04\0\0\x0e\x10"]),
            [10, 0, 0, 1],
            [10, 0, 0, 5],
        ),
        (message(1, 7, 0, &[b"\x35\x01\x03", b"\x3d\x07\x01\x02\0\0\0\0\x08"]), [0; 4], [255; 4]),
    ];
    for (at, (bytes, src, dst)) in talk.iter().enumerate() {
        let parsed = Message::parse(bytes).expect("message");
        pending.take(&parsed, &way(at as i64, *src, *dst), &mut |dhcp| told.push(dhcp));
    }
    pending.tell_older(PacketTime(2), &mut |dhcp| told.push(dhcp));
    assert!(told.is_empty());
    pending.tell_older(PacketTime(3), &mut |dhcp| told.push(dhcp));
    let expected = Dhcp {
        uids: vec![Uid::new("C1")],
        client: Some([10, 0, 0, 5].into()),
        server: Some([10, 0, 0, 1].into()),
        mac: Some(MacAddr([2, 0, 0, 0, 0, 8])),
        host_name: "host".to_owned(),
        requested_addr: Some([10, 0, 0, 5].into()),
        assigned_addr: Some([10, 0, 0, 5].into()),
        lease_time: Some(Span::from_secs(3600)),
        duration: Span(2),
        msg_types: ["DISCOVER", "OFFER", "REQUEST"].map(str::to_owned).to_vec(),
        ..begin(&way(0, [0; 4], [0; 4]))
    };
    assert_eq!(told, [expected]);
}

#[test]
fn all_servers_that_offer_are_kept() {
    let mut pending = Pending::new(256);
    let mut told = Vec::new();
    for server in [1, 66, 1, 67, 68, 69, 70, 71] {
        let bytes = message(2, 7, 5, &[b"\x35\x01\x02", &[54, 4, 10, 0, 0, server]]);
        let parsed = Message::parse(&bytes).expect("message");
        pending.take(&parsed, &way(0, [10, 0, 0, server], [255; 4]), &mut |dhcp| told.push(dhcp));
    }
    pending.tell_older(PacketTime(9), &mut |dhcp| told.push(dhcp));
    let servers = |dhcp: &Dhcp| (dhcp.server, dhcp.other_servers.clone());
    let addr = |last| IpAddr::from([10, 0, 0, last]);
    assert_eq!(told.iter().map(servers).next(), Some((Some(addr(71)), [66, 1, 67, 68].map(addr).to_vec())));
}

#[test]
fn the_server_that_a_client_chose_is_kept_though_its_offer_was_not_seen() {
    let mut pending = Pending::new(256);
    let mut told = Vec::new();
    let offer = message(2, 7, 5, &[b"\x35\x01\x02", &[54, 4, 10, 0, 0, 1]]);
    let choice = |server| message(1, 7, 0, &[b"\x35\x01\x03", &[54, 4, 10, 0, 0, server]]);
    for bytes in [offer, choice(66), choice(1), choice(66)] {
        let parsed = Message::parse(&bytes).expect("message");
        pending.take(&parsed, &way(0, [10, 0, 0, 1], [255; 4]), &mut |dhcp| told.push(dhcp));
    }
    pending.tell_older(PacketTime(9), &mut |dhcp| told.push(dhcp));
    let servers = told.iter().map(|dhcp| (dhcp.server, dhcp.other_servers.clone())).next();
    assert_eq!(servers, Some((Some([10, 0, 0, 1].into()), vec![[10, 0, 0, 66].into()])));
}

#[test]
fn transactions_are_bounded() {
    let (mut pending, mut told) = (Pending::new(256), 0);
    for id in 0..1000 {
        let bytes = message(1, id, 0, &[b"\x35\x01\x01"]);
        let parsed = Message::parse(&bytes).expect("message");
        pending.take(&parsed, &way(0, [0; 4], [255; 4]), &mut |_| told += 1);
    }
    assert_eq!(told, 1000 - 256);
    for _ in 0..MAX_MESSAGES {
        let bytes = message(1, 999, 0, &[b"\x35\x01\x01"]);
        let parsed = Message::parse(&bytes).expect("message");
        pending.take(&parsed, &way(0, [0; 4], [255; 4]), &mut |dhcp| told += dhcp.msg_types.len());
    }
    assert_eq!(told, 1000 - 256 + MAX_MESSAGES);
}

proptest! {
    #[test]
    fn arbitrary_options_are_no_harm(options in prop::collection::vec(any::<u8>(), 0..300), cut in 0..500usize) {
        let bytes = message(1, 1, 0, &[&options]);
        Message::parse(&bytes[..cut.min(bytes.len())]);
    }
}
