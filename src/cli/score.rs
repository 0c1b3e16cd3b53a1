//! `slips analyze --score`: what was alerted on against the labels that came with the input.
//!
//! A flow counts as alerted on when one of its ends is the attacker of an alert in the window in which the flow begins. A host is
//! malicious when a malicious flow begins with it; whom such hosts talk to is told apart, because labels do not say whether he
//! is a victim or a server that commands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::Serialize;
use slips_core::event::Event;
use slips_core::flow::{Flow, Phase};
use slips_core::record::Record;
use slips_core::time::PacketTime;
use slips_store::render::iso;

/// Labelled flows that are kept to be compared; further ones are counted and left out.
const MAX_FLOWS: usize = 5_000_000;
/// Hosts that the table for people shows of each kind; `--json` has all.
const SHOWN_HOSTS: usize = 20;

/// Gathers labels and alerts while an input is read.
#[derive(Debug, Default)]
pub struct Scorer {
    flows: Vec<Labelled>,
    alerts: Vec<Alerted>,
    unlabelled: u64,
    left_out: u64,
}

#[derive(Debug)]
struct Labelled {
    src: IpAddr,
    dst: IpAddr,
    start: PacketTime,
    malicious: bool,
}

#[derive(Debug)]
struct Alerted {
    attacker: IpAddr,
    at: PacketTime,
    window: [PacketTime; 2],
}

/// How the alerts stand to the labels.
#[derive(Debug, Serialize)]
pub struct Score {
    /// Flows with a label that says malicious or benign.
    pub labelled_flows: u64,
    /// Flows without one, or with one that says neither.
    pub unlabelled_flows: u64,
    /// Labelled flows beyond what is compared.
    pub left_out_flows: u64,
    pub flows: Table,
    pub hosts: Table,
    pub malicious_hosts: Vec<MaliciousHost>,
    /// Alerted on although all that is labelled of them is benign.
    pub false_alarms: Vec<IpAddr>,
    /// Alerted on, and only ever at the other end of malicious flows.
    pub alerted_peers: Vec<IpAddr>,
}

/// Right and wrong, counted.
#[derive(Debug, Default, Serialize)]
pub struct Table {
    pub malicious_alerted: u64,
    pub malicious_missed: u64,
    pub benign_alerted: u64,
    pub benign_quiet: u64,
    /// Share of what was alerted on that is malicious; absent when nothing was.
    pub precision: Option<f64>,
    /// Share of what is malicious that was alerted on; absent when nothing is.
    pub recall: Option<f64>,
}

/// A host with which malicious flows begin.
#[derive(Debug, Serialize)]
pub struct MaliciousHost {
    pub ip: IpAddr,
    pub malicious_flows: u64,
    pub first_flow: String,
    /// Of the host itself, or of the other end of one of its malicious flows.
    pub first_alert: Option<String>,
    /// From the first malicious flow's beginning to the first alert, in packet time.
    pub seconds_to_alert: Option<f64>,
}

impl Table {
    fn count(&mut self, malicious: bool, alerted: bool) {
        let place = match (malicious, alerted) {
            (true, true) => &mut self.malicious_alerted,
            (true, false) => &mut self.malicious_missed,
            (false, true) => &mut self.benign_alerted,
            (false, false) => &mut self.benign_quiet,
        };
        *place += 1;
    }

    fn finish(mut self) -> Self {
        let share = |part: u64, other: u64| (part + other > 0).then(|| part as f64 / (part + other) as f64);
        self.precision = share(self.malicious_alerted, self.benign_alerted);
        self.recall = share(self.malicious_alerted, self.malicious_missed);
        self
    }
}

/// What a label says; `None` where it says neither.
fn is_malicious(flow: &Flow) -> Option<bool> {
    let truth = flow.truth.as_deref()?;
    match truth.label.to_ascii_lowercase().as_str() {
        "malicious" | "malware" | "botnet" | "attack" => Some(true),
        "benign" | "normal" => Some(false),
        _ => None,
    }
}

