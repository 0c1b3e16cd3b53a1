//! Who gives this host its addresses, as traffic shows it: some clients of DHCP (busybox' udhcpc, OpenWrt's netifd) leave no lease in a file.
//!
//! What passes on a link can be forged by everybody there. So a server counts only when it answered for an address that this host has and is on
//! one of its own networks, two at most for each address, while the lease runs: the first to come stay. Who is farther away is reached over a
//! gateway, and another one's lease protects nobody.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use slips_core::addr::Net;
use slips_core::event::{Dhcp, Event};
use slips_core::record::Record;
use slips_firewall::{Protected, Why};
use slips_store::{RecordSink, StoreError};

use super::clocks::Clocks;

/// Servers that are held for one address.
const MOST_SERVERS: usize = 2;
/// Addresses of this host whose servers are held.
const MOST_ADDRESSES: usize = 64;
/// How long a server counts that does not say for how long it gave an address, and at most: then it is asked again.
const SHORTEST: Duration = Duration::from_secs(600);
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// The servers of this host's leases. Who reads the records notes them, who finds out who is protected asks.
#[derive(Clone, Default)]
pub struct Leases(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// The addresses of this host, as they were found last, and its networks.
    own: Vec<IpAddr>,
    near: Vec<Net>,
    /// Who gave them, and until when by the steady clock.
    given: BTreeMap<IpAddr, Vec<(IpAddr, Duration)>>,
}

impl Leases {
    /// Notes who gave an address, should it be one of ours.
    fn note(&self, dhcp: &Dhcp, now: Duration) {
        let said = |kind: &str| dhcp.msg_types.iter().any(|told| told == kind);
        let (Some(given), Some(server)) = (dhcp.assigned_addr.or(dhcp.client), dhcp.server) else { return };
        if !said("REQUEST") || !said("ACK") {
            return;
        }
        let term = dhcp.lease_time.map_or(SHORTEST, |lease| Duration::from_micros(lease.0.unsigned_abs()));
        let until = now.saturating_add(term.clamp(SHORTEST, LONGEST));
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_near = seen.near.iter().any(|near| near.overlaps(Net::host(server)));
        if !is_near || !seen.own.contains(&given) || seen.own.contains(&server) {
            return;
        }
        let servers = seen.given.entry(given).or_default();
        servers.retain(|(_, until)| *until > now);
        if let Some((_, known)) = servers.iter_mut().find(|(known, _)| *known == server) {
            *known = until.max(*known);
        } else if servers.len() < MOST_SERVERS {
            servers.push((server, until));
        }
    }

    /// Takes over which addresses this host has, and protects who gave them.
    pub fn protect(&self, protected: &mut Protected, now: Duration) {
        let own = protected.iter().filter(|(net, why)| *why == Why::Own && !net.addr().is_loopback());
        let own: Vec<IpAddr> = own.map(|(net, _)| net.addr()).take(MOST_ADDRESSES).collect();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.given
            .retain(|addr, servers| own.contains(addr) && servers.iter().any(|(_, until)| *until > now));
        // Where this host has no gateway it is one itself, to hosts of which any could say that he gave it its address.
        let gateways: Vec<Net> =
            protected.iter().filter(|(_, why)| *why == Why::Gateway).map(|(net, _)| net).collect();
        let has_gateway = |near: &&Net| gateways.iter().any(|gateway| near.overlaps(*gateway));
        seen.near = protected.local().iter().filter(has_gateway).copied().collect();
        seen.own = own;
        for (server, _) in seen.given.values().flatten().filter(|(_, until)| *until > now) {
            protected.add_host(*server, Why::Dhcp);
        }
    }

    /// What notes them, among the sinks of a run.
    pub fn sink(&self) -> Box<dyn RecordSink> {
        Box::new(Reader { leases: self.clone(), steady: Clocks::default().steady })
    }
}

struct Reader {
    leases: Leases,
    steady: Box<dyn Fn() -> Duration + Send>,
}

