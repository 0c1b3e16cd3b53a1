//! DCE/RPC, connection-oriented (C706, chapter 12; MS-RPCE): which operation of which interface a client calls.
//!
//! The same parser reads a TCP connection ([`Rpc`]) and a named pipe inside SMB. It keeps the interfaces that the client bound (at most
//! [`MAX_CONTEXTS`]) and looks at heads only: 24 bytes of a request, the presentation contexts of a bind. Bodies are skipped. What is no
//! DCE/RPC ends it.

mod interfaces;

use slips_core::exchange::App;

use self::interfaces::{Interface, name_of, operation_of};
use super::{Dialogue, Request};
use crate::reader::{Cx, Next};
use crate::track::Dir;

/// Calls told of one connection.
const MAX_TOLD: u32 = 200;

/// Presentation contexts remembered per association; a client of Windows uses one to four.
const MAX_CONTEXTS: usize = 16;
/// Bytes of a message that are kept until its head is whole: a bind with sixteen contexts of one transfer syntax each.
const MAX_HEAD: usize = 28 + MAX_CONTEXTS * 44;
/// The common head.
const HEAD: usize = 16;
/// With allocation hint, context and operation.
const REQUEST_HEAD: usize = 24;

const REQUEST: u8 = 0;
const BIND: u8 = 11;
const ALTER_CONTEXT: u8 = 14;
/// The largest type of a message that MS-RPCE knows.
const LARGEST_TYPE: u8 = 19;
const FIRST_FRAGMENT: u8 = 1;

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) interface: Interface,
    pub(crate) opnum: u16,
}

/// A message of another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRpc;

/// What the client of one association says.
#[derive(Debug, Default)]
pub(crate) struct Association {
    contexts: Vec<(u16, Interface)>,
    /// The beginning of a message whose head is not whole.
    head: Vec<u8>,
    /// Bytes of the running message that are still to be skipped.
    skip: usize,
}

