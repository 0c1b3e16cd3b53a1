//! Whether what a server sent takes the place of what we have.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use slips_core::evidence::ThreatLevel;
use slips_intel::{Builder, Feed, Geo, Holds, Tally, vendors};

use super::What;
use super::book::Held;
use crate::lists::read_bounded;

/// A list with fewer entries may shrink as it likes.
const FEW: u64 = 32;
/// So long after a much smaller list came, another one that is as small confirms it, in seconds.
pub const CONFIRMED_AFTER: i64 = 3600;
/// The same for an empty list, of which so many have to come, too: a server that lost its data answers so for hours.
pub const EMPTY_AFTER: i64 = 86_400;
const EMPTY_TIMES: u32 = 3;

/// What is in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Indicators, makers, or KiB of a database.
    pub entries: u64,
    /// Of a list: how it was read.
    pub tally: Option<Tally>,
}

/// Looks into a file.
///
/// # Errors
/// Says why it is not what it should be.
pub fn look_into(file: &Path, what: What, most: u64) -> Result<Contents, String> {
    let told = |error: io::Error| error.to_string();
    match what {
        What::List(holds) => list(&read_bounded(file, most).map_err(told)?, holds),
        What::Places => {
            Geo::default().add(file).map_err(|error| format!("no database of places: {error}"))?;
            Ok(Contents { entries: std::fs::metadata(file).map_err(told)?.len() >> 10, tally: None })
        }
        What::Makers => {
            let entries = vendors::count(BufReader::new(File::open(file).map_err(told)?)).map_err(told)?;
            match entries {
                0 => Err("no registry of makers".into()),
                _ => Ok(Contents { entries, tally: None }),
            }
        }
    }
}

fn list(bytes: &[u8], holds: Holds) -> Result<Contents, String> {
    let begin = bytes.trim_ascii_start();
    let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin);
    if begin.first() == Some(&b'<') {
        return Err("a page for browsers instead of a list".into());
    }
    let feed = Feed { name: "list", level: ThreatLevel::Medium, tags: "", holds };
    let tally = Builder::new().read_feed(&feed, bytes);
    let rejected: u32 = tally.rejects().map(|(_, count)| count).sum();
    if tally.taken == 0 && rejected > 0 {
        return Err("nothing in it is an indicator".into());
    }
    Ok(Contents { entries: u64::from(tally.taken), tally: Some(tally) })
}

/// What is done with a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the place of the old one.
    Take,
    /// It is much smaller than the old one: what we have stays until another as small one comes.
    Hold(Held),
}

/// Weighs a file with `new` entries against one with `old`, at `now`, when `held` came before.
pub fn weigh(old: Option<u64>, new: u64, held: Option<Held>, now: i64) -> Verdict {
    let shrunk = old.is_some_and(|old| new == 0 && old > 0 || old >= FEW && new < old / 2);
    if !shrunk {
        return Verdict::Take;
    }
    let first = Verdict::Hold(Held { since: now, entries: new, times: 1 });
    // It shrank once more meanwhile, or the clock was set back: that is another story.
    let goes_on =
        |held: &Held| now >= held.since && new >= held.entries / 2 && (new == 0) == (held.entries == 0);
    let Some(held) = held.filter(goes_on) else { return first };
    let times = held.times.saturating_add(1);
    let (after, enough) = if new == 0 { (EMPTY_AFTER, EMPTY_TIMES) } else { (CONFIRMED_AFTER, 0) };
    if now.saturating_sub(held.since) >= after && times >= enough {
        return Verdict::Take;
    }
    Verdict::Hold(Held { times, ..held })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_shrinks_waits_for_another_as_small_an_hour_later() {
        let hold = |since, entries| Verdict::Hold(Held { since, entries, times: 1 });
        let weigh = |old, new, held: Option<(i64, u64)>, now| match weigh(
            old,
            new,
            held.map(|(since, entries)| Held { since, entries, times: 0 }),
            now,
        ) {
            Verdict::Hold(held) => hold(held.since, held.entries),
            Verdict::Take => Verdict::Take,
        };
        assert_eq!(weigh(None, 0, None, 0), Verdict::Take, "nothing to lose");
        assert_eq!(weigh(Some(1000), 500, None, 0), Verdict::Take, "half is no loss of most");
        assert_eq!(weigh(Some(20), 1, None, 0), Verdict::Take, "short lists do that");
        assert_eq!(weigh(Some(20), 0, None, 7), hold(7, 0), "but none at all is odd");
        assert_eq!(weigh(Some(1000), 499, None, 7), hold(7, 499));
        assert_eq!(weigh(Some(1000), 490, Some((7, 499)), 3606), hold(7, 499), "too soon");
        assert_eq!(weigh(Some(1000), 490, Some((7, 499)), 3607), Verdict::Take, "confirmed");
        assert_eq!(weigh(Some(1000), 100, Some((7, 499)), 9999), hold(9999, 100), "smaller still");
        assert_eq!(weigh(Some(1000), 900, Some((7, 499)), 8), Verdict::Take, "it is back");
        assert_eq!(weigh(Some(1000), 499, Some((99_999, 499)), 7), hold(7, 499), "the clock was set back");
    }

    #[test]
    fn an_empty_list_is_taken_when_it_came_three_times_in_a_day() {
        let held = |since, times| Held { since, entries: 0, times };
        let empty = |held, now| weigh(Some(100), 0, held, now);
        assert_eq!(empty(None, 7), Verdict::Hold(held(7, 1)));
        assert_eq!(empty(Some(held(7, 1)), 86_407), Verdict::Hold(held(7, 2)), "twice");
        assert_eq!(empty(Some(held(7, 9)), 86_406), Verdict::Hold(held(7, 10)), "too soon");
        assert_eq!(empty(Some(held(7, 2)), 86_407), Verdict::Take);
        let few = Held { since: 7, entries: 1, times: 9 };
        assert_eq!(empty(Some(few), 99_999), Verdict::Hold(held(99_999, 1)), "one is not none");
        assert_eq!(
            weigh(Some(100), 9, Some(held(7, 9)), 9999),
            Verdict::Hold(Held { since: 9999, entries: 9, times: 1 })
        );
    }

    #[test]
    fn what_is_no_list_is_not_taken_and_an_empty_one_is() {
        let look = |text: &str| list(text.as_bytes(), Holds::Indicators).map(|contents| contents.entries);
        assert_eq!(look("# no indicators today\n"), Ok(0));
        assert_eq!(look("203.0.113.1\nfile.type.url.example\nx\n"), Ok(1));
        for broken in [
            "<!DOCTYPE html><html>bad.example",
            "\u{feff} <html>",
            "Too many requests",
            "{\"error\": 1",
            "\u{0}\u{1}\u{2}",
        ] {
            assert!(look(broken).is_err(), "{broken:?}: {:?}", look(broken));
        }
    }
}
