//! `tests/bench/sensor-parity`: prints how far our logs are Zeek's. Exits with 0 if all bars are met, else with 1.

#[path = "mod.rs"]
mod parity;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use parity::run::{Findings, Runner};

/// Compare the logs of `slips sensor` with those that Zeek's own test suite expects.
#[derive(Parser, Debug)]
struct Options {
    /// The folder with manifest.json and the captures.
    corpora: PathBuf,
    /// Only cases with this in their name.
    #[arg(long, default_value = "", value_name = "PART")]
    only: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Leave out the single differences.
    #[arg(long)]
    brief: bool,
    /// Compare flows with zeekflow_model.py instead, over the captures that have no Zeek log.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The binary to judge. Default: the one beside this program.
    #[arg(long, value_name = "FILE")]
    slips: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let slips = match &options.slips {
        Some(slips) => slips.clone(),
        None => beside().context("no `slips` beside this program; name one with --slips")?,
    };
    let scratch = tempfile::tempdir()?;
    let runner = Runner { slips, scratch: scratch.path().to_owned() };
    if let Some(model) = &options.model {
        return by_model(&runner, &options, model);
    }
    let findings = parity::run::run(&runner, &options.corpora, &options.only)?;
    if options.json {
        println!("{}", findings.json());
    } else {
        show(&findings, options.brief);
    }
    Ok(if findings.meets_bars() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn by_model(runner: &Runner, options: &Options, model: &std::path::Path) -> Result<ExitCode> {
    let (captures, score, differences) = parity::model::run(runner, &options.corpora, model, &options.only)?;
    if !options.brief {
        differences.iter().for_each(|line| println!("{line}"));
    }
    println!("{captures} captures, {} of {} rows equal, {} only ours", score.equal, score.rows, score.extra);
    Ok(if score.meets(98) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// cargo puts examples into a folder below that of the binaries.
fn beside() -> Option<PathBuf> {
    let here = std::env::current_exe().ok()?;
    let slips = here.parent()?.parent()?.join("slips");
    slips.exists().then_some(slips)
}

fn show(findings: &Findings, brief: bool) {
    if !brief {
        for line in findings.differences.iter().chain(&findings.dangling) {
            println!("{line}");
        }
        println!();
    }
    println!(
        "{} captures\n{:<8} {:>12}  {:>7}  {:>5}  {:>6}",
        findings.captures, "log", "equal/rows", "%", "bar", "extra"
    );
    for (log, bar, score) in findings.scores.iter().filter(|(.., score)| score.rows > 0) {
        let percent = 100.0 * score.equal as f64 / score.rows as f64;
        let verdict = if score.meets(*bar) { "" } else { "  below" };
        let share = format!("{}/{}", score.equal, score.rows);
        println!("{log:<8} {share:>12}  {percent:>7.2}  {bar:>5}  {:>6}{verdict}", score.extra);
        let differing = score.columns.iter().filter(|(_, (equal, rows))| equal < rows);
        let columns: Vec<_> =
            differing.map(|(name, (equal, rows))| format!("{name} {equal}/{rows}")).collect();
        if !columns.is_empty() {
            println!("         columns: {}", columns.join(", "));
        }
    }
    println!("references that lead nowhere: {}", findings.dangling.len());
}
