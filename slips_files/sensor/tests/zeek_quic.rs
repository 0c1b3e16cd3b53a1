//! QUIC connections of the corpora's captures, compared with the quic logs that Zeek's own test suite expects.

mod support;

use slips_core::event::{Event, Quic};
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
