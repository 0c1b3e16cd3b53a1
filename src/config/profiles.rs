//! `profiles`: files by which addresses are described to people.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::updates::kept;

/// `profiles`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profiles {
    /// Registries of hardware makers. Empty: those that are installed.
    pub vendors: Vec<PathBuf>,
    /// Databases of places in MaxMind's format. Empty: those that are installed.
    pub places: Vec<PathBuf>,
}

impl Profiles {
    /// The registries of makers to ask, in their order. `output` is where what we fetched is.
    pub fn makers(&self, output: &Path) -> Vec<PathBuf> {
        let [makers, ..] = kept(output);
        or_installed(&self.vendors, &[makers], &INSTALLED_VENDORS)
    }

    /// The databases of places to ask, in their order.
    pub fn databases(&self, output: &Path) -> Vec<PathBuf> {
        let [_, networks, countries] = kept(output);
        or_installed(&self.places, &[networks, countries], &INSTALLED_PLACES)
    }
}

/// Those that somebody named, whether they are there or not; else those that we fetched or that are installed.
fn or_installed(named: &[PathBuf], fetched: &[PathBuf], installed: &[&str]) -> Vec<PathBuf> {
    if named.is_empty() {
        let all = fetched.iter().cloned().chain(installed.iter().map(PathBuf::from));
        all.filter(|file| file.is_file()).collect()
    } else {
        named.to_vec()
    }
}

/// Where Debian's ieee-data, wireshark-common and nmap-common put the IEEE's registry.
const INSTALLED_VENDORS: [&str; 7] = [
    "/var/lib/ieee-data/oui.csv",
    "/usr/share/ieee-data/oui.csv",
    "/usr/share/ieee-data/oui36.csv",
    "/usr/share/ieee-data/mam.csv",
    "/usr/share/ieee-data/oui.txt",
    "/usr/share/wireshark/manuf",
    "/usr/share/nmap/nmap-mac-prefixes",
];
/// Where geoipupdate and administrators put databases of places.
const INSTALLED_PLACES: [&str; 6] = [
    "/var/lib/GeoIP/GeoLite2-ASN.mmdb",
    "/var/lib/GeoIP/GeoLite2-Country.mmdb",
    "/var/lib/GeoIP/GeoLite2-City.mmdb",
    "/usr/share/GeoIP/GeoLite2-ASN.mmdb",
    "/usr/share/GeoIP/GeoLite2-Country.mmdb",
    "/usr/share/GeoIP/GeoLite2-City.mmdb",
];
