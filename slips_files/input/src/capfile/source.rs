//! A capture file through the sensor.

use slips_core::event::Event;
use slips_sensor::{LinkType, Sensor};

use super::CaptureFile;
use crate::error::InputError;
use crate::filter::{LinkKind, PacketFilter, Program, RunsIn};
use crate::report::{Reason, Report};
use crate::source::{OpenOptions, Source};

/// So many packets are taken before the batch is handed on, even where they tell nothing.
const PACKETS: usize = 4096;

/// Events of a capture file.
pub(crate) struct CaptureSource {
    file: CaptureFile,
    sensor: Sensor,
    /// The file has ended; the flows that are still open have not.
    ended: bool,
    batch: usize,
    filter: Option<PacketFilter>,
    /// The filter for the kinds of link that were met: files have one, or a handful.
    programs: Vec<(u32, Option<Program>)>,
}

impl CaptureSource {
    pub(crate) fn new(file: CaptureFile, options: &OpenOptions) -> Self {
        let sensor = Sensor::new(options.sensor.clone());
        Self {
            file,
            sensor,
            ended: false,
            batch: options.batch.max(1),
            filter: options.filter.clone(),
            programs: Vec::new(),
        }
    }

    fn read(&mut self, out: &mut Vec<Event>) -> Result<(), InputError> {
        let full = out.len() + self.batch;
        for _ in 0..PACKETS {
            if out.len() >= full {
                break;
            }
            let Some(packet) = self.file.next_packet()? else {
                self.ended = true;
                break;
            };
            if let Some(filter) = &self.filter {
                match program(&mut self.programs, filter, packet.dlt) {
                    Some(program) if program.accepts(packet.captured, packet.wire_len) => {}
                    Some(_) => continue,
                    None => {
                        self.file.refuse(Reason::UnknownLinkType);
                        continue;
                    }
                }
            }
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

/// The filter for a kind of link, compiled when it is first met; `None` where filters cannot be used.
fn program<'p>(
    programs: &'p mut Vec<(u32, Option<Program>)>,
    filter: &PacketFilter,
    dlt: u32,
) -> Option<&'p Program> {
    let at = programs.iter().position(|(known, _)| *known == dlt).unwrap_or_else(|| {
        let kind = LinkKind::from_dlt(dlt);
        let program = kind.and_then(|kind| filter.program(kind, RunsIn::Here, None).ok());
        programs.push((dlt, program));
        programs.len() - 1
    });
    programs.get(at)?.1.as_ref()
}

impl Source for CaptureSource {
    fn next_batch(&mut self, out: &mut Vec<Event>) -> Result<bool, InputError> {
        if !self.ended {
            self.read(out)?;
            return Ok(true);
        }
        Ok(self.sensor.finish_some(self.batch, out))
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
