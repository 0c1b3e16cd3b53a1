//! `slips peers`: who belongs to this router's network. Everything but the reports works without the daemon; a running one is
//! told to read again.

mod args;
mod edit;
mod invites;
mod lists;
mod org;
mod show;

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use slips_p2p::identity::NodeId;
use slips_p2p::moment::Moment;

pub(super) use args::Peers;
use args::{Command, Common, Network};

use super::{Exit, Failure, installed_config};
use crate::config::Config;
use crate::control::{self, Answer, Ask, PeersAsk, Unasked};
use crate::daemon::sinks::wall_clock;
use crate::export;
use crate::peers::table::Table;
use crate::peers::{State, Store};

type Done = Result<(), Failure>;

pub(super) fn run(options: Peers) -> Done {
    let command = match options.command {
        Command::Org { command } if !org::needs_state(&command) => {
            return org::offline(command, options.common.json);
        }
        other => other,
    };
    let desk = Desk::new(options.common)?;
    match command {
        Command::Id { new } => show::id(&desk, new),
        Command::List => show::list(&desk),
        Command::Add { who, fields } => edit::add(&desk, &who, fields),
        Command::Remove { who } => edit::remove(&desk, &who),
        Command::Invite { life, addresses, name, group } => {
            invites::invite(&desk, life.0, addresses, name, group)
        }
        Command::Join { line, wait } => invites::join(&desk, line, wait.0),
        Command::Confirm { who, words, yes } => edit::confirm(&desk, &who, words.as_deref(), yes),
        Command::Trust { who, weight, clear } => edit::trust(&desk, &who, weight, clear),
        Command::Reports { about } => show::reports(&desk, about),
        Command::Network { command } => match command {
            Network::Show => invites::show_network(&desk),
            Network::Set => invites::set_network(&desk),
            Network::New => invites::new_network(&desk),
        },
        Command::Leave { yes } => invites::leave(&desk, yes),
        Command::Lists => lists::list(&desk),
        Command::Follow { who, list, policy } => lists::follow(&desk, &who, list, policy),
        Command::Unfollow { who, list } => lists::unfollow(&desk, &who, &list),
        Command::Publish { list, file: Some(file), .. } => lists::publish(&desk, &list, &file),
        Command::Publish { list, .. } => lists::withdraw(&desk, &list),
        Command::Check => show::check(&desk),
        Command::Org { command } => org::run(&desk, command),
    }
}

/// What every command works with.
struct Desk {
    store: Store,
    config: Config,
    json: bool,
    now: Moment,
}

impl Desk {
    fn new(common: Common) -> Result<Self, Failure> {
        let config = installed_config(common.config.as_deref())?;
        let store = Store::new(common.directory.unwrap_or_else(|| config.p2p_directory()), None);
        Ok(Self { store, config, json: common.json, now: now() })
    }

    /// Changes the state, and tells a running daemon.
    fn change<T>(&self, work: impl FnOnce(&mut State) -> Result<T, Failure>) -> Result<T, Failure> {
        let done = self.store.change(self.now, work)?;
        self.reload();
        Ok(done)
    }

    /// Tells a running daemon to read again. Without one the change waits on disk; that is no failure of the command.
    fn reload(&self) {
        match control::ask(&Ask::Peers(PeersAsk::Reload)) {
            Ok(Ok(_)) | Err(Unasked::NoDaemon) => {}
            other => {
                let why = said(other).err().map(|failure| failure.to_string()).unwrap_or_default();
                eprintln!("slips: the running daemon did not take this over: {why}");
            }
        }
    }

    /// Prints the JSON or the text.
    fn say(&self, json: &Value, text: impl FnOnce() -> String) -> Done {
        let text = if self.json { export::json(json).map_err(Failure::software)? } else { text() };
        let mut out = std::io::stdout().lock();
        let written = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
        written.map_err(Failure::software)
    }
}

#[expect(clippy::cast_sign_loss, reason = "a clock before 1970 is no clock")]
fn now() -> Moment {
    Moment((wall_clock() / 1000).max(0) as u64)
}

/// The answer of the daemon.
fn said(asked: Result<Answer, Unasked>) -> Result<String, Failure> {
    super::firewall::said(asked)
}

/// What a command line cannot mean.
fn wrong(text: impl Into<String>) -> Failure {
    Failure::new(Exit::Data, text.into())
}

/// The peer that is meant by a name, an id, or the end of an id that only one has.
fn find_peer(table: &Table, who: &str) -> Result<NodeId, Failure> {
    let named = table.peers.iter().find(|row| row.name.as_ref().is_some_and(|name| name.as_str() == who));
    if let Some(row) = named {
        return Ok(row.id);
    }
    let ends: Vec<NodeId> = table.peers.iter().map(|row| row.id).filter(|id| is_end(id, who)).collect();
    match ends[..] {
        [id] => Ok(id),
        [] => {
            Err(wrong(format!("no peer is called `{}`; `slips peers list` shows them", who.escape_debug())))
        }
        _ => Err(wrong(format!("more than one peer's id ends with `{who}`"))),
    }
}

fn is_end(id: &NodeId, text: &str) -> bool {
    text.len() >= SHORT && text.is_ascii() && id.to_string().ends_with(text)
}

/// Letters at the end of an id by which people tell nodes apart; all begin alike.
const SHORT: usize = 8;

fn short(id: NodeId) -> String {
    let text = id.to_string();
    text.get(text.len().saturating_sub(SHORT)..).unwrap_or_default().to_owned()
}

/// A yes of whoever sits at the terminal; without a terminal nobody can say it.
fn agreed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "nobody can be asked here: repeat the command with --yes"));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(Failure::software)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Most bytes of what is read from standard input or a file that somebody else made.
const MOST: u64 = 4 << 20;

/// The text of a file, or of standard input.
fn text_of(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MOST + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MOST + 1).read_to_string(&mut text))
    };
    let shown = if path == Path::new("-") { PathBuf::from("standard input") } else { path.to_owned() };
    match read {
        Ok(_) if text.len() as u64 > MOST => Err(wrong(format!("{}: too large", shown.display()))),
        Ok(_) => Ok(text),
        Err(error) => {
            let exit = match error.kind() {
                std::io::ErrorKind::NotFound => Exit::NoInput,
                std::io::ErrorKind::PermissionDenied => Exit::Permission,
                std::io::ErrorKind::InvalidData => Exit::Data,
                _ => Exit::Software,
            };
            Err(Failure { exit, error: anyhow::Error::from(error).context(format!("{}", shown.display())) })
        }
    }
}
