//! Rosters that this router holds are told on, so that a new one reaches every member from whichever router took it first.

use std::time::Duration;

use slips_p2p::link::ToNode;
use slips_p2p::lists::{AGAIN, HOLDS};
use slips_p2p::message::Message;
use slips_p2p::moment::Moment;

use super::Peers;

impl Peers {
    /// Tells the rosters that were not told lately.
    pub(super) fn say_rosters(&mut self, now: Moment, steady: Duration) {
        if !self.node.is_up() || !self.clock().is_sane() {
            return;
        }
        let held = self.state.as_ref().map(|state| state.rosters.clone()).unwrap_or_default();
        self.rosters_said.retain(|sig, _| held.iter().any(|signed| signed.sig == *sig));
        for signed in held {
            if self.rosters_said.get(&signed.sig).is_some_and(|said| now.since(*said) < AGAIN) {
                continue;
            }
            self.rosters_said.insert(signed.sig, now);
            if let Ok(message) = self.privacy.clear(Message::Roster(signed)) {
                self.node.send(ToNode::Publish { message, ttl: HOLDS }, steady);
            }
        }
    }
}
