//! `slips evidence`, `alerts`, `blocks` and `flows`: what was kept, the newest in front. Reads the database alone, so it works while the
//! daemon runs and when it does not.

use std::io::{self, Write};
use std::net::IpAddr;

use clap::Args;
use serde::Serialize;
use slips_core::addr::{Net, canonical};
use slips_core::evidence::EvidenceKind;
use slips_core::time::PacketTime;
use slips_store::read::{
    AlertQuery, AlertRow, BlockQuery, EvidenceQuery, FlowLabel, FlowQuery, KindCount, Order, Page, ReadError,
    Rows, StoredBlock, StoredEvidence, StoredFlow,
};

use super::Failure;
use super::place::{self, Place};
use super::table::{Cell, Column, Look, Table};
use crate::daemon::sinks::wall_clock;
use crate::export;

/// List evidence.
#[derive(Args, Debug)]
pub(super) struct Evidence {
    /// By or against this address.
    #[arg(long, visible_alias = "ip", value_name = "IP")]
    profile: Option<IpAddr>,
    /// Of this kind: VERTICAL_PORT_SCAN, say; `slips detections` lists them.
    #[arg(long, value_name = "KIND", value_parser = place::kind)]
    kind: Option<EvidenceKind>,
    /// In the time window of this number.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    window: Option<i64>,
    /// That an alert names: its id, or the beginning of it.
    #[arg(long, value_name = "ID")]
    alert: Option<String>,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    list: List,
}

/// List alerts.
#[derive(Args, Debug)]
pub(super) struct Alerts {
    /// About this address.
    #[arg(long, visible_alias = "ip", value_name = "IP")]
    profile: Option<IpAddr>,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    list: List,
}

/// List blocks.
#[derive(Args, Debug)]
pub(super) struct Blocks {
    /// Those that ended or were lifted, too.
    #[arg(long)]
    all: bool,
    /// Of this address or network, as it was blocked.
    #[arg(long, value_name = "NET")]
    net: Option<Net>,
    /// Begun then or later: 2h or 3d (ago), 2026-01-02, 2026-01-02T10:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = place::moment)]
    since: Option<PacketTime>,
    #[command(flatten)]
    list: List,
}

/// List flows.
#[derive(Args, Debug)]
pub(super) struct Flows {
    /// From or to this address.
    #[arg(long, visible_alias = "ip", value_name = "IP")]
    profile: Option<IpAddr>,
    /// With this label.
    #[arg(long, value_enum)]
    label: Option<Label>,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    list: List,
}

/// What an alert makes of flows.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Benign,
    Malicious,
}

impl From<Label> for FlowLabel {
    fn from(label: Label) -> Self {
        match label {
            Label::Benign => Self::Benign,
            Label::Malicious => Self::Malicious,
        }
    }
}

/// From when until when.
#[derive(Args, Debug)]
pub(super) struct Times {
    /// Then or later, in the time of the packets: 2h or 3d (ago), 2026-01-02, 2026-01-02T10:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = place::moment)]
    pub(super) since: Option<PacketTime>,
    /// Before that.
    #[arg(long, value_name = "TIME", value_parser = place::moment)]
    pub(super) until: Option<PacketTime>,
}

/// How many rows, and from where.
#[derive(Args, Debug)]
struct List {
    /// How many at most.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    most: u64,
    #[command(flatten)]
    place: Place,
}

pub(super) fn evidence(asked: &Evidence) -> Result<(), Failure> {
    let stories = asked.list.place.open()?;
    let query = EvidenceQuery {
        profile: asked.profile.map(canonical),
        window: asked.window,
        kind: asked.kind.map(|kind| kind.name().to_owned()),
        since: asked.times.since,
        until: asked.times.until,
        alert: asked.alert.as_ref().map(|id| place::alert(&stories, id)).transpose()?,
        order: Order::Newest,
    };
    let columns = [
        Column::whole("last seen (UTC)"),
        Column::whole("level"),
        Column::text("kind"),
        Column::whole("attacker"),
        Column::number("count"),
        Column::text("what"),
    ];
    let row = |evidence: &StoredEvidence| {
        vec![
            Cell::time(&evidence.last_seen),
            Cell::new(&evidence.level).look(Look::of_level(&evidence.level)),
            Cell::new(&evidence.kind),
            Cell::new(&evidence.attacker),
            Cell::shown(evidence.count),
            Cell::new(&evidence.description),
        ]
    };
    asked.list.print("no evidence", &columns, row, |page| stories.evidence(&query, page))
}

