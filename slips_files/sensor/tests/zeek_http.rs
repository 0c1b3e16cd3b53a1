//! HTTP exchanges of the corpora's captures against the http logs that Zeek's own test suite expects.

mod support;

use slips_core::event::{Event, Http};
use support::parity::{Columns, Score, compare, list, or_dash};

fn columns(http: &Http) -> Columns {
    vec![
        ("trans_depth", http.trans_depth.to_string()),
        ("method", or_dash(&http.method)),
        ("host", or_dash(&http.host)),
        ("uri", or_dash(&http.uri)),
        ("referrer", or_dash(&http.referrer)),
        ("version", or_dash(&http.version)),
        ("user_agent", or_dash(&http.user_agent)),
        ("request_body_len", http.request_body_len.to_string()),
        ("response_body_len", http.response_body_len.to_string()),
        ("status_code", http.status_code.map_or("-".to_owned(), |code| code.to_string())),
        ("status_msg", or_dash(&http.status_msg)),
        ("username", or_dash(&http.username)),
        ("resp_mime_types", list(&http.resp_mime_types)),
    ]
}

#[test]
fn http_rows_equal_zeeks() {
    let Some(corpora) = support::corpora("http_rows_equal_zeeks") else { return };
    let mut score = Score::default();
    for case in support::cases(&corpora, "http").into_iter().filter(|case| !case.id.contains("tunnels__")) {
        compare(&case, &mut score, |event| match event {
            Event::Http(http) => Some((http.about, columns(http))),
            _ => None,
        });
    }
    println!("{score:?}");
    assert!(score.rows > 60);
    assert!(score.equal * 100 >= score.rows * 95);
}
