//! Directories of logs that grow while they are read: every line comes once, whatever happens to the files.

#![expect(clippy::expect_used, reason = "helpers of tests")]

mod cases;
mod load;
mod property;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use slips_core::event::Event;
use slips_core::time::PacketTime;
use slips_input::{Beginning, Feed, FeedReport, GrowingDirectory, Now};
use tempfile::TempDir;

/// A directory with its reader. The clock stands unless it is moved.
struct Follow {
    scratch: TempDir,
    reader: GrowingDirectory,
    now: Now,
    /// Identities of the records that came, in their order.
    seen: Vec<String>,
}

impl Follow {
    fn new(beginning: Beginning) -> Self {
        Self::of(TempDir::new().expect("a directory"), beginning)
    }

    fn of(scratch: TempDir, beginning: Beginning) -> Self {
        let now =
            Now { wall: PacketTime::from_secs_micros(1_700_000_000, 0), steady: Duration::from_secs(50) };
        let reader = GrowingDirectory::open(scratch.path(), beginning, now).expect("a directory");
        Self { scratch, reader, now, seen: Vec::new() }
    }

    /// Another run that goes on where this one stood.
    fn again(&mut self) {
        let mut left = Vec::new();
        self.reader.finish(&mut left);
        self.seen.extend(left.iter().map(identity));
        let mark = self.reader.mark().expect("a place");
        self.reader = GrowingDirectory::open(self.scratch.path(), Beginning::Mark(mark), self.now)
            .expect("a directory");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).expect("renamed");
    }

    fn later(&mut self, by: Duration) {
        self.now.steady += by;
        self.now.wall = PacketTime(self.now.wall.0 + i64::try_from(by.as_micros()).expect("short"));
    }

    /// One turn.
    fn turn(&mut self) -> Duration {
        let mut events = Vec::new();
        let wait = self.reader.read(self.now, &mut events).expect("readable");
        self.seen.extend(events.iter().map(identity));
        wait
    }

    /// Turns until nothing more comes, with the time that passes in between.
    fn settle(&mut self) -> &[String] {
        let mut quiet = 0;
        while quiet < 3 {
            let before = self.seen.len();
            let wait = self.turn();
            quiet = if wait.is_zero() || self.seen.len() > before { 0 } else { quiet + 1 };
            self.later(wait);
        }
        &self.seen
    }

    fn report(&self) -> FeedReport {
        self.reader.report()
    }
}

fn append(path: &Path, text: &str) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).expect("open");
    file.write_all(text.as_bytes()).expect("written");
}

fn identity(event: &Event) -> String {
    match event {
        Event::Flow(flow) => flow.uid.as_str().to_owned(),
        other => other.about().expect("of a connection").uid.as_str().to_owned(),
    }
}

/// A row of conn.log; its time is its number in milliseconds.
fn conn(number: usize) -> String {
    format!(
        "{{\"ts\":{}.{:03},\"uid\":\"C{number}\",\"id.orig_h\":\"10.0.0.1\",\"id.orig_p\":1024,\"id.resp_h\":\"192.0.2.1\",\
         \"id.resp_p\":443,\"proto\":\"tcp\",\"conn_state\":\"SF\"}}\n",
        1_600_000_000 + number / 1000,
        number % 1000
    )
}

/// A row of dns.log.
fn dns(number: usize) -> String {
    format!(
        "{{\"ts\":{}.{:03},\"uid\":\"D{number}\",\"id.orig_h\":\"10.0.0.1\",\"id.resp_h\":\"10.0.0.2\",\"query\":\"x\",\
         \"qtype\":1}}\n",
        1_600_000_000 + number / 1000,
        number % 1000
    )
}

/// Zeek's own format: a header with columns in one of two orders, and a row under it.
fn header(turned: bool) -> String {
    let fields = if turned {
        "uid\tts\tid.resp_h\tid.orig_h\tconn_state"
    } else {
        "ts\tuid\tid.orig_h\tid.resp_h\tconn_state"
    };
    format!(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#open\t2026-11-22-00-00-00\n\
         #fields\t{fields}\n#types\tx\n"
    )
}

fn row(number: usize, turned: bool) -> String {
    let time = format!("{}.{:03}", 1_600_000_000 + number / 1000, number % 1000);
    if turned {
        format!("T{number}\t{time}\t192.0.2.1\t10.0.0.1\tSF\n")
    } else {
        format!("{time}\tT{number}\t10.0.0.1\t192.0.2.1\tSF\n")
    }
}

/// How often each came that did not come once.
fn not_once<'a>(seen: impl IntoIterator<Item = &'a String>, written: &[String]) -> BTreeMap<String, i64> {
    let mut counts: BTreeMap<String, i64> = written.iter().map(|line| (line.clone(), -1)).collect();
    for line in seen {
        *counts.entry(line.clone()).or_default() += 1;
    }
    counts.retain(|_, count| *count != 0);
    counts
}