pub(super) fn alerts(asked: &Alerts) -> Result<(), Failure> {
    let stories = asked.list.place.open()?;
    let Times { since, until } = asked.times;
    let profile = asked.profile.map(canonical);
    let query = AlertQuery { profile, since, until, ..AlertQuery::default() };
    let columns = [
        Column::whole("time (UTC)"),
        Column::whole("id"),
        Column::whole("attacker"),
        Column::number("confidence"),
        Column::text("evidence"),
    ];
    let row = |row: &AlertRow| {
        let alert = &row.alert;
        vec![
            Cell::time(&alert.at),
            // As much as `slips explain` needs.
            Cell::new(alert.id.get(..SHORT_ID).unwrap_or(&alert.id)),
            Cell::new(&alert.attacker).look(Look::Red),
            Cell::new(format!("{:.2}", alert.confidence)),
            Cell::new(kinds(&row.kinds)),
        ]
    };
    asked.list.print("no alerts", &columns, row, |page| stories.alerts(&query, page))
}

/// `VERTICAL_PORT_SCAN, DNS_WITHOUT_CONNECTION ×3`.
fn kinds(kinds: &[KindCount]) -> String {
    let one = |kind: &KindCount| match kind.count {
        1 => kind.kind.clone(),
        count => format!("{} ×{count}", kind.kind),
    };
    kinds.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub(super) fn blocks(asked: &Blocks) -> Result<(), Failure> {
    let stories = asked.list.place.open()?;
    let now = PacketTime(wall_clock());
    let query = BlockQuery {
        live_at: (!asked.all).then_some(now),
        net: asked.net,
        since: asked.since,
        order: Order::Newest,
    };
    let columns = [
        Column::whole("network"),
        Column::whole("from (UTC)"),
        Column::whole("until (UTC)"),
        Column::whole("state"),
        Column::whole("how"),
        Column::text("by"),
        Column::text("why"),
    ];
    let now = slips_store::render::iso(now);
    let row = |block: &StoredBlock| {
        let state = state(block, &now);
        let look = if state == "live" { Look::Red } else { Look::Dim };
        vec![
            Cell::new(&block.net),
            Cell::time(&block.from),
            block.until.as_deref().map_or_else(|| Cell::new("it is lifted"), Cell::time),
            Cell::new(state).look(look),
            Cell::new(&block.manner),
            Cell::new(&block.source),
            Cell::new(why(block)),
        ]
    };
    asked.list.print("nothing is blocked", &columns, row, |page| stories.blocks(&query, page))
}

/// Why it was made, and why it was lifted.
fn why(block: &StoredBlock) -> String {
    match &block.unblock {
        None => block.reason.clone(),
        Some(unblock) => format!("{}; lifted by {}: {}", block.reason, unblock.source, unblock.reason),
    }
}

fn state(block: &StoredBlock, now: &str) -> &'static str {
    let over = block.until.as_deref().is_some_and(|until| until <= now);
    match (block.state.as_str(), over, block.applied) {
        ("lifted", _, _) => "lifted",
        (_, true, _) => "ended",
        (_, false, true) => "live",
        // The kernel did not take it, or there is none: an analysis.
        (_, false, false) => "asked for",
    }
}

