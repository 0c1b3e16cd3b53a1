//! The story of what a host did, made on demand of what is kept: its connections with what was said in them, and what was found.
//!
//! [`Stories::timeline`] gives it page by page in the order of time. Similar neighbours are one line. Texts are made harmless for a terminal.

mod line;
mod says;

use std::collections::HashMap;
use std::net::IpAddr;

use rusqlite::{OptionalExtension, params};
use slips_core::time::{PacketTime, Span};

pub use line::{Came, TimelineLine, Way, What};

use crate::profiles::Facts;
use crate::sqlite::read::{Order, Page, ReadError, RecordQuery, Rows, StoredFlow, StoredRecord};
use crate::sqlite::{Ask, Found, Stories};
use line::{Connection, Mention, fold};

/// Whose story, and of when.
#[derive(Clone, Copy, Debug)]
pub struct TimelineQuery {
    /// Whose.
    pub profile: IpAddr,
    /// From this moment on.
    pub since: Option<PacketTime>,
    /// Up to this moment.
    pub until: Option<PacketTime>,
}

impl Stories {
    /// A page of a host's story. Its limit is that of connections looked at: similar ones become one line, and what was found comes between.
    /// A connection stands where it began, on the page where it ended.
    pub fn timeline(&self, query: &TimelineQuery, page: Page<'_>) -> Result<Rows<TimelineLine>, ReadError> {
        let (after, told) = match page.after {
            Some(cursor) => position(cursor).map(|(id, told)| (Some(id), told))?,
            None => (None, query.since.map_or(i64::MIN, |since| since.0.saturating_sub(1))),
        };
        let ask = Ask {
            from: query.since.unwrap_or(PacketTime::MIN),
            until: query.until.unwrap_or(PacketTime(i64::MAX)),
            only: None,
            order: Order::Oldest,
            limit: page.rows(),
            after,
            up_to: i64::MAX,
        };
        let Found { rows, after: next } =
            self.flows_of(query.profile, &ask).map_err(|source| self.failed(source))?;
        let flows: Vec<_> = rows.into_iter().map(|flow| (start_of(&flow), flow)).collect();
        let until = query.until.map_or(i64::MAX, |until| until.0);
        let last = flows.iter().map(|(start, _)| start.0).max().unwrap_or(told);
        // What was found up to the last connection of this page; after the last page, all that is left.
        let upto = if next.is_some() { last.max(told) } else { until.saturating_sub(1) };
        let own = query.profile.to_string();
        let found = self.found_of(&own, "at > ?4 AND at <= ?5", (told, upto), (told, upto))?;
        let alerts = self.alerts_of(&own, (told, upto))?;
        let ends = [found.last().map(|it| it.at), alerts.last().map(|(at, _)| *at)];
        let full = [found.len(), alerts.len()].map(|length| length >= FINDINGS as usize);
        // Where there is more than a page takes, the next one goes on before the last that was read: it may have had others beside it.
        let cut = ends.into_iter().zip(full).filter(|(_, full)| *full).filter_map(|(end, _)| end).min();
        let mut lines = self.connections(query.profile, flows)?;
        let upto = match cut {
            None => upto,
            Some(at) if at.0.saturating_sub(1) > told => at.0.saturating_sub(1),
            // All of them are of one moment, of which no page could tell more.
            Some(at) => {
                lines.push((at, TimelineLine::gap(at, "further findings of this moment are not shown")));
                at.0
            }
        };
        let here = |at: &PacketTime| told < at.0 && at.0 <= upto;
        lines.extend(found.iter().filter(|it| here(&it.at)).map(|it| (it.at, it.line(&own))));
        lines.extend(alerts.into_iter().filter(|(at, _)| here(at)));
        lines.sort_by_key(|(at, _)| *at);
        let next = next.or_else(|| cut.map(|_| i64::MAX)).map(|id| format!("{CURSOR}{id}_{upto}"));
        Ok(Rows { rows: lines.into_iter().map(|(_, line)| line).collect(), next })
    }

