//! The directory: loading, changing, keys.

use std::fs;
use std::path::{Path, PathBuf};

use slips_p2p::identity::{NodeId, NodeKey};
use slips_p2p::message::SignedRoster;
use slips_p2p::moment::Moment;

use super::book::{Book, KeyPlace};
use super::files::{self, Mode, from_hex, to_hex};
use super::table::{MAX_ORGS, Table};
use super::{Error, Secret, State};

/// The directory and, for the daemon, that of the unit's credentials.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
    credential: Option<PathBuf>,
}

const NODE_KEY: &str = "node-key";
const NETWORK_KEY: &str = "network-key";
const TABLE: &str = "peers.yaml";
const ROSTERS: &str = "rosters";
const BOOK: &str = "state.json";
const LISTS: &str = "lists";
/// The name of the credential: `LoadCredential=slips-node-key:/path`.
const CREDENTIAL: &str = "slips-node-key";

impl Store {
    /// The store in `dir`; `credentials` is what systemd calls `$CREDENTIALS_DIRECTORY`.
    pub fn new(dir: PathBuf, credentials: Option<&Path>) -> Self {
        let credential = credentials.map(|at| at.join(CREDENTIAL)).filter(|at| at.exists());
        Self { dir, credential }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// Where the table is.
    pub fn table_path(&self) -> PathBuf {
        self.dir.join(TABLE)
    }

    pub(super) fn lists_directory(&self) -> PathBuf {
        self.dir.join(LISTS)
    }

    /// Reads everything; an empty state when there is no directory yet.
    ///
    /// # Errors
    /// When a file is there and cannot be used.
    pub fn load(&self) -> Result<State, Error> {
        let book = match self.read(BOOK, Mode::Secret)? {
            Some(text) => Book::parse(&self.dir.join(BOOK), &text)?,
            None => Book::default(),
        };
        let network = self.read_key(NETWORK_KEY)?.map(Secret);
        let (path, text) = (self.table_path(), self.read(TABLE, Mode::Shared)?);
        let table = text
            .map(|text| Table::parse(&path, &text))
            .transpose()
            .map_err(Error::Wrong)?
            .unwrap_or_default();
        let rosters = self.read_rosters()?;
        let key = match &self.credential {
            Some(path) => key_in(path, files::read(path, Mode::Shared)?)?,
            None => self.read_key(NODE_KEY)?,
        };
        let key = key.map(|seed| NodeKey::from_seed(&seed));
        let id = self.identity(key.as_ref(), &book)?;
        Ok(State { id, key, network, table, rosters, book })
    }

    /// Who we are, if what was noted and what is found agree.
    fn identity(&self, key: Option<&NodeKey>, book: &Book) -> Result<Option<NodeId>, Error> {
        match (key.map(NodeKey::id), book.node) {
            (Some(found), Some((node, _))) if found != node => Err(Error::OtherKey { found, node }),
            (None, Some((node, KeyPlace::File))) => {
                Err(Error::KeyLost { path: self.dir.join(NODE_KEY), node })
            }
            (found, noted) => Ok(found.or(noted.map(|(node, _)| node))),
        }
    }

    /// Lets `work` change the state under the lock, and writes what became different. Nothing is written when `work` fails.
    /// What is missing is made first: the directory, the key, the epoch.
    ///
    /// # Errors
    /// When a file cannot be used, or what `work` says.
    pub fn change<T, E: From<Error>>(
        &self,
        now: Moment,
        work: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, E> {
        files::make_directory(&self.dir)?;
        let _lock = files::lock(&self.dir)?;
        let old = self.load()?;
        let mut new = old.clone();
        self.complete(&mut new, now)?;
        let done = work(&mut new)?;
        self.save(&old, &new)?;
        Ok(done)
    }

    /// Makes the key and the epoch if there are none.
    fn complete(&self, state: &mut State, now: Moment) -> Result<(), Error> {
        if state.book.epoch == 0 {
            state.book.epoch = now.0.max(1);
        }
        if state.id.is_none() {
            self.refuse_orphans()?;
            state.key = Some(self.make_key()?);
        }
        if let Some(key) = &state.key {
            let place = match self.credential {
                Some(_) => KeyPlace::Credential,
                // What the daemon noted of its credential stays true when the command line sees a file, too.
                None => state.key_place().unwrap_or(KeyPlace::File),
            };
            state.id = Some(key.id());
            state.book.node = Some((key.id(), place));
        }
        Ok(())
    }

    /// A directory with peers, but without a key and without a note of whose it was, has been damaged.
    fn refuse_orphans(&self) -> Result<(), Error> {
        for name in [BOOK, NETWORK_KEY] {
            let path = self.dir.join(name);
            if path.exists() {
                let what = format!("is there, but {NODE_KEY} is not");
                return Err(Error::Corrupt { path, what });
            }
        }
        Ok(())
    }

    fn make_key(&self) -> Result<NodeKey, Error> {
        let seed: [u8; 32] = files::random()?;
        files::write(&self.dir.join(NODE_KEY), &key_text(&seed), Mode::Secret)?;
        Ok(NodeKey::from_seed(&seed))
    }

    /// A new identity, or that of the key file as it is now, because the owner said so. The old key is kept beside it.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn renew_identity(&self, now: Moment) -> Result<NodeId, Error> {
        files::make_directory(&self.dir)?;
        let _lock = files::lock(&self.dir)?;
        let path = self.dir.join(NODE_KEY);
        let text = self.read(BOOK, Mode::Secret)?;
        let mut book =
            text.map(|text| Book::parse(&self.dir.join(BOOK), &text)).transpose()?.unwrap_or_default();
        let noted = book.node.map(|(node, _)| node);
        let found = match self.read_key(NODE_KEY)? {
            // The file holds another key than the one noted: the owner put it there.
            Some(seed) if noted.is_some_and(|node| node != NodeKey::from_seed(&seed).id()) => {
                NodeKey::from_seed(&seed)
            }
            Some(_) => {
                let kept = self.dir.join(format!("{NODE_KEY}.{}", now.0 / 1000));
                fs::rename(&path, &kept).map_err(files::io_error(&kept))?;
                self.make_key()?
            }
            None => self.make_key()?,
        };
        book.node = Some((found.id(), KeyPlace::File));
        // Messages of the new identity are numbered from the start.
        book.epoch = now.0.max(book.epoch + 1);
        files::write(&self.dir.join(BOOK), &book.render(), Mode::Secret)?;
        Ok(found.id())
    }

    fn save(&self, old: &State, new: &State) -> Result<(), Error> {
        // First what others build upon: a crash in between leaves a peer without an invite, never an invite without a network.
        if new.network != old.network {
            let path = self.dir.join(NETWORK_KEY);
            match new.network {
                Some(secret) => files::write(&path, &key_text(&secret.0), Mode::Secret)?,
                None => fs::remove_file(&path).map_err(files::io_error(&path))?,
            }
        }
        if new.table != old.table || !self.table_path().exists() {
            let text = new.table.render();
            // What we could not read again must not replace what we can.
            Table::parse(&self.table_path(), &text).map_err(Error::Wrong)?;
            files::write(&self.table_path(), &text, Mode::Shared)?;
        }
        if new.rosters != old.rosters {
            let lines: String = new.rosters.iter().map(|roster| format!("{roster}\n")).collect();
            files::write(&self.dir.join(ROSTERS), &lines, Mode::Shared)?;
        }
        if new.book != old.book {
            files::write(&self.dir.join(BOOK), &new.book.render(), Mode::Secret)?;
        }
        Ok(())
    }

    fn read(&self, name: &str, mode: Mode) -> Result<Option<String>, Error> {
        files::read(&self.dir.join(name), mode)
    }

    fn read_key(&self, name: &str) -> Result<Option<[u8; 32]>, Error> {
        key_in(&self.dir.join(name), self.read(name, Mode::Secret)?)
    }

    fn read_rosters(&self) -> Result<Vec<SignedRoster>, Error> {
        let Some(text) = self.read(ROSTERS, Mode::Shared)? else { return Ok(Vec::new()) };
        let path = self.dir.join(ROSTERS);
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).take(MAX_ORGS);
        lines
            .map(|(at, line)| {
                let wrong =
                    |error| Error::Corrupt { path: path.clone(), what: format!("line {}: {error}", at + 1) };
                line.parse().map_err(wrong)
            })
            .collect()
    }
}

fn key_text(key: &[u8; 32]) -> String {
    to_hex(key) + "\n"
}

fn key_in(path: &Path, text: Option<String>) -> Result<Option<[u8; 32]>, Error> {
    let Some(text) = text else { return Ok(None) };
    let what = "is no key: 64 letters of 0-9 and a-f are";
    let wrong = || Error::Corrupt { path: path.to_owned(), what: what.into() };
    from_hex(text.trim()).map(Some).ok_or_else(wrong)
}
