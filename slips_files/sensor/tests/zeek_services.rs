//! DHCP, SMTP and FTP records of the corpora's captures against the logs that Zeek's own test suite expects.

mod support;

use std::net::IpAddr;

use slips_core::event::{Dhcp, Event};
use slips_sensor::Settings;
use support::parity::{Score, compare, flag, or_dash};

#[test]
fn smtp_rows_equal_zeeks() {
    let Some(corpora) = support::corpora("smtp_rows_equal_zeeks") else { return };
    let mut score = Score::default();
    for case in support::cases(&corpora, "smtp") {
        compare(&case, &mut score, |event| match event {
            Event::Smtp(smtp) => Some((
                smtp.about,
                vec![
                    ("helo", or_dash(&smtp.helo)),
                    ("last_reply", or_dash(&smtp.last_reply)),
                    ("tls", flag(smtp.tls)),
                ],
            )),
            _ => None,
        });
    }
    println!("{score:?}");
    assert!(score.rows > 10);
    assert!(score.equal * 100 >= score.rows * 80);
}

#[test]
fn ftp_rows_equal_zeeks() {
    let Some(corpora) = support::corpora("ftp_rows_equal_zeeks") else { return };
    let mut score = Score::default();
    for case in support::cases(&corpora, "ftp") {
        compare(&case, &mut score, |event| match event {
            Event::Ftp(ftp) => Some((
                ftp.about,
                vec![
                    ("user", or_dash(&ftp.user)),
                    ("command", or_dash(&ftp.command)),
                    ("reply_code", ftp.reply_code.map_or("-".to_owned(), |code| code.to_string())),
                    ("data_channel.resp_p", ftp.data_port.map_or("-".to_owned(), |port| port.to_string())),
                ],
            )),
            _ => None,
        });
    }
    println!("{score:?}");
    // what is left are tests of Zeek's that log further commands
    assert!(score.rows > 1000);
    assert!(score.equal * 100 >= score.rows * 95);
}

fn columns(dhcp: &Dhcp) -> Vec<(&'static str, String)> {
    let addr = |addr: Option<IpAddr>| addr.map_or("-".to_owned(), |addr| addr.to_string());
    vec![
        ("client_addr", addr(dhcp.client)),
        ("server_addr", addr(dhcp.server)),
        ("mac", dhcp.mac.map_or("-".to_owned(), |mac| mac.to_string())),
        ("host_name", or_dash(&dhcp.host_name)),
        ("requested_addr", addr(dhcp.requested_addr)),
        ("assigned_addr", addr(dhcp.assigned_addr)),
        ("lease_time", dhcp.lease_time.map_or("-".to_owned(), |span| span.to_string())),
        ("msg_types", dhcp.msg_types.join(",")),
    ]
}

#[test]
fn dhcp_rows_equal_zeeks() {
    let Some(corpora) = support::corpora("dhcp_rows_equal_zeeks") else { return };
    let (mut rows, mut equal) = (0, 0);
    for case in support::cases(&corpora, "dhcp") {
        let (_, events) = support::run(&case.capture, Settings::default());
        let mut ours = events.iter().filter_map(|event| match event {
            Event::Dhcp(dhcp) => Some(columns(dhcp)),
            _ => None,
        });
        for row in support::read_log(&case.expected) {
            rows += 1;
            let found = ours.next().unwrap_or_default();
            let differing: Vec<_> = found
                .iter()
                .filter(|(name, value)| row.get(*name).is_some_and(|theirs| theirs != value))
                .collect();
            equal += usize::from(!found.is_empty() && differing.is_empty());
            if !differing.is_empty() || found.is_empty() {
                println!("{}: {differing:?}, Zeek's {row:?}", case.id);
            }
        }
    }
    println!("{rows} rows, {equal} equal");
    assert!(rows > 2);
    assert_eq!(equal, rows);
}
