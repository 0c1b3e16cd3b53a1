//! The journal entries: what each event of the daemon says to the administrator.

use std::time::Duration;

use slips_core::addr::Net;
use slips_core::alert::{Alert, Cause};
use slips_core::evidence::Proof;
use slips_core::record::Stats;
use slips_core::time::{PacketTime, Span};
use slips_p2p::identity::NodeId;
use slips_p2p::message::Name;
use slips_store::render;
use slips_systemd::journal::{Entry, Field, Kind, Priority};

use super::overload::Step;
use super::overload::controller::Change;
use super::pulse::Losses;
use crate::config::Mode;
use crate::control::Squatter;

/// An attacker's evidence is enough.
pub fn alert(alert: &Alert) -> Entry {
    let kinds = kinds(alert);
    let confidence = format!("{:.2}", alert.confidence.get());
    Entry::new(
        Kind::Alert,
        format_args!("{} is an attacker (confidence {confidence}): {}", alert.attacker, kinds.join(", ")),
    )
    .with(Field::Time, render::iso(alert.at))
    .with(Field::SrcIp, alert.attacker)
    .with(Field::AlertId, alert.id)
    .with(Field::Window, alert.window)
    .with(Field::Confidence, confidence)
    .with(Field::Accumulated, format_args!("{:.3}", alert.accumulated))
    .with(
        Field::Cause,
        match alert.cause {
            Cause::Accumulated => "accumulated",
            Cause::Critical => "critical",
            Cause::Assisted => "assisted",
        },
    )
    .with(
        Field::Proof,
        match alert.proof {
            Proof::Proven => "proven",
            Proof::Unproven => "unproven",
        },
    )
    .with(Field::EvidenceCount, alert.evidence.len())
    .with(Field::EvidenceTypes, kinds.join(" "))
    .with_lines(Field::Evidence, alert.evidence.iter().map(|e| render::evidence_line(e)))
}

/// A network is dropped from now on (in monitor mode: would be).
pub fn block(net: Net, alert: &Alert, term: Duration, now: PacketTime, mode: Mode) -> Entry {
    let until = now + Span(i64::try_from(term.as_micros()).unwrap_or(i64::MAX));
    let does = if mode == Mode::Enforce { "blocked" } else { "would be blocked (monitor mode)" };
    Entry::new(Kind::Block, format_args!("{net} {does} until {}", render::iso(until)))
        .with(Field::Target, net)
        .with(Field::SrcIp, alert.attacker)
        .with(Field::AlertId, alert.id)
        .with(Field::Until, render::iso(until))
        .with(Field::Seconds, term.as_secs())
        .with(Field::Origin, "alert")
        .with(Field::Reason, kinds(alert).join(" "))
        .with(Field::Mode, mode_name(mode))
}

