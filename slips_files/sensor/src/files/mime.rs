//! The type of a file by its first bytes, named as Zeek names it.

/// First bytes that are needed to be sure.
pub(super) const SNIFFED: usize = 1024;

/// A text that is no more than text must be this long.
const PLAIN: usize = 10;

/// Openings at a fixed place.
const MAGIC: &[(usize, &[u8], &str)] = &[
    (0, b"MZ", "application/x-dosexec"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"\xff\xd8", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/x-ms-bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (8, b"WEBP", "image/webp"),
    (0, b"\0\0\x01\0", "image/x-icon"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"\x1f\x8b", "application/x-gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/x-rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"MSCF", "application/vnd.ms-cab-compressed"),
    (0, b"!<arch>\ndebian", "application/x-debian-package"),
    (0, b"!<arch>", "application/x-archive"),
    (0, b"\xed\xab\xee\xdb", "application/x-rpm"),
    (0, b"\xca\xfe\xba\xbe", "application/x-java-applet"),
    (0, b"dex\n", "application/vnd.android.dex"),
    (0, b"\xfe\xed\xfa\xce", "application/x-mach-o-executable"),
    (0, b"\xfe\xed\xfa\xcf", "application/x-mach-o-executable"),
    (0, b"\xce\xfa\xed\xfe", "application/x-mach-o-executable"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-o-executable"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/msword"),
    (0, b"{\\rtf", "text/rtf"),
    (0, b"FWS", "application/x-shockwave-flash"),
    (0, b"CWS", "application/x-shockwave-flash"),
    (0, b"ZWS", "application/x-shockwave-flash"),
    (0, b"Cr24", "application/chrome-ext"),
    (0, b"wOFF", "application/font-woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"OTTO", "application/vnd.ms-opentype"),
    (0, b"\0\x01\0\0\0", "application/x-font-ttf"),
    (34, b"LP", "application/vnd.ms-fontobject"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS", "application/ogg"),
    (0, b"fLaC", "audio/x-flac"),
    (0, b"RIFF", "audio/x-wav"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"\x1aE\xdf\xa3", "video/x-matroska"),
    (0, b"\0\0\x01\xba", "video/mpeg"),
    (0, b"\0\0\x01\xb3", "video/mpeg"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftypM4A", "audio/m4a"),
    (4, b"ftyp", "video/mp4"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "video/x-ms-wmv"),
    (0, b"SQLite format 3\0", "application/x-sqlite3"),
    (0, b"d8:announce", "application/x-bittorrent"),
    (0, b"-----BEGIN CERTIFICATE", "application/x-x509-ca-cert"),
    (0, b"-----BEGIN PGP", "application/pgp"),
    (0, b"L\0\0\0\x01\x14\x02\0", "application/x-ms-shortcut"),
];

/// First elements of marked-up texts, after white space, comments and an XML declaration, without regard to case.
const ELEMENTS: &[(&[u8], &str)] = &[
    (b"<!doctype html", "text/html"),
    (b"<html", "text/html"),
    (b"<head", "text/html"),
    (b"<title", "text/html"),
    (b"<body", "text/html"),
    (b"<meta http-equiv", "text/html"),
    (b"<rss", "text/rss"),
    (b"<soap:envelope", "application/soap+xml"),
    (b"<soap-env:envelope", "application/soap+xml"),
    (b"<cross-domain-policy", "text/x-cross-domain-policy"),
    (b"<!doctype cross-domain-policy", "text/x-cross-domain-policy"),
    (b"<methodresponse>", "application/xml-rpc"),
];

/// Other openings of texts, after white space, without regard to case.
const OPENINGS: &[(&[u8], &str)] = &[
    (b"<script type=\"text/javascript", "application/javascript"),
    (b"<script type='text/javascript", "application/javascript"),
    (b"<script language=\"javascript", "application/javascript"),
    (b"<script>var ", "application/javascript"),
    (b"<script>function ", "application/javascript"),
    (b"for (;;);", "application/javascript"),
    (b"document.write(", "application/javascript"),
    (b"document.writeln(", "application/javascript"),
    (b"(function() {", "application/javascript"),
    (b"(function(){", "application/javascript"),
    (b"begin:vcard", "text/vcard"),
    (b"begin:vcalendar", "text/calendar"),
];

/// Interpreters that a first line may name, after `bin/` and perhaps `env `.
const INTERPRETERS: &[(&[u8], &str)] = &[
    (b"sh", "text/x-shellscript"),
    (b"bash", "text/x-shellscript"),
    (b"dash", "text/x-shellscript"),
    (b"zsh", "text/x-shellscript"),
    (b"ksh", "text/x-shellscript"),
    (b"csh", "text/x-shellscript"),
    (b"tcsh", "text/x-shellscript"),
    (b"perl", "text/x-perl"),
    (b"python", "text/x-python"),
    (b"ruby", "text/x-ruby"),
    (b"awk", "text/x-awk"),
    (b"gawk", "text/x-awk"),
    (b"tcl", "text/x-tcl"),
    (b"lua", "text/x-lua"),
    (b"node", "application/javascript"),
    (b"php", "text/x-php"),
];

fn starts(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn skip_space(mut bytes: &[u8]) -> &[u8] {
    bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.trim_ascii_start()
}

/// Text after `<!-- … -->`, where it begins so.
fn skip_comment(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(b"<!--")?;
    let end = rest.windows(3).position(|three| three == b"-->")?;
    Some(skip_space(rest.get(end + 3..)?))
}

/// Ten first characters that can be printed: more is not asked of a text.
fn is_text(bytes: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b'\t'..=b'\r' | b' '..=b'~');
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    !utf16 && bytes.get(..PLAIN).is_some_and(|first| first.iter().all(plain))
}

/// The interpreter that the first line names.
fn interpreter(bytes: &[u8]) -> Option<&'static str> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let at = line.get(..20).unwrap_or(line).windows(4).position(|four| four == b"bin/")?;
    let mut name = line.get(at + 4..)?;
    if let Some(rest) = name.strip_prefix(b"env") {
        name = rest.trim_ascii_start();
    }
    INTERPRETERS.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, name)| *name)
}

/// Whether text that begins with a brace or bracket is JSON: a member, or the first of several items.
fn is_json(body: &[u8]) -> bool {
    let [open, rest @ ..] = body else { return false };
    let rest = skip_space(rest);
    match open {
        b'{' if rest.trim_ascii() == b"}" => true,
        b'[' if rest.trim_ascii() == b"]" => true,
        b'{' => {
            let after = match rest {
                [b'"', text @ ..] => text
                    .iter()
                    .position(|byte| *byte == b'"')
                    .filter(|end| *end > 0)
                    .and_then(|end| text.get(end + 1..)),
                [b'a'..=b'z' | b'A'..=b'Z', ..] => {
                    let end = rest
                        .iter()
                        .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\\')));
                    end.and_then(|end| rest.get(end..))
                }
                _ => None,
            };
            let value = after.map(skip_space).and_then(|rest| rest.strip_prefix(b":")).map(skip_space);
            value.is_some_and(|value| {
                matches!(value.first(), Some(b'"' | b'[' | b'{' | b'0'..=b'9'))
                    || value.starts_with(b"true")
                    || value.starts_with(b"false")
            })
        }
        b'[' => match rest {
            [b'{' | b'[', ..] => true,
            [b'"', text @ ..] => {
                let end = text.iter().position(|byte| *byte == b'"').filter(|end| *end > 0);
                end.and_then(|end| text.get(end + 1..)).is_some_and(|rest| skip_space(rest).starts_with(b","))
            }
            _ => {
                let end = rest
                    .iter()
                    .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'.'))
                    .unwrap_or(0);
                let (item, rest) = rest.split_at(end);
                let number = item.first().is_some_and(u8::is_ascii_digit);
                (number || item == b"true" || item == b"false") && skip_space(rest).starts_with(b",")
            }
        },
        _ => false,
    }
}

