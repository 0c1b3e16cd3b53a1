//! Kerberos 5 (RFC 4120): who asks for which ticket, with which cipher it comes, and which logins are refused.

use slips_core::exchange::{App, AuthOutcome};

use super::{Attempt, Dialogue, Request, short};
use crate::reader::frames::{Frames, Size};
use crate::reader::{Cx, Next};
use crate::service::ber::{Element, element};
use crate::track::Dir;
use crate::wire::be32;

/// Bytes of a message that are read.
const KEEP: usize = 4096;

const AS_REQ: u8 = 0x6a;
const AS_REP: u8 = 0x6b;
const TGS_REQ: u8 = 0x6c;
const TGS_REP: u8 = 0x6d;
const ERROR: u8 = 0x7e;

/// Requests and answers of a client.
#[derive(Debug, Default)]
pub(crate) struct Kerberos {
    /// Messages have their length before them, as over TCP.
    is_framed: bool,
    frames: [Frames; 2],
    asked: Option<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    is_login: bool,
    client: String,
    realm: String,
    service: String,
    /// The client proved that it knows the password.
    is_proven: bool,
}

fn size(bytes: &[u8]) -> Size {
    Size::head(be32(bytes, 0).map(|length| (length & 0x7fff_ffff) as usize + 4))
}

/// The element with this tag among those of a sequence.
fn part(mut sequence: &[u8], tag: u8) -> Option<&[u8]> {
    for _ in 0..16 {
        let Element { tag: found, body, rest, .. } = element(sequence)?;
        if found == tag {
            return Some(body);
        }
        sequence = rest;
    }
    None
}

/// What a tag wraps.
fn inside(bytes: &[u8]) -> Option<&[u8]> {
    element(bytes).map(|element| element.body)
}

/// A name of several parts.
fn principal(field: &[u8]) -> Option<String> {
    let mut names = inside(part(inside(field)?, 0xa1)?)?;
    let mut text = String::new();
    for nth in 0..4 {
        let Some(Element { body, rest, .. }) = element(names) else { break };
        text.push_str(if nth == 0 { "" } else { "/" });
        text.push_str(&short(body));
        names = rest;
    }
    Some(text)
}

fn text(field: &[u8]) -> Option<String> {
    inside(field).map(short)
}

fn number(field: &[u8]) -> Option<u32> {
    let bytes = inside(field)?;
    (bytes.len() <= 4).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

fn request(body: &[u8], is_login: bool) -> Option<Asked> {
    let fields = inside(body)?;
    let asked = inside(part(fields, 0xa4)?)?;
    Some(Asked {
        is_login,
        client: part(asked, 0xa1).and_then(principal).unwrap_or_default(),
        realm: part(asked, 0xa2).and_then(text).unwrap_or_default(),
        service: part(asked, 0xa3).and_then(principal).unwrap_or_default(),
        is_proven: part(fields, 0xa3).is_some_and(has_proof),
    })
}

/// Whether pre-authentication data have an encrypted time stamp (2), a certificate (14 to 17) or a challenge's answer (138).
fn has_proof(field: &[u8]) -> bool {
    let mut list = inside(field).unwrap_or(&[]);
    for _ in 0..16 {
        let Some(Element { body, rest, .. }) = element(list) else { break };
        if part(body, 0xa1).and_then(number).is_some_and(|kind| matches!(kind, 2 | 14..=17 | 138)) {
            return true;
        }
        list = rest;
    }
    false
}

/// The cipher of a ticket.
fn cipher(ticket: &[u8]) -> Option<&'static str> {
    let sealed = inside(part(inside(inside(ticket)?)?, 0xa3)?)?;
    Some(match number(part(sealed, 0xa0)?)? {
        1 => "des-cbc-crc",
        3 => "des-cbc-md5",
        16 => "des3-cbc-sha1",
        17 => "aes128-cts-hmac-sha1-96",
        18 => "aes256-cts-hmac-sha1-96",
        19 => "aes128-cts-hmac-sha256-128",
        20 => "aes256-cts-hmac-sha384-192",
        23 => "rc4-hmac",
        24 => "rc4-hmac-exp",
        _ => "unknown",
    })
}

