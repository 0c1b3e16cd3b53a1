//! The servers that this host lives by: who gave it its addresses, and who tells it the time.
//!
//! Read from what the programs that use them leave behind: leases, configuration, and sockets that are connected to a time server now.
//! What cannot be read counts as not there: some of it is for root's eyes only.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use slips_core::addr::canonical;

use super::sessions::{established, files};

/// The servers that are named in the leases of DHCP clients: of DHCP itself, names, time, and the routers.
pub(super) fn leased(root: &Path) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for folder in ["run/systemd/netif/leases", "var/lib/NetworkManager", "run/NetworkManager/devices"] {
        for path in files(&root.join(folder)) {
            found.extend(keyed(&text(&path)));
        }
    }
    for folder in ["var/lib/dhcp", "var/lib/dhclient", "var/lib/dhcp3"] {
        for path in files(&root.join(folder)) {
            found.extend(of_dhclient(&text(&path)));
        }
    }
    for folder in ["var/lib/dhcpcd", "var/lib/dhcpcd5", "var/db/dhcpcd"] {
        let leases =
            files(&root.join(folder)).filter(|path| path.extension().is_some_and(|end| end == "lease"));
        for path in leases.take(MOST_LEASES) {
            found.extend(of_packet(&first_of(&path)));
        }
    }
    found
}

/// The time servers: those named by address in the configuration, and those that a program is connected to.
pub(super) fn time(root: &Path, net: &Path) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for file in [
        "etc/systemd/timesyncd.conf",
        "etc/chrony/chrony.conf",
        "etc/chrony.conf",
        "etc/ntp.conf",
        "etc/ntpsec/ntp.conf",
    ] {
        found.extend(named(&text(&root.join(file))));
    }
    for folder in
        ["etc/systemd/timesyncd.conf.d", "etc/chrony/conf.d", "etc/chrony/sources.d", "run/chrony-dhcp"]
    {
        for path in files(&root.join(folder)) {
            found.extend(named(&text(&path)));
        }
    }
    for table in ["udp", "udp6"] {
        found.extend(established(&text(&net.join(table)), |_, remote| remote == NTP));
    }
    found
}

/// `SERVER_ADDRESS=192.0.2.1`, `NTP=192.0.2.2 192.0.2.3`: a lease of systemd-networkd or NetworkManager.
fn keyed(text: &str) -> impl Iterator<Item = IpAddr> + '_ {
    const KEYS: [&str; 6] =
        ["SERVER_ADDRESS", "NTP", "DNS", "ROUTER", "dhcp_server_identifier", "ntp_servers"];
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        KEYS.contains(&key.trim()).then_some(value)
    });
    values.flat_map(|value| value.split([' ', ',', '\t']).filter_map(addr))
}

/// `option dhcp-server-identifier 192.0.2.1;` of the last lease in a file of dhclient: former ones stay in it.
fn of_dhclient(text: &str) -> impl Iterator<Item = IpAddr> + '_ {
    const OPTIONS: [&str; 4] = ["dhcp-server-identifier", "ntp-servers", "domain-name-servers", "routers"];
    let last = text.rsplit("lease {").next().unwrap_or_default();
    let values = last.split([';', '\n']).filter_map(|line| {
        let (option, value) = line.trim().strip_prefix("option ")?.split_once(' ')?;
        OPTIONS.contains(&option).then_some(value)
    });
    values.flat_map(|value| value.split([' ', ',']).filter_map(addr))
}

/// A lease of dhcpcd: the server's last answer as it came over the wire (RFC 2131), whoever sent it. A client behind another one's lease has the
/// options of none.
fn of_packet(packet: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let Some((COOKIE, mut options)) = packet.get(OPTIONS..).and_then(<[u8]>::split_first_chunk) else {
        return found;
    };
    while let [code, rest @ ..] = options {
        options = match (*code, rest) {
            (PAD, _) => rest,
            (END, _) | (_, []) => break,
            (code, [length, rest @ ..]) => {
                let Some((value, rest)) = rest.split_at_checked((*length).into()) else { break };
                if SERVERS.contains(&code) {
                    let servers = value.as_chunks::<4>().0.iter().map(|octets| IpAddr::from(*octets));
                    found.extend(servers.filter(|server| !server.is_unspecified()));
                }
                rest
            }
        };
    }
    found
}

/// The beginning of a file: as much as an answer of a DHCP server may take.
fn first_of(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What cannot be read counts as not there.
    let _ = File::open(path).and_then(|file| file.take(PACKET).read_to_end(&mut bytes));
    bytes
}

