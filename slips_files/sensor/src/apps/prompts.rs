//! A login at a terminal: prompts, what is typed, and what the server says to it. Shared by telnet and rlogin.

use slips_core::event::{Event, Login};
use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, short};
use crate::emit;
use crate::reader::Cx;

/// Longest line of a server, and longest typed line, that are kept.
const MAX_TAIL: usize = 256;
const MAX_TYPED: usize = 128;
/// Bytes of both sides without a verdict after which nobody logs in here any more.
const MAX_SILENCE: usize = 64 << 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Silent,
    /// The server asked for the user's name.
    User,
    /// The server asked for the password.
    Password,
    /// The server has to say whether it lets the user in.
    Verdict,
}

/// What is known of the login.
#[derive(Debug, Default)]
pub(crate) struct Prompts {
    /// The server's current line.
    tail: Vec<u8>,
    /// In a sequence that moves the cursor or the colours.
    in_escape: bool,
    typed: Vec<u8>,
    after_return: bool,
    stage: Stage,
    user: String,
    pub(crate) client_user: String,
    password_seen: bool,
    /// The password was asked for in this attempt.
    was_asked: bool,
    failures: u32,
    /// Lines that were typed since the password.
    commands: u32,
    silence: usize,
    is_over: bool,
}

const USER_PROMPTS: [&str; 7] =
    ["login:", "username:", "user name:", "user:", "userid:", "account:", "logon:"];
const PASSWORD_PROMPTS: [&str; 4] = ["password", "passwd", "passcode", "passphrase"];
const WELCOMES: [&str; 6] =
    ["last login", "last failed login", "last successful", "welcome", "login successful", "logged in"];
const REFUSALS: [&str; 11] = [
    "incorrect",
    "invalid",
    "failed",
    "failure",
    "denied",
    "bad password",
    "bad login",
    "unknown user",
    "not allowed",
    "wrong",
    "refused",
];

/// Whether a line of a server asks for a user's name.
pub(crate) fn is_user_prompt(line: &str) -> bool {
    let line = line.trim_end();
    USER_PROMPTS.iter().any(|prompt| line.ends_with(prompt)) && !line.ends_with("last login:")
}

fn is_shell_prompt(line: &str) -> bool {
    // a lone `%` begins the messages of some routers
    line.ends_with(['$', '#', '>']) || (line.ends_with('%') && line.len() > 1)
}

fn is_password_prompt(line: &str) -> bool {
    line.ends_with(':') && PASSWORD_PROMPTS.iter().any(|prompt| line.contains(prompt))
}

impl Prompts {
    /// The user is known from elsewhere and needs to be let in.
    pub(crate) fn named(&mut self, user: String, client_user: String) {
        (self.user, self.client_user, self.stage) = (user, client_user, Stage::Verdict);
    }

