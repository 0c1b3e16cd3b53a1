//! Lists of what was kept, page by page: what the command line, the control API, exports and snapshots show.
//!
//! Every list is read through [`Stories`] with a query, whose fields are bound parameters, and a [`Page`]. A page ends in a cursor: the
//! position of its last row, by a number that rows keep for life. Rows that are written, changed or taken out meanwhile make no other row
//! come twice or not at all.

mod blocks;
mod counts;
mod findings;
mod flows;
mod hosts;
mod of;
mod records;
mod rows;

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use blocks::{BlockQuery, StoredBlock, StoredUnblock};
pub use counts::{Counts, KindCount};
pub use findings::{AlertQuery, AlertRow, EvidenceQuery, StoredAlert, StoredEvidence};
pub use flows::{FlowLabel, FlowQuery, StoredFlow};
pub use hosts::{Judged, ProfileRow};
pub use records::{RecordQuery, StoredRecord};

pub(super) use findings::{ALERT, EVIDENCE, alert, evidence};
pub(super) use flows::{FLOW, flow};
pub(super) use records::{RECORD, record};

use super::found::{Found, MOST_LOOKS};
use super::story::Stories;
use crate::sink::StoreError;

/// How many rows, and after which.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// At most so many; none asks for less than 1, nor gets more than [`Page::MOST`].
    pub limit: u32,
    /// [`Rows::next`] of the page before; the first page without.
    pub after: Option<&'a str>,
}

impl Page<'_> {
    /// Most rows of a page.
    pub const MOST: u32 = 1_000;
    /// Rows of a page where nobody says how many.
    pub const USUAL: u32 = 100;

    pub(crate) fn rows(self) -> usize {
        self.limit.clamp(1, Self::MOST) as usize
    }
}

impl Default for Page<'_> {
    fn default() -> Self {
        Self { limit: Self::USUAL, after: None }
    }
}

/// A page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rows<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` when there was no more. Where few rows are what was asked for, a page may have fewer than its
    /// limit, or none, and another behind it: none looks at more than some ten thousand.
    pub next: Option<String>,
}

/// Which rows come first. They are ordered by when they were first written; what was written in between two pages is on none of them with
/// `Newest`, and at the end with `Oldest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The last one written.
    #[default]
    Newest,
    /// The first one written.
    Oldest,
}

/// Why there is no page.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The text was not given out as the cursor of this list in this order.
    #[error("`{}` is no cursor of this list", crate::render::escape(.0))]
    Cursor(String),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The lists, by what their cursors begin with.
#[derive(Clone, Copy)]
pub(super) enum List {
    Flows,
    Evidence,
    Alerts,
    Blocks,
    Profiles,
    Records,
    Windows,
    Told,
}

impl List {
    const fn mark(self, order: Order) -> &'static str {
        match (self, order) {
            (Self::Flows, Order::Newest) => "fn-",
            (Self::Flows, Order::Oldest) => "fo-",
            (Self::Evidence, Order::Newest) => "en-",
            (Self::Evidence, Order::Oldest) => "eo-",
            (Self::Alerts, Order::Newest) => "an-",
            (Self::Alerts, Order::Oldest) => "ao-",
            (Self::Blocks, Order::Newest) => "bn-",
            (Self::Blocks, Order::Oldest) => "bo-",
            (Self::Profiles, _) => "p-",
            (Self::Records, Order::Newest) => "rn-",
            (Self::Records, Order::Oldest) => "ro-",
            (Self::Windows, _) => "w-",
            (Self::Told, _) => "t-",
        }
    }

    /// The position that a cursor of this list stands for.
    pub(super) fn position<T: std::str::FromStr + ToString>(
        self,
        order: Order,
        cursor: &str,
    ) -> Result<T, ReadError> {
        let position = cursor.strip_prefix(self.mark(order)).and_then(|text| text.parse().ok());
        let known = position.filter(|position: &T| cursor.ends_with(&format!("-{}", position.to_string())));
        known.ok_or_else(|| ReadError::Cursor(cursor.to_owned()))
    }

    pub(super) fn cursor(self, order: Order, position: impl std::fmt::Display) -> String {
        format!("{}{position}", self.mark(order))
    }
}

