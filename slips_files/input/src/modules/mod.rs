//! A unix socket for programs that tell of flows and want to hear of alerts, with the framing of the original's module for CYST
//! ([`frames`]). What comes in are rows of Zeek's logs in JSON, one a message, conn.log where they do not say which; what goes out is told
//! by [`Alerts`]. Whoever may connect is believed, so the file belongs to the daemon and its group.
//!
//! Nobody is waited for: who stalls within a message, tells no length where one must be, or does not read what is sent, is shown the door.

mod frames;

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slips_core::event::Event;

pub use self::frames::{Frames, MAX_FRAME, NoLength};
use crate::error::InputError;
use crate::feed::{Feed, FeedReport, Now};
use crate::report::{Reason, Reject};
use crate::sniff::Content;
use crate::zeek::json;
use crate::zeek::logs::{self, Log};
use crate::zeek::reader::Decoder;

/// Programs that are connected at once.
const MAX_CLIENTS: usize = 16;
/// A message must be whole so long after its first byte came.
const STALL: Duration = Duration::from_secs(30);
/// What one may leave unread of what it is sent.
const MAX_UNREAD: usize = 256 << 10;
/// Alerts that wait to be sent; the oldest make room.
const MAX_ALERTS: usize = 1024;
/// How much is read of one program before it is the turn of the next.
const READ: usize = 128 << 10;
/// How often those who are silent are looked after.
const TURN: Duration = Duration::from_secs(1);

/// Where alerts are put to be sent. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Alerts(Arc<Mutex<VecDeque<String>>>);

impl Alerts {
    /// Says that an alert was raised about `attacker`.
    pub fn tell(&self, id: &str, attacker: IpAddr) {
        // An identity of ours and an address need no escapes.
        let text = format!(r#"{{"slips_msg_type":"alert","alert_ID":"{id}","ip_to_block":"{attacker}"}}"#);
        let Ok(mut waiting) = self.0.lock() else { return };
        if waiting.len() >= MAX_ALERTS {
            waiting.pop_front();
        }
        waiting.push_back(text);
    }

    fn take(&self) -> VecDeque<String> {
        self.0.lock().map(|mut waiting| std::mem::take(&mut *waiting)).unwrap_or_default()
    }
}

/// The socket and who is connected to it.
pub struct Modules {
    path: PathBuf,
    listener: UnixListener,
    clients: Vec<Client>,
    alerts: Alerts,
    decoders: Vec<(&'static str, Decoder)>,
    report: FeedReport,
    buffer: Vec<u8>,
}

struct Client {
    stream: UnixStream,
    frames: Frames,
    /// Since when a message is not whole.
    part_since: Option<Duration>,
    unsent: VecDeque<u8>,
}

/// Why a program is shown the door.
enum Gone {
    Left,
    Because(Reason),
}

impl Modules {
    /// Listens at `path`; what an earlier run left there is taken away.
    ///
    /// # Errors
    /// When somebody listens there, something else stands there, or the directory refuses.
    pub fn open(path: &Path, alerts: Alerts) -> Result<Self, InputError> {
        let failed = |error| InputError::from_io(path, error);
        if fs::symlink_metadata(path).is_ok_and(|there| there.file_type().is_socket()) {
            match UnixStream::connect(path) {
                Ok(_) => return Err(failed(ErrorKind::AddrInUse.into())),
                Err(_) => fs::remove_file(path).map_err(failed)?,
            }
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        // The daemon's group may connect, nobody else.
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        Ok(Self {
            path: path.to_path_buf(),
            listener,
            clients: Vec::new(),
            alerts,
            decoders: Vec::new(),
            report: FeedReport::default(),
            buffer: vec![0; READ],
        })
    }

    fn let_in(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if self.clients.len() >= MAX_CLIENTS || stream.set_nonblocking(true).is_err() {
                reject(&mut self.report, Reject::new(Reason::TooMany));
                continue;
            }
            self.clients.push(Client {
                stream,
                frames: Frames::default(),
                part_since: None,
                unsent: VecDeque::new(),
            });
        }
    }

