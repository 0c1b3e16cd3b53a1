//! What a person said by `slips allow` is left alone: rules in a file of their own, in the daemon's state directory. Nobody edits it by hand,
//! so no comment of anybody's is lost; who writes, the daemon or the command line without one, takes its lock and replaces it whole.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slips_core::addr::Net;
use slips_core::time::PacketTime;
use slips_intel::{Direction, Ignored, Rule, What, Wrong, lines_of};
use slips_store::render;

use crate::daemon::sinks::wall_clock;
use crate::peers;
use crate::peers::files::{self, Mode};
use crate::whitelist::Files;

/// The file in the output directory, and its lock.
pub const NAME: &str = "allowed.conf";
const LOCK: &str = "allowed.lock";
const HEAD: &str = "; Written by `slips allow`, which also takes rules out again (`slips allow --remove`). Rules of your own belong in\n; whitelist.conf, where their comments stay.\n";
/// Most rules: who has more keeps them in a file.
const MAX_RULES: usize = 4096;
/// Most that is named at once, and the longest name and reason, in characters.
pub const MOST: usize = 100;
const LONGEST: usize = 300;
pub const LONGEST_WHY: usize = 200;
/// Longest term: ten years, in seconds.
pub const LONGEST_TERM: u64 = 315_360_000;
/// Networks wider than these are named by mistake more often than not.
const WIDE_V4: u8 = 16;
const WIDE_V6: u8 = 32;

/// On which side of the traffic something is left alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Sides {
    /// Where it begins the traffic.
    Src,
    /// Where it is called.
    Dst,
    /// On both.
    #[default]
    Both,
}

impl From<Sides> for Direction {
    fn from(sides: Sides) -> Self {
        match sides {
            Sides::Src => Self::Src,
            Sides::Dst => Self::Dst,
            Sides::Both => Self::Both,
        }
    }
}

/// What is left out about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LeftOut {
    /// Detections see nothing of its flows.
    Flows,
    /// They do, but evidence is dropped.
    #[default]
    Alerts,
    /// Both.
    Both,
}

impl From<LeftOut> for Ignored {
    fn from(left_out: LeftOut) -> Self {
        match left_out {
            LeftOut::Flows => Self::Flows,
            LeftOut::Alerts => Self::Alerts,
            LeftOut::Both => Self::Both,
        }
    }
}

/// What is to be left alone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Addresses, networks, domains, hardware addresses, organisations; all of them, or none if one is wrong.
    #[schemars(length(min = 1, max = MOST), inner(length(min = 1, max = LONGEST)))]
    pub what: Vec<String>,
    /// How long, in seconds; for ever where it is left out.
    #[schemars(range(min = 1, max = LONGEST_TERM))]
    #[serde(default)]
    pub seconds: Option<u64>,
    /// Why.
    #[schemars(length(max = LONGEST_WHY))]
    #[serde(default)]
    pub why: String,
    /// On which side of the traffic.
    #[serde(default)]
    pub direction: Sides,
    /// What is left out.
    #[serde(default)]
    pub ignored: LeftOut,
    /// Also networks that are named by mistake more often than not: wider than a /16, or a /32 of IPv6.
    #[serde(default)]
    pub wide: bool,
}

/// What is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Allowed {
    /// What it names: `ip`, `domain`, `organization`, `mac`.
    #[serde(rename = "type")]
    pub of: String,
    /// Which one.
    pub value: String,
    /// Which side of the traffic.
    pub direction: String,
    /// What is left out: `alerts`, `flows`, `both`.
    pub ignored: String,
    /// Until when; for ever where there is nothing.
    pub until: Option<String>,
    /// Why.
    pub why: String,
    /// Whether the rule lets nobody block it: one for both directions and alerts, about an address or a network.
    pub never_blocked: bool,
}

impl Allowed {
    /// What there is to show of a rule.
    pub fn of(rule: &Rule) -> Self {
        let what = rule.what.to_string();
        let (of, value) = what.split_once(' ').unwrap_or((&what, ""));
        Self {
            of: of.to_owned(),
            value: value.to_owned(),
            direction: rule.direction.name().to_owned(),
            ignored: rule.ignored.name().to_owned(),
            until: rule.until.map(ends),
            why: rule.remark.to_string(),
            never_blocked: rule.spares().is_some(),
        }
    }

    /// Whether another is the same, apart from why.
    pub fn says_what(&self, other: &Self) -> bool {
        let says = |rule: &Self| (rule.of.clone(), rule.value.clone(), rule.until.clone());
        let how = |rule: &Self| (rule.direction.clone(), rule.ignored.clone());
        says(self) == says(other) && how(self) == how(other)
    }
}

