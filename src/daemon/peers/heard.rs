//! What the node tells: who is there, what peers say, what they ask.

use std::time::Duration;

use slips_core::event::{Advice as Hearsay, Event};
use slips_core::time::PacketTime;
use slips_p2p::council::Said;
use slips_p2p::exchange::Sight;
use slips_p2p::gate::{Accepted, Path, Verdict};
use slips_p2p::identity::NodeId;
use slips_p2p::indicator::Indicator;
use slips_p2p::link::{FromNode, ToNode};
use slips_p2p::message::{Message, Report};

use super::{MAX_UNADVISED, Peers};
use crate::daemon::entries;

/// What a peer answers to a question holds for so long.
const ANSWER_HOLDS: Duration = Duration::from_secs(3600);

/// Peers of whom it is remembered when they were last heard.
const MAX_SEEN: usize = 4096;

impl Peers {
    /// Takes a word of the node.
    pub(super) fn hear(&mut self, word: FromNode) {
        let (now, steady) = (self.now(), (self.clocks.steady)());
        match word {
            FromNode::Heard(envelope) => self.judge(&envelope),
            FromNode::Published { seq, envelope } => {
                let opened = self
                    .psk()
                    .map(|psk| slips_p2p::envelope::open(&envelope, slips_p2p::identity::NetId::of(&psk)));
                // A node that was taken over must not use up our numbers.
                if let Some(Ok(opened)) = opened
                    && Some(opened.head.author) == self.own()
                    && opened.head.seq == seq
                {
                    self.keep(&opened.message, &opened.head, envelope);
                    self.said.1 = self.said.1.max(seq);
                    self.unwritten.said = true;
                }
            }
            FromNode::Connected(id) => {
                self.note_seen_now(id, now);
                self.say_of(id, |peer| entries::peer_connected(peer, true));
                self.tell_trust(id);
            }
            FromNode::Gone(id) => {
                self.note_seen_now(id, now);
                self.say_of(id, |peer| entries::peer_connected(peer, false));
            }
            FromNode::Asked { from, indicators, ticket } => {
                let seen = self.sights(from, &indicators);
                self.node.send(ToNode::Answer { ticket, seen }, steady);
            }
            FromNode::Answered { from, seen } => self.hear_answer(from, &seen),
            FromNode::Joined { id, name, invite } => {
                self.change(|state| _ = state.joined(id, name, &invite));
                self.say_of(id, |peer| entries::peer_joined(peer, true));
                self.tell_members(steady);
            }
            FromNode::Admitted { by, name } => {
                self.change(|state| _ = state.admitted(by, name));
                self.say_of(by, |peer| entries::peer_joined(peer, false));
                self.tell_members(steady);
            }
            FromNode::Refused(by) => {
                self.change(|state| state.refused(by));
                self.say_of(by, entries::peer_refused);
                // It may have been the only one that we would talk with.
                let _ = self.reload();
            }
            FromNode::Failed(why) => self.complain(&format!("the node does not work: {why}")),
            FromNode::Shunned(id) => {
                let name = self.name_of(id);
                self.complain(&format!(
                    "peer {name} sends what is broken or far too much: it is not talked with for ten minutes"
                ));
            }
            FromNode::Hello { .. }
            | FromNode::Listening(_)
            | FromNode::Status(_)
            | FromNode::Synced { .. } => {}
        }
    }

    /// The node is free to name anybody.
    fn note_seen_now(&mut self, id: NodeId, now: slips_p2p::moment::Moment) {
        if self.last_seen.len() < MAX_SEEN || self.last_seen.contains_key(&id) {
            self.last_seen.insert(id, now);
        }
    }

    /// Who we are, where we are anybody.
    pub(super) fn own(&self) -> Option<NodeId> {
        Some(self.state.as_ref()?.key.as_ref()?.id())
    }

    pub(super) fn psk(&self) -> Option<[u8; 32]> {
        self.state.as_ref()?.psk(self.now())
    }

    /// Opens an envelope, which the node took, once more: its word for it is not enough.
    fn judge(&mut self, envelope: &[u8]) {
        let clock = self.clock();
        let Some(gate) = &mut self.gate else { return };
        match gate.judge(envelope, Path::Snapshot, &self.members, clock) {
            Verdict::Accept(accepted) => self.accept(*accepted),
            // Seen before a restart of the node, or of an author that was removed a moment ago.
            Verdict::Ignore(_) => {}
            Verdict::Reject(why) => {
                self.complain(&format!("the node hands on what it should have refused ({})", why.name()));
            }
        }
    }

