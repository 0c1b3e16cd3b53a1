//! Our table as nftables sees it: names, sets, chains and rules. `nft list table inet slips` shows the outcome.

use std::ffi::CStr;
use std::net::{Ipv4Addr, Ipv6Addr};

use nftnl::expr::{Payload, Verdict};
use nftnl::set::{Set, SetKey};
use nftnl::{Chain, ChainType, Hook, Policy, ProtoFamily, Rule, Table, nft_expr};
use slips_core::addr::Net;

use crate::netlink::wire::{ACK, CREATE, Kind, Message};
use crate::netlink::{Objref, Transaction};
use crate::ranges::Family;

/// The name of our table.
pub(super) const TABLE: &str = "slips";
const TABLE_C: &CStr = c"slips";
/// The comment by which we know our table again; a change of the layout changes the number.
pub(super) const MARK: &str = "slips blocking, layout 1";

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
    const ALL: [Self; 7] =
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

    const fn c_name(self) -> &'static CStr {
        match self {
            Self::Allow4 => c"allow4",
            Self::Allow6 => c"allow6",
            Self::In4 => c"in4",
            Self::In6 => c"in6",
            Self::In6p => c"in6p",
            Self::Net4 => c"net4",
            Self::Net6 => c"net6",
        }
    }

    /// The addresses it holds.
    pub(super) const fn family(self) -> Family {
        match self {
            Self::Allow4 | Self::In4 | Self::Net4 => Family::V4,
            Self::Allow6 | Self::In6 | Self::In6p | Self::Net6 => Family::V6,
        }
    }

    /// `NFT_SET_INTERVAL` and `NFT_SET_TIMEOUT`.
    const fn flags(self) -> u32 {
        match self {
            Self::Allow4 | Self::Allow6 => 0x4,
            Self::In4 | Self::In6 | Self::In6p => 0x10,
            Self::Net4 | Self::Net6 => 0x4 | 0x10,
        }
    }

    /// How many entries at most: some 100 bytes of kernel memory each. A range takes two.
    const fn size(self) -> Option<u32> {
        match self {
            Self::Allow4 | Self::Allow6 => None,
            Self::In4 => Some(131_072),
            Self::In6 | Self::In6p => Some(65_536),
            Self::Net4 | Self::Net6 => Some(16_384),
        }
    }
}

/// The chains: name, hook, priority, which address of a packet is looked up, and the counter of what it drops.
struct ChainSpec {
    name: &'static CStr,
    hook: Hook,
    priority: i32,
    side: Side,
    counter: Counter,
}

#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// A named counter of the table.
#[derive(Clone, Copy)]
pub(super) enum Counter {
    /// From a blocked source.
    Incoming,
    /// Forwarded to a blocked destination.
    Forwarded,
    /// From this host to a blocked destination.
    Outgoing,
}

impl Counter {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Incoming, Self::Forwarded, Self::Outgoing];

    /// The name of the counter.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Incoming => "dropped_in",
            Self::Forwarded => "dropped_forward",
            Self::Outgoing => "dropped_out",
        }
    }

    const fn c_name(self) -> &'static CStr {
        match self {
            Self::Incoming => c"dropped_in",
            Self::Forwarded => c"dropped_forward",
            Self::Outgoing => c"dropped_out",
        }
    }
}

/// Raw (−300) is before connection tracking and address translation, so a dropped packet costs least and one chain serves input,
/// forwarding and containers alike. Forwarding is judged after translation (−10), where the destination is the true one.
const CHAINS: [ChainSpec; 3] = [
    ChainSpec {
        name: c"prerouting",
        hook: Hook::PreRouting,
        priority: -300,
        side: Side::Source,
        counter: Counter::Incoming,
    },
    ChainSpec {
        name: c"forward",
        hook: Hook::Forward,
        priority: -10,
        side: Side::Destination,
        counter: Counter::Forwarded,
    },
    ChainSpec {
        name: c"output",
        hook: Hook::Out,
        priority: -300,
        side: Side::Destination,
        counter: Counter::Outgoing,
    },
];

/// How many rules the table has.
pub(super) const RULES: usize = CHAINS.len() * Place::ALL.len();

/// A new table in place of one that may be there.
pub(super) fn create(transaction: &mut Transaction, owner: bool) {
    // Made, so that there is one to delete: deleting an absent table is an error.
    transaction.message("find room for the table", &table(Kind::NewTable, None));
    transaction.message("remove the former table", &table(Kind::DelTable, None));
    contents(transaction, owner);
}

