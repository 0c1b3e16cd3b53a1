//! The keys of the original's slips.yaml, and what becomes of each.

use serde_json::Value;

/// What becomes of a key.
#[derive(Clone, Copy)]
pub enum Way {
    /// It is this key of ours, with a value made so: YAML, or nothing where it is our default, or why it cannot be. Where only some values
    /// matter and none can be carried over, no key is named.
    To(&'static str, Convert),
    /// It is none of ours; why, and what there is instead.
    Gone(&'static str),
}

type Convert = fn(&Value) -> Result<Option<String>, String>;
use Way::{Gone, To};

/// Whether the original has this section.
pub fn knows(section: &str) -> bool {
    SECTIONS.iter().any(|(name, _)| *name == section)
        || KEYS.iter().any(|(key, _)| key.split_once('.').is_some_and(|(name, _)| name == section))
}

/// What becomes of a key, `section.key`; nothing where the original has none of that name.
pub fn way_of(section: &str, key: &str) -> Option<Way> {
    let whole = || SECTIONS.iter().find(|(name, _)| *name == section).map(|(_, why)| Gone(why));
    KEYS.iter().find(|(name, _)| *name == key).map(|(_, way)| *way).or_else(whole)
}

const NO_ZEEK_LOGS: &str = "no Zeek runs beside Slips, and its logs are not written; `slips sensor` writes them where they are wanted";
const JOURNAL: &str = "the daemon tells the journal: journalctl -u slips";
const ONLINE: &str =
    "no list of known sites is fetched: fetch one and name it as whitelists.known_sites (docs/whitelist.md)";
const EXPORT: &str = "`slips export flows` and `slips analyze -o DIR --export tsv` write labelled flows";

/// Sections of which nothing is carried over.
const SECTIONS: &[(&str, &str)] = &[
    ("update", "Slips does not change itself: the package manager updates it"),
    ("Debug", "no plots are made; docs/metrics.md has what can be measured"),
    ("flow_ml_detection", "there is no detection that is trained on flows"),
    (
        "anomaly_detection_https",
        "there is no detection of this name; `slips detections` lists those that there are",
    ),
    (
        "exporting_alerts",
        "nothing is sent to Slack or TAXII; alerts.json (IDMEF), the journal, the control API (docs/api.md) and Redis (docs/redis.md) tell of alerts",
    ),
    ("cesnet", "there is no exchange with Warden; alerts.json has IDMEF that a sender of its own can read"),
    ("Docker", "files belong to the user that the unit names"),
    ("Profiling", "there is no profiler in it; perf and docs/performance.md serve"),
    (
        "web_interface",
        "there is no port to open: the control API is a unix socket, control.socket (docs/api.md)",
    ),
    (
        "global_p2p",
        "there is no global network; routers whose owners know each other share what they see: `slips peers invite` (docs/peers.md)",
    ),
];

/// All others.
const KEYS: &[(&str, Way)] = &[
    ("output.stdout", Gone(JOURNAL)),
    ("output.stderr", Gone(JOURNAL)),
    ("output.logs", Gone(JOURNAL)),
    ("parameters.verbose", Gone(JOURNAL)),
    ("parameters.debug", Gone(JOURNAL)),
    ("parameters.time_window_width", To("parameters.time_window_width", width)),
    ("parameters.analysis_direction", To("parameters.analysis_direction", text)),
    ("parameters.client_ips", To("parameters.client_ips", texts)),
    ("parameters.pcapfilter", To("capture.filter", text)),
    ("parameters.tcp_inactivity_timeout", To("sensor.tcp_inactivity", minutes)),
    (
        "parameters.export_strato_letters",
        Gone("letters of behaviour are not written; `slips timeline` tells what a host did"),
    ),
    ("parameters.delete_zeek_files", Gone(NO_ZEEK_LOGS)),
    ("parameters.store_a_copy_of_zeek_files", Gone(NO_ZEEK_LOGS)),
    ("parameters.store_zeek_files_in_the_output_dir", Gone(NO_ZEEK_LOGS)),
    ("parameters.rotation", Gone(NO_ZEEK_LOGS)),
    ("parameters.default_rotation_interval", Gone(NO_ZEEK_LOGS)),
    (
        "parameters.keep_rotated_files_for",
        Gone("flows are kept in flows.sqlite: database.flows says for how long"),
    ),
    ("parameters.metadata_dir", Gone("output.directory always has it")),
    ("parameters.permanent_dir", Gone("what outlives a run is in output.directory, /var/lib/slips")),
    (
        "parameters.deletePrevdb",
        Gone("no run begins with what another found; each analysis has a directory of its own (-o)"),
    ),
    ("parameters.label", Gone("flows are labelled by what is found in them, not beforehand")),
    (
        "parameters.wait_for_modules_to_finish",
        Gone("there are no modules to wait for: an analysis ends when all is read"),
    ),
    ("parameters.export_labeled_flows", Gone(EXPORT)),
    ("parameters.export_format", Gone(EXPORT)),
    ("detection.evidence_detection_threshold", To("detection.evidence_detection_threshold", number)),
    ("detection.popup_alerts", Gone("no window opens; `slips watch` and the journal tell of alerts")),
    ("modules.disable", To("", modules)),
    (
        "modules.timeline_human_timestamp",
        Gone("`slips timeline` always writes dates, and numbers with --json"),
    ),
    ("brute_force_detector.ssh_attempt_threshold", To("brute_force_detector.ssh_attempt_threshold", number)),
    ("virustotal.api_key_file", To("virustotal.api_key_file", path)),
    ("virustotal.virustotal_update_period", To("virustotal.virustotal_update_period", seconds)),
    (
        "threatintelligence.wait_for_TI_to_finish",
        Gone("the lists on this machine are always read before the first packet"),
    ),
    (
        "threatintelligence.local_threat_intelligence_files",
        To("threatintelligence.local_threat_intelligence_files", path),
    ),
    (
        "threatintelligence.download_path_for_remote_threat_intelligence",
        To("threatintelligence.download_path_for_remote_threat_intelligence", path),
    ),
    (
        "threatintelligence.TI_files_update_period",
        To("threatintelligence.TI_files_update_period", seconds_or_never),
    ),
    ("threatintelligence.mac_db_update", To("threatintelligence.mac_db_update", seconds)),
    (
        "threatintelligence.mac_db",
        Gone(
            "the form of that file is not read; threatintelligence.mac_db takes https://standards-oui.ieee.org/oui/oui.csv (docs/profiles.md)",
        ),
    ),
    ("threatintelligence.ti_files", To("threatintelligence.ti_files", path)),
    ("threatintelligence.ja3_feeds", To("threatintelligence.ja3_feeds", path)),
    ("threatintelligence.ssl_feeds", To("threatintelligence.ssl_feeds", path)),
    ("threatintelligence.RiskIQ_credentials_path", Gone("that service is gone")),
    ("threatintelligence.riskiq_update_period", Gone("that service is gone")),
    ("whitelists.enable_online_whitelist", Gone(ONLINE)),
    ("whitelists.online_whitelist_update_period", Gone(ONLINE)),
    ("whitelists.online_whitelist", Gone(ONLINE)),
    ("whitelists.enable_local_whitelist", To("whitelists.enable_local_whitelist", boolean)),
    ("whitelists.local_whitelist_path", To("whitelists.local_whitelist_path", path)),
    ("flow_alerts.long_connection_threshold", To("flow_alerts.long_connection_threshold", seconds)),
    ("flow_alerts.data_exfiltration_threshold", To("flow_alerts.data_exfiltration_threshold", megabytes)),
    (
        "flow_alerts.ssh_succesful_detection_threshold",
        Gone(
            "logins are known by their shape, not by their size; `slips detections ssh_password_guessing` has its numbers",
        ),
    ),
    ("flow_alerts.entropy_threshold", To("detections.dns_answers.entropy", entropy)),
    ("flow_alerts.pastebin_download_threshold", To("detections.pastebin_download.min_bytes", pastebin)),
    ("DisabledAlerts.disabled_detections", To("DisabledAlerts.disabled_detections", texts)),
    ("local_p2p.use_p2p", To("", peers)),
    ("local_p2p.create_p2p_logfile", Gone(JOURNAL)),
];

/// The original's usual numbers of what ours has elsewhere.
const ENTROPY: f64 = 5.0;
const PASTEBIN: u64 = 700;

/// As JSON with what a terminal would obey, or what is not what it looks like, by its number.
fn harmless(value: &Value) -> Result<Option<String>, String> {
    crate::export::json(value).map(Some).map_err(|error| error.to_string())
}

fn quoted(text: &str) -> Result<Option<String>, String> {
    // JSON's way to write a text is YAML's, too.
    harmless(&Value::from(text))
}

fn text(value: &Value) -> Result<Option<String>, String> {
    value.as_str().map_or_else(|| Err("a text is needed".into()), quoted)
}

fn texts(value: &Value) -> Result<Option<String>, String> {
    let all = |items: &Vec<Value>| items.iter().all(Value::is_string);
    match value {
        Value::Null => Ok(None),
        Value::Array(items) if all(items) => harmless(value),
        Value::String(one) => harmless(&Value::from(vec![one.as_str()])),
        _ => Err("a list of texts is needed".into()),
    }
}

fn boolean(value: &Value) -> Result<Option<String>, String> {
    let word = value.as_str().map(str::to_ascii_lowercase);
    match (value, word.as_deref()) {
        (Value::Bool(is), _) => Ok(Some(is.to_string())),
        (_, Some("yes" | "on" | "true")) => Ok(Some("true".into())),
        (_, Some("no" | "off" | "false")) => Ok(Some("false".into())),
        _ => Err("true or false is needed".into()),
    }
}

/// A number, also one in quotes.
fn of_number(value: &Value) -> Result<f64, String> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    number.filter(|number| number.is_finite()).ok_or_else(|| "a number is needed".into())
}

/// A number that is whole and not below zero.
fn whole(value: &Value) -> Result<u64, String> {
    let number = of_number(value)?;
    match (0.0..=9e15).contains(&number) && number.fract() == 0.0 {
        // Below 2^53 nothing is lost.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole, and in that range"
        )]
        true => Ok(number as u64),
        false => Err("a whole number is needed".into()),
    }
}

