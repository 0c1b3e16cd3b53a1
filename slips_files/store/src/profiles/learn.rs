//! What each event tells of the addresses in it.
//!
//! Nothing is learnt of what anybody off the path could have made up ([`Event::is_unheard`]), and a remote address gets a profile only by
//! something that is worth telling: a name, a program, a certificate. What a host says of itself stands beside who said it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slips_core::addr::LocalNets;
use slips_core::event::{Arp, Dhcp, Dns, DnsData, Event, Http, Ssh, TlsFields, X509};
use slips_core::flow::{Flow, MacAddr, Phase};
use slips_core::moving::OwnMacs;
use slips_core::neighbour::{Discovery, Neighbour};
use slips_core::time::PacketTime;

use super::book::{Book, Entry};
use super::facts::{
    Agent, Called, Certificate, FEW, Handshake, HostName, Lease, MANY, Mac, Program, Resolved, Reverse, Role,
    Service, TEXT,
};
use crate::render::iso;

/// Whose addresses are ours, and what can be nobody's.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub local: LocalNets,
    /// Hardware addresses of this router: what it forwards goes out with them.
    pub own_macs: OwnMacs,
}

impl Ground {
    /// Whether profiles of this address say more than who was reached.
    fn is_ours(&self, addr: IpAddr) -> bool {
        self.local.contains(addr) && is_host(addr)
    }

    fn owner(&self, mac: Option<MacAddr>) -> Option<MacAddr> {
        let group = |mac: &MacAddr| mac.0[0] & 1 != 0;
        mac.filter(|mac| *mac != MacAddr::ZERO && !group(mac) && !self.own_macs.contains(*mac))
    }
}

/// One host, not a group, nobody or everybody.
fn is_host(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => !(v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified()),
        IpAddr::V6(v6) => !(v6.is_multicast() || v6.is_unspecified()),
    }
}

/// Adds what `event` tells.
pub(super) fn learn(book: &mut Book, ground: &Ground, event: &Event) {
    if event.is_unheard() {
        return;
    }
    match event {
        Event::Flow(flow) => of_flow(book, ground, flow),
        Event::Dns(dns) => of_dns(book, ground, dns),
        Event::Http(http) => of_http(book, http),
        Event::Tls(tls) => of_tls(book, tls.about.src.addr, tls.about.dst.addr, tls.about.at, &tls.fields),
        Event::Quic(quic) if !quic.server_name.is_empty() => {
            called(book, quic.about.dst.addr, quic.about.at, &quic.server_name, "quic");
        }
        Event::X509(x509) if x509.is_host && !x509.is_client => of_certificate(book, x509),
        Event::Ssh(ssh) => of_ssh(book, ssh),
        Event::Software(software) => {
            let number = |n: Option<u32>| n.map(|n| format!(" {n}")).unwrap_or_default();
            let version = if software.unparsed_version.is_empty() {
                format!("{}{}", software.name, number(software.major))
            } else {
                software.unparsed_version.clone()
            };
            program(book, software.host, software.at, &software.software_type, &version, software.port);
        }
        Event::Arp(arp) => of_arp(book, ground, arp),
        Event::Dhcp(dhcp) => of_dhcp(book, ground, dhcp),
        Event::Neighbour(neighbour) => of_neighbour(book, ground, neighbour),
        _ => {}
    }
}

fn of_flow(book: &mut Book, ground: &Ground, flow: &Flow) {
    if !matches!(flow.phase, Phase::Established | Phase::Update | Phase::End) {
        return;
    }
    let (src, dst, at) = (flow.src.addr, flow.dst.addr, flow.seen);
    let (src_ours, dst_ours) = (ground.is_ours(src), ground.is_ours(dst));
    let two_way = flow.is_two_way();
    if src_ours {
        let entry = book.entry(src, at);
        if let Some(mac) = ground.owner(flow.src_mac) {
            entry.changed |= note_mac(entry, at, mac);
        }
        if !dst_ours
            && is_host(dst)
            && let Some(gateway) = flow.dst_mac.filter(|mac| mac.0[0] & 1 == 0 && *mac != MacAddr::ZERO)
        {
            let mac = gateway.to_string();
            let seen = &mut entry.facts.gateways;
            entry.changed |= seen.note(at, FEW, |known| known.mac == mac, || Mac { mac: mac.clone() });
        }
    } else {
        book.known(src, at);
    }
    // Whoever is scanned is not there for that: only one that answered is.
    let entry = if dst_ours && two_way { Some(book.entry(dst, at)) } else { book.known(dst, at) };
    if let Some(entry) = entry.filter(|_| two_way && flow.phase == Phase::End) {
        let (port, proto, app) = (flow.dst.port, flow.proto.name(), flow.service.as_str());
        let seen = &mut entry.facts.services;
        entry.changed |= seen.note(
            at,
            MANY,
            |known| (known.port, known.proto.as_str(), known.application.as_str()) == (port, proto, app),
            || Service { port, proto: proto.to_owned(), application: app.to_owned() },
        );
    }
}

