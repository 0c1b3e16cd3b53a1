//! One entry: what happened, in fields, and its two forms (journald's datagram, a plain line).

use std::fmt::{self, Display, Write as _};

use super::kind::{Kind, Priority};

macro_rules! fields {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// The fields of our entries; docs/journal.md explains them to users. Programs read them: a name stays.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field { $($(#[$doc])* $variant,)+ }

        impl Field {
            /// All fields.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the journal.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

fields! {
    /// When it happened by the clock of the packets, RFC 3339; the journal's own stamp says when it was told.
    Time = "SLIPS_TIME",
    /// The attacker's address.
    SrcIp = "SLIPS_SRC_IP",
    /// The network that is blocked, unblocked or protected.
    Target = "SLIPS_TARGET",
    /// Identity of the alert.
    AlertId = "SLIPS_ALERT_ID",
    /// The time window.
    Window = "SLIPS_WINDOW",
    /// Confidence of the alert, 0 to 1.
    Confidence = "SLIPS_CONFIDENCE",
    /// Weight of the evidence when the alert fired.
    Accumulated = "SLIPS_ACCUMULATED",
    /// `accumulated` or `critical`.
    Cause = "SLIPS_CAUSE",
    /// `proven` or `unproven`: whether the source may be forged.
    Proof = "SLIPS_PROOF",
    /// How many findings the alert rests on.
    EvidenceCount = "SLIPS_EVIDENCE_COUNT",
    /// The kinds of these findings.
    EvidenceTypes = "SLIPS_EVIDENCE_TYPES",
    /// The findings, one a line.
    Evidence = "SLIPS_EVIDENCE",
    /// Until when the block holds, RFC 3339.
    Until = "SLIPS_UNTIL",
    /// For how many seconds the block holds.
    Seconds = "SLIPS_SECONDS",
    /// The how-manieth block of this target it is.
    Offence = "SLIPS_OFFENCE",
    /// Why: of a block, an unblock, a refusal, a stop, a degradation.
    Reason = "SLIPS_REASON",
    /// Who asked: `alert`, `peer`, `feed`, `hand`.
    Origin = "SLIPS_ORIGIN",
    /// `enforce` or `monitor`.
    Mode = "SLIPS_MODE",
    /// Version of the program.
    Version = "SLIPS_VERSION",
    /// What is watched.
    Interfaces = "SLIPS_INTERFACES",
    /// What the process is confined to, as the kernel tells it.
    Sandbox = "SLIPS_SANDBOX",
    /// The part that is degraded.
    Component = "SLIPS_COMPONENT",
    /// The step of overload: 0 nothing is left out, 3 the last.
    Step = "SLIPS_STEP",
    /// How many entries or packets were lost.
    Dropped = "SLIPS_DROPPED",
    /// The peer: the name that the owner gave it, or its id.
    Peer = "SLIPS_PEER",
    /// The id of the peer.
    PeerId = "SLIPS_PEER_ID",
    /// Flows seen since the start.
    Flows = "SLIPS_FLOWS",
    /// Alerts raised since the start.
    Alerts = "SLIPS_ALERTS",
}

/// Whether an entry is complete in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Whole,
    Cut,
}

/// One entry. Whatever text comes in is made harmless at once: control characters and those that turn the direction of
/// writing are escaped, lengths are bounded; so no entry can forge another field, another line or a terminal command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    kind: Kind,
    priority: Priority,
    message: String,
    fields: Vec<(Field, String)>,
}

impl Entry {
    /// An entry of `kind`; `message` is the line that everybody reads.
    pub fn new(kind: Kind, message: impl Display) -> Self {
        Self { kind, priority: kind.priority(), message: harmless(message, MAX_VALUE), fields: Vec::new() }
    }

