//! `slips intel`: what the lists say of something, how they stand, and a list of one's own.

mod jarm;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use slips_core::evidence::ThreatLevel;
use slips_intel::{Builder, Feed, Holds, LoadError, Tally};
use slips_store::Answers;

use super::{Exit, Failure, installed_config, print_object, print_out};
use crate::config::Config;
use crate::daemon::sinks::wall_clock;
use crate::lists::{self, Copy, Lists, Loaded, State};
use crate::outside::process::Restarting;
use crate::outside::shown;
use crate::services::{self, Desk, Opinion, Subject};
use crate::updates::{self, Item, Outcome, Plan, Shrunk, Updater};

/// What `slips intel` is told.
#[derive(Args, Debug)]
pub(super) struct Intel {
    #[command(subcommand)]
    command: Command,
    /// Configuration file. Default: /etc/slips/slips.yaml if it is there, else the built-in defaults.
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// What the lists say of an address, a domain, a URL, a digest, a fingerprint or an autonomous system.
    Lookup {
        /// What to look up.
        what: String,
        /// Print JSON: [{kind, level, description, sources, tags, exact}].
        #[arg(long)]
        json: bool,
    },
    /// How many indicators there are, and how each list that the catalogues name was read.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetch the lists that the catalogues name, and what else has a URL in the configuration; the daemon does so by itself, too.
    Update {
        /// Only this one, by its URL or a part of it; may be given several times.
        #[arg(long, value_name = "X")]
        feed: Vec<String>,
        /// Take a list although it lost most of its entries since the last time.
        #[arg(long)]
        accept_shrunk: bool,
        /// Print JSON: [{url, file, outcome: new|unchanged|held|failed, entries, rejected, why}].
        #[arg(long)]
        json: bool,
    },
    /// What the services that are turned on say of a public address, a domain, a page or a digest; what they said lately is not asked again.
    Ask {
        /// What to ask about.
        what: String,
        /// Print JSON: {SERVICE: {verdict: {level, confidence, text}, facts: {…}} or {trouble}}.
        #[arg(long)]
        json: bool,
    },
    /// Ask a TLS server ten times in ten ways, which tells what program it is (JARM), and look that up in the lists; a profile shows it from then
    /// on. An address of a private network is asked when it is named itself.
    ///
    /// Example: slips intel jarm 203.0.113.9:8443
    Jarm {
        /// `HOST`, `HOST:PORT` or `[IPv6]:PORT`; the port is 443 where none is given.
        server: String,
        /// Print JSON: {host, address, port, jarm, listed: [{level, description, sources, tags}]}.
        #[arg(long)]
        json: bool,
    },
    /// Put a downloaded list where the daemon reads it, if there is anything in it; the daemon takes it within seconds.
    Import {
        /// The list, of any form that `docs/intel.md` names.
        file: PathBuf,
        /// The URL by which a catalogue names it. Default: it becomes one of your own lists, with the level medium.
        #[arg(long = "as", value_name = "URL")]
        location: Option<String>,
    },
}

pub(super) fn run(options: Intel) -> Result<(), Failure> {
    let config = installed_config(options.config.as_deref())?;
    let lists = Lists::of(&config.threatintelligence, &config.output.directory);
    match options.command {
        Command::Lookup { what, json } => lookup(&lists.load(Copy::Leave).map_err(unreadable)?, &what, json),
        Command::Status { json } => status(&lists.read().map_err(unreadable)?, json),
        Command::Update { feed, accept_shrunk, json } => {
            let shrunk = if accept_shrunk { Shrunk::Take } else { Shrunk::Hold };
            update(&config, &lists, &feed, shrunk, json)
        }
        Command::Ask { what, json } => ask(&config, &what, json),
        Command::Jarm { server, json } => jarm::run(&config, &lists, &server, json),
        Command::Import { file, location } => import(&config, &lists, &file, location.as_deref()),
    }
}

fn unreadable(error: LoadError) -> Failure {
    Failure { exit: Exit::Config, error: error.into() }
}

fn lookup(loaded: &Loaded, what: &str, json: bool) -> Result<(), Failure> {
    let found = loaded.indicators.find(what);
    if json {
        let rows: Vec<_> = found
            .iter()
            .map(|(kind, listed)| {
                json!({
                    "kind": kind, "level": listed.level.name(), "description": listed.description,
                    "sources": listed.sources, "tags": listed.tags, "exact": listed.exact,
                })
            })
            .collect();
        return print_object(&rows);
    }
    if found.is_empty() {
        return print_out(&format!("{what}: not listed\n"));
    }
    let line = |(kind, listed): &(&str, slips_core::intel::Listed<'_>)| {
        let how = if listed.exact { "" } else { " (a parent, or another query)" };
        format!("{what}: {kind}{how}: {listed}\n")
    };
    print_out(&found.iter().map(line).collect::<String>())
}

