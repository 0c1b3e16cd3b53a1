//! `slips whitelist`: which rule leaves something alone, and why.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use slips_core::time::PacketTime;
use slips_intel::{Match, Rules};
use slips_store::render;

use super::{Exit, Failure, load_config, print_object, print_out};
use crate::daemon::sinks::wall_clock;
use crate::whitelist::Files;

/// What `slips whitelist` is told.
#[derive(Args, Debug)]
pub(super) struct Whitelist {
    #[command(subcommand)]
    command: Command,
    /// Configuration file. Default: /etc/slips/slips.yaml if it is there, else the built-in defaults.
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Which rules are about an address, a network, a domain, a hardware address or an organisation, and what it takes for them to
    /// count.
    Check {
        /// What to look for.
        what: String,
        /// Print JSON: {matches: [{line, type, value, direction, ignored, until, remark, needs, over}], problems}.
        #[arg(long)]
        json: bool,
    },
    /// How many rules there are, which have ended, and which lines are left out and why.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(options: Whitelist) -> Result<(), Failure> {
    let installed = std::path::Path::new(super::INSTALLED_CONFIG);
    let file = options.config.as_deref().or_else(|| installed.exists().then_some(installed));
    let config = load_config(file)?;
    let (rules, problems) = Files::of(&config)
        .load(Vec::new())
        .map_err(|error| Failure { exit: Exit::Config, error: error.into() })?;
    let now = PacketTime(wall_clock());
    match options.command {
        Command::Check { what, json } => check(&rules, &problems, &what, now, json),
        Command::Status { json } => status(&rules, &problems, now, json),
    }
}

fn check(rules: &Rules, problems: &[String], what: &str, now: PacketTime, json: bool) -> Result<(), Failure> {
    let found = rules.find(what, now);
    if json {
        let matches: Vec<Value> = found.iter().map(as_json).collect();
        return print_object(&json!({"matches": matches, "problems": problems}));
    }
    let mut text: String =
        found.iter().map(|found| format!("{}: {}\n", render::escape(what), line_of(found))).collect();
    if found.is_empty() {
        text = format!("{}: no rule is about it\n", render::escape(what));
    }
    print_out(&text)?;
    print_out(&problems.iter().map(|problem| format!("{}\n", render::escape(problem))).collect::<String>())
}

fn until_of(secs: u32) -> String {
    render::iso(PacketTime::from_secs_micros(i64::from(secs), 0)).to_string()
}

fn as_json(found: &Match<'_>) -> Value {
    let needs = found.needs.to_string();
    let Some(rule) = found.rule else {
        return json!({"type": "known_sites", "direction": "dst", "ignored": "alerts", "needs": needs, "over": false});
    };
    let what = rule.what.to_string();
    let (kind, value) = what.split_once(' ').unwrap_or((&what, ""));
    json!({
        "line": (rule.line > 0).then_some(rule.line), "type": kind, "value": value, "direction": rule.direction.name(), "ignored": rule.ignored.name(),
        "until": rule.until.map(until_of), "remark": rule.remark, "needs": needs, "over": found.over,
    })
}

fn line_of(found: &Match<'_>) -> String {
    let Some(rule) = found.rule else { return format!("the list of known sites; {}", found.needs) };
    let remark =
        if rule.remark.is_empty() { String::new() } else { format!(" # {}", render::escape(&rule.remark)) };
    let over = match (rule.until, found.over) {
        (Some(until), true) => format!("; ENDED on {}", until_of(until)),
        (Some(until), false) => format!("; until {}", until_of(until)),
        (None, _) => String::new(),
    };
    let (direction, ignored) = (rule.direction.name(), rule.ignored.name());
    let place = match rule.line {
        0 => "`slips allow`".to_owned(),
        line => format!("line {line}"),
    };
    format!("{place}: {},{direction},{ignored}{remark}{over}; {}", rule.what, found.needs)
}

fn status(rules: &Rules, problems: &[String], now: PacketTime, json: bool) -> Result<(), Failure> {
    let (all, over, sites) = (rules.rules().len(), rules.over(now), rules.sites());
    if json {
        let told = json!({"rules": all, "over": over, "known_sites": sites, "problems": problems});
        return print_object(&told);
    }
    let mut text = format!("{all:>9} rules, {over} of which have ended\n{sites:>9} known sites\n");
    for problem in problems {
        text += &format!("{}\n", render::escape(problem));
    }
    print_out(&text)
}