    /// Reads one message: a row of a log.
    fn message(
        decoders: &mut Vec<(&'static str, Decoder)>,
        message: &[u8],
        out: &mut Vec<Event>,
    ) -> Result<(), Reject> {
        let keys = json::keys(message).ok_or(Reject::new(Reason::NotJson))?;
        let log: &'static Log =
            logs::by_keys(&keys).or_else(|| logs::by_name("conn")).ok_or(Reject::new(Reason::UnusedKind))?;
        let at = decoders.iter().position(|(name, _)| *name == log.name).unwrap_or_else(|| {
            decoders.push((log.name, Decoder::new(Content::ZeekJson(Some(log)), log)));
            decoders.len() - 1
        });
        decoders.get_mut(at).map_or(Ok(()), |(_, decoder)| decoder.take(message, out))
    }
}

fn reject(report: &mut FeedReport, reject: Reject) {
    *report.rejected.entry(reject.reason).or_default() += 1;
    let field = if reject.field.is_empty() { String::new() } else { format!(" ({})", reject.field) };
    report.last_reject = format!("{}{field}", reject.reason);
}

impl Client {
    /// Reads what came; true when there may be more at once.
    fn read(&mut self, now: Duration, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> Result<bool, Gone> {
        let more = match self.stream.read(buffer) {
            Ok(0) => return Err(Gone::Left),
            Ok(count) => {
                self.frames.push(buffer.get(..count).unwrap_or_default());
                loop {
                    match self.frames.next_frame() {
                        Ok(Some(message)) => {
                            self.part_since = None;
                            take(message);
                        }
                        Ok(None) => break,
                        Err(NoLength) => return Err(Gone::Because(Reason::BadBlockLength)),
                    }
                }
                count == buffer.len()
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => false,
            Err(_) => return Err(Gone::Left),
        };
        if !self.frames.has_part() {
            self.part_since = None;
        } else if now.saturating_sub(*self.part_since.get_or_insert(now)) >= STALL {
            return Err(Gone::Because(Reason::TruncatedLastLine));
        }
        Ok(more)
    }

    fn send(&mut self, alerts: &VecDeque<String>) -> Result<(), Gone> {
        for message in alerts.iter().filter_map(|text| frames::frame(text)) {
            self.unsent.extend(message);
        }
        while !self.unsent.is_empty() {
            let (front, _) = self.unsent.as_slices();
            match self.stream.write(front) {
                Ok(0) => return Err(Gone::Left),
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(Gone::Left),
            }
        }
        if self.unsent.len() > MAX_UNREAD { Err(Gone::Because(Reason::TooMany)) } else { Ok(()) }
    }
}

impl Feed for Modules {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&mut self, now: Now, out: &mut Vec<Event>) -> Result<Duration, InputError> {
        self.let_in();
        let alerts = self.alerts.take();
        let Self { clients, decoders, report, buffer, .. } = self;
        let mut again = false;
        clients.retain_mut(|client| {
            let before = out.len();
            let read =
                client.read(now.steady, buffer, |message| match Self::message(decoders, message, out) {
                    Ok(()) => report.records += 1,
                    Err(wrong) => reject(report, wrong),
                });
            let newest = out.get(before..).unwrap_or_default().iter().map(Event::time).max();
            report.newest = report.newest.max(newest);
            let stays = read.and_then(|more| {
                again |= more;
                client.send(&alerts)
            });
            match stays {
                Ok(()) => true,
                Err(Gone::Left) => false,
                Err(Gone::Because(reason)) => {
                    reject(report, Reject::new(reason));
                    false
                }
            }
        });
        Ok(if again { Duration::ZERO } else { TURN })
    }

    fn wakers(&self) -> Vec<BorrowedFd<'_>> {
        [self.listener.as_fd()]
            .into_iter()
            .chain(self.clients.iter().map(|client| client.stream.as_fd()))
            .collect()
    }

    fn report(&self) -> FeedReport {
        FeedReport { parts: self.clients.len(), ..self.report.clone() }
    }
}

impl Drop for Modules {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next start.
        let _ = fs::remove_file(&self.path);
    }
}
