//! The other ends of remote logins to this host.
//!
//! Whom logind knows as logged in from elsewhere is protected, over whatever port he came. Who guesses passwords has a
//! connection to the login port too, and must not be protected by it. So connections count only where logind knows less than the
//! login processes show, or nothing can be known (no logind and no OpenSSH): then every established one does, better an attacker
//! too many than the owner locked out. Where the processes of others are hidden from us, as our unit has it, logind is believed to
//! know all when OpenSSH alone serves logins and has each of them told to logind.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use slips_core::addr::canonical;

use super::{DiscoverError, Sources, read};

/// The other ends of the logins that are known for certain.
pub(super) fn known(sources: &Sources) -> Vec<IpAddr> {
    remote_logins(&sources.root.join("run/systemd/sessions"))
}

/// The other ends of all that are or may be logins.
pub(super) fn peers(sources: &Sources, net: &Path) -> Result<Vec<IpAddr>, DiscoverError> {
    let mut peers = known(sources);
    let seen = Logins::count(&sources.root.join("proc"));
    let all_are_known =
        if seen.hidden { logind_knows_all(&sources.root) } else { seen.explained_by(peers.len()) };
    if !all_are_known {
        let ports = match sources.login_ports.as_slice() {
            [] => configured_ports(&sources.root.join("etc/ssh")),
            named => named.to_vec(),
        };
        for table in ["tcp", "tcp6"] {
            peers.extend(established(&read(&net.join(table))?, |local, _| ports.contains(&local)));
        }
    }
    peers.sort_unstable();
    peers.dedup();
    Ok(peers)
}

/// Whether each login of this host is told to logind, with its address: OpenSSH serves them, nothing else that is known, and it opens a
/// session with `pam_systemd` for each. What cannot be read counts as not so.
fn logind_knows_all(root: &Path) -> bool {
    let exists = |path: &str| root.join(path).exists();
    exists("run/systemd/sessions")
        && exists("run/sshd.pid")
        && !exists("run/dropbear.pid")
        && !has_remote_without_address(&root.join("run/systemd/sessions"))
        && uses_pam(&root.join("etc/ssh"))
        && opens_session(&root.join("etc/pam.d"), "sshd", 0)
}

/// Whether somebody came from elsewhere and logind has a name for that place (`UseDNS yes`), or nothing.
fn has_remote_without_address(sessions: &Path) -> bool {
    files(sessions).any(|path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| line == "REMOTE=1") && remote_host(&text).is_none()
    })
}

/// Whether sshd asks PAM; the first line that says so or not counts, as for sshd, and drop-ins come first.
fn uses_pam(folder: &Path) -> bool {
    let mut texts = sshd_texts(folder);
    texts.rotate_left(1);
    // One that only root may read could say otherwise.
    let Some(texts) = texts.into_iter().collect::<Option<Vec<String>>>() else { return false };
    let said = texts.iter().flat_map(|text| text.lines()).find_map(|line| {
        let mut words =
            line.split(|c: char| c.is_ascii_whitespace() || c == '=').filter(|word| !word.is_empty());
        let keyword = words.next()?;
        keyword.eq_ignore_ascii_case("UsePAM").then(|| words.next() == Some("yes"))
    });
    said.unwrap_or(false)
}

/// Whether this service's stack, with what it includes, has a session opened with logind.
fn opens_session(folder: &Path, service: &str, depth: u8) -> bool {
    /// Deeper includes are a loop.
    const DEEPEST: u8 = 4;
    if depth > DEEPEST || service.contains('/') {
        return false;
    }
    let text = std::fs::read_to_string(folder.join(service)).unwrap_or_default();
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["@include", other] => opens_session(folder, other, depth + 1),
            ["session" | "-session", "include" | "substack", other] => {
                opens_session(folder, other, depth + 1)
            }
            ["session" | "-session", rest @ ..] => {
                rest.iter().any(|word| word.rsplit('/').next() == Some("pam_systemd.so"))
            }
            _ => false,
        }
    })
}

/// The ports that sshd listens on, by its configuration in this folder. What cannot be read counts as not there: on some
/// systems only root may.
fn configured_ports(folder: &Path) -> Vec<u16> {
    let texts = sshd_texts(folder);
    let mut ports: Vec<u16> = texts.iter().flatten().flat_map(|text| ports_of(text)).collect();
    if ports.is_empty() {
        ports.push(SSH);
    }
    ports
}

