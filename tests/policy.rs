//! What the workspace promises about itself, checked offline: licences, banned crates, C code, arrows between our
//! crates, fenced `unsafe`, and that no file names a place of somebody's machine.
//!
//! A failure names the crate or the file. A new entry in one of the lists below is a decision: it comes with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test has no other way to fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Licences that may go into a GPL-3.0-or-later program. (Apache-2.0 may since version 3 of the GPL, MPL-2.0 by its
/// clause on secondary licences.)
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "GPL-2.0-or-later",
    "GPL-3.0-or-later",
    "ISC",
    "LGPL-2.1-or-later",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Crates that must not come in, by name or by the start of it, and why.
const BANNED: &[(&str, &str)] = &[
    ("openssl*", "a second TLS stack in C; rustls is the one"),
    ("native-tls", "brings openssl"),
    ("lru", "three use-after-free advisories; core and lru-slab have what is needed"),
    ("serde_yaml", "deprecated, C-derived unsafe parser; serde-saphyr reads our YAML"),
    ("serde_yml", "unsound (RUSTSEC-2025-0068) and archived"),
    ("libsystemd-sys", "links a systemd library; slips-systemd speaks the protocols itself"),
    ("systemd", "links a systemd library; slips-systemd speaks the protocols itself"),
    ("pcap", "links libpcap; slips-input reads captures and interfaces itself"),
    ("chrono", "jiff is the calendar, at the edges only"),
    ("async-std", "discontinued; tokio is the runtime"),
    ("failure", "discontinued; thiserror and anyhow"),
];

/// Crates that compile C or link a C library into a build, and why we bear it.
const RUNS_C: &[(&str, &str)] = &[
    ("alloca", "stack space for criterion's benches; never in the binary"),
    ("libsqlite3-sys", "SQLite, built in"),
    ("mnl-sys", "libmnl of the distribution: netlink"),
    ("nftnl-sys", "libnftnl of the distribution: nftables"),
    (
        "ring",
        "hashes and ciphers of snow, the Noise of libp2p, and of rustls; in the processes of the peers and of what is fetched, and for rediss:// only in the daemon",
    ),
];

/// Crates with a `links` key for another reason than C.
const LINKS_NO_C: &[&str] = &["rayon-core", "prettyplease", "wasm-bindgen-shared"];

/// Versions that stand twice in the lockfile, and who keeps the old one.
const DUPLICATES: &[(&str, &str)] = &[
    ("block-buffer", SNOW),
    ("chacha20", SNOW),
    ("cipher", SNOW),
    ("cpufeatures", SNOW),
    ("crypto-common", SNOW),
    ("curve25519-dalek", SNOW),
    ("digest", SNOW),
    ("getrandom", "snow, and ring below it, keep 0.3 and 0.2"),
    ("inout", SNOW),
    ("nix", IF_WATCH),
    ("polyval", SNOW),
    ("sha2", SNOW),
    ("syn", "macro crates move from 2 to 3 one by one; only builds see it"),
    ("thiserror", IF_WATCH),
    ("thiserror-impl", IF_WATCH),
    ("universal-hash", SNOW),
    ("aead", SNOW),
    ("aes", SNOW),
    ("aes-gcm", SNOW),
    ("ctr", SNOW),
    ("ghash", SNOW),
];
const SNOW: &str =
    "snow, the Noise of libp2p, and the cipher of its pre-shared key stay with the older RustCrypto";
const IF_WATCH: &str = "rtnetlink below if-watch, which libp2p-tcp uses to watch interfaces";

/// Whom a crate of ours may know, besides the root package, which may know all.
const ARROWS: &[(&str, &[&str])] = &[
    ("slips-core", &[]),
    ("slips-sensor", &["slips-core"]),
    ("slips-input", &["slips-core", "slips-sensor"]),
    ("slips-detect", &["slips-core"]),
    ("slips-intel", &["slips-core"]),
    ("slips-store", &["slips-core"]),
    ("slips-p2p", &["slips-core"]),
    ("slips-firewall", &["slips-core"]),
    ("slips-systemd", &["slips-core"]),
];

/// What each crate may not depend on, however far below: it does no I/O of that kind (docs: ARCHITECTURE.md).
const ABSENT: &[(&str, &[&str])] = &[
    ("slips-core", &["tokio", "serde", "nix", "libc", "tracing"]),
    ("slips-sensor", &["tokio", "nix", "libc", "tracing"]),
    ("slips-detect", &["tokio", "nix", "libc", "tracing"]),
    ("slips-intel", &["tokio", "nix", "libc"]),
    // nix passes descriptors to the service manager (SCM_RIGHTS), for which std has no face.
    ("slips-systemd", &["tokio", "tracing"]),
    // What a permissioned network of routers does not need is only surface; what a feature brings is not looked at here.
    ("slips-p2p", &["libp2p-dns", "libp2p-kad", "libp2p-mdns", "libp2p-quic", "libp2p-relay", "libp2p-upnp"]),
];

/// The only crates with `unsafe`, each in one module.
const FENCED: &[&str] = &["slips-firewall", "slips-input", "slips-systemd"];

