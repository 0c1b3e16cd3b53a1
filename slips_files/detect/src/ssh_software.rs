//! What a host's SSH software tells: several versions of it (`MULTIPLE_SSH_VERSIONS`), and logins that succeed
//! (`SSH_SUCCESSFUL`).

use std::net::IpAddr;

use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{Event, EventKind, Software, Ssh};
use slips_core::evidence::{Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Proto, Uid};
use slips_core::time::PacketTime;

use crate::Settings;
use crate::ladder::rung;
use crate::steps::{Limits, Steps, in_steps, member_of};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "ssh_software",
    kinds: &[EvidenceKind::MultipleSshVersions, EvidenceKind::SshSuccessful],
    events: &[EventKind::Software, EventKind::Ssh],
    roles: &[Role::Src, Role::Dst],
    thresholds: &[VERSIONS, LOGINS],
    header: Header {
        detects: "What a host's SSH software tells: several versions of it (`MULTIPLE_SSH_VERSIONS`), and logins that \
            succeed (`SSH_SUCCESSFUL`).",
        attack: "T1021.004 Remote Services: SSH.",
        rule: "Distinct versions of one program, client or server at one port, that a host shows in a window, from \
            software records and from the banners of handshakes. A login counts as successful only when the \
            record says so; the original guesses from 4,290 bytes, which failed guessing exceeds too.",
        numbers: "The second version is the original's, with medium 0.9 for every line that differs from the first one \
            ever seen.",
        quiet: "A window, so that an upgrade is told once; each program by itself, so that git, ansible and a \
            terminal on one machine are no finding. Several machines behind one address are: low, from the \
            fourth version medium.",
        evasion: "One version for all.",
        proof: "Proven, a dialogue over TCP.",
    },
};

/// Steps in versions of one program.
pub const VERSIONS: Threshold = Threshold::steps(
    "versions",
    "versions of one program that a host shows in a window",
    Unit::Count,
    &[rung(2, ThreatLevel::Low, 0.6), rung(4, ThreatLevel::Medium, 0.6), rung(10, ThreatLevel::Medium, 0.9)],
);
/// Told at these counts of successful logins at one server.
pub const LOGINS: Threshold = Threshold::steps(
    "logins",
    "successful logins of one source at one server in a window",
    Unit::Count,
    &[rung(1, ThreatLevel::Info, 0.8), rung(10, ThreatLevel::Info, 0.8), rung(100, ThreatLevel::Info, 0.8)],
);

/// A client, or a server at this port.
type Side = Option<u16>;

/// See the module.
#[derive(Debug)]
pub struct SshSoftware {
    versions: Steps<(Side, u64)>,
    logins: Steps<(IpAddr, u16)>,
}

impl SshSoftware {
    /// With these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            versions: Steps::new(settings.ladder(&SPEC, &VERSIONS), Limits { keys: 32, weighing: 2 }),
            logins: Steps::new(settings.ladder(&SPEC, &LOGINS), Limits { keys: 256, weighing: 0 }),
        }
    }
}

/// Program and version of a banner: `SSH-2.0-OpenSSH_8.1p1 Debian-1` is OpenSSH, 8.1p1.
fn of_banner(banner: &str) -> Option<(&str, &str)> {
    let software = banner.strip_prefix("SSH-")?.split_once('-')?.1;
    let software = software.split([' ', '\t']).next()?;
    software.split_once('_').filter(|(name, version)| !name.is_empty() && !version.is_empty())
}

impl SshSoftware {
    fn on_version(
        &mut self,
        cx: &mut Cx<'_>,
        side: Side,
        (name, version): (&str, &str),
        at: PacketTime,
        uid: Uid,
    ) {
        // Clumsy records write 8.1 where banners write 8.1p1.
        let version: &str =
            version.split(|c: char| !(c.is_ascii_digit() || c == '.')).next().unwrap_or_default();
        // Records of software have two numbers, banners of some programs three.
        let third = version.match_indices('.').nth(1).map_or(version.len(), |(at, _)| at);
        let version = version.get(..third).unwrap_or(version);
        if version.is_empty() {
            return;
        }
        let key = (side, member_of(name));
        let Some(reached) = self.versions.add_distinct(cx, key, member_of(version), uid) else { return };
        let role = if side.is_some() { "server" } else { "client" };
        let name: String = name.chars().take(32).collect();
        let text = format!("{} versions of the SSH {role} {name}, lately {version}", reached.n);
        cx.emit(Finding {
            proto: Some(Proto::Tcp),
            dst_port: side,
            text,
            proof: Proof::Proven,
            ..reached.finding(cx, EvidenceKind::MultipleSshVersions, cx.profile(), at)
        });
    }

