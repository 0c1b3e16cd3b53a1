//! What goes over the socket between the daemon and the node's process: the daemon believes neither the length nor the content.
//!
//! The first byte says how the bytes are cut; then come frames, each with its length, or, where the byte is odd, the inside of one.
#![no_main]

use slips_p2p::link::{Frames, FromNode, LARGEST, ToNode};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((how, bytes)) = input.split_first() else { return };
    if how % 2 == 1 {
        return words(bytes);
    }
    let mut frames = Frames::default();
    for piece in bytes.chunks(usize::from(how / 2) + 1) {
        frames.push(piece);
        loop {
            match frames.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= LARGEST);
                    words(frame);
                }
                Ok(None) => break,
                // The link ends here.
                Err(_) => return,
            }
        }
    }
});

/// What is read is written in a form that is read again, as the same.
fn words(frame: &[u8]) {
    if let Ok(word) = FromNode::decode(frame) {
        let written = word.encode();
        let again = FromNode::decode(&written[4..]).expect("as we wrote it");
        assert_eq!(again.encode(), written);
    }
    if let Ok(word) = ToNode::decode(frame) {
        let written = word.encode();
        let again = ToNode::decode(&written[4..]).expect("as we wrote it");
        assert_eq!(again.encode(), written);
    }
}
