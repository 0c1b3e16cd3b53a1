//! What a file holds, told from its first bytes and never from its name.

use memchr::memchr;

use crate::argus;
use crate::source::Format;
use crate::zeek::json;
use crate::zeek::logs::{self, Log};
use crate::zeek::row::Raw;
use crate::zeek::tsv::{Change, Header};

/// So many bytes of a file are looked at.
pub(crate) const LOOK: usize = 64 << 10;
/// So many lines of a JSON log are asked which log it is.
const ASK: usize = 100;

/// What a file holds.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// Not a byte.
    Empty,
    /// A pcap capture, of either byte order and any resolution.
    Pcap,
    /// A pcapng capture.
    PcapNg,
    /// A gzip stream.
    Gzip,
    /// A Zstandard stream.
    Zstd,
    /// A bzip2 stream.
    Bzip2,
    /// A Zeek log of tab-separated columns; `None` when it is one that we do not use.
    ZeekTsv(Option<&'static Log>),
    /// nfdump's binary file.
    Nfdump,
    /// Argus' flow list.
    Argus,
    /// Suricata's event log.
    Eve,
    /// A Zeek log of JSON lines; `None` when its fields do not tell which.
    ZeekJson(Option<&'static Log>),
    /// Something we know but have no reader for.
    NotReadYet(&'static str),
    /// Text or bytes that we do not know; the line at which that became clear.
    Unknown(u64, &'static str),
}

impl Content {
    /// The format, where it is one that is read.
    pub(crate) const fn format(self) -> Option<Format> {
        Some(match self {
            Self::Pcap | Self::PcapNg => Format::Pcap,
            Self::ZeekTsv(_) | Self::ZeekJson(_) => Format::Zeek,
            Self::Eve => Format::Suricata,
            Self::Argus => Format::Argus,
            Self::Nfdump => Format::Nfdump,
            Self::Empty | Self::Gzip | Self::Zstd | Self::Bzip2 | Self::NotReadYet(_) | Self::Unknown(..) => {
                return None;
            }
        })
    }

    /// Why it is refused where another format was asked for.
    pub(crate) const fn refusal(self) -> &'static str {
        match self.format() {
            Some(Format::Pcap) => "a capture, not the format that was asked for",
            Some(Format::Zeek) => "a log of Zeek, not the format that was asked for",
            Some(Format::Suricata) => "an event log of Suricata, not the format that was asked for",
            Some(Format::Argus) => "a flow list of Argus, not the format that was asked for",
            Some(Format::Nfdump) => "an nfdump file, not the format that was asked for",
            None => "not the format that was asked for",
        }
    }
}

/// Tells what begins with `bytes`.
pub(crate) fn look(bytes: &[u8]) -> Content {
    match bytes {
        [] => Content::Empty,
        [0xd4, 0xc3, 0xb2, 0xa1, ..] | [0xa1, 0xb2, 0xc3, 0xd4, ..] => Content::Pcap,
        [0x4d, 0x3c, 0xb2, 0xa1, ..] | [0xa1, 0xb2, 0x3c, 0x4d, ..] => Content::Pcap,
        [0x34, 0xcd, 0xb2, 0xa1, ..] | [0xa1, 0xb2, 0xcd, 0x34, ..] => Content::Pcap,
        [0x0a, 0x0d, 0x0d, 0x0a, ..] => Content::PcapNg,
        [0x1f, 0x8b, ..] => Content::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Content::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Content::NotReadYet("an xz stream"),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Content::Bzip2,
        [0x0c, 0xa5, 1 | 2, 0, ..] | [0xa5, 0x0c, 0, 1 | 2, ..] => Content::Nfdump,
        _ => text(bytes),
    }
}

fn text(bytes: &[u8]) -> Content {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut header = Header::default();
    let mut rest = bytes;
    let mut number = 0;
    let mut zeek = false;
    while let Some((line, after)) = next_line(rest) {
        number += 1;
        let text = line.trim_ascii();
        if text.is_empty() {
            rest = after;
            continue;
        }
        if text.first() != Some(&b'#') {
            return first_row(text, rest, number);
        }
        match header.take(line) {
            Ok(Change::Fields) => return Content::ZeekTsv(log_of(&header)),
            Ok(Change::Begins) => zeek = true,
            Ok(Change::Nothing) => {}
            Err(_) => return Content::Unknown(number, "a Zeek header that cannot be understood"),
        }
        rest = after;
    }
    if zeek {
        Content::ZeekTsv(log_of(&header))
    } else {
        Content::Unknown(number, "neither a capture nor a log")
    }
}

/// Which log a header announces: `#path`, which a filter may have lengthened (`conn_internal`).
pub(crate) fn log_of(header: &Header) -> Option<&'static Log> {
    let by_fields = || {
        let log = logs::by_fields(|field| header.fields.iter().any(|name| name == field))?;
        (header.path.is_empty() || header.path.starts_with(log.name)).then_some(log)
    };
    logs::by_name(&header.path).or_else(by_fields)
}

fn first_row(line: &[u8], rest: &[u8], number: u64) -> Content {
    if line.first() == Some(&b'{') {
        return json_lines(rest, number);
    }
    if argus::begins_with(line) {
        return Content::Argus;
    }
    if line.contains(&0) {
        return Content::Unknown(number, "neither a capture nor a log");
    }
    if line.contains(&b'\t') {
        return Content::Unknown(number, "a table without the header that names its columns");
    }
    Content::Unknown(number, "neither a capture nor a log")
}

fn json_lines(bytes: &[u8], number: u64) -> Content {
    let mut rest = bytes;
    let mut objects = false;
    for _ in 0..ASK {
        let Some((line, after)) = next_line(rest) else { break };
        rest = after;
        let Some(keys) = json::keys(line) else { continue };
        objects = true;
        let has = |wanted: &str| keys.iter().any(|(key, _)| *key == wanted.as_bytes());
        if has("event_type") && (has("flow_id") || has("timestamp")) {
            return Content::Eve;
        }
        if let Some(log) = logs::by_keys(&keys) {
            return Content::ZeekJson(Some(log));
        }
        if let Some((_, Raw::Plain(_))) = keys.iter().find(|(key, _)| *key == b"_path") {
            return Content::ZeekJson(None);
        }
    }
    // Perhaps the first line is longer than what was looked at; its beginning is then all there is to judge by.
    if objects || json::mentions(bytes, b"\"ts\":") {
        Content::ZeekJson(None)
    } else {
        Content::Unknown(number, "JSON that is no Zeek log")
    }
}

fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.is_empty() {
        return None;
    }
    let end = memchr(b'\n', bytes).unwrap_or(bytes.len());
    let line = bytes.get(..end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), bytes.get(end + 1..).unwrap_or(&[])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(bytes: &[u8]) -> String {
        let log = |log: Option<&Log>| log.map_or("?", |log| log.name);
        match look(bytes) {
            Content::Empty => "empty".to_owned(),
            Content::Pcap => "pcap".to_owned(),
            Content::PcapNg => "pcapng".to_owned(),
            Content::Gzip => "gzip".to_owned(),
            Content::Zstd => "zstd".to_owned(),
            Content::Bzip2 => "bzip2".to_owned(),
            Content::ZeekTsv(kind) => format!("tsv {}", log(kind)),
            Content::ZeekJson(kind) => format!("json {}", log(kind)),
            Content::Nfdump => "nfdump".to_owned(),
            Content::Argus => "argus".to_owned(),
            Content::Eve => "eve".to_owned(),
            Content::NotReadYet(what) => what.to_owned(),
            Content::Unknown(line, why) => format!("{line}: {why}"),
        }
    }

    #[test]
    fn content_decides() {
        for (bytes, expected) in [
            (b"".as_slice(), "empty"),
            (b"\xd4\xc3\xb2\xa1\x02\x00", "pcap"),
            (b"\xa1\xb2\x3c\x4d", "pcap"),
            (b"\x0a\x0d\x0d\x0a\x1c\0\0\0", "pcapng"),
            (b"\x1f\x8b\x08", "gzip"),
            (b"\x0c\xa5\x01\x00", "nfdump"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"#separator \\x09\n#path\tconn\n#fields\tts\n", "tsv conn"),
            (b"### a remark\n#separator \\x09\n#path\tx509\n#fields\tts\n", "tsv ?"),
            (b"#separator \\x09\n#path\tconn_inside\n#fields\tts\tconn_state\n", "tsv conn"),
            (b"#fields\tts\tquery\tqtype\n", "tsv dns"),
            (b"#separator \\x09\n#path\thttp\n", "tsv http"),
            (b"{\"ts\":1.0,\"uid\":\"C\",\"conn_state\":\"SF\"}\n", "json conn"),
            (b"\xef\xbb\xbf{\"ts\":1.0,\"note\":\"x\"}\n", "json notice"),
            (b"{\"ts\":1.0,\"_path\":\"x509\",\"note\":\"x\"}\n", "json ?"),
            (b"{\"ts\":1.0,\"_path\":\"dns\"}\n", "json dns"),
            (b"{\"ts\":1.0}\n{\"ts\":1.0,\"tunnel_type\":\"x\"}", "json tunnel"),
            (b"{\"ts\":1.0,\"call_id\":\"x\",\"request_body_len\":0}", "json ?"),
            (b"{\"flow_id\":1,\"event_type\":\"flow\",\"timestamp\":\"x\"}", "eve"),
            (b"Dur,dstaddr,SADDR,Sport,StartTime\n", "argus"),
            (b"StartTime\tDur\tSrcAddr\tDstAddr\n", "argus"),
            (
                b"2019/04/04 16:23:00.3,0.02,udp,10.8.0.69,48427,  <->,8.8.8.8,53,CON,0,0,2,142,63,1,\n",
                "argus",
            ),
            (b"StartTime,Dur,Proto,Sport\n", "1: neither a capture nor a log"),
            (
                b"2015/01/01 10:00:00\ttcp\t1.2.3.4\t->\t1.2.3.4\n",
                "1: a table without the header that names its columns",
            ),
            (b"a\tb\n", "1: a table without the header that names its columns"),
            (b"hello\n", "1: neither a capture nor a log"),
            (b"# only\n# remarks", "2: neither a capture nor a log"),
            (b"#separator ab\n", "1: a Zeek header that cannot be understood"),
            (b"{broken\n", "1: JSON that is no Zeek log"),
        ] {
            assert_eq!(check(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = check(&bytes);
        }
    }
}
