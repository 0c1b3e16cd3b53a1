//! Who logged in, guessed from sizes: all is encrypted, but a refusal always has the same size, and an acceptance is the
//! smallest message there is.

use crate::track::Dir;

/// Between the answer to "may I log in?" and an acceptance lie the bytes of the word `ssh-userauth` and its padding.
const ACCEPTANCE_IS_SMALLER_BY: u64 = 16;
/// A first answer this much larger than the previous one is a banner to be shown to the user.
const BANNER_IS_LARGER_BY: u64 = 256;

/// Attempts to log in. The rules are those of Zeek's analyzer, as its logs show them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempts {
    client_spoke: bool,
    showed_banner: bool,
    given_up: bool,
    succeeded: bool,
    /// Size of the server's first encrypted segment after the client's: it offers authentication.
    offer: Option<u64>,
    /// Size of a refusal. The first one is that of the attempt without a password, which only asks what there is.
    refusal: Option<u64>,
    count: u32,
}

impl Attempts {
    /// An encrypted segment. True when it is a success.
    pub(crate) fn segment(&mut self, dir: Dir, length: u64) -> bool {
        if self.given_up || self.succeeded {
            return false;
        }
        if dir == Dir::Orig {
            self.client_spoke = true;
            return false;
        }
        let Some(offer) = self.offer else {
            self.offer = self.client_spoke.then_some(length);
            return false;
        };
        let is_acceptance = length + ACCEPTANCE_IS_SMALLER_BY == offer;
        match self.refusal {
            Some(refusal) if refusal == length => self.count = self.count.saturating_add(1),
            None if !is_acceptance => {
                if !self.showed_banner && length > offer + BANNER_IS_LARGER_BY {
                    self.showed_banner = true;
                } else {
                    self.refusal = Some(length);
                }
            }
            _ if is_acceptance => {
                self.count = self.count.saturating_add(1);
                self.succeeded = true;
            }
            _ => {}
        }
        self.succeeded
    }

    /// Segments are missing: nothing is judged any more.
    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// What is known at the end of the connection, or after a success.
    pub(crate) fn success(&self) -> Option<bool> {
        (self.succeeded || self.count > 0).then_some(self.succeeded)
    }
}
