//! A name that a list calls malicious: asked for, contacted (`THREAT_INTELLIGENCE_BLACKLISTED_DOMAIN`), or where it leads
//! (`THREAT_INTELLIGENCE_ANSWER_OF_BLACKLISTED_QUERY`); and a harmless name that leads to what is listed
//! (`THREAT_INTELLIGENCE_BLACKLISTED_DNS_ANSWER`).

use std::net::IpAddr;

use slips_core::addr;
use slips_core::detector::{Cx, Detector, Header, Role, Spec, Threshold, Unit};
use slips_core::event::{About, Dns, DnsData, Event, EventKind};
use slips_core::evidence::{Confidence, Entity, EvidenceKind, Finding, Proof, ThreatLevel};
use slips_core::intel::{Current, Intelligence, Key, Listed, Reader};

use crate::Settings;
use crate::ladder::rung;
use crate::names;
use crate::steps::{Limits, Reached, Steps, in_steps, member_of, member_of_ip};

/// The registry's entry.
pub static SPEC: Spec = Spec {
    name: "listed_name",
    kinds: &[
        EvidenceKind::BlacklistedDomain,
        EvidenceKind::BlacklistedDnsAnswer,
        EvidenceKind::AnswerOfBlacklistedQuery,
    ],
    events: &[EventKind::Dns, EventKind::Tls, EventKind::Http],
    roles: &[Role::Src],
    thresholds: &[NAMES, ANSWERS],
    header: Header {
        detects: "A name that a list calls malicious, asked for by DNS or contacted by TLS or HTTP \
            (`THREAT_INTELLIGENCE_BLACKLISTED_DOMAIN`); the addresses to which it leads \
            (`THREAT_INTELLIGENCE_ANSWER_OF_BLACKLISTED_QUERY`); and any name that leads to a listed address or by a \
            listed alias (`THREAT_INTELLIGENCE_BLACKLISTED_DNS_ANSWER`).",
        attack: "T1071.001 Web Protocols, T1071.004 DNS, T1583.001 Domains, T1566.002 Spearphishing Link.",
        rule: "Question, aliases (CNAME) and addresses of a DNS exchange of one of our hosts, the name in its TLS \
            hello, and the Host of its requests to outside servers, looked up with all parent domains. Linked pairs: \
            the client with low; the name, or the listed address, with the list's level; an address that a listed \
            name leads to with low.",
        numbers: "Each name and each address once in a window, then at 10 and 100. Confidence 1.0 where the name is \
            listed itself and 0.7 below a listed one, the original's numbers.",
        quiet: "A page can make any browser ask for any name: the client gets low. The owner of a name chooses where \
            it leads, and could choose a bank: an address is not judged by the names that lead to it, and shared \
            servers host thousands of names. A public suffix that is listed (`github.io`) says nothing of what \
            is below it. Answers that lead nowhere or inside (blockers) are left out.",
        evasion: "A name that is not listed; encrypted DNS with encrypted ClientHello.",
        proof: "Unproven: any page can have its visitor ask for a name, and a DNS answer proves nothing about the address in it.",
    },
};

/// Steps in questions for, and visits to, one listed name. The level is that of the list.
pub const NAMES: Threshold = Threshold::steps(
    "names",
    "questions for and visits to one listed name in a window (the level is that of the list)",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 1.0), rung(10, ThreatLevel::High, 1.0), rung(100, ThreatLevel::High, 1.0)],
);
/// Steps in answers with one address or alias. The level is that of the list.
pub const ANSWERS: Threshold = Threshold::steps(
    "answers",
    "answers with one listed address or alias, or with one address of a listed name, in a window (the level is that of the list)",
    Unit::Count,
    &[rung(1, ThreatLevel::High, 1.0), rung(10, ThreatLevel::High, 1.0), rung(100, ThreatLevel::High, 1.0)],
);

const LIMITS: Limits = Limits { keys: 256, weighing: 16 };
/// Answers of one message that are looked at.
const MAX_ANSWERS: usize = 32;
/// Questions whose answers can be aliases and addresses: A, AAAA, HTTPS.
const WHERE: [u16; 3] = [1, 28, 65];

