//! The rows of handshakes: ssl.log, quic.log, x509.log.

use slips_core::event::{self, Quic, Tls};

use super::logs::about;
use super::row::{Field, IfEmpty, Row, fields};

pub(super) fn ssl(row: &mut Row<'_>, tls: &Tls) {
    about(row, &tls.about);
    let tls = &tls.fields;
    row.text("version", &tls.version);
    row.text("cipher", &tls.cipher);
    row.text("curve", &tls.curve);
    row.text("server_name", &tls.server_name);
    row.flag("resumed", Some(tls.resumed));
    row.text("last_alert", &tls.last_alert);
    row.text("next_protocol", &tls.next_protocol);
    row.flag("established", Some(tls.established));
    row.text("ssl_history", &tls.ssl_history);
    row.texts("cert_chain_fps", &tls.cert_chain_fps, IfEmpty::Unset);
    row.texts("client_cert_chain_fps", &tls.client_cert_chain_fps, IfEmpty::Unset);
    row.text("subject", &tls.subject);
    row.text("issuer", &tls.issuer);
    row.text("validation_status", &tls.validation_status);
    row.text("ja3", &tls.ja3);
    row.text("ja3s", &tls.ja3s);
    row.text("ja4", &tls.ja4);
}

pub(super) fn quic(row: &mut Row<'_>, quic: &Quic) {
    about(row, &quic.about);
    row.text("version", &quic.version);
    row.text("client_initial_dcid", &quic.client_initial_dcid);
    row.known_text("client_scid", quic.client_scid.as_deref());
    row.known_text("server_scid", quic.server_scid.as_deref());
    row.text("server_name", &quic.server_name);
    row.text("client_protocol", &quic.client_protocol);
    row.text("history", &quic.history);
}

pub(super) fn x509(row: &mut Row<'_>, x509: &event::X509) {
    row.time("ts", x509.about.at);
    row.text("fingerprint", &x509.fingerprint);
    row.number("certificate.version", Some(x509.version.into()));
    row.text("certificate.serial", &x509.serial);
    row.text("certificate.subject", &x509.subject);
    row.text("certificate.issuer", &x509.issuer);
    if let Some(at) = x509.not_valid_before {
        row.time("certificate.not_valid_before", at);
    }
    if let Some(at) = x509.not_valid_after {
        row.time("certificate.not_valid_after", at);
    }
    row.text("certificate.key_alg", &x509.key_alg);
    row.text("certificate.sig_alg", &x509.sig_alg);
    row.text("certificate.key_type", &x509.key_type);
    row.number("certificate.key_length", x509.key_length.map(u64::from));
    row.text("certificate.exponent", &x509.exponent);
    row.text("certificate.curve", &x509.curve);
    row.texts("san.dns", &x509.san_dns, IfEmpty::Unset);
    row.texts("san.uri", &x509.san_uri, IfEmpty::Unset);
    row.texts("san.email", &x509.san_email, IfEmpty::Unset);
    row.texts("san.ip", x509.san_ip.iter().map(ToString::to_string), IfEmpty::Unset);
    row.flag("basic_constraints.ca", x509.is_ca);
    row.number("basic_constraints.path_len", x509.path_length.map(u64::from));
    row.flag("host_cert", Some(x509.is_host));
    row.flag("client_cert", Some(x509.is_client));
}

pub(super) const SSL: &[Field] = fields! { about;
    "version": "string", "cipher": "string", "curve": "string", "server_name": "string", "resumed": "bool",
    "last_alert": "string", "next_protocol": "string", "established": "bool", "ssl_history": "string",
    "cert_chain_fps": "vector[string]", "client_cert_chain_fps": "vector[string]", "sni_matches_cert": "bool",
    "subject": "string", "issuer": "string", "validation_status": "string", "ja3": "string", "ja3s": "string", "ja4": "string",
};
pub(super) const QUIC: &[Field] = fields! { about;
    "version": "string", "client_initial_dcid": "string", "client_scid": "string", "server_scid": "string",
    "server_name": "string", "client_protocol": "string", "history": "string",
};
pub(super) const X509: &[Field] = fields! {
    "ts": "time", "fingerprint": "string", "certificate.version": "count", "certificate.serial": "string",
    "certificate.subject": "string", "certificate.issuer": "string", "certificate.not_valid_before": "time",
    "certificate.not_valid_after": "time", "certificate.key_alg": "string", "certificate.sig_alg": "string",
    "certificate.key_type": "string", "certificate.key_length": "count", "certificate.exponent": "string",
    "certificate.curve": "string", "san.dns": "vector[string]", "san.uri": "vector[string]",
    "san.email": "vector[string]", "san.ip": "vector[addr]", "basic_constraints.ca": "bool",
    "basic_constraints.path_len": "count", "host_cert": "bool", "client_cert": "bool",
};
