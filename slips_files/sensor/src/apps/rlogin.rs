//! rlogin (RFC 1282) and rsh: names cross the network in the first bytes; who is trusted needs no password.

use slips_core::event::{Event, Login};
use slips_core::exchange::{App, AuthOutcome};

use super::prompts::Prompts;
use super::{Attempt, Dialogue, Request, short};
use crate::emit;
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// Longest head, with a command to run.
const MAX_HEAD: usize = 512;

/// A session of either.
#[derive(Debug)]
pub(crate) struct Remote {
    app: App,
    head: Vec<u8>,
    is_read: bool,
    /// rsh: what the head said, until the server answers.
    asked: Option<(Login, String)>,
    prompts: Prompts,
}

/// The fields that zero bytes end, as many as there must be before anything else is said.
fn fields<const N: usize>(head: &[u8]) -> Option<[&[u8]; N]> {
    let mut ended = head.split(|byte| *byte == 0);
    let found = std::array::from_fn(|_| ended.next().unwrap_or(&[]));
    ended.next().is_some().then_some(found)
}

fn is_name(name: &[u8]) -> bool {
    (1..=32).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic)
}

/// Whether a client opens rlogin: an empty field, two names, a terminal with its speed.
pub(crate) fn is_rlogin(payload: &[u8]) -> bool {
    let head = payload.get(..MAX_HEAD).unwrap_or(payload);
    fields::<4>(head).is_some_and(|[empty, client, server, terminal]| {
        empty.is_empty()
            && is_name(client)
            && is_name(server)
            && terminal.contains(&b'/')
            && is_name(terminal)
    })
}

/// Whether a client opens rsh: a port for errors, two names, a command.
pub(crate) fn is_rsh(payload: &[u8]) -> bool {
    let head = payload.get(..MAX_HEAD).unwrap_or(payload);
    fields::<4>(head).is_some_and(|[port, client, server, command]| {
        !is_rlogin(payload)
            && port.len() <= 5
            && port.iter().all(u8::is_ascii_digit)
            && is_name(client)
            && is_name(server)
            && !command.is_empty()
            && command.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\n'))
    })
}

impl Remote {
    pub(crate) fn rlogin() -> Self {
        Self::of(App::Rlogin)
    }

    pub(crate) fn rsh() -> Self {
        Self::of(App::Rsh)
    }

    fn of(app: App) -> Self {
        Self { app, head: Vec::new(), is_read: false, asked: None, prompts: Prompts::default() }
    }

    /// Bytes of the client until the head is complete; what is typed behind it.
    fn read_head<'a>(&mut self, bytes: &'a [u8], cx: &mut Cx<'_>) -> &'a [u8] {
        for (nth, byte) in bytes.iter().enumerate() {
            if self.head.len() >= MAX_HEAD {
                return &[];
            }
            self.head.push(*byte);
            if *byte == 0
                && let Some(head) = fields::<4>(&self.head)
            {
                let [_, client, server, last] = head.map(short);
                self.is_read = true;
                self.head.clear();
                if self.app == App::Rlogin {
                    self.prompts.named(server, client);
                } else {
                    let login = Login {
                        about: emit::about(cx.track, cx.at),
                        service: self.app.name().to_owned(),
                        success: false,
                        confused: false,
                        user: server,
                        client_user: client,
                        password_seen: false,
                        failures: 0,
                    };
                    self.asked = Some((login, last));
                }
                return bytes.get(nth + 1..).unwrap_or(&[]);
            }
        }
        &[]
    }

    /// rsh: the first byte of the answer tells.
    fn answered(&mut self, outcome: AuthOutcome, reason: String, cx: &mut Cx<'_>) {
        let Some((mut login, command)) = self.asked.take() else { return };
        login.success = outcome == AuthOutcome::Succeeded;
        login.confused = outcome == AuthOutcome::Unknown;
        let user = login.user.clone();
        cx.tell(Event::Login(Box::new(login)));
        Attempt::of(user.clone(), "trust").tell(self.app, outcome, reason, cx);
        let request = Request { action: "execute", object: command, subject: user, ..Request::default() };
        request.tell(self.app, outcome.name().to_owned(), cx);
    }
}

impl Dialogue for Remote {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        match dir {
            Dir::Orig => {
                let rest = if self.is_read { bytes } else { self.read_head(bytes, cx) };
                self.prompts.typed(self.app, rest, cx);
            }
            Dir::Resp if self.app == App::Rsh => match bytes {
                [0, ..] => self.answered(AuthOutcome::Succeeded, String::new(), cx),
                [_, rest @ ..] => self.answered(AuthOutcome::Failed, short(rest.trim_ascii()), cx),
                [] => {}
            },
            Dir::Resp => self.prompts.shown(self.app, bytes, cx),
        }
        let is_over =
            self.prompts.is_over() || (self.app == App::Rsh && self.is_read && self.asked.is_none());
        if is_over { Next::Done } else { Next::More }
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.answered(AuthOutcome::Unknown, String::new(), cx);
        self.prompts.finish(self.app, cx);
    }

    fn held(&self) -> usize {
        self.head.len() + self.prompts.held()
    }

    fn reset(&mut self) {
        *self = Self::of(self.app);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_datagrams};
    use super::{is_rlogin, is_rsh};
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn rlogin_with_and_without_a_password() {
        let head = b"\0bob\0root\0xterm/38400\0";
        assert!(is_rlogin(head) && !is_rsh(head) && !is_rlogin(b"\0bob\0root\0xterm"));
        let talk: [(_, &[u8]); 7] = [
            (Orig, head),
            (Resp, b"\0Password: "),
            (Orig, b"x\r"),
            (Resp, b"\r\nLogin incorrect\r\nlogin: "),
            (Orig, b"bob\r"),
            (Resp, b"\r\nPassword: "),
            (Orig, b"y\r"),
        ];
        check(
            Service::Rlogin,
            &talk,
            &["auth root@/ password failed  clear", "auth bob@/ password unknown  clear"],
        );
        check(
            Service::Rlogin,
            &[(Orig, head), (Resp, b"\0Last login: never\r\n# ")],
            &["auth root@/  succeeded "],
        );
    }

    #[test]
    fn rsh_runs_a_command_or_is_refused() {
        let head = b"1022\0bob\0root\0uname -a\0";
        assert!(is_rsh(head) && !is_rlogin(head));
        check(
            Service::Rsh,
            &[(Orig, b"1022\0"), (Orig, b"bob\0root\0uname -a\0"), (Resp, b"\0Linux")],
            &["auth root@/ trust succeeded ", "op execute uname -a root  succeeded"],
        );
        check_datagrams(
            Service::Rsh,
            &[(Orig, head), (Resp, b"\x01Permission denied.\n")],
            &["auth root@/ trust failed Permission denied.", "op execute uname -a root  failed"],
        );
    }
}
