//! The lists of indicators on this machine: the administrator's own, and those that `TI_feeds.csv` and its like name. All are read into
//! one snapshot, of which a compiled copy is kept beside the daemon's files.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use slips_core::hash::KeyedState;
use slips_intel::{Builder, Entry, Feed, Holds, Indicators, LoadError, Tally, catalogue};

use crate::config::ThreatIntelligence;
use crate::peers::files;
pub use crate::peers::files::{give_to_owner, open_or_make};

/// Which files there may be.
#[derive(Clone, Debug)]
pub struct Lists {
    local: Option<PathBuf>,
    catalogues: Vec<(PathBuf, Holds)>,
    downloads: PathBuf,
    /// The compiled copy.
    cache: PathBuf,
}

/// A list that a catalogue names.
#[derive(Debug)]
pub struct Source {
    /// As it is named there.
    pub entry: Entry,
    /// What it holds.
    pub holds: Holds,
    /// Its file on this machine, whether it is there or not.
    pub path: PathBuf,
}

/// What became of a list.
#[derive(Debug)]
pub enum State {
    /// Not fetched yet.
    Absent,
    /// Read.
    Read(Tally),
    /// It cannot be read.
    Unreadable(io::Error),
}

/// A snapshot with what there is to tell about it.
#[derive(Debug)]
pub struct Loaded {
    /// The snapshot.
    pub indicators: Indicators,
    /// What is wrong with the lists; nothing where the compiled copy was taken, since it was told when that was made.
    pub problems: Vec<String>,
    /// Each list of the catalogues; none where the compiled copy was taken.
    pub feeds: Vec<(Source, State)>,
}

/// What is done about the compiled copy when the lists were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copy {
    /// It is written, for the next start.
    Keep,
    /// It is left as it is.
    Leave,
}

/// Name of the compiled copy.
const CACHE: &str = "indicators.cache";
/// Largest list, and largest catalogue.
const MAX_LIST: u64 = 256 << 20;
const MAX_CATALOGUE: u64 = 1 << 20;
/// Problems that are told one by one.
const MAX_PROBLEMS: usize = 1000;

impl Lists {
    /// Those of this configuration. Default places may be absent; what somebody named must be there.
    pub fn of(config: &ThreatIntelligence, output: &Path) -> Self {
        let default = ThreatIntelligence::default();
        let local = &config.local_threat_intelligence_files;
        let absent = *local == default.local_threat_intelligence_files && !local.is_dir();
        let catalogues = [
            (&config.ti_files, &default.ti_files, Holds::Indicators),
            (&config.ja3_feeds, &default.ja3_feeds, Holds::Ja3),
            (&config.ssl_feeds, &default.ssl_feeds, Holds::Certificates),
        ];
        let named = |(path, usual, holds): (&PathBuf, &PathBuf, Holds)| {
            (path != usual || path.is_file()).then(|| (path.clone(), holds))
        };
        Self {
            local: (!absent).then(|| local.clone()),
            catalogues: catalogues.into_iter().filter_map(named).collect(),
            downloads: config.download_path_for_remote_threat_intelligence.clone(),
            cache: output.join(CACHE),
        }
    }

    /// The lists that the catalogues name, and what is wrong with the catalogues.
    pub fn sources(&self) -> Result<(Vec<Source>, Vec<String>), LoadError> {
        let (mut sources, mut problems) = (Vec::new(), Vec::new());
        for (path, holds) in &self.catalogues {
            let bytes = read_bounded(path, MAX_CATALOGUE)
                .map_err(|source| LoadError { path: path.clone(), source })?;
            let (entries, wrong) = catalogue(&String::from_utf8_lossy(&bytes));
            problems.extend(wrong.iter().map(|problem| format!("{}: {problem}", path.display())));
            sources.extend(entries.into_iter().map(|entry| Source {
                path: self.path_of(&entry.location),
                holds: *holds,
                entry,
            }));
        }
        Ok((sources, problems))
    }

    /// Where the list from this place is kept.
    pub fn path_of(&self, location: &str) -> PathBuf {
        if location.starts_with('/') { location.into() } else { downloaded(&self.downloads, location) }
    }

