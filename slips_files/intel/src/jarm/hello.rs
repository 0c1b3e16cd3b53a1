//! The ten greetings.

use super::PROBES;

/// Random bytes of a greeting: the client's, those of its session, a key that nobody has, and four that choose what means nothing.
pub const RANDOM: usize = 100;
/// Longest name of a server.
pub const LONGEST_HOST: usize = 255;

/// The version that a greeting offers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Tls11,
    Tls12,
    Tls13,
}

/// In which order, and which of them, things are offered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Forward,
    Reverse,
    /// The middle one and those before it, from the middle to the first.
    TopHalf,
    /// Those behind the middle.
    BottomHalf,
    /// From the middle to both ends by turns.
    MiddleOut,
}

use Order::{BottomHalf, Forward, MiddleOut, Reverse, TopHalf};
use Version::{Tls11, Tls12, Tls13};

/// One greeting.
struct Probe {
    version: Version,
    suites: Order,
    /// Suites of TLS 1.3 are among them.
    suites13: bool,
    /// Values are offered that mean nothing (RFC 8701).
    grease: bool,
    /// Of protocols, h2 and http/1.1 are left out.
    rare: bool,
    /// Up to which version the extension says that we speak: none, 1.2, 1.3.
    versions: Option<Version>,
    /// Of protocols and versions.
    order: Order,
}

const fn probe(version: Version, suites: Order, versions: Option<Version>, order: Order) -> Probe {
    Probe { version, suites, suites13: true, grease: false, rare: false, versions, order }
}

/// In the order in which they are sent.
const ALL: [Probe; PROBES] = [
    probe(Tls12, Forward, Some(Tls12), Reverse),
    probe(Tls12, Reverse, Some(Tls12), Forward),
    probe(Tls12, TopHalf, None, Forward),
    Probe { rare: true, ..probe(Tls12, BottomHalf, None, Forward) },
    Probe { rare: true, grease: true, ..probe(Tls12, MiddleOut, None, Reverse) },
    probe(Tls11, Forward, None, Forward),
    probe(Tls13, Forward, Some(Tls13), Reverse),
    probe(Tls13, Reverse, Some(Tls13), Forward),
    Probe { suites13: false, ..probe(Tls13, Forward, Some(Tls13), Forward) },
    Probe { grease: true, ..probe(Tls13, MiddleOut, Some(Tls13), Reverse) },
];

/// Suites as they are offered.
const OFFERED: [u16; 69] = [
    0x0016, 0x0033, 0x0067, 0xc09e, 0xc0a2, 0x009e, 0x0039, 0x006b, 0xc09f, 0xc0a3, 0x009f, 0x0045, 0x00be,
    0x0088, 0x00c4, 0x009a, 0xc008, 0xc009, 0xc023, 0xc0ac, 0xc0ae, 0xc02b, 0xc00a, 0xc024, 0xc0ad, 0xc0af,
    0xc02c, 0xc072, 0xc073, 0xcca9, 0x1302, 0x1301, 0xcc14, 0xc007, 0xc012, 0xc013, 0xc027, 0xc02f, 0xc014,
    0xc028, 0xc030, 0xc060, 0xc061, 0xc076, 0xc077, 0xcca8, 0x1305, 0x1304, 0x1303, 0xcc13, 0xc011, 0x000a,
    0x002f, 0x003c, 0xc09c, 0xc0a0, 0x009c, 0x0035, 0x003d, 0xc09d, 0xc0a1, 0x009d, 0x0041, 0x00ba, 0x0084,
    0x00c0, 0x0007, 0x0004, 0x0005,
];
/// Protocols as they are offered. The published program forgets a comma: spdy/3 and h2 stay together in every order.
const PROTOCOLS: [&[&str]; 8] = [
    &["http/0.9"],
    &["http/1.0"],
    &["http/1.1"],
    &["spdy/1"],
    &["spdy/2"],
    &["spdy/3", "h2"],
    &["h2c"],
    &["hq"],
];
const RARE: [&[&str]; 7] =
    [&["http/0.9"], &["http/1.0"], &["spdy/1"], &["spdy/2"], &["spdy/3"], &["h2c"], &["hq"]];
