//! What a neighbour hands on: bytes as they come, and bytes that a member signed, however odd they are.
#![no_main]

use std::time::Duration;

use prost::Message as _;
use slips_p2p::bucket::Quotas;
use slips_p2p::envelope::{self, LARGEST};
use slips_p2p::gate::{Gate, Path, Verdict, Why};
use slips_p2p::identity::{NetId, NodeId, NodeKey};
use slips_p2p::members::{Members, Peer};
use slips_p2p::moment::Clock;
use slips_p2p::roster::Role;
use slips_p2p::wire;

const NET: NetId = NetId([0; 8]);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let key = NodeKey::from_seed(&[5; 32]);
    let mut members = Members::default();
    members.add(key.id(), Peer { role: Some(Role::Authority), ..Peer::invited(None) }).expect("room");
    let mut gate = Gate::new(NET, NodeId([9; 32]), Quotas::default());
    let clock = Clock { now: Clock::EARLIEST.plus(Duration::from_secs(3600)), synced: true };
    for path in [Path::Gossip, Path::Snapshot] {
        let verdict = gate.judge(input, path, &members, clock);
        if let Verdict::Accept(accepted) = &verdict {
            // A seed of ours: a fuzzer guesses no signature.
            assert_eq!(accepted.opened.head.author, key.id());
            assert_eq!(gate.judge(input, path, &members, clock), Verdict::Ignore(Why::Replayed));
        }
    }
    signed(input, &key, &mut gate, &members, clock);
});

/// The input as the head of an envelope, signed by a member: all behind the signature is tried, too.
fn signed(input: &[u8], key: &NodeKey, gate: &mut Gate, members: &Members, clock: Clock) {
    let mut head = wire::Head::decode(input).unwrap_or_else(|_| wire::Head {
        version: 1,
        kind: input.first().map_or(1, |choice| u32::from(choice % 7)),
        seq: 1,
        ttl_s: 3600,
        issued_ms: clock.now.0,
        body: input.get(1..).unwrap_or_default().to_vec(),
        ..Default::default()
    });
    (head.net, head.author) = (NET.0.to_vec(), key.id().0.to_vec());
    let head = head.encode_to_vec();
    let sig = key.sign(b"slips/p2p/1/", &head).to_vec();
    let bytes = wire::Signed { head, sig }.encode_to_vec();
    for path in [Path::Gossip, Path::Snapshot] {
        let Verdict::Accept(accepted) = gate.judge(&bytes, path, members, clock) else { continue };
        assert!(
            bytes.len() <= LARGEST && accepted.opened.head.issued <= clock.now.plus(Duration::from_secs(120))
        );
        assert_eq!(envelope::kind_of(&bytes), Some(accepted.opened.message.kind()));
        // Said again in our words it is the same, and it is taken once.
        let again = envelope::seal(&accepted.opened.head, &accepted.opened.message, key);
        assert_eq!(envelope::open(&again, NET).as_ref(), Ok(&accepted.opened));
        for path in [Path::Gossip, Path::Snapshot] {
            assert!(!matches!(gate.judge(&bytes, path, members, clock), Verdict::Accept(_)));
        }
    }
}
