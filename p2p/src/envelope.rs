//! The envelope around every message: who said it, when, for how long, and a signature over exactly these bytes.
//!
//! The signature is inside the message, not gossipsub's: so it survives storage, and a snapshot served by a third node
//! proves its authors.

use std::time::Duration;

use prost::Message as _;

use crate::identity::{NetId, NodeId, NodeKey};
use crate::message::{Kind, Malformed, Message};
use crate::moment::Moment;
use crate::wire;

/// The version of the protocol, apart from the program's.
pub const VERSION: u32 = 1;

/// What the signature says that it is for.
const PURPOSE: &[u8] = b"slips/p2p/1/";

/// The largest envelope of any kind in bytes: a roster with all that one may name.
pub const LARGEST: usize = Kind::Roster.largest();

/// What the author says about its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The network.
    pub net: NetId,
    /// Who.
    pub author: NodeId,
    /// When the author's state was made; only grows.
    pub epoch: u64,
    /// Which message of the epoch, from 1.
    pub seq: u64,
    /// When it was said.
    pub issued: Moment,
    /// How long it holds.
    pub ttl: Duration,
}

/// Nothing that is said holds for longer, whatever its author wants: he says it again, or it goes.
pub const LONGEST_LIFE: Duration = Duration::from_secs(86_400);

impl Head {
    /// When the message holds no longer: what its author wants, a day at most.
    pub fn until(&self) -> Moment {
        self.issued.plus(self.ttl.min(LONGEST_LIFE))
    }
}

/// A message whose signature is its author's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Who, when.
    pub head: Head,
    /// What.
    pub message: Message,
}

/// Why bytes are no message of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// Larger than messages of its kind may be.
    #[error("too large")]
    TooLarge,
    /// No envelope, or one with impossible fields.
    #[error("malformed envelope")]
    Malformed,
    /// Of another version, from which nothing can be told.
    #[error("of protocol version {0}")]
    Version(u32),
    /// Of another network.
    #[error("of another network")]
    OtherNet,
    /// A kind that this version does not know.
    #[error("of unknown kind {0}")]
    UnknownKind(u32),
    /// The signature is not the author's.
    #[error("bad signature")]
    BadSignature,
    /// The signature is good, the message is not: the author is to blame.
    #[error("malformed message: {0}")]
    BadMessage(NodeId, Malformed),
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Signs `message` with `key`, which must be the head's author's.
pub fn seal(head: &Head, message: &Message, key: &NodeKey) -> Vec<u8> {
    let head = wire::Head {
        version: VERSION,
        net: head.net.0.to_vec(),
        author: head.author.0.to_vec(),
        epoch: head.epoch,
        seq: head.seq,
        issued_ms: head.issued.0,
        ttl_s: u32::try_from(head.ttl.as_secs()).unwrap_or(u32::MAX),
        kind: message.kind() as u32,
        body: message.encode(),
    }
    .encode_to_vec();
    let sig = key.sign(PURPOSE, &head).to_vec();
    wire::Signed { head, sig }.encode_to_vec()
}

/// An envelope read as far as is cheap: nothing in it is proven yet.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// What it says about itself.
    pub head: Head,
    /// Which kind it says to hold.
    pub kind: Kind,
    signed: wire::Signed,
    body: Vec<u8>,
}

impl Sealed {
    /// Reads the envelope, so that its author can be looked up before the signature costs anything.
    ///
    /// # Errors
    /// All of [`NotOpened`] but the last two.
    pub fn read(bytes: &[u8], net: NetId) -> Result<Self, NotOpened> {
        if bytes.len() > LARGEST {
            return Err(NotOpened::TooLarge);
        }
        let signed = wire::Signed::decode(bytes).map_err(|_| NotOpened::Malformed)?;
        // The outermost layer is not signed: in any other form than its one it would be the same message under another name.
        if signed.encode_to_vec() != bytes {
            return Err(NotOpened::Malformed);
        }
        let head = wire::Head::decode(signed.head.as_slice()).map_err(|_| NotOpened::Malformed)?;
        match head.version {
            VERSION => {}
            0 => return Err(NotOpened::Malformed),
            other => return Err(NotOpened::Version(other)),
        }
        if head.net != net.0 {
            return Err(NotOpened::OtherNet);
        }
        let kind = Kind::from_wire(head.kind).ok_or(NotOpened::UnknownKind(head.kind))?;
        if bytes.len() > kind.largest() {
            return Err(NotOpened::TooLarge);
        }
        let author = NodeId::from_bytes(&head.author).ok_or(NotOpened::Malformed)?;
        if head.seq == 0 || head.ttl_s == 0 {
            return Err(NotOpened::Malformed);
        }
        let read = Head {
            net,
            author,
            epoch: head.epoch,
            seq: head.seq,
            issued: Moment(head.issued_ms),
            ttl: Duration::from_secs(u64::from(head.ttl_s)),
        };
        Ok(Self { head: read, kind, signed, body: head.body })
    }

    /// Checks the signature and reads the message.
    ///
    /// # Errors
    /// [`NotOpened::BadSignature`] and [`NotOpened::BadMessage`].
    pub fn open(self) -> Result<Opened, NotOpened> {
        let author = self.head.author;
        if !author.verifies(PURPOSE, &self.signed.head, &self.signed.sig) {
            return Err(NotOpened::BadSignature);
        }
        let message = Message::decode(self.kind, &self.body);
        let message = message.map_err(|malformed| NotOpened::BadMessage(author, malformed))?;
        Ok(Opened { head: self.head, message })
    }
}

