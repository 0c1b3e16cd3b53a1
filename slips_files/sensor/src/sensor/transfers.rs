//! File transfers: the control connection announces the data connections.

use slips_core::time::PacketTime;

use super::Sensor;
use crate::service::Service;
use crate::track::{Dir, Kind};
use crate::{tcp, transfer};

impl Sensor {
    /// A line of a control connection may announce a data connection.
    pub(super) fn read_ftp(&mut self, index: u32, placed: tcp::Placed, at: PacketTime, payload: &[u8]) {
        if placed.place != tcp::Place::Next {
            return;
        }
        let Some(port) = transfer::announcement(placed.dir, payload) else { return };
        let Some(track) = self.table.get(index) else { return };
        let (listener, peer) = match placed.dir {
            Dir::Orig => (track.orig, track.resp),
            Dir::Resp => (track.resp, track.orig),
        };
        self.expected.announce(at, (listener, port, peer));
        self.counters.transfers_forgotten = self.expected.forgotten;
    }

    /// Names a flow that was announced, and reads the file that it carries.
    pub(super) fn greet_expected(&mut self, index: u32, at: PacketTime) {
        let Some(track) = self.table.get(index).filter(|track| track.kind == Kind::Tcp) else { return };
        let ends = (track.resp, track.resp_port, track.orig);
        if self.expected.take(at, ends)
            && let Some(track) = self.table.get(index)
        {
            track.found(Service::FtpData);
            track.reader = self.tools.open_segments(Some(Service::FtpData), [1, 1], track.in_unanswered);
        }
    }
}