    fn on_software(&mut self, cx: &mut Cx<'_>, software: &Software) {
        let side = match software.software_type.as_str() {
            "SSH::CLIENT" => None,
            "SSH::SERVER" => Some(software.port.unwrap_or(22)),
            _ => return,
        };
        let (Some(major), minor) = (software.major, software.minor.unwrap_or(0)) else { return };
        let version = format!("{major}.{minor}");
        self.on_version(cx, side, (&software.name, &version), software.at, Uid::EMPTY);
    }

    fn on_ssh(&mut self, cx: &mut Cx<'_>, ssh: &Ssh) {
        let about = &ssh.about;
        if cx.role() == Role::Dst {
            if let Some(program) = of_banner(&ssh.server) {
                self.on_version(cx, Some(about.dst.port), program, about.at, about.uid);
            }
            return;
        }
        if let Some(program) = of_banner(&ssh.client) {
            self.on_version(cx, None, program, about.at, about.uid);
        }
        if ssh.auth_success == Some(true)
            && let Some(reached) = self.logins.add(cx, (about.dst.addr, about.dst.port), about.uid)
        {
            let text = format!("successful SSH login at {}, {} so far", about.dst, reached.n);
            cx.emit(Finding {
                victim: Some(Entity::Ip(about.dst.addr)),
                proto: Some(Proto::Tcp),
                dst_port: Some(about.dst.port),
                text,
                proof: Proof::Proven,
                ..reached.finding(cx, EvidenceKind::SshSuccessful, about.src.addr, about.at)
            });
        }
    }
}

impl Detector for SshSoftware {
    in_steps!(versions, logins);

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        match event {
            Event::Software(software) if cx.role() == Role::Src => self.on_software(cx, software),
            Event::Ssh(ssh) => self.on_ssh(cx, ssh),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{about, at, bench, levels, secs};

    fn session(client: &str, auth_success: Option<bool>) -> Event {
        Event::Ssh(Box::new(Ssh {
            about: about("192.168.1.5", "203.0.113.9", 22, 0),
            version: Some(2),
            auth_success,
            auth_attempts: 1,
            client: client.into(),
            server: "SSH-2.0-OpenSSH_9.6".into(),
            cipher_alg: String::new(),
            mac_alg: String::new(),
            compression_alg: String::new(),
            kex_alg: String::new(),
            host_key_alg: String::new(),
            host_key: String::new(),
            hassh: String::new(),
            hassh_server: String::new(),
        }))
    }

    fn clients(banners: &[&str]) -> Vec<Finding> {
        let mut bench = bench(SshSoftware::new(&Settings::default()));
        banners.iter().flat_map(|banner| bench.feed(&session(banner, None))).collect()
    }

    #[test]
    fn the_second_version_is_told_and_the_fourth_is_worse() {
        assert_eq!(levels(&clients(&["SSH-2.0-OpenSSH_8.1", "SSH-2.0-OpenSSH_9.1"])), ["low 0.6"]);
        let four = ["SSH-2.0-X_1", "SSH-2.0-X_2", "SSH-2.0-X_3", "SSH-2.0-X_4"];
        assert_eq!(levels(&clients(&four)), ["low 0.6", "medium 0.6"]);
    }

    #[test]
    fn one_version_other_programs_and_garbage_are_silent() {
        let same = ["SSH-2.0-OpenSSH_8.1", "SSH-2.0-OpenSSH_8.1p1 Debian", "SSH-2.0-paramiko_3.4"];
        assert!(clients(&same).is_empty());
        assert!(clients(&["", "SSH-", "SSH-2.0-", "SSH-2.0-_1", "SSH-2.0-x_", "x_1", "x_2"]).is_empty());
    }

    #[test]
    fn software_records_and_banners_are_one_count() {
        let mut bench = bench(SshSoftware::new(&Settings::default()));
        let software = |major| {
            Event::Software(Box::new(Software {
                at: secs(0),
                host: at("192.168.1.5"),
                port: None,
                software_type: "SSH::CLIENT".into(),
                name: "OpenSSH".into(),
                major: Some(major),
                minor: Some(1),
                unparsed_version: String::new(),
            }))
        };
        assert!(bench.feed(&software(8)).is_empty());
        assert!(bench.feed(&session("SSH-2.0-OpenSSH_8.1", None)).is_empty());
        assert_eq!(levels(&bench.feed(&software(9))), ["low 0.6"]);
    }

    #[test]
    fn only_a_login_that_is_known_to_succeed_is_told() {
        let mut bench = bench(SshSoftware::new(&Settings::default()));
        assert!(bench.feed(&session("", None)).is_empty());
        assert!(bench.feed(&session("", Some(false))).is_empty());
        let told = bench.feed(&session("", Some(true)));
        assert_eq!((levels(&told), told[0].kind), (vec!["info 0.8".to_owned()], EvidenceKind::SshSuccessful));
        assert!(bench.feed(&session("", Some(true))).is_empty());
    }
}
