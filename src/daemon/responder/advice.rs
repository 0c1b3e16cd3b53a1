//! What peers ask for, and take back. Who is believed is decided before; here their blocks have a room of their own, and end when
//! the peer that asked takes its word back, unless somebody else holds them too.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use slips_core::addr::Net;
use slips_firewall::{BlockRequest, Manner};
use slips_store::BlockId;

use super::Responder;
use super::batch::{Batch, Ground, Wanted};
use super::holds::{Hold, Holder};
use crate::daemon::bell::Rope;

/// Asks of peers that may wait for the responder; they are few, and more than a peer may have.
const ADVICE_QUEUE: usize = 1024;
/// Of the room for blocks of peers, one source has this part.
const PART_OF_ONE: usize = 5;
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
    /// The source takes its word about this network back.
    Retract {
        /// About whom.
        net: Net,
        /// Who.
        source: String,
    },
    /// The source is not to be heard any more: all that it asked for ends.
    Forget {
        /// Who.
        source: String,
    },
}

/// The way of advice to the responder.
pub struct AdviceLine {
    to: SyncSender<Advice>,
    // The last, so that it is dropped after the sender: see `Rope`.
    rope: Rope,
}

impl AdviceLine {
    /// A line, and its end at the responder.
    pub fn new(rope: Rope) -> (Self, Receiver<Advice>) {
        let (to, from) = sync_channel(ADVICE_QUEUE);
        (Self { to, rope }, from)
    }

    /// Hands advice over without waiting; false when too much waits already, and it should be said again.
    pub fn give(&self, advice: Advice) -> bool {
        let given = self.to.try_send(advice).is_ok();
        self.rope.ring();
        given
    }
}

impl Responder {
    /// Takes advice into a batch.
    pub(super) fn heed(&mut self, batch: &mut Batch, advice: Advice) {
        match advice {
            Advice::Block { net, for_, source, why } => {
                self.block_on_word_of(batch, peer(&source), (net, for_), plain(&why, MAX_WHY), None);
            }
            Advice::Retract { net, source } => {
                // As it was blocked: with its 64 bits, where they were.
                let by = peer(&source);
                for net in [Some(net), Net::new(net.addr(), 64).filter(|_| is_six(net))].into_iter().flatten()
                {
                    self.make_way(batch, net);
                    self.failed.retain(|failed| !failed.is_of(&by) || !failed.touches(net));
                    if self.standing.get(net).is_some_and(|standing| standing.of(&by).is_some()) {
                        batch.lift(net, by.clone(), TAKEN_BACK);
                    }
                }
            }
            Advice::Forget { source } => {
                self.commit(batch);
                let by = peer(&source);
                self.failed.retain(|failed| !failed.is_of(&by));
                for net in self.standing.held_by(&by) {
                    if batch.is_full() {
                        self.commit(batch);
                    }
                    self.make_way(batch, net);
                    batch.lift(net, by.clone(), TAKEN_BACK);
                }
            }
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
        let Ok((net, term)) = self.judge(&asked) else {
            self.count_refused();
            return;
        };
        self.make_way(batch, net);
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
        let Holder::Peer(name) = by else { return false };
        let (most, waiting) = (self.policy.peer_cap, batch.wanted());
        let full = |(all, one): (usize, usize), waiting| {
            all + waiting >= most || one + waiting >= most / PART_OF_ONE
        };
        if !full(self.standing.by_peers(name), waiting) {
            return true;
        }
        // Not all that waits is this peer's.
        self.commit(batch);
        if !full(self.standing.by_peers(name), 0) {
            return true;
        }
        self.count_refused();
        let text = format!(
            "{name} asks for more blocks than firewall.peer_cap ({most}, a fifth for one source) leaves room for"
        );
        self.complain("blocks of peers", &text);
        false
    }
}

fn is_six(net: Net) -> bool {
    net.addr().is_ipv6() && net.prefix() == 128
}

/// The name stands as one word in the book.
fn peer(source: &str) -> Holder {
    let name = plain(source, MAX_NAME).replace(char::is_whitespace, "_");
    Holder::Peer(name.into())
}

fn plain(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

const TAKEN_BACK: &str = "the peer that asked for it took it back";
