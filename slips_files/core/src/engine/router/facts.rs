//! What the router knows about both sides of an event, and what it learns from it: who talks with whom, and whose hardware address is whose.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::detector::{Facts, Slot};
use crate::event::{Arp, ArpOp, Event};
use crate::flow::{ConnState, Flow, MacAddr, Outcome, Phase, Proto};
use crate::hash::KeyedState;
use crate::time::{PacketTime, Span};

use super::{Dealt, Router};
use crate::engine::gate::Learnt;
use crate::engine::profiles::Profile;

/// How long a conversation that a local host began protects the other side from blocks on unproven evidence.
pub(super) const TALKED_FOR: Span = Span::from_secs(3600);
/// How long the hardware address of a silent host keeps its IP address: longer than neighbour caches, shorter than leases.
const MAC_KEPT_FOR: Span = Span::from_secs(1800);

/// Outside IPv6 networks that local hosts talk with.
const MAX_PARTNERS6: usize = 65_536;
/// ARP questions that are remembered, and how long their answers count.
const MAX_ARP_ASKED: usize = 256;
const ARP_ANSWER: Span = Span::from_secs(3);

impl Router {
    /// What is known about both sides before this event; learns from it what later events need. Never the other way round:
    /// a packet proves nothing about itself.
    pub(super) fn facts(
        &mut self,
        index: u32,
        event: &Event,
        src: Option<Slot>,
        dst: Option<Slot>,
        dealt: &mut Dealt,
    ) -> Facts {
        let now = self.clock.now();
        let facts = self.known_facts(event, src, dst, now);
        if self.gate.is_telling(event) {
            self.gate.learn_names(event, now);
            dealt.learnt.push((index, now, Learnt::Names(index as usize)));
        }
        match event {
            Event::Flow(flow) => {
                if flow.phase == Phase::End {
                    self.stats.flows += 1;
                }
                self.learn(flow, src, dst, now);
            }
            Event::Arp(arp) => self.learn_arp(arp, src, now),
            _ => {}
        }
        for (addr, mac) in self.new_owners.drain(..) {
            self.gate.learn_owner(addr, mac);
            dealt.learnt.push((index, now, Learnt::Owner(addr, mac)));
        }
        facts
    }

    fn known_facts(&self, event: &Event, src: Option<Slot>, dst: Option<Slot>, now: PacketTime) -> Facts {
        let lately = |talked: PacketTime| talked > PacketTime::MIN && now.since(talked) <= TALKED_FOR;
        let talked = |profile: &Profile| {
            let siblings = prefix_of(profile).and_then(|prefix| self.partners6.get(&prefix));
            lately(profile.talked)
                || siblings.is_some_and(|talked| lately(*talked))
                || (!self.before.is_empty() && self.before.contains(&before_of(profile.addr)))
        };
        // Where not all are known anybody may be near.
        let near_partner = |profile: &Profile| {
            let line = prefix_of(profile).map(|prefix| prefix >> 8);
            line.is_some_and(|line| {
                self.lines6.len() >= MAX_PARTNERS6
                    || self.lines6.get(&line).is_some_and(|talked| lately(*talked))
            })
        };
        let resolved = self.gate.is_resolved(event);
        let mut facts = Facts { unheard: event.is_unheard(), resolved, ..Facts::default() };
        if let Some(profile) = src.and_then(|slot| self.profiles.get(slot)) {
            facts.src_local = profile.local;
            facts.src_talked = talked(profile);
            facts.src_near_partner = near_partner(profile);
            facts.src_on_link = profile.local
                && match event {
                    Event::Flow(flow) => {
                        !flow.tunnelled && flow.src_mac.is_some() && flow.src_mac == profile.mac
                    }
                    Event::Arp(arp) => Some(arp.sender_mac) == profile.mac && arp.sender_mac == arp.frame_src,
                    Event::Neighbour(said) => said.frame_src.is_some() && said.frame_src == profile.mac,
                    record => record.about().is_some_and(|about| {
                        !about.tunnelled && about.src_mac.is_some() && about.src_mac == profile.mac
                    }),
                };
            if let (Event::Arp(_), Some(mac), true) = (event, profile.mac, profile.local) {
                facts.src_held_by = Some((mac, profile.mac_seen));
            }
            let claimant = match event {
                Event::Arp(arp) => Some(arp.sender_mac),
                Event::Neighbour(said) => said.frame_src,
                _ => None,
            };
            facts.src_mac_owner =
                claimant.and_then(|mac| self.owned.get(&mac).copied()).filter(|owned| *owned != profile.addr);
        }
        if let Some(profile) = dst.and_then(|slot| self.profiles.get(slot)) {
            facts.dst_local = profile.local;
            facts.dst_talked = talked(profile);
            facts.dst_near_partner = near_partner(profile);
        }
        facts
    }

