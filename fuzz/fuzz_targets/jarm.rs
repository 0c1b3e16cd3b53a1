//! What servers answer to the greetings of JARM: a byte that says where the answers part, then the answers.
#![no_main]

use slips_intel::jarm::{ANSWER, Answer, NOTHING, PROBES, fingerprint};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((part, bytes)) = input.split_first() else { return };
    let mut answers = [(); PROBES].map(|()| Answer::default());
    for (answer, said) in answers.iter_mut().zip(bytes.split(|byte| byte == part)) {
        *answer = Answer::read(said);
        // More than counts changes nothing.
        if said.len() >= ANSWER {
            assert!(Answer::is_whole(said));
            assert_eq!(*answer, Answer::read(&said[..ANSWER]));
        }
    }
    let print = fingerprint(&answers);
    assert_eq!(print.len(), NOTHING.len());
    assert!(print.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
});
