//! `inputs`: what is read besides the packets of interfaces.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use slips_core::addr::{LocalNets, Net};

use super::NetText;

/// Who makes flows of the packets of interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SensorKind {
    /// Slips itself.
    #[default]
    Slips,
    /// Zeek, in a process of its own.
    Zeek,
}

/// `inputs`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inputs {
    /// Where flow exporters are heard.
    pub netflow: Vec<SocketAddr>,
    /// Which of them; none named means those of private networks and this host.
    pub netflow_exporters: Vec<NetText>,
    /// Event logs of Suricata that are followed as they grow.
    pub eve: Vec<PathBuf>,
    /// Where programs connect that tell of flows and hear of alerts; empty: nowhere.
    pub socket: PathBuf,
    /// Directories into which Zeek writes logs.
    pub zeek_dirs: Vec<PathBuf>,
    /// Who makes flows of packets.
    pub sensor: SensorKind,
    /// Zeek's program.
    pub zeek_program: PathBuf,
    /// What it is given of ours.
    pub zeek_scripts: PathBuf,
    /// What lies in the directories already is read, too.
    #[serde(skip)]
    pub from_start: bool,
    /// The command line named an input and no interface: then none is watched.
    #[serde(skip)]
    pub alone: bool,
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            netflow: Vec::new(),
            netflow_exporters: Vec::new(),
            eve: Vec::new(),
            socket: PathBuf::new(),
            zeek_dirs: Vec::new(),
            sensor: SensorKind::Slips,
            zeek_program: "zeek".into(),
            zeek_scripts: "/usr/share/slips/zeek".into(),
            from_start: false,
            alone: false,
        }
    }
}

impl Inputs {
    /// The networks whose exporters are heard.
    pub fn exporters(&self) -> Vec<Net> {
        if !self.netflow_exporters.is_empty() {
            return self.netflow_exporters.iter().map(|net| net.0).collect();
        }
        let here = ["127.0.0.0/8", "::1/128"].into_iter().filter_map(|net| net.parse().ok());
        LocalNets::private().nets().iter().copied().chain(here).collect()
    }
}
