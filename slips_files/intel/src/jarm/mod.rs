//! JARM, the fingerprint of a TLS server that is asked ten times in ten ways: the greetings to send, what an answer says, and the hash of
//! the ten. Sending them is not done here.
//!
//! The method and its numbers are those that Salesforce published (<https://github.com/salesforce/jarm>, BSD-3-Clause, version 1.0); lists
//! of others hold what that program computes, so its oddities are kept.

mod answer;
mod hello;

pub use answer::{Answer, fingerprint};
pub use hello::{LONGEST_HOST, RANDOM, hello};

/// How often a server is asked.
pub const PROBES: usize = 10;
/// Bytes of an answer that count: the rest is never looked at.
pub const ANSWER: usize = 1484;
/// The fingerprint of a server that speaks no TLS, or none that it was asked for.
pub const NOTHING: &str = "00000000000000000000000000000000000000000000000000000000000000";

/// The cipher suites, in the order in which their numbers are in a fingerprint, from 1 on.
const SUITES: [u16; 69] = [
    0x0004, 0x0005, 0x0007, 0x000a, 0x0016, 0x002f, 0x0033, 0x0035, 0x0039, 0x003c, 0x003d, 0x0041, 0x0045,
    0x0067, 0x006b, 0x0084, 0x0088, 0x009a, 0x009c, 0x009d, 0x009e, 0x009f, 0x00ba, 0x00be, 0x00c0, 0x00c4,
    0xc007, 0xc008, 0xc009, 0xc00a, 0xc011, 0xc012, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028, 0xc02b,
    0xc02c, 0xc02f, 0xc030, 0xc060, 0xc061, 0xc072, 0xc073, 0xc076, 0xc077, 0xc09c, 0xc09d, 0xc09e, 0xc09f,
    0xc0a0, 0xc0a1, 0xc0a2, 0xc0a3, 0xc0ac, 0xc0ad, 0xc0ae, 0xc0af, 0xcc13, 0xcc14, 0xcca8, 0xcca9, 0x1301,
    0x1302, 0x1303, 0x1304, 0x1305,
];
