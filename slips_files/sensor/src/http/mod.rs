//! HTTP/1: requests and replies in pairs, with what is known of their bodies.
//!
//! [`Conversation`] takes both sides' bytes in order. A pair is told when both its messages are complete, in the order of
//! the requests, or when the connection ends. Lines may be cut anywhere; bodies are counted, typed and hashed, never kept.

mod line;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use slips_core::event::{Event, Http};
use slips_core::exchange::{App, AuthOutcome};
use slips_core::time::PacketTime;

use self::line::{Request, Status};
use crate::apps::Attempt;
use crate::emit;
use crate::files::{Body, Coding};
use crate::reader::{Cx, Next};
use crate::service::Service;
use crate::software;
use crate::track::Dir;

/// Longest line that is kept; the rest of a longer one is dropped.
const MAX_LINE: usize = 16 << 10;
/// Header bytes of one message, and lines that are no requests, before the side is given up.
const MAX_HEADERS: usize = 256 << 10;
const MAX_BAD_LINES: u8 = 64;
/// Requests that wait for their replies; beyond that all are told without.
const MAX_PENDING: usize = 100;
/// Memory that exchanges without their replies may take; beyond that, too, they are told as they are.
const MAX_PENDING_BYTES: usize = 64 << 10;
/// Spare exchanges that a conversation keeps.
const MAX_SPARE: usize = 8;

/// What a side is in the middle of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first line of a message.
    #[default]
    Start,
    Headers,
    /// A body with this much to come.
    Body(u64),
    /// A body up to the end of the connection.
    Rest,
    ChunkLength,
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    Trailers,
    /// Nothing can be read any more.
    Lost,
}

/// How a message's body is delimited and coded, by its headers.
#[derive(Clone, Copy, Debug, Default)]
struct Framing {
    length: Option<u64>,
    is_chunked: bool,
    coding: Option<Coding>,
    is_piece: bool,
    range_total: Option<u64>,
}

#[derive(Debug, Default)]
struct Side {
    state: State,
    line: Vec<u8>,
    header_bytes: usize,
    bad_lines: u8,
    /// It sent a request that names a version.
    has_version: bool,
    framing: Framing,
    body: Body,
}

/// A request with its reply, being collected.
#[derive(Debug)]
struct Exchange {
    http: Http,
    has_request: bool,
    request_over: bool,
    reply_over: bool,
    /// Who logs in by its header.
    attempt: Option<Attempt>,
}

impl Exchange {
    /// Memory that it takes.
    fn held(&self) -> usize {
        let Http { method, host, uri, referrer, user_agent, status_msg, username, .. } = &self.http;
        let texts = [method, host, uri, referrer, user_agent, status_msg, username];
        size_of::<Self>() + texts.into_iter().map(String::capacity).sum::<usize>()
    }
}

/// Both sides of a connection that speaks HTTP.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    sides: [Side; 2],
    /// Exchanges that are not told, oldest first. Replies go to the first that has none, requests to the last.
    open: VecDeque<Exchange>,
    depth: u32,
    /// Who was let in last: he sends his password with each request.
    let_in: String,
    /// What the connection was upgraded to.
    upgraded: Option<Service>,
}

impl Conversation {
    /// Forgets everything but the memory.
    pub(crate) fn reset(&mut self, engines: &mut crate::files::Engines) {
        for side in &mut self.sides {
            side.body.abandon(engines);
            let (mut line, body) = (std::mem::take(&mut side.line), std::mem::take(&mut side.body));
            line.clear();
            *side = Side { line, body, ..Side::default() };
        }
        self.open.clear();
        self.open.shrink_to(MAX_SPARE);
        self.depth = 0;
        self.let_in.clear();
        self.upgraded = None;
    }

    /// Bytes that are held.
    pub(crate) fn held(&self) -> usize {
        let sides: usize = self.sides.iter().map(|side| side.line.len() + side.body.held()).sum();
        sides + self.open.iter().map(Exchange::held).sum::<usize>()
    }

    /// Takes the next bytes of a side.
    pub(crate) fn take(&mut self, dir: Dir, mut bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        while !bytes.is_empty() {
            let side = &mut self.sides[dir as usize];
            match side.state {
                State::Lost => break,
                State::Rest => {
                    side.body.take(bytes, &mut cx.tools.files);
                    bytes = &[];
                }
                State::Body(left) | State::Chunk(left) => {
                    let fits = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (now, rest) = bytes.split_at(fits);
                    side.body.take(now, &mut cx.tools.files);
                    bytes = rest;
                    self.pass(dir, fits as u64, cx);
                }
                _ => bytes = self.take_line(dir, bytes, cx),
            }
            if let Some(next) = self.next(cx) {
                return next;
            }
        }
        self.next(cx).unwrap_or(Next::More)
    }

