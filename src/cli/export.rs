//! `slips export`: what was kept, for other programs. Reads page by page, so memory does not grow with what there is, and no page keeps the
//! daemon from putting its journal into the database.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use slips_core::addr::canonical;
use slips_core::time::PacketTime;
use slips_store::Stories;
use slips_store::read::{AlertQuery, EvidenceQuery, FlowLabel, FlowQuery, Order, Page, ReadError, Rows};

use super::kept::{Label, Times};
use super::place::{self, Place};
use super::{Exit, Failure};
use crate::daemon::sinks::wall_clock;
use crate::export::{Exported, Format, Lines};

/// Write what was kept for other programs.
#[derive(Args, Debug)]
pub(super) struct Export {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Flows with their labels, in the order in which they ended.
    #[command(after_help = "Examples:\n  sudo slips export flows --format tsv --since 1d -o flows.tsv\n  \
                            slips export flows --dir out --format csv --label malicious")]
    Flows {
        /// With this label.
        #[arg(long, value_enum)]
        label: Option<Label>,
        #[command(flatten)]
        to: To,
    },
    /// Evidence, in the order in which it was found.
    #[command(
        after_help = "Example:\n  sudo slips export evidence --format json --profile 203.0.113.9 | jq .kind"
    )]
    Evidence {
        /// Of this kind: VERTICAL_PORT_SCAN, say.
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        #[command(flatten)]
        to: To,
    },
    /// Alerts, the first in front.
    #[command(after_help = "Example:\n  sudo slips export alerts --format csv --since 7d -o week.csv")]
    Alerts {
        #[command(flatten)]
        to: To,
    },
}

#[derive(Args, Debug)]
struct To {
    /// tsv and csv have a line of names first; json is one object a line.
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// By, from or to this address.
    #[arg(long, visible_alias = "ip", value_name = "IP")]
    profile: Option<IpAddr>,
    #[command(flatten)]
    times: Times,
    /// The file to write; one that is there is written anew. Default: standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Output directory of the analysis or the daemon. Default: that of the configuration, /var/lib/slips.
    #[arg(long, value_name = "DIR", conflicts_with = "db")]
    dir: Option<PathBuf>,
    /// The database itself.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// Configuration file. Default: /etc/slips/slips.yaml if it is there, else the built-in defaults.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(asked: Export) -> Result<(), Failure> {
    match asked.what {
        What::Flows { label, to } => {
            let stories = to.open()?;
            let query = FlowQuery {
                profile: to.profile.map(canonical),
                label: label.map(FlowLabel::from),
                ..to.flows()
            };
            let all = to.profile.is_none()
                && to.times.since.is_none()
                && to.times.until.is_none()
                && label.is_none();
            flows(&stories, query, to.format, to.output.as_deref(), all)
        }
        What::Evidence { kind, to } => {
            let stories = to.open()?;
            let query = EvidenceQuery {
                profile: to.profile.map(canonical),
                kind: kind.map(|kind| kind.to_ascii_uppercase()),
                since: to.times.since,
                until: to.times.until,
                order: Order::Oldest,
                ..EvidenceQuery::default()
            };
            stream(to.format, to.output.as_deref(), None, |page| stories.evidence(&query, page))
        }
        What::Alerts { to } => {
            let stories = to.open()?;
            let query = AlertQuery {
                profile: to.profile.map(canonical),
                since: to.times.since,
                until: to.times.until,
                order: Order::Oldest,
                ..AlertQuery::default()
            };
            stream(to.format, to.output.as_deref(), None, |page| stories.alerts(&query, page))
        }
    }
}

impl To {
    fn open(&self) -> Result<Stories, Failure> {
        let (output, db, config) = (self.dir.clone(), self.db.clone(), self.config.clone());
        Place { output, db, config, json: false }.open()
    }

    fn flows(&self) -> FlowQuery {
        let Times { since, until } = self.times;
        FlowQuery { since, until, order: Order::Oldest, ..FlowQuery::default() }
    }
}

/// Writes the labelled flows of an analysis into its directory.
pub(super) fn labelled(dir: &Path, format: Format) -> Result<(), Failure> {
    let stories = place::open(&dir.join(place::FILE))?;
    let file = dir.join(format!("labeled_flows.{}", format.ending()));
    let query = FlowQuery { order: Order::Oldest, ..FlowQuery::default() };
    flows(&stories, query, format, Some(&file), true)
}

fn flows(
    stories: &Stories,
    query: FlowQuery,
    format: Format,
    file: Option<&Path>,
    all: bool,
) -> Result<(), Failure> {
    // A daemon may write as fast as we read: what comes after the beginning is left for the next time.
    let query = FlowQuery { up_to: Some(stories.last_flow()?), ..query };
    let total = if all { Some(stories.counts(PacketTime(wall_clock()))?.flows) } else { None };
    stream(format, file, total, |page| stories.flows(&query, page))
}

/// Writes all pages to a file or to standard output.
fn stream<T: Exported>(
    format: Format,
    file: Option<&Path>,
    total: Option<u64>,
    mut page: impl FnMut(Page<'_>) -> Result<Rows<T>, ReadError>,
) -> Result<(), Failure> {
    let out: Box<dyn Write> = match file {
        None => Box::new(io::stdout().lock()),
        Some(path) => Box::new(create(path)?),
    };
    // Rows on the terminal and a bar would run into each other.
    let bar = if file.is_none() && io::stdout().is_terminal() { None } else { progress(total) };
    let written = (|| {
        let mut lines = Lines::begin::<T>(BufWriter::with_capacity(1 << 16, out), format)?;
        let mut after = None;
        loop {
            let found = match page(Page { limit: Page::MOST, after: after.as_deref() }) {
                Ok(found) => found,
                Err(error) => return Ok(Err(error)),
            };
            for row in &found.rows {
                lines.write(row)?;
            }
            if let Some(bar) = &bar {
                bar.set_position(lines.rows());
            }
            match found.next {
                Some(next) => after = Some(next),
                None => return lines.finish().map(Ok),
            }
        }
    })();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    match written {
        Ok(read) => Ok(read?),
        // Whoever reads us has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => {
            let whom = file.map_or_else(|| "standard output".to_owned(), |file| file.display().to_string());
            Err(Failure {
                exit: Exit::Software,
                error: anyhow::Error::from(error).context(format!("cannot write {whom}")),
            })
        }
    }
}

/// Flows tell who talked with whom: the file is for its owner and his group, as the database.
fn create(path: &Path) -> Result<std::fs::File, Failure> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(path);
    file.map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Exit::Permission,
            io::ErrorKind::NotFound | io::ErrorKind::IsADirectory => Exit::Usage,
            _ => Exit::Software,
        };
        Failure {
            exit,
            error: anyhow::Error::from(error).context(format!("cannot write {}", path.display())),
        }
    })
}

/// A bar on a terminal, none in a pipe.
fn progress(total: Option<u64>) -> Option<ProgressBar> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let (bar, style) = match total {
        Some(total) => (ProgressBar::new(total), "{wide_bar} {human_pos}/{human_len} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {human_pos} rows"),
    };
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    Some(bar)
}