    fn connections(
        &self,
        profile: IpAddr,
        flows: Vec<(PacketTime, StoredFlow)>,
    ) -> Result<Vec<(PacketTime, TimelineLine)>, ReadError> {
        let starts = flows.iter().map(|(start, _)| start.0);
        let (Some(first), Some(last)) = (starts.clone().min(), starts.max()) else { return Ok(Vec::new()) };
        let own = profile.to_string();
        let (mut said, all_said) = self.said(profile, &flows)?;
        // A scan names its flows while it goes on, so it may have been found before and after them.
        let found = self.found_of(&own, "last_seen >= ?4 AND ?5 = ?5", (first, last), (first, last))?;
        let mut by_flow: HashMap<&str, Vec<&Mention>> = HashMap::new();
        for mention in &found {
            mention.uids.iter().for_each(|uid| by_flow.entry(uid).or_default().push(mention));
        }
        let mut names = Names { stories: self, known: HashMap::new() };
        let mut connections = Vec::with_capacity(flows.len());
        for (start, flow) in flows {
            let records = said.remove(&flow.uid).unwrap_or_default();
            let found = by_flow.get(flow.uid.as_str()).into_iter().flatten().copied().cloned().collect();
            let mut connection = Connection::new(&own, start, flow, &records, found);
            if connection.name.is_none() && connection.way == Way::Out {
                connection.name = names.of(&connection.peer);
            }
            connections.push(connection);
        }
        connections.sort_by_key(|connection| connection.start);
        let mut lines = Vec::new();
        if !all_said {
            lines.push("what else was said in connections from here on is not shown");
        }
        if found.len() >= FINDINGS as usize {
            lines.push("connections from here on may have led to more than is shown behind them");
        }
        let first = PacketTime(first);
        let mut lines: Vec<_> =
            lines.into_iter().map(|text| (first, TimelineLine::gap(first, text))).collect();
        lines.extend(fold(connections));
        Ok(lines)
    }

