//! Reading a TCP flow's application: its streams in order, and the parser that understands them.
//!
//! A flow has a [`Reader`] only while a parser wants its bytes. Readers and parsers of flows that are over wait in
//! [`Tools`] for the next ones, so that flows come and go without allocating.

pub(crate) mod frames;
pub(crate) mod lines;
mod probe;
#[cfg(test)]
pub(crate) mod testing;

use slips_core::event::Event;
use slips_core::time::PacketTime;

use self::probe::Probe;
use crate::apps::{self, Dialogue};
use crate::emit;
use crate::service::Service;
use crate::settings::Settings;
use crate::stream::{Data, Memory, Segment, Stream};
use crate::tls;
use crate::track::{Dir, Track};
use crate::weird::Weirds;
use crate::{files, ftp, http, openvpn, quic, smtp, software};

/// Readers and parsers of a kind that are kept for the next flows.
const MAX_SPARE: usize = 256;

/// Of all readers, at most one in so many reads datagrams, and one in so many a TCP flow of which only one side was heard; of
/// what parsers hold, at most one byte in so many is of such flows.
const FORGED_SHARE: usize = 4;

/// What a parser wants after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// More bytes.
    More,
    /// Nothing any more.
    Done,
    /// That the next bytes are read as this application.
    Become(Service),
}

/// What parsers count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) certificates: u64,
    pub(crate) certificates_malformed: u64,
    /// Flows that were not read on for want of memory.
    pub(crate) readers_given_up: u64,
    /// Initials of QUIC that were opened, that were not authentic, that no more was spent on; packets that cannot be read.
    pub(crate) quic_opened: u64,
    pub(crate) quic_not_authentic: u64,
    pub(crate) quic_given_up: u64,
    pub(crate) quic_malformed: u64,
}

/// The boxes themselves wait for the next flows.
type Spare<T> = Vec<Box<T>>;

/// What all readers of a sensor share.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) memory: Memory,
    pub(crate) counts: Counts,
    /// Bytes that parsers hold, and the most they may.
    held: usize,
    max_held: usize,
    /// Readers that flows have, and how many they may be.
    open: usize,
    max_open: usize,
    /// Those among them that read datagrams: a flow of datagrams is easily forged, so it gets no more than a share.
    open_datagrams: usize,
    /// Those of TCP flows of which only one side was heard, and what they hold: such a flow is as easily forged.
    open_one_sided: usize,
    held_one_sided: usize,
    readers: Spare<Reader>,
    probes: Spare<Probe>,
    tls: Spare<tls::Handshake>,
    http: Spare<http::Conversation>,
    smtp: Spare<smtp::Session>,
    ftp: Spare<ftp::Control>,
    transfers: Spare<ftp::Transfer>,
    quic: Spare<quic::Connection>,
    dtls: Spare<tls::Datagrams>,
    openvpn: Spare<openvpn::Control>,
    pub(crate) shown: tls::Shown,
    /// Room for a packet that is opened.
    pub(crate) room: Vec<u8>,
    dialogues: Vec<(Service, Box<dyn Dialogue>)>,
    pub(crate) files: files::Engines,
    pub(crate) software: software::Known,
    pub(crate) weirds: Weirds,
    /// Secret of the names of files.
    pub(crate) key: [u64; 2],
}

