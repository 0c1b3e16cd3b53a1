//! What is remembered of each fetched file between two updates: by which words its server knows it, when it was asked, and how it went.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::lists::{read_bounded, write_whole};

/// What is remembered of one file. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// By which the server knows what we have.
    pub etag: Option<String>,
    /// The same by its time.
    pub last_modified: Option<String>,
    /// Size of the file that these words are about.
    pub size: u64,
    /// How much was in it.
    pub entries: u64,
    /// When the server was last asked.
    pub asked: i64,
    /// When it last sent something that was taken.
    pub taken: i64,
    /// When it is asked again.
    pub next: i64,
    /// How often in a row it went wrong.
    pub failures: u32,
    /// What went wrong last.
    pub problem: String,
    /// A much smaller one came, which waits for another that is as small.
    pub held: Option<Held>,
}

/// A file that was not taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// When it came.
    pub since: i64,
    /// How much was in it.
    pub entries: u64,
    /// How many came that are as small.
    #[serde(default)]
    pub times: u32,
}

/// All records, by URL.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    /// What is remembered.
    pub records: BTreeMap<String, Record>,
}

/// Largest book: a thousand files with long words.
const LARGEST: u64 = 8 << 20;

impl Book {
    /// What was remembered in this directory. A broken book is a new one: what it is about is still there.
    pub fn open(dir: &Path) -> Self {
        let path = dir.join("updates.json");
        let read = read_bounded(&path, LARGEST);
        let records = read.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path, records }
    }

    /// Keeps it, whole or not at all.
    pub fn keep(&self) -> io::Result<()> {
        write_whole(&self.path, &serde_json::to_vec_pretty(&self.records)?)
    }
}
