//! The connection with Redis and when it is tried anew.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use redis::{Arg, Cmd, Pipeline, RedisError, RedisResult, Value};
use slips_store::redis::{Link, Patience, Server};

use crate::daemon::clocks;
use crate::daemon::fleet::WRONG_TYPE;

/// A lost connection is tried again after so long, twice as long each time.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// Commands that are sent together.
const TOGETHER: usize = 512;

/// What became of commands.
pub enum Sent {
    All,
    /// All were answered, and one at least so.
    Refused(String),
    /// Under these keys is something of another type than what belongs there.
    Strange(BTreeSet<String>),
    /// The connection is over.
    Broken(RedisError),
}

/// See the module.
pub struct Line {
    server: Server,
    link: Option<Link>,
    next: Duration,
    pause: Duration,
    longest: Duration,
}

impl Line {
    /// Without a connection yet.
    pub fn new(server: Server) -> Self {
        Self { server, link: None, next: Duration::ZERO, pause: FIRST, longest: LONGEST }
    }

    /// Tries again after this time at the latest.
    #[cfg(test)]
    pub const fn try_within(&mut self, longest: Duration) {
        self.longest = longest;
    }

    pub fn is_up(&self) -> bool {
        self.link.is_some()
    }

    /// When it is tried to connect; none while there is a connection.
    pub fn next_try(&self) -> Option<Duration> {
        self.link.is_none().then_some(self.next)
    }

    /// Connects, if there is no connection and it is time.
    pub fn reach(&mut self, now: Duration) -> Option<RedisResult<()>> {
        if self.link.is_some() || now < self.next {
            return None;
        }
        let opened = Link::open(&self.server, Patience::default(), clocks::steady);
        Some(match opened {
            Ok(link) => {
                self.link = Some(link);
                Ok(())
            }
            Err(error) => {
                self.later();
                Err(error)
            }
        })
    }

    /// Ends the connection, until there is to be one again.
    pub fn let_go(&mut self) {
        self.link = None;
        self.next = Duration::ZERO;
    }

    fn later(&mut self) {
        self.link = None;
        self.next = clocks::steady().saturating_add(self.pause);
        self.pause = (self.pause * 2).min(self.longest);
    }

    /// Sends commands and takes the answers. Without a connection they are lost.
    pub fn send(&mut self, commands: &mut Vec<Cmd>) -> Sent {
        let mut why = None;
        let mut strange = BTreeSet::new();
        // A transaction may begin with some commands and end with the next.
        let mut began: Option<String> = None;
        while !commands.is_empty() {
            let Some(link) = &mut self.link else {
                commands.clear();
                break;
            };
            let rest = commands.split_off(commands.len().min(TOGETHER));
            let mut together = Pipeline::with_capacity(TOGETHER);
            for command in std::mem::replace(commands, rest) {
                together.add_command(command);
            }
            match link.run(&together) {
                Ok(answers) => {
                    let mut key = began.as_deref();
                    for (command, answer) in together.cmd_iter().zip(&answers) {
                        key = key_of(command).or(key);
                        match (refusal(answer), key) {
                            (Some(error), Some(key)) if error.starts_with(WRONG_TYPE) => {
                                strange.extend((strange.len() < TOGETHER).then(|| key.to_owned()));
                            }
                            (Some(error), _) => drop(why.get_or_insert(error)),
                            (None, _) => {}
                        }
                    }
                    began = key.map(str::to_owned);
                    // One that takes nothing is no reason to come back soon.
                    self.pause = FIRST;
                }
                Err(error) => {
                    commands.clear();
                    self.later();
                    return Sent::Broken(error);
                }
            }
        }
        match why {
            Some(why) => Sent::Refused(why),
            None if strange.is_empty() => Sent::All,
            None => Sent::Strange(strange),
        }
    }

    /// Asks one thing.
    pub fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        let Some(link) = &mut self.link else {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        };
        let answer = command.query(link);
        if !link.is_usable() {
            self.later();
        }
        answer
    }
}

/// The key that a command is about. What ends a transaction is about the one before.
fn key_of(command: &Cmd) -> Option<&str> {
    match command.args_iter().nth(1) {
        Some(Arg::Simple(key)) => std::str::from_utf8(key).ok(),
        _ => None,
    }
}

/// What was refused, in a transaction as outside of one.
fn refusal(answer: &Value) -> Option<String> {
    match answer {
        Value::ServerError(error) => Some(
            format!("{} {}", error.code(), error.details().unwrap_or_default()).chars().take(200).collect(),
        ),
        Value::Array(answers) => answers.iter().find_map(refusal),
        _ => None,
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)
    }
}
