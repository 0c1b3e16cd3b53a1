//! What is answered from what is known beforehand: lists, whitelist, detections.

use schemars::JsonSchema;
use serde::Serialize;
use slips_core::spec::{Threshold as Said, Usual};
use slips_core::time::PacketTime;
use slips_detect::describe;
use slips_store::render;

use super::Shared;
use super::call::{Call, Outcome, Reply};
use super::problem::Problem;
use crate::daemon::sinks::wall_clock;

/// What the lists say.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Lookup {
    /// What was looked for.
    pub what: String,
    /// Each entry about it.
    pub listed: Vec<Entry>,
}

/// An entry of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Entry {
    /// What it is an entry of: `address`, `domain`, …
    pub kind: String,
    /// How bad.
    pub level: String,
    /// In words.
    pub description: String,
    /// The lists that say so.
    pub sources: String,
    /// Their words for it.
    pub tags: String,
    /// False where a parent, or another query, is listed.
    pub exact: bool,
}

/// What the whitelist says.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Checked {
    /// Each rule about it.
    pub matches: Vec<Rule>,
    /// Lines that are left out, and why; or why the files could not be read last.
    pub problems: Vec<String>,
}

/// A rule of the whitelist.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Rule {
    /// Its line in the file; none where the list of known sites says so, or `slips allow`.
    pub line: Option<u64>,
    /// What it names: `ip`, `domain`, `organization`, `mac`, `known_sites`.
    #[serde(rename = "type")]
    pub of: String,
    /// Which one.
    pub value: Option<String>,
    /// Which side of the traffic.
    pub direction: String,
    /// What is ignored: `alerts`, `flows`, `both`.
    pub ignored: String,
    /// Until when.
    pub until: Option<String>,
    /// What its owner wrote to it.
    pub remark: Option<String>,
    /// What it takes for the rule to count, in words.
    pub needs: String,
    /// Its time is over.
    pub over: bool,
}

/// A detection.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Detection {
    /// Its name in the configuration.
    pub name: String,
    /// The kinds of its evidence.
    pub evidence: Vec<String>,
    /// What it detects.
    pub detects: String,
    /// What attackers do that it is about.
    pub attack: String,
    /// When it speaks.
    pub rule: String,
    /// Where its numbers come from.
    pub numbers: String,
    /// Why innocent traffic stays out.
    pub quiet: String,
    /// How it is evaded.
    pub evasion: String,
    /// What its evidence proves of the sender.
    pub proof: String,
    /// What can be set.
    pub thresholds: Vec<Threshold>,
}

/// A number of a detection.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Threshold {
    /// Its key in the configuration.
    pub key: String,
    /// What it counts.
    pub what: String,
    /// As it is where nobody sets it.
    pub default: String,
    /// The least that may be set.
    pub least: String,
    /// The most.
    pub most: String,
    /// Where it has steps, each.
    pub steps: Option<Vec<Step>>,
}

/// A step.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Step {
    /// From where on.
    pub at: String,
    /// How bad it is then,
    pub level: String,
    /// and how sure.
    pub confidence: f64,
}

/// What is looked for.
fn what(call: &Call) -> Result<&str, Problem> {
    let what = call.path.first().map(String::as_str).unwrap_or_default();
    match what.chars().count() {
        1..=LONGEST => Ok(what),
        _ => Err(Problem::bad(format!("from 1 to {LONGEST} characters can be looked for"))),
    }
}

/// Longest text that is looked for, in characters.
pub const LONGEST: usize = 1000;

/// What the lists say of something.
pub fn listed(shared: &Shared, call: &Call) -> Outcome {
    let what = what(call)?;
    let lists = shared.sources.shelf.lists();
    let entry = |(kind, listed): &(&str, slips_core::intel::Listed<'_>)| Entry {
        kind: (*kind).to_owned(),
        level: listed.level.name().to_owned(),
        description: listed.description.to_string(),
        sources: listed.sources.to_string(),
        tags: listed.tags.to_string(),
        exact: listed.exact,
    };
    Reply::of(&Lookup { what: what.to_owned(), listed: lists.find(what).iter().map(entry).collect() })
}

/// Which rules of the whitelist, as the daemon has it, are about something.
pub fn checked(shared: &Shared, call: &Call) -> Outcome {
    let what = what(call)?;
    let (rules, problems) = shared.sources.whitelist.now();
    let known = |needs: String| Rule {
        line: None,
        of: "known_sites".into(),
        value: None,
        direction: "dst".into(),
        ignored: "alerts".into(),
        until: None,
        remark: None,
        needs,
        over: false,
    };
    let found = rules.as_ref().map(|rules| rules.find(what, PacketTime(wall_clock()))).unwrap_or_default();
    let matches = found.into_iter().map(|found| {
        let needs = found.needs.to_string();
        let Some(rule) = found.rule else { return known(needs) };
        let what = rule.what.to_string();
        let (of, value) = what.split_once(' ').unwrap_or((&what, ""));
        let until = rule.until.map(|secs| render::iso(PacketTime::from_secs_micros(secs.into(), 0)));
        Rule {
            line: (rule.line > 0).then_some(rule.line.into()),
            of: of.to_owned(),
            value: Some(value.to_owned()),
            direction: rule.direction.name().to_owned(),
            ignored: rule.ignored.name().to_owned(),
            until,
            remark: Some(rule.remark.to_string()),
            needs,
            over: found.over,
        }
    });
    Reply::of(&Checked { matches: matches.collect(), problems: problems.to_vec() })
}

/// What is looked for.
pub fn detections(_: &Shared, _: &Call) -> Outcome {
    let all: Vec<Detection> = slips_detect::specs()
        .into_iter()
        .map(|spec| {
            let header = &spec.header;
            Detection {
                name: spec.name.to_owned(),
                evidence: spec.kinds.iter().map(|kind| kind.name().to_owned()).collect(),
                detects: header.detects.to_owned(),
                attack: header.attack.to_owned(),
                rule: header.rule.to_owned(),
                numbers: header.numbers.to_owned(),
                quiet: header.quiet.to_owned(),
                evasion: header.evasion.to_owned(),
                proof: header.proof.to_owned(),
                thresholds: spec.thresholds.iter().map(threshold).collect(),
            }
        })
        .collect();
    Reply::of(&all)
}

fn threshold(threshold: &Said) -> Threshold {
    let unit = threshold.unit;
    let steps = match threshold.usual {
        Usual::Number(_) => None,
        Usual::Steps(rungs) => Some(rungs),
    };
    let step = |rung: &slips_core::spec::Rung| Step {
        at: unit.text(rung.at.into()),
        level: rung.level.name().to_owned(),
        confidence: rung.confidence.get(),
    };
    Threshold {
        key: threshold.key.to_owned(),
        what: threshold.what.to_owned(),
        default: describe::usual_text(threshold),
        least: unit.text(threshold.least.into()),
        most: unit.text(threshold.most.into()),
        steps: steps.map(|rungs| rungs.iter().map(step).collect()),
    }
}
