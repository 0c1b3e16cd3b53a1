//! `slips firewall`: the blocks as the kernel has them. Works without the daemon.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use slips_firewall::{Origin, flush_all, list_all};
use slips_systemd::notify::Environment;

use super::table::{Cell, Column, Table};
use super::{Exit, Failure, FirewallCommand, print_object, print_out};
use crate::control::{self, Answer, Ask, Unasked};
use crate::daemon::restore::restore;

#[derive(Serialize)]
struct Line {
    net: String,
    seconds_left: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    by: &'static str,
    manner: &'static str,
}

pub(super) fn run(command: &FirewallCommand) -> Result<(), Failure> {
    match command {
        FirewallCommand::List { json } => list(*json),
        FirewallCommand::Status { json } => show(&Ask::Status, *json, status_lines),
        FirewallCommand::Explain { net, json } => show(&Ask::Explain(*net), *json, explain_lines),
        FirewallCommand::Count { net } => ask_daemon(&Ask::Count(*net)),
        FirewallCommand::Pause { for_ } => ask_daemon(&Ask::Pause(for_.0.as_secs())),
        FirewallCommand::Resume => ask_daemon(&Ask::Resume),
        FirewallCommand::SelfTest => ask_daemon(&Ask::SelfTest),
        FirewallCommand::Flush => match control::ask(&Ask::Flush) {
            // Without a daemon nobody owns the table. A stranger who took the daemon's name must not keep blocks standing.
            Err(Unasked::NoDaemon | Unasked::Stranger(_)) => {
                flush_all().map_err(failure)?;
                println!("nothing of slips is left in the firewall");
                Ok(())
            }
            asked => answer(asked),
        },
        FirewallCommand::Restore { config } => {
            let said = match control::ask(&Ask::Status) {
                Ok(_) => "the daemon runs and keeps the blocks itself".into(),
                Err(_) => restore(&super::installed_config(config.as_deref())?, &Environment::read())?,
            };
            println!("{said}");
            Ok(())
        }
    }
}

/// `slips unblock` and `slips block`: the daemon does it, so that its book and the kernel stay equal.
pub(super) fn ask_daemon(ask: &Ask) -> Result<(), Failure> {
    answer(control::ask(ask))
}

fn answer(asked: Result<Answer, Unasked>) -> Result<(), Failure> {
    println!("{}", said(asked)?);
    Ok(())
}

/// Asks for JSON and prints it, as it is or for people.
fn show(ask: &Ask, json: bool, lines: fn(&Value) -> String) -> Result<(), Failure> {
    let text = said(control::ask(ask))?;
    let value = serde_json::from_str(&text).map_err(Failure::software)?;
    if json {
        return print_object(&value);
    }
    println!("{}", lines(&value));
    Ok(())
}

pub(super) fn status_lines(status: &Value) -> String {
    let word = |key: &str| match &status[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut text = format!("mode        {}\nblocking    {}\n", word("mode"), word("blocking"));
    if let Some(left) = status["paused_seconds_left"].as_u64() {
        text += &format!("paused      for another {left} s\n");
    }
    text += &format!(
        "blocks      {} ({} on packets whose sender could be forged)\nprotected   {} networks\nrefused     {} blocks since the start\n",
        word("blocks"),
        word("unproven"),
        word("protected"),
        word("refused"),
    );
    let mut by_why: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for held in status["never_blocked"].as_array().into_iter().flatten() {
        let (net, why) = (held["net"].as_str().unwrap_or_default(), held["why"].as_str().unwrap_or_default());
        by_why.entry(why).or_default().push(net);
    }
    for (why, nets) in by_why {
        text += &format!("  {why}: {}\n", nets.join(", "));
    }
    text += "dropped     by       from it      forwarded    sent by this host (packets)";
    for by in Origin::ALL {
        let count = |way: &str| status["dropped"][by.name()][way]["packets"].as_u64().unwrap_or(0);
        text += &format!(
            "\n            {:<8} {:<12} {:<12} {}",
            by.name(),
            count("incoming"),
            count("forwarded"),
            count("outgoing")
        );
    }
    text
}

fn explain_lines(told: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let net = word(&told["net"]);
    let mut text = match told["left"].as_u64() {
        Some(left) => format!("{net} is blocked for another {left} s"),
        None => format!("{net} is not blocked"),
    };
    if let Some(why) = told["protected"].as_str() {
        text += &format!("\nand never will be: {why}");
    }
    for block in told["blocks"].as_array().into_iter().flatten() {
        text += &format!(
            "\n  {} since {} until {}, {} by {}: {}",
            word(&block["net"]),
            word(&block["from"]),
            word(&block["until"]),
            word(&block["manner"]),
            word(&block["source"]),
            word(&block["reason"]),
        );
        if let Some(alert) = block["alert"].as_str() {
            text += &format!("\n    alert {alert}, in alerts.json and flows.sqlite");
        }
    }
    if let Some(earlier) = told["earlier"].as_u64().filter(|earlier| *earlier > 0) {
        text += &format!("\n  blocked {earlier} times before");
    }
    text
}

pub(super) fn said(asked: Result<Answer, Unasked>) -> Result<String, Failure> {
    match asked {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(text)) => Err(Failure::new(Exit::Data, text)),
        Err(Unasked::NoDaemon) => Err(Failure::new(
            Exit::NoInput,
            "no slips daemon runs here; start it with `systemctl start slips` or `slips run`",
        )),
        Err(Unasked::Stranger(uid)) => Err(Failure::new(
            Exit::Permission,
            format!("what answers as slips runs as user {uid}, which is neither root nor the service's user"),
        )),
        Err(Unasked::Io(error)) => Err(Failure::software(
            anyhow::Error::from(error).context("the slips daemon cannot be talked with"),
        )),
    }
}

fn list(json: bool) -> Result<(), Failure> {
    let blocks = list_all().map_err(failure)?;
    let lines: Vec<Line> = blocks
        .into_iter()
        .map(|block| Line {
            net: block.net.to_string(),
            seconds_left: block.left.as_secs(),
            reason: block.reason,
            by: block.by.name(),
            manner: block.manner.name(),
        })
        .collect();
    if json {
        return print_object(&lines);
    }
    if lines.is_empty() {
        return print_out("nothing is blocked\n");
    }
    let mut table = Table::new([
        Column::whole("network"),
        Column::number("time left"),
        Column::whole("by"),
        Column::whole("how"),
        Column::text("why"),
    ]);
    for line in lines {
        let cells = [&line.net, &left(line.seconds_left), line.by, line.manner, &line.reason];
        table.row(cells.map(Cell::new));
    }
    print_out(&table.show())
}

/// `45s`, `9m 58s`, `23h 59m`, `6d 23h`.
fn left(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => format!("{}m {:02}s", secs / 60, secs % 60),
        3_600..86_400 => format!("{}h {:02}m", secs / 3_600, secs / 60 % 60),
        _ => format!("{}d {:02}h", secs / 86_400, secs / 3_600 % 24),
    }
}

fn failure(error: slips_firewall::Error) -> Failure {
    let exit = if nix::unistd::geteuid().is_root() { Exit::Software } else { Exit::Permission };
    Failure { exit, error: anyhow::Error::from(error) }
}

#[cfg(test)]
mod tests {
    use super::left;

    #[test]
    fn time_left_is_told_in_two_units() {
        for (secs, text) in
            [(0, "0s"), (59, "59s"), (598, "9m 58s"), (86_399, "23h 59m"), (604_799, "6d 23h")]
        {
            assert_eq!(left(secs), text);
        }
    }
}
