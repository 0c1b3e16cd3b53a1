//! The bodies of messages. The first byte chooses the kind.
#![no_main]

use slips_p2p::message::{Kind, Message};
use slips_p2p::privacy::Privacy;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let kind = Kind::ALL[usize::from(*choice) % Kind::ALL.len()];
    let Ok(message) = Message::decode(kind, bytes) else { return };
    assert_eq!(
        Message::decode(kind, &message.encode()).as_ref(),
        Ok(&message),
        "what is read is written alike"
    );
    // Whether it may leave is another matter; to ask is safe.
    let _ = Privacy::default().clear(message);
});
