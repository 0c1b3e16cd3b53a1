//! DCE/RPC, connection-oriented (C706, chapter 12; MS-RPCE): which operation of which interface a client calls.
//!
//! The same parser reads a TCP connection ([`Rpc`]) and a named pipe inside SMB. It keeps the interfaces that the client bound (at most
//! [`MAX_CONTEXTS`]) and looks at heads only: 24 bytes of a request, the presentation contexts of a bind. Bodies are skipped, but for the
//! first [`MAX_ACTIVATION`] bytes of a request to make an object, which name its class. What is no DCE/RPC ends it.

mod interfaces;

use slips_core::exchange::App;

use self::interfaces::{ACTIVATOR, Interface, class_in, name_of, operation_of};
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

/// Of a request to make an object: its class stands within the first few hundred bytes.
const MAX_ACTIVATION: usize = REQUEST_HEAD + 1024;
/// RemoteGetClassObject and RemoteCreateInstance (MS-DCOM, section 3.1.2.5.2.3).
const ACTIVATIONS: [u16; 2] = [3, 4];

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
    /// The class of the object that it makes, if it is one that attackers drive.
    pub(crate) class: Option<&'static str>,
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
            REQUEST if self.is_activation() => MAX_ACTIVATION,
            REQUEST => REQUEST_HEAD,
            BIND | ALTER_CONTEXT => MAX_HEAD,
            _ => HEAD,
        };
        Ok(most.min(self.length()?))
    }

    /// Whether the running request, as far as its head is there, makes an object. Of an association whose beginning was not seen, any
    /// interface may be the one that does.
    fn is_activation(&self) -> bool {
        let (Some(context), Some(opnum)) = (self.short(20), self.short(22)) else { return false };
        let bound = self.interface(context);
        ACTIVATIONS.contains(&opnum) && bound.map_or(self.contexts.is_empty(), |bound| bound == ACTIVATOR)
    }

    fn interface(&self, context: u16) -> Option<Interface> {
        self.contexts.iter().find(|(id, _)| *id == context).map(|(_, interface)| *interface)
    }

    fn message(&mut self, tell: &mut impl FnMut(Call)) {
        match self.head.get(2).copied() {
            Some(REQUEST) if self.head.get(3).is_some_and(|flags| flags & FIRST_FRAGMENT != 0) => {
                let (Some(context), Some(opnum)) = (self.short(20), self.short(22)) else { return };
                let body = self.head.get(REQUEST_HEAD..).unwrap_or_default();
                let class = if self.is_activation() { class_in(body) } else { None };
                // The class says which interface it is, where that was not seen.
                let interface = self.interface(context).or(class.map(|_| ACTIVATOR));
                if let Some(interface) = interface {
                    tell(Call { interface, opnum, class });
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
        let detail = self.class.or(operation);
        let detail = detail.map_or_else(|| format!("operation {}", self.opnum), str::to_owned);
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

    /// MMC20.Application, as it stands on the wire.
    const MMC20: [u8; 16] =
        [0x1a, 0x79, 0xb2, 0x49, 0xae, 0xb1, 0x90, 0x4c, 0x9b, 0x8e, 0xe8, 0x60, 0xba, 0x07, 0xf8, 0x89];
    const ON_WIRE_ACTIVATOR: [u8; 16] = [0xa0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];

    /// A request of so many bytes that names a class at its hundredth.
    fn activation(opnum: u16, class: [u8; 16]) -> Vec<u8> {
        let mut bytes = request(0, opnum, 3, 900);
        bytes[124..140].copy_from_slice(&class);
        bytes
    }

    #[test]
    fn the_class_of_an_object_that_is_made_is_told() {
        let classes = |parts: &[Vec<u8>], step: usize| {
            let mut association = Association::default();
            let mut told = Vec::new();
            for part in parts.concat().chunks(step) {
                association
                    .read(part, |call| told.push((name_of(call.interface), call.opnum, call.class)))
                    .expect("dce_rpc");
            }
            told
        };
        let activator = Some("ISystemActivator");
        for step in [1, 7, 24, 100_000] {
            let bound = [bind(BIND, &[(0, ON_WIRE_ACTIVATOR)]), activation(4, MMC20), request(0, 4, 3, 3000)];
            let expected = [(activator, 4, Some("MMC20.Application")), (activator, 4, None)];
            assert_eq!(classes(&bound, step), expected, "{step}");
            let joined = [activation(3, MMC20), activation(3, [9; 16]), activation(5, MMC20)];
            assert_eq!(classes(&joined, step), [(activator, 3, Some("MMC20.Application"))], "{step}");
            let other = [bind(BIND, &[(0, SVCCTL)]), activation(4, MMC20)];
            assert_eq!(classes(&other, step), [(Some("svcctl"), 4, None)], "{step}");
        }
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
