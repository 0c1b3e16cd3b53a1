//! The hellos of both sides.

use super::Transport;
use super::cursor::{Cursor, numbers};

/// Extensions that are read.
pub(super) mod extension {
    pub(in super::super) const SERVER_NAME: u16 = 0;
    pub(in super::super) const GROUPS: u16 = 10;
    pub(in super::super) const POINT_FORMATS: u16 = 11;
    pub(in super::super) const SIGNATURES: u16 = 13;
    pub(in super::super) const ALPN: u16 = 16;
    pub(in super::super) const TICKET: u16 = 35;
    pub(in super::super) const OLD_KEY_SHARE: u16 = 40;
    pub(in super::super) const PRE_SHARED_KEY: u16 = 41;
    pub(in super::super) const VERSIONS: u16 = 43;
    pub(in super::super) const KEY_SHARE: u16 = 51;
}

/// Extensions of one hello that are looked at; a stack sends some twenty.
const MAX_EXTENSIONS: usize = 256;

/// A hello, as slices of the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello<'a> {
    /// Version field of the message itself.
    pub(super) version: u16,
    pub(super) session: &'a [u8],
    /// The client's list; the server's choice as a list of one.
    pub(super) ciphers: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Hello<'a> {
    /// Body of a client hello.
    pub(super) fn of_client(body: &'a [u8], transport: Transport) -> Option<Self> {
        let mut body = Cursor(body);
        let version = body.u16()?;
        body.take(32)?;
        let session = body.vec8()?;
        if transport == Transport::Dtls {
            body.vec8()?; // cookie
        }
        let ciphers = body.vec16()?;
        body.vec8()?;
        Some(Self { version, session, ciphers, extensions: body.vec16().unwrap_or(&[]) })
    }

    /// Body of a server hello.
    pub(super) fn of_server(body: &'a [u8]) -> Option<Self> {
        let mut body = Cursor(body);
        let version = body.u16()?;
        body.take(32)?;
        if matches!(version, 0x7f00..=0x7f15) {
            // drafts of TLS 1.3 before the 22nd had neither session nor compression here
            let ciphers = body.take(2)?;
            return Some(Self { version, session: &[], ciphers, extensions: body.vec16().unwrap_or(&[]) });
        }
        let session = body.vec8()?;
        let ciphers = body.take(2)?;
        body.u8()?;
        Some(Self { version, session, ciphers, extensions: body.vec16().unwrap_or(&[]) })
    }

    /// Numbers and contents of the extensions, in order.
    pub(super) fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + Clone {
        let mut rest = Cursor(self.extensions);
        std::iter::from_fn(move || Some((rest.u16()?, rest.vec16()?))).take(MAX_EXTENSIONS)
    }

    pub(super) fn extension(&self, number: u16) -> Option<&'a [u8]> {
        self.extensions().find(|(found, _)| *found == number).map(|(_, content)| content)
    }

    /// The first host name of the server name extension.
    pub(super) fn server_name(&self) -> Option<&'a [u8]> {
        let mut list = Cursor(Cursor(self.extension(extension::SERVER_NAME)?).vec16()?);
        let kind = list.u8()?;
        let name = list.vec16()?;
        (kind == 0).then_some(name)
    }

    /// The first protocol of the ALPN extension.
    pub(super) fn protocol(&self) -> Option<&'a [u8]> {
        Cursor(Cursor(self.extension(extension::ALPN)?).vec16()?).vec8()
    }

    /// A list with its length in two bytes before it, as an extension's content.
    pub(super) fn list16(&self, number: u16) -> &'a [u8] {
        self.extension(number).and_then(|content| Cursor(content).vec16()).unwrap_or(&[])
    }

    /// A list with its length in one byte before it, as an extension's content.
    pub(super) fn list8(&self, number: u16) -> &'a [u8] {
        self.extension(number).and_then(|content| Cursor(content).vec8()).unwrap_or(&[])
    }

    /// The version that a server hello chooses.
    pub(super) fn chosen_version(&self) -> u16 {
        let chosen = self.extension(extension::VERSIONS).and_then(|content| Cursor(content).u16());
        chosen.unwrap_or(self.version)
    }

    /// The cipher that a server hello chooses.
    pub(super) fn cipher(&self) -> Option<u16> {
        numbers(self.ciphers).next()
    }

    /// The group of a server hello's key share.
    pub(super) fn key_share(&self) -> Option<u16> {
        let share = self.extension(extension::KEY_SHARE);
        Cursor(share.or_else(|| self.extension(extension::OLD_KEY_SHARE))?).u16()
    }
}
