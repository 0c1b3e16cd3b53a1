//! Modbus: what changes a machine, each kind once a connection.

use slips_core::exchange::App;

use super::{Dialogue, Request};
use crate::reader::frames::{Frames, Size};
use crate::reader::{Cx, Next};
use crate::track::Dir;
use crate::wire::{be16, byte};

/// Bytes of a frame that are read.
const KEEP: usize = 16;

/// A connection to a machine.
#[derive(Debug, Default)]
pub(crate) struct Modbus {
    frames: [Frames; 2],
    told: u32,
}

/// Transaction, protocol 0, length, unit.
fn size(bytes: &[u8]) -> Size {
    match (be16(bytes, 2), be16(bytes, 4)) {
        (Some(0), Some(length @ 2..=260)) => Size::Of(usize::from(length) + 6),
        (None | Some(0), None) => Size::Unknown,
        _ => Size::Bad,
    }
}

const fn action(function: u8) -> Option<&'static str> {
    Some(match function {
        5 => "write_coil",
        6 => "write_register",
        8 => "diagnostics",
        15 => "write_coils",
        16 => "write_registers",
        21 => "write_file",
        22 => "mask_register",
        23 => "read_write_registers",
        _ => return None,
    })
}

impl Dialogue for Modbus {
    fn take(&mut self, dir: Dir, bytes: &[u8], cx: &mut Cx<'_>) -> Next {
        let Self { frames, told } = self;
        let Some(frames) = frames.get_mut(dir as usize) else { return Next::Done };
        frames.take(bytes, KEEP, size, |frame| {
            let function = byte(frame, 7).unwrap_or(0);
            if let Some(action) = action(function).filter(|_| dir == Dir::Orig && *told >> function & 1 == 0)
            {
                *told |= 1 << function;
                let object = format!("unit {}", byte(frame, 6).unwrap_or(0));
                Request { action, object, ..Request::default() }.tell(App::Modbus, String::new(), cx);
            }
            Next::More
        })
    }

    fn held(&self) -> usize {
        self.frames.iter().map(Frames::held).sum()
    }

    fn reset(&mut self) {
        self.frames.iter_mut().for_each(Frames::clear);
        self.told = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use crate::service::Service;
    use crate::track::Dir::{Orig, Resp};

    #[test]
    fn writes_are_told_once_a_kind() {
        let read = [0, 1, 0, 0, 0, 6, 9, 3, 0, 0, 0, 1];
        let write = [0, 2, 0, 0, 0, 6, 9, 6, 0, 1, 0, 7];
        check(
            Service::Modbus,
            &[(Orig, &read), (Orig, &write), (Resp, &write), (Orig, &write)],
            &["op write_register unit 9   "],
        );
    }
}
