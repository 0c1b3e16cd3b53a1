//! What routers on one Redis tell each other: how each is, who of two under one name acts, and whom all of them are to block.
//!
//! Pure: texts come in and go out. Another router may be hostile, broken or of another version, so nothing is longer than it may be, and what
//! makes no sense is not read.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use slips_core::addr::Net;
use slips_core::alert::AlertId;

use super::signature::{is_signed, sign};
use super::{VERSION, Word};
use crate::render::escape;

/// Longest text of one of these values, in bytes.
pub const MOST_VALUE: usize = 2048;
/// Routers that are looked at, and blocks that one of them may share.
pub const MOST_ROUTERS: usize = 256;
/// See [`MOST_ROUTERS`].
pub const MOST_SHARED: usize = 4096;
/// How long what a router told of itself is kept after its last word, in seconds: for so long it is shown as gone.
pub const MEMORY: u64 = 86_400;

/// How a router is, as it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// [`VERSION`]
    pub version: u32,
    /// Its name.
    pub router: String,
    /// `active` or `standby`.
    pub role: String,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// Slips' version.
    pub slips: String,
    /// When the daemon began.
    pub since: String,
    /// When it told this, by its own clock.
    pub at: String,
    /// Flows in a second, lately.
    pub flows_per_second: u64,
    /// Alerts since the start.
    pub alerts: u64,
    /// Blocks that stand.
    pub blocks: u64,
    /// How often the blocks that it shares have changed.
    #[serde(default)]
    pub shared: u64,
}

impl Member {
    /// Reads what a router told of itself under this name.
    ///
    /// # Errors
    /// Says why it makes no sense.
    pub fn read(text: &[u8], router: &Word) -> Result<Self, &'static str> {
        let member: Self = parse(text)?;
        let one_of = |text: &str, words: [&str; 2]| words.contains(&text);
        let is_time = |text: &str| text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_fit = member.router == router.as_str()
            && one_of(&member.role, ["active", "standby"])
            && one_of(&member.mode, ["enforce", "monitor"])
            && Word::new(&member.slips).is_some()
            && is_time(&member.since)
            && is_time(&member.at);
        if is_fit { Ok(member) } else { Err("what it says of itself makes no sense") }
    }

    /// As it is told.
    pub fn text(&self) -> String {
        super::message::json(self)
    }
}

/// Who acts under a router's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// [`VERSION`]
    pub version: u32,
    /// Rises with each that takes the place of another: who holds a lower one acts no more.
    pub fence: u64,
    /// Which daemon.
    pub holder: String,
    /// Which run of it: two machines may have the same disk.
    #[serde(default)]
    pub run: u32,
    /// Whose place it took.
    pub over: String,
    /// Rises with each word of the holder.
    pub beat: u64,
    /// The holder ends.
    pub leaving: bool,
    /// By the secret, where there is one.
    #[serde(default)]
    pub signature: String,
}

impl Lease {
    /// Reads one.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn read(text: &[u8], router: &Word, secret: Option<&str>) -> Result<Self, &'static str> {
        let lease: Self = parse(text)?;
        let is_id = |text: &str| text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if lease.holder.is_empty() || !is_id(&lease.holder) || !is_id(&lease.over) {
            return Err("who holds it makes no sense");
        }
        match secret {
            Some(secret) if !is_signed(secret, &lease.signed(router), &lease.signature) => {
                Err("it is not signed by our secret")
            }
            _ => Ok(lease),
        }
    }

    /// As it is written.
    pub fn text(&self, router: &Word, secret: Option<&str>) -> String {
        let signature = secret.map(|secret| sign(secret, &self.signed(router))).unwrap_or_default();
        super::message::json(&Self { version: VERSION, signature, ..self.clone() })
    }

    fn signed(&self, router: &Word) -> String {
        let Self { fence, holder, run, over, beat, leaving, .. } = self;
        format!("lease\n{router}\n{fence}\n{holder}\n{run}\n{over}\n{beat}\n{leaving}")
    }
}

/// A block that a router wants others to have, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// [`VERSION`]
    pub version: u32,
    /// Whom.
    pub net: String,
    /// Until when, in seconds since 1970.
    pub until: i64,
    /// Why.
    pub why: String,
    /// The alert behind it; empty for a person's word.
    pub alert: String,
    /// By the secret.
    #[serde(default)]
    pub signature: String,
}

impl Shared {
    /// Longest reason, in letters.
    const MOST_WHY: usize = 200;

    /// A block of this network.
    pub fn new(net: Net, until: i64, why: &str, alert: Option<AlertId>) -> Self {
        let why = why.chars().take(Self::MOST_WHY).collect();
        let alert = alert.map(|alert| alert.to_string()).unwrap_or_default();
        Self { version: VERSION, net: net.to_string(), until, why, alert, signature: String::new() }
    }

