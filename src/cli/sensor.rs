//! `slips sensor`: packets to Zeek-compatible logs, without the engine.

use std::path::Path;
use std::sync::Arc;

use slips_core::addr::LocalNets;
use slips_core::event::Event;
use slips_core::record::Record;
use slips_input::capture::{CaptureSettings, Live, LiveSource};
use slips_input::{OpenOptions, Report};
use slips_store::{OutputDir, RecordSink, ZeekFormat, ZeekLogs};

use super::analyze::progress;
use super::{Exit, Failure, Sensor};
use crate::config::Config;
use crate::daemon::capture::failure as capture_failure;
use crate::daemon::signals::Signals;
use crate::daemon::{build, sinks};

pub(super) fn run(options: &Sensor) -> Result<(), Failure> {
    let dir = OutputDir::create(&options.output)?;
    let format = if options.tsv { ZeekFormat::Tsv } else { ZeekFormat::Json };
    let logs = ZeekLogs::create(&dir, format, LocalNets::private(), sinks::wall_clock)?;
    let settings = slips_sensor::Settings {
        verify_checksums: options.verify_checksums,
        ..build::sensor_settings(&Config::default(), [0, 0])
    };
    match &options.capture {
        Some(path) => from_file(path, settings, logs),
        None => live(&options.interfaces, settings, logs),
    }
}

fn from_file(path: &Path, sensor: slips_sensor::Settings, mut logs: ZeekLogs) -> Result<(), Failure> {
    let options = OpenOptions { sensor, ..OpenOptions::default() };
    let mut source = slips_input::open(path, &options)?;
    let bar = progress(path, source.progress());
    let mut more = true;
    while more {
        let mut batch = Vec::with_capacity(options.batch);
        more = source.next_batch(&mut batch)?;
        write(&mut logs, batch)?;
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

fn live(interfaces: &[String], sensor: slips_sensor::Settings, mut logs: ZeekLogs) -> Result<(), Failure> {
    if interfaces.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            "name a capture or an interface: slips sensor capture.pcap -o logs",
        ));
    }
    let signals = Signals::take().map_err(Failure::software)?;
    let mut source = LiveSource::open(CaptureSettings::new(interfaces.iter().cloned()), sensor)
        .map_err(capture_failure)?;
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
        let stopped = live == Live::Stopped;
        if stopped {
            source.finish(&mut batch);
        }
        write(&mut logs, batch)?;
        if live == Live::Silent {
            logs.flush()?;
        }
        if stopped {
            Box::new(logs).close()?;
            return Ok(());
        }
    }
}

fn write(logs: &mut ZeekLogs, batch: Vec<Event>) -> Result<(), Failure> {
    if !batch.is_empty() {
        logs.accept(&[Record::Events(Arc::new(batch))])?;
    }
    Ok(())
}

fn tell(report: &Report) {
    for sample in &report.samples {
        eprintln!("slips: rejected: {sample}");
    }
    for (reason, count) in &report.rejected {
        eprintln!("slips: rejected {count} × {reason}");
    }
}