/// Why something is not left alone.
#[derive(Debug)]
pub enum Refused {
    /// What was named, or how, makes no sense.
    Wrong(String),
    /// It is not in the file.
    Absent(String),
    /// The file cannot be read or written.
    File(peers::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(why) | Self::Absent(why) => f.write_str(why),
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl From<peers::Error> for Refused {
    fn from(error: peers::Error) -> Self {
        Self::File(error)
    }
}

/// The file.
#[derive(Clone, Debug)]
pub struct Book(PathBuf);

impl Book {
    /// That of a daemon with this output directory.
    pub fn of(output: &Path) -> Self {
        Self(output.join(NAME))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its text; none where there is no file, or we may not look into its directory.
    pub fn text(&self) -> Result<Option<String>, peers::Error> {
        match files::read(&self.0, Mode::Shared) {
            Err(peers::Error::Io { source, .. })
                if source.kind() == std::io::ErrorKind::PermissionDenied
                    && self.0.symlink_metadata().is_err() =>
            {
                Ok(None)
            }
            read => read,
        }
    }

    /// What is left alone now.
    pub fn list(&self) -> Result<Vec<Allowed>, peers::Error> {
        let now = now();
        let text = files::read(&self.0, Mode::Shared)?.unwrap_or_default();
        let rules = lines_of(&text).filter_map(|(_, rule)| rule).filter(|rule| !is_over(rule, now));
        Ok(rules.map(|rule| Allowed::of(&rule)).collect())
    }

    /// Leaves all of it alone from now on; one that is there already is replaced. Which networks nobody may block any more, and each rule.
    pub fn add(&self, wish: &Wish, files: &Files) -> Result<(Vec<Net>, Vec<Allowed>), Refused> {
        let rules = rules_of(wish)?;
        for rule in &rules {
            files.check(&line_of(rule)).map_err(Refused::Wrong)?;
        }
        self.change(|lines| {
            lines.retain(|(_, old)| {
                old.as_ref().is_none_or(|old| rules.iter().all(|rule| rule.what != old.what))
            });
            lines.extend(rules.iter().map(|rule| (line_of(rule), Some(rule.clone()))));
            if lines.iter().filter(|(_, rule)| rule.is_some()).count() > MAX_RULES {
                let path = files.named();
                let why = format!("there are {MAX_RULES} rules already; keep more in {}", path.display());
                return Err(Refused::Wrong(why));
            }
            Ok(())
        })?;
        Ok((rules.iter().filter_map(Rule::spares).collect(), rules.iter().map(Allowed::of).collect()))
    }

    /// Takes all of it out; nothing, where one is not there.
    pub fn remove(&self, names: &[String], files: &Files) -> Result<Vec<Allowed>, Refused> {
        let mut whats: Vec<(What, &String)> = Vec::new();
        for (what, name) in named(names)?.into_iter().zip(names) {
            if !whats.iter().any(|(other, _)| *other == what) {
                whats.push((what, name));
            }
        }
        let mut gone = Vec::new();
        self.change(|lines| {
            for (what, name) in &whats {
                let is_it = |rule: &Option<Rule>| rule.as_ref().is_some_and(|rule| rule.what == *what);
                if !lines.iter().any(|(_, rule)| is_it(rule)) {
                    return Err(Refused::Absent(absent(name, files)));
                }
                lines.retain(|(_, rule)| {
                    gone.extend(rule.iter().filter(|_| is_it(rule)).map(Allowed::of));
                    !is_it(rule)
                });
            }
            Ok(())
        })?;
        Ok(gone)
    }

    /// Reads, changes and writes under the lock. What is over is left out, what is no rule is kept.
    fn change(
        &self,
        change: impl FnOnce(&mut Vec<(String, Option<Rule>)>) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let _lock = files::lock_file(self.0.with_file_name(LOCK))?;
        let text = files::read(&self.0, Mode::Shared)?.unwrap_or_else(|| HEAD.to_owned());
        let now = now();
        let lines = lines_of(&text).filter(|(_, rule)| rule.as_ref().is_none_or(|rule| !is_over(rule, now)));
        let mut lines: Vec<_> = lines.map(|(line, rule)| (line.to_owned(), rule)).collect();
        change(&mut lines)?;
        let text: String = lines.into_iter().map(|(line, _)| line + "\n").collect();
        Ok(files::write(&self.0, &text, Mode::Shared)?)
    }
}

/// What somebody may do who named what is not there.
fn absent(name: &str, files: &Files) -> String {
    let name = name.escape_debug();
    let path = files.named().display();
    let found = files.load(Vec::new()).ok().and_then(|(rules, _)| {
        let found = rules.find(&name.to_string(), PacketTime(wall_clock()));
        let line =
            found.iter().find_map(|found| found.rule.filter(|rule| rule.line > 0).map(|rule| rule.line));
        line.map(|line| format!("; line {line} of {path} is about it, edit that"))
    });
    format!("`{name}` is not among what `slips allow --list` shows{}", found.unwrap_or_default())
}

fn named(names: &[String]) -> Result<Vec<What>, Refused> {
    if !(1..=MOST).contains(&names.len()) {
        return Err(Refused::Wrong(format!("from 1 to {MOST} things can be named at once")));
    }
    let what = |name: &String| {
        // They would end the column or the line.
        if name.trim().is_empty()
            || name.chars().count() > LONGEST
            || name.contains([',', '#', '"'])
            || name.contains(char::is_control)
        {
            let why =
                format!("a name has from 1 to {LONGEST} characters, and no comma, #, quote or line end");
            return Err(Refused::Wrong(why));
        }
        What::named(name).map_err(|wrong| {
            let way_out = match wrong {
                Wrong::TooWide(_) => {
                    "; to block nobody at all there is `firewall: mode: monitor`, and for a while `slips firewall pause`"
                }
                _ => "",
            };
            Refused::Wrong(format!("{wrong}{way_out}"))
        })
    };
    names.iter().map(what).collect()
}

fn rules_of(wish: &Wish) -> Result<Vec<Rule>, Refused> {
    let wrong = |why: String| Err(Refused::Wrong(why));
    if wish.why.chars().count() > LONGEST_WHY {
        return wrong(format!("why: {LONGEST_WHY} characters at most"));
    }
    if wish.seconds.is_some_and(|secs| !(1..=LONGEST_TERM).contains(&secs)) {
        return wrong(format!("seconds: from 1 to {LONGEST_TERM}"));
    }
    let until = wish.seconds.map(|secs| u32::try_from(now().saturating_add(secs)).unwrap_or(u32::MAX) - 1);
    let remark: String = wish.why.chars().filter(|c| !c.is_control()).collect();
    let mut rules: Vec<Rule> = Vec::new();
    for what in named(&wish.what)? {
        if let What::Net(net) = what {
            let widest = if net.addr().is_ipv4() { WIDE_V4 } else { WIDE_V6 };
            if net.prefix() < widest && !wish.wide {
                return wrong(format!(
                    "{net} is wide: nobody in it would ever be blocked; say `--wide` (`wide` in the API) if that is meant"
                ));
            }
        }
        let rule = Rule {
            line: 0,
            what,
            direction: wish.direction.into(),
            ignored: wish.ignored.into(),
            until,
            remark: remark.trim().into(),
        };
        if !rules.iter().any(|other| other.what == rule.what) {
            rules.push(rule);
        }
    }
    Ok(rules)
}

/// As it stands in the file.
fn line_of(rule: &Rule) -> String {
    let what = rule.what.to_string().replacen(' ', ",", 1);
    let mut line = format!("{what},{},{}", rule.direction.name(), rule.ignored.name());
    if let Some(until) = rule.until {
        line += &format!(",{}", ends(until));
    }
    if !rule.remark.is_empty() {
        line += &format!(" # {}", rule.remark);
    }
    line
}

/// The moment when a rule ends of which this is the last second.
fn ends(until: u32) -> String {
    let moment = render::iso(PacketTime::from_secs_micros(i64::from(until) + 1, 0));
    moment.split('.').next().map(|whole| format!("{whole}Z")).unwrap_or_default()
}

fn is_over(rule: &Rule, now: u64) -> bool {
    rule.until.is_some_and(|until| now > u64::from(until))
}

/// Seconds since 1970.
fn now() -> u64 {
    u64::try_from(wall_clock() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn place(dir: &Path) -> (Book, Files) {
        let shown = dir.display();
        let text = format!(
            "output:\n  directory: {shown}\nwhitelists:\n  local_whitelist_path: {shown}/whitelist.conf\n"
        );
        std::fs::write(dir.join("whitelist.conf"), "; ours\nip,198.51.100.9,both,alerts\n").expect("written");
        let config = Config::parse(Path::new("slips.yaml"), &text).expect("config");
        (Book::of(dir), Files::of(&config))
    }

    fn wish(what: &[&str]) -> Wish {
        let what = what.iter().map(ToString::to_string).collect();
        let (direction, ignored) = (Sides::default(), LeftOut::default());
        Wish { what, seconds: None, why: String::new(), direction, ignored, wide: false }
    }

    fn names(what: &[&str]) -> Vec<String> {
        what.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_allowed_counts_beside_the_whitelist_until_it_is_taken_out() {
        let dir = tempfile::tempdir().expect("dir");
        let (book, files) = place(dir.path());
        let before = files.fingerprint();
        let mut asked =
            wish(&["192.0.2.7", "203.0.113.0/24", "Example.org", "02-00-00-00-00-01", "Google", "192.0.2.7"]);
        asked.why = "an innocent\nip,192.0.2.66,both,alerts # and more".into();
        let (nets, rules) = book.add(&asked, &files).expect("taken");
        assert_eq!((nets.len(), rules.len()), (2, 5));
        assert_ne!(files.fingerprint(), before, "who follows the files sees it");
        assert_eq!(book.list().expect("read"), rules);
        let (known, problems) = files.load(Vec::new()).expect("read");
        assert_eq!((known.rules().len(), problems), (6, vec![]), "with that of the whitelist");
        let spared = known.spared(PacketTime(wall_clock()));
        assert_eq!(spared.len(), 3);
        // The same once more takes its place, with a term now.
        asked = Wish { seconds: Some(3600), ..wish(&["192.0.2.7"]) };
        let (_, again) = book.add(&asked, &files).expect("taken");
        let listed = book.list().expect("read");
        assert_eq!((listed.len(), again[0].until.is_some()), (5, true));
        assert!(listed.contains(&again[0]), "{listed:?}");
        let (here, _) = files.clone().without_commands().load(Vec::new()).expect("read");
        assert_eq!(here.rules().len(), 1, "it says nothing of what was recorded before");
        assert_eq!(
            book.remove(&names(&["example.org", "192.0.2.7", "192.0.2.7"]), &files).expect("taken out").len(),
            2
        );
        assert_eq!(book.list().expect("read").len(), 3);
        let text = book.text().expect("read").expect("a file");
        assert!(text.starts_with("; Written by"), "{text}");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&book.path().metadata().expect("a file").permissions());
        assert_eq!(mode & 0o777, 0o640);
        let own = std::fs::read_to_string(dir.path().join("whitelist.conf")).expect("read");
        assert_eq!(own, "; ours\nip,198.51.100.9,both,alerts\n");
    }

    #[test]
    fn what_is_over_goes_with_the_next_change_and_what_is_no_rule_stays() {
        let dir = tempfile::tempdir().expect("dir");
        let (book, files) = place(dir.path());
        std::fs::write(book.path(), "; a note\nip,192.0.2.1,both,alerts,2020-01-01T00:00:00Z\nnonsense\n")
            .expect("written");
        assert_eq!(book.list().expect("read"), []);
        book.add(&wish(&["192.0.2.2"]), &files).expect("taken");
        assert_eq!(
            book.text().expect("read").expect("a file"),
            "; a note\nnonsense\nip,192.0.2.2,both,alerts\n"
        );
    }

    #[test]
    fn a_bad_word_changes_nothing_and_says_what_would_be_right() {
        let dir = tempfile::tempdir().expect("dir");
        let (book, files) = place(dir.path());
        let injected = "google,both,alerts\norganization,apple";
        for (name, told) in [
            ("192.0.2.999", "is no address or network; write"),
            ("0.0.0.0/0", "firewall: mode: monitor"),
            ("10.0.0.0/8", "`--wide`"),
            ("2001:db8::/31", "`--wide`"),
            ("a..b", "is no domain; write"),
            ("nobodys", "a file of that name"),
            (injected, "no comma"),
            ("google#", "no comma"),
            ("", "from 1 to 300"),
        ] {
            let refused = book.add(&wish(&["192.0.2.1", name]), &files).expect_err(name).to_string();
            assert!(refused.contains(told), "{name}: {refused}");
        }
        assert_eq!(book.text().expect("read"), None);
        assert!(book.add(&Wish { wide: true, ..wish(&["10.0.0.0/8"]) }, &files).is_ok());
        for wrong in [
            Wish { seconds: Some(0), ..wish(&["192.0.2.1"]) },
            Wish { why: "x".repeat(201), ..wish(&["192.0.2.1"]) },
            wish(&[]),
        ] {
            assert!(matches!(book.add(&wrong, &files), Err(Refused::Wrong(_))));
        }
        let absent = |name| book.remove(&names(&[name]), &files).expect_err(name).to_string();
        assert!(absent("192.0.2.1").ends_with("is not among what `slips allow --list` shows"));
        assert!(absent("198.51.100.9").contains("; line 2 of "), "{}", absent("198.51.100.9"));
    }

    #[test]
    fn what_the_owner_of_the_directory_put_there_is_not_followed() {
        let dir = tempfile::tempdir().expect("dir");
        let (book, files) = place(dir.path());
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "; secret\n").expect("written");
        std::os::unix::fs::symlink(&secret, book.path()).expect("a link");
        assert!(book.add(&wish(&["192.0.2.1"]), &files).is_err());
        assert_eq!(std::fs::read_to_string(&secret).expect("read"), "; secret\n");
    }
}
