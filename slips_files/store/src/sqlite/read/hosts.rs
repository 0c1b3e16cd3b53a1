//! Profiles in short, and their time windows.

use std::net::IpAddr;

use rusqlite::{OptionalExtension, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::time::{PacketTime, WindowId, WindowWidth};

use super::{List, Order, Page, ReadError, Rows, Select};
use crate::profiles::{Called, HostName, Mac, Resolved, Seen};
use crate::render::iso;
use crate::sqlite::story::Stories;

/// A profile in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileRow {
    /// The address.
    pub ip: String,
    /// When it was seen first.
    pub first_seen: String,
    /// When it was seen last.
    pub last_seen: String,
    /// Time windows in which it was seen.
    pub windows: u64,
    /// Its hardware address.
    pub mac: Option<String>,
    /// A name of it: its own, or one that others use for it.
    pub name: Option<String>,
    /// The highest level of its evidence in the latest window that has any.
    pub threat_level: String,
    /// Alerts in that window.
    pub alerts: u64,
    /// That window.
    pub window: Option<Judged>,
}

/// A time window of an attacker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judged {
    /// The window's number.
    pub window: i64,
    /// Its first moment; `None` where windows had another width then.
    pub start: Option<String>,
    /// The first moment after it.
    pub end: Option<String>,
    /// The highest level of its evidence.
    pub threat_level: String,
    /// The confidence of its alert, or the highest of its evidence.
    pub confidence: f64,
    /// The weight of its evidence.
    pub weight: f64,
    /// Evidence in it.
    pub evidence: u64,
    /// Alerts in it.
    pub alerts: u64,
}

/// What a row tells of a profile: the rest of it is passed over, which takes a fraction of the time.
#[derive(Deserialize)]
struct Facts {
    #[serde(with = "crate::profiles::iso")]
    first_seen: PacketTime,
    #[serde(with = "crate::profiles::iso")]
    last_seen: PacketTime,
    windows: u64,
    #[serde(default)]
    macs: Seen<Mac>,
    #[serde(default)]
    host_names: Seen<HostName>,
    #[serde(default)]
    called: Seen<Called>,
    #[serde(default)]
    passive_dns: Seen<Resolved>,
}

impl Stories {
    /// A page of all profiles, in the order of their addresses as text: that order stays whoever is seen in between.
    pub fn profiles(&self, page: Page<'_>) -> Result<Rows<ProfileRow>, ReadError> {
        let after = match page.after {
            Some(cursor) => List::Profiles.position::<IpAddr>(Order::Oldest, cursor)?.to_string(),
            None => String::new(),
        };
        let sql = "SELECT addr, facts FROM profiles WHERE addr > ?1 ORDER BY addr LIMIT ?2";
        let mut rows = self
            .profile_rows(sql, &[&after, &((page.rows() + 1) as i64)])
            .map_err(|source| self.failed(source))?;
        let more = rows.len() > page.rows();
        rows.truncate(page.rows());
        // Those that cannot be read have their places, too.
        let last = rows.iter().rev().find_map(|(ip, _)| ip.parse::<IpAddr>().ok()).filter(|_| more);
        let next = last.map(|ip| List::Profiles.cursor(Order::Oldest, ip));
        Ok(Rows { rows: rows.into_iter().filter_map(|(_, row)| row).collect(), next })
    }

