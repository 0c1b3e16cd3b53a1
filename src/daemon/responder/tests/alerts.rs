//! Alerts in the book: before anybody is told, until the database has them.

use std::io::Write;
use std::path::PathBuf;

use slips_store::{Block, Filed};

use super::*;

/// Notes at each line of the journal how many alerts the book has by then.
struct Witness {
    book: PathBuf,
    seen: Arc<Mutex<Vec<usize>>>,
}

impl Write for Witness {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let due = Blocks::open(&self.book).and_then(|book| book.alerts_due()).expect("due");
        self.seen.lock().expect("lock").push(due.len());
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn due(bench: &Bench) -> Vec<AlertId> {
    bench.book().alerts_due().expect("due").iter().map(|alert| alert.id).collect()
}

fn id_of(attacker: &str) -> AlertId {
    alert_about(attacker, Proof::Proven).id
}

#[test]
fn an_alert_is_in_the_book_before_the_journal_is_told_whether_somebody_is_blocked_or_not() {
    for mode in [Mode::Enforce, Mode::Monitor] {
        let mut bench = bench(config::Firewall { mode, ..config::Firewall::default() });
        let seen = Arc::default();
        let witness = Witness { book: bench.dir.path().join("blocks.sqlite"), seen: Arc::clone(&seen) };
        bench.responder.journal =
            Journal::open(Path::new("/nonexistent/journal"), Box::new(witness), Lines::WithoutJournald);
        // The second is nobody's to block.
        bench.alerts(&["203.0.113.1", "127.0.0.1"], Proof::Proven);
        let seen = seen.lock().expect("lock");
        assert!(seen.len() >= 3 && seen.iter().all(|due| *due == 2), "{seen:?}");
        assert_eq!(due(&bench), [id_of("203.0.113.1"), id_of("127.0.0.1")]);
    }
}

#[test]
fn the_book_forgets_an_alert_when_the_database_has_it_and_not_before() {
    let mut bench = bench(config::Firewall::default());
    let filed = Filed::default();
    bench.responder.follow(filed.clone());
    bench.alerts(&["203.0.113.1", "203.0.113.2"], Proof::Proven);
    bench.responder.tidy();
    assert_eq!(due(&bench).len(), 2);
    let limits = slips_store::SqliteLimits::default();
    let flows = bench.dir.path().join("flows.sqlite");
    let mut sink = slips_store::Sqlite::open(flows, limits, || START).expect("open").telling(filed);
    let first = slips_core::record::Record::Alert(alert_about("203.0.113.1", Proof::Proven));
    slips_store::RecordSink::accept(&mut sink, &[first]).expect("accept");
    bench.responder.tidy();
    assert_eq!(due(&bench).len(), 2, "it is not written yet");
    slips_store::RecordSink::flush(&mut sink).expect("flush");
    bench.responder.tidy();
    assert_eq!(due(&bench), [id_of("203.0.113.2")]);
    assert_eq!(bench.live(), ["203.0.113.1", "203.0.113.2"], "the blocks stay");
}

#[test]
fn an_alert_that_cannot_be_kept_is_told_and_its_attacker_blocked() {
    let mut bench = bench(config::Firewall::default());
    let book = rusqlite::Connection::open(bench.dir.path().join("blocks.sqlite")).expect("open");
    book.execute_batch("DROP TABLE alerts_due").expect("drop");
    bench.alert("203.0.113.1", Proof::Proven);
    assert_eq!((bench.kernel().len(), bench.live().len()), (1, 1));
    assert_eq!(bench.responder.gauges.unkept.load(Ordering::Relaxed), 1);
    let told = bench.told();
    assert!(told.contains("203.0.113.1 is an attacker") && told.contains("the book of blocks"), "{told}");
}

#[test]
fn an_alert_that_cannot_be_entered_costs_no_block_its_reason_and_no_other_alert_its_place() {
    const ATTACKERS: [&str; 3] = ["203.0.113.1", "203.0.113.2", "203.0.113.3"];
    // The statement alone is taken back, or all of the transaction.
    for how in ["ABORT", "ROLLBACK"] {
        let mut bench = bench(config::Firewall::default());
        let book = rusqlite::Connection::open(bench.dir.path().join("blocks.sqlite")).expect("open");
        book.execute_batch(&format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON alerts_due WHEN new.id = '{}'
             BEGIN SELECT RAISE({how}, 'not this one'); END",
            id_of(ATTACKERS[1])
        ))
        .expect("trigger");
        bench.alerts(&ATTACKERS, Proof::Proven);
        assert_eq!(due(&bench), [id_of(ATTACKERS[0]), id_of(ATTACKERS[2])], "{how}");
        assert_eq!(bench.live(), ATTACKERS, "{how}");
        let live = bench.book().live(START).expect("live");
        let known =
            |block: &Block| block.asked.source == "alert" && block.asked.alert.is_some() && block.applied;
        assert!(live.iter().all(known), "{how}: {live:?}");
        assert_eq!(bench.responder.gauges.unkept.load(Ordering::Relaxed), 1, "{how}");
        assert!(bench.told().contains("an alert could not be entered"), "{how}");
    }
}
