//! JA3, JA3S and JA4 (the client's part, which is free to use).

use std::fmt::Write as _;

use md5::{Digest, Md5};
use sha2::Sha256;

use super::Transport;
use super::cursor::{is_grease, numbers};
use super::hello::{Hello, extension};

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text
}

fn list(text: &mut String, items: impl Iterator<Item = u16>) {
    for (nth, item) in items.filter(|item| !is_grease(*item)).enumerate() {
        let _ = write!(text, "{}{item}", if nth == 0 { "" } else { "-" });
    }
}

/// JA3 of a client hello. Unlike the original's script, GREASE is left out everywhere, as public lists expect.
pub(super) fn ja3(hello: &Hello<'_>) -> String {
    let mut text = String::with_capacity(512);
    let _ = write!(text, "{},", hello.version);
    list(&mut text, numbers(hello.ciphers));
    text.push(',');
    list(&mut text, hello.extensions().map(|(number, _)| number));
    text.push(',');
    list(&mut text, numbers(hello.list16(extension::GROUPS)));
    text.push(',');
    list(&mut text, hello.list8(extension::POINT_FORMATS).iter().map(|format| u16::from(*format)));
    hex(&Md5::digest(text))
}

/// JA3S of a server hello.
pub(super) fn ja3s(hello: &Hello<'_>) -> String {
    let mut text = format!("{},{},", hello.version, hello.cipher().unwrap_or(0));
    for (nth, (number, _)) in hello.extensions().enumerate() {
        let _ = write!(text, "{}{number}", if nth == 0 { "" } else { "-" });
    }
    hex(&Md5::digest(text))
}

const fn version(number: u16) -> &'static str {
    match number {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        0xfeff => "d1",
        0xfefd => "d2",
        0xfefc => "d3",
        _ => "00",
    }
}

/// First and last character of the first protocol offered; of its hexadecimal form when they are no letters or digits.
fn protocol(hello: &Hello<'_>) -> [char; 2] {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    match hello.protocol() {
        None | Some([]) => ['0', '0'],
        Some(name @ [first, ..]) => {
            let last = name.last().unwrap_or(first);
            if !first.is_ascii() {
                ['9', '9'] // what JA4's own vectors have
            } else if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
                [char::from(*first), char::from(*last)]
            } else {
                [digit(first >> 4), digit(last & 15)]
            }
        }
    }
}

/// First twelve digits of the SHA-256 of a list; zeros when there is none.
fn short_hash(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    let digest = Sha256::digest(text);
    hex(digest.get(..6).unwrap_or(&[]))
}

fn hex_list(numbers: impl Iterator<Item = u16>) -> String {
    let mut text = String::with_capacity(256);
    for number in numbers {
        let _ = write!(text, "{}{number:04x}", if text.is_empty() { "" } else { "," });
    }
    text
}

/// JA4 of a client hello.
pub(super) fn ja4(hello: &Hello<'_>, transport: Transport) -> String {
    let letter = match transport {
        Transport::Tcp => 't',
        Transport::Quic => 'q',
        Transport::Dtls => 'd',
    };
    let plain = |number: &u16| !is_grease(*number);
    let offered = numbers(hello.list8(extension::VERSIONS)).filter(plain);
    // DTLS counts its versions down
    let newest = if transport == Transport::Dtls { offered.min() } else { offered.max() };
    let newest = newest.unwrap_or(hello.version);
    let mut ciphers: Vec<u16> = numbers(hello.ciphers).filter(plain).collect();
    let mut extensions: Vec<u16> = hello.extensions().map(|(number, _)| number).filter(plain).collect();
    let named = if extensions.contains(&extension::SERVER_NAME) { 'd' } else { 'i' };
    let (cipher_count, extension_count) = (ciphers.len().min(99), extensions.len().min(99));
    ciphers.sort_unstable();
    extensions.sort_unstable();
    extensions.retain(|number| ![extension::SERVER_NAME, extension::ALPN].contains(number));
    let mut offered = hex_list(extensions.into_iter());
    let signatures = hex_list(numbers(hello.list16(extension::SIGNATURES)).filter(plain));
    if !signatures.is_empty() {
        offered.push('_');
        offered.push_str(&signatures);
    }
    let [first, last] = protocol(hello);
    format!(
        "{letter}{}{named}{cipher_count:02}{extension_count:02}{first}{last}_{}_{}",
        version(newest),
        short_hash(&hex_list(ciphers.into_iter())),
        short_hash(&offered)
    )
}
