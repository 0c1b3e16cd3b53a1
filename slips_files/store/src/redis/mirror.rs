//! What becomes of a record: commands for Redis. No I/O, no clock: whoever has the connection takes the commands and sends them.
//!
//! A key and its time to live are one transaction, so that none is left behind that never ends. Each is a transaction of its own: what Redis
//! refuses of one key harms no other.

mod blocks;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use ::redis::{Cmd, cmd};
use slips_core::addr::LocalNets;
use slips_core::alert::Alert;
use slips_core::event::Event;
use slips_core::evidence::Evidence;
use slips_core::record::{Record, Stats};
use slips_core::time::{PacketTime, WindowId, WindowWidth};

use super::keys::{Channel, Keys, profile, profile_window, timewindow};
use super::message::{self, AlertTold, EvidenceTold, json};
use super::signature::seal;
use super::{VERSION, Word};
use crate::profiles::Facts;
use crate::render::iso;
use blocks::Blocks;

/// Attackers in open windows whose sums are mirrored; of more, the sums are not.
const MOST_SUMS: usize = 65_536;
/// Changes that are remembered while what the database has is sent anew.
const MOST_TOUCHED: usize = 65_536;
/// Messages about traffic in a second: whoever wants all of a large network's flows reads the database.
const MOST_TRAFFIC: u32 = 2_000;

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub struct MirrorSettings {
    /// Where everything is.
    pub keys: Keys,
    /// How long a key outlives its last change, in seconds.
    pub ttl: u64,
    /// How wide time windows are.
    pub width: WindowWidth,
    /// Which networks are ours.
    pub local: LocalNets,
    /// By which evidence, alerts and blocks are sealed, for who stands by.
    pub secret: Option<String>,
}

/// What is sealed, so that none of it is taken for another.
pub(super) const EVIDENCE: &str = "mirrored evidence";
pub(super) const ALERT: &str = "mirrored alert";
pub(super) const BLOCK: &str = "mirrored block";

/// For which place something is sealed, so that nowhere else it is believed: what it is, under which key and in which field of it.
pub(super) fn place(what: &str, key: &str, field: &str) -> String {
    format!("{what}\n{key}\n{field}")
}

/// Members of a set, and fields of a hash, that are written at once.
const TOGETHER: usize = 128;

/// See the module.
pub struct Mirror {
    settings: MirrorSettings,
    /// Weight that no alert has used, of the windows that are open.
    sums: HashMap<(IpAddr, WindowId), f64>,
    evidence: u64,
    alerts: u64,
    stats: Stats,
    blocks: Blocks,
    listened: HashSet<Channel>,
    /// Messages about traffic that may still be made in this second.
    traffic: u32,
    untold: u64,
    /// Evidence that changed since a replay began: what the database says of it may be older.
    touched: Option<HashSet<String>>,
}

impl Mirror {
    /// A mirror of a daemon that begins.
    pub fn new(settings: MirrorSettings) -> Self {
        Self {
            settings,
            sums: HashMap::new(),
            evidence: 0,
            alerts: 0,
            stats: Stats::default(),
            blocks: Blocks::default(),
            listened: HashSet::new(),
            traffic: MOST_TRAFFIC,
            untold: 0,
            touched: None,
        }
    }

    /// What does not change.
    pub const fn settings(&self) -> &MirrorSettings {
        &self.settings
    }

    fn keys(&self) -> &Keys {
        &self.settings.keys
    }

    fn router(&self) -> &Word {
        self.settings.keys.router()
    }

    /// Which records become something.
    pub fn wants(record: &Record) -> bool {
        !matches!(record, Record::Spared { .. } | Record::TookOver { .. })
    }

    /// On which channels somebody listens, of those about traffic.
    pub fn listened(&mut self, channels: HashSet<Channel>) {
        self.listened = channels;
    }

    /// Whether events are to be told to anybody.
    pub fn wants_traffic(&self) -> bool {
        !self.listened.is_empty()
    }

