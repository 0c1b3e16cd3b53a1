//! What the demo says: one plain line per fact, with the time since the start; colour on a terminal only.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// What is being done.
    Plain,
    /// Something suspicious was seen.
    Suspicion,
    /// Somebody was judged.
    Alarm,
    /// Something worked as it must.
    Good,
}

impl Tone {
    const fn ansi(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Suspicion => "\x1b[33m",
            Self::Alarm => "\x1b[1;31m",
            Self::Good => "\x1b[32m",
        }
    }
}

/// The voice of the demo.
#[derive(Debug)]
pub(super) struct Teller {
    began: Instant,
    colour: bool,
}

impl Teller {
    pub(super) fn new() -> Self {
        Self { began: now(), colour: io::stdout().is_terminal() }
    }

    /// Since the start.
    pub(super) fn elapsed(&self) -> Duration {
        now().duration_since(self.began)
    }

    pub(super) fn say(&self, tone: Tone, text: &str) {
        let line = render(self.elapsed(), tone, text, self.colour);
        // The show goes on, and above all cleans up, when nobody listens any more.
        let _ = io::stdout().lock().write_all(line.as_bytes());
    }

    /// A line without a time.
    pub(super) fn verdict(&self, text: &str) {
        let (on, off) = if self.colour { ("\x1b[1;32m", "\x1b[0m") } else { ("", "") };
        let _ = writeln!(io::stdout().lock(), "{on}{text}{off}");
    }
}

fn render(at: Duration, tone: Tone, text: &str, colour: bool) -> String {
    let secs = at.as_secs_f64();
    match tone.ansi() {
        on if colour && !on.is_empty() => format!("{secs:7.3} s  {on}{text}\x1b[0m\n"),
        _ => format!("{secs:7.3} s  {text}\n"),
    }
}

/// The moment, for deadlines.
pub(super) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the demo plays in real time; nothing here judges traffic")]
    Instant::now()
}

/// Microseconds since the epoch: the scale of the time stamps of packets.
pub(super) fn wall_micros() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with the time stamps that the kernel gave to packets"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals() {
        let at = Duration::from_millis(1234);
        assert_eq!(render(at, Tone::Alarm, "x", false), "  1.234 s  x\n");
        assert_eq!(render(at, Tone::Alarm, "x", true), "  1.234 s  \x1b[1;31mx\x1b[0m\n");
        assert_eq!(render(at, Tone::Plain, "x", true), "  1.234 s  x\n");
    }
}
