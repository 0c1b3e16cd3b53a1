//! The detections for people: what `docs/detections.md` and `config/slips.yaml` show of them. Both files are rewritten by
//! `cargo run -p slips-detect --example document`, and a test fails where they differ from this.

use std::fmt::Write as _;

use slips_core::evidence::{EvidenceKind, ThreatLevel};
use slips_core::spec::{Rung, Spec, Threshold, Usual};

use crate::leak_detector;

/// The detections that raise `kind`.
pub fn raised_by(kind: EvidenceKind) -> impl Iterator<Item = &'static Spec> {
    crate::specs().into_iter().filter(move |spec| spec.kinds.contains(&kind))
}

/// The default of a threshold as `slips.yaml` has it.
pub fn usual_text(threshold: &Threshold) -> String {
    let numbers: Vec<_> =
        threshold.usual_numbers().iter().map(|n| threshold.unit.text(u64::from(*n))).collect();
    match threshold.usual {
        Usual::Steps(_) => format!("[{}]", numbers.join(", ")),
        Usual::Number(_) => numbers.concat(),
    }
}

/// What one step weighs: all that is needed for an alert, or level times confidence.
fn weight(rung: &Rung) -> String {
    if rung.level == ThreatLevel::Critical && rung.confidence.get() >= 0.9 {
        return "**alert**".into();
    }
    format!("{:.2}", rung.level.weight() * rung.confidence.get())
}

/// The middle of `docs/detections.md`: a table of all evidence types, and a chapter for each detection.
pub fn markdown() -> String {
    let mut text = String::from("## Evidence types\n\n| evidence | detections |\n|---|---|\n");
    for kind in EvidenceKind::ALL {
        let mut names: Vec<_> = raised_by(*kind).map(|spec| format!("[{0}](#{0})", spec.name)).collect();
        if kind.is_asked_for() {
            names.push("[services outside](services.md)".into());
        }
        if kind.is_hearsay() {
            names.push("[what peers say](#what-peers-say)".into());
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{}` | {} |", kind.name(), names.join(", "));
    }
    text.push_str("\n## Detections\n");
    for spec in crate::specs() {
        text.push_str(&chapter(spec));
    }
    text
}

/// The chapter about one detection.
pub fn chapter(spec: &Spec) -> String {
    let mut text = String::new();
    let header = &spec.header;
    let kinds: Vec<_> = spec.kinds.iter().map(|kind| format!("`{}`", kind.name())).collect();
    let _ = writeln!(text, "\n### {}\n\n{}\n", spec.name, header.detects);
    for (what, says) in [
        ("Evidence", kinds.join(", ").as_str()),
        ("ATT&CK", header.attack),
        ("Rule", header.rule),
        ("Numbers", header.numbers),
        ("Why false positives stay out", header.quiet),
        ("Evasion", header.evasion),
        ("Proof", header.proof),
    ] {
        let _ = writeln!(text, "- **{what}:** {says}");
    }
    let steps = |threshold: &&Threshold| matches!(threshold.usual, Usual::Steps(_));
    if spec.thresholds.iter().any(|threshold| steps(&threshold)) {
        text.push_str("\n| key | step | level | confidence | weight |\n|---|---|---|---|---|\n");
    }
    for threshold in spec.thresholds.iter().filter(steps) {
        let Usual::Steps(rungs) = threshold.usual else { continue };
        for (n, rung) in rungs.iter().enumerate() {
            let key = if n == 0 { format!("`{}`: {}", threshold.key, threshold.what) } else { String::new() };
            let _ = writeln!(
                text,
                "| {key} | {} | {} | {} | {} |",
                threshold.unit.text(rung.at.into()),
                rung.level.name(),
                rung.confidence.get(),
                weight(rung)
            );
        }
    }
    if spec.thresholds.iter().any(|threshold| !steps(&threshold)) {
        text.push_str("\n| key | default | what |\n|---|---|---|\n");
    }
    for threshold in spec.thresholds.iter().filter(|threshold| !steps(threshold)) {
        let _ = writeln!(text, "| `{}` | {} | {} |", threshold.key, usual_text(threshold), threshold.what);
    }
    if spec.name == leak_detector::SPEC.name {
        let (key, usual, what) = leak_detector::RULES_KEY;
        let _ = writeln!(text, "| `{key}` | {usual} | {what} |");
    }
    text
}

/// The section `detections` of `config/slips.yaml`: all keys with their defaults, commented out.
pub fn yaml() -> String {
    let mut text = String::from(
        "\
detections:
  # Each detection by its name (slips detections tells what it does): enabled: false turns it off, and the other keys set its
  # numbers. A list sets the magnitudes of all steps; one number sets the first step, and those below it begin there too.
",
    );
    for spec in crate::specs() {
        let _ = writeln!(text, "  # {}:\n  #   enabled: true", spec.name);
        for threshold in spec.thresholds {
            let usual = usual_text(threshold);
            let _ = writeln!(text, "  #   {}: {usual}  # {}", threshold.key, threshold.what);
        }
        if spec.name == leak_detector::SPEC.name {
            let (key, usual, what) = leak_detector::RULES_KEY;
            let _ = writeln!(text, "  #   {key}: {usual}  # {what}");
        }
    }
    text
}

/// `file` with everything between the lines `begin` and `end` replaced by `middle`; `None` when a line is missing.
pub fn replaced(file: &str, begin: &str, end: &str, middle: &str) -> Option<String> {
    let from = file.find(begin)?;
    let to = from + file.get(from..)?.find(end)?;
    Some(format!("{}{middle}{}", file.get(..from)?, file.get(to..)?))
}

/// What is wrong with the words of the detections, for a test; nothing, if all is right.
pub fn gaps() -> Vec<String> {
    let mut gaps = Vec::new();
    for spec in crate::specs() {
        let header = &spec.header;
        for (what, says) in [
            ("detects", header.detects),
            ("attack", header.attack),
            ("rule", header.rule),
            ("numbers", header.numbers),
            ("quiet", header.quiet),
            ("evasion", header.evasion),
            ("proof", header.proof),
        ] {
            let whole = says.ends_with(['.', '?', ')']) && says.len() > 4 && !says.contains("  ");
            if !whole {
                gaps.push(format!("{}.{what}: {says:?}", spec.name));
            }
        }
        if !header.attack.split(|c: char| !c.is_ascii_alphanumeric()).any(is_technique) {
            gaps.push(format!("{}: no technique in {:?}", spec.name, header.attack));
        }
    }
    gaps
}

/// `T1046`
fn is_technique(word: &str) -> bool {
    word.strip_prefix('T')
        .is_some_and(|number| number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()))
}
