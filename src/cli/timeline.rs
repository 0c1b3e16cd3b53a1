//! `slips timeline IP`: what a host did, line by line.

use std::io;
use std::net::IpAddr;

use clap::Args;
use slips_core::addr::canonical;
use slips_core::time::{PacketTime, WindowId, WindowWidth};
use slips_store::Stories;
use slips_store::read::{FlowQuery, Page};
use slips_store::timeline::{TimelineLine, TimelineQuery, What};

use super::kept::{each, print_json, tell_of_more, write};
use super::place::{self, Place};
use super::table::{Colours, Look, moment};
use super::{Exit, Failure};

/// Tell what a host did.
#[derive(Args, Debug)]
pub(super) struct Timeline {
    /// The address.
    #[arg(value_name = "IP")]
    addr: IpAddr,
    /// The time window of this number. Default: the one in which it was seen last.
    #[arg(long, value_name = "N", allow_hyphen_values = true, conflicts_with_all = ["since", "until"])]
    window: Option<i64>,
    /// Then or later, in the time of the packets: 2h or 3d (ago), 2026-01-02, 2026-01-02T10:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = place::moment)]
    since: Option<PacketTime>,
    /// Before that.
    #[arg(long, value_name = "TIME", value_parser = place::moment)]
    until: Option<PacketTime>,
    /// Lines at most.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1_000)]
    most: u64,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(asked: &Timeline) -> Result<(), Failure> {
    let stories = asked.place.open()?;
    let profile = canonical(asked.addr);
    let query = match (asked.window, asked.since, asked.until) {
        (None, None, None) => last_window(&stories, profile)?,
        (Some(number), ..) => {
            let width = width(&stories)?;
            Some((Some(width.start_of(WindowId(number))), Some(width.end_of(WindowId(number)))))
        }
        (None, since, until) => Some((since, until)),
    };
    let Some((since, until)) = query else {
        let what = format!("{} knows no flow of {profile}", stories.path().display());
        return Err(Failure::new(Exit::Data, what));
    };
    let query = TimelineQuery { profile, since, until };
    // Whole pages: the more neighbours are looked at, the more become one line.
    let page = |page: Page<'_>| stories.timeline(&query, Page { limit: Page::MOST, ..page });
    let mut out = io::stdout().lock();
    if asked.place.json {
        let more = print_json(&mut out, asked.most, page)?;
        tell_of_more(more, "lines");
        return Ok(());
    }
    let colours = Colours::of_output();
    let mut any = false;
    let more = each(asked.most, page, |line| {
        any = true;
        write(&mut out, &show(&line, colours))
    })?;
    if !any {
        write(&mut out, "nothing is known of that time\n")?;
    }
    tell_of_more(more, "lines");
    Ok(())
}

/// The window of the last flow of an address.
#[expect(clippy::type_complexity, reason = "from when until when, as the question has it")]
fn last_window(
    stories: &Stories,
    profile: IpAddr,
) -> Result<Option<(Option<PacketTime>, Option<PacketTime>)>, Failure> {
    let query = FlowQuery { profile: Some(profile), ..FlowQuery::default() };
    let last = stories.flows(&query, Page { limit: 1, after: None })?.rows;
    let at = last.first().and_then(|flow| flow.start.parse::<jiff::Timestamp>().ok());
    let Some(at) = at else { return Ok(None) };
    let width = width(stories)?;
    let window = width.window_of(PacketTime(at.as_microsecond()));
    Ok(Some((Some(width.start_of(window)), Some(width.end_of(window)))))
}

fn width(stories: &Stories) -> Result<WindowWidth, Failure> {
    Ok(stories.window_width()?.unwrap_or(WindowWidth::HOUR))
}

fn show(line: &TimelineLine, colours: Colours) -> String {
    let level = line.evidence.iter().map(|came| came.level.as_str()).max_by_key(|level| rank(level));
    let look = match (line.what, level) {
        (What::Alert, _) => Look::BoldRed,
        (What::Gap, _) => Look::Dim,
        (_, Some(level)) => Look::of_level(level),
        (_, None) => Look::Plain,
    };
    let time = Look::Dim.paint(&moment(&line.start), colours);
    format!("{time}  {}\n", look.paint(&line.text, colours))
}

fn rank(level: &str) -> usize {
    ["info", "low", "medium", "high", "critical"].iter().position(|known| *known == level).unwrap_or(0)
}
