//! The table `bridge slips`: where hosts talk with each other through a bridge of this host, no packet of theirs passes `inet slips`. It has
//! the same sets with the same entries, and drops in both directions what is forwarded from port to port.

use super::expr::{Payload, Rule, Verdict};
use super::layout::{self, Choice, Place, TABLE};
use super::machines;
use crate::netlink::Transaction;
use crate::netlink::wire::{ACK, FAMILY_BRIDGE, Kind, Message};
use crate::ranges::Family;

/// A new table in place of one that may be there.
pub(super) fn create(transaction: &mut Transaction, owner: bool, choice: Choice) {
    transaction.turn_to(FAMILY_BRIDGE);
    transaction.message("find room for the bridge's table", &layout::table(Kind::NewTable, None));
    transaction.message("remove the bridge's former table", &layout::table(Kind::DelTable, None));
    contents(transaction, owner, choice);
}

/// The same with the entries that are there.
pub(super) fn renew(transaction: &mut Transaction, owner: bool, choice: Choice) {
    transaction.turn_to(FAMILY_BRIDGE);
    transaction.message("take over the bridge's table", &layout::table(Kind::NewTable, Some(owner)));
    let mut rules = Message::new(Kind::DelRule, ACK);
    rules.text(1, TABLE);
    transaction.message("remove the bridge's former rules", &rules);
    contents(transaction, owner, choice);
}

fn contents(transaction: &mut Transaction, owner: bool, choice: Choice) {
    transaction.message("make the bridge's table", &layout::table(Kind::NewTable, Some(owner)));
    transaction.message("make the bridge's counter", &layout::new_counter(COUNTER));
    for (id, place) in (1..).zip(Place::ALL) {
        transaction.message("make a set of the bridge", &layout::set(id, place, choice.size));
    }
    transaction.message("make the bridge's chain", &layout::chain(CHAIN, Some((HOOK_FORWARD, -10))));
    transaction.message("make the bridge's set of machines", &machines::set(MACHINES_ID));
    for rule in rules(choice) {
        transaction.message("make a rule of the bridge", &rule.finished());
    }
}

/// How many rules the table has.
pub(super) fn count_of_rules(choice: Choice) -> usize {
    rules(choice).len()
}

fn rules(Choice { paused, machines, .. }: Choice) -> Vec<Rule> {
    let sides = [[Payload::SOURCE_4, Payload::SOURCE_6], [Payload::DESTINATION_4, Payload::DESTINATION_6]];
    let sides = sides.into_iter().filter(|_| !paused);
    let addresses = sides.flat_map(|addresses| Place::BLOCKING.map(|place| look_up(addresses, place)));
    let machines = [Payload::SOURCE_MACHINE, Payload::DESTINATION_MACHINE]
        .into_iter()
        .filter(|_| machines && !paused)
        .map(|side| {
            Rule::new(TABLE, CHAIN).load(side).among(machines::SET).count(COUNTER).verdict(Verdict::Drop)
        });
    addresses.chain(machines).collect()
}

fn look_up([v4, v6]: [Payload; 2], place: Place) -> Rule {
    let (kind, address) = if place.family() == Family::V4 { (ETH_P_IP, v4) } else { (ETH_P_IPV6, v6) };
    layout::blocked(Rule::new(TABLE, CHAIN).frame(kind), place, address).count(COUNTER).verdict(Verdict::Drop)
}

const CHAIN: &str = "forward";
const COUNTER: &str = "bridged";
/// Behind those of the other sets.
const MACHINES_ID: u32 = 100;
/// `NF_BR_FORWARD`.
const HOOK_FORWARD: u32 = 2;
// linux/if_ether.h.
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
