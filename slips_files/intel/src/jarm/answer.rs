//! What a server answers, and the hash of all it answered.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{ANSWER, NOTHING, PROBES, SUITES};

/// What a server said to one greeting. By default: nothing of use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The number of the suite that it chose, and the version: 3 for TLS 1.2.
    chosen: Option<(u8, u8)>,
    /// The protocol that it chose.
    protocol: String,
    /// The kinds of its extensions, in their order.
    extensions: Vec<[u8; 2]>,
}

impl Answer {
    /// Reads what came. What the published program takes for an error is nothing of use.
    pub fn read(bytes: &[u8]) -> Self {
        parse(bytes.get(..ANSWER).unwrap_or(bytes)).unwrap_or_default()
    }

    /// Whether the record that came first is whole, so that nothing more is waited for.
    pub fn is_whole(bytes: &[u8]) -> bool {
        let length =
            bytes.get(3..5).and_then(|length| length.first_chunk()).map(|two| u16::from_be_bytes(*two));
        bytes.len() >= ANSWER || length.is_some_and(|length| bytes.len() >= 5 + usize::from(length))
    }
}

/// A record with a greeting of a server, and no alert.
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
/// The last version for which there is a letter.
const NEWEST: u8 = 5;

/// Two bytes as a number; of one that is the last of an answer, that one.
fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let (first, second) = (*bytes.get(at)?, bytes.get(at + 1));
    Some(second.map_or(usize::from(first), |second| usize::from(first) << 8 | usize::from(*second)))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    if (*bytes.first()?, *bytes.get(5)?) != (HANDSHAKE, SERVER_HELLO) {
        return None;
    }
    let session = usize::from(*bytes.get(43)?);
    let suite = bytes.get(session + 44..).unwrap_or_default();
    let version = bytes.get(10).map(|version| version & 0xf).filter(|version| *version <= NEWEST)?;
    let bare = Answer { chosen: Some((number_of(suite), version)), ..Answer::default() };
    let at = session + 47;
    // Without extensions the next message follows, or the next record; of the latter two lengths are known for it.
    if bytes.get(at).is_none_or(|next| *next == CERTIFICATE) {
        return Some(bare);
    }
    let behind = |at: usize| bytes.get(at..at + 3);
    if behind(at + 3) == Some(&[0x0e, 0xac, 0x0b]) || behind(82) == Some(&[0x0f, 0xf0, 0x0b]) {
        return Some(bare);
    }
    let end = at + 1 + length(bytes, at)?;
    let (mut at, mut protocol, mut extensions) = (at + 2, None, Vec::new());
    while at < end {
        let (kind, length) = (*bytes.get(at..)?.first_chunk()?, length(bytes, at + 2)?);
        extensions.push(kind);
        if kind == ALPN && protocol.is_none() {
            // Behind the lengths of the list and of the name.
            let value = bytes.get(at + 4..bytes.len().min(at + 4 + length)).unwrap_or_default();
            protocol =
                Some(std::str::from_utf8(value.get(3..).unwrap_or_default()).ok().filter(|_| length > 0)?);
        }
        at += 4 + length;
    }
    Some(Answer { protocol: protocol.unwrap_or_default().into(), extensions, ..bare })
}

const ALPN: [u8; 2] = [0, 16];

/// The fingerprint of a server from what it said to the ten greetings: of each three digits for suite and version, then 32 digits of a
/// hash of all protocols and extensions. 62 zeros when it said nothing of use.
pub fn fingerprint(answers: &[Answer; PROBES]) -> String {
    if answers.iter().all(|answer| answer.chosen.is_none()) {
        return NOTHING.into();
    }
    // As it is published: a suite, a letter for the version; below, all protocols and extensions without anything between the answers.
    let (mut print, mut rest) = (String::with_capacity(NOTHING.len()), Sha256::new());
    for answer in answers {
        print += &match answer.chosen {
            Some((suite, version)) => format!("{suite:02x}{}", char::from(b'a' + version)),
            None => "000".into(),
        };
        rest.update(&answer.protocol);
        let mut kinds = String::new();
        for (n, [high, low]) in answer.extensions.iter().enumerate() {
            let dash = if n == 0 { "" } else { "-" };
            let _ = write!(kinds, "{dash}{high:02x}{low:02x}");
        }
        rest.update(kinds);
    }
    for byte in rest.finalize().iter().take(16) {
        let _ = write!(print, "{byte:02x}");
    }
    print
}

