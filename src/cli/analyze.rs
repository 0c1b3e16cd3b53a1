//! `slips analyze`: a finite input through all detections to its end.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use slips_core::engine::pipeline::{self, Input};
use slips_core::event::Event;
use slips_core::intel::Current;
use slips_core::moving::{Gateways, OwnMacs};
use slips_core::record::Record;
use slips_core::settings::Settings;
use slips_core::whitelist::Whitelist;
use slips_input::{InputError, OpenOptions, Report, Source};
use slips_store::RecordSink;

use super::score::Scorer;
use super::summary::Summary;
use super::{Analyze, Exit, Failure, load_config};
use crate::config::{Config, SensorKind};
use crate::daemon::zeek::Zeek;
use crate::daemon::{build, sinks};
use crate::whitelist::Files;

/// Batches of records that may wait for the sinks.
const RECORD_QUEUE: usize = 16;

pub(super) fn run(options: &Analyze) -> Result<(), Failure> {
    #[expect(clippy::disallowed_methods, reason = "the shell measures how long the command took")]
    let started = Instant::now();
    let config = load_config(options.config.as_deref())?;
    let sources = open_all(options, &config)?;
    let (rules, problems) = build::whitelist(&Files::of(&config).without_commands(), Vec::new())?;
    for problem in problems {
        eprintln!("slips: {problem}");
    }
    let whitelist = Current::<dyn Whitelist>::new(rules);
    let settings = Settings { whitelist, ..config.engine(&[]) };
    let (lock, sinks) = match &options.output {
        Some(dir) => {
            sinks::files(dir, sinks::Reuse::Fresh, &settings).map(|(dir, sinks)| (Some(dir), sinks))?
        }
        None => (None, Vec::new()),
    };
    let jobs = options.jobs.unwrap_or_else(build::default_shards);

    let lists = build::lists(&config);
    let (shelf, problems) = build::intelligence(&config, &lists, crate::lists::Copy::Leave)?;
    let intel = shelf.current();
    for problem in problems {
        eprintln!("slips: {problem}");
    }
    let (leak_rules, problems) = build::leak_rules(&config)?;
    for problem in problems {
        eprintln!("slips: {problem}");
    }
    let registry = build::registry(&config, &intel, leak_rules, Gateways::default(), OwnMacs::default());
    let (records_in, records) = sync_channel(RECORD_QUEUE);
    let (input, pipeline) = pipeline::start(&settings, &*registry, jobs, move |batch| {
        // The collector ends only when this sender is gone, or by a panic that its join reports.
        let _ = records_in.send(batch);
    })
    .map_err(Failure::software)?;
    let scorer = options.score.then(Scorer::default);
    let collector = thread::Builder::new()
        .name("sinks".into())
        .spawn(move || collect(&records, sinks, scorer))
        .map_err(Failure::software)?;

    let mut reports = Vec::new();
    for (path, source) in sources {
        reports.push(feed(&path, source, &input)?);
    }
    drop(input);
    let stats = pipeline
        .join()
        .map_err(|thread| Failure::new(Exit::Software, format!("the {thread} thread panicked")))?;
    let mut summary =
        collector.join().map_err(|_| Failure::new(Exit::Software, "the sinks thread panicked"))??;
    for report in &reports {
        summary.add_report(report);
    }
    if let (Some(format), Some(dir)) = (options.export, &options.output) {
        super::export::labelled(dir, format)?;
    }
    // Nobody else may write there before all of it is done.
    drop(lock);
    summary.finish(&stats, started.elapsed().as_secs_f64());
    print(&summary, options.json)
}

/// What an input holds, in the words of the command line.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(super) enum Format {
    Pcap,
    Zeek,
    Suricata,
    Argus,
    Nfdump,
}

impl From<Format> for slips_input::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Pcap => Self::Pcap,
            Format::Zeek => Self::Zeek,
            Format::Suricata => Self::Suricata,
            Format::Argus => Self::Argus,
            Format::Nfdump => Self::Nfdump,
        }
    }
}

type Opened = (std::path::PathBuf, Box<dyn Source + Send>);

