//! Whatever a writer does between two turns, in whatever pieces it writes: every line comes once.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use slips_input::Beginning;

use super::{Follow, conn, dns, header, not_once, row};

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// So many bytes more of what is to be written.
    Write(usize),
    /// The file is renamed; the rest of a half line, and so many more, come into the old one.
    Rotate(usize),
    /// The file is copied and cut, as logrotate does.
    CopyAndCut,
    /// The file is cut when all of it was read, with other columns from then on, as by a restart of Zeek.
    Cut,
    /// The oldest rotated file is packed or moved away when it was read.
    Archive,
    /// Turns.
    Read(u8),
    /// Time passes.
    Wait(u16),
    /// Another run goes on.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1usize..400).prop_map(Step::Write),
        2 => (0usize..4).prop_map(Step::Rotate),
        1 => Just(Step::CopyAndCut),
        1 => Just(Step::Cut),
        1 => Just(Step::Archive),
        4 => (1u8..4).prop_map(Step::Read),
        1 => (0u16..12_000).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Conn,
    Dns,
    Columns,
}

/// One log and what was written into it.
struct Writer {
    kind: Kind,
    turned: bool,
    /// What the current file lacks of its last line.
    rest: String,
    number: usize,
    rotated: Vec<String>,
    rotations: usize,
    written: Vec<String>,
}

impl Writer {
    fn new(kind: Kind) -> Self {
        let (rest, written) = (String::new(), Vec::new());
        Self { kind, turned: false, rest, number: 0, rotated: Vec::new(), rotations: 0, written }
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Conn => "conn.log",
            Kind::Dns => "dns.log",
            Kind::Columns => "conn.columns.log",
        }
    }

    /// The next line.
    fn line(&mut self) -> String {
        self.number += 1;
        let (line, letter) = match self.kind {
            Kind::Conn => (conn(self.number), 'C'),
            Kind::Dns => (dns(self.number), 'D'),
            Kind::Columns => (row(self.number, self.turned), 'T'),
        };
        self.written.push(format!("{letter}{}", self.number));
        line
    }

    /// Begins a file, which has a header in one format.
    fn begin(&mut self, follow: &Follow) {
        let head = if self.kind == Kind::Columns { header(self.turned) } else { String::new() };
        follow.write(self.name(), &head);
    }

    fn write(&mut self, follow: &Follow, bytes: usize) {
        while self.rest.len() < bytes {
            let line = self.line();
            self.rest += &line;
        }
        let later = self.rest.split_off(bytes);
        follow.append(self.name(), &std::mem::replace(&mut self.rest, later));
    }

    fn rotate(&mut self, follow: &Follow, more: usize) {
        self.rotations += 1;
        let to = self.name().replace(".log", &format!(".{:04}.log", self.rotations));
        follow.rename(self.name(), &to);
        self.begin(follow);
        let mut late = std::mem::take(&mut self.rest);
        for _ in 0..more {
            late += &self.line();
        }
        follow.append(&to, &late);
        self.rotated.push(to);
    }

    fn copy_and_cut(&mut self, follow: &Follow) {
        self.rotations += 1;
        let to = format!("{}.{}", self.name(), self.rotations);
        // The line must be whole: the copy never grows.
        follow.append(self.name(), &std::mem::take(&mut self.rest));
        fs::copy(follow.path(self.name()), follow.path(&to)).expect("copied");
        self.begin(follow);
        self.rotated.push(to);
    }

    fn cut(&mut self, follow: &mut Follow) {
        follow.append(self.name(), &std::mem::take(&mut self.rest));
        follow.settle();
        self.turned = !self.turned;
        self.begin(follow);
    }

    fn archive(&mut self, follow: &mut Follow) {
        if self.rotated.is_empty() {
            return;
        }
        follow.settle();
        follow.later(Duration::from_secs(11));
        follow.settle();
        let oldest = self.rotated.remove(0);
        if self.rotations.is_multiple_of(2) {
            fs::write(follow.path(&format!("{oldest}.gz")), b"\x1f\x8b packed").expect("written");
        }
        fs::remove_file(follow.path(&oldest)).expect("removed");
    }
}

fn run(steps: &[(usize, Step)]) -> Result<(), TestCaseError> {
    let mut follow = Follow::new(Beginning::End);
    let mut writers = [Kind::Conn, Kind::Dns, Kind::Columns].map(Writer::new);
    writers.iter_mut().for_each(|writer| writer.begin(&follow));
    for (which, step) in steps {
        let Some(writer) = writers.get_mut(which % 3) else { continue };
        match step {
            Step::Write(bytes) => writer.write(&follow, *bytes),
            Step::Rotate(more) => writer.rotate(&follow, *more),
            Step::CopyAndCut => writer.copy_and_cut(&follow),
            Step::Cut => writer.cut(&mut follow),
            Step::Archive => writer.archive(&mut follow),
            Step::Read(turns) => (0..*turns).for_each(|_| _ = follow.turn()),
            Step::Wait(millis) => follow.later(Duration::from_millis(u64::from(*millis))),
            Step::Restart => follow.again(),
        }
    }
    for writer in &mut writers {
        follow.append(writer.name(), &std::mem::take(&mut writer.rest));
    }
    for _ in 0..3 {
        follow.settle();
        follow.later(Duration::from_secs(11));
    }
    for writer in &writers {
        let letter = writer.written.first().and_then(|line| line.chars().next());
        let seen: Vec<String> =
            follow.seen.iter().filter(|line| line.chars().next() == letter).cloned().collect();
        prop_assert_eq!(not_once(&seen, &writer.written), Default::default(), "{:?}", writer.kind);
    }
    prop_assert_eq!(follow.report().rejected_total(), 0, "{}", follow.report().last_reject);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_line_comes_once(steps in proptest::collection::vec((0usize..3, step()), 0..60)) {
        run(&steps)?;
    }
}