struct Workspace {
    metadata: Value,
}

impl Workspace {
    fn read() -> Self {
        let cargo = |args: &[&str]| {
            let output =
                Command::new(env!("CARGO")).args(args).current_dir(root()).output().expect("cargo runs");
            assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        // Only what this platform builds: the rest need not have been fetched.
        let version = String::from_utf8(cargo(&["--version", "--verbose"])).unwrap();
        let host =
            version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
        let metadata =
            cargo(&["metadata", "--format-version=1", "--offline", "--locked", "--filter-platform", host]);
        Self { metadata: serde_json::from_slice(&metadata).expect("cargo metadata is JSON") }
    }

    fn packages(&self) -> impl Iterator<Item = &Value> {
        self.metadata["packages"].as_array().unwrap().iter()
    }

    fn ours(&self) -> impl Iterator<Item = &Value> {
        self.packages().filter(|package| package["source"].is_null())
    }

    fn outside(&self) -> impl Iterator<Item = &Value> {
        self.packages().filter(|package| !package["source"].is_null())
    }

    /// Names of all packages that end up in a build of `name`, tests aside.
    fn below(&self, name: &str) -> BTreeSet<&str> {
        let nodes: BTreeMap<&str, &Value> = self.metadata["resolve"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| (text(&node["id"]), node))
            .collect();
        let names: BTreeMap<&str, &str> =
            self.packages().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let mut open: Vec<&str> = names.iter().filter(|(_, n)| **n == name).map(|(id, _)| *id).collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            for dep in nodes[id]["deps"].as_array().unwrap() {
                let built_in = dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null());
                if built_in && seen.insert(text(&dep["pkg"])) {
                    open.push(text(&dep["pkg"]));
                }
            }
        }
        seen.into_iter().map(|id| names[id]).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn title(package: &Value) -> String {
    format!("{} {}", text(&package["name"]), text(&package["version"]))
}

fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

/// Whether a licence expression can be met with [`LICENCES`]: `OR` (or the old `/`) offers, `AND` demands.
fn permitted(expression: &str) -> bool {
    fn any(words: &mut std::iter::Peekable<std::vec::IntoIter<String>>) -> bool {
        let mut met = all(words);
        while words.peek().is_some_and(|word| word == "OR") {
            words.next();
            met |= all(words);
        }
        met
    }
    fn all(words: &mut std::iter::Peekable<std::vec::IntoIter<String>>) -> bool {
        let mut met = one(words);
        while words.peek().is_some_and(|word| word == "AND") {
            words.next();
            met &= one(words);
        }
        met
    }
    fn one(words: &mut std::iter::Peekable<std::vec::IntoIter<String>>) -> bool {
        let Some(word) = words.next() else { return false };
        if word == "(" {
            let met = any(words);
            return words.next().is_some_and(|word| word == ")") && met;
        }
        if words.peek().is_some_and(|word| word == "WITH") {
            // An exception only permits more.
            words.next();
            words.next();
        }
        LICENCES.contains(&word.as_str())
    }
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut words = words.into_iter().peekable();
    any(&mut words) && words.next().is_none()
}

#[test]
fn licence_expressions_are_understood() {
    for good in [
        "MIT",
        "MIT OR Apache-2.0",
        "MIT/Apache-2.0",
        "Proprietary OR MIT",
        "(MIT OR X) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
        "(MIT OR Apache-2.0) AND (BSD-3-Clause)",
    ] {
        assert!(permitted(good), "{good}");
    }
    for bad in ["", "GPL-2.0-only", "AGPL-3.0-only", "MIT AND X", "(MIT OR X) AND Y", "(MIT", "MIT MIT"] {
        assert!(!permitted(bad), "{bad}");
    }
}

#[test]
fn every_licence_is_compatible_with_ours() {
    let workspace = Workspace::read();
    let wrong = workspace
        .packages()
        .filter(|package| !package["license"].as_str().is_some_and(permitted))
        .map(|package| format!("{}: {}", title(package), package["license"]))
        .collect();
    none("licences that are not on the list", wrong);
}

#[test]
fn crates_come_from_the_registry_or_from_here() {
    let workspace = Workspace::read();
    let wrong = workspace
        .outside()
        .filter(|package| {
            !text(&package["source"]).starts_with("registry+https://github.com/rust-lang/crates.io-index")
        })
        .map(title)
        .collect();
    none("crates from elsewhere", wrong);
}

#[test]
fn no_banned_crate_is_used() {
    let workspace = Workspace::read();
    let mut found = Vec::new();
    for package in workspace.outside() {
        for (name, why) in BANNED {
            let hit = match name.strip_suffix('*') {
                Some(start) => {
                    text(&package["name"]).starts_with(start) && text(&package["name"]) != "openssl-probe"
                }
                None => text(&package["name"]) == *name,
            };
            if hit {
                found.push(format!("{}: {why}", title(package)));
            }
        }
    }
    none("banned crates", found);
}

#[test]
fn crates_that_run_c_are_named() {
    let workspace = Workspace::read();
    let mut found = Vec::new();
    for package in workspace.outside() {
        let name = text(&package["name"]);
        let builds_c = package["dependencies"].as_array().unwrap().iter().any(|dependency| {
            dependency["kind"] == "build"
                && dependency["optional"] == false
                && matches!(text(&dependency["name"]), "cc" | "cmake" | "nasm-rs")
        });
        let links = !package["links"].is_null() && !LINKS_NO_C.contains(&name);
        if (builds_c || links) && !RUNS_C.iter().any(|(known, _)| *known == name) {
            found.push(title(package));
        }
    }
    none("crates that run C and are not listed", found);
}

#[test]
fn duplicate_versions_are_known() {
    let workspace = Workspace::read();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in workspace.outside() {
        versions.entry(text(&package["name"])).or_default().push(text(&package["version"]));
    }
    let found = versions
        .iter()
        .filter(|(name, all)| all.len() > 1 && !DUPLICATES.iter().any(|(known, _)| known == *name))
        .map(|(name, all)| format!("{name} {}", all.join(", ")))
        .collect();
    none("crates in several versions (cargo tree -d says who wants which)", found);
}

#[test]
fn arrows_between_our_crates_are_those_of_the_design() {
    let workspace = Workspace::read();
    let names: BTreeSet<&str> = workspace.ours().map(|package| text(&package["name"])).collect();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).chain(["slips"]).collect();
    assert_eq!(names, known, "the crates of the workspace");
    let mut found = Vec::new();
    for package in workspace.ours() {
        let Some((name, may)) = ARROWS.iter().find(|(name, _)| *name == text(&package["name"])) else {
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = text(&dependency["name"]);
            if known.contains(other) && !may.contains(&other) {
                found.push(format!("{name} → {other} ({})", dependency["kind"].as_str().unwrap_or("normal")));
            }
        }
    }
    none("arrows that the design does not have", found);
}

