//! Databases: MySQL, PostgreSQL, Redis.

use super::hints::Hints;
use crate::wire::{be32, byte};

/// How a payload opens.
pub(super) fn opening(payload: &[u8]) -> Hints {
    if is_mysql_greeting(payload) {
        Hints::MYSQL_GREETING
    } else if is_postgres_start(payload) {
        Hints::POSTGRES_START
    } else if payload.starts_with(b"*") && is_redis_command(payload) {
        // an array of strings; a server's array may look the same
        Hints::REDIS_COMMAND.and(Hints::REDIS_REPLY)
    } else {
        let mut hints = Hints::NONE;
        if matches!(payload, [b'S' | b'N']) || is_postgres_reply(payload) {
            hints = hints.and(Hints::POSTGRES_REPLY);
        }
        if matches!(payload, [b'+' | b'-' | b':' | b'$', ..])
            && payload.windows(2).take(600).any(|end| end == b"\r\n")
        {
            hints = hints.and(Hints::REDIS_REPLY);
        }
        hints
    }
}

/// The first packet of a server: number 0, protocol 10, its version as text.
fn is_mysql_greeting(payload: &[u8]) -> bool {
    let [l0, l1, l2, 0, 10, version @ ..] = payload else { return false };
    let length = u32::from_le_bytes([*l0, *l1, *l2, 0]) as usize;
    let is_text = version.iter().take_while(|byte| **byte != 0).all(u8::is_ascii_graphic);
    length + 4 == payload.len() && version.first().is_some_and(u8::is_ascii_digit) && is_text
}

/// A client's start: its length, then version 3.0 or the wish for encryption.
fn is_postgres_start(payload: &[u8]) -> bool {
    let Some(length) = be32(payload, 0) else { return false };
    match be32(payload, 4) {
        Some(0x0003_0000) => length as usize == payload.len() && payload.ends_with(b"\0"),
        Some(80_877_103 | 80_877_104) => length == 8,
        _ => false,
    }
}

/// A server asks for authentication or refuses.
fn is_postgres_reply(payload: &[u8]) -> bool {
    let length = payload.get(1..).and_then(|rest| be32(rest, 0));
    match byte(payload, 0) {
        Some(b'R') => length.is_some_and(|length| (8..=512).contains(&length)),
        Some(b'E') => length.is_some_and(|length| length as usize == payload.len() - 1),
        _ => false,
    }
}

/// `*2\r\n$3\r\n…`
fn is_redis_command(payload: &[u8]) -> bool {
    let Some(rest) = payload.strip_prefix(b"*") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=6).contains(&digits) && rest.get(digits..).is_some_and(|rest| rest.starts_with(b"\r\n$"))
}
