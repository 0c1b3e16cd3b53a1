//! Where an address is and whose network it is in, from database files in MaxMind's format.
//!
//! Any such file will do: MaxMind's own GeoLite2, DB-IP Lite, IPinfo Lite, ip-location-db. Their fields differ, so each fact is looked for
//! under the names that are in use. Nothing is asked outside; private addresses have no place and are not looked up.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{MaxMindDbError, Reader};
use serde::Deserialize;
use slips_core::addr::is_private;

/// What is known of the place of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Number of the autonomous system.
    pub asn: Option<u32>,
    /// Whose it is.
    pub organisation: Option<String>,
    /// Two letters (ISO 3166-1).
    pub country: Option<String>,
}

/// Database files, asked in their order: the first that knows a fact tells it.
#[derive(Default)]
pub struct Geo(Vec<Reader<Vec<u8>>>);

impl Geo {
    /// Reads a file and asks it after those before it.
    ///
    /// # Errors
    /// When it cannot be read, or is not such a database.
    pub fn add(&mut self, file: &Path) -> Result<(), MaxMindDbError> {
        self.0.push(Reader::open_readfile(file)?);
        Ok(())
    }

    /// No file was read.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the files know of an address. One that answers with nonsense knows nothing.
    pub fn place(&self, addr: IpAddr) -> Place {
        let mut place = Place::default();
        if is_private(addr) {
            return place;
        }
        for reader in &self.0 {
            // A database of IPv4 refuses to be asked for IPv6.
            let row = reader.lookup(addr).and_then(|found| found.decode::<Row>());
            let Ok(Some(row)) = row else { continue };
            place.asn = place.asn.or_else(|| row.number());
            place.organisation = place.organisation.or(row.organisation).or(row.as_name);
            place.country = place.country.or_else(|| {
                let iso = row.country.and_then(Country::code);
                iso.or(row.country_code).filter(|code| code.len() == 2)
            });
        }
        place
    }
}

impl Geo {
    /// The number of the autonomous system that an address is in; nothing else of its row is read.
    pub fn asn(&self, addr: IpAddr) -> Option<u32> {
        if is_private(addr) {
            return None;
        }
        self.0.iter().find_map(|reader| {
            let number = reader.lookup(addr).and_then(|found| found.decode::<Number<'_>>()).ok()??;
            let named = || number.asn?.strip_prefix("AS")?.parse().ok();
            number.autonomous_system_number.or_else(named)
        })
    }
}

/// The number alone.
#[derive(Deserialize)]
struct Number<'a> {
    autonomous_system_number: Option<u32>,
    #[serde(borrow)]
    asn: Option<&'a str>,
}

/// The fields of the databases that are in use.
#[derive(Deserialize)]
struct Row {
    /// MaxMind, DB-IP, ip-location-db.
    autonomous_system_number: Option<u32>,
    #[serde(rename = "autonomous_system_organization")]
    organisation: Option<String>,
    /// IPinfo: `AS64496`.
    asn: Option<String>,
    as_name: Option<String>,
    country: Option<Country>,
    country_code: Option<String>,
}

impl Row {
    fn number(&self) -> Option<u32> {
        let named = || self.asn.as_deref()?.strip_prefix("AS")?.parse().ok();
        self.autonomous_system_number.or_else(named)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Country {
    /// MaxMind and those like it.
    Full { iso_code: Option<String> },
    /// IPinfo: the name in English, which says nothing that the code does not.
    Name(#[expect(dead_code, reason = "read past")] String),
}

impl Country {
    fn code(self) -> Option<String> {
        match self {
            Self::Full { iso_code } => iso_code,
            Self::Name(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_database_is_an_error_and_no_file_knows_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        let file = dir.path().join("x.mmdb");
        let mut geo = Geo::default();
        assert!(geo.add(&file).is_err());
        for bytes in [&b""[..], b"hello", &b"\xab\xcd\xefMaxMind.com"[..], &[0xff; 4096]] {
            std::fs::write(&file, bytes).expect("write");
            assert!(geo.add(&file).is_err());
        }
        assert!(geo.is_empty());
        assert_eq!(geo.place(IpAddr::from([203, 0, 113, 9])), Place::default());
    }
}