fn number(value: &Value) -> Result<Option<String>, String> {
    of_number(value).map(|number| Some(number.to_string()))
}

fn seconds(value: &Value) -> Result<Option<String>, String> {
    whole(value).map(|secs| Some(format!("{secs}s")))
}

/// Where nothing or less than nothing means never.
fn seconds_or_never(value: &Value) -> Result<Option<String>, String> {
    match of_number(value)? {
        number if number <= 0.0 => Ok(Some("0s".into())),
        _ => seconds(value),
    }
}

fn minutes(value: &Value) -> Result<Option<String>, String> {
    whole(value).map(|minutes| Some(format!("{minutes}m")))
}

fn megabytes(value: &Value) -> Result<Option<String>, String> {
    whole(value).map(|amount| Some(format!("{amount}MB")))
}

fn width(value: &Value) -> Result<Option<String>, String> {
    match value.as_str() {
        Some("only_one_tw") => {
            Err("there is no single window for all; take one as wide as the capture, for example 7d".into())
        }
        _ => seconds(value),
    }
}

fn path(value: &Value) -> Result<Option<String>, String> {
    let path = value.as_str().ok_or("a path is needed")?;
    match path.starts_with('/') {
        true => quoted(path),
        false => Err(
            "that path begins in the original's directory: put the file where our default is (slips.yaml(5)), or name its whole path here"
                .into(),
        ),
    }
}