/// What the alert's evidence is of.
fn kinds(alert: &Alert) -> Vec<&'static str> {
    let mut kinds: Vec<_> = alert.evidence.iter().map(|e| e.finding.kind.name()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// A network is blocked on somebody's word: an administrator's (`hand`) or a peer's.
pub fn block_on_word(
    net: Net,
    source: &str,
    term: Duration,
    now: PacketTime,
    why: &str,
    mode: Mode,
) -> Entry {
    let until = now + Span(i64::try_from(term.as_micros()).unwrap_or(i64::MAX));
    let does = if mode == Mode::Enforce { "blocked" } else { "would be blocked (monitor mode)" };
    let (by, origin) = on_word_of(source);
    Entry::new(Kind::Block, format_args!("{net} {does} {by} until {}: {why}", render::iso(until)))
        .with(Field::Target, net)
        .with(Field::Until, render::iso(until))
        .with(Field::Seconds, term.as_secs())
        .with(Field::Origin, origin)
        .with(Field::Reason, why)
        .with(Field::Mode, mode_name(mode))
}

/// Somebody's word in a sentence, and what kind of somebody it is.
fn on_word_of(source: &str) -> (String, &str) {
    match source.split_once(' ') {
        None => (format!("by {source}"), source),
        Some((origin, name)) => (format!("on the word of {origin} {name}"), origin),
    }
}

/// A block ended.
pub fn unblock(net: Net, reason: &str) -> Entry {
    Entry::new(Kind::Unblock, format_args!("{net} is no longer blocked"))
        .with(Field::Target, net)
        .with(Field::Reason, reason)
}

/// An attacker is not blocked.
pub fn refusal(alert: &Alert, reason: &str) -> Entry {
    Entry::new(Kind::Refusal, format_args!("{} is not blocked: {reason}", alert.attacker))
        .with(Field::SrcIp, alert.attacker)
        .with(Field::Target, alert.attacker)
        .with(Field::AlertId, alert.id)
        .with(Field::Reason, reason)
        .with(Field::Origin, "alert")
}

/// A network is not blocked though somebody, an administrator (`hand`) or a peer, asked for it, because of what he says.
pub fn refusal_of_word(net: Net, source: &str, reason: &str, because: &str) -> Entry {
    let (by, origin) = on_word_of(source);
    let because = if because.is_empty() { String::new() } else { format!(" (asked for: {because})") };
    Entry::new(Kind::Refusal, format_args!("{net} is not blocked {by}: {reason}{because}"))
        .with(Field::Target, net)
        .with(Field::Reason, reason)
        .with(Field::Origin, origin)
}

/// From now on this daemon blocks nobody, since another one acts.
pub fn stands_by(lifted: usize) -> Entry {
    let text = match lifted {
        0 => "this daemon stands by: another one acts in its place".to_owned(),
        n => format!("this daemon stands by: another one acts in its place; {n} blocks are lifted here"),
    };
    Entry::new(Kind::Duty, text)
}

/// From now on this daemon acts.
pub fn takes_place(fence: u64, what: &str) -> Entry {
    Entry::new(Kind::Duty, format_args!("this daemon acts from now on, as number {fence}: {what}"))
}

/// Slips watches.
pub fn start(interfaces: &[String], mode: Mode, sandbox: &str) -> Entry {
    let watched = if interfaces.is_empty() { "no interface".to_owned() } else { interfaces.join(", ") };
    Entry::new(Kind::Start, format_args!("slips {} watches {watched}, mode {}", VERSION, mode_name(mode)))
        .with(Field::Version, VERSION)
        .with(Field::Interfaces, interfaces.join(" "))
        .with(Field::Mode, mode_name(mode))
        .with(Field::Sandbox, sandbox)
}

/// The service ended otherwise than it should.
pub fn failure(how: &str) -> Entry {
    Entry::new(Kind::Failure, format_args!("slips ended otherwise than it should: {how}"))
        .with(Field::Reason, how)
        .with(Field::Version, VERSION)
}

/// What memory there is, and what it is used for.
pub fn memory(what: &str) -> Entry {
    Entry::new(Kind::Start, what).with(Field::Component, "memory").with(Field::Version, VERSION)
}

/// Slips has stopped watching.
pub fn stop(stats: &Stats, reason: &str, losses: &Losses) -> Entry {
    let lost = if losses.total() > 0 { format!("; lost: {losses}") } else { String::new() };
    Entry::new(
        Kind::Stop,
        format_args!("slips stopped after {} flows and {} alerts{lost}", stats.flows, stats.alerts),
    )
    .with(Field::Dropped, losses.total())
    .with(Field::Version, VERSION)
    .with(Field::Reason, reason)
    .with(Field::Flows, stats.flows)
    .with(Field::Alerts, stats.alerts)
}

/// More was lost than was told last.
pub fn losses(losses: &Losses) -> Entry {
    let reason = format!("too much came in; since the start: {losses}");
    degraded("watching", &reason).with(Field::Dropped, losses.total())
}

/// Other things than before are left out.
pub fn overload(change: &Change, losses: &Losses) -> Entry {
    let Change { from, to, why } = change;
    let (number, last) = (*to as u8, Step::ShedRows as u8);
    let what = if to > from {
        format!("overload, step {number} of {last}: {why}; {} now", to.what())
    } else {
        format!("overload, back to step {number} of {last}: {why}; {} now", to.what())
    };
    let entry = Entry::new(Kind::Overload, what)
        .with(Field::Step, number)
        .with(Field::Reason, why)
        .with(Field::Dropped, losses.total());
    if *to == Step::None { entry.urgent(Priority::Notice) } else { entry }
}

/// A part does not work as it should.
pub fn degraded(component: &str, reason: &str) -> Entry {
    Entry::new(Kind::Degraded, format_args!("{component}: {reason}"))
        .with(Field::Component, component)
        .with(Field::Reason, reason)
}

/// Parts of the daemon stand still, or none does any more. The service manager waits for them so long.
pub fn standstill(parts: &[String], watchdog: Option<Duration>) -> Entry {
    if parts.is_empty() {
        return degraded("watchdog", "all parts move again");
    }
    let then = match watchdog {
        Some(limit) => format!(
            "unless that ends, the service manager kills this process, {} s after it was last told that all is well, and starts another",
            limit.as_secs_f32()
        ),
        None => "nobody watches over this process: start it as slips.service".into(),
    };
    let reason = format!("{} stands still; {then}", parts.join(", "));
    degraded("watchdog", &reason).urgent(Priority::Error)
}

/// Somebody else has the name under which the command line finds us.
pub fn squatted(by: &Squatter) -> Entry {
    let what = if by.is_stranger() { "it is none of ours" } else { "does another slips run here?" };
    let reason = format!(
        "the name slips-control is taken by {by}, so commands are not answered until it is free; {what}"
    );
    degraded("the command line", &reason)
}

/// Blocking was tried, and does not block.
pub fn not_blocking() -> Entry {
    let reason = "a packet to a blocked address was sent all the same: nobody is kept out; `nft list table inet slips` shows what is there";
    degraded("blocking", reason).urgent(Priority::Error)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Monitor => "monitor",
    }
}

