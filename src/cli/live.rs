//! `slips status` and `slips watch`: what only the running daemon knows.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use slips_store::render::escape;

use super::{Exit, Failure, firewall, print_object, print_out};
use crate::control::api::types::{Mode, Status};
use crate::control::client::{Client, Event, Unanswered};
use crate::control::{self, Ask};
use crate::export;

/// Where the running daemon is asked.
#[derive(Args, Debug)]
pub(super) struct Where {
    /// The socket of the control API. Default: $SLIPS_CONTROL, else /run/slips/control.sock.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl Where {
    pub(super) fn client(&self) -> Client {
        let named = self.control.clone().or_else(|| std::env::var_os("SLIPS_CONTROL").map(PathBuf::from));
        Client::new(named.unwrap_or_else(|| SOCKET.into()))
    }
}

/// Where the configuration puts it.
const SOCKET: &str = "/run/slips/control.sock";
/// How long it is waited before the daemon is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// Prints how the daemon is, and how blocking stands.
pub(super) fn status(place: &Where, json: bool) -> Result<(), Failure> {
    let client = place.client();
    let told: Result<Status, _> = client.get("/v1/status");
    let blocking = match &told {
        Ok(_) => client.get_text("/v1/firewall").map_err(|error| failure(&client, &error)),
        // One that cannot open its socket may still be asked as ever.
        Err(_) => firewall::said(control::ask(&Ask::Status)),
    };
    let (told, mut blocking) = match (told, blocking) {
        (told, Ok(blocking)) => {
            (told.ok(), serde_json::from_str::<Value>(&blocking).map_err(Failure::software)?)
        }
        (Ok(told), Err(_)) => (Some(told), Value::Null),
        (Err(Unanswered::NoDaemon), Err(other)) => return Err(other),
        (Err(error), Err(_)) => return Err(failure(&client, &error)),
    };
    if json {
        if let Some(told) = &told {
            blocking["daemon"] = serde_json::to_value(told).map_err(Failure::software)?;
        }
        return print_object(&blocking);
    }
    let mut text = told.as_ref().map(lines).unwrap_or_default();
    if !blocking.is_null() {
        text += &firewall::status_lines(&blocking);
        text.push('\n');
    }
    print_out(&text)
}

/// Why there is no answer, as the command ends.
pub(super) fn failure(client: &Client, error: &Unanswered) -> Failure {
    let exit = match error {
        Unanswered::NoDaemon => Exit::NoInput,
        Unanswered::Forbidden | Unanswered::Stranger(_) | Unanswered::Refused(403, _) => Exit::Permission,
        Unanswered::Io(_) | Unanswered::Refused(500.., _) => Exit::Software,
        Unanswered::Refused(..) => Exit::Data,
    };
    Failure::new(exit, format!("{}: {error}", client.path().display()))
}

fn lines(told: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: String| text += &format!("{name:<12}{what}\n");
    let mode = match told.mode {
        _ if told.stands_by => "stands by: another daemon acts in its place",
        Mode::Enforce => "attackers are blocked",
        Mode::Monitor => "attackers are told of, not blocked",
    };
    line("slips", format!("{}, up for {}; {mode}", told.version, length(told.uptime_seconds)));
    if !told.healthy {
        line(
            "TROUBLE",
            match told.standing_still.as_slice() {
                [] => "blocking does not block".into(),
                parts => format!("stands still: {}", parts.join(", ")),
            },
        );
    }
    let watching =
        if told.watching.is_empty() { "no interface yet".into() } else { told.watching.join(", ") };
    line("watching", watching);
    if !told.inputs.is_empty() {
        line("inputs", told.inputs.clone());
    }
    line(
        "traffic",
        format!(
            "{} packets, {} flows, {} flows a second, {} ms behind",
            told.packets, told.flows, told.flows_per_second, told.lag_ms
        ),
    );
    line(
        "found",
        format!("{} alerts, {} blocks stand, {} refused", told.alerts, told.blocks, told.blocks_refused),
    );
    line("peers", format!("{} connected", told.peers));
    let tables = match told.memory.tables_percent {
        100 => String::new(),
        percent => format!("; tables use {percent} % of their size"),
    };
    let (used, limit) = (told.memory.used_bytes >> 20, told.memory.limit_bytes >> 20);
    line("memory", format!("{used} of {limit} MiB{tables}"));
    if told.overload.step > 0 {
        line("overload", format!("step {}: {}", told.overload.step, told.overload.what));
    }
    for (what, count) in &told.lost {
        line("lost", format!("{count} {what}"));
    }
    text
}