/// What a text tells of its type in its first bytes; nothing where it is no more than text, or none.
fn markup(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"#!") {
        return interpreter(bytes);
    }
    let begin = skip_space(bytes);
    if let Some((_, name)) = OPENINGS.iter().find(|(prefix, _)| starts(begin, prefix)) {
        return Some(name);
    }
    let mut body = begin;
    while let Some(rest) = skip_comment(body) {
        body = rest;
    }
    let is_xml = starts(body, b"<?xml ");
    if is_xml {
        let rest = body.windows(2).position(|two| two == b"?>").and_then(|end| body.get(end + 2..));
        body = skip_space(rest.unwrap_or(&[]));
        while let Some(rest) = skip_comment(body) {
            body = rest;
        }
    }
    if let Some((_, name)) = ELEMENTS.iter().find(|(prefix, _)| starts(body, prefix)) {
        return Some(name);
    }
    if is_xml {
        let is_image = starts(body, b"<svg") || starts(body, b"<!doctype svg");
        return Some(if is_image { "image/svg+xml" } else { "application/xml" });
    }
    if is_json(begin) {
        return Some("text/json");
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    line.windows(5).any(|five| five == b"<?php").then_some("text/x-php")
}

/// The answer of a certificate's status service: a sequence whose first part is the status, then the answer.
fn is_ocsp(bytes: &[u8]) -> Option<&'static str> {
    const BASIC: [u8; 11] = [0x06, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
    const SHA1: [u8; 7] = [0x06, 5, 0x2b, 0x0e, 3, 2, 0x1a];
    let begin = bytes.get(..64).unwrap_or(bytes);
    let has = |part: &[u8]| begin.windows(part.len()).any(|window| window == part);
    match begin {
        [0x30, ..] if has(&BASIC) => Some("application/ocsp-response"),
        [0x30, ..] if has(&SHA1) && bytes.len() < 200 => Some("application/ocsp-request"),
        _ => None,
    }
}

