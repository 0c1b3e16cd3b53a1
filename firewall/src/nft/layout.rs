//! Our table as nftables sees it: names, sets, chains and rules. `nft list table inet slips` shows the outcome.

use slips_core::addr::Net;

use super::expr::{IPV4, IPV6, Payload, Refuse, Rule, TCP, UDP, Verdict, write_verdict};
use crate::block::Tag;
use crate::netlink::Transaction;
use crate::netlink::wire::{ACK, CREATE, Kind, Message};
use crate::ranges::Family;
use crate::{Manner, Origin};

/// The name of our table.
pub(super) const TABLE: &str = "slips";
/// The comment by which we know our table again; a change of the layout changes the number.
pub(super) const MARK: &str = "slips blocking, layout 3";

/// A set of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// What always passes.
    Allow4,
    /// What always passes.
    Allow6,
    /// Single addresses.
    In4,
    /// Single addresses.
    In6,
    /// Networks of 64 bits, looked up with the masked address.
    In6p,
    /// Ranges.
    Net4,
    /// Ranges.
    Net6,
}

impl Place {
    /// All sets that block.
    pub(super) const BLOCKING: [Self; 5] = [Self::In4, Self::In6, Self::In6p, Self::Net4, Self::Net6];
    /// The sets whose entries are found by hash.
    pub(super) const HASHED: [Self; 3] = [Self::In4, Self::In6, Self::In6p];
    /// All of them.
    pub(super) const ALL: [Self; 7] =
        [Self::Allow4, Self::Allow6, Self::In4, Self::In6, Self::In6p, Self::Net4, Self::Net6];

    /// Where a network is blocked.
    pub(super) const fn of(net: Net) -> Self {
        match (net.addr().is_ipv4(), net.prefix()) {
            (true, 32) => Self::In4,
            (true, _) => Self::Net4,
            (false, 128) => Self::In6,
            (false, 64) => Self::In6p,
            (false, _) => Self::Net6,
        }
    }

    /// Where a network is blocked as a range.
    pub(super) const fn wide(net: Net) -> Self {
        if net.addr().is_ipv4() { Self::Net4 } else { Self::Net6 }
    }

    /// Who of its family always passes.
    const fn allow(self) -> Self {
        match self.family() {
            Family::V4 => Self::Allow4,
            Family::V6 => Self::Allow6,
        }
    }

    /// The name of the set.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Allow4 => "allow4",
            Self::Allow6 => "allow6",
            Self::In4 => "in4",
            Self::In6 => "in6",
            Self::In6p => "in6p",
            Self::Net4 => "net4",
            Self::Net6 => "net6",
        }
    }

    /// The addresses it holds.
    pub(super) const fn family(self) -> Family {
        match self {
            Self::Allow4 | Self::In4 | Self::Net4 => Family::V4,
            Self::Allow6 | Self::In6 | Self::In6p | Self::Net6 => Family::V6,
        }
    }

    /// `NFT_SET_INTERVAL`, `NFT_SET_MAP` and `NFT_SET_TIMEOUT`.
    const fn flags(self) -> u32 {
        match self {
            Self::Allow4 | Self::Allow6 => 0x4,
            Self::In4 | Self::In6 | Self::In6p => 0x8 | 0x10,
            Self::Net4 | Self::Net6 => 0x4 | 0x8 | 0x10,
        }
    }

    /// Whether its entries carry a tag.
    pub(super) const fn tagged(self) -> bool {
        !matches!(self, Self::Allow4 | Self::Allow6)
    }

    /// How many entries at most, where `addresses` is that of single IPv4 addresses. A range takes two.
    const fn size(self, addresses: u32) -> Option<u32> {
        match self {
            Self::Allow4 | Self::Allow6 => None,
            Self::In4 => Some(addresses),
            Self::In6 | Self::In6p => Some(addresses.div_ceil(2)),
            Self::Net4 | Self::Net6 => Some(16_384),
        }
    }
}

/// The chains at a hook: which address of a packet is looked up there, and what is then done with the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From a blocked source.
    In,
    /// Forwarded to a blocked destination.
    Forward,
    /// From this host to a blocked destination.
    Out,
}

