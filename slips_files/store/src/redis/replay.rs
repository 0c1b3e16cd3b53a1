//! All that is mirrored, sent anew from the database, some at a time: after a connection, after an answer that Redis is full, and after
//! records that had no room.

use std::path::{Path, PathBuf};

use ::redis::Cmd;
use slips_core::time::PacketTime;

use super::mirror::Mirror;
use crate::sink::StoreError;
use crate::sqlite::Stories;

/// Of each kind so much is sent anew at most, the newest.
pub const MOST_EVIDENCE: u32 = 20_000;
/// See [`MOST_EVIDENCE`].
pub const MOST_ALERTS: u32 = 20_000;
/// See [`MOST_EVIDENCE`].
pub const MOST_PROFILES: u32 = 20_000;

/// Rows that are read at once.
const PAGE: u32 = 64;

/// Where a replay stands.
enum Stage {
    Evidence { before: i64, left: u32 },
    Alerts { before: i64, left: u32 },
    Profiles,
}

/// A replay that goes on.
pub struct Replay {
    database: PathBuf,
    since: PacketTime,
    stage: Stage,
    profiles: Follow,
}

impl Replay {
    /// Begins one, of what the database knows of the time for which keys live; wall time in microseconds.
    pub fn begin(mirror: &Mirror, database: &Path, now: i64) -> Self {
        let ttl = i64::try_from(mirror.settings().ttl).unwrap_or(i64::MAX / 1_000_000);
        let since = PacketTime(now.saturating_sub(ttl.saturating_mul(1_000_000)));
        let stage = Stage::Evidence { before: i64::MAX, left: MOST_EVIDENCE };
        Self { database: database.to_owned(), since, stage, profiles: Follow::default() }
    }

    /// The next commands; none when all is sent. Then the profiles are to be followed from where the replay ended.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn step(&mut self, mirror: &mut Mirror, out: &mut Vec<Cmd>) -> Result<Option<Follow>, StoreError> {
        let stories = Stories::open(&self.database)?;
        let (router, width) = (mirror.settings().keys.router().clone(), mirror.settings().width);
        match &mut self.stage {
            Stage::Evidence { before, left } => {
                let page = stories.mirrored_evidence(*before, self.since, PAGE.min(*left), &router, width)?;
                *left -= page.len() as u32;
                match page.last() {
                    Some(row) if *left > 0 => *before = row.place,
                    _ => self.stage = Stage::Alerts { before: i64::MAX, left: MOST_ALERTS },
                }
                for row in page.iter().filter(|row| !mirror.is_touched(&row.told.id)) {
                    mirror.put_evidence(&row.told, row.attacker, out);
                }
            }
            Stage::Alerts { before, left } => {
                let page = stories.mirrored_alerts(*before, self.since, PAGE.min(*left), &router)?;
                *left -= page.len() as u32;
                match page.last() {
                    Some(row) if *left > 0 => *before = row.place,
                    _ => {
                        self.profiles = Follow::from(&stories, self.since)?;
                        self.stage = Stage::Profiles;
                    }
                }
                page.iter().for_each(|row| mirror.put_alert(&row.told, row.at, out));
            }
            Stage::Profiles => {
                if !self.profiles.read(&stories, mirror, out)? {
                    mirror.renewed();
                    return Ok(Some(std::mem::take(&mut self.profiles)));
                }
            }
        }
        Ok(None)
    }
}

/// Follows profiles in the database, by when they were seen last.
#[derive(Debug, Default)]
pub struct Follow {
    at: PacketTime,
    addr: String,
}

/// Profiles are written up to so long after they were seen.
const LATE: i64 = 5_000_000;

impl Follow {
    fn from(stories: &Stories, since: PacketTime) -> Result<Self, StoreError> {
        let newest = stories.mirrored_from(MOST_PROFILES)?;
        Ok(Self { at: newest.map_or(since, |newest| newest.max(since)), addr: String::new() })
    }

    /// Sends what has changed; at most one page. Whether there may be more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn step(&mut self, mirror: &Mirror, database: &Path, out: &mut Vec<Cmd>) -> Result<bool, StoreError> {
        self.read(&Stories::open(database)?, mirror, out)
    }

    fn read(&mut self, stories: &Stories, mirror: &Mirror, out: &mut Vec<Cmd>) -> Result<bool, StoreError> {
        let page = stories.mirrored_profiles((self.at, &self.addr), PAGE)?;
        mirror.profiles(&page, out);
        let is_all = page.len() < PAGE as usize;
        if let Some((at, addr, _)) = page.last() {
            (self.at, self.addr) = (*at, addr.to_string());
        }
        Ok(!is_all)
    }

    /// Looks again at what may have been written late.
    pub fn again(&mut self) {
        (self.at, self.addr) = (PacketTime(self.at.0.saturating_sub(LATE)), String::new());
    }
}
