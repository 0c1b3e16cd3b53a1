//! Files of the state directory: read with care, written whole or not at all, by one program at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollTimeout, poll};

use super::Error;

/// Largest file that is read: far above what 256 peers and their rosters need.
const LARGEST: u64 = 8 << 20;
/// So often, and so long apart, the lock is tried before we say who keeps it.
const TRIES: u32 = 250;
const PAUSE: u16 = 20;

/// What a file may be read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The owner only: keys.
    Secret,
    /// The owner and his group.
    Shared,
}

impl Mode {
    const fn bits(self) -> u32 {
        match self {
            Self::Secret => 0o600,
            Self::Shared => 0o640,
        }
    }
}

/// The lock of the directory; gone when dropped. The kernel lets it go when the process dies, however it dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not used")] File);

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

/// Makes the directory if it is not there; it belongs to whom its parent belongs, so that what root's command line makes the
/// daemon can use.
pub fn make_directory(dir: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o750).create(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(io_error(dir)(error)),
    }
    let owned = || -> io::Result<()> {
        let parent =
            fs::metadata(dir.parent().filter(|at| !at.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        // Nobody puts something else in its place meanwhile.
        let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
        let made = OpenOptions::new().read(true).custom_flags(flags).open(dir)?;
        fchown(made, Some(parent.uid()), Some(parent.gid()))
    };
    // Only root can give away, and needs to.
    if nix::unistd::geteuid().is_root() { owned().map_err(io_error(dir)) } else { Ok(()) }
}

/// Takes the lock of the directory; waits a few seconds for who has it.
pub(super) fn lock(dir: &Path) -> Result<Lock, Error> {
    lock_file(dir.join("lock"))
}

/// Takes the lock that this file stands for, made if it is not there; waits a few seconds for who has it.
pub fn lock_file(path: PathBuf) -> Result<Lock, Error> {
    let file = open_or_make(&path).map_err(io_error(&path))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(error)) => return Err(io_error(&path)(error)),
        }
        // A lock of a file wakes nobody who has a deadline: it has to be asked for again.
        let _ = poll(&mut [], PollTimeout::from(PAUSE));
    }
    Err(Error::Busy { path, waited: Duration::from_millis(u64::from(TRIES) * u64::from(PAUSE)) })
}

/// Opens a file, made if it is not there, that belongs to the owner of its directory. He may have put anything there: no link is followed,
/// or what root opens and gives away were somebody else's.
pub fn open_or_make(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(Mode::Shared.bits())
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)?;
    give_to_owner(path.parent().unwrap_or(Path::new(".")), &file)?;
    Ok(file)
}

/// What root makes belongs to whom its directory belongs.
pub fn give_to_owner(dir: &Path, file: &File) -> io::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let (owner, own) = (fs::metadata(dir)?, file.metadata()?);
    // A file with a second name may be somebody else's.
    if (owner.uid(), owner.gid()) == (own.uid(), own.gid()) || own.nlink() != 1 || !own.is_file() {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// The text of a file; `None` when there is none. A secret that others may read is refused.
pub fn read(path: &Path, mode: Mode) -> Result<Option<String>, Error> {
    let opened =
        OpenOptions::new().read(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(path)(error)),
    };
    let about = file.metadata().map_err(io_error(path))?;
    let corrupt = |what: &str| Error::Corrupt { path: path.to_owned(), what: what.to_owned() };
    if !about.is_file() {
        return Err(corrupt("is no file"));
    }
    if mode == Mode::Secret && about.mode() & 0o077 != 0 {
        return Err(Error::Loose { path: path.to_owned(), mode: about.mode() & 0o777 });
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
    if bytes.len() as u64 > LARGEST {
        return Err(corrupt("is larger than any that we write"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| corrupt("is no text"))
}

/// Writes a file whole or not at all; the caller has the lock. It belongs to the owner of its directory.
pub fn write(path: &Path, text: &str, mode: Mode) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let new = dir.join(format!(".{name}.new"));
    let written = || -> io::Result<()> {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode.bits()).open(&new)?;
        // The umask may have taken away what the group needs.
        file.set_permissions(Permissions::from_mode(mode.bits()))?;
        give_to_owner(dir, &file)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(dir)?.sync_all()
    };
    written().map_err(io_error(path))
}

/// Writes a new secret file; one that is there is never touched.
pub fn write_secret_once(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(Mode::Secret.bits()).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let path = PathBuf::from("/dev/urandom");
    let mut bytes = [0; N];
    File::open(&path).and_then(|mut file| file.read_exact(&mut bytes)).map_err(io_error(&path))?;
    Ok(bytes)
}

/// Bytes as hexadecimal letters.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal letters, exactly so many.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|letter| letter.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
