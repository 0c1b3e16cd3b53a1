//! What the node's process gives up before it talks to anybody: it faces strangers and needs nothing but its sockets. Which system calls
//! are left is in [`calls`].

use anyhow::{Context, Result};
use caps::{CapSet, CapsHashSet};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::calls::{self, Work};

/// Memory of the process in bytes: more than the limits of the node allow it to need, and less than hurts a small router. Beyond it the
/// process ends and is started anew.
const MEMORY: u64 = 96 << 20;
/// `oom_score_adj` of the process that is killed before all others.
const FIRST_TO_GO: &str = "1000";
/// Connections are bounded at 64, two for each peer; the rest is for listeners and the runtime.
const FILES: u64 = 256;
/// Threads of its user, among which may be the daemon's own. libp2p's timer has one; nothing can be executed, as no file can be read.
const THREADS: u64 = 256;
/// Nobody, where the program was started by root.
const NOBODY: u32 = 65_534;

/// Gives up what it can; says what was given up. `bound` is whether the process dies with its parent.
///
/// # Errors
/// When something is kept that a node must not have.
pub fn enter(bound: bool) -> Result<String> {
    limit(&Limits { memory: MEMORY, files: FILES })?;
    let files = confine_files()?;
    let user = leave_root()?;
    drop_capabilities()?;
    seal(bound)?;
    let calls = calls::confine(Work::Peers)?;
    Ok(format!("no capabilities, {user}, {files}, {calls}"))
}

/// What a process that talks with strangers may use.
pub struct Limits {
    /// Memory in bytes.
    pub memory: u64,
    /// Open files and sockets.
    pub files: u64,
}

/// No new privileges, and no more than this from now on. Where a unit bounds it together with the daemon and memory ends all the same, it
/// goes first.
///
/// # Errors
/// When the kernel does not let us.
pub fn limit(limits: &Limits) -> Result<()> {
    prctl::set_no_new_privs().context("cannot give up new privileges")?;
    std::fs::write("/proc/self/oom_score_adj", FIRST_TO_GO)
        .context("cannot ask to go first when memory ends")?;
    for (resource, most) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, limits.files),
        (Resource::RLIMIT_DATA, limits.memory),
        (Resource::RLIMIT_NPROC, THREADS),
    ] {
        setrlimit(resource, most, most).with_context(|| format!("cannot limit {resource:?}"))?;
    }
    Ok(())
}

/// No file but those of our own process, by which its memory is measured; no abstract socket and no signal to others.
fn confine_files() -> Result<&'static str> {
    let abi = ABI::V6;
    let own = PathFd::new("/proc/self").context("cannot open /proc/self")?;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rule(PathBeneath::new(own, AccessFs::ReadFile)))
        .and_then(landlock::RulesetCreated::restrict_self)
        .context("cannot give up files")?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "no files",
        RulesetStatus::PartiallyEnforced => "no files (as far as this kernel can)",
        RulesetStatus::NotEnforced => "files of its user (this kernel has no Landlock)",
    })
}

/// Nobody traces it, and it may die with its parent. Comes after a change of the user, which takes both away.
///
/// # Errors
/// When the kernel does not let us.
pub fn seal(bound: bool) -> Result<()> {
    prctl::set_dumpable(false).context("cannot forbid being traced")?;
    if bound {
        prctl::set_pdeathsig(Signal::SIGKILL).context("cannot ask to end with the daemon")?;
    }
    Ok(())
}

/// Root becomes nobody; any other user stays.
///
/// # Errors
/// When root cannot be left.
pub fn leave_root() -> Result<&'static str> {
    if !Uid::effective().is_root() {
        return Ok("no root");
    }
    for capability in caps::all() {
        // One that this kernel does not know cannot be dropped, nor be had.
        let _ = caps::drop(None, CapSet::Bounding, capability);
    }
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[]).context("cannot leave root's groups")?;
    setresgid(group, group, group).context("cannot leave root's group")?;
    setresuid(user, user, user).context("cannot leave root")?;
    Ok("no root")
}

/// Holds none from now on.
///
/// # Errors
/// When one is left.
pub fn drop_capabilities() -> Result<()> {
    let held = |set| caps::read(None, set).map(|held| !held.is_empty()).unwrap_or(true);
    let mut dropped = Ok(());
    if [CapSet::Permitted, CapSet::Inheritable].into_iter().any(held) {
        for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
            dropped = dropped.and(caps::set(None, set, &CapsHashSet::new()));
        }
    }
    // The unit forbids capset; of what systemd gave to be inherited nothing comes: that takes a program with capabilities of its own, which
    // a process without new privileges cannot start.
    if [CapSet::Permitted, CapSet::Effective, CapSet::Ambient].into_iter().any(held) {
        dropped.context("cannot give up capabilities")?;
        anyhow::bail!("capabilities are left");
    }
    Ok(())
}
