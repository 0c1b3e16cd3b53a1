//! Messages of other programs on the unix socket: bounded, and the same however they are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slips_input::{Frames, MAX_FRAME};

fn read(parts: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let (mut frames, mut out) = (Frames::default(), Vec::new());
    for part in parts {
        frames.push(part);
        loop {
            match frames.next_frame() {
                Ok(Some(frame)) => {
                    assert!(frame.len() <= MAX_FRAME);
                    out.push(frame.to_vec());
                }
                Ok(None) => break,
                Err(_) => return (out, true),
            }
        }
    }
    (out, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, data)) = data.split_first() else { return };
    let whole = read(&[data]);
    let parts: Vec<&[u8]> = data.chunks(usize::from(*cut).max(1)).collect();
    assert_eq!(read(&parts), whole);
});
