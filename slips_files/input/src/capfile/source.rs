//! A capture file through the sensor.

use std::collections::VecDeque;

use slips_core::event::Event;
use slips_sensor::{LinkType, Sensor};

use super::CaptureFile;
use crate::error::InputError;
use crate::report::{Reason, Report};
use crate::source::{OpenOptions, Source};

/// So many packets are taken before the batch is handed on, even where they tell nothing.
const PACKETS: usize = 4096;

/// Events of a capture file.
pub(crate) struct CaptureSource {
    file: CaptureFile,
    sensor: Sensor,
    /// What the flows that were still open at the end of the file tell.
    rest: VecDeque<Event>,
    ended: bool,
    batch: usize,
}

impl CaptureSource {
    pub(crate) fn new(file: CaptureFile, options: &OpenOptions) -> Self {
        let sensor = Sensor::new(options.sensor.clone());
        Self { file, sensor, rest: VecDeque::new(), ended: false, batch: options.batch.max(1) }
    }

    fn read(&mut self, out: &mut Vec<Event>) -> Result<(), InputError> {
        let full = out.len() + self.batch;
        for _ in 0..PACKETS {
            if out.len() >= full {
                break;
            }
            let Some(packet) = self.file.next_packet()? else {
                self.ended = true;
                let mut rest = Vec::new();
                self.sensor.finish(&mut rest);
                self.rest = rest.into();
                break;
            };
            match LinkType::from_dlt(packet.dlt) {
                Some(link) => self.sensor.packet(
                    link,
                    packet.interface,
                    packet.at,
                    packet.captured,
                    packet.wire_len,
                    out,
                ),
                None => self.file.refuse(Reason::UnknownLinkType),
            }
        }
        Ok(())
    }
}

impl Source for CaptureSource {
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, InputError> {
        if !self.ended {
            self.read(out)?;
            return Ok(true);
        }
        let count = self.rest.len().min(self.batch);
        out.extend(self.rest.drain(..count));
        Ok(!self.rest.is_empty())
    }

    fn report(&self) -> Report {
        let mut report = self.file.report().clone();
        report.sensor = Some(self.sensor.counters().clone());
        report
    }

    fn progress(&self) -> Option<(u64, u64)> {
        self.file.progress()
    }
}