fn of_dns(book: &mut Book, ground: &Ground, dns: &Dns) {
    let (at, src, dst) = (dns.about.at, dns.about.src, dns.about.dst);
    let own_word = [(5353, "mdns"), (5355, "llmnr"), (137, "nbns")];
    if let Some((_, source)) = own_word.iter().find(|(port, _)| src.port == *port || dst.port == *port) {
        let addresses = dns.answers.iter().filter_map(|answer| match &answer.data {
            DnsData::Addr(addr) => Some(*addr),
            _ => None,
        });
        // Only about itself: whoever answers for others is told of by a detection.
        for addr in addresses.filter(|addr| [src.addr, dst.addr].contains(addr) && ground.is_ours(*addr)) {
            host_name(book.entry(addr, at), at, &dns.query, source);
        }
        return;
    }
    if dns.rcode != Some(0) || dns.query.is_empty() {
        return;
    }
    if ground.is_ours(dst.addr) {
        role(book.entry(dst.addr, at), at, "dns server");
    }
    for answer in &dns.answers {
        match &answer.data {
            DnsData::Addr(addr) if is_host(*addr) => {
                let entry = book.entry(*addr, at);
                let (name, resolver) = (cut(&dns.query), dst.addr);
                let seen = &mut entry.facts.passive_dns;
                entry.changed |= seen.note(
                    at,
                    FEW,
                    |known| known.name == name && known.resolver == resolver,
                    || Resolved { name: name.to_owned(), resolver },
                );
            }
            DnsData::Name(name) if dns.qtype == PTR => {
                let Some(addr) = reversed(&dns.query) else { continue };
                let (entry, name) = (book.entry(addr, at), cut(name));
                let make = || Reverse { name: name.to_owned() };
                entry.changed |= entry.facts.reverse_dns.note(at, FEW, |known| known.name == name, make);
            }
            _ => {}
        }
    }
}

/// The address that a name below in-addr.arpa or ip6.arpa asks about.
fn reversed(name: &str) -> Option<IpAddr> {
    if let Some(rest) = name.strip_suffix(".in-addr.arpa") {
        let mut parts = rest.rsplit('.');
        let mut octets = [0; 4];
        for octet in &mut octets {
            *octet = parts.next()?.parse().ok()?;
        }
        return parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(octets)));
    }
    let rest = name.strip_suffix(".ip6.arpa")?;
    let (mut number, mut digits) = (0u128, 0);
    for part in rest.rsplit('.') {
        let digit = part.chars().next().filter(|_| part.len() == 1)?.to_digit(16)?;
        (number, digits) = (number << 4 | u128::from(digit), digits + 1);
    }
    (digits == 32).then(|| IpAddr::V6(Ipv6Addr::from_bits(number)))
}

fn of_http(book: &mut Book, http: &Http) {
    let at = http.about.at;
    if !http.user_agent.is_empty() {
        let (entry, agent) = (book.entry(http.about.src.addr, at), cut(&http.user_agent));
        let make = || Agent { user_agent: agent.to_owned() };
        entry.changed |= entry.facts.user_agents.note(at, MANY, |known| known.user_agent == agent, make);
    }
    if !http.host.is_empty() {
        called(book, http.about.dst.addr, at, &http.host, "http");
    }
}

fn of_tls(book: &mut Book, client: IpAddr, server: IpAddr, at: PacketTime, tls: &TlsFields) {
    let print = if tls.ja4.is_empty() { &tls.ja3 } else { &tls.ja4 };
    // Of remote clients nothing is known but this: it makes no profile.
    if let Some(entry) = book.known(client, at).filter(|_| !print.is_empty()) {
        let make = || Handshake { fingerprint: cut(print).to_owned() };
        entry.changed |= entry.facts.handshakes.note(at, FEW, |known| known.fingerprint == *print, make);
    }
    if !tls.server_name.is_empty() {
        called(book, server, at, &tls.server_name, "tls");
    }
    if !tls.subject.is_empty() {
        let certificate = Certificate {
            subject: cut(&tls.subject).to_owned(),
            issuer: cut(&tls.issuer).to_owned(),
            fingerprint: tls.cert_sha1.clone(),
            not_after: tls.not_valid_after.map(iso),
            names: names(&tls.san_dns),
        };
        showed(book, server, at, certificate);
    }
}

fn of_certificate(book: &mut Book, x509: &X509) {
    let certificate = Certificate {
        subject: cut(&x509.subject).to_owned(),
        issuer: cut(&x509.issuer).to_owned(),
        fingerprint: x509.fingerprint.clone(),
        not_after: x509.not_valid_after.map(iso),
        names: names(&x509.san_dns),
    };
    showed(book, x509.about.dst.addr, x509.about.at, certificate);
}

fn showed(book: &mut Book, server: IpAddr, at: PacketTime, certificate: Certificate) {
    let entry = book.entry(server, at);
    let seen = &mut entry.facts.certificates;
    entry.changed |= seen.note(at, FEW, |known| *known == certificate, || certificate.clone());
}