    /// Reads what another router shares under the name of this network.
    ///
    /// # Errors
    /// Says why it is not heard.
    pub fn read(field: &str, text: &[u8], router: &Word, secret: &str) -> Result<(Net, Self), &'static str> {
        let shared: Self = parse(text)?;
        if !is_signed(secret, &shared.signed(router), &shared.signature) {
            return Err("it is not signed by our secret");
        }
        let net: Net = field.parse().map_err(|_| "it is about no network")?;
        if shared.net != field || net.to_string() != field {
            return Err("it is about another network");
        }
        // A line break in it would let what follows pass for another field of what is signed.
        let is_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        if shared.alert.len() > 36 || !shared.alert.bytes().all(is_id) {
            return Err("the alert behind it makes no sense");
        }
        let why = escape(&shared.why).chars().take(Self::MOST_WHY).collect();
        Ok((net, Self { why, ..shared }))
    }

    /// As it is written.
    pub fn text(&self, router: &Word, secret: &str) -> String {
        super::message::json(&Self { signature: sign(secret, &self.signed(router)), ..self.clone() })
    }

    fn signed(&self, router: &Word) -> String {
        let Self { net, until, why, alert, .. } = self;
        // What people write stands last: no line break in it can pretend to be a field.
        format!("block\n{router}\n{net}\n{until}\n{alert}\n{why}")
    }
}

/// Which blocks a router shares, all of them: what is not among them any more is lifted by this word alone, since a field that is gone may have
/// been taken away by anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedList {
    /// [`VERSION`]
    pub version: u32,
    /// Rises with each change, also over restarts: it begins with the wall clock.
    pub number: u64,
    /// By the secret, over the number and the networks.
    pub signature: String,
}

impl SharedList {
    /// The field in which it stands, which is no network.
    pub const FIELD: &str = "list";