impl Direction {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::In, Self::Forward, Self::Out];

    const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Forward => "forward",
            Self::Out => "out",
        }
    }

    const fn chain(self) -> &'static str {
        match self {
            Self::In => "prerouting",
            Self::Forward => "forward",
            Self::Out => "output",
        }
    }

    /// Hook and priority. Raw (−300) is before connection tracking and address translation, so a dropped packet costs least and one chain
    /// serves input, forwarding and containers alike. Forwarding is judged after translation (−10), where the destination is the true one.
    const fn hook(self) -> (u32, i32) {
        match self {
            Self::In => (0, -300),
            Self::Forward => (2, -10),
            Self::Out => (3, -300),
        }
    }

    const fn address(self, family: Family) -> Payload {
        match (self, family) {
            (Self::In, Family::V4) => Payload::SOURCE_4,
            (Self::In, Family::V6) => Payload::SOURCE_6,
            (_, Family::V4) => Payload::DESTINATION_4,
            (_, Family::V6) => Payload::DESTINATION_6,
        }
    }

    /// The chain that ends a packet of a block of this manner.
    const fn end(self, manner: Manner) -> &'static str {
        match (self, manner) {
            (Self::Forward | Self::Out, Manner::Reject) => REFUSED,
            (Self::In, Manner::Isolate) => ISOLATED_IN,
            (Self::Out, Manner::Isolate) => ISOLATED_OUT,
            _ => DROPPED,
        }
    }

    /// The chain that counts a packet and sends it to its end.
    const fn blocked(self) -> &'static str {
        match self {
            Self::In => "blocked_in",
            Self::Forward => "blocked_forward",
            Self::Out => "blocked_out",
        }
    }

    /// The map from a tag to the counter.
    fn counters(self) -> String {
        format!("count_{}", self.name())
    }

    /// The map from a tag to the chain that ends the packet.
    fn ends(self) -> String {
        format!("end_{}", self.name())
    }
}

/// The name of the counter of what was asked for by this origin in this direction.
pub(super) fn counter(by: Origin, direction: Direction) -> String {
    format!("{}_{}", by.name(), direction.name())
}

/// What of the table the administrator chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    /// Some of what is dropped goes to the kernel's log.
    pub(super) log: bool,
    /// The TCP port of this host that an isolated host may reach.
    pub(super) notice_port: Option<u16>,
    /// How many single IPv4 addresses can be blocked.
    pub(super) size: u32,
    /// Nothing is looked up: all packets pass.
    pub(super) paused: bool,
    /// On a bridge the machines of blocked hosts are looked up too.
    pub(super) machines: bool,
}

/// A new table in place of one that may be there; it belongs to us where `owner` says so.
pub(super) fn create(transaction: &mut Transaction, owner: bool, choice: Choice) {
    // Made, so that there is one to delete: deleting an absent table is an error.
    transaction.message("find room for the table", &table(Kind::NewTable, None));
    transaction.message("remove the former table", &table(Kind::DelTable, None));
    contents(transaction, owner, choice);
}

/// Takes over a table of this layout: its sets stay as they are, its rules are written anew.
pub(super) fn renew(transaction: &mut Transaction, owner: bool, choice: Choice) {
    transaction.message("take over the table", &table(Kind::NewTable, Some(owner)));
    let mut rules = Message::new(Kind::DelRule, ACK);
    rules.text(1, TABLE);
    transaction.message("remove the former rules", &rules);
    contents(transaction, owner, choice);
}

/// A message about our table; with its flags and our mark when they are to be set.
pub(super) fn table(kind: Kind, owner: Option<bool>) -> Message {
    let create = if kind == Kind::NewTable { CREATE } else { 0 };
    let mut message = Message::new(kind, ACK | create);
    message.text(1, TABLE);
    if let Some(owner) = owner {
        message.be32(2, if owner { OWNER_PERSIST } else { 0 });
        let mut comment = vec![0, u8::try_from(MARK.len() + 1).unwrap_or(u8::MAX)];
        comment.extend_from_slice(MARK.as_bytes());
        comment.push(0);
        message.bytes(6, &comment);
    }
    message
}

