use super::*;

fn kept(author: u8, about: &str, seq: u64, until: u64) -> KeptEnvelope {
    let envelope = vec![author; 200];
    KeptEnvelope { author: [author; 32], about: about.into(), place: (1, seq), until, envelope }
}

/// Page by page.
fn all(book: &PeerBook) -> Vec<KeptEnvelope> {
    let (mut all, mut behind) = (Vec::new(), None);
    loop {
        let page = book.envelopes(0, behind).expect("read");
        assert!(page.len() <= PAGE as usize);
        let Some(last) = page.last() else { return all };
        behind = Some((last.author, last.place.0, last.place.1));
        all.extend(page);
    }
}

fn room(book: &PeerBook) -> Vec<(PeerKey, u64)> {
    book.read("SELECT author, bytes FROM room", |row| Ok((row.get(0)?, unsigned(row.get(1)?)))).expect("read")
}

#[test]
fn who_says_much_pushes_out_only_what_it_said_before() {
    let dir = tempfile::tempdir().expect("dir");
    let mut book = PeerBook::open(dir.path().join("peers.sqlite")).expect("open");
    let large = |author: u8, seq: u64| {
        let envelope = vec![author; 16 << 10];
        KeptEnvelope { envelope, ..kept(author, &format!("part {seq}"), seq, 90) }
    };
    book.keep(&kept(1, "x", 1, 90)).expect("keep");
    book.all(|book| (1..=600).try_for_each(|seq| book.keep(&large(2, seq)))).expect("keep");
    let held = all(&book);
    assert_eq!(held.iter().filter(|kept| kept.author[0] == 1).count(), 1);
    let of_two: Vec<u64> = held.iter().filter(|kept| kept.author[0] == 2).map(|kept| kept.place.1).collect();
    assert_eq!(*of_two.last().expect("some"), 600, "the newest stays");
    assert!((245..260).contains(&of_two.len()) && of_two.is_sorted(), "{}", of_two.len());
    let bytes = |held: &[KeptEnvelope]| -> u64 {
        held.iter().map(|kept| (kept.envelope.len() + 2 * kept.about.len() + 250) as u64).sum()
    };
    let counted = room(&book);
    assert!(counted.iter().all(|(_, bytes)| *bytes <= MOST_OF_ONE));
    assert_eq!(counted.iter().map(|(_, bytes)| bytes).sum::<u64>(), bytes(&held));
    // Many of them at once: who has least keeps it.
    book.all(|book| {
        (3..20)
            .flat_map(|author| (1..=260).map(move |seq| (author, seq)))
            .try_for_each(|(author, seq)| book.keep(&large(author, seq)))
    })
    .expect("keep");
    let counted = room(&book);
    assert!(counted.iter().map(|(_, bytes)| bytes).sum::<u64>() <= MOST_OF_ALL);
    assert_eq!((counted.len(), counted[0].0), (19, [1; 32]));
    // What takes the place of another, and what goes, is counted as well.
    book.keep(&KeptEnvelope { envelope: vec![2; 10], ..kept(2, "part 600", 601, 90) }).expect("keep");
    book.keep(&KeptEnvelope { envelope: vec![2; 99], ..kept(2, "part 600", 1, 90) }).expect("keep");
    book.forget_author(&[9; 32]).expect("forget");
    assert_eq!(room(&book).iter().map(|(_, bytes)| bytes).sum::<u64>(), bytes(&all(&book)));
    book.forget(90, 0, 99).expect("forget");
    assert_eq!((room(&book), all(&book).len()), (Vec::new(), 0));
}

#[test]
fn what_an_older_program_kept_without_a_bound_is_brought_under_it() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("peers.sqlite");
    {
        let db = schema::open_with(&path, Durability::Whole, &MIGRATIONS[..1]).expect("open");
        let mut sql =
            db.prepare("INSERT INTO envelopes VALUES (?, ?, 1, ?, 90, zeroblob(16000))").expect("sql");
        for seq in 1..=600 {
            sql.execute(params![[2u8; 32], format!("all {seq}"), seq]).expect("kept");
        }
    }
    let mut book = PeerBook::open(&path).expect("open");
    book.forget(0, 0, 65_536).expect("forget");
    let held = all(&book);
    assert!((245..270).contains(&held.len()), "{}", held.len());
    assert_eq!(held.last().map(|kept| kept.place.1), Some(600));
}

