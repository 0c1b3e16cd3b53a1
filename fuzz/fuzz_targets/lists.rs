//! Lists of indicators in every form, catalogues of lists, and the compiled copy of a snapshot.
#![no_main]

use slips_core::evidence::ThreatLevel;
use slips_core::intel::{Intelligence, Key};
use slips_intel::{Builder, Feed, Holds, Indicators, Reject, catalogue};

/// Little room, so that its end is near.
const ROWS: usize = 64;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    let mut builder = Builder::with_limit(ROWS);
    let holds = match choice % 6 {
        0 => Holds::Indicators,
        1 => Holds::Ja3,
        2 => Holds::Certificates,
        3 => {
            builder.read_local("own_malicious_iocs.csv", bytes);
            return ask(&builder.finish(), bytes);
        }
        4 => {
            let (entries, _) = catalogue(&String::from_utf8_lossy(bytes));
            return entries.iter().for_each(|entry| assert!(!entry.file().contains('/')));
        }
        // The magic and the fingerprint are given: no fuzzer needs to guess them.
        _ => {
            let mut file = Vec::new();
            Builder::new().finish().write_cache(&mut file, 7).expect("memory");
            file.truncate(16);
            file.extend(bytes);
            if let Ok(indicators) = Indicators::read_cache(&file[..], file.len() as u64, 7) {
                ask(&indicators, bytes);
            }
            return;
        }
    };
    let feed = Feed { name: "feed", level: ThreatLevel::Medium, tags: "spam", holds };
    let tally = builder.read_feed(&feed, bytes);
    let refused = builder.refused();
    let indicators = builder.finish();
    // JA3 goes to both sides; what is there twice is one.
    assert!(indicators.contents().total() <= tally.taken as usize * 2 + refused);
    assert_eq!(tally.rejected(Reject::NoRoom) > 0, refused > 0);
    let mut file = Vec::new();
    indicators.write_cache(&mut file, 1).expect("memory");
    let again = Indicators::read_cache(&file[..], file.len() as u64, 1).expect("what was written is read");
    assert_eq!(again.contents(), indicators.contents());
    ask(&again, bytes);
});

/// Looks all words of the input up.
fn ask(indicators: &Indicators, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for word in text.split([' ', '\n', '\t', ',', ';', '"']).take(64) {
        for (_, listed) in indicators.find(word) {
            assert!(listed.exact || listed.confidence() < 1.0);
        }
        indicators.look_up(Key::Url { host: word, path: word });
    }
}
