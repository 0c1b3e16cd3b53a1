//! The directory as the daemon has it: read, read again when it changed or could not be read, changed by what happens, and what follows from
//! it for those who are peers no more.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slips_p2p::council::Mode;
use slips_p2p::identity::NodeId;
use slips_p2p::link::ToNode;
use slips_p2p::members::{Members, Membership};
use slips_p2p::moment::Moment;

use super::{Peers, lists, rulings};
use crate::daemon::entries;
use crate::daemon::responder::{Advice, NO_PEER};
use crate::peers::State;
use crate::peers::table::Policy;

/// How often a directory that cannot be read is tried again, and time is looked at.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(60);
/// That it cannot be read is told so often.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// What is known of it besides its content.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Why it could not be read, and when that was told last.
    unread: Option<(String, Duration)>,
    /// Steady time of the next look.
    due: Duration,
    /// The network that the node was started for, if for any.
    wish: Option<[u8; 32]>,
    /// The responder was told whose blocks stand.
    told: bool,
    /// Who could order when that was looked at last.
    may_order: BTreeSet<NodeId>,
}

impl Directory {
    /// Whether it could not be read.
    pub(super) const fn is_unread(&self) -> bool {
        self.unread.is_some()
    }
}

/// With which network's key a node should run now, if there is anybody to talk with.
fn wish(state: &State, now: Moment) -> Option<[u8; 32]> {
    state.psk(now).filter(|_| state.enabled(now) && state.key.is_some())
}

impl Peers {
    /// Reads the directory again, and lets all of it hold from now on; says how that went. What cannot be read is tried again, and what
    /// held before holds.
    pub(super) fn reload(&mut self) -> Result<String, String> {
        let done = self.read_directory();
        let steady = (self.clocks.steady)();
        self.directory.due = steady.saturating_add(READ_AGAIN);
        match &done {
            Ok(_) => {
                if self.directory.unread.take().is_some() {
                    self.journal.send(&entries::degraded("peers", "the directory of peers is read again"));
                }
                self.directory.wish = self.state.as_ref().and_then(|state| wish(state, self.now()));
                self.tell_sources();
            }
            Err(text) => {
                let told = self.directory.unread.take();
                let told =
                    told.filter(|(before, at)| before == text && steady.saturating_sub(*at) < TELL_AGAIN);
                if told.is_none() {
                    self.journal.send(&entries::degraded(
                        "peers",
                        &format!("{text}; what held before holds, and it is tried again"),
                    ));
                }
                self.directory.unread = Some(told.unwrap_or_else(|| (text.clone(), steady)));
            }
        }
        done
    }

    /// Each minute: what could not be read is read again, and time alone may have ended what the node runs for, as an invite.
    pub(super) fn look_at_directory(&mut self) {
        let (now, steady) = (self.now(), (self.clocks.steady)());
        if steady < self.directory.due {
            return;
        }
        self.directory.due = steady.saturating_add(READ_AGAIN);
        let wish = self.state.as_ref().and_then(|state| wish(state, now));
        if self.directory.is_unread() || wish != self.directory.wish {
            let _ = self.reload();
        }
    }

    /// Tells the responder once, when the directory is known, whose blocks stand: of others it may have some from before a restart.
    fn tell_sources(&mut self) {
        if !self.directory.told {
            self.directory.told = true;
            let sources = self.sources();
            self.ask_responder(Advice::Keep { sources, why: NO_PEER });
        }
    }

    /// In whose names blocks may stand now.
    pub(super) fn sources(&self) -> BTreeSet<String> {
        let now = self.now();
        let heard = |id: &NodeId| {
            let may = self.members.find(*id, now).as_ref().is_some_and(Membership::may_order);
            may && !self.council.is_quarantined(*id)
        };
        let mut sources: BTreeSet<String> =
            self.members.admitted(now).into_iter().filter(heard).map(rulings::source_of).collect();
        let lists = self.policies.iter().filter(|(_, policy)| **policy == Policy::Block);
        sources.extend(lists.map(|(of, _)| lists::source_of(of)));
        if self.is_active() && self.council.mode() == Mode::Preempt {
            sources.insert(rulings::SEVERAL.to_owned());
        }
        sources
    }

