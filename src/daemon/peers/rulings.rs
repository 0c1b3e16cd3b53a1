//! What is made of the council's rulings: evidence for the engine, blocks for the responder, words for the journal and the book.

use std::time::Duration;

use slips_core::addr::Net;
use slips_core::event::Advice as Hearsay;
use slips_core::time::PacketTime;
use slips_p2p::council::{Basis, Lifted, Ruling};
use slips_p2p::identity::NodeId;
use slips_p2p::indicator::Indicator;
use slips_p2p::moment::Moment;
use slips_p2p::opinion::Opinion;
use slips_store::Outcome;

use super::Peers;
use crate::daemon::entries;
use crate::daemon::responder::Advice;

/// In whose name several groups together ask for a block.
pub(super) const SEVERAL: &str = "several";

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
                        Basis::Order(author) => {
                            (source_of(author), format!("order of {}", self.name_of(author)))
                        }
                        Basis::Assist | Basis::Preempt => (SEVERAL.to_owned(), self.account(&opinion)),
                    };
                    self.ask_responder(Advice::Block { net, for_: term, source, why });
                }
                Ruling::Refused { indicator, by } => {
                    let Some(net) = indicator.as_net() else { continue };
                    let why = format!("order of {}", self.name_of(by));
                    // For no time: the firewall refuses it, counts it and tells why, also should it protect others by now.
                    self.ask_responder(Advice::Block {
                        net,
                        for_: Duration::ZERO,
                        source: source_of(by),
                        why,
                    });
                }
                Ruling::WouldBlock { indicator, basis, opinion } => {
                    let reason = format!("{basis}; {}", self.account(&opinion));
                    // Any of several may have caused it.
                    let entry = entries::peer_advice(&indicator.to_string(), &reason);
                    if self.chatter.may(&(SEVERAL_ID, entry.kind()), (self.clocks.steady)()) {
                        self.journal.send(&entry);
                    }
                }
                Ruling::Lift { indicator, basis, why } => self.lift(&indicator, basis, why),
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
                    self.ask_responder(Advice::Forget { source: source_of(peer) });
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

    fn lift(&mut self, indicator: &Indicator, basis: Basis, why: Lifted) {
        let source = match basis {
            // The judge made an alert of it, and that is ours.
            Basis::Assist => return,
            Basis::Preempt => SEVERAL.to_owned(),
            Basis::Order(author) => source_of(author),
        };
        // A block whose time is over ends by itself; one that the owner lifted is lifted.
        let Some(net) = indicator.as_net() else { return };
        if why != Lifted::Over {
            self.ask_responder(Advice::Retract { net, source: source.clone(), why: reason(why) });
        }
        let Some(with) = shared(indicator) else { return };
        let others: Vec<(Indicator, Moment, String)> = match basis {
            Basis::Order(author) => {
                let held = self.council.ordered_in(author, with);
                held.map(|(held, until)| (held.clone(), until, format!("order of {}", self.name_of(author))))
                    .collect()
            }
            _ => {
                let held = self.council.preempted_in(with);
                held.map(|(held, block)| (held.clone(), block.until, self.account(&block.opinion))).collect()
            }
        };
        let now = self.now();
        self.hold_on(others, &source, now);
    }

    /// The firewall blocks an address of IPv6 with its 64 bits, once for each source: when one of several that it names among them ends, it
    /// is asked for the others again.
    pub(super) fn hold_on(&mut self, others: Vec<(Indicator, Moment, String)>, source: &str, now: Moment) {
        let asked = others.into_iter().filter(|(held, until, _)| *until > now && shared(held).is_some());
        // Who stands longest.
        let Some((held, until, why)) = asked.max_by_key(|(_, until, _)| *until) else { return };
        if let Some(net) = held.as_net()
            && !self.council.is_refuted(&held, now)
        {
            let (for_, source) = (until.since(now), source.to_owned());
            self.ask_responder(Advice::Block { net, for_, source, why });
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
    pub(super) fn account(&self, opinion: &Opinion) -> String {
        let said = opinion.shares.iter().take(MOST_NAMED);
        let names: Vec<String> =
            said.map(|share| format!("{} ({:.2})", self.name_of(share.author), share.weight)).collect();
        let more = opinion.shares.len().saturating_sub(MOST_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}; weight {:.2} of {} groups", names.join(", "), opinion.weight, opinion.groups)
    }

    pub(super) fn ask_responder(&mut self, advice: Advice) {
        if !self.may_advise(&advice) {
            return;
        }
        if matches!(advice, Advice::Block { .. }) {
            // More than may stand would be refused there.
            let most = self.settings.firewall.peer_cap;
            if !self.ungiven.put(advice, most) {
                self.complain(&format!(
                    "peers ask for more blocks than firewall.peer_cap ({most}) leaves room for: some are dropped"
                ));
            }
        } else {
            self.ungiven.void(&advice);
            (self.ways.respond)(advice);
        }
        self.hand_over();
    }

    /// Hands over what waits, in its order.
    pub(super) fn hand_over(&mut self) {
        self.ungiven.give(&self.ways.respond);
        while let Some(event) = self.unadvised.front() {
            if !(self.ways.advise)(event.clone()) {
                break;
            }
            self.unadvised.pop_front();
        }
    }
}

/// The 64 bits with which a single address of IPv6 is blocked.
pub(super) fn shared(indicator: &Indicator) -> Option<Net> {
    indicator.blocked_as().filter(|net| Some(*net) != indicator.as_net())
}

/// Why a block on the word of peers ends, for the journal and the book.
const fn reason(why: Lifted) -> &'static str {
    match why {
        Lifted::Over => "its time is over",
        Lifted::WeightFell => {
            "those who say so weigh too little now: some took it back, or are believed less"
        }
        Lifted::Refuted => "lifted by hand, or our own traffic speaks for it",
        Lifted::OrderEnded => "who ordered it took it back, or may order nothing any more",
        Lifted::Protected => "it is protected now",
        Lifted::Watchdog => "the network is reached without the blocks of peers only",
    }
}

/// Who answers for what an author asks for: its id, since a name may become another's.
pub(super) fn source_of(author: NodeId) -> String {
    author.to_string()
}

/// Nobody's id, for what several caused.
const SEVERAL_ID: NodeId = NodeId([0; 32]);
/// Most authors that a reason names.
const MOST_NAMED: usize = 8;