impl Scorer {
    /// Takes in what records tell.
    pub fn add(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Events(events) => events.iter().for_each(|event| self.on_event(event)),
                Record::Alert(alert) => self.alerts.push(Alerted {
                    attacker: alert.attacker,
                    at: alert.at,
                    window: [alert.window_start, alert.window_end],
                }),
                _ => {}
            }
        }
    }

    fn on_event(&mut self, event: &Event) {
        let Event::Flow(flow) = event else { return };
        if flow.phase != Phase::End {
            return;
        }
        match is_malicious(flow) {
            None => self.unlabelled += 1,
            Some(_) if self.flows.len() >= MAX_FLOWS => self.left_out += 1,
            Some(malicious) => self.flows.push(Labelled {
                src: flow.src.addr,
                dst: flow.dst.addr,
                start: flow.start,
                malicious,
            }),
        }
    }

    /// Compares.
    pub fn finish(self) -> Score {
        let mut windows: BTreeMap<IpAddr, Vec<[PacketTime; 2]>> = BTreeMap::new();
        for alert in &self.alerts {
            windows.entry(alert.attacker).or_default().push(alert.window);
        }
        let alerted_at = |host: IpAddr, at: PacketTime| {
            windows.get(&host).is_some_and(|all| all.iter().any(|[from, to]| (*from..*to).contains(&at)))
        };
        let mut flows = Table::default();
        let mut seen = BTreeSet::new();
        let mut peers: BTreeMap<IpAddr, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut first: BTreeMap<IpAddr, (PacketTime, u64)> = BTreeMap::new();
        for flow in &self.flows {
            let alerted = alerted_at(flow.src, flow.start) || alerted_at(flow.dst, flow.start);
            flows.count(flow.malicious, alerted);
            seen.extend([flow.src, flow.dst]);
            if flow.malicious {
                peers.entry(flow.src).or_default().insert(flow.dst);
                let (start, n) = first.entry(flow.src).or_insert((flow.start, 0));
                (*start, *n) = (flow.start.min(*start), *n + 1);
            }
        }
        let of_malicious: BTreeSet<_> = peers.values().flatten().copied().collect();
        let mut hosts = Table::default();
        let (mut false_alarms, mut alerted_peers) = (Vec::new(), Vec::new());
        for host in seen {
            let alerted = windows.contains_key(&host);
            let malicious = first.contains_key(&host);
            if !malicious && of_malicious.contains(&host) {
                alerted_peers.extend(alerted.then_some(host));
                continue;
            }
            hosts.count(malicious, alerted);
            false_alarms.extend((alerted && !malicious).then_some(host));
        }
        let malicious_hosts = first.into_iter().map(|(ip, (start, malicious_flows))| {
            let others = peers.get(&ip);
            let about = |alert: &&Alerted| {
                alert.attacker == ip || others.is_some_and(|others| others.contains(&alert.attacker))
            };
            let alert = self.alerts.iter().filter(about).map(|alert| alert.at).min();
            MaliciousHost {
                ip,
                malicious_flows,
                first_flow: iso(start),
                first_alert: alert.map(iso),
                seconds_to_alert: alert.map(|at| at.since(start).as_secs_f64()),
            }
        });
        Score {
            labelled_flows: self.flows.len() as u64,
            unlabelled_flows: self.unlabelled,
            left_out_flows: self.left_out,
            malicious_hosts: malicious_hosts.collect(),
            flows: flows.finish(),
            hosts: hosts.finish(),
            false_alarms,
            alerted_peers,
        }
    }
}

