//! What outlives the daemon: taken from peers.sqlite at the start, written to it at the end of each turn in one transaction.

use slips_p2p::envelope;
use slips_p2p::gate::Accepted;
use slips_p2p::identity::{NetId, NodeId};
use slips_p2p::indicator::Indicator;
use slips_p2p::members::Members;
use slips_p2p::message::{Kind, Message};
use slips_p2p::moment::Moment;
use slips_p2p::roster::Roster;
use slips_p2p::trust::Standing;
use slips_p2p::wire;
use slips_store::{Damaged, KeptEnvelope, Outcome, PeerBook, PeerPlace, PeerStanding, StoreError};

use super::{Ids, Peers, gate_of};

/// Envelopes that are kept: as many words as the council keeps.
const MOST: u32 = 65_536;
/// Parts of lists that nobody here follows are kept of each author, the newest: twice as many as the longest list has, so that who begins
/// to follow need not wait until it is said anew, hours later.
const SPARE: u32 = 128;
/// Begins what a part of a list is about.
const LIST_ABOUT: &str = "list ";
/// Begins what one is about that nobody here follows.
const SPARE_ABOUT: &str = "unfollowed ";
/// What moved the trust in peers is kept for 90 days.
const OUTCOMES_FOR: u64 = 90 * 86_400_000;
/// How soon at the earliest after a book was begun anew there is another, in milliseconds.
const RENEW_EVERY: u64 = 60_000;

/// What is to be written.
#[derive(Default)]
pub(super) struct Unwritten {
    /// Whose standing changed.
    pub standings: Ids,
    /// Of whom something was taken.
    pub taken: Ids,
    /// What was said.
    pub envelopes: Vec<KeptEnvelope>,
    /// What moved trust.
    pub outcomes: Vec<Outcome>,
    /// What the owner refuted.
    pub refuted: Vec<(Vec<u8>, u64)>,
    /// Until when the breaker is open.
    pub breaker: Option<u64>,
    /// Until when nobody is blocked on the word of peers.
    pub rests: Option<u64>,
    /// We said something: its number must be on disk before the next start.
    pub said: bool,
}

impl Unwritten {
    fn is_empty(&self) -> bool {
        self.standings.is_empty()
            && self.taken.is_empty()
            && self.envelopes.is_empty()
            && self.outcomes.is_empty()
            && self.refuted.is_empty()
            && self.breaker.is_none()
            && self.rests.is_none()
            && !self.said
    }
}

/// About what an envelope is: a newer one of the same author takes its place.
fn about(message: &Message) -> String {
    match message {
        Message::Report(report) => report.indicator.to_string(),
        Message::Block(block) => block.report.indicator.to_string(),
        Message::Retract(retract) => retract.indicator.as_ref().map_or("all".into(), Indicator::to_string),
        Message::Roster(signed) => {
            Roster::open(signed).map_or("roster".into(), |roster| format!("roster {}", roster.org))
        }
        Message::Announce(_) => "announce".into(),
        Message::List(entries) => format!("{LIST_ABOUT}{} {}", entries.list, entries.version),
    }
}

impl Peers {
    /// Opens the book and takes from it what an earlier run left. Without a book all works, but nothing outlives the daemon.
    pub(super) fn open(&mut self, now: Moment) -> Result<(), String> {
        let Some((own, psk)) = self.state.as_ref().and_then(|state| Some((state.id?, state.psk(now)?)))
        else {
            return Err("the key of this router is missing".into());
        };
        let mut gate = gate_of(&psk, own);
        if self.book.is_none() {
            match PeerBook::open_with(&self.settings.book, Damaged::PutAside) {
                Ok((book, told)) => {
                    self.book = Some(book);
                    if let Some(told) = told {
                        self.book_failed(&told);
                    }
                }
                Err(error) => self.book_failed(&error),
            }
        }
        self.number(now);
        // A book that grew while it was not looked at is brought under its bounds before anything of it is read.
        self.forget(now);
        self.in_book(|book| {
            for (author, taken) in book.replay()? {
                // A window that cannot be read is one that we never had: times still bound what is taken.
                let _ = gate.replay.restore(NodeId(author), &taken);
            }
            Ok(())
        });
        self.gate = Some(gate);
        self.restore_council(now);
        self.restore_words(NetId::of(&psk), own, now);
        Ok(())
    }

    /// The epoch and number of our last message. Without a note of it the epoch grows, or what we say would seem said already.
    fn number(&mut self, now: Moment) {
        let epoch = self.state.as_ref().map_or(0, |state| state.book.epoch);
        let mut noted = (None, None);
        self.in_book(|book| {
            noted = (book.counter("epoch")?, book.counter("seq")?);
            Ok(())
        });
        self.said = match noted {
            (Some(known), Some(seq)) if known == epoch => (epoch, seq),
            _ => {
                let grown = now.0.max(epoch.saturating_add(1));
                self.change(|state| state.book.epoch = grown);
                self.unwritten.said = true;
                (grown, 0)
            }
        };
    }