/// Opens all inputs before any is read: a typo in the last path must not cost the work on the first.
fn open_all(asked: &Analyze, config: &Config) -> Result<Vec<Opened>, Failure> {
    let options = OpenOptions {
        format: asked.format.map(Into::into),
        sensor: build::searching(
            build::sensor_settings(config, [0, 0]),
            config,
            config.engine(&[]).local_nets,
            1,
        ),
        filter: asked.filter.clone(),
        ..OpenOptions::default()
    };
    let standard_input = Path::new("-");
    if asked.paths.iter().filter(|path| *path == standard_input).count() > 1 {
        return Err(Failure::new(Exit::Usage, "standard input can be read once only"));
    }
    let open = |path: &std::path::PathBuf| {
        let source = if path == standard_input {
            slips_input::open_stream(Path::new("standard input"), Box::new(std::io::stdin()), &options)?
        } else {
            slips_input::open(path, &options)?
        };
        let is_capture = source.report().sensor.is_some();
        if asked.sensor == SensorKind::Zeek && is_capture {
            return Ok((path.clone(), by_zeek(path, config, &options)?));
        }
        Ok((path.clone(), source))
    };
    asked.paths.iter().map(open).collect()
}

/// Has Zeek make logs of a capture, and opens these.
fn by_zeek(path: &Path, config: &Config, options: &OpenOptions) -> Result<Box<dyn Source + Send>, Failure> {
    if options.filter.is_some() {
        return Err(Failure::new(Exit::Usage, "--filter is for our own sensor, not for Zeek"));
    }
    let (binary, scripts) = (config.inputs.zeek_program.clone(), config.inputs.zeek_scripts.clone());
    let zeek = Zeek { binary, scripts };
    zeek.check()?;
    let pattern = std::env::temp_dir().join("slips-zeek-XXXXXX");
    let dir = Scratch(nix::unistd::mkdtemp(&pattern).map_err(Failure::software)?);
    zeek.read(path, &dir.0)?;
    let format = Some(slips_input::Format::Zeek);
    let logs = slips_input::open(&dir.0, &OpenOptions { format, ..options.clone() })?;
    Ok(Box::new(ByZeek { logs, _dir: dir }))
}

/// A directory that is removed when nobody needs it any more.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is the system's to clear away.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The logs that Zeek made of a capture.
struct ByZeek {
    logs: Box<dyn Source + Send>,
    _dir: Scratch,
}

impl Source for ByZeek {
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, InputError> {
        self.logs.next_batch(out)
    }

    fn report(&self) -> Report {
        self.logs.report()
    }

    fn progress(&self) -> Option<(u64, u64)> {
        self.logs.progress()
    }
}

fn feed(path: &Path, mut source: Box<dyn Source + Send>, input: &Input) -> Result<Report, Failure> {
    let bar = progress(path, source.progress());
    loop {
        let mut batch = Vec::with_capacity(1024);
        let more = source.next_batch(&mut batch)?;
        if !batch.is_empty() && input.send(batch).is_err() {
            return Err(Failure::new(Exit::Software, "the detection threads ended early"));
        }
        if let (Some(bar), Some((done, _))) = (&bar, source.progress()) {
            bar.set_position(done);
        }
        if !more {
            break;
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(source.report())
}

/// A bar on a terminal, none in a pipe.
pub(super) fn progress(path: &Path, size: Option<(u64, u64)>) -> Option<ProgressBar> {
    let (_, total) = size?;
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(path.display().to_string());
    Some(bar)
}

fn collect(
    records: &Receiver<Vec<Record>>,
    mut sinks: Vec<Box<dyn RecordSink>>,
    mut scorer: Option<Scorer>,
) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    while let Ok(batch) = records.recv() {
        summary.add(&batch);
        if let Some(scorer) = &mut scorer {
            scorer.add(&batch);
        }
        for sink in &mut sinks {
            sink.accept(&batch)?;
        }
    }
    for sink in sinks {
        sink.close()?;
    }
    summary.score = scorer.map(Scorer::finish);
    Ok(summary)
}

fn print(summary: &Summary, json: bool) -> Result<(), Failure> {
    if json { super::print_object(summary) } else { super::print_out(&summary.text()) }
}
