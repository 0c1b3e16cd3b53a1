//! The tables of profiles, and what flows.sqlite knows of one address beside them.

use std::net::IpAddr;
use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use slips_core::time::PacketTime;

use super::place::{Damaged, Place};
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
    /// Profiles written since those beyond `kept` were taken out.
    written: u32,
}

impl ProfileTable {
    /// In the database at `path`, which is made if it is not there.
    pub(crate) fn open(path: PathBuf, kept: u32, damaged: Damaged) -> Result<Self, StoreError> {
        let mut place = Place::new(path, Durability::Whole, damaged);
        let (db, _) = place.open()?;
        Ok(Self { place, db: Some(db), kept, written: 0 })
    }

    /// Writes profiles in one transaction; with one that is marked as unread, what the database has of it is taken over first.
    pub(crate) fn write<'a>(
        &mut self,
        profiles: impl Iterator<Item = (IpAddr, &'a mut Facts, &'a mut bool)>,
    ) -> Result<(), StoreError> {
        let mut db = match self.db.take().filter(|_| !self.place.is_moved()) {
            Some(db) => db,
            None => self.place.open()?.0,
        };
        match self.transact(&mut db, profiles) {
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
        profiles: impl Iterator<Item = (IpAddr, &'a mut Facts, &'a mut bool)>,
    ) -> rusqlite::Result<()> {
        let mut profiles = profiles.peekable();
        if profiles.peek().is_none() {
            return Ok(());
        }
        let tx = db.transaction()?;
        {
            let mut read = tx.prepare_cached("SELECT facts FROM profiles WHERE addr = ?")?;
            let mut put = tx.prepare_cached("INSERT OR REPLACE INTO profiles VALUES (?, ?, ?)")?;
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
                put.execute(params![name, facts.last_seen.0, text])?;
                for mac in facts.macs.items() {
                    put_mac.execute(params![mac.what.mac, name])?;
                }
                self.written = self.written.saturating_add(1);
            }
        }
        if self.written >= LOOK_EVERY {
            self.written = 0;
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

/// All that the database knows of one address.
#[derive(Clone, Debug, Serialize)]
pub struct StoredProfile {
    /// What traffic told; `None` when the address has no profile and only its evidence is known.
    pub facts: Option<Facts>,
    /// Other addresses with the same hardware address, and with which one.
    pub siblings: Vec<(IpAddr, String)>,
    /// The addresses that own the hardware addresses it sends to what is for elsewhere.
    pub gateways: Vec<IpAddr>,
    /// How it was judged, the latest window first.
    pub windows: Vec<Judged>,
    /// Its evidence by kind: as the attacker, and as the victim.
    pub evidence: [Vec<Brief>; 2],
    /// The identities of the alerts about it, the latest first.
    pub alerts: Vec<String>,
}

/// A time window of an attacker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// The window's number.
    pub window: i64,
    /// The highest level of its evidence.
    pub threat_level: String,
    /// The confidence of its alert, or the highest of its evidence.
    pub confidence: f64,
    /// The weight of its evidence.
    pub weight: f64,
    /// Alerts in it.
    pub alerts: u32,
}

/// Evidence of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
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

    /// The addresses that have a profile, those seen last in front, at most `most`, each with what traffic told of it and how its latest
    /// window was judged.
    pub fn profiles(&self, most: u32) -> Result<Vec<(IpAddr, Facts, Option<Judged>)>, StoreError> {
        self.read_profiles(most).map_err(|source| self.failed(source))
    }

    fn read_profiles(&self, most: u32) -> rusqlite::Result<Vec<(IpAddr, Facts, Option<Judged>)>> {
        if !self.has_profiles()? {
            return Ok(Vec::new());
        }
        let mut rows = self.db.prepare("SELECT addr, facts FROM profiles ORDER BY last DESC LIMIT ?")?;
        let rows = rows.query_map([most], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let mut found = Vec::new();
        for row in rows {
            let (addr, facts) = row?;
            let judged = self.judged(&addr)?.into_iter().next();
            if let (Ok(addr), Ok(facts)) = (addr.parse(), serde_json::from_str(&facts)) {
                found.push((addr, facts, judged));
            }
        }
        Ok(found)
    }

    /// A database of an earlier version has no profiles yet.
    fn has_profiles(&self) -> rusqlite::Result<bool> {
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
        let windows = self.judged(addr)?;
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
            "SELECT kind, count(*), max(last_seen) FROM evidence WHERE {side} = ? GROUP BY kind ORDER BY kind"
        ))?;
        let brief = |row: &Row<'_>| {
            let count: i64 = row.get(1)?;
            let last_seen = iso(PacketTime(row.get(2)?));
            Ok(Brief { kind: row.get(0)?, count: count.unsigned_abs(), last_seen })
        };
        rows.query_map([addr], brief)?.collect()
    }

    fn judged(&self, addr: &str) -> rusqlite::Result<Vec<Judged>> {
        let mut rows = self.db.prepare(
            "SELECT window,
                max(CASE level WHEN 'critical' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2 WHEN 'low' THEN 1 ELSE 0 END),
                max(confidence), sum(weight),
                (SELECT count(*) FROM alerts WHERE alerts.attacker = ?1 AND alerts.window = evidence.window),
                (SELECT max(confidence) FROM alerts WHERE alerts.attacker = ?1 AND alerts.window = evidence.window)
             FROM evidence WHERE attacker = ?1 GROUP BY window ORDER BY window DESC LIMIT 168",
        )?;
        let judged = |row: &Row<'_>| {
            let level: i64 = row.get(1)?;
            let of_alert: Option<f64> = row.get(5)?;
            Ok(Judged {
                window: row.get(0)?,
                threat_level: LEVELS.get(level.unsigned_abs() as usize).copied().unwrap_or("info").to_owned(),
                confidence: of_alert.map_or_else(|| row.get(2), Ok)?,
                weight: row.get(3)?,
                alerts: row.get(4)?,
            })
        };
        rows.query_map([addr], judged)?.collect()
    }
}

const LEVELS: [&str; 5] = ["info", "low", "medium", "high", "critical"];
/// The layout from which on there are profiles.
const FIRST_WITH_PROFILES: i64 = 5;