    fn restore_council(&mut self, now: Moment) {
        let (mut standings, mut refuted, mut breaker, mut rests) = (Vec::new(), Vec::new(), None, None);
        self.in_book(|book| {
            standings = book.standings()?;
            refuted = book.refuted()?;
            breaker = book.counter("breaker")?;
            rests = book.counter("rests")?;
            Ok(())
        });
        for (peer, kept) in standings {
            let standing = Standing {
                base: kept.base,
                confirmed: kept.confirmed,
                refuted: kept.refuted,
                at: Moment(kept.at),
                losses: kept.losses,
                quarantined: kept.quarantined,
                today: kept.today,
            };
            self.council.restore_standing(NodeId(peer), standing);
        }
        for (accused, until) in refuted.into_iter().filter(|(_, until)| *until > now.0) {
            if let Some(indicator) = indicator_from(&accused) {
                self.council.restore_refuted(indicator, Moment(until));
            }
        }
        if let Some(until) = breaker {
            self.council.restore_breaker(Moment(until));
        }
        if let Some(until) = rests {
            self.council.restore_rests(Moment(until));
        }
    }

    /// What was said before and holds still is heard again, without being told again.
    fn restore_words(&mut self, net: NetId, own: NodeId, now: Moment) {
        let Some(members) = self.state.as_ref().map(crate::peers::State::members) else { return };
        let mut behind = None;
        while let Some(page) = self.page(now, &mut behind) {
            for kept in page {
                self.restore_word(kept, net, own, &members, now);
            }
        }
    }

    fn restore_word(&mut self, kept: KeptEnvelope, net: NetId, own: NodeId, members: &Members, now: Moment) {
        // They were checked when they came; a disk can be changed by others.
        let Ok(opened) = envelope::open(&kept.envelope, net) else { return };
        if opened.head.author == own {
            self.sharing.restore(&opened.message, opened.head.issued, opened.head.until());
            return;
        }
        let Some(author) = members.find(opened.head.author, now) else { return };
        let accepted = Accepted { opened, author, envelope: kept.envelope };
        let rulings = self.council.hear(&accepted, members, now);
        self.obey(rulings);
    }

    /// The next envelopes that hold still; none behind the last, or when they cannot be read.
    pub(super) fn page(&mut self, now: Moment, behind: &mut Option<PeerPlace>) -> Option<Vec<KeptEnvelope>> {
        let mut page = Vec::new();
        self.in_book(|book| {
            page = book.envelopes(now.0, *behind)?;
            Ok(())
        });
        let last = page.last()?;
        *behind = Some((last.author, last.place.0, last.place.1));
        Some(page)
    }

    /// The envelopes that hold still, for a new node: so many bytes of them, what nobody here uses last. The node gets the rest from peers.
    pub(super) fn kept(&mut self, now: Moment, most: usize) -> Vec<Vec<u8>> {
        self.write();
        let (mut all, mut room) = (Vec::new(), most);
        for spare in [false, true] {
            let mut behind = None;
            while let Some(page) = self.page(now, &mut behind) {
                for kept in page.into_iter().filter(|kept| is_spare(kept) == spare) {
                    let Some(left) = room.checked_sub(kept.envelope.len()) else { return all };
                    room = left;
                    all.push(kept.envelope);
                }
            }
        }
        all
    }

    /// Notes an envelope, so that it outlives us and the node.
    pub(super) fn keep(&mut self, message: &Message, head: &envelope::Head, envelope: Vec<u8>) {
        if message.kind() == Kind::Roster {
            // The directory has it.
            return;
        }
        let mut about = about(message);
        if let Message::List(part) = message
            && !self.policies.contains_key(&(head.author, part.list.clone()))
            && self.own() != Some(head.author)
        {
            about.insert_str(0, SPARE_ABOUT);
        }
        self.unwritten.envelopes.push(KeptEnvelope {
            author: head.author.0,
            about,
            place: (head.epoch, head.seq),
            until: head.until().0,
            envelope,
        });
    }

    /// Writes what changed in this turn.
    pub(super) fn write(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        let unwritten = std::mem::take(&mut self.unwritten);
        let standings: Vec<(NodeId, Standing)> =
            self.council.standings().filter(|(peer, _)| unwritten.standings.contains(peer)).collect();
        let windows: Vec<(NodeId, Vec<u8>)> = match &self.gate {
            Some(gate) => {
                gate.replay.persist().filter(|(author, _)| unwritten.taken.contains(author)).collect()
            }
            None => Vec::new(),
        };
        let said = self.said;
        let work = move |book: &mut PeerBook| {
            for (peer, standing) in &standings {
                book.set_standing(&peer.0, &to_kept(standing))?;
            }
            for (author, taken) in &windows {
                book.set_replay(&author.0, taken)?;
            }
            for kept in &unwritten.envelopes {
                book.keep(kept)?;
                if is_spare(kept) {
                    book.keep_newest(&kept.author, SPARE_ABOUT, SPARE)?;
                }
            }
            for outcome in &unwritten.outcomes {
                book.note(outcome)?;
            }
            for (accused, until) in &unwritten.refuted {
                book.set_refuted(accused, *until)?;
            }
            if let Some(until) = unwritten.breaker {
                book.set_counter("breaker", until)?;
            }
            if let Some(until) = unwritten.rests {
                book.set_counter("rests", until)?;
            }
            if unwritten.said {
                book.set_counter("epoch", said.0)?;
                book.set_counter("seq", said.1)?;
            }
            Ok(())
        };
        // A number that was used must never be used again: others would take what it stands for as said already.
        let durable = unwritten.said;
        if self.in_book(|book| if durable { book.durably(work) } else { book.all(work) }) {
            self.write();
        }
    }

