//! The set `machines` of the bridge's table: hardware addresses of blocked hosts of our own, whose frames pass no port of a bridge whatever
//! address they bear. Beside each stands, as its comment, the address that was blocked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::flow::MacAddr;

use super::elements::{COMMENT, ELEMENT, ELEMENTS, KEY, TIMEOUT, USERDATA, VALUE, read_comment};
use super::layout::TABLE;
use crate::netlink::wire::{self, ACK, CREATE, DUMP, FAMILY_BRIDGE, Kind, Message};
use crate::netlink::{Socket, Transaction};
use crate::{Change, Error, is_single};

/// The name of the set.
pub(super) const SET: &str = "machines";

/// The blocked hosts of which a hardware address is in the kernel.
pub(super) type Machines = BTreeMap<Net, MacAddr>;

/// What changes make of the set.
#[derive(Debug)]
pub(super) struct Plan {
    cleared: bool,
    gone: BTreeSet<MacAddr>,
    set: BTreeMap<MacAddr, (Net, Duration)>,
    /// Who is in it afterwards.
    pub(super) after: Machines,
}

impl Plan {
    /// What is to be done for changes, where these are in it.
    pub(super) fn of(changes: &[Change], before: &Machines) -> Self {
        let mut plan =
            Self { cleared: false, gone: BTreeSet::new(), set: BTreeMap::new(), after: before.clone() };
        for change in changes {
            match change {
                Change::Clear => {
                    plan = Self {
                        cleared: true,
                        gone: BTreeSet::new(),
                        set: BTreeMap::new(),
                        after: Machines::new(),
                    };
                }
                Change::Block(request) if is_single(request.net) => {
                    let known = plan.after.get(&request.net).copied();
                    let Some(mac) = request.machine.or(known) else { continue };
                    if plan.after.len() >= MOST && known.is_none() {
                        continue;
                    }
                    plan.take_out(request.net);
                    plan.after.insert(request.net, mac);
                    plan.gone.remove(&mac);
                    // One machine by two addresses: the longer block counts.
                    let (_, left) = plan.set.get(&mac).copied().unwrap_or((request.net, Duration::ZERO));
                    plan.set.insert(mac, (request.net, request.for_.max(left)));
                }
                Change::Unblock(net) => plan.take_out(*net),
                Change::Block(_) | Change::Protect(_) => {}
            }
        }
        plan
    }

    fn take_out(&mut self, net: Net) {
        let Some(mac) = self.after.remove(&net) else { return };
        if !self.after.values().any(|other| *other == mac) {
            self.set.remove(&mac);
            self.gone.insert(mac);
        }
    }

    /// Writes it into a transaction that is about the bridge's table.
    pub(super) fn stage(&self, transaction: &mut Transaction, destroy: bool) {
        if self.cleared {
            transaction.message("empty the set of machines", &about(Kind::DelSetElem, ACK));
        }
        // What is there is set anew: no kernel need know how to change a time.
        let former: Vec<MacAddr> = self.gone.iter().chain(self.set.keys()).copied().collect();
        for part in former.chunks(AT_ONCE) {
            let bare = |kind, flags| {
                let mut message = about(kind, ACK | flags);
                message.nest(ELEMENTS, |m| part.iter().for_each(|mac| write(m, *mac, None)));
                message
            };
            if destroy {
                transaction.message("delete a machine", &bare(Kind::DestroySetElem, 0));
            } else {
                transaction.message("find a machine", &bare(Kind::NewSetElem, CREATE));
                transaction.message("delete a machine", &bare(Kind::DelSetElem, 0));
            }
        }
        let wanted: Vec<_> = self.set.iter().collect();
        for part in wanted.chunks(AT_ONCE) {
            let mut message = about(Kind::NewSetElem, ACK | CREATE);
            message.nest(ELEMENTS, |m| part.iter().for_each(|(mac, block)| write(m, **mac, Some(**block))));
            transaction.message("block a machine", &message);
        }
    }
}

/// The set as it is made, with this number.
pub(super) fn set(id: u32) -> Message {
    let mut message = Message::new(Kind::NewSet, ACK | CREATE);
    message.text(1, TABLE).text(2, SET).be32(3, WITH_TIMEOUT);
    message.be32(4, TYPE_ETHER).be32(5, 6).be32(10, id);
    message.nest(9, |m| {
        m.be32(1, SIZE);
    });
    message
}

/// What is in the set.
pub(super) fn read(socket: &mut Socket) -> Result<Machines, Error> {
    let question = about(Kind::GetSetElem, DUMP).in_family(FAMILY_BRIDGE);
    socket.dump("read the set of machines", &question, |all: &mut Machines, object| {
        let list = wire::attribute(object, ELEMENTS).unwrap_or_default();
        all.extend(wire::attributes(list).filter_map(|(_, element)| machine(element)));
    })
}

