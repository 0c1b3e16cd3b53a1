//! Telnet (RFC 854): options are taken out of the text, of which a login is read.

use slips_core::exchange::App;

use super::prompts::Prompts;
use super::{Dialogue, short};
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// Bytes of an option's negotiation that are kept.
const MAX_OPTION: usize = 128;

const IAC: u8 = 255;
const SB: u8 = 250;
const SE: u8 = 240;

const AUTHENTICATION: u8 = 37;
const ENCRYPT: u8 = 38;
const NEW_ENVIRON: u8 = 39;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Text,
    Command,
    /// Behind WILL, WONT, DO or DONT.
    Option,
    Within,
    CommandWithin,
}

#[derive(Debug, Default)]
struct Half {
    place: Place,
    option: Vec<u8>,
}

/// A telnet session until somebody is logged in.
#[derive(Debug, Default)]
pub(crate) struct Telnet {
    sides: [Half; 2],
    prompts: Prompts,
    is_encrypted: bool,
}

impl Half {
    /// Text without options; negotiations that end go to `negotiated`.
    fn strip(&mut self, bytes: &[u8], mut text: impl FnMut(&[u8]), mut negotiated: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some((first, behind)) = rest.split_first() {
            let byte = *first;
            match self.place {
                Place::Text if byte != IAC => {
                    let end = rest.iter().position(|byte| *byte == IAC).unwrap_or(rest.len());
                    let (now, behind) = rest.split_at(end);
                    text(now);
                    rest = behind;
                    continue;
                }
                Place::Text => self.place = Place::Command,
                Place::Command => {
                    self.place = match byte {
                        SB => Place::Within,
                        251..=254 => Place::Option,
                        _ => Place::Text,
                    };
                    self.option.clear();
                }
                Place::Option => self.place = Place::Text,
                Place::Within if byte == IAC => self.place = Place::CommandWithin,
                Place::Within => self.keep(byte),
                Place::CommandWithin if byte == SE => {
                    self.place = Place::Text;
                    negotiated(&self.option);
                }
                Place::CommandWithin => {
                    self.keep(byte);
                    self.place = Place::Within;
                }
            }
            rest = behind;
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.option.len() < MAX_OPTION {
            self.option.push(byte);
        }
    }
}

/// The user whom a client names in an option, or that encryption begins.
fn client_user(option: &[u8]) -> Option<String> {
    match option {
        // IS, NAME
        [AUTHENTICATION, 3, name @ ..] => Some(short(name)),
        // IS or INFO, then variables: 0 or 3 before a name, 1 before its value
        [NEW_ENVIRON, 0 | 2, list @ ..] => list.split(|byte| matches!(byte, 0 | 3)).find_map(|variable| {
            let (name, value) = variable.split_at(variable.iter().position(|byte| *byte == 1)?);
            (name == b"USER").then(|| short(value.get(1..).unwrap_or(&[])))
        }),
        _ => None,
    }
}

impl Dialogue for Telnet {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let Self { sides, prompts, is_encrypted } = self;
        let Some(half) = sides.get_mut(dir as usize) else { return Next::Done };
        let (mut named, mut is_shown) = (None, false);
        half.strip(
            bytes,
            |text| match dir {
                Dir::Orig => prompts.typed(App::Telnet, text, cx),
                Dir::Resp => {
                    is_shown = true;
                    prompts.show(App::Telnet, text, cx);
                }
            },
            |option| {
                *is_encrypted |= option.starts_with(&[ENCRYPT, 3]);
                if dir == Dir::Orig && named.is_none() {
                    named = client_user(option);
                }
            },
        );
        // once, however many options cut the text
        if is_shown {
            self.prompts.judge_prompt(App::Telnet, cx);
        }
        if let Some(named) = named {
            self.prompts.client_user = named;
        }
        if self.is_encrypted {
            self.prompts.finish(App::Telnet, cx);
        }
        if self.prompts.is_over() { Next::Done } else { Next::More }
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.prompts.finish(App::Telnet, cx);
    }

    fn held(&self) -> usize {
        self.sides.iter().map(|half| half.option.len()).sum::<usize>() + self.prompts.held()
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use slips_core::event::Event;

    use super::super::testing::check;
    use crate::reader::testing::read;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn failures_are_counted_and_a_shell_is_a_success() {
        let talk: [(_, &[u8]); 13] = [
            (Resp, b"\xff\xfd\x18\xff\xfd\x27"),
            (Orig, b"\xff\xfb\x18\xff\xfb\x27\xff\xfa\x27\x00\x00USER\x01alice\xff\xf0"),
            (Resp, b"\r\nUbuntu\r\nbox login: "),
            (Orig, b"rooz\x7ft\r\0"),
            (Resp, b"root\r\nPassword: "),
            (Orig, b"toor\r\n"),
            (Resp, b"\r\n\r\nLogin incorrect\r\nbox login: "),
            (Orig, b"admin\r\0"),
            (Resp, b"admin\r\nPassword: "),
            (Orig, b"admin\r\0"),
            (Resp, b"\r\nLast login: Mon Jan 1 on pts/0\r\n\x1b[01;32m$ "),
            (Orig, b"id\r\0"),
            (Resp, b"uid=0\r\n$ "),
        ];
        check(
            Service::Telnet,
            &talk,
            &["auth root@/ password failed  clear", "auth admin@/ password succeeded  clear"],
        );
        let logins: Vec<_> = read(Service::Telnet, &talk, 3)
            .into_iter()
            .filter_map(|event| if let Event::Login(login) = event { Some(login) } else { None })
            .collect();
        assert_eq!(logins.len(), 2);
        assert!(logins.iter().all(|login| login.password_seen && login.client_user == "alice"));
        assert_eq!((logins[0].failures, logins[1].failures), (0, 1));
        assert!(!format!("{logins:?}").contains("toor"));
    }

    #[test]
    fn a_login_after_which_too_much_is_said_is_told_without_a_verdict() {
        let much = vec![b'.'; 70_000];
        let talk: [(_, &[u8]); 5] = [
            (Resp, b"login: "),
            (Orig, b"a\r\n"),
            (Resp, b"\r\npassword: "),
            (Orig, b"b\r\n"),
            (Resp, &much),
        ];
        let told = read(Service::Telnet, &talk, 1400);
        assert!(matches!(&told[..], [Event::Login(login), Event::Auth(_)] if login.confused), "{told:?}");
    }

    #[test]
    fn routers_with_their_own_prompts_and_ends_without_a_verdict() {
        let talk: [(_, &[u8]); 7] = [
            (Resp, b"User Access Verification\r\n\r\nUsername: "),
            (Orig, b"cisco\r\n"),
            (Resp, b"Password: "),
            (Orig, b"x\r\n"),
            (Resp, b"\r\n% Login invalid\r\n\r\nUsername: "),
            (Orig, b"a\r\n"),
            (Resp, b"Password: "),
        ];
        check(Service::Telnet, &talk, &["auth cisco@/ password failed  clear"]);
        check(
            Service::Telnet,
            &[(Resp, b"login: "), (Orig, b"a\n"), (Resp, b"password:"), (Orig, b"b\n")],
            &["auth a@/ password unknown  clear"],
        );
        check(
            Service::Telnet,
            &[(Resp, b"login: "), (Orig, b"a\n"), (Resp, b"password:"), (Orig, b"b\n"), (Resp, b"\n1) menu")],
            &["auth a@/ password unknown  clear"],
        );
    }
}
