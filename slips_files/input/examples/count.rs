//! Reads an input to its end and prints what it holds and how fast it was read.
//!
//!     cargo run --release -p slips-input --example count -- PATH

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use slips_core::event::EventKind;
use slips_input::{InputError, OpenOptions, Report, open};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: count PATH");
        return ExitCode::from(64);
    };
    #[expect(clippy::disallowed_methods, reason = "measures")]
    let began = Instant::now();
    match read(Path::new(&path)) {
        Ok((kinds, report)) => {
            let seconds = began.elapsed().as_secs_f64();
            println!(
                "{} records, {seconds:.3} s, {:.0} records/s",
                report.records,
                report.records as f64 / seconds
            );
            println!("events by kind: {kinds:?}");
            println!("rejected: {:?}", report.rejected);
            report.samples.iter().for_each(|sample| println!("  {sample}"));
            report.files.iter().for_each(|file| println!("  {file:?}"));
            report.ignored.iter().for_each(|(path, why)| println!("  ignored {}: {why}", path.display()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn read(path: &Path) -> Result<([u64; EventKind::COUNT], Report), InputError> {
    let mut source = open(path, &OpenOptions::default())?;
    let mut kinds = [0; EventKind::COUNT];
    let mut batch = Vec::new();
    let mut more = true;
    while more {
        more = source.next_batch(&mut batch)?;
        for event in batch.drain(..) {
            if let Some(count) = kinds.get_mut(event.kind() as usize) {
                *count += 1;
            }
        }
    }
    Ok((kinds, source.report()))
}
