//! `slips explain ALERT`: the story of an alert for a person. Reads the database alone, so it works while the daemon runs and
//! when it does not.

use std::fmt::Write as _;

use serde_json::json;
use slips_core::evidence::EvidenceKind;
use slips_core::spec::Spec;
use slips_detect::describe;
use slips_store::read::{Page, ReadError, StoredBlock, StoredFlow};
use slips_store::render::escape;
use slips_store::{Stories, Story, ToldEvidence};

use super::kept::end;
use super::{Exit, Explain, Failure, place, print_object, print_out};

/// Flows of one evidence that are shown to people; `--json` has all.
const SHOWN_FLOWS: usize = 8;

pub(super) fn run(asked: &Explain) -> Result<(), Failure> {
    let stories = asked.place.open()?;
    let one = place::alert(&stories, &asked.alert)?;
    let Some(story) = whole(&stories, &one)? else {
        return Err(Failure::new(Exit::Data, format!("alert {one} is gone")));
    };
    if asked.place.json { print_object(&as_json(&story)?) } else { print_out(&as_text(&story)) }
}

/// The story with all pages of its evidence.
fn whole(stories: &Stories, alert: &str) -> Result<Option<Story>, ReadError> {
    let page = |after: Option<&str>| stories.tell(alert, Page { limit: Page::MOST, after });
    let Some(mut story) = page(None)? else { return Ok(None) };
    while let Some(next) = story.next.take() {
        // Retention may take it meanwhile: what was read of it is told.
        let Some(more) = page(Some(&next))? else { break };
        story.evidence.extend(more.evidence);
        story.next = more.next;
    }
    Ok(Some(story))
}

/// The detections that raise evidence of this name.
fn detections(kind: &str) -> Vec<&'static Spec> {
    EvidenceKind::from_name(kind).map(|kind| describe::raised_by(kind).collect()).unwrap_or_default()
}

fn as_json(story: &Story) -> Result<serde_json::Value, Failure> {
    let mut told = serde_json::to_value(story).map_err(Failure::software)?;
    for (place, evidence) in told["evidence"].as_array_mut().into_iter().flatten().zip(&story.evidence) {
        place["detections"] = detections(&evidence.evidence.kind)
            .iter()
            .map(|spec| json!({ "name": spec.name, "attack": spec.header.attack }))
            .collect();
    }
    told["why"] = why(story).into();
    Ok(told)
}

fn as_text(story: &Story) -> String {
    let alert = &story.alert;
    let mut text = format!("alert {}\n", alert.id);
    let side = if alert.attacker_is_local { "one of our own hosts" } else { "an outside host" };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  attacker  {} ({side})", alert.attacker);
    let _ = writeln!(
        text,
        "  when      {}, in the window {} from {} to {}",
        alert.at, alert.window, alert.window_start, alert.window_end
    );
    let _ = writeln!(text, "  why       {}", why(story));
    let mut sum = 0.0;
    for (n, evidence) in story.evidence.iter().enumerate() {
        sum += evidence.evidence.weight;
        tell(&mut text, n + 1, evidence, sum, alert.attacker == evidence.evidence.profile);
    }
    text.push_str("\nwhat was done\n");
    let by_this = |block: &StoredBlock| block.alert.as_deref() == Some(&*alert.id);
    if !story.blocks.iter().any(by_this) {
        text.push_str(
            "  nothing was blocked because of this alert: it is from an analysis or from watching only, the attacker was\n  \
             blocked already, or is one that is never blocked (slips firewall explain tells)\n",
        );
    }
    for block in &story.blocks {
        text.push_str(&done(block, by_this(block)));
    }
    text
}

/// Why there is an alert, and why about this attacker.
fn why(story: &Story) -> String {
    let alert = &story.alert;
    let mut why = match (alert.cause.as_str(), story.evidence.last().map(|told| &told.evidence)) {
        ("critical", Some(last)) => {
            format!("one critical evidence of confidence {:.2} is enough: {}", last.confidence, last.kind)
        }
        _ => format!(
            "{} evidence of this window weigh {:.2} together, which is enough",
            story.evidence.len(),
            alert.accumulated
        ),
    };
    why.push_str(if alert.proven {
        "; its address is proven: it completed a handshake, or its frames come from the hardware address that owns the address"
    } else {
        "; its address is not proven: the packets alone could be forged, so a block is short"
    });
    if alert.in_conversation {
        why.push_str("; a host of ours lately talked with it of its own accord");
    }
    why
}

fn tell(text: &mut String, n: usize, told: &ToldEvidence, sum: f64, own: bool) {
    let evidence = &told.evidence;
    let _ = writeln!(text, "\n{n}. {} — {}", evidence.kind, escape(&evidence.description));
    let again =
        if evidence.count > 1 { format!(", counted {} times", evidence.count) } else { String::new() };
    let _ = writeln!(
        text,
        "   level {}, confidence {:.2}{again}: weight {:.2}, {sum:.2} so far",
        evidence.level, evidence.confidence, evidence.weight
    );
    let until =
        if evidence.last_seen == evidence.at { String::new() } else { format!(" to {}", evidence.last_seen) };
    let victim =
        evidence.victim.as_deref().map(|victim| format!(", against {}", escape(victim))).unwrap_or_default();
    let noticed = if own { String::new() } else { format!(", noticed at {}", evidence.profile) };
    let _ = writeln!(text, "   {}{until}{victim}{noticed}", evidence.at);
    let _ = writeln!(
        text,
        "   the sender is {}",
        if evidence.proven { "proven" } else { "not proven: such packets can be sent in anybody's name" }
    );
    for spec in detections(&evidence.kind) {
        let _ = writeln!(text, "   found by {}: {}", spec.name, spec.header.attack);
    }
    for flow in told.flows.iter().take(SHOWN_FLOWS) {
        let _ = writeln!(text, "     {}", line(flow));
    }
    let shown = told.flows.len().min(SHOWN_FLOWS);
    if told.flows_named > shown {
        let _ = writeln!(text, "     … {} flows in all", told.flows_named);
    }
}

fn line(flow: &StoredFlow) -> String {
    let service = if flow.service.is_empty() { String::new() } else { format!(" {}", escape(&flow.service)) };
    let lasted = flow.duration.map(|secs| format!(", {secs:.3} s")).unwrap_or_default();
    format!(
        "{} {} {} → {}{service} {}: {} bytes there, {} back{lasted}  {}",
        flow.start,
        flow.proto,
        end(&flow.src, flow.src_port),
        end(&flow.dst, flow.dst_port),
        flow.state,
        flow.orig_bytes,
        flow.resp_bytes,
        escape(&flow.uid)
    )
}

fn done(block: &StoredBlock, by_this_alert: bool) -> String {
    let until = block.until.as_deref().unwrap_or("it is lifted");
    let how = match (block.state.as_str(), block.applied) {
        ("lifted", _) => ", lifted before its time",
        (_, true) => "",
        (_, false) => ", but the kernel did not take it",
    };
    let by = if by_this_alert { String::new() } else { format!(" (asked for by {})", escape(&block.source)) };
    format!(
        "  {} blocked from {} until {until}, {}{how}{by}: {}\n",
        block.net,
        block.from,
        escape(&block.manner),
        escape(&block.reason)
    )
}
