//! What the process that fetches gives up before it talks to anybody: capabilities, root, and all files but those that the resolver of this
//! host reads. Its system calls are not filtered, as those of the peers' process are: what a resolver calls is the distribution's choice.

use std::path::Path;

use anyhow::{Context, Result};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, Scope,
};

use crate::daemon::peers::sandbox::{Limits, drop_capabilities, leave_root, limit, seal};

/// Memory in bytes: a TLS connection, what unpacks, and a part of an answer at a time.
const MEMORY: u64 = 96 << 20;
/// Files that a resolver and its libraries read.
const READ: [&str; 13] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/usr",
    "/lib",
    "/lib64",
    "/run/systemd/resolve",
    "/proc/self",
];

/// Gives up what it can; the process dies with its parent.
///
/// # Errors
/// When something is kept that it must not have.
pub(super) fn enter() -> Result<()> {
    limit(&Limits { memory: MEMORY, files: 64 })?;
    confine_files()?;
    leave_root()?;
    drop_capabilities()?;
    seal(true)
}

/// Files are read as a resolver needs them; none is made, changed or started, and no abstract socket and no other process is reached.
fn confine_files() -> Result<()> {
    let abi = ABI::V6;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))
        .and_then(|rules| rules.scope(Scope::from_all(abi)))
        .and_then(Ruleset::create)
        .context("cannot give up files")?;
    for path in READ {
        // What is not there is not read.
        let Ok(at) = PathFd::new(path) else { continue };
        let may = if Path::new(path).is_dir() {
            AccessFs::ReadFile | AccessFs::ReadDir
        } else {
            AccessFs::ReadFile.into()
        };
        rules = rules.add_rule(PathBeneath::new(at, may)).context("cannot give up files")?;
    }
    // A kernel without Landlock leaves what its user may read.
    rules.restrict_self().map(drop).context("cannot give up files")
}
