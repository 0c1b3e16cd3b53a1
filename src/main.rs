//! The `slips` binary: wiring only. What decides lives in the member crates.
#![forbid(unsafe_code)]

mod allowed;
mod child;
mod cli;
mod config;
mod control;
mod daemon;
mod demo;
mod export;
mod lists;
mod outside;
mod peers;
mod services;
mod shelf;
mod updates;
mod whitelist;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
