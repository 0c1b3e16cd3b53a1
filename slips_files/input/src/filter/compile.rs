//! From an expression to a program.
//!
//! Every program begins by finding the network header and the protocol behind VLAN tags; each test then loads what it asks for.
//! Code is written from its end: jumps go forward only, so where they lead is known when they are written.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::expression::{Carrier, Expression, Family, Side, Test, Transport};
use super::machine::{Beside, Comparison, Instruction, Operation, Program, Width};
use super::{RunsIn, Share};

use Instruction::{
    Compare, IndexMemory, Load, LoadBehind, LoadBeside, LoadLength, LoadMemory, LoadNumber, Number, Return,
    Skip, Store, ToIndex, WithIndex,
};
use Width::{Byte, Half, Word};

/// How frames of a link begin, as far as filters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// Ethernet.
    Ethernet,
    /// IP without a link header, or with so many bytes in front that say nothing else.
    Ip(u8),
    /// A cooked header: where the protocol number stands, and where IP begins.
    Cooked(u8, u8),
}

impl LinkKind {
    /// From the number in a capture file; `None` where filters cannot be used.
    pub const fn from_dlt(dlt: u32) -> Option<Self> {
        Some(match dlt {
            1 => Self::Ethernet,
            12 | 14 | 101 | 228 | 229 => Self::Ip(0),
            0 | 108 => Self::Ip(4),
            113 => Self::Cooked(14, 16),
            276 => Self::Cooked(0, 20),
            _ => return None,
        })
    }
}

/// A program would be longer than the kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the filter is too long for the kernel, which takes {MAX_INSTRUCTIONS} instructions")]
pub struct TooLong;

/// The kernel's own limit (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

/// Takes the packet whole: more than any frame has.
const WHOLE: u32 = 0x0004_0000;

/// Words of memory: where the network header begins, its protocol, the VLAN number, and one for what is being calculated.
const NETWORK: u32 = 0;
const PROTOCOL: u32 = 1;
const VLAN: u32 = 2;
const SCRATCH: u32 = 3;

/// The VLAN number of a packet without tag.
const NO_VLAN: u32 = u32::MAX;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const ARP: u16 = 0x0806;
pub(super) const RARP: u16 = 0x8035;
/// What marks a VLAN tag: 802.1Q, 802.1ad, and what was in use before that.
const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];

pub(super) fn compile(
    expression: Option<&Expression>,
    link: LinkKind,
    runs: RunsIn,
    share: Option<Share>,
) -> Result<Program, TooLong> {
    let share = share.map(Question::share);
    let question = match (expression, share) {
        (Some(expression), Some(share)) => Question::and(share, Question::of(expression, link)),
        (Some(expression), None) => Question::of(expression, link),
        (None, Some(share)) => share,
        (None, None) => Question::always(),
    };
    let mut writer = Writer { reversed: vec![Return(0), Return(WHOLE)] };
    writer.question(&question, TAKE, REFUSE);
    let mut instructions = prologue(link, runs);
    instructions.extend(writer.reversed.into_iter().rev());
    if instructions.len() > MAX_INSTRUCTIONS { Err(TooLong) } else { Ok(Program::new(instructions)) }
}

/// Where the two ends of a program stand, from its end.
const REFUSE: usize = 0;
const TAKE: usize = 1;