pub(super) fn flows(asked: &Flows) -> Result<(), Failure> {
    let stories = asked.list.place.open()?;
    let Times { since, until } = asked.times;
    let label = asked.label.map(FlowLabel::from);
    let profile = asked.profile.map(canonical);
    let query = FlowQuery { profile, since, until, label, ..FlowQuery::default() };
    let columns = [
        Column::whole("start (UTC)"),
        Column::text("from"),
        Column::text("to"),
        Column::whole("proto"),
        Column::text("service"),
        Column::whole("state"),
        Column::number("sent"),
        Column::number("received"),
        Column::whole("label"),
    ];
    let row = |flow: &StoredFlow| {
        let look = if flow.label == "malicious" { Look::Red } else { Look::Plain };
        vec![
            Cell::time(&flow.start),
            Cell::new(end(&flow.src, flow.src_port)),
            Cell::new(end(&flow.dst, flow.dst_port)),
            Cell::new(&flow.proto),
            Cell::new(&flow.service),
            Cell::new(&flow.state),
            Cell::shown(flow.orig_bytes),
            Cell::shown(flow.resp_bytes),
            Cell::new(&flow.label).look(look),
        ]
    };
    asked.list.print("no flows", &columns, row, |page| stories.flows(&query, page))
}

/// An address with its port.
pub(super) fn end(addr: &str, port: u16) -> String {
    if addr.contains(':') { format!("[{addr}]:{port}") } else { format!("{addr}:{port}") }
}

/// Letters of an alert's id that tell it from others.
const SHORT_ID: usize = 12;
/// Rows of one table: the widths of columns are found among so many.
const TABLE: usize = 1_000;

impl List {
    /// Prints rows as JSON or as tables, as they come.
    fn print<T: Serialize>(
        &self,
        none: &str,
        columns: &[Column],
        row: impl Fn(&T) -> Vec<Cell>,
        page: impl FnMut(Page<'_>) -> Result<Rows<T>, ReadError>,
    ) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        if self.place.json {
            let more = print_json(&mut out, self.most, page)?;
            tell_of_more(more, "rows");
            return Ok(());
        }
        let mut table = Table::new(columns);
        let mut any = false;
        let more = each(self.most, page, |found| {
            table.row(row(&found));
            any = true;
            if table.len() >= TABLE {
                let full = std::mem::replace(&mut table, Table::new(columns));
                return write(&mut out, &full.show());
            }
            Ok(Go::On)
        })?;
        if !any {
            write(&mut out, &format!("{none}\n"))?;
        } else if !table.is_empty() {
            write(&mut out, &table.show())?;
        }
        tell_of_more(more, "rows");
        Ok(())
    }
}

/// Says that what was asked for may not have been all.
pub(super) fn tell_of_more(more: bool, what: &str) {
    if more {
        eprintln!("slips: there are more {what}: -n NUMBER shows so many, --since those from a time on");
    }
}

/// Prints one JSON array, row by row; whether there were more.
pub(super) fn print_json<T: Serialize>(
    out: &mut impl Write,
    most: u64,
    page: impl FnMut(Page<'_>) -> Result<Rows<T>, ReadError>,
) -> Result<bool, Failure> {
    let mut before = "[";
    let mut closed = false;
    let more = each(most, page, |row| {
        let text = format!("{before}{}", export::json(&row).map_err(Failure::software)?);
        before = ",\n";
        let go = write(out, &text)?;
        closed = go == Go::Enough;
        Ok(go)
    })?;
    if closed {
        return Ok(false);
    }
    write(out, if before == "[" { "[]\n" } else { "]\n" })?;
    Ok(more)
}

/// Whether more rows are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Go {
    On,
    Enough,
}

/// Goes through all pages until there are `most` rows; whether there were more.
pub(super) fn each<T>(
    most: u64,
    mut page: impl FnMut(Page<'_>) -> Result<Rows<T>, ReadError>,
    mut take: impl FnMut(T) -> Result<Go, Failure>,
) -> Result<bool, Failure> {
    let (mut left, mut after) = (most, None);
    while left > 0 {
        let limit = u32::try_from(left).unwrap_or(Page::MOST).min(Page::MOST);
        let found = page(Page { limit, after: after.as_deref() })?;
        for row in found.rows {
            if left == 0 {
                return Ok(true);
            }
            left -= 1;
            if take(row)? == Go::Enough {
                return Ok(false);
            }
        }
        match found.next {
            Some(next) => after = Some(next),
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Writes a text; whoever reads it may have seen enough.
pub(super) fn write(out: &mut impl Write, text: &str) -> Result<Go, Failure> {
    match out.write_all(text.as_bytes()) {
        Ok(()) => Ok(Go::On),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Go::Enough),
        Err(error) => Err(Failure::software(error)),
    }
}
