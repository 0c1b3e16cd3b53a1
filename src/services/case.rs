//! What of an event a service could be asked about, and what it would mean if it says that it is bad.

use std::net::IpAddr;

use slips_core::addr::{self, LocalNets};
use slips_core::event::{Event, File, Http};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::flow::{Flow, Proto};
use slips_core::time::{PacketTime, WindowWidth};

use super::{Subject, Verdict};

/// Something that one of our hosts met.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// What.
    pub subject: Subject,
    /// How.
    pub met: Met,
}

/// How our host met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Met {
    /// It asked for it, or called it: nobody is accused for that.
    Seen,
    /// It was called by it.
    Called {
        /// Our host.
        host: IpAddr,
        /// Whether the caller's address is certain.
        proven: bool,
    },
    /// It fetched a page.
    Fetched {
        /// Our host.
        client: IpAddr,
        /// Who was asked.
        server: IpAddr,
        /// At which port.
        port: u16,
        /// It was called by its bare address, so that there is no doubt who it is.
        bare: bool,
    },
    /// It called a server that other evidence puts in doubt.
    Suspected {
        /// Our host.
        client: IpAddr,
    },
    /// A file went over.
    Sent {
        /// From whom.
        sender: IpAddr,
        /// To whom.
        receiver: IpAddr,
    },
}

/// The cases in an event.
pub fn cases(event: &Event, ours: &LocalNets, found: &mut impl FnMut(Case)) {
    match event {
        Event::Flow(flow) => of_flow(flow, ours, found),
        Event::Dns(dns) if dns.rcode == Some(0) && ours.contains(dns.about.src.addr) => {
            // Not the name itself: what is before a registered domain may be anything, a secret too.
            if let Some(subject) = Subject::registered(&dns.query) {
                found(Case { subject, met: Met::Seen });
            }
        }
        Event::Http(http) if ours.contains(http.about.src.addr) => of_page(http, ours, found),
        Event::File(file) => of_file(file, ours, found),
        _ => {}
    }
}

/// The server that a finding about a connection of our hosts puts in doubt, if it may be one of TLS.
pub fn suspect(finding: &Finding, ours: &LocalNets) -> Option<Case> {
    if !DOUBTS.contains(&finding.kind)
        || finding.level < ThreatLevel::Low
        || finding.proto != Some(Proto::Tcp)
    {
        return None;
    }
    let (Entity::Ip(one), Some(Entity::Ip(other))) = (&finding.attacker, &finding.victim) else {
        return None;
    };
    let (client, server) = match (ours.contains(*one), ours.contains(*other)) {
        (true, false) => (*one, *other),
        (false, true) => (*other, *one),
        _ => return None,
    };
    let subject = Subject::server(server, finding.dst_port?)?;
    Some(Case { subject, met: Met::Suspected { client } })
}

/// What says of a TLS server, or of what talks with it, that it may be an attacker's.
const DOUBTS: [EvidenceKind; 6] = [
    EvidenceKind::CommandAndControlChannel,
    EvidenceKind::MaliciousJa3,
    EvidenceKind::MaliciousJa3s,
    EvidenceKind::MaliciousSslCert,
    EvidenceKind::SelfSignedCertificate,
    EvidenceKind::OddCertificate,
];

fn of_flow(flow: &Flow, ours: &LocalNets, found: &mut impl FnMut(Case)) {
    let (src, dst) = (flow.src.addr, flow.dst.addr);
    let (remote, met) = match (ours.contains(src), ours.contains(dst)) {
        (true, false) => (dst, Met::Seen),
        (false, true) => {
            let proven = flow.heard && flow.resp.pkts > 0 && !flow.tunnelled;
            (src, Met::Called { host: dst, proven })
        }
        _ => return,
    };
    if let Some(subject) = Subject::address(remote) {
        found(Case { subject, met });
    }
}

fn of_page(http: &Http, ours: &LocalNets, found: &mut impl FnMut(Case)) {
    let about = &http.about;
    let server = about.dst.addr;
    if ours.contains(server) {
        return;
    }
    // Proxies are asked for whole URLs; their own address says nothing.
    let (host, path) = match http.uri.split_once("://") {
        Some((_, rest)) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None => (http.host.as_str(), http.uri.as_str()),
    };
    let own = match server {
        IpAddr::V4(addr) => addr.to_string(),
        IpAddr::V6(addr) => format!("[{addr}]"),
    };
    let host = if host.is_empty() { own.as_str() } else { host };
    let has_port =
        host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let bare = host == own || host.rsplit_once(':').is_some_and(|(name, _)| name == own);
    let at = if has_port { host.to_owned() } else { format!("{host}:{}", about.dst.port) };
    let name = at.rsplit_once(':').map_or(at.as_str(), |(name, _)| name).trim_matches(['[', ']']);
    let named = name.parse::<IpAddr>().map(addr::canonical);
    // What is private or ours is not asked about, and neither is what a private server was asked for.
    if Subject::address(server).is_none() || named.is_ok_and(|addr| ours.contains(addr)) {
        return;
    }
    if let Some(subject) = Subject::page(&at, path) {
        found(Case {
            subject,
            met: Met::Fetched { client: about.src.addr, server, port: about.dst.port, bare },
        });
    }
}