fn contents(transaction: &mut Transaction, owner: bool, choice: Choice) {
    transaction.message("make the table", &table(Kind::NewTable, Some(owner)));
    for (by, direction) in Origin::ALL.iter().flat_map(|by| Direction::ALL.map(|direction| (*by, direction)))
    {
        transaction.message("make a counter", &new_counter(&counter(by, direction)));
    }
    let mut ids = 1..;
    for (id, place) in ids.by_ref().zip(Place::ALL) {
        transaction.message("make a set", &set(id, place, choice.size));
    }
    for (name, _) in ENDS {
        transaction.message("make a chain", &chain(name, None));
    }
    for direction in Direction::ALL {
        transaction.message("make a chain", &chain(direction.blocked(), None));
        transaction.message("make a chain", &chain(direction.chain(), Some(direction.hook())));
        for (id, map) in ids.by_ref().zip([counters_map(direction), ends_map(direction)]) {
            map.write(transaction, id);
        }
    }
    for rule in rules(choice) {
        transaction.message("make a rule", &rule.finished());
    }
}

/// How many rules the table has.
pub(super) fn count_of_rules(choice: Choice) -> usize {
    rules(choice).len()
}

fn rules(choice: Choice) -> Vec<Rule> {
    let ends = ENDS.iter().flat_map(|(name, rules)| {
        let log = choice.log.then(|| log(name));
        log.into_iter().chain(rules(name, choice))
    });
    let looking = Direction::ALL.into_iter().filter(|_| !choice.paused);
    let hooks = looking.flat_map(|direction| Place::BLOCKING.map(|place| look_up(direction, place)));
    let blocked = Direction::ALL.into_iter().flat_map(|direction| {
        let rule = || rule(direction.blocked());
        // A reset that the kernel makes for us, in the name of who is blocked, to a program of this host.
        let told =
            (direction == Direction::In).then(|| rule().by_loopback().unmark().verdict(Verdict::Accept));
        let rest = [rule().count_by_mark(&direction.counters()), rule().decide_by_mark(&direction.ends())];
        told.into_iter().chain(rest)
    });
    ends.chain(blocked).chain(hooks).collect()
}

/// `meta nfproto ipvX`, the address, its set, and whether it always passes; then mark and go on to count and end.
///
/// The set of those who always pass is asked last: it is one of ranges, which costs some seven times a set of hashes, and nearly all
/// packets are of nobody who is blocked.
fn look_up(direction: Direction, place: Place) -> Rule {
    let family = place.family();
    let protocol = if family == Family::V4 { IPV4 } else { IPV6 };
    let rule = Rule::new(TABLE, direction.chain()).family(protocol);
    blocked(rule, place, direction.address(family)).verdict(Verdict::Goto(direction.blocked()))
}

/// Goes on when this address of the packet is in this set and is not protected, and marks the packet with its tag.
pub(super) fn blocked(rule: Rule, place: Place, address: Payload) -> Rule {
    let asked = rule.load(address);
    let asked = if place == Place::In6p { asked.mask(&(u128::MAX << 64).to_be_bytes()) } else { asked };
    asked.find_in(place.name()).load(address).not_among(place.allow().name()).mark()
}

/// Gives the rules of a chain.
type RulesOf = fn(&str, Choice) -> Vec<Rule>;

/// Chains that end a packet, reached from a map only, with their rules. The log's rule stands before them.
const ENDS: [(&str, RulesOf); 4] =
    [(DROPPED, dropped), (REFUSED, refused), (ISOLATED_IN, isolated_in), (ISOLATED_OUT, isolated_out)];

const DROPPED: &str = "dropped";
const REFUSED: &str = "refused";
const ISOLATED_IN: &str = "isolated_in";
const ISOLATED_OUT: &str = "isolated_out";

fn rule(chain: &str) -> Rule {
    Rule::new(TABLE, chain)
}

