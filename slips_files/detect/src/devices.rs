//! Devices on the link: one that is new (`NEW_DEVICE`), and one that uses one address after the other (`DEVICE_CHANGING_IP`).

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Cx, Detector, Header, Role, Slot, Spec, Threshold, Unit};
use slips_core::event::{ArpOp, Event, EventKind};
use slips_core::evidence::{Entity, EvidenceKind, Finding, ThreatLevel};
use slips_core::flow::{MacAddr, Proto};
use slips_core::moving::Gateways;
use slips_core::state::PerSlot;
use slips_core::time::{PacketTime, Span, WindowId};

use crate::Settings;
use crate::holding;
use crate::ladder::{self, Ladder, Rung, rung};
use crate::steps::member_of_ip;
use crate::table::Table;
use crate::tally::Distinct;

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "devices",
    kinds: &[EvidenceKind::NewDevice, EvidenceKind::DeviceChangingIp],
    events: &[EventKind::Arp, EventKind::Dhcp, EventKind::Neighbour],
    roles: &[Role::Link],
    thresholds: &[ADDRESSES],
    header: Header {
        detects: "Devices on the link: one that is new (`NEW_DEVICE`), and one that uses one address after the other \
            (`DEVICE_CHANGING_IP`).",
        attack: "T1200 Hardware Additions; T1036 Masquerading.",
        rule: "Hardware addresses that ask or announce by ARP, ask for an address by DHCP, or speak by neighbour \
            discovery, per interface. After an hour of watching, one that was not seen before is new. Distinct \
            IPv4 addresses that one of them asks from, per window.",
        numbers: "An hour is longer than the caches of all devices that are switched on. Two addresses are the \
            original's rule (`DEVICE_CHANGING_IP`, which never fires there); a lease that moves makes two, \
            hopping tools make dozens.",
        quiet: "Info; changing addresses names the hardware address, so that it weighs on nobody. Routers, which \
            have several addresses, are named in the settings; virtual routers are known by their hardware \
            addresses.",
        evasion: "Using a known hardware address; saying nothing.",
        proof: "Unproven: a hardware address is what its sender writes.",
    },
};

/// The step for a new device.
pub const NEW: Rung = rung(1, ThreatLevel::Info, 1.0);
/// Steps in IPv4 addresses of one hardware address.
pub const ADDRESSES: Threshold = Threshold::steps(
    "addresses",
    "addresses of one device in a window",
    Unit::Count,
    &[rung(2, ThreatLevel::Info, 0.8), rung(8, ThreatLevel::Low, 0.6), rung(32, ThreatLevel::Medium, 0.6)],
);

/// How long a link is watched before a device is new.
const LEARNING: Span = Span::from_secs(3600);
/// Interfaces, and devices of one; those seen longest ago make room.
const MAX_LINKS: usize = 64;
const MAX_DEVICES: usize = 2048;
/// New devices told in one window: a flood of made-up addresses is no news.
const MAX_TOLD: u32 = 32;

#[derive(Debug, Default)]
struct Device {
    seen: PacketTime,
    known: bool,
    window: Option<WindowId>,
    addrs: Distinct<u64>,
    told: u8,
}

#[derive(Debug, Default)]
struct Net {
    since: Option<PacketTime>,
    devices: Table<MacAddr, Device>,
    window: Option<WindowId>,
    told: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Devices {
    addresses: Ladder,
    gateways: Gateways,
    links: PerSlot<Table<u16, Net>>,
}

/// A device that speaks.
struct Spoke {
    mac: MacAddr,
    /// The IPv4 address that it uses.
    addr: Option<IpAddr>,
    name: String,
    interface: u16,
    at: PacketTime,
}

fn spoke(event: &Event) -> Option<Spoke> {
    let named = |mac, interface, at| Spoke { mac, addr: None, name: String::new(), interface, at };
    let spoke = match event {
        // An answer may be another's, by proxy.
        Event::Arp(arp) if arp.op == ArpOp::Request && arp.sender_mac == arp.frame_src => Spoke {
            addr: Some(arp.sender).filter(|sender| addr::is_interesting(*sender)),
            ..named(arp.sender_mac, arp.interface, arp.at)
        },
        Event::Dhcp(dhcp) if dhcp.relay.is_none() => {
            Spoke { name: dhcp.host_name.clone(), ..named(dhcp.mac?, dhcp.interface, dhcp.at) }
        }
        Event::Neighbour(said) => named(said.frame_src?, said.interface, said.at),
        _ => return None,
    };
    Some(spoke).filter(|spoke| !holding::is_shared(spoke.mac))
}

impl Devices {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            addresses: settings.ladder(&SPEC, &ADDRESSES),
            gateways: settings.gateways.clone(),
            links: PerSlot::default(),
        }
    }

    fn on_spoke(&mut self, cx: &mut Cx<'_>, spoke: &Spoke) {
        let links = self.links.get_or_default(cx.slot());
        let Some(net) = links.get_or_insert(spoke.interface, MAX_LINKS, |_| 0) else { return };
        let since = *net.since.get_or_insert(spoke.at);
        if net.window != Some(cx.window()) {
            (net.window, net.told) = (Some(cx.window()), 0);
        }
        let age = |device: &Device| u64::try_from(device.seen.0).unwrap_or(0);
        let full = net.devices.len() >= MAX_DEVICES;
        let Some(device) = net.devices.get_or_insert(spoke.mac, MAX_DEVICES, age) else { return };
        device.seen = device.seen.max(spoke.at);
        let is_new = !std::mem::replace(&mut device.known, true);
        if is_new && !full && spoke.at.since(since) > LEARNING && net.told < MAX_TOLD {
            net.told += 1;
            tell_new(cx, spoke);
        }
        let Some(addr) = spoke.addr.filter(|addr| addr.is_ipv4() && !self.gateways.contains(addr)) else {
            return;
        };
        if device.window != Some(cx.window()) {
            (device.window, device.told, device.addrs) = (Some(cx.window()), 0, Distinct::default());
        }
        device.addrs.insert(member_of_ip(addr));
        let addrs = device.addrs.len();
        let step = self.addresses.step(addrs);
        if !ladder::climb(&mut device.told, step) {
            return;
        }
        let Some(rung) = self.addresses.at_step(step) else { return };
        cx.emit(Finding {
            attacker: Entity::Mac(spoke.mac),
            proto: Some(Proto::Arp),
            text: format!("{} uses {addrs} addresses, lately {addr}", spoke.mac),
            ..ladder::finding(cx, EvidenceKind::DeviceChangingIp, addr, rung, spoke.at)
        });
    }
}