/// A peer in an entry.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Its name, or its id.
    pub name: &'a str,
    /// Its id.
    pub id: NodeId,
}

fn of_peer(kind: Kind, peer: Named<'_>, message: std::fmt::Arguments<'_>) -> Entry {
    Entry::new(kind, message).with(Field::Peer, peer.name).with(Field::PeerId, peer.id)
}

/// A peer is connected, or no more.
pub fn peer_connected(peer: Named<'_>, is: bool) -> Entry {
    let (kind, what) = if is { (Kind::PeerConnected, "is connected") } else { (Kind::PeerGone, "is gone") };
    of_peer(kind, peer, format_args!("peer {} {what}", peer.name))
}

/// A router joined our network, or we joined that of another.
pub fn peer_joined(peer: Named<'_>, ours: bool) -> Entry {
    let what = if ours { "used an invite of ours" } else { "let us in" };
    of_peer(Kind::PeerJoined, peer, format_args!("peer {} {what}", peer.name))
}

/// A router did not let us in.
pub fn peer_refused(peer: Named<'_>) -> Entry {
    of_peer(
        Kind::PeerRefused,
        peer,
        format_args!("{} did not let us in: the invite is used, ended or withdrawn", peer.name),
    )
}

/// A peer is not believed any more.
pub fn peer_quarantined(peer: Named<'_>, reason: &str) -> Entry {
    of_peer(
        Kind::PeerQuarantined,
        peer,
        format_args!("peer {} is not believed any more: {reason}", peer.name),
    )
    .with(Field::Reason, reason)
}

/// The configuration was read again.
pub fn reloaded(what: &str) -> Entry {
    Entry::new(Kind::Reload, what).with(Field::Reason, what)
}

/// So many more blocks or ends of blocks on the word of one peer.
pub fn more_on_word(kind: Kind, source: &str, lines: u64) -> Entry {
    let what = match kind {
        Kind::Unblock => "ends of blocks",
        Kind::Refusal => "refused blocks",
        _ => "blocks",
    };
    Entry::new(kind, format_args!("{source}: {lines} more {what} on its word were not told one by one"))
        .with(Field::Dropped, lines)
}

/// A peer caused so many more lines of this kind.
pub fn peer_said_more(kind: Kind, peer: Named<'_>, lines: u64) -> Entry {
    of_peer(
        kind,
        peer,
        format_args!("peer {}: {lines} more of this kind were not told one by one", peer.name),
    )
    .with(Field::Dropped, lines)
}

/// A peer said something.
pub fn peer_report(peer: Named<'_>, about: &str, what: &str) -> Entry {
    of_peer(Kind::PeerReport, peer, format_args!("peer {} about {about}: {what}", peer.name))
        .with(Field::Target, about)
        .with(Field::Reason, what)
}

/// Peers would have had something blocked.
pub fn peer_advice(about: &str, reason: &str) -> Entry {
    Entry::new(Kind::PeerAdvice, format_args!("{about} would be blocked on the word of peers: {reason}"))
        .with(Field::Target, about)
        .with(Field::Reason, reason)
}

/// The process that talks with peers was started the first time.
pub fn peers_begin(name: &Name, sandbox: &str) -> Entry {
    let text = format!("{name} talks with peers; the process that does has {sandbox}");
    Entry::new(Kind::Start, &text).with(Field::Component, "peers").with(Field::Version, VERSION)
}