fn log(chain: &str) -> Rule {
    rule(chain).at_most(LOG_RATE, LOG_BURST).log(&format!("slips {chain}: "))
}

fn dropped(chain: &str, _: Choice) -> Vec<Rule> {
    vec![rule(chain).verdict(Verdict::Drop)]
}

/// An answer for the first, so that programs fail at once; nobody makes this host a source of answers without end.
fn refused(chain: &str, _: Choice) -> Vec<Rule> {
    vec![
        rule(chain).transport(TCP).at_most(REFUSE_RATE, REFUSE_BURST).refuse(Refuse::Reset),
        rule(chain).at_most(REFUSE_RATE, REFUSE_BURST).refuse(Refuse::Prohibited),
        rule(chain).verdict(Verdict::Drop),
    ]
}

/// An isolated host may ask for an address, by broadcast or of this host, and see the notice. DHCPv6 comes from a link-local address,
/// which always passes.
fn isolated_in(chain: &str, choice: Choice) -> Vec<Rule> {
    let port = |port: u16| port.to_be_bytes();
    let dhcp = |rule: Rule| rule.transport(UDP).load(Payload::DESTINATION_PORT).equal(&port(DHCP_SERVER));
    let broadcast = dhcp(rule(chain).family(IPV4).load(Payload::DESTINATION_4).equal(&[255; 4]));
    let mut rules = vec![
        broadcast.unmark().verdict(Verdict::Accept),
        dhcp(rule(chain).family(IPV4).at_this_host()).unmark().verdict(Verdict::Accept),
    ];
    if let Some(notice) = choice.notice_port {
        let to_notice = rule(chain).transport(TCP).load(Payload::DESTINATION_PORT).equal(&port(notice));
        rules.push(to_notice.at_this_host().unmark().verdict(Verdict::Accept));
    }
    rules.push(rule(chain).verdict(Verdict::Drop));
    rules
}

/// The answers of this host to what [`isolated_in`] lets through.
fn isolated_out(chain: &str, choice: Choice) -> Vec<Rule> {
    let from = |protocol: u8, port: u16| {
        let rule = rule(chain).transport(protocol).load(Payload::SOURCE_PORT).equal(&port.to_be_bytes());
        rule.unmark().verdict(Verdict::Accept)
    };
    let notice = choice.notice_port.map(|port| from(TCP, port));
    let drop = rule(chain).verdict(Verdict::Drop);
    std::iter::once(from(UDP, DHCP_SERVER)).chain(notice).chain([drop]).collect()
}

/// A counter at zero; one that is there goes on.
pub(super) fn new_counter(name: &str) -> Message {
    let mut message = Message::new(Kind::NewObj, ACK | CREATE);
    message.text(1, TABLE).text(2, name).be32(3, OBJECT_COUNTER).nest(4, |m| {
        m.be64(1, 0).be64(2, 0);
    });
    message
}

pub(super) fn chain(name: &str, hook: Option<(u32, i32)>) -> Message {
    let mut message = Message::new(Kind::NewChain, ACK | CREATE);
    message.text(1, TABLE).text(3, name);
    if let Some((hook, priority)) = hook {
        message.nest(4, |m| {
            m.be32(1, hook).be32(2, priority.cast_unsigned());
        });
        message.be32(5, NF_ACCEPT).text(7, "filter");
    }
    message
}

pub(super) fn set(id: u32, place: Place, addresses: u32) -> Message {
    let (key_type, key_length) = match place.family() {
        Family::V4 => (TYPE_IPV4, 4),
        Family::V6 => (TYPE_IPV6, 16),
    };
    let mut message = Message::new(Kind::NewSet, ACK | CREATE);
    message.text(1, TABLE).text(2, place.name()).be32(3, place.flags());
    message.be32(4, key_type).be32(5, key_length).be32(10, id);
    if place.tagged() {
        message.be32(6, TYPE_MARK).be32(7, 4);
    }
    // How `nft` reads the bytes; the kernel does not care.
    message.bytes(13, &[byte_order(KEY, BIG_ENDIAN), byte_order(DATA, HOST_ENDIAN)].concat());
    message.nest(9, |m| {
        if let Some(size) = place.size(addresses) {
            m.be32(1, size);
        }
    });
    message
}

