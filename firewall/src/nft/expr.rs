//! Rules and the expressions in them, as messages. The kernel works through the expressions of a rule from left to right and leaves it
//! at the first that does not match.

use super::layout::OBJECT_COUNTER;
use crate::netlink::wire::{ACK, CREATE, Kind, Message};

/// A register: a place for a value between two expressions of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Register(u32);

/// Holds what a packet is asked for, and what was found is beside it in [`FOUND`].
pub(super) const ASKED: Register = Register(1);
/// Holds what a set says about it.
pub(super) const FOUND: Register = Register(2);

/// What a rule does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Our chains end; all other tables still decide.
    Accept,
    /// It ends here.
    Drop,
    /// That chain decides.
    Goto(&'static str),
}

/// How a sender is told that its packet is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refuse {
    /// A TCP reset.
    Reset,
    /// ICMP "administratively prohibited".
    Prohibited,
}

/// A part of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payload {
    base: u32,
    offset: u32,
    length: u32,
}

impl Payload {
    pub(super) const SOURCE_4: Self = Self { base: NETWORK, offset: 12, length: 4 };
    pub(super) const DESTINATION_4: Self = Self { base: NETWORK, offset: 16, length: 4 };
    pub(super) const SOURCE_6: Self = Self { base: NETWORK, offset: 8, length: 16 };
    pub(super) const DESTINATION_6: Self = Self { base: NETWORK, offset: 24, length: 16 };
    pub(super) const SOURCE_MACHINE: Self = Self { base: LINK, offset: 6, length: 6 };
    pub(super) const DESTINATION_MACHINE: Self = Self { base: LINK, offset: 0, length: 6 };
    pub(super) const SOURCE_PORT: Self = Self { base: TRANSPORT, offset: 0, length: 2 };
    pub(super) const DESTINATION_PORT: Self = Self { base: TRANSPORT, offset: 2, length: 2 };
}

/// A rule as it is written.
#[derive(Debug)]
pub(super) struct Rule {
    message: Message,
    expressions: Vec<Expression>,
}

#[derive(Debug)]
struct Expression {
    name: &'static str,
    attributes: Message,
}

impl Rule {
    /// A rule at the end of this chain.
    pub(super) fn new(table: &str, chain: &str) -> Self {
        let mut message = Message::new(Kind::NewRule, ACK | CREATE | APPEND);
        message.text(1, table).text(2, chain);
        Self { message, expressions: Vec::new() }
    }

    /// The rule as a message.
    pub(super) fn finished(mut self) -> Message {
        let expressions = self.expressions;
        self.message.nest(4, |m| {
            for expression in expressions {
                m.nest(LIST_ELEMENT, |m| {
                    m.text(1, expression.name).nest(2, |m| m.append(&expression.attributes));
                });
            }
        });
        self.message
    }

    fn with(mut self, name: &'static str, fill: impl FnOnce(&mut Message)) -> Self {
        let mut attributes = Message::attributes();
        fill(&mut attributes);
        self.expressions.push(Expression { name, attributes });
        self
    }