impl Tools {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            memory: Memory::new(settings.max_stream_bytes, settings.max_stream_side),
            counts: Counts::default(),
            held: 0,
            max_held: settings.max_stream_bytes,
            open: 0,
            max_open: settings.max_readers as usize,
            open_datagrams: 0,
            open_one_sided: 0,
            held_one_sided: 0,
            readers: Vec::new(),
            probes: Vec::new(),
            tls: Vec::new(),
            http: Vec::new(),
            smtp: Vec::new(),
            ftp: Vec::new(),
            transfers: Vec::new(),
            quic: Vec::new(),
            dtls: Vec::new(),
            openvpn: Vec::new(),
            shown: tls::Shown::new(settings.certificate_again),
            room: Vec::new(),
            dialogues: Vec::new(),
            files: files::Engines::new(settings),
            software: software::Known::new(settings.key),
            weirds: Weirds::default(),
            key: settings.key,
        }
    }

    /// A reader for a flow whose sides begin at these positions: of `service`, or to find out what it is. `None` when no
    /// parser reads that, or there are too many readers.
    pub(crate) fn open(&mut self, service: Option<Service>, orig: u64, resp: u64) -> Option<Box<Reader>> {
        if self.open >= self.max_open {
            self.counts.readers_given_up += 1;
            return None;
        }
        let parser = match service {
            Some(service) => self.parser(service)?,
            None => Parser::Probe(self.probes.pop().unwrap_or_default()),
        };
        let mut reader = self.readers.pop().unwrap_or_default();
        reader.parser = parser;
        reader.stream.begin(orig, resp);
        self.open += 1;
        Some(reader)
    }

    /// The same for a TCP flow of which, as long as it is not answered, only one side was heard.
    pub(crate) fn open_segments(
        &mut self,
        service: Option<Service>,
        [orig, resp]: [u64; 2],
        is_one_sided: bool,
    ) -> Option<Box<Reader>> {
        if is_one_sided && self.open_one_sided >= self.max_open / FORGED_SHARE {
            self.counts.readers_given_up += 1;
            return None;
        }
        let mut reader = self.open(service, orig, resp)?;
        reader.is_one_sided = is_one_sided;
        self.open_one_sided += usize::from(is_one_sided);
        Some(reader)
    }

    /// Both sides of a reader's flow are heard now.
    pub(crate) fn answered(&mut self, reader: &mut Reader) {
        if std::mem::take(&mut reader.is_one_sided) {
            self.open_one_sided = self.open_one_sided.saturating_sub(1);
            self.held_one_sided = self.held_one_sided.saturating_sub(reader.held);
        }
    }

    /// A reader for a flow of datagrams. `None` when no parser reads that, or there are too many readers.
    pub(crate) fn open_datagrams(&mut self, service: Service) -> Option<Box<Reader>> {
        if self.open_datagrams >= self.max_open / FORGED_SHARE {
            self.counts.readers_given_up += 1;
            return None;
        }
        let mut reader = self.open(Some(service), 1, 1)?;
        reader.has_datagrams = true;
        self.open_datagrams += 1;
        Some(reader)
    }

    fn parser(&mut self, service: Service) -> Option<Parser> {
        match service {
            Service::Ssl => Some(Parser::Tls(self.tls.pop().unwrap_or_default())),
            Service::Http => Some(Parser::Http(self.http.pop().unwrap_or_default())),
            Service::Smtp => Some(Parser::Smtp(self.smtp.pop().unwrap_or_default())),
            Service::Ftp => Some(Parser::Ftp(self.ftp.pop().unwrap_or_default())),
            Service::FtpData => Some(Parser::Transfer(self.transfers.pop().unwrap_or_default())),
            Service::Quic => Some(Parser::Quic(self.quic.pop().unwrap_or_default())),
            Service::Dtls => Some(Parser::Dtls(self.dtls.pop().unwrap_or_default())),
            Service::Openvpn => Some(Parser::Openvpn(self.openvpn.pop().unwrap_or_default())),
            _ => self.dialogue(service).map(|dialogue| Parser::Dialogue(service, dialogue)),
        }
    }

    fn dialogue(&mut self, service: Service) -> Option<Box<dyn Dialogue>> {
        match self.dialogues.iter().position(|(spare, _)| *spare == service) {
            Some(place) => Some(self.dialogues.swap_remove(place).1),
            None => apps::dialogue(service),
        }
    }

    /// Takes a parser back.
    fn retire(&mut self, parser: Parser) {
        match parser {
            Parser::Idle => {}
            Parser::Probe(mut probe) => {
                probe.reset();
                keep(&mut self.probes, probe);
            }
            Parser::Tls(mut handshake) => {
                handshake.reset();
                keep(&mut self.tls, handshake);
            }
            Parser::Http(mut conversation) => {
                conversation.reset(&mut self.files);
                keep(&mut self.http, conversation);
            }
            Parser::Smtp(mut session) => {
                session.reset(&mut self.files);
                keep(&mut self.smtp, session);
            }
            Parser::Ftp(mut control) => {
                control.reset();
                keep(&mut self.ftp, control);
            }
            Parser::Transfer(mut transfer) => {
                transfer.reset(&mut self.files);
                keep(&mut self.transfers, transfer);
            }
            Parser::Quic(mut connection) => {
                connection.reset();
                keep(&mut self.quic, connection);
            }
            Parser::Dialogue(service, mut dialogue) => {
                dialogue.reset();
                if self.dialogues.len() < MAX_SPARE {
                    self.dialogues.push((service, dialogue));
                }
            }
            Parser::Dtls(mut handshake) => {
                handshake.reset();
                keep(&mut self.dtls, handshake);
            }
            Parser::Openvpn(mut control) => {
                control.reset();
                keep(&mut self.openvpn, control);
            }
        }
    }

    /// Takes a reader back.
    pub(crate) fn close(&mut self, mut reader: Box<Reader>) {
        self.answered(&mut reader);
        self.held = self.held.saturating_sub(reader.held);
        self.open = self.open.saturating_sub(1);
        if std::mem::take(&mut reader.has_datagrams) {
            self.open_datagrams = self.open_datagrams.saturating_sub(1);
        }
        reader.stream.clear(&mut self.memory);
        self.retire(std::mem::take(&mut reader.parser));
        reader.held = 0;
        reader.is_turned = false;
        reader.became = None;
        keep(&mut self.readers, reader);
    }
}