fn error_text(code: u32) -> String {
    let name = match code {
        6 => "KDC_ERR_C_PRINCIPAL_UNKNOWN",
        7 => "KDC_ERR_S_PRINCIPAL_UNKNOWN",
        12 => "KDC_ERR_POLICY",
        14 => "KDC_ERR_ETYPE_NOSUPP",
        18 => "KDC_ERR_CLIENT_REVOKED",
        23 => "KDC_ERR_KEY_EXPIRED",
        24 => "KDC_ERR_PREAUTH_FAILED",
        25 => "KDC_ERR_PREAUTH_REQUIRED",
        32 => "KRB_AP_ERR_TKT_EXPIRED",
        37 => "KRB_AP_ERR_SKEW",
        52 => "KRB_ERR_RESPONSE_TOO_BIG",
        68 => "KDC_ERR_WRONG_REALM",
        code => return format!("error {code}"),
    };
    name.to_owned()
}

/// Errors that say that the user is not let in, not that something else is to be tried.
const fn is_refusal(code: u32) -> bool {
    matches!(code, 6 | 12 | 18 | 23 | 24)
}

impl Kerberos {
    pub(crate) fn framed() -> Self {
        Self { is_framed: true, ..Self::default() }
    }

    fn message(&mut self, message: &[u8], cx: &mut Cx<'_>) -> Next {
        let Some(Element { tag, body, .. }) = element(message) else { return Next::More };
        match tag {
            AS_REQ | TGS_REQ => {
                self.unanswered(cx);
                self.asked = request(body, tag == AS_REQ);
            }
            AS_REP | TGS_REP => self.granted(body, tag == AS_REP, cx),
            ERROR => self.refused(body, cx),
            _ => {}
        }
        Next::More
    }

    fn granted(&mut self, body: &[u8], is_login: bool, cx: &mut Cx<'_>) {
        let fields = inside(body).unwrap_or(&[]);
        let mut asked = self.asked.take().unwrap_or_default();
        asked.is_login = is_login;
        if let Some(client) = part(fields, 0xa4).and_then(principal) {
            asked.client = client;
        }
        if let Some(realm) = part(fields, 0xa3).and_then(text) {
            asked.realm = realm;
        }
        let ticket = part(fields, 0xa5).unwrap_or(&[]);
        if let Some(service) =
            inside(ticket).and_then(inside).and_then(|ticket| principal(part(ticket, 0xa2)?))
        {
            asked.service = service;
        }
        let detail = cipher(ticket).unwrap_or_default();
        if is_login {
            asked.attempt().tell(App::Kerberos, AuthOutcome::Succeeded, String::new(), cx);
        }
        asked.request(detail).tell(App::Kerberos, "ok".to_owned(), cx);
    }

    fn refused(&mut self, body: &[u8], cx: &mut Cx<'_>) {
        let fields = inside(body).unwrap_or(&[]);
        let Some(code) = part(fields, 0xa6).and_then(number) else { return };
        let Some(asked) = self.asked.take() else { return };
        if asked.is_login && is_refusal(code) {
            asked.attempt().tell(App::Kerberos, AuthOutcome::Failed, error_text(code), cx);
        }
        asked.request("").tell(App::Kerberos, error_text(code), cx);
    }

    fn unanswered(&mut self, cx: &mut Cx<'_>) {
        if let Some(asked) = self.asked.take() {
            asked.request("").tell(App::Kerberos, String::new(), cx);
        }
    }
}

impl Asked {
    fn attempt(&self) -> Attempt {
        let method = if self.is_proven { "preauth" } else { "no preauth" };
        Attempt { domain: self.realm.clone(), ..Attempt::of(self.client.clone(), method) }
    }

    fn request(self, cipher: &str) -> Request {
        let Self { is_login, client, realm, service, .. } = self;
        let subject = if client.is_empty() { client } else { format!("{client}/{realm}") };
        let action = if is_login { "AS" } else { "TGS" };
        Request { action, object: service, subject, detail: cipher.to_owned() }
    }
}

