//! `slips reload`, `systemctl reload slips`, SIGHUP: the configuration is read again. A file that is wrong changes nothing. What can change
//! while the daemon runs does; what cannot is named.

use slips_core::settings::Dial;

use super::policy::Policy;
use crate::cli::Failure;
use crate::config::Config;
use crate::control::Answer;

/// Reads the configuration as it was read at the start: the same file, the same command line.
pub type Load = Box<dyn Fn() -> Result<Config, Failure> + Send>;

/// What follows the configuration.
pub struct Reload {
    load: Load,
    /// As it was read last; of what needs a start, as it was at the start.
    running: Config,
    /// Threshold and disabled kinds of evidence.
    dial: Dial,
    policy: Policy,
    /// Has lists and peers read again.
    others: Box<dyn Fn() + Send>,
}

impl Reload {
    /// A daemon that runs with `running`.
    pub fn new(
        load: Load,
        running: Config,
        dial: Dial,
        policy: Policy,
        others: impl Fn() + Send + 'static,
    ) -> Self {
        Self { load, running, dial, policy, others: Box::new(others) }
    }

    /// Reads it again; says what came of it.
    pub fn reload(&mut self) -> Answer {
        let new = (self.load)()
            .map_err(|failure| format!("the configuration stays as it was: {}", one_line(&failure)))?;
        let mut changed = Vec::new();
        let mut needs_start: Vec<&str> = sections(&self.running)
            .into_iter()
            .zip(sections(&new))
            .filter(|(was, is)| was != is)
            .map(|((name, _), _)| name)
            .collect();
        let judged = |config: &Config| format!("{:?} {:?}", config.detection, config.disabled_alerts);
        if judged(&new) != judged(&self.running) {
            let kinds = new.disabled_alerts.disabled_detections.iter().map(|kind| kind.0).collect();
            self.dial.turn(new.detection.evidence_detection_threshold, kinds);
            changed.push("detection");
        }
        if format!("{:?}", new.firewall) != format!("{:?}", self.running.firewall) {
            let before = needs_start.len();
            needs_start.extend(self.policy.change(&new.firewall));
            if needs_start.len() == before
                || format!("{:?}", self.policy.now()) != format!("{:?}", self.running.firewall)
            {
                changed.push("firewall");
            }
        }
        self.running.detection = new.detection;
        self.running.disabled_alerts = new.disabled_alerts;
        self.running.firewall = self.policy.now();
        (self.others)();
        let mut text = match changed.as_slice() {
            [] => "the configuration, lists and peers are read again".to_owned(),
            changed => {
                format!("lists and peers are read again, and of the configuration {}", changed.join(", "))
            }
        };
        if !needs_start.is_empty() {
            text += &format!("; a restart is needed for what changed in {}", needs_start.join(", "));
        }
        Ok(text)
    }
}

/// The sections that are read at the start only, each as a text that differs when it does.
fn sections(config: &Config) -> [(&'static str, String); 20] {
    // A section that is new has to be named here or above.
    let Config {
        interfaces,
        inputs,
        capture,
        parameters,
        detection: _,
        flow_alerts,
        brute_force_detector,
        detections,
        disabled_alerts: _,
        threatintelligence,
        profiles,
        outside,
        whitelists,
        virustotal,
        services,
        firewall: _,
        output,
        control,
        database,
        limits,
        sensor,
        p2p,
        redis,
    } = config;
    [
        ("interfaces", format!("{interfaces:?}")),
        ("inputs", format!("{inputs:?}")),
        ("capture", format!("{capture:?}")),
        ("parameters", format!("{parameters:?}")),
        ("flow_alerts", format!("{flow_alerts:?}")),
        ("brute_force_detector", format!("{brute_force_detector:?}")),
        ("detections", format!("{detections:?}")),
        ("threatintelligence", format!("{threatintelligence:?}")),
        ("profiles", format!("{profiles:?}")),
        ("outside", format!("{outside:?}")),
        ("whitelists", format!("{whitelists:?}")),
        ("virustotal", format!("{virustotal:?}")),
        ("services", format!("{services:?}")),
        ("output", format!("{output:?}")),
        ("control", format!("{control:?}")),
        ("database", format!("{database:?}")),
        ("limits", format!("{limits:?}")),
        ("sensor", format!("{sensor:?}")),
        ("p2p", format!("{p2p:?}")),
        ("redis", format!("{redis:?}")),
    ]
}

/// An answer is one line.
fn one_line(failure: &Failure) -> String {
    failure.to_string().lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn what_can_change_does_what_cannot_is_named_and_what_is_wrong_changes_nothing() {
        let file = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&file);
        let load: Load = Box::new(move || {
            let text = text.lock().expect("text").clone();
            Config::parse(Path::new("slips.yaml"), &text)
                .map_err(|wrong| crate::config::LoadError::Wrong(wrong).into())
        });
        let read = Arc::new(AtomicUsize::new(0));
        let others = Arc::clone(&read);
        let (dial, policy) = (Dial::default(), Policy::default());
        let mut reload = Reload::new(load, Config::default(), dial.clone(), policy.clone(), move || {
            others.fetch_add(1, Ordering::Relaxed);
        });
        let mut reload = |yaml: &str| {
            *file.lock().expect("text") = yaml.into();
            reload.reload()
        };
        assert_eq!(reload("").expect("read"), "the configuration, lists and peers are read again");
        let said = reload(
            "detection:\n  evidence_detection_threshold: 0.5\nfirewall:\n  internal_share: 7\n  size: 512\nlimits:\n  flows: 64\n",
        );
        assert_eq!(
            said.expect("read"),
            "lists and peers are read again, and of the configuration detection, firewall; a restart is needed for what changed in limits, firewall.size"
        );
        assert_eq!(policy.now().internal_share, 7);
        let mut seen = 0;
        assert_eq!(dial.turned(&mut seen).expect("turned").0, 0.5);
        let wrong = reload("firewall:\n  internal_share: 9\n  frob: 1\n").expect_err("wrong");
        assert!(wrong.contains("slips.yaml:3") && wrong.contains("frob"), "{wrong}");
        assert_eq!(policy.now().internal_share, 7);
        assert_eq!(read.load(Ordering::Relaxed), 2);
        // What was taken over before does not count as changed; what needs a start still does.
        let said = reload(
            "detection:\n  evidence_detection_threshold: 0.5\nfirewall:\n  internal_share: 7\n  size: 512\nlimits:\n  flows: 64\n",
        );
        assert_eq!(
            said.expect("read"),
            "the configuration, lists and peers are read again; a restart is needed for what changed in limits, firewall.size"
        );
    }
}
