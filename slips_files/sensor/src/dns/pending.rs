//! Questions that wait for their answers.

use slips_core::event::{Dns, DnsAnswer, DnsFlags, Event};
use slips_core::time::{PacketTime, Span};

use super::message::{Message, Question};
use crate::emit;
use crate::list::{Link, Linked, List, NIL};
use crate::track::Track;

/// Waiting questions of one flow that are compared with an answer.
const MAX_COMPARED: usize = 64;

/// A question without its answer.
#[derive(Debug)]
struct Waiting {
    link: Link,
    /// Next (older) waiting question of the same flow.
    of_flow: u32,
    flow: u32,
    id: u16,
    at: PacketTime,
    flags: DnsFlags,
    question: Question,
    /// What a dynamic update asks for.
    changes: Vec<DnsAnswer>,
}

impl Linked<0> for Waiting {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// A question that no longer waits.
#[derive(Debug, Default)]
struct Asked {
    at: PacketTime,
    id: u16,
    flags: DnsFlags,
    question: Question,
    /// What a dynamic update asks for.
    changes: Vec<DnsAnswer>,
}

/// All waiting questions, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    slots: Vec<Waiting>,
    free: Vec<u32>,
    order: List,
}

impl Pending {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a message of flow `index`: keeps a question, tells an answer with its question.
    pub(crate) fn take(
        &mut self,
        tracks: &mut [Track],
        index: u32,
        at: PacketTime,
        message: Message<'_>,
        out: &mut Vec<Event>,
    ) {
        let Some(track) = tracks.get_mut(index as usize) else { return };
        let port = track.resp_port;
        // Questions and answers to a group do not pair.
        let is_group = [5353, 5355].iter().any(|group| port == *group || track.orig_port == *group);
        if is_group && !message.is_reply {
            let question = message.question.unwrap_or_default();
            let asked = Asked { at, id: message.id, flags: message.flags, question, changes: Vec::new() };
            out.push(unanswered(track, asked));
        } else if !message.is_reply {
            self.keep(tracks, index, at, message);
        } else {
            let asked = if is_group { None } else { self.find(track, message.id) };
            let asked = asked.map(|slot| self.release(tracks, slot));
            let Some(track) = tracks.get(index as usize) else { return };
            out.push(answered(track, at, asked, message));
        }
    }

