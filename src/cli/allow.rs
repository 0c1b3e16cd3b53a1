//! `slips allow`: an innocent is left alone from now on, and its block is lifted at once.

use clap::Args;
use serde::Serialize;
use slips_intel::What;
use slips_store::render::escape;

use super::live::{Where, failure};
use super::{Exit, Failure, installed_config, print_object, print_out};
use crate::allowed::{Allowed, LeftOut, Refused, Sides, Wish};
use crate::config::Length;
use crate::control::api::allow::AllowedNow;
use crate::control::client::{Unanswered, in_path};
use crate::control::{self, Ask, Unasked};
use crate::whitelist::Files;

/// What `slips allow` is told.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sudo slips allow 192.0.2.7 --why 'the scanner in the cellar'\n  sudo slips allow 198.51.100.0/24 --for 8h\n  \
                  sudo slips allow example.org --direction dst\n  sudo slips allow --list\n  sudo slips allow --remove 192.0.2.7"
)]
pub(super) struct Allow {
    /// Addresses, networks, domains (with all below them; =example.org without), hardware addresses, organisations.
    #[arg(required_unless_present = "list", value_name = "WHAT")]
    what: Vec<String>,
    /// How long, ten years at most. Default: until it is removed.
    #[arg(long = "for", value_name = "TIME", value_parser = Length::parse, conflicts_with_all = ["remove", "list"])]
    term: Option<Length>,
    /// Why, for who reads the list later.
    #[arg(long, default_value = "", conflicts_with_all = ["remove", "list"])]
    why: String,
    /// On which side of the traffic.
    #[arg(long, value_enum, default_value = "both", conflicts_with_all = ["remove", "list"])]
    direction: Sides,
    /// What is left out of what is about it. Blocks are lifted with alerts and both, in both directions.
    #[arg(long, value_enum, default_value = "alerts", conflicts_with_all = ["remove", "list"])]
    ignore: LeftOut,
    /// Also a network wider than a /16, or than a /32 of IPv6.
    #[arg(long, conflicts_with_all = ["remove", "list"])]
    wide: bool,
    /// Let it count again.
    #[arg(long, conflicts_with = "list")]
    remove: bool,
    /// Show what is left alone by this command; `slips whitelist` knows the file of rules, too.
    #[arg(long, conflicts_with = "what")]
    list: bool,
    /// Print JSON: {daemon, rules: [{type, value, direction, ignored, until, why, never_blocked}], lifted, not_blocked, trouble}.
    #[arg(long)]
    json: bool,
    /// Configuration file, asked where no daemon runs. Default: /etc/slips/slips.yaml if it is there, else the built-in defaults.
    #[arg(short, long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    #[command(flatten)]
    place: Where,
}

/// What came of it, as JSON.
#[derive(Serialize)]
struct Told {
    /// Whether a daemon did it; else it takes it over when it starts.
    daemon: bool,
    #[serde(flatten)]
    now: AllowedNow,
}

/// Where the list of the daemon is.
const PATH: &str = "/v1/whitelist/allowed";

pub(super) fn run(options: &Allow) -> Result<(), Failure> {
    let asked = match (options.list, options.remove) {
        (true, _) => list(options),
        (_, true) => remove(options),
        _ => add(options),
    };
    let told = match asked {
        Ok(now) => Told { daemon: true, now },
        Err(Unanswered::NoDaemon) => alone(options)?,
        Err(error) => return Err(failure(&options.place.client(), &error)),
    };
    if options.json {
        print_object(&told)?;
    } else {
        print_out(&lines(options, &told))?;
    }
    match told.now.trouble.len() {
        0 => Ok(()),
        count => Err(Failure::new(Exit::TryAgain, format!("{count} things could not be done at once"))),
    }
}

fn rules_only(rules: Vec<Allowed>) -> AllowedNow {
    AllowedNow { rules, lifted: Vec::new(), not_blocked: Vec::new(), trouble: Vec::new() }
}

fn list(options: &Allow) -> Result<AllowedNow, Unanswered> {
    options.place.client().get(PATH).map(rules_only)
}

fn add(options: &Allow) -> Result<AllowedNow, Unanswered> {
    let wish = serde_json::to_string(&wish(options)).map_err(|error| Unanswered::Io(error.into()))?;
    options.place.client().change("POST", PATH, &wish)
}

fn remove(options: &Allow) -> Result<AllowedNow, Unanswered> {
    let client = options.place.client();
    let listed: Vec<Allowed> = client.get(PATH)?;
    let is_listed = |what: &&String| {
        let is =
            |what: What| listed.iter().any(|rule| format!("{} {}", rule.of, rule.value) == what.to_string());
        What::named(what).is_ok_and(is)
    };
    // What is not there comes first: it is refused, and nothing is taken out.
    let mut named: Vec<(Option<String>, &String)> = Vec::new();
    for what in &options.what {
        // Twice the same is once.
        let is = What::named(what).ok().map(|what| what.to_string());
        if is.is_none() || !named.iter().any(|(other, _)| *other == is) {
            named.push((is, what));
        }
    }
    let (there, absent): (Vec<&String>, Vec<&String>) =
        named.into_iter().map(|(_, what)| what).partition(is_listed);
    let mut gone = Vec::new();
    for what in absent.into_iter().chain(there) {
        let path = format!("{PATH}/{}", in_path(what));
        gone.extend(client.change::<Vec<Allowed>>("DELETE", &path, "")?);
    }
    Ok(rules_only(gone))
}

