//! What can be read from the messages of Zeek's own notices, which change little between its versions.

use std::net::IpAddr;

use slips_core::addr;
use slips_core::event::Notice;
use slips_core::flow::Proto;

/// Whether the notice is of this type. Some exported logs have the message in the column of the note, so both are searched.
pub fn is(notice: &Notice, name: &str) -> bool {
    notice.note.contains(name) || (notice.msg.contains(name) && !notice.note.contains("::"))
}

/// The first whole number behind `marker` ("at least ", "on ", "seen in ").
pub fn number_after(text: &str, marker: &str) -> Option<u32> {
    let rest = text.split_once(marker)?.1.trim_start();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The whole number before `marker` (" hosts").
pub fn number_before(text: &str, marker: &str) -> Option<u32> {
    text.split_once(marker)?.0.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The first address behind `marker` ("of host ").
pub fn address_after(text: &str, marker: &str) -> Option<IpAddr> {
    let word = text.split_once(marker)?.1.split_whitespace().next()?;
    word.trim_end_matches(['.', ',', ';']).parse().ok().map(addr::canonical)
}

/// The port and transport behind "on port " (`445/tcp`).
pub fn port_of(notice: &Notice) -> (Option<u16>, Option<Proto>) {
    let word = notice.msg.split_once("on port ").and_then(|(_, rest)| rest.split_whitespace().next());
    let parsed = word.and_then(|word| word.split_once('/'));
    let port = parsed.and_then(|(port, _)| port.parse().ok()).or(notice.port);
    let proto = parsed.map(|(_, proto)| Proto::from_name(proto)).or(notice.proto);
    (port, proto)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_addresses_and_ports_are_found_or_not() {
        let text = "192.0.2.1 scanned at least 15 unique ports of host 198.51.100.2 in 0m3s";
        assert_eq!(number_after(text, "at least "), Some(15));
        assert_eq!(address_after(text, "of host "), "198.51.100.2".parse().ok());
        for bad in ["", "at least", "at least many", "at least 99999999999"] {
            assert_eq!(number_after(bad, "at least "), None, "{bad}");
        }
        assert_eq!(address_after("of host nowhere", "of host "), None);
    }
}
