//! What peers ask for, and take back. Who is believed is decided before; here their blocks have a room of their own, and end when
//! the peer that asked takes its word back, unless somebody else holds them too.

use std::collections::BTreeSet;
use std::time::Duration;

use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Manner};
use slips_store::BlockId;

use super::Responder;
use super::batch::{Batch, Ground, Wanted};
use super::holds::{Hold, Holder};

/// Of the room for blocks of peers, one source has this part: of the default, the longest list.
const PART_OF_ONE: usize = 4;
/// What a source begins with that is another router on the same Redis.
pub const FLEET: &str = "fleet ";
/// Longest name of a source and longest reason, in characters.
const MAX_NAME: usize = 64;
const MAX_WHY: usize = 200;

/// What peers ask for. A source is who answers for it, `GROUP/AUTHOR` for one; one word without spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Block this network for so long from now on, longer or shorter than this source asked for before.
    Block {
        /// Whom.
        net: Net,
        /// For how long.
        for_: Duration,
        /// On whose word.
        source: String,
        /// Why, for the journal and the book.
        why: String,
    },
    /// The source's word about this network holds no longer.
    Retract {
        /// About whom.
        net: Net,
        /// Who.
        source: String,
        /// Why, for the journal and the book.
        why: &'static str,
    },
    /// The source is not to be heard any more: all that it asked for ends.
    Forget {
        /// Who.
        source: String,
    },
    /// These are all that are still heard, lists of peers among them: what any other source asked for ends. Said once it is known who
    /// they are, it ends what was asked for by those who were removed or renamed while no daemon ran.
    Keep {
        /// All of them.
        sources: BTreeSet<String>,
        /// Why what others asked for ends.
        why: &'static str,
    },
}

impl Responder {
    /// Takes advice into a batch.
    pub(super) fn heed(&mut self, batch: &mut Batch, advice: Advice) {
        match advice {
            // Whoever acts hears it, too.
            Advice::Block { .. } if self.idle => {}
            Advice::Block { net, for_, source, why } => {
                self.block_on_word_of(batch, peer(&source), (net, for_), plain(&why, MAX_WHY), None);
            }
            Advice::Retract { net, source, why } => {
                // As it was blocked: with its 64 bits, where they were.
                let by = peer(&source);
                for net in [Some(net), Net::new(net.addr(), 64).filter(|_| is_six(net))].into_iter().flatten()
                {
                    self.make_way(batch, net);
                    self.failed.retain(|failed| failed.peer() != Some(&by) || !failed.touches(net));
                    if self.standing.get(net).is_some_and(|standing| standing.of(&by).is_some()) {
                        batch.lift(net, by.clone(), why);
                    }
                }
            }
            Advice::Forget { source } => {
                self.commit(batch);
                self.forget_peer(batch, &peer(&source), NO_PEER);
            }
            Advice::Keep { sources, why } => {
                self.commit(batch);
                let kept: BTreeSet<Holder> = sources.iter().map(|source| peer(source)).collect();
                let is_kept = |by: &Holder| !matches!(by, Holder::Peer(_)) || kept.contains(by);
                self.failed.retain(|failed| failed.peer().is_none_or(is_kept));
                for by in self.standing.peers().filter(|by| !kept.contains(by)).collect::<Vec<_>>() {
                    self.forget_peer(batch, &by, why);
                }
            }
        }
    }

    /// Ends all that a peer asked for, many at once.
    fn forget_peer(&mut self, batch: &mut Batch, by: &Holder, why: &'static str) {
        self.failed.retain(|failed| failed.peer() != Some(by));
        for net in self.standing.held_by(by) {
            if batch.is_full() {
                self.commit(batch);
            }
            self.make_way(batch, net);
            batch.lift(net, by.clone(), why);
        }
    }

    /// Takes a network that is to be blocked on a peer's word for so long into a batch; `again` as in [`sentence`](Self::sentence).
    pub(super) fn block_on_word_of(
        &mut self,
        batch: &mut Batch,
        by: Holder,
        (net, for_): (Net, Duration),
        why: String,
        again: Option<(Net, BlockId)>,
    ) {
        // By a peer, so that it is not widened as an alert's is.
        let asked = BlockRequest { by: by.origin(), ..BlockRequest::new(net, for_, "") };
        let (net, term) = match self.judge(&asked) {
            Ok(judged) => judged,
            Err(reason) => return self.refuse_word(net, &by, &reason, &why),
        };
        self.make_way(batch, net);
        if let Some(reason) = self.too_many_inside(batch, net) {
            return self.refuse_word(net, &by, &reason, &why);
        }
        let now = (self.clocks.steady)();
        let until = now.saturating_add(term);
        if self.standing.ours_until(net) >= until {
            return;
        }
        let known = self.standing.get(net).and_then(|standing| standing.of(&by)).cloned();
        if known.is_none() && !self.has_room_for_peer(batch, &by) {
            return;
        }
        let hold = Hold {
            since: known.as_ref().map_or(now, |hold| hold.since),
            id: known.and_then(|hold| hold.id),
            by,
            until,
            unproven: false,
            manner: Manner::Drop,
        };
        let again = again.filter(|(before, _)| *before == net).map(|(_, id)| id);
        batch.want(Wanted { net, hold, ground: Ground::Word(why), again });
    }

    fn has_room_for_peer(&mut self, batch: &mut Batch, by: &Holder) -> bool {
        if !by.is_of_others() {
            return false;
        }
        let (most, waiting) = (self.policy.peer_cap, batch.wanted());
        let full = |(all, one): (usize, usize), waiting| {
            all + waiting >= most || one + waiting >= most / PART_OF_ONE
        };
        if !full(self.standing.by_peers(by), waiting) {
            return true;
        }
        // Not all that waits is this peer's.
        self.commit(batch);
        if !full(self.standing.by_peers(by), 0) {
            return true;
        }
        self.count_refused();
        let text = format!(
            "{} asks for more blocks than firewall.peer_cap ({most}, a quarter for one source) leaves room for",
            by.source()
        );
        self.complain("blocks of peers", &text);
        false
    }
}

fn is_six(net: Net) -> bool {
    net.addr().is_ipv6() && net.prefix() == 128
}

/// The name stands as one word in the book. What begins with [`FLEET`] is no peer: a peer's source is one word.
fn peer(source: &str) -> Holder {
    if let Some(router) = source.strip_prefix(FLEET) {
        return Holder::Fleet(plain(router, MAX_NAME).replace(char::is_whitespace, "_").into());
    }
    let name = plain(source, MAX_NAME).replace(char::is_whitespace, "_");
    Holder::Peer(name.into())
}

fn plain(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

/// Why the word of a peer ends that is not heard any more.
pub const NO_PEER: &str = "who asked for it is not heard any more";