/// What `nft` notes beside a set: the order of bytes in its keys, or in what stands beside them.
fn byte_order(of: u8, order: u32) -> Vec<u8> {
    [&[of, 4][..], &order.to_ne_bytes()].concat()
}

/// A map from each tag to something, which never changes.
struct TagMap {
    set: Message,
    name: String,
    elements: Vec<(Tag, Told)>,
}

/// What a tag leads to.
enum Told {
    Counter(String),
    Chain(&'static str),
}

fn counters_map(direction: Direction) -> TagMap {
    let mut set = tag_set(&direction.counters(), 0x40);
    set.be32(15, OBJECT_COUNTER);
    let elements = Tag::all().map(|tag| (tag, Told::Counter(counter(tag.by, direction)))).collect();
    TagMap { set, name: direction.counters(), elements }
}

fn ends_map(direction: Direction) -> TagMap {
    let mut set = tag_set(&direction.ends(), 0x8);
    set.be32(6, TYPE_VERDICT);
    let elements = Tag::all().map(|tag| (tag, Told::Chain(direction.end(tag.manner)))).collect();
    TagMap { set, name: direction.ends(), elements }
}

fn tag_set(name: &str, flags: u32) -> Message {
    let mut message = Message::new(Kind::NewSet, ACK | CREATE);
    message.text(1, TABLE).text(2, name).be32(3, flags).be32(4, TYPE_MARK).be32(5, 4);
    message.nest(9, |m| {
        m.be32(1, 16);
    });
    // Not of the data: a verdict has no bytes, and `nft` stumbles over turning them.
    message.bytes(13, &byte_order(KEY, HOST_ENDIAN));
    message
}

impl TagMap {
    fn write(self, transaction: &mut Transaction, id: u32) {
        let mut set = self.set;
        set.be32(10, id);
        transaction.message("make a map", &set);
        let mut message = Message::new(Kind::NewSetElem, ACK | CREATE);
        message.text(1, TABLE).text(2, &self.name).nest(3, |m| {
            for (tag, told) in self.elements {
                m.nest(1, |m| {
                    m.nest(1, |m| {
                        m.bytes(1, &tag.number().to_ne_bytes());
                    });
                    match told {
                        Told::Counter(name) => {
                            m.text(9, &name);
                        }
                        Told::Chain(name) => {
                            m.nest(2, |m| write_verdict(m, Verdict::Goto(name)));
                        }
                    }
                });
            }
        });
        transaction.message("fill a map", &message);
    }
}

/// `NFT_TABLE_F_PERSIST`.
pub(super) const PERSIST: u32 = 0x4;
/// `NFT_TABLE_F_OWNER` too: nobody else can change the table, and it outlives us.
const OWNER_PERSIST: u32 = 0x2 | PERSIST;
/// `NFT_OBJECT_COUNTER`.
pub(super) const OBJECT_COUNTER: u32 = 1;
/// `NFT_DATA_VERDICT`.
const TYPE_VERDICT: u32 = 0xffff_ff00;
// How `nft` shows keys and tags: its own types ipv4_addr, ipv6_addr and mark.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_MARK: u32 = 19;
// libnftnl's NFTNL_UDATA_SET_KEYBYTEORDER and _DATABYTEORDER, and the orders that `nft` notes there.
const KEY: u8 = 0;
const DATA: u8 = 1;
const HOST_ENDIAN: u32 = 1;
const BIG_ENDIAN: u32 = 2;
const NF_ACCEPT: u32 = 1;
/// The port of DHCP servers and relays, RFC 2131.
const DHCP_SERVER: u16 = 67;
/// Lines a second in the kernel's log.
const LOG_RATE: u64 = 5;
const LOG_BURST: u32 = 20;
/// Answers a second to who sends to what is refused.
const REFUSE_RATE: u64 = 100;
const REFUSE_BURST: u32 = 200;
