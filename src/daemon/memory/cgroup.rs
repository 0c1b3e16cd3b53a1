//! What the control group (version 2) lets us have, and how much of it is in use. A limit holds for all below it, so that the smallest on
//! the way up counts.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel's tree of control groups is; on a machine that still has version 1 beside it, in the second.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A limit of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes that we keep to.
    pub bytes: u64,
    /// The file that says so, from the top of the tree.
    pub file: String,
    /// The directory of the file: what is in use there is counted.
    pub dir: PathBuf,
}

/// What the control group lets us have; `None` where it sets no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// The smallest limit of memory.
    pub memory: Option<MemoryLimit>,
    /// The smallest share of processors: 1.5 are one and a half.
    pub processors: Option<f64>,
}

impl Limits {
    /// Those of this process.
    pub fn own() -> Self {
        let mount = MOUNTS.iter().map(Path::new).find(|mount| mount.join("cgroup.controllers").exists());
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        mount.zip(own_group(&groups)).map_or_else(Self::default, |(mount, group)| Self::read(mount, group))
    }

    /// Those of `group` in the tree at `mount`.
    pub fn read(mount: &Path, group: &str) -> Self {
        let mut limits = Self::default();
        let mut at = Path::new(group.trim_start_matches('/'));
        loop {
            let dir = mount.join(at);
            for (name, share) in [("memory.high", 100), ("memory.max", MAX_SHARE)] {
                let Some(bytes) = number(&dir.join(name)).map(|bytes| part(bytes, share)) else { continue };
                if limits.memory.as_ref().is_none_or(|least| bytes < least.bytes) {
                    let file = format!("/{}", at.join(name).display());
                    limits.memory = Some(MemoryLimit { bytes, file, dir: dir.clone() });
                }
            }
            if let Some(processors) = quota(&fs::read_to_string(dir.join("cpu.max")).unwrap_or_default()) {
                limits.processors = Some(limits.processors.map_or(processors, |least| least.min(processors)));
            }
            match at.parent() {
                Some(above) => at = above,
                None => return limits,
            }
        }
    }
}

impl MemoryLimit {
    /// Bytes that cannot be had back by the kernel alone: it drops what it keeps of files before it ends anybody.
    pub fn in_use(&self) -> Option<u64> {
        let stat = fs::read_to_string(self.dir.join("memory.stat")).ok()?;
        let of = |name: &str| value(&stat, name).unwrap_or(0);
        let kernel = match value(&stat, "kernel") {
            Some(kernel) => kernel.saturating_sub(of("slab_reclaimable")),
            // Before Linux 5.18.
            None => of("slab_unreclaimable") + of("kernel_stack") + of("pagetables") + of("sock"),
        };
        Some(value(&stat, "anon")? + of("shmem") + kernel)
    }

    /// Of the last ten seconds, the percentage in which somebody waited for memory.
    pub fn waited(&self) -> f64 {
        let pressure = fs::read_to_string(self.dir.join("memory.pressure")).unwrap_or_default();
        let some = pressure.lines().find_map(|line| line.strip_prefix("some avg10="));
        some.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0.0)
    }
}

/// Our group: the line of version 2.
fn own_group(groups: &str) -> Option<&str> {
    // Above the root of a namespace of control groups nothing can be read.
    groups.lines().find_map(|line| line.strip_prefix("0::")).filter(|group| !group.contains(".."))
}

/// The number in a file; `max` is none.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// So many percent.
fn part(of: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(percent) / 100).unwrap_or(of)
}

/// Processors, of `cpu.max`: microseconds of so many.
fn quota(text: &str) -> Option<f64> {
    let (used, of) = text.trim().split_once(' ')?;
    let (used, of): (u64, u64) = (used.parse().ok()?, of.parse().ok()?);
    (used > 0 && of > 0).then(|| used as f64 / of as f64)
}

fn value(stat: &str, name: &str) -> Option<u64> {
    let line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    stat.lines().find_map(line)
}

/// At memory.max the kernel ends a process of the group, so that we keep to nine tenths of it.
const MAX_SHARE: u64 = 90;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("dir");
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("dir");
            fs::write(path, text).expect("file");
        }
        dir
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let dir = tree(&[
            ("cpu.max", "max 100000\n"),
            ("system.slice/memory.high", "max\n"),
            ("system.slice/memory.max", "1073741824\n"),
            ("system.slice/cpu.max", "150000 100000\n"),
            ("system.slice/slips.service/memory.high", "402653184\n"),
            ("system.slice/slips.service/memory.max", "536870912\n"),
            ("system.slice/slips.service/cpu.max", "max 100000\n"),
            ("system.slice/other.service/memory.max", "1048576\n"),
        ]);
        let limits = Limits::read(dir.path(), "/system.slice/slips.service");
        let memory = limits.memory.expect("a limit");
        assert_eq!(
            (memory.bytes, memory.file.as_str()),
            (384 * MIB, "/system.slice/slips.service/memory.high")
        );
        assert_eq!(limits.processors, Some(1.5));
        fs::write(dir.path().join("system.slice/memory.max"), "104857600\n").expect("write");
        let memory = Limits::read(dir.path(), "/system.slice/slips.service").memory.expect("a limit");
        assert_eq!((memory.bytes / 1000, memory.file.as_str()), (94_371, "/system.slice/memory.max"));
    }

    #[test]
    fn where_there_is_no_limit_none_is_found() {
        let dir =
            tree(&[("a/memory.high", "max\n"), ("a/cpu.max", "max 100000\n"), ("a/memory.max", "no number")]);
        for group in ["/a", "/", "/gone/long/ago"] {
            assert_eq!(Limits::read(dir.path(), group), Limits::default(), "{group}");
        }
        assert_eq!(
            own_group("12:memory:/x\n0::/system.slice/slips.service\n"),
            Some("/system.slice/slips.service")
        );
        assert_eq!(own_group("0::/../other\n"), None);
        assert_eq!(own_group("1:cpu:/\n"), None);
        for text in ["", "0 100000", "100000", "x y"] {
            assert_eq!(quota(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_kernel_keeps_of_files_is_not_in_use() {
        let stat = "anon 100\nfile 5000\nkernel 70\nshmem 7\nslab_reclaimable 30\nsock 5\n";
        let dir = tree(&[("memory.max", "1000"), ("memory.stat", stat)]);
        let limit = || Limits::read(dir.path(), "/").memory.expect("a limit");
        assert_eq!(limit().in_use(), Some(147));
        let older =
            "anon 100\nfile 5000\nkernel_stack 16\npagetables 20\nsock 5\nshmem 7\nslab_unreclaimable 3\n";
        fs::write(dir.path().join("memory.stat"), older).expect("write");
        assert_eq!(limit().in_use(), Some(151));
        assert_eq!(limit().waited(), 0.0);
        let pressure =
            "some avg10=12.50 avg60=3.00 avg300=0.10 total=9\nfull avg10=1.00 avg60=0 avg300=0 total=1\n";
        fs::write(dir.path().join("memory.pressure"), pressure).expect("write");
        assert_eq!(limit().waited(), 12.5);
    }
}
