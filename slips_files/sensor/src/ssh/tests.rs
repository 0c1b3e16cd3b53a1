use super::*;
use crate::account::Account;
use crate::track::Dir::{Orig, Resp};

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u32).to_be_bytes(), text].concat()
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32 + 1 + 4;
    [&length.to_be_bytes()[..], &[4], payload, &[0; 4]].concat()
}

/// Lists of algorithms: key exchange, host key, then ciphers, MACs and compressions for both ways.
fn init(lists: [&str; 8]) -> Vec<u8> {
    let mut payload = vec![20];
    payload.extend([7; 16]);
    lists.iter().for_each(|list| payload.extend(string(list.as_bytes())));
    payload.extend([0; 5]);
    packet(&payload)
}

fn talk(compression: &str) -> Vec<(Dir, Vec<u8>)> {
    let client = ["dh,ec", "rsa,ed", "aes,des", "aes,des", "m1", "m1,m2", compression, compression];
    let server = ["ec,dh", "ed", "des,aes", "des", "m1", "m2", compression, compression];
    vec![
        (Resp, b"Welcome.\r\nSSH-2.0-server\r\n".to_vec()),
        (Orig, b"SSH-2.0-client\r\n".to_vec()),
        (Orig, init(client)),
        (Resp, [init(server), packet(&[&[31], &string(b"key")[..], b"rest"].concat())].concat()),
        (Resp, packet(&[21])),
        (Orig, [packet(&[21]), vec![1; 44]].concat()),
    ]
}

fn encrypted(lengths: &[(Dir, usize)]) -> Vec<(Dir, Vec<u8>)> {
    lengths.iter().map(|(dir, length)| (*dir, vec![0xcc; *length])).collect()
}

/// Feeds segments; the session and whether it told of a success.
fn feed(segments: &[(Dir, Vec<u8>)]) -> (Session, bool) {
    let (mut session, mut held) = (Session::default(), Account::new(1 << 20));
    let mut success = false;
    for (dir, bytes) in segments {
        success |= session.push(*dir, bytes, &mut held);
    }
    session.close(&mut Memory::default(), &mut held);
    assert_eq!((held.now(), held.refused), (0, 0));
    (session, success)
}

fn judged(lengths: &[(Dir, usize)]) -> (Option<bool>, u32) {
    let (session, success) = feed(&[talk("none"), encrypted(lengths)].concat());
    assert_eq!(success, session.attempts.success() == Some(true));
    (session.attempts.success(), session.attempts.count())
}

#[test]
fn what_was_negotiated_is_known() {
    let (session, _) = feed(&talk("none"));
    let chosen = session.kex.chosen().expect("both sides' lists");
    assert_eq!((chosen.kex.as_str(), chosen.host_key.as_str()), ("dh", "ed"));
    assert_eq!(chosen.cipher, "To server: aes, to client: des");
    assert_eq!(chosen.mac, "To server: m1, to client: m2");
    assert_eq!(chosen.compression, "none");
    assert_eq!(session.kex.host_key(), "SHA256:LHDhK3oGRvkiefQnx7OOczTY5Tic/xZ6");
    assert_eq!((session.version(), session.sides[1].banner.as_str()), (Some(2), "SSH-2.0-server"));
}

#[test]
fn it_does_not_matter_how_plain_bytes_are_cut() {
    let (whole, _) = feed(&talk("none"));
    for size in [1, 3, 50] {
        let mut cut = Vec::new();
        for (dir, bytes) in talk("none") {
            cut.extend(bytes.chunks(size).map(|part| (dir, part.to_vec())));
        }
        let (session, _) = feed(&cut);
        assert_eq!(session.kex.chosen(), whole.kex.chosen(), "{size}");
        assert_eq!(session.sides.map(|side| side.banner), whole.sides.clone().map(|side| side.banner));
    }
}

#[test]
fn sizes_tell_who_logged_in() {
    // offer, then the answer to the attempt without a password
    assert_eq!(judged(&[(Resp, 60)]), (None, 0));
    assert_eq!(judged(&[(Resp, 60), (Resp, 44)]), (Some(true), 1), "no password needed");
    assert_eq!(judged(&[(Resp, 60), (Resp, 84), (Resp, 44)]), (Some(true), 1));
    assert_eq!(judged(&[(Resp, 60), (Resp, 84), (Resp, 84), (Orig, 9), (Resp, 84)]), (Some(false), 2));
    assert_eq!(judged(&[(Resp, 60), (Resp, 400), (Resp, 84), (Resp, 84), (Resp, 44)]), (Some(true), 2));
    assert_eq!(judged(&[(Resp, 60), (Resp, 84), (Resp, 44), (Resp, 84)]), (Some(true), 1), "final");
}

#[test]
fn nothing_is_judged_where_sizes_say_nothing() {
    let lengths = encrypted(&[(Resp, 60), (Resp, 84), (Resp, 84), (Resp, 44)]);
    let (session, success) = feed(&[talk("zlib@openssh.com"), lengths].concat());
    assert_eq!((session.attempts.count(), success), (0, false));
    let mut session = Session::default();
    session.lose(Resp, &mut Account::new(0));
    assert!(!session.attempts.segment(Resp, 44));
}

#[test]
fn versions_meet() {
    let version = |client: &str, server: &str| {
        let line = |text: &str| format!("{text}\r\n").into_bytes();
        feed(&[(Orig, line(client)), (Resp, line(server))]).0.version()
    };
    assert_eq!(version("SSH-2.0-a", "SSH-1.99-b"), Some(2));
    assert_eq!(version("SSH-1.5-a", "SSH-1.99-b"), Some(1));
    assert_eq!(version("SSH-2.0-a", "SSH-1.5-b"), None);
}

#[test]
fn what_a_session_holds_is_bounded() {
    let mut held = Account::new(1 << 20);
    let mut session = Session::default();
    for _ in 0..100 {
        session.push(Orig, &[b'x'; 1000], &mut held);
        session.push(Resp, b"SSH-2.0-a\r\n\x00\x00\x80\x00\x04\x14", &mut held);
    }
    assert!(held.now() <= MAX_BEFORE_BANNER + MAX_PACKET as usize, "{held:?}");
    let (mut poor, mut full) = (Session::default(), Account::new(1));
    poor.push(Orig, b"SSH-2.0-a\r\n\x00\x00", &mut full);
    assert_eq!((poor.sides[0].stage, full.now(), full.refused), (Stage::Lost, 0, 1));
}

#[test]
fn segments_out_of_order_are_read_in_order_and_lost_bytes_end_it() {
    for is_lost in [false, true] {
        let (mut session, mut held, mut memory) =
            (Session::default(), Account::new(1 << 20), Memory::new(1 << 20, 1 << 18));
        let mut next = [1u64; 2];
        let mut segments: Vec<_> = talk("none")
            .into_iter()
            .map(|(dir, bytes)| {
                let from = next[dir as usize];
                next[dir as usize] += bytes.len() as u64;
                (dir, from, bytes)
            })
            .collect();
        // the client's lists overtake its identification
        segments.swap(1, 2);
        if is_lost {
            segments.remove(2);
        }
        for (dir, from, bytes) in &segments {
            let settled = if is_lost { next } else { [1, 1] };
            let segment = Segment { dir: *dir, from: *from, bytes, settled };
            session.read(&segment, &mut memory, &mut held);
        }
        assert_eq!(session.kex.chosen().is_some(), !is_lost);
        assert_eq!(session.sides[0].banner.is_empty(), is_lost);
        session.close(&mut memory, &mut held);
        assert_eq!((held.now(), memory.held), (0, 0));
    }
}