    /// Messages about traffic that were not made, because there were too many.
    pub const fn untold(&self) -> u64 {
        self.untold
    }

    /// Takes a record while Redis is away: what is known here alone is kept, and nothing is made of it.
    pub fn note(&mut self, record: &Record) {
        match record {
            Record::Evidence(evidence) => {
                self.evidence += u64::from(evidence.revision == 0);
                if let Some(attacker) = evidence.finding.attacker.ip() {
                    self.keep_sum(attacker, evidence.finding.window, evidence.accumulated);
                }
            }
            Record::Alert(alert) => {
                self.alerts += 1;
                self.keep_sum(alert.attacker, alert.window, 0.0);
            }
            Record::WindowClosed { window, .. } => self.sums.retain(|(_, of), _| of != window),
            Record::Stats(stats) => self.stats = Stats::clone(stats),
            Record::ProfileNew { .. }
            | Record::Events(_)
            | Record::Spared { .. }
            | Record::TookOver { .. } => {}
        }
    }

    /// Takes a record.
    pub fn take(&mut self, record: &Record, out: &mut Vec<Cmd>) {
        match record {
            Record::Evidence(evidence) => self.evidence(evidence, out),
            Record::Alert(alert) => self.alert(alert, out),
            Record::WindowClosed { window, at } => self.closed(*window, *at, out),
            Record::ProfileNew { addr, at } => self.new_profile(*addr, *at, out),
            Record::Stats(stats) => self.stats = Stats::clone(stats),
            Record::Events(batch) => batch.iter().for_each(|event| self.event(event, out)),
            Record::Spared { .. } | Record::TookOver { .. } => {}
        }
    }

    fn evidence(&mut self, evidence: &Evidence, out: &mut Vec<Cmd>) {
        let told = EvidenceTold::new(evidence, self.router(), self.settings.width);
        self.put_evidence(&told, evidence.finding.attacker.ip(), out);
        out.push(publish(Channel::Evidence, &json(&told)));
        if evidence.revision == 0 {
            self.evidence += 1;
            self.put(self.keys().number_of_evidence(), &self.evidence.to_string(), out);
        }
        if let Some(attacker) = evidence.finding.attacker.ip() {
            self.put_sum(attacker, evidence.finding.window, evidence.accumulated, out);
        }
        self.touch(told.id);
    }

    fn alert(&mut self, alert: &Alert, out: &mut Vec<Cmd>) {
        // It names evidence as it stood then, which may be more than was told.
        let key = self.keys().evidence(alert.attacker, alert.window);
        for some in alert.evidence.chunks(TOGETHER) {
            let mut hset = cmd("HSET");
            hset.arg(&key);
            for evidence in some {
                let told = EvidenceTold::new(evidence, self.router(), self.settings.width);
                hset.arg(&told.id).arg(self.sealed(EVIDENCE, &key, &told.id, json(&told)));
                self.touch(told.id);
            }
            self.keep(&key, [hset], out);
        }
        let mut told = AlertTold::new(alert, self.router());
        self.put_alert(&told, alert.at, out);
        self.alerts += 1;
        self.put(self.keys().number_of_alerts(), &self.alerts.to_string(), out);
        self.put_sum(alert.attacker, alert.window, 0.0, out);
        let last = alert.evidence.last();
        told.last_evidence = last.map(|last| EvidenceTold::new(last, self.router(), self.settings.width));
        out.push(publish(Channel::Alert, &json(&told)));
    }

    /// As it is kept there for who stands by: with a secret nobody else can have written it, nor brought it there.
    fn sealed(&self, what: &str, key: &str, field: &str, json: String) -> String {
        match &self.settings.secret {
            Some(secret) => seal(secret, &place(what, key, field), &json),
            None => json,
        }
    }

