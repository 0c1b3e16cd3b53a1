//! Applications of which little is read: who logs in and whether he is let in, and what else detections ask for.
//!
//! Each is one file and one [`Dialogue`]; most end after the login, so that their flows cost nothing any more.

mod dcerpc;
mod irc;
mod kerberos;
mod ldap;
mod mail;
mod modbus;
mod mqtt;
mod mysql;
mod postgresql;
mod prompts;
mod radius;
mod rdp;
#[allow(clippy::indexing_slicing, reason = "by direction")]
mod redis;
mod rfb;
mod rlogin;
pub(crate) mod sasl;
mod sip;
mod smb;
mod snmp;
mod socks;
mod stratum;
mod telnet;

use std::fmt::Debug;

use slips_core::event::Event;
use slips_core::exchange::{App, Auth, AuthOutcome, Operation};

pub(crate) use self::prompts::is_user_prompt;
pub(crate) use self::rlogin::{is_rlogin, is_rsh};
use crate::emit;
use crate::reader::{Cx, Next};
use crate::service::Service;
use crate::track::Dir;

/// Who understands a conversation: the bytes of both sides in order, or its datagrams.
pub(crate) trait Dialogue: Debug + Send {
    /// Takes the next bytes of a side.
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next;

    /// Bytes are missing. Most cannot go on without them.
    fn lose(&mut self, _dir: Dir, cx: &mut Cx<'_>) -> Next {
        self.finish(cx);
        Next::Done
    }

    /// The conversation is over, or goes on encrypted: what is still to be told?
    fn finish(&mut self, _cx: &mut Cx<'_>) {}

    /// Bytes that it holds.
    fn held(&self) -> usize {
        0
    }

    /// Forgets everything, for the next conversation.
    fn reset(&mut self);
}

/// Who reads a service; `None` when nobody here does.
pub(crate) fn dialogue(service: Service) -> Option<Box<dyn Dialogue>> {
    Some(match service {
        Service::Telnet => Box::<telnet::Telnet>::default(),
        Service::Rlogin => Box::new(rlogin::Remote::rlogin()),
        Service::Rsh => Box::new(rlogin::Remote::rsh()),
        Service::Pop3 => Box::new(mail::Mailbox::pop3()),
        Service::Imap => Box::new(mail::Mailbox::imap()),
        Service::Mysql => Box::<mysql::MySql>::default(),
        Service::Postgresql => Box::<postgresql::Postgres>::default(),
        Service::Rdp => Box::<rdp::Rdp>::default(),
        Service::Kerberos => Box::<kerberos::Kerberos>::default(),
        Service::KerberosTcp => Box::new(kerberos::Kerberos::framed()),
        Service::LdapTcp => Box::<ldap::Ldap>::default(),
        Service::Rfb => Box::<rfb::Rfb>::default(),
        Service::Redis => Box::<redis::Redis>::default(),
        Service::Mqtt => Box::<mqtt::Mqtt>::default(),
        Service::Socks => Box::<socks::Socks>::default(),
        Service::Sip => Box::<sip::Sip>::default(),
        Service::Snmp => Box::<snmp::Snmp>::default(),
        Service::Radius => Box::<radius::Radius>::default(),
        Service::Stratum => Box::<stratum::Stratum>::default(),
        Service::Irc => Box::<irc::Irc>::default(),
        Service::Modbus => Box::<modbus::Modbus>::default(),
        Service::Smb => Box::<smb::Smb>::default(),
        Service::DceRpc => Box::<dcerpc::Rpc>::default(),
        _ => return None,
    })
}

/// Whether the datagrams of a service are read.
pub(crate) const fn reads_datagrams(service: Service) -> bool {
    matches!(service, Service::Kerberos | Service::Sip | Service::Snmp | Service::Radius)
}

/// At most 128 bytes as text.
pub(crate) fn short(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..128).unwrap_or(bytes)).into_owned()
}

/// Text in UTF-16, little-endian, at most 128 letters.
pub(crate) fn wide(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).take(128).filter_map(|pair| pair.first_chunk().copied());
    char::decode_utf16(units.map(u16::from_le_bytes)).map(|letter| letter.unwrap_or('\u{fffd}')).collect()
}

/// Little-endian 16 bits at `at`.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

/// Little-endian 32 bits at `at`.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

