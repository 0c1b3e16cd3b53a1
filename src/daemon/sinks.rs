//! The sinks of a run: which files are written, and the thread that writes them while the daemon runs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slips_core::record::Record;
use slips_core::settings::Settings;
use slips_store::profiles::{ProfileSettings, Profiles};
use slips_store::{
    AlertsJson, AlertsLog, Blocks, Damaged, Filed, OutputDir, RecordSink, Sqlite, SqliteLimits, StoreError,
};

use super::aside::open_journal;
use super::clocks::{self, Clocks};
use super::entries;
use super::overload::Rows;
use super::pulse::Pulse;

/// How often it is told that a file cannot be written.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// How often files are flushed.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// What happens to files of an earlier run.
#[derive(Clone, Copy)]
pub enum Reuse<'a> {
    /// They are moved away: the results of an analysis stand alone.
    Fresh,
    /// They go on: a daemon restarts.
    Continue {
        /// Rows of flows are not kept while it says so.
        pulse: &'a Arc<Pulse>,
        /// Told which alerts the database has.
        filed: &'a Filed,
        /// How much of it is kept.
        database: &'a crate::config::Database,
    },
}

/// The files that a run leaves in its output directory. The directory is ours as long as the first value lives.
///
/// `settings` are those of the engine: profiles are made by the same hosts and windows.
pub fn files(
    dir: &Path,
    reuse: Reuse<'_>,
    settings: &Settings,
) -> Result<(OutputDir, Vec<Box<dyn RecordSink>>), StoreError> {
    let (dir, damaged) = match reuse {
        Reuse::Fresh => (OutputDir::create_fresh(dir)?, Damaged::Refused),
        // A daemon watches on, whatever became of what it had written.
        Reuse::Continue { .. } => (OutputDir::create(dir)?, Damaged::PutAside),
    };
    let mut profiles = ProfileSettings {
        damaged,
        ..ProfileSettings::new(settings.local_nets.clone(), settings.own_macs.clone(), settings.width)
    };
    let host = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let open = |limits| Sqlite::open_with(dir.flows_sqlite(), limits, wall_clock, damaged);
    let rows: Box<dyn RecordSink> = match reuse {
        Reuse::Fresh => Box::new(open(SqliteLimits::default())?),
        Reuse::Continue { pulse, filed, database } => {
            let disk = file_system(dir.path());
            profiles.kept = database.profiles(disk);
            let book = dir.blocks_sqlite();
            let beat = Arc::clone(pulse);
            let rows = open(database.limits(disk))?.ageing_by(clocks::steady).showing_life(move || {
                beat.sinks.fetch_add(1, Ordering::Relaxed);
            });
            let mut rows = rows.telling(filed.clone()).beside(book.clone());
            take_over(&mut rows, &book);
            Box::new(Rows::before(Box::new(rows), Arc::clone(pulse)))
        }
    };
    let sinks: Vec<Box<dyn RecordSink>> = vec![
        Box::new(AlertsJson::open(dir.alerts_json(), host, wall_clock)?),
        Box::new(AlertsLog::open(dir.alerts_log(), wall_clock)?),
        rows,
        Box::new(Profiles::open(dir.flows_sqlite(), profiles, wall_clock)?),
    ];
    Ok((dir, sinks))
}

/// The size of the file system that the directory is on.
fn file_system(dir: &Path) -> Option<u64> {
    let facts = nix::sys::statvfs::statvfs(dir).ok()?;
    // Both are as wide as the machine's words.
    #[allow(clippy::useless_conversion, reason = "their types differ between machines")]
    u64::from(facts.blocks()).checked_mul(u64::from(facts.fragment_size()))
}

/// Files the alerts that the journal was told of when the process was killed before they were in the database: the book has them.
fn take_over(rows: &mut Sqlite, book: &Path) {
    /// So many at once: each is as large as its evidence.
    const PAGE: u32 = 256;
    // A book that cannot be read is told of by the responder, which opens it next.
    let Ok(book) = Blocks::open(book) else { return };
    let mut after = 0;
    while let Ok(Some((due, last))) = book.alerts_due_after(after, PAGE) {
        after = last;
        let due: Vec<Record> = due.into_iter().map(|alert| Record::Alert(Arc::new(alert))).collect();
        // The first flush tells what could not be written: nobody listens yet. The rest stays in the book.
        let mut lost = rows.lost();
        let mut written = rows.accept(&due).and_then(|()| rows.write_held());
        while written.is_err() {
            let now = rows.lost();
            if std::mem::replace(&mut lost, now) == now {
                return;
            }
            // It was one of them, which is none of those that are held now.
            written = rows.write_held();
        }
    }
}

/// Keeps records in files until no more come. A file that cannot be written is told once a minute, and tried again with each batch.
pub fn keep(records: &Receiver<Vec<Record>>, mut sinks: Vec<Box<dyn RecordSink>>, pulse: &Pulse) {
    let clock = Clocks::default().steady;
    let mut journal = open_journal();
    let mut told: Option<Duration> = None;
    let mut flushed = clock();
    let mut shrunk = 0;
    let mut complain = |error: StoreError| {
        let now = clock();
        let is_event = matches!(error, StoreError::Damaged { .. });
        if is_event || told.is_none_or(|told| now.saturating_sub(told) >= COMPLAIN_EVERY) {
            told = Some(now);
            let text = format!("{:#}", anyhow::Error::from(error));
            journal.send(&entries::degraded("the files", &text));
        }
    };
    loop {
        pulse.sinks.fetch_add(1, Ordering::Relaxed);
        match records.recv_timeout(FLUSH_EVERY) {
            Ok(batch) => {
                for sink in &mut sinks {
                    sink.accept(&batch).unwrap_or_else(&mut complain);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let now = clock();
        if now.saturating_sub(flushed) >= FLUSH_EVERY {
            flushed = now;
            for sink in &mut sinks {
                sink.flush().unwrap_or_else(&mut complain);
            }
            let now_shrunk = pulse.shrinks.load(Ordering::Relaxed);
            if std::mem::replace(&mut shrunk, now_shrunk) != now_shrunk {
                for sink in &mut sinks {
                    sink.shrink();
                }
            }
            pulse.unwritten.store(sinks.iter().map(|sink| sink.lost()).sum(), Ordering::Relaxed);
        }
    }
    for sink in sinks {
        sink.close().unwrap_or_else(&mut complain);
    }
}

/// Microseconds of wall time since the Unix epoch.
pub fn wall_clock() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the shell's one wall clock, handed down to whoever needs it"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_the_database_was_damaged_at_the_start_is_told_by_the_first_flush() {
        let dir = tempfile::tempdir().expect("dir");
        drop(OutputDir::create(dir.path()).expect("ours"));
        std::fs::write(dir.path().join("flows.sqlite"), "no database ".repeat(500)).expect("write");
        let (pulse, filed, database) = (Arc::default(), Filed::default(), crate::config::Database::default());
        let reuse = Reuse::Continue { pulse: &pulse, filed: &filed, database: &database };
        let (_dir, mut sinks) = files(dir.path(), reuse, &Settings::default()).expect("sinks");
        let told: Vec<_> = sinks.iter_mut().filter_map(|sink| sink.flush().err()).collect();
        assert!(matches!(told[..], [StoreError::Damaged { .. }]), "{told:?}");
    }
}
