//! An ask on its way to whom it concerns: it is begun, or given up, and never both.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::{Answer, Ask};

/// What whoever does it gets.
pub struct Pending {
    ask: Ask,
    answer: SyncSender<Answer>,
    decided: Arc<AtomicBool>,
}

/// What whoever asked keeps.
pub struct Awaited {
    answer: Receiver<Answer>,
    /// Set by the one who is first: it is begun, or given up.
    decided: Arc<AtomicBool>,
}

/// Why something was not done, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// Nobody has begun it, and nobody will.
    Busy,
    /// It was begun; how it ended is not known.
    Unended,
    /// It will not be done, and why.
    Refused(String),
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the daemon is too busy; nothing was done; try again"),
            Self::Unended => f.write_str("it was begun and takes long; ask later how things stand"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl Pending {
    /// Something to be done, and where the answer comes.
    pub fn new(ask: Ask) -> (Self, Awaited) {
        let (answer, answered) = sync_channel(1);
        let decided = Arc::<AtomicBool>::default();
        (Self { ask, answer, decided: Arc::clone(&decided) }, Awaited { answer: answered, decided })
    }

    /// Does it and answers, unless it was given up.
    pub fn answer_by(self, work: impl FnOnce(&Ask) -> Answer) {
        if !self.decided.swap(true, Ordering::AcqRel) {
            // Whoever asked may be gone.
            let _ = self.answer.try_send(work(&self.ask));
        }
    }
}

impl Awaited {
    /// Waits for the answer: so long until it is begun, and so long again for its end.
    pub fn wait(self, begun: Duration, ended: Duration) -> Result<String, Undone> {
        let answer = match self.answer.recv_timeout(begun) {
            Ok(answer) => answer,
            Err(_) if !self.decided.swap(true, Ordering::AcqRel) => return Err(Undone::Busy),
            Err(RecvTimeoutError::Timeout) => self.answer.recv_timeout(ended).map_err(|_| Undone::Unended)?,
            Err(RecvTimeoutError::Disconnected) => return Err(Undone::Unended),
        };
        answer.map_err(Undone::Refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_given_up_is_never_done() {
        let (pending, awaited) = Pending::new(Ask::Flush);
        assert_eq!(awaited.wait(NOW, LONG), Err(Undone::Busy));
        pending.answer_by(|_| panic!("it was done"));
        // Whoever would have done it is gone.
        let (pending, awaited) = Pending::new(Ask::Flush);
        drop(pending);
        assert_eq!(awaited.wait(LONG, LONG), Err(Undone::Busy));
    }

    #[test]
    fn what_was_begun_is_waited_for_and_else_it_is_told_that_it_was_begun() {
        let (pending, awaited) = Pending::new(Ask::Resume);
        let (begin, begun) = sync_channel(0);
        let (end, ended) = sync_channel::<()>(0);
        let work = std::thread::spawn(move || {
            pending.answer_by(|ask| {
                assert_eq!(*ask, Ask::Resume);
                begin.send(()).expect("begun");
                ended.recv().expect("to end");
                Ok("done".into())
            });
        });
        begun.recv().expect("begun");
        let waits = std::thread::spawn(move || awaited.wait(NOW, LONG));
        end.send(()).expect("it waits");
        assert_eq!(waits.join().expect("waited"), Ok("done".into()));
        work.join().expect("worked");

        let (pending, awaited) = Pending::new(Ask::Resume);
        let mut awaited = Some(awaited);
        pending.answer_by(|_| {
            let asked = awaited.take().expect("once").wait(NOW, NOW);
            assert_eq!(asked, Err(Undone::Unended));
            Err("too late".into())
        });
        let (pending, awaited) = Pending::new(Ask::Resume);
        pending.answer_by(|_| Err("not now".into()));
        assert_eq!(awaited.wait(NOW, NOW), Err(Undone::Refused("not now".into())));
    }
}
