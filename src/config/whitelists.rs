//! `whitelists`: what is left alone.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// `whitelists`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Whitelists {
    /// Whether the file of rules is read.
    pub enable_local_whitelist: bool,
    /// The file of rules.
    pub local_whitelist_path: PathBuf,
    /// Directory with files of organisations.
    pub organizations: PathBuf,
    /// A list of known sites. Empty: none.
    pub known_sites: PathBuf,
    /// So many of them, from the first.
    pub known_sites_size: usize,
    /// Name servers whose answers count. Empty: those that this host knows, in an analysis those of our own networks.
    pub resolvers: Vec<IpAddr>,
}

impl Default for Whitelists {
    fn default() -> Self {
        Self {
            enable_local_whitelist: true,
            local_whitelist_path: "/etc/slips/whitelist.conf".into(),
            organizations: "/etc/slips/organizations_info".into(),
            known_sites: PathBuf::new(),
            known_sites_size: 10_000,
            resolvers: Vec::new(),
        }
    }
}
