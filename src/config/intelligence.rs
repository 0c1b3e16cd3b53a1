//! `threatintelligence`: lists of indicators, and where they come from.

use std::path::PathBuf;

use serde::Deserialize;

use super::{Amount, Length, wrong};

/// `threatintelligence`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThreatIntelligence {
    pub local_threat_intelligence_files: PathBuf,
    pub ti_files: PathBuf,
    pub ja3_feeds: PathBuf,
    pub ssl_feeds: PathBuf,
    pub download_path_for_remote_threat_intelligence: PathBuf,
    #[serde(rename = "TI_files_update_period")]
    pub ti_files_update_period: Length,
    pub update_size: Amount,
    pub update_time: Length,
    pub mac_db: String,
    pub mac_db_update: Length,
    pub asn_db: String,
    pub country_db: String,
    pub geo_db_update: Length,
}

impl Default for ThreatIntelligence {
    fn default() -> Self {
        Self {
            local_threat_intelligence_files: "/etc/slips/local_ti_files".into(),
            ti_files: "/etc/slips/TI_feeds.csv".into(),
            ja3_feeds: "/etc/slips/JA3_feeds.csv".into(),
            ssl_feeds: "/etc/slips/SSL_feeds.csv".into(),
            download_path_for_remote_threat_intelligence: "/var/lib/slips/feeds".into(),
            ti_files_update_period: Length::secs(86_400),
            update_size: Amount(64 << 20),
            update_time: Length::secs(300),
            mac_db: String::new(),
            mac_db_update: Length::secs(14 * 86_400),
            asn_db: String::new(),
            country_db: String::new(),
            geo_db_update: Length::secs(7 * 86_400),
        }
    }
}

impl ThreatIntelligence {
    /// What is wrong with the values.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let amounts = wrong([
            (
                (1 << 10..=256 << 20).contains(&self.update_size.0),
                "threatintelligence.update_size must be 1KiB to 256MiB; 64MiB is the default",
            ),
            (!self.update_time.0.is_zero(), "threatintelligence.update_time must be above 0"),
        ]);
        let is_url = |url: &str| ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
        let urls = [("mac_db", &self.mac_db), ("asn_db", &self.asn_db), ("country_db", &self.country_db)];
        let urls = urls.into_iter().filter(move |(_, url)| !url.is_empty() && !is_url(url));
        let urls =
            urls.map(|(key, _)| format!("threatintelligence.{key} must be a URL, http:// or https://"));
        amounts.map(str::to_owned).chain(urls)
    }
}