    /// Some of the next bytes of a side are lost.
    pub(crate) fn lose(&mut self, dir: Dir, lost: u64, cx: &mut Cx<'_>) -> Next {
        let side = &mut self.sides[dir as usize];
        match side.state {
            State::Body(left) | State::Chunk(left) if lost <= left => {
                side.body.lose(lost);
                self.pass(dir, lost, cx);
            }
            State::Rest => side.body.lose(lost),
            _ => {
                side.body.lose(0);
                side.state = State::Lost;
            }
        }
        self.next(cx).unwrap_or(Next::More)
    }

    /// The connection is over.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>) {
        for dir in [Dir::Orig, Dir::Resp] {
            match self.sides[dir as usize].state {
                State::Start => {}
                State::Rest => self.message_over(dir, true, cx),
                _ => self.message_over(dir, false, cx),
            }
        }
        while let Some(exchange) = self.open.pop_front() {
            tell(exchange, &mut self.let_in, cx);
        }
    }

    /// Whether the conversation goes on in another way: nothing can be read, or another protocol follows.
    fn next(&mut self, cx: &mut Cx<'_>) -> Option<Next> {
        if self.sides.iter().all(|side| side.state == State::Lost) {
            self.finish(cx);
            return Some(self.upgraded.map_or(Next::Done, Next::Become));
        }
        None
    }

    /// This much of a body went by.
    fn pass(&mut self, dir: Dir, length: u64, cx: &mut Cx<'_>) {
        let side = &mut self.sides[dir as usize];
        match &mut side.state {
            State::Body(left) => {
                *left -= length.min(*left);
                if *left == 0 {
                    self.message_over(dir, true, cx);
                }
            }
            State::Chunk(left) => {
                *left -= length.min(*left);
                if *left == 0 {
                    side.state = State::ChunkEnd;
                }
            }
            _ => {}
        }
    }

    /// Takes bytes up to the end of a line; what is left.
    fn take_line<'a>(&mut self, dir: Dir, bytes: &'a [u8], cx: &mut Cx<'_>) -> &'a [u8] {
        if dir == Dir::Resp && self.sides[1].state == State::Start && self.begin_bare_reply(bytes, cx) {
            return bytes;
        }
        let side = &mut self.sides[dir as usize];
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            let room = MAX_LINE.saturating_sub(side.line.len());
            side.line.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            side.header_bytes += bytes.len();
            if side.header_bytes > MAX_HEADERS {
                side.state = State::Lost;
            }
            return &[];
        };
        let (now, rest) = bytes.split_at(end);
        let rest = rest.get(1..).unwrap_or(&[]);
        side.header_bytes += end + 1;
        if side.header_bytes > MAX_HEADERS {
            side.state = State::Lost;
            return rest;
        }
        if side.line.is_empty() {
            let now = now.get(..MAX_LINE).unwrap_or(now);
            self.line(dir, now.strip_suffix(b"\r").unwrap_or(now), cx);
        } else {
            let room = MAX_LINE.saturating_sub(side.line.len());
            side.line.extend_from_slice(now.get(..room).unwrap_or(now));
            let mut whole = std::mem::take(&mut side.line);
            self.line(dir, whole.strip_suffix(b"\r").unwrap_or(&whole), cx);
            whole.clear();
            self.sides[dir as usize].line = whole;
        }
        rest
    }

    /// The reply to a request of HTTP 0.9 begins: all of it is body.
    fn begin_bare_reply(&mut self, bytes: &[u8], cx: &mut Cx<'_>) -> bool {
        let waits = self.open.iter_mut().find(|exchange| !exchange.reply_over);
        let Some(exchange) = waits.filter(|exchange| exchange.has_request && exchange.http.version == "0.9")
        else {
            return false;
        };
        if bytes.is_empty() {
            return false;
        }
        exchange.http.status_code = Some(0);
        exchange.http.status_msg = "<empty>".to_owned();
        let side = &mut self.sides[1];
        side.state = State::Rest;
        side.body.begin(None, None, &mut cx.tools.files);
        true
    }

    fn line(&mut self, dir: Dir, line: &[u8], cx: &mut Cx<'_>) {
        let side = &mut self.sides[dir as usize];
        match side.state {
            State::Start if line.is_empty() => {}
            State::Start if dir == Dir::Orig => self.request(line, cx),
            State::Start => self.reply(line, cx),
            State::Headers if line.is_empty() => self.headers_over(dir, cx),
            State::Headers => self.header(dir, line, cx),
            State::ChunkLength => match line::chunk_length(line) {
                Some(0) => side.state = State::Trailers,
                Some(length) => side.state = State::Chunk(length),
                None => {
                    side.body.lose(0);
                    side.state = State::Lost;
                }
            },
            State::ChunkEnd => {
                side.header_bytes = 0;
                side.state = State::ChunkLength;
            }
            State::Trailers if line.is_empty() => self.message_over(dir, true, cx),
            _ => {}
        }
    }

    fn open(&mut self, at: PacketTime, has_request: bool, cx: &Cx<'_>) -> &mut Exchange {
        self.depth += 1;
        let http = Http {
            about: emit::about(cx.track, at),
            trans_depth: self.depth,
            method: String::new(),
            host: String::new(),
            uri: String::new(),
            referrer: String::new(),
            version: String::new(),
            user_agent: String::new(),
            request_body_len: 0,
            response_body_len: 0,
            status_code: None,
            status_msg: String::new(),
            resp_mime_types: Vec::new(),
            resp_fuids: Vec::new(),
            username: String::new(),
            orig_mime_types: Vec::new(),
            orig_fuids: Vec::new(),
            from_page: false,
        };
        let request_over = !has_request;
        let exchange = Exchange { http, has_request, request_over, reply_over: false, attempt: None };
        self.open.push_back(exchange);
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    fn request(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        let side = &mut self.sides[0];
        let Some(request) = Request::parse(line) else {
            side.bad_lines += 1;
            side.header_bytes = 0;
            if side.bad_lines > MAX_BAD_LINES {
                side.state = State::Lost;
            }
            return;
        };
        if request.version.is_none() && side.has_version {
            // what names no version after requests that did is not HTTP any more
            self.sides.iter_mut().for_each(|side| side.state = State::Lost);
            return;
        }
        side.has_version |= request.version.is_some();
        let held = self.open.iter().map(Exchange::held).sum::<usize>();
        if self.open.len() >= MAX_PENDING || held > MAX_PENDING_BYTES {
            if self.open.len() >= MAX_PENDING {
                cx.weird("HTTP_excessive_pipelining", "101 > 100");
            }
            while let Some(exchange) = self.open.pop_front() {
                tell(exchange, &mut self.let_in, cx);
            }
        }
        if !line::is_known_method(request.method) {
            cx.weird("unknown_HTTP_method", &line::text(request.method));
        }
        let at = cx.at;
        let exchange = self.open(at, true, cx);
        exchange.http.method = line::text(request.method);
        exchange.http.uri = line::uri(request.uri);
        exchange.http.version = line::text(request.version.unwrap_or(b"0.9"));
        let side = &mut self.sides[0];
        side.framing = Framing::default();
        side.state = State::Headers;
    }

    fn reply(&mut self, line: &[u8], cx: &mut Cx<'_>) {
        let Some(status) = Status::parse(line) else {
            self.sides[1].state = State::Lost;
            return;
        };
        if self.open.iter().all(|exchange| exchange.reply_over) {
            let at = cx.at;
            self.open(at, false, cx);
        }
        if let Some(exchange) = self.open.iter_mut().find(|exchange| !exchange.reply_over) {
            exchange.http.version = line::text(status.version);
            exchange.http.status_code = Some(status.code);
            exchange.http.status_msg = line::text(status.reason);
        }
        let side = &mut self.sides[1];
        side.framing = Framing::default();
        side.state = State::Headers;
    }

    fn header(&mut self, dir: Dir, line: &[u8], cx: &mut Cx<'_>) {
        let Some((name, value)) = line::header(line) else { return };
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let framing = &mut self.sides[dir as usize].framing;
        if is(b"content-length") {
            framing.length = line::number(value);
        } else if is(b"transfer-encoding") {
            framing.is_chunked = value.to_ascii_lowercase().ends_with(b"chunked");
        } else if is(b"content-encoding") {
            framing.coding = match value.to_ascii_lowercase().as_slice() {
                b"gzip" | b"x-gzip" => Some(Coding::Gzip),
                b"deflate" => Some(Coding::Deflate),
                _ => None,
            };
        } else if is(b"content-range") {
            framing.is_piece = true;
            framing.range_total = line::range_total(value);
        } else if is(b"upgrade") && dir == Dir::Resp {
            let is_to = |name: &[u8]| value.eq_ignore_ascii_case(name);
            self.upgraded = is_to(b"h2c").then_some(Service::Http2);
            self.upgraded = self.upgraded.or(is_to(b"websocket").then_some(Service::Websocket));
        } else if dir == Dir::Resp {
            if is(b"server") {
                cx.software(software::Kind::WebServer, dir, value);
            } else if is(b"x-powered-by") {
                cx.software(software::Kind::AppServer, dir, value);
            }
        } else if dir == Dir::Orig
            && let Some(exchange) = self.open.back_mut()
        {
            let http = &mut exchange.http;
            if is(b"host") {
                http.host = line::text(value);
            } else if is(b"user-agent") {
                http.user_agent = line::text(value);
                cx.software(software::Kind::Browser, dir, value);
            } else if is(b"referer") {
                http.referrer = line::text(value);
            } else if is(b"origin")
                || name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"sec-fetch-"))
            {
                http.from_page = true;
            } else if is(b"authorization") || is(b"proxy-authorization") {
                exchange.attempt = line::attempt(value);
                let basic = exchange.attempt.as_ref().filter(|attempt| attempt.method == line::BASIC);
                http.username = basic.map(|attempt| attempt.user.clone()).unwrap_or_default();
            }
        }
    }

    fn headers_over(&mut self, dir: Dir, cx: &mut Cx<'_>) {
        let side = &mut self.sides[dir as usize];
        side.header_bytes = 0;
        let framing = side.framing;
        let mut has_body = framing.is_chunked || framing.length.is_some_and(|length| length > 0);
        let mut to_the_end = false;
        if dir == Dir::Resp {
            let Some(exchange) = self.open.iter().find(|exchange| !exchange.reply_over) else { return };
            let code = exchange.http.status_code.unwrap_or(0);
            let is_connect = exchange.http.method.eq_ignore_ascii_case("CONNECT");
            if code == 101 || (is_connect && (200..300).contains(&code)) {
                // another protocol follows on both sides
                self.message_over(dir, true, cx);
                self.sides.iter_mut().for_each(|side| side.state = State::Lost);
                self.upgraded = self.upgraded.filter(|_| code == 101);
                return;
            }
            if (100..200).contains(&code) {
                side.state = State::Start;
                return;
            }
            if exchange.http.method.eq_ignore_ascii_case("HEAD") || matches!(code, 204 | 304) {
                has_body = false;
            } else {
                to_the_end = !framing.is_chunked && framing.length.is_none();
            }
        }
        if !has_body && !to_the_end {
            self.message_over(dir, true, cx);
            return;
        }
        let total = framing.range_total.or(framing.length.filter(|_| !framing.is_chunked));
        side.body.begin(framing.coding, total, &mut cx.tools.files);
        if framing.is_piece {
            side.body.be_piece();
        }
        side.state = if framing.is_chunked {
            State::ChunkLength
        } else {
            framing.length.map_or(State::Rest, State::Body)
        };
    }

    /// A message of `dir` is over: its body is told, and its exchange when both messages are.
    fn message_over(&mut self, dir: Dir, is_whole: bool, cx: &mut Cx<'_>) {
        let side = &mut self.sides[dir as usize];
        side.header_bytes = 0;
        let length = side.body.length();
        let told = side.body.end("HTTP", dir, is_whole, cx);
        if side.state != State::Lost {
            side.state = State::Start;
        }
        let exchange = match dir {
            Dir::Orig => self.open.iter_mut().rev().find(|exchange| !exchange.request_over),
            Dir::Resp => self.open.iter_mut().find(|exchange| !exchange.reply_over),
        };
        if let Some(exchange) = exchange {
            let http = &mut exchange.http;
            let (body_len, fuids, mime_types, over) = match dir {
                Dir::Orig => (
                    &mut http.request_body_len,
                    &mut http.orig_fuids,
                    &mut http.orig_mime_types,
                    &mut exchange.request_over,
                ),
                Dir::Resp => (
                    &mut http.response_body_len,
                    &mut http.resp_fuids,
                    &mut http.resp_mime_types,
                    &mut exchange.reply_over,
                ),
            };
            *body_len = length;
            *over = true;
            if let Some(told) = told {
                fuids.push(told.fuid.as_str().to_owned());
                if !told.mime.is_empty() {
                    mime_types.push(told.mime.to_owned());
                }
            }
        }
        while self.open.front().is_some_and(|exchange| exchange.request_over && exchange.reply_over) {
            if let Some(exchange) = self.open.pop_front() {
                tell(exchange, &mut self.let_in, cx);
            }
        }
    }
}

fn tell(exchange: Exchange, let_in: &mut String, cx: &mut Cx<'_>) {
    let (status, attempt) = (exchange.http.status_code, exchange.attempt);
    cx.tell(Event::Http(Box::new(exchange.http)));
    let Some(attempt) = attempt.filter(|attempt| !attempt.user.is_empty()) else { return };
    let (outcome, reason) = match status {
        Some(code @ (401 | 407)) => (AuthOutcome::Failed, code.to_string()),
        Some(200..=399) => (AuthOutcome::Succeeded, String::new()),
        _ => (AuthOutcome::Unknown, String::new()),
    };
    if outcome == AuthOutcome::Failed {
        let_in.clear();
    } else if *let_in == attempt.user {
        return;
    } else {
        let_in.clone_from(&attempt.user);
    }
    attempt.tell(App::Http, outcome, reason, cx);
}
