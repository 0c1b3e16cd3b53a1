//! The tables of profiles, and what flows.sqlite knows of one address beside them.

use std::net::IpAddr;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row, params};
use schemars::JsonSchema;
use serde::Serialize;
use slips_core::time::{PacketTime, WindowWidth};

use super::age::PLAUSIBLE;
use super::place::{Damaged, Place};
use super::read::Judged;
use super::schema::Durability;
use super::story::Stories;
use crate::profiles::Facts;
use crate::render::iso;
use crate::sink::StoreError;

/// Writes profiles.
pub(crate) struct ProfileTable {
    place: Place,
    /// `None` after a failure: the next attempt begins with a new connection.
    db: Option<Connection>,
    kept: u32,
    width: WindowWidth,
    /// Profiles written since those beyond `kept` were taken out.
    written: u32,
}

impl ProfileTable {
    /// In the database at `path`, which is made if it is not there.
    pub(crate) fn open(
        path: PathBuf,
        kept: u32,
        width: WindowWidth,
        damaged: Damaged,
    ) -> Result<Self, StoreError> {
        let mut place = Place::new(path, Durability::Whole, damaged);
        let db = match place.open() {
            // It is opened when something is to be written, as after a failure.
            Err(error) if damaged == Damaged::PutAside && (error.is_passing() || error.is_unwritable()) => {
                None
            }
            opened => Some(opened?.0),
        };
        Ok(Self { place, db, kept, width, written: 0 })
    }

    /// Writes profiles in one transaction, at `now` of the wall clock; with one that is marked as unread, what the database has of it is taken over first.
    pub(crate) fn write<'a>(
        &mut self,
        now: i64,
        profiles: impl Iterator<Item = (IpAddr, &'a mut Facts, &'a mut bool)>,
    ) -> Result<(), StoreError> {
        let mut db = match self.db.take().filter(|_| !self.place.is_moved()) {
            Some(db) => db,
            None => self.place.open()?.0,
        };
        match self.transact(&mut db, now, profiles) {
            Ok(()) => {
                self.db = Some(db);
                Ok(())
            }
            Err(source) => {
                drop(db);
                Err(self.place.failed(source))
            }
        }
    }

    fn transact<'a>(
        &mut self,
        db: &mut Connection,
        now: i64,
        profiles: impl Iterator<Item = (IpAddr, &'a mut Facts, &'a mut bool)>,
    ) -> rusqlite::Result<()> {
        // Whoever writes logs may date them as he likes: nobody was seen later than now, so nobody makes others go for it.
        let latest = if now < PLAUSIBLE { i64::MAX } else { now };
        let mut profiles = profiles.peekable();
        if profiles.peek().is_none() {
            return Ok(());
        }
        let tx = db.transaction()?;
        // Whoever reads the numbers of windows asks when they were.
        tx.prepare_cached(
            "INSERT INTO meta VALUES ('window_seconds', ?)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value",
        )?
        .execute([self.width.span().0 / 1_000_000])?;
        {
            let mut read = tx.prepare_cached("SELECT facts FROM profiles WHERE addr = ?")?;
            let mut put = tx.prepare_cached(
                "INSERT INTO profiles VALUES (?, ?, ?)
                 ON CONFLICT (addr) DO UPDATE SET last = excluded.last, facts = excluded.facts",
            )?;
            let mut put_mac = tx.prepare_cached("INSERT OR IGNORE INTO profile_macs VALUES (?, ?)")?;
            for (addr, facts, unread) in profiles {
                let name = addr.to_string();
                if std::mem::take(unread) {
                    let kept: Option<String> = read.query_row([&name], |row| row.get(0)).optional()?;
                    // A row that cannot be read was not written by us: what is known now takes its place.
                    if let Some(earlier) = kept.and_then(|text| serde_json::from_str(&text).ok()) {
                        facts.merge(earlier);
                    }
                }
                let text = serde_json::to_string(facts).unwrap_or_default();
                put.execute(params![name, facts.last_seen.0.min(latest), text])?;
                for mac in facts.macs.items() {
                    put_mac.execute(params![mac.what.mac, name])?;
                }
                self.written = self.written.saturating_add(1);
            }
        }
        if self.written >= LOOK_EVERY.min(self.kept) {
            self.written = 0;
            tx.execute(
                "UPDATE profiles SET last = ?1 WHERE last > ?2",
                params![latest, latest.saturating_add(DAY)],
            )?;
            tx.execute(
                "DELETE FROM profiles WHERE last < (SELECT last FROM profiles ORDER BY last DESC LIMIT 1 OFFSET ?)",
                [self.kept],
            )?;
            tx.execute("DELETE FROM profile_macs WHERE addr NOT IN (SELECT addr FROM profiles)", [])?;
        }
        tx.commit()
    }
}