    fn learn(&mut self, flow: &Flow, src: Option<Slot>, dst: Option<Slot>, now: PacketTime) {
        let (Some(src), Some(dst)) = (src, dst) else { return };
        if flow.tunnelled {
            return;
        }
        let src_local = self.profiles.get(src).is_some_and(|profile| profile.local);
        let dst_local = self.profiles.get(dst).is_some_and(|profile| profile.local);
        // A connection that both sides opened, used and closed: nobody off the path can forge it. It proves hardware addresses.
        let whole = matches!(flow.phase, Phase::Closed | Phase::End)
            && flow.proto == Proto::Tcp
            && flow.state == ConnState::SF
            && flow.heard
            && flow.orig.bytes > 0
            && flow.resp.bytes > 0;
        for (slot, local, mac) in [(src, src_local, flow.src_mac), (dst, dst_local, flow.dst_mac)] {
            if whole && local {
                self.profiles.settle(slot);
                if let Some(mac) = mac {
                    self.learn_mac(mac, slot, now);
                }
            }
        }
        // Only a local host's own question that was answered makes a partner: what a stranger began, or what was turned round
        // by guessing from ports, does not.
        let answered = flow.resp.pkts > 0
            && !flow.was_flipped()
            && match flow.proto {
                Proto::Tcp => flow.outcome() == Outcome::Established && flow.orig.pkts >= 2,
                _ => flow.orig.pkts > 0,
            };
        if !src_local || !answered {
            return;
        }
        self.profiles.settle(dst);
        if let Some(partner) = self.profiles.get_mut(dst) {
            partner.talked = partner.talked.max(now);
            if let Some(prefix) = prefix_of(partner) {
                // Outside, one IPv6 owner has 64 bits, and one /64 many servers: what is a partner is the /64.
                remember(&mut self.partners6, prefix, now);
                remember(&mut self.lines6, prefix >> 8, now);
            }
        }
    }

    /// An ARP reply to a question that was asked lately proves who owns an address on the link; one that nobody asked for does not.
    fn learn_arp(&mut self, arp: &Arp, src: Option<Slot>, now: PacketTime) {
        self.note_claim(arp, src);
        match arp.op {
            ArpOp::Request => {
                if self.arp_asked.len() >= MAX_ARP_ASKED {
                    self.arp_asked.pop_front();
                }
                self.arp_asked.push_back((arp.sender, arp.target, now));
            }
            ArpOp::Reply => {
                let asked = self.arp_asked.iter().any(|(who, whom, when)| {
                    *who == arp.target && *whom == arp.sender && now.since(*when) <= ARP_ANSWER
                });
                if let Some(src) = src.filter(|_| asked && arp.sender_mac == arp.frame_src) {
                    self.learn_mac(arp.sender_mac, src, now);
                }
            }
        }
    }

    /// The first address that a hardware address claims is the one it is known by, when it claims another one's.
    fn note_claim(&mut self, arp: &Arp, src: Option<Slot>) {
        let Some(profile) = src.and_then(|slot| self.profiles.get(slot)) else { return };
        let claims = profile.local && !profile.addr.is_unspecified() && arp.sender_mac == arp.frame_src;
        // Whoever answers for an address that somebody else owns does not come by a name that way.
        let contested = profile.mac.is_some_and(|owner| owner != arp.sender_mac);
        if claims && !contested && self.owned.len() < self.settings.limits.local_profiles {
            self.owned.entry(arp.sender_mac).or_insert(profile.addr);
        }
    }

    /// `mac` has proven that it uses a local address: it owns it from then on, until it is silent for [`MAC_KEPT_FOR`] and another
    /// one proves the same. So that nobody takes over an address whose owner is there.
    fn learn_mac(&mut self, mac: MacAddr, slot: Slot, now: PacketTime) {
        let Some(profile) = self.profiles.get_mut(slot) else { return };
        if !profile.local || profile.addr.is_unspecified() || self.settings.own_macs.contains(mac) {
            return;
        }
        match profile.mac {
            Some(owner) if owner == mac => profile.mac_seen = now,
            Some(_) if now.since(profile.mac_seen) <= MAC_KEPT_FOR => {}
            former => {
                (profile.mac, profile.mac_seen) = (Some(mac), now);
                let addr = profile.addr;
                self.new_owners.push((addr, mac));
                if let Some(former) = former {
                    self.owned.remove(&former);
                }
                if self.owned.len() < self.settings.limits.local_profiles || self.owned.contains_key(&mac) {
                    self.owned.insert(mac, addr);
                }
            }
        }
    }
}

/// The /64 of an outside IPv6 address.
fn prefix_of(profile: &Profile) -> Option<u64> {
    match profile.addr {
        IpAddr::V6(v6) if !profile.local => Some((v6.to_bits() >> 64) as u64),
        _ => None,
    }
}

/// Notes that a local host talked with an outside network now.
fn remember(partners: &mut HashMap<u64, PacketTime, KeyedState>, net: u64, now: PacketTime) {
    if partners.len() >= MAX_PARTNERS6 && !partners.contains_key(&net) {
        partners.retain(|_, talked| now.since(*talked) <= TALKED_FOR);
        if partners.len() >= MAX_PARTNERS6 {
            return;
        }
    }
    partners.insert(net, now);
}

/// A partner from before the start: an address of IPv4, or a /64 of IPv6.
pub(super) fn before_of(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}
