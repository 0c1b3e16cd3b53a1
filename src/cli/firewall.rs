//! `slips firewall`: the blocks as the kernel has them. Works without the daemon.

use serde::Serialize;
use slips_firewall::{flush_all, list_all};

use super::{Exit, Failure, FirewallCommand};
use crate::control::{self, Answer, Ask, Unasked};

#[derive(Serialize)]
struct Line {
    net: String,
    seconds_left: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

pub(super) fn run(command: &FirewallCommand) -> Result<(), Failure> {
    match command {
        FirewallCommand::List { json } => list(*json),
        FirewallCommand::Flush => match control::ask(&Ask::Flush) {
            // Without a daemon nobody owns the table. A stranger who took the daemon's name must not keep blocks standing.
            Err(Unasked::NoDaemon | Unasked::Stranger(_)) => {
                flush_all().map_err(failure)?;
                println!("nothing of slips is left in the firewall");
                Ok(())
            }
            asked => answer(asked),
        },
    }
}

/// `slips unblock` and `slips block`: the daemon does it, so that its book and the kernel stay equal.
pub(super) fn ask_daemon(ask: &Ask) -> Result<(), Failure> {
    answer(control::ask(ask))
}

fn answer(asked: Result<Answer, Unasked>) -> Result<(), Failure> {
    match asked {
        Ok(Ok(text)) => {
            println!("{text}");
            Ok(())
        }
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
        })
        .collect();
    if json {
        println!("{}", serde_json::to_string(&lines).map_err(Failure::software)?);
        return Ok(());
    }
    if lines.is_empty() {
        println!("nothing is blocked");
    }
    for line in lines {
        println!("{:<43} {:>8} s left  {}", line.net, line.seconds_left, line.reason);
    }
    Ok(())
}

fn failure(error: slips_firewall::Error) -> Failure {
    let exit = if nix::unistd::geteuid().is_root() { Exit::Software } else { Exit::Permission };
    Failure { exit, error: anyhow::Error::from(error) }
}
