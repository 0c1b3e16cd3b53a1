//! Logins at terminals: telnet, rlogin, rsh.

use super::hints::Hints;
use crate::apps;

/// Longest greeting before a prompt.
const MAX_GREETING: usize = 1024;

/// How a TCP payload opens.
pub(super) fn opening(payload: &[u8]) -> Hints {
    match payload {
        // WILL, WONT, DO or DONT with an option that exists
        [255, 251..=254, 0..=49, ..] => Hints::TELNET,
        [0, ..] if apps::is_rlogin(payload) => Hints::RLOGIN,
        [b'0'..=b'9' | 0, ..] if apps::is_rsh(payload) => Hints::RSH,
        _ if payload.trim_ascii_end().ends_with(b":") && is_prompt(payload) => Hints::LOGIN_PROMPT,
        _ => Hints::NONE,
    }
}

fn is_prompt(payload: &[u8]) -> bool {
    // servers of mail and files greet with numbers and signs
    if payload.first().is_some_and(|first| first.is_ascii_digit() || matches!(first, b'+' | b'*')) {
        return false;
    }
    let is_text = payload.iter().all(|byte| matches!(byte, b' '..=0x7e | b'\r' | b'\n' | b'\t' | 0x1b));
    let line = payload.rsplit(|byte| *byte == b'\n').next().unwrap_or(payload);
    payload.len() <= MAX_GREETING
        && is_text
        && apps::is_user_prompt(&String::from_utf8_lossy(line).to_ascii_lowercase())
}
