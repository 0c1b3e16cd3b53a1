//! The other ends of remote logins to this host.
//!
//! Who guesses passwords has a connection to the login port too, and must not be protected by it. So a connection counts when
//! somebody is logged in over it: logind knows from where. Where logind knows less than the login processes show, or nothing can
//! be known (no logind and no OpenSSH, other processes hidden), every established connection counts: better an attacker too many
//! than the owner locked out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use slips_core::addr::canonical;

use super::{DiscoverError, Sources, read};

/// The other ends of the logins.
pub(super) fn peers(sources: &Sources, net: &Path) -> Result<Vec<IpAddr>, DiscoverError> {
    let mut connected = Vec::new();
    for table in ["tcp", "tcp6"] {
        connected.extend(established(&read(&net.join(table))?, &sources.login_ports));
    }
    connected.sort_unstable();
    connected.dedup();
    if connected.is_empty() {
        return Ok(connected);
    }
    let known = remote_logins(&sources.root.join("run/systemd/sessions"));
    let seen = Logins::count(&sources.root.join("proc"));
    if seen.explained_by(known.len()) {
        connected.retain(|addr| known.contains(addr));
    }
    Ok(connected)
}

/// The remote ends of established connections to these local ports, in a table like `/proc/net/tcp`.
fn established<'a>(text: &'a str, ports: &'a [u16]) -> impl Iterator<Item = IpAddr> + 'a {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (_, local_port) = end(words.nth(1)?)?;
        let (remote, _) = end(words.next()?)?;
        (words.next()? == ESTABLISHED && ports.contains(&local_port)).then_some(remote)
    })
}

/// `0100007F:0016`: the bytes of the address as numbers of this machine, and the port.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (addr, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(addr.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let addr = match addr.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, place) in bytes.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(at)?);
            }
            canonical(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => return None,
    };
    Some((addr, port))
}

/// From where logind sees remote sessions, one for each.
fn remote_logins(folder: &Path) -> Vec<IpAddr> {
    files(folder).filter_map(|path| remote_host(&std::fs::read_to_string(path).ok()?)).collect()
}

/// The remote host in the state of a session.
fn remote_host(text: &str) -> Option<IpAddr> {
    let host = text.lines().find_map(|line| line.strip_prefix("REMOTE_HOST="))?;
    host.trim_matches('"').split('%').next()?.parse().ok().map(canonical)
}

/// What the processes of OpenSSH show about logins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Logins {
    /// Processes of OpenSSH at all, the listener too. None: it is another server, or processes are hidden from us.
    servers: usize,
    /// Of them, those that serve somebody who has logged in.
    logged_in: usize,
}

impl Logins {
    fn count(proc: &Path) -> Self {
        let titles = files(proc).filter_map(|path| std::fs::read(path.join("cmdline")).ok());
        titles.fold(Self::default(), |sum, title| sum.with(&String::from_utf8_lossy(&title)))
    }

    /// OpenSSH titles its processes: `sshd: /usr/sbin/sshd -D [listener] …`, before a login `sshd: anna [priv]`, `sshd: [accepted]`,
    /// after it `sshd: anna@pts/0` or, for a mere tunnel, `sshd: anna`. Newer ones are called `sshd-session`.
    fn with(self, title: &str) -> Self {
        let Some(rest) = ["sshd: ", "sshd-session: "].iter().find_map(|name| title.strip_prefix(name)) else {
            return self;
        };
        Self { servers: self.servers + 1, logged_in: self.logged_in + usize::from(!rest.contains('[')) }
    }

    /// Whether so many sessions known to logind are all that there are.
    const fn explained_by(self, known: usize) -> bool {
        if self.servers == 0 { known > 0 } else { self.logged_in <= known }
    }
}

fn files(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let entries: io::Result<std::fs::ReadDir> = std::fs::read_dir(folder);
    entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

/// `TCP_ESTABLISHED`.
const ESTABLISHED: &str = "01";

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: [u8; 4] = [192, 0, 2, 10];
    const GUESSER: [u8; 4] = [203, 0, 113, 66];

    /// A host with the admin and a guesser of passwords connected, this logind session and these processes: who is protected?
    fn check(session: Option<&str>, titles: &[&str], expected: &[[u8; 4]]) {
        let root = tempfile::tempdir().expect("folder");
        let net = root.path().join("net");
        let write = |path: &Path, text: &str| {
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, text).expect("file");
        };
        let line = |local_port: u16, remote: [u8; 4], state: &str| {
            format!(
                "   0: 0100007F:{local_port:04X} {:08X}:C000 {state} 00000000:00000000\n",
                u32::from_ne_bytes(remote)
            )
        };
        let mapped = format!(
            "   0: {:032X}:0016 0000000000000000{:08X}{:08X}:C000 01 0:0\n",
            0,
            u32::from_ne_bytes([0, 0, 0xff, 0xff]),
            u32::from_ne_bytes(ADMIN)
        );
        let table = line(22, GUESSER, "01")
            + &line(22, [198, 51, 100, 1], "03")
            + &line(80, [198, 51, 100, 2], "01")
            + "x y\n";
        write(&net.join("tcp"), &table);
        write(&net.join("tcp6"), &mapped);
        if let Some(session) = session {
            write(&root.path().join("run/systemd/sessions/7"), session);
        }
        for (pid, title) in titles.iter().enumerate() {
            write(&root.path().join(format!("proc/{pid}/cmdline")), title);
        }
        let sources = Sources { root: root.path().to_owned(), ..Sources::default() };
        let found = peers(&sources, &net).expect("peers");
        assert_eq!(
            found,
            expected.iter().map(|a| IpAddr::from(*a)).collect::<Vec<_>>(),
            "{session:?} {titles:?}"
        );
    }

    #[test]
    fn who_is_logged_in_is_protected_and_who_only_tries_is_not() {
        let session = Some("UID=0\nREMOTE=1\nREMOTE_HOST=192.0.2.10\nSERVICE=sshd\n");
        let local = Some("UID=0\nREMOTE=0\n");
        let listener = "sshd: /usr/sbin/sshd -D [listener] 1 of 10-100 startups";
        let guessing = ["sshd: root [priv]", "sshd: root [net]", listener];
        let admin = "sshd: root@pts/0";
        check(session, &[guessing[0], guessing[1], listener, admin], &[ADMIN]);
        check(session, &["sshd-session: anna", listener], &[ADMIN]);
        check(session, &[], &[ADMIN]);
        check(None, &guessing, &[]);
        check(local, &guessing, &[]);
        // A login that logind does not know of: it may be anybody's.
        check(local, &[listener, admin], &[ADMIN, GUESSER]);
        check(session, &[listener, admin, "sshd: anna@notty"], &[ADMIN, GUESSER]);
        // Neither OpenSSH nor logind.
        check(None, &["dropbear\0-F\0"], &[ADMIN, GUESSER]);
        check(None, &[], &[ADMIN, GUESSER]);
    }
}
