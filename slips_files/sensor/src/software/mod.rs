//! Software that hosts say they run: each once, and again when its version changes. Names and versions are taken apart as
//! Zeek's software log shows them.

mod version;

use std::net::IpAddr;

use slips_core::event::{Event, Software};
use slips_core::time::PacketTime;

use crate::hash::Sip;
use version::Version;

/// Places for what was told; a newcomer takes the place of another, which may then be told again.
const PLACES: usize = 4096;
/// Longest text that is taken apart.
const MAX_TEXT: usize = 512;

/// Where software shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Browser,
    WebServer,
    AppServer,
    SshClient,
    SshServer,
    FtpServer,
    MailServer,
    MysqlServer,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Browser => "HTTP::BROWSER",
            Self::WebServer => "HTTP::SERVER",
            Self::AppServer => "HTTP::APPSERVER",
            Self::SshClient => "SSH::CLIENT",
            Self::SshServer => "SSH::SERVER",
            Self::FtpServer => "FTP::SERVER",
            Self::MailServer => "SMTP::MAIL_SERVER",
            Self::MysqlServer => "MySQL::SERVER",
        }
    }
}

/// What was told, by its hash.
#[derive(Debug)]
pub(crate) struct Known {
    key: [u64; 2],
    /// Two places each: what was said literally, and program with version.
    said: Vec<u64>,
    told: Vec<u64>,
}

fn place(table: &mut [u64], hash: u64) -> Option<&mut u64> {
    table.get_mut(hash as usize % PLACES)
}

impl Known {
    pub(crate) fn new(key: [u64; 2]) -> Self {
        Self { key, said: vec![0; PLACES], told: vec![0; PLACES] }
    }

    fn hash(&self, kind: Kind, host: IpAddr, port: Option<u16>, parts: &[&[u8]]) -> u64 {
        let mut sip = Sip::new(self.key);
        let bits = match host {
            IpAddr::V4(addr) => u128::from(addr.to_bits()),
            IpAddr::V6(addr) => addr.to_bits(),
        };
        sip.word(bits as u64);
        sip.word((bits >> 64) as u64);
        sip.word(u64::from(kind as u8) << 32 | u64::from(port.unwrap_or(0)));
        for part in parts {
            for chunk in part.chunks(8) {
                sip.word(chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
            }
            sip.word(part.len() as u64);
        }
        // zero is an empty place
        sip.finish() | 1
    }

    /// A host says what it runs; tells it where that is news.
    pub(crate) fn note(
        &mut self,
        kind: Kind,
        (host, port): (IpAddr, Option<u16>),
        text: &[u8],
        at: PacketTime,
        out: &mut Vec<Event>,
    ) {
        let text = text.get(..MAX_TEXT).unwrap_or(text).trim_ascii();
        if text.is_empty() || text == b"-" {
            return;
        }
        let said = self.hash(kind, host, port, &[text]);
        match place(&mut self.said, said) {
            Some(known) if *known == said => return,
            Some(known) => *known = said,
            None => return,
        }
        let text = String::from_utf8_lossy(text);
        let Some(Version { name, major, minor }) = version::parse(&text) else { return };
        let numbers = [major.unwrap_or(u32::MAX).to_be_bytes(), minor.unwrap_or(u32::MAX).to_be_bytes()];
        let [major_bytes, minor_bytes] = &numbers;
        let told = self.hash(kind, host, port, &[name.as_bytes(), major_bytes, minor_bytes]);
        match place(&mut self.told, told) {
            Some(known) if *known == told => return,
            Some(known) => *known = told,
            None => return,
        }
        out.push(Event::Software(Box::new(Software {
            at,
            host,
            port,
            software_type: kind.name().to_owned(),
            name,
            major,
            minor,
            unparsed_version: text.into_owned(),
        })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_is_told_once_and_when_it_changes() {
        let mut known = Known::new([1, 2]);
        let mut out = Vec::new();
        let host = |n: u8| (IpAddr::from([192, 0, 2, n]), None);
        for (n, text) in
            [(1, "curl/7.88.1"), (1, "curl/7.88.1"), (1, "curl/7.88.2"), (2, "curl/7.88.1"), (1, "curl/8.0")]
        {
            known.note(Kind::Browser, host(n), text.as_bytes(), PacketTime(0), &mut out);
        }
        for text in ["", "-", " "] {
            known.note(Kind::Browser, host(1), text.as_bytes(), PacketTime(0), &mut out);
        }
        let told: Vec<_> = out
            .iter()
            .filter_map(
                |event| if let Event::Software(s) = event { Some(s.unparsed_version.as_str()) } else { None },
            )
            .collect();
        assert_eq!(told, ["curl/7.88.1", "curl/7.88.1", "curl/8.0"]);
        for n in 0..20_000u32 {
            known.note(Kind::Browser, host(3), format!("a{n}/1.{n}").as_bytes(), PacketTime(0), &mut out);
        }
        assert_eq!((known.said.len(), known.told.len()), (PLACES, PLACES));
    }
}