    /// An evidence as it stands, wherever that is known from.
    pub(super) fn put_evidence(&self, told: &EvidenceTold, attacker: Option<IpAddr>, out: &mut Vec<Cmd>) {
        let window = WindowId(told.timewindow.number);
        let key = match attacker {
            Some(attacker) => self.keys().evidence(attacker, window),
            None => self.keys().evidence_of_none(window),
        };
        let text = self.sealed(EVIDENCE, &key, &told.id, json(told));
        self.keep(&key, [hset(&key, &told.id, &text)], out);
        if let Some(attacker) = attacker {
            self.put_window(attacker, window, None, out);
        }
    }

    /// That there is something against an address in a window, and an alert of it.
    fn put_window(
        &self,
        attacker: IpAddr,
        window: WindowId,
        alert: Option<(&str, PacketTime)>,
        out: &mut Vec<Cmd>,
    ) {
        let width = self.settings.width;
        let (all, one) = (self.keys().windows(attacker), self.keys().window(attacker, window));
        let start = width.start_of(window);
        // Whoever attacks for months keeps the set alive, but not all windows in it.
        let over = rem_before(&all, seconds(start) - self.settings.ttl as f64);
        self.keep(&all, [zadd(&all, seconds(start), &timewindow(window)), over], out);
        let mut hset = cmd("HSET");
        hset.arg(&one).arg("start_time").arg(iso(start)).arg("end_time").arg(iso(width.end_of(window)));
        if let Some((id, at)) = alert {
            hset.arg(format!("alert_{id}")).arg(iso(at));
        }
        self.keep(&one, [hset], out);
    }

    /// An alert, wherever it is known from.
    pub(super) fn put_alert(&self, told: &AlertTold, at: PacketTime, out: &mut Vec<Cmd>) {
        let (alerts, alert) = (self.keys().alerts(), self.keys().alert_named(&told.id));
        let text = self.sealed(ALERT, &alert, "", json(told));
        self.put(alert, &text, out);
        self.keep(&alerts, [zadd(&alerts, seconds(at), &told.id)], out);
        if let Ok(attacker) = told.profile.ip.parse() {
            self.put_window(attacker, WindowId(told.timewindow.number), Some((&told.id, at)), out);
        }
    }

    /// Whether there is room for it.
    fn keep_sum(&mut self, attacker: IpAddr, window: WindowId, sum: f64) -> bool {
        if self.sums.len() >= MOST_SUMS && !self.sums.contains_key(&(attacker, window)) {
            return false;
        }
        self.sums.insert((attacker, window), sum);
        true
    }

    fn put_sum(&mut self, attacker: IpAddr, window: WindowId, sum: f64, out: &mut Vec<Cmd>) {
        if self.keep_sum(attacker, window, sum) {
            let key = self.keys().accumulated();
            self.keep(&key, [zadd(&key, sum, &profile_window(attacker, window))], out);
        }
    }

    fn closed(&mut self, window: WindowId, at: PacketTime, out: &mut Vec<Cmd>) {
        let key = self.keys().accumulated();
        let over: Vec<String> = self
            .sums
            .extract_if(|(_, of), _| *of == window)
            .map(|((attacker, _), _)| profile_window(attacker, window))
            .collect();
        for some in over.chunks(TOGETHER) {
            let mut zrem = cmd("ZREM");
            zrem.arg(&key).arg(some);
            out.push(zrem);
        }
        let told = format!(
            "{{\"version\":{VERSION},\"router\":\"{}\",\"twid\":\"{}\",\"start_time\":\"{}\",\"end_time\":\"{}\",\"at\":\"{}\"}}",
            self.router(),
            timewindow(window),
            iso(self.settings.width.start_of(window)),
            iso(self.settings.width.end_of(window)),
            iso(at),
        );
        out.push(publish(Channel::WindowClosed, &told));
    }

    fn new_profile(&mut self, addr: IpAddr, at: PacketTime, out: &mut Vec<Cmd>) {
        if !self.may_tell(Channel::Profile) {
            return;
        }
        let told = format!(
            "{{\"version\":{VERSION},\"router\":\"{}\",\"profileid\":\"{}\",\"ip\":\"{addr}\",\"at\":\"{}\"}}",
            self.router(),
            profile(addr),
            iso(at),
        );
        out.push(publish(Channel::Profile, &told));
    }

