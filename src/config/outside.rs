//! `outside`: how this machine reaches servers of others.

use std::path::PathBuf;

use serde::Deserialize;

use crate::outside::Means;

/// `outside`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outside {
    /// Authorities to believe, in PEM. Empty: those of this system, else those that are built in.
    pub certificates: PathBuf,
    /// Proxy for all of it. Empty: none.
    pub proxy: String,
}

impl Outside {
    /// The same for the process that fetches.
    pub fn means(&self) -> Means {
        Means {
            certificates: Some(self.certificates.clone()).filter(|file| !file.as_os_str().is_empty()),
            proxy: Some(self.proxy.clone()).filter(|proxy| !proxy.is_empty()),
        }
    }
}
