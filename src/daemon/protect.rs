//! Who is never blocked, asked anew as addresses, routes, resolvers and logins change.

use std::net::IpAddr;

use slips_firewall::{DiscoverError, Protected, Sources, Why};

use crate::config::Firewall;

/// The protected set of this host, with what the administrator listed.
pub fn discover(policy: &Firewall) -> Result<Protected, DiscoverError> {
    Protected::discover(&Sources {
        listed: policy.never_block.iter().map(|net| net.0).collect(),
        login_ports: policy.login_ports.clone(),
        ..Sources::default()
    })
}

/// The gateways among the protected, for detections that judge them otherwise.
pub fn gateways(protected: &Protected) -> Vec<IpAddr> {
    protected.iter().filter(|(_, why)| *why == Why::Gateway).map(|(net, _)| net.addr()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_told_from_others_that_are_protected() {
        let mut protected = Protected::classes();
        protected.add_host([192, 168, 1, 1].into(), Why::Own);
        protected.add_host([192, 168, 1, 254].into(), Why::Gateway);
        assert_eq!(gateways(&protected), [IpAddr::from([192, 168, 1, 254])]);
    }
}
