//! Certificates of the corpora's captures, compared with the x509 logs that Zeek's own test suite expects.

mod support;

use slips_core::event::{Event, X509};
use slips_core::time::{PacketTime, Span};
use slips_sensor::Settings;
use support::parity::{flag, list, or_dash};

fn columns(x509: &X509) -> support::parity::Columns {
    let time = |at: Option<PacketTime>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let count = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let escaped: Vec<_> = x509.san_dns.iter().map(|name| name.replace(',', "\\x2c")).collect();
    let addresses: Vec<_> = x509.san_ip.iter().map(ToString::to_string).collect();
    vec![
        ("fingerprint", x509.fingerprint.clone()),
        ("certificate.version", x509.version.to_string()),
        ("certificate.serial", or_dash(&x509.serial)),
        ("certificate.subject", or_dash(&x509.subject)),
        ("certificate.issuer", or_dash(&x509.issuer)),
        ("certificate.not_valid_before", time(x509.not_valid_before)),
        ("certificate.not_valid_after", time(x509.not_valid_after)),
        ("certificate.key_alg", or_dash(&x509.key_alg)),
        ("certificate.sig_alg", or_dash(&x509.sig_alg)),
        ("certificate.key_type", or_dash(&x509.key_type)),
        ("certificate.key_length", count(x509.key_length)),
        ("certificate.exponent", or_dash(&x509.exponent)),
        ("certificate.curve", or_dash(&x509.curve)),
        ("san.dns", list(&escaped)),
        ("san.uri", list(&x509.san_uri)),
        ("san.email", list(&x509.san_email)),
        ("san.ip", list(&addresses)),
        ("basic_constraints.ca", x509.is_ca.map_or_else(|| "-".to_owned(), flag)),
        ("basic_constraints.path_len", count(x509.path_length)),
        ("host_cert", flag(x509.is_host)),
        ("client_cert", flag(x509.is_client)),
    ]
}

#[test]
fn x509_rows_equal_zeeks() {
    let Some(corpora) = support::corpora("x509_rows_equal_zeeks") else { return };
    let (mut rows, mut equal, mut extra) = (0, 0, 0);
    for case in support::cases(&corpora, "x509") {
        let mut settings = Settings { verify_checksums: !case.ignore_checksums, ..Settings::default() };
        // Zeek's test of servers' own certificates looks at them alone and tells one each time
        let hosts_alone = case.id.contains("google-duplicate");
        if hosts_alone {
            settings.certificate_again = Span(0);
        }
        let (_, events) = support::run(&case.capture, settings);
        let shown = events.iter().filter_map(|event| match event {
            Event::X509(x509) if !hosts_alone || x509.is_host => Some(x509),
            _ => None,
        });
        let mut shown = shown.peekable();
        for theirs in support::read_log(&case.expected) {
            rows += 1;
            let Some(ours) = shown.next() else {
                println!("{}: a row is missing", case.id);
                continue;
            };
            let differing: Vec<_> = columns(ours)
                .into_iter()
                .filter(|(column, value)| theirs.get(*column).is_some_and(|theirs| theirs != value))
                .map(|(column, value)| format!("{column}: ours {value}, Zeek's {:?}", theirs.get(column)))
                .collect();
            equal += usize::from(differing.is_empty());
            if !differing.is_empty() {
                println!("{}: {differing:?}", case.id);
            }
        }
        extra += shown.count();
    }
    println!("{equal} of {rows} rows, {extra} more");
    assert!(rows >= 20);
    assert_eq!((equal, extra), (rows, 0));
}