fn of_file(file: &File, ours: &LocalNets, found: &mut impl FnMut(Case)) {
    let (Some(sender), Some(receiver)) = (file.sender, file.receiver) else { return };
    // A certificate is no file; what goes between our own hosts is nobody's business; a part of a file has another digest.
    let inside = ours.contains(sender) && ours.contains(receiver);
    if file.source == "SSL" || inside || file.missing_bytes.is_some_and(|missing| missing > 0) {
        return;
    }
    let digest = [&file.md5, &file.sha256, &file.sha1].into_iter().find(|digest| !digest.is_empty());
    if let Some(subject) = digest.and_then(|digest| Subject::file(digest)) {
        found(Case { subject, met: Met::Sent { sender, receiver } });
    }
}

impl Case {
    /// Who began the traffic, and who was called; of a file that went over neither is known.
    pub const fn sides(&self) -> (Option<IpAddr>, Option<IpAddr>) {
        match (&self.subject, self.met) {
            (Subject::Address(remote), Met::Called { host, .. }) => (Some(*remote), Some(host)),
            (_, Met::Fetched { client, server, .. }) => (Some(client), Some(server)),
            (Subject::Server(at), Met::Suspected { client }) => (Some(client), Some(at.ip())),
            _ => (None, None),
        }
    }

    /// What is evident when a service says that this is bad. As with lists, the remote side is accused by what the service says, and our
    /// host of no more than low, since any page makes any browser ask for anything.
    pub fn findings(&self, verdict: &Verdict, now: PacketTime) -> Vec<Finding> {
        let level = ThreatLevel::from_name(&verdict.level).unwrap_or(ThreatLevel::Info);
        let what = &self.subject;
        let said = &verdict.text;
        let (kind, attacker, victim, level, proof, text) = match self.met {
            Met::Seen => return Vec::new(),
            Met::Called { host, proven } => {
                let Subject::Address(remote) = *what else { return Vec::new() };
                let proof = if proven { Proof::Proven } else { Proof::Unproven };
                let text = format!("{remote} calls {host}; {said}");
                (EvidenceKind::FromBlacklistedIp, remote, host, level.min(ThreatLevel::Medium), proof, text)
            }
            Met::Fetched { client, server, bare, .. } => {
                // Many pages share a server.
                let most = if bare { ThreatLevel::High } else { ThreatLevel::Medium };
                let text = format!("{client} fetches {what}; {said}");
                (EvidenceKind::MaliciousUrl, server, client, level.min(most), Proof::Proven, text)
            }
            Met::Suspected { client } => {
                let Subject::Server(at) = *what else { return Vec::new() };
                let text = format!("TLS server {at} of {client}: {said}");
                let level = level.min(ThreatLevel::High);
                (EvidenceKind::MaliciousJarm, at.ip(), client, level, Proof::Proven, text)
            }
            Met::Sent { sender, receiver } => {
                let text = format!("{sender} sent {receiver} the file {what}; {said}");
                let level = level.min(ThreatLevel::High);
                (EvidenceKind::MaliciousDownloadedFile, sender, receiver, level, Proof::Proven, text)
            }
        };
        let mut remote = Finding {
            victim: Some(Entity::Ip(victim)),
            level,
            confidence: Confidence::new(verdict.confidence),
            text,
            proof,
            ..Finding::new(kind, attacker, WindowWidth::HOUR.window_of(now), now)
        };
        if let Met::Fetched { port, .. } = self.met {
            remote.dst_port = Some(port);
        }
        if let Subject::Server(at) = self.subject {
            (remote.dst_port, remote.proto) = (Some(at.port()), Some(Proto::Tcp));
        }
        if matches!(self.met, Met::Called { .. }) {
            return vec![remote];
        }
        let mut ours = Finding {
            attacker: Entity::Ip(victim),
            profile: victim,
            victim: Some(Entity::Ip(attacker)),
            level: level.min(ThreatLevel::Low),
            confidence: Confidence::new(verdict.confidence.min(0.7)),
            proof: Proof::Unproven,
            ..remote.clone()
        };
        remote.related.push(ours.id());
        ours.related.push(remote.id());
        vec![remote, ours]
    }
}