/// The configuration of sshd in this folder and then its drop-ins in their order; none of one that cannot be read.
fn sshd_texts(folder: &Path) -> Vec<Option<String>> {
    let mut drop_ins: Vec<_> = files(&folder.join("sshd_config.d"))
        .filter(|path| path.extension() == Some("conf".as_ref()))
        .collect();
    drop_ins.sort();
    std::iter::once(folder.join("sshd_config"))
        .chain(drop_ins)
        .map(|path| std::fs::read(path).ok().map(|text| String::from_utf8_lossy(&text).into_owned()))
        .collect()
}

/// `Port 2222`, `ListenAddress 192.0.2.1:2222`, `ListenAddress [2001:db8::1]:2222`; keywords in any case, `=` for a space.
fn ports_of(text: &str) -> impl Iterator<Item = u16> + '_ {
    text.lines().filter_map(|line| {
        let mut words =
            line.split(|c: char| c.is_ascii_whitespace() || c == '=').filter(|word| !word.is_empty());
        let (keyword, value) = (words.next()?, words.next()?.trim_matches('"'));
        if keyword.eq_ignore_ascii_case("Port") {
            return value.parse().ok();
        }
        let (host, port) =
            value.rsplit_once(':').filter(|_| keyword.eq_ignore_ascii_case("ListenAddress"))?;
        // Without brackets, more colons are an IPv6 address without a port.
        if host.contains(':') && !host.ends_with(']') { None } else { port.parse().ok() }
    })
}

