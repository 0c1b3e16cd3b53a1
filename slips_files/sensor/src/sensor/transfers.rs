//! File transfers: the control connection announces the data connections.

use slips_core::event::{Event, Ftp};
use slips_core::time::PacketTime;

use super::Sensor;
use crate::service::Service;
use crate::track::{Dir, Kind};
use crate::{emit, ftp, tcp};

impl Sensor {
    /// A line of a control connection may announce a data connection.
    pub(super) fn read_ftp(
        &mut self,
        index: u32,
        placed: tcp::Placed,
        at: PacketTime,
        payload: &[u8],
        out: &mut Vec<Event>,
    ) {
        if placed.place != tcp::Place::Next {
            return;
        }
        let Some(announcement) = ftp::announcement(placed.dir, payload) else { return };
        let Some(track) = self.table.get(index) else { return };
        let (listener, peer) = match placed.dir {
            Dir::Orig => (track.orig, track.resp),
            Dir::Resp => (track.resp, track.orig),
        };
        out.push(Event::Ftp(Box::new(Ftp {
            about: emit::about(track, at),
            user: String::new(),
            command: announcement.command.to_owned(),
            reply_code: announcement.reply,
            data_port: Some(announcement.port),
        })));
        self.expected.announce(at, (listener, announcement.port, peer));
    }

    /// Names a flow that was announced.
    pub(super) fn greet_expected(&mut self, index: u32, at: PacketTime) {
        let Some(track) = self.table.get(index).filter(|track| track.kind == Kind::Tcp) else { return };
        let ends = (track.resp, track.resp_port, track.orig);
        if self.expected.take(at, ends)
            && let Some(track) = self.table.get(index)
        {
            track.found(Service::FtpData);
        }
    }
}