/// The kind that an envelope says to hold, where it can be read at all; nothing is proven.
pub fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let signed = wire::Signed::decode(bytes.get(..bytes.len().min(LARGEST))?).ok()?;
    Kind::from_wire(wire::Head::decode(signed.head.as_slice()).ok()?.kind)
}

/// Reads and checks an envelope in one step.
///
/// # Errors
/// [`NotOpened`].
pub fn open(bytes: &[u8], net: NetId) -> Result<Opened, NotOpened> {
    Sealed::read(bytes, net)?.open()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::tests::one_of_each;
    use proptest::prelude::*;

    const NET: NetId = NetId([7; 8]);

    fn key() -> NodeKey {
        NodeKey::from_seed(&[1; 32])
    }

    fn head(seq: u64) -> Head {
        Head {
            net: NET,
            author: key().id(),
            epoch: 5,
            seq,
            issued: Moment(1_793_500_000_000),
            ttl: Duration::from_secs(3600),
        }
    }

    #[test]
    fn every_kind_opens_as_sealed() {
        for message in one_of_each() {
            let bytes = seal(&head(3), &message, &key());
            assert_eq!(open(&bytes, NET), Ok(Opened { head: head(3), message }));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for message in one_of_each() {
            let good = seal(&head(3), &message, &key());
            for bit in 0..good.len() * 8 {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&bytes, NET).is_err(), "bit {bit} of {}", message.kind());
            }
        }
    }

    #[test]
    fn another_author_cannot_be_named() {
        let mallory = NodeKey::from_seed(&[2; 32]);
        let bytes = seal(&head(1), &one_of_each()[0], &mallory);
        assert_eq!(open(&bytes, NET), Err(NotOpened::BadSignature));
    }

    #[test]
    fn other_networks_versions_and_kinds_are_told_apart() {
        let bytes = seal(&head(1), &one_of_each()[0], &key());
        assert_eq!(open(&bytes, NetId([8; 8])), Err(NotOpened::OtherNet));
        let changed = |change: &dyn Fn(&mut wire::Head)| {
            let signed = wire::Signed::decode(bytes.as_slice()).expect("good");
            let mut head = wire::Head::decode(signed.head.as_slice()).expect("good");
            change(&mut head);
            let head = head.encode_to_vec();
            let sig = key().sign(PURPOSE, &head).to_vec();
            open(&wire::Signed { head, sig }.encode_to_vec(), NET).map(|_| ())
        };
        assert_eq!(changed(&|_| ()), Ok(()));
        assert_eq!(changed(&|head| head.version = 2), Err(NotOpened::Version(2)));
        assert_eq!(changed(&|head| head.kind = 99), Err(NotOpened::UnknownKind(99)));
        assert_eq!(changed(&|head| head.author = vec![1; 31]), Err(NotOpened::Malformed));
        assert_eq!(changed(&|head| head.seq = 0), Err(NotOpened::Malformed));
        assert_eq!(changed(&|head| head.body = vec![0; 3000]), Err(NotOpened::TooLarge));
        let blamed = changed(&|head| head.body = vec![0xff]);
        assert_eq!(blamed, Err(NotOpened::BadMessage(key().id(), Malformed::Undecodable)));
    }

    #[test]
    fn nobody_on_the_way_gives_a_message_a_second_form() {
        let good = seal(&head(1), &one_of_each()[0], &key());
        let signed = wire::Signed::decode(good.as_slice()).expect("good");
        let longer = [good.clone(), vec![15 << 3, 42]].concat();
        let again = [good.clone(), good].concat();
        let sig = wire::Signed { head: Vec::new(), sig: signed.sig }.encode_to_vec();
        let turned = [sig, wire::Signed { head: signed.head, sig: Vec::new() }.encode_to_vec()].concat();
        for other in [longer, again, turned] {
            assert!(wire::Signed::decode(other.as_slice()).is_ok());
            assert_eq!(open(&other, NET), Err(NotOpened::Malformed));
        }
    }

    #[test]
    fn fields_of_the_future_are_kept_signed() {
        // A newer author adds field 15 to the head: we read what we know, the signature still covers all of it.
        let signed =
            wire::Signed::decode(seal(&head(1), &one_of_each()[0], &key()).as_slice()).expect("good");
        let mut longer = signed.head;
        longer.extend([15 << 3, 42]);
        let sig = key().sign(PURPOSE, &longer).to_vec();
        assert!(open(&wire::Signed { head: longer, sig }.encode_to_vec(), NET).is_ok());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(open(&bytes, NET).is_err());
        }

        #[test]
        fn any_head_is_read_as_written(epoch: u64, seq in 1u64.., issued: u64, ttl in 1u32.., which in 0usize..6) {
            let head = Head { epoch, seq, issued: Moment(issued), ttl: Duration::from_secs(ttl.into()), ..head(1) };
            let message = one_of_each().swap_remove(which);
            let opened = open(&seal(&head, &message, &key()), NET);
            prop_assert_eq!(opened, Ok(Opened { head, message }));
        }
    }
}