const VERSIONS: [u16; 4] = [0x0301, 0x0302, 0x0303, 0x0304];

/// The greeting of a probe (from 0) to a server of this name, with these random bytes. Nothing when there is no such probe or the name is too
/// long.
pub fn hello(probe: usize, host: &str, random: &[u8; RANDOM]) -> Option<Vec<u8>> {
    let probe = ALL.get(probe).filter(|_| host.len() <= LONGEST_HOST)?;
    let (client, rest) = random.split_first_chunk::<32>()?;
    let (session, rest) = rest.split_first_chunk::<32>()?;
    let (key, rest) = rest.split_first_chunk::<32>()?;
    let greases: Vec<u16> = rest.iter().map(|byte| u16::from(byte & 0xf0 | 0x0a) * 0x0101).collect();
    let grease = |at: usize| greases.get(at).copied().filter(|_| probe.grease);
    let (record, version) = match probe.version {
        Tls11 => (0x0302, 0x0302),
        Tls12 => (0x0303, 0x0303),
        Tls13 => (0x0301, 0x0303_u16),
    };
    let offered = OFFERED.into_iter().filter(|suite| probe.suites13 || suite >> 8 != 0x13);
    let suites = in_order(&offered.collect::<Vec<_>>(), probe.suites);
    let mut body = Bytes::default();
    body.short(version);
    body.0.extend(client);
    body.0.push(session.len() as u8);
    body.0.extend(session);
    body.with_length(|to| grease(0).into_iter().chain(suites).for_each(|suite| to.short(suite)));
    // One way to compress: not at all.
    body.0.extend([1, 0]);
    body.with_length(|to| extensions(to, probe, host, key, grease));
    let mut hello = Bytes::default();
    hello.0.push(22);
    hello.short(record);
    hello.with_length(|to| {
        to.0.extend([1, 0]);
        to.with_length(|to| to.0.extend(body.0));
    });
    Some(hello.0)
}

fn extensions(
    to: &mut Bytes,
    probe: &Probe,
    host: &str,
    key: &[u8; 32],
    grease: impl Fn(usize) -> Option<u16>,
) {
    if let Some(nothing) = grease(1) {
        to.extension(nothing, |_| {});
    }
    to.extension(0, |to| {
        to.with_length(|to| {
            to.0.push(0);
            to.with_length(|to| to.0.extend(host.as_bytes()));
        });
    });
    // Extended master secret, fragments of 512 bytes, renegotiation, groups, forms of points, tickets.
    to.extension(23, |_| {});
    to.extension(1, |to| to.0.push(1));
    to.extension(0xff01, |to| to.0.push(0));
    to.extension(10, |to| {
        to.with_length(|to| [29, 23, 24, 25].into_iter().for_each(|group| to.short(group)))
    });
    to.extension(11, |to| to.0.extend([1, 0]));
    to.extension(35, |_| {});
    let protocols = in_order(if probe.rare { &RARE[..] } else { &PROTOCOLS }, probe.order);
    to.extension(16, |to| {
        to.with_length(|to| {
            for name in protocols.into_iter().flatten() {
                to.0.push(name.len() as u8);
                to.0.extend(name.as_bytes());
            }
        });
    });
    let signatures = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201];
    to.extension(13, |to| to.with_length(|to| signatures.into_iter().for_each(|kind| to.short(kind))));
    to.extension(51, |to| {
        to.with_length(|to| {
            if let Some(nothing) = grease(2) {
                to.short(nothing);
                to.0.extend([0, 1, 0]);
            }
            to.short(29);
            to.with_length(|to| to.0.extend(key));
        });
    });
    to.extension(45, |to| to.0.extend([1, 1]));
    if let Some(up_to) = probe.versions {
        let known = VERSIONS.into_iter().filter(|version| up_to == Tls13 || *version < 0x0304);
        let known = in_order(&known.collect::<Vec<_>>(), probe.order);
        to.extension(43, |to| {
            let all: Vec<u16> = grease(3).into_iter().chain(known).collect();
            to.0.push(all.len() as u8 * 2);
            all.into_iter().for_each(|version| to.short(version));
        });
    }
}

