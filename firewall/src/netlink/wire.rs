//! Netlink messages in bytes: written by [`Message`], read by [`messages`] and [`attributes`].
//!
//! Numbers are those of linux/netlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h. Reading never panics, whatever
//! the lengths say: a message or attribute that does not fit ends the walk.

/// The largest message that [`Message`] is filled to; `nftnl` leaves room for 65,535 bytes and a page.
pub(crate) const MAX_MESSAGE: usize = 65_000;

/// Message types of the nf_tables subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    NewTable = 0,
    GetTable = 1,
    DelTable = 2,
    NewChain = 3,
    NewRule = 6,
    GetRule = 7,
    DelRule = 8,
    NewSet = 9,
    NewSetElem = 12,
    GetSetElem = 13,
    DelSetElem = 14,
    GetGen = 16,
    NewObj = 18,
    GetObj = 19,
    DestroySetElem = 30,
}

/// `NLM_F_CREATE`: make it when it is not there.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_EXCL`: an error when it is there.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_ACK`: answer also when all is well.
pub(crate) const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: answer with all of them.
pub(crate) const DUMP: u16 = 0x300;

const REQUEST: u16 = 0x1;
const DUMP_INTERRUPTED: u16 = 0x10;
/// `RTM_GETROUTE` of linux/rtnetlink.h.
const GET_ROUTE: u16 = 26;
const SUBSYSTEM: u16 = 10 << 8;
/// `NFPROTO_INET` and `NFPROTO_BRIDGE`.
pub(crate) const FAMILY_INET: u8 = 1;
/// See [`FAMILY_INET`].
pub(crate) const FAMILY_BRIDGE: u8 = 7;
const NESTED: u16 = 0x8000;
const KIND_MASK: u16 = 0x3fff;
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
/// The length of a message without attributes.
pub(crate) const BARE_MESSAGE: usize = HEADER + GENERIC_HEADER;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// One message to the nf_tables subsystem, in the inet family.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message without attributes.
    pub(crate) fn new(kind: Kind, flags: u16) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&(SUBSYSTEM | kind as u16).to_ne_bytes());
        bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&[FAMILY_INET, 0, 0, 0]);
        Self { bytes }
    }

    /// A message of another subsystem, with the header that its messages have before the attributes.
    pub(crate) fn with_header(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut message = Self::new(Kind::NewTable, flags);
        message.bytes.truncate(HEADER);
        patch(&mut message.bytes, 4, &kind.to_ne_bytes());
        message.bytes.extend_from_slice(header);
        message
    }

    /// The question for all routes of an address family.
    pub(crate) fn route_dump(family: u8) -> Self {
        Self::with_header(GET_ROUTE, DUMP, &[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// The same about the tables of another family.
    pub(crate) fn in_family(mut self, family: u8) -> Self {
        turn_to_family(&mut self.bytes, family);
        self
    }

    /// Attributes alone, to be put into another message.
    pub(crate) fn attributes() -> Self {
        Self { bytes: Vec::with_capacity(64) }
    }

    /// Adds the attributes of another.
    pub(crate) fn append(&mut self, attributes: &Self) {
        self.raw(&attributes.bytes);
    }

    #[cfg(test)]
    pub(crate) fn finished_attributes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// Adds what are attributes already.
    pub(crate) fn raw(&mut self, attributes: &[u8]) {
        self.bytes.extend_from_slice(attributes);
    }

    /// The bytes so far, header included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an attribute of bytes.
    pub(crate) fn bytes(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        self.nest_as(kind, |m| m.bytes.extend_from_slice(payload))
    }

    /// Adds a text with its closing zero.
    pub(crate) fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        self.nest_as(kind, |m| {
            m.bytes.extend_from_slice(text.as_bytes());
            m.bytes.push(0);
        })
    }

    /// Adds a number of 32 bits in network order.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a number of 64 bits in network order.
    pub(crate) fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds an attribute that holds the attributes which `fill` adds.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.nest_as(kind | NESTED, fill)
    }

    /// Forgets what was added after the message had this length: its memory serves for the next message of the kind.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// The message with its length and `seq` filled in.
    pub(crate) fn finished(&self, seq: u32) -> Vec<u8> {
        let mut bytes = self.sendable().to_vec();
        address(&mut bytes, seq);
        bytes
    }

    /// What is sent of the message. One that outgrew [`MAX_MESSAGE`] is cut to its bare header, which the kernel refuses: whoever fills a
    /// message bounds it.
    pub(crate) fn sendable(&self) -> &[u8] {
        debug_assert!(self.bytes.len() <= MAX_MESSAGE, "a message of {} bytes", self.bytes.len());
        let kept = if self.bytes.len() <= MAX_MESSAGE { self.bytes.len() } else { BARE_MESSAGE };
        self.bytes.get(..kept).unwrap_or_default()
    }

    fn nest_as(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX).to_ne_bytes();
        patch(&mut self.bytes, start, &length);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }
}