fn keep<T>(spare: &mut Spare<T>, item: Box<T>) {
    if spare.len() < MAX_SPARE {
        spare.push(item);
    }
}

/// What a parser needs besides the bytes.
pub(crate) struct Cx<'a> {
    pub(crate) track: &'a Track,
    pub(crate) at: PacketTime,
    pub(crate) tools: &'a mut Tools,
    pub(crate) out: &'a mut Vec<Event>,
}

impl Cx<'_> {
    pub(crate) fn tell(&mut self, event: Event) {
        self.out.push(event);
    }

    /// Something odd was seen.
    pub(crate) fn weird(&mut self, name: &'static str, addl: &str) {
        self.tools.weirds.note(name, addl, self.track, self.at, self.out);
    }

    /// The client or the server says what it runs.
    pub(crate) fn software(&mut self, kind: software::Kind, dir: Dir, text: &[u8]) {
        let host = match dir {
            Dir::Orig => (emit::address(self.track.orig), None),
            Dir::Resp => (emit::address(self.track.resp), Some(self.track.resp_port)),
        };
        self.tools.software.note(kind, host, text, self.at, self.out);
    }
}

/// Who understands the bytes.
#[derive(Debug, Default)]
enum Parser {
    #[default]
    Idle,
    Probe(Box<Probe>),
    Tls(Box<tls::Handshake>),
    Http(Box<http::Conversation>),
    Smtp(Box<smtp::Session>),
    Ftp(Box<ftp::Control>),
    Transfer(Box<ftp::Transfer>),
    Quic(Box<quic::Connection>),
    Dtls(Box<tls::Datagrams>),
    Openvpn(Box<openvpn::Control>),
    Dialogue(Service, Box<dyn Dialogue>),
}