    /// Goes on with packets of this family, `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    pub(super) fn family(self, family: u8) -> Self {
        self.meta(META_NFPROTO).equal(&[family])
    }

    /// Goes on with frames of this kind, `ETH_P_IP` or `ETH_P_IPV6`: a bridge knows no family.
    pub(super) fn frame(self, kind: u16) -> Self {
        self.meta(META_PROTOCOL).equal(&kind.to_be_bytes())
    }

    /// Counts in the counter with this name.
    pub(super) fn count(self, counter: &str) -> Self {
        self.with("objref", |m| {
            m.be32(1, OBJECT_COUNTER).text(2, counter);
        })
    }

    /// Goes on with packets of this transport protocol.
    pub(super) fn transport(self, protocol: u8) -> Self {
        self.meta(META_L4PROTO).equal(&[protocol])
    }

    /// Goes on with packets that this host sends to itself.
    pub(super) fn by_loopback(self) -> Self {
        self.meta(META_IIFTYPE).equal(&ARPHRD_LOOPBACK.to_ne_bytes())
    }

    fn meta(self, key: u32) -> Self {
        self.with("meta", |m| {
            m.be32(1, ASKED.0).be32(2, key);
        })
    }

    /// Takes a part of the packet.
    pub(super) fn load(self, payload: Payload) -> Self {
        self.with("payload", |m| {
            m.be32(1, ASKED.0).be32(2, payload.base).be32(3, payload.offset).be32(4, payload.length);
        })
    }

    /// Goes on when what was asked is this.
    pub(super) fn equal(self, value: &[u8]) -> Self {
        self.with("cmp", |m| {
            m.be32(1, ASKED.0).be32(2, 0).nest(3, |m| {
                m.bytes(1, value);
            });
        })
    }

    /// Goes on with packets to an address of this host.
    pub(super) fn at_this_host(self) -> Self {
        let rule = self.with("fib", |m| {
            m.be32(1, ASKED.0).be32(2, FIB_ADDRTYPE).be32(3, FIB_DADDR);
        });
        rule.equal(&RTN_LOCAL.to_ne_bytes())
    }

    /// Cuts what was asked down to these bits.
    pub(super) fn mask(self, mask: &[u8]) -> Self {
        let length = u32::try_from(mask.len()).unwrap_or(0);
        self.with("bitwise", |m| {
            m.be32(1, ASKED.0).be32(2, ASKED.0).be32(3, length);
            m.nest(4, |m| {
                m.bytes(1, mask);
            });
            m.nest(5, |m| {
                m.bytes(1, &vec![0; mask.len()]);
            });
        })
    }

    /// Goes on when what was asked is in this set.
    pub(super) fn among(self, set: &str) -> Self {
        self.with("lookup", |m| {
            m.text(1, set).be32(2, ASKED.0);
        })
    }

    /// Goes on when what was asked is not in this set.
    pub(super) fn not_among(self, set: &str) -> Self {
        self.with("lookup", |m| {
            m.text(1, set).be32(2, ASKED.0).be32(5, INVERTED);
        })
    }

    /// Goes on when what was asked is in this map, and holds what stands beside it there.
    pub(super) fn find_in(self, map: &str) -> Self {
        self.with("lookup", |m| {
            m.text(1, map).be32(2, ASKED.0).be32(3, FOUND.0);
        })
    }

    /// Marks the packet with what was found. A mark is where `nft` expects the outcome of one map that is the question to the next: it
    /// cannot show a bare register.
    pub(super) fn mark(self) -> Self {
        self.with("meta", |m| {
            m.be32(2, META_MARK).be32(3, FOUND.0);
        })
    }

    /// Takes the mark off the packet.
    pub(super) fn unmark(self) -> Self {
        let rule = self.with("immediate", |m| {
            m.be32(1, FOUND.0).nest(2, |m| {
                m.bytes(1, &[0; 4]);
            });
        });
        rule.mark()
    }

    /// Counts in the counter that this map has for the mark.
    pub(super) fn count_by_mark(self, map: &str) -> Self {
        self.meta(META_MARK).with("objref", |m| {
            m.be32(3, ASKED.0).text(4, map);
        })
    }

    /// Does what this map says about the mark.
    pub(super) fn decide_by_mark(self, map: &str) -> Self {
        self.meta(META_MARK).with("lookup", |m| {
            m.text(1, map).be32(2, ASKED.0).be32(3, VERDICT_REGISTER);
        })
    }

    /// Goes on with so many packets a second and no more.
    pub(super) fn at_most(self, per_second: u64, burst: u32) -> Self {
        self.with("limit", |m| {
            m.be64(1, per_second).be64(2, 1).be32(3, burst).be32(4, 0).be32(5, 0);
        })
    }

    /// Writes a line about the packet into the kernel's log.
    pub(super) fn log(self, prefix: &str) -> Self {
        self.with("log", |m| {
            m.text(2, prefix).be32(5, LOG_INFO);
        })
    }

    /// Tells the sender, and drops.
    pub(super) fn refuse(self, how: Refuse) -> Self {
        self.with("reject", |m| match how {
            Refuse::Reset => {
                m.be32(1, REJECT_TCP_RST).bytes(2, &[0]);
            }
            Refuse::Prohibited => {
                m.be32(1, REJECT_ICMPX).bytes(2, &[ICMPX_PROHIBITED]);
            }
        })
    }

    /// Ends with this verdict.
    pub(super) fn verdict(self, verdict: Verdict) -> Self {
        self.with("immediate", |m| {
            m.be32(1, VERDICT_REGISTER).nest(2, |m| write_verdict(m, verdict));
        })
    }
}

/// Writes a verdict as the data of an expression or of an entry.
pub(super) fn write_verdict(message: &mut Message, verdict: Verdict) {
    message.nest(2, |m| match verdict {
        Verdict::Drop => {
            m.be32(1, 0);
        }
        Verdict::Accept => {
            m.be32(1, 1);
        }
        Verdict::Goto(chain) => {
            m.be32(1, GOTO).text(2, chain);
        }
    });
}

/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
pub(super) const IPV4: u8 = 2;
/// See [`IPV4`].
pub(super) const IPV6: u8 = 10;
/// `IPPROTO_TCP` and `IPPROTO_UDP`.
pub(super) const TCP: u8 = 6;
/// See [`TCP`].
pub(super) const UDP: u8 = 17;

// linux/netlink.h: NLM_F_APPEND. linux/netfilter/nf_tables.h: NFTA_LIST_ELEM, NFT_PAYLOAD_…_HEADER, NFT_META_…, NFT_FIB_RESULT_ADDRTYPE,
// NFTA_FIB_F_DADDR, NFT_LOOKUP_F_INV, NFT_REG_VERDICT, NFT_GOTO, NFT_REJECT_…; linux/rtnetlink.h: RTN_LOCAL; linux/if_arp.h; syslog's level "info".
const APPEND: u16 = 0x800;
const LIST_ELEMENT: u16 = 1;
const LINK: u32 = 0;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const META_PROTOCOL: u32 = 1;
const META_MARK: u32 = 3;
const META_IIFTYPE: u32 = 8;
const ARPHRD_LOOPBACK: u16 = 772;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const FIB_ADDRTYPE: u32 = 3;
const FIB_DADDR: u32 = 2;
const RTN_LOCAL: u32 = 2;
const INVERTED: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const GOTO: u32 = (-4i32).cast_unsigned();
const REJECT_TCP_RST: u32 = 1;
const REJECT_ICMPX: u32 = 2;
const ICMPX_PROHIBITED: u8 = 3;
const LOG_INFO: u32 = 6;
