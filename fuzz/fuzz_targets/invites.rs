//! The line that an administrator pastes: an invite, and what a damaged one is taken for.
#![no_main]

use std::str::FromStr;

use slips_p2p::identity::NodeId;
use slips_p2p::invite::Invite;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(invite) = Invite::from_str(text) {
        assert_eq!(invite.to_string().parse().as_ref(), Ok(&invite));
    }
    if let Ok(id) = NodeId::from_str(text) {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
});