/// An attempt to log in, as far as it was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) user: String,
    pub(crate) domain: String,
    pub(crate) host: String,
    pub(crate) method: String,
    pub(crate) clear_password: bool,
}

impl Attempt {
    pub(crate) fn of(user: String, method: &str) -> Self {
        Self { user, method: method.to_owned(), ..Self::default() }
    }

    /// Bytes that it holds while it waits for its answer.
    pub(crate) const fn held(&self) -> usize {
        size_of::<Self>() + self.user.len() + self.domain.len() + self.host.len() + self.method.len()
    }

    /// The attempt ended.
    pub(crate) fn tell(self, app: App, outcome: AuthOutcome, reason: String, cx: &mut Cx<'_>) {
        let Self { user, domain, host, method, clear_password } = self;
        let about = emit::about(cx.track, cx.at);
        cx.tell(Event::Auth(Box::new(Auth {
            about,
            app,
            user,
            domain,
            host,
            method,
            outcome,
            reason,
            clear_password,
        })));
    }
}

/// A request as far as it was seen; the rest is `Request::default()`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Request {
    pub(crate) action: &'static str,
    pub(crate) object: String,
    pub(crate) subject: String,
    pub(crate) detail: String,
}

impl Request {
    /// Bytes that it holds while it waits for its answer.
    pub(crate) const fn held(&self) -> usize {
        size_of::<Self>() + self.object.len() + self.subject.len() + self.detail.len()
    }

    /// The request was answered with `status`, or will not be.
    pub(crate) fn tell(self, app: App, status: String, cx: &mut Cx<'_>) {
        let Self { action, object, subject, detail } = self;
        let about = emit::about(cx.track, cx.at);
        cx.tell(Event::Operation(Box::new(Operation {
            about,
            app,
            action,
            object,
            subject,
            detail,
            status,
        })));
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! What dialogues tell, in short.

    use slips_core::event::Event;

    use crate::reader::testing::read;
    use crate::service::Service;
    use crate::track::Dir;

    /// `auth USER@DOMAIN/HOST METHOD OUTCOME REASON` and `op ACTION OBJECT SUBJECT DETAIL STATUS`; logins are told by their attempts.
    fn line(event: &Event) -> Option<String> {
        Some(match event {
            Event::Auth(auth) => {
                let clear = if auth.clear_password { " clear" } else { "" };
                format!(
                    "auth {}@{}/{} {} {} {}{clear}",
                    auth.user,
                    auth.domain,
                    auth.host,
                    auth.method,
                    auth.outcome.name(),
                    auth.reason
                )
            }
            Event::Operation(op) => {
                format!("op {} {} {} {} {}", op.action, op.object, op.subject, op.detail, op.status)
            }
            _ => return None,
        })
    }

    /// What is told of these pieces, however they are cut; then tries every piece cut short, and flipped bits.
    pub(crate) fn check(service: Service, talk: &[(Dir, &[u8])], expected: &[&str]) {
        for size in [usize::MAX, 7, 1] {
            let told: Vec<_> = read(service, talk, size).iter().filter_map(line).collect();
            assert_eq!(told, expected, "cut at {size}");
        }
        hostile(service, talk);
    }

    /// The same for datagrams, which are never cut.
    pub(crate) fn check_datagrams(service: Service, talk: &[(Dir, &[u8])], expected: &[&str]) {
        let told: Vec<_> = read(service, talk, usize::MAX).iter().filter_map(line).collect();
        assert_eq!(told, expected);
        hostile(service, talk);
    }

    fn hostile(service: Service, talk: &[(Dir, &[u8])]) {
        for nth in 0..talk.len() {
            let whole = talk[nth].1;
            for at in (0..whole.len()).step_by(1 + whole.len() / 64) {
                let mut short = talk.to_vec();
                short[nth].1 = &whole[..at];
                read(service, &short, usize::MAX);
                for bit in [0x01, 0x80, 0xff] {
                    let mut flipped = whole.to_vec();
                    flipped[at] ^= bit;
                    let mut wrong = talk.to_vec();
                    wrong[nth].1 = &flipped;
                    read(service, &wrong, usize::MAX);
                }
            }
        }
        let endless = vec![b'a'; 100_000];
        let told = read(service, &[(Dir::Orig, &endless), (Dir::Resp, &endless)], 1400);
        assert!(told.len() < 100);
    }
}