impl<T> Rows<T> {
    fn of(found: Found<T>, list: List, order: Order) -> Self {
        Self { rows: found.rows, next: found.after.map(|after| list.cursor(order, after)) }
    }
}

/// A question to the database that grows by conditions. Only fixed text goes into the statement.
struct Select {
    sql: String,
    values: Vec<Value>,
}

impl Select {
    /// `from` is what stands between `SELECT` and the conditions.
    fn new(from: &str) -> Self {
        Self { sql: format!("SELECT {from} WHERE 1"), values: Vec::new() }
    }

    fn and<const N: usize>(&mut self, condition: &'static str, values: [Value; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }
}

impl Stories {
    /// A page of the rows with numbers from `low` to `high`, which are the first column: of those of a table too long to be read for one
    /// page, so that a page is a part of it however few rows `select` takes.
    fn part<T>(
        &self,
        (list, order): (List, Order),
        (mut select, key): (Select, &str),
        (low, high): (i64, i64),
        page: Page<'_>,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Rows<T>, ReadError> {
        let after: Option<i64> = page.after.map(|cursor| list.position(order, cursor)).transpose()?;
        let looks = i64::from(MOST_LOOKS) - 1;
        let (first, last) = match order {
            Order::Newest => {
                let last = after.map_or(high, |after| high.min(after.saturating_sub(1)));
                (low.max(last.saturating_sub(looks)), last)
            }
            Order::Oldest => {
                let first = after.map_or(low, |after| low.max(after.saturating_add(1)));
                (first, high.min(first.saturating_add(looks)))
            }
        };
        if first > last {
            return Ok(Rows { rows: Vec::new(), next: None });
        }
        select.sql += &format!(" AND {key} BETWEEN ? AND ?");
        select.values.extend([first.into(), last.into()]);
        let within = Page { limit: page.limit, after: None };
        let mut rows = self.numbered((list, order), (select, key), within, read)?;
        if rows.next.is_none() {
            rows.next = match order {
                Order::Newest => (first > low).then(|| list.cursor(order, first)),
                Order::Oldest => (last < high).then(|| list.cursor(order, last)),
            };
        }
        Ok(rows)
    }

    /// A page of a table whose rows have numbers without a name: all of it, or of the rows that an index finds.
    fn findings<T>(
        &self,
        list: (List, Order),
        (select, table): (Select, &str),
        indexed: bool,
        page: Page<'_>,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Rows<T>, ReadError> {
        if indexed {
            return self.numbered(list, (select, "rowid"), page, read);
        }
        let ends = self.ends(table, "rowid").map_err(|source| self.failed(source))?;
        self.part(list, (select, "rowid"), ends, page, read)
    }

    /// A page of a list whose rows have a number, which is the first column.
    fn numbered<T>(
        &self,
        (list, order): (List, Order),
        (mut select, key): (Select, &str),
        page: Page<'_>,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Rows<T>, ReadError> {
        if let Some(cursor) = page.after {
            let position: i64 = list.position(order, cursor)?;
            let beyond = if order == Order::Newest { '<' } else { '>' };
            select.sql += &format!(" AND {key} {beyond} ?");
            select.values.push(position.into());
        }
        let direction = if order == Order::Newest { "DESC" } else { "ASC" };
        // One more than asked for tells whether there is more.
        select.sql += &format!(" ORDER BY {key} {direction} LIMIT {}", page.rows() + 1);
        let read = || {
            let mut statement = self.db.prepare_cached(&select.sql)?;
            let rows = statement
                .query_map(params_from_iter(&select.values), |row| Ok((row.get::<_, i64>(0)?, read(row)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut found = read().map_err(|source| self.failed(source))?;
        let more = found.len() > page.rows();
        found.truncate(page.rows());
        let next = found.last().filter(|_| more).map(|(position, _)| list.cursor(order, position));
        Ok(Rows { rows: found.into_iter().map(|(_, row)| row).collect(), next })
    }
}

#[cfg(test)]
mod tests;
