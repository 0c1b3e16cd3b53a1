//! `slips check-config` and `slips config import`: what a configuration file says, and what one of the original says in ours.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use slips_intel::RulesBuilder;
use slips_store::render::escape;

use super::{Exit, Failure, print_object, print_out};
use crate::config::import::{self, Imported, LARGEST};
use crate::config::{Config, LoadError};
use crate::daemon::build;
use crate::lists::read_bounded;

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Make a slips.yaml of one of the original Slips: what means the same is carried over, and each line that is not is told, with what to do
    /// instead.
    #[command(
        after_help = "Example:\n  slips config import ~/StratosphereLinuxIPS/config/slips.yaml -o slips.yaml\n  \
                            slips check-config slips.yaml"
    )]
    Import {
        /// The original's file.
        #[arg(value_name = "OLD.yaml")]
        old: PathBuf,
        /// Where ours goes; one that is there is not overwritten. Default: the standard output.
        #[arg(short, long, value_name = "NEW.yaml")]
        output: Option<PathBuf>,
        /// The original's whitelist.conf, whose lines are read as they are: say which would be left out.
        #[arg(long, value_name = "FILE")]
        whitelist: Option<PathBuf>,
        /// Print JSON: {carried: [KEY], left_out: [{line, key, why}], whitelist: [PROBLEM], config}.
        #[arg(long)]
        json: bool,
    },
}

/// Tells all that is wrong with a file.
pub(super) fn check(file: &Path) -> Result<(), Failure> {
    let config = Config::load(file).map_err(|error| match &error {
        LoadError::Unreadable(_, cause) if cause.kind() == io::ErrorKind::NotFound => {
            Failure { exit: Exit::NoInput, error: error.into() }
        }
        _ => error.into(),
    })?;
    for problem in build::leak_rules(&config)?.1 {
        eprintln!("slips: {problem}");
    }
    println!("{}: ok", file.display());
    Ok(())
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    let Command::Import { old, output, whitelist, json } = command;
    let bytes = read(old, LARGEST)?;
    let wrong = |what: &str| Failure::new(Exit::Data, format!("{}: {what}", old.display()));
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is no text"))?;
    let imported = import::import(old, &text)
        .map_err(|problems| Failure { exit: Exit::Data, error: LoadError::Wrong(problems).into() })?;
    let problems = whitelist.as_deref().map(problems_of).transpose()?.unwrap_or_default();
    if let Some(place) = output {
        write(place, &imported.text)?;
    }
    let Imported { text, carried, left_out } = &imported;
    if *json {
        return print_object(
            &json!({"carried": carried, "left_out": left_out, "whitelist": problems, "config": text}),
        );
    }
    // Who closed it has seen enough; the configuration is printed all the same.
    let mut told = io::stderr().lock();
    for left in left_out {
        let _ = writeln!(
            told,
            "slips: {}:{}: {}: {}",
            old.display(),
            left.line,
            escape(&left.key),
            escape(&left.why)
        );
    }
    for problem in &problems {
        let _ = writeln!(told, "slips: {}", escape(problem));
    }
    drop(told);
    match output {
        Some(place) => print_out(&format!(
            "{}: {} keys carried over, {} told as not; all others have their defaults\n",
            place.display(),
            carried.len(),
            left_out.len()
        )),
        None => print_out(text),
    }
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    read_bounded(path, most).map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NoInput,
            io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Data,
        };
        Failure { exit, error: anyhow::Error::from(error).context(format!("cannot read {}", path.display())) }
    })
}

/// Lines of a whitelist that would be left out, and why.
fn problems_of(path: &Path) -> Result<Vec<String>, Failure> {
    let bytes = read(path, LARGEST_WHITELIST)?;
    let problems = RulesBuilder::new().read(&path.display().to_string(), &bytes);
    Ok(problems.iter().map(ToString::to_string).collect())
}

/// As the daemon reads it.
const LARGEST_WHITELIST: u64 = 16 << 20;

/// Writes a new file, whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = File::create_new(path).map_err(|error| {
        let (exit, what) = match error.kind() {
            io::ErrorKind::AlreadyExists => {
                (Exit::Usage, "it is there already and is not overwritten; name another")
            }
            io::ErrorKind::PermissionDenied => (Exit::Permission, "it may not be written"),
            _ => (Exit::Software, "it cannot be written"),
        };
        Failure { exit, error: anyhow::Error::from(error).context(format!("{}: {what}", path.display())) }
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // Half of it would be taken for all.
        let _ = std::fs::remove_file(path);
        Failure::software(error)
    })
}