#[test]
fn what_was_kept_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("peers.sqlite");
    let standing = PeerStanding {
        base: 0.6,
        confirmed: 1.5,
        refuted: 0.25,
        at: 99,
        losses: 2,
        quarantined: true,
        today: (20_000, 3),
    };
    let mut book = PeerBook::open(&path).expect("open");
    book.durably(|book| {
        book.set_counter("seq", 7)?;
        book.set_counter("seq", 8)?;
        book.set_replay(&[1; 32], &[1, 2])?;
        book.set_standing(&[1; 32], &standing)?;
        book.set_refuted(&[9], 50)
    })
    .expect("write");
    book.note(&Outcome { at: 5, peer: "p".into(), accused: "x".into(), moved: -2.0, why: "w".into() })
        .expect("note");
    drop(book);
    let book = PeerBook::open(&path).expect("reopen");
    assert_eq!(book.counter("seq").expect("read"), Some(8));
    assert_eq!(book.counter("other").expect("read"), None);
    assert_eq!(book.replay().expect("read"), [([1; 32], vec![1, 2])]);
    assert_eq!(book.standings().expect("read"), [([1; 32], standing)]);
    assert_eq!(book.refuted().expect("read"), [(vec![9], 50)]);
    assert_eq!(book.outcomes(10).expect("read").len(), 1);
}

#[test]
fn a_newer_word_takes_the_place_of_an_older_one_and_never_the_other_way() {
    let dir = tempfile::tempdir().expect("dir");
    let mut book = PeerBook::open(dir.path().join("peers.sqlite")).expect("open");
    for one in [kept(1, "x", 3, 90), kept(1, "x", 2, 99), kept(2, "x", 1, 50), kept(1, "y", 4, 70)] {
        book.keep(&one).expect("keep");
    }
    let held = |book: &PeerBook| -> Vec<(u8, u64)> {
        all(book).iter().map(|kept| (kept.author[0], kept.place.1)).collect()
    };
    assert_eq!(held(&book), [(1, 3), (1, 4), (2, 1)]);
    assert_eq!(book.envelope(&[2; 32], "x").expect("read"), Some(vec![2; 200]));
    assert_eq!(book.envelope(&[2; 32], "y").expect("read"), None);
    assert_eq!(book.envelopes(60, None).expect("read").len(), 2, "what has ended is not told");
    book.forget(0, 0, 2).expect("forget");
    assert_eq!(held(&book), [(1, 3), (1, 4)], "what ends first goes first");
    book.forget(80, 0, 2).expect("forget");
    book.forget_author(&[1; 32]).expect("forget");
    assert_eq!(held(&book), []);
}

#[test]
fn what_moved_trust_is_bounded_the_latest_stay() {
    let dir = tempfile::tempdir().expect("dir");
    let mut book = PeerBook::open(dir.path().join("peers.sqlite")).expect("open");
    let most = u64::from(MOST_OUTCOMES);
    let outcome = |at| Outcome { at, peer: "p".into(), accused: "x".into(), moved: -0.1, why: "w".into() };
    book.all(|book| (1..=most + 7).try_for_each(|at| book.note(&outcome(at)))).expect("noted");
    book.forget(0, 0, 9).expect("forget");
    let count = book.read("SELECT count(*), min(at) FROM outcomes", |row| Ok((row.get(0)?, row.get(1)?)));
    assert_eq!(count.expect("read"), [(i64::from(MOST_OUTCOMES), 8_i64)]);
}

#[test]
fn the_newest_of_a_kind_stay_of_each_author() {
    let dir = tempfile::tempdir().expect("dir");
    let mut book = PeerBook::open(dir.path().join("peers.sqlite")).expect("open");
    for one in [
        kept(1, "s b", 3, 90),
        kept(1, "s a", 4, 80),
        kept(1, "s c", 2, 99),
        kept(1, "t", 1, 9),
        kept(2, "s", 1, 9),
    ] {
        book.keep(&one).expect("keep");
    }
    book.keep_newest(&[1; 32], "s ", 2).expect("drop");
    let held: Vec<String> = all(&book).into_iter().map(|kept| kept.about).collect();
    assert_eq!(held, ["t", "s b", "s a", "s"]);
}

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let mut book = PeerBook::open(dir.path().join("peers.sqlite")).expect("open");
    let failed = book.all(|book| {
        book.set_counter("seq", 1)?;
        book.batch("nonsense")
    });
    assert!(failed.is_err());
    assert_eq!(book.counter("seq").expect("read"), None);
    book.all(|book| book.set_counter("seq", 2)).expect("the next one works");
}