impl Score {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::from("score against the labels of the input:\n");
        if self.labelled_flows == 0 {
            text.push_str("  no flow has a label that says malicious or benign\n");
            return text;
        }
        let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{share:.3}"));
        text.push_str("           malicious           benign\n");
        text.push_str("           alerted    missed   alerted     quiet  precision  recall\n");
        for (name, table) in [("flows", &self.flows), ("hosts", &self.hosts)] {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "  {name:<6} {:>9} {:>9} {:>9} {:>9} {:>10} {:>7}",
                table.malicious_alerted,
                table.malicious_missed,
                table.benign_alerted,
                table.benign_quiet,
                share(table.precision),
                share(table.recall)
            );
        }
        let _ = writeln!(
            text,
            "  not scored: {} flows without such a label, {} beyond {MAX_FLOWS}",
            self.unlabelled_flows, self.left_out_flows
        );
        for host in self.malicious_hosts.iter().take(SHOWN_HOSTS) {
            let alert = match (&host.first_alert, host.seconds_to_alert) {
                (Some(at), Some(secs)) => format!("first alert {at}, after {secs:.1} s"),
                _ => "no alert".to_owned(),
            };
            let _ = writeln!(
                text,
                "  {} began {} malicious flows, the first {}: {alert}",
                host.ip, host.malicious_flows, host.first_flow
            );
        }
        for (what, hosts) in [
            ("alerted on at the other end of malicious flows", &self.alerted_peers),
            ("alerted on, and benign by the labels", &self.false_alarms),
        ] {
            let shown: Vec<_> = hosts.iter().take(SHOWN_HOSTS).map(ToString::to_string).collect();
            if !shown.is_empty() {
                let _ = writeln!(text, "  {what} ({}): {}", hosts.len(), shown.join(", "));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn secs(secs: i64) -> PacketTime {
        PacketTime::from_secs_micros(secs, 0)
    }

    fn scorer(flows: &[(u8, u8, i64, bool)], alerts: &[(u8, i64)]) -> Score {
        let labelled = |(src, dst, start, malicious): &(u8, u8, i64, bool)| Labelled {
            src: ip(*src),
            dst: ip(*dst),
            start: secs(*start),
            malicious: *malicious,
        };
        let alerted = |(attacker, at): &(u8, i64)| {
            let from = at / 100 * 100;
            Alerted { attacker: ip(*attacker), at: secs(*at), window: [secs(from), secs(from + 100)] }
        };
        Scorer {
            flows: flows.iter().map(labelled).collect(),
            alerts: alerts.iter().map(alerted).collect(),
            unlabelled: 1,
            left_out: 0,
        }
        .finish()
    }

    #[test]
    fn flows_count_in_the_windows_of_the_alerts_and_hosts_once() {
        let score = scorer(
            &[(1, 9, 10, true), (1, 9, 150, true), (1, 8, 20, false), (2, 8, 20, false), (3, 8, 20, false)],
            &[(1, 30), (3, 40)],
        );
        let flows = &score.flows;
        assert_eq!(
            [flows.malicious_alerted, flows.malicious_missed, flows.benign_alerted, flows.benign_quiet],
            [1, 1, 2, 1]
        );
        let hosts = &score.hosts;
        assert_eq!(
            [hosts.malicious_alerted, hosts.malicious_missed, hosts.benign_alerted, hosts.benign_quiet],
            [1, 0, 1, 2]
        );
        assert_eq!((hosts.precision, hosts.recall), (Some(0.5), Some(1.0)));
        assert_eq!(score.false_alarms, [ip(3)]);
        assert_eq!(score.malicious_hosts[0].seconds_to_alert, Some(20.0));
    }

    #[test]
    fn an_alert_about_the_server_is_one_about_what_it_commands() {
        let score = scorer(&[(1, 9, 10, true)], &[(9, 70)]);
        assert_eq!((score.flows.malicious_alerted, score.alerted_peers.as_slice()), (1, &[ip(9)][..]));
        assert_eq!(score.malicious_hosts[0].seconds_to_alert, Some(60.0));
        assert!(score.false_alarms.is_empty());
    }

    #[test]
    fn without_labels_nothing_is_claimed() {
        let score = scorer(&[], &[(1, 5)]);
        assert_eq!((score.flows.precision, score.hosts.recall), (None, None));
        assert!(score.text().contains("no flow has a label"), "{}", score.text());
    }
}
