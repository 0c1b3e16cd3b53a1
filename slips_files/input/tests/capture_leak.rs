//! Alone in its process: it counts the descriptors and mappings of the whole process.

mod lab;

use std::time::Duration;

use lab::{Lab, small};
use slips_input::capture::Capture;

#[test]
fn two_hundred_captures_leave_nothing_behind() {
    let Some(_lab) = Lab::new("two_hundred_captures_leave_nothing_behind") else { return };
    let held = || {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("proc").count();
        let maps = std::fs::read_to_string("/proc/self/maps").expect("proc");
        (descriptors, maps.lines().filter(|line| line.contains("socket:")).count())
    };
    let before = held();
    assert_eq!(before.1, 0);
    for round in 0..200 {
        let mut capture = Capture::open(small(&["lan1"])).expect("an interface");
        let _ = capture.next(Duration::ZERO, &mut |_| {}).expect("a poll");
        if round % 20 == 0 {
            assert!(Capture::open(small(&["lan0", "nothere"])).is_err());
        }
    }
    assert_eq!(held(), before);
}
