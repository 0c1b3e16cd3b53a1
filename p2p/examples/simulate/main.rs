//! What liars can do to a router, under our rules and under others: the tables and plots of docs/trust.md.
//!
//!     cargo run -p slips-p2p --example simulate --release            the tables, 10 seeds
//!     cargo run -p slips-p2p --example simulate --release -- --plots docs/trust    the plots as well
//!
//! The seeds are fixed: the same program prints the same figures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a program for the developer's desk"
)]

mod plot;
mod rules;
mod world;

use rules::Kind;
use world::{Figures, Lies, Scenario};

/// Shares of liars in the tables.
const SHARES: [f64; 6] = [0.0, 0.10, 0.15, 0.25, 0.40, 0.50];
const SEEDS: u64 = 10;

fn mean(kind: Kind, lies: Lies, share: f64, seeds: u64) -> Figures {
    let mut sum = Figures::default();
    for seed in 0..seeds {
        let scenario = Scenario::new(lies, share, seed);
        let figures = world::run(&scenario, kind.build(scenario.liars).as_mut());
        sum.wrong += figures.wrong;
        sum.stopped += figures.stopped;
        sum.slow += figures.slow;
        sum.trust.0 += figures.trust.0;
        sum.trust.1 += figures.trust.1;
    }
    let n = seeds as f64;
    Figures {
        wrong: sum.wrong / n,
        stopped: sum.stopped / n,
        slow: sum.slow / n,
        trust: (sum.trust.0 / n, sum.trust.1 / n),
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let plots = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--plots"), Some(dir)) => Some(dir),
        (None, _) => None,
        _ => {
            eprintln!("usage: simulate [--plots DIR]");
            std::process::exit(64);
        }
    };
    let mut curves = Vec::new();
    for lies in Lies::ALL {
        println!(
            "\n{}: wrong blocks in 60 days (attackers stopped before they reach us; slow ones stopped at all)\n",
            lies.name()
        );
        print!("| rule |");
        SHARES.iter().for_each(|share| print!(" f = {share:.2} |"));
        println!("\n|---|{}", "---|".repeat(SHARES.len()));
        for kind in Kind::ALL {
            print!("| {} |", kind.name());
            for share in SHARES {
                let figures = mean(kind, lies, share, SEEDS);
                let (stopped, slow) = (figures.stopped * 100.0, figures.slow * 100.0);
                print!(" {:.1} ({stopped:.0} %; {slow:.0} %) |", figures.wrong);
                curves.push((lies, kind, share, figures));
            }
            println!();
        }
    }
    if let Some(dir) = plots {
        std::fs::create_dir_all(&dir).expect("the directory of the plots");
        for (name, svg) in plot::all(&curves) {
            std::fs::write(format!("{dir}/{name}.svg"), svg).expect("a plot");
        }
    }
}