/// `server 192.0.2.1 iburst`, `NTP=192.0.2.1`: the servers that a configuration names by address.
fn named(text: &str) -> impl Iterator<Item = IpAddr> + '_ {
    let lines = text.lines().filter_map(|line| {
        let (keyword, rest) = line.trim().split_once([' ', '\t', '='])?;
        ["server", "pool", "peer", "NTP", "FallbackNTP"].contains(&keyword.trim()).then_some(rest)
    });
    lines.flat_map(|rest| rest.split_ascii_whitespace().filter_map(addr))
}

fn addr(text: &str) -> Option<IpAddr> {
    text.trim().split('%').next()?.parse().ok().map(canonical)
}

fn text(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The port of time servers, RFC 5905.
const NTP: u16 = 123;
/// Leases of dhcpcd that are read: one for each interface, and each network that it was in.
const MOST_LEASES: usize = 64;
/// The longest answer of a server.
const PACKET: u64 = 65_535;
/// Where options begin in a message of DHCP, and what comes before the first (RFC 2131, section 3).
const OPTIONS: usize = 236;
const COOKIE: &[u8; 4] = &[99, 130, 83, 99];
/// Options without a length, RFC 2132.
const PAD: u8 = 0;
const END: u8 = 255;
/// Routers, name servers, time servers, and the DHCP server itself.
const SERVERS: [u8; 4] = [3, 6, 42, 54];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: Vec<IpAddr>, expected: &[&str]) {
        let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().expect(text)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn leases_name_the_servers() {
        check(
            keyed(
                "ADDRESS=192.0.2.9\nROUTER=192.0.2.1\nSERVER_ADDRESS=192.0.2.2\nNTP=192.0.2.3 192.0.2.4\nX\n",
            )
            .collect(),
            &["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"],
        );
        let leases = "lease {\n  option dhcp-server-identifier 192.0.2.1;\n}\nlease {\n  fixed-address 192.0.2.9;\n  \
                      option ntp-servers 192.0.2.3, 192.0.2.4;\n  option dhcp-server-identifier 192.0.2.2;\n}\n";
        check(of_dhclient(leases).collect(), &["192.0.2.3", "192.0.2.4", "192.0.2.2"]);
    }

    /// What dhcpcd 9.4.1 wrote of an answer of dnsmasq.
    fn lease() -> Vec<u8> {
        let mut packet = vec![0; OPTIONS];
        packet[..8].copy_from_slice(&[2, 1, 6, 0, 0x3a, 0x6a, 0x74, 0xb2]);
        packet[16..24].copy_from_slice(&[192, 0, 2, 55, 192, 0, 2, 1]);
        packet.extend_from_slice(COOKIE);
        packet.extend_from_slice(&[
            53, 1, 5, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 14, 16, 58, 4, 0, 0, 7, 8, 59, 4, 0, 0, 12, 78, 1, 4,
            255, 255, 255, 0, 28, 4, 192, 0, 2, 255, 3, 4, 192, 0, 2, 4, 255,
        ]);
        packet.resize(300, 0);
        packet
    }

    #[test]
    fn a_lease_of_dhcpcd_names_the_servers() {
        check(of_packet(&lease()), &["192.0.2.1", "192.0.2.4"]);
        let root = tempfile::tempdir().expect("folder");
        let folder = root.path().join("var/lib/dhcpcd");
        std::fs::create_dir_all(&folder).expect("folder");
        for file in ["eth0.lease", "duid", "eth0.lease6"] {
            std::fs::write(folder.join(file), lease()).expect(file);
        }
        check(leased(root.path()), &["192.0.2.1", "192.0.2.4"]);
    }

    #[test]
    fn what_is_no_lease_of_dhcpcd_is_survived() {
        let lease = lease();
        for length in 0..lease.len() {
            assert!(of_packet(&lease[..length]).len() <= 2, "cut to {length}");
        }
        for at in OPTIONS..lease.len() {
            for value in 0..=255 {
                let mut changed = lease.clone();
                changed[at] = value;
                of_packet(&changed);
            }
        }
        // Nobody has that address, and half an address is none.
        let mut odd = lease[..OPTIONS + 4].to_vec();
        odd.extend_from_slice(&[54, 4, 0, 0, 0, 0, 6, 7, 192, 0, 2, 9, 192, 0, 2, 42, 200]);
        check(of_packet(&odd), &["192.0.2.9"]);
    }

    #[test]
    fn configurations_name_time_servers_by_address() {
        let text = "# server 192.0.2.8\nserver 192.0.2.1 iburst\npool 2.debian.pool.ntp.org\npeer 2001:db8::1\n\\
                    NTP=192.0.2.2 time.example.org\n#NTP=192.0.2.9\nallow 192.0.2.0/24\n";
        check(named(text).collect(), &["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
    }
}
