//! All that is mirrored, sent anew from the database, some at a time: after a connection, after an answer that Redis is full, and after
//! records that had no room.

use std::path::{Path, PathBuf};

use ::redis::Cmd;
use slips_core::time::PacketTime;

use super::mirror::Mirror;
use crate::sink::StoreError;
use crate::sqlite::{Page, Stories};

/// Of each kind so much is sent anew at most, the newest.
pub const MOST_EVIDENCE: u32 = 20_000;
/// See [`MOST_EVIDENCE`].
pub const MOST_ALERTS: u32 = 20_000;
/// See [`MOST_EVIDENCE`].
pub const MOST_PROFILES: u32 = 20_000;

/// Rows that are sent at once.
const PAGE: u32 = 64;
/// After so many rows in a row whose keys live no longer the rest of a table is older, too: rows lie in the order in which they came.
const IN_VAIN: u32 = 5_000;

/// Where a replay stands.
enum Stage {
    Evidence(Reach),
    Alerts(Reach),
    Profiles,
}

/// How far it has come in a table.
struct Reach {
    /// Before this place.
    before: i64,
    /// So many more are sent.
    left: u32,
    /// So many were looked at since the last that was.
    in_vain: u32,
}

impl Reach {
    const fn of(most: u32) -> Self {
        Self { before: i64::MAX, left: most, in_vain: 0 }
    }

    const fn page(&self) -> u32 {
        if self.left < PAGE { self.left } else { PAGE }
    }

    /// Goes on behind a page; whether there is more.
    fn pass<T>(&mut self, page: &Page<T>) -> bool {
        let found = u32::try_from(page.rows.len()).unwrap_or(u32::MAX);
        self.left = self.left.saturating_sub(found);
        self.in_vain = if found > 0 { page.in_vain } else { self.in_vain.saturating_add(page.in_vain) };
        let Some(last) = page.last else { return false };
        self.before = last;
        self.left > 0 && self.in_vain < IN_VAIN
    }
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
        let stage = Stage::Evidence(Reach::of(MOST_EVIDENCE));
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
            Stage::Evidence(reach) => {
                let page =
                    stories.mirrored_evidence(reach.before, self.since, reach.page(), &router, width)?;
                if !reach.pass(&page) {
                    self.stage = Stage::Alerts(Reach::of(MOST_ALERTS));
                }
                for row in page.rows.iter().filter(|row| !mirror.is_touched(&row.told.id)) {
                    mirror.put_evidence(&row.told, row.attacker, out);
                }
            }
            Stage::Alerts(reach) => {
                let page = stories.mirrored_alerts(reach.before, self.since, reach.page(), &router)?;
                if !reach.pass(&page) {
                    self.profiles = Follow::from(&stories, self.since)?;
                    self.stage = Stage::Profiles;
                }
                page.rows.iter().for_each(|row| mirror.put_alert(&row.told, row.at, out));
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

#[cfg(test)]
mod tests {
    use slips_core::addr::LocalNets;
    use slips_core::time::WindowWidth;

    use super::*;
    use crate::redis::{Keys, MirrorSettings, Word};
    use crate::sqlite::{Sqlite, SqliteLimits};
    use crate::wire::tests::clock;

    #[test]
    fn a_replay_ends_where_all_is_too_old_and_no_step_reads_all_the_rest() {
        const NOW: i64 = 1_800_000_000_000_000;
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("flows.sqlite");
        drop(Sqlite::open(&path, SqliteLimits::default(), clock).expect("made"));
        // Those with these numbers are of today; between the last two lies more than a replay looks at.
        let fresh = [1, 20_000, 24_000, 24_001];
        rusqlite::Connection::open(&path)
            .expect("open")
            .execute_batch(&format!(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 24500)
                 INSERT INTO evidence SELECT 'e' || n, 'K', '192.0.2.1', 'ip', NULL, NULL, 'high', 1.0, '192.0.2.1', 7,
                     iif(n IN (1, 20000, 24000, 24001), {NOW}, 0), iif(n IN (1, 20000, 24000, 24001), {NOW}, 0),
                     NULL, NULL, NULL, 'd', NULL, 1, 1, 1.0, 1.0, 0, 0 FROM n;",
            ))
            .expect("rows");
        let mut mirror = Mirror::new(MirrorSettings {
            keys: Keys::new(Word::default(), Word::new("gw1").expect("a word")),
            ttl: 86_400,
            width: WindowWidth::HOUR,
            local: LocalNets::private(),
            secret: None,
        });
        let stories = Stories::open(&path).expect("open");
        let mut replay = Replay::begin(&mirror, &path, NOW);
        let page = stories
            .mirrored_evidence(20_000, replay.since, PAGE, &Word::default(), WindowWidth::HOUR)
            .expect("page");
        assert_eq!((page.rows.len(), page.in_vain, page.last), (0, 1_000, Some(19_000)));
        let (mut out, mut steps) = (Vec::new(), 0);
        while replay.step(&mut mirror, &mut out).expect("step").is_none() {
            steps += 1;
        }
        let sent: Vec<u8> = out.iter().flat_map(Cmd::get_packed_command).collect();
        let sent = String::from_utf8_lossy(&sent);
        let found = fresh.map(|n| sent.contains(&format!("\"e{n}\"")));
        assert_eq!((found, steps), ([false, true, true, true], 11));
    }
}
