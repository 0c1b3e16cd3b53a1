//! Applications that speak in lines: web, mail, file transfer, chat, telephony.

use super::hints::Hints;

const METHODS: [&[u8]; 15] = [
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"OPTIONS",
    b"CONNECT",
    b"DELETE",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"SEARCH",
    b"REPORT",
    b"SUBSCRIBE",
];

const SIP_METHODS: [&[u8]; 14] = [
    b"INVITE ",
    b"REGISTER ",
    b"OPTIONS ",
    b"ACK ",
    b"BYE ",
    b"CANCEL ",
    b"SUBSCRIBE ",
    b"NOTIFY ",
    b"MESSAGE ",
    b"INFO ",
    b"PRACK ",
    b"REFER ",
    b"UPDATE ",
    b"PUBLISH ",
];

fn is_http_request(payload: &[u8]) -> bool {
    METHODS.iter().any(|method| {
        payload
            .strip_prefix(*method)
            .is_some_and(|rest| matches!(rest, [b' ' | b'\t', next, ..] if !matches!(next, b'\r' | b'\n')))
    })
}

/// A request or a status line of SIP.
pub(super) fn is_sip(payload: &[u8]) -> bool {
    let is_request = SIP_METHODS
        .iter()
        .filter_map(|method| payload.strip_prefix(*method))
        .any(|rest| [&b"sip:"[..], b"sips:", b"tel:"].iter().any(|scheme| starts_with(rest, scheme)));
    is_request || payload.starts_with(b"SIP/2.0 ")
}

fn starts_with(payload: &[u8], prefix: &[u8]) -> bool {
    payload.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The opening of a stream of XMPP, perhaps behind a declaration.
fn is_xmpp(payload: &[u8]) -> bool {
    let begins = payload.starts_with(b"<?xml") || payload.starts_with(b"<stream:stream");
    begins && payload.windows(14).take(200).any(|part| part == b"<stream:stream")
}

/// How a payload opens.
pub(super) fn opening(payload: &[u8]) -> Hints {
    let starts = |prefixes: &[&[u8]]| prefixes.iter().any(|prefix| starts_with(payload, prefix));
    match payload {
        [b'S', b'S', b'H', b'-', ..] => return Hints::SSH,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..] => return Hints::HTTP_REPLY,
        [b'P', b'R', b'I', b' ', ..] if payload.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") => {
            return Hints::HTTP2;
        }
        [b'2' | b'1', b'2', b'0', b' ' | b'-', ..] => return Hints::GREETING_220,
        [b'2', b'3', b'0' | b'4', b' ' | b'-', ..] | [b'3', b'3', b'1', b' ' | b'-', ..] => {
            return Hints::FTP_ACCEPT;
        }
        _ => {}
    }
    if is_sip(payload) {
        Hints::SIP
    } else if is_http_request(payload) {
        Hints::HTTP_REQUEST
    } else if starts(&[b"HELO ", b"EHLO "]) {
        Hints::MAIL_HELLO
    } else if starts(&[b"+OK"]) {
        Hints::POP3_OK
    } else if starts(&[b"USER "]) {
        // FTP, POP3 and IRC clients all may open so; the server's side decides
        Hints::FTP_LOGIN.and(Hints::POP3_COMMAND).and(Hints::IRC_NICK)
    } else if starts(&[b"APOP ", b"CAPA", b"STLS", b"AUTH"]) {
        Hints::POP3_COMMAND.and(Hints::FTP_LOGIN)
    } else if starts(&[b"NICK ", b"PASS "]) {
        Hints::IRC_NICK
    } else if starts(&[b"* OK"]) {
        Hints::IMAP_OK
    } else if is_xmpp(payload) {
        Hints::XMPP
    } else if matches!(payload, [b':', ..]) {
        Hints::IRC_REPLY
    } else if crate::ssh::has_banner(payload) {
        Hints::SSH
    } else {
        Hints::NONE
    }
}
