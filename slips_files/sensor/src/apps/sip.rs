//! SIP (RFC 3261): who registers or calls, with which software, and whether he is let in.

use std::collections::VecDeque;

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, Request, short};
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// Requests that wait for their answers.
const MAX_PENDING: usize = 32;
/// Lines of a message that are read.
const MAX_LINES: usize = 64;
/// What is told of one conversation.
const MAX_TOLD: u32 = 1000;

#[derive(Debug)]
struct Asked {
    /// Number and method, by which the answer is known.
    cseq: Vec<u8>,
    request: Request,
    attempt: Option<Attempt>,
}

impl Asked {
    fn held(&self) -> usize {
        self.cseq.len() + self.request.held() + self.attempt.as_ref().map_or(0, Attempt::held)
    }
}

/// A conversation of datagrams, or of segments that hold whole messages.
#[derive(Debug, Default)]
pub(crate) struct Sip {
    asked: VecDeque<Asked>,
    told: u32,
}

/// What of a message's headers is read.
#[derive(Debug, Default)]
struct Headers<'a> {
    cseq: &'a [u8],
    agent: &'a [u8],
    from: &'a [u8],
    /// User of a digest.
    user: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    fn of(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut headers = Self::default();
        for line in lines.take(MAX_LINES) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or(&[]).trim_ascii();
            match name.to_ascii_lowercase().as_slice() {
                b"cseq" => headers.cseq = value.get(..64).unwrap_or(value),
                b"user-agent" => headers.agent = value,
                b"from" | b"f" => headers.from = address(value),
                b"authorization" | b"proxy-authorization" => headers.user = digest_user(value),
                _ => {}
            }
        }
        headers
    }
}

/// The address in `"Name" <sip:joe@host>;tag=1`.
fn address(value: &[u8]) -> &[u8] {
    let begin = value.iter().position(|byte| *byte == b'<').map_or(0, |at| at + 1);
    value.get(begin..).unwrap_or(&[]).split(|byte| matches!(byte, b'>' | b';')).next().unwrap_or(&[])
}

fn digest_user(value: &[u8]) -> Option<&[u8]> {
    let at = value.windows(10).position(|part| part.eq_ignore_ascii_case(b"username=\""))?;
    value.get(at + 10..)?.split(|byte| *byte == b'"').next()
}

impl Sip {
    fn request(&mut self, action: &'static str, first: &[u8], headers: &Headers<'_>) {
        let object = first.split(|byte| *byte == b' ').nth(1).map(short).unwrap_or_default();
        let request = Request { action, object, subject: short(headers.from), detail: short(headers.agent) };
        let attempt = headers.user.map(|user| Attempt::of(short(user), "digest"));
        let asked = Asked { cseq: headers.cseq.to_vec(), request, attempt };
        // the same request again, or one that nobody answers
        self.asked.retain(|other| other.cseq != asked.cseq);
        if self.asked.len() >= MAX_PENDING {
            self.asked.pop_front();
        }
        self.asked.push_back(asked);
    }

    fn reply(&mut self, first: &[u8], headers: &Headers<'_>, cx: &mut Cx<'_>) {
        let code = first.get(8..11).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok());
        let Some(code) = code.filter(|code| *code >= 200) else { return };
        let Some(place) = self.asked.iter().position(|asked| asked.cseq == headers.cseq) else { return };
        let Some(Asked { request, attempt, .. }) = self.asked.remove(place) else { return };
        if let Some(attempt) = attempt {
            let outcome = match code {
                401 | 403 | 404 | 407 => AuthOutcome::Failed,
                200..=299 => AuthOutcome::Succeeded,
                _ => AuthOutcome::Unknown,
            };
            let reason = if outcome == AuthOutcome::Failed { code.to_string() } else { String::new() };
            attempt.tell(App::Sip, outcome, reason, cx);
        }
        self.told += 1;
        request.tell(App::Sip, code.to_string(), cx);
    }
}

fn action(first: &[u8]) -> Option<&'static str> {
    const ACTIONS: [&str; 6] = ["REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "BYE"];
    ACTIONS
        .into_iter()
        .find(|name| first.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b" ")))
}

impl Dialogue for Sip {
    fn take(&mut self, _: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let mut lines =
            bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = lines.next().unwrap_or(&[]);
        if first.starts_with(b"SIP/2.0 ") {
            self.reply(first, &Headers::of(lines), cx);
        } else if let Some(action) = action(first) {
            self.request(action, first, &Headers::of(lines));
        }
        if self.told < MAX_TOLD { Next::More } else { Next::Done }
    }

    fn lose(&mut self, _: Dir, _: &mut Cx<'_>) -> Next {
        Next::More
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        for Asked { request, attempt, .. } in std::mem::take(&mut self.asked) {
            if let Some(attempt) = attempt {
                attempt.tell(App::Sip, AuthOutcome::Unknown, String::new(), cx);
            }
            request.tell(App::Sip, String::new(), cx);
        }
    }

    fn held(&self) -> usize {
        self.asked.iter().map(Asked::held).sum()
    }

    fn reset(&mut self) {
        self.asked.clear();
        self.told = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_datagrams;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn registrations_and_scanners() {
        let ask: &[u8] = b"REGISTER sip:pbx SIP/2.0\r\nFrom: <sip:100@pbx>;tag=1\r\nCSeq: 1 REGISTER\r\n\
            User-Agent: friendly-scanner\r\n\r\n";
        let login: &[u8] = b"REGISTER sip:pbx SIP/2.0\r\nFrom: <sip:100@pbx>\r\nCSeq: 2 REGISTER\r\n\
            Authorization: Digest username=\"100\", realm=\"x\"\r\n\r\n";
        let talk: [(_, &[u8]); 5] = [
            (Orig, ask),
            (Resp, b"SIP/2.0 100 Trying\r\nCSeq: 1 REGISTER\r\n\r\n"),
            (Resp, b"SIP/2.0 401 Unauthorized\r\nCSeq: 1 REGISTER\r\n\r\n"),
            (Orig, login),
            (Resp, b"SIP/2.0 403 Forbidden\r\nCSeq: 2 REGISTER\r\n\r\n"),
        ];
        check_datagrams(
            Service::Sip,
            &talk,
            &[
                "op REGISTER sip:pbx sip:100@pbx friendly-scanner 401",
                "auth 100@/ digest failed 403",
                "op REGISTER sip:pbx sip:100@pbx  403",
            ],
        );
    }
}
