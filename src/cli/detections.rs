//! `slips detections`: what is looked for, and under which names it is configured.

use serde_json::{Value, json};
use slips_core::spec::{Spec, Threshold, Usual};
use slips_detect::describe;

use super::{Exit, Failure, print_out};

pub(super) fn run(name: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let specs = match name {
        Some(name) => {
            vec![slips_detect::spec_of(name).map_err(|what| Failure::new(Exit::Usage, what))?]
        }
        None => slips_detect::specs(),
    };
    if as_json {
        let all: Vec<_> = specs.iter().map(|spec| in_json(spec)).collect();
        return print_out(&format!("{}\n", Value::from(all)));
    }
    let text: String = match name {
        Some(_) => specs.iter().map(|spec| describe::chapter(spec)).collect(),
        None => specs.iter().map(|spec| line(spec)).collect(),
    };
    print_out(text.trim_start_matches('\n'))
}

fn line(spec: &Spec) -> String {
    let kinds: Vec<_> = spec.kinds.iter().map(|kind| kind.name()).collect();
    format!("{:<32} {}\n", spec.name, kinds.join(", "))
}

fn in_json(spec: &Spec) -> Value {
    let header = &spec.header;
    json!({
        "name": spec.name,
        "evidence": spec.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        "detects": header.detects,
        "attack": header.attack,
        "rule": header.rule,
        "numbers": header.numbers,
        "quiet": header.quiet,
        "evasion": header.evasion,
        "proof": header.proof,
        "thresholds": spec.thresholds.iter().map(threshold).collect::<Vec<_>>(),
    })
}

fn threshold(threshold: &Threshold) -> Value {
    let unit = threshold.unit;
    let steps = match threshold.usual {
        Usual::Number(_) => Value::Null,
        Usual::Steps(rungs) => rungs
            .iter()
            .map(|rung| {
                json!({
                    "at": unit.text(rung.at.into()),
                    "level": rung.level.name(),
                    "confidence": rung.confidence.get(),
                })
            })
            .collect(),
    };
    json!({
        "key": threshold.key,
        "what": threshold.what,
        "default": describe::usual_text(threshold),
        "least": unit.text(threshold.least.into()),
        "most": unit.text(threshold.most.into()),
        "steps": steps,
    })
}