    /// The snapshot: the compiled copy if it was made of what is there now, else read anew.
    pub fn load(&self, copy: Copy) -> Result<Loaded, LoadError> {
        // Before anything is read: what changes meanwhile makes the copy stale.
        let fingerprint = self.fingerprint();
        if let Some(indicators) = self.compiled(fingerprint) {
            return Ok(Loaded { indicators, problems: Vec::new(), feeds: Vec::new() });
        }
        let mut loaded = self.read()?;
        if copy == Copy::Keep
            && let Err(error) = self.keep(&loaded.indicators, fingerprint)
        {
            loaded.problems.push(format!("cannot keep a compiled copy: {error}"));
        }
        Ok(loaded)
    }

    fn compiled(&self, fingerprint: u64) -> Option<Indicators> {
        let file = File::open(&self.cache).ok()?;
        let size = file.metadata().ok()?.len();
        Indicators::read_cache(BufReader::new(file), size, fingerprint).ok()
    }

    /// Reads all lists.
    pub fn read(&self) -> Result<Loaded, LoadError> {
        let mut builder = Builder::new();
        let mut problems = Vec::new();
        if let Some(local) = &self.local {
            problems.extend(builder.read_dir(local)?.iter().map(ToString::to_string));
        }
        let (sources, wrong) = self.sources()?;
        problems.extend(wrong);
        let mut feeds = Vec::new();
        for source in sources {
            let state = read_feed(&mut builder, &source);
            if let State::Unreadable(error) = &state {
                problems.push(format!("{}: {error}", source.path.display()));
            }
            feeds.push((source, state));
        }
        if builder.refused() > 0 {
            problems.push(format!("no room for {} indicators", builder.refused()));
        }
        problems.truncate(MAX_PROBLEMS);
        Ok(Loaded { indicators: builder.finish(), problems, feeds })
    }

    /// Keeps a compiled copy for the next start.
    pub fn keep(&self, indicators: &Indicators, fingerprint: u64) -> io::Result<()> {
        let new = self.cache.with_extension("new");
        let mut file = BufWriter::new(make_anew(&new)?);
        indicators.write_cache(&mut file, fingerprint)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, &self.cache)
    }

    /// Stands for what is there: names, sizes and times of all files, and this version of Slips.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = STABLE.build_hasher();
        hasher.write(env!("CARGO_PKG_VERSION").as_bytes());
        let mut files: Vec<PathBuf> = self.catalogues.iter().map(|(path, _)| path.clone()).collect();
        files.extend(self.sources().unwrap_or_default().0.into_iter().map(|source| source.path));
        for entry in self.local.iter().flat_map(fs::read_dir).flatten().flatten() {
            files.push(entry.path());
        }
        files.sort();
        for path in files {
            hasher.write(path.as_os_str().as_encoded_bytes());
            let Ok(about) = fs::metadata(&path) else { continue };
            hasher.write_u64(about.len());
            let changed = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            hasher.write_u128(changed.map_or(0, |since| since.as_nanos()));
        }
        hasher.finish()
    }
}

/// The same in every run: no table is guarded by it.
const STABLE: KeyedState = KeyedState::with_key([0x736c_6970_7320_6c69, 0x7374_7320_6f66_2074]);

/// Where a list from a URL is kept in the directory of such. Lists of many places have the same file name.
pub fn downloaded(dir: &Path, url: &str) -> PathBuf {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let file = path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = file.chars().map(plain).take(64).collect();
    let mut hasher = STABLE.build_hasher();
    hasher.write(url.as_bytes());
    dir.join(format!("{:016x}-{name}", hasher.finish()))
}

fn read_feed(builder: &mut Builder, source: &Source) -> State {
    let bytes = match read_bounded(&source.path, MAX_LIST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return State::Absent,
        Err(error) => return State::Unreadable(error),
    };
    let Entry { level, tags, .. } = &source.entry;
    let feed = Feed { name: source.entry.file(), level: *level, tags, holds: source.holds };
    State::Read(builder.read_feed(&feed, &bytes))
}

/// A whole file of at most so many bytes.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {} MiB", most >> 20)));
    }
    Ok(bytes)
}

/// Puts a file in its place as a whole.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    make_directory(dir)?;
    // Its name ends as no list does, so that nobody reads half of it.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = make_anew(Path::new(&new))?;
    file.write_all(bytes)?;
    give_to_owner(dir, &file)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// Makes a file in the place of what an earlier try left there; a link is removed and not followed, whoever put it there.
pub fn make_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::create_new(path),
    }
}