    /// It is decided, or nobody logs in here.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    pub(crate) fn held(&self) -> usize {
        self.tail.len() + self.typed.len()
    }

    fn watch(&mut self, app: App, count: usize, cx: &mut Cx<'_>) {
        self.silence += count;
        if self.silence > MAX_SILENCE {
            self.finish(app, cx);
        }
    }

    /// What the server shows, up to where it waits.
    pub(crate) fn shown(&mut self, app: App, bytes: &[u8], cx: &mut Cx<'_>) {
        self.show(app, bytes, cx);
        self.judge_prompt(app, cx);
    }

    /// What the server shows, of which more is at hand.
    pub(crate) fn show(&mut self, app: App, bytes: &[u8], cx: &mut Cx<'_>) {
        self.watch(app, bytes.len(), cx);
        if self.is_over {
            return;
        }
        for byte in bytes {
            match *byte {
                b'\r' | b'\n' => {
                    self.judge_line(app, cx);
                    self.tail.clear();
                    self.in_escape = false;
                }
                0x1b => self.in_escape = true,
                letter if self.in_escape => {
                    self.in_escape = letter == b'[' || !(0x40..=0x7e).contains(&letter)
                }
                letter if letter >= b' ' && self.tail.len() < MAX_TAIL => self.tail.push(letter),
                _ => {}
            }
            if self.is_over {
                return;
            }
        }
    }

    /// What the user types.
    pub(crate) fn typed(&mut self, app: App, bytes: &[u8], cx: &mut Cx<'_>) {
        self.watch(app, bytes.len(), cx);
        if self.is_over {
            return;
        }
        for byte in bytes {
            let is_rest = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match *byte {
                b'\n' | 0 if is_rest => {}
                b'\r' | b'\n' => self.line_typed(app, cx),
                0x08 | 0x7f => {
                    self.typed.pop();
                }
                0x03 | 0x15 => self.typed.clear(),
                letter if letter >= b' ' && self.typed.len() < MAX_TYPED => self.typed.push(letter),
                _ => {}
            }
            if self.is_over {
                return;
            }
        }
    }

    fn line_typed(&mut self, app: App, cx: &mut Cx<'_>) {
        match self.stage {
            Stage::User if !self.typed.is_empty() => {
                self.user = short(&self.typed);
                (self.was_asked, self.password_seen, self.commands) = (false, false, 0);
                self.stage = Stage::Verdict;
            }
            Stage::Password => {
                self.password_seen = !self.typed.is_empty();
                (self.was_asked, self.commands) = (true, 0);
                self.stage = Stage::Verdict;
            }
            Stage::Verdict if !self.typed.is_empty() => {
                self.commands += 1;
                // who goes on to type, and is not asked again, is in
                if self.commands > 1 && self.was_asked {
                    self.decide(app, true, cx);
                }
            }
            _ => {}
        }
        self.typed.clear();
    }

    fn judge_line(&mut self, app: App, cx: &mut Cx<'_>) {
        if self.stage != Stage::Verdict || self.tail.is_empty() {
            return;
        }
        let line = String::from_utf8_lossy(&self.tail).to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
        if has(&WELCOMES) {
            self.decide(app, true, cx);
        } else if has(&REFUSALS) {
            self.decide(app, false, cx);
        }
    }

    /// The server's line is not ended: it may wait for an answer.
    pub(crate) fn judge_prompt(&mut self, app: App, cx: &mut Cx<'_>) {
        if self.is_over {
            return;
        }
        let line = String::from_utf8_lossy(&self.tail).trim_end().to_ascii_lowercase();
        if is_user_prompt(&line) {
            if self.stage == Stage::Verdict && self.was_asked {
                self.decide(app, false, cx);
            }
            if self.stage != Stage::User {
                self.stage = Stage::User;
                self.typed.clear();
            }
        } else if is_password_prompt(&line) {
            if self.stage == Stage::Verdict && self.was_asked {
                self.decide(app, false, cx);
            }
            if self.stage != Stage::Password {
                self.stage = Stage::Password;
                self.typed.clear();
            }
        } else if self.stage == Stage::Verdict && is_shell_prompt(&line) {
            self.decide(app, true, cx);
        }
    }

    fn decide(&mut self, app: App, success: bool, cx: &mut Cx<'_>) {
        self.tell(app, if success { AuthOutcome::Succeeded } else { AuthOutcome::Failed }, cx);
        self.silence = 0;
        self.was_asked = false;
        self.is_over = success;
        self.failures = self.failures.saturating_add(u32::from(!success));
        self.stage = Stage::Silent;
    }

    /// The conversation is over: an attempt without a verdict is told as such.
    pub(crate) fn finish(&mut self, app: App, cx: &mut Cx<'_>) {
        if self.stage == Stage::Verdict && !self.is_over {
            self.tell(app, AuthOutcome::Unknown, cx);
        }
        self.is_over = true;
    }

    fn tell(&self, app: App, outcome: AuthOutcome, cx: &mut Cx<'_>) {
        let login = Login {
            about: emit::about(cx.track, cx.at),
            service: app.name().to_owned(),
            success: outcome == AuthOutcome::Succeeded,
            confused: outcome == AuthOutcome::Unknown,
            user: self.user.clone(),
            client_user: self.client_user.clone(),
            password_seen: self.password_seen,
            failures: self.failures,
        };
        cx.tell(Event::Login(Box::new(login)));
        let method = if self.was_asked { "password" } else { "" };
        let attempt =
            Attempt { clear_password: self.password_seen, ..Attempt::of(self.user.clone(), method) };
        attempt.tell(app, outcome, String::new(), cx);
    }
}
