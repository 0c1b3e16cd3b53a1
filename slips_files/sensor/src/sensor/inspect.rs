//! Payloads: which application speaks, and what the sensor reads of it.

use slips_core::event::Event;
use slips_core::flow::Phase;
use slips_core::time::PacketTime;

use super::read::{begins, placed_bytes, segment_of};
use super::timers::note_ssh;
use super::{Sensor, Transport};
use crate::payload::Piece;
use crate::service::{self, Service};
use crate::track::Dir;
use crate::{apps, dhcp, dns, emit, ports, quic, ssh, tcp, tls, udp};

impl Sensor {
    /// Looks at the payload as long as it may tell something.
    pub(super) fn read_payload(
        &mut self,
        index: u32,
        placed: tcp::Placed,
        at: PacketTime,
        transport: &Transport<'_>,
        out: &mut Vec<Event>,
    ) {
        let found = match transport {
            Transport::Tcp(segment) if !segment.payload.is_empty() => {
                self.read_segment(index, placed, at, segment, out)
            }
            Transport::Tcp(_) => self.read_nothing(index, placed, at, out),
            Transport::Udp(datagram) if !datagram.payload.is_empty() => {
                self.read_datagram(index, placed.dir, at, datagram, out)
            }
            _ => None,
        };
        if let Some(service) = found
            && let Some(track) = self.table.get(index)
            && track.found(service)
        {
            self.tell(index, Phase::Update, out);
            if service == Service::Socks {
                self.tell_proxy(index, at, out);
            }
        }
    }

    /// Keeps some of what ours sends outside, if somebody wants it.
    pub(super) fn gather_payload(
        &mut self,
        index: u32,
        placed: tcp::Placed,
        at: PacketTime,
        transport: &Transport<'_>,
        out: &mut Vec<Event>,
    ) {
        let (from, bytes) = match transport {
            Transport::Tcp(segment) => placed_bytes(placed, segment.payload),
            Transport::Udp(datagram) => (1, datagram.payload),
            Transport::Opaque(_) => return,
        };
        if let Some(track) = self.table.get(index) {
            self.payloads.take(index, track, &Piece { dir: placed.dir, at, from, bytes }, out);
            self.counters.payload_passed_over = self.payloads.passed_over;
        }
    }

    fn read_segment(
        &mut self,
        index: u32,
        placed: tcp::Placed,
        at: PacketTime,
        segment: &tcp::Header<'_>,
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let track = self.table.get(index)?;
        if service::is_dns_port(track.resp_port) {
            return self.read_dns_segment(index, at, segment.payload, placed, out);
        }
        let dir = placed.dir;
        if let Some(service) = self.may_turn_to_tls(index, placed, at, segment.payload, out) {
            return Some(service);
        }
        let track = self.table.get(index)?;
        if track.reader.is_some()
            && let Some(service) = self.feed(index, placed, at, segment.payload, out)
        {
            return Some(service);
        }
        let track = self.table.get(index)?;
        if track.ssh.is_some() {
            self.read_ssh(index, placed, segment.payload, out);
        } else if track.recognition.is(Service::Ftp) {
            self.read_ftp(index, placed, at, segment.payload);
        }
        let track = self.table.get(index)?;
        if !track.recognition.wants(dir) {
            return None;
        }
        track.recognition.take_back(dir, segment.payload);
        if track.recognition.is_any() {
            return None;
        }
        let is_ssh = ports::is_ssh(track.resp_port) || ssh::has_banner(segment.payload);
        if is_ssh && track.ssh.is_none() && !track.is_partial() {
            let mut session: Box<ssh::Session> = Box::default();
            session.begin(begins(track, placed));
            track.ssh = Some(session);
            self.read_ssh(index, placed, segment.payload, out);
        }
        let track = self.table.get(index)?;
        let found = if placed.place == tcp::Place::Next {
            track.recognition.look(dir, segment.payload)
        } else {
            None
        };
        self.begin_to_read(index, found, placed, at, segment.payload, out);
        found
    }

    /// A segment without payload may still tell that bytes are lost.
    fn read_nothing(
        &mut self,
        index: u32,
        placed: tcp::Placed,
        at: PacketTime,
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let track = self.table.get(index)?;
        if track.ssh.is_some() {
            self.read_ssh(index, placed, &[], out);
            return None;
        }
        if track.dns_stream.is_some() {
            return self.read_dns_segment(index, at, &[], placed, out);
        }
        self.feed(index, placed, at, &[], out)
    }

    fn read_ssh(&mut self, index: u32, placed: tcp::Placed, payload: &[u8], out: &mut Vec<Event>) {
        let Some(track) = self.table.get(index) else { return };
        let segment = segment_of(track, placed, payload);
        let Some(session) = &mut track.ssh else { return };
        let is_in = session.read(&segment, &mut self.tools.memory, &mut self.held_ssh);
        if is_in {
            let about = emit::about(track, track.first);
            if let Some(session) = &mut track.ssh {
                let told = session.record(about);
                note_ssh(&mut self.tools, &told, out);
                out.push(Event::Ssh(Box::new(told)));
            }
        }
        self.counters.begun_given_up = self.held.refused + self.held_ssh.refused;
    }