    /// The profiles that were seen last, the latest in front; at most `most`.
    pub fn latest_profiles(&self, most: u32) -> Result<Vec<ProfileRow>, ReadError> {
        let sql = "SELECT addr, facts FROM profiles ORDER BY last DESC LIMIT ?";
        let rows = self.profile_rows(sql, &[&most]).map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().filter_map(|(_, row)| row).collect())
    }

    /// Addresses with their profiles; none where it cannot be read.
    fn profile_rows(
        &self,
        sql: &str,
        params: &[&dyn rusqlite::ToSql],
    ) -> rusqlite::Result<Vec<(String, Option<ProfileRow>)>> {
        if !self.has_profiles()? {
            return Ok(Vec::new());
        }
        let width = self.width()?;
        let mut latest = self.db.prepare_cached(LATEST)?;
        let mut rows = self.db.prepare_cached(sql)?;
        let mut rows = rows.query(params)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let ip: String = row.get(0)?;
            // A row that cannot be read was not written by us.
            let facts =
                row.get_ref(1)?.as_str().ok().and_then(|facts| serde_json::from_str::<Facts>(facts).ok());
            let Some(facts) = facts else {
                found.push((ip, None));
                continue;
            };
            let window: Option<i64> = latest.query_row([&ip], |row| row.get(0))?;
            let window = window.map(|window| self.latest_window(&ip, window, width)).transpose()?;
            found.push((ip.clone(), Some(ProfileRow::new(ip, &facts, window))));
        }
        Ok(found)
    }

    /// A page of the time windows in which there is evidence about an address as the attacker, the latest first.
    pub fn windows(&self, profile: IpAddr, page: Page<'_>) -> Result<Rows<Judged>, ReadError> {
        let before = page.after.map(|cursor| List::Windows.position(Order::Newest, cursor)).transpose()?;
        let mut rows = self
            .judged(&profile.to_string(), before, page.rows() + 1)
            .map_err(|source| self.failed(source))?;
        let more = rows.len() > page.rows();
        rows.truncate(page.rows());
        let next = rows.last().filter(|_| more).map(|row| List::Windows.cursor(Order::Newest, row.window));
        Ok(Rows { rows, next })
    }

    /// The width of windows, if it was written down.
    pub fn window_width(&self) -> Result<Option<WindowWidth>, ReadError> {
        self.width().map_err(|source| self.failed(source).into())
    }

    pub(in crate::sqlite) fn judged(
        &self,
        addr: &str,
        before: Option<i64>,
        most: usize,
    ) -> rusqlite::Result<Vec<Judged>> {
        let mut select = Select::new(&format!("{JUDGED} FROM evidence"));
        select.and("attacker = ?1", [addr.to_owned().into()]);
        if let Some(before) = before {
            select.and("window < ?", [before.into()]);
        }
        select.sql += &format!(" GROUP BY window ORDER BY window DESC LIMIT {most}");
        let width = self.width()?;
        let mut rows = self.db.prepare_cached(&select.sql)?;
        rows.query_map(rusqlite::params_from_iter(&select.values), |row| judged(row, width))?.collect()
    }

    fn latest_window(&self, addr: &str, window: i64, width: Option<WindowWidth>) -> rusqlite::Result<Judged> {
        let sql =
            format!("SELECT {JUDGED} FROM evidence WHERE attacker = ?1 AND window = ?2 GROUP BY window");
        self.db.prepare_cached(&sql)?.query_row(params![addr, window], |row| judged(row, width))
    }

    fn width(&self) -> rusqlite::Result<Option<WindowWidth>> {
        let mut width = self.db.prepare_cached("SELECT value FROM meta WHERE key = 'window_seconds'")?;
        let secs: Option<i64> = width.query_row([], |row| row.get(0)).optional()?;
        Ok(secs.and_then(WindowWidth::from_secs))
    }
}

impl ProfileRow {
    fn new(ip: String, facts: &Facts, window: Option<Judged>) -> Self {
        let names = facts.host_names.latest().map(|item| &item.what.name);
        let called = facts.called.latest().map(|item| &item.what.name);
        let resolved = facts.passive_dns.latest().map(|item| &item.what.name);
        Self {
            ip,
            first_seen: iso(facts.first_seen),
            last_seen: iso(facts.last_seen),
            windows: facts.windows,
            mac: facts.macs.latest().map(|item| item.what.mac.clone()),
            name: names.or(called).or(resolved).cloned(),
            threat_level: window.as_ref().map_or("info", |window| &window.threat_level).to_owned(),
            alerts: window.as_ref().map_or(0, |window| window.alerts),
            window,
        }
    }
}

/// In which window there is evidence of an attacker; most have none, and no more is asked about them.
const LATEST: &str = "SELECT max(window) FROM evidence WHERE attacker = ?";

/// The columns of [`judged`]; `?1` is the attacker.
const JUDGED: &str = "window,
    max(CASE level WHEN 'critical' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2 WHEN 'low' THEN 1 ELSE 0 END),
    max(confidence), sum(weight), count(*), min(at), max(at),
    (SELECT count(*) FROM alerts WHERE alerts.attacker = ?1 AND alerts.window = evidence.window),
    (SELECT max(confidence) FROM alerts WHERE alerts.attacker = ?1 AND alerts.window = evidence.window)";

fn judged(row: &Row<'_>, width: Option<WindowWidth>) -> rusqlite::Result<Judged> {
    let window = WindowId(row.get(0)?);
    let level: i64 = row.get(1)?;
    let (first, last) = (PacketTime(row.get(5)?), PacketTime(row.get(6)?));
    // The width may have been another one when this window was.
    let fits = |width: &WindowWidth| [first, last].iter().all(|at| width.window_of(*at) == window);
    let width = width.filter(fits);
    let of_alert: Option<f64> = row.get(8)?;
    Ok(Judged {
        window: window.0,
        start: width.map(|width| iso(width.start_of(window))),
        end: width.map(|width| iso(width.end_of(window))),
        threat_level: LEVELS.get(level.unsigned_abs() as usize).copied().unwrap_or("info").to_owned(),
        confidence: of_alert.map_or_else(|| row.get(2), Ok)?,
        weight: row.get(3)?,
        evidence: row.get::<_, i64>(4)?.unsigned_abs(),
        alerts: row.get::<_, i64>(7)?.unsigned_abs(),
    })
}

const LEVELS: [&str; 5] = ["info", "low", "medium", "high", "critical"];
