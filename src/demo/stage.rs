//! The stage: three network namespaces, joined by two cables, which hold nothing of the machine's own network.
//!
//! ```text
//! attacker ── 203.0.113.0/30 ── wan0 router lan0 ── 192.168.77.0/24 ── client
//! ```
//!
//! The attacker's namespace stands for the outside: it is the router's gateway and holds the attackers' addresses and that of
//! an innocent web server.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::daemon;
use crate::cli::{Exit, Failure};

/// Guesses ports.
pub(super) const SCANNER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
/// Guesses passwords.
pub(super) const GUESSER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 67);
/// Serves pages to the client.
pub(super) const WEB: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
/// The host behind the router.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 10);

/// Where `ip netns` keeps its namespaces.
const NETNS: &str = "/run/netns";
const PREFIX: &str = "slips-demo-";

/// One of the namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Attacker,
    Router,
    Client,
}

impl Place {
    const ALL: [Self; 3] = [Self::Attacker, Self::Router, Self::Client];

    const fn name(self) -> &'static str {
        match self {
            Self::Attacker => "attacker",
            Self::Router => "router",
            Self::Client => "client",
        }
    }
}

/// The namespaces; taken down when dropped.
#[derive(Debug)]
pub(super) struct Stage {
    pid: u32,
}

impl Stage {
    /// Builds everything up to the point where packets pass.
    pub(super) fn build() -> Result<Self, Failure> {
        sweep();
        let stage = Self { pid: std::process::id() };
        for place in Place::ALL {
            ip(&["netns", "add", &stage.name(place)])?;
        }
        stage.cable("wan0", "out0", Place::Attacker)?;
        stage.cable("lan0", "eth0", Place::Client)?;
        let addresses = [
            (Place::Attacker, "out0", "203.0.113.1/30".to_owned()),
            (Place::Attacker, "lo", format!("{SCANNER}/32")),
            (Place::Attacker, "lo", format!("{GUESSER}/32")),
            (Place::Attacker, "lo", format!("{WEB}/32")),
            (Place::Router, "wan0", "203.0.113.2/30".to_owned()),
            (Place::Router, "lan0", "192.168.77.1/24".to_owned()),
            (Place::Client, "eth0", format!("{CLIENT}/24")),
        ];
        for (place, device, address) in &addresses {
            stage.ip_in(*place, &["address", "add", address, "dev", device])?;
        }
        for (place, device, _) in &addresses {
            stage.ip_in(*place, &["link", "set", device, "up"])?;
        }
        for place in Place::ALL {
            stage.ip_in(place, &["link", "set", "lo", "up"])?;
        }
        stage.ip_in(Place::Router, &["route", "add", "default", "via", "203.0.113.1"])?;
        stage.ip_in(Place::Client, &["route", "add", "default", "via", "192.168.77.1"])?;
        stage.ip_in(Place::Attacker, &["route", "add", "192.168.77.0/24", "via", "203.0.113.2"])?;
        stage.forward()?;
        Ok(stage)
    }

    /// The name of a namespace.
    pub(super) fn name(&self, place: Place) -> String {
        format!("{PREFIX}{}-{}", self.pid, place.name())
    }

    /// A door through which threads enter a namespace.
    pub(super) fn door(&self, place: Place) -> io::Result<Door> {
        File::open(Path::new(NETNS).join(self.name(place))).map(Door)
    }

    /// A program in a namespace. `ip` becomes that program, so that the child's id is the program's. Ctrl-C on the terminal goes
    /// to the demo alone, which ends the program in order.
    pub(super) fn command(&self, place: Place, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(place)]).arg(program).stdin(Stdio::null()).process_group(0);
        command
    }

    /// A cable from the router to another namespace. Its ends never appear among the machine's own devices.
    fn cable(&self, router_end: &str, other_end: &str, to: Place) -> Result<(), Failure> {
        let other = self.name(to);
        let peer = ["peer", "name", other_end, "netns", &other];
        let mut args = vec!["link", "add", router_end, "type", "veth"];
        args.extend(peer);
        self.ip_in(Place::Router, &args)
    }

    fn ip_in(&self, place: Place, args: &[&str]) -> Result<(), Failure> {
        let name = self.name(place);
        let mut all = vec!["-n", name.as_str()];
        all.extend(args);
        ip(&all)
    }

    /// The kernel shows a thread the settings of the namespace it is in.
    fn forward(&self) -> Result<(), Failure> {
        let door = self.door(Place::Router).map_err(Failure::software)?;
        let done = thread::scope(|scope| {
            let write = scope.spawn(|| {
                door.enter()?;
                fs::write("/proc/sys/net/ipv4/ip_forward", "1")
            });
            write.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        });
        done.map_err(|error| no_namespaces(&format!("cannot turn on forwarding: {error}")))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for place in Place::ALL {
            let name = self.name(place);
            if Path::new(NETNS).join(&name).exists()
                && let Err(failure) = ip(&["netns", "delete", &name])
            {
                eprintln!("slips: {failure}");
            }
        }
    }
}

/// Lets threads into a namespace.
#[derive(Debug)]
pub(super) struct Door(File);

impl Door {
    /// Moves the calling thread, and only it, for good.
    pub(super) fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.0, CloneFlags::CLONE_NEWNET)?)
    }
}

fn ip(args: &[&str]) -> Result<(), Failure> {
    // In a process group of its own, so that Ctrl-C does not end what cleans up.
    let done = Command::new("ip").args(args).stdin(Stdio::null()).process_group(0).output();
    let output = match done {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::new(
                Exit::Software,
                "the demo needs the program ip: apt-get install iproute2",
            ));
        }
        Err(error) => return Err(Failure::software(error)),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let what = format!("ip {}: {}", args.join(" "), said.trim());
    if said.contains("not permitted") || said.contains("ermission denied") {
        return Err(no_namespaces(&what));
    }
    Err(Failure::new(Exit::Software, what))
}

fn no_namespaces(what: &str) -> Failure {
    let way_out = "the demo makes network namespaces; in a container this needs CAP_SYS_ADMIN and CAP_NET_ADMIN \
                   (docker run --privileged), or run it on the machine itself";
    Failure::new(Exit::Permission, format!("{what}\n{way_out}"))
}

/// Takes down what a demo left that was killed before it could clean up.
fn sweep() {
    let Ok(entries) = fs::read_dir(NETNS) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(pid) = maker(name).filter(|pid| !is_slips(*pid)) {
            end_all_in(name);
            daemon::sweep(pid);
            // What cannot be taken down now does not harm the new stage, whose names differ.
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

/// The process that made the namespace of this name, if a demo did.
fn maker(name: &str) -> Option<u32> {
    let (pid, place) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Place::ALL.iter().any(|known| known.name() == place).then_some(())?;
    pid.parse().ok()
}

fn is_slips(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == "slips")
}

/// Nobody but the demo's own daemon lives in the demo's namespaces.
fn end_all_in(name: &str) {
    let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() else { return };
    for pid in String::from_utf8_lossy(&output.stdout).lines() {
        if let Ok(pid) = pid.trim().parse() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_a_demo_are_swept() {
        for (name, pid) in [
            ("slips-demo-77-router", Some(77)),
            ("slips-demo-77-client", Some(77)),
            ("slips-demo-77-server", None),
            ("slips-demo-x-router", None),
            ("slips-demo-router", None),
            ("router", None),
        ] {
            assert_eq!(maker(name), pid, "{name}");
        }
    }
}
