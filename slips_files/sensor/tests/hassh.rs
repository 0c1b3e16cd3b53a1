//! HASSH and HASSHServer against those that Suricata and Arkime find in the same captures.

mod support;

use std::collections::BTreeSet;

use slips_core::event::Event;
use slips_sensor::Settings;

/// All strings of 32 hexadecimal digits behind a key that begins with `hassh`.
fn told(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split("\"hassh").skip(1) {
        let part = part.get(..120).unwrap_or(part);
        let is_hash = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        found.extend(part.split('"').find(is_hash).map(str::to_owned));
    }
    found
}

#[test]
fn fingerprints_of_ssh_equal_those_of_others() {
    let Some(corpora) = support::corpora("fingerprints_of_ssh_equal_those_of_others") else { return };
    let mut compared = 0;
    let folders = ["suricata", "arkime", "ja4"].map(|family| corpora.join(family));
    for case in folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("folder")).flatten() {
        let mut theirs = BTreeSet::new();
        for name in ["peer.suricata.json", "expect.json", "expect.arkime.json"] {
            let text = std::fs::read(case.path().join(name)).unwrap_or_default();
            theirs.extend(told(&String::from_utf8_lossy(&text)));
        }
        // begins in the middle of its connection, of which nothing is read as SSH
        if case.path().ends_with("ja4/ssh") {
            continue;
        }
        let capture = ["capture.pcap", "capture.pcapng", "capture.cap"].map(|name| case.path().join(name));
        let Some(capture) = capture.iter().find(|path| path.exists() && !theirs.is_empty()) else { continue };
        let (_, events) = support::run(capture, Settings::default());
        let mut ours = BTreeSet::new();
        for event in &events {
            if let Event::Ssh(ssh) = event {
                ours.extend(
                    [&ssh.hassh, &ssh.hassh_server].into_iter().filter(|text| !text.is_empty()).cloned(),
                );
            }
        }
        println!("{:?}: {} of {}", case.file_name(), ours.intersection(&theirs).count(), theirs.len());
        compared += theirs.len();
        assert!(theirs.is_subset(&ours), "{:?}: theirs {theirs:?}, ours {ours:?}", case.file_name());
    }
    assert!(compared >= 4, "{compared}");
}
