//! What is made of the council's rulings: evidence for the engine, blocks for the responder, words for the journal and the book.

use slips_core::event::Advice as Hearsay;
use slips_core::time::PacketTime;
use slips_p2p::council::{Basis, Lifted, Ruling};
use slips_p2p::identity::NodeId;
use slips_p2p::indicator::Indicator;
use slips_p2p::opinion::Opinion;
use slips_store::Outcome;

use super::{MAX_UNGIVEN, Peers};
use crate::daemon::entries;
use crate::daemon::responder::Advice;
use crate::peers::State;

/// In whose name several groups together ask for a block.
const SEVERAL: &str = "several";

impl Peers {
    /// Carries rulings out.
    pub(super) fn obey(&mut self, rulings: Vec<Ruling>) {
        for ruling in rulings {
            match ruling {
                Ruling::Block { indicator, basis: Basis::Assist, opinion, .. } => {
                    self.help(&indicator, &opinion)
                }
                Ruling::Block { indicator, term, basis, opinion } => {
                    let Some(net) = indicator.as_net() else { continue };
                    let (source, why) = match basis {
                        Basis::Order(author) => (self.source_of(author), "order of an authority".to_owned()),
                        Basis::Assist | Basis::Preempt => (SEVERAL.to_owned(), self.account(&opinion)),
                    };
                    self.lent.insert(indicator, source.clone());
                    self.ask_responder(Advice::Block { net, for_: term, source, why });
                }
                Ruling::WouldBlock { indicator, basis, opinion } => {
                    let reason = format!("{basis}; {}", self.account(&opinion));
                    self.journal.send(&entries::peer_advice(&indicator.to_string(), &reason));
                }
                Ruling::Lift { indicator, why } => self.lift(&indicator, why),
                Ruling::Gained { peer, indicator, gain } => {
                    self.moved(peer, &indicator, gain.weight(), gain.name());
                }
                Ruling::Lost { peer, indicator, loss } => {
                    self.moved(peer, &indicator, -loss.weight(), loss.name());
                }
                Ruling::Quarantined { peer } => {
                    self.unwritten.standings.insert(peer);
                    let reason = self.last_loss(peer);
                    self.say_of(peer, |peer| entries::peer_quarantined(peer, &reason));
                    self.tell_trust(peer);
                    let source = self.source_of(peer);
                    self.ask_responder(Advice::Forget { source });
                }
                Ruling::BreakerOpen { until } => {
                    self.unwritten.breaker = Some(until.0);
                    self.complain("peers were wrong twice: for a day nothing is blocked on their word alone");
                }
            }
        }
    }

    /// Peers and our own evidence are enough together: the judge makes an alert of it.
    fn help(&mut self, indicator: &Indicator, opinion: &Opinion) {
        let Some(net) = indicator.as_net() else { return };
        self.advise(Hearsay {
            attacker: net.addr(),
            at: PacketTime((self.clocks.wall)()),
            help: self.council.help(opinion),
            confidence: opinion.weight.min(1.0),
            text: format!("peers say so, too: {}", self.account(opinion)),
        });
    }

    fn lift(&mut self, indicator: &Indicator, why: Lifted) {
        let source = self.lent.remove(indicator);
        // A block whose time is over ends by itself; one that the owner lifted is lifted.
        if let (Some(net), Some(source)) = (indicator.as_net(), source)
            && why != Lifted::Over
        {
            self.ask_responder(Advice::Retract { net, source });
        }
    }

    fn moved(&mut self, peer: NodeId, about: &Indicator, moved: f64, why: &str) {
        self.unwritten.standings.insert(peer);
        let (at, peer_name) = (self.now().0, peer.to_string());
        let (accused, why) = (about.to_string(), why.to_owned());
        self.unwritten.outcomes.push(Outcome { at, peer: peer_name, accused, moved, why });
        self.tell_trust(peer);
    }

    fn last_loss(&self, peer: NodeId) -> String {
        let name = peer.to_string();
        let last = self.unwritten.outcomes.iter().rev().find(|outcome| outcome.peer == name);
        last.map_or("it was wrong too often".into(), |outcome| {
            format!("{}: {}", outcome.why, outcome.accused)
        })
    }

    /// Who says what, the weightiest first.
    fn account(&self, opinion: &Opinion) -> String {
        let said = opinion.shares.iter().take(MOST_NAMED);
        let names: Vec<String> =
            said.map(|share| format!("{} ({:.2})", self.name_of(share.author), share.weight)).collect();
        let more = opinion.shares.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}; weight {:.2} of {} groups", names.join(", "), opinion.weight, opinion.groups)
    }

    /// Who answers for what one author asked for: its group, where the owner named one, and itself.
    fn source_of(&self, author: NodeId) -> String {
        source_in(self.state.as_ref(), author)
    }

    pub(super) fn ask_responder(&mut self, advice: Advice) {
        if self.ungiven.len() >= MAX_UNGIVEN {
            self.ungiven.pop_front();
            self.complain("the responder is too slow: advice of peers was dropped");
        }
        self.ungiven.push_back(advice);
        self.hand_over();
    }

    /// Hands over what waits, in its order.
    pub(super) fn hand_over(&mut self) {
        while let Some(advice) = self.ungiven.front() {
            if !(self.ways.respond)(advice.clone()) {
                break;
            }
            self.ungiven.pop_front();
        }
        while let Some(event) = self.unadvised.front() {
            if !(self.ways.advise)(event.clone()) {
                break;
            }
            self.unadvised.pop_front();
        }
    }
}

/// Who answers for what an author asks for, as the directory said in this `state`.
pub(super) fn source_in(state: Option<&State>, author: NodeId) -> String {
    let row = state.and_then(|state| state.table.peer(author));
    let name = row.and_then(|row| row.name.as_ref()).map_or_else(|| author.to_string(), ToString::to_string);
    row.and_then(|row| row.group.as_ref()).map_or(name.clone(), |group| format!("{group}/{name}"))
}

/// Most authors that a reason names.
const MOST_NAMED: usize = 8;

#[cfg(test)]
mod tests {
    use slips_p2p::roster::Role;

    use super::super::stage::{Stage, id, reloaded};
    use super::*;

    #[test]
    fn what_a_peer_had_blocked_ends_when_it_is_removed_or_may_order_no_more() {
        let stage = Stage::new();
        let (mut peers, given) = stage.peers();
        let forget = |source: &str| Advice::Forget { source: source.to_owned() };
        assert_eq!(reloaded(&mut peers, &given), []);
        stage.change(|state| state.table.peers.retain(|row| row.id != id(1)));
        assert_eq!(reloaded(&mut peers, &given), [forget("family/attic")]);
        stage.change(|state| state.table.peer_mut(id(2)).expect("there").role = Some(Role::Reporter));
        assert_eq!(reloaded(&mut peers, &given), [forget("family/barn")]);
        stage.change(|state| state.table.peer_mut(id(3)).expect("there").weight = 0.0);
        assert_eq!(reloaded(&mut peers, &given), [forget("family/shed")]);
        assert_eq!(reloaded(&mut peers, &given), []);
        peers.obey(vec![Ruling::Quarantined { peer: id(2) }]);
        assert_eq!(reloaded(&mut peers, &given), [forget("family/barn")]);
    }
}
