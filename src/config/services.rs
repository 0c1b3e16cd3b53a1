//! `virustotal` and `services`: what is asked of others about single addresses, names, pages and files. Nothing by default.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Length, wrong};

/// `virustotal`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VirusTotal {
    /// File whose first line is the key; without it nothing is asked.
    pub api_key_file: PathBuf,
    /// How long an answer holds.
    pub virustotal_update_period: Length,
    /// Questions in a minute and in a day: what a free key may.
    pub per_minute: u32,
    pub per_day: u32,
    /// Where it is.
    pub url: String,
    /// By which version of its interface it is asked: 2 or 3.
    pub api_version: u8,
}

impl VirusTotal {
    /// The key may be one of the unit's credentials; what the configuration names goes before.
    pub fn find_key(&mut self, credentials: &Path) {
        let given = credentials.join("slips-virustotal-key");
        if self.api_key_file == Self::default().api_key_file && given.exists() {
            self.api_key_file = given;
        }
    }
}

impl Default for VirusTotal {
    fn default() -> Self {
        Self {
            api_key_file: "/etc/slips/vt_api_key".into(),
            virustotal_update_period: Length::secs(259_200),
            per_minute: 4,
            per_day: 500,
            url: "https://www.virustotal.com".into(),
            api_version: 2,
        }
    }
}

impl VirusTotal {
    /// The key; none where there is no file of the default name.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub fn key(&self) -> Result<Option<String>, String> {
        let named = self.api_key_file != Self::default().api_key_file;
        let off = self.api_key_file.as_os_str().is_empty() || (!named && !self.api_key_file.exists());
        if off { Ok(None) } else { read_key(&self.api_key_file).map(Some) }
    }

    /// What is wrong with the values.
    pub(super) fn problems(&self) -> impl Iterator<Item = &'static str> {
        wrong([
            (
                self.per_minute >= 1 && self.per_day >= 1 && !self.virustotal_update_period.0.is_zero(),
                "virustotal.per_minute, per_day and virustotal_update_period must be above 0",
            ),
            (matches!(self.api_version, 2 | 3), "virustotal.api_version must be 2 or 3"),
            (self.url.starts_with(HTTPS), "virustotal.url must be a URL, https://"),
        ])
    }
}

/// `services`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Services {
    /// URLhaus: pages and files.
    pub urlhaus: bool,
    pub urlhaus_key_file: PathBuf,
    pub urlhaus_url: String,
    /// CIRCL: files.
    pub circl_hashlookup: bool,
    pub circl_hashlookup_url: String,
    /// Spamhaus: who calls our hosts.
    pub spamhaus: bool,
    pub spamhaus_zone: String,
    /// RDAP: when domains were registered.
    pub rdap: bool,
    pub rdap_url: String,
    /// JARM: servers that evidence puts in doubt are asked themselves.
    pub jarm: bool,
}

impl Default for Services {
    fn default() -> Self {
        Self {
            urlhaus: false,
            urlhaus_key_file: PathBuf::new(),
            urlhaus_url: "https://urlhaus-api.abuse.ch".into(),
            circl_hashlookup: false,
            circl_hashlookup_url: "https://hashlookup.circl.lu".into(),
            spamhaus: false,
            spamhaus_zone: "zen.spamhaus.org".into(),
            rdap: false,
            rdap_url: "https://rdap.org".into(),
            jarm: false,
        }
    }
}

impl Services {
    /// The key for URLhaus, where a file is named.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub fn urlhaus_key(&self) -> Result<Option<String>, String> {
        let named = !self.urlhaus_key_file.as_os_str().is_empty();
        named.then(|| read_key(&self.urlhaus_key_file)).transpose()
    }

    /// What is wrong with the values.
    pub(super) fn problems(&self) -> impl Iterator<Item = &'static str> {
        wrong([
            (self.urlhaus_url.starts_with(HTTPS), "services.urlhaus_url must be a URL, https://"),
            (
                self.circl_hashlookup_url.starts_with(HTTPS),
                "services.circl_hashlookup_url must be a URL, https://",
            ),
            (self.rdap_url.starts_with(HTTPS), "services.rdap_url must be a URL, https://"),
        ])
    }
}

const HTTPS: &str = "https://";

/// Longest key.
const KEY: usize = 256;

/// The first line of a file that not everybody reads.
pub(super) fn read_key(path: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(told)?;
    let mode = file.metadata().map_err(told)?.mode();
    if mode & 0o007 != 0 {
        return Err(format!("{} can be read by everybody: chmod o= {0}", path.display()));
    }
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).map_err(told)?;
    let key = text.lines().next().unwrap_or_default().trim();
    let good = (8..=KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    good.then(|| key.to_owned()).ok_or_else(|| format!("{}: its first line is no key", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_read_from_a_file_that_not_everybody_reads() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("key");
        let settings = VirusTotal { api_key_file: path.clone(), ..VirusTotal::default() };
        assert!(settings.key().is_err(), "it was named and is not there");
        fs::write(&path, "0123456789abcdef\nmore\n").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
        assert!(settings.key().expect_err("loose").contains("everybody"));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("set");
        assert_eq!(settings.key(), Ok(Some("0123456789abcdef".into())));
        fs::write(&path, "two words\n").expect("written");
        assert!(settings.key().is_err());
        let none = VirusTotal { api_key_file: PathBuf::new(), ..VirusTotal::default() };
        assert_eq!(none.key(), Ok(None));
    }
}