/// The remote ends of established connections between such ports, local and remote, in a table like `/proc/net/tcp`.
pub(super) fn established(text: &str, ports: impl Fn(u16, u16) -> bool) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(move |line| {
        let mut words = line.split_ascii_whitespace();
        let (_, local_port) = end(words.nth(1)?)?;
        let (remote, remote_port) = end(words.next()?)?;
        (words.next()? == ESTABLISHED && ports(local_port, remote_port)).then_some(remote)
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
    /// Not even the first process is there to see: others' are hidden.
    hidden: bool,
}

impl Logins {
    fn count(proc: &Path) -> Self {
        let titles = files(proc).filter_map(|path| std::fs::read(path.join("cmdline")).ok());
        let none = Self { hidden: !proc.join("1").exists(), ..Self::default() };
        titles.fold(none, |sum, title| sum.with(&String::from_utf8_lossy(&title)))
    }

    /// OpenSSH titles its processes: `sshd: /usr/sbin/sshd -D [listener] …`, before a login `sshd: anna [priv]`, `sshd: [accepted]`,
    /// after it `sshd: anna@pts/0` or, for a mere tunnel, `sshd: anna`. Newer ones are called `sshd-session`.
    fn with(self, title: &str) -> Self {
        let Some(rest) = ["sshd: ", "sshd-session: "].iter().find_map(|name| title.strip_prefix(name)) else {
            return self;
        };
        let logged_in = self.logged_in + usize::from(!rest.contains('['));
        Self { servers: self.servers + 1, logged_in, ..self }
    }

    /// Whether so many sessions known to logind are all that there are.
    const fn explained_by(self, known: usize) -> bool {
        if self.servers == 0 { known > 0 } else { self.logged_in <= known }
    }
}

pub(super) fn files(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    let entries: io::Result<std::fs::ReadDir> = std::fs::read_dir(folder);
    entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

/// sshd's port when its configuration names none.
const SSH: u16 = 22;
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
        // Without any they are hidden from us.
        for (pid, title) in (1..).zip(titles) {
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
        // Nobody else is seen: he may not be the only one.
        check(session, &[], &[ADMIN, GUESSER]);
        check(None, &guessing, &[]);
        check(local, &guessing, &[]);
        // A login that logind does not know of: it may be anybody's.
        check(local, &[listener, admin], &[ADMIN, GUESSER]);
        check(session, &[listener, admin, "sshd: anna@notty"], &[ADMIN, GUESSER]);
        // Logged in, but not over a port that we know of: a jump host's forward, another server's port.
        let elsewhere = Some("UID=0\nREMOTE=1\nREMOTE_HOST=198.51.100.2\nSERVICE=dropbear\n");
        check(elsewhere, &["sshd: root@pts/0", listener], &[[198, 51, 100, 2]]);
        // Neither OpenSSH nor logind.
        check(None, &["dropbear\0-F\0"], &[ADMIN, GUESSER]);
        check(None, &[], &[ADMIN, GUESSER]);
    }

    #[test]
    fn where_processes_are_hidden_logind_is_believed_when_each_login_is_told_to_it() {
        let root = tempfile::tempdir().expect("folder");
        let net = root.path().join("net");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(path, text).expect("file");
        };
        let guesser = u32::from_ne_bytes(GUESSER);
        write("net/tcp", &format!("   0: 0100007F:0016 {guesser:08X}:C000 01 00000000:00000000\n"));
        write("net/tcp6", "");
        let sources = Sources { root: root.path().to_owned(), ..Sources::default() };
        let guesser_is_safe = || !peers(&sources, &net).expect("peers").is_empty();
        assert!(guesser_is_safe(), "nothing is known");
        write("run/systemd/sessions/.keep", "");
        write("run/sshd.pid", "7\n");
        write("etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\n#UsePAM no\nUsePAM yes\n");
        write(
            "etc/pam.d/sshd",
            "# session optional pam_systemd.so\n@include common-auth\n@include common-session\n",
        );
        write("etc/pam.d/common-session", "session optional\tpam_umask.so\n");
        assert!(guesser_is_safe(), "no session is opened");
        write("etc/pam.d/common-session", "-session [default=1] /lib/security/pam_systemd.so debug\n");
        assert!(!guesser_is_safe());
        write("etc/ssh/sshd_config.d/10-own.conf", "UsePAM no\n");
        assert!(guesser_is_safe(), "sshd asks nobody");
        write("etc/ssh/sshd_config.d/10-own.conf", "");
        assert!(!guesser_is_safe());
        write("run/systemd/sessions/7", "REMOTE=1\nREMOTE_HOST=192.0.2.10\n");
        assert!(!peers(&sources, &net).expect("peers").contains(&IpAddr::from(GUESSER)));
        write("run/systemd/sessions/8", "REMOTE=1\nREMOTE_HOST=office.example\n");
        assert!(
            peers(&sources, &net).expect("peers").contains(&IpAddr::from(GUESSER)),
            "whose address is unknown"
        );
        std::fs::remove_file(root.path().join("run/systemd/sessions/8")).expect("remove");
        write("run/dropbear.pid", "8\n");
        assert!(
            peers(&sources, &net).expect("peers").contains(&IpAddr::from(GUESSER)),
            "another server, beside a session"
        );
        std::fs::remove_file(root.path().join("run/systemd/sessions/7")).expect("remove");
        assert!(guesser_is_safe(), "another server");
        std::fs::remove_file(root.path().join("run/dropbear.pid")).expect("remove");
        // A stack that includes itself ends.
        write("etc/pam.d/common-session", "session include sshd\n");
        assert!(guesser_is_safe());
        // Whose processes can be seen, those count.
        write("etc/pam.d/common-session", "session optional pam_systemd.so\n");
        write("proc/1/cmdline", "/sbin/init");
        assert!(guesser_is_safe(), "no OpenSSH runs");
    }

    #[test]
    fn login_ports_are_read_from_the_configuration_of_sshd() {
        let root = tempfile::tempdir().expect("folder");
        let drop_ins = root.path().join("sshd_config.d");
        std::fs::create_dir_all(&drop_ins).expect("folder");
        assert_eq!(configured_ports(root.path()), [22]);
        std::fs::write(
            root.path().join("sshd_config"),
            "#Port 22\nport=2222\nListenAddress [::]:2200\nListenAddress fe80::1\n",
        )
        .expect("file");
        std::fs::write(drop_ins.join("10-a.conf"), "  Port \"2022\"\nListenAddress 192.0.2.1:99999\n")
            .expect("file");
        std::fs::write(drop_ins.join("10-a.conf.bak"), "Port 1\n").expect("file");
        assert_eq!(configured_ports(root.path()), [2222, 2200, 2022]);
        std::fs::write(
            root.path().join("sshd_config"),
            "PermitRootLogin no\nListenAddress 192.0.2.1\nPort\nPort x\n",
        )
        .expect("file");
        assert_eq!(configured_ports(root.path()), [2022]);
    }
}
