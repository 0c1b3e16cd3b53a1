//! One netlink socket: transactions, questions and dumps.
//!
//! The kernel works on a netlink message inside the call that sends it, so all answers are waiting when `sendmsg` returns and
//! nothing here ever blocks. The table belongs to the socket that made it, so one socket does all writing; it is closed on exec,
//! or a child process would keep the table owned after our death.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};

use nftnl::{Batch, MsgType};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, recv, sendmsg,
    setsockopt, socket, sockopt,
};

use super::raw::Encoded;
use super::wire::{self, BARE_MESSAGE, FAMILY_INET, Message, Reply};
use crate::Error;
use crate::error::BEGIN;

/// Room for the answers to a batch: an answer takes about a kilobyte there, a refused message comes back whole.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Larger than any datagram the kernel builds: 32 KiB in a dump, a message of 64 KiB sent back with its error.
const DATAGRAM: usize = 128 << 10;
/// How often a disturbed dump is made again.
const DUMP_TRIES: usize = 5;

/// A netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    port: u32,
    send_buffer: usize,
    datagram: Vec<u8>,
    /// All that was asked has been answered: nothing waits to be read.
    quiet: bool,
}

impl Socket {
    /// Opens a socket to nf_tables or to the routes.
    pub(crate) fn open(protocol: SockProtocol) -> Result<Self, Error> {
        Self::open_inner(protocol).map_err(|errno| Error::Socket(errno.into()))
    }

