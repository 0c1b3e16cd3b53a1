//! `slips profile IP` and `slips profiles`: what is known of an address, and who was seen. Reads the database and local files; asks nobody.

mod text;

use std::fs::File;
use std::io::BufReader;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Value, json};
use slips_core::addr::is_private;
use slips_core::flow::MacAddr;
use slips_core::intel::{Intelligence as _, Key};
use slips_core::time::PacketTime;
use slips_core::user_agent::UserAgent;
use slips_intel::{Geo, vendors};
use slips_store::profiles::{Facts, Item};
use slips_store::render::iso;
use slips_store::{Answers, StoredProfile};

use super::table::{Cell, Column, Look, Table};
use super::{Exit, Failure, ProfileOf, Profiles, print_object, print_out};
use crate::config::Config;
use crate::daemon::build;
use crate::daemon::sinks::wall_clock;
use crate::lists::Copy;
use crate::services::{ANSWERS, Opinion, Subject, jarm};

pub(super) fn run(asked: &ProfileOf) -> Result<(), Failure> {
    let config = asked.place.configuration()?;
    let stories = asked.place.open_of(&config)?;
    let addr = slips_core::addr::canonical(asked.addr);
    let Some(profile) = stories.profile(addr)? else {
        return Err(Failure::new(
            Exit::Data,
            format!("{} knows nothing of {addr}", stories.path().display()),
        ));
    };
    let told = tell(addr, &profile, &Known::of(&config)?);
    if asked.place.json { print_object(&told) } else { print_out(&text::of(&told)) }
}

/// `slips profiles`: who was seen lately.
pub(super) fn list(asked: &Profiles) -> Result<(), Failure> {
    let rows = asked.place.open()?.latest_profiles(asked.most)?;
    if asked.place.json {
        return print_object(&rows);
    }
    let mut table = Table::new([
        Column::whole("address"),
        Column::whole("last seen (UTC)"),
        Column::number("windows"),
        Column::whole("threat level"),
        Column::number("alerts"),
        Column::text("name"),
    ]);
    for row in &rows {
        table.row([
            Cell::new(&row.ip),
            Cell::time(&row.last_seen),
            Cell::shown(row.windows),
            Cell::new(&row.threat_level).look(Look::of_level(&row.threat_level)),
            Cell::shown(row.alerts),
            Cell::new(row.name.as_deref().unwrap_or_default()),
        ]);
    }
    print_out(&if table.is_empty() { "no profiles\n".to_owned() } else { table.show() })
}

/// What is known of addresses before any traffic.
struct Known {
    makers: Vec<PathBuf>,
    geo: Geo,
    intel: slips_intel::Indicators,
    /// What services said, if any was ever asked.
    answers: Option<Answers>,
}

impl Known {
    fn of(config: &Config) -> Result<Self, Failure> {
        let mut geo = Geo::default();
        for file in config.profiles.databases(&config.output.directory) {
            geo.add(&file).map_err(|error| {
                Failure::new(Exit::Config, format!("profiles.places: {}: {error}", file.display()))
            })?;
        }
        let lists = build::lists(config).load(Copy::Leave).map_err(|error| Failure {
            exit: Exit::Config,
            error: anyhow::Error::from(error).context("threatintelligence: the lists cannot be read"),
        })?;
        let intel = lists.indicators;
        let kept = config.output.directory.join(ANSWERS);
        let answers = kept.is_file().then(|| Answers::open_to_read(&kept)).transpose()?;
        Ok(Self { makers: config.profiles.makers(&config.output.directory), geo, intel, answers })
    }

    /// What services said of something, by their names; and when.
    fn said(&self, subject: Option<Subject>) -> serde_json::Map<String, Value> {
        let Some((answers, subject)) = self.answers.as_ref().zip(subject) else {
            return serde_json::Map::new();
        };
        let found = answers.about(&subject.to_string()).unwrap_or_else(|error| {
            eprintln!("slips: {:#}", anyhow::Error::from(error));
            Vec::new()
        });
        let told = found.into_iter().filter_map(|answer| {
            let opinion: Opinion = serde_json::from_str(&answer.answer).ok()?;
            let mut told = Value::Object(opinion.facts);
            told["verdict"] = json!(opinion.verdict);
            told["asked"] = iso(PacketTime(answer.at.saturating_mul(1_000_000))).into();
            Some((answer.service, told))
        });
        told.collect()
    }

    /// The JARM of the servers at an address that were asked for it, and what the lists say of it.
    fn jarm(&self, addr: IpAddr) -> Vec<Value> {
        let Some(answers) = &self.answers else { return Vec::new() };
        // Up to the port.
        let any = jarm::subject(SocketAddr::new(addr, 0));
        let found = answers.beginning_with(jarm::NAME, any.trim_end_matches('0')).unwrap_or_else(|error| {
            eprintln!("slips: {:#}", anyhow::Error::from(error));
            Vec::new()
        });
        let told = found.into_iter().filter_map(|(subject, answer)| {
            let opinion: Opinion = serde_json::from_str(&answer.answer).ok()?;
            let print = opinion.facts.get(jarm::NAME)?.as_str()?;
            let listed = self.intel.look_up(Key::Jarm(print)).map(|listed| listed.to_string());
            Some(json!({
                "port": subject.parse::<SocketAddr>().ok()?.port(), "jarm": print, "listed": listed,
                "asked": iso(PacketTime(answer.at.saturating_mul(1_000_000))),
            }))
        });
        told.collect()
    }