/// Makes a directory, and those it lies in. Each belongs to whom the one around it belongs, so that what root makes the daemon can use.
pub fn make_directory(dir: &Path) -> io::Result<()> {
    if dir.is_dir() || dir.as_os_str().is_empty() {
        return Ok(());
    }
    dir.parent().map_or(Ok(()), make_directory)?;
    files::make_directory(dir).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slips_core::intel::{Intelligence, Key};

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().expect("dir"));
            fs::create_dir(machine.at("own")).expect("dir");
            machine.write(
                "TI_feeds.csv",
                "https://a.example/list.txt,low,[]\nhttps://b.example/list.txt,high,['c2']\n",
            );
            machine
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            write_whole(&self.at(name), text.as_bytes()).expect("write");
        }

        fn lists(&self) -> Lists {
            let config = ThreatIntelligence {
                local_threat_intelligence_files: self.at("own"),
                ti_files: self.at("TI_feeds.csv"),
                download_path_for_remote_threat_intelligence: self.at("feeds"),
                ..ThreatIntelligence::default()
            };
            Lists::of(&config, self.0.path())
        }
    }

    fn listed(indicators: &Indicators, addr: &str) -> Option<String> {
        let found = indicators.look_up(Key::Address(addr.parse().expect("ip")));
        found.map(|listed| listed.to_string())
    }

    #[test]
    fn lists_of_one_name_from_two_places_are_two() {
        let machine = Machine::new();
        let lists = machine.lists();
        for (location, addr) in
            [("https://a.example/list.txt", "203.0.113.1"), ("https://b.example/list.txt", "203.0.113.1")]
        {
            write_whole(&lists.path_of(location), addr.as_bytes()).expect("write");
        }
        let loaded = lists.read().expect("read");
        assert_eq!(listed(&loaded.indicators, "203.0.113.1").as_deref(), Some("high (list.txt) [c2]"));
        assert!(
            loaded.feeds.iter().all(|(_, state)| matches!(state, State::Read(tally) if tally.taken == 1))
        );
        assert_eq!(lists.path_of("/etc/a.txt"), Path::new("/etc/a.txt"));
        let odd = lists.path_of("https://a.example/../../etc/pass wd?x=/y");
        assert_eq!(odd.parent(), Some(&*machine.at("feeds")), "{odd:?}");
    }

    #[test]
    fn a_compiled_copy_is_taken_until_something_changes_or_it_breaks() {
        let machine = Machine::new();
        machine.write("own/own.csv", "203.0.113.1,high,first\nbroken\n");
        let lists = machine.lists();
        let first = lists.load(Copy::Keep).expect("read");
        assert_eq!((first.problems.len(), first.feeds.len()), (1, 2));
        let again = lists.load(Copy::Keep).expect("compiled");
        assert_eq!((again.problems.len(), again.feeds.len()), (0, 0), "the copy");
        assert_eq!(listed(&again.indicators, "203.0.113.1").as_deref(), Some("high (own.csv): first"));
        machine.write("own/own.csv", "203.0.113.1,high,another\n");
        let changed = lists.load(Copy::Keep).expect("read");
        assert_eq!(listed(&changed.indicators, "203.0.113.1").as_deref(), Some("high (own.csv): another"));
        fs::write(machine.at(CACHE), b"SLIPSTI1 and nothing more").expect("write");
        assert_eq!(lists.load(Copy::Leave).expect("read").feeds.len(), 2, "read anew");
        assert!(fs::read(machine.at(CACHE)).expect("left").starts_with(b"SLIPSTI1 and"));
    }

    #[test]
    fn a_link_that_somebody_left_leads_nowhere() {
        let machine = Machine::new();
        machine.write("precious", "keep me");
        for name in ["updates.json.new", "lock"] {
            std::os::unix::fs::symlink(machine.at("precious"), machine.at(name)).expect("a link");
        }
        machine.write("updates.json", "new");
        assert!(open_or_make(&machine.at("lock")).is_err());
        let read = |name: &str| fs::read_to_string(machine.at(name)).expect("read");
        assert_eq!((read("precious").as_str(), read("updates.json").as_str()), ("keep me", "new"));
        assert!(!fs::symlink_metadata(machine.at("updates.json")).expect("there").is_symlink());
    }

    #[test]
    fn what_somebody_named_must_be_there() {
        let machine = Machine::new();
        fs::remove_file(machine.at("TI_feeds.csv")).expect("remove");
        let error = machine.lists().load(Copy::Leave).expect_err("named");
        assert!(error.to_string().contains("TI_feeds.csv"), "{error}");
        let nowhere = Lists::of(&ThreatIntelligence::default(), machine.0.path());
        assert!(nowhere.load(Copy::Leave).is_ok(), "default places may be absent");
    }
}
