//! Which files this configuration wants.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use slips_intel::LoadError;

use super::{Bounds, Item, What};
use crate::config::Config;
use crate::lists::Lists;

/// The files with a URL, each once, and what is wrong with the catalogues.
///
/// # Errors
/// When a catalogue cannot be read.
pub fn items(config: &Config, lists: &Lists) -> Result<(Vec<Item>, Vec<String>), LoadError> {
    let intelligence = &config.threatintelligence;
    let (sources, problems) = lists.sources()?;
    let mut items: Vec<Item> = sources
        .into_iter()
        .filter(|source| source.entry.location.starts_with("http"))
        .map(|source| Item {
            period: source.entry.every.unwrap_or(intelligence.ti_files_update_period.0),
            url: source.entry.location.into(),
            path: source.path,
            what: What::List(source.holds),
        })
        .collect();
    let kept = kept(&config.output.directory);
    let more = [
        (&intelligence.mac_db, What::Makers, intelligence.mac_db_update),
        (&intelligence.asn_db, What::Places, intelligence.geo_db_update),
        (&intelligence.country_db, What::Places, intelligence.geo_db_update),
    ];
    let named = more.into_iter().zip(kept).filter(|((url, ..), _)| !url.is_empty());
    items.extend(named.map(|((url, what, period), path)| Item {
        url: url.clone(),
        path,
        what,
        period: period.0,
    }));
    let mut seen = BTreeSet::new();
    items.retain(|item| seen.insert(item.url.clone()));
    Ok((items, problems))
}

/// Where fetched files are that describe addresses: makers, networks, countries.
pub fn kept(output: &Path) -> [PathBuf; 3] {
    ["makers.csv", "asn.mmdb", "country.mmdb"].map(|name| output.join("places").join(name))
}

/// What a download may take.
pub const fn bounds(config: &Config) -> Bounds {
    Bounds { most: config.threatintelligence.update_size.0, within: config.threatintelligence.update_time.0 }
}
