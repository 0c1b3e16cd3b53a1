//! Who is never blocked, asked anew as addresses, routes, resolvers and logins change.

use slips_core::addr::Net;
use slips_firewall::{DiscoverError, Protected, Sources, Why};

/// The protected set of this host, with what the administrator listed.
pub fn discover(listed: &[Net]) -> Result<Protected, DiscoverError> {
    Protected::discover(&Sources { listed: listed.to_vec(), ..Sources::default() })
}

/// What is protected everywhere, with what the administrator listed.
pub fn listed_only(listed: &[Net]) -> Protected {
    let mut protected = Protected::classes();
    for net in listed {
        protected.add(*net, Why::Listed);
    }
    protected
}
