use super::*;

/// Every key of the original once, with its usual value.
const USUAL: &str = include_str!("import_usual.yaml");

fn imported(text: &str) -> Imported {
    import(Path::new("old.yaml"), text).expect("YAML")
}

/// The lines of the result that are no comments, and `line key` of what is left out.
fn told(text: &str) -> (Vec<String>, Vec<String>) {
    let done = imported(text);
    let lines = done.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let left = done.left_out.iter().map(|left| format!("{} {}", left.line, left.key)).collect();
    (lines.map(str::to_owned).collect(), left)
}

#[test]
fn what_means_the_same_is_carried_over_in_our_units_and_places() {
    let (lines, left) = told(
        "parameters:\n  time_window_width: 7200\n  analysis_direction: out\n  client_ips: [10.0.0.0/8, 192.168.7.1]\n  pcapfilter: 'not port 22'\n  \
         tcp_inactivity_timeout: 5\nflow_alerts:\n  entropy_threshold: 4.5\n  pastebin_download_threshold: 900\n  \
         data_exfiltration_threshold: 700\n  long_connection_threshold: \"60\"\ndetection: {evidence_detection_threshold: 0.4}\n\
         threatintelligence:\n  TI_files_update_period: -1\n  ti_files: /srv/lists/TI_feeds.csv\nwhitelists:\n  enable_local_whitelist: no\n\
         DisabledAlerts:\n  disabled_detections: [LONG_CONNECTION]\n",
    );
    assert_eq!(left, Vec::<String>::new());
    for line in [
        "  time_window_width: 7200s",
        "  analysis_direction: \"out\"",
        "  client_ips: [\"10.0.0.0/8\",\"192.168.7.1\"]",
        "  filter: \"not port 22\"",
        "  tcp_inactivity: 5m",
        "    entropy: 4.5",
        "    min_bytes: 900B",
        "  data_exfiltration_threshold: 700MB",
        "  long_connection_threshold: 60s",
        "  evidence_detection_threshold: 0.4",
        "  TI_files_update_period: 0s",
        "  ti_files: \"/srv/lists/TI_feeds.csv\"",
        "  enable_local_whitelist: false",
        "  disabled_detections: [\"LONG_CONNECTION\"]",
    ] {
        assert!(lines.iter().any(|got| got == line), "{line}: {lines:#?}");
    }
    assert_eq!(lines.len(), 14 + 10 + 1, "{lines:#?}");
}

#[test]
fn the_originals_own_file_needs_nothing_but_its_direction_and_each_other_key_is_told_once() {
    let done = imported(USUAL);
    assert_eq!(done.carried, ["parameters.analysis_direction"], "{}", done.text);
    let keys = USUAL.lines().filter(|line| line.starts_with("  ") && line.contains(':')).count();
    assert!(keys > 100, "{keys}");
    for left in &done.left_out {
        let line = USUAL.lines().nth(left.line as usize - 1).expect("a line").trim();
        let key = left.key.split_once('.').expect("a key").1;
        assert!(line.starts_with(&format!("{key}:")), "{left:?}: {line}");
        assert!(!left.why.contains("no such key"), "{left:?}");
        assert!(done.text.contains(&format!("# line {}: {}: ", left.line, left.key)));
    }
}

#[test]
fn what_makes_no_sense_is_told_by_its_line_and_left_out() {
    let (lines, left) = told(
        "parameters:\n  time_window_width: [1]\n  analysis_direction: sideways\n  client_ips: {a: 1}\n  pcapfilter: 'host and'\n\
         whitelists: 7\ndetection:\n  evidence_detection_threshold: -1\nnonsense:\n  key: 1\nflow_alerts:\n  nonsense: 1\n  long_connection_threshold: 1.5\n\
         virustotal: [a, b]\nDisabledAlerts:\n  disabled_detections: [NO_SUCH]\nmodules:\n  disable: [template, arp]\nthreatintelligence:\n  ti_files: config/TI_feeds.csv\n",
    );
    assert_eq!(lines, Vec::<String>::new());
    assert_eq!(
        left,
        [
            "2 parameters.time_window_width",
            "3 parameters.analysis_direction",
            "4 parameters.client_ips",
            "5 parameters.pcapfilter",
            "6 whitelists",
            "8 detection.evidence_detection_threshold",
            "9 nonsense",
            "12 flow_alerts.nonsense",
            "13 flow_alerts.long_connection_threshold",
            "14 virustotal",
            "16 DisabledAlerts.disabled_detections",
            "18 modules.disable",
            "20 threatintelligence.ti_files",
        ]
    );
    let (lines, left) = told("parameters:\n  time_window_width: only_one_tw\n");
    assert_eq!((lines, left), (vec![], vec!["2 parameters.time_window_width".to_owned()]));
}

#[test]
fn an_empty_file_is_the_defaults() {
    for text in
        ["", "# nothing\n", "parameters:\nmodules:\n  disable: [template]\nlocal_p2p:\n  use_p2p: False\n"]
    {
        assert_eq!(told(text), (vec![], vec![]), "{text}");
    }
}

#[test]
fn a_hostile_file_is_refused_or_harmless() {
    let bomb = (1..10).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let of = n - 1;
        text + &format!(
            "a{n}: &a{n} [*a{of}, *a{of}, *a{of}, *a{of}, *a{of}, *a{of}, *a{of}, *a{of}, *a{of}, *a{of}]\n"
        )
    });
    let deep = format!("parameters:\n  client_ips: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    for text in ["[a, b]", "text", "a: [", "parameters:\n\tx: 1\n", &bomb, &deep] {
        let refused = import(Path::new("old.yaml"), text).expect_err("refused");
        assert!(!refused.is_empty() && refused.len() <= 50);
    }
    // What is told of it stays in its comment, and is no order to a terminal.
    let done = imported(
        "\"a\\nfirewall:\\n  mode: monitor\": {}\nparameters:\n  \"b\\e[2J\": 1\n  pcapfilter: \"host\\nx\\u202e\"\n",
    );
    let lines: Vec<&str> =
        done.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert_eq!((lines, done.left_out.len()), (vec![], 3), "{}", done.text);
    assert!(
        !done.text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'),
        "{:?}",
        done.text
    );
}