/// See the module.
pub struct ListedName {
    intel: Reader,
    seen: Seen,
}

struct Seen {
    names: Steps<u64>,
    answers: Steps<u64>,
}

impl ListedName {
    /// With these settings and indicators.
    pub fn new(settings: &Settings, intel: &Current) -> Self {
        let names = Steps::new(settings.ladder(&SPEC, &NAMES), LIMITS);
        let answers = Steps::new(settings.ladder(&SPEC, &ANSWERS), LIMITS);
        Self { intel: intel.reader(), seen: Seen { names, answers } }
    }
}

impl Seen {
    fn on_dns(&mut self, cx: &mut Cx<'_>, intel: &dyn Intelligence, dns: &Dns) {
        let listed_query = intel.look_up(Key::Domain(&dns.query));
        if let Some(listed) = &listed_query {
            self.on_name(cx, &dns.about, &dns.query, listed, "asks for");
        }
        if dns.rcode != Some(0) || !WHERE.contains(&dns.qtype) {
            return;
        }
        for answer in dns.answers.iter().take(MAX_ANSWERS) {
            match &answer.data {
                DnsData::Addr(ip) if addr::is_interesting(*ip) && !cx.is_local(*ip) => {
                    if let Some(listed) = intel.look_up(Key::Address(*ip)) {
                        self.on_listed_answer(cx, dns, *ip, &listed);
                    } else if let Some(listed) = &listed_query {
                        self.on_answer_of_listed(cx, dns, *ip, listed);
                    }
                }
                DnsData::Name(alias) => {
                    if let Some(listed) = intel.look_up(Key::Domain(alias)) {
                        self.on_alias(cx, dns, alias, &listed);
                    }
                }
                DnsData::Addr(_) | DnsData::Text(_) => {}
            }
        }
    }

    /// One of ours deals with a listed name.
    fn on_name(&mut self, cx: &mut Cx<'_>, about: &About, name: &str, listed: &Listed<'_>, does: &str) {
        let Some(reached) = self.names.add(cx, member_of(name), about.uid) else { return };
        let text = format!("{} {does} {name}, which is listed as {listed}", about.src.addr);
        let client = of_client(cx, about, reached, EvidenceKind::BlacklistedDomain, listed, text);
        let name = Finding {
            attacker: Entity::Domain(name.into()),
            victim: Some(Entity::Ip(about.src.addr)),
            level: judged(&client, listed.level),
            ..client.clone()
        };
        let client = Finding { victim: Some(name.attacker.clone()), ..client };
        cx.emit_both(name, client);
    }

    /// A name leads to a listed address.
    fn on_listed_answer(&mut self, cx: &mut Cx<'_>, dns: &Dns, ip: IpAddr, listed: &Listed<'_>) {
        let Some(reached) = self.answers.add(cx, member_of_ip(ip), dns.about.uid) else { return };
        let text = format!("{} leads to {ip}, which is listed as {listed}", dns.query);
        let client = of_client(cx, &dns.about, reached, EvidenceKind::BlacklistedDnsAnswer, listed, text);
        let remote = of_answer(&client, ip, judged(&client, listed.level), listed.confidence());
        cx.emit_both(remote, Finding { victim: Some(Entity::Ip(ip)), ..client });
    }

    /// A listed name leads to an address.
    fn on_answer_of_listed(&mut self, cx: &mut Cx<'_>, dns: &Dns, ip: IpAddr, listed: &Listed<'_>) {
        let Some(reached) = self.answers.add(cx, member_of_ip(ip), dns.about.uid) else { return };
        let text = format!("{ip} is where {} leads, which is listed as {listed}", dns.query);
        let client = of_client(cx, &dns.about, reached, EvidenceKind::AnswerOfBlacklistedQuery, listed, text);
        // Whoever owns the name chose the address.
        let remote = of_answer(&client, ip, client.level, 0.7);
        cx.emit_both(remote, Finding { victim: Some(Entity::Ip(ip)), ..client });
    }