impl Dialogue for Kerberos {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        if !self.is_framed {
            return self.message(bytes, cx);
        }
        let Some(frames) = self.frames.get_mut(dir as usize) else { return Next::Done };
        let mut frames = std::mem::take(frames);
        let next = frames.take(bytes, KEEP, size, |frame| self.message(frame.get(4..).unwrap_or(&[]), cx));
        if let Some(place) = self.frames.get_mut(dir as usize) {
            *place = frames;
        }
        next
    }

    fn finish(&mut self, cx: &mut Cx<'_>) {
        self.unanswered(cx);
    }

    fn held(&self) -> usize {
        self.frames.iter().map(Frames::held).sum()
    }

    fn reset(&mut self) {
        self.frames.iter_mut().for_each(Frames::clear);
        self.asked = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_datagrams};
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&[tag, 0x81, body.len() as u8][..], &body].concat()
    }

    fn name(parts: &[&str]) -> Vec<u8> {
        let names: Vec<_> = parts.iter().map(|part| tlv(0x1b, &[part.as_bytes()])).collect();
        let names: Vec<_> = names.iter().map(Vec::as_slice).collect();
        tlv(0x30, &[&tlv(0xa0, &[&[2, 1, 1]]), &tlv(0xa1, &[&tlv(0x30, &names)])])
    }

    fn ask(tag: u8, client: &[&str], service: &[&str], proof: bool) -> Vec<u8> {
        let realm = tlv(0xa2, &[&tlv(0x1b, &[b"CORP"])]);
        let client = if client.is_empty() { Vec::new() } else { tlv(0xa1, &[&name(client)]) };
        let body = tlv(
            0xa4,
            &[&tlv(0x30, &[&tlv(0xa0, &[b"\x03\x01\0"]), &client, &realm, &tlv(0xa3, &[&name(service)])])],
        );
        let kind = tlv(0x30, &[&tlv(0xa1, &[&[2, 1, if proof { 2 } else { 128 }]])]);
        let proof = tlv(0xa3, &[&tlv(0x30, &[&kind])]);
        tlv(tag, &[&tlv(0x30, &[&tlv(0xa1, &[&[2, 1, 5]]), &proof, &body])])
    }

    fn grant(tag: u8) -> Vec<u8> {
        let sealed = tlv(0xa3, &[&tlv(0x30, &[&tlv(0xa0, &[&[2, 1, 23]])])]);
        let ticket = tlv(0x61, &[&tlv(0x30, &[&tlv(0xa2, &[&name(&["cifs", "srv"])]), &sealed])]);
        let (realm, client) = (tlv(0xa3, &[&tlv(0x1b, &[b"CORP"])]), tlv(0xa4, &[&name(&["joe"])]));
        tlv(tag, &[&tlv(0x30, &[&realm, &client, &tlv(0xa5, &[&ticket])])])
    }

    fn error(code: u8) -> Vec<u8> {
        tlv(0x7e, &[&tlv(0x30, &[&tlv(0xa6, &[&[2, 1, code]])])])
    }

    #[test]
    fn wrong_passwords_are_failures_and_a_wish_for_proof_is_not() {
        let service = ["krbtgt", "CORP"];
        let (bare, proven) = (ask(0x6a, &["joe"], &service, false), ask(0x6a, &["joe"], &service, true));
        check_datagrams(
            Service::Kerberos,
            &[(Orig, &bare), (Resp, &error(25)), (Orig, &proven), (Resp, &error(24)), (Orig, &proven)],
            &[
                "op AS krbtgt/CORP joe/CORP  KDC_ERR_PREAUTH_REQUIRED",
                "auth joe@CORP/ preauth failed KDC_ERR_PREAUTH_FAILED",
                "op AS krbtgt/CORP joe/CORP  KDC_ERR_PREAUTH_FAILED",
                "op AS krbtgt/CORP joe/CORP  ",
            ],
        );
    }

    #[test]
    fn tickets_tell_their_cipher_over_tcp_too() {
        let framed = |message: Vec<u8>| [&(message.len() as u32).to_be_bytes()[..], &message].concat();
        let talk = [
            (Orig, framed(ask(0x6a, &["joe"], &["krbtgt", "CORP"], false))),
            (Resp, framed(grant(0x6b))),
            (Orig, framed(ask(0x6c, &[], &["cifs", "srv"], false))),
            (Resp, framed(grant(0x6d))),
        ];
        let talk: Vec<_> = talk.iter().map(|(dir, bytes)| (*dir, bytes.as_slice())).collect();
        check(
            Service::KerberosTcp,
            &talk,
            &[
                "auth joe@CORP/ no preauth succeeded ",
                "op AS cifs/srv joe/CORP rc4-hmac ok",
                "op TGS cifs/srv joe/CORP rc4-hmac ok",
            ],
        );
    }
}
