//! Logins and requests: telnet, rlogin, mail, databases, remote desktops, directories and more. The first byte chooses.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| slips_fuzz::apps::play(input));