impl RecordSink for Reader {
    fn accept(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let batches = records.iter().filter_map(|record| match record {
            Record::Events(batch) => Some(batch),
            _ => None,
        });
        for event in batches.flat_map(|batch| batch.iter()) {
            if let Event::Dhcp(dhcp) = event {
                self.leases.note(dhcp, (self.steady)());
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }

    fn lost(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use slips_core::time::Span;

    use super::*;

    const OWN: &str = "192.168.1.20";

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn host() -> Protected {
        let mut protected = Protected::classes();
        protected.add_host(OWN.parse().expect("address"), Why::Own);
        protected.add_local("192.168.1.0/24".parse().expect("net"));
        protected.add_host("192.168.1.254".parse().expect("address"), Why::Gateway);
        protected
    }

    fn answer(server: &str, client: &str, kinds: &[&str]) -> Dhcp {
        Dhcp {
            assigned_addr: client.parse().ok(),
            server: server.parse().ok(),
            lease_time: Some(Span::from_secs(3600)),
            msg_types: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            ..Dhcp::default()
        }
    }

    /// Who is protected for a lease at that time.
    fn servers(leases: &Leases, now: u64) -> Vec<String> {
        let mut protected = host();
        leases.protect(&mut protected, secs(now));
        let servers = protected.iter().filter(|(_, why)| *why == Why::Dhcp);
        servers.map(|(net, _)| net.to_string()).collect()
    }

    #[test]
    fn who_gave_this_host_its_address_is_protected_while_the_lease_runs() {
        let leases = Leases::default();
        assert!(servers(&leases, 0).is_empty());
        let taken = ["DISCOVER", "OFFER", "REQUEST", "ACK"];
        leases.note(&answer("192.168.1.1", OWN, &taken), secs(1));
        assert_eq!(servers(&leases, 2), ["192.168.1.1"]);
        leases.note(&answer("192.168.1.1", OWN, &["REQUEST", "ACK"]), secs(1800));
        assert_eq!(servers(&leases, 5399), ["192.168.1.1"]);
        assert!(servers(&leases, 5400).is_empty());
    }

    #[test]
    fn whose_gateway_this_host_is_does_not_give_it_its_address() {
        let leases = Leases::default();
        let mut inside = Protected::classes();
        inside.add_host(OWN.parse().expect("address"), Why::Own);
        inside.add_local("192.168.1.0/24".parse().expect("net"));
        leases.protect(&mut inside, secs(0));
        leases.note(&answer("192.168.1.66", OWN, &["REQUEST", "ACK"]), secs(1));
        leases.protect(&mut inside, secs(2));
        assert!(!inside.iter().any(|(_, why)| why == Why::Dhcp));
    }

    #[test]
    fn nobody_else_is_protected_by_what_he_answers() {
        let leases = Leases::default();
        assert!(servers(&leases, 0).is_empty());
        for (server, client, kinds) in [
            // Offered only, not asked for, refused; for another host; from far away; this host itself.
            ("192.168.1.2", OWN, &["DISCOVER", "OFFER"][..]),
            ("192.168.1.2", OWN, &["ACK"]),
            ("192.168.1.2", OWN, &["REQUEST", "NAK"]),
            ("192.168.1.2", "192.168.1.21", &["REQUEST", "ACK"]),
            ("203.0.113.9", OWN, &["REQUEST", "ACK"]),
            (OWN, OWN, &["REQUEST", "ACK"]),
        ] {
            leases.note(&answer(server, client, kinds), secs(1));
        }
        assert!(servers(&leases, 2).is_empty());
    }

    #[test]
    fn many_that_answer_do_not_take_the_place_of_the_first() {
        let leases = Leases::default();
        assert!(servers(&leases, 0).is_empty());
        leases.note(&answer("192.168.1.1", OWN, &["REQUEST", "ACK"]), secs(1));
        for last in 2..250 {
            leases.note(&answer(&format!("203.0.113.{last}"), OWN, &["REQUEST", "ACK"]), secs(2));
            leases.note(&answer(&format!("192.168.1.{last}"), OWN, &["REQUEST", "ACK"]), secs(2));
        }
        assert_eq!(servers(&leases, 3), ["192.168.1.1", "192.168.1.2"]);
    }
}