fn tell_new(cx: &mut Cx<'_>, spoke: &Spoke) {
    let at_addr = spoke.addr.map_or(String::new(), |addr| format!(" at {addr}"));
    let called =
        if spoke.name.is_empty() { String::new() } else { format!(" that calls itself {}", spoke.name) };
    cx.emit(Finding {
        attacker: Entity::Mac(spoke.mac),
        text: format!("a new device on the network: {}{at_addr}{called}", spoke.mac),
        ..ladder::finding(cx, EvidenceKind::NewDevice, spoke.addr.unwrap_or(cx.profile()), NEW, spoke.at)
    });
}

impl Detector for Devices {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        if let Some(spoke) = spoke(event) {
            self.on_spoke(cx, &spoke);
        }
    }

    fn forget(&mut self, slot: Slot) {
        self.links.forget(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{arp, at, bench, levels, router_advertises, secs};
    use slips_core::detector::Bench;

    fn asks(bench: &mut Bench, sender: &str, mac: u8, second: i64) -> Vec<Finding> {
        let mut packet = arp(sender, "192.168.1.1", mac);
        packet.at = secs(second);
        bench.feed(&Event::Arp(packet))
    }

    fn start() -> Bench {
        bench(Devices::new(&Settings::with_gateways(vec![at("192.168.1.1")])))
    }

    #[test]
    fn a_device_after_an_hour_is_new_once() {
        let mut bench = start();
        assert!(asks(&mut bench, "192.168.1.5", 5, 0).is_empty());
        assert!(asks(&mut bench, "192.168.1.6", 6, 3600).is_empty(), "within the hour");
        let told = asks(&mut bench, "192.168.1.7", 7, 3601);
        assert_eq!(levels(&told), ["info 1"]);
        assert!(told[0].text.contains("02:00:00:00:00:07 at 192.168.1.7"), "{}", told[0].text);
        assert!(asks(&mut bench, "192.168.1.7", 7, 9000).is_empty());
        assert_eq!(bench.feed(&router_advertises("fe80::8", 8, 9001)).len(), 1);
    }

    #[test]
    fn a_flood_of_addresses_is_told_a_few_times() {
        let mut bench = start();
        asks(&mut bench, "192.168.1.5", 5, 0);
        let told = (0..60_000u32).filter(|n| {
            let [_, b, c, d] = n.to_be_bytes();
            let mut packet = arp("192.168.1.9", "192.168.1.1", 9);
            (packet.at, packet.sender_mac) = (secs(3700), MacAddr([2, 9, 9, b, c, d]));
            packet.frame_src = packet.sender_mac;
            !bench.feed(&Event::Arp(packet)).is_empty()
        });
        assert_eq!(told.count(), MAX_TOLD as usize);
    }

    #[test]
    fn hopping_addresses_are_counted_per_hardware_address() {
        let hop = |n: u8| -> Vec<Finding> {
            let mut bench = start();
            (0..n).flat_map(|n| asks(&mut bench, &format!("192.168.1.{}", 100 + n), 5, 0)).collect()
        };
        assert!(hop(1).is_empty());
        assert_eq!(levels(&hop(2)), ["info 0.8"]);
        assert_eq!(levels(&hop(40)), ["info 0.8", "low 0.6", "medium 0.6"]);
        let mut bench = start();
        assert!((0..50).all(|_| asks(&mut bench, "192.168.1.1", 1, 0).is_empty()), "a gateway");
    }
}