    /// As it is written of these networks.
    pub fn text<'a>(
        number: u64,
        nets: impl IntoIterator<Item = &'a Net>,
        router: &Word,
        secret: &str,
    ) -> String {
        let signature = sign(secret, &Self::signed(number, nets, router));
        super::message::json(&Self { version: VERSION, number, signature })
    }

    /// Reads its number, if these are all networks of it.
    ///
    /// # Errors
    /// Says why it is not heard.
    pub fn read<'a>(
        text: &[u8],
        nets: impl IntoIterator<Item = &'a Net>,
        router: &Word,
        secret: &str,
    ) -> Result<u64, &'static str> {
        let list: Self = parse(text)?;
        match is_signed(secret, &Self::signed(list.number, nets, router), &list.signature) {
            true => Ok(list.number),
            false => Err("it is not signed by our secret, or of other networks"),
        }
    }

    /// Networks in their order.
    fn signed<'a>(number: u64, nets: impl IntoIterator<Item = &'a Net>, router: &Word) -> String {
        let mut nets: Vec<&Net> = nets.into_iter().collect();
        nets.sort_unstable();
        let mut text = format!("blocks\n{router}\n{number}");
        for net in nets {
            let _ = write!(text, "\n{net}");
        }
        text
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, &'static str> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    if text.len() > MOST_VALUE {
        return Err("it is too long");
    }
    let versioned: Versioned = serde_json::from_slice(text).map_err(|_| "it is not what it should be")?;
    if versioned.version != VERSION {
        return Err("it is of another version");
    }
    serde_json::from_slice(text).map_err(|_| "it is not what it should be")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn word(text: &str) -> Word {
        Word::new(text).expect("a word")
    }

    fn member() -> Member {
        Member {
            version: VERSION,
            router: "gw1".into(),
            role: "active".into(),
            mode: "enforce".into(),
            slips: "0.1.0".into(),
            since: "2026-01-02T10:00:00.000000Z".into(),
            at: "2026-01-02T10:00:01.000000Z".into(),
            flows_per_second: 7,
            alerts: 1,
            blocks: 2,
            shared: 3,
        }
    }

    #[test]
    fn a_member_is_read_as_it_was_told_and_only_under_its_own_name() {
        let text = member().text();
        assert_eq!(Member::read(text.as_bytes(), &word("gw1")), Ok(member()));
        Member::read(text.as_bytes(), &word("gw2")).expect_err("another name");
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"active\"", "\"boss\""),
            ("\"enforce\"", "\"\\u001b[31m\""),
            ("0.1.0", "\\u0000"),
            ("\"blocks\":2", "\"blocks\":-2"),
            ("2026-01-02T10:00:00", "2026-01-02T10:00:00\\n"),
            ("{", "["),
        ] {
            let wrong = text.replace(from, to);
            assert_ne!(wrong, text);
            Member::read(wrong.as_bytes(), &word("gw1")).expect_err(to);
        }
        Member::read(&vec![b' '; MOST_VALUE + 1], &word("gw1")).expect_err("too long");
    }

    #[test]
    fn a_lease_is_believed_as_its_holder_signed_it() {
        let lease =
            Lease { fence: 3, holder: "ab".into(), run: 7, over: "cd".into(), beat: 9, ..Lease::default() };
        let text = lease.text(&word("gw1"), Some(SECRET));
        let read = |text: &str, name: &str, secret| Lease::read(text.as_bytes(), &word(name), secret);
        let again = read(&text, "gw1", Some(SECRET)).expect("read");
        assert_eq!((again.fence, again.beat, again.leaving), (3, 9, false));
        read(&text, "gw1", None).expect("without a secret all are believed");
        read(&text, "gw2", Some(SECRET)).expect_err("another router's");
        read(&text, "gw1", Some("another secret of 16")).expect_err("another secret");
        read(&text.replace("\"fence\":3", "\"fence\":4"), "gw1", Some(SECRET)).expect_err("changed");
        read(&text.replace("\"run\":7", "\"run\":8"), "gw1", Some(SECRET)).expect_err("of another run");
        read(&lease.text(&word("gw1"), None), "gw1", Some(SECRET)).expect_err("unsigned");
        read(&text.replace("\"ab\"", "\"a b\""), "gw1", None).expect_err("no holder");
    }

    #[test]
    fn a_shared_block_is_believed_as_its_router_signed_it() {
        let net: Net = "203.0.113.9".parse().expect("a network");
        let shared = Shared::new(net, 1_800_000_000, "scan\nof\x1b all", Some(AlertId(7)));
        let text = shared.text(&word("a"), SECRET);
        let (read, told) =
            Shared::read("203.0.113.9", text.as_bytes(), &word("a"), SECRET).expect("believed");
        assert_eq!((read, told.until, told.why.as_str()), (net, 1_800_000_000, "scan\\nof\\x1b all"));
        for (field, text, router, secret) in [
            ("203.0.113.9", text.clone(), "b", SECRET),
            ("203.0.113.9", text.clone(), "a", "another secret of 16"),
            ("203.0.113.8", text.clone(), "a", SECRET),
            ("203.0.113.9", text.replace("1800000000", "1900000000"), "a", SECRET),
            ("203.0.113.9", String::new(), "a", SECRET),
        ] {
            Shared::read(field, text.as_bytes(), &word(router), secret).expect_err("refused");
        }
        // Signed as one with another alert and another reason: the line break would hide it.
        let odd = Shared { alert: "a\nb".into(), why: "c".into(), ..shared };
        let text = odd.text(&word("a"), SECRET);
        Shared::read("203.0.113.9", text.as_bytes(), &word("a"), SECRET).expect_err("no alert");
    }

    #[test]
    fn a_list_holds_for_its_router_its_number_and_just_its_networks() {
        let nets: Vec<Net> =
            ["203.0.113.9", "198.51.100.0/24"].map(|net| net.parse().expect("a network")).into();
        let text = SharedList::text(7, &nets, &word("a"), SECRET);
        let read = |text: &str, nets: &[Net], router: &str, secret| {
            SharedList::read(text.as_bytes(), nets, &word(router), secret)
        };
        assert_eq!(read(&text, &nets, "a", SECRET), Ok(7));
        let turned: Vec<Net> = nets.iter().rev().copied().collect();
        assert_eq!(read(&text, &turned, "a", SECRET), Ok(7), "in whatever order");
        read(&text, &nets[..1], "a", SECRET).expect_err("one is missing");
        read(&text, &nets, "b", SECRET).expect_err("another router's");
        read(&text, &nets, "a", "another secret of 16").expect_err("another secret");
        read(&text.replace(":7,", ":8,"), &nets, "a", SECRET).expect_err("changed");
        read("{}", &[], "a", SECRET).expect_err("none");
    }

    proptest::proptest! {
        #[test]
        fn no_text_at_all_does_harm(text in "\\PC*|[{}\":,a-z0-9]{0,200}") {
            let _ = Member::read(text.as_bytes(), &word("a"));
            let _ = Lease::read(text.as_bytes(), &word("a"), None);
            let _ = Shared::read("::/0", text.as_bytes(), &word("a"), SECRET);
            let _ = SharedList::read(text.as_bytes(), &[], &word("a"), SECRET);
        }
    }
}
