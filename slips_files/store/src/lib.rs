//! What Slips leaves behind on disk: alerts for people and programs, labelled flows, blocks, Zeek-compatible logs.
//!
//! Sinks take the engine's records and write them. They decide nothing, own no thread and read no clock: where wall time is
//! needed a [`Clock`] is handed in. A disk that is full or read-only is an error value, never the end of the daemon: the sink
//! keeps a bounded backlog, counts what it had to drop and goes on when it can write again.
//!
//! Start with [`RecordSink`], then [`OutputDir`].
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

mod alerts_json;
mod alerts_log;
mod lines;
mod output_dir;
pub mod profiles;
pub mod redis;
pub mod render;
mod sink;
mod sqlite;
pub mod timeline;
pub mod wire;
mod zeek;

pub use alerts_json::AlertsJson;
pub use alerts_log::AlertsLog;
pub use lines::{Limits, LineFile};
pub use output_dir::OutputDir;
pub use sink::{Clock, RecordSink, Steady, StoreError};
pub use sqlite::is_protocol_record;
pub use sqlite::{
    Answer, Answers, Block, BlockId, BlockState, Blocks, Brief, Damaged, Filed, Keep, KeptEnvelope, Mark,
    NewBlock, Outcome, PeerBook, PeerPlace, PeerStanding, Sqlite, SqliteLimits, StoredProfile, Stories,
    Story, ToldEvidence, Unentered, read,
};
pub use zeek::{ZeekFormat, ZeekLogs};