/// The same in another order.
fn in_order<T: Copy>(all: &[T], order: Order) -> Vec<T> {
    let middle = all.len() / 2;
    let odd = all.len() % 2;
    let upper = all.iter().skip(middle + odd);
    let lower = all.iter().take(middle).rev();
    let center = all.iter().skip(middle).take(odd);
    match order {
        Forward => all.to_vec(),
        Reverse => all.iter().rev().copied().collect(),
        BottomHalf => upper.copied().collect(),
        TopHalf => center.chain(lower).copied().collect(),
        MiddleOut => {
            let by_turns = upper.zip(lower).flat_map(|(up, down)| [up, down]);
            center.chain(by_turns).copied().collect()
        }
    }
}

/// What is being written.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn short(&mut self, number: u16) {
        self.0.extend(number.to_be_bytes());
    }

    /// Two bytes with the length of what `write` writes, and that.
    fn with_length(&mut self, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.short(inner.0.len() as u16);
        self.0.append(&mut inner.0);
    }

    fn extension(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        self.short(kind);
        self.with_length(write);
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn orders() {
        let (odd, even) = ([1, 2, 3, 4, 5], [1, 2, 3, 4]);
        for (order, of_odd, of_even) in [
            (Forward, &[1, 2, 3, 4, 5][..], &[1, 2, 3, 4][..]),
            (Reverse, &[5, 4, 3, 2, 1], &[4, 3, 2, 1]),
            (TopHalf, &[3, 2, 1], &[2, 1]),
            (BottomHalf, &[4, 5], &[3, 4]),
            (MiddleOut, &[3, 4, 2, 5, 1], &[3, 2, 4, 1]),
        ] {
            assert_eq!((&in_order(&odd, order)[..], &in_order(&even, order)[..]), (of_odd, of_even));
        }
    }

    /// What pyjarm 0.0.5 sends, which others wrote, with the same random bytes.
    #[test]
    fn greetings_are_those_of_the_published_program() {
        let digests = [
            (425, "53797862aa9200f779f6cb83be8c86183d0c7c366e39540051160e6538118cbe"),
            (425, "f0e0c98c63e7ccc72bb0b154b003bbb811fcc8a59c97f2036dc2fd5039e6ec01"),
            (346, "5a47484dd435b5cb1c8e2546e5658385706a2ad995da37386e02c240a217d337"),
            (332, "7411beecad8f59ad06302c0306eb2a137e218a16e4f250ebde36031ffc61a8d5"),
            (413, "8513cc03c28b530c29a06b7907fd90cc80fee27d0eadc53689acbb23cce51537"),
            (414, "375b5c7028759b9772c686f7affb0534e079c7c5f70e057443f95b4bbee8269c"),
            (427, "cd752b4feed59d52791070f40c9679346576583ed129e376050753fff7bf7379"),
            (427, "8025da79042d8109ff5c3ef1aaa48990a07e408d8cddbcbf529422b881e4e6ee"),
            (417, "f0144daf102ecb85fffaa1855cccac78e7d48df425f8f2715db6ade0fe170659"),
            (440, "ec76a924b1f1e4e1da678e3e14bf2fbb59a705cf963422844bbea162e21f0b9e"),
        ];
        for (probe, (length, digest)) in digests.into_iter().enumerate() {
            let sent = hello(probe, "example.org", &[0; RANDOM]).expect("a greeting");
            let hex: String = Sha256::digest(&sent).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((sent.len(), &*hex), (length, digest), "the greeting {probe}");
        }
    }

    #[test]
    fn there_are_ten_and_each_offers_every_suite_that_has_a_number() {
        let mut offered = OFFERED.to_vec();
        let mut known = super::super::SUITES.to_vec();
        offered.sort_unstable();
        known.sort_unstable();
        assert_eq!(offered, known);
        assert!(hello(PROBES, "example.org", &[0; RANDOM]).is_none());
        assert!(hello(0, &"a".repeat(256), &[0; RANDOM]).is_none());
    }
}