    /// The same with another urgency than its kind's.
    pub const fn urgent(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// The same with one more field. A field that is named twice is there twice.
    pub fn with(mut self, field: Field, value: impl Display) -> Self {
        self.fields.push((field, harmless(value, MAX_VALUE)));
        self
    }

    /// The same with one more field of several lines, at most 64; how many more there were stands in the last.
    pub fn with_lines<T: Display>(mut self, field: Field, lines: impl IntoIterator<Item = T>) -> Self {
        let mut lines = lines.into_iter();
        let mut value = String::new();
        for line in lines.by_ref().take(MAX_LINES) {
            if !value.is_empty() {
                value.push('\n');
            }
            value.push_str(&harmless(line, MAX_LINE));
        }
        let more = lines.count();
        if more > 0 {
            // Writing to a string does not fail.
            let _ = write!(value, "\n… and {more} more");
        }
        self.fields.push((field, value));
        self
    }

    /// What the entry tells of.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Appends the entry in journald's native form, in at most `budget` bytes (from 1 KiB on). Identity and
    /// urgency come first, then the message with at most half of the room; what does not fit is shortened, and
    /// `SLIPS_CUT` says so.
    pub(super) fn encode(&self, to: &mut Vec<u8>, budget: usize) -> Fit {
        put(to, "MESSAGE_ID", &format!("{:032x}", self.kind.message_id()));
        put(to, "PRIORITY", PRIORITIES[usize::from(self.priority as u8 & 7)]);
        put(to, "SYSLOG_IDENTIFIER", "slips");
        put(to, "SLIPS_EVENT", self.kind.name());
        let message = cut(&self.message, budget / 2);
        put(to, "MESSAGE", message);
        let mut fit = if message.len() < self.message.len() { Fit::Cut } else { Fit::Whole };
        for (field, value) in &self.fields {
            let taken = to.len() + field.name().len() + OVERHEAD + CUT_MARK.len();
            let kept = budget.checked_sub(taken).map(|room| cut(value, room));
            if kept != Some(value) {
                fit = Fit::Cut;
            }
            if let Some(kept) = kept.filter(|kept| !kept.is_empty() || value.is_empty()) {
                put(to, field.name(), kept);
            }
        }
        if fit == Fit::Cut {
            to.extend_from_slice(CUT_MARK.as_bytes());
        }
        fit
    }
}

/// The plain form: one line, keys in lower case without our prefix, values quoted where that is needed.
impl Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.fields.iter().find(|(field, _)| *field == Field::Time);
        if let Some((_, time)) = time {
            write!(f, "time={} ", Quoted(time))?;
        }
        write!(f, "level={} event={} msg={}", self.priority.name(), self.kind.name(), Quoted(&self.message))?;
        for (field, value) in self.fields.iter().filter(|(field, _)| *field != Field::Time) {
            let name = field.name();
            let key = name.strip_prefix("SLIPS_").unwrap_or(name).to_ascii_lowercase();
            write!(f, " {key}={}", Quoted(value))?;
        }
        Ok(())
    }
}

/// A value of a plain line.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = !self.0.is_empty()
            && !self.0.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '=' | '\\'));
        if bare {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// One field in the native form: `NAME=value`, or with a length before a value of several lines.
fn put(to: &mut Vec<u8>, name: &str, value: &str) {
    to.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        to.push(b'\n');
        to.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        to.push(b'=');
    }
    to.extend_from_slice(value.as_bytes());
    to.push(b'\n');
}

/// The start of `text`, at most `room` bytes, cut at a character border.
fn cut(text: &str, room: usize) -> &str {
    let mut end = text.len().min(room);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

/// `text` on one line, without what steers a terminal or a reader's eye, in at most `room` bytes. Formats no more than
/// that, however long the text is.
fn harmless(text: impl Display, room: usize) -> String {
    struct Bounded {
        kept: String,
        room: usize,
    }
    impl fmt::Write for Bounded {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            for c in part.chars() {
                let escaped = steers(c);
                let len = if escaped { c.escape_default().len() } else { c.len_utf8() };
                if self.kept.len() + len + ELLIPSIS.len() > self.room {
                    self.kept.push_str(ELLIPSIS);
                    return Err(fmt::Error);
                }
                if escaped {
                    self.kept.extend(c.escape_default());
                } else {
                    self.kept.push(c);
                }
            }
            Ok(())
        }
    }
    let mut bounded = Bounded { kept: String::new(), room };
    // The only error is our own: the room is used up.
    let _ = write!(bounded, "{text}");
    bounded.kept
}

/// Control characters, line separators, and characters that are invisible or turn the direction of writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

const ELLIPSIS: &str = "…";
/// Longest value of one line, and longest message, in bytes.
const MAX_VALUE: usize = 1024;
/// Most lines of one value.
const MAX_LINES: usize = 64;
/// Longest line of such a value, in bytes.
const MAX_LINE: usize = 512;
/// Bytes around a value: two line ends and a length.
const OVERHEAD: usize = 10;
const CUT_MARK: &str = "SLIPS_CUT=1\n";
const PRIORITIES: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