    fn keep(&mut self, tracks: &mut [Track], index: u32, at: PacketTime, mut message: Message<'_>) {
        let Some(track) = tracks.get_mut(index as usize) else { return };
        let question = match message.question.take() {
            Some(question) => question,
            None => Question { name: message.owner(), ..Question::default() },
        };
        let waiting = Waiting {
            link: Link::NONE,
            of_flow: track.dns_pending,
            flow: index,
            id: message.id,
            at,
            flags: message.flags,
            question,
            changes: if message.is_update { message.answers } else { Vec::new() },
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot as usize) {
                    *place = waiting;
                }
                slot
            }
            None => {
                self.slots.push(waiting);
                (self.slots.len() - 1) as u32
            }
        };
        track.dns_pending = slot;
        self.order.push_back::<0, Waiting>(&mut self.slots, slot);
    }

    /// The oldest waiting question of a flow with this id.
    fn find(&self, track: &Track, id: u16) -> Option<u32> {
        let mut at = track.dns_pending;
        let mut found = None;
        for _ in 0..MAX_COMPARED {
            let Some(waiting) = self.slots.get(at as usize) else { break };
            if waiting.id == id {
                found = Some(at);
            }
            at = waiting.of_flow;
        }
        found
    }

    /// Takes a question out of all lists.
    fn release(&mut self, tracks: &mut [Track], slot: u32) -> Asked {
        self.order.remove::<0, Waiting>(&mut self.slots, slot);
        self.free.push(slot);
        let Some(waiting) = self.slots.get_mut(slot as usize) else { return Default::default() };
        let taken = Asked {
            at: waiting.at,
            id: waiting.id,
            flags: waiting.flags,
            question: std::mem::take(&mut waiting.question),
            changes: std::mem::take(&mut waiting.changes),
        };
        let (flow, next) = (waiting.flow, waiting.of_flow);
        if let Some(track) = tracks.get_mut(flow as usize) {
            if track.dns_pending == slot {
                track.dns_pending = next;
            } else {
                self.unchain(track.dns_pending, slot, next);
            }
        }
        taken
    }

    fn unchain(&mut self, mut at: u32, slot: u32, next: u32) {
        while let Some(waiting) = self.slots.get_mut(at as usize) {
            if waiting.of_flow == slot {
                waiting.of_flow = next;
                return;
            }
            at = waiting.of_flow;
        }
    }

    fn tell(&mut self, tracks: &mut [Track], slot: u32, out: &mut Vec<Event>) {
        let Some(waiting) = self.slots.get(slot as usize) else { return };
        let flow = waiting.flow;
        let asked = self.release(tracks, slot);
        if let Some(track) = tracks.get(flow as usize) {
            out.push(unanswered(track, asked));
        }
    }

    /// Tells the question that waits longest, unanswered.
    pub(crate) fn tell_oldest(&mut self, tracks: &mut [Track], out: &mut Vec<Event>) {
        if self.order.head != NIL {
            self.tell(tracks, self.order.head, out);
        }
    }

    /// Tells all questions that were asked before `limit`, unanswered.
    pub(crate) fn tell_older(&mut self, tracks: &mut [Track], limit: PacketTime, out: &mut Vec<Event>) {
        while let Some(waiting) = self.slots.get(self.order.head as usize)
            && waiting.at < limit
        {
            self.tell(tracks, self.order.head, out);
        }
    }

    /// Tells all waiting questions of a flow that ends, oldest first.
    pub(crate) fn tell_flow(&mut self, tracks: &mut [Track], index: u32, out: &mut Vec<Event>) {
        let first = out.len();
        while let Some(slot) = tracks.get(index as usize).map(|track| track.dns_pending)
            && slot != NIL
        {
            self.tell(tracks, slot, out);
        }
        if let Some(told) = out.get_mut(first..) {
            told.reverse();
        }
    }
}

fn unanswered(track: &Track, asked: Asked) -> Event {
    let Asked { at, id, flags, question, changes } = asked;
    Event::Dns(Box::new(Dns {
        about: emit::about(track, at),
        trans_id: id,
        rtt: None,
        query: question.name,
        qclass: question.qclass,
        qtype: question.qtype,
        rcode: None,
        flags,
        answers: changes,
        rejected: false,
    }))
}

/// The row of an answer. As in Zeek's log, what the question said comes from the question alone, and what the answer says
/// about its author and the time it took only counts where something was answered.
fn answered(track: &Track, at: PacketTime, asked: Option<Asked>, mut message: Message<'_>) -> Event {
    if let Some(changes) = asked.as_ref().map(|asked| &asked.changes).filter(|changes| !changes.is_empty()) {
        message.answers.clone_from(changes);
    }
    let has_answers = !message.answers.is_empty();
    let rejected = message.is_rejection();
    let asked_at = asked.as_ref().map_or(at, |asked| asked.at);
    let (flags, mut question) = asked.map_or_else(Default::default, |asked| (asked.flags, asked.question));
    if question.name.is_empty() {
        question.name = message.owner();
    }
    Event::Dns(Box::new(Dns {
        about: emit::about(track, asked_at),
        trans_id: message.id,
        rtt: Some(at.since(asked_at)).filter(|rtt| has_answers && *rtt > Span(0)),
        query: question.name,
        qclass: question.qclass,
        qtype: question.qtype,
        rcode: Some(message.rcode),
        flags: DnsFlags { aa: has_answers && message.flags.aa, ra: has_answers && message.flags.ra, ..flags },
        rejected,
        answers: message.answers,
    }))
}
