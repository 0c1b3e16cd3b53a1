//! `profiles`: files by which addresses are described to people.

use std::path::PathBuf;

use serde::Deserialize;

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
    /// The registries of makers to ask, in their order.
    pub fn makers(&self) -> Vec<PathBuf> {
        or_installed(&self.vendors, &INSTALLED_VENDORS)
    }

    /// The databases of places to ask, in their order.
    pub fn databases(&self) -> Vec<PathBuf> {
        or_installed(&self.places, &INSTALLED_PLACES)
    }
}

/// Those that somebody named, whether they are there or not; else those of `installed` that are there.
fn or_installed(named: &[PathBuf], installed: &[&str]) -> Vec<PathBuf> {
    if named.is_empty() {
        installed.iter().map(PathBuf::from).filter(|file| file.is_file()).collect()
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
const INSTALLED_PLACES: [&str; 8] = [
    "/var/lib/slips/places/asn.mmdb",
    "/var/lib/slips/places/country.mmdb",
    "/var/lib/GeoIP/GeoLite2-ASN.mmdb",
    "/var/lib/GeoIP/GeoLite2-Country.mmdb",
    "/var/lib/GeoIP/GeoLite2-City.mmdb",
    "/usr/share/GeoIP/GeoLite2-ASN.mmdb",
    "/usr/share/GeoIP/GeoLite2-Country.mmdb",
    "/usr/share/GeoIP/GeoLite2-City.mmdb",
];
