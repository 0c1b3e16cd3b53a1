//! Rosters of organisations: unsigned, and signed by an organisation that is trusted, however odd they are.
#![no_main]

use slips_p2p::identity::NodeKey;
use slips_p2p::members::{Members, Org};
use slips_p2p::message::SignedRoster;
use slips_p2p::moment::Moment;
use slips_p2p::roster::{MAX_MEMBERS, Role, Roster};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let unsigned = SignedRoster { bytes: input.to_vec(), sig: [0; 64] };
    assert!(Roster::open(&unsigned).is_err(), "nobody signed it");
    let key = NodeKey::from_seed(&[5; 32]);
    let Ok(roster) = Roster::open(&SignedRoster { sig: key.sign(b"slips/roster/1/", input), ..unsigned })
    else {
        return;
    };
    assert!(roster.org == key.id() && roster.members.len() <= MAX_MEMBERS);
    let signed = roster.sign(&key);
    assert_eq!(Roster::open(&signed).as_ref(), Ok(&roster));
    let mut members = Members::default();
    members.trust_org(key.id(), Org { name: None, base: 0.5, cap: None, max_role: Role::Blamer });
    let now = Moment(roster.not_before.0);
    let _ = members.add_roster(&signed, now);
    for id in members.admitted(now) {
        let found = members.find(id, now).expect("admitted");
        assert!(found.role <= Role::Blamer && !roster.revoked.contains(&id));
    }
});