    fn open_inner(protocol: SockProtocol) -> nix::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let port = getsockname::<NetlinkAddr>(fd.as_raw_fd())?.pid();
        // Without the capability all later calls are refused, and with a better message.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        Ok(Self { fd, port, send_buffer: 0, datagram: vec![0; DATAGRAM], quiet: false })
    }

    /// Our address on the bus, by which the kernel knows the owner of a table.
    pub(crate) const fn port(&self) -> u32 {
        self.port
    }

    /// The descriptor, for what is special to one kind of socket.
    pub(super) const fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Applies all of the transaction or nothing of it.
    pub(crate) fn commit(&mut self, transaction: Transaction) -> Result<(), Error> {
        let Transaction { batch, steps, .. } = transaction;
        if steps.is_empty() {
            return Ok(());
        }
        let batch = batch.finalize();
        // Where the kernel answers the frame of a batch (6.10 on), `nftnl` numbers the two messages of the frame too.
        let numbers = batch.sequence_numbers();
        let framed = numbers.len() > steps.len();
        let first = numbers.start + u32::from(framed);
        let mut pages: Vec<&[u8]> = batch.iter().collect();
        let [begin, end] = unanswered_frame(&mut pages);
        let pages: Vec<IoSlice<'_>> =
            std::iter::once(&begin[..]).chain(pages).chain([&end[..]]).map(IoSlice::new).collect();
        self.send(&pages)?;
        let mut refused: Option<(u32, i32)> = None;
        let mut last_answered = false;
        let last = first.saturating_add(u32::try_from(steps.len()).unwrap_or(u32::MAX)) - 1;
        self.receive(|reply| {
            if let Reply::Verdict { seq, errno } = reply {
                if errno != 0 && refused.is_none() {
                    refused = Some((seq, errno));
                }
                last_answered |= seq == last;
            }
            // After the last there is no other, unless something was refused.
            last_answered && refused.is_none()
        })?;
        match refused {
            None if last_answered => Ok(()),
            None => Err(Error::Unanswered("transaction")),
            Some((seq, errno)) => {
                let step = seq.checked_sub(first).and_then(|n| steps.get(usize::try_from(n).ok()?));
                Err(Error::refused(step.copied().unwrap_or(BEGIN), errno))
            }
        }
    }

    /// Sends questions, many at once, and gives every object that is answered to `each`, with the index of its question. Returns the
    /// errno of each question, 0 for well.
    pub(crate) fn ask(
        &mut self,
        questions: &[Message],
        mut each: impl FnMut(usize, &[u8]),
    ) -> Result<Vec<i32>, Error> {
        let mut verdicts = Vec::with_capacity(questions.len());
        for (part, asked) in questions.chunks(QUESTIONS_AT_ONCE).enumerate() {
            let base = part * QUESTIONS_AT_ONCE;
            let bytes: Vec<u8> =
                (1..).zip(asked).flat_map(|(seq, question)| question.finished(seq)).collect();
            self.send(&[IoSlice::new(&bytes)])?;
            let mut answers = vec![None; asked.len()];
            let mut missing = asked.len();
            self.receive(|reply| {
                let (seq, errno) = match reply {
                    Reply::Object { seq, attributes, .. } => {
                        if let Some(index) = seq.checked_sub(1).and_then(|n| usize::try_from(n).ok()) {
                            each(base + index, attributes);
                        }
                        (seq, 0)
                    }
                    Reply::Verdict { seq, errno } => (seq, errno),
                    Reply::Done => return false,
                };
                let index = seq.checked_sub(1).and_then(|n| usize::try_from(n).ok());
                if let Some(answer) = index.and_then(|n| answers.get_mut(n)) {
                    missing -= usize::from(answer.is_none());
                    *answer = Some(errno);
                }
                missing == 0
            })?;
            for answer in answers {
                verdicts.push(answer.ok_or(Error::Unanswered("question"))?);
            }
        }
        Ok(verdicts)
    }

    /// Asks for all objects of a kind; `each` fills a fresh `T`, and a disturbed dump is made again.
    pub(crate) fn dump<T: Default>(
        &mut self,
        step: &'static str,
        question: &Message,
        mut each: impl FnMut(&mut T, &[u8]),
    ) -> Result<T, Error> {
        for _ in 0..DUMP_TRIES {
            let mut found = T::default();
            let (mut ended, mut disturbed, mut refused) = (false, false, 0);
            let bytes = question.finished(1);
            self.send(&[IoSlice::new(&bytes)])?;
            self.receive(|reply| match reply {
                Reply::Object { interrupted, attributes, .. } => {
                    disturbed |= interrupted;
                    each(&mut found, attributes);
                    false
                }
                Reply::Done => {
                    ended = true;
                    true
                }
                Reply::Verdict { errno, .. } => {
                    refused = errno;
                    false
                }
            })?;
            match refused {
                0 if ended && !disturbed => return Ok(found),
                0 => {}
                errno if errno == Errno::EINTR as i32 => {}
                errno => return Err(Error::unread(step, errno)),
            }
        }
        Err(Error::Unanswered(step))
    }

    /// Asks for objects of a kind until `each` has enough and says no, or all were told. What changes meanwhile may be missed. What was
    /// not read waits in the socket, which is of no use any more then.
    pub(crate) fn dump_some(
        &mut self,
        step: &'static str,
        question: &Message,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), Error> {
        self.send(&[IoSlice::new(&question.finished(1))])?;
        let (mut goes_on, mut refused) = (true, 0);
        self.receive(|reply| match reply {
            Reply::Object { attributes, .. } => {
                goes_on = goes_on && each(attributes);
                !goes_on
            }
            Reply::Done => true,
            Reply::Verdict { errno, .. } => {
                refused = errno;
                false
            }
        })?;
        match Errno::from_raw(refused) {
            // A table that is gone by now has nothing in it.
            _ if refused == 0 => Ok(()),
            Errno::ENOENT | Errno::EINTR => Ok(()),
            _ => Err(Error::unread(step, refused)),
        }
    }

    /// Lets the kernel look at what is in the header and the attributes of a question, where it can: without that it tells of all.
    pub(crate) fn check_strictly(&self) {
        let _ = super::raw::check_strictly(&self.fd);
    }

    /// One `sendmsg` for all pages: sent page by page, the kernel would take each for a batch of its own and refuse it.
    fn send(&mut self, pages: &[IoSlice<'_>]) -> Result<(), Error> {
        if !self.quiet {
            self.receive(|_| false).or_else(|error| match error {
                Error::Unanswered(_) => Ok(()),
                other => Err(other),
            })?;
        }
        self.quiet = false;
        let length: usize = pages.iter().map(|page| page.len()).sum();
        if length > self.send_buffer {
            let size = length.next_power_of_two().max(256 << 10);
            if setsockopt(&self.fd, sockopt::SndBufForce, &size).is_ok() {
                self.send_buffer = size;
            }
        }
        match sendmsg::<NetlinkAddr>(self.fd.as_raw_fd(), pages, &[], MsgFlags::empty(), None) {
            Ok(sent) if sent == length => Ok(()),
            Ok(_) => Err(Error::Socket(io::Error::other("a netlink message was cut"))),
            Err(errno) => Err(Error::Socket(errno.into())),
        }
    }

    /// Reads all that waits, up to the answer of which `is_last` says that no other follows.
    fn receive(&mut self, mut is_last: impl FnMut(Reply<'_>) -> bool) -> Result<(), Error> {
        let mut lost = false;
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.datagram, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    let datagram = self.datagram.get(..length).unwrap_or_default();
                    // All of a datagram are looked at, and the last one decides.
                    if wire::messages(datagram).fold(false, |_, reply| is_last(reply)) && !lost {
                        self.quiet = true;
                        return Ok(());
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => lost = true,
                Err(Errno::EAGAIN) if lost => return Err(Error::Unanswered("answers overflowed the socket")),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(Error::Socket(errno.into())),
            }
        }
    }
}

