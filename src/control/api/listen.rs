//! The socket of the API: the service manager's, or one that we make.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockname, listen, socket,
};
use nix::unistd::chown;

use super::access;

/// What the unit calls the socket that it hands over.
pub const NAME: &str = "control";
/// Who is let in by the mode of the socket: the group.
const MODE: u32 = 0o660;
/// Clients that may wait to be accepted. While we restart under systemd they do.
const BACKLOG: i32 = 128;

/// A socket that listens.
#[derive(Debug)]
pub struct Place {
    /// It.
    pub listener: UnixListener,
    /// Where it is; which file, if it is we who take it away again.
    pub path: PathBuf,
    made: Option<(u64, u64)>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Unlistened {
    /// Another daemon answers there.
    #[error("{} is another daemon's, which answers there", .0.display())]
    Taken(PathBuf),
    /// There is something that is not ours to take away.
    #[error("{} is no socket", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Place {
    /// The socket that was handed over, or a new one at this path. One that a dead daemon left there is replaced.
    pub fn open(handed_over: Option<OwnedFd>, path: &Path) -> Result<Self, Unlistened> {
        match handed_over {
            Some(fd) => Ok(Self::of(fd, path)),
            None => Self::make(path),
        }
    }

    fn of(fd: OwnedFd, path: &Path) -> Self {
        let name = getsockname::<UnixAddr>(fd.as_raw_fd()).ok();
        let path = name.as_ref().and_then(|name| name.path()).unwrap_or(path).to_owned();
        Self { listener: UnixListener::from(fd), path, made: None }
    }

    fn make(path: &Path) -> Result<Self, Unlistened> {
        let failed = |source: io::Error| Unlistened::System { path: path.to_owned(), source };
        make_directory(path).map_err(failed)?;
        clear(path)?;
        let made = || -> io::Result<_> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
            bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
            // Before it listens nobody can connect.
            fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
            if let Some(group) = access::group() {
                // Who is not root and not of the group keeps it for himself.
                let _ = chown(path, None, Some(group));
            }
            listen(&fd, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
            let file = fs::symlink_metadata(path)?;
            Ok(Self {
                listener: UnixListener::from(fd),
                path: path.to_owned(),
                made: Some((file.dev(), file.ino())),
            })
        };
        made().map_err(|error| match error.kind() {
            // Another one was faster.
            io::ErrorKind::AddrInUse => Unlistened::Taken(path.to_owned()),
            _ => failed(error),
        })
    }
}

impl Drop for Place {
    /// What we made we take away, unless another took its place.
    fn drop(&mut self) {
        let Some(made) = self.made else { return };
        if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == made) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The directory, as the unit would make it; only where the one above is there.
fn make_directory(path: &Path) -> io::Result<()> {
    let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) else {
        return Ok(());
    };
    match fs::DirBuilder::new().mode(0o750).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if let Some(group) = access::group() {
        let _ = chown(dir, None, Some(group));
    }
    Ok(())
}

/// Takes away a socket at which nobody answers any more.
fn clear(path: &Path) -> Result<(), Unlistened> {
    let failed = |source: io::Error| Unlistened::System { path: path.to_owned(), source };
    let file = match fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !file.file_type().is_socket() {
        return Err(Unlistened::NotASocket(path.to_owned()));
    }
    let answered = || -> nix::Result<()> {
        // Who has no room for another client lives, and is not waited for.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)
    };
    match answered() {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(failed),
        Err(Errno::ENOENT) => Ok(()),
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(Unlistened::Taken(path.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_dead_daemons_socket_is_replaced_a_living_ones_is_not_and_other_files_never() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("run/control.sock");
        let first = Place::open(None, &path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, MODE);
        UnixStream::connect(&path).expect("it listens");
        let taken = Place::open(None, &path).expect_err("taken");
        assert!(matches!(taken, Unlistened::Taken(_)), "{taken}");
        drop(first);
        let dead = dir.path().join("dead.sock");
        drop(UnixListener::bind(&dead).expect("bind"));
        let second = Place::open(None, &dead).expect("replaced");
        UnixStream::connect(&dead).expect("it listens");
        drop(second);
        assert!(!dead.exists(), "what was made is taken away");
        let file = dir.path().join("file");
        fs::write(&file, "x").expect("write");
        assert!(matches!(Place::open(None, &file), Err(Unlistened::NotASocket(_))));
    }

    #[test]
    fn what_another_made_in_our_place_stays() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("control.sock");
        let first = Place::open(None, &path).expect("made");
        fs::remove_file(&path).expect("removed");
        let _other = UnixListener::bind(&path).expect("bind");
        drop(first);
        assert!(path.exists());
    }

    #[test]
    fn a_socket_that_is_handed_over_keeps_its_path_and_its_file() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("control.sock");
        let handed_over = UnixListener::bind(&path).expect("bind");
        let place = Place::open(Some(handed_over.into()), Path::new("/elsewhere")).expect("taken over");
        assert_eq!(place.path, path);
        drop(place);
        assert!(path.exists());
    }
}