    fn accept(&mut self, accepted: Accepted) {
        let (now, author) = (self.now(), accepted.opened.head.author);
        self.last_seen.insert(author, now);
        // What has to be done comes before what has to be written.
        let rulings = self.council.hear(&accepted, &self.members, now);
        self.obey(rulings);
        self.tell(author, &accepted);
        match &accepted.opened.message {
            Message::Roster(signed) => {
                let signed = signed.clone();
                // The gate checked the signature.
                self.change(|state| _ = state.add_roster(&signed, now));
                self.tell_members((self.clocks.steady)());
            }
            Message::List(part) => {
                let changes = self.followed.hear(author, part, accepted.opened.head.until());
                self.list_changed(changes);
            }
            Message::Announce(_) => {}
            Message::Report(report) => self.evidence(author, report),
            Message::Block(block) => self.evidence(author, &block.report),
            Message::Retract(_) => {}
        }
        self.unwritten.taken.insert(author);
        let Accepted { opened, envelope, .. } = accepted;
        self.keep(&opened.message, &opened.head, envelope);
    }

    /// Tells the journal what was said.
    fn tell(&mut self, author: NodeId, accepted: &Accepted) {
        let (about, what) = match &accepted.opened.message {
            Message::Report(report) => (report.indicator.to_string(), described(report)),
            Message::Block(block) => {
                let order = if accepted.author.may_order() { "orders a block" } else { "asks for a block" };
                let what =
                    format!("{order} for {} s: {}", block.duration.as_secs(), described(&block.report));
                (block.report.indicator.to_string(), what)
            }
            Message::Retract(retract) => {
                let about = retract.indicator.as_ref().map_or("everything".into(), Indicator::to_string);
                (about, format!("takes its word back: {}", reason_name(retract.reason)))
            }
            Message::Roster(_) | Message::Announce(_) | Message::List(_) => return,
        };
        self.say_of(author, |peer| entries::peer_report(peer, &about, &what));
    }

    /// A report is evidence that weighs nothing by itself.
    fn evidence(&mut self, author: NodeId, report: &Report) {
        let Some(net) = report.indicator.as_net().filter(|_| report.indicator.is_single()) else { return };
        let text = format!("peer {} reports it: {}", self.name_of(author), described(report));
        self.advise(Hearsay {
            attacker: net.addr(),
            at: PacketTime((self.clocks.wall)()),
            help: 0.0,
            confidence: report.confidence.share(),
            text,
        });
    }

    /// Tells the engine, now or at the next turn.
    pub(super) fn advise(&mut self, hearsay: Hearsay) {
        if self.unadvised.len() >= MAX_UNADVISED {
            self.unadvised.pop_front();
        }
        self.unadvised.push_back(Event::Advice(Box::new(hearsay)));
        self.hand_over();
    }

    /// An answer is not signed: it is the node's word, so that it counts for members and open questions only, and for little.
    fn hear_answer(&mut self, from: NodeId, seen: &[Sight]) {
        let now = self.now();
        if self.members.find(from, now).is_none() {
            return;
        }
        self.note_seen_now(from, now);
        for sight in seen
            .iter()
            .filter(|sight| self.sharing.awaits(&sight.indicator, now))
            .cloned()
            .collect::<Vec<_>>()
        {
            let Sight { indicator, score, confidence, last } = sight;
            let said = Said { score, confidence, at: last, until: now.plus(ANSWER_HOLDS) };
            let rulings = self.council.hear_answer(from, &indicator, said, &self.members, now);
            self.obey(rulings);
        }
    }
}

fn described(report: &Report) -> String {
    let evidence =
        if report.evidence.is_empty() { "no more is said".into() } else { report.evidence.join(" ") };
    format!("score {:.2}, confidence {:.2}, {evidence}", report.score.share(), report.confidence.share())
}

const fn reason_name(reason: slips_p2p::message::Reason) -> &'static str {
    use slips_p2p::message::Reason;
    match reason {
        Reason::FalsePositive => "it was wrong",
        Reason::Over => "it is over",
        Reason::AllowListed => "its owner allows it",
        Reason::KeyCompromised => "its key is in other hands",
    }
}