#[test]
fn crates_without_io_have_no_crate_that_does_it() {
    let workspace = Workspace::read();
    let mut found = Vec::new();
    for (name, absent) in ABSENT {
        let below = workspace.below(name);
        found.extend(
            absent.iter().filter(|other| below.contains(*other)).map(|other| format!("{name} has {other}")),
        );
    }
    none("crates where they must be absent", found);
}

#[test]
fn unsafe_is_fenced() {
    let workspace = Workspace::read();
    let mut found = Vec::new();
    for package in workspace.ours() {
        let name = text(&package["name"]);
        let fenced = FENCED.contains(&name);
        for target in package["targets"].as_array().unwrap() {
            let kind = target["kind"].to_string();
            let source = std::fs::read_to_string(text(&target["src_path"])).unwrap();
            if !fenced
                && (kind.contains("lib") || kind.contains("bin"))
                && !source.contains("#![forbid(unsafe_code)]")
            {
                found.push(format!("{name}: {} does not forbid unsafe code", text(&target["src_path"])));
            }
        }
        let sources = Path::new(text(&package["manifest_path"])).parent().unwrap().join("src");
        let mut holes = Vec::new();
        walk(&sources, &mut |file| {
            let source = std::fs::read_to_string(file).unwrap_or_default();
            if source.contains("allow(unsafe_code") || source.contains("expect(unsafe_code") {
                holes.push(file.strip_prefix(root()).unwrap_or(file).display().to_string());
            }
        });
        if holes.len() > usize::from(fenced) {
            found.push(format!("{name}: unsafe code is let in at {}", holes.join(", ")));
        }
    }
    none("unsafe code outside its modules", found);
}

#[test]
fn no_file_names_a_private_place() {
    // In two parts, so that this file passes.
    let private: Vec<String> = [("/wo", "rk/"), ("/ho", "me/"), ("/roo", "t/"), ("/Use", "rs/")]
        .iter()
        .map(|(a, b)| format!("{a}{b}"))
        .collect();
    let mut found = Vec::new();
    for file in tracked() {
        let Ok(content) = std::fs::read(root().join(&file)) else { continue };
        let Ok(content) = std::str::from_utf8(&content) else { continue };
        for (number, line) in content.lines().enumerate() {
            for place in &private {
                // Inside a longer path or an address it is somebody else's.
                let alone = line.match_indices(place).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| {
                        c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '/' | '~')
                    })
                });
                if alone {
                    found.push(format!("{}:{}: {place}", file.display(), number + 1));
                }
            }
        }
    }
    none("private places", found);
}

/// The files that git has; without git (a tarball) all files outside of the build directory.
fn tracked() -> Vec<PathBuf> {
    let git = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    if let Ok(output) = git
        && output.status.success()
        && !output.stdout.is_empty()
    {
        return String::from_utf8_lossy(&output.stdout)
            .split('\0')
            .filter(|f| !f.is_empty())
            .map(PathBuf::from)
            .collect();
    }
    let mut files = Vec::new();
    walk(root(), &mut |file| files.push(file.to_path_buf()));
    files
}

fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && name != ".git" {
            walk(&path, visit);
        } else if path.is_file() {
            visit(&path);
        }
    }
}