/// `3d 4h`, `4h 5m`, `5m 6s`.
fn length(secs: u64) -> String {
    let parts = [(secs / 86_400, "d"), (secs / 3600 % 24, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(parts.len() - 1);
    let told: Vec<String> =
        parts.iter().skip(first).take(2).map(|(count, unit)| format!("{count}{unit}")).collect();
    told.join(" ")
}

/// Follow what happens.
#[derive(Args, Debug)]
pub(super) struct Watch {
    /// What is followed, with commas between: alert, evidence, block, unblock, window, profile, flow.
    #[arg(long, value_name = "TOPICS", default_value = "alert,evidence,block,unblock")]
    topics: String,
    /// Print one JSON object a line: {event, id, data}. Gaps are events, too.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

/// Prints events as they happen, until the reader or the user has enough.
pub(super) fn watch(asked: &Watch) -> Result<(), Failure> {
    let client = asked.place.client();
    let mut last: Option<String> = None;
    let mut lost = false;
    loop {
        match client.follow(&asked.topics, last.as_deref()) {
            Ok(mut events) => {
                if std::mem::take(&mut lost) {
                    eprintln!("slips: the daemon answers again");
                }
                while let Ok(Some(event)) = events.next() {
                    last = event.id.clone().or(last);
                    if !show(&event, asked.json)? {
                        return Ok(());
                    }
                }
            }
            // While it restarts nobody may be there for a moment; who never was there is not waited for.
            Err(Unanswered::NoDaemon | Unanswered::Io(_) | Unanswered::Refused(503, _))
                if last.is_some() || lost => {}
            Err(error) => return Err(failure(&client, &error)),
        }
        if !std::mem::replace(&mut lost, true) {
            eprintln!("slips: the daemon is gone; waiting for it");
        }
        std::thread::park_timeout(AGAIN);
    }
}

/// Prints one; false when nobody reads any more.
fn show(event: &Event, json: bool) -> Result<bool, Failure> {
    let text = text_of(event, json, std::io::stdout().is_terminal())?;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::software(error)),
    }
}

fn text_of(event: &Event, json: bool, colours: bool) -> Result<String, Failure> {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    if json {
        let told = serde_json::json!({"event": event.name, "id": event.id, "data": data});
        return export::json(&told).map_err(Failure::software);
    }
    Ok(line_of(&event.name, &data, colours))
}

fn line_of(name: &str, data: &Value, colours: bool) -> String {
    let word = |key: &str| match &data[key] {
        Value::String(text) => escape(text).into_owned(),
        Value::Null => "-".into(),
        other => other.to_string(),
    };
    let text = match name {
        "alert" => format!(
            "{} {} in window {}: weight {}, confidence {}; {}",
            word("created"),
            word("attacker"),
            word("window"),
            number(&data["accumulated"]),
            number(&data["confidence"]),
            word("id"),
        ),
        "evidence" => format!(
            "{} {} {} ({}, {} times): {}",
            word("last_seen"),
            word("attacker"),
            word("kind"),
            word("level"),
            word("count"),
            word("description"),
        ),
        "block" => {
            let does = if data["enforced"] == true { "is blocked" } else { "would be blocked" };
            format!(
                "{} {does} until {} by {}: {}",
                word("net"),
                word("until"),
                word("source"),
                word("reason")
            )
        }
        "unblock" => format!("{} is no longer blocked: {}", word("net"), word("reason")),
        "window" => format!("{} window {} is over", word("at"), word("window")),
        "profile" => format!("{} {} was seen", word("at"), word("ip")),
        "flow" => format!(
            "{} {}:{} → {}:{} {} {} {}",
            word("start"),
            word("src"),
            word("src_port"),
            word("dst"),
            word("dst_port"),
            word("proto"),
            word("service"),
            word("state"),
        ),
        "gap" => match data["missed"].as_u64() {
            Some(missed) => format!("--- {missed} events are missing here ---"),
            None => "--- events are missing here ---".into(),
        },
        _ => escape(&data.to_string()).into_owned(),
    };
    let colour = match name {
        "alert" | "block" => "\x1b[31m",
        "evidence" | "gap" => "\x1b[33m",
        "unblock" => "\x1b[32m",
        _ => "",
    };
    match colours && !colour.is_empty() {
        true => format!("{colour}{name:<9}\x1b[0m{text}"),
        false => format!("{name:<9}{text}"),
    }
}

fn number(value: &Value) -> String {
    format!("{:.2}", value.as_f64().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_length_of_time_has_its_two_largest_parts() {
        assert_eq!([0, 59, 61, 3600, 100_000].map(length), ["0s", "59s", "1m 1s", "1h 0m", "1d 3h"]);
    }

    #[test]
    fn what_an_attacker_chose_forges_no_line_and_no_colour() {
        let line = line_of("evidence", &json!({"description": "\x1b[2J\nalert 192.0.2.1"}), false);
        assert!(!line.contains(['\x1b', '\n']), "{line}");
        let data = json!({"description": "\u{9b}2J\u{7f}\u{202e}"});
        let event = Event { name: "evidence".into(), id: Some("1".into()), data: data.to_string() };
        for json in [true, false] {
            let text = text_of(&event, json, false).expect("a text");
            assert!(!text.contains(['\u{9b}', '\u{7f}', '\u{202e}']), "{text:?}");
        }
        let back: Value = serde_json::from_str(&text_of(&event, true, true).expect("JSON")).expect("JSON");
        assert_eq!(back["data"], data);
        assert!(line_of("gap", &json!({"missed": 7}), false).contains("7 events"));
        assert!(line_of("gap", &json!({"missed": null}), true).contains("\x1b[33m"));
    }
}