/// So many questions that their answers, about a kilobyte each, fill a quarter of the receive buffer.
const QUESTIONS_AT_ONCE: usize = 1000;

/// The first and the last message of a batch, for which `nftnl` wants answers where the kernel gives them: each costs as much as a quarter
/// of a block, and says nothing that the answers between them do not. Takes both from the pages.
fn unanswered_frame(pages: &mut [&[u8]]) -> [Vec<u8>; 2] {
    let (mut begin, mut end) = (Vec::new(), Vec::new());
    if let Some(page) = pages.first_mut() {
        let whole: &[u8] = page;
        let (first, rest) = whole.split_at(whole.len().min(BARE_MESSAGE));
        begin.extend_from_slice(first);
        *page = rest;
    }
    if let Some(page) = pages.last_mut() {
        let whole: &[u8] = page;
        let (rest, last) = whole.split_at(whole.len().saturating_sub(BARE_MESSAGE));
        end.extend_from_slice(last);
        *page = rest;
    }
    wire::ask_for_no_answer(&mut begin);
    wire::ask_for_no_answer(&mut end);
    [begin, end]
}

/// Messages that take effect together.
pub(crate) struct Transaction {
    batch: Batch,
    steps: Vec<&'static str>,
    family: u8,
}

impl Transaction {
    /// Nothing to do so far, and few messages to come.
    pub(crate) fn new() -> Self {
        Self::for_changes(0)
    }

    /// Nothing to do so far; about so many entries are to be changed. A page of memory is for many messages, but a single block needs no
    /// large one; a million reasons fit in as many pages as one call may name (1,024).
    pub(crate) fn for_changes(count: usize) -> Self {
        let page = if count < MANY_CHANGES { SMALL_PAGE } else { LARGE_PAGE };
        Self { batch: Batch::with_page_size(page), steps: Vec::new(), family: FAMILY_INET }
    }

    /// Adds a message of our own; `step` names it in an error.
    pub(crate) fn message(&mut self, step: &'static str, message: &Message) {
        self.batch.add(&Encoded(message, self.family), MsgType::Add);
        self.steps.push(step);
    }

    /// What follows is about the tables of this family.
    pub(crate) const fn turn_to(&mut self, family: u8) {
        self.family = family;
    }
}

const MANY_CHANGES: usize = 1000;
/// No less than the largest message, which libnftnl would leave out of the batch without a word.
const SMALL_PAGE: u32 = 64 << 10;
const _: () = assert!(SMALL_PAGE as usize >= wire::MAX_MESSAGE);
const LARGE_PAGE: u32 = 1 << 20;
