use proptest::prelude::*;
use slips_core::event::{Event, Quic, Tls};

use super::keys::tests::seal;
use super::*;
use crate::reader::testing::read_datagrams;
use crate::track::Dir::{self, Orig, Resp};

const V1: u32 = 1;
const V2: u32 = 0x6b33_43cf;
const ID: &[u8] = &[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

fn vec16(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

fn extension(number: u16, content: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &vec16(content)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

fn client_hello() -> Vec<u8> {
    let extensions = [
        extension(0, &vec16(&[&[0][..], &vec16(b"host.example")].concat())),
        extension(16, &vec16(b"\x02h3\x05h3-29")),
        extension(43, &[2, 3, 4]),
    ]
    .concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &vec16(&[0x13, 0x01]), &[1, 0], &vec16(&extensions)].concat();
    message(1, &body)
}

fn server_hello() -> Vec<u8> {
    let extensions = [extension(43, &[3, 4]), extension(51, &[0, 29, 0, 1, 9])].concat();
    message(2, &[&[3, 3][..], &[9; 32], &[0, 0x13, 0x01, 0], &vec16(&extensions)].concat())
}

fn crypto(offset: u64, bytes: &[u8]) -> Vec<u8> {
    [&[6][..], &(offset | 3 << 62).to_be_bytes(), &(0x4000 | bytes.len() as u16).to_be_bytes(), bytes]
        .concat()
}

/// First byte, version, and both connection ids.
fn long(kind: u8, version: u32, destination: &[u8], source: &[u8]) -> Vec<u8> {
    let kind = if version == V2 { (kind + 1) & 3 } else { kind };
    let first = [0xc1 | kind << 4];
    let ids = [&[destination.len() as u8][..], destination, &[source.len() as u8], source].concat();
    [&first[..], &version.to_be_bytes(), &ids].concat()
}

/// An Initial of whoever sends to `destination`, opened by the keys of `id`.
fn initial(version: u32, id: &[u8], sender: Sender, destination: &[u8], frames: &[u8]) -> Vec<u8> {
    let source: &[u8] = if sender == Sender::Client { b"c" } else { b"server" };
    let length = 0x4000 | (2 + frames.len() + 16) as u16;
    let header = [&long(0, version, destination, source)[..], &[0], &length.to_be_bytes(), &[0, 5]].concat();
    let keys = Keys::derive(Version::known(version).expect("version"), id, sender).expect("keys");
    seal(&keys, &header, 5, frames)
}

fn handshake_packet(version: u32, destination: &[u8], source: &[u8]) -> Vec<u8> {
    [&long(2, version, destination, source)[..], &[0x40, 20], &[5; 20]].concat()
}

fn short() -> Vec<u8> {
    vec![0x43; 40]
}

fn conversation(version: u32) -> Vec<(Dir, Vec<u8>)> {
    let server = initial(version, ID, Sender::Server, b"c", &crypto(0, &server_hello()));
    vec![
        (Orig, initial(version, ID, Sender::Client, ID, &crypto(0, &client_hello()))),
        (Resp, [server, handshake_packet(version, b"c", b"server")].concat()),
        (Orig, [handshake_packet(version, b"server", b"c"), vec![0; 30]].concat()),
        (Orig, short()),
        (Resp, short()),
        (Orig, short()),
        (Orig, short()),
    ]
}

fn rows(events: &[Event]) -> Vec<Quic> {
    events
        .iter()
        .filter_map(|event| if let Event::Quic(quic) = event { Some(*quic.clone()) } else { None })
        .collect()
}

fn handshakes(events: &[Event]) -> Vec<Tls> {
    events
        .iter()
        .filter_map(|event| if let Event::Tls(tls) = event { Some(*tls.clone()) } else { None })
        .collect()
}

#[test]
fn a_connection_is_told_with_its_handshake() {
    for (version, name) in [(V1, "1"), (V2, "quicv2"), (0xff00_001d, "draft-29"), (0xff00_001b, "draft-27")] {
        let (events, counts, services) = read_datagrams(Service::Quic, &conversation(version));
        let [row] = &rows(&events)[..] else { panic!("{events:?}") };
        assert_eq!((row.version.as_str(), row.history.as_str()), (name, "ISishHXOoO"));
        assert_eq!(row.client_initial_dcid, "8394c8f03e515708");
        assert_eq!(row.client_scid.as_deref(), Some("63"));
        assert_eq!(row.server_scid.as_deref(), Some("736572766572"));
        assert_eq!((row.server_name.as_str(), row.client_protocol.as_str()), ("host.example", "h3"));
        let [tls] = &handshakes(&events)[..] else { panic!("{events:?}") };
        let fields = &tls.fields;
        assert_eq!((fields.version.as_str(), fields.ssl_history.as_str()), ("TLSv13", "Cs"));
        assert_eq!((fields.server_name.as_str(), fields.curve.as_str()), ("host.example", "x25519"));
        assert!(fields.ja4.starts_with("q13d0103h3_"), "{}", fields.ja4);
        assert_eq!(services, [Some(Service::Quic), Some(Service::Ssl)]);
        assert_eq!((counts.quic_opened, counts.quic_not_authentic, counts.quic_malformed), (2, 0, 0));
    }
}

#[test]
fn a_hello_in_any_order_over_several_packets_is_read() {
    let hello = client_hello();
    let piece = |from: usize, to: usize| crypto(from as u64, &hello[from..to]);
    let of = |frames: Vec<u8>| initial(V1, ID, Sender::Client, ID, &frames);
    let last = of([piece(60, hello.len()), vec![0; 20]].concat());
    let first = of([vec![1, 0, 0], piece(0, 20), piece(10, 40)].concat());
    let middle = of([vec![2, 1, 2, 1, 3, 4, 5], piece(39, 61)].concat());
    let (events, ..) = read_datagrams(Service::Quic, &[(Orig, last), (Orig, [first, middle].concat())]);
    assert_eq!(rows(&events)[0].server_name, "host.example");
    assert_eq!(rows(&events)[0].history, "IIIS");
}

#[test]
fn a_retry_begins_anew_with_other_keys() {
    let retry = [&long(3, V1, b"c", b"again")[..], b"token", &[0; 16]].concat();
    let second = [
        (Orig, initial(V1, b"again", Sender::Client, b"again", &crypto(0, &client_hello()))),
        (Resp, initial(V1, b"again", Sender::Server, b"c", &crypto(0, &server_hello()))),
    ];
    let talk = [&conversation(V1)[..1], &[(Resp, retry.clone())], &second].concat();
    let (events, counts, _) = read_datagrams(Service::Quic, &talk);
    let histories: Vec<_> = rows(&events).into_iter().map(|row| row.history).collect();
    assert_eq!(histories, ["ISr", "ISis"]);
    assert_eq!(rows(&events)[1].client_initial_dcid, "616761696e");
    assert_eq!(handshakes(&events)[0].fields.ssl_history, "CCs");
    assert_eq!(counts.quic_opened, 3);
    // whoever says so after the server has answered is not believed
    let talk = [&conversation(V1)[..2], &[(Resp, retry)]].concat();
    assert_eq!(rows(&read_datagrams(Service::Quic, &talk).0)[0].history, "ISish");
}

#[test]
fn a_server_that_refuses_for_ever_is_told_a_few_times() {
    let retry = [&long(3, V1, b"c", b"again")[..], b"token", &[0; 16]].concat();
    let versions = [&long(0, 0, b"c", b"again")[..], &V2.to_be_bytes()].concat();
    for refusal in [retry, versions] {
        let talk = [&conversation(V1)[..1], &vec![(Resp, refusal); 500]].concat();
        let told = rows(&read_datagrams(Service::Quic, &talk).0).len();
        assert!(told <= usize::from(MAX_RESTARTS) + 1, "{told}");
    }
}

#[test]
fn a_client_whose_version_is_refused_begins_anew() {
    let mut refusal = long(0, 0, b"c", ID);
    refusal[0] = 0x80;
    refusal.extend(V2.to_be_bytes());
    let talk = [&conversation(V1)[..1], &[(Resp, refusal)], &conversation(V2)].concat();
    let (events, ..) = read_datagrams(Service::Quic, &talk);
    let told: Vec<_> = rows(&events).into_iter().map(|row| (row.version, row.history)).collect();
    assert_eq!(told, [("1".into(), "ISu".into()), ("quicv2".into(), "ISishHXOoO".into())]);
}

#[test]
fn what_is_not_quic_or_unknown_ends_early() {
    let unknown = long(0, 0x1a2a_3a4a, ID, b"c");
    let (events, counts, services) =
        read_datagrams(Service::Quic, &[(Orig, unknown.clone()), (Orig, unknown)]);
    let told: Vec<_> = rows(&events).into_iter().map(|row| (row.version, row.history)).collect();
    assert_eq!((told, services), (vec![("unknown-1a2a3a4a".into(), "U".into())], [None; 2]));
    assert_eq!(counts.quic_opened, 0);
    let mut forged = initial(V1, ID, Sender::Client, ID, &crypto(0, &client_hello()));
    forged[60] ^= 1;
    let (events, counts, services) = read_datagrams(Service::Quic, &vec![(Orig, forged); 100]);
    assert_eq!((counts.quic_not_authentic, services), (MAX_FAILED.into(), [None; 2]));
    assert_eq!(rows(&events).len(), 1);
}

#[test]
fn a_zero_round_trip_and_a_close_are_noted() {
    let early = [&long(1, V1, ID, b"c")[..], &[0x40, 20], &[5; 20]].concat();
    let close = initial(V1, ID, Sender::Server, b"c", &[0x1c, 1, 6, 2, b'n', b'o']);
    let first = [conversation(V1)[0].1.clone(), early].concat();
    let (events, ..) = read_datagrams(Service::Quic, &[(Orig, first), (Resp, close), (Orig, short())]);
    assert_eq!(rows(&events).iter().map(|row| row.history.as_str()).collect::<Vec<_>>(), ["ISZic"]);
}

/// What is spent on hostile datagrams is bounded: `check` gets the counts.
#[test]
fn work_and_memory_are_bounded() {
    let ping: Vec<_> = vec![(Orig, initial(V1, ID, Sender::Client, ID, &[1; 30])); 2000];
    let (_, counts, _) = read_datagrams(Service::Quic, &ping);
    assert_eq!((counts.quic_opened, counts.quic_given_up), (MAX_OPENED.into(), 2000 - u64::from(MAX_OPENED)));

    let far = crypto((1 << 62) - 1, b"x");
    let (_, counts, _) =
        read_datagrams(Service::Quic, &vec![(Orig, initial(V1, ID, Sender::Client, ID, &far)); 9]);
    assert_eq!((counts.quic_opened, counts.quic_given_up), (1, 1));

    let tiny: Vec<u8> = (0..1500u64).flat_map(|nth| crypto(nth * 2 + 4, b"x")).collect();
    let (_, counts, _) =
        read_datagrams(Service::Quic, &[(Orig, initial(V1, ID, Sender::Client, ID, &tiny[..9000]))]);
    assert_eq!((counts.quic_opened, counts.quic_given_up), (1, 1));

    // a new id each time: the keys are derived anew, but only so often
    let anew = |nth: u8| (Orig, initial(V1, &[nth; 8], Sender::Client, &[nth; 8], &[1; 30]));
    let (_, counts, _) = read_datagrams(Service::Quic, &(0..200).map(anew).collect::<Vec<_>>());
    assert_eq!(counts.quic_opened, u64::from(MAX_RESTARTS) + 1);

    let single: Vec<_> = (0..=255u8).map(|byte| (Orig, vec![byte])).collect();
    assert_eq!(read_datagrams(Service::Quic, &single).1.quic_opened, 0);
    let lies = [&[0x06][..], &[0xff; 8], &[0xff; 8]].concat();
    let (_, counts, _) = read_datagrams(Service::Quic, &[(Orig, initial(V1, ID, Sender::Client, ID, &lies))]);
    assert_eq!((counts.quic_opened, counts.quic_malformed), (1, 1));
    let ranges = [&[0x02, 0, 0][..], &[0xff; 8], &[0]].concat();
    let (_, counts, _) =
        read_datagrams(Service::Quic, &[(Orig, initial(V1, ID, Sender::Client, ID, &ranges))]);
    assert_eq!((counts.quic_opened, counts.quic_malformed), (1, 1));
}

#[test]
fn datagrams_cut_anywhere_are_no_harm() {
    let talk = conversation(V1);
    for cut in 0..talk[1].1.len() {
        let mut talk = talk.clone();
        talk[1].1.truncate(cut);
        talk[0].1.truncate(cut.max(80));
        let (events, ..) = read_datagrams(Service::Quic, &talk);
        assert!(rows(&events).len() <= 1 && handshakes(&events).len() <= 1);
    }
}

proptest! {
    #[test]
    fn arbitrary_datagrams_are_no_harm(
        datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 0..20)
    ) {
        let talk: Vec<_> =
            datagrams.into_iter().map(|(orig, bytes)| (if orig { Orig } else { Resp }, bytes)).collect();
        read_datagrams(Service::Quic, &talk);
    }

    #[test]
    fn arbitrary_frames_are_no_harm(frames in prop::collection::vec(0..8u8, 20..200)) {
        let first = (Orig, initial(V1, ID, Sender::Client, ID, &frames));
        let (_, counts, _) = read_datagrams(Service::Quic, &[first]);
        prop_assert_eq!(counts.quic_opened, 1);
    }

    #[test]
    fn damaged_conversations_are_no_harm(nth in 0..3usize, at in 0..300usize, value in any::<u8>()) {
        let mut talk = conversation(V1);
        let length = talk[nth].1.len();
        talk[nth].1[at % length] = value;
        let (events, ..) = read_datagrams(Service::Quic, &talk);
        prop_assert!(handshakes(&events).len() <= 1);
    }
}