fn status(loaded: &Loaded, json: bool) -> Result<(), Failure> {
    let contents = loaded.indicators.contents();
    let counts = [
        ("addresses and networks", contents.nets),
        ("domains", contents.domains),
        ("URLs", contents.urls),
        ("files", contents.files),
        ("fingerprints", contents.fingerprints),
        ("autonomous systems", contents.asns),
    ];
    if json {
        let feeds: Vec<_> = loaded
            .feeds
            .iter()
            .map(|(source, state)| {
                let rejected = match state {
                    State::Read(tally) => rejected(tally),
                    _ => serde_json::Map::new(),
                };
                let taken = if let State::Read(tally) = state { Some(tally.taken) } else { None };
                json!({"location": shown(&source.entry.location), "file": source.path, "taken": taken, "rejected": rejected})
            })
            .collect();
        let counts: serde_json::Map<_, _> =
            counts.into_iter().map(|(name, n)| (name.to_owned(), json!(n))).collect();
        let whole = json!({
            "indicators": counts, "bytes": loaded.indicators.memory(), "feeds": feeds, "problems": loaded.problems,
        });
        return print_object(&whole);
    }
    let mut text = String::new();
    for (name, count) in counts {
        text += &format!("{count:>9} {name}\n");
    }
    text += &format!("{:>9} bytes of memory\n", loaded.indicators.memory());
    for (source, state) in &loaded.feeds {
        let said = match state {
            State::Absent => "not there; `slips intel update` fetches it".to_owned(),
            State::Read(tally) => told(*tally),
            State::Unreadable(error) => error.to_string(),
        };
        text += &format!("{}: {said}\n", shown(&source.entry.location));
    }
    for problem in &loaded.problems {
        text += &format!("{problem}\n");
    }
    print_out(&text)
}

fn update(
    config: &Config,
    lists: &Lists,
    named: &[String],
    shrunk: Shrunk,
    json: bool,
) -> Result<(), Failure> {
    let (items, problems) = updates::items(config, lists).map_err(unreadable)?;
    for problem in &problems {
        eprintln!("slips: {problem}");
    }
    if let Some(name) = named.iter().find(|name| !items.iter().any(|item| item.url.contains(*name))) {
        return Err(Failure::new(Exit::Usage, format!("no list with `{name}` in its URL is configured")));
    }
    let dir = &config.threatintelligence.download_path_for_remote_threat_intelligence;
    let open = Updater::open(dir, updates::bounds(config), Plan::default());
    let mut updater = open.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            Failure::new(Exit::TryAgain, "the daemon, or somebody else, is updating now")
        }
        kind => Failure {
            exit: if kind == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::Software },
            error: anyhow::Error::from(error).context(dir.display().to_string()),
        },
    })?;
    let mut process =
        Restarting::started(config.outside.means(), Arc::default()).map_err(Failure::software)?;
    let (mut rows, mut failed) = (Vec::new(), 0);
    let is_named = |item: &&Item| named.is_empty() || named.iter().any(|name| item.url.contains(name));
    for item in items.iter().filter(is_named) {
        let now = wall_clock() / 1_000_000;
        let outcome = updater.update(item, &mut process, shrunk, now).map_err(Failure::software)?;
        failed += u32::from(matches!(outcome, Outcome::Failed { .. }));
        if json {
            rows.push(as_row(item, &outcome));
        } else {
            print_out(&format!("{}: {}\n", shown(&item.url), as_words(&outcome)))?;
        }
    }
    if json {
        print_object(&rows)?;
    }
    match failed {
        0 => Ok(()),
        _ => {
            Err(Failure::new(Exit::TryAgain, format!("{failed} could not be fetched; what was there stays")))
        }
    }
}