    /// When the domains were registered that these facts name.
    fn domains(&self, facts: &Facts) -> Vec<Value> {
        let names = facts.called.items().iter().map(|item| item.what.name.as_str());
        let names = names.chain(facts.passive_dns.items().iter().map(|item| item.what.name.as_str()));
        let mut domains: Vec<Subject> = names.filter_map(Subject::registered).collect();
        domains.sort();
        domains.dedup();
        let age = |domain: Subject| {
            let registered = self.said(Some(domain.clone())).get("rdap")?.get("registered")?.as_i64()?;
            let days = (wall_clock() / 1_000_000).saturating_sub(registered) / 86_400;
            let at = iso(PacketTime(registered.saturating_mul(1_000_000)));
            Some(json!({ "domain": domain.to_string(), "registered": at, "days": days }))
        };
        domains.into_iter().filter_map(age).collect()
    }

    /// Who made the card. A registry that cannot be read is told of on the way.
    fn maker(&self, mac: &str) -> Option<String> {
        let mac = MacAddr::parse(mac)?;
        self.makers.iter().find_map(|file| {
            let found = File::open(file).and_then(|open| vendors::maker(BufReader::new(open), mac));
            found.unwrap_or_else(|error| {
                eprintln!("slips: profiles.vendors: {}: {error}", file.display());
                None
            })
        })
    }
}

/// The profile as it is told to programs.
fn tell(addr: IpAddr, profile: &StoredProfile, known: &Known) -> Value {
    let unknown = Facts::default();
    let facts = profile.facts.as_ref().unwrap_or(&unknown);
    let seen = profile.facts.is_some();
    let macs: Vec<Value> = facts.macs.items().iter().map(|item| with_maker(item, known)).collect();
    let agents: Vec<Value> = facts
        .user_agents
        .items()
        .iter()
        .map(|item| {
            let read = UserAgent::read(&item.what.user_agent);
            let mut told = json!(item);
            told["os_type"] = read.system.map(|system| system.name()).into();
            told["device"] = read.system.map(|system| system.device()).into();
            told["os_name"] = text_or_null(read.system_name);
            told["browser"] = text_or_null(read.browser);
            told
        })
        .collect();
    let slips_intel::Place { asn, organisation, country } = known.geo.place(addr);
    let listed = known.intel.look_up(Key::Address(addr)).map(|found| {
        json!({
            "level": found.level.name(), "description": found.description, "source": found.sources, "tags": found.tags,
        })
    });
    let mut said = known.said(Subject::address(addr));
    let virustotal = said.remove("virustotal");
    let latest = profile.windows.first();
    let history: Vec<Value> = profile.windows.iter().map(|window| json!(window)).collect();
    json!({
        "ip": addr,
        "is_private": is_private(addr),
        "first_seen": seen.then(|| iso(facts.first_seen)),
        "last_seen": seen.then(|| iso(facts.last_seen)),
        "windows": facts.windows,
        "mac": facts.macs.latest().map(|item| with_maker(item, known)),
        "macs": macs,
        "siblings": profile.siblings.iter().map(|(addr, mac)| json!({ "ip": addr, "mac": mac })).collect::<Vec<_>>(),
        "host_names": facts.host_names,
        "dhcp": facts.dhcp,
        "gateway": profile.gateways.first(),
        "gateways": facts.gateways,
        "roles": facts.roles,
        "user_agent": agents.first(),
        "user_agents": agents,
        "software": facts.software,
        "sni": facts.called,
        "reverse_dns": facts.reverse_dns,
        "passive_dns": facts.passive_dns,
        "certificates": facts.certificates,
        "tls_fingerprints": facts.handshakes,
        "services": facts.services,
        "jarm": known.jarm(addr),
        "asn": asn,
        "organisation": organisation,
        "country": country,
        "threat_intelligence": listed,
        "virustotal": virustotal,
        "outside_services": said,
        "domains": known.domains(facts),
        "threat_level": latest.map_or("info", |window| window.threat_level.as_str()),
        "confidence": latest.map_or(0.0, |window| window.confidence),
        "threat_levels": history,
        "evidence": { "as_attacker": profile.evidence[0], "as_victim": profile.evidence[1] },
        "alerts": profile.alerts,
    })
}

fn with_maker(item: &Item<slips_store::profiles::Mac>, known: &Known) -> Value {
    let mut told = json!(item);
    let mac = item.what.mac.as_str();
    told["vendor"] = known.maker(mac).into();
    told["made_up"] = MacAddr::parse(mac).is_some_and(vendors::is_local).into();
    told
}

fn text_or_null(text: String) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}
