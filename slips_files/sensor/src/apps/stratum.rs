//! Stratum, as miners speak with their pools: JSON in lines.

use slips_core::exchange::App;

use super::{Dialogue, Request, short};
use crate::reader::lines::Lines;
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// What is told of one connection.
const MAX_TOLD: u32 = 20;

/// A miner's connection.
#[derive(Debug, Default)]
pub(crate) struct Stratum {
    lines: [Lines; 2],
    asked: Option<Request>,
    told: u32,
}

/// The text that a key has, without reading JSON as such: quotes within it end it.
fn value<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    // the same word may stand elsewhere as a value
    let ends =
        line.windows(key.len()).enumerate().filter(|(_, part)| *part == key).map(|(at, _)| at + key.len());
    let mut behind = ends.filter_map(|end| line.get(end..)?.trim_ascii_start().strip_prefix(b":"));
    let rest = behind.next()?.trim_ascii_start();
    let rest = rest.strip_prefix(b"[").unwrap_or(rest).trim_ascii_start().strip_prefix(b"\"")?;
    rest.split(|byte| *byte == b'"').next()
}

fn action(method: &[u8]) -> Option<&'static str> {
    Some(match method {
        b"mining.subscribe" => "mining.subscribe",
        b"mining.authorize" => "mining.authorize",
        b"login" => "login",
        b"eth_submitLogin" => "eth_submitLogin",
        _ => return None,
    })
}

impl Stratum {
    fn client(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        let Some(action) = value(line, b"\"method\"").and_then(action) else { return };
        self.tell(String::new(), cx);
        let first = value(line, b"\"params\"").map(short).unwrap_or_default();
        let mut request = Request { action, ..Request::default() };
        match action {
            // the miner's program, not its name
            "mining.subscribe" => request.detail = first,
            "login" => {
                request.subject = value(line, b"\"login\"").map(short).unwrap_or_default();
                request.detail = value(line, b"\"agent\"").map(short).unwrap_or_default();
            }
            _ => request.subject = first,
        }
        self.asked = Some(request);
    }

    fn server(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        let has = |word: &[u8]| line.windows(word.len()).any(|part| part == word);
        if self.asked.is_none() || !has(b"\"result\"") {
            return;
        }
        let is_refused = has(b"\"result\":false") || has(b"\"result\": false") || has(b"\"message\"");
        self.tell(if is_refused { "refused" } else { "ok" }.to_owned(), cx);
    }

    fn tell(&mut self, status: String, cx: &mut Cx<'_>) {
        if let Some(asked) = self.asked.take() {
            self.told += 1;
            asked.tell(App::Stratum, status, cx);
        }
    }
}

impl Dialogue for Stratum {
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

    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.tell(String::new(), cx);
    }

    fn held(&self) -> usize {
        self.lines.iter().map(Lines::held).sum()
    }

    fn reset(&mut self) {
        self.lines.iter_mut().for_each(Lines::clear);
        (self.asked, self.told) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn miners_of_both_kinds() {
        let talk: [(_, &[u8]); 4] = [
            (Orig, b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"cgminer/4.9\"]}\n"),
            (Resp, b"{\"id\":1,\"result\":[[],\"ab\",4],\"error\":null}\n"),
            (Orig, b"{\"id\":2, \"method\": \"mining.authorize\", \"params\": [\"wallet.w1\", \"x\"]}\n"),
            (Resp, b"{\"id\":2,\"result\":false,\"error\":null}\n"),
        ];
        check(
            Service::Stratum,
            &talk,
            &["op mining.subscribe   cgminer/4.9 ok", "op mining.authorize  wallet.w1  refused"],
        );
        let login = b"{\"method\":\"login\",\"params\":{\"login\":\"4A\",\"pass\":\"x\",\"agent\":\"XMRig/6\"},\"id\":1}\n";
        check(Service::Stratum, &[(Orig, login)], &["op login  4A XMRig/6 "]);
    }
}
