//! The command line: a contract that tests and users rely on. Each command's work is in its own file.

mod allow;
mod analyze;
mod arguments;
mod config_file;
mod detections;
mod exit;
mod explain;
mod export;
mod firewall;
mod fleet;
mod intel;
mod kept;
mod live;
mod manual;
mod peers;
mod place;
mod profile;
mod score;
mod sensor;
mod summary;
mod table;
mod timeline;
mod whitelist;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use slips_systemd::notify::Environment;

use crate::config::{Config, FilterText, Mode};
use crate::control::Ask;
use crate::{daemon, demo, outside};
use arguments::{Analyze, Cli, Command, Explain, FirewallCommand, ProfileOf, Profiles, Run, Sensor};
pub use exit::{Exit, Failure};

/// Parses the command line, does what it says, and turns errors into exit codes.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
            // A closed pipe while printing help is nobody's problem.
            let _ = error.print();
            return code;
        }
    };
    let done = match cli.command {
        Command::Analyze(options) => analyze::run(&options),
        Command::Run(options) => run(options),
        Command::Sensor(options) => sensor::run(&options),
        Command::Firewall { command } => firewall::run(&command),
        Command::Peers(options) => peers::run(options),
        Command::Intel(options) => intel::run(options),
        Command::Whitelist(options) => whitelist::run(options),
        Command::Status { json, place } => live::status(&place, json),
        Command::Fleet { json, place } => fleet::fleet(&place, json),
        Command::Watch(asked) => live::watch(&asked),
        Command::Demo => demo::run(),
        Command::Block { net, term, why } => {
            firewall::ask_daemon(&Ask::Block { net, secs: term.0.as_secs(), why })
        }
        Command::Unblock { net } => firewall::ask_daemon(&Ask::Unblock(net)),
        Command::Allow(options) => allow::run(&options),
        Command::Reload => firewall::ask_daemon(&Ask::Reload),
        Command::Explain(asked) => explain::run(&asked),
        Command::Profile(asked) => profile::run(&asked),
        Command::Profiles(asked) => profile::list(&asked),
        Command::Evidence(asked) => kept::evidence(&asked),
        Command::Alerts(asked) => kept::alerts(&asked),
        Command::Blocks(asked) => kept::blocks(&asked),
        Command::Flows(asked) => kept::flows(&asked),
        Command::Timeline(asked) => timeline::run(&asked),
        Command::Export(asked) => export::run(asked),
        Command::Detections { name, json } => detections::run(name.as_deref(), json),
        Command::P2pNode { socket } => daemon::peers::process::run(socket.as_deref()),
        Command::FetchNode => outside::process::run(),
        Command::Ended => {
            daemon::failure::tell(&Environment::read());
            Ok(())
        }
        Command::Openapi => print_out(&crate::control::api::openapi::text()),
        Command::ZeekChild { command } => daemon::zeek::exec(&command),
        Command::Completions { shell } => manual::completions::<Cli>(shell),
        Command::Manual { dir } => manual::write::<Cli>(&dir),
        Command::CheckConfig { file } => config_file::check(&file),
        Command::Config { command } => config_file::run(&command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("slips: {failure}");
            failure.exit.into()
        }
    }
}

fn run(options: Run) -> Result<(), Failure> {
    let interfaces = options.interfaces.clone();
    let config = run_config(&options)?;
    let environment = Environment::read();
    let alive = daemon::failure::Alive::begin(&environment);
    let ended = daemon::run::run(&config, Box::new(move || run_config(&options)), &interfaces, &environment);
    alive.end();
    ended
}

/// What the file says, and what the command line says over it.
fn run_config(options: &Run) -> Result<Config, Failure> {
    let mut config = installed_config(options.config.as_deref())?;
    if options.monitor {
        config.firewall.mode = Mode::Monitor;
    }
    if options.filter.is_some() {
        config.capture.filter = FilterText(options.filter.clone());
    }
    config.capture.promiscuous |= options.promiscuous;
    config.inputs.netflow.extend(&options.netflow);
    config.inputs.eve.extend(options.eve.iter().cloned());
    if let Some(socket) = &options.socket {
        config.inputs.socket.clone_from(socket);
    }
    config.inputs.zeek_dirs.extend(options.zeek_dir.iter().cloned());
    config.inputs.from_start = options.from_start;
    config.inputs.sensor = options.sensor.unwrap_or(config.inputs.sensor);
    let logs = !options.eve.is_empty() || !options.zeek_dir.is_empty();
    let named = !options.netflow.is_empty() || logs || options.socket.is_some();
    config.inputs.alone = options.interfaces.is_empty() && named;
    if let Some(directory) = &options.output {
        config.output.directory.clone_from(directory);
    }
    if let Some(socket) = &options.control {
        config.control.socket.clone_from(socket);
    }
    Ok(config)
}

/// Prints a whole text.
fn print_out(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads us has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::software),
    }
}

/// Prints an object in one line, harmless for a terminal.
fn print_object(value: &impl serde::Serialize) -> Result<(), Failure> {
    print_out(&(crate::export::json(value).map_err(Failure::software)? + "\n"))
}

/// The configuration named on the command line, or the defaults.
fn load_config(file: Option<&std::path::Path>) -> Result<Config, Failure> {
    match file {
        Some(file) => Ok(Config::load(file)?),
        None => Ok(Config::default()),
    }
}

/// The configuration named on the command line, or the installed one, or the defaults.
fn installed_config(file: Option<&std::path::Path>) -> Result<Config, Failure> {
    let installed = std::path::Path::new(INSTALLED_CONFIG);
    load_config(file.or_else(|| installed.exists().then_some(installed)))
}

/// Where install.sh puts the configuration.
const INSTALLED_CONFIG: &str = "/etc/slips/slips.yaml";
