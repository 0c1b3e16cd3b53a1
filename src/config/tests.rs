use super::*;

fn parse(text: &str) -> Result<Config, Vec<String>> {
    Config::parse(Path::new("slips.yaml"), text)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn an_empty_file_and_empty_sections_are_the_defaults() {
    for text in ["", "# nothing\n", "parameters:\n  # time_window_width: 3600\nfirewall:\n"] {
        let config = parse(text).expect(text);
        assert_eq!(config.parameters.time_window_width, Length::secs(3600));
        assert_eq!(config.firewall.mode, Mode::Enforce);
    }
}

#[test]
fn a_typo_is_told_with_file_line_and_key() {
    assert_eq!(
        parse("parameters:\n  time_window_with: 3600\n").expect_err("typo"),
        [
            "slips.yaml:2: unknown field `time_window_with`, expected one of time_window_width, analysis_direction, client_ips"
        ]
    );
}

#[test]
fn every_problem_is_told_not_only_the_first() {
    let text = "\
parameters:
  time_window_width: soon
  analysis_direction: sideways
detectoin:
  nested: 1
firewall:
  mode: enforce
  never_block:
    - 192.0.2.0/24
    - 192.0.2.0/99
DisabledAlerts:
  disabled_detections: [NO_SUCH]
";
    let problems = parse(text).expect_err("problems");
    let lines: Vec<_> = problems.iter().map(|p| p.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(
        lines,
        ["slips.yaml:2:", "slips.yaml:3:", "slips.yaml:4:", "slips.yaml:10:", "slips.yaml:12:"],
        "{problems:#?}"
    );
    assert!(problems[0].contains("time_window_width"), "{problems:#?}");
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    for text in [
        "parameters:\n  time_window_width: 0\n",
        "parameters:\n  time_window_width: 1500ms\n",
        "detection:\n  evidence_detection_threshold: 0\n",
        "detection:\n  evidence_detection_threshold: .nan\n",
        "capture:\n  threads: 0\n",
        "capture:\n  filter: port http\n",
        "limits:\n  flows: 0\n",
        "database:\n  size: 1MB\n",
        "database:\n  evidence: 5m\n",
        "limits:\n  open_evidence: 0\n",
        "sensor:\n  udp_inactivity: 0s\n",
    ] {
        assert_eq!(parse(text).expect_err(text).len(), 1, "{text}");
    }
}

#[test]
fn text_that_is_no_yaml_ends_with_a_problem_and_never_hangs() {
    for text in ["a: [", "\t\t", "{{{{", "- - - -", "a: &x [*x]", "\u{0}", "parameters: [1, 2", "%YAML 9"] {
        let _ = parse(text);
    }
    assert!(parse("a: [").is_err());
}

#[test]
fn the_shipped_file_shows_the_defaults() {
    let shipped = include_str!("../../config/slips.yaml");
    let config = parse(shipped).expect("the shipped file is right");
    assert_eq!(format!("{config:#?}"), format!("{:#?}", Config::default()));
}