impl Association {
    /// Reads on in the client's stream and tells every call.
    pub(crate) fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Call)) -> Result<(), NoRpc> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            // Small steps until the head says how much of it is wanted.
            let wanted = self.wanted()?;
            let missing = wanted.saturating_sub(self.head.len()).min(bytes.len());
            let (part, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
            self.head.extend_from_slice(part);
            bytes = rest;
            if self.head.len() < wanted || self.wanted()? > self.head.len() {
                continue;
            }
            self.message(&mut tell);
            self.skip = self.length()?.saturating_sub(self.head.len());
            self.head.clear();
        }
        Ok(())
    }

    /// Forgets the running message: bytes are missing, the next ones begin a message.
    pub(crate) fn resync(&mut self) {
        self.head.clear();
        self.skip = 0;
    }

    /// Bytes that it holds.
    pub(crate) fn held(&self) -> usize {
        self.head.len() + self.contexts.len() * size_of::<(u16, Interface)>()
    }

    /// Forgets everything; keeps its memory.
    pub(crate) fn reset(&mut self) {
        self.resync();
        self.contexts.clear();
    }

    fn is_little_endian(&self) -> bool {
        self.head.get(4).is_some_and(|drep| drep & 0xf0 == 0x10)
    }

    fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.head.get(at..)?.first_chunk()?;
        Some(if self.is_little_endian() { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn length(&self) -> Result<usize, NoRpc> {
        match self.short(8) {
            Some(length) if usize::from(length) >= HEAD => Ok(usize::from(length)),
            _ => Err(NoRpc),
        }
    }

    /// How many bytes of the running message are worth keeping, as far as is known.
    fn wanted(&self) -> Result<usize, NoRpc> {
        if self.head.len() < HEAD {
            return Ok(HEAD);
        }
        let (version, minor) = (self.head.first(), self.head.get(1));
        let kind = self.head.get(2).copied().unwrap_or(u8::MAX);
        if version != Some(&5) || minor.is_none_or(|minor| *minor > 1) || kind > LARGEST_TYPE {
            return Err(NoRpc);
        }
        let most = match kind {
            REQUEST => REQUEST_HEAD,
            BIND | ALTER_CONTEXT => MAX_HEAD,
            _ => HEAD,
        };
        Ok(most.min(self.length()?))
    }

    fn message(&mut self, tell: &mut impl FnMut(Call)) {
        match self.head.get(2).copied() {
            Some(REQUEST) if self.head.get(3).is_some_and(|flags| flags & FIRST_FRAGMENT != 0) => {
                let (Some(context), Some(opnum)) = (self.short(20), self.short(22)) else { return };
                let known = self.contexts.iter().find(|(id, _)| *id == context);
                if let Some((_, interface)) = known {
                    tell(Call { interface: *interface, opnum });
                }
            }
            Some(BIND | ALTER_CONTEXT) => self.bind(),
            _ => {}
        }
    }

    fn bind(&mut self) {
        let count = self.head.get(24).copied().unwrap_or(0);
        let mut at = 28;
        for _ in 0..count {
            let (Some(id), Some(syntaxes)) = (self.short(at), self.head.get(at + 2).copied()) else { return };
            let Some(uuid) = self.head.get(at + 4..).and_then(<[u8]>::first_chunk::<16>) else { return };
            let interface = Interface::from_wire(uuid, self.is_little_endian());
            match self.contexts.iter().position(|(known, _)| *known == id) {
                Some(place) => {
                    if let Some((_, known)) = self.contexts.get_mut(place) {
                        *known = interface;
                    }
                }
                None if self.contexts.len() < MAX_CONTEXTS => self.contexts.push((id, interface)),
                None => {}
            }
            at += 24 + 20 * usize::from(syntaxes);
        }
    }
}

impl Call {
    /// Tells it, in the name of `subject` where that is known.
    pub(crate) fn tell(self, subject: &str, cx: &mut Cx<'_>) {
        let object = name_of(self.interface).map_or_else(|| self.interface.to_string(), str::to_owned);
        let operation = operation_of(self.interface, self.opnum);
        let detail = operation.map_or_else(|| format!("operation {}", self.opnum), str::to_owned);
        let request = Request { action: "call", object, detail, subject: subject.to_owned() };
        request.tell(App::DceRpc, String::new(), cx);
    }
}

/// An association over TCP.
#[derive(Debug, Default)]
pub(crate) struct Rpc {
    association: Association,
    told: u32,
}

impl Dialogue for Rpc {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        if dir == Dir::Resp {
            return Next::More;
        }
        let told = &mut self.told;
        let read = self.association.read(bytes, |call| {
            *told += 1;
            call.tell("", cx);
        });
        if read.is_err() || self.told >= MAX_TOLD { Next::Done } else { Next::More }
    }

    fn held(&self) -> usize {
        self.association.held()
    }

    fn reset(&mut self) {
        self.association.reset();
        self.told = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// svcctl, little-endian as on the wire.
    const SVCCTL: [u8; 16] =
        [0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35, 0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03];

    fn message(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![5, 0, kind, flags, 0x10, 0, 0, 0];
        bytes.extend((HEAD as u16 + body.len() as u16).to_le_bytes());
        bytes.extend([0, 0, 1, 0, 0, 0]);
        bytes.extend(body);
        bytes
    }

    fn bind(kind: u8, contexts: &[(u16, [u8; 16])]) -> Vec<u8> {
        let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, contexts.len() as u8, 0, 0, 0];
        for (id, uuid) in contexts {
            body.extend(id.to_le_bytes());
            body.extend([1, 0]);
            body.extend(uuid);
            body.extend([2, 0, 0, 0]);
            body.extend([7; 20]);
        }
        message(kind, 3, &body)
    }

    fn request(context: u16, opnum: u16, flags: u8, body: usize) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(context.to_le_bytes());
        bytes.extend(opnum.to_le_bytes());
        bytes.resize(8 + body, 0xaa);
        message(REQUEST, flags, &bytes)
    }

    fn calls(parts: &[Vec<u8>], step: usize) -> Result<Vec<(&'static str, u16)>, NoRpc> {
        let mut association = Association::default();
        let mut told = Vec::new();
        for part in parts.concat().chunks(step) {
            association.read(part, |call| told.push((name_of(call.interface).unwrap_or("?"), call.opnum)))?;
        }
        Ok(told)
    }

    #[test]
    fn calls_are_told_however_the_bytes_come() {
        let parts = [
            bind(BIND, &[(0, SVCCTL), (1, [9; 16])]),
            request(0, 12, 3, 3000),
            request(0, 12, 2, 500),
            request(1, 4, 3, 0),
            request(7, 4, 3, 0),
            bind(ALTER_CONTEXT, &[(7, SVCCTL)]),
            message(12, 3, &[0; 40]),
            request(7, 19, 1, 9),
        ];
        for step in [1, 2, 7, 16, 24, 100, 100_000] {
            assert_eq!(calls(&parts, step), Ok(vec![("svcctl", 12), ("?", 4), ("svcctl", 19)]), "{step}");
        }
        assert_eq!(operation_of(Interface::from_wire(&SVCCTL, true), 12), Some("CreateServiceW"));
    }

    #[test]
    fn another_protocol_ends_it() {
        for bytes in
            [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[5, 7, 0, 3, 16, 0, 0, 0, 24, 0, 0, 0, 1, 0, 0, 0]]
        {
            assert_eq!(calls(&[bytes.to_vec()], 9), Err(NoRpc));
        }
        let mut short = message(REQUEST, 3, &[]);
        short.splice(8..10, [15, 0]);
        assert_eq!(calls(&[short], 99), Err(NoRpc), "shorter than its own head");
    }

    #[test]
    fn a_bind_that_lies_is_bounded() {
        let many: Vec<(u16, [u8; 16])> = (0..255).map(|id| (id, SVCCTL)).collect();
        let mut association = Association::default();
        for _ in 0..100 {
            assert_eq!(association.read(&bind(BIND, &many), |_| {}), Ok(()));
        }
        assert!(association.contexts.len() <= MAX_CONTEXTS && association.head.capacity() <= 2 * MAX_HEAD);
        let mut lying = bind(BIND, &[(0, SVCCTL)]);
        lying[24] = 255;
        assert_eq!(association.read(&lying, |_| {}), Ok(()));
    }
}
