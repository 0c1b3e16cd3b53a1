//! The files of the whitelist on this machine, read into one snapshot.

use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use slips_core::hash::KeyedState;
use slips_intel::{Geo, LoadError, Rules, RulesBuilder, end_of_sites};

use crate::allowed;
use crate::config::{Config, Profiles, Whitelists};
use crate::lists::read_bounded;
use crate::peers;

/// Which files there may be.
#[derive(Clone, Debug)]
pub struct Files {
    config: Whitelists,
    profiles: Profiles,
    output: PathBuf,
    allowed: allowed::Book,
    /// Whether the rules of `slips allow` count.
    commands: bool,
}

/// What was read of the files last: it stays as it was where one cannot be read any more.
#[derive(Debug, Default)]
pub struct Kept {
    written: Written,
    made: Option<String>,
}

/// What people wrote.
#[derive(Debug, Default, PartialEq, Eq)]
struct Written {
    organisations: Vec<(PathBuf, Vec<u8>)>,
    rules: Option<Vec<u8>>,
    sites: Option<Vec<u8>>,
}

/// Largest file of rules or of an organisation, and of known sites.
const MAX_FILE: u64 = 16 << 20;
const MAX_SITES: u64 = 64 << 20;

impl Files {
    /// Those of this configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            config: config.whitelists.clone(),
            profiles: config.profiles.clone(),
            output: config.output.directory.clone(),
            allowed: allowed::Book::of(&config.output.directory),
            commands: true,
        }
    }

    /// Without what `slips allow` keeps for the daemon of this machine: its rules have an end and no beginning, so they say nothing of what
    /// was recorded before, or elsewhere.
    pub fn without_commands(self) -> Self {
        Self { commands: false, ..self }
    }

    /// What `slips allow` keeps.
    pub const fn allowed(&self) -> &allowed::Book {
        &self.allowed
    }

    /// The file of rules that people write.
    pub fn named(&self) -> &Path {
        &self.config.local_whitelist_path
    }

    /// Whether a line would be taken as a rule.
    ///
    /// # Errors
    /// Says what is wrong with it, and what would be right.
    pub fn check(&self, line: &str) -> Result<(), String> {
        let mut builder = RulesBuilder::new();
        for path in self.organisations().map_err(|error| error.to_string())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            builder.read_organisation(&name, &read(&path, MAX_FILE).map_err(|error| error.to_string())?);
        }
        match builder.read("", line.as_bytes()).first() {
            Some(problem) => Err(problem.reason.to_string()),
            None => Ok(()),
        }
    }

    /// The snapshot, and what is wrong with the files. `resolvers` are those of this host, where it has a say.
    ///
    /// # Errors
    /// When a file that somebody named, or one that is there, cannot be read.
    pub fn load(&self, resolvers: Vec<IpAddr>) -> Result<(Rules, Vec<String>), LoadError> {
        let mut kept = Kept { written: self.written()?, made: None };
        let mut unread = None;
        match self.made() {
            Ok(made) => kept.made = made,
            // Only commands write it: what is wrong there does not take the other rules away.
            Err(error) => unread = Some(format!("what `slips allow` kept is not left alone: {error}")),
        }
        let (rules, mut problems) = self.build(&kept, resolvers);
        problems.extend(unread);
        Ok((rules, problems))
    }

    /// Reads the files anew, those of people and that of `slips allow` each for itself: whether they say something else than before, and why
    /// some cannot be read and stay as they were.
    pub fn take(&self, kept: &mut Kept) -> (bool, Vec<String>) {
        let (mut changed, mut failures) = (false, Vec::new());
        match self.written() {
            Ok(written) => {
                changed |= written != kept.written;
                kept.written = written;
            }
            Err(error) => failures.push(format!("{:#}", anyhow::Error::from(error))),
        }
        match self.made() {
            Ok(made) => {
                changed |= made != kept.made;
                kept.made = made;
            }
            Err(error) => failures.push(format!("{:#}", anyhow::Error::from(error))),
        }
        (changed, failures)
    }

    /// The snapshot of what was read, and what is wrong with it.
    pub fn build(&self, kept: &Kept, resolvers: Vec<IpAddr>) -> (Rules, Vec<String>) {
        let (mut builder, mut problems) = (RulesBuilder::new(), Vec::new());
        for (path, text) in &kept.written.organisations {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let wrong = builder.read_organisation(&name, text);
            if wrong > 0 {
                problems
                    .push(format!("{}: {wrong} lines are no network, domain or AS number", path.display()));
            }
        }
        if let Some(text) = &kept.written.rules {
            let file = self.named().display().to_string();
            problems.extend(builder.read(&file, text).iter().map(ToString::to_string));
        }
        if let Some(text) = &kept.made {
            let made = self.allowed.path().display().to_string();
            problems.extend(builder.read_made(&made, text.as_bytes()).iter().map(ToString::to_string));
        }
        if let Some(text) = &kept.written.sites
            && builder.read_sites(text, self.config.known_sites_size) == 0
        {
            let path = self.config.known_sites.display();
            problems.push(format!("whitelists.known_sites: there is no domain in {path}"));
        }
        if builder.wants_systems() {
            let mut geo = Geo::default();
            for path in self.systems() {
                if let Err(error) = geo.add(&path) {
                    problems.push(format!("profiles.places: {}: {error}", path.display()));
                }
            }
            builder.systems(geo);
        }
        let named = &self.config.resolvers;
        builder.resolvers(if named.is_empty() { resolvers } else { named.clone() });
        (builder.finish(), problems)
    }

    /// What people wrote, all of it.
    fn written(&self) -> Result<Written, LoadError> {
        let organisations = self.organisations()?.into_iter().map(|path| {
            let text = read(&path, MAX_FILE)?;
            Ok((path, text))
        });
        let organisations = organisations.collect::<Result<_, LoadError>>()?;
        let rules = self.rules().map(|path| read(path, MAX_FILE)).transpose()?;
        let mut sites = self.sites().map(|path| read(path, MAX_SITES)).transpose()?;
        if let Some(text) = &mut sites {
            // It is kept, and only its beginning counts.
            text.truncate(end_of_sites(text, self.config.known_sites_size));
            text.shrink_to_fit();
        }
        Ok(Written { organisations, rules, sites })
    }

    /// What commands wrote, where that counts.
    fn made(&self) -> Result<Option<String>, peers::Error> {
        if self.commands { self.allowed.text() } else { Ok(None) }
    }

    /// The file of rules: what somebody named must be there.
    fn rules(&self) -> Option<&Path> {
        let path = self.config.local_whitelist_path.as_path();
        let usual = path == Whitelists::default().local_whitelist_path;
        (self.config.enable_local_whitelist && (!usual || path.is_file())).then_some(path)
    }

    /// Databases of autonomous systems; they may be fetched while we run.
    fn systems(&self) -> Vec<PathBuf> {
        self.profiles.databases(&self.output)
    }

    fn sites(&self) -> Option<&Path> {
        let path = self.config.known_sites.as_path();
        (!path.as_os_str().is_empty()).then_some(path)
    }

    fn organisations(&self) -> Result<Vec<PathBuf>, LoadError> {
        let dir = &self.config.organizations;
        if *dir == Whitelists::default().organizations && !dir.is_dir() {
            return Ok(Vec::new());
        }
        let failed = |source: io::Error| LoadError { path: dir.clone(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Notes and what editors leave behind.
            if path.is_file() && !name.contains(['.', '~']) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// Stands for what is there: names, sizes and times of all files.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = STABLE.build_hasher();
        let organisations = self.organisations().unwrap_or_default();
        let files =
            self.rules().into_iter().chain(self.sites()).chain(self.commands.then(|| self.allowed.path()));
        let files = files.chain(organisations.iter().map(PathBuf::as_path));
        let systems = self.systems();
        for path in files.chain(systems.iter().map(PathBuf::as_path)) {
            hasher.write(path.as_os_str().as_encoded_bytes());
            let Ok(about) = fs::metadata(path) else { continue };
            hasher.write_u64(about.len());
            let changed = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            hasher.write_u128(changed.map_or(0, |since| since.as_nanos()));
        }
        hasher.finish()
    }
}

/// The same in every run: no table is guarded by it.
const STABLE: KeyedState = KeyedState::with_key([0x736c_6970_7320_7768, 0x6974_656c_6973_7420]);

fn read(path: &Path, most: u64) -> Result<Vec<u8>, LoadError> {
    read_bounded(path, most).map_err(|source| LoadError { path: path.to_owned(), source })
}