    /// Drops from the book what holds no longer.
    pub(super) fn forget(&mut self, now: Moment) {
        self.in_book(|book| book.forget(now.0, now.0.saturating_sub(OUTCOMES_FOR), MOST));
    }

    /// Does something in the book, if there is one; a book that fails stops nothing. Whether there is a new one now, and all to be written.
    pub(super) fn in_book(&mut self, work: impl FnOnce(&mut PeerBook) -> Result<(), StoreError>) -> bool {
        let Some(Err(error)) = self.book.as_mut().map(work) else { return false };
        self.book_failed(&error);
        error.is_damage() && self.renew_book()
    }

    /// The book is damaged: a new one is begun, and what is known here is to be written into it; but not at once again, where the disk is
    /// bad. What peers said and holds still they say again.
    fn renew_book(&mut self) -> bool {
        let now = self.now();
        if self.renewed.is_some_and(|renewed| now.0.saturating_sub(renewed.0) < RENEW_EVERY) {
            return false;
        }
        match self.book.take().map(PeerBook::renewed) {
            Some(Ok((book, told))) => {
                self.book = Some(book);
                self.renewed = Some(now);
                self.book_failed(&told);
                self.unwritten.standings.extend(self.council.standings().map(|(peer, _)| peer));
                let authors =
                    self.gate.iter().flat_map(|gate| gate.replay.persist().map(|(author, _)| author));
                self.unwritten.taken.extend(authors);
                let refuted =
                    self.council.refuted().map(|(accused, until)| (indicator_bytes(accused), until.0));
                self.unwritten.refuted.extend(refuted);
                self.unwritten.breaker = self.council.breaker(now).map(|until| until.0);
                self.unwritten.rests = self.council.rests(now).map(|until| until.0);
                self.unwritten.said = true;
                true
            }
            Some(Err(error)) => {
                self.book_failed(&error);
                false
            }
            None => false,
        }
    }

    fn book_failed(&mut self, error: &StoreError) {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        self.complain(&format!("what is known of peers may not outlive a restart: {error}{cause}"));
    }
}

/// Whether it is a part of a list, followed or not.
pub(super) fn is_listing(kept: &KeptEnvelope) -> bool {
    kept.about.starts_with(LIST_ABOUT) || is_spare(kept)
}

/// Whether it is a part of a list that nobody here follows.
fn is_spare(kept: &KeptEnvelope) -> bool {
    kept.about.starts_with(SPARE_ABOUT)
}

fn to_kept(standing: &Standing) -> PeerStanding {
    PeerStanding {
        base: standing.base,
        confirmed: standing.confirmed,
        refuted: standing.refuted,
        at: standing.at.0,
        losses: standing.losses,
        quarantined: standing.quarantined,
        today: standing.today,
    }
}

/// The bytes of an indicator, as on the wire.
pub(super) fn indicator_bytes(indicator: &Indicator) -> Vec<u8> {
    let wire = indicator.to_wire();
    let mut bytes = vec![u8::try_from(wire.r#type).unwrap_or(0), u8::try_from(wire.prefix).unwrap_or(0)];
    bytes.extend(wire.value);
    bytes
}

fn indicator_from(bytes: &[u8]) -> Option<Indicator> {
    let (head, value) = bytes.split_first_chunk::<2>()?;
    let [kind, prefix] = *head;
    let wire = wire::Indicator { r#type: kind.into(), value: value.to_vec(), prefix: prefix.into() };
    Indicator::from_wire(&wire).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_indicator_is_read_as_it_was_kept() {
        for indicator in [
            Indicator::host([198, 51, 100, 7].into()).expect("public"),
            Indicator::net("2001:db8:5::/48".parse().expect("net"))
                .unwrap_or_else(|_| Indicator::net("198.51.100.0/24".parse().expect("net")).expect("public")),
            Indicator::domain("evil.example.org").expect("domain"),
            Indicator::Ja3([7; 16]),
        ] {
            assert_eq!(indicator_from(&indicator_bytes(&indicator)), Some(indicator));
        }
        assert_eq!(indicator_from(&[1]), None);
    }
}
