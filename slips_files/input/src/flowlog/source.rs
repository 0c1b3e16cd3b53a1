//! A file of records as a source: read ahead, ordered, handed out.

use slips_core::event::Event;

use super::order::Reorder;
use crate::error::InputError;
use crate::report::Report;
use crate::source::{OpenOptions, Progress, Source};

/// So many records are read before the queue is looked at again.
const CHUNK: usize = 64;

/// Reads records of one format.
pub(crate) trait Records: Send {
    /// Reads up to `want` records into `queue`; false at the end of the input.
    fn read(&mut self, want: usize, queue: &mut Reorder, report: &mut Report) -> Result<bool, InputError>;
}

/// A file of such records.
pub(crate) struct FlowLog<R> {
    records: R,
    queue: Reorder,
    ended: bool,
    report: Report,
    progress: Progress,
    batch: usize,
}

impl<R: Records> FlowLog<R> {
    /// `report` knows the file already.
    pub(crate) fn new(records: R, report: Report, progress: Progress, options: &OpenOptions) -> Self {
        let batch = options.batch.max(1);
        Self { records, queue: Reorder::default(), ended: false, report, progress, batch }
    }
}

impl<R: Records> Source for FlowLog<R> {
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, InputError> {
        let full = out.len() + self.batch;
        while out.len() < full {
            if !self.ended && !self.queue.is_full() {
                self.ended = !self.records.read(CHUNK, &mut self.queue, &mut self.report)?;
                continue;
            }
            match self.queue.pop() {
                Some(event) => out.push(event),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn report(&self) -> Report {
        self.report.clone()
    }

    fn progress(&self) -> Option<(u64, u64)> {
        self.progress.now()
    }
}