fn wish(options: &Allow) -> Wish {
    Wish {
        what: options.what.clone(),
        seconds: options.term.map(|term| term.0.as_secs()),
        why: options.why.clone(),
        direction: options.direction,
        ignored: options.ignore,
        wide: options.wide,
    }
}

/// Without a daemon that can be asked over HTTP: the file is written here. One whose API could not be opened still lifts blocks, and sees the
/// file by itself.
fn alone(options: &Allow) -> Result<Told, Failure> {
    let files = Files::of(&installed_config(options.config.as_deref())?);
    let book = files.allowed();
    let home = book.path().parent().unwrap_or(book.path());
    if !options.list && home.metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        let what = format!(
            "there is no {}: no daemon has run here yet; put the rule into {}",
            home.display(),
            files.named().display()
        );
        return Err(Failure::new(Exit::NoInput, what));
    }
    let daemon = !matches!(control::ask(&Ask::Status), Err(Unasked::NoDaemon | Unasked::Stranger(_)));
    let mut told = Told { daemon, now: rules_only(Vec::new()) };
    if options.list {
        told.now.rules = book.list()?;
        return Ok(told);
    }
    if options.remove {
        told.now.rules = book.remove(&options.what, &files)?;
        return Ok(told);
    }
    let (nets, rules) = book.add(&wish(options), &files)?;
    told.now.rules = rules;
    // Who is not there blocks nobody; what the kernel still has of a former one ends by itself.
    for net in nets.into_iter().filter(|_| daemon) {
        match control::ask(&Ask::Unblock(net)) {
            Ok(Ok(_)) => told.now.lifted.push(net.to_string()),
            Ok(Err(why)) if why == control::not_blocked(net) => {
                told.now.not_blocked.push(net.to_string());
            }
            Ok(Err(why)) => told.now.trouble.push(format!("{net}: {why}")),
            Err(Unasked::NoDaemon | Unasked::Stranger(_)) => {
                told.daemon = false;
                return Ok(told);
            }
            Err(Unasked::Io(error)) => told.now.trouble.push(format!("{net}: {error}")),
        }
    }
    Ok(told)
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::File(error) => error.into(),
            Refused::Wrong(why) | Refused::Absent(why) => Self::new(Exit::Data, why),
        }
    }
}

fn lines(options: &Allow, told: &Told) -> String {
    let mut text = String::new();
    for rule in &told.now.rules {
        let term = rule.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
        let why = if rule.why.is_empty() { String::new() } else { format!(" # {}", escape(&rule.why)) };
        let name = format!("{} {}", rule.of, escape(&rule.value));
        let how = format!("{},{}", rule.direction, rule.ignored);
        text += &match (options.list, options.remove) {
            (true, _) => format!("{name} ({how}){term}{why}\n"),
            (_, true) => format!("{name} counts again\n"),
            _ => {
                let lifted = if told.now.lifted.contains(&rule.value) {
                    "; its block is lifted"
                } else if told.now.not_blocked.contains(&rule.value) {
                    "; it was not blocked"
                } else if rule.never_blocked {
                    "; a block of it may stand, `slips firewall list` tells"
                } else {
                    ""
                };
                format!("{name} is left alone ({how}){term}{lifted}\n")
            }
        };
    }
    if options.list && told.now.rules.is_empty() {
        text += "nothing is left alone by `slips allow`\n";
    }
    for trouble in &told.now.trouble {
        text += &format!("{}\n", escape(trouble));
    }
    if !told.daemon && !options.list {
        text += "no slips daemon runs here; it holds from its start on\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        allow: Allow,
    }

    #[test]
    fn that_something_was_not_blocked_is_said_where_the_daemon_said_so_only() {
        let line = Line::command().get_matches_from(["allow", "192.0.2.7"]);
        let options = Line::from_arg_matches(&line).expect("arguments").allow;
        let rule = Allowed {
            of: "ip".into(),
            value: "192.0.2.7".into(),
            direction: "both".into(),
            ignored: "alerts".into(),
            until: None,
            why: String::new(),
            never_blocked: true,
        };
        let mut told = Told { daemon: true, now: rules_only(vec![rule]) };
        told.now.trouble.push("192.0.2.7: the responder does not answer".into());
        let text = lines(&options, &told);
        assert!(text.contains("a block of it may stand") && !text.contains("was not blocked"), "{text}");
        told.now.trouble.clear();
        told.now.not_blocked.push("192.0.2.7".into());
        assert!(lines(&options, &told).contains("; it was not blocked"));
        told.now.lifted.append(&mut told.now.not_blocked);
        assert!(lines(&options, &told).contains("; its block is lifted"));
    }
}