    /// A name leads to a listed name.
    fn on_alias(&mut self, cx: &mut Cx<'_>, dns: &Dns, alias: &str, listed: &Listed<'_>) {
        let Some(reached) = self.answers.add(cx, member_of(alias), dns.about.uid) else { return };
        let text = format!("{} is an alias of {alias}, which is listed as {listed}", dns.query);
        let client = of_client(cx, &dns.about, reached, EvidenceKind::BlacklistedDnsAnswer, listed, text);
        let name = Finding {
            attacker: Entity::Domain(alias.into()),
            victim: Some(Entity::Ip(dns.about.src.addr)),
            level: judged(&client, listed.level),
            ..client.clone()
        };
        cx.emit_both(name, Finding { victim: Some(Entity::Domain(dns.query.as_str().into())), ..client });
    }
}

/// The client's side: low at most, whatever the list says.
fn of_client(
    cx: &Cx<'_>,
    about: &About,
    reached: Reached,
    kind: EvidenceKind,
    listed: &Listed<'_>,
    text: String,
) -> Finding {
    let level = reached.rung.level.min(listed.level).min(ThreatLevel::Low);
    Finding {
        level,
        confidence: Confidence::new(listed.confidence()),
        proto: Some(about.proto),
        text,
        // Any page can have its visitor ask for a name, so that must not cut the visitor off.
        proof: Proof::Unproven,
        ..reached.finding(cx, kind, about.src.addr, about.at)
    }
}

/// The other side's level: the list's, unless so many were told that further ones weigh nothing.
fn judged(client: &Finding, level: ThreatLevel) -> ThreatLevel {
    if client.level == ThreatLevel::Info { ThreatLevel::Info } else { level }
}

/// An address in an answer, which has not sent anything itself.
fn of_answer(client: &Finding, ip: IpAddr, level: ThreatLevel, confidence: f64) -> Finding {
    Finding {
        attacker: Entity::Ip(ip),
        victim: Some(client.attacker.clone()),
        level,
        confidence: Confidence::new(confidence),
        proof: Proof::Unproven,
        ..client.clone()
    }
}

impl Detector for ListedName {
    in_steps!(seen.names, seen.answers);

    fn renew(&mut self) {
        self.intel.refresh();
    }

