//! A row becomes a flow.

use std::sync::Arc;

use slips_core::event::Event;
use slips_core::flow::{ConnState, Endpoint, Flow, Label, Origin, Phase, Proto};

use super::columns::slot;
use crate::flowlog::state::{self, Flags};
use crate::flowlog::volume::{Counted, volume};
use crate::flowlog::{transport, uid};
use crate::report::{Reason, Reject};
use crate::zeek::logs::Labels;
use crate::zeek::row::Row;
use crate::zeek::value;

/// The flow of a row; `None` for records that are no flows between IP addresses.
pub(super) fn flow(row: &Row<'_>, number: u64, labels: &mut Labels) -> Result<Option<Event>, Reject> {
    let word = |name: &str| {
        Some(if matches!(name, "man" | "llc" | "arp" | "rarp") {
            None
        } else {
            Some(transport::by_name(name))
        })
    };
    let proto = row.word(slot::PROTO, word).unwrap_or(Some(Proto::Other(255)));
    let Some(proto) = proto.filter(|_| !is_link_layer(row)) else { return Ok(None) };
    let start = row.time(slot::START)?;
    let (src, dst) = ends(row, proto)?;
    let mut flow = Flow::new(start, proto, src, dst);
    flow.uid = uid::of(b'A', start, number);
    flow.phase = Phase::End;
    flow.origin = Origin::Argus;
    flow.src_mac = row.mac(slot::SRC_MAC)?;
    flow.dst_mac = row.mac(slot::DST_MAC)?;
    flow.vlan = row.word(slot::VLAN, |id| id.parse().ok());
    let flags = row.word(slot::STATE, flags);
    volumes(row, &mut flow, flags)?;
    let lasted = row.span(slot::DUR)?.or(row.parse(slot::LAST, value::time)?.map(|last| last.since(start)));
    flow.duration = lasted.filter(|_| flow.orig.pkts.saturating_add(flow.resp.pkts) > 1);
    flow.seen = start + flow.duration.unwrap_or_default();
    flow.truth = truth(row, labels);
    // The destination's packets came first.
    let turned = row.word(slot::DIR, |dir| (dir.contains('<') && !dir.contains('>')).then_some(())).is_some();
    if turned && proto != Proto::Icmp {
        std::mem::swap(&mut flow.src, &mut flow.dst);
        std::mem::swap(&mut flow.src_mac, &mut flow.dst_mac);
        std::mem::swap(&mut flow.orig, &mut flow.resp);
    }
    (flow.orig_new, flow.resp_new) = (flow.orig, flow.resp);
    let flags = flags.map(|(src, dst)| if turned { (dst, src) } else { (src, dst) });
    settle(row, &mut flow, flags);
    Ok(Some(Event::Flow(flow)))
}

/// Addresses of the link layer stand where those of IP should.
fn is_link_layer(row: &Row<'_>) -> bool {
    let mac = |slot| row.mac(slot).is_ok_and(|mac| mac.is_some());
    mac(slot::SRC_ADDR) && mac(slot::DST_ADDR)
}

fn ends(row: &Row<'_>, proto: Proto) -> Result<(Endpoint, Endpoint), Reject> {
    let addr = |slot| row.addr(slot)?.ok_or(Reject::missing(row.name(slot)));
    let port = |slot| {
        let text = row.bytes(slot);
        if text.is_empty() {
            return Ok(0);
        }
        number(&text).ok_or(Reject { reason: Reason::BadValue, field: row.name(slot) })
    };
    let mut src = Endpoint { addr: addr(slot::SRC_ADDR)?, port: port(slot::SRC_PORT)? };
    let mut dst = Endpoint { addr: addr(slot::DST_ADDR)?, port: port(slot::DST_PORT)? };
    if proto == Proto::Icmp {
        // In hexadecimal the type is the low byte and the code the high one; in decimal the code is the other port.
        let hex = row.bytes(slot::SRC_PORT).starts_with(b"0x");
        let (kind, code) = if hex { (src.port & 0xff, src.port >> 8) } else { (src.port, dst.port) };
        src.port = kind;
        dst.port = transport::icmp_counterpart(kind, code);
    }
    Ok((src, dst))
}