impl Parser {
    fn take(&mut self, dir: Dir, data: Data<'_>, cx: &mut Cx<'_>) -> Next {
        match (self, data) {
            (Self::Idle | Self::Quic(_) | Self::Dtls(_), _) | (Self::Probe(_), Data::Gap(_)) => Next::Done,
            (Self::Probe(probe), Data::Bytes(bytes)) => probe.take(dir, bytes),
            (Self::Tls(handshake), Data::Bytes(bytes)) => handshake.take(dir, bytes, cx),
            (Self::Tls(handshake), Data::Gap(_)) => handshake.lose(cx),
            (Self::Openvpn(control), Data::Bytes(bytes)) => control.take(dir, bytes, cx),
            (Self::Openvpn(control), Data::Gap(_)) => control.finish(cx),
            (Self::Http(conversation), Data::Bytes(bytes)) => conversation.take(dir, bytes, cx),
            (Self::Http(conversation), Data::Gap(lost)) => conversation.lose(dir, lost, cx),
            (Self::Smtp(session), Data::Bytes(bytes)) => session.take(dir, bytes, cx),
            (Self::Smtp(session), Data::Gap(lost)) => session.lose(dir, lost),
            (Self::Ftp(control), Data::Bytes(bytes)) => control.take(dir, bytes, cx),
            (Self::Ftp(control), Data::Gap(_)) => control.lose(dir),
            (Self::Dialogue(_, dialogue), Data::Bytes(bytes)) => dialogue.take(dir, bytes, cx),
            (Self::Dialogue(_, dialogue), Data::Gap(_)) => dialogue.lose(dir, cx),
            (Self::Transfer(transfer), Data::Bytes(bytes)) => transfer.take(dir, bytes, cx),
            (Self::Transfer(transfer), Data::Gap(lost)) => transfer.lose(dir, lost),
        }
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        match self {
            Self::Idle | Self::Probe(_) => {}
            Self::Tls(handshake) => {
                handshake.finish(cx);
            }
            Self::Http(conversation) => conversation.finish(cx),
            Self::Smtp(session) => session.finish(cx),
            Self::Quic(connection) => connection.finish(cx),
            Self::Ftp(control) => control.finish(cx),
            Self::Dtls(handshake) => handshake.finish(cx),
            Self::Openvpn(control) => {
                control.finish(cx);
            }
            Self::Dialogue(_, dialogue) => dialogue.finish(cx),
            Self::Transfer(transfer) => transfer.finish(cx),
        }
    }

    fn held(&self) -> usize {
        match self {
            Self::Idle => 0,
            Self::Probe(probe) => probe.held(),
            Self::Tls(handshake) => handshake.held(),
            Self::Http(conversation) => conversation.held(),
            Self::Smtp(session) => session.held(),
            Self::Ftp(control) => control.held(),
            Self::Transfer(transfer) => transfer.held(),
            Self::Quic(connection) => connection.held(),
            Self::Dtls(handshake) => handshake.held(),
            Self::Openvpn(control) => control.held(),
            Self::Dialogue(_, dialogue) => dialogue.held(),
        }
    }
}

/// One flow's streams and parser.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    stream: Stream,
    parser: Parser,
    /// Bytes that the parser holds, as counted in the tools.
    held: usize,
    /// The flow's direction was flipped while it was read.
    is_turned: bool,
    /// It reads datagrams, each of which is whole.
    has_datagrams: bool,
    /// Only one side of its flow was heard.
    is_one_sided: bool,
    /// Another application that the flow went over to, until the sensor asks.
    became: Option<Service>,
}

impl Reader {
    pub(crate) fn flip(&mut self) {
        self.stream.flip();
        self.is_turned = !self.is_turned;
    }

