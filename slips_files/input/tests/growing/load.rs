//! A writer that never waits for the reader, on a thread of its own.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use slips_input::Beginning;

use super::{Follow, append, conn, dns, not_once};

const LINES: usize = 60_000;

#[test]
fn every_line_comes_once_under_load_with_rotation() {
    let mut follow = Follow::new(Beginning::End);
    follow.write("conn.log", "");
    let directory = follow.scratch.path().to_path_buf();
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    let writer = std::thread::spawn(move || {
        let mut text = String::new();
        let mut random = 7u64;
        for number in 0..LINES {
            text += &conn(number);
            if number % 3 == 0 {
                append(&directory.join("dns.log"), &dns(number));
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let piece = usize::try_from(random >> 54).expect("small").min(text.len());
            let rest = text.split_off(piece);
            append(&directory.join("conn.log"), &std::mem::replace(&mut text, rest));
            if number % 5000 == 4999 {
                let old = directory.join(format!("conn.{number}.log"));
                fs::rename(directory.join("conn.log"), &old).expect("renamed");
                append(&old, &std::mem::take(&mut text));
            }
        }
        append(&directory.join("conn.log"), &text);
        told.store(true, Ordering::SeqCst);
    });
    while !ended.load(Ordering::SeqCst) {
        let wait = follow.turn();
        follow.later(wait);
    }
    writer.join().expect("the writer");
    follow.settle();
    let written: Vec<String> = (0..LINES)
        .map(|number| format!("C{number}"))
        .chain((0..LINES).step_by(3).map(|number| format!("D{number}")))
        .collect();
    assert_eq!(not_once(&follow.seen, &written), Default::default());
    assert_eq!(follow.report().rejected_total(), 0, "{}", follow.report().last_reject);
}
