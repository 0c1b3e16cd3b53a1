//! The manual's pages and the completions of shells, made from the commands themselves and from the configuration that shows all keys.

use std::fs;
use std::path::Path;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::{Failure, print_out};

/// Every key with its default and what it is for.
const CONFIGURATION: &str = include_str!("../../config/slips.yaml");
/// The page of the units, which no command describes.
const SERVICE: &str = include_str!("../../systemd/slips.service.8");

/// Prints what `shell` needs.
pub(super) fn completions<C: CommandFactory>(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut C::command(), "slips", &mut text);
    print_out(&String::from_utf8_lossy(&text))
}

/// Writes all of it below `dir`.
pub(super) fn write<C: CommandFactory>(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(Failure::software)?;
    clap_mangen::generate_to(C::command(), dir).map_err(Failure::software)?;
    fs::write(dir.join("slips.yaml.5"), configuration_page()).map_err(Failure::software)?;
    fs::write(dir.join("slips.service.8"), SERVICE).map_err(Failure::software)?;
    for shell in Shell::value_variants() {
        clap_complete::generate_to(*shell, &mut C::command(), "slips", dir).map_err(Failure::software)?;
    }
    Ok(())
}

fn configuration_page() -> String {
    let mut page = format!(
        ".TH slips.yaml 5 \"\" \"slips {}\" \"Slips\"\n.SH NAME\nslips.yaml \\- configuration of slips\n.SH SYNOPSIS\n/etc/slips/slips.yaml\n\
         .SH DESCRIPTION\nEvery key with its default. An unknown key or a bad value stops the start, with file, line and key;\n\
         .B slips check\\-config\ntells all of them.\n.B systemctl reload slips\nreads it again, and names what needs a restart.\n.PP\n.nf\n",
        env!("CARGO_PKG_VERSION")
    );
    for line in CONFIGURATION.lines() {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        // A line that begins so would be a command of the formatter.
        if line.starts_with(['.', '\'']) {
            page.push_str("\\&");
        }
        page.push_str(&line);
        page.push('\n');
    }
    page + ".fi\n.SH SEE ALSO\n.BR slips (1),\n.BR slips.service (8)\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_and_each_shell_its_completions() {
        let dir = tempfile::tempdir().expect("dir");
        write::<super::super::Cli>(dir.path()).expect("written");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect(name);
        assert!(read("slips.1").contains("Host protection for Linux routers"));
        assert!(read("slips-firewall-restore.1").contains("before the network is up"));
        let page = read("slips.yaml.5");
        let internal_share = page.lines().find(|line| line.contains("internal_share"));
        assert!(internal_share.is_some_and(|line| line.contains("25")), "{internal_share:?}");
        assert!(!page.lines().any(|line| line.starts_with("...") || line.starts_with('\'')));
        assert!(read("slips.bash").contains("check-config") && read("_slips").contains("check-config"));
        assert!(read("slips.service.8").starts_with(".TH slips.service 8"));
    }
}
