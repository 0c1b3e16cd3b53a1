//! Where this router is reached is told to its peers: of the members of an organisation nobody types addresses.

use std::time::Duration;

use slips_p2p::envelope::VERSION;
use slips_p2p::link::ToNode;
use slips_p2p::lists::{AGAIN, HOLDS};
use slips_p2p::message::{Announce, MAX_ADDRESSES, Message};
use slips_p2p::moment::Moment;
use slips_p2p::privacy::is_public_address;

use super::Peers;

/// What was told, and when.
#[derive(Debug, Default)]
pub(super) struct Reach(Option<(Vec<String>, Moment)>);

impl Peers {
    /// Tells where we are reached, when that is another place than before, and now and then.
    pub(super) fn say_addresses(&mut self, now: Moment, steady: Duration) {
        if !self.settings.p2p.share || !self.node.is_up() || !self.clock().is_sane() {
            return;
        }
        let own = self.settings.p2p.own_addresses();
        // What is of the inside never leaves.
        let public = own.iter().map(ToString::to_string).filter(|address| is_public_address(address));
        let addresses: Vec<String> = public.take(MAX_ADDRESSES).collect();
        let known = match &self.reach.0 {
            Some((said, at)) => *said == addresses && (now.since(*at) < AGAIN || said.is_empty()),
            None => addresses.is_empty(),
        };
        if known {
            return;
        }
        let announce = Announce { addresses: addresses.clone(), versions: vec![VERSION], reports: 0 };
        if let Ok(message) = self.privacy.clear(Message::Announce(announce)) {
            self.node.send(ToNode::Publish { message, ttl: HOLDS }, steady);
            self.reach.0 = Some((addresses, now));
        }
    }
}