fn machine(element: &[u8]) -> Option<(Net, MacAddr)> {
    let mac = wire::attribute(wire::attribute(element, KEY)?, VALUE)?.try_into().ok()?;
    Some((read_comment(wire::attribute(element, USERDATA)?).parse().ok()?, MacAddr(mac)))
}

fn about(kind: Kind, flags: u16) -> Message {
    let mut message = Message::new(kind, flags);
    message.text(1, TABLE).text(2, SET);
    message
}

fn write(message: &mut Message, mac: MacAddr, block: Option<(Net, Duration)>) {
    message.nest(ELEMENT, |m| {
        m.nest(KEY, |m| {
            m.bytes(VALUE, &mac.0);
        });
        let Some((net, left)) = block else { return };
        m.be64(TIMEOUT, u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1000));
        let comment = format!("{net}\0");
        let length = u8::try_from(comment.len()).unwrap_or(u8::MAX);
        m.bytes(USERDATA, &[&[COMMENT, length][..], comment.as_bytes()].concat());
    });
}

/// So many hosts of our own networks are blocked by their machines too; of more only the addresses are.
const MOST: usize = 4096;
/// Room for those too whose time is over and whom the kernel has not thrown away yet.
const SIZE: u32 = 16_384;
/// An entry takes less than a hundred bytes.
const AT_ONCE: usize = 500;
/// `NFT_SET_TIMEOUT`.
const WITH_TIMEOUT: u32 = 0x10;
/// How `nft` shows the keys: its own type ether_addr.
const TYPE_ETHER: u32 = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BlockRequest;

    fn block(net: &str, seconds: u64, last: Option<u8>) -> Change {
        let request = BlockRequest::new(net.parse().expect(net), Duration::from_secs(seconds), "");
        Change::Block(BlockRequest { machine: last.map(|last| MacAddr([2, 0, 0, 0, 0, last])), ..request })
    }

    fn check(before: &[(&str, u8)], changes: &[Change], expected: &str) {
        let before =
            before.iter().map(|(net, last)| (net.parse().expect(net), MacAddr([2, 0, 0, 0, 0, *last])));
        let plan = Plan::of(changes, &before.collect());
        let gone = plan.gone.iter().map(|mac| format!("-{}", mac.0[5]));
        let set = plan.set.iter().map(|(mac, (_, left))| format!("+{}:{}", mac.0[5], left.as_secs()));
        let told: Vec<_> = gone.chain(set).collect();
        assert_eq!(told.join(" "), expected, "{changes:?}");
    }

    #[test]
    fn a_machine_is_let_in_with_the_last_of_its_addresses() {
        let unblock = |net: &str| Change::Unblock(net.parse().expect(net));
        check(&[], &[block("10.0.0.7", 60, Some(7))], "+7:60");
        check(&[], &[block("10.0.0.7", 60, None)], "");
        check(&[("10.0.0.7", 7)], &[block("10.0.0.7", 90, None)], "+7:90");
        check(&[("10.0.0.7", 7)], &[unblock("10.0.0.7")], "-7");
        check(&[("10.0.0.7", 7), ("2001:db8::7", 7)], &[unblock("10.0.0.7")], "");
        check(&[], &[block("10.0.0.7", 60, Some(7)), block("2001:db8::7", 30, Some(7))], "+7:60");
        check(&[("10.0.0.7", 7)], &[block("10.0.0.7", 60, Some(8))], "-7 +8:60");
        check(&[("10.0.0.7", 7)], &[Change::Clear, block("10.0.0.8", 60, Some(8))], "+8:60");
        check(&[("10.0.0.7", 7)], &[unblock("10.0.0.0/24")], "");
        check(&[], &[block("10.0.0.7", 60, Some(7)), unblock("10.0.0.7")], "-7");
        check(&[], &[unblock("10.0.0.7"), block("10.0.0.7", 60, Some(7))], "+7:60");
    }

    #[test]
    fn any_bytes_of_a_machine_are_survived() {
        let mut message = about(Kind::NewSetElem, 0);
        let net: Net = "2001:db8::7".parse().expect("net");
        let mac = MacAddr([2, 0, 0, 0, 0, 7]);
        message.nest(ELEMENTS, |m| write(m, mac, Some((net, Duration::from_secs(9)))));
        let bytes = message.finished(1);
        let read = |bytes: &[u8]| {
            let list = wire::attribute(bytes, ELEMENTS).unwrap_or_default();
            wire::attributes(list).filter_map(|(_, element)| machine(element)).collect::<Vec<_>>()
        };
        assert_eq!(read(&bytes[20..]), [(net, mac)]);
        for at in 20..bytes.len() {
            for value in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = value;
                read(&changed[20..]);
            }
        }
    }
}