    /// Takes a segment; false when nothing more is wanted of this flow.
    pub(crate) fn take(&mut self, segment: &Segment<'_>, cx: &mut Cx<'_>) -> bool {
        let mut memory = std::mem::take(&mut cx.tools.memory);
        let (parser, became, is_turned) = (&mut self.parser, &mut self.became, self.is_turned);
        let mut wants = true;
        let mut sink = |dir: Dir, data: Data<'_>| {
            let dir = if is_turned { dir.other() } else { dir };
            if wants {
                wants = match parser.take(dir, data, cx) {
                    Next::More => true,
                    Next::Done => {
                        parser.finish(cx);
                        false
                    }
                    Next::Become(service) => {
                        *became = Some(service);
                        become_other(parser, service, cx)
                    }
                };
            }
        };
        self.stream.read(segment, &mut memory, &mut sink);
        cx.tools.memory = memory;
        wants && self.keep_bounds(cx)
    }

    /// Takes a datagram; false when nothing more is wanted of this flow.
    pub(crate) fn take_datagram(&mut self, dir: Dir, datagram: &[u8], cx: &mut Cx<'_>) -> bool {
        let dir = if self.is_turned { dir.other() } else { dir };
        let next = match &mut self.parser {
            Parser::Quic(connection) => connection.take(dir, datagram, cx),
            Parser::Dtls(handshake) => handshake.take(dir, datagram, cx),
            Parser::Openvpn(control) => control.packet(dir, datagram, cx),
            Parser::Dialogue(_, dialogue) => dialogue.take(dir, datagram, cx),
            _ => Next::Done,
        };
        if next == Next::Done {
            self.parser.finish(cx);
        }
        next == Next::More && self.keep_bounds(cx)
    }

    /// What a flow of datagrams is known to carry.
    pub(crate) fn services(&self) -> [Option<Service>; 2] {
        match &self.parser {
            Parser::Quic(connection) => connection.services(),
            Parser::Dtls(handshake) => [None, handshake.is_known().then_some(Service::Dtls)],
            _ => [None; 2],
        }
    }

    /// Counts what the parser holds; false when it is too much.
    fn keep_bounds(&mut self, cx: &mut Cx<'_>) -> bool {
        let held = self.parser.held();
        if held == self.held {
            return true;
        }
        let tools = &mut *cx.tools;
        tools.held = tools.held.saturating_sub(self.held) + held;
        let mut is_room = tools.held <= tools.max_held;
        if self.is_one_sided {
            tools.held_one_sided = tools.held_one_sided.saturating_sub(self.held) + held;
            is_room &= tools.held_one_sided <= tools.max_held / FORGED_SHARE;
        }
        self.held = held;
        if is_room {
            return true;
        }
        tools.counts.readers_given_up += 1;
        self.parser.finish(cx);
        false
    }

    /// An application that the flow went over to; asked once.
    pub(crate) fn became(&mut self) -> Option<Service> {
        self.became.take()
    }

    /// What a side of a flow began with, while nothing is known about it.
    pub(crate) fn probed(&self, dir: Dir) -> Option<&[u8]> {
        match &self.parser {
            Parser::Probe(probe) => Some(probe.side(if self.is_turned { dir.other() } else { dir })),
            _ => None,
        }
    }

    /// It is known now: hands what the sides began with to the parser; false when nothing reads that.
    pub(crate) fn reads(&mut self, service: Service, cx: &mut Cx<'_>) -> bool {
        let Some(next) = cx.tools.parser(service) else { return false };
        let Parser::Probe(probe) = std::mem::replace(&mut self.parser, next) else { return false };
        let mut wants = true;
        for (dir, bytes) in probe.pieces() {
            if wants {
                wants = match self.parser.take(dir, Data::Bytes(bytes), cx) {
                    Next::More => true,
                    Next::Done => {
                        self.parser.finish(cx);
                        false
                    }
                    Next::Become(service) => {
                        self.became = Some(service);
                        become_other(&mut self.parser, service, cx)
                    }
                };
            }
        }
        cx.tools.retire(Parser::Probe(probe));
        wants && self.keep_bounds(cx)
    }

    /// Whether the flow may yet turn to TLS: what speaks is unknown, speaks first in clear text, or is a file.
    pub(crate) const fn may_turn_to_tls(&self) -> bool {
        matches!(self.parser, Parser::Probe(_) | Parser::Dialogue(..) | Parser::Transfer(_))
    }

    /// The flow is over.
    pub(crate) fn finish(&mut self, cx: &mut Cx<'_>) {
        self.parser.finish(cx);
    }
}

/// Puts another parser in the place of one that is done; whether it reads on.
fn become_other(parser: &mut Parser, service: Service, cx: &mut Cx<'_>) -> bool {
    let Some(next) = cx.tools.parser(service) else { return false };
    let before = std::mem::replace(parser, next);
    cx.tools.retire(before);
    true
}
