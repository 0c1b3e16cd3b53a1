//! QUIC connections of the corpora's captures, compared with the quic logs that Zeek's own test suite expects.

mod support;

use slips_core::event::{Event, Quic};
use slips_sensor::Settings;
use support::parity::{Columns, Score, compare, or_dash};

/// As Zeek prints a text that is known: empty is not unset.
fn known(text: Option<&String>) -> String {
    match text.map(String::as_str) {
        None => "-",
        Some("") => "(empty)",
        Some(text) => text,
    }
    .to_owned()
}

fn columns(quic: &Quic) -> Columns {
    vec![
        ("version", or_dash(&quic.version)),
        ("client_initial_dcid", or_dash(&quic.client_initial_dcid)),
        ("client_scid", known(quic.client_scid.as_ref())),
        ("server_scid", known(quic.server_scid.as_ref())),
        ("server_name", or_dash(&quic.server_name)),
        ("client_protocol", or_dash(&quic.client_protocol)),
        ("history", or_dash(&quic.history)),
    ]
}

#[test]
fn quic_rows_equal_zeeks() {
    let Some(corpora) = support::corpora("quic_rows_equal_zeeks") else { return };
    let mut score = Score::default();
    for case in support::cases(&corpora, "quic") {
        compare(&case, &mut score, |event| match event {
            Event::Quic(quic) => Some((quic.about, columns(quic))),
            _ => None,
        });
    }
    println!("{score:?}");
    assert!(score.rows >= 13);
    assert_eq!((score.equal, score.extra), (score.rows, 0));
}

/// Captures of others with drafts and with hellos in many pieces: the versions of their rows, and how many hellos of clients
/// and servers were read.
#[test]
fn drafts_and_hellos_in_pieces_are_read() {
    let Some(corpora) = support::corpora("drafts_and_hellos_in_pieces_are_read") else { return };
    for (case, version, clients) in [
        ("ipfixprobe/quic_initial-sample", "draft-29", 1),
        ("ndpi/doq", "draft-32", 1),
        ("ndpi/quic_frags_ch_in_multiple_packets", "1", 1),
        ("ndpi/quic_frags_ch_out_of_order_same_packet_craziness", "draft-29", 113),
        ("suricata/quic-frag-unordered", "1", 1),
        ("suricata/quic-ietf", "1", 1),
        ("suricata/quic-retry", "1", 1),
    ] {
        let folder = corpora.join(case);
        let capture = ["capture.pcap", "capture.pcapng"].map(|name| folder.join(name));
        let Some(capture) = capture.iter().find(|path| path.exists()) else { continue };
        let (sensor, events) = support::run(capture, Settings::default());
        let rows =
            events.iter().filter_map(|event| if let Event::Quic(quic) = event { Some(quic) } else { None });
        let read = rows.filter(|quic| quic.history.contains('S'));
        let versions: Vec<_> = read.map(|quic| quic.version.as_str()).collect();
        let counters = sensor.counters();
        println!(
            "{case}: {} read, {} opened, {} not, {} given up, {} malformed",
            versions.len(),
            counters.quic_opened,
            counters.quic_not_authentic,
            counters.quic_given_up,
            counters.quic_malformed,
        );
        assert!(versions.len() >= clients, "{case}: {} of {clients}", versions.len());
        assert!(versions.iter().all(|found| *found == version), "{case}: {versions:?}");
        assert_eq!((counters.quic_not_authentic, counters.quic_given_up), (0, 0), "{case}");
    }
}
