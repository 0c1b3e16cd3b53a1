//! Where there is no Zeek log: flows against `zeekflow_model.py`, which follows the written rules of flows.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::compare::{Score, Scripts, compare};
use super::rows::Log;
use super::run::{Runner, manifest, text};
use super::scope::LOGS;

/// Prints the rows of a capture as a tab-separated conn.log; the model is the module in the first argument's folder.
const DRIVER: &str = r##"
import sys
sys.path.insert(0, sys.argv[1])
import zeekflow_model as model
columns = "proto id.orig_h id.orig_p id.resp_h id.resp_p conn_state history duration orig_bytes resp_bytes orig_pkts resp_pkts orig_ip_bytes resp_ip_bytes".split()
kinds = "enum addr port addr port string string interval count count count count count count".split()
print("#fields\t" + "\t".join(columns))
print("#types\t" + "\t".join(kinds))
flows = model.run(sys.argv[2])
for f in sorted(flows, key=lambda f: f.t0):
    lasted = f.t1 - f.t0
    sizes = [f.size(0), f.size(1)] if f.proto == "tcp" else [max(n, 0) for n in f.len]
    row = [f.proto, f.o, f.op, f.r, f.rp, f.state(), f.h or "-"]
    row += ["%.6f" % lasted, *sizes] if lasted > 0 else ["-", "-", "-"]
    print("\t".join(map(str, row + f.pk + f.by)))
"##;

/// Compares conn rows of all captures without a Zeek log. Those with tunnels or fragments are left out: the model knows neither.
pub fn run(runner: &Runner, corpora: &Path, model: &Path, only: &str) -> Result<(usize, Score, Vec<String>)> {
    let folder = model.parent().filter(|_| model.is_file()).with_context(|| model.display().to_string())?;
    let scope = LOGS.iter().find(|scope| scope.log == "conn").context("conn is compared")?;
    let (mut captures, mut sum, mut differences) = (0, Score::default(), Vec::new());
    for case in manifest(corpora)? {
        let id = text(&case, "id");
        let capture = corpora.join(text(&case, "dir")).join(text(&case, "capture"));
        if id.starts_with("zeek/") || !id.contains(only) || !capture.is_file() {
            continue;
        }
        let said = Command::new("python3")
            .args(["-c", DRIVER])
            .args([folder, &capture])
            .stderr(Stdio::null())
            .output()
            .context("python3")?;
        let Ok(logs) = runner.run(&capture, false) else { continue };
        let protocols = case.get("protocols").map(ToString::to_string).unwrap_or_default();
        let is_beyond = ["fragment", "exthdr", "GRE", "VXLAN", "Teredo", "GTP", "IPIP", "802.11"];
        if !said.status.success()
            || logs.join("tunnel.log").exists()
            || is_beyond.iter().any(|name| protocols.contains(name))
        {
            continue;
        }
        let expected = runner.scratch.join("model.log");
        std::fs::write(&expected, &said.stdout)?;
        let mut ours = Log::read(&logs.join("conn.log"))?;
        // The model begins a flow's rows in the order of their starts, and knows no other protocols.
        ours.rows.retain(|row| {
            row.get("proto").is_some_and(|proto| ["tcp", "udp", "icmp"].contains(&proto.as_str()))
        });
        let start =
            |row: &super::rows::Row| row.get("ts").and_then(|ts| ts.parse::<f64>().ok()).unwrap_or(0.0);
        ours.rows.sort_by(|a, b| start(a).total_cmp(&start(b)));
        let mut theirs = Log::read(&expected)?;
        for row in theirs.rows.iter_mut().chain(&mut ours.rows) {
            // The model sees no holes.
            if let Some(history) = row.get_mut("history") {
                history.retain(|letter| !letter.eq_ignore_ascii_case(&'g'));
            }
        }
        captures += 1;
        let mut told = Vec::new();
        sum.add(&compare(scope, Scripts::Bare, &theirs, &ours, &mut told));
        differences.extend(told.into_iter().map(|line| format!("{id} conn: {line}")));
    }
    ensure!(captures > 0, "no capture is named like {only}");
    Ok((captures, sum, differences))
}