/// Takes over a table of this layout: its sets stay as they are, its rules are written anew.
pub(super) fn renew(transaction: &mut Transaction, owner: bool) {
    transaction.message("take over the table", &table(Kind::NewTable, Some(owner)));
    let mut rules = Message::new(Kind::DelRule, ACK);
    rules.text(1, TABLE);
    transaction.message("remove the former rules", &rules);
    contents(transaction, owner);
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

/// `NFT_TABLE_F_PERSIST`.
pub(super) const PERSIST: u32 = 0x4;
/// `NFT_TABLE_F_OWNER` too: nobody else can change the table, and it outlives us.
const OWNER_PERSIST: u32 = 0x2 | PERSIST;

fn contents(transaction: &mut Transaction, owner: bool) {
    transaction.message("make the table", &table(Kind::NewTable, Some(owner)));
    for counter in Counter::ALL {
        let mut message = Message::new(Kind::NewObj, ACK | CREATE);
        message.text(1, TABLE).text(2, counter.name()).be32(3, 1).nest(4, |m| {
            m.be64(1, 0).be64(2, 0);
        });
        transaction.message("make a counter", &message);
    }
    for (id, place) in (1..).zip(Place::ALL) {
        transaction.message("make a set", &set(id, place));
    }
    let table = Table::new(TABLE_C, ProtoFamily::Inet);
    for spec in CHAINS {
        let mut chain = Chain::new(spec.name, &table);
        chain.set_hook(spec.hook, spec.priority);
        chain.set_type(ChainType::Filter);
        chain.set_policy(Policy::Accept);
        transaction.chain("make a chain", &chain);
        // Accept ends our chain only; all other tables still decide on the packet.
        for place in [Place::Allow4, Place::Allow6] {
            transaction.rule("let the protected pass", &rule(&chain, &spec, place));
        }
        for place in Place::BLOCKING {
            transaction.rule("make a rule", &rule(&chain, &spec, place));
        }
    }
}

fn set(id: u32, place: Place) -> Message {
    let (key_type, key_length) = match place.family() {
        Family::V4 => (Ipv4Addr::TYPE, Ipv4Addr::LEN),
        Family::V6 => (Ipv6Addr::TYPE, Ipv6Addr::LEN),
    };
    let mut message = Message::new(Kind::NewSet, ACK | CREATE);
    message.text(1, TABLE).text(2, place.name()).be32(3, place.flags());
    message.be32(4, key_type).be32(5, key_length).be32(10, id);
    message.nest(9, |m| {
        if let Some(size) = place.size() {
            m.be32(1, size);
        }
    });
    message
}

/// `meta nfproto ipvX ip saddr @set` and then accept, or count and drop.
fn rule<'a>(chain: &'a Chain<'_>, spec: &ChainSpec, place: Place) -> Rule<'a> {
    let mut rule = Rule::new(chain);
    rule.add_expr(&nft_expr!(meta nfproto));
    let address: Payload = match (place.family(), spec.side) {
        (Family::V4, Side::Source) => nft_expr!(payload ipv4 saddr),
        (Family::V4, Side::Destination) => nft_expr!(payload ipv4 daddr),
        (Family::V6, Side::Source) => nft_expr!(payload ipv6 saddr),
        (Family::V6, Side::Destination) => nft_expr!(payload ipv6 daddr),
    };
    match place.family() {
        Family::V4 => rule.add_expr(&nft_expr!(cmp == ProtoFamily::Ipv4 as u8)),
        Family::V6 => rule.add_expr(&nft_expr!(cmp == ProtoFamily::Ipv6 as u8)),
    }
    rule.add_expr(&address);
    if place == Place::In6p {
        let mask = Ipv6Addr::from_bits(u128::MAX << 64);
        rule.add_expr(&nft_expr!(bitwise mask mask, xor Ipv6Addr::UNSPECIFIED));
    }
    look_up(&mut rule, chain, place);
    if matches!(place, Place::Allow4 | Place::Allow6) {
        rule.add_expr(&Verdict::Accept);
    } else {
        rule.add_expr(&Objref(spec.counter.c_name()));
        rule.add_expr(&Verdict::Drop);
    }
    rule
}

/// Only the name of the set goes into the rule; the set itself is made by [`set`].
fn look_up(rule: &mut Rule<'_>, chain: &Chain<'_>, place: Place) {
    fn by_name<K: SetKey>(rule: &mut Rule<'_>, chain: &Chain<'_>, place: Place) {
        let set = Set::<K>::new_named(place.c_name(), 0, chain.get_table(), ProtoFamily::Inet);
        rule.add_expr(&nft_expr!(lookup & set));
    }
    match place.family() {
        Family::V4 => by_name::<Ipv4Addr>(rule, chain, place),
        Family::V6 => by_name::<Ipv6Addr>(rule, chain, place),
    }
}