    fn on_event(&mut self, cx: &mut Cx<'_>, event: &Event) {
        let facts = cx.facts();
        let Self { intel, seen } = self;
        match event {
            Event::Dns(dns) if facts.src_local && names::is_unicast_dns(&dns.about) => {
                seen.on_dns(cx, intel.get(), dns);
            }
            Event::Tls(tls) if facts.src_local && !facts.dst_local => {
                let name = tls.fields.server_name.as_str();
                if let Some(listed) = intel.get().look_up(Key::Domain(name)) {
                    seen.on_name(cx, &tls.about, name, &listed, "contacts by TLS");
                }
            }
            Event::Http(http) if facts.src_local && !facts.dst_local => {
                let name = http.host.split(':').next().unwrap_or_default();
                if let Some(listed) = intel.get().look_up(Key::Domain(name)) {
                    seen.on_name(cx, &http.about, name, &listed, "contacts by HTTP");
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_traces::{at, bench, dns, http, listing, tls};
    use slips_core::detector::Bench;

    /// `bad.example` and below, and 203.0.113.66, are listed as critical.
    fn listed() -> Bench {
        let names = |key: Key<'_>| match key {
            Key::Domain("bad.example") => Some(true),
            Key::Domain(name) => name.ends_with(".bad.example").then_some(false),
            Key::Address(ip) => (ip == at("203.0.113.66")).then_some(true),
            _ => None,
        };
        bench(ListedName::new(&Settings::default(), &listing(ThreatLevel::Critical, names)))
    }

    /// `kind attacker victim level confidence`, without what the names of the kinds have in common.
    fn told(findings: &[Finding]) -> Vec<String> {
        let linked =
            |pair: &[Finding]| pair[0].related == [pair[1].id()] && pair[1].related == [pair[0].id()];
        assert!(findings.chunks(2).all(linked), "{findings:?}");
        findings
            .iter()
            .map(|f| {
                let victim = f.victim.as_ref().expect("a victim");
                let kind = f.kind.name().trim_start_matches("THREAT_INTELLIGENCE_");
                format!("{kind} {} {victim} {} {}", f.attacker, f.level, f.confidence.get())
            })
            .collect()
    }

    fn asked(bench: &mut Bench, query: &str, answers: &[DnsData]) -> Vec<String> {
        told(&bench.feed(&Event::Dns(Box::new(dns(query, answers)))))
    }

    #[test]
    fn a_question_for_a_listed_name_is_a_pair() {
        let pair = |name: &str, sure: &str| {
            [
                format!("BLACKLISTED_DOMAIN {name} 192.168.1.5 critical {sure}"),
                format!("BLACKLISTED_DOMAIN 192.168.1.5 {name} low {sure}"),
            ]
        };
        assert_eq!(asked(&mut listed(), "bad.example", &[]), pair("bad.example", "1"));
        assert_eq!(asked(&mut listed(), "www.bad.example", &[]), pair("www.bad.example", "0.7"));
        assert!(asked(&mut listed(), "good.example", &[]).is_empty());
    }

    #[test]
    fn an_address_is_hardly_judged_by_the_name_that_leads_to_it() {
        let answers = [
            DnsData::Addr(at("198.51.100.7")),
            DnsData::Addr(at("0.0.0.0")),
            DnsData::Addr(at("192.168.1.1")),
        ];
        let said = asked(&mut listed(), "bad.example", &answers);
        assert_eq!(
            said[2..],
            [
                "ANSWER_OF_BLACKLISTED_QUERY 198.51.100.7 192.168.1.5 low 0.7",
                "ANSWER_OF_BLACKLISTED_QUERY 192.168.1.5 198.51.100.7 low 1"
            ]
        );
    }

    #[test]
    fn a_name_that_leads_to_a_listed_address_or_alias_is_a_pair() {
        let by_address = asked(&mut listed(), "good.example", &[DnsData::Addr(at("203.0.113.66"))]);
        assert_eq!(
            by_address,
            [
                "BLACKLISTED_DNS_ANSWER 203.0.113.66 192.168.1.5 critical 1",
                "BLACKLISTED_DNS_ANSWER 192.168.1.5 203.0.113.66 low 1"
            ]
        );
        let by_alias = asked(&mut listed(), "good.example", &[DnsData::Name("x.bad.example".into())]);
        assert_eq!(
            by_alias,
            [
                "BLACKLISTED_DNS_ANSWER x.bad.example 192.168.1.5 critical 0.7",
                "BLACKLISTED_DNS_ANSWER 192.168.1.5 good.example low 0.7"
            ]
        );
    }

    #[test]
    fn contacts_by_name_count_with_the_questions() {
        let mut bench = listed();
        assert_eq!(asked(&mut bench, "bad.example", &[]).len(), 2);
        let visits = [
            tls("198.51.100.7", "bad.example"),
            Event::Http(Box::new(http("198.51.100.7", "bad.example:80", "/", 1))),
        ];
        let more: Vec<Finding> = (0..5)
            .flat_map(|_| visits.iter().flat_map(|visit| bench.feed(visit)).collect::<Vec<_>>())
            .collect();
        assert_eq!(told(&more).len(), 2, "the tenth");
        assert!(more[0].text.contains("contacts by"), "{}", more[0].text);
    }

    #[test]
    fn others_of_ours_and_from_outside_are_silent() {
        let mut bench = listed();
        assert!(bench.feed(&tls("192.168.1.9", "bad.example")).is_empty(), "a server of ours");
        let mut inwards = http("192.168.1.9", "bad.example", "/", 0);
        inwards.about.src.addr = at("198.51.100.7");
        assert!(bench.feed(&Event::Http(Box::new(inwards))).is_empty(), "a stranger may write any Host");
        let mut local = dns("bad.example", &[]);
        local.about.dst.addr = at("224.0.0.251");
        assert!(bench.feed(&Event::Dns(Box::new(local))).is_empty(), "mDNS");
    }
}