/// The number of the suite that these bytes begin with, from 1 on; one that nobody offered comes behind all, one that is cut off is 0.
fn number_of(suite: &[u8]) -> u8 {
    let suite = suite.first_chunk().map(|two| u16::from_be_bytes(*two)).ok_or(suite.len());
    match suite {
        Ok(suite) => SUITES.iter().position(|known| *known == suite).unwrap_or(SUITES.len()) as u8 + 1,
        Err(0) => 0,
        Err(_) => SUITES.len() as u8 + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A greeting of a server: its version, with a session or none, its suite and what follows.
    fn hello(version: u8, session: usize, suite: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![22, 3, version, 0, 0, 2, 0, 0, 0, 3, version];
        bytes.extend([0; 32]);
        bytes.push(session as u8);
        bytes.resize(44 + session, 0);
        bytes.extend(suite.to_be_bytes());
        bytes.push(0);
        bytes.extend(rest);
        bytes
    }

    /// What pyjarm 0.0.5 computes, which others wrote, and where it differs the published program.
    #[test]
    fn fingerprints_are_those_of_the_published_program() {
        let h2 =
            [&[0, 22, 0xff, 1, 0, 1, 0, 0, 11, 0, 4, 3, 0, 1, 2, 0, 16, 0, 5, 0, 3, 2][..], b"h2"].concat();
        for (answer, print) in [
            (hello(3, 32, 0xc02f, &h2), "29d29d29d29d29d29d29d29d29d29de522bf61bc360225bd9d289f450b1858"),
            (hello(2, 0, 0x002f, &[]), "06c06c06c06c06c06c06c06c06c06ce3b0c44298fc1c149afbf4c8996fb924"),
            (
                hello(3, 0, 0x009c, &[11, 0, 0, 48]),
                "13d13d13d13d13d13d13d13d13d13de3b0c44298fc1c149afbf4c8996fb924",
            ),
            (
                hello(3, 32, 0x5600, &[0, 4, 0, 23, 0, 0]),
                "46d46d46d46d46d46d46d46d46d46dc5c12909cabb273058cc881ddb7a738d",
            ),
            (hello(3, 32, 0xc030, &[0, 14, 0xff]), NOTHING),
            (hello(3, 32, 0xc030, &[0, 4, 0, 16, 0, 0]), NOTHING),
            (vec![21, 3, 3, 0, 2, 2, 40], NOTHING),
            (Vec::new(), NOTHING),
        ] {
            let answers = [(); PROBES].map(|()| Answer::read(&answer));
            assert_eq!(fingerprint(&answers), print, "{answer:02x?}");
        }
    }

    #[test]
    fn a_record_is_waited_for_as_far_as_it_counts() {
        assert!(!Answer::is_whole(&[22, 3, 3, 0]) && !Answer::is_whole(&[22, 3, 3, 0, 2, 2]));
        assert!(Answer::is_whole(&[22, 3, 3, 0, 2, 2, 0]));
        assert!(Answer::is_whole(&[[22, 3, 3, 0x40, 0].as_slice(), &[0; ANSWER]].concat()));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), like in any::<bool>()) {
            if like && bytes.len() > 50 {
                (bytes[0], bytes[5], bytes[43]) = (22, 2, bytes[43] & 3);
            }
            let answers = [(); PROBES].map(|()| Answer::read(&bytes));
            let print = fingerprint(&answers);
            prop_assert!(print.len() == NOTHING.len() && print.bytes().all(|digit| digit.is_ascii_hexdigit()));
        }
    }
}