    fn event(&mut self, event: &Event, out: &mut Vec<Cmd>) {
        let Some(channel) = message::channel_of(event) else { return };
        // Before anything is made of it.
        if !self.listened.contains(&channel) || message::goes_on(event) || !self.may_tell(channel) {
            return;
        }
        if let Some((channel, told)) =
            message::traffic(event, &self.settings.local, self.router(), self.settings.width)
        {
            out.push(publish(channel, &told));
        }
    }

    /// Whether one more message about traffic may be made, for somebody who listens.
    fn may_tell(&mut self, channel: Channel) -> bool {
        if !self.listened.contains(&channel) {
            return false;
        }
        if self.traffic == 0 {
            self.untold += 1;
            return false;
        }
        self.traffic -= 1;
        true
    }

    /// A second has passed: what is told each second. `figures` go into the statistics beside those of the engine; `alive` is what is told of
    /// the router, JSON without its braces. Times are wall time, in microseconds.
    pub fn beat(&mut self, now: i64, alive: &str, figures: &[(&str, u64)], out: &mut Vec<Cmd>) {
        self.traffic = MOST_TRAFFIC;
        let router = self.router().to_string();
        let comma = if alive.is_empty() { "" } else { "," };
        let told = format!(
            "{{\"version\":{VERSION},\"router\":\"{router}\",\"at\":\"{}\"{comma}{alive}}}",
            iso(PacketTime(now))
        );
        out.push(set(&self.keys().alive(), &told, ALIVE));
        let routers = self.keys().routers();
        self.keep(&routers, [zadd(&routers, seconds(PacketTime(now)), &router)], out);
        let statistics = self.keys().statistics();
        let mut hset = cmd("HSET");
        hset.arg(&statistics);
        let stats = &self.stats;
        for (name, figure) in [
            ("events", stats.events),
            ("flows", stats.flows),
            ("profiles", stats.profiles),
            ("profile_windows", stats.profile_windows),
            ("evidence", self.evidence),
            ("evidence_whitelisted", stats.evidence_whitelisted),
            ("alerts", self.alerts),
        ]
        .iter()
        .filter(|(name, _)| !figures.iter().any(|(other, _)| other == name))
        .chain(figures)
        {
            hset.arg(name).arg(*figure);
        }
        self.keep(&statistics, [hset], out);
    }

    /// Each minute: what in the long sorted sets was not heard of for longer than keys live is taken out, and what only stands still lives on.
    pub fn sweep(&self, now: i64, out: &mut Vec<Cmd>) {
        let before = seconds(PacketTime(now)) - self.settings.ttl as f64;
        for key in [self.keys().profiles(), self.keys().alerts(), self.keys().routers()] {
            out.push(rem_before(&key, before));
        }
        for key in [
            self.keys().analysis(),
            self.keys().accumulated(),
            self.keys().blocked(),
            self.keys().number_of_evidence(),
            self.keys().number_of_alerts(),
        ] {
            self.expire(&key, out);
        }
    }

    /// What is analysed.
    pub fn analysis(&self, facts: &[(&str, String)], out: &mut Vec<Cmd>) {
        let key = self.keys().analysis();
        let mut hset = cmd("HSET");
        hset.arg(&key).arg("version").arg(VERSION).arg("name").arg(self.router().as_str());
        for (name, fact) in facts {
            hset.arg(name).arg(fact);
        }
        self.keep(&key, [hset], out);
    }

    /// Profiles as the database has them.
    pub fn profiles(&self, profiles: &[(PacketTime, IpAddr, Facts)], out: &mut Vec<Cmd>) {
        let all = self.keys().profiles();
        for (last, addr, facts) in profiles {
            let key = self.keys().profile(*addr);
            let mut hset = cmd("HSET");
            hset.arg(&key);
            for (name, fact) in fields(facts) {
                hset.arg(name).arg(fact);
            }
            // What is not known any more is not left behind.
            self.keep(&key, [del(&key), hset], out);
            self.keep(&all, [zadd(&all, seconds(*last), &addr.to_string())], out);
        }
    }

