//! IRC: who joins which channel, and passwords that are refused.

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, Request, short};
use crate::reader::lines::Lines;
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// What is told of one connection.
const MAX_TOLD: u32 = 64;

/// A client's connection.
#[derive(Debug, Default)]
pub(crate) struct Irc {
    lines: [Lines; 2],
    nick: String,
    user: String,
    gave_password: bool,
    told: u32,
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

impl Irc {
    fn client(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        let mut words = words(line);
        let (Some(command), Some(argument)) = (words.next(), words.next()) else { return };
        match command.to_ascii_uppercase().as_slice() {
            b"NICK" => self.nick = short(argument),
            b"USER" => self.user = short(argument),
            b"PASS" => self.gave_password = true,
            b"JOIN" => {
                let (object, subject, detail) = (short(argument), self.nick.clone(), self.user.clone());
                Request { action: "join", object, subject, detail }.tell(App::Irc, String::new(), cx);
                self.told += 1;
            }
            _ => {}
        }
    }

    fn server(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        if !self.gave_password {
            return;
        }
        // `:server 001 nick …`
        let outcome = match words(line).nth(1) {
            Some(b"001") => AuthOutcome::Succeeded,
            Some(b"464") => AuthOutcome::Failed,
            _ => return,
        };
        self.gave_password = false;
        let attempt = Attempt { clear_password: true, ..Attempt::of(self.nick.clone(), "PASS") };
        attempt.tell(App::Irc, outcome, String::new(), cx);
        self.told += 1;
    }
}

impl Dialogue for Irc {
    fn take(&mut self, dir: Dir, mut bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        while !bytes.is_empty() && self.told < MAX_TOLD {
            let Some(lines) = self.lines.get_mut(dir as usize) else { return Next::Done };
            let mut lines = std::mem::take(lines);
            bytes = lines.take(bytes, |line| match dir {
                Dir::Orig => self.client(line, cx),
                Dir::Resp => self.server(line, cx),
            });
            if let Some(place) = self.lines.get_mut(dir as usize) {
                *place = lines;
            }
        }
        if self.told < MAX_TOLD { Next::More } else { Next::Done }
    }

    fn held(&self) -> usize {
        self.lines.iter().map(Lines::held).sum()
    }

    fn reset(&mut self) {
        self.lines.iter_mut().for_each(Lines::clear);
        self.nick.clear();
        self.user.clear();
        (self.gave_password, self.told) = (false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn channels_and_passwords() {
        let talk: [(_, &[u8]); 4] = [
            (Orig, b"PASS x\r\nNICK bot7\r\nUSER b 0 * :b\r\n"),
            (Resp, b":srv NOTICE * :hi\r\n:srv 464 bot7 :wrong\r\n"),
            (Orig, b"PASS y\r\n"),
            (Resp, b":srv 001 bot7 :Welcome\r\n"),
        ];
        let talk = [&talk[..], &[(Orig, b"JOIN #owned key\r\nPRIVMSG #owned :hi\r\n")]].concat();
        check(
            Service::Irc,
            &talk,
            &[
                "auth bot7@/ PASS failed  clear",
                "auth bot7@/ PASS succeeded  clear",
                "op join #owned bot7 b ",
            ],
        );
    }
}
