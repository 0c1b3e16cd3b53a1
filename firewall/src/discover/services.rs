//! The servers that this host lives by: who gave it its addresses, and who tells it the time.
//!
//! Read from what the programs that use them leave behind: leases, configuration, and sockets that are connected to a time server now.
//! What cannot be read counts as not there: some of it is for root's eyes only.

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

    #[test]
    fn configurations_name_time_servers_by_address() {
        let text = "# server 192.0.2.8\nserver 192.0.2.1 iburst\npool 2.debian.pool.ntp.org\npeer 2001:db8::1\n\\
                    NTP=192.0.2.2 time.example.org\n#NTP=192.0.2.9\nallow 192.0.2.0/24\n";
        check(named(text).collect(), &["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
    }
}