fn entropy(value: &Value) -> Result<Option<String>, String> {
    of_number(value).map(|bits| ((bits - ENTROPY).abs() > f64::EPSILON).then(|| bits.to_string()))
}

fn pastebin(value: &Value) -> Result<Option<String>, String> {
    whole(value).map(|bytes| (bytes != PASTEBIN).then(|| format!("{bytes}B")))
}

/// The original's file disables its template, which is no module.
fn modules(value: &Value) -> Result<Option<String>, String> {
    let none = match value {
        Value::Null => true,
        Value::Array(items) => items.iter().all(|item| item.as_str() == Some("template")),
        _ => false,
    };
    if none {
        return Ok(None);
    }
    Err("modules are parts of one program here; a detection is turned off by `detections: NAME: enabled: false` (`slips detections` lists \
         them), blocking by `firewall: mode: monitor`"
        .into())
}

fn peers(value: &Value) -> Result<Option<String>, String> {
    match boolean(value)?.as_deref() {
        Some("false") => Ok(None),
        _ => Err("peers are named one by one by their owners: `slips peers invite` (docs/peers.md)".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_stands_once() {
        let mut names: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for (section, _) in SECTIONS {
            assert!(
                KEYS.iter().all(|(key, _)| key.split_once('.').is_some_and(|(name, _)| name != *section)),
                "{section}"
            );
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_carried_by_its_number() {
        let text = quoted("/a\u{9b}2J\u{7f}\u{202e}").expect("carried").expect("a text");
        assert_eq!(text, r#""/a\u009b2J\u007f\u202e""#);
        let list = texts(&Value::from(vec!["\u{9b}"])).expect("carried").expect("a list");
        assert_eq!(list, r#"["\u009b"]"#);
    }
}
