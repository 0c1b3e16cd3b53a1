//! Tunnels of the corpora's captures against the tunnel logs that Zeek's own test suite expects.

mod support;

use slips_core::event::{Event, Tunnel};
use slips_sensor::Settings;

fn columns(tunnel: &Tunnel) -> Vec<String> {
    let (src, dst) = (tunnel.about.src, tunnel.about.dst);
    vec![
        src.addr.to_string(),
        src.port.to_string(),
        dst.addr.to_string(),
        dst.port.to_string(),
        tunnel.tunnel_type.clone(),
        tunnel.action.clone(),
    ]
}

#[test]
fn tunnel_rows_equal_zeeks() {
    const COLUMNS: [&str; 6] = ["id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "tunnel_type", "action"];
    let Some(corpora) = support::corpora("tunnel_rows_equal_zeeks") else { return };
    let (mut rows, mut equal, mut extra) = (0, 0, 0);
    for case in support::cases(&corpora, "tunnel") {
        let settings = Settings { verify_checksums: !case.ignore_checksums, ..Settings::default() };
        let (_, events) = support::run(&case.capture, settings);
        let mut ours: Vec<_> = events
            .iter()
            .filter_map(|event| if let Event::Tunnel(tunnel) = event { Some(columns(tunnel)) } else { None })
            .collect();
        for row in support::read_log(&case.expected) {
            rows += 1;
            let theirs: Vec<_> = COLUMNS.iter().map(|name| row[*name].clone()).collect();
            match ours.iter().position(|ours| *ours == theirs) {
                Some(found) => {
                    ours.remove(found);
                    equal += 1;
                }
                None => println!("{}: no row for {theirs:?}", case.id),
            }
        }
        for row in &ours {
            println!("{}: not in Zeek's log: {row:?}", case.id);
        }
        extra += ours.len();
    }
    println!("{rows} rows, {equal} equal, {extra} more");
    assert!(rows > 20);
    assert_eq!((equal, extra), (rows, 0));
}