/// Fills in the length and the number of a whole message.
pub(crate) fn address(message: &mut [u8], seq: u32) {
    let length = u32::try_from(message.len()).unwrap_or(0).to_ne_bytes();
    patch(message, 0, &length);
    patch(message, 8, &seq.to_ne_bytes());
}

/// Says of a message about which family's tables it is.
pub(crate) fn turn_to_family(message: &mut [u8], family: u8) {
    patch(message, HEADER, &[family]);
}

/// Asks for no answer to a message that is well.
pub(crate) fn ask_for_no_answer(message: &mut [u8]) {
    if let Some(flags) = ne16(message, 6) {
        patch(message, 6, &(flags & !ACK).to_ne_bytes());
    }
}

fn patch(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + with.len()) {
        place.copy_from_slice(with);
    }
}

/// What one received message says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// The answer to message `seq`: zero for well, else an errno.
    Verdict {
        /// The number of the message that is answered.
        seq: u32,
        /// Zero, or the positive errno.
        errno: i32,
    },
    /// The end of a dump.
    Done,
    /// An object: its attributes.
    Object {
        /// The number of the message that is answered.
        seq: u32,
        /// The dump was disturbed by a change and must be made again.
        interrupted: bool,
        /// The attributes.
        attributes: &'a [u8],
    },
}

/// The messages in one received datagram.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(ne32(datagram, 0)?).ok()?;
        let message = datagram.get(..length)?;
        let (kind, flags, seq) = (ne16(message, 4)?, ne16(message, 6)?, ne32(message, 8)?);
        let body = message.get(HEADER..)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(match kind {
            ERROR => {
                let errno = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
                Reply::Verdict { seq, errno: errno.saturating_neg() }
            }
            DONE => Reply::Done,
            _ => Reply::Object {
                seq,
                interrupted: flags & DUMP_INTERRUPTED != 0,
                attributes: body.get(GENERIC_HEADER..).unwrap_or_default(),
            },
        })
    })
}

/// The messages in one received datagram: their types, and what follows the header.
pub(crate) fn messages_of(mut datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::try_from(ne32(datagram, 0)?).ok()?;
        let message = datagram.get(..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((ne16(message, 4)?, message.get(HEADER..)?))
    })
}

/// The attributes in `bytes`: kind (without its flag bits) and payload.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(ne16(bytes, 0)?);
        let kind = ne16(bytes, 2)? & KIND_MASK;
        let payload = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The payload of the first attribute of this kind.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, payload)| payload)
}

/// An attribute of 32 bits in network order.
pub(crate) fn be32(bytes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(attribute(bytes, kind)?.try_into().ok()?))
}

/// An attribute of 64 bits in network order.
pub(crate) fn be64(bytes: &[u8], kind: u16) -> Option<u64> {
    Some(u64::from_be_bytes(attribute(bytes, kind)?.try_into().ok()?))
}

fn ne16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn ne32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut message = Message::new(Kind::NewSetElem, ACK);
        message.text(1, "slips").be32(2, 7).nest(3, |m| {
            m.be64(4, 1 << 40).bytes(5, &[1, 2, 3]);
        });
        let bytes = message.finished(9);
        assert_eq!(bytes.len() % 4, 0);
        let replies: Vec<_> = messages(&bytes).collect();
        let [Reply::Object { seq: 9, interrupted: false, attributes: attrs }] = replies[..] else {
            panic!("{replies:?}");
        };
        assert_eq!(attribute(attrs, 1), Some(&b"slips\0"[..]));
        assert_eq!(be32(attrs, 2), Some(7));
        let inner = attribute(attrs, 3).expect("nest");
        assert_eq!(be64(inner, 4), Some(1 << 40));
        assert_eq!(attribute(inner, 5), Some(&[1, 2, 3][..]));
        assert_eq!(be32(inner, 5), None, "three bytes are no number");
    }

    #[test]
    fn every_cut_and_every_changed_byte_of_a_reply_is_survived() {
        let mut message = Message::new(Kind::NewSetElem, 0);
        message.text(1, "slips").nest(3, |m| {
            m.be64(4, 1);
        });
        let bytes = message.finished(1);
        for cut in 0..bytes.len() {
            walk(&bytes[..cut]);
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                walk(&changed);
            }
        }
    }

    fn walk(bytes: &[u8]) {
        for reply in messages(bytes) {
            if let Reply::Object { attributes: attrs, .. } = reply {
                for (_, payload) in attributes(attrs) {
                    attributes(payload).for_each(drop);
                }
            }
        }
    }
}
