//! SNMP: versions, what is asked, and on whose behalf. A community is a password: only those that everybody knows are told.

use slips_core::exchange::App;

use super::{Dialogue, Request, short};
use crate::reader::{Cx, Next};
use crate::service::ber::{Element, element};
use crate::track::Dir;

const PUBLIC: [&str; 8] = ["public", "private", "community", "cisco", "admin", "default", "snmp", "manager"];

/// A conversation: each kind of request is told once.
#[derive(Debug, Default)]
pub(crate) struct Snmp {
    told: u16,
}

const fn action(tag: u8) -> Option<&'static str> {
    Some(match tag {
        0xa0 => "get",
        0xa1 => "get_next",
        0xa3 => "set",
        0xa4 | 0xa7 => "trap",
        0xa5 => "get_bulk",
        0xa6 => "inform",
        _ => return None,
    })
}

/// A request: its bit among those told, and what is told.
fn request(message: &[u8]) -> Option<(u16, Request)> {
    let version = element(element(message)?.body)?;
    let next = element(version.rest)?;
    if version.body == [3] {
        // who asks stands in the security parameters: engine, boots, time, name
        let security = element(next.rest)?;
        let mut fields = element(security.body)?.body;
        for _ in 0..3 {
            fields = element(fields)?.rest;
        }
        let user = short(element(fields)?.body);
        return Some((
            1 << 15,
            Request { action: "v3", subject: user, detail: "v3".to_owned(), ..Request::default() },
        ));
    }
    let Element { body: community, rest, .. } = next;
    let tag = element(rest)?.tag;
    let community = short(community);
    let is_public = PUBLIC.iter().any(|name| community.eq_ignore_ascii_case(name));
    let subject =
        if is_public || community.is_empty() { community } else { "(not a default one)".to_owned() };
    let detail = if version.body == [0] { "v1" } else { "v2c" }.to_owned();
    Some((1 << (tag & 15), Request { action: action(tag)?, object: String::new(), subject, detail }))
}

impl Dialogue for Snmp {
    fn take(&mut self, _: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        if let Some((bit, request)) = request(bytes)
            && self.told & bit == 0
        {
            self.told |= bit;
            request.tell(App::Snmp, String::new(), cx);
        }
        Next::More
    }

    fn reset(&mut self) {
        self.told = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check_datagrams;
    use crate::service::Service;
    use crate::track::Dir::Orig;

    fn ask(version: u8, community: &[u8], tag: u8) -> Vec<u8> {
        let body = [&[2, 1, version, 4, community.len() as u8][..], community, &[tag, 2, 5, 0]].concat();
        [&[0x30, body.len() as u8][..], &body].concat()
    }

    #[test]
    fn kinds_of_requests_are_told_once_and_secrets_never() {
        check_datagrams(
            Service::Snmp,
            &[
                (Orig, &ask(0, b"public", 0xa0)),
                (Orig, &ask(0, b"public", 0xa0)),
                (Orig, &ask(1, b"s3cret", 0xa3)),
                (Orig, &ask(1, b"s3cret", 0xa2)),
            ],
            &["op get  public v1 ", "op set  (not a default one) v2c "],
        );
        let security = [&[0x30, 13, 4, 0, 2, 1, 0, 2, 1, 0, 4, 3][..], b"bob"].concat();
        let header = [&[0x30, 3, 2, 1, 1, 4, security.len() as u8][..], &security].concat();
        let body = [&[2, 1, 3][..], &header].concat();
        let three = [&[0x30, body.len() as u8][..], &body].concat();
        check_datagrams(Service::Snmp, &[(Orig, &three)], &["op v3  bob v3 "]);
    }
}