/// Finds the network header.
fn prologue(link: LinkKind, runs: RunsIn) -> Vec<Instruction> {
    let mut code = vec![LoadNumber(NO_VLAN), Store(VLAN)];
    match link {
        LinkKind::Ethernet => {
            if runs == RunsIn::Kernel {
                code.extend([
                    LoadBeside(Beside::HasVlan),
                    Compare(Comparison::Equal, 0, 3, 0),
                    LoadBeside(Beside::Vlan),
                    Number(Operation::And, 0xfff),
                    Store(VLAN),
                ]);
            }
            ethernet(&mut code);
        }
        LinkKind::Ip(before) => {
            let before = u32::from(before);
            code.extend([
                LoadNumber(before),
                Store(NETWORK),
                Load(Byte, before),
                Number(Operation::Right, 4),
                Compare(Comparison::Equal, 4, 2, 0),
                Compare(Comparison::Equal, 6, 3, 0),
                // Neither: the number itself is no protocol.
                Skip(3),
                LoadNumber(IPV4.into()),
                Skip(1),
                LoadNumber(IPV6.into()),
                Store(PROTOCOL),
            ]);
        }
        LinkKind::Cooked(protocol, network) => code.extend([
            LoadNumber(network.into()),
            Store(NETWORK),
            Load(Half, protocol.into()),
            Store(PROTOCOL),
        ]),
    }
    code
}

/// Ethernet with up to two tags in the bytes; the outermost tag's number is kept.
fn ethernet(code: &mut Vec<Instruction>) {
    for (tags, place) in [(0u8, 12u32), (1, 16), (2, 20)] {
        let innermost = tags == 2;
        code.push(Load(Half, place));
        code.push(Store(PROTOCOL));
        code.push(LoadNumber(place + 2));
        code.push(Store(NETWORK));
        if innermost {
            return;
        }
        code.push(LoadMemory(PROTOCOL));
        let [first, second, third] = TAGS;
        // Behind the tag that follows: 5 instructions of it, then 4 or 9 + 4 of what is inside, and the body.
        let rest = if tags == 0 { REST_OF_ETHERNET } else { 5 + 4 };
        code.extend([
            Compare(Comparison::Equal, first, 3, 0),
            Compare(Comparison::Equal, second, 2, 0),
            Compare(Comparison::Equal, third, 1, 0),
            Skip(rest),
            LoadMemory(VLAN),
            Compare(Comparison::Equal, NO_VLAN, 0, 3),
            Load(Half, place + 2),
            Number(Operation::And, 0xfff),
            Store(VLAN),
        ]);
    }
}

/// Instructions from the first tag on: reading it, the protocol behind it, its tests, the second tag, the protocol behind that.
const REST_OF_ETHERNET: u32 = 5 + 5 + 4 + 5 + 4;

/// An expression in terms of the machine.
enum Question {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
    /// Runs the instructions, then compares.
    Ask(Vec<Instruction>, Comparison, u32),
}

impl Question {
    fn and(self, other: Self) -> Self {
        Self::And(Box::new(self), Box::new(other))
    }