fn of_ssh(book: &mut Book, ssh: &Ssh) {
    let (about, at) = (&ssh.about, ssh.about.at);
    if !ssh.client.is_empty() {
        program(book, about.src.addr, at, "SSH::CLIENT", &ssh.client, None);
    }
    if !ssh.server.is_empty() {
        program(book, about.dst.addr, at, "SSH::SERVER", &ssh.server, Some(about.dst.port));
    }
}

fn of_arp(book: &mut Book, ground: &Ground, arp: &Arp) {
    if ground.is_ours(arp.sender)
        && arp.frame_src == arp.sender_mac
        && let Some(mac) = ground.owner(Some(arp.sender_mac))
    {
        let entry = book.entry(arp.sender, arp.at);
        entry.changed |= note_mac(entry, arp.at, mac);
    }
}

fn of_neighbour(book: &mut Book, ground: &Ground, neighbour: &Neighbour) {
    let router = matches!(
        neighbour.message,
        Discovery::RouterAdvertisement(_) | Discovery::Advertisement { is_router: true, .. }
    );
    if !is_host(neighbour.src) {
        return;
    }
    let entry = book.entry(neighbour.src, neighbour.at);
    // Only where frame and message agree: else it speaks for another.
    let link = neighbour.message.link().filter(|link| neighbour.frame_src == Some(*link));
    if let Some(mac) = ground.owner(link) {
        entry.changed |= note_mac(entry, neighbour.at, mac);
    }
    if router {
        role(entry, neighbour.at, "router");
    }
}

fn of_dhcp(book: &mut Book, ground: &Ground, dhcp: &Dhcp) {
    let given = dhcp.msg_types.iter().any(|kind| kind == "ACK");
    if let Some(server) = dhcp.server.filter(|server| given && ground.is_ours(*server)) {
        role(book.entry(server, dhcp.at), dhcp.at, "dhcp server");
    }
    if let Some(relay) = dhcp.relay.filter(|relay| ground.is_ours(*relay)) {
        role(book.entry(relay, dhcp.at), dhcp.at, "router");
    }
    let Some(addr) = dhcp.assigned_addr.or(dhcp.client).filter(|addr| is_host(*addr)) else { return };
    if !given && dhcp.client != Some(addr) {
        return;
    }
    let entry = book.entry(addr, dhcp.at);
    if let Some(mac) = ground.owner(dhcp.mac) {
        entry.changed |= note_mac(entry, dhcp.at, mac);
    }
    host_name(entry, dhcp.at, &dhcp.host_name, "dhcp");
    if given {
        entry.facts.dhcp = Some(Lease {
            at: dhcp.at,
            server: dhcp.server,
            seconds: dhcp.lease_time.map(|lease| lease.0 / 1_000_000),
            domain: cut(&dhcp.domain).to_owned(),
            fqdn: cut(&dhcp.client_fqdn).to_owned(),
            requested: dhcp.requested_addr,
            relay: dhcp.relay,
        });
        entry.changed = true;
    }
}

fn note_mac(entry: &mut Entry, at: PacketTime, mac: MacAddr) -> bool {
    let mac = mac.to_string();
    entry.facts.macs.note(at, FEW, |known| known.mac == mac, || Mac { mac: mac.clone() })
}

fn host_name(entry: &mut Entry, at: PacketTime, name: &str, source: &str) {
    let name = cut(name);
    if !name.is_empty() {
        let make = || HostName { name: name.to_owned(), source: source.to_owned() };
        let is = |known: &HostName| known.name == name && known.source == source;
        entry.changed |= entry.facts.host_names.note(at, FEW, is, make);
    }
}

fn role(entry: &mut Entry, at: PacketTime, role: &str) {
    let make = || Role { role: role.to_owned() };
    entry.changed |= entry.facts.roles.note(at, FEW, |known| known.role == role, make);
}

fn called(book: &mut Book, server: IpAddr, at: PacketTime, name: &str, by: &str) {
    let (entry, name) = (book.entry(server, at), cut(name));
    let make = || Called { name: name.to_owned(), by: by.to_owned() };
    let is = |known: &Called| known.name == name && known.by == by;
    entry.changed |= entry.facts.called.note(at, FEW, is, make);
}

fn program(book: &mut Book, host: IpAddr, at: PacketTime, kind: &str, version: &str, port: Option<u16>) {
    let (entry, version) = (book.entry(host, at), cut(version));
    let make = || Program { kind: cut(kind).to_owned(), version: version.to_owned(), port };
    let is = |known: &Program| known.version == version && known.kind == kind && known.port == port;
    entry.changed |= entry.facts.software.note(at, MANY, is, make);
}

fn names(san: &[String]) -> Vec<String> {
    san.iter().take(FEW).map(|name| cut(name).to_owned()).collect()
}

/// The beginning of a text that may be as long as its author liked.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

const PTR: u16 = 12;
