//! Certificates that were told, so that each is told once a day however often it is shown.

use slips_core::event::{About, X509};
use slips_core::time::{PacketTime, Span};

use super::certificate::Certificate;

/// Certificates that are remembered, a power of two. Two that fall on the same place are told by turns, no more.
const PLACES: usize = 1024;

/// What was told when.
#[derive(Debug)]
pub(crate) struct Shown {
    again: Span,
    places: Vec<([u8; 16], PacketTime)>,
}

impl Shown {
    pub(crate) const fn new(again: Span) -> Self {
        Self { again, places: Vec::new() }
    }

    /// Whether the certificate of this digest is to be told, which it then is.
    pub(super) fn is_new(&mut self, digest: &[u8], at: PacketTime) -> bool {
        let Some((digest, [high, low, ..])) = digest.split_first_chunk::<16>() else { return false };
        self.places.resize(PLACES, ([0; 16], PacketTime(i64::MIN)));
        let place = usize::from(u16::from_be_bytes([*high, *low])) % PLACES;
        let Some((known, told)) = self.places.get_mut(place) else { return false };
        let is_told = known == digest && at.since(*told) < self.again;
        if !is_told {
            (*known, *told) = (*digest, at);
        }
        !is_told
    }
}

impl Certificate {
    /// Its row of x509.log.
    pub(super) fn row(&self, about: About, fingerprint: String, is_host: bool, is_client: bool) -> X509 {
        X509 {
            about,
            fingerprint,
            version: self.version,
            serial: self.serial.clone(),
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
            not_valid_before: self.not_before,
            not_valid_after: self.not_after,
            key_alg: self.key.algorithm.clone(),
            sig_alg: self.sig_alg.clone(),
            key_type: self.key.kind.to_owned(),
            key_length: self.key.length,
            exponent: self.key.exponent.clone(),
            curve: self.key.curve.clone(),
            san_dns: self.names.dns.clone(),
            san_uri: self.names.uri.clone(),
            san_email: self.names.email.clone(),
            san_ip: self.names.ip.clone(),
            is_ca: self.is_ca,
            path_length: self.path_length,
            is_host,
            is_client: is_client && is_host,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_once_a_day() {
        let mut shown = Shown::new(Span::from_secs(86_400));
        let at = |secs: i64| PacketTime(secs * 1_000_000);
        assert!(shown.is_new(&[1; 32], at(0)));
        assert!(shown.is_new(&[2; 32], at(0)));
        assert!(!shown.is_new(&[1; 32], at(86_399)));
        assert!(shown.is_new(&[1; 32], at(86_400)));
        let mut other = [2; 32];
        other[0] = 3;
        assert!(shown.is_new(&other, at(86_400)) && shown.is_new(&[2; 32], at(86_400)));
    }
}