    fn or(self, other: Self) -> Self {
        Self::Or(Box::new(self), Box::new(other))
    }

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }

    fn equal(code: Vec<Instruction>, value: u32) -> Self {
        Self::Ask(code, Comparison::Equal, value)
    }

    fn always() -> Self {
        Self::equal(vec![LoadNumber(0)], 0)
    }

    fn never() -> Self {
        Self::always().not()
    }

    fn of(expression: &Expression, link: LinkKind) -> Self {
        match expression {
            Expression::And(one, other) => Self::of(one, link).and(Self::of(other, link)),
            Expression::Or(one, other) => Self::of(one, link).or(Self::of(other, link)),
            Expression::Not(inner) => Self::of(inner, link).not(),
            Expression::Test(test) => Self::test(test, link),
        }
    }

    fn test(test: &Test, link: LinkKind) -> Self {
        match test {
            Test::EtherType(number) => Self::protocol(*number),
            Test::IpProto(family, number) => Self::ip_proto(*family, *number),
            Test::Net4(carrier, side, addr, prefix) => Self::net4(*carrier, *side, *addr, *prefix),
            Test::Net6(side, addr, prefix) => {
                Self::protocol(IPV6).and(Self::ends(*side, 8, 24, |at| Self::in_net6(at, *addr, *prefix)))
            }
            Test::Ports(family, transport, side, low, high) => {
                Self::ports(*family, *transport, *side, *low, *high)
            }
            Test::Mac(side, mac) if link == LinkKind::Ethernet => {
                let [a, b, c, d, e, f] = mac.0;
                Self::ends(*side, 6, 0, |at| {
                    let front = Self::equal(vec![Load(Word, at)], u32::from_be_bytes([a, b, c, d]));
                    front.and(Self::equal(vec![Load(Half, at + 4)], u16::from_be_bytes([e, f]).into()))
                })
            }
            Test::Mac(..) => Self::never(),
            Test::Vlan(None) => Self::equal(vec![LoadMemory(VLAN)], NO_VLAN).not(),
            Test::Vlan(Some(number)) => Self::equal(vec![LoadMemory(VLAN)], (*number).into()),
            Test::AtLeast(bytes) => Self::Ask(vec![LoadLength], Comparison::AtLeast, *bytes),
        }
    }

    fn protocol(number: u16) -> Self {
        Self::equal(vec![LoadMemory(PROTOCOL)], number.into())
    }

    /// Asks of both ends, of which the source's part stands at `src`.
    fn ends(side: Side, src: u32, dst: u32, ask: impl Fn(u32) -> Self) -> Self {
        match side {
            Side::Src => ask(src),
            Side::Dst => ask(dst),
            Side::Either => ask(src).or(ask(dst)),
            Side::Both => ask(src).and(ask(dst)),
        }
    }

    fn network(width: Width, place: u32) -> Vec<Instruction> {
        vec![IndexMemory(NETWORK), LoadBehind(width, place)]
    }

    fn ip_proto(family: Family, number: u8) -> Self {
        let number = u32::from(number);
        let four = || Self::protocol(IPV4).and(Self::equal(Self::network(Byte, 9), number));
        let six = || {
            // Also behind a fragment header, as tcpdump looks.
            let fragment = Self::equal(Self::network(Byte, 6), 44);
            let behind = fragment.and(Self::equal(Self::network(Byte, 40), number));
            Self::protocol(IPV6).and(Self::equal(Self::network(Byte, 6), number).or(behind))
        };
        match family {
            Family::V4 => four(),
            Family::V6 => six(),
            Family::Any => four().or(six()),
        }
    }

    fn net4(carrier: Carrier, side: Side, addr: Ipv4Addr, prefix: u8) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
        let within = |at| {
            let mut code = Self::network(Word, at);
            if mask != u32::MAX {
                code.push(Number(Operation::And, mask));
            }
            Self::equal(code, addr.to_bits() & mask)
        };
        let ip = || Self::protocol(IPV4).and(Self::ends(side, 12, 16, within));
        let arp = || {
            let is_arp = Self::protocol(ARP).or(Self::protocol(RARP));
            is_arp.and(Self::ends(side, 14, 24, within))
        };
        match carrier {
            Carrier::Ip => ip(),
            Carrier::Arp => arp(),
            Carrier::Any => ip().or(arp()),
        }
    }

    fn in_net6(at: u32, addr: Ipv6Addr, prefix: u8) -> Self {
        let bits = addr.to_bits();
        let words = (0..4u32).filter(|word| u32::from(prefix) > word * 32);
        let same = |word: u32| {
            let length = (u32::from(prefix) - word * 32).min(32);
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            let value = (bits >> (96 - word * 32)) as u32;
            let mut code = Self::network(Word, at + word * 4);
            code.push(Number(Operation::And, mask));
            Self::equal(code, value & mask)
        };
        words.map(same).reduce(Self::and).unwrap_or_else(Self::always)
    }

    fn ports(family: Family, transport: Transport, side: Side, low: u16, high: u16) -> Self {
        let (low, high) = (u32::from(low), u32::from(high));
        let within = |code: Vec<Instruction>| {
            if low == high {
                return Self::equal(code, low);
            }
            let at_least = Self::Ask(code.clone(), Comparison::AtLeast, low);
            at_least.and(Self::Ask(code, Comparison::Greater, high).not())
        };
        let any_of = |place| {
            let numbers = transport.numbers().iter();
            let tests = numbers.map(|number| Self::equal(Self::network(Byte, place), (*number).into()));
            tests.reduce(Self::or).unwrap_or_else(Self::never)
        };
        let four = || {
            // Where the transport header begins: later fragments have none.
            let behind = |at| {
                let mut code = Self::network(Byte, 0);
                code.extend([
                    Number(Operation::And, 0xf),
                    Number(Operation::Left, 2),
                    WithIndex(Operation::Add),
                    ToIndex,
                    LoadBehind(Half, at),
                ]);
                code
            };
            let whole = Self::Ask(Self::network(Half, 6), Comparison::AnyBit, 0x1fff).not();
            let ports = Self::ends(side, 0, 2, |at| within(behind(at)));
            Self::protocol(IPV4).and(any_of(9)).and(whole).and(ports)
        };
        let six = || {
            let ports = Self::ends(side, 40, 42, |at| within(Self::network(Half, at)));
            Self::protocol(IPV6).and(any_of(6)).and(ports)
        };
        match family {
            Family::V4 => four(),
            Family::V6 => six(),
            Family::Any => four().or(six()),
        }
    }

    /// Whether a packet is in a part: by both addresses, whichever is the source.
    fn share(share: Share) -> Self {
        let part = u32::from(share.part);
        let mixed = |words: &[u32]| {
            let mut code = vec![LoadNumber(0), Store(SCRATCH)];
            for at in words {
                code.extend([
                    IndexMemory(NETWORK),
                    LoadBehind(Word, *at),
                    IndexMemory(SCRATCH),
                    WithIndex(Operation::Xor),
                    Store(SCRATCH),
                ]);
            }
            code.extend([
                // Fibonacci hashing with a secret odd number; the upper bits are the good ones.
                Number(Operation::Multiply, share.key | 1),
                Number(Operation::Right, 16),
                Number(Operation::Rest, share.of.max(1).into()),
            ]);
            Self::equal(code, part)
        };
        let four = Self::protocol(IPV4).and(mixed(&[12, 16]));
        let six = Self::protocol(IPV6).and(mixed(&[8, 12, 16, 20, 24, 28, 32, 36]));
        let ip = four.or(six);
        if part == 0 {
            return ip.or(Self::protocol(IPV4).or(Self::protocol(IPV6)).not());
        }
        ip
    }
}

