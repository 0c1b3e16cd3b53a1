//! Who is never blocked, asked anew as addresses, routes, resolvers and logins change.

use slips_firewall::{DiscoverError, Protected, Sources};

use crate::config::Firewall;

/// The protected set of this host, with what the administrator listed.
pub fn discover(policy: &Firewall) -> Result<Protected, DiscoverError> {
    Protected::discover(&Sources {
        listed: policy.never_block.iter().map(|net| net.0).collect(),
        login_ports: policy.login_ports.clone(),
        ..Sources::default()
    })
}
