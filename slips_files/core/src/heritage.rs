//! What is taken over from another engine that watched the same and has ended: what it held against whom, so that nothing begins at nought
//! and nothing is alerted twice.

use std::net::IpAddr;
use std::sync::Arc;

use crate::alert::Alert;
use crate::evidence::{Evidence, Proof};
use crate::settings::Settings;
use crate::time::{PacketTime, Span, WindowId, WindowWidth};

/// Most attackers that are taken over, most evidence of one of them, most alerts of one, and most alerts that are told late.
pub const MOST_ACCOUNTS: usize = 65_536;
/// See [`MOST_ACCOUNTS`].
pub const MOST_EVIDENCE: usize = 1024;
/// See [`MOST_ACCOUNTS`].
pub const MOST_ALERTS: u32 = 4096;
/// See [`MOST_ACCOUNTS`].
pub const MOST_UNTOLD: usize = 4096;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Heritage {
    /// The number of the place that was taken: it rises with each.
    pub fence: u64,
    /// When it was read.
    pub at: PacketTime,
    /// What stood against each attacker in each window.
    pub accounts: Vec<HeritageOf>,
    /// Alerts of this engine that it kept to itself while the other one was to tell, and that the other one did not tell.
    pub untold: Vec<Arc<Alert>>,
}

/// What stood against an attacker in a window.
#[derive(Clone, Debug)]
pub struct HeritageOf {
    /// Who.
    pub attacker: IpAddr,
    /// When.
    pub window: WindowId,
    /// How many alerts there were.
    pub alerts: u32,
    /// When the last of them was, and whether its source was proven.
    pub last: Option<(PacketTime, Proof)>,
    /// All evidence, each with the attacker's sum after it, and whether an alert has named it.
    pub evidence: Vec<(Evidence, bool)>,
}

impl HeritageOf {
    /// Weight that no alert had used, as the evidence since the last of them says: never what anybody may have written beside it.
    pub(crate) fn sum(&self) -> f64 {
        let since = self.last.map(|(at, _)| at);
        let unused = self.evidence.iter().filter(|(of, _)| since.is_none_or(|at| of.last_seen > at));
        unused.map(|(of, _)| of.accumulated).fold(0.0, f64::max)
    }
}

/// When windows are open.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// How wide they are.
    pub width: WindowWidth,
    /// How long after its end one still takes what comes late.
    pub lateness: Span,
}

impl Opening {
    /// As the settings say.
    pub const fn of(settings: &Settings) -> Self {
        Self { width: settings.width, lateness: settings.lateness }
    }

    /// Whether this one is.
    pub fn is_open(&self, window: WindowId, now: PacketTime) -> bool {
        self.width.start_of(window) <= now && self.width.end_of(window) + self.lateness > now
    }
}

impl Heritage {
    /// What of it is about windows that are open, at most so much.
    pub(crate) fn open<'a>(
        &'a self,
        settings: &Settings,
        now: PacketTime,
    ) -> impl Iterator<Item = &'a HeritageOf> {
        let (now, opening) = (self.at.max(now), Opening::of(settings));
        self.accounts.iter().take(MOST_ACCOUNTS).filter(move |of| opening.is_open(of.window, now))
    }
}

/// Two are the same only when they are one.
impl PartialEq for Heritage {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}