/// Writes a program from its end.
struct Writer {
    reversed: Vec<Instruction>,
}

impl Writer {
    /// Writes a question that goes on at `yes` or `no`; where it begins itself. Places are counted from the end.
    fn question(&mut self, question: &Question, yes: usize, no: usize) -> usize {
        match question {
            Question::And(one, other) => {
                let then = self.question(other, yes, no);
                self.question(one, then, no)
            }
            Question::Or(one, other) => {
                let then = self.question(other, yes, no);
                self.question(one, yes, then)
            }
            Question::Not(inner) => self.question(inner, no, yes),
            Question::Ask(code, comparison, value) => {
                let (yes, no) = (self.near(yes), self.near(no));
                // Two jumps over distant code may have come in between.
                let (yes, no) = (self.far(yes), self.far(no));
                self.reversed.push(Compare(*comparison, *value, yes, no));
                self.reversed.extend(code.iter().rev());
                self.reversed.len() - 1
            }
        }
    }

    /// A place from which `to` is reached and that a comparison can jump to: itself, or a jump written here.
    fn near(&mut self, to: usize) -> usize {
        let distance = self.reversed.len() - 1 - to;
        // One is left for the other arm's jump.
        if distance < usize::from(u8::MAX) {
            return to;
        }
        self.reversed.push(Skip(distance as u32));
        self.reversed.len() - 1
    }

    /// How far `to` is from what is written next.
    fn far(&self, to: usize) -> u8 {
        u8::try_from(self.reversed.len() - 1 - to).unwrap_or(u8::MAX)
    }
}