/// A port in decimal or, with 0x, in hexadecimal.
fn number(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Sets both sides' counters. Lists have the totals and those of one side, or those of both.
fn volumes(row: &Row<'_>, flow: &mut Flow, flags: Option<(Flags, Flags)>) -> Result<(), Reject> {
    let sides = |total: usize, src: usize, dst: usize| {
        let total = row.count(total)?;
        let known = (row.count(src)?, row.count(dst)?);
        let rest = |part: u64| total.map_or(0, |total| total.saturating_sub(part));
        Ok(match known {
            (Some(src), Some(dst)) => (src, dst),
            (Some(src), None) => (src, rest(src)),
            (None, Some(dst)) => (rest(dst), dst),
            (None, None) => (total.unwrap_or(0), 0),
        })
    };
    let (src_pkts, dst_pkts) = sides(slot::TOT_PKTS, slot::SRC_PKTS, slot::DST_PKTS)?;
    let (src_bytes, dst_bytes) = sides(slot::TOT_BYTES, slot::SRC_BYTES, slot::DST_BYTES)?;
    let of = |flags: Option<Flags>, from, pkts, bytes| {
        volume(Counted::Frame, flow.proto, from, pkts, bytes, flags)
    };
    let orig = of(flags.map(|flags| flags.0), flow.src, src_pkts, src_bytes);
    let resp = of(flags.map(|flags| flags.1), flow.dst, dst_pkts, dst_bytes);
    (flow.orig, flow.resp) = (orig, resp);
    Ok(())
}

/// The flags of both sides in a state like `FSPA_SPA`.
fn flags(state: &str) -> Option<(Flags, Flags)> {
    let (src, dst) = state.split_once('_')?;
    Some((Flags::from_letters(src.as_bytes()), Flags::from_letters(dst.as_bytes())))
}

fn settle(row: &Row<'_>, flow: &mut Flow, flags: Option<(Flags, Flags)>) {
    state::settle(flow, flags);
    if flags.is_some() {
        return;
    }
    if let Some(state) = row.word(slot::STATE, ConnState::from_name) {
        // Some published lists have Zeek's state in this column.
        flow.state = state;
    } else if flow.proto == Proto::Tcp {
        flow.state = row.word(slot::STATE, |word| Some(tcp_word(word, flow))).unwrap_or(ConnState::Oth);
    }
}

/// Argus' words for TCP. What ended within three packets was no connection.
fn tcp_word(word: &str, flow: &Flow) -> ConnState {
    let answered = flow.resp.pkts > 0;
    let short = flow.orig.pkts.saturating_add(flow.resp.pkts) <= 3;
    match (word, answered, short) {
        ("REQ" | "INT", false, _) => ConnState::S0,
        ("RST", true, true) => ConnState::Rej,
        ("RST", true, false) => ConnState::Rstr,
        ("RST", false, _) => ConnState::Rstos0,
        ("FIN" | "CLO", true, false) => ConnState::SF,
        ("FIN" | "CLO", false, _) => ConnState::Sh,
        ("ACC" | "EST" | "CON", true, _) => ConnState::S1,
        _ => ConnState::Oth,
    }
}

/// Ground truth. A list with one column of labels has texts such as `flow=From-Botnet-V42-TCP`: its class is told by the words
/// in it and the text is kept as the detail.
fn truth(row: &Row<'_>, labels: &mut Labels) -> Option<Arc<Label>> {
    let (label, detailed) = (row.bytes(slot::LABEL), row.bytes(slot::DETAILED));
    if label.is_empty() || !detailed.is_empty() {
        return labels.of(&label, &detailed);
    }
    let text = label.strip_prefix(b"flow=").unwrap_or(&label);
    let has =
        |word: &str| text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()));
    let class = if has("botnet") || has("malware") || has("malicious") || has("attack") {
        "Malicious"
    } else if has("background") {
        "Background"
    } else if has("normal") || has("benign") {
        "Benign"
    } else {
        "Unknown"
    };
    labels.of(class.as_bytes(), text)
}
