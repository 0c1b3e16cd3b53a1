//! Packet filters in the words of `tcpdump`: for live capture the kernel runs them, for capture files we do.
//!
//! A text is parsed to an expression once ([`PacketFilter`]) and compiled to a classic BPF program for each kind of link. The
//! same program runs in the kernel and in [`Program::accepts`], so a filter means the same in both. Understood are `host`, `net`,
//! `port`, `portrange`, `vlan`, protocols, `less` and `greater`, with `src` and `dst`, `and`, `or`, `not` and parentheses; what is
//! not understood is refused with its place, never guessed.
//!
//! Unlike with `tcpdump`, addresses and ports are found behind one or two VLAN tags too, whether the card took the tag off or
//! not: nobody should miss an attacker because of a tag.

mod compile;
mod expression;
mod machine;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub use compile::{LinkKind, TooLong};
pub use machine::{Beside, Comparison, Instruction, Operation, Program, Width};

use compile::compile;
use expression::Expression;

/// A filter expression, for any kind of link.
#[derive(Clone, Debug)]
pub struct PacketFilter {
    text: String,
    expression: Expression,
}

impl PacketFilter {
    /// The program for links of a kind; for the kernel it also looks at what the kernel keeps beside the bytes. `share`
    /// narrows it to one part of the traffic.
    pub fn program(&self, link: LinkKind, runs: RunsIn, share: Option<Share>) -> Result<Program, TooLong> {
        compile(Some(&self.expression), link, runs, share)
    }
}

impl FromStr for PacketFilter {
    type Err = NotAFilter;

    fn from_str(text: &str) -> Result<Self, NotAFilter> {
        let filter = Self { text: text.to_owned(), expression: parse::parse(text)? };
        // Too long for one kind of link is too long for all: said here, with the command, not when an interface opens.
        match filter.program(LinkKind::Ethernet, RunsIn::Kernel, Some(Share { part: 0, of: 2, key: 1 })) {
            Ok(_) => Ok(filter),
            Err(TooLong) => Err(NotAFilter { column: 1, what: TooLong.to_string() }),
        }
    }
}

impl fmt::Display for PacketFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Who runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunsIn {
    /// The kernel, which keeps a VLAN tag that the card took off beside the bytes.
    Kernel,
    /// [`Program::accepts`], over bytes as they are.
    Here,
}

/// One part of traffic that several captures share: which one a packet belongs to hangs on its pair of addresses alone, so that
/// both directions of a flow, all fragments of a packet, and its copies on other interfaces are in the same part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which part, from 0. What is not IP belongs to part 0.
    pub part: u16,
    /// How many parts there are.
    pub of: u16,
    /// A secret, the same for all parts: nobody shall aim all traffic at one of them.
    pub key: u32,
}

impl Share {
    /// The program for links of a kind, without another filter.
    pub fn program(self, link: LinkKind, runs: RunsIn) -> Result<Program, TooLong> {
        compile(None, link, runs, Some(self))
    }
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packet filter, column {column}: {what}")]
pub struct NotAFilter {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}
