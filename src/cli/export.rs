//! `slips export`: what was kept, for other programs. Reads page by page, so memory does not grow with what there is, and no page keeps the
//! daemon from putting its journal into the database.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, IsTerminal, Read as _, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use slips_core::addr::canonical;
use slips_core::evidence::EvidenceKind;
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
        #[arg(long, value_name = "KIND", value_parser = place::kind)]
        kind: Option<EvidenceKind>,
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
    /// The file to write; one that is there is replaced when all is written. Default: standard output.
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
                kind: kind.map(|kind| kind.name().to_owned()),
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
    let target = file.map(Target::new).transpose()?;
    let out: Box<dyn Write> = match &target {
        None => Box::new(io::stdout().lock()),
        Some(target) => Box::new(&target.file),
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
    let written = match (written, target) {
        (Ok(Ok(())), Some(target)) => target.keep().map(Ok),
        (written, _) => written,
    };
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

/// A file that is written beside its place and put there when it is whole: what was there stays until then. Flows tell who talked with
/// whom, so it is for its owner and his group at most, as the database.
struct Target {
    file: File,
    /// Where it is written and where it goes; `None` where the place is a pipe or a device, which is written as it is.
    moved: Option<(PathBuf, PathBuf)>,
}

impl Target {
    fn new(path: &Path) -> Result<Self, Failure> {
        let wrong = |what: &str| Err(Failure::new(Exit::Usage, format!("{}: {what}", path.display())));
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return wrong("is a directory; name a file in it"),
            Ok(found) if found.is_file() && is_database(path) => {
                return wrong("is a database, which no export may overwrite");
            }
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(path);
                return Ok(Self { file: file.map_err(|error| unwritable(path, error))?, moved: None });
            }
            _ => {}
        }
        Self::beside(path).map_err(|error| unwritable(path, error))
    }

    fn beside(path: &Path) -> io::Result<Self> {
        // Through links, as a shell writes.
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mode = fs::metadata(&place).map_or(0o640, |found| found.mode() & 0o640 | 0o600);
        let mut new = place.clone().into_os_string();
        new.push(format!(".{}.new", std::process::id()));
        let new = PathBuf::from(new);
        // Of a process of this number that was killed.
        let _ = fs::remove_file(&new);
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        let target = Self { file, moved: Some((new, place)) };
        target.file.set_permissions(Permissions::from_mode(mode))?;
        Ok(target)
    }

    /// Puts it in its place.
    fn keep(mut self) -> io::Result<()> {
        match self.moved.take() {
            Some((new, place)) => fs::rename(&new, place).inspect_err(|_| drop(fs::remove_file(&new))),
            None => Ok(()),
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((new, _)) = &self.moved {
            let _ = fs::remove_file(new);
        }
    }
}

/// Whether it is a database of SQLite, or a journal of one.
fn is_database(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    let mut begin = [0; 16];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    name.ends_with(b".sqlite-wal")
        || name.ends_with(b".sqlite-shm")
        || (read.is_ok() && begin == *b"SQLite format 3\0")
}

fn unwritable(path: &Path, error: io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Exit::Permission,
        io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => Exit::Usage,
        _ => Exit::Software,
    };
    Failure { exit, error: anyhow::Error::from(error).context(format!("cannot write {}", path.display())) }
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
