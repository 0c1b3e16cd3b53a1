//! `slips sensor`: packets to Zeek-compatible logs, without the engine.

use std::path::Path;
use std::sync::Arc;

use slips_core::addr::LocalNets;
use slips_core::event::Event;
use slips_core::record::Record;
use slips_input::capture::{CaptureSettings, Live, LiveSource};
use slips_input::{OpenOptions, Report, Source};
use slips_sensor::Notices;
use slips_store::{OutputDir, RecordSink, ZeekFormat, ZeekLogs};

use super::analyze::progress;
use super::summary::explained;
use super::{Exit, Failure, Sensor};
use crate::config::{self, Config};
use crate::daemon::capture::failure as capture_failure;
use crate::daemon::signals::Signals;
use crate::daemon::{build, sinks};

pub(super) fn run(options: &Sensor) -> Result<(), Failure> {
    let mut config = match &options.config {
        Some(file) => super::load_config(Some(file))?,
        None => Config { sensor: config::Sensor::zeek(), ..Config::default() },
    };
    config.sensor.verify_checksums |= options.verify_checksums;
    let settings = build::sensor_settings(&config, [0, 0]);
    // The input first: a typo leaves no empty folder behind.
    match &options.capture {
        Some(path) => {
            let open =
                OpenOptions { sensor: settings, filter: options.filter.clone(), ..OpenOptions::default() };
            let source = slips_input::open(path, &open)?;
            if source.report().sensor.is_none() {
                let what = format!("{} holds no packets; `slips analyze` reads flow logs", path.display());
                return Err(Failure::new(Exit::Data, what));
            }
            from_file(path, source, open.batch, logs(options)?)
        }
        None => live(options, settings),
    }
}

fn logs(options: &Sensor) -> Result<ZeekLogs, Failure> {
    let dir = OutputDir::create(&options.output)?;
    let format = if options.tsv { ZeekFormat::Tsv } else { ZeekFormat::Json };
    Ok(ZeekLogs::create(&dir, format, LocalNets::private(), sinks::wall_clock)?)
}

fn from_file(
    path: &Path,
    mut source: Box<dyn Source + Send>,
    size: usize,
    mut logs: ZeekLogs,
) -> Result<(), Failure> {
    let bar = progress(path, source.progress());
    let mut notices = Notices::default();
    let mut more = true;
    while more {
        let mut batch = Vec::with_capacity(size);
        more = source.next_batch(&mut batch)?;
        write(&mut logs, &mut notices, batch)?;
        if let (Some(bar), Some((done, _))) = (&bar, source.progress()) {
            bar.set_position(done);
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Box::new(logs).close()?;
    tell(&source.report());
    Ok(())
}

fn live(options: &Sensor, sensor: slips_sensor::Settings) -> Result<(), Failure> {
    if options.interfaces.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "name a capture or an interface: slips sensor capture.pcap -o logs",
        ));
    }
    let signals = Signals::take().map_err(Failure::software)?;
    let capture = CaptureSettings {
        promiscuous: options.promiscuous,
        filter: options.filter.clone(),
        ..CaptureSettings::new(options.interfaces.iter().cloned())
    };
    let mut source = LiveSource::open(capture, sensor).map_err(capture_failure)?;
    let mut logs = logs(options)?;
    let mut notices = Notices::default();
    let stopper = source.stopper();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            // A broken signal descriptor ends the capture too: better than one that nothing can end.
            while let Ok(None) = signals.wait(std::time::Duration::from_secs(60)) {}
            stopper.stop();
        })
        .map_err(Failure::software)?;
    loop {
        let mut batch = Vec::new();
        let live = source.next_batch(&mut batch).map_err(capture_failure)?;
        write(&mut logs, &mut notices, batch)?;
        match live {
            Live::Stopped => break,
            Live::Silent => logs.flush()?,
            Live::Packets(_) | Live::Changed(_) => {}
        }
    }
    let mut more = true;
    while more {
        let mut batch = Vec::new();
        more = source.finish(&mut batch);
        write(&mut logs, &mut notices, batch)?;
    }
    tell_capture(&mut source, options.interfaces.len());
    Ok(Box::new(logs).close()?)
}

/// What was seen and lost on each interface.
fn tell_capture(source: &mut LiveSource, interfaces: usize) {
    for number in 1..=u16::try_from(interfaces).unwrap_or(u16::MAX) {
        let (Some(counted), Some(name)) = (source.counters(number), source.name(number)) else { continue };
        eprintln!("slips: {name}: {} packets, {} dropped by the kernel", counted.frames, counted.drops);
    }
}

fn write(logs: &mut ZeekLogs, notices: &mut Notices, mut batch: Vec<Event>) -> Result<(), Failure> {
    let more: Vec<_> = batch.iter().filter_map(|event| notices.look(event)).collect();
    batch.extend(more.into_iter().map(|notice| Event::Notice(Box::new(notice))));
    if !batch.is_empty() {
        logs.accept(&[Record::Events(Arc::new(batch))])?;
    }
    Ok(())
}

fn tell(report: &Report) {
    let reached = report.sensor.as_ref().map(slips_sensor::Counters::shortfalls).into_iter().flatten();
    for (name, count) in reached.filter(|(_, count)| *count > 0) {
        eprintln!("slips: {count} {}", explained(name));
    }
    for sample in &report.samples {
        eprintln!("slips: rejected: {sample}");
    }
    for (reason, count) in &report.rejected {
        eprintln!("slips: rejected {count} × {reason}");
    }
}