/// The type; empty when it is not known.
pub(super) fn of(bytes: &[u8]) -> &'static str {
    let magic =
        MAGIC.iter().find(|(at, magic, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
    if let Some((_, magic, name)) = magic {
        let is_weak = magic.len() == 2 && *name != "application/x-gzip" && is_text(bytes);
        if !is_weak {
            return name;
        }
    }
    if bytes.is_empty() {
        ""
    } else if let Some(name) = is_ocsp(bytes) {
        name
    } else if let Some(name) = markup(bytes) {
        name
    } else if is_text(bytes) {
        "text/plain"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_type() {
        for (bytes, expected) in [
            (&b"MZ\x90\0\x03"[..], "application/x-dosexec"),
            (b"\x7fELF\x02", "application/x-executable"),
            (b"\x89PNG\r\n\x1a\n\0", "image/png"),
            (b"  <!DOCTYPE HTML PUBLIC", "text/html"),
            (b"<!-- a -->\n<html>", "text/html"),
            (b"<?xml version=\"1.0\"?><a/>", "application/xml"),
            (b"{\"a\": 1, \"b\": 2}", "text/json"),
            (b"[1.5, 2]", "text/json"),
            (b"[section]\nkey=1", "text/plain"),
            (b"{ width: 1px; }", "text/json"),
            (b"{ }", "text/json"),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\">", "text/plain"),
            (b"<?xml version=\"1.0\"?>\n<!-- x -->\n<svg>", "image/svg+xml"),
            (b"#!/usr/bin/env python3\n", "text/x-python"),
            (b"#!/usr/local/bin/perl -w\n", "text/x-perl"),
            (b"GIF8 or not", "text/plain"),
            (b"some <?php echo 1", "text/x-php"),
            (b"(function() { var a", "application/javascript"),
            (b"a text, then \x01\x02", "text/plain"),
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"#!/bin/sh\n", "text/x-shellscript"),
            (b"BMW is a car", "text/plain"),
            ("h\u{e9}llo, world".as_bytes(), ""),
            ("hello, w\u{f6}rld".as_bytes(), ""),
            ("hello, a w\u{f6}rld".as_bytes(), "text/plain"),
            (b"\x01\x02\x03", ""),
            (b"short", ""),
            (b"", ""),
        ] {
            assert_eq!(of(bytes), expected, "{bytes:?}");
        }
    }
}
