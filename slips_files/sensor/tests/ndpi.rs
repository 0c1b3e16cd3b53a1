//! Recognised applications against those that nDPI finds in its own captures.

mod support;

use std::collections::HashMap;

use slips_core::event::Event;
use slips_core::flow::{Flow, Phase};
use slips_sensor::Settings;

/// What we call an application of nDPI's; `None` for those that the sensor does not claim to know.
fn ours_for(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "DNS" | "MDNS" | "LLMNR" => &["dns"],
        "HTTP" => &["http"],
        "TLS" | "IMAPS" | "POPS" | "SMTPS" | "FTPS" => &["ssl"],
        "QUIC" => &["quic"],
        "SSH" => &["ssh"],
        "FTP_CONTROL" => &["ftp"],
        "FTP_DATA" => &["ftp-data"],
        "SMTP" => &["smtp"],
        "POP3" => &["pop3"],
        "IMAP" => &["imap"],
        "IRC" => &["irc"],
        "DHCP" => &["dhcp"],
        "NTP" => &["ntp"],
        "SIP" => &["sip"],
        "SNMP" => &["snmp"],
        "Radius" => &["radius"],
        "Syslog" => &["syslog"],
        "Kerberos" => &["krb", "krb_tcp"],
        "LDAP" => &["ldap_tcp", "ldap_udp"],
        "MySQL" => &["mysql"],
        "PostgreSQL" => &["postgresql"],
        "Redis" => &["redis"],
        "RDP" => &["rdp"],
        "SMBv1" | "SMBv23" => &["smb"],
        "SOCKS" => &["socks"],
        "VNC" => &["rfb"],
        "MQTT" => &["mqtt"],
        "Telnet" => &["telnet"],
        "HTTP2" => &["http2"],
        "RSH" => &["rsh"],
        "Modbus" => &["modbus"],
        "OpenVPN" => &["openvpn"],
        "WireGuard" => &["wireguard"],
        "IPSec" => &["ipsec"],
        "BitTorrent" => &["bittorrent"],
        "STUN" => &["stun"],
        "Mining" | "Monero" => &["stratum", "monero"],
        _ => return None,
    })
}

/// `a:p` or `[a]:p`, as a key that does not depend on the form of the address.
fn end(text: &str) -> Option<(String, u16)> {
    let (addr, port) = text.rsplit_once(':')?;
    let addr: std::net::IpAddr = addr.trim_matches(['[', ']']).parse().ok()?;
    Some((addr.to_string(), port.parse().ok()?))
}

type Key = (String, [(String, u16); 2]);

fn key(proto: &str, a: (String, u16), b: (String, u16)) -> Key {
    (proto.to_lowercase(), if a <= b { [a, b] } else { [b, a] })
}

/// The flows of nDPI's report: ends, and the applications from the outermost to the innermost.
fn expected(text: &str) -> Vec<(Key, Vec<String>)> {
    let mut flows = Vec::new();
    for line in text.lines() {
        // some it only guesses from ports
        if !line.contains("[Confidence: DPI]") {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let [number, proto @ ("TCP" | "UDP"), a, "<->" | "->", b, ..] = words.as_slice() else { continue };
        let found = line.split_once("[proto: ").and_then(|(_, rest)| rest.split_once(']'));
        let name = found.and_then(|(name, _)| name.split_once('/')).map(|(_, name)| name);
        let (Ok(_), Some(a), Some(b), Some(name)) = (number.parse::<u32>(), end(a), end(b), name) else {
            continue;
        };
        flows.push((key(proto, a, b), name.split('.').map(str::to_owned).collect()));
    }
    flows
}

#[test]
fn applications_agree_with_ndpis() {
    let Some(corpora) = support::corpora("applications_agree_with_ndpis") else { return };
    let (mut known, mut agreed) = (0, 0);
    for entry in std::fs::read_dir(corpora.join("ndpi")).expect("folder").flatten() {
        let Ok(report) = std::fs::read(entry.path().join("expect.ndpi.txt")) else { continue };
        let capture = ["capture.pcap", "capture.pcapng", "capture.cap"].map(|name| entry.path().join(name));
        let Some(capture) = capture.iter().find(|path| path.exists()) else { continue };
        let (_, events) = support::run(capture, Settings::default());
        let mut flows: HashMap<Key, Vec<Flow>> = HashMap::new();
        for event in events {
            if let Event::Flow(flow) = event
                && flow.phase == Phase::End
            {
                let ends = [flow.src, flow.dst].map(|end| (end.addr.to_string(), end.port));
                let [src, dst] = ends;
                flows.entry(key(flow.proto.name(), src, dst)).or_default().push(flow);
            }
        }
        for (key, names) in expected(&String::from_utf8_lossy(&report)) {
            // datagrams of NetBIOS, whatever they carry, are nothing that we name
            if names.iter().any(|name| name == "NetBIOS") {
                continue;
            }
            let wanted: Vec<_> = names.iter().filter_map(|name| ours_for(name)).flatten().collect();
            let Some(ours) = flows.get(&key).filter(|_| !wanted.is_empty()) else { continue };
            known += 1;
            if ours.iter().any(|flow| wanted.iter().any(|name| flow.has_service(name))) {
                agreed += 1;
            } else {
                let ours: Vec<_> = ours.iter().map(|flow| flow.service.as_str()).collect();
                println!("{:?}: {key:?} {names:?}: ours {ours:?}", entry.file_name());
            }
        }
    }
    println!("{agreed} of {known} flows agree");
    assert!(known > 400);
    assert!(agreed * 100 >= known * 90);
}
