//! What the command line may say. Help, manual pages and completions are made of it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use slips_core::addr::Net;
use slips_input::filter::PacketFilter;

use super::place::Place;
use super::{allow, analyze, config_file, export, intel, kept, live, peers, timeline, whitelist};
use crate::config;
use crate::export::Format;

/// Host protection for Linux routers: watches traffic, gathers evidence, blocks attackers.
#[derive(Parser, Debug)]
#[command(
    name = "slips",
    version,
    max_term_width = 110,
    after_help = "Examples:\n  slips analyze capture.pcap\n  sudo slips run -i eth0 --monitor\n  sudo slips demo"
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Read a capture or flow logs to their end and print what was found.
    #[command(
        after_help = "Examples:\n  slips analyze capture.pcap\n  slips analyze /var/log/zeek/current -o out\n  \
                            slips analyze conn.log --json | jq .alerts\n  \
                            slips analyze capture.pcap -o out --export tsv\n  \
                            zcat eve.json.*.gz | slips analyze - --format suricata"
    )]
    Analyze(Analyze),
    /// Watch interfaces and block attackers, in the foreground; what the systemd unit starts.
    #[command(
        after_help = "Examples:\n  sudo slips run -i eth0 --monitor\n  sudo slips run -c /etc/slips/slips.yaml\n  \
                            sudo slips run --zeek-dir /opt/zeek/logs/current"
    )]
    Run(Run),
    /// Turn packets into Zeek-compatible logs (conn, dns, ssh, arp …), without detections.
    #[command(
        after_help = "Examples:\n  slips sensor capture.pcap -o logs\n  sudo slips sensor -i eth0 -o logs --tsv"
    )]
    Sensor(Sensor),
    /// Look at the blocks and at the blocking itself, pause it, or lift all; `list` and `flush` work without the daemon.
    #[command(
        after_help = "Examples:\n  sudo slips firewall list\n  sudo slips firewall explain 203.0.113.9\n  \
                            sudo slips firewall pause 10m\n  sudo slips firewall flush"
    )]
    Firewall {
        #[command(subcommand)]
        command: FirewallCommand,
    },
    /// Share what was seen with routers whose owners trust each other, and say who they are.
    #[command(
        after_help = "Examples:\n  sudo slips peers invite              # the line goes to the other administrator, who runs\n  \
                            sudo slips peers join                # and both compare six words:\n  \
                            sudo slips peers confirm NAME\n  sudo slips peers list"
    )]
    Peers(peers::Peers),
    /// What the lists of malicious addresses, names, files and fingerprints say, how they stand, and add one.
    #[command(after_help = "Examples:\n  slips intel lookup 203.0.113.9\n  slips intel status\n  \
                            sudo slips intel update\n  \
                            sudo slips intel import drop.txt --as https://www.spamhaus.org/drop/drop.txt")]
    Intel(intel::Intel),
    /// What is left alone: which rule is about something, and how the rules stand.
    #[command(
        after_help = "Examples:\n  slips whitelist check 192.0.2.7\n  slips whitelist check www.example.org --json\n  \
                            slips whitelist status"
    )]
    Whitelist(whitelist::Whitelist),
    /// How the running daemon is: what it watches, how much goes through, what was lost, how blocking stands, and who is never blocked.
    #[command(
        after_help = "Examples:\n  sudo slips status\n  sudo slips status --json | jq .daemon.flows_per_second\n  sudo slips status --json | jq .never_blocked"
    )]
    Status {
        /// Print JSON: as `slips firewall status --json`, and `daemon`.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: live::Where,
    },
    /// The routers on one Redis, as each tells of itself: who acts, who stands by, who is gone; the daemon must run.
    #[command(
        after_help = "Examples:\n  sudo slips fleet\n  sudo slips fleet --json | jq '.routers[] | select(.state != \"up\")'"
    )]
    Fleet {
        /// Print JSON: {router, reached, routers: [{router, role, state, mode, flows_per_second, alerts, blocks, …}], unread, refused}.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: live::Where,
    },
    /// Follow what happens, as it happens: alerts, evidence, blocks; the daemon must run. Tells where something is missing, and goes on after
    /// a restart of the daemon.
    #[command(
        after_help = "Examples:\n  sudo slips watch\n  sudo slips watch --topics alert,block --json | jq .data.attacker"
    )]
    Watch(live::Watch),
    /// Show the main job on this machine, in network namespaces of its own: an attacker, a router that blocks it, a client.
    #[command(after_help = "Example:\n  sudo slips demo")]
    Demo,
    /// Block an address or network by hand; the daemon must run.
    #[command(after_help = "Example:\n  sudo slips block 203.0.113.9 --for 1h --why 'broke in last night'")]
    Block {
        /// Address or network.
        net: Net,
        /// How long.
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = config::Length::parse)]
        term: config::Length,
        /// Why, for the journal.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// Lift a block; the daemon must run.
    #[command(after_help = "Example:\n  sudo slips unblock 203.0.113.9")]
    Unblock {
        /// Address or network, as `slips firewall list` shows it.
        net: Net,
    },
    /// Leave an innocent alone from now on, and lift its block at once: an address, a network, a domain, a hardware address, an organisation.
    Allow(allow::Allow),
    /// Have the running daemon read its configuration, lists and peers again, without losing anything; a file that is wrong changes nothing.
    #[command(after_help = "Examples:\n  sudo slips reload\n  sudo systemctl reload slips")]
    Reload,
    /// Tell the story of an alert: its evidence, the flows behind each, why this attacker, what was done.
    #[command(
        after_help = "Examples:\n  sudo slips explain 5d41c3a0\n  slips analyze capture.pcap -o out && \
                            slips explain -o out $(jq -r 'select(.Status == \"Incident\").ID' out/alerts.json | head -1)"
    )]
    Explain(Explain),
    /// Tell what is known of an address: hardware, names, programs, places, evidence.
    #[command(
        after_help = "Examples:\n  sudo slips profile 192.168.1.7\n  slips analyze capture.pcap -o out && slips profile 192.168.1.7 -o out --json"
    )]
    Profile(ProfileOf),
    /// List the addresses that were seen, those seen last in front.
    #[command(after_help = "Examples:\n  sudo slips profiles\n  slips profiles -o out --json | jq '.[].ip'")]
    Profiles(Profiles),
    /// List evidence, the latest in front: what, by whom, how bad.
    #[command(
        after_help = "Examples:\n  sudo slips evidence --since 2h\n  sudo slips evidence --profile 203.0.113.9 --kind VERTICAL_PORT_SCAN\n  \
                            slips evidence -o out --json | jq '.[].description'"
    )]
    Evidence(kept::Evidence),
    /// List alerts, the latest in front; `slips explain` tells the story of one.
    #[command(
        after_help = "Examples:\n  sudo slips alerts --since 1d\n  slips alerts -o out --json | jq '.[].attacker'"
    )]
    Alerts(kept::Alerts),
    /// List blocks that stand, and with --all those that ended; `slips firewall list` asks the kernel.
    #[command(after_help = "Examples:\n  sudo slips blocks\n  sudo slips blocks --all --since 7d --json")]
    Blocks(kept::Blocks),
    /// List flows, those that ended last in front.
    #[command(
        after_help = "Examples:\n  sudo slips flows --profile 192.168.1.7 --since 1h\n  slips flows -o out --label malicious -n 1000"
    )]
    Flows(kept::Flows),
    /// Tell what a host did, line by line: with whom it talked, what was said, what came of it.
    #[command(
        after_help = "Examples:\n  sudo slips timeline 192.168.1.7\n  sudo slips timeline 192.168.1.7 --since 2h\n  \
                            slips timeline 192.168.1.7 -o out --window 472452 --json"
    )]
    Timeline(timeline::Timeline),
    /// Write flows, evidence or alerts for other programs: tab- or comma-separated, or JSON lines.
    #[command(after_help = "Examples:\n  sudo slips export flows --format tsv --since 1d -o flows.tsv\n  \
                            slips export evidence --dir out --format json | jq .kind\n  sudo slips export alerts --format csv -o alerts.csv")]
    Export(export::Export),
    /// List the detections; with a name, tell what it detects, from which numbers on, and how it is configured.
    #[command(after_help = "Examples:\n  slips detections\n  slips detections vertical_port_scan")]
    Detections {
        /// A detection.
        name: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The process that talks with peers; the daemon, or slips-p2p.service, starts it.
    #[command(hide = true, name = "p2p-node")]
    P2pNode {
        /// Where the daemon listens. Default: the standard input is a socket to it.
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// The process that fetches lists and asks services; the daemon and `slips intel update` start it.
    #[command(hide = true, name = "fetch-node")]
    FetchNode,
    /// Tell the journal how the daemon ended; slips.service runs it.
    #[command(hide = true)]
    Ended,
    /// Print the description of the control API (OpenAPI 3.1).
    #[command(hide = true)]
    Openapi,
    /// The process that becomes Zeek; the daemon starts it.
    #[command(hide = true, name = "zeek-child")]
    ZeekChild {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Print what a shell needs to complete commands of slips.
    #[command(
        after_help = "Example:\n  slips completions bash | sudo tee /usr/share/bash-completion/completions/slips"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages and the completions of all shells, for packages.
    #[command(hide = true)]
    Manual {
        /// Where.
        dir: PathBuf,
    },
    /// Make a configuration file of one of the original Slips.
    Config {
        #[command(subcommand)]
        command: config_file::Command,
    },
    /// Say what is wrong with a configuration file, all of it.
    #[command(after_help = "Example:\n  slips check-config /etc/slips/slips.yaml")]
    CheckConfig {
        /// The file.
        file: PathBuf,
    },
}

/// Read a capture or flow logs to their end and print what was found.
#[derive(Args, Debug)]
pub(super) struct Analyze {
    /// Captures (pcap, pcapng), Zeek logs or directories of them, Suricata's eve.json, Argus' flow lists, plain or compressed, and
    /// nfdump files; recognised by their content. `-` is standard input.
    #[arg(required = true)]
    pub(super) paths: Vec<PathBuf>,
    /// What the inputs must hold. Default: their content decides.
    #[arg(long, value_enum)]
    pub(super) format: Option<analyze::Format>,
    /// Who makes flows of the packets of captures. Zeek must be installed.
    #[arg(long, value_enum, default_value = "slips")]
    pub(super) sensor: config::SensorKind,
    /// Write alerts.json, alerts.log and flows.sqlite to this directory.
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// Write the flows with their labels to labeled_flows.tsv, .json (one object a line) or .csv in that directory.
    #[arg(long, value_enum, value_name = "FORMAT", requires = "output")]
    pub(super) export: Option<Format>,
    /// Which packets of captures are read, in tcpdump's words: host, net, port, portrange, protocols, vlan, src, dst, and, or, not.
    #[arg(short = 'F', long, value_name = "TEXT")]
    pub(super) filter: Option<PacketFilter>,
    /// Print one JSON object instead of a summary for people.
    #[arg(long)]
    pub(super) json: bool,
    /// Compare with the labels of the input (Zeek's `label`, Argus' `Label`): per flow and host, and the time to the first alert.
    #[arg(long)]
    pub(super) score: bool,
    /// Detection threads; 0 does everything on one thread. Default: one less than there are processors.
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    pub(super) jobs: Option<usize>,
    /// Configuration file. Default: the built-in defaults.
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// Tell the story of an alert.
#[derive(Args, Debug)]
pub(super) struct Explain {
    /// Id of the alert, or its beginning: SLIPS_ALERT_ID in the journal, ID in alerts.json.
    #[arg(value_name = "ALERT")]
    pub(super) alert: String,
    #[command(flatten)]
    pub(super) place: Place,
}

/// Tell what is known of an address.
#[derive(Args, Debug)]
pub(super) struct ProfileOf {
    /// The address.
    #[arg(value_name = "IP")]
    pub(super) addr: std::net::IpAddr,
    #[command(flatten)]
    pub(super) place: Place,
}

/// List the addresses that were seen.
#[derive(Args, Debug)]
pub(super) struct Profiles {
    /// How many at most.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub(super) most: u32,
    #[command(flatten)]
    pub(super) place: Place,
}

/// Watch interfaces and block attackers.
#[derive(Args, Debug)]
pub(super) struct Run {
    /// Interface to watch; may be given several times. Default: `interfaces` of the configuration, else all that are up and have an address.
    #[arg(short, long = "interface", value_name = "IFACE")]
    pub(super) interfaces: Vec<String>,
    /// Hear routers that tell of flows by NetFlow v5, v9 or IPFIX, at this address; may be given several times. With such an input and no
    /// interface, none is watched. Who is heard: `inputs.netflow_exporters` of the configuration.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) netflow: Vec<std::net::SocketAddr>,
    /// Follow Suricata's event log (eve.json) as it grows; may be given several times.
    #[arg(long, visible_alias = "suricata", value_name = "FILE")]
    pub(super) eve: Vec<PathBuf>,
    /// Let programs connect to this unix socket, which tell of flows and hear of alerts (CYST's messages).
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
    /// Read the logs that Zeek writes into this directory, as they grow; may be given several times. With such an input and no interface,
    /// none is watched. Begins with what is written from now on, and goes on there when it is started again.
    #[arg(long, value_name = "DIR")]
    pub(super) zeek_dir: Vec<PathBuf>,
    /// Begin with all that lies in the directories of --zeek-dir and the logs of --eve, where they were never read before.
    #[arg(long)]
    pub(super) from_start: bool,
    /// Who makes flows of the packets of interfaces. Default: `inputs.sensor` of the configuration, slips.
    #[arg(long, value_enum)]
    pub(super) sensor: Option<config::SensorKind>,
    /// Configuration file. Default: /etc/slips/slips.yaml if it is there, else the built-in defaults.
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Which packets are looked at, in tcpdump's words: host, net, port, portrange, protocols, vlan, src, dst, and, or, not.
    #[arg(short = 'F', long, value_name = "TEXT")]
    pub(super) filter: Option<PacketFilter>,
    /// Ask the cards for frames that are not addressed to this host, too.
    #[arg(long)]
    pub(super) promiscuous: bool,
    /// Decide and tell, but never block.
    #[arg(long)]
    pub(super) monitor: bool,
    /// Where alerts.json, alerts.log and the databases go. Default: `output.directory` of the configuration.
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
    /// The socket of the control API. Default: `control.socket` of the configuration, /run/slips/control.sock.
    #[arg(long, value_name = "PATH")]
    pub(super) control: Option<PathBuf>,
}

/// Turn packets into Zeek-compatible logs.
#[derive(Args, Debug)]
pub(super) struct Sensor {
    /// A capture (pcap or pcapng, plain or gzip).
    #[arg(value_name = "PCAP", conflicts_with = "interfaces")]
    pub(super) capture: Option<PathBuf>,
    /// Interface to watch instead; may be given several times. Ends with SIGINT or SIGTERM.
    #[arg(short, long = "interface", value_name = "IFACE")]
    pub(super) interfaces: Vec<String>,
    /// Which packets are read, in tcpdump's words: host, net, port, portrange, protocols, vlan, src, dst, and, or, not.
    #[arg(short = 'F', long, value_name = "TEXT")]
    pub(super) filter: Option<PacketFilter>,
    /// Ask the cards for frames that are not addressed to this host, too.
    #[arg(long, requires = "interfaces")]
    pub(super) promiscuous: bool,
    /// Directory for the logs.
    #[arg(short, long, value_name = "DIR")]
    pub(super) output: PathBuf,
    /// Tab-separated logs with Zeek's headers instead of JSON lines.
    #[arg(long)]
    pub(super) tsv: bool,
    /// Leave out packets with wrong checksums, as Zeek does unless told otherwise.
    #[arg(long)]
    pub(super) verify_checksums: bool,
    /// Configuration file, of which the sections `sensor` and `limits` matter here. Default: Zeek's own time-outs (5 s for
    /// attempts, 5 min of silence), with which its logs are usually made.
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(super) enum FirewallCommand {
    /// How blocking stands: mode, blocks, what was dropped, whether it was tried; the daemon must run.
    Status {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// What the kernel blocks now, with the time left.
    List {
        /// Print JSON: [{net, seconds_left, reason, by, manner}].
        #[arg(long)]
        json: bool,
    },
    /// Why an address or network is blocked, or is not, or never will be; the daemon must run.
    Explain {
        /// Address or network.
        net: Net,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// How much was dropped from and to one address; asked the first time, it is counted from then on. The daemon must run.
    Count {
        /// Address, or IPv6 /64.
        net: Net,
    },
    /// Lift all blocks and remove everything of Slips from the kernel's firewall.
    Flush,
    /// Put the blocks that should still stand into the kernel, without the daemon: before the network is up, say (slips-blocks.service).
    #[command(after_help = "Example:\n  sudo slips firewall restore -c /etc/slips/slips.yaml")]
    Restore {
        /// Configuration file. Default: /etc/slips/slips.yaml if it is there, else the built-in defaults.
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Let everybody pass for a while; blocks stay known and go on to end. The daemon must run.
    Pause {
        /// How long, a day at most.
        #[arg(value_name = "TIME", default_value = "10m", value_parser = config::Length::parse)]
        for_: config::Length,
    },
    /// End a pause; the daemon must run.
    Resume,
    /// Try whether a packet to a blocked address is really dropped; the daemon must run.
    SelfTest,
}

/// A number of detection threads.
fn jobs(text: &str) -> Result<usize, String> {
    let most = |jobs: &usize| *jobs <= MAX_JOBS;
    text.parse().ok().filter(most).ok_or_else(|| format!("a number from 0 to {MAX_JOBS} is needed"))
}

/// Detection threads beyond which a number is a typo.
const MAX_JOBS: usize = 256;
