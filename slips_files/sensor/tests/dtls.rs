//! DTLS in the corpora's captures: fingerprints and names that nDPI found.

mod support;

use slips_core::event::{Event, TlsFields};
use slips_core::flow::Phase;
use slips_sensor::Settings;

/// What stands behind `[KEY: ` in each flow line of nDPI's that is DTLS.
fn theirs<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let lines = text.lines().filter(|line| line.contains("DTLS") && line.contains("[proto: "));
    let mark = format!("[{key}: ");
    lines.filter_map(|line| line.split(&mark).nth(1)?.split([']', ' ']).next()).collect()
}

#[test]
fn dtls_handshakes_equal_ndpis() {
    let Some(corpora) = support::corpora("dtls_handshakes_equal_ndpis") else { return };
    let mut checked = 0;
    for (case, flows) in [("dtls", 2), ("dtls_certificate_fragments", 1), ("stun", 1)] {
        let folder = corpora.join("ndpi").join(case);
        let capture = ["capture.pcap", "capture.pcapng"].map(|name| folder.join(name));
        let capture = capture.iter().find(|path| path.exists()).expect("capture");
        let text = std::fs::read_to_string(folder.join("expect.ndpi.txt")).expect("expectation");
        let (_, events) = support::run(capture, Settings::default());
        let fields: Vec<&TlsFields> = events
            .iter()
            .filter_map(|event| if let Event::Tls(tls) = event { Some(&tls.fields) } else { None })
            .collect();
        println!("{case}: {fields:#?}");
        assert!(fields.len() >= flows, "{case}");
        for (key, ours) in [
            ("JA3C", fields.iter().map(|tls| &tls.ja3).collect::<Vec<_>>()),
            ("JA3S", fields.iter().map(|tls| &tls.ja3s).collect()),
        ] {
            // where the server asks for another hello first, nDPI's is not of the one that the server chose by
            let has_retry = fields.iter().any(|tls| tls.ssl_history.starts_with("CsC"));
            for print in theirs(&text, key).into_iter().filter(|_| key == "JA3C" || !has_retry) {
                checked += 1;
                assert!(ours.iter().any(|ours| *ours == print), "{case} {key} {print}: {ours:?}");
            }
        }
        let named = events.iter().any(|event| {
            matches!(event, Event::Flow(flow) if flow.phase == Phase::End && flow.service.as_str().contains("dtls"))
        });
        assert!(named, "{case}");
    }
    assert!(checked >= 4);
}
