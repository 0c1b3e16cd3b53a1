//! The lists of lists: `TI_feeds.csv`, `JA3_feeds.csv`, `SSL_feeds.csv`, in the original's form.
//!
//! `URL, level, ['tag','tag'], 6h`, one a line, the last for how often it is fetched if not as often as usual; `#` begins a comment, `;` turns a list off.

use std::time::Duration;

use slips_core::evidence::ThreatLevel;

use crate::ioc::excerpt;

/// A list that is named there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is: a URL, or a path.
    pub location: Box<str>,
    /// How bad what it lists is.
    pub level: ThreatLevel,
    /// Words about it, `, ` between them.
    pub tags: Box<str>,
    /// How often it is fetched, where that is not as usual.
    pub every: Option<Duration>,
}

impl Entry {
    /// The last part of its location, by which its file is known.
    pub fn file(&self) -> &str {
        let path = self.location.split(['?', '#']).next().unwrap_or_default();
        path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default()
    }
}

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueProblem {
    /// Neither URL nor path.
    #[error("line {0}: `{1}` is neither a URL nor a path")]
    NoLocation(u32, Box<str>),
    /// No level.
    #[error("line {0}: `{1}` is no level: info, low, medium, high or critical")]
    NoLevel(u32, Box<str>),
    /// No length of time.
    #[error("line {0}: `{1}` is no length of time: write 30m, 6h or 7d")]
    NoLength(u32, Box<str>),
    /// Too many lists.
    #[error("line {0}: more than {MAX_LISTS} lists")]
    TooMany(u32),
}

/// Most lists.
const MAX_LISTS: usize = 1024;

/// Reads a list of lists.
pub fn catalogue(text: &str) -> (Vec<Entry>, Vec<CatalogueProblem>) {
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let number = index as u32 + 1;
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if entries.len() >= MAX_LISTS {
            problems.push(CatalogueProblem::TooMany(number));
            break;
        }
        match entry(number, line) {
            Ok(entry) => entries.push(entry),
            Err(problem) => problems.push(problem),
        }
    }
    (entries, problems)
}

fn entry(number: u32, line: &str) -> Result<Entry, CatalogueProblem> {
    let mut fields = line.splitn(3, ',').map(str::trim);
    let location = fields.next().unwrap_or_default();
    let is_url = ["https://", "http://"].iter().any(|scheme| location.starts_with(scheme));
    if !is_url && !location.starts_with('/') {
        return Err(CatalogueProblem::NoLocation(number, excerpt(location)));
    }
    let level = fields.next().unwrap_or_default();
    let level =
        ThreatLevel::from_name(level).ok_or_else(|| CatalogueProblem::NoLevel(number, excerpt(level)))?;
    let rest = fields.next().unwrap_or_default();
    let (tags, every) = rest.split_once(']').unwrap_or((rest, ""));
    let every = every.trim_start_matches([',', ' ', '\t']);
    let every = match every {
        "" => None,
        text => Some(length(text).ok_or_else(|| CatalogueProblem::NoLength(number, excerpt(text)))?),
    };
    let tags = tags.trim_matches(['[', ']']);
    let tags: Vec<&str> = tags
        .split(',')
        .map(|tag| tag.trim().trim_matches(['\'', '"']))
        .filter(|tag| !tag.is_empty())
        .collect();
    Ok(Entry { location: location.into(), level, tags: tags.join(", ").into(), every })
}

/// `30m`, `6h`, `7d`; plain numbers are seconds.
fn length(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit.trim() {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let length = number.parse::<u32>().ok().filter(|number| *number > 0)?;
    Some(Duration::from_secs(u64::from(length) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_in_the_originals_form() {
        let text = "# comment\n;https://off.example/x,low,[]\n\nhttps://a.example/feeds/ips.txt?x=1, medium,['phishing','honeypot']\n\
            /var/lib/own.csv,high\nftp://b.example/,low,[]\nhttps://c.example/,severe,[]\n";
        let (entries, problems) = catalogue(text);
        let read: Vec<_> = entries.iter().map(|e| (e.file(), e.level.name(), &*e.tags)).collect();
        assert_eq!(read, [("ips.txt", "medium", "phishing, honeypot"), ("own.csv", "high", "")]);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            told[0].starts_with("line 6: `ftp://") && told[1].starts_with("line 7: `severe`"),
            "{told:?}"
        );
    }

    #[test]
    fn a_list_may_be_fetched_at_its_own_pace() {
        let text = "https://a.example/,low,['x','y'], 6h\nhttps://b.example/,low,[],90\nhttps://c.example/,low,[],often\n\
            https://d.example/,low,[], 0h\n";
        let (entries, problems) = catalogue(text);
        let read: Vec<_> = entries.iter().map(|e| (&*e.tags, e.every.map(|every| every.as_secs()))).collect();
        assert_eq!(read, [("x, y", Some(21_600)), ("", Some(90))]);
        assert!(
            problems.iter().all(|problem| matches!(problem, CatalogueProblem::NoLength(3 | 4, _))),
            "{problems:?}"
        );
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn more_lists_than_anybody_needs_are_not_read() {
        let (entries, problems) = catalogue(&"/a,low,[]\n".repeat(2000));
        assert_eq!((entries.len(), problems), (1024, vec![CatalogueProblem::TooMany(1025)]));
    }
}