    /// From now on until the end of the [`Replay`](super::Replay) that follows it is remembered what changes.
    pub fn remember(&mut self) {
        self.touched = Some(HashSet::new());
    }

    /// What is known here alone is sent anew.
    pub fn renew(&self, out: &mut Vec<Cmd>) {
        let key = self.keys().accumulated();
        out.push(del(&key));
        let mut sums = self.sums.iter().peekable();
        while sums.peek().is_some() {
            let mut zadd = cmd("ZADD");
            zadd.arg(&key);
            for ((attacker, window), sum) in sums.by_ref().take(TOGETHER) {
                zadd.arg(*sum).arg(profile_window(*attacker, *window));
            }
            self.keep(&key, [zadd], out);
        }
        self.put(self.keys().number_of_evidence(), &self.evidence.to_string(), out);
        self.put(self.keys().number_of_alerts(), &self.alerts.to_string(), out);
    }

    /// Whether this evidence changed since the replay began.
    pub(super) fn is_touched(&self, id: &str) -> bool {
        self.touched.as_ref().is_some_and(|touched| touched.contains(id))
    }

    /// A replay is over.
    pub(super) fn renewed(&mut self) {
        self.touched = None;
    }

    fn touch(&mut self, id: String) {
        if let Some(touched) = &mut self.touched
            && touched.len() < MOST_TOUCHED
        {
            touched.insert(id);
        }
    }

    fn put(&self, key: String, text: &str, out: &mut Vec<Cmd>) {
        out.push(set(&key, text, self.settings.ttl));
    }

    /// Changes a key and says how long it lives, both or neither.
    fn keep<const N: usize>(&self, key: &str, changes: [Cmd; N], out: &mut Vec<Cmd>) {
        out.push(cmd("MULTI"));
        out.extend(changes);
        self.expire(key, out);
        out.push(cmd("EXEC"));
    }

    fn expire(&self, key: &str, out: &mut Vec<Cmd>) {
        let mut expire = cmd("EXPIRE");
        expire.arg(key).arg(self.settings.ttl);
        out.push(expire);
    }
}

/// So many seconds after its last word a router is not there any more.
pub const ALIVE: u64 = 4;

/// What is known of an address, a field for each that is known; lists are JSON.
pub(super) fn fields(facts: &Facts) -> Vec<(String, String)> {
    let Ok(serde_json::Value::Object(all)) = serde_json::to_value(facts) else { return Vec::new() };
    let known = |value: &serde_json::Value| match value {
        serde_json::Value::Null => false,
        serde_json::Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    all.into_iter().filter(|(_, value)| known(value)).map(|(name, value)| (name, text(value))).collect()
}

/// As Redis' sorted sets take it.
fn seconds(at: PacketTime) -> f64 {
    at.0 as f64 / 1e6
}

fn publish(channel: Channel, text: &str) -> Cmd {
    let mut publish = cmd("PUBLISH");
    publish.arg(channel.name()).arg(text);
    publish
}

fn set(key: &str, text: &str, seconds: u64) -> Cmd {
    let mut set = cmd("SET");
    set.arg(key).arg(text).arg("EX").arg(seconds);
    set
}

fn hset(key: &str, field: &str, text: &str) -> Cmd {
    let mut hset = cmd("HSET");
    hset.arg(key).arg(field).arg(text);
    hset
}

fn zadd(key: &str, score: f64, member: &str) -> Cmd {
    let mut zadd = cmd("ZADD");
    zadd.arg(key).arg(score).arg(member);
    zadd
}

fn del(key: &str) -> Cmd {
    let mut del = cmd("DEL");
    del.arg(key);
    del
}

/// Takes out of a sorted set what is older.
fn rem_before(key: &str, seconds: f64) -> Cmd {
    let mut rem = cmd("ZREMRANGEBYSCORE");
    rem.arg(key).arg("-inf").arg(format!("({seconds}"));
    rem
}

#[cfg(test)]
mod tests;