fn ask(config: &Config, what: &str, json: bool) -> Result<(), Failure> {
    let (services, problems) = services::services(config, None);
    for problem in &problems {
        eprintln!("slips: {problem}");
    }
    if services.is_empty() {
        return Err(Failure::new(
            Exit::Config,
            "no service is turned on: see virustotal and services in slips.yaml",
        ));
    }
    let subject = Subject::read(what).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`{what}` is nothing public that services are asked about"))
    })?;
    lists::make_directory(&config.output.directory).map_err(Failure::software)?;
    let path = config.output.directory.join(services::ANSWERS);
    // What root makes has to be the daemon's, before SQLite makes it.
    lists::open_or_make(&path).map_err(|error| Failure {
        exit: if error.kind() == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::Software },
        error: anyhow::Error::from(error).context(path.display().to_string()),
    })?;
    let mut desk = Desk::new(services, Answers::open(path)?);
    let mut process =
        Restarting::started(config.outside.means(), Arc::default()).map_err(Failure::software)?;
    let answers = desk.ask_about(&subject, &mut process, wall_clock() / 1_000_000)?;
    if answers.is_empty() {
        return Err(Failure::new(Exit::Usage, "none of the services that are turned on is asked about such"));
    }
    let told = answers.iter().map(|(name, answer)| match answer {
        Ok(opinion) => ((*name).to_owned(), json!(opinion)),
        Err(trouble) => ((*name).to_owned(), json!({"trouble": trouble})),
    });
    let told: serde_json::Map<_, _> = told.collect();
    if json {
        print_object(&told)?;
    } else {
        let line = |(name, answer): &(&str, Result<Opinion, String>)| match answer {
            Ok(opinion) => format!("{name}: {opinion}\n"),
            Err(trouble) => format!("{name}: {trouble}\n"),
        };
        print_out(&answers.iter().map(line).collect::<String>())?;
    }
    match answers.iter().any(|(_, answer)| answer.is_err()) {
        true => Err(Failure::new(Exit::TryAgain, "not all services answered")),
        false => Ok(()),
    }
}

fn as_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::New { tally: Some(tally), .. } => format!("new, {}", told(*tally)),
        Outcome::New { .. } => "new".into(),
        Outcome::Unchanged => "unchanged".into(),
        Outcome::Held { entries: 0, ours } => format!(
            "lost all of its {ours} entries; ours stays until that came three times in a day, or with --accept-shrunk"
        ),
        Outcome::Held { entries, ours } => format!(
            "shrank from {ours} to {entries} entries; ours stays until that comes again after an hour, or with --accept-shrunk"
        ),
        Outcome::Failed { why, .. } => format!("failed: {why}"),
    }
}

fn as_row(item: &Item, outcome: &Outcome) -> serde_json::Value {
    let (name, entries, tally, why) = match outcome {
        Outcome::New { entries, tally } => ("new", Some(*entries), *tally, None),
        Outcome::Unchanged => ("unchanged", None, None, None),
        Outcome::Held { entries, .. } => ("held", Some(*entries), None, None),
        Outcome::Failed { why, .. } => ("failed", None, None, Some(why)),
    };
    let rejected = tally.as_ref().map(rejected);
    json!({"url": shown(&item.url), "file": item.path, "outcome": name, "entries": entries, "rejected": rejected, "why": why})
}

fn rejected(tally: &Tally) -> serde_json::Map<String, serde_json::Value> {
    tally.rejects().map(|(why, n)| (why.text().to_owned(), json!(n))).collect()
}

fn told(tally: Tally) -> String {
    let rejects: Vec<String> =
        tally.rejects().map(|(why, count)| format!("{count} {}", why.text())).collect();
    let rejects =
        if rejects.is_empty() { String::new() } else { format!("; not taken: {}", rejects.join(", ")) };
    format!("{} taken{rejects}", tally.taken)
}

/// Largest list.
const MAX_LIST: u64 = 256 << 20;

fn import(config: &Config, lists: &Lists, file: &Path, location: Option<&str>) -> Result<(), Failure> {
    let bytes = lists::read_bounded(file, MAX_LIST).map_err(|error| Failure {
        exit: Exit::NoInput,
        error: anyhow::Error::from(error).context(file.display().to_string()),
    })?;
    let sources = lists.sources().map_err(unreadable)?.0;
    let holds = match location {
        None => Holds::Indicators,
        Some(location) => {
            let named = sources.iter().find(|source| *source.entry.location == *location);
            named
                .map(|source| source.holds)
                .ok_or_else(|| Failure::new(Exit::Usage, format!("no catalogue names {location}")))?
        }
    };
    let feed = Feed { name: "list", level: ThreatLevel::Medium, tags: "", holds };
    let tally = Builder::new().read_feed(&feed, &bytes);
    if tally.taken == 0 {
        return Err(Failure::new(
            Exit::Data,
            format!("{}: {}; it is left where it is", file.display(), told(tally)),
        ));
    }
    let to = match location {
        Some(location) => lists.path_of(location),
        None => {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            config.threatintelligence.local_threat_intelligence_files.join(format!("{name}.list"))
        }
    };
    lists::write_whole(&to, &bytes).map_err(|error| Failure {
        exit: if error.kind() == io::ErrorKind::PermissionDenied { Exit::Permission } else { Exit::Software },
        error: anyhow::Error::from(error).context(to.display().to_string()),
    })?;
    print_out(&format!("{}: {}\n", to.display(), told(tally)))
}
