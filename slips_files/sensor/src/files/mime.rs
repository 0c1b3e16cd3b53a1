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
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/x-ms-bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (8, b"WEBPVP8", "image/webp"),
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

/// Openings of texts, after white space, without regard to case.
const TEXTS: &[(&[u8], &str)] = &[
    (b"<!doctype html", "text/html"),
    (b"<html", "text/html"),
    (b"<head", "text/html"),
    (b"<title", "text/html"),
    (b"<body", "text/html"),
    (b"<script", "text/html"),
    (b"<table", "text/html"),
    (b"<h1", "text/html"),
    (b"<h2", "text/html"),
    (b"<a href", "text/html"),
    (b"<svg", "image/svg+xml"),
    (b"<cross-domain-policy", "text/x-cross-domain-policy"),
    (b"#!/usr/bin/env python", "text/x-python"),
    (b"#!/usr/bin/python", "text/x-python"),
    (b"#!/usr/bin/perl", "text/x-perl"),
    (b"#!/usr/bin/ruby", "text/x-ruby"),
    (b"#!/usr/bin/env bash", "text/x-shellscript"),
    (b"#!/bin/", "text/x-shellscript"),
    (b"#!/usr/bin/", "text/x-shellscript"),
    (b"<?php", "text/x-php"),
    (b"document.write(", "application/javascript"),
    (b"begin:vcard", "text/vcard"),
    (b"begin:vcalendar", "text/calendar"),
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

fn is_text(bytes: &[u8]) -> bool {
    let bad = |byte: &u8| matches!(byte, 0..=8 | 14..=26 | 28..=31 | 127);
    !bytes.iter().any(bad)
        && match std::str::from_utf8(bytes) {
            Ok(_) => true,
            // cut within a character, or an older eight-bit set with few such letters
            Err(error) => {
                error.valid_up_to() + 4 > bytes.len()
                    || bytes.iter().filter(|byte| !byte.is_ascii()).count() * 4 < bytes.len()
            }
        }
}

fn text(bytes: &[u8]) -> &'static str {
    let mut body = skip_space(bytes);
    while let Some(rest) = skip_comment(body) {
        body = rest;
    }
    if let Some((_, name)) = TEXTS.iter().find(|(prefix, _)| starts(body, prefix)) {
        return name;
    }
    if starts(body, b"<?xml") {
        let rest = body.windows(2).position(|two| two == b"?>").and_then(|end| body.get(end + 2..));
        let inner = skip_space(rest.unwrap_or(&[]));
        if starts(inner, b"<!doctype html") || starts(inner, b"<html") {
            return "text/html";
        }
        if starts(inner, b"<svg") || starts(inner, b"<!doctype svg") {
            return "image/svg+xml";
        }
        if starts(inner, b"<soap") || starts(inner, b"<s:envelope") {
            return "application/soap+xml";
        }
        return "application/xml";
    }
    match body {
        [b'{', rest @ ..] | [b'[', rest @ ..]
            if matches!(skip_space(rest).first(), Some(b'"' | b'{' | b'[' | b']' | b'}' | b'0'..=b'9')) =>
        {
            "text/json"
        }
        _ => "text/plain",
    }
}

/// A text that names its type in its first bytes, whatever follows.
fn has_markup(bytes: &[u8]) -> bool {
    let body = skip_space(bytes);
    TEXTS.iter().any(|(prefix, _)| starts(body, prefix)) || starts(body, b"<?xml")
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
    } else if bytes.len() >= PLAIN && is_text(bytes) || has_markup(bytes) {
        text(bytes)
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
            (b"#!/bin/sh\n", "text/x-shellscript"),
            (b"BMW is a car", "text/plain"),
            ("h\u{e9}llo, world".as_bytes(), "text/plain"),
            (b"\x01\x02\x03", ""),
            (b"short", ""),
            (b"", ""),
        ] {
            assert_eq!(of(bytes), expected, "{bytes:?}");
        }
    }
}
