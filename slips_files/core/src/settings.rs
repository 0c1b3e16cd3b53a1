//! What the engine is told at its start. Only what is on the [`Dial`] changes while it runs.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::addr::LocalNets;
use crate::engine::meter::Meter;
use crate::evidence::EvidenceKind;
use crate::intel::Current;
use crate::moving::OwnMacs;
use crate::time::{Span, WindowWidth};
use crate::whitelist::{NoWhitelist, Whitelist};

/// Whose behaviour is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What is done by and to every address.
    All,
    /// Only what each address does itself; detections never see an event from its destination's side.
    Out,
}

/// The engine's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Width of all time windows.
    pub width: WindowWidth,
    /// `evidence_detection_threshold`: an attacker's weight per minute of window width that makes an alert.
    pub threshold: f64,
    /// Which hosts are ours.
    pub local_nets: LocalNets,
    /// Hardware addresses of this router. What it forwards goes out with them, so they own nobody's address (default none).
    pub own_macs: OwnMacs,
    /// Whose behaviour is judged.
    pub direction: Direction,
    /// How long after its end a window still takes what comes late: logs are written when a flow ends.
    pub lateness: Span,
    /// Evidence that is not raised.
    pub disabled: Vec<EvidenceKind>,
    /// Whom our hosts talked with before the engine began, as the kernel's connection table knows after a restart: partners for the
    /// first hour, as if they had talked at its first event. At most [`MAX_PARTNERS`] count (default none).
    pub partners: Vec<IpAddr>,
    /// What its owner wants left alone (default nothing).
    pub whitelist: Current<dyn Whitelist>,
    /// What bounds memory.
    pub limits: Limits,
    /// Where `threshold` and `disabled` are changed while the engine runs.
    pub dial: Dial,
    /// What detections cost (default: nobody measures it).
    pub meter: Meter,
}

/// Changes the threshold, the evidence that is not raised and the room for remote profiles while the engine runs: from its next batch on.
/// Clones are one dial.
#[derive(Clone, Debug, Default)]
pub struct Dial(Arc<Dialled>);

#[derive(Debug, Default)]
struct Dialled {
    /// How often it was turned.
    turns: AtomicU64,
    to: Mutex<(f64, Vec<EvidenceKind>)>,
    /// Percent of the room that are not to be used.
    spared: AtomicU8,
}

impl Dial {
    /// From now on this `threshold`, and these kinds of evidence `disabled`.
    pub fn turn(&self, threshold: f64, disabled: Vec<EvidenceKind>) {
        *self.0.to.lock().unwrap_or_else(PoisonError::into_inner) = (threshold, disabled);
        self.0.turns.fetch_add(1, Ordering::Release);
    }

    /// From now on remote profiles may use so many percent of their room; those idle longest are forgotten.
    pub fn set_share(&self, percent: u8) {
        self.0.spared.store(100 - percent.min(100), Ordering::Relaxed);
    }

    /// How many percent of their room remote profiles may use; 100 at first.
    pub fn share(&self) -> u8 {
        100 - self.0.spared.load(Ordering::Relaxed).min(100)
    }

    /// Where it stands, if it was turned since it was asked with the same `seen`, which is 0 at first.
    pub fn turned(&self, seen: &mut u64) -> Option<(f64, Vec<EvidenceKind>)> {
        let turns = self.0.turns.load(Ordering::Acquire);
        if turns == *seen {
            return None;
        }
        *seen = turns;
        Some(self.0.to.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Partners that are taken over from before the start.
pub const MAX_PARTNERS: usize = 65_536;

impl Default for Settings {
    fn default() -> Self {
        Self {
            width: WindowWidth::HOUR,
            threshold: 0.25,
            local_nets: LocalNets::private(),
            own_macs: OwnMacs::default(),
            direction: Direction::All,
            lateness: Span::from_secs(600),
            disabled: Vec::new(),
            partners: Vec::new(),
            whitelist: Current::new(Arc::new(NoWhitelist)),
            limits: Limits::default(),
            dial: Dial::default(),
            meter: Meter::default(),
        }
    }
}

impl Settings {
    /// The accumulated weight at which an alert fires: `threshold × W / 60`; 15 by default.
    pub fn alert_weight(&self) -> f64 {
        self.threshold * self.width.span().as_secs_f64() / 60.0
    }
}

/// What bounds memory, whatever the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Profiles of remote addresses; beyond it the one idle longest is forgotten.
    pub remote_profiles: usize,
    /// Profiles of local addresses; remote ones never push them out.
    pub local_profiles: usize,
    /// Evidence of open windows.
    pub open_evidence: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { remote_profiles: 100_000, local_profiles: 65_536, open_evidence: 50_000 }
    }
}