/// After so many profiles those beyond the limit are taken out.
const LOOK_EVERY: u32 = 10_000;
/// Who was seen last so much later than now was dated by an earlier version, or before the clock was set back.
const DAY: i64 = 86_400_000_000;

/// All that the database knows of one address.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StoredProfile {
    /// What traffic told; `None` when the address has no profile and only its evidence is known.
    pub facts: Option<Facts>,
    /// Other addresses with the same hardware address, and with which one.
    pub siblings: Vec<(IpAddr, String)>,
    /// The addresses that own the hardware addresses it sends to what is for elsewhere.
    pub gateways: Vec<IpAddr>,
    /// How it was judged, the latest window first.
    pub windows: Vec<Judged>,
    /// Its evidence by kind: as the attacker, and as the victim; of each the latest 20,000.
    pub evidence: [Vec<Brief>; 2],
    /// The identities of the alerts about it, the latest first.
    pub alerts: Vec<String>,
}

/// Evidence of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Brief {
    /// The kind.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// The latest.
    pub last_seen: String,
}

impl Stories {
    /// Everything about one address; `None` when nothing is known of it.
    pub fn profile(&self, addr: IpAddr) -> Result<Option<StoredProfile>, StoreError> {
        self.read_profile(&addr.to_string()).map_err(|source| self.failed(source))
    }

    /// A database of an earlier version has no profiles yet.
    pub(super) fn has_profiles(&self) -> rusqlite::Result<bool> {
        let version: i64 = self.db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        Ok(version >= FIRST_WITH_PROFILES)
    }

    fn read_profile(&self, addr: &str) -> rusqlite::Result<Option<StoredProfile>> {
        let facts: Option<Facts> = if self.has_profiles()? {
            let mut rows = self.db.prepare("SELECT facts FROM profiles WHERE addr = ?")?;
            let text: Option<String> = rows.query_row([addr], |row| row.get(0)).optional()?;
            text.and_then(|text| serde_json::from_str(&text).ok())
        } else {
            None
        };
        let evidence = [self.briefs("attacker", addr)?, self.briefs("victim", addr)?];
        let alerts =
            self.texts("SELECT id FROM alerts WHERE attacker = ? ORDER BY rowid DESC LIMIT 100", addr)?;
        if facts.is_none() && alerts.is_empty() && evidence.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        let (mut siblings, mut gateways) = (Vec::new(), Vec::new());
        for mac in facts.iter().flat_map(|facts| facts.macs.items()) {
            let others = self.owners(&mac.what.mac)?;
            let others = others.into_iter().filter(|other| other.to_string() != addr);
            siblings.extend(others.map(|other| (other, mac.what.mac.clone())));
        }
        for mac in facts.iter().flat_map(|facts| facts.gateways.items()) {
            gateways.extend(self.owners(&mac.what.mac)?);
        }
        let windows = self.judged(addr, None, WINDOWS)?;
        Ok(Some(StoredProfile { facts, siblings, gateways, windows, evidence, alerts }))
    }

    /// Whose a hardware address is; nobody's when it speaks for more than a host has addresses, as a router's does.
    fn owners(&self, mac: &str) -> rusqlite::Result<Vec<IpAddr>> {
        let owners = self.texts("SELECT addr FROM profile_macs WHERE mac = ? LIMIT 33", mac)?;
        let owners: Vec<IpAddr> = owners.iter().filter_map(|addr| addr.parse().ok()).collect();
        Ok(if owners.len() > 32 { Vec::new() } else { owners })
    }

    fn texts(&self, sql: &str, of: &str) -> rusqlite::Result<Vec<String>> {
        self.db.prepare(sql)?.query_map([of], |row| row.get(0))?.collect()
    }

    fn briefs(&self, side: &str, addr: &str) -> rusqlite::Result<Vec<Brief>> {
        let mut rows = self.db.prepare(&format!(
            "SELECT kind, count(*), max(last_seen) FROM
                 (SELECT kind, last_seen FROM evidence WHERE {side} = ? ORDER BY rowid DESC LIMIT {BRIEFED})
             GROUP BY kind ORDER BY kind"
        ))?;
        let brief = |row: &Row<'_>| {
            let count: i64 = row.get(1)?;
            let last_seen = iso(PacketTime(row.get(2)?));
            Ok(Brief { kind: row.get(0)?, count: count.unsigned_abs(), last_seen })
        };
        rows.query_map([addr], brief)?.collect()
    }
}

/// Evidence that is counted by kind for each side, the latest.
const BRIEFED: u32 = 20_000;
/// Windows of a profile that are told: a week of hours.
const WINDOWS: usize = 168;
/// The layout from which on there are profiles.
const FIRST_WITH_PROFILES: i64 = 5;
