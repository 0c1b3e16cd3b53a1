//! Invites: one line that brings a router into the network once, within a day.
//!
//! The line holds the network's pre-shared key, so it is a secret: hand it over like a password.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::identity::NodeId;
use crate::moment::Moment;
use crate::text;

/// What an invite says.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// The network's pre-shared key.
    pub psk: [u8; 32],
    /// Who invites.
    pub inviter: NodeId,
    /// What proves the invite, once.
    pub token: [u8; 16],
    /// When it ends.
    pub until: Moment,
    /// Where the inviter is reached: multiaddresses, at most [`MAX_ADDRESSES`].
    pub addresses: Vec<String>,
}

/// Most addresses that an invite names.
pub const MAX_ADDRESSES: usize = 2;
/// The longest life of an invite.
pub const LONGEST: Duration = Duration::from_secs(86_400);
/// Most invites that are open at once.
pub const MAX_OPEN: usize = 4;

const START: &str = "slips-invite-1-";
const MAX_LINE: usize = 800;

/// A text that is no invite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnInvite {
    /// It has another start.
    #[error("an invite starts with {START}")]
    Start,
    /// A letter was lost or changed on the way.
    #[error("the invite is damaged: copy the whole line again")]
    Damaged,
}

impl fmt::Display for Invite {
    /// The one line. It is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::new();
        bytes.extend(self.psk);
        bytes.extend(self.inviter.0);
        bytes.extend(self.token);
        bytes.extend(self.until.0.to_be_bytes());
        for address in self.addresses.iter().take(MAX_ADDRESSES) {
            bytes.push(u8::try_from(address.len()).unwrap_or(0));
            bytes.extend(address.bytes().take(if address.len() > 255 { 0 } else { 255 }));
        }
        bytes.extend(check(&bytes));
        write!(f, "{START}{}", text::to_base32(&bytes))
    }
}

impl fmt::Debug for Invite {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invite by {} until {}", self.inviter, self.until)
    }
}

/// The first four bytes of the hash: a letter lost in copying is noticed.
fn check(bytes: &[u8]) -> [u8; 4] {
    let hash = Sha256::digest(bytes);
    let mut check = [0; 4];
    for (to, from) in check.iter_mut().zip(hash.iter()) {
        *to = *from;
    }
    check
}

impl FromStr for Invite {
    type Err = NotAnInvite;
    fn from_str(line: &str) -> Result<Self, NotAnInvite> {
        let line = line.trim();
        let code = line.strip_prefix(START).filter(|_| line.len() <= MAX_LINE).ok_or(NotAnInvite::Start)?;
        let bytes = text::from_base32(code).ok_or(NotAnInvite::Damaged)?;
        read(&bytes).ok_or(NotAnInvite::Damaged)
    }
}

fn read(bytes: &[u8]) -> Option<Invite> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if *sum != check(body) {
        return None;
    }
    let (psk, rest) = body.split_first_chunk::<32>()?;
    let (inviter, rest) = rest.split_first_chunk::<32>()?;
    let (token, rest) = rest.split_first_chunk::<16>()?;
    let (until, mut rest) = rest.split_first_chunk::<8>()?;
    let mut addresses = Vec::new();
    while let Some((len, tail)) = rest.split_first() {
        let (address, tail) = tail.split_at_checked(usize::from(*len))?;
        let address = std::str::from_utf8(address).ok()?;
        if addresses.len() == MAX_ADDRESSES || !address.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        addresses.push(address.to_owned());
        rest = tail;
    }
    Some(Invite {
        psk: *psk,
        inviter: NodeId(*inviter),
        token: *token,
        until: Moment(u64::from_be_bytes(*until)),
        addresses,
    })
}

/// What the state keeps of a token.
pub fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The invites of this router that nobody has used yet. Holds hashes of the tokens: who reads the state cannot join with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    held: Vec<([u8; 32], Moment)>,
}

/// So many invites are open already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_OPEN} invites are open already: wait until one was used or has ended")]
pub struct TooManyOpen;

