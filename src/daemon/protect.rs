//! Who is never blocked, asked anew as addresses, routes, resolvers and logins change.

use slips_core::addr::Net;
use slips_firewall::{DiscoverError, Protected, Sources};

/// The protected set of this host, with what the administrator listed.
pub fn discover(listed: &[Net]) -> Result<Protected, DiscoverError> {
    Protected::discover(&Sources { listed: listed.to_vec(), ..Sources::default() })
}