    /// What was said in these flows: all of the short ones in one look at their time, a few of the long ones by their names. Whether that
    /// is all.
    fn said(
        &self,
        profile: IpAddr,
        flows: &[(PacketTime, StoredFlow)],
    ) -> Result<(HashMap<String, Vec<StoredRecord>>, bool), ReadError> {
        let mut said: HashMap<String, Vec<StoredRecord>> = HashMap::new();
        let mut all = true;
        let end = |(start, flow): &(PacketTime, StoredFlow)| {
            *start + Span((flow.duration.unwrap_or(0.0) * 1e6) as i64)
        };
        let is_long = |flow: &StoredFlow| flow.duration.is_some_and(|secs| secs > LONG);
        let short = || flows.iter().filter(|(_, flow)| !is_long(flow));
        let from = short().map(|(start, _)| *start).min();
        let until = short().map(end).max().map(|end| end + Span::from_secs(1));
        if let (Some(since), Some(until)) = (from, until) {
            let uids: HashMap<&str, ()> = short().map(|(_, flow)| (flow.uid.as_str(), ())).collect();
            let query = RecordQuery {
                profile: Some(profile),
                since: Some(since),
                until: Some(until),
                order: Order::Oldest,
                ..RecordQuery::default()
            };
            let mut after = None;
            for page in 1..=RECORD_PAGES {
                let is_last = page == RECORD_PAGES;
                let page = self.records(&query, Page { limit: Page::MOST, after: after.as_deref() })?;
                for record in page.rows {
                    if uids.contains_key(record.uid.as_str()) {
                        said.entry(record.uid.clone()).or_default().push(record);
                    }
                }
                match page.next {
                    Some(_) if is_last => all = false,
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        let long = flows.iter().filter(|(_, flow)| is_long(flow) && !flow.service.is_empty());
        for (n, (_, flow)) in long.enumerate() {
            if n >= LONG_ONES {
                all = false;
                break;
            }
            let query = RecordQuery { flow: Some(&flow.uid), order: Order::Oldest, ..RecordQuery::default() };
            let page = self.records(&query, Page { limit: says::MOST, after: None })?;
            said.insert(flow.uid.clone(), page.rows);
        }
        Ok((said, all))
    }

    /// Evidence by, against or seen at this address in the windows of this time, with the flows that it names: what `condition` says of
    /// `?4` and `?5`, which are `of`.
    fn found_of(
        &self,
        own: &str,
        condition: &'static str,
        (from, to): (i64, i64),
        of: (i64, i64),
    ) -> Result<Vec<Mention>, ReadError> {
        let width = self.window_width()?;
        let window = |at| width.map(|width| width.window_of(PacketTime(at)).0);
        let windows = (window(from).unwrap_or(i64::MIN), window(to).unwrap_or(i64::MAX));
        let read = || {
            let mut rows = self.db.prepare_cached(&format!(
                "SELECT id, kind, level, description, attacker, victim, at FROM evidence
                 WHERE rowid IN (
                    SELECT rowid FROM evidence WHERE attacker = ?1 AND window BETWEEN ?2 AND ?3
                    UNION SELECT rowid FROM evidence WHERE profile = ?1 AND window BETWEEN ?2 AND ?3
                    UNION SELECT rowid FROM evidence WHERE victim = ?1 AND window BETWEEN ?2 AND ?3)
                 AND {condition} ORDER BY at LIMIT {FINDINGS}"
            ))?;
            let mut uids =
                self.db.prepare_cached("SELECT uid FROM evidence_flows WHERE evidence_id = ? LIMIT 64")?;
            let found = rows.query_map(params![own, windows.0, windows.1, of.0, of.1], |row| {
                let id: String = row.get(0)?;
                let uids = uids.query_map([&id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
                Ok(Mention {
                    kind: row.get(1)?,
                    level: row.get(2)?,
                    description: row.get(3)?,
                    attacker: row.get(4)?,
                    victim: row.get(5)?,
                    at: PacketTime(row.get(6)?),
                    id,
                    uids,
                })
            })?;
            found.collect::<rusqlite::Result<Vec<_>>>()
        };
        Ok(read().map_err(|source| self.failed(source))?)
    }

    fn alerts_of(
        &self,
        profile: &str,
        (told, upto): (i64, i64),
    ) -> Result<Vec<(PacketTime, TimelineLine)>, ReadError> {
        let read = || {
            let mut rows = self.db.prepare_cached(
                "SELECT id, at, confidence, cause FROM alerts WHERE attacker = ?1 AND at > ?2 AND at <= ?3 ORDER BY at LIMIT ?4",
            )?;
            let found = rows.query_map(params![profile, told, upto, FINDINGS], |row| {
                let at = PacketTime(row.get(1)?);
                let (id, cause): (String, String) = (row.get(0)?, row.get(3)?);
                Ok((at, TimelineLine::alert(at, &id, row.get(2)?, &cause)))
            })?;
            found.collect::<rusqlite::Result<Vec<_>>>()
        };
        Ok(read().map_err(|source| self.failed(source))?)
    }
}

/// When a stored flow began: its text is ours.
fn start_of(flow: &StoredFlow) -> PacketTime {
    PacketTime(flow.start.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_microsecond))
}

/// Names of addresses that our hosts called, as DNS gave them.
struct Names<'a> {
    stories: &'a Stories,
    known: HashMap<String, Option<String>>,
}

impl Names<'_> {
    fn of(&mut self, addr: &str) -> Option<String> {
        if let Some(known) = self.known.get(addr) {
            return known.clone();
        }
        if self.known.len() >= NAMES {
            return None;
        }
        let name = self.look(addr).ok().flatten();
        self.known.insert(addr.to_owned(), name.clone());
        name
    }

    fn look(&self, addr: &str) -> rusqlite::Result<Option<String>> {
        let mut row = self.stories.db.prepare_cached("SELECT facts FROM profiles WHERE addr = ?")?;
        let facts: Option<String> = row.query_row([addr], |row| row.get(0)).optional()?;
        let facts: Option<Facts> = facts.and_then(|text| serde_json::from_str(&text).ok());
        Ok(facts.and_then(|facts| facts.passive_dns.latest().map(|item| item.what.name.clone())))
    }
}

/// Where a page ended: the last flow, and up to when findings were told.
fn position(cursor: &str) -> Result<(i64, i64), ReadError> {
    let numbers = cursor.strip_prefix(CURSOR).and_then(|text| text.split_once('_'));
    let numbers = numbers.and_then(|(id, told)| Some((id.parse().ok()?, told.parse().ok()?)));
    numbers.ok_or_else(|| ReadError::Cursor(cursor.to_owned()))
}

const CURSOR: &str = "t-";
/// Seconds from which on what was said in a flow is looked up by its name.
const LONG: f64 = 60.0;
/// So many of those on a page.
const LONG_ONES: usize = 20;
/// So many thousand records are read for a page.
const RECORD_PAGES: usize = 4;
/// Most findings of a page.
const FINDINGS: u32 = 1_000;
/// So many addresses are looked up for a page.
const NAMES: usize = 200;

#[cfg(test)]
mod tests;
