//! The logs of `slips sensor` against those that Zeek's own test suite expects, with the bars that we hold ourselves to.
#![allow(clippy::expect_used, reason = "a test")]

mod common;
#[path = "bench/sensor_parity/mod.rs"]
mod parity;

use parity::run::Runner;

#[test]
fn the_sensors_logs_are_zeeks() {
    let Some(corpora) = common::corpora("the_sensors_logs_are_zeeks") else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let runner = Runner { slips: env!("CARGO_BIN_EXE_slips").into(), scratch: scratch.path().to_owned() };
    let findings = parity::run::run(&runner, &corpora, "").expect("the sensor runs over each capture");
    for line in &findings.differences {
        println!("{line}");
    }
    assert_eq!(findings.dangling, Vec::<String>::new());
    assert!(findings.captures > 100);
    for (log, bar, score) in &findings.scores {
        println!("{log}: {} of {} rows equal, {} only ours", score.equal, score.rows, score.extra);
        let (equal, rows) = (score.equal, score.rows);
        assert!(score.meets(*bar), "{log}: {equal} of {rows} rows are equal, the bar is {bar} %");
    }
}
