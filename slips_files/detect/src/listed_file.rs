//! A file that a list calls malicious crossed the network in clear text (`MALICIOUS_DOWNLOADED_FILE`); of Zeek's logs also a
//! certificate (`MALICIOUS_SSL_CERT`).

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, File};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::intel::{Current, Intelligence, Key, Listed, Reader};

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of, member_of_ip};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "listed_file",
    kinds: &[EvidenceKind::MaliciousDownloadedFile, EvidenceKind::MaliciousSslCert],
    events: &[EventKind::File],
    roles: &[Role::Src],
    thresholds: &[TRANSFERS],
    header: Header {
        detects: "A file that a list calls malicious crossed the network in clear text (`MALICIOUS_DOWNLOADED_FILE`); \
            of Zeek's logs also a certificate (`MALICIOUS_SSL_CERT`).",
        attack: "T1105 Ingress Tool Transfer, T1204.002 Malicious File, T1570 Lateral Tool Transfer.",
        rule: "MD5, SHA-1 and SHA-256 of each file in HTTP, mail and FTP, looked up. A linked pair: who sent it, with the \
            list's level but high at most, and who received it, with low.",
        numbers: "Each file of each sender once in a window, then at 10 and 100. Confidence 0.7, the original's.",
        quiet: "Who receives a file has not asked for malice. Whoever sends one may be a store that thousands use, so \
            that one listed file is never an alert. `known_fp_md5_hashes.csv` names files that are never told.",
        evasion: "TLS, archives, a file that differs by a byte.",
        proof: "Of the sender proven, a transfer over TCP. Of the receiver never: any page can have its visitor fetch it.",
    },
};

/// Steps in transfers of one listed file by one sender. The level is that of the list.
pub const TRANSFERS: Threshold = Threshold::steps(
    "transfers",
    "transfers of one listed file by one sender in a window (the level is that of the list)",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 0.7), rung(10, ThreatLevel::High, 0.7), rung(100, ThreatLevel::High, 0.7)],
);

const LIMITS: Limits = Limits { keys: 256, weighing: 16 };
/// What Zeek calls the source of a certificate.
const CERTIFICATE: &str = "SSL";

/// See the module.
pub struct ListedFile {
    intel: Reader,
    transfers: Steps<u64>,
}

impl ListedFile {
    /// With these settings and indicators.
    pub fn new(settings: &Settings, intel: &Current) -> Self {
        Self { intel: intel.reader(), transfers: Steps::new(settings.ladder(&SPEC, &TRANSFERS), LIMITS) }
    }
}

/// The digest that is listed, and what of it.
fn look_up<'a>(intel: &'a dyn Intelligence, file: &'a File) -> Option<(&'a str, Listed<'a>)> {
    let by = |digest: &'a str, key| intel.look_up(key).map(|listed| (digest, listed));
    if file.source == CERTIFICATE {
        return by(&file.sha1, Key::Certificate(&file.sha1));
    }
    by(&file.sha256, Key::Sha256(&file.sha256))
        .or_else(|| by(&file.sha1, Key::Sha1(&file.sha1)))
        .or_else(|| by(&file.md5, Key::Md5(&file.md5)))
}

fn told(cx: &mut Cx<'_>, file: &File, digest: &str, listed: &Listed<'_>, transfers: &mut Steps<u64>) {
    let (Some(sender), Some(receiver)) = (file.sender, file.receiver) else { return };
    let key = member_of(digest) ^ member_of_ip(receiver).rotate_left(7);
    let Some(reached) = transfers.add(cx, key, file.uid) else { return };
    let is_certificate = file.source == CERTIFICATE;
    let kind =
        if is_certificate { EvidenceKind::MaliciousSslCert } else { EvidenceKind::MaliciousDownloadedFile };
    let what = if is_certificate { "certificate" } else { "file" };
    let mime: String = file.mime_type.chars().take(64).collect();
    let from = Finding {
        victim: Some(Entity::Ip(receiver)),
        level: reached.rung.level.min(listed.level),
        dst_port: file.ends.map(|(_, server)| server.port),
        text: format!("{sender} sent {receiver} the {what} {digest} ({mime}), which is listed as {listed}"),
        proof: Proof::Proven,
        ..reached.finding(cx, kind, sender, file.at)
    };
    let to = Finding {
        attacker: Entity::Ip(receiver),
        victim: Some(Entity::Ip(sender)),
        level: from.level.min(ThreatLevel::Low),
        confidence: Confidence::new(0.7),
        // Any page can have its visitor do it, so it must not cut the visitor off.
        proof: Proof::Unproven,
        ..from.clone()
    };
    cx.emit_both(from, to);
}

impl Detector for ListedFile {
    in_steps!(transfers);

    fn renew(&mut self) {
        self.intel.refresh();
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let Event::File(file) = event else { return };
        let Self { intel, transfers } = self;
        if let Some((digest, listed)) = look_up(intel.get(), file) {
            told(cx, file, digest, &listed, transfers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, levels, listing, secs};

    fn sent(n: usize, vary: impl Fn(&mut File)) -> Vec<Finding> {
        let list = listing(ThreatLevel::Critical, |key| match key {
            Key::Md5(text) | Key::Sha1(text) | Key::Sha256(text) => (text == "bad").then_some(true),
            Key::Certificate(text) => (text == "worse").then_some(true),
            _ => None,
        });
        let mut bench = bench(ListedFile::new(&Settings::default(), &list));
        let mut file = File {
            at: secs(0),
            sender: Some(at("203.0.113.9")),
            receiver: Some(at("192.168.1.5")),
            source: "HTTP".into(),
            ..File::default()
        };
        vary(&mut file);
        let event = Event::File(Box::new(file));
        (0..n).flat_map(|_| bench.feed(&event)).collect()
    }

    #[test]
    fn a_listed_file_is_a_pair_by_any_digest() {
        for vary in [
            |file: &mut File| file.md5 = "bad".into(),
            |file: &mut File| file.sha1 = "bad".into(),
            |file: &mut File| file.sha256 = "bad".into(),
        ] {
            let told = sent(9, vary);
            assert_eq!(levels(&told), ["high 0.7", "low 0.7"]);
            assert_eq!(
                (&told[0].attacker, &told[1].attacker),
                (&Entity::Ip(at("203.0.113.9")), &Entity::Ip(at("192.168.1.5")))
            );
            assert_eq!((&told[0].related, &told[1].related), (&vec![told[1].id()], &vec![told[0].id()]));
        }
        assert_eq!(sent(10, |file| file.md5 = "bad".into()).len(), 4);
    }

    #[test]
    fn a_certificate_of_zeek_is_looked_up_among_certificates() {
        let shown = |sha1: &str| sent(1, |file| (file.source, file.sha1) = ("SSL".into(), sha1.into()));
        assert_eq!(levels(&shown("worse")), ["high 0.7", "low 0.7"]);
        assert!(shown("worse").iter().all(|told| told.kind == EvidenceKind::MaliciousSslCert));
        assert!(shown("bad").is_empty());
    }

    #[test]
    fn other_files_are_silent() {
        assert!(sent(3, |_| {}).is_empty());
        assert!(sent(3, |file| file.md5 = "good".into()).is_empty());
    }
}
