//! What the kernel lets this process do, as the kernel tells it: for the journal, so that nobody has to believe the unit's file.

use std::fs;

use caps::{CapSet, all, read};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::geteuid;

/// One line of `name=value` words.
pub fn facts() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_read_only =
        |path: &str| statvfs(path).is_ok_and(|facts| facts.flags().contains(FsFlags::ST_RDONLY));
    // One that is writable is what somebody who took the process over would use.
    let read_only = ["/", "/usr", "/etc", "/var"].iter().all(|path| is_read_only(path));
    format!(
        "user={} capabilities={} no-new-privileges={} seccomp={} read-only-system={}",
        geteuid(),
        capabilities(),
        yes(field(&status, "NoNewPrivs") == Some("1")),
        match field(&status, "Seccomp") {
            Some("2") => "filter",
            Some("0") => "no",
            _ => "unknown",
        },
        yes(read_only),
    )
}

/// Those in effect, without their common beginning.
fn capabilities() -> String {
    let Ok(held) = read(None, CapSet::Effective) else { return "unknown".into() };
    if held.is_empty() {
        return "none".into();
    }
    if all().is_subset(&held) {
        return "all".into();
    }
    let mut names: Vec<String> =
        held.iter().map(|held| held.to_string().trim_start_matches("CAP_").to_lowercase()).collect();
    names.sort_unstable();
    names.join(",")
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_found_by_their_whole_name() {
        let status = "Name:\tslips\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t9\n";
        assert_eq!((field(status, "Seccomp"), field(status, "NoNewPrivs")), (Some("2"), Some("1")));
        assert_eq!(field(status, "Secc"), None);
        let facts = facts();
        let words: Vec<&str> = facts.split(' ').map(|word| word.split_once('=').expect("a word").0).collect();
        assert_eq!(words, ["user", "capabilities", "no-new-privileges", "seccomp", "read-only-system"]);
    }
}
