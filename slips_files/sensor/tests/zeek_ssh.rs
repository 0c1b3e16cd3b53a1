//! SSH sessions of the corpora's captures against the ssh logs that Zeek's own test suite expects.

mod support;

use slips_core::event::{Event, Ssh};
use slips_sensor::Settings;

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

/// The columns of a row as Zeek prints them.
fn columns(ssh: &Ssh) -> Vec<(&'static str, String)> {
    let flag = |value: bool| if value { "T" } else { "F" }.to_owned();
    vec![
        ("version", ssh.version.map_or("-".to_owned(), |version| version.to_string())),
        ("auth_success", ssh.auth_success.map_or("-".to_owned(), flag)),
        ("auth_attempts", ssh.auth_attempts.to_string()),
        ("client", or_dash(&ssh.client)),
        ("server", or_dash(&ssh.server)),
        ("cipher_alg", or_dash(&ssh.cipher_alg)),
        ("mac_alg", or_dash(&ssh.mac_alg)),
        ("compression_alg", or_dash(&ssh.compression_alg)),
        ("kex_alg", or_dash(&ssh.kex_alg)),
        ("host_key_alg", or_dash(&ssh.host_key_alg)),
        ("host_key_fingerprint", or_dash(&ssh.host_key)),
    ]
}

#[test]
fn ssh_rows_equal_zeeks() {
    let Some(corpora) = support::corpora("ssh_rows_equal_zeeks") else { return };
    let (mut rows, mut equal, mut extra) = (0, 0, 0);
    for case in support::cases(&corpora, "ssh") {
        let settings = Settings { verify_checksums: !case.ignore_checksums, ..Settings::default() };
        let (_, events) = support::run(&case.capture, settings);
        let mut ours: Vec<Ssh> = events
            .into_iter()
            .filter_map(|event| if let Event::Ssh(ssh) = event { Some(*ssh) } else { None })
            .collect();
        for row in support::read_log(&case.expected) {
            rows += 1;
            let field = |name: &str| row.get(name).cloned().unwrap_or_default();
            let id = (field("id.orig_h"), field("id.orig_p"), field("id.resp_h"));
            let found = ours.iter().position(|ssh| {
                let (src, dst) = (ssh.about.src, ssh.about.dst);
                (src.addr.to_string(), src.port.to_string(), dst.addr.to_string()) == id
            });
            let Some(found) = found else {
                println!("{}: no row for {id:?}", case.id);
                continue;
            };
            let differing: Vec<_> = columns(&ours.remove(found))
                .into_iter()
                .filter(|(column, value)| row.get(*column).is_some_and(|theirs| theirs != value))
                .map(|(column, value)| format!("{column}: ours {value}, Zeek's {}", field(column)))
                .collect();
            equal += usize::from(differing.is_empty());
            if !differing.is_empty() {
                println!("{}: {id:?} {differing:?}", case.id);
            }
        }
        for ssh in &ours {
            println!("{}: not in Zeek's log: {ssh:?}", case.id);
        }
        extra += ours.len();
    }
    println!("{rows} rows, {equal} equal, {extra} more");
    assert!(rows > 60);
    assert_eq!((equal, extra), (rows, 0));
}