    fn read_directory(&mut self) -> Result<String, String> {
        let state = self.store.load().map_err(|error| error.to_string())?;
        self.known.set(state.table.addresses());
        self.due.protect = Duration::ZERO;
        let (now, steady) = (self.now(), (self.clocks.steady)());
        let psk = |state: &State| state.psk(now);
        let before = self.state.as_ref().map(|state| (state.id, psk(state)));
        let changed = before.is_some_and(|before| before != (state.id, psk(&state)));
        if !state.enabled(now) || state.key.is_none() {
            let lacks_key = state.enabled(now) && state.key.is_none();
            self.active.store(false, Ordering::Relaxed);
            self.node.replace(steady);
            self.state = Some(state);
            self.forget_removed(Members::default());
            self.read_lists();
            if lacks_key {
                return Err("the key of this router is not readable: see slips peers id".into());
            }
            return Ok("there is nobody to talk with: no peer, no open invite".into());
        }
        let members = state.members();
        self.state = Some(state);
        if changed || !self.is_active() {
            self.node.replace(steady);
            if let Err(text) = self.open(now) {
                self.complain(&text);
            }
        }
        self.forget_removed(members);
        self.pardon(now);
        self.read_lists();
        self.tell_members(steady);
        self.active.store(true, Ordering::Relaxed);
        Ok(format!("{} peers", self.members.admitted(now).len()))
    }

    /// Who is a peer no more is not heard any more: what he said goes, and what he had blocked. Who is believed nothing, or is no
    /// authority any more, has nothing blocked any more.
    fn forget_removed(&mut self, members: Members) {
        let now = self.now();
        let old = std::mem::replace(&mut self.members, members);
        for id in old.admitted(now) {
            let (was, is) = (old.find(id, now), self.members.find(id, now));
            if is.is_none() {
                let rulings = self.council.removed(id, &self.members, now);
                self.obey(rulings);
                self.in_book(|book| book.forget_author(&id.0));
            }
            let may_order = |member: &Option<Membership>| member.as_ref().is_some_and(Membership::may_order);
            if is.is_none() || (may_order(&was) && !may_order(&is)) {
                self.end_orders_of(id, now);
            }
        }
    }

    fn end_orders_of(&mut self, id: NodeId, now: Moment) {
        // Also what it asked for before a restart.
        self.ask_responder(Advice::Forget { source: rulings::source_of(id) });
        let rulings = self.council.end_orders(id, None, &self.members, now);
        self.obey(rulings);
    }

    /// A roster ends by time alone, and with it what an authority ordered that it named.
    pub(super) fn look_at_roles(&mut self, now: Moment) {
        let heard = |id: &NodeId| self.members.find(*id, now).as_ref().is_some_and(Membership::may_order);
        let may: BTreeSet<NodeId> = self.members.admitted(now).into_iter().filter(heard).collect();
        for id in std::mem::replace(&mut self.directory.may_order, may.clone()).difference(&may) {
            self.end_orders_of(*id, now);
        }
    }

    fn pardon(&mut self, now: Moment) {
        let pardons = self.state.as_ref().map(|state| state.book.pardons.clone()).unwrap_or_default();
        if pardons.is_empty() {
            return;
        }
        for id in &pardons {
            self.council.pardon(*id, now);
            self.unwritten.standings.insert(*id);
        }
        self.change(|state| state.book.pardons.retain(|id| !pardons.contains(id)));
    }

    /// Changes the directory; what it says then holds here, too.
    pub(super) fn change(&mut self, work: impl FnOnce(&mut State)) {
        let changed = self.store.change(self.now(), |state| {
            work(state);
            Ok::<State, crate::peers::Error>(state.clone())
        });
        match changed {
            Ok(state) => {
                let members = state.members();
                self.known.set(state.table.addresses());
                self.state = Some(state);
                self.forget_removed(members);
            }
            Err(error) => self.complain(&error.to_string()),
        }
    }

    /// Tells the node who is a member, and what it is to join.
    pub(super) fn tell_members(&mut self, steady: Duration) {
        let now = self.now();
        let Some(state) = &self.state else { return };
        let open = state.book.open(now);
        let join = state.book.joining(now).cloned();
        self.node.send(ToNode::Members(self.members.clone()), steady);
        self.node.send(ToNode::Invites(open), steady);
        match join {
            Some(invite) if self.joining != Some(invite.inviter) && self.node.is_up() => {
                self.joining = Some(invite.inviter);
                self.node.send(ToNode::Join(invite), steady);
            }
            Some(_) => {}
            None => self.joining = None,
        }
    }
}
