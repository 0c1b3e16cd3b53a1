use proptest::prelude::*;

use super::*;

/// What comes out of one side, gaps as `.` per byte.
#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn take(&mut self, data: Data<'_>) {
        match data {
            Data::Bytes(bytes) => self.0.extend_from_slice(bytes),
            Data::Gap(lost) => self.0.extend((0..lost).map(|_| b'.')),
        }
    }
}

fn check(segments: &[(u64, &str)], upto: u64, expected: &str) {
    let mut memory = Memory::new(1000, 100);
    let (mut stream, mut out) = (Stream::default(), Out::default());
    for (from, bytes) in segments {
        stream.push(Dir::Orig, *from, bytes.as_bytes(), &mut memory, &mut |data| out.take(data));
    }
    stream.settle(Dir::Orig, upto, &mut memory, &mut |data| out.take(data));
    assert_eq!(String::from_utf8_lossy(&out.0), expected, "{segments:?}");
    stream.clear(&mut memory);
    assert_eq!(memory.held, 0);
}

#[test]
fn bytes_come_in_order_and_the_first_copy_wins() {
    check(&[(1, "abc"), (4, "def")], 0, "abcdef");
    check(&[(4, "def"), (1, "abc")], 0, "abcdef");
    check(&[(4, "def"), (1, "XYZWVU")], 0, "XYZdef");
    check(&[(1, "abc"), (1, "XYZd")], 0, "abcd");
    check(&[(3, "cd"), (7, "gh"), (1, "ABCDEFGHIJ")], 0, "ABcdEFghIJ");
    check(&[(3, "cd"), (7, "gh"), (2, "BCDEFGHIJ"), (1, "A")], 0, "ABcdEFghIJ");
    check(&[(3, "cd"), (3, "XYef"), (1, "ab")], 0, "abcdef");
}

#[test]
fn what_was_acknowledged_unseen_is_a_gap() {
    check(&[(1, "ab"), (5, "ef")], 7, "ab..ef");
    check(&[(1, "ab"), (5, "ef")], 9, "ab..ef..");
    check(&[(5, "ef")], 4, "...");
    check(&[(5, "ef")], 5, "....ef");
}

#[test]
fn too_much_above_a_hole_gives_the_hole_up() {
    let mut memory = Memory::new(1000, 100);
    let (mut stream, mut out) = (Stream::default(), Out::default());
    for n in 0..30u64 {
        stream.push(Dir::Resp, 3 + n * 10, b"0123456789", &mut memory, &mut |data| out.take(data));
        assert!(memory.held <= 100);
    }
    assert_eq!(memory.holes_given_up, 1);
    assert_eq!(out.0.len(), 302);
    // many small islands are bounded too
    let mut stream = Stream::default();
    for n in 1..500u64 {
        stream.push(Dir::Resp, n * 4, b"x", &mut memory, &mut |data| out.take(data));
        assert!(stream.sides[1].pieces.len() <= MAX_PIECES);
    }
    stream.clear(&mut memory);
    assert_eq!(memory.held, 0);
}

/// Cuts `text` at random places, repeats and shuffles the parts.
fn parts(text: Vec<u8>) -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    let length = text.len();
    prop::collection::vec((0..length, 1..40usize), 0..20).prop_flat_map(move |extra| {
        let mut parts: Vec<(u64, Vec<u8>)> =
            text.chunks(7).enumerate().map(|(n, chunk)| (1 + n as u64 * 7, chunk.to_vec())).collect();
        for (at, size) in extra {
            let end = (at + size).min(text.len());
            parts.push((1 + at as u64, text[at..end].to_vec()));
        }
        Just(parts).prop_shuffle()
    })
}

proptest! {
    #[test]
    fn any_cut_and_order_gives_the_same_bytes(
        (text, parts) in prop::collection::vec(any::<u8>(), 1..200)
            .prop_flat_map(|text| (Just(text.clone()), parts(text)))
    ) {
        let mut memory = Memory::new(10_000, 10_000);
        let (mut stream, mut out) = (Stream::default(), Out::default());
        for (from, bytes) in &parts {
            stream.push(Dir::Orig, *from, bytes, &mut memory, &mut |data| out.take(data));
        }
        prop_assert_eq!(out.0, text);
        prop_assert_eq!(memory.held, 0);
    }

    #[test]
    fn positions_of_any_kind_keep_the_bounds(
        pushes in prop::collection::vec((any::<bool>(), 0..500u64, 0..60usize), 0..100)
    ) {
        let mut memory = Memory::new(300, 100);
        let mut stream = Stream::default();
        let mut total = 0u64;
        for (settle, at, size) in pushes {
            let bytes = vec![7; size];
            let mut sink = |data: Data<'_>| total += match data {
                Data::Bytes(bytes) => bytes.len() as u64,
                Data::Gap(lost) => lost,
            };
            if settle {
                stream.settle(Dir::Orig, at, &mut memory, &mut sink);
            } else {
                stream.push(Dir::Orig, at, &bytes, &mut memory, &mut sink);
            }
            prop_assert!(memory.held <= 100);
            prop_assert_eq!(stream.sides[0].held, memory.held);
        }
        prop_assert_eq!(total, stream.sides[0].next - 1);
    }
}
