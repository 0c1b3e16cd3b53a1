//! What peers send: envelopes and every kind of message, rosters, invites, cursors, kept replay windows. The first byte chooses.
#![no_main]

use std::str::FromStr;

use slips_p2p::bucket::Quotas;
use slips_p2p::gate::{Gate, Path, Verdict};
use slips_p2p::identity::{NetId, NodeId};
use slips_p2p::invite::Invite;
use slips_p2p::members::{Members, Peer};
use slips_p2p::message::{Kind, Message, SignedRoster};
use slips_p2p::moment::Clock;
use slips_p2p::replay::Replay;
use slips_p2p::roster::Roster;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 10 {
        kind @ 0..=5 => {
            let kind = Kind::ALL[usize::from(kind)];
            if let Ok(message) = Message::decode(kind, bytes) {
                assert_eq!(
                    Message::decode(kind, &message.encode()),
                    Ok(message),
                    "what is read is written alike"
                );
            }
        }
        6 => gate(bytes),
        7 => {
            let signed = SignedRoster { bytes: bytes.to_vec(), sig: [0; 64] };
            assert!(Roster::open(&signed).is_err(), "nobody signed it");
        }
        8 => {
            if let Ok(text) = std::str::from_utf8(bytes)
                && let Ok(invite) = Invite::from_str(text)
            {
                assert_eq!(invite.to_string().parse(), Ok(invite));
            }
        }
        _ => {
            let mut replay = Replay::default();
            if replay.restore(NodeId([1; 32]), bytes).is_ok() {
                assert!(replay.persist().all(|(_, kept)| kept == bytes));
                replay.take(NodeId([1; 32]), u64::MAX / 2, 77);
                assert_eq!(replay.complete().count(), 1);
            }
        }
    }
});

/// An envelope that says to be of a member, as far as the fuzzer finds out how that is written.
fn gate(bytes: &[u8]) {
    let mut members = Members::default();
    members.add(NodeId([0; 32]), Peer::invited(None)).expect("room");
    let mut gate = Gate::new(NetId([0; 8]), NodeId([9; 32]), Quotas::default());
    let clock = Clock { now: Clock::EARLIEST, synced: true };
    for path in [Path::Gossip, Path::Snapshot] {
        let verdict = gate.judge(bytes, path, &members, clock);
        assert!(!matches!(verdict, Verdict::Accept(_)), "nobody signed it");
    }
}