    fn read_datagram(
        &mut self,
        index: u32,
        dir: Dir,
        at: PacketTime,
        datagram: &udp::Header<'_>,
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let (src_port, dst_port) = (datagram.src_port, datagram.dst_port);
        let track = self.table.get(index)?;
        if track.reader.is_some() {
            return self.feed_datagram(index, dir, at, datagram.payload, out);
        }
        if let (67 | 68, 67 | 68) = (src_port, dst_port) {
            return self.read_dhcp(index, dir, at, datagram, out);
        }
        // others may use these ports: what is no message of DHCP is looked at on
        if let (546 | 547, _) | (_, 546 | 547) = (src_port, dst_port)
            && let Some(found) = self.read_dhcp_six(index, dir, at, datagram, out)
        {
            return Some(found);
        }
        let track = self.table.get(index)?;
        if tls::begins(datagram.payload) && !track.recognition.is(Service::Dtls) {
            // STUN may have come before
            track.reader = self.tools.open_datagrams(Service::Dtls);
            return self.feed_datagram(index, dir, at, datagram.payload, out);
        }
        let is_first = track.side(dir).volume.pkts == 1;
        if !track.recognition.is_any()
            && quic::may_begin(datagram.payload, track.resp_port, is_first)
            && track.recognition.wants(dir)
        {
            track.reader = self.tools.open_datagrams(Service::Quic);
            let found = self.feed_datagram(index, dir, at, datagram.payload, out);
            if self.table.get(index)?.reader.is_some() {
                return found;
            }
        }
        let track = self.table.get(index)?;
        let known = track.recognition.is(Service::Dns);
        if known || (!track.recognition.is_any() && service::may_be_dns(datagram.payload, src_port, dst_port))
        {
            let whole = datagram.payload.len() == datagram.length as usize;
            let is_message = self.take_dns_message(index, at, datagram.payload, whole, out);
            return is_message.then_some(Service::Dns);
        }
        if track.recognition.is_any() || !track.recognition.wants(dir) {
            return None;
        }
        let found = track.recognition.look_at_datagram(dir, datagram.payload, src_port, dst_port)?;
        if apps::reads_datagrams(found) || found == Service::Openvpn {
            track.reader = self.tools.open_datagrams(found);
            self.feed_datagram(index, dir, at, datagram.payload, out);
        }
        Some(found)
    }

    fn read_dhcp(
        &mut self,
        index: u32,
        dir: Dir,
        at: PacketTime,
        datagram: &udp::Header<'_>,
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let message = dhcp::Message::parse(datagram.payload)?;
        let way = self.way(index, dir, at)?;
        self.leases.take(&message, &way, &mut |dhcp| out.push(Event::Dhcp(Box::new(dhcp))));
        self.counters.dhcp_pending_dropped = self.leases.dropped;
        Some(Service::Dhcp)
    }

    fn read_dhcp_six(
        &mut self,
        index: u32,
        dir: Dir,
        at: PacketTime,
        datagram: &udp::Header<'_>,
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let way = self.way(index, dir, at)?;
        let message = dhcp::six::Message::parse(datagram.payload).filter(|_| way.src.is_ipv6())?;
        self.leases.take_six(&message, &way, &mut |dhcp| out.push(Event::Dhcp(Box::new(dhcp))));
        Some(Service::Dhcp)
    }

    /// From where to where a datagram went.
    fn way(&mut self, index: u32, dir: Dir, at: PacketTime) -> Option<dhcp::Way> {
        let track = self.table.get(index)?;
        let (orig, resp) = (emit::address(track.orig), emit::address(track.resp));
        let (src, dst) = if dir == Dir::Orig { (orig, resp) } else { (resp, orig) };
        Some(dhcp::Way { at, uid: track.uid.print(), src, dst, interface: track.interface })
    }

    pub(super) fn tell_leases(&mut self, before: PacketTime, out: &mut Vec<Event>) {
        self.leases.tell_older(before, &mut |dhcp| out.push(Event::Dhcp(Box::new(dhcp))));
    }

    fn read_dns_segment(
        &mut self,
        index: u32,
        at: PacketTime,
        payload: &[u8],
        placed: tcp::Placed,
        out: &mut Vec<Event>,
    ) -> Option<Service> {
        let track = self.table.get(index)?;
        let mut stream = track.dns_stream.take().unwrap_or_else(|| {
            let mut stream: Box<dns::Stream> = Box::default();
            stream.begin(begins(track, placed));
            stream
        });
        let segment = segment_of(track, placed, payload);
        let (mut held, mut memory) = (std::mem::take(&mut self.held), std::mem::take(&mut self.tools.memory));
        let mut found = None;
        stream.read(&segment, &mut memory, &mut held, |message| {
            if self.take_dns_message(index, at, message, true, out) {
                found = Some(Service::Dns);
            }
        });
        (self.held, self.tools.memory) = (held, memory);
        self.counters.begun_given_up = self.held.refused + self.held_ssh.refused;
        self.table.get(index)?.dns_stream = Some(stream);
        found
    }

    fn take_dns_message(
        &mut self,
        index: u32,
        at: PacketTime,
        message: &[u8],
        whole: bool,
        out: &mut Vec<Event>,
    ) -> bool {
        let netbios =
            self.table.get(index).is_some_and(|track| track.orig_port == 137 || track.resp_port == 137);
        let dialect = if netbios { dns::Dialect::NetBios } else { dns::Dialect::Dns };
        let Some(message) = dns::Message::parse(message, whole, dialect) else {
            self.counters.dns_malformed += 1;
            return false;
        };
        self.counters.dns_messages += 1;
        if self.questions.len() >= self.settings.max_dns_pending as usize && !message.is_reply {
            self.counters.dns_pending_dropped += 1;
            self.questions.tell_oldest(self.table.tracks(), out);
        }
        self.questions.take(self.table.tracks(), index, at, message, out);
        true
    }

    pub(super) fn tell_late_questions(&mut self, now: PacketTime, out: &mut Vec<Event>) {
        self.questions.tell_older(self.table.tracks(), now - self.settings.dns_timeout, out);
    }
}
