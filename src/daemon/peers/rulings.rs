//! What is made of the council's rulings: evidence for the engine, blocks for the responder, words for the journal and the book.

use slips_core::event::Advice as Hearsay;
use slips_core::time::PacketTime;
use slips_p2p::council::{Basis, Lifted, Ruling};
use slips_p2p::indicator::Indicator;
use slips_p2p::opinion::Opinion;
use slips_store::Outcome;

use super::{MAX_UNGIVEN, Peers};
use crate::daemon::entries;
use crate::daemon::responder::Advice;

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

    fn moved(&mut self, peer: slips_p2p::identity::NodeId, about: &Indicator, moved: f64, why: &str) {
        self.unwritten.standings.insert(peer);
        let (at, peer_name) = (self.now().0, peer.to_string());
        let (accused, why) = (about.to_string(), why.to_owned());
        self.unwritten.outcomes.push(Outcome { at, peer: peer_name, accused, moved, why });
        self.tell_trust(peer);
    }

    fn last_loss(&self, peer: slips_p2p::identity::NodeId) -> String {
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
    fn source_of(&self, author: slips_p2p::identity::NodeId) -> String {
        let name = self.name_of(author);
        let group =
            self.state.as_ref().and_then(|state| state.table.peer(author)).and_then(|row| row.group.clone());
        group.map_or(name.clone(), |group| format!("{group}/{name}"))
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

/// Most authors that a reason names.
const MOST_NAMED: usize = 8;
