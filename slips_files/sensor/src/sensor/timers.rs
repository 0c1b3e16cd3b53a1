//! Timers: what becomes due for a flow while nothing happens to it, and its end.

use slips_core::event::{Event, Ssh};
use slips_core::flow::{ConnState, Phase};
use slips_core::time::PacketTime;

use super::{Sensor, tunnels};
use crate::reader::Tools;
use crate::settings::Settings;
use crate::software::Kind as Shown;
use crate::track::{Kind, Patience, Track};
use crate::{emit, ports};

impl Sensor {
    /// The moment at which something is next due for a flow.
    fn due(track: &Track, settings: &Settings) -> PacketTime {
        let mut due = track.expires(settings).min(track.told_at + settings.update_interval);
        if Self::may_be_unanswered(track) {
            due = due.min(track.first + settings.unanswered_after);
        }
        due
    }

    /// Whether this flow is an attempt that is told as unanswered if nobody answers.
    fn may_be_unanswered(track: &Track) -> bool {
        if !track.in_unanswered || track.told.unanswered || track.told.rejected {
            return false;
        }
        match track.kind {
            Kind::Tcp | Kind::Udp => {
                matches!(emit::state(track), ConnState::S0 | ConnState::Sh | ConnState::Rstos0)
            }
            Kind::IcmpTwoWay => true,
            Kind::IcmpOneWay | Kind::Other => false,
        }
    }

    pub(super) fn arm(&mut self, index: u32) {
        let Some(track) = self.table.get(index) else { return };
        track.due = Self::due(track, &self.settings);
        self.wheel.arm(self.table.tracks(), index);
    }

    /// Something is due earlier than the flow waits for.
    pub(super) fn rearm(&mut self, index: u32) {
        let settings = &self.settings;
        let earlier = self.table.get(index).is_some_and(|track| Self::due(track, settings) < track.due);
        if earlier {
            self.wheel.disarm(self.table.tracks(), index);
            self.arm(index);
        }
    }

    /// A flow whose slot of the wheel came, and which is disarmed by that.
    pub(super) fn look_after(&mut self, index: u32, out: &mut Vec<Event>) {
        let now = self.wheel.now();
        let Some(track) = self.table.get(index) else { return };
        if now >= track.expires(&self.settings) {
            self.arm(index);
            self.end(index, out);
            return;
        }
        let phase = if Self::may_be_unanswered(track) && now >= track.first + self.settings.unanswered_after {
            track.told.unanswered = true;
            Some(Phase::Unanswered)
        } else if now >= track.told_at + self.settings.update_interval {
            let news = track.packets() > track.told_packets;
            track.told_at = now;
            news.then_some(Phase::Update)
        } else {
            None
        };
        if let Some(phase) = phase {
            self.tell(index, phase, out);
        }
        self.arm(index);
    }

    pub(super) fn tell(&mut self, index: u32, phase: Phase, out: &mut Vec<Event>) {
        let now = self.now();
        if let Some(track) = self.table.get(index) {
            out.push(Event::Flow(emit::flow(track, phase, now)));
        }
    }

    /// A login session that has just closed is told now: whoever guesses passwords goes on in the next connection while this
    /// one waits for stragglers.
    pub(super) fn tell_closed(&mut self, index: u32, out: &mut Vec<Event>) {
        let Some(track) = self.table.get(index) else { return };
        let told = &mut track.told;
        if track.closed.is_none() || !told.established || track.patience != Patience::Login {
            return;
        }
        if !std::mem::replace(&mut told.closed, true) {
            self.tell_ssh(index, out);
            self.tell(index, Phase::Closed, out);
        }
    }

    fn tell_ssh(&mut self, index: u32, out: &mut Vec<Event>) {
        let Some(track) = self.table.get(index) else { return };
        if let Some(mut session) = track.ssh.take() {
            if session.is_worth_telling(ports::is_ssh(track.resp_port)) {
                let told = session.record(emit::about(track, track.first));
                note_ssh(&mut self.tools, &told, out);
                out.push(Event::Ssh(Box::new(told)));
            }
            session.close(&mut self.tools.memory, &mut self.held_ssh);
        }
    }

    /// Ends a flow, which is armed: tells what is still to be told, and forgets it.
    pub(super) fn end(&mut self, index: u32, out: &mut Vec<Event>) {
        self.questions.tell_flow(self.table.tracks(), index, out);
        self.tell_ssh(index, out);
        self.close_reader(index, out);
        let Some(track) = self.table.get(index) else { return };
        self.payloads.end(index, track, out);
        if let Some(kind) = track.tunnel {
            out.push(tunnels::tell(track, kind, track.last, "Tunnel::CLOSE"));
        }
        if let Some(mut stream) = track.dns_stream.take() {
            stream.close(&mut self.tools.memory, &mut self.held);
        }
        if let Some(above) = track.above.take() {
            self.spare.keep(above);
        }
        self.tell(index, Phase::End, out);
        self.wheel.disarm(self.table.tracks(), index);
        self.table.close(index);
        self.counters.flows_ended += 1;
        self.counters.flows_active = self.table.live() as u64;
    }
}

/// What the identification strings of both sides tell of their software.
pub(super) fn note_ssh(tools: &mut Tools, ssh: &Ssh, out: &mut Vec<Event>) {
    let about = &ssh.about;
    for (kind, banner, host) in [
        (Shown::SshClient, &ssh.client, (about.src.addr, None)),
        (Shown::SshServer, &ssh.server, (about.dst.addr, Some(about.dst.port))),
    ] {
        let text = banner.splitn(3, '-').nth(2).unwrap_or_default();
        tools.software.note(kind, host, text.as_bytes(), about.at, out);
    }
}