impl Open {
    /// Opens an invite for `life`, at most [`LONGEST`]; returns when it ends.
    ///
    /// # Errors
    /// When [`MAX_OPEN`] are open.
    pub fn open(&mut self, token: &[u8; 16], life: Duration, now: Moment) -> Result<Moment, TooManyOpen> {
        self.sweep(now);
        if self.held.len() >= MAX_OPEN {
            return Err(TooManyOpen);
        }
        let until = now.plus(life.min(LONGEST));
        self.held.push((hash(token), until));
        Ok(until)
    }

    /// Uses a token up. False when there is no such invite, or not any more.
    pub fn redeem(&mut self, token: &[u8], now: Moment) -> bool {
        self.sweep(now);
        let hash = hash(token);
        // The comparison of hashes tells an onlooker nothing about the token.
        match self.held.iter().position(|(held, _)| *held == hash) {
            Some(at) => {
                self.held.remove(at);
                true
            }
            None => false,
        }
    }

    /// Whether strangers may knock at all.
    pub fn any(&mut self, now: Moment) -> bool {
        self.sweep(now);
        !self.held.is_empty()
    }

    /// Hashes and ends, for disk.
    pub fn persist(&self) -> impl Iterator<Item = ([u8; 32], Moment)> {
        self.held.iter().copied()
    }

    /// Takes back what [`Open::persist`] gave.
    pub fn restore(hashes: impl IntoIterator<Item = ([u8; 32], Moment)>) -> Self {
        Self { held: hashes.into_iter().take(MAX_OPEN).collect() }
    }

    fn sweep(&mut self, now: Moment) {
        self.held.retain(|(_, until)| now < *until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn invite() -> Invite {
        Invite {
            psk: [1; 32],
            inviter: crate::identity::NodeKey::from_seed(&[3; 32]).id(),
            token: [4; 16],
            until: Moment(1_793_500_000_000),
            addresses: vec!["/ip4/198.51.100.9/tcp/7778".into(), "/ip6/2001:db8::9/tcp/7778".into()],
        }
    }

    #[test]
    fn the_line_is_read_as_written_and_damage_is_noticed() {
        let line = invite().to_string();
        assert!(!line.contains(char::is_whitespace) && line.len() < 300, "{line}");
        assert_eq!(format!("  {line}\n").parse(), Ok(invite()));
        for at in START.len()..line.len() {
            let mut bad = line.clone().into_bytes();
            bad[at] = if bad[at] == b'a' { b'b' } else { b'a' };
            let bad = String::from_utf8(bad).expect("ascii");
            assert_eq!(bad.parse::<Invite>(), Err(NotAnInvite::Damaged), "{at}");
        }
        assert_eq!(line[..line.len() - 1].parse::<Invite>(), Err(NotAnInvite::Damaged));
        assert_eq!("hello".parse::<Invite>(), Err(NotAnInvite::Start));
    }

    #[test]
    fn no_secret_is_in_the_debug_text() {
        let text = format!("{:?}", invite());
        assert!(!text.contains("[1") && !text.contains("[4"), "{text}");
    }

    #[test]
    fn an_invite_is_used_once_and_ends() {
        let mut open = Open::default();
        let now = Moment(1_000);
        let until = open.open(&[1; 16], LONGEST * 9, now).expect("room");
        assert_eq!(until, now.plus(LONGEST));
        assert!(!open.redeem(&[2; 16], now));
        let mut kept = Open::restore(open.persist());
        assert_eq!(kept, open);
        assert!(kept.redeem(&[1; 16], now));
        assert!(!kept.redeem(&[1; 16], now));
        assert!(!kept.any(now));
        assert!(open.any(now) && !open.redeem(&[1; 16], until));
    }

    #[test]
    fn few_are_open_at_once() {
        let mut open = Open::default();
        for n in 0..MAX_OPEN {
            open.open(&[n as u8; 16], LONGEST, Moment(0)).expect("room");
        }
        assert_eq!(open.open(&[9; 16], LONGEST, Moment(0)), Err(TooManyOpen));
        assert!(open.open(&[9; 16], LONGEST, Moment(0).plus(LONGEST)).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read(text in "(slips-invite-1-)?[a-z2-7]{0,300}") {
            let _ = text.parse::<Invite>();
        }
    }
}
